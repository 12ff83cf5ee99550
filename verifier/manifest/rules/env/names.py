"""ENV-001 to ENV-008: what a variable opens that the operator sets, by its name's class and use."""

import re
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from msgspec import Struct

from verifier.evidence.compose.interpolation import Variable
from verifier.manifest.model import COMMANDS, Manifest, Text
from verifier.manifest.rule import Hit, Need, on_field, on_text, rule
from verifier.model.result import Severity
from verifier.patterns import pattern
from verifier.reference import env_classes
from verifier.reference.env_classes import classify

_T = TypeVar("_T")
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
    r"(?:^|(?:\bpython3?|\bnode|\bsh|\bbash|\bexec|\bbun|\bdeno run|-c|-m)\s+[\"']?)"
    r"\$\{?([A-Za-z_][A-Za-z0-9_]*)"
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


class LiveInput(Struct, frozen=True):
    """A variable that the operator sets and the app reads: its first use, and all of them."""

    name: str
    label: str
    text: Text
    uses: tuple[tuple[Text, Variable], ...]

    @property
    def default_note(self) -> str:
        """What to say about a default in the compose file."""
        has_default = any(variable.default for _, variable in self.uses)
        return "; the default in the file does not bind" if has_default else ""


def live_inputs(manifest: Manifest, *labels: str) -> Iterator[LiveInput]:
    """The operator's variables of these classes (all, without any) that the compose file reads."""
    for name in manifest.live_names:
        label = classify(name)
        if not labels or label in labels:
            uses = manifest.uses_by_name[name]
            yield LiveInput(name, label, uses[0][0], tuple(uses))


def _live_hits(
    manifest: Manifest, label: str, message: str, severity: dict[Severity, re.Pattern[str]]
) -> Iterator[Hit]:
    """One hit for each live input of a class; `severity` overrides the rule's own by name."""
    for item in live_inputs(manifest, label):
        chosen = next((s for s, pattern in severity.items() if pattern.search(item.name)), None)
        yield on_text(
            item.text,
            f"{item.name} {message}{item.default_note}",
            chosen,
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
    """A variable that the operator sets, whose name is that of a URL, host, bucket or proxy, is
    read. Critical for models, APIs, databases and proxies; medium for the app's own address."""
    for item in live_inputs(manifest, env_classes.URL):
        if _LABEL_ONLY.search(item.name):
            continue
        severity = None
        if _OWN_HOST.search(item.name):
            severity = Severity.MEDIUM
        elif _DATA_PLANE.search(item.name):
            severity = Severity.CRITICAL
        yield on_text(
            item.text,
            f"{item.name} decides where data goes{item.default_note}",
            severity,
            conditional=manifest.unsure,
            names=(item.name,),
        )


@rule(
    "ENV-002",
    Severity.CRITICAL,
    "Operator selects code",
    why="As with an image of the operator's choice: other code, the same compose hash.",
    fix="Write it as a literal.",
    source="case studies of Xordi and near.ai",
)
def selected_code(manifest: Manifest) -> Iterator[Hit]:
    """A variable that the operator sets names a tag, commit, repository, module, channel or model
    path, or is itself run by a command. Image references are IMG-001 and IMG-008."""
    names_image, run_by = _once(_names_image), _once(_run_by)
    for item in live_inputs(manifest):
        run = next((text for text, _ in item.uses if item.name in run_by(text)), None)
        other = None
        if item.label == env_classes.CODE and not _CLAIM.search(item.name):
            other = next((text for text, _ in item.uses if not names_image(text)), None)
        if run or other:
            yield on_text(
                run or other or item.text,
                f"{item.name} decides which code runs{item.default_note}",
                conditional=manifest.unsure,
                names=(item.name,),
            )


def _once(function: Callable[[Text], _T]) -> Callable[[Text], _T]:
    """What a function says of the texts of one file: many variables may be in one of them."""
    known: dict[int, _T] = {}

    def answer(text: Text) -> _T:
        if id(text) not in known:
            known[id(text)] = function(text)
        return known[id(text)]

    return answer


def _names_image(text: Text) -> bool:
    return text.path[-1] == "image" or _IMAGE_KEY.search(text.text.upper()) is not None


def _run_by(text: Text) -> frozenset[str]:
    """The variables that a command runs."""
    return frozenset(_RUN.findall(text.text) if text.field in COMMANDS else ())


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
        {Severity.MEDIUM: _SESSION_KEY},
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
    yield from _live_hits(manifest, env_classes.APICRED, "is a credential of the operator's", {})


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
        manifest, env_classes.ADMIN, "is the operator's switch", {Severity.LOW: _LOW_SWITCH}
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
    yield from _live_hits(manifest, env_classes.POLICY, "is part of the app's trust policy", {})


RULES: Final = (
    *(redirected_url, selected_code, root_access, process_control, supplied_key),
    *(supplied_credential, operator_switch, operator_policy),
)
