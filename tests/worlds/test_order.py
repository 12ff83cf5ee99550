"""Of several pieces of evidence for one thing neither digest nor order decides which counts: what
anybody can put beside honest evidence changes nothing."""

import hashlib
import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.attacked import carry_out
from tests.worlds.audited import Audited, audit
from tests.worlds.ordered import DIGESTS, breaking, in_both_orders, outcome
from verifier.evidence.bundle import Artifact, BundleBuilder, Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.ingress import ACCOUNT, LISTING
from verifier.lab import cert
from verifier.lab.attacks import ATTACKS
from verifier.lab.ingress import ACCOUNT_URI
from verifier.lab.knobs import Knobs
from verifier.lab.world import DOMAIN, WEB_DOMAIN
from verifier.model.result import CheckResult, SkipKind, Status

CHALLENGE: Final = bytes(range(1, 33))


@cache
def challenging() -> Audited:
    """The honest world, asked with a challenge that nobody has answered yet."""
    return audit(Knobs(challenge=b"")).again(challenge=CHALLENGE)


def quoted(report_data: bytes = CHALLENGE + bytes(32)) -> JsonObject:
    return dict(challenging().world.guest.get_quote(report_data))


def in_the_middle() -> JsonObject:
    return quoted(bytes(16) + CHALLENGE + bytes(16))


def unsigned() -> JsonObject:
    found = quoted()
    return {**found, "quote": breaking(bytes.fromhex(str(found["quote"]))).hex()}


def with_cut_log() -> JsonObject:
    found = quoted()
    return {**found, "event_log": json.dumps(json.loads(str(found["event_log"]))[:-1])}


def without_log() -> JsonObject:
    return {**quoted(), "event_log": ""}


def answered(*answers: JsonObject) -> Iterator[Audited]:
    given = [(Kind.GET_QUOTE, json.dumps(item).encode()) for item in answers]
    found = challenging().handing_over(given)
    for bundle in in_both_orders(found.bundle, Kind.GET_QUOTE):
        yield found.again(bundle)


@pytest.mark.parametrize(
    "other",
    [in_the_middle, unsigned, with_cut_log, without_log],
    ids=lambda other: other.__name__,
)
def test_of_two_answers_to_a_challenge(other: Callable[[], JsonObject]) -> None:
    honest, *_ = answered(quoted())
    assert honest.check("application.binding")[0].status is Status.PASS
    for alone in answered(other()):
        assert outcome(alone) != outcome(honest)
    for number in DIGESTS:
        for both in answered(quoted(), {**other(), "number": number}):
            assert outcome(both) == outcome(honest)


def test_a_challenge_in_the_middle_answers_nothing() -> None:
    for alone in answered(in_the_middle()):
        assert alone.check("application.binding")[0].status is Status.FAIL


TLS, NAME, LOGGED = "endpoint.tls", "endpoint.domain", "endpoint.logged"
ATTESTED: Final = "key_management.attestation"


@cache
def named() -> Audited:
    """The honest world, asked about an address whose key the evidences of dstack-ingress name."""
    return audit(Knobs(), endpoint=WEB_DOMAIN)


def received(audited: Audited, kind: Kind, ending: str = "") -> Artifact:
    """The artifact of a kind, by how its source ends."""
    (found,) = (item for item in audited.bundle.of(kind) if item.source.endswith(ending))
    return found


def beside(audited: Audited, kind: Kind, *added: tuple[Artifact, bytes]) -> Iterator[Audited]:
    """The audit with more bytes in the place of artifacts, and those of a kind in both orders."""
    builder = BundleBuilder(audited.bundle)
    for item, raw in added:
        builder.add(
            item.kind,
            raw,
            source=item.source,
            collected_at=item.collected_at,
            subject=item.subject,
        )
    for bundle in in_both_orders(builder.build(), kind):
        yield audited.again(bundle)


def ingress_quote(**changes: object) -> tuple[Artifact, bytes]:
    """The quote.json of dstack-ingress, changed."""
    artifact = received(named(), Kind.INGRESS_QUOTE)
    document = json.loads(named().bundle.blob(artifact))
    return artifact, json.dumps({**document, **changes}).encode()


def ingress_quote_text() -> str:
    artifact = received(named(), Kind.INGRESS_QUOTE)
    return str(json.loads(named().bundle.blob(artifact))["quote"])


def test_the_same_quote_of_ingress_twice_changes_nothing() -> None:
    for number in DIGESTS:
        for both in beside(named(), Kind.INGRESS_QUOTE, ingress_quote(number=number)):
            assert outcome(both) == outcome(named())


def test_a_false_quote_that_names_the_key_counts_before_the_genuine_one() -> None:
    forged = breaking(bytes.fromhex(ingress_quote_text())).hex()
    found = set()
    for number in DIGESTS:
        for both in beside(named(), Kind.INGRESS_QUOTE, ingress_quote(number=number, quote=forged)):
            assert both.check(TLS)[0].status is Status.FAIL
            found.add(outcome(both))
    assert len(found) == 1


def test_a_quote_without_a_log_beside_one_that_holds_is_a_doubt() -> None:
    for number in DIGESTS:
        bare = ingress_quote(number=number, event_log="")
        for both in beside(named(), Kind.INGRESS_QUOTE, bare):
            assert outcome(both) == outcome(named())
            assert "another quote that names it: " in both.check(TLS)[0].reason


