"""SVC-001 to SVC-008, SVC-016: what a container may do to the guest. The guest is one trust domain:
each of these matters most where the image can be replaced, is somebody else's, or is reachable."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.manifest.compose.paths import (
    PERSISTENT,
    guest_path,
    holds_keys,
    is_environment,
    is_within,
    real_path,
)
from verifier.manifest.image import Kind, image_of
from verifier.manifest.model import Manifest, Mount, Service, is_on, published_services
from verifier.manifest.remembered import remembered
from verifier.manifest.rule import Hit, listed, on_service, on_text, rule
from verifier.model.result import Severity
from verifier.patterns import pattern
from verifier.reference import env_classes
from verifier.reference.env_classes import classify

_KICS: Final = "KICS, Docker Compose queries"
_RUNTIME_SOCKETS: Final = (
    *("/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"),
    *("/run/crio/crio.sock", "/run/docker/containerd/containerd.sock", "/run/docker.sock.raw"),
)
_GUEST_SOCKETS: Final = ("/run/dstack.sock", "/run/tappd.sock")
_OWN_PRODUCTS: Final = pattern(r"^(?:dstack-ingress|dstack-gateway|dstack-kms|kms|vllm-proxy)$")
_DANGEROUS: Final = frozenset(
    [
        "ALL",
        "SYS_ADMIN",
        "SYS_PTRACE",
        "SYS_MODULE",
        "SYS_RAWIO",
        "DAC_READ_SEARCH",
        "BPF",
        "PERFMON",
        "SYS_BOOT",
        "SYSLOG",
        "MKNOD",
    ]
)
_NETWORK_CAPABILITIES: Final = frozenset({"NET_ADMIN", "NET_RAW"})
_WHOLE_GUEST: Final = frozenset({"ALL", "SYS_MODULE"})
_GUEST_PATHS: Final = (
    *("/var/lib/docker", "/var/lib/containerd", "/etc", "/root", "/proc", "/sys", "/boot"),
    *("/dev", "/run", "/dstack/agent.json", "/dstack/persistent/var"),
)
HARMLESS: Final = pattern(
    r"/etc/(?:localtime|timezone|resolv\.conf|hosts|ssl/certs(?:/.*)?|ca-certificates(?:/.*)?)"
)
REMOTE_CONTEXT: Final = pattern(r"^(?:[\w-]+://|git@|service:|github\.com/)|\.git(?:#|$)")
"""A build context that is no directory of the guest."""
_COPIES: Final = pattern(r"^[ \t]*(?:COPY|ADD)\b|--mount=type=bind", re.MULTILINE | re.IGNORECASE)
_UNCONFINED: Final = pattern(
    r"(?:seccomp|apparmor|systempaths)[:=]unconfined|label[:=]disable"
    r"|no-new-privileges[:=]false|seccomp[:=][^{]*[./]",
    re.IGNORECASE,
)
_RUNTIMES: Final = frozenset({"", "runc", "nvidia", "io.containerd.runc.v2", "sysbox-runc"})
_GPU: Final = pattern(r"nvidia|/dev/dri|gpu")


def _is_socket(mount: Mount, sockets: tuple[str, ...]) -> bool:
    """Whether a socket can be reached through a mount: as itself, or in a folder above it."""
    names = {socket.rpartition("/")[2] for socket in sockets}
    ends = {mount.real.rpartition("/")[2], mount.target.rpartition("/")[2]}
    return bool(ends & names) or (mount.bind and any(is_within(s, mount.real) for s in sockets))


@rule(
    "SVC-001",
    Severity.MEDIUM,
    "Container controls the container runtime",
    why="It is root in the guest: it starts any container and reads every key and variable. "
    "`:ro` does not help.",
    fix="Mount neither the socket nor a directory above it, or put a proxy with a fixed scope "
    "before it.",
    source=f"{_KICS}; case studies of near.ai and Xordi",
)
def runtime_socket(manifest: Manifest) -> Iterator[Hit]:
    """docker.sock, containerd.sock or the like, a directory that contains it, `use_api_socket`, or
    DOCKER_HOST over TCP. High where the image can be replaced or is somebody's product, or a port
    is published."""
    for service in manifest.services:
        image = image_of(manifest, service)
        exposed = image.replaceable or image.third_party or service.public_ports
        severity = Severity.HIGH if exposed else None
        for mount in service.mounts:
            if _is_socket(mount, _RUNTIME_SOCKETS):
                how = f" ({mount.how})" if mount.how else ""
                yield on_text(mount.text, f"`{mount.source}`{how} gives it the runtime", severity)
        for environment in (service.environment, *(hook.environment for hook in service.hooks)):
            host = environment.get("DOCKER_HOST")
            if host and (host.literal or "").startswith("tcp://"):
                yield on_text(host.text, f"it reaches the runtime at {host.literal}", severity)


@rule(
    "SVC-002",
    Severity.MEDIUM,
    "Container is privileged",
    why="It is the guest's root.",
    fix="Name the capabilities and devices that it needs.",
    source=f"{_KICS}; case study of redpill",
    escalates=True,
)
def privileged(manifest: Manifest) -> Iterator[Hit]:
    """`privileged` is true, as a boolean or as text, or can be made so: for the container, a hook
    or the build; or the build is given the entitlement `security.insecure`."""
    for service in manifest.services:
        places = [
            (service.text("privileged"), "is"),
            *((hook.privileged, f"runs {hook.path[2]} as") for hook in service.hooks),
            (service.text("build", "privileged"), "is built as"),
        ]
        for text, how in places:
            if text and (is_on(text) or manifest.operator_names(*text.variables)):
                yield on_text(text, f"{service.name} {how} root in the guest")
        for text in service.texts("build", "entitlements"):
            if text.unset.startswith("security.insecure"):
                yield on_text(text, f"{service.name} is built as root in the guest")


@rule(
    "SVC-003",
    Severity.MEDIUM,
    "Container shares the guest's namespaces",
    why="It sees other processes and their environment, which holds secrets.",
    fix="Drop it.",
    source=f"{_KICS}; case study of near.ai",
    escalates=True,
)
def host_namespaces(manifest: Manifest) -> Iterator[Hit]:
    """pid, ipc, uts, userns_mode or cgroup is `host`, that of a service where it is, or that of a
    container which is not in the file. For the network see NET-002."""
    for service in manifest.services:
        for name in ("pid", "ipc", "uts", "userns_mode", "cgroup"):
            text = service.text(name)
            leads_to = manifest.namespace_of(service, name) if text else ""
            if text and (leads_to == "host" or leads_to.startswith("container:")):
                yield on_text(text, f"`{name}: {text.unset}`")


@rule(
    "SVC-004",
    Severity.MEDIUM,
    "Container has a dangerous capability",
    why="With it, it leaves its container or inspects others.",
    fix="`cap_drop: [ALL]`, and the least that it needs.",
    source=_KICS,
    escalates=True,
)
def capabilities(manifest: Manifest) -> Iterator[Hit]:
    """cap_add names one that leads out of the container. ALL and SYS_MODULE are high, NET_ADMIN and
    NET_RAW low."""
    for service in manifest.services:
        for text in service.texts("cap_add"):
            name = text.unset.upper().removeprefix("CAP_")
            if name in _WHOLE_GUEST:
                yield on_text(text, f"{name}: the whole guest", Severity.HIGH)
            elif name in _DANGEROUS:
                yield on_text(text, name)
            elif name in _NETWORK_CAPABILITIES:
                yield on_text(text, name, Severity.LOW)


@rule(
    "SVC-005",
    Severity.HIGH,
    "Container mounts the guest's root or state",
    why="The disk key, the app's keys and the decrypted environment lie there.",
    fix="Put the files into the image or into `configs:`, or mount the one that it needs: `.` is "
    "/dstack, where the guest's keys are.",
    source=f"{_KICS}; dstack docs/security/cvm-boundaries.md",
    escalates=True,
)
def guest_paths(manifest: Manifest) -> Iterator[Hit]:
    """A bind of /, /dstack, /tapp, /var/lib/docker, /etc, /root, /proc, /sys, /boot, /dev, /run or
    below (sockets apart), or of a directory above one of them: by `volumes`, a volume's driver
    options, a file of `secrets` or `configs`. Relative paths are below /dstack. Read-only is one
    level less, unless keys are in it; critical where keys meet somebody's product. What apps keep
    under /dstack/persistent is info. A build from a directory with the keys is medium, high where
    its inline Dockerfile copies."""
    for service in manifest.services:
        third_party = image_of(manifest, service).third_party
        for mount in service.mounts:
            severity = path_severity(mount, third_party=third_party)
            if severity is not None:
                how = "read-only" if mount.read_only else "writable"
                by = f", by {mount.how}" if mount.how else ""
                yield on_text(mount.text, f"{_shown(mount)}, {how}{by}", severity)
        yield from _built_from(service)


def _shown(mount: Mount) -> str:
    """A path, with what it is in the guest where it is written otherwise, and what lies there."""
    said = mount.text.unset.partition(":")[0]
    path = f"`{mount.source}`"
    if not mount.how and said.rstrip("/") not in {mount.source, ""}:
        path = f"`{said}`, which is {path} in the guest"
    elif mount.real != mount.source:
        path = f"{path}, which is `{mount.real}` in the guest"
    if is_environment(mount.real):
        return f"{path}, the decrypted environment"
    return f"{path}, where the app's keys lie" if holds_keys(mount.real) else path


def path_severity(mount: Mount, *, third_party: bool) -> Severity | None:
    """How much of the guest a mount gives away; None where it is no matter of SVC-005."""
    path = mount.real
    if not mount.bind or path.endswith(".sock") or HARMLESS.fullmatch(path):
        return None
    if holds_keys(path):
        grave = third_party and not is_environment(path)
        return Severity.CRITICAL if grave else Severity.HIGH
    if _meets_guest(path):
        return Severity.MEDIUM if mount.read_only else Severity.HIGH
    return Severity.INFO if is_within(path, PERSISTENT) else None


@remembered
def _meets_guest(path: str) -> bool:
    """Whether a real path is, contains or lies in one of the guest's own."""
    return any(is_within(path, top) or is_within(top, path) for top in _GUEST_PATHS)


