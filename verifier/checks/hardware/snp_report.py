"""What a SEV-SNP report proves, beside the certificates of its chip."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final

from cryptography import x509
from msgspec import Struct

from verifier.checks.case import Case
from verifier.checks.engine import Outcome, failed, passed, warned
from verifier.checks.hardware.anchors import chain_failure, signature_holds
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence import codec
from verifier.evidence.certificates import parse_der_chain, parse_pem_chain
from verifier.evidence.platforms.envelope import PlatformAttestation
from verifier.evidence.platforms.snp import SnpReport, host_data_of, parse_snp_report
from verifier.evidence.platforms.snp_launch import launch_measurement, parse_launch
from verifier.evidence.subject import Located
from verifier.model.result import JsonValue

ANCHOR: Final = "amd-snp"
_CHIP: Final = "SEV-VCEK"
_LONGEST: Final = 3
MAX_CHAINS: Final = 256
"""Each takes a millisecond, and anybody can make certificates of these names."""

_OIDS: Final = "1.3.6.1.4.1.3704.1."
_HWID: Final = f"{_OIDS}4"
_PRODUCT: Final = f"{_OIDS}2"
_FMC: Final = f"{_OIDS}3.9"
_NAMES: Final = {
    "fmc": _FMC,
    "boot_loader": f"{_OIDS}3.1",
    "tee": f"{_OIDS}3.2",
    "snp": f"{_OIDS}3.3",
    "microcode": f"{_OIDS}3.8",
}
"""The parts of a TCB version, as a policy names them, and their extensions."""

_PARTS: Final = {
    "": {f"{_OIDS}3.1": 0, f"{_OIDS}3.2": 1, f"{_OIDS}3.3": 6, f"{_OIDS}3.8": 7},
    "Turin": {_FMC: 0, f"{_OIDS}3.1": 1, f"{_OIDS}3.2": 2, f"{_OIDS}3.3": 3, f"{_OIDS}3.8": 7},
}
"""Where a TCB version (8 bytes) has boot loader, TEE, SNP firmware and microcode, and on Turin the
FMC before them (AMD 56860, TCB_VERSION; AMD 57230, VCEK extensions)."""

_OTHER_LAUNCH: Final = "its launch measurement is not that of what is said to have been launched"
_BOUND: Final = ("app_id", "compose_hash", "instance_id", "gpu_policy_hash")


class _Judged(Struct, frozen=True):
    """What is wrong with a report, and what in doubt."""

    problems: tuple[str, ...]
    doubts: tuple[str, ...]


def judge(case: Case, item: Located[PlatformAttestation]) -> Outcome:
    """What one attestation proves. Raises MissingEvidence, EvidenceError."""
    attestation, evidence = item.value, (item.artifact.ref,)
    report = parse_snp_report(attestation.document, "SEV-SNP report")
    judged = _judged(case, attestation, report)
    actual = _actual(attestation, report)
    if judged.problems:
        return failed(
            "; ".join(judged.problems),
            expected="a report of a chip under AMD's root, of a guest that nobody can debug",
            actual=actual,
            evidence=evidence,
            remediation="do not trust this guest with data",
        )
    summary = f"SEV-SNP report of chip {report.chip_id.hex()[:16]}…"
    if judged.doubts:
        doubts = "; ".join(judged.doubts)
        return warned(f"{summary}; {doubts}", actual=actual, evidence=evidence)
    return passed(
        summary,
        actual=actual,
        reason="it launched what its VMM says; whether that is a released image is not asked"
        + ("" if case.demands.snp_min_tcb else ", nor whether AMD knows of holes in its firmware"),
        evidence=evidence,
    )


def _judged(case: Case, attestation: PlatformAttestation, report: SnpReport) -> _Judged:
    wrong = _stated(attestation, report)
    chains = list(islice(_chains(case, attestation), MAX_CHAINS + 1))
    if wrong and not 0 < len(chains) <= MAX_CHAINS:
        return _Judged(tuple(wrong), ())
    if len(chains) > MAX_CHAINS:
        raise EvidenceError(f"more than {MAX_CHAINS} chains of certificates for one SEV-SNP chip")
    if not chains:
        raise MissingEvidence(
            "the certificate of the chip (VCEK) that signed the SEV-SNP report was not given",
            hint="fetch it and its chain from https://kdsintf.amd.com/vcek/v1/, by the product, "
            "the chip id and the reported TCB, and import them",
        )
    # Certificates of other chips, of other TCBs and of other issuers stand beside the right ones:
    # the report is genuine where some chain shows it.
    objections = [tuple(_objections(case, chain, report)) for chain in chains]
    fewest: tuple[str, ...] = min(objections, key=lambda found: (len(found), found))
    wrong.extend(fewest)
    versions = {
        report.current_tcb,
        report.reported_tcb,
        report.committed_tcb,
        report.launch_tcb,
    }
    doubts = [] if len(versions) == 1 else ["its platform has firmware of several versions"]
    launched = _launched(attestation, report)
    (wrong if launched == _OTHER_LAUNCH else doubts).extend(filter(None, [launched]))
    asked, named = case.question.app_id, _bound(attestation, report).get("app_id")
    if asked is not None and named != asked:
        doubts.append("its configuration does not name the app that was asked for")
    return _Judged(tuple(wrong), tuple(doubts))


def _objections(
    case: Case, chain: tuple[x509.Certificate, ...], report: SnpReport
) -> Iterable[str]:
    """Why a report is not shown by a chain to be of a chip of AMD's with this firmware."""
    failure = chain_failure(chain, case.reference.anchors_of(ANCHOR), case.question.at)
    if failure:
        yield f"its certificate chain is not AMD's: {failure}"
    if not signature_holds(chain[0].public_key(), report.signature, report.signed):
        yield "its signature is not by the key of its chip's certificate"
    extensions = _extensions(chain[0])
    if extensions.get(_HWID) != report.chip_id:
        yield "its chip's certificate is about another chip"
    if _certified_tcb(extensions) != report.reported_tcb:
        yield "its chip's certificate is about another TCB"
    yield from _too_old(case.demands.snp_min_tcb, _places(extensions), report)


