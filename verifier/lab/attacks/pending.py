"""What is about to change: operations that were announced and not made yet.

Each twin announces something as well: that a manifest shall be allowed no longer. The app of the
second half is owned by a Safe of two keys out of three, with no timelock between them.
"""

from collections.abc import Callable, Iterator
from typing import Final, cast

from eth_utils.address import to_checksum_address
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import contracts, keys
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import HONEST, Attack, missing, warned
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.knobs import Knobs
from verifier.lab.owners import Safe, Timelock
from verifier.lab.response import NOT_FOUND, Response, answer_json
from verifier.lab.safe_service import Waiting, listed, queue, signer
from verifier.lab.world import SAFE_URL
from verifier.model.result import Verdict

_GOVERNANCE: Final = "authorization.governance"
_OTHER: Final = keys.labelled("another manifest", 32)
_ATTACKER: Final = keys.labelled("attacker", 20)
_ALLOW: Final = contracts.selector("addComposeHash(bytes32)")
_WITHDRAW: Final = contracts.selector("removeComposeHash(bytes32)")
_SAFE: Final = keys.labelled("Safe of three keys", 20)
_SIGNERS: Final = ("one", "two", "three")
_LATELY: Final = 3
_LONG_AGO: Final = 20
"""In days; the timelocks wait for seven."""

_CREATION: Final = contracts.runtime_code("timelock-creation").hex().encode()
_OTHER_CREATION: Final = contracts.runtime_code("planting creation").hex().encode()

Edit = Callable[[Chain, DstackApp, DstackKms], None]


def attacks() -> Iterator[Attack]:
    """Operations that were announced, by a timelock."""
    why = "it was announced, and may be cancelled before it is made"
    allow = _ALLOW + _OTHER
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
    yield from _planted()
    yield from _set_up()
    title = "announces a batch, and has both operators hide its second half"
    half = Knobs(edit_chain=_announced_batch, edit_logs=_second_half_hidden)
    why = "what is shown of it is harmless; its id is that of more"
    yield _warned("announced-half-hidden", title, half, why)


def of_safes() -> Iterator[Attack]:
    """Transactions of a Safe that owns the app, as its service tells them."""
    twin = {"twin": _behind_safe(_listing(_WITHDRAW)), "twin_verdict": Verdict.WARNING}
    why = "it waits for somebody to bring the signatures together"
    title = "has two signers of the Safe agree to allow a manifest that nobody has seen"
    knobs = _behind_safe(_listing(_ALLOW))
    yield warned("safe-about-to-allow", _GOVERNANCE, title, knobs, why, **twin)
    why = "what its signers agreed on, nobody told"
    title = "has the Safe's transaction service answer nothing"
    knobs = _behind_safe(lambda _response: NOT_FOUND)
    yield warned("safe-service-gone", _GOVERNANCE, title, knobs, why, **twin)
    why = "who lies about one transaction may hide another"
    title = "has the Safe's service show something harmless under the hash that was signed"
    knobs = _behind_safe(_listing(_WITHDRAW, signed=_ALLOW))
    yield warned("safe-service-lies", _GOVERNANCE, title, knobs, why, **twin)


def announced(days: int, calldata: bytes) -> Edit:
    """The app's timelock was told so many days ago to make a call of the app."""

    def edit(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
        block = forge.days_ago(chain, days)
        cast("Timelock", app.owner).announce(block, app.address, calldata, salt=days)

    return edit


HARMLESS: Final = Knobs(edit_chain=announced(_LONG_AGO, _WITHDRAW + _OTHER))
"""A world in which something is about to change that lets nothing new run."""


def _planted() -> Iterator[Attack]:
    """Operations that are due, in the storage of a timelock, and in no log."""
    title = "creates the timelock by code of its own, which leaves operations in it that are due"
    why = "the timelock's code waits for all that it is told; what it was made with, nobody knows"
    knobs = Knobs(edit_response=_by_other_code)
    yield warned("timelock-planted", f"{_GOVERNANCE} manifest.rules", title, knobs, why)
    demanded = {"governance": "notice_days = 7"}
    yield missing("timelock-planted-demanded", _GOVERNANCE, title, knobs, why, **demanded)


def _set_up() -> Iterator[Attack]:
    """A Safe that was set up by code of its creator's."""
    title = "has the setup of the Safe run code of its own, which leaves keys that nothing lists"
    why = "the Safe's code is known; what its setup wrote is known to nobody"
    knobs = Knobs(governance="safe", edit_logs=_set_up_by_code)
    demanded = {"governance": "several_keys = true"}
    yield missing("safe-set-up-by-code", _GOVERNANCE, title, knobs, why, **demanded)


def _set_up_by_code(_operator: str, logs: list[JsonObject]) -> list[JsonObject]:
    """The third word of the setup's log names the code that it ran."""
    setup = "0x" + contracts.topic("SafeSetup(address,address[],uint256,address,address)").hex()

    def ran(log: JsonObject) -> JsonObject:
        if cast("list[str]", log["topics"])[0] != setup:
            return log
        words = bytes.fromhex(str(log["data"])[2:])
        return {**log, "data": "0x" + (words[:64] + _ATTACKER.rjust(32, b"\0") + words[96:]).hex()}

    return [ran(log) for log in logs]


def _by_other_code(_method: str, _url: str, _body: bytes, response: Response) -> Response:
    return replace(response, body=response.body.replace(_CREATION, _OTHER_CREATION))


def _warned(name: str, title: str, knobs: Knobs, why: str) -> Attack:
    return warned(name, _GOVERNANCE, title, knobs, why, twin=HARMLESS)


def _announced_batch(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    calls = [(app.address, _WITHDRAW + _OTHER), (app.address, _ALLOW + _OTHER)]
    cast("Timelock", app.owner).announce_batch(forge.days_ago(chain, _LATELY), calls, salt=1)


def _to_safe(chain: Chain, app: DstackApp, _kms: DstackKms) -> None:
    safe = Safe(chain, _SAFE, tuple(signer(label) for label in _SIGNERS))
    safe.deploy(forge.days_ago(chain, 40), threshold=2)
    app.transfer_ownership(forge.days_ago(chain, _LONG_AGO), safe.address)


def _behind_safe(answer: Callable[[Response], Response]) -> Knobs:
    """A world whose app a Safe owns, of which a service says this."""
    asked = f"{SAFE_URL}/api/v1/safes/{to_checksum_address(_SAFE)}/"

    def edit(_method: str, url: str, _body: bytes, response: Response) -> Response:
        return answer(response) if url.startswith(asked) else response

    return Knobs(edit_chain=_to_safe, edit_response=edit)


def _listing(function: bytes, *, signed: bytes = b"") -> Callable[[Response], Response]:
    """One transaction about another manifest, signed by two; with `signed`, what was signed, and
    hashed, is another one."""
    shown, other = _waiting(function), _waiting(signed or function)
    proof = listed(other, "2026-06-14T12:00:00Z")
    item = {**listed(shown, "2026-06-14T12:00:00Z"), "safeTxHash": proof["safeTxHash"]}
    item["confirmations"] = proof["confirmations"]
    return lambda _response: answer_json(200, queue([item]))


def _waiting(function: bytes) -> Waiting:
    app = keys.labelled(f"app {HONEST.seed}", 20)
    return Waiting(
        safe=_SAFE,
        chain_id=HONEST.chain_id,
        to=app,
        calldata=function + _OTHER,
        nonce=0,
        signers=_SIGNERS[:2],
    )


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
