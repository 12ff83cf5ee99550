"""What has to hold of the audit of mutated evidence, whatever was done to it.

Nothing crashes, and nothing gets better (`tests.worlds.monotone`). What was spliced in from another
bundle proves what it proved there, so that there something may be as good as it was in either. And
what the honest world gives, too, may tell the truth in a forged one.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Final

from tests.mutation.cases import Case, cases
from tests.mutation.operations import Level, Op, Operation, donated, mutated, received
from tests.worlds.damage import Json
from tests.worlds.monotone import (
    WORTH,
    breaches,
    is_of_another_quote,
    keeps_back,
    may_help,
    tied_to_another_quote,
)
from verifier.errors import VerifierError
from verifier.evidence.bundle import Kind
from verifier.model.report import Report, SubjectReport
from verifier.model.result import Basis, Claim, Status

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
    if donor is None and not any(map(_presents_another, operations)):
        return found + _better(case, after, operations)
    givers = [case] if donor is None else [case, donor]
    return found + _better_than(givers, after, operations)


def _presents_another(item: Operation) -> bool:
    """Whether an operation puts the whole attestation of one guest in the place of another's: what
    is claimed then is of that guest, and true of it."""
    whole = item.level is Level.ARTIFACT and item.op in (Op.SWAP, Op.SPLICE, Op.EXTEND)
    certificate = item.op is Op.SPLICE and item.path == (Json(), "app_cert")
    return item.kind is Kind.INFO and (whole or certificate)


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


def _better_than(
    givers: Sequence[Case], after: Report, operations: Sequence[Operation]
) -> list[str]:
    """What is better than in all that the evidence was taken from, and than in the honest world:
    as a whole, where all that was spliced in is of that one, too."""
    case, truth = givers[0], honest()
    reports = [item.report for item in givers]
    kept = [item for item in operations if not item.donor and _is_kept_back(case, item)]
    with suppress(VerifierError):
        between = case.again(mutated(case.bundle, kept, {}))
        if kept and not breaches(case.report, between, case.bundle, kept_back=True):
            reports.append(between)
    found = []
    if not any(map(_presents_another, operations)):
        found = _new(givers, [*reports, truth.report], after)
    if len(givers) > 1 and all(
        donated(item, givers[1].bundle)[0].sha256 in truth.bundle.blobs
        for item in operations
        if item.donor
    ):
        reports.append(truth.report)
    if WORTH.get(after.verdict, 0) > max(WORTH.get(item.verdict, 0) for item in reports):
        found.append(f"the verdict is {after.verdict}")
    return found


def _new(givers: Sequence[Case], reports: Sequence[Report], after: Report) -> list[str]:
    """The checks that pass, and the claims that are believed, in none of the reports."""
    subjects = [subject for report in reports for subject in report.subjects]
    passed = {
        item.id for subject in subjects for item in subject.checks if item.status is Status.PASS
    }
    claims = {(item.name, _told(item)) for subject in subjects for item in subject.claims}
    found = [
        f"{item.id} passes"
        for subject in after.subjects
        for item in subject.checks
        if item.status is Status.PASS and item.id not in passed
    ]
    return found + [
        f"{claim.name} is {claim.value}"
        for subject in after.subjects
        for claim in subject.claims
        if claim.basis in BELIEVED
        and (claim.name, _told(claim)) not in claims
        and not any(_is_of_a_quote(claim, subject.name, item) for item in givers)
        and not any(claim in _tied(item, subject) for item in givers)
    ]


def _is_of_a_quote(claim: Claim, name: str, giver: Case) -> bool:
    """Whether a claim is of a quote that the evidence had, for whichever attester: what is spliced
    in names another one."""
    names = {name, *(item.name for item in giver.report.subjects)}
    return any(is_of_another_quote(claim, each, giver.bundle) for each in names)


def _tied(giver: Case, after: SubjectReport) -> list[Claim]:
    """What is claimed of the attester's GPUs where another of its quotes is judged."""
    before = (item for item in giver.report.subjects if item.name == after.name)
    return [claim for item in before for claim in tied_to_another_quote(item, after, giver.bundle)]


def _told(claim: Claim) -> tuple[bool, str]:
    """Whether a claim is believed, and what it says, whoever says it: where one operator is silent,
    one is left."""
    value = claim.value
    if isinstance(value, dict):
        value = {name: item for name, item in value.items() if name != "single_source"}
    return claim.basis in BELIEVED, repr(value)
