"""The bundle: every response as it was received, and a manifest that says where it came from.

A bundle is a directory, or a plain tar of the same names:

    manifest.json       RFC 8785 JSON: {"schema": …, "artifacts": [{kind, trust, subject, source,
                        collected_at, sha256, size, status, media_type, headers, request, error,
                        cause, peer, exporter}]}
    blobs/<sha256>      the raw bytes of each artifact, once

The digest of a bundle is the sha256 of its manifest's bytes. Artifacts are sorted, so that the same
evidence gives the same digest in whatever order it arrived.

Trust is fixed per kind. *Self-authenticating* evidence (quotes, collateral, certificates, key
signatures) proves itself. *Witnessed* evidence (pages, API text, JSON-RPC answers) proves something
only to the one who fetched it, and to those who trust that one.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from verifier.errors import Cause, EvidenceError
from verifier.evidence import bundle_files, codec
from verifier.evidence.bundle_files import MANIFEST_NAME, MAX_BLOB_BYTES
from verifier.evidence.readings import Readings
from verifier.model.identifiers import KEY_HOLDER, LATEST_TIME
from verifier.model.result import EvidenceRef, JsonValue
from verifier.patterns import pattern

T = TypeVar("T")

SCHEMA: Final = "dstack-audit/bundle/v1"
MAX_SUBJECTS: Final = 256
MAX_STATUS: Final = 999

_SUBJECT: Final = pattern(r"[A-Za-z0-9._:/\[\]-]{0,255}", re.ASCII)


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


_CANONICAL: Final = msgspec.json.Encoder(order="sorted")


class Bundle(Struct, frozen=True, dict=True):
    """Artifacts in canonical order, and the bytes they name by sha256."""

    artifacts: tuple[Artifact, ...]
    blobs: Mapping[str, bytes]
    readings: Readings = field(default_factory=Readings)

    @property
    def manifest(self) -> bytes:
        """The canonical manifest, as RFC 8785 has it: names are ASCII, and numbers small integers,
        so only order and spelling are left to do."""
        return _CANONICAL.encode(
            {"schema": SCHEMA, "artifacts": [_to_json(item) for item in self.artifacts]}
        )

    @property
    def digest(self) -> str:
        """sha256 of the canonical manifest, lower-case hex."""
        return hashlib.sha256(self.manifest).hexdigest()

    def of(self, kind: Kind, subject: str | None = None) -> list[Artifact]:
        """The received artifacts of a kind, in canonical order; `subject` None takes every one."""
        received = self._received.get(kind, [])
        return [item for item in received if subject is None or item.subject == subject]

    @cached_property
    def _received(self) -> dict[Kind, list[Artifact]]:
        found: dict[Kind, list[Artifact]] = {}
        for item in self.artifacts:
            if item.sha256 is not None:
                found.setdefault(item.kind, []).append(item)
        return found

    @cached_property
    def collected_until(self) -> int:
        """When the last artifact was collected (Unix seconds); 0 without any."""
        return max((item.collected_at for item in self.artifacts), default=0)

    def blob(self, artifact: Artifact) -> bytes:
        """The raw bytes of a received artifact."""
        if artifact.sha256 is None:
            raise EvidenceError(f"{artifact.source}: nothing was received: {artifact.error}")
        return self.blobs[artifact.sha256]

    def read(self, artifact: Artifact, parse: Callable[[bytes, str], T], what: str) -> T:
        """What `parse` makes of a received artifact (see `Readings`). Raises EvidenceError."""
        return self.readings.read(artifact.sha256 or "", self.blob(artifact), parse, what)

    @property
    def subjects(self) -> tuple[str, ...]:
        """The names of the attesters that gave evidence, sorted; the empty name when none did."""
        return tuple(name for name in self._named if not name.startswith(KEY_HOLDER)) or ("",)

    @property
    def key_holders(self) -> tuple[str, ...]:
        """The names of the TDs of KMSs that gave evidence, sorted."""
        return tuple(name for name in self._named if name.startswith(KEY_HOLDER))

    @property
    def _named(self) -> list[str]:
        return sorted({item.subject for item in self.artifacts if item.subject and item.sha256})


class BundleBuilder:
    """Collects artifacts, after those of a bundle; `build` puts them in canonical order. Safe to
    share between threads: each addition is one append or one dictionary store."""

    def __init__(self, bundle: Bundle | None = None) -> None:
        self._artifacts: list[Artifact] = list(bundle.artifacts) if bundle else []
        self._blobs: dict[str, bytes] = dict(bundle.blobs) if bundle else {}
        self._readings = bundle.readings if bundle else Readings()

    def add(  # noqa: PLR0913 - the fields of one artifact
        self,
        kind: Kind,
        raw: bytes,
        *,
        source: str,
        collected_at: int,
        subject: str = "",
        status: int | None = None,
        media_type: str = "",
        headers: Mapping[str, str] | None = None,
        request: str = "",
        peer: str = "",
        exporter: str = "",
    ) -> Artifact:
        """Record received bytes."""
        digest = hashlib.sha256(raw).hexdigest()
        artifact = Artifact(
            kind=kind,
            source=source,
            collected_at=collected_at,
            subject=subject,
            sha256=digest,
            size=len(raw),
            status=status,
            media_type=media_type,
            headers=tuple(sorted((headers or {}).items())),
            request=request,
            peer=peer,
            exporter=exporter,
        )
        self._blobs[digest] = raw
        self._artifacts.append(artifact)
        return artifact

    def add_failure(  # noqa: PLR0913 - the fields of one artifact
        self,
        kind: Kind,
        *,
        source: str,
        collected_at: int,
        error: str,
        cause: Cause = Cause.OTHER,
        subject: str = "",
        status: int | None = None,
        request: str = "",
    ) -> Artifact:
        """Record that a source gave nothing, and why."""
        artifact = Artifact(
            kind=kind,
            source=source,
            collected_at=collected_at,
            subject=subject,
            status=status,
            request=request,
            error=error,
            cause=cause,
        )
        self._artifacts.append(artifact)
        return artifact

    def discard(self, kind: Kind, source: str, request: str) -> None:
        """Take back every artifact of a kind that one source gave to a request, or did not give."""
        for item in list(self._artifacts):
            if (item.kind, item.source, item.request) == (kind, source, request):
                self._artifacts.remove(item)

    def build(self) -> Bundle:
        """The bundle of everything recorded so far; exact repetitions count once."""
        artifacts = tuple(sorted(set(self._artifacts), key=_sort_key))
        used = {item.sha256 for item in artifacts}
        blobs = {digest: raw for digest, raw in list(self._blobs.items()) if digest in used}
        return Bundle(artifacts, blobs, self._readings)


def save(bundle: Bundle, path: Path) -> None:
    """Write the bundle: as a tar if the name ends in `.tar`, else as a new or empty directory.

    There is all of it or nothing. Raises EvidenceError, also for a bundle that `load` would refuse:
    before anything is written.
    """
    files = files_of(bundle)
    total = 0
    for name, raw in files.items():
        total += bundle_files.check_size(name, len(raw), total, path)
    _check_subjects(bundle, path)
    _parse_manifest(bundle.manifest, str(path))
    bundle_files.write(files, path, f".{bundle.digest[:16]}.part")


def to_tar(bundle: Bundle) -> bytes:
    """The bundle as a plain sorted tar with zero times: the same bundle gives the same bytes."""
    return bundle_files.to_tar(files_of(bundle))


def files_of(bundle: Bundle) -> dict[str, bytes]:
    """The files of a bundle by name, as `save` writes them."""
    used = sorted({item.sha256 for item in bundle.artifacts if item.sha256 is not None})
    blobs = {f"blobs/{digest}": bundle.blobs[digest] for digest in used}
    return {MANIFEST_NAME: bundle.manifest} | blobs


def _check_subjects(bundle: Bundle, path: Path) -> None:
    if (count := len(bundle.subjects) + len(bundle.key_holders)) > MAX_SUBJECTS:
        raise EvidenceError(f"{path}: {count} attesters, more than {MAX_SUBJECTS}")


def load(path: Path) -> Bundle:
    """Read a bundle from a directory or a plain tar.

    Raises EvidenceError for a wrong digest, a missing, extra or duplicate blob, a link, a name
    outside the bundle, or a manifest that is not in canonical form.
    """
    return from_files(read_files(path), path)


def read_files(path: Path) -> dict[str, bytes]:
    """The files of a bundle by name, not yet held against each other. Raises EvidenceError."""
    try:
        return bundle_files.read(path)
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot read the bundle: {error.strerror or error}",
            hint="name a directory or tar that `--save` or `verify import` wrote",
        ) from error


def from_files(files: Mapping[str, bytes], path: Path) -> Bundle:
    """The bundle of these files, which errors say are at `path`. Raises EvidenceError."""
    if MANIFEST_NAME not in files:
        raise EvidenceError(
            f"{path}: no {MANIFEST_NAME}: this is not a bundle",
            hint="`verify import FILE… -o BUNDLE` makes a bundle from evidence files",
        )
    manifest = files[MANIFEST_NAME]
    blobs = {name: raw for name, raw in files.items() if name != MANIFEST_NAME}
    artifacts = _parse_manifest(manifest, str(path))
    bundle = Bundle(artifacts, _check_blobs(artifacts, blobs, str(path)))
    _check_subjects(bundle, path)
    if bundle.manifest != manifest:
        raise EvidenceError(f"{path}: {MANIFEST_NAME} is not in canonical form")
    return bundle


def _sort_key(item: Artifact) -> tuple[str, ...]:
    return (
        item.kind.value,
        item.subject,
        item.source,
        item.request,
        item.sha256 or "",
        str(item.collected_at),
        item.error,
        item.cause.value,
        str(item.status),
        item.media_type,
        repr(item.headers),
        str(item.size),
        item.peer,
        item.exporter,
    )


def _to_json(item: Artifact) -> dict[str, JsonValue]:
    return {
        "kind": item.kind.value,
        "trust": trust_of(item.kind).value,
        "subject": item.subject,
        "source": item.source,
        "collected_at": item.collected_at,
        "sha256": item.sha256,
        "size": item.size,
        "status": item.status,
        "media_type": item.media_type,
        "headers": dict(item.headers),
        "request": item.request,
        "error": item.error,
        **({"cause": item.cause.value} if item.cause else {}),
        **({"peer": item.peer} if item.peer else {}),
        **({"exporter": item.exporter} if item.exporter else {}),
    }


def _parse_manifest(raw: bytes, where: str) -> tuple[Artifact, ...]:
    what = f"{where}/{MANIFEST_NAME}"
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(
            f"{what}: schema {document.get('schema')!r} is not {SCHEMA!r}",
            hint="the bundle was written by another version of this tool",
        )
    items = codec.as_list(document.get("artifacts"), f"{what}: artifacts")
    artifacts = tuple(
        _parse_artifact(codec.as_object(item, f"{what}: artifacts[{index}]"), f"{what}[{index}]")
        for index, item in enumerate(items)
    )
    if list(artifacts) != sorted(set(artifacts), key=_sort_key):
        raise EvidenceError(f"{what}: artifacts are not sorted, or one stands twice")
    return artifacts


def _parse_artifact(item: codec.JsonObject, what: str) -> Artifact:
    try:
        kind = Kind(codec.text_field(item, "kind", what))
    except ValueError as error:
        raise EvidenceError(f"{what}: unknown kind of artifact {item.get('kind')!r}") from error
    try:
        cause = Cause(codec.text_field(item, "cause", what))
    except ValueError as error:
        raise EvidenceError(f"{what}: unknown cause of a failure {item.get('cause')!r}") from error
    if item.get("trust") != trust_of(kind).value:
        raise EvidenceError(f"{what}: trust of {kind.value} is fixed as {trust_of(kind).value}")
    if not _SUBJECT.fullmatch(codec.text_field(item, "subject", what)):
        raise EvidenceError(f"{what}: the subject is not a host and an id")
    sha256 = item.get("sha256")
    headers = codec.as_object(item.get("headers"), f"{what}.headers")
    return Artifact(
        kind=kind,
        subject=codec.text_field(item, "subject", what),
        source=codec.text_field(item, "source", what),
        collected_at=_number(item, "collected_at", LATEST_TIME, what),
        sha256=None if sha256 is None else codec.as_str(sha256, f"{what}.sha256"),
        size=_number(item, "size", MAX_BLOB_BYTES, what),
        status=None if item.get("status") is None else _number(item, "status", MAX_STATUS, what),
        media_type=codec.text_field(item, "media_type", what),
        headers=tuple(sorted((key, codec.as_str(value, what)) for key, value in headers.items())),
        request=codec.text_field(item, "request", what),
        error=codec.text_field(item, "error", what),
        cause=cause,
        peer=codec.text_field(item, "peer", what),
        exporter=codec.text_field(item, "exporter", what),
    )


def _number(item: codec.JsonObject, name: str, limit: int, what: str) -> int:
    value = codec.as_int(item.get(name), f"{what}.{name}")
    if not 0 <= value <= limit:
        raise EvidenceError(f"{what}.{name}: {value} is out of range")
    return value


def _check_blobs(
    artifacts: Iterable[Artifact], files: Mapping[str, bytes], where: str
) -> dict[str, bytes]:
    blobs: dict[str, bytes] = {}
    for item in artifacts:
        if item.sha256 is None:
            continue
        raw = files.get(f"blobs/{item.sha256}")
        if raw is None:
            raise EvidenceError(f"{where}: blob {item.sha256} of {item.source} is missing")
        if len(raw) != item.size or hashlib.sha256(raw).hexdigest() != item.sha256:
            raise EvidenceError(f"{where}: blob {item.sha256} does not have the bytes it names")
        blobs[item.sha256] = raw
    extra = sorted(set(files) - {f"blobs/{digest}" for digest in blobs})
    if extra:
        raise EvidenceError(f"{where}: {extra[0]!r} is not named by the manifest")
    return blobs
