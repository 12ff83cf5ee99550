"""A comparison as every form tells it: what its JSON holds, schema `dstack-audit/diff/v1`.

Every form is rendered of this record alone, so that the JSON of an earlier comparison gives each
form again, byte for byte. Nothing is compared again: the author of the file is the author of it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import msgspec
from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import MAX_LISTED, parse_json_object
from verifier.manifest.diff import Change, Comparison, Document, Row, divergence_table
from verifier.model.result import Location, Severity
from verifier.report.diff.conclusions import conclusions

SCHEMA: Final = "dstack-audit/diff/v1"


class ToldChange(Struct, frozen=True, kw_only=True):
    """One difference.

    rule         the id of the rule that rates it
    severity     how much it matters
    service      the service that it is about; "" for none
    location     where it stands, as in `Change`
    before       the older value as a short text; None where it is absent
    after        the newer value as a short text; None where it is absent
    meaning      what the difference means
    findings     ids of the audit findings that come with it
    conditional  whether it holds only under a condition that is not known
    fact         the claim that differs outside of the manifests; "" for none
    """

    rule: str
    severity: Severity
    service: str
    location: Location
    before: str | None
    after: str | None
    meaning: str
    findings: tuple[str, ...]
    conditional: bool
    fact: str


class ToldFact(Struct, frozen=True):
    """What is claimed of a guest, any JSON value, and its basis (`model.Basis`)."""

    value: Any
    basis: str


class ToldDocument(Struct, frozen=True):
    """What was compared: its name, kind (`app-compose` or `compose`), sha256 (lower-case hex) and
    what an audit claims about its guest, by claim name."""

    name: str
    kind: str
    sha256: str
    facts: dict[str, ToldFact]


class ToldRow(Struct, frozen=True):
    """One property of every document, in their order, as in `Row`."""

    label: str
    values: tuple[str | None, ...]
    equal: bool
    is_digest: bool

    @property
    def absent(self) -> bool:
        """Whether no document has it."""
        return set(self.values) == {None}


class ToldComparison(Struct, frozen=True, kw_only=True):
    """The changes from one document to the next.

    old            place of the older document, from 0
    new            place of the newer one
    identical      whether the raw bytes are equal
    same_release   as in `Comparison`
    platform_only  as in `Comparison`
    compose_only   as in `Comparison`
    not_evaluable  what could not be compared
    conclusions    what it comes to besides its changes, one sentence each
    changes        worst first
    """

    old: int
    new: int
    identical: bool
    same_release: bool
    platform_only: bool
    compose_only: bool
    not_evaluable: tuple[str, ...]
    conclusions: tuple[str, ...]
    changes: tuple[ToldChange, ...]

    def at_least(self, severity: Severity) -> tuple[ToldChange, ...]:
        """The changes of this severity or worse."""
        return tuple(change for change in self.changes if change.severity.rank <= severity.rank)


class ToldDiff(Struct, frozen=True, kw_only=True):
    """A series of comparisons, each between a document and the next.

    `min_severity` is the least severity that was asked for.
    """

    min_severity: Severity
    documents: tuple[ToldDocument, ...]
    table: tuple[ToldRow, ...]
    comparisons: tuple[ToldComparison, ...]
    schema: str = SCHEMA


def tell(comparisons: Sequence[Comparison], threshold: Severity) -> ToldDiff:
    """What there is to tell of comparisons."""
    documents = (comparisons[0].old, *(item.new for item in comparisons))
    return ToldDiff(
        min_severity=threshold,
        documents=tuple(map(_document, documents)),
        table=tuple(map(_row, divergence_table(documents))),
        comparisons=tuple(_comparison(item, place) for place, item in enumerate(comparisons)),
    )


def read_diff(raw: bytes) -> ToldDiff:
    """The comparison that its JSON holds. Raises EvidenceError."""
    what = "the comparison"
    try:
        found = msgspec.convert(parse_json_object(raw, what, MAX_LISTED), ToldDiff)
    except msgspec.ValidationError as error:
        raise EvidenceError(
            f"{what} cannot be rendered again: {error}",
            hint="run `verify diff` again: an earlier version wrote less than every form needs",
        ) from error
    if found.schema != SCHEMA or not found.comparisons:
        raise EvidenceError(f"{what} is no {SCHEMA}")
    count = len(found.documents)
    steps = [(item.old, item.new) for item in found.comparisons]
    if steps != list(pairwise(range(count))) or any(len(x.values) != count for x in found.table):
        raise EvidenceError(f"{what} contradicts itself: it is not between {count} documents")
    return found


def _document(document: Document) -> ToldDocument:
    kind = "compose" if document.compose_only else "app-compose"
    facts = {name: ToldFact(fact.value, fact.basis) for name, fact in document.facts.items()}
    return ToldDocument(document.name, kind, document.sha256, facts)


def _row(row: Row) -> ToldRow:
    return ToldRow(row.label, row.values, row.equal, row.is_digest)


def _comparison(comparison: Comparison, place: int) -> ToldComparison:
    return ToldComparison(
        old=place,
        new=place + 1,
        identical=comparison.identical,
        same_release=comparison.same_release,
        platform_only=comparison.platform_only,
        compose_only=comparison.compose_only,
        not_evaluable=comparison.not_evaluable,
        conclusions=tuple(conclusions(comparison)),
        changes=tuple(map(_change, comparison.changes)),
    )


def _change(change: Change) -> ToldChange:
    return ToldChange(
        rule=change.rule,
        severity=change.severity,
        service=change.service,
        location=Location(pointer=change.pointer, line=change.line, column=change.column),
        before=change.before,
        after=change.after,
        meaning=change.meaning,
        findings=change.findings,
        conditional=change.conditional,
        fact=change.fact,
    )
