"""One simple command of a script."""

from msgspec import Struct


class Command(Struct):
    """A command while it is read.

    number        the line of the script that it begins on, from 1
    words         its name and arguments, with constants in place
    redirections  each sign with its target
    document      the text of its here-document or here-string
    piped         whether its output goes into the next command
    """

    number: int
    words: list[str] = []
    redirections: list[tuple[str, str]] = []
    document: str = ""
    piped: bool = False
