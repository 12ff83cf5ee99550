"""The KMS's own attestation: what each part of it needs, in simulated worlds and real evidence."""

import json
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from tests.evidence.recorded import needs_recorded, read
from tests.worlds.absence import gone
from tests.worlds.audited import Audited, audit
from verifier.audit import audit_bundle
from verifier.checks.case import Case, Question
from verifier.checks.key_management import attestation
from verifier.checks.key_management.kms_guest import signed_by
from verifier.checks.key_management.kms_root import RootKey
from verifier.cli.question import challenge_bytes
from verifier.collection import Sources, collect_evidence
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, BundleBuilder, Kind
from verifier.evidence.codec import JsonObject
from verifier.evidence.guest.kms_answers import parse_bootstrap
from verifier.evidence.import_files import HANDED_OVER, import_files
from verifier.evidence.td.ra_tls import to_pem
from verifier.lab import cert, forged_kms, keys, registry
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.lab.pki import moment
from verifier.lab.response import Response
from verifier.lab.sigstore import Sigstore, Workflow, provenance
from verifier.lab.world import build
from verifier.model.identifiers import AppId
from verifier.model.result import Basis, CheckResult, SkipKind, Status, Verdict
from verifier.policy.policy import load_policy
from verifier.reference.values import embedded

CHECK: Final = "key_management.attestation"
AT: Final = 1781092800
"""2026-06-10T12:00:00Z."""


def found(audited: Audited) -> CheckResult:
    return audited.check(CHECK)[0]


def parts(result: CheckResult) -> dict[str, dict[str, str]]:
    """The parts of the first guest, by their names."""
    actual: Any = result.actual
    return {item["part"]: item for item in actual["guests"][0]["parts"]}


def test_what_it_runs_is_claimed_where_it_is_attested(honest: Audited) -> None:
    own = {"compose_hash": honest.world.kms.guest.compose_hash.hex(), "os_image": "lab production"}
    claim = honest.claims()["kms_guest"]
    assert (claim.value, claim.basis) == ([own], Basis.MEASURED)
    weak = audit(Knobs(edit_kms=forged_kms.guest(os_image="development")))
    assert found(weak).status is Status.FAIL
    assert "kms_guest" not in weak.claims()


@pytest.mark.parametrize("version", ["0.5.4", "0.5.8", "0.5.11"])
def test_an_honest_one_of_any_release(version: str) -> None:
    audited = audit(Knobs(kms_version=version))
    assert found(audited).status is Status.PASS
    stripped = parts(found(audited))["boot.registers"]["status"] == "not-applicable"
    assert stripped is (version == "0.5.11")


def test_strict_asks_for_it_and_accepts_an_honest_one() -> None:
    challenge = challenge_bytes("05" * 32)
    audited = audit(Knobs(challenge=challenge), challenge=challenge)
    strict = audited.under("strict")
    assert found(strict).status is Status.PASS
    assert found(strict).requirement.value == "required"


@pytest.mark.parametrize("bootstrap", ["none", "other"])
def test_nothing_rests_on_the_record_of_how_it_made_its_keys(bootstrap: str) -> None:
    audited = audit(Knobs(kms_bootstrap=bootstrap))  # type: ignore[arg-type]
    assert found(audited).status is Status.PASS
    said = found(audited).actual["bootstrap"]  # type: ignore[call-overload,index]
    assert said["status"] == "not-applicable"  # type: ignore[call-overload,index]


def test_another_root_key_than_the_known_one() -> None:
    audited = audit(Knobs(kms_answers="onchain", kms_k256="another"))
    assert found(audited).status is not Status.PASS


def tied(*labels: str) -> tuple[RootKey, ...]:
    """Root keys that the KMS's CA key is tied to."""
    return tuple(RootKey(f"0x{label * 20}", f"by {label}", ()) for label in labels)


