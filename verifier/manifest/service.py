"""The services of a compose file in one form, whichever syntax they are written in."""

from collections.abc import Callable
from functools import cached_property
from typing import Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.evidence.compose.interpolation import Variable
from verifier.manifest.compose.merge import is_null
from verifier.manifest.compose.ports import Port, parse_port, parse_range
from verifier.manifest.mounts import Mount, mounts_of
from verifier.manifest.shared import Shared
from verifier.manifest.text import (
    GUEST_VALUES,
    Text,
    child,
    entry,
    parsed,
    pointer_of,
    text_at,
    text_of,
    texts_of,
    unset,
)
from verifier.model.result import Location

RESTARTS: Final = frozenset({"always", "unless-stopped"})
"""Restart policies under which dockerd brings a container back at boot, before any script."""
HOOKS: Final = ("pre_start", "post_start", "pre_stop")
COMMANDS: Final = frozenset({"command", "entrypoint", "healthcheck", *HOOKS})
"""The fields that hold what is run."""

IsOpen = Callable[[str], bool]

_TRUE: Final = frozenset({"true", "yes", "on", "1", "y"})
_ANY_TIME: Final = "any"  # of deploy.restart_policy.condition, which is `always` to Compose


class Env(Struct, frozen=True, gc=False):
    """One entry of `environment`.

    key      its name
    value    what is assigned, as written, None for a pass-through of the variable `key`
    text     the entry, with where it stands
    literal  the value that it has in every deployment, None where somebody decides
    """

    key: str
    value: str | None
    text: Text
    literal: str | None = None

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables that its value reads."""
        return (Variable(self.key),) if self.value is None else self.text.variables


class PublishedPort(Struct, frozen=True, gc=False):
    """An entry of `ports`, with where it stands."""

    port: Port
    text: Text

    @property
    def public(self) -> bool:
        """Whether the gateway can reach it."""
        return self.port.public


class Hook(Struct, frozen=True):
    """A command that Compose runs when it starts or stops a container.

    path         its way from the root of the file
    place        where it stands
    command      what is run, as one line of words; None where it is absent
    privileged   the text of its flag; None where it is absent
    environment  its variables by name
    image        the image of a container of its own; None to run in the service's
    """

    path: tuple[str, ...]
    place: Location
    command: Text | None
    privileged: Text | None
    environment: dict[str, Env]
    image: Text | None


class Service:
    """One service of the compose file, merged and with its lists in one form."""

    def __init__(
        self, name: str, tree: Mapping, at: Location, shared: Shared, is_open: IsOpen
    ) -> None:
        self.name = name
        self._is_open = is_open
        self.tree = tree
        self.place = at
        self.path = ("services", name)
        self.shared = shared

    def field(self, *names: str) -> Node | None:
        """A value below the service, by its way."""
        return child(self.tree, *names)

    def text(self, *names: str) -> Text | None:
        """A scalar below the service; None when it is absent, null or no scalar."""
        node = child(self.tree, *names)
        if not isinstance(node, Scalar) or node.kind == "null":
            return None
        return text_of(node, (*self.path, *names))

    def texts(self, *names: str) -> tuple[Text, ...]:
        """The scalars of a list; of a scalar itself, and of a mapping as `key=value`."""
        return texts_of(child(self.tree, *names), (*self.path, *names))

    def says(self, *names: str) -> str:
        """A scalar below the service while nobody sets a variable; "" when it is absent."""
        return entry(self.tree, *names)

    def is_true(self, *names: str) -> bool:
        """Whether a flag is on while no variable is set (Compose takes `"true"` too)."""
        return self.says(*names).strip().lower() in _TRUE

    @cached_property
    def image(self) -> Text | None:
        """Its image reference."""
        return self.text("image")

    @cached_property
    def builds(self) -> bool:
        """Whether it is built on the guest."""
        return not is_null(self.tree.entries.get("build"))

    @cached_property
    def environment(self) -> dict[str, Env]:
        """Its environment by name; of a name that a list has twice, the last counts."""
        path = (*self.path, "environment")
        return environment_of(self.tree.entries.get("environment"), path, self._is_open)

    @cached_property
    def hooks(self) -> tuple[Hook, ...]:
        """What Compose runs when it starts or stops the container."""
        found = []
        for stage in HOOKS:
            node = self.tree.entries.get(stage)
            for place, item in enumerate(node.items if isinstance(node, Sequence) else ()):
                if isinstance(item, Mapping):
                    found.append(_hook(item, (*self.path, stage, str(place)), self._is_open))
        return tuple(found)

    @cached_property
    def commands(self) -> tuple[Text, ...]:
        """What it runs: entrypoint, command, health check and hooks, each as one line of words."""
        found = []
        for names in (("entrypoint",), ("command",), ("healthcheck", "test")):
            command = _line(child(self.tree, *names), (*self.path, *names))
            if command is not None:
                found.append(command)
        found.extend(hook.command for hook in self.hooks if hook.command is not None)
        return tuple(found)

    @property
    def restart(self) -> str:
        """Its restart policy: that of `deploy`, where it has one, before its own."""
        if is_null(self.field("deploy", "restart_policy")):
            return self.says("restart").partition(":")[0]
        condition = self.says("deploy", "restart_policy", "condition")
        return "always" if condition == _ANY_TIME else condition

    @property
    def restart_text(self) -> Text | None:
        """Where its restart policy stands."""
        return self.text("deploy", "restart_policy", "condition") or self.text("restart")

    @cached_property
    def dockerfile(self) -> Text | None:
        """Its inline Dockerfile."""
        return self.text("build", "dockerfile_inline")

    @property
    def build_context(self) -> Text | None:
        """What it is built from, in either syntax."""
        return self.text("build", "context") or self.text("build")

    @cached_property
    def build_contexts(self) -> tuple[Text, ...]:
        """Everything that it is built from: the context, and the additional ones' values."""
        own = self.build_context
        return ((own,) if own else ()) + tuple(
            text_at(text.text.partition("=")[2], text.path, _at(text))
            for text in self.texts("build", "additional_contexts")
        )

    @cached_property
    def env_files(self) -> tuple[Text, ...]:
        """The files that its environment is read from, in either syntax."""
        return self._files("env_file", "path")

    def _files(self, name: str, key: str) -> tuple[Text, ...]:
        node, path = self.tree.entries.get(name), (*self.path, name)
        found = list(texts_of(node, path)) if not isinstance(node, Mapping) else []
        for place, item in enumerate(node.items if isinstance(node, Sequence) else ()):
            value = child(item, key)
            if isinstance(value, Scalar):
                found.append(text_of(value, (*path, str(place), key)))
        return tuple(found)

    @cached_property
    def ports(self) -> tuple[PublishedPort, ...]:
        """Its published ports."""
        node = self.tree.entries.get("ports")
        items = node.items if isinstance(node, Sequence) else ()
        return tuple(
            _port(item, (*self.path, "ports", str(place))) for place, item in enumerate(items)
        )

    @property
    def public_ports(self) -> tuple[PublishedPort, ...]:
        """Those of its ports that the gateway can reach."""
        return tuple(port for port in self.ports if port.public)

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """The files of the guest, volumes and images that it is given."""
        return tuple(mounts_of(self.tree, self.path, self.shared))

    @cached_property
    def devices(self) -> tuple[Text, ...]:
        """The devices of the guest that it is given, each as its path, in either syntax."""
        return self._files("devices", "source")

    @property
    def has_gpu(self) -> bool:
        """Whether it asks for a GPU: by its runtime, `gpus` or reserved devices."""
        if self.says("runtime") == "nvidia":
            return True
        reserved = self.field("deploy", "resources", "reservations", "devices")
        return any(
            bool(node.items) if isinstance(node, Sequence) else not is_null(node)
            for node in (self.field("gpus"), reserved)
        )

    @cached_property
    def networks(self) -> tuple[Text, ...]:
        """The networks of the file that it joins, by name."""
        node, path = self.tree.entries.get("networks"), (*self.path, "networks")
        if isinstance(node, Mapping):
            return tuple(Text(name, (*path, name), *node.keys[name]) for name in node.entries)
        return texts_of(node, path)


