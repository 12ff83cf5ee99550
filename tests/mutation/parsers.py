"""What reads each kind of evidence: an artifact alone, without an audit."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence import codec, gateway, ingress
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.certificate_log import parse_logged, parse_search
from verifier.evidence.chain import contracts, explorer_logs, json_rpc, log_scan, safe_service
from verifier.evidence.domain import read_answers
from verifier.evidence.guest import dashboard, kms_answers
from verifier.evidence.guest.dns import parse_app_address
from verifier.evidence.images import oci, sigstore
from verifier.evidence.subject import SubjectEvidence, read_subject
from verifier.evidence.td.collateral import read_collateral
from verifier.evidence.td.event_log import parse_event_log
from verifier.evidence.td.quote import parse_quote
from verifier.manifest.audit import audit_manifest

WHAT: Final = "the mutated artifact"

Parser = Callable[[Artifact, bytes], object]

_ANSWERS: Final = (
    *(contracts.decode_bytes, contracts.decode_quantity, contracts.decode_time),
    *(contracts.decode_word, contracts.decode_bool, contracts.decode_address),
    *(contracts.decode_uint, contracts.decode_addresses, contracts.decode_modules),
    *(contracts.decode_string, contracts.decode_is_app_allowed, contracts.decode_controller),
    *(contracts.decode_kms_info, contracts.decode_logs, contracts.decode_timed_logs),
)


def parsed(artifact: Artifact, raw: bytes) -> object:
    """What the parsers of an artifact's kind make of these bytes. Raises EvidenceError."""
    return _PARSERS[artifact.kind](artifact, raw)


def _plain(parse: Callable[[bytes, str], object]) -> Parser:
    return lambda _, raw: parse(raw, WHAT)


def _alone(artifact: Artifact, raw: bytes) -> Bundle:
    """A bundle of one artifact."""
    digest = "0" * 64
    return Bundle((replace(artifact, sha256=digest, size=len(raw)),), {digest: raw})


def _of_attester(artifact: Artifact, raw: bytes) -> object:
    """What is read of an attester: its documents, certificates, quotes and logs."""
    subject = read_subject(_alone(artifact, raw), artifact.subject)
    _refuse([error for _, error in subject.malformed])
    _read_through(subject)
    return subject


def _read_through(subject: SubjectEvidence) -> None:
    for source in subject.quotes:
        parse_quote(source.quote, WHAT)
        if source.log is not None:
            parse_event_log(source.log, WHAT)
    for item in subject.manifests:
        audit_manifest(item.value)


def _refuse(errors: Sequence[EvidenceError]) -> None:
    if errors:
        raise errors[0]


def _of_collateral(artifact: Artifact, raw: bytes) -> object:
    found = read_collateral(_alone(artifact, raw))
    _refuse([error for _, error in found.unreadable])
    return found


def _of_names(artifact: Artifact, raw: bytes) -> object:
    return read_answers(_alone(artifact, raw))


def _of_contract(_: Artifact, raw: bytes) -> object:
    """An answer, decoded as everything that is asked of contracts."""
    value = json_rpc.parse_answer(raw, WHAT)
    for decode in _ANSWERS:
        with suppress(EvidenceError):
            decode(value, WHAT)
    return value


def _of_scan(_: Artifact, raw: bytes) -> object:
    return log_scan.parse_scan(raw, WHAT).logs(WHAT)


def _of_explorer(_: Artifact, raw: bytes) -> object:
    return explorer_logs.parse_explorer_logs(raw, WHAT).read(0, 1 << 40, WHAT)


def _of_safe(_: Artifact, raw: bytes) -> object:
    document = codec.parse_json_object(raw, WHAT)
    results = document.get("results")
    first = results[0] if isinstance(results, list) and results else None
    safe = first.get("safe") if isinstance(first, dict) else None
    return safe_service.parse_queue(raw, str(safe), WHAT)


def _of_ingress_file(_: Artifact, raw: bytes) -> object:
    with suppress(EvidenceError):
        return ingress.parse_listing(raw, WHAT)
    return ingress.account_uri(raw, WHAT)


def _of_ingress_quote(artifact: Artifact, raw: bytes) -> object:
    return _of_attester(replace(artifact, kind=Kind.GET_QUOTE), raw)


def _of_gateway(artifact: Artifact, raw: bytes) -> object:
    return _of_attester(replace(artifact, kind=Kind.INFO), raw)


def _of_acme(artifact: Artifact, raw: bytes) -> object:
    found = gateway.parse_acme_info(raw, WHAT)
    for item in found.keys:
        gateway.presented_quote(item, artifact)
    return found


def _of_meta(_: Artifact, raw: bytes) -> object:
    return kms_answers.parse_meta(raw, WHAT), kms_answers.parse_bootstrap(raw, WHAT)


def _of_image(_: Artifact, raw: bytes) -> object:
    return oci.parse_manifest(raw, oci.digest_of(raw))


def _of_configuration(_: Artifact, raw: bytes) -> object:
    return oci.parse_config(raw, oci.digest_of(raw))


_PARSERS: Final[Mapping[Kind, Parser]] = {
    **dict.fromkeys(Kind, _of_attester),
    Kind.COLLATERAL: _of_collateral,
    Kind.PCS_TCB_INFO: _of_collateral,
    Kind.PCS_QE_IDENTITY: _of_collateral,
    Kind.PCS_PCK_CRL: _of_collateral,
    Kind.PCS_ROOT_CA_CRL: _of_collateral,
    Kind.KMS_META: _of_meta,
    Kind.DASHBOARD: _plain(dashboard.parse_dashboard),
    Kind.DNS_TXT: _plain(parse_app_address),
    Kind.DNS_MESSAGE: _of_names,
    Kind.CT_SEARCH: _plain(parse_search),
    Kind.CT_CERTIFICATE: _plain(parse_logged),
    Kind.INGRESS_QUOTE: _of_ingress_quote,
    Kind.INGRESS_FILE: _of_ingress_file,
    Kind.GATEWAY_INFO: _of_gateway,
    Kind.GATEWAY_ACME: _of_acme,
    Kind.OCI_MANIFEST: _of_image,
    Kind.OCI_CONFIG: _of_configuration,
    Kind.SIGSTORE_BUNDLE: _plain(sigstore.parse_bundles),
    Kind.JSON_RPC: _of_contract,
    Kind.LOG_SCAN: _of_scan,
    Kind.EXPLORER_LOGS: _of_explorer,
    Kind.SAFE_QUEUE: _of_safe,
}
