"""Whose key ends the TLS connections of the address that was asked about."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

from verifier.checks.application.app_certificate import (
    UNTIED_HINT,
    certificates,
    chain_problems,
    leaf_key,
    tie,
)
from verifier.checks.case import Case
from verifier.checks.endpoint.gateway import judge_gateway
from verifier.checks.endpoint.ingress import Naming, judge_naming
from verifier.checks.engine import (
    Outcome,
    badness,
    check,
    failed,
    missing,
    not_applicable,
    passed,
    tried,
    unreadable,
    warned,
)
from verifier.errors import EvidenceError, MissingEvidence
from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.endpoint import Ending, Endpoint
from verifier.evidence.subject import Located, certificate_source, is_of_leaf
from verifier.evidence.td.ra_tls import (
    RaTlsChain,
    fingerprint,
    leaf_report_data,
    spki,
)
from verifier.evidence.td.report_data import SESSION
from verifier.evidence.unanswered import hint_for
from verifier.model.result import EvidenceRef, JsonValue, Status

KEY: Final = "key"
"""The field of `actual` with the sha256 of the key that was met (DER SubjectPublicKeyInfo, hex)."""

HELD_BY: Final = "held_by"
"""The field with who holds it, "" where no quote says so."""

_NAME_IT: Final = "name the address that users connect to with --endpoint HOST:PORT"


def unasked(case: Case) -> Outcome | None:
    """The outcome of checks about an endpoint where the relying party names none."""
    if case.question.endpoint is not None:
        return None
    if case.demands.endpoint_named:
        words = "the policy demands an address that users connect to, and none was named"
        return missing(words, reason=words, remediation=_NAME_IT)
    return not_applicable("no address that users connect to was named (--endpoint)")


@check(
    "endpoint.tls",
    "The key that users meet by TLS is one that the judged quote commits to",
    requires=("application.identity",),
    unasked=unasked,
)
def tls(case: Case) -> Outcome:
    """The server at the address that was asked about proved in a TLS handshake that it holds the
    key of its certificate, and the quote that this audit judges commits to that key: it is the key
    of the RA-TLS certificate that the quote was made for, or the report data holds it, or a TLS
    session that it ended, by a convention that the relying party names for this manifest. Then the
    connection ends in this TD, as far as its code gives neither its keys nor its quotes away, nor
    leaves a key on its disk to a later version of itself. A certificate that carries a quote for
    another key fails. One that only the app's CA issued is a warning, since every guest of the app
    can get it. So is a key that only the evidences of dstack-ingress name, in a genuine quote of
    this manifest; and one that the gateway holds, which reads what users send: it has to prove
    itself by a quote over this key, as an app that the KMS's contract names, of a manifest that its
    own contract allows. Where nothing ties the key to a quote, evidence is missing. Nothing is
    looked at where no address was named; a policy may demand one."""
    return worst_met(case, _judged)


def worst_met(
    case: Case, judge: Callable[[Case, Endpoint, Located[RaTlsChain]], Outcome]
) -> Outcome:
    """The worst outcome about a handshake with the address in question, or what there is to say
    where none was recorded. Raises MissingEvidence."""
    endpoint = case.question.endpoint
    if endpoint is None:
        raise MissingEvidence("no address that users connect to was named", hint=_NAME_IT)
    recorded = [
        item
        for item in case.evidence.bundle.artifacts
        if item.kind is Kind.TLS_PEER and item.source == endpoint.source
    ]
    # That another guest answered is said by whoever collected the evidence, too.
    if any(item.sha256 for item in recorded) and not case.question.trusted:
        raise MissingEvidence(
            f"nobody vouches for who answered at {endpoint}",
            hint="collect the evidence yourself, or vouch for the bundle with --trust-bundle",
        )
    peers, unread = _peers(case, endpoint)
    if not peers and not unread:
        return _unseen(case, endpoint, recorded)
    judged = [tried(partial(judge, case, endpoint, item)) for item in peers]
    return max((*map(unreadable, unread), *judged), key=badness)


def _peers(case: Case, endpoint: Endpoint) -> tuple[list[Located[RaTlsChain]], list[EvidenceError]]:
    """The recorded handshakes with the address, and why others cannot be read."""
    unread = [
        error
        for artifact, error in case.evidence.malformed
        if artifact.kind is Kind.TLS_PEER and artifact.source == endpoint.source
    ]
    return [item for item in case.evidence.peers if item.artifact.source == endpoint.source], unread


def _unseen(case: Case, endpoint: Endpoint, recorded: list[Artifact]) -> Outcome:
    """The outcome where this guest was not met at the address, of all handshakes with it."""
    others = sorted({item.subject for item in recorded if item.sha256 and item.subject})
    named = case.question.instances
    if others and (not named or any(item.rpartition("/")[2] in named for item in others)):
        # The guest that answered is audited too, under its own name; the worse of both decides.
        return not_applicable(f"another guest answered at {endpoint}: {', '.join(others)}")
    if others:
        raise MissingEvidence(
            f"another guest than the instance asked for answered at {endpoint}",
            hint="name the address of this very instance, or audit the app without --instance",
        )
    failures = [item for item in recorded if item.sha256 is None]
    if failures:
        raise MissingEvidence(
            f"nobody was met at {endpoint}: {_why(failures[0])}",
            hint=hint_for((item.cause for item in failures), "check the address"),
        )
    raise MissingEvidence(
        f"no handshake with {endpoint} is in the evidence",
        hint="collect it: an audit that asks the network makes one with --endpoint",
    )


def _why(failure: Artifact) -> str:
    return failure.error.removeprefix(f"{failure.source}: ")


def _judged(case: Case, endpoint: Endpoint, peer: Located[RaTlsChain]) -> Outcome:
    """What ties the key of one handshake to the judged quote."""
    key = spki(peer.value.certificates[0])
    digest = hashlib.sha256(key).hexdigest()
    evidence = (peer.artifact.ref, case.presented.evidence)
    actual: dict[str, JsonValue] = {"endpoint": str(endpoint), KEY: digest, HELD_BY: ""}
    carried = certificate_source(peer.value, peer.artifact.ref)
    if carried is not None and not is_of_leaf(carried):
        return failed(
            "the certificate there carries a quote that was made for another key",
            expected=leaf_report_data(key).hex(),
            actual=actual,
            evidence=evidence,
            remediation="whoever answers there shows another guest's quote: do not use it",
        )
    words = committed(case, key)
    if words:
        return passed(
            f"{words} that {endpoint} holds, {digest[:16]}…",
            actual={**actual, HELD_BY: "guest"},
            evidence=evidence,
        )
    if carried is not None:
        words = f"the certificate of {endpoint} carries another quote than the judged one"
        hint = UNTIED_HINT
    elif _issued_by_app(case, peer.value):
        return warned(
            f"the app's own CA issued the certificate of {endpoint}; no quote commits to its key",
            expected="a certificate that carries the judged quote",
            actual=actual,
            evidence=evidence,
            reason="every guest of the app can get such a certificate, of any manifest that was "
            "ever allowed",
            remediation="ask the app's developers for a certificate with a quote (RA-TLS)",
        )
    elif endpoint.ending is Ending.GATEWAY:
        return _at_gateway(case, endpoint, peer)
    elif naming := judge_naming(case, key):
        return _named(endpoint, naming, actual, evidence)
    else:
        words = f"nothing ties the key that {endpoint} holds to this guest"
        hint = "ask the app's developers for a certificate with a quote (RA-TLS), or for what ties "
        hint += "this one to their guest"
    return missing(words, reason=words, actual=actual, evidence=evidence, remediation=hint)


def _named(
    endpoint: Endpoint,
    naming: Naming,
    actual: dict[str, JsonValue],
    evidence: tuple[EvidenceRef, ...],
) -> Outcome:
    """The outcome where the evidences of dstack-ingress name the key: never a pass, since anybody
    who can ask the app for a quote can name a key, and the quote is not the judged one."""
    bad, evidence = naming.failed or naming.unproven, (*evidence, *naming.evidence)
    words = f"the evidences of dstack-ingress at {endpoint} name its key"
    if bad is not None:
        how = "fails" if naming.failed else "has no result"
        reason = f"{words}, and their own {bad.id} {how}: {bad.summary}"
        say = failed if naming.failed else missing
        return say(reason, reason=reason, actual=actual, evidence=evidence)
    reason = "that quote is not the judged one; and only the app's code says who may have it made, "
    reason += "and that the named key is held by it"
    return warned(
        f"{words}, in a quote of a guest that runs this very manifest",
        expected="a key that the judged quote commits to",
        actual=actual,
        evidence=evidence,
        reason="; ".join((reason, *naming.doubts)),
        remediation="read in the manifest which containers can ask for quotes; an RA-TLS "
        "certificate would tie the key itself",
    )


def committed(case: Case, key: bytes) -> str:
    """How the judged quote commits to a key, in words that the key's holder follows; "" where it
    does not."""
    if case.quote.report_data == leaf_report_data(key):
        return "the judged quote was made for the key"
    if _in_session(case, key):
        return "the judged quote commits to a TLS session that was ended by the key"
    for source in certificates(case):
        # A certificate that carries this very quote is one about the key that it was made for.
        lent = source.quote == case.presented.quote or not is_of_leaf(source)
        words = "" if lent else tie(case, source)
        if words and leaf_key(source) == key:
            return f"{words}: the key"
    return ""


def _in_session(case: Case, key: bytes) -> bool:
    """Whether the judged quote commits to a TLS session of this collection whose server proved that
    it holds a key: both ends of a session alone compute its exporter."""
    bound, source = case.bound, case.presented
    if not (case.question.trusted and bound and bound.kind == SESSION):
        return False
    shown = [item.value.certificates[0] for item in case.evidence.peers]
    ended = any(spki(leaf) == key and fingerprint(leaf) == source.peer for leaf in shown)
    return ended and bound.values[-1].hex() == source.exporter


def _at_gateway(case: Case, endpoint: Endpoint, peer: Located[RaTlsChain]) -> Outcome:
    """The outcome where the gateway ends the connection: as good as its own evidence, and never a
    pass, since it is not the guest."""
    key = spki(peer.value.certificates[0])
    digest = hashlib.sha256(key).hexdigest()
    actual: dict[str, JsonValue] = {"endpoint": str(endpoint), KEY: digest, HELD_BY: ""}
    label, _, base = endpoint.host.partition(".")
    hint = f"ask for {label.rstrip('g')}s.{base}, which the guest itself ends, if it serves TLS"
    words = f"the gateway ends the connections of {endpoint}, not the guest"
    try:
        found = judge_gateway(case, key)
    except MissingEvidence as error:
        reason = f"{words}: {error.message}"
        evidence = (peer.artifact.ref,)
        return missing(reason, reason=reason, actual=actual, evidence=evidence, remediation=hint)
    if found is None:
        return failed(
            f"{words}, and it shows a quote that was made for another key",
            actual=actual,
            evidence=(peer.artifact.ref,),
            remediation="whoever answers there shows another guest's quote: do not use it",
        )
    bad = found.failed or found.unproven
    quoted = (peer.artifact.ref, found.evidence)
    if bad is not None:
        reason = f"{words}; its own {bad.id} {'fails' if found.failed else 'has no result'}: "
        reason += bad.summary
        say = failed if found.failed else missing
        return say(reason, reason=reason, actual=actual, evidence=quoted, remediation=hint)
    doubts = [f"{item.id}: {item.summary}" for item in found.results if item.status is Status.WARN]
    return warned(
        f"{words}: it is the app {found.app_id}, which the KMS's contract names, in an attested TD",
        expected="a key that the judged quote commits to",
        actual={**actual, HELD_BY: "gateway"},
        evidence=quoted,
        reason="; ".join(
            ("it reads what users send, and others may have had the key", *doubts, *found.doubts)
        ),
        remediation=hint,
    )


def _issued_by_app(case: Case, chain: RaTlsChain) -> bool:
    """Whether the chain leads from its leaf over this app's own CA to the one that the guest names
    as its KMS's."""
    try:
        return not chain_problems(case, chain)
    except (ValueError, EvidenceError):
        return False


CHECKS: Final = (tls,)
