"""Which TCB level the second verifier finds a platform to meet, with which module."""

from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from benchmarks.quote_changes import of_world
from verifier.checks.second_opinion.certificates import Platform
from verifier.checks.second_opinion.documents import (
    Level,
    Module,
    QeIdentity,
    TcbInfo,
    read_qe_identity,
)
from verifier.checks.second_opinion.layout import Quote, read_quote
from verifier.checks.second_opinion.levels import (
    enclave_level,
    need_module,
    platform_level,
    relaunched,
    with_part,
)
from verifier.checks.second_opinion.refusal import RefusedError
from verifier.lab.knobs import Knobs

SIZE: Final = 16
PLATFORM: Final = Platform(
    ppid=bytes(SIZE), components=(2,) * SIZE, pce_svn=13, pce_id=bytes(2), fmspc=bytes(6)
)


def level(status: str, date: int = 0, *, pce: int = 0, sgx: int = 0, **tdx: int) -> Level:
    """A level that asks for these versions: of each SGX component, and of `t0`, `t1` and so on."""
    return Level(
        status=status,
        date=date,
        advisories=(status,),
        sgx=(sgx,) * SIZE,
        pce_svn=pce,
        tdx=tuple(tdx.get(f"t{place}", 0) for place in range(SIZE)),
    )


def info(*levels: Level) -> TcbInfo:
    modules = tuple(
        Level(status=status, date=date, advisories=(f"module {status}",), svn=svn)
        for status, date, svn in (("UpToDate", 20, 3), ("OutOfDate", 10, 2))
    )
    plain = Module(mr_signer=bytes(48), attributes=bytes(8))
    return TcbInfo(
        window=(0, 1),
        evaluation=1,
        fmspc=bytes(6),
        pce_id=bytes(2),
        levels=levels,
        module=plain,
        modules={1: Module(mr_signer=bytes(48), attributes=bytes(8), levels=modules)},
    )


def met(versions: bytes, *levels: Level) -> tuple[str, int]:
    found = platform_level(
        info(*levels, level("OutOfDate", 1)), PLATFORM, versions.ljust(SIZE, b"\0")
    )
    return found.status, found.date


@pytest.mark.parametrize(
    ("best", "status"),
    [
        (level("UpToDate", pce=13, sgx=2), "UpToDate"),
        (level("UpToDate", pce=14), "OutOfDate"),
        (level("UpToDate", sgx=3), "OutOfDate"),
        (level("UpToDate", t2=1), "UpToDate"),
        (level("UpToDate", t2=2), "OutOfDate"),
        (level("UpToDate", t15=1), "OutOfDate"),
    ],
)
def test_a_level_is_met_by_every_version_that_it_asks_for(best: Level, status: str) -> None:
    assert met(b"\3\1\1", best)[0] == status


@pytest.mark.parametrize("third", [0, 1])
@pytest.mark.parametrize(
    ("versions", "status", "date"),
    [
        (b"\5\0", "UpToDate", 30),
        (b"\4\0", "OutOfDate", 1),
        (b"\3\1", "UpToDate", 20),
        (b"\2\1", "OutOfDate", 10),
    ],
    ids=["new, of version 0", "old, of version 0", "new", "old"],
)
def test_a_module_of_a_version_is_judged_by_its_own_levels(
    versions: bytes, status: str, date: int, third: int
) -> None:
    """The first two versions are the module's: a platform's level judges them where the module's
    own version is 0, whatever the third is."""
    assert met(versions + bytes([third]), level("UpToDate", 30, t0=5)) == (status, date)


@pytest.mark.parametrize("versions", [b"\3\2", b"\1\1"], ids=["of no version", "of no level"])
def test_a_module_that_tcb_info_does_not_know_is_refused(versions: bytes) -> None:
    with pytest.raises(RefusedError):
        met(versions)


def test_a_platform_that_meets_no_level_is_refused() -> None:
    with pytest.raises(RefusedError, match="meets no TCB level"):
        platform_level(info(level("UpToDate", pce=14)), PLATFORM, bytes(SIZE))


