"""`verify report FILE`: an earlier result, rendered again or held against its evidence."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer
from msgspec import Struct
from msgspec.structs import replace

from verifier.cli.again import KINDS, Again, write_again
from verifier.cli.files import about, names_target, read_file
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
from verifier.cli.output import (
    SIGNABLE,
    check_places,
    check_report_places,
    exit_code,
    write,
    write_report,
)
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
    trusted_root: Annotated[
        Path | None,
        typer.Option(
            "--trusted-root",
            metavar="FILE",
            help="Of what another Sigstore instance signed: its trusted root (JSON). Said on every "
            "line.",
        ),
    ] = None
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Hold FILE against its evidence: does that give this very report, and who signed "
            "it?",
        ),
    ] = False

    def __post_init__(self) -> None:
        """Raise UsageError for two authors: one of them would not be asked for."""
        if self.key is not None and (self.identity or self.trusted_root is not None):
            raise UsageError(
                "--key and --identity are two authors, and a key needs no trusted root",
                hint="give one of them",
            )
        if self.trusted_root is not None and not (self.identity or self.check):
            raise UsageError(
                "--trusted-root says who may vouch for an author", hint="name one with --identity"
            )

    @property
    def named(self) -> bool:
        """Whether there is one."""
        return self.key is not None or bool(self.identity)


class Asked(Struct, frozen=True, kw_only=True):
    """What is asked of evidence, as of an audit, each as an option of `verify app`.

    target    the app; None where none was named
    bundle    the evidence, None where the target is it
    policy    the policy
    reach     where evidence comes from, and as of when it is judged
    expected  the relying party's own reference values
    compare   what others say of the app
    """

    target: str | None
    bundle: Path | None
    policy: str
    reach: Reach
    expected: Expected
    compare: Compare

    def audited(self, *, at: int | None = None) -> "Report":
        """The report of an audit without the network, as `verify app` makes it; `at` is the time of
        judgement (Unix seconds) where it is not the user's own."""
        from verifier.api import Past, known  # noqa: PLC0415
        from verifier.cli.question import one_app_id  # noqa: PLC0415
        from verifier.policy.policy import load_policy  # noqa: PLC0415

        judged = known(load_policy(self.policy)).expecting(self.expected.values)
        audit = gather(
            self.target or "",
            replace(self.reach, offline=True, **({} if at is None else {"at": at})),
            past=Past.APP,
            bundle=self.bundle,
            app_id=one_app_id(self.expected.app_id),
            compare=self.compare,
        )
        return audit.report(judged)


class Opened(Struct, frozen=True):
    """A result that is held against evidence: what it holds, the time as of which it was made, what
    to say of its author, and whether that author is one who was asked for."""

    holds: "Signed | Report"
    raw: bytes
    made_at: int
    author: str = ""
    asked_for: bool = True


Result = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="The JSON of a report, a bundle, or what `verify sign` wrote."
    ),
]
OfApp = Annotated[
    str | None,
    typer.Argument(metavar="[TARGET]", help="Of a bundle and of a signed result: the app."),
]


@command
def render_again(
    *,
    context: typer.Context,
    file: Result,
    target: OfApp = None,
    author: Author,
    again: Again,
    policy: PolicyName = "baseline",
    bundle: BundlePath = None,
    reach: Reach,
    expected: Expected,
    compare: Compare = None,
) -> None:
    """Render an earlier report again, or check a signed result against its evidence.

    The JSON of an audit is rendered as it is, and so is that of a timeline, a lint or a comparison:
    nothing in it is verified again; it says so where it is older, at the present or `--at`, than
    its policy relies on evidence. A bundle is audited again, without the network. A signed result
    (--key, --identity) holds where the signature is the author's, and this evidence gives this very
    report; TARGET, evidence and options are then those of the audit that was signed, its time is in
    the statement, and `--at` says as of when it is relied on. `--check` alone asks the same of a
    report that nobody signed, and of a result whose author you do not know: it is then never relied
    on; nor is a report that is older, at the present or `--at`, than its policy relies on evidence.

    Examples:

      verify report report.json --format html -o report.html

      verify report evidence APP_ID --format markdown

      verify report report.json APP_ID --check --bundle evidence

      verify report app.sigstore.json APP_ID --key key.pub --bundle evidence

    Exit codes: those of the audit; for a result that is checked 3 where it has expired, is another
    version's or of an author whom nobody named, 4 for a signature that is not the author's, or a
    report that this evidence does not give.
    """
    check_places(again.output)
    asked = Asked(
        target=target, bundle=bundle, policy=policy, reach=reach, expected=expected, compare=compare
    )
    handed_over = names_target(str(file))
    if not (handed_over or author.named or author.check):
        kind = _kind(file, judges=_given(context))
        if kind in KINDS:
            raise typer.Exit(write_again(kind, read_file(file), again))
    written = again.of_an_audit()
    check_report_places(written)
    if handed_over:
        report = _audited_again(file, author, asked)
    elif author.named or author.check:
        _hold(file, author, asked, written)
    else:
        report = _read(file, reach, written)
    write_report(report, written)
    raise typer.Exit(exit_code(report))


def _audited_again(file: Path, author: Author, asked: Asked) -> "Report":
    """The report of the audit of a bundle. Raises UsageError."""
    if asked.bundle is not None:
        raise UsageError("two bundles were named", hint="give one of them")
    if author.named or author.check:
        raise UsageError(f"{file} is evidence, which nobody signs", hint="name a signed result")
    place = None if asked.target in {None, str(file)} else file
    return replace(asked, target=asked.target or str(file), bundle=place).audited()


