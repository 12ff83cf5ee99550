"""The images that scripts of a manifest start, as far as their text names them.

A shell can hide a name in countless ways, so that only what is read without doubt counts as known:
a command of a container tool, its options, and the first word after them.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.manifest.shell.follow import Line, follow
from verifier.patterns import pattern

_TOOLS: Final = r"docker-compose|docker|podman|nerdctl|crictl|buildah|skopeo|ctr"
_COMMAND: Final = pattern(rf"(?<![\w.-])(?P<tool>{_TOOLS})(?![\w./-])(?=(?P<rest>[^\n;&|)`]*))")
_TOOL: Final = pattern(rf"(?:.*/)?({_TOOLS})")
_JOINED_TOOL: Final = pattern(rf"(?:\S*/)?(?:{_TOOLS})[$\\`]")
"""A tool that is one word with what follows it, by a variable such as IFS."""
_HARMLESS: Final = pattern(
    "ps|login|logout|logs|rm|rmi|stop|kill|inspect|info|version|network|volume|system|exec|wait"
    "|stats|top|port|events|prune|ls|list"
)
_NAMING: Final = frozenset({"run", "create", "pull"})
_GROUPS: Final = frozenset({"image", "images", "container", "i", "c"})
_OF_COMPOSE: Final = frozenset({"ps", "logs", "down", "stop", "pull", "config"})
_ALONE: Final = pattern(
    "-[ditPqD]+|--(?:detach|interactive|tty|rm|init|privileged|read-only|publish-all|quiet"
    "|no-healthcheck|oom-kill-disable|sig-proxy|debug|tls|tlsverify|net-host|null-io)"
)
"""Options that take no value."""
_WITH_VALUE: Final = pattern(
    "-[ditPqD]*[vepwulhHnmac]|--(?:volume|env|name|publish|workdir|user|label|hostname|network|net|mount"
    "|env-file|restart|entrypoint|cap-add|cap-drop|device|gpus|add-host|log-driver|log-opt|memory"
    "|cpus|shm-size|ipc|pid|platform|pull|runtime|security-opt|tmpfs|ulimit|host|context|config"
    "|namespace|address)"
)
"""Options that take the next word, where it is not joined to them by `=`."""
_JOINED: Final = pattern(r"-[ditPqD]*[vepwulhHnmac][^\s]+|--[a-z0-9-]+=.*")
_ANY: Final = ""
"""A word that may be anything: after an option of which nobody knows whether it takes a value."""


class ScriptImage(Struct, frozen=True):
    """One command that gets or starts an image: `reference` as written, "" where the text does not
    tell which."""

    command: str
    reference: str


def images_of_script(script: str) -> Iterator[ScriptImage]:
    """The images that a script gets or starts: by the commands that it runs, in order, then by its
    text alone, in which commands stand that nothing here runs.

    A command that cannot be followed may start any image. What only the text leaves open is not
    listed where all of the script was followed.
    """
    followed = follow(script)
    found = [image for line in followed.lines for image in _of_line(line)]
    found += [ScriptImage(line.text, _ANY) for line in followed.lost]
    known = {image.reference for image in found}
    yield from found
    for image in _written(script):
        is_open = image.reference == _ANY or "$" in image.reference
        if image.reference not in known and not (is_open and not followed.lost):
            known.add(image.reference)
            yield image


def _of_line(line: Line) -> Iterator[ScriptImage]:
    for words in line.words:
        for place, word in enumerate(words):
            tool = _TOOL.fullmatch(word)
            if tool is not None:
                reference = _image(tool[1], list(words[place + 1 :]))
            else:
                reference = _ANY if _JOINED_TOOL.match(word) else None
            if reference is not None:
                yield ScriptImage(" ".join(words[place:]), reference)
            elif "$(" in word or "<(" in word or "`" in word:
                yield from _written(word)


def _written(script: str) -> Iterator[ScriptImage]:
    """What stands in a text, whatever is run of it."""
    joined = script.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.lstrip().startswith("#"):
            continue
        for match in _COMMAND.finditer(line):
            rest, before = match["rest"], line[: match.start()]
            if rest[:1].isspace():
                found = _image(match["tool"], [word.strip("\"'") for word in rest.split()])
            else:
                is_open = before.endswith(("=", "'", '"')) or rest[:1] in ("$", "\\")
                found = _ANY if is_open else None
            if found is not None:
                yield ScriptImage(f"{match['tool']}{rest}".strip(), found)


def _image(tool: str, given: list[str]) -> str | None:
    """The reference among the words after a tool, "" for any, None where it starts none."""
    words = _positional(given)
    verb = next(words, None)
    if tool == "docker-compose" or verb == "compose":
        verb = verb if tool == "docker-compose" else next(words, None)
        harmless = verb is None or verb in _OF_COMPOSE
        return None if harmless and not _names_file(given) else _ANY
    if verb in _GROUPS:
        verb = next(words, None)
    if verb is None or _HARMLESS.fullmatch(verb):
        return None
    named_images = list(words) if verb in _NAMING else []
    several = verb == "pull" and len(named_images) > 1
    return _ANY if several or not named_images else named_images[0]


def _names_file(words: list[str]) -> bool:
    return any(word.startswith(("-f", "--file", "--project-directory")) for word in words)


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
