"""What is about to change: operations that were announced and not made yet.

Each twin announces something as well: that a manifest shall be allowed no longer.
"""

from collections.abc import Callable, Iterator
from typing import Final, cast

from verifier.evidence.codec import JsonObject
from verifier.lab import contracts, keys
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import Attack, warned
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.knobs import Knobs
from verifier.lab.owners import Timelock

_GOVERNANCE: Final = "authorization.governance"
_OTHER: Final = keys.labelled("another manifest", 32)
_ATTACKER: Final = keys.labelled("attacker", 20)
_LATELY: Final = 3
_LONG_AGO: Final = 20
"""In days; the timelocks wait for seven."""

Edit = Callable[[Chain, DstackApp, DstackKms], None]


def attacks() -> Iterator[Attack]:
    """Operations that were announced, by a timelock."""
    why = "it was announced, and may be cancelled before it is made"
    allow = contracts.selector("addComposeHash(bytes32)") + _OTHER
    hand_over = contracts.selector("transferOwnership(address)") + _ATTACKER.rjust(32, b"\0")
    unknown = contracts.selector("somethingElse(bytes32)") + _OTHER
    for name, title, edit in (
        ("announced-lately", "announces a permission for a manifest that nobody has seen",
         announced(_LATELY, allow)),
        ("announced-long-ago", "keeps an announced permission for the moment after the audit",
         announced(_LONG_AGO, allow)),
        ("announced-owner", "announces that the app shall be somebody else's",
         announced(_LATELY, hand_over)),
        ("announced-unknown-call", "announces a call of the app that nobody can read",
         announced(_LATELY, unknown)),
    ):  # fmt: skip
        yield _warned(name, title, Knobs(edit_chain=edit), why)
    title = "announces a batch, and has both operators hide its second half"
    half = Knobs(edit_chain=_announced_batch, edit_logs=_second_half_hidden)
    why = "what is shown of it is harmless; its id is that of more"
    yield _warned("announced-half-hidden", title, half, why)


def announced(days: int, calldata: bytes) -> Edit:
    """The app's timelock was told so many days ago to make a call of the app."""

    def edit(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
        block = forge.days_ago(chain, days)
        cast("Timelock", app.owner).announce(block, app.address, calldata, salt=days)

    return edit


HARMLESS: Final = Knobs(
    edit_chain=announced(_LONG_AGO, contracts.selector("removeComposeHash(bytes32)") + _OTHER)
)
"""A world in which something is about to change that lets nothing new run."""


def _warned(name: str, title: str, knobs: Knobs, why: str) -> Attack:
    return warned(name, _GOVERNANCE, title, knobs, why, twin=HARMLESS)


def _announced_batch(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    withdraw = contracts.selector("removeComposeHash(bytes32)") + _OTHER
    allow = contracts.selector("addComposeHash(bytes32)") + _OTHER
    calls = [(app.address, withdraw), (app.address, allow)]
    cast("Timelock", app.owner).announce_batch(forge.days_ago(chain, _LATELY), calls, salt=1)


def _second_half_hidden(_operator: str, logs: list[JsonObject]) -> list[JsonObject]:
    scheduled = (
        "0x"
        + contracts.topic(
            "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)"
        ).hex()
    )
    second = "0x" + (1).to_bytes(32, "big").hex()

    def hidden(log: JsonObject) -> bool:
        topics = cast("list[str]", log["topics"])
        return topics[0] == scheduled and topics[2] == second

    return [log for log in logs if not hidden(log)]
