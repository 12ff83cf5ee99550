"""Dockerfiles, as BuildKit reads them.

    # syntax=IMAGE   # escape=`     directives, only at the top
    ARG …                           before the first stage: for the FROM lines alone
    FROM [--platform=P] IMAGE [AS NAME]
    RUN, COPY, ADD, ENV, ARG, …     with flags, continued lines, and here-documents

Source: moby/buildkit frontend/dockerfile/parser and docs.docker.com/reference/dockerfile. Nothing
is executed, and no file that is named is read.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_utf8
from verifier.patterns import pattern

MAX_BYTES: Final = 256 << 10
MAX_LINE: Final = (64 << 10) - 1
"""Bytes of a line, at which BuildKit stops as well (bufio.MaxScanTokenSize of Go)."""
MAX_INSTRUCTIONS: Final = 2_000
"""No image has more than 127 layers."""
MAX_VALUE: Final = 4_096
"""Characters of an expanded value; one that would be longer is not followed."""
PLATFORM_ARGUMENTS: Final[Mapping[str, str]] = {
    f"{side}{name}": value
    for side in ("BUILD", "TARGET")
    for name, value in (
        ("PLATFORM", "linux/amd64"),
        ("OS", "linux"),
        ("ARCH", "amd64"),
        ("VARIANT", ""),
    )
}
"""Arguments that BuildKit sets before the first stage, for an image for a guest."""
_BOM: Final = b"\xef\xbb\xbf"
_INSTRUCTIONS: Final = frozenset(
    {
        *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
        *("LABEL", "MAINTAINER", "ONBUILD", "RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME"),
        "WORKDIR",
    }
)
_FLAGGED: Final = frozenset({"ADD", "COPY", "FROM", "HEALTHCHECK", "RUN"})
_WITH_DOCUMENTS: Final = frozenset({"ADD", "COPY", "RUN"})
_DIRECTIVE: Final = pattern(r"#\s*(syntax|escape|check)\s*=\s*(.*?)\s*$", re.IGNORECASE)
_FLAG: Final = pattern(r"\s*--([a-z][a-z-]*)(?:=((?:\"[^\"]*\"|[^\s\"])*))?(?=\s|$)", re.ASCII)
_DOCUMENT: Final = pattern(
    r"(?:^|[\s;&|(])\d?<<(-?)(?:(['\"])([A-Za-z_][\w.]*)\2|([A-Za-z_][\w.]*))", re.ASCII
)
_VARIABLE: Final = pattern(
    r"\\\$|\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(?:(:?[-+])([^${}]*))?\})", re.ASCII
)
_NAMED: Final = pattern(r"from\s+\S+", re.IGNORECASE)
_NAME: Final = pattern(r"[a-z][a-z0-9_.-]*", re.ASCII)
_ASSIGNMENT: Final = pattern(
    r"\s*([^\s=]+)=((?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|\\.|[^\s\"'\\])*)", re.DOTALL
)


class HereDocument(Struct, frozen=True):
    """The lines of a here-document, joined by line feeds; `line` is that of the first, from 1."""

    name: str
    text: str
    line: int


class Instruction(Struct, frozen=True):
    """One instruction.

    name       in capitals
    flags      (name, value) in order; the value is "" for a flag without one
    text       what follows the flags, with continued lines joined
    starts     (offset in `text`, line from 1) of each piece of it that stands on a line of its own
    documents  its here-documents; () for none
    trigger    whether it stands behind ONBUILD
    """

    name: str
    flags: tuple[tuple[str, str], ...]
    text: str
    starts: tuple[tuple[int, int], ...]
    documents: tuple[HereDocument, ...] = ()
    trigger: bool = False

    @property
    def line(self) -> int:
        """The line on which it begins, from 1."""
        return self.starts[0][1]

    def line_at(self, offset: int) -> int:
        """The line of an offset in the text."""
        place = bisect_right(self.starts, (max(offset, 0), len(self.text) + MAX_BYTES))
        return self.starts[max(place - 1, 0)][1]

    def flag(self, name: str) -> str | None:
        """The value of a flag, None where it is not given."""
        return next((value for key, value in self.flags if key == name), None)

    @property
    def exec_form(self) -> tuple[str, ...] | None:
        """The words of the JSON form, None where the instruction has another form."""
        if not self.text.lstrip().startswith("["):
            return None
        try:
            words = json.loads(self.text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return None
        return tuple(words)


class Stage(Struct, frozen=True):
    """A build stage.

    name          as FROM gives it; "" for none
    base          the image or stage that it begins with, with what is known of its variables put in
    open_base     whether a variable without a value is left in `base`
    origin        its FROM
    instructions  those behind FROM
    parent        the place, from 0, of the stage that it begins with; None where it begins with an
                  image
    """

    name: str
    base: str
    open_base: bool
    origin: Instruction
    instructions: tuple[Instruction, ...]
    parent: int | None = None


class Dockerfile(Struct, frozen=True):
    """A Dockerfile: its text, directives by name (lower case) with their line, the arguments that
    stand before the first stage, with the instructions that declare them, and the stages."""

    text: str
    directives: Mapping[str, tuple[str, int]]
    arguments: Mapping[str, str | None]
    preamble: tuple[Instruction, ...]
    stages: tuple[Stage, ...]

    def lineage(self, place: int) -> tuple[Stage, ...]:
        """A stage and those that it is built upon, from the first on."""
        found: list[Stage] = []
        at: int | None = place
        while at is not None:
            found.append(self.stages[at])
            at = self.stages[at].parent
        return tuple(reversed(found))


def is_dockerfile_name(name: str) -> bool:
    """Whether builders take a file of this name for a Dockerfile."""
    lower = name.lower()
    return not lower.endswith(".dockerignore") and any(
        lower == word or lower.startswith(f"{word}.") or lower.endswith(f".{word}")
        for word in ("dockerfile", "containerfile")
    )


def looks_like_dockerfile(raw: bytes) -> bool:
    """Whether the first instruction is one with which a Dockerfile begins."""
    for line in raw[: 64 << 10].removeprefix(_BOM).decode("utf-8", "replace").splitlines():
        words = line.split()
        if words and not words[0].startswith("#"):
            first = words[0].upper()
            return len(words) > 1 and first in {"FROM", "ARG"} and not words[1].startswith(":")
    return False


def parse_dockerfile(raw: bytes) -> Dockerfile:
    """Parse a Dockerfile. Raises EvidenceError where BuildKit would not build it."""
    if len(raw) > MAX_BYTES:
        raise EvidenceError(
            f"Dockerfile: {len(raw)} bytes, over the limit of {MAX_BYTES}",
            hint="move long files out of it, and copy them",
        )
    text = parse_utf8(raw.removeprefix(_BOM), "Dockerfile")
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            raise EvidenceError(f"Dockerfile, line {number}: longer than {MAX_LINE} characters")
    directives = _directives(lines)
    escape = directives.get("escape", ("\\", 0))[0]
    if escape not in {"\\", "`"}:
        raise EvidenceError(f"Dockerfile: the escape character {escape!a} is neither \\ nor `")
    found: list[Instruction] = []
    for instruction in _instructions(lines, escape):
        if len(found) >= MAX_INSTRUCTIONS:
            raise EvidenceError(f"Dockerfile: more than {MAX_INSTRUCTIONS} instructions")
        found.append(instruction)
    return _staged(text, directives, found)


def _directives(lines: list[str]) -> dict[str, tuple[str, int]]:
    found: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(lines, 1):
        match = _DIRECTIVE.match(line.strip())
        if match is None or match[1].lower() in found:
            break
        found[match[1].lower()] = (match[2], number)
    return found


def _instructions(lines: list[str], escape: str) -> Iterator[Instruction]:
    continued = re.compile(rf"{re.escape(escape)}[ \t]*$")
    place = 0
    while place < len(lines):
        if not lines[place].strip() or lines[place].lstrip().startswith("#"):
            place += 1
            continue
        parts: list[str] = []
        starts: list[tuple[int, int]] = []
        offset, more = 0, True
        while more and place < len(lines):
            line = lines[place]
            place += 1
            if parts and (not line.strip() or line.lstrip().startswith("#")):
                continue
            more = continued.search(line) is not None
            piece = continued.sub("", line) if more else line
            starts.append((offset, place))
            parts.append(piece)
            offset += len(piece)
        made = _instruction("".join(parts), starts)
        documents, place = _documents(made, lines, place)
        yield Instruction(made.name, made.flags, made.text, made.starts, documents, made.trigger)


def _instruction(text: str, starts: list[tuple[int, int]], *, trigger: bool = False) -> Instruction:
    """One logical line, taken apart."""
    line = starts[0][1]
    match = re.match(r"\s*(\S+)", text)
    name = match[1].upper() if match else ""
    if match is None or name not in _INSTRUCTIONS:
        raise EvidenceError(f"Dockerfile, line {line}: {name[:40]!a} is no instruction")
    place = match.end()
    flags: list[tuple[str, str]] = []
    while name in _FLAGGED and (flag := _FLAG.match(text, place)):
        flags.append((flag[1], (flag[2] or "").replace('"', "")))
        place = flag.end()
    place += len(text[place:]) - len(text[place:].lstrip())
    rest = text[place:]
    moved = [(max(offset - place, 0), number) for offset, number in starts]
    kept = [item for item, after in zip(moved, [*moved[1:], (1, 0)], strict=True) if after[0] > 0]
    if name == "ONBUILD" and not trigger:
        return _instruction(rest, kept, trigger=True)
    if not rest.strip() and name != "MAINTAINER":
        raise EvidenceError(f"Dockerfile, line {line}: {name} has no argument")
    return Instruction(name, tuple(flags), rest, tuple(kept or starts[:1]), trigger=trigger)


def _documents(
    made: Instruction, lines: list[str], place: int
) -> tuple[tuple[HereDocument, ...], int]:
    """The here-documents of an instruction, which stand below it, and where they end."""
    if made.name not in _WITH_DOCUMENTS or made.exec_form is not None:
        return (), place
    found: list[HereDocument] = []
    for match in _DOCUMENT.finditer(made.text):
        name, first = match[3] or match[4], place
        body: list[str] = []
        while True:
            if place >= len(lines):
                raise EvidenceError(
                    f"Dockerfile, line {made.line}: the here-document {name!a} does not end"
                )
            line = lines[place].lstrip("\t") if match[1] else lines[place]
            place += 1
            if line == name:
                break
            body.append(line)
        found.append(HereDocument(name, "\n".join(body), first + 1))
    return tuple(found), place


def _staged(
    text: str, directives: Mapping[str, tuple[str, int]], found: list[Instruction]
) -> Dockerfile:
    arguments: dict[str, str | None] = {}
    stages: list[Stage] = []
    place = 0
    while place < len(found) and found[place].name == "ARG":
        arguments |= declared(found[place], arguments)
        place += 1
    if place >= len(found) or found[place].name != "FROM":
        raise EvidenceError("Dockerfile: no FROM begins a stage")
    names: dict[str, int] = {}
    preamble = tuple(found[:place])
    while place < len(found):
        origin = found[place]
        end = place + 1
        while end < len(found) and found[end].name != "FROM":
            end += 1
        image, name = _from(origin)
        base, is_open = expand(image, {**PLATFORM_ARGUMENTS, **arguments})
        parent = names.get(base.lower())
        if name:
            names[name] = len(stages)
        body = tuple(found[place + 1 : end])
        stages.append(Stage(name, base, is_open, origin, body, parent))
        place = end
    return Dockerfile(text, directives, arguments, preamble, tuple(stages))


def _from(origin: Instruction) -> tuple[str, str]:
    """The image of a FROM, and the name of its stage ("" = none)."""
    words = origin.text.split()
    if len(words) == 1:
        return words[0], ""
    name = words[-1].lower()
    if len(words) != 3 or words[1].lower() != "as" or not _NAME.fullmatch(name):  # noqa: PLR2004
        raise EvidenceError(
            f"Dockerfile, line {origin.line}: FROM takes an image, and perhaps AS and a name"
        )
    return words[0], name


def declared(instruction: Instruction, known: Mapping[str, str | None]) -> dict[str, str | None]:
    """What an ARG or ENV declares: values by name, None for an ARG without a default or for what
    rests on such a one."""
    found: dict[str, str | None] = {}
    for name, raw in assignments(instruction):
        if raw is None:
            found[name] = known.get(name)
            continue
        value, is_open = expand(raw, known)
        found[name] = None if is_open else value
    return found


def assignments(instruction: Instruction) -> list[tuple[str, str | None]]:
    """The names and values of an ARG or ENV as they are written, without their quotes; None for a
    name alone."""
    text = instruction.text
    if instruction.name == "ENV" and "=" not in text.split(None, 1)[0]:
        name, _, value = text.strip().partition(" ")
        return [(name, value.strip())]
    found: list[tuple[str, str | None]] = []
    place = 0
    while place < len(text):
        match = _ASSIGNMENT.match(text, place)
        if match is not None and match.end() > place:
            found.append((match[1], _unquoted(match[2])))
            place = match.end()
            continue
        word = re.compile(r"\s*(\S+)\s*|\s+").match(text, place)
        if word is None:
            break
        if word[1] and instruction.name == "ARG":
            found.append((word[1], None))
        place = word.end()
    return found


def _unquoted(text: str) -> str:
    return re.sub(r"\"((?:[^\"\\]|\\.)*)\"|'([^']*)'", lambda m: m[1] or m[2] or "", text)


def expand(text: str, known: Mapping[str, str | None]) -> tuple[str, bool]:
    """A text with its variables put in, and whether one without a known value is left."""
    is_open = False

    def value(match: re.Match[str]) -> str:
        nonlocal is_open
        name = match[1] or match[2]
        if name is None:
            return "$"
        found = known.get(name)
        sign, other = match[3] or "", match[4] or ""
        if sign.endswith("-") and (found is None or (":" in sign and not found)):
            return other
        if sign.endswith("+"):
            return other if found else ""
        if found is None:
            is_open = True
            return match[0]
        return found

    result = _VARIABLE.sub(value, text[:MAX_VALUE])
    return result[:MAX_VALUE], is_open or len(result) > MAX_VALUE or len(text) > MAX_VALUE
