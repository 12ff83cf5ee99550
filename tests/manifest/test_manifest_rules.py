"""Every rule reports its vector, and leaves its honest twin alone."""

import hashlib
from typing import Any

import pytest

from tests.manifest.vectors import (
    BY_SCRIPT,
    DIGEST,
    NEVER_EVALUABLE,
    NOT_ASKED,
    VECTORS,
    Case,
    app,
    config,
    env,
    kms,
    manifest,
    on_chain,
    owned,
    script,
)
from verifier.errors import EvidenceError
from verifier.manifest.audit import ManifestAudit, audit_compose_file, audit_manifest
from verifier.manifest.context import Context
from verifier.manifest.rules.catalogue import BY_ID, RULES
from verifier.model.result import Finding
from verifier.reference import prelaunch_scripts
from verifier.reference.env_classes import classify
from verifier.reference.values import embedded
from verifier.report.rule_docs import rule_pages


def audited(case: Case) -> ManifestAudit:
    return audit_manifest(case.raw, case.context)


def not_evaluable(case: Case) -> set[str]:
    return {item.rule for item in audited(case).not_evaluable}


def of(audit: ManifestAudit, rule: str) -> list[Finding]:
    return [finding for finding in audit.findings if finding.rule == rule]


def only(case: Case, rule: str) -> Finding:
    found = of(audited(case), rule)
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize("rule", sorted(VECTORS))
def test_a_rule_reports_its_vector(rule: str) -> None:
    assert of(audited(VECTORS[rule][0]), rule)


@pytest.mark.parametrize("rule", sorted(VECTORS))
def test_a_rule_leaves_its_twin_alone(rule: str) -> None:
    assert not of(audited(VECTORS[rule][1]), rule)


def test_every_rule_has_a_vector() -> None:
    assert set(VECTORS) | NEVER_EVALUABLE | NOT_ASKED | BY_SCRIPT == set(BY_ID)
    assert len(RULES) == len(BY_ID)


def test_rules_have_all_their_text() -> None:
    for rule in RULES:
        assert all((rule.title, rule.what, rule.why, rule.fix, rule.source)), rule.id
        assert rule.what.endswith("."), rule.id


@pytest.mark.parametrize("rule", sorted(NEVER_EVALUABLE))
def test_what_needs_other_evidence_is_not_evaluable(rule: str) -> None:
    assert rule in not_evaluable(app(image="org/app:v1.2.3"))
    assert not list(BY_ID[rule].detect(None))  # type: ignore[arg-type]


def test_what_nothing_can_decide_is_not_asked() -> None:
    assert {rule.id for rule in RULES if not rule.asked} == NOT_ASKED
    assert not NOT_ASKED & not_evaluable(app())
    for page in rule_pages().values():
        assert page.count("Not asked:") == sum(f"## {item}" in page for item in NOT_ASKED)


def test_an_app_whose_keys_no_contract_governs_has_none_to_judge() -> None:
    absent = not_evaluable(on_chain(absent=True))
    assert not {"KMS-005", "KMS-006", "KMS-007", "KMS-008"} & absent
    assert {"RUN-001", "RUN-002"} <= absent


@pytest.mark.parametrize(
    "rule", ["KMS-005", "KMS-006", "KMS-007", "KMS-008", "KMS-010", "PLT-004", "RUN-001", "RUN-002"]
)
def test_what_a_manifest_does_not_hold_is_not_evaluable(rule: str) -> None:
    assert rule in not_evaluable(app())


@pytest.mark.parametrize(
    ("rule", "facts"),
    [
        ("KMS-008", {"any_device": False}),
        ("KMS-008", {"tcb_required": True}),
        ("KMS-008", {"any_device": None, "can_require_tcb": False}),
        ("KMS-007", {"governors": ()}),
    ],
)
def test_contract_state_that_is_half_known_is_not_clean(rule: str, facts: dict[str, Any]) -> None:
    assert rule in not_evaluable(on_chain(**facts))


@pytest.mark.parametrize("fields", [{"keys": None}, {"notice": None}, {"own_word": True}])
def test_an_owner_of_whom_little_is_known_may_be_one_key(fields: dict[str, Any]) -> None:
    finding = only(owned(**fields), "KMS-007")
    assert finding.conditional
    assert finding.severity == "high"
    assert not of(audited(owned()), "KMS-007")


def test_what_is_bad_needs_nothing_more() -> None:
    assert only(owned(keys=1, notice=None), "KMS-007").message.startswith("app: one key suffices")
    assert not of(audited(owned(keys=None, notice=None, frozen=True)), "KMS-007")
    low = only(on_chain(any_device=False, can_require_tcb=False), "KMS-008")
    assert low.severity == "low"
    assert only(on_chain(any_device=False, tcb_required=False), "KMS-008").severity == "medium"


