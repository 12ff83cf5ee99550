"""The manual page of the command, in the macros of man(7), from the help of every command."""

from collections.abc import Iterator
from typing import Any, Final

from verifier.cli.variables import long_name, variable

_HEAD: Final = r""".\" Written from the help of every command; do not edit.
.TH VERIFY 1 "" "dstack-audit" "User Commands"
.SH NAME
verify \- audit an app in a dstack confidential VM, without trusting its operator
.SH SYNOPSIS
.B verify
.RI [ COMMAND ]
.RI [ OPTIONS ]
.I TARGET
.br
.B verify
.I APP_ID
is
.B verify app
.IR APP_ID .
"""
_TAIL: Final = r""".SH ENVIRONMENT
Each option has a variable, such as \fBVERIFY_RPC_URL\fR of \fB\-\-rpc\-url\fR; several values
have a space between them. \fBVERIFY_PROJECT\fR names the project file, \- none. \fBNO_COLOR\fR and
\fBFORCE_COLOR\fR are heeded.
.SH FILES
.TP
.I dstack\-audit.toml
The project file: policy, endpoints, expectations and apps by name.
.SH EXIT STATUS
0 accepted, 1 crash, 2 usage, 3 none, 4 contraindicated, 5 warning. Commands that do no audit say in
their help what their codes mean.
"""


def manual(commands: dict[str, Any]) -> str:
    """The page (roff, ASCII) about these commands of the command line, by name."""
    lines = [".SH COMMANDS", *(line for name in commands for line in _command(name, commands))]
    return _HEAD + "\n".join(lines) + "\n" + _TAIL


def _command(name: str, commands: dict[str, Any]) -> Iterator[str]:
    command = commands[name]
    arguments = [item for item in command.params if not long_name(item)]
    shown = " ".join(item.metavar or item.name.upper() for item in arguments)
    yield f".SS verify {_roff(f'{name} {shown}'.strip())}"
    for paragraph in (command.help or "").split("\n\n"):
        yield from (".PP", *map(_line, paragraph.strip().splitlines()))
    for item in command.params:
        yield from _parameter(item)


def _parameter(item: Any) -> Iterator[str]:  # noqa: ANN401 - typer's
    name = long_name(item)
    choices = item.type_descriptor.choices or ()
    typed = item.metavar or "|".join(map(str, choices)) or "TEXT"
    value = "" if getattr(item, "is_flag", False) else typed
    written = ", ".join(sorted(item.opts, key=len)) if name else (item.metavar or item.name.upper())
    yield ".TP"
    yield f".B {_roff(written)}{f' {_roff(value)}' if name and value else ''}"
    told = item.help or ""
    if item.envvar and item.envvar != variable(name):
        told = f"{told} Its variable is {item.envvar}."
    yield _line(told or "See above.")


def _line(text: str) -> str:
    """A line of text: no dot or quote that begins it is a macro."""
    shown = _roff(text.strip())
    return f"\\&{shown}" if shown[:1] in {".", "'"} else shown


def _roff(text: str) -> str:
    """Text in which nothing is a request, in ASCII."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace("…", "...")
    return "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in plain)
