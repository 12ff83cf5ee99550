"""What was read of the blobs of a bundle, each of them once."""

from collections.abc import Callable
from typing import Any, TypeVar

from verifier.errors import EvidenceError

T = TypeVar("T")


class Readings:
    """What was read of blobs, each blob once: many artifacts, attesters and checks may name it."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, object], Any] = {}
        self._once: dict[object, Any] = {}

    # What was read follows from the bytes, so that two bundles of the same bytes are equal.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Readings)

    def __hash__(self) -> int:
        return hash(Readings)

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """What `compute` gives, once for a key that holds all that it follows from."""
        if key not in self._once:
            self._once[key] = compute()
        found: T = self._once[key]
        return found

    def read(self, digest: str, raw: bytes, parse: Callable[[bytes, str], T], what: str) -> T:
        """What `parse` makes of a blob, or the EvidenceError that it raises. `parse` is a function
        of a module; it is the same object for the same reading."""
        key = (digest, parse)
        if key not in self._found:
            try:
                self._found[key] = parse(raw, what), "", None
            except EvidenceError as error:
                self._found[key] = None, what, error
        value, named, problem = self._found[key]
        if problem is not None:
            # The blob may have come from several places: what is wrong is said of this one.
            message = problem.message.replace(named, what, 1)
            raise type(problem)(message, hint=problem.hint) from problem
        found: T = value
        return found
