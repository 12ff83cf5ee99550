"""The conformance corpus: folders of evidence in plain files, each with what is expected of it.

    LINK/NAME/          honest evidence
    LINK/NAME_fail/     forged, or not enough to accept anything
      vector.json       schema, link, name, expected, check, why, at, app_id, policy, reference,
                        root, sha256 (of each of its files, and of those two)
      quote.bin …       the evidence of that link; everything but the one forgery is honest
    reference/          reference values and the trust anchor that vectors name

A link holds the evidence of all links before it that it rests on, so that a verifier of one link
alone can be tried.
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from verifier.errors import EvidenceError, UsageError
from verifier.evidence import codec
from verifier.evidence.regular_file import read_regular
from verifier.model.identifiers import AppId, parse_app_id, parse_time
from verifier.policy.policy import BUILT_IN
from verifier.reference.values import ReferenceValues, parse_reference

SCHEMA: Final = "verify/vector-v1"
MAX_FILE_BYTES: Final = 4 << 20
MAX_VECTORS: Final = 10_000
Answer = Literal["accept", "reject"]


class Link(Struct, frozen=True):
    """A link of the chain.

    decided   the checks that vectors of this link are about
    verbatim  the answers of servers that its vectors hold as they were received; () where they hold
              quote, log and manifest cut out
    """

    decided: tuple[str, ...]
    verbatim: tuple[str, ...] = ()


_ANSWERS: Final = ("attestation.json", "get_quote.json", "info.json")

LINKS: Final[Mapping[str, Link]] = {
    "quote": Link(("hardware.quote", "hardware.td", "hardware.tcb")),
    "log": Link(("boot.registers", "runtime.replay", "runtime.events")),
    "boot": Link(("boot.image", "boot.machine"), _ANSWERS[:1]),
    "manifest": Link(("application.manifest",)),
    "app": Link(("application.identity", "application.binding"), _ANSWERS),
    "statements": Link(("application.consistency",), (*_ANSWERS, "page.html")),
}
"""From the hardware up; each rests on those before it."""


class Vector(Struct, frozen=True, kw_only=True):
    """One folder of the corpus.

    folder     where it is
    link       the link of the chain that it is about, a key of `LINKS`
    name       its name in the corpus
    expected   what a verifier has to say
    check      the check of this auditor that refuses it; "" for honest evidence
    why        what was forged, in one line
    at         the time of judgement, Unix seconds
    app_id     the app that is asked about, 40 hex digits
    policy     the name of the built-in policy
    reference  the reference values, a file
    root       the trust anchor, a certificate (DER)
    evidence   the name and the sha256 (hex) of each file
    """

    folder: Path
    link: str
    name: str
    expected: Answer
    check: str
    why: str
    at: int
    app_id: AppId
    policy: str
    reference: Path
    root: Path
    evidence: tuple[tuple[str, str], ...]

    def files(self) -> list[tuple[str, bytes]]:
        """The evidence: name and content of every file. Raises EvidenceError where one is not what
        its vector says."""
        what = f"{self.link}/{self.name}/{_ABOUT}"
        return [(name, _as_said(self.folder / name, told, what)) for name, told in self.evidence]

    def values(self) -> ReferenceValues:
        """The reference values. Raises EvidenceError."""
        try:
            return parse_reference(_read(self.reference), unsafe=_UNSAFE)
        except UsageError as error:
            raise EvidenceError(f"{self.reference}: {error.message}") from error

    def digest(self) -> str:
        """sha256 (hex) of its description and its evidence, each file with its name and size."""
        about = (_ABOUT, _read(self.folder / _ABOUT))
        found = hashlib.sha256(f"{self.link}/{self.name}".encode())
        for name, raw in (about, *self.files()):
            found.update(f"\n{name} {len(raw)}\n".encode() + raw)
        return found.hexdigest()


_ABOUT: Final = "vector.json"
_UNSAFE: Final = "SIMULATED: vectors are of a simulated world"


def read_corpus(root: Path, links: tuple[str, ...] = ()) -> tuple[Vector, ...]:
    """The vectors of some links (of all with ()), in the order of links and names.

    Raises EvidenceError for a corpus that is not whole: a folder without vector.json, one that says
    something else than its place, a file that is not there, not named, or not what was written. A
    verifier would rightly reject what is damaged: nobody is asked about it.
    """
    found = tuple(_vectors(root, links or tuple(LINKS)))
    if not found:
        raise EvidenceError(
            f"{root}: there are no vectors in it",
            hint="name the folder fixtures/vectors of a checkout of this project",
        )
    for vector in found:
        vector.files()
    for vector in {item.reference: item for item in found}.values():
        vector.values()
    return found


def _vectors(root: Path, links: tuple[str, ...]) -> Iterator[Vector]:
    count = 0
    for link in links:
        place = root / link
        for folder in sorted(_listed(place)) if place.is_dir() else ():
            count += 1
            if count > MAX_VECTORS:
                raise EvidenceError(f"{root}: more than {MAX_VECTORS} vectors")
            yield _vector(root, link, folder)


def _vector(root: Path, link: str, folder: Path) -> Vector:
    what = f"{link}/{folder.name}/{_ABOUT}"
    document = codec.parse_json_object(_read(folder / _ABOUT), what)
    texts = {
        name: codec.text_field(document, name, what)
        for name in ("schema", "link", "name", "expected", "check", "why", "at", "app_id")
    }
    if texts["schema"] != SCHEMA:
        raise EvidenceError(f"{what}: schema {texts['schema']!a}, and this version reads {SCHEMA}")
    forged = folder.name.endswith("_fail")
    expected: Answer = "reject" if forged else "accept"
    stated = (texts["link"], texts["name"], texts["expected"], bool(texts["check"]))
    if stated != (link, folder.name, expected, forged):
        raise EvidenceError(f"{what}: it says something else than its place in the corpus")
    at, app_id = parse_time(texts["at"]), parse_app_id(texts["app_id"])
    if at is None:
        raise EvidenceError(f"{what}: {texts['at']!a} is no time")
    if app_id is None:
        raise EvidenceError(f"{what}: {texts['app_id']!a} is no app id")
    policy = codec.text_field(document, "policy", what)
    if policy not in BUILT_IN:
        raise EvidenceError(f"{what}: {policy!a} is no built-in policy")
    shared = {name: codec.text_field(document, name, what) for name in ("reference", "root")}
    reference, anchor = (_inside(root, name, what) for name in shared.values())
    told = codec.as_object(document.get("sha256"), f"{what}.sha256")
    digests = {name: codec.text_field(told, name, what) for name in sorted(told)}
    for path, name in ((reference, shared["reference"]), (anchor, shared["root"])):
        _as_said(path, digests.get(name, ""), what)
    return Vector(
        folder=folder,
        link=link,
        name=folder.name,
        expected=expected,
        check=texts["check"],
        why=texts["why"],
        at=at,
        app_id=app_id,
        policy=policy,
        reference=reference,
        root=anchor,
        evidence=_evidence(folder, {x: y for x, y in digests.items() if x not in shared.values()}),
    )


def _evidence(folder: Path, digests: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    names = {_ABOUT, *digests}
    here = {path.name for path in islice(_listed(folder), len(names) + 1)}
    for name in sorted(names ^ here):
        said = "is not there" if name in names else "is no part of this vector"
        raise EvidenceError(f"{folder.parent.name}/{folder.name}: {name[:80]!a} {said}")
    return tuple(digests.items())


def _listed(folder: Path) -> Iterator[Path]:
    try:
        yield from folder.iterdir()
    except OSError as error:
        raise EvidenceError(f"{folder}: {error.strerror or error}") from error


def _as_said(path: Path, digest: str, what: str) -> bytes:
    raw = _read(path)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise EvidenceError(f"{path}: it is not the file that {what} names: it was changed")
    return raw


def _inside(root: Path, name: str, what: str) -> Path:
    try:
        path = (root / name).resolve()
        own = path.is_relative_to(root.resolve()) and path.is_file()
    except (OSError, ValueError):  # no name that a file can have
        own = False
    if not own:
        raise EvidenceError(f"{what}: {name[:80]!a} is no file of this corpus")
    return path


def _read(path: Path) -> bytes:
    try:
        raw = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise EvidenceError(f"{path}: {error.strerror or error}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise EvidenceError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    return raw
