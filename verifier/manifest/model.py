"""A manifest as the rules see it: services with their values, who can set each variable, scripts.

Built once per audit from the parsed manifest and compose tree; nothing here judges.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final

from verifier.errors import EvidenceError
from verifier.evidence.compose.app_compose import AppCompose, line_of_field
from verifier.evidence.compose.compose_yaml import Mapping
from verifier.evidence.compose.dockerfile import parse_dockerfile
from verifier.evidence.compose.interpolation import Variable
from verifier.manifest.build import Build
from verifier.manifest.compose.consistency import inconsistencies
from verifier.manifest.compose.problem import Kind, Problem
from verifier.manifest.compose.project import Project
from verifier.manifest.compose.substitute import substituted
from verifier.manifest.compose.validate import Validator
from verifier.manifest.context import Context
from verifier.manifest.mounts import Mount
from verifier.manifest.service import (
    COMMANDS,
    RESTARTS,
    Env,
    PublishedPort,
    Service,
    is_on,
    services_of,
)
from verifier.manifest.shared import Shared
from verifier.manifest.shell.follow import Followed, follow
from verifier.manifest.text import COMPOSE_POINTER, GUEST_VALUES, Text, every_text
from verifier.manifest.variables import (
    HOST_SET,
    Use,
    blind_spots,
    exports_of,
    reads_everything,
    uses_of,
    words_of,
)
from verifier.model.result import JsonValue, Location
from verifier.reference.compose_attributes import oldest_shipped, shipped_with
from verifier.reference.prelaunch_scripts import KnownScript, recognise_script

if TYPE_CHECKING:
    from verifier.manifest.image import Image, NamedImage
    from verifier.manifest.rule import Hit

__all__ = [
    "COMMANDS",
    "COMPOSE_POINTER",
    "HOST_SET",
    "RESTARTS",
    "Env",
    "Manifest",
    "Mount",
    "PublishedPort",
    "Service",
    "Text",
    "is_on",
    "published_services",
]

_SECTIONS: Final = (
    *("name", "include", "services", "volumes", "networks", "configs", "secrets", "models"),
)
_OF_SERVICE: Final = "service:"
_MAX_PLACES: Final = 500
"""Fields whose line is sought: each takes a pass over the manifest, which has a dozen."""


class Manifest:
    """Everything that the rules judge.

    `app` is None in compose-only mode, `project` and `tree` None when there is no compose file that
    could be parsed (`error` says why).
    """

    def __init__(
        self,
        app: AppCompose | None,
        project: Project | None,
        context: Context,
        compose_text: str = "",
        error: EvidenceError | None = None,
    ) -> None:
        self.app = app
        self.project = project
        self.tree: Mapping | None = None if project is None else project.tree
        self.context = context
        self.compose_text = compose_text
        self.error = error
        self.document: dict[str, JsonValue] = {} if app is None else app.document
        self._followed: dict[str, Followed] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._places: dict[str, Location] = {}
        self.images: dict[str, Image] = {}  # filled by `image_of`
        self.hits: dict[str, tuple[Hit, ...]] = {}  # by rule; filled by `Rule.hits`
        self.named_images: tuple[NamedImage, ...] | None = None  # and by the function of that name
        self.scripts: dict[str, str] = {} if app is None else app.scripts
        values = {} if self.tree is None else self._script_constants()
        if values and self.tree is not None:
            tree = substituted(self.tree, values)
            self.tree = tree if isinstance(tree, Mapping) else self.tree
        self.services = services_of(self.tree, self.is_open) if self.tree else ()
        self.shared = Shared(self.tree)

    def _script_constants(self) -> dict[str, str]:
        """The values that scripts give to names that nobody else sets."""
        if self.allowed is None:
            return {}
        others = self.allowed | GUEST_VALUES.keys() | HOST_SET
        return {
            name: value
            for name, value in self.script_values.items()
            if value is not None and name not in others
        }

    def is_open(self, name: str) -> bool:
        """Whether operator, host or a script may set a variable to what the manifest does not say;
        true where allowed_envs is not known."""
        if name in GUEST_VALUES:
            return False
        return self.allowed is None or name in self.allowed or name in self.provided

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
    def problems(self) -> tuple[Problem, ...]:
        """What stands between the compose file and one certain reading of it."""
        if self.project is None:
            return ()
        shipped = shipped_with(self.context.os_version) or oldest_shipped()
        found = list(self.project.problems)
        for stage in self.project.stages:
            shape = Validator(shipped).file(stage)
            found += [problem for problem in shape if problem.kind is Kind.REFUSED]
        found += Validator(shipped).file(self.project.tree)
        found.extend(inconsistencies(self.project.tree, self.services))
        return tuple(found)

    @cached_property
    def texts(self) -> tuple[Text, ...]:
        """Every string of the file that Compose uses; `x-` fields count where they are merged."""
        found: list[Text] = []
        for section in _SECTIONS:
            node = self.tree.entries.get(section) if self.tree else None
            if node is not None:
                found.extend(every_text(node, (section,)))
        return tuple(found)

    @cached_property
    def all_text(self) -> str:
        """All of them joined, for a quick look whether something is anywhere at all."""
        return "\n".join(text.text for text in self.texts)

    @cached_property
    def script_values(self) -> dict[str, str | None]:
        """What scripts export: the value where it is a literal, else None."""
        found: dict[str, str | None] = dict.fromkeys(self.provided)
        found |= GUEST_VALUES
        for script in self.scripts.values():
            found |= exports_of(script)
        return found

    @cached_property
    def uses(self) -> tuple[Use, ...]:
        """Every variable that the compose file reads, pass-throughs included."""
        return tuple(uses_of(self.texts, self.services, self.shared.files.values()))

    @cached_property
    def uses_by_name(self) -> dict[str, list[Use]]:
        """The uses of each variable, in source order."""
        found: dict[str, list[Use]] = {}
        for text, variable in self.uses:
            found.setdefault(variable.name, []).append((text, variable))
        return found

    @cached_property
    def live_names(self) -> tuple[str, ...]:
        """The names that the compose file reads and the operator sets, in source order."""
        return tuple(name for name in self.uses_by_name if self.operator_names(Variable(name)))

    @cached_property
    def used(self) -> frozenset[str]:
        """The names that compose file and scripts read."""
        return frozenset(self.uses_by_name) | self.script_names

    @cached_property
    def script_names(self) -> frozenset[str]:
        """The names that the scripts read; of a known script, those that it is known to read."""
        found: set[str] = set()
        for pointer, script in self.scripts.items():
            known = self.known_script if pointer == "/pre_launch_script" else None
            if known is not None and known.phala:
                found |= known.reads()
            else:
                found |= words_of(script)
        return frozenset(found)

    def followed(self, pointer: str) -> Followed:
        """What one of the scripts runs."""
        if pointer not in self._followed:
            self._followed[pointer] = follow(self.scripts[pointer])
        return self._followed[pointer]

    @cached_property
    def all_readers_seen(self) -> bool:
        """Whether every place that can read a variable by its name is in the manifest."""
        if self.includes or any(True for _ in blind_spots(self.services)):
            return False
        for pointer, script in self.scripts.items():
            known = self.known_script if pointer == "/pre_launch_script" else None
            if not (known is not None and known.phala) and reads_everything(script):
                return False
        return True

    @cached_property
    def provided(self) -> frozenset[str]:
        """Names that are set although nobody allows them: by the guest or by a script."""
        found = set(HOST_SET) | GUEST_VALUES.keys()
        if self.known_script is not None and self.known_script.phala:
            return frozenset(found | self.known_script.exports())
        for script in self.scripts.values():
            found |= exports_of(script).keys()
        if self.app is None:
            found |= {"DSTACK_APP_ID", "DSTACK_GATEWAY_DOMAIN", "DSTACK_APP_DOMAIN"}
        return frozenset(found)

    def operator_names(self, *variables: Variable) -> tuple[str, ...]:
        """Those of the variables that the operator sets, or, where allowed_envs is not known, may
        set: a hit about them is then `conditional` (see `unsure`)."""
        if not variables:
            return ()
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

    def service(self, name: str) -> Service | None:
        """The service of this name, None where there is none."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Service]:
        return {service.name: service for service in self.services}

    def namespace_of(self, service: Service, field: str) -> str:
        """What a service's `network_mode`, `pid` or the like leads to in the end, through services
        that share theirs; "" for nothing in particular."""
        known = self._namespaces.setdefault(field, {})
        path = []
        current: Service | None = service
        while current is not None and current.name not in known:
            known[current.name] = ""  # a circle leads nowhere
            path.append(current.name)
            mode = self._own_namespace(current, field)
            if not mode.startswith(_OF_SERVICE):
                known[current.name] = mode
                break
            current = self.service(mode.removeprefix(_OF_SERVICE))
        end = known.get(current.name, "") if current is not None else ""
        known.update(dict.fromkeys(path, end))
        return end

    def _own_namespace(self, service: Service, field: str) -> str:
        joined = service.networks if field == "network_mode" else ()
        if any(self.shared.is_host_network(text.unset) for text in joined):
            return "host"
        return service.says(field)

    @cached_property
    def includes(self) -> tuple[Text, ...]:
        """The paths that `include` names."""
        node = self.tree.entries.get("include") if self.tree else None
        return () if node is None else tuple(every_text(node, ("include",)))

    @cached_property
    def inline_builds(self) -> tuple[tuple[Service, Build | EvidenceError], ...]:
        """The services with an inline Dockerfile, and what it does while nobody sets a variable;
        an error for one that no builder reads."""
        found: list[tuple[Service, Build | EvidenceError]] = []
        for service in self.services:
            if service.dockerfile is not None:
                raw = service.dockerfile.unset.encode("utf-8", "surrogatepass")
                try:
                    found.append((service, Build(parse_dockerfile(raw))))
                except EvidenceError as error:
                    found.append((service, error))
        return tuple(found)

    @cached_property
    def config_contents(self) -> dict[str, Text]:
        """The inline contents of `configs`, by name."""
        return {
            item.name: item.content
            for item in self.shared.files.values()
            if item.content is not None
        }


def published_services(manifest: Manifest) -> Iterator[Service]:
    """The services with a port that the gateway can reach."""
    return (service for service in manifest.services if service.public_ports)
