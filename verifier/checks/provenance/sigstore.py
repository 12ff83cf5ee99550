"""Sigstore verification against the public-good instance: the one place that calls sigstore.

Trust starts at the trusted root that ships inside the `sigstore` package (Fulcio's CA, the CT log,
Rekor, the timestamp authority), read from there and from nowhere else: its TUF client, which would
ask the network and keep a cache in the user's home, is never made. What a signer is comes from the
certificate that Fulcio issued for its OIDC identity (sigstore/fulcio docs/oid-info.md); the
extensions below hold DER UTF8Strings and mean what GitHub's issuer says they mean.

A signature proves who signed. Anyone can sign a statement about any digest, so that a signer has
to be compared with whom the relying party, or the image itself, names.
"""

import base64
import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from verifier.evidence.images.sigstore import (
    PAYLOAD_TYPE,
    REMEMBERED,
    SigstoreBundle,
    Statement,
    parse_statement,
)
from verifier.model.identifiers import format_time

if TYPE_CHECKING:
    from cryptography import x509

GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
HOSTED_RUNNER: Final = "github-hosted"
_FULCIO: Final = "1.3.6.1.4.1.57264.1."
_ISSUER, _RUNNER, _REPOSITORY, _COMMIT, _REF = 8, 11, 12, 13, 14
_INSTANCE: Final = "https://tuf-repo-cdn.sigstore.dev"


class Signer(Struct, frozen=True, kw_only=True):
    """Who signed, as Fulcio certified it.

    The fields from `repository` to `runner` are "" for a signer that is no workflow.

    identity      the certificate's subject alternative name: for a workflow its URL with ref; ""
                  where there is not exactly one
    issuer        the OIDC issuer that vouched for this identity; "" when absent
    repository    URL of the source repository
    commit        the commit of the source, 40 hex digits
    ref           the ref of the source, such as `refs/tags/v1`
    runner        where the workflow ran, such as `github-hosted`
    certified_at  when the certificate began, Unix seconds; it lives ten minutes
    """

    identity: str
    issuer: str
    repository: str = ""
    commit: str = ""
    ref: str = ""
    runner: str = ""
    certified_at: int = 0


class SigstoreResult(Struct, frozen=True, kw_only=True):
    """What verification established. `failure` is empty when the bundle verified for the digest;
    the other fields mean something only then. `statement` is None for a bare signature."""

    failure: str
    signer: Signer = Signer(identity="", issuer="")
    statement: Statement | None = None


class SignedStatement(Struct, frozen=True, kw_only=True):
    """What verification of a signed statement established. `failure` is empty when it verified; the
    other fields mean something only then. `log_index` is the place of its entry in the log."""

    failure: str
    payload: bytes = b""
    signer: Signer = Signer(identity="", issuer="")
    log_index: int = 0


class Identity(Struct, frozen=True):
    """A signer that the relying party accepts: certificate identity and OIDC issuer."""

    identity: str
    issuer: str = GITHUB_ISSUER


def verify_bundle(
    bundle: SigstoreBundle,
    digests: tuple[str, ...],
    identity: Identity | None = None,
    trusted_root: bytes | None = None,
) -> SigstoreResult:
    """Verify that a bundle signs an artifact with one of these sha256 digests (lower-case hex).

    Without an `identity`, any workflow that GitHub's issuer vouches for may be the signer: the
    caller has to compare it. `trusted_root` (JSON) replaces the public-good one in tests.
    """
    try:
        verify = _known if len(bundle.raw) <= REMEMBERED else _verified
        return verify(bundle, digests, identity, trusted_root or public_good_root())
    except Exception as error:  # noqa: BLE001 - whatever hostile input does to the library, it is refused
        return SigstoreResult(failure=_first_line(error))


def verify_statement(
    raw: bytes, identity: Identity | None, trusted_root: bytes | None = None
) -> SignedStatement:
    """Verify that an identity signed the in-toto statement in a bundle (JSON).

    None takes any identity: the caller then has to say whose it is, and to rely on nothing.
    `trusted_root` (JSON) is that of another Sigstore instance than the public-good one.
    """
    try:
        from sigstore.models import Bundle  # noqa: PLC0415 - as in _verified

        demanded = _Anybody() if identity is None else _demanded(identity)
        bundle = Bundle.from_json(raw)
        verifier = _verifier(trusted_root or public_good_root())
        kind, payload = verifier.verify_dsse(bundle, demanded)
        if kind != PAYLOAD_TYPE:
            return SignedStatement(failure="what was signed is no statement")
        signer = _signer(bundle.signing_certificate)
        logged = bundle.log_entry._inner.log_index  # noqa: SLF001 - it has no public name
    except Exception as error:  # noqa: BLE001 - as in verify_bundle
        return SignedStatement(failure=_plain_cause(raw, trusted_root) or _first_line(error))
    return SignedStatement(failure="", payload=payload, signer=signer, log_index=logged)


def public_good_root() -> bytes:
    """The trusted root of the public-good instance, as the `sigstore` package ships it."""
    return _shipped("trusted_root.json")


