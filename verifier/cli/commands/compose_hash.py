"""`verify compose-hash FILE`: the hash of a manifest, and what deploying makes of it."""

import hashlib
import json
import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import Struct

from verifier.cli.files import about, read_file
from verifier.cli.options import command
from verifier.cli.output import write
from verifier.cli.streams import print_row, warn
from verifier.errors import EvidenceError, UsageError
from verifier.patterns import pattern

if TYPE_CHECKING:
    from verifier.evidence.compose.app_compose import AppCompose
    from verifier.manifest.deployment import Prediction
    from verifier.manifest.diff import DeployPath
    from verifier.model.result import JsonValue

EXIT_NOT_KNOWN: Final = 3
EXIT_CONTRAINDICATED: Final = 4
SCHEMA: Final = "dstack-audit/compose-hash/v1"
_DIGEST: Final = pattern(r"(?:sha256:|0x)?([0-9a-fA-F]{64})", re.ASCII)
_MANIFEST_KEYS: Final = frozenset({"docker_compose_file", "runner", "manifest_version"})
"""Keys of which every app-compose manifest has at least one."""


class HashFormat(StrEnum):
    """How it is written."""

    TERMINAL = "terminal"
    JSON = "json"


class Deployment(Struct, frozen=True, kw_only=True):
    """What a compose file is deployed with; a manifest holds it already.

    None and "" are options that were not given.

    deploy             the tool and its version: TOOL@VERSION
    name               the app's name
    enable             flags of the tool that are turned on
    disable            flags of the tool that are turned off
    allow              variables that the operator may set
    pre_launch_script  the file with the pre-launch script
    set_field          further fields, FIELD=VALUE each
    write_manifest     the file for the predicted manifest
    """

    deploy: Annotated[
        str,
        typer.Option(
            metavar="TOOL@VERSION",
            help="Compose file: predict its manifest: phala-cli, phala-api or vmm.",
        ),
    ] = ""
    name: Annotated[str | None, typer.Option("--name", help="Compose file: the app's name.")] = None
    enable: Annotated[
        list[str] | None,
        typer.Option(
            "--enable", metavar="FLAG", help="Compose file: a flag of the tool (repeatable)."
        ),
    ] = None
    disable: Annotated[
        list[str] | None,
        typer.Option("--disable", metavar="FLAG", help="With --deploy: turn a flag off."),
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
    set_field: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="With --deploy: another field, as JSON or text."
        ),
    ] = None
    write_manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --deploy: write the predicted manifest."),
    ] = None


class _Answer(Struct, frozen=True, kw_only=True):
    """What is said of a file.

    file          its path
    kind          `app-compose` (a manifest) or `compose`
    raw           its bytes
    compose_hash  the hash, 64 hex digits; "" where it is not known
    made_by       the tool that writes such bytes; "" where no tool is named
    compose       the compose file; None where a manifest holds none
    script        the pre-launch script; None without one
    missing       field whose value only the platform knows → why; {} for none
    oddities      what is unusual about the bytes; () for nothing
    notes         what the tool's profile says to whoever gives the values; () for nothing
    paths         what each known way of deploying makes of it; () where one was named
    document      the predicted manifest as far as it is known; {} where no tool was named
    """

    file: Path
    kind: str
    raw: bytes
    compose_hash: str = ""
    made_by: str = ""
    compose: str | None = None
    script: str | None = None
    missing: "dict[str, str]"
    oddities: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    paths: "tuple[DeployPath, ...]" = ()
    document: "dict[str, JsonValue]"

    @property
    def candidates(self) -> dict[str, str]:
        """Every hash that is known, with what has it."""
        found = {item.compose_hash: item.name for item in self.paths if item.compose_hash}
        if self.kind != "compose":
            found = {}  # the hash that another path would give is not this file's
        return found | ({self.compose_hash: self.made_by} if self.compose_hash else {})


