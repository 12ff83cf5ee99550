"""`verify conformance`: honest verifiers, and those that hang, lie, crash or eat memory."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from fixtures import vectors
from verifier.cli import programs
from verifier.cli.commands import conformance
from verifier.cli.main import app, register
from verifier.conformance.answers import document, earlier
from verifier.conformance.corpus import read_corpus
from verifier.conformance.judge import Answered, Said
from verifier.errors import UsageError


@pytest.fixture(autouse=True)
def _commands() -> None:
    register(["conformance"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of one honest and one forged vector."""
    root = tmp_path_factory.mktemp("corpus")
    held = read_corpus(vectors.ROOT, ("manifest",))
    for expected in ("accept", "reject"):
        folder = next(item.folder for item in held if item.expected == expected)
        shutil.copytree(folder, root / "manifest" / folder.name)
    shutil.copytree(vectors.ROOT / "reference", root / "reference")
    return root


def ask(corpus: Path, code: str, *more: str) -> tuple[int, dict[str, str]]:
    """Exit code and what was said of each vector by a verifier of this Python code."""
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    words = ["conformance", str(corpus), "--json", "--command", command, *more]
    result = CliRunner().invoke(app, words)
    rows = json.loads(result.stdout)["answers"]
    return result.exit_code, {row["expected"]: row["said"] for row in rows}


RIGHT = """
import json, pathlib, sys
about = json.loads((pathlib.Path(sys.argv[-1]) / "vector.json").read_bytes())
print(about["expected"])
"""


@pytest.mark.parametrize(
    ("code", "exit_code", "accept", "reject"),
    [
        (RIGHT, 0, "accept", "reject"),
        ("print('accept')", 4, "accept", "accept"),
        ("print('reject')", 3, "reject", "reject"),
        ("print('unsupported')", 3, "unsupported", "unsupported"),
        ("print('broken')", 3, "broken", "broken"),
        ("print('ACCEPT')", 3, "broken", "broken"),
        ("", 3, "broken", "broken"),
        ("print('accept'); raise SystemExit(1)", 3, "broken", "broken"),
        ("import os; print('accept', flush=True); os.kill(os.getpid(), 9)", 3, "broken", "broken"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)) * 4096)", 3, "broken", "broken"),
        ("x = bytearray(64 << 30); print('accept')", 3, "broken", "broken"),
        ("import os; print('accept', flush=True); os.kill(os.getpid(), 40)", 3, "broken", "broken"),
    ],
)
def test_answers(small: Path, code: str, exit_code: int, accept: str, reject: str) -> None:
    assert ask(small, code) == (exit_code, {"accept": accept, "reject": reject})


