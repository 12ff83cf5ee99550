"""The KMS's answer about an app's environment key is as old as its date; without one it may be of
any age."""

import json
from collections.abc import Callable
from functools import cache
from typing import Final

import pytest
from msgspec.structs import replace

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import assert_noticed, assert_stands
from verifier.evidence.bundle import Kind
from verifier.evidence.codec import JsonObject
from verifier.lab.knobs import DAY, DEFAULT_NOW, Knobs
from verifier.lab.response import Response

ROOT: Final = "key_management.root"
DATE: Final = ("timestamp", "signature_v1")
GARBAGE: Final = "00" * 65

Edit = Callable[[JsonObject], JsonObject]


@cache
def of_a_year_ago() -> JsonObject:
    """What the same KMS answered a year ago about the same app."""
    audited = audit(Knobs(now=DEFAULT_NOW - 365 * DAY))
    assert audited.world.app_id == audit(Knobs()).world.app_id
    document: JsonObject = json.loads(audited.bundle.blob(audited.bundle.of(Kind.KMS_ENV_KEY)[0]))
    assert set(DATE) <= document.keys()
    return document


def answering(edit: Edit) -> Audited:
    """The KMS's answer, changed."""
    changed: list[JsonObject] = []

    def respond(_method: str, url: str, _body: bytes, response: Response) -> Response:
        if "GetAppEnvEncryptPubKey" not in url:
            return response
        changed.append(edit(json.loads(response.body)))
        return replace(response, body=json.dumps(changed[-1]).encode())

    audited = audit(Knobs(edit_response=respond))
    assert changed
    return audited


def without(*names: str, **more: str) -> Edit:
    """A replayed answer without some members, and with others in their place."""

    def edit(_answer: JsonObject) -> JsonObject:
        rest = {name: value for name, value in of_a_year_ago().items() if name not in names}
        return {**rest, **more}

    return edit


def test_an_answer_of_today() -> None:
    assert_stands(answering(lambda answer: answer), ROOT)


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(without(), id="whole"),
        pytest.param(without(*DATE), id="without date"),
        pytest.param(without("timestamp"), id="without time"),
        pytest.param(without("timestamp", signature_v1=GARBAGE), id="garbage, no time"),
        pytest.param(without("signature_v1"), id="time without signature"),
        pytest.param(without(signature_v1=GARBAGE), id="garbage in place of the signature"),
    ],
)
def test_an_answer_of_a_year_ago(edit: Edit) -> None:
    assert_noticed(answering(edit), ROOT)


def test_an_answer_of_today_without_its_date() -> None:
    """It cannot be told from one of a year ago."""
    undated = answering(lambda answer: {k: v for k, v in answer.items() if k not in DATE})
    assert_noticed(undated, ROOT)


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(lambda: GARBAGE, id="garbage"),
        pytest.param(lambda: of_a_year_ago()["signature_v1"], id="of a year ago"),
    ],
)
def test_an_answer_of_today_whose_date_the_kms_did_not_sign(signature: Callable[[], str]) -> None:
    audited = answering(lambda answer: {**answer, "signature_v1": signature()})
    assert_noticed(audited, ROOT, refusing=True)
