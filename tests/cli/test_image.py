"""`verify image` and `--image` as a user runs them."""

import hashlib
import json
import tarfile
from pathlib import Path

import pytest

from tests.cli.command import Run
from tests.collect.loopback import Script, Server, answer
from tests.image.images import write_image

FIXTURES = Path(__file__).parents[2] / "fixtures"
VM_CONFIG = {"cpu_count": 8, "memory_size": 64 << 30, "qemu_version": "8.2.2"}


def test_an_image_and_its_machine(run: Run, tmp_path: Path) -> None:
    image = write_image(tmp_path / "image")
    (tmp_path / "vm.json").write_text(json.dumps(VM_CONFIG))
    ran = run("image", image, "--machine", "vm.json", "-o", "IMAGE.json")
    assert ran.code == 0, ran.err
    document = json.loads((tmp_path / "IMAGE.json").read_bytes())
    for value in (document["os_image_hash"], document["rtmr2"], document["machine"]["rtmr0"]):
        assert value in ran.out
    assert len(document["machine"]["rtmr0_events"]) == 13
    assert "no image that this auditor knows" in ran.out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("image", "nothing"), 3),
        (("image", "image", "--machine", "nothing.json"), 2),
        (("image", "image", "--machine", "wrong.json"), 3),
        (("image", "image", "-o", "no/such/folder"), 2),
        (("image",), 2),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int
) -> None:
    write_image(tmp_path / "image")
    (tmp_path / "wrong.json").write_text('{"cpu_count": 0}')
    ran = run(*arguments)
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert ran.err


def test_a_measurement_of_ones_own_is_a_reference_value(run: Run, tmp_path: Path) -> None:
    run("image", write_image(tmp_path / "image"), "-o", "IMAGE.json")
    audit = (
        *(FIXTURES / "demo-bundle.tar", "--unsafe-root", FIXTURES / "demo-reference.json"),
        *("--at", "2026-06-15T00:00:00Z", "--format", "json"),
    )
    plain, named = run(*audit), run(*audit, "--image", "IMAGE.json")
    before, after = json.loads(plain.out), json.loads(named.out)
    assert before["reference_digest"] != after["reference_digest"]
    assert before["verdict"] == after["verdict"]
    (tmp_path / "IMAGE.json").write_text("{}")
    assert run(*audit, "--image", "IMAGE.json").code == 2


def archived(folder: Path) -> tuple[str, bytes]:
    """The hash of an image, and its tarball."""
    image = write_image(folder / "image")
    with tarfile.open(folder / "image.tar.gz", "w:gz") as tar:
        tar.add(image, "image")
    digest = hashlib.sha256((image / "sha256sum.txt").read_bytes()).hexdigest()
    return digest, (folder / "image.tar.gz").read_bytes()


def whole(content: bytes) -> Script:
    """A file that is served in one part."""
    return answer(
        "206 Partial Content", content, f"Content-Range: bytes 0-{len(content) - 1}/{len(content)}"
    )


def test_an_image_is_downloaded_once(run: Run, tmp_path: Path) -> None:
    digest, content = archived(tmp_path)
    server = Server([whole(content)])
    try:
        for _ in range(2):
            ran = run("image", "--fetch", digest, "--mirror", f"http://127.0.0.1:{server.port}/os")
            assert ran.code == 0, ran.err
            assert digest in ran.out
    finally:
        server.close()
    (request,) = server.requests
    assert request.startswith(f"GET /os/mr_{digest}.tar.gz ".encode())


def test_what_is_another_image_is_thrown_away(run: Run, tmp_path: Path) -> None:
    _, content = archived(tmp_path)
    server = Server([whole(content)])
    try:
        for _ in range(2):
            mirror = f"http://127.0.0.1:{server.port}"
            ran = run("image", "--fetch", "0.5.8", "--mirror", mirror)
            assert ran.code == 3
            assert "thrown away" in ran.err
    finally:
        server.close()
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    "arguments", [("--fetch", "9.9"), ("--fetch", "ab"), (".", "--fetch", "0.5.8"), ()]
)
def test_what_names_no_image(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("image", *arguments).code == 2
