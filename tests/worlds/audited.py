"""How a forged world, or forged evidence, is audited."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from verifier.audit import app_timeline, audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_reference
from verifier.collect.requests import guest_url
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Artifact, Bundle, BundleBuilder, Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.endpoint import parse_endpoint
from verifier.evidence.import_files import import_files
from verifier.lab.knobs import Knobs
from verifier.lab.logged import CT_URL
from verifier.lab.world import GATEWAY_BASE, World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import CheckResult, Claim
from verifier.model.timeline import Timeline
from verifier.policy.policy import BUILT_IN, Policy, load_policy

GATEWAY = f"https://{GATEWAY_BASE}"


@dataclass(frozen=True, repr=False)
class Audited:
    """A world, what was asked about it, what was collected, and what came of it."""

    world: World
    question: Question
    bundle: Bundle
    report: Report
    policy: Policy = field(default_factory=lambda: load_policy("baseline"))

    def check(self, check_id: str) -> list[CheckResult]:
        """The results of one check, one per attester, worst attester first."""
        return [
            result
            for subject in self.report.subjects
            for result in subject.checks
            if result.id == check_id
        ]

    def again(self, bundle: Bundle | None = None, **question: object) -> "Audited":
        """The same question, or a changed one, put to this or another bundle."""
        asked = replace(self.question, **question)
        evidence = bundle or self.bundle
        report = audit_bundle(evidence, self.world.app_id, asked, self.policy)
        return Audited(self.world, asked, evidence, report, self.policy)

    def expecting(self, images: tuple[str, ...]) -> "Audited":
        """The same under a policy that expects these images."""
        return self._under(load_policy("baseline").expecting({"image": images}))

    def under(self, policy: str) -> "Audited":
        """The same under a built-in policy, or under one that extends baseline by this TOML."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "policy.toml"
            path.write_text(f'extends = "baseline"\n{policy}\n', encoding="utf-8")
            return self._under(load_policy(policy if policy in BUILT_IN else str(path)))

    def _under(self, policy: Policy) -> "Audited":
        report = audit_bundle(self.bundle, self.world.app_id, self.question, policy)
        return Audited(self.world, self.question, self.bundle, report, policy)

    def demanding(self, governance: str) -> "Audited":
        """The same under a policy with a [governance] table."""
        return self.under(f"[governance]\n{governance}")

    def imported(self, files: Iterable[tuple[str, bytes]]) -> "Audited":
        """The same question about these files (name, content), for which nobody vouches."""
        return self.again(import_files(list(files), collected_at=self.world.now), trusted=False)

    def files(self, *kinds: Kind) -> list[tuple[str, bytes]]:
        """What was collected of these kinds, as files."""
        return [
            (f"{item.kind.value} {index}", self.bundle.blob(item))
            for index, item in enumerate(self.bundle.artifacts)
            if item.kind in kinds and item.sha256 is not None
        ]

    def claims(self) -> dict[str, Claim]:
        """The claims about the worst attester, by name."""
        return {claim.name: claim for claim in self.report.subjects[0].claims}

    def timeline(self) -> Timeline:
        """The history of the app's contracts. Raises VerifierError where there is none."""
        return app_timeline(self.bundle, self.question)

    def editing(self, edit: Callable[[Artifact, bytes], bytes]) -> "Audited":
        """The same with evidence that was edited after it was collected."""
        return self.again(edited(self.bundle, lambda item, raw: (item, edit(item, raw))))

    def handing_over(self, evidence: Iterable[tuple[Kind, bytes]]) -> "Audited":
        """The same with more evidence about the first attester."""
        return self.again(add(self.bundle, evidence, self.world.now))


def judged(audited: Audited) -> object:
    """What an audit found, without its words."""
    return decisions(audited.report)


def decisions(report: Report) -> object:
    """What a report says, without its words."""
    return [
        (
            subject.name,
            subject.verdict,
            [(item.id, item.status, item.skip_kind) for item in subject.checks],
            subject.claims,
        )
        for subject in report.subjects
    ]


