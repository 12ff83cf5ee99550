"""`verify policy`: the policy as a document and in words."""

import pytest
import typer
from syrupy.assertion import SnapshotAssertion
from typer.testing import CliRunner

from tests.policy.policies import Load
from tests.policy.test_policy_document import EVERYTHING
from verifier.cli.commands.policy import show_policy
from verifier.errors import UsageError
from verifier.model.identifiers import parse_time
from verifier.policy.explain import explain_policy
from verifier.policy.policy import load_policy

AT = parse_time("2026-12-29T12:00:00Z") or 0
TITLES = {"hardware.tcb": "The TCB", "manifest.rules": "The manifest", "boot.image": "The OS"}
APP = typer.Typer()
APP.command()(show_policy)


def test_every_demand_in_words(written: Load, snapshot: SnapshotAssertion) -> None:
    assert explain_policy(written(EVERYTHING), TITLES, AT) == snapshot


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-12-29T23:59:59Z", "2 days left"),
        ("2026-12-30T00:00:00Z", "1 day left"),
        ("2026-12-30T23:59:59Z", "1 day left"),
        ("2026-12-31T00:00:00Z", "EXPIRED"),
    ],
)
def test_the_remaining_days_of_a_waiver(written: Load, at: str, words: str) -> None:
    text = explain_policy(written(EVERYTHING), TITLES, parse_time(at) or 0)
    assert f"until 2026-12-31 ({words}" in text


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("2026-12-30T23:59:59Z", "until 2026-12-31"),
        ("2026-12-31T00:00:00Z", "EXPIRED on 2026-12-31"),
    ],
)
def test_a_review_holds_until_its_day_begins(written: Load, at: str, words: str) -> None:
    text = explain_policy(written(EVERYTHING), TITLES, parse_time(at) or 0)
    assert f"manifest {'44' * 32}, {words}\n" in text


def test_demands_without_a_check_are_named(written: Load) -> None:
    text = explain_policy(written(EVERYTHING), TITLES, AT)
    for check in ("provenance.images", "authorization.governance"):
        assert f"{check}: no check decides this yet" in text


def test_stage_1_says_what_remains_for_people() -> None:
    text = explain_policy(load_policy("stage1"), TITLES, AT)
    assert "for a person to judge" in text


def test_the_command() -> None:
    shown = CliRunner().invoke(APP, ["strict"])
    assert shown.exit_code == 0
    assert 'name = "strict"' in shown.stdout
    explained = CliRunner().invoke(APP, ["explain", "--at", "2026-12-29"])
    assert explained.stdout.startswith("Policy baseline")
    assert "decided by hardware.tcb" in explained.stdout


@pytest.mark.parametrize("words", [["explain", "a", "b"], ["absent.toml"], ["explain", "nothing"]])
def test_the_command_names_one_policy(words: list[str]) -> None:
    assert isinstance(CliRunner().invoke(APP, words).exception, UsageError)