@pytest.mark.parametrize(
    ("found", "known", "status"),
    [
        (("aa",), "", Status.PASS),
        (("aa", "aa"), "", Status.PASS),
        (("aa",), "aa", Status.PASS),
        (("aa",), "bb", Status.FAIL),
        (("aa", "bb"), "", Status.FAIL),
        (("aa", "bb"), "aa", Status.FAIL),
        (("aa", "bb", "cc"), "", Status.FAIL),
        ((), "aa", Status.SKIP),
    ],
)
def test_a_kms_has_one_root_key(
    found: tuple[str, ...], known: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attestation, "root_keys", lambda _: tied(*found))
    address = f"0x{known * 20}" if known else ""
    case = cast("Case", SimpleNamespace(kms_record=SimpleNamespace(root_address=address)))
    outcome = attestation._root_key(case)  # noqa: SLF001 - one part of the check
    assert outcome.status is status
    if status is Status.FAIL:
        assert outcome.expected == (address or f"0x{'aa' * 20}")


def test_a_certificate_that_nobody_saw_in_use_is_of_any_time(honest: Audited) -> None:
    def unseen(artifact: Artifact) -> Artifact:
        return replace(artifact, peer="")

    bundle = Bundle(tuple(map(unseen, honest.bundle.artifacts)), honest.bundle.blobs)
    result = found(honest.again(bundle))
    assert result.status is Status.WARN
    assert parts(result)["session"]["status"] == "warn"
    recorded = found(honest.again(trusted=False))
    assert recorded.status is not Status.PASS


def beside(honest: Audited, other: Audited) -> Bundle:
    """The evidence, and what another world's KMS showed at another address."""
    builder = BundleBuilder(honest.bundle)
    for item in other.bundle.artifacts:
        if item.subject.startswith("kms/") and item.sha256 is not None:
            raw, source = other.bundle.blob(item), f"{item.source}#"
            subject = f"{item.subject}:2"
            at = item.collected_at
            builder.add(item.kind, raw, source=source, collected_at=at, subject=subject)
    return builder.build()


def test_the_worst_of_its_guests_decides(honest: Audited) -> None:
    weak = audit(Knobs(edit_kms=forged_kms.guest(os_image="development")))
    for bundle in (beside(honest, weak), beside(weak, honest)):
        assert found(honest.again(bundle)).status is Status.FAIL


def test_a_server_of_another_ca_beside_it_changes_nothing(honest: Audited) -> None:
    other = audit(Knobs(kms_certificate=cert.RpcOptions(signer="attacker")))
    assert honest.again(beside(honest, other)).report.verdict is Verdict.AFFIRMING
    result = found(honest.again(beside(other, honest)))
    assert {name for name, part in parts(result).items() if part["status"] == "warn"} == {"session"}


def test_a_certificate_is_told_by_its_use(honest: Audited) -> None:
    (pem,) = {honest.bundle.blob(item) for item in honest.bundle.of(Kind.KMS_TLS)}
    bundle = import_files([("kms.pem", pem)], collected_at=1)
    assert [(item.kind, item.subject) for item in bundle.artifacts] == [(Kind.KMS_TLS, HANDED_OVER)]
    assert bundle.subjects == ("",)


ED25519: Final = Ed25519PrivateKey.from_private_bytes(b"\1" * 32)
X25519: Final = X25519PrivateKey.from_private_bytes(b"\1" * 32)


def spki_of(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "key",
    [b"", b"\x30", b"\x07" * 91, keys.ed25519_public("x"), spki_of(ED25519), spki_of(X25519)],
    ids=["none", "cut", "no DER", "of no kind", "Ed25519", "X25519"],
)
def test_a_ca_key_that_is_none_signed_nothing(key: bytes) -> None:
    assert not signed_by(build().kms.certificate, key)


def test_an_ed25519_signature_is_no_kmss() -> None:
    """It names no hash."""
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, ED25519.public_key(), 1)
    builder = builder.not_valid_before(moment(0)).not_valid_after(moment(1))
    other = builder.sign(ED25519, None)
    assert not signed_by(other, spki_of(ED25519))
    assert not signed_by(other, build().kms.ca_spki)


def test_what_nothing_ties_is_missing() -> None:
    """A KMS without a contract, whose record and sessions show no root key."""
    silent = Knobs(kms="hosted", kms_bootstrap="none")
    bundle = gone(Kind.KMS_ENV_KEY)
    tied = audit(silent)
    for audited, status in ((tied, "pass"), (tied.again(bundle(tied.bundle)), "missing-evidence")):
        actual: Any = found(audited).actual
        assert actual["root_key"]["status"] == status
        assert found(audited).status is not Status.PASS


