"""What is remembered of an app between rounds, and what changed: a fold over its observations.

The memory is what the log says, and nothing else: whoever folds the same observations again has the
same memory and the same changes. A change is computed from the values of two observations.

What an observation does not prove is no change: the value that was proven last is what the next one
is compared with. It is said when it stays away for `patience` observations in a row, and when it is
back after that; so is a guest that does not answer. What comes and goes is said, too: when half of
the last `4 * patience` observations missed it. What is there and differs is said at once.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.model.result import Severity
from verifier.watch.observation import Attester, Fact, Facts, Observation

MAX_INSTANCES: Final = 64
MAX_MANIFESTS: Final = 256
VERDICT: Final = "verdict"
_OUTAGE: Final = "outage"
_NONE: Final = "none"
_SPAN, _OFTEN = 4, 2
"""Of so many times `patience` observations, so many times `patience` have to miss something."""
_MISSED, _THERE = "-", "+"


class ChangeKind(StrEnum):
    """What changed. The value is stable: `Fact`'s own where one differs."""

    FIRST = "first-seen"
    VERDICT = "verdict"
    OUTAGE = "outage"
    RECOVERY = "recovery"
    UNPROVEN = "no-longer-proven"
    PROVEN = "proven-again"
    INSTANCE = "instance"
    MANIFEST = Fact.MANIFEST
    IMAGES = Fact.IMAGES
    SYSTEM = Fact.SYSTEM
    TCB = Fact.TCB
    QUOTE = Fact.QUOTE
    MACHINE = Fact.MACHINE
    CERTIFICATE = Fact.CERTIFICATE
    ENDPOINT = Fact.ENDPOINT
    KMS = Fact.KMS
    KMS_ROOT = Fact.KMS_ROOT
    KMS_CODE = Fact.KMS_CODE
    OWNER = Fact.OWNER
    KMS_OWNER = Fact.KMS_OWNER
    AUTHORIZATION = Fact.AUTHORIZATION
    PENDING = Fact.PENDING


SEVERITIES: Final = {
    ChangeKind.FIRST: Severity.INFO,
    ChangeKind.VERDICT: Severity.CRITICAL,
    ChangeKind.OUTAGE: Severity.HIGH,
    ChangeKind.RECOVERY: Severity.INFO,
    ChangeKind.UNPROVEN: Severity.HIGH,
    ChangeKind.PROVEN: Severity.INFO,
    ChangeKind.INSTANCE: Severity.LOW,
    ChangeKind.MANIFEST: Severity.HIGH,
    ChangeKind.IMAGES: Severity.HIGH,
    ChangeKind.SYSTEM: Severity.HIGH,
    ChangeKind.TCB: Severity.HIGH,
    ChangeKind.QUOTE: Severity.HIGH,
    ChangeKind.MACHINE: Severity.MEDIUM,
    ChangeKind.CERTIFICATE: Severity.MEDIUM,
    ChangeKind.ENDPOINT: Severity.MEDIUM,
    ChangeKind.KMS: Severity.CRITICAL,
    ChangeKind.KMS_ROOT: Severity.CRITICAL,
    ChangeKind.KMS_CODE: Severity.HIGH,
    ChangeKind.OWNER: Severity.HIGH,
    ChangeKind.KMS_OWNER: Severity.HIGH,
    ChangeKind.AUTHORIZATION: Severity.HIGH,
    ChangeKind.PENDING: Severity.HIGH,
}
"""How much each matters; a verdict that became acceptable is `info`."""


class Change(Struct, frozen=True, kw_only=True):
    """One difference between two observations of an app.

    kind      what changed
    severity  how much it matters
    before    the value before, as JSON; None for none
    after     the value now, as JSON; None for none
    since     the time of the observation that it is compared with, Unix seconds; None for none
    instance  the guest that it is about, hex; "" for the app as a whole, and without an id
    again     when this value, which is one that came back, was seen last, Unix seconds; None for a
              new one
    own       whether the policy, the reference values or the tool changed, too
    """

    kind: ChangeKind
    severity: Severity
    before: Any = None
    after: Any = None
    since: int | None = None
    instance: str = ""
    again: int | None = None
    own: bool = False


class Seen(Struct, frozen=True):
    """A guest as it was last proven, and when (Unix seconds)."""

    facts: Facts
    time: int
    release: str = ""


class Judged(Struct, frozen=True):
    """A verdict, whether it was accepted, which checks failed and which passed with a reservation,
    and when (Unix seconds)."""

    verdict: str
    accepted: bool
    failed: tuple[str, ...]
    warned: tuple[str, ...]
    time: int

    @property
    def values(self) -> tuple[object, ...]:
        """All but the time."""
        return (self.verdict, self.accepted, self.failed, self.warned)


