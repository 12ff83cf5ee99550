"""NET: what is reachable, and by which way."""

import re
from collections.abc import Iterator
from typing import Final

from verifier.manifest.compose.ports import span, within
from verifier.manifest.image import image_of
from verifier.manifest.model import Manifest, PublishedPort, Service, Text, published_services
from verifier.manifest.rule import Hit, Need, listed, on_field, on_service, on_text, rule
from verifier.manifest.rules.env.inputs import gravest, live_inputs
from verifier.manifest.rules.shell import excerpt
from verifier.model.result import Severity
from verifier.patterns import pattern

_CVM: Final = "dstack docs/security/cvm-boundaries.md"
_ADMIN_PORTS: Final = frozenset(
    {22, 23, 1022, 2222, 2375, 2376, 3389, 6443, 7681, 10250, *range(5900, 6000)}
)
_GENERIC_ADMIN: Final = {
    8888: pattern(r"jupyter|notebook"),
    9000: pattern(r"portainer"),
    9001: pattern(r"portainer|minio"),
    3001: pattern(r"uptime-kuma|dozzle"),
}
_STORE_PORTS: Final = frozenset(
    {2379, 3306, 5432, 5672, 6379, 8500, 9042, 9092, 9200, 9300, 11211, 15672, 27017}
)
_TLS_PORTS: Final = frozenset({443, 8443})
_STORES: Final = pattern(
    r"^(?:postgres|mysql|mariadb|redis|valkey|mongo|elasticsearch|opensearch|memcached|rabbitmq"
    r"|cassandra|etcd|consul|kafka|influxdb)"
)
_DASHBOARDS: Final = pattern(
    r"dozzle|adminer|pgadmin|phpmyadmin|grafana|prometheus|node-exporter|cadvisor|netdata|portainer"
)
_STATS: Final = pattern(r"^[ \t]*stats\s+auth\s+\S+", re.MULTILINE)
_OWN_TLS: Final = pattern(r"ingress|nginx|caddy|traefik|envoy|haproxy|gateway|mesh|vpc")
_CORS: Final = pattern(r"^(?:\w*CORS_?\w*ORIGINS?|CORS|ALLOWED_ORIGINS|ALLOWED_HOSTS)$")
_ALLOW_ALL: Final = pattern(r"allow_origin=[\"']?\*|(?<![\d.])0\.0\.0\.0/0")
_VPN: Final = pattern(r"OVPN_CONFIG|WIREGUARD_|^WG_|(?:^|_)PROXY(?:_|$)|SOCKS")
_FILE_SERVER: Final = pattern(
    r"python3?\s+-m\s+http\.server|SimpleHTTPServer|npx\s+(?:-y\s+)?(?:serve|http-server)"
    r"|caddy\s+file-server|busybox\s+httpd|webfsd|rclone\s+serve"
)


def _public(manifest: Manifest) -> Iterator[tuple[Service, PublishedPort]]:
    for service in manifest.services:
        for port in service.public_ports:
            yield service, port


@rule(
    "NET-001",
    Severity.INFO,
    "Published port",
    why="The gateway makes it reachable as `<app id>-<port>.<domain>`.",
    fix="Publish what is needed; bind the rest to 127.0.0.1.",
    source=_CVM,
)
def published_port(manifest: Manifest) -> Iterator[Hit]:
    """Each port without a loopback address."""
    for _, port in _public(manifest):
        number = span(port.port.published) or "a random port"
        target = span(port.port.targets) or port.text.text
        yield on_text(port.text, f"{number} → {target}")


