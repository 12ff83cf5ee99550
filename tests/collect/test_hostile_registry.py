"""Registries that lie, and that try to send the auditor elsewhere."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.evidence.images.images import COMMIT, descriptor, digest, encode, make_image
from verifier.checks.provenance import check as provenance
from verifier.checks.provenance.check import Images
from verifier.checks.provenance.named_images import NamedImage
from verifier.checks.provenance.source_link import Provenance, Tie
from verifier.collect.container_registry import collect_images
from verifier.collect.http import HttpClient
from verifier.evidence.bundle import Bundle, BundleBuilder, Kind
from verifier.evidence.images.oci import parse_reference
from verifier.evidence.images.sigstore import BUNDLE_TYPE

NOW = 1_760_000_000
IMAGE = make_image()
BASE = "https://registry.example/v2/o/app"
INDEX = f"{BASE}/manifests/{digest(IMAGE.index)}"
MANIFEST = f"{BASE}/manifests/{digest(IMAGE.manifest)}"
CONFIG = f"{BASE}/blobs/{digest(IMAGE.config)}"
STORE = "https://store.example/blob?signature=secret"
REFERENCE = f"registry.example/o/app@{digest(IMAGE.index)}"


@dataclass
class Answer:
    """One answer of a server."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """Servers in memory: answers by URL, and what was asked of them."""

    answers: dict[str, Answer]
    token: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request."""
        assert (method, body) == ("GET", b"")
        self.asked.append((url, headers.get("authorization", "")))
        authorized = not self.token or headers.get("authorization") == f"Bearer {self.token}"
        if url.startswith(BASE) and not authorized:
            return self.answers["challenge"]
        return self.answers.get(url, Answer(404))

    def collect(self) -> Bundle:
        """The bundle of the one image."""
        builder = BundleBuilder()
        with HttpClient(clock=lambda: NOW, responder=self) as client:
            collect_images(client, [parse_reference(REFERENCE)], builder)
        return builder.build()

    def judged(self) -> Provenance:
        """What the check says of the image."""
        named = (NamedImage("app", REFERENCE),)
        (found,) = provenance.examine(Images(images=named, bundle=self.collect(), at=NOW))
        return found


def honest(**changes: Answer) -> World:
    answers = {
        INDEX: Answer(body=IMAGE.index),
        MANIFEST: Answer(body=IMAGE.manifest),
        CONFIG: Answer(body=IMAGE.config),
    }
    urls = {"index": INDEX, "manifest": MANIFEST, "config": CONFIG, "store": STORE}
    return World(answers | {urls.get(name, name): answer for name, answer in changes.items()})


def redirect(place: str, status: int = 307) -> Answer:
    return Answer(status, headers={"Location": place})


def challenge(text: str) -> Answer:
    return Answer(401, headers={"WWW-Authenticate": text})


def test_an_honest_registry_is_believed_as_far_as_its_labels() -> None:
    world = honest()
    found = world.judged()
    assert (found.tie, found.commit) == (Tie.ASSERTED, COMMIT)
    assert {url for url, _ in world.asked} > {INDEX, MANIFEST, CONFIG}


def test_the_same_answers_give_the_same_bundle_and_it_replays_offline() -> None:
    assert honest().collect().digest == honest().collect().digest


@pytest.mark.parametrize("name", ["index", "manifest", "config"])
def test_other_bytes_under_a_digest_are_a_contradiction(name: str) -> None:
    other = make_image({"org.opencontainers.image.title": "other"})
    raw = {"index": other.index, "manifest": other.manifest, "config": other.config}[name]
    found = honest(**{name: Answer(body=raw)}).judged()
    assert found.tie is Tie.CONTRADICTED
    assert digest(raw) in found.note


def test_a_document_over_the_limit_is_not_taken() -> None:
    bundle = honest(index=Answer(body=IMAGE.index + b" " * (4 << 20))).collect()
    assert not bundle.of(Kind.OCI_MANIFEST)
    assert "larger than" in bundle.artifacts[0].error


def test_compressed_documents_are_refused() -> None:
    body = gzip.compress(IMAGE.index)
    found = honest(index=Answer(body=body, headers={"Content-Encoding": "gzip"})).judged()
    assert found.tie is Tie.UNREACHABLE
    assert "compressed" in found.note


