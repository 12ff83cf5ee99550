"""What was mistyped is answered with what was probably meant; what is asked for is explained."""

from pathlib import Path

import pytest

from tests.cli.command import Run
from verifier.checks.catalogue import CHECKS
from verifier.manifest.diff.change import RULES as DIFF_RULES
from verifier.manifest.rules.catalogue import RULES
from verifier.model.result import Verdict
from verifier.report.audit.families import FAMILIES, Mark
from verifier.report.explanations import explanations
from verifier.report.words import AUDIT_WORDS, GLOSSARY, TIMELINE_WORDS

APP_ID = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("import tex.txt -o out", "did you mean text.txt?"),
        ("import text.txt -o kept", "exists already"),
        ("checks boott.image", "did you mean boot.image?"),
        ("checks svc-001", "`verify explain SVC-001`"),
        ("lnt text.txt", "did you mean `verify lint`?"),
        (f"timelin {APP_ID}", "did you mean `verify timeline`?"),
        (f"stgae {APP_ID}", "did you mean `verify stage`?"),
        ("policy expalin baseline", "`verify policy explain baseline`"),
        (f"{APP_ID} --polcy strict", "did you mean --policy?"),
        (f"{APP_ID} --json", "did you mean --format json?"),
        ("lint --sarif text.txt", "did you mean --format sarif?"),
        ("version", "did you mean `verify --version`?"),
        (f"audit {APP_ID}", "there is no command 'audit'"),
        (f"verify {APP_ID} -q", "there is no command 'verify'"),
        (f"timeline {APP_ID} --bundel x", "did you mean --bundle?"),
        (f"{APP_ID} --format pdf", "'markdown'"),
        (f"{APP_ID} --format markdwon", "did you mean markdown?"),
        (APP_ID[1:], "it has 39 hex digits, and an app id has 40"),
        (f"{APP_ID} --bundle ketp", "did you mean kept?"),
        (f"{APP_ID} --policy strct", "did you mean strict?"),
        (f"stage {APP_ID} --policy basline", "did you mean baseline?"),
        (f"{APP_ID} -q -v", "-q and -v"),
        (f"{APP_ID} --report pdf=x", "terminal, markdown"),
        ("explain boot.imgae", "did you mean boot.image?"),
        ("explain SVC-0001", "did you mean SVC-001?"),
        ("explain mainfest", "did you mean manifest?"),
        ("explain zzzzzz", "lists every check, rule and word"),
        (f"{APP_ID} --at", "`verify app --help`"),
    ],
)
def test_mistyped(call: Run, tmp_path: Path, arguments: str, says: str) -> None:
    (tmp_path / "text.txt").write_text("just some text\n")
    (tmp_path / "kept").mkdir()
    ran = call(*arguments.split())
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert says in ran.err
    assert "Value error" not in ran.err
    assert "env var" not in ran.err
    assert len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("boot.image", "asked by"),
        ("BOOT.IMAGE", "rests on"),
        ("svc-001", "fix "),
        ("DIF-002", "why "),
        ("boot", "boot.registers"),
        ("SVC", "SVC-005"),
        ("strict", "verify policy explain strict"),
        ("compose_hash", "sha256"),
        ("report data", "64 bytes"),
        ("tcb", "UpToDate"),
        ("kms", "KMS-001"),
        ("kms", "key service"),
    ],
)
def test_explained(call: Run, name: str, says: str) -> None:
    ran = call("explain", *name.split())
    assert (ran.code, ran.err) == (0, "")
    assert says in ran.out
    assert all(len(line) <= 80 for line in ran.out.splitlines())


def test_every_id_and_word_is_explained(call: Run) -> None:
    rules = [rule.id for rule in RULES] + [rule.id for rule in DIFF_RULES]
    ids = [*(spec.id for spec in CHECKS), *rules]
    words = [*AUDIT_WORDS, *TIMELINE_WORDS, *map(str.lower, Mark), *Verdict]
    assert set(words) <= set(GLOSSARY)
    for name in (*ids, *words, *(family.key for family in FAMILIES)):
        found = explanations(name)
        assert found, name
        assert all(item.rows for item in found)
    listed = call("explain").out
    assert all(spec.id in listed for spec in CHECKS)
    assert all(rule.group in listed for rule in RULES)


def test_checks_are_listed_one_a_line(call: Run) -> None:
    ran = call("checks", "--policy", "strict")
    assert [line.split()[0] for line in ran.out.splitlines()] == [spec.id for spec in CHECKS]


def test_help_shows_every_command_and_where_the_options_are(call: Run) -> None:
    for arguments in (["--help"], ["help"]):
        shown = call(*arguments).out
        for command in ("app", "import", "timeline", "explain", "policy", "oci"):
            assert f"\n  {command} " in shown
        assert "verify app --help" in shown
    assert "--rpc-url" in call("help", "timeline").out


def test_a_shell_completes_commands_and_options(call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_VERIFY_COMPLETE", "complete_bash")
    asked = (("verify tim", 1, "timeline"), ("verify diff --fo", 2, "--format"))
    for words, number, completed in asked:
        monkeypatch.setenv("COMP_WORDS", words)
        monkeypatch.setenv("COMP_CWORD", str(number))
        assert completed in call().out
