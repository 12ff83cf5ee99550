"""What the signers of a Safe are about to do: their signatures are proof, a service is none."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from tests.evidence.chain.test_safe_service import ADDRESS, LABELS, OWNERS, SAFE, answer
from tests.timeline.events import APP, History
from verifier.chain.safe_queues import SafeQueues
from verifier.errors import Cause
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain.safe_service import queue_path
from verifier.lab.safe_service import Waiting, listed
from verifier.model.chain import Role
from verifier.model.pending import Effect, Look
from verifier.model.result import Basis
from verifier.timeline.owners import OwnerReads
from verifier.timeline.safes import Safe, SafeAhead, safe_ahead

SERVICE = "https://safe.invalid"
NONCE = 4
READS = OwnerReads(
    code=b"\x60", threshold=2, signers=OWNERS, modules=(), version="1.4.1", nonce=NONCE
)
ALLOW = bytes.fromhex("dfc77223") + b"\x22" * 32


def waiting(*signers: str, nonce: int = NONCE, **changed: Any) -> Waiting:
    given = {"to": bytes.fromhex(APP[2:]), "calldata": ALLOW, **changed}
    return Waiting(safe=SAFE, chain_id=8453, nonce=nonce, signers=signers, **given)


def shown(item: Waiting, **changed: Any) -> dict[str, Any]:
    return {**listed(item, "2026-06-14T12:00:00Z"), **changed}


def ahead(
    *answers: bytes | None, events: Sequence[Any] = (), reads: OwnerReads = READS
) -> SafeAhead:
    """What waits, by what services answered; None for one that is gone."""
    builder = BundleBuilder()
    for index, raw in enumerate(answers):
        source = f"{SERVICE}/{index}{queue_path(ADDRESS, NONCE)}"
        if raw is None:
            builder.add_failure(
                Kind.SAFE_QUEUE,
                source=source,
                collected_at=0,
                error="HTTP 503",
                cause=Cause.OTHER,
            )
        else:
            builder.add(Kind.SAFE_QUEUE, raw, source=source, collected_at=0)
    safe = Safe(address=ADDRESS, chain_id=8453, reads=reads)
    touches = {APP: Role.APP, ADDRESS: Role.APP_OWNER}.get
    return safe_ahead(safe, SafeQueues(builder.build()), events, touches)


def test_a_transaction_is_ready_once_enough_owners_signed_and_it_is_next() -> None:
    for signers, nonce, ready in (
        (("one", "two"), NONCE, True),
        (("one",), NONCE, False),
        (("one", "somebody else"), NONCE, False),
        (("one", "one"), NONCE, False),
        (("one", "two"), NONCE + 1, False),
    ):
        (found,) = ahead(answer(shown(waiting(*signers, nonce=nonce)))).operations
        assert found.ready is ready
        assert [item.effect for item in found.calls] == [Effect.OPENS]
        assert (found.nonce, found.next_nonce, found.threshold) == (nonce, NONCE, 2)
        assert found.basis is Basis.ASSERTED


def test_two_services_may_each_have_a_part_of_the_signatures() -> None:
    first, second = (answer(shown(waiting(label))) for label in LABELS[:2])
    found = ahead(first, second)
    (operation,) = found.operations
    assert operation.ready
    assert len(operation.signers) == 2
    assert found.look is Look.ASSERTED


@pytest.mark.parametrize(
    ("answers", "look", "why"),
    [
        ((), Look.NOT_LOOKED_AT, "no service was asked"),
        ((None,), Look.NOT_LOOKED_AT, "HTTP 503"),
        ((b"<html>",), Look.NOT_LOOKED_AT, "JSON"),
        ((answer(),), Look.ASSERTED, ""),
        ((answer(shown(waiting("one", nonce=NONCE - 1))),), Look.PART, "no longer"),
        ((answer(shown(waiting("one"), safeTxHash="0x" + "12" * 32)),), Look.PART, "another one's"),
        ((answer(shown(waiting("one"), safe=APP)),), Look.PART, "another Safe"),
        ((answer(count=1),), Look.PART, "says that there are 1"),
    ],
    ids=["unasked", "gone", "pages", "empty", "past", "other hash", "other Safe", "hidden"],
)
def test_a_service_that_lies_or_is_gone_is_named(
    answers: tuple[bytes | None, ...], look: Look, why: str
) -> None:
    found = ahead(*answers)
    assert found.look is look
    assert why in found.why
    assert bool(found.why) == (look is not Look.ASSERTED)


def test_what_was_signed_is_another_transaction_than_what_is_shown() -> None:
    signed = shown(waiting("one", "two"))
    withdraw = bytes.fromhex("67b3f22c") + b"\x22" * 32
    lie = {
        **shown(waiting(calldata=withdraw)),
        "safeTxHash": signed["safeTxHash"],
        "confirmations": signed["confirmations"],
    }
    (found,) = ahead(json.dumps({"count": 1, "next": None, "results": [lie]}).encode()).operations
    assert found.signers == ()
    assert not found.ready


@pytest.mark.parametrize(
    "reads",
    [replace(READS, nonce=None), replace(READS, version=None)],
    ids=["no nonce", "no version"],
)
def test_a_safe_that_does_not_tell_its_rules_is_not_looked_at(reads: OwnerReads) -> None:
    found = ahead(answer(shown(waiting("one", "two"))), reads=reads)
    assert (found.operations, found.look) == ((), Look.NOT_LOOKED_AT)


def test_a_release_whose_hashes_are_not_known_is_no_answer() -> None:
    found = ahead(answer(shown(waiting("one"))), reads=replace(READS, version="2.0"))
    assert (found.operations, found.look) == ((), Look.PART)


def test_what_owners_approved_on_the_chain_waits_until_it_was_carried_out() -> None:
    digest = waiting().digest.hex()
    history = History()
    for owner in (OWNERS[0], OWNERS[1], APP):
        history.owner(ADDRESS, "ApproveHash", approvedHash=digest, owner=owner)
    (unseen,) = ahead(answer(), events=history.events).operations
    assert (unseen.basis, unseen.calls, unseen.whole) == (Basis.CHAIN, (), False)
    assert unseen.signers == tuple(sorted(OWNERS[:2]))
    (told,) = ahead(answer(shown(waiting())), events=history.events).operations
    assert told.ready
    assert [item.function for item in told.calls] == ["addComposeHash"]
    history.owner(ADDRESS, "ExecutionSuccess", txHash=digest, payment=0)
    assert ahead(answer(), events=history.events).operations == ()


def test_code_that_is_lent_the_safes_name_is_unknown() -> None:
    (found,) = ahead(answer(shown(waiting("one", operation=1)))).operations
    assert [item.effect for item in found.calls] == [Effect.UNKNOWN]
