"""`verify explain ID`: one check, rule, policy or word, from its own text."""

from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.streams import terminal_width
from verifier.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from verifier.report.explanations import Explanation

_WIDTH: Final = 80


def explain(
    name: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]", help="A check (boot.image), rule (SVC-001), family, policy or word."
        ),
    ] = None,
) -> None:
    """Explain a check, a rule, a family of them, a policy, or a word of the reports.

    Without a name it lists what can be explained.

    Examples:

      verify explain boot.image

      verify explain SVC-001

      verify explain compose hash
    """
    from verifier.report.explanations import (  # noqa: PLC0415 - help needs none of it
        explanations,
        index,
        names,
    )

    asked = " ".join(name or ())
    if not asked:
        _print(index())
        return
    found = explanations(asked)
    if not found:
        raise UsageError(
            f"nothing here is called {asked!a}",
            hint=did_you_mean(asked, names(), "`verify explain` lists every check, rule and word"),
        )
    for place, item in enumerate(found):
        if place:
            print()
        _print(item)


def _print(found: "Explanation") -> None:
    import textwrap  # noqa: PLC0415

    width = terminal_width(_WIDTH)
    print(textwrap.fill(found.title, width, subsequent_indent="  "))
    for label, text in found.rows:
        lead = f"  {label:<{found.column}}" if label else "  "
        indent = " " * len(lead)
        lines = textwrap.wrap(
            text, width, initial_indent=lead, subsequent_indent=indent, break_on_hyphens=False
        )
        print("\n".join(lines) or lead.rstrip())
