"""Archives of rebuilt images: their digests, and what makes an archive worthless."""

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.evidence.images.images import (
    digest,
    docker_archive,
    encode,
    layout,
    make_image,
    tar,
    write_tar,
)
from verifier.cli.commands.oci import identify_image
from verifier.errors import EvidenceError, UsageError
from verifier.evidence.images.oci_archive import read_archive

IMAGE = make_image()
BLOB = f"blobs/sha256/{digest(IMAGE.layer)[7:]}"
RUNNER = CliRunner()
APP = typer.Typer()
APP.command()(identify_image)


def test_an_oci_layout_gives_every_digest(tmp_path: Path) -> None:
    (image,) = read_archive(write_tar(tmp_path / "a.tar", layout(IMAGE)))
    assert image.digests == (digest(IMAGE.index), digest(IMAGE.manifest), digest(IMAGE.config))
    assert image.names == ("app:1",)


def test_a_layout_without_an_inner_index_gives_no_index_digest(tmp_path: Path) -> None:
    (image,) = read_archive(write_tar(tmp_path / "a.tar", layout(IMAGE, IMAGE.manifest)))
    assert (image.index, image.manifest) == ("", digest(IMAGE.manifest))


def test_a_docker_archive_gives_the_image_id_alone(tmp_path: Path) -> None:
    (image,) = read_archive(write_tar(tmp_path / "a.tar", docker_archive(IMAGE)))
    assert image.digests == (digest(IMAGE.config),)
    assert image.names == ("app:1",)


def test_names_may_start_with_a_dot_as_tar_writes_them(tmp_path: Path) -> None:
    members = {f"./{name}": raw for name, raw in layout(IMAGE).items()}
    assert read_archive(write_tar(tmp_path / "a.tar", members))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({BLOB: IMAGE.layer + b"x"}, "has the digest"),
        ({BLOB: None}, "is missing"),
        ({f"blobs/sha256/{digest(IMAGE.config)[7:]}": IMAGE.manifest}, "has not the size"),
        (
            {f"blobs/sha256/{digest(IMAGE.config)[7:]}": b" " * len(IMAGE.config)},
            "have the digest",
        ),
        ({"oci-layout": b'{"imageLayoutVersion":"2.0.0"}'}, "not version"),
        ({"oci-layout": None}, "is missing"),
        ({"index.json": encode({"schemaVersion": 2, "manifests": []})}, "names no image"),
        ({"index.json": IMAGE.manifest}, "names no image"),
        ({"index.json": b"{"}, "not JSON"),
        ({"index.json": b" " * (5 << 20)}, "over the limit"),
        ({"./index.json": b"{}"}, "stands twice"),
    ],
)
def test_a_changed_layout_is_refused(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    members = {name: raw for name, raw in {**layout(IMAGE), **change}.items() if raw is not None}
    with pytest.raises(EvidenceError, match=message):
        read_archive(write_tar(tmp_path / "a.tar", members))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer.tar": b"x"}, "not those of the configuration"),
        ({"config.json": None}, "is missing"),
        ({"manifest.json": b"[]"}, "names no image"),
        ({"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}, "is missing"),
    ],
)
def test_a_changed_docker_archive_is_refused(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    members = {
        name: raw for name, raw in {**docker_archive(IMAGE), **change}.items() if raw is not None
    }
    with pytest.raises(EvidenceError, match=message):
        read_archive(write_tar(tmp_path / "a.tar", members))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_no_link_is_followed(tmp_path: Path, kind: bytes) -> None:
    members = layout(IMAGE)
    layer = members.pop(BLOB)
    path = write_tar(tmp_path / "a.tar", {**members, "layer": layer})
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo(BLOB)
        member.type, member.linkname = kind, "layer"
        archive.addfile(member)
    with pytest.raises(EvidenceError, match="link or not a regular file"):
        read_archive(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    for raw in (b"", b"x" * 2000, tar({"hello": b""}), tar(layout(IMAGE))[:2000]):
        path.write_bytes(raw)
        with pytest.raises(EvidenceError):
            read_archive(path)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    path.write_bytes(packed.getvalue())
    with pytest.raises(EvidenceError, match="not a plain tar"):
        read_archive(path)
    for missing in (tmp_path / "none.tar", tmp_path):
        with pytest.raises(EvidenceError, match="cannot read"):
            read_archive(missing)


def test_the_command_compares_with_what_is_expected(tmp_path: Path) -> None:
    path = str(write_tar(tmp_path / "a.tar", layout(IMAGE)))
    for raw in (IMAGE.index, IMAGE.manifest, IMAGE.config):
        done = RUNNER.invoke(APP, [path, "--expect-image", f"app={digest(raw)}"])
        assert done.exit_code == 0
        assert digest(raw) in done.stdout
    done = RUNNER.invoke(APP, [path, "--expect-image", digest(IMAGE.layer)])
    assert done.exit_code == 4
    assert "no image here is" in done.stderr
    done = RUNNER.invoke(APP, [path, "--expect-image", "sha256:12"])
    assert isinstance(done.exception, UsageError)


def test_hostile_names_are_made_visible(tmp_path: Path) -> None:
    image = make_image({"org.opencontainers.image.source": "https://x\x1b[2J\u202e"})
    done = RUNNER.invoke(APP, [str(write_tar(tmp_path / "a.tar", layout(image)))])
    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_an_archive_that_skopeo_writes_is_read(tmp_path: Path, form: str) -> None:
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        pytest.skip("skopeo is not installed")
    source, target = tmp_path / "layout", tmp_path / "copy.tar"
    for name, raw in layout(IMAGE, IMAGE.manifest).items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(raw)
    command = [skopeo, "--insecure-policy", "copy", f"oci:{source}", f"{form}:{target}:example:1"]
    subprocess.run(command, check=True, capture_output=True)
    (image,) = read_archive(target)
    assert image.config.digest == digest(IMAGE.config)
    assert image.names
