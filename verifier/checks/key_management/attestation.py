"""key provider → the TD that the KMS runs in: its hardware, its OS, its code, and who allows it."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from msgspec.structs import replace

from verifier.checks.application.identity import manifest as given_manifest
from verifier.checks.case import Case
from verifier.checks.demands import waiver_for
from verifier.checks.engine import (
    USABLE,
    CheckSpec,
    Outcome,
    badness,
    check,
    failed,
    holds,
    malformed,
    missing,
    not_applicable,
    passed,
    run_checks,
    tried,
    warned,
)
from verifier.checks.key_management.key_holder import SELF_PROVIDERS
from verifier.checks.key_management.keys import provider
from verifier.checks.key_management.kms_guest import KmsGuest, allowances, kms_guests
from verifier.checks.key_management.kms_root import (
    RootKey,
    bootstrap_problem,
    bootstraps,
    root_keys,
)
from verifier.checks.key_management.kms_services import KmsServices, kms_services
from verifier.checks.manifest.rules import judge_manifest, judged_at
from verifier.checks.provenance.check import judge_images_of
from verifier.checks.provenance.source_link import Tie
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.chain import contracts
from verifier.model.result import CheckResult, EvidenceRef, JsonValue, Severity, SkipKind, Status

Parts = dict[str, Outcome]

_COUNTED: Final = (Severity.CRITICAL.value, Severity.HIGH.value, Severity.MEDIUM.value)
_ASK: Final = (
    "collect online, where the KMS answers; or import what it shows: `verify import … --of-kms "
    "CERTIFICATE --of-kms INFO`"
)
_MAX_NAMED: Final = 4
_WAIVED: Final = frozenset({"hardware.tcb"})
"""What a waiver of the app's own accepts of the KMS's guest, too: the platforms of one cluster are
brought up to date together. What else is wrong with a guest is wrong with that one."""


@check(
    "key_management.attestation",
    "The KMS runs allowed code in a TD of its own",
    requires=("runtime.events",),
)
def attestation(case: Case) -> Outcome:
    """The KMS shows, at its own address, a certificate that the CA key signed, made over the quote
    of the TD that holds its key; in this collection a TLS session ended there. That TD passes what
    any guest has to: a genuine quote and an acceptable TCB, a production OS image, a known machine,
    and a log that replays. The manifest that it measured is there, no rule finds that who runs it
    can have the keys, each of its images is tied to a source as an app's is, and it asks the
    contract of the KMS's record whom to serve: by a name that one service of that manifest has,
    which runs what its image does, as the KMS itself and the node do, and any other. An attribute
    that may change what runs or who answers, a script, a variable that is not known, or a
    configuration elsewhere than the KMS reads it is a warning. A known enclave
    seals its keys; and the contract allows its build, its OS image and its device, as it does the
    build that the app's guest met. The root key is tied to the CA key: by the contract, by the
    quote of the TD that made both, or by a signature in such a session.
    A KMS without a contract is a warning, since nobody outside knows which of its builds are
    allowed. A certificate that the CA key did not sign is another server's, and counts for nothing;
    without one of the KMS's own, evidence is missing, whatever else is known of its guest. A record
    of how it made its keys is kept by a KMS that made them itself, and is of another day: it is
    said, and nothing rests on its absence. Where the KMS itself is not identified, what its guests
    show is said, and proves nothing about it."""
    if case.identity.provider_payload is None:
        raise MissingEvidence("this dstack version measures no key provider")
    if case.identity.provider in SELF_PROVIDERS:
        return not_applicable("the guest names no KMS, so there is none to attest")
    guests = kms_guests(case)
    judged = {guest: _parts(case, guest) for guest in guests if not guest.chain or guest.signed}
    own = [guest for guest in judged if guest.signed]
    shared = _shared(case)
    actual: JsonValue = {
        "guests": [_json(guest, parts) for guest, parts in judged.items()],
        **{name: _part_json(outcome) for name, outcome in shared.items()},
    }
    if not holds(provider, case):
        return replace(_unidentified(guests), actual=actual if guests else None)
    met = [guest for guest in judged if not guest.signed and _is_met(case, guest)]
    accused = [found for found in map(_of(judged), met) if found.status is Status.FAIL]
    if not own and not accused:
        return replace(_not_attested(case, guests, judged), actual=actual)
    worst = max((*map(_of(judged), own), *accused), key=badness)
    found = max((worst, *shared.values()), key=badness)
    if found.status is not Status.PASS:
        return replace(found, actual=actual)
    root = next(iter(root_keys(case)))
    return passed(
        f"{_words(own[0])}; root key {root.address} by {root.how}",
        actual=actual,
        evidence=tuple(ref for guest in own for ref in guest.evidence),
    )


def _unidentified(guests: tuple[KmsGuest, ...]) -> Outcome:
    """The outcome where nobody knows whose the CA key is that the app's guest names."""
    said = f"{provider.id} did not pass"
    return Outcome(
        status=Status.SKIP,
        summary=said,
        reason=f"{provider.id} says whose the KMS is, and did not pass",
        skip_kind=SkipKind.BLOCKED,
        evidence=tuple(ref for guest in guests for ref in guest.evidence),
    )


