"""What ties the key that users meet to the judged quote, and what only looks like it."""

import itertools
import json
from collections.abc import Callable
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import assert_stands
from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.cli.question import simulated_reference
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.endpoint import parse_endpoint
from verifier.lab import cert, host
from verifier.lab.attacks.attack import BY_GATEWAY, PASSED_THROUGH
from verifier.lab.attacks.endpoint import without_caa
from verifier.lab.attacks.instances import DEVELOPMENT
from verifier.lab.dns import Record, caa_data, name_data, text_data
from verifier.lab.endpoint import web_certificate
from verifier.lab.gateway import ACCOUNT_URI
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response
from verifier.lab.serve import serve
from verifier.lab.world import ATTESTATION_PATH, DOMAIN, WEB_DOMAIN, World, build
from verifier.model.identifiers import AppId
from verifier.model.report import Report
from verifier.model.result import Basis, SkipKind, Status, Verdict
from verifier.policy.policy import load_policy
from verifier.report.audit.connection import render_connection

TLS: Final = "endpoint.tls"
IDENTITY: Final = "application.identity"
CHALLENGE: Final = b"\x07" * 32
ATTACKER: Final = "attacker"
REPORT_DATA: Final = slice(568, 632)


def asked(knobs: Knobs, host: str = PASSED_THROUGH) -> Audited:
    """The audit of a world that answers a challenge by the TLS session of its endpoint."""
    url = f"https://{host}{ATTESTATION_PATH}?nonce={{challenge}}"
    return audit(knobs, endpoint=host, challenge=CHALLENGE, challenge_url=url)


@pytest.fixture(scope="module")
def honest_answer() -> Audited:
    return asked(Knobs())


def test_nobody_who_hands_evidence_over_says_that_another_was_met(met: Audited) -> None:
    (guest,) = met.bundle.subjects
    assert met.under("endpoint").report.verdict is Verdict.AFFIRMING
    as_reported = {guest: "all_attestations/1"}

    def named(item: Artifact) -> Artifact:
        other = "all_attestations/2" if item.kind is Kind.TLS_PEER else ""
        return replace(item, subject=other or as_reported.get(item.subject, item.subject))

    renamed = Bundle(tuple(map(named, met.bundle.artifacts)), met.bundle.blobs)
    found = met.again(renamed, trusted=False).under("endpoint")
    assert found.report.verdict is Verdict.NONE
    assert {item.skip_kind for item in found.check(TLS)} == {SkipKind.MISSING_EVIDENCE}


def own_certificate(world: World, quote: bytes) -> str:
    """A certificate for the attacker's key that carries a quote."""
    guest = world.guest
    options = replace(guest.cert_options, subject=ATTACKER, ca="")
    return cert.app_cert(options, replace(guest.cert_attestation, quote=quote))


@pytest.mark.parametrize("host", [PASSED_THROUGH, DOMAIN])
def test_a_challenge_answered_in_a_session_of_the_endpoint(host: str) -> None:
    strict = asked(Knobs(), host).under("strict")
    assert_stands(strict, TLS, "endpoint.domain", IDENTITY, "hardware.freshness")


def test_nobody_vouches_for_whose_session_it_was(honest_answer: Audited) -> None:
    untrusted = honest_answer.again(trusted=False)
    assert untrusted.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE
    assert untrusted.check(IDENTITY)[0].status is Status.WARN


def test_without_the_note_of_the_session_nothing_ties_the_two(honest_answer: Audited) -> None:
    forgotten = Bundle(
        tuple(replace(item, peer="") for item in honest_answer.bundle.artifacts),
        honest_answer.bundle.blobs,
    )
    found = honest_answer.again(forgotten)
    assert found.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE
    assert found.check(IDENTITY)[0].status is Status.WARN


def forged_quote(world: World, _: str) -> bytes:
    """A certificate for the attacker's key with a quote that was only made to look like its own."""
    guest = world.guest
    quote = bytearray(guest.cert_attestation.quote)
    options = replace(guest.cert_options, subject=ATTACKER, ca="")
    quote[REPORT_DATA] = cert.report_data(options)
    return own_certificate(world, bytes(quote)).encode()


