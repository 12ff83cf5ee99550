"""Alerts: what is told of a change, and to whom it is still to be told.

An alert stays with a recipient's name on it until that recipient took it: it may come twice, and
its `id` is the same then. One that refuses, or hangs, is asked again in the next round, and keeps
nobody else waiting.
"""

from collections.abc import Iterable
from typing import Any, Final, Protocol

import rfc8785
from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import VerifierError
from verifier.model.identifiers import format_time
from verifier.report.audit.json import encodable
from verifier.report.escape import visible
from verifier.watch.memory import Change
from verifier.watch.observation import Observation
from verifier.watch.words import told

SCHEMA: Final = "dstack-audit/alert/v1"
MAX_WAITING: Final = 10_000
"""Alerts that are kept for recipients that do not take them; the log has them all."""


class NotDelivered(VerifierError):
    """A recipient did not take an alert."""


class Alert(Struct, frozen=True, kw_only=True):
    """One change of one app, as it is told.

    id        the index of the observation in the log, and which of its changes this is
    app       what names the app
    name      what people call it
    time      as of when it was observed, Unix seconds
    verdict   the verdict then; "" for none
    accepted  whether the policy accepted it
    text      the change in words, on one line
    change    the change in values
    report    sha256 of the report as JSON; "" for none
    bundle    digest of the evidence; "" for none
    anchor    the trust anchor where it is not Intel's; "" for Intel's
    """

    id: str
    app: str
    name: str
    time: int
    verdict: str
    accepted: bool
    text: str
    change: Change
    report: str
    bundle: str
    anchor: str


class Waiting(Struct, frozen=True):
    """An alert, and the names of the recipients that have not taken it yet."""

    alert: Alert
    recipients: tuple[str, ...]


class Recipient(Protocol):
    """Who is told. `name` tells it from others, also in the next round."""

    @property
    def name(self) -> str:
        """Its name."""

    def deliver(self, alert: Alert) -> None:
        """Hand an alert over. Raises NotDelivered."""


def alert_of(index: int, place: int, change: Change, observation: Observation) -> Alert:
    """What is told of a change that the observation at an index of the log brought."""
    return Alert(
        id=f"{index}.{place}",
        app=observation.app,
        name=observation.name,
        time=observation.time,
        verdict=observation.verdict,
        accepted=observation.accepted,
        text=visible(told(change, observation)),
        change=change,
        report=observation.report,
        bundle=observation.bundle,
        anchor=observation.anchor,
    )


def encode(alert: Alert) -> bytes:
    """An alert as JSON (RFC 8785), without a newline."""
    change = alert.change
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "id": alert.id,
        "app": alert.app,
        "name": alert.name,
        "time": format_time(alert.time),
        "kind": change.kind.value,
        "severity": change.severity.value,
        "text": alert.text,
        "instance": change.instance,
        "before": change.before,
        "after": change.after,
        "since": None if change.since is None else format_time(change.since),
        "last_seen": None if change.again is None else format_time(change.again),
        "auditor_changed": change.own,
        "verdict": alert.verdict,
        "accepted": alert.accepted,
        "report": alert.report,
        "bundle": alert.bundle,
        "anchor": alert.anchor or None,
    }
    return rfc8785.dumps(encodable(document))


def deliver(
    waiting: Iterable[Waiting],
    recipients: Iterable[Recipient],
    refused: dict[str, NotDelivered],
) -> tuple[Waiting, ...]:
    """Hand every alert to whom it waits for, the oldest first; what is left.

    Who refuses one is written into `refused`, with the reason, and is not asked while there. What
    waits for a recipient that is not among these is left as it is.
    """
    known = {item.name: item for item in recipients}
    left = []
    for item in waiting:
        still = tuple(name for name in item.recipients if not _taken(name, item, known, refused))
        if still:
            left.append(replace(item, recipients=still))
    return tuple(left[-MAX_WAITING:])


def _taken(
    name: str, item: Waiting, known: dict[str, Recipient], refused: dict[str, NotDelivered]
) -> bool:
    if name not in known or name in refused:
        return False
    try:
        known[name].deliver(item.alert)
    except NotDelivered as error:
        refused[name] = error
        return False
    return True
