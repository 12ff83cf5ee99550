"""The services of a compose file in one form, whichever syntax they are written in."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

from verifier.evidence.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.evidence.interpolation import Template, Variable, parse_template
from verifier.model.result import Location

COMPOSE_POINTER: Final = "/docker_compose_file"
RESTARTS: Final = frozenset({"always", "unless-stopped"})
"""Restart policies under which dockerd brings a container back at boot, before any script."""

_MAX_EXTENDS: Final = 8  # of each other
MAX_EXTENDING: Final = 100
"""Services whose `extends` is followed: each copies what it takes."""


@dataclass(frozen=True, slots=True)
class Text:
    """A string of the compose file: what it says, where it stands, the variables in it.

    `path` is its way from the root of the file. `template` is None without a dollar sign.
    `indent` is that of a literal block's lines.
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
        return Location(pointer=_pointer(self.path), line=self.line, column=self.column)

    def place_of(self, offset: int) -> Location:
        """Where a part of it stands: exact within a literal block, else where it begins."""
        if not self.indent:
            return self.place
        line = self.line + 1 + self.text.count("\n", 0, offset)
        column = offset - self.text.rfind("\n", 0, offset) - 1 + self.indent
        return Location(pointer=_pointer(self.path), line=line, column=column)

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
        return () if self.template is None else tuple(self.template.variables())

    @property
    def unset(self) -> str:
        """What it says while no variable is set."""
        return self.text if self.template is None else self.template.render(lambda _: None)


@dataclass(frozen=True, slots=True)
class Env:
    """One entry of `environment`. `value` is None for a pass-through of the variable `key`."""

    key: str
    value: str | None
    text: Text

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that its value reads."""
        return (Variable(self.key),) if self.value is None else self.text.variables

    @property
    def literal(self) -> str | None:
        """Its value when no variable is in it."""
        return None if self.value is None or self.text.template is not None else self.value


@dataclass(frozen=True, slots=True)
class Port:
    """A published port. `host_ip` is "" for all addresses; numbers are text, as written."""

    host_ip: str
    published: str
    target: str
    text: Text

    @property
    def public(self) -> bool:
        """Whether the gateway can reach it."""
        return not self.host_ip.startswith(("127.", "::1", "[::1", "localhost"))


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of a service. `bind` tells a host path from a named volume."""

    source: str
    target: str
    bind: bool
    read_only: bool
    text: Text


class Service:
    """One service of the compose file, merged and with its lists in one form."""

    def __init__(self, name: str, tree: Mapping, at: Location, volumes: Mapping | None) -> None:
        self.name = name
        self.tree = tree
        self.place = at
        self.path = ("services", name)
        self._volumes = volumes

    def field(self, *names: str) -> Node | None:
        """A value below the service, by its way."""
        node: Node | None = self.tree
        for name in names:
            node = node.entries.get(name) if isinstance(node, Mapping) else None
        return node

    def text(self, *names: str) -> Text | None:
        """A scalar below the service; None when it is absent, null or no scalar."""
        node = self.field(*names)
        if not isinstance(node, Scalar) or node.kind == "null":
            return None
        return text_of(node, (*self.path, *names))

    def texts(self, *names: str) -> tuple[Text, ...]:
        """The scalars of a list; of a scalar itself, and of a mapping as `key=value`."""
        node, path = self.field(*names), (*self.path, *names)
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
                text_of(item, (*path, key), f"{key}={item.text}")
                for key, item in node.entries.items()
                if isinstance(item, Scalar)
            )
        return ()

    def is_true(self, *names: str) -> bool:
        """Whether a flag is on while no variable is set (Compose takes `"true"` too)."""
        found = self.text(*names)
        return found is not None and found.unset.strip().lower() in {"true", "yes", "on", "1", "y"}

    @cached_property
    def image(self) -> Text | None:
        """Its image reference."""
        return self.text("image")

    @cached_property
    def builds(self) -> bool:
        """Whether it is built on the guest."""
        node = self.field("build")
        return node is not None and not (isinstance(node, Scalar) and node.kind == "null")

    @cached_property
    def environment(self) -> dict[str, Env]:
        """Its environment by name; of a name that a list has twice, the last counts."""
        node, path = self.field("environment"), (*self.path, "environment")
        found: dict[str, Env] = {}
        if isinstance(node, Sequence):
            for place, item in enumerate(node.items):
                if isinstance(item, Scalar):
                    key, assigned, value = item.text.partition("=")
                    text = text_of(item, (*path, str(place)))
                    found[key] = Env(key, value if assigned else None, text)
        elif isinstance(node, Mapping):
            for key, item in node.entries.items():
                if isinstance(item, Scalar):
                    value_or_none = None if item.kind == "null" else item.text
                    found[key] = Env(key, value_or_none, text_of(item, (*path, key)))
        return found

    @cached_property
    def commands(self) -> tuple[Text, ...]:
        """What it runs: entrypoint, command and health check, each as one line of words."""
        found = []
        for names in (("entrypoint",), ("command",), ("healthcheck", "test")):
            words = self.texts(*names)
            if words:
                joined = " ".join(word.text for word in words)
                first = words[0]
                path = (*self.path, *names)
                found.append(_text(joined, path, first.line, first.column))
        return tuple(found)

    @property
    def restart(self) -> str:
        """Its restart policy."""
        text = self.text("restart")
        return text.unset if text else ""

    @cached_property
    def dockerfile(self) -> Text | None:
        """Its inline Dockerfile."""
        return self.text("build", "dockerfile_inline")

    @cached_property
    def ports(self) -> tuple[Port, ...]:
        """Its published ports."""
        node = self.field("ports")
        items = node.items if isinstance(node, Sequence) else ()
        return tuple(
            _port(item, (*self.path, "ports", str(place))) for place, item in enumerate(items)
        )

    @property
    def public_ports(self) -> tuple[Port, ...]:
        """Those of its ports that the gateway can reach."""
        return tuple(port for port in self.ports if port.public)

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """Its volumes, with host paths behind named volumes resolved."""
        node = self.field("volumes")
        items = node.items if isinstance(node, Sequence) else ()
        return tuple(
            self._mount(item, (*self.path, "volumes", str(place)))
            for place, item in enumerate(items)
        )

    def _mount(self, node: Node, path: tuple[str, ...]) -> Mount:
        if isinstance(node, Scalar):
            text = text_of(node, path)
            source, _, rest = text.unset.partition(":")
            target, _, mode = rest.partition(":")
            read_only = "ro" in mode.split(",")
            if not rest:
                source, target = "", source
        else:
            text = _text(_entry(node, "source"), path, node.line, node.column)
            source, target = text.unset, _entry(node, "target")
            read_only = _entry(node, "read_only") == "true"
        device = self._device(source)
        bind = bool(device) or source.startswith(("/", ".", "~"))
        return Mount(_normal(device or source), target, bind, read_only, text)

    def _device(self, volume: str) -> str:
        """The host path that a named volume binds through driver options."""
        node = self._volumes.entries.get(volume) if self._volumes else None
        options = node.entries.get("driver_opts") if isinstance(node, Mapping) else None
        device = _entry(options, "device") if options else ""
        return device if device.startswith("/") else ""


