"""A manifest as the rules see it: services with their values, who can set each variable, scripts.

Built once per audit from the parsed manifest and compose tree; nothing here judges.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from verifier.errors import EvidenceError
from verifier.evidence.app_compose import AppCompose, line_of_field
from verifier.evidence.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.evidence.interpolation import Template, Variable, parse_template
from verifier.manifest.context import Context
from verifier.manifest.rule import Place
from verifier.model.result import JsonValue
from verifier.reference.prelaunch_scripts import KnownScript, recognise_script

if TYPE_CHECKING:
    from verifier.manifest.image import Image

COMPOSE_POINTER: Final = "/docker_compose_file"
HOST_SET: Final = frozenset({"PCCS_URL"})
"""Set by app-compose.sh from sys-config, which the host writes."""

RESTARTS: Final = frozenset({"always", "unless-stopped"})
"""Restart policies under which dockerd brings a container back at boot, before any script."""

_MAX_EXTENDS: Final = 8  # of each other
MAX_EXTENDING: Final = 100
"""Services whose `extends` is followed: each copies what it takes."""

_SECTIONS: Final = ("name", "services", "volumes", "networks", "configs", "secrets")
_EXPORT: Final = re.compile(r"^[ \t]*export[ \t]+([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
_LITERAL: Final = re.compile(r"([\"']?)([\w./:@+-]*)\1", re.ASCII)
_SHELL_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")


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
    def place(self) -> Place:
        """Where it stands."""
        return Place(pointer=_pointer(self.path), line=self.line, column=self.column)

    def place_of(self, offset: int) -> Place:
        """Where a part of it stands: exact within a literal block, else where it begins."""
        if not self.indent:
            return self.place
        line = self.line + 1 + self.text.count("\n", 0, offset)
        column = offset - self.text.rfind("\n", 0, offset) - 1 + self.indent
        return Place(pointer=_pointer(self.path), line=line, column=column)

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

    def __init__(self, name: str, tree: Mapping, at: Place, volumes: Mapping | None) -> None:
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


class Manifest:
    """Everything that the rules judge. `app` is None in compose-only mode, `tree` None when there
    is no compose file that could be parsed (`error` says why)."""

    def __init__(
        self,
        app: AppCompose | None,
        tree: Mapping | None,
        context: Context,
        compose_text: str = "",
        error: EvidenceError | None = None,
    ) -> None:
        self.app = app
        self.tree = tree
        self.context = context
        self.compose_text = compose_text
        self.error = error
        self.document: dict[str, JsonValue] = {} if app is None else app.document
        self._places: dict[str, Place] = {}
        self.images: dict[str, Image] = {}  # filled by `image_of`
        self.scripts: dict[str, str] = {} if app is None else app.scripts
        volumes = tree.entries.get("volumes") if tree else None
        named = volumes if isinstance(volumes, Mapping) else None
        services = tree.entries.get("services") if tree else None
        self.services = _services(services, named) if isinstance(services, Mapping) else ()

    @cached_property
    def allowed(self) -> frozenset[str] | None:
        """The names in allowed_envs; None when nobody knows: compose-only mode, or the field is
        absent on an OS of unknown version (before 0.5.0 absent meant every name)."""
        if self.app is None:
            return None
        listed = self.app.allowed_envs
        if listed is None:
            if not self.context.os_version or self.context.os_version.startswith(("0.3", "0.4")):
                return None
            return frozenset()
        return frozenset(name for name in listed if isinstance(name, str))

    @cached_property
    def known_script(self) -> KnownScript | None:
        """The pre-launch script, when its hash is known."""
        script = self.app.pre_launch_script if self.app else ""
        return recognise_script(script) if script else None

    @cached_property
    def texts(self) -> tuple[Text, ...]:
        """Every string of the file that Compose uses; `x-` fields count where they are merged."""
        found: list[Text] = []
        for section in _SECTIONS:
            node = self.tree.entries.get(section) if self.tree else None
            if node is not None:
                _collect(node, (section,), found)
        return tuple(found)

    @cached_property
    def all_text(self) -> str:
        """All of them joined, for a quick look whether something is anywhere at all."""
        return "\n".join(text.text for text in self.texts)

    @cached_property
    def script_values(self) -> dict[str, str | None]:
        """What scripts export: the value where it is a literal, else None."""
        found: dict[str, str | None] = dict.fromkeys(self.provided)
        for script in self.scripts.values():
            for name, value in _EXPORT.findall(script):
                literal = _LITERAL.fullmatch(value.strip())
                found[name] = literal[2] if literal else None
        return found

    @cached_property
    def uses(self) -> tuple[tuple[Text, Variable], ...]:
        """Every variable that the compose file reads, pass-throughs included."""
        found = [(text, variable) for text in self.texts for variable in text.variables]
        found.extend(
            (env.text, Variable(env.key, "pass"))
            for service in self.services
            for env in service.environment.values()
            if env.value is None
        )
        return tuple(found)

    @cached_property
    def uses_by_name(self) -> dict[str, list[tuple[Text, Variable]]]:
        """The uses of each variable, in source order."""
        found: dict[str, list[tuple[Text, Variable]]] = {}
        for text, variable in self.uses:
            found.setdefault(variable.name, []).append((text, variable))
        return found

    @cached_property
    def used(self) -> frozenset[str]:
        """The names that compose file and scripts read."""
        return frozenset(variable.name for _, variable in self.uses) | self.script_names

    @cached_property
    def script_names(self) -> frozenset[str]:
        """The names that the scripts read; of a known script, those that it is known to read."""
        found: set[str] = set()
        for pointer, script in self.scripts.items():
            known = self.known_script if pointer == "/pre_launch_script" else None
            if known is not None and known.phala:
                found |= known.reads()
            else:
                found |= set(_SHELL_VARIABLE.findall(script))
        return frozenset(found)

    @cached_property
    def provided(self) -> frozenset[str]:
        """Names that are set although nobody allows them: by the guest or by a script."""
        found = set(HOST_SET)
        if self.known_script is not None and self.known_script.phala:
            return frozenset(found | self.known_script.exports())
        for script in self.scripts.values():
            found |= {name for name, _ in _EXPORT.findall(script)}
        if self.app is None:
            found |= {"DSTACK_APP_ID", "DSTACK_GATEWAY_DOMAIN", "DSTACK_APP_DOMAIN"}
        return frozenset(found)

    def operator_names(self, *variables: Variable) -> tuple[str, ...]:
        """Those of the variables that the operator sets, or, where allowed_envs is not known, may
        set: a hit about them is then `conditional` (see `unsure`)."""
        names = dict.fromkeys(variable.name for variable in variables)
        if self.allowed is None:
            return tuple(name for name in names if name not in self.provided)
        return tuple(name for name in names if name in self.allowed)

    @property
    def unsure(self) -> bool:
        """Whether allowed_envs is not known."""
        return self.allowed is None

    def place_of(self, name: str) -> Place:
        """Where a top-level field of the manifest stands."""
        if name not in self._places:
            line, column = line_of_field(self.app.raw, name) if self.app else (0, 0)
            self._places[name] = Place(pointer=f"/{name}", line=line, column=column)
        return self._places[name]

    @cached_property
    def includes(self) -> tuple[Text, ...]:
        """The paths that `include` names."""
        found: list[Text] = []
        node = self.tree.entries.get("include") if self.tree else None
        if node is not None:
            _collect(node, ("include",), found)
        return tuple(found)

    @cached_property
    def config_contents(self) -> dict[str, Text]:
        """The inline contents of `configs`, by name."""
        node = self.tree.entries.get("configs") if self.tree else None
        found: dict[str, Text] = {}
        for name, config in node.entries.items() if isinstance(node, Mapping) else ():
            content = config.entries.get("content") if isinstance(config, Mapping) else None
            if isinstance(content, Scalar):
                found[name] = text_of(content, ("configs", name, "content"))
        return found


def _services(tree: Mapping, volumes: Mapping | None) -> tuple[Service, ...]:
    found = []
    extending = 0
    for name, own in tree.entries.items():
        extending += isinstance(own, Mapping) and "extends" in own.entries
        node = _extended(tree, own, 0) if extending <= MAX_EXTENDING else own
        if isinstance(node, Mapping):
            line, column = tree.keys[name]
            place = Place(pointer=_pointer(("services", name)), line=line, column=column)
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


def _collect(node: Node, path: tuple[str, ...], found: list[Text]) -> None:
    if isinstance(node, Scalar):
        found.append(text_of(node, path))
    elif isinstance(node, Sequence):
        for place, item in enumerate(node.items):
            _collect(item, (*path, str(place)), found)
    else:
        for key, item in node.entries.items():
            _collect(item, (*path, key), found)


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


def published_services(manifest: Manifest) -> Iterator[Service]:
    """The services with a port that the gateway can reach."""
    return (service for service in manifest.services if service.public_ports)
