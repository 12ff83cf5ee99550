"""Signed results: what the author signed of this very evidence, and nothing else."""

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from msgspec import Struct
from msgspec.structs import replace

from tests.cli.command import Ran, Run
from tests.gates.test_action import APP_ID, BUNDLE, DIGEST
from verifier.lab import keys
from verifier.lab.sigstore import Sigstore, Workflow
from verifier.model.identifiers import parse_time
from verifier.report.audit.statement import read_statement

ROOT: Final = Path(__file__).parents[2]
ASKED: Final = (
    *("--bundle", BUNDLE, "--trust-bundle", DIGEST),
    *("--unsafe-root", str(ROOT / "fixtures" / "demo-reference.json")),
)
THEN: Final = "2026-06-15T12:00:00Z"
NOW: Final = parse_time(THEN) or 0
SOON: Final = "2026-06-20T00:00:00Z"


class Author(Struct, frozen=True):
    """A folder with a key pair, a statement and its signed form."""

    folder: Path

    def statement(self) -> dict[str, Any]:
        """The statement that the author signs."""
        found: dict[str, Any] = json.loads((self.folder / "s.json").read_bytes())
        return found


def write_keys(folder: Path, name: str) -> None:
    key = keys.p256(f"author {name}")
    pem, plain = Encoding.PEM, NoEncryption()
    (folder / f"{name}.pem").write_bytes(key.private_bytes(pem, PrivateFormat.PKCS8, plain))
    public = key.public_key().public_bytes(pem, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)


@pytest.fixture
def author(call: Run, tmp_path: Path) -> Author:
    for name in ("key", "other"):
        write_keys(tmp_path, name)
    ran = call("app", APP_ID, *ASKED, "--at", THEN, "-q", "--report", "statement=s.json")
    assert ran.code == 0, ran.err
    signed = call("sign", "s.json", "--key", "key.pem", "-o", "signed.json")
    assert signed.code == 0, signed.err
    return Author(tmp_path)


def check(call: Run, *more: str, file: str = "signed.json", key: str = "key.pub") -> Ran:
    at = () if "--at" in more else ("--at", SOON)
    return call("report", file, APP_ID, "--key", key, *ASKED, *at, *more)


def test_a_statement_names_report_evidence_and_manifest(author: Author, call: Run) -> None:
    statement = author.statement()
    digests = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    report = call("app", APP_ID, *ASKED, "--at", THEN, "--format", "json").out
    assert digests["evidence"] == DIGEST.removeprefix("sha256:")
    assert json.loads(report)["bundle_digest"] == digests["evidence"]
    claims = {item["name"]: item["value"] for item in json.loads(report)["claims"]}
    assert digests["app-compose.json"] == claims["compose_hash"]
    predicate = statement["predicate"]
    assert predicate["timeCreated"] == THEN
    assert predicate["timeExpires"] == "2026-06-22T12:00:00Z"
    assert predicate["properties"]
    assert all(item.startswith("SIMULATED_DSTACK_") for item in predicate["properties"])


def test_what_is_not_accepted_has_no_property_and_no_manifest(call: Run, tmp_path: Path) -> None:
    words = ("--bundle", BUNDLE, "--trust-bundle", DIGEST, "--at", THEN, "-q")
    assert call("app", APP_ID, *words, "--report", "statement=s.json").code == 4
    statement = json.loads((tmp_path / "s.json").read_bytes())
    assert statement["predicate"]["properties"] == []
    assert {item["name"] for item in statement["subject"]} == {"report.json", "evidence"}


@pytest.mark.usefixtures("author")
def test_what_was_signed_is_derived_again(call: Run) -> None:
    ran = check(call)
    assert ran.code == 0, ran.err
    assert "SIMULATED" in ran.out.upper()
    assert "the signature holds, and this evidence gives this very report" in ran.err


@pytest.mark.usefixtures("author")
def test_another_key_is_refused(call: Run) -> None:
    ran = check(call, key="other.pub")
    assert ran.code == 4
    assert "the signature is not this key's" in ran.err


@pytest.mark.usefixtures("author")
def test_an_expired_result_is_not_relied_on(call: Run) -> None:
    ran = check(call, "--at", "2026-06-22T12:00:01Z")
    assert ran.code == 3
    assert "expired at 2026-06-22T12:00:00Z" in ran.err
    assert check(call, "--at", "2026-06-22T12:00:00Z").code == 0


@pytest.mark.usefixtures("author")
def test_another_policy_gives_another_report(call: Run) -> None:
    ran = check(call, "--policy", "genuine")
    assert ran.code == 4
    assert "do not give the signed report" in ran.err


