"""Claims: what the evidence says, and what supports each statement.

A value read from a quote is `hardware` or `measured` only while the checks that make it so are
`pass` or `warn`, and an app id only while something binds it; otherwise the same value is
`asserted`, as is everything that page, API and certificate say. A claim of which any other
condition does not hold is `unknown`: nothing supports it. Of several sources for one name, the best
supported is kept.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from verifier.checks.application import proof
from verifier.checks.application.app_certificate import vouched
from verifier.checks.case import Case
from verifier.checks.engine import USABLE
from verifier.checks.hardware import gpu
from verifier.checks.hardware.host import about_this_machine
from verifier.checks.key_management.key_holder import confirmed_kms
from verifier.checks.key_management.kms_guest import tried_guests
from verifier.checks.provenance.named_images import named_images
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.chain import contracts
from verifier.model.identifiers import format_time
from verifier.model.result import (
    BASIS_ORDER,
    Basis,
    CheckResult,
    Claim,
    EvidenceRef,
    JsonValue,
    Status,
)

_RUNTIME: Final = ("hardware.quote", "runtime.replay", "runtime.events")
_GUEST: Final = ("hardware.td", "boot.image", "runtime.events")
_PAGE_CLAIMS: Final = {
    "App Name": "app_name",
    "App ID": "app_id",
    "Instance ID": "instance_id",
    "Device ID": "device_id",
    "Operating System": "operating_system",
}


def make_claims(case: Case, results: Mapping[str, CheckResult]) -> tuple[Claim, ...]:
    """The claims of one attester, one per name, sorted by name; `results` are of every check."""
    best: dict[str, Claim] = {}
    for source in (
        _hardware,
        _platform,
        _measured,
        _image,
        _machine,
        _gpus,
        _place,
        _named,
        _kms,
        _kms_guest,
        _chain,
        _endpoint,
        _stated,
    ):
        try:
            for found in source(case, results):
                claim = _supported(found, results)
                rival = best.get(claim.name)
                if rival is None or _rank(claim) < _rank(rival):
                    best[claim.name] = claim
        except (MissingEvidence, Blocked, EvidenceError):
            continue
        except Exception:  # noqa: BLE001, S112 - the check that reads the same value says so
            continue
    return tuple(best[name] for name in sorted(best))


def _supported(claim: Claim, results: Mapping[str, CheckResult]) -> Claim:
    """The claim, which nothing supports where one of its conditions does not hold."""
    held = _holds(results, *claim.conditions)
    return claim if held else replace(claim, basis=Basis.UNKNOWN)


def _rank(claim: Claim) -> int:
    return BASIS_ORDER.index(claim.basis)


def _holds(results: Mapping[str, CheckResult], *ids: str) -> bool:
    return all(results[item].status in USABLE for item in ids)


def _hardware(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    basis = Basis.HARDWARE if _holds(results, "hardware.quote") else Basis.ASSERTED
    quote, evidence = case.quote, (case.presented.evidence,)
    for name, register in quote.registers.items():
        yield _claim(name, register.hex(), basis, evidence, "hardware.td")
    yield _claim("report_data", quote.report_data.hex(), basis, evidence, "hardware.td")
    yield _claim("mr_config_id", quote.mr_config_id.hex(), basis, evidence, "hardware.td")
    yield _claim("td_attributes", f"{quote.td_attributes:016x}", basis, evidence)


def _platform(case: Case, _: Mapping[str, CheckResult]) -> Iterator[Claim]:
    verified = case.verified
    evidence = (case.presented.evidence, *case.collateral.evidence)
    for name, value in (
        ("tcb_status", verified.worst_status),
        ("tcb_advisories", list(verified.advisory_ids)),
        ("tcb_evaluation_number", verified.evaluation_number),
        ("collateral_issued", format_time(verified.issued)),
        ("collateral_expires", format_time(verified.expires)),
        ("fmspc", verified.fmspc.hex()),
        ("device_id", case.device_ids[0].hex()),
    ):
        yield _claim(name, value, Basis.HARDWARE, evidence, "hardware.quote")  # type: ignore[arg-type]


def _measured(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    basis = Basis.MEASURED if _holds(results, *_RUNTIME) else Basis.ASSERTED
    identity = case.identity
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    conditions = ("hardware.quote", "hardware.td", "boot.image", "runtime.events")
    app_id_rests_on = Basis.ASSERTED if _is_said(results) else basis
    bound = (*conditions, "application.identity")
    yield _claim("app_id", identity.app_id.hex(), app_id_rests_on, evidence, *bound)
    for name, value in (
        ("compose_hash", identity.compose_hash),
        ("instance_id", identity.instance_id),
        ("mr_kms", identity.mr_kms),
    ):
        if value is not None:
            yield _claim(name, value.hex(), basis, evidence, *conditions)
    if identity.os_image_hash is not None:  # the guest measures here what a KMS told it
        yield _claim("os_image_hash", identity.os_image_hash.hex(), Basis.ASSERTED, evidence)
    if identity.provider:
        value_of = {"name": identity.provider, "id": identity.provider_id.hex()}
        yield _claim("key_provider", dict(value_of), basis, evidence, *conditions)


def _is_said(results: Mapping[str, CheckResult]) -> bool:
    """Whether only the guest says that its app id is bound: whoever runs the host chooses that."""
    return results["application.identity"].status is Status.WARN


def _image(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """Which image it is, by the registers alone, whether or not anybody should trust it."""
    row = case.os_image
    if row is None:
        return
    basis = Basis.REFERENCE if _holds(results, "hardware.quote") else Basis.ASSERTED
    evidence = (case.presented.evidence,)
    value: JsonValue = {
        "release": row.release,
        "kind": row.kind,
        "origin": row.origin,
        "os_image_hash": row.os_image_hash,
    }
    yield _claim("os_image", value, basis, evidence, "hardware.quote")
    if row.os_image_hash:
        yield _claim("os_image_hash", row.os_image_hash, basis, evidence, "hardware.quote")


def _machine(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """The machine that the guest was told it has: what its tables say, not a count of hardware."""
    result = results["boot.machine"]
    match result.actual if result.status is Status.PASS else None:
        case {"machine": machine}:
            evidence = (case.presented.evidence,)
            conditions = ("hardware.quote", "hardware.td", "boot.machine")
            yield _claim("machine", machine, Basis.MEASURED, evidence, *conditions)


def _gpus(_: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """The GPUs whose reports are genuine; they are this machine's only where each of its ports is
    accounted for, over the nonce of its quote."""
    result = results["hardware.gpu"]
    match result.actual if result.status in USABLE else None:
        case {"gpus": [_, *_] as gpus, gpu.ATTACHED: attached, gpu.COMPLETE: complete}:
            basis = Basis.HARDWARE if attached and complete else Basis.ASSERTED
            conditions = ("hardware.quote", "hardware.gpu")
            yield _claim("gpus", list(gpus), basis, result.evidence, *conditions)


def _place(case: Case, _: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """Where statements say that the machine stands: somebody's word, whoever signed it."""
    for item in about_this_machine(case):
        value: JsonValue = {
            "label": item.value.label,
            "machine_id": item.value.machine_id.hex(),
            "stated": format_time(item.value.stated),
        }
        yield _claim("host_place", value, Basis.ASSERTED, (item.artifact.ref,))


