"""`verify import FILE… -o BUNDLE`: evidence handed over as files."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.clock import now
from verifier.cli.files import printable_name, read_file
from verifier.cli.options import Files
from verifier.cli.output import check_places, save_bundle
from verifier.cli.streams import warn

if TYPE_CHECKING:
    from verifier.evidence.bundle import Bundle

_MOST: Final = 5
"""Attesters whose command is shown; a provider's report may hold hundreds."""


def import_evidence(
    files: Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="BUNDLE", help="New directory or .tar for the bundle."
        ),
    ],
    of_kms: Annotated[
        list[Path] | None,
        typer.Option(
            "--of-kms",
            metavar="FILE",
            help="Evidence about the app's KMS instead: its certificate, the Info of its guest, "
            "its manifest (repeatable).",
        ),
    ] = None,
) -> None:
    """Make a bundle of evidence files; each is told apart by its shape, not by its name.

    Quotes may be binary, hex, 0x-hex, base64 or a JSON array of bytes; pages, Info answers,
    tcb_info, event logs, app-compose manifests, certificates and collateral are recognised; so are
    the reports of inference services, with the evidence of their GPUs, as they are served.

    Example:

      verify import quote.json tcb_info.json app_compose.json collateral.json -o evidence

      verify APP_ID --bundle evidence --at 2026-03-23T21:17:00Z

      curl "https://HOST/v1/attestation/report?nonce=NONCE" > report.json

      verify import report.json collateral.json -o evidence

      verify import info.json collateral.json --of-kms kms_info.json -o evidence
    """
    from verifier.evidence.import_files import import_files  # noqa: PLC0415
    from verifier.evidence.td.report_data import stated_bindings  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    check_places(None, output, "-o")
    given = [(printable_name(path), read_file(path)) for path in files]
    bundle = import_files(
        given,
        collected_at=now(),
        of_kms=[(printable_name(path), read_file(path)) for path in of_kms or ()],
    )
    unsaved = save_bundle(bundle, output)
    if unsaved is not None:
        raise unsaved
    for artifact in bundle.artifacts:
        print(f"{artifact.kind.value:16} {artifact.size:8} bytes  {visible(artifact.source)}")
    print(f"sha256:{bundle.digest}")
    bindings = dict.fromkeys(each for _, raw in given for each in stated_bindings(raw))
    for binding in list(bindings)[:_MOST]:
        warn(
            "a quote commits to a signing address and a nonce: where you know both, add",
            f"--bind {binding}",
        )
    _say_what_next(bundle, output)


def _say_what_next(bundle: "Bundle", path: Path) -> None:
    """The exact command that audits the bundle: its app, and a time at which its collateral is in
    force. An app id in it is 40 hex digits, or it is not named."""
    from verifier.api import recorded  # noqa: PLC0415
    from verifier.model.identifiers import format_time, parse_app_id  # noqa: PLC0415
    from verifier.reference.values import embedded  # noqa: PLC0415

    moment = now()
    found = [item for item in recorded(bundle, embedded(), moment) if parse_app_id(item.app_id)]
    for item in found[:_MOST]:
        if item.boots > 1:
            warn(
                f"its quotes are of {item.boots} guests, or boots, and contradict each other",
                "import what belongs to each by itself",
            )
        words = ["verify", item.app_id, "--bundle", str(path)]
        about = f"it is said to be of app {item.app_id}"
        if item.window is None:
            about += "; nothing in it endorses a quote: import the platform's collateral, too"
        else:
            start, end = item.window
            about += f"; its collateral is in force {format_time(start)} to {format_time(end)}"
            words += [] if start <= moment <= end else ["--at", format_time(start)]
        for nonce in item.gpu_nonces[:1]:
            about += f"; its GPUs answer a nonce: if it is yours, add --challenge {nonce}"
        warn(f"{about}. Audit it with:", shlex.join(words))
    if not found:
        place = str(path) if path.is_absolute() else f"./{path}"
        warn("it names no app. Audit what is there with:", shlex.join(["verify", place]))
    if len(found) > _MOST:
        warn(f"and {len(found) - _MOST} more")
