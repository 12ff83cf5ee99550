"""Docker Compose YAML → trees that keep where everything stands, one for each document.

libyaml's node graph gives positions; what a scalar means is resolved as Compose does it (see
`yaml_scalars`). Two errors are told apart: what Docker Compose refuses itself (several meanings of
one key, keys that are not strings, anchors inside themselves, no mapping), and what is only too
long, too deep or too large, once its aliases are expanded, to be judged here.

`!reset` and `!override` are Compose's own tags; other local tags mean nothing to it. Source:
compose-go loader/reset.go, loader/loader.go.
"""

import re
from typing import Final

import yaml
from msgspec import Struct
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # its stubs leave it out

from verifier.errors import EvidenceError
from verifier.evidence.compose.yaml_scalars import is_text, resolve
from verifier.patterns import pattern

MAX_BYTES: Final = 2 << 20
MAX_DEPTH: Final = 64
MAX_DOCUMENTS: Final = 100  # each is merged with all before it
MAX_NODES: Final = 400_000
"""Nodes once every alias is written out. A service of a real manifest has about fifty."""

_SAFE_NESTING: Final = 2_000  # levels that libyaml's composer, which recurses, holds on any stack
_OPENERS: Final = ("[", "{", "- ", "-\t", "? ", "?\t")
_BEGINNINGS: Final = "[{-?"  # each opener's first character, which is counted much faster
_CORE_TAG: Final = "tag:yaml.org,2002:"
_RARE_BREAK: Final = pattern(r"[\r\x85\u2028\u2029]")
_BLOCK_LINE: Final = pattern(r"\n( *)(?=[^ \r\n])")
_DIRECTIVES: Final = {"!reset": "reset", "!override": "override"}


class Scalar(Struct, frozen=True, gc=False):
    """A leaf.

    text       its content
    plain      whether it stands without quotes and in no block, so that it may be more than text
    line       where it stands, from 1
    column     where it stands, from 1
    indent     the column, from 1, at which the lines of a literal block (`|`) begin; 0 for any
               other
    directive  `reset`, `override` or ""
    """

    text: str
    plain: bool
    line: int
    column: int
    indent: int = 0
    directive: str = ""

    @property
    def kind(self) -> str:
        """`str`, `null`, `bool`, `int`, `float` or `time`, as Compose decodes it."""
        return resolve(self.text)[0] if self.plain and not is_text(self.text) else "str"

    @property
    def value(self) -> str:
        """What Compose writes for it where it needs a text; "" for null."""
        return resolve(self.text)[1] if self.plain and not is_text(self.text) else self.text


class Sequence(Struct, frozen=True, gc=False):
    """A list. Lines and columns count from 1; `directive` as in `Scalar`."""

    items: tuple["Node", ...]
    line: int
    column: int
    directive: str = ""


class Mapping(Struct, frozen=True, gc=False):
    """A mapping with its merge keys applied.

    entries    the values by key, in source order, then those that came through `<<`
    keys       line and column of each key, from 1
    merged     the keys that came through `<<`
    line       where it begins, from 1
    column     where it begins, from 1
    directive  `reset`, `override` or ""
    """

    entries: dict[str, "Node"]
    keys: dict[str, tuple[int, int]]
    merged: frozenset[str]
    line: int
    column: int
    directive: str = ""


Node = Scalar | Sequence | Mapping


class Duplicate(Struct, frozen=True):
    """A key that a mapping has twice, at its second place."""

    key: str
    line: int
    column: int


class RefusedError(EvidenceError):
    """Docker Compose refuses the file too."""


class DuplicateKeyError(RefusedError):
    """Mappings with the same key twice: readers disagree which one counts."""

    def __init__(self, what: str, duplicates: tuple[Duplicate, ...]) -> None:
        first = duplicates[0]
        super().__init__(
            f"{what}: line {first.line}: duplicate key {first.key!a}",
            hint="keep one of them: Docker Compose refuses the file",
        )
        self.duplicates = duplicates


def parse_documents(text: str, what: str) -> tuple[Mapping, ...]:
    """The tree of each document of a compose file.

    Raises DuplicateKeyError, RefusedError for what else Docker Compose refuses, and EvidenceError
    for what is too large to be judged.
    """
    if len(text) > MAX_BYTES:
        raise EvidenceError(f"{what}: {len(text)} characters, over the limit of {MAX_BYTES}")
    try:
        if _may_nest(text):
            _refuse_nesting(text, what)
        loader = _Loader(text)
        roots = []
        while loader.check_node():
            roots.append(loader.get_node() or yaml.ScalarNode("", ""))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "not YAML"
        raise RefusedError(f"{what}: {place}{problem}") from error
    except UnicodeEncodeError as error:
        raise RefusedError(f"{what}: lone surrogate at character {error.start}") from error
    if len(roots) > MAX_DOCUMENTS:
        raise EvidenceError(f"{what}: {len(roots)} documents, over the limit of {MAX_DOCUMENTS}")
    builder = _Builder(text, what)
    documents = tuple(builder.document(root) for root in roots)
    if builder.duplicates:
        raise DuplicateKeyError(what, tuple(builder.duplicates))
    if not documents:
        raise RefusedError(f"{what}: it is empty")
    return documents


