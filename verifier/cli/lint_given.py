"""The texts that `verify lint` judges: files, directories, standard input, and running apps."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

from verifier.cli.files import names_target, read_file, read_stdin, walked_files
from verifier.cli.gather import gather
from verifier.cli.options import Reach
from verifier.errors import CollectError, EvidenceError, UsageError
from verifier.evidence.regular_file import read_regular
from verifier.manifest.context import Context
from verifier.patterns import pattern

if TYPE_CHECKING:
    from verifier.api import Audit
    from verifier.checks.case import Case
    from verifier.evidence.bundle import Bundle
    from verifier.model.report import SubjectReport
    from verifier.report.lint.places import Unread

STDIN: Final = "-"
MAX_FILES: Final = 1_000
_MAX_WALKED: Final = 50_000
_SHAPE_BYTES: Final = 64 << 10
_BUNDLE_HEAD: Final = b'{"artifacts":'
"""How the manifest of a bundle begins: web sites have a manifest.json too."""
_SERVICES: Final = pattern(rb"^(?:services|[\"']services[\"'])\s*:", re.MULTILINE)


class Given(Struct, frozen=True, kw_only=True):
    """One text to lint.

    name        what the user calls it
    raw         its bytes
    whole       whether it is a manifest, not a compose file or Dockerfile alone
    dockerfile  whether it is a Dockerfile
    own         whether it is the user's own file, in which comments count
    context     what is known besides the text
    note        what the text is worth; "" for the user's own file
    """

    name: str
    raw: bytes
    whole: bool = True
    dockerfile: bool = False
    own: bool = False
    context: Context = field(default_factory=Context)
    note: str = ""


def read_given(targets: Iterable[str], reach: Reach) -> tuple[list[Given], "list[Unread]"]:
    """The texts that the arguments name, and why some could not be read.

    For a single argument the reason is raised instead: EvidenceError, CollectError or UsageError.
    """
    from verifier.report.lint.places import Unread  # noqa: PLC0415 - help needs none

    names = list(dict.fromkeys(targets))
    found: list[Given] = []
    unread: list[Unread] = []
    for name in names:
        parts = _files_in(Path(name), unread) if is_source_directory(name) else [name]
        for part in parts:
            try:
                found += _given(part, reach)
            except (EvidenceError, CollectError, UsageError) as error:
                if len(names) == len(parts) == 1:
                    raise
                unread.append(Unread(part, error.message, error.hint))
    return found, unread


def is_source_directory(name: str) -> bool:
    """Whether an argument is a directory, and no bundle."""
    from verifier.evidence.bundle_files import MANIFEST_NAME  # noqa: PLC0415 - help needs none

    path = Path(name)
    if name == STDIN or not path.is_dir():
        return False
    try:
        head = read_regular(path / MANIFEST_NAME, len(_BUNDLE_HEAD))
    except OSError:
        return True
    return not head.startswith(_BUNDLE_HEAD)


def _files_in(folder: Path, unread: "list[Unread]") -> list[str]:
    """The manifests, compose files and Dockerfiles below a directory, told by name and shape."""
    from verifier.report.lint.places import Unread  # noqa: PLC0415

    found: list[str] = []
    for walked, path in enumerate(walked_files(folder)):
        if walked >= _MAX_WALKED or len(found) >= MAX_FILES:
            many = f"more than {MAX_FILES} files to lint, or {_MAX_WALKED} in all"
            unread.append(Unread(str(folder), many, "name fewer, or smaller directories"))
            break
        if _is_wanted(path):
            found.append(str(path))
    if not found:
        unread.append(
            Unread(
                str(folder),
                "there is no manifest, compose file or Dockerfile in it",
                "name the files, or a bundle",
            )
        )
    return found


def _is_wanted(path: Path) -> bool:
    from verifier.evidence.compose.dockerfile import is_dockerfile_name  # noqa: PLC0415

    lower = path.name.lower()
    if not path.is_file():
        return False  # opening a pipe would wait for a writer
    if is_dockerfile_name(lower):
        return True
    if not lower.endswith((".yaml", ".yml", ".json")):
        return False
    try:
        head = read_regular(path, _SHAPE_BYTES)[:_SHAPE_BYTES]
    except OSError:
        return "compose" in lower  # the reader says why it cannot be read
    if lower.endswith(".json"):
        return b'"docker_compose_file"' in head
    return _SERVICES.search(head) is not None or re.match(r"(?:docker-)?compose", lower) is not None


def _given(target: str, reach: Reach) -> list[Given]:
    """The texts that one argument names."""
    from verifier.api import Past  # noqa: PLC0415
    from verifier.evidence.compose.dockerfile import (  # noqa: PLC0415
        is_dockerfile_name,
        looks_like_dockerfile,
    )

    if target == STDIN:
        raw, name, path = read_stdin(), "stdin", Path("stdin")
    elif names_target(target):
        return _from_audit(gather(target, reach, past=Past.APP))
    else:
        name, path = target, Path(target)
        raw = read_file(path)
    start = raw.lstrip()[:1]
    if is_dockerfile_name(path.name) or looks_like_dockerfile(raw):
        return [Given(name=name, raw=raw, whole=False, dockerfile=True, own=True)]
    if start == b"{" and b'"docker_compose_file"' not in raw and b'"runner"' not in raw:
        is_compose = b'"services"' in raw and b'"app_compose"' not in raw
        if is_compose:
            return [Given(name=name, raw=raw, whole=False, own=True)]
        return _from_evidence(name, path, raw)
    if start == b"<" or (start == b"{" and b'"app_compose"' in raw):
        return _from_evidence(name, path, raw)
    return [Given(name=name, raw=raw, whole=start == b"{", own=True)]


def _from_evidence(name: str, path: Path, raw: bytes) -> list[Given]:
    from verifier.evidence.import_files import import_files  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415

    subject = read_subject(import_files([(path.name, raw)], collected_at=0), "")
    manifests = {item.value: None for item in subject.manifests}
    if not manifests:
        raise EvidenceError(
            f"{name}: there is no manifest in it",
            hint="an app with public_tcbinfo: false hides it; give the app-compose file itself",
        )
    return [Given(name=name, raw=manifest) for manifest in manifests]


def _from_audit(audit: "Audit") -> list[Given]:
    """What each attester measured, or, where that is not proven, every manifest that it shows."""
    from verifier.checks.case import Case  # noqa: PLC0415
    from verifier.evidence.chain.json_rpc import Exchanges  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    report = audit.report(load_policy("baseline"))
    several = len(report.subjects) > 1
    exchanges = Exchanges(audit.bundle)
    found: dict[tuple[bytes, str], Given] = {}
    for subject in report.subjects:
        name = f"{audit.target}: {subject.name}" if several else audit.target
        case = Case(read_subject(audit.bundle, subject.name), audit.question, exchanges)
        for item in _manifests(name, subject, case):
            found.setdefault((item.raw, item.note), item)
    if not found:
        raise without_manifest(audit.target, audit.bundle)
    return list(found.values())


def _manifests(name: str, subject: "SubjectReport", case: "Case") -> Iterator[Given]:
    from verifier.checks.manifest.context import context_of  # noqa: PLC0415
    from verifier.model.result import Status  # noqa: PLC0415

    result = next(item for item in subject.checks if item.id == "application.manifest")
    shown = dict.fromkeys(item.value for item in case.evidence.manifests)
    if result.status is Status.PASS:
        note = "this manifest was measured: application.manifest passes"
        raw = case.measured_manifest.value
        yield Given(name=name, raw=raw, context=context_of(case), note=note)
        return
    why = result.reason or result.summary
    for raw in shown:
        note = f"this manifest is shown, and not proven to be what runs: {why}"
        yield Given(name=name, raw=raw, note=note)


def without_manifest(name: str, bundle: "Bundle") -> EvidenceError:
    """The error that there is no manifest to look at: that nobody answered, or that none is in what
    was answered."""
    from verifier.evidence.unanswered import (  # noqa: PLC0415
        unreachable_hint,
        why_unreachable,
    )

    if unreachable := why_unreachable(bundle):
        return EvidenceError(
            f"{name}: there is no manifest: {unreachable}", hint=unreachable_hint(bundle)
        )
    return EvidenceError(
        f"{name}: there is no manifest in it",
        hint="an app with public_tcbinfo: false hides it; give the app-compose file itself",
    )
