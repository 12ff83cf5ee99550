"""Who owns contracts: a Safe, and a timelock for which a Safe proposes, as seen from outside.

Selectors, topics and the order of logs are those of Safe 1.4.1 (safe-global/safe-smart-account,
where addresses and transaction hashes are indexed) and of TimelockController (OpenZeppelin 5):
its constructor grants the roles and then sets the delay; `CallExecuted` follows what the call
itself logs. The code is made up, and so is where it keeps what its getters say; only the slot of
a Safe's guard, and that of its fallback handler, are the real ones.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from eth_hash.auto import keccak
from msgspec import Struct

from verifier.lab import keys
from verifier.lab.chain import Behaviour, Chain, Transaction
from verifier.lab.contracts import (
    dispatch,
    element,
    encode,
    number,
    runtime_code,
    selector,
    topic,
    word_getter,
)

VERSION: Final = "1.4.1"
GUARD_SLOT: Final = 0x4A204F620C8C5CCDCA3FD54D003BADD85BA500436A431F0CBDA4F558C93C34C8
"""keccak256("guard_manager.guard.address"), GuardManager.sol."""
HANDLER_SLOT: Final = 0x6C9A6C4A39284E37ED1CF53D337577D14212A4870FB976A4366C693B939918D5
"""keccak256("fallback_manager.handler.address"), FallbackManager.sol."""
ADMIN_ROLE: Final = bytes(32)
"""DEFAULT_ADMIN_ROLE of OpenZeppelin's AccessControl."""
PROPOSER_ROLE: Final = keccak(b"PROPOSER_ROLE")
CANCELLER_ROLE: Final = keccak(b"CANCELLER_ROLE")
EXECUTOR_ROLE: Final = keccak(b"EXECUTOR_ROLE")

_ANYBODY: Final = bytes(20)
_OWNERS, _MODULES, _THRESHOLD = 1, 2, 3
_ROLES, _DELAY, _STAMPS = 1, 2, 3
_LAST: Final = 1
"""The end of a Safe's linked lists."""
_FACTORY: Final = keys.labelled("SafeProxyFactory", 20)
_CREATE: Final = selector("createProxyWithNonce(address,bytes,uint256)")
_EXECUTE: Final = selector(
    "execTransaction(address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes)"
)
_SIGNATURE_SIZE: Final = 65


class Safe(Struct, frozen=True):
    """A multisig. `signers` are those that it was set up with; the first one sends."""

    chain: Chain
    address: bytes
    signers: tuple[bytes, ...]

    def deploy(self, block: int, threshold: int) -> None:
        """Create the proxy and set it up, in one transaction of the factory."""
        chain = self.chain
        code = runtime_code("safe")
        chain.define(code, _SAFE)
        chain.set_code(block, self.address, code)
        self._list(block, _OWNERS, self.signers)
        self._list(block, _MODULES, ())
        chain.store(block, self.address, _THRESHOLD, bytes([threshold]))
        setup = _CREATE + encode(number(self.address), b"", 0)
        tx = chain.transact(block, self.signers[0], _FACTORY, setup)
        owners = [number(item) for item in self.signers]
        payload = encode(4 * 32, threshold, 0, 0, len(owners), *owners)
        self._emit(tx, "SafeSetup(address,address[],uint256,address,address)", payload, _FACTORY)

    @contextmanager
    def act(self, block: int, to: bytes, calldata: bytes) -> Iterator[Transaction]:
        """execTransaction, with the signatures of as many owners as it takes."""
        threshold = number(self.chain.slot(self.address, _THRESHOLD, block))
        digest = keccak(b"".join((self.address, to, calldata, block.to_bytes(32, "big"))))
        signatures = keys.labelled(f"signatures {digest.hex()}", _SIGNATURE_SIZE * threshold)
        arguments: list[int | bytes] = [number(to), 0, calldata, *[0] * 6, signatures]
        tx = self.chain.transact(
            block, self.signers[0], self.address, _EXECUTE + encode(*arguments)
        )
        yield tx
        self._emit(tx, "ExecutionSuccess(bytes32,uint256)", encode(0), digest)

    def add_owner(self, block: int, owner: bytes, threshold: int) -> None:
        """addOwnerWithThreshold: a call of the Safe to itself."""
        call = selector("addOwnerWithThreshold(address,uint256)")
        with self._acting(block, call + encode(number(owner), threshold)) as tx:
            self._list(block, _OWNERS, (*_listed(self.chain, self.address, _OWNERS, block), owner))
            self._emit(tx, "AddedOwner(address)", b"", owner)
            self._change_threshold(tx, threshold)

    def change_threshold(self, block: int, threshold: int) -> None:
        """changeThreshold: a call of the Safe to itself."""
        with self._acting(block, selector("changeThreshold(uint256)") + encode(threshold)) as tx:
            self._change_threshold(tx, threshold)

    def enable_module(self, block: int, module: bytes) -> None:
        """enableModule: from now on a contract, or a key, acts for the Safe without its owners."""
        with self._acting(block, selector("enableModule(address)") + encode(number(module))) as tx:
            enabled = _listed(self.chain, self.address, _MODULES, block)
            self._list(block, _MODULES, (module, *enabled))
            self._emit(tx, "EnabledModule(address)", b"", module)

    def pass_on(self, block: int, handler: bytes) -> None:
        """setFallbackHandler: whom it calls, in its own name, with what it does not understand."""
        call = selector("setFallbackHandler(address)") + encode(number(handler))
        with self._acting(block, call) as tx:
            self.chain.store(block, self.address, HANDLER_SLOT, handler)
            self._emit(tx, "ChangedFallbackHandler(address)", b"", handler)

    @contextmanager
    def _acting(self, block: int, calldata: bytes) -> Iterator[Transaction]:
        with self.act(block, self.address, calldata) as tx:
            yield tx

    def _change_threshold(self, tx: Transaction, threshold: int) -> None:
        if number(self.chain.slot(self.address, _THRESHOLD, tx.block)) != threshold:
            self.chain.store(tx.block, self.address, _THRESHOLD, bytes([threshold]))
            self._emit(tx, "ChangedThreshold(uint256)", encode(threshold))

    def _list(self, block: int, slot: int, members: Sequence[bytes]) -> None:
        self.chain.store_bytes(block, self.address, slot, b"".join(members))

    def _emit(self, tx: Transaction, signature: str, payload: bytes, *topics: bytes) -> None:
        padded = [item.rjust(32, b"\0") for item in topics]
        self.chain.emit(tx, self.address, [topic(signature), *padded], payload)


