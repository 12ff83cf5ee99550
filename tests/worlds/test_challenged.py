"""A challenge that the tool itself puts to an app, in each way that is known to take one."""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, add, audit
from verifier.cli.question import challenge_url
from verifier.errors import UsageError
from verifier.evidence.bundle import Bundle, Kind
from verifier.evidence.challenges import CHALLENGE_ENDPOINTS
from verifier.evidence.codec import JsonObject
from verifier.evidence.td.report_data import parse_binding
from verifier.lab import cert
from verifier.lab.attacks.attack import PASSED_THROUGH
from verifier.lab.forgeries import OTHER_APP
from verifier.lab.guest import Guest
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response, answer_json
from verifier.lab.world import build
from verifier.model.result import SkipKind, Status, Verdict

CHALLENGE = bytes(range(32))
EXPORTER = b"\5" * 32
ADDRESS = b"\7" * 20
FRESH, BOUND = "hardware.freshness", "application.binding"


def quoted(guest: Guest, report_data: bytes) -> JsonObject:
    return guest.get_quote(report_data.ljust(64, b"\0"))


def listed(guest: Guest, report_data: bytes) -> JsonObject:
    """One attestation of an inference service's report."""
    answer = quoted(guest, report_data)
    return {"intel_quote": answer["quote"], "event_log": answer["event_log"], "info": guest.info}


def report(guest: Guest, challenge: bytes) -> JsonObject:
    """A report about the guest, and one of another app behind it."""
    other = build(Knobs(guest_app_id=OTHER_APP)).guest
    bound = ADDRESS.ljust(32, b"\0") + challenge
    return {
        "gateway_attestation": listed(guest, bound),
        "model_attestations": [listed(other, bound)],
    }


def attest(guest: Guest, challenge: bytes) -> JsonObject:
    blob = cert.scale_v0(guest.attestation(challenge.ljust(64, b"\0")))
    return {"attestation": blob.hex()}


def hashed(guest: Guest, challenge: bytes) -> JsonObject:
    return quoted(guest, hashlib.sha512(b"app-data:" + challenge).digest())


def of_session(guest: Guest, challenge: bytes) -> JsonObject:
    return {"quote": quoted(guest, hashlib.sha512(challenge + EXPORTER).digest())}


ANSWERS: dict[str, Callable[[Guest, bytes], JsonObject]] = {
    "get-quote": quoted,
    "attest": attest,
    "raw-quote": quoted,
    "tdx-quote": hashed,
    "attestation": quoted,
    "attestation-report": report,
    "v1-attestation-report": report,
    "atlas": of_session,
}


@cache
def asked(way: str, *, stale: bool = False) -> Audited:
    """An app that answers in one way; over another challenge than it was asked for, if `stale`."""

    def answer(_method: str, url: str, body: bytes, response: Response) -> Response:
        parts = urlsplit(url)
        template = urlsplit(CHALLENGE_ENDPOINTS[way].path)
        if not parts.netloc.endswith("-443s.gw.lab.invalid") or parts.path != template.path:
            return response
        asked = parse_qs(parts.query) or {"": [json.loads(body)["nonce_hex"]]}
        (value,) = asked[template.query.partition("=")[0]]
        given = bytes(32) if stale else bytes.fromhex(value)[:32]
        return replace(answer_json(200, ANSWERS[way](guest, given)), exporter=EXPORTER)

    guest = build(Knobs()).guest
    base = f"{way}=https://{PASSED_THROUGH}"
    url, implied = challenge_url(base.lower().replace("app-443s", "APP-443s"), CHALLENGE.hex())
    audited = audit(Knobs(edit_response=answer), challenge=CHALLENGE, challenge_url=url)
    return audited.again(binds=implied) if implied else audited


@pytest.fixture(scope="module")
def unasked() -> Audited:
    """A quote of another day, and a challenge that it was never asked about."""
    return audit(Knobs(), challenge=CHALLENGE)


@pytest.mark.parametrize("way", CHALLENGE_ENDPOINTS)
def test_each_known_way_bounds_the_age_of_the_quote(way: str) -> None:
    found = asked(way)
    assert [item.status for item in found.check(BOUND)] == [Status.PASS]
    (fresh,) = found.check(FRESH)
    assert (fresh.status, "answers the challenge" in fresh.summary) == (Status.PASS, True)
    assert found.report.verdict is not Verdict.CONTRAINDICATED


