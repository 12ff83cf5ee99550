"""Attested TLS: a quote over the session that it is asked in, and what relays of it come to."""

import hashlib
import json
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.cli.question import challenge_url
from verifier.evidence.td.report_data import SESSION, parse_binding
from verifier.lab.endpoint import web_certificate
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response, answer_json
from verifier.lab.world import DOMAIN, World, build
from verifier.model.result import CheckResult, SkipKind, Status

TLS: Final = "endpoint.tls"
CHALLENGE: Final = bytes(range(32))
OWN: Final = b"\5" * 32
OTHER: Final = b"\6" * 32


def asked(*, seen: bytes = OWN, quoted: bytes = OWN, asked_at: str = DOMAIN) -> Audited:
    """An app behind a certificate of a public CA, which quotes challenge and session. `seen` is the
    exporter of the collector's own session, `quoted` of the one that the app is in."""
    guest = build(Knobs()).guest

    def answer(_method: str, url: str, body: bytes, response: Response) -> Response:
        if not url.endswith("/tdx_quote"):
            return response
        nonce = bytes.fromhex(json.loads(body)["nonce_hex"])
        quote = guest.get_quote(hashlib.sha512(nonce + quoted).digest())
        return replace(answer_json(200, {"success": True, "quote": quote}), exporter=seen)

    def peer(_: World, host: str) -> bytes:
        return web_certificate(host, guest.knobs.now, f"key at {host}")

    url, _ = challenge_url(f"atlas=https://{asked_at}", CHALLENGE.hex())
    knobs = Knobs(edit_response=answer, peer=peer)
    return audit(knobs, endpoint=DOMAIN, challenge=CHALLENGE, challenge_url=url)


def result(audited: Audited) -> CheckResult:
    (found,) = audited.check(TLS)
    return found


@pytest.fixture(scope="module")
def honest() -> Audited:
    return asked()


def test_the_session_ends_in_the_guest_that_quotes_it(honest: Audited) -> None:
    found = result(honest)
    assert found.status is Status.PASS
    assert "commits to a TLS session that was ended by the key" in found.summary
    # Users meet the certificate of a public CA: whom else it certifies counts.
    assert honest.check("endpoint.domain")[0].skip_kind is SkipKind.MISSING_EVIDENCE
    assert honest.check("application.binding")[0].status is Status.PASS
    assert honest.check("hardware.freshness")[0].status is Status.PASS


def test_the_next_user_has_the_word_of_a_public_ca_alone(honest: Audited) -> None:
    """Its certificate has no quote: whoever connects there checks what a CA says."""
    (found,) = honest.check("endpoint.domain")
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "nothing attests which account" in found.summary


def test_a_relay_is_in_two_sessions() -> None:
    relayed = asked(quoted=OTHER)
    assert result(relayed).skip_kind is SkipKind.MISSING_EVIDENCE
    assert relayed.check("application.binding")[0].status is Status.FAIL


def test_a_session_that_nobody_noted_ties_nothing() -> None:
    silent = asked(seen=b"")
    assert result(silent).skip_kind is SkipKind.MISSING_EVIDENCE
    assert silent.check("application.binding")[0].status is Status.FAIL


def test_a_session_that_the_relying_party_names_itself_is_not_the_one_that_it_met() -> None:
    named = parse_binding(f"{SESSION}={CHALLENGE.hex()}:{OWN.hex()}")
    for seen in (b"", OTHER):
        audited = asked(seen=seen).again(binds=(named,))
        assert audited.check("application.binding")[0].status is Status.PASS
        assert result(audited).skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_session_with_another_server_says_nothing_of_this_one() -> None:
    elsewhere = asked(asked_at=f"other.{DOMAIN}")
    assert elsewhere.check("application.binding")[0].status is Status.PASS
    assert result(elsewhere).skip_kind is SkipKind.MISSING_EVIDENCE


def test_whose_word_the_session_is(honest: Audited) -> None:
    assert result(honest.again(trusted=False)).skip_kind is SkipKind.MISSING_EVIDENCE
    unasked = honest.again(challenge=b"")
    assert result(unasked).skip_kind is SkipKind.MISSING_EVIDENCE
