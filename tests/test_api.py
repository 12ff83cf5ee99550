"""The front door, as a program enters it."""

import pytest

import verifier
from verifier.api import Audit, Past, Sources, collect, collect_evidence, verify
from verifier.cli.question import simulated_question
from verifier.errors import UsageError
from verifier.evidence.bundle import BundleBuilder
from verifier.lab.world import build
from verifier.model.result import Verdict
from verifier.policy.policy import load_policy


def test_one_audit_gives_the_report_and_the_timeline() -> None:
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    sources = Sources(responder=world.respond, cloud=False, past=Past.APP)
    bundle = collect_evidence(question, sources, lambda: world.now)
    audit = Audit(target="the app", question=question, bundle=bundle)
    report = audit.report(load_policy("baseline"))
    assert (report.target, report.verdict, report.accepted) == (
        "the app",
        Verdict.AFFIRMING,
        True,
    )
    assert audit.timeline().app_id == world.app_id
    assert audit.timeline(world.now - 1).on == world.now - 1


def test_the_short_forms_ask_by_the_real_reference_values() -> None:
    world = build()
    sources = Sources(responder=world.respond, cloud=False, past=Past.NONE)
    bundle = collect(world.app_id, clock=lambda: world.now, sources=sources)
    policy = load_policy("genuine")
    report = verify(bundle, world.app_id, at=world.now, policy=policy, trusted=True)
    assert bundle.artifacts
    assert report.verdict in {Verdict.NONE, Verdict.CONTRAINDICATED}
    assert not report.accepted
    assert report.bundle_digest == bundle.digest


def test_no_app_id_is_an_error() -> None:
    with pytest.raises(UsageError, match="not an app id"):
        verify(BundleBuilder().build(), "2c0a", at=0, policy=load_policy("baseline"))
    with pytest.raises(UsageError, match="not an app id"):
        collect("2c0a", clock=lambda: 0)


def test_the_package_names_what_it_gives() -> None:
    for name in verifier.__all__:
        assert getattr(verifier, name) is not None
    assert verifier.verify is verify
    with pytest.raises(AttributeError, match="nothing"):
        _ = verifier.nothing
