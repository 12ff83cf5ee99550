"""Every attack of the catalogue is refused by the check that it names, in whichever words; every
twin passes."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fixtures import vectors
from tests.worlds.attacked import carry_out
from tests.worlds.audited import Audited, judged, shuffled
from tests.worlds.monotone import sampled
from tests.worlds.reworded import decided, reworded
from verifier.checks.catalogue import CHECKS
from verifier.checks.engine import CheckSpec
from verifier.cli.output import exit_code
from verifier.lab.attacks import ATTACKS, Attack, gpu, host, render_attacks, snp
from verifier.lab.attacks.attack import HONEST
from verifier.lab.knobs import Knobs
from verifier.lab.world import DOMAIN
from verifier.model.result import CheckResult, SkipKind, Status, Verdict

USABLE = (Status.PASS, Status.WARN)
DAMAGES = 2
"""Parts of each world that are removed or spoiled; a run of its own does all of them."""

WARNS_ONLY = {"hardware.freshness", "endpoint.logged"}
"""Checks about what is doubtful, never false: no evidence can make them fail."""

every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)


UNSHOWN = {
    *("simulator-image", "simulator-app-id", "simulator-quote", "simulator-root-key"),
    *("instance-absent", "instance-answers-for-another", "endpoint-of-another-app"),
}
"""Attacks on a link of the corpus that do not show in its files, or only by other reference values
than their twins': `fixtures.vectors` makes no vector of them."""


def drifted(files: vectors.Files, *, shown: bool = True) -> list[str]:
    """The files of a vector that are not what the corpus holds: all of them where it has to have
    the vector, and has not."""
    if not shown and not any(
        (vectors.ROOT / name).exists() for name in files if "/vector." in name
    ):
        return []
    here = {name: vectors.ROOT / name for name in files}
    return [
        name
        for name, raw in files.items()
        if not here[name].is_file() or here[name].read_bytes() != raw
    ]


def notices(attack: Attack, result: CheckResult) -> bool:
    if attack.outcome == "refused":
        return result.status in (Status.FAIL, Status.ERROR)
    if attack.outcome == "warned":
        return result.status is Status.WARN
    return result.skip_kind is SkipKind.MISSING_EVIDENCE


@every_attack
def test_the_named_check_notices_and_nothing_is_affirmed(attack: Attack) -> None:
    audited = carry_out(attack)
    assert audited.report.verdict is not Verdict.AFFIRMING
    assert exit_code(audited.report) != 0
    for check_id in attack.refused_by:
        results = audited.check(check_id)
        assert any(notices(attack, result) for result in results), results
    assert not [
        result.reason
        for subject in audited.report.subjects
        for result in subject.checks
        if "crashed" in result.reason
    ]
    assert decided(reworded(audited)) == decided(audited)
    assert judged(audited.again(shuffled(audited.bundle, attack.name))) == judged(audited)
    assert not sampled(attack.name, audited, DAMAGES)
    assert not drifted(vectors.of_forged(attack, audited), shown=attack.name not in UNSHOWN)


@every_attack
def test_the_honest_twin_passes_where_the_attack_is_refused(
    attack: Attack, twin: Callable[..., Audited]
) -> None:
    audited = twin(attack.twin, attack.twin_endpoint or attack.endpoint, attack.instances)
    # Whoever names instances asks for more than the twin of a vector holds.
    forged = not attack.instances and any(vectors.ROOT.glob(f"*/{attack.name}_fail"))
    assert not drifted(vectors.of_honest(attack, audited), shown=forged)
    if attack.twin_handed_over is not None:
        audited = audited.handing_over(attack.twin_handed_over(audited.world))
    if attack.twin_edit_artifact is not None:
        audited = audited.editing(attack.twin_edit_artifact)
    if attack.second_opinion:
        audited = audited.again(second_opinion=True)
    if attack.governance:
        audited = audited.demanding(attack.governance)
    if attack.policy:
        audited = audited.under(attack.policy)
    if attack.twin_expected_images:
        audited = audited.expecting(attack.twin_expected_images)
    assert audited.report.verdict is attack.twin_verdict
    assert (exit_code(audited.report) == 0) == (attack.twin_verdict is Verdict.AFFIRMING)
    for check_id in attack.refused_by:
        for result in audited.check(check_id):
            assert result.status in USABLE or result.skip_kind is SkipKind.NOT_APPLICABLE
            assert not notices(attack, result)


@pytest.mark.parametrize("spec", CHECKS, ids=lambda spec: spec.id)
def test_every_check_passes_honest_evidence_and_refuses_some_attack(
    spec: CheckSpec, met: Audited, twin: Callable[..., Audited]
) -> None:
    check_id = spec.id
    world = met
    if check_id == gpu.CHECK:
        with_gpus = twin(gpu.WITH_GPUS)
        world = with_gpus.handing_over(gpu.honest(with_gpus.world))
    if check_id == snp.CHECK:
        world = met.handing_over(snp.honest(met.world))
    if check_id == "endpoint.logged":
        world = twin(HONEST, DOMAIN)
    if check_id == host.CHECK:
        world = met.handing_over(host.honest(met.world)).under(host.policy())
    assert [result.status for result in world.check(check_id)] == [Status.PASS]
    assert world.report.verdict is Verdict.AFFIRMING
    outcome = "warned" if check_id in WARNS_ONLY else "refused"
    assert [
        attack.name
        for attack in ATTACKS
        if check_id in attack.refused_by and attack.outcome == outcome
    ]


def test_a_kms_without_a_contract_is_a_warning(twin: Callable[[Knobs], Audited]) -> None:
    hosted = twin(Knobs(kms="hosted"))
    assert hosted.report.verdict is Verdict.WARNING
    for check_id in ("authorization.contract", "authorization.allowed"):
        assert [result.status for result in hosted.check(check_id)] == [Status.WARN]


def test_names_are_unique_and_outcomes_explained() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names) >= 60
    assert [item.name for item in ATTACKS if bool(item.why) == (item.outcome == "refused")] == []


def test_the_page_is_generated_from_the_catalogue() -> None:
    page = Path(__file__).parents[2] / "docs" / "attacks.md"
    assert page.read_text(encoding="utf-8") == render_attacks()
