"""How Docker Compose puts one tree over another: for `extends`, and for several documents.

Each attribute has its own rule. Mappings are merged and lists joined unless the table says
otherwise; `!reset` takes away what is below, `!override` replaces it. Source: compose-go
override/merge.go and override/uncity.go (v2.9.1), loader/reset.go.
"""

from collections.abc import Callable, Iterable
from typing import Final

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.problem import Problem, refused

Path = tuple[str, ...]

_SERVICE: Final = ("services", "*")
_AS_LISTS: Final = frozenset(
    {
        *(("networks", "*", "labels"), ("volumes", "*", "labels")),
        *(
            (*_SERVICE, name)
            for name in ("annotations", "dns", "dns_opt", "dns_search", "env_file")
        ),
        *((*_SERVICE, name) for name in ("environment", "extra_hosts", "label_file", "labels")),
        *((*_SERVICE, name) for name in ("env_file", "sysctls", "tmpfs")),
        *((*_SERVICE, "build", name) for name in ("additional_contexts", "args", "extra_hosts")),
        *((*_SERVICE, "build", "labels"), (*_SERVICE, "deploy", "labels")),
    }
)
"""Lists and mappings alike are lists of `key=value`, and joined."""
_AS_MAPPINGS: Final = frozenset((*_SERVICE, name) for name in ("depends_on", "models", "networks"))
"""A list of names is a mapping without values."""
_REPLACED: Final = frozenset(
    {
        *((*_SERVICE, name) for name in ("command", "entrypoint")),
        (*_SERVICE, "healthcheck", "test"),
        (*_SERVICE, "ulimits", "*"),
    }
)
_BUILD: Final = (*_SERVICE, "build")
_LOGGING: Final = (*_SERVICE, "logging")
_HOSTS: Final = frozenset({(*_SERVICE, "extra_hosts"), (*_BUILD, "extra_hosts")})
_ANY: Final = frozenset({"services", "networks", "volumes", "ulimits"})
"""Mappings whose keys are names of the file's own."""


class Merger:
    """Puts trees over each other and keeps what Compose refuses about it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.copied = 0  # entries and items, as a measure of the work

    def over(self, base: Node, top: Node, path: Path, pattern: Path) -> Node:
        """`top` over `base`. `path` says where; `pattern` is the same with `*` for names."""
        if top.directive == "override" or pattern in _REPLACED:
            return top
        if pattern in _AS_LISTS:
            return self._joined(_as_list(base), _as_list(top), no_repeats=pattern in _HOSTS)
        if pattern in _AS_MAPPINGS:
            base, top = _as_mapping(base), _as_mapping(top)
        elif pattern == _BUILD:
            base, top = _with_context(base), _with_context(top)
        if is_null(top) or (pattern == _LOGGING and _other_driver(base, top)):
            return base if is_null(top) else top
        return self._by_form(base, top, path, pattern)

    def _by_form(self, base: Node, top: Node, path: Path, pattern: Path) -> Node:
        if isinstance(base, Mapping) and isinstance(top, Mapping):
            return self._mappings(base, top, path, pattern)
        if isinstance(base, Sequence) and isinstance(top, Sequence):
            return self._joined(base, top, no_repeats=False)
        if not isinstance(base, Scalar):
            message = f"`{path[-1]}` cannot replace one of another form"
            self.problems.append(refused(message, path, top))
        return top

    def _mappings(self, base: Mapping, top: Mapping, path: Path, pattern: Path) -> Mapping:
        entries, keys = dict(base.entries), base.keys | top.keys
        self.copied += len(entries) + len(top.entries)
        any_name = bool(path) and path[-1] in _ANY
        for key, own in top.entries.items():
            below = entries.get(key)
            if own.directive == "reset":
                entries.pop(key, None)
            elif below is None:
                entries[key] = own
            else:
                next_pattern = (*pattern, "*" if any_name else key)
                entries[key] = self.over(below, own, (*path, key), next_pattern)
        line, column = top.line, top.column
        return Mapping(entries, keys, base.merged | top.merged, line, column)

    def _joined(self, base: Sequence, top: Sequence, *, no_repeats: bool) -> Sequence:
        self.copied += len(base.items) + len(top.items)
        added: Iterable[Node] = top.items
        if no_repeats:
            there = {item.text for item in base.items if isinstance(item, Scalar)}
            added = [i for i in top.items if not (isinstance(i, Scalar) and i.text in there)]
        return Sequence((*base.items, *added), top.line, top.column)


def is_null(node: Node | None) -> bool:
    """Whether a value is absent or null."""
    return node is None or (isinstance(node, Scalar) and node.kind == "null")


def without_directives(node: Node) -> Node:
    """A tree without what `!reset` takes away."""
    if isinstance(node, Sequence):
        kept = (item for item in node.items if item.directive != "reset")
        return Sequence(tuple(map(without_directives, kept)), node.line, node.column)
    if isinstance(node, Mapping):
        entries = {
            key: without_directives(value)
            for key, value in node.entries.items()
            if value.directive != "reset"
        }
        return Mapping(entries, node.keys, node.merged, node.line, node.column)
    return node


def without_repeats(node: Node, key_of: Callable[[Node], str]) -> Node:
    """The list with one item for each key: the last one, at the place of the first."""
    if not isinstance(node, Sequence) or len(node.items) < 2:  # noqa: PLR2004 - nothing to repeat
        return node
    kept: dict[str, Node] = {}
    for item in node.items:
        kept[key_of(item)] = item
    if len(kept) == len(node.items):
        return node
    return Sequence(tuple(kept.values()), node.line, node.column)


def _as_list(node: Node) -> Sequence:
    if isinstance(node, Sequence):
        return node
    if isinstance(node, Scalar):
        return Sequence((node,) if node.kind == "str" else (), node.line, node.column)
    items: list[Node] = []
    for key in sorted(node.entries):
        value = node.entries[key]
        line, column = node.keys[key]
        name = key.replace("$", "$$")  # keys are not interpolated, and items are
        if is_null(value):
            items.append(Scalar(name, plain=False, line=line, column=column))
        several = value.items if isinstance(value, Sequence) else (value,)
        items += [
            Scalar(f"{name}={item.value}", plain=False, line=item.line, column=item.column)
            for item in several
            if isinstance(item, Scalar) and not is_null(item)
        ]
    return Sequence(tuple(items), node.line, node.column)


def _as_mapping(node: Node) -> Node:
    if not isinstance(node, Sequence):
        return node
    entries: dict[str, Node] = {}
    keys: dict[str, tuple[int, int]] = {}
    for item in node.items:
        if isinstance(item, Scalar):
            entries[item.text] = Scalar("", plain=True, line=item.line, column=item.column)
            keys[item.text] = (item.line, item.column)
    return Mapping(entries, keys, frozenset(), node.line, node.column)


def _with_context(node: Node) -> Node:
    if not isinstance(node, Scalar) or node.kind == "null":
        return node
    place = (node.line, node.column)
    return Mapping({"context": node}, {"context": place}, frozenset(), *place)


def _other_driver(base: Node, top: Node) -> bool:
    drivers = [
        value.text
        for node in (base, top)
        if isinstance(node, Mapping)
        and isinstance(value := node.entries.get("driver"), Scalar)
        and not is_null(value)
    ]
    return len(set(drivers)) > 1
