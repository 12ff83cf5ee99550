"""What somebody else's bundle, policy or environment can gain: nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from tests.worlds.audited import GATEWAY, Audited, add, audit, edited
from verifier.audit import audit_bundle
from verifier.cli.main import app, register
from verifier.cli.question import simulated_reference, vouched
from verifier.collection import Sources, collect_evidence
from verifier.errors import PolicyError, UsageError
from verifier.evidence import bundle as bundles
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.chain import contracts
from verifier.evidence.td.quote import parse_quote
from verifier.lab import forgeries as forge
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.response import Response
from verifier.model.identifiers import format_time
from verifier.model.result import VERDICT_ORDER, Basis, Status, Verdict
from verifier.policy.policy import load_policy
from verifier.reference.values import embedded

Edit = Callable[[Artifact, bytes], tuple[Artifact, bytes]]


def say_yes(artifact: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
    """Every JSON-RPC answer that is a word of zero becomes one of one."""
    if artifact.kind is not Kind.JSON_RPC:
        return artifact, raw
    return artifact, raw.replace(b"0" * 64 + b'"', b"0" * 63 + b'1"')


def collected_later(artifact: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
    return replace(artifact, collected_at=artifact.collected_at + 30 * DAY), raw


def from_elsewhere(artifact: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
    return replace(artifact, source=artifact.source.replace("lab.invalid", "example.com")), raw


def unchanged(artifact: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
    return artifact, raw


def bases(audited: Audited) -> set[Basis]:
    return {claim.basis for subject in audited.report.subjects for claim in subject.claims}


@pytest.mark.parametrize("edit", [unchanged, say_yes, collected_later, from_elsewhere])
def test_nobody_vouches_so_nothing_that_was_witnessed_counts(honest: Audited, edit: Edit) -> None:
    audited = honest.again(edited(honest.bundle, edit), trusted=False)
    assert audited.report.verdict is not Verdict.AFFIRMING
    assert Basis.CHAIN in bases(honest)
    assert Basis.CHAIN not in bases(audited)


def test_forged_permission_counts_only_for_whoever_vouches_for_it(honest: Audited) -> None:
    forged = audit(Knobs(compose_hash_on_chain="never"))
    bundle = edited(forged.bundle, say_yes)
    assert forged.again(bundle, trusted=False).report.verdict is not Verdict.AFFIRMING
    assert vouched(honest.bundle, f"sha256:{honest.bundle.digest}")
    assert not vouched(bundle, "")
    for digest in (forged.bundle.digest, honest.bundle.digest, "sha256:" + "0" * 64, "yes"):
        with pytest.raises(UsageError):
            vouched(bundle, digest)


def test_any_edit_gives_another_digest(honest: Audited) -> None:
    digests = {
        edited(honest.bundle, edit).digest
        for edit in (unchanged, say_yes, collected_later, from_elsewhere)
    }
    assert len(digests) == 4
    assert honest.bundle.digest in digests


def test_a_bundle_does_not_say_which_app_was_asked_for(honest: Audited) -> None:
    audited = honest.again(app_id=None)
    assert audited.report.verdict is Verdict.NONE
    assert audited.report.requested_app_id is None
    (identity,) = audited.check("application.identity")
    assert identity.status is Status.SKIP


def test_another_root_is_never_taken_from_evidence(honest: Audited) -> None:
    audited = honest.again(reference=embedded())
    (quote,) = audited.check("hardware.quote")
    assert quote.status is Status.FAIL
    assert Basis.HARDWARE not in bases(audited)


def test_the_simulated_world_is_denied_even_under_its_own_root(honest: Audited) -> None:
    root = simulated_reference(honest.world.reference()).root
    audited = honest.again(reference=embedded().with_root(root, "unsafe"))
    for check_id in ("boot.image", "application.identity", "key_management.provider"):
        assert audited.check(check_id)[0].status is Status.FAIL


def test_the_environment_brings_no_root(
    honest: Audited, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference, evidence = tmp_path / "reference.json", tmp_path / "evidence"
    reference.write_bytes(honest.world.reference())
    bundles.save(honest.bundle, evidence)
    for name in ("ROOT", "UNSAFE_ROOT", "REFERENCE", "TRUST_BUNDLE", "AT"):
        monkeypatch.setenv(f"VERIFY_{name}", str(reference))
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, str(reference))
    arguments = [honest.world.app_id, "--bundle", str(evidence), "--format", "json"]
    arguments += ["--trust-bundle", honest.bundle.digest, "--at", format_time(honest.world.now)]
    register(["app"])
    ignored = CliRunner().invoke(app, arguments)
    assert ignored.exit_code == 4
    assert b"unsafe" not in ignored.stdout_bytes.lower()
    named = CliRunner().invoke(app, [*arguments, "--unsafe-root", str(reference)])
    assert named.exit_code == 0
    assert b"SIMULATED" in named.stdout_bytes


@pytest.mark.parametrize("text", ['root = "{}"', '[root]\nfile = "{}"', '[tcb]\nroot = "{}"'])
def test_a_policy_brings_no_root(tmp_path: Path, text: str) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text('extends = "baseline"\n' + text.format("root.pem"), encoding="utf-8")
    if text.startswith("root"):
        policy.write_text(text.format("root.pem") + '\nextends = "baseline"\n', encoding="utf-8")
    with pytest.raises(PolicyError):
        load_policy(str(policy))


def test_judging_as_of_before_the_bad_news_affirms_nothing() -> None:
    removed = audit(Knobs(compose_hash_on_chain="removed", collateral_age=20 * DAY))
    assert removed.report.verdict is Verdict.CONTRAINDICATED
    earlier = removed.again(at=removed.world.now - 3 * DAY)
    assert earlier.report.verdict is not Verdict.AFFIRMING
    assert earlier.check("authorization.allowed")[0].status not in (Status.PASS, Status.WARN)
    assert earlier.report.time_note.startswith(f"Judged as of {format_time(earlier.question.at)}")


def test_what_is_dated_later_bounds_nothing_earlier() -> None:
    audited = audit(Knobs(collateral_age=20 * DAY))
    assert audited.check("hardware.freshness")[0].status is Status.PASS
    before_the_manifest_was_allowed = audited.again(at=audited.world.now - 10 * DAY)
    assert before_the_manifest_was_allowed.check("hardware.freshness")[0].status is Status.WARN


def test_of_two_instances_the_worse_one_decides() -> None:
    world = Knobs(others=(Knobs(os_image="development"), Knobs()))
    report = audit(world).report
    assert len(report.subjects) == 3
    verdicts = [subject.verdict for subject in report.subjects]
    assert verdicts == sorted(verdicts, key=VERDICT_ORDER.index, reverse=True)
    assert report.verdict is verdicts[0] is Verdict.CONTRAINDICATED
    assert verdicts[-1] is Verdict.AFFIRMING


def test_one_operator_under_two_addresses_is_one_operator(honest: Audited) -> None:
    """The reference values name the operator of a host, whatever the path."""

    def respond(method: str, url: str, headers: object = None, body: bytes = b"") -> Response:
        del headers
        return honest.world.respond(method, url.replace("invalid/v2", "invalid/"), {}, body)

    urls = ("https://rpc-a.lab.invalid/", "https://rpc-a.lab.invalid/v2")
    sources = Sources(responder=respond, cloud=False, rpc_urls=urls)
    bundle = collect_evidence(honest.question, sources, lambda: honest.world.now)
    audited = honest.again(bundle)
    assert audited.check("authorization.contract")[0].status is Status.WARN
    assert audited.report.verdict is not Verdict.AFFIRMING


def test_what_one_operator_alone_says_is_no_claim_of_an_affirmed_report(honest: Audited) -> None:
    """One operator names its own owner of the app, the other gives an error to that question."""
    forged = json.dumps({"jsonrpc": "2.0", "id": 1, "result": f"0x{'11' * 20:0>64}"}).encode()
    refusal = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000}}).encode()

    def respond(_method: str, url: str, body: bytes, response: Response) -> Response:
        if contracts.OWNER.encode() not in body:
            return response
        return replace(response, body=forged if "rpc-a" in url else refusal)

    audited = audit(Knobs(edit_response=respond))
    claims = {claim.name: claim for claim in audited.report.subjects[0].claims}
    assert "app_owner" in {claim.name for claim in honest.report.subjects[0].claims}
    assert audited.report.verdict is not Verdict.AFFIRMING or "app_owner" not in claims


@pytest.mark.parametrize(
    "edit",
    [lambda raw: raw + bytes(100), lambda raw: raw[:-70], forge.high_s],
    ids=["more zeros", "no zeros", "high s"],
)
def test_a_quote_is_known_by_what_is_signed_in_it(
    honest: Audited, edit: Callable[[bytes], bytes]
) -> None:
    """Padding and signature are malleable: whether accepted or not, it is no other quote."""
    audited = audit(Knobs(edit_quote=edit))
    ours, theirs = (item.world.guest.quote(bytes(64)) for item in (honest, audited))
    assert ours != theirs
    assert parse_quote(ours, "").signed_region == parse_quote(theirs, "").signed_region
    (quote,) = audited.check("hardware.quote")
    assert quote.status in (Status.PASS, Status.FAIL)
    if quote.status is Status.PASS:
        assert audited.report.verdict is Verdict.AFFIRMING


def test_two_answers_to_one_question_are_none(honest: Audited) -> None:
    artifact = next(
        item
        for item in honest.bundle.of(Kind.JSON_RPC)
        if "eth_call" in item.request and honest.bundle.blob(item).endswith(b'1"}')
    )
    document = json.loads(honest.bundle.blob(artifact))
    raw = json.dumps({**document, "result": "0x" + "00" * 32}).encode()
    other = bundles.BundleBuilder()
    other.add(
        Kind.JSON_RPC,
        raw,
        source=artifact.source,
        collected_at=artifact.collected_at,
        request=artifact.request,
    )
    more = other.build()
    both = Bundle(
        (*honest.bundle.artifacts, *more.artifacts), {**honest.bundle.blobs, **more.blobs}
    )
    assert honest.again(both).report.verdict is not Verdict.AFFIRMING


@pytest.mark.parametrize("kind", [Kind.SIGNATURE_CHAIN, Kind.KMS_ENV_KEY])
def test_malformed_evidence_does_not_vanish_beside_good(honest: Audited, kind: Kind) -> None:
    audited = honest.handing_over(((kind, b'{"app_id":"zz"}'),))
    assert audited.report.verdict is not Verdict.AFFIRMING


def test_an_empty_bundle_proves_nothing(honest: Audited) -> None:
    assert honest.again(Bundle((), {})).report.verdict is Verdict.NONE


def test_a_world_behind_one_gateway_is_the_audited_one(honest: Audited) -> None:
    """The guard of this folder: what the tests call honest is what the command line audits."""
    report = audit_bundle(honest.bundle, "again", honest.question, load_policy("baseline"))
    assert report.verdict is Verdict.AFFIRMING
    assert {item.source for item in honest.bundle.of(Kind.PAGE)} >= {
        f"{GATEWAY.replace('//', f'//{honest.world.app_id}-8090.')}/"
    }
    assert add(honest.bundle, (), 0).digest == honest.bundle.digest
