"""Images → the source that they were built from.

`checks/tie.py` lists how well an image can be tied to its source. The best is what SLSA provenance
signed through Sigstore can show: GitHub's issuer vouches for the workflow, its repository and its
commit, and a public log for the time. Whether the workflow builds what the commit holds, only
reading the workflow tells; rebuilding the image shows more.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks.case import MAX_CLOCK_SKEW, Case
from verifier.checks.engine import (
    Outcome,
    check,
    failed,
    malformed,
    missing,
    not_applicable,
    passed,
    warned,
)
from verifier.checks.provenance.named_images import NamedImage, named_images
from verifier.checks.provenance.sigstore import (
    GITHUB_ISSUER,
    HOSTED_RUNNER,
    Identity,
    SigstoreResult,
    verify_bundle,
)
from verifier.checks.provenance.source_link import (
    Build,
    Provenance,
    Tie,
    as_expected,
    signed_as_demanded,
)
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.images import oci, sigstore
from verifier.evidence.images.oci import ImageConfig, ImageReference
from verifier.evidence.images.oci_resolution import Resolution
from verifier.evidence.images.sigstore import SigstoreBundle
from verifier.model.result import EvidenceRef, JsonValue
from verifier.patterns import pattern

MAX_ATTESTATIONS: Final = 32
_MAX_NAMED: Final = 8
_NOT_FOUND: Final = 404
_DENIED: Final = frozenset({401, 403})
_GONE: Final = frozenset({_NOT_FOUND, 410})
_COMMIT: Final = pattern(r"(?:sha-|git-|g)?([0-9a-f]{7,40})", re.ASCII)


class Images(Struct, frozen=True, kw_only=True):
    """The question: some images, the evidence about them, and what is demanded.

    images        the manifest's images
    bundle        the evidence
    at            the time as of which it is judged, Unix seconds
    signers       the only signers that are accepted; () for the workflows of the repository that an
                  image itself names
    sources       the only GitHub repositories (`owner/name`) that may have been built; () for the
                  signer's own
    expected      (name, digest) pairs of the relying party: the name of a service, or of a
                  repository as the manifest writes it; the digest of the image, of its linux/amd64
                  manifest or of its configuration; () for none
    trusted       whether a recorded refusal of a registry counts
    trusted_root  the trusted root (JSON) of another Sigstore instance; None for the public-good one
    """

    images: tuple[NamedImage, ...]
    bundle: Bundle
    at: int
    signers: tuple[Identity, ...] = ()
    sources: tuple[str, ...] = ()
    expected: tuple[tuple[str, str], ...] = ()
    trusted: bool = True
    trusted_root: bytes | None = None


@check(
    "provenance.images",
    "Each image is pinned, exists, and is tied to a source commit",
    requires=("application.manifest",),
)
def images(case: Case) -> Outcome:
    """Every image of the measured manifest is pinned by digest; the documents of that digest were
    obtained and hash to it; and a workflow of the image's source repository signed, through the
    public-good Sigstore instance, that it built this digest at a named commit. A source that only
    the image's labels name is a warning, as the builder's word, and so are an image that its
    registry shows to nobody, a tag that can be moved, one of an index that a service wants for
    another platform, and labels, tag and attestation that disagree. Bytes that are not those of the
    digest, or another image than expected, fail. Where the policy names who may have built the
    images, no other signature counts, and an image without one is missing evidence. Any repository,
    and any branch, may call a workflow that is made for reuse: the source that was built has to be
    the workflow's own repository at the ref that the policy names, or another repository that the
    policy names."""
    return judge_images_of(case)


def judge_images_of(case: Case) -> Outcome:
    """The result for the images of the measured manifest, once for all guests of one manifest: the
    bundle says the same of their images. Raises what `asked_images` raises."""
    asked = asked_images(case)
    about = tuple(getattr(asked, name) for name in asked.__struct_fields__ if name != "bundle")
    return case.exchanges.once((judge_images, about), lambda: judge_images(asked))


def asked_images(case: Case) -> Images:
    """The question about the images of the measured manifest. Raises MissingEvidence and
    EvidenceError where that cannot be read."""
    demands = case.demands
    return Images(
        images=named_images(case),
        bundle=case.evidence.bundle,
        at=case.question.at,
        signers=tuple(Identity(item) for item in demands.workflows),
        sources=tuple(sigstore.github_repository(item) for item in demands.sources),
        expected=demands.expected_images,
        trusted=case.question.trusted,
        trusted_root=case.reference.sigstore,
    )


def judge_images(asked: Images) -> Outcome:
    """The result for some images, under what is demanded of them."""
    if not (asked.images or asked.expected):
        return not_applicable("the manifest names no image")
    found = examine(asked)
    if asked.signers or asked.sources:
        found = signed_as_demanded(found)
    return judge(as_expected(found, asked.expected))


def judge(found: tuple[Provenance, ...]) -> Outcome:
    """The result for all images: that of the worst one, with what is known of every other."""
    by_tie = {tie: [item for item in found if item.tie is tie] for tie in Tie}
    actual: JsonValue = [item.to_json() for item in found]
    evidence = tuple(dict.fromkeys(ref for item in found for ref in item.evidence))
    counts = ", ".join(f"{len(items)} {tie.value}" for tie, items in by_tie.items() if items)
    rest = f" ({counts})" if len(found) > 1 else ""
    weakest = [item for items in by_tie.values() for item in items if item.tie is not Tie.ATTESTED]
    reason = "; ".join(map(str, weakest[:_MAX_NAMED])) if rest else "".join(i.note for i in weakest)
    if by_tie[Tie.CONTRADICTED]:
        worst = by_tie[Tie.CONTRADICTED][0]
        return failed(f"{worst}{rest}", actual=actual, evidence=evidence, reason=reason)
    if by_tie[Tie.MALFORMED]:
        worst = by_tie[Tie.MALFORMED][0]
        said = f"malformed evidence: {worst}{rest}"
        return malformed(
            said,
            reason=reason,
            actual=actual,
            evidence=evidence,
            remediation="collect again: the registry answers something else than a registry does, "
            "which says nothing about the image",
        )
    unseen = [*by_tie[Tie.UNKNOWN], *by_tie[Tie.UNREACHABLE]]
    if unseen:
        return missing(
            f"{unseen[0]}{rest}",
            reason=reason,
            actual=actual,
            evidence=evidence,
            remediation="audit online, so that registries and attestations are asked",
        )
    disagreements = [f"{item.service}: {text}" for item in found for text in item.disagreements]
    if not weakest and not disagreements:
        return passed(
            f"{_count(found)} attested by a workflow of the source",
            actual=actual,
            evidence=evidence,
            reason="; ".join(filter(None, (item.built_as for item in found[:_MAX_NAMED]))),
        )
    return warned(
        f"{_count(found)}: {counts}",
        actual=actual,
        evidence=evidence,
        reason=disagreements[0] if disagreements else str(weakest[0]),
        remediation="pin every image by digest, publish it, and attest its build "
        "(actions/attest-build-provenance)",
    )


def examine(asked: Images) -> tuple[Provenance, ...]:
    """What the evidence says about each image; one reference is looked at once."""
    attestations = _Attestations(asked.bundle)
    texts = dict.fromkeys(image.reference for image in asked.images)
    known = {text: _examine(text, asked, attestations) for text in texts}
    return tuple(
        replace(known[image.reference], service=image.service).wanted_for(image.platform)
        for image in asked.images
    )


def _examine(text: str, asked: Images, attestations: "_Attestations") -> Provenance:
    unpinned = Provenance(
        service="",
        reference=text,
        tie=Tie.UNPINNED,
        note="it is built on the machine, or another file names it: no digest fixes it",
    )
    if not text:
        return unpinned
    try:
        reference = oci.parse_reference(text)
    except EvidenceError as error:
        return replace(unpinned, note=error.message)
    if not reference.digest:
        tag = reference.tag or "latest"
        return replace(unpinned, note=f"whoever owns the tag {tag!a} decides what it means")
    pinned = replace(unpinned, tie=Tie.UNTIED, note="", digests=(reference.digest,))
    return _Examination(reference, asked, attestations, pinned).result()


class _Attestations:
    """The Sigstore bundles of the evidence, by the digests (hex) that they claim to be about."""

    def __init__(self, bundle: Bundle) -> None:
        self.by_digest: dict[str, list[tuple[Artifact, SigstoreBundle]]] = {}
        self.malformed: list[tuple[Artifact, str]] = []
        self.failed = [
            item
            for item in bundle.artifacts
            if item.kind is Kind.SIGSTORE_BUNDLE and item.sha256 is None
            if item.status != _NOT_FOUND
        ]
        for artifact in bundle.of(Kind.SIGSTORE_BUNDLE):
            try:
                parsed = sigstore.parse_bundles(bundle.blob(artifact), artifact.source)
            except EvidenceError as error:
                self.malformed.append((artifact, error.message))
                continue
            for item in parsed:
                for digest in set(item.digests):
                    self.by_digest.setdefault(digest, []).append((artifact, item))


class _Stop(Exception):
    """The image's documents lead no further: how it is tied, and why."""

    def __init__(self, tie: Tie, note: str) -> None:
        self.tie = tie
        self.note = note


