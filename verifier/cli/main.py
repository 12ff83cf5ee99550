"""The `verify` command.

`verify TARGET` is `verify app TARGET`, with options before or after it. Modules that cost time are
imported by the command that needs them: `verify --help` must answer at once.

Exit codes: 0 the policy accepts the verdict · 1 the tool crashed · 2 usage · 3 none ·
4 contraindicated · 5 warning.
"""

import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module  # noqa: TID251 - of the commands below
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from verifier.cli.output import end_as_a_pipe, flush, leave_stdout, warn
from verifier.cli.target import command_hint, names_something
from verifier.errors import PolicyError, VerifierError, nearest

EXIT_USAGE: Final = 2
EXIT_NONE: Final = 3
_DEFAULT: Final = "app"
_OWN: Final = frozenset({"--help", "--version", "--install-completion", "--show-completion"})
"""Options of the program itself, not of its default command."""
_HELP: Final = frozenset({"-h", "--help"})
COMMANDS: Final = {
    "app": ("app", "audit_app"),
    "import": ("import_evidence", "import_evidence"),
    "timeline": ("timeline", "show_timeline"),
    "stage": ("stage", "assess"),
    "endpoint": ("endpoint", "ask_endpoint"),
    "demo": ("demo", "run_demo"),
    "quote": ("link", "verify_quote"),
    "events": ("link", "verify_events"),
    "signer": ("link", "verify_signer"),
    "image": ("image", "measure"),
    "lint": ("lint", "lint_manifest"),
    "diff": ("diff", "compare_manifests"),
    "compose-hash": ("compose_hash", "print_compose_hash"),
    "oci": ("oci", "identify_image"),
    "checklist": ("checklist", "check_deployment"),
    "doctor": ("doctor", "examine"),
    "cache": ("cache", "tend_cache"),
    "explain": ("explain", "explain"),
    "checks": ("checks", "explain_checks"),
    "policy": ("policy", "show_policy"),
    "sign": ("signed", "sign"),
    "report": ("report", "render_again"),
}
"""Every command: the module of `verifier.cli.commands` and the function that it is."""
_GROUPS: Final = {
    "Audit an app": ("app", "import", "endpoint", "timeline", "stage", "demo"),
    "One link of the chain": ("quote", "events", "signer", "image"),
    "The manifest and its images": ("lint", "diff", "compose-hash", "oci", "checklist"),
    "Signed results": ("sign", "report"),
    "What it all means": ("explain", "checks", "policy"),
    "This machine": ("doctor", "cache"),
}
"""Headings of the commands in `verify --help`."""
_NAMES: Final = frozenset(COMMANDS)
_SENTENCE: Final = 200
"""Letters of a command's first sentence that help shows."""
_CHOICE: Final = re.compile(r"'([^']*)' is not one of (.*)")
_QUOTED: Final = re.compile(r"'([^']*)'")
_LEAKED: Final = re.compile(r" \(env var: '\w+'\)|Value error, ")
"""What the option parser says beside a mistake, and nobody has use for."""


class ReaderGone(BaseException):
    """Nobody reads stdout any more."""


