"""The ways from a pinned digest to an image: indexes of every shape, and dead ends."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.evidence.images.images import (
    NO_PLATFORM,
    OCI,
    descriptor,
    digest,
    encode,
    layout,
    make_image,
    write_tar,
)
from verifier.checks.provenance import check as provenance
from verifier.checks.provenance.check import Images
from verifier.checks.provenance.named_images import NamedImage
from verifier.checks.provenance.source_link import Provenance, Tie
from verifier.cli.commands.oci import identify_image
from verifier.collect.challenges import parse_challenges
from verifier.errors import EvidenceError
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.images.oci import ArtifactError, ImageConfig, ImageManifest
from verifier.evidence.images.oci_resolution import MAX_DOCUMENTS, Resolution
from verifier.model.result import Status

IMAGE = make_image()
OTHER = make_image({"org.opencontainers.image.title": "other"})
ARM = make_image(architecture="arm64")
BASE = {"os": "linux", "architecture": "amd64"}
EMPTY = b"{}"


def entry(raw: bytes, platform: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    kind = "index" if b'"manifests"' in raw else "manifest"
    said = {} if platform is None else {"platform": platform}
    return {**descriptor(raw, f"{OCI}.{kind}.v1+json"), **said, **more}


def index(*entries: dict[str, Any]) -> bytes:
    media_type = f"{OCI}.index.v1+json"
    return encode({"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries)})


def manifest(config: bytes, media_type: str, **more: Any) -> bytes:
    document = {"schemaVersion": 2, "mediaType": f"{OCI}.manifest.v1+json", **more}
    return encode({**document, "config": descriptor(config, media_type), "layers": []})


SIGNATURE = manifest(EMPTY, "application/vnd.oci.empty.v1+json", artifactType="text/x-signature")
CHART = manifest(encode({"name": "chart"}), "application/vnd.cncf.helm.config.v1+json")
OLD_ARTIFACT = encode({"mediaType": "application/vnd.oci.artifact.manifest.v1+json", "blobs": []})
FLAT = index(entry(IMAGE.manifest, BASE))


def resolve(top: bytes, *more: bytes) -> tuple[Resolution, ImageManifest, ImageConfig]:
    known = {digest(raw): raw for raw in (top, *more, EMPTY, encode({"name": "chart"}))}
    for image in (IMAGE, OTHER, ARM):
        known |= image.blobs

    def served(name: str, _: int | None) -> bytes:
        if name not in known:
            raise EvidenceError(f"{name} is not here")
        return known[name]

    way = Resolution(served, served)
    return way, *way.resolve(digest(top))


def variant(name: str) -> dict[str, str]:
    return {**BASE, "variant": name}


@pytest.mark.parametrize(
    ("top", "more"),
    [
        (FLAT, ()),
        (index(entry(FLAT, BASE)), (FLAT,)),
        (index(entry(FLAT)), (FLAT,)),
        (index(entry(index(entry(FLAT, BASE)), BASE)), (FLAT, index(entry(FLAT, BASE)))),
        (index(entry(IMAGE.manifest)), ()),
        (index(entry(IMAGE.manifest, {})), ()),
        (index(entry(IMAGE.manifest), entry(ARM.manifest)), ()),
        (index(entry(IMAGE.manifest), entry(SIGNATURE), entry(CHART)), (SIGNATURE, CHART)),
        (index(entry(IMAGE.manifest, BASE), entry(OTHER.manifest)), ()),
        (index(entry(IMAGE.manifest, BASE), entry(OTHER.manifest, variant("v3"))), ()),
        (index(entry(IMAGE.manifest, variant("v3")), entry(OTHER.manifest, variant("v2"))), ()),
        (index(entry(IMAGE.manifest, variant("v1"))), ()),
        (index(entry(IMAGE.manifest, {"os": "Linux", "architecture": "x86_64"})), ()),
        (index(entry(IMAGE.manifest, {"architecture": "amd64"}), entry(OTHER.manifest)), ()),
        (index(entry(IMAGE.manifest, BASE), entry(SIGNATURE, BASE)), (SIGNATURE,)),
        (index(entry(IMAGE.manifest, BASE), entry(OTHER.manifest, NO_PLATFORM)), ()),
        (index(entry(IMAGE.manifest, BASE), entry(IMAGE.manifest, BASE)), ()),
        (
            index(entry(IMAGE.manifest, BASE), entry(OTHER.manifest, digest="sha512:" + "a" * 128)),
            (),
        ),
        (index(entry(IMAGE.manifest), entry(OLD_ARTIFACT, mediaType="text/other")), ()),
    ],
)
def test_every_shape_of_an_index_leads_to_its_image(top: bytes, more: tuple[bytes, ...]) -> None:
    way, found, config = resolve(top, *more)
    assert found.digest == digest(IMAGE.manifest)
    assert config.platform == ("linux", "amd64")
    assert (way.path[0], way.path[-1]) == (digest(top), found.digest)
    assert way.config_digest == digest(IMAGE.config)


@pytest.mark.parametrize(
    ("top", "message"),
    [
        (index(), "no manifest for linux/amd64"),
        (index(entry(ARM.manifest, {**BASE, "architecture": "arm64"})), "no manifest for"),
        (index(entry(ARM.manifest)), "no manifest for"),
        (index(entry(IMAGE.manifest, NO_PLATFORM)), "no manifest for"),
        (index(entry(IMAGE.manifest, BASE), entry(OTHER.manifest, BASE)), "more than one"),
        (index(entry(IMAGE.manifest), entry(OTHER.manifest)), "more than one"),
        # containerd runs what has an artifact's type, too: it may be the one that runs.
        (index(entry(IMAGE.manifest, BASE), entry(OTHER.manifest, BASE, artifactType="x")), "more"),
        (index(entry(IMAGE.manifest, BASE, digest="sha512:" + "a" * 128)), "only sha256"),
        (index(entry(IMAGE.manifest, BASE, digest="sha256:" + "A" * 64)), "lower-case hex"),
    ],
)
def test_an_index_without_one_clear_image_is_refused(top: bytes, message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        resolve(top)


@pytest.mark.parametrize("raw", [SIGNATURE, CHART, OLD_ARTIFACT])
def test_an_artifact_is_no_image(raw: bytes) -> None:
    with pytest.raises(ArtifactError, match="artifact"):
        resolve(raw)


def test_depth_and_number_of_documents_are_bounded() -> None:
    nested = [FLAT]
    for _ in range(12):
        nested.append(index(entry(nested[-1], BASE)))
    with pytest.raises(EvidenceError, match="in each other"):
        resolve(nested[-1], *nested)
    empty = [index(entry(SIGNATURE, {"os": str(n), "architecture": ""})) for n in range(900)]
    asked: list[str] = []
    known = {digest(raw): raw for raw in (index(*map(entry, empty)), *empty)}

    def served(name: str, _: int | None) -> bytes:
        asked.append(name)
        return known[name]

    with pytest.raises(EvidenceError, match="documents"):
        Resolution(served, served).resolve(digest(index(*map(entry, empty))))
    assert len(asked) == MAX_DOCUMENTS


def judged(*tops: bytes) -> tuple[tuple[Provenance, ...], Any]:
    """What the check says of images that a bundle holds; `b""` stands for one that nobody has."""
    builder = BundleBuilder()
    raws = {raw for image in (IMAGE, OTHER, ARM) for raw in image.blobs.values()}
    for raw in sorted({*raws, *tops, FLAT, SIGNATURE} - {b""}):
        kind = Kind.OCI_CONFIG if b'"rootfs"' in raw else Kind.OCI_MANIFEST
        builder.add(kind, raw, source=digest(raw), collected_at=1)
    images = tuple(
        NamedImage(f"s{place}", f"registry.example/app@{digest(raw)}")
        for place, raw in enumerate(tops)
    )
    found = provenance.examine(Images(images=images, bundle=builder.build(), at=1))
    return found, provenance.judge(found)


def test_a_nested_index_is_tied_as_a_flat_one() -> None:
    (flat, nested), outcome = judged(FLAT, index(entry(FLAT, BASE)))
    assert flat.tie is nested.tie is Tie.ASSERTED
    assert outcome.status is Status.WARN
    assert nested.digests[1:] == flat.digests


def test_one_image_hides_no_other() -> None:
    _, outcome = judged(SIGNATURE, b"", FLAT, index(entry(OTHER.manifest, BASE)))
    assert outcome.status is Status.ERROR
    assert "1 malformed, 1 unknown, 1 untied, 1 asserted" in outcome.summary
    assert all(f"s{place} (" in outcome.reason for place in range(4))
    ties = ["malformed", "unknown", "asserted", "untied"]
    assert [item["tie"] for item in outcome.actual] == ties


APP = typer.Typer()
APP.command()(identify_image)


def test_the_command_reads_every_image_of_an_archive(tmp_path: Path) -> None:
    nested = index(entry(FLAT, BASE))
    top = index(entry(nested), entry(SIGNATURE))
    blobs = {f"blobs/sha256/{digest(raw)[7:]}": raw for raw in (FLAT, nested, SIGNATURE)}
    members = {**layout(IMAGE), **blobs, "index.json": top}
    done = CliRunner().invoke(APP, [str(write_tar(tmp_path / "a.tar", members))])
    assert done.exit_code == 0
    assert all(digest(raw) in done.stdout for raw in (nested, FLAT, IMAGE.manifest, IMAGE.config))
    # One that is malformed hides no other, and is not passed over.
    members["index.json"] = index(entry(OTHER.manifest), entry(nested))
    done = CliRunner().invoke(APP, [str(write_tar(tmp_path / "b.tar", members))])
    assert done.exit_code == 3
    assert digest(IMAGE.manifest) in done.stdout
    assert "is missing" in done.stderr


@given(st.lists(st.text(max_size=80), max_size=3))
def test_any_challenge_is_read_without_a_crash(lines: list[str]) -> None:
    for challenge in parse_challenges(lines):
        assert challenge.scheme == challenge.scheme.lower()
        assert all(name == name.lower() for name in challenge.parameters)


def test_a_long_challenge_takes_little_time() -> None:
    for text in ('Bearer a="' + "\\" * 200_000, "a=b," * 100_000, "a " * 100_000, "," * 200_000):
        parse_challenges([text])


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda s: st.lists(s) | st.dictionaries(st.text(), s),
        max_leaves=20,
    )
)
def test_no_document_makes_resolution_raise_anything_else(value: Any) -> None:
    for document in (value, {"schemaVersion": 2, "manifests": value}, {"manifests": [value]}):
        raw = json.dumps(document).encode()
        fetch = partial(lambda raw, *_: raw, raw)
        with pytest.raises(EvidenceError):
            Resolution(fetch, fetch).resolve(digest(raw))
