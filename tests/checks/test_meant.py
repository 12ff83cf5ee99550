"""Which of the attesters in the evidence a question is about."""

from types import SimpleNamespace
from typing import Final, cast

import pytest

from verifier.checks import instances
from verifier.checks.case import Question
from verifier.checks.instances import meant
from verifier.evidence.bundle import Bundle
from verifier.evidence.import_files import REPORTED

APP: Final = "aa" * 20
OTHER: Final = "bb" * 20
REPORT: Final = REPORTED[0]
STATED: Final = {
    f"{REPORT}/0": APP,
    f"{REPORT}/1": OTHER,
    f"{REPORT}/2": None,
    "gw.example/0": APP,
    "gw.example/1": OTHER,
}
"""The app that the Info of each attester names."""


@pytest.mark.parametrize(
    ("subjects", "app_id", "expected"),
    [
        ((f"{REPORT}/0", f"{REPORT}/1", f"{REPORT}/2"), APP, (f"{REPORT}/0",)),
        ((f"{REPORT}/0", f"{REPORT}/1"), OTHER, (f"{REPORT}/1",)),
        ((f"{REPORT}/0", f"{REPORT}/2"), None, (f"{REPORT}/0", f"{REPORT}/2")),
        ((f"{REPORT}/0", f"{REPORT}/1"), "cc" * 20, (f"{REPORT}/0", f"{REPORT}/1")),
        (("gw.example/0", "gw.example/1"), APP, ("gw.example/0", "gw.example/1")),
        ((f"{REPORT}/0", "gw.example/1"), APP, (f"{REPORT}/0", "gw.example/1")),
    ],
)
def test_only_a_report_about_several_apps_is_sorted_by_what_its_guests_say(
    monkeypatch: pytest.MonkeyPatch,
    subjects: tuple[str, ...],
    app_id: str | None,
    expected: tuple[str, ...],
) -> None:
    """A guest that answered for the app in question is judged, whichever app it says it is of."""

    def read_subject(_bundle: object, name: str) -> object:
        stated = {} if STATED[name] is None else {"app_id": STATED[name]}
        return SimpleNamespace(infos=[SimpleNamespace(value=SimpleNamespace(stated=stated))])

    monkeypatch.setattr(instances, "read_subject", read_subject)
    bundle = cast("Bundle", SimpleNamespace(subjects=subjects))
    question = cast("Question", SimpleNamespace(app_id=app_id, instances=()))
    assert meant(bundle, question) == expected
