"""A history is shown of the app that was asked for, and that a genuine guest proves to be."""

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from verifier.audit import app_timeline, audit_bundle
from verifier.chain.view import ChainView
from verifier.cli.question import simulated_question
from verifier.collection import Sources, collect_evidence
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import Knobs
from verifier.lab.world import build
from verifier.model.report import Report
from verifier.model.timeline import ExposureKind, Timeline
from verifier.policy.policy import load_policy
from verifier.report.audit.json import render_json
from verifier.report.timeline.overview import timeline_summary


def asked(knobs: Knobs) -> tuple[Callable[[], Timeline], Report]:
    world = build(knobs)
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False)
    bundle = collect_evidence(question, sources, lambda: world.now)
    report = audit_bundle(bundle, world.app_id, question, load_policy("baseline"))
    return lambda: app_timeline(bundle, question), report


def test_the_honest_app_has_a_history() -> None:
    timeline, report = asked(Knobs())
    assert any(item.kind is ExposureKind.RUNNING_ALLOWED for item in timeline().exposures)
    assert report.timeline == timeline()
    assert json.loads(render_json(report))["history"] == list(timeline_summary(timeline()))


def test_another_app_than_the_one_asked_for_has_none() -> None:
    timeline, report = asked(Knobs(guest_app_id=bytes(19) + b"\x07"))
    with pytest.raises(EvidenceError, match="is the app 00"):
        timeline()
    assert report.timeline is None


def test_where_nobody_asks_for_an_app_it_is_the_one_that_answers() -> None:
    world = build(Knobs())
    named = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False)
    bundle = collect_evidence(named, sources, lambda: world.now)
    assert app_timeline(bundle, replace(named, app_id=None)).app_id == world.app_id


def test_an_app_that_its_kms_does_not_know_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChainView, "app_address", lambda _: "")
    timeline, report = asked(Knobs())
    with pytest.raises(MissingEvidence, match="no such app registered"):
        timeline()
    assert report.timeline is None


def test_a_log_that_does_not_replay_proves_no_app() -> None:
    def edit(log: list[JsonObject]) -> list[JsonObject]:
        return [*log[:-1], {**log[-1], "event_payload": "00"}]

    timeline, report = asked(Knobs(edit_log=edit))
    with pytest.raises(MissingEvidence, match="does not prove which app it is: runtime"):
        timeline()
    assert report.timeline is None


def test_a_quote_of_another_root_proves_no_app() -> None:
    timeline, report = asked(Knobs(rogue=frozenset({"pck"})))
    with pytest.raises(MissingEvidence, match=r"hardware\.quote does not hold"):
        timeline()
    assert report.timeline is None


def test_an_unknown_operating_system_proves_nothing_that_runs() -> None:
    timeline, _ = asked(Knobs(os_image="self-built"))
    found = timeline()
    assert not any(item.kind is ExposureKind.RUNNING_ALLOWED for item in found.exposures)
    assert "not identified" in found.notes[0]
