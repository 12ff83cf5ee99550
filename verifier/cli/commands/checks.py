"""`verify checks`: what each check proves, and what the policies ask of it."""

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.cli.streams import print_row
from verifier.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from verifier.checks.engine import CheckSpec


def explain_checks(
    only: Annotated[str, typer.Argument(metavar="[ID]", help="One check, or a family.")] = "",
    policy: Annotated[str, typer.Option(help="Whose requirements to show.")] = "baseline",
) -> None:
    """List the checks, and what a policy asks of each; of one check or family, what it proves.

    Examples:

      verify checks --policy strict

      verify checks boot.image
    """
    from verifier.checks.catalogue import CHECKS  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    judged = load_policy(policy)
    specs = [spec for spec in CHECKS if spec.id.startswith(only)]
    if not specs:
        raise UsageError(f"no check is named {only!a}", hint=_hint(only))
    for spec in () if only else specs:
        print_row(f"{spec.id:26} {judged.requirement(spec.id).value:9}  ", spec.title)
    for spec in specs if only else ():
        print(f"{spec.id}  ({judged.requirement(spec.id).value} by {judged.name})")
        print_row("  ", f"{spec.title}.")
        print(textwrap.indent(textwrap.fill(_explanation(spec), 76), "    "))
        if spec.requires:
            print(f"  Rests on: {', '.join(spec.requires)}")
        print()


def _hint(text: str) -> str:
    from verifier.checks.catalogue import CHECKS  # noqa: PLC0415
    from verifier.manifest.rules.catalogue import BY_ID  # noqa: PLC0415

    rule = next((rule for rule in BY_ID if rule.casefold() == text.casefold()), "")
    if rule:
        return f"{rule} is a rule: `verify explain {rule}`"
    return did_you_mean(text, (spec.id for spec in CHECKS), "`verify checks` lists them all")


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