def changed(author: Author, **predicate: Any) -> None:
    """A signed file whose statement was changed without its key."""
    signed = json.loads((author.folder / "signed.json").read_bytes())
    statement = author.statement()
    statement["predicate"] |= predicate
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    signed["dsseEnvelope"]["payload"] = payload
    (author.folder / "signed.json").write_text(json.dumps(signed))


def test_a_forged_statement_is_refused(author: Author, call: Run) -> None:
    changed(author, timeExpires="2036-06-22T12:00:00Z")
    assert check(call).code == 4


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"subject": []}, 4, "about other evidence"),
        ({"predicateType": "https://slsa.dev/verification_summary/v1"}, 3, "no statement about"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, 3, "no statement about"),
        ({"properties": ["DSTACK_VERDICT_AFFIRMING"]}, 4, "do not give the signed report"),
        ({"verifier": {"id": "urn:dstack-audit:99.0"}}, 3, "of urn:dstack-audit:99.0"),
        ({"timeExpires": "2026-06-01T00:00:00Z"}, 3, "no statement about"),
        ({"timeCreated": "yesterday"}, 3, "no statement about"),
    ],
)
def test_what_the_author_signed_of_something_else_is_refused(
    author: Author, call: Run, change: dict[str, Any], code: int, said: str
) -> None:
    statement = author.statement()
    for name, value in change.items():
        (statement if name in statement else statement["predicate"])[name] = value
    if not statement["subject"]:
        statement["subject"] = [{"name": "evidence", "digest": {"sha256": "00" * 32}}]
    (author.folder / "s.json").write_text(json.dumps(statement))
    assert call("sign", "s.json", "--key", "key.pem", "-o", "signed.json").code == 0
    ran = check(call)
    assert (ran.code, said in ran.err) == (code, True), ran.err


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"\xff", b'{"mediaType":"x"}', b"{" * 9999])
def test_what_is_no_bundle_is_one_line(author: Author, call: Run, raw: bytes) -> None:
    (author.folder / "signed.json").write_bytes(raw)
    ran = check(call)
    assert ran.code == 3
    assert "it is no Sigstore bundle" in ran.err


OF_NO_ORDER = (
    b"-----BEGIN PRIVATE KEY-----MC4CAQAwBQYDK2VvBCIEI"
    b"AAAAAAAAAAAAAAAAA2AAAAAAAAAAAAAAAAAAAAAAAAA-----END PRIVATE KEY-----"
)
"""An X25519 key that has no public one, which OpenSSL has no error for."""


def test_keys_of_other_kinds_are_usage_errors(author: Author, call: Run) -> None:
    pem = Encoding.PEM
    other = ec.derive_private_key(7, ec.SECP384R1())
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    secret = BestAvailableEncryption(b"passphrase")
    for raw, said in (
        (b"nothing", "no private key"),
        (OF_NO_ORDER, "no private key"),
        (
            other.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()),
            "--key: it is no P-256 key",
        ),
        (
            edwards.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption()),
            "--key: it is no P-256 key",
        ),
        (keys.p256("x").private_bytes(pem, PrivateFormat.PKCS8, secret), "encrypted"),
    ):
        (author.folder / "bad.pem").write_bytes(raw)
        ran = call("sign", "s.json", "--key", "bad.pem")
        assert ran.code == 2
        assert said in ran.err
    assert check(call, key="key.pem").code == 2


@pytest.mark.usefixtures("author")
def test_evidence_has_to_be_named(call: Run) -> None:
    assert call("report", "signed.json", APP_ID, "--key", "key.pub").code == 2


def test_no_text_is_taken_for_a_statement() -> None:
    from verifier.errors import EvidenceError  # noqa: PLC0415

    for raw in (b"", b"null", b"[1]", b'{"_type": 1}'):
        with pytest.raises(EvidenceError):
            read_statement(raw)


def test_the_lines_of_the_document(author: Author, call: Run) -> None:
    """docs/ci.md, with the demo's evidence in place of a running app."""
    document = (ROOT / "docs" / "ci.md").read_text()
    block = document.split("## Signed results")[1].split("```")[1]
    (author.folder / "policy.toml").write_text('name = "release"\nextends = "baseline"\n')
    audit, sign, report = (line.split()[1:] for line in block.strip().splitlines())
    given = [*ASKED, "--at", THEN, "-q"]
    words = [APP_ID if word == "APP_ID" else word for word in audit]
    place = words.index("--save")
    assert call(*words[:place], *words[place + 2 :], *given).code == 0
    assert call(*sign).code == 0
    words = [{"APP_ID": APP_ID, "evidence": BUNDLE}.get(word, word) for word in report]
    assert call(*words, *ASKED[2:], "--at", SOON).code == 0


