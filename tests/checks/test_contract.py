"""What contracts have to be, and have to say, so that they allow a boot."""

from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace

from tests.codes import known_code
from verifier.chain.view import Agreed, ChainView
from verifier.checks.authorization import contract as module
from verifier.checks.authorization.contract import MAX_BLOCK_AGE, MAX_BLOCK_LAG, _getters
from verifier.checks.case import MAX_CLOCK_SKEW, Case
from verifier.checks.engine import Outcome, tried
from verifier.cli.question import simulated_reference
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import BootInfo
from verifier.lab.world import build
from verifier.model.chain import ZERO_ADDRESS
from verifier.model.result import EvidenceRef, SkipKind, Status
from verifier.reference.generations import G3, G4, G5
from verifier.reference.values import KmsRecord

APP: Final = "0x" + "a0" * 20
KMS: Final = "0x" + "b0" * 20
AT: Final = 1_700_000_000
RECORD: Final = replace(simulated_reference(build().reference()).kms[0], generation=G5.name)


class View(SimpleNamespace):
    """A chain of which only what a check asks for is told."""

    accuse = ChainView.accuse

    def app_address(self) -> str:
        """The address of the app's contract."""
        return str(self.app)


def view(**changes: Any) -> View:
    """A view of a block of a minute ago, read from two operators."""
    mined = changes.pop("mined", AT - 60)
    plan = SimpleNamespace(kms=KMS, chain_id=8453, generation=G5, boot_infos=("new", "old"))
    told = {
        "app": APP,
        "plan": plan,
        "number": 7,
        "header": Agreed(("ab" * 32, mined), ()),
        "newest": mined,
        "single_source": False,
        "foreign": (),
        "doubtful": (),
    }
    return View(**{**told, **changes})


def outcome(spec: Any, seen: View, *, record: KmsRecord = RECORD, known: bool = True) -> Outcome:
    """What a check says of this view; `known` is whether the reference values have the record."""
    case = SimpleNamespace(
        kms_contract=lambda: (record, seen),
        reference=SimpleNamespace(kms=(record,) if known else (), contracts=()),
        question=SimpleNamespace(at=AT),
    )
    return tried(lambda: cast("Outcome", spec.run(cast("Case", case))))


@pytest.fixture
def governed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The outcome of `authorization.contract`, by what is behind the addresses."""

    def judged(
        seen: View, *, kms: str = G5.name, app: str = G5.name, proxy: str = "", **options: Any
    ) -> Outcome:
        codes = {KMS: kms, APP: app}

        def implementation(_ref: Any, _view: Any, address: str, role: str, problems: Any) -> Any:
            if not codes[address]:
                problems.append(f"the {role} is not known")
                return None
            return known_code(codes[address])

        monkeypatch.setattr(module, "_implementation", implementation)
        monkeypatch.setattr(module, "_proxy_problems", lambda *_: [proxy] if proxy else [])
        vouched = options.pop("vouched", False)
        monkeypatch.setattr(module, "_is_known_proxy", lambda *_: vouched)
        return outcome(module.contract, seen, **options)

    return judged


@pytest.mark.parametrize(
    ("changes", "options", "status", "words"),
    [
        ({}, {}, Status.PASS, "run known code (G5, G5), block 7"),
        ({"app": ""}, {}, Status.FAIL, "no such app registered"),
        ({}, {"kms": ""}, Status.FAIL, "the kms is not known"),
        ({}, {"app": ""}, Status.FAIL, "the app is not known"),
        ({}, {"proxy": "no proxy"}, Status.FAIL, "no proxy"),
        ({}, {"app": G3.name}, Status.PASS, "(G5, G3)"),
        ({}, {"kms": G3.name}, Status.FAIL, "the KMS runs generation G3, its record says G5"),
        ({}, {"kms": G4.name}, Status.WARN, "the record says G5: the KMS was upgraded"),
        ({}, {"record": replace(RECORD, generation=""), "kms": G4.name}, Status.PASS, "(G4, G5)"),
        ({"single_source": True}, {}, Status.WARN, "read from one operator only"),
        ({"single_source": True, "foreign": ("x",)}, {}, Status.WARN, "x serves another chain"),
        ({"single_source": True, "doubtful": ("x",)}, {}, Status.WARN, "x does not tell its"),
        ({"foreign": ("x",), "doubtful": ("y",)}, {}, Status.PASS, "block 7"),
        ({"newest": AT - 60 + MAX_BLOCK_LAG}, {}, Status.PASS, "block 7"),
        ({"newest": AT - 60 + MAX_BLOCK_LAG + 1}, {}, Status.WARN, "one endpoint calls block 7"),
        ({}, {"known": False}, Status.WARN, "which you named, is not a known proxy"),
        ({}, {"known": False, "vouched": True}, Status.PASS, "block 7"),
    ],
    ids=str,
)
def test_what_governs_an_app(
    governed: Any, changes: dict[str, Any], options: dict[str, Any], status: Status, words: str
) -> None:
    found = governed(view(**changes), **options)
    assert (found.status, words in found.summary) == (status, True)
    assert found.summary.count("; ") == len(reserved(changes)) + (status is Status.WARN)


def reserved(changes: dict[str, Any]) -> list[str]:
    """The endpoints that are named beside the reservation that there is one operator alone."""
    alone = changes.get("single_source", False)
    return [name for name in ("foreign", "doubtful") if alone and changes.get(name)]


def test_an_app_that_has_no_address_is_of_the_generation_of_its_kms(governed: Any) -> None:
    earlier = view()
    earlier.plan.generation = G3
    record = replace(RECORD, generation=G3.name)
    assert governed(earlier, kms=G3.name, record=record).status is Status.PASS
    assert governed(earlier, kms=G4.name, record=record).status is Status.FAIL


@pytest.mark.parametrize("options", [{"kms": ""}, {"proxy": "no proxy"}])
def test_what_one_operator_alone_says_accuses_nobody(governed: Any, options: Any) -> None:
    assert governed(view(single_source=True), **options).status is Status.ERROR
    assert governed(view(single_source=True, app="")).status is Status.ERROR


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The outcome of `authorization.allowed`, by what the contracts answer: `getters` by name, the
    answers of isAppAllowed and the listed devices by the ids that a KMS may know a device by."""

    def judged(
        seen: View,
        *,
        getters: dict[str, bool] | None = None,
        said: tuple[tuple[bool, str], ...] = ((True, ""), (False, "Device not allowed")),
        devices: tuple[bool, ...] = (True, False),
        any_device: bool = False,
    ) -> Outcome:
        told = {"OS image": True, "compose hash": True, **(getters or {})}
        places = {"new": 0, "old": 1}
        monkeypatch.setattr(module, "_getters", lambda *_: (told, Agreed(any_device, ()), ()))
        monkeypatch.setattr(
            module, "_ask", lambda _, boot: Agreed(said[places[boot]], (EvidenceRef(boot),))
        )
        monkeypatch.setattr(module, "_device", lambda _, _app, boot: devices[places[boot]])
        return outcome(module.allowed, seen)

    return judged


