"""The bytes of a TD quote, and the signatures inside it.

All integers are little endian. After the signed part (header, in version 5 a body descriptor, body)
come the length of the rest, the signature over that part, the attestation key, and certification
data of type 6: the quoting enclave's report, the PCK's signature over it, authentication data, and
in certification data of type 5 the PCK's certificates as PEM.
"""

import hashlib
from typing import Final

from msgspec import Struct

from verifier.checks.second_opinion.refusal import need
from verifier.checks.second_opinion.signatures import SIZE, need_signature, point

_ECDSA_P256: Final = 2
_TDX: Final = 0x81
_INTEL_QE: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_PLAIN, _DESCRIBED = 4, 5
"""Versions of quotes: a TD 1.0 body, or the body that a descriptor names."""

_TD10: Final = 584
_BODIES: Final = {2: _TD10, 3: 648, 4: 885}
"""Body type → size: TD 1.0, TD 1.5, and TD 1.5 with the extension for service TDs."""

_ENCLAVE_REPORT: Final = 384
_QE_REPORT, _PCK_CHAIN = 6, 5
"""Types of certification data."""

_SEPT_VE_DISABLE: Final = 1 << 28
_FORBIDDEN: Final = {
    "debugging": 1 << 0,
    "profiling": 0b111 << 4,
    "an extended service TD": 1 << 17,
    "migration": 1 << 29,
}
_RESERVED: Final = (0b111 << 1) | (0x1FF << 7) | (0b1111 << 23) | (((1 << 30) - 1) << 32)
"""Attributes of a TD (TDX Module ABI, ATTRIBUTES): bits 1-3, 7-15, 23-26 and 32-61 are zero."""


class EnclaveReport(Struct, frozen=True, kw_only=True):
    """What the quoting enclave is, by its own report.

    raw          the 384 bytes that are signed
    misc_select  4 bytes
    attributes   16 bytes
    mr_signer    who signed the enclave, 32 bytes
    product      its product id
    svn          its security version
    report_data  64 bytes
    """

    raw: bytes
    misc_select: bytes
    attributes: bytes
    mr_signer: bytes
    product: int
    svn: int
    report_data: bytes


class Quote(Struct, frozen=True, kw_only=True):
    """The parts of a quote that decide something.

    signed            header, descriptor and body
    tee_tcb_svn       security versions of the TDX module that launched the TD, 16 bytes
    tee_tcb_svn2      those of the module that runs now, 16 bytes; None in a TD 1.0 body
    mr_signer_seam    who signed the TDX module, 48 bytes
    seam_attributes   attributes of the TDX module, 8 bytes
    td_attributes     attributes of the TD
    mr_service_td     of bound service TDs, 48 bytes; None in a TD 1.0 body
    signature         of the attestation key over `signed`
    attestation_key   x and y
    qe                the quoting enclave's report
    qe_signature      of the PCK over that report
    qe_authenticated  what the quoting enclave binds beside the key
    chain             the PCK's certificates, PEM, leaf first
    """

    signed: bytes
    tee_tcb_svn: bytes
    tee_tcb_svn2: bytes | None
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: int
    mr_service_td: bytes | None
    signature: bytes
    attestation_key: bytes
    qe: EnclaveReport
    qe_signature: bytes
    qe_authenticated: bytes
    chain: bytes


class _Bytes:
    """Bytes that are taken from the front."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self.place = raw, 0

    def take(self, size: int) -> bytes:
        end = self.place + size
        need(end <= len(self._raw), f"truncated after {len(self._raw)} bytes")
        found, self.place = self._raw[self.place : end], end
        return found

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def sized(self, kind: int) -> "_Bytes":
        """Certification data of a type."""
        found = self.number(2)
        need(found == kind, f"certification data of type {found}, expected {kind}")
        return _Bytes(self.take(self.number(4)))

    def end(self) -> None:
        need(self.place == len(self._raw), "bytes that belong to nothing")

    def rest(self) -> bytes:
        return self.take(len(self._raw) - self.place)


def read_quote(raw: bytes) -> Quote:
    """The parts of a quote without padding. Raises RefusedError."""
    source = _Bytes(raw)
    version = source.number(2)
    need(version in (_PLAIN, _DESCRIBED), f"a quote of version {version}")
    need(source.number(2) == _ECDSA_P256, "an attestation key of another kind than ECDSA P-256")
    need(source.number(4) == _TDX, "a quote of something else than a TD")
    source.take(4)
    need(source.take(16) == _INTEL_QE, "a quoting enclave of another vendor")
    source.take(20)
    size = _TD10
    if version == _DESCRIBED:
        kind, size = source.number(2), source.number(4)
        need(_BODIES.get(kind) == size, f"a body of type {kind} with {size} bytes")
    body = source.take(size)
    signed = raw[: source.place]
    authentication = _Bytes(source.take(source.number(4)))
    source.end()
    signature, key = authentication.take(SIZE), authentication.take(SIZE)
    certification = authentication.sized(_QE_REPORT)
    authentication.end()
    report, qe_signature = certification.take(_ENCLAVE_REPORT), certification.take(SIZE)
    authenticated = certification.take(certification.number(2))
    chain = certification.sized(_PCK_CHAIN)
    certification.end()
    current = size > _TD10
    return Quote(
        signed=signed,
        tee_tcb_svn=body[:16],
        tee_tcb_svn2=body[584:600] if current else None,
        mr_signer_seam=body[64:112],
        seam_attributes=body[112:120],
        td_attributes=int.from_bytes(body[120:128], "little"),
        mr_service_td=body[600:648] if current else None,
        signature=signature,
        attestation_key=key,
        qe=_enclave_report(report),
        qe_signature=qe_signature,
        qe_authenticated=authenticated,
        chain=chain.rest(),
    )


def need_signed(quote: Quote, pck_key: object) -> None:
    """Raises RefusedError unless the PCK signed the quoting enclave's report, which binds the
    attestation key, which signed the quote."""
    need_signature(pck_key, quote.qe_signature, quote.qe.raw, "the quoting enclave's report")
    bound = hashlib.sha256(quote.attestation_key + quote.qe_authenticated).digest()
    need(
        quote.qe.report_data == bound + bytes(32),
        "the quoting enclave's report is not about this attestation key",
    )
    need_signature(point(quote.attestation_key), quote.signature, quote.signed, "the quote")


def need_closed(quote: Quote) -> None:
    """Raises RefusedError where the TD is one that somebody outside it can reach into."""
    for what, bits in _FORBIDDEN.items():
        need(not quote.td_attributes & bits, f"the TD allows {what}")
    need(not quote.td_attributes & _RESERVED, "reserved attributes of the TD are set")
    need(quote.td_attributes & _SEPT_VE_DISABLE, "the TD leaves SEPT_VE_DISABLE off")
    need(not any(quote.mr_service_td or b""), "a service TD is bound to the TD")


def _enclave_report(raw: bytes) -> EnclaveReport:
    return EnclaveReport(
        raw=raw,
        misc_select=raw[16:20],
        attributes=raw[48:64],
        mr_signer=raw[128:160],
        product=int.from_bytes(raw[256:258], "little"),
        svn=int.from_bytes(raw[258:260], "little"),
        report_data=raw[320:384],
    )