def other_manifest(world: World, _: str) -> bytes:
    """The certificate of a genuine guest of the same app and KMS that runs another manifest."""

    def renamed(manifest: JsonObject) -> JsonObject:
        return {**manifest, "name": "another version"}

    guest = build(replace(world.knobs, peer=None, edit_manifest=renamed)).guest
    options = replace(guest.cert_options, subject="another version")
    return cert.app_cert(options, guest.attestation(cert.report_data(options))).encode()


@pytest.mark.parametrize("peer", [forged_quote, other_manifest], ids=["forged", "other manifest"])
def test_a_challenge_that_was_passed_on(peer: object) -> None:
    """Whoever ends the connection asks the genuine guest, and shows a certificate of his own."""
    relayed = asked(Knobs(peer=peer))  # type: ignore[arg-type]
    results = relayed.check(TLS)
    assert results
    assert Status.PASS not in {item.status for item in results}
    assert Status.PASS not in {item.status for item in relayed.check(IDENTITY)[:1]}
    assert relayed.report.verdict in (Verdict.NONE, Verdict.CONTRAINDICATED)


@pytest.mark.parametrize("host", [PASSED_THROUGH, DOMAIN])
def test_a_certificate_that_carries_another_quote_keeps_no_ca_from_certifying(host: str) -> None:
    found = asked(Knobs(peer=other_manifest), host)
    (domain,) = found.check("endpoint.domain")[:1]
    assert domain.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "no CA's word counts" not in domain.summary


def test_a_lent_certificate_among_the_evidence_binds_no_key() -> None:
    """The guest agent's answer holds a certificate for the attacker's key that carries the genuine
    quote; the endpoint holds that key, and shows a usual certificate."""

    def lend(method: str, url: str, body: bytes, response: Response) -> Response:
        del method, body
        if not url.endswith("/prpc/Info"):
            return response
        world = build(Knobs())
        info = json.loads(response.body)
        info["app_cert"] = own_certificate(world, world.guest.cert_attestation.quote)
        return replace(response, body=json.dumps(info).encode())

    def web(_: World, host: str) -> bytes:
        return web_certificate(host, Knobs().now, f"app certificate {ATTACKER}")

    lent = audit(Knobs(edit_response=lend, peer=web), endpoint=PASSED_THROUGH)
    assert [item.skip_kind for item in lent.check(TLS)] == [SkipKind.MISSING_EVIDENCE]


def test_another_address_than_was_recorded_is_missing(met: Audited) -> None:
    other = met.again(endpoint=parse_endpoint("app.example.org"))
    assert other.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE
    assert other.report.verdict is Verdict.NONE


def test_no_endpoint_is_asked_about(honest: Audited, met: Audited) -> None:
    for audited in (honest, met.again(endpoint=None)):
        assert audited.check(TLS)[0].skip_kind is SkipKind.NOT_APPLICABLE
        assert audited.report.verdict is Verdict.AFFIRMING
        assert any("no address" in gap for gap in audited.report.gaps)
    demanded = honest.under("[endpoint]\nnamed = true")
    assert demanded.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE
    assert demanded.report.verdict is Verdict.NONE


def test_of_two_instances_the_one_that_answered_is_met() -> None:
    both = audit(Knobs(others=(Knobs(),)), endpoint=PASSED_THROUGH)
    assert both.report.verdict is Verdict.AFFIRMING
    kinds = {item.skip_kind for item in both.check(TLS)}
    assert kinds == {None, SkipKind.NOT_APPLICABLE}
    other = next(x for x in both.world.instance_ids if x != both.world.instance_ids[0])
    alone = both.again(instances=(other,))
    assert alone.check(TLS)[0].skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_malformed_certificate_is_an_error(met: Audited) -> None:
    def cut(item: Artifact, raw: bytes) -> bytes:
        return raw[:100] if item.kind is Kind.TLS_PEER else raw

    assert met.editing(cut).check(TLS)[0].status is Status.ERROR


