"""`verify oci FILE.tar`: what a rebuilt image is called."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.files import require_file
from verifier.cli.streams import print_row, warn
from verifier.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from verifier.evidence.images.oci_archive import ArchivedImage

EXIT_NONE: Final = 3
EXIT_CONTRAINDICATED: Final = 4


def identify_image(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE.tar", help="OCI layout or docker-archive, as a plain tar."),
    ],
    expect_image: Annotated[
        list[str] | None,
        typer.Option(metavar="[NAME=]sha256:...", help="Demand this digest (repeatable)."),
    ] = None,
) -> None:
    """Say which digests name the image in an archive, every one of them recomputed.

    Rebuild an app's image from its source, and compare: an index or manifest digest is what a
    manifest pins; the image id stays the same when only the compression of layers differs. The
    source and revision that are printed are the labels' word. Of several images, one that is
    malformed hides no other.

    Examples:

      docker buildx build --output type=oci,dest=app.tar,rewrite-timestamp=true .

      verify oci app.tar --expect-image sha256:DIGEST

    Exit codes: 0 done, and every expected digest is there; 3 malformed; 4 another image.
    """
    from verifier.evidence.images.oci import is_digest  # noqa: PLC0415
    from verifier.evidence.images.oci_archive import read_archive  # noqa: PLC0415

    expected = [text.rpartition("=")[2] for text in expect_image or ()]
    for text in expected:
        if not is_digest(text):
            raise UsageError(
                f"--expect-image: {text!a} is no digest", hint="write sha256: and 64 hex digits"
            )
    require_file(file)
    malformed: list[EvidenceError] = []
    images = read_archive(file, malformed.append)
    for image in images:
        _print(image)
    found = {digest for image in images for digest in image.digests}
    missing = [digest for digest in expected if digest not in found]
    for digest in missing:
        warn(f"{file}: no image here is {digest}")
    for error in malformed:
        warn(error.message, error.hint)
    if malformed:
        # What cannot be read may be the expected image.
        raise typer.Exit(EXIT_NONE)
    if missing:
        raise typer.Exit(EXIT_CONTRAINDICATED)


def _print(image: "ArchivedImage") -> None:
    rows = (
        ("names", ", ".join(image.names)),
        ("index", image.index),
        *(("index", digest) for digest in image.inner),
        ("manifest", image.manifest),
        ("image id", image.config.digest),
        ("platform", "/".join(image.config.platform)),
        ("source", image.config.source),
        ("revision", image.config.revision),
    )
    for name, value in rows:
        if value:
            print_row(f"{name:9} ", value)
