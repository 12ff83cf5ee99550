"""How the manifest rules do on real manifests: `make corpus` writes corpus.md beside this file.

The corpus is not part of this project: real manifests, and expectations that somebody wrote by hand
from reading them. `MUST` lists findings to be reported, `NOT` what must not be reported at medium
or worse. An expectation names rules (`IMG-004/005`: either) and, after `@` or in capitals, where;
each rule at each place counts as one. What it says about differences between manifests, and about
severities, is not scored.
"""

import re
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from verifier.manifest.audit import ManifestAudit, audit_manifest
from verifier.model.result import Severity

HERE: Final = Path(__file__).parent
CORPUS: Final = HERE.parents[1] / "shared" / "corpus"

SIZE: Final = 20_000
ROUNDS: Final = 50

_HEADING = re.compile(r"^### (\d+) deployed/(\S+)", re.MULTILINE)
_RULE = re.compile(r"\b([A-Z]{3})-(\d{3}|\*)((?:/(?:[A-Z]{3}-)?\d{3})*)")
_ALTERNATIVE = re.compile(r"\((?:or|unless)\b[^()]*?\b([A-Z]{3}-\d{3})\)")
_NOTHING = re.compile(r"→ no finding|\bnone\.|, not [A-Z]{3}-\d{3}")
_AS_OTHER = re.compile(r"\bas #(\d+) plus ")
_NAME = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|\bLAUNCHER_CHANNEL\b")
_SERVICE = re.compile(r"@([\w-]+)")
_PARENTHESES = re.compile(r"\([^()]*\)")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One rule (or one of several) at one place ("" = anywhere)."""

    rules: tuple[str, ...]
    place: str
    text: str
    beyond_medium: bool = False

    def found(self, audit: ManifestAudit, at_least: Severity) -> bool:
        """Whether the audit reports it, at this severity or worse."""
        return any(
            any(re.fullmatch(rule, finding.rule) for rule in self.rules)
            and self.place.lower()
            in f"{finding.service} {finding.message} {finding.location.pointer}".lower()
            for finding in audit.at_least(at_least)
        )


@dataclass(frozen=True, slots=True)
class Score:
    """What one manifest gave."""

    name: str
    must: tuple[tuple[Expectation, bool], ...]
    forbidden: tuple[tuple[Expectation, bool], ...]

    @property
    def missed(self) -> list[Expectation]:
        """Expected, and not reported."""
        return [expected for expected, found in self.must if not found]

    @property
    def wrong(self) -> list[Expectation]:
        """Reported against the expectation."""
        return [expected for expected, found in self.forbidden if found]


def scores() -> Iterator[Score]:
    """The score of each manifest that has expectations."""
    text = (CORPUS / "expected.md").read_text(encoding="utf-8")
    parts = _HEADING.split(text)[1:]
    earlier: dict[str, list[Expectation]] = {}
    for number, named, section in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        path = _file(named)
        audit = audit_manifest(path.read_bytes())
        must, forbidden = _sections(section)
        other = _AS_OTHER.search(section)
        must = [*(earlier[other[1]] if other else []), *must]
        earlier[number] = must
        yield Score(
            path.stem[:24] + "…" + path.stem[-8:],
            tuple((e, e.found(audit, Severity.INFO)) for e in must),
            tuple(
                (e, e.found(audit, Severity.HIGH if e.beyond_medium else Severity.MEDIUM))
                for e in forbidden
            ),
        )


def _file(named: str) -> Path:
    """The file that a heading names; `…` stands for what was left out."""
    return next((CORPUS / "deployed").glob(named.replace("…", "*")))


def _sections(section: str) -> tuple[list[Expectation], list[Expectation]]:
    must: list[Expectation] = []
    forbidden: list[Expectation] = []
    for part in re.split(r"(?=\bMUST\b|\bNOT: |\bMAY\b|^DIF |^Note)", section, flags=re.MULTILINE):
        body = part.partition(":")[2]
        if part.startswith("MUST") and "supplied" not in part.partition(":")[0]:
            must.extend(_expectations(body))
        elif part.startswith("NOT"):
            forbidden.extend(_expectations(body))
    return must, forbidden


def _expectations(body: str) -> Iterator[Expectation]:
    for item in _AS_OTHER.sub("", body).split(";"):
        alternatives = tuple(_ALTERNATIVE.findall(item))
        # What stands in parentheses explains.
        said = _NOTHING.split(_PARENTHESES.sub("", item))[0] if ", not " in item else item
        said = _PARENTHESES.sub("", said)
        if _NOTHING.search(said):
            continue
        groups = re.split(r"(?<![/\w])(?=[A-Z]{3}-(?:\d{3}|\*))", said)
        places: list[str] = []
        found: list[Expectation] = []
        # `A+B @service`: the place follows the last of them.
        for group in reversed(groups):
            match = _RULE.search(group)
            if match is None:
                continue
            own = _SERVICE.findall(group) or _NAME.findall(group)
            places = own if own or not group.rstrip().endswith("+") else places
            rules = (*_rules(match), *alternatives)
            text = " ".join(item.split())[:90]
            beyond = "beyond medium" in item
            found += [Expectation(rules, place, text, beyond) for place in places or [""]]
        yield from reversed(found)


def _rules(match: re.Match[str]) -> Iterator[str]:
    """`IMG-004/005`, `ENV-001/ENV-008` and `PLS-*` as patterns of rule ids."""
    yield f"{match[1]}-{match[2]}".replace("*", r"\d{3}")
    for other in filter(None, match[3].split("/")):
        yield other if "-" in other else f"{match[1]}-{other}"


def report(found: list[Score]) -> str:
    """The table, and what was missed or wrong, as Markdown."""
    lines = [
        "# The manifest rules on deployed manifests",
        "",
        "Written by `make corpus`. Expectations were written by hand from the manifests, before",
        "the rules; each counts once for each rule and place. Recall: expected findings reported.",
        "Precision: of these and the forbidden ones (at medium or worse), those that are right.",
        "Findings that no expectation mentions are not scored.",
        "",
        "| Manifest | Expected | Found | Forbidden | Reported | Recall | Precision |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    totals = [0, 0, 0, 0]
    for score in found:
        numbers = [
            len(score.must),
            len(score.must) - len(score.missed),
            len(score.forbidden),
            len(score.wrong),
        ]
        totals = [a + b for a, b in zip(totals, numbers, strict=True)]
        lines.append(_row(score.name, numbers))
    lines.append(_row("**All**", totals))
    missed = [(score.name, "missed", e) for score in found for e in score.missed]
    wrong = [(score.name, "wrong", e) for score in found for e in score.wrong]
    if missed or wrong:
        lines += ["", "| Manifest | | Rules | Place | Expectation |", "|---|---|---|---|---|"]
    for name, what, e in missed + wrong:
        text = e.text.replace("|", "\\|")
        lines.append(f"| {name} | {what} | {', '.join(e.rules)} | {e.place} | {text} |")
    return "\n".join(lines) + "\n"


def _row(name: str, numbers: list[int]) -> str:
    expected, right, forbidden, wrong = numbers
    recall = f"{right / expected:.3f}" if expected else "-"
    precision = f"{right / (right + wrong):.3f}" if right + wrong else "-"
    return f"| {name} | {expected} | {right} | {forbidden} | {wrong} | {recall} | {precision} |"


def main() -> int:
    """Print the table and write it down."""
    if not CORPUS.is_dir():
        print("corpus: the shared corpus is not beside this checkout", file=sys.stderr)
        return 1
    text = report(list(scores()))
    (HERE / "corpus.md").write_text(text, encoding="utf-8")
    print(text)
    name, size, milliseconds = speed()
    print(f"{name}, {size} bytes: {milliseconds:.1f} ms, median of {ROUNDS}, YAML included")
    return 0


def speed() -> tuple[str, int, float]:
    """Name and size of the manifest that is nearest to 20 KB, and what one audit of it takes."""
    paths = (CORPUS / "deployed").glob("*.json")
    path = min(paths, key=lambda path: abs(path.stat().st_size - SIZE))
    raw = path.read_bytes()
    audit_manifest(raw)
    taken = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        audit_manifest(raw)
        taken.append(time.perf_counter() - started)
    return path.stem[-8:], len(raw), 1000 * statistics.median(taken)


if __name__ == "__main__":
    sys.exit(main())
