"""`verify image` and `--image` as a user runs them."""

import json
from pathlib import Path

import pytest

from tests.cli.command import Run
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
        (("image", "image", "--machine", "nothing.json"), 3),
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
