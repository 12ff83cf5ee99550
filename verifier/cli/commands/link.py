"""`verify quote`, `verify events`, `verify signer`: one link of the chain alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from verifier.cli.clock import now
from verifier.cli.options import At, Files, SecondOpinion, UnsafeRoot
from verifier.cli.output import EXIT_CODES
from verifier.cli.streams import print_row
from verifier.errors import UsageError
from verifier.model.result import VERDICT_ORDER, Requirement, Status

if TYPE_CHECKING:
    from verifier.evidence.bundle import Bundle

_QUOTE = ("hardware.quote", "hardware.td", "hardware.tcb")
_EVENTS = ("hardware.quote", "boot.registers", "runtime.replay", "runtime.events")


def verify_quote(
    files: Files,
    at: At,
    unsafe_root: UnsafeRoot = None,
    second_opinion: SecondOpinion = False,
) -> None:
    """Verify a TD quote alone: DCAP, TD attributes, TCB. It says nothing about any app.

    Example:

      verify quote quote.json collateral.json --at 2026-03-23T21:17:00Z
    """
    _judge(_QUOTE, files, at, unsafe_root, second_opinion=second_opinion)


def verify_events(files: Files, at: At, unsafe_root: UnsafeRoot = None) -> None:
    """Replay an event log against its quote's registers. It says nothing about any app.

    Example:

      verify events quote.json tcb_info.json collateral.json --at 2026-03-23T21:17:00Z
    """
    _judge(_EVENTS, files, at, unsafe_root)


def verify_signer(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A key signature chain, an oracle's proof, or a guest's answer to GetKey (JSON).",
        ),
    ],
    app_id: Annotated[
        str, typer.Option(metavar="ID", help="The app that it is said to be of.")
    ] = "",
    purpose: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the app asked the key for.")
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="The domain of a key of /v1/GetKey (dstack 0.6.0)."),
    ] = None,
) -> None:
    """Recover who signed a key chain: derived key, app root key, KMS root key.

    Exit 0 when the root is that of a known KMS, 4 when it is denied, the chain claims other keys
    than those that signed it or another key signed an oracle's message, 3 when nobody knows the
    root, or which app it is of. It says nothing about any TD. A private key is never shown.

    Examples:

      verify signer signature_chain.json

      verify signer getkey.json --app-id 25e9a28b7c0cdad98c25c0ea226b1a94809e55c7

      verify signer getkey_v1.json --app-id 25e9a28b7c0cdad98c25c0ea226b1a94809e55c7 --domain vault
    """
    from verifier.checks.key_management import signers  # noqa: PLC0415
    from verifier.cli.files import about, read_file  # noqa: PLC0415
    from verifier.evidence.guest import kms_answers  # noqa: PLC0415
    from verifier.model.identifiers import parse_app_id  # noqa: PLC0415
    from verifier.reference.values import embedded  # noqa: PLC0415
    from verifier.report.audit.families import mark_of  # noqa: PLC0415

    asked = parse_app_id(app_id) if app_id else ""
    if asked is None:
        raise UsageError(f"--app-id {app_id!a} is no app id", hint="write its 40 hex digits")
    with about(file):
        chains = kms_answers.parse_chains(read_file(file), file.name)
    found = [
        reading
        for chain in chains
        for reading in signers.readings(chain, purpose, bytes.fromhex(asked), domain)
    ]
    outcome = signers.identify_signers(found, embedded())
    print_row(f"{mark_of(outcome.status, outcome.skip_kind).value}: ", outcome.summary)
    for name, value in (outcome.actual or {}).items() if isinstance(outcome.actual, dict) else ():
        print_row(f"  {name:14} ", str(value))
    if outcome.remediation:
        print_row("  ", outcome.remediation)
    codes = {Status.PASS: 0, Status.FAIL: 4}
    raise typer.Exit(codes.get(outcome.status, 3))


def _judge(
    checks: tuple[str, ...],
    files: list[Path],
    at: int,
    unsafe_root: Path | None,
    *,
    second_opinion: bool = False,
) -> None:
    """Print the results of some checks, of the worst attester; no verdict follows from part of the
    chain."""
    from verifier.api import Audit, Question  # noqa: PLC0415
    from verifier.checks.agreement import second_name  # noqa: PLC0415
    from verifier.cli import question as asked  # noqa: PLC0415
    from verifier.cli.files import printable_name, read_file  # noqa: PLC0415
    from verifier.evidence.import_files import import_files  # noqa: PLC0415
    from verifier.policy.appraisal import verdict_of  # noqa: PLC0415
    from verifier.report.audit.families import mark  # noqa: PLC0415
    from verifier.report.audit.sentences import anchor_note  # noqa: PLC0415

    bundle = import_files(
        [(printable_name(path), read_file(path)) for path in files], collected_at=now()
    )
    _refuse_ambiguity(bundle)
    question = Question(
        app_id=None,
        reference=asked.reference_values(unsafe_root),
        at=at,
        trusted=False,
        second_opinion=second_opinion,
    )
    audit = Audit(target="", question=question, bundle=bundle)
    attesters = [
        [replace(item, requirement=Requirement.REQUIRED) for item in results if item.id in checks]
        for results in audit.results()
    ]
    results = max(attesters, key=lambda items: VERDICT_ORDER.index(verdict_of(items)))
    if question.reference.unsafe:
        print_row("", question.reference.unsafe)
    for result in results:
        said = f"{result.summary}{anchor_note(result)}"
        print_row(f"{mark(result).value:7} {result.id:16} ", said)
        if result.remediation:
            print_row(f"{'':25}", result.remediation)
        if second_opinion and result.id == "hardware.quote" and result.status is Status.PASS:
            print_row(f"{'':25}", f"{second_name()} says the same")
    raise typer.Exit(EXIT_CODES[verdict_of(results)])


def _refuse_ambiguity(bundle: "Bundle") -> None:
    """One link is judged on one quote and one log: anything else that was given would be
    ignored."""
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    subject = read_subject(bundle, "")
    logs = {repr(item.log) for item in subject.quotes if item.has_log}
    logs |= {repr(item.value.event_log) for item in subject.tcb_infos if item.value.event_log}
    if len(subject.quotes) > 1 or len(logs) > 1:
        given = (_count(len(subject.quotes), "quote"), _count(len(logs), "event log"))
        raise UsageError(
            f"{' and '.join(given)} were given",
            hint="give one quote and its log",
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
