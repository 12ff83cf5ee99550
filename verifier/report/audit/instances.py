"""The guests of an app beside each other, in rows and sentences that every format shares."""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.model.identifiers import parse_app_id
from verifier.model.report import AllowedManifest, Difference, Divergence, Report, SubjectReport
from verifier.model.result import Basis, JsonValue, Severity, Status, Verdict

_DIGITS: Final = 12
_WEAK: Final = (Basis.ASSERTED, Basis.UNKNOWN)
_QUOTE: Final = "hardware.quote"
_COMPOSE: Final = "/docker_compose_file/"
MOST: Final = 5
"""How many differences of one divergence a text names."""


class Row(Struct, frozen=True, kw_only=True):
    """One guest. A value that nothing but somebody's word supports is "".

    subject        the attester's name
    instance_id    hex, as measured
    asked_as       another id under which it answered, hex; "" for none
    named          whether the relying party named this instance
    app_id         hex
    quote          what `hardware.quote` says; None where it was not asked
    compose_hash   hex
    os_release     the dstack release of the OS image
    os_kind        production or development
    os_image_hash  hex
    device_id      hex
    answers        how often it answered at an address that leads to any instance
    verdict        that of this guest
    """

    subject: str
    instance_id: str
    asked_as: str
    named: bool
    app_id: str
    quote: Status | None
    compose_hash: str
    os_release: str
    os_kind: str
    os_image_hash: str
    device_id: str
    answers: int
    verdict: Verdict


HEAD: Final = ("Instance", "Quote", "Manifest", "OS", "Device", "Verdict")


def table(report: Report) -> tuple[tuple[str, ...], ...]:
    """The rows for people, in the order of `HEAD`."""
    return tuple(_cells(report, row) for row in rows(report))


def _cells(report: Report, row: Row) -> tuple[str, ...]:
    known = row.instance_id or row.asked_as or row.subject or "unnamed"
    odd = f" (asked as {_short(row.asked_as)})" if row.instance_id and row.asked_as else ""
    return (
        f"{_short(known)}{odd}",
        row.quote.value if row.quote else "none",
        _short(row.compose_hash) or "not known",
        f"{row.os_release} {row.os_kind}".strip() or "not known",
        _short(row.device_id) or "not known",
        f"{row.verdict.value}{_mark(report)}",
    )


def _mark(report: Report) -> str:
    return report.anchor.mark if report.anchor is not None else ""


def _short(text: str) -> str:
    return text[:_DIGITS] if set(text) <= set("0123456789abcdef") else text


def rows(report: Report) -> tuple[Row, ...]:
    """A row for each guest that was audited, the worst first."""
    return tuple(_row(report, subject) for subject in report.subjects)


def _row(report: Report, subject: SubjectReport) -> Row:
    values: dict[str, JsonValue] = {
        claim.name: claim.value for claim in subject.claims if claim.basis not in _WEAK
    }
    image = values.get("os_image")
    image = image if isinstance(image, dict) else {}
    label = parse_app_id(subject.name.rpartition("/")[2]) or ""
    own = {_text(values.get("instance_id")), _text(values.get("app_id"))}
    return Row(
        subject=subject.name,
        instance_id=_text(values.get("instance_id")),
        asked_as=label if label not in {*own, report.requested_app_id} else "",
        named=report.seen is not None
        and bool({label, _text(values.get("instance_id"))} & set(report.seen.named)),
        app_id=_text(values.get("app_id")),
        quote=next((item.status for item in subject.checks if item.id == _QUOTE), None),
        compose_hash=_text(values.get("compose_hash")),
        os_release=_text(image.get("release")),
        os_kind=_text(image.get("kind")),
        os_image_hash=_text(values.get("os_image_hash")),
        device_id=_text(values.get("device_id")),
        answers=report.seen.met.get(subject.name, 0) if report.seen is not None else 0,
        verdict=subject.verdict,
    )


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def count(report: Report) -> int:
    """How many instances of the app were seen, by the ids that they measure."""
    found = {
        (row.app_id, row.instance_id or row.subject)
        for row in rows(report)
        if row.app_id and row.app_id == (report.requested_app_id or row.app_id)
    }
    return len(found)


