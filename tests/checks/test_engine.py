"""How a check is run: what it raises, what it requires, and which outcome is worst."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Final, cast

import pytest

from verifier.chain.view import DisagreementError
from verifier.checks.case import Case
from verifier.checks.engine import (
    CheckSpec,
    Outcome,
    badness,
    check,
    failed,
    holds,
    malformed,
    missing,
    not_applicable,
    passed,
    run_checks,
    unreadable,
    warned,
)
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.model.result import CheckResult, SkipKind, Status


def case() -> Case:
    kept: dict[object, Outcome] = {}

    def once(key: object, compute: Callable[[], Outcome]) -> Outcome:
        if key not in kept:
            kept[key] = compute()
        return kept[key]

    return cast("Case", SimpleNamespace(once=once))


def spec(name: str, given: Outcome | Exception, *requires: str) -> CheckSpec:
    def run(_case: Case) -> Outcome:
        """What the check does."""
        if isinstance(given, Exception):
            raise given
        return given

    return check(name, name, requires=requires)(run)


def run(*specs: CheckSpec) -> dict[str, CheckResult]:
    return {item.id: item for item in run_checks(specs, case())}


HINTED: Final = EvidenceError("no JSON", hint="ask again")


@pytest.mark.parametrize(
    ("error", "status", "skip_kind", "hint"),
    [
        (Blocked("boot.registers"), Status.SKIP, SkipKind.BLOCKED, ""),
        (MissingEvidence("none", hint="bring it"), Status.SKIP, SkipKind.MISSING_EVIDENCE, "bring"),
        (DisagreementError("a and b", hint="a third"), Status.ERROR, None, "a third"),
        (HINTED, Status.ERROR, None, "ask again"),
        (EvidenceError("no JSON"), Status.ERROR, None, "collect it again"),
        (ZeroDivisionError(), Status.ERROR, None, "report this"),
    ],
    ids=["blocked", "missing", "differing", "hinted", "unreadable", "crashed"],
)
def test_what_a_check_raises_is_an_outcome(
    error: Exception, status: Status, skip_kind: SkipKind | None, hint: str
) -> None:
    found = run(spec("a", error))["a"]
    assert (found.status, found.skip_kind) == (status, skip_kind)
    assert found.remediation.startswith(hint)
    assert bool(found.reason)
    assert ("malformed evidence" in found.summary) is (type(error) is EvidenceError)


def test_evidence_that_cannot_be_read_says_what_to_do() -> None:
    assert unreadable(HINTED).remediation == "ask again"


OUTCOMES: Final = (
    passed("a"),
    warned("a"),
    missing("a"),
    malformed("a"),
    failed("a"),
)


def test_the_worst_of_several_outcomes() -> None:
    assert [badness(item) for item in OUTCOMES] == [0, 1, 2, 3, 4]
    assert badness(not_applicable("a")) == 0


@pytest.mark.parametrize("given", OUTCOMES)
def test_a_check_counts_where_what_it_requires_holds(given: Outcome) -> None:
    usable = given.status in (Status.PASS, Status.WARN)
    found = run(spec("b", passed("b"), "a"), spec("a", given))
    assert list(found) == ["b", "a"]
    assert found["a"].status is given.status
    assert (found["b"].status is Status.PASS) is usable
    assert (found["b"].skip_kind is SkipKind.BLOCKED) is not usable
    assert holds(spec("a", given), case()) is usable


def test_what_a_check_does_is_told_by_its_function() -> None:
    def silent(_case: Case) -> Outcome:
        return warned("a")

    assert spec("a", passed("a")).explanation == "What the check does."
    assert check("a", "a")(silent).explanation == ""
    assert run(check("a", "a")(silent))["a"].status is Status.WARN


def test_what_does_not_apply_is_not_blocked() -> None:
    nothing, bad = spec("a", not_applicable("nothing there")), spec("b", failed("b"))
    assert run(nothing)["a"].status is Status.SKIP
    for requires in (("a", "b"), ("b", "a")):
        found = run(nothing, bad, spec("c", passed("c"), *requires))["c"]
        assert (found.skip_kind, found.reason) == (SkipKind.NOT_APPLICABLE, "nothing there")


def test_a_requirement_that_nobody_runs_is_not_asked() -> None:
    assert run(spec("b", passed("b"), "a"))["b"].status is Status.PASS


def test_a_check_is_not_run_where_nothing_was_asked() -> None:
    bad = spec("a", failed("a"))
    looking = CheckSpec("b", "b", ("a",), "", bad.run, lambda _: not_applicable("not asked"))
    found = run(bad, looking)["b"]
    assert (found.skip_kind, found.reason) == (SkipKind.NOT_APPLICABLE, "not asked")
    asked = CheckSpec("b", "b", (), "", bad.run, lambda _: None)
    assert run(asked)["b"].status is Status.FAIL
