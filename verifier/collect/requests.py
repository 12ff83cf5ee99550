"""What is asked of whom: the requests that collection makes, as plain values."""

import base64
import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence import ingress
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import json_rpc
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.endpoint_label import public_label
from verifier.evidence.chain.safe_service import queue_path
from verifier.evidence.challenges import CHALLENGE, asks_of_session
from verifier.evidence.dns_message import encode_query
from verifier.evidence.domain import dns_source
from verifier.evidence.endpoint import Endpoint
from verifier.evidence.guest.sightings import numbered
from verifier.evidence.td.collateral import CHAIN_HEADERS
from verifier.patterns import pattern

_GUEST_PORT: Final = 8090
_ROUTED: Final = pattern(r"[0-9a-zA-Z]+-[0-9]+[sg]?", re.ASCII)
_APP_KEY: Final = "/prpc/GetAttestationForAppKey?algorithm=ed25519"
_INTEL_PCS: Final = "api.trustedservices.intel.com"
INTEL_ROOT_CRL_URL: Final = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
DNS_URL: Final = "https://dns.google/resolve?type=TXT&name="
RESOLVERS: Final = ("https://dns.google/dns-query", "https://cloudflare-dns.com/dns-query")
"""Two operators that answer DNS messages over HTTPS (RFC 8484)."""
CLOUD_URL: Final = "https://cloud-api.phala.com/api/v1"


class Request(Struct, frozen=True, kw_only=True):
    """One thing to ask.

    kind          what the answer is
    url           where to ask
    subject       the attester that the answer is about; "" for all of them
    body          JSON to POST, which is recorded with the answer; "" for a GET
    keep_headers  the response headers to record; () for none
    label         what is recorded in place of the URL, since an RPC URL may hold a key; "" for the
                  URL
    fallback      the URL to ask when the answer is 404; "" for none
    session       whether the answer is about the TLS session that it comes by
    fresh         whether it needs a connection of its own
    """

    kind: Kind
    url: str
    subject: str = ""
    body: str = ""
    keep_headers: tuple[str, ...] = ()
    label: str = ""
    fallback: str = ""
    session: bool = False
    fresh: bool = False


def guest_url(identifier: str, gateway: str) -> str:
    """Base URL of a guest agent behind a gateway: `https://<id>-8090.<gateway host>`."""
    parts = urlsplit(gateway)
    return f"{parts.scheme}://{identifier}-{_GUEST_PORT}.{parts.netloc}"


def base_of(url: str) -> str:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def gateway_of(base: str) -> tuple[str, str]:
    """Label and gateway URL of a guest agent's base URL: the reverse of `guest_url`. Where the
    guest answers by itself, "" and its own URL."""
    parts = urlsplit(base)
    label, _, host = parts.netloc.partition(".")
    if _ROUTED.fullmatch(label) is None or not host:
        return "", f"{parts.scheme}://{parts.netloc}"
    return label.split("-")[0], f"{parts.scheme}://{host}"


def guest_requests(base: str) -> tuple[Request, ...]:
    """Page, Info and a fresh quote of one guest agent."""
    return (
        Request(kind=Kind.PAGE, url=f"{base}/"),
        _info_request(base),
        Request(kind=Kind.APP_KEY_QUOTE, url=f"{base}{_APP_KEY}"),
    )


def roll_call(base: str, number: int) -> Request:
    """Info once more, of whichever instance the gateway leads this connection to."""
    request = _info_request(base)
    return replace(request, label=numbered(request.url, number), fresh=True)


def _info_request(base: str) -> Request:
    return Request(kind=Kind.INFO, url=f"{base}/prpc/Info", fallback=f"{base}/prpc/Worker.Info")


def challenge_request(url: str, challenge: bytes) -> Request:
    """A quote over a challenge, from where the app gives one."""
    if asks_of_session(url):
        body = json.dumps({"nonce_hex": challenge.hex()}, separators=(",", ":"))
        return Request(kind=Kind.GET_QUOTE, url=url, body=body, session=True)
    return Request(kind=Kind.GET_QUOTE, url=url.replace(CHALLENGE, challenge.hex()))


def ingress_requests(endpoint: Endpoint) -> tuple[Request, ...]:
    """What dstack-ingress publishes about the certificate of an address."""
    base = f"https://{endpoint}{ingress.FOLDER}"
    names = (ingress.LISTING, ingress.ACCOUNT, ingress.certificate_name(endpoint.host))
    return (
        Request(kind=Kind.INGRESS_QUOTE, url=f"{base}{ingress.QUOTE}"),
        *(Request(kind=Kind.INGRESS_FILE, url=f"{base}{name}") for name in names),
    )


