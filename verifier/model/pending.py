"""The vocabulary of what is about to change: operations that owners announced and did not make yet.

Hashes are lower-case hex without 0x, addresses EIP-55, times Unix seconds.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from verifier.model.chain import OwnerKind, Role
from verifier.model.result import Basis, JsonValue


class Effect(StrEnum):
    """What a call would change."""

    OPENS = "lets something new run"
    CONTROL = "changes who decides, or how fast"
    CLOSES = "lets nothing new run"
    UNKNOWN = "unknown"
    ELSEWHERE = "about other contracts"


class PendingCall(Struct, frozen=True, kw_only=True):
    """One call of an operation, taken out of whatever calls it stands in.

    target    the account that is called
    touches   what that account is to the app: its own contract, its KMS's, an owner's, a gateway's;
              None for any other
    function  the name of the function that is called; "" where its data is no call that is known
    args      the function's arguments by name; {} where it is not known
    data      the calldata in hex, shortened to the first 72 digits where the function is not known,
              else ""
    effect    what it would change
    within    the functions that it stands in, the outermost first; () for a call of the operation
              itself
    """

    target: str
    touches: Role | None
    function: str
    args: Mapping[str, JsonValue]
    data: str
    effect: Effect
    within: tuple[str, ...] = ()


class PendingOperation(Struct, frozen=True, kw_only=True):
    """Calls that an account is about to make together, and was neither seen to make nor to give up.

    account     the timelock or the Safe
    kind        which of the two it is
    id          the operation's id in the timelock, or the hash of the Safe's transaction
    basis       `chain` where agreed logs announce it; `asserted` where a service names it, whose
                word alone says that it is still wanted
    calls       what it would call, in order; () where only its hash is known
    whole       whether the id, which commits to every call, is the one that these calls give
    announced   when it was announced; None where that is not known
    due         from when on it can be made, as far as time decides; None where that is not known
    ready       whether it can be made at any moment: its delay is over, or enough signers agreed
                and it is the next one in turn
    sender      the account that sent the announcement; "" where that is not known
    through     the contract that passed the announcement on, such as a Safe; "" for none
    signers     the signers who are proven to have agreed; () for none, and for a timelock's
    threshold   how many have to; None for a timelock's, and where it is not known
    nonce       a Safe transaction's place in its order; None for a timelock's, and where it is not
                known
    next_nonce  the place that is next, by the contract; None likewise
    remarks     what else a reader has to know
    """

    account: str
    kind: OwnerKind
    id: str
    basis: Basis
    calls: tuple[PendingCall, ...]
    whole: bool
    announced: int | None = None
    due: int | None = None
    ready: bool = False
    sender: str = ""
    through: str = ""
    signers: tuple[str, ...] = ()
    threshold: int | None = None
    nonce: int | None = None
    next_nonce: int | None = None
    remarks: tuple[str, ...] = ()


class Look(StrEnum):
    """How much of what an account announced is known."""

    WHOLE = "everything that it announced"
    ASSERTED = "what a service says"
    PART = "not everything that it announced"
    NOT_LOOKED_AT = "not looked at"
    NOTHING = "it announces nothing"


class Outlook(Struct, frozen=True, kw_only=True):
    """How what one account is about to do is known.

    role     whose contract it decides about
    account  an owner, one to whom a contract is offered, or a Safe that proposes to a timelock
    kind     what kind of account it is
    direct   whether what it does takes effect at once; False for a Safe whose timelock waits
    look     how much of what it announced is known
    source   the service that was asked; "" for none
    why      why not more is known; "" where everything is, or where it announces nothing
    """

    role: Role
    account: str
    kind: OwnerKind
    direct: bool
    look: Look
    source: str = ""
    why: str = ""
