"""Where the parts of an image come from: base images, packages, downloads."""

import re
from collections.abc import Iterator
from itertools import pairwise, zip_longest
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.codec import whole_number
from verifier.evidence.compose.dockerfile import expand
from verifier.evidence.images.oci import parse_reference
from verifier.manifest.build import Build, Step
from verifier.manifest.rule import Hit
from verifier.manifest.rules.bld import BuildRule, at, build_rule
from verifier.manifest.rules.bld.packages import (
    SYSTEM_MANAGERS,
    language_packages,
    system_packages,
)
from verifier.manifest.rules.shell import excerpt
from verifier.manifest.shell_commands import SHELLS, Command, pipelines
from verifier.model.result import Location, Severity
from verifier.patterns import pattern

_SEED: Final = "dstack pitfalls guide, 9 (reproducible builds)"
_URL: Final = pattern(r"(?:https?|ftp)://", re.IGNORECASE)
_GIT: Final = pattern(
    r"git@|git://|ssh://|(?:https?://).*\.git(?:[#?]|$)"
    r"|https?://(?:www\.)?(?:github|gitlab)\.com/[^/]+/[^/#?]+(?:[#?]|$)",
    re.IGNORECASE,
)
_COMMIT: Final = pattern(r"(?:[#@=/]|^)[0-9a-f]{40}(?:[0-9a-f]{24})?\b", re.ASCII)
_CONTEXT_NAME: Final = pattern(r"[a-z0-9_-]+")
_PINNED: Final = pattern(r"@sha256:[0-9a-f]{64}$", re.ASCII)
_FUNCTION: Final = pattern(r"(?:function\s+)?([A-Za-z_][\w-]{0,64})\s*\(\)\s*\{([^{}]{0,4000})\}")
_PROGRAM_TEXT: Final = pattern(r"-[a-zA-Z]*[ce]|--eval|--command")
_CHECKSUM: Final = pattern(r"sha256:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
"""Of a file, or the commit of a Git repository."""
_FETCHED: Final = pattern(r"https?://[^\s'\")]{1,200}")
_EXECUTED: Final = pattern(
    r"(?:exec|eval)\b.{0,200}(?:urlopen|requests\.get|Net::HTTP|open-uri|file_get_contents)"
    r"|URI\.open.{0,100}\beval",
    re.DOTALL,
)
_DOWNLOADERS: Final = frozenset({"curl", "wget", "aria2c", "fetch", "http", "https", "iwr", "axel"})
_INTERPRETER: Final = pattern(r"(?:python|perl|ruby|node|php|pwsh)[\d.]*|source|\.|eval|iex")
_CHECKERS: Final = frozenset(
    {"sha256sum", "sha512sum", "sha384sum", "shasum", "b2sum", "gpgv", "cosign", "minisign"}
)
_CHECKING: Final = pattern(r"--verify|verify|dgst|-c|--check")


@build_rule(
    "BLD-001",
    Severity.HIGH,
    "Base image is not pinned by digest",
    why="Whoever owns the tag decides what the next build begins with: nobody can build this image "
    "again, and a changed base brings its code into the TEE.",
    fix="Write the digest: FROM IMAGE:TAG@sha256:DIGEST; the same for `COPY --from=IMAGE`, "
    "`RUN --mount=from=IMAGE` and `# syntax=`.",
    source=_SEED,
)
def unpinned_base(build: Build) -> Iterator[Hit]:
    """An image that the build begins with or copies from has no digest, after the defaults of its
    arguments are put in; the frontend of `# syntax=`, which runs the build, is medium."""
    frontend = build.dockerfile.directives.get("syntax")
    if frontend is not None and (reason := _unpinned(frontend[0])):
        message = f"the frontend {excerpt(frontend[0])}: {reason}"
        place = Location(pointer="", line=frontend[1], column=1)
        yield Hit(message=message, place=place, severity=Severity.MEDIUM)
    for stage in build.dockerfile.stages:
        reason = _unpinned(stage.base, is_open=stage.open_base)
        if stage.parent is None and stage.base.lower() != "scratch" and reason:
            place = Location(pointer="", line=stage.origin.line, column=1)
            message = f"{excerpt(stage.base)}: {reason}"
            yield Hit(message=message, place=place, service=stage.name)
    for step in build.of("COPY", "ADD", "RUN"):
        for image in _copied_from(step):
            shown, is_open = expand(image, step.known)
            reason = _unpinned(shown, is_open=is_open)
            if not _is_stage(build, step, shown) and reason:
                named = _CONTEXT_NAME.fullmatch(shown) is not None
                note = ", unless it is a context that the build is given" if named else ""
                yield at(step, f"{excerpt(shown)}: {reason}{note}", conditional=named)


def _copied_from(step: Step) -> Iterator[str]:
    if image := step.instruction.flag("from"):
        yield image
    for name, value in step.instruction.flags:
        options = dict(part.partition("=")[::2] for part in value.split(","))
        if name == "mount" and options.get("from"):
            yield options["from"]


def _is_stage(build: Build, step: Step, name: str) -> bool:
    stages = build.dockerfile.stages[: step.place]
    number = whole_number(name)
    if number is not None:
        return number < len(stages)
    return any(stage.name == name.lower() for stage in stages if stage.name)


def _unpinned(image: str, *, is_open: bool = False) -> str:
    """Why an image reference is not fixed, "" when it is."""
    if _PINNED.search(image):
        if is_open:
            return ""  # the name may vary: the digest says what it is
        try:
            parse_reference(image)
        except EvidenceError as error:
            return error.message
        return ""
    if is_open:
        return "a variable without a default names it"
    return "its digest is malformed" if "@" in image else "a tag can be moved, and it has no digest"


@build_rule(
    "BLD-002",
    Severity.MEDIUM,
    "System packages are neither pinned nor from a snapshot",
    why="The build takes what the distribution has that day: another build gives another image, "
    "and no reviewer can tell which packages are in it.",
    fix="Install from a dated snapshot archive of the distribution, or write NAME=VERSION.",
    source=_SEED,
)
def unpinned_packages(build: Build) -> Iterator[Hit]:
    """A package manager of the system installs packages without a version, and no step before it
    sets a dated snapshot as its source."""
    for step in build.of("RUN"):
        loose = [
            (manager, line, names)
            for command, line in step.commands()
            for manager, names in [system_packages(command)]
            if names
        ]
        if not loose or build.rests_on(step, build.snapshots):
            continue
        unknown = build.rests_on(step, build.hidden_sources)
        note = (
            " (unless a copied list of sources or a script of your own pins it)" if unknown else ""
        )
        for manager, line, names in loose:
            shown = ", ".join(excerpt(name, 40) for name in names[:6])
            more = f" and {len(names) - 6} more" if len(names) > 6 else ""  # noqa: PLR2004
            message = f"{manager} takes {shown}{more} without a version{note}"
            yield at(step, message, line, conditional=unknown)


@build_rule(
    "BLD-003",
    Severity.LOW,
    "Pinned packages come from a moving archive",
    why="Debian and Ubuntu remove a version when the next one comes: the build fails then, and "
    "cannot be repeated.",
    fix="Take the packages from the distribution's archive of snapshots, at a date.",
    source=_SEED,
)
def moving_archive(build: Build) -> Iterator[Hit]:
    """Apt installs packages by version, and no step before it sets a dated snapshot."""
    for step in build.of("RUN"):
        pinned = [
            line
            for command, line in step.commands()
            if command.program in {"apt", "apt-get", "aptitude"}
            and "install" in command.arguments
            and not system_packages(command)[1]
            and any("=" in word and not word.startswith("-") for word in command.arguments)
        ]
        if pinned and not build.rests_on(step, build.snapshots):
            yield at(step, "its versions are in the archive only until newer ones come", pinned[0])


@build_rule(
    "BLD-004",
    Severity.MEDIUM,
    "Packages of a language are not pinned",
    why="The registry decides which version the next build gets, and its newest code runs in the "
    "TEE.",
    fix="Install from a lock file, as it is: `npm ci`, `yarn install --immutable`, `pip install "
    "--require-hashes -r requirements.txt`, `cargo install --locked --version`, `go install "
    "NAME@vVERSION`.",
    source=_SEED,
)
def unpinned_language(build: Build) -> Iterator[Hit]:
    """pip, npm, yarn, pnpm, bun, go, cargo, gem, conda and their like install by name without a
    version, or without holding their lock file."""
    for step in build.of("RUN"):
        for command, line in step.commands():
            for message, severity in language_packages(command):
                yield at(step, message, line, severity)


@build_rule(
    "BLD-005",
    Severity.HIGH,
    "ADD fetches from the network without a checksum",
    why="Whoever serves the address decides what is in the image, at each build.",
    fix="Write `ADD --checksum=sha256:…`; of a Git repository, the commit behind `#`.",
    source="docs.docker.com/reference/dockerfile, ADD; dstack pitfalls guide, 9",
)
def remote_add(build: Build) -> Iterator[Hit]:
    """ADD names a URL without `--checksum`, or a Git repository without a whole commit id."""
    for step in build.of("ADD"):
        checksum = step.instruction.flag("checksum") or ""
        if _CHECKSUM.fullmatch(expand(checksum, step.known)[0]):
            continue
        words = step.instruction.exec_form or tuple(step.instruction.text.split())
        for word in words[:-1]:
            source, _ = expand(word, step.known)
            is_git = _GIT.match(source) is not None
            if is_git and _COMMIT.search(source):
                continue
            if is_git or _URL.match(source):
                yield at(step, f"ADD {excerpt(source)}")


@build_rule(
    "BLD-006",
    Severity.HIGH,
    "What is fetched is run at once",
    why="Whoever serves the address, or stands in between, runs any code in the build, and so "
    "decides what is in the image.",
    fix="Fetch a named version, check it against a hash that stands in the Dockerfile, and run it "
    "then.",
    source="dstack pitfalls guide, 9; hadolint DL4006, SC2312",
)
def fetched_and_run(build: Build) -> Iterator[Hit]:
    """A download goes into a shell or interpreter: through a pipe, in a substitution, or as a file
    that is run although nothing checked it."""
    for step in build.of("RUN"):
        for line, message in _run_at_once(step):
            yield at(step, message, line)
    for step, source in _added(build):
        runner = next((line for line in _runners(build, step, source)), None)
        if runner is not None:
            yield at(step, f"{excerpt(source)} is added from the network and run", runner)


def _run_at_once(step: Step) -> Iterator[tuple[int, str]]:
    fetchers, shells = _functions(step)
    for run in step.runs:
        fetched = False
        for command in run.commands:
            runs = _is_interpreter(command) or command.program in shells
            if fetched and runs:
                yield run.line, f"a download is piped into {command.program}"
            fetched = fetched or command.program in fetchers
            inner = any(
                item.program in fetchers
                for pipeline in command.inner
                for nested in pipeline.all()
                for item in nested.commands
            )
            if inner and runs:
                yield run.line, f"a download is the script of {command.program}"
            if _is_interpreter(command) and any(map(_EXECUTED.search, command.arguments)):
                yield run.line, f"{command.program} runs what it downloads"
    last_run = {
        name: place
        for place, run in enumerate(step.runs)
        for command in run.commands
        for name in _files_run(command)
    }
    for place, name, line in _unchecked_files(step):
        if last_run.get(_base(name), -1) > place:
            yield line, f"{excerpt(name)} is downloaded and run, and nothing checks it"


def _functions(step: Step) -> tuple[frozenset[str], frozenset[str]]:
    """The names of programs that download, and of those that run what they read, with functions
    of the step that do so."""
    fetchers, shells = set(_DOWNLOADERS), set(SHELLS)
    texts = (step.instruction.text, *(item.text for item in step.instruction.documents))
    for text in texts:
        for name, body in _FUNCTION.findall(text):
            programs = {
                command.program for pipeline in pipelines(body) for command in pipeline.commands
            }
            fetchers |= {name} if programs & _DOWNLOADERS else set()
            shells |= {name} if programs & SHELLS else set()
    return frozenset(fetchers), frozenset(shells)


def _is_interpreter(command: Command) -> bool:
    return command.program in SHELLS or _INTERPRETER.fullmatch(command.program) is not None


def _unchecked_files(step: Step) -> Iterator[tuple[int, str, int]]:
    """Files that a RUN downloads, and nothing in it checks: place of the pipeline, name, line."""
    if any(_checks(command) for command, _ in step.commands()):
        return
    for place, run in enumerate(step.runs):
        for command in run.commands:
            if command.program in _DOWNLOADERS:
                yield from ((place, name, run.line) for name in _targets(command, run.commands))


def _checks(command: Command) -> bool:
    if command.program in _CHECKERS:
        return True
    is_tool = command.program in {"gpg", "openssl", "signify"}
    return is_tool and any(_CHECKING.fullmatch(word) for word in command.arguments)


def _targets(command: Command, pipeline: tuple[Command, ...]) -> Iterator[str]:
    """The files that a download goes to."""
    named = [*_named_outputs(command), *command.writes]
    yield from named
    last = pipeline[-1]
    if last is not command:
        yield from last.writes
        if last.program == "tee":
            yield from (word for word in last.arguments if not word.startswith("-"))
    elif not named:
        words = command.arguments
        remote = any(re.fullmatch(r"-[a-zA-Z]*O|--remote-name", word) for word in words)
        if command.program != "curl" or remote:
            yield from (_last_part(word) for word in words if _URL.match(word))


def _named_outputs(command: Command) -> Iterator[str]:
    short = re.compile(r"-[a-zA-Z]*O" if command.program == "wget" else r"-[a-zA-Z]*o")
    words = command.arguments
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if short.fullmatch(word) or word in {"--output", "--output-document", "--out"}:
            yield following
        elif word.startswith(("--output=", "--output-document=", "--out=")):
            yield word.partition("=")[2]


def _last_part(url: str) -> str:
    return _base(url.split("?", maxsplit=1)[0])


def _base(path: str) -> str:
    return path.rpartition("/")[2]


def _files_run(command: Command) -> set[str]:
    """The names, without directories, of files that a command may run."""
    found = {command.program} if command.words and "/" in command.words[0] else set()
    if _is_interpreter(command):
        found |= {_base(word) for word in (*command.arguments, *command.reads)}
    return found - {""}


def _added(build: Build) -> Iterator[tuple[Step, str]]:
    for step in build.of("ADD"):
        if step.instruction.flag("checksum"):
            continue
        for word in step.instruction.text.split()[:-1]:
            source, _ = expand(word, step.known)
            if _URL.match(source) and not _GIT.match(source):
                yield step, source


def _runners(build: Build, added: Step, source: str) -> Iterator[int]:
    target = added.instruction.text.split()[-1]
    name = (
        target if not target.endswith("/") else source.split("?", maxsplit=1)[0].rpartition("/")[2]
    )
    for step in build.of("RUN"):
        if step.place == added.place and step.instruction.line > added.instruction.line:
            yield from (
                line for command, line in step.commands() if _base(name) in _files_run(command)
            )


@build_rule(
    "BLD-007",
    Severity.MEDIUM,
    "A download is not checked",
    why="The build takes whatever the address serves that day.",
    fix='Check it in the same step: `echo "HASH  FILE" | sha256sum -c -`; of a Git repository, '
    "check out a whole commit id.",
    source=_SEED,
)
def unchecked_download(build: Build) -> Iterator[Hit]:
    """Curl or wget fetches a file, or feeds one into the image, and nothing in the same RUN checks
    a hash or a signature; or `git clone` is not followed by a checkout of a commit id."""
    for step in build.of("RUN"):
        commands = list(step.commands())
        checked = any(_checks(command) for command, _ in commands)
        commit = any(
            command.program == "git" and any(_COMMIT.search(word) for word in command.arguments)
            for command, _ in commands
        )
        for command, line in commands:
            address = next((word for word in command.arguments if _URL.match(word)), "")
            if command.program in _DOWNLOADERS and address and not checked:
                if _is_upload_or_probe(command):
                    continue
                yield at(step, f"{command.program} {excerpt(address)}", line)
            if _is_interpreter(command) and not checked and command.program not in SHELLS:
                words = command.arguments
                for option, text in pairwise(words):
                    if _PROGRAM_TEXT.fullmatch(option) and (found := _FETCHED.search(text)):
                        yield at(step, f"{command.program} fetches {excerpt(found[0])}", line)
            if command.program == "git" and "clone" in command.arguments and not commit:
                shown = excerpt(address or " ".join(command.arguments))
                given = any(map(_checks_out_variable, commands))
                why = "a branch or tag can be moved"
                why = "a variable names the commit" if given else why
                yield at(step, f"git clone {shown}: {why}", line, conditional=given)


def _checks_out_variable(item: tuple[Command, int]) -> bool:
    command, _ = item
    words = command.arguments
    return command.program == "git" and "checkout" in words and words[-1].startswith("$")


def _is_upload_or_probe(command: Command) -> bool:
    """Whether curl only asks for headers."""
    return command.program == "curl" and bool({"-I", "--head"} & set(command.arguments))


@build_rule(
    "BLD-013",
    Severity.MEDIUM,
    "A step takes whatever is newest",
    why="Another day gives another image.",
    fix="Leave upgrades out, and take a newer base image by digest; name a version in place of "
    "`latest`.",
    source=_SEED,
)
def newest(build: Build) -> Iterator[Hit]:
    """The system's packages are upgraded, without a dated snapshot; or the address of a download
    names the latest release."""
    for step in build.of("RUN"):
        for command, line in step.commands():
            words = [word for word in command.arguments if not word.startswith("-")]
            upgrades = {"upgrade", "dist-upgrade", "full-upgrade", "safe-upgrade", "update"}
            if command.program in {"apt", "apt-get", "aptitude", "apk"}:
                upgrades -= {"update"}
            if command.program in SYSTEM_MANAGERS and words and words[0] in upgrades:
                if not build.rests_on(step, build.snapshots):
                    yield at(step, f"{command.program} {words[0]}", line)
            elif command.program in _DOWNLOADERS:
                for word in command.arguments:
                    if _URL.match(word) and re.search(r"/latest(?:/|\b)", word):
                        yield at(step, f"{command.program} {excerpt(word)}", line)


RULES: Final[tuple[BuildRule, ...]] = (
    *(unpinned_base, unpinned_packages, moving_archive, unpinned_language),
    *(remote_add, fetched_and_run, unchecked_download, newest),
)
