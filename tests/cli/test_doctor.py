"""`verify doctor` says what answers, and ends as its help says."""

import json

import pytest

from tests.cli.command import Run
from verifier.errors import Cause
from verifier.evidence.sources import Purpose, Sounding


def soundings(*silent: Purpose) -> tuple[Sounding, ...]:
    return tuple(
        Sounding(
            purpose=purpose,
            place=f"{purpose.name.lower()}.example",
            operator=operator,
            group="chain 8453" if purpose is Purpose.CHAIN else "",
            said="the host name does not resolve\x1b[2J" if purpose in silent else "",
            cause=Cause.NO_ADDRESS,
        )
        for purpose in Purpose
        for operator in ("one", "two")
    )


@pytest.mark.parametrize(
    ("silent", "code"),
    [((), 0), ((Purpose.KMS,), 5), ((Purpose.COLLATERAL,), 3), (tuple(Purpose), 3)],
    ids=["all", "no-kms", "no-collateral", "no-network"],
)
def test_the_exit_code_is_what_an_audit_can_rest_on(
    call: Run, monkeypatch: pytest.MonkeyPatch, silent: tuple[Purpose, ...], code: int
) -> None:
    found = soundings(*silent)
    monkeypatch.setattr("verifier.api.examine_sources", lambda *_: found)
    said, listed = call("doctor"), call("doctor", "--json")
    assert said.code == listed.code == code
    assert "\x1b" not in said.out + said.err
    works = [json.loads(line)["works"] for line in listed.out.splitlines()]
    assert works == [item.works for item in found]
    if len(silent) == len(Purpose):
        assert (said.out, said.err.count("\n")) == ("", 1)
        assert "there is no network" in said.err
        return
    for purpose in Purpose:
        mark = "none" if purpose in silent else "ok  "
        count = 0 if purpose in silent else 2
        assert f"{mark}  {purpose.value}: {count} of 2 answer\n" in said.out
    assert said.out.count("      next: ") == len(silent)
    assert "from here.\n" in said.out.splitlines(keepends=True)[-1]


def test_one_operator_of_a_chain_is_said_to_be_too_few(
    call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = tuple(item for item in soundings() if item.operator == "one")
    monkeypatch.setattr("verifier.api.examine_sources", lambda *_: found)
    said = call("doctor")
    assert said.code == 0
    assert "chain 8453: fewer than two operators answer" in said.out