@pytest.fixture
def token(author: Author, call: Run) -> Path:
    """An EAR of the same audit, signed by the author."""
    ran = call("app", APP_ID, *ASKED, "--at", THEN, "-q", "--report", "ear=ear.json")
    assert ran.code == 0, ran.err
    signed = call("sign", "ear.json", "--key", "key.pem", "-o", "ear.jwt")
    assert signed.code == 0, signed.err
    return author.folder / "ear.jwt"


@pytest.mark.usefixtures("token")
def test_an_ear_is_a_token_that_is_derived_again(call: Run) -> None:
    ran = check(call, file="ear.jwt")
    assert ran.code == 0, ran.err
    assert "this evidence gives this very report" in ran.err
    assert check(call, file="ear.jwt", key="other.pub").code == 4
    assert check(call, "--at", "2026-06-22T12:00:01Z", file="ear.jwt").code == 3
    assert "--key key.pub" in call("report", "ear.jwt").err


def base64url(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


def test_forged_tokens_are_refused(token: Path, call: Run) -> None:
    header, claims, signature = token.read_text().strip().split(".")
    raw = base64.urlsafe_b64decode(claims + "==")
    better = base64url(json.loads(raw) | {"ear_status": "affirming"})
    for forged, code, said in (
        (f"{header}.{better}.{signature}", 4, "not this key's"),
        (f"{base64url({'alg': 'none'})}.{claims}.", 3, "no signed token"),
        (f"{base64url({'alg': 'none'})}.{claims}.{signature}", 3, "not signed by ES256"),
        (f"{base64url({'alg': 'HS256'})}.{claims}.{signature}", 3, "not signed by ES256"),
        (f"{header}.{claims}.{signature[:-4]}", 3, "no signed token"),
        (f"{header}.{claims}", 3, "no signed token"),
        (f"{header}.{claims}.{signature}.x", 3, "no signed token"),
        (f"eyJ!.{claims}.{signature}", 3, "no signed token"),
    ):
        token.write_text(forged)
        ran = check(call, file="ear.jwt")
        assert (ran.code, said in ran.err) == (code, True), (forged[:40], ran.err)


def test_a_vsa_is_derived_again_and_a_simulated_one_is_not_passed(
    author: Author, call: Run
) -> None:
    assert call("app", APP_ID, *ASKED, "--at", THEN, "-q", "--report", "vsa=v.json").code == 0
    document = json.loads((author.folder / "v.json").read_bytes())
    assert document["predicate"]["verificationResult"] == "FAILED"
    assert call("sign", "v.json", "--key", "key.pem", "-o", "v.sigstore.json").code == 0
    assert check(call, file="v.sigstore.json").code == 0


@pytest.fixture
def keyless(author: Author, monkeypatch: pytest.MonkeyPatch) -> Sigstore:
    """A Sigstore instance, taken for the public-good one, that signed the author's statement for a
    workflow."""
    instance = Sigstore(certified_at=NOW, logged_at=NOW + 60)
    root = instance.trusted_root
    monkeypatch.setattr("verifier.checks.provenance.sigstore.public_good_root", lambda: root)
    signed = instance.sign(author.statement())
    (author.folder / "keyless.json").write_text(json.dumps(signed))
    return instance


def identified(call: Run, *more: str, identity: str = "") -> Ran:
    words = ("--identity", identity or Workflow().identity, *ASKED, "--at", SOON, *more)
    return call("report", "keyless.json", APP_ID, *words)


@pytest.mark.usefixtures("keyless")
def test_a_result_that_sigstore_signed_for_an_identity_holds(call: Run) -> None:
    ran = identified(call)
    assert ran.code == 0, ran.err
    assert "this evidence gives this very report" in ran.err


@pytest.mark.usefixtures("keyless")
def test_another_identity_or_issuer_is_refused_by_name(call: Run) -> None:
    ran = identified(call, identity="https://github.com/other/app/.github/workflows/b.yml@v1")
    assert ran.code == 4
    assert "github.com/other/app" in ran.err
    assert identified(call, "--issuer", "https://accounts.example").code == 4
    assert identified(call, "--key", "key.pub").code == 2


def test_another_log_and_a_changed_statement_are_refused(
    keyless: Sigstore, author: Author, call: Run
) -> None:
    path = author.folder / "keyless.json"
    signed = json.loads(path.read_bytes())
    statement = author.statement()
    statement["predicate"]["timeExpires"] = "2036-06-22T12:00:00Z"
    changed_payload = base64.b64encode(json.dumps(statement).encode()).decode()
    forged = signed | {"dsseEnvelope": signed["dsseEnvelope"] | {"payload": changed_payload}}
    foreign = replace(keyless, label="another instance").sign(author.statement())
    refused: tuple[object, ...] = (forged, foreign, {}, [])
    for document in refused:
        path.write_text(json.dumps(document))
        assert identified(call).code == 4
