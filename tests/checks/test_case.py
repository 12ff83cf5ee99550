"""What follows from one attester's evidence and the question, before any check looks at it."""

from types import SimpleNamespace
from typing import Any, Final, cast

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from verifier.checks import case as module
from verifier.checks.case import EMPTY_ID, Case
from verifier.checks.dcap import DcapResult
from verifier.checks.demands import Demands
from verifier.checks.hardware.endorsements import Endorsements
from verifier.errors import Blocked, EvidenceError, MissingEvidence, VerifierError
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.evidence.td.log_fit import UNFIT
from verifier.evidence.td.report_data import SESSION, parse_binding
from verifier.lab import forgeries as forge
from verifier.lab.knobs import DAY, Knobs
from verifier.reference.values import KmsRecord, Origin, OsImage

NONCE: Final = bytes(range(32))
EXPORTER: Final = b"\x05" * 32


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


def case_of(audited: Audited, **question: Any) -> Case:
    """The case of the first attester."""
    subject = read_subject(audited.bundle, audited.bundle.subjects[0])
    asked = replace(audited.question, **question)
    return Case(subject, asked, Exchanges(audited.bundle))


@pytest.mark.parametrize(
    ("challenge", "report_data", "answered"),
    [
        (NONCE, NONCE + bytes(32), True),
        (NONCE, bytes(32) + NONCE, True),
        (NONCE, bytes(16) + NONCE + bytes(16), False),
        (NONCE, NONCE[:31] + bytes(33), False),
        (NONCE * 2, NONCE * 2, True),
        (b"", bytes(64), False),
        (b"", b"", False),
    ],
    ids=["first", "last", "within", "cut", "all", "not asked", "nothing"],
)
def test_report_data_answers_a_challenge_by_its_ends(
    honest: Audited, challenge: bytes, report_data: bytes, *, answered: bool
) -> None:
    assert case_of(honest, challenge=challenge).is_answer(report_data) is answered


def test_a_session_is_noted_where_there_is_a_challenge(honest: Audited) -> None:
    named = (parse_binding(f"file={'ab' * 32}"),)
    for challenge, exporter, sessions in (
        (NONCE, EXPORTER.hex(), [(NONCE, EXPORTER)]),
        (NONCE, "", []),
        (NONCE, "no hex", []),
        (b"", EXPORTER.hex(), []),
    ):
        case = case_of(honest, challenge=challenge, binds=named)
        quotes = [replace(item, exporter=exporter) for item in case.evidence.quotes]
        case.evidence = replace(case.evidence, quotes=quotes)
        assert case.binds[:1] == named
        assert [(item.kind, item.values) for item in case.binds[1:]] == [
            (SESSION, values) for values in sessions
        ]


IMAGE: Final = OsImage(
    os_image_hash="ab" * 32,
    release="0.5.8",
    kind="production",
    origin=Origin.OBSERVED,
    mrtd="",
    rtmr1="",
    rtmr2="",
    source="",
    date="",
)


def rows_of(case: Case, *changes: dict[str, Any]) -> list[OsImage]:
    """Rows of the quote's registers, but for changes."""
    own = {
        "mrtd": case.quote.mr_td.hex(),
        "rtmr1": case.quote.rtmrs[1].hex(),
        "rtmr2": case.quote.rtmrs[2].hex(),
    }
    return [replace(IMAGE, **{**own, **change}) for change in changes]


@pytest.mark.parametrize("register", ["mrtd", "rtmr1", "rtmr2"])
@pytest.mark.parametrize("value", ["", "00" * 48])
def test_an_image_has_every_register_of_the_quote(
    honest: Audited, register: str, value: str
) -> None:
    case = case_of(honest)
    right, wrong = rows_of(case, {}, {register: value})
    case.question = replace(
        case.question, reference=replace(case.reference, os_images=(wrong, right))
    )
    assert case.os_images == (right,)
    assert case.os_image == right


@pytest.mark.parametrize(
    ("changes", "best"),
    [
        ([], None),
        ([{}], 0),
        ([{}, {"origin": Origin.REBUILT}], 1),
        ([{"kind": "unknown", "origin": Origin.REBUILT}, {}], 1),
        ([{}, {"os_image_hash": "", "origin": Origin.REBUILT}], 1),
        ([{}, {"os_image_hash": "cd" * 32}], None),
        ([{}, {"kind": "development"}], None),
        ([{"kind": "unknown"}], 0),
    ],
    ids=[
        "none",
        "one",
        "better known",
        "of unknown kind",
        "of unknown hash",
        "two images",
        "two kinds",
        "unknown alone",
    ],
)
def test_which_of_several_rows_says_what_image_it_is(
    honest: Audited, changes: list[dict[str, Any]], best: int | None
) -> None:
    for step in (1, -1):
        case = case_of(honest)
        rows = rows_of(case, *changes)
        case.question = replace(
            case.question, reference=replace(case.reference, os_images=tuple(rows[::step]))
        )
        assert case.os_image == (None if best is None else rows[best])