NO: Final = (False, "")
YES: Final = (True, "")


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ({}, Status.PASS, "this device is listed"),
        ({"any_device": True, "said": (YES, YES)}, Status.PASS, "any device may run it"),
        ({"any_device": True, "devices": (False, False)}, Status.PASS, "any device may run it"),
        ({"any_device": True, "said": (NO, YES)}, Status.PASS, "any device may run it"),
        ({"said": (NO, YES), "devices": (False, True)}, Status.WARN, "by the id that releases"),
        ({"said": (YES, YES), "devices": (False, True)}, Status.WARN, "by the id that releases"),
        ({"getters": {"OS image": False}}, Status.FAIL, "not allowed: OS image"),
        ({"getters": {"KMS build": False}}, Status.FAIL, "not allowed: KMS build"),
        ({"getters": {"registration": False}}, Status.FAIL, "not allowed: registration"),
        ({"devices": (False, False)}, Status.FAIL, "not allowed: device"),
        ({"said": ((False, "why"), NO)}, Status.FAIL, "not allowed: why"),
        ({"said": (NO, NO)}, Status.FAIL, "not allowed: isAppAllowed says no"),
        ({"said": (NO, YES)}, Status.FAIL, "not allowed: isAppAllowed says no"),
        ({"said": (YES, NO), "devices": (False, True)}, Status.FAIL, "isAppAllowed says no"),
    ],
    ids=str,
)
def test_what_allows_a_boot(
    allowed: Any, options: dict[str, Any], status: Status, words: str
) -> None:
    found = allowed(view(), **options)
    assert (found.status, words in found.summary) == (status, True)
    assert found.evidence == (EvidenceRef("new"),)
    assert isinstance(found.actual, dict)
    said = options.get("said", (YES, (False, "Device not allowed")))
    answers = [allows or why for allows, why in said]
    assert found.actual["isAppAllowed, by device id"] == answers
    alone = allowed(view(single_source=True), **options)
    assert alone.status is (Status.ERROR if status is Status.FAIL else Status.WARN)
    assert "one operator" in alone.summary


