"""What one exchange may cost, by the kind of artifact that it is for."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from msgspec import Struct

from verifier.collect.budget import Share
from verifier.evidence.bundle import Kind


class Limits(Struct, frozen=True, kw_only=True):
    """What one exchange may cost, and whether TLS must prove the server's name.

    share             the part of the collection's budget that it is paid from
    max_bytes         the longest body, in bytes
    deadline_seconds  the time from the first look-up to the last byte
    verify_tls        False only where the server's certificate is evidence that checks judge: a KMS
                      serves a self-signed RA-TLS chain
    follow_redirects  False where a redirect is itself the answer: a registry's says where else a
                      blob is, which its caller judges
    retry_statuses    False where 429 and 5xx are themselves the answer: nodes refuse a range of
                      blocks with any of them
    """

    share: Share
    max_bytes: int
    deadline_seconds: float = 20.0
    verify_tls: bool = True
    follow_redirects: bool = True
    retry_statuses: bool = True


_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_GUEST: Final = partial(Limits, share=Share.GUESTS)
_ENDORSED: Final = partial(Limits, share=Share.ENDORSEMENTS)
_IMAGE: Final = partial(Limits, share=Share.IMAGES)
_LOGS: Final = partial(Limits, share=Share.LOGS)
_STATE: Final = partial(Limits, share=Share.STATE)
LIMITS: Final[Mapping[Kind, Limits]] = {
    Kind.PAGE: _GUEST(max_bytes=2 * _MIB),
    Kind.INFO: _GUEST(max_bytes=4 * _MIB),
    Kind.QUOTE: _GUEST(max_bytes=_MIB),
    # Whose session it came by is what checks look at.
    Kind.GET_QUOTE: _GUEST(max_bytes=_MIB, verify_tls=False),
    Kind.APP_KEY_QUOTE: _GUEST(max_bytes=_MIB),
    Kind.ATTESTATION: _GUEST(max_bytes=_MIB),
    Kind.EVENT_LOG: _GUEST(max_bytes=4 * _MIB),
    Kind.TCB_INFO: _GUEST(max_bytes=4 * _MIB),
    Kind.APP_COMPOSE: _GUEST(max_bytes=4 * _MIB),
    Kind.APP_CERT: _GUEST(max_bytes=_MIB),
    Kind.SIGNATURE_CHAIN: _ENDORSED(max_bytes=_MIB),
    Kind.COLLATERAL: _ENDORSED(max_bytes=4 * _MIB),
    Kind.PCS_TCB_INFO: _ENDORSED(max_bytes=_MIB),
    Kind.PCS_QE_IDENTITY: _ENDORSED(max_bytes=_MIB),
    Kind.PCS_PCK_CRL: _ENDORSED(max_bytes=4 * _MIB),
    Kind.PCS_ROOT_CA_CRL: _ENDORSED(max_bytes=4 * _MIB),
    Kind.PROOF: _GUEST(max_bytes=_MIB),
    Kind.KMS_TLS: _ENDORSED(max_bytes=64 * _KIB, verify_tls=False),
    Kind.KMS_META: _ENDORSED(max_bytes=256 * _KIB, verify_tls=False),
    Kind.KMS_ENV_KEY: _ENDORSED(max_bytes=256 * _KIB, verify_tls=False),
    Kind.CLOUD_ATTESTATIONS: _GUEST(max_bytes=8 * _MIB),
    Kind.DASHBOARD: _GUEST(max_bytes=8 * _MIB),
    Kind.DNS_TXT: _GUEST(max_bytes=64 * _KIB),
    Kind.DNS_MESSAGE: _GUEST(max_bytes=64 * _KIB),
    Kind.TLS_PEER: _GUEST(max_bytes=256 * _KIB),
    # A search that takes longer is left out: it decides little, and others wait for nobody.
    Kind.CT_SEARCH: _GUEST(max_bytes=8 * _MIB, deadline_seconds=15),
    Kind.CT_CERTIFICATE: _GUEST(max_bytes=256 * _KIB, deadline_seconds=15),
    Kind.INGRESS_QUOTE: _GUEST(max_bytes=_MIB, verify_tls=False),
    Kind.INGRESS_FILE: _GUEST(max_bytes=256 * _KIB, verify_tls=False),
    Kind.GATEWAY_INFO: _GUEST(max_bytes=4 * _MIB),
    Kind.GATEWAY_ACME: _GUEST(max_bytes=8 * _MIB),
    Kind.OCI_MANIFEST: _IMAGE(max_bytes=4 * _MIB),
    Kind.OCI_CONFIG: _IMAGE(max_bytes=4 * _MIB),
    Kind.SIGSTORE_BUNDLE: _IMAGE(max_bytes=4 * _MIB),
    Kind.JSON_RPC: _STATE(max_bytes=8 * _MIB),
    Kind.LOG_SCAN: _LOGS(max_bytes=8 * _MIB, retry_statuses=False),
    Kind.EXPLORER_LOGS: _LOGS(max_bytes=8 * _MIB),
    Kind.SAFE_QUEUE: _STATE(max_bytes=4 * _MIB),
}
"""The limits of each kind of artifact."""
