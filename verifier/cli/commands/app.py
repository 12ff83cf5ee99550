"""`verify app TARGET`: the whole audit."""

import typer

from verifier.cli.gather import gather
from verifier.cli.options import (
    BundlePath,
    Compare,
    Expected,
    PolicyName,
    Reach,
    Save,
    Target,
    Written,
    command,
)
from verifier.cli.output import (
    check_report_places,
    exit_code,
    save_bundle,
    say_how_to_repeat,
    write_report,
)


@command
def audit_app(
    *,
    target: Target,
    policy: PolicyName = "baseline",
    written: Written,
    save: Save = None,
    bundle: BundlePath = None,
    reach: Reach,
    expected: Expected,
    compare: Compare = None,
) -> None:
    """Audit an app: collect its evidence, verify it, and report.

    Examples:

      verify APP_ID

      verify APP_ID --format markdown -o report.md --save evidence

      verify APP_ID --bundle evidence --trust-bundle sha256:DIGEST --at 2026-03-23T21:17:00Z

      verify APP_ID --compare trust-center=report.json

      verify https://APP_ID-8090.dstack-pha-prod9.phala.network/ --policy genuine

      verify APP_ID --instance INSTANCE_ID --instance INSTANCE_ID

      verify http://localhost:8090 --expect-app-id APP_ID
    """
    from verifier.api import Past, known  # noqa: PLC0415
    from verifier.cli.question import one_app_id  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    check_report_places(written, save)
    judged = known(load_policy(policy)).expecting(expected.values)
    asked = one_app_id(expected.app_id)
    audit = gather(
        target, reach, past=Past.APP, bundle=bundle, app_id=asked, save=save, compare=compare
    )
    unsaved = save_bundle(audit.bundle, save)
    report = audit.report(judged)
    write_report(report, written)
    if save is not None and unsaved is None:
        say_how_to_repeat(report, save)
    if unsaved is not None:
        raise unsaved
    raise typer.Exit(exit_code(report))
