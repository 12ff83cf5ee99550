"""What a script runs, with every constant put in its place.

Variables, functions and their arguments, aliases, here-documents, groups with a redirection, files
that the script writes and then runs, `eval` and `sh -c` of constants: each command comes out as one
line as if it had been written plainly, with where its output goes. What is not constant stays as it
is written, so that `echo "$KEY"` becomes `echo $(cat …)` where KEY was read that way. Both branches
of a condition are followed, and a loop once. What cannot be followed is listed.
"""

import base64
import binascii
import re
from itertools import pairwise
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.manifest.shell.body import Body
from verifier.manifest.shell.command import Command
from verifier.manifest.shell.lexer import Part, Token, tokens_of
from verifier.manifest.shell.program import ASSIGNMENT, acting, unassigned, unwrapped
from verifier.patterns import pattern

MAX_CHARACTERS: Final = 256 << 10
MAX_LINES: Final = 4_000
MAX_DEPTH: Final = 8  # functions, eval and written scripts inside each other
_MAX_VALUE: Final = 2_000  # characters of a variable
_MAX_WORK: Final = 60_000  # tokens looked at

CONSOLE: Final = "(console)"
"""Where the output of a script goes by itself: to the journal and the serial console, which the
host reads (dstack os/common/rootfs/app-compose.service, `StandardOutput`)."""

_PARAMETER: Final = pattern(
    r"(!?)([A-Za-z_][A-Za-z0-9_]*|[0-9@*]+)(?:\[[^\]]*\])?(?:(:?[-=+?])(.*)|[%#/:^,@].*)?",
    re.DOTALL,
)
_VARIABLE: Final = pattern(r"(?<!\\)\$(?:\{([^{}`$]{1,200})\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_PRINTED: Final = pattern(
    r"(?:echo|printf)(?: -\w+)? ([^$`|;&<>]*)(\| base64 (?:-d|-D|--decode))?\s*", re.ASCII
)
_DECLARING: Final = frozenset({"export", "declare", "local", "readonly", "typeset"})
_SHELLS: Final = pattern(r"(?:.*/)?(?:ba|da|z|k|a)?sh|busybox")
_SOURCING: Final = frozenset({"source", "."})
_TEXT_OPTION: Final = pattern(r"-[a-zA-Z]*c", re.ASCII)
_RUNS_TEXT: Final = frozenset({"su", "runuser", "script"})
_COPIES: Final = frozenset({"cp", "mv", "install", "ln"})
_PLAIN_PATH: Final = pattern(r"/?[\w./+-]+", re.ASCII)


class Line(Struct, frozen=True):
    """One pipeline as it is run.

    number  the line of the script that it begins on, from 1
    text    its commands with their words and redirections
    output  where its output goes: a path, CONSOLE, or "" where something reads it
    last    the name of its last command
    words   those of each of its commands
    """

    number: int
    text: str
    output: str
    last: str = ""
    words: tuple[tuple[str, ...], ...] = ()


class Followed(Struct, frozen=True):
    """What a script runs, and the commands that cannot be followed."""

    lines: tuple[Line, ...]
    lost: tuple[Line, ...]

    @property
    def text(self) -> str:
        """All of it, a line each."""
        return "\n".join(line.text for line in self.lines)


class _State(Struct):
    variables: dict[str, str] = {}
    functions: dict[str, list[Token]] = {}
    aliases: dict[str, str] = {}
    files: dict[str, str] = {}  # what the script wrote into each
    written: dict[str, int] = {}  # and on which line
    sources: dict[str, str] = {}  # what each was copied from
    descriptors: dict[str, str] = {}
    folder: str = ""


def follow(script: str) -> Followed:
    """What a script runs, and what it writes down to be run."""
    if len(script) > MAX_CHARACTERS:
        return Followed((), (Line(0, f"{len(script)} characters", ""),))
    follower = Follower()
    follower.run(tokens_of(script), 0)
    follower.run_written()
    return Followed(tuple(follower.lines), tuple(dict.fromkeys(follower.lost)))