def _of(judged: dict[KmsGuest, Parts]) -> Callable[[KmsGuest], Outcome]:
    """The outcome of one TD: that of its worst part, with where it answered."""

    def outcome(guest: KmsGuest) -> Outcome:
        part, worst = max(judged[guest].items(), key=lambda item: badness(item[1]))
        summary = f"{guest.name}: {part}: {worst.summary}"
        return replace(worst, summary=summary, evidence=(*guest.evidence, *worst.evidence))

    return outcome


def _not_attested(
    case: Case, guests: tuple[KmsGuest, ...], judged: dict[KmsGuest, Parts]
) -> Outcome:
    """Why no TD in the evidence is known to be the KMS's."""
    foreign = [guest for guest in guests if guest not in judged]
    if foreign:
        names = ", ".join(sorted({guest.name for guest in foreign}))
        summary = f"the certificate at {names} is not signed by the CA key that the guest names"
    elif guests:
        summary = (
            "a guest is said to run the KMS, and nothing that the CA key signed says so: the "
            "certificate at the KMS's own address was not collected"
        )
    else:
        summary = "no attestation of the KMS was collected"
    record = case.kms_record
    where = f" ({', '.join(record.urls[:2])})" if record is not None and record.urls else ""
    return missing(
        summary,
        reason="whoever runs the KMS can give the app's keys to anybody, unless its code does not "
        "let them",
        evidence=tuple(ref for guest in guests for ref in guest.evidence),
        remediation=f"{_ASK}{where}",
    )


def _parts(case: Case, guest: KmsGuest) -> Parts:
    """What is known of one TD, part by part, in the order of the chain."""
    results = {**guest.results, **_manifest_results(guest)}
    return {
        "certificate": _certificate(guest),
        "session": _session(guest),
        **{name: _waived(case, name, _outcome(result)) for name, result in results.items()},
        "manifest.rules": tried(lambda: _rules(guest)),
        "provenance.images": tried(lambda: _images(guest)),
        "contract": tried(lambda: _obeyed(case, guest)),
        "allowed": tried(lambda: _allowed(case, guest)),
        "met": tried(lambda: _met(case, guest)),
    }


def _manifest_results(guest: KmsGuest) -> dict[str, CheckResult]:
    """Whether its manifest is there, and who keeps the keys of its disk."""
    specs: tuple[CheckSpec, ...] = (given_manifest, provider)
    genuine = guest.results["runtime.events"].status in USABLE
    return {item.id: item for item in run_checks(specs, guest.case)} if genuine else {}


def _certificate(guest: KmsGuest) -> Outcome:
    if guest.chain is None:
        return missing("the certificate at its own address was not collected", remediation=_ASK)
    if guest.problems:
        return failed(
            f"the CA key signed it, and {'; '.join(guest.problems)}",
            expected="a certificate as a KMS issues it to itself, over the quote of its own key",
            remediation="whoever holds the CA key certifies what is no KMS: do not rely on it",
        )
    return passed("the CA key signed it over the quote of its key")


def _session(guest: KmsGuest) -> Outcome:
    if guest.in_use:
        return passed("a TLS session of this collection ended at its key")
    return warned(
        "nobody vouches that the KMS uses this key now: such a TD existed",
        remediation="collect online, where the KMS answers",
    )


def _rules(guest: KmsGuest) -> Outcome:
    """What the rules find about its manifest; those that want evidence of the app are not asked."""
    judged = judge_manifest(guest.case)
    evidence = (guest.case.measured_manifest.artifact.ref,)
    if judged.audit.compose_problem:
        return malformed(f"not evaluable: {judged.audit.compose_problem}", evidence=evidence)
    counted = [item for item in judged.findings if item.severity in _COUNTED]
    if not counted:
        return passed("no finding of medium severity or worse", evidence=evidence)
    worst = counted[0]
    said = ", ".join(dict.fromkeys(item.rule for item in counted))
    own = next((item for item in counted if item.rule == "KMS-009"), worst)
    critical = worst.severity == Severity.CRITICAL.value and not worst.conditional
    if critical:
        own = worst
    return (failed if critical else warned)(
        f"{own.rule}: {own.message}" + (f"; findings: {said}" if len(counted) > 1 else ""),
        evidence=evidence,
        reason=own.title,
        remediation=own.fix,
    )


