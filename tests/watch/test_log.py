"""The witness log: what it holds, what is found wrong with it, and what survives an end at any
moment."""

import os
import shutil
import signal
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watch.logs import KEY, OTHER_KEY, entry, write
from verifier.errors import EvidenceError, UsageError
from verifier.watch.log import files
from verifier.watch.log.check import Fault, LogCheck, check_log
from verifier.watch.log.merkle import inclusion_proof, is_included, leaf_hash
from verifier.watch.log.notes import (
    Checkpoint,
    KeyMismatch,
    open_checkpoint,
    parse_verifier_key,
)
from verifier.watch.log.reader import LogReader
from verifier.watch.log.writer import read_checkpoint, writing


def checked(folder: Path, *earlier: bytes) -> LogCheck:
    return check_log(folder, KEY.verifier, earlier)


def faults(folder: Path, *earlier: bytes) -> set[Fault]:
    return {item.fault for item in checked(folder, *earlier).faults}


@pytest.mark.parametrize("counts", [(1,), (3, 4), (255, 1, 1), (256, 300), (0, 2, 0)])
def test_what_was_appended_is_read_again_and_proven(tmp_path: Path, counts: tuple[int]) -> None:
    write(tmp_path, *counts)
    size = sum(counts)
    found = checked(tmp_path)
    assert not found.faults
    assert found.entries == size
    assert found.checkpoint is not None
    reader = LogReader(tmp_path, size)
    assert list(reader.entries()) == [entry(number) for number in range(size)]
    for index in {0, size // 2, size - 1}:
        proof = inclusion_proof(index, size, reader.whole)
        assert is_included(leaf_hash(entry(index)), index, size, proof, found.checkpoint.root)


def test_three_levels_of_tiles_stand_where_they_are_looked_for(tmp_path: Path) -> None:
    write(tmp_path, 65_535, 1, 258)
    assert not faults(tmp_path)
    stand = sorted(
        str(item.relative_to(tmp_path / "tile"))
        for item in (tmp_path / "tile").rglob("*")
        if item.is_file() and item.relative_to(tmp_path / "tile").parts[0] in {"1", "2"}
    )
    assert stand == ["1/000", "1/001.p/1", "2/000.p/1"]
    assert (tmp_path / "tile/0/257.p/2").stat().st_size == 64
    assert (tmp_path / "tile/0/256").stat().st_size == 8192


def test_a_log_is_opened_again_and_continued(tmp_path: Path) -> None:
    write(tmp_path, 200)
    first = (tmp_path / "checkpoint").read_bytes()
    write(tmp_path, 100)
    found = checked(tmp_path, first)
    assert (found.faults, found.proven) == ((), (200,))
    assert not (tmp_path / "tile/0/000.p").exists()


def _torn(folder: Path) -> None:
    path = folder / "tile/entries/000.p/200"
    path.write_bytes(path.read_bytes()[:-3])


def _torn_hashes(folder: Path) -> None:
    (folder / "tile/0/000.p/200").write_bytes(b"\0" * 100)


def _garbled_checkpoint(folder: Path) -> None:
    (folder / "checkpoint").write_bytes(b"")


def _truncated(folder: Path) -> None:
    (folder / "tile/entries/000.p/200").unlink()


def _without_hashes(folder: Path) -> None:
    shutil.rmtree(folder / "tile/0")


def _rewritten(folder: Path) -> None:
    path = folder / "tile/entries/000.p/200"
    path.write_bytes(path.read_bytes().replace(entry(77), b'{"n":99}'))


def _rewritten_with_hashes(folder: Path) -> None:
    signed = (folder / "checkpoint").read_bytes()
    _anew(folder, KEY, 200, first=5)
    (folder / "checkpoint").write_bytes(signed)


def _of_another_key(folder: Path) -> None:
    _anew(folder, OTHER_KEY, 200)


def _changed_checkpoint(folder: Path) -> None:
    path = folder / "checkpoint"
    path.write_bytes(path.read_bytes().replace(b"\n200\n", b"\n100\n"))


def _gone(folder: Path) -> None:
    (folder / "checkpoint").unlink()


def _anew(folder: Path, key: Any, *counts: int, first: int = 0) -> None:
    shutil.rmtree(folder)
    write(folder, *counts, key=key, first=first)


FORGERIES: list[tuple[Callable[[Path], None], Fault]] = [
    (_torn, Fault.TORN),
    (_torn_hashes, Fault.TORN),
    (_garbled_checkpoint, Fault.TORN),
    (_truncated, Fault.TRUNCATED),
    (_without_hashes, Fault.TRUNCATED),
    (_rewritten, Fault.REWRITTEN),
    (_rewritten_with_hashes, Fault.REWRITTEN),
    (_of_another_key, Fault.KEY),
    (_changed_checkpoint, Fault.KEY),
    (_gone, Fault.MISSING),
]


@pytest.mark.parametrize(("forge", "fault"), FORGERIES)
def test_what_was_done_to_a_log_is_named(
    tmp_path: Path, forge: Callable[[Path], None], fault: Fault
) -> None:
    write(tmp_path, 200)
    assert not faults(tmp_path)
    forge(tmp_path)
    assert faults(tmp_path) == {fault}
    with pytest.raises(EvidenceError):
        write(tmp_path, 1)


def test_a_history_that_was_signed_twice_is_a_fork(tmp_path: Path) -> None:
    write(tmp_path, 100)
    first = (tmp_path / "checkpoint").read_bytes()
    _anew(tmp_path, KEY, 100, first=1)
    assert faults(tmp_path, first) == {Fault.FORKED}
    _anew(tmp_path, KEY, 150, first=1)
    assert faults(tmp_path) == set()
    assert faults(tmp_path, first) == {Fault.FORKED}
    _anew(tmp_path, KEY, 50)
    assert faults(tmp_path, first) == {Fault.ROLLED_BACK}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_changed_byte_of_a_log_goes_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("log")
    write(folder, 300)
    path = data.draw(
        st.sampled_from(
            sorted(item for item in folder.rglob("*") if item.is_file() and item.stat().st_size)
        )
    )
    raw = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    assert path.name == "log.vkey" or faults(folder)


def test_a_note_is_written_as_the_specification_has_it() -> None:
    signed = KEY.sign(Checkpoint(KEY.verifier.name, 3, bytes(range(32))))
    text, _, signature = signed.decode().partition("\n\n")
    assert text == "example.org/watch\n3\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    assert signature.startswith("\u2014 example.org/watch ")
    assert open_checkpoint(signed, KEY.verifier).size == 3
    assert parse_verifier_key(f"{KEY.verifier}\n") == KEY.verifier
    with pytest.raises(KeyMismatch):
        open_checkpoint(signed, OTHER_KEY.verifier)


def test_the_key_of_the_go_checksum_database_is_read() -> None:
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(parse_verifier_key(text)) == text
    with pytest.raises(UsageError):
        parse_verifier_key(text.replace("033de0ae", "033de0af"))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_as_a_checkpoint(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        open_checkpoint(raw, KEY.verifier)


@pytest.mark.parametrize("name", ["checkpoint.new", "tile/0/000.p/2.new"])
def test_nothing_is_written_through_a_link_in_a_log(tmp_path: Path, name: str) -> None:
    write(tmp_path / "log", 1)
    theirs = tmp_path / "theirs"
    theirs.write_text("mine")
    (tmp_path / "log" / name).symlink_to(theirs)
    write(tmp_path / "log", 1)
    assert theirs.read_text() == "mine"
    assert not faults(tmp_path / "log")


def test_a_log_has_one_writer(tmp_path: Path) -> None:
    with (
        writing(tmp_path, KEY),
        pytest.raises(UsageError, match="another program"),
        writing(tmp_path, KEY),
    ):
        pass


def test_a_full_disk_is_one_error_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 5)

    def full(_: int, __: bytes) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(UsageError, match="No space left"):
            write(tmp_path, 1)
    assert checked(tmp_path).entries == 5
    write(tmp_path, 1)
    assert checked(tmp_path).entries == 6


def test_a_place_that_cannot_hold_a_log_is_one_error(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_bytes(b"")
    with pytest.raises(UsageError, match="cannot write"):
        write(place, 1)


def test_the_lock_and_what_is_private_are_for_the_owner_alone(tmp_path: Path) -> None:
    files.put(tmp_path / "secret", b"", private=True)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


STEPS = ("open", "write", "fsync", "replace", "mkdir", "unlink", "rmdir")
"""The system calls by which a log is written."""


def killed_at(folder: Path, place: int) -> bool:
    """Append in a process that is killed before its system call number `place`, or in the middle of
    it where it writes; whether it came so far."""
    child = os.fork()
    if child == 0:
        count = 0

        def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
            def step(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == place:
                    if original is real_write:
                        original(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)

            return step

        try:
            real_write = os.write
            for name in STEPS:
                setattr(os, name, wrapped(getattr(os, name)))
            with writing(folder, KEY) as log:
                log.append([entry(254), entry(255), entry(256)])
                (folder / "acknowledged").touch()
                log.append([entry(257)])
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_nothing_acknowledged_is_lost_wherever_the_program_is_killed(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    write(begun, 254)
    signed = (begun / "checkpoint").read_bytes()
    place = 0
    sizes = set()
    while True:
        place += 1
        folder = tmp_path / str(place)
        shutil.copytree(begun, folder)
        killed = killed_at(folder, place)
        found = checked(folder, signed)
        assert not found.faults
        assert found.entries in {254, 257, 258}
        assert found.entries >= 257 or not (folder / "acknowledged").exists()
        sizes.add(found.entries)
        write(folder, 2)
        after = checked(folder, signed)
        assert not after.faults
        assert after.entries == found.entries + 2
        shutil.rmtree(folder)
        if not killed:
            break
    assert place > 40
    assert sizes == {254, 257, 258}


def test_a_checkpoint_is_of_its_own_log(tmp_path: Path) -> None:
    write(tmp_path, 1)
    assert read_checkpoint(tmp_path / "elsewhere", KEY.verifier) is None
    found = read_checkpoint(tmp_path, KEY.verifier)
    assert found is not None
    assert found.size == 1