def _given(context: typer.Context) -> bool:
    """Whether the command line asks for a judgement; what the environment or the project file says
    is meant for audits."""
    sources = map(context.get_parameter_source, _JUDGING)
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)


def _kind(file: Path, *, judges: bool) -> str:
    """Which document a file holds, "" for none that has a name. Raises UsageError for what would
    have to be judged anew."""
    from verifier.report.audit.earlier import kind_of  # noqa: PLC0415

    raw = read_file(file)
    if _is_signed(raw):
        raise UsageError(
            f"{file} is a signed result", hint="name its author: --key key.pub, or --identity"
        )
    if judges:
        raise UsageError(
            f"{file} is a report, which is rendered as it was judged",
            hint="to judge the evidence again: verify APP_ID --bundle BUNDLE",
        )
    with about(file):
        kind = kind_of(raw)
    if kind in KINDS:
        warn(f"{file}: rendered as its author wrote it; nothing was verified again")
    return kind


def _read(file: Path, reach: Reach, written: Written) -> "Report":
    """The report that a file holds. Raises UsageError for what is made of evidence alone."""
    from verifier.model.identifiers import format_time  # noqa: PLC0415
    from verifier.report.audit.earlier import read_report  # noqa: PLC0415

    if {*SIGNABLE} & {written.form, *(form for form, _ in written.others)}:
        raise UsageError(
            "a statement is made of evidence, not of a report that anybody may have written",
            hint="verify APP_ID --bundle BUNDLE --format statement",
        )
    with about(file):
        report = read_report(read_file(file))
    warn(
        f"{file}: rendered as {report.tool} wrote it, as of {format_time(report.evaluated_at)}; "
        "nothing was verified again"
    )
    return replace(report, shown_at=reach.judged_at)


def _hold(file: Path, author: Author, asked: Asked, written: Written) -> NoReturn:
    """Hold a result against evidence, and end with what that comes to."""
    from verifier.model.report import Report  # noqa: PLC0415
    from verifier.report.audit import statement  # noqa: PLC0415
    from verifier.report.audit.sentences import verdict_line  # noqa: PLC0415

    if asked.target is None:
        raise UsageError(f"{file}: of which app?", hint="name it, and its evidence with --bundle")
    found = _opened(file, author)
    report = asked.audited(at=found.made_at)
    if isinstance(found.holds, Report):
        now = asked.reach.judged_at
        agreement, said = statement.compare_report(found.raw, found.holds, report, now)
    else:
        agreement, said = statement.compare(found.holds, report, asked.reach.judged_at)
    if written == Written():
        write(f"{verdict_line(report)}\n".encode(), None, "the verdict")
    else:
        write_report(report, written)
    warn(f"{file}: {said}{found.author}")
    if not found.asked_for:
        warn(
            f"{file}: nobody said whom to expect as its author, so it is not relied on",
            "name them: --identity, and --issuer where that is not GitHub's",
        )
    if agreement is statement.Agreement.SAME and found.asked_for:
        raise typer.Exit(exit_code(report))
    undecided = {*statement.Agreement} - {statement.Agreement.DIFFERENT}
    raise typer.Exit(EXIT_NONE if agreement in undecided else EXIT_CONTRAINDICATED)


def _opened(path: Path, author: Author) -> Opened:
    """What a file holds. Ends with 4 where it was not signed by this author. Raises
    VerifierError."""
    from verifier.report.audit import signing  # noqa: PLC0415
    from verifier.report.audit.earlier import read_report  # noqa: PLC0415
    from verifier.report.audit.statement import read_statement  # noqa: PLC0415

    raw = read_file(path)
    root = "" if author.trusted_root is None else f", by the trusted root of {author.trusted_root}"
    try:
        if author.key is not None:
            opened = signing.signed_claims if raw[:2] == _TOKEN else signing.signed_statement
            signed = read_statement(opened(raw, read_file(author.key)))
            return Opened(signed, signed.raw, signed.created)
        if not author.named and not _is_signed(raw):
            report = read_report(raw)
            if author.trusted_root is not None:
                raise UsageError(f"{path}: nobody signed it", hint="leave --trusted-root out")
            return Opened(report, raw, report.evaluated_at)
        if not author.named and (raw[:2] == _TOKEN or b'"publicKey"' in raw):
            raise UsageError(f"{path} was signed by a key", hint="name its author: --key key.pub")
        trusted = None if author.trusted_root is None else read_file(author.trusted_root)
        payload, by = signing.identified_statement(raw, author.identity, author.issuer, trusted)
        signed = read_statement(payload)
        said = f"; {by.signer.identity} signed it, whom {by.signer.issuer} vouches for{root}"
        return Opened(signed, payload, signed.created, said, author.named)
    except signing.SignatureError as error:
        warn(f"{path}: {error.message}{root}", error.hint)
        raise typer.Exit(EXIT_CONTRAINDICATED) from error
    except EvidenceError as error:
        raise EvidenceError(f"{path}: {error.message}", hint=error.hint) from error


def _is_signed(raw: bytes) -> bool:
    return _SIGNED in raw[:_SNIFFED] + raw[-_SNIFFED:] or raw[:2] == _TOKEN