def services_of(tree: Mapping, volumes: Mapping | None) -> tuple[Service, ...]:
    """The services below `services`; `volumes` are the file's own."""
    found = []
    extending = 0
    for name, own in tree.entries.items():
        extending += isinstance(own, Mapping) and "extends" in own.entries
        node = _extended(tree, own, 0) if extending <= MAX_EXTENDING else own
        if isinstance(node, Mapping):
            line, column = tree.keys[name]
            place = Location(pointer=_pointer(("services", name)), line=line, column=column)
            found.append(Service(name, node, place, volumes))
    return tuple(found)


def _extended(services: Mapping, node: Node, depth: int) -> Node:
    """A service with what it takes from another one of the same file; lists are joined."""
    given = node.entries.get("extends") if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or given is None or depth >= _MAX_EXTENDS:
        return node
    name = given.text if isinstance(given, Scalar) else _entry(given, "service")
    base = services.entries.get(name)
    if base is None or (isinstance(given, Mapping) and "file" in given.entries):
        return node
    base = _extended(services, base, depth + 1)
    if not isinstance(base, Mapping):
        return node
    entries = dict(base.entries)
    for key, own in node.entries.items():
        inherited = entries.get(key)
        if isinstance(own, Sequence) and isinstance(inherited, Sequence):
            entries[key] = Sequence((*inherited.items, *own.items), own.line, own.column)
        else:
            entries[key] = own
    return Mapping(entries, base.keys | node.keys, node.merged, node.line, node.column)


def text_of(node: Scalar, path: tuple[str, ...], text: str | None = None) -> Text:
    """A scalar as text, or as another text at its place."""
    if text is not None:
        return _text(text, path, node.line, node.column)
    template = parse_template(node.text) if "$" in node.text else None
    return Text(node.text, path, node.line, node.column, template, node.indent)


def _text(text: str, path: tuple[str, ...], line: int, column: int) -> Text:
    return Text(text, path, line, column, parse_template(text) if "$" in text else None)


def collect_texts(node: Node, path: tuple[str, ...], found: list[Text]) -> None:
    """Append every scalar below a node."""
    if isinstance(node, Scalar):
        found.append(text_of(node, path))
    elif isinstance(node, Sequence):
        for place, item in enumerate(node.items):
            collect_texts(item, (*path, str(place)), found)
    else:
        for key, item in node.entries.items():
            collect_texts(item, (*path, key), found)


def _port(node: Node, path: tuple[str, ...]) -> Port:
    if not isinstance(node, Scalar):
        text = _text(_entry(node, "target"), path, node.line, node.column)
        return Port(_entry(node, "host_ip"), _entry(node, "published"), text.text, text)
    text = text_of(node, path)
    numbers = text.unset.partition("/")[0]
    rest, _, target = numbers.rpartition(":")
    host_ip, _, published = rest.rpartition(":")
    return Port(host_ip, published, target, text)


def _entry(node: Node, name: str) -> str:
    value = node.entries.get(name) if isinstance(node, Mapping) else None
    return value.text if isinstance(value, Scalar) else ""


def _normal(path: str) -> str:
    """A host path without `.`, `..`, doubled and trailing slashes."""
    if not path.startswith("/"):
        return path
    kept: list[str] = []
    for part in path.split("/"):
        if part == ".." and kept:
            kept.pop()
        elif part not in {"", ".", ".."}:
            kept.append(part)
    return "/" + "/".join(kept)


def _pointer(path: tuple[str, ...]) -> str:
    parts = (part.replace("~", "~0").replace("/", "~1") for part in path)
    return "/".join((COMPOSE_POINTER, *parts))
