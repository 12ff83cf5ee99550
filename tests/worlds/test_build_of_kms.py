"""Which release a guest is of, and so whether it should have measured the build of its KMS, its
registers say before the other events of its log do."""

from collections.abc import Callable

import pytest

from tests.worlds.audited import Audited, audit
from verifier.evidence.codec import JsonObject
from verifier.lab import forgeries as forge
from verifier.lab.events import Event, runtime_event
from verifier.lab.knobs import Knobs
from verifier.model.result import Status, Verdict
from verifier.reference.values import embedded

CHECK = "key_management.provider"


def of_release(release: str) -> Callable[[JsonObject], JsonObject]:
    """Reference values in which every image is of a release."""

    def edit(document: JsonObject) -> JsonObject:
        rows = [{**row, "release": release} for row in document["os_images"]]  # type: ignore[union-attr, dict-item]
        return {**document, "os_images": rows}  # type: ignore[dict-item]

    return edit


def without_build(beside: str, before: str) -> forge.EventsEdit:
    """No `mr-kms`, and an event of another release before another one."""

    def edit(events: list[Event]) -> list[Event]:
        kept = [event for event in events if event.name != "mr-kms"]
        place = next(place for place, event in enumerate(kept) if event.name == before)
        return [*kept[:place], runtime_event(beside, bytes(32)), *kept[place:]]

    return edit


def judged(edit: forge.EventsEdit | None, release: str, version: str = "0.5.8") -> Audited:
    return audit(Knobs(edit_events=edit, version=version), reference=of_release(release))


@pytest.mark.parametrize("release", ["0.4.2", "0.5.8", "nvidia-0.5.11", "0.5.4.1"])
@pytest.mark.parametrize(
    ("beside", "before"), [("gpu-policy-hash", "system-ready"), ("rootfs-hash", "app-id")]
)
def test_an_event_of_another_release_excuses_nothing(
    beside: str, before: str, release: str
) -> None:
    audited = judged(without_build(beside, before), release)
    assert audited.check(CHECK)[0].status is Status.WARN
    assert audited.report.verdict is Verdict.WARNING


@pytest.mark.parametrize(
    ("release", "version"), [("0.5.8", "0.5.8"), ("0.6.0 beta", "0.6.0"), ("0.6", "0.6.0")]
)
def test_an_honest_guest_of_either_release_passes(release: str, version: str) -> None:
    assert judged(None, release, version).check(CHECK)[0].status is Status.PASS


def test_a_release_has_numbers_or_none() -> None:
    found = {row.release: row.version for row in embedded().os_images}
    assert found["nvidia-dev-0.5.4.1"] == (0, 5, 4, 1)
    assert found["0.5.10"] == (0, 5, 10)
    assert found["0.6.0 pre-release"] == (0, 6, 0)
    assert found[""] == ()
