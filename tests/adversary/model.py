"""What is true in a world, who may make it false, and what a relying party asks.

Nothing here knows a check. A power says of what it is a lie, whether what it leaves behind can be
told from the truth, and what evidence shows that. From the powers of a world follows whom it harms.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from verifier.evidence.bundle import Artifact, Kind
from verifier.lab.knobs import Knobs
from verifier.lab.world import DOMAIN, World


class Fact(StrEnum):
    """What a relying party wants to know."""

    HARDWARE = "genuine hardware, fit to be trusted"
    SEALED = "nobody reads or changes the guest from outside"
    IMAGE = "the OS image that booted"
    MACHINE = "the firmware and tables it was given"
    HELD = "that it is a machine which the relying party names"
    CODE = "the manifest that runs"
    WAYS = "that the manifest leaves nobody a way in"
    APP = "whose app it is"
    KEYS = "who holds its keys"
    KMS = "what the KMS runs"
    ALLOWED = "the contracts allow it"
    CONTROL = "who may change it, and how fast"
    NOTICE = "that a change is announced a week before"
    PAST = "what was changed before"
    SOURCE = "what its images were built from"
    SIGNER = "that a workflow which the relying party names built them"
    ENDPOINT = "where users' connections end"
    NAME = "whom the address leads to, and who gets its certificates"
    FRESH = "that it is so now"


class Liar(StrEnum):
    """Whoever lies, with what is in their hands alone."""

    HOST = "the machine's host"
    DEPLOYER = "whoever deploys the app"
    KMS = "whoever runs a KMS"
    OWNER = "whoever owns the contracts"
    OPERATOR = "one chain endpoint"
    OPERATORS = "every chain endpoint"
    BUILDER = "whoever builds an image"
    REGISTRY = "a registry of images"
    GATEWAY = "a gateway, or the network"
    NAMES = "whoever answers for names"
    MESSENGER = "whoever hands evidence over"


class Trace(StrEnum):
    """What a lie leaves behind."""

    CERTAIN = "contradicts what somebody else signed, measured or witnessed"
    DOUBT = "is not what an honest world shows, and may be innocent"


_GUEST: Final = (Fact.CODE, Fact.APP, Fact.KEYS, Fact.ENDPOINT)
FOLLOWS: Final[Mapping[Fact, tuple[Fact, ...]]] = {
    Fact.HARDWARE: (Fact.SEALED, Fact.IMAGE, Fact.MACHINE, *_GUEST, Fact.FRESH),
    Fact.SEALED: (Fact.IMAGE, Fact.MACHINE, *_GUEST),
    Fact.IMAGE: _GUEST,
}
"""Whoever chooses the one chooses the others: what a guest measures is its image's word, what its
memory holds is that of whoever can write there, and what no CPU signed is anybody's."""

CLAIMS: Final[Mapping[str, Fact]] = {
    **dict.fromkeys(("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3"), Fact.HARDWARE),
    **dict.fromkeys(("report_data", "mr_config_id", "td_attributes"), Fact.HARDWARE),
    **dict.fromkeys(("tcb_status", "tcb_advisories", "device_id", "fmspc"), Fact.HARDWARE),
    **dict.fromkeys(("os_image", "os_image_hash"), Fact.IMAGE),
    **dict.fromkeys(("compose_hash", "images"), Fact.CODE),
    **dict.fromkeys(("kms", "kms_root"), Fact.KEYS),
    **dict.fromkeys(("app_owner", "kms_owner"), Fact.CONTROL),
    "app_id": Fact.APP,
    "machine": Fact.MACHINE,
    "kms_guest": Fact.KMS,
    "app_contract": Fact.ALLOWED,
    "endpoint_key": Fact.ENDPOINT,
}
"""The fact that a claim is about."""

_OF_THE_GUEST: Final = frozenset(
    {Fact.HARDWARE, Fact.SEALED, Fact.IMAGE, Fact.MACHINE, Fact.CODE, Fact.APP, Fact.FRESH}
)
_DEMANDED: Final = frozenset({Fact.NOTICE, Fact.SIGNER, Fact.HELD})
ASKED: Final[Mapping[str, frozenset[Fact]]] = {
    "genuine": _OF_THE_GUEST,
    **dict.fromkeys(("baseline", "strict"), frozenset(Fact) - _DEMANDED),
    "stage1": frozenset(Fact) - _DEMANDED | {Fact.NOTICE},
    "signed": frozenset(Fact) - _DEMANDED | {Fact.SIGNER},
    "held": frozenset(Fact) - _DEMANDED | {Fact.HELD},
}
"""What the relying party that takes a policy wants to know. `genuine` asks who runs what on what,
and nothing of keys, contracts, sources and names; a week's notice is demanded by `stage1` alone,
and a signer by `signed`, a machine by `held`, which are `baseline` with one."""

