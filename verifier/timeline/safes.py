"""What the signers of a Safe are about to do, as far as anybody shows it.

A Safe makes its transactions in the order of their nonces, each with the signatures of as many
owners as its threshold says, which anybody may bring together. Until then nothing stands on the
chain, except where an owner approves a hash there (`ApproveHash`). What a service lists is its own
word; the signatures in it are not.

Source: safe-global/safe-smart-account Safe (execTransaction, approveHash).
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain.safe_queues import SafeQueues, Told
from verifier.evidence.chain.calldata import inner_calls
from verifier.evidence.chain.ethereum import checksum_address
from verifier.evidence.chain.operation_hashes import safe_transaction_hash
from verifier.evidence.chain.safe_service import Proposal, proven_signers
from verifier.model.chain import OwnerKind
from verifier.model.pending import Look, PendingOperation
from verifier.model.result import Basis
from verifier.model.timeline import TimelineEvent
from verifier.timeline.owners import OwnerReads
from verifier.timeline.pending import Touches, pending_call

_EXECUTED = frozenset({"ExecutionSuccess", "ExecutionFailure"})


class SafeAhead(Struct, frozen=True, kw_only=True):
    """What waits for a Safe's signers, how much of it is known, from where, and why not more."""

    operations: tuple[PendingOperation, ...] = ()
    look: Look = Look.NOT_LOOKED_AT
    source: str = ""
    why: str = ""


class Safe(Struct, frozen=True, kw_only=True):
    """A Safe at the agreed block: its address (EIP-55), its chain, and what it says of itself."""

    address: str
    chain_id: int
    reads: OwnerReads

    @property
    def owners(self) -> tuple[str, ...]:
        """Its signers."""
        return self.reads.signers or ()


def safe_ahead(
    safe: Safe, queues: SafeQueues, events: Sequence[TimelineEvent], touches: Touches
) -> SafeAhead:
    """What a Safe's signers are about to do. `events` are settled ones in chain order."""
    reads, approvals = safe.reads, _approvals(safe, events)
    if reads.nonce is None or reads.version is None:
        unseen = tuple(_unseen(safe, *item) for item in approvals.items())
        why = "nobody told how many transactions it has made, and by which rules"
        return SafeAhead(operations=unseen, why=why)
    told = queues.of(safe.address, reads.nonce)
    problems = [f"{item.source}: {item.problem}" for item in told if item.problem]
    proposals: dict[bytes, Proposal] = {}
    for item in told:
        for proposal in item.queue.proposals if item.queue else ():
            digest = safe_transaction_hash(
                proposal.transaction, bytes.fromhex(safe.address[2:]), safe.chain_id, reads.version
            )
            if digest is None:
                problems.append(f"how Safe {reads.version} names its transactions is not known")
            elif proposal.transaction.nonce < reads.nonce:
                problems.append(f"{item.source}: it lists what can no longer be made")
            else:
                if digest.hex() != proposal.claimed_hash:
                    problems.append(f"{item.source}: it gives a transaction another one's hash")
                known = proposals.get(digest, proposal)
                both = dict.fromkeys((*known.signatures, *proposal.signatures))
                proposals[digest] = replace(known, signatures=tuple(both))
    operations = [
        _operation(safe, proposal, digest, approvals.pop(digest.hex(), ()), touches)
        for digest, proposal in proposals.items()
    ]
    operations += [_unseen(safe, *item) for item in approvals.items()]
    return SafeAhead(
        operations=tuple(operations),
        look=_look(told, problems),
        source=", ".join(item.source for item in told),
        why="; ".join(dict.fromkeys(problems)) or ("" if told else "no service was asked"),
    )


def _look(told: tuple[Told, ...], problems: Sequence[str]) -> Look:
    if not any(item.queue for item in told):
        return Look.NOT_LOOKED_AT
    return Look.PART if problems else Look.ASSERTED


def _approvals(safe: Safe, events: Sequence[TimelineEvent]) -> dict[str, tuple[str, ...]]:
    """Hash → the present owners who approved it on the chain, without what was carried out."""
    found: dict[str, dict[str, None]] = {}
    over: set[str] = set()
    for event in events:
        if event.address != safe.address:
            continue
        if event.name == "ApproveHash" and event.args.get("owner") in safe.owners:
            digest = str(event.args.get("approvedHash"))
            found.setdefault(digest, {}).setdefault(str(event.args.get("owner")))
        elif event.name in _EXECUTED:
            over.add(str(event.args.get("txHash")))
    return {digest: tuple(sorted(by)) for digest, by in found.items() if digest not in over}


def _operation(
    safe: Safe,
    proposal: Proposal,
    digest: bytes,
    approved: tuple[str, ...],
    touches: Touches,
) -> PendingOperation:
    reads, transaction = safe.reads, proposal.transaction
    signers = proven_signers(proposal, digest, safe.owners, approved)
    enough = reads.threshold is not None and len(signers) >= reads.threshold
    calls = inner_calls(
        checksum_address(transaction.to), transaction.data, lends=transaction.operation != 0
    )
    return PendingOperation(
        account=safe.address,
        kind=OwnerKind.SAFE,
        id=digest.hex(),
        basis=Basis.ASSERTED,
        calls=tuple(pending_call(item, touches) for item in calls),
        whole=True,
        announced=proposal.submitted,
        ready=enough and transaction.nonce == reads.nonce,
        sender=proposal.proposer,
        signers=signers,
        threshold=reads.threshold,
        nonce=transaction.nonce,
        next_nonce=reads.nonce,
        remarks=("enough signers agreed, and another one comes before it",)
        if enough and transaction.nonce != reads.nonce
        else (),
    )


def _unseen(safe: Safe, digest: str, signers: tuple[str, ...]) -> PendingOperation:
    """A hash that owners approved on the chain, and that nobody shows the transaction of."""
    return PendingOperation(
        account=safe.address,
        kind=OwnerKind.SAFE,
        id=digest,
        basis=Basis.CHAIN,
        calls=(),
        whole=False,
        signers=signers,
        threshold=safe.reads.threshold,
        next_nonce=safe.reads.nonce,
        remarks=("what it is, and whether its place has passed, nobody shows",),
    )
