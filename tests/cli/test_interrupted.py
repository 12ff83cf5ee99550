"""Ctrl-C while servers do not answer: at once, and what was collected is kept where it was asked
for."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.cli.command import PROGRAM, Ran
from tests.cli.test_live import on_localhost, options
from verifier.evidence import bundle as bundles
from verifier.evidence.bundle import Kind
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.world import World, build

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for another process")
MOST_SECONDS = 2.5
"""A second, on a machine that runs other tests, too."""


class Hanging:
    """A world's hook: some of its servers never answer."""

    def __init__(self, *parts: str) -> None:
        self.parts = parts
        self.asked = threading.Event()
        self.over = threading.Event()

    def __call__(self, _method: str, url: str, body: bytes, answer: Response) -> Response:
        """Wait until the test is over."""
        if any(part in url or part.encode() in body for part in self.parts):
            self.asked.set()
            self.over.wait(30)
        return answer


def interrupted(world: World, hanging: Hanging, folder: Path, *more: str) -> tuple[Ran, float]:
    """Press Ctrl-C once a server does not answer: how the command ended, and after how long."""
    with on_localhost(world) as port:
        command = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *options(world, port, folder / "r.json"), *more],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_CACHE_HOME": str(folder)},
        )
        try:
            assert hanging.asked.wait(30)
            time.sleep(0.5)
            pressed = time.monotonic()
            command.send_signal(signal.SIGINT)
            out, err = command.communicate(timeout=30)
            return Ran(command.returncode, out.decode(), err.decode()), time.monotonic() - pressed
        finally:
            command.kill()
            hanging.over.set()


def hang(part: str) -> tuple[World, Hanging]:
    """A world of which one part never answers."""
    hanging = Hanging(part)
    now = int(time.time())  # noqa: TID251 - the command reads the clock too
    return build(Knobs(now=now, edit_response=hanging)), hanging


@pytest.mark.parametrize(
    "part", ["/prpc/Info", "pcs.lab.invalid", "rpc-a.lab.invalid", "eth_getLogs"]
)
def test_it_ends_within_a_second_and_keeps_what_it_has(tmp_path: Path, part: str) -> None:
    world, hanging = hang(part)
    ran, seconds = interrupted(world, hanging, tmp_path, "--save", "kept.tar")
    assert (ran.code, ran.out) == (130, "")
    assert seconds < MOST_SECONDS
    kept = bundles.load(tmp_path / "kept.tar")
    assert kept.of(Kind.PAGE)
    assert any("interrupted" in item.error for item in kept.artifacts)
    assert "answers that were collected are in kept.tar" in ran.err
    assert f"--trust-bundle sha256:{kept.digest}" in ran.err
    assert "Traceback" not in ran.err


def test_it_says_what_is_lost_without_a_place(tmp_path: Path) -> None:
    world, hanging = hang("rpc-a.lab.invalid")
    ran, _ = interrupted(world, hanging, tmp_path)
    assert ran.code == 130
    assert "answers were collected and are not kept" in ran.err
    assert "--save" in ran.err
