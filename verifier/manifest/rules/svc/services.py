"""SVC-009, SVC-011 to SVC-015: what a service runs and needs."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.manifest.compose.paths import is_within
from verifier.manifest.model import RESTARTS, Manifest, Mount, Service, Text
from verifier.manifest.rule import Hit, listed, on_service, on_text, rule
from verifier.manifest.rules.pls import late_gate
from verifier.manifest.rules.shell import as_run, unpinned_installs
from verifier.manifest.rules.svc.privilege import HARMLESS, path_severity
from verifier.model.result import Severity
from verifier.patterns import pattern

_CONFIG_FILE: Final = pattern(r"\.(?:conf|cfg|ya?ml|json|toml|ini|sh|env)$")
_SHELL: Final = pattern(
    r"(?<![\w-])(?:sshd|dropbear|ttyd|gotty|wetty|webshell|code-server|openvscode-server|jupyter"
    r"|neko|novnc|kasm\w*|guacamole|tmate)(?![\w-])|jupyter(?:lab|hub)?[/-]|/jupyter|base-notebook"
    r"|socat\s+TCP-LISTEN[^\n]{0,300}UNIX-CONNECT"
)
_TUNNEL: Final = pattern(
    r"(?<![\w-])(?:ngrok|frpc?|frps|cloudflared|tailscaled?|openvpn|softether|wireguard|wg-easy)"
    r"(?![\w-])"
)
_SHELL_MARKS: Final = (
    *("sshd", "dropbear", "ttyd", "gotty", "wetty", "webshell", "code-server", "vscode-server"),
    *("jupyter", "notebook", "neko", "novnc", "kasm", "guacamole", "tmate", "socat"),
)
_TUNNEL_MARKS: Final = (
    *("ngrok", "frp", "cloudflared", "tailscale", "openvpn", "softether", "wireguard", "wg-easy"),
)
_PASSWORD: Final = pattern(r"PASS(?:WORD)?|TOKEN|AUTHORIZED_KEYS|PUBLIC_KEY|CREDENTIAL")
_MODEL: Final = pattern(
    r"(?:hf\s+download|huggingface-cli\s+download|--model(?:-path|-id)?)[\s=]+[\"']?"
    r"([A-Za-z0-9][\w.-]*/[\w.-]+)"
)
_REVISION: Final = pattern(r"--revision[\s=]+[0-9a-f]{40}\b", re.ASCII)
_SAME: Final = 12  # characters by which a fetch is known again
_INFERENCE: Final = pattern(r"vllm|sglang|text-generation|tgi|ollama|llama")


@rule(
    "SVC-009",
    Severity.LOW,
    "Container mounts a file of the guest that nobody measured",
    why="A relative path is /dstack/… in the guest, and usually empty: the file that the author "
    "expects is not there, and Docker makes a directory in its place.",
    fix="Put the text into `configs.…content`.",
    source="dstack os/common/rootfs/app-compose.sh (working directory)",
)
def guest_file(manifest: Manifest) -> Iterator[Hit]:
    """A bind of a path of the guest that SVC-005 does not name: by `volumes`, or a file of a secret
    or config. Medium for what looks like a configuration file, and for a share of another
    machine."""
    for service in manifest.services:
        for mount in service.mounts:
            remote = manifest.shared.remote_volume(mount.source) if not mount.bind else ""
            if remote:
                message = f"`{mount.source}` is a share of another machine: {remote}"
                yield on_text(mount.text, message, Severity.MEDIUM)
            elif mount.bind and _is_unmeasured(mount):
                severity = Severity.MEDIUM if _CONFIG_FILE.search(mount.source) else None
                yield on_text(mount.text, f"`{mount.source}` is not in the manifest", severity)


def _is_unmeasured(mount: Mount) -> bool:
    judged = path_severity(mount, third_party=False) is not None
    named = mount.real.endswith(".sock") or HARMLESS.fullmatch(mount.real) is not None
    return not judged and not named and not is_within(mount.real, "/tmp")  # noqa: S108 - SVC-016's


@rule(
    "SVC-011",
    Severity.HIGH,
    "Service is a shell, a remote desktop or a tunnel",
    why="Whoever logs in acts inside of the guest; a tunnel is a way in that no port shows.",
    fix="Remove it from production.",
    source="dstack stage-1 checklist, item 7",
)
def shell_service(manifest: Manifest) -> Iterator[Hit]:
    """Image, command or inline Dockerfile is that of sshd, ttyd, code-server, jupyter, a remote
    desktop, or relays the guest agent's socket. Critical where its password is a literal or the
    operator's; tunnels and VPNs are medium."""
    for service in manifest.services:
        texts = [*filter(None, (service.image, service.dockerfile)), *service.commands]
        shell = _first(texts, _SHELL, _SHELL_MARKS)
        if shell is None:
            shell = next((text for text in texts if "UNIX-CONNECT" in text.text), None)
        tunnel = _first(texts, _TUNNEL, _TUNNEL_MARKS)
        if shell:
            known = _password(manifest, service)
            note = f"; {known} is known to the operator or the public" if known else ""
            severity = Severity.CRITICAL if known else None
            yield on_text(shell, f"{service.name} lets people in{note}", severity)
        elif tunnel:
            yield on_text(tunnel, f"{service.name} is a tunnel", Severity.MEDIUM)


