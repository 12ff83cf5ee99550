"""Two compose files, after merge keys are applied: services, then what they share."""

from collections.abc import Iterator
from typing import Final

from verifier.evidence.compose.compose_yaml import Mapping, Node
from verifier.manifest.diff.change import DIVERGENCE, REGRESSION, Change, shown
from verifier.manifest.diff.document import Document
from verifier.manifest.diff.opened import severity_of, worst
from verifier.manifest.diff.services import (
    Inputs,
    added_service,
    compare_service,
    removed_service,
)
from verifier.manifest.diff.tree import operator_inputs, plain, pointer_to, text_of
from verifier.manifest.image import image_of
from verifier.manifest.model import COMPOSE_POINTER, Service
from verifier.model.result import Severity

_SHARED: Final = ("configs", "secrets", "volumes", "networks")
_HARMLESS: Final = frozenset({"version", "name"})

_BARE: Final = "(declared, nothing set)"


def compare_compose(old: Document, new: Document) -> Iterator[Change]:
    """The differences of docker_compose_file; nothing when either cannot be read or is not run."""
    before, after = old.manifest.tree, new.manifest.tree
    if old.app.compose == new.app.compose:
        return
    if before is None or after is None:
        if not old.problem and not new.problem:
            meaning = "the text changes, and the runner of one of them does not run it"
            yield _whole(old, new, Severity.LOW, meaning)
        return
    one, other = plain(before), plain(after)
    if one == other:
        yield _whole(old, new, Severity.INFO, "comments, white space or order alone")
        return
    inputs = operator_inputs(old.manifest), operator_inputs(new.manifest)
    yield from _services(old, new, inputs)
    yield from _shared(before, after, inputs, unsure=new.manifest.unsure)


def _whole(old: Document, new: Document, severity: Severity, meaning: str) -> Change:
    place = new.manifest.place_of("docker_compose_file")
    return Change(
        rule=DIVERGENCE,
        severity=severity,
        pointer=COMPOSE_POINTER,
        meaning=meaning,
        before=_size(old),
        after=_size(new),
        line=place.line,
        column=place.column,
    )


def _size(document: Document) -> str | None:
    compose = document.app.compose
    return None if compose is None else f"{len(compose)} characters"


def _services(old: Document, new: Document, inputs: tuple[Inputs, Inputs]) -> Iterator[Change]:
    had = {service.name: service for service in old.manifest.services}
    has = {service.name: service for service in new.manifest.services}
    yield from _unread(old, new)
    renamed = _renames(old, new, had, has)
    former_names = {other: one for one, other in renamed.items()}
    for name in sorted(had.keys() - has.keys() - renamed.keys()):
        yield removed_service(had[name])
    for name, service in sorted(has.items()):
        former = former_names.get(name, name)
        if former not in had:
            yield added_service(new, service)
            continue
        if former != name:
            yield _renamed(had[former], service)
        yield from compare_service(old, new, had[former], service, inputs)


def _unread(old: Document, new: Document) -> Iterator[Change]:
    """Services that are no mappings: Compose refuses them, and the model does not know them."""
    before, after = (_strangers(side.manifest.tree) for side in (old, new))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Change(
                rule=DIVERGENCE,
                severity=Severity.MEDIUM,
                pointer=pointer_to("services", name),
                meaning="a service in a form that Compose does not know",
                before=before.get(name),
                after=after.get(name),
                service=name,
            )


def _strangers(tree: Mapping | None) -> dict[str, str]:
    services = tree.entries.get("services") if tree else None
    if not isinstance(services, Mapping):
        return {"": shown(text_of(services)) or _BARE} if services is not None else {}
    return {
        name: shown(text_of(node)) or _BARE
        for name, node in services.entries.items()
        if not isinstance(node, Mapping)
    }


def _renamed(before: Service, after: Service) -> Change:
    return Change(
        rule=DIVERGENCE,
        severity=Severity.INFO,
        pointer=after.place.pointer,
        meaning="the service has another name (the same repository, and no other such pair)",
        before=before.name,
        after=after.name,
        service=after.name,
        line=after.tree.line,
        column=after.tree.column,
    )


def _renames(
    old: Document, new: Document, had: dict[str, Service], has: dict[str, Service]
) -> dict[str, str]:
    """Services that are gone, with the new one of the same repository, where each is the only."""
    gone = _by_repository(old, [had[name] for name in had if name not in has])
    come = _by_repository(new, [has[name] for name in has if name not in had])
    return {
        names[0]: come[repository][0]
        for repository, names in gone.items()
        if len(names) == 1 and len(come.get(repository, ())) == 1
    }


def _by_repository(document: Document, services: list[Service]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for service in services:
        image = image_of(document.manifest, service)
        if image.repository:
            found.setdefault((image.registry, image.repository), []).append(service.name)
    return found


def _shared(
    before: Mapping, after: Mapping, inputs: tuple[Inputs, Inputs], *, unsure: bool
) -> Iterator[Change]:
    """Configs, secrets, volumes and networks entry by entry; other top-level keys whole."""
    for section in sorted(before.entries.keys() | after.entries.keys()):
        one, other = before.entries.get(section), after.entries.get(section)
        if section == "services" or plain(one) == plain(other):
            continue
        paths = _entries(one, other) if section in _SHARED else ()
        if not paths:
            yield _entry((section,), one, other, after, opened=[], unsure=unsure)
        for name in paths:
            pair = _child(one, name), _child(other, name)
            if plain(pair[0]) != plain(pair[1]) or (pair[0] is None) != (pair[1] is None):
                key = (section, name)
                opened = sorted(inputs[1].get(key, set()) - inputs[0].get(key, set()))
                yield _entry(key, *pair, after, opened=opened, unsure=unsure)


def _entries(one: Node | None, other: Node | None) -> tuple[str, ...]:
    keys = {key for node in (one, other) if isinstance(node, Mapping) for key in node.entries}
    return tuple(sorted(keys))


def _child(node: Node | None, name: str) -> Node | None:
    return node.entries.get(name) if isinstance(node, Mapping) else None


def _entry(  # noqa: PLR0913 - one difference with its place
    path: tuple[str, ...],
    one: Node | None,
    other: Node | None,
    root: Mapping,
    *,
    opened: list[str],
    unsure: bool,
) -> Change:
    section = path[0]
    what = "is new" if one is None else "is gone" if other is None else "changes"
    rule, severity, meaning = DIVERGENCE, Severity.INFO, f"{' '.join(path)} {what}"
    if opened and one is not None:
        rule = REGRESSION
        severity = worst(severity_of(opened), Severity.MEDIUM)
        meaning = f"the operator now sets part of it: {', '.join(opened)}"
    elif section == "configs" or (section not in _SHARED and not _is_harmless(section)):
        severity = Severity.LOW
    node = other or one
    line, column = (node.line, node.column) if other is not None and node else _line(root, section)
    return Change(
        rule=rule,
        severity=severity,
        pointer=pointer_to(*path),
        meaning=meaning,
        before=_text(one),
        after=_text(other),
        line=line,
        column=column,
        conditional=bool(opened) and unsure,
    )


def _text(node: Node | None) -> str | None:
    return None if node is None else shown(text_of(node)) or _BARE


def _is_harmless(section: str) -> bool:
    return section in _HARMLESS or section.startswith("x-")


def _line(root: Mapping, section: str) -> tuple[int, int]:
    return root.keys.get(section, (0, 0))
