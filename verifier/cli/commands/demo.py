"""`verify demo`: the whole audit on a simulated world, over HTTP on loopback, offline."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from verifier.cli.output import Format, exit_code, progress, write_report
from verifier.errors import PolicyError
from verifier.model.identifiers import format_time


def run_demo(
    form: Annotated[Format, typer.Option("--format", help="Form of the report.")] = Format.TERMINAL,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the report to this file.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(help="Keep the bundle and the simulated world's reference values here."),
    ] = None,
    policy: Annotated[str, typer.Option(help="A built-in policy or a file.")] = "baseline",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="The verdict line alone.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="More detail (repeatable).")
    ] = 0,
) -> None:
    """Audit a simulated app over HTTP, without any network but loopback.

    The hardware, the KMS, the contracts and the app are made up, and the report says so on every
    line that depends on them: nothing about real hardware follows from it.

    Example:

      verify demo --format markdown -o demo.md
    """
    from verifier.audit import audit_bundle  # noqa: PLC0415
    from verifier.cli.question import simulated_question  # noqa: PLC0415
    from verifier.collection import Past, Sources, collect_evidence  # noqa: PLC0415
    from verifier.evidence.bundle import save as save_bundle  # noqa: PLC0415
    from verifier.lab.serve import serve  # noqa: PLC0415
    from verifier.lab.world import build  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    if save is not None and save.exists():
        raise PolicyError(f"--save {save}: it exists already", hint="name a new directory")
    world = build()
    question = simulated_question(world.app_id, world.reference(), world.now)
    with serve(world.respond) as served:
        sources = Sources(routes=served.routes, cloud=False, past=Past.GATEWAY)
        bundle = collect_evidence(question, sources, lambda: world.now, progress)
    report = audit_bundle(bundle, world.app_id, question, load_policy(policy))
    write_report(report, form, output, verbose=verbose, quiet=quiet)
    if save is not None:
        save_bundle(bundle, save / "bundle")
        (save / "reference.json").write_bytes(world.reference())
        print(
            f"verify: repeat it offline with `verify {world.app_id} --bundle {save / 'bundle'} "
            f"--trust-bundle sha256:{bundle.digest} --at {format_time(world.now)} "
            f"--unsafe-root {save / 'reference.json'}`, and see the app's history with "
            f"`verify timeline {save / 'bundle'}` and the same options but --bundle",
            file=sys.stderr,
        )
    raise typer.Exit(exit_code(report))
