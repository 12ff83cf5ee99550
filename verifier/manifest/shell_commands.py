"""Shell text taken apart into pipelines of simple commands, as far as rules need it.

    a && b | c; d "$(e | f)"    →    [a] [b c] [d] [e f]

Quotes, escapes, comments, substitutions and nested `sh -c` scripts are followed; loops, functions
and conditions are read as the commands in them. Nothing is executed. Source: POSIX.1-2017, Shell
Command Language, 2.2-2.9; process substitution as in bash.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from verifier.patterns import pattern

MAX_DEPTH: Final = 6
_OPERATORS: Final = pattern(r"\n|;;&?|;&|&&|\|\|&?|\|&|[;&|()]")
_REDIRECTION: Final = pattern(r"(\d*)(&>>?|>\||>>|<<<|<<-?|<>|[<>]&?)")
_ASSIGNMENT: Final = pattern(r"([A-Za-z_]\w*)\+?=(.*)", re.ASCII | re.DOTALL)
_VARIABLE: Final = pattern(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})", re.ASCII)
_KEYWORDS: Final = frozenset(
    {"if", "then", "elif", "else", "fi", "while", "until", "do", "done", "!", "{", "}", "time"}
)
_PREFIXES: Final = frozenset({"sudo", "env", "exec", "command", "nohup", "nice", "doas", "busybox"})
_WITH_VALUE: Final = {"sudo": {"-u", "-g"}, "nice": {"-n"}, "env": {"-u"}, "doas": {"-u"}}
SHELLS: Final = frozenset({"sh", "bash", "dash", "ash", "zsh", "ksh"})
_PLAIN: Final = pattern(r"[^\s\\'\"`$<>();&|]+")
_PLAIN_QUOTED: Final = pattern(r"[^\\\"`$]+")
_MAX_WORD: Final = 4_096


class Command(Struct, frozen=True):
    """One simple command.

    words     its words without quotes; () where only variables are set
    offset    where it begins in the text, in characters
    assigned  (name, value) of the variables that it sets; () for none
    writes    the files that its output goes to; () for none
    reads     the files that it reads by redirection; () for none
    inner     the scripts in its substitutions (`$(…)`, backticks, `<(…)`); () for none
    script    what it hands to a shell (`sh -c TEXT`, `eval TEXT`); () for nothing
    """

    words: tuple[str, ...]
    offset: int
    assigned: tuple[tuple[str, str], ...] = ()
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    inner: tuple["Pipeline", ...] = ()
    script: tuple["Pipeline", ...] = ()

    @property
    def program(self) -> str:
        """The name of the program, without its directory; "" where only variables are set."""
        return self.words[0].rpartition("/")[2] if self.words else ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words after the program."""
        return self.words[1:]


class Pipeline(Struct, frozen=True):
    """Commands, each of which reads what the one before it writes."""

    commands: tuple[Command, ...]

    def all(self) -> Iterator["Pipeline"]:
        """The pipeline itself, and every one in substitutions and scripts of its commands."""
        yield self
        for command in self.commands:
            for pipeline in (*command.inner, *command.script):
                yield from pipeline.all()


class _Draft(Struct):
    """A command that is being read.

    words   its words so far
    offset  where it begins in the text, in characters; -1 before its first word
    writes  as in `Command`
    reads   as in `Command`
    inner   as in `Command`
    target  the list that takes the next word, as the file of a redirection; None for `words`
    """

    words: list[str] = []
    offset: int = -1
    writes: list[str] = []
    reads: list[str] = []
    inner: list[Pipeline] = []
    target: list[str] | None = None


def pipelines(
    text: str, known: Mapping[str, str] | None = None, depth: int = 0
) -> tuple[Pipeline, ...]:
    """Every pipeline of a script. `known` are variables with a constant value: they and those that
    the script sets are put in. What is nested deeper than `MAX_DEPTH` is not looked at."""
    return _Reader(text, dict(known or {}), depth).read()


