"""Sigstore bundles and the in-toto statements in them, parsed and not yet believed.

    one bundle               application/vnd.dev.sigstore.bundle.v0.3+json and earlier versions;
                             beside an image in its registry, the one layer of a manifest
    one bundle a line        what `gh attestation download` writes
    {"attestations": [...]}  GitHub's REST API, "List attestations" of 2022-11-28

A bundle signs either a message digest or a DSSE envelope; the envelope's payload is an in-toto
Statement v1, `{"_type", "subject": [{"name", "digest": {"sha256": …}}], "predicateType",
"predicate"}`. Everything here is the signer's word at best; `checks/sigstore.py` verifies.
"""

import json
import re
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.codec import JsonObject
from verifier.evidence.images.oci import ImageReference
from verifier.model.result import JsonValue
from verifier.patterns import pattern

GITHUB: Final = "github.com"
GITHUB_API: Final = "https://api.github.com"
PROVENANCE_TYPE: Final = "https://slsa.dev/provenance/v1"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_BUNDLES: Final = 100
REMEMBERED: Final = 1 << 17
"""Bytes of evidence that a process may remember after its audit: apps share images and their KMS,
and those of a signature are a tenth of it."""
BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_MEDIA_TYPE: Final = "application/vnd.dev.sigstore.bundle"
_GITHUB_REGISTRY: Final = "ghcr.io"
_OWNER: Final = pattern(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})", re.ASCII)
_NAME: Final = pattern(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", re.ASCII)
_COMMIT: Final = pattern(r"[0-9a-f]{40}", re.ASCII)


class SigstoreBundle(Struct, frozen=True):
    """One bundle: JSON text for the verifier, and where in its file it stands (JSON pointer).

    `digests` are the sha256 digests (hex) that it claims to be about: good for finding the bundles
    that matter for an artifact, for nothing else.
    """

    raw: bytes
    pointer: str
    digests: tuple[str, ...]
    has_statement: bool


class Statement(Struct, frozen=True, kw_only=True):
    """An in-toto statement: the sha256 digests (hex) of its subjects, and what it says of them.

    `repository` (URL) and `commit` are the source that a SLSA provenance predicate names; empty
    for other predicates.
    """

    digests: tuple[str, ...]
    predicate_type: str
    repository: str = ""
    commit: str = ""


def parse_bundles(raw: bytes, what: str) -> tuple[SigstoreBundle, ...]:
    """The bundles of a file or an API answer (see the module's text). Raises EvidenceError."""
    return _known(raw, what) if len(raw) <= REMEMBERED else _parse(raw, what)


def _parse(raw: bytes, what: str) -> tuple[SigstoreBundle, ...]:
    lines = [line for line in raw.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.lstrip()[:1] == b"{" for line in lines):
        if len(lines) > MAX_BUNDLES:
            raise EvidenceError(f"{what}: more than {MAX_BUNDLES} bundles")
        return tuple(_bundle(codec.parse_json_object(line, what), "", what) for line in lines)
    document = codec.parse_json_object(raw, what)
    if "attestations" not in document:
        return (_bundle(document, "", what),)
    items = codec.as_list(document["attestations"], f"{what}: attestations")
    if len(items) > MAX_BUNDLES:
        raise EvidenceError(f"{what}: more than {MAX_BUNDLES} bundles")
    found = []
    for index, value in enumerate(items):
        item = codec.as_object(value, f"{what}: attestations[{index}]")
        if item.get("bundle") is None:
            raise EvidenceError(
                f"{what}: attestations[{index}] names a URL instead of holding a bundle",
                hint="download it with `gh attestation download` and import it as a file",
            )
        found.append(_bundle(item["bundle"], f"/attestations/{index}/bundle", what))
    return tuple(found)


_known: Final = lru_cache(maxsize=16)(_parse)


def parse_statement(payload: bytes, what: str) -> Statement:
    """An in-toto statement. Raises EvidenceError."""
    document = codec.parse_json_object(payload, what)
    if document.get("_type") != STATEMENT_TYPE:
        raise EvidenceError(f"{what}: not an in-toto Statement v1")
    predicate_type = codec.text_field(document, "predicateType", what)
    repository, commit = "", ""
    if predicate_type == PROVENANCE_TYPE:
        repository, commit = _slsa_source(document, what)
    return Statement(
        digests=_subject_digests(document, what),
        predicate_type=predicate_type,
        repository=repository,
        commit=commit,
    )


def attestations_url(repository: str, digest: str) -> str:
    """Where GitHub lists the attestations that a repository (`owner/name`) made of a digest."""
    return f"{GITHUB_API}/repos/{repository}/attestations/{digest}?per_page={MAX_BUNDLES}"


def github_repositories(reference: ImageReference, source: str) -> tuple[str, ...]:
    """The GitHub repositories (`owner/name`) that may have built an image, likeliest first.

    That is the one its source label names and, for an image on GitHub's registry, the one with
    the image's own name. Neither is believed: they only decide whom to ask.
    """
    found = [github_repository(source)]
    if reference.registry == _GITHUB_REGISTRY:
        owner, _, rest = reference.repository.partition("/")
        found.append(github_repository(f"https://{GITHUB}/{owner}/{rest.partition('/')[0]}"))
    return tuple(dict.fromkeys(item for item in found if item))


def github_repository(url: str) -> str:
    """`owner/name`, lower case, of a GitHub repository's URL, or the empty string."""
    try:
        parts = urlsplit(url.removeprefix("git+"))
        plain = parts.scheme == "https" and parts.netloc.lower() in (GITHUB, f"www.{GITHUB}")
    except ValueError:
        return ""
    owner, _, rest = parts.path.strip("/").partition("/")
    name = rest.partition("/")[0].partition("@")[0].removesuffix(".git")
    if not plain or not _OWNER.fullmatch(owner) or not _NAME.fullmatch(name):
        return ""
    return f"{owner}/{name}".lower()


def is_commit(text: str) -> bool:
    """Whether this is a whole Git commit id (SHA-1), lower-case hex."""
    return bool(_COMMIT.fullmatch(text))


def _bundle(value: JsonValue, pointer: str, what: str) -> SigstoreBundle:
    document = codec.as_object(value, f"{what}{pointer}")
    if not codec.text_field(document, "mediaType", what).startswith(_MEDIA_TYPE):
        raise EvidenceError(f"{what}{pointer}: not a Sigstore bundle")
    envelope, message = document.get("dsseEnvelope"), document.get("messageSignature")
    if (envelope is None) == (message is None):
        raise EvidenceError(
            f"{what}{pointer}: neither a message signature nor an envelope, or both"
        )
    if envelope is not None:
        digests = _envelope_digests(codec.as_object(envelope, f"{what}: dsseEnvelope"), what)
    else:
        digests = _message_digests(codec.as_object(message, f"{what}: messageSignature"), what)
    # What a bundle signs stands in it as base64, so that its JSON may be written anew.
    raw = json.dumps(document).encode("ascii")
    return SigstoreBundle(raw, pointer, digests, has_statement=envelope is not None)


def _envelope_digests(envelope: JsonObject, what: str) -> tuple[str, ...]:
    payload = codec.parse_base64(codec.text_field(envelope, "payload", what), f"{what}: payload")
    if codec.text_field(envelope, "payloadType", what) != PAYLOAD_TYPE:
        return ()
    return _subject_digests(codec.parse_json_object(payload, f"{what}: statement"), what)


def _message_digests(message: JsonObject, what: str) -> tuple[str, ...]:
    digest = codec.as_object(message.get("messageDigest") or {}, f"{what}: messageDigest")
    if digest.get("algorithm") != "SHA2_256":
        return ()
    return (codec.parse_base64(codec.text_field(digest, "digest", what), what).hex(),)


def _subject_digests(statement: JsonObject, what: str) -> tuple[str, ...]:
    digests = []
    for value in codec.as_list(statement.get("subject"), f"{what}: subject"):
        subject = codec.as_object(value, f"{what}: subject")
        named = codec.as_object(subject.get("digest"), f"{what}: subject.digest")
        if "sha256" in named:
            digest = codec.parse_hex(named["sha256"], f"{what}: digest", length=32, lower=True)
            digests.append(digest.hex())
    return tuple(digests)


def _slsa_source(document: JsonObject, what: str) -> tuple[str, str]:
    """Repository and commit of a SLSA provenance v1 predicate: buildDefinition's first
    resolvedDependency with a gitCommit, and the workflow's repository (GitHub's build type)."""
    predicate = codec.as_object(document.get("predicate"), f"{what}: predicate")
    build = codec.as_object(predicate.get("buildDefinition"), f"{what}: buildDefinition")
    external = codec.as_object(build.get("externalParameters") or {}, what)
    workflow = external.get("workflow")
    repository = ""
    if isinstance(workflow, dict):
        repository = codec.text_field(workflow, "repository", f"{what}: workflow")
    for value in codec.as_list(build.get("resolvedDependencies") or [], what):
        item = codec.as_object(value, f"{what}: resolvedDependencies")
        digest = codec.as_object(item.get("digest") or {}, f"{what}: resolvedDependencies")
        commit = codec.text_field(digest, "gitCommit", what)
        uri = codec.text_field(item, "uri", what)
        if commit and (not repository or github_repository(uri) == github_repository(repository)):
            return repository or uri, commit
    return repository, ""
