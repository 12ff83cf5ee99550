"""Seeds: what each target is given, and what the functions that it records are called with while
simulated worlds are audited."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any, Final

from tests.fuzz.target import LONGEST, Target
from tests.worlds.attacked import carry_out
from tests.worlds.audited import audit
from verifier.lab.attacks import ATTACKS

_MOST: Final = 400
"""Seeds of one target: the shortest ones are kept."""


def seeds(targets: Mapping[str, Target]) -> dict[str, list[bytes]]:
    """The seeds of each target: its own, and from audits of one attack for each check that refuses
    some, and of its twin."""
    recorded: dict[CodeType, set[bytes]] = {
        function.__code__: set() for target in targets.values() for function in target.records
    }
    texts = {
        function.__code__
        for target in targets.values()
        for function in target.records
        if next(iter(function.__annotations__.values())) is str
    }
    with calls(lambda frame: _record(recorded, texts, frame)):
        for attack in {attack.refused_by[0]: attack for attack in ATTACKS}.values():
            carry_out(attack)
            audit(attack.twin, endpoint=attack.twin_endpoint or attack.endpoint)
    return {name: _of(target, recorded) for name, target in targets.items()}


def _of(target: Target, recorded: Mapping[CodeType, set[bytes]]) -> list[bytes]:
    found = set(target.given())
    for function in target.records:
        found |= recorded[function.__code__]
    return sorted((raw for raw in found if len(raw) <= LONGEST), key=lambda raw: (len(raw), raw))[
        :_MOST
    ]


@contextmanager
def calls(seen: Callable[[FrameType], None]) -> Iterator[None]:
    """Tells of the frame of every call of a Python function."""

    def told(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            seen(frame)

    sys.setprofile(told)
    try:
        yield
    finally:
        sys.setprofile(None)


def _record(
    recorded: Mapping[CodeType, set[bytes]], texts: AbstractSet[CodeType], frame: FrameType
) -> None:
    code = frame.f_code
    if code in recorded:
        value = frame.f_locals[code.co_varnames[0]]
        recorded[code].add(
            value
            if isinstance(value, bytes)
            else (value if code in texts else json.dumps(value)).encode("utf-8", "replace")
        )
