"""One part of a run: some mutations of one case, each audited, and inputs for parsers alone.

A block runs in a process of its own, which may die of an input: where it is stands in memory that
its parent shares. What one audit may take is limited, so that one which never ends, or which takes
all memory, dies as well.
"""

import gc
import resource
import signal
import time
import traceback
from mmap import mmap
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from tests.mutation.cases import Case, cases
from tests.mutation.chosen import Choices, seeded
from tests.mutation.invariants import broken
from tests.mutation.operations import Operation, mutated, received
from tests.mutation.parsers import parsed
from tests.mutation.shrink import Mutation, shrunk
from tests.worlds.audited import decisions
from verifier.collection import plan_collection
from verifier.errors import VerifierError
from verifier.model.report import Report
from verifier.report.audit.html import render_html
from verifier.report.audit.json import render_json

AUDITS: Final = 100
INPUTS: Final = 1000
EVERY: Final = 10
"""In so many audits, one is also done without what was read before, planned further, and shown."""
SECONDS: Final = 5.0
GROWTH: Final = 256 << 20
LAST_SECONDS: Final = 60
ADDRESSES: Final = 6 << 30
"""Beyond these limits the process of the block ends."""


class Breach(Struct, frozen=True):
    """What did not hold, and for which mutation: of a whole audit, or of a parser alone."""

    case: str
    number: int
    whole: bool
    operations: Mutation
    found: tuple[str, ...]


class Result(Struct):
    """What came of a block.

    case      the evidence
    turn      how many blocks of the case came before
    audits    how many audits ended how, by kind, operation, level and ending
    inputs    how many inputs of parsers ended how, by kind, operation and ending
    breaches  what did not hold
    slowest   the most processor time of one audit, seconds
    slowest_input  the same of one input of a parser
    growth    by how much one audit raised the most memory that the process held, bytes
    seconds   the processor time of all of it
    """

    case: str
    turn: int
    audits: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, int] = field(default_factory=dict)
    breaches: list[Breach] = field(default_factory=list)
    slowest: float = 0.0
    slowest_input: float = 0.0
    growth: int = 0
    seconds: float = 0.0


class Trial:
    """One case with a donor, and the mutations that a seed chooses for a block of it."""

    def __init__(self, seed: int, name: str, turn: int) -> None:
        made = cases()
        names = sorted(made)
        self.seed, self.name, self.turn = seed, name, turn
        self.case = made[name]()
        self.donor = made[seeded(seed, name, turn, "donor").choice(names)]()
        self.choices = Choices(self.case.bundle, self.donor.bundle, self.donor.name)

    def mutation(self, number: int) -> Mutation:
        """The mutation of this number."""
        return self.choices.mutation(seeded(self.seed, self.name, self.turn, "audit", number))

    def input(self, number: int) -> Operation:
        """The operation that makes the parser's input of this number."""
        random = seeded(self.seed, self.name, self.turn, "input", number)
        places = self.choices.artifacts
        kind = random.choice(sorted({kind for kind, _ in places}))
        return self.choices.edit(random, *random.choice([x for x in places if x[0] is kind]))


def audited(case: Case, donor: Case | None, operations: Mutation, *, fully: bool) -> Report:
    """The report about mutated evidence, rendered where it says something else."""
    donors = {} if donor is None else {donor.name: donor.bundle}
    bundle = mutated(case.bundle, operations, donors)
    report = case.again(bundle)
    if fully or decisions(report) != decisions(case.report):
        render_json(report)
    if fully:
        plan_collection(bundle, case.question)
        render_html(report)
        if render_json(case.again(bundle, unread=True)) != render_json(report):
            raise AssertionError("what was read before changes the report")
    return report


def faults(
    case: Case, donor: Case | None, operations: Mutation, *, fully: bool
) -> tuple[str, list[str]]:
    """How the audit of a mutation ended, and what does not hold of it."""
    used = donor if any(item.donor for item in operations) else None
    before = time.process_time(), most_memory()
    try:
        report = audited(case, used, operations, fully=fully)
    except VerifierError:
        return "refused", []
    except Exception as error:  # noqa: BLE001 - what is looked for
        return "breach", [_crash(error)]
    found = broken(case, used, report, operations)
    spent, grown = time.process_time() - before[0], most_memory() - before[1]
    if spent > SECONDS * (3 if fully else 1):
        found.append(f"it took {spent:.0f} s")
    if grown > GROWTH:
        found.append(f"it took {grown >> 20} MB")
    if found:
        return "breach", found
    same = decisions(report) == decisions(case.report)
    return f"{'accepted' if report.accepted else 'refused'}{' unchanged' if same else ''}", []


