"""Worlds of up to three powers of one liar, and what their audits say that is not so."""

import hashlib
import itertools
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.adversary.honest import HONEST_WORLDS, PARTLY
from tests.adversary.model import Clash, Fact, Liar, Power, combined, truth_of
from tests.adversary.oracle import Judged, breaches, noticing
from tests.adversary.powers import powers
from tests.adversary.worlds import (
    FURTHER,
    OFF_CHAIN,
    Asked,
    Collector,
    Unlike,
    asked_of,
    judge,
    question,
)
from tests.worlds.audited import add, edited
from verifier.checks.case import Question
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Bundle, Kind
from verifier.lab.world import World, build

_KNOBS: Final = {**HONEST_WORLDS, **PARTLY}

PLAIN: Final = "plain"
_UNFIT: Final = (ValueError, TypeError, KeyError, AttributeError, StopIteration, EvidenceError)
_OF_CONTRACTS: Final = frozenset((Fact.ALLOWED, Fact.PAST, Fact.CONTROL, Fact.NOTICE, Fact.KMS))

_EQUAL: Final = frozenset(("certificate-of-an-equal-guest", "users-led-to-an-equal-guest"))

MOST: Final = 3
"""Powers that are used at once."""


class Recipe(Struct, frozen=True, order=True):
    """A world: the honest one that it is made from, and the powers that are used in it."""

    honest: str
    powers: tuple[str, ...]

    def __str__(self) -> str:
        return "+".join((self.honest, *self.powers))


class Outcome(Struct, frozen=True):
    """What came of a world; `judged` is empty where there is no such world."""

    recipe: Recipe
    judged: tuple[Judged, ...] = ()
    breaches: tuple[str, ...] = ()


COLLUSIONS: Final = (
    (Liar.HOST, Liar.GATEWAY),
    (Liar.HOST, Liar.MESSENGER),
    (Liar.DEPLOYER, Liar.OPERATOR),
    (Liar.DEPLOYER, Liar.BUILDER),
    (Liar.OWNER, Liar.OPERATOR),
    (Liar.OWNER, Liar.OPERATORS),
    (Liar.KMS, Liar.REGISTRY),
    (Liar.GATEWAY, Liar.NAMES),
)
"""Liars who help each other: one power of each is used at once."""


def recipes(seed: int, known: Mapping[str, Power]) -> Iterator[Recipe]:
    """Every world, in an order that the seed gives: first one of each liar and fact, then each
    power alone, several of each liar, and one each of two of them, in turn."""
    of: dict[Liar, list[str]] = {liar: [] for liar in Liar}
    for power in known.values():
        of[power.liar].append(power.name)
    first = _one_of_each(seed, known)
    yield from (Recipe(known[name].within or PLAIN, (name,)) for name in first)
    sets: list[list[tuple[str, ...]]] = [[(name,) for name in sorted(set(known) - set(first))]]
    sets += [
        [each for count in range(2, MOST + 1) for each in itertools.combinations(names, count)]
        for names in map(sorted, of.values())
    ]
    sets += [list(itertools.product(sorted(of[one]), sorted(of[two]))) for one, two in COLLUSIONS]
    for each in sets:
        each.sort(key=lambda names: _drawn(seed, names))
    for turn in itertools.zip_longest(*sets):
        for names in turn:
            if names is not None:
                drawn = int.from_bytes(_drawn(seed, names)) % len(HONEST_WORLDS)
                honest = sorted(HONEST_WORLDS)[drawn] if len(names) > 1 else PLAIN
                within = {known[name].within for name in names} - {""}
                yield Recipe(min(within, default=honest), names)


def _registers(world: World) -> tuple[bytes, ...]:
    return (world.guest.td_report.mr_td, *world.guest.td_report.rtmrs)


def _is_of_a_kms(power: Power) -> bool:
    """Whether a power changes what a KMS answers, or what its contract says."""
    return bool(_OF_CONTRACTS & {*power.about}) or "kms" in power.shows


