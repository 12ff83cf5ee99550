"""Where a command's evidence comes from, when it is not a file of the user's own: a bundle, or the
network, asked as an audit asks it."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from verifier.cli.files import near_file
from verifier.errors import UsageError

if TYPE_CHECKING:
    from verifier.api import Audit, Past, Question, Sources
    from verifier.cli.options import Reach
    from verifier.cli.target import Target
    from verifier.evidence.bundle import Bundle
    from verifier.model.identifiers import AppId

_TIMEOUT: Final = 180.0
"""Seconds that all sources together may take, where the user names no other number."""


def gather(
    text: "str | Target",
    reach: "Reach",
    *,
    past: "Past",
    bundle: Path | None = None,
    app_id: "AppId | None" = None,
    timeout: float = _TIMEOUT,
    save: Path | None = None,
    compare: list[str] | None = None,
) -> "Audit":
    """The evidence about a TARGET and what is asked of it: that of a bundle, as TARGET or beside
    it, else from the network.

    `app_id` is the one asked for where TARGET names none. `past` says whose logs are asked for,
    and `timeout` how many seconds all sources may take where the user does not. Without `--at`,
    what was collected is judged as of the end of the collection. Evidence is kept at `save` where
    the collection is interrupted. `compare` names dashboards and their reports. Raises UsageError
    for what names nothing, EvidenceError for a bundle that cannot be read, KeyboardInterrupt.
    """
    from verifier.api import Audit  # noqa: PLC0415 - help needs none of it
    from verifier.cli import question as asked  # noqa: PLC0415
    from verifier.evidence import bundle as bundles  # noqa: PLC0415

    target = _parsed(text, reach, bundle)
    given = bundles.load(target.bundle) if target.bundle is not None else None
    files, urls = asked.dashboards(compare or (), offline=given is not None)
    question = asked_of_any(reach)
    question = replace(
        question,
        app_id=target.app_id or app_id,
        trusted=given is None or asked.vouched(given, reach.trust_bundle),
        endpoint=question.endpoint or target.endpoint,
        compared=files,
    )
    if given is None:
        sources = sources_of(target, question, reach, past, reach.timeout or timeout)
        sources = replace(sources, dashboards=urls)
        given = _collected(question, sources, save)
        question = replace(question, at=reach.judged_at)
    return Audit(target=target.text, question=question, bundle=given)


def asked_of_any(reach: "Reach") -> "Question":
    """What the options ask, whatever the app: no app is named, and nobody vouches for evidence.
    Raises UsageError."""
    from verifier.api import Question  # noqa: PLC0415 - help needs none of it
    from verifier.cli import question as asked  # noqa: PLC0415
    from verifier.cli.known_manifests import read_known  # noqa: PLC0415
    from verifier.evidence.td.report_data import parse_binding  # noqa: PLC0415

    reference = asked.with_images(asked.reference_values(reach.unsafe_root), reach.os_image or ())
    if reach.project is not None:
        lent = (*reach.project.of("--rpc-url"), *reach.project.of("--explorer-url"))
        reference = replace(reference, lent=lent)
    known = read_known(reach.manifests, reference)
    _, implied = asked.challenge_url(reach.challenge_url, reach.challenge)
    return Question(
        app_id=None,
        reference=reference,
        at=reach.judged_at,
        trusted=False,
        challenge=asked.challenge_bytes(reach.challenge),
        binds=(*map(parse_binding, reach.bind or ()), *implied),
        kms=asked.named_kms(reach.kms, reference),
        kms_code=asked.kms_code(reach.kms_code or []),
        endpoint=asked.serving_endpoint(reach.endpoint),
        gateways=asked.gateway_hosts(reach.gateway or ()),
        ct_searches=tuple(asked.plain_url(x, "--ct-url") for x in reach.ct_url or ()),
        instances=asked.instance_ids(reach.instance or []),
        manifests=known.names,
        deploy_paths=known.paths,
        sightings=known.sightings,
        second_opinion=reach.second_opinion,
        project=reach.project,
    )


def _parsed(text: "str | Target", reach: "Reach", bundle: Path | None) -> "Target":
    """What TARGET names, with the bundle that was named beside it. Raises UsageError."""
    from verifier.cli.main import COMMANDS  # noqa: PLC0415
    from verifier.cli.target import parse_target  # noqa: PLC0415

    target = parse_target(text, frozenset(COMMANDS)) if isinstance(text, str) else text
    if target.bundle is not None and bundle is not None:
        raise UsageError("two bundles were named", hint="give the app id and one bundle")
    target = replace(target, bundle=bundle or target.bundle)
    if target.bundle is not None and not target.bundle.exists():
        raise UsageError(f"{target.bundle}: there is no such bundle", hint=near_file(target.bundle))
    if target.bundle is None:
        for option, wanted in (
            ("--offline", reach.offline),
            ("--trust-bundle", reach.trust_bundle),
        ):
            if wanted:
                raise UsageError(f"{option} needs a bundle", hint="name one: verify ./bundle")
    return target


def _collected(question: "Question", sources: "Sources", save: Path | None) -> "Bundle":
    """The evidence from its sources; where the user ends that, it is kept and KeyboardInterrupt
    raised."""
    from verifier.api import CollectionInterrupted, collect_evidence  # noqa: PLC0415
    from verifier.cli.clock import now  # noqa: PLC0415
    from verifier.cli.output import keep_interrupted  # noqa: PLC0415
    from verifier.cli.streams import progress, warn  # noqa: PLC0415

    try:
        return collect_evidence(question, sources, now, progress, warn)
    except CollectionInterrupted as interrupted:
        keep_interrupted(interrupted.bundle, save)
        raise


def sources_of(
    target: "Target", question: "Question", reach: "Reach", past: "Past", timeout: float
) -> "Sources":
    """Where to look, as the options say. Raises UsageError."""
    from verifier.api import Sources, default_log_cache  # noqa: PLC0415
    from verifier.cli import question as asked  # noqa: PLC0415

    return Sources(
        guests=() if reach.gateway else asked.instance_guests(target.guest, question.instances),
        domain=target.domain,
        proof=target.proof,
        gateways=tuple(asked.gateway_url(item) for item in reach.gateway or ()),
        instances=question.instances,
        rpc_urls=tuple(asked.rpc_endpoint(item) for item in reach.rpc_url or ()),
        explorer_urls=tuple(asked.explorer(item) for item in reach.explorer_url or ()),
        safe_urls=tuple(asked.plain_url(item, "--safe-url") for item in reach.safe_url or ()),
        challenge_url=asked.challenge_url(reach.challenge_url, reach.challenge)[0],
        kms_url=asked.plain_url(reach.kms_url, "--kms-url") if reach.kms_url else "",
        pcs_url=asked.plain_url(reach.pccs_url, "--pccs-url") if reach.pccs_url else "",
        log_cache=None if reach.no_cache else default_log_cache(),
        # A vendor's account is of the apps in its cloud.
        cloud=not target.alone,
        past=past,
        timeout=timeout,
    )
