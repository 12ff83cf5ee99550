"""`provenance.images` over the documents of an image and attestations of every kind."""

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec.structs import replace

from tests.checks.provenance.sigstore_world import NOW, ROOT, WORLD, Workflow
from tests.checks.provenance.sigstore_world import provenance as slsa
from tests.evidence.images.images import COMMIT, LABELS, Image, digest, encode, make_image
from verifier.checks.case import MAX_CLOCK_SKEW
from verifier.checks.provenance import check as module
from verifier.checks.provenance.check import MAX_ATTESTATIONS, Images, examine, judge, judge_images
from verifier.checks.provenance.named_images import NamedImage
from verifier.checks.provenance.sigstore import GITHUB_ISSUER, Identity
from verifier.checks.provenance.source_link import Provenance, Tie, as_expected
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.bundle import load as load_bundle
from verifier.evidence.bundle import save as save_bundle
from verifier.evidence.images.sigstore import attestations_url
from verifier.lab.sigstore import Sigstore
from verifier.lab.sigstore import Workflow as SigstoreWorkflow
from verifier.model.result import SkipKind, Status

IMAGE = make_image()
REFERENCE = f"registry.example/example/app@{digest(IMAGE.index)}"
OTHER = "0b" * 20


def documents(image: Image = IMAGE, *attestations: Any) -> Bundle:
    """A bundle with the documents of an image, and GitHub's answer with these attestations."""
    builder = BundleBuilder()
    for raw in (image.index, image.manifest):
        builder.add(Kind.OCI_MANIFEST, raw, source=f"m/{digest(raw)}", collected_at=NOW)
    builder.add(Kind.OCI_CONFIG, image.config, source="c", collected_at=NOW)
    if attestations:
        answer = encode({"attestations": [{"bundle": item} for item in attestations]})
        url = attestations_url("example/app", digest(image.index))
        builder.add(Kind.SIGSTORE_BUNDLE, answer, source=url, collected_at=NOW)
    return builder.build()


def ask(bundle: Bundle, *references: str, **more: Any) -> Images:
    named = tuple(NamedImage(f"s{place}", text) for place, text in enumerate(references))
    return Images(images=named, bundle=bundle, at=more.pop("at", NOW), trusted_root=ROOT, **more)


def examined(image: NamedImage, asked: Images) -> Provenance:
    (found,) = examine(replace(asked, images=(image,)))
    return found


def attest(
    raw: bytes = IMAGE.index, workflow: SigstoreWorkflow | None = None, **claims: str
) -> Any:
    return WORLD.sign(slsa(digest(raw)[7:], **claims), workflow or Workflow())


def signed(world: Sigstore, **changes: str) -> Any:
    return world.sign({**slsa(digest(IMAGE.index)[7:]), **changes}, Workflow())


@pytest.mark.parametrize("raw", [IMAGE.index, IMAGE.manifest], ids=["index", "manifest"])
def test_an_attested_image_passes(raw: bytes) -> None:
    outcome = judge_images(ask(documents(IMAGE, attest(raw)), REFERENCE))
    assert outcome.status is Status.PASS
    assert isinstance(outcome.actual, list)
    (found,) = outcome.actual
    assert isinstance(found, dict)
    assert found["tie"] == "attested"
    assert (found["source"], found["commit"]) == ("https://github.com/example/app", COMMIT)
    assert found["signer"] == Workflow().identity
    assert outcome.evidence[-1].pointer == "/attestations/0/bundle"


def test_it_replays_from_a_saved_bundle(tmp_path: Path) -> None:
    live = ask(documents(IMAGE, attest()), REFERENCE)
    save_bundle(live.bundle, tmp_path / "b.tar")
    replayed = ask(load_bundle(tmp_path / "b.tar"), REFERENCE)
    assert judge_images(replayed) == judge_images(live)


def test_labels_alone_are_a_warning_as_the_builders_word() -> None:
    outcome = judge_images(ask(documents(), REFERENCE))
    assert outcome.status is Status.WARN
    assert outcome.summary == "1 image: 1 asserted"
    assert "only its own labels" in outcome.reason


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({}, "no label org.opencontainers.image.source"),
        ({**LABELS, "org.opencontainers.image.revision": "main"}, "no whole commit id"),
        ({**LABELS, "org.opencontainers.image.revision": ""}, "no whole commit id"),
    ],
)
def test_an_image_that_names_no_commit_is_untied(labels: dict[str, str], reason: str) -> None:
    image = make_image(labels)
    reference = f"registry.example/example/app@{digest(image.manifest)}"
    outcome = judge_images(ask(documents(image), reference))
    assert outcome.status is Status.WARN
    assert reason in outcome.reason