class Timelock(Struct, frozen=True):
    """A TimelockController: `proposer` proposes and cancels, anybody executes."""

    chain: Chain
    address: bytes
    proposer: Safe

    def deploy(self, block: int, sender: bytes, delay: int) -> None:
        """Create it; `delay` is in seconds. It administers its roles itself."""
        chain = self.chain
        code = runtime_code("timelock")
        chain.define(code, _TIMELOCK)
        chain.set_code(block, self.address, code)
        # After the code stand the arguments of its constructor.
        creation = runtime_code("timelock-creation") + encode(delay, 0, 0, 0)
        tx = chain.transact(block, sender, None, creation)
        for role, account in (
            (ADMIN_ROLE, self.address),
            (PROPOSER_ROLE, self.proposer.address),
            (CANCELLER_ROLE, self.proposer.address),
            (EXECUTOR_ROLE, _ANYBODY),
        ):
            self._grant(tx, role, account, sender)
        self._set_delay(tx, delay)

    def announce(self, block: int, to: bytes, calldata: bytes, *, salt: int) -> tuple[bytes, bytes]:
        """schedule, for as soon as the delay allows; gives the operation's id and its encoding."""
        delay = number(self.chain.slot(self.address, _DELAY, block))
        # schedule(address,uint256,bytes,bytes32 predecessor,bytes32 salt,uint256 delay), and
        # execute without the delay; id = keccak256(abi.encode(target, value, data, 0, salt)).
        operation = encode(number(to), 0, calldata, 0, salt)
        schedule = selector("schedule(address,uint256,bytes,bytes32,bytes32,uint256)")
        proposal = schedule + encode(number(to), 0, calldata, 0, salt, delay)
        digest = keccak(operation)
        self._schedule(block, proposal, digest, [(to, calldata)], salt)
        return digest, operation

    def announce_batch(
        self, block: int, calls: Sequence[tuple[bytes, bytes]], *, salt: int
    ) -> None:
        """scheduleBatch, for as soon as the delay allows: (target, calldata) of each call."""
        delay = number(self.chain.slot(self.address, _DELAY, block))
        payloads = [raw for _, raw in calls]
        parts = [
            _array([number(to) for to, _ in calls]),
            _array([0] * len(calls)),
            len(calls).to_bytes(32, "big") + encode(*payloads),
        ]
        words = [0, salt, delay]
        schedule = selector(
            "scheduleBatch(address[],uint256[],bytes[],bytes32,bytes32,uint256)"
        ) + _tuple(parts, words)
        self._schedule(block, schedule, keccak(_tuple(parts, words[:2])), calls, salt)

    def cancel(self, block: int, digest: bytes) -> None:
        """cancel: an operation that was announced is given up."""
        call = selector("cancel(bytes32)") + digest
        with self.proposer.act(block, self.address, call) as tx:
            self.chain.store(block, self.address, element(_STAMPS, digest), b"\0")
            self._emit(tx, "Cancelled(bytes32)", b"", digest)

    def _schedule(
        self,
        block: int,
        proposal: bytes,
        digest: bytes,
        calls: Sequence[tuple[bytes, bytes]],
        salt: int,
    ) -> None:
        chain = self.chain
        delay = number(chain.slot(self.address, _DELAY, block))
        due = chain.timestamp(block) + delay
        with self.proposer.act(block, self.address, proposal) as scheduled:
            chain.store(block, self.address, element(_STAMPS, digest), due.to_bytes(32, "big"))
            signature = "CallScheduled(bytes32,uint256,address,uint256,bytes,bytes32,uint256)"
            for index, (to, calldata) in enumerate(calls):
                payload = encode(number(to), 0, calldata, 0, delay)
                self._emit(scheduled, signature, payload, digest, index.to_bytes(32, "big"))
            self._emit(scheduled, "CallSalt(bytes32,bytes32)", salt.to_bytes(32, "big"), digest)

    @contextmanager
    def act(self, block: int, to: bytes, calldata: bytes) -> Iterator[Transaction]:
        """What is executed at a block was scheduled a delay before, which has to be after the
        timelock was created. The block salts the operation: it may be done again later."""
        chain = self.chain
        delay = number(chain.slot(self.address, _DELAY, block))
        announced = chain.block_at(chain.timestamp(block) - delay)
        digest, operation = self.announce(announced, to, calldata, salt=block)
        execute = selector("execute(address,uint256,bytes,bytes32,bytes32)")
        tx = chain.transact(block, self.proposer.signers[0], self.address, execute + operation)
        yield tx
        chain.store(block, self.address, element(_STAMPS, digest), b"\1")
        signature = "CallExecuted(bytes32,uint256,address,uint256,bytes)"
        self._emit(tx, signature, encode(number(to), 0, calldata), digest, bytes(32))

    def grant(self, block: int, role: bytes, account: bytes) -> None:
        """grantRole, by the timelock itself."""
        call = selector("grantRole(bytes32,address)") + encode(number(role), number(account))
        with self.act(block, self.address, call) as tx:
            self._grant(tx, role, account, self.address)

    def set_delay(self, block: int, delay: int) -> None:
        """updateDelay, by the timelock itself, under the delay so far."""
        call = selector("updateDelay(uint256)") + encode(delay)
        with self.act(block, self.address, call) as tx:
            self._set_delay(tx, delay)

    def _grant(self, tx: Transaction, role: bytes, account: bytes, sender: bytes) -> None:
        slot = element(element(_ROLES, role), account)
        self.chain.store(tx.block, self.address, slot, b"\1")
        signature = "RoleGranted(bytes32,address,address)"
        self._emit(tx, signature, b"", role, account, sender)

    def _set_delay(self, tx: Transaction, delay: int) -> None:
        former = number(self.chain.slot(self.address, _DELAY, tx.block))
        self.chain.store(tx.block, self.address, _DELAY, delay.to_bytes(32, "big"))
        self._emit(tx, "MinDelayChange(uint256,uint256)", encode(former, delay))

    def _emit(self, tx: Transaction, signature: str, payload: bytes, *topics: bytes) -> None:
        padded = [item.rjust(32, b"\0") for item in topics]
        self.chain.emit(tx, self.address, [topic(signature), *padded], payload)


