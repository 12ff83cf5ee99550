"""TCB info (version 3) and QE identity (version 2), read from the text that Intel signed.

Every field that counts is read, also of levels that no platform here meets: a document with one
that is not as the PCS API describes it is refused whole.
"""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from verifier.checks.second_opinion.certificates import Window
from verifier.checks.second_opinion.refusal import RefusedError, need

_DATE: Final = "%Y-%m-%dT%H:%M:%SZ"
_COMPONENTS: Final = 16
_BYTE, _SHORT, _LONG = 1 << 8, 1 << 16, 1 << 32

_MODULE_STATUSES: Final = frozenset({"UpToDate", "OutOfDate", "Revoked"})
_QE_STATUSES: Final = _MODULE_STATUSES | {"ConfigurationNeeded", "OutOfDateConfigurationNeeded"}
_STATUSES: Final = _QE_STATUSES | {"SWHardeningNeeded", "ConfigurationAndSWHardeningNeeded"}

Object = dict[str, Any]


class Level(Struct, frozen=True, kw_only=True):
    """A TCB level.

    status      its status
    date        what Intel dates it, Unix seconds
    advisories  the advisories about it
    svn         the least security version of an enclave or TDX module; 0 for a platform
    sgx         the least versions of a platform's SGX components; () for others
    pce_svn     the least version of a platform's PCE; 0 for others
    tdx         the least versions of a platform's TDX components; () for others
    """

    status: str
    date: int
    advisories: tuple[str, ...]
    svn: int = 0
    sgx: tuple[int, ...] = ()
    pce_svn: int = 0
    tdx: tuple[int, ...] = ()


class Module(Struct, frozen=True, kw_only=True):
    """What a TDX module has to be: its signer, 48 bytes, its attributes, 8 bytes, and its levels,
    the highest first; () for the module of version 0, which has none."""

    mr_signer: bytes
    attributes: bytes
    levels: tuple[Level, ...] = ()


class TcbInfo(Struct, frozen=True, kw_only=True):
    """TCB info about TDX.

    window      when it is in force
    evaluation  its tcbEvaluationDataNumber
    fmspc       the platforms' family, 6 bytes
    pce_id      the PCE that it is about, 2 bytes
    levels      the levels of platforms, the highest first
    module      what a TDX module of version 0 has to be
    modules     version → what a TDX module of it has to be
    """

    window: Window
    evaluation: int
    fmspc: bytes
    pce_id: bytes
    levels: tuple[Level, ...]
    module: Module
    modules: dict[int, Module]


class QeIdentity(Struct, frozen=True, kw_only=True):
    """What a quoting enclave for TDs has to be.

    window           when it is in force
    evaluation       its tcbEvaluationDataNumber
    misc_select      4 bytes, in the order of a report
    misc_mask        the bits of it that count
    attributes       16 bytes
    attributes_mask  the bits of them that count
    mr_signer        who signed the enclave, 32 bytes
    product          its product id
    levels           its levels, the highest first
    """

    window: Window
    evaluation: int
    misc_select: bytes
    misc_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mr_signer: bytes
    product: int
    levels: tuple[Level, ...]


def read_tcb_info(text: str) -> TcbInfo:
    """Raises RefusedError."""
    found = _document(text, "TDX", 3)
    identities = [
        (_version(item), _module(item, _levels(item, _MODULE_STATUSES, _enclave_level)))
        for item in _objects(found, "tdxModuleIdentities")
    ]
    modules = dict(identities)
    need(len(modules) == len(identities), "TCB info names a TDX module twice")
    return TcbInfo(
        window=_window(found),
        evaluation=_number(found, "tcbEvaluationDataNumber", _LONG),
        fmspc=_octets(found, "fmspc", 6),
        pce_id=_octets(found, "pceId", 2),
        levels=_levels(found, _STATUSES, _platform_level),
        module=_module(_object(found, "tdxModule")),
        modules=modules,
    )


def read_qe_identity(text: str) -> QeIdentity:
    """Raises RefusedError."""
    found = _document(text, "TD_QE", 2)
    return QeIdentity(
        window=_window(found),
        evaluation=_number(found, "tcbEvaluationDataNumber", _LONG),
        misc_select=_octets(found, "miscselect", 4),
        misc_mask=_octets(found, "miscselectMask", 4),
        attributes=_octets(found, "attributes", 16),
        attributes_mask=_octets(found, "attributesMask", 16),
        mr_signer=_octets(found, "mrsigner", 32),
        product=_number(found, "isvprodid", _SHORT),
        levels=_levels(found, _QE_STATUSES, _enclave_level),
    )


