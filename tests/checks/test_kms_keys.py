"""What is made of the keys of a KMS and of its guests, beside the worlds in which they occur."""

import hashlib
import json
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from tests.worlds.audited import audit
from tests.worlds.test_collateral import first_case
from verifier.checks.application import proof
from verifier.checks.case import Case
from verifier.checks.engine import failed, missing
from verifier.checks.key_management import attestation, keys
from verifier.checks.key_management.kms_guest import KmsGuest
from verifier.checks.key_management.kms_root import RootKey
from verifier.lab.knobs import Knobs
from verifier.lab.rpc import RpcFault
from verifier.manifest.read import read_manifest
from verifier.model.result import SkipKind, Status

DIGEST: Final = f"sha256:{hashlib.sha256(b'an image').hexdigest()}"


@pytest.mark.parametrize(
    ("version", "mr_kms", "lacks"),
    [
        ((0, 4, 1), None, False),
        ((0, 4, 2), None, True),
        ((0, 5, 8), None, True),
        ((0, 5, 11), None, True),
        ((0, 5, 11), b"\1" * 32, False),
        ((0, 6), None, False),
        ((0, 6, 0), None, False),
        ((), None, False),
        (None, None, False),
    ],
)
def test_which_releases_measure_the_build_of_their_kms(
    version: tuple[int, ...] | None, mr_kms: bytes | None, *, lacks: bool
) -> None:
    """Where the registers tell the release, or the log does by its other events."""
    image = None if version is None else SimpleNamespace(version=version)
    for by_log in (False, True):
        measured = SimpleNamespace(provider="kms", mr_kms=mr_kms, lacks_mr_kms=by_log)
        case = cast("Case", SimpleNamespace(identity=measured, os_image=image))
        assert keys._lacks_build(case) is (lacks or by_log)  # noqa: SLF001


def judged(
    monkeypatch: pytest.MonkeyPatch, tied: tuple[str, ...], record: str | None
) -> tuple[Status, SkipKind | None, object, str]:
    """What is said where these root keys are tied to the CA key of a KMS with a record."""
    found = tuple(RootKey(address, f"what names {address}", ()) for address in tied)
    monkeypatch.setattr(attestation, "root_keys", lambda _: found)
    known = None if record is None else SimpleNamespace(root_address=record)
    outcome = attestation._root_key(cast("Case", SimpleNamespace(kms_record=known)))  # noqa: SLF001
    return outcome.status, outcome.skip_kind, outcome.expected, outcome.summary


@pytest.mark.parametrize("record", [None, "", "0xA"])
def test_one_root_key_that_nothing_contradicts(
    monkeypatch: pytest.MonkeyPatch, record: str | None
) -> None:
    for tied in (("0xA",), ("0xA", "0xA")):
        assert judged(monkeypatch, tied, record)[0] is Status.PASS
    assert judged(monkeypatch, (), record)[1] is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize(
    ("tied", "record", "expected", "other"),
    [
        (("0xA",), "0xB", "0xB", "0xA"),
        (("0xA", "0xB"), "0xB", "0xB", "0xA"),
        (("0xA", "0xB"), "0xA", "0xA", "0xB"),
        (("0xB", "0xA"), "", "0xA", "0xB"),
        (("0xB", "0xA"), None, "0xA", "0xB"),
        (("0xA", "0xB", "0xC"), "0xA", "0xA", "0xB"),
    ],
)
def test_a_second_root_key_is_named_beside_the_known_one(
    monkeypatch: pytest.MonkeyPatch,
    tied: tuple[str, ...],
    record: str | None,
    expected: str,
    other: str,
) -> None:
    status, _, known, summary = judged(monkeypatch, tied, record)
    assert (status, known) == (Status.FAIL, expected)
    assert summary == (
        f"what names {other} ties the root key {other} to its CA key, not {expected}"
    )


def guest_of(compose: str, **fields: Any) -> KmsGuest:
    """A guest that measured this compose file."""
    manifest: dict[str, Any] = {"manifest_version": 2, "name": "kms", "runner": "docker-compose"}
    text = json.dumps({**manifest, "docker_compose_file": compose, **fields})
    guest = KmsGuest("guest", cast("Case", SimpleNamespace()), b"")
    vars(guest)["manifest"] = read_manifest(text.encode())
    return guest


PINNED: Final = f"services:\n  kms:\n    image: a/kms@{DIGEST}\n"


def test_a_manifest_whose_images_have_digests_fixes_its_code() -> None:
    assert guest_of(PINNED).pinned
    assert guest_of(f"{PINNED}  node:\n    image: a/node:1@{DIGEST}\n").pinned


