"""Which lines of the auditor an input reaches, and the few inputs that reach what many do."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import verifier
from tests.fuzz.target import Target, judge

_PACKAGE: Final = str(Path(verifier.__file__).parent)
Step = tuple[str, int, int]
"""A file, a line of it, and the line before it in the same call."""


def steps(target: Target, raw: bytes) -> set[Step]:
    """The steps from line to line that an input takes in the auditor."""
    found: set[Step] = set()

    def of_call(frame: FrameType, _: str, __: Any) -> Callable[..., Any] | None:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGE):
            return None
        last = 0

        def of_line(inner: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal last
            if event == "line":
                found.add((name, inner.f_lineno, last))
                last = inner.f_lineno
            return of_line

        return of_line

    before = sys.gettrace()
    sys.settrace(of_call)
    try:
        judge(target, raw)
    finally:
        sys.settrace(before)
    return found


def fewest(target: Target, raws: Iterable[bytes], budget: int) -> tuple[list[bytes], set[Step]]:
    """Inputs of at most so many bytes together, the shortest first where they reach as much, and
    all steps that the given ones take."""
    kept: list[bytes] = []
    reached: set[Step] = set()
    every: set[Step] = set()
    for raw in sorted(set(raws), key=lambda raw: (len(raw), raw)):
        taken = steps(target, raw)
        every |= taken
        if not taken <= reached and len(raw) <= budget:
            kept.append(raw)
            reached |= taken
            budget -= len(raw)
    return kept, every


def lines(reached: Iterable[Step]) -> int:
    """How many lines these steps lead to."""
    return len({(name, line) for name, line, _ in reached})
