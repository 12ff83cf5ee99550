"""What a vendor's dashboard says of an app: the report behind a page of Phala's Trust Center.

    {"completedAt": RFC 3339, "success": true, "failures": [{"componentId", "error"}],
     "errors": [{"message"}], "dataObjects": [{"id": "app-main", "fields": {"app_id": …}}, …]}

Shape: Phala-Network/trust-center packages/verifier/src/types. Every word of it is the vendor's, and
is `asserted` whatever it says; no check reads it.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.identifiers import parse_app_id, parse_time
from verifier.model.result import JsonValue

SHAPE: Final = frozenset({"dataObjects", "success"})
"""The keys that tell it from other documents."""
_MOST: Final = 400
"""Characters of a value that are compared and shown: an identifier, a version, an address."""


class Dashboard(Struct, frozen=True, kw_only=True):
    """What one report says. `values` are texts by object and field, such as `app-main.app_id`;
    `made_at` is Unix seconds, None where it does not say; `failures` are its own sentences."""

    app_id: str
    made_at: int | None
    success: bool
    failures: tuple[str, ...]
    values: Mapping[str, str]


def parse_dashboard(raw: bytes, what: str) -> Dashboard:
    """A report of the Trust Center. Raises EvidenceError, also for one that names no app."""
    document = codec.parse_json_object(raw, what)
    if not document.keys() >= SHAPE:
        raise EvidenceError(
            f"{what}: no report of a Trust Center",
            hint="it has `dataObjects` and `success`; a page's address is not its report's",
        )
    values = _values(document, what)
    app_id = parse_app_id(values.get("app-main.app_id", ""))
    if app_id is None:
        raise EvidenceError(f"{what}: it names no app, so that nothing in it can be compared")
    success = document.get("success")
    finished = document.get("completedAt")
    made_at = parse_time(finished) if isinstance(finished, str) else None
    return Dashboard(
        app_id=app_id,
        made_at=made_at if made_at is not None and made_at >= 0 else None,
        success=success is True,
        failures=(*_said(document, "failures", "error"), *_said(document, "errors", "message")),
        values=values,
    )


def _values(document: codec.JsonObject, what: str) -> dict[str, str]:
    """The plain values of its objects. Two objects of one name would let a reader choose."""
    found: dict[str, str] = {}
    names: set[str] = set()
    for item in codec.as_list(document.get("dataObjects"), f"{what}.dataObjects"):
        entry = codec.as_object(item, f"{what}.dataObjects")
        name = codec.as_str(entry.get("id"), f"{what}.dataObjects.id")
        if name in names:
            raise EvidenceError(f"{what}: two objects are called {name[:40]!a}")
        names.add(name)
        fields = codec.as_object(entry.get("fields"), f"{what}.{name[:40]}.fields")
        for key, value in fields.items():
            text = _plain(value)
            if text:
                found[f"{name}.{key}"] = text
    return found


def _plain(value: JsonValue) -> str:
    """A value as text, "" for what is too long or has a structure."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and len(value) <= _MOST else ""


def _said(document: codec.JsonObject, key: str, name: str) -> tuple[str, ...]:
    listed = document.get(key)
    items = listed if isinstance(listed, list) else []
    return tuple(
        str(item[name])[:_MOST] for item in items if isinstance(item, dict) and name in item
    )
