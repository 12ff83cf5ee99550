"""The pure half of an audit: a bundle, a question and a policy give a report.

evidence → checks → appraisal → report. No network, no clock and no global state, so that the same
bundle, question and policy give the same report, byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks.application.proof import proven_parts
from verifier.checks.authorization.history import proven_timeline
from verifier.checks.case import Case, Question, opinion_on
from verifier.checks.catalogue import CHECKS, GAPS, PLANNED, UNNAMED_ENDPOINT
from verifier.checks.claims import make_claims
from verifier.checks.demands import MANIFEST_RULES
from verifier.checks.engine import run_checks
from verifier.checks.instances import (
    Audited,
    allowed_manifests,
    divergences,
    knowing,
    meant,
    seen,
    shared_keys,
)
from verifier.checks.manifest.rules import judge_manifest, judged_at
from verifier.errors import (
    Blocked,
    EvidenceError,
    MissingEvidence,
    PolicyError,
    VerifierError,
    did_you_mean,
)
from verifier.evidence.bundle import Bundle, Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.platforms.envelope import Platform
from verifier.evidence.subject import SubjectEvidence, read_subject
from verifier.evidence.td.attestation import GCP_TDX
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.unanswered import unreachable_hint
from verifier.model.identifiers import format_time
from verifier.model.report import Report, SecondOpinion, Source, SubjectReport
from verifier.model.result import VERDICT_ORDER, Anchor, Basis, CheckResult, Finding, SkipKind
from verifier.policy.appraisal import appraise
from verifier.policy.policy import Policy
from verifier.report.masking import masked_report
from verifier.version import DISTRIBUTION, tool_version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verifier.model.report import Comparison
    from verifier.model.timeline import Sighting, Timeline
    from verifier.reference.values import ReferenceValues

_ROOT_CHECK: Final = "hardware.quote"
_UNCOVERED: Final = {
    Platform.SEV_SNP: "The guest on AMD SEV-SNP beyond its report: whether its image is a released "
    "one, its event log, and what it runs.",
    Platform.NITRO_ENCLAVE: "The AWS Nitro enclave: its document was recognised, and not judged.",
    Platform.NITRO_TPM: "The guest on AWS EC2 NitroTPM: its document was recognised, and not "
    "judged; there, Amazon's hypervisor is trusted, not hardware alone.",
}


def audit_bundle(bundle: Bundle, target: str, question: Question, policy: Policy) -> Report:
    """Audit a bundle: every attester in it, worst verdict first. The report masks the secrets
    that the evidence holds."""
    exchanges = Exchanges(bundle)
    evidence = [read_subject(bundle, name) for name in meant(bundle, question)]
    asked, question = question, knowing(question, evidence, exchanges)
    audited = [audit_subject(item, question, exchanges, policy) for item in evidence]
    audited.sort(key=lambda item: (-VERDICT_ORDER.index(item[0].verdict), item[0].name))
    subjects = [subject for subject, _ in audited]
    verdict = subjects[0].verdict
    timeline = _timeline(audited, question)
    report = Report(
        tool=f"{DISTRIBUTION} {tool_version()}",
        target=target,
        requested_app_id=question.app_id,
        verdict=verdict,
        accepted=verdict in policy.accept,
        evaluated_at=question.at,
        time_note=_time_note(bundle, question),
        bundle_digest=bundle.digest,
        bundle_trusted=question.trusted,
        policy_name=policy.name,
        policy_digest=policy.digest,
        reference_digest=question.reference.digest,
        anchor=question.reference.anchor,
        root_note=question.reference.unsafe,
        subjects=tuple(subjects),
        sources=tuple(
            Source(
                kind=item.kind.value,
                subject=item.subject,
                source=item.source,
                blob=item.sha256,
                error=item.error,
            )
            for item in bundle.artifacts
        ),
        timeline=timeline,
        pending=None if timeline is None else timeline.pending,
        outlook=() if timeline is None else timeline.outlook,
        findings=_findings(*audited[0]),
        gaps=(
            *GAPS,
            *(() if question.endpoint is not None else (UNNAMED_ENDPOINT,)),
            *_undecided(policy),
            *_other_platforms(evidence),
        ),
        second_opinion=_second_opinion(bundle, question, exchanges),
        max_age_days=policy.demands.max_collateral_age,
        collected_until=max((item.collected_at for item in bundle.artifacts), default=None),
        seen=seen(bundle, question),
        divergences=divergences(audited),
        shared_keys=shared_keys(audited),
        allowed=allowed_manifests(timeline, asked, audited),
        project=question.project,
    )
    report = replace(report, comparisons=tuple(_comparisons(report, bundle, question)))
    return masked_report(report)


def _second_opinion(
    bundle: Bundle, question: Question, exchanges: Exchanges
) -> SecondOpinion | None:
    """The second opinion on the exchanges, and on the quotes that the audit judged."""
    opinion = opinion_on(bundle, question, exchanges)
    if opinion is None:
        return None
    from verifier.checks.agreement import quote_opinion  # noqa: PLC0415 - few ask for one

    return replace(opinion, quote=quote_opinion(exchanges))


def _comparisons(report: Report, bundle: Bundle, question: Question) -> "Iterator[Comparison]":
    """What dashboards say of the app, beside the report, which is made without them."""
    collected = [item for item in bundle.artifacts if item.kind is Kind.DASHBOARD]
    given = [(item.source, bundle.blob(item)) for item in collected if item.sha256]
    if not given and not question.compared:
        return
    from verifier.report.audit import beside  # noqa: PLC0415 - few audits have one

    for source, raw in (*given, *question.compared):
        try:
            yield beside.compare_with_dashboard(report, raw, source)
        except EvidenceError as error:
            yield beside.unreadable(raw, source, error)


def app_timeline(bundle: Bundle, question: Question, on: int | None = None) -> "Timeline":
    """Who could run what, when: the history of the app's contracts, crossed with what its first
    attester runs; as things stood `on` an earlier time (Unix seconds), if one is given.

    Raises MissingEvidence where a contract's logs are not in the evidence, no contract decides, or
    the evidence proves no app; EvidenceError where it proves another one, or endpoints contradict
    each other.
    """
    exchanges = Exchanges(bundle)
    problem: VerifierError | None = None
    quoted = False
    for name in meant(bundle, question):
        case = Case(read_subject(bundle, name), question, exchanges)
        quoted = quoted or bool(case.evidence.quotes)
        try:
            found = proven_timeline(case, on)
        except (MissingEvidence, EvidenceError) as error:
            problem = problem or error
            continue
        if found is not None:
            return found
    if not question.kms and not quoted:
        raise MissingEvidence(
            problem.message if problem else "nothing was collected",
            hint=f"{unreachable_hint(bundle)}; for the history of its contracts alone, name the "
            "app's KMS with --kms CHAIN:ADDRESS",
        )
    raise problem or MissingEvidence(
        "no contract decides what this app may run, so there is no public history",
        hint="its keys come from a KMS without a contract, from its own machine, or from none: "
        "`verify` says which",
    )


def measured_manifests(bundle: Bundle, reference: "ReferenceValues") -> "tuple[Sighting, ...]":
    """The manifest hashes that verified quotes in a bundle measured, as of its own collection."""
    from verifier.model.timeline import Sighting  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415 - only for earlier bundles

    at = max((item.collected_at for item in bundle.artifacts), default=0)
    question = Question(app_id=None, reference=reference, at=at, trusted=False)
    exchanges, policy = Exchanges(bundle), load_policy("genuine")
    found: list[Sighting] = []
    for name in bundle.subjects:
        report, _ = audit_subject(read_subject(bundle, name), question, exchanges, policy)
        found.extend(
            Sighting(compose_hash=str(claim.value), first=at, last=at)
            for claim in report.claims
            if claim.name == "compose_hash" and claim.basis in (Basis.MEASURED, Basis.HARDWARE)
        )
    return tuple(found)


class Recorded(Struct, frozen=True):
    """What the evidence about one attester says that it is about; nothing is proven.

    `app_id` is "" where nothing names one. `window` is when the collateral for its quote is in
    force (first and last Unix second), None without a quote or collateral. `gpu_nonces` (hex) are
    what its GPUs answered, `boots` of how many guests, or boots of one, the quotes are: more than
    one contradict each other.
    """

    app_id: str
    window: tuple[int, int] | None
    gpu_nonces: tuple[str, ...] = ()
    boots: int = 1


def recorded(bundle: Bundle, reference: "ReferenceValues", at: int) -> tuple[Recorded, ...]:
    """What each attester in a bundle is said to be, so that somebody can ask for it; `at` (Unix
    seconds) chooses among several sets of collateral."""
    from verifier.policy.policy import load_policy  # noqa: PLC0415 - only after an import

    question = Question(app_id=None, reference=reference, at=at, trusted=False)
    exchanges, policy = Exchanges(bundle), load_policy("genuine")
    found: dict[Recorded, None] = {}
    for name in bundle.subjects:
        report, case = audit_subject(read_subject(bundle, name), question, exchanges, policy)
        named = (str(claim.value) for claim in report.claims if claim.name == "app_id")
        nonces = {gpu.report.nonce for item in case.evidence.gpus for gpu in item.value.gpus}
        answered = tuple(sorted(nonce.hex() for nonce in nonces))
        found[Recorded(next(named, ""), _window(case), answered, _boots(case))] = None
    return tuple(found)


def _boots(case: Case) -> int:
    """How many guests, or boots of one, the quotes of an attester are of."""
    states = set()
    for item in case.evidence.quotes:
        with suppress(EvidenceError):
            quote = parse_quote(item.quote, item.channel)
            states.add((quote.td_state, quote.user_data))
    return max(len(states), 1)


def _window(case: Case) -> tuple[int, int] | None:
    with suppress(VerifierError):
        chosen = case.collateral
        start, end = chosen.window
        return (start, end) if not chosen.failure and 0 < start <= end else None
    return None


def audit_subject(
    evidence: SubjectEvidence, question: Question, exchanges: Exchanges, policy: Policy
) -> tuple[SubjectReport, Case]:
    """Run every check on one attester's evidence, with what the policy demands, and appraise the
    results under it."""
    case = Case(evidence, question, exchanges, known(policy).demands)
    results = _results(case)
    claims = make_claims(case, {item.id: item for item in results})
    by_name = {item.name: item for item in claims}
    # Who asks a challenge demands the answer: keeping it back must not be worth more than a lie.
    asked = policy.requiring("application.binding") if question.challenge else policy
    verdict, judged = appraise(results, by_name, asked, judged_at(case))
    report = SubjectReport(
        name=evidence.name,
        verdict=verdict,
        checks=judged,
        claims=claims,
        proven=proven_parts(case, {item.id: item for item in results}),
    )
    return report, case


def check_bundle(bundle: Bundle, question: Question) -> tuple[tuple[CheckResult, ...], ...]:
    """The results of every check, without a policy, for each attester that the question is about;
    demanded is what a policy that says nothing demands."""
    exchanges = Exchanges(bundle)
    names = meant(bundle, question)
    cases = (Case(read_subject(bundle, name), question, exchanges) for name in names)
    return tuple(_results(case) for case in cases)


def _results(case: Case) -> tuple[CheckResult, ...]:
    """The result of every check; those that depend on another trust anchor than Intel's name it."""
    results, anchor = run_checks(CHECKS, case), case.reference.anchor
    if anchor is None:
        return results
    return tuple(_anchored(item, results, anchor) for item in results)


