"""Where a command's evidence comes from, when it is not a file of the user's own: a bundle, or the
network, asked as an audit asks it."""

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.errors import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from verifier.checks.case import Case, Question
    from verifier.cli.target import Target
    from verifier.collection import Past
    from verifier.evidence.bundle import Bundle
    from verifier.model.result import Report, SubjectReport
    from verifier.policy.policy import Policy

_FILE: Final = re.compile(r".*\.(?:json|ya?ml|html?|tar|txt|toml|bin|pem)", re.IGNORECASE)

Gateways = Annotated[
    list[str] | None,
    typer.Option("--gateway", help="Gateway domain or URL to ask (repeatable)."),
]
Endpoints = Annotated[
    list[str] | None, typer.Option("--rpc-url", help="Ethereum endpoint (repeatable).")
]
Explorers = Annotated[
    list[str] | None,
    typer.Option(
        "--explorer-url", help="Block explorer to hold the chain's logs against (repeatable)."
    ),
]
NamedKms = Annotated[
    str, typer.Option("--kms", metavar="CHAIN:ADDRESS", help="A KMS contract that you trust.")
]
Pccs = Annotated[str, typer.Option("--pccs-url", help="Collateral service instead of Intel's.")]
UnsafeRoot = Annotated[
    Path | None,
    typer.Option(
        "--unsafe-root", metavar="FILE", help="Another trust anchor than Intel's. Always said."
    ),
]
TrustBundle = Annotated[
    str,
    typer.Option("--trust-bundle", metavar="DIGEST", help="Vouch for the bundle with this digest."),
]
Manifests = Annotated[
    Path | None,
    typer.Option(
        "--manifests",
        metavar="DIR",
        help="Manifests that you know, and bundles of earlier audits, to name allowed hashes.",
    ),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither use nor keep logs of earlier audits."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The options that say where to ask, as the user wrote them. `at` is Unix seconds.

    `log_cache` is the file that keeps chain logs between audits, None for none; `past` says whose
    logs are asked for, nobody's by default, `patience` how many seconds that may take.
    """

    at: int
    gateways: tuple[str, ...] = ()
    rpc_urls: tuple[str, ...] = ()
    explorer_urls: tuple[str, ...] = ()
    kms: str = ""
    pccs_url: str = ""
    unsafe_root: Path | None = None
    trust_bundle: str = ""
    manifests: Path | None = None
    log_cache: Path | None = None
    past: "Past | None" = None
    patience: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A bundle, what is asked about it, and how the user called it."""

    target: str
    question: "Question"
    bundle: "Bundle"

    def report(self, policy: "Policy") -> "Report":
        """The audit of it."""
        from verifier.audit import audit_bundle  # noqa: PLC0415

        return audit_bundle(self.bundle, self.target, self.question, policy)

    def cases(self, report: "Report") -> "Iterator[tuple[SubjectReport, Case]]":
        """Every attester of the report, with its evidence."""
        from verifier.checks.case import Case  # noqa: PLC0415
        from verifier.evidence.json_rpc import Exchanges  # noqa: PLC0415
        from verifier.evidence.subject import read_subject  # noqa: PLC0415

        exchanges = Exchanges(self.bundle)
        for subject in report.subjects:
            evidence = read_subject(self.bundle, subject.name)
            yield subject, Case(evidence, self.question, exchanges)


def log_cache() -> Path:
    """Where the logs of finalized blocks are kept for this user."""
    from verifier.collection import default_log_cache  # noqa: PLC0415

    return default_log_cache()


def when(at: str) -> int:
    """The time of judgement: the one named, else the present. Raises PolicyError."""
    if not at:
        return int(time.time())
    from verifier.cli.question import moment  # noqa: PLC0415

    return moment(at)


def with_past(reach: Reach, *, no_cache: bool) -> Reach:
    """The same, and the logs of the app's contracts too."""
    from verifier.collection import Past  # noqa: PLC0415

    return replace(reach, past=Past.APP, log_cache=None if no_cache else log_cache())


def names_file(text: str) -> bool:
    """Whether an argument means a file or a directory, rather than something on the network."""
    if "://" in text:
        return False
    try:
        exists = Path(text).exists()
    except (OSError, ValueError):
        exists = False
    return exists or "/" in text or "\\" in text or _FILE.fullmatch(text) is not None


def gather(text: str, reach: Reach) -> Gathered:
    """The evidence that a TARGET names: a bundle as it is, anything else from the network.

    Raises PolicyError for what names nothing, EvidenceError for a bundle that cannot be read.
    """
    from verifier.checks.case import Question  # noqa: PLC0415
    from verifier.cli import question as asked  # noqa: PLC0415
    from verifier.cli.known_manifests import read_known  # noqa: PLC0415
    from verifier.cli.main import COMMANDS  # noqa: PLC0415
    from verifier.cli.target import parse_target  # noqa: PLC0415
    from verifier.evidence import bundle as bundles  # noqa: PLC0415

    target = parse_target(text, frozenset(COMMANDS))
    given = bundles.load(target.bundle) if target.bundle is not None else None
    if given is None and reach.trust_bundle:
        raise PolicyError("--trust-bundle needs a bundle", hint="name one as the TARGET")
    reference = asked.reference_values(reach.unsafe_root)
    known = read_known(reach.manifests, reference)
    question = Question(
        app_id=target.app_id,
        reference=reference,
        at=reach.at,
        trusted=given is None or asked.vouched(given, reach.trust_bundle),
        kms=asked.named_kms(reach.kms, reference),
        manifests=known.names,
        sightings=known.sightings,
    )
    bundle = given if given is not None else _collected(target, question, reach)
    return Gathered(target=target.text, question=question, bundle=bundle)


def _collected(target: "Target", question: "Question", reach: Reach) -> "Bundle":
    from verifier.cli import question as asked  # noqa: PLC0415
    from verifier.cli.output import progress, warn  # noqa: PLC0415
    from verifier.collection import Past, Sources, collect_evidence  # noqa: PLC0415

    sources = Sources(
        guests=(target.guest,) if target.guest and not reach.gateways else (),
        domain=target.domain,
        gateways=tuple(asked.gateway_url(item) for item in reach.gateways),
        rpc_urls=tuple(asked.rpc_endpoint(item) for item in reach.rpc_urls),
        explorer_urls=tuple(asked.explorer(item) for item in reach.explorer_urls),
        pcs_url=asked.plain_url(reach.pccs_url, "--pccs-url") if reach.pccs_url else "",
        log_cache=reach.log_cache,
        past=reach.past or Past.NONE,
        patience=reach.patience,
    )
    return collect_evidence(question, sources, lambda: int(time.time()), progress, warn)