class Memory(Struct, frozen=True, kw_only=True):
    """What is remembered of one app. Times are Unix seconds.

    judged     the last verdict that was said; None before the first
    seen       guests by instance id, the one that was seen last at the end
    chain      what the chain said last, by `Fact`
    block      as of which block; None before any
    manifests  (hash, first seen, last seen), the one that was seen last at the end
    time       the last observation that reached a guest; None before the first
    misses     how many observations in a row reached none
    missed     when the first of them was; None for none
    out        whether the outage was said
    gaps       fact (or `verdict`) → how many observations in a row did not prove it
    blind      the facts among them of which that was said
    late       fact, `verdict` or `outage` → a sign for each of the last observations, `-` where it
               was missing; what none of them missed, or what was just said, is left out
    own        policy, reference values and tool of the last observation
    """

    judged: Judged | None = None
    seen: dict[str, Seen] = {}
    chain: Facts = {}
    block: int | None = None
    manifests: tuple[tuple[str, int, int], ...] = ()
    time: int | None = None
    misses: int = 0
    missed: int | None = None
    out: bool = False
    gaps: dict[str, int] = {}
    blind: tuple[str, ...] = ()
    late: dict[str, str] = {}
    own: tuple[str, str, str] = ("", "", "")


def remember(
    memory: Memory, observation: Observation, patience: int
) -> tuple[Memory, tuple[Change, ...]]:
    """The memory after one more observation, and what changed, worst first. `patience` is how many
    observations in a row have to miss something before that is said."""
    if not observation.reached:
        return _missed(memory, observation, patience)
    changes: list[Change] = []
    if memory.out:
        changes.append(_change(ChangeKind.RECOVERY, before=memory.missed, since=memory.time))
    missing: set[str] = set()
    seen, manifests = dict(memory.seen), {item[0]: item for item in memory.manifests}
    for attester in observation.attesters:
        changes.extend(_of_guest(seen, manifests, attester, missing))
        _keep(seen, manifests, attester, observation.time)
    chain, block = _of_chain(memory, observation, changes, missing)
    judged = _of_verdict(memory, observation, changes, missing, patience)
    if memory.time is None:
        changes = [*changes[: int(memory.out)], _first(observation)]
    gaps = {name: memory.gaps.get(name, 0) + 1 for name in sorted(missing)}
    late = _noted(memory.late, missing, {*memory.late, *missing}, patience)
    if judged.verdict == _NONE:
        late.pop(VERDICT, None)
    blind = _blind(memory, gaps, late, patience, changes)
    own = (observation.policy, observation.reference, observation.tool)
    if memory.own not in {own, Memory().own}:
        changes = [replace(item, own=True) for item in changes]
    return (
        Memory(
            judged=judged,
            seen=dict(list(seen.items())[-MAX_INSTANCES:]),
            chain=chain,
            block=block,
            manifests=tuple(manifests.values())[-MAX_MANIFESTS:],
            time=observation.time,
            gaps=gaps,
            blind=blind,
            late=late,
            own=own,
        ),
        tuple(sorted(changes, key=lambda item: item.severity.rank)),
    )


def _change(kind: ChangeKind, **values: Any) -> Change:  # noqa: ANN401 - the fields of a change
    return Change(kind=kind, severity=values.pop("severity", SEVERITIES[kind]), **values)


def _missed(
    memory: Memory, observation: Observation, patience: int
) -> tuple[Memory, tuple[Change, ...]]:
    misses = memory.misses + 1
    since = observation.time if memory.missed is None else memory.missed
    late = {**memory.late, **_noted(memory.late, {_OUTAGE}, {_OUTAGE}, patience)}
    often = misses < patience and _is_often(late[_OUTAGE], patience)
    said = (misses >= patience or often) and not memory.out
    after = {"since": since, "misses": misses, "error": observation.error}
    if often:
        after |= {"misses": late[_OUTAGE].count(_MISSED), "of": len(late[_OUTAGE])}
    if said or memory.out:
        del late[_OUTAGE]
    changed = replace(memory, misses=misses, missed=since, out=memory.out or said, late=late)
    outage = _change(ChangeKind.OUTAGE, before=memory.time, after=after, since=memory.time)
    return changed, (outage,) if said else ()


def _noted(
    late: dict[str, str], missing: set[str], known: set[str], patience: int
) -> dict[str, str]:
    """What the last observations missed of what is known, with one more."""
    rows = {
        name: late.get(name, "") + (_MISSED if name in missing else _THERE)
        for name in sorted(known)
    }
    rows = {name: row[-_SPAN * patience :] for name, row in rows.items()}
    return {name: row for name, row in rows.items() if _MISSED in row}


def _is_often(row: str, patience: int) -> bool:
    return row[-_SPAN * patience :].count(_MISSED) >= _OFTEN * patience


def _first(observation: Observation) -> Change:
    manifests = sorted(
        {
            str(item.facts[Fact.MANIFEST])
            for item in observation.attesters
            if Fact.MANIFEST in item.facts
        }
    )
    after = {
        "verdict": observation.verdict,
        "accepted": observation.accepted,
        "failed": list(observation.failed),
        "warned": list(observation.warned),
        "missing": list(observation.missing),
        "manifests": manifests,
    }
    return _change(ChangeKind.FIRST, after=after)