def _named(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """The images, by service; where a service builds its own, the image is empty."""
    holds = _holds(results, *_RUNTIME, "application.manifest")
    images: JsonValue = [
        {"service": item.service, "image": item.reference} for item in named_images(case)
    ]
    basis = Basis.MEASURED if holds else Basis.ASSERTED
    evidence = (case.measured_manifest.artifact.ref,)
    conditions = ("hardware.quote", *_GUEST, "application.manifest")
    yield _claim("images", images, basis, evidence, *conditions)


def _kms(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    record = confirmed_kms(case)
    if record is None:
        return
    signed_for = _holds(results, *_RUNTIME) and bool(vouched(case))
    basis = Basis.REFERENCE if signed_for else Basis.ASSERTED
    evidence = tuple(filter(None, (case.presented.log_evidence,)))
    value: JsonValue = {
        "name": record.name,
        "chain_id": record.chain_id,
        "contract": record.contract,
    }
    yield _claim("kms", value, basis, evidence, *_GUEST, "key_management.provider")
    if record.root_address:
        proven = results["key_management.root"]
        signed = signed_for and proven.status in USABLE
        yield _claim(
            "kms_root",
            record.root_address,
            Basis.KMS if signed else basis,
            proven.evidence if signed else evidence,
            *_GUEST,
            "key_management.provider",
        )


def _kms_guest(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """What the KMS runs, by the quotes in certificates that its CA key signed."""
    if results["key_management.attestation"].status not in USABLE:
        return
    guests = [guest for guest in tried_guests(case) if guest.holds]
    value: JsonValue = [
        {
            "compose_hash": guest.compose_hash.hex(),
            "os_image": guest.case.os_image.release if guest.case.os_image else "",
        }
        for guest in guests
    ]
    evidence = tuple(ref for guest in guests for ref in guest.evidence)
    conditions = (*_GUEST, "key_management.provider", "key_management.attestation")
    if guests:
        yield _claim("kms_guest", value, Basis.MEASURED, evidence, *conditions)


def _chain(case: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    found = case.kms_contract() if _holds(results, "authorization.contract") else None
    if found is None:
        return
    _, view = found
    header = view.header
    block: JsonValue = {
        "chain_id": view.plan.chain_id,
        "number": view.number,
        "hash": header.value[0],
        "time": format_time(header.value[1]),
        "single_source": view.single_source,
    }
    yield _claim("block", block, Basis.CHAIN, header.evidence)
    app = view.app_address()
    conditions = (*_GUEST, "authorization.contract")
    for name, address in (("app_owner", app), ("kms_owner", view.plan.kms)):
        owner = view.call(address, contracts.OWNER, contracts.decode_address)
        if view.single_source:
            continue
        yield _claim(name, owner.value, Basis.CHAIN, owner.evidence, *conditions)
    yield _claim("app_contract", app, Basis.CHAIN, header.evidence, *conditions)


def _endpoint(_: Case, results: Mapping[str, CheckResult]) -> Iterator[Claim]:
    """The key that was met at the address that was asked about."""
    result = results["endpoint.tls"]
    match result.actual:
        case {"endpoint": endpoint, "key": key, "held_by": holder}:
            # Held by the guest, the judged quote commits to it; by the gateway, another quote.
            basis = Basis.HARDWARE if holder else Basis.ASSERTED
            conditions = ("hardware.quote", *_GUEST, "application.identity", "endpoint.tls")
            value: JsonValue = {"endpoint": endpoint, "sha256": key, "held_by": holder}
            yield _claim("endpoint_key", value, basis, result.evidence, *conditions)


def _stated(case: Case, _: Mapping[str, CheckResult]) -> Iterator[Claim]:
    for page in case.evidence.pages:
        for label, name in _PAGE_CLAIMS.items():
            if page.value.labels.get(label):
                value = page.value.labels[label]
                yield _claim(name, value, Basis.ASSERTED, (page.artifact.ref,))
    stated = [
        *((item.value.stated, item.artifact) for item in case.evidence.infos),
        *((item.value.stated, item.artifact) for item in case.evidence.tcb_infos),
    ]
    for values, artifact in stated:
        for name, value in values.items():
            yield _claim(name, value, Basis.ASSERTED, (artifact.at(f"/{name}"),))
    for name, value, place in proof.said(case):
        yield _claim(name, value, Basis.ASSERTED, (place,))


def _claim(
    name: str,
    value: JsonValue,
    basis: Basis,
    evidence: tuple[EvidenceRef, ...],
    *conditions: str,
) -> Claim:
    return Claim(
        name=name,
        value=value,
        basis=basis,
        conditions=conditions if basis is not Basis.ASSERTED else (),
        evidence=evidence,
    )
