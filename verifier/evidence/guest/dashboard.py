"""What somebody else says of an app, so that it can stand beside an audit.

Three shapes are told apart by their keys:

    trust-center      the report behind a page of Phala's Trust Center
                      {"completedAt": RFC 3339, "success": true, "failures": [{"error"}],
                       "errors": [{"message"}], "dataObjects": [{"id": "app-main", "fields": {…}}]}
    dstack-verifier   the answer of dstack's own verifier about one quote
                      {"is_valid": true, "reason": null, "details": {"tcb_status", "app_info": {…}}}
    phala-cloud       Phala Cloud's account of the app, GET /api/v1/apps/{id}/attestations
                      {"app_id", "contract_address", "kms_info": {…}, "instances": [{…}]}

Shapes: Phala-Network/trust-center packages/verifier/src/types and schemas.ts, Dstack-TEE/dstack
dstack/verifier/src/types.rs. Every word of it is theirs, and is `asserted` whatever it says; no
check reads it.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.model.identifiers import parse_app_id, parse_time
from verifier.model.result import JsonValue

TRUST_CENTER: Final = "trust-center"
VERIFIER: Final = "dstack-verifier"
CLOUD: Final = "phala-cloud"
SHAPE: Final = frozenset({"dataObjects", "success"})
"""The keys of a Trust Center's report, which tell it from other evidence."""
ANSWER: Final = frozenset({"is_valid", "details"})
"""The same of a verifier's answer."""
_ACCOUNT: Final = frozenset({"app_id", "instances"})
_MAIN: Final = ("instance_id", "device_id", "compose_hash", "os_image_hash")
_MOST: Final = 400
"""Characters of a value that are compared and shown: an identifier, a version, an address."""


class Dashboard(Struct, frozen=True, kw_only=True):
    """What one document says.

    name      whose shape it has: TRUST_CENTER, VERIFIER or CLOUD
    app_id    the app that it is about, hex
    made_at   when it was made, Unix seconds; None where it does not say
    success   its verdict; None where it comes to none
    failures  its own sentences about what does not hold
    values    texts by object and field as the Trust Center names them: `app-main.compose_hash`
    """

    name: str
    app_id: str
    made_at: int | None
    success: bool | None
    failures: tuple[str, ...]
    values: Mapping[str, str]


def parse_dashboard(raw: bytes, what: str) -> Dashboard:
    """What a document of one of the three shapes says. Raises EvidenceError, also for one that
    names no app."""
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    for shape, read in _READERS.items():
        if document.keys() >= shape:
            return read(document, what)
    raise EvidenceError(
        f"{what}: neither a Trust Center's report, a verifier's answer nor the cloud's account",
        hint="a Trust Center's has `dataObjects` and `success`; a page's address is not its report",
    )


def _trust_center(document: codec.JsonObject, what: str) -> Dashboard:
    values = _values(document, what)
    finished = document.get("completedAt")
    made_at = parse_time(finished) if isinstance(finished, str) else None
    return Dashboard(
        name=TRUST_CENTER,
        app_id=_app_id(values.get("app-main.app_id", ""), what),
        made_at=made_at if made_at is not None and made_at >= 0 else None,
        success=document.get("success") is True,
        failures=(*_said(document, "failures", "error"), *_said(document, "errors", "message")),
        values=values,
    )


def _verifier(document: codec.JsonObject, what: str) -> Dashboard:
    details = codec.as_object(document.get("details"), f"{what}.details")
    info = details.get("app_info")
    told = codec.as_object(info, f"{what}.app_info") if info is not None else {}
    version = _plain(details.get("os_image_version"))
    dev = "dev-" if details.get("os_image_is_dev") is True else ""
    reason = _plain(document.get("reason"))
    return Dashboard(
        name=VERIFIER,
        app_id=_app_id(_plain(told.get("app_id")), what),
        made_at=None,
        success=document.get("is_valid") is True,
        failures=(reason,) if reason else (),
        values=_filled(
            {
                "app-main.app_id": _plain(told.get("app_id")),
                **{f"app-main.{key}": _plain(told.get(key)) for key in _MAIN},
                "app-cpu.verification_status": _plain(details.get("tcb_status")),
                "app-os.os": f"{dev}{version}" if version else "",
            }
        ),
    )


def _cloud(document: codec.JsonObject, what: str) -> Dashboard:
    listed = codec.as_list(document.get("instances"), f"{what}.instances")
    first = codec.as_object(listed[0], f"{what}.instances") if listed else {}
    kms = document.get("kms_info")
    manager = kms if isinstance(kms, dict) else {}
    return Dashboard(
        name=CLOUD,
        app_id=_app_id(_plain(document.get("app_id")), what),
        made_at=None,
        success=None,
        failures=(),
        values=_filled(
            {
                "app-main.app_id": _plain(document.get("app_id")),
                "app-main.instance_id": _plain(first.get("instance_id")),
                "app-main.registry_smart_contract": _plain(document.get("contract_address")),
                "app-os.os": _plain(first.get("image_version")),
                "kms-main.registry_smart_contract": _plain(manager.get("contract_address")),
                "gateway-main.app_id": _plain(manager.get("gateway_app_id")),
            }
        ),
    )


def _app_id(text: str, what: str) -> str:
    app_id = parse_app_id(text)
    if app_id is None:
        raise EvidenceError(f"{what}: it names no app, so that nothing in it can be compared")
    return app_id


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in values.items() if text}


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


_READERS: Final[dict[frozenset[str], Callable[[codec.JsonObject, str], Dashboard]]] = {
    SHAPE: _trust_center,
    ANSWER: _verifier,
    _ACCOUNT: _cloud,
}
"""The first whose keys a document has all of reads it."""