HandedOver = tuple[tuple[Kind, bytes], ...]


class Power(Struct, frozen=True, kw_only=True, dict=True):
    """One thing that a liar can do.

    name      its name
    liar      who can
    about     what a relying party would get wrong
    chooses   what the liar decides alone, so that evidence of it is the liar's word; () for nothing
    trace     what is left behind
    shows     in which evidence; () where that is in all of it
    hides     evidence that is kept back; () for none
    claims    the resource that it takes, which another power cannot take, too; "" for none
    knobs     the knobs that it turns
    handed    evidence that is added to what was collected; None for none
    spoils    changes what was collected, in the evidence; None for nothing
    drops     evidence of these kinds is kept back, or comes from nowhere; () for none
    vouched   whether the relying party collected the evidence, or vouches for who did
    endpoint  the address at which it works; "" for any
    within    the honest world in which it works; "" for any
    """

    name: str
    liar: Liar
    about: tuple[Fact, ...]
    chooses: tuple[Fact, ...] = ()
    trace: Trace = Trace.DOUBT
    shows: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    claims: str = ""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    handed: Callable[[World], HandedOver] | None = None
    spoils: Callable[[Artifact, bytes], bytes] | None = None
    drops: tuple[Kind, ...] = ()
    vouched: bool = True
    endpoint: str = ""
    within: str = ""


class Truth(Struct, frozen=True):
    """What the model says of a world.

    harmed   what a relying party would get wrong
    certain  that of it which some evidence contradicts that nobody keeps back
    chosen   what a liar decides alone: a claim of it is that liar's word
    """

    harmed: frozenset[Fact]
    certain: frozenset[Fact]
    chosen: frozenset[Fact]


def truth_of(powers: Iterable[Power]) -> Truth:
    """What is false where these powers are used."""
    used = tuple(powers)
    hidden = {name for power in used for name in power.hides}
    seen = [power for power in used if not hidden & set(power.shows)]
    certain = {fact for power in seen if power.trace is Trace.CERTAIN for fact in power.about}
    chosen = _closed(fact for power in seen for fact in power.chooses)
    harmed = chosen | {fact for power in used for fact in power.about}
    return Truth(frozenset(harmed), frozenset(certain), frozenset(chosen))


def _closed(facts: Iterable[Fact]) -> set[Fact]:
    found = set(facts)
    return found.union(*(FOLLOWS.get(fact, ()) for fact in found))


class Clash(Exception):
    """Two powers cannot be used in one world."""


_CHAINED: Final = {
    *("edit_manifest", "edit_events", "edit_td", "edit_quote", "edit_log", "edit_served_manifest"),
    *("edit_proof", "edit_kms", "edit_gateway"),
}
"""Knobs that take one value and give another: the later edits what the earlier left."""


_EDITS_LAST: Final = {"edit_response", "edit_dns", "edit_logs"}
"""Knobs that are asked about something, and take what is answered as the last of it."""


_ON_THE_APP: Final = {"edit_chain", "edit_logs"}
"""Knobs that work on the app as the honest world deploys it."""


def combined(honest: Knobs, powers: Iterable[Power]) -> tuple[Knobs, str]:
    """The world of these powers, and the address that is asked about. Raises Clash."""
    turned: dict[str, Any] = {}
    taken = set[str]()
    endpoint = ""
    used = tuple(powers)
    elsewhere = [power for power in used if power.knobs.get("app_on_chain") is False]
    if elsewhere and any(x.knobs.keys() & _ON_THE_APP for x in used if x not in elsewhere):
        raise Clash
    for power in used:
        if power.claims and power.claims in taken:
            raise Clash
        taken.add(power.claims)
        if power.endpoint and endpoint not in ("", power.endpoint):
            raise Clash
        endpoint = endpoint or power.endpoint
        for name, value in power.knobs.items():
            turned[name] = _merged(name, turned[name], value) if name in turned else value
    if "others" in turned:
        turned["others"] = tuple(replace(x, challenge=honest.challenge) for x in turned["others"])
    return replace(honest, **turned), endpoint or DOMAIN


def _merged(name: str, first: Any, second: Any) -> Any:
    joined: Any = second
    if name in _CHAINED:
        joined = lambda value: second(first(value))  # noqa: E731 - one of several
    elif name in _EDITS_LAST:
        joined = lambda *asked: second(*asked[:-1], first(*asked))  # noqa: E731
    elif name == "edit_chain":
        joined = lambda *parts: (first(*parts), second(*parts))  # noqa: E731
    elif name == "rpc_faults" and not first.keys() & second.keys():
        joined = {**first, **second}
    elif name in ("revoked", "rogue", "expired"):
        joined = first | second
    elif first is not second and first != second:
        raise Clash
    return second if first is second else joined
