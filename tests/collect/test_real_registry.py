"""Collection from a real registry on loopback, through its anonymous token flow."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.checks.provenance.sigstore_world import NOW, ROOT, WORLD, Workflow
from tests.checks.provenance.sigstore_world import provenance as slsa
from tests.collect.real_registry import BINARY, SERVICE, Registry, running_registry
from tests.evidence.images.images import digest, encode, make_image
from verifier.checks.provenance import check as provenance
from verifier.checks.provenance.check import Images
from verifier.checks.provenance.named_images import NamedImage
from verifier.checks.provenance.source_link import Provenance, Tie
from verifier.collect.container_registry import collect_images
from verifier.collect.http import HttpClient
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.bundle import load as load_bundle
from verifier.evidence.bundle import save as save_bundle
from verifier.evidence.images.oci import parse_reference

Collect = Callable[..., Bundle]

IMAGE = make_image()
PRIVATE = make_image({"org.opencontainers.image.title": "private"})


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not BINARY.exists():
        pytest.skip(f"{BINARY} is not installed (Debian package docker-registry)")
    with running_registry(tmp_path_factory.mktemp("registry")) as started:
        started.push("example/app", IMAGE)
        started.push("example/private", PRIVATE)
        started.push("example/attested", IMAGE)
        statement = WORLD.sign(slsa(digest(IMAGE.index)[7:]), Workflow())
        started.attach("example/attested", IMAGE.index, encode(statement))
        yield started


@pytest.fixture
def collected(registry: Registry, httpserver: HTTPServer) -> Iterator[Collect]:
    """Collect references with the real registry and our own token service."""
    asked: list[dict[str, str]] = []

    def token(request: Request) -> Response:
        asked.append(dict(request.args))
        assert "Authorization" not in request.headers
        repository = request.args["scope"].split(":")[1]
        if repository == "example/private":
            return Response(status=403)
        text = registry.tokens.issue(repository, "pull")
        return Response(f'{{"token": "{text}"}}', content_type="application/json")

    httpserver.expect_request("/token").respond_with_handler(token)
    httpserver.expect_request(re.compile("/repos/.*")).respond_with_data("{}", status=404)
    routes = {
        "registry.test": ("127.0.0.1", registry.port),
        "auth.test": ("127.0.0.1", httpserver.port),
        "api.github.com": ("127.0.0.1", httpserver.port),
    }

    def collect(*references: str) -> Bundle:
        builder = BundleBuilder()
        with HttpClient(clock=lambda: NOW, routes=routes) as client:
            collect_images(client, [parse_reference(item) for item in references], builder)
        assert all(item["service"] == SERVICE for item in asked)
        return builder.build()

    yield collect
    httpserver.clear()


def judged(bundle: Bundle, *references: str) -> list[Provenance]:
    named = tuple(NamedImage(f"s{place}", item) for place, item in enumerate(references))
    asked = Images(images=named, bundle=bundle, at=NOW, trusted_root=ROOT)
    return list(provenance.examine(asked))


@pytest.mark.parametrize("raw", [IMAGE.index, IMAGE.manifest], ids=["index", "manifest"])
def test_an_image_is_collected_by_digest(collected: Collect, raw: bytes) -> None:
    reference = f"registry.test/example/app:{'5a' * 5}@{digest(raw)}"
    bundle = collected(reference)
    (found,) = judged(bundle, reference)
    assert found.tie is Tie.ASSERTED
    assert (found.source, found.commit) == ("https://github.com/example/app", "5a" * 20)
    assert found.digests[-1] == digest(IMAGE.config)
    assert not found.disagreements
    manifest = bundle.of(Kind.OCI_MANIFEST)[0]
    assert (manifest.status, manifest.collected_at) == (200, NOW)
    assert b"Bearer" not in bundle.manifest
    failures = [item for item in bundle.artifacts if item.sha256 is None]
    assert {item.kind for item in failures} == {Kind.SIGSTORE_BUNDLE}


def test_private_and_missing_images_are_said(collected: Collect) -> None:
    private = f"registry.test/example/private@{digest(PRIVATE.manifest)}"
    missing = f"registry.test/example/app@sha256:{'0' * 64}"
    bundle = collected(private, missing)
    first, second = judged(bundle, private, missing)
    assert (first.tie, second.tie) == (Tie.PRIVATE, Tie.MISSING)
    assert "HTTP 401" in first.note
    assert "HTTP 404" in second.note


def test_an_attestation_beside_the_image_ties_it(collected: Collect, tmp_path: Path) -> None:
    reference = f"registry.test/example/attested@{digest(IMAGE.index)}"
    bundle = collected(reference)
    (found,) = judged(bundle, reference)
    assert found.tie is Tie.ATTESTED
    save_bundle(bundle, tmp_path / "b.tar")
    assert judged(load_bundle(tmp_path / "b.tar"), reference) == [found]
