"""What has to come of a forgery, and of honest evidence.

A test that is marked as open holds a forgery that is accepted, or honest evidence that is refused.
Only the one error of its last statement counts as expected: a world that cannot be made, and an
assertion about how it was made, fail the test. Whoever mends a check takes the mark away, since a
test that passes under it fails.
"""

import pytest

from tests.worlds.audited import Audited
from verifier.model.result import VERDICT_ORDER, CheckResult, SkipKind, Status, Verdict


class AcceptedError(AssertionError):
    """A forgery is as good as honest evidence."""


class RefusedError(AssertionError):
    """Honest evidence is worth less than it proves."""


open_forgery = pytest.mark.xfail(strict=True, raises=AcceptedError, reason="accepted forgery")
open_refusal = pytest.mark.xfail(strict=True, raises=RefusedError, reason="honest and refused")


def notices(result: CheckResult, *, refusing: bool = False) -> bool:
    """Whether a check fails, errs, warns or misses evidence; `refusing`: fails or errs."""
    if result.status in (Status.FAIL, Status.ERROR):
        return True
    doubts = result.status is Status.WARN or result.skip_kind is SkipKind.MISSING_EVIDENCE
    return doubts and not refusing


def assert_noticed(audited: Audited, *check_ids: str, refusing: bool = False) -> None:
    """One of the checks notices (see `notices`) and the app is not affirmed."""
    results = [result for check_id in check_ids for result in audited.check(check_id)]
    assert results, f"no check is called {' or '.join(check_ids)}"
    if not any(notices(result, refusing=refusing) for result in results):
        raise AcceptedError(told(audited, results))
    if audited.report.verdict is Verdict.AFFIRMING:
        raise AcceptedError(told(audited, results))


def assert_no_better(audited: Audited, other: Audited) -> None:
    """The verdict is the same as another one, or a worse one."""
    rank, least = (VERDICT_ORDER.index(item.report.verdict) for item in (audited, other))
    if rank < least:
        raise AcceptedError(f"{audited.report.verdict} beside {other.report.verdict}")


def assert_stands(audited: Audited, *check_ids: str, verdict: Verdict = Verdict.AFFIRMING) -> None:
    """Every one of the checks passes, and the verdict is that of honest evidence."""
    results = [result for check_id in check_ids for result in audited.check(check_id)]
    assert len(results) >= len(check_ids)
    passed = all(result.status is Status.PASS for result in results)
    if not passed or audited.report.verdict is not verdict:
        raise RefusedError(told(audited, results))


def told(audited: Audited, results: list[CheckResult]) -> str:
    """The verdict, and what these checks say."""
    lines = [f"{item.id} {item.status} {item.summary}: {item.reason}" for item in results]
    return "; ".join((f"{audited.report.policy_name} {audited.report.verdict}", *lines))