def known(policy: Policy) -> Policy:
    """The policy itself, if it names only checks that exist, or that it may ask for already.

    Raises PolicyError otherwise: a misspelt id would ask for nothing, and waive nothing.
    """
    ids = {spec.id for spec in CHECKS}
    waived = {item.check for item in policy.demands.waivers}
    unknown = (set(policy.checks) - {*ids, *PLANNED}) | (waived - ids)
    if unknown:
        raise PolicyError(
            f"policy {policy.name}: there is no check {min(unknown)!a}",
            hint=did_you_mean(min(unknown), ids, "`verify checks` lists them all"),
        )
    return policy


def _findings(subject: SubjectReport, case: Case) -> tuple[Finding, ...]:
    """The findings behind this attester's manifest.rules, also where other rules are undecided."""
    result = next(item for item in subject.checks if item.id == MANIFEST_RULES)
    if result.skip_kind in (SkipKind.BLOCKED, SkipKind.NOT_APPLICABLE):
        return ()
    try:
        return judge_manifest(case).findings
    except Exception:  # noqa: BLE001 - the check says what is wrong
        return ()


def _timeline(audited: Sequence[Audited], question: Question) -> "Timeline | None":
    """The app's history, by the first guest that proves to be of it, where its contracts' logs are
    in the evidence. Without an app that was asked for, it is that of the worst guest's."""
    for _, case in audited if question.app_id is not None else audited[:1]:
        with suppress(MissingEvidence, Blocked, EvidenceError):
            found = proven_timeline(case) if case.evidence.quotes else None
            if found is not None:
                return found
    return None


