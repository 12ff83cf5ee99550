"""Several instances of one app: who is met, how they differ, and what is known of each manifest."""

import json
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.bundle import Bundle
from verifier.lab.attacks.instances import (
    DEVELOPMENT,
    ONE_OTHER,
    PAIR,
    THREE,
    renamed,
)
from verifier.lab.forgeries import info_field
from verifier.lab.knobs import Knobs
from verifier.lab.response import NOT_FOUND, Response
from verifier.lab.world import build
from verifier.model.result import SkipKind, Status, Verdict
from verifier.report.audit import instances
from verifier.report.audit.earlier import read_report
from verifier.report.audit.json import render_json

Twin = Callable[..., Audited]
GOVERNANCE = "authorization.governance"


@pytest.fixture(scope="module")
def one_other() -> Audited:
    return audit(ONE_OTHER)


def document(audited: Audited) -> dict[str, object]:
    found: dict[str, object] = json.loads(render_json(audited.report))
    return found


def test_three_equal_instances_are_met_by_the_address_of_the_app(twin: Twin) -> None:
    three = twin(THREE)
    rows = instances.rows(three.report)
    assert {row.instance_id for row in rows} == set(three.world.instance_ids)
    assert {(row.verdict, row.quote, row.asked_as) for row in rows} == {
        (Verdict.AFFIRMING, Status.PASS, "")
    }
    assert three.report.divergences == ()
    (shared,) = three.report.shared_keys
    assert len(shared.subjects) == 3
    assert len(shared.compose_hashes) == 1
    assert instances.notes(three.report) == ()


def test_it_is_asked_until_nobody_new_is_met(twin: Twin, honest: Audited) -> None:
    seen = twin(THREE).report.seen
    assert seen is not None
    assert seen.requests == seen.answered >= 1 + 4 * 4
    assert sum(seen.met.values()) == seen.answered
    assert honest.report.seen is None or honest.report.seen.requests == 1 + 4 * 2


def test_their_number_is_never_called_all_of_them(twin: Twin) -> None:
    three = twin(THREE)
    found = document(three)["instances_seen"]
    assert isinstance(found, dict)
    assert (found["count"], found["exhaustive"]) == (3, False)
    assert "whether there are others, nothing proves" in instances.summary(three.report)
    assert "as the bundle says" in instances.summary(three.again(trusted=False).report)


def test_what_all_share_is_asked_once() -> None:
    asked: list[tuple[str, bytes]] = []

    def note(_method: str, url: str, body: bytes, response: Response) -> Response:
        if "8090" not in url and not url.startswith("https://dns"):
            asked.append((url, body))
        return response

    audit(replace(THREE, edit_response=note))
    assert len(set(asked)) == len(asked)


def test_the_worst_decides_and_the_rest_stay_as_they_are(one_other: Audited) -> None:
    rows = instances.rows(one_other.report)
    assert one_other.report.verdict is rows[0].verdict is Verdict.CONTRAINDICATED
    assert rows[0].instance_id == one_other.world.instance_ids[2]
    assert [row.verdict for row in rows[1:]] == [Verdict.AFFIRMING] * 2
    assert one_other.report.timeline is not None


def test_how_the_other_differs_is_said_with_its_severity(one_other: Audited) -> None:
    (found,) = one_other.report.divergences
    assert found.subjects == (one_other.report.subjects[0].name,)
    assert len(found.most) == 2
    assert [item.pointer for item in found.differences if "allowed_envs" in item.pointer]
    assert found.same_release == (instances.worst(found).rank >= 3)
    (shared,) = one_other.report.shared_keys
    assert len(shared.compose_hashes) == 2
    assert shared.kms_root
    differs, key = instances.notes(one_other.report)
    assert "differs from" in differs
    assert "may come from any of them" in key


def test_a_development_image_is_the_gravest_difference() -> None:
    found = audit(replace(THREE, others=(Knobs(), DEVELOPMENT))).report.divergences
    assert [instances.worst(item).value for item in found] == ["critical"]


def test_a_manifest_that_is_hidden_cannot_be_compared() -> None:
    hidden = replace(PAIR, others=(Knobs(app_name="x", public_tcbinfo=False),))
    found = audit(replace(hidden, spread=lambda call: call % 2)).report.divergences
    (item,) = found
    assert item.differences == ()
    assert "is not in the evidence" in item.not_comparable[0]
    assert instances.worst(item).value == "critical"


