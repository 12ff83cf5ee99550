"""What Docker Compose refuses although each attribute has a form that it knows.

Source: compose-go loader/validate.go, validation/validation.go, loader/extends.go,
transform/ports.go, format/volume.go and types/device.go (v2.9.1).
"""

import re
from collections.abc import Iterator
from typing import Final

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.merge import is_null
from verifier.manifest.compose.ports import is_address, parse_port
from verifier.manifest.compose.problem import Problem, refused
from verifier.manifest.compose.volumes import clean_target, parse_volume
from verifier.manifest.service import Service
from verifier.manifest.text import child, entry, unset
from verifier.patterns import pattern

_LIMITS: Final = (
    *(("cpus", "limits.cpus"), ("mem_limit", "limits.memory"), ("pids_limit", "limits.pids")),
    ("mem_reservation", "reservations.memory"),
)
_COUNTED: Final = frozenset({"scale", "deploy", "container_name", *(own for own, _ in _LIMITS)})
_SIZE: Final = pattern(r"([0-9]+(?:\.[0-9]+)?) ?([kKmMgGtTpP])?[iI]?[bB]?", re.ASCII)
_DEPENDING: Final = frozenset(
    {"depends_on", "links", "network_mode", "ipc", "pid", "uts", "cgroup", "volumes_from"}
)
_TESTS: Final = frozenset({"CMD", "CMD-SHELL", "NONE"})
_WITHOUT_TARGET: Final = frozenset({"rebuild", "restart"})
_COUNT: Final = pattern(r"all|[-+]?[0-9]+|", re.ASCII)
_SERVICE_PREFIX: Final = "service:"


def inconsistencies(tree: Mapping, services: tuple[Service, ...]) -> Iterator[Problem]:
    """Every reason of this kind, in the order of the file."""
    names = frozenset(service.name for service in services)
    for service in services:
        yield from _alone(service)
        yield from _lists(service)
        yield from _references(service, names, tree)
    yield from _files(tree)
    yield from _container_names(services)
    yield from _cycles(services)


def _alone(service: Service) -> Iterator[Problem]:
    tree, path = service.tree, service.path
    sources = (service.image, service.builds, service.field("provider"), service.field("extends"))
    if not any(sources):
        yield refused("it has neither `image` nor `build`", path, tree)
    elif service.image is not None and not service.image.unset and not any(sources[1:]):
        yield refused("its `image` is empty", (*path, "image"), tree.entries["image"])
    yield from _numbers(service)
    if service.text("build", "dockerfile") and service.dockerfile:
        yield refused("it has both `dockerfile` and `dockerfile_inline`", (*path, "build"), tree)
    if service.says("network_mode") and service.networks:
        yield refused("it has both `network_mode` and `networks`", (*path, "networks"), tree)
    yield from _developing(service)
    yield from _device_requests(service)
    test = service.field("healthcheck", "test")
    if isinstance(test, Sequence) and test.items:
        first = test.items[0]
        if isinstance(first, Scalar) and unset(first.value) not in _TESTS:
            yield refused("a health check begins with CMD, CMD-SHELL or NONE", path, test)


def _developing(service: Service) -> Iterator[Problem]:
    """What is built for a platform, and what is watched."""
    tree, path = service.tree, service.path
    platforms = [text.unset for text in service.texts("build", "platforms")]
    if platforms and service.says("platform") not in {"", *platforms}:
        message = "its `platform` is none of `build.platforms`"
        yield refused(message, (*path, "build", "platforms"), tree)
    for place, item in enumerate(_items(service.field("develop", "watch"))):
        at = (*path, "develop", "watch", str(place))
        if isinstance(item, Mapping) and not entry(item, "path"):
            yield refused("its `path` is empty", (*at, "path"), item)
        if entry(item, "action") not in _WITHOUT_TARGET and not entry(item, "target"):
            yield refused("it has no `target`", at, item)