@pytest.mark.parametrize("way", ["get-quote", "tdx-quote", "atlas"])
def test_an_answer_over_another_challenge_is_none(way: str) -> None:
    (result,) = asked(way, stale=True).check(BOUND)
    assert result.status is Status.FAIL or result.skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize(
    ("kind", "given", "status"),
    [
        (Kind.GET_QUOTE, None, Status.SKIP),
        (Kind.GET_QUOTE, b"no JSON", Status.SKIP),
        (Kind.KMS_META, None, Status.FAIL),
        (Kind.PROOF, b"no JSON", Status.FAIL),
    ],
    ids=["asked in vain", "not readable", "another in vain", "another not readable"],
)
def test_who_was_asked_and_gave_no_quote_answered_nothing_wrong(
    unasked: Audited, kind: Kind, given: bytes | None, status: Status
) -> None:
    first = unasked.bundle.artifacts[0]
    if given is None:
        vain = replace(first, kind=kind, sha256=None, error="HTTP 500", source="https://a.invalid/")
        bundle = Bundle((*unasked.bundle.artifacts, vain), unasked.bundle.blobs)
    else:
        bundle = add(unasked.bundle, [(kind, given)], unasked.world.now)
    again = unasked.again(bundle)
    (result,) = again.check(BOUND)
    assert result.status is status
    if kind is Kind.GET_QUOTE:
        why = "HTTP 500" if given is None else "JSON"
        assert why in result.summary
    assert [item.status for item in unasked.check(BOUND)] == [Status.FAIL]


def test_of_a_report_only_what_is_about_the_app_counts() -> None:
    found = asked("v1-attestation-report")
    assert len(found.report.subjects) == 1
    (name,) = found.bundle.subjects
    assert name.rpartition("/")[2] == found.world.instance_ids[0]


def test_what_stands_beside_the_challenge_can_be_named() -> None:
    found = asked("v1-attestation-report")
    for address, status in ((ADDRESS, Status.PASS), (b"\1" * 20, Status.SKIP)):
        named = parse_binding(f"address-nonce={address.hex()}:{CHALLENGE.hex()}")
        (result,) = found.again(binds=(named,)).check(BOUND)
        assert result.status is status


def test_a_quote_over_what_was_named_answers_no_other_challenge() -> None:
    named = parse_binding(f"address-nonce={ADDRESS.hex()}:{CHALLENGE.hex()}")
    found = asked("v1-attestation-report").again(binds=(named,), challenge=b"\1" * 32)
    assert found.check(BOUND)[0].status is Status.FAIL
    (fresh,) = found.check(FRESH)
    assert "answers the challenge" not in fresh.summary


def test_every_way_is_answered_here() -> None:
    assert ANSWERS.keys() == CHALLENGE_ENDPOINTS.keys()


@pytest.mark.parametrize(
    ("url", "challenge", "words"),
    [
        ("v1-attestation-report=https://a.org", "00" * 16, "32 bytes, not 16"),
        ("get-quote=", "00" * 32, "is not a URL"),
        ("get-quote=https://a.org/?x=1", "00" * 32, "holds a query"),
        ("getquote=https://a.org", "00" * 32, "has no {challenge}"),
    ],
)
def test_what_is_no_known_way(url: str, challenge: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        challenge_url(url, challenge)
    assert words in error.value.message


def test_a_short_challenge_is_padded_where_64_bytes_are_taken() -> None:
    url, _ = challenge_url("raw-quote=http://localhost:8080", "ab" * 16)
    assert url.endswith("ab" * 16 + "00" * 48)


def test_an_answer_without_a_quote_is_kept_as_it_came() -> None:
    def answer(_method: str, url: str, _body: bytes, response: Response) -> Response:
        return answer_json(200, {"price": 1}) if "nonce" in url else response

    url = f"https://{PASSED_THROUGH}/attestation?nonce={{challenge}}"
    found = audit(Knobs(edit_response=answer), challenge=CHALLENGE, challenge_url=url)
    assert json.dumps({"price": 1}, separators=(",", ":")).encode() in {
        raw.replace(b" ", b"") for raw in found.bundle.blobs.values()
    }
    assert found.report.verdict is not Verdict.AFFIRMING
