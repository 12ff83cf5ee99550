"""Compose YAML: read as Docker Compose reads it, refused where readers differ, bounded in cost."""

import itertools
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifest.vectors import HONEST, manifest
from verifier.errors import EvidenceError
from verifier.evidence.compose.compose_yaml import (
    DuplicateKeyError,
    Mapping,
    Scalar,
    Sequence,
    parse_compose,
)
from verifier.evidence.compose.interpolation import parse_template
from verifier.evidence.compose.yaml_scalars import resolve
from verifier.manifest.audit import audit_compose_file, audit_manifest

SECONDS = 5.0
"""Far more than any of these takes, on a slow machine too; an explosion takes minutes."""


def tree(text: str) -> Mapping:
    return parse_compose(text, "compose")


def scalar(text: str) -> Scalar:
    found = tree(f"a: {text}").entries["a"]
    assert isinstance(found, Scalar)
    return found


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("22:22", "str"),
        ("on", "str"),
        ("yes", "str"),
        ("1_000", "int"),
        ("0777", "int"),
        ("2001-01-01", "time"),
        ("2001-02-30", "str"),
        ("0o17", "int"),
        ("0x1F", "int"),
        ("-12", "int"),
        ("1e3", "float"),
        (".5", "float"),
        (".inf", "float"),
        (".nan", "float"),
        ("true", "bool"),
        ("FALSE", "bool"),
        ("~", "null"),
        ("", "null"),
        ("'true'", "str"),
        ('"12"', "str"),
        ("!!str 12", "str"),
        ("!!int 12", "int"),
    ],
)
def test_the_core_schema(text: str, kind: str) -> None:
    assert scalar(text).kind == kind


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0777", "511"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("1.0", "1"),
        ("1e3", "1000"),
        ("1000000.0", "1e+06"),
        ("0.00001", "1e-05"),
        ("18446744073709551616", "1.8446744073709552e+19"),
        (".inf", "+Inf"),
        ("TRUE", "true"),
        ("~", ""),
        ("yes", "yes"),
        ("22:22", "22:22"),
        ("089", "89"),
        ("1e400", "1e400"),
        ("'0777'", "0777"),
    ],
)
def test_what_compose_writes_for_a_scalar(text: str, written: str) -> None:
    assert scalar(text).value == written


@given(st.text(max_size=30))
def test_any_scalar_is_resolved(text: str) -> None:
    kind, said = resolve(text)
    assert kind in {"str", "null", "bool", "int", "float", "time"}
    assert (said == text) or kind not in {"str", "time"}


def test_positions_count_from_one() -> None:
    found = tree("a:\n  - b: c\n").entries["a"]
    assert isinstance(found, Sequence)
    inner = found.items[0]
    assert isinstance(inner, Mapping)
    assert inner.keys["b"] == (2, 5)
    value = inner.entries["b"]
    assert (value.line, value.column) == (2, 8)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("a: 1\na: 2", ["a"]),
        ("a: {b: 1, 'b': 2}", ["b"]),
        ("a: [{b: {c: 1, c: 1}}]\nd: 1\nd: 2", ["c", "d"]),
    ],
)
def test_duplicate_keys_at_every_level(text: str, keys: list[str]) -> None:
    with pytest.raises(DuplicateKeyError) as raised:
        tree(text)
    assert [item.key for item in raised.value.duplicates] == keys