@pytest.mark.parametrize(
    ("age", "young"),
    [
        (-MAX_CLOCK_SKEW - 1, False),
        (-MAX_CLOCK_SKEW, True),
        (0, True),
        (MAX_BLOCK_AGE, True),
        (MAX_BLOCK_AGE + 1, False),
    ],
)
def test_how_old_a_block_may_be(allowed: Any, age: int, *, young: bool) -> None:
    found = allowed(view(mined=AT - age))
    assert found.status is (Status.PASS if young else Status.SKIP)
    assert young or "not within an hour" in found.summary


def test_an_endpoint_may_not_choose_how_old_a_block_is(allowed: Any) -> None:
    assert (MAX_CLOCK_SKEW, MAX_BLOCK_AGE, MAX_BLOCK_LAG) == (120, 3600, 900)
    mined = AT - 2000
    assert allowed(view(mined=mined, newest=mined + MAX_BLOCK_LAG)).status is Status.PASS
    late = allowed(view(mined=mined, newest=mined + MAX_BLOCK_LAG + 1))
    assert late.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "what changed in between is not seen" in late.summary


def test_a_boot_of_an_unknown_image_is_not_asked_about(allowed: Any) -> None:
    bare = view()
    bare.plan.boot_infos = ()
    found = allowed(bare)
    assert found.skip_kind is SkipKind.MISSING_EVIDENCE
    assert "the OS image is not identified" in found.summary


BOOT: Final = BootInfo(
    app_id=b"\1" * 20,
    compose_hash=b"\2" * 32,
    instance_id=b"\3" * 20,
    device_id=b"\4" * 32,
    mr_aggregated=b"\5" * 32,
    mr_system=b"\6" * 32,
    os_image_hash=b"\7" * 32,
    tcb_status="UpToDate",
    advisory_ids=(),
)


def read(*, app: str | None = APP, mr_kms: bytes | None = None, told: bool = True) -> set[str]:
    """The getters that are asked for a boot."""
    plan = SimpleNamespace(kms=KMS, app=app, app_id=BOOT.app_id, mr_kms=mr_kms)
    seen = SimpleNamespace(
        plan=plan,
        number=7,
        call=lambda *_: Agreed(True, ()),  # noqa: FBT003 - what a getter says
        find=lambda *_: told or None,
    )
    names, any_device, _ = _getters(cast("ChainView", seen), APP, BOOT)
    assert any_device.value
    return set(names)


def test_which_getters_stand_behind_an_answer() -> None:
    always = {"OS image", "compose hash"}
    assert read() == {*always, "registration"}
    assert read(app=None) == always
    assert read(mr_kms=b"\7" * 32) == {*always, "registration", "KMS build"}
    unsaid = tried(lambda: cast("Outcome", read(mr_kms=b"\7" * 32, told=False)))
    assert unsaid.skip_kind is SkipKind.MISSING_EVIDENCE


def behind(address: str, *codes: str) -> tuple[list[str], str]:
    """What is wrong with the implementation at an address, and the generation of a known one."""
    told = {contracts.decode_address: address, contracts.decode_bytes: b"code"}
    seen = SimpleNamespace(number=7, read=lambda _call, decode: Agreed(told[decode], ()))
    problems = list[str]()
    found = module._implementation(  # noqa: SLF001 - one of two that are alike
        cast("Any", SimpleNamespace(contracts=codes)), cast("ChainView", seen), KMS, "kms", problems
    )
    return problems, found.generation if found else ""


def test_what_is_behind_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        contracts, "identify_code", lambda known, *_: known_code(known[0]) if known else None
    )
    assert behind(APP, G5.name) == ([], G5.name)
    assert behind(APP) == ([f"the kms implementation {APP} is not a known build"], "")
    assert behind(ZERO_ADDRESS, G5.name) == ([f"{KMS} is not an ERC-1967 proxy"], "")


@pytest.mark.parametrize(
    ("empty", "known", "problem"),
    [
        ("", True, ""),
        (APP, True, "there is no contract at the app id"),
        ("", False, "is not a known proxy"),
        (KMS, True, "there is no contract at the KMS address"),
    ],
)
def test_what_a_proxy_has_to_be(
    monkeypatch: pytest.MonkeyPatch, empty: str, *, known: bool, problem: str
) -> None:
    found = known_code(G5.name) if known else None
    monkeypatch.setattr(contracts, "identify_code", lambda *_: found)
    seen = SimpleNamespace(
        number=7,
        plan=SimpleNamespace(kms=KMS),
        read=lambda call, _: Agreed(b"" if call[1][0] == empty else b"code", ()),
    )
    reference = SimpleNamespace(contracts=())
    said = module._proxy_problems(  # noqa: SLF001 - what `contract` asks of both addresses
        cast("Any", reference), cast("ChainView", seen), APP
    )
    assert [problem in text for text in said] == [True] * bool(problem)
