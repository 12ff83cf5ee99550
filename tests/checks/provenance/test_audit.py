"""`provenance.images` in a whole audit: what is collected, demanded, imported and replayed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.evidence.images.images import encode
from tests.policy.policies import judged, result, waiver, with_compose
from tests.worlds.audited import Audited, audit
from verifier.audit import audit_bundle
from verifier.checks.case import Case
from verifier.checks.provenance.named_images import named_images
from verifier.collect import container_registry
from verifier.collection import image_references
from verifier.errors import EvidenceError, MissingEvidence, PolicyError, UsageError
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.bundle import load as load_bundle
from verifier.evidence.bundle import save as save_bundle
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.import_files import import_files, recognise
from verifier.evidence.subject import read_subject
from verifier.lab.knobs import Knobs
from verifier.lab.registry import WEB
from verifier.lab.response import Response, answer_json
from verifier.lab.sigstore import Workflow
from verifier.model.result import Anchor, Basis, CheckResult, SkipKind, Status, Verdict
from verifier.policy.explain import effective_policy
from verifier.policy.policy import Policy, load_policy
from verifier.reference.values import parse_reference
from verifier.report.audit.json import render_json

CHECK = "provenance.images"
OTHER = f"sha256:{'ab' * 32}"
PRIVATE = replace(WEB, repository="lab/private")


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Policy]:
    def load(text: str) -> Policy:
        (tmp_path / "policy.toml").write_text(f'extends = "baseline"\n{text}')
        return load_policy(str(tmp_path / "policy.toml"))

    return load


def found(audited: Audited, policy: Policy | None = None, **question: Any) -> CheckResult:
    report = judged(audited, policy or load_policy("baseline"), **question)
    return result(report, CHECK)


def without(bundle: Bundle, *kinds: Kind) -> Bundle:
    return Bundle(tuple(i for i in bundle.artifacts if i.kind not in kinds), bundle.blobs)


def case_of(audited: Audited) -> Case:
    subject = read_subject(audited.bundle, audited.bundle.subjects[0])
    return Case(subject, audited.question, Exchanges(audited.bundle))


def named(compose: str, **fields: Any) -> list[tuple[str, str]]:
    case = case_of(audit(Knobs(edit_manifest=with_compose(compose, **fields))))
    return [(item.service, item.reference) for item in named_images(case)]


def is_of_web(source: str) -> bool:
    """Whether an address is about the app's image, and not one of its KMS."""
    return "web-nginx" in source or WEB.reference.rpartition("@")[2] in source


def test_the_image_is_collected_attested_and_claimed(honest: Audited) -> None:
    assert honest.report.verdict is Verdict.AFFIRMING
    assert found(honest).status is Status.PASS
    kinds = [
        item.kind
        for item in honest.bundle.artifacts
        if item.kind.startswith(("oci", "sig")) and is_of_web(item.source)
    ]
    assert kinds == [Kind.OCI_CONFIG, Kind.OCI_MANIFEST, Kind.SIGSTORE_BUNDLE]
    claim = next(item for item in honest.report.subjects[0].claims if item.name == "images")
    assert claim.value == [{"service": "web", "image": WEB.reference}]
    assert claim.basis is Basis.MEASURED
    assert not any("whether they exist" in gap for gap in honest.report.gaps)


def test_it_replays_byte_for_byte(honest: Audited, tmp_path: Path) -> None:
    save_bundle(honest.bundle, tmp_path / "b.tar")
    again = honest.again(load_bundle(tmp_path / "b.tar"))
    assert render_json(again.report) == render_json(honest.report)


def test_every_report_of_a_simulated_signature_says_so(honest: Audited) -> None:
    assert found(honest).anchor is Anchor.SIMULATED
    assert honest.report.root_note.startswith("SIMULATED")


def test_only_the_reference_of_a_simulated_world_holds_a_trusted_root(honest: Audited) -> None:
    raw = honest.world.reference()
    with pytest.raises(UsageError, match="only a simulated world"):
        parse_reference(raw, unsafe="")
    document = json.loads(raw)
    del document["sigstore"]
    public = parse_reference(json.dumps(document).encode(), unsafe="SIMULATED")
    assert public.sigstore is None
    outcome = found(honest, reference=public)
    assert outcome.status is Status.WARN
    assert "an attestation does not count" in outcome.reason


@pytest.mark.parametrize("name", ["genuine", "baseline", "strict"])
def test_without_evidence_it_is_missing_as_the_policy_asks(honest: Audited, name: str) -> None:
    bundle = without(honest.bundle, Kind.OCI_CONFIG, Kind.OCI_MANIFEST, Kind.SIGSTORE_BUNDLE)
    policy = load_policy(name)
    report = audit_bundle(bundle, honest.world.app_id, honest.question, policy)
    assert result(report, CHECK).skip_kind is SkipKind.MISSING_EVIDENCE
    asked = {"genuine": "not-asked", "baseline": "advisory", "strict": "required"}[name]
    assert policy.requirement(CHECK).value == asked
    if name == "baseline":
        assert report.verdict is Verdict.WARNING


