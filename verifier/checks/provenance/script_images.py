"""The images that scripts of a manifest start, as far as their text names them.

A shell can hide a name in countless ways, so that only what is read without doubt counts as known:
a command of a container tool, its options, and the first word after them.
"""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_TOOLS: Final = r"docker-compose|docker|podman|nerdctl|crictl|buildah|skopeo|ctr"
_COMMAND: Final = re.compile(rf"(?<![\w.-])(?P<tool>{_TOOLS})(?![\w./-])(?=(?P<rest>[^\n;&|)`]*))")
_HARMLESS: Final = re.compile(
    "ps|login|logout|logs|rm|rmi|stop|kill|inspect|info|version|network|volume|system|exec|wait"
    "|stats|top|port|events|prune|ls|list"
)
_NAMING: Final = frozenset({"run", "create", "pull"})
_GROUPS: Final = frozenset({"image", "images", "container", "i", "c"})
_OF_COMPOSE: Final = frozenset({"ps", "logs", "down", "stop", "pull", "config"})
_ALONE: Final = re.compile(
    "-[ditPqD]+|--(?:detach|interactive|tty|rm|init|privileged|read-only|publish-all|quiet"
    "|no-healthcheck|oom-kill-disable|sig-proxy|debug|tls|tlsverify|net-host|null-io)"
)
"""Options that take no value."""
_WITH_VALUE: Final = re.compile(
    "-[ditPqD]*[vepwulhHnmac]|--(?:volume|env|name|publish|workdir|user|label|hostname|network|net|mount"
    "|env-file|restart|entrypoint|cap-add|cap-drop|device|gpus|add-host|log-driver|log-opt|memory"
    "|cpus|shm-size|ipc|pid|platform|pull|runtime|security-opt|tmpfs|ulimit|host|context|config"
    "|namespace|address)"
)
"""Options that take the next word, where it is not joined to them by `=`."""
_JOINED: Final = re.compile(r"-[ditPqD]*[vepwulhHnmac][^\s]+|--[a-z0-9-]+=.*")
_ANY: Final = ""
"""A word that may be anything: after an option of which nobody knows whether it takes a value."""


class ScriptImage(Struct, frozen=True):
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
        return _ANY if named or rest[:1] in ("$", "\\") else None
    words = _positional(rest.split())
    verb = next(words, None)
    if tool == "docker-compose" or verb == "compose":
        verb = verb if tool == "docker-compose" else next(words, None)
        return None if verb in _OF_COMPOSE and not _names_file(rest) else ""
    if verb in _GROUPS:
        verb = next(words, None)
    if verb is None or _HARMLESS.fullmatch(verb):
        return None
    named_images = [item.strip("\"'") for item in words] if verb in _NAMING else []
    several = verb == "pull" and len(named_images) > 1
    return _ANY if several or not named_images else named_images[0]


def _names_file(rest: str) -> bool:
    return any(word.startswith(("-f", "--file", "--project-directory")) for word in rest.split())


def _positional(words: list[str]) -> Iterator[str]:
    """The words that are neither an option nor the value of one; the last is "" where an option is
    not known, since what follows may be its value."""
    pending = iter(words)
    for word in pending:
        if _WITH_VALUE.fullmatch(word):
            next(pending, None)
        elif not word.startswith("-") or word == "-":
            yield word
        elif not (_ALONE.fullmatch(word) or _JOINED.fullmatch(word)):
            yield _ANY
            return
