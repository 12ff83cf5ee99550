"""Which app it is, and of which manifest."""

import base64
from types import SimpleNamespace
from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks.application.identity import (
    _config_id,
    binding,
    identity,
    manifest,
    named_key,
)
from verifier.checks.case import Case
from verifier.errors import MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import Located, read_subject
from verifier.evidence.td.measurements import mr_config_id_v3
from verifier.lab import forgeries as forge
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import AppId
from verifier.model.result import SkipKind, Status

IDENTITY: Final = "application.identity"
OTHER: Final = AppId("07" * 20)
CHOSEN: Final = b"\7" * 20


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.mark.parametrize("knobs", [Knobs(), Knobs(no_instance_id=True)], ids=["an id", "none"])
def test_another_app_is_refused_whether_it_has_instances_or_not(knobs: Knobs) -> None:
    audited = audit(knobs)
    assert audited.check(IDENTITY)[0].status is Status.PASS
    (refused,) = audited.again(app_id=OTHER).check(IDENTITY)
    assert refused.status is Status.FAIL
    assert (refused.expected, refused.actual) == (OTHER, audited.world.app_id)
    (unasked,) = audited.again(app_id=None).check(IDENTITY)
    assert unasked.skip_kind is SkipKind.MISSING_EVIDENCE
    assert f"--expect-app-id {audited.world.app_id}" in unasked.remediation


def given(honest: Audited, *manifests: bytes) -> Case:
    """The case of the honest guest, with these manifests in the place of its own."""
    subject = read_subject(honest.bundle, honest.bundle.subjects[0])
    located = subject.manifests[0].artifact
    subject.manifests[:] = [Located(raw, located) for raw in manifests]
    return Case(subject, honest.question, Exchanges(honest.bundle))


def test_the_manifest_is_the_one_of_the_measured_hash(honest: Audited) -> None:
    own = read_subject(honest.bundle, honest.bundle.subjects[0]).manifests[0].value
    hashes = [
        "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356",
    ]
    for manifests in ((own,), (b"{}", own), (own, b"{} ")):
        assert manifest.run(given(honest, *manifests)).status is Status.PASS
    for others, actual in (((b"{}",), hashes[0]), ((b"{}\n", b"{}"), hashes)):
        refused = manifest.run(given(honest, *others))
        assert (refused.status, refused.actual) == (Status.FAIL, actual)


@pytest.mark.parametrize("kind", ["app-id", "rtmr3"])
def test_what_anybody_can_show_is_refused(honest: Audited, kind: str) -> None:
    values = {"app-id": honest.world.app_id, "rtmr3": str(honest.claims()["rtmr3"].value)}
    for name, status in ((kind, Status.FAIL), ("mrtd", Status.PASS)):
        (result,) = audit(Knobs(), denied=forge.denying(name, lambda _: values[kind])).check(
            IDENTITY
        )
        assert (result.status, "denied" in result.summary) == (status, status is Status.FAIL)


def test_an_instance_is_one_of_those_that_were_named(honest: Audited) -> None:
    (own,) = honest.world.instance_ids
    subject = read_subject(honest.bundle, honest.bundle.subjects[0])
    for called, named, status in (
        ("a guest", (own,), Status.PASS),
        ("a guest", (own, "07" * 20), Status.PASS),
        ("a guest", ("07" * 20,), Status.FAIL),
        ("a guest", ("07" * 20, "08" * 20), Status.FAIL),
        (f"gateway/{own}", (own, "07" * 20), Status.PASS),
        ("gateway/" + "07" * 20, (own, "07" * 20), Status.FAIL),
        ("gateway/" + "07" * 20, (own,), Status.PASS),
    ):
        question = replace(honest.question, instances=named)
        shown = replace(subject, name=called)
        found = identity.run(Case(shown, question, Exchanges(honest.bundle)))
        assert (found.status, called) == (status, called)
        if status is Status.FAIL:
            expected = "07" * 20 if called != "a guest" or len(named) == 1 else [*named]
            assert (found.expected, found.actual) == (expected, own)


@pytest.mark.parametrize(
    ("knobs", "status", "words"),
    [
        (Knobs(key_provider="none"), Status.PASS, "start of the manifest's hash"),
        (Knobs(key_provider="tpm"), Status.PASS, "start of the manifest's hash"),
        (Knobs(key_provider="none", guest_app_id=CHOSEN), Status.FAIL, "key provider none"),
        (Knobs(key_provider="tpm", guest_app_id=CHOSEN), Status.FAIL, "key provider tpm"),
    ],
    ids=["none", "TPM", "chosen, none", "chosen, TPM"],
)
def test_an_id_without_a_kms_is_the_start_of_the_manifests_hash(
    knobs: Knobs, status: Status, words: str
) -> None:
    audited = audit(knobs)
    app_id = AppId(str(audited.claims()["app_id"].value))
    (result,) = audited.again(app_id=app_id).check(IDENTITY)
    assert (result.status, words in result.summary) == (status, True)


@pytest.mark.parametrize("size", [31, 32, 33, 34])
@pytest.mark.parametrize("kind", ["ed25519", "secp256k1c"])
def test_which_key_the_report_data_names(kind: str, size: int) -> None:
    """The longest fills the 64 bytes with its prefix."""
    key = bytes(range(size))
    text = f"dip1::{kind}-pk:".encode() + base64.urlsafe_b64encode(key).rstrip(b"=")
    named = named_key(text.ljust(64, b"\0"))
    assert named == ((kind, key) if size in (32, 33) else ("", b""))
    assert named_key(text.replace(b"dip1", b"dip2").ljust(64, b"\0")) == ("", b"")


def test_report_data_that_nobody_can_read_binds_nothing_known() -> None:
    found = audit(Knobs(app_key_report_data=b"N" * 64, cert_report_data=None))
    shown = found.imported(found.files(Kind.APP_KEY_QUOTE))
    case = Case(
        read_subject(shown.bundle, shown.bundle.subjects[0]),
        shown.question,
        Exchanges(shown.bundle),
    )
    with pytest.raises(MissingEvidence, match="commits to is not known"):
        binding.run(case)


@pytest.mark.parametrize("instance_id", [None, b"\2" * 20])
def test_a_third_version_of_mrconfigid_names_no_instance_where_there_is_none(
    instance_id: bytes | None,
) -> None:
    def committed(instance: bytes) -> bytes:
        values = mr_config_id_v3(b"\1" * 32, CHOSEN, "kms", b"", instance, None, ())
        return max(values)

    measured = SimpleNamespace(
        compose_hash=b"\1" * 32,
        app_id=CHOSEN,
        provider="kms",
        provider_id=b"",
        instance_id=instance_id,
        gpu_policy_hash=None,
        init_script_hashes=(),
    )
    for value, said in (
        (committed(instance_id or b""), "MRCONFIGID (version 3)"),
        (b"\3" + bytes(47), ""),
    ):
        case: Any = SimpleNamespace(quote=SimpleNamespace(mr_config_id=value), identity=measured)
        assert _config_id(case) == said
