"""Several metadata pages of one guest, and several answers of its KMS: all of them are judged, and
neither their order nor their digests decide which."""

import json
from collections.abc import Iterator

import pytest

from tests.worlds.audited import Audited, add
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.model.result import Status, Verdict

ROW = b"<tr><td>%s</td><td>%s</td></tr></tbody>"


def own(audited: Audited, kind: Kind) -> bytes:
    return next(audited.bundle.blob(item) for item in audited.bundle.of(kind))


def beside(audited: Audited, kind: Kind, raw: bytes) -> Iterator[Audited]:
    """The audit with this beside what was collected, in both orders."""
    bundle = add(audited.bundle, [(kind, raw)], audited.world.now)
    yield audited.again(bundle)
    yield audited.again(Bundle(bundle.artifacts[::-1], bundle.blobs))


def instead(audited: Audited, kind: Kind, raw: bytes) -> Audited:
    def edit(item: Artifact, old: bytes) -> bytes:
        return raw if item.kind is kind else old

    return audited.editing(edit)


def rules(audited: Audited) -> set[str]:
    return {finding.rule for finding in audited.report.findings}


@pytest.mark.parametrize("number", range(6))
def test_a_container_that_one_page_lists_runs(honest: Audited, number: int) -> None:
    page = own(honest, Kind.PAGE)
    row = ROW % (b"sidecar-%d" % number, b"Up 1 hour")
    for audited in beside(honest, Kind.PAGE, page.replace(b"</tbody>", row)):
        assert audited.check("manifest.rules")[0].status is Status.WARN
        assert audited.report.verdict is Verdict.WARNING
        assert "RUN-001" in rules(audited)


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize(
    ("old", "new"),
    [(b"Up 1 hour", b"Restarting (1)"), (b"Up 1 hour", b"Exited (1)"), (b"dstack-web", b"gone")],
    ids=["restarts", "ended", "gone"],
)
def test_a_service_that_does_not_run_on_one_page_does_not_run(
    honest: Audited, number: int, old: bytes, new: bytes
) -> None:
    page = own(honest, Kind.PAGE) + b" " * number
    head, heading, containers = page.partition(b"Deployed Containers")
    assert old in containers
    worse = head + heading + containers.replace(old, new)
    for audited in (instead(honest, Kind.PAGE, worse), *beside(honest, Kind.PAGE, worse)):
        assert "RUN-002" in rules(audited)
        assert audited.report.verdict is Verdict.WARNING


@pytest.mark.parametrize("number", range(6))
def test_pages_that_agree_change_nothing(honest: Audited, number: int) -> None:
    page = own(honest, Kind.PAGE) + b" " * (number + 1)
    for audited in beside(honest, Kind.PAGE, page):
        assert audited.report.verdict is Verdict.AFFIRMING
        assert not {"RUN-001", "RUN-002"} & rules(audited)


@pytest.mark.parametrize("number", range(6))
def test_every_answer_of_the_kms_is_held_against_its_record(honest: Audited, number: int) -> None:
    answer = {**json.loads(own(honest, Kind.KMS_META)), "number": number}
    for audited in beside(honest, Kind.KMS_META, json.dumps(answer).encode()):
        assert "KMS-010" not in rules(audited)
    answer["kms_contract_address"] = "0x" + "11" * 20
    raw = json.dumps(answer).encode()
    for audited in (instead(honest, Kind.KMS_META, raw), *beside(honest, Kind.KMS_META, raw)):
        assert "KMS-010" in rules(audited)
