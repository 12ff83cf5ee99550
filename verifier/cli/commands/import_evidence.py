"""`verify import FILE… -o BUNDLE`: evidence handed over as files."""

from pathlib import Path
from typing import Annotated

import typer

from verifier.cli.clock import now
from verifier.cli.files import printable_name, read_file
from verifier.cli.options import Files
from verifier.cli.output import save_bundle, warn


def import_evidence(
    files: Files,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="BUNDLE", help="New directory or .tar for the bundle."
        ),
    ],
) -> None:
    """Make a bundle of evidence files; each is told apart by its shape, not by its name.

    Quotes may be binary, hex, 0x-hex, base64 or a JSON array of bytes; pages, Info answers,
    tcb_info, event logs, app-compose manifests, certificates and collateral are recognised.

    Example:

      verify import quote.json tcb_info.json app_compose.json collateral.json -o evidence

      verify APP_ID --bundle evidence --at 2026-03-23T21:17:00Z
    """
    from verifier.evidence.shapes import import_files  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    bundle = import_files(
        [(printable_name(path), read_file(path)) for path in files], collected_at=now()
    )
    unsaved = save_bundle(bundle, output)
    if unsaved is not None:
        raise unsaved
    for artifact in bundle.artifacts:
        print(f"{artifact.kind.value:16} {artifact.size:8} bytes  {visible(artifact.source)}")
    print(f"sha256:{bundle.digest}")
    warn(f"audit it with `verify APP_ID --bundle {output}`")
