"""What package managers are told to install, and whether that fixes what comes."""

import re
from collections.abc import Callable, Iterator
from typing import Final

from verifier.manifest.rules.shell import excerpt
from verifier.manifest.shell_commands import Command
from verifier.model.result import Severity
from verifier.patterns import pattern

SYSTEM_MANAGERS: Final = frozenset(
    {"apt", "apt-get", "aptitude", "apk", "dnf", "yum", "microdnf", "tdnf", "zypper", "pacman"}
)
_INSTALLS: Final = frozenset({"install", "add", "localinstall", "in", "-S", "-Sy", "-Syu"})
_VALUED: Final[dict[str, frozenset[str]]] = {
    "apt": frozenset({"-t", "--target-release", "-o", "--option", "-c", "--config-file", "-a"}),
    "apk": frozenset({"-t", "--virtual", "-X", "--repository", "-p", "--root", "--keys-dir"}),
    "dnf": frozenset({"-x", "--exclude", "--repo", "--enablerepo", "--installroot", "-c"}),
}
_LOCAL: Final = pattern(r"\.{0,2}/.*|.*\.(?:deb|rpm|apk|whl|tgz|tar\.gz)|\.", re.DOTALL)
_EXACT: Final = {
    "apt": pattern(r"[^=]+=[^=*]+"),
    "apk": pattern(r"[^=<>~]+=[^=<>~]+"),
    "dnf": pattern(r".+-\d[\w.~+:]*(?:-\S+)?|[^=]+=[^=]+", re.ASCII),
    "pacman": pattern(r"(?!)"),
}


def _family(program: str) -> str:
    if program in {"apt", "apt-get", "aptitude"}:
        return "apt"
    return program if program in {"apk", "pacman"} else "dnf"


def system_packages(command: Command) -> tuple[str, list[str]]:
    """The package manager of the system, and what it is told to install without a version."""
    if command.program not in SYSTEM_MANAGERS:
        return "", []
    family = _family(command.program)
    words = list(command.arguments)
    place = next((n for n, word in enumerate(words) if word in _INSTALLS), None)
    if place is None:
        return "", []
    rest = words[:place] + words[place + 1 :]
    names = [word for word in _operands(rest, _VALUED.get(family, frozenset())) if word]
    exact = _EXACT[family]
    loose = [name for name in names if not (_LOCAL.fullmatch(name) or exact.fullmatch(name))]
    return command.program, loose


def _operands(words: list[str], valued: frozenset[str]) -> Iterator[str]:
    """The words that are neither options nor values of such."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in valued:
            skip = True
        elif not word.startswith("-"):
            yield word


_Packages = Iterator[tuple[str, Severity | None]]


def language_packages(command: Command) -> _Packages:
    """What a package manager of a language is told without a version or a lock: messages, with a
    severity where it is not the rule's own."""
    program, words = command.program, command.arguments
    if program == "uv" and words[:1] == ("pip",):
        program, words = "pip", words[1:]
    if re.fullmatch(r"python[\d.]*", program) and words[:2] == ("-m", "pip"):
        program, words = "pip", words[2:]
    program = "pip" if re.fullmatch(r"pip[\d.]*", program) else program
    reader = _READERS.get(program)
    if reader is not None:
        yield from reader(program, words)


def _pip(_: str, words: tuple[str, ...]) -> _Packages:
    if not words or words[0] != "install" or "--require-hashes" in words:
        return
    files = frozenset({"-r", "--requirement", "-c", "--constraint"})
    valued = files | {"-t", "--target", "-i", "--index-url", "--extra-index-url", "-f", "--prefix"}
    for place, word in enumerate(words[:-1]):
        if word in {"-r", "--requirement"}:
            name = excerpt(words[place + 1], 40)
            yield f"pip install -r {name} without --require-hashes", Severity.LOW
    for name in _operands(list(words[1:]), frozenset(valued)):
        pinned = re.search(r"===?[^*]+$|#sha256=|@[0-9a-f]{40}\b", name)
        local = _LOCAL.fullmatch(name) or name.startswith(".[")
        if local and not name.endswith(".whl") and "--no-deps" not in words:
            yield f"pip install {excerpt(name, 40)} resolves what it depends on", Severity.LOW
        elif not local and not pinned:
            yield f"pip installs {excerpt(name, 40)} without a version", None


def _pipx(program: str, words: tuple[str, ...]) -> _Packages:
    names = list(_operands(list(words), frozenset({"--python", "--index-url"})))
    if program == "uv" and names[:1] == ["sync"] and not {"--locked", "--frozen"} & set(words):
        yield "uv sync without --locked", Severity.LOW
    wanted = names[1:2] if names[:1] in (["install"], ["run"]) else []
    wanted = names[2:3] if program == "uv" and names[:2] == ["tool", "install"] else wanted
    wanted = wanted if program != "uv" or names[:1] == ["tool"] else []
    for name in wanted:
        if not re.search(r"[=@]=?\d", name):
            yield f"{program} installs {excerpt(name, 40)} without a version", None