NOT_COUNTED: dict[str, tuple[Callable[[], Any], str]] = {
    "another digest": (lambda: attest(b"another"), "only its own labels"),
    "another repository signs": (
        lambda: attest(
            workflow=Workflow(repository="https://github.com/evil/app"),
            repository="https://github.com/evil/app",
        ),
        "evil/app signed it, and the image names example/app",
    ),
    "the statement names another repository": (
        lambda: attest(repository="https://github.com/evil/app"),
        "says that evil/app was built",
    ),
    "the statement names another commit": (
        lambda: attest(commit=OTHER),
        f"says that {OTHER} was built",
    ),
    "a runner of one's own": (
        lambda: attest(workflow=Workflow(runner="self-hosted")),
        "on a runner of example/app's own",
    ),
    "no commit": (
        lambda: attest(workflow=Workflow(commit="main"), commit="main"),
        "is no workflow at a commit",
    ),
    "another issuer": (
        lambda: attest(workflow=Workflow(issuer="https://accounts.google.com")),
        "OIDCIssuerV2",
    ),
    "another predicate": (
        lambda: signed(WORLD, predicateType="https://spdx.dev/Document"),
        "without saying how it was built",
    ),
    "another payload": (
        lambda: signed(WORLD, _type="x"),
        "not an in-toto Statement v1",
    ),
    "another instance": (
        lambda: signed(replace(WORLD, label="another")),
        "an attestation does not count",
    ),
    "an expired certificate": (
        lambda: signed(WORLD.at(certified=NOW, logged=NOW + 601)),
        "not valid at validation time",
    ),
    "no signed time": (
        lambda: without_promise(attest()),
        "an attestation does not count",
    ),
    "after the audit": (
        lambda: signed(WORLD.at(certified=NOW + 900, logged=NOW + 901)),
        "after the time of this audit",
    ),
}


def without_promise(bundle: Any) -> Any:
    del bundle["verificationMaterial"]["tlogEntries"][0]["inclusionPromise"]
    return bundle


@pytest.mark.parametrize("name", NOT_COUNTED)
def test_other_attestations_do_not_count(name: str) -> None:
    make, reason = NOT_COUNTED[name]
    outcome = judge_images(ask(documents(IMAGE, make()), REFERENCE))
    assert outcome.status is Status.WARN
    assert outcome.summary == "1 image: 1 asserted"
    assert reason in outcome.reason


def test_one_good_attestation_is_enough() -> None:
    bad = [make() for make, _ in NOT_COUNTED.values()]
    outcome = judge_images(ask(documents(IMAGE, *bad, attest()), REFERENCE))
    assert outcome.status is Status.PASS


def test_attestations_over_the_limit_are_not_looked_at() -> None:
    """Nor are those below it: which of them are, their order would decide."""
    for many, status in ((MAX_ATTESTATIONS - 1, Status.PASS), (MAX_ATTESTATIONS, Status.WARN)):
        bad = [attest(commit=f"{number:040x}") for number in range(many)]
        for made in ([*bad, attest()], [attest(), *bad]):
            outcome = judge_images(ask(documents(IMAGE, *made), REFERENCE))
            assert outcome.status is status
    copies = [attest()] * (MAX_ATTESTATIONS + 1)
    assert judge_images(ask(documents(IMAGE, *copies), REFERENCE)).status is Status.PASS


def at(commit: str, repository: str = Workflow().repository) -> Any:
    workflow = Workflow(commit=commit, repository=repository)
    return attest(workflow=workflow, commit=commit, repository=repository)


