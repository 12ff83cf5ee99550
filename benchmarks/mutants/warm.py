"""Tests that are collected once, and run in children of this process: each child changes a module
in its own memory, so no file is ever written, and nothing that a test leaves behind outlives it.

A tool from outside was not taken: those that are at hand start anew for each change or write it
into the checkout, and change texts as well.
"""

import ast
import gc
import hashlib
import itertools
import os
import pickle
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import cache
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

import pytest
from msgspec import Struct

from benchmarks.mutants.points import ROOMS, ROOT
from fixtures import vectors
from tests.worlds import attacked, audited, test_catalogue
from verifier.checks import engine
from verifier.checks.case import Question
from verifier.collect.workers import Workers
from verifier.collection import Sources, collect_evidence
from verifier.evidence.bundle import Bundle
from verifier.lab.attacks import ATTACKS
from verifier.lab.knobs import Knobs
from verifier.lab.world import World, build

TESTS: Final = tuple(f"tests/{name}" for name in (*ROOMS, "worlds"))
"""The tests that say why something is refused. Those that compare whole reports are left out."""

SECONDS: Final = 20.0
_LEAST: Final = 2.0
_SLOWER: Final = 10
"""A test that takes this many times what it took in the covering run has no end."""

_PATCH: Final = pytest.MonkeyPatch()
_FUNCTIONS: Final[dict[str, list[FunctionType]]] = {}
"""The functions of each file, from before the first child."""

_REMEMBERS: Final = type(cache(lambda: None))
_REMEMBERED: Final[list[Any]] = []
"""Functions that remember what they gave, by code from before a change."""

KEPT: Final = ROOT / ".mutants"
"""Where the run keeps what it need not do again."""

_ROOMS: Final = tuple(str(ROOT / "verifier" / room) + os.sep for room in ROOMS)


class Covering(Struct, frozen=True):
    """What one test runs.

    seconds  how long it took, of the processor's time
    lines    the lines of each module that it ran, from the root of the project
    """

    seconds: float
    lines: dict[str, list[int]]


class Verdict(Struct, frozen=True):
    """How a change fared.

    killed  what noticed it: a test, or how the process ended; "" for nothing
    ran     how many tests ran
    asked   how many tests run the changed place
    """

    killed: str
    ran: int
    asked: int