def test_a_schema_1_manifest_is_malformed_evidence() -> None:
    raw = encode({"schemaVersion": 1, "name": "o/app", "fsLayers": [], "history": []})
    builder = BundleBuilder()
    builder.add(Kind.OCI_MANIFEST, raw, source="schema1.json", collected_at=NOW)
    named = (NamedImage("app", f"registry.example/o/app@{digest(raw)}"),)
    (found,) = provenance.examine(Images(images=named, bundle=builder.build(), at=NOW))
    assert found.tie is Tie.MALFORMED
    assert "schema version 1" in found.note


@pytest.mark.parametrize(
    ("status", "tie"),
    [
        (401, Tie.PRIVATE),
        (403, Tie.PRIVATE),
        (404, Tie.MISSING),
        (410, Tie.MISSING),
        (418, Tie.UNREACHABLE),
        (429, Tie.UNREACHABLE),
        (500, Tie.UNREACHABLE),
        (503, Tie.UNREACHABLE),
    ],
)
def test_private_missing_and_unreachable_are_three_answers(status: int, tie: Tie) -> None:
    answer = Answer(status, headers={"Retry-After": "9999"})
    found = honest(index=answer).judged()
    assert found.tie is tie
    assert f"HTTP {status}" in found.note
    # A refusal of the configuration says as much.
    assert honest(config=answer).judged().tie is tie


def test_a_page_instead_of_a_document_is_malformed_and_accuses_nobody() -> None:
    page = Answer(body=b"<html>log in</html>", headers={"Content-Type": "text/html"})
    for name in ("index", "manifest", "config"):
        assert honest(**{name: page}).judged().tie is Tie.MALFORMED


def test_only_a_trusted_bundle_says_that_a_registry_refused() -> None:
    bundle = honest(index=Answer(404)).collect()
    named = (NamedImage("app", REFERENCE),)
    (found,) = provenance.examine(Images(images=named, bundle=bundle, at=NOW, trusted=False))
    assert found.tie is Tie.UNKNOWN


def test_a_blob_may_be_redirected_once_to_a_public_store() -> None:
    world = honest(config=redirect(STORE), store=Answer(body=IMAGE.config))
    world.token = "secret"  # noqa: S105 - a token of the test
    world.answers["challenge"] = challenge('Bearer realm="https://auth.example/t",service="s"')
    world.answers["https://auth.example/t?service=s&scope=repository%3Ao%2Fapp%3Apull"] = Answer(
        body=b'{"access_token": "secret"}'
    )
    bundle = world.collect()
    assert [item.source for item in bundle.of(Kind.OCI_CONFIG)] == [CONFIG]
    # The token goes to the registry alone, and neither it nor the store's URL is recorded.
    assert {url for url, sent in world.asked if sent} > {INDEX, MANIFEST, CONFIG}
    assert all(url.startswith(BASE) for url, sent in world.asked if sent)
    assert b"secret" not in bundle.manifest


@pytest.mark.parametrize(
    "place",
    [
        "http://store.example/blob",
        "http://127.0.0.1/blob",
        "https://127.0.0.1/blob",
        "https://localhost/blob",
        "https://10.0.0.1/blob",
        "https://[::1]/blob",
        "https://[::ffff:169.254.169.254]/latest",
        "https://169.254.169.254/latest",
        "//127.0.0.1/blob",
        "https://store.example\\@127.0.0.1/blob",
        "ftp://store.example/blob",
        "file:///etc/passwd",
    ],
)
def test_a_blob_is_redirected_nowhere_else(place: str) -> None:
    world = honest(config=redirect(place))
    world.answers[place] = Answer(body=IMAGE.config)
    assert world.judged().tie is Tie.UNREACHABLE
    assert place not in {url for url, _ in world.asked}


def test_a_blob_is_redirected_once_only() -> None:
    world = honest(config=redirect(STORE), store=redirect("https://third.example/"))
    world.answers["https://third.example/"] = Answer(body=IMAGE.config)
    found = world.judged()
    assert (found.tie, "more than one redirect" in found.note) == (Tie.UNREACHABLE, True)


def test_a_store_that_serves_other_bytes_is_a_contradiction() -> None:
    found = honest(config=redirect(STORE), store=Answer(body=b"{}")).judged()
    assert found.tie is Tie.CONTRADICTED