class _Examination:
    """One pinned image: its documents by digest, then what is said about their source."""

    def __init__(
        self,
        reference: ImageReference,
        asked: Images,
        attestations: _Attestations,
        found: Provenance,
    ) -> None:
        self._reference = reference
        self._asked = asked
        self._attestations = attestations
        self._found = found

    def result(self) -> Provenance:
        """What is known about the image."""
        try:
            config = self._config()
        except _Stop as stop:
            return replace(self._found, tie=stop.tie, note=stop.note)
        except EvidenceError as error:
            return replace(self._found, tie=Tie.MALFORMED, note=error.message)
        self._read_labels(config)
        self._read_attestations(config)
        return replace(self._found, disagreements=self._disagreements(config))

    def _config(self) -> ImageConfig:
        way = Resolution(
            lambda digest, _: self._document(Kind.OCI_MANIFEST, digest),
            lambda digest, _: self._document(Kind.OCI_CONFIG, digest),
        )
        try:
            _, config = way.resolve(self._reference.digest)
        finally:
            path = tuple(way.path) or self._found.digests
            digests = (*path, way.config_digest) if way.config_digest else path
            self._found = replace(self._found, digests=digests)
        if config.platform != oci.PLATFORM:
            raise EvidenceError(f"the image is made for {'/'.join(config.platform)!a}")
        return config

    def _document(self, kind: Kind, digest: str) -> bytes:
        """The document with a digest, wherever it came from, or why there is none."""
        bundle = self._asked.bundle
        wanted = digest.removeprefix("sha256:")
        for artifact in bundle.of(kind):
            if artifact.sha256 == wanted:
                evidence = (*self._found.evidence, artifact.ref)
                self._found = replace(self._found, evidence=evidence)
                return bundle.blob(artifact)
        manifest = kind is Kind.OCI_MANIFEST
        url = (self._reference.manifest_url if manifest else self._reference.blob_url)(digest)
        records = [item for item in bundle.artifacts if item.kind is kind and item.source == url]
        for record in records:
            if record.sha256 is None:
                continue
            served = f"{self._reference.registry} served sha256:{record.sha256} as {digest}"
            try:
                codec.parse_json_object(bundle.blob(record), "answer")
            except EvidenceError:
                # A page of a proxy or of a parked name accuses nobody.
                raise _Stop(Tie.MALFORMED, f"{served}, which is no document of images") from None
            raise _Stop(Tie.CONTRADICTED, served)
        raise _absent(records, self._reference, digest, trusted=self._asked.trusted)

    def _read_labels(self, config: ImageConfig) -> None:
        if not config.source:
            tie, note = Tie.UNTIED, f"it has no label {oci.SOURCE_LABEL}"
        elif not sigstore.is_commit(config.revision):
            tie, note = Tie.UNTIED, f"its label {oci.REVISION_LABEL} holds no whole commit id"
        else:
            tie, note = Tie.ASSERTED, "only its own labels name its source"
        self._found = replace(
            self._found, tie=tie, note=note, source=config.source, commit=config.revision
        )

    def _read_attestations(self, config: ImageConfig) -> None:
        """Every attestation that ties the image; else why one of those found does not."""
        builds, evidence, reasons = set[Build](), list[EvidenceRef](), list[str]()
        for places, result in self._results():
            reason = result.failure or self._objection(config, result)
            if reason:
                reasons.append(reason)
                continue
            signer = result.signer
            builds.add(
                Build(
                    source=signer.repository,
                    commit=signer.commit,
                    ref=signer.ref,
                    signer=signer.identity,
                )
            )
            evidence.extend(places)
        if builds:
            evidence = [*self._found.evidence, *evidence]
            self._found = replace(self._found.attested_as(builds), evidence=tuple(evidence))
            return
        not_obtained = [
            item.error
            for item in self._attestations.failed
            if any(digest in item.source for digest in self._found.digests)
        ]
        if reasons or not_obtained:
            why = "an attestation does not count" if reasons else "attestations were not obtained"
            note = f"{self._found.note}; {why}: {min(reasons or not_obtained)}"
            self._found = replace(self._found, note=note)

    def _results(self) -> Iterator[tuple[list[EvidenceRef], SigstoreResult]]:
        """Every attestation of the image's index or manifest, verified, and where it stands. Each
        takes milliseconds, and anybody can make many: of more than the limit none is looked at,
        since which of them would be is nothing to decide by."""
        digests = tuple(item.removeprefix("sha256:") for item in self._found.digests[:-1])
        for artifact, message in self._attestations.malformed:
            if digests[0] in artifact.source:
                yield [], SigstoreResult(failure=message)
        bundles: dict[bytes, SigstoreBundle] = {}
        places: dict[bytes, list[EvidenceRef]] = {}
        for digest in digests:
            for artifact, item in self._attestations.by_digest.get(digest, ()):
                bundles.setdefault(item.raw, item)
                places.setdefault(item.raw, []).append(artifact.at(item.pointer))
        if len(bundles) > MAX_ATTESTATIONS:
            yield [], SigstoreResult(failure=f"there are more than {MAX_ATTESTATIONS} of them")
            return
        for raw, item in bundles.items():
            yield places[raw], self._verified(item, digests)

    def _verified(self, bundle: SigstoreBundle, digests: tuple[str, ...]) -> SigstoreResult:
        """Signed by some workflow on GitHub, or by an accepted signer of another issuer."""
        root = self._asked.trusted_root
        result = verify_bundle(bundle, digests, trusted_root=root)
        for identity in self._asked.signers:
            if result.failure and identity.issuer != GITHUB_ISSUER:
                result = verify_bundle(bundle, digests, identity, root)
        return result

    def _objection(self, config: ImageConfig, result: SigstoreResult) -> str:
        """Why a verified signature does not tie the image to a commit, or the empty string."""
        signer, statement = result.signer, result.statement
        if signer.certified_at > self._asked.at + MAX_CLOCK_SKEW:
            return "it was signed after the time of this audit"
        if statement is None or statement.predicate_type != sigstore.PROVENANCE_TYPE:
            return f"{signer.identity} signed it without saying how it was built"
        repository = sigstore.github_repository(signer.repository)
        stated = sigstore.github_repository(statement.repository) or statement.repository
        named = sigstore.github_repositories(self._reference, config.source)[:1]
        trusted = Identity(signer.identity, signer.issuer) in self._asked.signers
        own = (sigstore.github_repository(signer.identity),)
        sources = self._asked.sources or (own if trusted else named)
        ref = signer.identity.rpartition("@")[2]
        objections = (
            (
                not repository or not sigstore.is_commit(signer.commit),
                f"its signer {signer.identity} is no workflow at a commit",
            ),
            (
                stated not in ("", repository),
                f"a workflow of {repository} says that {stated} was built",
            ),
            (
                statement.commit not in ("", signer.commit),
                f"a workflow at {signer.commit} says that {statement.commit} was built",
            ),
            (
                bool(self._asked.signers) and not trusted,
                f"{signer.identity} signed it, whom the policy does not name",
            ),
            (
                repository not in sources,
                f"{repository} built it, and its source has to be {' or '.join(sources)}"
                if self._asked.signers or self._asked.sources
                else f"{repository} signed it, and the image names {(*named, 'nobody')[0]}",
            ),
            (
                trusted and repository in own and signer.ref != ref,
                f"the source was at {signer.ref or 'no ref'}, and the policy names {ref}",
            ),
            (
                signer.runner != HOSTED_RUNNER,
                f"it was built on a runner of {repository}'s own, which can sign anything",
            ),
        )
        return next((text for holds, text in objections if holds), "")

    def _disagreements(self, config: ImageConfig) -> tuple[str, ...]:
        """Tag, labels and attestation, wherever two of them name different sources."""
        builds, said = self._found.builds, []
        label, tag = _named_commit(config.revision), _named_commit(self._reference.tag)
        attested = {item.commit for item in builds}
        if attested and not _any_begins(attested, label):
            said.append(f"label says commit {label}, attestation {_listed(attested)}")
        sources = {item.source for item in builds}
        repositories = {sigstore.github_repository(source) for source in sources}
        if config.source and sigstore.github_repository(config.source) not in (
            repositories or {sigstore.github_repository(self._found.source)}
        ):
            said.append(f"label says source {config.source}, attestation {_listed(sources)}")
        commits = attested or {label} - {""}
        if commits and not _any_begins(commits, tag):
            said.append(f"tag says commit {tag}, the image {_listed(commits)}")
        return tuple(said)


