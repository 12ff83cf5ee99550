"""ENV-001 to ENV-008: what a variable opens that the operator sets, by its name's class and use."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final

from verifier.manifest.model import COMMANDS, Env, Manifest, Text
from verifier.manifest.rule import Hit, Need, on_field, on_text, rule
from verifier.manifest.rules.env.inputs import (
    LiveInput,
    build_arguments,
    given_files,
    gravest,
    live_inputs,
)
from verifier.model.result import Severity
from verifier.patterns import pattern
from verifier.reference import env_classes
from verifier.reference.env_classes import classify

_DATA_PLANE: Final = pattern(
    r"LLM|OPENAI|MODEL|INFERENCE|API_(?:BASE_)?URL|BASE_URL|BACKEND|UPSTREAM|PROXY|RELAY|WEBHOOK"
    r"|CALLBACK|REDIRECT|DATABASE_URL|REDIS_URL|S3_ENDPOINT"
)
_OWN_HOST: Final = pattern(
    r"PUBLIC|^DOMAINS?$|FRONTEND|CORS|ORIGIN|(?:^|_)UI_|^(?:MY|SITE|SERVER)_|^HOSTNAME$"
    r"|BUCKET|SMTP|SLACK|DISCORD|_(?:MODE|USER)$"
)
_LABEL_ONLY: Final = pattern(r"^(?:DD_|CVM_|OTEL_|SENTRY|HOST_IP$|TELEMETRY)")
_RUN: Final = pattern(
    r"(?:^|(?:\bpython3?|\bnode|\bsh|\bbash|\bexec|\beval|\bbun|\bdeno run|-c|-m)\s+[\"']*)"
    r"\${1,2}\{?([A-Za-z_][A-Za-z0-9_]*)"
)
_LOADS: Final = pattern(
    r"LD_(?:PRELOAD|AUDIT|LIBRARY_PATH)|NODE_OPTIONS|BASH_ENV|PROMPT_COMMAND|PERL5(?:OPT|LIB|DB)"
    r"|RUBY(?:OPT|LIB)|PYTHON(?:PATH|STARTUP|HOME)|(?:JAVA_TOOL|JDK_JAVA|_JAVA)_OPTIONS"
)
"""Variables by which a container's interpreters and loaders are told to run something else."""
_RUN_FILE: Final = pattern(
    r"(?:^|[;&|]\s*|(?<![\w/-])(?:python3?|node|(?:ba|da|z)?sh|perl|ruby|php|bun|source|exec|\.)\s+"
    r"(?:-\w+\s+)*)[\"']?(/[^\s\"';&|]+)"
)
_FROM_ARGUMENT: Final = pattern(
    r"^[ \t]*(?:FROM[^\n$]*|(?:COPY|ADD)[^\n$]*--from=[^\s$]*)\${1,2}\{?([A-Za-z_][A-Za-z0-9_]*)",
    re.MULTILINE | re.IGNORECASE,
)
_CLAIM: Final = pattern(r"(?:GIT_SHA|IMAGE_DIGEST|GIT_COMMIT)$")
_IMAGE_KEY: Final = pattern(r"(?:IMAGE|IMG|CONTAINER)(?:_?(?:REF|TAG|DIGEST|NAME|REPO))?=")
_LOW_SWITCH: Final = pattern(r"LOG_LEVEL|RUST_LOG|^(?:NODE_)?ENV(?:IRONMENT)?$")
_SESSION_KEY: Final = pattern(r"SESSION|COOKIE|JWT|NEXTAUTH|CSRF")
_SHELL_NAMES: Final = pattern(
    r"^(?:GRANT_SUDO|TTYD_\w+|JUPYTER_TOKEN|VNC_\w*PASSWORD|NEKO_\w*PASSWORD)$"
)
_SHELL_IMAGE: Final = pattern(r"ttyd|jupyter|notebook|vnc|neko|sshd|openssh|webtop|code-server")
_PROC_CRITICAL: Final = pattern(
    r"^(?:BASH_ENV|PATH|LD_\w+|APP_COMPOSE_FILE|COMPOSE_FILE|DOCKER_HOST|DOCKER_CONTEXT|SHELLOPTS"
    r"|BASHOPTS|PS4)$"
)
_PROC_HIGH: Final = pattern(
    r"PROXY$|^(?:SSL_CERT_\w+|CURL_CA_BUNDLE|COMPOSE_PROFILES|DOCKER_DEFAULT_PLATFORM)$"
)
_BEST_PRACTICES: Final = "dstack docs/security/security-best-practices.md"


def _live_hits(
    manifest: Manifest,
    label: str,
    message: str,
    own: Severity,
    milder: tuple[Severity, re.Pattern[str]] | None = None,
) -> Iterator[Hit]:
    """One hit for each live input of a class, with the rule's `own` severity, or a milder one where
    a pattern is in its name."""
    rated = (
        (item, milder[0] if milder and milder[1].search(item.read_as) else None)
        for item in live_inputs(manifest, label)
    )
    for item, severity in gravest(rated, own):
        yield on_text(
            item.text,
            f"{item.called} {message}{item.default_note}",
            severity,
            conditional=manifest.unsure,
            names=(item.name,),
        )


