"""Secrets of thirty kinds, made up: each by a name, with the line that a compose file has it on and
the part of it that nobody may find."""

from typing import Final

_ALNUM: Final = "Zx8Kq2Vn5Lw7Tb3Rm9Yc4Hd6Jf1Gs0PaEuQiWoXzBvNyMkAtCrDeSfUgHjIlOp"


def _letters(count: int, start: int = 0) -> str:
    """That many letters and digits, other ones from each start."""
    return (_ALNUM[start:] + _ALNUM * 3)[:count]


def _hex(count: int, start: int) -> str:
    return "".join(f"{(start * 37 + place * 91) % 16:x}" for place in range(count))


TOKENS: Final = {
    "aws": "AKIA" + _letters(16).upper(),
    "github": "ghp_" + _letters(36, 1),
    "github fine-grained": "github_pat_" + _letters(60, 2),
    "gitlab": "glpat-" + _letters(20, 3),
    "openai": "sk-proj-" + _letters(40, 4),
    "anthropic": "sk-ant-api03-" + _letters(40, 5),
    "stripe": "sk_" + "live_" + _letters(24, 6),
    "slack": "xoxb-" + _letters(30, 7),
    "google": "AIza" + _letters(35, 8),
    "google oauth": "GOCSPX-" + _letters(28, 9),
    "sendgrid": "SG." + _letters(22, 10) + "." + _letters(43, 11),
    "hugging face": "hf_" + _letters(34, 12),
    "groq": "gsk_" + _letters(52, 13),
    "npm": "npm_" + _letters(36, 14),
    "pypi": "pypi-" + _letters(80, 15),
    "docker": "dckr_pat_" + _letters(27, 16),
    "digitalocean": "dop_v1_" + _hex(64, 17),
    "vault": "hvs." + _letters(60, 18),
    "jwt": "eyJ" + _letters(20, 19) + ".eyJ" + _letters(30, 20) + "." + _letters(43, 21),
    "telegram": "123456789:AA" + _letters(33, 22),
    "age": "AGE-SECRET-KEY-1" + _letters(58).upper(),
    "extended key": "xprv" + "9s21ZrQH143K3QTDL4LXw2F7HEK" * 4,
}
"""Secrets that their own form tells, wherever they stand."""

_LOGIN: Final = "postgres://app:" + _letters(18, 23) + "@db.example.org:5432/app"
_SENTRY: Final = "https://" + _hex(32, 3) + "@o1.ingest.example.org/2"
_RPC: Final = "https://base-mainnet.g.alchemy.com/v2/" + _letters(32, 24)
_QUERY: Final = "https://api.example.org/v1?api_key=" + _letters(24, 25)
_HOOK: Final = "https://hooks.slack.com/services/T0" + _letters(9, 26) + "/B0/" + _letters(24, 27)

NAMED: Final = {
    "password": ("DB_PASSWORD: " + _letters(14, 28), _letters(14, 28)),
    "quoted": ('SESSION_SECRET: "' + _letters(20, 29) + '"', _letters(20, 29)),
    "words": (
        "WALLET_MNEMONIC: legal winner thank year wave sausage worth useful",
        "winner thank year wave",
    ),
    "hex key": ("SIGNER_PRIVATE_KEY: '0x" + _hex(64, 5) + "'", _hex(64, 5)),
    "user and password": ("DATABASE_URL: " + _LOGIN, _letters(18, 23)),
    "user alone": ("SENTRY: " + _SENTRY, _hex(32, 3)),
    "path of a url": ("RPC_URL: " + _RPC, _letters(32, 24)),
    "query of a url": ("ENDPOINT: " + _QUERY, _letters(24, 25)),
    "bearer": ("HEADER: 'Authorization: Bearer " + _letters(24, 36) + "'", _letters(24, 36)),
    "user option": (
        "CALL: curl -u app:" + _letters(16, 37) + " x.example",
        _letters(16, 37),
    ),
    "assignment": ("OPTIONS: host=db password=" + _letters(15, 38) + " port=1", _letters(15, 38)),
    "flag": ("START: redis-server --requirepass " + _letters(17, 39), _letters(17, 39)),
    "account key": (
        "BLOB: Name=a;AccountKey=" + _letters(40, 40) + ";E=b",
        _letters(40, 40),
    ),
    "web hook": ("ALERTS: " + _HOOK, _letters(24, 27)),
}
"""Secrets that a name or a URL tells."""

PEM: Final = (
    "-----BEGIN EC PRIVATE KEY-----",
    "MHcCAQEEI" + _letters(55, 30),
    _letters(40, 31) + "==",
    "-----END EC PRIVATE KEY-----",
)

_BLOCK: Final = _letters(19, 41)

HIDDEN: Final = (
    _BLOCK,
    *TOKENS.values(),
    *(part for _, part in NAMED.values()),
    PEM[1],
    PEM[2],
)
"""What nobody may find in anything that is rendered."""


def compose_file() -> str:
    """A compose file with every one of them, under harmless names where their form tells them."""
    lines = ["services:", "  web:", "    image: docker.io/library/nginx:latest", "    environment:"]
    lines += [f"      SETTING_{place}: {token}" for place, token in enumerate(TOKENS.values())]
    lines += [f"      {line}" for line, _ in NAMED.values()]
    lines += ["      CERTIFICATE: |", *(f"        {line}" for line in PEM)]
    lines += ["      ADMIN_TOKEN: >-", f"        {_BLOCK}"]
    lines += ["    command:", "      - sh", "      - -c"]
    lines += [f"      - curl {_LOGIN} | sh -s -- --token {_letters(22, 33)} {TOKENS['github']}"]
    lines += ["    ports:", "      - 80:80"]
    return "\n".join(lines) + "\n"


def script() -> str:
    """A pre-launch script with some of them."""
    return "\n".join(
        (
            "#!/bin/sh",
            f"export DEPLOY_TOKEN={_letters(26, 34)}",
            f"docker login -u app --password {_letters(21, 35)} registry.example.org",
            f"curl -fsSL {_QUERY} | sh",
            f"curl -H 'X-Key: {TOKENS['gitlab']}' {_RPC}",
        )
    )


SCRIPT_HIDDEN: Final = (_letters(26, 34), _letters(21, 35), _letters(22, 33))


def found_in(text: str) -> list[str]:
    """What of the secrets stands in a text, however its lines were broken."""
    flat = "".join(text.split())
    return [item for item in (*HIDDEN, *SCRIPT_HIDDEN) if "".join(item[4:20].split()) in flat]
