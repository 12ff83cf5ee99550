"""What an audit tells the manifest's rules: contract state, the KMS, the page."""

import json
from itertools import repeat
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.codes import known_code
from tests.worlds.audited import Audited, audit, decisions
from verifier.checks.case import Case
from verifier.checks.manifest import context
from verifier.checks.manifest.context import timeline_facts
from verifier.evidence import codec
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault
from verifier.lab.world import build
from verifier.manifest.context import ChainFacts, Governor
from verifier.model.chain import OwnerKind, Place, Role
from verifier.model.report import Report
from verifier.model.result import Verdict
from verifier.model.timeline import (
    AppState,
    AsOf,
    Beginning,
    Coverage,
    Governance,
    KmsState,
    Known,
    Method,
    Origin,
    Timeline,
)

CHAIN = ("KMS-005", "KMS-008")
MANIFESTS_OWN = build(Knobs(kms="self-hosted")).guest.compose_hash[:20]
FIRST_ASKED = ('"eth_chainId"', '"eth_getStorageAt"')
PAGE = ("RUN-001", "RUN-002", "RTF-006")


def findings(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


def not_evaluable(report: Report) -> set[str]:
    result = next(item for item in report.subjects[0].checks if item.id == "manifest.rules")
    assert isinstance(result.actual, dict)
    listed = result.actual["not_evaluable"]
    assert isinstance(listed, list)
    return {str(item).partition(" ")[0] for item in listed}


def test_an_audit_decides_what_a_file_cannot(honest: Audited) -> None:
    assert not not_evaluable(honest.report)
    assert not {"KMS-005", "KMS-010", "RUN-001", "RUN-002"} & findings(honest.report)


@pytest.mark.parametrize(
    ("knobs", "rule"),
    [
        (Knobs(compose_hash_on_chain="removed"), "KMS-005"),
        (Knobs(compose_hash_on_chain="never"), "KMS-005"),
        (Knobs(allow_any_device=True), "KMS-008"),
    ],
    ids=["removed", "never", "any-device"],
)
def test_contract_state_is_judged(knobs: Knobs, rule: str) -> None:
    assert rule in findings(audit(knobs).report)


def test_contract_state_that_nobody_vouches_for_is_not_judged(honest: Audited) -> None:
    report = honest.again(trusted=False).report
    assert {*CHAIN, *PAGE, "PLT-004"} <= not_evaluable(report)
    assert not {*CHAIN, *PAGE} & findings(report)


@pytest.mark.parametrize(
    ("knobs", "absent"),
    [
        (Knobs(kms="hosted"), True),
        (Knobs(key_provider="none"), True),
        (Knobs(key_provider="local-sgx"), True),
        (Knobs(kms="self-hosted"), False),
        (Knobs(kms="self-hosted", app_id=MANIFESTS_OWN), False),
        (Knobs(key_provider="none", app_id=b"\7" * 20), False),
    ],
    ids=["hosted", "no-keys", "sealed", "unknown", "unknown-for-the-manifests-id", "unbound-id"],
)
def test_where_no_contract_is_asked_its_rules_are_not_missing(
    knobs: Knobs,
    absent: bool,  # noqa: FBT001
) -> None:
    report = audit(knobs).report
    assert not set(CHAIN) & findings(report)
    assert (set(CHAIN) & not_evaluable(report)) == (set() if absent else set(CHAIN))


@pytest.mark.parametrize(
    ("faults", "rules"),
    [
        ({"a": RpcFault.ERROR, "b": RpcFault.ERROR}, CHAIN),
        ({"a": RpcFault.NULL, "b": RpcFault.NULL}, CHAIN),
        ({"b": RpcFault.LYING_CALL}, ("KMS-008",)),
    ],
    ids=["error", "null", "one-lies"],
)
def test_a_chain_that_cannot_be_read_is_never_clean(
    faults: dict[str, RpcFault], rules: tuple[str, ...]
) -> None:
    report = audit(Knobs(rpc_faults=faults)).report
    assert set(rules) <= not_evaluable(report)
    assert not set(rules) & findings(report)


def test_an_endpoint_of_another_chain_takes_nothing_from_those_of_this_one(
    honest: Audited,
) -> None:
    """It was asked which chain it serves, and what every endpoint is asked first."""
    builder = BundleBuilder(honest.bundle)
    for item in honest.bundle.artifacts:
        if "rpc-a" in item.source and any(text in item.request for text in FIRST_ASKED):
            raw = honest.bundle.blob(item).replace(b'"0x2105"', b'"0x1"')
            source = "https://rpc-c.lab.invalid"
            builder.add(item.kind, raw, source=source, collected_at=1, request=item.request)
    after = honest.again(builder.build()).report
    assert decisions(after) == decisions(honest.report)
    assert after.findings == honest.report.findings


def test_beside_an_endpoint_of_another_chain_one_operator_shows_what_it_does_alone() -> None:
    knobs = Knobs(rpc_faults={"b": RpcFault.OTHER_CHAIN}, compose_hash_on_chain="removed")
    report = audit(knobs).report
    assert "KMS-005" in findings(report)
    assert report.verdict is Verdict.NONE


def test_contract_state_of_a_generation_whose_state_nobody_reads_is_not_judged() -> None:
    def oldest(document: JsonObject) -> JsonObject:
        rows = codec.as_list(document["contracts"], "contracts")
        for row in map(codec.as_object, rows, repeat("contract")):
            row["generation"] = "G0" if row["role"] == "app" else row["generation"]
        return document

    report = audit(Knobs(), reference=oldest).report
    assert set(CHAIN) <= not_evaluable(report)


def test_a_kms_that_was_not_asked_for_a_key_may_date_those_that_it_signs(honest: Audited) -> None:
    artifacts = honest.bundle.artifacts
    unasked = tuple(item for item in artifacts if item.kind is not Kind.KMS_ENV_KEY)
    assert unasked != artifacts
    report = honest.again(Bundle(unasked, honest.bundle.blobs)).report
    assert "PLT-004" in not_evaluable(report)
    assert "PLT-004" not in findings(report)


def test_a_container_that_nobody_declared() -> None:
    def edit(_method: str, url: str, _body: bytes, response: Response) -> Response:
        body = response.body.replace(b"<td>dstack-web-1</td>", b"<td>miner</td>")
        return replace(response, body=body) if "-8090" in url else response

    assert {"RUN-001", "RUN-002"} <= findings(audit(Knobs(edit_response=edit)).report)


def periods() -> tuple[Governance, ...]:
    """One key owns the app now, a Safe did before; nobody owns the KMS."""
    place = Place(1, 0)
    return tuple(
        Governance(
            role=role,
            owner="0x01",
            kind=kind,
            since=place,
            since_time=0,
            until=until,
            until_time=None,
            keys=1,
            notice=0,
        )
        for role, kind, until in (
            (Role.APP, OwnerKind.EOA, None),
            (Role.APP, OwnerKind.SAFE, place),
            (Role.KMS, OwnerKind.RENOUNCED, None),
        )
    )


def timeline(**changes: Any) -> Timeline:
    """A complete history of an app that one key owns."""
    app = AppState(
        compose_hashes=frozenset({"aa", "bb"}),
        devices=frozenset(),
        any_device=Known(False, Method.EVENT),  # noqa: FBT003 - the value
        require_tcb_up_to_date=Known(True, Method.EVENT),  # noqa: FBT003
        upgrades_disabled=Known(False, Method.EVENT),  # noqa: FBT003
        implementation="",
        code=known_code("G6"),
        owner="0x01",
        pending_owner="",
        continuous=True,
    )
    kms = KmsState(
        os_images=frozenset(),
        aggregated_mrs=frozenset(),
        devices=frozenset(),
        root_key="",
        gateway_app_id="",
        app_implementation="",
        implementation="",
        code=known_code("G6"),
        owner="0x02",
        pending_owner="",
        continuous=True,
    )
    coverage = Coverage(
        role=Role.APP,
        address="",
        first=0,
        last=1,
        origin=Origin(kind=Beginning.BY_FACTORY, asked=0, block=0, event="Upgraded"),
        sources=("a",),
        operators=2,
    )
    fields: dict[str, Any] = {
        "chain_id": 8453,
        "app_id": "",
        "app": "",
        "kms": "",
        "as_of": AsOf(block=1, hash="", time=0),
        "coverage": (coverage,),
        "events": (),
        "app_state": app,
        "kms_state": kms,
        "governance": periods(),
        "changes": (),
    }
    return Timeline(**fields | changes)


def test_what_a_history_tells() -> None:
    facts = timeline_facts(timeline(), "aa")
    assert facts.other_hashes == ("bb",)
    assert facts.tcb_required is True
    assert facts.governors == (
        Governor(contract=Role.APP, who="one key 0x01", keys=1, notice=0),
        Governor(contract=Role.KMS, who="renounced 0x01", keys=1, notice=0, frozen=True),
    )


def test_an_incomplete_history_tells_nothing() -> None:
    whole = timeline()
    gap = replace(whole.coverage[0], sources=())
    torn = replace(whole.app_state, continuous=False)
    for broken in (timeline(coverage=(gap,)), timeline(app_state=torn)):
        assert timeline_facts(broken, "aa") == ChainFacts()


@pytest.mark.parametrize(
    ("read", "told", "required"),
    [
        (False, True, False),
        (True, False, True),
        (None, True, True),
        (None, False, False),
        (False, None, False),
        (None, None, None),
    ],
)
def test_what_is_read_of_a_contract_now_counts_before_what_its_history_tells(
    monkeypatch: pytest.MonkeyPatch,
    read: bool | None,  # noqa: FBT001 - the value
    told: bool | None,  # noqa: FBT001
    required: bool | None,  # noqa: FBT001
) -> None:
    history = ChainFacts(other_hashes=("bb",), tcb_required=told)
    monkeypatch.setattr(context, "_without_contract", lambda _: False)
    monkeypatch.setattr(context, "timeline_of", lambda _: timeline())
    monkeypatch.setattr(context, "timeline_facts", lambda *_: history)
    monkeypatch.setattr(context, "_read", lambda _: ChainFacts(any_device=True, tcb_required=read))
    case = cast("Case", SimpleNamespace(identity=SimpleNamespace(compose_hash=None)))
    facts = context._chain(case)  # noqa: SLF001
    assert facts == ChainFacts(any_device=True, other_hashes=("bb",), tcb_required=required)
    monkeypatch.setattr(context, "_read", lambda _: None)
    assert context._chain(case) == ChainFacts()  # noqa: SLF001


CONTRACT = "0x" + "11" * 20


@pytest.mark.parametrize(
    ("answer", "claimed"),
    [
        ({"kms_contract_address": CONTRACT, "chain_id": 8453}, f"8453:{CONTRACT}"),
        ({"kms_contract_address": CONTRACT}, ""),
        ({"chain_id": 8453}, ""),
        ({"kms_contract_address": "", "chain_id": 8453}, ""),
        ({}, ""),
        ({"chain_id": "8453"}, ""),
    ],
)
def test_a_kms_claims_a_contract_on_a_chain_or_none(answer: JsonObject, claimed: str) -> None:
    raw = json.dumps({"ca_cert": "", "k256_pubkey": "02" * 33, **answer}).encode()
    builder = BundleBuilder()
    builder.add(Kind.KMS_META, raw, source="kms", collected_at=1)
    evidence = SimpleNamespace(
        name="gw.example/aa", bundle=builder.build(), artifacts=builder.build().of
    )
    found = dict(context._claims(cast("Case", SimpleNamespace(evidence=evidence))))  # noqa: SLF001
    assert found == ({"the KMS's own answer": claimed} if claimed else {})