@rule(
    "ENV-001",
    Severity.HIGH,
    "Operator can redirect a URL or host",
    why="The operator sends user data or credentials elsewhere without a new compose hash. A "
    "default in the file does not bind; URLs that only the code knows are invisible here.",
    fix="Write the URL as a literal.",
    source="case studies of Xordi and near.ai",
)
def redirected_url(manifest: Manifest) -> Iterator[Hit]:
    """A variable that the operator sets is read, whose name, or that of a container's variable with
    its value, is that of a URL, host, bucket or proxy. Critical for models, APIs, databases and
    proxies; medium for the app's own address."""
    rated = (
        (item, _severity_of_url(item.read_as))
        for item in live_inputs(manifest, env_classes.URL)
        if not _LABEL_ONLY.search(item.read_as)
    )
    for item, severity in gravest(rated, Severity.HIGH):
        yield on_text(
            item.text,
            f"{item.called} decides where data goes{item.default_note}",
            severity,
            conditional=manifest.unsure,
            names=(item.name,),
        )


def _severity_of_url(name: str) -> Severity | None:
    if _OWN_HOST.search(name):
        return Severity.MEDIUM
    return Severity.CRITICAL if _DATA_PLANE.search(name) else None


@rule(
    "ENV-002",
    Severity.CRITICAL,
    "Operator selects code",
    why="As with an image of the operator's choice: other code, the same compose hash.",
    fix="Write it as a literal.",
    source="case studies of Xordi and near.ai",
)
def selected_code(manifest: Manifest) -> Iterator[Hit]:
    """A variable that the operator sets, or a container's variable with its value, names a tag,
    commit, repository, module, channel or model path, or what an interpreter or loader runs
    (NODE_OPTIONS, LD_PRELOAD), or is itself run by a command, or is all of a file that is, or
    names the image that an inline Dockerfile takes. Other references are IMG-001 and IMG-008."""
    found: dict[str, tuple[str, Text]] = {}
    for item in live_inputs(manifest):
        text = _code_of(manifest, item)
        if text is not None:
            said = f"{item.called} decides which code runs{item.default_note}"
            found.setdefault(item.name, (said, text))
    for service in manifest.services:
        for file in given_files(manifest, service):
            if any(_runs_file(command, file.target) for command in service.commands):
                said = f"{file.name}, as {file.target}, decides which code runs"
                found.setdefault(file.name, (said, file.text))
    for name, (said, text) in found.items():
        yield on_text(text, said, conditional=manifest.unsure, names=(name,))


def _code_of(manifest: Manifest, item: LiveInput) -> Text | None:
    """Where a variable chooses code, under one of its names; None where it does not."""
    run = next((text for text, _ in item.uses if item.name in _run_by(text)), None)
    run = run or next(_running(manifest, item), None)
    if run is not None:
        return run
    if item.label == env_classes.CODE and not _CLAIM.search(item.read_as):
        return next((text for text, _ in item.uses if not _names_image(text)), None)
    loads = item.read_as in item.keys and _LOADS.fullmatch(item.read_as)
    return item.text if loads else None


def _running(manifest: Manifest, item: LiveInput) -> Iterator[Text]:
    """The commands that run a container's variable which has the value of the operator's, and the
    inline Dockerfiles that begin with, or copy from, an image that such an argument names."""
    for service in manifest.services if item.keys else ():
        for command in service.commands:
            if any(_gives(service.environment, key, item) for key in _run_by(command)):
                yield command
        dockerfile = service.dockerfile
        if dockerfile is not None:
            arguments = build_arguments(service)
            named = _FROM_ARGUMENT.findall(dockerfile.text)
            if any(_gives(arguments, key, item) for key in named):
                yield dockerfile


def _gives(entries: Mapping[str, Env], key: str, item: LiveInput) -> bool:
    """Whether an entry has the value of the operator's variable."""
    entry = entries.get(key)
    return entry is not None and item.name in {variable.name for variable in entry.variables}


def _runs_file(command: Text, path: str) -> bool:
    """Whether a command runs a file of the container."""
    return path in command.text and path in _RUN_FILE.findall(command.text)


def _names_image(text: Text) -> bool:
    return text.path[-1] == "image" or _IMAGE_KEY.search(text.text.upper()) is not None


def _run_by(text: Text) -> frozenset[str]:
    """The variables that a command runs."""
    return _names_run(text.text) if text.field in COMMANDS and "$" in text.text else frozenset()


@lru_cache(maxsize=64)  # many variables may be in one text
def _names_run(command: str) -> frozenset[str]:
    return frozenset(_RUN.findall(command))


