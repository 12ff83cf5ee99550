"""`verify report FILE`: an earlier result, rendered again or held against its evidence."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.files import names_target, read_file
from verifier.cli.gather import gather
from verifier.cli.options import (
    BundlePath,
    Compare,
    Expected,
    PolicyName,
    Reach,
    Written,
    command,
)
from verifier.cli.output import SIGNABLE, check_places, exit_code, write, write_report
from verifier.cli.streams import warn
from verifier.errors import EvidenceError, UsageError

if TYPE_CHECKING:
    from verifier.model.report import Report
    from verifier.report.audit.statement import Signed

_JUDGING: Final = (
    *("target", "bundle", "compare", "policy", "offline", "trust_bundle"),
    *Expected.__struct_fields__,
)
"""The options that say how evidence is judged, by the names of their parameters."""
EXIT_NONE: Final = 3
EXIT_CONTRAINDICATED: Final = 4
_SIGNED: Final = b"application/vnd.dev.sigstore.bundle"
_TOKEN: Final = b"ey"
"""How the base64url of a JSON object begins, and no JSON does."""
_SNIFFED: Final = 1 << 16
"""Bytes of a file in which a Sigstore bundle names its own kind, first or last."""


class Author(Struct, frozen=True, kw_only=True):
    """Who has to have signed a result."""

    key: Annotated[
        Path | None,
        typer.Option("--key", help="Of a signed result: the author's public key (PEM, P-256)."),
    ] = None
    identity: Annotated[
        str,
        typer.Option(
            "--identity",
            help="Of a result that sigstore signed: the author's identity, such as the URL of a "
            "workflow with its ref, or an address.",
        ),
    ] = ""
    issuer: Annotated[
        str, typer.Option("--issuer", help="With --identity: who vouches for it (OIDC).")
    ] = "https://token.actions.githubusercontent.com"

    def __post_init__(self) -> None:
        """Raise UsageError for two authors: one of them would not be asked for."""
        if self.key is not None and self.identity:
            raise UsageError("--key and --identity are two authors", hint="give one of them")

    @property
    def named(self) -> bool:
        """Whether there is one."""
        return self.key is not None or bool(self.identity)


@command
def render_again(
    *,
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A report's JSON, a bundle, or what `verify sign` wrote."
        ),
    ],
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", help="Of a bundle and of a signed result: the app."),
    ] = None,
    author: Author,
    written: Written,
    policy: PolicyName = "baseline",
    bundle: BundlePath = None,
    reach: Reach,
    expected: Expected,
    compare: Compare = None,
) -> None:
    """Render an earlier report again, or check a signed result against its evidence.

    The JSON of an audit is rendered as it is: nothing in it is verified again; it says so where it
    is older, at the present or `--at`, than its policy relies on evidence. A bundle is audited
    again, without the network. A signed result (--key, --identity) holds where the signature is the
    author's, and this evidence gives this very report; TARGET, evidence and options are then those
    of the audit that was signed, its time is in the statement, and `--at` says as of when it is
    relied on.

    Examples:

      verify report report.json --format html -o report.html

      verify report evidence APP_ID --format markdown

      verify report app.sigstore.json APP_ID --key key.pub --bundle evidence

    Exit codes: those of the audit; for a signed result 3 where it has expired or is another
    version's, 4 for a signature that is not the author's, or a report that this evidence does not
    give.
    """
    check_places(written.output)
    if author.named:
        _check_signed(file, target, author, policy, bundle, reach, expected, written, compare)
    if names_target(str(file)):
        if bundle is not None:
            raise UsageError("two bundles were named", hint="give one of them")
        target = target or str(file)
        place = file if target != str(file) else None
        offline = replace(reach, offline=True)
        report = _audited(target, offline, place, policy, expected, compare)
    else:
        report = _read(file, reach, written, judges=_given(context))
    write_report(report, written)
    raise typer.Exit(exit_code(report))


def _audited(
    target: str,
    reach: Reach,
    bundle: Path | None,
    policy: str,
    expected: Expected,
    compare: Compare,
) -> "Report":
    """The report of an audit, as `verify app` makes it."""
    from verifier.api import Past, known  # noqa: PLC0415
    from verifier.cli.question import one_app_id  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    judged = known(load_policy(policy)).expecting(expected.values)
    asked = one_app_id(expected.app_id)
    audit = gather(target, reach, past=Past.APP, bundle=bundle, app_id=asked, compare=compare)
    return audit.report(judged)


def _given(context: typer.Context) -> bool:
    """Whether the command line asks for a judgement; what the environment or the project file says
    is meant for audits."""
    sources = map(context.get_parameter_source, _JUDGING)
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)


def _read(file: Path, reach: Reach, written: Written, *, judges: bool) -> "Report":
    """The report that a file holds. Raises UsageError for what would have to be judged anew."""
    from verifier.model.identifiers import format_time  # noqa: PLC0415
    from verifier.report.audit.earlier import read_report  # noqa: PLC0415

    raw = read_file(file)
    if _SIGNED in raw[:_SNIFFED] + raw[-_SNIFFED:] or raw[:2] == _TOKEN:
        raise UsageError(
            f"{file} is a signed result", hint="name its author: --key key.pub, or --identity"
        )
    if judges:
        raise UsageError(
            f"{file} is a report, which is rendered as it was judged",
            hint="to judge the evidence again: verify APP_ID --bundle BUNDLE",
        )
    if {*SIGNABLE} & {written.form, *(form for form, _ in written.others)}:
        raise UsageError(
            "a statement is made of evidence, not of a report that anybody may have written",
            hint="verify APP_ID --bundle BUNDLE --format statement",
        )
    try:
        report = read_report(raw)
    except EvidenceError as error:
        raise EvidenceError(f"{file}: {error.message}", hint=error.hint) from error
    warn(
        f"{file}: rendered as {report.tool} wrote it, as of {format_time(report.evaluated_at)}; "
        "nothing was verified again"
    )
    return replace(report, shown_at=reach.judged_at)


def _check_signed(
    signed: Path,
    target: str | None,
    author: Author,
    policy: str,
    bundle: Path | None,
    reach: Reach,
    expected: Expected,
    written: Written,
    compare: Compare,
) -> None:
    """Hold a signed result against evidence, and end with what that comes to."""
    from verifier.report.audit import statement  # noqa: PLC0415
    from verifier.report.audit.sentences import verdict_line  # noqa: PLC0415

    if target is None:
        raise UsageError(f"{signed}: of which app?", hint="name it, and its evidence with --bundle")
    found = _opened(signed, author)
    then = replace(reach, at=found.created, offline=True)
    report = _audited(target, then, bundle, policy, expected, compare)
    agreement, said = statement.compare(found, report, reach.judged_at)
    if written == Written():
        write(f"{verdict_line(report)}\n".encode(), None, "the verdict")
    else:
        write_report(report, written)
    warn(f"{signed}: {said}")
    if agreement is statement.Agreement.SAME:
        raise typer.Exit(exit_code(report))
    undecided = agreement in {statement.Agreement.EXPIRED, statement.Agreement.ANOTHER_VERSION}
    raise typer.Exit(EXIT_NONE if undecided else EXIT_CONTRAINDICATED)


def _opened(path: Path, author: Author) -> "Signed":
    """What was signed. Ends with 4 where it was not by this author. Raises VerifierError."""
    from verifier.report.audit import signing  # noqa: PLC0415
    from verifier.report.audit.statement import read_statement  # noqa: PLC0415

    raw = read_file(path)
    opened = signing.signed_claims if raw[:2] == _TOKEN else signing.signed_statement
    try:
        if author.key is None:
            signed = signing.identified_statement(raw, author.identity, author.issuer)
        else:
            signed = opened(raw, read_file(author.key))
        return read_statement(signed)
    except signing.SignatureError as error:
        warn(f"{path}: {error.message}", error.hint)
        raise typer.Exit(EXIT_CONTRAINDICATED) from error
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error.message}", hint=error.hint) from error
