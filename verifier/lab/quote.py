"""TD quotes, version 4 and 5, signed under the simulated PKI.

Layout: Intel TDX DCAP Quoting Library API, A.3 (version 4) and A.4 (version 5); all integers are
little endian. A quote is header 48, [v5: body type u16, size u32], body 584 or 648, then
`u32 length || signature 64 || attestation key 64 || u16 6 || u32 length || QE report 384 ||
QE report signature 64 || u16 length || QE auth data || u16 5 || u32 length || PEM chain`.
"""

import hashlib
import struct
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from verifier.lab import keys
from verifier.lab.pki import Pki

QE_VENDOR: Final = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
QE_MRSIGNER: Final = bytes.fromhex(
    "dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5"
)
QE_ATTRIBUTES: Final = bytes.fromhex("1500000000000000e700000000000000")
QE_AUTH_DATA: Final = bytes(range(32))
QE_PRODUCT_ID: Final = 2
QE_SVN: Final = 6
SEPT_VE_DISABLE: Final = 1 << 28
DEBUG: Final = 1
TRAILING_ZEROS: Final = 70
"""What the quoting service leaves after the quotes of real machines."""

MR_SEAM: Final = keys.labelled("mr_seam", 48)
"""The TDX module of the simulated machines."""

QuoteFormat = Literal["v4", "v5-td10", "v5-td15", "v5-td15-extended"]
_BODY_TYPES: Final = {"v5-td10": 2, "v5-td15": 3, "v5-td15-extended": 4}
_EXTENSION: Final = 237
"""Bytes that the extension for service TDs has."""


class TdReport(Struct, frozen=True, kw_only=True):
    """The measured part of a quote.

    tee_tcb_svn      16 bytes
    mr_seam          48 bytes
    mr_signer_seam   48 bytes
    seam_attributes  8 bytes
    td_attributes    u64
    xfam             8 bytes
    mr_td            48 bytes
    mr_config_id     48 bytes
    mr_owner         48 bytes
    mr_owner_config  48 bytes
    rtmrs            RTMR0 to RTMR3, 48 bytes each
    report_data      64 bytes
    tee_tcb_svn2     16 bytes, of TD 1.5 alone
    mr_service_td    48 bytes, of TD 1.5 alone
    """

    tee_tcb_svn: bytes = bytes.fromhex("05010300000000000000000000000000")
    mr_seam: bytes = MR_SEAM
    mr_signer_seam: bytes = bytes(48)
    seam_attributes: bytes = bytes(8)
    td_attributes: int = SEPT_VE_DISABLE
    xfam: bytes = bytes.fromhex("e702060000000000")
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes = bytes(48)
    mr_owner_config: bytes = bytes(48)
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes = bytes(64)
    tee_tcb_svn2: bytes = bytes.fromhex("05010300000000000000000000000000")
    mr_service_td: bytes = bytes(48)

    def with_report_data(self, report_data: bytes) -> "TdReport":
        """The same TD, reporting about these 64 bytes."""
        return replace(self, report_data=report_data)

    def body(self, *, td15: bool) -> bytes:
        """The TD report body: 584 bytes for TD 1.0, 648 for TD 1.5."""
        body = b"".join(
            (
                self.tee_tcb_svn,
                self.mr_seam,
                self.mr_signer_seam,
                self.seam_attributes,
                self.td_attributes.to_bytes(8, "little"),
                self.xfam,
                self.mr_td,
                self.mr_config_id,
                self.mr_owner,
                self.mr_owner_config,
                *self.rtmrs,
                self.report_data,
            )
        )
        return body + self.tee_tcb_svn2 + self.mr_service_td if td15 else body


def user_data(platform: str) -> bytes:
    """The 20 bytes that the QE writes into the header: its id (16) and zeros."""
    return keys.labelled(f"qe id {platform}", 16) + bytes(4)


def make_quote(
    report: TdReport, pki: Pki, platform: str, quote_format: QuoteFormat = "v4"
) -> bytes:
    """A signed quote, followed by the zeros that real machines leave."""
    body = report.body(td15=quote_format.startswith("v5-td15"))
    if quote_format == "v5-td15-extended":
        body += bytes(_EXTENSION)
    version = 4 if quote_format == "v4" else 5
    signed = struct.pack("<HHIHH", version, 2, 0x81, 0, 0) + QE_VENDOR + user_data(platform)
    if version == 5:  # noqa: PLR2004 - the quote version
        signed += struct.pack("<HI", _BODY_TYPES[quote_format], len(body))
    signed += body
    key = keys.p256(f"attestation key {platform}")
    public = keys.point(key)
    qe_report = _qe_report(public)
    chain = pki.quote_chain
    certification = (
        qe_report
        + keys.sign_p256(pki.pck_key, qe_report)
        + struct.pack("<H", len(QE_AUTH_DATA))
        + QE_AUTH_DATA
        + struct.pack("<HI", 5, len(chain))
        + chain
    )
    authentication = (
        keys.sign_p256(key, signed)
        + public
        + struct.pack("<HI", 6, len(certification))
        + certification
    )
    return signed + struct.pack("<I", len(authentication)) + authentication + bytes(TRAILING_ZEROS)


def _qe_report(attestation_key: bytes) -> bytes:
    """The report of the quoting enclave; its report data binds the attestation key."""
    bound = hashlib.sha256(attestation_key + QE_AUTH_DATA).digest()
    return b"".join(
        (
            bytes(16),
            bytes(4),
            bytes(28),
            QE_ATTRIBUTES,
            keys.labelled("qe mrenclave", 32),
            bytes(32),
            QE_MRSIGNER,
            bytes(96),
            struct.pack("<HH", QE_PRODUCT_ID, QE_SVN),
            bytes(60),
            bound,
            bytes(32),
        )
    )
