"""Attestation blobs of guests on other platforms, in the envelope that TDX guests use as well.

    00 02   AWS Nitro enclave    nsm_quote Vec<u8>
    00 03   AMD SEV-SNP          report Vec<u8> | cert_chain Vec<Vec<u8>> | mr_config String
    00 04   AWS EC2 NitroTPM     attestation_doc Vec<u8>
            then, in each: runtime_events | report_data [u8; 64] | config String
    msgpack {platform: {kind, data}, stack: {data: {report_data, config}}}, with the same members

Source: Dstack-TEE/dstack dstack-attest/src/attestation.rs and v1.rs. See
`verifier.evidence.td.attestation` for the rest of the envelope.
"""

from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.td.attestation import (
    FIRST_BYTES,
    MAX_BLOB_BYTES,
    Scale,
    octets,
    platform_of,
    unpacked,
)

_MAX_CERTIFICATES: Final = 8


class Platform(StrEnum):
    """A platform other than TDX; the value is what the envelope calls it."""

    NITRO_ENCLAVE = "nitro-enclave"
    SEV_SNP = "sev-snp"
    NITRO_TPM = "aws-nitro-tpm"

    @property
    def words(self) -> str:
        """What its maker calls it."""
        return _TITLES[self]


_TITLES: Final = {
    Platform.NITRO_ENCLAVE: "AWS Nitro enclave",
    Platform.SEV_SNP: "AMD SEV-SNP",
    Platform.NITRO_TPM: "AWS EC2 NitroTPM",
}
_DOCUMENTS: Final = {
    Platform.NITRO_ENCLAVE: "nsm_quote",
    Platform.SEV_SNP: "report",
    Platform.NITRO_TPM: "attestation_doc",
}


class PlatformAttestation(Struct, frozen=True, kw_only=True):
    """One blob, read and not verified.

    platform      the platform that it says it is of
    version       of the envelope, 0 or 1
    document      what the hardware signed
    report_data   64 bytes that the envelope says the guest chose
    certificates  those beside a SEV-SNP report; () for none, and for other platforms
    mr_config     the configuration beside a SEV-SNP report, canonical JSON; "" for none, and for
                  other platforms
    config        the vm_config that came with it, or the sys-config that holds it, JSON; "" for
                  none
    """

    platform: Platform
    version: int
    document: bytes
    report_data: bytes
    certificates: tuple[bytes, ...] = ()
    mr_config: str = ""
    config: str = ""


def other_platform(raw: bytes) -> Platform | None:
    """The platform of a blob that is of none with TDX; None for any other bytes."""
    named = platform_of(raw)
    return Platform(named) if named in set(Platform) else None


def parse_platform(raw: bytes, what: str) -> PlatformAttestation:
    """Parse a blob of another platform than TDX. Raises EvidenceError."""
    platform = other_platform(raw)
    if platform is None or len(raw) > MAX_BLOB_BYTES or raw[0] not in FIRST_BYTES:
        raise EvidenceError(f"{what}: not an attestation of a platform that is known")
    if raw[0] == 0:
        return _scale(Scale(raw[2:], what), platform)
    document = unpacked(raw, what)
    try:
        return _msgpack(document, platform, what)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EvidenceError(f"{what}: not an attestation blob: {error!r}") from error


def _scale(scale: Scale, platform: Platform) -> PlatformAttestation:
    document = scale.blob()
    certificates: tuple[bytes, ...] = ()
    mr_config = ""
    if platform is Platform.SEV_SNP:
        certificates = tuple(scale.blob() for _ in range(scale.count()))
        mr_config = scale.text()
    for _ in range(scale.count()):
        scale.text(), scale.blob()
    report_data, config = scale.take(64), scale.text()
    scale.finish()
    return PlatformAttestation(
        platform=platform,
        version=0,
        document=document,
        report_data=report_data,
        certificates=certificates[:_MAX_CERTIFICATES],
        mr_config=mr_config,
        config=config,
    )


def _msgpack(document: Any, platform: Platform, what: str) -> PlatformAttestation:  # noqa: ANN401
    data, body = document["platform"]["data"], document["stack"]["data"]
    if document["version"] != 1:
        raise EvidenceError(f"{what}: version {document['version']!r} of the envelope is not known")
    listed = data.get("cert_chain", []) if platform is Platform.SEV_SNP else []
    mr_config = data.get("mr_config", "") if platform is Platform.SEV_SNP else ""
    if not isinstance(mr_config, str) or len(listed) > _MAX_CERTIFICATES:
        raise EvidenceError(f"{what}: its certificates or its configuration are of another form")
    return PlatformAttestation(
        platform=platform,
        version=1,
        document=octets(data[_DOCUMENTS[platform]]),
        report_data=octets(body["report_data"]),
        certificates=tuple(octets(item) for item in listed),
        mr_config=mr_config,
        config=str(body.get("config", "")),
    )
