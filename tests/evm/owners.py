"""Who may own a contract: one key, a Safe, a timelock. Each performs a call in its own way."""

from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from tests.evm.anvil import Anvil, Contract
from tests.evm.world import NO_KEY, NOBODY

Shape = Literal["13", "14"]
SHAPES: Final[tuple[Shape, Shape]] = ("13", "14")
"""Safe 1.3 and 1.4: the same events, indexed otherwise."""
_NO_REFUND: Final = (0, 0, 0, 0, NOBODY, NOBODY, b"")


class Owner(Protocol):
    """An account that can own contracts."""

    @property
    def address(self) -> str:
        """The account."""

    def perform(self, target: Contract, function: str, *arguments: Any) -> None:
        """Call a function of a contract that this account owns. Raises Reverted."""


@dataclass(frozen=True, slots=True)
class Key:
    """An externally owned account."""

    address: str

    def perform(self, target: Contract, function: str, *arguments: Any) -> None:
        """One transaction."""
        target.send(self.address, function, *arguments)


@dataclass(frozen=True, slots=True)
class Safe:
    """A multisig; its owners approve in the order in which the contract lists them."""

    contract: Contract

    @property
    def address(self) -> str:
        """The multisig's contract."""
        return self.contract.address

    def perform(self, target: Contract, function: str, *arguments: Any) -> None:
        """One approval for each owner that is needed, then the execution by the first."""
        data = target.calldata(function, *arguments)
        nonce = self.contract.call("nonce")
        digest = self.contract.call("txHashOf", target.address, data, nonce)
        signers = self.contract.call("getOwners")[: self.contract.call("getThreshold")]
        for signer in signers:
            self.contract.send(signer, "approveHash", digest)
        self.contract.send(signers[0], "execTransaction", target.address, 0, data, *_NO_REFUND)


@dataclass(frozen=True, slots=True)
class Timelock:
    """OpenZeppelin's TimelockController with one proposer, who also executes."""

    contract: Contract
    proposer: str

    @property
    def address(self) -> str:
        """The timelock's contract."""
        return self.contract.address

    def perform(self, target: Contract, function: str, *arguments: Any) -> None:
        """Schedule, wait for the delay, execute. The block's number salts the operation."""
        chain = self.contract.chain
        call = (target.address, 0, target.calldata(function, *arguments), NO_KEY)
        salt = chain.head.to_bytes(32, "big")
        delay = self.contract.call("getMinDelay")
        self.contract.send(self.proposer, "schedule", *call, salt, delay)
        chain.wait(delay)
        self.contract.send(self.proposer, "execute", *call, salt)


def safe(chain: Anvil, signers: tuple[str, ...], threshold: int, shape: Shape = "14") -> Safe:
    """A new multisig with the events of Safe 1.3 or 1.4."""
    return Safe(chain.deploy(f"Safe{shape}", list(signers), threshold))


def timelock(chain: Anvil, proposer: str, delay: int, admin: str = NOBODY) -> Timelock:
    """A new timelock; without an admin it governs itself alone."""
    made = chain.deploy("TimelockController", delay, [proposer], [proposer], admin)
    return Timelock(made, proposer)
