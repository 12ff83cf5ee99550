"""The variables that the operator sets and the app reads, under every name that they have there.

`OPENAI_BASE_URL: ${A}` gives the app a URL, whatever it is called outside: what a variable opens,
the name says that code reads.
"""

import posixpath
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct

from verifier.evidence.compose.compose_yaml import Mapping, Scalar, Sequence
from verifier.evidence.compose.interpolation import Template, Variable
from verifier.manifest.model import Env, Manifest, Service, Text
from verifier.manifest.service import environment_of
from verifier.manifest.text import entry, parsed, text_at, unset
from verifier.model.result import Severity
from verifier.patterns import pattern
from verifier.reference import env_classes
from verifier.reference.env_classes import classify

_DECIDES: Final = pattern(r"(?:^|//|[@,;=\s\"'])$")
"""What stands before the part of a URL that says whose it is."""


class LiveInput(Struct, frozen=True):
    """A variable that the operator sets and the app reads.

    name     its own name
    read_as  its own name, or that of a container's variable or of a build's argument which has its
             value
    label    the class of that name
    text     its first use under that name
    uses     all uses of it
    keys     every name under which containers and builds have it
    """

    name: str
    read_as: str
    label: str
    text: Text
    uses: tuple[tuple[Text, Variable], ...]
    keys: frozenset[str]

    @property
    def called(self) -> str:
        """Its names, in words."""
        return self.name if self.read_as == self.name else f"{self.name}, as {self.read_as},"

    @property
    def default_note(self) -> str:
        """What to say about a default in the compose file."""
        has_default = any(variable.default for _, variable in self.uses)
        return "; the default in the file does not bind" if has_default else ""


def live_inputs(manifest: Manifest, *labels: str) -> Iterator[LiveInput]:
    """The operator's variables of these classes (all, without any) that the compose file reads:
    each by its own name, then by others that say more."""
    given = _given(manifest)
    for name in manifest.live_names:
        uses = tuple(manifest.uses_by_name[name])
        named = {name: uses[0][0], **given.get(name, {})}
        keys = frozenset(given.get(name, ()))
        for read_as, text in named.items():
            label = classify(read_as)
            if not labels or label in labels:
                yield LiveInput(name, read_as, label, text, uses, keys)


def gravest(
    found: Iterable[tuple[LiveInput, Severity | None]], default: Severity
) -> list[tuple[LiveInput, Severity | None]]:
    """One of these for each variable, that of the worst severity; None is the default."""
    worst: dict[str, tuple[LiveInput, Severity | None]] = {}
    for item, severity in found:
        known = worst.get(item.name)
        if known is None or (severity or default).rank < (known[1] or default).rank:
            worst[item.name] = (item, severity)
    return list(worst.values())


class GivenFile(Struct, frozen=True):
    """A file that a container has, of which the operator's variable is all that is in it."""

    name: str
    target: str
    text: Text


def given_files(manifest: Manifest, service: Service) -> Iterator[GivenFile]:
    """The secrets and configs of a service that are made of a variable of the operator's."""
    for section, folder in (("secrets", "/run/secrets/"), ("configs", "/")):
        granted = service.field(section)
        for place, item in enumerate(granted.items if isinstance(granted, Sequence) else ()):
            name = unset(item.text) if isinstance(item, Scalar) else entry(item, "source")
            source = manifest.shared.files.get((section, name))
            made_of = source.environment.unset if source and source.environment else ""
            if made_of and manifest.operator_names(Variable(made_of)):
                target = entry(item, "target") if isinstance(item, Mapping) else ""
                path = posixpath.join(folder, target or name)
                text = text_at(name, (*service.path, section, str(place)), item)
                yield GivenFile(made_of, path, text)


def _given(manifest: Manifest) -> dict[str, dict[str, Text]]:
    """Variable → the names under which containers and builds have its value, and where."""
    found: dict[str, dict[str, Text]] = {}
    for service in manifest.services:
        for env in _environment(service):
            for name in _deciding(env):
                found.setdefault(name, {}).setdefault(env.key, env.text)
    return found


def _environment(service: Service) -> Iterator[Env]:
    yield from service.environment.values()
    for hook in service.hooks:
        yield from hook.environment.values()
    yield from build_arguments(service).values()


def build_arguments(service: Service) -> dict[str, Env]:
    """The arguments of a service's build, by name."""
    path = (*service.path, "build", "args")
    return environment_of(service.field("build", "args"), path)


def _deciding(env: Env) -> Iterator[str]:
    """The variables in the value of an entry that decide what its name stands for."""
    if env.value is None:
        yield env.key
        return
    label, before = classify(env.key), ""
    for part in parsed(env.value).parts:
        if isinstance(part, str):
            before += part
        elif label != env_classes.URL or _DECIDES.search(before):
            yield from _names(part)
            before += "$"


def _names(variable: Variable) -> Iterator[str]:
    yield variable.name
    operand: Template | None = variable.operand
    yield from (item.name for item in operand.variables) if operand is not None else ()
