"""The image and the machine: what is told apart, whose word it is, and what can be waived."""

import json
from itertools import product
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec.structs import replace

from tests.policy.conftest import written  # noqa: F401 - a fixture
from tests.policy.policies import Load, judged, waiver
from tests.worlds.audited import Audited, audit
from verifier.checks.boot.machine import UNEXPLAINED, _hints
from verifier.checks.case import Case
from verifier.cli.question import simulated_reference
from verifier.errors import PolicyError
from verifier.evidence.codec import JsonObject
from verifier.evidence.td.event_log import replay
from verifier.lab import forgeries as forge
from verifier.lab import host
from verifier.lab.events import MACHINE
from verifier.lab.knobs import Knobs
from verifier.lab.quote import TdReport
from verifier.machine.firmware import layout_from_witness, rtmr0_digests
from verifier.machine.shape import parse_vm_config
from verifier.model.result import Basis, CheckResult, SkipKind, Status, Verdict
from verifier.reference.values import Firmware, Origin, OsImage, embedded
from verifier.report.audit.answers import statements

LARGE: JsonObject = {
    "cpu_count": 64,
    "memory_size": 2 << 40,
    "qemu_version": "9.2.1",
    "pci_hole64_size": 1 << 50,
    "num_gpus": 8,
    "num_nvswitches": 4,
    "hotplug_off": True,
}


@pytest.fixture(scope="module")
def honest() -> Audited:
    return audit(Knobs())


@pytest.fixture(scope="module")
def strange() -> Audited:
    return audit(Knobs(edit_events=host.acpi_tables("own")))


def only(audited: Audited, check_id: str = "boot.machine") -> CheckResult:
    (result,) = audited.check(check_id)
    return result


@pytest.mark.parametrize("version", ["0.3.5", "0.5.0", "0.6.0"])
def test_the_machine_of_every_release_is_reproduced(version: str) -> None:
    assert only(audit(Knobs(version=version))).status is Status.PASS


@pytest.mark.parametrize(
    "stated",
    [{"cpu_count": "2"}, {**LARGE}],
    ids=json.dumps,
)
def test_what_is_stated_is_a_hint_alone(stated: JsonObject) -> None:
    found = only(audit(Knobs(stated_machine=stated)))
    assert (found.status, found.summary.count("found by search")) == (Status.PASS, 1)


@pytest.mark.parametrize("machine", [LARGE, {**MACHINE, "hugepages": True, "cpu_count": 7}])
def test_machines_that_are_stated_are_reproduced(machine: JsonObject) -> None:
    found = only(audit(Knobs(machine=machine)))
    assert found.status is Status.PASS
    assert "search" not in found.summary
    memory = int(str(machine["memory_size"])) >> 30
    assert found.summary.startswith(f"{machine['cpu_count']} vCPU, {memory} GiB")


@pytest.mark.parametrize(
    ("edit", "registers", "machine"),
    [
        (forge.boot_digest, Status.FAIL, Status.SKIP),
        (forge.respelled("compose-hash", "imr", float), Status.ERROR, Status.ERROR),
    ],
)
def test_a_log_that_proves_nothing_is_as_none(
    edit: forge.LogEdit, registers: Status, machine: Status
) -> None:
    """The signed register stands without it; and it names no machine that nobody states."""
    audited = audit(Knobs(edit_log=edit))
    assert {item.status for item in audited.check("boot.registers")} == {registers}
    assert {item.status for item in audited.check("boot.machine")} == {Status.PASS}
    unstated = audit(Knobs(edit_log=edit, stated_machine={"cpu_count": 1}))
    assert {item.status for item in unstated.check("boot.machine")} == {machine}


def hinted(*texts: str) -> list[int]:
    """How many processors each machine has that is taken from these configurations."""
    quotes = [SimpleNamespace(vm_config=text) for text in texts]
    case = SimpleNamespace(evidence=SimpleNamespace(quotes=quotes, infos=[]))
    return [shape.cpus for shape in _hints(cast("Case", case))]


