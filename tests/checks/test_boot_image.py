"""Which image the registers are of, and whether the log of the boot gives them."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.model.result import CheckResult, SkipKind, Status
from verifier.reference.values import Origin


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def only(audited: Audited, check_id: str) -> CheckResult:
    (result,) = audited.check(check_id)
    return result


def shown(edit: Callable[[JsonObject], JsonObject], *imrs: int) -> Knobs:
    """A world whose channels show the first entry of these registers otherwise."""

    def changed(log: list[JsonObject]) -> list[JsonObject]:
        first = {imr: next(x for x in log if x["imr"] == imr) for imr in imrs}
        return [edit(item) if any(item is x for x in first.values()) else item for item in log]

    return Knobs(edit_log=changed)


@pytest.mark.parametrize("imrs", [(0,), (1,), (2,), (0, 2)])
def test_each_register_that_the_log_does_not_give_is_named(
    honest: Audited, imrs: tuple[int, ...]
) -> None:
    other = audit(shown(lambda entry: {**entry, "digest": "00" * 48}, *imrs))
    result = only(other, "boot.registers")
    assert result.status is Status.FAIL
    names = [f"rtmr{imr}" for imr in imrs]
    assert result.summary.endswith(f"does not replay to {', '.join(names)}")
    assert isinstance(result.actual, dict)
    assert isinstance(result.expected, dict)
    assert [*result.actual] == names
    assert result.expected == {name: honest.claims()[name].value for name in names}


@pytest.mark.parametrize("imr", [0, 1, 2])
def test_a_log_that_lacks_the_digest_of_one_event_was_cut(imr: int) -> None:
    def without(entry: JsonObject) -> JsonObject:
        return {**entry, "digest": ""}

    result = only(audit(shown(without, imr)), "boot.registers")
    assert result.status is Status.FAIL
    assert "lacks others" in result.summary


def with_rows(audited: Audited, *changes: dict[str, Any]) -> CheckResult:
    """What the image is, by rows of its registers with these changes."""
    reference = audited.question.reference
    row = next(row for row in reference.os_images if row.kind == "production")
    rows = tuple(replace(row, **change) for change in changes)
    return only(audited.again(reference=replace(reference, os_images=rows)), "boot.image")


def test_a_hash_that_nobody_knows_is_not_the_one_that_was_measured(honest: Audited) -> None:
    assert with_rows(honest, {"os_image_hash": ""}).status is Status.PASS
    assert with_rows(honest, {"os_image_hash": "00" * 32}).status is Status.FAIL


def test_registers_say_what_image_it_is_where_no_event_does() -> None:
    unsaid = audit(Knobs(edit_events=forge.measured_without("os-image-hash")))
    assert only(unsaid, "boot.image").status is Status.PASS


@pytest.mark.parametrize(
    ("origin", "status", "words"),
    [
        (Origin.REBUILT, Status.PASS, "its files were measured by whoever runs this audit"),
        (Origin.MEASURED, Status.PASS, "its files were measured by another party (who)"),
        (Origin.OBSERVED, Status.WARN, "its measurements are known from others' quotes only"),
    ],
)
def test_whose_word_an_image_is(
    honest: Audited, origin: Origin, status: Status, words: str
) -> None:
    result = with_rows(honest, {"origin": origin, "source": "who"})
    assert result.status is status
    assert result.summary.endswith(f"; {words}")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ((), "the OS image is not among the known ones: MRTD"),
        (({"kind": "unknown"},), "(its registers were seen before, its origin was not): MRTD"),
        (({"release": "1"}, {"os_image_hash": "00" * 32, "release": "2"}),
         "the registers are those of 1 (production) and 2 (production): two names"),
    ],
    ids=["unknown", "seen", "two names"],
)  # fmt: skip
def test_why_registers_name_no_image(
    honest: Audited, changes: tuple[dict[str, Any], ...], words: str
) -> None:
    result = with_rows(honest, *changes)
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE
    assert words in result.summary


def test_a_development_image_fails_whoever_measured_it(honest: Audited) -> None:
    result = with_rows(honest, {"kind": "development", "origin": Origin.REBUILT})
    assert result.status is Status.FAIL
    assert "can log in as root" in result.summary


def test_the_registers_of_an_honest_boot(honest: Audited) -> None:
    replayed = only(honest, "boot.registers")
    assert replayed.status is Status.PASS
    assert "boot events replay to RTMR0-2" in replayed.summary
    said = {name: honest.claims()[name].value for name in ("mrtd", "rtmr1", "rtmr2")}
    found = only(honest, "boot.image")
    assert isinstance(found.actual, dict)
    assert {name: found.actual[name] for name in said} == said
    for changes in ({"kind": "development"}, {"os_image_hash": ""}, {"origin": Origin.OBSERVED}):
        actual = with_rows(honest, changes).actual
        assert isinstance(actual, dict)
        assert {name: actual[name] for name in said} == said
