"""What a history leaves open, and between which times."""

from dataclasses import replace
from typing import Any

import pytest

from tests.timeline.events import ALICE, BIRTH, HASH, OTHER, ROGUE, SAFE, History, born
from verifier.timeline.exposures import Attested, Running, exposures
from verifier.timeline.governance import OwnerReads, governance
from verifier.timeline.model import Exposure, ExposureKind, Place, Role, Sighting

NOW = BIRTH + 100_000


def found(history: History, kind: ExposureKind, **attested: Any) -> list[Exposure]:
    given = replace(Attested(), **attested)
    folded = history.fold()
    return [
        item
        for item in exposures(folded, history.events, (), now=NOW, attested=given)
        if item.kind is kind
    ]


def at(place: Place) -> int:
    return BIRTH + 2 * place.block


def test_what_runs_is_allowed_then_and_now() -> None:
    history = born()
    since = history.app("ComposeHashAdded", composeHash=HASH)
    running = Running(compose_hash=HASH, quote_time=NOW - 10)
    (item,) = found(history, ExposureKind.RUNNING_ALLOWED, running=running)
    assert (item.since, item.until, item.manifest) == (at(since), None, False)
    assert found(history, ExposureKind.RUNNING_NOT_ALLOWED, running=running) == []
    (unseen,) = found(history, ExposureKind.AUTHORIZED_BEFORE_SEEN, running=running)
    assert (unseen.since, unseen.until) == (at(since), NOW - 10)


def test_what_runs_is_allowed_no_more() -> None:
    history = born()
    history.app("ComposeHashAdded", composeHash=HASH)
    removed = history.app("ComposeHashRemoved", composeHash=HASH)
    running = Running(compose_hash=HASH)
    (item,) = found(history, ExposureKind.RUNNING_NOT_ALLOWED, running=running)
    assert (item.since, item.until) == (at(removed), None)
    assert "withdrawn" in item.words
    (after,) = found(history, ExposureKind.RAN_AFTER_REMOVAL, running=running)
    assert after.since == at(removed)


def test_what_runs_was_attested_before_its_permission() -> None:
    history = born()
    place = history.app("ComposeHashAdded", composeHash=HASH)
    running = Running(compose_hash=HASH, quote_time=at(place) - 1)
    (item,) = found(history, ExposureKind.RUNNING_NOT_ALLOWED, running=running)
    assert (item.since, item.until) == (at(place) - 1, at(place))
    assert "when it was attested" in item.words


def test_what_was_seen_while_it_was_not_allowed() -> None:
    history = born()
    place = history.app("ComposeHashAdded", composeHash=HASH)
    early = Sighting(compose_hash=HASH, first=at(place) - 1, last=at(place) + 5)
    late = replace(early, first=at(place))
    kind = ExposureKind.SEEN_NOT_ALLOWED
    (item,) = found(history, kind, sightings=(early, late), manifests={HASH: "a.json"})
    assert (item.since, item.until, item.manifest) == (early.first, early.last, True)


def test_what_is_allowed_besides() -> None:
    history = born()
    older = history.app("ComposeHashAdded", composeHash=OTHER)
    history.app("ComposeHashAdded", composeHash=HASH)
    newer = history.app("ComposeHashAdded", composeHash="33" * 32)
    history.app("ComposeHashAdded", composeHash="44" * 32)
    seen = Sighting(compose_hash="44" * 32, first=NOW - 5, last=NOW)
    known: dict[str, Any] = {"running": Running(compose_hash=HASH), "sightings": (seen,)}
    (stale,) = found(history, ExposureKind.STALE_STILL_ALLOWED, **known)
    assert (stale.subject, stale.since, stale.until) == (OTHER, at(older), None)
    (unseen,) = found(history, ExposureKind.ALLOWED_NEVER_SEEN, **known)
    assert (unseen.subject, unseen.since) == ("33" * 32, at(newer))
    manifests = {"33" * 32: "release.json"}
    (named,) = found(history, ExposureKind.ALLOWED_NEVER_SEEN, **known, manifests=manifests)
    assert named.manifest is True
    assert named.words != unseen.words


def test_code_that_nobody_knows() -> None:
    history = born()
    assert found(history, ExposureKind.UNKNOWN_CODE) == []
    place = history.kms("Upgraded", implementation=ROGUE)
    (item,) = found(history, ExposureKind.UNKNOWN_CODE)
    assert (item.subject, item.since, item.until) == (ROGUE, at(place), None)
    assert "the KMS" in item.words


@pytest.mark.parametrize(
    ("key", "time", "expected"),
    [("bb", NOW, 1), ("aa", NOW, 0), ("", NOW, 0), ("bb", BIRTH, 0)],
    ids=["another key", "the same key", "no key", "before any event"],
)
def test_the_root_key_at_the_time_of_attestation(key: str, time: int, expected: int) -> None:
    history = born()
    history.kms("KmsInfoSet", k256Pubkey="aa")
    running = Running(compose_hash=HASH, quote_time=time, root_key=key)
    assert len(found(history, ExposureKind.ROOT_KEY_CHANGED, running=running)) == expected


def test_one_key_alone_and_for_how_long() -> None:
    history = born()
    handed = history.app("OwnershipTransferred", previousOwner=ALICE, newOwner=SAFE)
    safe = OwnerReads(code=b"\1", threshold=2, signers=(ALICE, SAFE), modules=())
    periods = governance(
        Role.APP, history.events, {ALICE: OwnerReads(code=b""), SAFE: safe}
    ).periods
    given = exposures(history.fold(), history.events, periods, now=NOW, attested=Attested())
    (item,) = [each for each in given if each.kind is ExposureKind.SINGLE_KEY]
    assert (item.subject, item.until) == (ALICE, at(handed))
    present = exposures(history.fold(), history.events, periods[:1], now=NOW, attested=Attested())
    assert "hours" in present[-1].words


def test_words_are_for_people() -> None:
    history = born()
    history.app("ComposeHashAdded", composeHash=OTHER)
    history.app("ComposeHashAdded", composeHash=HASH)
    history.app("Upgraded", implementation=ROGUE)
    given = exposures(
        history.fold(),
        history.events,
        (),
        now=NOW,
        attested=Attested(running=Running(compose_hash=HASH)),
    )
    assert given
    for item in given:
        assert item.words.endswith(".")
        for jargon in ("0x", "mapping", "bytes32", "emit", "calldata", "proxy", "slot"):
            assert jargon not in item.words