def test_merge_keys() -> None:
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n"
    merged = tree(text).entries["z"]
    assert isinstance(merged, Mapping)
    values = {key: node.text for key, node in merged.entries.items() if isinstance(node, Scalar)}
    assert values == {"a": "3", "b": "1", "c": "2"}
    assert merged.merged == {"b", "c"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a",
        "just text",
        "a: {<<: {b: 1}, <<: {c: 1}}",
        "a: 1\n---\n",
        "a: !!binary aGk=",
        "1: a",
        "true: a",
        "~: a",
        "? [a]\n: b",
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "a: {<<: 1}",
        "a: {<<: [1]}",
        "\ta: b",
        "a: 'unclosed",
        "a: *missing",
        "a: \x00",
        "a: \ud800",
        "a: !!int word",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(EvidenceError):
        tree(text)


def bombs() -> dict[str, str]:
    letters = "abcdefghij"
    aliases = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{one}: &{one} [{','.join([f'*{before}'] * 10)}]\n"
        for before, one in itertools.pairwise(letters)
    )
    keys = "".join(f"  k{number}: 1\n" for number in range(20_000))
    return {
        "aliases": aliases,
        "merges": f"a: &a\n{keys}b:\n" + "- {<<: *a}\n" * 20_000,
        "flow nesting": "[" * 1_000_000,
        "block nesting": "- " * 500_000,
        "keys of keys": "? " * 500_000,
        "braces": "a: " + "{" * 50_000,
        "indentation": "".join(" " * depth + "a:\n" for depth in range(1_500)),
        "length": "a: " + "x" * 10_000_000,
    }


@pytest.mark.parametrize("name", sorted(bombs()))
def test_bombs_are_refused_in_bounded_time(name: str) -> None:
    text = bombs()[name]
    started = time.process_time()
    with pytest.raises(EvidenceError):
        tree(text)
    assert time.process_time() - started < SECONDS


def test_five_thousand_services() -> None:
    services = "".join(
        f"  s{number}:\n    image: org/app:{number}\n    environment: ['A=${{A}}']\n"
        for number in range(5_000)
    )
    started = time.process_time()
    audit = audit_manifest(manifest(f"services:\n{services}", allowed_envs=["A"]).raw)
    assert time.process_time() - started < 4 * SECONDS
    assert not audit.compose_problem
    assert sum(finding.rule in {"IMG-004", "IMG-005"} for finding in audit.findings) == 5_000


@pytest.mark.parametrize(
    "text", ["${" * 100_000, "${a" * 100_000, "${a:-" * 50_000, "${}" * 99_999]
)
def test_unclosed_variables_are_bounded(text: str) -> None:
    started = time.process_time()
    template = parse_template(text)
    assert time.process_time() - started < SECONDS
    assert template.invalid


@pytest.mark.parametrize(
    ("text", "unset", "present"),
    [
        ("$A", "", "v"),
        ("${A}", "", "v"),
        ("${A:-d}", "d", "v"),
        ("${A-d}", "d", "v"),
        ("${A:+r}", "", "r"),
        ("${A+r}", "", "r"),
        ("${A:?e}", "", "v"),
        ("$$A", "$A", "$A"),
        ("$${A}", "${A}", "${A}"),
        ("a$A-b", "a-b", "av-b"),
        ("${A:-${B:-x}}", "x", "v"),
        ("${A:-{}}", "{}", "v"),
        ("${A:-$$}", "$", "v"),
        ("$A$A", "", "vv"),
        ("$", "$", "$"),
        ("$(date) $1", "$(date) $1", "$(date) $1"),
    ],
)
def test_interpolation(text: str, unset: str, present: str) -> None:
    template = parse_template(text)
    assert not template.invalid
    assert template.render(lambda _: None) == unset
    assert template.render(lambda name: "v" if name == "A" else None) == present


def test_empty_values() -> None:
    assert parse_template("${A:-d}").render(lambda _: "") == "d"
    assert parse_template("${A-d}").render(lambda _: "") == ""
    assert parse_template("${A:+r}").render(lambda _: "") == ""
    assert parse_template("${A+r}").render(lambda _: "") == "r"


@pytest.mark.parametrize("text", ["${", "${A", "${}", "${1}", "${A!b}"])
def test_what_compose_refuses(text: str) -> None:
    assert parse_template(text).invalid


@pytest.mark.parametrize(
    "text", ["\ufeffservices: {a: {image: x}}", "services:\r\n  a:\r\n    image: x\r\n"]
)
def test_byte_order_mark_and_crlf(text: str) -> None:
    audit = audit_compose_file(text.encode())
    assert not audit.compose_problem
    finding = next(f for f in audit.findings if f.rule == "IMG-005")
    assert finding.service == "a"


