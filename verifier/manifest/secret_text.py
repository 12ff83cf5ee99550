"""Secrets in a text that an app has published, and the text without them.

What a report shows is copied, searched and kept by others, for longer than a manifest stands where
it was found. So each secret is shown as its first four characters, its length and the beginning of
its sha256, by which whoever has it can tell which one it is. Only a bundle holds it in full.

A secret is told by its own form (a provider's token, a private key), by the URL that it is part of,
or by the name that it is given to. Lines stay lines, and what is masked stays as it is.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from verifier.manifest.remembered import remembered
from verifier.model.result import JsonValue
from verifier.patterns import pattern

_SHOWN: Final = 4
_LEAST: Final = 6
"""Characters of which a value under the name of a secret is one, as rule SEC-001 has it."""
_LEAST_SHOWN: Final = 8
"""Of a shorter secret, four characters would be most of it."""

_TOKEN_FORMS: Final = (
    r"AKIA[0-9A-Z]{16}|ASIA[0-9A-Z]{16}",  # AWS
    r"gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,}",  # GitHub
    r"gl(?:pat|dt|rt|ft|ptt|cbt|agent|oas|soat)-[\w.-]{16,}",  # GitLab
    r"sk-[A-Za-z0-9_-]{20,}",  # OpenAI, Anthropic, OpenRouter
    r"[rsp]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}",  # Stripe
    r"xox[abeprs]-[\w-]{10,}|xapp-[\w-]{10,}",  # Slack
    r"AIza[\w-]{35}|GOCSPX-[\w-]{20,}|ya29\.[\w-]{20,}",  # Google
    r"SG\.[\w-]{16,}\.[\w-]{16,}",  # SendGrid
    r"hf_[A-Za-z0-9]{30,}|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{30,}|xai-[A-Za-z0-9]{40,}",
    r"npm_[A-Za-z0-9]{36}|pypi-[\w-]{50,}|dckr_pat_[\w-]{20,}|rubygems_[0-9a-f]{48}",
    r"do[opr]_v1_[0-9a-f]{64}|shpat_[0-9a-fA-F]{32}|sq0[a-z]{3}-[\w-]{22,}",
    r"hv[sbr]\.[\w-]{20,}|dp\.[a-z]{2}\.[A-Za-z0-9]{40,}|phc_[A-Za-z0-9]{40,}",
    r"(?:lin_api|figd|ntn|secret|PMAK|sbp|tskey|glsa|tfp|fly|FlyV1)[_-][A-Za-z0-9_-]{32,}",
    r"eyJ[\w-]{10,2000}\.eyJ[\w-]{10,2000}\.[\w-]{10,}",  # JSON web tokens (RFC 7519)
    r"[0-9]{8,10}:AA[\w-]{33}",  # Telegram bots
    r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}",  # Discord bots
    r"AGE-SECRET-KEY-1[0-9A-Z]{58}",
    r"[xyz]prv[1-9A-HJ-NP-Za-km-z]{100,110}",  # extended private keys (BIP 32)
)
_TOKEN: Final = pattern(rf"(?<![A-Za-z0-9_])(?:{'|'.join(_TOKEN_FORMS)})")
_LEAST_TOKEN: Final = 15
_LEAST_PATH: Final = 27
"""Characters of the shortest texts that `_TOKEN` and `_PATH` match; none of them is a space."""
_PEM: Final = pattern(
    r"(?<=-----BEGIN )(?P<kind>[A-Z ]*PRIVATE KEY(?: BLOCK)?)-----"
    r"(?P<body>.*?)(?:(?=-----END )|\Z)",
    re.DOTALL,
)
_BODY_LINE: Final = pattern(r"[A-Za-z0-9+/=]{6,}")
_USER_INFO: Final = pattern(r"(?<=://)(?:[^\s/@\"'<>`$?#]|\$\$){3,}(?=@[\w\[])")
_QUERY: Final = pattern(
    r"(?<=[?&])(?P<name>[\w-]*(?:key|token|secret|password|passwd|auth|sig|signature))="
    r"(?P<value>[^\s&\"'#<>`$]{6,})",
    re.IGNORECASE,
)
_PATH: Final = pattern(
    r"(?:alchemy\.com/(?:v2|nft/v[23])|alchemyapi\.io/v2|infura\.io/v3|quiknode\.pro"
    r"|ankr\.com/(?:multichain|\w+)|blastapi\.io|getblock\.io|tenderly\.co|chainstack\.com"
    r"|nodereal\.io/v1|drpc\.org/ogrpc|grove\.city/v1|chainnodes\.org|onfinality\.io"
    r"|hooks\.slack\.com/services|discord(?:app)?\.com/api/webhooks|telegram\.org)"
    r"/(?P<value>[\w:/-]{16,})"
)
_NAME: Final = (
    r"(?:[A-Za-z0-9_]*_)?(?:PASS(?:WORD|WD|PHRASE)?|SECRET|TOKEN|(?:API|ACCESS|AUTH|SECRET|ADMIN"
    r"|MASTER|SIGNING|ENCRYPTION|PRIVATE)_?KEY|MNEMONIC|SEED_PHRASE|SALT|CREDENTIALS?|DSN)"
)
_NAMED_LINE: Final = pattern(
    r"^(?P<before>[ \t>|+-]*(?:(?:export|ENV|ARG)[ \t]+)?"
    rf"[\"']?{_NAME}[\"']?[ \t]*[:=][ \t]*[\"']?)"
    r"(?P<value>[^\s\"'][^\n]*)",
    re.MULTILINE | re.IGNORECASE,
)
_BLOCK: Final = pattern(
    rf"^(?P<indent>[ \t]*)(?:- +)?[\"']?{_NAME}[\"']?[ \t]*:[ \t]*[|>][+-]?[0-9]?[ \t]*\n"
    r"(?P<body>(?:(?P=indent)[ \t]+[^\n]+(?:\n|\Z))+)",
    re.MULTILINE | re.IGNORECASE,
)
"""A block scalar of YAML (1.2.2, 8.1) under the name of a secret."""
_NAMED: Final = pattern(
    rf"(?<![A-Za-z0-9_])(?P<before>[\"']?{_NAME}[\"']?(?:=|:[ ]?|[ ]?:[ ]?(?=[\"']))[\"']?)"
    r"(?P<value>[^\s\"'`]{6,})"
)
_FLAG: Final = pattern(
    r"(?<![\w-])--?[a-z-]{0,40}(?:password|passwd|requirepass|secret|token|api-?key|private-?key)"
    r"[= ][\"']?(?P<value>[^\s\"'`]{6,})"
)
_ASSIGNED: Final = pattern(
    r"(?<![\w-])[\w-]{0,40}?(?:password|passwd|pwd|secret|token|api_?key|accountkey|accesskey)"
    r"=[\"']?(?P<value>[^\s\"'`&;]{6,})",
    re.IGNORECASE,
)
_AUTHORIZATION: Final = pattern(
    r"(?:(?<=uthorization: )|\b(?=\w{5,6} \S*\d))(?:Bearer|Basic) (?P<value>[\w+/=.~-]{8,})"
)
"""Credentials of HTTP (RFC 9110, 11.6.2); without the header's name, where a digit is in them."""
_USER_OPTION: Final = pattern(
    r"(?<![\w-])(?:-u|--user|--proxy-user)[= ]?[\"']?[^\s:\"'$]{1,64}:(?P<value>[^\s\"'`]{6,})"
)
_HEX_KEY: Final = pattern(
    r"(?<![A-Za-z0-9_])[A-Za-z0-9_]*(?<!PUBLIC_)(?<!PUB)(?:KEY|SEED|ENTROPY)[\"']?"
    r"[ ]?[:=][ ]?[\"']?"
    r"(?P<value>(?:0x)?[0-9a-fA-F]{64})(?![0-9a-fA-F])"
)
_SECRET_NAME: Final = pattern(_NAME, re.IGNORECASE)
_NO_SECRET: Final = pattern(
    r"[/$\[{<].*|true|false|\d{1,5}|none|null|(?:https?|file)://.*|[^…]{0,4}…\(.*"
    r"|\d{4,8}|password|changeme|change[_-]me|admin|root|postgres|minioadmin|secret|hunter2"
    r"|test|example|letmein",
    re.IGNORECASE | re.DOTALL,
)
"""A path, a reference, a switch, an address, a default that everybody knows, or what is masked."""
_IN_NAMES: Final = (
    *("pass", "secret", "token", "key", "mnemon", "seed", "salt", "cred", "dsn", "entropy", "pwd"),
)
"""One of these is in every name of a secret, casefolded: plain text is found much faster. None has
an `i`, of which a pattern that ignores case takes forms that casefolding keeps."""
_DIGEST: Final = pattern(r"[0-9a-f]*")
"""A digest or an id. No form of a secret above is of these letters alone."""
_ENDS_OF_ASSIGNED: Final = ("word=", "wd=", "secret=", "token=", "key=")
"""The same of what `_ASSIGNED` matches."""


