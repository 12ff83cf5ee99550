"""A revocation list that revokes, and an older one that is still in force beside it."""

import json
from functools import cache
from typing import Final

import pytest

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import assert_noticed, assert_stands
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import Pki, PkiOptions, build_pki

CHALLENGE: Final = b"N" * 64
OWN_FILES: Final = (Kind.APP_KEY_QUOTE, Kind.INFO, Kind.PAGE)
REVOKED: Final = {
    "pck": ("pck_crl", 25, 5),
    "platform-ca": ("root_ca_crl", 200, 165),
    "tcb-signing": ("root_ca_crl", 200, 165),
}
"""What is revoked: the list that says so, and for the older one its age and what it has left, in
days."""


@cache
def revoked(what: str) -> Audited:
    """A challenged app on a platform of which a certificate is revoked."""
    knobs = Knobs(
        revoked=frozenset({what}), app_key_report_data=CHALLENGE, key_provider="none", app_id=None
    )
    return audit(knobs, challenge=CHALLENGE)


def older_lists(audited: Audited, age: int, left: int) -> Pki:
    """The lists of before, which revoke nothing."""
    now = audited.world.now
    options = PkiOptions(
        now=now, platform="lab platform-1", crl_issued=now - age * DAY, crl_expires=now + left * DAY
    )
    return build_pki(options)


def handed_in(what: str, **collateral: str) -> Audited:
    """The app's own evidence with collateral files: name → `new`, or `old` for the older list."""
    audited = revoked(what)
    member, age, left = REVOKED[what]
    older = older_lists(audited, age, left)
    new: JsonObject = dict(audited.world.collateral.document())
    old: JsonObject = {**new, member: getattr(older, member).hex()}
    assert old != new
    documents = {"new": new, "old": old}
    files = [(name, json.dumps(documents[which]).encode()) for name, which in collateral.items()]
    return audited.imported([*audited.files(*OWN_FILES), *files]).under("genuine")


@pytest.mark.parametrize("what", REVOKED)
def test_a_list_that_revokes_is_believed(what: str) -> None:
    assert_noticed(handed_in(what, z="new"), "hardware.quote", refusing=True)


@pytest.mark.parametrize("what", REVOKED)
def test_the_older_list_alone_is_genuine_and_in_force(what: str) -> None:
    assert_stands(handed_in(what, a="old"), "hardware.quote")


@pytest.mark.parametrize("what", REVOKED)
@pytest.mark.parametrize(
    "names",
    [("a", "z"), ("zz", "z")],
    ids=["the older one first", "the older one last"],
)
def test_an_older_list_beside_one_that_revokes(what: str, names: tuple[str, str]) -> None:
    """Collateral of an attacker's, to which the relying party adds that of today."""
    old, new = names
    audited = handed_in(what, **{old: "old", new: "new"})
    assert_noticed(audited, "hardware.quote", refusing=True)


@pytest.mark.parametrize("vouched", [True, False])
@pytest.mark.parametrize("source", ["https://aaa.lab.invalid/", "https://zzz.lab.invalid/"])
def test_an_older_answer_of_a_collateral_service(source: str, vouched: bool) -> None:  # noqa: FBT001
    audited = audit(Knobs(revoked=frozenset({"pck"})))
    (newer,) = audited.bundle.of(Kind.PCS_PCK_CRL)
    builder = BundleBuilder(audited.bundle)
    builder.add(
        Kind.PCS_PCK_CRL,
        older_lists(audited, 25, 5).pck_crl,
        source=source,
        collected_at=newer.collected_at,
        subject=newer.subject,
        status=newer.status,
        media_type=newer.media_type,
        headers=dict(newer.headers),
    )
    assert_noticed(audited, "hardware.quote", refusing=True)
    beside = audited.again(builder.build(), trusted=vouched)
    assert len(beside.bundle.of(Kind.PCS_PCK_CRL)) == 2
    assert_noticed(beside, "hardware.quote", refusing=True)
