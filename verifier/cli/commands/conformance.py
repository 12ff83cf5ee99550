"""`verify conformance`: a verifier, ours or any other, on forged and on honest evidence."""

import shlex
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.files import read_file
from verifier.cli.options import Output, command
from verifier.cli.output import check_places, write
from verifier.cli.streams import end_progress, progress, warn
from verifier.errors import EvidenceError, UsageError, did_you_mean
from verifier.version import tool_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from verifier.conformance.corpus import Vector
    from verifier.conformance.judge import Answered

SECONDS: Final = 20.0
MEMORY_BYTES: Final = 4 << 30
FALSE_ACCEPT: Final = 4
NOT_RIGHT: Final = 3
INTERRUPTED: Final = 130
_HERE: Final = Path("fixtures/vectors")


@command
def try_verifier(
    *,
    corpus: Annotated[Path, typer.Argument(metavar="[DIR]", help="The corpus of vectors.")] = _HERE,
    ask: Annotated[
        str, typer.Option("--command", help="The verifier to try; without it, this one.")
    ] = "",
    link: Annotated[
        list[str] | None, typer.Option(help="Only this link of the chain (repeatable).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every answer, as JSON.")] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Answers of an interrupted run, as --json wrote them.")
    ] = None,
    output: Output = None,
) -> None:
    """Try a verifier on forged and on honest evidence: what it accepts, and what it refuses.

    COMMAND is run once for each vector, with the vector's folder as its last argument. It reads
    vector.json there and the evidence beside it, prints `accept`, `reject` or `unsupported` on its
    first line, and exits with 0. Anything else counts as broken.

    The exit code is 0 where every answer is right, 4 where forged evidence was accepted, else 3.
    What is interrupted (Ctrl-C, SIGTERM) writes the answers so far and exits with 130, and --resume
    goes on from them.

    Examples:

      verify conformance

      verify conformance --command "python3 my_verifier.py" --link quote --link log
    """
    from verifier.conformance.answers import document, earlier  # noqa: PLC0415
    from verifier.conformance.corpus import read_corpus  # noqa: PLC0415
    from verifier.conformance.judge import judge  # noqa: PLC0415

    check_places(output)
    try:
        vectors = read_corpus(corpus, _links(link or ()))
    except EvidenceError as error:
        raise UsageError(error.message, hint=error.hint) from error
    answering: Callable[[Vector], Answered] = _asking(ask) if ask else judge
    asked = ask or f"this auditor, {tool_version()}"
    known = {} if resume is None else earlier(read_file(resume), asked, vectors)
    answers = []
    try:
        with _interruptible():
            for place, vector in enumerate(vectors):
                progress(f"{place} of {len(vectors)} vectors")
                answers.append(known.get(vector) or answering(vector))
    except KeyboardInterrupt:
        end_progress()
        answers += [known[vector] for vector in vectors[len(answers) :] if vector in known]
        warn(f"interrupted: {len(answers)} of {len(vectors)} vectors were asked")
    text = document(asked, answers) if as_json else _table(ask or "verify", answers)
    write(text.encode("utf-8"), output, "the answers")
    if len(answers) < len(vectors):
        raise typer.Exit(INTERRUPTED)
    if any(item.false_accept for item in answers):
        raise typer.Exit(FALSE_ACCEPT)
    raise typer.Exit(0 if all(item.right for item in answers) else NOT_RIGHT)


@contextmanager
def _interruptible() -> "Iterator[None]":
    """What is told to end by SIGTERM ends as by Ctrl-C: with the program that it runs."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _links(named: "list[str] | tuple[()]") -> tuple[str, ...]:
    from verifier.conformance.corpus import LINKS  # noqa: PLC0415

    for name in named:
        if name not in LINKS:
            fallback = f"one of {', '.join(LINKS)}"
            raise UsageError(
                f"--link {name!a} is no link of the corpus",
                hint=did_you_mean(name, LINKS, fallback),
            )
    return tuple(link for link in LINKS if link in named)


def _asking(text: str) -> "Callable[[Vector], Answered]":
    from verifier.cli.programs import run  # noqa: PLC0415
    from verifier.conformance.judge import Answered, Said  # noqa: PLC0415

    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--command {text!a}: {error}") from error
    if not words:
        raise UsageError("--command is empty", hint="name a program and its arguments")

    def answer(vector: "Vector") -> "Answered":
        ran = run([*words, str(vector.folder)], seconds=SECONDS, memory_bytes=MEMORY_BYTES)
        first = ran.output.split("\n", 1)[0].strip()
        if ran.problem:
            return Answered(vector, Said.BROKEN, ran.problem)
        if first not in (Said.ACCEPT, Said.REJECT, Said.UNSUPPORTED):
            return Answered(vector, Said.BROKEN, f"its first line is {first[:40]!a}")
        return Answered(vector, Said(first))

    return answer


def _table(name: str, answers: "list[Answered]") -> str:
    from verifier.conformance.judge import Said, count  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    head = "vectors", "right", "forged, accepted", "honest, refused", "not looked at", "broken"
    rows: list[tuple[str, ...]] = [("link", *head)]
    for link, held in count(answers).items():
        numbers = (held.vectors, held.right, held.false_accepts, held.false_rejects)
        rows.append((link, *map(str, (*numbers, held.unsupported, held.broken))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{visible(name)} on {len(answers)} vectors", ""]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        lines.append("  ".join(cells))
    for title, said in (("Accepted, and forged:", True), ("Refused, and honest:", False)):
        wrong = [
            item
            for item in answers
            if not item.right and item.said is (Said.ACCEPT if said else Said.REJECT)
        ]
        if wrong:
            lines += ["", title]
            lines += [f"  {_named(item.vector)}  {visible(item.vector.why)}" for item in wrong]
    broken = [item for item in answers if item.said is Said.BROKEN]
    if broken:
        lines += ["", "Broken:"]
        lines += [f"  {_named(item.vector)}  {visible(item.problem)}" for item in broken]
    return "\n".join([*lines, ""])


def _named(vector: "Vector") -> str:
    from verifier.report.escape import visible  # noqa: PLC0415

    return visible(f"{vector.link}/{vector.name}")
