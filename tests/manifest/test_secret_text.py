"""Secrets are masked wherever they stand, and nothing else is."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifest.secrets import NAMED, PEM, TOKENS, compose_file, found_in, script
from verifier.manifest.secret_text import mask, masked, masked_value, named_value

AROUND = ("{}", "x={}", "--flag {} --other", '{{"a":"{}"}}', "`{}`", "see {}, or not", "- {}\n- b")


@pytest.mark.parametrize("kind", sorted(TOKENS))
def test_a_token_is_told_by_its_form(kind: str) -> None:
    token = TOKENS[kind]
    for around in AROUND:
        shown = masked(around.format(token))
        assert token[4:] not in shown, around
        assert mask(token) in shown, around


@pytest.mark.parametrize("kind", sorted(NAMED))
def test_a_secret_is_told_by_its_name_or_its_url(kind: str) -> None:
    line, hidden = NAMED[kind]
    for text in (
        line,
        f"      {line}  # why",
        f"- {line.replace(': ', '=', 1)}",
        f"{line}\r\nb: 1",
    ):
        assert hidden not in masked(text), text
    name, _, value = line.partition(": ")
    assert hidden not in str(masked_value({name: [value.strip("'\"")]}))


def test_a_mask_says_how_long_it_is_and_which() -> None:
    secret = TOKENS["github"]
    digest = hashlib.sha256(secret.encode()).hexdigest()[:8]
    assert mask(secret) == f"ghp_…(40 characters, sha256 {digest})"
    assert mask("abcdef").startswith("…(6 characters")


@pytest.mark.parametrize(
    "text",
    [
        "docker.io/library/nginx@sha256:" + "ab" * 32,
        "compose hash " + "ab" * 32,
        "git clone https://github.com/o/r && git checkout " + "ab" * 20,
        "ssh://git@github.com/o/r",
        "DB_PASSWORD: ${DB_PASSWORD:?}",
        "- API_TOKEN=$TOKEN",
        "TOKEN_FILE: /run/secrets/token",
        "PUBLIC_KEY=0x" + "ab" * 32,
        "PASSWORD: changeme",
        "USE_TOKEN: true",
        "the token is not set, and its secret: none",
        "https://example.org/a/b?page=2#key",
        "https://0123456789abcdef0123456789abcdef01234567-8090.dstack-prod5.example.org/",
        "application.identity key_management.keys",
        "Basic understanding of token=none",
        "docker run -u 1000:1000 x && sort -u a:b",
        "0x2f83172A49584C017F2B256F0FB2Dca14126Ba9C",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert masked(text) == text


def test_lines_stay_lines() -> None:
    for text in (compose_file(), script(), "\n".join(PEM)):
        assert masked(text).count("\n") == text.count("\n")
        assert not found_in(masked(text))


def test_a_block_under_the_name_of_a_secret() -> None:
    text = "a:\n  DB_PASSWORD: |-\n    one-secret\n    another-one\n  COLOUR: >\n    no-secret\n"
    shown = masked(text)
    assert "secret\n    " not in shown.replace("no-secret", "")
    assert "another-one" not in shown
    assert "no-secret" in shown
    assert shown.count("\n") == text.count("\n")
    assert masked(shown) == shown


def test_a_value_is_masked_by_its_name() -> None:
    assert named_value("API_KEY", "harmless-looking") == mask("harmless-looking")
    assert named_value("COLOUR", "harmless-looking") == "harmless-looking"
    assert masked_value({"n": 1, "b": True, "z": None}) == {"n": 1, "b": True, "z": None}


PIECES = st.sampled_from(
    [
        *(*TOKENS.values(), *(line for line, _ in NAMED.values()), *PEM, "\n", " ", "=", ": ", "'"),
        *("PASSWORD", "://", "@", "?key=", "…(", "--token ", "sk-", "KEY=", '"', "a_b", "é", "\t"),
    ]
)


@given(st.one_of(st.text(max_size=80), st.lists(PIECES, max_size=9).map("".join)))
@settings(max_examples=50)
def test_lines_of_any_text_stay_lines(text: str) -> None:
    assert masked(text).count("\n") == text.count("\n")


@pytest.mark.parametrize("text", [compose_file(), script(), *(line for line, _ in NAMED.values())])
def test_what_is_masked_stays(text: str) -> None:
    assert masked(masked(text)) == masked(text)


UNITS = (
    *("-", "_", "a_", "a.", "a-", "KEY", "://", "://a", "://a:", "eyJ-", "PASSWORD", "PASSWORD="),
    *(" ", "\n", "?key", "-----BEGIN PRIVATE KEY-----", "SG.a", "sk-", "M-", "'", "TOKEN \t"),
    *("…(", "$$", "-u a:", "Bearer ", "token", "a=", "--", "-token=", "TOKEN: |\n "),
)


@pytest.mark.parametrize("unit", UNITS)
def test_no_text_takes_long(unit: str) -> None:
    masked("KEY PASS ://" + unit * (60_000 // len(unit)))
