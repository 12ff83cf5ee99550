"""XML as it is signed: a strict reader, and Canonical XML 1.1 of what it read.

Only what NVIDIA's manifests need: elements, attributes and text. A document type, a processing
instruction and an attribute of the namespace `xml` are refused, so that nothing has two meanings.
Source: W3C Canonical XML 1.1, sections 1.1, 2.2 and 2.4; Namespaces in XML 1.0.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final
from xml.parsers import expat

from msgspec import Struct

from verifier.errors import EvidenceError

MAX_XML_BYTES: Final = 1 << 18
_MAX_DEPTH: Final = 16
_MAX_ELEMENTS: Final = 4096
_TEXT: Final = {ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord("\r"): "&#xD;"}
_VALUE: Final = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord('"'): "&quot;",
    ord("\t"): "&#x9;",
    ord("\n"): "&#xA;",
    ord("\r"): "&#xD;",
}
"""What is written in another way in a text, and in the value of an attribute."""

Name = tuple[str, str]
"""The URI of a namespace ("" for none) and a local name."""


class Element(Struct, eq=False):
    """One element. `scope` are the namespaces in scope, by prefix ("" for the default one);
    `written` are its attributes as (prefix, local name, value), in the order of the document."""

    prefix: str
    local: str
    scope: Mapping[str, str]
    written: tuple[tuple[str, str, str], ...]
    children: "list[Element | str]" = []

    @property
    def name(self) -> Name:
        """Its name."""
        return self.scope.get(self.prefix, ""), self.local

    @property
    def attributes(self) -> Mapping[Name, str]:
        """Its attributes; one without a prefix is in no namespace."""
        return {
            (self.scope[prefix] if prefix else "", local): value
            for prefix, local, value in self.written
        }

    @property
    def elements(self) -> "list[Element]":
        """The elements directly inside."""
        return [item for item in self.children if isinstance(item, Element)]

    @property
    def text(self) -> str:
        """The text directly inside."""
        return "".join(item for item in self.children if isinstance(item, str))

    def walk(self) -> "Iterator[Element]":
        """It and all elements inside, in the order of the document."""
        yield self
        for item in self.elements:
            yield from item.walk()


def parse_xml(raw: bytes, what: str) -> Element:
    """The root of a document. Raises EvidenceError."""
    if len(raw) > MAX_XML_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes of XML, more than {MAX_XML_BYTES}")
    builder = _Builder(what)
    parser = expat.ParserCreate(encoding="utf-8")
    parser.ordered_attributes = True
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.ProcessingInstructionHandler = builder.refuse
    try:
        parser.Parse(raw, True)  # noqa: FBT003 - expat takes it by position only
    except (expat.ExpatError, ValueError) as error:
        raise EvidenceError(f"{what}: not XML: {error}") from error
    if builder.root is None:
        raise EvidenceError(f"{what}: not XML")
    return builder.root


class _Builder:
    def __init__(self, what: str) -> None:
        self._what = what
        self._open: list[Element] = []
        self._count = 0
        self.root: Element | None = None

    def refuse(self, *_: object) -> None:
        raise EvidenceError(f"{self._what}: has a document type or a processing instruction")

    def start(self, name: str, listed: list[str]) -> None:
        self._count += 1
        if self._count > _MAX_ELEMENTS or len(self._open) >= _MAX_DEPTH:
            raise EvidenceError(
                f"{self._what}: more elements, or deeper ones, than any manifest has"
            )
        scope = dict(self._open[-1].scope) if self._open else {}
        written = []
        for key, value in zip(listed[::2], listed[1::2], strict=True):
            prefix, _, local = key.rpartition(":")
            if key == "xmlns" or prefix == "xmlns":
                scope["" if key == "xmlns" else local] = value
            else:
                written.append((prefix, local, value))
        prefix, _, local = name.rpartition(":")
        element = Element(prefix, local, scope, tuple(written))
        used = {prefix, *(item[0] for item in written)} - {""}
        if "xml" in used or not used <= {key for key, uri in scope.items() if uri}:
            raise EvidenceError(
                f"{self._what}: element {name[:40]!a} uses a prefix that is not declared"
            )
        if len(element.attributes) != len(written):
            raise EvidenceError(f"{self._what}: element {name[:40]!a} has an attribute twice")
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        self._open[-1].children.append(data)


def canonical(element: Element, without: Collection[Element] = ()) -> bytes:
    """Canonical XML 1.1 of an element with all namespaces in its scope, and of what is in it,
    without the elements in `without`."""
    return "".join(_render(element, {}, without)).encode("utf-8")


def _render(
    element: Element, rendered: Mapping[str, str], without: Collection[Element]
) -> Iterator[str]:
    name = f"{element.prefix}:{element.local}" if element.prefix else element.local
    yield f"<{name}"
    for prefix, uri in sorted(element.scope.items()):
        if rendered.get(prefix, "") != uri:
            yield f' xmlns{":" if prefix else ""}{prefix}="{_escaped(uri, _VALUE)}"'
    scope = element.scope
    order = sorted(element.written, key=lambda item: (scope[item[0]] if item[0] else "", item[1]))
    for prefix, local, value in order:
        yield f' {prefix}{":" if prefix else ""}{local}="{_escaped(value, _VALUE)}"'
    yield ">"
    for child in element.children:
        if isinstance(child, str):
            yield _escaped(child, _TEXT)
        elif child not in without:
            yield from _render(child, element.scope, without)
    yield f"</{name}>"


def _escaped(text: str, table: Mapping[int, str]) -> str:
    return text.translate(table)