def test_two_accounts_of_ingress_are_an_error() -> None:
    """A second list, with another account, that a genuine quote of the same guest names."""
    sums, account = (received(named(), Kind.INGRESS_FILE, x) for x in (LISTING, ACCOUNT))
    before = named().bundle.blob(account)
    for number in DIGESTS:
        uri = f"{ACCOUNT_URI}{number}"
        other = json.dumps({"uri": uri}).encode()
        old, new = (hashlib.sha256(raw).hexdigest().encode() for raw in (before, other))
        listed = named().bundle.blob(sums).replace(old, new)
        quote = named().world.guest.get_quote(hashlib.sha256(listed).digest() + bytes(32))
        added = ((account, other), (sums, listed), ingress_quote(**quote))
        for both in beside(named(), Kind.INGRESS_QUOTE, *added):
            (result,) = both.check(NAME)
            assert result.status is Status.ERROR
            assert f"{ACCOUNT_URI} and {uri}" in result.reason


@cache
def searched(*logged: tuple[str, str]) -> Audited:
    """A world in which certificates were logged for the address that was asked about."""
    return audit(Knobs(logged=logged), endpoint=DOMAIN)


def listing(audited: Audited) -> tuple[Artifact, bytes]:
    """What a search of certificate logs says of the address itself."""
    artifact = next(x for x in audited.bundle.of(Kind.CT_SEARCH) if f"q={DOMAIN}&" in x.source)
    return artifact, audited.bundle.blob(artifact)


def logged(audited: Audited) -> CheckResult:
    (result,) = audited.check(LOGGED)
    return result


def test_a_search_that_says_the_same_twice_says_it() -> None:
    for audited, status in ((searched(), Status.PASS), (searched((DOMAIN, "x")), Status.WARN)):
        artifact, raw = listing(audited)
        for number in DIGESTS:
            spaced = raw + b" " * (number + 1)
            for both in beside(audited, Kind.CT_SEARCH, (artifact, spaced)):
                assert logged(both).status is status


def test_a_search_that_answers_two_ways_clears_nothing() -> None:
    """A certificate that it lists at one time, and leaves out at another, is named."""
    foreign = searched((DOMAIN, "somebody"))
    artifact, raw = listing(foreign)
    _, without = listing(searched())
    assert raw != without
    for number in DIGESTS:
        for both in beside(foreign, Kind.CT_SEARCH, (artifact, without + b" " * number)):
            assert logged(both).skip_kind is SkipKind.MISSING_EVIDENCE
            assert "answers twice" in logged(both).summary
            assert "certified another key" in logged(both).summary


def test_a_search_that_failed_once_clears_nothing() -> None:
    artifact, _ = listing(searched())
    for number in DIGESTS:
        failure = replace(artifact, sha256=None, size=0, error=f"no answer ({number})")
        for artifacts in (
            (failure, *searched().bundle.artifacts),
            (*searched().bundle.artifacts, failure),
        ):
            both = searched().again(replace(searched().bundle, artifacts=artifacts))
            assert logged(both).skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_search_that_shows_two_certificates_by_one_number_shows_none() -> None:
    """One of them may be for a key that is attested, in the place of one that is not."""
    foreign = audit(Knobs(logged=((WEB_DOMAIN, "somebody"),)), endpoint=WEB_DOMAIN)
    shown = {item.source[-1]: item for item in foreign.bundle.of(Kind.CT_CERTIFICATE)}
    own, other = (foreign.bundle.blob(shown[number]) for number in "34")
    for number in DIGESTS:
        for both in beside(foreign, Kind.CT_CERTIFICATE, (shown["4"], own + b"\n" * number)):
            assert logged(both).skip_kind is SkipKind.MISSING_EVIDENCE
        for both in beside(foreign, Kind.CT_CERTIFICATE, (shown["4"], other + b"\n" * number)):
            assert outcome(both) == outcome(foreign)


def test_a_false_quote_of_a_kms_hides_nothing_that_is_said_against_its_guest() -> None:
    """A KMS that shows no certificate of its own, and whose guest is of the build that was met."""
    (attack,) = (item for item in ATTACKS if item.name == "kms-image-exchanged")
    forged = carry_out(attack)
    kept = tuple(item for item in forged.bundle.artifacts if item.kind is not Kind.KMS_TLS)
    alone = forged.again(replace(forged.bundle, artifacts=kept))
    assert alone.check(ATTESTED)[0].status is Status.FAIL
    (info,) = (x for x in alone.bundle.of(Kind.INFO) if x.subject in alone.bundle.key_holders)
    guest = alone.world.kms.guest
    for number in DIGESTS:
        made = replace(guest.cert_options, subject=f"another {number}", ca="")
        shown = guest.attestation(cert.report_data(made))
        shown = replace(shown, quote=breaking(shown.quote))
        document = json.loads(alone.bundle.blob(info)) | {"app_cert": cert.app_cert(made, shown)}
        for both in beside(alone, Kind.INFO, (info, json.dumps(document).encode())):
            assert outcome(both) == outcome(alone)


def test_of_two_handshakes_the_certificate_that_proves_is_judged(met: Audited) -> None:
    """Whoever else answered there is found, and accuses nobody of a false quote."""
    (peer,) = met.bundle.of(Kind.TLS_PEER)
    guest, found = met.world.guest, set()
    for number in DIGESTS:
        made = replace(guest.cert_options, subject=f"another {number}", ca="")
        shown = guest.attestation(cert.report_data(made))
        shown = replace(shown, quote=breaking(shown.quote))
        for both in beside(met, Kind.TLS_PEER, (peer, cert.app_cert(made, shown).encode())):
            assert both.check("hardware.quote")[0].status is Status.PASS
            assert both.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE
            found.add(outcome(both))
    assert len(found) == 1