def _one_of_each(seed: int, known: Mapping[str, Power]) -> list[str]:
    """Powers by which each liar lies about each fact in their reach."""
    found: dict[str, None] = {}
    told = set[tuple[Liar, Fact]]()
    for name in sorted(known, key=lambda name: _drawn(seed, (name,))):
        reach = {(known[name].liar, fact) for fact in known[name].about}
        if reach - told:
            found[name] = None
            told |= reach
    return list(found)


def _drawn(seed: int, names: tuple[str, ...]) -> bytes:
    return hashlib.sha256(f"{seed} {names}".encode()).digest()


class Explorer:
    """Builds, audits and judges worlds; keeps what several of them need, and where `keeps` says so
    the evidence of each."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self._kept: dict[Recipe, tuple[World, Bundle, Question]] = {}
        self.known = powers()
        self.collector = Collector()
        self._ordinary: dict[str, Mapping[str, frozenset[str]]] = {}
        self._asked: dict[tuple[str, str], tuple[Asked, ...]] = {}

    def outcome(self, recipe: Recipe, *, every_policy: bool = False) -> Outcome:
        """What the audits of a world say that is not so."""
        used = [self.known[name] for name in recipe.powers]
        try:
            world, judged = self.audited(recipe, every_policy=every_policy)
        except Clash:
            return Outcome(recipe)
        ordinary = self.ordinary(recipe.honest)
        found = breaches(world, truth_of(used), judged, ordinary)
        return Outcome(recipe, tuple(judged), tuple(found))

    def ordinary(self, honest: str) -> Mapping[str, frozenset[str]]:
        """What notices in an honest world, by policy; nothing where all can be proven."""
        if honest not in PARTLY:
            return {}
        if honest not in self._ordinary:
            _, judged = self.audited(Recipe(honest, ()), every_policy=True)
            self._ordinary[honest] = {audit.policy: noticing(audit) for audit in judged}
        return self._ordinary[honest]

    def audited(self, recipe: Recipe, *, every_policy: bool = False) -> tuple[World, list[Judged]]:
        """The world of a recipe, and its audits. Raises Clash."""
        used = [self.known[name] for name in recipe.powers]
        if recipe.honest in PARTLY and any(map(_is_of_a_kms, used)):
            raise Clash  # where no KMS gives keys, nobody asks one, or its contract
        honest = _KNOBS[recipe.honest]
        knobs, endpoint = combined(honest, used)
        if recipe in self._kept:
            return self._judged(recipe, *self._kept[recipe], every_policy=every_policy)
        world = build(knobs)
        if _EQUAL & {*recipe.powers} and _registers(world) != _registers(build(honest)):
            raise Clash  # another guest is equal where nothing else is changed in this one
        # Whoever deploys the app shows what it runs; a host may run something else than is shown.
        read = all(power.liar is not Liar.HOST for power in used)
        asked = question(world, honest, endpoint, read=read)
        try:
            bundle = self._evidence(recipe, world, asked)
            assert world.kms.guest.compose_hash  # not every edit of a KMS leaves what another needs
            for power in used:
                bundle = _handled(bundle, world, power)
            asked = replace(asked, trusted=all(power.vouched for power in used))
        except _UNFIT as error:
            raise Clash from error  # what one power writes, another one's format cannot hold
        if self.keeps:
            self._kept[recipe] = world, bundle, asked
        return self._judged(recipe, world, bundle, asked, every_policy=every_policy)

    def _judged(
        self, recipe: Recipe, world: World, bundle: Bundle, asked: Question, *, every_policy: bool
    ) -> tuple[World, list[Judged]]:
        used = [self.known[name] for name in recipe.powers]
        further = [
            policy
            for policy, why in (
                ("signed", any(power.liar is Liar.BUILDER for power in used)),
                ("held", any(Fact.HELD in power.about for power in used)),
            )
            if why
        ]
        if self.keeps:  # and what was read of it is read again, by whoever judges it next
            bundle = Bundle(bundle.artifacts, bundle.blobs)
        return world, judge(bundle, asked, every_policy=every_policy, further=further)

    def _evidence(self, recipe: Recipe, world: World, asked: Question) -> Bundle:
        used = [self.known[name] for name in recipe.powers]
        # Of a KMS that several powers edit, none of them alone says where its guest answers.
        kms = sum("edit_kms" in power.knobs for power in used)
        if len(used) > 1 and kms < 2 and recipe.honest not in PARTLY:
            further = [power for power in used if power.endpoint or power.knobs.keys() & FURTHER]
            wanted = [
                *self._calls_for(PLAIN, ""),
                *self._calls_for(recipe.honest, ""),
                *(each for power in further for each in self._calls_for(PLAIN, power.name)),
            ]
            chain = sorted(power.name for power in used if power.knobs.keys() - OFF_CHAIN)
            with suppress(Unlike):
                return self.collector.ask(world.knobs, asked, (recipe.honest, *chain), wanted)
        return self.collector.collect(world, asked)

    def is_cheap(self, recipe: Recipe) -> bool:
        """Whether a world is asked no more than an honest one, so that nothing is collected."""
        used = [self.known[name] for name in recipe.powers]
        return recipe.honest == PLAIN and not any(
            power.endpoint or power.knobs.keys() & FURTHER for power in used
        )

    def _calls_for(self, honest: str, name: str) -> tuple[Asked, ...]:
        """What a world of one power is asked, "" for none."""
        if (honest, name) not in self._asked:
            knobs, endpoint = combined(_KNOBS[honest], [self.known[name]] if name else [])
            world = build(knobs)
            bundle = self.collector.collect(world, question(world, _KNOBS[honest], endpoint))
            found = asked_of(bundle)
            if name:
                known = {(each.key, each.item.subject) for each in self._calls_for(PLAIN, "")}
                found = tuple(each for each in found if _is_further(each, known))
            self._asked[honest, name] = found
        return self._asked[honest, name]

    @property
    def questions(self) -> bytes:
        """What the powers so far call for, to begin with another time."""
        return msgspec.msgpack.encode([(*key, asked) for key, asked in self._asked.items()])

    def remember(self, questions: bytes) -> None:
        """Begin with what the powers called for another time."""
        rows = msgspec.msgpack.decode(questions, type=list[tuple[str, str, tuple[Asked, ...]]])
        self._asked.update({(honest, name): asked for honest, name, asked in rows})

    def least(self, recipe: Recipe) -> Recipe:
        """A smaller recipe that is still in breach: powers are left out one by one."""
        for place in range(len(recipe.powers)):
            rest = recipe.powers[:place] + recipe.powers[place + 1 :]
            smaller = replace(recipe, powers=rest)
            if rest and self.outcome(smaller).breaches:
                return self.least(smaller)
        if recipe.honest != PLAIN and self.outcome(replace(recipe, honest=PLAIN)).breaches:
            return replace(recipe, honest=PLAIN)
        return recipe


def _is_further(each: Asked, known: Container[object]) -> bool:
    """Whether a question is not asked of an honest world, or says who answers it."""
    return each.item.kind is Kind.INFO or (each.key, each.item.subject) not in known


def _handled(bundle: Bundle, world: World, power: Power) -> Bundle:
    """The evidence after somebody had it in hands."""
    if power.drops:
        kept = [item for item in bundle.artifacts if item.kind not in power.drops]
        bundle = replace(bundle, artifacts=tuple(kept))
    spoils = power.spoils
    if spoils is not None:
        bundle = edited(bundle, lambda item, raw: (item, spoils(item, raw)))
    if power.handed is not None:
        bundle = add(bundle, power.handed(world), world.now)
    return bundle
