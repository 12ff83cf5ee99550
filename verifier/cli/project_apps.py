"""What a project file sets for each of its apps, where a command is about all of them."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.gather import asked_of_any
from verifier.cli.options import Reach
from verifier.cli.variables import long_name
from verifier.errors import UsageError, VerifierError

if TYPE_CHECKING:
    from verifier.cli.project import App, Project
    from verifier.watch.fleet.job import Asked

_ABOVE: Final = ("COMMANDLINE", "ENVIRONMENT")
"""Where an option may come from that counts before a project file."""
_EXPECT: Final = "--expect-"
_KINDS: Final[dict[str, type]] = {"timeout": float, "manifests": Path}
"""What the values of options are that are no texts."""


class Own(Struct, frozen=True):
    """What is asked of one app, and where."""

    asked: "Asked"
    reach: Reach


def asked_of_each(
    context: Any,  # noqa: ANN401 - typer's
    project: "Project",
    asked: "Asked",
    reach: Reach,
) -> dict[str, Own]:
    """What is asked of each app (hex) of a project, as its settings say before those of all apps.

    What the command line or the environment names counts before both. Raises VerifierError for a
    setting that an option would refuse.
    """
    return {app.app_id: _own(context, project, app, Own(asked, reach)) for app in _apps(project)}


def _apps(project: "Project") -> "Iterator[App]":
    yield from project.named(project.apps)


def _own(context: Any, project: "Project", app: "App", common: Own) -> Own:  # noqa: ANN401
    from verifier.api import known  # noqa: PLC0415 - help needs none of it
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    settings = project.settings_for((app.app_id,))
    values = dict(_values(context, settings))
    expected = {
        flag.removeprefix(_EXPECT).replace("-", "_"): found
        for flag, found in settings.items()
        if flag.startswith(_EXPECT)
    }
    flags = {f"--{name.replace('_', '-')}" for name in values}
    used = [(flag, found) for flag, found in settings.items() if flag in flags or _EXPECT in flag]
    if not used:
        return common
    policy = values.pop("policy", None)
    judged = common.asked.policy if policy is None else known(load_policy(policy))
    reach = replace(common.reach, project=project.used(used), **values)
    try:
        asked = replace(
            common.asked, question=asked_of_any(reach), policy=judged.expecting(expected)
        )
    except VerifierError as error:
        error.message = f"{project.path}: {app.app_id}: {error.message}"
        raise
    return Own(asked, reach)


def _values(
    context: Any,  # noqa: ANN401 - typer's
    settings: Mapping[str, tuple[str, ...]],
) -> Iterator[tuple[str, Any]]:
    """Parameter → the value that a project sets, as the command line would give it."""
    for item in context.command.params:
        found = settings.get(long_name(item), ())
        source = context.get_parameter_source(item.name)
        if found and getattr(source, "name", "") not in _ABOVE:
            one = _KINDS.get(item.name, str)
            try:
                yield item.name, [*map(one, found)] if item.multiple else one(found[0])
            except ValueError as error:
                raise UsageError(f"{found[0]!a} is no {item.name}") from error
