"""What a history leaves open, and between which times."""

from typing import Any

import pytest
from msgspec.structs import replace

from tests.timeline.events import (
    ALICE,
    APP,
    BIRTH,
    HASH,
    KMS,
    OTHER,
    ROGUE,
    SAFE,
    History,
    born,
)
from verifier.model.chain import Place, Role
from verifier.model.timeline import Exposure, ExposureKind, Sighting
from verifier.timeline.exposures import Attested, Running, exposures
from verifier.timeline.governance import governance
from verifier.timeline.owners import OwnerReads

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
    assert "when this audit received its quote" in item.words


def test_what_was_seen_while_it_was_not_allowed() -> None:
    history = born()
    place = history.app("ComposeHashAdded", composeHash=HASH)
    early = Sighting(compose_hash=HASH, first=at(place) - 1, last=at(place) + 5)
    late = replace(early, first=at(place))
    kind = ExposureKind.SEEN_NOT_ALLOWED
    (item,) = found(history, kind, sightings=(early, late), manifests={HASH: "a.json"})
    assert (item.since, item.until, item.manifest) == (early.first, early.last, True)


def test_what_is_attested_at_an_unknown_time_is_spoken_of_as_it_is_now() -> None:
    history = born()
    history.app("ComposeHashAdded", composeHash=HASH)
    (item,) = found(history, ExposureKind.RUNNING_ALLOWED, running=Running(compose_hash=HASH))
    assert item.words == "What runs is allowed now."


def test_what_was_seen_until_after_its_removal() -> None:
    history = born()
    history.app("ComposeHashAdded", composeHash=HASH)
    removed = history.app("ComposeHashRemoved", composeHash=HASH)
    ran_on = Sighting(compose_hash=HASH, first=at(removed) - 1, last=at(removed) + 9)
    late = replace(ran_on, first=at(removed) + 9)
    kind = ExposureKind.SEEN_NOT_ALLOWED
    (item,) = found(history, kind, sightings=(ran_on,))
    assert (item.since, item.until) == (at(removed), ran_on.last)
    assert "still seen running after its permission was withdrawn" in item.words
    (item,) = found(history, kind, sightings=(late,))
    assert (item.since, item.until) == (late.first, late.last)
    assert "may have been started while it was allowed" in item.words


def test_what_was_seen_and_never_allowed() -> None:
    seen = Sighting(compose_hash=HASH, first=NOW - 5, last=NOW)
    (item,) = found(born(), ExposureKind.SEEN_NOT_ALLOWED, sightings=(seen,))
    assert "never allowed it" in item.words


def test_each_permission_ran_unseen_until_it_was_seen_under_it() -> None:
    history = born()
    one = history.app("ComposeHashAdded", composeHash=HASH)
    history.app("ComposeHashRemoved", composeHash=HASH)
    two = history.app("ComposeHashAdded", composeHash=HASH)
    other = history.app("ComposeHashAdded", composeHash=OTHER)
    sightings = (
        Sighting(compose_hash=HASH, first=at(one) + 3, last=at(one) + 5),
        Sighting(compose_hash=HASH, first=at(two) + 4, last=NOW),
        Sighting(compose_hash=OTHER, first=at(other) + 6, last=NOW),
    )
    kind = ExposureKind.AUTHORIZED_BEFORE_SEEN
    given = found(history, kind, running=Running(compose_hash=HASH), sightings=sightings)
    assert [(item.subject, item.since, item.until) for item in given] == [
        (HASH, at(one), at(one) + 3),
        (HASH, at(two), at(two) + 4),
        (OTHER, at(other), at(other) + 6),
    ]
    through = replace(sightings[0], last=at(two) + 1)
    (first,) = found(history, kind, sightings=(through,))
    assert first.since == at(one)


def test_what_was_seen_after_a_permission_was_over_was_not_seen_under_it() -> None:
    history = born()
    history.app("ComposeHashAdded", composeHash=HASH)
    removed = history.app("ComposeHashRemoved", composeHash=HASH)
    for first, counts in ((at(removed) - 1, True), (at(removed), False), (NOW, False)):
        seen = Sighting(compose_hash=HASH, first=first, last=NOW)
        given = found(history, ExposureKind.AUTHORIZED_BEFORE_SEEN, sightings=(seen,))
        assert bool(given) is counts


