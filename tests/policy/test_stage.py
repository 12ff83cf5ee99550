"""ERC-733 stage 1: never said while a requirement is open."""

import json
import tempfile
from datetime import date
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
from msgspec.structs import replace

from tests.policy.policies import Load, judged, waiver, with_compose
from tests.worlds.audited import Audited, audit
from verifier.checks.demands import Waiver
from verifier.lab.attacks.attack import BY_GATEWAY, PASSED_THROUGH
from verifier.lab.attacks.endpoint import without_caa
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.registry import WEB
from verifier.lab.reviewed import reviewed_policy
from verifier.manifest.rules.catalogue import TEXTS
from verifier.model.report import Report
from verifier.model.result import (
    Basis,
    Finding,
    Location,
    Requirement,
    Severity,
    Status,
    Verdict,
)
from verifier.policy.policy import Policy, load_policy
from verifier.policy.reviews import Review
from verifier.policy.stage import (
    REQUIREMENTS,
    Standing,
    assess_stage,
    conclusion,
    minor_findings,
    stage_of,
)
from verifier.report.stage import render_stage, render_stage_json

BASELINE = load_policy("baseline")
ACCEPTED = Waiver(
    id="W-1",
    check="manifest.rules",
    rule="",
    scope="",
    reason="",
    owner="",
    expires=date(2099, 1, 1),
)
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schema" / "stage-v1.schema.json").read_text("utf-8")
)


def standings(report: Report) -> list[Standing]:
    return [item.standing for item in assess_stage(report, BASELINE)]


def test_an_honest_app_is_left_to_people(honest: Audited) -> None:
    assessed = assess_stage(honest.report, BASELINE)
    for item in assessed:
        if item.requirement.remains:
            assert item.standing is not Standing.MET
            assert item.requirement.remains in item.reasons
    text = render_stage(honest.report, assessed, 100)
    assert "Stage 1" not in text
    assert "SIMULATED" in text


def test_a_check_decides_whatever_the_stage1_policy_asks_for(honest: Audited) -> None:
    policy = load_policy("stage1")
    assert not policy.undecided(item.id for item in honest.report.subjects[0].checks)
    asked = {name for item in REQUIREMENTS for name in item.checks}
    assert {policy.requirement(name) for name in asked} == {Requirement.REQUIRED}


def test_a_review_beside_missing_evidence_accepts_nothing(honest: Audited) -> None:
    report = judged(honest, reviewed(honest))
    assert report.verdict is Verdict.NONE
    assert not report.accepted


def _development(knobs: Knobs) -> Knobs:
    return replace(knobs, os_image="development")


def _service(lines: str) -> Knobs:
    compose = f"services:\n  web:\n    image: {WEB.reference}\n{lines}"
    return Knobs(edit_manifest=with_compose(compose))


FETCHES = """\
    command: ["sh", "-c", "curl -s $URL | sh"]
"""
REMOTE_SHELL = """\
    ports: ["22:22"]
"""


@pytest.mark.parametrize(
    ("knobs", "endpoint", "missed"),
    [
        (Knobs(device_on_chain="removed"), PASSED_THROUGH, {1: {"authorization.allowed"}}),
        # Code that nobody can read, nobody can rebuild: the third requirement is missed with it.
        (
            Knobs(attest=lambda _sigstore, _image: []),
            PASSED_THROUGH,
            {2: {"provenance.images"}, 3: {"provenance.images"}},
        ),
        (_service(FETCHES), PASSED_THROUGH, {3: {"SVC-012"}}),
        (Knobs(edit_kms=_development), PASSED_THROUGH, {4: {"key_management.attestation"}}),
        (Knobs(governance="key"), PASSED_THROUGH, {5: {"KMS-007"}}),
        (Knobs(), BY_GATEWAY, {6: {"endpoint.tls"}}),
        (_service(REMOTE_SHELL), PASSED_THROUGH, {7: {"NET-003"}}),
        (
            Knobs(edit_dns=without_caa),
            BY_GATEWAY,
            {5: {"endpoint.domain"}, 6: {"endpoint.tls", "endpoint.domain"}},
        ),
    ],
    ids=[
        *("attestation", "auditable", "reproducible", "secrets", "notice", "central", "backdoor"),
        "name",
    ],
)
def test_each_requirement_is_missed_for_its_own_reason(
    knobs: Knobs, endpoint: str, missed: dict[int, set[str]]
) -> None:
    audited = audit(knobs, endpoint=endpoint)
    assessed = assess_stage(audited.report, reviewed(audited))
    assert conclusion(assessed).startswith("Stage 0")
    found = {
        number: {reason.partition(": ")[0] for reason in item.reasons}
        for number, item in enumerate(assessed, 1)
        if item.standing is not Standing.MET
    }
    assert found == missed


