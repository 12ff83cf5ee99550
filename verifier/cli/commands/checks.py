"""`verify checks`: what each check proves, and what the policies ask of it."""

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.errors import PolicyError

if TYPE_CHECKING:
    from verifier.checks.engine import CheckSpec


def explain_checks(
    only: Annotated[str, typer.Argument(metavar="[ID]", help="One check, or a family.")] = "",
    policy: Annotated[str, typer.Option(help="Whose requirements to show.")] = "baseline",
) -> None:
    """Say what each check proves, and what a policy asks of it.

    Example:

      verify checks boot.image
    """
    from verifier.checks.catalogue import CHECKS  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    judged = load_policy(policy)
    specs = [spec for spec in CHECKS if spec.id.startswith(only)]
    if not specs:
        raise PolicyError(f"no check is named {only!a}", hint="`verify checks` lists them all")
    for spec in specs:
        print(f"{spec.id}  ({judged.requirement(spec.id).value} by {judged.name})")
        print(f"  {spec.title}.")
        print(textwrap.indent(textwrap.fill(_explanation(spec), 76), "    "))
        if spec.requires:
            print(f"  Rests on: {', '.join(spec.requires)}")
        print()


def checks_document() -> str:
    """The reference of all checks in Markdown, from their own text."""
    from verifier.checks.catalogue import CHECKS  # noqa: PLC0415
    from verifier.policy.policy import BUILT_IN, load_policy  # noqa: PLC0415

    policies = [load_policy(name) for name in BUILT_IN]
    lines = [
        "# Checks",
        "",
        "What each check proves, from its own text (`verify checks`), and what the policies ask.",
        "",
        f"| Check | Passes when | {' | '.join(BUILT_IN)} |",
        f"|---|---|{'---|' * len(BUILT_IN)}",
    ]
    for spec in CHECKS:
        asked = " | ".join(policy.requirement(spec.id).value for policy in policies)
        lines.append(f"| [`{spec.id}`](#{_anchor(spec.id)}) | {spec.title} | {asked} |")
    for spec in CHECKS:
        lines.extend(["", f"## {spec.id}", "", f"*{spec.title}.*", "", _explanation(spec)])
        if spec.requires:
            lines.extend(["", f"Rests on {', '.join(f'`{item}`' for item in spec.requires)}."])
    return "\n".join(lines) + "\n"


def _explanation(spec: "CheckSpec") -> str:
    return " ".join(spec.explanation.split())


def _anchor(check_id: str) -> str:
    return check_id.replace(".", "")
