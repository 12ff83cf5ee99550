"""Honest evidence that may not be refused for what is beside it, or for how it came."""

import json
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import RefusedError, assert_noticed, assert_stands
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.events import Event, runtime_event
from verifier.lab.knobs import Knobs
from verifier.lab.quote import TdReport, make_quote
from verifier.reference.values import embedded

CHALLENGE: Final = b"N" * 64
MR_KMS: Final = "mr-kms"
OTHER_FMSPC: Final = "ffffffffffff"

Edit = Callable[[JsonObject], JsonObject]


def asked_first(payload: bytes | None) -> forge.EventsEdit:
    """Another KMS was met first, which answered with an error: its build was measured too. None is
    for the same build again."""

    def edit(events: list[Event]) -> list[Event]:
        place, own = next(item for item in enumerate(events) if item[1].name == MR_KMS)
        first = own if payload is None else runtime_event(MR_KMS, payload, own.version)
        return [*events[:place], first, *events[place:]]

    return edit


@pytest.mark.parametrize("payload", [None, b"\x66" * 32], ids=["same build", "other build"])
def test_a_guest_that_asked_a_second_kms(payload: bytes | None) -> None:
    audited = audit(Knobs(edit_events=asked_first(payload)))
    assert [event.name for event in audited.world.guest.events].count(MR_KMS) == 2
    assert_stands(audited, "runtime.events", "application.identity", "key_management.provider")


@cache
def updated_in_place() -> Audited:
    """A TD 1.5."""
    return audit(Knobs(quote_format="v5-td15"))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="nothing changed"),
        pytest.param({"tee_tcb_svn2": bytes.fromhex("06010300") + bytes(12)}, id="svn"),
        pytest.param(
            {
                "tee_tcb_svn2": bytes.fromhex("06010300") + bytes(12),
                "mr_seam": keys.labelled("updated TDX module", 48),
            },
            id="svn and module",
        ),
    ],
)
def test_two_quotes_of_one_boot_around_an_update_of_the_tdx_module(
    changes: dict[str, bytes],
) -> None:
    """The module is updated under running TDs: its current TCB rises, the TD stays the same."""
    audited = updated_in_place()
    report: TdReport = replace(
        audited.world.guest.td_report,
        report_data=b"\1" * 64,
        **changes,
    )
    quote = make_quote(report, audited.world.pki, audited.world.knobs.platform, "v5-td15")
    assert_stands(audited.handing_over([(Kind.QUOTE, quote)]), "application.consistency")


@cache
def challenged() -> Audited:
    """A challenged app without a KMS."""
    knobs = Knobs(app_key_report_data=CHALLENGE, key_provider="none")
    return audit(knobs, challenge=CHALLENGE)


def unsigned(document: JsonObject) -> JsonObject:
    """Nobody signed that the evaluation is a later one."""
    later = {
        name: json.dumps({**json.loads(str(document[name])), "tcbEvaluationDataNumber": 9999})
        for name in ("tcb_info", "qe_identity")
    }
    return {**document, **later}


def undated(document: JsonObject) -> JsonObject:
    """The TCB info has no date."""
    tcb_info = {**json.loads(str(document["tcb_info"])), "issueDate": "x"}
    return {**document, "tcb_info": json.dumps(tcb_info)}


def of_another_platform(document: JsonObject) -> JsonObject:
    """The same for a platform that is not in question."""
    changed = undated(document)
    info = json.loads(str(changed["tcb_info"]))
    assert info["fmspc"] != OTHER_FMSPC
    return {**changed, "tcb_info": json.dumps({**info, "fmspc": OTHER_FMSPC})}


def broken_list(document: JsonObject) -> JsonObject:
    """The revocation list is none."""
    return {**document, "pck_crl": "3000"}


def with_collateral(*edits: Edit) -> Audited:
    """The app's evidence with the genuine collateral, changed in these ways."""
    audited = challenged()
    genuine: JsonObject = dict(audited.world.collateral.document())
    documents = [(f"c{number}", edit(genuine)) for number, edit in enumerate(edits)]
    files = [(name, json.dumps(document).encode()) for name, document in documents]
    own = audited.files(Kind.APP_KEY_QUOTE, Kind.INFO, Kind.PAGE)
    return audited.imported([*own, *files]).under("genuine")


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda document: document, id="the same"),
        *(unsigned, undated, of_another_platform, broken_list),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["genuine first", "genuine last"])
def test_collateral_beside_the_genuine_one(edit: Edit, first: bool) -> None:  # noqa: FBT001
    def genuine(document: JsonObject) -> JsonObject:
        return document

    edits = (genuine, edit) if first else (edit, genuine)
    assert_stands(with_collateral(*edits), "hardware.quote", "hardware.tcb")


@pytest.mark.parametrize("edit", [unsigned, undated, broken_list])
def test_collateral_that_is_wrong_proves_nothing_alone(edit: Edit) -> None:
    assert_noticed(with_collateral(edit), "hardware.quote")


@pytest.mark.parametrize(
    "turned",
    [
        {"event_log_version": 1, "cert_attestation": "msgpack-v1"},
        {"event_log_version": 2, "cert_attestation": "quote"},
        {"event_log_version": 2, "cert_attestation": "msgpack-v1"},
    ],
    ids=lambda turned: ", ".join(map(str, turned.values())),
)
def test_an_attestation_blob_tells_the_version_of_every_event(turned: dict[str, object]) -> None:
    knobs = Knobs(version="0.6.0", **turned)  # type: ignore[arg-type]
    assert_stands(audit(knobs), "runtime.replay", "runtime.events")


def test_a_production_system_is_known_by_its_files() -> None:
    """Registers that were only seen in quotes of others are a reservation, which no policy waives:
    without another origin no real app is affirmed."""
    rows = [row for row in embedded().os_images if row.kind == "production" and row.mrtd]
    assert rows
    if not any(row.origin != "observed" and row.rtmr1 and row.rtmr2 for row in rows):
        raise RefusedError(f"{len(rows)} production images, all observed")
