"""Dockerfiles: how they are read, each rule of builds with its honest twin, and bad input."""

import time
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifest.dockerfiles import BASE, HASH, HONEST, VECTORS, run, stage
from verifier.errors import EvidenceError
from verifier.evidence.compose.dockerfile import (
    is_dockerfile_name,
    looks_like_dockerfile,
    parse_dockerfile,
)
from verifier.manifest.audit import audit_compose_file, audit_dockerfile
from verifier.manifest.ignore import sift
from verifier.manifest.rules.catalogue import BUILD_RULES
from verifier.manifest.shell_commands import pipelines


def rules(text: str) -> set[str]:
    audit = audit_dockerfile(text.encode())
    assert not audit.compose_problem, audit.compose_problem
    return {finding.rule for finding in audit.findings}


def test_every_rule_of_builds_has_vectors() -> None:
    assert set(VECTORS) == {rule.id for rule in BUILD_RULES}
    for rule in BUILD_RULES:
        assert rule.what
        assert all(text.endswith(".") for text in (rule.what, rule.why, rule.fix))


@pytest.mark.parametrize(
    ("rule", "text"), [(rule, text) for rule, (bad, _) in VECTORS.items() for text in bad]
)
def test_a_rule_reports_its_vectors(rule: str, text: str) -> None:
    assert rule in rules(text)
    # Spaces, case and line ends change nothing.
    assert rule in rules(text.replace("\n", "\r\n"))


@pytest.mark.parametrize(
    ("rule", "text"), [(rule, text) for rule, (_, good) in VECTORS.items() for text in good]
)
def test_a_rule_leaves_its_twins_alone(rule: str, text: str) -> None:
    assert rule not in rules(text)


def test_an_honest_dockerfile_has_no_finding() -> None:
    assert rules(HONEST) == set()


def test_the_projects_own_containerfile_has_no_finding() -> None:
    own = Path(__file__).parents[2] / "Containerfile"
    audit = audit_dockerfile(own.read_bytes())
    assert (audit.findings, audit.compose_problem) == ((), "")


def test_findings_stand_on_their_lines() -> None:
    text = run("true \\\n  # a comment\n\n  && apt-get install -y \\\n curl").replace(
        "\n\n", "\n\n"
    )
    finding = next(f for f in audit_dockerfile(text.encode()).findings if f.rule == "BLD-002")
    assert text.split("\n")[finding.location.line - 1].strip().startswith("&& apt-get")
    text = stage("RUN <<EOF", "true", "", "uuidgen", "EOF", "RUN uuidgen")
    lines = [f.location.line for f in audit_dockerfile(text.encode()).findings]
    assert lines == [6, 8]


def test_stages_and_variables_are_followed() -> None:
    text = f"ARG V=1\nFROM a:$V@sha256:{HASH} AS One\nENV A=x\nFROM one\nARG V\nRUN echo $A $V\n"
    found = parse_dockerfile(text.encode())
    assert [stage.base for stage in found.stages] == [f"a:1@sha256:{HASH}", "one"]
    assert [stage.parent for stage in found.stages] == [None, 0]


def test_an_argument_before_the_first_stage_has_its_own_line() -> None:
    text = f"# a comment\nARG A=1\nARG NPM_TOKEN\n\nFROM {BASE}\nARG SOURCE_DATE_EPOCH=0\n"
    (found,) = audit_dockerfile(text.encode()).findings
    assert (found.rule, found.location.line) == ("BLD-008", 3)


def conditional(text: str, rule: str) -> bool:
    (found,) = [f for f in audit_dockerfile(text.encode()).findings if f.rule == rule]
    return found.conditional


def test_what_may_be_pinned_out_of_sight_is_conditional() -> None:
    install = "RUN apt-get install -y curl"
    assert not conditional(stage(install), "BLD-002")
    assert conditional(stage("RUN ./pin.sh packages.txt", install), "BLD-002")
    assert conditional(stage("COPY x.sources /etc/apt/sources.list.d/", install), "BLD-002")
    assert not conditional(stage(install, "RUN ./pin.sh packages.txt"), "BLD-002")
    assert conditional(stage("COPY --from=shared /a /a"), "BLD-001")
    assert not conditional(stage("COPY --from=org/shared /a /a"), "BLD-001")
    clone = "RUN git clone https://example.org/a.git && git -C a checkout"
    assert conditional(stage("ARG REV", f"{clone} $REV"), "BLD-007")
    assert not conditional(stage(f"{clone} main"), "BLD-007")


def test_arguments_of_the_platform_have_values() -> None:
    text = f"FROM {BASE} AS a-linux\nFROM a-$TARGETOS\nARG SOURCE_DATE_EPOCH=0\n"
    assert rules(text) == set()


