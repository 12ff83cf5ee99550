"""Answers that are gone, and answers that nobody vouches for, lift no doubt."""

from functools import cache

import pytest

from tests.worlds.audited import Audited, audit
from tests.worlds.outcomes import assert_noticed
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.lab import contracts
from verifier.lab.knobs import Governance, Knobs
from verifier.model.result import Status

RULES = "manifest.rules"
OWNER = contracts.selector("owner()").hex()


@cache
def owned_by(governance: Governance) -> Audited:
    """An app whose contracts one key owns, or a timelock."""
    return audit(Knobs(governance=governance))


def without(audited: Audited, *kinds: Kind, request: str = "") -> Audited:
    """The same evidence without some of it."""

    def is_gone(item: Artifact) -> bool:
        return item.kind in kinds and request in item.request

    kept = tuple(item for item in audited.bundle.artifacts if not is_gone(item))
    assert len(kept) < len(audited.bundle.artifacts)
    return audited.again(Bundle(kept, audited.bundle.blobs))


def test_one_key_without_notice_is_a_finding() -> None:
    (result,) = owned_by("key").check(RULES)
    assert result.status is Status.WARN


@pytest.mark.parametrize(
    ("kinds", "request_"),
    [
        pytest.param((Kind.LOG_SCAN,), "", id="logs"),
        pytest.param((Kind.JSON_RPC,), "", id="calls"),
        pytest.param((Kind.JSON_RPC,), OWNER, id="calls about owners"),
    ],
)
def test_a_finding_that_needs_answers_stays_without_them(
    kinds: tuple[Kind, ...], request_: str
) -> None:
    assert_noticed(without(owned_by("key"), *kinds, request=request_), RULES)


@pytest.mark.parametrize("governance", ["key", "timelock", "safe"])
def test_what_nobody_vouches_for_leaves_rules_open(governance: Governance) -> None:
    assert_noticed(owned_by(governance).again(trusted=False), RULES)