def test_one_that_hangs_is_ended_with_what_it_started(
    small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(conformance, "SECONDS", 0.3)
    mark = tmp_path / "late"
    code = (
        "import subprocess, sys, time; "
        f"subprocess.Popen(['sh', '-c', 'sleep 1; echo x > {mark}']); time.sleep(60)"
    )
    assert ask(small, code) == (3, {"accept": "broken", "reject": "broken"})
    time.sleep(1.2)
    assert not mark.exists()


def test_what_leaves_its_session_is_ended_too(small: Path, tmp_path: Path) -> None:
    """As a daemon does, which then holds nothing of what it was given but its environment."""
    place = tmp_path / "daemon"
    code = (
        "import subprocess, sys; quiet = subprocess.DEVNULL; "
        f"made = subprocess.Popen(['sleep', '60'], start_new_session=True, stdout=quiet); "
        f"open({str(place)!r}, 'w').write(str(made.pid)); print('accept')"
    )
    assert ask(small, code) == (4, {"accept": "accept", "reject": "accept"})
    assert not running(int(place.read_text()))


def running(process: int) -> bool:
    """Whether a process is there and has not ended: what nobody waits for is still listed."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize(("limit", "most"), [("RLIMIT_AS", 3 << 30), ("RLIMIT_FSIZE", 9000)])
def test_whoever_has_less_is_given_less(small: Path, limit: str, most: int) -> None:
    """A limit that nobody may raise, as of a container or of a shell."""
    code = (
        "import resource, sys; from verifier.cli.main import main; "
        f"resource.setrlimit(resource.{limit}, ({most}, {most})); "
        f"sys.argv = ['verify', 'conformance', {str(small)!r}, '--command', 'echo accept']; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert "its first line is 'accept /" in done.stdout


HALF = (
    RIGHT
    + """
import os, signal, time
if about["expected"] == "accept" and not pathlib.Path(MARK).exists():
    pathlib.Path(MARK).touch()
    os.kill(os.getppid(), NUMBER)
    time.sleep(60)
"""
)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whoever starts tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("number", ["signal.SIGINT", "signal.SIGTERM"])
def test_an_interrupted_run_goes_on(small: Path, tmp_path: Path, number: str) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    code = HALF.replace("MARK", repr(str(tmp_path / "interrupted"))).replace("NUMBER", number)
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    so_far, rest = tmp_path / "so-far.json", tmp_path / "rest.json"
    words = ["conformance", str(small), "--json", "--command", command]
    stopped = CliRunner().invoke(app, [*words, "-o", str(so_far)])
    assert stopped.exit_code == conformance.INTERRUPTED
    assert "interrupted: 1 of 2 vectors were asked" in stopped.stderr
    kept = json.loads(so_far.read_bytes())["answers"]
    assert [row["expected"] for row in kept] == ["reject"]
    assert signal.getsignal(signal.SIGTERM) == handler
    kept[0]["problem"] = "of the earlier run"
    so_far.write_text(json.dumps({**json.loads(so_far.read_bytes()), "answers": kept}))
    went_on = CliRunner().invoke(app, [*words, "--resume", str(so_far), "-o", str(rest)])
    assert went_on.exit_code == 0
    rows = json.loads(rest.read_bytes())["answers"]
    assert [(row["said"], row["problem"]) for row in rows] == [
        ("reject", "of the earlier run"),
        ("accept", ""),
    ]


@pytest.mark.usefixtures("interruptible")
def test_what_is_interrupted_while_it_starts_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self.pid)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        programs.run(["sleep", "60"], seconds=60, memory_bytes=1 << 30)
    with pytest.raises(ProcessLookupError):
        os.kill(made[0], 0)


@pytest.mark.usefixtures("interruptible")
def test_what_was_known_stays_known_where_it_is_interrupted_again(
    small: Path, tmp_path: Path
) -> None:
    """Also what comes after the vector at which it was interrupted."""
    held = read_corpus(small)
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(60)"
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    known, rest = tmp_path / "known.json", tmp_path / "rest.json"
    known.write_text(document(command, [Answered(held[-1], Said.ACCEPT)]))
    words = ["conformance", str(small), "--json", "--command", command, "--resume", str(known)]
    stopped = CliRunner().invoke(app, [*words, "-o", str(rest)])
    assert stopped.exit_code == conformance.INTERRUPTED
    assert json.loads(rest.read_bytes()) == json.loads(known.read_bytes())


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "earlier answers"),
        ('{"schema": "verify/conformance-v2", "command": "", "answers": []}', "conformance-v2"),
        ('{"schema": "verify/conformance-v1", "command": "x", "answers": []}', "those of 'x'"),
        ('{"schema": "verify/conformance-v1", "command": "", "answers": [{}]}', "is no answer"),
        ('{"schema": "verify/conformance-v1", "command": "", "answers": []}', "those of ''"),
    ],
)
def test_earlier_answers_are_those_of_this_command(
    small: Path, tmp_path: Path, document: str, said: str
) -> None:
    (tmp_path / "earlier.json").write_text(document)
    words = ["conformance", str(small), "--resume", str(tmp_path / "earlier.json")]
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, UsageError)
    assert said in result.exception.message


def test_a_vector_that_changed_is_asked_again(small: Path) -> None:
    vectors_of_it = read_corpus(small)
    text = document("", [Answered(item, Said.BROKEN) for item in vectors_of_it])
    changed = replace(vectors_of_it[0], name="another")
    assert [*earlier(text.encode(), "", vectors_of_it)] == [*vectors_of_it]
    assert not earlier(text.encode(), "", [changed])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--command", "'"], "No closing quotation"),
        (["--command", " "], "--command is empty"),
        (["--link", "quotes"], "--link 'quotes' is no link of the corpus"),
    ],
)
def test_mistakes_are_named(small: Path, words: list[str], said: str) -> None:
    result = CliRunner().invoke(app, ["conformance", str(small), *words])
    assert isinstance(result.exception, UsageError)
    assert said in result.exception.message


def test_a_program_that_is_not_there_is_broken(small: Path) -> None:
    words = ["conformance", str(small), "--command", "/nowhere/verifier"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == conformance.NOT_RIGHT
    assert "/nowhere/verifier: No such file or directory" in result.output


def test_the_table_names_what_was_accepted(small: Path) -> None:
    always = f"{shlex.quote(sys.executable)} -c \"print('accept')\""
    result = CliRunner().invoke(app, ["conformance", str(small), "--command", always])
    assert "Accepted, and forged:\n  manifest/" in result.output
    assert CliRunner().invoke(app, ["conformance", str(small)]).exit_code == 0


def test_what_a_corpus_says_cannot_act(small: Path, tmp_path: Path) -> None:
    """The names and the words of a corpus are whoever's wrote it."""
    corpus = tmp_path / "corpus"
    shutil.copytree(small, corpus)
    about = next(corpus.glob("manifest/*_fail/vector.json"))
    name = "\x1b]0;x\x07_fail"
    changed = {"name": name, "why": "\x1b[2Jforged"}
    about.write_text(json.dumps({**json.loads(about.read_bytes()), **changed}))
    about.parent.rename(about.parents[1] / name)
    always = f"{shlex.quote(sys.executable)} -c \"print('accept')\""
    result = CliRunner().invoke(app, ["conformance", str(corpus), "--command", always])
    assert "manifest/\\u{1b}]0;x\\u{7}_fail  \\u{1b}[2Jforged" in result.output
    assert "\x1b" not in result.output
