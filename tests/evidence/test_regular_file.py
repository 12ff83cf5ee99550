"""Files that are read up to a limit and never waited for."""

import os
import subprocess
import threading
from pathlib import Path

import pytest

from verifier.evidence.regular_file import IrregularFile, read_given, read_regular


def test_one_byte_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    (tmp_path / "link").symlink_to(path)
    for named in (path, tmp_path / "link"):
        assert read_regular(named, 9) == read_given(named, 9) == bytes(10)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link", "."):
        with pytest.raises(IrregularFile, match="no regular file"):
            read_regular(tmp_path / name, 9)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "nowhere", 9)
    with pytest.raises(NotADirectoryError):
        read_regular(Path(__file__) / "nowhere", 9)


def test_a_file_that_becomes_a_pipe_between_two_looks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr("verifier.evidence.regular_file.require_regular", lambda _: None)
    with pytest.raises(IrregularFile):
        read_regular(tmp_path / "pipe", 9)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="nothing is written to it"):
        read_given(tmp_path / "pipe", 9)


@pytest.mark.parametrize("limit", [3, 100_000, 1 << 20])
def test_what_a_program_writes_to_a_pipe_is_read(tmp_path: Path, limit: int) -> None:
    os.mkfifo(tmp_path / "pipe")
    raw = b"0123456789" * 50_000
    writer = subprocess.Popen(["bash", "-c", f"exec cat {tmp_path}/data > {tmp_path}/pipe"])  # noqa: S607
    (tmp_path / "data").write_bytes(raw)
    ready = threading.Event()
    found = b""
    while not found and writer.poll() is None:
        try:
            found = read_given(tmp_path / "pipe", limit)
        except OSError:  # it has not begun to write
            ready.wait(0.01)
    writer.wait(10)
    assert found == raw[: limit + 1]
