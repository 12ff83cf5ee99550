"""The images that scripts of a manifest start, as far as their text names them.

A shell can hide a name in countless ways, so that only what is read without doubt counts as known:
a command of a container tool, its options, and the first word after them.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_TOOLS: Final = r"docker-compose|docker|podman|nerdctl|crictl|buildah|skopeo|ctr"
_COMMAND: Final = re.compile(rf"(?<![\w.-])(?P<tool>{_TOOLS})(?![\w./-])(?P<rest>[^\n;&|)`]*)")
_HARMLESS: Final = re.compile(
    "ps|login|logout|logs|rm|rmi|stop|kill|inspect|info|version|network|volume|system|exec|wait"
    "|stats|top|port|events|prune|ls|list"
)
_NAMING: Final = frozenset({"run", "create", "pull"})
_GROUPS: Final = frozenset({"image", "images", "container", "i", "c"})
_OF_COMPOSE: Final = frozenset({"ps", "logs", "down", "stop", "pull", "config"})
_WITH_VALUE: Final = re.compile(
    "-[vepwulhHnma]|--(?:volume|env|name|publish|workdir|user|label|hostname|network|net|mount"
    "|env-file|restart|entrypoint|cap-add|cap-drop|device|gpus|add-host|log-driver|log-opt|memory"
    "|cpus|shm-size|ipc|pid|platform|pull|runtime|security-opt|tmpfs|ulimit|host|context|config"
    "|namespace|address)"
)
"""Options that take the next word, where it is not joined to them by `=`."""


@dataclass(frozen=True, slots=True)
class ScriptImage:
    """One command that gets or starts an image: `reference` as written, "" where the text does not
    tell which."""

    command: str
    reference: str


def images_of_script(script: str) -> Iterator[ScriptImage]:
    """The images that a script gets or starts, in order."""
    joined = script.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for match in _COMMAND.finditer(line):
            found = _image(match["tool"], match["rest"], line[: match.start()])
            if found is not None:
                yield ScriptImage(f"{match['tool']}{match['rest']}".strip(), found)


def _image(tool: str, rest: str, before: str) -> str | None:
    """The reference, "" for any, None where the command starts none."""
    named = before.endswith(("=", "'", '"'))
    if not rest[:1].isspace():
        return "" if named else None
    words = _positional(rest.split())
    verb = next(words, "")
    if tool == "docker-compose" or verb == "compose":
        verb = verb if tool == "docker-compose" else next(words, "")
        return None if verb in _OF_COMPOSE and not _names_file(rest) else ""
    if verb in _GROUPS:
        verb = next(words, "")
    if not verb or _HARMLESS.fullmatch(verb):
        return None
    return next(words, "").strip("\"'") if verb in _NAMING else ""


def _names_file(rest: str) -> bool:
    return any(word.startswith(("-f", "--file", "--project-directory")) for word in rest.split())


def _positional(words: list[str]) -> Iterator[str]:
    """The words that are neither an option nor the value of one."""
    pending = iter(words)
    for word in pending:
        if _WITH_VALUE.fullmatch(word):
            next(pending, "")
        elif not word.startswith("-"):
            yield word
