"""`verify demo`: the whole audit on a simulated world, over HTTP on loopback, offline."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from msgspec.structs import replace

from verifier.cli.options import Written, command
from verifier.cli.output import check_report_places, exit_code, write_report
from verifier.cli.streams import progress, warn
from verifier.model.identifiers import format_time


@command
def run_demo(
    *,
    written: Written,
    save: Annotated[
        Path | None,
        typer.Option(help="Keep the bundle and the simulated world's reference values here."),
    ] = None,
    policy: Annotated[str, typer.Option(help="A built-in policy or a file.")] = "baseline",
) -> None:
    """Audit a simulated app over HTTP, with no network except loopback.

    The hardware, the KMS, the contracts and the app are made up, and the report says so on every
    line that depends on them: nothing about real hardware follows from it.

    Example:

      verify demo --format markdown -o demo.md
    """
    from verifier.api import Audit, Past, Sources, collect_evidence  # noqa: PLC0415
    from verifier.cli.question import simulated_question  # noqa: PLC0415
    from verifier.evidence.bundle import save as save_bundle  # noqa: PLC0415
    from verifier.evidence.endpoint import parse_endpoint  # noqa: PLC0415
    from verifier.lab.reviewed import reviewed_policy  # noqa: PLC0415
    from verifier.lab.serve import serve  # noqa: PLC0415
    from verifier.lab.world import build  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    check_report_places(written, save)
    judged = load_policy(policy)
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    question = replace(question, endpoint=parse_endpoint(world.serving_host))
    with serve(world.respond) as served:
        sources = Sources(
            routes=served.routes, handshakes=world.handshake, cloud=False, past=Past.GATEWAY
        )
        bundle = collect_evidence(question, sources, lambda: world.now, progress)
    report = Audit(target=world.app_id, question=question, bundle=bundle).report(judged)
    write_report(report, written)
    if save is not None:
        save_bundle(bundle, save / "bundle")
        (save / "reference.json").write_bytes(world.reference())
        (save / "reviewed.toml").write_text(reviewed_policy(world), encoding="utf-8")
        words = [
            *(world.app_id, "--bundle", str(save / "bundle")),
            *("--trust-bundle", f"sha256:{bundle.digest}", "--at", format_time(world.now)),
            *("--unsafe-root", str(save / "reference.json"), "--endpoint", world.serving_host),
        ]
        warn("repeat it offline with:", shlex.join(["verify", *words]))
        warn("see the app's history with:", shlex.join(["verify", "timeline", *words]))
        reviewed = ["--policy", str(save / "reviewed.toml")]
        warn("assess its stage with:", shlex.join(["verify", "stage", *words, *reviewed]))
    raise typer.Exit(exit_code(report))
