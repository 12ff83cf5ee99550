"""A slice of `make mutate`: mutated evidence breaks nothing, and what would break is noticed."""

import dataclasses
from functools import cache

import pytest
from msgspec.structs import replace

from tests.evidence.recorded import needs_recorded
from tests.mutation import block, parsers
from tests.mutation.block import Trial, faults, tried
from tests.mutation.invariants import broken
from tests.mutation.operations import Level, Op, Operation, edited_bytes, edited_node, mutated
from tests.mutation.shrink import shrunk
from tests.worlds.damage import GONE, Json
from verifier.checks import engine
from verifier.checks.case import Case
from verifier.evidence.bundle import Kind
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.subject import read_subject
from verifier.model.result import Status

SEED = 1
DROPPED = Operation(op=Op.DROP, level=Level.ARTIFACT, kind=Kind.PAGE, number=0)

MRTD = 184
"""Where it begins in a TD quote of version 4."""

# Certificates with a negative serial make the library warn of its future behaviour.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@cache
def trial(name: str) -> Trial:
    """The mutations of one case."""
    return Trial(SEED, name, 0)


@pytest.mark.parametrize(
    ("name", "audits"),
    [
        ("honest", 20),
        ("quote-of-another-td", 8),
        pytest.param("recorded-kms-base", 12, marks=needs_recorded),
        pytest.param("recorded-gpus", 4, marks=needs_recorded),
    ],
)
def test_nothing_breaks(name: str, audits: int) -> None:
    made = trial(name)
    for number in range(audits):
        operations = made.mutation(number)
        ending, found = faults(made.case, made.donor, operations, fully=number % 8 == 0)
        assert not found, f"{ending}: {found}: {operations}"
    for number in range(60):
        operation = made.input(number)
        assert not tried(made.case, operation, made.donor)[1], operation


def test_a_seed_decides_every_mutation() -> None:
    one, again, other = (Trial(seed, "without-a-kms", 0) for seed in (SEED, SEED, SEED + 1))
    for number in range(50):
        assert again.mutation(number) == one.mutation(number)
        assert again.input(number) == one.input(number)
    assert [other.mutation(n) for n in range(9)] != [again.mutation(n) for n in range(9)]


def test_every_mutation_of_an_artifact_changes_the_bundle() -> None:
    """Some find no place any more, and some are their own inverse; most do something."""
    made = trial("honest")
    donors = {made.donor.name: made.donor.bundle}
    digest = made.case.bundle.digest
    changed = [
        mutated(made.case.bundle, made.mutation(number), donors).digest != digest
        for number in range(200)
    ]
    assert sum(changed) > 180


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": Op.FLIP, "at": 1, "data": b"\x01"}, b"accdef"),
        ({"op": Op.DROP, "at": 1, "length": 2}, b"adef"),
        ({"op": Op.DUPLICATE, "at": 1, "length": 2}, b"abcbcdef"),
        ({"op": Op.SWAP, "at": 1, "length": 2, "other": 4}, b"aefdbc"),
        ({"op": Op.SPLICE, "at": 1, "length": 2, "other": 0}, b"aXYdef"),
        ({"op": Op.EXTEND, "at": 6, "data": b"!"}, b"abcdef!"),
    ],
)
def test_operations_on_bytes(operation: dict[str, object], result: bytes) -> None:
    item = replace(DROPPED, level=Level.BYTES, **operation)
    assert edited_bytes(b"abcdef", item, b"XYZ") == result


