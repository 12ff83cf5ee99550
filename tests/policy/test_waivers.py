"""Waivers: what they accept, for whom and until when; and what they can never accept."""

import hashlib
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.policy.policies import Load, judged, result, waiver
from tests.worlds.audited import Audited, audit
from verifier.errors import PolicyError
from verifier.lab import forgeries as forge
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import device_ppid
from verifier.lab.registry import WEB
from verifier.model.result import Basis, Requirement, Status, Verdict
from verifier.policy.appraisal import appraise
from verifier.policy.policy import FLOOR, load_policy
from verifier.report.audit.terminal import render_terminal

TODAY = "2026-06-15"
TOMORROW = "2026-06-16"


@pytest.fixture(scope="module")
def outdated() -> Audited:
    """A world whose platform is out of date: hardware.tcb fails."""
    return audit(Knobs(tcb_status="OutOfDate"))


def test_a_waived_failure_is_shown_and_does_not_count(outdated: Audited, written: Load) -> None:
    assert outdated.report.verdict is Verdict.CONTRAINDICATED
    report = judged(outdated, written(waiver(outdated, check="hardware.tcb", expires=TOMORROW)))
    found = result(report, "hardware.tcb")
    assert report.verdict is Verdict.AFFIRMING
    assert found.status is Status.FAIL
    assert found.requirement is Requirement.NOT_ASKED
    assert f"[waived until {TOMORROW}]" in found.summary
    assert f"waived until {TOMORROW} (W-1, ops@example.org: a known thing)" in found.reason
    screen = " ".join(render_terminal(report, color=False, width=100).split())
    assert f"waived until {TOMORROW}" in screen


def test_a_waived_warning_does_not_count(doubtful: Audited, written: Load) -> None:
    report = judged(doubtful, written(waiver(doubtful)))
    assert (result(report).status, report.verdict) == (Status.WARN, Verdict.AFFIRMING)


def test_a_waiver_says_nothing_of_what_is_not_asked(outdated: Audited, written: Load) -> None:
    policy = written(waiver(outdated, check="hardware.tcb"))
    unasked = replace(policy, checks={**policy.checks, "hardware.tcb": Requirement.NOT_ASKED})
    found = result(judged(outdated, unasked), "hardware.tcb")
    assert (found.status, found.requirement) == (Status.FAIL, Requirement.NOT_ASKED)
    assert "waived" not in f"{found.summary} {found.reason}"


def test_it_stops_working_on_its_date_and_is_named(outdated: Audited, written: Load) -> None:
    report = judged(outdated, written(waiver(outdated, check="hardware.tcb", expires=TODAY)))
    found = result(report, "hardware.tcb")
    assert report.verdict is Verdict.CONTRAINDICATED
    assert not report.accepted
    assert found.requirement is Requirement.REQUIRED
    assert f"counts: its waiver expired on {TODAY} (W-1" in found.reason


def test_an_expired_waiver_of_a_rule_is_named_too(doubtful: Audited, written: Load) -> None:
    rule = next(f.rule for f in doubtful.report.findings if f.severity in ("high", "medium"))
    report = judged(doubtful, written(waiver(doubtful, rule=rule, expires=TODAY)))
    assert report.verdict is Verdict.WARNING
    assert f"its waiver expired on {TODAY}" in report.findings[0].message


def test_judging_as_of_earlier_does_not_revive_it(outdated: Audited, written: Load) -> None:
    policy = written(waiver(outdated, check="hardware.tcb", expires=TODAY))
    earlier = judged(outdated, policy, at=outdated.world.now - DAY)
    assert result(earlier, "hardware.tcb").requirement is Requirement.REQUIRED
    assert earlier.verdict is Verdict.CONTRAINDICATED


def test_judging_old_evidence_later_ends_it(outdated: Audited, written: Load) -> None:
    policy = written(waiver(outdated, check="hardware.tcb", expires=TOMORROW))
    later = judged(outdated, policy, at=outdated.world.now + DAY)
    assert "expired" in result(later, "hardware.tcb").reason


def test_it_holds_for_one_app(outdated: Audited, written: Load) -> None:
    policy = written(waiver(outdated, check="hardware.tcb", scope="11" * 20))
    assert judged(outdated, policy).verdict is Verdict.CONTRAINDICATED
    assert "waive" not in result(judged(outdated, policy), "hardware.tcb").reason


def test_what_was_not_evaluated_cannot_be_waived(written: Load) -> None:
    audited = audit(Knobs(edit_manifest=lambda m: {**m, "docker_compose_file": "services: ["}))
    report = judged(audited, written(waiver(audited)))
    assert result(report).status is Status.ERROR
    assert report.verdict is Verdict.NONE


def test_it_does_not_hide_an_unexpected_device(outdated: Audited, written: Load) -> None:
    policy = written(waiver(outdated, check="hardware.tcb"))
    assert judged(outdated, policy).verdict is Verdict.AFFIRMING
    elsewhere = policy.expecting({"device": ("22" * 32,)})
    assert judged(outdated, elsewhere).verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize("check", FLOOR)
def test_the_floor_is_never_waived(honest: Audited, written: Load, check: str) -> None:
    with pytest.raises(PolicyError, match="cannot be waived"):
        written(waiver(honest, check=check))


@pytest.mark.parametrize("check", ["hardware.tbc", "manifest"])
def test_a_waiver_of_no_check_is_refused(honest: Audited, written: Load, check: str) -> None:
    policy = written(waiver(honest, check=check))
    with pytest.raises(PolicyError, match="there is no check"):
        judged(honest, policy)


