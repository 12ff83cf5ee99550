"""Options that are set by environment variables."""

from collections.abc import Iterable
from typing import Any, Final

from verifier.errors import UsageError

_VARIABLE: Final = "VERIFY_"
_NEVER_SET: Final = frozenset({"--trust-config", "--trusted-root", "--unsafe-root"})
"""Options that have no variable: a trust anchor is named where the command is."""
_NAMES: Final = (
    "alerts allow app-id app-timeout at base-url baseline bind bundle bundles challenge "
    "challenge-url check command compare ct-url deploy disable domain enable endpoint engine exec "
    "expect expect-app-id expect-compose-hash expect-device expect-image expect-kms "
    "expect-os-image-hash explorer-url fetch first format gateway identity identity-token image "
    "instance interval issuer json key keyless kms kms-code kms-url link log log-key log-name "
    "machine manifests min-severity mirror misses name no-cache of-kms offline on once output "
    "pccs-url per-host policy pre-launch-script proofs purpose quiet report reports resume "
    "rpc-url safe-url save second-opinion set side-by-side since timeout title trust-bundle "
    "verbose vouch-for wait webhook webhook-key workers write-baseline write-manifest"
)
"""The options that have a variable, of all commands, which are not imported to be asked."""
_ALIKE: Final = 0.8
STAGE_POLICY: Final = "VERIFY_STAGE_POLICY"
ENDPOINT_POLICY: Final = "VERIFY_ENDPOINT_POLICY"
"""What these commands ask is no matter of what an app is accepted by."""


def variable(option: str) -> str:
    """The variable of an option: `VERIFY_RPC_URL` of `--rpc-url`."""
    return _VARIABLE + option.removeprefix("--").replace("-", "_").upper()


def long_name(parameter: Any) -> str:  # noqa: ANN401 - typer's
    """The long name of an option, "" for an argument."""
    named = (name for name in parameter.opts if name.startswith("--"))
    return next(named, "") if parameter.param_type_name == "option" else ""


def refuse_mistyped_variables(names: Iterable[str], others: Iterable[str]) -> None:
    """Raise UsageError for a variable whose name is nearly that of an option or of another
    variable: a misspelt one would silently have no effect."""
    known = {*map(variable, _NAMES.split()), *others}
    unknown = (name for name in sorted(names) if name.startswith(_VARIABLE) and name not in known)
    for name in unknown:
        import difflib  # noqa: PLC0415 - only for what may be mistyped

        plain = [item.removeprefix(_VARIABLE) for item in known]
        near = difflib.get_close_matches(name.removeprefix(_VARIABLE), plain, 1, _ALIKE)
        if near:
            raise UsageError(
                f"{name} is no option's variable", hint=f"did you mean {_VARIABLE}{near[0]}?"
            )


def read_environment(parameters: Iterable[Any]) -> None:
    """Let each of these options be set by its variable, too: several values with a space between.
    Help says so once, and not at each of them."""
    for item in parameters:
        name = long_name(item)
        if name and name not in _NEVER_SET:
            item.envvar = item.envvar or variable(name)
            item.show_envvar = False
