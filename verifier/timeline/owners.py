"""What accounts behind app and KMS say of themselves, and how many keys act for each.

An owner of a Safe that has code signs whatever that code says, so that it counts as no key. What a
Safe does not understand it calls its fallback handler with, in its own name: where that is a
contract that takes orders from it, anybody acts for it.

Sources: safe-global/safe-smart-account Safe (checkNSignatures), FallbackManager; EIP-7702 for keys
with code.
"""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from msgspec import Struct

from verifier.model.chain import ContractCode, OwnerKind, Place

ANYBODY: Final = (
    "whatever it does not understand it passes on, in its own name, to a contract that governs: "
    "anybody acts for it"
)
SIGNED_BY_CODE: Final = "contracts are among its owners: what they sign is decided by their code"
HIDDEN: Final = (
    "what the Safe is proven to store is not what it lists and what its logs approve: keys or "
    "modules that nobody sees may act for it"
)
UNANNOUNCED: Final = (
    "what the timelock is proven to store is not what its logs say: operations that nobody "
    "announced may be due"
)
NOT_PROVEN: Final = "nobody proved that the Safe has no keys and modules but those that it lists"
UNKNOWN_HANDLER: Final = "whom it passes on what it does not understand is not known"
_DELEGATED: Final = bytes.fromhex("ef0100")
_DELEGATED_SIZE: Final = 23
"""EIP-7702: the code of a plain key that borrows a contract's is 0xef0100 and an address."""
_KIND_OF: Final = {"safe": OwnerKind.SAFE, "timelock": OwnerKind.TIMELOCK}
"""Role of a known build → the kind of owner that its code makes."""


class OwnerReads(Struct, frozen=True, kw_only=True):
    """What an account says of itself at the agreed block; None is what was not answered.

    Addresses are EIP-55.

    code       its code; b"" for a plain key
    known      the build of a Safe or timelock that this code is; None for any other code
    threshold  how many signers of a Safe decide
    signers    the signers of a Safe
    version    the release of Safe that it says it is
    modules    what acts for a Safe without the threshold; () for nothing
    guard      the contract that may forbid what a Safe does; "" for none
    nonce      how many transactions the signers of a Safe have made
    handler    what a Safe calls with what it does not understand, its fallback handler; "" for none
    singleton  whose code a Safe's proxy runs; "" where it is no proxy
    whole      whether a proof shows that its storage holds what it answers and what its logs say,
               and nothing else; None where nobody proves it
    min_delay  a timelock's delay in seconds
    followed   whether its logs say all that a timelock stores: a proof shows it, or known code
               created it by the transaction of its first log
    lone_logs  whether no two operators give all of its logs
    disputed   what endpoints contradict each other about, and then nothing else is known; "" for
               nothing
    """

    code: bytes | None
    known: ContractCode | None = None
    threshold: int | None = None
    signers: tuple[str, ...] | None = None
    version: str | None = None
    nonce: int | None = None
    modules: tuple[str, ...] | None = None
    guard: str | None = None
    handler: str | None = None
    singleton: str | None = None
    whole: bool | None = None
    min_delay: int | None = None
    followed: bool = False
    lone_logs: bool = False
    disputed: str = ""

    @property
    def kind(self) -> OwnerKind:
        """What the account is, by its code and its own word."""
        if self.code is None:
            return OwnerKind.UNKNOWN
        if _is_key(self.code):
            return OwnerKind.EOA
        if self.signers and self.threshold and self.threshold <= len(set(self.signers)):
            return OwnerKind.SAFE
        return OwnerKind.CONTRACT if self.min_delay is None else OwnerKind.TIMELOCK

    @property
    def own_word(self) -> bool:
        """Whether its code is not known to be of the kind that it says it is."""
        if self.known is None:
            return self.kind in (OwnerKind.SAFE, OwnerKind.TIMELOCK)
        return _KIND_OF[self.known.role] is not self.kind


class Past(Struct, frozen=True):
    """What an account was at an earlier block: its code, None where no node tells, and the role of
    the known build that it was (`safe`, `timelock`), "" for none."""

    code: bytes | None
    role: str = ""

    @property
    def kind(self) -> OwnerKind:
        """What the account was, by its code alone."""
        if self.code is None:
            return OwnerKind.UNKNOWN
        return OwnerKind.EOA if _is_key(self.code) else _KIND_OF.get(self.role, OwnerKind.CONTRACT)


Then = Callable[[str, Place], Past]
"""(account, place) → what the account was at the end of that block."""


def _is_key(code: bytes) -> bool:
    return not code or (len(code) == _DELEGATED_SIZE and code.startswith(_DELEGATED))


class Behind(Struct, frozen=True):
    """The accounts behind owners: what each says of itself, and the addresses (EIP-55) of app and
    KMS."""

    reads: Mapping[str, OwnerReads]
    contracts: AbstractSet[str]

    def of(self, account: str) -> OwnerReads:
        """What an account says, nothing where it was not asked."""
        return self.reads.get(account, OwnerReads(code=None))

    def keys(self, found: OwnerReads) -> tuple[int | None, tuple[str, ...]]:
        """The least number of keys that act for an account at present, None where that is unknown;
        and remarks."""
        if found.kind is OwnerKind.EOA:
            return 1, ()
        if found.kind is not OwnerKind.SAFE or found.modules != ():
            return None, ()
        keys, said = self.keys_of_safe(found.threshold, found.signers or ())
        keys, passed_on = self.passing_on(found, keys)
        return unless_hidden(found, keys), (*said, *passed_on, *stored(found))

    def keys_of_safe(
        self, threshold: int | None, signers: Sequence[str]
    ) -> tuple[int | None, tuple[str, ...]]:
        """How many plain keys a Safe needs at least: its owners with code, or of which nobody told
        whether they have any, count as none, and one key alone may then be enough or not."""
        plain = sum(self.of(item).code == b"" for item in signers)
        if threshold is None or plain == len(signers) or (plain and threshold == 1):
            return threshold, ()
        least = threshold - (len(signers) - plain)
        return least if least > 1 else None, (SIGNED_BY_CODE,)

    def passing_on(self, found: OwnerReads, keys: int | None) -> tuple[int | None, tuple[str, ...]]:
        """The number of keys, corrected by what the Safe's fallback handler lets anybody do."""
        if found.handler is None:
            return None, (UNKNOWN_HANDLER,)
        governing = {item for item, said in self.reads.items() if said.code} | self.contracts
        return (1, (ANYBODY,)) if found.handler in governing else (keys, ())


def unless_hidden(found: OwnerReads, keys: int | None) -> int | None:
    """The number of keys, unknown where more of them may be hidden; one is enough in any case."""
    return None if found.whole is False and keys != 1 else keys


def stored(found: OwnerReads) -> tuple[str, ...]:
    """What a Safe of known code may store besides what it lists."""
    if found.known is None or found.whole:
        return ()
    return (NOT_PROVEN if found.whole is None else HIDDEN,)