def _too_old(
    least: Mapping[str, int], places: Mapping[str, int], report: SnpReport
) -> Iterable[str]:
    """The parts of the firmware that are older than the policy allows, at launch or now."""
    for when, tcb in (
        ("its platform has", report.reported_tcb),
        ("it began on", report.launch_tcb),
    ):
        for name, version in least.items():
            place = places.get(_NAMES[name])
            if place is None:
                yield f"its chip has no {name}, of which the policy demands {version}"
            elif tcb[place] < version:
                yield f"{when} {name} {tcb[place]}, the policy demands {version}"


def _launched(attestation: PlatformAttestation, report: SnpReport) -> str:
    """Why the launch measurement is not known to be that of what was launched, "" when it is."""
    try:
        launch = parse_launch(attestation.config, "SEV-SNP configuration")
        if launch is None:
            return "nobody says what was launched"
        return "" if launch_measurement(launch) == report.measurement else _OTHER_LAUNCH
    except EvidenceError as error:
        return f"what was launched is not known: {error.message}"


def _stated(attestation: PlatformAttestation, report: SnpReport) -> list[str]:
    """What a report says of its guest that no genuine one may say."""
    return [
        text
        for text, bad in (
            ("debug is on: the host can read the guest's memory", report.debug),
            ("a migration agent may move the guest", report.migratable),
            (f"it is about VMPL {report.vmpl}, not about the guest", report.vmpl),
            ("the chip does not say which it is", report.masked),
            ("a key of a cloud's (VLEK) signed, not the chip's own", report.signing_key),
            (
                "its report data is another than the attestation's",
                report.report_data != attestation.report_data,
            ),
            (
                "its host data is not the digest of the configuration beside it",
                host_data_of(attestation.mr_config) != report.host_data,
            ),
        )
        if bad
    ]


def _chains(case: Case, attestation: PlatformAttestation) -> Iterator[tuple[x509.Certificate, ...]]:
    """Every chain from a chip's certificate upwards, of the attestation and beside it. What any
    certificate names as its issuer is a name, which others bear too."""
    given = dict.fromkeys(_given(attestation.certificates))
    for item in case.evidence.platform_certs:
        given |= dict.fromkeys(item.value)
    for chip in given:
        if _common_name(chip) == _CHIP:
            yield from _upwards((chip,), tuple(given))


def _upwards(
    chain: tuple[x509.Certificate, ...], given: tuple[x509.Certificate, ...]
) -> Iterator[tuple[x509.Certificate, ...]]:
    """A chain, and each that goes on from it to its root (VCEK, ASK, ARK)."""
    yield chain
    if len(chain) < _LONGEST:
        for item in given:
            if item.subject == chain[-1].issuer and item not in chain:
                yield from _upwards((*chain, item), given)


def _given(certificates: Iterable[bytes]) -> Iterable[x509.Certificate]:
    for raw in certificates:
        what = "certificate in the SEV-SNP attestation"
        pem = raw.startswith(b"-----BEGIN")
        yield from parse_pem_chain(raw, what) if pem else parse_der_chain((raw,), what)


def _common_name(certificate: x509.Certificate) -> str:
    named = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(named[0].value) if len(named) == 1 else ""


def _extensions(certificate: x509.Certificate) -> Mapping[str, bytes]:
    return {
        item.oid.dotted_string: item.value.value
        for item in certificate.extensions
        if isinstance(item.value, x509.UnrecognizedExtension)
    }


def _places(extensions: Mapping[str, bytes]) -> Mapping[str, int]:
    """Where chips of this product have each part of a TCB version."""
    product = extensions.get(_PRODUCT, b"")[2:].decode("ascii", "replace").partition("-")[0]
    return _PARTS.get(product, _PARTS[""])


def _certified_tcb(extensions: Mapping[str, bytes]) -> bytes:
    """The TCB version that a chip's certificate is about, b"" where it names none."""
    tcb = bytearray(8)
    for oid, place in _places(extensions).items():
        raw = extensions.get(oid, b"")
        if raw[:1] != b"\x02" or len(raw) < 3 or raw[1] != len(raw) - 2:  # noqa: PLR2004
            return b""
        value = int.from_bytes(raw[2:], "big", signed=True)
        if not 0 <= value <= 0xFF:  # noqa: PLR2004 - one byte each
            return b""
        tcb[place] = value
    return bytes(tcb)


def _bound(attestation: PlatformAttestation, report: SnpReport) -> dict[str, JsonValue]:
    """What the host data binds of the configuration document."""
    if host_data_of(attestation.mr_config) != report.host_data:
        return {}
    document = codec.parse_json_object(attestation.mr_config, "SEV-SNP configuration")
    return {name: document[name] for name in _BOUND if isinstance(document.get(name), str)}


def _actual(attestation: PlatformAttestation, report: SnpReport) -> JsonValue:
    bound = _bound(attestation, report)
    with suppress(EvidenceError):
        launch = parse_launch(attestation.config, "SEV-SNP configuration")
        if launch is not None and launch.image_hash:
            bound["stated_image_hash"] = launch.image_hash.hex()
    return {
        "measurement": report.measurement.hex(),
        "host_data": report.host_data.hex(),
        "chip_id": report.chip_id.hex(),
        "reported_tcb": report.reported_tcb.hex(),
        **bound,
    }