@command
def print_compose_hash(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="An app-compose manifest, or a compose file.")
    ],
    expect: Annotated[
        str, typer.Option(metavar="sha256:...", help="Demand this compose hash.")
    ] = "",
    form: Annotated[
        HashFormat, typer.Option("--format", help="How to write it.")
    ] = HashFormat.TERMINAL,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The hash alone.")] = False,
    deployment: Deployment,
) -> None:
    """Say which compose hash a manifest has, and what each deploy path makes of it.

    The hash is that of the file's bytes as they are: one more new line is another hash. A compose
    file has none before it is wrapped into a manifest. --deploy computes that manifest as a version
    of a tool makes it, or names the field that only the platform knows; without it, every known
    path is shown.

    Examples:

      verify compose-hash app-compose.json --expect sha256:DIGEST

      verify compose-hash compose.yaml --deploy vmm@0.5.7 --name app --enable kms

      verify compose-hash compose.yaml --deploy phala-cli@1.1.19 --pre-launch-script script.sh

    Exit codes: 0 done, and it is the expected one; 2 usage; 3 no manifest, or a hash that is not
    known; 4 another hash.
    """
    expected = _expected(expect)
    raw = read_file(file)
    if raw.lstrip()[:1] in (b"{", b""):
        if deployment != Deployment():
            raise UsageError(
                f"{file}: it is no compose file", hint="a manifest has its name and flags already"
            )
        answer = _of_manifest(file, raw)
    elif quiet and not deployment.deploy:
        raise UsageError(
            f"{file}: a compose file alone has no compose hash",
            hint="name the manifest around it, or how it is deployed: --deploy TOOL@VERSION",
        )
    else:
        answer = _of_compose_file(file, raw, deployment)
    _print(answer, expected, form, quiet=quiet)
    if not answer.candidates and (deployment.deploy or expected):
        _say_unknown(answer)
        raise typer.Exit(EXIT_NOT_KNOWN)
    if expected and expected not in answer.candidates:
        if answer.kind == "compose" and not deployment.deploy:
            warn(f"{file}: no known path gives {expected}")
        else:
            hint = _explanation(raw, expected) if answer.kind == "app-compose" else ""
            warn(f"{file}: expected {expected}, found {answer.compose_hash}", hint)
        raise typer.Exit(EXIT_CONTRAINDICATED)


def _say_unknown(answer: _Answer) -> None:
    if not answer.missing:
        hint = "name how it is deployed with --deploy TOOL@VERSION, and its --name"
        warn(f"{answer.file}: a compose file has no compose hash", hint)
    for name, why in answer.missing.items():
        warn(f"{answer.file}: its compose hash is not known: {name}", why)


def _of_manifest(file: Path, raw: bytes) -> _Answer:
    """The hash of a manifest's bytes, those of its parts, and what deploying makes of it."""
    from verifier.manifest.deployment import path_label  # noqa: PLC0415
    from verifier.manifest.diff import deploy_paths, oddities  # noqa: PLC0415

    app = _manifest(file, raw)
    return _Answer(
        file=file,
        kind="app-compose",
        raw=raw,
        compose_hash=hashlib.sha256(raw).hexdigest(),
        made_by=path_label(app),
        compose=app.compose,
        script=app.pre_launch_script or None,
        missing={},
        oddities=oddities(raw),
        paths=deploy_paths(raw),
        document={},
    )


def _manifest(file: Path, raw: bytes) -> "AppCompose":
    """The manifest that a JSON file is. Raises EvidenceError for any other."""
    from verifier.evidence.compose.app_compose import parse_app_compose  # noqa: PLC0415

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


def _of_compose_file(file: Path, raw: bytes, deployment: Deployment) -> _Answer:
    """What is known of a compose file's manifest, with what it is deployed with."""
    from verifier.evidence.codec import parse_utf8  # noqa: PLC0415
    from verifier.evidence.compose.compose_yaml import parse_compose  # noqa: PLC0415
    from verifier.manifest.diff import VMM_FLAGS, compose_paths, oddities  # noqa: PLC0415

    path = deployment.pre_launch_script
    script = parse_utf8(read_file(path), str(path)) if path is not None else None
    with about(file):
        text = parse_utf8(raw, "compose file")
        tree = parse_compose(text.removeprefix("\ufeff"), "compose file")
    if "services" not in tree.entries:
        raise EvidenceError(f"{file}: it has no services", hint="give a docker-compose file")
    odd = oddities(raw.rstrip(b"\r\n"))  # a compose file ends with a new line
    if deployment.deploy:
        found = _predicted(text, script, deployment)
        return _Answer(
            file=file,
            kind="compose",
            raw=raw,
            compose_hash=found.compose_hash or "",
            made_by=f"{found.profile.title} ({found.profile.tool} {found.profile.versions})",
            compose=text,
            script=script,
            missing=dict(found.missing),
            oddities=odd,
            notes=found.profile.notes,
            document=dict(found.document),
        )
    if deployment.disable or deployment.set_field or deployment.write_manifest:
        raise UsageError(
            "--disable, --set and --write-manifest say how a manifest is made",
            hint="name the tool with --deploy TOOL@VERSION",
        )
    flags, allowed = deployment.enable or [], deployment.allow or []
    if unknown := sorted(set(flags) - set(VMM_FLAGS)):
        raise UsageError(f"--enable {unknown[0]!a}", hint=f"one of {', '.join(VMM_FLAGS)}")
    paths = compose_paths(raw, deployment.name or "", flags=flags, allowed=allowed, script=script)
    return _Answer(
        file=file,
        kind="compose",
        raw=raw,
        compose=text,
        script=script,
        missing={},
        oddities=odd,
        paths=paths,
        document={},
    )


