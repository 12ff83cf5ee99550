"""Honest guests that a careless auditor refuses, and facts that it calls proven too early."""

import json
from collections.abc import Mapping
from typing import Literal

import pytest

from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_reference
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Bundle, Kind
from verifier.evidence.import_files import import_files
from verifier.lab.events import runtime_event
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault
from verifier.lab.world import World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import Status, Verdict
from verifier.policy.policy import load_policy
from verifier.report.audit.answers import Standing, standing

CHALLENGE = b"\5" * 64
KEY_FACTS = ("kms", "kms_root", "app_contract", "app_owner", "kms_owner")


def audited(world: World, respond: object = None, **asked: object) -> Report:
    fields = {
        "app_id": AppId(world.app_id),
        "reference": simulated_reference(world.reference()),
        "at": world.now,
        "trusted": True,
    }
    question = Question(**(fields | asked))  # type: ignore[arg-type]
    sources = Sources(
        responder=respond or world.respond,  # type: ignore[arg-type]
        cloud=False,
        instances=question.instances,
    )
    bundle = collect_evidence(question, sources, lambda: world.now)
    return audit_bundle(bundle, world.app_id, question, load_policy("baseline"))


def checks(report: Report) -> dict[str, Status]:
    return {check.id: check.status for check in report.subjects[0].checks}


@pytest.mark.parametrize("version", ["0.5.3", "0.5.5", "0.5.8", "0.6.0"])
def test_a_certificate_from_before_the_app_wrote_an_event(version: str) -> None:
    before = build(Knobs(version=version))
    after = build(
        Knobs(
            version=version,
            edit_events=lambda log: [*log, runtime_event("mpc-image-digest", b"x" * 32)],
        )
    )

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        response = after.respond(method, url, headers, body)
        if "Info" not in url:
            return response
        document = json.loads(response.body)
        if document.get("app_cert"):
            document["app_cert"] = before.guest.app_cert
        raw = json.dumps(document).encode()
        return Response(status=response.status, headers=response.headers, body=raw)

    assert audited(after, respond).verdict is Verdict.AFFIRMING


def test_a_log_that_leaves_the_measured_one_is_another_boot() -> None:
    here = build()
    there = build(Knobs(no_instance_id=True))

    def respond(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Response:
        world = there if "GetAttestationForAppKey" in url else here
        return world.respond(method, url, headers, body)

    report = audited(here, respond)
    assert report.verdict is not Verdict.AFFIRMING


@pytest.mark.parametrize("image", ["mine", "development"])
def test_nothing_about_keys_is_proven_under_an_unknown_os(image: str) -> None:
    subject = audited(build(Knobs(os_image=image))).subjects[0]
    found = [claim for claim in subject.claims if claim.name in KEY_FACTS]
    assert found
    assert {standing(claim, subject.checks) for claim in found} == {Standing.NOT_KNOWN}


@pytest.mark.parametrize("form", ["quote", "msgpack-v1"])
def test_the_second_version_of_events_in_a_certificate(
    form: Literal["quote", "msgpack-v1"],
) -> None:
    report = audited(build(Knobs(event_log_version=2, cert_attestation=form)))
    assert report.verdict is Verdict.AFFIRMING


def test_one_of_two_honest_instances() -> None:
    world = build(Knobs(others=(Knobs(),)))
    for instance in world.instance_ids:
        report = audited(world, instances=(instance,))
        assert report.verdict is Verdict.AFFIRMING, instance


def test_an_instance_id_in_the_place_of_an_app_id_is_no_other_app() -> None:
    world = build()
    report = audited(world, app_id=AppId(world.instance_ids[0]))
    assert checks(report)["application.identity"] is Status.SKIP
    assert report.verdict is Verdict.NONE


def test_a_kms_that_was_upgraded_to_known_code_is_a_reservation() -> None:
    world = build()
    document = json.loads(world.reference())
    for row in document["kms"]:
        row["generation"] = "G4"
    reference = simulated_reference(json.dumps(document).encode())
    report = audited(world, reference=reference)
    assert checks(report)["authorization.contract"] is Status.WARN


@pytest.mark.parametrize(
    ("knobs", "verdict"),
    [
        (Knobs(upgrades_disabled=True), Verdict.AFFIRMING),
        (Knobs(allow_any_device=True), Verdict.WARNING),
    ],
)
def test_a_flag_that_no_event_carries_is_read_from_the_creation(
    knobs: Knobs, verdict: Verdict
) -> None:
    report = audited(build(knobs))
    assert checks(report)["authorization.history"] is Status.PASS
    assert report.verdict is verdict


@pytest.mark.parametrize("operators", ["a", "ab"])
def test_nodes_without_archive_give_a_whole_history(operators: str) -> None:
    report = audited(build(Knobs(rpc_faults=dict.fromkeys(operators, RpcFault.NO_ARCHIVE))))
    assert report.verdict is Verdict.AFFIRMING


def test_nodes_that_refuse_wide_ranges_give_a_whole_history() -> None:
    assert audited(build(Knobs(log_range=1_000_000))).verdict is Verdict.AFFIRMING


def test_without_its_transaction_nobody_knows_who_created_the_app() -> None:
    faults = dict.fromkeys("ab", RpcFault.NO_TRANSACTIONS)
    held = checks(audited(build(Knobs(rpc_faults=faults))))
    assert held["authorization.history"] is Status.WARN


def three_apps() -> list[World]:
    return [
        build(Knobs(seed=f"app {number}", app_name=f"app-{number}", key_provider="none"))
        for number in range(3)
    ]


def report_of(*worlds: World) -> Bundle:
    """A provider's report: the first world is the gateway, the others serve models."""
    entries = [
        {"intel_quote": item.guest.quote(CHALLENGE).hex(), "event_log": item.guest.log,
         "info": item.guest.info} for item in worlds
    ]  # fmt: skip
    report = {"gateway_attestation": entries[0], "model_attestations": entries[1:]}
    files = [("report", json.dumps(report).encode())]
    files += [(f"{n}", json.dumps(w.collateral.document()).encode()) for n, w in enumerate(worlds)]
    return import_files(files, collected_at=worlds[0].now)


@pytest.mark.parametrize("asked", range(3))
def test_of_a_providers_report_the_app_in_question_is_judged(asked: int) -> None:
    worlds = three_apps()
    report = judged(report_of(*worlds), worlds[asked])
    assert report.verdict is Verdict.AFFIRMING
    (subject,) = report.subjects
    assert subject.name.startswith("model_attestations/" if asked else "gateway_attestation/")


def test_a_report_about_other_apps_affirms_none() -> None:
    worlds = three_apps()
    report = judged(report_of(*worlds[:2]), worlds[2])
    assert len(report.subjects) == 2
    assert report.verdict is Verdict.CONTRAINDICATED


def test_a_report_that_only_states_the_app_in_question_is_refused() -> None:
    worlds = three_apps()
    bundle = report_of(*worlds[:2])
    forged = {
        str(item.sha256): bundle.blob(item).replace(
            f'"app_id": "{worlds[1].app_id}"'.encode(), f'"app_id": "{worlds[2].app_id}"'.encode()
        )
        for item in bundle.of(Kind.INFO)
    }
    lying = Bundle(bundle.artifacts, {**bundle.blobs, **forged})
    report = judged(lying, worlds[2])
    assert len(report.subjects) == 1
    assert report.verdict is Verdict.CONTRAINDICATED


def judged(bundle: Bundle, world: World) -> Report:
    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(world.reference()),
        at=world.now,
        trusted=False,
        challenge=CHALLENGE,
    )
    return audit_bundle(bundle, "report", question, load_policy("genuine"))
