"""`verify compose-hash FILE`: the hash of a manifest, and what deploying makes of it."""

import hashlib
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.files import read_file
from verifier.cli.options import command
from verifier.cli.output import warn
from verifier.errors import EvidenceError, PolicyError

if TYPE_CHECKING:
    from verifier.evidence.app_compose import AppCompose
    from verifier.manifest.diff import DeployPath

EXIT_CONTRAINDICATED: Final = 4
_DIGEST: Final = re.compile(r"(?:sha256:|0x)?([0-9a-fA-F]{64})", re.ASCII)
_WIDTH: Final = 100
_MANIFEST_KEYS: Final = frozenset({"docker_compose_file", "runner", "manifest_version"})
"""Keys of which every app-compose manifest has at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a compose file is deployed with; a manifest holds it already."""

    name: Annotated[str, typer.Option("--name", help="Compose file: the app's name.")] = ""
    enable: Annotated[
        list[str] | None,
        typer.Option(
            "--enable", metavar="FLAG", help="Compose file: a flag of vmm-cli.py (repeatable)."
        ),
    ] = None
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow", metavar="NAME", help="Compose file: an allowed variable (repeatable)."
        ),
    ] = None
    pre_launch_script: Annotated[
        Path | None,
        typer.Option(
            "--pre-launch-script", metavar="FILE", help="Compose file: its pre-launch script."
        ),
    ] = None


@command
def print_compose_hash(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An app-compose manifest, or a compose file.")
    ],
    expect: Annotated[
        str, typer.Option(metavar="sha256:...", help="Demand this compose hash.")
    ] = "",
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="The compose hash of a manifest alone.")
    ] = False,
    deployment: Deployment,
) -> None:
    """Say which compose hash a manifest has, and what each deploy path makes of it.

    The hash is that of the file's bytes as they are: one more new line is another hash. A compose
    file has none before it is wrapped into a manifest; for a path whose result is known exactly,
    that manifest's hash is computed.

    Examples:

      verify compose-hash app-compose.json --expect sha256:DIGEST

      verify compose-hash compose.yaml --name app --enable kms --enable gateway

    Exit codes: 0 done, and it is the expected one; 2 usage; 3 no manifest; 4 another hash.
    """
    expected = _expected(expect)
    raw = read_file(file)
    if raw.lstrip()[:1] not in (b"{", b""):
        if quiet:
            raise PolicyError(
                f"{file}: a compose file alone has no compose hash",
                hint="name the app-compose manifest around it",
            )
        _print_compose_file(file, raw, expected, deployment)
        return
    if deployment != Deployment():
        raise PolicyError(
            f"{file}: it is no compose file", hint="a manifest has its name and flags already"
        )
    _print_manifest(file, raw, expected, quiet=quiet)


def _print_manifest(file: Path, raw: bytes, expected: str, *, quiet: bool) -> None:
    """The hash of a manifest's bytes, those of its parts, and what deploying makes of it."""
    from verifier.manifest.diff import deploy_paths, oddities  # noqa: PLC0415

    digest = hashlib.sha256(raw).hexdigest()
    app = _manifest(file, raw)
    if quiet:
        print(digest)
    else:
        print(f"compose hash         {digest}{' (as expected)' if digest == expected else ''}")
        for text in oddities(raw):
            print(_wrapped(f"ATTENTION: the file {text}"))
        print(f"docker_compose_file  {_sha256(app.compose)}")
        print(f"pre_launch_script    {_sha256(app.pre_launch_script or None)}")
        _print_paths(deploy_paths(raw))
    if expected and digest != expected:
        warn(f"{file}: expected {expected}, found {digest}", _explanation(raw, expected))
        raise typer.Exit(EXIT_CONTRAINDICATED)


def _manifest(file: Path, raw: bytes) -> "AppCompose":
    """The manifest that a JSON file is. Raises EvidenceError for any other."""
    from verifier.evidence.app_compose import parse_app_compose  # noqa: PLC0415

    hint = "give the app-compose JSON, or the docker-compose file that is inside of it"
    what = f"{file}: no app-compose manifest, so its sha256 is no compose hash"
    try:
        app = parse_app_compose(raw)
    except EvidenceError as error:
        raise EvidenceError(f"{what}: {error.message}", hint=hint) from error
    if not _MANIFEST_KEYS & set(app.document):
        keys = ", ".join(sorted(_MANIFEST_KEYS))
        raise EvidenceError(f"{what}: it has none of the keys {keys}", hint=hint)
    return app


def _print_compose_file(file: Path, raw: bytes, expected: str, deployment: Deployment) -> None:
    """What is known of a compose file's manifest, with what it is deployed with."""
    from verifier.evidence.codec import parse_utf8  # noqa: PLC0415
    from verifier.evidence.compose_yaml import parse_compose  # noqa: PLC0415
    from verifier.manifest.diff import VMM_FLAGS, compose_paths, oddities  # noqa: PLC0415

    script = deployment.pre_launch_script
    own = parse_utf8(read_file(script), "pre-launch script") if script is not None else None
    flags, allowed = deployment.enable or [], deployment.allow or []
    if unknown := sorted(set(flags) - set(VMM_FLAGS)):
        raise PolicyError(f"--enable {unknown[0]!a}", hint=f"one of {', '.join(VMM_FLAGS)}")
    try:
        tree = parse_compose(parse_utf8(raw, "compose file").removeprefix("\ufeff"), "compose file")
    except EvidenceError as error:
        raise EvidenceError(
            f"{file}: neither an app-compose manifest nor a compose file: {error.message}"
        ) from error
    if "services" not in tree.entries:
        raise EvidenceError(f"{file}: neither an app-compose manifest nor a compose file")
    print("compose hash         not known: it covers the manifest around this compose file")
    print(f"docker_compose_file  {hashlib.sha256(raw).hexdigest()}")
    for oddity in oddities(raw.rstrip(b"\r\n")):  # a compose file ends with a new line
        print(_wrapped(f"ATTENTION: the file {oddity}"))
    paths = compose_paths(raw, deployment.name, flags=flags, allowed=allowed, script=own)
    _print_paths(paths)
    found = {path.compose_hash for path in paths} - {None}
    if expected and expected not in found:
        warn(f"{file}: no known path gives {expected}")
        raise typer.Exit(EXIT_CONTRAINDICATED)


def _print_paths(paths: "tuple[DeployPath, ...]") -> None:
    for path in paths:
        known = f"sha256 {path.compose_hash}" if path.compose_hash else "hash not known beforehand"
        print(f"\n{path.name}: {known}")
        print(_wrapped(path.summary))
        for change in path.changes:
            print(_wrapped(change, "  - "))


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
            return f"{what} it would be the expected one"
    return ""


def _wrapped(text: str, lead: str = "  ") -> str:
    from verifier.report.escape import visible  # noqa: PLC0415

    return textwrap.fill(
        visible(text), _WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead)
    )