def _listed(chain: Chain, address: bytes, slot: int, block: int) -> tuple[bytes, ...]:
    raw = chain.load_bytes(address, slot, block)
    return tuple(raw[at : at + 20] for at in range(0, len(raw), 20))


def _array(words: Sequence[int]) -> bytes:
    """The ABI encoding of an array of words."""
    return b"".join(item.to_bytes(32, "big") for item in (len(words), *words))


def _tuple(parts: Sequence[bytes], words: Sequence[int]) -> bytes:
    """The ABI encoding of arrays, and of words after them."""
    head, tail = b"", b""
    for part in parts:
        head += (32 * (len(parts) + len(words)) + len(tail)).to_bytes(32, "big")
        tail += part
    return head + b"".join(item.to_bytes(32, "big") for item in words) + tail


def _members(slot: int, *rest: int) -> Behaviour:
    """A getter of an address[], and of words after it."""

    def read(chain: Chain, address: bytes, _calldata: bytes, block: int) -> bytes:
        found = [number(item) for item in _listed(chain, address, slot, block)]
        return encode(32 * (1 + len(rest)), *rest, len(found), *found)

    return read


def _nonce(chain: Chain, address: bytes, _calldata: bytes, block: int) -> bytes:
    """Each transaction of the signers ends with one event."""
    made = topic("ExecutionSuccess(bytes32,uint256)")
    return encode(
        sum(
            log.address == address and log.topics[0] == made and log.block <= block
            for log in chain.logs()
        )
    )


def _version(_chain: Chain, _address: bytes, _calldata: bytes, _block: int) -> bytes:
    return encode(VERSION)


def _stamp(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes:
    return chain.slot(address, element(_STAMPS, calldata[4:36]), block)


def _has_role(chain: Chain, address: bytes, calldata: bytes, block: int) -> bytes:
    slot = element(element(_ROLES, calldata[4:36]), calldata[36:68])
    return chain.slot(address, slot, block)


_SAFE: Final = dispatch(
    {
        "getThreshold()": word_getter(_THRESHOLD),
        "getOwners()": _members(_OWNERS),
        "getModulesPaginated(address,uint256)": _members(_MODULES, _LAST),
        "VERSION()": _version,
        "nonce()": _nonce,
    }
)
_TIMELOCK: Final = dispatch(
    {
        "getMinDelay()": word_getter(_DELAY),
        "getTimestamp(bytes32)": _stamp,
        "hasRole(bytes32,address)": _has_role,
    }
)
