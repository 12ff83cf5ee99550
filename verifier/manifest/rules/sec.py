"""SEC: secrets and leftovers of development in a text that is public."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.evidence.compose.compose_yaml import lines_of
from verifier.manifest.model import COMMANDS, COMPOSE_POINTER, Env, Manifest, Service, Text
from verifier.manifest.rule import Hit, on_text, rule
from verifier.manifest.rules.shell import excerpt
from verifier.manifest.secret_text import mask
from verifier.model.result import Location, Severity
from verifier.patterns import pattern
from verifier.reference import env_classes
from verifier.reference.env_classes import classify

_TOKENS: Final = pattern(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}"
    r"|\bsk-[A-Za-z0-9_-]{20,}|\bxox[baprs]-[\w-]{10,}|\bAIza[0-9A-Za-z_-]{35}"
    r"|\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,2000}\.[\w-]{10,}"
)
_TOKEN_MARKS: Final = (
    *("-----BEGIN", "AKIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "sk-", "xox", "AIza"),
    "eyJ",
)
"""What every match of `_TOKENS` contains; a search for plain text is much faster."""
_LOGIN_URL: Final = pattern(r"://[^\s:/@$]+:([^\s:/@$]+)@[\w.-]+")
_RPC_KEY: Final = pattern(
    r"(?:alchemy\.com/v2|infura\.io/v3|quiknode\.pro|ankr\.com/\w+)/[\w-]{16,}"
)
_RPC_MARKS: Final = ("alchemy.com", "infura.io", "quiknode.pro", "ankr.com")
_SECRET_KEYS: Final = (
    *("PASS", "PASSWORD", "PASSWD", "SECRET", "TOKEN", "APIKEY", "API_KEY", "MNEMONIC"),
)
"""How the name of a secret ends."""
_HEX_KEY: Final = pattern(r"(?:0x)?[0-9a-fA-F]{64}", re.ASCII)
_NOT_SECRET: Final = pattern(r"/.*|true|false|\d{1,5}|none|null|https?://.*", re.IGNORECASE)
_DEFAULTS: Final = pattern(
    r"\d{4,8}|password|changeme|change_me|change-me|admin|root|postgres|minioadmin|secret|hunter2"
    r"|test|example|letmein",
    re.IGNORECASE,
)
_PUBLIC_KEYS: Final = pattern(
    "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
    "|59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"
    "|(?:test ){11}junk",
    re.IGNORECASE,
)
"""The first two accounts of Anvil and Hardhat, and the mnemonic behind them."""
_KNOWN_LOGIN: Final = pattern(
    r"stats\s+auth\s+admin:admin|\b(?:admin:admin|root:root|postgres:postgres)\b(?!/)"
)
_LOGIN_MARKS: Final = ("admin:admin", "root:root", "postgres:postgres")
_EMPTY_SHA256: Final = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_KEY_MARKS: Final = ("ac0974be", "59c6995e", "test test", "e3b0c442")
_ADMIN_CLASSES: Final = frozenset({env_classes.SIGNKEY, env_classes.APICRED, env_classes.ROOT})
_WORRY: Final = pattern(
    r"known issue|hash mismatch|skip.{0,200}verif|todo.{0,200}(?:secur|auth|attest)"
    r"|temporary|workaround"
    r"|insecure|do not use in prod|does not parse @sha256|change .{0,200}(?:credential|password)"
)
_TRUTHY: Final = pattern(r"1|true|yes|on|enabled?", re.IGNORECASE)
_DEV_ENVIRONMENT: Final = pattern(r"dev(?:elopment)?|test(?:ing)?|local", re.IGNORECASE)
_ENVIRONMENT_KEY: Final = pattern(r"^(?:NODE_)?ENV(?:IRONMENT)?$")
_NAMES_ONLY: Final = pattern(r"(?:WHITELIST|ALLOWLIST|DOMAINS?|EMAILS?|USERS?|WALLET)$")
_DEBUG_FLAG: Final = pattern(r"(?<!\S)--(?:debug|reload|insecure)(?!\S)")
_VERBOSE: Final = pattern(r"\b(?:debug|trace)\b", re.IGNORECASE)
_SIMULATOR: Final = pattern(r"(?:DSTACK|TAPPD)_SIMULATOR_ENDPOINT")
_SIMULATOR_IMAGE: Final = pattern(r"dstack-simulator|tappd-simulator")
_ADDRESSED: Final = frozenset({"dns", "extra_hosts", "logging", "volumes"})
_BARE: Final = pattern(
    r"(?<![\d./])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|\[[0-9a-fA-F:]{3,}\]", re.ASCII
)
_PLAIN: Final = frozenset({"http", "tcp", "udp"})
_URL: Final = pattern(
    r"\b(https?|wss?|grpc|tcp|udp|tcp\+tls)://(\[[0-9a-fA-F:]+\]|[\w.-]+)(?::(\d+))?"
)
_LOCAL: Final = pattern(r"localhost|127\..*|0\.0\.0\.0|\[::1?\]|[^.]*|.*\.(?:internal|local)")
_ADDRESS: Final = pattern(r"\d{1,3}(?:\.\d{1,3}){3}|\[.*\]")
_CENTRAL: Final = pattern(r"ngrok|vercel\.app|supabase\.co|firebase(?:io|app)\.com")
_MIN_SECRET: Final = 6
_MAX_HOSTS: Final = 500


def _entries(manifest: Manifest) -> Iterator[tuple[Service, Env]]:
    for service in manifest.services:
        for env in service.environment.values():
            yield service, env
        for hook in service.hooks:
            for env in hook.environment.values():
                yield service, env


@rule(
    "SEC-001",
    Severity.HIGH,
    "Literal secret in the manifest",
    why="The manifest is public: on port 8090, in the Trust Center, wherever it was published.",
    fix="Pass it as an encrypted variable, or derive it with getKey.",
    source="KICS, passwords and secrets; dstack stage-1 checklist, item 4",
)
def literal_secret(manifest: Manifest) -> Iterator[Hit]:
    """A private key, a provider's token, a URL with a password, 32 bytes of hex under the name of a
    key, or a value of six characters and more under the name of a password, secret, token or API
    key. An RPC URL with a key, and a secret of an unpublished datastore, are medium."""
    has_rpc = any(mark in manifest.all_text for mark in _RPC_MARKS)
    any_token = any(mark in manifest.all_text for mark in _TOKEN_MARKS)
    for text in manifest.texts:
        is_url = "://" in text.text
        marked = any_token and any(mark in text.text for mark in _TOKEN_MARKS)
        token = _TOKENS.search(text.text) if marked else None
        login = _LOGIN_URL.search(text.text) if is_url else None
        rpc = _RPC_KEY.search(text.text) if is_url and has_rpc else None
        if token:
            yield on_text(text, f"`{mask(token[0])}`", offset=token.start())
        elif login and not _DEFAULTS.fullmatch(login[1]):
            yield on_text(text, "a URL with a password", offset=login.start())
        elif rpc:
            yield on_text(text, "an RPC URL with its key", Severity.MEDIUM)
    for service, env in _entries(manifest):
        value = (env.literal or "").strip()
        is_key = _HEX_KEY.fullmatch(value) and classify(env.key) == env_classes.SIGNKEY
        named = len(value) >= _MIN_SECRET and env.key.upper().endswith(_SECRET_KEYS)
        if (is_key or named) and not _NOT_SECRET.fullmatch(value) and not _known(value):
            internal = not service.ports and "PASSWORD" in env.key.upper()
            severity = Severity.MEDIUM if internal else None
            yield on_text(env.text, f"{env.key} is `{mask(value)}`", severity)


def _known(value: str) -> bool:
    return bool(_DEFAULTS.fullmatch(value) or _PUBLIC_KEYS.search(value))


@rule(
    "SEC-002",
    Severity.HIGH,
    "Default or publicly known credential",
    why="Anyone can log in or sign.",
    fix="Derive it with getKey, or generate it at first start.",
    source="case studies of Primus and redpill",
)
def known_credential(manifest: Manifest) -> Iterator[Hit]:
    """A development chain's key or mnemonic, `admin:admin` and the like, a usual default under the
    name of a password, the sha256 of nothing as a token's hash (medium: of a KMS, it opens one
    maintenance call)."""
    lower = manifest.all_text.lower()
    any_login = any(mark in lower for mark in _LOGIN_MARKS)
    any_key = any(mark in lower for mark in _KEY_MARKS)
    for text in manifest.texts if any_login or any_key else ():
        marked = any_login and any(mark in text.text for mark in _LOGIN_MARKS)
        login = _KNOWN_LOGIN.search(text.text) if marked else None
        if login:
            yield on_text(text, f"`{excerpt(login[0])}`", offset=login.start())
        key = _PUBLIC_KEYS.search(text.text) if any_key else None
        if key:
            yield on_text(text, "a key that every developer has", offset=key.start())
        empty = text.text.find(_EMPTY_SHA256)
        if empty >= 0 and "hash" in text.text.lower():
            message = "the hash of an empty token"
            yield on_text(text, message, Severity.MEDIUM, offset=empty)
    for _, env in _entries(manifest):
        value = (env.literal or "").strip()
        if value and env.key.upper().endswith(_SECRET_KEYS) and _DEFAULTS.fullmatch(value):
            yield on_text(env.text, f"{env.key} is a usual default")


@rule(
    "SEC-003",
    Severity.HIGH,
    "Secret with a default in the file",
    why="The default is public, and it counts whenever the variable is not set.",
    fix="Write `${NAME:?}`, so that a missing secret stops the start.",
    source="dstack audit learnings §9",
)
def defaulted_secret(manifest: Manifest) -> Iterator[Hit]:
    """`${NAME:-text}` where the name, or that of the container's variable with this value, is that
    of a key, password, token or admin credential. An empty default is info: it fails open."""
    keys = {env.text.path: env.key for _, env in _entries(manifest)}
    for text, variable in manifest.uses:
        default, named = variable.default, {variable.name, keys.get(text.path, variable.name)}
        if default is None or not _ADMIN_CLASSES.intersection(map(classify, named)):
            continue
        severity = None if default else Severity.INFO
        shown = "a public value" if default else "empty"
        yield on_text(text, f"{variable.name} is {shown} when unset", severity)


@rule(
    "SEC-004",
    Severity.LOW,
    "Secret in a command line, label or health check",
    why="It shows in `docker inspect`, in process lists and in logs.",
    fix="Pass it as a variable or a file.",
    source="KICS, Docker Compose queries",
)
def secret_in_command(manifest: Manifest) -> Iterator[Hit]:
    """A variable with the name of a secret is put into command, entrypoint, health check, labels or
    container name."""
    fields = COMMANDS | {"labels", "container_name"}
    for text, variable in manifest.uses:
        is_line = text.field in fields and "environment" not in text.path
        if is_line and classify(variable.name) in _ADMIN_CLASSES:
            yield on_text(text, f"{variable.name} is part of {text.field}")


@rule(
    "SEC-005",
    Severity.INFO,
    "Comment admits a problem",
    why="What is known to be wrong tends to stay.",
    fix="Fix it.",
    source="dstack audit learnings §6",
)
def admitted_problem(manifest: Manifest) -> Iterator[Hit]:
    """A comment says known issue, hash mismatch, skip verification, workaround, insecure, or TODO
    about security."""
    for number, line in enumerate(lines_of(manifest.compose_text), 1):
        comment = line.partition("#")[2] if "#" in line else ""
        if comment and _WORRY.search(comment.lower()):
            place = Location(pointer=COMPOSE_POINTER, line=number, column=line.index("#") + 1)
            yield Hit(message=f"`{excerpt(comment)}`", place=place)


@rule(
    "SEC-006",
    Severity.HIGH,
    "Development or bypass switch is on",
    why="The path that skips the checks is the one that runs.",
    fix="Remove it.",
    source="dstack stage-1 checklist, item 7",
)
def development_switch(manifest: Manifest) -> Iterator[Hit]:
    """A debug, mock, bypass or skip switch is a literal true; the environment is dev, test or
    local; `--debug`, `--reload` or `--insecure` is in a command. A verbose log level is low."""
    for _, env in _entries(manifest):
        value = (env.literal or "").strip()
        key = env.key.upper()
        if not value or classify(key) != env_classes.ADMIN or _NAMES_ONLY.search(key):
            continue
        is_level = "LOG" in key
        on = _VERBOSE.search(value) if is_level else _TRUTHY.fullmatch(value)
        if _ENVIRONMENT_KEY.fullmatch(key):
            on = _DEV_ENVIRONMENT.fullmatch(value)
        if on:
            message = f"{env.key} is {excerpt(value)}"
            yield on_text(env.text, message, Severity.LOW if is_level else None)
    for service in manifest.services:
        for text in service.commands:
            flag = _DEBUG_FLAG.search(text.text)
            if flag:
                yield on_text(text, f"`{flag[0]}`")


@rule(
    "SEC-007",
    Severity.CRITICAL,
    "Keys and quotes come from a simulator or another host",
    why="The simulator's key material is public; another host gives whatever it likes.",
    fix="Use /var/run/dstack.sock.",
    source="dstack docs/development-without-tee.md",
)
def simulator(manifest: Manifest) -> Iterator[Hit]:
    """DSTACK_SIMULATOR_ENDPOINT or TAPPD_SIMULATOR_ENDPOINT is set, or the operator can set it; a
    simulator is among the services; the agent's endpoint is an address of the network."""
    for _, env in _entries(manifest):
        operator = manifest.operator_names(*env.variables)
        if _SIMULATOR.fullmatch(env.key) and (env.literal or operator):
            conditional = not env.literal and manifest.unsure
            yield on_text(env.text, f"{env.key} is set", conditional=conditional)
        elif env.key in {"DSTACK_ENDPOINT", "TAPPD_ENDPOINT"} and (
            (env.literal or "").startswith(("http://", "tcp://"))
        ):
            yield on_text(env.text, f"{env.key} is not the guest's socket")
    for service in manifest.services:
        for text in filter(None, (service.image, *service.commands)):
            if _SIMULATOR_IMAGE.search(text.text):
                yield on_text(text, "a simulator runs")