def _built_from(service: Service) -> Iterator[Hit]:
    dockerfile = service.dockerfile
    copies = dockerfile is not None and _COPIES.search(dockerfile.text) is not None
    for text in service.build_contexts:
        local = text.unset and not REMOTE_CONTEXT.search(text.unset)
        if local and holds_keys(real_path(guest_path(text.unset))):
            shown = guest_path(text.unset)
            severity = Severity.HIGH if copies else Severity.MEDIUM
            yield on_text(text, f"{service.name} is built from `{shown}`", severity)


@rule(
    "SVC-006",
    Severity.MEDIUM,
    "Container can use the app's keys and quotes",
    why="The guest agent's socket gives any key path and any quote: whoever is in this container "
    "signs as the app.",
    fix="Pin the image, and mount the socket only where it is needed.",
    source="dstack public report #617; case studies of redpill and Xordi",
)
def agent_socket(manifest: Manifest) -> Iterator[Hit]:
    """dstack.sock or tappd.sock is mounted. Critical for an image that the operator chooses, high
    for somebody's replaceable product that is published, medium for any replaceable or foreign
    image, info for the app's own pinned one."""
    for service in manifest.services:
        mounts = [mount for mount in service.mounts if _is_socket(mount, _GUEST_SOCKETS)]
        if not mounts:
            continue
        image = image_of(manifest, service)
        own = not image.third_party or _OWN_PRODUCTS.fullmatch(image.basename)
        if image.kind is Kind.OPERATOR:
            severity = Severity.CRITICAL
        elif own:
            severity = Severity.MEDIUM if image.replaceable else Severity.INFO
        else:
            risky = image.replaceable and service.public_ports
            severity = Severity.HIGH if risky else Severity.MEDIUM
        sockets = listed([mount.source for mount in mounts])
        conditional = image.kind is Kind.OPERATOR and manifest.unsure
        yield on_text(mounts[0].text, f"`{sockets}`", severity, conditional=conditional)


