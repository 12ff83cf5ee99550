"""Which machine it is, and whose word about its place counts."""

import base64
import hashlib
import json
from dataclasses import replace
from functools import cache

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace as replaced

from tests.worlds.audited import Audited, add, audit
from verifier.checks.hardware.host import _signed_by
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.import_files import recognise
from verifier.evidence.platforms.place import ED25519, RSA, parse_place
from verifier.lab.knobs import DAY, DEFAULT_NOW, Knobs
from verifier.lab.place import LABEL, ppid_of, public_key, statement
from verifier.model.result import Basis, CheckResult, SkipKind, Status, Verdict


@pytest.fixture(scope="module")
def world() -> Audited:
    return audit(Knobs())


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signed(*keys: str, days: int | None = None) -> str:
    named = ", ".join(f'"{key}"' for key in keys or (public_key(),))
    limit = "" if days is None else f"proof_of_cloud_days = {days}\n"
    return f'[platform]\nproof_of_cloud = "signed"\nproof_of_cloud_keys = [{named}]\n{limit}'


def result(world: Audited, policy: str, *statements: bytes) -> CheckResult:
    given_ones = ((Kind.PLACE, item) for item in statements)
    bundle = add(world.bundle, given_ones, world.world.now)
    return replace(world, bundle=bundle).under(policy).check("hardware.host")[0]


def test_a_policy_that_names_nothing_asks_nothing(world: Audited) -> None:
    found = world.handing_over([(Kind.PLACE, statement(world.world))])
    assert found.check("hardware.host")[0].skip_kind is SkipKind.NOT_APPLICABLE
    assert found.report.verdict is Verdict.AFFIRMING
    claim = found.claims()["host_place"]
    assert claim.basis is Basis.ASSERTED
    assert isinstance(claim.value, dict)
    assert claim.value["label"] == LABEL
    assert "host_place" not in world.claims()


def test_the_machine_is_that_of_the_certificate_in_the_quote(world: Audited) -> None:
    ppid = ppid_of(world.world).hex()
    found = result(world, f'[platform]\nppid = ["{"00" * 16}", "0x{ppid.upper()}"]')
    assert (found.status, found.actual) == (Status.PASS, {"ppid": ppid})
    assert result(world, f'[platform]\nppid = ["{"00" * 16}"]').status is Status.FAIL


def test_a_statement_is_believed_for_its_signer_and_its_machine(world: Audited) -> None:
    found = result(world, signed(), statement(world.world, age=30 * DAY))
    assert found.status is Status.PASS
    assert LABEL in found.summary
    assert "word" in found.reason
    about_the_quote = statement(world.world, ppid=b"\1" * 16)
    assert result(world, signed(), about_the_quote).status is Status.PASS
    about_the_machine = statement(world.world, quote=b"another quote of it")
    assert result(world, signed(), about_the_machine).status is Status.PASS


@pytest.mark.parametrize("key", ["ed25519", "rsa"])
def test_each_key_verifies_by_its_own_algorithm(world: Audited, key: str) -> None:
    signer = "another signer" if key == "ed25519" else rsa_key()
    given_one = statement(world.world, signer=signer)
    assert result(world, signed(public_key(signer)), given_one).status is Status.PASS
    other = result(world, signed(public_key()), given_one)
    assert other.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "no key that the policy names" in other.summary


def test_a_key_is_for_the_one_algorithm_that_a_statement_names(world: Audited) -> None:
    """Whatever the signature would verify by."""
    for signer, other in ((rsa_key(), ED25519), ("an operator", RSA)):
        parsed = parse_place(statement(world.world, signer=signer), "statement")
        key = bytes.fromhex(public_key(signer))
        assert _signed_by(parsed, key)
        assert not _signed_by(replaced(parsed, algorithm=other), key)


