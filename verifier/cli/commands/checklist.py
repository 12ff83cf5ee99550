"""`verify checklist FILE|DIR|TARGET...`: the deployment checklist, held against what is there."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.files import about, names_target
from verifier.cli.gather import gather
from verifier.cli.lint_given import STDIN, Given, is_source_directory, read_given
from verifier.cli.options import Output, Reach, command
from verifier.cli.output import write
from verifier.cli.streams import terminal_width, warn
from verifier.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verifier.api import Audit
    from verifier.model.report import Report
    from verifier.policy.checklist import Build, Written

_EXIT_CODES: Final = {"met": 0, "not known": 3, "not met": 4}


class ChecklistFormat(StrEnum):
    """How it is written."""

    TERMINAL = "terminal"
    JSON = "json"


@command
def check_deployment(
    *,
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|TARGET...",
            help="Dockerfile, compose file, app-compose.json, a directory of such; and the running "
            "app: an app id, a metadata URL, a domain, or a bundle.",
        ),
    ],
    expect_compose_hash: Annotated[
        list[str] | None,
        typer.Option(metavar="HASH", help="A compose hash that is expected (repeatable)."),
    ] = None,
    form: Annotated[
        ChecklistFormat, typer.Option("--format", help="How to write it.")
    ] = ChecklistFormat.TERMINAL,
    output: Output = None,
    reach: Reach,
) -> None:
    """Go through the deployment checklist: what is met, what is not, and what is not known.

    Each point is held against what you name: the Dockerfile and the compose file or manifest for
    what comes before deploying, the running app for the rest. A point is met only where something
    shows it; what only its operator or its users can see stays not known.

    Examples:

      verify checklist Dockerfile app-compose.json

      verify checklist . APP_ID --expect-compose-hash HASH

    Exit codes: 0 every point is met, 2 usage, 3 some are not known, 4 one is not met.
    """
    from verifier.policy.checklist import Given as Known  # noqa: PLC0415
    from verifier.policy.checklist import conclusion, decide_all  # noqa: PLC0415
    from verifier.report import checklist  # noqa: PLC0415

    expected = tuple(_digest(item) for item in expect_compose_hash or ())
    running = [item for item in targets if _is_running(item)]
    if len(running) > 1:
        raise UsageError(
            f"{running[1]}: a second running app", hint="go through the checklist of each app alone"
        )
    texts, unread = read_given([item for item in targets if item not in running], reach)
    for item in unread:
        warn(f"{item.name}: {item.problem}", item.hint)
    builds, written = _read(texts)
    report, measured = _audited(running, reach)
    decided = decide_all(
        Known(builds=builds, written=(*written, *measured), report=report, expected=expected)
    )
    names = tuple(dict.fromkeys(targets))
    if form is ChecklistFormat.JSON:
        text = checklist.render_checklist_json(names, decided)
    else:
        text = checklist.render_checklist(names, decided, terminal_width())
    write(text.encode("utf-8", "backslashreplace"), output, "the checklist")
    raise typer.Exit(_EXIT_CODES[conclusion(decided).value])


def _digest(text: str) -> str:
    from verifier.errors import EvidenceError  # noqa: PLC0415
    from verifier.evidence.codec import parse_hex  # noqa: PLC0415

    try:
        digits = text.removeprefix("sha256:")
        return parse_hex(digits, "--expect-compose-hash", length=32, allow_0x=True).hex()
    except EvidenceError as error:
        raise UsageError(error.message) from error


def _is_running(target: str) -> bool:
    return target != STDIN and names_target(target) and not is_source_directory(target)


def _read(texts: "list[Given]") -> "tuple[tuple[Build, ...], tuple[Written, ...]]":
    from verifier.manifest.audit import (  # noqa: PLC0415
        audit_compose_file,
        audit_dockerfile,
        audit_manifest,
    )
    from verifier.manifest.read import read_compose_file, read_manifest  # noqa: PLC0415
    from verifier.policy.checklist import Build, Written  # noqa: PLC0415

    builds, written = [], []
    for item in texts:
        if item.dockerfile:
            builds.append(Build(item.name, audit_dockerfile(item.raw)))
            continue
        with about(item.name):
            audit = (audit_manifest if item.whole else audit_compose_file)(item.raw)
            read = (read_manifest if item.whole else read_compose_file)(item.raw)
        written.append(Written(item.name, read, audit))
    return tuple(builds), tuple(written)


def _audited(targets: list[str], reach: Reach) -> "tuple[Report | None, tuple[Written, ...]]":
    """The audit of the running app, and the manifests that its guests measured."""
    if not targets:
        return None, ()
    from verifier.api import Past  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    audit = gather(targets[0], reach, past=Past.APP)
    report = audit.report(load_policy("baseline"))
    return report, tuple(_measured(audit, report))


def _measured(audit: "Audit", report: "Report") -> "Iterator[Written]":
    from verifier.checks.case import Case  # noqa: PLC0415
    from verifier.evidence.chain.json_rpc import Exchanges  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415
    from verifier.manifest.audit import audit_manifest  # noqa: PLC0415
    from verifier.manifest.read import read_manifest  # noqa: PLC0415
    from verifier.model.result import Status  # noqa: PLC0415
    from verifier.policy.checklist import Written  # noqa: PLC0415

    exchanges = Exchanges(audit.bundle)
    for subject in report.subjects:
        result = next(item for item in subject.checks if item.id == "application.manifest")
        if result.status is Status.PASS:
            case = Case(read_subject(audit.bundle, subject.name), audit.question, exchanges)
            raw = case.measured_manifest.value
            yield Written(subject.name, read_manifest(raw), audit_manifest(raw), measured=True)