def _undecided(policy: Policy) -> tuple[str, ...]:
    """What the policy asks of checks that this version does not have."""
    ids = (spec.id for spec in CHECKS)
    return tuple(
        f"Policy {policy.name} asks for {check_id}: no check of this version decides it, and it "
        "counts as missing."
        for check_id in policy.undecided(ids)
    )


def _other_platforms(evidence: Iterable[SubjectEvidence]) -> tuple[str, ...]:
    """What is not covered of guests on other platforms than plain TDX."""
    found: dict[str, None] = {}
    for subject in evidence:
        if any(source.platform == GCP_TDX for source in subject.quotes):
            found[
                "The virtual TPM of a TD on Google Cloud: neither its quote nor what it measured "
                "was judged."
            ] = None
        for item in subject.platforms:
            found[_UNCOVERED[item.value.platform]] = None
    return tuple(found)


def _anchored(result: CheckResult, results: tuple[CheckResult, ...], anchor: Anchor) -> CheckResult:
    """The result with the trust anchor, where it depends on it."""
    by_id = {item.id: item for item in results}
    if _on_the_root(result.id, by_id) or result.id.startswith("hardware."):
        return replace(result, anchor=anchor)
    return result


def _on_the_root(check_id: str, by_id: Mapping[str, CheckResult]) -> bool:
    return check_id == _ROOT_CHECK or any(
        _on_the_root(other, by_id) for other in by_id[check_id].requires if other in by_id
    )


def _time_note(bundle: Bundle, question: Question) -> str:
    times = [item.collected_at for item in bundle.artifacts]
    if not times:
        return ""
    first, last = format_time(min(times)), format_time(max(times))
    collected = f"at {first}" if first == last else f"from {first} to {last}"
    said = "evidence collected" if question.trusted else "the bundle says that it was collected"
    return f"Judged as of {format_time(question.at)}; {said} {collected}."
