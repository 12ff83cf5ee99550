"""Who reads a variable: every place of a manifest where Compose or a script takes one by its name.

A name is read where a template has it, and where it stands as a plain value: a pass-through in an
environment, a build argument without a value, a secret or config made of a variable. That nothing
reads a name can be said only where all readers are seen: `blind_spots` lists those that are not.
"""

import re
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as Values
from functools import lru_cache
from typing import Final

from verifier.evidence.compose.compose_yaml import Mapping, Scalar, Sequence
from verifier.evidence.compose.interpolation import Variable
from verifier.manifest.compose.merge import is_null
from verifier.manifest.service import Env, Service
from verifier.manifest.shared import FileSource
from verifier.manifest.text import Text, text_of
from verifier.patterns import pattern

HOST_SET: Final = frozenset({"PCCS_URL"})
"""Set by app-compose.sh from sys-config, which the host writes."""

Use = tuple[Text, Variable]

_PASS: Final = "pass"  # noqa: S105 - an operator of a variable
_EXPORT: Final = pattern(
    r"(?<![\w./$\"'-])(?:export|(?:declare|typeset)[ \t]+-\w*x\w*)"
    r"[ \t]+([A-Za-z_][A-Za-z0-9_]*)(?:=([^\n;&|]*))?"
)
_ASSIGNMENT: Final = pattern(r"^[ \t]*([A-Za-z_][A-Za-z0-9_]*)=([^\n;&|]*)", re.MULTILINE)
_LITERAL: Final = pattern(r"([\"']?)([\w./:@+-]*)\1", re.ASCII)
_WORD: Final = pattern(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_WHOLE_ENVIRONMENT: Final = pattern(
    r"(?<![\w./-])(?:env|printenv|set)[ \t]*(?:$|[|;&>)])"
    r"|(?<![\w-])(?:export|declare|typeset)[ \t]+-p"
    r"|(?<![\w-])(?:declare|typeset)[ \t]+-x[ \t]*(?:$|[|;&>)])|\bset[ \t]+-\w*a"
    r"|\bcompgen\b|\$\{!|(?<![\w-])eval\b|/environ\b|\.decrypted-env|\benvsubst\b"
    r"|\bos\.environ\b(?!\s*\[\s*[\"'])|\bprocess\.env\b(?!\.)"
    r"|(?:^|[;&|])[ \t]*(?:source|\.)[ \t]|\bbase64\b[^\n]{0,300}\|\s*(?:ba)?sh\b",
    re.MULTILINE,
)


def uses_of(
    texts: Iterable[Text], services: Iterable[Service], files: Iterable[FileSource]
) -> Iterator[Use]:
    """Every variable that a compose file reads, with where."""
    for text in texts:
        for variable in text.variables:
            yield text, variable
    for service in services:
        yield from passed(service.environment.values())
        for hook in service.hooks:
            yield from passed(hook.environment.values())
        yield from _build_arguments(service)
    for source in files:
        if source.environment is not None:
            yield source.environment, Variable(source.environment.unset, _PASS)


def passed(entries: Iterable[Env]) -> Iterator[Use]:
    """The variables that an environment takes over as they are."""
    return ((env.text, Variable(env.key, _PASS)) for env in entries if env.value is None)


def _build_arguments(service: Service) -> Iterator[Use]:
    node, path = service.field("build", "args"), (*service.path, "build", "args")
    if isinstance(node, Sequence):
        for place, item in enumerate(node.items):
            if isinstance(item, Scalar) and "=" not in item.text:
                text = text_of(item, (*path, str(place)))
                yield text, Variable(text.unset, _PASS)
    elif isinstance(node, Mapping):
        for key, item in node.entries.items():
            if isinstance(item, Scalar) and is_null(item):
                yield text_of(item, (*path, key)), Variable(key, _PASS)


@lru_cache(maxsize=8)  # a script may be megabytes
def exports_of(script: str) -> Values[str, str | None]:
    """What a script exports: the value where it is a literal, else None."""
    found: dict[str, str | None] = {}
    assigned: dict[str, str] | None = None
    for match in _EXPORT.finditer(script):
        name, value = match[1], match[2]
        if value is None:
            assigned = dict(_ASSIGNMENT.findall(script)) if assigned is None else assigned
            value = assigned.get(name, "")
        literal = _LITERAL.fullmatch(value.strip())
        found[name] = literal[2] if literal and name not in found and value else None
    return found


@lru_cache(maxsize=8)  # a script may be megabytes
def words_of(script: str) -> frozenset[str]:
    """Every word of a script that could be a variable's name."""
    return frozenset(_WORD.findall(script))


def reads_everything(script: str) -> bool:
    """Whether a script reads variables that it does not name, or runs what cannot be followed."""
    return _WHOLE_ENVIRONMENT.search(script) is not None


def blind_spots(services: Iterable[Service]) -> Iterator[Text]:
    """The places of services whose readers are not in the file."""
    for service in services:
        yield from service.env_files  # Compose interpolates them
        for names in (("extends", "file"), ("provider", "type")):
            text = service.text(*names)
            if text is not None:
                yield text
