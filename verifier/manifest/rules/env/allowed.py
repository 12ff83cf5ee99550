"""ENV-009 to ENV-019: allowed_envs as a set, and how its values travel."""

import difflib
import re
from collections.abc import Iterator
from typing import Final

from verifier.evidence.compose.interpolation import Variable
from verifier.manifest.compose.paths import guest_path, holds_environment, real_path
from verifier.manifest.image import image_of
from verifier.manifest.model import COMMANDS, Manifest, Service, Text
from verifier.manifest.rule import Hit, Need, listed, on_field, on_service, on_text, rule
from verifier.manifest.rules.env.inputs import gravest, live_inputs
from verifier.model.result import Location, Severity
from verifier.patterns import pattern
from verifier.reference import env_classes
from verifier.reference.compose_attributes import attribute_at
from verifier.reference.env_classes import classify
from verifier.reference.prelaunch_scripts import LAUNCH_TOKEN

_NAME: Final = pattern(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_NOT_STRUCTURE: Final = frozenset({"environment", "image", "container_name", "models"})
"""Fields of a service that other rules judge."""
_LABELS: Final = pattern(r"^(?:traefik\.|com\.datadoghq\.|caddy)")
_ENV_DUMP: Final = pattern(r"env\b[^\n]{0,300}>")
_TELEMETRY: Final = pattern(
    r"datadog|dd-agent|otel|opentelemetry|fluent(?:d|-bit)|(?:^|/)vector|promtail|(?:^|/)loki"
    r"|sentry|newrelic|grafana-agent|logtail|papertrail"
)
_SINK_ENV: Final = pattern(
    r"^(?:DD_API_KEY|SENTRY_DSN|OTEL_EXPORTER_OTLP_ENDPOINT|NEW_RELIC_\w+|LOGTAIL_\w+|LOKI_URL)$"
)
_KEPT_LOGS: Final = frozenset({"", "json-file", "local", "none", "journald"})
_LOG_SOURCES: Final = ("/var/lib/docker/containers", "/run/log/journal", "/var/log/journal")
_GATEWAY_NAMES: Final = frozenset({"DSTACK_GATEWAY_DOMAIN", "DSTACK_APP_DOMAIN"})
_SECRET_CLASSES: Final = frozenset(
    {env_classes.APICRED, env_classes.SIGNKEY, env_classes.REG, env_classes.TLSKEY}
)
_ALWAYS_LIVE: Final = frozenset({env_classes.PROC, env_classes.ROOT, env_classes.LAUNCH})
_SIMILAR: Final = 0.7
_MAX_COMPARED: Final = 50
_MAX_NAME: Final = 100


def _whole_env(manifest: Manifest) -> Iterator[tuple[Service, Text]]:
    """The services that can read every allowed variable from the guest's own file."""
    for service in manifest.services:
        for mount in service.mounts:
            if mount.bind and holds_environment(mount.real):
                yield service, mount.text
        for text in service.env_files:
            if holds_environment(real_path(guest_path(text.unset))):
                yield service, text


def _unused(manifest: Manifest) -> list[str]:
    return sorted(
        name
        for name in manifest.allowed or ()
        if name not in manifest.used and classify(name) not in _ALWAYS_LIVE
    )


def _never_set(manifest: Manifest) -> dict[str, list[tuple[Text, Variable]]]:
    """Variables without a default that nobody sets, with their uses; images are IMG-002."""
    known = (manifest.allowed or frozenset()) | manifest.provided
    found: dict[str, list[tuple[Text, Variable]]] = {}
    for text, variable in manifest.uses:
        needs_value = variable.operator in {"", "pass", "?", ":?"}
        if needs_value and variable.name not in known and text.field != "image":
            found.setdefault(variable.name, []).append((text, variable))
    return found


@rule(
    "ENV-009",
    Severity.LOW,
    "Allowed variable that nothing reads",
    why="Dead surface that the next edit may bring to life; a sign that list and file drift apart.",
    fix="Delete the name from allowed_envs.",
    source="dstack docs/security/security-best-practices.md",
    needs=(Need.COMPOSE, Need.ALLOWED_ENVS, Need.MANIFEST),
)
def unused_name(manifest: Manifest) -> Iterator[Hit]:
    """A name in allowed_envs that neither compose file nor scripts read. Said only where every
    place that can read one is seen: no service gets the whole environment (ENV-013), no other file
    and no provider is used, and each script names what it reads."""
    if any(_whole_env(manifest)) or not manifest.all_readers_seen:
        return
    missing = list(_never_set(manifest))[:_MAX_COMPARED]
    for place, name in enumerate(_unused(manifest)):
        compared = missing if place < _MAX_COMPARED else []
        near = difflib.get_close_matches(name[:_MAX_NAME], compared, n=1, cutoff=_SIMILAR)
        note = f"; the compose file reads {near[0]}, which is not allowed" if near else ""
        yield on_field(manifest, "allowed_envs", f"nothing reads {name}{note}", names=(name,))


@rule(
    "ENV-010",
    Severity.INFO,
    "Ordinary settings that the operator chooses",
    why="The inventory of what is left to the operator.",
    fix="Write as literals what need not change.",
    source="allowed_envs of this manifest",
    needs=(Need.COMPOSE, Need.ALLOWED_ENVS, Need.MANIFEST),
)
def ordinary_settings(manifest: Manifest) -> Iterator[Hit]:
    """Variables that the operator sets and the app reads, of no class that another rule reports."""
    ordinary = live_inputs(manifest, env_classes.CONFIG, env_classes.PUBLIC)
    names = sorted({item.name for item in ordinary if item.read_as == item.name})
    if names:
        message = f"the operator chooses {listed(names)}"
        yield on_field(manifest, "allowed_envs", message, names=names)


@rule(
    "ENV-011",
    Severity.HIGH,
    "Operator's value stands where structure does",
    why="A value with a new line, a flag or a path in it rewrites the configuration around it.",
    fix="Write literals there, and pass the value to the app as a variable.",
    source="docs.docker.com interpolation; near.ai and redpill manifests",
)
def structural_value(manifest: Manifest) -> Iterator[Hit]:
    """A variable that the operator sets is part of an attribute that a rule judges: a volume, port,
    command, hook, proxy label, capability, extra host, inline configuration and so on. A single
    secret there, or a label, is medium."""
    for text in manifest.texts:
        names = manifest.operator_names(*text.variables) if text.template else ()
        if not names or text.field in _NOT_STRUCTURE or not _is_structure(text):
            continue
        secrets = all(classify(name) in _SECRET_CLASSES for name in names)
        mild = text.field == "labels" or secrets
        where = text.field or " ".join(text.path[:2])
        yield on_text(
            text,
            f"{where} contains {listed(names)}",
            Severity.MEDIUM if mild else None,
            conditional=manifest.unsure,
            offset=max(text.text.find(f"${{{names[0]}"), 0),
            names=names,
        )


def _is_structure(text: Text) -> bool:
    """Whether something that a rule judges stands here; of labels, what a proxy obeys."""
    if text.field == "labels":
        return _LABELS.match(text.path[-1]) is not None
    place = attribute_at(text.path)
    return place is not None and bool(place.rules)


@rule(
    "ENV-012",
    Severity.MEDIUM,
    "Variable that is read and never set",
    why="The app runs with an empty value and whatever its code falls back to, or a reviewer takes "
    "it to be set.",
    fix="Write a literal, or add the name to allowed_envs.",
    source="docs.docker.com interpolation",
    needs=(Need.COMPOSE, Need.ALLOWED_ENVS),
)
def never_set(manifest: Manifest) -> Iterator[Hit]:
    """A variable without a default that is neither allowed nor set by the platform or a script.
    High with `:?`, where Compose then stops."""
    for name, uses in _never_set(manifest).items():
        text, variable = uses[0]
        stops = variable.operator in {"?", ":?"}
        in_command = text.field in COMMANDS
        meant = f"; probably meant `$${name}`" if in_command and not variable.operator else ""
        services = sorted({item.service for item, _ in uses if item.service})
        where = f" by {listed(services)}" if len(services) > 1 else ""
        effect = "stops Compose" if stops else "is empty or absent"
        severity = Severity.HIGH if stops else None
        message = f"{name} is read{where} and {effect}{meant}"
        yield on_text(text, message, severity, names=(name,))


@rule(
    "ENV-013",
    Severity.HIGH,
    "A container gets the operator's whole environment",
    why="It reads every allowed name, whatever the compose file shows.",
    fix="Pass the variables that it needs one by one.",
    source="dstack public report #606; near.ai manifests",
)
def whole_environment(manifest: Manifest) -> Iterator[Hit]:
    """A mount of /dstack/.host-shared/.decrypted-env, or of a directory above it, by whichever
    attribute, or the file as `env_file`; or a script that writes the environment to a file. Low
    with an empty allowed_envs."""
    empty = manifest.allowed == frozenset()
    severity = Severity.LOW if empty else None
    names = _unused(manifest)
    only = f": {listed(names)} only this way" if names else ""
    for service, text in _whole_env(manifest):
        message = f"`{text.text}` gives {service.name} every allowed variable{only}"
        yield on_text(text, message, severity)
    for pointer, script in manifest.scripts.items():
        if _dumps_environment(script):
            place = Location(pointer=pointer)
            yield Hit(message="writes the environment to a file", place=place, severity=severity)


def _dumps_environment(script: str) -> bool:
    """Whether a line begins with `env` or `printenv` and writes to a file."""
    for found in _ENV_DUMP.finditer(script):
        before = script[script.rfind("\n", 0, found.start()) + 1 : found.start()]
        if before.strip(" \t") == "" or before.lstrip(" \t") == "print":
            return True
    return False


@rule(
    "ENV-014",
    Severity.MEDIUM,
    "The operator's environment is not authenticated",
    why="The key that encrypts it is public: the host, or whoever reaches the VMM, can replace all "
    "of it. A launch token helps until the host has seen it.",
    fix="Set requirements.launch_token_hash, or authenticate the values in the app.",
    source="dstack docs/security/security-best-practices.md, docs/encrypted-env-spec.md",
    needs=(Need.MANIFEST, Need.ALLOWED_ENVS),
)
def unauthenticated(manifest: Manifest) -> Iterator[Hit]:
    """allowed_envs is not empty, and there is neither requirements.launch_token_hash with manifest
    version 3 nor the launch-token script with its hash."""
    app = manifest.app
    if app is None or not manifest.allowed:
        return
    native = app.version == "3" and app.object("requirements").get("launch_token_hash")
    script = manifest.known_script
    by_script = script and script.name == LAUNCH_TOKEN and app.document.get("launch_token_hash")
    if not native and not by_script:
        count = len(manifest.allowed)
        yield on_field(manifest, "allowed_envs", f"the host can replace all {count} values")


@rule(
    "ENV-015",
    Severity.MEDIUM,
    "Logs or traces leave the guest",
    why="Logs and request metadata go to a third party. Filters for some containers do not change "
    "that.",
    fix="Remove or filter it, and write the endpoint as a literal.",
    source="case study of near.ai",
)
def telemetry(manifest: Manifest) -> Iterator[Hit]:
    """A telemetry image, the key of a telemetry service, or a logging driver that sends logs away.
    High where it reads all containers' logs or the Docker socket, or where the operator sets its
    key or address."""
    for service in manifest.services:
        image = image_of(manifest, service)
        sinks = [env for env in service.environment.values() if _SINK_ENV.fullmatch(env.key)]
        is_agent = service.image is not None and _TELEMETRY.search(
            f"{image.repository} {service.image.text}".lower()
        )
        driver = service.text("logging", "driver")
        if driver and driver.unset not in _KEPT_LOGS:
            yield on_text(driver, f"its logs go where the driver `{driver.unset}` sends them")
        if not is_agent and not sinks:
            continue
        operator = [name for env in sinks for name in manifest.operator_names(*env.variables)]
        reads_all = any(
            mount.source.endswith("docker.sock") or mount.real.startswith(_LOG_SOURCES)
            for mount in service.mounts
        )
        what = "reads the logs of all containers" if reads_all else "sends telemetry"
        to = f"; the operator sets {listed(operator)}" if operator else ""
        severity = Severity.HIGH if operator or reads_all else None
        yield on_service(service, f"{what}{to}", severity)


@rule(
    "ENV-016",
    Severity.LOW,
    "Invalid entry in allowed_envs",
    why="The guest never matches it: a typo hides what was meant.",
    fix="Correct or delete it.",
    source="dstack dstack-util/src/system_setup.rs",
    needs=(Need.MANIFEST,),
)
def invalid_entry(manifest: Manifest) -> Iterator[Hit]:
    """Not a string, not a variable's name, there twice, or only another case of another entry."""
    entries = manifest.app.allowed_envs if manifest.app else None
    seen: dict[str, str] = {}
    for entry in entries or ():
        if not isinstance(entry, str) or not _NAME.fullmatch(entry):
            problem = f"{entry!a} is no variable's name"
        elif entry.upper() in seen:
            other = seen[entry.upper()]
            problem = f"{entry} is there twice" if other == entry else f"{entry} and {other}"
        else:
            seen[entry.upper()] = entry
            continue
        yield on_field(manifest, "allowed_envs", problem)


@rule(
    "ENV-017",
    Severity.MEDIUM,
    "Registry credentials come from the operator",
    why="The images are private, so nobody can audit them; the operator chooses registry and "
    "account.",
    fix="Publish the images, and name them by digest.",
    source="Phala pre-launch script v0.0.1 and later",
    needs=(Need.MANIFEST, Need.ALLOWED_ENVS),
)
def registry_credentials(manifest: Manifest) -> Iterator[Hit]:
    """DSTACK_DOCKER_*, DSTACK_AWS_* or DOCKER_REGISTRY_* in allowed_envs. Low when every image is
    pinned by digest."""
    images = [image_of(manifest, service) for service in manifest.services]
    pinned = bool(images) and not any(image.replaceable for image in images)
    names = sorted(n for n in manifest.allowed or () if classify(n) == env_classes.REG)
    if names:
        message = f"{listed(names)} log in to a private registry"
        severity = Severity.LOW if pinned else None
        yield on_field(manifest, "allowed_envs", message, severity, names=names)


@rule(
    "ENV-018",
    Severity.HIGH,
    "Operator supplies a TLS key or certificate",
    why="The operator can stand in the middle of the enclave's own TLS.",
    fix="Use RA-TLS, or ACME inside the guest with a CAA record.",
    source="dstack gateway documentation",
)
def supplied_tls_key(manifest: Manifest) -> Iterator[Hit]:
    """A TLS key or certificate is read from a variable that the operator sets. A client's
    certificate for a third party is medium."""
    rated = (
        (item, Severity.MEDIUM if "CLIENT" in item.read_as.upper() else None)
        for item in live_inputs(manifest, env_classes.TLSKEY)
    )
    for item, severity in gravest(rated, Severity.HIGH):
        yield on_text(
            item.text,
            f"{item.called} is TLS material that the operator knows",
            severity,
            conditional=manifest.unsure,
            names=(item.name,),
        )


@rule(
    "ENV-019",
    Severity.INFO,
    "The gateway's domain comes from an unmeasured source",
    why="The host or the operator chooses the domain that users and ACME see.",
    fix="Write the domain as a literal.",
    source="Phala pre-launch script v0.0.6 and v0.0.10",
)
def gateway_domain(manifest: Manifest) -> Iterator[Hit]:
    """DSTACK_GATEWAY_DOMAIN or DSTACK_APP_DOMAIN is read, or is in allowed_envs."""
    allowed = sorted(_GATEWAY_NAMES & (manifest.allowed or frozenset()))
    for name in allowed:
        yield on_field(manifest, "allowed_envs", f"the operator sets {name}", names=(name,))
    for text, variable in manifest.uses:
        if variable.name in _GATEWAY_NAMES:
            message = f"{variable.name} is chosen outside of the manifest"
            yield on_text(text, message, names=(variable.name,))


RULES: Final = (
    *(unused_name, ordinary_settings, structural_value, never_set, whole_environment),
    *(unauthenticated, telemetry, invalid_entry, registry_credentials, supplied_tls_key),
    gateway_domain,
)