@pytest.mark.parametrize(
    ("operation", "before", "after"),
    [
        ({"op": Op.DROP}, 1, GONE),
        ({"op": Op.FLIP}, True, False),
        ({"op": Op.FLIP}, 6, 7),
        ({"op": Op.FLIP}, [1, 2], [2, 1]),
        ({"op": Op.FLIP}, "", "1"),
        ({"op": Op.EXTEND}, 1, 257),
        ({"op": Op.EXTEND}, "ab", "\x01ab"),
        ({"op": Op.EXTEND}, {"a": 1}, {"a": 1, "\x01": None}),
        ({"op": Op.SWAP, "other": 1}, {"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"op": Op.SWAP, "other": 1}, [1, 2], [2, 1]),
        ({"op": Op.SWAP, "other": 1}, [], IndexError),
        ({"op": Op.DUPLICATE}, [1, 2], [1, 1, 2]),
        ({"op": Op.DUPLICATE}, {"a": 1}, {"a_": 1, "a": 1}),
        ({"op": Op.SPLICE}, "ours", "theirs"),
    ],
)
def test_operations_on_nodes(operation: dict[str, object], before: object, after: object) -> None:
    item = replace(DROPPED, level=Level.NODE, path=(Json(), "a"), data=b"\x01", **operation)
    if after is IndexError:
        with pytest.raises(IndexError):
            edited_node(before, item)
        return
    assert edited_node(before, item, "theirs") == after


def test_a_check_that_crashes_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashing(*_: object) -> engine.Outcome:
        raise KeyError("absent")

    made = trial("honest")  # kept for the other tests: made by what does not crash
    monkeypatch.setattr(engine, "tried", crashing)
    ending, found = faults(made.case, None, (DROPPED,), fully=False)
    assert ending == "breach"
    assert "KeyError" in found[0]


def test_what_is_better_is_a_breach() -> None:
    made = trial("honest").case
    report = made.report
    (subject,) = report.subjects
    failed = replace(subject.checks[0], status=Status.FAIL)
    worse = replace(report, subjects=(replace(subject, checks=(failed, *subject.checks[1:])),))
    claimed = replace(subject.claims[0], value="another")
    other = replace(report, subjects=(replace(subject, claims=(claimed, *subject.claims[1:])),))
    for donor in (None, made):
        assert not broken(made, donor, report, (DROPPED,))
        assert broken(made, donor, other, (DROPPED,))
    forged = dataclasses.replace(made, report=worse)
    assert broken(forged, None, report, (DROPPED,))


def test_what_takes_too_long_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial("honest")
    monkeypatch.setattr(block, "SECONDS", 0.0)
    monkeypatch.setattr(block, "GROWTH", -1)
    found = faults(made.case, None, (DROPPED,), fully=False)[1]
    assert [text[:7] for text in found] == ["it took", "it took"]
    assert tried(made.case, made.input(0), made.donor)[1]


@needs_recorded
def test_a_verifier_that_takes_every_signature_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = trial("recorded-no-app").case
    verified = Case(read_subject(made.bundle, ""), made.question, Exchanges(made.bundle)).verified
    flip = replace(DROPPED, op=Op.FLIP, level=Level.BYTES, kind=Kind.QUOTE, at=MRTD, data=b"\x01")
    assert not faults(made, None, (flip,), fully=False)[1]
    monkeypatch.setattr("verifier.checks.case.verify_quote", lambda *_: verified)
    ending, found = faults(made, None, (flip,), fully=False)
    assert ending == "breach"
    assert found[0].startswith("mrtd is ")


def test_a_parser_that_crashes_is_a_breach(monkeypatch: pytest.MonkeyPatch) -> None:
    def crashing(*_: object) -> object:
        raise RecursionError

    made = trial("honest")
    monkeypatch.setattr(block, "parsed", crashing)
    ending, found = tried(made.case, made.input(0), made.donor)
    assert ending == "breach"
    assert "RecursionError" in found[0]


def test_the_parser_of_each_kind_reads_what_is_whole() -> None:
    bundle = trial("honest").case.bundle
    for item in bundle.artifacts:
        if item.sha256 is not None and item.kind is not Kind.JSON_RPC:
            parsers.parsed(item, bundle.blob(item))


def test_a_breach_is_shrunk() -> None:
    """To the one operation that matters, on the one byte."""
    cut = replace(DROPPED, op=Op.DROP, level=Level.BYTES, at=0, length=1024)
    least = shrunk(
        (DROPPED, cut),
        lambda tried: any(item.at <= 700 < item.at + item.length for item in tried),
    )
    assert least == (replace(cut, at=700, length=1),)
