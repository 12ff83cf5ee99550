"""A bundle is what its digest says, or it is refused."""

import contextlib
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from verifier.errors import EvidenceError
from verifier.evidence import bundle_files, bundle_manifest
from verifier.evidence.bundle import (
    Bundle,
    BundleBuilder,
    Kind,
    Trust,
    files_of,
    load,
    save,
    to_tar,
    trust_of,
)
from verifier.evidence.bundle_files import MANIFEST_NAME

PAGE = b"<p>page</p>"
PAGE_DIGEST = hashlib.sha256(PAGE).hexdigest()


def example(order: int = 1) -> Bundle:
    builder = BundleBuilder()
    additions: list[Callable[[], object]] = [
        lambda: builder.add(Kind.PAGE, PAGE, source="https://a/", collected_at=10, subject="i"),
        lambda: builder.add(Kind.QUOTE, b"\4\0", source="https://a/q", collected_at=11),
        lambda: builder.add(
            Kind.PCS_TCB_INFO,
            b"{}",
            source="https://pcs/tcb",
            collected_at=9,
            status=200,
            headers={"B": "2", "A": "1"},
        ),
        lambda: builder.add_failure(
            Kind.INFO, source="https://a/i", collected_at=12, error="HTTP 404", status=404
        ),
        lambda: builder.add(Kind.PAGE, PAGE, source="https://a/", collected_at=10, subject="i"),
    ]
    for add in additions[::order]:
        add()
    return builder.build()


def manifest_of(bundle: Bundle) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bundle.manifest)
    return document


def write(folder: Path, manifest: object, blobs: dict[str, bytes]) -> Path:
    (folder / "blobs").mkdir(parents=True)
    raw = manifest if isinstance(manifest, bytes) else rfc8785.dumps(manifest)  # type: ignore[arg-type]
    (folder / MANIFEST_NAME).write_bytes(raw)
    for name, blob in blobs.items():
        (folder / "blobs" / name).write_bytes(blob)
    return folder


def tar(folder: Path, *members: tuple[str | tarfile.TarInfo, bytes]) -> Path:
    path = folder / "bundle.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, raw in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return path


def refused(path: Path, message: str) -> None:
    with pytest.raises(EvidenceError) as caught:
        load(path)
    assert message in caught.value.message


def test_round_trip_as_directory_and_as_tar(tmp_path: Path) -> None:
    bundle = example()
    save(bundle, tmp_path / "bundle")
    (tmp_path / "bundle.tar").write_bytes(to_tar(bundle))
    for path in (tmp_path / "bundle", tmp_path / "bundle.tar"):
        again = load(path)
        assert again == bundle
        assert again.digest == bundle.digest
        assert to_tar(again) == to_tar(bundle)


def test_the_same_evidence_gives_the_same_digest() -> None:
    assert example().digest == example(-1).digest
    assert len(example().artifacts) == 4


def test_artifacts_that_differ_in_headers_alone_have_an_order() -> None:
    builder = BundleBuilder()
    chains = [f"chain {number}" for number in range(9)]
    for chain in (*chains[4:], *chains[:4]):
        builder.add(Kind.PAGE, PAGE, source="s", collected_at=1, headers={"chain": chain})
    assert [item.header("chain") for item in builder.build().artifacts] == chains


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(EvidenceError, match="not empty"):
        save(example(), tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["mine"]


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "schema": (lambda d: d.update(schema="other/v1"), "schema"),
    "unknown kind": (lambda d: d["artifacts"][1].update(kind="rumour"), "unknown kind"),
    "wrong trust": (
        lambda d: d["artifacts"][1].update(trust=Trust.SELF_AUTHENTICATING.value),
        "trust of page",
    ),
    "no trust": (lambda d: d["artifacts"][1].pop("trust"), "trust of page"),
    "extra field": (lambda d: d["artifacts"][1].update(note="x"), "canonical"),
    "null subject": (lambda d: d["artifacts"][1].update(subject=None), "canonical"),
    "twice": (lambda d: d["artifacts"].append(d["artifacts"][-1]), "stands twice"),
    "order": (lambda d: d["artifacts"].reverse(), "not sorted"),
    "size": (lambda d: d["artifacts"][1].update(size=1), "does not have the bytes"),
    "huge size": (lambda d: d["artifacts"][1].update(size=1 << 60), "out of range"),
    "boolean size": (lambda d: d["artifacts"][1].update(size=True), "expected an integer"),
    "huge time": (lambda d: d["artifacts"][1].update(collected_at=1 << 52), "out of range"),
    "negative time": (lambda d: d["artifacts"][1].update(collected_at=-1), "out of range"),
    "huge status": (lambda d: d["artifacts"][1].update(status=1 << 40), "out of range"),
    "headers": (lambda d: d["artifacts"][1].update(headers=[]), "expected a JSON object"),
    "header value": (lambda d: d["artifacts"][1].update(headers={"a": 1}), "expected a string"),
    "digest of nothing": (lambda d: d["artifacts"][1].update(sha256="../../x"), "is missing"),
    "no list": (lambda d: d.update(artifacts={}), "expected a JSON array"),
    "an item": (lambda d: d.update(artifacts=[1]), "expected a JSON object"),
}