@rule(
    "SEC-008",
    Severity.INFO,
    "Host that the app talks to",
    why="Measured, but outside of the guest: each is a party to trust.",
    fix="Prefer TEEs or decentralised services for user data.",
    source="dstack stage-1 checklist, item 6",
)
def external_host(manifest: Manifest) -> Iterator[Hit]:
    """Each literal URL of a host that is no service and not this guest, and each address that names
    or logs are sent to (dns, extra_hosts, logging, shares). Medium for a bare address, plain http,
    a tunnel or a hosted backend."""
    places: dict[tuple[str, bool], tuple[Text, int]] = {}
    for text in manifest.texts:
        if not _ADDRESSED.isdisjoint((text.path[0], *text.path[2:])):
            for match in _BARE.finditer(text.unset):
                if not _LOCAL.fullmatch(match[0]) and len(places) < _MAX_HOSTS:
                    where = text.field or text.path[0]
                    places.setdefault((f"{where} {match[0]}", True), (text, match.start()))
        if "://" not in text.text or text.field == "image":
            continue
        for match in _URL.finditer(text.text):
            scheme, host, port = match.groups()
            if len(places) < _MAX_HOSTS and not _LOCAL.fullmatch(host.lower()):
                shown = f"{scheme}://{host}" + (f":{port}" if port else "")
                grave = _ADDRESS.fullmatch(host) or _CENTRAL.search(host)
                plain = scheme in _PLAIN or grave is not None
                places.setdefault((shown, plain), (text, match.start()))
    for (shown, plain), (text, offset) in places.items():
        key = re.match(r"[A-Za-z_]\w*(?==)", text.text) if text.field == "environment" else None
        message = f"{key[0]} is {shown}" if key else shown
        severity = Severity.MEDIUM if plain else None
        yield on_text(text, message, severity, offset=offset)


RULES: Final = (
    *(literal_secret, known_credential, defaulted_secret, secret_in_command, admitted_problem),
    *(development_switch, simulator, external_host),
)
