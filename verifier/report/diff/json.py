"""A comparison as canonical JSON (RFC 8785), schema `dstack-audit/diff/v1`.

`comparisons` are between each document and the next; `old` and `new` count from 0.
"""

from collections.abc import Sequence
from typing import Final

import rfc8785

from verifier.manifest.diff import Change, Comparison, Document, Row, divergence_table
from verifier.model.result import JsonValue, Severity
from verifier.report.diff.sentences import documents_of
from verifier.report.escape import without_surrogates

SCHEMA: Final = "dstack-audit/diff/v1"
_MAX_SAFE: Final = 2**53 - 1

_Object = dict[str, JsonValue]


def render_json(comparisons: Sequence[Comparison], *, threshold: Severity) -> bytes:
    """The comparison as one line of canonical JSON with a new line at its end."""
    documents = documents_of(comparisons)
    document: _Object = {
        "schema": SCHEMA,
        "min_severity": threshold.value,
        "documents": [_document(item) for item in documents],
        "table": [_row(row) for row in divergence_table(documents)],
        "comparisons": [_comparison(item, place) for place, item in enumerate(comparisons)],
    }
    return rfc8785.dumps(_encodable(document)) + b"\n"


def _document(document: Document) -> _Object:
    facts: _Object = {
        name: {"value": fact.value, "basis": fact.basis} for name, fact in document.facts.items()
    }
    return {
        "name": document.name,
        "kind": "compose" if document.compose_only else "app-compose",
        "sha256": document.sha256,
        "facts": facts,
    }


def _row(row: Row) -> _Object:
    return {"label": row.label, "values": list(row.values), "equal": row.equal}


def _comparison(comparison: Comparison, place: int) -> _Object:
    return {
        "old": place,
        "new": place + 1,
        "identical": comparison.identical,
        "same_release": comparison.same_release,
        "platform_only": comparison.platform_only,
        "compose_only": comparison.compose_only,
        "not_evaluable": list(comparison.not_evaluable),
        "changes": [_change(change) for change in comparison.changes],
    }


def _change(change: Change) -> _Object:
    return {
        "rule": change.rule,
        "severity": change.severity.value,
        "service": change.service,
        "location": {"pointer": change.pointer, "line": change.line, "column": change.column},
        "before": change.before,
        "after": change.after,
        "meaning": change.meaning,
        "findings": list(change.findings),
        "conditional": change.conditional,
        "fact": change.fact,
    }


def _encodable(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, dict):
        return {without_surrogates(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _MAX_SAFE:
        return str(value)
    return value