def is_on(text: Text) -> bool:
    """Whether a flag is on while no variable is set."""
    return text.unset.strip().lower() in _TRUE


def services_of(tree: Mapping, is_open: IsOpen) -> tuple[Service, ...]:
    """The services of a merged file; `is_open` tells of a name whether somebody may set it."""
    services = tree.entries.get("services")
    if not isinstance(services, Mapping):
        return ()
    shared = Shared(tree)
    found = []
    for name, node in services.entries.items():
        if isinstance(node, Mapping):
            line, column = services.keys[name]
            place = Location(pointer=pointer_of(("services", name)), line=line, column=column)
            found.append(Service(name, node, place, shared, is_open))
    return tuple(found)


def environment_of(
    node: Node | None, path: tuple[str, ...], is_open: IsOpen = lambda _: True
) -> dict[str, Env]:
    """The entries of an `environment` by name, in either syntax."""
    found: dict[str, Env] = {}
    if isinstance(node, Sequence):
        for place, item in enumerate(node.items):
            if isinstance(item, Scalar):
                text = text_of(item, (*path, str(place)))
                key, value = _assignment(text.text)
                found[key] = Env(key, value, text, _literal(value, is_open))
    elif isinstance(node, Mapping):
        for key, item in node.entries.items():
            if isinstance(item, Scalar):
                value = None if item.kind == "null" else item.value
                text = text_of(item, (*path, key))
                found[key] = Env(key, value, text, _literal(value, is_open))
    return found


