"""A certificate that no KMS issued for the guest, beside the one that it did, changes nothing."""

import json

import pytest
from msgspec.structs import replace

from tests.worlds.attacked import carry_out
from tests.worlds.audited import Audited, add
from verifier.evidence.bundle import Kind
from verifier.lab.attacks import ATTACKS
from verifier.model.result import Status, Verdict

_FORGED = ("certificate-usage", "certificate-own-ca", "certificate-expired")


def answer(audited: Audited) -> dict[str, object]:
    """What the guest said to `Info`, with its certificate."""
    subject = audited.report.subjects[0].name
    raw = next(
        audited.bundle.blob(item)
        for item in audited.bundle.artifacts
        if item.kind is Kind.INFO and item.subject == subject and item.sha256
        and b"BEGIN CERTIFICATE" in audited.bundle.blob(item)
    )  # fmt: skip
    found: dict[str, object] = json.loads(raw)
    return found


@pytest.mark.parametrize("name", _FORGED)
def test_whichever_digest_comes_first(honest: Audited, name: str) -> None:
    forged = carry_out(next(attack for attack in ATTACKS if attack.name == name))
    assert forged.check("key_management.certificate")[0].status is Status.FAIL
    for number in range(6):
        beside = json.dumps({**answer(forged), "number": number}).encode()
        bundle = add(honest.bundle, [(Kind.INFO, beside)], honest.world.now)
        placed = bundle.artifacts[-1]
        subject = honest.report.subjects[0].name
        bundle = replace(
            bundle, artifacts=(*bundle.artifacts[:-1], replace(placed, subject=subject))
        )
        again = honest.again(bundle)
        assert again.report.verdict is Verdict.AFFIRMING
        assert again.check("key_management.certificate")[0].status is Status.PASS