def served(name: str, edit: Callable[[bytes], bytes]) -> Knobs:
    """A world in which a file of the evidences of dstack-ingress is edited."""

    def change(method: str, url: str, body: bytes, response: Response) -> Response:
        del method, body
        edits = url.endswith(f"/evidences/{name}")
        return replace(response, body=edit(response.body)) if edits else response

    return Knobs(edit_response=change)


def test_a_key_that_the_evidences_of_dstack_ingress_name() -> None:
    named = audit(Knobs(), endpoint=WEB_DOMAIN)
    (result,) = named.check(TLS)
    assert (result.status, named.report.verdict) == (Status.WARN, Verdict.WARNING)
    assert named.check("endpoint.domain")[0].status is Status.WARN
    assert named.claims()["endpoint_key"].basis is Basis.ASSERTED


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("sha256sum.txt", lambda raw: raw.replace(b"\n", b"\n\n", 1)),
        (f"cert-{WEB_DOMAIN}.pem", lambda _: web_certificate(WEB_DOMAIN, Knobs().now, ATTACKER)),
        ("quote.json", lambda raw: raw.replace(b'"quote"', b'"other"')),
    ],
    ids=["list", "certificate", "quote"],
)
def test_evidences_that_name_no_such_key(name: str, edit: Callable[[bytes], bytes]) -> None:
    knobs = served(name, edit)
    forged = audit(knobs, endpoint=WEB_DOMAIN)
    (result,) = forged.check(TLS)
    assert result.status is Status.ERROR or result.skip_kind is SkipKind.MISSING_EVIDENCE
    assert forged.report.verdict is Verdict.NONE


def test_another_key_than_the_evidences_name() -> None:
    def web(_: World, host: str) -> bytes:
        return web_certificate(host, Knobs().now, ATTACKER)

    (result,) = audit(Knobs(peer=web), endpoint=WEB_DOMAIN).check(TLS)
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE


def answer_to(audited: Audited, endpoint: str) -> str:
    return render_connection(audited.under("endpoint").report, endpoint, 100, color=False)


def test_the_answer_in_words(met: Audited, honest: Audited) -> None:
    assert answer_to(met, PASSED_THROUGH).startswith("YES: the connection to APP-443s")
    by_gateway = audit(Knobs(), endpoint=BY_GATEWAY)
    assert answer_to(by_gateway, BY_GATEWAY).startswith("AT THE GATEWAY: ")
    named = audit(Knobs(), endpoint=WEB_DOMAIN)
    assert answer_to(named, WEB_DOMAIN).startswith("NOT PROVEN: ")
    unmet = audit(Knobs(), endpoint="nobody.customer.invalid")
    text = answer_to(unmet, "nobody.customer.invalid:443")
    assert text.startswith("NOT KNOWN: ")
    assert "Connection    none was made: nothing answers there" in text
    nameless = met.again(app_id=None)
    assert "none was named: --app-id APP_ID" in answer_to(nameless, PASSED_THROUGH)
    assert answer_to(honest, "app.example.org:443").startswith("NOT KNOWN: ")


def met_in_turn(*others: Knobs) -> tuple[World, Report]:
    """An app of several instances, and its audit where its address leads to each of them in turn,
    and nothing else names any."""
    world = build(Knobs(others=others))
    certificates = itertools.cycle([guest.app_cert.encode() for guest in world.guests])
    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(world.reference()),
        at=world.now,
        trusted=True,
        endpoint=parse_endpoint(world.serving_host),
    )
    sources = Sources(
        responder=world.respond, handshakes=lambda *_: next(certificates), cloud=False
    )
    bundle = collect_evidence(question, sources, lambda: world.now)
    return world, audit_bundle(bundle, world.app_id, question, load_policy("baseline"))


