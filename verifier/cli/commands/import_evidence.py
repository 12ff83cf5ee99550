"""`verify import FILE… -o BUNDLE`: evidence handed over as files."""

import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from verifier.errors import EvidenceError

_MAX_FILE_BYTES: Final = 32 << 20


def import_evidence(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Evidence files.")],
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
    from verifier.cli.question import save_bundle  # noqa: PLC0415
    from verifier.evidence.shapes import import_files  # noqa: PLC0415
    from verifier.report.escape import visible  # noqa: PLC0415

    bundle = import_files(
        [(printable_name(path), read_file(path)) for path in files], collected_at=int(time.time())
    )
    unsaved = save_bundle(bundle, output)
    if unsaved is not None:
        raise unsaved
    for artifact in bundle.artifacts:
        print(f"{artifact.kind.value:16} {artifact.size:8} bytes  {visible(artifact.source)}")
    print(f"sha256:{bundle.digest}")
    print(f"verify: audit it with `verify APP_ID --bundle {output}`", file=sys.stderr)


def printable_name(path: Path) -> str:
    """A file's name as it is recorded: bytes that are not UTF-8 are escaped."""
    return path.name.encode("utf-8", "backslashreplace").decode("utf-8")


def read_file(path: Path) -> bytes:
    """The bytes of an evidence file. Raises EvidenceError."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise EvidenceError(
            f"{path}: cannot read it: {error.strerror or error}", hint="name a readable file"
        ) from error
    if len(raw) > _MAX_FILE_BYTES:
        raise EvidenceError(f"{path}: larger than {_MAX_FILE_BYTES} bytes: no evidence is")
    return raw
