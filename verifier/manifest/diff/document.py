"""One side of a comparison: a manifest by its raw bytes, and what else is known of its guest.

Or a compose file alone: then everything around it, and so the compose hash, is not known.
"""

import json
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.compose.app_compose import COMPOSE_RUNNERS, AppCompose, parse_app_compose
from verifier.manifest.audit import ManifestAudit, audit_compose_file, audit_manifest
from verifier.manifest.context import Context
from verifier.manifest.model import Manifest
from verifier.manifest.read import HIDDEN, manifest_of, read_compose_file
from verifier.model.result import JsonValue

_PROVEN: Final = frozenset({"hardware", "measured", "chain", "kms", "reference"})


class Fact(Struct, frozen=True):
    """Something known about the guest outside of its manifest, and its basis (`model.Basis`)."""

    value: JsonValue
    basis: str

    @property
    def proven(self) -> bool:
        """Whether more than somebody's word supports it."""
        return self.basis in _PROVEN


class Document(Struct, frozen=True, kw_only=True):
    """A manifest, parsed and audited.

    name          where it came from
    raw           its bytes; those of the compose file with `compose_only`
    app           the manifest as the guest reads it; with `compose_only` it knows nothing else
    manifest      the same as the rules read it
    audit         the findings about it
    problem       why its compose file is not comparable; "" where it is
    facts         what is known about the guest besides, by claim name
    compose_only  whether it is a compose file alone
    """

    name: str
    raw: bytes
    app: AppCompose
    manifest: Manifest
    audit: ManifestAudit
    problem: str
    facts: Mapping[str, Fact] = {}
    compose_only: bool = False

    @property
    def sha256(self) -> str:
        """The hash of the raw bytes, which is the compose hash if they are the manifest's."""
        return self.audit.sha256

    @property
    def compose_hash(self) -> str:
        """The hash of the manifest, "" where only its compose file is known."""
        return "" if self.compose_only else self.sha256

    @property
    def hidden(self) -> bool:
        """Whether the compose file is not shown: equal placeholders say nothing about it."""
        return self.problem == HIDDEN

    @property
    def measured_hash(self) -> str:
        """The compose hash that the guest's evidence states ("" = there is none)."""
        fact = self.facts.get("compose_hash")
        return fact.value.lower().removeprefix("0x") if fact and isinstance(fact.value, str) else ""


def read_document(name: str, raw: bytes, facts: Mapping[str, Fact] | None = None) -> Document:
    """The document of a manifest's raw bytes.

    Raises EvidenceError for what is no app-compose manifest, and for one with duplicate keys:
    nobody can say which of two values a guest reads.
    """
    known = dict(facts or {})
    context = _context(known)
    try:
        app = parse_app_compose(raw)
    except EvidenceError as error:
        raise EvidenceError(f"{name}: {error.message}", hint=error.hint) from error
    manifest = manifest_of(app, context)
    return Document(
        name=name,
        raw=raw,
        app=app,
        manifest=manifest,
        audit=audit_manifest(raw, context),
        problem=_problem(manifest),
        facts=known,
    )


def read_compose_document(name: str, raw: bytes) -> Document:
    """The document of a compose file alone. Raises EvidenceError for what is no YAML mapping."""
    try:
        manifest = read_compose_file(raw)
        if manifest.error is not None:
            raise manifest.error
    except EvidenceError as error:
        raise EvidenceError(f"{name}: {error.message}", hint=error.hint) from error
    app = parse_app_compose(
        json.dumps({"docker_compose_file": manifest.compose_text}).encode("ascii")
    )
    return Document(
        name=name,
        raw=raw,
        app=app,
        manifest=manifest,
        audit=audit_compose_file(raw),
        problem="",
        compose_only=True,
    )


def services_alone(document: Document) -> Document:
    """A document reduced to its compose file, to be compared with one that is nothing else."""
    if document.compose_only or document.problem or document.app.compose is None:
        return document
    return read_compose_document(document.name, document.app.compose.encode("utf-8"))


def _problem(manifest: Manifest) -> str:
    """Why the compose file cannot be compared; for one that no runner reads, nothing is wrong,
    since it has no effect."""
    dead = manifest.app is not None and manifest.app.runner not in COMPOSE_RUNNERS
    return "" if dead or manifest.error is None else manifest.error.message


def _context(facts: Mapping[str, Fact]) -> Context:
    """The OS, where more than somebody's word says which one it is."""
    image = facts.get("os_image")
    row = image.value if image and image.proven and isinstance(image.value, dict) else {}
    kind, release = row.get("kind"), row.get("release")
    return Context(
        os_kind=kind if isinstance(kind, str) else "",
        os_version=release if isinstance(release, str) else "",
    )
