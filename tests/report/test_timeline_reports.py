"""Timelines as text and as records: what is said first, what is never left out, what is inert."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import jsonschema  # type: ignore[import-untyped]
import pytest
import rfc8785
from msgspec.structs import replace
from syrupy.assertion import SnapshotAssertion

from tests.report.test_render_text import MarkdownExtension, TextExtension
from tests.report.timelines import (
    APP,
    APP_STATE,
    CALM,
    COVERAGE,
    FIRST,
    HEIR,
    KMS_STATE,
    OWNER,
    ROGUE_CODE,
    SECOND,
    TIMELINES,
    TROUBLED,
    event,
)
from verifier.evidence.chain.contract_events import DECLARATIONS
from verifier.evidence.chain.ethereum import keccak256
from verifier.model.chain import ZERO_ADDRESS, Role
from verifier.model.result import Basis, JsonValue
from verifier.model.timeline import (
    UNKNOWN,
    Beginning,
    Exposure,
    ExposureKind,
    Known,
    Method,
    Origin,
    Timeline,
    TimelineEvent,
)
from verifier.model.witness import Unanswered, Witnessed, WitnessHistory
from verifier.report.page import MIN_WIDTH
from verifier.report.timeline import sentences
from verifier.report.timeline.csv import render_csv
from verifier.report.timeline.earlier import read_timeline
from verifier.report.timeline.json import render_json
from verifier.report.timeline.markdown import render_markdown
from verifier.report.timeline.overview import (
    allowed_now,
    concerns,
    timeline_summary,
    who_can_change,
)
from verifier.report.timeline.sentences import Narrator
from verifier.report.timeline.terminal import render_terminal

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs" / "schema" / "timeline-v1.schema.json").read_text())
URL = re.compile(r"https://(basescan\.org|etherscan\.io)/tx/0x[0-9a-f]{64}")


class CsvExtension(TextExtension):
    """A snapshot that a spreadsheet opens."""

    file_extension = "csv"


@pytest.fixture(params=sorted(TIMELINES))
def timeline(request: pytest.FixtureRequest) -> Timeline:
    """Each of the timelines in turn."""
    return TIMELINES[request.param]


def terminal(timeline: Timeline, *, width: int = 80, verbose: int = 0) -> str:
    return render_terminal(timeline, color=False, width=width, verbose=verbose)


def sentence(item: TimelineEvent, timeline: Timeline = CALM) -> str:
    return Narrator(timeline).sentence(item)


def test_terminal_snapshot(timeline: Timeline, snapshot: SnapshotAssertion) -> None:
    assert terminal(timeline) == snapshot(extension_class=TextExtension)


def test_verbose_snapshot(snapshot: SnapshotAssertion) -> None:
    assert terminal(TROUBLED, width=100, verbose=1) == snapshot(extension_class=TextExtension)


def test_markdown_snapshot(timeline: Timeline, snapshot: SnapshotAssertion) -> None:
    assert render_markdown(timeline) == snapshot(extension_class=MarkdownExtension)


def test_csv_snapshot(snapshot: SnapshotAssertion) -> None:
    text = render_csv(TROUBLED).replace("\r\n", "\n")
    assert text == snapshot(extension_class=CsvExtension)


def test_json_snapshot(timeline: Timeline, snapshot: SnapshotAssertion) -> None:
    assert json.loads(render_json(timeline)) == snapshot


def test_summary_snapshot(timeline: Timeline, snapshot: SnapshotAssertion) -> None:
    assert timeline_summary(timeline) == snapshot


def test_first_screen_says_what_who_and_what_is_wrong() -> None:
    screen = "\n".join(terminal(CALM).splitlines()[:24])
    for heading in ("COMPLETE: ", "ALLOWED NOW ", "IN CONTROL ", "STANDS OUT "):
        assert f"\n{heading}" in f"\n{screen}"
    assert f"{SECOND}\n" in screen
    assert f"one key, {OWNER}; no notice" in screen
    assert "2 days of notice" in screen
    first = terminal(TROUBLED).splitlines()[:14]
    assert any(line.startswith("Worst ") for line in first)


@pytest.mark.parametrize("render", [terminal, render_markdown])
def test_what_is_missing_is_said_first(render: Callable[[Timeline], str]) -> None:
    text = render(TROUBLED)
    places = ("NOT COMPLETE:", "This history is not complete:", "One source only", "NOT FINAL")
    assert [text.find(item) for item in places] == sorted(text.find(item) for item in places)
    assert -1 not in [text.find(item) for item in places]
    assert text.find("NOT COMPLETE:") < text.find(APP)
    assert "COMPLETE:" in render(CALM)
    assert "NOT " not in render(CALM)


def test_no_coverage_is_not_complete() -> None:
    bare = replace(CALM, coverage=())
    assert not bare.complete
    assert terminal(bare).startswith("NOT COMPLETE: This history is not complete: nothing says")
    assert json.loads(render_json(bare))["complete"] is False
    assert "Nothing says how these events were found." in render_markdown(bare)
    assert timeline_summary(bare)[0].startswith("This history is not complete")


@pytest.mark.parametrize("method", list(Method))
def test_a_silent_flag_is_named(method: Method) -> None:
    state = replace(APP_STATE, any_device=Known(value=True, method=method))
    changed = replace(CALM, app_state=state)
    machines = next(row for row in allowed_now(changed) if row.label == "Machines")
    silent = method in (Method.CALLDATA, Method.STORAGE, Method.NEVER_SET)
    assert machines.alarm
    assert ("set at creation without an event; known from" in machines.text) == silent
    assert ("Any machine may run it, and no event says so." in concerns(changed)) == silent
    assert ("    silently" in terminal(changed)) == silent
    assert ("**silently:**" in render_markdown(changed)) == silent
    assert bool(json.loads(render_json(changed))["state"]["unlogged"]) == silent


def test_unknown_is_never_a_default() -> None:
    app = replace(APP_STATE, any_device=UNKNOWN, upgrades_disabled=UNKNOWN, code=None)
    kms = replace(KMS_STATE, root_key="", gateway_app_id="", code=None)
    changed = replace(CALM, app_state=app, kms_state=kms, governance=())
    shown = {row.label: row.text for row in allowed_now(changed)}
    assert shown["Machines"].startswith("not known")
    assert shown["KMS root"] == "not known"
    assert shown["Gateway"] == "none is named"
    owners = [row.text for row in who_can_change(changed)]
    assert owners.count("who can change it is not known") == 2
    assert sum("code: UNKNOWN" in text for text in owners) == 2
    assert "somebody" in sentence(event("DeviceAdded", 1, 0, sender="", deviceId="x"), changed)


def test_a_manifest_that_no_event_allowed_is_said() -> None:
    state = replace(APP_STATE, compose_hashes=frozenset({SECOND, "99" * 32}))
    assert any(
        f"{'99' * 32} may start, and no event" in item
        for item in concerns(replace(CALM, app_state=state))
    )
    record = event(
        "PolicyChanged", 1, 0, actor=OWNER, policy="5" * 64, policyName="compose-hash",
        value="99" * 32, enabled=True,
    )  # fmt: skip
    known = replace(CALM, app_state=state, events=(record, *CALM.events))
    assert concerns(known) == ()


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            event("ComposeHashAdded", 40_100_000, 5, composeHash=FIRST),
            f"owner key {OWNER} allowed ",
        ),
        (event("ComposeHashAdded", 40_100_000, 5, composeHash=FIRST), ", no notice"),
        (event("DeviceAdded", 40_100_000, 9, deviceId="ab", sender=HEIR), f", through {HEIR}, "),
        (event("DeviceAdded", 39_966_824, 9, deviceId="ab"), "its creator allowed machine ab"),
        (event("AllowAnyDeviceSet", 40_000_000, 0, allowAny=True), "allowed every machine"),
        (event("AllowAnyDeviceSet", 40_000_000, 0, allowAny=False), "allowed listed machines only"),
        (
            event("OwnershipTransferred", 40_000_000, 0, previousOwner=OWNER, newOwner=HEIR),
            f"OWNER CHANGED from {OWNER} to {HEIR}",
        ),
        (
            event("OwnershipTransferred", 1, 0, previousOwner=OWNER, newOwner=ZERO_ADDRESS),
            "nobody owns it any more",
        ),
        (
            event("OwnershipTransferStarted", 1, 0, previousOwner=OWNER, newOwner=ZERO_ADDRESS),
            "took back the offer",
        ),
        (
            event("OwnershipTransferStarted", 1, 0, previousOwner=OWNER, newOwner=HEIR),
            f"offered ownership to {HEIR}",
        ),
        (
            event("ComposeHashProposed", 40_000_000, 0, hash=SECOND, activatesAt=1_766_800_000),
            '("shared-key-demo"), to be allowed from 2025-12-27T01:46:40Z on',
        ),
        (
            event("MinDelayChange", 1, 0, role=Role.KMS_OWNER, oldDuration=172_800, newDuration=0),
            "the delay changed from 2 days to 0 seconds",
        ),
        (event("unknown", 1, 0, topics=["77"], data=""), "an UNKNOWN event"),
        (event("unknown", 1, 0, topics=[], data=""), "with topic none"),
        (event("a name; never seen", 1, 0, x=1), 'event "a name; never seen" {"x":1}'),
        (event("GatewayAppIdSet", 1, 0, role=Role.KMS, gatewayAppId="any"), "accept every gateway"),
        (event("GatewayAppIdSet", 1, 0, role=Role.KMS, gatewayAppId=""), "none is named"),
        (event("ComposeHashAdded", 1, 0), "allowed manifest (not stated)"),
    ],
)
def test_sentences(item: TimelineEvent, said: str) -> None:
    assert said in sentence(item)


def test_code_that_nobody_knows_proves_nothing_from_then_on() -> None:
    said = {item.place: sentence(item, TROUBLED) for item in TROUBLED.events}
    rogue = next(item for item in TROUBLED.events if ROGUE_CODE in item.args.values())
    assert f"installed UNKNOWN code {ROGUE_CODE}" in said[rogue.place]
    for item in TROUBLED.events:
        later = item.role is Role.APP and item.place > rogue.place
        assert said[item.place].endswith("(only the word of unknown code)") == later


@pytest.mark.parametrize("declaration", DECLARATIONS)
def test_every_known_event_has_words(declaration: str) -> None:
    name, _, rest = declaration.partition("(")
    arguments = [item.split() for item in rest.removesuffix(")").split(",") if item]
    args: dict[str, JsonValue] = {
        item[-1]: True if item[0] == "bool" else 1 if item[0].startswith("uint") else "ab"
        for item in arguments
    }
    said = sentence(replace(event(name, 40_000_000, 0, role=Role.KMS), args=args))
    assert not said.startswith("event ")
    assert "(not stated)" not in said


def test_role_names_are_those_of_openzeppelin() -> None:
    for role, name in (
        ("PROPOSER_ROLE", "proposer"),
        ("EXECUTOR_ROLE", "executor"),
        ("CANCELLER_ROLE", "canceller"),
        ("TIMELOCK_ADMIN_ROLE", "administrator"),
    ):
        digest = keccak256(role.encode()).hex()
        item = event("RoleGranted", 1, 0, role=Role.KMS_OWNER)
        granted = replace(item, args={"role": digest, "account": HEIR, "sender": OWNER})
        assert sentence(granted) == f"{HEIR} may now act as {name}, by {OWNER}"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "1 minute"),
        (86_400, "1 day"),
        (86_400 + 60, "1 day"),
        (2 * 86_400 + 3_600, "2 days 1 hour"),
        (90_061, "1 day 1 hour"),
    ],
)
def test_durations(seconds: int, said: str) -> None:
    assert sentences.duration(seconds) == said


def test_only_hashes_become_links() -> None:
    digest = "ab" * 32
    assert sentences.transaction_link(CALM, digest) == f"https://basescan.org/tx/0x{digest}"
    mainnet = replace(CALM, chain_id=1)
    assert sentences.transaction_link(mainnet, digest) == f"https://etherscan.io/tx/0x{digest}"
    assert sentences.transaction_link(replace(CALM, chain_id=2035), digest) == ""
    for hostile in ("AB" * 32, "ab" * 31, f"{digest})](javascript:x", f"{digest}\n", ""):
        assert sentences.transaction_link(CALM, hostile) == ""


def test_shortened_hashes_stay_apart() -> None:
    text = terminal(TROUBLED)
    assert "46e2aa514…" in text
    assert "46e2aa51f…" in text
    assert "46e2aa51…" not in text
    full = terminal(TROUBLED, verbose=1, width=200)
    assert "…" not in full
    assert all(item.transaction in full for item in TROUBLED.events)


def test_nothing_is_left_out(timeline: Timeline) -> None:
    narrator = Narrator(timeline)
    verbose = terminal(timeline, width=2_000, verbose=1)
    listed = list(csv.reader(StringIO(render_csv(timeline), newline="")))
    document = json.loads(render_json(timeline))
    assert len(document["events"]) == len(listed) - 1 == len(timeline.events)
    for item, row, record in zip(timeline.events, listed[1:], document["events"], strict=True):
        said = narrator.sentence(item)
        assert said in verbose
        assert said.lstrip("=+-@") in row[-1]
        assert record["words"] == said
        assert record["finalized"] is not item.provisional
    for exposure in timeline.exposures:
        assert exposure.words in verbose
    for cover in timeline.coverage:
        for text in (*cover.sources, *cover.problems, *cover.unproven):
            assert text in verbose
    assert all(note in verbose for note in timeline.notes)


def test_early_events_of_the_kms_are_counted() -> None:
    assert "3 transactions of the KMS before this app: -v shows them" in terminal(CALM)
    without = replace(CALM, events=CALM.events[:4])
    assert "before this app" not in terminal(without)
    assert "set the KMS root key" in terminal(without)


def test_many_windows_of_one_kind_are_counted() -> None:
    windows = tuple(
        Exposure(
            kind=ExposureKind.STALE_STILL_ALLOWED,
            subject=f"{number:064x}",
            since=number,
            until=None,
            words=f"window {number}.",
            manifest=True,
        )
        for number in range(36)
    )
    found = concerns(replace(CALM, exposures=windows))
    assert len(found) == 1
    assert found[0].startswith("36 times superseded, still allowed: ")
    assert found[0].endswith(" and 33 more")
    assert concerns(replace(CALM, exposures=windows[:2])) == (
        f"window 0 ({windows[0].subject}).",
        f"window 1 ({windows[1].subject}).",
    )


@pytest.mark.parametrize("width", [0, MIN_WIDTH, 80, 120])
@pytest.mark.parametrize("verbose", [0, 1])
def test_lines_fit_the_width(timeline: Timeline, width: int, verbose: int) -> None:
    for line in terminal(timeline, width=width, verbose=verbose).splitlines():
        assert len(line) <= max(width, MIN_WIDTH) or URL.fullmatch(line.strip())
        assert line == line.rstrip()


def test_color_changes_no_letter(timeline: Timeline) -> None:
    colored = render_terminal(timeline, color=True, width=80)
    assert "\x1b" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == terminal(timeline)


def test_schema_is_itself_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_json_matches_the_schema(timeline: Timeline) -> None:
    bare = replace(timeline, events=(), governance=(), changes=(), exposures=(), coverage=())
    for item in (timeline, bare):
        jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(render_json(item)))


def test_schema_refuses_unknown_names() -> None:
    document = json.loads(render_json(TROUBLED))
    places = [document, document["as_of"], document["state"], document["state"]["app"]]
    lists = ("events", "governance", "changes", "exposures", "coverage")
    places += [document["state"]["kms"], *(document[name][0] for name in lists)]
    for place in places:
        place["extra"] = 1
        assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
        del place["extra"]


def test_json_is_canonical(timeline: Timeline) -> None:
    rendered = render_json(timeline)
    assert rendered == rfc8785.dumps(json.loads(rendered)) + b"\n"
    assert rendered.count(b"\n") == 1


def test_large_integers_are_strings() -> None:
    item = event("Initialized", 40_000_000, 0, version=2**64 - 1)
    document = json.loads(render_json(replace(CALM, events=(item,))))
    assert document["events"][0]["args"] == {"version": str(2**64 - 1)}


def test_times_that_no_calendar_has_are_shown_as_unknown() -> None:
    items = tuple(
        replace(event("UpgradesDisabled", 40_000_000, place), time=time)
        for place, time in enumerate((None, -1, 2**60))
    )
    odd = replace(CALM, events=items)
    assert [item["time"] for item in json.loads(render_json(odd))["events"]] == [None] * 3
    assert "time not known" in terminal(odd)
    assert render_markdown(odd)
    assert render_csv(odd).count("\r\n") == 4


def test_records_do_not_import_rich() -> None:
    modules = "verifier.report.timeline.json, verifier.report.timeline.csv"
    code = f"import sys, {modules}; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_complete_by_one_operator_says_both() -> None:
    alone = tuple(replace(item, operators=1) for item in COVERAGE)
    lines = terminal(replace(CALM, coverage=alone, single_source=True))
    assert lines.startswith("ONE SOURCE: One source only")
    assert "\nCOMPLETE: " in lines
    assert "independent operators" not in lines


def test_an_assumed_beginning_is_said() -> None:
    assumed = replace(COVERAGE[1], origin=Origin(kind=Beginning.ASSUMED, asked=7))
    text = terminal(replace(CALM, coverage=(COVERAGE[0], assumed)))
    said = "BEGINNING: Where the history of the KMS begins is assumed: asked from block 7 on."
    assert " ".join(text.split()).startswith(f"{said} COMPLETE: ")
    assert "BEGINNING" not in terminal(CALM)


def test_the_json_gives_every_form_again(timeline: Timeline) -> None:
    seen = Witnessed(
        compose_hash="ab" * 32,
        instance="",
        release="0.5.8",
        first=1_770_000_000,
        last=1_770_000_009,
        looks=2,
        entries=(3, 4),
    )
    history = WitnessHistory(
        app_id=timeline.app_id,
        log="lab+00000000+KEY",
        size=5,
        root="00" * 32,
        basis=Basis.ASSERTED,
        periods=(seen,),
        unanswered=(Unanswered(1_770_000_000, 1_770_000_001, 1),),
    )
    timeline = replace(timeline, witness=history, on=1_780_000_000)
    again = read_timeline(render_json(timeline))
    assert render_json(again) == render_json(timeline)
    assert render_csv(again) == render_csv(timeline)
    seen_rows = render_csv(timeline).splitlines()[-2:]
    assert all('"witness log","witness"' in row for row in seen_rows)
    assert len(set(map(len, csv.reader(render_csv(timeline).splitlines())))) == 1
    assert render_markdown(again) == render_markdown(timeline)
    for verbose in range(3):
        assert terminal(again, verbose=verbose) == terminal(timeline, verbose=verbose)
