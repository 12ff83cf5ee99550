"""Which program the words of a command run in the end."""

import re
from itertools import pairwise
from typing import Final

from verifier.patterns import pattern

ASSIGNMENT: Final = pattern(r"([A-Za-z_][A-Za-z0-9_]*)(?:\[[^\]]*\])?(\+?)=(.*)", re.DOTALL)
_WRAPPERS: Final = frozenset(
    {
        *("command", "builtin", "exec", "sudo", "doas", "nohup", "env", "nice", "ionice", "setsid"),
        *("time", "timeout", "stdbuf", "unshare", "nsenter", "chroot", "setpriv", "taskset"),
        *("busybox", "toybox", "systemd-run", "systemd-cat", "systemd-inhibit", "flock", "watch"),
        *("strace", "unbuffer", "chrt", "prlimit"),
    }
)
"""Programs that run the one which stands behind them."""
_IN_WRAPPER: Final = pattern(
    r"-.*|[A-Za-z_]\w*=.*|[0-9]+(?:\.[0-9]+)?[smhd]?|/|--", re.DOTALL | re.ASCII
)
"""What may stand between the two: options, variables, times, the root of `chroot`."""
_QUIET: Final = {
    **dict.fromkeys(("grep", "egrep", "fgrep"), pattern(r"-[a-zA-Z]*q[a-zA-Z]*|--quiet|--silent")),
    "cmp": pattern(r"-s|--quiet|--silent"),
    "diff": pattern(r"-q|--brief"),
}
"""The options by which a program writes nothing of what it reads."""
_TO_FILE: Final = pattern(r"-[a-zA-Z]*o|--output", re.ASCII)
_SHOWING: Final = frozenset({"run", "exec", "logs", "config", "convert", "attach"})
QUIET: Final = "(quiet)"
"""In place of the name of a program that is told to write nothing."""


def unassigned(words: list[str]) -> list[str]:
    """The words of a command without the variables that are set for it alone."""
    while len(words) > 1 and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    return words


def unwrapped(words: list[str]) -> list[str]:
    """The words of the program that others such as `env` or `timeout` run."""
    while words and words[0].rpartition("/")[2] in _WRAPPERS:
        place = 1
        while place < len(words) and _IN_WRAPPER.fullmatch(words[place]):
            place += 1
        if place == len(words):
            return words
        words = words[place:]
    return words


def acting(words: list[str]) -> str:
    """The command that a line runs in the end: that of `xargs` or `find -exec`, or its own."""
    while words and ASSIGNMENT.fullmatch(words[0]):
        words = words[1:]
    words = unwrapped(words)
    if not words:
        return ""
    if words[0] == "xargs":
        return next((word for word in words[1:] if not word.startswith("-")), "echo")
    for option in ("-exec", "-execdir", "-ok"):
        if option in words[:-1]:
            return words[words.index(option) + 1]
    return QUIET if _is_quiet(words) else words[0]


def _is_quiet(words: list[str]) -> bool:
    """Whether a program is told, by its first words, to write nothing, or into a file."""
    name, rest = words[0], words[1:]
    if name == "docker-compose":
        return _SHOWING.isdisjoint(rest)
    if name == "docker":
        composed = rest[:1] == ["compose"] and _SHOWING.isdisjoint(rest)
        return composed or rest[:2] in (["run", "-d"], ["run", "--detach"])
    if name == "curl":
        return any(
            _TO_FILE.fullmatch(option) and not value.startswith(("-", "/dev/"))
            for option, value in pairwise(rest)
        )
    return bool(rest) and name in _QUIET and _QUIET[name].fullmatch(rest[0]) is not None
