"""Documents that the second verifier refuses whole, each for one field that is not as Intel's."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest

from verifier.checks.second_opinion.documents import read_qe_identity, read_tcb_info
from verifier.checks.second_opinion.refusal import RefusedError
from verifier.lab.world import build

Edit = Callable[[dict[str, Any]], object]


@cache
def given() -> dict[str, str]:
    collateral = build().collateral
    return {"TCB info": collateral.tcb_info, "QE identity": collateral.qe_identity}


def read(name: str, text: str) -> object:
    return read_tcb_info(text) if name == "TCB info" else read_qe_identity(text)


def put(value: object, *path: str | int) -> Edit:
    """An edit that puts a value where a path leads."""

    def edit(document: dict[str, Any]) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return edit


LEVEL: Final = ("tcbLevels", 0)
SVN: Final = (*LEVEL, "tcb", "sgxtcbcomponents", 0, "svn")
MODULE: Final = ("tdxModuleIdentities", 0, "id")
REFUSED: Final[dict[str, tuple[str, Edit]]] = {
    "hex of one byte less": ("TCB info", put("00a06d08", "fmspc")),
    "hex with spaces": ("TCB info", put("00 a0 6d 08 ", "fmspc")),
    "letters that are no hex": ("TCB info", put("00a06d08000g", "fmspc")),
    "digits of another script": ("TCB info", put("\u0660" * 12, "fmspc")),
    "hex as a number": ("TCB info", put(1, "pceId")),
    "another id": ("TCB info", put("SGX", "id")),
    "the id of the other": ("QE identity", put("TDX", "id")),
    "another version": ("TCB info", put(2, "version")),
    "a version of two": ("QE identity", put(3, "version")),
    "a version that is true": ("TCB info", put(True, "version")),  # noqa: FBT003 - the value
    "a status of nobody": ("TCB info", put("Uptodate", *LEVEL, "tcbStatus")),
    "a platform's status": ("QE identity", put("SWHardeningNeeded", *LEVEL, "tcbStatus")),
    "a version over a byte": ("TCB info", put(256, *SVN)),
    "a version below none": ("TCB info", put(-1, *SVN)),
    "a version as text": ("TCB info", put("1", *SVN)),
    "a version with a fraction": ("TCB info", put(1.0, *SVN)),
    "a PCE of more": ("TCB info", put(1 << 16, *LEVEL, "tcb", "pcesvn")),
    "fifteen components": (
        "TCB info",
        lambda x: x["tcbLevels"][0]["tcb"]["tdxtcbcomponents"].pop(),
    ),
    "advisories as text": ("TCB info", put("INTEL-SA-1", *LEVEL, "advisoryIDs")),
    "advisories of numbers": ("TCB info", put([1], *LEVEL, "advisoryIDs")),
    "a date without a zone": ("TCB info", put("2026-01-01T00:00:00", "issueDate")),
    "a date of no calendar": ("TCB info", put("2026-02-30T00:00:00Z", "nextUpdate")),
    "a date of another form": ("QE identity", put("2026-01-01T00:00:00+00:00", "nextUpdate")),
    "a module without a number": ("TCB info", put("TDX_", *MODULE)),
    "a module of three digits": ("TCB info", put("TDX_001", *MODULE)),
    "a module of no kind": ("TCB info", put("01", *MODULE)),
    "a module of another kind": ("TCB info", put("SGX_01", *MODULE)),
    "a module twice": (
        "TCB info",
        lambda x: x["tdxModuleIdentities"].append(x["tdxModuleIdentities"][0]),
    ),
    "a list of nothing": ("TCB info", put([1], "tdxModuleIdentities")),
    "levels as an object": ("QE identity", put({}, "tcbLevels")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_document_with_one_field_of_another_kind_is_refused(name: str) -> None:
    which, edit = REFUSED[name]
    document = json.loads(given()[which])
    assert read(which, json.dumps(document)) == read(which, given()[which])
    edit(document)
    with pytest.raises(RefusedError):
        read(which, json.dumps(document))


@pytest.mark.parametrize("which", ["TCB info", "QE identity"])
def test_a_document_is_one_object_without_a_name_twice(which: str) -> None:
    whole = given()[which]
    for text in (
        f"[{whole}]",
        whole[:-1] + ',"version":3}',
        whole[:-1] + ',"more":NaN}',
        whole[1:],
    ):
        with pytest.raises(RefusedError):
            read(which, text)


def test_the_order_of_levels_means_nothing() -> None:
    for which, text in given().items():
        document = json.loads(text)
        document["tcbLevels"].reverse()
        assert read(which, json.dumps(document)) == read(which, text)
    levels = read_tcb_info(given()["TCB info"]).levels
    assert len(levels) > 1
    assert [item.sgx for item in levels] == sorted((item.sgx for item in levels), reverse=True)
