"""`verify checks`: what each check proves."""

import textwrap
from typing import Annotated

import typer

from verifier.errors import PolicyError


def explain_checks(
    only: Annotated[str, typer.Argument(metavar="[ID]", help="One check, or a family.")] = "",
    policy: Annotated[str, typer.Option(help="Whose requirements to show.")] = "baseline",
) -> None:
    """Say what each check proves, and what a policy asks of it.

    Example:

      verify checks boot.image
    """
    from verifier.audit import all_checks  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    judged = load_policy(policy)
    specs = [spec for spec in all_checks(judged) if spec.id.startswith(only)]
    if not specs:
        raise PolicyError(f"no check is named {only!a}", hint="`verify checks` lists them all")
    for spec in specs:
        print(f"{spec.id}  ({judged.requirement(spec.id).value} by {judged.name})")
        print(f"  {spec.title}.")
        print(textwrap.indent(textwrap.fill(" ".join(spec.explanation.split()), 76), "    "))
        if spec.requires:
            print(f"  Rests on: {', '.join(spec.requires)}")
        print()