def _any_begins(commits: set[str], start: str) -> bool:
    """Whether one of the commits is that which is named, of which a start is enough."""
    return any(commit.startswith(start) for commit in commits)


def _listed(texts: set[str]) -> str:
    return " and ".join(sorted(texts)[:_MAX_NAMED])


def _named_commit(text: str) -> str:
    """The commit id, whole or abbreviated, that a tag or label looks like; else empty."""
    match = _COMMIT.fullmatch(text)
    return match[1] if match and not match[1].isdigit() else ""


def _absent(
    records: list[Artifact], reference: ImageReference, digest: str, *, trusted: bool
) -> _Stop:
    """Why there is no document: its registry's refusal, a failed request, or no request."""
    where = f"{digest} at {reference.registry}"
    if not records:
        return _Stop(Tie.UNKNOWN, f"{where}: nobody was asked")
    if not trusted:
        said = f"the bundle alone says that there was no answer: {records[0].error}"
        return _Stop(Tie.UNKNOWN, f"{where}: {said}")
    for record in records:
        if record.status in _DENIED:
            said = (
                "private: not shown without a login, as some registries say of a missing one too "
                f"(HTTP {record.status})"
            )
            return _Stop(Tie.PRIVATE, f"{where}: {said}")
        if record.status in _GONE:
            said = f"missing: its registry has no such image (HTTP {record.status})"
            return _Stop(Tie.MISSING, f"{where}: {said}")
    return _Stop(Tie.UNREACHABLE, f"{where}: no answer: {records[0].error}")


def _count(found: tuple[Provenance, ...]) -> str:
    return f"{len(found)} image{'' if len(found) == 1 else 's'}"


CHECKS: Final = (images,)
