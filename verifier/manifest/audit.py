"""The audit of one manifest, or of one Dockerfile: every rule, on the raw bytes.

Nothing inside a manifest can silence a rule. What cannot be judged is said, never passed over.
"""

import hashlib
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.compose.compose_yaml import lines_of
from verifier.evidence.compose.dockerfile import parse_dockerfile
from verifier.evidence.readings import Readings
from verifier.manifest.build import Build
from verifier.manifest.context import ChainFacts, Context
from verifier.manifest.image import Kind, named_images, replaceable_services
from verifier.manifest.model import COMPOSE_POINTER, Manifest
from verifier.manifest.read import read_compose_file, read_manifest
from verifier.manifest.rule import Hit, Need, RuleText
from verifier.manifest.rules.catalogue import BUILD_RULES, RULES
from verifier.manifest.rules.img import unpinned_dockerfile
from verifier.manifest.secret_text import masked
from verifier.model.result import RANKS, Finding, Severity

_CONTRACTS: Final = frozenset(
    {Need.AUTHORIZATION, Need.ALLOWED_HASHES, Need.GOVERNANCE, Need.DEVICES}
)
"""What only contracts tell: nothing to ask for where the measured key provider has none."""
_ASKED: Final = tuple(rule for rule in RULES if rule.asked)


class NotEvaluable(Struct, frozen=True):
    """A rule that could not be judged, and the evidence that it needs."""

    rule: str
    reason: str


class ManifestAudit(Struct, frozen=True, kw_only=True, dict=True):
    """The findings about a manifest, and what could not be judged.

    Of a Dockerfile, line and column of every finding count in it.

    sha256           hash of the raw bytes, lower-case hex: the compose hash, if they are the
                     manifest's
    findings         worst first
    not_evaluable    the rules that could not be judged, and what they lack
    compose_text     the text in which line and column of findings in the compose file count: the
                     compose file, or the Dockerfile; "" where it is hidden or absent, and such
                     findings count in the manifest
    compose_problem  why the compose file could not be judged, or why no builder reads the
                     Dockerfile; "" where nothing is wrong
    dockerfile       whether it is a Dockerfile
    """

    sha256: str
    findings: tuple[Finding, ...]
    not_evaluable: tuple[NotEvaluable, ...]
    compose_text: str
    compose_problem: str
    dockerfile: bool = False

    @cached_property
    def compose_lines(self) -> list[str]:
        """The lines of the compose file; none where it is hidden or absent."""
        return lines_of(self.compose_text) if self.compose_text else []

    def in_text(self, finding: Finding) -> bool:
        """Whether line and column of a finding count in `compose_text`."""
        place = finding.location
        inside = self.dockerfile or place.pointer.startswith(COMPOSE_POINTER)
        return inside and 0 < place.line <= len(self.compose_lines)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of this severity or worse."""
        return tuple(f for f in self.findings if Severity(f.severity).rank <= severity.rank)


def audit_manifest(
    raw: bytes, context: Context | None = None, readings: Readings | None = None
) -> ManifestAudit:
    """Audit a manifest by its raw bytes; `readings` as in `read_manifest`.

    Raises EvidenceError for what is no app-compose manifest. A key that is there twice is a
    finding instead, and leaves everything else not evaluable.
    """
    return _audit(raw, read_manifest(raw, context, readings))


def audit_compose_file(raw: bytes, context: Context | None = None) -> ManifestAudit:
    """Audit a compose file without its manifest: see `read_compose_file`."""
    return _audit(raw, read_compose_file(raw, context))


def audit_dockerfile(raw: bytes) -> ManifestAudit:
    """Audit a Dockerfile by the rules of builds. Raises nothing: what no builder reads is said."""
    try:
        build = Build(parse_dockerfile(raw))
    except EvidenceError as error:
        return ManifestAudit(
            sha256=hashlib.sha256(raw).hexdigest(),
            findings=(),
            not_evaluable=tuple(
                NotEvaluable(rule.id, f"needs {Need.DOCKERFILE.value}") for rule in BUILD_RULES
            ),
            compose_text="",
            compose_problem=masked(error.message),
            dockerfile=True,
        )
    findings = (
        found for rule in BUILD_RULES for found in _found(rule, rule.detect(build), frozenset())
    )
    return ManifestAudit(
        sha256=hashlib.sha256(raw).hexdigest(),
        findings=_sorted(findings),
        not_evaluable=(),
        compose_text=build.dockerfile.text,
        compose_problem="",
        dockerfile=True,
    )


def _audit(raw: bytes, manifest: Manifest) -> ManifestAudit:
    findings: list[Finding] = []
    not_evaluable: list[NotEvaluable] = []
    replaceable = replaceable_services(manifest)
    available = _available(manifest)
    absent = _CONTRACTS if manifest.context.chain.absent else frozenset[Need]()
    for rule in _ASKED:
        if not absent.isdisjoint(rule.needs):
            continue
        if available.issuperset(rule.needs):
            hits = rule.hits(manifest)
            if hits:
                findings.extend(_found(rule, hits, replaceable))
        else:
            missing = next(need for need in rule.needs if need not in available)
            not_evaluable.append(NotEvaluable(rule.id, f"needs {missing.value}"))
    findings.extend(_inline(manifest, replaceable))
    problem = manifest.error.message if manifest.error is not None else ""
    return ManifestAudit(
        sha256=hashlib.sha256(raw).hexdigest(),
        findings=_sorted(findings),
        not_evaluable=tuple(not_evaluable),
        compose_text=manifest.compose_text,
        compose_problem=masked(problem),
    )


def _inline(manifest: Manifest, replaceable: Collection[str]) -> Iterable[Finding]:
    """What the rules of builds find in inline Dockerfiles, except what IMG-011 says of the same
    line at the same severity."""
    said = {
        (hit.service, hit.place.line): hit.severity or unpinned_dockerfile.severity
        for hit in (unpinned_dockerfile.hits(manifest) if manifest.inline_builds else ())
    }
    for service, build in manifest.inline_builds:
        text = service.dockerfile
        if text is None or not isinstance(build, Build):
            continue  # MAN-010 says why
        for rule in BUILD_RULES:
            hits = []
            for hit in rule.detect(build):
                place = text.place_of_line(hit.place.line)
                known = said.get((service.name, place.line)) if text.indent else None
                if known is None or (hit.severity or rule.severity).rank < known.rank:
                    hits.append(replace(hit, place=place, service=service.name))
            yield from _found(rule, hits, replaceable)


def _sorted(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Worst first, then by rule and place."""
    return tuple(
        sorted(
            findings,
            key=lambda f: (
                RANKS[f.severity],
                f.rule,
                f.location.line,
                f.location.column,
                f.location.pointer,
                f.message,
            ),
        )
    )


