"""RTF: what the guest shows and enforces by the manifest's flags."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.manifest.model import Manifest, published_services
from verifier.manifest.rule import Hit, Need, on_field, on_service, rule
from verifier.manifest.rules.net import host_network_of
from verifier.model.result import Severity
from verifier.patterns import pattern

_ROUTES: Final = "dstack guest-agent/src/http_routes.rs"
_VERBOSE: Final = pattern(r"\b(?:debug|trace)\b", re.IGNORECASE)
_LOG_KEYS: Final = pattern(r"LOG_LEVEL|RUST_LOG|^DEBUG$|_DEBUG$")
_TIME: Final = pattern(r"TIMELOCK|EXPIR|NTS|OTP|JWT|_DELAY(?:_MS)?$|STAGING_DELAY|NOT_BEFORE")
_GPU_WEAK: Final = ("allow_devtools", "allow_debug", "allow_insecure_boot")
_MANY_PORTS: Final = 10
_MANIFEST: Final = (Need.MANIFEST,)


@rule(
    "RTF-001",
    Severity.MEDIUM,
    "Container logs are public",
    why="Anybody reads them on port 8090: prompts and tokens that reach stdout are published. Some "
    "auditors want that; it is the default of Phala's command line.",
    fix="public_logs: false in production.",
    source=_ROUTES,
    needs=_MANIFEST,
)
def public_logs(manifest: Manifest) -> Iterator[Hit]:
    """public_logs is true. High where debug or request logging is on, or the operator can turn it
    on."""
    if manifest.app is None or not manifest.app.flags["public_logs"]:
        return
    verbose = [
        env.key
        for service in manifest.services
        for env in service.environment.values()
        if _LOG_KEYS.search(env.key.upper())
        and (_VERBOSE.search(env.literal or "") or manifest.operator_names(*env.variables))
    ]
    verbose += [
        "--enable-log-requests"
        for service in manifest.services
        for text in service.commands
        if "--enable-log-requests" in text.text
    ]
    note = f", and {verbose[0]} makes them verbose" if verbose else ""
    severity = Severity.HIGH if verbose else None
    yield on_field(manifest, "public_logs", f"anybody reads the logs{note}", severity)


@rule(
    "RTF-002",
    Severity.INFO,
    "System information is public",
    why="Load and metadata help to observe the app from outside.",
    fix="public_sysinfo: false.",
    source=_ROUTES,
    needs=_MANIFEST,
)
def public_sysinfo(manifest: Manifest) -> Iterator[Hit]:
    """public_sysinfo is true."""
    if manifest.app is not None and manifest.app.flags["public_sysinfo"]:
        yield on_field(manifest, "public_sysinfo", "/metrics and the system panel are public")


@rule(
    "RTF-003",
    Severity.LOW,
    "The host sets the clock",
    why="Expiry, time locks and certificates are judged by a clock that the host chose at boot.",
    fix="secure_time: true, the default from 0.5.0 on.",
    source="dstack dstack-types/src/lib.rs",
    needs=_MANIFEST,
)
def host_clock(manifest: Manifest) -> Iterator[Hit]:
    """secure_time is false in the manifest. Medium where the compose file deals with delays, expiry
    or one-time codes."""
    if manifest.document.get("secure_time") is not False:
        return
    timed = sorted(
        env.key
        for service in manifest.services
        for env in service.environment.values()
        if _TIME.search(env.key.upper())
    )
    note = f", and {timed[0]} depends on it" if timed else ""
    severity = Severity.MEDIUM if timed else None
    yield on_field(manifest, "secure_time", f"the clock is the host's{note}", severity)


@rule(
    "RTF-004",
    Severity.LOW,
    "Instances have no identity",
    why="They share the disk key, and RTMR3 does not tell them apart.",
    fix="no_instance_id: false, unless a shared disk is meant.",
    source="dstack public report #549",
    needs=_MANIFEST,
)
def no_instance_id(manifest: Manifest) -> Iterator[Hit]:
    """no_instance_id is true. Medium with a KMS."""
    if manifest.app is not None and manifest.app.flags["no_instance_id"]:
        severity = Severity.MEDIUM if manifest.app.provider == "kms" else None
        yield on_field(manifest, "no_instance_id", "all instances are one", severity)


@rule(
    "RTF-005",
    Severity.LOW,
    "Data disk without integrity protection",
    why="ext4 on the encrypted disk does not notice what the host changes; zfs does.",
    fix="storage_fs: zfs.",
    source="dstack docs/security/cvm-boundaries.md",
    needs=_MANIFEST,
)
def ext4_disk(manifest: Manifest) -> Iterator[Hit]:
    """storage_fs is ext4."""
    if manifest.document.get("storage_fs") == "ext4":
        yield on_field(manifest, "storage_fs", "ext4")


@rule(
    "RTF-006",
    Severity.INFO,
    "The metadata page lists containers whatever the flags say",
    why="It lets anybody compare what runs with what is declared (RUN-001).",
    fix="None.",
    source=_ROUTES,
    needs=(Need.PAGE,),
)
def listed_containers(manifest: Manifest) -> Iterator[Hit]:
    """The page names containers."""
    names = manifest.context.containers
    if names:
        yield on_field(manifest, "public_logs", f"the page names {len(names)} containers")


@rule(
    "RTF-007",
    Severity.LOW,
    "Gateway forwards any port",
    why="Every port that something listens on is reachable.",
    fix="port_policy with restrict_mode and a list.",
    source="dstack dstack-types/src/lib.rs (PortPolicy)",
    needs=(Need.MANIFEST, Need.COMPOSE),
)
def open_ports(manifest: Manifest) -> Iterator[Hit]:
    """No port_policy.restrict_mode, and a service has the host's network or many ports are
    published."""
    if manifest.app is None or manifest.app.object("port_policy").get("restrict_mode") is True:
        return
    host = [s for s in manifest.services if host_network_of(manifest, s)]
    published = list(published_services(manifest))
    count = sum(len(service.public_ports) for service in published)
    wide = host or (published if count > _MANY_PORTS else [])
    if wide:
        yield on_service(wide[0], "no list restricts what the gateway forwards")


@rule(
    "RTF-008",
    Severity.MEDIUM,
    "GPU policy is weakened",
    why="The GPU's memory is then open to debugging, or nobody checks that it is confidential.",
    fix="Leave gpu_policy at its defaults.",
    source="dstack dstack-types/src/lib.rs (GpuPolicy)",
    needs=_MANIFEST,
)
def gpu_policy(manifest: Manifest) -> Iterator[Hit]:
    """requirements.gpu_policy allows developer tools, debugging or insecure boot (high), or does
    not attest the GPU; a GPU service without requirements is info."""
    if manifest.app is None:
        return
    policy = manifest.app.object("requirements").get("gpu_policy")
    rules = policy if isinstance(policy, dict) else {}
    for name in _GPU_WEAK:
        if rules.get(name) is True:
            yield on_field(manifest, "requirements", f"gpu_policy.{name}", Severity.HIGH)
    if rules.get("attest_gpu") is False:
        yield on_field(manifest, "requirements", "gpu_policy.attest_gpu is false")
    gpus = [service for service in manifest.services if service.has_gpu]
    if gpus and not manifest.app.object("requirements"):
        message = "no GPU policy; rely on the app's own GPU attestation"
        yield on_service(gpus[0], message, Severity.INFO)


RULES: Final = (
    *(public_logs, public_sysinfo, host_clock, no_instance_id, ext4_disk, listed_containers),
    *(open_ports, gpu_policy),
)
