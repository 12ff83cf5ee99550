"""A policy as it is written: TOML, what it extends, and values of the types that are expected.

Everything here raises PolicyError, and nothing here knows what a policy means.
"""

from collections.abc import Iterable
from datetime import date, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final

from verifier.errors import PolicyError, UsageError, did_you_mean
from verifier.evidence.codec import parse_toml
from verifier.evidence.regular_file import read_given

BUILT_IN: Final = ("genuine", "baseline", "stage1", "strict", "endpoint")
_MAX_BYTES: Final = 1 << 20
MAX_NUMBER: Final = 1_000_000
_MAX_DEPTH: Final = 8
_ADDED: Final = ("waivers", "reviews")


def read_document(name_or_path: str) -> dict[str, Any]:
    """A policy document by the name of a built-in one or by its path, with all that it extends.

    `extends` names a built-in policy, or a file relative to the one that says so. Tables are
    merged key by key, waivers and reviews are added, everything else is replaced. The name is
    never inherited.
    """
    return _read(name_or_path, Path(), 0, f"policy {name_or_path}")


def _read(name_or_path: str, folder: Path, depth: int, where: str) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise PolicyError(f"{where}: extends over more than {_MAX_DEPTH} policies, or itself")
    path = folder / name_or_path
    document = _parse(_raw(name_or_path, path, where), where)
    if name_or_path not in BUILT_IN:
        document.setdefault("name", path.name)
    base = document.pop("extends", None)
    if base is None:
        return document
    named = text(base, f"{where}: extends")
    what = f"policy {name_or_path}: extends {named!a}"
    return _merge(_read(named, path.parent, depth + 1, what), document)


def _raw(name_or_path: str, path: Path, where: str) -> bytes:
    if name_or_path in BUILT_IN:
        return resources.files(__package__).joinpath(f"{name_or_path}.toml").read_bytes()
    try:
        raw = read_given(path, _MAX_BYTES)
    except (OSError, ValueError) as error:
        raise PolicyError(
            f"{where}: {getattr(error, 'strerror', None) or error}",
            hint=did_you_mean(
                name_or_path, BUILT_IN, f"name a TOML file, or one of {', '.join(BUILT_IN)}"
            ),
        ) from error
    if len(raw) > _MAX_BYTES:
        raise PolicyError(f"{where}: larger than {_MAX_BYTES} bytes")
    return raw


def _parse(raw: bytes, where: str) -> dict[str, Any]:
    try:
        return parse_toml(raw, where)
    except UsageError as error:
        raise PolicyError(error.message) from error


def _merge(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        inherited = base.get(key)
        if isinstance(value, dict) and isinstance(inherited, dict):
            merged[key] = {**inherited, **value}
        elif key in _ADDED and isinstance(value, list) and isinstance(inherited, list):
            merged[key] = [*inherited, *value]
        else:
            merged[key] = value
    return merged


def section(
    document: dict[str, Any], name: str, known: tuple[str, ...] | None, where: str
) -> dict[str, Any]:
    """A table with no other keys than the known ones (None: any, which are ids and no tables)."""
    table = document.get(name, {})
    if not isinstance(table, dict):
        raise PolicyError(f"policy {where}: [{name}] is not a table")
    split = (key for key, value in table.items() if isinstance(value, dict))
    if known is None and (key := next(split, None)) is not None:
        raise PolicyError(
            f"policy {where}: [{name}] {key}: an id stands without its quotes, or is a table",
            hint='TOML takes a bare dot for a table: write "hardware.tcb" = "required"',
        )
    if known is not None:
        refuse_unknown(table, known, f"policy {where}: [{name}]")
    return table


def refuse_unknown(table: Iterable[str], known: Iterable[str], what: str) -> None:
    """Raise PolicyError for a key that a table does not have, with the nearest that it has."""
    names = tuple(known)
    unknown = sorted(set(table) - set(names))
    if unknown:
        listed = f"the keys are {', '.join(names)}"
        raise PolicyError(
            f"{what}: unknown key {unknown[0]!r}", hint=did_you_mean(unknown[0], names, listed)
        )


def one_of(value: object, known: Iterable[str], what: str) -> str:
    """One of the known words. Raises PolicyError."""
    names = tuple(known)
    if not isinstance(value, str) or value not in names:
        raise PolicyError(
            f"{what}: {value!a} is not one of {', '.join(names)}",
            hint=did_you_mean(value, names) if isinstance(value, str) else "",
        )
    return value


def text(value: object, what: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise PolicyError(f"{what} is not a string")
    return value


def words(value: object, what: str) -> str:
    """A string with something in it."""
    if not text(value, what).strip():
        raise PolicyError(f"{what} is empty")
    return text(value, what)


def texts(value: object, what: str) -> tuple[str, ...]:
    """A list of strings."""
    if not isinstance(value, list):
        raise PolicyError(f"{what} is not a list of strings")
    return tuple(text(item, what) for item in value)


def demanded(table: dict[str, Any], key: str, what: str) -> tuple[str, ...]:
    """The strings of a demand, sorted; () when it is not made. An empty one is refused: nothing
    could satisfy it, or everything would."""
    if key not in table:
        return ()
    found = texts(table[key], f"{what}: {key}")
    if not found:
        raise PolicyError(f"{what}: {key} is an empty list", hint="leave the key out, or fill it")
    return tuple(sorted(set(found)))


def number(table: dict[str, Any], name: str, default: int, where: str) -> int:
    """A number from 0 to a million."""
    value = table.get(name, default)
    if type(value) is not int or not 0 <= value <= MAX_NUMBER:
        raise PolicyError(f"policy {where}: {name} is not a number from 0 to {MAX_NUMBER}")
    return value


def switch(table: dict[str, Any], name: str, where: str) -> bool:
    """True or false; false when it is not written."""
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise PolicyError(f"policy {where}: {name} is not true or false")
    return value


def day(table: dict[str, Any], name: str, where: str) -> date | None:
    """A date without a time, None when it is not written."""
    value = table.get(name)
    if value is not None and (not isinstance(value, date) or isinstance(value, datetime)):
        raise PolicyError(
            f"policy {where}: {name} is not a date", hint="write it as 2026-12-31, bare"
        )
    return value