@rule(
    "NET-002",
    Severity.MEDIUM,
    "Container shares the guest's network",
    why="Everything that it listens on is public, whatever `ports` says, and it reaches the guest "
    "agent and every other container.",
    fix="Use a bridge network and `ports`.",
    source="KICS, Docker Compose queries",
)
def host_network(manifest: Manifest) -> Iterator[Hit]:
    """`network_mode: host`, a network that is Docker's own `host`, or the network of a service that
    has one of these; also while it is built."""
    for service in manifest.services:
        text = host_network_of(manifest, service)
        if text is not None:
            yield on_text(text, f"{service.name} listens on all of the guest's ports")
        building = service.text("build", "network")
        if building and building.unset == "host":
            yield on_text(building, f"{service.name} is built in the guest's network")


def host_network_of(manifest: Manifest, service: Service) -> Text | None:
    """Where it says that a service has the guest's own network; None where it has not."""
    if manifest.namespace_of(service, "network_mode") != "host":
        return None
    hosts = (n for n in service.networks if manifest.shared.is_host_network(n.unset))
    return service.text("network_mode") or next(hosts, None)


@rule(
    "NET-003",
    Severity.HIGH,
    "Remote administration is published",
    why="A shell or a control plane is open to everybody.",
    fix="Remove the port.",
    source="dstack stage-1 checklist, item 7",
)
def admin_port(manifest: Manifest) -> Iterator[Hit]:
    """SSH, telnet, RDP, VNC, ttyd, Docker's or Kubernetes's API; jupyter, portainer and the like
    where image or service say so."""
    for service, port in _public(manifest):
        name = f"{service.name} {image_of(manifest, service).repository}".lower()
        admin = within(_ADMIN_PORTS, port.port.targets)
        admin |= {n for n, p in _GENERIC_ADMIN.items() if n in port.port.targets and p.search(name)}
        if admin:
            yield on_text(port.text, f"port {min(admin)} of {service.name}")


@rule(
    "NET-004",
    Severity.HIGH,
    "Datastore is published",
    why="Data leaves without passing the app's logic.",
    fix="Remove the port; services reach it by name.",
    source="case study of Primus",
)
def published_store(manifest: Manifest) -> Iterator[Hit]:
    """A datastore's port, or its image with any port, is public. Medium where a password is set
    that is no literal."""
    for service, port in _public(manifest):
        image = image_of(manifest, service)
        stores = within(_STORE_PORTS, port.port.targets)
        if not stores and not _STORES.search(image.basename):
            continue
        secrets = [env for key, env in service.environment.items() if "PASSWORD" in key.upper()]
        guarded = bool(secrets) and not any(env.literal for env in secrets)
        severity = Severity.MEDIUM if guarded else None
        number = min(stores) if stores else span(port.port.targets)
        yield on_text(port.text, f"port {number} of {service.name}", severity)


@rule(
    "NET-005",
    Severity.MEDIUM,
    "Dashboard or metrics are published",
    why="Logs, variables and traffic can be read there.",
    fix="Remove it, or put real authentication before it.",
    source="case study of redpill",
)
def published_dashboard(manifest: Manifest) -> Iterator[Hit]:
    """dozzle, adminer, grafana, prometheus and the like with a public port; `stats auth` in an
    inline configuration."""
    for service in published_services(manifest):
        image = image_of(manifest, service)
        if _DASHBOARDS.search(image.repository):
            yield on_text(service.ports[0].text, f"{image.repository} is open")
    for name, content in manifest.config_contents.items():
        match = _STATS.search(content.text)
        if match:
            message = f"config {name}: `{excerpt(match[0])}`"
            yield on_text(content, message, offset=match.start())


@rule(
    "NET-006",
    Severity.INFO,
    "Gateway is off",
    why="Only the host can reach the app.",
    fix="None needed, if that is meant.",
    source="dstack gateway documentation",
    needs=(Need.MANIFEST, Need.COMPOSE),
)
def no_gateway(manifest: Manifest) -> Iterator[Hit]:
    """gateway_enabled is false and ports are published."""
    if manifest.app is not None and not manifest.app.gateway and any(_public(manifest)):
        yield on_field(manifest, "gateway_enabled", "ports are published to the host alone")