def test_a_manifest_is_not_redirected_to_another_host() -> None:
    world = honest(index=redirect(STORE), store=Answer(body=IMAGE.index))
    assert world.judged().tie is Tie.UNREACHABLE
    assert STORE not in {url for url, _ in world.asked}


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example/t",
        "http://127.0.0.1:1/t",
        "https://localhost/t",
        "https://192.168.0.1/t",
        "https://[fd00::1]/t",
        "http:t",
    ],
)
def test_a_token_service_is_public_https_or_not_asked(realm: str) -> None:
    world = honest()
    world.token = "never"  # noqa: S105 - a token of the test
    world.answers["challenge"] = challenge(f'Bearer realm="{realm}",service="s"')
    found = world.judged()
    assert found.tie is Tie.UNREACHABLE
    assert {url for url, _ in world.asked} == {INDEX}


@pytest.mark.parametrize("text", ["", "Basic realm=x", 'Bearer service="s"', "Bearer realm=https"])
def test_a_registry_without_anonymous_tokens_is_private(text: str) -> None:
    world = honest()
    world.token = "never"  # noqa: S105 - a token of the test
    world.answers["challenge"] = challenge(text)
    assert world.judged().tie is Tie.PRIVATE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 1}',
        b'{"token": "a b"}',
        json.dumps({"token": "x\r\nX-Evil: 1"}).encode(),
        json.dumps({"token": "x" * 20_000}).encode(),
        b" " * (65 << 10),
    ],
    ids=["empty", "list", "none", "number", "space", "newline", "long", "huge"],
)
def test_a_token_answer_that_holds_no_token_is_refused(body: bytes) -> None:
    world = honest()
    world.token = "never"  # noqa: S105 - a token of the test
    world.answers["challenge"] = challenge('Bearer realm="https://auth.example/t"')
    service = "https://auth.example/t?scope=repository%3Ao%2Fapp%3Apull"
    world.answers[service] = Answer(body=body)
    assert world.judged().tie is Tie.UNREACHABLE
    assert not any(sent for _, sent in world.asked)


def test_a_token_that_is_not_accepted_is_asked_for_once() -> None:
    world = honest()
    world.token = "other"  # noqa: S105 - a token of the test
    world.answers["challenge"] = challenge('Bearer realm="https://auth.example/t"')
    service = "https://auth.example/t?scope=repository%3Ao%2Fapp%3Apull"
    world.answers[service] = Answer(body=b'{"token": "wrong"}')
    assert world.judged().tie is Tie.PRIVATE
    assert [url for url, _ in world.asked] == [INDEX, service, INDEX]


SERVICE = "https://auth.example/t?service=s&scope=repository%3Ao%2Fapp%3Apull"
BEARER = 'Bearer realm="https://auth.example/t",service="s"'


@pytest.mark.parametrize(
    "lines",
    [
        (BEARER,),
        (f'Basic realm="registry", {BEARER}',),
        (f'{BEARER}, Basic realm="registry"',),
        (f"Negotiate, {BEARER}",),
        (f"Negotiate YII=, {BEARER}",),
        ("Bearer realm=https://auth.example/t,service=s",),
        ('BEARER Realm = "https://auth.example/t" , SERVICE="s"',),
        (r'Bearer realm="https:\/\/auth.example/t",service="\s"',),
        (f', ,{BEARER},scope="repository:o/app:pull",error="insufficient_scope"',),
        (f'Digest realm="a, Bearer realm=x", nonce="n", {BEARER}',),
        ('Basic realm="registry"', BEARER),
        (BEARER, "Negotiate"),
        (f'Bearer service="first", {BEARER}',),
        (f'Bearer realm="https://other.example/t", {BEARER}',),
    ],
)
def test_a_bearer_challenge_is_found_wherever_it_stands(lines: tuple[str, ...]) -> None:
    world = honest()
    world.token = "good"  # noqa: S105 - a token of the test
    world.answers["challenge"] = Answer(401, headers=_Lines(lines))
    world.answers[SERVICE] = Answer(body=b'{"token": "good"}')
    world.answers["https://other.example/t?scope=repository%3Ao%2Fapp%3Apull"] = Answer(403)
    assert world.judged().tie is Tie.ASSERTED


class _Lines(dict[str, str]):
    """Header lines of one name, which a plain mapping cannot hold."""

    def __init__(self, lines: tuple[str, ...]) -> None:
        names = ("WWW-Authenticate", "www-authenticate")
        super().__init__(zip(names, lines, strict=False))