def mask(secret: str) -> str:
    """What is shown of a secret: `abcd…(40 characters, sha256 1a2b3c4d)`."""
    digest = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
    begin = secret[:_SHOWN] if len(secret) >= _LEAST_SHOWN else ""
    return f"{begin}…({len(secret)} characters, sha256 {digest[:8]})"


@remembered
def masked(text: str) -> str:
    """The text with every secret in it masked, in as many lines as before."""
    if len(text) < _LEAST or _DIGEST.fullmatch(text):
        return text
    folded = text.casefold()
    named = any(map(folded.__contains__, _IN_NAMES))
    if "PRIVATE KEY" in text:
        text = _PEM.sub(_masked_body, text)
    if "://" in text:
        text = _USER_INFO.sub(lambda found: _user(found[0]), text)
    if "=" in text and ("?" in text or "&" in text):
        text = _QUERY.sub(lambda found: f"{found['name']}={_value(found['value'])}", text)
    longest = max(map(len, text.split()), default=0) if len(text) >= _LEAST_TOKEN else 0
    if longest >= _LEAST_PATH and "/" in text:
        text = _PATH.sub(_within, text)
    if longest >= _LEAST_TOKEN:
        text = _TOKEN.sub(lambda found: mask(found[0]), text)
    if named:
        text = _masked_by_names(text, folded)
    if "Bearer " in text or "Basic " in text:
        text = _AUTHORIZATION.sub(_within, text)
    return _USER_OPTION.sub(_within, text) if "-u" in text else text


