"""The words of a comparison that every format shares. Plain text; each renderer escapes it once."""

from collections.abc import Iterator, Sequence
from typing import Final

from verifier.manifest.diff import Change, Comparison, Document, Row
from verifier.manifest.diff.guest import one_sided
from verifier.model.result import SEVERITIES, Severity

_COMPOSE: Final = "/docker_compose_file/"
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def label(place: int) -> str:
    """The name of a document in tables: A, B … Z, then D27 and so on."""
    return _LETTERS[place] if place < len(_LETTERS) else f"D{place + 1}"


def documents_of(comparisons: Sequence[Comparison]) -> tuple[Document, ...]:
    """The documents of a series of comparisons, in order."""
    return (comparisons[0].old, *(item.new for item in comparisons))


def headline(comparisons: Sequence[Comparison], threshold: Severity) -> str:
    """The outcome in one sentence."""
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


def conclusions(comparison: Comparison) -> Iterator[str]:
    """What a comparison comes to, besides its changes."""
    if comparison.compose_only:
        yield _limits(comparison)
    elif comparison.identical:
        yield "The manifests are equal to the byte: the same compose hash."
    elif comparison.platform_only:
        yield "Only platform-injected fields changed: another compose hash for the same app."
    elif comparison.same_release:
        yield (
            "The same release: docker_compose_file is equal to the byte, and nothing else differs "
            "by more than a low severity."
        )
    elif _same_compose(comparison):
        yield "docker_compose_file is equal to the byte; what differs is around it."
    for name in one_sided(comparison.old, comparison.new):
        yield f"Not compared, because only one of them has it: {name}."


def _limits(comparison: Comparison) -> str:
    """What a compose file alone cannot tell."""
    alone = [item.name for item in (comparison.old, comparison.new) if item.compose_only]
    equal = "The compose files are equal to the byte. " if comparison.identical else ""
    what = "is a compose file alone" if len(set(alone)) == 1 else "are compose files alone"
    return (
        f"{equal}{' and '.join(dict.fromkeys(alone))} {what}: only services were compared. Flags, "
        "allowed_envs, scripts and key provider are not known, nor is the compose hash, which "
        "covers them; what an operator may set is marked as conditional."
    )


def _same_compose(comparison: Comparison) -> bool:
    old, new = comparison.old, comparison.new
    return not (old.hidden or new.hidden) and old.app.compose == new.app.compose


def tally(changes: Sequence[Change]) -> str:
    """How many changes there are of each severity."""
    counts = [
        (sum(1 for change in changes if change.severity is severity), severity.value)
        for severity in SEVERITIES
    ]
    return ", ".join(f"{count} {name}" for count, name in counts if count) or "no changes"


def subject(change: Change) -> str:
    """What a change is about, without its line."""
    pointer = change.pointer
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


def location(change: Change) -> str:
    """Line and column in the newer text, "" where they are not known."""
    inside = change.pointer.startswith(_COMPOSE)
    if not change.line or (change.line == 1 and not inside):  # a manifest is often one line
        return ""
    text = "docker_compose_file" if inside else "manifest"
    which = "older " if change.after is None and change.before is not None and inside else ""
    return f"{which}{text} line {change.line}, column {change.column}"


def meaning(change: Change) -> str:
    """What a change means, with the findings that it brings."""
    tail = f" [{', '.join(change.findings)}]" if change.findings else ""
    sure = " (conditional)" if change.conditional else ""
    return f"{change.meaning}{tail}{sure}"


def mark(row: Row) -> str:
    """Whether a row of the table is equal everywhere."""
    return "absent" if row.absent else "equal" if row.equal else "different"


def source_of(document: Document) -> str:
    """A document's name, and whose word its hash is."""
    fact = document.facts.get("compose_hash")
    if fact is None:
        return document.name
    return f"{document.name} (compose hash: {fact.basis})"
