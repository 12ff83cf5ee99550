"""What is said of a mistake in the arguments."""

from enum import Enum
from typing import Final

from typer.exceptions import TyperException

from verifier.cli.streams import warn
from verifier.cli.variables import long_name
from verifier.errors import nearest
from verifier.patterns import pattern

_CHOICE: Final = pattern(r"'([^']*)' is not one of (.*)")
_QUOTED: Final = pattern(r"'([^']*)'")
_LEAKED: Final = pattern(r" \(env var: '\w+'\)|Value error, ")
"""What the option parser says beside a mistake, and nobody has use for."""


def say_usage(error: TyperException, command: str, source: str) -> None:
    """A mistake in the arguments of a command, and where its help is; `source` names the variable
    that a value is of."""
    possible = getattr(error, "possibilities", None)
    message = _LEAKED.sub("", error.message if possible else error.format_message())
    where = f"`verify {command} --help` lists the options"
    given, listed = getattr(error, "option_name", ""), possible or ()
    if choice := _CHOICE.search(message):
        given, listed = choice[1], _QUOTED.findall(choice[2])
    meant = _form(error, given) or nearest(given, listed)
    warn(f"{source}{message}", f"did you mean {meant}? {where}" if meant else where)


def _form(error: TyperException, given: str) -> str:
    """What was meant by the name of a form of report that is written as an option."""
    command = getattr(getattr(error, "ctx", None), "command", None)
    for item in getattr(command, "params", ()):
        forms = type(item.default) if isinstance(item.default, Enum) else ()
        if long_name(item) == "--format" and given[2:] in {str(form.value) for form in forms}:
            return f"--format {given[2:]}"
    return ""
