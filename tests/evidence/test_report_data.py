"""What report data commits to, by conventions that the relying party names."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.evidence import recorded
from tests.evidence.test_recorded_evidence import NEAR, near_files
from tests.worlds.audited import audit
from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.errors import UsageError
from verifier.evidence.certificates import spki_digest
from verifier.evidence.import_files import import_files
from verifier.evidence.td.report_data import (
    CHALLENGE_LEAF,
    CONVENTIONS,
    parse_binding,
    stated_bindings,
)
from verifier.lab.endpoint import web_certificate
from verifier.lab.knobs import Knobs
from verifier.lab.world import build
from verifier.model.identifiers import parse_time
from verifier.model.result import SkipKind, Status
from verifier.policy.policy import load_policy
from verifier.reference.values import embedded

NONCE, ADDRESS, DIGEST = b"N" * 32, b"A" * 20, b"D" * 32
BINDING = "application.binding"
NODE_KEYS = {
    "2025-12-11_1b075a77b": (
        "ed25519:Ehtn7ajq6hjZtbKYbLzXJ4rfhsBUwumvtw7JvUWAUQx2",
        "ed25519:FNmsPvPCFC6iENkWaEQMx6ZhSvp4CMdfdFdX2jdvXZPu",
    ),
    "2026-02-18_3e1eb3ffd": (
        "ed25519:9vaCNSZ6j8Hjkb6K7qk4sacYi1mSoDCsdaBGRTjDvgdS",
        "ed25519:ASDKFcTqmGUZp3uho6xrzkP56p7tD5P4HcQeiam1E2Hy",
    ),
    "2026-03-23_d84519915": (
        "ed25519:HzB4f7NTWZDqPFm8pJcqt5UwfNAcmxEoRgsY4aMaYj8Y",
        "ed25519:2xLNLL1jcehfBDFXGCKs4QTQdQtziHrSPxzLUuPAvJk2",
    ),
}
"""The TLS and account keys that near/mpc publishes beside each recorded quote
(crates/test-utils/assets/near_*_public_key.pub at the commit in the name)."""

LAYOUTS = {
    f"address-nonce={ADDRESS.hex()}:{NONCE.hex()}": ADDRESS + bytes(12) + NONCE,
    f"address-nonce={DIGEST.hex()}:{NONCE.hex()}": DIGEST + NONCE,
    f"address-fingerprint-nonce={ADDRESS.hex()}:{DIGEST.hex()}:0x{NONCE.hex()}": hashlib.sha256(
        ADDRESS + DIGEST
    ).digest()
    + NONCE,
    f"certificate-nonce={DIGEST.hex()}:{NONCE.hex()}": DIGEST + NONCE,
    f"chutes={NONCE.hex()}:{b'key of 7'.hex()}:{DIGEST.hex()}": hashlib.sha256(
        b"4e" * 32 + b"a2V5IG9mIDc="
    ).digest()
    + DIGEST,
    f"nonce-exporter={NONCE.hex()}:{DIGEST.hex()}": hashlib.sha512(NONCE + DIGEST).digest(),
    f"file=sha256:{DIGEST.hex()}": DIGEST + bytes(32),
    f"app-data={b'hello'.hex()}": hashlib.sha512(b"app-data:hello").digest(),
    f"near-mpc={DIGEST.hex()}:{NONCE.hex()}": b"\0\1"
    + hashlib.sha3_384(DIGEST + NONCE).digest()
    + bytes(14),
}


@pytest.mark.parametrize("text", LAYOUTS)
def test_each_convention_and_its_neighbour(text: str) -> None:
    named = parse_binding(text)
    assert named.report_data == LAYOUTS[text]
    audited = audit(Knobs(app_key_report_data=named.report_data, key_provider="none"))
    (found,) = audited.again(binds=(named,)).check(BINDING)
    assert found.status is Status.PASS
    assert named.kind in found.summary
    other = parse_binding(f"file={'00' * 32}")
    (found,) = audited.again(binds=(other,)).check(BINDING)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    (found,) = audited.again(binds=(other, named)).check(BINDING)
    assert found.status is Status.PASS


def test_every_convention_has_a_layout() -> None:
    assert {parse_binding(text).kind for text in LAYOUTS} == set(CONVENTIONS)


@pytest.mark.parametrize("fresh", [True, False])
def test_a_nonce_that_is_hashed_answers_the_challenge_only_if_it_is_it(*, fresh: bool) -> None:
    named = parse_binding(f"nonce-exporter={NONCE.hex()}:{DIGEST.hex()}")
    challenge = NONCE if fresh else b"M" * 32
    audited = audit(
        Knobs(app_key_report_data=named.report_data, key_provider="none"), challenge=challenge
    ).again(binds=(named,))
    assert [item.status for item in audited.check(BINDING)] == [
        Status.PASS if fresh else Status.FAIL
    ]
    expected = "it answers the challenge"
    assert (expected in audited.check("hardware.freshness")[0].summary) is fresh


@pytest.mark.parametrize("mine", [True, False])
def test_a_challenge_that_is_answered_beside_another_key_binds_nothing(*, mine: bool) -> None:
    """Report data with the nonce in its last bytes, and somebody else's address before it."""
    named = parse_binding(f"address-nonce={ADDRESS.hex()}:{NONCE.hex()}")
    answer = named if mine else parse_binding(f"address-nonce={'BB' * 20}:{NONCE.hex()}")
    audited = audit(
        Knobs(app_key_report_data=answer.report_data, key_provider="none"), challenge=NONCE
    )
    assert [item.status for item in audited.check(BINDING)] == [Status.PASS]
    (found,) = audited.again(binds=(named,)).check(BINDING)
    assert (found.status is Status.PASS) is mine
    assert (found.skip_kind is SkipKind.MISSING_EVIDENCE) is not mine


