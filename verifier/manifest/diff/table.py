"""Documents side by side: which parts of their manifests are equal, and which diverge.

The compose hash covers the whole manifest, so one docker_compose_file has many of them.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct

from verifier.manifest.diff.change import shown
from verifier.manifest.diff.document import Document
from verifier.manifest.diff.inputs import script_label

_APART: Final = frozenset(
    {"docker_compose_file", "pre_launch_script", "init_script", "bash_script"}
)


class Row(Struct, frozen=True):
    """One property of every document, in their order. None where a document does not have it.

    `is_digest` tells sha256 hex digits, which may be shortened, from text.
    """

    label: str
    values: tuple[str | None, ...]
    is_digest: bool = False

    @property
    def equal(self) -> bool:
        """Whether every document has it, and all have the same."""
        return None not in self.values and len(set(self.values)) == 1

    @property
    def absent(self) -> bool:
        """Whether no document has it."""
        return set(self.values) == {None}


def _fields(documents: Sequence[Document]) -> list[str]:
    return sorted({name for item in documents for name in item.app.document} - _APART)


def divergence_table(documents: Sequence[Document]) -> tuple[Row, ...]:
    """The hashes of every document, then each field in which any of them differ."""
    rows = [
        _row(documents, "compose_hash", lambda item: item.compose_hash),
        _row(documents, "docker_compose_file", _compose_digest),
        _row(documents, "pre_launch_script", lambda item: _digest(item.app.pre_launch_script)),
        _row(documents, "allowed_envs, sorted", _allowed_digest),
    ]
    if any(item.measured_hash for item in documents):
        measured = _row(documents, "compose_hash by evidence", lambda item: item.measured_hash)
        rows.insert(1, measured)
    texts = [
        Row(
            "what the script is",
            tuple(
                None if item.compose_only else script_label(item.app.pre_launch_script)
                for item in documents
            ),
        )
    ]
    texts += [
        Row(name, tuple(_text(item, name) for item in documents)) for name in _fields(documents)
    ]
    return (*rows, *(row for row in texts if not (row.equal or row.absent)))


def _row(documents: Sequence[Document], label: str, value: Callable[[Document], str | None]) -> Row:
    return Row(label, tuple(value(item) or None for item in documents), is_digest=True)


def _digest(text: str | None) -> str | None:
    return hashlib.sha256(text.encode("utf-8")).hexdigest() if text else None


def _compose_digest(document: Document) -> str | None:
    return None if document.hidden else _digest(document.app.compose)


def _allowed_digest(document: Document) -> str | None:
    """The hash of the names, once each and sorted, as compact JSON: equal for equal sets."""
    listed = document.app.allowed_envs
    if listed is None:
        return None
    names = sorted({name for name in listed if isinstance(name, str)})
    return _digest(json.dumps(names, separators=(",", ":"), ensure_ascii=False))


def _text(document: Document, name: str) -> str | None:
    if name not in document.app.document:
        return None
    value = document.app.document[name]
    if isinstance(value, str):
        return shown(json.dumps(value, ensure_ascii=False))
    return "null" if value is None else shown(value)
