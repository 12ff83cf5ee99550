"""The policy file: what it may say, what it extends, and that nothing is accepted in silence."""

from contextlib import nullcontext
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.policy.policies import Load, judged, result
from tests.worlds.audited import Audited, audit
from verifier.checks.catalogue import PLANNED
from verifier.errors import PolicyError
from verifier.lab.knobs import Knobs
from verifier.lab.world import build
from verifier.model.result import Basis, Requirement, SkipKind, Status, Verdict
from verifier.policy.appraisal import appraise
from verifier.policy.explain import effective_policy
from verifier.policy.policy import BUILT_IN, load_policy
from verifier.reference.values import embedded

WORKFLOW = "https://github.com/org/app/.github/workflows/release.yml@refs/heads/main"
EVERYTHING = f"""\
[identity]
kms_signed = true
[endpoint]
named = true
[os]
releases = ["0.5.8", "0.5.9"]
[rules]
"NET-007" = "low"
[images]
registries = ["ghcr.io"]
repositories = ["docker.io/library/nginx", "quay.io/org/*"]
[signers]
workflows = ["{WORKFLOW}"]
[governance]
notice_days = 7
owners = ["0x{"ab" * 20}"]
[manifest]
not_before = 2026-03-01
[platform]
ppid = ["{"55" * 16}"]
proof_of_cloud = "signed"
proof_of_cloud_keys = ["{"66" * 32}"]
proof_of_cloud_days = 7
[snp]
min_tcb = {{ boot_loader = 4, microcode = 213 }}
[expect]
device = ["{"11" * 32}"]
kms = ["8453:0x{"33" * 20}"]
[[waivers]]
id = "W-1"
check = "manifest.rules"
rule = "ENV-001"
scope = "{"22" * 20}"
reason = "a \\"quoted\\" reason with a back\\\\slash"
owner = "ops"
expires = 2026-12-31
[[reviews]]
requirement = 2
compose_hash = "{"44" * 32}"
reason = "read at its commit"
reviewer = "ops"
expires = 2026-12-31
"""


def test_every_key_is_part_of_the_digest(written: Load) -> None:
    whole = written(EVERYTHING)
    lines = EVERYTHING.splitlines(keepends=True)
    droppable = [n for n, line in enumerate(lines[:18]) if " = " in line]
    digests = {written("".join(lines[:n] + lines[n + 1 :])).digest for n in droppable}
    assert len(digests | {whole.digest}) == len(droppable) + 1


@pytest.mark.parametrize("name", [*BUILT_IN, "everything"])
def test_the_effective_policy_is_the_same_policy(written: Load, tmp_path: Path, name: str) -> None:
    policy = written(EVERYTHING) if name == "everything" else load_policy(name)
    path = tmp_path / "effective.toml"
    path.write_text(effective_policy(policy), encoding="utf-8")
    assert load_policy(str(path)) == policy
    assert load_policy(str(path)).digest == policy.digest


@pytest.mark.parametrize(
    "written_as", [r"\u00e9", r"\U0001F680", r"\u007f", r"a \"b\" \\c", r"\t", r"\u202e"]
)
def test_the_effective_policy_keeps_every_letter(
    written: Load, tmp_path: Path, written_as: str
) -> None:
    policy = written(REVIEW.replace('"read"', f'"read {written_as}"'))
    path = tmp_path / "effective.toml"
    path.write_text(effective_policy(policy), encoding="utf-8")
    assert load_policy(str(path)).reviews == policy.reviews


KEY = "66" * 32
PLACE = f"[platform]\nproof_of_cloud = 'signed'\nproof_of_cloud_keys = ['{KEY}']\n"
WAIVER = f"""\
[[waivers]]
id = "W-1"
check = "manifest.rules"
scope = "{"22" * 20}"
reason = "read"
owner = "ops"
expires = 2026-12-31
"""
REVIEW = f"""\
[[reviews]]
requirement = 2
compose_hash = "{"44" * 32}"
reason = "read"
reviewer = "ops"
expires = 2026-12-31
"""

