"""Observations for tests."""

from typing import Any, Final

from msgspec.structs import replace

from verifier.watch.observation import Attester, Fact, Observation

HOUR: Final = 3600
BEGAN: Final = 1_780_000_000
FACTS: Final[dict[str, Any]] = {
    Fact.MANIFEST.value: "11" * 32,
    Fact.IMAGES.value: [{"service": "web", "image": "web@sha256:" + "aa" * 32}],
    Fact.SYSTEM.value: ["m1", "r1", "r2"],
    Fact.TCB.value: {"status": "UpToDate", "advisories": []},
    Fact.QUOTE.value: "0000000010000000",
    Fact.MACHINE.value: "d1" * 32,
    Fact.CERTIFICATE.value: "c1" * 64,
    Fact.KMS.value: {"name": "kms", "id": "30" * 40},
    Fact.KMS_ROOT.value: "0xRoot",
    Fact.KMS_CODE.value: [{"compose_hash": "7d" * 32, "os_image": "dstack-0.5.8"}],
}
CHAIN: Final[dict[str, Any]] = {
    Fact.OWNER.value: "0xOwner",
    Fact.KMS_OWNER.value: "0xKmsOwner",
    Fact.AUTHORIZATION.value: ["11" * 32],
    Fact.PENDING.value: {"app_owner": "", "kms_owner": "", "calls": []},
}
HONEST: Final = Observation(
    app="aa" * 20,
    name="shop",
    time=BEGAN,
    reached=True,
    verdict="affirming",
    accepted=True,
    attesters=(Attester("i1" * 20, FACTS, "dstack-0.5.8"),),
    chain=CHAIN,
    block=100,
    policy="policy",
    reference="reference",
    tool="tool",
)


def later(hours: int, **changed: Any) -> Observation:
    """The honest observation after so many hours, otherwise changed."""
    return replace(HONEST, time=BEGAN + hours * HOUR, block=100 + hours, **changed)


def with_facts(hours: int, instance: str = "i1" * 20, /, **facts: Any) -> Observation:
    """After so many hours, with other facts of one guest (`_` for `-`; None for not proven)."""
    changed = {**FACTS, **{name.replace("_", "-"): value for name, value in facts.items()}}
    kept = {name: value for name, value in changed.items() if value is not None}
    return later(hours, attesters=(Attester(instance, kept, "dstack-0.5.8"),))


def with_chain(hours: int, /, **facts: Any) -> Observation:
    """After so many hours, with other facts of the chain."""
    changed = {**CHAIN, **{name.replace("_", "-"): value for name, value in facts.items()}}
    return later(hours, chain={name: value for name, value in changed.items() if value is not None})


def out(hours: int) -> Observation:
    """After so many hours, nothing answers."""
    return later(hours, reached=False, verdict="none", accepted=False, attesters=(), chain={})
