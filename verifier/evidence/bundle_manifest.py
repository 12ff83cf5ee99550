"""The manifest of a bundle: its artifacts as RFC 8785 JSON, one byte sequence for one evidence."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from verifier.errors import Cause, EvidenceError
from verifier.evidence import codec
from verifier.evidence.artifact import Artifact, Kind, Trust, trust_of
from verifier.evidence.bundle_files import MANIFEST_NAME, MAX_BLOB_BYTES
from verifier.model.identifiers import LATEST_TIME
from verifier.patterns import pattern

SCHEMA: Final = "dstack-audit/bundle/v1"
MAX_STATUS: Final = 999

_SUBJECT: Final = pattern(r"[A-Za-z0-9._:/\[\]-]{0,255}", re.ASCII)
_TRUST: Final = {kind: trust_of(kind) for kind in Kind}


class _Written(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """An artifact as a manifest spells it.

    kind          as in `Artifact`
    trust         that of the kind
    subject       as in `Artifact`
    source        as in `Artifact`
    collected_at  as in `Artifact`
    sha256        as in `Artifact`
    size          as in `Artifact`
    status        as in `Artifact`
    media_type    as in `Artifact`
    headers       value by name
    request       as in `Artifact`
    error         as in `Artifact`
    cause         as in `Artifact`; not written where it is `OTHER`
    peer          as in `Artifact`; not written where it is ""
    exporter      as in `Artifact`; not written where it is ""
    """

    kind: Kind
    trust: Trust
    subject: str
    source: str
    collected_at: Annotated[int, Meta(ge=0, le=LATEST_TIME)]
    sha256: str | None
    size: Annotated[int, Meta(ge=0, le=MAX_BLOB_BYTES)]
    status: Annotated[int, Meta(ge=0, le=MAX_STATUS)] | None
    media_type: str
    headers: dict[str, str]
    request: str
    error: str
    cause: Cause = Cause.OTHER
    peer: str = ""
    exporter: str = ""


class _Manifest(Struct, forbid_unknown_fields=True):
    """The whole of it."""

    artifacts: list[_Written]
    schema: str


_WRITER: Final = msgspec.json.Encoder(order="sorted")
_READER: Final = msgspec.json.Decoder(_Manifest)


def write(artifacts: Iterable[Artifact]) -> bytes:
    """The canonical manifest, as RFC 8785 has it: names are ASCII, and numbers small integers, so
    only order and spelling are left to do."""
    return _WRITER.encode(_Manifest([*map(_written, artifacts)], SCHEMA))


def read(raw: bytes, where: str) -> tuple[Artifact, ...]:
    """The artifacts of a manifest in canonical form. Raises EvidenceError for any other."""
    what = f"{where}/{MANIFEST_NAME}"
    found = canonical(raw)
    if found is not None:
        return found
    artifacts = parse(raw, what)
    if write(artifacts) != raw:
        raise EvidenceError(f"{where}: {MANIFEST_NAME} is not in canonical form")
    return artifacts


def canonical(raw: bytes) -> tuple[Artifact, ...] | None:
    """The artifacts of what `write` would write again, byte for byte; None for anything else.

    Nothing is left there that two readers could take for two things: no name stands twice, and no
    number has another spelling. So it needs no strict reader, which takes five times as long.
    """
    if len(raw) > codec.MAX_LISTED:
        return None
    try:
        document = _READER.decode(raw)
        if document.schema != SCHEMA or _WRITER.encode(document) != raw:
            return None
    except (msgspec.MsgspecError, ValueError):
        return None
    items = document.artifacts
    subjects = all(map(_SUBJECT.fullmatch, {item.subject for item in items}))
    if not subjects or any(item.trust is not _TRUST[item.kind] for item in items):
        return None
    found = tuple(map(_artifact, items))
    return found if all(_precedes(*pair) for pair in pairwise(found)) else None


def _precedes(one: Artifact, other: Artifact) -> bool:
    """Whether an artifact stands before another. Most differ in what is compared first."""
    if one.kind is other.kind and one.subject == other.subject and one.source != other.source:
        return one.source < other.source
    return order(one) < order(other)


def _written(item: Artifact) -> _Written:
    return _Written(
        kind=item.kind,
        trust=_TRUST[item.kind],
        subject=item.subject,
        source=item.source,
        collected_at=item.collected_at,
        sha256=item.sha256,
        size=item.size,
        status=item.status,
        media_type=item.media_type,
        headers=dict(item.headers),
        request=item.request,
        error=item.error,
        cause=item.cause,
        peer=item.peer,
        exporter=item.exporter,
    )


def _artifact(item: _Written) -> Artifact:
    return Artifact(
        kind=item.kind,
        source=item.source,
        collected_at=item.collected_at,
        subject=item.subject,
        sha256=item.sha256,
        size=item.size,
        status=item.status,
        media_type=item.media_type,
        headers=tuple(sorted(item.headers.items())) if item.headers else (),
        request=item.request,
        error=item.error,
        cause=item.cause,
        peer=item.peer,
        exporter=item.exporter,
    )


def order(item: Artifact) -> tuple[str, ...]:
    """What artifacts are sorted by: all of it."""
    return (
        item.kind.value,
        item.subject,
        item.source,
        item.request,
        item.sha256 or "",
        str(item.collected_at),
        item.error,
        item.cause.value,
        str(item.status),
        item.media_type,
        repr(item.headers),
        str(item.size),
        item.peer,
        item.exporter,
    )


def parse(raw: bytes, what: str) -> tuple[Artifact, ...]:
    """What stands in a manifest of any spelling. Raises EvidenceError, which says what is wrong."""
    document = codec.parse_json_object(raw, what, codec.MAX_LISTED)
    if document.get("schema") != SCHEMA:
        raise EvidenceError(
            f"{what}: schema {document.get('schema')!r} is not {SCHEMA!r}",
            hint="the bundle was written by another version of this tool",
        )
    items = codec.as_list(document.get("artifacts"), f"{what}: artifacts")
    artifacts = tuple(
        _parse_artifact(codec.as_object(item, f"{what}: artifacts[{index}]"), f"{what}[{index}]")
        for index, item in enumerate(items)
    )
    if list(artifacts) != sorted(set(artifacts), key=order):
        raise EvidenceError(f"{what}: artifacts are not sorted, or one stands twice")
    return artifacts


def _parse_artifact(item: codec.JsonObject, what: str) -> Artifact:
    try:
        kind = Kind(codec.text_field(item, "kind", what))
    except ValueError as error:
        raise EvidenceError(f"{what}: unknown kind of artifact {item.get('kind')!r}") from error
    try:
        cause = Cause(codec.text_field(item, "cause", what))
    except ValueError as error:
        raise EvidenceError(f"{what}: unknown cause of a failure {item.get('cause')!r}") from error
    if item.get("trust") != trust_of(kind).value:
        raise EvidenceError(f"{what}: trust of {kind.value} is fixed as {trust_of(kind).value}")
    if not _SUBJECT.fullmatch(codec.text_field(item, "subject", what)):
        raise EvidenceError(f"{what}: the subject is not a host and an id")
    sha256 = item.get("sha256")
    headers = codec.as_object(item.get("headers"), f"{what}.headers")
    return Artifact(
        kind=kind,
        subject=codec.text_field(item, "subject", what),
        source=codec.text_field(item, "source", what),
        collected_at=_number(item, "collected_at", LATEST_TIME, what),
        sha256=None if sha256 is None else codec.as_str(sha256, f"{what}.sha256"),
        size=_number(item, "size", MAX_BLOB_BYTES, what),
        status=None if item.get("status") is None else _number(item, "status", MAX_STATUS, what),
        media_type=codec.text_field(item, "media_type", what),
        headers=tuple(sorted((key, codec.as_str(value, what)) for key, value in headers.items())),
        request=codec.text_field(item, "request", what),
        error=codec.text_field(item, "error", what),
        cause=cause,
        peer=codec.text_field(item, "peer", what),
        exporter=codec.text_field(item, "exporter", what),
    )


def _number(item: codec.JsonObject, name: str, limit: int, what: str) -> int:
    value = codec.as_int(item.get(name), f"{what}.{name}")
    if not 0 <= value <= limit:
        raise EvidenceError(f"{what}.{name}: {value} is out of range")
    return value
