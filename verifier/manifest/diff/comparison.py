"""Two documents → one comparison.

The manifests are compared by fields and services; then both audits, so that a finding that only
the newer manifest has is said, at the change that brings it or on its own.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec.structs import replace

from verifier.manifest.diff.change import (
    DIVERGENCE,
    PLATFORM,
    REGRESSION,
    Change,
    Comparison,
)
from verifier.manifest.diff.compose import compare_compose
from verifier.manifest.diff.document import Document, services_alone
from verifier.manifest.diff.fields import compare_fields
from verifier.manifest.diff.gates import compare_gates
from verifier.manifest.diff.guest import compare_guests, contradiction
from verifier.manifest.diff.inputs import ALLOWED, compare_inputs
from verifier.manifest.diff.opened import worst
from verifier.manifest.model import COMPOSE_POINTER
from verifier.manifest.secret_text import masked, named_value
from verifier.model.result import Finding, Severity
from verifier.reference.prelaunch_scripts import recognise_script

_PLATFORM_FIELDS: Final = frozenset({"name", "features", "tproxy_enabled", "storage_fs"})
_VERSIONS: Final = frozenset({"1", "2"})
_REFERENCE_RULES: Final = frozenset({"IMG-001", "IMG-002", "IMG-004", "IMG-005", "IMG-007"})
"""One class: the kinds of bad image references exclude each other, and severity orders them."""
_UNKNOWN_FIELD: Final = "MAN-004"
_ClassKey = tuple[str, str]


def compare(old: Document, new: Document) -> Comparison:
    """What changed from `old` to `new`; where one is a compose file alone, in their services."""
    if old.compose_only or new.compose_only:
        return _compare_alone(old, new)
    guests = tuple(compare_guests(old, new))
    problems = tuple(_not_evaluable(old, new))
    if old.raw == new.raw:
        return Comparison(
            old=old,
            new=new,
            changes=_sorted(guests),
            not_evaluable=problems,
            same_release=not old.hidden,
            platform_only=False,
        )
    found = [
        *compare_fields(old, new),
        *compare_gates(old, new),
        *compare_inputs(old, new),
        *compare_compose(old, new),
    ]
    platform_only = _is_platform_only(old, new)
    same_compose = not (old.hidden or new.hidden) and old.app.compose == new.app.compose
    changes = list(_with_findings(old, new, found))
    same_release = same_compose and all(
        change.severity.rank >= Severity.LOW.rank for change in changes
    )
    if platform_only:
        changes.append(_platform_note(found))
    elif not changes:
        changes.append(_bytes_alone())
    return Comparison(
        old=old,
        new=new,
        changes=_sorted((*changes, *guests)),
        not_evaluable=problems,
        same_release=same_release,
        platform_only=platform_only,
    )


def _compare_alone(old: Document, new: Document) -> Comparison:
    before, after = services_alone(old), services_alone(new)
    changes = list(_with_findings(before, after, list(compare_compose(before, after))))
    if not changes and before.app.compose != after.app.compose:
        changes.append(_words_alone())
    return Comparison(
        old=old,
        new=new,
        changes=_sorted(changes),
        not_evaluable=tuple(f"{item.name}: {item.problem}" for item in (old, new) if item.problem),
        same_release=False,
        platform_only=False,
    )


def _sorted(changes: Iterable[Change]) -> tuple[Change, ...]:
    ordered = sorted(changes, key=lambda item: (item.severity.rank, item.rule, item.service))
    return tuple(map(_masked, ordered))


def _masked(change: Change) -> Change:
    """The change without the secrets in its texts, told by their form or the field's name."""
    name = change.pointer.rpartition("/")[2]
    before, after = (
        None if value is None else named_value(name, value)
        for value in (change.before, change.after)
    )
    return replace(change, before=before, after=after, meaning=masked(change.meaning))


def _not_evaluable(old: Document, new: Document) -> Iterator[str]:
    yield from filter(None, (contradiction(old), contradiction(new)))
    equal = old.raw == new.raw
    for document in (old,) if equal else (old, new):
        if document.hidden or (document.problem and not equal):
            yield f"{document.name}: {document.problem}"
    if equal:
        return
    missing = {row.rule: row.reason for row in new.audit.not_evaluable}
    before = {row.rule for row in old.audit.not_evaluable}
    lost = [rule for rule in missing if rule not in before]
    if lost and not new.problem and old.app.runner == new.app.runner:
        yield f"{new.name}: {', '.join(lost)}: judged before, not any more: {missing[lost[0]]}"


def _with_findings(old: Document, new: Document, changes: list[Change]) -> Iterator[Change]:
    """The changes with the findings that they bring, then the new findings that no change holds."""
    told = {(item.rule, item.message) for change in changes if (item := change.tells)}
    places = {change.pointer for change in changes if _can_bring(change)}
    brought: dict[str, list[Finding]] = {}
    alone: list[Finding] = []
    for item in _new_findings(old, new):
        if (item.rule, item.message) in told:
            continue
        place = next((part for part in _upwards(item.location.pointer) if part in places), None)
        if place is not None:
            brought.setdefault(place, []).append(item)
        elif Severity(item.severity).rank <= Severity.HIGH.rank:
            alone.append(item)
    for change in changes:
        yield _strengthened(change, brought.get(change.pointer, []) if _can_bring(change) else [])
    yield from map(_alone, alone)


