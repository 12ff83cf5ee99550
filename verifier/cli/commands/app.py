"""`verify app TARGET`: the whole audit."""

import time
from pathlib import Path
from typing import Annotated

import typer

from verifier.cli.gather import Manifests, NoCache, log_cache
from verifier.cli.output import Format, exit_code, progress, warn, write_report
from verifier.errors import PolicyError


def audit_app(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="App id, metadata URL, Trust Center URL, domain or bundle."
        ),
    ],
    policy: Annotated[
        str,
        typer.Option(
            help="genuine, baseline, strict, stage1 or a TOML file.", envvar="VERIFY_POLICY"
        ),
    ] = "baseline",
    form: Annotated[
        Format, typer.Option("--format", help="Form of the report.", envvar="VERIFY_FORMAT")
    ] = Format.TERMINAL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report to this file.")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Keep the evidence bundle: a new directory, or a .tar.")
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Audit this bundle instead of asking the network.")
    ] = None,
    trust_bundle: Annotated[
        str, typer.Option(metavar="DIGEST", help="Vouch for the bundle with this digest.")
    ] = "",
    at: Annotated[str, typer.Option(metavar="TIME", help="Judge as of this time (RFC 3339).")] = "",
    gateway: Annotated[
        list[str] | None,
        typer.Option(help="Gateway domain or URL to ask (repeatable).", envvar="VERIFY_GATEWAY"),
    ] = None,
    instance: Annotated[str, typer.Option(help="Audit this instance id only.")] = "",
    rpc_url: Annotated[
        list[str] | None,
        typer.Option(help="Ethereum endpoint (repeatable).", envvar="VERIFY_RPC_URL"),
    ] = None,
    explorer_url: Annotated[
        list[str] | None,
        typer.Option(
            help="Block explorer to hold the chain's logs against (repeatable).",
            envvar="VERIFY_EXPLORER_URL",
        ),
    ] = None,
    kms: Annotated[
        str, typer.Option(metavar="CHAIN:ADDRESS", help="A KMS contract that you trust.")
    ] = "",
    pccs_url: Annotated[
        str,
        typer.Option(help="Collateral service instead of Intel's.", envvar="VERIFY_PCCS_URL"),
    ] = "",
    challenge: Annotated[
        str, typer.Option(metavar="HEX", help="Report data, or a part of it, that you chose.")
    ] = "",
    expect_app_id: Annotated[list[str] | None, typer.Option(help="Expected app id.")] = None,
    expect_compose_hash: Annotated[
        list[str] | None, typer.Option(help="Expected manifest hash (repeatable).")
    ] = None,
    expect_os_image_hash: Annotated[
        list[str] | None, typer.Option(help="Expected OS image hash (repeatable).")
    ] = None,
    expect_device: Annotated[
        list[str] | None, typer.Option(help="Expected device id (repeatable).")
    ] = None,
    expect_image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=DIGEST",
            help="Expected image of a service or repository, by digest (repeatable).",
        ),
    ] = None,
    manifests: Manifests = None,
    no_cache: NoCache = False,
    unsafe_root: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Another trust anchor than Intel's. Said on every line."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Never ask the network; needs a bundle.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The verdict line alone.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="More detail (repeatable).")
    ] = 0,
) -> None:
    """Audit an app: collect its evidence, verify it, and report.

    Examples:

      verify APP_ID

      verify APP_ID --format markdown -o report.md --save evidence

      verify APP_ID --bundle evidence --trust-bundle sha256:DIGEST --at 2026-03-23T21:17:00Z

      verify https://APP_ID-8090.dstack-pha-prod9.phala.network/ --policy genuine
    """
    from verifier.audit import audit_bundle, known  # noqa: PLC0415
    from verifier.checks.case import Question  # noqa: PLC0415
    from verifier.cli import question as asked  # noqa: PLC0415
    from verifier.cli.known_manifests import read_known  # noqa: PLC0415
    from verifier.cli.main import COMMANDS  # noqa: PLC0415
    from verifier.cli.target import parse_target  # noqa: PLC0415
    from verifier.collection import Sources, collect_evidence  # noqa: PLC0415
    from verifier.evidence import bundle as bundles  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    named = parse_target(target, frozenset(COMMANDS))
    if named.bundle is not None and bundle is not None:
        raise PolicyError("two bundles were named", hint="give the app id and one --bundle")
    path = bundle or named.bundle
    if offline and path is None:
        raise PolicyError("--offline needs a bundle", hint="add --bundle DIR")
    if trust_bundle and path is None:
        raise PolicyError("--trust-bundle needs a bundle", hint="add --bundle DIR")
    if save is not None and save.exists():
        raise PolicyError(f"--save {save}: it exists already", hint="name a new directory or tar")
    reference = asked.reference_values(unsafe_root)
    expected = asked.one_app_id(expect_app_id)
    listed = read_known(manifests, reference)
    judged = known(load_policy(policy)).expecting(
        {
            "app_id": tuple(expect_app_id or ()),
            "compose_hash": tuple(expect_compose_hash or ()),
            "os_image_hash": tuple(expect_os_image_hash or ()),
            "device": tuple(expect_device or ()),
            "image": tuple(expect_image or ()),
        }
    )
    moment = asked.moment(at) if at else int(time.time())
    evidence = bundles.load(path) if path is not None else None
    question = Question(
        app_id=named.app_id or expected,
        reference=reference,
        at=moment,
        trusted=evidence is None or asked.vouched(evidence, trust_bundle),
        challenge=asked.challenge_bytes(challenge),
        kms=asked.named_kms(kms, reference),
        instance=asked.instance_id(instance),
        manifests=listed.names,
        sightings=listed.sightings,
    )
    if evidence is None:
        sources = Sources(
            guests=(asked.instance_guest(named.guest, instance),)
            if named.guest and not gateway
            else (),
            domain=named.domain,
            gateways=tuple(asked.gateway_url(item) for item in gateway or ()),
            instance=question.instance,
            rpc_urls=tuple(asked.rpc_endpoint(item) for item in rpc_url or ()),
            explorer_urls=tuple(asked.explorer(item) for item in explorer_url or ()),
            pcs_url=asked.plain_url(pccs_url, "--pccs-url") if pccs_url else "",
            log_cache=None if no_cache else log_cache(),
        )
        evidence = collect_evidence(question, sources, lambda: int(time.time()), progress, warn)
    report = audit_bundle(evidence, named.text, question, judged)
    unsaved = asked.save_bundle(evidence, save)
    write_report(report, form, output, verbose=verbose, quiet=quiet)
    if unsaved is not None:
        raise unsaved
    raise typer.Exit(exit_code(report))
