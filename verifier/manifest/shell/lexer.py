"""A shell script as tokens: words with their expansions, operators, redirections.

What is here of the language is what POSIX sh and bash share, and bash's here-strings, `$'…'` and
process substitution. Nothing is refused: what has no end goes to the end of the text. Source: POSIX
XCU 2.2 to 2.10, bash manual 3.1 to 3.6.
"""

import re
from typing import Final

from msgspec import Struct

from verifier.patterns import pattern

_OPERATOR: Final = pattern(r"&&|\|\||;;|\|&|[;&|()\n]")
_BEGINS_REDIRECTION: Final = frozenset("<>&0123456789")
_BEGINS_OPERATOR: Final = frozenset(";&|()\n")
_REDIRECTION: Final = pattern(
    r"(?P<fd>\d{0,2})(?P<op><<<|<<-|<<|<>|<&|>>|>&|>\||&>>|&>|<|>)(?!\()|(?P<and>&>>|&>)"
)
_NAME: Final = pattern(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?!$-]", re.ASCII)
_PLAIN: Final = pattern(r"[^ \t\r\n;&|()<>\"'`$\\#]+|#")
"""Blanks other than space and tab are part of a word, as to the shell (POSIX XCU 2.3)."""
_PLAIN_QUOTED: Final = pattern(r"[^\"`$\\]+")
_BLANK: Final = pattern(r"(?:[ \t\r]|\\\n)+")
_ESCAPES: Final = pattern(r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))", re.DOTALL)
_LETTERS: Final = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "a": "\a"}


class Part(Struct, frozen=True):
    """A piece of a word.

    kind   `text`, `variable` (what stands between `${` and `}`), `command` (the script between `$(`
           and `)`) or `process` (the same of `<(`)
    value  its text
    """

    kind: str
    value: str


class Token(Struct, frozen=True):
    """A word, an operator, or a redirection.

    kind      `word`, `operator` or `redirection`
    line      where it begins, from 1
    text      the operator; of a redirection its descriptor ("" for the usual one) and sign
    parts     the pieces of a word, or of a redirection's target
    document  the text of a here-document, None for anything else
    quoted    whether any of a word is quoted, so that it is no keyword
    """

    kind: str
    line: int
    text: str = ""
    parts: tuple[Part, ...] = ()
    document: str | None = None
    quoted: bool = False


def tokens_of(script: str) -> list[Token]:
    """The tokens of a script, in order."""
    return _Lexer(script).tokens()


