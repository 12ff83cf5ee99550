"""One service's image in two manifests: a digest that became a tag, a variable, another digest."""

import re
from typing import Final

from verifier.manifest.diff.change import DIVERGENCE, IMAGE, REGRESSION, Change
from verifier.manifest.diff.document import Document
from verifier.manifest.diff.tree import pointer_to
from verifier.manifest.image import Image, Kind, image_of
from verifier.manifest.model import Service
from verifier.model.result import Severity
from verifier.patterns import pattern

_Judgement = tuple[str, Severity, str]  # rule, severity, meaning
_RANKS: Final = {
    Kind.DIGEST: 0,
    Kind.NONE: 1,
    Kind.BAD: 1,
    Kind.UNSET: 1,
    Kind.PLACEHOLDER: 1,
    Kind.TAG: 2,
    Kind.ROLLING: 3,
    Kind.UNTAGGED: 3,
    Kind.OPERATOR: 4,
}
"""How easily somebody exchanges the code while the manifest stays: 0 is never."""

_WHAT: Final = {
    Kind.DIGEST: "a digest",
    Kind.NONE: "no image (built on the guest)",
    Kind.BAD: "a malformed digest",
    Kind.UNSET: "a variable that nobody sets",
    Kind.PLACEHOLDER: "a template that was never filled in",
    Kind.TAG: "a tag",
    Kind.ROLLING: "a tag that moves",
    Kind.UNTAGGED: "no tag, which is `latest`",
    Kind.OPERATOR: "a variable that the operator sets",
}
_COMMITS: Final = ("GIT_SHA", "GIT_COMMIT", "COMMIT_SHA")
_MOVING: Final = pattern(r"(?:.*latest.*|main|master|dev|edge|nightly|stable)", re.IGNORECASE)


def compare_image(old: Document, new: Document, before: Service, after: Service) -> Change | None:
    """How the image of a service changed, None when it names the same code in the same way."""
    one, other = image_of(old.manifest, before), image_of(new.manifest, after)
    if _identity(one) == _identity(other):
        return None
    rule, severity, meaning = _judge_kind(one, other) or _judge_code(one, other, before, after)
    text = after.image
    return Change(
        rule=rule,
        severity=severity,
        pointer=text.place.pointer if text else pointer_to(*after.path, "image"),
        meaning=meaning,
        before=one.reference or None,
        after=other.reference or None,
        service=after.name,
        line=text.line if text else after.tree.line,
        column=text.column if text else after.tree.column,
        conditional=other.kind is Kind.OPERATOR and new.manifest.unsure,
    )


def _identity(image: Image) -> tuple[str, ...]:
    if image.kind is Kind.DIGEST:
        return ("digest", image.registry, image.repository, image.tag, image.digest)
    return (image.kind, image.reference)


def _judge_kind(one: Image, other: Image) -> _Judgement | None:
    """A reference of another kind; None for the same kind."""
    was, now = _RANKS[one.kind], _RANKS[other.kind]
    if now == was:
        return None
    what = f"{_WHAT[one.kind]} became {_WHAT[other.kind]}"
    if now < was:
        return DIVERGENCE, Severity.INFO, f"better: {what}"
    severity = Severity.CRITICAL if other.kind is Kind.OPERATOR else Severity.HIGH
    return REGRESSION, severity, what


def _judge_code(one: Image, other: Image, before: Service, after: Service) -> _Judgement:
    """Other code under a reference of the same kind."""
    if (one.registry, one.repository) != (other.registry, other.repository):
        return IMAGE, Severity.MEDIUM, "the image comes from another repository"
    if one.kind is not Kind.DIGEST:
        return DIVERGENCE, Severity.LOW, f"other code, still named by {_WHAT[other.kind]}"
    if one.digest == other.digest:
        return DIVERGENCE, Severity.INFO, "the same digest under another tag"
    source = _claimed_source(one, other, before, after)
    if source:
        return DIVERGENCE, Severity.INFO, f"new code; its claimed source is {source}"
    return IMAGE, Severity.MEDIUM, "new code, and nothing says from which source"


def _claimed_source(one: Image, other: Image, before: Service, after: Service) -> str:
    """The new tag or commit that the manifest states, "" when there is no new one."""
    if other.tag and other.tag != one.tag and not _MOVING.fullmatch(other.tag):
        return f"tag {other.tag}"
    for name in _COMMITS:
        was, now = before.environment.get(name), after.environment.get(name)
        if now and now.literal and (was is None or was.literal != now.literal):
            return f"{name} {now.literal}"
    return ""