@rule(
    "ENV-003",
    Severity.CRITICAL,
    "allowed_envs opens a way to a root shell",
    why="A root shell in the guest has the app's keys, its memory and its traffic. Phala's command "
    "line adds DSTACK_AUTHORIZED_KEYS by itself unless told --no-dev-os: its presence is a "
    "capability, not an intent.",
    fix="Remove the name, and deploy with --no-dev-os.",
    source="Phala pre-launch script v0.0.4 and v0.0.8; case study of redpill",
    needs=(Need.MANIFEST, Need.ALLOWED_ENVS),
)
def root_access(manifest: Manifest) -> Iterator[Hit]:
    """DSTACK_ROOT_PASSWORD, DSTACK_ROOT_PUBLIC_KEY, DSTACK_AUTHORIZED_KEYS and the like in
    allowed_envs; a shell's own password where such a service is there. High, not critical, on an OS
    that is known to be a production image: it has no SSH server."""
    shells = [s for s in manifest.services if s.image and _SHELL_IMAGE.search(s.image.text)]
    production = manifest.context.os_kind == "production" and not shells
    for name in sorted(manifest.allowed or ()):
        is_root = classify(name) == env_classes.ROOT
        if is_root or (shells and _SHELL_NAMES.fullmatch(name.upper())):
            yield on_field(
                manifest,
                "allowed_envs",
                f"{name} lets the operator into the guest",
                Severity.HIGH if production else None,
                conditional=not manifest.context.os_kind,
                names=(name,),
            )


@rule(
    "ENV-004",
    Severity.CRITICAL,
    "allowed_envs steers the shell, the loader or Docker",
    why="The values enter the root bash that starts everything, before anything runs: BASH_ENV "
    "executes, COMPOSE_FILE and DOCKER_HOST replace what is started.",
    fix="Remove the name.",
    source="dstack os/common/rootfs/app-compose.service (EnvironmentFile) and app-compose.sh",
    needs=(Need.MANIFEST, Need.ALLOWED_ENVS),
)
def process_control(manifest: Manifest) -> Iterator[Hit]:
    """A name that bash, the dynamic loader, Docker, Compose, curl or git obey, used or not.
    Critical where it runs or replaces code, high for proxies and CA files, else medium."""
    for name in sorted(manifest.allowed or ()):
        if classify(name) != env_classes.PROC:
            continue
        upper = name.upper()
        severity = Severity.MEDIUM
        if _PROC_CRITICAL.fullmatch(upper):
            severity = Severity.CRITICAL
        elif _PROC_HIGH.search(upper):
            severity = Severity.HIGH
        message = f"{name} acts on the guest's own tools"
        yield on_field(manifest, "allowed_envs", message, severity, names=(name,))


@rule(
    "ENV-005",
    Severity.HIGH,
    "Operator supplies a signing or root key",
    why="Whoever knows the key can sign and decrypt as the enclave does, and attestation cannot "
    "show who that is.",
    fix="Let the guest derive the key (getKey of dstack's SDK), so that nobody ever supplies it.",
    source="case studies of Xordi and Primus",
)
def supplied_key(manifest: Manifest) -> Iterator[Hit]:
    """A private key, mnemonic, seed, master or signing key is read from a variable that the
    operator sets. Session and cookie keys are medium."""
    yield from _live_hits(
        manifest,
        env_classes.SIGNKEY,
        "is a key that the operator knows",
        Severity.HIGH,
        (Severity.MEDIUM, _SESSION_KEY),
    )


@rule(
    "ENV-006",
    Severity.LOW,
    "Operator supplies a third party's credential",
    why="The usual purpose of encrypted variables; but the operator can swap the account, and read "
    "in it what the app writes.",
    fix="Document it, and bind the account's id as a literal.",
    source=_BEST_PRACTICES,
)
def supplied_credential(manifest: Manifest) -> Iterator[Hit]:
    """An API key, token, secret or password is read from a variable that the operator sets."""
    message = "is a credential of the operator's"
    yield from _live_hits(manifest, env_classes.APICRED, message, Severity.LOW)


@rule(
    "ENV-007",
    Severity.HIGH,
    "Operator can turn on an admin, debug or bypass switch",
    why="It turns on a path that reviewers took to be off.",
    fix="Write the literal value, or remove the path from the code.",
    source="case studies of Xordi and near.ai",
)
def operator_switch(manifest: Manifest) -> Iterator[Hit]:
    """A debug, mock, bypass, skip, admin, allow-list or migration switch is read from a variable
    that the operator sets. Log levels and environment names are low."""
    yield from _live_hits(
        manifest,
        env_classes.ADMIN,
        "is the operator's switch",
        Severity.HIGH,
        (Severity.LOW, _LOW_SWITCH),
    )


@rule(
    "ENV-008",
    Severity.HIGH,
    "Operator decides whom the app trusts",
    why="Contracts, RPC nodes, expected measurements and allow-lists are the enclave's own policy.",
    fix="Write it as a literal.",
    source="case studies of Primus and near.ai",
)
def operator_policy(manifest: Manifest) -> Iterator[Hit]:
    """A contract, RPC node, chain, expected hash, trusted key or verification setting is read from
    a variable that the operator sets."""
    message = "is part of the app's trust policy"
    yield from _live_hits(manifest, env_classes.POLICY, message, Severity.HIGH)


RULES: Final = (
    *(redirected_url, selected_code, root_access, process_control, supplied_key),
    *(supplied_credential, operator_switch, operator_policy),
)