def judged(
    monkeypatch: pytest.MonkeyPatch, window: tuple[int, int], at: int, failure: str = ""
) -> int | VerifierError:
    """When a quote is verified, as of a time; or what is raised."""
    moments = list[int]()

    def verify(_quote: bytes, _members: object, _root: bytes, moment: int) -> DcapResult:
        moments.append(moment)
        return DcapResult(failure=failure)

    def once(_key: object, compute: Any) -> Any:
        return compute()

    monkeypatch.setattr(module, "verify_quote", verify)
    case = SimpleNamespace(
        collateral=Endorsements(window=window),
        quote=SimpleNamespace(raw=b""),
        reference=SimpleNamespace(root=b""),
        question=SimpleNamespace(at=at, second_opinion=False),
        evidence=SimpleNamespace(bundle=SimpleNamespace(readings=SimpleNamespace(once=once))),
    )
    try:
        found = Case._verify(cast("Case", case))  # noqa: SLF001 - what `dcap` keeps
    except VerifierError as error:
        return error
    assert found.failure == failure
    return moments[0]


def test_endorsements_count_from_their_first_second_to_their_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for window, at in (((10, 20), 10), ((10, 20), 20), ((10, 20), 14), ((10, 10), 10)):
        assert judged(monkeypatch, window, at) == at
    for window, at in (((10, 20), 9), ((10, 20), 21), ((10, 10), 11), ((11, 10), 10)):
        assert isinstance(judged(monkeypatch, window, at), MissingEvidence)
    never = judged(monkeypatch, (11, 10), 10, "forged")
    assert isinstance(never, MissingEvidence)
    assert "never in force together" in never.message


def test_what_is_forged_at_another_time_is_forged(monkeypatch: pytest.MonkeyPatch) -> None:
    for at in (0, 30):
        assert judged(monkeypatch, (10, 20), at, "forged") == 15


def test_what_is_read_of_a_chain(honest: Audited) -> None:
    case = case_of(honest)
    plan, identity = case.chain_plan, case.identity
    assert plan is not None
    assert (plan.app_id, plan.compose_hash) == (identity.app_id, identity.compose_hash)
    assert plan.mr_kms == identity.mr_kms is not None
    assert plan.os_image_hash == bytes.fromhex(case.os_images[0].os_image_hash)
    assert [item.device_id for item in plan.boot_infos] == [*case.device_ids]
    assert {item.instance_id for item in plan.boot_infos} == {identity.instance_id}
    found = case.kms_contract()
    assert found is not None
    assert (found[0], found[1].plan) == (case.kms_record, plan)


@pytest.mark.parametrize("field", ["contract", "chain_id"])
def test_a_kms_without_a_contract_has_nothing_to_read(honest: Audited, field: str) -> None:
    case = case_of(honest)
    record: KmsRecord | None = case.kms_record
    assert record is not None
    hosted = replace(record, **{field: None})
    case.question = replace(case.question, reference=replace(case.reference, kms=(hosted,)))
    vars(case).pop("kms_record")
    assert case.chain_plan is None
    assert case.kms_contract() is None


def test_an_app_without_instances_asks_by_an_empty_id() -> None:
    plan = case_of(audit(Knobs(no_instance_id=True))).chain_plan
    assert plan is not None
    assert {item.instance_id for item in plan.boot_infos} == {EMPTY_ID}


@pytest.mark.parametrize("raised", [MissingEvidence("a"), Blocked("a"), EvidenceError("a")])
def test_what_does_not_verify_is_not_asked_about(
    honest: Audited, monkeypatch: pytest.MonkeyPatch, raised: VerifierError
) -> None:
    def verified(_case: Case) -> DcapResult:
        raise raised

    monkeypatch.setattr(Case, "verified", property(verified))
    plan = case_of(honest).chain_plan
    assert plan is not None
    assert plan.boot_infos == ()