def test_a_kms_that_the_user_names_is_known() -> None:
    row = next(row for row in embedded().kms if row.contract and not row.ca_spki)
    named = Context(key_provider="kms", key_provider_id="aa", kms=row)
    unknown = Context(key_provider="kms", key_provider_id="aa")
    assert only(app(key_provider_id="", context=named), "KMS-002").severity == "info"
    assert only(app(key_provider_id="", context=unknown), "KMS-002").severity == "high"


@pytest.mark.parametrize(
    ("claim", "agrees"),
    [
        ("base", True),
        ("hosted", False),
        ("eth", False),
        ("8453:0x2F83172a49584c017f2b256f0fb2dca14126ba9c", True),
        ("1:0x2f83172A49584C017F2B256F0FB2Dca14126Ba9C", False),
    ],
)
def test_what_others_say_about_the_kms(claim: str, agrees: bool) -> None:  # noqa: FBT001
    assert bool(of(audited(app(context=kms(claim))), "KMS-010")) is not agrees


def test_digests_cannot_move() -> None:
    assert "RUN-004" not in not_evaluable(app())
    assert "RUN-004" in not_evaluable(app(rest="include: [other.yaml]\n"))
    assert "RUN-004" in not_evaluable(app(image="org/app:v1.2.3"))


@pytest.mark.parametrize(
    ("release", "is_old"),
    [("nvidia-dev-0.4.2", True), ("nvidia-0.5.4.1", False), ("0.3.6", True), ("next", False)],
)
def test_releases_of_every_flavour(release: str, is_old: bool) -> None:  # noqa: FBT001
    assert bool(of(audited(app(context=Context(os_version=release))), "PLT-003")) is is_old


@pytest.fixture
def phala_script(monkeypatch: pytest.MonkeyPatch) -> str:
    """A script that the table calls v0.0.15."""
    text = "echo hello"
    digest = hashlib.sha256(text.encode()).hexdigest()
    known = prelaunch_scripts.KnownScript("v0.0.15", True, "exact", digest)  # noqa: FBT003
    monkeypatch.setattr(prelaunch_scripts, "_scripts", lambda: {digest: known})
    prelaunch_scripts.recognise_script.cache_clear()
    return text


def test_a_known_script_is_named_with_what_it_does(phala_script: str) -> None:
    finding = only(script(phala_script), "PLS-001")
    assert "v0.0.15" in finding.message
    assert "user_config" in finding.message
    prelaunch_scripts.recognise_script.cache_clear()
    assert not of(audited(script("echo other")), "PLS-001")


def test_a_script_that_refuses_pinned_images(phala_script: str) -> None:
    image = f"ghcr.io/org/app@{DIGEST}"
    case = app(image=image, pre_launch_script=phala_script, allowed_envs=["DSTACK_DOCKER_USERNAME"])
    assert of(audited(case), "PLS-014")
    assert not of(audited(script(phala_script)), "PLS-014")
    prelaunch_scripts.recognise_script.cache_clear()


