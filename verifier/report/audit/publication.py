"""What goes with a release: the chain of trust as a table, a checklist, and a summary to quote.

Each line is a check that was made, in other words; none says more than its check found. What
attestation cannot show stands among them, for readers who see nothing else.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from verifier.model.identifiers import format_time
from verifier.model.report import Report, SubjectReport
from verifier.model.result import CheckResult, Requirement, Verdict
from verifier.report.audit import sentences
from verifier.report.audit.badge import proven_manifest
from verifier.report.audit.families import Mark, mark
from verifier.report.escape import visible

TWEET: Final = 280
"""Characters that fit into one message."""
_DIGITS: Final = 8


class Link(Struct, frozen=True):
    """One link of the chain of trust: what is claimed, how it was verified, and what was found.
    `digests` are the sha256 of the evidence (hex)."""

    claim: str
    verified: str
    found: str
    digests: tuple[str, ...]


class Point(Struct, frozen=True):
    """One point of the release checklist; `done` is None where nobody outside can tell."""

    text: str
    done: bool | None
    found: str


_LINKS: Final = (
    ("Source commit → image", "provenance.images", "signature of the build, by Sigstore"),
    ("Manifest → the app that runs", "application.manifest", "hash in a register of the CPU"),
    ("App id → this app", "application.identity", "measured, and bound by its KMS or its hash"),
    ("Event log → register", "runtime.replay", "every event replayed"),
    ("Known OS image → registers", "boot.image", "equal to reference values"),
    ("Quote → Intel", "hardware.quote", "signature up to Intel's root"),
    ("App keys → one KMS", "key_management.root", "signature chain to the KMS's root key"),
    ("Upgrades → a public contract", "authorization.allowed", "contract state, finalized"),
    ("All upgrades are in its log", "authorization.history", "events held against storage"),
)
_CODE: Final = Link(
    "What the code does", "a review of its source", "not verified: no attestation tells", ()
)
_POINTS: Final = (
    ("Every image is pinned, and tied to a commit by who built it", "provenance.images"),
    ("The manifest has no finding that the policy minds", "manifest.rules"),
    ("A quote of the running release was taken, and is genuine", "hardware.quote"),
    ("The release's manifest is what runs", "application.manifest"),
    ("It runs on a known production OS", "boot.image"),
    ("Its keys come from one KMS that is known", "key_management.root"),
    ("The upgrade is in a public log", "authorization.allowed"),
    ("That log is complete", "authorization.history"),
    ("Who can upgrade, and with what notice, satisfies the policy", "authorization.governance"),
)
_BY_HAND: Final = (
    "No secret is baked into an image",
    "The source of the release is public, and somebody has reviewed it",
    "This report and its evidence are published with the announcement",
)


def links(subject: SubjectReport) -> tuple[Link, ...]:
    """The chain of trust, from the source to the hardware and to who may change it."""
    return (*_links(subject), _CODE)


def _links(subject: SubjectReport) -> Iterator[Link]:
    for claim, check_id, how in _LINKS:
        check = _check(subject, check_id)
        if check is None:
            yield Link(claim, "not verified", "no such check was made", ())
            continue
        digests = tuple(dict.fromkeys(ref.blob for ref in check.evidence))
        yield Link(claim, _verified(check, how), f"{check.summary}{_note(check)}", digests)


def _verified(check: CheckResult, how: str) -> str:
    """How it was verified, or that it was not."""
    return {
        Mark.PASS: how,
        Mark.WARN: f"{how}; with a reservation",
        Mark.FAIL: "CONTRADICTED",
        Mark.NOT_APPLICABLE: "does not apply",
    }.get(mark(check), "not verified")


def checklist(report: Report, subject: SubjectReport) -> tuple[Point, ...]:
    """The release checklist: what the audit shows to be done, what not, and what to do by hand."""
    found = [
        Point(
            "The evidence is kept, and its digest known", bool(report.sources), report.bundle_digest
        )
    ]
    for text, check_id in _POINTS:
        check = _check(subject, check_id)
        if check is None or mark(check) is Mark.NOT_APPLICABLE:
            why = check.reason or check.summary if check is not None else "no such check was made"
            found.append(Point(text, None, why))
        else:
            done = mark(check) is Mark.PASS
            found.append(Point(text, done, f"{mark(check).value}: {check.summary}{_note(check)}"))
    found += [Point(text, None, "for whoever releases it to say") for text in _BY_HAND]
    return tuple(found)


def tweet(report: Report) -> str:
    """The result in one message of at most 280 characters, true where it is read alone."""
    anchor = f" [{report.anchor.value.upper()}, no real hardware]" if report.anchor else ""
    manifest = proven_manifest(report)
    asked = report.requested_app_id or ""
    app = f"dstack app {asked[:_DIGITS] or 'that nobody named'}"
    said = f"{app} runs manifest {manifest[:_DIGITS]}" if manifest else f"{app}: no manifest proven"
    said = f"{said}. It says which code runs, not what that code does"
    if report.verdict not in (Verdict.AFFIRMING, Verdict.WARNING):
        said = f"{app}: {sentences.HEADLINES[report.verdict]}"
    day = format_time(report.evaluated_at).partition("T")[0]
    accepted = "accepted" if report.accepted else "NOT accepted"
    policy = report.policy_name if len(report.policy_name) <= _DIGITS * 3 else "of its own"
    line = (
        f"{report.verdict.value.upper()}{anchor}, {accepted} by policy {policy} on {day}: "
        f"{said}. "
        f"Check it: verify {asked or 'APP_ID'}"
    )
    return visible(line)[:TWEET]


def render_summary(report: Report) -> str:
    """A message to quote, plain words for users, the chain of trust for auditors; safe to print."""
    subject = sentences.worst_subject(report)
    lines = [tweet(report), "", "For users", f"  {sentences.verdict_sentence(report)}"]
    marks = (sentences.retold(report), sentences.outdated(report))
    told = (*marks, sentences.plain_meaning(report), report.root_note)
    lines += [f"  {text}" for text in told if text]
    lines += [f"  Who can change it: {text}" for text in [sentences.change_of_app(report)] if text]
    lines += ["  Not shown by any attestation: that the code is honest or free of flaws.", ""]
    lines += ["For auditors"]
    lines += [f"  {item.claim}: {item.verified}: {item.found}" for item in links(subject)]
    lines += [f"  {sentences.verdict_line(report)}", f"  {sentences.repeat_command(report)}"]
    return "\n".join(map(visible, lines)) + "\n"


def _check(subject: SubjectReport, check_id: str) -> CheckResult | None:
    return next((check for check in subject.checks if check.id == check_id), None)


def _note(check: CheckResult) -> str:
    """Its anchor, and that the policy does not ask for it."""
    asked = "" if check.requirement is not Requirement.NOT_ASKED else " (not asked)"
    return f"{sentences.anchor_note(check)}{asked}"