def parse_compose(text: str, what: str) -> Mapping:
    """The tree of a compose file's first document. Raises what `parse_documents` raises."""
    return parse_documents(text, what)[0]


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
            raise self._refused(source, "an anchor that contains itself")
        if depth > MAX_DEPTH:
            raise self._error(source, f"nested deeper than {MAX_DEPTH}")
        self._open.add(id(source))
        if isinstance(source, yaml.MappingNode):
            built: tuple[Node, int] = self._mapping(source, depth)
        else:
            pairs = [self.node(item, depth + 1) for item in source.value]
            directive = self._directive(source, "seq")
            mark = source.start_mark
            items = tuple(item for item, _ in pairs)
            built = (
                Sequence(items, mark.line + 1, mark.column + 1, directive),
                1 + sum(size for _, size in pairs),
            )
        self._open.remove(id(source))
        if built[1] > MAX_NODES:
            raise self._error(source, f"aliases expand to more than {MAX_NODES} values")
        self._built[id(source)] = built
        self._sizes[id(built[0])] = built[1]
        return built

    def document(self, source: yaml.Node) -> Mapping:
        if not isinstance(source, yaml.MappingNode):
            raise self._refused(source, "it is no mapping with `services`")
        built, _ = self.node(source, 1)
        if not isinstance(built, Mapping):
            raise self._refused(source, "it is no mapping with `services`")
        return built

    def _mapping(self, source: yaml.MappingNode, depth: int) -> tuple[Mapping, int]:
        directive = self._directive(source, "map")
        own: dict[str, Node] = {}
        places: dict[str, tuple[int, int]] = {}
        merges: list[Mapping] = []
        size = 1
        for key_node, value_node in source.value:
            key = self._key(key_node)
            mark = key_node.start_mark
            if key == "<<" and key_node.style == "":
                if merges:
                    self.duplicates.append(Duplicate(key, mark.line + 1, mark.column + 1))
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
        line, column = mark.line + 1, mark.column + 1
        tree = Mapping(own, places, frozenset(merged), line, column, directive)
        return tree, size + sum(self._sizes.get(id(own[key]), 1) for key in merged)

    def _merge(self, source: yaml.Node, depth: int) -> list[Mapping]:
        sources = source.value if isinstance(source, yaml.SequenceNode) else [source]
        found = [self.node(item, depth + 1)[0] for item in sources]
        if not all(isinstance(item, Mapping) for item in found):
            raise self._refused(source, "a merge key needs a mapping")
        return [item for item in found if isinstance(item, Mapping)]

    def _spend(self, source: yaml.Node, amount: int) -> None:
        self._work += amount
        if self._work > MAX_NODES:
            raise self._error(source, f"merge keys copy more than {MAX_NODES} values")

    def _key(self, source: yaml.Node) -> str:
        if not isinstance(source, yaml.ScalarNode):
            raise self._refused(source, "a key that is not a string")
        if not source.tag and (source.style != "" or is_text(source.value)):
            return str(source.value)
        scalar = self._scalar(source)
        if scalar.plain and scalar.kind != "str":
            raise self._refused(source, f"the key {scalar.text!a} is not a string")
        return scalar.text

    def _scalar(self, source: yaml.ScalarNode) -> Scalar:
        mark, tag = source.start_mark, source.tag
        plain = source.style == ""
        directive = ""
        if tag:
            directive = _DIRECTIVES.get(tag, "")
            kind = tag.removeprefix(_CORE_TAG)
            if kind != tag and kind not in {"str", _kind(source.value)}:
                raise self._error(source, f"the tag {tag!a} is not understood here")
            plain = kind not in {"str", tag} or bool(directive and plain)
        indent = self._indent(mark.index) if source.style == "|" else 0
        return Scalar(source.value, plain, mark.line + 1, mark.column + 1, indent, directive)

    def _indent(self, index: int) -> int:
        """The column of the first line that is not empty after a literal block's header."""
        match = _BLOCK_LINE.search(self._text, index)
        return len(match[1]) + 1 if match else 0

    def _directive(self, source: yaml.Node, kind: str) -> str:
        """Compose's own directive in a tag; a local tag means nothing to it."""
        if source.tag and source.tag.startswith(_CORE_TAG) and source.tag != _CORE_TAG + kind:
            raise self._error(source, f"the tag {source.tag!a} is not understood here")
        return _DIRECTIVES.get(source.tag or "", "")

    def _error(self, source: yaml.Node, problem: str) -> EvidenceError:
        return EvidenceError(self._said(source, problem))

    def _refused(self, source: yaml.Node, problem: str) -> RefusedError:
        return RefusedError(self._said(source, problem))

    def _said(self, source: yaml.Node, problem: str) -> str:
        mark = source.start_mark
        return f"{self.what}: line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _kind(text: str) -> str:
    return resolve(text)[0]


def _may_nest(text: str) -> bool:
    """Whether there is enough in a text for a nesting that libyaml's composer may not hold."""
    beginnings = sum(map(text.count, _BEGINNINGS))
    return beginnings > _SAFE_NESTING and sum(map(text.count, _OPENERS)) > _SAFE_NESTING


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
