"""Sigstore verification against the public-good instance: the one place that calls sigstore.

Trust starts at the trusted root that ships inside the `sigstore` package (Fulcio's CA, the CT log,
Rekor, the timestamp authority), read from there and from nowhere else: its TUF client, which would
ask the network and keep a cache in the user's home, is never made. What a signer is comes from the
certificate that Fulcio issued for its OIDC identity (sigstore/fulcio docs/oid-info.md); the
extensions below hold DER UTF8Strings and mean what GitHub's issuer says they mean.

A signature proves who signed. Anyone can sign a statement about any digest, so that a signer has
to be compared with whom the relying party, or the image itself, names.
"""

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from verifier.evidence.images.sigstore import (
    PAYLOAD_TYPE,
    SigstoreBundle,
    Statement,
    parse_statement,
)

if TYPE_CHECKING:
    from cryptography import x509

GITHUB_ISSUER: Final = "https://token.actions.githubusercontent.com"
HOSTED_RUNNER: Final = "github-hosted"
_FULCIO: Final = "1.3.6.1.4.1.57264.1."
_ISSUER, _SIGNER_URI, _RUNNER, _REPOSITORY, _COMMIT, _REF = 8, 9, 11, 12, 13, 14
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
    signer: Signer | None = None
    statement: Statement | None = None


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
        return _verified(bundle, digests, identity, trusted_root)
    except Exception as error:  # noqa: BLE001 - whatever hostile input does to the library, it is refused
        return SigstoreResult(failure=_first_line(error))


def signed_payload(
    raw: bytes, identity: Identity, trusted_root: bytes | None = None
) -> tuple[bytes, str]:
    """The in-toto statement that an identity signed in a bundle (JSON), and "", or b"" and why the
    bundle is refused. `trusted_root` (JSON) replaces the public-good one in tests."""
    try:
        verifier, demanded = _verifier(identity, trusted_root)
        from sigstore.models import Bundle  # noqa: PLC0415

        kind, payload = verifier.verify_dsse(Bundle.from_json(raw), demanded)
    except Exception as error:  # noqa: BLE001 - as in verify_bundle
        return b"", _first_line(error)
    return (payload, "") if kind == PAYLOAD_TYPE else (b"", "what was signed is no statement")


def public_good_root() -> bytes:
    """The trusted root of the public-good instance, as the `sigstore` package ships it."""
    from importlib import resources  # noqa: PLC0415
    from urllib.parse import quote  # noqa: PLC0415

    store = resources.files("sigstore._store")
    return store.joinpath(quote(_INSTANCE, safe=""), "trusted_root.json").read_bytes()


def _verified(
    bundle: SigstoreBundle,
    digests: tuple[str, ...],
    identity: Identity | None,
    trusted_root: bytes | None,
) -> SigstoreResult:
    from sigstore.hashes import Hashed  # noqa: PLC0415 - a third of a second to import
    from sigstore.models import Bundle  # noqa: PLC0415
    from sigstore_models.common.v1 import HashAlgorithm  # noqa: PLC0415

    verifier, demanded = _verifier(identity, trusted_root)
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


def _verifier(identity: Identity | None, trusted_root: bytes | None) -> tuple[Any, Any]:
    """What verifies from a trusted root, and what it demands of the signer."""
    from sigstore.models import TrustedRoot  # noqa: PLC0415 - as above
    from sigstore.verify import Verifier, policy  # noqa: PLC0415
    from sigstore_models.trustroot.v1 import TrustedRoot as RootModel  # noqa: PLC0415

    root = TrustedRoot(RootModel.from_json(trusted_root or public_good_root()))
    accepted: list[Any] = [policy.OIDCIssuerV2(identity.issuer if identity else GITHUB_ISSUER)]
    if identity is not None:
        accepted.append(policy.Identity(identity=identity.identity))
    return Verifier(trusted_root=root), policy.AllOf(accepted)


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