def test_what_is_stated_is_read_within_bounds() -> None:
    stated = [json.dumps({**MACHINE, "cpu_count": count}) for count in range(1, 12)]
    assert hinted(stated[0].ljust(1 << 16)) == [1]
    assert hinted(stated[0].ljust((1 << 16) + 1)) == []
    assert hinted("", "no JSON", "\ud800", stated[1]) == [2]
    assert len(hinted(*stated)) == 8


def test_an_unknown_firmware_is_missing_evidence(honest: Audited) -> None:
    reference = replace(honest.question.reference, firmwares=())
    again = honest.again(reference=reference)
    assert only(again).skip_kind is SkipKind.MISSING_EVIDENCE
    gpu = only(again, "hardware.gpu")
    assert gpu.skip_kind is SkipKind.NOT_APPLICABLE
    assert "nothing measured says that there is one" in gpu.summary


def test_a_firmware_that_is_none_is_an_error(honest: Audited) -> None:
    (row,) = honest.question.reference.firmwares
    reference = replace(honest.question.reference, firmwares=(replace(row, witness="80"),))
    assert only(honest.again(reference=reference)).status is Status.ERROR


@pytest.mark.parametrize(
    ("policy", "status", "verdict"),
    [
        ("genuine", Status.WARN, Verdict.WARNING),
        ("baseline", Status.WARN, Verdict.WARNING),
        ("strict", Status.WARN, Verdict.CONTRAINDICATED),
    ],
)
def test_unknown_tables_are_a_doubt_in_every_policy(
    strange: Audited, policy: str, status: Status, verdict: Verdict
) -> None:
    under = strange.under(policy)
    assert only(under).status is status
    assert under.report.verdict in (verdict, Verdict.WARNING, Verdict.NONE)


def test_what_is_proven_rests_on_the_tables(honest: Audited, strange: Audited) -> None:
    for audited, doubted in ((honest, False), (strange, True)):
        proven = statements(audited.report.subjects[0])[0]
        assert ("are harmless (boot.machine)" in proven.why) is doubted


def digests_of(audited: Audited) -> list[str]:
    actual = only(audited).actual
    assert isinstance(actual, dict)
    listed = actual[UNEXPLAINED]
    assert isinstance(listed, list)
    return [str(item) for item in listed]


def waived(audited: Audited, digests: list[str]) -> str:
    return waiver(audited, check="boot.machine") + f"digests = {json.dumps(digests)}\n"


def test_a_waiver_names_the_tables_that_it_accepts(strange: Audited, written: Load) -> None:  # noqa: F811
    digests = digests_of(strange)
    report = judged(strange, written(waived(strange, digests)))
    assert report.verdict is Verdict.AFFIRMING
    assert judged(strange, written(waived(strange, digests[:2]))).verdict is Verdict.WARNING
    others = ["00" * 48, *digests[1:]]
    assert judged(strange, written(waived(strange, others))).verdict is Verdict.WARNING


def test_no_waiver_covers_what_the_firmware_measured(strange: Audited, written: Load) -> None:  # noqa: F811
    failed = audit(Knobs(edit_events=host.firmware_event(5, "db")))
    report = judged(failed, written(waived(failed, digests_of(strange))))
    assert report.verdict is Verdict.CONTRAINDICATED


@pytest.mark.parametrize("digests", ["", "digests = []", 'digests = ["aa"]', "digests = 5"])
def test_a_waiver_without_tables_is_refused(
    honest: Audited,
    written: Load,  # noqa: F811
    digests: str,
) -> None:
    with pytest.raises(PolicyError):
        written(waiver(honest, check="boot.machine") + digests + "\n")


def test_no_other_waiver_has_digests(honest: Audited, written: Load) -> None:  # noqa: F811
    with pytest.raises(PolicyError):
        written(waiver(honest, check="hardware.tcb") + f'digests = ["{"aa" * 48}"]\n')


