"""`verify stage TARGET`: how far an app is from ERC-733 stage 1."""

from enum import StrEnum
from typing import Annotated, Final

import typer

from verifier.cli.gather import gather
from verifier.cli.options import BundlePath, Output, Reach, Target, command
from verifier.cli.output import check_places, write
from verifier.cli.streams import terminal_width
from verifier.cli.variables import STAGE_POLICY

_EXIT_CODES: Final[dict[int | None, int]] = {1: 0, None: 3, 0: 4}


class StageFormat(StrEnum):
    """How an assessment is written."""

    TERMINAL = "terminal"
    JSON = "json"


@command
def assess(
    *,
    target: Target,
    policy: Annotated[
        str,
        typer.Option(
            help="What the audit below it accepts: a name or a TOML file.", envvar=STAGE_POLICY
        ),
    ] = "stage1",
    form: Annotated[
        StageFormat, typer.Option("--format", help="How to write it.")
    ] = StageFormat.TERMINAL,
    output: Output = None,
    bundle: BundlePath = None,
    reach: Reach,
) -> None:
    """Assess the seven requirements of ERC-733 stage 1, "dev-proof", one by one.

    Each is met, not met, not known for want of evidence, or not machine-checkable, with the checks
    and rules that it rests on. What no machine can tell is left open, until a review in the policy
    answers it for the measured manifest ([[reviews]]): stage 1 is never said while a requirement is
    open. Waivers and ratings of the policy do not count.

    Examples:

      verify stage APP_ID

      verify stage APP_ID --bundle evidence --trust-bundle sha256:DIGEST --format json

    Exit codes: 0 stage 1, 2 usage, 3 undecided or without evidence, 4 stage 0.
    """
    from verifier.api import Past, known  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415
    from verifier.policy.stage import assess_stage, stage_of  # noqa: PLC0415
    from verifier.report.stage import render_stage, render_stage_json  # noqa: PLC0415

    check_places(output)
    judged = known(load_policy(policy))
    report = gather(target, reach, past=Past.APP, bundle=bundle).report(judged)
    assessed = assess_stage(report, judged)
    if form is StageFormat.JSON:
        raw = render_stage_json(report, assessed)
    else:
        raw = render_stage(report, assessed, terminal_width()).encode("utf-8")
    write(raw, output, "the assessment")
    raise typer.Exit(_EXIT_CODES[stage_of(report, assessed)])
