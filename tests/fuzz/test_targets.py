"""Every reader of evidence is a target; what was found is read or refused, without libFuzzer."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module  # noqa: TID251 - every module of evidence
from types import CodeType, FunctionType

import pytest

import verifier.chain
import verifier.checks.second_opinion
import verifier.evidence
import verifier.image
import verifier.timeline
from tests.fuzz.catalogue import TARGETS
from tests.fuzz.keep import BUDGET
from tests.fuzz.seeds import calls
from tests.fuzz.target import CORPUS, READ, REFUSED, REGRESSIONS, Target, inputs, judge
from verifier.errors import EvidenceError

PACKAGES = {
    verifier.evidence: ("parse_", "decode_"),
    verifier.image: ("parse_", "decode_"),
    verifier.chain: ("parse_", "decode_"),
    verifier.timeline: ("parse_", "decode_"),
    verifier.checks.second_opinion: ("read_", "platform_of"),
}
"""What reads what others wrote, and how its readers are named."""

# cryptography warns about serial numbers that RFC 5280 forbids, and reads them all the same.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


def readers() -> Iterator[FunctionType]:
    """The public functions that read evidence or an image."""
    for package, names in PACKAGES.items():
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for name, value in vars(import_module(module.name)).items():
                own = inspect.isfunction(value) and value.__module__ == module.name
                if own and name.startswith(names):
                    yield value


@pytest.fixture(scope="module")
def called() -> set[CodeType]:
    """What is called while the corpus is read."""
    found: set[CodeType] = set()
    with calls(lambda frame: found.add(frame.f_code)):
        for name, target in TARGETS.items():
            for raw in (*target.given(), *inputs(CORPUS, name)):
                judge(target, raw)
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_is_read_or_refused(name: str) -> None:
    target, kept = TARGETS[name], inputs(CORPUS, name)
    assert kept, "make fuzz keeps inputs of it"
    outcomes = {judge(target, raw) for raw in (*target.given(), *kept)}
    assert READ in outcomes
    assert outcomes <= {READ, REFUSED}


@pytest.mark.parametrize("name", TARGETS)
def test_what_once_failed_is_read_or_refused(name: str) -> None:
    assert {judge(TARGETS[name], raw) for raw in inputs(REGRESSIONS, name)} <= {READ, REFUSED}


@pytest.mark.parametrize(
    "reader", list(readers()), ids=lambda item: f"{item.__module__}.{item.__name__}"
)
def test_every_reader_of_evidence_is_reached(reader: FunctionType, called: set[CodeType]) -> None:
    assert reader.__code__ in called, "give it to a target of tests/fuzz"


def test_no_folder_is_of_no_target() -> None:
    for folder in (CORPUS, REGRESSIONS):
        assert {path.name for path in folder.iterdir()} <= TARGETS.keys()


def test_the_corpus_stays_small() -> None:
    sizes = [sum(map(len, inputs(CORPUS, name))) for name in TARGETS]
    assert max(sizes) <= BUDGET
    assert sum(sizes) <= 1 << 20


def test_a_failure_is_told_by_its_place() -> None:
    def fail(raw: bytes) -> object:
        if raw == b"refused":
            raise EvidenceError("refused")
        return 1 // len(raw)

    target = Target(name="failing", parse=fail)
    assert [judge(target, raw) for raw in (b"x", b"refused")] == [READ, REFUSED]
    assert judge(target, b"").startswith("ZeroDivisionError at test_targets.py:")