@pytest.mark.parametrize(
    ("changes", "days", "word"),
    [
        ({"signer": "attacker"}, None, "no key that the policy names"),
        ({"age": 30 * DAY + 1}, None, "older than 30 days"),
        ({"age": DAY + 1}, 1, "older than 1 days"),
        ({"age": -301}, None, "later than this audit"),
        ({"exp": 1}, None, "it held until 1970"),
        ({"exp": DEFAULT_NOW}, None, "it held until 2026"),
        ({"ppid": b"\1" * 16, "quote": b"x"}, None, "1 given, about another machine"),
    ],
)
def test_what_does_not_count_is_set_aside_and_named(
    world: Audited, changes: dict[str, object], days: int | None, word: str
) -> None:
    useless = statement(world.world, **changes)  # type: ignore[arg-type]
    found = result(world, signed(days=days), useless)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert word in f"{found.summary} {found.reason}"
    good = statement(world.world)
    assert result(world, signed(days=days), useless, good).status is Status.PASS


@pytest.mark.parametrize("changes", [{"age": -300}, {"age": DAY}, {"exp": DEFAULT_NOW + 1}])
def test_it_counts_up_to_its_last_second(world: Audited, changes: dict[str, int]) -> None:
    given_one = statement(world.world, **changes)  # type: ignore[arg-type]
    assert result(world, signed(days=1), given_one).status is Status.PASS


def test_a_changed_statement_is_signed_by_nobody(world: Audited) -> None:
    answer = json.loads(statement(world.world, ppid=b"\1" * 16, quote=b"x"))
    mine = json.loads(statement(world.world))
    claims, signature = mine["jwt"].split(".")[1], answer["jwt"].split(".")[2]
    answer["jwt"] = ".".join([answer["jwt"].split(".")[0], claims, signature])
    found = result(world, signed(), json.dumps(answer).encode())
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize(("algorithm", "counts"), [("RS256", True), ("EdDSA", False)])
def test_a_signature_counts_by_the_algorithm_that_it_names(
    world: Audited, algorithm: str, *, counts: bool
) -> None:
    answer = json.loads(statement(world.world, signer=rsa_key()))
    header = json.dumps({"alg": algorithm}).encode()
    text = ".".join([base64url(header), answer["jwt"].split(".")[1]])
    signature = rsa_key().sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    answer["jwt"] = f"{text}.{base64url(signature)}"
    found = result(world, signed(public_key(rsa_key())), json.dumps(answer).encode())
    assert found.skip_kind is (None if counts else SkipKind.MISSING_EVIDENCE)


def test_it_is_imported_by_its_shape(world: Audited) -> None:
    raw = statement(world.world)
    token = json.loads(raw)["jwt"].encode()
    for given_one in (raw, token, token + b"\n"):
        assert recognise("statement", given_one) == [(Kind.PLACE, given_one)]
        parsed = parse_place(given_one, "statement")
        assert parsed.machine_id == hashlib.sha256(ppid_of(world.world)).digest()[:16]


REFUSED: dict[str, dict[str, object]] = {
    "short-machine": {"machine_id": "ab" * 15},
    "long-machine": {"machine_id": "ab" * 33},
    "machine-not-hex": {"machine_id": "z" * 32},
    "short-hash": {"quote_hash": "ab" * 31},
    "time-as-text": {"timestamp": "1"},
    "time-of-no-calendar": {"timestamp": 1 << 60},
    "negative-time": {"timestamp": -1},
    "true-as-time": {"exp": True},
    "long-label": {"label": "x" * 257},
    "label-as-number": {"label": 3},
}


@pytest.mark.parametrize("claims", REFUSED.values(), ids=REFUSED)
def test_what_is_malformed_is_refused(world: Audited, claims: dict[str, object]) -> None:
    raw = statement(world.world, **claims)  # type: ignore[arg-type]
    with pytest.raises(EvidenceError):
        parse_place(raw, "statement")


def test_a_malformed_statement_is_an_error_of_the_check(world: Audited) -> None:
    raw = statement(world.world, machine_id="ab")
    assert result(world, signed(), raw).status is Status.ERROR


@settings(max_examples=40)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"eyJ{text}".encode()))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_place(raw, "statement")
