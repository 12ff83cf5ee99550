"""A timeline as canonical JSON (RFC 8785), schema `dstack-audit/timeline/v1`.

The names are a contract, written down in `docs/schema/timeline-v1.schema.json`. Hashes, ids and
keys are lower-case hex without 0x, Ethereum addresses EIP-55, times RFC 3339 in UTC. Text from the
chain stands as it was written, in `args`; `words` say what each event means.
"""

from typing import Final

import rfc8785

from verifier.model.chain import Place
from verifier.model.identifiers import LATEST_TIME, format_time
from verifier.model.result import JsonValue
from verifier.model.timeline import (
    AppState,
    Change,
    Coverage,
    Exposure,
    Governance,
    KmsState,
    Known,
    Permission,
    Timeline,
    TimelineEvent,
)
from verifier.report.audit.json import encodable
from verifier.report.pending import outlook_json, pending_json
from verifier.report.timeline import witnessed
from verifier.report.timeline.overview import concerns
from verifier.report.timeline.sentences import Narrator

SCHEMA: Final = "dstack-audit/timeline/v1"

_Object = dict[str, JsonValue]


def render_json(timeline: Timeline) -> bytes:
    """The timeline as one line of canonical JSON in UTF-8, with a newline at the end.

    Integers beyond 2^53 - 1 in either direction are written as decimal strings.
    """
    narrator = Narrator(timeline)
    document: _Object = {
        "schema": SCHEMA,
        "chain_id": timeline.chain_id,
        "app_id": timeline.app_id,
        "app": timeline.app,
        "kms": timeline.kms,
        "as_of": {
            "block": timeline.as_of.block,
            "hash": timeline.as_of.hash,
            "time": _time(timeline.as_of.time),
            "finalized": True,
        },
        "complete": timeline.complete,
        "on": None if timeline.on is None else _time(timeline.on),
        "single_source": timeline.single_source,
        "root_note": timeline.root_note,
        "concerns": list(concerns(timeline)),
        "events": [_event(item, narrator) for item in timeline.events],
        "state": {
            "app": _app_state(timeline.app_state),
            "kms": _kms_state(timeline.kms_state),
            "unlogged": list(narrator.silent()),
        },
        "governance": [_governance(item) for item in timeline.governance],
        "changes": [_change(item) for item in timeline.changes],
        "pending": [pending_json(item) for item in timeline.pending],
        "outlook": [outlook_json(item) for item in timeline.outlook],
        "exposures": [_exposure(item) for item in timeline.exposures],
        "permissions": [_permission(item) for item in timeline.permissions],
        "manifests": dict(timeline.manifests),
        "coverage": [_coverage(item) for item in timeline.coverage],
        "notes": list(timeline.notes),
    }
    if timeline.witness is not None:
        document["witness"] = witnessed.member(timeline.witness)
    return rfc8785.dumps(encodable(document)) + b"\n"


def _event(event: TimelineEvent, narrator: Narrator) -> _Object:
    change = narrator.change(event)
    return {
        "block": event.place.block,
        "block_hash": event.block_hash,
        "time": _time(event.time),
        "tx": event.transaction,
        "log_index": event.place.log_index,
        "contract": event.address,
        "role": event.role.value,
        "name": event.name,
        "args": dict(event.args),
        "sender": event.sender or None,
        "to": event.to or None,
        "finalized": not event.provisional,
        "notice": change.notice if change else None,
        "words": narrator.sentence(event),
    }


def _app_state(state: AppState) -> _Object:
    return {
        "compose_hashes": _sorted(state.compose_hashes),
        "devices": _sorted(state.devices),
        "any_device": _known(state.any_device),
        "require_tcb_up_to_date": _known(state.require_tcb_up_to_date),
        "upgrades_disabled": _known(state.upgrades_disabled),
        "implementation": state.implementation,
        "code": "" if state.code is None else state.code.name,
        "owner": state.owner,
        "pending_owner": state.pending_owner,
        "continuous": state.continuous,
    }


def _kms_state(state: KmsState) -> _Object:
    return {
        "os_images": _sorted(state.os_images),
        "aggregated_mrs": _sorted(state.aggregated_mrs),
        "devices": _sorted(state.devices),
        "root_key": state.root_key,
        "gateway_app_id": state.gateway_app_id,
        "app_implementation": state.app_implementation,
        "implementation": state.implementation,
        "code": "" if state.code is None else state.code.name,
        "owner": state.owner,
        "pending_owner": state.pending_owner,
        "continuous": state.continuous,
    }


def _governance(period: Governance) -> _Object:
    return {
        "role": period.role.value,
        "owner": period.owner,
        "kind": period.kind.value,
        "since": _place(period.since),
        "since_time": _time(period.since_time),
        "until": _place(period.until),
        "until_time": _time(period.until_time),
        "threshold": period.threshold,
        "signers": list(period.signers),
        "modules": list(period.modules),
        "guard": period.guard,
        "delay": period.delay,
        "proposers": list(period.proposers),
        "executors": list(period.executors),
        "admins": list(period.admins),
        "keys": period.keys,
        "notice": period.notice,
        "own_word": period.own_word,
        "disputed": period.disputed,
        "remarks": list(period.remarks),
    }


def _change(change: Change) -> _Object:
    return {
        "place": _place(change.place),
        "announced": _place(change.announced),
        "notice": change.notice,
        "how": change.how,
    }


def _exposure(exposure: Exposure) -> _Object:
    return {
        "kind": exposure.kind.value,
        "subject": exposure.subject,
        "since": _time(exposure.since),
        "until": _time(exposure.until),
        "words": exposure.words,
        "manifest": exposure.manifest,
    }


def _permission(item: Permission) -> _Object:
    return {
        "compose_hash": item.compose_hash,
        "first": _time(item.first),
        "since": _time(item.since),
        "seen": _time(item.seen),
    }


def _coverage(item: Coverage) -> _Object:
    return {
        "role": item.role.value,
        "contract": item.address,
        "first": item.first,
        "last": item.last,
        "origin": item.origin.words,
        "begins": item.origin.kind.value,
        "asked": item.origin.asked,
        "first_log": {"block": item.origin.block, "event": item.origin.event},
        "sources": list(item.sources),
        "partial": [{"source": source, "missing": missing} for source, missing in item.partial],
        "problems": list(item.problems),
        "disputed": list(item.disputed),
        "unproven": list(item.unproven),
        "operators": item.operators,
        "compared": item.compared,
        "proven": item.proven,
        "cached": item.cached,
        "logs": item.logs,
        "complete": item.complete,
    }


def _known(flag: Known[bool]) -> _Object:
    return {"value": flag.value, "method": flag.method.value}


def _place(place: Place | None) -> JsonValue:
    return None if place is None else {"block": place.block, "log_index": place.log_index}


def _time(seconds: int | None) -> JsonValue:
    """RFC 3339; None for a time that is not known or that no calendar has."""
    return format_time(seconds) if seconds is not None and 0 <= seconds <= LATEST_TIME else None


def _sorted(items: frozenset[str]) -> list[JsonValue]:
    return [*sorted(items)]
