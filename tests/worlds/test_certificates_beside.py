"""A certificate that no KMS issued for the guest, beside the one that it did, changes nothing."""

import json
from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.attacked import carry_out
from tests.worlds.audited import Audited, add, audit
from tests.worlds.ordered import breaking
from verifier.evidence.bundle import Bundle, Kind
from verifier.lab import cert, keys
from verifier.lab.attacks import ATTACKS
from verifier.lab.guest import Guest
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.quote import SEPT_VE_DISABLE, make_quote
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


def beside(audited: Audited, info: dict[str, object], *, first: bool = False) -> Bundle:
    """The bundle with one more answer to `Info`, before or after the others."""
    found = add(audited.bundle, [(Kind.INFO, json.dumps(info).encode())], audited.world.now)
    (placed,) = (item for item in found.artifacts if item.source == "handed over")
    others = tuple(item for item in found.artifacts if item is not placed)
    return replace(found, artifacts=(placed, *others) if first else (*others, placed))


def claimed(audited: Audited) -> dict[str, object]:
    """What is claimed, and how well it is known; the same may stand in several places."""
    return {name: (item.value, item.basis) for name, item in audited.claims().items()}


def certified(guest: Guest, label: str, **options: object) -> tuple[cert.CertOptions, bytes]:
    """How a certificate over a key of its own is made, and what its quote binds."""
    made = replace(guest.cert_options, subject=f"another {label}", **options)
    return made, cert.report_data(made)


def carried(guest: Guest, quote: bytes) -> cert.Attestation:
    return replace(guest.cert_attestation, quote=quote)


def self_signed(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label, ca="")
    return cert.app_cert(made, carried(guest, guest.quote(bound)))


def self_signed_with_full_log(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label, ca="", form="quote")
    return cert.app_cert(made, guest.attestation(bound))


def by_another_kms(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label, ca="attacker")
    return cert.app_cert(made, carried(guest, guest.quote(bound)))


def of_kms_and_broken(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label)
    return cert.app_cert(made, carried(guest, breaking(guest.quote(bound))))


def self_signed_and_broken(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label, ca="")
    return cert.app_cert(made, carried(guest, breaking(guest.quote(bound))))


def expired(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label, issued=guest.knobs.now - 4000 * DAY)
    return cert.app_cert(made, carried(guest, guest.quote(bound)))


def of_lent_quote(guest: Guest, label: str) -> str:
    made, _ = certified(guest, label, ca="")
    return cert.app_cert(made, guest.cert_attestation)


def with_cut_log(guest: Guest, label: str) -> str:
    made, bound = certified(guest, label, ca="")
    whole = carried(guest, guest.quote(bound))
    return cert.app_cert(made, replace(whole, log=whole.log[:-2]))


_BESIDE: Final[tuple[Callable[[Guest, str], str], ...]] = (
    self_signed,
    self_signed_with_full_log,
    by_another_kms,
    of_kms_and_broken,
    self_signed_and_broken,
    expired,
    of_lent_quote,
    with_cut_log,
)


@pytest.fixture(scope="module", params=["quote", "scale-v0", "msgpack-v1"])
def holding(request: pytest.FixtureRequest) -> Audited:
    """Honest worlds, by how the certificate holds the attestation."""
    return audit(Knobs(cert_attestation=request.param))


@pytest.mark.parametrize("forge", _BESIDE, ids=lambda forge: forge.__name__)
def test_a_certificate_over_a_quote_of_its_own(
    holding: Audited, forge: Callable[[Guest, str], str]
) -> None:
    assert holding.report.verdict is Verdict.AFFIRMING
    for number in range(6):
        info = {**answer(holding), "app_cert": forge(holding.world.guest, str(number))}
        for first in (True, False):
            again = holding.again(beside(holding, info, first=first))
            assert again.report.verdict is Verdict.AFFIRMING
            assert claimed(again) == claimed(holding)


@pytest.mark.parametrize("signed", [True, False], ids=["by the KMS", "by itself"])
@pytest.mark.parametrize(
    "change",
    [
        {"td_attributes": SEPT_VE_DISABLE | 1},
        {"mr_td": keys.labelled("another TD", 48)},
        {"mr_config_id": b"\1" + bytes(47)},
    ],
    ids=["debug", "another image", "another manifest"],
)
def test_a_genuine_quote_of_another_state_is_noticed(
    honest: Audited, change: dict[str, object], *, signed: bool
) -> None:
    guest, outcomes = honest.world.guest, set()
    for number in range(6):
        made, bound = certified(guest, str(number), **({} if signed else {"ca": ""}))
        report = replace(guest.td_report, report_data=bound, **change)
        quote = make_quote(report, honest.world.pki, guest.knobs.platform)
        info = {**answer(honest), "app_cert": cert.app_cert(made, carried(guest, quote))}
        again = honest.again(beside(honest, info))
        assert again.check("application.consistency")[0].status is Status.FAIL
        outcomes.add(tuple((item.id, item.status) for item in again.report.subjects[0].checks))
    assert again.report.verdict is Verdict.CONTRAINDICATED
    assert len(outcomes) == 1


@pytest.mark.parametrize("name", _FORGED)
def test_whichever_digest_comes_first(honest: Audited, name: str) -> None:
    forged = carry_out(next(attack for attack in ATTACKS if attack.name == name))
    assert forged.check("key_management.certificate")[0].status is Status.FAIL
    for number in range(6):
        again = honest.again(beside(honest, {**answer(forged), "number": number}))
        assert again.report.verdict is Verdict.AFFIRMING
        assert again.check("key_management.certificate")[0].status is Status.PASS
