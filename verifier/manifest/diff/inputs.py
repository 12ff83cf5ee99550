"""allowed_envs and pre_launch_script: what reaches the app without being measured, and as what."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from verifier.manifest.diff.change import DIVERGENCE, REGRESSION, Change
from verifier.manifest.diff.document import Document
from verifier.manifest.diff.fields import field_change
from verifier.manifest.diff.opened import UNUSED_COUNTS, severity_of, worst
from verifier.model.result import Finding, Severity
from verifier.reference.env_classes import classify
from verifier.reference.prelaunch_scripts import LAUNCH_TOKEN, KnownScript, recognise_script

ALLOWED: Final = "/allowed_envs"
_UNSET: Final = frozenset({"ENV-012", "IMG-002"})
_ALIKE: Final = 0.6  # share of the words of two names that they have in common
_MAX_PAIRS: Final = 2_500
_ABOUT_NAMES: Final = frozenset(
    {*(f"ENV-{number:03}" for number in (*range(1, 10), 10, 11, 17, 18, 19)), "IMG-001", "IMG-008"}
)
"""Rules whose findings say what a name opens, once the operator sets it."""
_TURNING_POINTS: Final = {"host-keys", "pull"}
"""Behaviours of Phala's script that change who gets in, or what runs: v0.0.11 and v0.0.15."""


def compare_inputs(old: Document, new: Document) -> Iterator[Change]:
    """The differences of allowed_envs and of the pre-launch script."""
    yield from _allowed(old, new)
    yield from _script(old, new)


def names_in(document: Document) -> dict[str, None]:
    """The allowed names, in order."""
    listed = document.app.allowed_envs or ()
    return dict.fromkeys(name for name in listed if isinstance(name, str))


_Index = dict[str, list[Finding]]


def _by_name(document: Document, rules: frozenset[str]) -> _Index:
    """The findings of some rules by the variables that they are about."""
    found: _Index = {}
    for finding in document.audit.findings:
        if finding.rule in rules:
            for name in dict.fromkeys(finding.names):
                found.setdefault(name, []).append(finding)
    return found


def _allowed(old: Document, new: Document) -> Iterator[Change]:
    before, after = names_in(old), names_in(new)
    added = sorted(name for name in after if name not in before)
    removed = sorted(name for name in before if name not in after)
    if added or removed:
        yield from _names(old, new, removed, added)
    elif (old.app.allowed_envs is None) != (new.app.allowed_envs is None):
        yield _absence(old, new)
    elif old.app.allowed_envs != new.app.allowed_envs:
        meaning = "the same names in another order or number"
        yield field_change(old, new, "allowed_envs", Severity.INFO, meaning)


def _names(old: Document, new: Document, removed: list[str], added: list[str]) -> Iterator[Change]:
    renamed = _renames(removed, added)
    former = {other: one for one, other in renamed.items()}
    about = _by_name(new, _ABOUT_NAMES)
    unset, was_unset = (_by_name(side, _UNSET) for side in (new, old))
    place = new.manifest.place_of("allowed_envs")
    for name in added:
        change = _added(new, name, about.get(name, []))
        hint = f"; renamed from {former[name]}?" if name in former else ""
        yield replace(change, meaning=change.meaning + hint, line=place.line, column=place.column)
    for name in removed:
        known = {(item.rule, item.service) for item in was_unset.get(name, [])}
        rows = [row for row in unset.get(name, []) if (row.rule, row.service) not in known]
        change = _removed(name, rows)
        hint = f"; renamed to {renamed[name]}?" if name in renamed else ""
        yield replace(change, meaning=change.meaning + hint, line=place.line, column=place.column)


def _absence(old: Document, new: Document) -> Change:
    if new.app.allowed_envs is None and new.manifest.allowed is None:
        meaning = "absent means every name on an OS before 0.5.0, and none since"
        return field_change(old, new, "allowed_envs", Severity.MEDIUM, meaning)
    meaning = "absent means none (on an OS before 0.5.0: every name)"
    return field_change(old, new, "allowed_envs", Severity.INFO, meaning)