@recorded.needs_recorded
@pytest.mark.parametrize("name", NODE_KEYS)
@pytest.mark.parametrize("swapped", [False, True])
def test_the_nodes_of_near_mpc(name: str, *, swapped: bool) -> None:
    keys = NODE_KEYS[name][::-1] if swapped else NODE_KEYS[name]
    at = parse_time(NEAR[name])
    assert at is not None
    question = Question(
        app_id=None,
        reference=embedded(),
        at=at,
        trusted=False,
        binds=(parse_binding(f"near-mpc={':'.join(keys)}"),),
    )
    files = [(Path(path).name, recorded.read(path)) for path in near_files(name)]
    report = audit_bundle(
        import_files(files, collected_at=at), "", question, load_policy("baseline")
    )
    (found,) = [item for item in report.subjects[0].checks if item.id == BINDING]
    assert (found.status is Status.PASS) is not swapped
    assert (found.skip_kind is SkipKind.MISSING_EVIDENCE) is swapped


@pytest.mark.parametrize(
    "text",
    [
        "", "=", "near-mpc", "near-mpc=", "near-mpc=:", f"near-mpc={'00' * 31}:{'00' * 32}",
        f"near-mpc={'00' * 32}:{'00' * 32}:{'00' * 32}", "near-mpc=ed25519:0:ed25519:l",
        f"near-mpc=ed25519:{'z' * 44}:{'00' * 32}", "app-data=", "app-data=0", "file=xyz",
        f"app-data={'00' * 5000}", f"{CHALLENGE_LEAF}={'00' * 31}", "file=" + "\u0660" * 64,
    ],
)  # fmt: skip
def test_what_is_no_binding_is_said_with_the_known_ones(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_binding(text)
    assert "near-mpc=TLS_KEY:ACCOUNT_KEY" in caught.value.hint
    assert len(caught.value.message) < 200


def test_what_a_service_states_of_its_quotes_is_found_where_they_commit_to_it() -> None:
    address, nonce, fingerprint = b"\1" * 20, b"\2" * 32, b"\3" * 32
    guest = build().guest
    first = CONVENTIONS["address-nonce"].compose(address, nonce)
    second = CONVENTIONS["address-fingerprint-nonce"].compose(address, fingerprint, nonce)

    def attestation(report_data: bytes, **members: object) -> dict[str, object]:
        quote = guest.quote(report_data).hex()
        return {"signing_address": f"0x{address.hex()}", "intel_quote": quote, **members}

    document = {
        "gateway_attestation": attestation(
            second, request_nonce=nonce.hex(), tls_cert_fingerprint=fingerprint.hex()
        ),
        "model_attestations": [
            attestation(first, nonce=nonce.hex()),
            attestation(first, nonce="22" * 31),
            attestation(bytes(64), nonce=nonce.hex()),
            {"signing_address": 7, "intel_quote": "zz"},
            None,
        ],
        "all_attestations": 3,
    }
    found = stated_bindings(json.dumps(document).encode())
    assert [parse_binding(item).report_data for item in found] == [second, first]
    for raw in (b"{", b"[]", b'"signing_address"', b"signing_address"):
        assert stated_bindings(raw) == ()


def test_what_chutes_states_of_its_quotes_is_found_where_they_commit_to_it() -> None:
    guest = build().guest
    certificate = x509.load_pem_x509_certificate(web_certificate("a.invalid", 1781524800, "key"))
    der = certificate.public_bytes(serialization.Encoding.DER)
    key, nonce = b"\5" * 1184, b"\6" * 32
    tls_key = bytes.fromhex(spki_digest(certificate))
    report_data = CONVENTIONS["chutes"].compose(nonce, key, tls_key)

    def stated(**changes: str) -> tuple[str, ...]:
        members = {
            "nonce": nonce.hex(),
            "e2e_pubkey": base64.b64encode(key).decode(),
            "certificate": base64.b64encode(der).decode(),
            "intel_quote": base64.b64encode(guest.quote(report_data)).decode(),
        }
        document = {"all_attestations": [{**members, **changes}]}
        return stated_bindings(json.dumps(document).encode())

    assert stated() == (f"chutes={nonce.hex()}:{key.hex()}:{tls_key.hex()}",)
    for changes in (
        {"nonce": "00" * 32},
        {"e2e_pubkey": "AAAA"},
        {"e2e_pubkey": "not base64"},
        {"certificate": ""},
        {"certificate": "AAAA"},
        {"intel_quote": "not a quote"},
    ):
        assert stated(**changes) == ()


def test_what_chutes_binds_answers_the_nonce_that_was_asked() -> None:
    named = parse_binding(f"chutes={NONCE.hex()}:{b'key'.hex()}:{DIGEST.hex()}")
    assert named.answers(NONCE)
    assert not named.answers(named.report_data[:32])
