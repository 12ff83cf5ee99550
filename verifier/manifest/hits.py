"""Hits at the three kinds of places: a text of the compose file, a service, a manifest field."""

from collections.abc import Sequence
from typing import Final

from verifier.manifest.model import Manifest, Service, Text
from verifier.manifest.rule import Hit, Severity

_MAX_LISTED: Final = 40


def on_text(  # noqa: PLR0913 - the fields of a hit
    text: Text,
    message: str,
    severity: Severity | None = None,
    *,
    conditional: bool = False,
    offset: int = 0,
    names: Sequence[str] = (),
) -> Hit:
    """A hit at a text of the compose file, or at an offset in it."""
    return Hit(
        message=message,
        place=text.place_of(offset) if offset else text.place,
        service=text.service,
        severity=severity,
        conditional=conditional,
        names=tuple(names),
    )


def on_service(
    service: Service, message: str, severity: Severity | None = None, *, conditional: bool = False
) -> Hit:
    """A hit about a service as a whole."""
    return Hit(
        message=message,
        place=service.place,
        service=service.name,
        severity=severity,
        conditional=conditional,
    )


def on_field(  # noqa: PLR0913 - the fields of a hit
    manifest: Manifest,
    name: str,
    message: str,
    severity: Severity | None = None,
    *,
    conditional: bool = False,
    names: Sequence[str] = (),
) -> Hit:
    """A hit at a top-level field of the manifest."""
    return Hit(
        message=message,
        place=manifest.place_of(name),
        severity=severity,
        conditional=conditional,
        names=tuple(names),
    )


def listed(names: Sequence[str]) -> str:
    """Names as one phrase, in order; of very many, the first."""
    shown = ", ".join(names[:_MAX_LISTED])
    more = len(names) - _MAX_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
