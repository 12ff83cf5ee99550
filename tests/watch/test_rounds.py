"""The watch as a whole: what is in the log is told at least once, wherever the program ends."""

import json
import os
import shutil
import signal
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.watch.logs import KEY
from tests.watch.observed import HONEST, later, out, with_facts
from verifier.errors import EvidenceError
from verifier.watch.alerts import Alert, NotDelivered
from verifier.watch.log.check import check_log
from verifier.watch.observation import Observation
from verifier.watch.rounds import watching


class Taker:
    """Takes alerts, or refuses them."""

    def __init__(self, name: str = "taker", *, refuses: bool = False) -> None:
        self.name = name
        self.refuses = refuses
        self.asked = 0
        self.took: list[str] = []

    def deliver(self, alert: Alert) -> None:
        """Take an alert, or refuse it."""
        self.asked += 1
        if self.refuses:
            raise NotDelivered("not now")
        self.took.append(f"{alert.id} {alert.change.kind.value}")


def rounds(
    folder: Path, takers: Sequence[Taker], *steps: Sequence[Observation]
) -> dict[str, NotDelivered]:
    """A run of the program, one round after another."""
    with watching(folder, KEY, takers, 3) as watch:
        for step in steps:
            watch.begin_round()
            watch.take(step)
        return dict(watch.refused)


def test_a_change_is_told_whether_the_program_ran_on_or_began_anew(tmp_path: Path) -> None:
    steps = [[HONEST], [out(1)], [out(2)], [out(3)], [with_facts(4, manifest="22" * 32)]]
    at_once, each = Taker(), Taker()
    rounds(tmp_path / "one", [at_once], *steps)
    for step in steps:
        rounds(tmp_path / "two", [each], step)
    assert at_once.took == each.took
    assert at_once.took == [
        "0.0 first-seen",
        "3.0 outage",
        "4.0 manifest",
        "4.1 recovery",
    ]
    assert not check_log(tmp_path / "two", KEY.verifier).faults


def test_the_log_alone_gives_the_same_memory(tmp_path: Path) -> None:
    rounds(tmp_path, [], [HONEST], [out(1)], [out(2)])
    (tmp_path / "private/state.json").unlink()
    taker = Taker()
    rounds(tmp_path, [taker], [out(3)])
    assert taker.took == ["0.0 first-seen", "3.0 outage"]


def test_who_refuses_is_asked_once_a_round_and_gets_all_of_it_later(tmp_path: Path) -> None:
    willing, refusing = Taker("willing"), Taker("refusing", refuses=True)
    apps = [replace(HONEST, app=f"{number:040x}") for number in range(5)]
    refused = rounds(tmp_path, [willing, refusing], apps[:3])
    assert list(refused) == ["refusing"]
    assert (len(willing.took), refusing.asked) == (3, 1)
    rounds(tmp_path, [willing, refusing], apps[3:])
    assert (len(willing.took), refusing.asked) == (5, 2)
    refusing.refuses = False
    rounds(tmp_path, [willing, refusing], [])
    assert len(willing.took) == 5
    assert refusing.took == [f"{number}.0 first-seen" for number in range(5)]


def test_who_is_not_named_in_a_round_still_gets_what_waits(tmp_path: Path) -> None:
    taker = Taker("webhook", refuses=True)
    rounds(tmp_path, [taker], [HONEST])
    rounds(tmp_path, [], [later(1)])
    taker.refuses = False
    rounds(tmp_path, [taker], [later(2)])
    assert taker.took == ["0.0 first-seen"]


def test_a_log_that_was_put_back_is_refused(tmp_path: Path) -> None:
    log, copy = tmp_path / "log", tmp_path / "copy"
    rounds(log, [], [HONEST])
    shutil.copytree(log, copy)
    rounds(log, [], [later(1)])
    state = (log / "private/state.json").read_bytes()
    (copy / "private/state.json").write_bytes(state)
    with pytest.raises(EvidenceError, match="rolled back"):
        rounds(copy, [], [later(1)])
    (copy / "private/state.json").unlink()
    rounds(copy, [], [with_facts(1, manifest="22" * 32)])
    (copy / "private/state.json").write_bytes(state)
    with pytest.raises(EvidenceError, match="forked"):
        rounds(copy, [], [later(2)])


def test_a_state_that_cannot_be_read_is_one_error(tmp_path: Path) -> None:
    rounds(tmp_path, [], [HONEST])
    place = tmp_path / "private/state.json"
    state = json.loads(place.read_bytes())
    damaged = [{"root": "zz"}, {"root": "é" * 64}, {"root": ""}, {"size": -5}]
    for raw in (
        b"{",
        b'{"schema":"dstack-audit/watch-state/v9"}',
        b"\xff",
        *(json.dumps(state | change).encode() for change in damaged),
    ):
        place.write_bytes(raw)
        with pytest.raises(EvidenceError, match="no state of a watch") as caught:
            rounds(tmp_path, [], [later(1)])
        assert "made again from the log" in caught.value.hint
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(EvidenceError, match=r"no state of a watch.*no regular file"):
        rounds(tmp_path, [], [later(1)])


def test_nothing_observed_goes_untold_wherever_the_program_is_killed(tmp_path: Path) -> None:
    class Written(Taker):
        """Keeps what it took, whatever becomes of the program."""

        def deliver(self, alert: Alert) -> None:
            with (self.place / "took").open("a", encoding="utf-8") as file:
                file.write(f"{alert.id}\n")

        place = tmp_path

    taker = Written()
    place = 0
    while True:
        place += 1
        folder = tmp_path / str(place)
        taker.place = folder
        rounds(folder, [], [HONEST])
        (folder / "took").touch()
        killed = _killed_in_a_round(folder, taker, place)
        rounds(folder, [taker], [with_facts(2, manifest="22" * 32)])
        took = (folder / "took").read_text(encoding="utf-8").split()
        entries = check_log(folder, KEY.verifier).entries
        assert set(took) == ({"1.0"} if entries > 1 else set())
        shutil.rmtree(folder)
        if not killed:
            break
    assert place > 20


def _killed_in_a_round(folder: Path, taker: Taker, place: int) -> bool:
    """One round that sees a change, in a process that is killed before its call `place`."""
    child = os.fork()
    if child == 0:
        count = 0

        def stepped(original: Callable[..., Any]) -> Callable[..., Any]:
            def step(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == place:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)

            return step

        try:
            for name in ("open", "write", "fsync", "replace", "mkdir", "unlink", "rmdir"):
                setattr(os, name, stepped(getattr(os, name)))
            taker.deliver = stepped(taker.deliver)  # type: ignore[method-assign]
            rounds(folder, [taker], [with_facts(1, manifest="22" * 32)])
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_what_is_remembered_of_an_app_is_small(tmp_path: Path) -> None:
    apps = [replace(HONEST, app=f"{number:040x}") for number in range(300)]
    tracemalloc.start()
    with watching(tmp_path, KEY, [], 3) as watch:
        for start in range(0, len(apps), 32):
            watch.take(apps[start : start + 32])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(apps) * 40_000
