"""The options, each declared once.

Options that belong together are a record, whose fields are the options: a command decorated with
`command` takes such a record as a parameter. Values are as the user wrote them; `gather` and
`question` make values of them.
"""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from verifier.cli.clock import moment, now, span
from verifier.errors import UsageError
from verifier.model.identifiers import format_time
from verifier.model.project import ProjectFile


class Format(StrEnum):
    """Forms of an audit's report."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"
    SUMMARY = "summary"
    JUNIT = "junit"
    BADGE = "badge"
    SHIELDS = "shields"
    STATEMENT = "statement"
    VSA = "vsa"
    EAR = "ear"
    PROOF = "proof"


_KEYWORD: Final = inspect.Parameter.KEYWORD_ONLY


def _present() -> str:
    return format_time(now())


Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="App id, metadata URL, Trust Center URL, domain, URL of its proof, or bundle.",
    ),
]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Evidence files.")]
PolicyName = Annotated[
    str,
    typer.Option(
        "--policy",
        help="genuine, baseline, strict, stage1, endpoint or a TOML file.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
]
Save = Annotated[
    Path | None,
    typer.Option(
        "--save",
        help="Keep the evidence, a new directory or a .tar: as received, with secrets that reports "
        "mask.",
    ),
]
Compare = Annotated[
    list[str] | None,
    typer.Option(
        "--compare",
        metavar="WHO=FILE|URL",
        help="Set what others say beside the report: trust-center=REPORT.json, dstack-verifier=, "
        "phala-cloud= (repeatable).",
    ),
]
BundlePath = Annotated[
    Path | None, typer.Option("--bundle", help="Audit this bundle instead of asking the network.")
]
At = Annotated[
    int,
    typer.Option(
        "--at",
        metavar="TIME",
        help="Judge as of this time (RFC 3339).",
        parser=moment,
        default_factory=_present,
        show_default=False,
    ),
]
"""Unix seconds: the time named, else the present."""
AtOrEnd = Annotated[
    int | None,
    typer.Option("--at", metavar="TIME", help="Judge as of this time (RFC 3339).", parser=moment),
]
"""Unix seconds; None for the present, after a live collection for its end."""
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        parser=span,
        help="How long asking the network may take in all: 180 by default, 3600 for a timeline.",
    ),
]
TrustBundle = Annotated[
    str,
    typer.Option("--trust-bundle", metavar="DIGEST", help="Vouch for the bundle with this digest."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never ask the network; needs a bundle.")]
Gateways = Annotated[
    list[str] | None,
    typer.Option("--gateway", help="Gateway domain or URL to ask (repeatable)."),
]
Instances = Annotated[
    list[str] | None,
    typer.Option("--instance", help="Audit this instance id only; it has to answer (repeatable)."),
]
ServingEndpoint = Annotated[
    str,
    typer.Option(
        "--endpoint",
        metavar="HOST:PORT",
        help="An address that users connect to by TLS: does the connection end in this TD?",
    ),
]
Searches = Annotated[
    list[str] | None,
    typer.Option(
        "--ct-url",
        metavar="URL",
        help="A search of certificate logs, such as https://crt.sh: who else got a certificate for "
        "the address (repeatable)?",
    ),
]
Endpoints = Annotated[
    list[str] | None,
    typer.Option("--rpc-url", help="Ethereum endpoint (repeatable)."),
]
Explorers = Annotated[
    list[str] | None,
    typer.Option(
        "--explorer-url",
        help="Block explorer to hold the chain's logs against (repeatable).",
    ),
]
SafeServices = Annotated[
    list[str] | None,
    typer.Option(
        "--safe-url",
        help="Transaction service to ask what a Safe's signers are about to do (repeatable).",
    ),
]
NamedKms = Annotated[
    str,
    typer.Option(
        "--kms",
        metavar="KMS",
        help="A KMS that you trust, and where to look: CHAIN:ADDRESS of its contract, or without "
        "one its CA key (DER, hex) or root address.",
    ),
]
KmsUrl = Annotated[
    str,
    typer.Option(
        "--kms-url",
        metavar="URL",
        help="Where the app's KMS answers, if not at kms.<gateway>.",
    ),
]
KmsCode = Annotated[
    list[str] | None,
    typer.Option(
        "--kms-code",
        metavar="SHA256",
        help="Manifest of a KMS whose code you know (repeatable): what such a KMS shows ties a "
        "root address that --kms names to the CA key that the app names.",
    ),
]
Pccs = Annotated[
    str,
    typer.Option("--pccs-url", help="Collateral service instead of Intel's."),
]
Challenge = Annotated[
    str,
    typer.Option(
        "--challenge", metavar="HEX", help="Report data, or a part of it, that you chose."
    ),
]
ChallengeUrl = Annotated[
    str,
    typer.Option(
        "--challenge-url",
        metavar="URL|WAY=URL",
        help="Where the app answers --challenge with a quote: an address with {challenge} in it, "
        "or a known way to ask below URL, such as get-quote= or v1-attestation-report= "
        "(docs/challenge.md).",
    ),
]
Binds = Annotated[
    list[str] | None,
    typer.Option(
        "--bind",
        metavar="KIND=VALUE",
        help="What report data commits to, by a convention of the app's code, such as "
        "near-mpc=TLS_KEY:ACCOUNT_KEY, file=SHA256 or challenge-leaf=COMPOSE_HASH (repeatable).",
    ),
]
UnsafeRoot = Annotated[
    Path | None,
    typer.Option(
        "--unsafe-root",
        metavar="FILE",
        help="Another trust anchor than Intel's. Said on every line.",
    ),
]
Manifests = Annotated[
    Path | None,
    typer.Option(
        "--manifests",
        metavar="DIR",
        help="Manifests that you know, and bundles of earlier audits, to name allowed hashes.",
    ),
]
Images = Annotated[
    list[Path] | None,
    typer.Option(
        "--image",
        metavar="IMAGE.json",
        help="An OS image that you measured with `verify image` (repeatable).",
    ),
]
NoCache = Annotated[
    bool, typer.Option("--no-cache", help="Neither use nor keep logs of earlier audits.")
]

SecondOpinion = Annotated[
    bool,
    typer.Option(
        "--second-opinion",
        help="Have web3 read every recorded answer of the chain again, and another verifier judge "
        "every quote again.",
    ),
]


class Reach(Struct, frozen=True, kw_only=True):
    """Where evidence comes from, and what is asked of it, as options.

    None, "" and False are options that were not given.

    at              the time of judgement, Unix seconds
    trust_bundle    the digest of the bundle that the user vouches for
    offline         whether the network is never asked
    gateway         domains or URLs of gateways
    instance        the only instance ids that are meant
    endpoint        the address that users connect to
    ct_url          searches of certificate logs
    rpc_url         chain endpoints
    explorer_url    block explorers
    safe_url        transaction services of Safes
    kms             the KMS that the user trusts
    kms_url         where the app's KMS answers
    kms_code        manifests that the user knows to run a KMS
    pccs_url        where collateral is asked for
    challenge       report data, or a part of it, in hex
    challenge_url   where the app answers a challenge with a quote
    bind            what report data commits to, KIND=VALUE each
    manifests       the folder of manifests and bundles that the user knows
    os_image        measurements of OS images that the user made
    unsafe_root     the file with another trust anchor than Intel's
    no_cache        whether logs of earlier audits are neither used nor kept
    timeout         the seconds that asking the network may take
    second_opinion  whether others have to read the chain's answers, and judge the quotes, too
    project         the project file that gave some of these; None where none did
    """

    at: AtOrEnd = None
    trust_bundle: TrustBundle = ""
    offline: Offline = False
    gateway: Gateways = None
    instance: Instances = None
    endpoint: ServingEndpoint = ""
    ct_url: Searches = None
    rpc_url: Endpoints = None
    explorer_url: Explorers = None
    safe_url: SafeServices = None
    kms: NamedKms = ""
    kms_url: KmsUrl = ""
    kms_code: KmsCode = None
    pccs_url: Pccs = ""
    challenge: Challenge = ""
    challenge_url: ChallengeUrl = ""
    bind: Binds = None
    manifests: Manifests = None
    os_image: Images = None
    unsafe_root: UnsafeRoot = None
    no_cache: NoCache = False
    timeout: Timeout = None
    second_opinion: SecondOpinion = False
    project: ProjectFile | None = None

    @property
    def judged_at(self) -> int:
        """The time of judgement (Unix seconds): the one that was named, else the present."""
        return now() if self.at is None else self.at


class Expected(Struct, frozen=True, kw_only=True):
    """The relying party's own reference values, as options. None is an option that was not given.

    app_id         app ids, hex
    compose_hash   manifest hashes, hex
    os_image_hash  hashes of OS images, hex
    device         device ids, hex
    image          NAME=DIGEST of the images of services or repositories
    expect_kms     KMSs: CHAIN:ADDRESS, CA key or root address
    """

    app_id: Annotated[
        list[str] | None, typer.Option("--expect-app-id", help="Expected app id.")
    ] = None
    compose_hash: Annotated[
        list[str] | None,
        typer.Option("--expect-compose-hash", help="Expected manifest hash (repeatable)."),
    ] = None
    os_image_hash: Annotated[
        list[str] | None,
        typer.Option("--expect-os-image-hash", help="Expected OS image hash (repeatable)."),
    ] = None
    device: Annotated[
        list[str] | None,
        typer.Option("--expect-device", help="Expected device id, or PPID (repeatable)."),
    ] = None
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--expect-image",
            metavar="NAME=DIGEST",
            help="Expected image of a service or repository, by digest (repeatable).",
        ),
    ] = None

    expect_kms: Annotated[
        list[str] | None,
        typer.Option(
            "--expect-kms",
            metavar="KMS",
            help="Expected KMS: CHAIN:ADDRESS, CA key or root address (repeatable).",
        ),
    ] = None

    @property
    def values(self) -> dict[str, tuple[str, ...]]:
        """The expected values by what a policy calls them."""
        return {
            item.name.removeprefix("expect_"): tuple(getattr(self, item.name) or ())
            for item in fields(self)
        }


class Written(Struct, frozen=True, kw_only=True):
    """How the report of an audit is written."""

    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TERMINAL
    output: Output = None
    also: Annotated[
        list[str] | None,
        typer.Option(
            "--report",
            metavar="FORMAT=FILE",
            help="Write the report in this form, too (repeatable).",
        ),
    ] = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The verdict line alone.")] = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Every check, claim, finding and source, in full."),
    ] = False

    def __post_init__(self) -> None:
        """Raise UsageError for options that contradict each other, before anything is asked."""
        if self.quiet and self.verbose:
            raise UsageError("-q and -v contradict each other", hint="give one of them")
        _ = self.others

    @property
    def others(self) -> tuple[tuple[Format, Path], ...]:
        """The further reports: form and file."""
        found = []
        for item in self.also or ():
            form, _, file = item.partition("=")
            if form not in tuple(Format) or not file:
                raise UsageError(
                    f"--report {item!a} is not FORMAT=FILE",
                    hint=f"FORMAT is one of {', '.join(Format)}",
                )
            found.append((Format(form), Path(file)))
        return tuple(found)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """The function as typer takes it: in place of each parameter that is a record, its fields that
    are options; a field for the project file is what the context has of it."""
    signature = inspect.signature(function)
    records: dict[str, type[Struct]] = {
        name: parameter.annotation
        for name, parameter in signature.parameters.items()
        if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, Struct)
    }

    @functools.wraps(function)
    def run(**values: Any) -> None:  # noqa: ANN401 - whatever the options are
        for name, record in records.items():
            given = {item.name: values.pop(item.name) for item in _options(record)}
            if "project" in record.__struct_fields__:
                given["project"] = values["context"].obj
            values[name] = record(**given)
        function(**{name: values[name] for name in signature.parameters})

    options = [
        option
        for name, parameter in signature.parameters.items()
        for option in (
            map(_option, _options(records[name]))
            if name in records
            else (parameter.replace(kind=_KEYWORD),)
        )
    ]
    if "context" not in signature.parameters:
        options.append(inspect.Parameter("context", _KEYWORD, annotation=typer.Context))
    run.__signature__ = signature.replace(parameters=options)  # type: ignore[attr-defined]
    run.__annotations__ = {option.name: option.annotation for option in options}
    return run


def _options(record: type[Struct]) -> list[FieldInfo]:
    """The fields of a record that the user may set."""
    return [item for item in fields(record) if item.name != "project"]


def _option(item: FieldInfo) -> inspect.Parameter:
    default = inspect.Parameter.empty if item.default is NODEFAULT else item.default
    return inspect.Parameter(item.name, _KEYWORD, default=default, annotation=item.type)
