"""What a log says of its own entries, and what is recomputed of them."""

from typing import Final

import pytest
from msgspec.structs import replace

from verifier.checks.runtime import _appended
from verifier.errors import EvidenceError
from verifier.evidence.td.event_log import (
    RUNTIME_IMR,
    Event,
    checked_digest,
    runtime_digest,
    runtime_preimage_v2,
)

RUNTIME_TYPE: Final = 0x08000001


def entry(version: int) -> Event:
    bare = Event(RUNTIME_IMR, RUNTIME_TYPE, None, "compose-hash", b"\x11" * 32, version)
    return replace(bare, digest=runtime_digest(bare))


def test_what_the_app_appended_is_what_follows_in_its_own_register() -> None:
    own = replace(entry(1), name="of the app")
    elsewhere = replace(own, imr=2, name="of the firmware")
    foreign = replace(own, event_type=4, name="of nobody")
    log = (elsewhere, entry(1), elsewhere, foreign, own)
    assert _appended(log, 1) == ["of the app"]


@pytest.mark.parametrize("version", [1, 2])
def test_a_digest_is_recomputed_whether_it_is_shown_or_not(version: int) -> None:
    shown = entry(version)
    assert (
        checked_digest(shown)
        == checked_digest(replace(shown, digest=None))
        == runtime_digest(shown)
    )
    with pytest.raises(EvidenceError, match="is not that of its name"):
        checked_digest(replace(shown, digest=bytes(48)))


def test_a_preimage_has_one_spelling() -> None:
    shown = entry(2)
    canonical = runtime_preimage_v2(shown)
    assert checked_digest(replace(shown, preimage=canonical)) == runtime_digest(shown)
    with pytest.raises(EvidenceError, match="not canonical"):
        checked_digest(replace(shown, preimage=canonical.replace(b":", b": ")))


def test_the_first_version_has_no_preimage_to_compare() -> None:
    shown = entry(1)
    assert checked_digest(replace(shown, preimage=b"anything")) == runtime_digest(shown)


def test_an_entry_of_another_type_rests_on_the_digest_that_is_shown() -> None:
    foreign = replace(entry(1), event_type=5, digest=b"\x22" * 48)
    assert checked_digest(foreign) == b"\x22" * 48
    with pytest.raises(EvidenceError, match="none can be recomputed"):
        checked_digest(replace(foreign, digest=None))


def test_what_an_app_appends_stands_in_the_register_of_what_is_started() -> None:
    own = replace(entry(1), name="own")
    others = (replace(own, imr=2), replace(own, event_type=5))
    assert _appended((entry(1), *others, own), 1) == ["own"]
