"""The page of what was found."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from benchmarks.mutants.listed import LISTED
from benchmarks.mutants.points import Point
from benchmarks.mutants.warm import SECONDS, Verdict

Found = tuple[Point, Verdict | None]

_INTRODUCTION: Final = f"""# Whether the tests would notice a wrong verifier

Comparisons, boolean operators, numbers, returned statuses and raised refusals of `checks`,
`policy`, `chain` and `timeline` are changed, one at a time, in the memory of a process that has the
tests ready; texts are left alone. A change is put to the tests of these rooms and of the simulated
worlds that run its line, those that go a rare way through its function first, until one fails, or
for {SECONDS:.0f} s of the processor's time. Tests that compare whole reports, and command lines,
are left out: they would notice most of what survives here, and not say why.
`make mutants` replays the edits that were picked by hand, and goes on where the last run ended.
"""


def written(picked: Mapping[str, Verdict], found: Sequence[Found], seed: int) -> str:
    """The page."""
    lived = [why for why, verdict in picked.items() if not verdict.killed]
    return "\n".join(
        [
            _INTRODUCTION,
            f"Edits picked by hand: {len(picked)}; noticed: {len(picked) - len(lived)}.",
            *(f"- not noticed: {why}" for why in lived),
            "",
            f"Of {len(found):,} changes, those of checks and policy first, in seed {seed}'s order:",
            "",
            *_table(found),
            "",
            "## What survived",
            "",
            *_survivors(found),
            "",
        ]
    )


def _table(found: Sequence[Found]) -> Iterable[str]:
    yield "| file | noticed | survived | alive when time was up | run by no test | not tried |"
    yield "|---|--:|--:|--:|--:|--:|"
    files = sorted({point.file for point, _ in found})
    for file in files:
        rows = [verdict for point, verdict in found if point.file == file]
        yield f"| {file.removeprefix('verifier/')} | {_counts(rows)} |"
    yield f"| **all** | {_counts([verdict for _, verdict in found])} |"


def _counts(verdicts: Sequence[Verdict | None]) -> str:
    kinds = [_kind(verdict) for verdict in verdicts]
    order = ("noticed", "survived", "alive", "no test", "not tried")
    return " | ".join(f"{kinds.count(kind):,}" for kind in order)


def _kind(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not tried"
    if verdict.killed:
        return "noticed"
    if not verdict.asked:
        return "no test"
    return "survived" if verdict.ran == verdict.asked else "alive"


def _survivors(found: Sequence[Found]) -> Iterable[str]:
    """What no test noticed, with what it means where somebody has looked."""
    for point, verdict in sorted(found, key=lambda each: (each[0].file, each[0].line)):
        if verdict is not None and not verdict.killed:
            said = LISTED.get(point.name, "")
            change = f"`{_short(point.before)}` → `{_short(point.after)}`"
            where = f"{point.file.removeprefix('verifier/')}:{point.line} {point.function}"
            asked = f"{_kind(verdict)}, {verdict.ran} of {verdict.asked} tests"
            yield f"- {where}: {change} ({asked}){': ' if said else ''}{said}"


def _short(text: str) -> str:
    return text if len(text) <= 100 else f"{text[:100]}…"  # noqa: PLR2004 - a line of the page
