"""Whole audits over real contracts: the simulated world's guest, KMS and collateral, and a node of
these tests in place of its chain."""

import gzip
import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct, field
from msgspec.structs import replace

from tests.evidence.chain.tries import HEADER, State, header
from tests.evm import world
from tests.evm.anvil import Anvil, compiled
from tests.evm.world import App, Deployment, Generation, Terms
from verifier.audit import app_timeline, audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_reference
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Bundle
from verifier.evidence.chain import contracts
from verifier.evidence.chain.ethereum import checksum_address
from verifier.evidence.codec import JsonObject
from verifier.lab import history as lab_history
from verifier.lab.events import OsImage
from verifier.lab.kms import PLATFORM
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import RPC_URLS, World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import CheckResult
from verifier.model.timeline import Timeline
from verifier.policy.policy import load_policy

KEPT_HEADERS: tuple[str, ...] = ("content-type", "retry-after")
ONE, TWO = RPC_URLS.values()
SETTLED_BLOCKS: Final = 3
"""Until what was mined is finalized."""

Lie = Callable[[str, list[Any], Any], Any]
"""(method, parameters, honest result) → what an endpoint says instead."""


def honest(_method: str, _params: list[Any], result: Any) -> Any:
    """What the node itself says."""
    return result


def proofless(method: str, _params: list[Any], result: Any) -> Any:
    """What an endpoint says that proves nothing, as most public ones do of a finalized block."""
    return None if method == "eth_getProof" else result


def eip55(address: str) -> str:
    return checksum_address(bytes.fromhex(address.removeprefix("0x")))


class Audit(Struct, frozen=True):
    """A bundle, and what came of it."""

    question: Question
    bundle: Bundle
    report: Report

    @property
    def timeline(self) -> Timeline:
        """The history of the app's contracts. Raises MissingEvidence or EvidenceError."""
        return app_timeline(self.bundle, self.question)

    def check(self, check_id: str) -> CheckResult:
        """One check of the only attester."""
        (subject,) = self.report.subjects
        return next(item for item in subject.checks if item.id == check_id)

    def statuses(self, prefix: str) -> dict[str, str]:
        """How every check ended whose id begins so, by the rest of its id."""
        (subject,) = self.report.subjects
        return {
            item.id.removeprefix(prefix): item.status.value
            for item in subject.checks
            if item.id.startswith(prefix)
        }


def _knobs(now: int, deployment: Deployment, **others: Any) -> Knobs:
    """A world whose KMS obeys the deployed contract, as its manifest says."""
    simulated, deployed = f"0x{lab_history.KMS_ADDRESS.hex()}", deployment.kms.address.lower()

    def edit(kms: Knobs) -> Knobs:
        return replace(kms, manifest=(kms.manifest or "").replace(simulated, deployed))

    return Knobs(now=now, edit_kms=edit, **others)


class Scene(Struct):
    """An app on a node, and the simulated world whose guest runs it."""

    chain: Anvil
    deployment: Deployment
    app: App
    lies: dict[str, Lie] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    reference: Callable[[JsonObject], JsonObject] = lambda document: document
    clock_off: int = 0
    warnings: list[str] = field(default_factory=list)

    @property
    def world(self) -> World:
        """The world as of the latest block."""
        now = self.chain.time() + self.clock_off
        return build(_knobs(now, self.deployment, app_id=bytes.fromhex(self.app.app_id[2:])))

    def audit(self, cache: Path | None = None, *, settle: int = SETTLED_BLOCKS) -> Audit:
        """Wait until everything is finalized, collect, and judge."""
        if settle:
            self.chain.mine(settle)
        seen = self.world
        document = self.reference(self._reference(json.loads(seen.reference())))
        question = Question(
            app_id=AppId(seen.app_id),
            reference=simulated_reference(json.dumps(document).encode()),
            at=seen.now,
            trusted=True,
        )
        sources = Sources(responder=self._responder(seen), cloud=False, log_cache=cache)
        bundle = collect_evidence(question, sources, lambda: seen.now, warn=self.warnings.append)
        report = audit_bundle(bundle, seen.app_id, question, load_policy("baseline"))
        return Audit(question, bundle, report)

    def _responder(self, seen: World) -> Callable[..., Response]:
        def respond(
            method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b""
        ) -> Response:
            if url not in RPC_URLS.values():
                return seen.respond(method, url, headers, body)
            return self._ask(url, body)

        return respond

    def _ask(self, url: str, body: bytes) -> Response:
        """What an endpoint answers: the node, or what stands before it, and the endpoint's lie."""
        parts = urlsplit(self.urls.get(url, self.chain.url))
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        try:
            connection.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        if url in self.lies:
            asked, told = json.loads(body), json.loads(raw)
            if "result" in told:
                told["result"] = self.lies[url](asked["method"], asked["params"], told["result"])
            raw = json.dumps(told).encode()
        told_headers = {name.lower(): value for name, value in answer.getheaders()}
        kept = {name: told_headers[name] for name in KEPT_HEADERS if name in told_headers}
        return Response(status=answer.status, headers=kept, body=raw)

    def _reference(self, document: JsonObject) -> JsonObject:
        """Reference values that know this KMS and the builds of this folder."""
        generation, kms = self.deployment.generation, document["kms"]
        assert isinstance(kms, list)
        assert isinstance(kms[0], dict)
        kms[0] |= {
            "contract": eip55(self.deployment.kms.address),
            "generation": generation,
            "deployed_block": int(self.deployment.receipt["blockNumber"], 16),
        }
        return document | {"contracts": list(self._builds(generation))}

    def _builds(self, generation: Generation) -> list[JsonObject]:
        slot = self.deployment.kms.storage(world.IMPLEMENTATION_SLOT)
        places = {
            ("app", f"App{generation}"): self.deployment.app_implementation.address,
            ("kms", f"Kms{generation}"): "0x" + slot[12:].hex(),
            ("proxy", "ERC1967Proxy"): self.deployment.kms.address,
        }
        return [build_of(self.chain, role, name, at) for (role, name), at in places.items()]


