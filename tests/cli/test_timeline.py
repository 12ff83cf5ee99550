"""`verify timeline` as a user meets it: over real HTTP, again with what was kept, and offline."""

import csv
import hashlib
import io
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import PROGRAM, Ran, Run
from tests.cli.test_live import on_localhost
from tests.cli.test_manifest_targets import reach
from verifier.evidence import bundle as bundles
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import World, build

FORMATS = ("terminal", "markdown", "csv", "json")
ESCAPE = "\x1b["
TAIL = "latest"


@dataclass
class Asked:
    """A world's hook: what its nodes were asked for logs, and how long they take for them."""

    delay: float = 0.0
    logs: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __call__(self, _method: str, url: str, body: bytes, answer: Response) -> Response:
        """Note a request for logs."""
        if b'"eth_getLogs"' in body:
            self.logs.append((url, json.loads(body)["params"][0]))
            time.sleep(self.delay)
        return answer

    def scanned(self) -> list[str]:
        """Who was asked for logs of finalized blocks, once for each time."""
        return [url for url, wanted in self.logs if wanted["toBlock"] != TAIL]


@dataclass(frozen=True)
class Live:
    """A world on loopback, and the command's options to reach it."""

    world: World
    asked: Asked
    options: list[str]

    @property
    def arguments(self) -> list[str]:
        """The command itself, as JSON."""
        return ["timeline", self.world.app_id, *self.options, "--format", "json"]


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    yield from served(tmp_path)


def served(folder: Path, asked: Asked | None = None, **knobs: Any) -> Iterator[Live]:
    asked = asked or Asked()
    now = int(time.time())  # noqa: TID251 - the command reads the clock too
    world = build(Knobs(now=now, edit_response=asked, **knobs))
    with on_localhost(world) as port:
        yield Live(world, asked, reach(world, port, folder / "reference.json"))


@dataclass(frozen=True)
class Kept:
    """What one live run said, and the evidence that it left."""

    world: World
    said: Ran
    folder: Path
    reference: Path

    @property
    def offline(self) -> list[str]:
        """The command on the saved evidence."""
        return ["timeline", str(self.folder), "--unsafe-root", str(self.reference)]

    @property
    def trust(self) -> list[str]:
        """Vouching for it."""
        return ["--trust-bundle", f"sha256:{bundles.load(self.folder).digest}"]


@pytest.fixture(scope="module")
def kept(run_before: Run, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("kept")
    for live in served(folder):
        said = run_before(*live.arguments, "--save", folder / "saved")
        return Kept(live.world, said, folder / "saved", folder / "reference.json")
    raise AssertionError


def document(ran: Ran) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(ran.out)
    return found


def without_cache_marks(ran: Ran) -> dict[str, Any]:
    """A timeline without what says when it was made, and from what was kept."""
    found = document(ran)
    for item in found["coverage"]:
        item["cached"] = None
    for item in found["exposures"]:
        # The attestation is that of this very run.
        item["until"] = item["kind"] == "authorized before it was seen" or item["until"]
    return found


def problems(ran: Ran) -> list[str]:
    return [text for item in document(ran)["coverage"] for text in item["problems"]]


# What it says, and how it ends.


def test_an_honest_history_is_complete(kept: Kept) -> None:
    assert (kept.said.code, kept.said.err) == (0, "")
    found = document(kept.said)
    assert found["complete"]
    assert not found["single_source"]
    assert {item["role"] for item in found["coverage"]} >= {"app", "kms", "gateway"}
    assert all(item["cached"] == 0 for item in found["coverage"])
    assert found["state"]["app"]["compose_hashes"] == [kept.world.guest.compose_hash.hex()]


@pytest.mark.parametrize("form", FORMATS)
def test_offline_gives_the_same_bytes_in_every_format(
    run: Run, kept: Kept, tmp_path: Path, form: str
) -> None:
    ran = run(*kept.offline, *kept.trust, "--format", form)
    assert (ran.code, ran.err) == (0, "")
    assert ESCAPE not in ran.out
    assert kept.world.guest.compose_hash.hex()[:8] in ran.out
    if form == "json":
        assert ran.out == kept.said.out
    if form == "csv":
        rows = list(csv.DictReader(io.StringIO(ran.out)))
        assert len(rows) == len(document(kept.said)["events"])
        written = run(*kept.offline, *kept.trust, "--format", form, "-o", tmp_path / "timeline")
        assert (written.code, written.out, written.err) == (0, "", "")
        assert (tmp_path / "timeline").read_bytes().decode() == ran.out


def test_nobody_vouches(run: Run, kept: Kept) -> None:
    for arguments in (kept.offline, [*kept.offline, "--format", "json"]):
        ran = run(*arguments)
        assert (ran.code, ran.out) == (3, "")
        assert "nobody vouches for it" in ran.err
        assert "--trust-bundle sha256:DIGEST" in ran.err


def test_a_bundle_changed_afterwards_is_not_vouched_for(
    run: Run, kept: Kept, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(kept.folder, other)
    name = next(
        path for path in other.rglob("*") if path.is_file() and b"eth_getLogs" in _raw(path)
    )
    name.write_bytes(_raw(name).replace(b"eth_getLogs", b"eth_getlogs"))
    ran = run("timeline", other, "--unsafe-root", kept.reference, *kept.trust)
    assert ran.code in (2, 3)
    assert ran.out == ""
    assert ran.err.startswith("verify: ")
    assert "Traceback" not in ran.err


def _raw(path: Path) -> bytes:
    return path.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["timeline", "nonsense"], "nonsense"),
        (["timeline"], "Missing argument"),
        (["timeline", "ab" * 20, "--manifests", "no-folder"], "--manifests no-folder"),
        (["timeline", "ab" * 20, "--format", "yaml"], "yaml"),
        (["timeline", "ab" * 20, "--at", "yesterday"], "yesterday"),
        (["timeline", "ab" * 20, "--trust-bundle", "sha256:" + "00" * 32], "needs a bundle"),
        (["timeline", "ab" * 20, "--rpc-url", "ftp://x"], "ftp://x"),
    ],
)
def test_bad_usage_is_said_in_one_line(run: Run, arguments: list[str], words: str) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert words in ran.err
    assert "Traceback" not in ran.err