def test_nobody_outside_knows_what_a_kms_without_a_contract_may_run(honest: Audited) -> None:
    assert parts(found(honest))["allowed"]["status"] == "pass"
    assert parts(found(audit(Knobs(kms="hosted"))))["allowed"]["status"] == "warn"


@pytest.mark.parametrize(
    "info",
    [
        [],
        {"ca_pubkey": "00"},
        {"ca_pubkey": "00", "k256_pubkey": "02" * 33},
        {"ca_pubkey": "00", "k256_pubkey": "02" * 33, "attestation": "00"},
        {"ca_pubkey": "00", "k256_pubkey": "02" * 33, "attestation": 5},
        {"ca_pubkey": "00", "k256_pubkey": "02" * 33, "quote": "zz"},
    ],
)
def test_a_record_that_cannot_be_read(info: object) -> None:
    raw = json.dumps({"bootstrap_info": info}).encode()
    if not info:
        assert parse_bootstrap(raw, "GetMeta") is None
        return
    with pytest.raises(EvidenceError, match="bootstrap_info"):
        parse_bootstrap(raw, "GetMeta")


@pytest.mark.parametrize("der", [b"", b"\x30\x03", b"\x07" * 500])
def test_a_certificate_that_is_none(honest: Audited, der: bytes) -> None:
    def edit(item: Artifact, raw: bytes) -> bytes:
        return to_pem(der) if item.kind is Kind.KMS_TLS else raw

    assert found(honest.editing(edit)).skip_kind is SkipKind.MISSING_EVIDENCE


def test_a_named_one_is_asked_in_the_cluster_of_the_app() -> None:
    world = build(Knobs(kms="self-hosted", kms_answers="self-hosted"))
    asked: list[str] = []

    def respond(method: str, url: str, headers: Any, body: bytes) -> Response:
        asked.append(url)
        return world.respond(method, url, headers, body)

    from verifier.cli.question import named_kms, simulated_question  # noqa: PLC0415

    question = simulated_question(world.app_id, world.reference(), world.now)
    named = named_kms(world.kms.ca_spki.hex(), question.reference)
    sources = Sources(responder=respond, cloud=False)
    collect_evidence(replace(question, kms=named), sources, lambda: world.now)
    assert any(url.startswith("https://kms.gw.lab.invalid/") for url in asked)


def denied(_method: str, url: str, _body: bytes, response: Response) -> Response:
    """Answer as a KMS that its contract no longer allows."""
    if not url.startswith("https://kms.gw."):
        return response
    error = b'{"error":"KMS self authorization failed: boot denied"}'
    return replace(response, status=400, body=error)


def test_one_that_refuses_to_answer_shows_who_it_is() -> None:
    edit = forged_kms.manifest("http://node:8545", "http://auth-api:8545")
    for allowed, status in ((True, Status.WARN), (False, Status.FAIL)):
        knobs = Knobs(edit_response=denied, edit_kms=edit, kms_build_on_chain=allowed)
        assert found(audit(knobs)).status is status


def test_one_that_answers_elsewhere(honest: Audited) -> None:
    def respond(method: str, url: str, headers: Any, body: bytes) -> Response:
        there = url.replace("https://keys.example:9201/", "https://kms.gw.lab.invalid/")
        if url.startswith("https://kms.gw."):
            return replace(honest.world.respond("GET", "https://nowhere.invalid/"), status=404)
        return honest.world.respond(method, there, headers, body)

    for url, status in (("https://keys.example:9201", Status.PASS), ("", Status.SKIP)):
        sources = Sources(responder=respond, cloud=False, kms_url=url)
        bundle = collect_evidence(honest.question, sources, lambda: honest.world.now)
        assert found(honest.again(bundle)).status is status