def test_a_refusal_that_only_a_bundle_tells_of_is_no_refusal() -> None:
    def private(_method: str, url: str, _body: bytes, response: Response) -> Response:
        return answer_json(401, {}) if "registry.lab.invalid" in url else response

    audited = audit(Knobs(edit_response=private))
    assert found(audited).status is Status.WARN
    foreign = found(audited, trusted=False)
    assert foreign.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "the bundle alone says" in foreign.reason


@pytest.mark.parametrize("policy", ["baseline", "strict"])
def test_an_unpinned_image_beside_a_good_one_is_named(policy: str) -> None:
    compose = f"services: {{a: {{image: '{WEB.reference}'}}, b: {{image: nginx}}}}"
    outcome = found(audit(Knobs(edit_manifest=with_compose(compose))), load_policy(policy))
    assert outcome.summary.startswith("2 images: 1 unpinned, 1 attested")


def test_images_that_are_no_services_are_named() -> None:
    compose = (
        "services:\n  web:\n    image: a\n    models: [m]\n"
        "    volumes: [{type: image, source: 'b:1', target: /x}]\n"
        "    pre_start: [{image: 'c:2', command: run}]\n"
        "models: {m: {model: ai/d}}\n"
    )
    assert named(compose) == [
        ("web", "a"),
        ("volume of type image web", "b:1"),
        ("hook web", "c:2"),
        ("model", "ai/d"),
    ]


def test_every_service_and_included_file_is_named() -> None:
    compose = f"""
include: [more.yml]
services:
  pinned: {{image: '{WEB.reference}'}}
  default: {{image: '${{IMAGE:-nginx:1.27}}'}}
  open: {{image: '${{OPEN}}'}}
  built: {{build: ., image: app}}
  elsewhere: {{extends: {{file: more.yml, service: web}}}}
"""
    assert named(compose, allowed_envs=["OPEN"]) == [
        ("pinned", WEB.reference),
        ("default", "nginx:1.27"),
        ("open", "${OPEN}"),
        ("built", ""),
        ("elsewhere", ""),
        ("include more.yml", ""),
    ]


def test_what_is_no_compose_file_is_not_guessed() -> None:
    with pytest.raises(MissingEvidence, match="bash"):
        named("services: {}", runner="bash", bash_script="true")
    with pytest.raises(MissingEvidence, match="no compose file"):
        named("")
    with pytest.raises(EvidenceError):
        named("services: {web: {image: a, image: b}}")


def test_only_images_of_the_measured_manifest_are_asked_about() -> None:
    shown = Knobs(edit_served_manifest=lambda text: text.replace("web-nginx", "web-other"))
    audited = audit(shown)
    asked = image_references(audited.bundle, audited.question)
    assert asked
    assert not [item for item in asked if "web" in item.repository]
    images = [item for item in audited.bundle.artifacts if item.kind.startswith("oci")]
    assert not [item for item in images if "web" in item.source]


def test_more_images_than_the_limit_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container_registry, "MAX_IMAGES", 1)
    compose = f"services: {{a: {{image: '{WEB.reference}'}}, b: {{image: '{PRIVATE.reference}'}}}}"
    outcome = found(audit(Knobs(edit_manifest=with_compose(compose))))
    assert outcome.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "not asked: 2 images, over the limit of 1" in outcome.reason


def test_the_policy_names_who_may_have_built_the_images(
    honest: Audited, written: Callable[[str], Policy]
) -> None:
    accepted = written(f"[signers]\nworkflows = ['{Workflow().identity}']\n")
    report = judged(honest, accepted)
    assert (result(report, CHECK).status, report.verdict) == (Status.PASS, Verdict.AFFIRMING)
    other = "https://github.com/org/app/.github/workflows/release.yml@refs/heads/main"
    report = judged(honest, written(f"[signers]\nworkflows = ['{other}']\n"))
    outcome = result(report, CHECK)
    assert (outcome.skip_kind, report.verdict) == (SkipKind.MISSING_EVIDENCE, Verdict.NONE)
    assert "whom the policy does not name" in outcome.reason


@pytest.mark.parametrize(
    "knobs",
    [
        Knobs(attest=lambda *_: []),
        Knobs(edit_manifest=with_compose("services: {web: {image: nginx}}")),
        Knobs(edit_manifest=with_compose("services: {web: {build: .}}")),
    ],
    ids=["asserted", "unpinned", "built"],
)
def test_what_nobody_is_shown_to_have_built_is_missing_where_builders_are_named(
    knobs: Knobs, written: Callable[[str], Policy]
) -> None:
    policy = written(f"[signers]\nworkflows = ['{Workflow().identity}']\n")
    audited = audit(knobs)
    assert found(audited).status is Status.WARN
    outcome = found(audited, policy)
    assert outcome.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "nothing shows that an accepted workflow built it" in outcome.reason


