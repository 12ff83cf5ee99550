"""What is a change, what is none, and in which words it is told."""

import json
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from msgspec.structs import replace

from tests.watch.observed import BEGAN, CHAIN, FACTS, HONEST, later, out, with_chain, with_facts
from verifier.errors import EvidenceError
from verifier.model.result import Severity
from verifier.watch.alerts import alert_of
from verifier.watch.alerts import encode as encode_alert
from verifier.watch.memory import Change, ChangeKind, Memory, remember
from verifier.watch.observation import Attester, Observation, decode, encode, unobserved

PATIENCE = 3


def folded(observations: Iterable[Observation]) -> list[tuple[Change, Observation]]:
    """Every change of these observations, after the first of them."""
    memory, found = Memory(), list[tuple[Change, Observation]]()
    for item in observations:
        memory, changes = remember(memory, decode(encode(item), "entry"), PATIENCE)
        found.extend((change, item) for change in changes)
    return found


def kinds(*observations: Observation) -> list[str]:
    found = folded((HONEST, *observations))
    assert found[0][0].kind is ChangeKind.FIRST
    return [change.kind.value for change, _ in found[1:]]


def text(*observations: Observation) -> str:
    """The last change in words."""
    return alert_of(0, 0, *folded((HONEST, *observations))[-1]).text


OTHER: dict[str, Any] = {
    "manifest": "22" * 32,
    "images": [{"service": "web", "image": "web@sha256:" + "bb" * 32}],
    "operating_system": ["m2", "r1", "r2"],
    "tcb": {"status": "OutOfDate", "advisories": ["INTEL-SA-01"]},
    "quote": "0100000010000000",
    "machine": "d2" * 32,
    "certificate": "c2" * 64,
    "kms": {"name": "kms", "id": "31" * 40},
    "kms_root": "0xOther",
    "kms_code": [],
}
OTHER_CHAIN: dict[str, Any] = {
    "owner": "0xThief",
    "kms_owner": "0xThief",
    "authorization": ["11" * 32, "22" * 32],
    "pending": {
        "app_owner": "0xNext",
        "kms_owner": "",
        "calls": [{"timelock": "0xT", "target": "0xA", "data": "addComposeHash", "id": "1"}],
    },
}


def test_what_stays_is_told_once() -> None:
    assert kinds(*(later(hours) for hours in range(1, 6))) == []


@pytest.mark.parametrize("name", OTHER)
def test_each_fact_of_a_guest_that_differs_is_told_at_once(name: str) -> None:
    kind = name.replace("_", "-")
    assert kinds(later(1), with_facts(2, **{name: OTHER[name]})) == [kind]
    assert "shop: " in text(with_facts(1, **{name: OTHER[name]}))


@pytest.mark.parametrize("name", OTHER_CHAIN)
def test_each_fact_of_the_chain_that_differs_is_told_at_once(name: str) -> None:
    kind = name.replace("_", "-")
    assert kinds(later(1), with_chain(2, **{name: OTHER_CHAIN[name]})) == [kind]
    assert "shop: " in text(with_chain(1, **{name: OTHER_CHAIN[name]}))


def test_every_fact_has_a_vector() -> None:
    assert {name.replace("_", "-") for name in OTHER} == FACTS.keys()
    assert {name.replace("_", "-") for name in OTHER_CHAIN} == CHAIN.keys()


@pytest.mark.parametrize("name", [*OTHER, *OTHER_CHAIN])
def test_what_is_not_proven_for_a_while_hides_no_change(name: str) -> None:
    change = with_chain if name in OTHER_CHAIN else with_facts
    value = {**OTHER, **OTHER_CHAIN}[name]
    gone, other = {name: None}, {name: value}
    assert kinds(change(1, **gone), change(2, **gone), change(3)) == []
    assert kinds(change(1, **gone), change(2, **other)) == [name.replace("_", "-")]
    long = [change(hours, **gone) for hours in range(1, 7)]
    assert kinds(*long) == ["no-longer-proven"]
    assert kinds(*long, change(8), change(9)) == ["no-longer-proven", "proven-again"]