@pytest.mark.parametrize(
    ("status", "tie"),
    [(400, Tie.PRIVATE), (401, Tie.PRIVATE), (403, Tie.PRIVATE), (404, Tie.PRIVATE)]
    + [(status, Tie.UNREACHABLE) for status in (302, 408, 429, 500, 503)],
)
def test_a_token_service_that_fails_makes_no_image_private(status: int, tie: Tie) -> None:
    world = honest()
    world.token = "never"  # noqa: S105 - a token of the test
    world.answers["challenge"] = challenge(BEARER)
    world.answers[SERVICE] = Answer(status, headers={"Retry-After": "9999"})
    assert world.judged().tie is tie


def referrers(*entries: dict[str, Any]) -> Answer:
    return Answer(body=encode({"schemaVersion": 2, "manifests": list(entries)}))


@pytest.mark.parametrize(
    "answer",
    [
        Answer(501),
        Answer(body=b""),
        Answer(body=b"{}"),
        Answer(body=b" " * (5 << 20)),
        Answer(body=IMAGE.manifest),
        redirect(STORE),
        referrers({"digest": digest(b"x"), "size": 1, "artifactType": BUNDLE_TYPE}),
        referrers({"digest": digest(b"x"), "size": 1, "artifactType": "text/plain"}),
        referrers({**descriptor(IMAGE.manifest, "x"), "artifactType": BUNDLE_TYPE}),
    ],
)
def test_what_stands_beside_an_image_cannot_harm_it(answer: Answer) -> None:
    reference = parse_reference(REFERENCE)
    places = reference.referrers_urls(reference.digest, BUNDLE_TYPE)
    assert honest(**{places[0]: answer}).judged().tie is Tie.ASSERTED
    assert honest(**{places[1]: answer}).judged().tie is Tie.ASSERTED


def test_of_many_attachments_a_few_are_asked() -> None:
    reference = parse_reference(REFERENCE)
    place, _ = reference.referrers_urls(reference.digest, BUNDLE_TYPE)
    image = json.loads(IMAGE.manifest)
    made = [encode({**image, "annotations": {"n": str(number)}}) for number in range(900)]
    entries = [{**descriptor(raw, "x"), "artifactType": BUNDLE_TYPE} for raw in made]
    world = honest(**{place: referrers(*entries)})
    world.answers |= {f"{BASE}/manifests/{digest(raw)}": Answer(body=raw) for raw in made}
    blob = f"{BASE}/blobs/{digest(IMAGE.layer)}"
    world.answers[blob] = Answer(body=IMAGE.layer)
    assert world.judged().tie is Tie.ASSERTED
    assert 16 <= len([url for url, _ in world.asked if url == blob]) < 40


def test_a_malformed_attachment_hides_no_other() -> None:
    reference = parse_reference(REFERENCE)
    places = reference.referrers_urls(reference.digest, BUNDLE_TYPE)
    page = encode({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []})
    entries = [
        {**descriptor(raw, "x"), "artifactType": BUNDLE_TYPE} for raw in (page, IMAGE.manifest)
    ]
    blob = f"{BASE}/blobs/{digest(IMAGE.layer)}"
    for first in (Answer(404), Answer(body=b"<html>"), Answer(body=IMAGE.manifest)):
        world = honest(**{places[0]: first, places[1]: referrers(*entries)})
        world.answers |= {
            f"{BASE}/manifests/{digest(page)}": Answer(body=page),
            blob: Answer(body=IMAGE.layer),
        }
        assert world.judged().tie is Tie.ASSERTED
        assert blob in {url for url, _ in world.asked}


def test_github_is_asked_by_digest_until_it_lists_something() -> None:
    api = (
        f"https://api.github.com/repos/example/app/attestations/{digest(IMAGE.index)}?per_page=100"
    )
    bundle = {"mediaType": BUNDLE_TYPE, "messageSignature": {}}
    world = honest(**{api: Answer(body=encode({"attestations": [{"bundle": bundle}]}))})
    assert [item.source for item in world.collect().of(Kind.SIGSTORE_BUNDLE)] == [api]
    assert [url for url, _ in world.asked if "api.github.com" in url] == [api]
    world = honest(**{api: Answer(body=b'{"attestations": []}')})
    world.collect()
    assert len([url for url, _ in world.asked if "api.github.com" in url]) == 2
    assert not any(sent for url, sent in world.asked if "api.github.com" in url)