@contextmanager
def _reader_watched() -> Iterator[None]:
    """Typer calls it a crash when a reader such as `head` has seen enough."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGone from error


class DefaultCommandGroup(TyperGroup):
    """A group whose default command is `app`: arguments that name no command are its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - typer's context
        """Put the command first, whichever order the user wrote."""
        place = self._first_positional(ctx, args)
        if place is not None and args[place] in self.commands:
            args = [args[place], *args[:place], *args[place + 1 :]]
        elif place is not None and len(args) > place + 1 and _is_mistyped(args[place]):
            raise PolicyError(
                f"there is no command {args[place]!a}", hint=command_hint(args[place], _NAMES)
            )
        elif args and not (place is None and _OWN & set(args)):
            args = [_DEFAULT, *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002 - typer's
        """The commands under their headings, each with its first sentence."""
        grouped = {name for names in _GROUPS.values() for name in names}
        others = tuple(name for name in self.commands if name not in grouped)
        for title, names in (*_GROUPS.items(), ("More", others)):
            found = [(name, self.commands[name]) for name in names if name in self.commands]
            rows = [(name, command.get_short_help_str(_SENTENCE)) for name, command in found]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def make_context(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - typer's
        """Read the arguments; help is printed here."""
        with _reader_watched():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401 - typer's context
        """Run the command."""
        with _reader_watched():
            return super().invoke(ctx)

    def _first_positional(self, ctx: Any, args: list[str]) -> int | None:  # noqa: ANN401
        command = self.commands[_DEFAULT]
        takes_value = {
            name
            for parameter in command.get_params(ctx)
            if not getattr(parameter, "is_flag", True) and not getattr(parameter, "count", False)
            for name in parameter.opts
        }
        skip = False
        for place, argument in enumerate(args):
            if skip:
                skip = False
            elif argument == "--":
                return place + 1 if place + 1 < len(args) else None
            elif argument.startswith("-") and argument != "-":
                skip = argument in takes_value
            else:
                return place
        return None


def _is_mistyped(text: str) -> bool:
    """Whether an argument can only have been meant as a command: it is like one, and names no
    app, address or file."""
    return bool(nearest(text, _NAMES)) and not names_something(text)


app = typer.Typer(
    name="verify",
    cls=DefaultCommandGroup,
    add_completion=True,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from verifier.version import DISTRIBUTION, tool_version  # noqa: PLC0415

        typer.echo(f"{DISTRIBUTION} {tool_version()}")
        raise typer.Exit


@app.callback()
def group(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Audit an app that runs in a dstack confidential VM, without trusting its operator.

    verify APP_ID audits a running app: what its hardware, OS, manifest, keys and contracts prove,
    what is only said, and what is not known.

    Examples:

      verify 2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b

      verify demo

      verify import quote.json tcb_info.json app_compose.json collateral.json -o bundle

    `verify app --help` lists the options of an audit, such as --policy, --save and --bundle.

    Exit codes: 0 accepted, 1 crash, 2 usage, 3 none, 4 contraindicated, 5 warning.
    """


def register(arguments: list[str]) -> None:
    """Register the commands that these arguments may mean, or all of them where help is wanted.

    A module is imported only for its own command: an audit should not wait for a linter.
    """
    named = COMMANDS.keys() & set(arguments)
    for name in COMMANDS if not arguments or _HELP & set(arguments) else {_DEFAULT} | named:
        module, function = COMMANDS[name]
        app.command(name)(getattr(import_module(f"verifier.cli.commands.{module}"), function))


def main() -> None:
    """Run the command line; every error on purpose is one line and a hint on stderr."""
    # Libraries warn about odd certificates; what is odd about evidence is for the checks to say.
    warnings.simplefilter("ignore")
    arguments = sys.argv[1:]
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    program = Path(sys.argv[0]).name
    completes = f"_{program.replace('-', '_').upper()}_COMPLETE" in os.environ  # set by a shell
    register([] if completes else arguments)
    try:
        try:
            code = app(arguments, prog_name=program, standalone_mode=not arguments)
        finally:
            flush()
        sys.exit(code)
    except (ReaderGone, BrokenPipeError):
        end_as_a_pipe()
    except OSError as error:
        leave_stdout()
        warn(f"stdout: cannot write: {error.strerror or error}")
        sys.exit(EXIT_USAGE)
    except TyperException as error:
        _say_usage(error, arguments)
        sys.exit(EXIT_USAGE)
    except typer.Abort:
        warn("aborted")
        sys.exit(1)
    except PolicyError as error:
        warn(error.message, error.hint)
        sys.exit(EXIT_USAGE)
    except VerifierError as error:
        warn(error.message, error.hint)
        sys.exit(EXIT_NONE)


def _say_usage(error: TyperException, arguments: list[str]) -> None:
    """A mistake in the arguments, and where its command's help is."""
    possible = getattr(error, "possibilities", None)
    message = _LEAKED.sub("", error.message if possible else error.format_message())
    command = next((item for item in arguments if item in COMMANDS), _DEFAULT)
    where = f"`verify {command} --help` lists the options"
    given, listed = getattr(error, "option_name", ""), possible or ()
    if choice := _CHOICE.search(message):
        given, listed = choice[1], _QUOTED.findall(choice[2])
    meant = nearest(given, listed)
    warn(message, f"did you mean {meant}? {where}" if meant else where)
