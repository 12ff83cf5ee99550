"""Storage proofs of a real EVM: they hold against its headers, and say what its nodes say."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.codes import known_code
from tests.evm import history, world
from tests.evm.anvil import CHAIN_ID, Anvil, RpcError, element, running
from tests.evm.history import Chooser
from tests.evm.world import GENERATIONS, App, Deployment, Generation, Terms, key
from tests.timeline.nodes import Ask, view_of
from verifier.chain.agreed_logs import Scans
from verifier.chain.safe_queues import SafeQueues
from verifier.errors import EvidenceError
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contract_events import KMS_GOVERNANCE_TOPICS
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.ethereum import checksum_address, keccak256
from verifier.evidence.chain.log_scan import LogFilter, RangeAnswer, encode_scan
from verifier.evidence.chain.storage_proofs import parse_header, parse_proof, prove
from verifier.evidence.plan import ChainPlan
from verifier.model.chain import ContractCode
from verifier.model.result import JsonValue
from verifier.model.timeline import Coverage, Known, Method
from verifier.reference import generations
from verifier.timeline.completeness import coverage
from verifier.timeline.fold import fold
from verifier.timeline.history import History
from verifier.timeline.initial import InitialFlags

HASH, DEVICE, IMAGE, MR, OTHER = (key(label) for label in ("hash", "device", "image", "mr", "x"))
GATEWAYS = ",".join(("ab" * 20, "cd" * 20, "ef" * 20))


def eip55(address: str) -> str:
    return checksum_address(bytes.fromhex(address[2:]))


def word(number: int) -> str:
    return f"0x{number:064x}"


@dataclass(frozen=True, kw_only=True)
class Audited:
    """An app and its KMS, its creation, and the labels of their code by address."""

    chain: Anvil
    app: str
    kms: str
    old: bool
    codes: dict[str, ContractCode]
    created: int
    terms: Terms

    def ask(self, call: Call) -> JsonValue:
        """The node's own answer."""
        try:
            answer: JsonValue = self.chain.rpc(call[0], *call[1])
        except RpcError as error:
            raise EvidenceError(str(error)) from error
        return answer

    def coverage(
        self, *asked: Ask, keep: Callable[[dict[str, Any]], bool] = lambda _: True
    ) -> tuple[Coverage, Coverage]:
        """How app and KMS are known from nodes that answer so and give the logs to keep."""
        plan = ChainPlan(
            chain_id=CHAIN_ID,
            kms=eip55(self.kms),
            generation=generations.G3 if self.old else generations.G5,
            deployed_block=self.chain.first,
            app_id=bytes.fromhex(self.app[2:]),
        )
        reader = view_of(self.chain.head, *asked, plan=plan)
        builder = BundleBuilder()
        for address, topics in ((self.app, ()), (self.kms, KMS_GOVERNANCE_TOPICS)):
            wanted = LogFilter(chain_id=CHAIN_ID, address=address, topics=topics)
            method, (query,) = wanted.call(self.chain.first, reader.number)
            logs = [log for log in self.chain.rpc(method, query) if keep(log)]
            body = json.dumps({"jsonrpc": "2.0", "id": 1, "result": logs}).encode()
            answer = RangeAnswer(first=self.chain.first, last=reader.number, at=0, body=body)
            for endpoint in reader.endpoints:
                scan = encode_scan(wanted, [answer])
                builder.add(
                    Kind.LOG_SCAN, scan, source=endpoint, collected_at=0, request=wanted.text
                )
        bundle = builder.build()
        found = History(reader, Scans(bundle), plan, eip55(self.app), SafeQueues(bundle))
        folded = fold(found.events(), initial=self._flags, codes=self.codes)
        app, kms, *_ = coverage(found, folded.app_state(), folded.kms_state())
        return app, kms

    @property
    def _flags(self) -> InitialFlags:
        def known(value: bool | None) -> Known[bool]:  # noqa: FBT001 - a flag of the creation
            return Known(bool(value), Method.CALLDATA)

        return InitialFlags(
            any_device=known(self.terms.any_device),
            require_tcb=known(self.terms.require_tcb),
            upgrades_disabled=known(self.terms.disable_upgrades),
        )


