"""What a Dockerfile does, step by step: the model that the BLD rules see."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.compose.dockerfile import (
    PLATFORM_ARGUMENTS,
    Dockerfile,
    Instruction,
    Stage,
    declared,
)
from verifier.manifest.shell_commands import SHELLS, Command, Pipeline, pipelines
from verifier.patterns import pattern

_SNAPSHOT: Final = pattern(
    r"snapshot(?:-cloudflare)?\.(?:debian\.org/archive|ubuntu\.com)/[^\s'\"]*\d{8}T\d{6}Z"
    r"|archive\.archlinux\.org/repos/\d{4}/\d{2}/\d{2}|APT::Snapshot[ \"'=]+\d{8}T"
    r"|--snapshot[ =]\d{8}T|^Snapshot: *\d{8}T",
    re.ASCII | re.MULTILINE,
)

MAX_RUNS: Final = 10_000
_OWN_SCRIPT: Final = pattern(r"\.{1,2}/")


class Run(Struct, frozen=True):
    """One pipeline of a RUN, and the line on which it begins. A pipeline inside of a substitution
    or of a script that is handed to a shell has the line of what it stands in."""

    pipeline: Pipeline
    line: int

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands of the pipeline."""
        return self.pipeline.commands


class Step(Struct, frozen=True):
    """One instruction of a stage.

    stage        the stage
    place        which stage it is, from 0
    position     which of all steps it is, from 0
    instruction  the instruction
    known        variable → its constant value there; None for a variable whose value is not known
    runs         the pipelines of a RUN, with those inside of others; () for any other instruction
    """

    stage: Stage
    place: int
    position: int
    instruction: Instruction
    known: Mapping[str, str | None]
    runs: tuple[Run, ...]

    @property
    def service(self) -> str:
        """What findings about it name: the stage."""
        return self.stage.name

    def commands(self) -> Iterator[tuple[Command, int]]:
        """Every command, with its line."""
        for run in self.runs:
            for command in run.commands:
                yield command, run.line


class Build:
    """A Dockerfile with every step of every stage, in order. Raises EvidenceError for one with
    more than `MAX_RUNS` commands."""

    def __init__(self, dockerfile: Dockerfile) -> None:
        self.dockerfile = dockerfile
        self.steps = self._read()
        if sum(len(step.runs) for step in self.steps) > MAX_RUNS:
            raise EvidenceError(f"Dockerfile: more than {MAX_RUNS} commands")

    def _read(self) -> tuple[Step, ...]:
        found: list[Step] = []
        environments: list[dict[str, str | None]] = []
        for place, stage in enumerate(self.dockerfile.stages):
            # A stage inherits the variables of the environment, never the arguments.
            inherited = {} if stage.parent is None else environments[stage.parent]
            known: dict[str, str | None] = dict(inherited)
            lasting: dict[str, str | None] = dict(inherited)
            for instruction in stage.instructions:
                if instruction.name == "ARG":
                    defaults = {**PLATFORM_ARGUMENTS, **self.dockerfile.arguments, **known}
                    known = {**known, **declared(instruction, defaults)}
                elif instruction.name == "ENV":
                    values = declared(instruction, known)
                    known = {**known, **values}
                    lasting |= values
                found.append(
                    Step(
                        stage=stage,
                        place=place,
                        position=len(found),
                        instruction=instruction,
                        known=known,
                        runs=tuple(_runs(instruction, known)),
                    )
                )
            environments.append(lasting)
        return tuple(found)

    def of(self, *names: str) -> Iterator[Step]:
        """The steps with these instructions."""
        return (step for step in self.steps if step.instruction.name in names)

    def rests_on(self, step: Step, found: Iterable[Step]) -> bool:
        """Whether a step is one of these, or its file system has what one of them did."""
        stages = self._ancestors[step.place]
        return any(other.position <= step.position and other.place in stages for other in found)

    @cached_property
    def snapshots(self) -> tuple[Step, ...]:
        """The steps that make a dated snapshot the source of packages."""
        return tuple(
            step
            for step in self.of("RUN", "COPY", "ADD")
            if any(map(_SNAPSHOT.search, _texts(step)))
        )

    @cached_property
    def hidden_sources(self) -> tuple[Step, ...]:
        """The steps that may pin packages out of sight: they copy a list of package sources, or
        run a script from the build context."""
        return tuple(step for step in self.of("COPY", "ADD", "RUN") if _hides_sources(step))

    @cached_property
    def _ancestors(self) -> tuple[frozenset[int], ...]:
        found: list[frozenset[int]] = []
        for place, stage in enumerate(self.dockerfile.stages):
            above = frozenset[int]() if stage.parent is None else found[stage.parent]
            found.append(above | {place})
        return tuple(found)

    @cached_property
    def final(self) -> tuple[Stage, ...]:
        """The last stage, which is the image, with those that it is built upon."""
        return self.dockerfile.lineage(len(self.dockerfile.stages) - 1)


def _hides_sources(step: Step) -> bool:
    if step.instruction.name != "RUN":
        return "/etc/apt" in step.instruction.text
    return any(_OWN_SCRIPT.match((*command.words, "")[0]) for command, _ in step.commands())


def _texts(step: Step) -> Iterator[str]:
    for command, _ in step.commands():
        yield " ".join((*command.words, *command.reads))
    for document in step.instruction.documents:
        yield document.text


def _runs(instruction: Instruction, known: Mapping[str, str | None]) -> Iterator[Run]:
    if instruction.name != "RUN":
        return
    constants = {name: value for name, value in known.items() if value is not None}
    words = instruction.exec_form
    if words is not None:
        yield from _exec(words, instruction.line, constants)
        return
    bodies = {document.name: document for document in instruction.documents}
    alone = instruction.text.lstrip().startswith("<<")
    for pipeline in pipelines(instruction.text, constants):
        line = instruction.line_at(pipeline.commands[0].offset)
        if not alone:
            yield from _nested(pipeline, line)
        # A here-document is a script where a shell reads it.
        if any(command.program in SHELLS for command in pipeline.commands):
            alone = alone or bool(bodies)
    if alone:
        for document in bodies.values():
            ends = [match.start() for match in re.finditer("\n", document.text)]
            for pipeline in pipelines(document.text, constants):
                line = document.line + bisect_left(ends, pipeline.commands[0].offset)
                yield from _nested(pipeline, line)


def _exec(words: tuple[str, ...], line: int, constants: Mapping[str, str]) -> Iterator[Run]:
    """The JSON form: one command, or a script that it hands to a shell."""
    quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
    for pipeline in pipelines(quoted, constants):
        yield from _nested(pipeline, line)


def _nested(pipeline: Pipeline, line: int) -> Iterator[Run]:
    for inner in pipeline.all():
        yield Run(inner, line)
