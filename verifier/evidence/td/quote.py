"""TD quotes, version 4 and 5.

Layout: Intel TDX DCAP Quoting Library API, appendix A.3 (v4) and A.4 (v5), little endian.

    header  48    version u16, attestation key type u16, TEE type u32, QE SVN u16, PCE SVN u16,
                  QE vendor id 16, user data 20
    v5 only  6    body type u16 (2 TD 1.0, 3 TD 1.5, 4 TD 1.5 extended), body size u32
    body   584    TD report 1.0; TD 1.5 appends TEE_TCB_SVN2 16 and MRSERVICETD 48; its extension
                  (as dcap_qvl 0.7 reads it) another 237, in them hash 48 and attributes 8 of the
                  service TD that was bound at first (from 81 on) and that is bound now (181)
    u32           length of the authentication data that follows
"""

import struct
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError

TEE_TYPE_TDX: Final = 0x81
MAX_QUOTE_BYTES: Final = 64 << 10
MAX_PADDING_BYTES: Final = 4 << 10
"""TDX attestation drivers hand out a fixed buffer, so that a quote ends in zeros: 70 on dstack."""

DEBUG_BIT: Final = 1 << 0
SEPT_VE_DISABLE_BIT: Final = 1 << 28

_HEADER_SIZE: Final = 48
_BODY_10_SIZE: Final = 584
_BODY_SIZES: Final = {2: _BODY_10_SIZE, 3: 648, 4: 885}


class TdQuote(Struct, frozen=True, kw_only=True):
    """The fields of a TD quote that this auditor reads, as raw bytes; nothing is verified.

    version               of the quote, 4 or 5
    tee_type              0x81 for TDX
    user_data             of the header, 20 bytes, set by the quoting enclave
    tee_tcb_svn           security versions of the TDX module, 16 bytes
    mr_seam               the TDX module, 48 bytes
    mr_signer_seam        who signed the TDX module, 48 bytes; zeros for Intel
    seam_attributes       of the TDX module, 8 bytes
    td_attributes         of the TD, a little-endian u64
    xfam                  the extended CPU features of the TD, 8 bytes
    mr_td                 what the TD began with, 48 bytes
    mr_config_id          48 bytes that its owner chose, which dstack fills; zeros when not set
    mr_owner              48 bytes that its owner chose; zeros when not set
    mr_owner_config       48 bytes that its owner chose; zeros when not set
    rtmrs                 RTMR0 to RTMR3, 48 bytes each
    report_data           64 bytes that the guest chose
    mr_service_td         of a service TD that is bound to it, 48 bytes; None in a TD 1.0 body
    extension             what an extended TD 1.5 body appends about service TDs, 237 bytes; b"" in
                          any other
    signed_region         header and body, which identify a quote: everything after it is malleable
    raw                   the whole quote without padding
    """

    version: int
    tee_type: int
    user_data: bytes
    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: int
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    mr_service_td: bytes | None
    extension: bytes
    signed_region: bytes
    raw: bytes

    @property
    def registers(self) -> dict[str, bytes]:
        """MRTD and the RTMRs, by the names that a guest agent gives them."""
        return {"mrtd": self.mr_td} | {f"rtmr{i}": value for i, value in enumerate(self.rtmrs)}

    @property
    def service_tds(self) -> bytes:
        """All that the report says of service TDs; zeros, or nothing, where none is bound."""
        first, now = self.extension[81:137], self.extension[181:]
        return (self.mr_service_td or b"") + first + now

    @property
    def td_state(self) -> bytes:
        """The body without what may change during one boot: RTMR3, which the app may extend, and
        report data (472 to 584), and the TDX module, which a TD-preserving update replaces: MRSEAM
        (16 to 64) and TEE_TCB_SVN2 (584 to 600)."""
        body = self.signed_region[_HEADER_SIZE if self.version == 4 else _HEADER_SIZE + 6 :]  # noqa: PLR2004
        return body[:16] + body[64:472] + body[600:]


def parse_quote(raw: bytes, what: str) -> TdQuote:
    """Parse a TD quote; `raw` may end in zero padding, which is dropped from the result's `raw`.

    Raises EvidenceError when the bytes are not a TD quote, are truncated, or carry something other
    than zeros after the authentication data.
    """
    if len(raw) > MAX_QUOTE_BYTES + MAX_PADDING_BYTES:
        raise EvidenceError(
            f"{what}: {len(raw)} bytes are no TD quote (a real one has about 5,000)"
        )
    if len(raw) < _HEADER_SIZE + _BODY_10_SIZE + 4:
        raise EvidenceError(
            f"{what}: {len(raw)} bytes are too few for a TD quote",
            hint="hand over the whole quote; it has about 5,000 bytes",
        )
    version, _, tee_type = struct.unpack_from("<HHI", raw)
    if version not in (4, 5) or tee_type != TEE_TYPE_TDX:
        raise EvidenceError(f"{what}: not a TD quote (version {version}, TEE type {tee_type:#x})")
    body_start, body_size = _body_span(raw, version, what)
    body_end = body_start + body_size
    end = _end_of_authentication_data(raw, body_end, what)
    body = raw[body_start:body_end]
    return TdQuote(
        version=version,
        tee_type=tee_type,
        user_data=raw[28:48],
        tee_tcb_svn=body[0:16],
        mr_seam=body[16:64],
        mr_signer_seam=body[64:112],
        seam_attributes=body[112:120],
        td_attributes=int.from_bytes(body[120:128], "little"),
        xfam=body[128:136],
        mr_td=body[136:184],
        mr_config_id=body[184:232],
        mr_owner=body[232:280],
        mr_owner_config=body[280:328],
        rtmrs=(body[328:376], body[376:424], body[424:472], body[472:520]),
        report_data=body[520:584],
        mr_service_td=body[600:648] if body_size > _BODY_10_SIZE else None,
        extension=body[648:],
        signed_region=raw[:body_end],
        raw=raw[:end],
    )


def _body_span(raw: bytes, version: int, what: str) -> tuple[int, int]:
    if version == 4:  # noqa: PLR2004 - a quote of version 4 has no body descriptor
        return _HEADER_SIZE, _BODY_10_SIZE
    body_type, size = struct.unpack_from("<HI", raw, _HEADER_SIZE)
    if _BODY_SIZES.get(body_type) != size:
        raise EvidenceError(f"{what}: body type {body_type} with {size} bytes is no TD report")
    return _HEADER_SIZE + 6, size


def _end_of_authentication_data(raw: bytes, start: int, what: str) -> int:
    if start + 4 > len(raw):
        raise EvidenceError(f"{what}: truncated: no authentication data")
    (length,) = struct.unpack_from("<I", raw, start)
    end: int = start + 4 + length
    if end > len(raw):
        raise EvidenceError(
            f"{what}: truncated: {end} bytes announced, {len(raw)} present",
            hint="hand over the whole quote",
        )
    padding = raw[end:]
    if len(padding) > MAX_PADDING_BYTES or padding.strip(b"\0"):
        raise EvidenceError(f"{what}: {len(padding)} bytes after the quote are not zero padding")
    return end