def _can_bring(change: Change) -> bool:
    """Whether findings at its place come with it. Allowed names share one place."""
    return change.pointer not in {"", ALLOWED} and change.after is not None


def _upwards(pointer: str) -> Iterator[str]:
    """A pointer and every one above it."""
    while pointer:
        yield pointer
        pointer = pointer.rpartition("/")[0]


def _alone(item: Finding) -> Change:
    return Change(
        rule=REGRESSION,
        severity=Severity(item.severity),
        pointer=item.location.pointer,
        meaning=f"{item.title[:1].lower()}{item.title[1:]}: {item.message}",
        service=item.service,
        line=item.location.line,
        column=item.location.column,
        findings=(item.rule,),
        conditional=item.conditional,
    )


def _new_findings(old: Document, new: Document) -> list[Finding]:
    """The findings whose class (rule and service) is new, worse, or more frequent than before.

    A rule that could not be judged on the older manifest has no new findings.
    """
    unknown = {row.rule for row in old.audit.not_evaluable}
    messages = {(item.rule, item.service, item.message) for item in old.audit.findings}
    counts = Counter(_class(item) for item in old.audit.findings)
    now = Counter(_class(item) for item in new.audit.findings)
    ranks: dict[_ClassKey, int] = {}
    for item in old.audit.findings:
        rank = Severity(item.severity).rank
        ranks[_class(item)] = min(rank, ranks.get(_class(item), rank))
    return [
        item
        for item in new.audit.findings
        if item.rule not in unknown
        and (
            Severity(item.severity).rank < ranks.get(_class(item), 9)
            or (
                (item.rule, item.service, item.message) not in messages
                and now[_class(item)] > counts[_class(item)]
            )
        )
    ]


def _class(item: Finding) -> _ClassKey:
    return "IMG" if item.rule in _REFERENCE_RULES else item.rule, item.service


def _strengthened(change: Change, own: list[Finding]) -> Change:
    if not own:
        return change
    first = min(own, key=lambda item: Severity(item.severity).rank)
    severity = change.severity
    if change.pointer.startswith(COMPOSE_POINTER) or _outweighs_field(first):
        severity = worst(severity, Severity(first.severity))
    is_worse = severity.rank < change.severity.rank
    rule = change.rule
    if rule == DIVERGENCE and is_worse and severity.rank <= Severity.HIGH.rank:
        rule = REGRESSION
    return replace(
        change,
        rule=rule,
        severity=severity,
        meaning=f"{change.meaning}; {first.message}" if is_worse else change.meaning,
        findings=tuple(dict.fromkeys((*change.findings, *(item.rule for item in own)))),
        conditional=change.conditional or (is_worse and first.conditional),
    )


def _outweighs_field(finding: Finding) -> bool:
    """Whether a finding raises the severity that a field's difference has by itself."""
    return finding.rule == _UNKNOWN_FIELD or Severity(finding.severity).rank <= Severity.HIGH.rank


def _is_platform_only(old: Document, new: Document) -> bool:
    """Whether everything that differs is what deploy paths write themselves."""
    before, after = old.app.document, new.app.document
    names = {
        name
        for name in before.keys() | after.keys()
        if (name in before) != (name in after)
        or before[name] != after[name]
        or type(before[name]) is not type(after[name])
    }
    if old.hidden or new.hidden:
        return False
    return bool(names) and all(_is_platforms(name, old, new) for name in names)


def _is_platforms(name: str, old: Document, new: Document) -> bool:
    if name in _PLATFORM_FIELDS:
        return True
    if name == "public_tcbinfo":
        return old.app.flags[name] and new.app.flags[name]
    if name == "key_provider_id":
        return not old.app.key_provider_id and not new.app.key_provider_id
    if name == "manifest_version":
        return {old.app.version, new.app.version} <= _VERSIONS
    if name == "pre_launch_script":
        scripts = [recognise_script(side.app.pre_launch_script) for side in (old, new)]
        return all(script is not None and script.phala for script in scripts)
    return False


def _platform_note(found: list[Change]) -> Change:
    names = sorted({change.pointer.removeprefix("/") for change in found})
    matters = any(change.severity.rank < Severity.LOW.rank for change in found)
    tail = "; what the platform's script does matters all the same" if matters else ""
    return Change(
        rule=PLATFORM,
        severity=Severity.INFO,
        pointer="",
        meaning=f"only platform-injected fields changed: {', '.join(names)}{tail}",
    )


def _bytes_alone() -> Change:
    return Change(
        rule=DIVERGENCE,
        severity=Severity.INFO,
        pointer="",
        meaning="the same JSON in other bytes (order, white space, escapes): another compose hash",
    )


def _words_alone() -> Change:
    return Change(
        rule=DIVERGENCE,
        severity=Severity.INFO,
        pointer="",
        meaning="the same services in other words (comments, order, white space)",
    )