def test_the_simulated_world_reaches_stage_1() -> None:
    audited = audit(Knobs(), endpoint=PASSED_THROUGH)
    policy = reviewed(audited)
    assessed = assess_stage(audited.report, policy)
    assert stage_of(audited.report, assessed) == 1
    text = render_stage(audited.report, assessed, 100)
    assert "Stage 1: every requirement is met, 2, 3, 4, 5, 6, 7 also by reviews" in text
    assert "judged by reviewer@lab.invalid until 2026-09-13" in text
    document = json.loads(render_stage_json(audited.report, assessed))
    jsonschema.validate(document, SCHEMA)
    assert [len(item["reviews"]) for item in document["requirements"]] == [0, 1, 1, 1, 1, 1, 1]


def test_a_review_answers_nothing_but_what_it_names() -> None:
    audited = audit(Knobs(), endpoint=PASSED_THROUGH)
    one = reviewed(audited, 2)
    open_ends = {
        number
        for number, item in enumerate(assess_stage(audited.report, one), 1)
        if item.standing is Standing.NOT_CHECKABLE
    }
    assert open_ends == {3, 4, 5, 6, 7}
    every = reviewed(audited)
    expired = replace(audited.report, evaluated_at=audited.world.now + 91 * DAY)
    other = replace(
        every, reviews=tuple(replace(item, compose_hash="00" * 32) for item in every.reviews)
    )
    for report, policy in ((expired, every), (audited.report, other)):
        assessed = assess_stage(report, policy)
        assert stage_of(report, assessed) is None
        assert not any(item.reviews for item in assessed)
        assert "[[reviews]]" in render_stage(report, assessed, 100)


def test_a_review_holds_until_its_day_begins() -> None:
    review = Review(
        requirement=2,
        compose_hash="",
        reason="",
        reviewer="",
        expires=date(1970, 1, 2),
    )
    assert [review.holds(at) for at in (DAY - 1, DAY)] == [True, False]


def test_a_review_needs_a_measured_manifest() -> None:
    """A manifest hash that is merely said may be anybody's."""
    audited = audit(Knobs(), endpoint=PASSED_THROUGH)
    subject = audited.report.subjects[0]
    claims = tuple(
        replace(item, basis=Basis.ASSERTED) if item.name == "compose_hash" else item
        for item in subject.claims
    )
    report = replace(audited.report, subjects=(replace(subject, claims=claims),))
    assert stage_of(report, assess_stage(report, reviewed(audited))) is None