def without_proofs(ask: Ask) -> Ask:
    def asked(call: Call) -> JsonValue:
        if call[0] == "eth_getProof":
            raise EvidenceError("distance to target block exceeds maximum proof window")
        return ask(call)

    return asked


def lying(ask: Ask, lie: Call, answer: str) -> Ask:
    def asked(call: Call) -> JsonValue:
        return answer if call == lie else ask(call)

    return asked


def audited(deployment: Deployment, app: App, terms: Terms) -> Audited:
    build = known_code(deployment.generation)
    storage = deployment.kms.storage(world.IMPLEMENTATION_SLOT)
    codes = {deployment.app_implementation.address: build, "0x" + storage[12:].hex(): build}
    return Audited(
        chain=deployment.chain,
        app=app.contract.address,
        kms=deployment.kms.address,
        old=deployment.generation == "G3",
        codes={eip55(address): item for address, item in codes.items()},
        created=int(app.receipt["blockNumber"], 16),
        terms=terms,
    )


@pytest.fixture(params=GENERATIONS, scope="module")
def settled(request: pytest.FixtureRequest, chain: Anvil) -> Audited:
    """Everything that is compared, set at least once; the hash was removed again."""
    deployment = world.deploy(chain, request.param)
    kms, owner = deployment.kms, deployment.owner
    for name, value in (("addOsImageHash", IMAGE), ("addKmsAggregatedMr", MR)):
        kms.send(owner, name, value)
    kms.send(owner, "addKmsDevice", DEVICE)
    kms.send(owner, "setKmsInfo", (b"\x02" + HASH, b"ca" * 50, b"quote", b"log"))
    kms.send(owner, "setGatewayAppId", GATEWAYS)
    terms = Terms(owner=chain.accounts[1], compose_hash=HASH, device_id=DEVICE)
    app = deployment.deploy_app(terms)
    app.contract.send(terms.owner, "addComposeHash", OTHER)
    app.contract.send(terms.owner, "removeComposeHash", HASH)
    app.contract.send(terms.owner, "setAllowAnyDevice", True)  # noqa: FBT003 - as the contract has it
    return audited(deployment, app, terms)


def test_every_header_hashes_to_its_hash(settled: Audited) -> None:
    chain = settled.chain
    for number in (chain.first, *range(settled.created - 5, chain.head + 1)):
        found = parse_header(chain.rpc("eth_getBlockByNumber", hex(number), False), "block")  # noqa: FBT003
        assert found.number == number
        assert found.time == chain.time(number)


def test_a_proof_says_what_the_storage_is(settled: Audited) -> None:
    chain, app = settled.chain, settled.app
    shift = 1 if settled.old else 0
    slots = [0, 1, 2, 3, world.OWNER_SLOT, world.IMPLEMENTATION_SLOT, world.INITIALIZED_SLOT]
    slots += [element(item.hex(), shift) for item in (HASH, OTHER, IMAGE)]
    for block in range(settled.created - 2, chain.head + 1):
        asked = [app, [word(slot) for slot in slots], hex(block)]
        root = parse_header(chain.rpc("eth_getBlockByNumber", hex(block), False), "b").state_root  # noqa: FBT003
        proof = parse_proof(chain.rpc("eth_getProof", *asked), "proof")
        state = prove(proof, bytes.fromhex(app[2:]), root, "proof")
        assert state.words == {slot: chain.storage(app, slot, block) for slot in slots}
        assert (state.account is None) == (block < settled.created)
        if state.account is not None:
            assert state.account.code_hash == keccak256(chain.code(app, block))