@pytest.mark.parametrize(
    ("name", "digest", "status"),
    [
        ("web", WEB.digest, Status.PASS),
        ("lab/web-nginx", WEB.digest, Status.PASS),
        ("registry.lab.invalid/lab/web-nginx", WEB.digest, Status.PASS),
        ("web", OTHER, Status.FAIL),
        ("other", WEB.digest, Status.FAIL),
    ],
)
def test_an_expected_image_decides(honest: Audited, name: str, digest: str, status: Status) -> None:
    policy = load_policy("baseline")
    expecting = policy.expecting({"image": (f"{name}={digest}",)})
    assert expecting.digest != policy.digest
    assert expecting.requirement(CHECK).value == "required"
    report = judged(honest, expecting)
    assert result(report, CHECK).status is status
    affirmed = Verdict.AFFIRMING if status is Status.PASS else Verdict.CONTRAINDICATED
    assert report.verdict is affirmed


def test_several_digests_of_one_image_are_alternatives(honest: Audited) -> None:
    policy = load_policy("baseline").expecting({"image": (f"web={OTHER}", f"web={WEB.digest}")})
    assert found(honest, policy).status is Status.PASS


def test_whether_an_image_that_was_not_obtained_is_expected_is_not_known(honest: Audited) -> None:
    bundle = without(honest.bundle, Kind.OCI_MANIFEST)
    policy = load_policy("baseline").expecting({"image": (f"web={OTHER}",)})
    report = audit_bundle(bundle, honest.world.app_id, honest.question, policy)
    assert result(report, CHECK).skip_kind is SkipKind.MISSING_EVIDENCE
    assert report.verdict is Verdict.NONE


def test_expectations_of_policy_and_command_line_hold_together(
    written: Callable[[str], Policy],
) -> None:
    policy = written(f"[expect]\nimage = ['web={OTHER}', 'db={OTHER}']\n")
    both = policy.expecting({"image": (f"web={OTHER}", f"cache={WEB.digest}")})
    assert both.demands.expected_images == (("cache", WEB.digest), ("db", OTHER), ("web", OTHER))
    assert "image = [" in effective_policy(both)
    with pytest.raises(PolicyError, match="expects another image"):
        policy.expecting({"image": (f"web={WEB.digest}",)})


@pytest.mark.parametrize(
    "value", ["web", f"={OTHER}", f"web={OTHER[:-1]}", f"web={OTHER.upper()}", f"a b={OTHER}", ""]
)
def test_a_malformed_expectation_is_refused(value: str) -> None:
    with pytest.raises(PolicyError, match="NAME=sha256:DIGEST"):
        load_policy("baseline").expecting({"image": (value,)})


def test_a_waiver_does_not_cover_another_image_than_expected(
    honest: Audited, written: Callable[[str], Policy]
) -> None:
    policy = written(waiver(honest, check=CHECK))
    report = judged(honest, policy.expecting({"image": (f"web={OTHER}",)}))
    assert report.verdict is Verdict.CONTRAINDICATED
    hidden = audit(Knobs(attest=lambda *_: []))
    assert judged(hidden, policy).verdict is Verdict.AFFIRMING


def test_documents_of_an_image_can_be_imported(honest: Audited) -> None:
    kinds = {Kind.OCI_MANIFEST, Kind.OCI_CONFIG, Kind.SIGSTORE_BUNDLE}
    files = [
        (item.kind.value, honest.bundle.blob(item))
        for item in honest.bundle.artifacts
        if item.kind in kinds
    ]
    imported = import_files(files, collected_at=honest.world.now)
    assert {item.kind for item in imported.artifacts} == kinds
    builder = BundleBuilder(without(honest.bundle, *kinds))
    for item in imported.artifacts:
        builder.add(item.kind, imported.blob(item), source=item.source, collected_at=1)
    assert result(honest.again(builder.build()).report, CHECK).status is Status.PASS


def test_bundles_are_imported_in_every_form(honest: Audited) -> None:
    (artifact,) = (x for x in honest.bundle.of(Kind.SIGSTORE_BUNDLE) if is_of_web(x.source))
    answer = json.loads(honest.bundle.blob(artifact))
    one = encode(answer["attestations"][0]["bundle"])
    for raw in (one, one + b"\n" + one + b"\n", encode(answer)):
        assert recognise("file", raw) == [(Kind.SIGSTORE_BUNDLE, raw)]
    index = {"schemaVersion": 2, "manifests": []}
    assert recognise("index", encode(index)) == [(Kind.OCI_MANIFEST, encode(index))]
    url = {"attestations": [{"bundle": None, "bundle_url": "https://example.org"}]}
    for raw in (encode(url), one + b"\n{}", one.replace(b"dsseEnvelope", b"x")):
        with pytest.raises(EvidenceError):
            recognise("file", raw)
    with pytest.raises(EvidenceError, match="not recognised"):
        recognise("file", b'{"attestations": []}')