ACCOUNT = "0x2f83172A49584C017F2B256F0FB2Dca14126Ba9C"
MISTYPED = ACCOUNT.replace("2f83", "2f38")
CURVE_KEY = build().kms.ca_spki.hex()
CA_KEY = next(row.ca_spki for row in embedded().kms if row.ca_spki)

REFUSED = {
    "review-of-nothing": REVIEW.replace(f'compose_hash = "{"44" * 32}"\n', ""),
    "review-of-any-manifest": REVIEW.replace("44" * 32, "*"),
    "review-of-no-requirement": REVIEW.replace("= 2\n", "= 8\n"),
    "review-of-half-a-requirement": REVIEW.replace("= 2\n", "= 2.5\n"),
    "review-of-a-truth": REVIEW.replace("= 2\n", "= true\n"),
    "waiver-of-no-name": WAIVER.replace('"W-1"', '"W 1"'),
    "review-that-holds-for-ever": REVIEW.replace("expires = 2026-12-31\n", ""),
    "review-by-nobody": REVIEW.replace('"ops"', '" "'),
    "review-until-text": REVIEW.replace("2026-12-31", '"2026-12-31"'),
    "review-with-more": REVIEW + 'scope = "x"\n',
    "ppid-of-another-size": f"[platform]\nppid = ['{'55' * 15}']\n",
    "ppid-of-none": "[platform]\nppid = []\n",
    "place-by-anybody": "[platform]\nproof_of_cloud = 'signed'\n",
    "place-by-word": f"[platform]\nproof_of_cloud = 'stated'\nproof_of_cloud_keys = ['{KEY}']\n",
    "place-keys-unused": f"[platform]\nproof_of_cloud_keys = ['{KEY}']\n",
    "place-key-of-no-kind": PLACE.replace(KEY, "66" * 31),
    "place-key-of-another-form": PLACE.replace(KEY, f"302a300506032b6570032100{KEY}"),
    "place-key-of-another-curve": PLACE.replace(KEY, CURVE_KEY),
    "place-key-not-hex": PLACE.replace(KEY, "zz"),
    "place-of-any-age": PLACE + "proof_of_cloud_days = -1\n",
    "snp-of-no-part": "[snp]\nmin_tcb = {}\n",
    "snp-part-misspelt": "[snp]\nmin_tcb = { bootloader = 4 }\n",
    "snp-part-over-a-byte": "[snp]\nmin_tcb = { snp = 256 }\n",
    "snp-part-as-text": "[snp]\nmin_tcb = { snp = '4' }\n",
    "snp-as-number": "[snp]\nmin_tcb = 4\n",
    "floor-as-text": '[manifest]\nnot_before = "2026-03-01"\n',
    "floor-with-time": "[manifest]\nnot_before = 2026-03-01T00:00:00Z\n",
    "floor-misspelt": "[manifest]\nnotbefore = 2026-03-01\n",
    "reviews-as-table": "[reviews]\nrequirement = 2\n",
    "unknown-section": "[image]\n",
    "section-as-number": "governance = 5\n",
    "unknown-images-key": "[images]\nregistry = ['ghcr.io']\n",
    "unknown-os-key": "[os]\nversions = ['0.5.8']\n",
    "no-registry": "[images]\nregistries = []\n",
    "registry-with-path": "[images]\nregistries = ['ghcr.io/org']\n",
    "registry-of-no-host": "[images]\nregistries = ['library']\n",
    "short-repository": "[images]\nrepositories = ['nginx']\n",
    "registry-as-repository": "[images]\nrepositories = ['ghcr.io']\n",
    "every-official-image": "[images]\nrepositories = ['docker.io/*']\n",
    "repository-with-tag": "[images]\nrepositories = ['ghcr.io/org/app:1']\n",
    "repository-pattern": "[images]\nrepositories = ['ghcr.io/*/app']\n",
    "long-number": "name = " + "1" * 5000,
    "nesting": "name = " + "[" * 5000,
    "everything": "[images]\nrepositories = ['*']\n",
    "no-workflow": "[signers]\nworkflows = ['https://github.com/org/app']\n",
    "no-source": "[signers]\nsources = ['https://github.com/org/*']\n",
    "workflow-pattern": f"[signers]\nworkflows = ['{WORKFLOW}*']\n",
    "no-owner": "[governance]\nowners = ['0x12']\n",
    "notice": "[governance]\nnotice_days = -1\n",
    "unknown-rule": "[rules]\n'IMG-999' = 'low'\n",
    "unknown-severity": "[rules]\n'IMG-001' = 'off'\n",
    "list-as-severity": "[rules]\n'IMG-001' = ['low']\n",
    "no-release": "[os]\nreleases = []\n",
    "release-is-no-list": "[os]\nreleases = '0.5.8'\n",
    "status-misspelt": "[tcb]\nstatuses = ['Uptodate']\n",
    "status-of-nobody": "[tcb]\nstatuses = []\n",
    "status-revoked": "[tcb]\nstatuses = ['UpToDate', 'Revoked']\n",
    "advisory-of-few-digits": "[tcb]\nreject_advisories = ['INTEL-SA-615']\n",
    "advisory-of-small-letters": "[tcb]\nreject_advisories = ['intel-sa-00615']\n",
    "advisory-of-a-list": "[tcb]\nreject_advisories = ['INTEL-SA-00615,INTEL-SA-00614']\n",
    "no-name": "name = ''\n",
    "number-as-name": "name = 5\n",
    "number-as-release": "[os]\nreleases = [5]\n",
    "blank-name": "name = ' \t'\n",
    "check-without-quotes": "[checks]\nhardware.tcb = 'required'\n",
    "rule-without-quotes": "[rules]\npolicy.images = 'low'\n",
    "owner-mistyped": f"[governance]\nowners = ['{MISTYPED}']\n",
    "kms-mistyped": f"[expect]\nkms = '8453:{MISTYPED}'\n",
    "kms-root-mistyped": f"[expect]\nkms = '{MISTYPED}'\n",
    "kms-of-no-chain": f"[expect]\nkms = '0:{ACCOUNT}'\n",
    "half-a-manifest-hash": f"[expect]\ncompose_hash = '{'11' * 16}'\n",
    "half-a-device": f"[expect]\ndevice = '{'11' * 8}'\n",
    "name-as-number": "name = 5\n",
    "release-as-number": "[os]\nreleases = [5]\n",
    "half-a-kms-key": f"[expect]\nkms = '{CA_KEY[:100]}'\n",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_mean_nothing_is_refused(written: Load, name: str) -> None:
    with pytest.raises(PolicyError):
        written(REFUSED[name])


TAKEN = (
    "[tcb]\nstatuses = ['UpToDate', 'SWHardeningNeeded', 'TDRelaunchAdvised']\n",
    "[tcb]\nreject_advisories = ['INTEL-SA-00615', 'INTEL-DOC-10000']\n",
    "name = 'release 1'\n",
    "[images]\nrepositories = ['ghcr.io/*', 'ghcr.io/org/*', 'docker.io/library/*']\n",
    "[checks]\n'hardware.tcb' = 'required'\n",
    f"[governance]\nowners = ['{ACCOUNT}']\n",
    f"[governance]\nowners = ['{MISTYPED.lower()}']\n",
    f"[expect]\nkms = '8453:{ACCOUNT}'\n",
    f"[expect]\nkms = '1:{ACCOUNT.lower()}'\n",
    f"[expect]\nkms = ['{ACCOUNT}', '{CA_KEY}', '{CA_KEY.upper()}']\n",
)


@pytest.mark.parametrize("text", TAKEN)
def test_what_is_written_well_is_taken(written: Load, text: str) -> None:
    written(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[expect]\napp_id = 'xyz'\n", r"policy .*\.toml: \[expect\] app_id 'xyz' is not 20 bytes"),
        ("[expect]\nkms = 8453\n", r"policy .*\.toml: \[expect\] kms is not a list"),
        ("[expect]\ndevice = []\n", r"policy .*\.toml: \[expect\] device: an empty list"),
        ("[tcb]\nstatuses = ['Uptodate']\n", r"policy .*\.toml: \[tcb\] statuses: 'Uptodate'"),
        (
            "[checks]\nhardware.tcb = 'required'\n",
            r"policy .*\.toml: \[checks\] hardware: .*quotes",
        ),
        (f"[expect]\nkms = '1:{MISTYPED}'\n", r"policy .*\.toml: \[expect\] kms .*capitals"),
        (f"[governance]\nowners = ['{MISTYPED}']\n", r"policy .*\.toml: owners: .*capitals"),
    ],
)
def test_a_mistake_is_said_with_its_file_and_key(written: Load, text: str, says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        written(text)


def test_what_extends_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    for base in ("absent.toml", ""):
        path.write_text(f'extends = "{base}"\n')
        with pytest.raises(PolicyError, match=rf"policy .*own\.toml: extends '{base}': "):
            load_policy(str(path))


def test_extends_is_relative_to_the_file(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    base = tmp_path / "team" / "base.toml"
    base.write_text('name = "team"\nextends = "strict"\n[os]\nreleases = ["0.5.8"]\n')
    (tmp_path / "app.toml").write_text('extends = "team/base.toml"\n[rules]\n"NET-007" = "low"\n')
    policy = load_policy(str(tmp_path / "app.toml"))
    assert policy.demands.os_releases == ("0.5.8",)
    assert policy.checks == load_policy("strict").checks
    assert policy.name == "app.toml"


@pytest.mark.parametrize("name", ["strict", "baseline"])
def test_no_other_policy_has_the_name_of_a_built_in_one(tmp_path: Path, name: str) -> None:
    named = tmp_path / "policy.toml"
    named.write_text(f'extends = "genuine"\nname = "{name}"\n')
    called = tmp_path / name
    called.write_text('extends = "genuine"\n')
    for path in (named, called):
        with pytest.raises(PolicyError, match=f"the name of the built-in {name}, and is another"):
            load_policy(str(path))
    called.write_text(f'extends = "{name}"\n')
    assert load_policy(str(called)) == load_policy(name)


@pytest.mark.parametrize(("over", "taken"), [(0, True), (1, False)])
def test_a_policy_file_is_as_large_as_the_limit_at_most(
    tmp_path: Path, over: int, *, taken: bool
) -> None:
    path = tmp_path / "policy.toml"
    text = 'extends = "baseline"\n#'
    path.write_text(text + "x" * ((1 << 20) + over - len(text)))
    with nullcontext() if taken else pytest.raises(PolicyError):
        load_policy(str(path))


@pytest.mark.parametrize("base", ["self.toml", "absent.toml", ".", "stage2"])
def test_extends_of_nothing_is_refused(tmp_path: Path, base: str) -> None:
    path = tmp_path / "self.toml"
    path.write_text(f'extends = "{base}"\n')
    with pytest.raises(PolicyError):
        load_policy(str(path))


def test_waivers_are_inherited(tmp_path: Path) -> None:
    waivers = EVERYTHING[EVERYTHING.index("[[waivers]]") :]
    (tmp_path / "base.toml").write_text(f'extends = "baseline"\n{waivers}')
    own = waivers.replace("W-1", "W-2")
    (tmp_path / "app.toml").write_text(f'extends = "base.toml"\n{own}')
    policy = load_policy(str(tmp_path / "app.toml"))
    assert [waiver.id for waiver in policy.demands.waivers] == ["W-1", "W-2"]


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("[signers]\nworkflows = ['{}']", "provenance.images"),
        ("[governance]\nnotice_days = 7", "authorization.governance"),
    ],
)
def test_a_demand_that_no_check_decides_counts_as_missing(
    honest: Audited, written: Load, text: str, check: str
) -> None:
    policy = written(f"[checks]\n{text.format(WORKFLOW)}\n")
    (subject,) = honest.report.subjects
    others = [item for item in subject.checks if item.id != check]
    claims = {claim.name: claim for claim in subject.claims}
    assert policy.undecided(item.id for item in subject.checks) == ()
    assert policy.undecided(item.id for item in others) == (check,)
    assert appraise(subject.checks, claims, written(""), 0)[0] is not Verdict.NONE
    assert appraise(others, claims, policy, 0)[0] is Verdict.NONE


