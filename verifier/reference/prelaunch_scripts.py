"""Pre-launch scripts that are known by their sha256: `prelaunch_scripts.json` beside this file.

Phala Cloud injects a script of its own into manifests. Its banner is text that anybody can copy, so
a version is told by the hash of the whole script alone; the table has each version in the forms in
which Phala's tools write it (with or without `#!`, final new line, backslash escapes).
"""

import hashlib
import json
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

from msgspec import Struct

from verifier.patterns import pattern

SCHEMA: Final = "dstack-audit/prelaunch-scripts/v1"
BANNER: Final = pattern(r"Running Phala Cloud Pre-Launch Script (v\d+\.\d+\.\d+)", re.ASCII)
LAUNCH_TOKEN: Final = "vmm-ui-launch-token"  # noqa: S105 - the name of a script


class KnownScript(Struct, frozen=True):
    """A recognised script.

    name     the version for Phala's own script, such as `v0.0.14`; else what the script is
    phala    whether it is Phala's own
    variant  in which form it is written (with or without `#!`, final new line, backslash escapes)
    sha256   hash of the whole script, lower-case hex
    rule     the manifest rule that it breaks; "" for none
    does     how it breaks that rule; "" for none
    """

    name: str
    phala: bool
    variant: str
    sha256: str
    rule: str = ""
    does: str = ""

    def behaviours(self) -> dict[str, str]:
        """What this version does, by behaviour id."""
        return {
            row["id"]: row["text"]
            for row in _document()["behaviours"]
            if self._has(row["since"], row["until"])
        }

    def reads(self) -> frozenset[str]:
        """The variables that it reads from the environment."""
        return self._names("reads")

    def exports(self) -> frozenset[str]:
        """The variables that it sets for Compose."""
        return self._names("exports")

    def _names(self, table: str) -> frozenset[str]:
        rows = [row["names"] for row in _document()[table] if self._has(row["since"], "")]
        return frozenset(name for names in rows for name in names)

    def _has(self, since: str, until: str) -> bool:
        return (
            self.phala
            and version_key(since) <= version_key(self.name)
            and (not until or version_key(self.name) <= version_key(until))
        )


@lru_cache(maxsize=8)  # a script may be megabytes
def recognise_script(script: str) -> KnownScript | None:
    """The known script that is exactly this text, or None."""
    return _scripts().get(hashlib.sha256(script.encode("utf-8", "replace")).hexdigest())


def newest_version() -> str:
    """The newest version in the table."""
    newest: str = _document()["newest"]
    return newest


@cache
def version_key(version: str) -> tuple[int, ...]:
    """`v0.0.14` as numbers that compare."""
    return tuple(int(part) for part in version.removeprefix("v").split("."))


@cache
def _scripts() -> dict[str, KnownScript]:
    return {
        row["sha256"]: KnownScript(
            row["name"],
            row["phala"],
            row["variant"],
            row["sha256"],
            row.get("rule", ""),
            row.get("does", ""),
        )
        for row in _document()["scripts"]
    }


@cache
def _document() -> Any:  # noqa: ANN401 - a JSON document of this package
    raw = resources.files(__package__).joinpath("prelaunch_scripts.json").read_bytes()
    document = json.loads(raw)
    if document["schema"] != SCHEMA:
        raise ValueError(f"prelaunch_scripts.json: schema is not {SCHEMA!r}")
    return document
