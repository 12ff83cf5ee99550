"""What must not be claimed of a world, by what is true in it."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct

from tests.adversary.model import ASKED, CLAIMS, Fact, Truth
from tests.worlds.outcomes import notices
from verifier.lab import cert, contracts, history, keys
from verifier.lab.guest import Guest
from verifier.lab.world import DOMAIN, GATEWAY_BASE, World
from verifier.model.report import SubjectReport
from verifier.model.result import Basis, Claim, JsonValue, Requirement, Verdict

STRONG: Final = (Basis.HARDWARE, Basis.MEASURED, Basis.CHAIN, Basis.KMS)
"""What a claim may rest on so that nobody who lies can have chosen its value."""

_REGISTERS: Final = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")


class Judged(Struct, frozen=True):
    """What an audit under one policy gave: the verdict, and each attester's report."""

    policy: str
    verdict: Verdict
    subjects: tuple[SubjectReport, ...]


def noticing(audit: Judged) -> frozenset[str]:
    """The checks that the policy asks about and that refuse, warn, or miss evidence."""
    return frozenset(
        item.id
        for subject in audit.subjects
        for item in subject.checks
        if notices(item) and item.requirement is not Requirement.NOT_ASKED
    )


def breaches(
    world: World,
    truth: Truth,
    judged: Iterable[Judged],
    ordinary: Mapping[str, frozenset[str]] = MappingProxyType({}),
) -> list[str]:
    """What the audits of a world say that is not so; empty where they are right. `ordinary` is what
    notices in the honest world that it was made from, by policy: nothing, where all can be proven.
    """
    found: dict[str, None] = {}
    for audit in judged:
        harmed = truth.harmed & ASKED[audit.policy]
        if harmed and noticing(audit) <= ordinary.get(audit.policy, frozenset()):
            found[f"{audit.policy} is {audit.verdict}, and harms: {_names(harmed)}"] = None
        certain = truth.certain & ASKED[audit.policy]
        if certain and audit.verdict is Verdict.WARNING:
            found[f"{audit.policy} only warns, and it is certain: {_names(certain)}"] = None
        for subject in audit.subjects:
            found.update(dict.fromkeys(_false_claims(world, truth, subject)))
            broken = [item.id for item in subject.checks if "crashed" in item.reason]
            found.update(dict.fromkeys(f"{check} crashed" for check in broken))
    return list(found)


def unproven(judged: Iterable[Judged]) -> list[str]:
    """What the audits of an honest world that proves all should have affirmed, and did not."""
    return [
        f"{audit.policy} is {audit.verdict}"
        for audit in judged
        if audit.verdict is not Verdict.AFFIRMING
    ]


def _names(facts: Iterable[Fact]) -> str:
    return ", ".join(sorted(fact.name.lower() for fact in facts))


def _false_claims(world: World, truth: Truth, subject: SubjectReport) -> Iterator[str]:
    guest = _guest_of(world, subject.name)
    values = true_values(world, guest) if guest is not None else {}
    for claim in subject.claims:
        fact = CLAIMS.get(claim.name)
        if fact is None or claim.basis not in STRONG:
            continue
        if fact in truth.chosen:
            yield f"{claim.name} is the liar's word, and rests on {claim.basis}"
        elif claim.name in values and not _same(claim, values[claim.name]):
            yield f"{claim.name} is said to be {claim.value!r:.70} ({claim.basis}), and is not"


def _guest_of(world: World, subject: str) -> Guest | None:
    """The guest that an attester is; None for one of another world."""
    instance = subject.rpartition("/")[2]
    found = (guest for guest in world.guests if guest.instance_id.hex() in (instance, ""))
    return next(found, None)


def _same(claim: Claim, true: JsonValue) -> bool:
    match claim.value:
        case {"sha256": key, "endpoint": endpoint}:
            own = str(endpoint).startswith(DOMAIN) or f"s.{GATEWAY_BASE}" in str(endpoint)
            return not own or key == true
        case {"name": name, "contract": _}:
            return name == true
        case [{"compose_hash": compose_hash}]:
            return compose_hash == true
    return str(claim.value).lower() == str(true).lower()


@cache
def root_of(label: str) -> str:
    """The address of the root key of a simulated KMS."""
    return "0x" + keys.k256_address(keys.k256(f"kms {label} k256")).hex()


def true_values(world: World, guest: Guest) -> dict[str, Any]:
    """What is so in a world, by the name of the claim that should say it."""
    knobs = world.knobs
    report = guest.td_report
    if guest.knobs.edit_td is not None:
        report = guest.knobs.edit_td(report)
    found: dict[str, Any] = {
        name: raw.hex() for name, raw in zip(_REGISTERS, (report.mr_td, *report.rtmrs), strict=True)
    }
    leaf = keys.spki(cert.leaf_key(guest.cert_options))
    found |= {
        "mr_config_id": report.mr_config_id.hex(),
        "compose_hash": guest.compose_hash.hex(),
        "app_id": guest.app_id.hex(),
        "os_image_hash": guest.image.os_image_hash.hex(),
        "device_id": history.device_id(guest.knobs, knobs.seed, guest.knobs.platform).hex(),
        "kms_guest": world.kms.guest.compose_hash.hex(),
        "endpoint_key": hashlib.sha256(leaf).hexdigest(),
        "kms": f"Lab KMS, {knobs.kms}",
        "kms_root": root_of(knobs.kms_k256 or knobs.kms),
    }
    statuses = {knobs.tcb_status, knobs.module_status, knobs.qe_status}
    if statuses == {"UpToDate"}:
        found["tcb_status"] = "UpToDate"
    chain = world.chain
    for name, contract in (("app_owner", bytes.fromhex(world.app_id)),
                           ("kms_owner", history.KMS_ADDRESS)):  # fmt: skip
        owner = chain.call(contract, contracts.selector("owner()"), chain.finalized)
        if owner:
            found[name] = "0x" + owner[-20:].hex()
    return found
