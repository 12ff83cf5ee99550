"""Recipients of alerts that take them, refuse, hang, or lead elsewhere."""

import base64
import hashlib
import hmac
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.watch.observed import HONEST, with_facts
from verifier.cli.recipients import Lines, Program, Webhook, webhook_secret
from verifier.errors import UsageError
from verifier.watch.alerts import Alert, NotDelivered, alert_of
from verifier.watch.memory import Memory, remember

SECRET = b"0123456789abcdef"


@pytest.fixture(scope="module")
def server() -> Iterator[HTTPServer]:
    with HTTPServer("127.0.0.1") as running:
        yield running


@pytest.fixture
def hook(server: HTTPServer) -> HTTPServer:
    server.clear()
    return server


def alert() -> Alert:
    memory, _ = remember(Memory(), HONEST, 3)
    observation = with_facts(1, manifest="22" * 32)
    _, changes = remember(memory, observation, 3)
    return alert_of(7, 0, changes[0], observation)


def webhook(server: HTTPServer) -> Webhook:
    return Webhook(server.url_for("/secret-path"), SECRET, "example.org/watch", lambda: 1234)


def test_a_webhook_is_sent_what_its_secret_signs(hook: HTTPServer) -> None:
    hook.expect_request("/secret-path", method="POST").respond_with_data(b"")
    webhook(hook).deliver(alert())
    request, _ = hook.log[0]
    body = request.get_data()
    assert json.loads(body)["kind"] == "manifest"
    assert request.headers["webhook-id"] == "example.org/watch#7.0"
    signed = b"example.org/watch#7.0.1234." + body
    version, signature = request.headers["webhook-signature"].split(",")
    assert version == "v1"
    assert base64.b64decode(signature) == hmac.digest(SECRET, signed, hashlib.sha256)


@pytest.mark.parametrize("status", [302, 307, 404, 500])
def test_a_webhook_that_refuses_or_leads_elsewhere_did_not_take_it(
    hook: HTTPServer, status: int
) -> None:
    elsewhere = {"Location": hook.url_for("/elsewhere")}
    hook.expect_request("/secret-path").respond_with_data(b"", status, headers=elsewhere)
    with pytest.raises(NotDelivered) as refused:
        webhook(hook).deliver(alert())
    assert "secret-path" not in refused.value.message
    assert {request.path for request, _ in hook.log} == {"/secret-path"}
    assert len(hook.log) == (3 if status == 500 else 1)


def test_a_webhook_that_hangs_ends_in_time(
    hook: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang(_: Request) -> Response:
        time.sleep(1)
        return Response()

    monkeypatch.setattr("verifier.cli.recipients.TIMEOUT", 0.2)
    hook.expect_request("/secret-path").respond_with_handler(hang)
    began = time.monotonic()
    with pytest.raises(NotDelivered):
        webhook(hook).deliver(alert())
    assert time.monotonic() - began < 0.9


def test_the_name_of_a_webhook_hides_its_path() -> None:
    named = Webhook("https://hooks.example/T0/secret", SECRET, "o", lambda: 0).name
    assert "secret" not in named
    assert named != Webhook("https://hooks.example/T0/other", SECRET, "o", lambda: 0).name


def test_a_program_is_given_the_alert_and_no_shell_reads_its_words(tmp_path: Path) -> None:
    place = tmp_path / "got"
    code = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())"
    Program(f"{sys.executable} -c {json.dumps(code)} {place}").deliver(alert())
    assert json.loads(place.read_bytes())["id"] == "7.0"
    Program(f"true '; touch {tmp_path / 'no'}'").deliver(alert())
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("words", ["false", "/nowhere/at/all"])
def test_a_program_that_fails_did_not_take_it(words: str) -> None:
    with pytest.raises(NotDelivered):
        Program(words).deliver(alert())


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "late"
    script = tmp_path / "hang.sh"
    script.write_text(f"(sleep 1; touch {mark}) &\nsleep 60\n", encoding="utf-8")
    began = time.monotonic()
    with pytest.raises(NotDelivered, match="did not end"):
        Program(f"sh {script}", timeout=0.2).deliver(alert())
    assert time.monotonic() - began < 5
    time.sleep(1)
    assert not mark.exists()


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path) -> None:
    place = tmp_path / "alerts.jsonl"
    place.write_bytes(b'{"cut":')
    lines = Lines(place)
    lines.deliver(alert())
    lines.deliver(alert())
    rows = place.read_bytes().splitlines()
    assert rows[0] == b'{"cut":'
    assert [json.loads(row)["id"] for row in rows[1:]] == ["7.0", "7.0"]
    with pytest.raises(NotDelivered):
        Lines(tmp_path).deliver(alert())


def test_secrets_are_long_enough(tmp_path: Path) -> None:
    place = tmp_path / "secret"
    place.write_text("0123456789abcdef\n", encoding="utf-8")
    assert webhook_secret(str(place)) == SECRET
    assert webhook_secret("whsec_" + base64.b64encode(SECRET).decode()) == SECRET
    place.write_text("short\n", encoding="utf-8")
    for bad in (str(place), "whsec_!", str(tmp_path / "none")):
        with pytest.raises(UsageError):
            webhook_secret(bad)


@pytest.mark.parametrize("words", ["", "a 'b"])
def test_words_that_are_no_command_are_refused(words: str) -> None:
    with pytest.raises(UsageError):
        Program(words)


def test_the_name_of_a_program_holds_no_argument_of_it() -> None:
    one, other = (Program(f"notify --token {token}") for token in ("s3cret", "another"))
    assert one.name.startswith("program notify (")
    assert "s3cret" not in one.name
    assert one.name != other.name