@pytest.mark.parametrize(
    "compose",
    [
        "services:\n  kms:\n    image: a/kms:1\n",
        f"{PINNED}  node:\n    image: a/node\n",
        f"{PINNED}    build: .\n",
        f"{PINNED}  node:\n    image: ${{NODE}}\n",
        f"include: [more.yaml]\n{PINNED}",
        f"{PINNED}  kms:\n    image: a/kms@{DIGEST}\n",
        "services: {}\n",
        "services: [\n",
        "",
    ],
)
def test_a_manifest_that_leaves_an_image_open_fixes_no_code(compose: str) -> None:
    assert not guest_of(compose).pinned


def test_a_manifest_of_another_runner_fixes_no_code() -> None:
    assert not guest_of(PINNED, runner="bash", bash_script="true").pinned


def test_what_one_operator_alone_allows_is_a_reservation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        attestation, "allowances", lambda _: {"build": ("0x00000000", [b"\1" * 32])}
    )
    answer = SimpleNamespace(value=True, evidence=())
    for alone, status in ((True, Status.WARN), (False, Status.PASS)):
        view = SimpleNamespace(
            plan=SimpleNamespace(kms="0x" + "11" * 20),
            call=lambda *_: answer,
            single_source=alone,
        )
        case = cast("Case", SimpleNamespace(kms_contract=lambda view=view: (None, view)))
        assert attestation._allowed(case, cast("KmsGuest", None)).status is status  # noqa: SLF001


@pytest.mark.parametrize(
    ("genuine", "measured", "met"),
    [(True, b"a", True), (True, b"b", False), (True, None, False), (False, b"a", False)],
)
def test_a_guest_is_met_whose_build_the_app_measured(
    genuine: bool,  # noqa: FBT001 - a column of the table
    measured: bytes | None,
    met: bool,  # noqa: FBT001
) -> None:
    case = cast("Case", SimpleNamespace(identity=SimpleNamespace(mr_kms=measured)))
    guest = cast("KmsGuest", SimpleNamespace(genuine=genuine, builds=(b"a",)))
    assert attestation._is_met(case, guest) is met  # noqa: SLF001


@pytest.mark.parametrize("shown", [(b"key", b""), (b"", b"signature"), (b"", b"")])
def test_a_proof_signs_with_its_key_and_its_signature(
    monkeypatch: pytest.MonkeyPatch, shown: tuple[bytes, bytes]
) -> None:
    key, signature = shown
    value = SimpleNamespace(app_public_key=key, kms_signature=signature)
    monkeypatch.setattr(proof, "own", lambda _: [SimpleNamespace(value=value)])
    evidence = SimpleNamespace(env_keys=(), key_chains=())
    case: Any = SimpleNamespace(evidence=evidence, identity=SimpleNamespace(app_id=b""))
    assert not [*keys._signatures(case, "0xA")]  # noqa: SLF001


def test_the_contract_of_a_kms_by_one_operator_alone_is_a_reservation() -> None:
    for knobs, status in (
        (Knobs(rpc_faults={"b": RpcFault.ERROR}), Status.WARN),
        (Knobs(), Status.PASS),
    ):
        case = first_case(audit(knobs))
        assert case.kms_record is not None
        found = keys._on_chain_keys(case, case.kms_record, ())  # noqa: SLF001
        assert found.status is status


def test_a_proof_that_names_a_kms_contradicts_no_guest_of_an_unknown_one() -> None:
    row = SimpleNamespace(is_called=lambda _: True, name="one")
    other = SimpleNamespace(is_called=lambda _: False, name="other")
    artifact = SimpleNamespace(at=lambda _: "place")
    item: Any = SimpleNamespace(value=SimpleNamespace(kms_id="one"), artifact=artifact)
    for record, names in ((None, []), (row, []), (other, ["other"])):
        reference = SimpleNamespace(kms=(row, other))
        case: Any = SimpleNamespace(kms_record=record, reference=reference)
        assert [name for _, name in proof._key_holder(case, item)] == names  # noqa: SLF001


class Guest:
    """A guest of a KMS that shows a certificate, or none."""

    def __init__(self, *, signed: bool) -> None:
        self.signed, self.chain, self.evidence = signed, signed, ()


@pytest.mark.parametrize(("met", "status"), [(True, Status.FAIL), (False, Status.SKIP)])
def test_a_guest_that_the_app_met_counts_without_a_certificate(
    monkeypatch: pytest.MonkeyPatch,
    met: bool,  # noqa: FBT001 - a column of the table
    status: Status,
) -> None:
    bad = failed("of another machine")
    for name, what in {
        "kms_guests": lambda _: (Guest(signed=False),),
        "_parts": lambda *_: {},
        "_shared": lambda _: {},
        "_json": lambda *_: {},
        "_is_met": lambda *_: met,
        "_of": lambda _: lambda _: bad,
        "_not_attested": lambda *_: missing("nobody attests"),
        "holds": lambda *_: True,
    }.items():
        monkeypatch.setattr(attestation, name, what)
    identity = SimpleNamespace(provider_payload=b"{}", provider="kms")
    found = attestation.attestation.run(cast("Case", SimpleNamespace(identity=identity)))
    assert found.status is status
