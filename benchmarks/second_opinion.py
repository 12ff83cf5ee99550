"""Two verifiers of quotes over many: `make differential` writes second_opinion.md beside this file.

Real quotes (recorded evidence lies in `../shared`, and is no part of the project), the quotes of
every world of the catalogue of attacks, and changed ones: most changes are made below a signature,
which the simulated world's keys then make again. dcap_qvl's own word is compared with our own
verifier's; what the check `hardware.quote` says is counted beside them. A run goes on where the
last one ended.

    python -m benchmarks.second_opinion [--seconds N] [--checks N] [--seed N]
"""

import argparse
import json
import platform
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from benchmarks.quote_changes import Asked, Members, changed, simulated
from benchmarks.quote_differences import check_says, why
from tests.evidence.recorded import RECORDED
from tests.judged import version
from tests.worlds.attacked import carry_out
from verifier.checks.agreement import differences, quote_opinion, second_name
from verifier.checks.case import Case
from verifier.checks.dcap import verifier_name, verify_quote
from verifier.checks.hardware.endorsements import choose_endorsements
from verifier.checks.second_opinion.judge import judge_quote
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.import_files import import_files
from verifier.evidence.subject import read_subject
from verifier.evidence.td.collateral import CollateralParts, read_collateral
from verifier.evidence.td.quote import parse_quote
from verifier.lab.attacks import ATTACKS
from verifier.reference.values import embedded
from verifier.version import DISTRIBUTION, tool_version

HERE: Final = Path(__file__).parent
STATE: Final = Path(".second_opinion.json")
CHUNK: Final = 250
ROUNDS: Final = 40
_HOUR: Final = 3600
Found = dict[str, Counter[str]]


def real() -> list[Asked]:
    """Every recorded quote, with the collateral that endorses it at each time at which some was
    issued, an hour later."""
    files = [path for path in sorted(RECORDED.rglob("*")) if path.is_file()]
    bundles = [found for found in map(_imported, files) if found is not None]
    quotes = sorted({quote for quotes, _ in bundles for quote in quotes})
    parts = CollateralParts(
        tuple(item for _, found in bundles for item in found.documents),
        tuple(item for _, found in bundles for item in found.crls),
        (),
    )
    times = sorted({item.issued + _HOUR for item in parts.documents})
    root, asked = embedded().root, dict[object, Asked]()
    for quote in quotes:
        for at in times:
            try:
                chosen = choose_endorsements(parts, quote, root, at)
            except (EvidenceError, MissingEvidence):
                continue
            if not chosen.failure and chosen.window[0] <= at <= chosen.window[1]:
                members: Members = dict(chosen.members)
                key = (quote, tuple(sorted(members.items())))
                asked.setdefault(key, Asked(quote, members, root, at))
    return list(asked.values())


def _imported(path: Path) -> tuple[set[bytes], CollateralParts] | None:
    """The quotes and the collateral in a file, if it has any."""
    try:
        bundle = import_files([(path.name, path.read_bytes())], collected_at=0)
        quotes = {
            parse_quote(item.quote, path.name).raw for item in read_subject(bundle, "").quotes
        }
        return quotes, read_collateral(bundle)
    except EvidenceError:
        return None


def compared(asked: Asked, found: Found) -> None:
    """Count what the two verifiers, and the check, say of one quote."""
    given = (asked.quote, asked.members, asked.root, asked.at)
    first, second = verify_quote(*given), judge_quote(*given)
    words = list(differences(first, second))
    says = ["refuses" if item.failure else "accepts" for item in (first, second)]
    found["outcomes"]["/".join(says)] += 1
    found["changes"].update(set(asked.change.split("; ")))
    if not words:
        return
    explained = why(first, second)
    if explained:
        found["explained"][f"{explained}/{check_says(asked)}"] += 1
    else:
        found["unexplained"][f"{asked.change}: {'; '.join(words)}"] += 1


def empty() -> Found:
    names = ("outcomes", "changes", "explained", "unexplained", "worlds", "disagreements")
    return {name: Counter() for name in names}


def over_changed(kinds: list[list[Asked]], chunk: int, seed: int, size: int = CHUNK) -> Found:
    """One chunk of changed quotes, as many of each kind; its draw depends on its number and the
    seed alone."""
    draw, found = random.Random(f"{seed} {chunk}"), empty()  # noqa: S311 - seeded on purpose
    for _ in range(size):
        compared(changed(draw.choice(draw.choice(kinds)), draw), found)
    return found


def over_catalogue(names: list[str]) -> Found:
    """Every quote in the evidence of these worlds of the catalogue, judged by both."""
    found = empty()
    for attack in ATTACKS:
        if attack.name not in names:
            continue
        audited = carry_out(attack)
        exchanges = Exchanges(audited.bundle)
        question = replace(audited.question, second_opinion=True)
        for subject in audited.bundle.subjects:
            evidence = read_subject(audited.bundle, subject)
            for source in evidence.quotes:
                with suppress(EvidenceError, MissingEvidence):
                    _ = Case(evidence, question, exchanges, source=source).dcap
        opinion = quote_opinion(exchanges)
        found["worlds"] += Counter(worlds=1, quotes=opinion.quotes)
        if opinion.disagreements:
            found["disagreements"][f"{attack.name}: {opinion.disagreements[0]}"] += 1
    return found


def resumed(state: dict[str, Any], ends: float, name: str, compute: Callable[[], Found]) -> Found:
    """What a part of the run found, now or in an earlier run; nothing where there is no time."""
    if name not in state and time.monotonic() > ends:
        return {}
    if name not in state:
        state[name] = {key: dict(counts) for key, counts in compute().items()}
        STATE.write_text(json.dumps(state), encoding="utf-8")
    return {key: Counter(counts) for key, counts in state[name].items()}