@pytest.mark.parametrize("tag", ["v1.2.3", "5a5a5a5", "0b0b0b0"])
def test_an_image_of_several_builds_is_that_of_each(tag: str) -> None:
    reference = f"registry.example/example/app:{tag}@{digest(IMAGE.index)}"
    rows: list[Any] = []
    for made in ([at(COMMIT), at(OTHER)], [at(OTHER), at(COMMIT)]):
        outcome = judge_images(ask(documents(IMAGE, *made), reference))
        assert outcome.status is Status.PASS
        assert outcome.reason == f"s0 is attested at 2 commits: {OTHER}, {COMMIT}"
        assert isinstance(outcome.actual, list)
        rows += outcome.actual
    assert rows[0] == rows[1]
    assert (rows[0]["commit"], rows[0]["source"]) == ("", "https://github.com/example/app")
    assert [item["commit"] for item in rows[0]["builds"]] == [OTHER, COMMIT]


def test_what_none_of_several_builds_is_of_is_a_finding() -> None:
    others = [at("0c" * 20), at(OTHER)]
    reference = f"registry.example/example/app:0d0d0d0@{digest(IMAGE.index)}"
    for made in (others, others[::-1]):
        found = examined(NamedImage("s", reference), ask(documents(IMAGE, *made)))
        both = f"{OTHER} and {'0c' * 20}"
        assert found.disagreements == (
            f"label says commit {COMMIT}, attestation {both}",
            f"tag says commit 0d0d0d0, the image {both}",
        )


def test_builds_of_several_repositories_are_of_none() -> None:
    elsewhere = "https://github.com/example/fork"
    accepted = ("example/app", "example/fork")
    for made in ([at(COMMIT), at(COMMIT, elsewhere)], [at(COMMIT, elsewhere), at(COMMIT)]):
        asked = ask(documents(IMAGE, *made), REFERENCE, sources=accepted)
        found = examined(NamedImage("s", REFERENCE), asked)
        assert (found.tie, found.source, found.commit) == (Tie.ATTESTED, "", COMMIT)
        assert not found.disagreements


def test_an_index_is_not_what_runs_on_another_platform() -> None:
    made = documents(IMAGE, attest())
    for platform in ("linux/386", "linux/amd64/v3", "${PLATFORM}"):
        found = examined(NamedImage("s", REFERENCE, platform), ask(made))
        assert (found.tie, found.commit, found.builds) == (Tie.UNPINNED, "", ())
        assert found.digests == (digest(IMAGE.index),)
    alone = f"registry.example/example/app@{digest(IMAGE.manifest)}"
    found = examined(NamedImage("s", alone, "linux/386"), ask(documents(IMAGE, attest())))
    assert found.tie is Tie.ASSERTED, "the digest names one image for whatever platform"


def test_a_signer_that_the_relying_party_accepts_counts() -> None:
    builder = Workflow(repository="https://github.com/builder/images")
    made = documents(IMAGE, attest(workflow=builder, repository=builder.repository))
    accepted = (Identity(builder.identity),)
    found = examined(NamedImage("s", REFERENCE), ask(made, REFERENCE, signers=accepted))
    assert found.tie is Tie.ATTESTED
    assert any("label says source" in text for text in found.disagreements)
    own = replace(builder, runner="self-hosted")
    made_at_home = documents(IMAGE, attest(workflow=own, repository=builder.repository))
    found = examined(NamedImage("s", REFERENCE), ask(made_at_home, REFERENCE, signers=accepted))
    assert found.tie is Tie.ASSERTED
    refused = (Identity(builder.identity, "https://accounts.google.com"),)
    found = examined(NamedImage("s", REFERENCE), ask(made, REFERENCE, signers=refused))
    assert found.tie is Tie.ASSERTED


def test_labels_that_the_attestation_belies_are_a_finding() -> None:
    image = make_image({**LABELS, "org.opencontainers.image.revision": OTHER})
    reference = f"registry.example/example/app@{digest(image.index)}"
    outcome = judge_images(ask(documents(image, attest(image.index)), reference))
    assert outcome.status is Status.WARN
    assert outcome.reason == f"s0: label says commit {OTHER}, attestation {COMMIT}"


@pytest.mark.parametrize(
    ("tag", "agrees"),
    [
        ("5a5a5a5", True),
        ("sha-5a5a5a5", True),
        (COMMIT, True),
        ("v1.2.3", True),
        ("20251231", True),
        ("latest", True),
        ("5a5a5a6", False),
        ("sha-0b0b0b0", False),
        (OTHER, False),
    ],
)
def test_a_tag_that_looks_like_a_commit_is_compared(tag: str, *, agrees: bool) -> None:
    reference = f"registry.example/example/app:{tag}@{digest(IMAGE.index)}"
    for made in (documents(), documents(IMAGE, attest())):
        found = examined(NamedImage("s", reference), ask(made, reference))
        assert (not found.disagreements) == agrees