@rule(
    "NET-007",
    Severity.MEDIUM,
    "TLS ends outside of the app",
    why="Whoever ends it reads the traffic: the gateway, which is a TEE of its own, or a content "
    "network, which is none.",
    fix="End TLS inside of the guest (dstack-ingress), with a CAA record.",
    source="dstack-examples custom-domain",
)
def outside_tls(manifest: Manifest) -> Iterator[Hit]:
    """Ports are public and no service looks like an own TLS end on 443. cloudflared is high; a
    dstack-ingress without SET_CAA=true is low."""
    if manifest.app is not None and not manifest.app.gateway:
        return
    for service in manifest.services:
        texts = [*filter(None, (service.image,)), *service.commands]
        tunnel = next((text for text in texts if "cloudflared" in text.text), None)
        if tunnel:
            yield on_text(tunnel, "Cloudflare ends TLS", Severity.HIGH)
        caa = service.environment.get("SET_CAA")
        is_ingress = image_of(manifest, service).basename == "dstack-ingress"
        if is_ingress and (caa is None or caa.literal != "true"):
            yield on_service(service, "no CAA record is set", Severity.LOW)
    published = list(published_services(manifest))
    if published and not any(_ends_tls(manifest, service) for service in manifest.services):
        names = listed([service.name for service in published])
        yield on_service(published[0], f"the gateway ends TLS for {names}")


def _ends_tls(manifest: Manifest, service: Service) -> bool:
    text = service.text("network_mode")
    on_443 = (
        any(_TLS_PORTS.intersection(p.port.published) for p in service.ports) or text is not None
    )
    return (
        on_443
        and _OWN_TLS.search(f"{service.name} {image_of(manifest, service).repository}") is not None
    )


@rule(
    "NET-008",
    Severity.LOW,
    "Every origin or address is allowed",
    why="Any web page may call it with its user's rights.",
    fix="List the origins.",
    source="OWASP CORS",
)
def allow_all(manifest: Manifest) -> Iterator[Hit]:
    """A literal `*` for CORS or hosts, `allow_origin=*`, 0.0.0.0/0."""
    for service in manifest.services:
        for env in service.environment.values():
            if _CORS.fullmatch(env.key.upper()) and env.literal == "*":
                yield on_text(env.text, f"{env.key} is `*`")
        for text in service.commands:
            match = _ALLOW_ALL.search(text.text)
            if match:
                yield on_text(text, f"`{match[0]}`")


@rule(
    "NET-009",
    Severity.MEDIUM,
    "Traffic leaves through a proxy that the operator chooses",
    why="The operator sees whom users talk to, and what they say where it is plain HTTP.",
    fix="Write it as a literal, or pin TLS.",
    source="case study of Xordi",
)
def chosen_egress(manifest: Manifest) -> Iterator[Hit]:
    """A VPN or proxy setting is read from a variable that the operator sets."""
    found = ((x, None) for x in live_inputs(manifest) if _VPN.search(x.read_as.upper()))
    for item, _ in gravest(found, Severity.MEDIUM):
        message, names = f"{item.called} routes traffic", (item.name,)
        yield on_text(item.text, message, conditional=manifest.unsure, names=names)


@rule(
    "NET-010",
    Severity.HIGH,
    "File server without authentication is published",
    why="It hands out the container's files.",
    fix="Drop the port, or authenticate.",
    source="manifests of deployed apps",
)
def file_server(manifest: Manifest) -> Iterator[Hit]:
    """`python -m http.server` and the like in a service with a public port. Low without a mount."""
    for service in published_services(manifest):
        for text in service.commands:
            match = _FILE_SERVER.search(text.text)
            if match:
                severity = None if service.mounts else Severity.LOW
                yield on_text(text, f"`{match[0]}`", severity)


RULES: Final = (
    *(published_port, host_network, admin_port, published_store, published_dashboard, no_gateway),
    *(outside_tls, allow_all, chosen_egress, file_server),
)
