"""An earlier timeline, read back from its JSON so that it can be rendered again.

Nothing in it is verified again: the author of the file is the author of the history. What follows
from it, such as whether it is complete, is derived again. Calldata is not in the JSON, and nothing
that is rendered needs it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

import msgspec

from verifier.errors import EvidenceError
from verifier.evidence.codec import (
    MAX_LISTED,
    as_int,
    as_list,
    as_object,
    as_str,
    parse_json_object,
)
from verifier.model.chain import ContractCode, Place, Role
from verifier.model.identifiers import parse_time
from verifier.model.result import Basis, JsonValue
from verifier.model.timeline import (
    AppState,
    AsOf,
    Change,
    Coverage,
    Exposure,
    Governance,
    KmsState,
    Permission,
    Timeline,
    TimelineEvent,
)
from verifier.model.witness import Unanswered, Witnessed, WitnessHistory
from verifier.report.pending import read_outlook, read_pending
from verifier.report.timeline.json import SCHEMA

_WHAT: Final = "the timeline"
_Object = Mapping[str, JsonValue]
_Record = TypeVar("_Record", bound=msgspec.Struct)


def read_timeline(raw: bytes) -> Timeline:
    """The timeline that canonical JSON of schema `dstack-audit/timeline/v1` holds. Raises
    EvidenceError."""
    document = parse_json_object(raw, _WHAT, MAX_LISTED)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(f"{_WHAT} is no {SCHEMA}")
    try:
        return _timeline(document)
    except (KeyError, TypeError, ValueError) as error:
        missing = isinstance(error, KeyError)
        raise EvidenceError(
            f"{_WHAT} cannot be rendered again: {'it lacks ' if missing else ''}{error}",
            hint="run `verify timeline` again: an earlier version wrote less than every form needs",
        ) from error


def _timeline(document: _Object) -> Timeline:
    state = as_object(document["state"], _WHAT)
    as_of = as_object(document["as_of"], _WHAT)
    names = as_object(document["manifests"], _WHAT)
    return Timeline(
        chain_id=as_int(document["chain_id"], _WHAT),
        app_id=_text(document, "app_id"),
        app=_text(document, "app"),
        kms=_text(document, "kms"),
        as_of=_convert({**as_of, "time": _time(as_of["time"])}, AsOf),
        coverage=tuple(map(_coverage, _objects(document, "coverage"))),
        events=tuple(map(_event, _objects(document, "events"))),
        app_state=_convert(_coded(as_object(state["app"], _WHAT)), AppState),
        kms_state=_convert(_coded(as_object(state["kms"], _WHAT)), KmsState),
        governance=_all(document, "governance", Governance, ("since_time", "until_time")),
        changes=_all(document, "changes", Change),
        pending=tuple(map(read_pending, _objects(document, "pending"))),
        outlook=tuple(map(read_outlook, _objects(document, "outlook"))),
        exposures=_all(document, "exposures", Exposure, ("since", "until")),
        permissions=_all(document, "permissions", Permission, ("first", "since", "seen")),
        manifests={key: as_str(value, _WHAT) for key, value in names.items()},
        on=_time(document["on"]),
        single_source=document["single_source"] is True,
        root_note=_text(document, "root_note"),
        notes=tuple(as_str(item, _WHAT) for item in as_list(document["notes"], _WHAT)),
        witness=_witness(as_object(document["witness"], _WHAT)) if "witness" in document else None,
    )


def _event(value: _Object) -> TimelineEvent:
    return TimelineEvent(
        place=Place(as_int(value["block"], _WHAT), as_int(value["log_index"], _WHAT)),
        time=_time(value["time"]),
        block_hash=_text(value, "block_hash"),
        transaction=_text(value, "tx"),
        role=Role(_text(value, "role")),
        address=_text(value, "contract"),
        name=_text(value, "name"),
        args=as_object(value["args"], _WHAT),
        sender=_text(value, "sender") if value["sender"] is not None else "",
        to=_text(value, "to") if value["to"] is not None else "",
        provisional=value["finalized"] is not True,
    )


def _coded(state: _Object) -> dict[str, Any]:
    """A state with its contract's code as a record that has the same name."""
    generation, _, build = _text(state, "code").partition(" ")
    code = ContractCode(
        role="",
        generation=generation,
        build=build,
        length=0,
        immutable_offsets=(),
        fingerprint="",
        source="",
        date="",
    )
    return {**state, "code": code if generation else None}


def _coverage(value: _Object) -> Coverage:
    first_log = as_object(value["first_log"], _WHAT)
    origin = {"kind": value["begins"], "asked": value["asked"], **first_log}
    partial: list[JsonValue] = [
        [item["source"], item["missing"]] for item in _objects(value, "partial")
    ]
    named: _Object = {**value, "address": value["contract"], "origin": origin, "partial": partial}
    return _convert(named, Coverage)


def _witness(value: _Object) -> WitnessHistory:
    periods = [
        {
            **item,
            "first": _time(item["first"]),
            "last": _time(item["last"]),
            "entries": [item["first_entry"], item["last_entry"]],
        }
        for item in _objects(value, "periods")
    ]
    return WitnessHistory(
        app_id=_text(value, "app_id"),
        log=_text(value, "log"),
        size=as_int(value["size"], _WHAT),
        root=_text(value, "root"),
        basis=Basis(_text(value, "basis")),
        periods=tuple(_convert(item, Witnessed) for item in periods),
        unanswered=_all(value, "unanswered", Unanswered, ("first", "last")),
    )


def _all(
    document: _Object, key: str, kind: type[_Record], times: Iterable[str] = ()
) -> tuple[_Record, ...]:
    return tuple(
        _convert({**item, **{name: _time(item[name]) for name in times}}, kind)
        for item in _objects(document, key)
    )


def _convert(value: Mapping[str, Any], kind: type[_Record]) -> _Record:
    """A record of these fields; integers beyond 2^53 stand as texts."""
    return msgspec.convert(value, kind, strict=False)


def _objects(value: _Object, key: str) -> tuple[_Object, ...]:
    return tuple(as_object(item, _WHAT) for item in as_list(value[key], _WHAT))


def _text(value: _Object, key: str) -> str:
    return as_str(value[key], f"{_WHAT}: {key}")


def _time(value: JsonValue) -> int | None:
    """Unix seconds; None where it is not known."""
    if value is None:
        return None
    seconds = parse_time(as_str(value, _WHAT))
    if seconds is None:
        raise ValueError(f"{value!a} is no time")
    return seconds
