"""The `verify` command.

`verify TARGET` is `verify app TARGET`, with options before or after it. Modules that cost time are
imported by the command that needs them: `verify --help` must answer at once.

Exit codes: 0 the policy accepts the verdict · 1 the tool crashed · 2 usage · 3 none ·
4 contraindicated · 5 warning.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module  # noqa: TID251 - of the commands below
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from verifier.cli.given import PlainCommand
from verifier.cli.mistakes import say_usage
from verifier.cli.streams import (
    end_as_a_pipe,
    end_progress,
    flush,
    leave_stdout,
    prepare_process,
    warn,
)
from verifier.cli.variables import (
    ENDPOINT_POLICY,
    STAGE_POLICY,
    long_name,
    read_environment,
    refuse_mistyped_variables,
    variable,
)
from verifier.errors import UsageError, VerifierError, nearest

if TYPE_CHECKING:
    from verifier.cli.project import Project, Settings

EXIT_USAGE: Final = 2
EXIT_NONE: Final = 3
_DEFAULT: Final = "app"
_OWN: Final = frozenset({"--help", "--version", "--install-completion", "--show-completion"})
"""Options of the program itself, not of its default command."""
_HELP: Final = frozenset({"-h", "--help"})
_PROJECT_FILE: Final = "dstack-audit.toml"
_PROJECT: Final = "VERIFY_PROJECT"
"""The variable that names the project file; not an option's."""
_OF_PROJECT: Final = frozenset({"app", "timeline", "stage", "lint", "diff", "checklist", "report"})
"""Commands whose arguments may be apps of the project, by name."""
_WITHOUT_PROJECT: Final = frozenset({"demo"})
"""Commands about nothing that is the project's own."""
COMMANDS: Final = {
    "app": ("app", "audit_app", "Audit an app: collect its evidence, verify it, and report."),
    "import": (
        "import_evidence",
        "import_evidence",
        "Make a bundle of evidence files; each is told apart by its shape, not by its name.",
    ),
    "timeline": (
        "timeline",
        "show_timeline",
        "Show the history of an app's contracts: what was allowed when, and who could change it.",
    ),
    "stage": (
        "stage",
        "assess",
        'Assess the seven requirements of ERC-733 stage 1, "dev-proof", one by one.',
    ),
    "endpoint": (
        "endpoint",
        "ask_endpoint",
        "Ask whether a TLS connection ends in the attested guest of an app.",
    ),
    "demo": (
        "demo",
        "run_demo",
        "Audit a simulated app over HTTP, with no network except loopback.",
    ),
    "conformance": (
        "conformance",
        "try_verifier",
        "Try a verifier on forged and on honest evidence: what it accepts, and what it refuses.",
    ),
    "fleet": (
        "fleet",
        "audit_fleet",
        "Audit many apps: each as `verify APP_ID` does, with a result of its own.",
    ),
    "publish": (
        "publish",
        "publish_site",
        "Publish reports as a static site: all apps, their history, what changed, feeds.",
    ),
    "quote": ("link", "verify_quote", "Verify a TD quote alone: DCAP, TD attributes, TCB."),
    "events": ("link", "verify_events", "Replay an event log against its quote's registers."),
    "signer": (
        "link",
        "verify_signer",
        "Recover who signed a key chain: derived key, app root key, KMS root key.",
    ),
    "image": (
        "image",
        "measure",
        "Measure an OS image of dstack from its files: MRTD, RTMR1 and RTMR2; RTMR0 of a machine.",
    ),
    "lint": (
        "lint",
        "lint_manifest",
        "Say what a manifest lets its operator do, and what a Dockerfile leaves open.",
    ),
    "diff": (
        "diff",
        "compare_manifests",
        "Compare manifests, oldest first: field by field, with what each change lets somebody do.",
    ),
    "compose-hash": (
        "compose_hash",
        "print_compose_hash",
        "Say which compose hash a manifest has, and what each deploy path makes of it.",
    ),
    "oci": (
        "oci",
        "identify_image",
        "Say which digests name the image in an archive, every one of them recomputed.",
    ),
    "checklist": (
        "checklist",
        "check_deployment",
        "Go through the deployment checklist: what is met, what is not, and what is not known.",
    ),
    "doctor": (
        "doctor",
        "examine",
        "Ask every source of evidence one question, all at once, and say which answer from here.",
    ),
    "cache": (
        "cache",
        "tend_cache",
        "Show or remove what is kept of the chain between audits: logs of finalized blocks.",
    ),
    "watch": (
        "watch",
        "watch_apps",
        "Audit apps again and again, log what is observed, and tell what changed.",
    ),
    "log": (
        "log",
        "read_log",
        "Check a witness log against what its key signed, or show what was observed.",
    ),
    "explain": (
        "explain",
        "explain",
        "Explain a check, a rule, a family of them, a policy, or a word of the reports.",
    ),
    "checks": (
        "checks",
        "explain_checks",
        "List the checks, and what a policy asks of each; of one check or family, what it proves.",
    ),
    "policy": (
        "policy",
        "show_policy",
        "Show the effective policy, with all that it extends; or say in words what it demands.",
    ),
    "sign": (
        "signed",
        "sign",
        "Sign the result of an audit: by a key of your own, or for an identity by Sigstore.",
    ),
    "report": (
        "report",
        "render_again",
        "Render an earlier report again, or check a signed result against its evidence.",
    ),
}
"""Every command: the module of `verifier.cli.commands`, the function that it is, and the first
sentence of its help, so that the list of all commands imports none."""
_GROUPS: Final = {
    "Audit an app": ("app", "import", "endpoint", "timeline", "stage", "demo"),
    "One link of the chain": ("quote", "events", "signer", "image"),
    "The manifest and its images": ("lint", "diff", "compose-hash", "oci", "checklist"),
    "Many apps, over time": ("fleet", "watch", "log", "publish"),
    "Signed results": ("sign", "report"),
    "What it all means": ("explain", "checks", "policy", "conformance"),
    "This machine": ("doctor", "cache"),
}
"""Headings of the commands in `verify --help`."""
_NAMES: Final = frozenset(COMMANDS)
_SENTENCE: Final = 200
"""Letters of a command's first sentence that help shows."""


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
        """Put the command first, whichever order the user wrote, and read the settings of the
        environment and of the project."""
        places = [*_positionals(self.commands[_DEFAULT].get_params(ctx), args)]
        place = places[0] if places else None
        named = args[place] if place is not None else ""
        unasked = named in _WITHOUT_PROJECT or (_HELP | _OWN) & set(args)
        project = None if unasked else _project(os.environ.get(_PROJECT, ""))
        if place is not None and args[place] in self.commands:
            args = [args[place], *args[:place], *args[place + 1 :]]
        elif (
            place is not None
            and len(args) > place + 1
            and not (project is not None and args[place] in project.apps)
            and _is_mistyped(args[place], alone=len(places) == 1)
        ):
            from verifier.cli.target import command_hint  # noqa: PLC0415 - see above

            raise UsageError(
                f"there is no command {args[place]!a}", hint=command_hint(args[place], _NAMES)
            )
        elif args and not (place is None and _OWN & set(args)):
            args = [_DEFAULT, *args]
        for command in self.commands.values():
            read_environment(command.params)
        if args and args[0] in self.commands:
            refuse_mistyped_variables(os.environ, (_PROJECT, STAGE_POLICY, ENDPOINT_POLICY))
            if project is not None:
                args = [args[0], *self._of_project(ctx, project, args[0], args[1:])]
        return super().parse_args(ctx, args)

    def _of_project(
        self,
        ctx: Any,  # noqa: ANN401 - typer's
        project: "Project",
        name: str,
        args: list[str],
    ) -> list[str]:
        """The arguments of a command with the project's apps by their ids; its settings become the
        command's defaults, and are named on stderr. Raises UsageError."""
        command = self.commands[name]
        places = tuple(_positionals(command.get_params(ctx), args)) if name in _OF_PROJECT else ()
        for place in places:
            if (app := project.apps.get(args[place])) is not None:
                _refuse_ambiguous(args[place], project)
                args = [*args[:place], app.app_id, *args[place + 1 :]]
        given = {item.partition("=")[0] for item in args} | {
            flag for item in command.params if os.environ.get(variable(flag := long_name(item)))
        }
        settings = project.settings_for(args[place] for place in places)
        taken = dict(_defaults(command.params, settings, given))
        ctx.default_map = {name: {key: value for key, (_, value) in taken.items()}}
        if taken:
            ctx.obj = project.used(
                (flag, tuple(value) if isinstance(value, list) else (value,))
                for flag, value in taken.values()
            )
            warn(f"{project.path} sets {', '.join(flag for flag, _ in taken.values())}")
        return args

    def format_usage(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401 - typer's
        """Both ways to call it: an app is audited without a command."""
        formatter.write_usage(ctx.command_path, "APP_ID [OPTIONS]")
        formatter.write_usage(ctx.command_path, "COMMAND [ARGS]...", prefix="       ")

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


def _positionals(parameters: list[Any], args: list[str]) -> Iterator[int]:
    """The places of the arguments that are neither options nor values of options."""
    takes_value = {
        name
        for parameter in parameters
        if not getattr(parameter, "is_flag", True) and not getattr(parameter, "count", False)
        for name in parameter.opts
    }
    skip = False
    for place, argument in enumerate(args):
        if skip:
            skip = False
        elif argument == "--":
            yield from range(place + 1, len(args))
            return
        elif argument.startswith("-") and argument != "-":
            skip = argument in takes_value
        else:
            yield place


def _project(named: str) -> "Project | None":
    """The project file that counts, None without one. Raises UsageError."""
    if not named and not Path(_PROJECT_FILE).exists():
        return None
    from verifier.cli.project import find_project  # noqa: PLC0415 - few commands have one

    return find_project(named)


def _defaults(
    parameters: list[Any], settings: "Settings", given: set[str]
) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Parameter → the option that a project sets, and its value. Left out are options that were
    given elsewhere, and options whose variable is not named after them. So is one that expects a
    single value: it belongs to the one file that a command is about."""
    for item in parameters:
        flag = long_name(item)
        values = settings.get(flag, ()) if item.envvar == variable(flag) else ()
        fits = item.multiple or not flag.startswith("--expect")
        if values and flag not in given and fits:
            yield item.name, (flag, list(values) if item.multiple else values[0])


def _refuse_ambiguous(name: str, project: "Project") -> None:
    """Raise UsageError for the name of an app that is a file's, too."""
    if name in COMMANDS or Path(name).exists():
        raise UsageError(
            f"{name} is an app of {project.path}, and a file or a command",
            hint=f"write ./{name} for the file, the app id for the app",
        )


def _is_mistyped(text: str, *, alone: bool) -> bool:
    """Whether an argument can only have been meant as a command: it names no app, address or file,
    and is like a command, or stands before what it would be about."""
    from verifier.cli.target import names_something  # noqa: PLC0415 - see above

    return bool(not alone or nearest(text, _NAMES)) and not names_something(text)


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
        from verifier.version import DISTRIBUTION, commit, tool_version  # noqa: PLC0415

        named = f" (commit {commit()})" if commit() else ""
        typer.echo(f"{DISTRIBUTION} {tool_version()}{named}")
        raise typer.Exit


@app.callback()
def group(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version, and the commit.",
            callback=_print_version,
            is_eager=True,
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

    `verify app --help` lists the options of an audit, such as --policy, --save and --bundle. Each
    option can be set by a variable, such as VERIFY_POLICY, and in a project's dstack-audit.toml.

    Exit codes: 0 accepted, 1 crash, 2 usage, 3 none, 4 contraindicated, 5 warning.
    """


def register(arguments: list[str]) -> None:
    """Register the commands that these arguments may mean, or all of them where help is wanted.

    A module is imported only for its own command: an audit should not wait for a linter. What an
    earlier run in this process registered is forgotten.
    """
    app.registered_commands.clear()
    if arguments and _HELP.issuperset(arguments):
        for name, (_, _, summary) in COMMANDS.items():
            app.command(name, help=summary)(_listed)
        return
    named = COMMANDS.keys() & set(arguments)
    for name in COMMANDS if not arguments or _HELP & set(arguments) else {_DEFAULT} | named:
        module, function, _ = COMMANDS[name]
        imported = import_module(f"verifier.cli.commands.{module}")
        app.command(name, cls=PlainCommand)(getattr(imported, function))


def _listed() -> None:
    """A command that is listed, and not run."""


def main() -> None:
    """Run the command line; every error on purpose is one line and a hint on stderr."""
    prepare_process()
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
            end_progress()
            flush()
        sys.exit(code)
    except (ReaderGone, BrokenPipeError):
        end_as_a_pipe()
    except OSError as error:
        leave_stdout()
        warn(f"stdout: cannot write: {error.strerror or error}")
        sys.exit(EXIT_USAGE)
    except TyperException as error:
        command = next((item for item in arguments if item in COMMANDS), _DEFAULT)
        say_usage(error, command, _variable_of(error, arguments))
        sys.exit(EXIT_USAGE)
    except typer.Abort:
        warn("aborted")
        sys.exit(1)
    except UsageError as error:
        warn(error.message, error.hint)
        sys.exit(EXIT_USAGE)
    except VerifierError as error:
        warn(error.message, error.hint)
        sys.exit(EXIT_NONE)


def _variable_of(error: TyperException, arguments: list[str]) -> str:
    """The variable that a wrong value is of, "" for one of the arguments."""
    item = getattr(error, "param", None)
    name, flag = getattr(item, "envvar", None), long_name(item) if item is not None else ""
    given = any(argument.partition("=")[0] == flag for argument in arguments)
    return f"{name}: " if isinstance(name, str) and name in os.environ and not given else ""
