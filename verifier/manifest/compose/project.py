"""The documents of a compose file as the one tree that Docker Compose acts on.

Each document's services are extended first, then it is put over those before it. What Compose
refuses on the way is kept as a problem, and the tree is what it would have been without.
Source: compose-go loader/loader.go (`loadYamlFile`), loader/extends.go (v2.9.1).
"""

from typing import Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.manifest.compose.merge import Merger, without_directives
from verifier.manifest.compose.paths import COMPOSE_FILE, guest_path
from verifier.manifest.compose.problem import Kind, Problem, refused
from verifier.manifest.compose.unique import with_clean_targets, without_repeated_items
from verifier.manifest.text import unset

_MAX_COPIED: Final = 60_000
"""Entries that extended services may copy: a service of a real manifest has about fifty."""
_MAX_CHAIN: Final = 100  # services that extend each other in a row


class Project(Struct, frozen=True):
    """What the documents of a file come to.

    tree      all of them, merged
    stages    what they came to before the last one: Compose checks each
    problems  what Compose refuses about merging them
    """

    tree: Mapping
    stages: tuple[Mapping, ...]
    problems: tuple[Problem, ...]

    @property
    def documents(self) -> int:
        """The number of documents."""
        return len(self.stages) + 1


def read_project(documents: tuple[Mapping, ...], *, directives: bool = True) -> Project:
    """The project that the documents of one file describe; `directives` says whether `!reset` or
    `!override` may be in them."""
    merger = Merger()
    tree = _Extender(documents[0], merger).extended()
    stages = []
    for document in documents[1:]:
        stages.append(_clean(tree, directives=directives))
        top = _Extender(document, merger).extended()
        below = with_clean_targets(without_repeated_items(tree))
        merged = merger.over(below, top, (), ())
        tree = merged if isinstance(merged, Mapping) else tree
    return Project(_clean(tree, directives=directives), tuple(stages), tuple(merger.problems))


def _clean(tree: Mapping, *, directives: bool) -> Mapping:
    clean = without_directives(tree) if directives and _has_directives(tree) else tree
    return without_repeated_items(clean) if isinstance(clean, Mapping) else tree


class _Extender:
    """Extends the services of one document, each at most once."""

    def __init__(self, document: Mapping, merger: Merger) -> None:
        self._document = document
        self._merger = merger
        services = document.entries.get("services")
        self._services = services.entries if isinstance(services, Mapping) else {}
        self._done: dict[str, Node] = {}
        self._extended = 0  # values that services have from others
        self._sizes: dict[int, int] = {}  # of mappings and lists, which live as long as this

    def extended(self) -> Mapping:
        """The document with its services extended."""
        services = self._document.entries.get("services")
        extending = any(
            isinstance(node, Mapping) and "extends" in node.entries
            for node in self._services.values()
        )
        if not extending or not isinstance(services, Mapping):
            return self._document
        entries = {name: self._service(name, ()) for name in self._services}
        whole = Mapping(entries, services.keys, services.merged, services.line, services.column)
        old = self._document
        return Mapping(
            old.entries | {"services": whole}, old.keys, old.merged, old.line, old.column
        )

    def _service(self, name: str, above: tuple[str, ...]) -> Node:
        if name in self._done:
            return self._done[name]
        node = self._services[name]
        found = self._over_base(name, node, above) if isinstance(node, Mapping) else node
        self._done[name] = found
        return found

    def _over_base(self, name: str, node: Mapping, above: tuple[str, ...]) -> Node:
        given = node.entries.get("extends")
        wanted = None if given is None else _base_of(given)
        if given is None or wanted is None:
            return node  # what extends another file stays so, and a rule names the file
        problem = self._problem(name, wanted, given, above)
        if problem is not None:
            self._merger.problems.append(problem)
            return node
        base = self._service(wanted, (*above, name))
        self._extended += self._size(base)
        merged = self._merger.over(base, node, ("services", name), ("services", "*"))
        if not isinstance(merged, Mapping):
            return node
        entries = {key: value for key, value in merged.entries.items() if key != "extends"}
        return Mapping(entries, merged.keys, merged.merged, node.line, node.column)

    def _size(self, node: Node) -> int:
        """The values in a tree."""
        if isinstance(node, Scalar):
            return 1
        found = self._sizes.get(id(node))
        if found is None:
            below = node.items if isinstance(node, Sequence) else node.entries.values()
            found = self._sizes[id(node)] = 1 + sum(map(self._size, below))
        return found

    def _problem(
        self, name: str, wanted: str, given: Node, above: tuple[str, ...]
    ) -> Problem | None:
        path = ("services", name, "extends")
        if wanted not in self._services:
            return refused(f"it extends {wanted!a}, which is no service", path, given)
        if wanted == name or wanted in above:
            return refused("it extends itself", path, given)
        work = max(self._merger.copied, self._extended)
        if work > _MAX_COPIED or len(above) > _MAX_CHAIN:
            message = "extending services takes more work than is done for one file"
            return Problem(Kind.UNFOLLOWED, message, path, given.line, given.column)
        return None


def _base_of(given: Node) -> str | None:
    """The service of the same file that is extended, None for one of another file."""
    if isinstance(given, Scalar):
        return unset(given.text)
    if isinstance(given, Mapping):
        service, file = given.entries.get("service"), given.entries.get("file")
        if isinstance(file, Scalar) and guest_path(unset(file.text)) != COMPOSE_FILE:
            return None
        if isinstance(service, Scalar):
            return unset(service.text)
    return ""


def _has_directives(node: Node) -> bool:
    if node.directive:
        return True
    if isinstance(node, Mapping):
        return any(map(_has_directives, node.entries.values()))
    return not isinstance(node, Scalar) and any(map(_has_directives, node.items))