def _added(new: Document, name: str, about: list[Finding]) -> Change:
    label = classify(name)
    if about:
        severity = worst(*(Severity(finding.severity) for finding in about))
        meaning = about[0].message
    elif new.manifest.tree is None or label in UNUSED_COUNTS:
        severity, meaning = severity_of([name]), f"a name of the class {label}"
    else:
        severity, meaning = Severity.INFO, "the operator sets it now"
    return Change(
        rule=REGRESSION if severity.rank <= Severity.HIGH.rank else DIVERGENCE,
        severity=severity,
        pointer=ALLOWED,
        meaning=meaning,
        after=name,
        findings=tuple(dict.fromkeys(finding.rule for finding in about)),
        tells=about[0] if about else None,
        conditional=bool(about) and all(finding.conditional for finding in about),
    )


def _removed(name: str, unset: list[Finding]) -> Change:
    """A name that is gone; `unset` are the new findings that it is read and never set."""
    meaning = "the operator no longer sets it"
    if unset:
        meaning = f"it is still read by {unset[0].service or 'the compose file'}, and empty now"
    return Change(
        rule=REGRESSION if unset else DIVERGENCE,
        severity=Severity.HIGH if unset else Severity.INFO,
        pointer=ALLOWED,
        meaning=meaning,
        before=name,
        service=unset[0].service if unset else "",
        findings=tuple(dict.fromkeys(finding.rule for finding in unset)),
    )


def _renames(removed: list[str], added: list[str]) -> dict[str, str]:
    """Removed names with the one added name that shares most of their words."""
    if len(removed) * len(added) > _MAX_PAIRS:
        return {}
    found: dict[str, str] = {}
    for name in removed:
        words = set(name.split("_"))
        scores = {
            other: len(words & set(other.split("_"))) / len(words | set(other.split("_")))
            for other in added
        }
        best = max(scores, key=lambda other: (scores[other], other), default="")
        if best and scores[best] >= _ALIKE:
            found[name] = best
    return found


def _script(old: Document, new: Document) -> Iterator[Change]:
    before, after = old.app.pre_launch_script, new.app.pre_launch_script
    if before == after:
        return
    one, other = recognise_script(before), recognise_script(after)
    severity, meaning = _judge_script(before, one, after, other)
    change = field_change(old, new, "pre_launch_script", severity, meaning)
    yield replace(change, before=script_label(before), after=script_label(after))


def script_label(script: str) -> str | None:
    """What a script is, in a few words; None when there is none."""
    if not script:
        return None
    known = recognise_script(script)
    if known is None:
        return f"custom script of {len(script)} characters"
    return f"Phala's script {known.name}" if known.phala else f"known script {known.name}"


def _judge_script(
    before: str, one: KnownScript | None, after: str, other: KnownScript | None
) -> tuple[Severity, str]:
    token = [script is not None and script.name == LAUNCH_TOKEN for script in (one, other)]
    if token[1]:
        return Severity.INFO, "the operator's values count only with a launch token"
    if token[0]:
        return Severity.MEDIUM, "no launch token is asked for: the host can replace all values"
    if not after:
        return Severity.INFO, "no script runs before the containers any more"
    if other is None or not other.phala:
        return Severity.HIGH, "a script of the app's own runs as root before the containers"
    had = one.behaviours() if one is not None else {}
    has = other.behaviours()
    gained = [identifier for identifier in has if identifier not in had]
    lost = [identifier for identifier in had if identifier not in has]
    if not gained and not lost:
        return (
            Severity.INFO,
            "the known effects are the same" if before else "it has no known effect",
        )
    parts = [f"it now {has[identifier]}" for identifier in gained]
    parts += [f"it no longer {had[identifier]}" for identifier in lost]
    severity = Severity.INFO
    if gained:
        severity = Severity.MEDIUM if _TURNING_POINTS & set(gained) else Severity.LOW
    return severity, "; ".join(parts)
