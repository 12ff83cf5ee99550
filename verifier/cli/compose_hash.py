"""`verify compose-hash FILE`: the hash of a manifest, and what deploying makes of it."""

import hashlib
import re
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Final

import typer

from verifier.errors import EvidenceError, PolicyError

EXIT_CONTRAINDICATED: Final = 4
_DIGEST: Final = re.compile(r"(?:sha256:|0x)?([0-9a-fA-F]{64})", re.ASCII)
_WIDTH: Final = 100


def print_compose_hash(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An app-compose manifest.")],
    expect: Annotated[
        str, typer.Option(metavar="sha256:...", help="Demand this compose hash.")
    ] = "",
) -> None:
    """Say which compose hash a manifest has, and what each deploy path makes of it.

    The hash is that of the file's bytes as they are: one more new line is another hash.

    Example:

      verify compose-hash app-compose.json --expect sha256:DIGEST

    Exit codes: 0 done, and it is the expected one; 2 usage; 3 no manifest; 4 another hash.
    """
    from verifier.cli.import_evidence import read_file  # noqa: PLC0415
    from verifier.evidence.app_compose import parse_app_compose  # noqa: PLC0415
    from verifier.manifest.diff import deploy_paths, oddities  # noqa: PLC0415

    expected = _expected(expect)
    raw = read_file(file)
    digest = hashlib.sha256(raw).hexdigest()
    print(f"compose hash         {digest}")
    for text in oddities(raw):
        print(_wrapped(f"ATTENTION: the file {text}"))
    try:
        app = parse_app_compose(raw)
    except EvidenceError as error:
        raise EvidenceError(
            f"{file}: no app-compose manifest, so its sha256 is no compose hash: {error.message}",
            hint="give the app-compose JSON, not the docker-compose file that is inside of it",
        ) from error
    print(f"docker_compose_file  {_sha256(app.compose)}")
    print(f"pre_launch_script    {_sha256(app.pre_launch_script or None)}")
    for path in deploy_paths(raw):
        known = f"sha256 {path.compose_hash}" if path.compose_hash else "hash not known beforehand"
        print(f"\n{path.name}: {known}")
        print(_wrapped(path.summary))
        for change in path.changes:
            print(_wrapped(change, "  - "))
    if expected and digest != expected:
        print(f"\nverify: {file}: expected {expected}, found {digest}", file=sys.stderr)
        if why := _explanation(raw, expected):
            print(f"        {why}", file=sys.stderr)
        raise typer.Exit(EXIT_CONTRAINDICATED)


def _expected(text: str) -> str:
    match = _DIGEST.fullmatch(text)
    if text and match is None:
        raise PolicyError(
            f"--expect: {text!a} is no compose hash", hint="write sha256: and 64 hex digits"
        )
    return match[1].lower() if match else ""


def _sha256(text: str | None) -> str:
    return "(absent)" if text is None else hashlib.sha256(text.encode("utf-8")).hexdigest()


def _explanation(raw: bytes, expected: str) -> str:
    """Which change to the bytes would give the expected hash, "" when none that is known."""
    from verifier.evidence.app_compose import parse_app_compose  # noqa: PLC0415
    from verifier.manifest.diff.deploy_paths import canonical  # noqa: PLC0415

    document = parse_app_compose(raw).document
    variants = {
        "without the new line at its end": raw.rstrip(b"\r\n"),
        "with a new line at its end": raw + b"\n",
        "with LF line ends": raw.replace(b"\r\n", b"\n"),
        "with sorted keys and no white space": canonical(document),
    }
    for what, variant in variants.items():
        if hashlib.sha256(variant).hexdigest() == expected:
            return f"{what} it would be the expected one: it was altered on its way"
    return ""


def _wrapped(text: str, lead: str = "  ") -> str:
    from verifier.report.escape import visible  # noqa: PLC0415

    return textwrap.fill(
        visible(text), _WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)
    )