def test_every_instance_that_is_met_is_audited() -> None:
    world, report = met_in_turn(*[Knobs()] * 4)
    assert report.verdict is Verdict.AFFIRMING
    assert [subject.name.rpartition("/")[2] for subject in report.subjects] == sorted(
        world.instance_ids
    )
    found = [item for subject in report.subjects for item in subject.checks if item.id == TLS]
    assert [item.status for item in found] == [Status.PASS] * 5


def test_one_behind_the_fifth_handshake_decides() -> None:
    world, report = met_in_turn(*[Knobs()] * 3, DEVELOPMENT)
    assert report.verdict is Verdict.CONTRAINDICATED
    assert len(report.subjects) == 5
    assert report.subjects[0].name.rpartition("/")[2] == world.instance_ids[4]


def test_strict_affirms_an_honest_world_over_http() -> None:
    world = build()
    question = Question(
        app_id=AppId(world.app_id),
        reference=simulated_reference(world.reference()),
        at=world.now,
        trusted=True,
        challenge=CHALLENGE,
        endpoint=parse_endpoint(DOMAIN),
    )
    with serve(world.respond) as running:
        sources = Sources(
            routes=running.routes,
            handshakes=world.handshake,
            challenge_url=f"https://{DOMAIN}{ATTESTATION_PATH}?nonce={{challenge}}",
            cloud=False,
        )
        bundle = collect_evidence(question, sources, lambda: world.now)
    report = audit_bundle(bundle, world.app_id, question, load_policy("strict"))
    assert report.verdict is Verdict.AFFIRMING


def test_a_resolver_that_answers_twice_and_not_the_same_says_nothing() -> None:
    named = audit(Knobs(), endpoint=WEB_DOMAIN)
    other = audit(Knobs(edit_dns=without_caa), endpoint=WEB_DOMAIN)
    told = [item for item in other.bundle.artifacts if item.kind is Kind.DNS_MESSAGE]
    for artifacts in ((*named.bundle.artifacts, *told), (*told, *named.bundle.artifacts)):
        bundle = Bundle(artifacts, {**named.bundle.blobs, **other.bundle.blobs})
        (result,) = named.again(bundle).check("endpoint.domain")
        assert result.skip_kind is SkipKind.MISSING_EVIDENCE
        assert "answers twice, and not the same" in result.summary


def test_of_two_quotes_over_the_key_of_a_gateway_the_worst_counts() -> None:
    honest = audit(Knobs(), endpoint=BY_GATEWAY)
    knobs = Knobs(edit_gateway=lambda own: replace(own, os_image="development"))
    other = audit(knobs, endpoint=BY_GATEWAY).bundle
    told = [item for item in other.artifacts if item.kind is Kind.GATEWAY_ACME]
    for artifacts in ((*honest.bundle.artifacts, *told), (*told, *honest.bundle.artifacts)):
        both = honest.again(Bundle(artifacts, {**honest.bundle.blobs, **other.blobs}))
        assert both.check(TLS)[0].status is Status.FAIL
        assert both.check("endpoint.domain")[0].skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_quote_of_an_earlier_gateway_over_the_key_is_a_doubt() -> None:
    """Of a build that the contract allows no longer, as it was when its KMS gave it keys."""
    honest = audit(Knobs(), endpoint=BY_GATEWAY)
    knobs = Knobs(edit_gateway=lambda own: replace(own, app_name="earlier gateway"))
    earlier = audit(knobs, endpoint=BY_GATEWAY).bundle
    told = [item for item in earlier.artifacts if item.kind is Kind.GATEWAY_ACME]
    info = [item for item in earlier.artifacts if item.kind is Kind.GATEWAY_INFO]
    for artifacts in ((*honest.bundle.artifacts, *told, *info), (*told, *honest.bundle.artifacts)):
        both = honest.again(Bundle(artifacts, {**honest.bundle.blobs, **earlier.blobs}))
        (result,) = both.check(TLS)
        assert result.status is Status.WARN
        assert "another quote over the same: " in result.reason
        assert both.check("endpoint.domain")[0].status is Status.PASS