@pytest.mark.parametrize(
    ("asked", "verdict"), [("required", Verdict.NONE), ("advisory", Verdict.WARNING)]
)
def test_a_check_that_does_not_exist_yet_is_missing(
    honest: Audited,
    written: Load,
    asked: str,
    verdict: Verdict,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    absent = "endpoint.planned"
    monkeypatch.setitem(PLANNED, absent, "What nobody looks at yet.")
    report = judged(honest, written(f'[checks]\n"{absent}" = "{asked}"\n'))
    assert report.verdict is verdict


def test_only_named_releases_may_run(honest: Audited, written: Load) -> None:
    release = result(honest.report, "boot.image").summary
    named = next(
        claim.value["release"]
        for claim in honest.report.subjects[0].claims
        if claim.name == "os_image" and isinstance(claim.value, dict)
    )
    assert str(named) in release
    allowed = judged(honest, written(f'[os]\nreleases = ["{named}"]\n'))
    assert allowed.verdict is Verdict.AFFIRMING
    refused = judged(honest, written('[os]\nreleases = ["0.5.9"]\n'))
    assert result(refused, "boot.image").status is Status.FAIL
    assert refused.verdict is Verdict.CONTRAINDICATED


def test_an_unknown_image_is_none_of_the_named_releases(written: Load) -> None:
    audited = audit(Knobs(os_image="self-built"))
    report = judged(audited, written('[os]\nreleases = ["0.5.9"]\n'))
    assert result(report, "boot.image").status is Status.SKIP
    assert report.verdict in (Verdict.NONE, Verdict.CONTRAINDICATED)


@pytest.mark.parametrize(
    ("name", "requirement"),
    [
        ("genuine", Requirement.NOT_ASKED),
        ("baseline", Requirement.ADVISORY),
        ("strict", Requirement.REQUIRED),
        ("stage1", Requirement.REQUIRED),
    ],
)
def test_what_the_built_in_policies_ask_of_the_manifest(
    name: str, requirement: Requirement
) -> None:
    assert load_policy(name).requirement("manifest.rules") is requirement


@pytest.mark.parametrize(
    ("text", "decides"),
    [
        (f"[expect]\ncompose_hash = '{'00' * 32}'\n", "application.manifest"),
        (f"[expect]\nos_image_hash = '{'00' * 32}'\n", "boot.image"),
        (f"[expect]\ndevice = '{'00' * 32}'\n", "hardware.tcb"),
        ("[os]\nreleases = ['0.0.0']\n", "boot.image"),
        (f"[expect]\napp_id = '{'00' * 20}'\n", "application.identity"),
    ],
    ids=["manifest", "image", "device", "release", "app"],
)
def test_one_check_alone_decides_what_is_expected(
    honest: Audited, written: Load, text: str, decides: str
) -> None:
    subject = honest.report.subjects[0]
    claims = {claim.name: claim for claim in subject.claims}
    _, checks = appraise(subject.checks, claims, written(text), honest.world.now)
    assert {item.id for item in checks if item.status is Status.FAIL} == {decides}
    said = {name: replace(claim, basis=Basis.ASSERTED) for name, claim in claims.items()}
    _, unproven = appraise(subject.checks, said, written(text), honest.world.now)
    lacking = {item.id for item in unproven if item.skip_kind is SkipKind.MISSING_EVIDENCE}
    assert lacking - {item.id for item in subject.checks if item.status is Status.SKIP} == {decides}