def _literal(value: str | None, is_open: IsOpen) -> str | None:
    """What a value is, None where a variable in it is somebody's to set."""
    if value is None or "$" not in value:
        return value
    template = parsed(value)
    if any(is_open(item.name) for item in template.variables):
        return None
    return template.render(GUEST_VALUES.get)


def _assignment(text: str) -> tuple[str, str | None]:
    """Name and value of `NAME=VALUE`; a `=` within `${…}` is none, and the name may be made of
    variables."""
    key, assigned, value = text.partition("=")
    if "$" not in key:
        return key, value if assigned else None
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if character == "=" and not depth:
            return unset(text[:place]), text[place + 1 :]
    name, assigned, value = unset(text).partition("=")
    return name, value if assigned else None


def _line(node: Node | None, path: tuple[str, ...]) -> Text | None:
    """A command as one line of words; None where there is none."""
    words = texts_of(node, path) if not isinstance(node, Mapping) else ()
    if not words or node is None:
        return None
    return text_at(" ".join(word.text for word in words), path, _at(words[0]))


def _hook(node: Mapping, path: tuple[str, ...], is_open: IsOpen) -> Hook:
    privileged, image = node.entries.get("privileged"), node.entries.get("image")
    return Hook(
        path=path,
        place=Text("", path, node.line, node.column).place,
        command=_line(node.entries.get("command"), (*path, "command")),
        privileged=text_of(privileged, (*path, "privileged"))
        if isinstance(privileged, Scalar)
        else None,
        environment=environment_of(
            node.entries.get("environment"), (*path, "environment"), is_open
        ),
        image=text_of(image, (*path, "image")) if isinstance(image, Scalar) else None,
    )


def _port(node: Node, path: tuple[str, ...]) -> PublishedPort:
    if isinstance(node, Scalar):
        text = text_of(node, path)
        return PublishedPort(parse_port(text.unset) or _refused_port(text.unset), text)
    target = child(node, "target")
    text = text_at(target.text if isinstance(target, Scalar) else "", path, node)
    port = Port(
        host_ip=entry(node, "host_ip"),
        published=parse_range(entry(node, "published")) or range(0),
        targets=parse_range(entry(node, "target")) or range(0),
        protocol=entry(node, "protocol") or "tcp",
    )
    return PublishedPort(port, text)


def _refused_port(text: str) -> Port:
    """What a text most likely means that Compose refuses."""
    numbers = text.partition("/")[0].rpartition(":")
    target = parse_range(numbers[2]) or range(0)
    return Port("", parse_range(numbers[0].rpartition(":")[2]) or range(0), target, "tcp")


def _at(text: Text) -> Scalar:
    """A node at the place of a text."""
    return Scalar(text.text, plain=False, line=text.line, column=text.column)