def test_a_quote_over_the_key_that_nobody_can_read_is_an_error() -> None:
    honest = audit(Knobs(), endpoint=BY_GATEWAY)
    (told,) = (item for item in honest.bundle.artifacts if item.kind is Kind.GATEWAY_ACME)
    answer = json.loads(honest.bundle.blob(told))
    last = answer["quoted_hist_keys"][-1]
    answer["quoted_hist_keys"].append({**last, "quote": "no JSON"})
    raw = json.dumps(answer).encode()
    spoiled = honest.editing(lambda item, old: raw if item.kind is Kind.GATEWAY_ACME else old)
    (result,) = spoiled.check(TLS)
    assert result.status is Status.ERROR
    assert "crash" not in result.reason


def firmware_of_its_own(own: Knobs) -> Knobs:
    return replace(own, edit_events=host.firmware_event(5, "db"))


def test_a_gateway_whose_firmware_was_configured_otherwise_fails() -> None:
    """What its tables show may stay a doubt; what its host enrolled in the firmware may not."""
    forged = audit(Knobs(edit_gateway=firmware_of_its_own), endpoint=BY_GATEWAY)
    (result,) = forged.check(TLS)
    assert result.status is Status.FAIL
    assert "its own boot.machine fails" in result.summary
    (named,) = forged.check("endpoint.domain")
    assert named.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "boot.machine" in named.summary