def _images(guest: KmsGuest) -> Outcome:
    """How its images are tied to their sources, and to which: whose a KMS's have to be, nothing
    says."""
    found = judge_images_of(guest.case)
    sources = set[str]()
    for row in found.actual if isinstance(found.actual, list) else []:
        match row:
            case {"tie": Tie.ATTESTED.value, "builds": [*builds]}:
                sources |= {str(item["source"]) for item in builds if isinstance(item, dict)}
            case {"tie": Tie.ATTESTED.value, "source": str(source)}:
                sources.add(source)
    if not sources:
        return found
    return replace(found, summary=f"{found.summary}: {', '.join(sorted(sources)[:_MAX_NAMED])}")


def _obeyed(case: Case, guest: KmsGuest) -> Outcome:
    """Whom the KMS asks whether a guest may have its keys, as its own manifest says."""
    said = kms_services(guest.manifest)
    record = case.kms_record
    own = record.contract if record is not None else None
    if own and said.contracts == {own.lower()}:
        return _obeys(own, said)
    named = said.contracts - {""}
    if own and named - {own.lower()}:
        return failed(
            f"its manifest obeys {', '.join(sorted(named))}, not the KMS's contract",
            expected=own,
            remediation="what the contract allows is not what this KMS serves",
        )
    asked = sorted({_host(url) for url in said.asked})
    whom = f"asks {', '.join(asked)}" if asked else "does not say whom it asks"
    obeys = f"obeys {', '.join(sorted(named))}: the KMS that the app's guest names has no contract"
    if own:
        obeys = f"{whom}, and not all of them obey the contract {own}"
    none = f"{whom} whether a guest may have its keys, and names no contract for that"
    return warned(
        f"its manifest {obeys if named else none}",
        expected=own or "a contract, where everybody sees what is allowed",
        remediation="whoever answers there decides who gets the keys, unseen",
    )


def _obeys(contract: str, said: KmsServices) -> Outcome:
    """What it is worth that the manifest names the KMS's own contract alone."""
    obeys = f"its manifest obeys the contract {contract}"
    shown = ", ".join(sorted({_host(url) for url in said.nodes} - {""}))
    if said.doubts:
        more = len(said.doubts) - _MAX_NAMED
        rest = f"; and {more} more" if more > 0 else ""
        return warned(
            f"its manifest names the contract {contract}, and something else may answer: "
            f"{'; '.join(said.doubts[:_MAX_NAMED])}{rest}",
            expected="services that run what their images do, each the only one of its name, and "
            "one configuration, at the place where the KMS reads it",
            actual=list(said.doubts),
            remediation="whoever wrote this manifest decides who gets the keys",
        )
    if said.inside:
        return passed(f"{obeys}; the chain is that of {shown}, by its own word")
    whose = "outside of its guest" if shown else "that its manifest does not name"
    return warned(
        f"{obeys}, as it stands by the word of a node {whose}" + (f": {shown}" if shown else ""),
        expected="a node of the chain in the KMS's own manifest",
        remediation="whoever runs that node decides who gets the keys, unseen",
    )


def _allowed(case: Case, guest: KmsGuest) -> Outcome:
    """Whether the KMS's contract allows this build, its OS image and its device."""
    found = case.kms_contract()
    if found is None:
        return warned(
            "the KMS has no contract: nobody outside knows which of its builds are allowed",
            remediation="deploy the app with an on-chain KMS",
        )
    view = found[1]
    contract, refused, evidence = view.plan.kms, [], list[EvidenceRef]()
    for name, (getter, words) in allowances(guest).items():
        if not words:
            raise MissingEvidence(f"the {name} of the KMS's guest is not known")
        answers = [
            view.call(contract, getter + contracts.word(word), contracts.decode_bool)
            for word in words
        ]
        evidence += [ref for answer in answers for ref in answer.evidence]
        if not any(answer.value for answer in answers):
            refused.append(f"{name} {words[0].hex()[:16]}…")
    if refused:
        said = f"{contract} does not allow its {', '.join(refused)}"
        found_out = failed(
            said,
            expected="kmsAllowedAggregatedMrs, allowedOsImages and kmsAllowedDeviceIds say yes",
            evidence=tuple(evidence),
            remediation="the app's keys are held by a KMS that its own contract does not allow",
        )
        return view.accuse(found_out, said)
    said = f"{contract} allows its build, OS image and device"
    if view.single_source:
        return warned(f"{said}; read from one operator only", evidence=tuple(evidence))
    return passed(said, evidence=tuple(evidence))


def _is_met(case: Case, guest: KmsGuest) -> bool:
    """Whether it has the registers of the KMS that the app's guest measured when it met it."""
    try:
        return guest.genuine and case.identity.mr_kms in guest.builds
    except (MissingEvidence, Blocked, EvidenceError):
        return False


