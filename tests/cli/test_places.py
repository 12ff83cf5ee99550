"""Where reports and bundles go: looked at before anything is asked, and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import PROGRAM, Run
from tests.cli.test_live import on_localhost, options
from tests.worlds.audited import audit
from verifier.cli.options import Format, Written
from verifier.cli.output import write_report
from verifier.errors import UsageError
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import World

DEMO = ("demo", "--format", "summary")
LONG = "x" * 300
linux = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


class Silent(World):
    """A world that must not be asked."""

    def respond(self, *arguments: object, **more: object) -> Response:
        """Fail."""
        raise AssertionError((arguments, more))


@pytest.fixture
def unasked(tmp_path: Path) -> Iterator[list[str]]:
    world = Silent(Knobs())
    with on_localhost(world) as port:
        yield options(world, port, tmp_path / "reference.json")


@pytest.mark.parametrize(
    ("places", "said"),
    [
        (["-o", "missing/report"], "-o missing/report: missing is no directory"),
        (["-o", "."], "-o .: it is a directory"),
        (["-o", LONG], "File name too long"),
        (["--save", LONG], "File name too long"),
        (["--save", "there"], "--save there: it exists already"),
        (["--save", "dangling.tar"], "--save dangling.tar: it exists already"),
        (["--save", "file/below"], "--save file/below: file is no directory"),
        (["--save", "x.tar", "-o", "x.tar"], "the bundle is kept there"),
        (["--report", "json=absent/r.json"], "--report json=absent/r.json: absent is no directory"),
        (["--report", "html=there"], "--report html=there: it is a directory"),
        (["-o", "x", "--report", "json=./x"], "--report json=x: another report goes there"),
        (["--report", "json=x", "--report", "html=x"], "--report html=x: another report"),
        (["--save", "x.tar", "--report", "json=x.tar"], "the bundle is kept there"),
        (["--save", "x.tar", "-o", "./y/../x.tar"], "is no directory"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_asked(
    run: Run, unasked: list[str], tmp_path: Path, places: list[str], said: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "dangling.tar").symlink_to("nowhere")
    ran = run(*unasked, *places)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) <= 2
    assert not (tmp_path / "nowhere").exists()


@linux
def test_a_report_that_cannot_be_written_is_shown(run: Run) -> None:
    ran = run("demo", "--format", "summary", "-o", "/dev/full")
    assert ran.code == 2
    assert ran.out.startswith("AFFIRMING")
    assert "/dev/full: cannot write the report" in ran.err


def test_a_further_report_that_cannot_be_written_loses_no_other(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """What was writable when it was asked for may no longer be when it is written."""
    further = [f"json={tmp_path}", f"markdown={tmp_path / 'r.md'}"]
    written = Written(form=Format.SUMMARY, output=tmp_path / "r.txt", also=further)
    with pytest.raises(UsageError, match="cannot write the report"):
        write_report(audit(Knobs()).report, written)
    assert json.loads(capsysbinary.readouterr().out)["verdict"] == "affirming"
    assert (tmp_path / "r.txt").read_text("utf-8").startswith("AFFIRMING")
    assert "affirming" in (tmp_path / "r.md").read_text("utf-8")


@linux
@pytest.mark.parametrize("arguments", [["checks"], ["--help"], ["policy", "explain", "baseline"]])
def test_stdout_that_takes_nothing_is_one_line(arguments: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.decode().splitlines() == [
        "verify: stdout: cannot write: No space left on device"
    ]


@pytest.mark.skipif(os.name == "nt", reason="no SIGPIPE there")
@pytest.mark.parametrize("arguments", [["checks"], ["--help"], ["policy", "explain", "baseline"]])
def test_a_reader_that_has_seen_enough_is_no_crash(arguments: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        command.stdout.close()
        assert command.stderr is not None
        said = command.stderr.read()
        command.wait(60)
    assert (command.returncode, said) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_target_is_a_usage_error(run: Run, text: str) -> None:
    ran = run(text)
    assert (ran.code, ran.out) == (2, "")
    assert "TARGET is empty" in ran.err


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (f"0X{'ab' * 20}", "ab" * 20),
        (f" {'ab' * 20}\n", "ab" * 20),
        ("example.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
    ],
)
def test_what_was_probably_meant_is_said(run: Run, text: str, meant: str) -> None:
    ran = run(text)
    assert (ran.code, ran.out) == (2, "")
    assert f"did you mean `verify {meant}`?" in ran.err


def test_another_scheme_is_no_path(run: Run) -> None:
    ran = run("ftp://x.y/")
    assert ran.code == 2
    assert "is not an address that is asked" in ran.err


@linux
def test_a_root_without_end_is_not_read_whole(run: Run) -> None:
    ran = run("ab" * 20, "--unsafe-root", "/dev/zero", "--offline", "--bundle", "nothing")
    assert ran.code in (2, 3)
    assert len(ran.err.splitlines()) <= 2


def test_nothing_is_left_of_a_bundle_that_cannot_be_written_whole(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            limit + ignore + PROGRAM,
            *["demo", "--format", "summary", "--save", "kept"],
        ],
        cwd=tmp_path,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert b"Traceback" not in done.stderr
    assert done.stdout.startswith(b"AFFIRMING")
    assert done.returncode in (2, 3)
    assert list((tmp_path / "kept").iterdir()) == []