def test_no_bundle_is_no_evidence(run: Run) -> None:
    ran = run("timeline", "./not-there")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("verify: not-there: there is no such bundle")


def test_a_file_is_no_folder_of_manifests(run: Run, kept: Kept, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"{}")
    (tmp_path / "taken").mkdir()
    ran = run(*kept.offline, *kept.trust, "--manifests", "file")
    assert (ran.code, ran.out) == (2, "")
    assert "--manifests file: Not a directory" in ran.err
    unwritten = run(*kept.offline, *kept.trust, "-o", "taken")
    assert unwritten.code == 2
    assert "it is a directory" in unwritten.err
    unsaved = run(*kept.offline, *kept.trust, "--save", "file", "--format", "json")
    assert (unsaved.code, unsaved.out) == (2, "")  # before anything is asked
    assert "file" in unsaved.err


def test_manifests_and_earlier_bundles_give_names(run: Run, kept: Kept, tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    running = kept.world.guest.compose_hash.hex()
    (folder / "web-1.2.json").write_text(manifest_text(kept.world.knobs))
    (folder / "other.json").write_bytes(b"{}")
    arguments = [*kept.offline, *kept.trust, "--format", "json", "--manifests", folder]
    named = document(run(*arguments))
    assert named["manifests"][running] == "web-1.2.json"
    assert named["manifests"][hashlib.sha256(b"{}").hexdigest()] == "other.json"
    text = run(*kept.offline, *kept.trust, "--manifests", folder).out
    assert "web-1.2.json" in text
    (folder / "web-1.2.json").unlink()
    shutil.copytree(kept.folder, folder / "audit-of-today")
    assert document(run(*arguments))["manifests"][running] == "audit-of-today"
    (folder / "broken.tar").write_bytes(b"no tar")
    broken = run(*arguments)
    assert (broken.code, broken.out) == (2, "")
    assert "--manifests" in broken.err
    assert "broken.tar" in broken.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_colour_is_for_terminals_that_want_it(kept: Kept) -> None:
    arguments = [*kept.offline, *kept.trust]
    assert ESCAPE in on_terminal(arguments)
    assert ESCAPE not in on_terminal(arguments, NO_COLOR="1")
    assert ESCAPE not in on_terminal(arguments, TERM="dumb")
    assert json.loads(on_terminal([*arguments, "--format", "json"])) == document(kept.said)


def on_terminal(arguments: list[str], **environment: str) -> str:
    """What the command writes to a terminal."""
    ours, theirs = os.openpty()
    command = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment},
    )
    os.close(theirs)
    text = bytearray()
    try:
        while piece := os.read(ours, 1 << 16):
            text += piece
    except OSError:
        pass  # the other side is closed
    os.close(ours)
    _, err = command.communicate(timeout=30)
    assert (command.returncode, err) == (0, b"")
    return text.decode()