def _document(text: str, kind: str, version: int) -> Object:
    try:
        found = json.loads(
            text, object_pairs_hook=_once, parse_float=_no_number, parse_constant=_no_number
        )
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{kind}: not readable as JSON") from error
    need(isinstance(found, dict), f"{kind}: no JSON object")
    document: Object = found
    need(document.get("id") == kind, f"{kind}: of another kind")
    need(_number(document, "version", _LONG) == version, f"{kind}: not of version {version}")
    return document


def _once(pairs: list[tuple[str, Any]]) -> Object:
    found = dict(pairs)
    need(len(found) == len(pairs), "a JSON object with a name twice")
    return found


def _no_number(text: str) -> Any:  # noqa: ANN401 - never returns
    raise RefusedError(f"{text!a} is no number of a document")


def _window(found: Object) -> Window:
    return _moment(found, "issueDate"), _moment(found, "nextUpdate")


def _module(found: Object, levels: tuple[Level, ...] = ()) -> Module:
    _octets(found, "attributesMask", 8)
    return Module(
        mr_signer=_octets(found, "mrsigner", 48),
        attributes=_octets(found, "attributes", 8),
        levels=levels,
    )


def _version(found: Object) -> int:
    """The version of a TDX module, from an id such as TDX_01."""
    name = _text(found, "id").upper()
    need(name.startswith("TDX_"), f"{name!a} is no TDX module")
    return _hex(name.removeprefix("TDX_"), 1)[0]


def _levels(
    found: Object, statuses: frozenset[str], read: Callable[[Object], Object]
) -> tuple[Level, ...]:
    """The levels of a document, the highest first, whatever their order in it."""
    levels = []
    for item in _objects(found, "tcbLevels"):
        status = _text(item, "tcbStatus")
        need(status in statuses, f"a level with the status {status!a}")
        advisories = item.get("advisoryIDs", [])
        need(
            isinstance(advisories, list) and all(isinstance(name, str) for name in advisories),
            "advisoryIDs is no list of texts",
        )
        levels.append(
            Level(
                status=status,
                date=_moment(item, "tcbDate"),
                advisories=tuple(advisories),
                **read(_object(item, "tcb")),
            )
        )
    return tuple(
        sorted(levels, key=lambda one: (one.sgx, one.pce_svn, one.tdx, one.svn), reverse=True)
    )


def _enclave_level(tcb: Object) -> Object:
    return {"svn": _number(tcb, "isvsvn", _SHORT)}


def _platform_level(tcb: Object) -> Object:
    return {
        "sgx": tuple(_components(tcb, "sgxtcbcomponents")),
        "pce_svn": _number(tcb, "pcesvn", _SHORT),
        "tdx": tuple(_components(tcb, "tdxtcbcomponents")),
    }


def _components(tcb: Object, name: str) -> Iterator[int]:
    found = _objects(tcb, name)
    need(len(found) == _COMPONENTS, f"{name} has {len(found)} components")
    return (_number(item, "svn", _BYTE) for item in found)


def _objects(found: Object, name: str) -> list[Object]:
    items = found.get(name)
    need(
        isinstance(items, list) and all(isinstance(item, dict) for item in items),
        f"{name} is no list of objects",
    )
    listed: list[Object] = items  # type: ignore[assignment]
    return listed


def _object(found: Object, name: str) -> Object:
    value = found.get(name)
    need(isinstance(value, dict), f"{name} is no object")
    inner: Object = value  # type: ignore[assignment]
    return inner


def _text(found: Object, name: str) -> str:
    value = found.get(name)
    need(isinstance(value, str), f"{name} is no text")
    return str(value)


def _number(found: Object, name: str, limit: int) -> int:
    value = found.get(name)
    need(type(value) is int and 0 <= value < limit, f"{name} is no number below {limit}")
    number: int = value  # type: ignore[assignment]
    return number


def _octets(found: Object, name: str, size: int) -> bytes:
    return _hex(_text(found, name), size)


def _hex(text: str, size: int) -> bytes:
    need(
        len(text) == 2 * size and all(letter in "0123456789abcdefABCDEF" for letter in text),
        f"{text!a:.40} is not {size} bytes of hex",
    )
    return bytes.fromhex(text)


def _moment(found: Object, name: str) -> int:
    text = _text(found, name)
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:  # in UTC it may be of no year that there is
        raise RefusedError(f"{name} is no date") from error
    need(f"{moment:{_DATE}}" == text, f"{name} is no date")
    return int(moment.timestamp())