class Follower:
    """What is known while a script is followed, and the lines that it ran."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.lost: list[Line] = []
        self._state = _State()
        self._work = 0

    def run(
        self, tokens: list[Token], depth: int, number: int | None = None, *, captured: bool = False
    ) -> None:
        """Follow tokens from the first to the last: see `Body`."""
        Body(self, tokens, depth, number, captured=captured).run()

    def run_written(self) -> None:
        """Follow the scripts that were written into files: a unit or a timer may run them."""
        for path, text in list(self._state.files.items()):
            if text.lstrip().startswith("#!") or path.endswith(".sh"):
                self.run(tokens_of(text.lstrip()), 1, self._state.written.get(path))

    def spend(self, number: int) -> bool:
        """Whether so much more may be looked at."""
        self._work += number
        if self._work > _MAX_WORK or len(self.lines) > MAX_LINES:
            self._lose(0, "the script takes more work than is done for one")
            self._work = 2 * _MAX_WORK
            return False
        return True

    def _lose(self, number: int, text: str) -> None:
        self.lost.append(Line(number, text, ""))

    # Words

    def word(self, parts: tuple[Part, ...], depth: int) -> str:
        """A word with its constants in place."""
        found = "".join(self._part(part, depth) for part in parts)
        return found if len(found) <= _MAX_VALUE else found[:_MAX_VALUE]

    def _part(self, part: Part, depth: int) -> str:
        if part.kind == "text":
            return part.value
        if part.kind == "variable":
            return self._variable(part.value, depth)
        inner = self._inner(part.value, depth)
        if part.kind == "process":
            return f"<({inner})"
        said = _constant(inner)
        return f"$({inner})" if said is None else said

    def expanded(self, document: str) -> str:
        """A here-document with its constants in place."""
        return _VARIABLE.sub(
            lambda match: self._variable(match[1] or match[2], MAX_DEPTH), document
        )

    def _inner(self, script: str, depth: int) -> str:
        """What a command substitution runs, on one line."""
        if depth >= MAX_DEPTH:
            return script
        before = len(self.lines)
        saved = dict(self._state.variables)
        self.run(tokens_of(script), depth + 1, captured=True)
        found = "; ".join(line.text for line in self.lines[before:])
        del self.lines[before:]
        self._state.variables = saved
        return found or script

    def _variable(self, text: str, depth: int) -> str:
        match = _PARAMETER.fullmatch(text)
        if match is None:
            return f"${{{text}}}"
        indirect, name, operator, operand = match[1], match[2], match[3], match[4]
        if indirect:
            name = self._state.variables.get(name, name)
        value = self._state.variables.get(name)
        if operator and operand:
            tokens = tokens_of(operand)
            said = " ".join(self.word(token.parts, depth) for token in tokens if token.parts)
            if operator.endswith("+"):
                return said if value is not None else ""
            if value is None and not operator.endswith("?"):
                if operator.endswith("="):
                    self.assign(name, said)
                return said
        return f"${name}" if value is None else value

    def assign(self, name: str, value: str, *, more: bool = False) -> None:
        """Give a variable its value; a value of its own name stays unknown."""
        old = self._state.variables.get(name, "") if more else ""
        if f"${name}" not in value:
            self._state.variables[name] = (old + value)[:_MAX_VALUE]

    # Commands

    def pipeline(self, commands: list[Command], depth: int, *, captured: bool) -> None:
        """Follow a pipeline: what it means for later ones, what it runs in turn, and its line."""
        commands = [command for command in commands if command.words or command.redirections]
        if not commands or not self.spend(len(commands)):
            return
        for command in commands:
            self._unaliased(command)
        if len(commands) == 1 and self._builtin(commands[0], depth):
            return
        if len(commands) > 1 and commands[0].words[:1] and self._is_function(commands[0], depth):
            before = len(self.lines)
            self._call(commands[0], depth)
            self.pipe(before, commands[1:], captured=captured)
        output = "" if captured else self._output(commands[-1])
        text = " | ".join(map(self._said, commands))
        last = acting(commands[-1].words)
        words = tuple(tuple(command.words) for command in commands)
        self.lines.append(Line(commands[0].number, text, output, last, words))
        for command in commands:
            self._remember(command)
        self._run_inside(commands, depth, captured=captured)

    def _unaliased(self, command: Command) -> None:
        if command.words and command.words[0] in self._state.aliases:
            command.words[:1] = self._state.aliases[command.words[0]].split()

    def _builtin(self, command: Command, depth: int) -> bool:
        """Carry out what changes later commands; whether there is nothing else to it."""
        words = command.words
        if not words:
            return False
        if words[0] in _DECLARING or all(map(ASSIGNMENT.fullmatch, words)):
            for match in filter(None, map(ASSIGNMENT.fullmatch, words)):
                self.assign(match[1], match[3], more=bool(match[2]))
            return not any("$(" in word for word in words)
        if self._is_function(command, depth):
            self._call(command, depth)
            return True
        self._settle(command)
        return False

    def _is_function(self, command: Command, depth: int) -> bool:
        """Whether a command calls a function that is followed."""
        known = command.words[0] in self._state.functions
        if known and depth >= MAX_DEPTH:
            self._lose(command.number, command.words[0])
        return known and depth < MAX_DEPTH

    def _settle(self, command: Command) -> None:
        """Keep what a builtin changes: aliases, the folder, descriptors, what is read or set."""
        words, state = unassigned(command.words), self._state
        name = words[0]
        if name == "alias":
            state.aliases |= {k: v for k, _, v in (word.partition("=") for word in words[1:])}
        elif name == "cd" and len(words) > 1:
            state.folder = words[-1]
        elif name == "exec" and len(words) == 1:
            for sign, target in command.redirections:
                state.descriptors[sign.rstrip("<>|&") or "1"] = target
        elif name in {"read", "mapfile", "readarray"}:
            source = next((t for s, t in command.redirections if s.startswith("<")), "")
            for word in words[1:]:
                state.variables.pop(word, None)
                if source and not word.startswith("-"):
                    state.variables[word] = f"$(< {source})"
        elif name == "set" and "--" in words:
            self.positional(words[words.index("--") + 1 :])

    def _call(self, command: Command, depth: int) -> None:
        state = self._state
        saved = {
            key: value for key, value in state.variables.items() if key.isdigit() or key == "@"
        }
        self.positional(command.words[1:])
        before = len(self.lines)
        self.run(state.functions[command.words[0]], depth + 1)
        self.redirect(before, command.redirections)
        self.positional([])
        state.variables |= saved

    def positional(self, words: list[str]) -> None:
        """Set `$1` and so on."""
        state = self._state.variables
        for key in [key for key in state if key.isdigit() or key in {"@", "*"}]:
            del state[key]
        for place, word in enumerate(words[:99], 1):
            state[str(place)] = word
        if words:
            state["@"] = state["*"] = " ".join(words)

    def define(self, name: str, body: list[Token]) -> None:
        """Keep a function for where it is called."""
        self._state.functions[name] = body

    def redirect(self, first: int, redirections: list[tuple[str, str]]) -> None:
        """Apply the redirections of a group to the lines that it ran."""
        if not redirections:
            return
        said = "".join(f" {sign} {target}" for sign, target in redirections)
        out = next((t for s, t in reversed(redirections) if ">" in s and s[0] in ">&1"), None)
        for place in range(first, len(self.lines)):
            line = self.lines[place]
            output = out if out is not None and line.output == CONSOLE else line.output
            self.lines[place] = replace(line, text=line.text + said, output=output)
        if out is not None and not out.startswith("/dev/"):
            text = "\n".join(line.text for line in self.lines[first:])
            self._state.sources.setdefault(out, text[:_MAX_VALUE])

    def pipe(self, first: int, commands: list[Command], *, captured: bool = False) -> None:
        """The same for a group whose output other commands read, and write to where they do."""
        into = " | ".join(" ".join(command.words) for command in commands)
        output = "" if captured or not commands else self._output(commands[-1])
        last = acting(commands[-1].words) if commands else ""
        for place in range(first, len(self.lines)):
            line = self.lines[place]
            if line.output == CONSOLE:
                text = f"{line.text} | {into}"
                self.lines[place] = replace(line, text=text, output=output, last=last)

    def _said(self, command: Command) -> str:
        words = list(command.words)
        for word in command.words[1:]:
            source = self._state.sources.get(word)
            if source:
                words.append(f"<from {' '.join(source.split())}>")
        for _, target in command.redirections:
            source = self._state.sources.get(target)
            if source:
                words.append(f"<from {' '.join(source.split())}>")
        signs = [f"{sign} {self._target(target)}" for sign, target in command.redirections]
        if command.document and self._output(command) == CONSOLE:
            signs.append(f"<<< {' '.join(command.document[:_MAX_VALUE].split())}")
        place = f" # in {self._state.folder}" if self._state.folder else ""
        return " ".join((*words, *signs)) + place

    def _target(self, target: str) -> str:
        number = target.lstrip("&")
        return self._state.descriptors.get(number, CONSOLE if number in {"1", "2"} else target)

    def _output(self, command: Command) -> str:
        for sign, target in reversed(command.redirections):
            if ">" in sign and sign[0] in ">&1":
                return self._target(target)
        return self._state.descriptors.get("1", CONSOLE)

    def _remember(self, command: Command) -> None:
        """Which files hold what afterwards."""
        words, state = command.words, self._state
        targets = [self._target(t) for s, t in command.redirections if ">" in s]
        text = command.document
        if words and words[0] in {"echo", "printf"}:
            text = " ".join(word for word in words[1:] if not word.startswith("-"))
            text = text.replace("\\n", "\n")
        if words and words[0] == "tee":
            targets += [word for word in words[1:] if not word.startswith("-")]
        for target in targets:
            if text:
                state.written.setdefault(target, command.number)
                state.files[target] = (state.files.get(target, "") + "\n" + text)[: 20 * _MAX_VALUE]
            if words and not target.startswith("/dev/"):
                state.sources[target] = " ".join(words)[:_MAX_VALUE]
        plain = [word for word in words[1:] if not word.startswith("-")]
        if words and words[0] in _COPIES and len(plain) > 1:
            state.sources[plain[-1]] = " ".join(plain[:-1])
            if plain[0] in state.files:
                state.files[plain[-1]] = state.files[plain[0]]

    def _run_inside(self, commands: list[Command], depth: int, *, captured: bool) -> None:
        """Follow what a command runs in turn: a text, a file that was written, decoded text."""
        if depth >= MAX_DEPTH:
            return
        last = commands[-1]
        words = unwrapped(unassigned(last.words))
        if not words:
            return
        name, rest = words[0], words[1:]
        script = self._script_of(name, rest, commands)
        if script is not None:
            self.run(tokens_of(script), depth + 1, last.number, captured=captured)
        elif (
            name.startswith(("$", "`"))
            or name == "eval"
            or (name in {"source", "."} and not (rest and _PLAIN_PATH.fullmatch(rest[0])))
        ):
            self._lose(last.number, " ".join(words))

    def _script_of(self, name: str, rest: list[str], commands: list[Command]) -> str | None:
        """The script that a command runs, None where it runs none that is constant."""
        if name == "trap":
            return rest[0] if rest else None
        if name == "eval":
            text = " ".join(rest)
            return None if "$" in text or "`" in text else text
        if _SHELLS.fullmatch(name) or name in _SOURCING or name in _RUNS_TEXT:
            return self._given_to_shell(rest, commands)
        return self._state.files.get(name)

    def _given_to_shell(self, rest: list[str], commands: list[Command]) -> str | None:
        """The script that a shell is given: a text, what a pipe or a substitution prints, a
        here-document, or a file that was written."""
        for option, text in pairwise(rest):
            if _TEXT_OPTION.fullmatch(option):
                return text
        made = next((word[2:-1] for word in rest if word.startswith("<(")), "")
        if made:
            return _constant(made)
        if len(commands) > 1:
            return _decoded(commands[:-1])
        written = (self._state.files[word] for word in rest if word in self._state.files)
        return commands[-1].document or next(written, None)


def _constant(command: str) -> str | None:
    """What a command prints whose words are all constant; None for any other."""
    said = _PRINTED.fullmatch(command)
    if said is None:
        return None
    text = said[1].strip()
    form, _, rest = text.partition(" ")
    if command.startswith("printf") and "%s" in form:
        arguments = rest.split()
        used = form.count("%s")
        for argument in arguments[:used]:
            form = form.replace("%s", argument, 1)
        text = " ".join((form, *arguments[used:]))
    text = text.replace("%s", "")
    if not said[2]:
        return text
    try:
        return base64.b64decode(text).decode("utf-8", "replace").strip()
    except (binascii.Error, ValueError):
        return None


def _decoded(commands: list[Command]) -> str | None:
    """The text that constants give a pipe: `echo TEXT`, through `base64 -d` or `xxd -r`."""
    first = commands[0]
    text = first.document or " ".join(w for w in first.words[1:] if not w.startswith("-"))
    if not first.document and (not first.words or first.words[0] not in {"echo", "printf"}):
        return None
    if "$" in text:
        return None
    for command in commands[1:]:
        try:
            if command.words[0] == "base64":
                text = base64.b64decode(text.strip()).decode("utf-8", "replace")
            elif command.words[0] == "xxd":
                text = bytes.fromhex("".join(text.split())).decode("utf-8", "replace")
            elif command.words[0] not in {"cat", "tr"}:
                return None
        except (binascii.Error, ValueError):
            return None
    return text
