"""What an audit comes to: the report, its attesters, and what was asked for."""

from msgspec import Struct

from verifier.model.result import Anchor, CheckResult, Claim, Finding, Verdict
from verifier.model.timeline import Timeline


class SubjectReport(Struct, frozen=True, kw_only=True):
    """The result for one attester: one guest, named by where its evidence came from."""

    name: str
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    claims: tuple[Claim, ...]


class SecondOpinion(Struct, frozen=True, kw_only=True):
    """How another reader of the recorded exchanges compares: how many calls and logs both read
    alike, and where they do not. `reader` is its name and version."""

    reader: str
    calls: int
    logs: int
    disagreements: tuple[str, ...]


class Report(Struct, frozen=True, kw_only=True):
    """The attestation result of one audit.

    `subjects` holds every attester that was audited, worst verdict first; the report's verdict is
    that of the first. `timeline` is what the chain says of the app's past, None where that was not
    collected or belongs to no proven app. `anchor` is the trust anchor where it is not Intel's, and
    `root_note` says so in words. `second_opinion` is None where none was asked for.
    `collected_until` is when the last evidence came, as the bundle says, None where nothing did.
    `told_history` are the history's lines in a report that was read back, which has no `timeline`.
    Times are Unix seconds. Digests are lower-case hex sha256.
    """

    tool: str
    target: str
    requested_app_id: str | None
    verdict: Verdict
    accepted: bool
    evaluated_at: int
    time_note: str
    bundle_digest: str
    bundle_trusted: bool
    policy_name: str
    policy_digest: str
    reference_digest: str
    anchor: Anchor | None
    root_note: str
    subjects: tuple[SubjectReport, ...]
    sources: tuple["Source", ...]
    timeline: Timeline | None
    findings: tuple[Finding, ...]
    gaps: tuple[str, ...]
    second_opinion: SecondOpinion | None = None
    collected_until: int | None = None
    told_history: tuple[str, ...] = ()


class Source(Struct, frozen=True, kw_only=True):
    """One thing that collection asked for: what, where, and what came back.

    `error` is empty when bytes were received; then `blob` is their sha256.
    """

    kind: str
    subject: str
    source: str
    blob: str | None
    error: str
