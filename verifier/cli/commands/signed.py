"""`verify sign STATEMENT` and `verify report SIGNED`: results that others can hold to account."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec.structs import replace

from verifier.cli.files import read_file
from verifier.cli.gather import gather
from verifier.cli.options import (
    BundlePath,
    Expected,
    Output,
    PolicyName,
    Reach,
    Target,
    command,
)
from verifier.cli.output import check_places, exit_code, warn, write
from verifier.errors import EvidenceError, PolicyError

if TYPE_CHECKING:
    from verifier.report.audit.statement import Signed

EXIT_NONE: Final = 3
EXIT_CONTRAINDICATED: Final = 4


@command
def sign(
    *,
    statement: Annotated[Path, typer.Argument(metavar="STATEMENT", help="An in-toto statement.")],
    key: Annotated[Path, typer.Option(help="Your private key: PEM, P-256.")],
    output: Output = None,
) -> None:
    """Sign the statement about an audit by a key of your own.

    Example:

      verify APP_ID --report statement=app.intoto.json --save evidence

      verify sign app.intoto.json --key key.pem -o app.sigstore.json
    """
    from verifier.report.audit.signing import sign_statement  # noqa: PLC0415

    check_places(output)
    try:
        raw = sign_statement(read_file(statement), read_file(key))
    except EvidenceError as error:
        raise PolicyError(f"{statement}: {error.message}", hint=error.hint) from error
    write(raw, output, "the signed statement")


@command
def check_signed(
    *,
    signed: Annotated[Path, typer.Argument(metavar="SIGNED", help="What `verify sign` wrote.")],
    target: Target,
    key: Annotated[Path, typer.Option(help="The author's public key: PEM, P-256.")],
    policy: PolicyName = "baseline",
    bundle: BundlePath = None,
    reach: Reach,
    expected: Expected,
) -> None:
    """Check a signed result: the signature, and that this evidence gives this very report.

    TARGET, evidence and options are those of the audit that was signed; its time is in the
    statement, and `--at` says as of when the result is relied on.

    Example:

      verify report app.sigstore.json APP_ID --key key.pub --bundle evidence

    Exit codes: those of the audit where it is the one that was signed; 3 for a result that has
    expired, or is another version's; 4 for a signature that is not the author's, or a report that
    this evidence does not give.
    """
    from verifier.api import Past, known  # noqa: PLC0415
    from verifier.cli.question import one_app_id  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415
    from verifier.report.audit.sentences import verdict_line  # noqa: PLC0415
    from verifier.report.audit.statement import Agreement, compare  # noqa: PLC0415

    judged = known(load_policy(policy)).expecting(expected.values)
    found = _opened(signed, key)
    then = replace(reach, at=found.created, offline=True)
    asked = one_app_id(expected.app_id)
    report = gather(target, then, past=Past.APP, bundle=bundle, app_id=asked).report(judged)
    agreement, said = compare(found, report, reach.judged_at)
    write(f"{verdict_line(report)}\n".encode(), None, "the verdict")
    warn(f"{signed}: {said}")
    if agreement is Agreement.SAME:
        raise typer.Exit(exit_code(report))
    undecided = agreement in {Agreement.EXPIRED, Agreement.ANOTHER_VERSION}
    raise typer.Exit(EXIT_NONE if undecided else EXIT_CONTRAINDICATED)


def _opened(path: Path, key: Path) -> "Signed":
    """What was signed. Ends with 4 where it was not by this key. Raises VerifierError."""
    from verifier.report.audit.signing import SignatureError, signed_statement  # noqa: PLC0415
    from verifier.report.audit.statement import read_statement  # noqa: PLC0415

    try:
        return read_statement(signed_statement(read_file(path), read_file(key)))
    except SignatureError as error:
        warn(f"{path}: {error.message}", error.hint)
        raise typer.Exit(EXIT_CONTRAINDICATED) from error
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error.message}", hint=error.hint) from error
