"""Image references and documents: what Docker reads, and what nobody should."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evidence.images.images import digest, encode, make_image
from verifier.errors import EvidenceError
from verifier.evidence.images import oci
from verifier.evidence.images.oci import ImageIndex, ImageManifest, parse_reference
from verifier.evidence.images.oci_resolution import named

D = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "canonical", "api"),
    [
        ("redis", "docker.io/library/redis", "https://registry-1.docker.io/v2/library/redis"),
        ("redis:7-alpine", "docker.io/library/redis:7-alpine", None),
        (f"redis@{D}", f"docker.io/library/redis@{D}", None),
        ("docker.io/redis", "docker.io/library/redis", None),
        ("index.docker.io/org/app", "docker.io/org/app", None),
        ("org/app:1", "docker.io/org/app:1", None),
        (f"ghcr.io/o/a/b:1@{D}", f"ghcr.io/o/a/b:1@{D}", "https://ghcr.io/v2/o/a/b"),
        ("localhost/app", "localhost/app", "https://localhost/v2/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "https://localhost:5000/v2/app"),
        ("GHCR.io/o/a", "ghcr.io/o/a", None),
        ("[::1]:5000/app", "[::1]:5000/app", None),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f", None),
    ],
)
def test_references_are_read_as_docker_reads_them(
    text: str, canonical: str, api: str | None
) -> None:
    reference = parse_reference(text)
    assert str(reference) == canonical
    assert api in (None, reference.api)
    assert parse_reference(canonical) == reference


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":1",
        "@" + D,
        "Redis",
        "a/B",
        "app:",
        "app:" + "x" * 129,
        "app@sha256:abc123",
        f"app@{D.upper()}",
        f"app@{D}@{D}",
        "app@sha512:" + "ab" * 64,
        "ab" * 32,
        D,
        "a..b",
        "a//b",
        "/a",
        "a/",
        "-a/b",
        "user@ghcr.io/o/a",
        "https://ghcr.io/o/a",
        "ghcr.io:x/a",
        "ghcr.io/o/../a",
        "ghcr.io/o/a?b",
        "ghcr.io/o/a#b",
        "a b",
        "a\n",
        "app:1\n",
        f"app@{D}\n",
        "\u0430pp",
        "${IMAGE}",
        "x" * 256,
    ],
)
def test_other_references_are_refused(text: str) -> None:
    with pytest.raises(EvidenceError, match="image reference"):
        parse_reference(text)


@given(st.text(alphabet="aA0./:@_-[]\n\u0430" + "sha256:", max_size=60))
def test_a_reference_parses_to_a_fixed_point_or_is_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except EvidenceError:
        return
    assert parse_reference(str(reference)) == reference


def test_an_index_leads_to_the_linux_amd64_manifest_and_its_configuration() -> None:
    image = make_image()
    index = oci.parse_manifest(image.index, digest(image.index))
    assert isinstance(index, ImageIndex)
    (chosen,) = named(index)
    manifest = oci.parse_manifest(image.manifest, chosen.digest)
    assert isinstance(manifest, ImageManifest)
    config = oci.parse_config(image.config, manifest.config.digest)
    assert config.platform == ("linux", "amd64")
    assert (config.source, config.revision) == ("https://github.com/example/app", "5a" * 20)


def test_docker_schema_2_documents_are_read_too() -> None:
    manifest = json.loads(make_image().manifest)
    manifest["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json"
    raw = encode(manifest)
    assert isinstance(oci.parse_manifest(raw, digest(raw)), ImageManifest)


def test_bytes_of_another_digest_are_refused() -> None:
    image = make_image()
    with pytest.raises(EvidenceError, match="have the digest"):
        oci.parse_manifest(image.manifest, D)
    with pytest.raises(EvidenceError, match="have the digest"):
        oci.parse_config(image.config + b" ", digest(image.config))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"manifests": []}, "not clearly"),
        ({"schemaVersion": 1}, "schema version 1"),
        ({"schemaVersion": True}, "expected an integer"),
        ({"mediaType": "application/vnd.oci.image.index.v1+json"}, "does not fit"),
        ({"mediaType": "application/vnd.oci.empty.v1+json"}, "does not fit"),
        ({"config": None}, "expected a JSON object"),
        ({"config": {"digest": D, "size": -1}}, "out of range"),
        ({"config": {"digest": "sha256:AB", "size": 1}}, "lower-case hex"),
        ({"layers": [1]}, "expected a JSON object"),
        ({"layers": [{"digest": D, "size": 1}] * 1001}, "over the limit"),
    ],
)
def test_malformed_manifests_are_refused(change: dict[str, Any], message: str) -> None:
    raw = encode({**json.loads(make_image().manifest), **change})
    with pytest.raises(EvidenceError, match=message):
        oci.parse_manifest(raw, digest(raw))


@given(st.binary(max_size=200))
def test_no_bytes_make_a_parser_raise_anything_else(raw: bytes) -> None:
    for parse in (oci.parse_manifest, oci.parse_config):
        with pytest.raises(EvidenceError):
            parse(raw, digest(raw))
