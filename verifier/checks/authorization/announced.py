"""What the owners of the contracts announced, and whether that is a reservation."""

from typing import TYPE_CHECKING, Final

from verifier.checks.case import Case
from verifier.model.chain import OwnerKind, Role
from verifier.model.identifiers import format_time
from verifier.model.pending import Effect, Look
from verifier.model.result import Basis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from verifier.model.pending import PendingCall, PendingOperation
    from verifier.model.timeline import Timeline

_PRODUCTION: Final = "production"
_SHOWN: Final = 3
_SHOWN_VALUE: Final = 64


def announced(case: Case, timeline: "Timeline") -> list[str]:
    """What is about to change for the worse, by whoever can act at once or has announced it: as
    reservations, in words."""
    direct = {timeline.app, *(item.account for item in timeline.outlook if item.direct)}
    found = [
        _named(item, weighty)
        for item in timeline.pending
        if item.account in direct and (weighty := _weighty(case, timeline, item)) is not None
    ]
    more = len(found) - _SHOWN
    return [*found[:_SHOWN], *([f"and {more} more announced operations"] * (more > 0))]


def _weighty(
    case: Case, timeline: "Timeline", operation: "PendingOperation"
) -> "Sequence[PendingCall] | None":
    """The calls of an operation that are a reservation, () where calls may be missing from it; None
    for an operation that is none."""
    manifests = {*timeline.manifests, *measured(case)}
    images = {row.os_image_hash for row in case.reference.os_images if row.kind == _PRODUCTION} - {
        ""
    }
    known = {
        "addComposeHash": manifests,
        "activateComposeHash": manifests,
        "addOsImageHash": images,
    }

    def weighs(call: "PendingCall") -> bool:
        if call.effect in (Effect.UNKNOWN, Effect.CONTROL):
            return call.touches is not Role.GATEWAY or call.effect is Effect.UNKNOWN
        if call.effect is not Effect.OPENS or call.touches is Role.GATEWAY:
            return False
        return str(next(iter(call.args.values()), "")) not in known.get(call.function, ())

    found = [call for call in operation.calls if weighs(call)]
    return found if found or not (operation.whole or _is_void(operation)) else None


def _is_void(operation: "PendingOperation") -> bool:
    """Whether too few signers of a Safe approved what nobody shows: one alone could fill the list
    for ever, since an approval cannot be taken back."""
    needed = operation.threshold
    unseen = operation.kind is OwnerKind.SAFE and not operation.calls
    return unseen and needed is not None and len(operation.signers) < needed


def _named(operation: "PendingOperation", calls: "Sequence[PendingCall]") -> str:
    """An operation: who announced it, or who says so of whom, what it would call, and from when
    on."""
    said = "calls that are not all shown"
    if calls:
        call = calls[0]
        value = next((str(item) for item in call.args.values()), "")
        what = f"{call.function}({value[:_SHOWN_VALUE]})" if call.function else _unknown(call)
        more = f" and {len(calls) - 1} more calls" if len(calls) > 1 else ""
        said = f"{what} of {call.target}{more}"
    when = "at any moment"
    if not operation.ready and operation.due is not None:
        when = f"from {format_time(operation.due)} on"
    elif not operation.ready:
        when = "once enough signers agree"
    who = f"{operation.kind.value} {operation.account}"
    if operation.basis is Basis.CHAIN:
        return f"{who} announced {said}, which it can make {when}"
    agreed = f"{len(operation.signers)} signers are proven to have agreed"
    return f"by the word of a service, {who} waits to make {said} {when} ({agreed})"


def _unknown(call: "PendingCall") -> str:
    return f"an unknown call (0x{call.data})"


def unseen(timeline: "Timeline") -> list[str]:
    """Who acts without anybody having looked at what they announced: as reservations, in words."""
    return [
        f"what {item.kind.value} {item.account} is about to do is not known: {item.why}"
        for item in timeline.outlook
        if item.direct
        and item.kind in (OwnerKind.SAFE, OwnerKind.TIMELOCK)
        and item.look not in (Look.WHOLE, Look.ASSERTED)
    ]


def measured(case: Case) -> tuple[str, ...]:
    """The measured manifest hash, () for none."""
    found = case.identity.compose_hash
    return () if found is None else (found.hex(),)