def test_every_compared_value_is_proven(settled: Audited) -> None:
    app, kms = settled.coverage(settled.ask, settled.ask)
    assert app.complete
    assert kms.complete
    # Owner, pending owner, implementation, admin, beacon, three keys and two flags; since G6 the
    # TCB's.
    assert (app.proven, app.compared) == (
        (11, 11) if known_code("G6") in settled.codes.values() else (10, 10)
    )
    assert (kms.proven, kms.compared) == (11, 11)


def test_one_endpoint_with_proofs_is_enough(settled: Audited) -> None:
    silent = without_proofs(settled.ask)
    app, kms = settled.coverage(silent, settled.ask)
    assert (app.proven, kms.proven) == (app.compared, kms.compared)


def test_no_proof_is_nothing_bad(settled: Audited) -> None:
    silent = without_proofs(settled.ask)
    app, kms = settled.coverage(silent, silent)
    assert app.complete
    assert kms.complete
    assert app.proven == kms.proven == 0


def test_a_proof_of_another_block_is_none(settled: Audited) -> None:
    def stale(call: Call) -> JsonValue:
        if call[0] == "eth_getProof":
            return settled.ask((call[0], [*call[1][:2], hex(settled.chain.head - 1)]))
        return settled.ask(call)

    app, kms = settled.coverage(stale)
    assert app.complete
    assert kms.complete
    assert app.proven == 0


def test_a_header_that_nobody_hashed_proves_nothing(settled: Audited) -> None:
    def forging(call: Call) -> JsonValue:
        answer = settled.ask(call)
        return answer | {"gasUsed": "0x1"} if isinstance(answer, dict) else answer

    app, _ = settled.coverage(forging)
    assert app.complete
    assert app.proven == 0


def test_nodes_that_hide_a_removal_are_contradicted_by_their_own_proof(settled: Audited) -> None:
    lie = contracts.eth_call(
        settled.app, contracts.ALLOWED_COMPOSE_HASHES + HASH.hex(), hex(settled.chain.head)
    )
    liar = lying(settled.ask, lie, word(1))

    def keep(log: dict[str, Any]) -> bool:
        return bool(log["topics"][0] != contracts.COMPOSE_HASH_REMOVED)

    unseen, _ = settled.coverage(without_proofs(liar), without_proofs(liar), keep=keep)
    assert unseen.complete
    seen, kms = settled.coverage(without_proofs(liar), liar, keep=keep)
    (problem,) = seen.problems
    assert problem.startswith(f"allowedComposeHashes({HASH.hex()}) is false by a proof")
    assert seen.proven == seen.compared - 1
    assert kms.complete


def test_a_lie_about_the_owner_is_contradicted(settled: Audited) -> None:
    lie: Call = (
        "eth_getStorageAt",
        [settled.kms, word(world.OWNER_SLOT), hex(settled.chain.head)],
    )
    liar = lying(settled.ask, lie, word(0x1234))
    _, kms = settled.coverage(liar)
    assert len(kms.disputed) == 2
    assert "by a proof against the state root" in kms.disputed[1]


def test_unknown_code_has_no_proofs(settled: Audited) -> None:
    unknown = Audited(**{**vars(settled), "codes": {}})
    app, kms = unknown.coverage(unknown.ask)
    assert app.proven == kms.proven == 0


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.usefixtures("node_packages")
@settings(max_examples=4, deadline=None)
@given(rng=st.randoms(use_true_random=True))
def test_random_histories_are_proven(rng: Chooser, generation: Generation) -> None:
    with running() as chain:
        played = history.random_history(chain, rng, generation, steps=12)
        found = Audited(
            chain=chain,
            app=played.app.address,
            kms=played.kms.address,
            old=generation == "G3",
            codes={
                eip55(address): known_code(name[-2:])
                for address, name in played.implementations.items()
            },
            created=int(played.creation.receipt["blockNumber"], 16),
            terms=played.terms,
        )
        for item in found.coverage(found.ask):
            assert not item.problems
            assert not item.unproven
            assert 0 < item.proven == item.compared