def test_an_outage_is_told_after_some_misses_and_its_end_once() -> None:
    assert kinds(out(1), out(2), later(3), out(4), out(5), later(6)) == []
    assert kinds(out(1), out(2), out(3), out(4), later(5), later(6)) == ["outage", "recovery"]
    assert "3 audits in a row" in text(out(1), out(2), out(3))
    assert "gives evidence again" in text(out(1), out(2), out(3), later(4))


def test_what_is_withheld_two_times_of_three_is_told() -> None:
    def rounds(missed: Callable[[int], Observation], *, of: int = 3) -> list[Observation]:
        return [missed(n) if n % of else later(n) for n in range(1, 19)]

    assert kinds(*rounds(out)) == ["outage", "recovery"] * 2
    assert "6 of the last 8 audits got no quote" in text(*rounds(out)[:8])
    without = rounds(lambda n: with_facts(n, tcb=None))
    assert kinds(*without) == ["no-longer-proven", "proven-again"] * 2
    assert "not in 6 of the last 8 audits" in text(*without[:8])
    unsaid = rounds(lambda n: later(n, verdict="none", accepted=False))
    assert kinds(*unsaid) == ["verdict"] * 4
    # One of three is the weather.
    assert kinds(*(later(n) if n % 3 else out(n) for n in range(1, 40))) == []


def test_a_change_during_an_outage_is_told_with_its_end() -> None:
    other = with_facts(4, manifest="22" * 32)
    assert kinds(out(1), out(2), out(3), other) == ["outage", "manifest", "recovery"]


def test_a_verdict_that_accuses_is_told_at_once_and_one_for_want_of_evidence_when_it_stays() -> (
    None
):
    bad = {"verdict": "contraindicated", "accepted": False, "failed": ("runtime.replay",)}
    none = {"verdict": "none", "accepted": False, "missing": ("authorization.allowed",)}
    assert kinds(later(1, **bad)) == ["verdict"]
    assert kinds(later(1, **none), later(2, **none), later(3)) == []
    assert kinds(*(later(hours, **none) for hours in range(1, 6))) == ["verdict"]
    assert kinds(later(1, **bad), later(2, **none), later(3, **bad)) == ["verdict"]
    assert "Failed: runtime.replay" in text(later(1, **bad))
    assert "missing for: authorization.allowed" in text(*(later(h, **none) for h in range(1, 4)))
    severities = [
        change.severity for change, _ in folded((HONEST, later(1, **bad), later(2), later(3)))
    ]
    assert severities == [Severity.INFO, Severity.CRITICAL, Severity.INFO]


def test_another_check_that_fails_is_told_under_the_same_verdict() -> None:
    bad = {"verdict": "contraindicated", "accepted": False}
    assert kinds(later(1, failed=("a",), **bad), later(2, failed=("a", "b"), **bad)) == [
        "verdict",
        "verdict",
    ]


def test_a_manifest_that_comes_back_is_told_as_one() -> None:
    said = text(with_facts(1, manifest="22" * 32), later(2))
    assert "went back to an earlier manifest" in said
    assert "2026-05-28T20:26:40Z" in said


def test_an_older_release_is_told_as_one() -> None:
    older = with_facts(1, operating_system=["m0", "r1", "r2"])
    guest = replace(older.attesters[0], release="dstack-0.5.4")
    assert "older release" in text(replace(older, attesters=(guest,)))
    newer = replace(guest, release="dstack-0.5.10")
    assert "older release" not in text(replace(older, attesters=(newer,)))


def test_instances_that_take_turns_are_each_compared_with_themselves() -> None:
    other = {"machine": "d2" * 32, "certificate": "c2" * 64}
    second = "i2" * 20
    turns = [with_facts(1, second, **other), later(2), with_facts(3, second, **other), later(4)]
    assert kinds(*turns) == ["instance"]
    changed = with_facts(5, second, **other, manifest="22" * 32)
    assert kinds(*turns, changed) == ["instance", "manifest"]
    assert kinds(with_facts(1, second, manifest="22" * 32)) == ["manifest", "instance"]


def test_an_older_block_brings_no_news_and_stays_unproven() -> None:
    stale = [
        replace(with_chain(hours, owner="0xThief"), block=99) for hours in range(1, PATIENCE + 1)
    ]
    assert kinds(*stale) == ["no-longer-proven"]


