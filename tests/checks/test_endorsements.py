"""What endorses a quote, where several parts of collateral are at hand, and how long it does."""

import json
from typing import Final

import pytest
from msgspec.structs import replace

from verifier.checks.hardware import endorsements
from verifier.checks.hardware.endorsements import Endorsements, choose_endorsements
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.td.collateral import read_collateral
from verifier.evidence.td.quote import parse_quote
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import build_pki, pem_chain
from verifier.lab.world import World, build

WORLD: Final = build(Knobs())


def endorsed(world: World, *beside: Knobs, **changes: str) -> Endorsements:
    """What endorses the quote of a world, whose collateral was changed, and which has that of other
    worlds beside it."""
    others = (build(knobs).collateral.document() for knobs in beside)
    return chosen(world, {**world.collateral.document(), **changes}, *others)


def chosen(world: World, *documents: JsonObject, root: bytes = b"") -> Endorsements:
    """What endorses the quote of a world among these sets of collateral."""
    builder = BundleBuilder()
    for place, document in enumerate(documents):
        raw = json.dumps(document).encode()
        builder.add(Kind.COLLATERAL, raw, source=str(place), collected_at=1)
    quote = parse_quote(world.guest.quote(bytes(64)), "quote").raw
    parts = read_collateral(builder.build())
    return choose_endorsements(parts, quote, root or world.pki.root_der, world.now)


def test_endorsements_are_in_force_with_their_documents() -> None:
    found, issued = endorsed(WORLD), WORLD.now - 2 * DAY
    assert (found.failure, found.window) == ("", (issued, issued + 30 * DAY - 1))
    assert found.oldest == found.root_crl_issued == issued


@pytest.mark.parametrize(
    ("beside", "counts"),
    [
        (Knobs(collateral_age=DAY), True),
        (Knobs(collateral_age=0), True),
        (Knobs(collateral_age=-1), False),
        (Knobs(collateral_age=DAY, collateral_window=DAY + 1), True),
        (Knobs(collateral_age=DAY, collateral_window=DAY), False),
        (Knobs(collateral_age=3 * DAY), False),
    ],
)
def test_the_newest_that_is_in_force_counts(beside: Knobs, *, counts: bool) -> None:
    found = endorsed(WORLD, beside)
    assert found.oldest == WORLD.now - (beside.collateral_age if counts else 2 * DAY)
    assert found.newest_root_crl == WORLD.now - min(beside.collateral_age, 2 * DAY)


def test_a_later_evaluation_counts_before_a_later_date() -> None:
    later = Knobs(tcb_evaluation=21, collateral_age=3 * DAY)
    text = endorsed(WORLD, later).members["tcb_info"]
    assert '"tcbEvaluationDataNumber":21' in str(text).replace(" ", "")


def test_two_that_differ_and_are_of_one_date_decide_nothing() -> None:
    with pytest.raises(EvidenceError, match="2 different TCB infos of one number and date"):
        endorsed(WORLD, Knobs(tcb_status="OutOfDate"))
    assert endorsed(WORLD, Knobs()).failure == ""


def test_what_is_not_signed_is_set_aside_beside_what_is() -> None:
    forged = Knobs(rogue=frozenset({"pck-crl", "tcb-signing"}))
    beside = endorsed(WORLD, forged)
    assert beside.failure == ""
    assert len(beside.set_aside) == 3
    assert endorsed(WORLD).set_aside == ()
    assert "is not signed by its issuer" in endorsed(build(forged)).failure
    text = str(build(Knobs()).collateral.document()["tcb_info"])
    assert (
        "does not verify" in endorsed(WORLD, tcb_info=text.replace("UpToDate", "Revoked")).failure
    )


@pytest.mark.parametrize("name", ["tcb_info_issuer_chain", "qe_identity_issuer_chain"])
def test_endorsements_end_with_the_certificate_of_either_signer(name: str) -> None:
    old = build_pki(replace(WORLD.pki_options, expired=frozenset({"tcb-signing"})))
    found = endorsed(WORLD, **{name: old.tcb_chain})
    assert found.window[1] == WORLD.now - DAY
    chains = {key: value for key, value in found.members.items() if key.endswith("issuer_chain")}
    assert chains.pop(name) == old.tcb_chain
    assert (
        chains.pop("pck_crl_issuer_chain")
        == pem_chain((WORLD.pki.platform_ca, WORLD.pki.root)).decode()
    )
    assert list(chains.values()) == [WORLD.pki.tcb_chain]


@pytest.mark.parametrize("role", ["pck", "platform-ca", "root"])
def test_endorsements_end_with_each_certificate_above_the_quote(role: str) -> None:
    found = endorsed(build(Knobs(expired=frozenset({role}))))
    assert (found.failure, found.window[1]) == ("", WORLD.now - DAY)


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("platform-ca", "issuer is not issued by the root"),
        ("pck", "is not signed by its issuer"),
        ("root-ca-crl", "the root revocation list is not signed by its issuer"),
    ],
)
def test_what_the_root_vouches_for_is_signed_link_by_link(role: str, words: str) -> None:
    assert words in endorsed(build(Knobs(rogue=frozenset({role})))).failure


def test_a_chain_without_the_issuer_of_its_leaf_leads_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for chain in ((WORLD.pki.pck,), (WORLD.pki.pck, WORLD.pki.root)):
        monkeypatch.setattr(endorsements, "certificate_chain", lambda _, of=chain: pem_chain(of))
        assert "issuer is not issued by the root" in endorsed(WORLD).failure


@pytest.mark.parametrize("chain", [b"", b"-----BEGIN CERTIFICATE-----\nMII\n"])
def test_a_quote_whose_chain_cannot_be_read_is_malformed(
    monkeypatch: pytest.MonkeyPatch, chain: bytes
) -> None:
    monkeypatch.setattr(endorsements, "certificate_chain", lambda _: chain)
    with pytest.raises(EvidenceError, match="no readable PCK certificate chain"):
        endorsed(WORLD)


@pytest.mark.parametrize("name", ["pck_crl", "root_ca_crl", "tcb_info", "qe_identity"])
def test_what_is_absent_is_missing_and_what_cannot_be_read_is_malformed(name: str) -> None:
    whole = WORLD.collateral.document()
    without = {key: value for key, value in whole.items() if not key.startswith(name)}
    with pytest.raises(MissingEvidence, match="is in the evidence"):
        chosen(WORLD, without)
    with pytest.raises(EvidenceError) as raised:
        chosen(WORLD, {**whole, name: "00"})
    assert not isinstance(raised.value, MissingEvidence)


@pytest.mark.parametrize(("age", "counts"), [(3 * DAY, True), (0, True), (-1, False)])
def test_a_list_revokes_from_the_second_of_its_issue_on(age: int, *, counts: bool) -> None:
    for role in ("pck", "platform-ca", "tcb-signing"):
        beside = Knobs(revoked=frozenset({role}), collateral_age=age)
        assert ("is revoked by a list of" in endorsed(WORLD, beside).failure) is counts


def test_a_trust_anchor_is_a_certificate() -> None:
    with pytest.raises(EvidenceError, match="the trust anchor is not a DER certificate"):
        chosen(WORLD, WORLD.collateral.document(), root=b"none")
