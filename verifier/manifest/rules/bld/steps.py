"""Steps that give another result each time, and what must not stand in an image."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.compose.dockerfile import Stage, assignments
from verifier.evidence.images.oci import parse_reference
from verifier.manifest.build import Build, Step
from verifier.manifest.rule import Hit
from verifier.manifest.rules.bld import BuildRule, at, build_rule
from verifier.manifest.rules.shell import excerpt
from verifier.manifest.shell_commands import Command
from verifier.model.result import Location, Severity
from verifier.patterns import pattern
from verifier.reference.env_classes import APICRED, REG, SIGNKEY, TLSKEY, classify

_SEED: Final = "dstack pitfalls guide, 9 (known problematic packages)"
_SECRET_CLASSES: Final = frozenset({APICRED, SIGNKEY, TLSKEY, REG})
_SECRET_NAME: Final = pattern(
    r"PASS(?:WORD|WD|PHRASE)|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIAL|MNEMONIC", re.IGNORECASE
)
_ABOUT: Final = pattern(
    r"(?:_FILE|_PATH|_DIR|_URL|_URI|_HOST|_NAME|_ID|_TTL|_TYPE|_LENGTH|_LIFETIME|_EXPIRY|_USER)$"
    r"|^(?:PUBLIC|NEXT_PUBLIC|VITE)_|TOKENIZER|TOKENS$|PUBLIC_?KEY",
    re.IGNORECASE,
)
_HARMLESS: Final = pattern(r"/.*|true|false|\d{1,5}|none|null|https?://[^@]*", re.IGNORECASE)
_CREDENTIAL: Final = pattern(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}"
    r"|\bgithub_pat_[A-Za-z0-9_]{22,}|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}"
    r"|\bsk_live_[A-Za-z0-9]{16,}|\bsk-(?:ant-|proj-)?[\w-]{20,}|\bAIza[\w-]{35}"
    r"|\bnpm_[A-Za-z0-9]{36}|://[^\s:/@$]{1,64}:[^\s:/@$]{1,128}@[\w.-]+",
    re.ASCII,
)
_SECRET_FILE: Final = pattern(
    r"(?:.*/)?(?:\.env(?!\.(?:example|sample|template|dist|defaults?)$)(?:\.[\w.-]+)?"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.pgpass|\.git-credentials|\.htpasswd"
    r"|\.ssh(?:/.*)?|\.aws(?:/.*)?|\.docker/config\.json|kubeconfig|deploy_key)"
)
_KEY_FILE: Final = pattern(r".*\.(?:key|p12|pfx|jks|keystore)|(?:.*/)?\.npmrc|(?:.*/)?\.pypirc")
_NODE_TOOLS: Final = frozenset({"node", "npm", "npx", "yarn", "pnpm", "corepack"})
_NODE_SINCE: Final = 22
_TRUE: Final = pattern(r"[1-9]\d*|true|yes|x", re.IGNORECASE)
_RANDOM: Final = pattern(r"/dev/u?random\b|\$\{?RANDOM\b")
_DATED: Final = pattern(r"-[a-zA-Z]*[drs](?:[@\d].*)?|--(?:date|reference|set)(?:=.*)?")
_EPOCH: Final = "SOURCE_DATE_EPOCH"


@build_rule(
    "BLD-008",
    Severity.HIGH,
    "Secret in ARG or ENV",
    why="Arguments and environment are kept in the image's history and configuration: whoever can "
    "pull the image can read them.",
    fix="Give it to the one step that needs it: `RUN --mount=type=secret,id=NAME`; at run time, as "
    "an encrypted variable or from the KMS.",
    source="docs.docker.com/reference/build-checks/secrets-used-in-arg-or-env",
)
def secret_in_build(build: Build) -> Iterator[Hit]:
    """An ARG or ENV has the name of a credential, or any instruction holds one of a known form."""
    for instruction in build.dockerfile.preamble:
        for name, value in assignments(instruction):
            if _is_secret(name, value, argument=True):
                place = Location(pointer="", line=instruction.line, column=1)
                yield Hit(message=f"ARG {excerpt(name, 60)} before the first stage", place=place)
    for step in build.of("ARG", "ENV"):
        kind = step.instruction.name
        for name, value in assignments(step.instruction):
            if _is_secret(name, value, argument=kind == "ARG"):
                yield at(step, f"{kind} {excerpt(name, 60)}")
    for step in build.steps:
        texts = (step.instruction.text, *(item.text for item in step.instruction.documents))
        for text in texts:
            match = _CREDENTIAL.search(text)
            if match is not None:
                shown = f"{match[0][:6]}… ({len(match[0])} characters)"
                yield at(
                    step, f"{step.instruction.name} holds what looks like a credential: {shown}"
                )


def _is_secret(name: str, value: str | None, *, argument: bool) -> bool:
    if _ABOUT.search(name) or (value is None and not argument):
        return False
    if value is not None and (_HARMLESS.fullmatch(value) or (not value and not argument)):
        return False
    return classify(name) in _SECRET_CLASSES or _SECRET_NAME.search(name) is not None


@build_rule(
    "BLD-009",
    Severity.HIGH,
    "A file of secrets is copied into the image",
    why="Whoever can pull the image can read it, also where a later step deletes the file.",
    fix="Leave it out (.dockerignore), and mount it for the step that needs it: `RUN "
    "--mount=type=secret`.",
    source="docs.docker.com/build/building/secrets",
)
def secret_file(build: Build) -> Iterator[Hit]:
    """COPY or ADD takes an .env file, a private key of SSH, credentials of a cloud or the like from
    the build context; a key store, .npmrc or .pypirc is medium."""
    for step in build.of("COPY", "ADD"):
        if step.instruction.flag("from"):
            continue
        words = step.instruction.exec_form or tuple(step.instruction.text.split())
        for word in words[:-1]:
            if _SECRET_FILE.fullmatch(word):
                yield at(step, f"{step.instruction.name} {excerpt(word)}")
            elif _KEY_FILE.fullmatch(word):
                message = f"{step.instruction.name} {excerpt(word)}"
                yield at(step, message, severity=Severity.MEDIUM)


@build_rule(
    "BLD-010",
    Severity.MEDIUM,
    "SOURCE_DATE_EPOCH is not set",
    why="Files and layers carry the time of the build: the same source never gives the same "
    "digest.",
    fix="Write `ARG SOURCE_DATE_EPOCH=0` in the last stage, and build with `--output "
    "type=oci,…,rewrite-timestamp=true`.",
    source="dstack pitfalls guide, 9 and 11; reproducible-builds.org/docs/source-date-epoch",
)
def no_epoch(build: Build) -> Iterator[Hit]:
    """Neither the last stage nor one that it is built upon declares SOURCE_DATE_EPOCH as an
    argument or a variable."""
    final = build.final
    for step in build.of("ARG", "ENV"):
        named = any(name == _EPOCH for name, _ in assignments(step.instruction))
        if named and any(step.stage is stage for stage in final):
            return
    last = final[-1]
    yield Hit(
        message="nothing in the last stage fixes the time",
        place=Location(pointer="", line=last.origin.line, column=1),
        service=last.name,
    )


@build_rule(
    "BLD-011",
    Severity.MEDIUM,
    "A step is known to give another result each time",
    why="One file that differs gives another digest, and nobody can tell whether anything else "
    "does.",
    fix="Node.js 22 and later: `rm -rf /tmp/node-compile-cache` in the same step, or "
    "NODE_DISABLE_COMPILE_CACHE=1. pip: PYTHONDONTWRITEBYTECODE=1. Go: -trimpath. apt: `rm -rf "
    "/var/lib/apt/lists/*` in the same step.",
    source=_SEED,
)
def unstable_step(build: Build) -> Iterator[Hit]:
    """Node.js 22 or later leaves its compile cache, pip writes .pyc files with times, `go build`
    writes its own paths into the program; package lists that are left by apt are low."""
    for step in build.of("RUN"):
        commands = list(step.commands())
        for line, message in _node(build, step, commands):
            yield at(step, message, line)
        lasting = {**step.known, **_exported(commands)}
        for command, line in commands:
            known = {**lasting, **dict(command.assigned)} if command.assigned else lasting
            if _writes_bytecode(command, known):
                yield at(step, "pip writes .pyc files, which hold times", line)
            if _writes_paths(command, known):
                yield at(step, f"go {command.arguments[0]} without -trimpath", line)
        if line := _leaves_lists(build, step, commands):
            yield at(step, "apt-get update leaves its package lists", line, Severity.LOW)


def _exported(commands: list[tuple[Command, int]]) -> dict[str, str]:
    """Variables that the same step sets: alone, or by `export`."""
    found: dict[str, str] = {}
    for command, _ in commands:
        if not command.words:
            found |= dict(command.assigned)
        elif command.program == "export":
            found |= {
                name: value
                for word in command.arguments
                for name, sign, value in [word.partition("=")]
                if sign
            }
    return found


def _node(
    build: Build, step: Step, commands: list[tuple[Command, int]]
) -> Iterator[tuple[int, str]]:
    if not any(step.stage is stage for stage in build.final):
        return
    if not _is_new_node(build.dockerfile.lineage(step.place)[0]):
        return
    used = [line for command, line in commands if command.program in _NODE_TOOLS]
    known = {**step.known, **_exported(commands)}
    off = known.get("NODE_DISABLE_COMPILE_CACHE") or "node-compile-cache" in " ".join(
        word for command, _ in commands if command.program == "rm" for word in command.arguments
    )
    emptied = any(
        command.program == "rm" and {"/tmp/*", "/tmp"} & set(command.arguments)  # noqa: S108 - the path in the image
        for command, _ in commands
    )
    if used and not off and not emptied:
        yield used[0], "Node.js leaves /tmp/node-compile-cache"


def _is_new_node(stage: Stage) -> bool:
    """Whether a stage begins with an image of Node.js 22 or later, as far as its tag tells."""
    try:
        reference = parse_reference(stage.base)
    except EvidenceError:
        return False
    if reference.repository.rpartition("/")[2] != "node":
        return False
    major = re.match(r"\d+", reference.tag)
    return major is None or int(major[0][:4]) >= _NODE_SINCE


def _writes_bytecode(command: Command, known: Mapping[str, str | None]) -> bool:
    words = command.words
    is_pip = re.fullmatch(r"pip[\d.]*", command.program) is not None
    is_pip = is_pip or (command.program.startswith("python") and words[1:3] == ("-m", "pip"))
    if not is_pip or "install" not in words or "--no-compile" in words:
        return False
    return not _TRUE.fullmatch(known.get("PYTHONDONTWRITEBYTECODE") or "")


def _writes_paths(command: Command, known: Mapping[str, str | None]) -> bool:
    if command.program != "go" or command.arguments[:1] not in (("build",), ("install",)):
        return False
    return "-trimpath" not in command.arguments and "-trimpath" not in (known.get("GOFLAGS") or "")


def _leaves_lists(build: Build, step: Step, commands: list[tuple[Command, int]]) -> int:
    """The line of an `apt-get update` whose lists stay in the image, 0 without one."""
    lines = [
        line
        for command, line in commands
        if command.program in {"apt", "apt-get"} and "update" in command.arguments
    ]
    removed = any(
        command.program == "rm" and any("/var/lib/apt" in word for word in command.arguments)
        for command, _ in commands
    )
    mounted = any(
        name == "mount" and "/var/lib/apt" in value for name, value in step.instruction.flags
    )
    if not lines or removed or mounted or build.rests_on(step, build.snapshots):
        return 0
    return lines[0]


@build_rule(
    "BLD-012",
    Severity.MEDIUM,
    "A step makes something new each time",
    why="A key or random value that is made in the build is another one in each image, and lies in "
    "it for whoever pulls it; a time differs in each build.",
    fix="Make keys at run time, inside of the TEE; write times from SOURCE_DATE_EPOCH: `date -u -d "
    "@$SOURCE_DATE_EPOCH`.",
    source="reproducible-builds.org/docs; dstack pitfalls guide, 9",
)
def fresh_values(build: Build) -> Iterator[Hit]:
    """A RUN makes a key, a certificate or a random value (high for a key), or takes the present
    time."""
    for step in build.of("RUN"):
        for command, line in step.commands():
            made = _makes(command)
            if made is not None:
                yield at(step, made[0], line, made[1])


def _makes(command: Command) -> tuple[str, Severity | None] | None:
    """What a command makes anew, and how bad that is."""
    program, words = command.program, command.arguments
    first = words[0] if words else ""
    if program == "openssl" and first in {"genrsa", "genpkey", "req", "ecparam", "gendsa"}:
        return f"openssl {first} makes a key", Severity.HIGH
    if program in {"ssh-keygen", "keytool", "certtool"} and not {"-l", "-R", "-F"} & set(words):
        return f"{program} makes a key", Severity.HIGH
    random = program in {"uuidgen", "mcookie"} or (program == "openssl" and first == "rand")
    texts = (*words, *command.reads, *dict(command.assigned).values())
    if random or any(_RANDOM.search(text) for text in texts):
        return f"{program or 'a variable'} takes a random value", None
    dated = any(_DATED.fullmatch(word) for word in words)
    return ("date gives the present time", None) if program == "date" and not dated else None


RULES: Final[tuple[BuildRule, ...]] = (
    *(secret_in_build, secret_file, no_epoch, unstable_step, fresh_values),
)
