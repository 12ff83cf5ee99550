"""What contract state and logs have to be, so that a permission rests on them."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit, edited
from verifier.chain.view import DisagreementError
from verifier.checks.authorization.contract import MAX_BLOCK_AGE
from verifier.checks.authorization.history import _accused
from verifier.collection import doubted
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.lab import forgeries as forge
from verifier.lab import keys
from verifier.lab.attacks import ATTACKS
from verifier.lab.chain import Chain
from verifier.lab.contracts import DstackApp, DstackKms
from verifier.lab.knobs import Knobs
from verifier.model.identifiers import parse_time
from verifier.model.result import SkipKind, Status
from verifier.timeline.history import History

NOBODYS = keys.labelled("an address without code", 20)


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.mark.parametrize(
    ("age", "young"),
    [(MAX_BLOCK_AGE, True), (MAX_BLOCK_AGE + 1, False)],
)
def test_a_block_counts_for_an_hour(honest: Audited, age: int, *, young: bool) -> None:
    block = cast("dict[str, str]", honest.claims()["block"].value)
    mined = parse_time(block["time"])
    assert mined is not None
    (found,) = honest.again(at=mined + age).check("authorization.allowed")
    assert MAX_BLOCK_AGE == 3600
    assert found.status is (Status.PASS if young else Status.SKIP)
    assert young or found.skip_kind is SkipKind.MISSING_EVIDENCE


@pytest.mark.parametrize(
    ("knobs", "no", "answers"),
    [
        (Knobs(), set(), [True, False]),
        (Knobs(device_binding="user-data"), set(), [False, True]),
        (Knobs(allow_any_device=True), set(), [True, True]),
        (Knobs(compose_hash_on_chain="removed"), {"compose hash"}, [False, False]),
        (Knobs(os_image_on_chain="removed"), {"OS image"}, [False, False]),
        (Knobs(app_registered=False), {"registration"}, [False, False]),
    ],
    ids=["honest", "older id", "any device", "another manifest", "another image", "not registered"],
)
def test_each_getter_and_each_answer_is_shown(
    knobs: Knobs, no: set[str], answers: list[bool]
) -> None:
    (found,) = audit(knobs).check("authorization.allowed")
    allowed = Status.PASS if answers[0] else Status.WARN
    assert found.status is (allowed if any(answers) else Status.FAIL)
    assert isinstance(found.actual, dict)
    shown = dict(found.actual)
    said = cast("list[object]", shown.pop("isAppAllowed, by device id"))
    assert [item is True for item in said] == answers
    assert all(item is True or (isinstance(item, str) and item) for item in said)
    assert shown.pop("any device") is knobs.allow_any_device
    assert {name for name, value in shown.items() if value is False} == no
    assert shown.keys() == {"OS image", "compose hash", "KMS build", "registration"}


@pytest.mark.parametrize(
    ("changes", "accused"),
    [
        ({}, True),
        ({"pieced": True}, False),
        ({"cached": 1}, False),
        ({"sources": ("a",)}, False),
        ({"single_source": True}, False),
    ],
)
def test_logs_accuse_where_two_operators_gave_them_whole(
    changes: dict[str, object], *, accused: bool
) -> None:
    told = {"sources": ("a", "b"), "pieced": False, "cached": 0, "single_source": False, **changes}
    view = SimpleNamespace(single_source=told["single_source"], operators_of=len)
    found = SimpleNamespace(reader=view, app_stream=SimpleNamespace(agreed=SimpleNamespace(**told)))
    if accused:
        assert _accused(cast("History", found), ["said"], ()).status is Status.FAIL
    else:
        with pytest.raises(DisagreementError, match="one operator alone says"):
            _accused(cast("History", found), ["said"], ())


def _twice_swapped(chain: Chain, app: DstackApp, kms: DstackKms) -> None:
    forge.swapped_and_back(chain, app, kms)
    app.upgrade(forge.days_ago(chain, 16), NOBODYS)


def test_code_that_nobody_reads_does_not_hide_other_code() -> None:
    """Unknown code may tell of more upgrades than anybody can ask about."""
    audited = audit(Knobs(edit_chain=_twice_swapped))

    def unread(item: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
        is_code = f'"eth_getCode","params":["0x{NOBODYS.hex()}"' in item.request
        return (replace(item, request="") if is_code else item), raw

    bundle = edited(audited.bundle, unread)
    assert bundle != audited.bundle
    (found,) = audited.again(bundle).check("authorization.history")
    assert found.status is Status.FAIL
    assert NOBODYS.hex() not in found.summary.lower()


@pytest.mark.parametrize("place", range(4))
def test_a_history_without_the_logs_of_one_contract_is_not_whole(
    honest: Audited, place: int
) -> None:
    """Be it the app's own, its KMS's, or that of who owns one of the two."""
    item = honest.timeline().coverage[place]

    def asked(artifact: Artifact) -> bool:
        return artifact.kind is Kind.LOG_SCAN and item.address.lower() in artifact.request

    kept = tuple(artifact for artifact in honest.bundle.artifacts if not asked(artifact))
    assert len(kept) < len(honest.bundle.artifacts)
    (found,) = honest.again(Bundle(kept, honest.bundle.blobs)).check("authorization.history")
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert found.summary.endswith(f"{item.role.value} {item.address}: nobody was asked")


def test_code_that_says_what_no_proxy_says_is_accused_all_the_same() -> None:
    (attack,) = (item for item in ATTACKS if item.name == "swapped-and-spoilt")
    (found,) = audit(attack.knobs).check("authorization.history")
    assert found.status is Status.FAIL


@pytest.mark.parametrize("edit", [forge.swapped_and_back, forge.upgraded_to_known])
def test_a_cache_that_accuses_the_app_is_not_relied_on(edit: Callable[..., None]) -> None:
    """The second audit, too, says what the first one found."""
    audited = audit(Knobs(edit_chain=edit))

    def cached(item: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
        if item.kind is Kind.LOG_SCAN:
            document = json.loads(raw)
            answers = [{**answer, "cached": True} for answer in document["answers"]]
            raw = json.dumps({**document, "answers": answers}).encode()
        return item, raw

    again = doubted(edited(audited.bundle, cached), audited.question)
    asked = {item.address for item in again}
    assert asked == ({f"0x{audited.world.app_id}"} if edit is forge.swapped_and_back else set())