def with_origin(audited: Audited, origin: str) -> Audited:
    document = json.loads(audited.world.reference())
    for row in document["os_images"]:
        row["origin"] = origin
    return audited.again(reference=simulated_reference(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("origin", "status"),
    [("rebuilt", Status.PASS), ("measured", Status.PASS), ("observed", Status.WARN)],
)
def test_the_origin_decides_and_is_said(honest: Audited, origin: str, status: Status) -> None:
    found = only(with_origin(honest, origin), "boot.image")
    assert found.status is status
    assert isinstance(found.actual, dict)
    assert found.actual["origin"] == origin


def test_a_policy_can_ask_for_images_that_one_measured_oneself(
    honest: Audited,
    written: Load,  # noqa: F811
) -> None:
    policy = written('[os]\norigin = "rebuilt"\n')
    assert judged(honest, policy).verdict is Verdict.AFFIRMING
    for origin in ("measured", "observed"):
        audited = with_origin(honest, origin)
        assert judged(audited, policy, reference=audited.question.reference).verdict is Verdict.NONE
    with pytest.raises(PolicyError):
        written('[os]\norigin = "measured"\n')


def row_of(audited: Audited, **fields: str) -> OsImage:
    row = next(row for row in audited.question.reference.os_images if row.kind == "production")
    return replace(row, **fields)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"os_image_hash": "11" * 32}, Status.SKIP),
        ({"kind": "development"}, Status.SKIP),
        ({"kind": "unknown", "os_image_hash": ""}, Status.PASS),
        ({"release": "another word for it"}, Status.PASS),
    ],
    ids=str,
)
def test_registers_with_two_names_are_a_conflict(
    honest: Audited, fields: dict[str, str], status: Status
) -> None:
    rows = [row_of(honest, origin=origin, **fields) for origin in Origin if origin != "published"]
    reference = honest.question.reference
    for row, first in product(rows, (True, False)):
        images = (row, *reference.os_images) if first else (*reference.os_images, row)
        found = only(honest.again(reference=replace(reference, os_images=images)), "boot.image")
        assert found.status is status


def test_rows_of_the_relying_party_join_the_reference(honest: Audited) -> None:
    reference = honest.question.reference
    bare = replace(reference, os_images=(), firmwares=())
    firmware: tuple[Firmware, ...] = reference.firmwares
    joined = bare.with_images(reference.os_images, firmware, "ab" * 32)
    assert joined.digest != bare.digest
    again = honest.again(reference=joined)
    assert {only(again, name).status for name in ("boot.image", "boot.machine")} == {Status.PASS}


OVMF = next(iter(embedded().firmwares))


@pytest.mark.parametrize("release", ["0.5.7", "0.5.8"])
def test_the_released_images_that_another_party_measured(release: str) -> None:
    """A world whose registers are those of a release: the log of its boot is not shown."""
    row = next(
        item
        for item in embedded().os_images
        if (item.release, item.origin) == (release, Origin.MEASURED)
    )
    layout = layout_from_witness(bytes.fromhex(OVMF.witness), bytes.fromhex(OVMF.volume))
    rtmr0 = replay(rtmr0_digests(parse_vm_config(dict(MACHINE)), layout))
    image = (rtmr0, bytes.fromhex(row.rtmr1), bytes.fromhex(row.rtmr2))

    def boot(report: TdReport) -> TdReport:
        return replace(report, mr_td=bytes.fromhex(row.mrtd), rtmrs=(*image, report.rtmrs[3]))

    audited = audit(
        Knobs(
            edit_td=boot,
            edit_log=host.without_boot,
            edit_events=forge.measured_as("os-image-hash", bytes.fromhex(row.os_image_hash)),
        )
    )
    reference = audited.question.reference.with_images((row,), (OVMF,), "00" * 32)
    again = audited.again(reference=reference)
    assert {only(again, name).status for name in ("boot.image", "boot.machine")} == {Status.PASS}
    assert "another party (near/mpc@" in only(again, "boot.image").summary


def test_the_machine_is_a_claim_that_no_hint_changes(honest: Audited) -> None:
    claim = honest.claims()["machine"]
    assert claim.basis is Basis.MEASURED
    found = audit(Knobs(stated_machine={})).claims()["machine"]
    assert found.value == claim.value
    assert "machine" not in audit(Knobs(edit_events=host.acpi_tables("own"))).claims()
