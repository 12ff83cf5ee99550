"""Images: files held against their list, archives that lie, and what comes of them."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.image.images import METADATA, checksums, files_of, firmware, kernel, write_image
from verifier.cli.question import with_images
from verifier.errors import EvidenceError, UsageError
from verifier.image.files import parse_checksums, read_image
from verifier.image.measurement import measure_image, read_measurement, to_json
from verifier.machine.shape import MachineShape, parse_vm_config
from verifier.reference.values import Origin, embedded

GIB = 1 << 30
DEVELOPMENT = "7d47512fda31dc5a7318f72ae1869a3c76323981eea21fc30cafd0f79668642c"
"""The hash of dstack-dev-0.5.8."""


def metadata(**changed: Any) -> bytes:
    return json.dumps({**METADATA, **changed}).encode()


def measured(folder: Path, machine: MachineShape | None = None, **changed: bytes) -> dict[str, Any]:
    image = read_image(write_image(folder / "image", files_of(**changed)))
    return to_json(measure_image(image, machine), machine)


def test_an_image_of_parts(tmp_path: Path) -> None:
    document = measured(tmp_path)
    assert document["release"] == "0.5.8"
    assert document["kind"] == "production"
    assert [item["kernel"][:9] for item in document["rtmr1"]] == ["as shippe", "header wr"]
    assert document["files"].keys() == files_of().keys()
    assert "machine" not in document


def test_a_kernel_whose_header_was_written_before(tmp_path: Path) -> None:
    document = measured(tmp_path, metadata_json=metadata(kernel_header_normalized=True))
    assert "when the image was built" in document["rtmr1"][0]["kernel"]


def test_a_machine_with_little_memory_has_a_register_of_its_own(tmp_path: Path) -> None:
    small = parse_vm_config({"cpu_count": 1, "memory_size": GIB, "qemu_version": "8.2.2"})
    document = measured(tmp_path, small)
    assert len({item["rtmr1"] for item in document["rtmr1"]}) == 3
    assert document["rtmr1"][2]["memory"] == "1024 MiB"


@pytest.mark.parametrize(
    ("config", "order"),
    [
        ({"qemu_version": "8.2.2"}, "two_pass"),
        ({"qemu_version": "9.2.1"}, "single_pass"),
        ({}, "single_pass"),
        ({"qemu_single_pass_add_pages": True}, "two_pass"),
        ({"qemu_version": "8.2.2", "qemu_single_pass_add_pages": False}, "single_pass"),
    ],
)
def test_the_order_of_pages_follows_the_machine(
    tmp_path: Path, config: dict[str, Any], order: str
) -> None:
    machine = parse_vm_config({"cpu_count": 8, "memory_size": 64 * GIB, **config})
    document = measured(tmp_path, machine)
    assert document["machine"]["mrtd"] == document[f"mrtd_{order}"]
    assert len(document["machine"]["rtmr0_events"]) == 13


def test_the_real_firmware_gives_the_registers_of_real_machines(tmp_path: Path) -> None:
    """The memory map and the constants of a firmware with dstack's layout are those recorded."""
    machine = parse_vm_config({"cpu_count": 8, "memory_size": 64 * GIB, "qemu_version": "8.2.2"})
    events = measured(tmp_path, machine)["machine"]["rtmr0_events"]
    assert events[0]["digest"].startswith("8ae1e425")
    assert [item["digest"][:8] for item in events[8:11]] == ["6dae1517", "b3a62232", "b6ed8ff3"]


@pytest.mark.parametrize(
    ("what", "changed"),
    [
        ("is_dev", {"is_dev": "no"}),
        ("bios", {"bios": "other.fd"}),
        ("bios", {"bios": "../ovmf.fd"}),
        ("kernel", {"kernel": None}),
        ("initrd", {"initrd": "rootfs.img.parted.verity"}),
        ("version", {"version": 5}),
        ("cmdline", {"cmdline": ["a"]}),
    ],
)
def test_metadata_that_names_what_is_not_listed(
    tmp_path: Path, what: str, changed: dict[str, Any]
) -> None:
    with pytest.raises(EvidenceError, match=what):
        measured(tmp_path, metadata_json=metadata(**changed))