@rule(
    "SVC-007",
    Severity.LOW,
    "Container uses the old guest agent alone",
    why="tappd.sock is the interface of releases before 0.5.",
    fix="Mount dstack.sock.",
    source="dstack guest-agent documentation",
)
def legacy_socket(manifest: Manifest) -> Iterator[Hit]:
    """tappd.sock without dstack.sock."""
    for service in manifest.services:
        sources = {mount.source.rpartition("/")[2]: mount for mount in service.mounts}
        if "tappd.sock" in sources and "dstack.sock" not in sources:
            yield on_text(sources["tappd.sock"].text, "only tappd.sock")


@rule(
    "SVC-008",
    Severity.MEDIUM,
    "Devices or security options weaken isolation",
    why="The kernel's protection of other containers is switched off.",
    fix="Remove them.",
    source=_KICS,
    escalates=True,
)
def weak_isolation(manifest: Manifest) -> Iterator[Hit]:
    """Devices (/dev/net/tun is low, GPUs are info), device_cgroup_rules, unconfined seccomp or
    AppArmor, a seccomp profile in a file, kernel sysctls, cgroup_parent, another runtime."""
    for service in manifest.services:
        for text in service.devices:
            severity = None
            if "/dev/net/tun" in text.unset:
                severity = Severity.LOW
            elif _GPU.search(text.unset.lower()):
                severity = Severity.INFO
            yield on_text(text, f"the device `{text.unset}`", severity)
        if service.has_gpu:
            yield on_service(service, "it is given GPUs", Severity.INFO)
        yield from _options(service)


