"""A statement signed for an identity instead of by a key: what Sigstore's services are asked.

sigstore makes the key, which lives for one signature, and holds the certificate's place in the CT
log against the trusted root. What it has to say to Fulcio and Rekor is said by the one client, with
its limits and without redirects. Requests and answers: sigstore/fulcio fulcio.proto
(CreateSigningCertificate), sigstore/rekor openapi.yaml (createLogEntry).

None of it is believed here: whoever signs has the whole bundle verified before it is handed out.
"""

import base64
import json
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct
from sigstore import dsse
from sigstore._internal.fulcio.client import FulcioCertificateSigningResponse
from sigstore._internal.rekor import EntryRequestBody
from sigstore._internal.rekor.client import RekorClient
from sigstore.errors import Error
from sigstore.models import ClientTrustConfig, SigningConfig, TransparencyLogEntry, TrustedRoot
from sigstore.oidc import IdentityError, IdentityToken, detect_credential
from sigstore.sign import SigningContext
from sigstore_models.trustroot.v1 import ClientTrustConfig as ConfigModel
from sigstore_models.trustroot.v1 import TrustedRoot as RootModel

from verifier.collect.budget import Share
from verifier.collect.http import HttpClient
from verifier.collect.limits import Limits
from verifier.errors import CollectError, UsageError
from verifier.evidence.codec import as_list, as_object, as_str, parse_json_object

_LIMITS: Final = Limits(
    share=Share.ENDORSEMENTS,
    max_bytes=1 << 20,
    deadline_seconds=60.0,
    follow_redirects=False,
    # A log entry that was made is not asked for again.
    retry_statuses=False,
)
_REKOR_VERSION: Final = 1
_MOST_CERTIFICATES: Final = 8


class Instance(Struct, frozen=True):
    """A Sigstore instance: its trusted root (JSON), and the base URLs of Fulcio and Rekor."""

    trusted_root: bytes
    authority: str
    log: str

    @property
    def hosts(self) -> tuple[str, ...]:
        """Whom signing asks."""
        return tuple(urlsplit(url).hostname or "" for url in (self.authority, self.log))


def read_instance(trust_config: bytes) -> Instance:
    """The instance that a client trust config (JSON, v0.1) describes. Raises UsageError."""
    try:
        config = ClientTrustConfig(ConfigModel.from_json(trust_config))
        services = SigningConfig(config.signing_config._inner, tlog_version=_REKOR_VERSION)  # noqa: SLF001 - it has no public name
        root = config._inner.trusted_root.to_json().encode()  # noqa: SLF001
        (log, *_), authority = services.get_tlogs(), services.get_fulcio()
    except (Error, ValueError) as error:
        raise UsageError(
            f"it describes no Sigstore instance that this version can sign with: {error!s:.200}",
            hint="a client trust config (JSON): trustedRoot, and signingConfig with caUrls and "
            "rekorTlogUrls of API version 1",
        ) from error
    url = log.url.removesuffix("/api/v1") if isinstance(log, RekorClient) else ""
    return Instance(root, authority.url, url)


def ambient_token() -> str:
    """The OIDC token that this runner gives for Sigstore, "" where it is none that is known.

    The library looks for GitHub Actions, GitLab, Buildkite, CircleCI and Google Cloud, and asks
    them itself. Raises UsageError where the runner is known and gives none.
    """
    try:
        return detect_credential() or ""
    except IdentityError as error:
        raise UsageError(
            f"this runner gives no identity: {error!s:.200}",
            hint="on GitHub, the job has to have `permissions: id-token: write`",
        ) from error


def sign_for_identity(
    statement: bytes, token: str, instance: Instance, client: HttpClient
) -> bytes:
    """A Sigstore bundle (v0.3, JSON with a newline) over an in-toto statement, signed for the
    identity of an OIDC token whose audience is `sigstore`.

    Raises UsageError for a token that is none or has expired, CollectError where a service does not
    answer or answers what cannot be used.
    """
    try:
        identity = IdentityToken(token)
    except IdentityError as error:
        raise UsageError(
            f"the identity token cannot be used: {error}",
            hint="it has to be an OIDC token for the audience `sigstore` that has not expired",
        ) from error
    fulcio: Any = _Authority(client, instance.authority)
    root = TrustedRoot(RootModel.from_json(instance.trusted_root))
    context = SigningContext(fulcio=fulcio, rekor=_Log(client, instance.log), trusted_root=root)
    try:
        with context.signer(identity) as signer:
            return signer.sign_dsse(dsse.Statement(statement)).to_json().encode() + b"\n"
    except CollectError:
        raise
    except Exception as error:  # whatever an answer does to the library
        said = f"{type(error).__name__}: {error!s:.200}".rstrip(": ")
        raise CollectError(
            f"Sigstore's services gave what cannot be used: {said}",
            hint="nothing was signed; try again, or another instance with --trust-config",
        ) from error


class _Authority:
    """Fulcio, as sigstore's signer calls it."""

    def __init__(self, client: HttpClient, url: str) -> None:
        self._ask = _asks(client, f"{url.rstrip('/')}/api/v2/signingCert")
        self.signing_cert = self

    def post(
        self, request: x509.CertificateSigningRequest, identity: IdentityToken
    ) -> FulcioCertificateSigningResponse:
        """The certificate for the key that signed the request, and those above it."""
        body = {
            "certificateSigningRequest": base64.b64encode(
                request.public_bytes(Encoding.PEM)
            ).decode("ascii")
        }
        what = "Fulcio's answer"
        answer = self._ask(body, {"Authorization": f"Bearer {identity}"})
        issued = as_object(answer.get("signedCertificateEmbeddedSct"), what)
        chain = as_list(as_object(issued.get("chain"), what).get("certificates"), what)
        leaf, *above = (
            x509.load_pem_x509_certificate(as_str(item, what).encode())
            for item in chain[:_MOST_CERTIFICATES]
        )
        return FulcioCertificateSigningResponse(leaf, above)


class _Log(RekorClient):
    """Rekor; what an entry is made of is sigstore's to say."""

    def __init__(self, client: HttpClient, url: str) -> None:
        super().__init__(url)
        self._ask = _asks(client, f"{url.rstrip('/')}/api/v1/log/entries")

    def create_entry(self, request: EntryRequestBody) -> TransparencyLogEntry:
        """The entry that the log has from now on."""
        return TransparencyLogEntry._from_v1_response(self._ask(dict(request), {}))  # noqa: SLF001


def _asks(client: HttpClient, url: str) -> Callable[[dict[str, Any], dict[str, str]], Any]:
    """What posts a JSON document to an address, and gives the JSON object that is answered."""

    def ask(document: dict[str, Any], headers: dict[str, str]) -> Any:  # noqa: ANN401 - of any shape
        body = json.dumps(document).encode("ascii")
        response = client.request("POST", url, limits=_LIMITS, headers=headers, body=body)
        return parse_json_object(response.require_ok().body, url)

    return ask
