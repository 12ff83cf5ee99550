"""What came of a run, as a page."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from tests.mutation.block import GROWTH, SECONDS, Breach, Result
from tests.mutation.operations import Level, Op

PAIR: Final = "pair"
OPS: Final = (*(op.value for op in Op), PAIR)
MOST_LISTED: Final = 40

Cells = Mapping[tuple[str, str], Counter[str]]


def document(results: Sequence[Result], seed: int, cases: int, version: str) -> str:
    """The page of a run."""
    audits = _total(item.audits for item in results)
    inputs = _total(item.inputs for item in results)
    breaches = [breach for item in results for breach in item.breaches]
    growth = max((item.growth for item in results), default=0)
    slowest = _most(results, lambda item: item.slowest)
    slowest_input = _most(results, lambda item: item.slowest_input)
    met = len({item.case for item in results})
    lines = [
        "# Mutated evidence",
        "",
        f"""`make mutate`, seed {seed}, version `{version}` of auditor and judge:
{len(results):,} blocks of {met} of {cases} bundles, which are every simulated world, honest or
attacked, and what others recorded. One or two parts of a bundle are changed
(`tests/mutation/operations.py` says how), and it is audited as a whole; beside that, the parser of
its kind alone reads each of many changed artifacts. A run goes on where it ended.""",
        "",
        f"""A breach is an exception that is not the auditor's own, a check that crashed, a process
that died, more than {SECONDS:g} s of a processor or {GROWTH >> 20} MB more memory for one audit,
and what is better than without the change: a check that passes, a claim, a verdict.""",
        "",
        "| | Whole audits | Inputs of parsers |",
        "|---|--:|--:|",
        f"| done | {sum(audits.values()):,} | {sum(inputs.values()):,} |",
        f"| breaches | {_of(audits, 'breach'):,} | {_of(inputs, 'breach'):,} |",
        f"| slowest | {slowest:.2f} s | {slowest_input:.2f} s |",
        f"| most memory for one | {growth >> 20} MB | |",
        "",
        f"{sum(item.seconds for item in results) / 3600:.2f} hours of one processor.",
        "",
        "## Whole audits",
        "",
        """Audits / refused (exit not 0) / nothing decided otherwise / breaches, by the kind of the
artifact and what was done to it; of a pair, by the kind of its first.""",
        "",
        *_table(_cells(audits), OPS, _audits_cell),
        "",
        *_by_level(audits),
        "",
        "## Parsers alone",
        "",
        "Inputs / refused / breaches.",
        "",
        *_table(_cells(inputs), OPS[:-1], _inputs_cell),
        "",
        *_told(breaches),
    ]
    return "\n".join(lines) + "\n"


def _total(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for item in counts:
        found.update(item)
    return found


def _of(counts: Mapping[str, int], ending: str) -> int:
    return sum(count for key, count in counts.items() if ending in key.split("|")[-1].split())


def _most(results: Sequence[Result], what: Callable[[Result], float]) -> float:
    return max((what(item) for item in results), default=0)


def _cells(counts: Mapping[str, int]) -> Cells:
    """Endings by kind and operation."""
    found: dict[tuple[str, str], Counter[str]] = {}
    for key, count in counts.items():
        kind, op, *_, ending = key.split("|")
        found.setdefault((kind, op), Counter())[ending] += count
    return found


def _table(
    cells: Cells, ops: Sequence[str], cell: Callable[[Mapping[str, int]], str]
) -> Iterable[str]:
    yield f"| | {' | '.join(ops)} |"
    yield f"|---|{'--:|' * len(ops)}"
    for kind in sorted({kind for kind, _ in cells}):
        row = (cell(cells[kind, op]) if (kind, op) in cells else "" for op in ops)
        yield f"| {kind} | {' | '.join(row)} |"
    sums = {op: _total(held for (_, name), held in cells.items() if name == op) for op in ops}
    yield f"| **all** | {' | '.join(cell(sums[op]) for op in ops)} |"


def _audits_cell(endings: Mapping[str, int]) -> str:
    parts = (_of(endings, name) for name in ("refused", "unchanged", "breach"))
    return " / ".join(f"{part:,}" for part in (sum(endings.values()), *parts))


def _inputs_cell(endings: Mapping[str, int]) -> str:
    parts = (_of(endings, name) for name in ("refused", "breach"))
    return " / ".join(f"{part:,}" for part in (sum(endings.values()), *parts))


def _by_level(audits: Mapping[str, int]) -> Iterable[str]:
    yield "| The first was done to | audits | refused | unchanged | breaches |"
    yield "|---|--:|--:|--:|--:|"
    for level in Level:
        held = {key: count for key, count in audits.items() if key.split("|")[2] == level}
        yield f"| {level} | {_audits_cell(held).replace(' / ', ' | ')} |"


def _told(breaches: Sequence[Breach]) -> Iterable[str]:
    """Each breach once for what it says, with the least mutation that was found for it."""
    if not breaches:
        return
    yield "## Breaches"
    yield ""
    groups: dict[str, list[Breach]] = {}
    for item in breaches:
        groups.setdefault(item.found[0], []).append(item)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    for text, found in ordered[:MOST_LISTED]:
        least = min(found, key=lambda item: len(msgspec.json.encode(item.operations)))
        mutation = msgspec.json.encode(least.operations).decode()
        yield f"- {len(found)} times, first in `{least.case}`: {text}: `{mutation[:600]}`"
    if len(ordered) > MOST_LISTED:
        yield f"- and {len(ordered) - MOST_LISTED} more"
