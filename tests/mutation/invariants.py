"""What has to hold of the audit of mutated evidence, whatever was done to it.

Nothing crashes, and nothing gets better (`tests.worlds.monotone`). What was spliced in from another
bundle proves what it proved there, so that there something may be as good as it was in either. And
what the honest world gives, too, may tell the truth in a forged one, which is then as good as that
world with the same put in.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Final

from msgspec.structs import replace

from tests.mutation.cases import Case, cases
from tests.mutation.operations import Level, Op, Operation, donated, mutated, received
from tests.worlds.monotone import WORTH, breaches, keeps_back, may_help
from verifier.errors import VerifierError
from verifier.evidence.bundle import Bundle
from verifier.model.report import Report, SubjectReport
from verifier.model.result import Basis, JsonValue, Status

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
        return found + _better(case, after, operations)
    return found + _better_than(
        [case.report, donor.report, *_truths(case, donor, operations)], after
    )


def _better(case: Case, after: Report, operations: Sequence[Operation]) -> list[str]:
    """What got better: by what is kept back first, then by the rest."""
    kept = [item for item in operations if _is_kept_back(case, item)]
    if len(kept) in (0, len(operations)):
        return breaches(case.report, after, case.bundle, kept_back=bool(kept))
    with suppress(VerifierError):
        between = case.again(mutated(case.bundle, kept, {}))
        found = breaches(case.report, between, case.bundle, kept_back=True)
        return found + breaches(between, after, case.bundle, kept_back=False)
    return breaches(case.report, after, case.bundle, kept_back=False)


def _is_kept_back(case: Case, item: Operation) -> bool:
    artifact = case.bundle.artifacts[received(case.bundle, item.kind)[item.number]]
    if item.level is not Level.NODE:
        return True
    return keeps_back(artifact, item.path, removed=item.op is Op.DROP)


@cache
def honest() -> Case:
    """The world in which nobody lies."""
    return cases()["honest"]()


def _truths(case: Case, donor: Case, operations: Sequence[Operation]) -> list[Report]:
    """The reports about the honest world, where all that was spliced in is of it: as it is, and
    with the same put in."""
    truth = honest()
    known = set(truth.bundle.blobs)
    given = [donated(item, donor.bundle)[0] for item in operations if item.donor]
    if any(item.sha256 not in known for item in given):
        return []
    moved = [found for item in operations if (found := _moved(item, case.bundle, truth.bundle))]
    bundle = mutated(truth.bundle, moved, {donor.name: donor.bundle})
    with suppress(VerifierError):
        return [truth.report, truth.again(bundle)]
    return [truth.report]


def _moved(item: Operation, before: Bundle, after: Bundle) -> Operation | None:
    """The same operation on what another bundle holds in that place."""
    old = before.artifacts[received(before, item.kind)[item.number]]
    for number, place in enumerate(received(after, item.kind)):
        new = after.artifacts[place]
        if (new.source, new.request) == (old.source, old.request):
            return replace(item, number=number)
    return None


def _better_than(reports: Sequence[Report], after: Report) -> list[str]:
    subjects = [subject for report in reports for subject in report.subjects]
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
    best = max(WORTH.get(item.verdict, 0) for item in reports)
    if WORTH.get(after.verdict, 0) > best:
        found.append(f"the verdict is {after.verdict}")
    return found


def _claims(subject: SubjectReport) -> list[tuple[str, str]]:
    return [
        (item.name, repr(_whoever_says_it(item.value)))
        for item in subject.claims
        if item.basis in BELIEVED
    ]


def _whoever_says_it(value: JsonValue) -> JsonValue:
    """A value without how many operators gave it: where one is silent, one is left."""
    if not isinstance(value, dict):
        return value
    return {name: item for name, item in value.items() if name != "single_source"}
