"""Several pieces of evidence for one thing, in many digests and both orders."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from tests.worlds.audited import Audited
from verifier.evidence.bundle import Bundle, Kind

DIGESTS: Final = range(8)
"""How many digests a piece of evidence is given: which of two is the smaller one is chance."""


def in_both_orders(bundle: Bundle, kind: Kind) -> Iterator[Bundle]:
    """The bundle with its artifacts of a kind as they stand, and the other way round."""
    turned = iter([item for item in bundle.artifacts if item.kind is kind][::-1])
    yield bundle
    artifacts = tuple(next(turned) if x.kind is kind else x for x in bundle.artifacts)
    yield replace(bundle, artifacts=artifacts)


def outcome(audited: Audited) -> tuple[object, ...]:
    """What an audit decides about its first attester."""
    subject = audited.report.subjects[0]
    checks = tuple((item.id, item.status, item.skip_kind) for item in subject.checks)
    return audited.report.verdict, checks


def breaking(quote: bytes) -> bytes:
    """A quote with a signature that does not hold."""
    return quote[:700] + bytes([quote[700] ^ 1]) + quote[701:]
