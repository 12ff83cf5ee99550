"""Lists in which Docker Compose lets the last item with one key stand.

Source: compose-go override/uncity.go (v2.9.1).
"""

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.merge import without_repeats
from verifier.manifest.compose.volumes import parse_volume
from verifier.manifest.text import entry, unset

_Key = Callable[[Node], str]
_Keys = dict[str, "_Key | _Keys"]
_ANY: Final = "*"


def without_repeated_items(tree: Mapping) -> Mapping:
    """The file with the lists of its services in the form in which Compose compares their items."""
    services = tree.entries.get("services")
    if not isinstance(services, Mapping):
        return tree
    entries = {name: _changed(node, _SERVICE_KEYS) for name, node in services.entries.items()}
    if all(entries[name] is node for name, node in services.entries.items()):
        return tree
    whole = Mapping(entries, services.keys, services.merged, services.line, services.column)
    entries = tree.entries | {"services": whole}
    return Mapping(entries, tree.keys, tree.merged, tree.line, tree.column)


def with_clean_targets(tree: Mapping) -> Mapping:
    """A file over which another document is put: its volumes of the short syntax count by their
    clean targets then, and those of the other one as they are written."""
    services = tree.entries.get("services")
    if not isinstance(services, Mapping):
        return tree
    entries = dict(services.entries)
    for name, node in entries.items():
        volumes = node.entries.get("volumes") if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and isinstance(volumes, Sequence):
            items = tuple(map(_with_clean_target, volumes.items))
            changed: Node = Sequence(items, volumes.line, volumes.column, volumes.directive)
            entries[name] = replace(node, entries=node.entries | {"volumes": changed})
    return replace(tree, entries=tree.entries | {"services": replace(services, entries=entries)})


def _with_clean_target(item: Node) -> Node:
    parsed = parse_volume(_said(item)) if isinstance(item, Scalar) else None
    if parsed is None or not isinstance(item, Scalar) or parsed.written_target == parsed.target:
        return item
    head, found, rest = f":{item.text}".rpartition(f":{parsed.written_target}")
    is_written = found and rest[:1] in {"", ":"}
    return replace(item, text=f"{head}:{parsed.target}{rest}"[1:]) if is_written else item


def _changed(node: Node, keys: _Keys) -> Node:
    if not isinstance(node, Mapping):
        return node
    changed: dict[str, Node] = {}
    for name in node.entries if _ANY in keys else keys.keys() & node.entries.keys():
        key, old = keys.get(name, keys.get(_ANY, _said)), node.entries[name]
        new = _changed(old, dict(key)) if isinstance(key, dict) else without_repeats(old, key)
        if name == "volumes" and not isinstance(key, dict):
            new = without_repeats(new, _volume)  # once more, in the form that it is given
        if new is not old:
            changed[name] = new
    if not changed:
        return node
    return Mapping(node.entries | changed, node.keys, node.merged, node.line, node.column)


def _said(item: Node) -> str:
    return unset(item.value) if isinstance(item, Scalar) else str(id(item))


def _name(item: Node) -> str:
    return _said(item).partition("=")[0]


def _env_file(item: Node) -> str:
    return _said(item) if isinstance(item, Scalar) else entry(item, "path")


def _volume(item: Node) -> str:
    if not isinstance(item, Scalar):
        return entry(item, "target")
    parsed = parse_volume(_said(item))
    return _said(item) if parsed is None else parsed.target


def _written_volume(item: Node) -> str:
    if not isinstance(item, Scalar):
        return entry(item, "target")
    parsed = parse_volume(_said(item))
    return _said(item) if parsed is None else parsed.written_target


def _device(item: Node) -> str:
    if not isinstance(item, Scalar):
        return entry(item, "target")
    source, _, rest = _said(item).partition(":")
    return rest.partition(":")[0] if rest else source


def _port(item: Node) -> str:
    if isinstance(item, Scalar):
        return _said(item)
    keys = ("published", "target", "protocol")
    published, target, protocol = (entry(item, key) for key in keys)
    return f"{entry(item, 'host_ip') or '0.0.0.0'}:{published}:{target}/{protocol or 'tcp'}"  # noqa: S104


def _mount(folder: str) -> _Key:
    def key(item: Node) -> str:
        if isinstance(item, Scalar):
            return f"{folder}/{_said(item)}"
        return entry(item, "target") or f"{folder}/{entry(item, 'source')}"

    return key


_SERVICE_KEYS: Final[_Keys] = {
    **dict.fromkeys(("annotations", "cap_add", "cap_drop", "dns", "dns_opt", "dns_search"), _name),
    **dict.fromkeys(("environment", "labels", "links", "profiles", "sysctls", "tmpfs"), _name),
    "build": dict.fromkeys(("args", "additional_contexts", "tags", "labels"), _name),
    "configs": _mount(""),
    "deploy": {"labels": _name},
    "devices": _device,
    "env_file": _env_file,
    "expose": _said,
    "networks": {_ANY: {"aliases": _name, "link_local_ips": _name}},
    "ports": _port,
    "secrets": _mount("/run/secrets"),
    "volumes": _written_volume,
}