def test_the_launch_token_script_is_no_custom_one(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "test $APP_LAUNCH_TOKEN || exit 1"
    digest = hashlib.sha256(text.encode()).hexdigest()
    known = prelaunch_scripts.KnownScript(
        prelaunch_scripts.LAUNCH_TOKEN,
        False,  # noqa: FBT003
        "exact",
        digest,
    )
    monkeypatch.setattr(prelaunch_scripts, "_scripts", lambda: {digest: known})
    prelaunch_scripts.recognise_script.cache_clear()
    names = ["APP_LAUNCH_TOKEN"]
    case = script(text, allowed_envs=names, launch_token_hash="00")  # noqa: S106 - a hash
    assert only(case, "PLS-003").severity == "info"
    assert not of(audited(case), "ENV-014")
    assert of(audited(script(text, allowed_envs=names)), "ENV-014")
    prelaunch_scripts.recognise_script.cache_clear()


@pytest.mark.parametrize("rule", ["PLS-005", "PLS-006", "PLS-007"])
def test_a_script_known_for_what_it_does_is_judged_by_its_hash(
    monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    text = 'S=/dev/console; cat "$F" > "$S"'
    digest = hashlib.sha256(text.encode()).hexdigest()
    known = prelaunch_scripts.KnownScript("exporter", False, "exact", digest, rule, "does it")  # noqa: FBT003
    monkeypatch.setattr(prelaunch_scripts, "_scripts", lambda: {digest: known})
    prelaunch_scripts.recognise_script.cache_clear()
    finding = only(script(text), rule)
    assert finding.message == f"the known script exporter (sha256 {digest}) does it"
    assert only(app(init_script=text), rule).location.pointer == "/init_script"
    assert not of(audited(script(text + " ")), rule)
    prelaunch_scripts.recognise_script.cache_clear()


def test_the_scripts_that_export_keys_break_their_rule() -> None:
    rules = {row["name"]: row.get("rule") for row in prelaunch_scripts._document()["scripts"]}  # noqa: SLF001
    assert rules["near-mpc-fixture-exfil-a"] == rules["near-mpc-fixture-exfil-b"] == "PLS-006"
    assert rules["near-custom-appkeys-export"] == "PLS-007"
    assert rules["simulator-openssh-installer"] == "PLS-005"


def test_an_image_that_a_script_or_the_host_names() -> None:
    by_host = app(image="org/app:${PCCS_URL}")
    assert only(by_host, "IMG-001").severity == "critical"
    literal = app(image="org/app@${D}", pre_launch_script=f"export D={DIGEST}")
    assert not of(audited(literal), "IMG-001")
    assert not of(audited(literal), "IMG-005")
    computed = app(image="org/app@${D}", pre_launch_script="export D=$(cat /dstack/user_config)")
    assert of(audited(computed), "IMG-001")


def test_a_service_has_what_it_extends() -> None:
    text = (
        f"services:\n  base:\n    image: x@{DIGEST}\n    privileged: true\n    ports: ['22:22']\n"
        "  web:\n    extends: {service: base}\n    ports: ['80:80']\n"
        "  loop:\n    extends: {service: loop}\n"
    )
    audit = audited(manifest(text))
    assert {finding.service for finding in of(audit, "SVC-002")} == {"base", "web"}
    assert {finding.service for finding in of(audit, "NET-003")} == {"base", "web"}


def test_what_compose_refuses_is_said() -> None:
    for body in ("environment: 5", "ports: {a: b}", "volumes: [[a]]", "privileged: [true]"):
        assert "place here" in only(app(body), "MAN-011").message
    assert of(audited(manifest("services: {web: 5}")), "MAN-011")


def test_the_table_of_scripts() -> None:
    known = prelaunch_scripts.KnownScript("v0.0.14", True, "exact", "")  # noqa: FBT003
    assert "host-keys" in known.behaviours()
    assert "ghcr-check" in known.behaviours()
    assert "pull" not in known.behaviours()
    later = prelaunch_scripts.KnownScript("v0.0.19", True, "exact", "")  # noqa: FBT003
    assert "ghcr-check" not in later.behaviours()
    assert "DSTACK_AUTHORIZED_KEYS" in later.reads()


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("DSTACK_ROOT_PASSWORD", "ROOT"),
        ("BASH_ENV", "PROC"),
        ("PROXY_LISTEN_PORT", "CONFIG"),
        ("STRIPE_SECRET_KEY", "APICRED"),
        ("ACP_WHITELISTED_WALLET_PRIVATE_KEY", "SIGNKEY"),
        ("BASE_CHAIN_ID", "POLICY"),
        ("model_path", "CODE"),
        ("ANYTHING", "CONFIG"),
    ],
)
def test_classes_of_names(name: str, label: str) -> None:
    assert classify(name) == label


def test_severity_escalates_where_code_can_be_replaced() -> None:
    assert only(app("privileged: true"), "SVC-002").severity == "medium"
    assert only(app("privileged: true", image="org/app:v1.2.3"), "SVC-002").severity == "high"


def test_severity_depends_on_the_os() -> None:
    case = app(allowed_envs=["DSTACK_AUTHORIZED_KEYS"])
    unknown = only(case, "ENV-003")
    assert (unknown.severity, unknown.conditional) == ("critical", True)
    production = only(Case(case.raw, Context(os_kind="production")), "ENV-003")
    assert (production.severity, production.conditional) == ("high", False)


def test_a_default_does_not_help_when_the_name_is_allowed() -> None:
    case = app(image=f"${{I:-org/app@{DIGEST}}}", allowed_envs=["I"])
    assert only(case, "IMG-001").severity == "critical"


def test_name_drift_is_linked() -> None:
    case = env("HERMES_SECRET_KEY", "HERMES_AGENT_SECRET_KEY")
    assert "HERMES_SECRET_KEY" in only(case, "ENV-009").message


def test_literals_are_no_operator_input() -> None:
    case = app("environment: {ENABLE_MOCK: 'false'}", allowed_envs=["ENABLE_MOCK"])
    assert not of(audited(case), "ENV-007")
    assert of(audited(case), "ENV-009")


