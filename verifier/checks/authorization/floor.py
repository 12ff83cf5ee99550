"""How old the manifests are that may start, and whether the policy lets any be that old."""

import calendar
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from verifier.checks.authorization.announced import measured
from verifier.checks.case import Case
from verifier.checks.demands import Demands
from verifier.errors import MissingEvidence
from verifier.model.identifiers import LATEST_TIME, format_time
from verifier.model.result import JsonValue

if TYPE_CHECKING:
    from verifier.model.timeline import Permission, Timeline

_SHOWN: Final = 3


def refuse_undated(case: Case) -> None:
    """Raise MissingEvidence where the policy has a floor, and no contract dates what runs."""
    if case.demands.not_before is not None:
        raise MissingEvidence(
            f"the policy lets no manifest run from before {case.demands.not_before}, and no "
            "contract says since when this one may",
            hint="what a manifest says of its own age is nothing: ask for the log of a contract",
        )


def judge_floor(case: Case, timeline: "Timeline") -> tuple[list[str], list[str]]:
    """The manifests that may start although they are older than the policy allows, and what has to
    be known to judge the others: each as a part of a sentence."""
    floor = _floor(case.demands)
    if floor is None:
        return [], []
    older = [item for item in timeline.permissions if item.older_than(floor)]
    broken = []
    if older:
        broken.append(
            f"{len(older)} of the manifests that may start are from before "
            f"{case.demands.not_before}: {listed(timeline, older)}"
        )
    return broken, list(_undated(case, timeline, floor))


def _floor(demands: Demands) -> int | None:
    """The first second that the floor allows (Unix seconds), None without a floor."""
    day = demands.not_before
    return None if day is None else calendar.timegm(day.timetuple())


def _undated(case: Case, timeline: "Timeline", floor: int) -> Iterator[str]:
    """What keeps it open whether an older manifest may start."""
    app = timeline.coverage[0]
    if timeline.single_source:
        yield "by two operators, which manifests may start, and since when,"
    elif not (app.complete and timeline.app_state.continuous):
        yield "which manifests may start, and since when,"
    elif app.origin.silent:
        yield "what the app's creator allowed without an event"
    if not any(item.compose_hash in measured(case) for item in timeline.permissions):
        yield "since when the manifest that runs was allowed"
    undated = [item for item in timeline.permissions if item.older_than(floor) is None]
    if undated:
        yield f"since when these may start: {listed(timeline, undated)}"


def listed(timeline: "Timeline", items: "Iterable[Permission]") -> str:
    """Manifests in words, in the order that they have: the first digits of the hash, since when
    each may start, and as what it is known."""
    named = [_words(timeline, item) for item in items]
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    return ", ".join(named[:_SHOWN]) + more


def _words(timeline: "Timeline", item: "Permission") -> str:
    first = _time(item.first)
    day = f"allowed on {first[:10]}" if first else "age not known"
    name = timeline.manifests.get(item.compose_hash)
    return f"{item.compose_hash[:8]}… ({day}, {name or 'its text is not known'})"


def as_json(timeline: "Timeline", running: Collection[str]) -> list[JsonValue]:
    """Every manifest that may start, the oldest first, for programs; `running` are the hashes of
    what runs."""
    return [
        {
            "compose_hash": item.compose_hash,
            "first_allowed": _time(item.first),
            "allowed_since": _time(item.since),
            "first_seen": _time(item.seen),
            "manifest": timeline.manifests.get(item.compose_hash),
            "runs": item.compose_hash in running,
        }
        for item in timeline.permissions
    ]


def _time(seconds: int | None) -> str | None:
    """RFC 3339, None for a time that is not known or that no calendar has."""
    if seconds is None or not 0 <= seconds <= LATEST_TIME:
        return None
    return format_time(seconds)
