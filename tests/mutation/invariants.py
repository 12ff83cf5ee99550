"""What has to hold of the audit of mutated evidence, whatever was done to it.

Nothing crashes, and nothing gets better (`tests.worlds.monotone`). What was spliced in from another
bundle proves what it proved there, so that there something may be as good as it was in either.
"""

from collections.abc import Sequence
from typing import Final

from tests.mutation.cases import Case
from tests.mutation.operations import Level, Op, Operation, received
from tests.worlds.monotone import WORTH, breaches, keeps_back, may_help
from verifier.model.report import Report, SubjectReport
from verifier.model.result import Basis, Status

BELIEVED: Final = frozenset(Basis) - {Basis.ASSERTED, Basis.UNKNOWN}
"""What a claim may rest on, short of somebody's word."""


def crashes(report: Report) -> list[str]:
    """The checks that crashed; only what they say tells a crash from malformed evidence."""
    return [
        f"{result.id}: {result.reason}"
        for subject in report.subjects
        for result in subject.checks
        if result.status is Status.ERROR and "the check crashed" in result.reason
    ]


def broken(
    case: Case, donor: Case | None, after: Report, operations: Sequence[Operation]
) -> list[str]:
    """What does not hold of an audit of mutated evidence; [] where all does."""
    found = crashes(after)
    if any(may_help(case.name, item.kind, item.path) for item in operations):
        return found
    if donor is None:
        kept_back = all(_is_kept_back(case, item) for item in operations)
        return found + breaches(case.report, after, case.bundle, kept_back=kept_back)
    return found + _better_than_both(case.report, donor.report, after)


def _is_kept_back(case: Case, item: Operation) -> bool:
    artifact = case.bundle.artifacts[received(case.bundle, item.kind)[item.number]]
    if item.level is not Level.NODE:
        return True
    return keeps_back(artifact, item.path, removed=item.op is Op.DROP)


def _better_than_both(one: Report, other: Report, after: Report) -> list[str]:
    subjects = (*one.subjects, *other.subjects)
    passed = {
        item.id for subject in subjects for item in subject.checks if item.status is Status.PASS
    }
    claims = {claim for subject in subjects for claim in _claims(subject)}
    found = [
        f"{item.id} passes"
        for subject in after.subjects
        for item in subject.checks
        if item.status is Status.PASS and item.id not in passed
    ]
    found += [
        f"{name} is {value}"
        for subject in after.subjects
        for name, value in _claims(subject)
        if (name, value) not in claims
    ]
    best = max(WORTH.get(item.verdict, 0) for item in (one, other))
    if WORTH.get(after.verdict, 0) > best:
        found.append(f"the verdict is {after.verdict}")
    return found


def _claims(subject: SubjectReport) -> list[tuple[str, str]]:
    return [(item.name, repr(item.value)) for item in subject.claims if item.basis in BELIEVED]
