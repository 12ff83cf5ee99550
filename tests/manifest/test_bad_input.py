"""`verify lint` on whatever it may be handed: an exit code, no traceback, in bounded time."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tests.manifest.vectors import manifest
from verifier.cli.commands.lint import lint_manifest
from verifier.errors import EvidenceError
from verifier.evidence.compose.app_compose import parse_app_compose
from verifier.manifest.audit import audit_manifest

SECONDS = 20.0
"""Far more than any of these takes."""

app = typer.Typer()
app.command("lint")(lint_manifest)

SERVICE = "services:\n  web:\n    image: nginx:1.27\n"
COMPOSE: dict[str, bytes] = {
    "alias bomb": b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (one, one, b",".join([b"*%c" % (one - 1)] * 10))
        for one in range(ord("b"), ord("j"))
    )
    + SERVICE.encode(),
    "ten megabytes": SERVICE.encode() + b"# " + b"x" * 10_000_000,
    "deep flow": b"services: " + b"[" * 100_000,
    "deep block": b"services:\n" + b"".join(b" " * depth + b"a:\n" for depth in range(1, 1_500)),
    "tabs": b"services:\n\tweb:\n\t\timage: nginx\n",
    "invalid UTF-8": b"services:\n  web:\n    image: \xff\xfe\n",
    "overlong UTF-8": b"services:\n  web:\n    image: \xc0\xaf\n",
    "UTF-16": SERVICE.encode("utf-16"),
    "NUL": b"services:\n  web:\n    image: ng\x00inx\n",
    "duplicate service": SERVICE.encode() + b"  web:\n    image: redis\n",
    "duplicate field": SERVICE.encode() + b"    image: redis\n",
    "duplicate in a list": b"services:\n  web:\n    ports: [{target: 1, target: 2}]\n",
    "cyclic alias": b"services: &a\n  web: *a\n",
    "cyclic merge": b"services:\n  web: &a\n    <<: *a\n    image: x\n",
    "key that is a number": b"services:\n  1:\n    image: x\n",
    "key that is a list": b"services:\n  ? [a]\n  : {image: x}\n",
    "key that is null": b"services:\n  ~: {image: x}\n",
    "two documents": SERVICE.encode() + b"---\n" + SERVICE.encode(),
    "a tag of its own": b"services: !!python/object:os.system {web: {image: x}}\n",
    "an anchor that is not there": b"services:\n  web: *gone\n",
}
READABLE: dict[str, bytes] = {
    "byte order mark": b"\xef\xbb\xbf" + SERVICE.encode(),
    "CRLF": SERVICE.replace("\n", "\r\n").encode(),
    "bidi in a name": "services:\n  we\u202eb:\n    image: nginx:1.27\n".encode(),
    "control in a name": b'services:\n  "we\\x1b[2Jb":\n    image: nginx:1.27\n',
    "unclosed variable": SERVICE.encode() + b"    command: echo ${A\n",
    "many unclosed variables": SERVICE.encode() + b"    command: " + b"${a" * 20_000 + b"\n",
    "a number as an image": b"services:\n  web:\n    image: 1.10\n",
    "a number as a tag": b"services:\n  web:\n    image: nginx:1.10\n",
    "a number as a port": b"services:\n  web:\n    image: x\n    ports: [22:22, 8080]\n",
    "five thousand services": b"services:\n"
    + b"".join(b"  s%d:\n    image: org/app:%d\n" % (n, n) for n in range(5_000)),
}


def lint(path: Path, *options: str) -> Any:
    started = time.process_time()
    ran = CliRunner().invoke(app, [str(path), *options])
    assert time.process_time() - started < SECONDS
    return ran


def harmless(text: str) -> bool:
    return not set(text) & {"\x1b", "\u202e", "\x00"}


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_a_compose_file_that_cannot_be_read_is_never_clean(name: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_bytes(COMPOSE[name])
    ran = lint(path)
    if ran.exit_code == 1:
        assert isinstance(ran.exception, EvidenceError), ran.exception
    else:
        assert ran.exit_code in (3, 4)
    assert harmless(ran.output)


@pytest.mark.parametrize("name", sorted(COMPOSE))
def test_nor_is_a_manifest_around_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "app-compose.json"
    path.write_bytes(manifest(COMPOSE[name].decode("utf-8", "replace")).raw)
    ran = lint(path, "--format", "json")
    if ran.exit_code == 1:
        assert isinstance(ran.exception, EvidenceError), ran.exception
        return
    (file,) = json.loads(ran.stdout)["files"]
    assert ran.exit_code in (3, 4)
    if "UTF" not in name:  # what no longer is invalid, decoded, is another text
        assert file["problem"] or file["findings"]


@pytest.mark.parametrize("form", ["terminal", "json", "sarif", "markdown", "github"])
@pytest.mark.parametrize("name", sorted(READABLE))
def test_odd_but_readable(name: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_bytes(READABLE[name])
    if form == "terminal" or name != "five thousand services":
        ran = lint(path, "--format", form)
        assert ran.exit_code == 4
        assert harmless(ran.stdout)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"runner": "docker-compose", "requirements": {"a": 1, "a": 2}}',
        b'{"runner": "docker-compose", "port_policy": {"ports": [{"port": 1, "port": 2}]}}',
        b'{"runner": "docker-compose", "runner": "bash"}',
    ],
)
def test_duplicate_keys_of_a_manifest_at_every_level(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "app-compose.json"
    path.write_bytes(raw)
    ran = lint(path)
    assert ran.exit_code == 4
    assert "MAN-003" in ran.stdout


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xef\xbb\xbf",
        b"{",
        b'{"runner": "docker-compose", "x": ' + b"[" * 10_000,
        b'{"runner": "docker-compose", "x": ' + b"9" * 5_000 + b"}",
        b'{"runner": "docker-compose", "x": NaN}',
        b'{"runner": "docker-compose", "name": "\\ud800"}',
        b'{"runner": "docker-compose"}\x00',
        b'{"runner": "\xff"}',
        b"<html>",
        b"\x7fELF",
    ],
)
def test_what_is_no_manifest(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(raw)
    ran = lint(path)
    if ran.exit_code == 1:
        assert isinstance(ran.exception, EvidenceError), ran.exception
    else:
        assert ran.exit_code in (3, 4)


@pytest.mark.parametrize("version", [0, 3, 4, -1])
def test_a_version_as_a_number_that_the_guest_refuses(version: int) -> None:
    document = {"manifest_version": version, "runner": "docker-compose", "docker_compose_file": ""}
    with pytest.raises(EvidenceError, match="refused by the guest"):
        parse_app_compose(json.dumps(document).encode())
    text = json.dumps({**document, "manifest_version": "3"}).encode()
    assert parse_app_compose(text).version == "3"


@pytest.mark.parametrize(("version", "found"), [("3", 0), ("0003", 0), ("4", 1), ("1" * 5000, 1)])
def test_a_version_of_any_length_is_judged(version: str, found: int) -> None:
    document = {
        "manifest_version": version,
        "runner": "docker-compose",
        "docker_compose_file": "services: {a: {image: a}}",
    }
    findings = audit_manifest(json.dumps(document).encode()).findings
    assert [item.rule for item in findings].count("MAN-006") == found
