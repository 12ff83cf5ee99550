"""manifest.rules: the findings about the measured manifest, under a policy."""

from hashlib import sha256
from typing import Any

import pytest

from tests.policy.policies import DOUBTFUL, Load, judged, result, waiver, with_compose
from tests.worlds.audited import Audited, audit
from verifier.lab.knobs import Knobs
from verifier.lab.rpc import RpcFault
from verifier.model.result import Requirement, SkipKind, Status, Verdict
from verifier.policy.policy import load_policy

SILENCING = """\
# dstack-audit: ignore-file
# verify: disable=all
# dstack-audit: ignore IMG-001
services:
  web:
    image: ${IMAGE}  # dstack-audit: ignore[IMG-001]  # noqa: IMG-001
"""


def rules(audited: Audited) -> tuple[Status, Verdict]:
    return result(audited.report).status, audited.report.verdict


def test_an_honest_manifest_passes(honest: Audited) -> None:
    assert rules(honest) == (Status.PASS, Verdict.AFFIRMING)
    assert {finding.severity for finding in honest.report.findings} <= {"info", "low"}
    assert "not evaluable" not in result(honest.report).summary


def test_high_and_medium_findings_are_a_warning(doubtful: Audited) -> None:
    assert rules(doubtful) == (Status.WARN, Verdict.WARNING)
    severities = [finding.severity for finding in doubtful.report.findings]
    order = ["critical", "high", "medium", "low", "info"]
    assert severities == sorted(severities, key=order.index)
    assert severities[0] in ("high", "medium")


def test_a_critical_finding_fails() -> None:
    edit = with_compose("services:\n  web:\n    image: ${IMAGE}\n", allowed_envs=["IMAGE"])
    audited = audit(Knobs(edit_manifest=edit))
    assert rules(audited) == (Status.FAIL, Verdict.CONTRAINDICATED)
    assert result(audited.report).reason.startswith("IMG-001 (web)")
    assert audited.report.findings[0].rule == "IMG-001"


def test_a_critical_finding_that_rests_on_what_is_unknown_is_missing_evidence() -> None:
    def edit(manifest: dict[str, Any]) -> dict[str, Any]:
        opened = with_compose("services:\n  web:\n    image: ${IMAGE}\n")(manifest)
        return {key: value for key, value in opened.items() if key != "allowed_envs"}

    report = audit(Knobs(os_image="self-built", edit_manifest=edit)).report
    critical = [finding for finding in report.findings if finding.severity == "critical"]
    assert critical
    assert all(finding.conditional for finding in critical)
    assert result(report).skip_kind is SkipKind.MISSING_EVIDENCE
    assert critical[0].rule in result(report).reason
    assert report.verdict is not Verdict.AFFIRMING


def silenced(manifest: dict[str, Any]) -> dict[str, Any]:
    inside = {"baseline": ["IMG-001"], "waivers": [{"check": "manifest.rules", "rule": "IMG-001"}]}
    return with_compose(SILENCING, allowed_envs=["IMAGE"], **inside)(manifest)


def test_nothing_inside_of_the_manifest_silences_a_rule() -> None:
    audited = audit(Knobs(edit_manifest=silenced))
    assert rules(audited) == (Status.FAIL, Verdict.CONTRAINDICATED)
    assert "IMG-001" in {finding.rule for finding in audited.report.findings}


@pytest.mark.parametrize(
    "compose",
    ["services: [", "", "services:\n  web: {}\n  web: {}\n", "services:\n\tweb: 1\n", "[MASKED]"],
)
def test_what_cannot_be_read_never_passes(compose: str, written: Load) -> None:
    audited = audit(Knobs(edit_manifest=with_compose(compose)))
    found = result(audited.report)
    assert found.status is Status.ERROR
    assert "not evaluable" in found.summary
    assert "crashed" not in found.reason
    assert audited.report.verdict is Verdict.NONE
    required = written('[checks]\n"manifest.rules" = "required"\n')
    assert judged(audited, required).verdict is Verdict.NONE


def test_without_the_manifest_it_is_a_skip() -> None:
    audited = audit(Knobs(public_tcbinfo=False))
    found = result(audited.report)
    assert (found.status, found.skip_kind) == (Status.SKIP, SkipKind.BLOCKED)
    assert audited.report.findings == ()


def test_another_manifest_than_the_measured_one_is_not_judged() -> None:
    knobs = Knobs(edit_served_manifest=lambda text: text.replace("read_only", "privileged"))
    found = result(audit(knobs).report)
    assert (found.status, found.skip_kind) == (Status.SKIP, SkipKind.BLOCKED)


def test_a_policy_rates_a_rule_otherwise(doubtful: Audited, written: Load) -> None:
    counted = {f.rule for f in doubtful.report.findings if f.severity in ("high", "medium")}
    lenient = written("[rules]\n" + "".join(f'"{rule}" = "low"\n' for rule in counted))
    assert judged(doubtful, lenient).verdict is Verdict.AFFIRMING
    strict = written(f'[rules]\n"{min(counted)}" = "critical"\n')
    report = judged(doubtful, strict)
    assert report.verdict is Verdict.CONTRAINDICATED
    assert (report.findings[0].rule, report.findings[0].severity) == (min(counted), "critical")
    assert len({lenient.digest, strict.digest, load_policy("baseline").digest}) == 3


LAB = "registry.lab.invalid"


@pytest.mark.parametrize(
    "images",
    [
        f'registries = ["{LAB}"]',
        f'repositories = ["{LAB}/lab/web-nginx"]',
        f'repositories = ["{LAB}/lab/*"]',
        f'registries = ["docker.io"]\nrepositories = ["{LAB}/lab/web-nginx"]',
    ],
)
def test_allowed_images_may_run(doubtful: Audited, written: Load, images: str) -> None:
    report = judged(doubtful, written(f"[images]\n{images}\n"))
    assert result(report).status is Status.WARN
    assert result(report).requirement is Requirement.REQUIRED
    assert report.findings == doubtful.report.findings