def _device_requests(service: Service) -> Iterator[Problem]:
    for names in (("gpus",), ("deploy", "resources", "reservations", "devices")):
        for place, item in enumerate(_items(service.field(*names))):
            at = (*service.path, *names, str(place))
            if not isinstance(item, Mapping):
                continue  # of a form that is refused already
            count = child(item, "count")
            if count is not None and "device_ids" in item.entries:
                yield refused("it has both `count` and `device_ids`", at, item)
            if isinstance(count, Scalar) and not _COUNT.fullmatch(unset(count.value)):
                yield refused("its `count` is neither `all` nor a number", (*at, "count"), count)


def _numbers(service: Service) -> Iterator[Problem]:
    tree, path = service.tree, service.path
    if _COUNTED.isdisjoint(tree.entries):
        return
    scale, replicas = service.says("scale"), service.says("deploy", "replicas")
    if scale and replicas and scale != replicas:
        yield refused("`scale` and `deploy.replicas` differ", (*path, "scale"), tree)
    if service.says("container_name") and (scale or replicas) not in {"", "0", "1"}:
        yield refused("one `container_name` for several", (*path, "container_name"), tree)
    for own, limit in _LIMITS:
        if _differ(service, own, limit):
            yield refused(f"`{own}` and `deploy.resources.{limit}` differ", (*path, own), tree)


def _differ(service: Service, own: str, limit: str) -> bool:
    """Whether a limit is not that of `deploy`, which has to say the same where it is there."""
    kind, name = limit.split(".")
    limits = service.field("deploy", "resources", kind)
    if is_null(limits) or not _number(service.says(own)):
        return False
    return _number(service.says(own)) != _number(entry(limits, name))