def _of_guest(
    seen: dict[str, Seen],
    manifests: dict[str, tuple[str, int, int]],
    attester: Attester,
    missing: set[str],
) -> Iterator[Change]:
    """What differs of one guest: from the same one before, else from the one that was seen last."""
    same = seen.get(attester.instance)
    before = same or next(reversed(seen.values()), None)
    if before is None:
        return
    if same is None:
        yield _change(
            ChangeKind.INSTANCE,
            after={"machine": attester.facts.get(Fact.MACHINE)},
            since=before.time,
            instance=attester.instance,
        )
    # Each guest has its own certificate, and its own machine.
    own = set() if same is not None else {Fact.CERTIFICATE, Fact.MACHINE, Fact.ENDPOINT}
    for name, old in before.facts.items():
        new = attester.facts.get(name)
        if new is None:
            if name not in own:
                missing.add(name)
        elif new != old and name not in own:
            again = manifests.get(str(new)) if name == Fact.MANIFEST else None
            yield _change(
                ChangeKind(name),
                before=_shown(name, old, before.release),
                after=_shown(name, new, attester.release),
                since=before.time,
                instance=attester.instance,
                again=again[2] if again else None,
            )


def _shown(name: str, value: Any, release: str) -> Any:  # noqa: ANN401 - as JSON
    return {"release": release, "registers": value} if name == Fact.SYSTEM else value


def _keep(
    seen: dict[str, Seen],
    manifests: dict[str, tuple[str, int, int]],
    attester: Attester,
    time: int,
) -> None:
    """Remember a guest: what is not proven now stays as it was proven last."""
    before = seen.pop(attester.instance, None)
    facts = {**(before.facts if before else {}), **attester.facts}
    release = attester.release or (before.release if before else "")
    seen[attester.instance] = Seen(facts, time, release)
    manifest = attester.facts.get(Fact.MANIFEST)
    if isinstance(manifest, str):
        known = manifests.pop(manifest, None)
        manifests[manifest] = (manifest, known[1] if known else time, time)


def _of_chain(
    memory: Memory, observation: Observation, changes: list[Change], missing: set[str]
) -> tuple[Facts, int | None]:
    """What the chain says differently; what an older block says is no news."""
    block, before = observation.block, memory.block
    stale = block is None or (before is not None and block < before)
    told = {} if stale else observation.chain
    for name, old in memory.chain.items():
        if name not in told:
            missing.add(name)
        elif told[name] != old:
            changes.append(
                _change(ChangeKind(name), before=old, after=told[name], since=memory.time)
            )
    return {**memory.chain, **told}, before if stale else block


def _of_verdict(
    memory: Memory,
    observation: Observation,
    changes: list[Change],
    missing: set[str],
    patience: int,
) -> Judged:
    """The verdict that counts: one that only lacks evidence does so when it stays."""
    now = Judged(
        observation.verdict,
        observation.accepted,
        observation.failed,
        observation.warned,
        observation.time,
    )
    before = memory.judged
    if before is None:
        return now
    if now.verdict == _NONE and before.verdict != _NONE:
        missing.add(VERDICT)
        often = _is_often(memory.late.get(VERDICT, "") + _MISSED, patience)
        if memory.gaps.get(VERDICT, 0) + 1 < patience and not often:
            return before
        missing.discard(VERDICT)
    if before.values == now.values:
        return now
    changes.append(
        _change(
            ChangeKind.VERDICT,
            severity=_severity(before, now),
            before=_told(before),
            after={**_told(now), "missing": list(observation.missing)},
            since=before.time,
        )
    )
    return now


def _severity(before: Judged, now: Judged) -> Severity:
    if now.accepted:
        return Severity.LOW if before.accepted else Severity.INFO
    return Severity.CRITICAL if now.failed else Severity.HIGH


def _told(judged: Judged) -> dict[str, Any]:
    return {
        "verdict": judged.verdict,
        "accepted": judged.accepted,
        "failed": list(judged.failed),
        "warned": list(judged.warned),
    }


def _blind(
    memory: Memory,
    gaps: dict[str, int],
    late: dict[str, str],
    patience: int,
    changes: list[Change],
) -> tuple[str, ...]:
    """The facts that stayed away so long, or so often, that it is said; what is back is said, too.
    What is said is `late` no more."""
    asked = [name for name in gaps if name not in memory.blind and name != VERDICT]
    lost = [name for name in asked if gaps[name] >= patience]
    often = [name for name in asked if name not in lost and _is_often(late[name], patience)]
    back = [name for name in memory.blind if name not in gaps]
    if lost:
        changes.append(_change(ChangeKind.UNPROVEN, before=lost, since=memory.time))
    if often:
        after = {"misses": _OFTEN * patience, "of": max(len(late[name]) for name in often)}
        changes.append(_change(ChangeKind.UNPROVEN, before=often, after=after, since=memory.time))
    if back:
        changes.append(_change(ChangeKind.PROVEN, after=back, since=memory.time))
    blind = tuple(name for name in gaps if name in memory.blind or name in {*lost, *often})
    for name in blind:
        late.pop(name, None)
    return blind