def total(parts: Iterator[Found]) -> Found:
    """Several of them, added up."""
    found = empty()
    for part in parts:
        for name, counts in part.items():
            found.setdefault(name, Counter()).update(counts)
    return found


def cost(asked: Asked) -> tuple[float, float]:
    """Median milliseconds of each verifier for one quote."""
    given = (asked.quote, asked.members, asked.root, asked.at)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, verify in zip(taken, (verify_quote, judge_quote), strict=True):
            started = time.process_time()
            verify(*given)
            times.append(1000 * (time.process_time() - started))
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> int:
    """Run what is left of it, and write what came of all."""
    given = argparse.ArgumentParser()
    given.add_argument("--seconds", type=float, default=7200)
    given.add_argument("--checks", type=int, default=20_000)
    given.add_argument("--seed", type=int, default=1)
    options = given.parse_args()
    seed, ends = options.seed, time.monotonic() + options.seconds
    state: dict[str, Any] = json.loads(STATE.read_text()) if STATE.exists() else {}
    code = version(["benchmarks/second_opinion.py"])
    if state.get("code") != code:
        state = {"code": code}
    recorded = real() if RECORDED.is_dir() else []
    of_real = empty()
    for asked in recorded:
        compared(asked, of_real)
    kinds = [found for found in (list(simulated()), recorded) if found]
    changes = total(
        resumed(state, ends, f"{seed} {chunk}", partial(over_changed, kinds, chunk, seed))
        for chunk in range(options.checks // CHUNK)
    )
    names = [attack.name for attack in ATTACKS]
    worlds = total(
        resumed(state, ends, f"worlds {at}", partial(over_catalogue, names[at : at + 10]))
        for at in range(0, len(names), 10)
    )
    times = cost(kinds[-1][0])
    text = document(of_real, len({asked.quote for asked in recorded}), worlds, changes, times, seed)
    (HERE / "second_opinion.md").write_text(text, encoding="utf-8")
    wrong = [of_real["unexplained"], of_real["explained"], changes["unexplained"]]
    return int(any(wrong))


def document(  # noqa: PLR0913, PLR0917 - the parts of the page
    of_real: Found,
    quotes: int,
    worlds: Found,
    changes: Found,
    times: tuple[float, float],
    seed: int,
) -> str:
    """What came of it, as a page."""
    counted, disagreements = worlds["worlds"], worlds["disagreements"]
    unexplained = [*of_real["unexplained"], *changes["unexplained"]]
    differ = sum(changes["explained"].values()) + sum(changes["unexplained"].values())
    judged = counted["quotes"] + sum(disagreements.values())
    lines = [
        "# Two verifiers of quotes",
        "",
        (
            f"`make differential`, seed {seed}: {DISTRIBUTION} {tool_version()}, "
            f"{verifier_name()}, {second_name()}, Python {platform.python_version()}, "
            f"{platform.machine()}."
        ),
        "",
        "| Quotes | Checks | Both accept | Both refuse | They differ |",
        "|---|--:|--:|--:|--:|",
        _row(f"{quotes} real ones, each with all collateral that endorses it", of_real),
        _row("changed ones, real and simulated", changes),
        (
            f"| of {counted['worlds']} of the catalogue's {len(ATTACKS)} worlds | {judged:,} | | | "
            f"{sum(disagreements.values())} |"
        ),
        "",
        (
            f"Of the {differ:,} differences about changed quotes, "
            f"{sum(changes['unexplained'].values())} are not explained. In the others one verifier "
            "refuses what the other accepts; where both accept, they say the same."
        ),
        "",
        *_sections(changes, unexplained, disagreements),
        "## Cost",
        "",
        (
            f"One quote, median of {ROUNDS}, in CPU time: dcap_qvl {times[0]:.1f} ms, the second "
            f"verifier {times[1]:.1f} ms."
        ),
    ]
    return "\n".join(lines) + "\n"


def _sections(changes: Found, unexplained: list[str], disagreements: Counter[str]) -> Iterator[str]:
    """What they differ about, and what was changed."""
    yield from (
        "## What one of them reads narrower",
        "",
        "| Who refuses | Because of | Times | The check accepts | refuses | lacks evidence |",
        "|---|---|--:|--:|--:|--:|",
        *_reasons(changes["explained"]),
        "",
        "The check alone decides without a second opinion; with one, each of these is an error.",
        "",
        "## Unexplained",
        "",
        *([f"- {words}" for words in unexplained] or ["Nothing."]),
        "",
        "## Worlds of the catalogue",
        "",
        *([f"- {words}" for words in sorted(disagreements)] or ["No disagreement."]),
        "",
        "## What was changed",
        "",
        "| Change | Checks |",
        "|---|--:|",
        *(f"| {name} | {number:,} |" for name, number in sorted(changes["changes"].items())),
        "",
    )


def _row(name: str, found: Found) -> str:
    outcomes = found["outcomes"]
    differ = sum(found["explained"].values()) + sum(found["unexplained"].values())
    both = (outcomes["accepts/accepts"], outcomes["refuses/refuses"])
    cells = (sum(outcomes.values()), *both, differ)
    return f"| {name} | {' | '.join(f'{number:,}' for number in cells)} |"


def _reasons(counts: Counter[str]) -> Iterator[str]:
    rows: dict[str, Counter[str]] = {}
    for key, number in counts.items():
        reason, _, says = key.rpartition("/")
        rows.setdefault(reason, Counter())[says] += number
    for reason, said in sorted(rows.items(), key=lambda item: -sum(item[1].values())):
        side, _, because = reason.partition(": ")
        cells = (sum(said.values()), said["accepted"], said["refused"], said["missing"])
        yield f"| {side} | {because} | {' | '.join(f'{number:,}' for number in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
