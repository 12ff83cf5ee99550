"""`verify endpoint ADDRESS`: whether a connection is ended in this TEE."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from verifier.cli.gather import gather
from verifier.cli.options import BundlePath, Output, Reach, Save, command
from verifier.cli.output import check_places, exit_code, json_for, save_bundle, write
from verifier.cli.streams import terminal_width, uses_color
from verifier.cli.variables import ENDPOINT_POLICY
from verifier.errors import UsageError

if TYPE_CHECKING:
    from verifier.cli.target import Target


Demanded = Annotated[
    str,
    typer.Option(
        "--policy",
        help="What has to hold: a built-in policy or a TOML file.",
        envvar=ENDPOINT_POLICY,
    ),
]


class AnswerFormat(StrEnum):
    """How the answer is written."""

    TERMINAL = "terminal"
    JSON = "json"


@command
def ask_endpoint(
    *,
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="What users connect to: HOST:PORT or a URL.")
    ],
    app_id: Annotated[
        str, typer.Option("--app-id", help="The app that should answer, where ADDRESS names none.")
    ] = "",
    policy: Demanded = "endpoint",
    form: Annotated[
        AnswerFormat, typer.Option("--format", help="How to write it; JSON is the whole report.")
    ] = AnswerFormat.TERMINAL,
    output: Output = None,
    save: Save = None,
    bundle: BundlePath = None,
    reach: Reach,
) -> None:
    """Ask whether a TLS connection ends in the attested guest of an app.

    The key that the server at ADDRESS proves to hold is held against the quote of a genuine TD that
    runs this very app. Names of a gateway tell the app: <app id>-443s.GATEWAY is ended by the guest
    itself, <app id>-443.GATEWAY by the gateway.

    Examples:

      verify endpoint https://APP_ID-443s.dstack-pha-prod9.phala.network

      verify endpoint app.example.org:443 --app-id APP_ID

      verify endpoint app.example.org:443 --app-id APP_ID --bundle evidence --trust-bundle DIGEST

    Exit codes: 0 yes, 2 usage, 3 not known, 4 no, 5 with reservations, or at the gateway.
    """
    from verifier.api import Past, known  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415
    from verifier.report.audit.connection import render_connection  # noqa: PLC0415
    from verifier.report.audit.json import render_json  # noqa: PLC0415

    check_places(output, save)
    if reach.endpoint:
        raise UsageError("--endpoint and ADDRESS are the same", hint="give ADDRESS alone")
    target = _served(address, app_id)
    judged = known(load_policy(policy))
    audit = gather(target, reach, past=Past.APP, bundle=bundle, save=save)
    unsaved = save_bundle(audit.bundle, save)
    report = audit.report(judged)
    if form is AnswerFormat.JSON:
        raw = json_for(render_json(report), to_terminal=output is None)
    else:
        width, color = terminal_width(), output is None and uses_color()
        text = render_connection(report, str(target.endpoint), width, color=color)
        raw = text.encode("utf-8")
    write(raw, output, "the answer")
    if unsaved is not None:
        raise unsaved
    raise typer.Exit(exit_code(report))


def _served(address: str, app_id: str) -> "Target":
    """The address, of the app that is meant. Raises UsageError."""
    from verifier.cli.target import parse_serving_address  # noqa: PLC0415
    from verifier.model.identifiers import parse_app_id  # noqa: PLC0415

    target, asked = parse_serving_address(address), parse_app_id(app_id)
    if app_id and asked is None:
        raise UsageError(f"--app-id {app_id!a} is not an app id (40 hex digits)")
    return target if asked is None else target.of_app(asked)