def test_an_escaped_dollar_is_no_use() -> None:
    case = app("command: sh -c 'echo $$TOKEN $${X}'")
    assert not of(audited(case), "ENV-012")


def test_a_forgotten_escape_is_recognised() -> None:
    finding = only(app("command: sh -c 'echo $TOKEN'"), "ENV-012")
    assert "$$TOKEN" in finding.message


def test_an_unclosed_variable_is_said() -> None:
    assert "invalid interpolation" in only(app("command: echo ${A"), "MAN-011").message


def test_absent_allowed_envs_on_an_unknown_os_is_unknown() -> None:
    case = app("environment: [API_URL]", allowed_envs=...)
    audit = audited(case)
    assert of(audit, "ENV-001")[0].conditional
    assert {"ENV-003", "ENV-004", "ENV-012"} <= {item.rule for item in audit.not_evaluable}
    new = audit_manifest(case.raw, Context(os_version="0.5.4"))
    assert not of(new, "ENV-001")
    assert of(new, "ENV-012")


def test_findings_point_to_line_and_column() -> None:
    finding = only(app("ports:\n  - 22:22"), "NET-003")
    place = finding.location
    assert (place.line, place.column) == (5, 9)
    assert place.pointer == "/docker_compose_file/services/web/ports/0"
    assert finding.service == "web"


def test_unparsed_is_not_evaluable_never_clean() -> None:
    audit = audited(manifest("services:\n\t- x"))
    assert audit.compose_problem
    assert of(audit, "MAN-011")
    assert "IMG-001" in {item.rule for item in audit.not_evaluable}
    assert of(audited(manifest("{}")), "MAN-011")
    assert audited(manifest("[MASKED]")).compose_problem


def test_a_duplicate_key_leaves_everything_else_open() -> None:
    audit = audit_manifest(b'{"runner": "docker-compose", "runner": "bash"}')
    assert [finding.rule for finding in audit.findings] == ["MAN-003"]
    assert (
        len(audit.not_evaluable) == len(RULES) - 4
    )  # MAN-003, RUN-003; MAN-010 and -011 add nothing


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff", b'{"runner": 1}', b'{"x": NaN}'])
def test_no_manifest_is_an_evidence_error(raw: bytes) -> None:
    with pytest.raises(EvidenceError):
        audit_manifest(raw)


def test_a_compose_file_alone_is_conditional() -> None:
    audit = audit_compose_file(b"services: {web: {image: '${IMAGE}'}}")
    assert of(audit, "IMG-001")[0].conditional
    assert "RTF-001" in {item.rule for item in audit.not_evaluable}


def test_nothing_inside_a_manifest_silences_a_rule() -> None:
    case = app(image="redis:7-alpine # verify: ignore IMG-005 trust me")
    assert of(audited(case), "IMG-005")


def test_merged_values_are_judged() -> None:
    text = (
        "x-a: &a {privileged: true, environment: [UNUSED]}\n"
        f"x-b: &b {{pid: host}}\nservices:\n  web:\n    <<: [*a]\n    image: x@{DIGEST}\n"
        "    environment: []\n"
    )
    audit = audited(manifest(text))
    assert of(audit, "SVC-002")
    assert not of(audit, "SVC-003")
    assert not of(audit, "ENV-012")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('[core.auth_api]\ntype = "dev"', 1),
        ("[core.auth_api]\n'type' = '''dev'''", 1),
        ('core.auth_api.type = "dev"', 1),
        ('core = { auth_api = { type = "\\u0064ev" } }', 1),
        ("[core.auth_api]\n[core.image]\nx = [1]\nverify = false", 1),
        ("[core.auth_api]\n[core.image]\n\"[x\" = 1\n'verify' = false", 1),
        ("[core.auth_api]\n[core.auth_api.webhook]\nurl = 'http://a@3405803783/'", 1),
        ("[core.auth_api]\n[core.auth_api.webhook]\nurl = 'http://[2001:db8::1]:80'", 1),
        ("[core.auth_api]\n[core.auth_api.webhook]\nurl = 'http://localhost.example'", 1),
        ("[core.auth_api]\n[core.auth_api.webhook]\nurl = 'http://127.0.0.1:80/'", 0),
        ("[core.auth_api]\nx = '''\ntype = \"dev\"\n'''", 0),
        (f"[core.auth_api]\n{'a.' * 3000}b = 1", 0),
    ],
)
def test_settings_of_a_kms_in_any_spelling_of_toml(text: str, found: int) -> None:
    result = audited(config(text))
    assert [item.rule for item in result.findings].count("KMS-009") == found