def tried(case: Case, operation: Operation, donor: Case) -> tuple[str, list[str]]:
    """How the parser of its kind takes an artifact after an operation, and what does not hold."""
    place = received(case.bundle, operation.kind)[operation.number]
    bundle = mutated(case.bundle, (operation,), {donor.name: donor.bundle})
    artifact = bundle.artifacts[place]
    started = time.process_time()
    try:
        parsed(artifact, bundle.blob(artifact))
        ending, found = "read", list[str]()
    except VerifierError:
        ending, found = "refused", []
    except Exception as error:  # noqa: BLE001 - what is looked for
        return "breach", [_crash(error)]
    spent = time.process_time() - started
    return ("breach", [f"it took {spent:.0f} s"]) if spent > SECONDS else (ending, found)


def run(seed: int, name: str, turn: int, marker: mmap, skip: frozenset[int]) -> Result:
    """A block, in a process of its own. The marker holds the number that is tried: audits first,
    then the inputs of parsers. `skip` are those of which the process died before."""
    begun = time.process_time()
    result = Result(name, turn)
    trial = Trial(seed, name, turn)
    gc.freeze()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    for number in range(AUDITS + INPUTS):
        if number in skip:
            continue
        marker[:8] = number.to_bytes(8)
        signal.setitimer(signal.ITIMER_PROF, LAST_SECONDS)
        started = time.process_time()
        if number < AUDITS:
            _audit(trial, number, result)
            result.slowest = max(result.slowest, time.process_time() - started)
        else:
            _parse(trial, number - AUDITS, result)
            result.slowest_input = max(result.slowest_input, time.process_time() - started)
    signal.setitimer(signal.ITIMER_PROF, 0)
    result.seconds = time.process_time() - begun
    return result


def dead(trial: Trial, number: int, why: str) -> Breach:
    """The breach of the number of which a process died."""
    whole = number < AUDITS
    operations = trial.mutation(number) if whole else (trial.input(number - AUDITS),)
    return Breach(trial.name, number, whole, operations, (f"the process died: {why}",))


def _audit(trial: Trial, number: int, result: Result) -> None:
    operations = trial.mutation(number)
    before = most_memory()
    fully = number % EVERY == 0

    def fails(smaller: Mutation) -> bool:
        return bool(faults(trial.case, trial.donor, smaller, fully=fully)[1])

    ending, found = faults(trial.case, trial.donor, operations, fully=fully)
    result.growth = max(result.growth, most_memory() - before)
    first = operations[0]
    op = "pair" if len(operations) > 1 else first.op.value
    _count(result.audits, first.kind, op, first.level, ending)
    if found:
        least = shrunk(operations, fails)
        found = faults(trial.case, trial.donor, least, fully=fully)[1] or found
        result.breaches.append(Breach(trial.name, number, True, least, tuple(found)))  # noqa: FBT003


def _parse(trial: Trial, number: int, result: Result) -> None:
    operation = trial.input(number)
    ending, found = tried(trial.case, operation, trial.donor)
    _count(result.inputs, operation.kind, operation.op, ending)
    if found:
        least = shrunk((operation,), lambda x: bool(tried(trial.case, x[0], trial.donor)[1]))
        found = tried(trial.case, least[0], trial.donor)[1] or found
        breach = Breach(trial.name, AUDITS + number, False, least, tuple(found))  # noqa: FBT003
        result.breaches.append(breach)


def _count(counts: dict[str, int], *names: str) -> None:
    key = "|".join(names)
    counts[key] = counts.get(key, 0) + 1


def most_memory() -> int:
    """The most memory that this process ever held, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _crash(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}:{frame.lineno}"
    return f"{type(error).__name__} at {where}: {str(error)[:200]}"
