"""Which mutation comes next: a seed chooses it, from what a bundle and its donor hold."""

from collections.abc import Mapping, Sequence
from random import Random  # noqa: TID251 - always seeded
from typing import Final

from msgspec.structs import replace

from tests.mutation.operations import Level, Op, Operation, Step, received
from tests.worlds.damage import Extension, damages
from verifier.evidence.bundle import Bundle, Kind

PAIRS: Final = 0.25
"""The share of mutations that change two artifacts."""

LEVELS: Final = (*[Level.BYTES] * 3, *[Level.NODE] * 6, Level.ARTIFACT)
TOKENS: Final = tuple(
    text.encode()
    for text in (
        *("", " ", "0", "00", "0x", "-", "null", "true", "{}", "[]", "[[[[", '"', "\\", "\\ud800"),
        *("NaN", "1e999", "18446744073709551616", "9" * 5000, "\n", "\x00", "\x1b[2J", "=", "%00"),
        *("-----BEGIN CERTIFICATE-----", "<textarea readonly>", "&#38;", "\u202e", "${A:-$B}"),
        *('{"a":1,"a":2}', "services:\n  a: &a\n    <<: *a\n", "\x30\x84\xff\xff\xff\xff"),
    )
)


def seeded(*parts: object) -> Random:
    """The source of choices for some place in a run."""
    return Random(" ".join(map(str, parts)))  # noqa: S311 - no secret


class Choices:
    """What can be mutated in a bundle, with another one to splice from."""

    def __init__(self, bundle: Bundle, donor: Bundle, donor_name: str) -> None:
        self._bundle, self._donor, self._name = bundle, donor, donor_name
        self._places: dict[Kind, list[int]] = {
            kind: places for kind in Kind if (places := received(bundle, kind))
        }
        self._nodes, self._given = _nodes(bundle), _nodes(donor)
        self._shared = {kind: received(donor, kind) for kind in self._places}

    def mutation(self, random: Random) -> tuple[Operation, ...]:
        """One operation, or two on different artifacts."""
        first = self.operation(random)
        if random.random() >= PAIRS:
            return (first,)
        second = self.operation(random)
        same = (first.kind, first.number) == (second.kind, second.number)
        return (first,) if same else (first, second)

    def operation(self, random: Random) -> Operation:
        """One operation; each kind of evidence is as likely, however much there is of it."""
        while True:
            kind = random.choice(list(self._places))
            number = random.randrange(len(self._places[kind]))
            level, op = random.choice(LEVELS), random.choice(list(Op))
            found = self._of_level(random, Operation(op=op, level=level, kind=kind, number=number))
            if found is not None:
                return found

    def edit(self, random: Random, kind: Kind, number: int) -> Operation:
        """One operation inside an artifact."""
        while True:
            level, op = random.choice(LEVELS[:-1]), random.choice(list(Op))
            found = self._of_level(random, Operation(op=op, level=level, kind=kind, number=number))
            if found is not None:
                return found

    @property
    def artifacts(self) -> list[tuple[Kind, int]]:
        """Every artifact that holds something, by kind and number."""
        return [(kind, n) for kind, places in self._places.items() for n in range(len(places))]

    def _of_level(self, random: Random, item: Operation) -> Operation | None:
        """The operation with its details, None where there is none such."""
        if item.op is Op.SPLICE and not self._shared[item.kind]:
            return None
        if item.level is Level.ARTIFACT:
            return self._of_artifact(random, item)
        if item.level is Level.BYTES:
            return self._of_bytes(random, item)
        return self._of_node(random, item)

    def _of_artifact(self, random: Random, item: Operation) -> Operation | None:
        count, given = len(self._places[item.kind]), len(self._shared[item.kind])
        if item.op is Op.FLIP or (item.op is Op.SWAP and count == 1):
            return None
        if item.op is Op.SWAP:
            return _with(item, other=random.randrange(count))
        if item.op in (Op.SPLICE, Op.EXTEND):
            return _with(item, other=random.randrange(given), donor=self._name) if given else None
        return item

    def _of_bytes(self, random: Random, item: Operation) -> Operation | None:
        place = self._places[item.kind][item.number]
        size = len(self._bundle.blob(self._bundle.artifacts[place]))
        if not size:
            return None
        at = random.randrange(size)
        length = min(random.choice((1, 1, 2, 4, 16, 64, 1024)), size - at)
        if item.op is Op.FLIP:
            return _with(item, at=at, data=bytes([1 << random.randrange(8)]))
        if item.op is Op.EXTEND:
            end = size if random.randrange(2) else at
            return _with(item, at=end, data=_added(random))
        if item.op is Op.SWAP:
            other = at + length + random.randrange(64)
            return _with(item, at=at, length=length, other=other) if other < size else None
        if item.op is Op.SPLICE:
            return _with(item, at=at, length=length, other=at, donor=self._name)
        return _with(item, at=at, length=length)

    def _of_node(self, random: Random, item: Operation) -> Operation | None:
        paths = self._nodes.get((item.kind, item.number), [])
        if not paths:
            return None
        path = _path(random, paths)
        if isinstance(path[-1], Extension) and item.op is not Op.DROP:
            return None
        if item.op is Op.SPLICE:
            number = random.choice(range(len(self._shared[item.kind])))
            if path not in self._given.get((item.kind, number), ()):
                return None
            return _with(item, path=path, other=number, donor=self._name)
        return _with(
            item,
            path=path,
            at=random.randrange(1 << 12),
            length=random.choice((1, 1, 2, 64)),
            other=random.randrange(1 << 12),
            data=bytes([random.randrange(1, 256)]) if item.op is Op.FLIP else _added(random),
        )


def _with(item: Operation, **details: object) -> Operation:
    return replace(item, **details)


def _path(random: Random, paths: Sequence[tuple[Step, ...]]) -> tuple[Step, ...]:
    """One of the paths: from the root on, each branch is as likely, however much it holds; one node
    in four that has others below is taken itself."""
    depth = 0
    while True:
        step = random.choice(list(dict.fromkeys(path[depth] for path in paths)))
        paths = [path for path in paths if path[depth] == step]
        depth += 1
        whole = [path for path in paths if len(path) == depth]
        paths = [path for path in paths if len(path) > depth]
        if whole and (not paths or random.randrange(4) == 0):
            return whole[0]


def _added(random: Random) -> bytes:
    """What is put in: a token of some format, or some bytes; at least one."""
    if random.randrange(2):
        return random.choice(TOKENS) or b" "
    return random.randbytes(random.choice((1, 2, 32)))


def _nodes(bundle: Bundle) -> Mapping[tuple[Kind, int], Sequence[tuple[Step, ...]]]:
    """The paths of all nodes, by the artifact that they are in."""
    numbers = {
        place: (kind, number)
        for kind in Kind
        for number, place in enumerate(received(bundle, kind))
    }
    found: dict[tuple[Kind, int], list[tuple[Step, ...]]] = {}
    for item in damages(bundle):
        if item.removed and item.path:
            path: tuple[Step, ...] = item.path  # type: ignore[assignment]
            found.setdefault(numbers[item.artifact], []).append(path)
    return found