class _Reader:
    def __init__(self, text: str, known: dict[str, str], depth: int) -> None:
        self._text = text
        self._known = known
        self._depth = depth
        self._place = 0
        self._draft = _Draft()
        self._commands: list[Command] = []
        self._found: list[Pipeline] = []

    def read(self) -> tuple[Pipeline, ...]:
        text = self._text
        while self._place < len(text):
            char = text[self._place]
            if char in " \t\r":
                self._place += 1
            elif char == "#":
                end = text.find("\n", self._place)
                self._place = len(text) if end < 0 else end
            elif (redirection := _REDIRECTION.match(text, self._place)) and not (
                text.startswith(("<(", ">("), self._place)
            ):
                self._redirect(redirection)
            elif operator := _OPERATORS.match(text, self._place):
                self._place = operator.end()
                self._end_command()
                if operator[0] not in {"|", "|&"}:
                    self._end_pipeline()
            else:
                self._word()
        self._end_command()
        self._end_pipeline()
        return tuple(self._found)

    def _redirect(self, match: re.Match[str]) -> None:
        self._place = match.end()
        operator, draft = match[2], self._draft
        if operator in {">&", "<&", "<<", "<<-"}:
            draft.target = []  # another descriptor, or a here-document: no file
        else:
            draft.target = draft.reads if operator.startswith("<") else draft.writes

    def _word(self) -> None:
        start, parts = self._place, []
        text = self._text
        while self._place < len(text):
            char = text[self._place]
            if char in " \t\r\n;&|)":
                break
            if char in "<>(" and not text.startswith(("<(", ">("), self._place):
                break
            if plain := _PLAIN.match(text, self._place):
                parts.append(plain[0])
                self._place = plain.end()
                continue
            parts.append(self._part(char))
        draft = self._draft
        word = "".join(parts)[:_MAX_WORD]
        if draft.target is not None:
            draft.target.append(word)
            draft.target = None
            return
        if draft.offset < 0:
            draft.offset = start
        draft.words.append(word)

    def _part(self, char: str) -> str:
        """One character, quoted text or substitution at the present place."""
        text, place = self._text, self._place
        if char == "\\":
            self._place = min(place + 2, len(text))
            following = text[place + 1 : place + 2]
            return "" if following == "\n" else following
        if char == "'":
            end = text.find("'", place + 1)
            end = len(text) if end < 0 else end
            self._place = end + 1
            return text[place + 1 : end]
        if char == '"':
            return self._quoted()
        if char == "`" or text.startswith(("$(", "<(", ">("), place):
            return self._substitution()
        if char == "$":
            return self._variable()
        self._place += 1
        return char

    def _quoted(self) -> str:
        text, parts = self._text, []
        self._place += 1
        while self._place < len(text) and text[self._place] != '"':
            char = text[self._place]
            if char == "\\":
                parts.append(text[self._place + 1 : self._place + 2])
                self._place += 2
            elif char == "`" or text.startswith("$(", self._place):
                parts.append(self._substitution())
            elif char == "$":
                parts.append(self._variable())
            else:
                plain = _PLAIN_QUOTED.match(text, self._place)
                parts.append(plain[0] if plain else char)
                self._place = plain.end() if plain else self._place + 1
        self._place += 1
        return "".join(parts)

    def _variable(self) -> str:
        match = _VARIABLE.match(self._text, self._place)
        if match is None:
            self._place += 1
            return "$"
        self._place = match.end()
        return self._known.get(match[1] or match[2], match[0])

    def _substitution(self) -> str:
        """The text of a substitution as it is written; what is in it is read as a script."""
        text, start = self._text, self._place
        if text[start] == "`":
            end = text.find("`", start + 1)
            end = len(text) if end < 0 else end
            body, self._place = text[start + 1 : end], end + 1
        else:
            end = _closing(text, start + 2)
            body, self._place = text[start + 2 : end], end + 1
        if self._depth < MAX_DEPTH:
            self._draft.inner += pipelines(body, self._known, self._depth + 1)
        return text[start : self._place]

    def _end_command(self) -> None:
        draft, self._draft = self._draft, _Draft()
        words = draft.words
        assigned: list[tuple[str, str]] = []
        while words:
            match = _ASSIGNMENT.fullmatch(words[0])
            if match is not None:
                assigned.append((match[1], match[2]))
                del words[0]
            elif words[0] in _KEYWORDS:
                del words[0]
            elif words[0].rpartition("/")[2] in _PREFIXES and len(words) > 1:
                _drop_prefix(words)
            else:
                break
        if not words:
            self._known |= {name: value for name, value in assigned if "$" not in value}
        if not (words or assigned or draft.inner):
            return
        self._commands.append(
            Command(
                words=tuple(words),
                offset=max(draft.offset, 0),
                assigned=tuple(assigned),
                writes=tuple(draft.writes),
                reads=tuple(draft.reads),
                inner=tuple(draft.inner),
                script=self._script(words),
            )
        )

    def _script(self, words: list[str]) -> tuple[Pipeline, ...]:
        if not words or self._depth >= MAX_DEPTH:
            return ()
        program = words[0].rpartition("/")[2]
        text = ""
        if program == "eval":
            text = " ".join(words[1:])
        elif program in SHELLS or program == "su":
            place = next((n for n, w in enumerate(words) if re.fullmatch(r"-[a-z]*c", w)), -1)
            text = words[place + 1] if 0 < place < len(words) - 1 else ""
        return pipelines(text, self._known, self._depth + 1) if text else ()

    def _end_pipeline(self) -> None:
        if self._commands:
            self._found.append(Pipeline(tuple(self._commands)))
            self._commands = []


def _drop_prefix(words: list[str]) -> None:
    """Take away a word such as `sudo`, with its options."""
    prefix = words.pop(0).rpartition("/")[2]
    while words and words[0].startswith("-"):
        option = words.pop(0)
        if option in _WITH_VALUE.get(prefix, ()) and words:
            del words[0]


def _closing(text: str, place: int) -> int:
    """Where the parenthesis that is open before `place` closes."""
    depth = 1
    while place < len(text):
        char = text[place]
        if char == "\\":
            place += 1
        elif char == "'":
            end = text.find("'", place + 1)
            place = len(text) if end < 0 else end
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if not depth:
                return place
        place += 1
    return len(text)
