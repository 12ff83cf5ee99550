"""A manifest as the rules see it: services with their values, who can set each variable, scripts.

Built once per audit from the parsed manifest and compose tree; nothing here judges.
"""

import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final

from verifier.errors import EvidenceError
from verifier.evidence.app_compose import AppCompose, line_of_field
from verifier.evidence.compose_yaml import Mapping, Scalar
from verifier.evidence.interpolation import Variable
from verifier.manifest.context import Context
from verifier.manifest.service import (
    COMPOSE_POINTER,
    MAX_EXTENDING,
    RESTARTS,
    Env,
    Mount,
    Port,
    Service,
    Text,
    collect_texts,
    services_of,
    text_of,
)
from verifier.model.result import JsonValue, Location
from verifier.reference.prelaunch_scripts import KnownScript, recognise_script

if TYPE_CHECKING:
    from verifier.manifest.image import Image

__all__ = [
    "COMPOSE_POINTER",
    "HOST_SET",
    "MAX_EXTENDING",
    "RESTARTS",
    "Env",
    "Manifest",
    "Mount",
    "Port",
    "Service",
    "Text",
    "published_services",
]

HOST_SET: Final = frozenset({"PCCS_URL"})
"""Set by app-compose.sh from sys-config, which the host writes."""

_SECTIONS: Final = ("name", "services", "volumes", "networks", "configs", "secrets")
_EXPORT: Final = re.compile(r"^[ \t]*export[ \t]+([A-Za-z_][A-Za-z0-9_]*)=(.*)$", re.MULTILINE)
_LITERAL: Final = re.compile(r"([\"']?)([\w./:@+-]*)\1", re.ASCII)
_SHELL_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")

_MAX_PLACES: Final = 500
"""Fields whose line is sought: each takes a pass over the manifest, which has a dozen."""


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
        self._places: dict[str, Location] = {}
        self.images: dict[str, Image] = {}  # filled by `image_of`
        self.scripts: dict[str, str] = {} if app is None else app.scripts
        volumes = tree.entries.get("volumes") if tree else None
        named = volumes if isinstance(volumes, Mapping) else None
        services = tree.entries.get("services") if tree else None
        self.services = services_of(services, named) if isinstance(services, Mapping) else ()

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
                collect_texts(node, (section,), found)
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

    def place_of(self, name: str) -> Location:
        """Where a top-level field of the manifest stands."""
        if name not in self._places:
            sought = self.app is not None and len(self._places) < _MAX_PLACES
            line, column = line_of_field(self.app.raw, name) if self.app and sought else (0, 0)
            self._places[name] = Location(pointer=f"/{name}", line=line, column=column)
        return self._places[name]

    @cached_property
    def includes(self) -> tuple[Text, ...]:
        """The paths that `include` names."""
        found: list[Text] = []
        node = self.tree.entries.get("include") if self.tree else None
        if node is not None:
            collect_texts(node, ("include",), found)
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


def published_services(manifest: Manifest) -> Iterator[Service]:
    """The services with a port that the gateway can reach."""
    return (service for service in manifest.services if service.public_ports)
