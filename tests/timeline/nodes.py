"""A reader of one block whose endpoints are functions."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias, TypeVar

from verifier.errors import EvidenceError
from verifier.evidence.contracts import Call
from verifier.model.result import JsonValue

T = TypeVar("T")

Ask: TypeAlias = Callable[[Call], JsonValue]
"""What an endpoint answers to a call; it raises EvidenceError where it does not."""


class Nodes:
    """Reads at one block, as `verifier.chain.calls.Reader` asks for them."""

    def __init__(self, number: int, *asked: Ask) -> None:
        self._asked = asked
        self.number = number
        self.single_source = len(asked) == 1
        self.endpoints = tuple(f"https://node{index}.example" for index in range(len(asked)))

    def _answers(self, call: Call) -> Iterator[JsonValue]:
        for ask in self._asked:
            with suppress(EvidenceError):
                yield ask(call)

    def value(self, call: Call, decode: Callable[[JsonValue, str], T]) -> T:
        """What every endpoint says."""
        found = self.find(call, decode)
        if found is None:
            raise EvidenceError(f"{call[0]}: no answer")
        return found

    def find(self, call: Call, decode: Callable[[JsonValue, str], T]) -> T | None:
        """What every endpoint that answers says, None where none does."""
        found = [decode(answer, call[0]) for answer in self._answers(call)]
        if any(item != found[0] for item in found):
            raise EvidenceError(f"{call[0]}: the endpoints disagree")
        return found[0] if found else None

    def each(self, call: Call, decode: Callable[[JsonValue, str], T]) -> tuple[T, ...]:
        """Every answer that is well formed."""
        found: list[T] = []
        for answer in self._answers(call):
            with suppress(EvidenceError):
                found.append(decode(answer, call[0]))
        return tuple(found)

    def operators_of(self, endpoints: Iterable[str]) -> int:
        """Each endpoint is an operator of its own."""
        return len(set(endpoints))