MALFORMED: dict[str, Callable[[str], str]] = {
    "date-as-text": lambda text: text.replace("2027-01-01", '"2027-01-01"'),
    "date-with-time": lambda text: text.replace("2027-01-01", "2027-01-01T00:00:00Z"),
    "no-date": lambda text: text.replace("expires = 2027-01-01\n", ""),
    "blank-reason": lambda text: text.replace("a known thing", "  "),
    "no-owner": lambda text: text.replace('owner = "ops@example.org"\n', ""),
    "empty-id": lambda text: text.replace('id = "W-1"', 'id = ""'),
    "number-as-id": lambda text: text.replace('id = "W-1"', "id = 5"),
    "misspelt-key": lambda text: text.replace("reason", "reasons"),
    "unknown-key": lambda text: text + 'service = "web"\n',
    "empty-rule": lambda text: text + 'rule = ""\n',
    "unknown-rule": lambda text: text + 'rule = "IMG-999"\n',
    "rule-of-another-check": lambda text: (
        text.replace("manifest.rules", "hardware.tcb") + 'rule = "IMG-001"\n'
    ),
    "twice": lambda text: text + text,
    "one-table": lambda text: text.replace("[[waivers]]", "[waivers]"),
    "every-app": lambda text: text.replace('scope = "', 'scope = "*'),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_waiver_is_refused(honest: Audited, written: Load, name: str) -> None:
    with pytest.raises(PolicyError):
        written(MALFORMED[name](waiver(honest)))


def test_waivers_are_part_of_the_digest(honest: Audited, written: Load) -> None:
    texts = [waiver(honest, expires=date) for date in (TODAY, TOMORROW)]
    digests = {written(text).digest for text in ("", *texts)}
    assert len(digests) == 3
    assert load_policy("baseline").digest not in digests


def test_a_platform_is_known_by_its_ppid_as_by_its_device_id(honest: Audited) -> None:
    knobs = honest.world.knobs
    ppid = device_ppid(f"{knobs.seed} {knobs.platform}")
    for given, verdict in (
        ((ppid.hex(), "22" * 16), Verdict.AFFIRMING),
        ((f"0x{hashlib.sha256(ppid).hexdigest()}",), Verdict.AFFIRMING),
        (("22" * 16,), Verdict.CONTRAINDICATED),
    ):
        policy = load_policy("baseline").expecting({"device": given})
        assert judged(honest, policy).verdict is verdict
    with pytest.raises(PolicyError, match="device"):
        load_policy("baseline").expecting({"device": ("22" * 20,)})


def test_it_holds_only_for_an_app_that_the_evidence_proves(
    outdated: Audited, written: Load
) -> None:
    """Whoever forges evidence chooses which app it says that it is of."""
    policy = written(waiver(outdated, check="hardware.tcb"))
    results, now = outdated.check("hardware.tcb"), outdated.world.now
    claims = outdated.claims()
    proven, _ = appraise(results, claims, policy, now)
    assert proven is appraise([], claims, policy, now)[0]
    for basis in set(Basis) - {Basis.HARDWARE, Basis.MEASURED, Basis.REFERENCE}:
        said = {**claims, "app_id": replace(claims["app_id"], basis=basis)}
        assert appraise(results, said, policy, now)[0] is Verdict.CONTRAINDICATED
    unsaid = {name: claim for name, claim in claims.items() if name != "app_id"}
    assert appraise(results, unsaid, policy, now)[0] is Verdict.CONTRAINDICATED


def test_it_does_not_hold_for_an_id_that_only_the_guest_says(
    outdated: Audited, written: Load
) -> None:
    """Without what a KMS signed for the quote, whoever runs the host chooses the app id."""
    unsigned = audit(Knobs(tcb_status="OutOfDate", edit_response=forge.no_certificate))
    assert unsigned.check("application.identity")[0].status is Status.WARN
    policy = written(waiver(outdated, check="hardware.tcb"))
    assert judged(outdated, policy).verdict is Verdict.AFFIRMING
    assert judged(unsigned, policy).verdict is Verdict.CONTRAINDICATED


def test_no_expected_app_is_one_of_which_only_the_guest_says_so(outdated: Audited) -> None:
    policy = load_policy("baseline").expecting(
        {"app_id": (str(outdated.claims()["app_id"].value),)}
    )
    unsigned = audit(Knobs(edit_response=forge.no_certificate))
    assert judged(audit(Knobs()), policy).verdict is Verdict.AFFIRMING
    assert judged(unsigned, load_policy("baseline")).verdict is Verdict.WARNING
    assert judged(unsigned, policy).verdict is Verdict.NONE


def test_it_holds_beside_an_expected_image_of_which_another_check_tells(
    outdated: Audited, written: Load
) -> None:
    policy = written(waiver(outdated, check="hardware.tcb"))
    name, _, digest = WEB.reference.partition("@")
    expecting = policy.expecting({"image": (f"{name}={digest}",)})
    assert judged(outdated, expecting).verdict is Verdict.AFFIRMING
    other = policy.expecting({"image": (f"{name}=sha256:{'22' * 32}",)})
    assert judged(outdated, other).verdict is Verdict.CONTRAINDICATED


def test_it_does_not_hide_an_unexpected_image(honest: Audited, written: Load) -> None:
    policy = written(waiver(honest, check="provenance.images"))
    assert judged(honest, policy).verdict is Verdict.AFFIRMING
    name = WEB.reference.partition("@")[0]
    other = policy.expecting({"image": (f"{name}=sha256:{'22' * 32}",)})
    assert judged(honest, other).verdict is Verdict.CONTRAINDICATED