def test_json_is_a_compose_file_too() -> None:
    audit = audit_compose_file(b'{"services": {"a": {"image": "x", "ports": ["22:22"]}}}')
    assert {"IMG-005", "NET-003"} <= {finding.rule for finding in audit.findings}


FRAGMENTS = st.sampled_from(
    [
        "services:",
        "\n",
        "  ",
        "- ",
        "a",
        ": ",
        "image: ",
        "x:latest",
        "${A}",
        "${",
        "$$",
        "&x ",
        "*x",
        "<<: ",
        "{",
        "}",
        "[",
        "]",
        "'",
        '"',
        "|\n",
        "#",
        "\t",
        "\r",
        "\x85",
        "\u202e",
        "ports:",
        "22:22",
        "environment:",
        "volumes:",
        "/:/host",
        "command: ",
        "privileged: true",
        "~",
        "!!str ",
    ]
)


@given(st.lists(FRAGMENTS, max_size=40).map("".join))
def test_any_text_gives_findings_or_an_evidence_error(text: str) -> None:
    audit = audit_manifest(manifest(text, allowed_envs=["A"]).raw)
    assert bool(audit.compose_problem) or audit.not_evaluable


@given(st.binary(max_size=60))
def test_any_bytes(raw: bytes) -> None:
    for audit in (audit_manifest, audit_compose_file):
        try:
            audit(raw)
        except EvidenceError:
            continue


@given(st.integers(0, len(HONEST.raw) - 1), st.binary(min_size=1, max_size=3))
def test_a_mutated_manifest(position: int, bytes_: bytes) -> None:
    raw = HONEST.raw[:position] + bytes_ + HONEST.raw[position + 1 :]
    try:
        audit_manifest(raw)
    except EvidenceError:
        return


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "image",
        "build",
        "environment",
        "ports",
        "volumes",
        "command",
        "entrypoint",
        "healthcheck",
        "privileged",
        "cap_add",
        "devices",
        "security_opt",
        "network_mode",
        "configs",
        "labels",
        "restart",
        "profiles",
        "deploy",
        "extends",
        "env_file",
        "sysctls",
        "volumes_from",
        "user",
    ]
)


@given(st.dictionaries(FIELDS, VALUES, max_size=6), VALUES)
def test_a_service_of_any_shape(service: dict[str, object], other: object) -> None:
    document = {"services": {"a": service, "b": other}, "configs": other, "volumes": other}
    audit_compose_file(json.dumps(document).encode())


def repeated() -> dict[str, str]:
    """Texts that repeat the beginning of what a pattern looks for."""
    size = 300_000
    beginnings = {
        "curl": "curl ",
        "docker login": "docker login ",
        "export": "export A=$(",
        "redirect": ">",
        "jwt": "-eyJ0000000000",
        "url": "://a:",
        "hosts": "http://a.b ",
        "installs": "apk add a;",
        "new lines": "\\n",
        "variables": "${A",
        "docker run": "docker run a ",
        "comment": "skip ",
        "name": "SSL_",
    }
    return {name: text * (size // len(text)) for name, text in beginnings.items()}


@pytest.mark.parametrize("name", sorted(repeated()))
def test_patterns_are_bounded(name: str) -> None:
    text = repeated()[name].replace("\\n", "\n")
    compose = {"services": {"a": {"image": "x", "command": text, "environment": [f"{text}=1"]}}}
    compose["configs"] = {"c": {"content": f"#!\n{text}"}}
    document = {"runner": "docker-compose", "docker_compose_file": f"services: # {text[:99]}"}
    started = time.process_time()
    assert audit_compose_file(json.dumps(compose).encode()).findings
    document["pre_launch_script"] = text
    audit_manifest(json.dumps(document).encode())
    assert time.process_time() - started < 6 * SECONDS
