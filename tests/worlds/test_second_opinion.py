"""With a second opinion, what two readers of the chain's answers read otherwise decides nothing."""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from tests.worlds.audited import Audited
from verifier.chain.second_opinion import METHODS, Web3Reader, second_opinion
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Kind
from verifier.evidence.chain.contract_events import topic_of
from verifier.model.result import JsonValue, Status, Verdict


def opinion_of(audited: Audited) -> Any:
    found = audited.report.second_opinion
    assert found is not None
    return found


def assert_both_are_named(audited: Audited) -> None:
    """The first check that rests on the answers errs, and none behind it is usable."""
    assert audited.report.verdict is Verdict.NONE
    (first,) = audited.check("key_management.provider")
    assert first.status is Status.ERROR
    assert "dstack-audit reads" in first.reason
    assert "web3 8" in first.reason
    assert opinion_of(audited).disagreements
    for name in ("contract", "allowed", "history", "governance"):
        (result,) = audited.check(f"authorization.{name}")
        assert result.status not in (Status.PASS, Status.WARN)


def test_where_no_other_check_reads_the_chain_before_it_the_history_errs(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(_: Web3Reader, method: str, text: str) -> Any:
        raise ValueError(method, len(text))

    monkeypatch.setattr(Web3Reader, "result", no_answer)
    with pytest.raises(EvidenceError, match=r"dstack-audit reads .* web3 8.* refuses it"):
        honest.again(second_opinion=True).timeline()


def test_honest_answers_are_read_alike_and_nothing_else_changes(honest: Audited) -> None:
    again = honest.again(second_opinion=True)
    assert again.report.verdict is Verdict.AFFIRMING
    assert again.report.subjects == honest.report.subjects
    assert honest.report.second_opinion is None
    opinion = opinion_of(again)
    assert opinion.reader.startswith("web3 8")
    assert not opinion.disagreements
    assert opinion.calls > 100
    assert opinion.logs > 20


def test_every_call_of_an_audit_has_a_second_reading(honest: Audited) -> None:
    reader, sent = Web3Reader(), set[str]()
    for item in honest.bundle.of(Kind.JSON_RPC):
        request = json.loads(item.request)
        if request["method"] != "eth_call":
            assert request["method"] in {*METHODS, "eth_getLogs"}
            continue
        data = bytes.fromhex(request["params"][0]["data"][2:])
        function = reader.function(data)
        assert function is not None, data[:4].hex()
        reader.arguments(function, data)
        sent.add(function.name)
    assert len(sent) > 10


def test_every_answer_that_says_something_is_counted(honest: Audited) -> None:
    said = 0
    for item in honest.bundle.of(Kind.JSON_RPC):
        result = json.loads(honest.bundle.blob(item)).get("result")
        no_such_function = result == "0x" and '"eth_call"' in item.request
        said += not (result is None or no_such_function or "eth_getLogs" in item.request)
    assert second_opinion(honest.bundle).calls == said


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("eth_getBlockByNumber", {"size": "many"}),
        ("eth_getTransactionByHash", {"gas": "all of it"}),
    ],
)
def test_an_answer_that_only_this_project_can_read(
    honest: Audited, method: str, change: dict[str, str]
) -> None:
    def edit(item: Artifact, raw: bytes) -> bytes:
        if item.kind is not Kind.JSON_RPC or f'"{method}"' not in item.request:
            return raw
        answer = json.loads(raw)
        answer["result"] |= change
        return json.dumps(answer).encode()

    plain = honest.editing(edit)
    assert plain.report.verdict is Verdict.AFFIRMING
    asked = plain.again(second_opinion=True)
    assert_both_are_named(asked)
    assert "refuses it" in opinion_of(asked).disagreements[0]


def test_a_log_that_only_this_project_can_read(honest: Audited) -> None:
    def edit(item: Artifact, raw: bytes) -> bytes:
        if item.kind is not Kind.LOG_SCAN:
            return raw
        scan = json.loads(raw)
        for entry in scan["answers"]:
            answer = json.loads(entry["answer"])
            for log in answer["result"]:
                log["transactionIndex"] = "first"
            entry["answer"] = json.dumps(answer)
        return json.dumps(scan).encode()

    plain = honest.editing(edit)
    assert plain.report.verdict is Verdict.AFFIRMING
    assert_both_are_named(plain.again(second_opinion=True))


def test_a_reader_that_reads_an_event_otherwise(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Web3Reader.event

    def other(self: Web3Reader, found: Mapping[str, Any]) -> tuple[str, dict[str, JsonValue]]:
        name, args = read(self, found)
        allowed = bytes(found["topics"][0]).hex() == topic_of("ComposeHashAdded")[2:]
        return name, {"composeHash": "00" * 32} if allowed else args

    monkeypatch.setattr(Web3Reader, "event", other)
    assert_both_are_named(honest.again(second_opinion=True))


def test_a_reader_that_reads_an_answer_otherwise(
    honest: Audited, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Web3Reader.answer

    def other(self: Web3Reader, function: Any, raw: bytes) -> Any:
        found = read(self, function, raw)
        return not found if found is True else found

    monkeypatch.setattr(Web3Reader, "answer", other)
    assert_both_are_named(honest.again(second_opinion=True))


def test_web3_is_loaded_without_a_connection_or_a_process_and_leaves_the_stack_as_it_was() -> None:
    code = """
import sys
seen = []

def hook(name, args):
    # urllib3 tries, on loopback, whether the machine has IPv6.
    if name != "socket.bind" or args[1][0] != "::1":
        seen.append(name)

sys.addaudithook(hook)
limit = sys.getrecursionlimit()
from verifier.chain.second_opinion import Web3Reader
assert "web3" not in sys.modules
Web3Reader()
assert sys.getrecursionlimit() == limit
reached = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen",
           "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
print(sorted(set(reached) & set(seen)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
