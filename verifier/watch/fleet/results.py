"""The results of a run in a file of JSON lines, which is all that a resumed run starts from.

The first line says what was asked, each other one what became of one app, as it came. A run that
ends puts them into the order of its list, so that two runs can be compared byte for byte. A torn
last line is dropped, and its app audited again.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Iterable
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final, Self

import rfc8785

from verifier.errors import EvidenceError, UsageError
from verifier.evidence import bundle as bundles
from verifier.evidence import codec
from verifier.evidence.bundle_files import MANIFEST_NAME
from verifier.evidence.regular_file import read_regular
from verifier.manifest.secret_text import masked
from verifier.model.identifiers import format_time, parse_time
from verifier.model.result import JsonValue, Verdict
from verifier.version import DISTRIBUTION, tool_version
from verifier.watch.fleet.job import AGAIN, SCHEMA, Asked, Cause, Job, Result, line
from verifier.watch.fleet.run import Live

MAX_BYTES: Final = 1 << 30
_PART: Final = ".part"
_TOLD: Final = frozenset({"app_id", "at", "reference", "trusted"})


def heading(asked: Asked) -> bytes:
    """The first line: what was asked of every app."""
    question = asked.question
    return (
        rfc8785.dumps(
            {
                "schema": SCHEMA,
                "tool": f"{DISTRIBUTION} {tool_version()}",
                "evaluated_at": format_time(question.at),
                "policy": {"name": asked.policy.name, "digest": asked.policy.digest},
                "reference_digest": question.reference.digest,
                "asked": _digest_of(asked),
            }
        )
        + b"\n"
    )


def judged_at(path: Path) -> int | None:
    """The time of judgement of the run that a file holds, Unix seconds; None where there is no such
    file, or nothing in it. Raises UsageError."""
    raw = _read(path)
    first, newline, _ = raw.partition(b"\n")
    if not newline:
        return None
    document = _object(first, f"{path}: line 1")
    seconds = parse_time(str(document.get("evaluated_at", "")))
    if document.get("schema") != SCHEMA or seconds is None:
        raise UsageError(f"{path}: it holds no results of a fleet", hint="name another file")
    return seconds


class Results:
    """What became of each app of one run, in memory and in its file. A context manager.

    `found` holds the results by target, those of an earlier run that is resumed among them.
    """

    def __init__(self, path: Path | None, asked: Asked, *, resume: bool) -> None:
        """Without a `path` nothing is written."""
        self._path = path
        self._heading = heading(asked)
        self._resume = resume
        self._stream: FileIO | None = None
        self.found: dict[str, Result] = {}

    def __enter__(self) -> Self:
        """Open the file. Raises UsageError where it exists and is not to be resumed, is of another
        run, is being written by one, or cannot be written."""
        if self._path is None:
            return self
        _refuse_other(self._path)
        try:
            stream = self._path.open("ab", buffering=0)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        try:
            self._begin(stream, self._path)
        except BaseException:
            stream.close()
            raise
        self._stream = stream
        return self

    def _begin(self, stream: FileIO, path: Path) -> None:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.found = _earlier(path, self._heading, resume=self._resume)
            if not path.stat().st_size:
                _write_all(stream, self._heading)
        except BlockingIOError as error:
            raise UsageError(
                f"{path}: another run is writing it", hint="wait for that one, or name another file"
            ) from error
        except OSError as error:
            raise _unwritable(path, error) from error

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def hold(self, app: Job | Live) -> bool:
        """Whether there is a result of an app already: of the same evidence, where it is named."""
        job = app if isinstance(app, Job) else app.job
        earlier = self.found.get(masked(job.text))
        if earlier is None or earlier.cause in AGAIN:
            return False
        if not job.path:
            return True
        digest = earlier.bundle_digest
        return digest is not None and digest == _digest_at(job.path)

    def add(self, result: Result) -> bytes:
        """Write the line of an app that is finished, and give it. Raises UsageError."""
        raw = line(result)
        self.found[result.target] = result
        if self._stream is not None and self._path is not None:
            try:
                _write_all(self._stream, raw)
            except OSError as error:
                raise _unwritable(self._path, error) from error
        return raw

    def finish(self, texts: Iterable[str]) -> None:
        """Put the lines of a run that has ended into the order of its list. Raises UsageError."""
        self.found = {key: self.found[key] for key in map(masked, texts) if key in self.found}
        if self._path is None:
            return
        try:
            self._replace(self._path.resolve())
        except OSError as error:
            raise _unwritable(self._path, error) from error

    def _replace(self, place: Path) -> None:
        """Put the lines where no link leads on from, so that a link stays one. Raises OSError."""
        named = hashlib.sha256(self._heading + bytes(place)).hexdigest()
        part = place.with_name(f".{named[:16]}{_PART}")
        try:
            part.unlink(missing_ok=True)
            with part.open("xb") as stream:  # not through a link that somebody put there
                stream.write(self._heading)
                stream.writelines(map(line, self.found.values()))
            shutil.copymode(place, part)
            part.replace(place)
        except OSError:
            with suppress(OSError):
                part.unlink()
            raise


def _write_all(stream: FileIO, raw: bytes) -> None:
    """Write all of it: a disk that is nearly full takes a part without a word. Raises OSError."""
    left = memoryview(raw)
    while left:
        left = left[stream.write(left) :]


def _earlier(path: Path, wanted: bytes, *, resume: bool) -> dict[str, Result]:
    """What an earlier run finished, by target; the torn end of its file is cut off."""
    raw = _read(path)
    if not raw:
        return {}
    if not resume and raw == wanted:
        return {}  # A run that ended before its first app.
    if not resume:
        raise UsageError(
            f"{path}: it exists already",
            hint="--resume goes on where it ends; or name another file with -o",
        )
    whole = raw[: raw.rfind(b"\n") + 1]
    rows = whole.splitlines(keepends=True)
    if rows and rows[0] != wanted:
        raise UsageError(
            f"{path}: it is of a run that asked something else: {_differs(rows[0])}",
            hint="resume it with its own policy, options and version, or name another file",
        )
    if len(whole) < len(raw):
        try:
            with path.open("r+b") as stream:
                stream.truncate(len(whole))
        except OSError as error:
            raise _unwritable(path, error) from error
    results = (
        _result(row, f"{path}: line {number}") for number, row in enumerate(rows[1:], start=2)
    )
    return {result.target: result for result in results}


def _digest_at(path: str) -> str | None:
    """Digest (hex) of the bundle that is there now; None where it cannot be read."""
    try:
        manifest = bundles.read_files(Path(path)).get(MANIFEST_NAME)
    except EvidenceError:
        return None
    return None if manifest is None else hashlib.sha256(manifest).hexdigest()


def _refuse_other(path: Path) -> None:
    """Raise UsageError for what is there and no file: a pipe is waited for, and nothing that was
    written to it can be resumed or put into order; a device would be replaced by a file."""
    try:
        is_other = path.exists() and not path.is_file()
    except OSError as error:
        raise _unwritable(path, error) from error
    if is_other:
        raise UsageError(
            f"-o {path}: it is no regular file",
            hint="name a file for the results; `--format json` without -o writes them to stdout",
        )


def _read(path: Path) -> bytes:
    _refuse_other(path)
    try:
        raw = read_regular(path, MAX_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise UsageError(f"{path}: cannot read it: {error.strerror or error}") from error
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES} bytes", hint="name another file")
    return raw


def _result(row: bytes, what: str) -> Result:
    """A line read back: only one that `line` would write again counts. Raises UsageError."""
    document = _object(row, what)
    try:
        checks = codec.as_object(document.get("checks"), f"{what}: checks")
        cause = document.get("cause")
        result = Result(
            target=codec.as_str(document.get("target"), f"{what}: target"),
            name=codec.as_str(document.get("name"), f"{what}: name"),
            verdict=Verdict(str(document.get("verdict"))),
            accepted=document.get("accepted") is True,
            app_id=_text(document, "requested_app_id", what),
            evaluated_at=parse_time(_text(document, "evaluated_at", what) or ""),
            bundle_digest=_text(document, "bundle_digest", what),
            report_digest=_text(document, "report_digest", what),
            manifest=_text(document, "manifest", what),
            anchor=_text(document, "anchor", what),
            weakest=_text(document, "weakest", what),
            statuses=tuple((key, codec.as_int(value, what)) for key, value in checks.items()),
            cause=Cause(str(cause)) if cause is not None else None,
            error=codec.as_str(document.get("error"), f"{what}: error"),
        )
    except (EvidenceError, ValueError) as error:
        raise _damaged(what) from error
    if line(result) != row or not _can_be(result):
        raise _damaged(what)
    return result


def _can_be(result: Result) -> bool:
    """Whether an audit can have this result: all that is good about an app stands in a report."""
    judged = result.report_digest is not None and result.evaluated_at is not None
    if result.cause is not None:
        return result.verdict is Verdict.NONE and not result.accepted
    if not judged:
        return False
    return not result.accepted or result.verdict in {Verdict.AFFIRMING, Verdict.WARNING}


def _text(document: dict[str, JsonValue], key: str, what: str) -> str | None:
    value = document.get(key)
    return None if value is None else codec.as_str(value, f"{what}: {key}")


def _object(raw: bytes, what: str) -> dict[str, JsonValue]:
    try:
        return codec.parse_json_object(raw, what)
    except EvidenceError as error:
        raise _damaged(what) from error


def _damaged(what: str) -> UsageError:
    return UsageError(
        f"{what} is no result that this version writes",
        hint="remove that line, and its app is audited again; or name another file",
    )


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path}: cannot write the results: {error.strerror or error}",
        hint="what it holds is kept: --resume goes on there",
    )


def _digest_of(asked: Asked) -> str:
    """A digest of what else is asked of every app: whatever a question holds, but what stands
    beside the digest in the first line, or is each app's own."""
    told = [item for item in asked.question.__struct_fields__ if item not in _TOLD]
    parts = (*((item, getattr(asked.question, item)) for item in told), sorted(asked.vouched))
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


def _differs(first: bytes) -> str:
    try:
        document = codec.parse_json_object(first, "line 1")
    except EvidenceError:
        return "its first line cannot be read"
    policy = document.get("policy")
    name = policy.get("name") if isinstance(policy, dict) else None
    return (
        f"{document.get('tool')!a}, policy {name!a}, as of {document.get('evaluated_at')!a}, "
        "or other options"
    )