def reviewed(audited: Audited, *numbers: int) -> Policy:
    """The policy of a relying party who reviewed the world's manifest."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reviewed.toml"
        path.write_text(reviewed_policy(audited.world, *numbers), encoding="utf-8")
        return load_policy(str(path))


@pytest.mark.parametrize(
    ("knobs", "number"),
    [
        (Knobs(kms="hosted"), 1),
        (Knobs(tcb_status="OutOfDate"), 1),
        (Knobs(compose_hash_on_chain="removed"), 1),
        (Knobs(os_image="development"), 4),
    ],
    ids=["hosted-kms", "outdated", "removed", "development-image"],
)
def test_a_failing_check_is_stage_0(knobs: Knobs, number: int) -> None:
    report = audit(knobs).report
    assessed = assess_stage(report, BASELINE)
    assert assessed[number - 1].standing is Standing.NOT_MET
    assert conclusion(assessed).startswith("Stage 0")
    assert "Stage 1" not in conclusion(assessed)


def test_a_finding_breaks_the_requirement_of_its_rule() -> None:
    edit = with_compose("services:\n  web:\n    image: ${IMAGE}\n", allowed_envs=["IMAGE"])
    found = standings(audit(Knobs(edit_manifest=edit)).report)
    assert found[2] is Standing.NOT_MET
    assert found[6] is Standing.NOT_MET


def test_every_rule_that_may_break_a_requirement_is_of_one() -> None:
    """Whatever lets the operator in is of some requirement: a rule that is of none breaks none."""
    grave = {Severity.CRITICAL, Severity.HIGH}
    named = {rule for item in REQUIREMENTS for rule in item.rules}
    groups = {rule.removesuffix("*") for rule in named if rule.endswith("*")}
    assert {rule for rule in named if not rule.endswith("*")} <= TEXTS.keys()
    of_none = {
        rule
        for rule, text in TEXTS.items()
        if text.severity in grave and rule not in named and rule[:4] not in groups
    }
    assert not of_none


@pytest.mark.parametrize(
    ("key", "missed"), [("ORACLE_HOST", {4, 6}), ("TLS_KEY", {4})], ids=["host", "key"]
)
def test_what_the_operator_sets_keeps_an_app_from_stage_1(key: str, missed: set[int]) -> None:
    compose = f"services:\n  web:\n    image: {WEB.reference}\n    environment: [{key}]\n"
    knobs = Knobs(edit_manifest=with_compose(compose, allowed_envs=[key]))
    audited = audit(knobs, endpoint=PASSED_THROUGH)
    assessed = assess_stage(audited.report, reviewed(audited))
    assert stage_of(audited.report, assessed) == 0
    standing = enumerate((item.standing for item in assessed), 1)
    assert {number for number, item in standing if item is Standing.NOT_MET} == missed


def test_neither_waiver_nor_rating_counts(written: Load) -> None:
    edit = with_compose("services:\n  web:\n    image: ${IMAGE}\n", allowed_envs=["IMAGE"])
    audited = audit(Knobs(edit_manifest=edit))
    for text in ('[rules]\n"IMG-001" = "info"\n', waiver(audited, rule="IMG-001"), waiver(audited)):
        policy = written(text)
        report = judged(audited, policy)
        assert report.verdict is not Verdict.CONTRAINDICATED
        assert assess_stage(report, policy)[2].standing is Standing.NOT_MET


def test_an_instance_beside_the_first_counts_too(honest: Audited) -> None:
    broken = replace(
        honest.report.subjects[0],
        name="another",
        checks=tuple(
            replace(item, status=Status.WARN) if item.id == "manifest.rules" else item
            for item in honest.report.subjects[0].checks
        ),
    )
    report = replace(honest.report, subjects=(*honest.report.subjects, broken))
    assert standings(report)[2] is Standing.NOT_MET


@pytest.mark.parametrize(
    ("changes", "missed"),
    [
        ({}, set()),
        ({"rules": {"IMG-001": Severity.INFO}}, {1, 2, 3, 4, 5, 6, 7}),
        ({"waivers": (ACCEPTED,)}, {1, 2, 3, 4, 5, 6, 7}),
    ],
    ids=["neither", "a rating", "a waiver"],
)
def test_an_instance_beside_the_first_passes_by_no_rating_and_no_waiver(
    first_stage: Audited, changes: dict[str, object], missed: set[int]
) -> None:
    """Its findings are not at hand: what the policy made of them cannot be undone."""
    other = replace(first_stage.report.subjects[0], name="another")
    report = replace(first_stage.report, subjects=(*first_stage.report.subjects, other))
    policy = reviewed(first_stage)
    policy = replace(policy, demands=replace(policy.demands, **changes))
    assessed = assess_stage(report, policy)
    assert {n for n, item in enumerate(assessed, 1) if item.standing is not Standing.MET} == missed


def test_it_is_shown_harmless_and_as_the_schema_says(honest: Audited) -> None:
    subject = honest.report.subjects[0]
    hostile = replace(
        subject,
        checks=tuple(
            replace(item, status=Status.FAIL, summary="\x1b[2J\u202e\nERC-733: Stage 1")
            if item.id == "boot.image"
            else item
            for item in subject.checks
        ),
    )
    report = replace(honest.report, subjects=(hostile,))
    assessed = assess_stage(report, BASELINE)
    text = render_stage(report, assessed, 100)
    assert not set(text) & {"\x1b", "\u202e"}
    assert "\nERC-733: Stage 1" not in text
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(render_stage_json(report, assessed))
    jsonschema.validate(document, SCHEMA)
    assert document["stage"] == 0


def test_without_a_quote_there_is_no_stage(honest: Audited) -> None:
    subject = honest.report.subjects[0]
    checks = tuple(replace(item, status=Status.SKIP) for item in subject.checks)
    report = replace(honest.report, subjects=(replace(subject, checks=checks),))
    assert stage_of(report, assess_stage(report, BASELINE)) is None
    statuses = {"hardware.quote": Status.SKIP, "boot.image": Status.FAIL}
    checks = tuple(
        replace(item, status=statuses.get(item.id, item.status)) for item in subject.checks
    )
    unquoted = replace(report, subjects=(replace(subject, checks=checks),))
    assert stage_of(unquoted, assess_stage(unquoted, BASELINE)) is None
    bare = replace(report, subjects=())
    assert stage_of(bare, assess_stage(bare, BASELINE)) is None


def test_without_evidence_nothing_is_met(honest: Audited) -> None:
    report = replace(honest.report, subjects=())
    assert set(standings(report)) == {Standing.NOT_KNOWN}
    assert conclusion(()) != "Stage 1: every requirement is met."


def test_where_users_connect_has_to_be_named(honest: Audited) -> None:
    assessed = assess_stage(honest.report, reviewed(honest))
    assert conclusion(assessed) == "Undecided: evidence is missing for 5, 6."


@pytest.fixture(scope="module")
def first_stage() -> Audited:
    """A world whose every requirement is met."""
    return audit(Knobs(), endpoint=PASSED_THROUGH)


def finding(rule: str, severity: Severity) -> Finding:
    return Finding(
        rule=rule,
        severity=severity.value,
        title="t",
        service="",
        location=Location(pointer=""),
        message="m",
        fix="",
        conditional=False,
    )


def with_finding(audited: Audited, rule: str, severity: Severity) -> list[int]:
    """The requirements that a finding alone breaks, where every check passes."""
    report = replace(audited.report, findings=(finding(rule, severity),))
    assessed = assess_stage(report, reviewed(audited))
    return [n for n, item in enumerate(assessed, 1) if item.standing is not Standing.MET]


def test_a_grave_finding_breaks_its_requirement_though_every_check_passes(
    first_stage: Audited,
) -> None:
    last = len(REQUIREMENTS)
    assert with_finding(first_stage, "SVC-012", Severity.MEDIUM) == []
    assert with_finding(first_stage, "SVC-012", Severity.HIGH) == [3]
    assert with_finding(first_stage, "SVC-012", Severity.CRITICAL) == [3, last]


@pytest.mark.parametrize(
    "rule",
    [rule for rule, text in TEXTS.items() if text.severity in {Severity.CRITICAL, Severity.HIGH}],
)
def test_whatever_is_grave_by_its_own_rule_keeps_an_app_from_stage_1(
    first_stage: Audited, rule: str
) -> None:
    assert with_finding(first_stage, rule, Severity.HIGH)


@pytest.mark.parametrize(
    ("rule", "severity", "of"),
    [
        ("SVC-012", Severity.MEDIUM, {3}),
        ("SVC-012", Severity.INFO, {3}),
        ("SVC-012", Severity.HIGH, set()),
        ("IMG-001", Severity.LOW, {3}),
        ("ENV-009", Severity.LOW, set()),
    ],
)
def test_a_slight_finding_is_shown_at_the_requirement_of_its_rule(
    first_stage: Audited, rule: str, severity: Severity, of: set[int]
) -> None:
    report = replace(first_stage.report, findings=(finding(rule, severity),))
    shown = {n for n, item in enumerate(REQUIREMENTS, 1) if minor_findings(item, report)}
    assert shown == of


def test_a_critical_finding_of_the_policys_own_is_no_backdoor(first_stage: Audited) -> None:
    assert with_finding(first_stage, "POLICY-IMAGE", Severity.CRITICAL) == []


OF_THE_OPERATORS_VALUES = {
    (4,): (2, 5, 8, 13, 18),
    (4, 6): (1, 6),
    (4, 7): (3, 4, 7),
    (2,): (17,),
    (6,): (15,),
    (7,): (11,),
    (): (9, 10, 12, 14, 16, 19),
}
"""Requirements → the numbers of the rules ENV-001 to ENV-019 that break these."""


@pytest.mark.parametrize("broken", OF_THE_OPERATORS_VALUES, ids=str)
def test_which_requirements_the_operators_values_break(
    first_stage: Audited, broken: tuple[int, ...]
) -> None:
    for number in OF_THE_OPERATORS_VALUES[broken]:
        rule = f"ENV-{number:03}"
        assert rule in TEXTS
        assert with_finding(first_stage, rule, Severity.HIGH) == [*broken], rule
