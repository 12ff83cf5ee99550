"""`verify sign STATEMENT`: results that others can hold to account."""

from pathlib import Path
from typing import Annotated

import typer
from msgspec import Struct

from verifier.cli.files import read_file
from verifier.cli.options import Output, command
from verifier.cli.output import check_places, write
from verifier.cli.streams import warn
from verifier.errors import EvidenceError, UsageError


class Keyless(Struct, frozen=True, kw_only=True):
    """What is signed for an identity, instead of by a key."""

    keyless: Annotated[
        bool,
        typer.Option(
            "--keyless",
            help="Sign for the identity that this runner has (OIDC), by Sigstore: it is then in a "
            "public log for good.",
        ),
    ] = False
    identity_token: Annotated[
        Path | None,
        typer.Option(
            "--identity-token",
            metavar="FILE",
            help="The same for the identity of this OIDC token, for the audience sigstore.",
        ),
    ] = None
    trust_config: Annotated[
        Path | None,
        typer.Option(
            "--trust-config",
            metavar="FILE",
            help="Another Sigstore instance than the public one: its client trust config (JSON).",
        ),
    ] = None

    @property
    def asked(self) -> bool:
        """Whether an identity is to sign."""
        return self.keyless or self.identity_token is not None


@command
def sign(
    *,
    statement: Annotated[
        Path,
        typer.Argument(metavar="STATEMENT", help="An in-toto statement, or the claims of an EAR."),
    ],
    key: Annotated[Path | None, typer.Option("--key", help="Your private key: PEM, P-256.")] = None,
    by: Keyless,
    output: Output = None,
) -> None:
    """Sign the result of an audit: by a key of your own, or for an identity by Sigstore.

    Statements become a Sigstore bundle, an EAR becomes a JSON Web Token (ES256, by a key alone).

    Examples:

      verify APP_ID --report statement=app.intoto.json --save evidence

      verify sign app.intoto.json --key key.pem -o app.sigstore.json

      verify sign app.intoto.json --keyless -o app.sigstore.json
    """
    from verifier.report.audit.ear import PROFILE  # noqa: PLC0415
    from verifier.report.audit.signing import sign_claims, sign_statement  # noqa: PLC0415
    from verifier.report.audit.statement import read_statement  # noqa: PLC0415

    check_places(output)
    _refuse_unclear(key, by)
    try:
        raw = read_file(statement)
        is_ear = b'"eat_profile"' in raw and read_statement(raw).kind == PROFILE
        if key is not None:
            raw = (sign_claims if is_ear else sign_statement)(raw, read_file(key))
        elif is_ear:
            raise UsageError(
                "an EAR is signed by a key", hint="--key, or sign the statement or VSA for whom"
            )
        else:
            raw = _signed_for_identity(raw, by)
    except EvidenceError as error:
        raise UsageError(f"{statement}: {error.message}", hint=error.hint) from error
    write(raw, output, "the signed statement")


def _refuse_unclear(key: Path | None, by: Keyless) -> None:
    """Raise UsageError unless it is clear who signs."""
    if key is None and not by.asked:
        raise UsageError(
            "who signs?",
            hint="--key for a key of yours, --keyless for the identity that this runner has",
        )
    if key is not None and (by.asked or by.trust_config is not None):
        raise UsageError(
            "a key signs by itself, without Sigstore", hint="give --key, or --keyless and its like"
        )


def _signed_for_identity(statement: bytes, by: Keyless) -> bytes:
    """The statement in a bundle that stands in the log, and who signed it on stderr."""
    from verifier.api import identity_token, sign_for_identity  # noqa: PLC0415
    from verifier.cli.clock import now  # noqa: PLC0415

    config = None if by.trust_config is None else read_file(by.trust_config)
    if by.identity_token is None:
        token = identity_token()
    else:
        token = read_file(by.identity_token).decode("ascii", "replace").strip()
    if not token:
        raise UsageError(
            "there is no identity here",
            hint="--keyless works where a runner gives one; elsewhere, --identity-token FILE",
        )
    raw, signed = sign_for_identity(statement, token, config, now)
    warn(
        f"signed for {signed.signer.identity}, entry {signed.log_index} of the log",
        f"whoever checks it names this author: --identity {signed.signer.identity} "
        f"--issuer {signed.signer.issuer}",
    )
    return raw