def _options(service: Service) -> Iterator[Hit]:
    for text in service.texts("security_opt"):
        if _UNCONFINED.search(text.unset):
            yield on_text(text, f"`{text.unset}`")
    for text in (*service.texts("device_cgroup_rules"), *service.texts("cgroup_parent")):
        yield on_text(text, f"`{text.unset}`")
    for text in service.texts("sysctls"):
        if text.unset.startswith("kernel."):
            yield on_text(text, f"`{text.unset}`")
    runtime = service.text("runtime")
    if runtime and runtime.unset not in _RUNTIMES:
        yield on_text(runtime, f"the runtime `{runtime.unset}`")


@rule(
    "SVC-010",
    Severity.LOW,
    "Published services are not hardened",
    why="Defence in depth.",
    fix="Set user, read_only, cap_drop or no-new-privileges.",
    source=_KICS,
)
def no_hardening(manifest: Manifest) -> Iterator[Hit]:
    """A service with a public port has none of: a user that is not root, read_only, cap_drop,
    no-new-privileges. Reported once."""
    plain = [service for service in published_services(manifest) if not _hardened(service)]
    if plain:
        yield on_service(plain[0], f"no hardening of {listed([s.name for s in plain])}")


def _hardened(service: Service) -> bool:
    user = service.text("user")
    options = " ".join(text.unset for text in service.texts("security_opt"))
    return (
        (user is not None and user.unset.partition(":")[0] not in {"root", "0", ""})
        or service.is_true("read_only")
        or bool(service.texts("cap_drop"))
        or "no-new-privileges" in options
    )


@rule(
    "SVC-016",
    Severity.MEDIUM,
    "Somebody's product shares storage with a service that holds secrets",
    why="It reads what the other one writes.",
    fix="Give each its own volume.",
    source="dstack public report #617",
)
def shared_storage(manifest: Manifest) -> Iterator[Hit]:
    """A volume of a service with the agent's socket or secret variables is also mounted into
    somebody's product; `volumes_from`; a bind of /tmp."""
    owners: dict[str, list[Service]] = {}
    for service in manifest.services:
        for mount in service.mounts:
            if mount.bind and mount.source == "/tmp":  # noqa: S108 - a path in evidence
                yield on_text(mount.text, "every container that mounts it shares it")
            elif mount.source and not mount.bind:
                owners.setdefault(mount.source, []).append(service)
        for text in service.texts("volumes_from"):
            yield on_text(text, f"all volumes of `{text.unset}`")
    for volume, services in owners.items():
        foreign = [s for s in services if image_of(manifest, s).third_party]
        secret = [s for s in services if s not in foreign and _has_secrets(s)]
        if foreign and secret:
            names = listed([service.name for service in secret])
            yield on_service(foreign[0], f"shares the volume {volume} with {names}")


def _has_secrets(service: Service) -> bool:
    kinds = {env_classes.APICRED, env_classes.SIGNKEY}
    return any(_is_socket(mount, _GUEST_SOCKETS) for mount in service.mounts) or any(
        classify(name) in kinds for name in service.environment
    )


RULES: Final = (
    *(runtime_socket, privileged, host_namespaces, capabilities, guest_paths, agent_socket),
    *(legacy_socket, weak_isolation, no_hardening, shared_storage),
)
