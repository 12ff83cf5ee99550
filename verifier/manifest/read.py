"""From bytes to the manifest that the rules judge: the one place that decides what of it runs."""

from typing import Final

from verifier.errors import EvidenceError
from verifier.evidence.codec import parse_utf8
from verifier.evidence.compose.app_compose import (
    COMPOSE_RUNNERS,
    AppCompose,
    DuplicateFieldError,
    parse_app_compose,
)
from verifier.evidence.compose.compose_yaml import MAX_BYTES, parse_documents
from verifier.evidence.readings import Readings
from verifier.manifest.compose.project import Project, read_project
from verifier.manifest.context import Context
from verifier.manifest.model import Manifest

COMPOSE_FILE: Final = "docker_compose_file"
HIDDEN: Final = "docker_compose_file is absent, empty or hidden"
_BOM: Final = b"\xef\xbb\xbf"
_MASKED: Final = frozenset({"", "[MASKED]"})  # what Phala's Trust Center shows of a private app


def read_manifest(
    raw: bytes, context: Context | None = None, readings: Readings | None = None
) -> Manifest:
    """The manifest in these bytes; `readings` keeps its compose file, which more than one asks for.

    Raises EvidenceError for what is no app-compose manifest. A key that is there twice leaves a
    manifest of which only `error` is known.
    """
    known = context or Context()
    try:
        app = parse_app_compose(raw)
    except DuplicateFieldError as error:
        return Manifest(None, None, known, error=error)
    return manifest_of(app, known, readings)


def manifest_of(app: AppCompose, context: Context, readings: Readings | None = None) -> Manifest:
    """A parsed manifest with its compose file; `error` says why that is not there."""
    text = app.compose or ""
    text = "" if text.strip() in _MASKED else text
    if app.runner not in COMPOSE_RUNNERS:
        problem = EvidenceError(f"the runner {app.runner!a} does not run {COMPOSE_FILE}")
        return Manifest(app, None, context, text, error=problem)
    if not text:
        return Manifest(app, None, context, error=EvidenceError(HIDDEN))
    known = Readings() if readings is None else readings
    project, error = known.once((_parsed, text), lambda: _parsed(text, COMPOSE_FILE))
    return Manifest(app, project, context, text, error=error)


def read_compose_file(raw: bytes, context: Context | None = None) -> Manifest:
    """A compose file without its manifest.

    allowed_envs is not known then: what an allowed variable would open is reported as conditional.
    Raises EvidenceError for what is no UTF-8 text of at most 2 MiB.
    """
    if len(raw) > MAX_BYTES:
        raise EvidenceError(f"compose file: {len(raw)} bytes, over the limit of {MAX_BYTES}")
    text = parse_utf8(raw.removeprefix(_BOM), "compose file")
    project, error = _parsed(text, "compose file")
    return Manifest(None, project, context or Context(), text, error=error)


def _parsed(text: str, what: str) -> tuple[Project | None, EvidenceError | None]:
    try:
        directives = "!" in text
        return read_project(parse_documents(text, what), directives=directives), None
    except EvidenceError as error:
        return None, error
