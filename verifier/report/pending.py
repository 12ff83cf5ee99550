"""What is about to change, in words and as JSON, for every report that tells it.

All text is raw and in full: the renderer escapes it, once.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeVar

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.chain import OwnerKind, Role
from verifier.model.identifiers import LATEST_TIME, format_time, parse_time
from verifier.model.pending import Effect, Look, Outlook, PendingCall, PendingOperation
from verifier.model.result import Basis, JsonValue
from verifier.patterns import pattern
from verifier.report.audit.answers import value_text

_Word = TypeVar("_Word", bound=StrEnum)

_WHAT: Final = "the report"
TITLE: Final = "About to change"
_Object = dict[str, JsonValue]
_SHOWN: Final = 16
"""How many operations, and how many calls of one, are said; the JSON has all of them."""
_PLACEHOLDER: Final = pattern(r"\{(\d)\}")
_TIMES: Final = ("announced", "due")
_CONTRACTS: Final = {
    Role.APP: "the app",
    Role.KMS: "the KMS",
    Role.APP_OWNER: "the app's owners",
    Role.KMS_OWNER: "the KMS's owners",
    Role.GATEWAY: "a gateway",
}
_ACTS: Final = {
    "addComposeHash": "allow manifest {0}",
    "removeComposeHash": "withdraw manifest {0}",
    "proposeComposeHash": "announce manifest {0}",
    "activateComposeHash": "allow manifest {0}, as announced",
    "cancelProposal": "take back the announcement of manifest {0}",
    "addDevice": "allow machine {0}",
    "removeDevice": "withdraw machine {0}",
    "setAllowAnyDevice": "set whether any machine may run it to {0}",
    "setRequireTcbUpToDate": "set whether firmware must be current to {0}",
    "disableUpgrades": "give up replacing the contract's code, for good",
    "upgradeToAndCall": "replace the contract's code by {0}",
    "transferOwnership": "hand ownership over to {0}",
    "renounceOwnership": "give up ownership, for good",
    "acceptOwnership": "take over ownership",
    "setKmsInfo": "set the KMS's keys",
    "setGatewayAppId": "name as gateway: {0}",
    "addKmsAggregatedMr": "allow a KMS that measures {0} to receive the root keys",
    "removeKmsAggregatedMr": "withdraw the KMS that measures {0}",
    "addKmsDevice": "allow machine {0} to receive the root keys as a KMS",
    "removeKmsDevice": "withdraw the KMS machine {0}",
    "addOsImageHash": "allow operating system image {0}",
    "removeOsImageHash": "withdraw operating system image {0}",
    "updateDelay": "set the delay to {0} seconds",
    "changeThreshold": "let {0} signatures decide",
    "addOwnerWithThreshold": "add the signer {0}, and let {1} signatures decide",
    "enableModule": "let the module {0} act without the signers",
}


def about_to_change(
    pending: Iterable[PendingOperation] | None, outlook: Iterable[Outlook]
) -> tuple[str, ...]:
    """What is about to change, then how far that was looked at; () where no contract is known."""
    if pending is None:
        return ()
    listed = tuple(pending)
    said = [operation_words(item) for item in listed[:_SHOWN]]
    if len(listed) > _SHOWN:
        said.append(f"And {len(listed) - _SHOWN} more, in the JSON report.")
    waiting = {item.account for item in listed}
    return (*said, *(outlook_words(item, waiting=item.account in waiting) for item in outlook))


def operation_words(item: PendingOperation) -> str:
    """One operation in a sentence: when, who, and what."""
    acts = [_act(call) for call in item.calls[:_SHOWN]]
    if len(item.calls) > _SHOWN:
        acts.append(f"{len(item.calls) - _SHOWN} more calls")
    if not item.whole:
        acts.append("calls that are not shown")
    by = "" if item.basis is Basis.CHAIN else ", by the word of a service"
    parts = [f"{_when(item)}: {_who(item)} may {'; '.join(acts)}{by}"]
    announced = _time_json(item.announced)
    if announced is not None:
        sender = f", sent by {value_text(item.sender)}" if item.sender else ""
        through = f" through {value_text(item.through)}" if item.through else ""
        parts.append(f"announced {announced}{sender}{through}")
    if item.kind is OwnerKind.SAFE:
        needed = "an unknown number" if item.threshold is None else str(item.threshold)
        parts.append(f"{len(item.signers)} of {needed} signers are proven to have agreed")
        if item.nonce is not None:
            parts.append(f"its place is {item.nonce}, the next one is {item.next_nonce}")
    return "; ".join((*parts, *item.remarks)) + "."


def outlook_words(item: Outlook, *, waiting: bool) -> str:
    """How what one account is about to do is known, in a sentence."""
    contract = "app" if item.role is Role.APP else "KMS"
    who = f"{item.kind.value} {value_text(item.account)}, which decides about the {contract}"
    if not item.direct:
        who = f"{item.kind.value} {value_text(item.account)}, which proposes for the {contract}"
    nothing = "" if waiting else ": nothing waits"
    asked = f" by {value_text(item.source)}" if item.source else ""
    said = {
        Look.WHOLE: f"all that it announced is known{nothing}",
        Look.ASSERTED: f"what waits is told{asked}, whose word it is{nothing and ': nothing'}",
        Look.PART: "not all that it announced is known",
        Look.NOT_LOOKED_AT: f"what it is about to do was not looked at{asked}",
        Look.NOTHING: "it announces nothing before it acts",
    }[item.look]
    why = f" ({item.why})" if item.why else ""
    return f"{who[:1].upper()}{who[1:]}: {said}{why}."


def pending_json(item: PendingOperation) -> _Object:
    """An operation as the JSON reports have it."""
    return {
        "account": item.account,
        "kind": item.kind.value,
        "id": item.id,
        "basis": item.basis.value,
        "calls": [_call_json(call) for call in item.calls],
        "whole": item.whole,
        "announced": _time_json(item.announced),
        "due": _time_json(item.due),
        "ready": item.ready,
        "sender": item.sender,
        "through": item.through,
        "signers": list(item.signers),
        "threshold": item.threshold,
        "nonce": item.nonce,
        "next_nonce": item.next_nonce,
        "remarks": list(item.remarks),
        "words": operation_words(item),
    }


def outlook_json(item: Outlook) -> _Object:
    """How what one account is about to do is known, as the JSON reports have it."""
    return {
        "role": item.role.value,
        "account": item.account,
        "kind": item.kind.value,
        "direct": item.direct,
        "look": item.look.value,
        "source": item.source,
        "why": item.why,
    }


def read_pending(value: Mapping[str, JsonValue]) -> PendingOperation:
    """The operation that a JSON report has. Raises EvidenceError."""
    return PendingOperation(
        account=codec.text_field(value, "account", _WHAT),
        kind=_word(OwnerKind, value, "kind"),
        id=codec.text_field(value, "id", _WHAT),
        basis=_word(Basis, value, "basis"),
        calls=tuple(map(_read_call, codec.as_list(value.get("calls"), _WHAT))),
        whole=value.get("whole") is True,
        announced=_read_time(value.get("announced")),
        due=_read_time(value.get("due")),
        ready=value.get("ready") is True,
        sender=codec.text_field(value, "sender", _WHAT),
        through=codec.text_field(value, "through", _WHAT),
        signers=_texts(value.get("signers")),
        threshold=codec.whole_number(value.get("threshold")),
        nonce=codec.whole_number(value.get("nonce")),
        next_nonce=codec.whole_number(value.get("next_nonce")),
        remarks=_texts(value.get("remarks")),
    )


def read_outlook(value: Mapping[str, JsonValue]) -> Outlook:
    """How an account's next acts are known, as a JSON report has it. Raises EvidenceError."""
    return Outlook(
        role=_word(Role, value, "role"),
        account=codec.text_field(value, "account", _WHAT),
        kind=_word(OwnerKind, value, "kind"),
        direct=value.get("direct") is True,
        look=_word(Look, value, "look"),
        source=codec.text_field(value, "source", _WHAT),
        why=codec.text_field(value, "why", _WHAT),
    )


