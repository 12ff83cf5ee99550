"""What is written on the command line, before any of it means something."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from typer.core import TyperCommand

from verifier.cli.variables import long_name
from verifier.errors import UsageError

_LAST_COUNTS: Final = frozenset({"--format", "--log", "--output"})
"""How and where something is written: who wraps the command may say so once more."""

_MAY_BE_EMPTY: Final = frozenset({"--name"})
"""Options of which nothing is a value, too: an app without a name."""


class PlainCommand(TyperCommand):
    """A command of which no option is lost: neither the first of two, nor one whose value is the
    empty text of a shell variable that is not set. Either would ask for less than was written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's context
        """Read the arguments. Raises UsageError."""
        if not ctx.resilient_parsing:
            given, _, order = self.make_parser(ctx).parse_args(args=list(args))
            for name in _twice(order, args):
                raise UsageError(
                    f"{name} is given twice, with two values", hint="it takes one: name one"
                )
            for name in _empty(order, given):
                hint = "give it a value, or leave it out; is a variable unset?"
                raise UsageError(f"{name} is empty", hint=hint)
        return super().parse_args(ctx, args)


def _twice(order: list[Any], args: list[str]) -> Iterator[str]:
    for item, times in Counter(order).items():
        if times > 1 and _is_named(item) and not item.multiple:
            name = long_name(item)
            if name not in _LAST_COUNTS and len(set(_values(item.opts, args))) != 1:
                yield name


def _values(names: list[str], args: list[str]) -> Iterator[str]:
    """What is given to an option by any of its names."""
    left = iter(args)
    for argument in left:
        name, equals, value = argument.partition("=")
        if argument in names:
            yield next(left, "")
        elif equals and name in names:
            yield value
        elif argument[:2] in names:
            yield argument[2:]


def _empty(order: list[Any], given: dict[str, Any]) -> Iterator[str]:
    for item in dict.fromkeys(order):
        name, value = long_name(item), given.get(item.name)
        values = value if isinstance(value, list) else [value]
        if _is_named(item) and name not in _MAY_BE_EMPTY and "" in values:
            yield name


def _is_named(item: Any) -> bool:  # noqa: ANN401 - typer's
    """Whether it is an option with a value; to say a flag twice changes nothing."""
    return item.param_type_name == "option" and not item.is_flag and not item.count