GUESTS: Final = {
    "prod6PhalaV054": ("pass", "cloud-api.phala.network", "d0d4381c20e4"),
    "prod10-pha": ("pass", "cloud-api.phala.network", "8929aceee2b1"),
    "prod6BaseV053": ("pass", "0x2f83172a", "c641a1e848a9"),
    "use1-base": ("pass", "0x2f83172a", "d2e01a68fd0a"),
    "prod5-base": ("missing-evidence", "0x2f83172a", "d2e01a68fd0a"),
    "prod9-eth": ("missing-evidence", "0xd343a3f5", "b4071b9a97aa"),
}
"""Real guests of KMSs: the status of their quote with this collateral, whom they ask whether an app
may have its keys, and the start of their manifest's hash."""


@needs_recorded
@pytest.mark.parametrize("name", GUESTS)
def test_a_real_guest_of_a_kms_part_by_part(name: str) -> None:
    info = "info/info_dstack-nvidia-dev-0.5.7-477b919d.json"
    paths = (info, *(f"collateral/tdx_{item}_2026-06-10_ev19.json" for item in
                     ("B0C06F000000", "90C06F000000")))  # fmt: skip
    bundle = import_files(
        [(path, read(path)) for path in paths],
        collected_at=AT,
        of_kms=[(name, read(f"kms/info_{name}.json"))],
    )
    app_id = AppId(json.loads(read(info))["app_id"])
    question = Question(app_id=app_id, reference=embedded(), at=AT, trusted=False)
    report = audit_bundle(bundle, "", question, load_policy("baseline"))
    (result,) = [item for item in report.subjects[0].checks if item.id == CHECK]
    said, (quote, asks, compose) = parts(result), GUESTS[name]
    assert result.skip_kind is SkipKind.MISSING_EVIDENCE  # nothing that the CA key signed
    assert said["hardware.quote"]["status"] == quote
    assert said["contract"]["status"] == "warn"
    assert asks in said["contract"]["said"].lower()
    assert "KMS-009" in said["manifest.rules"]["said"]
    actual: Any = result.actual
    assert actual["guests"][0]["compose_hash"].startswith(compose)
    assert report.verdict is Verdict.CONTRAINDICATED  # a development image, whatever its KMS


@pytest.mark.parametrize(
    ("knobs", "kind"),
    [
        (Knobs(key_provider="none"), SkipKind.NOT_APPLICABLE),
        (Knobs(version="0.3.5", key_provider="none"), SkipKind.MISSING_EVIDENCE),
    ],
    ids=["no KMS", "no measured key provider"],
)
def test_what_a_guest_measures_of_no_kms(knobs: Knobs, kind: SkipKind) -> None:
    assert found(audit(knobs)).skip_kind is kind


def test_a_signature_over_something_else_accuses_the_kms_of_no_second_root_key() -> None:
    found = audit(Knobs(edit_response=forge.env_key_of_another_app))
    assert [item.status for item in found.check("key_management.root")] == [Status.FAIL]
    assert [item.status for item in found.check("key_management.attestation")] == [Status.PASS]
    assert found.report.verdict is Verdict.CONTRAINDICATED


def test_of_what_source_the_images_of_the_kms_are_built(honest: Audited) -> None:
    told = parts(found(honest))["provenance.images"]
    assert (told["status"], told["said"]) == (
        "pass",
        "3 images attested by a workflow of the source: https://github.com/lab--invalid/web",
    )
    unasked = honest.again(gone(Kind.OCI_MANIFEST, Kind.OCI_CONFIG)(honest.bundle))
    assert parts(found(unasked))["provenance.images"]["status"] == "missing-evidence"
    assert found(unasked).skip_kind is SkipKind.MISSING_EVIDENCE


def test_whoever_built_the_images_of_the_kms_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    other = registry.Image("attacker/auth-api", source="https://github.com/attacker--invalid/kms")

    def attest(sigstore: Sigstore, image: registry.Image) -> list[JsonObject]:
        statement = provenance(image.hex_digest, repository=image.source)
        return [sigstore.sign(statement, Workflow(repository=image.source))]

    monkeypatch.setitem(registry.KMS_IMAGES, "auth-api", other)
    monkeypatch.setattr(registry, "attest", attest)
    told = parts(found(audit(Knobs())))["provenance.images"]
    assert str(told["said"]).endswith(
        "https://github.com/attacker--invalid/kms, https://github.com/lab--invalid/web"
    )