def public_good_config() -> bytes:
    """The same, and whom to ask for a signature, as one client trust config (JSON)."""
    root, services = public_good_root(), _shipped("signing_config.v0.2.json")
    head = b'{"mediaType":"application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",'
    return head + b'"trustedRoot":' + root + b',"signingConfig":' + services + b"}"


def _shipped(name: str) -> bytes:
    from importlib import resources  # noqa: PLC0415
    from urllib.parse import quote  # noqa: PLC0415

    store = resources.files("sigstore._store")
    return store.joinpath(quote(_INSTANCE, safe=""), name).read_bytes()


def _verified(
    bundle: SigstoreBundle,
    digests: tuple[str, ...],
    identity: Identity | None,
    trusted_root: bytes,
) -> SigstoreResult:
    from sigstore.hashes import Hashed  # noqa: PLC0415 - a third of a second to import
    from sigstore.models import Bundle  # noqa: PLC0415
    from sigstore_models.common.v1 import HashAlgorithm  # noqa: PLC0415

    verifier, demanded = _verifier(trusted_root), _demanded(identity)
    parsed = Bundle.from_json(bundle.raw)
    about = sorted(set(bundle.digests) & set(digests))
    if not about:
        return SigstoreResult(failure="the signature is about another artifact")
    statement = None
    if bundle.has_statement:
        kind, payload = verifier.verify_dsse(parsed, demanded)
        if kind != PAYLOAD_TYPE:
            return SigstoreResult(failure=f"the signed payload is {kind!a}, not a statement")
        statement = parse_statement(payload, "in-toto statement")
        if about[0] not in statement.digests:
            return SigstoreResult(failure="the signed statement is about another artifact")
    else:
        hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=bytes.fromhex(about[0]))
        verifier.verify_artifact(hashed, parsed, demanded)
    signer = _signer(parsed.signing_certificate)
    return SigstoreResult(failure="", signer=signer, statement=statement)


_known: Final = lru_cache(maxsize=64)(_verified)


@lru_cache(maxsize=4)
def _verifier(trusted_root: bytes) -> Any:  # noqa: ANN401 - sigstore's, imported late
    """What verifies from a trusted root."""
    from sigstore.models import TrustedRoot  # noqa: PLC0415 - as above
    from sigstore.verify import Verifier  # noqa: PLC0415
    from sigstore_models.trustroot.v1 import TrustedRoot as RootModel  # noqa: PLC0415

    root = TrustedRoot(RootModel.from_json(trusted_root))
    return Verifier(trusted_root=root)


def _demanded(identity: Identity | None) -> Any:  # noqa: ANN401 - sigstore's, imported late
    """What is demanded of a signer; without an identity, to be a workflow of GitHub's issuer."""
    from sigstore.verify import policy  # noqa: PLC0415

    accepted: list[Any] = [policy.OIDCIssuerV2(identity.issuer if identity else GITHUB_ISSUER)]
    if identity is not None:
        accepted.append(policy.Identity(identity=identity.identity))
    return policy.AllOf(accepted)


def _plain_cause(raw: bytes, trusted_root: bytes | None) -> str:
    """Why a bundle was refused, for what sigstore words for its own developers; "" for the rest."""
    from cryptography import x509  # noqa: PLC0415

    try:
        material = json.loads(raw)["verificationMaterial"]
        logs = json.loads(trusted_root or public_good_root())["tlogs"]
        entries = material["tlogEntries"]
        if not entries or not entries[0].get("inclusionProof"):
            return "it has no proof that it stands in a transparency log"
        if entries[0]["logId"] not in [item["logId"] for item in logs]:
            return "the log that it stands in is none of the trusted root's"
        certificate = x509.load_der_x509_certificate(
            base64.b64decode(material["certificate"]["rawBytes"])
        )
        begin, end, logged = (
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
            int(entries[0]["integratedTime"]),
        )
        if not begin <= logged <= end:
            return (
                f"the log took it at {format_time(logged)}, and its certificate is of "
                f"{format_time(begin)} to {format_time(end)}"
            )
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        pass
    return ""


class _Anybody:
    """Demands nothing of a signer."""

    def verify(self, certificate: "x509.Certificate") -> None:
        """Take it, whosever it is."""


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return text or type(error).__name__


def _signer(certificate: "x509.Certificate") -> Signer:
    from cryptography import x509  # noqa: PLC0415

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    identities = [
        *names.get_values_for_type(x509.UniformResourceIdentifier),
        *names.get_values_for_type(x509.RFC822Name),
    ]
    return Signer(
        identity=identities[0] if len(identities) == 1 else "",
        issuer=_extension(certificate, _ISSUER),
        repository=_extension(certificate, _REPOSITORY),
        commit=_extension(certificate, _COMMIT),
        ref=_extension(certificate, _REF),
        runner=_extension(certificate, _RUNNER),
        certified_at=int(certificate.not_valid_before_utc.timestamp()),
    )


def _extension(certificate: "x509.Certificate", number: int) -> str:
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat import asn1  # noqa: PLC0415

    try:
        found = certificate.extensions.get_extension_for_oid(
            x509.ObjectIdentifier(f"{_FULCIO}{number}")
        ).value
    except x509.ExtensionNotFound:
        return ""
    return (
        asn1.decode_der(str, found.value) if isinstance(found, x509.UnrecognizedExtension) else ""
    )