def test_a_reader_that_goes_away_ends_it_quietly(kept: Kept) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *kept.offline, *kept.trust],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
        assert command.wait(30) in {0, -signal.SIGPIPE}


# The cache.


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def with_cache(run: Run, live: Live, cache: Path, *more: str) -> Ran:
    return run(*live.arguments, *more, XDG_CACHE_HOME=str(cache))


def database(cache: Path) -> Path:
    return cache / "dstack-audit" / "logs.sqlite3"


def test_the_second_audit_asks_only_for_what_is_new(run: Run, live: Live, cache: Path) -> None:
    first = with_cache(run, live, cache)
    assert database(cache).parent.stat().st_mode & 0o077 == 0
    live.asked.logs.clear()
    second = with_cache(run, live, cache)
    asked = live.asked.scanned()
    assert all(asked.count(url) <= 3 for url in set(asked))
    assert len(live.asked.logs) - len(asked) <= 4  # what is not finalized yet, of two contracts
    assert (first.code, second.code, first.err, second.err) == (0, 0, "", "")
    assert without_cache_marks(second) == without_cache_marks(first)
    marks = [item["cached"] for item in document(second)["coverage"]]
    assert all(marks)
    live.asked.logs.clear()
    fresh = with_cache(run, live, cache, "--no-cache")
    assert len(live.asked.scanned()) > len(asked)
    assert all(item["cached"] == 0 for item in document(fresh)["coverage"])


def test_no_cache_leaves_no_trace(run: Run, live: Live, cache: Path) -> None:
    assert with_cache(run, live, cache, "--no-cache").code == 0
    assert not cache.exists()


def test_a_chain_that_was_rewritten_is_asked_anew(run: Run, live: Live, cache: Path) -> None:
    first = with_cache(run, live, cache)
    with closing(sqlite3.connect(database(cache))) as connection, connection:
        connection.execute("UPDATE streams SET seam_hash = ?", ("00" * 32,))
    second = with_cache(run, live, cache)
    assert second.code == 0
    assert without_cache_marks(second) == without_cache_marks(first)
    assert all(item["cached"] == 0 for item in document(second)["coverage"])
    lines = second.err.splitlines()
    assert len(lines) >= 4
    assert all("cached answers are dropped and asked for again" in line for line in lines)


def garbage(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be taken for one" * 100)


def of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE notes (text TEXT)")


@pytest.mark.parametrize("spoil", [garbage, of_another_program])
def test_a_cache_that_cannot_be_used_is_said_and_left_alone(
    run: Run, live: Live, cache: Path, spoil: Callable[[Path], None]
) -> None:
    database(cache).parent.mkdir(parents=True)
    spoil(database(cache))
    before = database(cache).read_bytes()
    ran = with_cache(run, live, cache)
    assert (ran.code, len(ran.err.splitlines())) == (0, 1)
    assert f"the log cache {database(cache)} is not used" in ran.err
    assert database(cache).read_bytes() == before


def test_a_locked_cache_is_said_too(run: Run, live: Live, cache: Path) -> None:
    database(cache).parent.mkdir(parents=True)
    with closing(sqlite3.connect(database(cache), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ran = with_cache(run, live, cache)
        other.execute("ROLLBACK")
    assert ran.code == 0
    assert "is not used: database is locked" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
def test_an_interrupted_scan_is_continued(run: Run, tmp_path: Path, cache: Path) -> None:
    asked = Asked(delay=0.01)
    for live in served(tmp_path, asked, log_range=200_000):
        err, code = interrupted(live, cache, after=240)
        assert "Traceback" not in err
        assert code == 130
        done = len(asked.scanned())
        asked.logs.clear()
        asked.delay = 0
        again = with_cache(run, live, cache)
        assert (again.code, again.err) == (0, "")
        assert sum(item["cached"] for item in document(again)["coverage"]) >= done // 2
        rest = len(asked.scanned())
        asked.logs.clear()
        assert with_cache(run, live, cache, "--no-cache").code == 0
        # What was under way at the moment of Ctrl-C, some forty requests at most, is asked again.
        assert rest <= len(asked.scanned()) - done // 2


def interrupted(live: Live, cache: Path, *, after: int) -> tuple[str, int]:
    """Press Ctrl-C once so many requests for logs were seen: what is written, and the exit code."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *live.arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    ) as command:
        deadline = time.monotonic() + 30
        while len(live.asked.logs) < after and time.monotonic() < deadline:
            time.sleep(0.005)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=30)
        assert out == b""
        return err.decode(), command.returncode
