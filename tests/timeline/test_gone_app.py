"""The history of an app that no longer runs, or that hides: its contracts are public."""

import pytest
from msgspec.structs import replace

from verifier.audit import app_timeline, audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_question
from verifier.collection import Sources, collect_evidence
from verifier.errors import MissingEvidence
from verifier.lab.knobs import Knobs
from verifier.lab.response import NOT_FOUND, Response
from verifier.lab.world import World, build
from verifier.model.result import Verdict
from verifier.policy.policy import load_policy


def silent(_method: str, url: str, _body: bytes, response: Response) -> Response:
    return NOT_FOUND if "-8090." in url else response


@pytest.fixture(scope="module")
def world() -> World:
    return build(Knobs(edit_response=silent))


@pytest.fixture(scope="module")
def asked(world: World) -> Question:
    plain = simulated_question(world.app_id, world.reference(), world.now)
    return replace(plain, kms=next(row for row in plain.reference.kms if row.contract))


def test_its_history_is_shown_under_the_kms_that_is_named(world: World, asked: Question) -> None:
    sources = Sources(responder=world.respond, cloud=False)
    bundle = collect_evidence(asked, sources, lambda: world.now)
    timeline = app_timeline(bundle, asked)
    assert timeline.complete
    assert timeline.app_state.compose_hashes
    assert "says nothing of what runs" in timeline.notes[0]
    report = audit_bundle(bundle, world.app_id, asked, load_policy("baseline"))
    assert report.verdict is Verdict.NONE
    assert report.timeline is None


def test_without_a_kms_the_error_says_what_to_name(world: World, asked: Question) -> None:
    unnamed = replace(asked, kms=None)
    sources = Sources(responder=world.respond, cloud=False)
    bundle = collect_evidence(unnamed, sources, lambda: world.now)
    with pytest.raises(MissingEvidence, match="asked for the guest's evidence") as raised:
        app_timeline(bundle, unnamed)
    assert "--kms" in raised.value.hint
