"""The attributes and forms of a merged file against those that Docker Compose knows.

What no release knows is told apart from what only has another form: the one may mean something to
a newer release, the other is refused by all. Source: compose-go schema/compose-spec.json, by the
table of `verifier.reference.compose_attributes`, and loader/interpolate.go.
"""

import re
from typing import Final

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.evidence.compose.yaml_scalars import is_text, resolve
from verifier.manifest.compose.problem import Kind, Problem, refused
from verifier.manifest.text import unset
from verifier.patterns import pattern
from verifier.reference.compose_attributes import Attribute, Version, root

_MAX_PROBLEMS: Final = 200
_EXTENSION: Final = "x-"
_CASTS: Final = {
    "boolean": pattern(r"true|false|y|yes|on|n|no|off", re.IGNORECASE),
    "integer": pattern(r"[-+]?[0-9]+", re.ASCII),
    "number": pattern(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII),
}
"""loader/interpolate.go: Go's `Atoi`, `ParseFloat` and the words of YAML's booleans."""
_JSON_TYPES: Final = {"bool": "boolean", "int": "integer", "float": "number"}
_NUMBERS: Final = frozenset({"integer", "number"})


class Validator:
    """Walks a tree and the table side by side. `oldest` is the oldest Compose release that may be
    the guest's: what only later ones know is said."""

    def __init__(self, oldest: Version) -> None:
        self._oldest = oldest
        self.problems: list[Problem] = []

    def file(self, tree: Mapping) -> list[Problem]:
        """Every problem of a file, at most a few hundred."""
        self._walk(tree, root(), ())
        if len(self.problems) >= _MAX_PROBLEMS:
            message = f"{_MAX_PROBLEMS} faults of form: what else there is is not looked for"
            self.problems.append(Problem(Kind.UNFOLLOWED, message, (), tree.line, tree.column))
        return self.problems

    def _walk(self, node: Node, known: Attribute, path: tuple[str, ...]) -> None:
        if isinstance(node, Scalar):
            if not known.free or _means_more(node):
                self._scalar(node, known, path)
        elif len(self.problems) >= _MAX_PROBLEMS:
            return
        elif isinstance(node, Sequence):
            self._sequence(node, known, path)
        else:
            self._mapping(node, known, path)

    def _mapping(self, node: Mapping, known: Attribute, path: tuple[str, ...]) -> None:
        if "object" not in known.types:
            self._refuse("a mapping has no place here", path, node)
            return
        for key, value in node.entries.items():
            if len(self.problems) >= _MAX_PROBLEMS:
                return
            self._entry(key, value, node.keys.get(key), known, path)
        for key in known.required:
            if key not in node.entries:
                self._refuse(f"it has no `{key}`", path, node)

    def _entry(
        self,
        key: str,
        value: Node,
        at: tuple[int, int] | None,
        known: Attribute,
        path: tuple[str, ...],
    ) -> None:
        below = known.named.get(key)
        if below is None and known.any_key is not None:
            if known.keys is not None and not known.keys.search(key):
                self._refuse(f"{key!a} is no name that Compose takes", (*path, key), value)
            below = known.any_key
        if below is not None:
            if below.since > self._oldest and known.since <= self._oldest:
                self._newer(below, (*path, key), at, value)
            self._walk(value, below, (*path, key))
        elif not known.open and not key.startswith(_EXTENSION):
            self._unknown(key, path, at, value)

    def _sequence(self, node: Sequence, known: Attribute, path: tuple[str, ...]) -> None:
        if "array" not in known.types:
            self._refuse("a list has no place here", path, node)
            return
        if known.item is not None:
            for place, item in enumerate(node.items):
                self._walk(item, known.item, (*path, str(place)))
        if known.unique and len(node.items) > 1:
            said = [_plain(item) for item in node.items]
            if len(set(said)) < len(said):
                self._refuse("it holds the same twice", path, node)

    def _scalar(self, node: Scalar, known: Attribute, path: tuple[str, ...]) -> None:
        kind = resolve(node.text)[0] if node.plain else "str"
        if kind == "str" and "string" in known.types and not known.restricted:
            return
        problem = _problem_of(*_cast(node, kind, known.cast), known)
        if problem:
            self._refuse(problem, path, node)

    def _refuse(self, message: str, path: tuple[str, ...], node: Node) -> None:
        self.problems.append(refused(message, path, node))

    def _unknown(
        self, key: str, path: tuple[str, ...], at: tuple[int, int] | None, value: Node
    ) -> None:
        line, column = at or (value.line, value.column)
        does = "ignores it" if path[:1] == ("include",) else "refuses the file"
        message = f"Docker Compose knows no `{key}` here, and {does}"
        self.problems.append(Problem(Kind.UNKNOWN, message, (*path, key), line, column))

    def _newer(
        self, known: Attribute, path: tuple[str, ...], at: tuple[int, int] | None, value: Node
    ) -> None:
        line, column = at or (value.line, value.column)
        since = ".".join(map(str, known.since))
        message = f"Compose knows `{path[-1]}` from {since} on; an older one refuses the file"
        self.problems.append(Problem(Kind.NEWER, message, path, line, column))


def _means_more(node: Scalar) -> bool:
    """Whether a scalar is something else than text."""
    return node.plain and not is_text(node.text) and resolve(node.text)[0] != "str"


def _cast(node: Scalar, kind: str, cast: str) -> tuple[str, str]:
    """What a scalar says while no variable is set, and the JSON type that it has then.

    The type is `uncast` for a text that is not of the type that Compose turns it into.
    """
    if kind != "str":
        return node.value, _JSON_TYPES.get(kind, kind)
    said = unset(node.text)
    if not cast:
        return said, "string"
    pattern = _CASTS[cast]
    return said, cast if pattern.fullmatch(said) else "uncast"


def _problem_of(said: str, kind: str, known: Attribute) -> str:
    """Why Compose refuses a value, "" where it does not."""
    if kind == "uncast":
        return f"{said!a} is no {known.cast}"
    if kind == "null":
        return "" if "null" in known.types else "it has no value"
    if kind not in known.types and not (kind in _NUMBERS and _is_number(said, known.types)):
        return f"`{said}` is not what has its place here"
    if kind == "string":
        if known.enum and said not in known.enum:
            return f"{said!a} is none of {', '.join(known.enum)}"
        bad = known.pattern is not None and not known.pattern.search(said)
        return f"{said!a} is no value that Compose takes" if bad else ""
    return "" if kind not in _NUMBERS or _in_bounds(said, known) else f"{said} is out of bounds"


def _is_number(said: str, types: frozenset[str]) -> bool:
    """Whether a number has the form that is asked for: 1.0 is an integer."""
    if "number" in types:
        return True
    try:
        return "integer" in types and float(said).is_integer()
    except (OverflowError, ValueError):
        return False


def _in_bounds(said: str, known: Attribute) -> bool:
    if known.minimum is None and known.maximum is None:
        return True
    number = float(said)
    below = known.minimum is not None and number < known.minimum
    return not below and not (known.maximum is not None and number > known.maximum)


def _plain(node: Node) -> str:
    """A value as a text that equal values share."""
    if isinstance(node, Scalar):
        return f"{node.kind}:{unset(node.value)}"
    if isinstance(node, Sequence):
        return f"[{','.join(map(_plain, node.items))}]"
    return f"{{{','.join(sorted(f'{k}={_plain(v)}' for k, v in node.entries.items()))}}}"