def _predicted(text: str, script: str | None, deployment: Deployment) -> "Prediction":
    from verifier.manifest.deployment import Choices, predict  # noqa: PLC0415
    from verifier.reference.deploy_profiles import find_profile  # noqa: PLC0415

    profile = find_profile(deployment.deploy)
    flags = dict.fromkeys(deployment.enable or (), True)
    flags |= dict.fromkeys(deployment.disable or (), False)
    choices = Choices(
        name=deployment.name,
        allowed=tuple(deployment.allow or ()),
        script=script,
        flags=flags,
        others=dict(_field(item) for item in deployment.set_field or ()),
    )
    found = predict(profile, text, choices)
    if deployment.name and found.document.get("name") != deployment.name:
        written = json.dumps(found.document.get("name", ""), ensure_ascii=False)
        warn(f"{deployment.deploy} writes {written} as the app's name, whatever --name says")
    if deployment.write_manifest is not None:
        if found.raw is None:
            why = ", ".join(found.missing)
            raise UsageError(f"--write-manifest: the manifest is not known without {why}")
        write(found.raw, deployment.write_manifest, "the manifest")
    return found


def _field(text: str) -> "tuple[str, JsonValue]":
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise UsageError(f"--set {text!a}: no field", hint="write FIELD=VALUE")
    try:
        found: JsonValue = json.loads(value)
    except (ValueError, RecursionError):
        found = value
    return name, found


def _print(answer: _Answer, expected: str, form: HashFormat, *, quiet: bool) -> None:
    known = answer.candidates
    as_expected = expected in known if expected and known else None
    if form is HashFormat.JSON:
        print(json.dumps(_json(answer, expected, as_expected=as_expected), indent=2))
    elif not quiet:
        _print_text(answer, expected if as_expected else "")
    elif known:
        print(expected if as_expected else next(iter(known)))


def _print_text(answer: _Answer, confirmed: str) -> None:
    """The hashes, what is not known, the fields of a predicted manifest, and every path."""
    if answer.compose_hash:
        said = " (as expected)" if confirmed == answer.compose_hash else ""
        print_row("compose hash         ", f"{answer.compose_hash}{said}")
    elif answer.missing:
        print_row("compose hash         ", "not known")
    else:
        known = "not known: it is that of the manifest that holds this file"
        print_row("compose hash         ", known)
    if answer.made_by:
        print_row("made by              ", answer.made_by)
    for text in answer.oddities:
        print_row("  ", f"ATTENTION: the file {text}")
    print_row("docker_compose_file  ", _sha256(answer.compose))
    if answer.kind == "app-compose" or answer.script is not None:
        print_row("pre_launch_script    ", _sha256(answer.script))
    _print_prediction(answer)
    _print_paths(answer.paths)
    if confirmed and confirmed != answer.compose_hash:
        print()
        print_row("as expected: ", answer.candidates[confirmed])


def _print_prediction(answer: _Answer) -> None:
    """What is not known of a predicted manifest, and what is."""
    for name, why in answer.missing.items():
        print_row("  ", f"not known: {name}: {why}")
    for note in answer.notes:
        print_row("  ", f"note: {note}")
    for name, value in answer.document.items():
        if name not in {"docker_compose_file", "pre_launch_script"}:
            print_row("  - ", f"{name}: {json.dumps(value, ensure_ascii=False)}")


def _json(answer: _Answer, expected: str, *, as_expected: bool | None) -> "dict[str, JsonValue]":
    return {
        "schema": SCHEMA,
        "file": str(answer.file),
        "kind": answer.kind,
        "sha256": hashlib.sha256(answer.raw).hexdigest(),
        "compose_hash": answer.compose_hash or None,
        "made_by": answer.made_by or None,
        "docker_compose_file": _digest(answer.compose),
        "pre_launch_script": _digest(answer.script),
        "missing": dict(answer.missing),
        "expected": expected or None,
        "as_expected": as_expected,
        "oddities": list(answer.oddities),
        "notes": list(answer.notes),
        "paths": [
            {
                "name": path.name,
                "compose_hash": path.compose_hash,
                "summary": path.summary,
                "changes": list(path.changes),
            }
            for path in answer.paths
        ],
    }


def _print_paths(paths: "tuple[DeployPath, ...]") -> None:
    for path in paths:
        known = f"sha256 {path.compose_hash}" if path.compose_hash else "hash not known beforehand"
        print()
        print_row(f"{path.name}: ", known)
        print_row("  ", path.summary)
        for change in path.changes:
            print_row("  - ", change)


def _expected(text: str) -> str:
    match = _DIGEST.fullmatch(text)
    if text and match is None:
        raise UsageError(
            f"--expect: {text!a} is no compose hash", hint="write sha256: and 64 hex digits"
        )
    return match[1].lower() if match else ""


def _sha256(text: str | None) -> str:
    return _digest(text) or "(absent)"


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode("utf-8")).hexdigest()


def _explanation(raw: bytes, expected: str) -> str:
    """Which change to the bytes would give the expected hash, "" when none that is known."""
    from verifier.evidence.compose.app_compose import parse_app_compose  # noqa: PLC0415
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
