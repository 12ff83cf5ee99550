"""The answer to a challenge: quotes in the shape in which apps give them, each about one guest."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from verifier.collect.http import Response
from verifier.collect.instances import claimed_ids, session_certificate
from verifier.collect.requests import Request
from verifier.errors import EvidenceError
from verifier.evidence.bundle import BundleBuilder, Kind
from verifier.evidence.import_files import Recognised, split_report

Guests = Mapping[str, str]
"""Instance id (hex) → the name of the attester that is known by it."""


def record_challenged(  # noqa: PLR0913 - what an answer is recorded with
    builder: BundleBuilder,
    request: Request,
    answer: Response,
    moment: int,
    *,
    guests: Guests,
    app_id: str | None,
) -> None:
    """Record what an app answers to a challenge: a quote answer as it is, and of a report each
    part about the guest that it is about. A report may list guests of other apps (hex id): those
    are left out where one is by its own word a guest that was met, else of this app."""
    try:
        parts = split_report(request.url, answer.body)
    except EvidenceError:
        # What it is, a check says: the bytes are kept as what was asked for.
        parts = [("", Kind.GET_QUOTE, answer.body)]
    for subject, kind, blob in _named(parts, urlsplit(request.url).netloc, guests, app_id):
        builder.add(
            kind,
            blob,
            source=request.url,
            collected_at=moment,
            subject=subject,
            status=answer.status,
            media_type=answer.header("content-type"),
            request=request.body,
            peer=session_certificate(kind, answer.peer_certificate),
            exporter=answer.exporter.hex() if kind is Kind.GET_QUOTE else "",
        )


def _named(
    parts: list[tuple[str, Kind, bytes]], host: str, guests: Guests, app_id: str | None
) -> Iterator[tuple[str, Kind, bytes]]:
    """The parts with the name of the guest that each is about."""
    attesters: dict[str, Recognised] = {}
    for attester, kind, blob in parts:
        attesters.setdefault(attester, []).append((kind, blob))
    ids = {attester: _claimed(found) for attester, found in attesters.items()}
    met = [attester for attester, (_, instance) in ids.items() if instance in guests]
    own = [attester for attester, (app, _) in ids.items() if app == app_id]
    for attester in met or own or attesters:
        instance = ids[attester][1]
        name = f"{host}/{instance or attester}" if instance or attester else ""
        for kind, blob in attesters[attester]:
            yield guests.get(instance, name), kind, blob


def _claimed(parts: Recognised) -> tuple[str, str]:
    """The app id and the instance id (hex) that evidence about one guest claims, "" for none."""
    for kind, blob in parts:
        with suppress(EvidenceError):
            found = claimed_ids(kind, blob)
            if any(found):
                return found
    return "", ""