@pytest.mark.parametrize("case", EDITS)
def test_edited_manifests(case: str, tmp_path: Path) -> None:
    bundle = example()
    document = manifest_of(bundle)
    edit, message = EDITS[case]
    assert document["artifacts"][1]["kind"] == "page"
    edit(document)
    raw = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    refused(write(tmp_path / "b", raw, dict(bundle.blobs)), message)


def test_a_manifest_in_another_spelling(tmp_path: Path) -> None:
    bundle = example()
    spaced = json.dumps(manifest_of(bundle), sort_keys=True).encode()
    refused(write(tmp_path / "b", spaced, dict(bundle.blobs)), "canonical")


def test_blobs_must_be_those_that_are_named(tmp_path: Path) -> None:
    bundle = example()
    blobs = dict(bundle.blobs)
    changed = {**blobs, PAGE_DIGEST: PAGE[:-1] + b"?"}
    missing = {key: value for key, value in blobs.items() if key != PAGE_DIGEST}
    refused(write(tmp_path / "a", bundle.manifest, changed), "does not have the bytes")
    refused(write(tmp_path / "b", bundle.manifest, missing), "is missing")
    refused(write(tmp_path / "c", bundle.manifest, {**blobs, "f" * 64: b""}), "not named")
    extra = write(tmp_path / "d", bundle.manifest, blobs)
    (extra / "README").write_text("hello")
    refused(extra, "not named")
    nested = write(tmp_path / "e", bundle.manifest, blobs)
    (nested / "blobs" / "more").mkdir()
    refused(nested, "not a regular file")


def test_links_and_devices_in_a_directory(tmp_path: Path) -> None:
    bundle = example()
    outside = tmp_path / "outside"
    outside.write_bytes(PAGE)
    linked = write(tmp_path / "a", bundle.manifest, dict(bundle.blobs))
    (linked / "blobs" / PAGE_DIGEST).unlink()
    (linked / "blobs" / PAGE_DIGEST).symlink_to(outside)
    refused(linked, "is a link")
    folder = write(tmp_path / "b", bundle.manifest, dict(bundle.blobs))
    (folder / "blobs").rename(tmp_path / "elsewhere")
    (folder / "blobs").symlink_to(tmp_path / "elsewhere")
    refused(folder, "is a link")
    pipe = write(tmp_path / "c", bundle.manifest, dict(bundle.blobs))
    os.mkfifo(pipe / "blobs" / "pipe")
    refused(pipe, "not a regular file")