def _number(text: str) -> float:
    """A number or a size in bytes; 0 for neither."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return 0
    return float(match[1]) * 1024.0 ** (" kmgtp".index(match[2].lower()) if match[2] else 0)


def _lists(service: Service) -> Iterator[Problem]:
    path = service.path
    targets: set[str] = {text.unset.partition(":")[0] for text in service.texts("tmpfs")}
    for place, item in enumerate(_items(service.field("volumes"))):
        at = (*path, "volumes", str(place))
        target, fault = _volume(item)
        if target and target in targets:
            fault = f"{target} is mounted twice"
        if fault:
            yield refused(fault, at, item)
        targets.add(target)
    for place, item in enumerate(_items(service.field("ports"))):
        fault = _port(item)
        if fault:
            yield refused(fault, (*path, "ports", str(place)), item)


def _volume(item: Node) -> tuple[str, str]:
    """Where a volume is mounted, and why Compose refuses it ("" = it does not)."""
    if isinstance(item, Scalar):
        parsed = parse_volume(unset(item.value))
        return ("", "it is no volume that Compose takes") if parsed is None else (parsed.target, "")
    if not isinstance(item, Mapping):
        return "", ""  # of a form that is refused already
    if entry(item, "type") == "bind" and is_null(child(item, "source")):
        return "", "it has no `source`"
    target = clean_target(entry(item, "target"))
    return target, "" if target else "it has no `target`"


def _port(item: Node) -> str:
    """Why Compose refuses a port, "" where it does not."""
    if isinstance(item, Scalar):
        taken = parse_port(unset(item.value)) is not None
        return "" if taken else "it is no port that Compose takes"
    if isinstance(item, Mapping) and not entry(item, "target"):
        return "it has no `target`"
    host_ip = entry(item, "host_ip")
    return "its `host_ip` is no address" if host_ip and not is_address(host_ip) else ""


def _references(service: Service, names: frozenset[str], tree: Mapping) -> Iterator[Problem]:
    path, node = service.path, service.tree
    for name, required in _dependencies(service):
        if name not in names and required:
            yield refused(f"it depends on {name!a}, which is no service", path, node)
    for text in service.build_contexts:
        other = text.unset.removeprefix(_SERVICE_PREFIX)
        if text.unset.startswith(_SERVICE_PREFIX) and other not in names:
            yield refused(f"it is built from {other!a}, which is no service", path, node)
    wanted = [
        *(("secret", name) for name in _granted(service.field("secrets"))),
        *(("secret", name) for name in _granted(service.field("build", "secrets"))),
        *(("config", name) for name in _granted(service.field("configs"))),
        *(("network", text.unset) for text in service.networks),
        *(("model", name) for name in sorted(_keys(service.field("models")))),
        *(("volume", m.source) for m in service.mounts if m.kind == "volume" and m.source),
    ]
    for what, name in wanted:
        given = _keys(child(tree, f"{what}s"))
        if name not in given and (what, name) != ("network", "default"):
            yield refused(f"there is no {what} {name!a}", path, node)


def _files(tree: Mapping) -> Iterator[Problem]:
    for section, ways in (("secrets", 2), ("configs", 3)):
        sources = ("file", "environment", "content")[:ways]
        node = child(tree, section)
        for name, item in node.entries.items() if isinstance(node, Mapping) else ():
            if not isinstance(item, Mapping):
                continue
            count = sum(source in item.entries for source in sources)
            free = "driver" in item.entries or "external" in item.entries
            if count > 1 or (not count and not free):
                message = f"it needs one of {', '.join(sources)}"
                yield refused(message, (section, name), item)


def _container_names(services: tuple[Service, ...]) -> Iterator[Problem]:
    taken: set[str] = set()
    for service in services:
        name = service.says("container_name")
        if name and name in taken:
            path = (*service.path, "container_name")
            yield refused(f"another service has the name {name!a}", path, service.tree)
        taken.add(name)


def _dependencies(service: Service) -> Iterator[tuple[str, bool]]:
    """The services that one waits for, and whether it cannot do without each."""
    if _DEPENDING.isdisjoint(service.tree.entries):
        return
    node = service.field("depends_on")
    if isinstance(node, Sequence):
        yield from ((text.unset, True) for text in service.texts("depends_on"))
    elif isinstance(node, Mapping):
        for name in node.entries:
            yield name, entry(node, name, "required").lower() != "false"
    for text in service.texts("links"):
        yield text.unset.partition(":")[0], True
    for field in ("network_mode", "ipc", "pid", "uts", "cgroup"):
        shared = service.says(field)
        if shared.startswith(_SERVICE_PREFIX):
            yield shared.removeprefix(_SERVICE_PREFIX), True
    for text in service.texts("volumes_from"):
        if not text.unset.startswith("container:"):
            yield text.unset.partition(":")[0], True


def _cycles(services: tuple[Service, ...]) -> Iterator[Problem]:
    """Services that wait for each other."""
    waiting = {s.name: {name for name, _ in _dependencies(s)} for s in services}
    free = [name for name, others in waiting.items() if not others & waiting.keys()]
    needed_by: dict[str, list[str]] = {}
    for name, others in waiting.items():
        for other in others:
            needed_by.setdefault(other, []).append(name)
    left = {name: len(others & waiting.keys()) for name, others in waiting.items()}
    done = 0
    while free:
        done += 1
        for name in needed_by.get(free.pop(), ()):
            left[name] -= 1
            if not left[name]:
                free.append(name)
    if done < len(waiting):
        first = next(service for service in services if left[service.name])
        yield refused("services wait for each other", first.path, first.tree)


def _granted(node: Node | None) -> Iterator[str]:
    for item in _items(node):
        name = unset(item.value) if isinstance(item, Scalar) else entry(item, "source")
        if name:
            yield name


def _items(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, Sequence) else ()


def _keys(node: Node | None) -> frozenset[str]:
    if isinstance(node, Sequence):
        return frozenset(unset(i.value) for i in node.items if isinstance(i, Scalar))
    return frozenset(node.entries) if isinstance(node, Mapping) else frozenset()