def test_parts_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="firmware"):
        measured(tmp_path, ovmf_fd=kernel())
    with pytest.raises(EvidenceError, match="kernel"):
        measured(tmp_path, bzImage=firmware())


@pytest.mark.parametrize("name", files_of())
def test_a_file_that_is_not_the_listed_one(tmp_path: Path, name: str) -> None:
    image = write_image(tmp_path / "image")
    raw = (image / name).read_bytes()
    (image / name).write_bytes(raw[:-1] + bytes((raw[-1] ^ 1,)))
    with pytest.raises(EvidenceError, match=name):
        read_image(image)
    (image / name).unlink()
    with pytest.raises(EvidenceError, match=name):
        read_image(image)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    image = write_image(tmp_path / "image")
    (image / "bzImage").rename(tmp_path / "elsewhere")
    (image / "bzImage").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EvidenceError, match="bzImage"):
        read_image(image)


def test_the_stated_digest_is_held_against_the_list(tmp_path: Path) -> None:
    image = write_image(tmp_path / "image")
    digest = read_image(image).os_image_hash
    (image / "digest.txt").write_text(digest + "\n")
    read_image(image)
    (image / "digest.txt").write_text("00" * 32)
    with pytest.raises(EvidenceError, match=r"digest\.txt"):
        read_image(image)


@pytest.mark.parametrize(
    "line",
    [
        f"{'0' * 64}  a\n{'0' * 64}  a",
        f"{'0' * 64}  a\n{'1' * 64}  a",
        f"{'0' * 63}  a",
        f"{'A' * 64}  a",
        f"{'0' * 64}  ../a",
        f"{'0' * 64}  /etc/passwd",
        f"{'0' * 64}  a/b",
        f"{'0' * 64}  .hidden",
        f"{'0' * 64} a",
        f"{'0' * 64}  a b",
        "",
        "\xff",
    ],
)
def test_lists_that_lie(line: str) -> None:
    with pytest.raises(EvidenceError):
        parse_checksums(line.encode("latin-1"), "list")


def archive(path: Path, edit: Callable[[tarfile.TarFile], None], mode: str = "w:gz") -> Path:
    files = files_of()
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, raw in {**files, "sha256sum.txt": checksums(files)}.items():
            add(tar, f"dstack-0.5.8/{name}", raw)
        edit(tar)
    return path


def add(tar: tarfile.TarFile, name: str, raw: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(raw), kind
    if kind != tarfile.REGTYPE:
        member.linkname, member.size = "elsewhere", 0
    tar.addfile(member, io.BytesIO(raw))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tarball_gives_what_its_folder_gives(tmp_path: Path, mode: str) -> None:
    tarball = archive(tmp_path / "image.tar", lambda _: None, mode)
    assert to_json(measure_image(read_image(tarball))) == measured(tmp_path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dstack-0.5.8/bzImage", tarfile.REGTYPE),
        ("dstack-0.5.8/../bzImage2", tarfile.REGTYPE),
        ("/bzImage2", tarfile.REGTYPE),
        ("other/bzImage2", tarfile.REGTYPE),
        ("bzImage2", tarfile.REGTYPE),
        ("dstack-0.5.8/a/b/c", tarfile.REGTYPE),
        ("dstack-0.5.8/link", tarfile.SYMTYPE),
        ("dstack-0.5.8/hard", tarfile.LNKTYPE),
        ("dstack-0.5.8/device", tarfile.CHRTYPE),
        ("dstack-0.5.8/pipe", tarfile.FIFOTYPE),
    ],
)
def test_members_that_no_image_has(tmp_path: Path, name: str, kind: bytes) -> None:
    tarball = archive(tmp_path / "image.tar.gz", lambda tar: add(tar, name, b"x", kind))
    with pytest.raises(EvidenceError):
        read_image(tarball)


