"""`verify sign STATEMENT`: results that others can hold to account."""

from pathlib import Path
from typing import Annotated

import typer

from verifier.cli.files import read_file
from verifier.cli.options import Output, command
from verifier.cli.output import check_places, write
from verifier.errors import EvidenceError, UsageError


@command
def sign(
    *,
    statement: Annotated[
        Path,
        typer.Argument(metavar="STATEMENT", help="An in-toto statement, or the claims of an EAR."),
    ],
    key: Annotated[Path, typer.Option(help="Your private key: PEM, P-256.")],
    output: Output = None,
) -> None:
    """Sign the result of an audit by a key of your own: a statement, a VSA, or an EAR.

    Statements become a Sigstore bundle, an EAR becomes a JSON Web Token (ES256).

    Examples:

      verify APP_ID --report statement=app.intoto.json --save evidence

      verify sign app.intoto.json --key key.pem -o app.sigstore.json
    """
    from verifier.report.audit.ear import PROFILE  # noqa: PLC0415
    from verifier.report.audit.signing import sign_claims, sign_statement  # noqa: PLC0415
    from verifier.report.audit.statement import read_statement  # noqa: PLC0415

    check_places(output)
    try:
        raw, pem = read_file(statement), read_file(key)
        is_ear = b'"eat_profile"' in raw and read_statement(raw).kind == PROFILE
        raw = (sign_claims if is_ear else sign_statement)(raw, pem)
    except EvidenceError as error:
        raise UsageError(f"{statement}: {error.message}", hint=error.hint) from error
    write(raw, output, "the signed statement")
