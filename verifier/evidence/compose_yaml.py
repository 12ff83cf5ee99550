"""Docker Compose YAML → a tree that keeps where everything stands.

libyaml's node graph gives positions; what a scalar means is resolved here, by the YAML 1.2 core
schema that compose-go follows: `22:22`, `on` and `yes` are strings, `1e3` is a number. Refused,
because readers disagree about them or because they can be made to cost any amount of work: several
documents, unknown tags, keys that are not strings, duplicate keys, anchors inside themselves, and
texts that are too long, too deep, or too large once their aliases are expanded.
"""

import re
from dataclasses import dataclass
from typing import Final

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # its stubs leave it out

from verifier.errors import EvidenceError

MAX_BYTES: Final = 2 << 20
MAX_DEPTH: Final = 64
MAX_NODES: Final = 400_000
"""Nodes once every alias is written out. A service of a real manifest has about fifty."""

_SAFE_NESTING: Final = 2_000  # levels that libyaml's composer, which recurses, holds on any stack
_OPENERS: Final = ("[", "{", "- ", "-\t", "? ", "?\t")
_CORE_TAG: Final = "tag:yaml.org,2002:"
_RARE_BREAK: Final = re.compile(r"[\r\x85\u2028\u2029]")
_BLOCK_LINE: Final = re.compile(r"\n( *)(?=[^ \r\n])")
_WORDS: Final = dict.fromkeys(("null", "Null", "NULL"), "null") | dict.fromkeys(
    ("true", "True", "TRUE", "false", "False", "FALSE"), "bool"
)
_NULL: Final = re.compile(r"|~", re.ASCII)
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT: Final = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?(?:\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
    re.ASCII,
)
_KINDS: Final = (("null", _NULL), ("int", _INT), ("float", _FLOAT))


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf. `text` is its content; a `plain` one (no quotes, no block) may be more than text.
    `indent` is the column, from 1, at which the lines of a literal block (`|`) begin, 0 for others.
    """

    text: str
    plain: bool
    line: int
    column: int
    indent: int = 0

    @property
    def kind(self) -> str:
        """`str`, `null`, `bool`, `int` or `float`, by the YAML 1.2 core schema."""
        return _kind(self.text) if self.plain else "str"


@dataclass(frozen=True, slots=True)
class Sequence:
    """A list. Lines and columns count from 1."""

    items: tuple["Node", ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mapping:
    """A mapping in source order with its merge keys applied. `keys` holds where each key stands;
    `merged` names the keys that came through `<<`."""

    entries: dict[str, "Node"]
    keys: dict[str, tuple[int, int]]
    merged: frozenset[str]
    line: int
    column: int


Node = Scalar | Sequence | Mapping


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A key that a mapping has twice, at its second place."""

    key: str
    line: int
    column: int


class DuplicateKeyError(EvidenceError):
    """Mappings with the same key twice: readers disagree which one counts."""

    def __init__(self, what: str, duplicates: tuple[Duplicate, ...]) -> None:
        first = duplicates[0]
        super().__init__(
            f"{what}: line {first.line}: duplicate key {first.key!a}",
            hint="keep one of them: Docker Compose refuses the file",
        )
        self.duplicates = duplicates


def parse_compose(text: str, what: str) -> Mapping:
    """The tree of a compose file whose top level is a mapping.

    Raises DuplicateKeyError, and EvidenceError for anything else that the module refuses.
    """
    if len(text) > MAX_BYTES:
        raise EvidenceError(f"{what}: {len(text)} characters, over the limit of {MAX_BYTES}")
    try:
        if sum(map(text.count, _OPENERS)) > _SAFE_NESTING:
            _refuse_nesting(text, what)
        root = _Loader(text).get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise EvidenceError(f"{what}: {place}{problem}") from error
    except UnicodeEncodeError as error:
        raise EvidenceError(f"{what}: lone surrogate at character {error.start}") from error
    if not isinstance(root, yaml.MappingNode):
        raise EvidenceError(f"{what}: not a mapping with `services`")
    builder = _Builder(text, what)
    tree = builder.mapping(root, 1)
    if builder.duplicates:
        raise DuplicateKeyError(what, tuple(builder.duplicates))
    return tree


def lines_of(text: str) -> list[str]:
    """The lines of a text as libyaml counts them."""
    if not _RARE_BREAK.search(text):
        return text.split("\n")
    return re.split(r"\r\n|[\r\n\x85\u2028\u2029]", text)


class _Loader(CParser):
    """libyaml's parser and composer without PyYAML's YAML 1.1 resolver."""

    def resolve(self, kind: type, value: str, implicit: tuple[bool, bool]) -> str:  # noqa: ARG002
        """No tag: `_Builder` resolves what the text means."""
        return ""

    def descend_resolver(self, node: object, index: object) -> None:
        """Nothing to prepare."""

    def ascend_resolver(self) -> None:
        """Nothing to undo."""


