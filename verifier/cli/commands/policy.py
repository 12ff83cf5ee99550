"""`verify policy`: what a policy demands."""

from typing import Annotated

import typer

from verifier.cli.options import At
from verifier.cli.streams import print_row
from verifier.errors import UsageError, nearest

_EXPLAIN = "explain"
_SCHEMA = "schema"


def show_policy(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[explain|schema] [NAME|FILE]", help="A built-in policy or a TOML file."
        ),
    ] = None,
    *,
    at: At,
) -> None:
    """Show the effective policy, with all that it extends; or say in words what it demands.

    `explain` says which check decides each demand, which demands no check decides yet, and for how
    long each waiver holds. `schema` prints the JSON schema of policy files.

    Examples:

      verify policy strict

      verify policy explain policy.toml
    """
    from verifier.api import known  # noqa: PLC0415
    from verifier.checks.catalogue import CHECKS  # noqa: PLC0415
    from verifier.policy.explain import effective_policy, explain_policy  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    named = list(words or ())
    if named == [_SCHEMA]:
        from verifier.policy.schema import policy_schema  # noqa: PLC0415

        print(policy_schema(), end="")
        return
    explains = named[:1] == [_EXPLAIN]
    names = named[explains:]
    if len(names) > 1:
        meant = nearest(names[0], (_EXPLAIN,))
        raise UsageError(
            f"one policy at a time, not {len(names)}: {', '.join(map(ascii, names))}",
            hint=f"did you mean `verify policy {_EXPLAIN} {names[1]}`?" if meant else "",
        )
    policy = known(load_policy(names[0] if names else "baseline"))
    if explains:
        titles = {spec.id: spec.title for spec in CHECKS}
        text = explain_policy(policy, titles, at)
    else:
        text = effective_policy(policy)
    for line in text.splitlines():
        if explains:
            print_row(" " * (len(line) - len(line.lstrip())), line.lstrip())
        else:
            print(visible(line))
