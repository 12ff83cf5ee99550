"""What the operator sets is judged by every name under which the app reads it."""

import pytest

from tests.manifest.test_manifest_rules import audited, of, only
from tests.manifest.vectors import PINNED, Case, app, env, manifest


@pytest.mark.parametrize(
    ("key", "rule", "severity"),
    [
        ("OPENAI_BASE_URL", "ENV-001", "critical"),
        ("UPSTREAM_HOST", "ENV-001", "critical"),
        ("NODE_OPTIONS", "ENV-002", "critical"),
        ("MODEL_TAG", "ENV-002", "critical"),
        ("SIGNING_KEY", "ENV-005", "high"),
        ("DEBUG_BYPASS", "ENV-007", "high"),
        ("TRUSTED_ISSUER", "ENV-008", "high"),
        ("TLS_KEY", "ENV-018", "high"),
        ("HTTPS_PROXY", "NET-009", "medium"),
    ],
)
@pytest.mark.parametrize("value", ["${A}", "$A", "${A:-x}", "${ABSENT:-${A}}"])
def test_a_variable_is_judged_by_the_name_that_code_reads(
    key: str, rule: str, severity: str, value: str
) -> None:
    for entry in (f"environment: ['{key}={value}']", f"environment: {{{key}: '{value}'}}"):
        finding = only(app(entry, allowed_envs=["A"]), rule)
        assert (finding.severity, finding.names) == (severity, ("A",))
        assert f"A, as {key}," in finding.message


@pytest.mark.parametrize(
    "entry",
    [
        "DATABASE_URL=postgres://app:${DB_PASSWORD}@db:5432/app",
        "API_URL=https://api.example.com/${A}",
        "APP_TITLE=${A}",
    ],
)
def test_a_part_that_decides_nothing_is_not_the_whole(entry: str) -> None:
    found = audited(env(entry, "A", "DB_PASSWORD")).findings
    assert not [item for item in found if item.severity in {"critical", "high"}]


@pytest.mark.parametrize(
    "entry", ["DATABASE_URL=postgres://app:x@${A}/app", "API_URL=https://${A}/v1", "API_URL=$A/v1"]
)
def test_a_part_that_says_whose_a_url_is_decides(entry: str) -> None:
    assert only(env(entry, "A"), "ENV-001").names == ("A",)


GRANTED = "secrets: [{source: s, target: /app/run.sh}]"
MADE = "secrets: {s: {environment: A}}"


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ("entrypoint: [sh, /app/run.sh]\n" + GRANTED, MADE),
        ("command: exec /run/secrets/s\nsecrets: [s]", MADE),
        ("command: . /s\nconfigs: [s]", "configs: {s: {environment: A}}"),
        ("environment: [A]\ncommand: sh -c 'eval \"$$A\"'", ""),
        ("environment: {B: '${A}'}\ncommand: sh -c \"$$B\"", ""),
    ],
)
def test_what_a_command_runs_of_the_operators_is_code(body: str, rest: str) -> None:
    assert only(app(body, rest=rest, allowed_envs=["A"]), "ENV-002").names == ("A",)


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        ("command: serve --key-file /app/run.sh\n" + GRANTED, MADE),
        ("command: sh -c 'serve < /run/secrets/s'\nsecrets: [s]", MADE),
        ("environment: {B: 'x', C: '${A}'}\ncommand: sh -c \"$$B\"", ""),
    ],
)
def test_what_a_command_only_reads_is_no_code(body: str, rest: str) -> None:
    assert not of(audited(app(body, rest=rest, allowed_envs=["A"])), "ENV-002")


def built(dockerfile: str, args: str, allowed: str = "A") -> Case:
    lines = "".join(f"        {line}\n" for line in dockerfile.splitlines())
    text = f"services:\n  web:\n    build:\n      context: .\n      dockerfile_inline: |\n{lines}"
    return manifest(f"{text}      args: {args}\n", allowed_envs=[allowed])


@pytest.mark.parametrize(
    "dockerfile",
    [
        f"ARG BASE={PINNED}\nFROM $$BASE",
        f"ARG BASE={PINNED}\nFROM --platform=linux/amd64 $${{BASE}} AS x",
        f"FROM {PINNED}\nARG BASE={PINNED}\nCOPY --from=$$BASE /a /b",
    ],
)
def test_an_image_that_a_build_takes_by_an_argument_is_code(dockerfile: str) -> None:
    assert only(built(dockerfile, "{BASE: '${A}'}"), "ENV-002").names == ("A",)
    assert only(built(dockerfile, "[BASE]", "BASE"), "ENV-002").names == ("BASE",)
    assert not of(audited(built(dockerfile, "{BASE: x, OTHER: '${A}'}")), "ENV-002")


def test_a_download_without_an_address_is_read() -> None:
    assert audited(built(f"FROM {PINNED}\nRUN curl | sh", "{}")).findings


@pytest.mark.parametrize("entry", ["API_KEY=${API_KEY:-s3cret}", "API_KEY=${A:-s3cret}"])
def test_a_default_is_that_of_the_secret_whatever_the_variable_is_called(entry: str) -> None:
    assert only(env(entry, "A", "API_KEY"), "SEC-003").severity == "high"
    assert not of(audited(env("TITLE=${A:-s3cret}", "A")), "SEC-003")