def shuffled(bundle: Bundle, seed: str) -> Bundle:
    """The same evidence in another order, and under other names where a name is only a name: the
    URL of a request, and the endpoint that was asked, are part of what an answer says."""

    def mixed(item: Artifact) -> str:
        return hashlib.sha256(f"{seed} {item}".encode()).hexdigest()

    asked = {Kind.JSON_RPC, Kind.LOG_SCAN, Kind.EXPLORER_LOGS, Kind.OCI_MANIFEST, Kind.OCI_CONFIG}
    asked |= {Kind.SIGSTORE_BUNDLE, Kind.KMS_ENV_KEY, Kind.KMS_META, Kind.DNS_TXT}
    asked |= {Kind.TLS_PEER, Kind.DNS_MESSAGE, Kind.CT_SEARCH, Kind.CT_CERTIFICATE}
    asked |= {Kind.SAFE_QUEUE}
    named = tuple(
        item if item.kind in asked else replace(item, source=f"{mixed(item)}-{item.source[::-1]}")
        for item in sorted(bundle.artifacts, key=mixed)
    )
    return Bundle(named, bundle.blobs)


def add(bundle: Bundle, evidence: Iterable[tuple[Kind, bytes]], at: int) -> Bundle:
    """A bundle with more artifacts about its first attester."""
    builder = BundleBuilder()
    for kind, raw in evidence:
        builder.add(kind, raw, source="handed over", collected_at=at, subject=bundle.subjects[0])
    new = builder.build()
    return Bundle(
        tuple(sorted((*bundle.artifacts, *new.artifacts), key=lambda item: item.kind.value)),
        {**bundle.blobs, **new.blobs},
    )


def edited(bundle: Bundle, edit: Callable[[Artifact, bytes], tuple[Artifact, bytes]]) -> Bundle:
    """A bundle rebuilt after every received artifact went through `edit`."""
    builder = BundleBuilder()
    failures = tuple(item for item in bundle.artifacts if item.sha256 is None)
    for artifact in bundle.artifacts:
        if artifact.sha256 is None:
            continue
        item, raw = edit(artifact, bundle.blob(artifact))
        builder.add(
            item.kind,
            raw,
            source=item.source,
            collected_at=item.collected_at,
            subject=item.subject,
            status=item.status,
            media_type=item.media_type,
            headers=dict(item.headers),
            request=item.request,
            peer=item.peer,
        )
    new = builder.build()
    return Bundle((*new.artifacts, *failures), new.blobs)


def audit(  # noqa: PLR0913 - what a world is asked
    knobs: Knobs,
    *,
    challenge: bytes = b"",
    denied: Callable[[World], JsonObject] | None = None,
    reference: Callable[[JsonObject], JsonObject] | None = None,
    endpoint: str = "",
    challenge_url: str = "",
    instances: tuple[int, ...] = (),
) -> Audited:
    """Collect the evidence of a simulated world in memory and audit it. In `endpoint` and
    `challenge_url`, APP stands for the app id; `instances` are those that the relying party
    names, by their place in the world."""
    world = build(knobs)
    document = json.loads(world.reference())
    if denied is not None:
        document["denied"] = [denied(world)]
    if reference is not None:
        document = reference(document)
    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(json.dumps(document).encode()),
        at=world.now,
        trusted=True,
        challenge=challenge,
        endpoint=parse_endpoint(endpoint.replace("APP", world.app_id)),
        ct_searches=(CT_URL,),
        instances=tuple(world.instance_ids[place] for place in instances),
    )
    everyone = tuple(guest_url(label, GATEWAY) for label in world.instance_ids)
    sources = Sources(
        guests=everyone if knobs.others and knobs.spread is None and not instances else (),
        instances=question.instances,
        responder=world.respond,
        handshakes=world.handshake,
        challenge_url=challenge_url.replace("APP", world.app_id),
        cloud=False,
    )
    bundle = collect_evidence(question, sources, lambda: world.now)
    report = audit_bundle(bundle, world.app_id, question, load_policy("baseline"))
    return Audited(world, question, bundle, report)
