"""What an audit comes to: the report, its attesters, and what was asked for."""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

from verifier.model.pending import Outlook, PendingOperation
from verifier.model.project import ProjectFile
from verifier.model.result import Anchor, CheckResult, Claim, Finding, Severity, Verdict
from verifier.model.timeline import Timeline


class ProvenParts(Struct, frozen=True, kw_only=True):
    """What an audit proved of what an attestation proof states.

    quote             the TD quote; b"" where it is not proven
    registers         (name in tcb_info, 48 bytes) of MRTD, RTMR0-3 and MRCONFIGID; () where not
                      proven
    app_id            hex; "" where it is not proven
    app_public_key    the app's root key, compressed, 33 bytes; b"" where it is not proven
    kms_signature     the KMS's signature over that key, 65 bytes; b"" where it is not proven
    kms_root_address  the Ethereum address of the key that signed; "" where it is not proven
    repository        URL of the source; "" where it is not proven
    commit            the commit of the source; "" where it is not proven
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


class QuoteOpinion(Struct, frozen=True, kw_only=True):
    """How another verifier of quotes compares: how many quotes both judge alike, and where they do
    not. `reader` is its name, with the version of what it rests on."""

    reader: str
    quotes: int
    disagreements: tuple[str, ...]


class SecondOpinion(Struct, frozen=True, kw_only=True):
    """How another reader of the recorded exchanges compares: how many calls and logs both read
    alike, and where they do not. `reader` is its name and version. `quote` is the same about
    quotes; None in a report of an auditor that asked no other verifier."""

    reader: str
    calls: int
    logs: int
    disagreements: tuple[str, ...]
    quote: QuoteOpinion | None = None


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
    """What somebody else says of the app, statement by statement.

    It is their word, and decides nothing.

    name     who they are
    source   where their document is from
    sha256   hash of their document, lower-case hex
    made_at  when it was made, Unix seconds; None where it does not say
    shows    what they come to, in words
    rows     each of their statements beside what this audit found; () where nothing is compared
    unseen   (question, this audit's answer) of what they do not ask; () where nothing is compared
    note     what is wrong with the comparison as a whole, such as that theirs is about another app;
             "" for nothing
    """

    name: str
    source: str
    sha256: str
    made_at: int | None
    shows: str
    rows: tuple[Compared, ...]
    unseen: tuple[tuple[str, str], ...]
    note: str


class Seen(Struct, frozen=True, kw_only=True):
    """How the instances of the app were looked for: the collector's own word.

    Nothing proves that an app has no other instance than those that were seen.

    requests  how often an address was asked that leads to any instance of the app
    answered  how many of these requests were answered
    met       the attester's name → how many of the answers were its own, by its own word
    named     the instance ids (hex) that the relying party named; with any, nobody else was looked
              for
    """

    requests: int = 0
    answered: int = 0
    met: Mapping[str, int] = {}
    named: tuple[str, ...] = ()


class Difference(Struct, frozen=True, kw_only=True):
    """One thing in which guests differ, as the comparison of manifests rates it.

    rule         the id of the rule that rates it
    severity     how much it matters
    pointer      RFC 6901 pointer into the manifest; "" for the whole, and for a `fact`
    service      the service that it is about; "" for none
    fact         the claim that differs outside of the manifests; "" for a difference between them
    meaning      what it means
    before       the value where most guests agree, as a short text; None where it is absent
    after        the value of the others; None where it is absent
    conditional  whether it holds only under a condition that is not known
    """

    rule: str
    severity: Severity
    pointer: str
    service: str
    fact: str
    meaning: str
    before: str | None
    after: str | None
    conditional: bool


class Divergence(Struct, frozen=True, kw_only=True):
    """Guests that do not run what most of the app's guests run.

    subjects        their names
    most            the names of those that they differ from
    differences     in what, worst first; () for nothing that matters
    same_release    whether docker_compose_file is equal to the byte, and nothing else differs by
                    more than a low severity
    platform_only   whether only fields differ that platforms write
    not_comparable  what could not be compared, and why; () for nothing
    """

    subjects: tuple[str, ...]
    most: tuple[str, ...]
    differences: tuple[Difference, ...]
    same_release: bool
    platform_only: bool
    not_comparable: tuple[str, ...]


class SharedKey(Struct, frozen=True, kw_only=True):
    """One signing key that several guests name as theirs.

    key             public key, hex
    kms_root        the Ethereum address of the KMS's root key under which all of them have it; ""
                    where it is not known, or not the same
    subjects        the names of the guests
    compose_hashes  the manifests (hex) that they run: what the key signs may come from any
    """

    key: str
    kms_root: str
    subjects: tuple[str, ...]
    compose_hashes: tuple[str, ...]


class AllowedManifest(Struct, frozen=True, kw_only=True):
    """One manifest that the app's contract allows now.

    compose_hash  hex
    known         whether its text is known: it is the relying party's, or a guest shows it
    name          the relying party's name for it; "" for none
    deploy_path   the tool that writes such a manifest; "" where the text is not known, or no known
                  tool writes it
    subjects      the names of the guests that run it, as they measure it
    """

    compose_hash: str
    known: bool
    name: str
    deploy_path: str
    subjects: tuple[str, ...]


class Report(Struct, frozen=True, kw_only=True):
    """The attestation result of one audit.

    The verdict of the report is that of its first attester. Digests are sha256 in lower-case hex.

    tool              the auditor's name and version
    target            what was audited, as the user named it
    requested_app_id  the app id that the relying party asked for (hex); None if it named none
    verdict           the worst verdict of all attesters
    accepted          whether the policy accepts this verdict
    evaluated_at      the time as of which the evidence was judged, Unix seconds
    time_note         this time, and when the evidence was collected, as a sentence; "" without
                      evidence
    bundle_digest     digest of the evidence
    bundle_trusted    whether the collector's own observations count
    policy_name       the policy's name
    policy_digest     digest of the policy
    reference_digest  digest of the reference values
    anchor            the trust anchor where it is not Intel's; None for Intel's
    root_note         what that other trust anchor means, in words; "" for Intel's
    subjects          every attester that was audited, worst verdict first
    sources           what collection asked for, one row per artifact
    timeline          what the chain says of the past of the app: one for all its guests, and none
                      of another app's; None where it was not collected or belongs to no proven app
    findings          what is wrong with the manifest of the first attester, worst first; () also
                      where the manifest could not be judged, which its check says
    gaps              what this version cannot check, one sentence each
    second_opinion    how another reader of the chain's answers, and another verifier of quotes,
                      compare; None where none was asked for
    collected_until   when the last evidence came by the bundle's own word, Unix seconds; None
                      without evidence
    max_age_days      for how many days the policy relies on such evidence; None where it is not
                      known
    shown_at          when an earlier report is shown again, Unix seconds; None for a new one
    told_history      the history's lines of a report that was read back, which has no `timeline`;
                      () for any other
    pending           what is about to change for the first attester's app; None where nobody looked
    outlook           how that is known, of each account that decides; () where nobody looked
    comparisons       what others say of the app, beside this, which decides nothing; () for nothing
    seen              how the app's instances were looked for; None where nobody looked
    divergences       the guests that do not run what most do, worst first; () for none
    shared_keys       the signing keys that several guests name; () for none
    allowed           the manifests that the app's contract allows now; () for none, or not known
    project           the project file that chose options of it; None where none did
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
    pending: tuple[PendingOperation, ...] | None = None
    outlook: tuple[Outlook, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    seen: Seen | None = None
    divergences: tuple[Divergence, ...] = ()
    shared_keys: tuple[SharedKey, ...] = ()
    allowed: tuple[AllowedManifest, ...] = ()
    project: ProjectFile | None = None


class Source(Struct, frozen=True, kw_only=True):
    """One thing that collection asked for: what, where, and what came back.

    `error` is empty when bytes were received; then `blob` is their sha256.
    """

    kind: str
    subject: str
    source: str
    blob: str | None
    error: str