@pytest.mark.parametrize("changes", [[], [{"os_image_hash": ""}]], ids=["image", "hash"])
def test_an_image_that_is_not_known_is_not_asked_about(
    honest: Audited, changes: list[dict[str, Any]]
) -> None:
    rows = tuple(rows_of(case_of(honest), *changes))
    case = case_of(honest, reference=replace(honest.question.reference, os_images=rows))
    plan = case.chain_plan
    assert plan is not None
    assert (plan.os_image_hash, plan.boot_infos) == (None, ())


def test_a_manifest_that_was_not_measured_is_not_asked_about(honest: Audited) -> None:
    case = case_of(honest)
    vars(case)["identity"] = replace(case.identity, compose_hash=None)
    plan = case.chain_plan
    assert plan is not None
    assert (plan.compose_hash, plan.boot_infos) == (None, ())


def test_an_app_that_gives_no_evidence_is_read_of_the_kms_that_was_named(honest: Audited) -> None:
    record, app_id = case_of(honest).kms_record, honest.question.app_id
    assert (record is None, app_id is None) == (False, False)
    plan = replace(honest.question, kms=record).chain_plan
    assert plan is not None
    assert (plan.app_id.hex(), plan.boot_infos) == (app_id, ())
    assert replace(honest.question, kms=None).chain_plan is None
    assert replace(honest.question, kms=record, app_id=None).chain_plan is None


def test_another_td_is_asked_nothing_that_is_about_this_app(honest: Audited) -> None:
    case = case_of(honest, challenge=NONCE, binds=(parse_binding(f"file={'ab' * 32}"),))
    case.question = replace(case.question, kms=case.kms_record, instances=("ab" * 20,))
    asked = case.for_attester(case.evidence, case.presented).question
    assert (asked.app_id, asked.kms, asked.instances) == (None, None, ())
    assert (asked.challenge, asked.binds) == (b"", ())
    assert (asked.at, asked.trusted, asked.reference) == (
        case.question.at,
        case.question.trusted,
        case.reference,
    )


def test_nothing_is_read_of_a_quote_that_does_not_verify() -> None:
    case = case_of(audit(Knobs(edit_quote=forge.flipped(forge.SIGNATURE + 8))))
    assert case.dcap.failure
    with pytest.raises(Blocked, match=r"hardware\.quote"):
        case.verified  # noqa: B018 - it raises


def test_a_quote_without_a_log_has_no_events(honest: Audited) -> None:
    case = case_of(honest)
    bare = replace(case.presented, log=None, parsed_events=None)
    with pytest.raises(MissingEvidence, match="no event log came"):
        case.resting_on(bare).events  # noqa: B018 - it raises
    assert case.resting_on(bare).misfits == UNFIT
    assert case.resting_on(replace(bare, log="no log")).misfits == UNFIT
    assert case.misfits != UNFIT


def test_the_measured_manifest_is_the_one_of_its_hash(honest: Audited) -> None:
    case = case_of(honest)
    given = case.evidence.manifests[0]
    other = replace(given, value=given.value + b" ")
    for manifests in ([other, given], [given, other]):
        case = case_of(honest)
        case.evidence = replace(case.evidence, manifests=manifests)
        assert case.measured_manifest == given
    case = case_of(honest)
    case.evidence = replace(case.evidence, manifests=[other])
    with pytest.raises(MissingEvidence, match="the measured manifest was not given"):
        case.measured_manifest  # noqa: B018 - it raises


def test_what_is_computed_once_is_kept_and_raised_again(honest: Audited) -> None:
    case, asked = case_of(honest), list[int]()
    assert [case.once("key", lambda: asked.append(1)) for _ in range(2)] == [None, None]
    assert asked == [1]
    forged = case_of(audit(Knobs(collateral_age=90 * DAY)))
    for _ in range(2):
        with pytest.raises(MissingEvidence, match="in force from"):
            forged.dcap  # noqa: B018 - it raises


def test_a_firmware_that_nobody_knows_has_no_layout(honest: Audited) -> None:
    case = case_of(honest)
    assert case.firmware is not None
    bare = replace(honest.question.reference, firmwares=())
    assert case_of(honest, reference=bare).firmware is None


def test_demands_are_those_that_were_given(honest: Audited) -> None:
    case = case_of(honest)
    demands = Demands(kms_signed=True, tcb_grace=3)
    given = Case(case.evidence, case.question, case.exchanges, demands)
    assert (case.demands, given.demands) == (Demands(), demands)
    other = given.for_attester(case.evidence, case.presented).demands
    assert (other.kms_signed, other.tcb_grace) == (False, 3)
    assert given.resting_on(case.presented).demands == demands