@pytest.mark.parametrize(
    ("reference", "note"),
    [
        ("", "built on the machine"),
        ("registry.example/app", "the tag 'latest'"),
        ("registry.example/app:v1", "the tag 'v1'"),
        ("registry.example/app@sha256:12", "the digest is not"),
        ("Not An Image", "malformed"),
    ],
)
def test_an_image_that_no_digest_pins_is_a_warning(reference: str, note: str) -> None:
    outcome = judge_images(ask(documents(IMAGE, attest()), REFERENCE, reference))
    assert outcome.status is Status.WARN
    assert outcome.summary == "2 images: 1 unpinned, 1 attested"
    assert note in outcome.reason


def test_no_evidence_is_missing_evidence_and_says_for_which_image() -> None:
    outcome = judge_images(ask(BundleBuilder().build(), REFERENCE, "registry.example/app:v1"))
    assert (outcome.status, outcome.skip_kind) == (Status.SKIP, SkipKind.MISSING_EVIDENCE)
    assert "nobody was asked" in outcome.summary
    assert outcome.summary.endswith("(1 unpinned, 1 unknown)")
    assert isinstance(outcome.actual, list)
    assert len(outcome.actual) == 2


def test_no_image_is_not_applicable() -> None:
    outcome = judge_images(ask(BundleBuilder().build()))
    assert outcome.skip_kind is SkipKind.NOT_APPLICABLE


def test_an_image_for_another_platform_is_malformed_evidence() -> None:
    image = make_image(architecture="arm64")
    for raw in (image.index, image.manifest):
        reference = f"registry.example/app@{digest(raw)}"
        outcome = judge_images(ask(documents(image), reference))
        assert outcome.status is Status.ERROR


@pytest.mark.parametrize(
    "name", ["s0", "registry.example/example/app", "example/app"], ids=["service", "long", "short"]
)
def test_the_expected_image_is_this_one_or_it_fails(name: str) -> None:
    made = documents(IMAGE, attest())
    for raw in (IMAGE.index, IMAGE.manifest, IMAGE.config):
        outcome = judge_images(ask(made, REFERENCE, expected=((name, digest(raw)),)))
        assert outcome.status is Status.PASS
    outcome = judge_images(ask(made, REFERENCE, expected=((name, digest(b"other")),)))
    assert outcome.status is Status.FAIL
    assert "not the expected" in outcome.summary
    outcome = judge_images(ask(made, REFERENCE, expected=(("nobody", digest(IMAGE.index)),)))
    assert outcome.status is Status.FAIL


def test_the_worst_image_decides() -> None:
    good = examined(NamedImage("a", REFERENCE), ask(documents(IMAGE, attest())))
    assert judge((good, good)).status is Status.PASS
    unknown = examined(NamedImage("b", REFERENCE), ask(BundleBuilder().build()))
    assert judge((good, unknown)).status is Status.SKIP


def test_a_branch_as_revision_label_belies_nothing() -> None:
    image = make_image({**LABELS, "org.opencontainers.image.revision": "main"})
    reference = f"registry.example/example/app:5a5a5a5@{digest(image.index)}"
    for made in (documents(image), documents(image, attest(image.index))):
        found = examined(NamedImage("s", reference), ask(made, reference))
        assert not found.disagreements


@pytest.mark.parametrize(("status", "said"), [(404, False), (403, True), (None, True)])
def test_attestations_that_were_not_obtained_are_said(status: int | None, *, said: bool) -> None:
    builder = BundleBuilder()
    for artifact in (made := documents()).artifacts:
        builder.add(artifact.kind, made.blob(artifact), source=artifact.source, collected_at=NOW)
    url = attestations_url("example/app", digest(IMAGE.index))
    builder.add_failure(
        Kind.SIGSTORE_BUNDLE, source=url, collected_at=NOW, error="rate limit", status=status
    )
    found = examined(NamedImage("s", REFERENCE), ask(builder.build()))
    assert found.tie is Tie.ASSERTED
    assert ("attestations were not obtained: rate limit" in found.note) == said


