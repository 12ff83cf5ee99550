"""What a site's own pages say of a report, and what changed from one report of an app to the next.

A change is computed from values: claims with what they are worth, and the outcomes of checks.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from verifier.model.report import Report
from verifier.model.result import VERDICT_ORDER, Verdict
from verifier.report.audit.answers import standing, value_words
from verifier.report.audit.badge import proven_manifest
from verifier.report.audit.families import mark
from verifier.report.audit.sentences import relied_until, weakest_link, worst_subject

_FACTS: Final = {
    "compose_hash": "Manifest",
    "images": "Images",
    "os_image": "OS image",
    "tcb_status": "TCB status",
    "tcb_advisories": "Advisories",
    "key_provider": "Key provider",
    "kms": "KMS",
    "kms_root": "Root key of the KMS",
    "kms_owner": "Owner of the KMS",
    "app_contract": "Contract of the app",
    "app_owner": "Owner of the app",
    "device_id": "Device",
    "endpoint_key": "Key of the endpoint",
    "mrtd": "MRTD",
    "rtmr0": "RTMR0",
    "rtmr1": "RTMR1",
    "rtmr2": "RTMR2",
}
"""Claims whose change is named, and what they are called, in this order. Of several instances, each
audit may meet another: what is one instance's own, such as RTMR3, is no change."""


class Entry(Struct, frozen=True, kw_only=True):
    """A report, as far as an index and a history need it.

    digest         sha256 of the report's JSON as it was given, hex
    app_id         the app that was asked for, hex; "" for none
    target         what the user named, with secrets masked
    tool           the auditor's name and version
    policy         the policy's name
    policy_digest  digest of the policy, hex
    verdict        the verdict
    accepted       whether the policy accepts it
    anchor         the trust anchor where it is not Intel's; "" for Intel's
    evaluated_at   the time of judgement, Unix seconds
    relied_until   until when the policy relies on it, Unix seconds
    manifest       the manifest that every guest is proven to run, hex; "" where none is
    weakest        id of the check that weighs most against the app; "" for none
    guests         how many guests were audited
    facts          claim → (its value in words, what it is worth), of the worst guest
    checks         check id → its outcome in a word, of the worst guest
    """

    digest: str
    app_id: str
    target: str
    tool: str
    policy: str
    policy_digest: str
    verdict: Verdict
    accepted: bool
    anchor: str
    evaluated_at: int
    relied_until: int
    manifest: str
    weakest: str
    guests: int
    facts: Mapping[str, tuple[str, str]]
    checks: Mapping[str, str]

    @property
    def order(self) -> tuple[int, int, str]:
        """By this, the last of an app's reports is the one that counts: the newest, of two of one
        moment the worse."""
        return self.evaluated_at, VERDICT_ORDER.index(self.verdict), self.digest

    @property
    def rest(self) -> int:
        """How bad it is: 0 for a verdict that the policy accepts."""
        return 0 if self.accepted else 1 + VERDICT_ORDER.index(self.verdict)


class Change(Struct, frozen=True):
    """What is another than before; "" for what was not there. `worse` where the app lost by it."""

    what: str
    before: str
    after: str
    worse: bool = False


def entry_of(digest: str, report: Report) -> Entry:
    """What a site needs of a report whose JSON has this sha256 (hex)."""
    subject, weakest = worst_subject(report), weakest_link(report)
    return Entry(
        digest=digest,
        app_id=report.requested_app_id or "",
        target=report.target,
        tool=report.tool,
        policy=report.policy_name,
        policy_digest=report.policy_digest,
        verdict=report.verdict,
        accepted=report.accepted,
        anchor=report.anchor.value if report.anchor else "",
        evaluated_at=report.evaluated_at,
        relied_until=relied_until(report),
        manifest=proven_manifest(report),
        weakest=weakest.id if weakest else "",
        guests=len(report.subjects),
        facts={
            claim.name: (value_words(claim.value), standing(claim, subject.checks).value)
            for claim in subject.claims
            if claim.name in _FACTS
        },
        checks={check.id: mark(check).value for check in subject.checks},
    )


def changes(before: Entry, after: Entry) -> tuple[Change, ...]:
    """What is another in a report than in the one before it, the gravest first."""
    return tuple(_changes(before, after))


def _changes(before: Entry, after: Entry) -> Iterator[Change]:
    if (before.verdict, before.accepted) != (after.verdict, after.accepted):
        yield Change("Verdict", _verdict(before), _verdict(after), after.rest > before.rest)
    if before.anchor != after.anchor:
        yield Change("Trust anchor", before.anchor or "Intel", after.anchor or "Intel", worse=True)
    if before.policy_digest != after.policy_digest:
        same = before.policy == after.policy
        yield Change("Policy", _policy(before, digest=same), _policy(after, digest=same))
    for name, title in _FACTS.items():
        old, new = before.facts.get(name), after.facts.get(name)
        if old != new:
            yield Change(title, _fact(old), _fact(new), worse=new is None)
    for check in dict.fromkeys((*before.checks, *after.checks)):
        was, now = before.checks.get(check, ""), after.checks.get(check, "")
        if was != now:
            yield Change(check, was, now, worse=now in {"FAIL", "error", "missing", "blocked"})
    if before.guests != after.guests:
        yield Change("Guests", str(before.guests), str(after.guests))
    if before.tool != after.tool:
        yield Change("Auditor", before.tool, after.tool)


def histories(entries: Iterable[Entry]) -> dict[str, tuple[Entry, ...]]:
    """The reports of each app, newest first, by app id; those about no named app under ""."""
    found: dict[str, list[Entry]] = {}
    for item in sorted(entries, key=lambda item: item.order, reverse=True):
        found.setdefault(item.app_id, []).append(item)
    return {app_id: tuple(items) for app_id, items in sorted(found.items())}


def _verdict(entry: Entry) -> str:
    return entry.verdict.value + ("" if entry.accepted else ", not accepted")


def _policy(entry: Entry, *, digest: bool) -> str:
    return f"{entry.policy} ({entry.policy_digest[:8]})" if digest else entry.policy


def _fact(fact: tuple[str, str] | None) -> str:
    return "" if fact is None else f"{fact[0]} ({fact[1].lower()})"
