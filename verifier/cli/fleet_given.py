"""What the arguments of `verify fleet` name: the apps of a list, and what is known of them."""

import re
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from verifier.api import Past, Question, Sources
from verifier.cli.files import read_file, read_stdin
from verifier.cli.gather import sources_of
from verifier.cli.options import Reach
from verifier.cli.target import parse_target
from verifier.errors import EvidenceError, UsageError
from verifier.evidence.bundle_files import MANIFEST_NAME
from verifier.model.identifiers import AppId, parse_app_id
from verifier.patterns import pattern
from verifier.watch.fleet.job import Job
from verifier.watch.fleet.run import Live
from verifier.watch.targets import Listed, Listing, lines_of, read_targets

_DIGEST: Final = pattern(r"(?:sha256:)?([0-9a-fA-F]{64})", re.ASCII)
_TIMEOUT: Final = 180.0
"""Seconds that the sources of one app may take together, where the user names no other number."""


def read_list(given: str) -> Listing:
    """The apps of a list, in a file or on standard input ("-"), or the bundles in a directory.
    Raises UsageError for what is neither, and for one that names nothing."""
    if Path(given).is_dir():
        listing = _bundles_in(Path(given))
    else:
        try:
            text = (read_stdin() if given == "-" else read_file(Path(given))).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{given}: it is no text", hint="name a list of apps") from error
        except EvidenceError as error:
            raise UsageError(error.message, hint=error.hint) from error
        listing = read_targets(text, _spelled)
    if not listing.targets and not listing.refused:
        raise UsageError(f"{given}: it names no app", hint="write an app id on each line")
    return listing


def digests_vouched(path: Path | None, named: str) -> frozenset[str]:
    """The digests (hex) of bundles that the user vouches for. Raises UsageError."""
    found = []
    lines = lines_of(read_file(path).decode("utf-8", "replace")) if path else []
    for number, row in enumerate((named, *lines)):
        word = row.partition("#")[0].strip()
        digest = _DIGEST.fullmatch(word)
        if word and digest is None:
            where = f"{path}: line {number}" if number else "--trust-bundle"
            raise UsageError(f"{where}: {word[:80]!a} is no digest", hint="64 hex digits")
        found += [digest[1].lower()] if digest else []
    return frozenset(found)


def app_of(listed: Listed, asked: Question, reach: Reach, together: Sources) -> Job | Live:
    """An app of the list: a bundle to judge, or what to ask for, as all of them `together` do.
    Raises UsageError for an option that it contradicts."""
    app_id, path = _bundle_of(listed.text)
    if path:
        return Job(text=listed.text, name=listed.name, app_id=app_id, path=path)
    target = parse_target(listed.text)
    if target.bundle is not None:
        return Job(text=listed.text, name=listed.name, path=str(target.bundle))
    if reach.offline:
        raise UsageError(
            f"--offline: line {listed.line} names {listed.text}, and no bundle",
            hint="name its evidence: APP_ID@BUNDLE",
        )
    endpoint = asked.endpoint or target.endpoint
    question = replace(asked, app_id=target.app_id, endpoint=endpoint, trusted=True)
    sources = sources_of(target, question, reach, Past.APP, reach.timeout or _TIMEOUT)
    job = Job(text=listed.text, name=listed.name, app_id=target.app_id, endpoint=endpoint)
    return Live(job, question, replace(sources, shared=together.shared))


def _spelled(word: str) -> str:
    """What names an app, in its own spelling. Raises UsageError."""
    app_id, path = _bundle_of(word)
    return f"{app_id}@{path}" if path else parse_target(word).text


def _bundle_of(word: str) -> tuple[AppId | None, str]:
    """The app and the bundle of APP_ID@BUNDLE; (None, "") for any other word."""
    name, _, path = word.partition("@")
    app_id = parse_app_id(name)
    return (AppId(app_id), path) if app_id is not None and path else (None, "")


def _bundles_in(folder: Path) -> Listing:
    """The bundles of a directory, by name: tars, and directories with a manifest."""
    try:
        names = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot read it: {error.strerror or error}") from error
    found = [item for item in names if item.suffix == ".tar" or (item / MANIFEST_NAME).is_file()]
    if not found:
        raise UsageError(
            f"{folder}: there is no bundle in it", hint="name a folder with what --save wrote in it"
        )
    return Listing(
        tuple(Listed(place, str(item), item.name) for place, item in enumerate(found, 1))
    )