def _read_call(given: JsonValue) -> PendingCall:
    value = codec.as_object(given, _WHAT)
    return PendingCall(
        target=codec.text_field(value, "target", _WHAT),
        touches=None if value.get("touches") is None else _word(Role, value, "touches"),
        function=codec.text_field(value, "function", _WHAT),
        args=codec.as_object(value.get("args"), _WHAT),
        data=codec.text_field(value, "data", _WHAT),
        effect=_word(Effect, value, "effect"),
        within=_texts(value.get("within")),
    )


def _word(words: type[_Word], value: Mapping[str, JsonValue], key: str) -> _Word:
    said = codec.text_field(value, key, _WHAT)
    try:
        return words(said)
    except ValueError as error:
        raise EvidenceError(f"{_WHAT}: {key} {said!a} is not known") from error


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(codec.as_str(item, _WHAT) for item in codec.as_list(value, _WHAT))


def _read_time(value: JsonValue) -> int | None:
    return None if value is None else parse_time(codec.as_str(value, _WHAT))


def _call_json(call: PendingCall) -> _Object:
    return {
        "target": call.target,
        "touches": call.touches.value if call.touches else None,
        "function": call.function,
        "args": dict(call.args),
        "data": call.data,
        "effect": call.effect.value,
        "within": list(call.within),
    }


def _act(call: PendingCall) -> str:
    at = _CONTRACTS[call.touches] if call.touches else "another contract"
    where = f"{at} ({value_text(call.target)})"
    if call.effect is Effect.UNKNOWN and call.touches is None:
        return f"lend its name to {value_text(call.target)}, which may do anything with it"
    if not call.function:
        return f"make an unknown call (0x{call.data}) of {where}"
    values = [value_text(item) for item in call.args.values()]
    template = _ACTS.get(call.function)
    if template is None:
        return f"call {call.function}({', '.join(values)}) of {where}"
    said = _PLACEHOLDER.sub(lambda match: "".join(values[int(match[1]) :][:1]), template)
    return f"{said}, of {where}"


def _who(item: PendingOperation) -> str:
    return f"{item.kind.value} {value_text(item.account)}"


def _when(item: PendingOperation) -> str:
    if item.ready:
        return "At any moment"
    if item.kind is OwnerKind.SAFE:
        return "Once enough signers agree"
    due = _time_json(item.due)
    return f"From {due} on" if due is not None else "At a time that no calendar has"


def _time_json(seconds: int | None) -> JsonValue:
    return format_time(seconds) if seconds is not None and 0 <= seconds <= LATEST_TIME else None