def test_a_record_beside_the_apps_that_names_no_app_is_a_doubt() -> None:
    def more(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
        other = [(owner, kind, text_data("localhost:8090")) for owner, _, _ in records[:1]]
        return [*records, *other] if kind == "TXT" else records

    (result,) = audit(Knobs(edit_dns=more), endpoint=WEB_DOMAIN).check("endpoint.domain")
    assert result.status is Status.WARN
    assert "has a record, too, that names no app's id" in result.summary


@pytest.mark.parametrize(
    ("tag", "shown"), [("issue", "APP-443.gw.lab.invalid"), ("issuewild", "*.gw.lab.invalid")]
)
def test_an_account_that_may_certify_by_one_of_two_properties(tag: str, shown: str) -> None:
    def edit(_resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
        if (name, kind) != ("gw.lab.invalid", "CAA"):
            return records
        value = "lab.invalid; accounturi=https://acme.lab.invalid/acme/acct/2"
        kept = [item for item in records if item[2][2 : 2 + item[2][1]] != tag.encode()]
        return [*kept, (name, kind, caa_data(tag, value))]

    audited = audit(Knobs(edit_dns=edit), endpoint=BY_GATEWAY)
    (result,) = audited.check("endpoint.domain")
    shown = shown.replace("APP", audited.world.app_id)
    assert result.status is Status.WARN
    assert result.summary == (
        f"lab.invalid may certify {shown} for the account https://acme.lab.invalid/acme/acct/2"
    )


def aliases(*chain: str) -> Callable[[str, str, str, list[Record]], list[Record]]:
    """A name of the app's own that leads over these names."""

    def edit(_resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
        if name not in (DOMAIN, WEB_DOMAIN):
            return records
        own = [item for item in records if item[1] != "CNAME"] if kind != "CNAME" else []
        links = list(zip((name, *chain), chain, strict=False))
        return [*((a, "CNAME", name_data(b)) for a, b in links), *own]

    return edit


@pytest.mark.parametrize(
    ("chain", "status", "words"),
    [
        (["gateway.gw.lab.invalid"], Status.PASS, "by the gateway gw.lab.invalid"),
        (["0123.gw.lab.invalid"], Status.PASS, "by the gateway gw.lab.invalid"),
        (["a.b.gw.lab.invalid"], Status.WARN, "which is no known gateway"),
        (["app.deleg.invalid", "_.gw.lab.invalid"], Status.PASS, "by the gateway gw.lab.invalid"),
        (["_.gw.lab.invalid.attacker.invalid"], Status.WARN, "which is no known gateway"),
        ([], Status.WARN, "is no alias of a gateway's name"),
    ],
)
def test_where_an_alias_leads(chain: list[str], status: Status, words: str) -> None:
    (result,) = audit(Knobs(edit_dns=aliases(*chain)), endpoint=DOMAIN).check("endpoint.domain")
    assert result.status is status
    assert words in result.summary


@pytest.mark.parametrize("told", [True, False], ids=["by its own question", "by the others"])
def test_an_alias_that_not_every_answer_tells(*, told: bool) -> None:
    def edit(_resolver: str, _name: str, kind: str, records: list[Record]) -> list[Record]:
        return [item for item in records if item[1] != "CNAME" or told is (kind == "CNAME")]

    (result,) = audit(Knobs(edit_dns=edit), endpoint=DOMAIN).check("endpoint.domain")
    assert result.status is Status.PASS
    assert "by the gateway gw.lab.invalid" in result.summary


def test_a_doubtful_way_says_nothing_of_who_may_certify() -> None:
    def web(_: World, host: str) -> bytes:
        return web_certificate(host, Knobs().now, ATTACKER)

    knobs = Knobs(edit_dns=aliases("edge.attacker.invalid"), peer=web)
    (result,) = audit(knobs, endpoint=DOMAIN).check("endpoint.domain")
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "nothing attests which account" in result.summary


def test_a_gateway_that_the_relying_party_names_is_known() -> None:
    elsewhere = audit(Knobs(edit_dns=aliases("_.gw.other.invalid")), endpoint=DOMAIN)
    assert elsewhere.check("endpoint.domain")[0].status is Status.WARN
    named = elsewhere.again(gateways=("gw.other.invalid",))
    assert named.check("endpoint.domain")[0].status is Status.PASS


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (f"lab.invalid; accounturi={ACCOUNT_URI}; policy=wildcard", Status.PASS),
        (f"lab.invalid; accounturi={ACCOUNT_URI}2; policy=wildcard", Status.WARN),
        (f"lab.invalid; accounturi={ACCOUNT_URI}2; policy=WILDCARD;", Status.WARN),
        (f"other.invalid; accounturi={ACCOUNT_URI}; policy=wildcard", Status.WARN),
        (f"lab.invalid; accounturi={ACCOUNT_URI}2", Status.PASS),
        (f"lab.invalid; accounturi={ACCOUNT_URI}2; policy=wildcard; persistUntil=1", Status.PASS),
        (f"lab.invalid; accounturi={ACCOUNT_URI}2; policy=wildcard; persistUntil=x", Status.WARN),
        ("lab.invalid; policy=wildcard", Status.PASS),
        (f"lab.invalid; accounturi = {ACCOUNT_URI} 2; policy=wildcard", Status.PASS),
    ],
)
def test_standing_permissions_to_certify(value: str, status: Status) -> None:
    def edit(_resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
        own = name == "_validation-persist.gw.lab.invalid" and kind == "TXT"
        return [(name, "TXT", text_data(value))] if own else records

    (result,) = audit(Knobs(edit_dns=edit), endpoint=BY_GATEWAY).check("endpoint.domain")
    assert result.status is status
    assert ("for names below gw.lab.invalid" in result.summary) is (status is Status.WARN)


def test_a_standing_permission_for_the_name_alone() -> None:
    value = f"lab.invalid; accounturi={ACCOUNT_URI}2"

    def edit(_resolver: str, name: str, kind: str, records: list[Record]) -> list[Record]:
        own = name.startswith("_validation-persist.") and "-443." in name and kind == "TXT"
        return [(name, "TXT", text_data(value))] if own else records

    audited = audit(Knobs(edit_dns=edit), endpoint=BY_GATEWAY)
    (result,) = audited.check("endpoint.domain")
    assert result.status is Status.WARN
    assert result.summary.endswith(f"for {BY_GATEWAY.replace('APP', audited.world.app_id)}")