@pytest.mark.parametrize(
    ("launch", "current", "status"),
    [
        ("OutOfDate", "UpToDate", "TDRelaunchAdvised"),
        ("OutOfDate", "SWHardeningNeeded", "TDRelaunchAdvised"),
        ("OutOfDate", "ConfigurationNeeded", "TDRelaunchAdvisedConfigurationNeeded"),
        ("OutOfDateConfigurationNeeded", "UpToDate", "TDRelaunchAdvisedConfigurationNeeded"),
        ("OutOfDate", "OutOfDate", "OutOfDate"),
        ("OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("UpToDate", "UpToDate", "UpToDate"),
        ("UpToDate", "OutOfDate", "UpToDate"),
        ("ConfigurationNeeded", "UpToDate", "ConfigurationNeeded"),
    ],
)
def test_launching_anew_would_do_where_only_the_launch_is_out_of_date(
    launch: str, current: str, status: str
) -> None:
    assert relaunched(launch, current) == status


@pytest.mark.parametrize(
    ("whole", "part", "status"),
    [
        ("UpToDate", "UpToDate", "UpToDate"),
        ("UpToDate", "OutOfDate", "OutOfDate"),
        ("SWHardeningNeeded", "OutOfDate", "OutOfDate"),
        ("ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded"),
        ("UpToDate", "Revoked", "Revoked"),
        ("Revoked", "UpToDate", "Revoked"),
        ("OutOfDate", "UpToDate", "OutOfDate"),
    ],
)
def test_a_part_makes_the_whole_no_better(whole: str, part: str, status: str) -> None:
    assert with_part(whole, part) == status


@cache
def given() -> tuple[Quote, QeIdentity]:
    """An honest quote, and what its quoting enclave has to be."""
    asked = of_world(Knobs())
    return read_quote(asked.quote), read_qe_identity(str(asked.members["qe_identity"]))


def saying(version: int, module: Module) -> TcbInfo:
    """TCB info that says this of the module of a version, and nothing fitting of others."""
    other = Module(mr_signer=b"\1" * 48, attributes=bytes(8))
    modules = {1: other, 2: other, version: module}
    return replace(info(), module=modules.get(0, other), modules=modules)


@pytest.mark.parametrize("version", [0, 1])
def test_a_module_without_attributes_is_the_only_one(version: int) -> None:
    """Not even one that has those which TCB info says of it."""
    plain, some = (Module(mr_signer=bytes(48), attributes=bytes(7) + end) for end in (b"\0", b"\1"))
    versions = bytes([5, version, 2]).ljust(SIZE, b"\0")
    quote = replace(given()[0], tee_tcb_svn=versions, mr_signer_seam=bytes(48))
    need_module(replace(quote, seam_attributes=bytes(8)), saying(version, plain))
    for shown, said in ((some, plain), (some, some), (plain, some)):
        with pytest.raises(RefusedError, match="has attributes"):
            need_module(replace(quote, seam_attributes=shown.attributes), saying(version, said))
    with pytest.raises(RefusedError, match="signed by another"):
        need_module(replace(quote, mr_signer_seam=bytes(47) + b"\1"), saying(version, plain))


@pytest.mark.parametrize("field", ["misc_select", "attributes"])
def test_an_enclave_is_compared_in_the_bits_that_count(field: str) -> None:
    report, identity = given()[0].qe, given()[1]
    mask = {"misc_select": "misc_mask", "attributes": "attributes_mask"}[field]
    size = len(getattr(report, field))
    last = bytes(size - 1) + b"\1"
    of_report = last[::-1] if field == "misc_select" else last
    other = replace(report, **{field: of_report})
    looked_at, passed_over = (
        {mask: last, field: bytes(size)},
        {mask: bytes(size), field: bytes(size)},
    )
    assert enclave_level(other, replace(identity, **passed_over)).status == "UpToDate"
    with pytest.raises(RefusedError, match=r"has another|has other"):
        enclave_level(other, replace(identity, **looked_at))


def test_an_enclave_for_debugging_is_refused_whatever_counts() -> None:
    report, identity = given()[0].qe, given()[1]
    lenient = replace(identity, attributes_mask=bytes(SIZE), attributes=bytes(SIZE))
    for first, refused in ((0b101, False), (0b111, True)):
        other = replace(report, attributes=bytes([first]) + report.attributes[1:])
        if not refused:
            enclave_level(other, lenient)
            continue
        with pytest.raises(RefusedError, match="for debugging"):
            enclave_level(other, lenient)


def test_what_is_of_another_size_is_compared_with_nothing() -> None:
    report, identity = given()[0].qe, given()[1]
    for mask in ("misc_mask", "attributes_mask"):
        with pytest.raises(ValueError, match="zip"):
            enclave_level(report, replace(identity, **{mask: b""}))
    short = replace(PLATFORM, components=(2,))
    for platform, versions in ((short, bytes(SIZE)), (PLATFORM, bytes(2))):
        with pytest.raises(ValueError, match="zip"):
            platform_level(info(level("UpToDate")), platform, versions)
