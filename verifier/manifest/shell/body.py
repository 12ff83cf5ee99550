"""The order in which the commands of a script run: pipelines, groups, loops, functions."""

from typing import TYPE_CHECKING, Final

from verifier.manifest.shell.command import Command
from verifier.manifest.shell.lexer import Token

if TYPE_CHECKING:
    from verifier.manifest.shell.follow import Follower

_OPENING: Final = frozenset({"if", "while", "until", "for", "case", "select", "{"})
_CLOSING: Final = frozenset({"fi", "done", "esac", "}"})
_BETWEEN: Final = frozenset({"then", "else", "elif", "do", "!", "time", "coproc"})
_LOOPS: Final = frozenset({"for", "select"})
_PIPES: Final = frozenset({"|", "|&"})


class Body:
    """Follows tokens from the first to the last. `number` is the line that all of them count as,
    None for their own; `captured` says that something reads their output."""

    def __init__(
        self,
        follower: "Follower",
        tokens: list[Token],
        depth: int,
        number: int | None,
        *,
        captured: bool,
    ) -> None:
        self._follower = follower
        self._tokens = tokens
        self._depth = depth
        self._number = number
        self._captured = captured
        self._at = 0
        self._pipeline: list[Command] = []
        self._current: Command | None = None
        self._open: list[tuple[str, int]] = []
        self._closed: int | None = None  # the first line of a group that has just ended
        self._redirections: list[tuple[str, str]] = []
        self._piped: int | None = None  # the first line of a group whose output is piped on

    def run(self) -> None:
        """Follow them all."""
        while self._at < len(self._tokens) and self._follower.spend(1):
            token = self._tokens[self._at]
            self._at += 1
            if token.kind == "redirection":
                self._redirection(token)
            else:
                self._end_group(token)
                if token.kind == "operator":
                    self._operator(token)
                else:
                    self._word(token)
        self._end_group(None)
        self._flush()

    def _command(self, token: Token) -> Command:
        if self._current is None:
            self._current = Command(self._number or token.line)
        return self._current

    def _redirection(self, token: Token) -> None:
        target = self._follower.word(token.parts, self._depth)
        sign = token.text
        if self._closed is not None and token.document is None:
            self._redirections.append((sign, target))
            return
        command = self._command(token)
        if token.document is not None:
            document = token.document
            command.document = document if token.quoted else self._follower.expanded(document)
        elif sign == "<<<":
            command.document = target
        else:
            command.redirections.append((sign, target))

    def _operator(self, token: Token) -> None:
        text = token.text
        if text in _PIPES:
            if self._current is not None:
                self._current.piped = True
                self._pipeline.append(self._current)
                self._current = None
        elif text == "(":
            self._parenthesis()
        elif text == ")":
            if self._open and self._open[-1][0] == "(":
                self._close()
            else:
                self._current = None  # a pattern of `case`
        else:
            self._flush()

    def _parenthesis(self) -> None:
        following = self._tokens[self._at].text if self._at < len(self._tokens) else ""
        command = self._current
        if command is not None and len(command.words) == 1 and following == ")":
            self._at += 1
            self._function(command.words[0])
            return
        if command is not None and command.words and command.words[-1].endswith("="):
            self._array(command)
            return
        self._flush()
        self._open.append(("(", len(self._follower.lines)))

    def _array(self, command: Command) -> None:
        """The items of `NAME=(…)`, which together are its value."""
        items = []
        while self._at < len(self._tokens) and self._tokens[self._at].text != ")":
            items.append(self._follower.word(self._tokens[self._at].parts, self._depth))
            self._at += 1
        self._at += 1
        command.words[-1] += " ".join(items)

    def _word(self, token: Token) -> None:
        starts = self._current is None or not (
            self._current.words or self._current.redirections or self._current.document
        )
        plain = "" if token.quoted else "".join(p.value for p in token.parts if p.kind == "text")
        if starts and plain in _OPENING:
            self._flush()
            self._open.append((plain, len(self._follower.lines)))
            self._head(plain)
        elif starts and plain in _CLOSING:
            self._close()
        elif starts and plain in _BETWEEN:
            return
        elif starts and plain == "function" and self._at < len(self._tokens):
            name = self._follower.word(self._tokens[self._at].parts, self._depth)
            self._at += 1
            while self._at < len(self._tokens) and self._tokens[self._at].text in {"(", ")"}:
                self._at += 1
            self._function(name)
        else:
            said = self._follower.word(token.parts, self._depth)
            if said or token.quoted:
                self._command(token).words.append(said)

    def _head(self, word: str) -> None:
        """What stands between `for` or `case` and its body."""
        if word not in _LOOPS | {"case"}:
            return
        words = []
        while self._at < len(self._tokens) and self._tokens[self._at].kind == "word":
            words.append(self._follower.word(self._tokens[self._at].parts, self._depth))
            self._at += 1
        if word in _LOOPS and words:
            listed = words[2:] if words[1:2] == ["in"] else ["$@"]
            self._follower.assign(words[0], " ".join(listed))

    def _function(self, name: str) -> None:
        """Keep a function's body, with what is redirected behind it."""
        self._current = None
        while self._at < len(self._tokens) and self._tokens[self._at].text == "\n":
            self._at += 1
        start, depth = self._at, 0
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            self._at += 1
            brace = token.parts[0].value if len(token.parts) == 1 and not token.quoted else ""
            depth += (brace == "{" or token.text == "(") - (brace == "}" or token.text == ")")
            if not depth:
                break
        while self._at < len(self._tokens) and self._tokens[self._at].kind == "redirection":
            self._at += 1
        self._follower.define(name, self._tokens[start : self._at])

    def _close(self) -> None:
        self._flush()
        if self._open:
            self._closed = self._open.pop()[1]

    def _end_group(self, token: Token | None) -> None:
        """Apply to a group that has ended what follows it."""
        if self._closed is None:
            return
        first, self._closed = self._closed, None
        self._follower.redirect(first, self._redirections)
        self._redirections = []
        if token is not None and token.text in _PIPES:
            self._piped = first

    def _flush(self) -> None:
        commands = [*self._pipeline, *([self._current] if self._current is not None else [])]
        self._pipeline, self._current = [], None
        if not commands:
            return
        if self._piped is not None:
            self._follower.pipe(self._piped, commands, captured=self._captured)
            self._piped = None
        self._follower.pipeline(commands, self._depth, captured=self._captured)