def several(report: Report) -> bool:
    """Whether there is more to say than that one guest answered."""
    named = report.seen is not None and bool(report.seen.named)
    return len(report.subjects) > 1 or named


def summary(report: Report) -> str:
    """How many instances were seen, how they were looked for, and that it is never all of them; ""
    where no guest was audited."""
    seen, number = report.seen, count(report)
    if not report.subjects:
        return ""
    found = f"{number} instance{'s' * (number != 1)} of this app seen"
    if seen is not None and seen.named:
        missing = sum(1 for row in rows(report) if row.quote is not Status.PASS)
        absent = f"; {missing} of the guests asked for gave no good quote" if missing else ""
        return f"{found}, {len(seen.named)} named{absent}; others were not looked for"
    if seen is None or not seen.requests:
        return f"{found}; whether there are others, nothing proves"
    asked = f"in {seen.requests} request{'s' * (seen.requests != 1)} at the app's address"
    silent = seen.requests - seen.answered
    unanswered = f", {silent} unanswered" if silent else ""
    said = "" if report.bundle_trusted else ", as the bundle says"
    return f"{found} {asked}{unanswered}{said}; whether there are others, nothing proves"


def notes(report: Report) -> tuple[str, ...]:
    """What there is to say of several guests: who measures another id than was asked for, who
    differs, and what shares a key."""
    return tuple(f"{note}{_mark(report)}" for note in _notes(report))


def _notes(report: Report) -> Iterator[str]:
    for row in rows(report):
        if row.asked_as and row.instance_id:
            yield f"{row.asked_as} was asked for, and the guest measures {row.instance_id}"
    for item in report.divergences:
        yield divergence(item)
    for shared in report.shared_keys:
        manifests = len(shared.compose_hashes)
        if manifests > 1:
            root = f" under the KMS root {shared.kms_root}" if shared.kms_root else ""
            yield (
                f"{len(shared.subjects)} guests name one signing key, {shared.key}{root}, and run "
                f"{manifests} manifests: what it signs may come from any of them"
            )


def divergence(item: Divergence) -> str:
    """One divergence in a sentence."""
    who = ", ".join(map(_name, item.subjects))
    if not item.differences:
        why = item.not_comparable[0] if item.not_comparable else "in nothing that is compared"
        return f"{who} differs from {_many(item.most)}: {why}"
    listed = [f"{place(one)}: {one.meaning}" for one in item.differences[:MOST]]
    rest = len(item.differences) - MOST
    more = f"; and {rest} more" if rest > 0 else ""
    same = "the same release; " if item.same_release else ""
    return (
        f"{who} differs from {_many(item.most)} ({worst(item).value}): {same}"
        f"{'; '.join(listed)}{more}"
    )


def worst(item: Divergence) -> Severity:
    """How much a divergence matters: what cannot be compared is taken for the worst."""
    ranked = sorted((one.severity for one in item.differences), key=lambda one: one.rank)
    return ranked[0] if ranked else Severity.CRITICAL if item.not_comparable else Severity.INFO


def place(item: Difference) -> str:
    """Where guests differ."""
    if item.fact:
        return f"guest: {item.fact}"
    inside = item.pointer.removeprefix(_COMPOSE).strip("/").replace("/", ".")
    return inside or "manifest"


def _name(subject: str) -> str:
    return subject.rpartition("/")[2] or "unnamed"


def _many(subjects: tuple[str, ...]) -> str:
    others = len(subjects) - 1
    return _name(subjects[0]) + (f" and {others} more" if others else "")


def allowed(report: Report) -> tuple[str, ...]:
    """What is known of each manifest that the contract allows."""
    return tuple(f"{_allowed(item)}{_mark(report)}" for item in report.allowed)


def _allowed(item: AllowedManifest) -> str:
    known = [
        f"runs on {', '.join(map(_name, item.subjects))}" if item.subjects else "",
        f"known as {item.name}" if item.name else "",
        f"made by {item.deploy_path}" if item.deploy_path and item.deploy_path not in item.name
        else "",
    ]  # fmt: skip
    said = "; ".join(filter(None, known))
    if item.known:
        return f"{item.compose_hash}: {said or 'its text is known'}"
    return f"{item.compose_hash}: unknown text{f'; {said}' if said else ''}"