def _met(case: Case, guest: KmsGuest) -> Outcome:
    measured = case.identity.mr_kms
    if measured is None:
        return not_applicable("the app's guest measured no build of its KMS")
    if measured in guest.builds:
        return passed("the app's guest met this build when it started")
    said = f"the app's guest met another build when it started ({measured.hex()[:16]}…)"
    found = case.kms_contract()
    if found is not None:
        data, view = contracts.ALLOWED_KMS_BUILDS + contracts.word(measured), found[1]
        if view.call(view.plan.kms, data, contracts.decode_bool).value:
            return passed(f"{said}, which the contract allows")
    return warned(said, remediation="what that build did with the app's keys is not known")


def _shared(case: Case) -> Parts:
    """What is known of the KMS's keys, whichever of its TDs shows it."""
    return {"root_key": tried(lambda: _root_key(case)), "bootstrap": _bootstrap(case)}


def _root_key(case: Case) -> Outcome:
    found, record = root_keys(case), case.kms_record
    addresses = sorted({item.address for item in found})
    evidence = tuple(ref for item in found for ref in item.evidence)
    known = record.root_address if record is not None else ""
    if not found:
        return missing(
            "nothing ties the KMS's root key to its CA key",
            reason="a signature of that root key may be of another KMS",
            remediation="the KMS's contract can publish both (kmsInfo); or collect online, where "
            "the KMS answers",
        )
    if len(addresses) > 1 or (known and addresses != [known]):
        expected = known or addresses[0]
        other = next(item for item in found if item.address != expected)
        return failed(
            f"{other.how} ties the root key {other.address} to its CA key, not {expected}",
            expected=expected,
            actual=list(addresses),
            evidence=evidence,
            remediation="two root keys of one KMS: do not rely on what either signs",
        )
    return passed(f"{addresses[0]}, by {_how(found)}", evidence=evidence)


def _how(found: tuple[RootKey, ...]) -> str:
    return " and ".join(dict.fromkeys(item.how for item in found))


def _bootstrap(case: Case) -> Outcome:
    """What the record of how the KMS made its keys shows. Nothing rests on it alone: a KMS that was
    given its keys by another one has none."""
    guests = [guest for guest in kms_guests(case) if guest.holds]
    code = {guest.compose_hash for guest in guests} | {
        bytes.fromhex(item) for item in case.question.kms_code
    }
    made = bootstraps(case)
    if not made:
        return not_applicable(
            "the KMS shows no record of how it made its keys: one that was given them by another "
            "KMS has none"
        )
    problems = [bootstrap_problem(case, item, code) for item in made]
    if "" in problems:
        return passed("the TD that made both keys ran the code that runs now")
    return not_applicable(f"its record of how it made its keys ties nothing: {problems[0]}")


def _words(guest: KmsGuest) -> str:
    row = guest.case.os_image
    return (
        f"{guest.name}: the CA key signed for a TD with dstack {row.release if row else '?'} and "
        f"manifest {guest.compose_hash.hex()[:16]}…"
    )


def _host(url: str) -> str:
    """The host of a URL alone: its path may be a key."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _outcome(result: CheckResult) -> Outcome:
    """The result of a check of any guest as a part of this one."""
    return Outcome(
        status=result.status,
        summary=result.summary,
        expected=result.expected,
        evidence=result.evidence,
        reason=result.reason,
        skip_kind=result.skip_kind,
        remediation=result.remediation,
    )


def _waived(case: Case, name: str, outcome: Outcome) -> Outcome:
    """The outcome, which does not count where the relying party accepts it of the app's own guest,
    and of any in its place."""
    if name not in _WAIVED:
        return outcome
    app_id, now = case.identity.app_id.hex(), judged_at(case)
    waiver = waiver_for(case.demands.waivers, name, app_id, now)
    if outcome.status is not Status.FAIL or waiver is None or not waiver.holds(now):
        return outcome
    return passed(f"{outcome.summary} [{waiver.words(now)}]", evidence=outcome.evidence)


def _json(guest: KmsGuest, parts: Parts) -> JsonValue:
    found: list[JsonValue] = [{"part": name, **_part_json(part)} for name, part in parts.items()]
    try:
        compose_hash = guest.compose_hash.hex()
    except (MissingEvidence, EvidenceError):
        compose_hash = ""
    return {"name": guest.name, "compose_hash": compose_hash, "parts": found}


def _part_json(outcome: Outcome) -> dict[str, JsonValue]:
    kind = outcome.skip_kind.value if outcome.skip_kind is not None else outcome.status.value
    return {"status": kind, "said": outcome.summary}


CHECKS: Final = (attestation,)