def _first(texts: list[Text], pattern: re.Pattern[str], marks: tuple[str, ...]) -> Text | None:
    """The first text that a pattern of lower case is in; each of its matches has one of `marks`."""
    for text in texts:
        lower = text.text.lower()
        if any(map(lower.__contains__, marks)) and pattern.search(lower):
            return text
    return None


def _password(manifest: Manifest, service: Service) -> str:
    for env in service.environment.values():
        given = env.literal or manifest.operator_names(*env.variables)
        if given and _PASSWORD.search(env.key.upper()):
            return env.key
    return ""


@rule(
    "SVC-012",
    Severity.MEDIUM,
    "Service installs or fetches code when it starts",
    why="What it fetches is not measured.",
    fix="Build it into the image; pin revisions.",
    source="case study of redpill",
)
def fetch_at_start(manifest: Manifest) -> Iterator[Hit]:
    """A package installation, clone or model download in command, entrypoint, health check, hook or
    an inline script. Into a shell it is high, pinned by commit or hash low; local addresses never
    count."""
    for service in manifest.services:
        for text in service.commands:
            told = set()
            for found, severity, offset in unpinned_installs(text.text):
                told.add(found)
                yield on_text(text, f"`{found}`", severity, offset=offset)
            for found, severity, _ in unpinned_installs(as_run(text.unset)):
                if not any(found[:_SAME] in other or other[:_SAME] in found for other in told):
                    yield on_text(text, f"`{found}`, in what it runs", severity)
    for name, content in manifest.config_contents.items():
        if content.text.startswith("#!"):
            for found, severity, offset in unpinned_installs(content.text):
                yield on_text(content, f"config {name}: `{found}`", severity, offset=offset)


@rule(
    "SVC-013",
    Severity.MEDIUM,
    "Model weights without a revision",
    why="Its publisher can replace what is served.",
    fix="`--revision` with a full commit, and a check of the hashes.",
    source="case study of redpill",
)
def unpinned_weights(manifest: Manifest) -> Iterator[Hit]:
    """`hf download` or `--model` with organisation/name and no --revision of 40 hex digits. High
    where the product is inference."""
    images = [service.image.text for service in manifest.services if service.image]
    severity = Severity.HIGH if any(_INFERENCE.search(image) for image in images) else None
    for service in manifest.services:
        for text in service.commands:
            models = sorted(set(_MODEL.findall(text.text)))
            if models and not _REVISION.search(text.text):
                yield on_text(
                    text, f"{service.name} takes {listed(models)} as it is then", severity
                )
        model = service.environment.get("MODEL_ID")
        if model and re.fullmatch(r"[\w.-]+/[\w.-]+", model.literal or ""):
            yield on_text(
                model.text, f"{service.name} takes {model.literal} as it is then", severity
            )


@rule(
    "SVC-014",
    Severity.INFO,
    "Dormant or scaled service",
    why="A profile starts when COMPOSE_PROFILES says so.",
    fix="Delete what does not run.",
    source="docs.docker.com profiles",
)
def dormant_service(manifest: Manifest) -> Iterator[Hit]:
    """A service with profiles, `scale` or replicas. High where COMPOSE_PROFILES is allowed."""
    live = "COMPOSE_PROFILES" in (manifest.allowed or ())
    for service in manifest.services:
        profiles = [text.unset for text in service.texts("profiles")]
        if profiles:
            severity = Severity.HIGH if live else None
            yield on_service(service, f"starts with the profile {listed(profiles)}", severity)
        scale = service.text("scale") or service.text("deploy", "replicas")
        if scale and scale.unset not in {"0", "1"}:
            yield on_text(scale, f"{scale.unset} instances")


@rule(
    "SVC-015",
    Severity.LOW,
    "Restart policy brings the container back before the gate",
    why="dockerd restores it before the pre-launch script checks anything (PLS-009).",
    fix="`restart: on-failure`, or a gate in requirements.",
    source="dstack os/common/rootfs/app-compose.service (ordering)",
)
def restart_before_gate(manifest: Manifest) -> Iterator[Hit]:
    """`restart: always` or `unless-stopped` beside a pre-launch script that is meant as a gate."""
    gated = manifest.app is not None and bool(late_gate.hits(manifest))
    for service in manifest.services:
        text = service.restart_text
        if gated and text and service.restart in RESTARTS:
            yield on_text(text, f"`restart: {service.restart}` ignores the script's check")


@rule(
    "SVC-017",
    Severity.HIGH,
    "Compose runs a program of the guest as root",
    why="What it does is not in the manifest, and its answers set variables of other services.",
    fix="Replace it by a service with an image.",
    source="docs.docker.com compose provider services; docker compose pkg/compose/plugins.go",
)
def provider_service(manifest: Manifest) -> Iterator[Hit]:
    """A service with `provider`. Critical where its type is a path, or the operator sets it."""
    for service in manifest.services:
        text = service.text("provider", "type")
        if text is not None:
            chosen = manifest.operator_names(*text.variables)
            severity = Severity.CRITICAL if chosen or "/" in text.unset else None
            message = f"{service.name} is what `{text.unset or text.text}` makes of it"
            yield on_text(text, message, severity, conditional=bool(chosen) and manifest.unsure)


RULES: Final = (
    *(guest_file, shell_service, fetch_at_start, unpinned_weights, dormant_service),
    *(restart_before_gate, provider_service),
)