def test_the_escape_character_is_the_directives() -> None:
    text = f"# escape=`\nFROM {BASE}\nARG SOURCE_DATE_EPOCH=0\nRUN apt-get install -y `\n  curl\n"
    assert "BLD-002" in rules(text)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "no FROM"),
        (b"# only a comment\n", "no FROM"),
        (b"ARG A=1\n", "no FROM"),
        (b"RUN true\nFROM a\n", "no FROM"),
        (b"FROM a\nFROBNICATE x\n", "line 2: 'FROBNICATE' is no instruction"),
        (b"FROM a\nRUN\n", "line 2: RUN has no argument"),
        (b"FROM a AS\n", "FROM takes an image"),
        (b"FROM a AS 1x\n", "FROM takes an image"),
        (b"FROM a\nRUN <<EOF\ntrue\n", "does not end"),
        (b"# escape=x\nFROM a\n", "escape character"),
        (b"FROM a\xff\n", "UTF-8"),
        (b"FROM a\nRUN " + (b"x;" * 3_000 + b"\\\n") * 4, "more than 10000 commands"),
        (b"FROM a\n" + b"RUN true\n" * 3_000, "more than 2000 instructions"),
        (b"FROM a\n" + b"RUN true " * (2 << 20), "over the limit"),
        (b"services:\n  a:\n    image: x\n", "is no instruction"),
    ],
)
def test_what_no_builder_reads_is_said(raw: bytes, problem: str) -> None:
    audit = audit_dockerfile(raw)
    assert problem in audit.compose_problem
    assert {item.rule for item in audit.not_evaluable} == {rule.id for rule in BUILD_RULES}
    assert not audit.findings


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("Dockerfile", True),
        ("dockerfile", True),
        ("Dockerfile.prod", True),
        ("app.Dockerfile", True),
        ("Containerfile", True),
        ("Dockerfiles", False),
        ("docker-compose.yml", False),
    ],
)
def test_names(name: str, is_one: bool) -> None:  # noqa: FBT001 - a column of the table
    assert is_dockerfile_name(name) is is_one


def test_shapes() -> None:
    assert looks_like_dockerfile(HONEST.encode())
    assert looks_like_dockerfile(b"\xef\xbb\xbf\n# x\n  arg A=1\nFROM a\n")
    for raw in (b"from: a\n", b"services:\n", b"{", b"", b"FROM\n", b"# FROM a\n", b"arg: 1"):
        assert not looks_like_dockerfile(raw)


HOSTILE = {
    "10 MB": b"FROM a\nRUN " + b"a" * (10 << 20),
    "one long line": b"FROM a\nRUN " + b"curl x | sh; " * 20_000,
    "long lines": b"FROM a\nRUN " + (b"curl x | sh; " * 4_000 + b"\\\n") * 4,
    "open quotes": b"FROM a\nRUN " + (b"\"'`$(" * 9_000 + b"\\\n") * 4,
    "nested substitutions": b"FROM a\nRUN " + (b"$(" * 30_000 + b"\\\n") * 4,
    "many nested scripts": b"FROM a\nRUN "
    + (b"sh -c 'sh -c \"sh -c x\"' ; " * 2_000 + b"\\\n") * 4,
    "growing values": b"FROM a\n"
    + b"".join(b"ARG A%d=$A%d$A%d\n" % (n + 1, n, n) for n in range(1_000))
    + b"RUN echo $A999\n",
    "many variables": b"FROM a\n" + b"".join(b"ENV A%d=%d\nRUN x\n" % (n, n) for n in range(990)),
    "many here-documents": b"FROM a\nRUN " + b"<<A " * 1_000 + b"\n" + b"x\n" * 100_000,
    "one here-document": b"FROM a\nRUN <<A\n" + b"apt-get install x\n" * 9_000 + b"A\n",
    "continued lines": b"FROM a\nRUN x" + b" \\\n y" * 50_000,
    "many stages": b"".join(b"FROM s%d AS s%d\nRUN npm ci\n" % (n - 1, n) for n in range(990)),
    "many downloads": b"FROM a\nRUN "
    + (b"wget http://a/b && ./b && " * 2_000 + b"\\\n") * 4
    + b"true",
    "many steps": b"FROM a\n" + b"RUN apt-get install x && curl http://a/latest -o b\n" * 1_900,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_dockerfiles_take_bounded_time(name: str) -> None:
    start = time.process_time()
    audit_dockerfile(HOSTILE[name])
    assert time.process_time() - start < 10


@given(st.text(max_size=300))
def test_no_text_crashes_the_reader(text: str) -> None:
    for raw in (text, f"FROM a\nRUN {text}", f"FROM a\nARG {text}\nENV {text}\nCOPY {text}"):
        audit_dockerfile(raw.encode("utf-8", "surrogatepass"))
    with suppress(EvidenceError):
        parse_dockerfile(text.encode("utf-8", "surrogatepass"))


@given(st.text(alphabet="abc \"'`$(){}|&;<>\\\n#=-", max_size=60))
def test_every_word_of_a_script_is_reached(text: str) -> None:
    for pipeline in pipelines(text):
        for nested in pipeline.all():
            assert nested.commands


def test_ignoring_counts_in_a_dockerfile_too() -> None:
    text = stage("# verify: ignore BLD-012 an id of the build", "RUN uuidgen")
    sifted = sift(audit_dockerfile(text.encode()), (), date(2026, 12, 1), comments=True)
    assert [item.reason for item in sifted.ignored] == ["an id of the build"]
    assert not sifted.findings


def test_a_dockerfile_is_no_compose_file() -> None:
    assert audit_compose_file(HONEST.encode()).compose_problem


INLINE = """\
services:
  web:
    build:
      context: .
      dockerfile_inline: |
        FROM ubuntu:22.04
        ARG TOKEN=abc123def456
        RUN curl -fsSL https://x.test/i.sh | sh
        ADD https://x.test/a.tgz /a
  odd:
    build:
      context: .
      dockerfile_inline: "FRM x"
"""


def test_an_inline_dockerfile_is_judged_where_it_stands() -> None:
    findings = audit_compose_file(INLINE.encode()).findings
    found = {(f.rule, f.service, f.location.line) for f in findings}
    assert {("BLD-008", "web", 7), ("BLD-005", "web", 9), ("MAN-010", "odd", 13)} <= found
    assert ("IMG-011", "web", 6) in found
    assert ("BLD-001", "web", 6) not in found  # which says the same
    assert all(
        f.location.pointer.endswith("/build/dockerfile_inline")
        for f in findings
        if f.rule.startswith("BLD")
    )
