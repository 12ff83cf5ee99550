"""The words of a comparison that every format shares. Plain text; each renderer escapes it once."""

from collections.abc import Sequence
from typing import Final

from verifier.model.result import SEVERITIES
from verifier.report.diff.told import ToldChange, ToldDiff, ToldDocument, ToldRow

_COMPOSE: Final = "/docker_compose_file/"
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def label(place: int) -> str:
    """The name of a document in tables: A, B … Z, then D27 and so on."""
    return _LETTERS[place] if place < len(_LETTERS) else f"D{place + 1}"


def headline(told: ToldDiff) -> str:
    """The outcome in one sentence."""
    comparisons, threshold = told.comparisons, told.min_severity
    found = sum(len(item.at_least(threshold)) for item in comparisons)
    problems = sum(len(item.not_evaluable) for item in comparisons)
    if found:
        what = "1 change is" if found == 1 else f"{found} changes are"
        below = sum(len(item.changes) for item in comparisons) - found
        rest = f"; {below} below" if below else ""
        return f"{what} of severity {threshold.value} or above{rest}"
    if problems:
        return "not everything could be compared"
    if all(item.identical for item in comparisons):
        alone = any(item.compose_only for item in comparisons)
        return f"the {'compose files' if alone else 'manifests'} are equal to the byte"
    return f"no change is of severity {threshold.value} or worse"


def tally(changes: Sequence[ToldChange]) -> str:
    """How many changes there are of each severity."""
    counts = [
        (sum(1 for change in changes if change.severity is severity), severity.value)
        for severity in SEVERITIES
    ]
    return ", ".join(f"{count} {name}" for count, name in counts if count) or "no changes"


def subject(change: ToldChange) -> str:
    """What a change is about, without its line."""
    pointer = change.location.pointer
    if pointer.startswith(_COMPOSE):
        inside = pointer.removeprefix(_COMPOSE)
        own = f"services/{change.service}"
        if change.service and (inside == own or inside.startswith(f"{own}/")):
            rest = inside.removeprefix(own).lstrip("/").replace("/", ".")
            return f"service {change.service}{f': {rest}' if rest else ''}"
        return inside.replace("/", ".")
    if change.fact:
        return f"guest: {change.fact}"
    where = pointer.removeprefix("/") or "manifest"
    return f"{where} (service {change.service})" if change.service else where


def location(change: ToldChange) -> str:
    """Line and column in the newer text, "" where they are not known."""
    inside = change.location.pointer.startswith(_COMPOSE)
    line = change.location.line
    if not line or (line == 1 and not inside):  # a manifest is often one line
        return ""
    text = "docker_compose_file" if inside else "manifest"
    which = "older " if change.after is None and change.before is not None and inside else ""
    return f"{which}{text} line {line}, column {change.location.column}"


def meaning(change: ToldChange) -> str:
    """What a change means, with the findings that it brings."""
    tail = f" [{', '.join(change.findings)}]" if change.findings else ""
    sure = " (conditional)" if change.conditional else ""
    return f"{change.meaning}{tail}{sure}"


def mark(row: ToldRow) -> str:
    """Whether a row of the table is equal everywhere."""
    return "absent" if row.absent else "equal" if row.equal else "different"


def source_of(document: ToldDocument) -> str:
    """A document's name, and whose word its hash is."""
    fact = document.facts.get("compose_hash")
    if fact is None:
        return document.name
    return f"{document.name} (compose hash: {fact.basis})"
