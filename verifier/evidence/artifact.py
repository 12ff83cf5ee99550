"""What a response in a bundle is, where it came from, and whether it proves itself."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

from verifier.errors import Cause
from verifier.model.result import EvidenceRef


class Kind(StrEnum):
    """What an artifact is. The value is stable: it is written into bundles."""

    PAGE = "page"
    INFO = "info"
    QUOTE = "quote"
    GET_QUOTE = "get-quote"
    APP_KEY_QUOTE = "app-key-quote"
    ATTESTATION = "attestation"
    EVENT_LOG = "event-log"
    TCB_INFO = "tcb-info"
    APP_COMPOSE = "app-compose"
    APP_CERT = "app-cert"
    SIGNATURE_CHAIN = "signature-chain"
    COLLATERAL = "collateral"
    PCS_TCB_INFO = "pcs-tcb-info"
    PCS_QE_IDENTITY = "pcs-qe-identity"
    PCS_PCK_CRL = "pcs-pck-crl"
    PCS_ROOT_CA_CRL = "pcs-root-ca-crl"
    PROOF = "attestation-proof"
    KMS_TLS = "kms-tls"
    KMS_META = "kms-meta"
    KMS_ENV_KEY = "kms-env-key"
    CLOUD_ATTESTATIONS = "cloud-attestations"
    DASHBOARD = "dashboard"
    DNS_TXT = "dns-txt"
    DNS_MESSAGE = "dns-message"
    TLS_PEER = "tls-peer"
    CT_SEARCH = "ct-search"
    CT_CERTIFICATE = "ct-certificate"
    INGRESS_QUOTE = "ingress-quote"
    INGRESS_FILE = "ingress-file"
    GATEWAY_INFO = "gateway-info"
    GATEWAY_ACME = "gateway-acme-info"
    OCI_MANIFEST = "oci-manifest"
    OCI_CONFIG = "oci-config"
    SIGSTORE_BUNDLE = "sigstore-bundle"
    GPU_EVIDENCE = "gpu-evidence"
    GPU_VERDICT = "gpu-verdict"
    GPU_VERDICT_KEYS = "gpu-verdict-keys"
    GPU_RIM = "gpu-rim"
    PLATFORM_ATTESTATION = "platform-attestation"
    PLATFORM_CERT = "platform-cert"
    PLACE = "proof-of-cloud"
    JSON_RPC = "json-rpc"
    LOG_SCAN = "log-scan"
    EXPLORER_LOGS = "explorer-logs"
    SAFE_QUEUE = "safe-queue"


class Trust(StrEnum):
    """Whether an artifact proves itself, or only its collector can vouch for it."""

    SELF_AUTHENTICATING = "self-authenticating"
    WITNESSED = "witnessed"


_WITNESSED: Final = frozenset(
    {
        *(Kind.PAGE, Kind.INFO, Kind.TCB_INFO, Kind.PROOF, Kind.KMS_META, Kind.CLOUD_ATTESTATIONS),
        *(Kind.DASHBOARD, Kind.DNS_TXT, Kind.DNS_MESSAGE, Kind.TLS_PEER, Kind.GATEWAY_INFO),
        *(Kind.JSON_RPC, Kind.LOG_SCAN, Kind.EXPLORER_LOGS, Kind.CT_SEARCH, Kind.CT_CERTIFICATE),
        Kind.SAFE_QUEUE,
    }
)


def trust_of(kind: Kind) -> Trust:
    """The trust of every artifact of this kind."""
    return Trust.WITNESSED if kind in _WITNESSED else Trust.SELF_AUTHENTICATING


class Artifact(Struct, frozen=True, kw_only=True, gc=False):
    """One response, or the record that there was none.

    kind          what it is
    source        the logical URL, or the name of the imported file
    collected_at  when it was received, Unix seconds
    subject       the attester that it is about; "" for all of them
    sha256        hash of the bytes, lower-case hex; None when nothing was received
    size          the number of bytes; 0 when nothing was received
    status        the HTTP status; None where there is none, as with a file
    media_type    the media type that the server states; "" for none
    headers       (name, value) of the response headers that are evidence themselves; () for none
    request       the body that was sent; "" for none
    error         why nothing was received, in words; "" when something was
    cause         the same, as far as what to do next depends on it; `OTHER` also when something was
                  received
    peer          sha256 (hex) of the certificate of the TLS session in which a KMS answered; "" for
                  any other
    exporter      what both ends of that session alone compute (32 bytes, hex); "" where unasked
    """

    kind: Kind
    source: str
    collected_at: int
    subject: str = ""
    sha256: str | None = None
    size: int = 0
    status: int | None = None
    media_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    request: str = ""
    error: str = ""
    cause: Cause = Cause.OTHER
    peer: str = ""
    exporter: str = ""

    @property
    def ref(self) -> EvidenceRef:
        """A reference to the whole blob."""
        return EvidenceRef(self.sha256 or "")

    def at(self, pointer: str) -> EvidenceRef:
        """A reference to one place in the blob."""
        return EvidenceRef(self.sha256 or "", pointer)

    def header(self, name: str) -> str:
        """The value of a kept header (case-insensitive), or the empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")