def test_an_event_without_a_time_leaves_open_what_was_allowed() -> None:
    history = born()
    place = history.app("ComposeHashAdded", composeHash=HASH)
    history.events[-1] = replace(history.events[-1], time=None)
    history.app("ComposeHashAdded", composeHash=OTHER)
    seen = Sighting(compose_hash=HASH, first=at(place) + 1, last=at(place) + 1)
    (item,) = found(history, ExposureKind.SEEN_NOT_ALLOWED, sightings=(seen,))
    assert "is not known" in item.words
    early = replace(seen, first=BIRTH, last=BIRTH)
    (item,) = found(history, ExposureKind.SEEN_NOT_ALLOWED, sightings=(early,))
    assert "before the contract allowed it" in item.words
    late = replace(seen, first=NOW, last=NOW)
    assert found(history, ExposureKind.SEEN_NOT_ALLOWED, sightings=(late,)) == []
    running = Running(compose_hash=HASH, quote_time=at(place) + 1)
    (item,) = found(history, ExposureKind.RUNNING_ALLOWED, running=running)
    assert "is not known" in item.words


def test_without_an_attested_guest_the_latest_manifest_is_the_current_one() -> None:
    history = born()
    older = history.app("ComposeHashAdded", composeHash=OTHER)
    newer = history.app("ComposeHashAdded", composeHash=HASH)
    (stale,) = found(history, ExposureKind.STALE_STILL_ALLOWED)
    assert (stale.subject, stale.since) == (OTHER, at(older))
    (unseen,) = found(history, ExposureKind.ALLOWED_NEVER_SEEN)
    assert (unseen.subject, unseen.since) == (HASH, at(newer))


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


def test_code_that_no_event_names() -> None:
    history = History()
    place = history.app("ComposeHashActivated", hash=HASH)
    (item,) = found(history, ExposureKind.UNKNOWN_CODE)
    assert (item.subject, item.since) == (APP, at(place))
    assert "code that nobody knows" in item.words


def test_known_code_whose_state_cannot_be_followed() -> None:
    history = born()
    history.kms("undecodable", event="KmsInfoSet")
    (item,) = found(history, ExposureKind.UNKNOWN_CODE)
    assert item.subject == KMS
    assert "not certain" in item.words


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


@pytest.mark.parametrize(("key", "expected"), [("aa", 0), ("bb", 0), ("cc", 1)])
def test_a_root_key_that_was_set_at_an_unknown_time_contradicts_nothing(
    key: str, expected: int
) -> None:
    history = born()
    history.kms("KmsInfoSet", k256Pubkey="aa")
    place = history.kms("KmsInfoSet", k256Pubkey="bb")
    history.events[-1] = replace(history.events[-1], time=None)
    running = Running(compose_hash=HASH, quote_time=at(place) + 1, root_key=key)
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
    assert item.words.endswith("for 20 seconds, at once and without asking anybody else.")


@pytest.mark.parametrize(
    ("notice", "said"),
    [(0, "at once"), (None, "is not known"), (7 * 86_400, "public for 7 days before")],
)
def test_one_key_behind_a_delay_is_said_to_be(notice: int | None, said: str) -> None:
    history = born()
    (period,) = governance(Role.APP, history.events, {ALICE: OwnerReads(code=b"")}).periods
    (item,) = exposures(
        history.fold(),
        history.events,
        (replace(period, notice=notice),),
        now=NOW,
        attested=Attested(),
    )
    assert item.kind is ExposureKind.SINGLE_KEY
    assert "for 27 hours" in item.words
    assert said in item.words


def test_one_key_until_a_time_that_nobody_gave_is_said_to_have_been_alone() -> None:
    history = born()
    (period,) = governance(Role.APP, history.events, {ALICE: OwnerReads(code=b"")}).periods
    over = replace(period, until=period.since, until_time=None)
    (item,) = exposures(history.fold(), history.events, (over,), now=NOW, attested=Attested())
    assert item.kind is ExposureKind.SINGLE_KEY
    assert item.until is None
    assert " for " not in item.words


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