def test_a_comparison_that_crashes_ends_no_audit(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("verifier.manifest.diff.compare", crash)
    (item,) = audit(ONE_OTHER).report.divergences
    assert "crashed: RecursionError" in item.not_comparable[0]


def test_each_allowed_manifest_is_known_or_not() -> None:
    other = Knobs(app_name="second")
    two = audit(replace(PAIR, others=(other,), spread=lambda call: call % 2))
    assert {(item.known, len(item.subjects)) for item in two.report.allowed} == {(True, 1)}
    assert {item.status for item in two.check(GOVERNANCE)} == {Status.PASS}
    alone = two.again(instances=two.world.instance_ids[:1])
    assert sorted(item.known for item in alone.report.allowed) == [False, True]
    assert any("unknown text" in line for line in instances.allowed(alone.report))
    assert [item.status for item in alone.check(GOVERNANCE)] == [Status.WARN]
    unknown = next(item.compose_hash for item in alone.report.allowed if not item.known)
    named = alone.again(manifests={unknown: "reviewed.json"}, deploy_paths={unknown: "a tool"})
    line = next(line for line in instances.allowed(named.report) if unknown in line)
    assert "known as reviewed.json; made by a tool" in line


def test_a_guest_runs_an_allowed_manifest_where_it_measured_that(honest: Audited) -> None:
    """What gives RTMR3 its meaning is a known OS: a guest of another one only says what it runs."""
    said = audit(Knobs(os_image="of nobody"))
    assert said.claims()["compose_hash"].value == honest.claims()["compose_hash"].value
    assert [item.subjects for item in said.report.allowed] == [()]
    assert [item.subjects for item in honest.report.allowed] == [(honest.report.subjects[0].name,)]


def test_an_instance_that_is_named_has_to_answer() -> None:
    def absent(_method: str, url: str, _body: bytes, response: Response) -> Response:
        return NOT_FOUND if hidden in url else response

    hidden = build(PAIR).instance_ids[1]
    found = audit(replace(PAIR, edit_response=absent), instances=(0, 1))
    assert found.report.verdict is Verdict.NONE
    worst, other = instances.rows(found.report)
    assert (worst.asked_as, worst.instance_id, worst.named) == (hidden, "", True)
    assert (other.verdict, other.named) == (Verdict.AFFIRMING, True)
    (result, _) = found.check("hardware.quote")
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE
    assert hidden in result.reason
    assert "others were not looked for" in instances.summary(found.report)


def test_another_at_the_address_of_a_named_one_is_said() -> None:
    good = build(PAIR)

    def lend(_method: str, url: str, _body: bytes, response: Response) -> Response:
        lent = good.instance_ids[1] in url
        path = "/" + url.removeprefix("https://").partition("/")[2].partition("?")[0]
        return good.guests[0].respond(path, {}) if lent else response

    found = audit(replace(PAIR, edit_response=lend), instances=(1,))
    (result,) = found.check("hardware.quote")
    assert f"another answered: {good.instance_ids[0]}" in result.reason


def test_one_that_goes_by_another_id_than_it_measures_is_said() -> None:
    claimed = "ab" * 20
    found = audit(Knobs(edit_response=info_field("instance_id", claimed)))
    row = next(row for row in instances.rows(found.report) if row.asked_as)
    assert (row.asked_as, row.instance_id) == (claimed, found.world.instance_ids[0])
    assert f"{claimed} was asked for, and the guest measures" in instances.notes(found.report)[0]
    assert Status.FAIL in {item.status for item in found.check("application.consistency")}
    assert document(found)["instances_seen"]["count"] == 1  # type: ignore[index]


def test_a_named_instance_is_known_by_what_it_measures(twin: Twin) -> None:
    three = twin(THREE)
    files = three.files(*{item.kind for item in three.bundle.artifacts})
    assert files
    third = three.world.instance_ids[2]
    alone = three.again(instances=(third,))
    (row,) = instances.rows(alone.report)
    assert (row.instance_id, row.named) == (third, True)


def test_one_named_instance_lends_its_evidence_to_no_other(twin: Twin) -> None:
    pair = twin(PAIR, instances=(0, 1))
    assert pair.report.verdict is Verdict.AFFIRMING
    first, second = (
        next(name for name in pair.bundle.subjects if name.endswith(instance))
        for instance in pair.world.instance_ids
    )
    lent = [
        replace(item, subject=subject)
        for item in pair.bundle.artifacts
        if item.subject != second
        for subject in ((first, second) if item.subject == first else (item.subject,))
    ]
    found = pair.again(Bundle(tuple(lent), pair.bundle.blobs))
    assert found.report.verdict is Verdict.CONTRAINDICATED
    assert {item.status for item in found.check("application.identity")} == {
        Status.FAIL,
        Status.PASS,
    }


def test_a_report_that_is_read_back_tells_the_same(one_other: Audited) -> None:
    raw = render_json(one_other.report)
    assert render_json(read_report(raw)) == raw


def test_the_vector_is_another_manifest_by_one_field() -> None:
    assert renamed({"name": "x"}) == {"name": "x", "allowed_envs": ["UPSTREAM"]}