def gateway_requests(gateway: str) -> tuple[Request, ...]:
    """What a gateway (URL of its base domain) shows about itself and its TLS keys."""
    parts = urlsplit(gateway)
    base = f"{parts.scheme}://gateway.{parts.netloc}/.dstack"
    return (
        Request(kind=Kind.GATEWAY_INFO, url=f"{base}/app-info"),
        Request(kind=Kind.GATEWAY_ACME, url=f"{base}/acme-info"),
    )


def safe_request(url: str, safe: str, nonce: int) -> Request:
    """What waits for the signers of a Safe, asked of a transaction service."""
    return Request(kind=Kind.SAFE_QUEUE, url=url.rstrip("/") + queue_path(safe, nonce))


def dns_requests(name: str, kind: str) -> tuple[Request, ...]:
    """A question about a name, put to every resolver."""
    query = base64.urlsafe_b64encode(encode_query(name, kind)).rstrip(b"=").decode("ascii")
    return tuple(
        Request(
            kind=Kind.DNS_MESSAGE,
            url=f"{resolver}?dns={query}",
            label=dns_source(resolver, name, kind),
        )
        for resolver in RESOLVERS
    )


def dashboard_request(url: str) -> Request:
    """What a vendor's dashboard says of the app."""
    return Request(kind=Kind.DASHBOARD, url=url)


def pcs_requests(pcs_url: str, platform: tuple[str, str]) -> tuple[Request, ...]:
    """The four documents of Intel's PCS (or a PCCS) for a platform's FMSPC and CA.

    Intel's PCS has no root CRL: Intel publishes it beside its root certificate, as the CRL
    distribution point of that certificate says; a PCCS that lacks it is helped out the same way.
    """
    fmspc, ca = platform
    sgx, tdx = (f"{pcs_url.rstrip('/')}/{tee}/certification/v4" for tee in ("sgx", "tdx"))
    urls = (
        (Kind.PCS_TCB_INFO, f"{tdx}/tcb?fmspc={fmspc}&update=standard"),
        (Kind.PCS_QE_IDENTITY, f"{tdx}/qe/identity?update=standard"),
        (Kind.PCS_PCK_CRL, f"{sgx}/pckcrl?ca={ca}&encoding=der"),
    )
    found = [Request(kind=kind, url=url, keep_headers=CHAIN_HEADERS) for kind, url in urls]
    is_intel = urlsplit(pcs_url).hostname == _INTEL_PCS
    root_crl = INTEL_ROOT_CRL_URL if is_intel else f"{sgx}/rootcacrl"
    fallback = "" if is_intel else INTEL_ROOT_CRL_URL
    found.append(Request(kind=Kind.PCS_ROOT_CA_CRL, url=root_crl, fallback=fallback))
    return tuple(found)


def kms_requests(base: str, app_id: bytes, subject: str) -> tuple[Request, ...]:
    """GetMeta of a KMS, and the env-encrypt key that it signs for an app id."""
    return (
        Request(kind=Kind.KMS_META, url=f"{base}/prpc/KMS.GetMeta?json", subject=subject),
        Request(
            kind=Kind.KMS_ENV_KEY,
            url=f"{base}/prpc/KMS.GetAppEnvEncryptPubKey?json",
            subject=subject,
            body=json.dumps({"app_id": app_id.hex()}, separators=(",", ":")),
        ),
    )


def kms_guest_request(app_id: str, gateway: str, subject: str) -> Request:
    """Info of the guest that a KMS runs in, where the app's own gateway serves it, too."""
    url = f"{guest_url(app_id, gateway)}/prpc/Info"
    return Request(kind=Kind.INFO, url=url, subject=subject)


def rpc_requests(endpoint: str, calls: Iterable[Call]) -> tuple[Request, ...]:
    """JSON-RPC calls at one endpoint."""
    label = public_label(endpoint)
    return tuple(
        Request(
            kind=Kind.JSON_RPC,
            url=endpoint,
            body=json_rpc.encode_request(method, params),
            label=label,
        )
        for method, params in calls
    )


def cloud_request(base: str, app_id: str, subject: str = "") -> Request:
    """Phala Cloud's account of an app, or for its KMS as `subject`, of that."""
    url = f"{base}/apps/{app_id}/attestations"
    return Request(kind=Kind.CLOUD_ATTESTATIONS, url=url, subject=subject)
