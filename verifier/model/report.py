"""What an audit comes to: the report, its attesters, and what was asked for."""

from enum import StrEnum

from msgspec import Struct

from verifier.model.result import Anchor, CheckResult, Claim, Finding, Verdict
from verifier.model.timeline import Timeline


class ProvenParts(Struct, frozen=True, kw_only=True):
    """What an audit proved of what an attestation proof states; b"", "" and () for the rest.

    `registers` are MRTD, RTMR0-3 and MRCONFIGID by their names in tcb_info. `app_public_key` is the
    app's root key (compressed), `kms_signature` the KMS's over it, `kms_root_address` whose key
    that is.
    """

    quote: bytes = b""
    registers: tuple[tuple[str, bytes], ...] = ()
    app_id: str = ""
    app_public_key: bytes = b""
    kms_signature: bytes = b""
    kms_root_address: str = ""
    repository: str = ""
    commit: str = ""


class SubjectReport(Struct, frozen=True, kw_only=True):
    """The result for one attester: one guest, named by where its evidence came from."""

    name: str
    verdict: Verdict
    checks: tuple[CheckResult, ...]
    claims: tuple[Claim, ...]
    proven: ProvenParts = ProvenParts()


class SecondOpinion(Struct, frozen=True, kw_only=True):
    """How another reader of the recorded exchanges compares: how many calls and logs both read
    alike, and where they do not. `reader` is its name and version."""

    reader: str
    calls: int
    logs: int
    disagreements: tuple[str, ...]


class Beside(StrEnum):
    """How a statement of somebody else stands beside this audit."""

    PROVEN = "proven here too"
    RECOGNISED = "recognised here too"
    SAID = "only said"
    DIFFERS = "differs, of another day"
    CONTRADICTED = "contradicted"


class Compared(Struct, frozen=True):
    """One statement of theirs beside what this audit found; `ours` is "" where it found nothing."""

    topic: str
    theirs: str
    ours: str
    beside: Beside


class Comparison(Struct, frozen=True, kw_only=True):
    """What somebody else says of the app, statement by statement. It is their word, and decides
    nothing.

    `name` is who they are, `source` and `sha256` (hex) the document, `made_at` (Unix seconds) when
    it was made, None where it does not say. `shows` is what they come to, in words. `unseen` are
    questions that they do not ask, and this audit's answers. `note` says what is wrong with the
    comparison as a whole, such as that theirs is about another app: then nothing is compared.
    """

    name: str
    source: str
    sha256: str
    made_at: int | None
    shows: str
    rows: tuple[Compared, ...]
    unseen: tuple[tuple[str, str], ...]
    note: str


class Report(Struct, frozen=True, kw_only=True):
    """The attestation result of one audit.

    `subjects` holds every attester that was audited, worst verdict first; the report's verdict is
    that of the first. `timeline` is what the chain says of the app's past, None where that was not
    collected or belongs to no proven app. `anchor` is the trust anchor where it is not Intel's, and
    `root_note` says so in words. `second_opinion` is None where none was asked for.
    `collected_until` is when the last evidence came, as the bundle says, None where nothing did.
    `max_age_days` is for how many days the policy relies on such evidence, None where that is not
    known. `shown_at` is when an earlier report is shown again (Unix seconds), None for a new one.
    `comparisons` are what others say of the app, beside this; they decide nothing.
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
    max_age_days: int | None = None
    shown_at: int | None = None
    told_history: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


class Source(Struct, frozen=True, kw_only=True):
    """One thing that collection asked for: what, where, and what came back.

    `error` is empty when bytes were received; then `blob` is their sha256.
    """

    kind: str
    subject: str
    source: str
    blob: str | None
    error: str