class Session:
    """Collected tests; with `worlds`, and those of the catalogue built and collected."""

    def __init__(self, session: pytest.Session, *, worlds: bool) -> None:
        _ask_in_turn()
        if worlds:
            _remember_worlds()
        _keep_to_judgements()
        self._items = {item.nodeid: item for item in session.items}
        self.names = tuple(self._items)
        session.config.pluginmanager.register(self)
        self._bad = False
        self._part = ""
        gc.collect()
        for each in gc.get_objects():
            if type(each) is FunctionType:
                _FUNCTIONS.setdefault(each.__code__.co_filename, []).append(each)
            elif type(each) is _REMEMBERS and each.__module__.startswith("verifier."):
                _REMEMBERED.append(each)
        gc.freeze()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest for each part of each test."""
        self._bad = self._bad or report.failed or report.skipped

    def pytest_fixture_setup(self) -> None:
        """Called by pytest before each fixture is made: others may use it too."""
        self._part = "setup"

    def pytest_runtest_call(self) -> None:
        """Called by pytest before each test's own part."""
        self._part = "call"

    def coverings(self, names: list[str]) -> dict[str, Covering]:
        """What the tests of one file run; those that do not pass are left out."""
        found: dict[str, Covering] | None = _in_child(lambda: self._covered(names), 3600)[0]
        return found or {}

    def judged(
        self, mutant: tuple[str, ast.Module], tests: list[str], usual: list[float]
    ) -> Verdict:
        """How a changed module fares with these tests, in their order."""
        answer, ended = _in_child(lambda: self._judge(mutant, tests, usual), SECONDS)
        return answer or Verdict(f"the process ended: {ended}", 0, len(tests))

    def _covered(self, names: list[str]) -> dict[str, Covering]:
        lines: dict[str, dict[str, set[int]]] = {"setup": {}, "call": {}}

        def inside(frame: FrameType, event: str, _: object) -> object:
            if event == "line":
                lines[self._part].setdefault(frame.f_code.co_filename, set()).add(frame.f_lineno)
            return inside

        def entered(frame: FrameType, _: str, __: object) -> object:
            return inside if frame.f_code.co_filename.startswith(_ROOMS) else None

        found: dict[str, Covering] = {}
        for name, following in itertools.zip_longest(names, names[1:]):
            self._bad, self._part, lines["call"] = False, "setup", {}
            begun = time.process_time()
            sys.settrace(entered)  # type: ignore[arg-type]
            self._run(name, following)
            sys.settrace(None)
            if not self._bad:
                both = {
                    os.path.relpath(file, ROOT): sorted(
                        lines["setup"].get(file, set()) | lines["call"].get(file, set())
                    )
                    for file in {**lines["setup"], **lines["call"]}
                }
                found[name] = Covering(time.process_time() - begun, both)
        return found

    def _judge(
        self, mutant: tuple[str, ast.Module], tests: list[str], usual: list[float]
    ) -> Verdict:
        apply(*mutant)
        begun = time.process_time()
        for place, name in enumerate(tests):
            now = time.process_time()
            if now - begun > SECONDS:
                return Verdict("", place, len(tests))
            most = int(now + max(_LEAST, usual[place] * _SLOWER)) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (most, -1))
            self._bad = False
            self._run(name, tests[place + 1] if place + 1 < len(tests) else None)
            if self._bad:
                return Verdict(name, place + 1, len(tests))
        return Verdict("", len(tests), len(tests))

    def _run(self, name: str, following: str | None) -> None:
        item = self._items[name]
        after = self._items[following] if following else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)


