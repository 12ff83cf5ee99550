"""What a check is, and how one is run.

A check is one function from a `Case` to an `Outcome`; its docstring is its public explanation.
It raises `MissingEvidence` when what it needs is not there, `Blocked` when what it needs is there
but not genuine, and lets `EvidenceError` pass when what it needs is malformed.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain.view import DisagreementError
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.model.result import CheckResult, EvidenceRef, JsonValue, SkipKind, Status

if TYPE_CHECKING:
    from verifier.checks.case import Case

USABLE = (Status.PASS, Status.WARN)
_COLLECT_AGAIN: Final = (
    "collect it again; if it stays so, what answers there is not the source that was meant, or "
    "something between here and there changes what it says"
)
_BADNESS: Final = (Status.PASS, Status.WARN, Status.SKIP, Status.ERROR, Status.FAIL)


class Outcome(Struct, frozen=True, kw_only=True):
    """What a check found; the engine adds which check it was.

    status       the outcome
    summary      what was found, one line
    expected     what would pass, as JSON; None where that is not one value
    actual       the value that was found, as JSON; None where there is none
    evidence     where in the bundle it comes from; () for nothing that can be pointed at
    reason       why the check was not evaluated, or more than the summary says; "" for nothing to
                 add
    skip_kind    why the check was skipped; None for any other status
    remediation  what to do about it; "" for nothing to advise
    """

    status: Status
    summary: str
    expected: JsonValue = None
    actual: JsonValue = None
    evidence: tuple[EvidenceRef, ...] = ()
    reason: str = ""
    skip_kind: SkipKind | None = None
    remediation: str = ""


class CheckSpec(Struct, frozen=True):
    """A registered check.

    id           the check's id, such as `hardware.quote`
    title        one statement, which is true exactly when the check passes
    requires     ids of the checks that must pass or warn before this one counts; () for none
    explanation  what it does and why, for the public: the docstring of its function
    run          what makes the outcome of a case
    unasked      gives the outcome where the relying party's question has nothing for the check to
                 look at, else None; evidence, and what the check requires of it, count for nothing
                 then. None for a check that always looks
    """

    id: str
    title: str
    requires: tuple[str, ...]
    explanation: str
    run: "Callable[[Case], Outcome]"
    unasked: "Callable[[Case], Outcome | None] | None" = None


def check(
    check_id: str,
    title: str,
    *,
    requires: tuple[str, ...] = (),
    unasked: "Callable[[Case], Outcome | None] | None" = None,
) -> "Callable[[Callable[[Case], Outcome]], CheckSpec]":
    """Make a check of a function."""

    def make(run: "Callable[[Case], Outcome]") -> CheckSpec:
        return CheckSpec(check_id, title, requires, inspect.getdoc(run) or "", run, unasked)

    return make


def passed(summary: str, **details: JsonValue | tuple[EvidenceRef, ...]) -> Outcome:
    """The title holds."""
    return _outcome(Status.PASS, summary, details)


def warned(summary: str, **details: JsonValue | tuple[EvidenceRef, ...]) -> Outcome:
    """The evidence is genuine, but the title holds only in part."""
    return _outcome(Status.WARN, summary, details)


def failed(summary: str, **details: JsonValue | tuple[EvidenceRef, ...]) -> Outcome:
    """The title is false."""
    return _outcome(Status.FAIL, summary, details)


def missing(summary: str, **details: JsonValue | tuple[EvidenceRef, ...]) -> Outcome:
    """What the check needs was not collected, or nobody vouches for it."""
    return replace(_outcome(Status.SKIP, summary, details), skip_kind=SkipKind.MISSING_EVIDENCE)


def malformed(summary: str, **details: JsonValue | tuple[EvidenceRef, ...]) -> Outcome:
    """What the check needs is there, and cannot be read."""
    return _outcome(Status.ERROR, summary, details)


def not_applicable(reason: str) -> Outcome:
    """A rule says that this attester has nothing that the check could look at."""
    return Outcome(
        status=Status.SKIP,
        summary=reason,
        reason=reason,
        skip_kind=SkipKind.NOT_APPLICABLE,
    )


def badness(outcome: Outcome) -> int:
    """How bad an outcome is beside others: what is false counts before what nobody can read, that
    before what is missing; what does not apply is no worse than what passes."""
    if outcome.skip_kind is SkipKind.NOT_APPLICABLE:
        return 0
    return _BADNESS.index(outcome.status)


def tried(find: Callable[[], Outcome]) -> Outcome:
    """What `find` gives, or why it cannot be known, as an outcome: so that one piece of evidence
    that cannot be read hides nothing of what another one shows."""
    try:
        return find()
    except Blocked as error:
        return _blocked(error.message)
    except MissingEvidence as error:
        return missing(error.message, reason=error.message, remediation=error.hint)
    except DisagreementError as error:
        return malformed(error.message, reason=error.message, remediation=error.hint)
    except EvidenceError as error:
        return unreadable(error)


def unreadable(error: EvidenceError) -> Outcome:
    """The outcome of evidence that is malformed."""
    return malformed(
        f"malformed evidence: {error.message}",
        reason=error.message,
        remediation=error.hint or _COLLECT_AGAIN,
    )


def run_checks(specs: Iterable[CheckSpec], case: "Case") -> tuple[CheckResult, ...]:
    """Run every check, each after those it requires; results stand in the order of `specs`."""
    by_id = {spec.id: spec for spec in specs}
    results: dict[str, CheckResult] = {}
    return tuple(_evaluate(spec, case, by_id, results) for spec in by_id.values())


def _evaluate(
    spec: CheckSpec, case: "Case", by_id: Mapping[str, CheckSpec], results: dict[str, CheckResult]
) -> CheckResult:
    """The result of a check, after those that it requires; `results` holds what is known."""
    if spec.id in results:
        return results[spec.id]
    unasked = spec.unasked(case) if spec.unasked is not None else None
    if unasked is not None:
        results[spec.id] = _result(spec, unasked)
    else:
        needed = {
            other: _evaluate(by_id[other], case, by_id, results)
            for other in spec.requires
            if other in by_id
        }
        results[spec.id] = _result(spec, _blocked_by(needed) or _run(spec, case))
    return results[spec.id]


def holds(spec: CheckSpec, case: "Case") -> bool:
    """Whether a check passes, or warns, on this evidence; what it requires is not looked at."""
    return _run(spec, case).status in USABLE


def _outcome(
    status: Status, summary: str, details: Mapping[str, JsonValue | tuple[EvidenceRef, ...]]
) -> Outcome:
    return Outcome(status=status, summary=summary, **details)  # type: ignore[arg-type]


def _blocked_by(needed: Mapping[str, CheckResult]) -> Outcome | None:
    for result in needed.values():
        if result.skip_kind is SkipKind.NOT_APPLICABLE:
            return not_applicable(result.reason)
    for other, result in needed.items():
        if result.status not in USABLE:
            return _blocked(other)
    return None


def _blocked(other: str) -> Outcome:
    return Outcome(
        status=Status.SKIP,
        summary=f"{other} did not pass",
        reason=f"{other} says whether this evidence is genuine, and did not pass",
        skip_kind=SkipKind.BLOCKED,
    )


def _run(spec: CheckSpec, case: "Case") -> Outcome:
    """The outcome of a check, which is made once for a case."""
    return case.once(spec, lambda: _made(spec, case))


def _made(spec: CheckSpec, case: "Case") -> Outcome:
    try:
        return tried(lambda: spec.run(case))
    except Exception as error:  # noqa: BLE001 - a crash in one check must not end the others
        reason = f"the check crashed: {type(error).__name__}: {error}"
        return Outcome(
            status=Status.ERROR,
            summary="the check crashed on this evidence",
            reason=reason,
            remediation="report this with the bundle: it is a defect of the auditor",
        )


def _result(spec: CheckSpec, outcome: Outcome) -> CheckResult:
    return CheckResult(
        id=spec.id,
        title=spec.title,
        status=outcome.status,
        summary=outcome.summary,
        expected=outcome.expected,
        actual=outcome.actual,
        evidence=outcome.evidence,
        reason=outcome.reason,
        skip_kind=outcome.skip_kind,
        remediation=outcome.remediation,
        requires=spec.requires,
    )