def _masked_by_names(text: str, folded: str) -> str:
    """The text with what is given to the name of a secret masked; `folded` is it casefolded."""
    if "=" not in text and ":" not in text:
        return _FLAG.sub(_within, text) if "-" in text else text
    text = _HEX_KEY.sub(_within, text)
    if "\n" in text:
        text = _BLOCK.sub(_masked_block, text)
    text = _NAMED_LINE.sub(_masked_line, text)
    text = _NAMED.sub(_within, text)
    if "-" in text:
        text = _FLAG.sub(_within, text)
    assigned = any(map(folded.__contains__, _ENDS_OF_ASSIGNED))
    return _ASSIGNED.sub(_within, text) if assigned else text


def masked_value(value: JsonValue, name: str = "") -> JsonValue:
    """A value with the secrets in its texts masked; `name` is the name that it is given to."""
    if isinstance(value, str):
        return named_value(name, value)
    if isinstance(value, list):
        return [masked_value(item, name) for item in value]
    if isinstance(value, Mapping):
        return {masked(key): masked_value(item, key) for key, item in value.items()}
    return value


def named_value(name: str, value: str) -> str:
    """A text that is given to a name, masked: as a whole where the name is that of a secret."""
    if len(value) < _LEAST:
        return value
    if _SECRET_NAME.fullmatch(name) and "\n" not in value:
        return _value(value)
    return masked(value)


def _value(value: str) -> str:
    hidden = len(value) >= _LEAST and not _NO_SECRET.fullmatch(value)
    return mask(value) if hidden else value


def _user(value: str) -> str:
    """User information of a URL: a user alone is a secret where it is as long as one."""
    return _value(value) if ":" in value or len(value) >= 2 * _LEAST_SHOWN else value


def _within(found: re.Match[str]) -> str:
    """A match with its group `value` masked."""
    start, end = (place - found.start() for place in found.span("value"))
    return f"{found[0][:start]}{_value(found['value'])}{found[0][end:]}"


def _masked_line(found: re.Match[str]) -> str:
    """A line that gives a value to the name of a secret, without its comment and what quotes it."""
    value = found["value"]
    kept = value.partition(" #")[0].rstrip(" \t\r,\"'")
    return f"{found['before']}{_value(kept)}{value[len(kept) :]}"


def _masked_block(found: re.Match[str]) -> str:
    """A block scalar with each line's text masked."""
    start = found.start("body") - found.start()
    lines = (
        f"{line[: len(line) - len(line.lstrip())]}{_value(line.strip())}"
        for line in found["body"].split("\n")
    )
    return f"{found[0][:start]}{chr(10).join(lines)}"


def _masked_body(found: re.Match[str]) -> str:
    """The lines of a private key, each masked for itself."""
    lines = (
        line if "…(" in line else _BODY_LINE.sub(lambda part: mask(part[0]), line)
        for line in found["body"].split("\n")
    )
    return f"{found['kind']}-----{chr(10).join(lines)}"