def _found(rule: RuleText, hits: Iterable[Hit], replaceable: Collection[str]) -> Iterable[Finding]:
    seen: set[tuple[str, str, int, str]] = set()
    for hit in hits:
        line = 0 if hit.place.pointer else hit.place.line
        key = (hit.service, hit.place.pointer, line, hit.message)
        if key in seen:
            continue
        seen.add(key)
        severity = hit.severity or rule.severity
        if rule.escalates and hit.service in replaceable:
            severity = severity.up()
        yield Finding(
            rule=rule.id,
            severity=severity.value,
            title=rule.title,
            service=hit.service,
            location=hit.place,
            message=masked(hit.message),
            fix=rule.fix,
            conditional=hit.conditional,
            names=hit.names,
        )


def _available(manifest: Manifest) -> frozenset[Need]:
    context, chain = manifest.context, manifest.context.chain
    known = {
        Need.COMPOSE: manifest.tree is not None,
        Need.MANIFEST: manifest.app is not None,
        Need.ALLOWED_ENVS: manifest.allowed is not None,
        Need.COMPOSE_HASH: bool(context.compose_hash),
        Need.OS: bool(context.os_kind),
        Need.OS_VERSION: bool(context.os_version),
        Need.KEY_PROVIDER: bool(context.key_provider),
        Need.PAGE: bool(context.pages),
        Need.AUTHORIZATION: chain.hash_allowed is not None,
        Need.ALLOWED_HASHES: chain.other_hashes is not None,
        Need.GOVERNANCE: bool(chain.governors),
        Need.DEVICES: _devices_known(chain),
        Need.KMS_RELEASE: context.kms_dates_keys is not None,
        Need.KMS_CLAIMS: context.kms is not None and context.kms_claims is not None,
        Need.TAGS: not manifest.includes
        and all(item.image.kind is Kind.DIGEST for item in named_images(manifest))
        and all(item.image is not None for item in manifest.services),
    }
    return frozenset(need for need, is_known in known.items() if is_known)


def _devices_known(chain: ChainFacts) -> bool:
    """Whether the contract's answer about machines is whole, or already bad."""
    tcb = chain.tcb_required is not None or not chain.can_require_tcb
    return chain.any_device is True or (chain.any_device is False and tcb)