class _Lexer:
    def __init__(self, script: str) -> None:
        self._text = script
        self._at = 0
        self._line = 1
        self._waiting: list[tuple[int, str, bool]] = []  # here-documents: token, end, with tabs cut
        self._found: list[Token] = []

    def tokens(self) -> list[Token]:
        while self._at < len(self._text):
            self._next()
        return self._found

    def _next(self) -> None:
        text, at = self._text, self._at
        blank = _BLANK.match(text, at)
        if blank:
            self._move(blank.end())
            return
        first = text[at]
        if first == "#":
            end = text.find("\n", at)
            self._move(end if end >= 0 else len(text))
            return
        redirection = _REDIRECTION.match(text, at) if first in _BEGINS_REDIRECTION else None
        if redirection:
            self._redirection(redirection)
            return
        operator = _OPERATOR.match(text, at) if first in _BEGINS_OPERATOR else None
        if operator:
            self._found.append(Token("operator", self._line, operator[0]))
            self._move(operator.end())
            if first == "\n":
                self._documents()
            return
        line = self._line
        parts, quoted = self._word()
        self._found.append(Token("word", line, parts=parts, quoted=quoted))

    def _redirection(self, match: re.Match[str]) -> None:
        line = self._line
        sign = match["and"] or match["op"]
        self._move(match.end())
        blank = _BLANK.match(self._text, self._at)
        if blank:
            self._move(blank.end())
        parts, quoted = self._word()
        token = Token("redirection", line, f"{match['fd'] or ''}{sign}", parts, quoted=quoted)
        if sign in {"<<", "<<-"}:
            end = "".join(part.value for part in parts)
            self._waiting.append((len(self._found), end, sign == "<<-"))
        self._found.append(token)

    def _documents(self) -> None:
        """The here-documents that begin on the line after their operators."""
        for place, end, cut in self._waiting:
            lines = []
            while self._at < len(self._text):
                stop = self._text.find("\n", self._at)
                stop = stop if stop >= 0 else len(self._text)
                line = self._text[self._at : stop]
                self._move(min(stop + 1, len(self._text)))
                line = line.lstrip("\t") if cut else line
                if line == end:
                    break
                lines.append(line)
            old = self._found[place]
            body = "\n".join(lines)
            self._found[place] = Token(
                old.kind, old.line, old.text, old.parts, body, quoted=old.quoted
            )
        self._waiting.clear()

    def _word(self) -> tuple[tuple[Part, ...], bool]:
        parts: list[Part] = []
        quoted = False
        text = self._text
        while self._at < len(text):
            at = self._at
            plain = _PLAIN.match(text, at) if text[at] != "#" or parts else None
            if plain:
                parts.append(Part("text", plain[0]))
                self._at = plain.end()  # no new line is in it
            elif text[at] == "\\":
                if text[at + 1 : at + 2] != "\n":
                    parts.append(Part("text", text[at + 1 : at + 2]))
                    quoted = True
                self._move(min(at + 2, len(text)))
            elif text[at] in "\"'" or text.startswith(("$'", '$"'), at):
                quoted = True
                parts.extend(self._quoted())
            elif text[at] in "$`" or text.startswith(("<(", ">("), at):
                parts.append(self._expansion())
            else:
                break
        return tuple(parts), quoted

    def _quoted(self) -> list[Part]:
        text, at = self._text, self._at
        if text.startswith("$'", at):
            end = at + 2
            while end < len(text) and text[end] != "'":
                end += 2 if text[end] == "\\" else 1
            self._move(min(end + 1, len(text)))
            return [Part("text", _ESCAPES.sub(_unescaped, text[at + 2 : end]))]
        if text[at] == "'":
            end = text.find("'", at + 1)
            end = end if end >= 0 else len(text)
            self._move(min(end + 1, len(text)))
            return [Part("text", text[at + 1 : end])]
        self._move(at + (2 if text[at] == "$" else 1))
        return self._double_quoted()

    def _double_quoted(self) -> list[Part]:
        text = self._text
        parts: list[Part] = []
        while self._at < len(text) and text[self._at] != '"':
            at = self._at
            if text[at] == "\\" and text[at + 1 : at + 2] in {"$", "`", '"', "\\", "\n"}:
                parts.append(Part("text", text[at + 1].strip("\n")))
                self._move(at + 2)
            elif text[at] in "$`":
                parts.append(self._expansion())
            else:
                plain = _PLAIN_QUOTED.match(text, at)
                end = plain.end() if plain else at + 1
                parts.append(Part("text", text[at:end]))
                self._move(end)
        self._move(min(self._at + 1, len(text)))
        return parts

    def _expansion(self) -> Part:
        text, at = self._text, self._at
        if text[at] == "`":
            end = text.find("`", at + 1)
            end = end if end >= 0 else len(text)
            self._move(min(end + 1, len(text)))
            return Part("command", text[at + 1 : end])
        if text.startswith("$((", at):
            end = text.find("))", at)
            end = end + 2 if end >= 0 else len(text)
            self._move(end)
            return Part("text", text[at:end])
        if text.startswith(("$(", "<(", ">("), at):
            end = _closing(text, at + 1, "(", ")")
            self._move(min(end + 1, len(text)))
            return Part("command" if text[at] == "$" else "process", text[at + 2 : end])
        if text.startswith("${", at):
            end = _closing(text, at + 1, "{", "}")
            self._move(min(end + 1, len(text)))
            return Part("variable", text[at + 2 : end])
        name = _NAME.match(text, at + 1)
        if name:
            self._move(name.end())
            return Part("variable", name[0])
        self._move(at + 1)
        return Part("text", "$")

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to


def _closing(text: str, opened: int, opening: str, closing: str) -> int:
    """Where a bracket closes that opens at `opened`; quotes hide what is in them."""
    depth = 0
    at = opened
    quote = ""
    while at < len(text):
        character = text[at]
        if character == "\\" and quote != "'":
            at += 1
        elif quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == opening:
            depth += 1
        elif character == closing:
            depth -= 1
            if not depth:
                return at
        at += 1
    return len(text)


def _unescaped(match: re.Match[str]) -> str:
    if match[1]:
        return chr(int(match[1], 16))
    if match[2]:
        return chr(int(match[2], 8) & 0xFF)
    return _LETTERS.get(match[3], match[3])
