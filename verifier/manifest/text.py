"""Strings of a compose file, with where they stand and the variables in them."""

from typing import Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.evidence.compose.interpolation import Template, Variable, parse_template
from verifier.manifest.remembered import remembered
from verifier.model.result import Location

COMPOSE_POINTER: Final = "/docker_compose_file"
GUEST_VALUES: Final = {"PWD": "/dstack", "COMPOSE_PROJECT_NAME": "dstack"}
"""What the guest sets to one value: its shell by the working directory, and Compose by the name of
the project directory (dstack os/common/rootfs/app-compose.service)."""


class Text(Struct, frozen=True, gc=False):
    """A string of the compose file.

    text      what it says
    path      its way from the root of the merged file
    line      where it stands in the source, from 1
    column    where it stands in the source, from 1
    template  the variables in it; None without a dollar sign
    indent    the column of a literal block's lines, from 1; 0 for any other text
    """

    text: str
    path: tuple[str, ...]
    line: int
    column: int
    template: Template | None = None
    indent: int = 0

    @property
    def place(self) -> Location:
        """Where it stands."""
        return Location(pointer=pointer_of(self.path), line=self.line, column=self.column)

    def place_of(self, offset: int) -> Location:
        """Where a part of it stands: exact within a literal block, else where it begins."""
        if not self.indent:
            return self.place
        line = self.line + 1 + self.text.count("\n", 0, offset)
        column = offset - self.text.rfind("\n", 0, offset) - 1 + self.indent
        return Location(pointer=pointer_of(self.path), line=line, column=column)

    def place_of_line(self, number: int) -> Location:
        """Where its line of this number begins, from 1: exact within a literal block."""
        if not self.indent:
            return self.place
        return Location(pointer=pointer_of(self.path), line=self.line + number, column=self.indent)

    @property
    def service(self) -> str:
        """The service that it belongs to, "" outside of services."""
        return self.path[1] if len(self.path) > 1 and self.path[0] == "services" else ""

    @property
    def field(self) -> str:
        """The service's field that it belongs to."""
        return self.path[2] if len(self.path) > 2 and self.path[0] == "services" else ""  # noqa: PLR2004

    @property
    def variables(self) -> tuple[Variable, ...]:
        """Every variable in it."""
        return () if self.template is None else self.template.variables

    @property
    def unset(self) -> str:
        """What it says while nobody sets a variable."""
        return self.text if self.template is None else self.template.render(GUEST_VALUES.get)


def unset(text: str) -> str:
    """What a text of the file says while nobody sets a variable."""
    return parsed(text).render(GUEST_VALUES.get) if "$" in text else text


@remembered
def parsed(text: str) -> Template:
    """A text of the file as a template."""
    return parse_template(text)


def text_of(node: Scalar, path: tuple[str, ...]) -> Text:
    """A scalar as text; of a number or a boolean, what Compose writes for it."""
    said = node.value if node.plain else node.text
    template = parsed(said) if "$" in said else None
    return Text(said, path, node.line, node.column, template, node.indent)


def text_at(said: str, path: tuple[str, ...], node: Node) -> Text:
    """Another text at the place of a node."""
    template = parsed(said) if "$" in said else None
    return Text(said, path, node.line, node.column, template)


def texts_of(node: Node | None, path: tuple[str, ...]) -> tuple[Text, ...]:
    """The scalars of a list; of a scalar itself, and of a mapping as `key=value`."""
    if isinstance(node, Scalar):
        return () if node.kind == "null" else (text_of(node, path),)
    if isinstance(node, Sequence):
        return tuple(
            text_of(item, (*path, str(place)))
            for place, item in enumerate(node.items)
            if isinstance(item, Scalar)
        )
    if isinstance(node, Mapping):
        return tuple(
            text_at(f"{key}={item.value}", (*path, key), item)
            for key, item in node.entries.items()
            if isinstance(item, Scalar)
        )
    return ()


def every_text(node: Node, path: tuple[str, ...]) -> list[Text]:
    """Every scalar below a node."""
    found: list[Text] = []
    _collect(node, path, found)
    return found


def _collect(node: Node, path: tuple[str, ...], found: list[Text]) -> None:
    if isinstance(node, Scalar):
        found.append(text_of(node, path))
    elif isinstance(node, Sequence):
        for place, item in enumerate(node.items):
            _collect(item, (*path, str(place)), found)
    else:
        for key, item in node.entries.items():
            _collect(item, (*path, key), found)


def child(node: Node | None, *names: str) -> Node | None:
    """The value below a mapping, by its way; None where there is none."""
    for name in names:
        node = node.entries.get(name) if isinstance(node, Mapping) else None
    return node


def entry(node: Node | None, *names: str) -> str:
    """A scalar below a mapping while nobody sets a variable; "" where there is none."""
    value = child(node, *names)
    return unset(value.value) if isinstance(value, Scalar) else ""


def pointer_of(path: tuple[str, ...]) -> str:
    """The RFC 6901 pointer of a place in the compose file."""
    joined = "/".join((COMPOSE_POINTER, *path))
    if "~" not in joined and joined.count("/") == len(path) + 1:
        return joined
    parts = (part.replace("~", "~0").replace("/", "~1") for part in path)
    return "/".join((COMPOSE_POINTER, *parts))