def build_of(chain: Anvil, role: str, name: str, address: str) -> JsonObject:
    """A row of reference values about a contract of this folder."""
    code, offsets = chain.code(address), compiled()[name]["immutables"]
    return {
        "role": role,
        "generation": name[-2:] if role != "proxy" else "",
        "build": "test",
        "length": len(code),
        "immutable_offsets": offsets,
        "fingerprint": contracts.code_fingerprint(code, tuple(offsets)),
        "source": "these tests",
        "date": "2026-01-01",
    }


def scene(
    chain: Anvil,
    generation: Generation,
    *,
    owner: str | None = None,
    **terms: Any,
) -> Scene:
    """A KMS with the simulated KMS's keys, and an app that may run the simulated guest.

    `terms` are further terms of the app's creation.
    """
    deployment = world.deploy(chain, generation)
    model = build(_knobs(chain.time(), deployment))
    kms = model.kms
    info = (kms.k256_public, kms.ca_spki, b"quote", b"log")
    deployment.kms.send(deployment.owner, "setKmsInfo", info)
    image = OsImage(model.knobs.os_image).os_image_hash
    deployment.kms.send(deployment.owner, "addOsImageHash", image)
    # The build that answers, and the one of its lineage that the app's guest met at its boot.
    for build_of in (kms, build(Knobs(now=chain.time())).kms):
        mr_aggregated = build_of.guest.mr_aggregated
        deployment.kms.send(deployment.owner, "addKmsAggregatedMr", mr_aggregated)
    device = lab_history.device_id(model.knobs, model.knobs.seed, PLATFORM)
    deployment.kms.send(deployment.owner, "addKmsDevice", device)
    agreed = Terms(
        owner=owner or chain.accounts[1],
        **{
            "device_id": lab_history.device_id(model.knobs, model.knobs.seed),
            "compose_hash": model.guest.compose_hash,
            **terms,
        },
    )
    return Scene(chain, deployment, deployment.deploy_app(agreed, chain.accounts[3]))


def proving(app: Scene) -> Audit:
    """An audit by endpoints that prove by Ethereum's tries: this node's keep a zero for every slot
    that was read or cleared."""
    chain = app.chain
    chain.mine(SETTLED_BLOCKS)
    dump = gzip.decompress(bytes.fromhex(chain.rpc("anvil_dumpState")[2:]))
    state = State(
        {
            bytes.fromhex(address[2:]): {
                int(slot, 16): int(word, 16).to_bytes(32, "big")
                for slot, word in account["storage"].items()
            }
            for address, account in json.loads(dump)["accounts"].items()
        }
    )
    finalized = chain.rpc("eth_getBlockByNumber", "finalized", False)  # noqa: FBT003
    fields = {name: text for name, text in finalized.items() if name in HEADER}
    shown = finalized | header(**fields | {"stateRoot": "0x" + state.root.hex()})

    def canonical(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getProof":
            slots = [int(slot, 16) for slot in params[1]]
            return state.proof(bytes.fromhex(params[0][2:]), slots)
        is_block = isinstance(result, dict) and result.get("hash") == finalized["hash"]
        return shown if is_block else result

    app.lies = {ONE: canonical, TWO: canonical}
    return app.audit(settle=0)