def test_a_change_of_the_auditor_is_said_beside_it() -> None:
    bad = later(1, verdict="contraindicated", accepted=False, failed=("a",))
    assert "own policy" in text(replace(bad, policy="another"))
    assert "own policy" not in text(bad)


def test_every_alert_of_a_simulated_world_says_so() -> None:
    observations = [replace(item, anchor="simulated") for item in (HONEST, with_facts(1, **OTHER))]
    for change, item in folded(observations):
        assert "simulated" in alert_of(0, 0, change, item).text


def test_hostile_text_is_made_visible() -> None:
    name = "web\x1b[2J\u202e"
    images = [{"service": name, "image": "x@sha256:00"}]
    said = text(with_facts(1, images=images))
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_an_observation_too_long_for_an_entry_still_shows_what_changes() -> None:
    many = [{"service": f"s{index}", "image": "i" * 60} for index in range(2000)]
    one = with_facts(0, images=many)
    assert len(encode(one)) < 1 << 16
    other = with_facts(1, images=[*many[1:], {"service": "s0", "image": "j"}])
    changes = folded((one, other))
    assert [change.kind for change, _ in changes] == [ChangeKind.FIRST, ChangeKind.IMAGES]
    assert alert_of(0, 0, *changes[-1]).text
    crowd = replace(one, attesters=tuple(Attester(str(index), FACTS) for index in range(200)))
    kept = decode(encode(crowd), "entry")
    assert len(kept.attesters) + kept.left_out == 200


STEPS = st.sampled_from(
    [
        later(0),
        out(0),
        with_facts(0, manifest="22" * 32),
        with_facts(0, manifest=None),
        with_facts(0, "i2" * 20, tcb=OTHER["tcb"]),
        with_chain(0, owner="0xThief"),
        with_chain(0, owner=None),
        later(0, verdict="none", accepted=False),
        later(0, verdict="contraindicated", accepted=False, failed=("a",)),
    ]
)


def test_entries_and_alerts_hold_to_their_schemas() -> None:
    observation, alert = (_schema(name) for name in ("observation", "alert"))
    every = [HONEST, with_facts(1, **OTHER), with_chain(2, **OTHER_CHAIN)]
    outage = [out(hours) for hours in range(3, 7)]
    again = [later(8, verdict="contraindicated", accepted=False, failed=("a",)), later(9)]
    for change, item in folded([*every, *outage, *again]):
        observation.validate(json.loads(encode(item)))
        alert.validate(json.loads(encode_alert(alert_of(0, 0, change, item))))


def _schema(name: str) -> Draft202012Validator:
    path = Path(__file__).parents[2] / "docs" / "schema" / f"{name}-v1.schema.json"
    return Draft202012Validator(json.loads(path.read_text(encoding="utf-8")))


@given(st.lists(STEPS, max_size=12))
def test_ends_and_beginnings_take_turns_whatever_happens(steps: list[Observation]) -> None:
    timed = [
        replace(item, time=HONEST.time + hour, block=100 + hour)
        for hour, item in enumerate(steps, 1)
    ]
    found = [change.kind for change, _ in folded((HONEST, *timed))]
    outages = [kind for kind in found if kind in {ChangeKind.OUTAGE, ChangeKind.RECOVERY}]
    assert all(one is not other for one, other in pairwise(outages))
    assert found.count(ChangeKind.FIRST) == 1


def test_a_secret_in_the_name_of_an_app_is_not_in_the_log() -> None:
    shown = "sk-abcdef0123456789abcdef"
    url = f"https://guest.example/?api_key={shown}"
    seen = unobserved(url, f"shop {shown}", BEGAN, "no answer", "")
    assert shown.encode() not in encode(seen)
    other = unobserved(url.replace("abc", "abd"), "shop", BEGAN, "no answer", "")
    assert seen.app != other.app
    assert seen.app.startswith("https://guest.example/?api_key=")


@pytest.mark.parametrize(
    "changed",
    [
        replace(HONEST, chain={"unheard": 1}, block=1),
        replace(HONEST, attesters=(Attester("i1" * 20, {"unheard": 1}),)),
    ],
)
def test_a_fact_that_this_version_does_not_know_is_refused(changed: Observation) -> None:
    with pytest.raises(EvidenceError, match="'unheard', which this version does not know"):
        decode(encode(changed), "entry")
