"""One side of a comparison: a manifest by its raw bytes, and what else is known of its guest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.app_compose import COMPOSE_RUNNERS, AppCompose, parse_app_compose
from verifier.evidence.compose_yaml import Mapping as Tree
from verifier.evidence.compose_yaml import parse_compose
from verifier.manifest.audit import ManifestAudit, audit_manifest
from verifier.manifest.context import Context
from verifier.manifest.model import Manifest
from verifier.model.result import JsonValue

_MASKED: Final = frozenset({"", "[MASKED]"})  # what Phala's Trust Center shows of a private app
_HIDDEN: Final = "docker_compose_file is absent, empty or hidden"
_PROVEN: Final = frozenset({"hardware", "measured", "chain", "kms", "reference"})


@dataclass(frozen=True, slots=True)
class Fact:
    """Something known about the guest outside of its manifest, and its basis (`model.Basis`)."""

    value: JsonValue
    basis: str

    @property
    def proven(self) -> bool:
        """Whether more than somebody's word supports it."""
        return self.basis in _PROVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A manifest, parsed and audited. `name` says where it came from.

    `problem` says why its compose file is not comparable ("" = it is). `facts` are by claim name.
    """

    name: str
    raw: bytes
    app: AppCompose
    manifest: Manifest
    audit: ManifestAudit
    problem: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """The hash of the raw bytes, which is the compose hash if they are the manifest's."""
        return self.audit.sha256

    @property
    def hidden(self) -> bool:
        """Whether the compose file is not shown: equal placeholders say nothing about it."""
        return self.problem == _HIDDEN

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
    tree, problem = _compose(app)
    manifest = Manifest(app, tree, context, app.compose or "")
    return Document(
        name=name,
        raw=raw,
        app=app,
        manifest=manifest,
        audit=audit_manifest(raw, context),
        problem=problem,
        facts=known,
    )


def _compose(app: AppCompose) -> tuple[Tree | None, str]:
    if app.runner not in COMPOSE_RUNNERS:
        return None, ""  # a dead text: comparing it says nothing
    if app.compose is None or app.compose.strip() in _MASKED:
        return None, _HIDDEN
    try:
        return parse_compose(app.compose, "docker_compose_file"), ""
    except EvidenceError as error:
        return None, error.message


def _context(facts: Mapping[str, Fact]) -> Context:
    """The OS, where more than somebody's word says which one it is."""
    image = facts.get("os_image")
    row = image.value if image and image.proven and isinstance(image.value, dict) else {}
    kind, release = row.get("kind"), row.get("release")
    return Context(
        os_kind=kind if isinstance(kind, str) else "",
        os_version=release if isinstance(release, str) else "",
    )