@pytest.mark.parametrize("kind", [Kind.SIGSTORE_BUNDLE, Kind.OCI_MANIFEST])
def test_nothing_is_lacking_where_github_has_no_attestation(kind: Kind) -> None:
    """An answer that holds none is an answer; and a request for a document that failed is none for
    attestations."""
    builder = BundleBuilder(documents())
    url = attestations_url("example/app", digest(IMAGE.index))
    if kind is Kind.SIGSTORE_BUNDLE:
        builder.add(kind, b'{"attestations": []}', source=url, collected_at=NOW, status=200)
    else:
        builder.add_failure(kind, source=url, collected_at=NOW, error="HTTP 502", status=502)
    found = examined(NamedImage("s", REFERENCE), ask(builder.build()))
    assert (found.tie, found.note) == (Tie.ASSERTED, "only its own labels name its source")


@pytest.mark.parametrize(("later", "counts"), [(0, True), (1, False)])
def test_a_clock_may_be_off_by_the_skew_and_no_more(later: int, *, counts: bool) -> None:
    moment = NOW + MAX_CLOCK_SKEW + later
    made = documents(IMAGE, signed(WORLD.at(certified=moment, logged=moment)))
    outcome = judge_images(ask(made, REFERENCE))
    assert outcome.status is (Status.PASS if counts else Status.WARN)


def test_many_services_with_many_attestations_take_bounded_time() -> None:
    """One reference is verified once, and one file is parsed once."""
    made = documents(IMAGE, *[attest(raw) for raw in (b"other",) * 90], attest())
    asked = ask(made, *[REFERENCE] * 5000)
    started = time.process_time()
    assert judge_images(asked).status is Status.PASS
    assert time.process_time() - started < 5


@pytest.mark.parametrize(("signer", "passes"), [("example/app", True), ("evil/app", False)])
def test_the_label_says_whose_signature_counts_and_not_the_path(
    signer: str, *, passes: bool
) -> None:
    """Whoever pushes an image chooses its path on GitHub's registry."""
    repository = f"https://github.com/{signer}"
    made = attest(workflow=Workflow(repository=repository), repository=repository)
    reference = f"ghcr.io/evil/app@{digest(IMAGE.index)}"
    outcome = judge_images(ask(documents(IMAGE, made), reference))
    assert outcome.status is (Status.PASS if passes else Status.WARN)
    assert passes or "evil/app signed it, and the image names example/app" in outcome.reason


def test_an_expected_image_may_be_called_by_its_repository_and_tag() -> None:
    name = "registry.example/example/app:v1"
    made = documents(IMAGE, attest())
    for raw, status in ((IMAGE.index, Status.PASS), (b"other", Status.FAIL)):
        expected = ((name, digest(raw)),)
        asked = ask(made, f"{name}@{digest(IMAGE.index)}", expected=expected)
        assert judge_images(asked).status is status


@pytest.mark.parametrize("tie", Tie)
def test_an_image_that_nobody_was_shown_may_be_the_expected_one(tie: Tie) -> None:
    found = Provenance(service="s", reference=REFERENCE, tie=tie, note="n")
    (judged,) = as_expected((found,), (("s", digest(IMAGE.index)),))
    unseen = (Tie.UNKNOWN, Tie.UNREACHABLE, Tie.MISSING, Tie.PRIVATE)
    assert judged.tie is (Tie.UNKNOWN if tie in unseen else Tie.CONTRADICTED)


def test_who_else_than_a_workflow_may_sign_is_tried_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What any workflow signed is verified at once; its own issuer is asked for no second time."""
    tried: list[str] = []

    def verify(_bundle: Any, _digests: Any, identity: Any = None, *_: Any, **__: Any) -> Any:
        tried.append(identity.issuer if identity else "")
        return SimpleNamespace(failure="" if tried[-1] == "https://one.example" else "no")

    monkeypatch.setattr(module, "verify_bundle", verify)
    issuers = (GITHUB_ISSUER, "https://one.example", "https://two.example")
    asked = SimpleNamespace(
        trusted_root=None, signers=[SimpleNamespace(issuer=item) for item in issuers]
    )
    examination: Any = SimpleNamespace(_asked=asked)
    found = module._Examination._verified(examination, cast("Any", None), ())  # noqa: SLF001
    assert (found.failure, tried) == ("", ["", "https://one.example"])
