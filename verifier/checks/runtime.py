"""RTMR3 → event log: what the OS says it started."""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import EvidenceError
from verifier.evidence.td.event_log import (
    RUNTIME_IMR,
    SYSTEM_READY,
    Event,
    checked_digest,
    is_event_name,
    replay,
    system_events,
)

_LEGACY_SEQUENCES: Final = (
    ("rootfs-hash", "app-id", "compose-hash", "ca-cert-hash", "instance-id"),
    ("rootfs-hash", "app-id", "upgraded-app-id", "ca-cert-hash", "instance-id"),
)
"""dstack 0.3.x: no boundary event; its guest agent has no call that appends to RTMR3."""

_ORDER: Final = (
    ("system-preparing",),
    ("rootfs-hash",),
    ("app-id",),
    ("compose-hash",),
    ("instance-id",),
    ("boot-mr-done",),
    ("mr-kms", "os-image-hash"),
    ("key-provider",),
    ("storage-fs", "storage-encrypted"),
    (SYSTEM_READY,),
)
"""dstack-util/src/system_setup.rs, releases dev-0.4.0 to 0.6.0; those of one row in any order."""

_RANKS: Final = {name: rank for rank, names in enumerate(_ORDER) for name in names}
_MANDATORY: Final = (
    "system-preparing",
    "app-id",
    "compose-hash",
    "instance-id",
    "boot-mr-done",
    SYSTEM_READY,
)
_UNORDERED: Final = ("init-script-hash", "gpu-policy-hash", "gpu-attestation")
_REPEATABLE: Final = ("init-script-hash", "mr-kms", "os-image-hash")
"""A guest that a KMS refused asks the next one, and measures what each of them is."""


@check("runtime.replay", "RTMR3 replays from the event log", requires=("hardware.quote",))
def replayed(case: Case) -> Outcome:
    """Extending the digests of the log's RTMR3 entries gives the quote's RTMR3, where the digest
    of every dstack event is recomputed from its name and payload. A digest in the log that differs
    from the recomputed one fails: a payload that no register covers is how a manifest is forged."""
    evidence = tuple(filter(None, (case.presented.log_evidence, case.presented.evidence)))
    try:
        events = [event for event in case.events if event.imr == RUNTIME_IMR]
        digests = [checked_digest(event) for event in events]
    except EvidenceError as error:
        return failed(
            f"the event log is malformed: {error.message}",
            reason=error.message,
            evidence=evidence,
        )
    expected, actual = case.quote.rtmrs[3].hex(), replay(digests).hex()
    if not events or expected != actual:
        return failed(
            "the event log does not replay to RTMR3",
            expected=expected,
            actual=actual,
            evidence=evidence,
            remediation="the log was changed, cut or belongs to another boot",
        )
    return passed(f"{len(events)} events replay to RTMR3", evidence=evidence)


@check(
    "runtime.events",
    "The identity events are complete, unique and in order",
    requires=("runtime.replay",),
)
def events(case: Case) -> Outcome:
    """Before `system-ready`, every event name is well formed and stands once (init scripts may be
    several, and the guest may have asked several KMSs, of which the last counts), in the
    order that dstack writes them, and every mandatory one is there. The preimage
    of an event is `type:name:payload`, so that a log can move the second colon and hide an event
    while every replay stays true: hence a name that dstack does not write is suspicious, and a
    missing event is a failure. Whatever the app appends after `system-ready` is no finding."""
    system = system_events(case.events)
    names = [event.name for event in system]
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    problems = _problems(case.events, names)
    if not problems:
        try:
            if case.identity.provider == "" and "key-provider" in names:
                problems = ["the key-provider event names no provider"]
        except EvidenceError as error:
            problems = [error.message]
    if problems:
        return failed(
            "; ".join(problems),
            expected=list(_RANKS),
            actual=list(names),
            evidence=evidence,
            remediation="do not trust what this log says about the app",
        )
    unknown = sorted(set(names) - {*_RANKS, *_UNORDERED, *_LEGACY_SEQUENCES[0], "upgraded-app-id"})
    appended = _appended(case.events, len(system))
    summary = f"{len(names)} system events" + (
        f"; {len(appended)} of the app's own, ignored: {', '.join(appended)}" if appended else ""
    )
    if unknown:
        return warned(
            f"{summary}; unknown system events: {', '.join(unknown)}",
            actual=list(names),
            evidence=evidence,
        )
    return passed(summary, evidence=evidence)


def _problems(log: Iterable[Event], names: list[str]) -> list[str]:
    problems = [
        f"an event of type {event.event_type:#x} in RTMR3"
        for event in log
        if event.imr == RUNTIME_IMR and not event.is_runtime
    ]
    problems.extend(
        f"event name {name!a} is malformed" for name in names if not is_event_name(name)
    )
    counts = Counter(names)
    problems.extend(
        f"event {name} stands {count} times"
        for name, count in counts.items()
        if count > 1 and name not in _REPEATABLE
    )
    if tuple(names) in _LEGACY_SEQUENCES:
        return problems
    mandatory = list(_MANDATORY)
    if "rootfs-hash" not in counts:
        mandatory.append("key-provider")
    problems.extend(f"event {name} is missing" for name in mandatory if name not in counts)
    ranks = [_RANKS[name] for name in names if name in _RANKS]
    if ranks != sorted(ranks):
        problems.append("the events are out of order")
    return problems


def _appended(log: Iterable[Event], count: int) -> list[str]:
    runtime = [event for event in log if event.imr == RUNTIME_IMR and event.is_runtime]
    return [ascii(event.name).strip("'") for event in runtime[count:]]


CHECKS: Final = (replayed, events)
