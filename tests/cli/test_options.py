"""Options mean the same in every command, and records of options are spread over a command."""

import inspect
from importlib import import_module  # noqa: TID251 - of the commands below
from typing import Annotated, Any

import pytest
import typer
from msgspec import Struct
from typer.testing import CliRunner

from tests.cli.command import Run
from verifier.cli.main import COMMANDS, app, register
from verifier.cli.options import Expected, Reach, Written, command
from verifier.lab.world import build

APP_ID = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"
ASKING = ("app", "timeline", "stage", "lint", "diff")


@pytest.fixture(scope="module")
def options() -> dict[str, dict[str, Any]]:
    """Every command's options, by their longest name."""
    register([])
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    return {
        name: {max(item.opts, key=len): item for item in given.params}
        for name, given in commands.items()
    }


def names(record: type[object]) -> set[str]:
    """What the options of a record are called."""

    def take(**_: object) -> None:
        """Take the record alone."""

    parameter = inspect.Parameter("taken", inspect.Parameter.KEYWORD_ONLY, annotation=record)
    take.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]
    single = typer.Typer(add_completion=False)
    single.command()(command(take))
    taken = (max(item.opts, key=len) for item in typer.main.get_command(single).params)
    return {name for name in taken if name != "--help"}


def test_every_command_that_asks_takes_the_same_options(options: dict[str, dict[str, Any]]) -> None:
    wanted = names(Reach)
    assert {"--rpc-url", "--at", "--offline", "--challenge"} <= wanted
    for asking in ASKING:
        assert wanted <= options[asking].keys()
    for name in wanted:
        said = {
            (item.help, str(item.envvar), str(item.metavar))
            for given in options.values()
            if (item := given.get(name)) is not None and name != "--at"
        }
        assert len(said) <= 1, name


def test_an_audit_takes_what_is_expected_and_how_it_is_written(
    options: dict[str, dict[str, Any]],
) -> None:
    assert names(Expected) | names(Written) <= options["app"].keys()
    assert names(Written) <= options["demo"].keys()


@pytest.mark.parametrize("asking", ["timeline", "stage", "lint"])
def test_offline_asks_nobody(run: Run, asking: str) -> None:
    ran = run(asking, APP_ID, "--offline")
    assert (ran.code, ran.out) == (2, "")
    assert "--offline needs a bundle" in ran.err


def test_a_bundle_beside_the_target_is_the_bundle_as_the_target(run: Run) -> None:
    world = build()
    kept = run("demo", "--save", "kept", "-q").err.replace("`", " ").split()
    asking = kept[kept.index("--trust-bundle") : kept.index("--unsafe-root") + 2]
    root = [item.rstrip(",") for item in asking]
    beside = run("timeline", world.app_id, "--bundle", "kept/bundle", *root)
    alone = run("timeline", "kept/bundle", *root)
    assert beside.out == alone.out != ""
    assert run("timeline", "kept/bundle", "--bundle", "kept/bundle", *root).code == 2


class Pair(Struct, frozen=True, kw_only=True):
    """Two options."""

    left: Annotated[str, typer.Option("--left")] = "l"
    right: Annotated[int, typer.Option("--right", envvar="RIGHT")]


def test_a_record_is_spread_and_put_together_again() -> None:
    taken: list[object] = []

    @command
    def take(*, name: str, pair: Pair, last: bool = False) -> None:
        taken.append((name, pair, last))

    single = typer.Typer()
    single.command()(take)
    ran = CliRunner().invoke(single, ["a", "--right", "2", "--last"])
    assert ran.exit_code == 0, ran.output
    assert CliRunner().invoke(single, ["a"], env={"RIGHT": "3"}).exit_code == 0
    assert CliRunner().invoke(single, ["a"]).exit_code == 2
    assert taken == [("a", Pair(right=2), True), ("a", Pair(right=3), False)]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_their_help_begins_with(name: str) -> None:
    module, function, summary = COMMANDS[name]
    documented = inspect.getdoc(getattr(import_module(f"verifier.cli.commands.{module}"), function))
    assert documented is not None
    assert " ".join(documented.split("\n\n")[0].split()).startswith(summary)
