"""`verify sign STATEMENT`: results that others can hold to account."""

from pathlib import Path
from typing import Annotated

import typer

from verifier.cli.files import read_file
from verifier.cli.options import Output, command
from verifier.cli.output import check_places, write
from verifier.errors import EvidenceError, PolicyError


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
