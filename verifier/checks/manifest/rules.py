"""What the measured manifest lets the operator do: the findings of all rules, as the relying
party counts them, on the very bytes whose sha256 is the measured compose hash."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.checks.case import Case
from verifier.checks.demands import IMAGE_RULE, MANIFEST_RULES, Demands, waiver_for
from verifier.checks.engine import Outcome, check, failed, malformed, missing, passed, warned
from verifier.checks.manifest.context import context_of
from verifier.checks.provenance.script_images import images_of_script
from verifier.errors import EvidenceError
from verifier.manifest.audit import ManifestAudit, NotEvaluable, audit_manifest
from verifier.manifest.context import Context
from verifier.manifest.image import Image, Kind, image_of, other_images
from verifier.manifest.model import Manifest, Service
from verifier.manifest.read import read_manifest
from verifier.manifest.rules.catalogue import TEXTS
from verifier.manifest.rules.pls import custom_scripts
from verifier.manifest.rules.shell import excerpt
from verifier.model.result import SEVERITIES, EvidenceRef, Finding, JsonValue, Location, Severity

_COUNTED: Final = (Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM)
_LITERAL: Final = (Kind.DIGEST, Kind.TAG, Kind.ROLLING, Kind.UNTAGGED)
_UNREAD: Final = "have the app deploy a compose file that can be read in one way only"
_UNDECIDED: Final = "collect what these rules need, with the page, the contracts and their history"


class Judged(Struct, frozen=True):
    """The findings about a manifest as the relying party rates them, worst first; `counted` are
    those that no waiver takes out. `open` are the rules of medium severity or worse that could not
    be evaluated, and that no waiver takes out."""

    audit: ManifestAudit
    findings: tuple[Finding, ...]
    counted: tuple[Finding, ...]
    open: tuple[NotEvaluable, ...]


def judged_at(case: Case) -> int:
    """When waivers are judged: the later of the time of judgement and that of collection."""
    return max(case.question.at, case.evidence.bundle.collected_until)


def judge_manifest(case: Case) -> Judged:
    """Every finding about the measured manifest.

    Raises MissingEvidence without it, EvidenceError when it is no app-compose manifest.
    """
    return case.once("manifest findings", lambda: _judge(case))


def _judge(case: Case) -> Judged:
    raw, context, demands = case.measured_manifest.value, context_of(case), case.demands
    audit = _audited(case, raw, context)
    found = [_override(item, demands) for item in audit.findings]
    found += _foreign_images(raw, context, demands)
    found.sort(key=lambda item: Severity(item.severity).rank)
    app_id, now = case.identity.app_id.hex(), judged_at(case)
    findings, counted = [], []
    for item in found:
        waiver = waiver_for(demands.waivers, MANIFEST_RULES, app_id, now, item.rule)
        said = replace(item, message=f"{item.message} [{waiver.words(now)}]") if waiver else item
        findings.append(said)
        if waiver is None or not waiver.holds(now):
            counted.append(said)
    undecided = []
    for row in audit.not_evaluable:
        waiver = waiver_for(demands.waivers, MANIFEST_RULES, app_id, now, row.rule)
        severity = demands.rules.get(row.rule, TEXTS[row.rule].severity)
        if severity in _COUNTED and not (waiver and waiver.holds(now)):
            undecided.append(row)
    return Judged(audit, tuple(findings), tuple(counted), tuple(undecided))


def _audited(case: Case, raw: bytes, context: Context) -> ManifestAudit:
    """What the rules find in a manifest, once for all guests about which the same is known."""
    known: list[tuple[Context, ManifestAudit]] = case.exchanges.once((_audited, raw), list)
    found = next((audit for other, audit in known if other == context), None)
    if found is None:
        found = audit_manifest(raw, context, case.evidence.bundle.readings)
        known.append((context, found))
    return found


@check(
    MANIFEST_RULES,
    "The measured manifest has no finding of medium severity or worse",
    requires=("application.manifest",),
)
def rules(case: Case) -> Outcome:
    """Every rule of the catalogue is judged on the very bytes that were measured. A critical
    finding fails: somebody gets code, a shell or the keys while the compose hash stays. A high or
    medium one is a warning, and so is a critical one that only holds if something that is not known
    is so. Nothing inside of the manifest can silence a rule; a policy can rate a rule otherwise,
    waive it for a time, and say whose images may run. A compose file that cannot be read as Docker
    reads it is an error: what it lets the operator do is not known. Rules that need evidence which
    was not collected are listed as not evaluable; where none fails, and one of them is of medium
    severity or worse, evidence is missing."""
    judged = judge_manifest(case)
    problem = judged.audit.compose_problem
    details = _details(case, judged)
    worst = next((item for item in judged.counted if _fails(item)), None)
    if worst is not None:
        return failed(_summary(judged), reason=_words(worst), **details)
    if problem:
        reason = "what the compose file lets the operator do is not known"
        details |= {"reason": reason, "remediation": _UNREAD}
        return malformed(f"not evaluable: {problem}", **details)
    counted = [item for item in judged.counted if Severity(item.severity) in _COUNTED]
    if judged.open:
        unsaid = "; ".join(f"{item.rule} {item.reason}" for item in judged.open)
        reason = "; ".join([*map(_words, counted[:1]), f"not evaluable: {unsaid}"])
        details |= {"reason": reason, "remediation": _UNDECIDED}
        names = ", ".join(item.rule for item in judged.open)
        several = f"{len(judged.open)} rules" if len(judged.open) > 1 else "1 rule"
        undecided = f"{several} of medium severity or worse could not be judged ({names})"
        return missing(f"{undecided}; of the others: {_summary(judged)}", **details)
    if counted:
        return warned(_summary(judged), reason=_words(counted[0]), **details)
    return passed(_summary(judged), **{**details, "remediation": ""})


def _fails(finding: Finding) -> bool:
    return finding.severity == Severity.CRITICAL and not finding.conditional


def _details(case: Case, judged: Judged) -> dict[str, JsonValue | tuple[EvidenceRef, ...]]:
    by_severity = Counter(item.severity for item in judged.counted)
    actual: JsonValue = {
        "findings": {item.value: by_severity[item] for item in SEVERITIES},
        "waived": len(judged.findings) - len(judged.counted),
        "not_evaluable": [f"{item.rule} {item.reason}" for item in judged.audit.not_evaluable],
        "not_evaluable_rules": [item.rule for item in judged.audit.not_evaluable],
    }
    evidence = (case.measured_manifest.artifact.ref,)
    return {"actual": actual, "evidence": evidence, "remediation": _remediation(judged)}


def _remediation(judged: Judged) -> str:
    """What mends the worst finding, by its own rule."""
    worst = next((item for item in judged.counted if item.severity in _COUNTED), None)
    return f"{worst.rule}: {worst.fix}" if worst is not None else ""


def _summary(judged: Judged) -> str:
    counts = Counter(item.severity for item in judged.counted)
    found = ", ".join(f"{counts[item]} {item}" for item in SEVERITIES if counts[item])
    waived = len(judged.findings) - len(judged.counted)
    absent = len(judged.audit.not_evaluable)
    rest = [f"{waived} waived"] if waived else []
    rest += [f"{absent} rules not evaluable"] if absent else []
    return "; ".join([f"findings: {found or 'none'}", *rest])


def _words(finding: Finding) -> str:
    where = f" ({finding.service})" if finding.service else ""
    sure = " (conditional)" if finding.conditional else ""
    return f"{finding.rule}{where}: {finding.title}{sure}: {finding.message}"


def _override(finding: Finding, demands: Demands) -> Finding:
    severity = demands.rules.get(finding.rule)
    return replace(finding, severity=severity.value) if severity else finding


def _foreign_images(raw: bytes, context: Context, demands: Demands) -> Iterator[Finding]:
    """The services whose image is not from where the policy allows, or might not be.

    What names no image, builds one, or takes its name from a variable might be anything; and so
    might the services of an included file. What a script starts counts like a service.
    """
    if not (demands.registries or demands.repositories):
        return
    manifest = read_manifest(raw, context)
    if manifest.app is None or manifest.error is not None:
        return  # the check says that it cannot be read
    for service in manifest.services:
        reference = _allowed_or_why(manifest, service, demands)
        if reference:
            place = (service.image or service).place
            location = Location(pointer=place.pointer, line=place.line, column=place.column)
            yield _foreign(service.name, location, reference)
    for item in other_images(manifest):
        reason = _elsewhere_or_any(item.image, demands)
        if reason:
            place = item.text.place
            yield _foreign(item.service, place, f"{item.role}: {reason}")
    yield from _foreign_of_scripts(manifest, demands)
    for text in manifest.includes:
        location = Location(
            pointer=text.place.pointer, line=text.place.line, column=text.place.column
        )
        yield _foreign("", location, f"the file {text.text} may name any image")


def _foreign_of_scripts(manifest: Manifest, demands: Demands) -> Iterator[Finding]:
    """The images that scripts get or start, as far as those of services are judged."""
    for pointer, script in custom_scripts(manifest):
        for image in images_of_script(script):
            reason = _elsewhere(image.reference, demands) if image.reference else "it can be any"
            if "$" in image.reference:
                reason = f"the image {image.reference} can be anything"
            if reason:
                message = f"`{excerpt(image.command)}` of a script: {reason}"
                yield _foreign("", Location(pointer=pointer), message)


def _allowed_or_why(manifest: Manifest, service: Service, demands: Demands) -> str:
    """Why a service's image is not known to be allowed; "" when it is."""
    image = image_of(manifest, service)
    if service.builds:
        return "it is built on the guest"
    if service.says("provider", "type"):
        return "it is made by a program of the guest"
    return _elsewhere_or_any(image, demands)


def _elsewhere_or_any(image: Image, demands: Demands) -> str:
    if image.kind not in _LITERAL:
        return f"the image {image.reference or 'of another file'} can be anything"
    return _elsewhere(image.reference, demands)


def _elsewhere(text: str, demands: Demands) -> str:
    """Why an image is not from where the policy allows; "" when it is."""
    from verifier.evidence.images.oci import parse_reference  # noqa: PLC0415 - only under such a policy

    try:
        reference = parse_reference(text)
    except EvidenceError as error:
        return error.message
    name = f"{reference.registry}/{reference.repository}"
    if reference.registry in demands.registries or name in demands.repositories:
        return ""
    below = (item.removesuffix("*") for item in demands.repositories if item.endswith("/*"))
    return "" if any(name.startswith(item) for item in below) else f"it comes from {name}"


def _foreign(service: str, location: Location, message: str) -> Finding:
    return Finding(
        rule=IMAGE_RULE,
        severity=Severity.CRITICAL.value,
        title="The policy does not allow this image",
        service=service,
        location=location,
        message=message,
        fix="use an image from where the policy allows, or allow it",
        conditional=False,
    )


CHECKS: Final = (rules,)
