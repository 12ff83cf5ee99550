"""Sigstore verification on real public-good bundles, and on what a forger makes of them."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.checks.provenance.sigstore_world import NOW, ROOT, WORLD, Workflow
from tests.checks.provenance.sigstore_world import provenance as slsa
from verifier.checks.provenance.sigstore import (
    Identity,
    public_good_root,
    verify_bundle,
    verify_statement,
)
from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.bundle import Kind
from verifier.evidence.images import sigstore
from verifier.evidence.images.sigstore import SigstoreBundle, parse_bundles, parse_statement
from verifier.evidence.import_files import recognise

ARTIFACT = "a0cfc71271d6e278e57cd332ff957c3f7043fdda354c4cbb190a30d56efa01bf"
BEACON = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon"
IDENTITY = Identity(
    f"{BEACON}/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
STATEMENT = "happy-path-intoto-in-dsse-v3.json"
MESSAGE = "happy-path-v0.3.json"
HEAD = b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"'
Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def bundles(evidence_dir: Path) -> dict[str, Any]:
    """The recorded bundles by file name, as JSON."""
    folder = evidence_dir / "sigstore"
    return {path.name: json.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))}


def bundle_of(document: Any) -> SigstoreBundle:
    (parsed,) = parse_bundles(json.dumps(document).encode(), "bundle")
    return parsed


@pytest.mark.parametrize("name", [STATEMENT, MESSAGE])
@pytest.mark.parametrize("identity", [IDENTITY, None], ids=["named", "any-workflow"])
def test_real_bundles_verify(bundles: dict[str, Any], name: str, identity: Identity | None) -> None:
    result = verify_bundle(bundle_of(bundles[name]), ("00" * 32, ARTIFACT), identity)
    assert result.failure == ""
    assert result.signer.identity == IDENTITY.identity
    assert result.signer.issuer == IDENTITY.issuer
    assert (result.signer.repository, result.signer.ref) == (BEACON, "refs/heads/main")
    assert sigstore.is_commit(result.signer.commit)
    assert result.signer.runner == "github-hosted"
    assert (result.statement is not None) == (name == STATEMENT)


def test_the_statement_says_what_its_signer_does_not(bundles: dict[str, Any]) -> None:
    result = verify_bundle(bundle_of(bundles[STATEMENT]), (ARTIFACT,))
    assert result.statement is not None
    assert result.statement.predicate_type == sigstore.PROVENANCE_TYPE
    assert result.statement.repository == "https://github.com/loosebazooka/aa-test"
    assert result.statement.commit == "ebff8dfbd609b7b22237c7719ce07f2dc7934f5f"


def test_real_bundles_that_must_fail_are_refused(bundles: dict[str, Any]) -> None:
    refused = [name for name in bundles if name.endswith("_fail.json")]
    assert len(refused) == 3
    for name in refused:
        for identity in (IDENTITY, None):
            result = verify_bundle(bundle_of(bundles[name]), (ARTIFACT,), identity)
            assert result.failure, name
            assert not result.signer.identity


@pytest.mark.parametrize("name", [STATEMENT, MESSAGE])
@pytest.mark.parametrize(
    "identity",
    [
        Identity(IDENTITY.identity + "x"),
        Identity(IDENTITY.identity.removesuffix("main")),
        Identity(IDENTITY.identity, "https://accounts.google.com"),
        Identity("", ""),
    ],
)
def test_another_signer_is_refused(bundles: dict[str, Any], name: str, identity: Identity) -> None:
    assert verify_bundle(bundle_of(bundles[name]), (ARTIFACT,), identity).failure


@pytest.mark.parametrize("name", [STATEMENT, MESSAGE])
def test_another_artifact_is_refused(bundles: dict[str, Any], name: str) -> None:
    for digests in ((), ("00" * 32,), (ARTIFACT.upper(),)):
        result = verify_bundle(bundle_of(bundles[name]), digests, IDENTITY)
        assert "another artifact" in result.failure


def flip(text: str, place: int = 20) -> str:
    """Base64 with one bit of its bytes flipped."""
    raw = bytearray(base64.b64decode(text))
    raw[place % len(raw)] ^= 1
    return base64.b64encode(raw).decode()


def payload(change: Change) -> Change:
    """Change the in-toto statement under an unchanged signature."""

    def apply(bundle: Any) -> None:
        envelope = bundle["dsseEnvelope"]
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        envelope["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()

    return apply


def swap_subject(statement: Any) -> None:
    statement["subject"][0]["digest"]["sha256"] = "11" * 32


def add_subject(statement: Any) -> None:
    statement["subject"].append({"name": "b", "digest": {"sha256": "11" * 32}})


def entry(key: str, value: Any) -> Change:
    return lambda bundle: bundle["verificationMaterial"]["tlogEntries"][0].update({key: value})


def dropped_entry(key: str) -> Change:
    return lambda bundle: bundle["verificationMaterial"]["tlogEntries"][0].pop(key)


def proof(key: str, change: Callable[[Any], Any]) -> Change:
    def apply(bundle: Any) -> None:
        found = bundle["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
        found[key] = change(found[key])

    return apply


def certificate(change: Callable[[str], str]) -> Change:
    def apply(bundle: Any) -> None:
        found = bundle["verificationMaterial"]["certificate"]
        found["rawBytes"] = change(found["rawBytes"])

    return apply


COMMON: dict[str, Change] = {
    "certificate flipped": certificate(lambda text: flip(text, -1)),
    "certificate key flipped": certificate(lambda text: flip(text, 120)),
    "certificate empty": certificate(lambda _: ""),
    "no certificate": lambda bundle: bundle["verificationMaterial"].pop("certificate"),
    "no log entry": lambda bundle: bundle["verificationMaterial"].update(tlogEntries=[]),
    "two log entries": lambda bundle: bundle["verificationMaterial"]["tlogEntries"].append(
        bundle["verificationMaterial"]["tlogEntries"][0]
    ),
    "no promise, so no time": dropped_entry("inclusionPromise"),
    "no integrated time": dropped_entry("integratedTime"),
    "a time when the certificate was expired": entry("integratedTime", "1760000000"),
    "a time before the certificate": entry("integratedTime", "1600000000"),
    "promise of another entry": entry("inclusionPromise", {"signedEntryTimestamp": "MEUCIA=="}),
    "no inclusion proof": dropped_entry("inclusionProof"),
    "another log": entry("logId", {"keyId": base64.b64encode(bytes(32)).decode()}),
    "another index": entry("logIndex", "1"),
    "another kind": entry("kindVersion", {"kind": "intoto", "version": "0.0.2"}),
    "an entry about nothing": entry("canonicalizedBody", base64.b64encode(b"{}").decode()),
    "root hash flipped": proof("rootHash", flip),
    "hashes dropped": proof("hashes", lambda _: []),
    "tree size changed": proof("treeSize", lambda _: "1"),
    "checkpoint unsigned": proof(
        "checkpoint", lambda old: {"envelope": old["envelope"].split("\n\n")[0] + "\n\n"}
    ),
    "checkpoint of another tree": proof(
        "checkpoint", lambda old: {"envelope": old["envelope"].replace("\n", "\n1", 1)}
    ),
    "another format": lambda bundle: bundle.update(
        mediaType="application/vnd.dev.sigstore.bundle.v9+json"
    ),
}
OF_STATEMENT: dict[str, Change] = {
    "signature flipped": lambda bundle: bundle["dsseEnvelope"]["signatures"][0].update(
        sig=flip(bundle["dsseEnvelope"]["signatures"][0]["sig"])
    ),
    "no signature": lambda bundle: bundle["dsseEnvelope"].update(signatures=[]),
    "signed twice": lambda bundle: bundle["dsseEnvelope"]["signatures"].append(
        bundle["dsseEnvelope"]["signatures"][0]
    ),
    "subject swapped": payload(swap_subject),
    "subject added": payload(add_subject),
    "another commit": payload(
        lambda statement: statement["predicate"]["buildDefinition"].update(resolvedDependencies=[])
    ),
    "another payload type": lambda bundle: bundle["dsseEnvelope"].update(payloadType="text/plain"),
}
OF_MESSAGE: dict[str, Change] = {
    "signature flipped": lambda bundle: bundle["messageSignature"].update(
        signature=flip(bundle["messageSignature"]["signature"])
    ),
    "digest swapped": lambda bundle: bundle["messageSignature"]["messageDigest"].update(
        digest=base64.b64encode(bytes.fromhex("11" * 32)).decode()
    ),
    "no digest": lambda bundle: bundle["messageSignature"].pop("messageDigest"),
}
MUTATIONS = [
    (name, label, change)
    for name, changes in ((STATEMENT, COMMON | OF_STATEMENT), (MESSAGE, COMMON | OF_MESSAGE))
    for label, change in changes.items()
]


@pytest.mark.parametrize(
    ("name", "change"),
    [(name, change) for name, _, change in MUTATIONS],
    ids=[f"{name.split('.')[0]}-{label}" for name, label, _ in MUTATIONS],
)
def test_a_changed_bundle_is_refused(bundles: dict[str, Any], name: str, change: Change) -> None:
    document = json.loads(json.dumps(bundles[name]))
    change(document)
    assert document != bundles[name]
    for digests in ((ARTIFACT,), ("11" * 32,), (ARTIFACT, "11" * 32)):
        result = verify_bundle(bundle_of(document), digests, IDENTITY)
        assert result.failure
        assert not result.signer.identity


def test_a_signature_of_one_bundle_does_not_fit_another(bundles: dict[str, Any]) -> None:
    document = json.loads(json.dumps(bundles[STATEMENT]))
    document["verificationMaterial"] = bundles[MESSAGE]["verificationMaterial"]
    assert verify_bundle(bundle_of(document), (ARTIFACT,), IDENTITY).failure


def test_another_trusted_root_trusts_none_of_it(bundles: dict[str, Any]) -> None:
    root = json.loads(public_good_root())
    for part in ("tlogs", "certificateAuthorities", "ctlogs"):
        without = json.dumps({**root, part: []}).encode()
        for name in (STATEMENT, MESSAGE):
            bundle = bundle_of(bundles[name])
            assert verify_bundle(bundle, (ARTIFACT,), IDENTITY, without).failure, part


def test_what_a_bundle_claims_decides_nothing() -> None:
    other = "11" * 32
    bundle = bundle_of(WORLD.sign(slsa(ARTIFACT)))
    assert not verify_bundle(bundle, (ARTIFACT,), trusted_root=ROOT).failure
    liar = replace(bundle, digests=(other,))
    assert "another artifact" in verify_bundle(liar, (other,), trusted_root=ROOT).failure
    text = bundle_of(WORLD.sign(slsa(ARTIFACT), payload_type="text/plain"))
    assert text.digests == ()
    liar = replace(text, digests=(ARTIFACT,))
    assert "not a statement" in verify_bundle(liar, (ARTIFACT,), trusted_root=ROOT).failure


def of_statement(change: Change = lambda _: None) -> bytes:
    """A signed statement, changed afterwards."""
    made = json.loads(json.dumps(WORLD.sign(slsa(ARTIFACT), Workflow())))
    change(made)
    return json.dumps(made).encode()


@pytest.mark.parametrize("identity", [Identity(Workflow().identity), None], ids=["named", "any"])
def test_a_signed_statement_verifies(identity: Identity | None) -> None:
    found = verify_statement(of_statement(), identity, ROOT)
    assert (found.failure, found.signer.identity) == ("", Workflow().identity)
    assert json.loads(found.payload) == slsa(ARTIFACT)


@pytest.mark.parametrize(
    ("raw", "identity", "says"),
    [
        (of_statement(COMMON["no log entry"]), None, "no proof that it stands"),
        (of_statement(COMMON["no inclusion proof"]), None, "no proof that it stands"),
        (of_statement(COMMON["another log"]), None, "none of the trusted root's"),
        (of_statement(entry("integratedTime", str(NOW - 1))), None, "and its certificate is of"),
        (of_statement(entry("integratedTime", str(NOW + 601))), None, "and its certificate is of"),
        (of_statement(COMMON["root hash flipped"]), None, "root"),
        (of_statement(COMMON["no certificate"]), None, "failed to load"),
        (of_statement(), IDENTITY, "match"),
        (b"{}", None, "failed to load"),
        (json.dumps(WORLD.sign({}, payload_type="text/plain")).encode(), None, "no statement"),
    ],
)
def test_a_statement_that_does_not_verify_says_why(
    raw: bytes, identity: Identity | None, says: str
) -> None:
    found = verify_statement(raw, identity, ROOT)
    assert says in found.failure
    assert (found.payload, found.signer.identity) == (b"", "")


@pytest.mark.parametrize("moment", [NOW, NOW + 600])
def test_a_certificate_counts_from_its_first_to_its_last_second(moment: int) -> None:
    """Where it did, its dates are not why the statement was refused."""
    made = of_statement(entry("integratedTime", str(moment)))
    assert "certificate is of" not in verify_statement(made, None, ROOT).failure


def test_bundles_are_read_from_every_form(bundles: dict[str, Any]) -> None:
    one = bundles[STATEMENT]
    listed = {"attestations": [{"bundle": one, "repository_id": 1}, {"bundle": bundles[MESSAGE]}]}
    lines = b"\n".join(json.dumps(item).encode() for item in (one, bundles[MESSAGE])) + b"\n"
    for raw, count in ((json.dumps(listed).encode(), 2), (lines, 2), (json.dumps(one).encode(), 1)):
        found = parse_bundles(raw, "file")
        assert len(found) == count
        assert recognise("file", raw) == [(Kind.SIGSTORE_BUNDLE, raw)]
        assert all(item.digests == (ARTIFACT,) for item in found)
        assert not any(verify_bundle(item, (ARTIFACT,)).failure for item in found)
    assert parse_bundles(b'{"attestations": []}', "file") == ()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"mediaType": 1}',
        b'{"mediaType": "application/json"}',
        HEAD + b"}",
        b'{"attestations": {}}',
        b'{"attestations": [{"bundle": null, "bundle_url": "https://x"}]}',
        b'{"attestations": [' + b"{}," * 100 + b"{}]}",
        HEAD + b', "messageSignature": {}, "dsseEnvelope": {}}',
        HEAD + b', "dsseEnvelope": {"payload": "*", "payloadType": ""}}',
        b"{}\n" * 101,
    ],
)
def test_other_files_are_no_bundles(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        parse_bundles(raw, "file")


def test_a_statement_is_strict(bundles: dict[str, Any]) -> None:
    good = json.loads(codec.parse_base64(bundles[STATEMENT]["dsseEnvelope"]["payload"], "payload"))
    assert parse_statement(json.dumps(good).encode(), "statement").digests == (ARTIFACT,)
    for change in (
        {"_type": "https://in-toto.io/Statement/v0.1"},
        {"subject": None},
        {"subject": [{"digest": {"sha256": ARTIFACT.upper()}}]},
        {"predicate": None},
        {"predicate": {"buildDefinition": {"resolvedDependencies": [1]}}},
    ):
        with pytest.raises(EvidenceError):
            parse_statement(json.dumps({**good, **change}).encode(), "statement")


@pytest.mark.parametrize(
    ("url", "repository"),
    [
        ("https://github.com/Example/App", "example/app"),
        ("https://github.com/example/app.git", "example/app"),
        ("https://github.com/example/app/tree/main", "example/app"),
        ("git+https://github.com/example/app@refs/heads/main", "example/app"),
        ("https://github.com.evil.example/example/app", ""),
        ("https://user@github.com/example/app", ""),
        ("http://github.com/example/app", ""),
        ("https://github.com/example", ""),
        ("https://github.com/example/..", ""),
        ("https://github.com/exa%2fmple/app", ""),
        ("https://github.com/example/app?x", "example/app"),
        ("git@github.com:example/app.git", ""),
        ("https://[bad/x/y", ""),
        ("", ""),
    ],
)
def test_a_repository_is_read_from_its_url_alone(url: str, repository: str) -> None:
    assert sigstore.github_repository(url) == repository
