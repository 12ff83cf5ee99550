"""What the name of an environment variable says about it: `env_classes.json` beside this file.

The first pattern that an upper-case name matches names its class. A name is a hint, not a proof:
rules weigh it together with where the variable is used.
"""

import json
import re
from functools import cache, lru_cache
from importlib import resources
from typing import Final

from verifier.patterns import pattern

SCHEMA: Final = "dstack-audit/env-classes/v1"

ROOT: Final = "ROOT"  # a way to a root shell
PROC: Final = "PROC"  # steers bash, the loader, Docker or Compose themselves
REG: Final = "REG"  # registry credentials
LAUNCH: Final = "LAUNCH"  # the launch token
PLATFORM: Final = "PLATFORM"  # set by the platform's own script
CODE: Final = "CODE"  # selects code
TLSKEY: Final = "TLSKEY"
SIGNKEY: Final = "SIGNKEY"
ADMIN: Final = "ADMIN/DEBUG"
POLICY: Final = "POLICY"  # whom the app trusts
PUBLIC: Final = "PUBLIC"
APICRED: Final = "APICRED"  # credential of a third party
URL: Final = "URL"
CONFIG: Final = "CONFIG"

_MAX_NAME: Final = 200


def classify(name: str) -> str:
    """The class of a variable's name; of a very long one, by its beginning and end."""
    if len(name) > _MAX_NAME:
        name = name[: _MAX_NAME // 2] + name[-_MAX_NAME // 2 :]
    return _classify(name)


@lru_cache(maxsize=4096)
def _classify(name: str) -> str:
    upper = name.upper()
    return next(label for label, pattern in _classes() if pattern.search(upper))


@cache
def _classes() -> tuple[tuple[str, re.Pattern[str]], ...]:
    raw = resources.files(__package__).joinpath("env_classes.json").read_bytes()
    document = json.loads(raw)
    if document["schema"] != SCHEMA:
        raise ValueError(f"env_classes.json: schema is not {SCHEMA!r}")
    return tuple((row["class"], pattern(row["pattern"])) for row in document["classes"])