def _npm(program: str, words: tuple[str, ...]) -> _Packages:
    held = {"--frozen-lockfile", "--immutable", "--immutable-cache", "--frozen", "--pure-lockfile"}
    names = list(
        _operands(list(words), frozenset({"--prefix", "-C", "--cwd", "--dir", "--filter"}))
    )
    verb = names[0] if names else "install"
    if program == "yarn" and verb == "global":
        names = names[1:]
        verb = names[0] if names else ""
    if program in {"npx", "bunx"}:
        names, verb = ["add", *names[:1]], "add"
    if program == "corepack" and verb in {"prepare", "use", "install"}:
        verb = "add"
    if verb not in {"install", "i", "add", "dlx", "exec", "x"}:
        return
    packages = [name for name in names[1:] if not _LOCAL.fullmatch(name)]
    for name in packages:
        if not re.search(r".@v?\d+\.\d+|#[0-9a-f]{40}\b|.@sha", name):
            yield f"{program} takes {excerpt(name, 40)} without a version", None
    if not packages and verb in {"install", "i"} and not held & set(words):
        better = "npm ci" if program == "npm" else f"{program} install --frozen-lockfile"
        yield f"{program} {verb} may change the lock file: {better} holds it", None


def _go(_: str, words: tuple[str, ...]) -> _Packages:
    if not words or words[0] not in {"install", "get", "run"}:
        return
    for name in _operands(list(words[1:]), frozenset({"-ldflags", "-tags", "-o", "-mod"})):
        if name.startswith("$("):
            continue
        at = name.partition("@")[2]
        remote = "." in name.split("/")[0].lstrip(".") and not name.startswith(".")
        if (remote or at) and not re.match(r"v\d|[0-9a-f]{12}", at):
            yield f"go {words[0]} {excerpt(name, 60)} without a version", None


def _cargo(_: str, words: tuple[str, ...]) -> _Packages:
    verb = next((word for word in words if not word.startswith(("-", "+"))), "")
    locked = {"--locked", "--frozen"} & set(words)
    if verb == "install":
        version = any(
            word.startswith(("--version", "--vers", "--rev", "--path")) or "@" in word
            for word in words
        )
        if not version:
            yield "cargo install without --version", None
        elif not locked and not any(word.startswith("--path") for word in words):
            yield "cargo install without --locked", None
    elif verb in {"build", "run", "rustc"} and not locked:
        yield f"cargo {verb} without --locked may change Cargo.lock", Severity.LOW


def _rustup(_: str, words: tuple[str, ...]) -> _Packages:
    for word in words:
        if re.fullmatch(r"(?:stable|beta|nightly)(?:-[a-z].*)?", word):
            yield f"rustup takes {word}, whatever that is", None


def _gem(program: str, words: tuple[str, ...]) -> _Packages:
    if program == "gem" and words[:1] == ("install",):
        version = any(word in {"-v", "--version"} for word in words)
        for name in _operands(list(words[1:]), frozenset({"-v", "--version"})):
            if not version and ":" not in name and not _LOCAL.fullmatch(name):
                yield f"gem installs {excerpt(name, 40)} without a version", None
    if program == "bundle" and words[:1] == ("update",):
        yield "bundle update", None


def _conda(program: str, words: tuple[str, ...]) -> _Packages:
    if words[:1] in (("install",), ("create",)):
        valued = frozenset({"-n", "--name", "-c", "--channel", "-p", "--prefix", "--file"})
        for name in _operands(list(words[1:]), valued):
            if "=" not in name:
                yield f"{program} installs {excerpt(name, 40)} without a version", None


def _updates(program: str, words: tuple[str, ...]) -> _Packages:
    verb = next((word for word in words if not word.startswith("-")), "")
    if verb in {"update", "require", "add", "upgrade"}:
        yield f"{program} {verb} takes what is newest", None


_READERS: Final[dict[str, Callable[[str, tuple[str, ...]], _Packages]]] = {
    "pip": _pip,
    **dict.fromkeys(("pipx", "uv"), _pipx),
    **dict.fromkeys(("npm", "npx", "yarn", "pnpm", "bun", "bunx", "corepack"), _npm),
    "go": _go,
    "cargo": _cargo,
    "rustup": _rustup,
    **dict.fromkeys(("gem", "bundle"), _gem),
    **dict.fromkeys(("conda", "mamba", "micromamba"), _conda),
    **dict.fromkeys(("poetry", "composer"), _updates),
}
