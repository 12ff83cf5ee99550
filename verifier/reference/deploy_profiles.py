"""What each version of each deploy tool writes into a manifest: `deploy_profiles.json` beside this.

Every profile is one way from a compose file to the bytes whose sha256 is the compose hash: fields
in the order in which they are written, the form of the JSON, and what only the platform knows.
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final

from msgspec import Struct

from verifier.errors import UsageError
from verifier.model.result import JsonValue
from verifier.patterns import pattern

SCHEMA: Final = "dstack-audit/deploy-profiles/v1"
_VERSION: Final = pattern(r"v?\d+(?:\.\d+){0,2}", re.ASCII)
_ALIASES: Final = {"vmm-cli": "vmm", "self-hosted": "vmm", "phala": "phala-cli", "api": "phala-api"}


class Form(StrEnum):
    """How a tool writes JSON."""

    INDENTED = "indented"  # by 4, UTF-8
    INDENTED_ASCII = "indented-ascii"  # by 4, everything else than ASCII escaped
    CANONICAL = "canonical"  # sorted keys, no white space, UTF-8


class Given(Struct, frozen=True):
    """A field whose value the author gives: `name`, `compose`, `allowed` or `script`."""

    source: str


class Flag(Struct, frozen=True):
    """A field that an option turns on or off."""

    name: str
    default: bool


FieldValue = JsonValue | Given | Flag


class Profile(Struct, frozen=True, kw_only=True):
    """One tool in a range of its versions.

    tool      the tool's name, such as `vmm`
    since     the first of its versions
    until     the last of its versions
    title     what people call this way of deploying
    form      how it writes JSON
    fields    what it always writes, in this order: a constant, or where the value comes from
    optional  the fields that it writes behind them where they are given; () for none
    unknown   field whose value nobody outside of the platform knows → why
    notes     what the person who gives the values has to know; () for nothing
    """

    tool: str
    since: str
    until: str
    title: str
    form: Form
    fields: Mapping[str, FieldValue]
    optional: tuple[str, ...]
    unknown: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def versions(self) -> str:
        """The versions of the tool, for people."""
        return self.since if self.since == self.until else f"{self.since} to {self.until}"

    @property
    def flags(self) -> dict[str, bool]:
        """The options that turn a field on or off, and what they are without being given."""
        return {item.name: item.default for item in self.fields.values() if isinstance(item, Flag)}


def find_profile(text: str) -> Profile:
    """The profile of `TOOL@VERSION`; without a version, the newest. Raises UsageError."""
    name, at, version = text.partition("@")
    tool = _ALIASES.get(name, name)
    known = [profile for profile in profiles() if profile.tool == tool]
    if not known or (at and not _VERSION.fullmatch(version)):
        raise UsageError(f"--deploy {text!a}: no such deploy path", hint=_hint())
    if not at:
        return known[-1]
    wanted = _key(version)
    for profile in known:
        if _key(profile.since) <= wanted <= _key(profile.until):
            return profile
    raise UsageError(
        f"--deploy {text!a}: what this version writes is not known",
        hint=f"known: {', '.join(f'{tool}@{item.versions}' for item in known)}",
    )


def _key(version: str) -> tuple[int, ...]:
    numbers = [int(part[:6]) for part in version.removeprefix("v").split(".")]
    return tuple(numbers + [0] * (3 - len(numbers)))


def _hint() -> str:
    tools = dict.fromkeys(profile.tool for profile in profiles())
    return f"write TOOL@VERSION, of {', '.join(tools)}"


@cache
def profiles() -> tuple[Profile, ...]:
    """Every profile, by tool and version."""
    raw = resources.files(__package__).joinpath("deploy_profiles.json").read_bytes()
    document = json.loads(raw)
    if document["schema"] != SCHEMA:
        raise ValueError(f"deploy_profiles.json: schema is not {SCHEMA!r}")
    return tuple(_profile(row) for row in document["profiles"])


def _profile(row: dict[str, Any]) -> Profile:
    return Profile(
        tool=row["tool"],
        since=row["since"],
        until=row["until"],
        title=row["title"],
        form=Form(row["form"]),
        fields={name: _value(value) for name, value in row["fields"].items()},
        optional=tuple(row["optional"]),
        unknown=row["unknown"],
        notes=tuple(row.get("notes", ())),
    )


def _value(value: Any) -> FieldValue:  # noqa: ANN401 - JSON of our own
    if isinstance(value, dict) and value.keys() == {"from"}:
        return Given(value["from"])
    if isinstance(value, dict) and "flag" in value:
        return Flag(value["flag"], value.get("default", False))
    found: JsonValue = value
    return found