class _Builder:
    """Turns libyaml's graph into the tree, and counts what its aliases expand to."""

    def __init__(self, text: str, what: str) -> None:
        self.what = what
        self._text = text
        self.duplicates: list[Duplicate] = []
        self._built: dict[int, tuple[Node, int]] = {}  # with the nodes that it expands to
        self._sizes: dict[int, int] = {}  # the same by the identity of what was built
        self._open: set[int] = set()
        self._work = 0

    def node(self, source: yaml.Node, depth: int) -> tuple[Node, int]:
        if isinstance(source, yaml.ScalarNode):
            return self._scalar(source), 1
        found = self._built.get(id(source))
        if found is not None:
            return found
        if id(source) in self._open:
            raise self._error(source, "an anchor that contains itself")
        if depth > MAX_DEPTH:
            raise self._error(source, f"nested deeper than {MAX_DEPTH}")
        self._open.add(id(source))
        if isinstance(source, yaml.MappingNode):
            built: tuple[Node, int] = self._mapping(source, depth)
        else:
            pairs = [self.node(item, depth + 1) for item in source.value]
            self._check_tag(source, "seq")
            mark = source.start_mark
            items = tuple(item for item, _ in pairs)
            built = (
                Sequence(items, mark.line + 1, mark.column + 1),
                1 + sum(size for _, size in pairs),
            )
        self._open.remove(id(source))
        if built[1] > MAX_NODES:
            raise self._error(source, f"aliases expand to more than {MAX_NODES} values")
        self._built[id(source)] = built
        self._sizes[id(built[0])] = built[1]
        return built

    def mapping(self, source: yaml.MappingNode, depth: int) -> Mapping:
        built, _ = self.node(source, depth)
        if not isinstance(built, Mapping):
            raise self._error(source, "not a mapping")
        return built

    def _mapping(self, source: yaml.MappingNode, depth: int) -> tuple[Mapping, int]:
        self._check_tag(source, "map")
        own: dict[str, Node] = {}
        places: dict[str, tuple[int, int]] = {}
        merges: list[Mapping] = []
        size = 1
        for key_node, value_node in source.value:
            key = self._key(key_node)
            mark = key_node.start_mark
            if key == "<<" and key_node.style == "":
                merges.extend(self._merge(value_node, depth))
                continue
            if key in own:
                self.duplicates.append(Duplicate(key, mark.line + 1, mark.column + 1))
                continue
            own[key], weight = self.node(value_node, depth + 1)
            places[key] = (mark.line + 1, mark.column + 1)
            size += weight
        merged: set[str] = set()
        for other in merges:
            self._spend(source, len(other.entries))
            for key, value in other.entries.items():
                if key not in own:
                    own[key] = value
                    places[key] = other.keys[key]
                    merged.add(key)
        mark = source.start_mark
        tree = Mapping(own, places, frozenset(merged), mark.line + 1, mark.column + 1)
        return tree, size + sum(self._sizes.get(id(own[key]), 1) for key in merged)

    def _merge(self, source: yaml.Node, depth: int) -> list[Mapping]:
        sources = source.value if isinstance(source, yaml.SequenceNode) else [source]
        found = [self.node(item, depth + 1)[0] for item in sources]
        if not all(isinstance(item, Mapping) for item in found):
            raise self._error(source, "a merge key needs a mapping")
        return [item for item in found if isinstance(item, Mapping)]

    def _spend(self, source: yaml.Node, amount: int) -> None:
        self._work += amount
        if self._work > MAX_NODES:
            raise self._error(source, f"merge keys copy more than {MAX_NODES} values")

    def _key(self, source: yaml.Node) -> str:
        if not isinstance(source, yaml.ScalarNode):
            raise self._error(source, "a key that is not a string")
        scalar = self._scalar(source)
        if scalar.plain and scalar.kind != "str":
            raise self._error(source, f"the key {scalar.text!a} is not a string")
        return scalar.text

    def _scalar(self, source: yaml.ScalarNode) -> Scalar:
        mark, tag = source.start_mark, source.tag
        plain = source.style == ""
        if tag:
            kind = tag.removeprefix(_CORE_TAG)
            known = kind == "str" or kind == _kind(source.value)
            if not tag.startswith(_CORE_TAG) or not known:
                raise self._error(source, f"the tag {tag!a} is not understood here")
            plain = kind != "str"
        indent = self._indent(mark.index) if source.style == "|" else 0
        return Scalar(source.value, plain, mark.line + 1, mark.column + 1, indent)

    def _indent(self, index: int) -> int:
        """The column of the first line that is not empty after a literal block's header."""
        match = _BLOCK_LINE.search(self._text, index)
        return len(match[1]) + 1 if match else 0

    def _check_tag(self, source: yaml.Node, kind: str) -> None:
        if source.tag and source.tag != _CORE_TAG + kind:
            raise self._error(source, f"the tag {source.tag!a} is not understood here")

    def _error(self, source: yaml.Node, problem: str) -> EvidenceError:
        mark = source.start_mark
        return EvidenceError(
            f"{self.what}: line {mark.line + 1}, column {mark.column + 1}: {problem}"
        )


def _kind(text: str) -> str:
    if text[:1].isalpha() or text.startswith("/"):  # most of what there is
        return _WORDS.get(text, "str")
    return next((name for name, pattern in _KINDS if pattern.fullmatch(text)), "str")


def _refuse_nesting(text: str, what: str) -> None:
    """Count levels by events, which libyaml gives without recursion."""
    parser = _Loader(text)
    depth = 0
    while parser.check_event():
        event = parser.get_event()
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise EvidenceError(f"{what}: nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