def apply(file: str, tree: ast.Module) -> None:
    """Give the functions of a loaded module the code of its changed text, and everyone who holds
    one of its constants the changed one."""
    path = str(ROOT / file)
    module = sys.modules[file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")]
    for name in ("passed", "warned", "failed"):
        vars(module).setdefault(name, getattr(engine, name))
    new = dict(_codes(compile(tree, path, "exec")))
    for remembered in _REMEMBERED:
        remembered.cache_clear()
    for function in _FUNCTIONS.get(path, ()):
        if function.__code__.co_qualname in new:
            function.__code__ = new[function.__code__.co_qualname]
    before = {_targets(each): ast.dump(each) for each in ast.parse(_source(path)).body}
    for statement in tree.body:
        targets = _targets(statement)
        if targets and before.get(targets) != ast.dump(statement):
            _rebind(targets, vars(module), statement, path)


def _rebind(
    targets: tuple[str, ...], names: dict[str, Any], statement: ast.stmt, path: str
) -> None:
    space, was = dict(names), dict(names)
    exec(compile(ast.Module([statement], []), path, "exec"), space)  # noqa: S102 - the change
    for name, module in itertools.product(targets, list(sys.modules.values())):
        held, old = vars(module).get(name), was[name]
        if held is old or (type(held) is type(old) and held == old):
            vars(module)[name] = space[name]


def _targets(statement: ast.stmt) -> tuple[str, ...]:
    """The constants that a statement gives their values."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return (name,)
        case ast.Assign(targets=[ast.Tuple(elts=several)]):
            return tuple(each.id for each in several if isinstance(each, ast.Name))
    return ()


def _source(path: str) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - the name that code objects hold
        return file.read()


def _codes(code: CodeType) -> Iterator[tuple[str, CodeType]]:
    """Functions and methods by their names; what stands inside a function is part of it."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant.co_qualname, constant
            if constant.co_flags & 0x2 == 0:  # a class, whose names live in no fast locals
                yield from _codes(constant)


def _in_child(make: Callable[[], Any], seconds: float) -> tuple[Any, str]:
    """What a child of this process makes, or None and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 1
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 20, -1))
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(make(), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        raw = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return None, signal.Signals(os.WTERMSIG(status)).name
    return (pickle.loads(raw) if raw else None), f"exit {os.WEXITSTATUS(status)}"  # noqa: S301 - own


def _ask_in_turn() -> None:
    """Requests of a world in memory wait for nobody, and threads that start do."""

    def submit(_: Workers, function: Callable[..., object], *arguments: object) -> Future[object]:
        future: Future[object] = Future()
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - for whoever waits for the result
            future.set_exception(error)
        return future

    _PATCH.setattr(Workers, "submit", submit)


def _remember_worlds() -> None:
    """Build and collect each world of the catalogue once, and keep what was collected. What a
    change would have collected otherwise is not seen: it may survive where it would be noticed."""
    worlds: dict[str, World] = {}
    bundles: dict[str, list[tuple[object, Bundle]]] = {}
    kept = KEPT / f"worlds-{digest('verifier', 'tests/worlds/audited.py')}"
    kept.mkdir(parents=True, exist_ok=True)
    place = itertools.count()
    warming = True

    def built(knobs: Knobs) -> World:
        # The world holds its knobs, and by them each function whose address its name here has.
        return worlds.setdefault(repr(knobs), build(knobs))

    def collected(question: Question, sources: Sources, clock: Callable[[], int]) -> Bundle:
        world = sources.responder.__self__  # type: ignore[union-attr]
        asked = (question, sources.guests, sources.instances, sources.challenge_url)
        known = bundles.setdefault(repr(world.knobs), [])
        for each, bundle in known:
            if each == asked:
                # Without what an audit has already read in it, by code from before the change.
                return Bundle(bundle.artifacts, bundle.blobs)
        if not warming:
            return collect_evidence(question, sources, clock)
        file = kept / str(next(place))
        if not file.is_file():
            partial = file.with_suffix(".partial")
            fresh = collect_evidence(question, sources, clock)
            partial.write_bytes(pickle.dumps((fresh.artifacts, fresh.blobs)))
            partial.replace(file)
        known.append((asked, Bundle(*pickle.loads(file.read_bytes()))))  # noqa: S301 - our own
        return Bundle(known[-1][1].artifacts, known[-1][1].blobs)

    _PATCH.setattr(audited, "build", built)
    _PATCH.setattr(audited, "collect_evidence", collected)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audited, "audit_bundle", lambda *_: None)
        for attack in ATTACKS:
            attacked._asked(attack)  # noqa: SLF001 - without what is handed over afterwards
            audited.audit(
                attack.twin,
                endpoint=attack.twin_endpoint or attack.endpoint,
                instances=attack.instances,
            )
    warming = False
    attacked._shared.cache_clear()  # noqa: SLF001 - audits from before the change


@cache
def digest(*names: str) -> str:
    """What tells one state of these files and folders from another."""
    files = [
        file
        for name in names
        for file in ([ROOT / name] if (ROOT / name).is_file() else sorted((ROOT / name).rglob("*")))
        if file.suffix in (".py", ".json", ".toml")
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _keep_to_judgements() -> None:
    """Damages have a run of their own, and bytes that differ from the corpus say no reason."""
    _PATCH.setattr(test_catalogue, "DAMAGES", 0)
    for name in ("of_forged", "of_honest"):
        _PATCH.setattr(vectors, name, lambda *_: {})


class _Plugin:
    def __init__(self, run: Callable[[Session], None], *, worlds: bool) -> None:
        self._run, self._worlds = run, worlds

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Called by pytest once all tests are collected, in place of running them."""
        self._run(Session(session, worlds=self._worlds))
        return True


def with_tests(run: Callable[[Session], None], tests: Iterable[str], *, worlds: bool) -> int:
    """Collect the tests and do something with them."""
    options = ["--quiet", "--capture=no", "-p", "no:xdist", "-p", "no:cacheprovider"]
    plugin = _Plugin(run, worlds=worlds)
    return int(pytest.main([*options, "-W", "ignore", *tests], plugins=[plugin]))