@pytest.mark.parametrize(
    "images",
    [
        'registries = ["docker.io"]',
        f'repositories = ["{LAB}/lab/we"]',
        f'repositories = ["{LAB}/la/*"]',
        f'repositories = ["{LAB}/lab/web/*"]',
    ],
)
def test_no_other_images_may_run(doubtful: Audited, written: Load, images: str) -> None:
    report = judged(doubtful, written(f"[images]\n{images}\n"))
    found = report.findings[0]
    assert (found.rule, found.location.pointer) == (
        "policy.images",
        "/docker_compose_file/services/web/image",
    )
    assert result(report).status is Status.FAIL


def test_a_service_that_names_no_image_is_shown_itself(written: Load) -> None:
    audited = audit(Knobs(edit_manifest=with_compose("services:\n  web:\n    build: .\n")))
    report = judged(audited, written('[images]\nregistries = ["docker.io"]\n'))
    shown = {item.location.pointer for item in report.findings if item.rule == "policy.images"}
    assert shown == {"/docker_compose_file/services/web"}


@pytest.mark.parametrize(
    "form", [":v1.2.3", ":latest", "", f"@sha256:{sha256(b'web').hexdigest()}"]
)
def test_whatever_pins_it_an_image_is_allowed_by_where_it_is_from(form: str, written: Load) -> None:
    compose = f"services:\n  web:\n    image: {LAB}/lab/web{form}\n"
    audited = audit(Knobs(edit_manifest=with_compose(compose)))
    report = judged(audited, written(f'[images]\nregistries = ["{LAB}"]\n'))
    assert "policy.images" not in {finding.rule for finding in report.findings}


@pytest.mark.parametrize(
    "compose",
    [
        "services:\n  web:\n    build: .\n    image: registry.lab.invalid/lab/web\n",
        "services:\n  web:\n    image: ${WEB}\n",
        "services:\n  web:\n    image: web\n",
        "services:\n  web:\n    image: REGISTRY.lab.invalid.evil.example/lab/web:1\n",
        "include: [other.yaml]\n" + DOUBTFUL,
        DOUBTFUL + "    volumes: [{type: image, source: 'docker.io/a/b:1', target: /x}]\n",
        DOUBTFUL + "    pre_start: [{image: 'docker.io/a/b:1', command: x}]\n",
        "services:\n  web:\n    provider: {type: other}\n",
    ],
)
def test_an_image_that_may_be_another_is_not_allowed(compose: str, written: Load) -> None:
    audited = audit(Knobs(edit_manifest=with_compose(compose)))
    report = judged(audited, written('[images]\nregistries = ["registry.lab.invalid"]\n'))
    assert "policy.images" in {finding.rule for finding in report.findings}
    assert result(report).status is Status.FAIL


def test_where_an_image_that_is_not_allowed_is_named(written: Load) -> None:
    built = "services:\n  web:\n    build: .\n"
    for compose, line in ((DOUBTFUL, 3), (built, 2)):
        audited = audit(Knobs(edit_manifest=with_compose(compose)))
        report = judged(audited, written('[images]\nregistries = ["docker.io"]\n'))
        (found,) = (item for item in report.findings if item.rule == "policy.images")
        assert found.location.line == line


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"docker pull {LAB}/lab/web:1", ""),
        ("docker pull docker.io/lab/web:1", "it comes from docker.io/lab/web"),
        (f"docker pull {LAB}/lab/$NAME", f"the image {LAB}/lab/$NAME can be anything"),
        ("docker load -i x.tar", "it can be any"),
    ],
)
def test_an_image_that_a_script_gets(command: str, message: str, written: Load) -> None:
    audited = audit(Knobs(edit_manifest=with_compose(DOUBTFUL, pre_launch_script=command)))
    report = judged(audited, written(f'[images]\nregistries = ["{LAB}"]\n'))
    found = [item.message for item in report.findings if item.rule == "policy.images"]
    assert found == ([f"`{command}` of a script: {message}"] if message else [])


def test_a_waived_finding_stays_and_does_not_count(doubtful: Audited, written: Load) -> None:
    counted = sorted({f.rule for f in doubtful.report.findings if f.severity in ("high", "medium")})
    text = "".join(waiver(doubtful, id=f"W-{rule}", rule=rule) for rule in counted)
    report = judged(doubtful, written(text))
    assert (result(report).status, report.verdict) == (Status.PASS, Verdict.AFFIRMING)
    assert "waived" in result(report).summary
    for finding in report.findings:
        assert ("[waived until 2027-01-01" in finding.message) == (finding.rule in counted)
        assert finding.severity == next(
            item.severity for item in doubtful.report.findings if item.rule == finding.rule
        )


def test_a_rule_that_a_policy_weighs_low_may_go_unjudged(written: Load) -> None:
    audited = audit(Knobs(rpc_faults={"a": RpcFault.ERROR, "b": RpcFault.ERROR}))
    unjudged = ("KMS-005", "KMS-006", "KMS-007", "KMS-008")
    assert f"4 rules of medium severity or worse could not be judged ({', '.join(unjudged)})" in (
        result(audited.report).summary
    )
    for weight, skip in (("medium", SkipKind.MISSING_EVIDENCE), ("low", None)):
        policy = written("[rules]\n" + "".join(f'"{rule}" = "{weight}"\n' for rule in unjudged))
        found = result(judged(audited, policy))
        assert (found.skip_kind, "could not be judged" in found.summary) == (skip, bool(skip))