def test_files_that_are_not_measured_are_passed_over(tmp_path: Path) -> None:
    def edit(tar: tarfile.TarFile) -> None:
        add(tar, "dstack-0.5.8/rootfs.img.parted.verity", b"x" * 1000)

    assert read_image(archive(tmp_path / "image.tar.gz", edit)).files.keys() == files_of().keys()


def bomb(path: Path) -> Path:
    """An archive of a megabyte that says it unpacks to a terabyte."""
    member = tarfile.TarInfo("image/rootfs.img.parted.verity")
    member.size = 1 << 40
    path.write_bytes(gzip.compress(member.tobuf() + bytes(1 << 20)))
    return path


def many(path: Path) -> Path:
    """An archive of more members than any image has."""
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for number in range(10_002):
            add(tar, f"image/{number}", b"")
    return path


def long_header(kind: bytes) -> Callable[[Path], Path]:
    """An archive of a megabyte whose header says that it has a gigabyte more of it."""

    def make(path: Path) -> Path:
        member = tarfile.TarInfo("header")
        member.size, member.type = 1 << 30, kind
        path.write_bytes(gzip.compress(member.tobuf() + bytes(1 << 20)))
        return path

    return make


def cut(path: Path) -> Path:
    """Half of an archive."""
    raw = archive(path, lambda _: None).read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    return path


def text(path: Path) -> Path:
    """No archive."""
    path.write_bytes(b"hello, world")
    return path


HEADERS = [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE]


@pytest.mark.parametrize("make", [bomb, many, cut, text])
def test_archives_that_are_none(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(EvidenceError):
        read_image(make(tmp_path / "image.tar.gz"))


@pytest.mark.parametrize("kind", HEADERS)
def test_headers_that_are_larger_than_the_archive(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"header of a megabyte|sparse"):
        read_image(long_header(kind)(tmp_path / "image.tar.gz"))


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(EvidenceError):
            read_image(path)


def test_a_measurement_is_read_back_as_reference_rows(tmp_path: Path) -> None:
    document = measured(tmp_path)
    images, firmwares = read_measurement(json.dumps(document).encode(), "IMAGE.json")
    assert len(images) == 4
    assert {row.origin for row in images} == {Origin.REBUILT}
    assert {row.os_image_hash for row in images} == {document["os_image_hash"]}
    assert firmwares.mrtd == (document["mrtd_two_pass"], document["mrtd_single_pass"])


@pytest.mark.parametrize(
    "edit",
    [
        {"schema": "other"},
        {"kind": "unknown"},
        {"kind": None},
        {"mrtd_two_pass": "00"},
        {"mrtd_single_pass": "ZZ" * 48},
        {"rtmr1": []},
        {"rtmr1": [{"rtmr1": "00"}]},
        {"rtmr1": "00" * 48},
        {"rtmr2": None},
        {"os_image_hash": "AA" * 32},
        {"firmware": {}},
        {"firmware": {"witness": "80", "volume": "00" * 48}},
        {"release": 5},
    ],
    ids=json.dumps,
)
def test_a_measurement_that_is_none_is_the_users_mistake(
    tmp_path: Path, edit: dict[str, Any]
) -> None:
    path = tmp_path / "IMAGE.json"
    path.write_text(json.dumps({**measured(tmp_path), **edit}))
    with pytest.raises(UsageError, match="--image"):
        with_images(embedded(), [path])


@pytest.mark.parametrize(
    "edit",
    [
        {"release": "0.5.4"},
        {"os_image_hash": DEVELOPMENT},
    ],
    ids=["another hash than the release", "a development image as production"],
)
def test_files_that_call_themselves_a_known_release(tmp_path: Path, edit: dict[str, Any]) -> None:
    path = tmp_path / "IMAGE.json"
    document = {**measured(tmp_path), "release": "of my own", **edit}
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="calls itself"):
        with_images(embedded(), [path])
    path.write_text(json.dumps({**document, "release": "of my own", "os_image_hash": "ab" * 32}))
    assert len(with_images(embedded(), [path]).os_images) == len(embedded().os_images) + 4
