"""Docker Compose interpolation: which variables a value reads, and what it then says.

    $NAME ${NAME}            the value, or the empty string
    ${NAME:-d} ${NAME-d}     d when unset (`:` also when empty)
    ${NAME:?e} ${NAME?e}     Compose stops with e when unset
    ${NAME:+r} ${NAME+r}     r when set
    $$                       a dollar sign

Operands are templates again. Names are `[_a-zA-Z][_a-zA-Z0-9]*`. Compose refuses a file with any
other `${`; any other dollar sign is itself. Source: compose-go template/template.go, and
docs.docker.com/reference/compose-file/interpolation.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from verifier.patterns import pattern

MAX_NESTING: Final = 16
_NAME: Final = pattern(r"[_a-zA-Z][_a-zA-Z0-9]*", re.ASCII)
_SIMPLE: Final = pattern(r"\$\{([_a-zA-Z][_a-zA-Z0-9]*)(?:(:[-?+]|[-?+])([^${}]*))?\}", re.ASCII)
"""A braced variable without another one, or a brace, in its operand."""
_BRACE: Final = pattern(r"[{}]")
_OPERATOR: Final = pattern(r":[-?+]|[-?+]")


class Variable(Struct, frozen=True, gc=False):
    """One variable in a template. `operator` is "" or one of the six; `operand` its template."""

    name: str
    operator: str = ""
    operand: "Template | None" = None

    @property
    def default(self) -> str | None:
        """The text of its default, None when it has none."""
        if self.operand is None or self.operator not in {":-", "-"}:
            return None
        return self.operand.source


class Template(Struct, frozen=True, gc=False):
    """A parsed value: literal text and variables. `invalid` says why Compose refuses it, or "".
    `variables` are all of them, those inside operands included."""

    source: str
    parts: tuple[str | Variable, ...]
    invalid: str = ""
    variables: tuple[Variable, ...] = ()

    def render(self, value_of: Callable[[str], str | None]) -> str:
        """The value with each variable replaced by what `value_of` gives (None = unset)."""
        return "".join(
            part if isinstance(part, str) else _render(part, value_of) for part in self.parts
        )


def parse_template(text: str, depth: int = 0) -> Template:
    """The template that a string value is."""
    parts: list[str | Variable] = []
    invalid = ""
    position = 0
    closing: dict[int, int] | None = None
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        name = _NAME.match(text, dollar + 1)
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif name:
            parts.append(Variable(name[0]))
            position = name.end()
        elif following != "{":
            parts.append("$")
            position = dollar + 1
        elif simple := _SIMPLE.match(text, dollar):
            operand = parse_template(simple[3]) if simple[2] else None
            parts.append(Variable(simple[1], simple[2] or "", operand))
            position = simple.end()
        else:
            if closing is None:
                closing = _closing_braces(text)
            part, position = _braced(text, dollar, depth, closing)
            if part is None:
                invalid = invalid or f"invalid interpolation: {text[dollar : dollar + 24]!a}"
                parts.append("$")
            else:
                parts.append(part)
    parts.append(text[position:])
    return _made(text, parts, invalid)


def _made(text: str, parts: list[str | Variable], invalid: str) -> Template:
    variables: list[Variable] = []
    for part in parts:
        if isinstance(part, Variable):
            variables.append(part)
            if part.operand is not None:
                variables.extend(part.operand.variables)
    nested = next((v.operand.invalid for v in variables if v.operand), "")
    kept = tuple(part for part in parts if part != "")
    return Template(text, kept, invalid or nested, tuple(variables))


def _braced(
    text: str, dollar: int, depth: int, closing: dict[int, int]
) -> tuple[Variable | None, int]:
    """A `${…}` at `dollar` and where it ends; None when it is not one."""
    name = _NAME.match(text, dollar + 2)
    end = closing.get(dollar + 1)
    if name is None or end is None or depth >= MAX_NESTING:
        return None, dollar + 1
    if name.end() == end:
        return Variable(name[0]), end + 1
    operator = _OPERATOR.match(text, name.end())
    if operator is None:
        return None, dollar + 1
    operand = parse_template(text[operator.end() : end], depth + 1)
    return Variable(name[0], operator[0], operand), end + 1


def _closing_braces(text: str) -> dict[int, int]:
    """Where each opened brace closes, in one pass; compose-go counts every brace alike."""
    opened: list[int] = []
    closing: dict[int, int] = {}
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            closing[opened.pop()] = brace.start()
    return closing


def _render(variable: Variable, value_of: Callable[[str], str | None]) -> str:
    value = value_of(variable.name)
    operand = variable.operand
    present = value is not None and not (variable.operator.startswith(":") and value == "")
    match variable.operator[-1:]:
        case "-" if operand is not None and not present:
            return operand.render(value_of)
        case "+":
            return operand.render(value_of) if operand is not None and present else ""
    return value or ""
