"""The command on a real terminal of some width: what it draws stays within, and is short."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.cli.command import PROGRAM
from verifier.evidence.bundle import load

FIXTURES = Path(__file__).parents[2] / "fixtures"
BUNDLE = FIXTURES / "demo-bundle.tar"
APP_ID = "9a476f8ce4079c0f58e7433f9667ee327683e96a"
AT = ("--at", "2026-06-15T12:00:00Z", "--unsafe-root", str(FIXTURES / "demo-reference.json"))
FIRST_SCREEN = 30
COLOR = re.compile(r"\x1b\[[0-9;]*m")


def shown(columns: int, *arguments: str) -> list[str]:
    """The lines that the command writes to a terminal of this width."""
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME")}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    with subprocess.Popen(command, stdout=terminal, env=environment | {"TERM": "xterm"}):
        os.close(terminal)
        received = bytearray()
        while part := _read(reader):
            received += part
    os.close(reader)
    return COLOR.sub("", received.decode()).replace("\r\n", "\n").splitlines()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # what Linux says at the end of a terminal
        return b""


@pytest.mark.parametrize("columns", [80, 120])
def test_the_first_screen_fits(columns: int) -> None:
    vouched = f"sha256:{load(BUNDLE).digest}"
    lines = shown(columns, APP_ID, "--bundle", str(BUNDLE), "--trust-bundle", vouched, *AT)
    assert lines[0] == "AFFIRMING: the attestation holds"
    assert len(lines) <= FIRST_SCREEN
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize(
    "arguments",
    [
        ("-v", APP_ID, "--bundle", str(BUNDLE), *AT),
        ("timeline", str(BUNDLE), *AT, "--trust-bundle", f"sha256:{load(BUNDLE).digest}"),
        ("stage", str(BUNDLE), *AT),
        ("explain", "boot.image"),
        ("policy", "explain", "strict"),
        ("checks",),
    ],
    ids=["verbose", "timeline", "stage", "explain", "policy", "checks"],
)
def test_nothing_is_wider_than_the_terminal(arguments: tuple[str, ...]) -> None:
    lines = shown(80, *arguments)
    assert lines
    assert max(map(len, lines)) <= 80