@pytest.mark.parametrize(
    "name", ["../blobs/x", "/etc/passwd", "blobs/../x", "blobs//x", f"./blobs/{PAGE_DIGEST}"]
)
def test_names_outside_a_tar(name: str, tmp_path: Path) -> None:
    bundle = example()
    blobs = [(f"blobs/{digest}", raw) for digest, raw in bundle.blobs.items()]
    refused(tar(tmp_path, (MANIFEST_NAME, bundle.manifest), *blobs, (name, b"")), "not named")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
        tarfile.CONTTYPE,
    ],
)
def test_members_of_a_tar_are_regular_files(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("blobs/x")
    member.type, member.linkname = kind, "/etc/passwd"
    refused(tar(tmp_path, (MANIFEST_NAME, b"{}"), (member, b"")), "not a regular file")


def test_a_member_stands_once_in_a_tar(tmp_path: Path) -> None:
    refused(tar(tmp_path, (MANIFEST_NAME, b"{}"), (MANIFEST_NAME, b"{}")), "stands twice")


def header(name: bytes, size: bytes, kind: bytes = b"0") -> bytes:
    """A tar header with a size field and a type of the test's own."""
    raw = bytearray(512)
    raw[: len(name)], raw[124:136], raw[156:157], raw[257:263] = name, size, kind, b"ustar\0"
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


HEADERS = {
    "huge": (header(b"manifest.json", b"\x80" + (1 << 70).to_bytes(11, "big")), "over the limit"),
    "negative": (
        header(b"a", b"\xff" + (-512).to_bytes(11, "big", signed=True)) * 2,
        "over the limit",
    ),
    "not octal": (header(b"manifest.json", b"9999999999x\0"), "neither a directory"),
    "cut": (header(b"manifest.json", b"00000001000\0") + b"x", "neither a directory"),
    "headers without end": (header(b"p", b"00000000000\0", b"x") * 3000, "neither a directory"),
    "long names without end": (header(b"p", b"00000000000\0", b"L") * 3000, "neither a dir"),
    "sparse": (header(b"manifest.json", b"00000000000\0", b"S") + bytes(1024), "not a regular"),
    "empty": (b"", "neither a directory"),
    "zeros": (bytes(10240), "no manifest.json"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(600), "neither a directory"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_tar_headers(case: str, tmp_path: Path) -> None:
    raw, message = HEADERS[case]
    (tmp_path / "b.tar").write_bytes(raw)
    refused(tmp_path / "b.tar", message)


def test_what_is_no_bundle(tmp_path: Path) -> None:
    refused(tmp_path, "no manifest.json")
    refused(tmp_path / "nothing", "cannot read")


def test_witnessed_kinds_are_those_that_nobody_signed() -> None:
    witnessed = {kind for kind in Kind if trust_of(kind) is Trust.WITNESSED}
    unsigned = {Kind.PAGE, Kind.INFO, Kind.TCB_INFO, Kind.KMS_META, Kind.CLOUD_ATTESTATIONS}
    assert witnessed >= {*unsigned, Kind.JSON_RPC}
    signed = {Kind.QUOTE, Kind.COLLATERAL, Kind.APP_CERT, Kind.SIGNATURE_CHAIN, Kind.APP_COMPOSE}
    assert not witnessed & signed


@given(st.data())
def test_a_changed_tar_is_refused_or_is_the_same_bundle(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    raw = bytearray(to_tar(example()))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.tar"
    path.write_bytes(raw)
    with contextlib.suppress(EvidenceError):
        assert load(path).digest == example().digest
    with contextlib.suppress(EvidenceError):
        assert bundle_files.read_own_tar(path) in ({}, bundle_files.read_tar(path))


def test_own_tars_are_read_by_their_own_reader(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    path.write_bytes(to_tar(example()))
    assert bundle_files.read_own_tar(path) == files_of(example()) == bundle_files.read_tar(path)


@given(st.data())
def test_both_readers_of_manifests_say_the_same(data: st.DataObject) -> None:
    raw = bytearray(example().manifest)
    assert bundle_manifest.canonical(bytes(raw)) == example().artifacts
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 2))] = data.draw(
        st.binary(max_size=2) | st.sampled_from([b'"', b"0", b"1e1", b"null", b"\\u0041", b" "])
    )
    found = bundle_manifest.canonical(bytes(raw))
    if found is not None:
        assert found == bundle_manifest.parse(bytes(raw), "manifest")
        assert bundle_manifest.write(found) == raw
