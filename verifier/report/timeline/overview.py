"""What a timeline comes to: is it complete, what is allowed now, who can change it, what is wrong.

All text is raw and in full, as in `timeline_words`. Rows stand in the order in which they are read.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.model.chain import OwnerKind, Role
from verifier.model.identifiers import format_time
from verifier.model.timeline import Coverage, Exposure, ExposureKind, Governance, Timeline
from verifier.report.audit.answers import value_text
from verifier.report.timeline import sentences
from verifier.report.timeline.sentences import ROLES, count, manifest
from verifier.timeline.gateway import gateway_ids

_EACH: Final = 2  # of one kind of window that are said one by one
_NAMED: Final = 3  # of more that are named
_SUMMARIZED: Final = 4  # of what is wrong, in a report about more than a timeline
_INDEPENDENT: Final = 2  # operators that confirm each other

_GRAVE: Final = (
    ExposureKind.RUNNING_NOT_ALLOWED,
    ExposureKind.SEEN_NOT_ALLOWED,
    ExposureKind.UNKNOWN_CODE,
    ExposureKind.ROOT_KEY_CHANGED,
)
"""Wrong at any time; what follows is wrong while it lasts."""
_GRAVE_NOW: Final = (
    ExposureKind.SINGLE_KEY,
    ExposureKind.ALLOWED_NEVER_SEEN,
    ExposureKind.STALE_STILL_ALLOWED,
)
_GOVERNED: Final = (Role.APP, Role.KMS)
_POWERS: Final = {Role.KMS: "decides operating systems and the root keys of every app"}


class Row(Struct, frozen=True):
    """A label, "" for a line that goes on, and a text; `alarm` marks what to read first."""

    label: str
    text: str
    alarm: bool = False


def standing(timeline: Timeline) -> Iterator[Row]:
    """How far the history can be relied on; the worst first."""
    if timeline.root_note:
        yield Row("ROOT", timeline.root_note, alarm=True)
    block = f"block {timeline.as_of.block} ({format_time(timeline.as_of.time)})"
    if not timeline.complete:
        reasons = "; ".join(_gaps(timeline)) or "nothing says how its events were found"
        text = f"This history is not complete: {reasons}. Events may be missing below."
        yield Row("NOT COMPLETE", text, alarm=True)
    if timeline.single_source:
        text = (
            "One source only: the servers of one company gave some of this, nobody confirms it, "
            "and what they leave out does not show."
        )
        yield Row("ONE SOURCE", text, alarm=True)
    for item in timeline.coverage:
        if item.role in _GOVERNED and item.origin.assumed:
            text = f"Where the history of the {ROLES[item.role]} begins is {item.origin.words}."
            yield Row("BEGINNING", text, alarm=True)
    if timeline.complete:
        who = "" if timeline.single_source else "; independent sources agree"
        text = f"The events given up to {block} explain what the contracts hold{who}."
        yield Row("COMPLETE", text)
    if timeline.on is not None:
        text = (
            f"As things stood on {format_time(timeline.on)}: what happened later is left out, and "
            "what had no end then has none here."
        )
        yield Row("THEN", text, alarm=True)
    if late := sum(event.provisional for event in timeline.events):
        text = f"{count(late, 'event')} after {block} may still be undone: marked not final."
        yield Row("NOT FINAL", text, alarm=True)


def allowed_now(timeline: Timeline) -> Iterator[Row]:
    """What the contracts allow at the finalized block; the manifests themselves stand apart."""
    app, kms = timeline.app_state, timeline.kms_state
    if not app.continuous or not kms.continuous:
        which = " and ".join(
            name for name, state in (("app", app), ("KMS", kms)) if not state.continuous
        )
        text = f"Code that is not known took over the {which} contract: what follows is its word."
        yield Row("UNPROVEN", text, alarm=True)
    hashes = app.compose_hashes
    number = f"{count(hashes, 'manifest')} may start:" if hashes else "none may start"
    yield Row("Manifests", number)
    ages = {item.compose_hash: item.first for item in timeline.permissions}
    for compose_hash in allowed_manifests(timeline):
        first = ages.get(compose_hash)
        age = f", first allowed {format_time(first)}" if first is not None else ", age not known"
        yield Row("", manifest(timeline, compose_hash) + age)
    listed = f"only {count(app.devices, 'listed machine')} may run it"
    any_machine = sentences.flag_words(app.any_device, "any machine may run it", listed)
    yield Row("Machines", any_machine, alarm=app.any_device.value is not False)
    yield Row(
        "Firmware",
        sentences.flag_words(
            app.require_tcb_up_to_date,
            "machines with outdated firmware are refused",
            "machines with outdated firmware are let in",
        ),
    )
    images = kms.os_images
    yield Row("Systems", f"{count(images, 'operating system image')} allowed by the KMS")
    yield Row("Gateway", sentences.gateway(kms.gateway_app_id), alarm=_open(kms.gateway_app_id))
    yield Row("KMS root", value_text(kms.root_key) if kms.root_key else "not known")


def allowed_manifests(timeline: Timeline) -> tuple[str, ...]:
    """The allowed manifest hashes, the one that was allowed last first."""
    last = {sentences.allowed_by(event): number for number, event in enumerate(timeline.events)}
    return tuple(
        sorted(timeline.app_state.compose_hashes, key=lambda item: (-last.get(item, -1), item))
    )


def who_can_change(timeline: Timeline) -> Iterator[Row]:
    """Who can change what is allowed now, and how fast."""
    for role in _GOVERNED:
        present = [item for item in timeline.governance if item.role is role and item.until is None]
        label = ROLES[role].upper() if role is Role.KMS else ROLES[role].capitalize()
        if not present:
            yield Row(label, "who can change it is not known", alarm=True)
        for period in present:
            yield Row(label, authority(period), alarm=not period.notice and not _frozen(period))
            for remark in period.remarks:
                yield Row("", f"but: {remark}", alarm=True)
        state = timeline.app_state if role is Role.APP else timeline.kms_state
        if state.pending_owner:
            text = f"{value_text(state.pending_owner)} may take over at any time: it was offered"
            yield Row("", text, alarm=True)
        if role is Role.APP:
            yield Row("", _replaceable(timeline), alarm=timeline.app_state.code is None)
        elif timeline.kms_state.code is None:
            yield Row("", f"code: UNKNOWN, {_at(timeline.kms_state.implementation)}", alarm=True)


def authority(period: Governance) -> str:
    """One owner, how many keys it takes, how fast they are, and what they decide beyond the app."""
    if _frozen(period):
        return "nobody: ownership was given up"
    keys = "one key suffices" if period.keys == 1 else f"{period.keys} keys must agree"
    if period.keys is None:
        keys = "how many keys suffice is not known"
    parts = [sentences.owner(period), keys, sentences.notice(period.notice)]
    if period.kind is OwnerKind.EOA and period.keys == 1:
        parts.remove(keys)
    return "; ".join(filter(None, (*parts, _POWERS.get(period.role, ""))))


def authority_details(period: Governance) -> Iterator[str]:
    """Who stands behind an owner that is a contract."""
    named = (
        ("signers", period.signers),
        ("modules, which act without the signers", period.modules),
        ("guard", (period.guard,) if period.guard else ()),
        ("may announce", period.proposers),
        ("may carry out", period.executors),
        ("may change the rules", period.admins),
    )
    if period.delay is not None:
        yield f"delay: {sentences.duration(period.delay)}"
    for label, accounts in named:
        if accounts:
            yield f"{label}: {', '.join(map(value_text, accounts))}"


def concerns(timeline: Timeline) -> tuple[str, ...]:
    """What is wrong, the worst first; of what has ended, only what is grave."""
    found: list[str] = []
    for kind in (*_GRAVE, *_GRAVE_NOW):
        alike = [
            item
            for item in timeline.exposures
            if item.kind is kind and (kind in _GRAVE or item.until is None)
        ]
        found.extend(_said(kind, alike))
    app = timeline.app_state
    announced = {sentences.allowed_by(event) for event in timeline.events}
    found.extend(
        f"Manifest {manifest(timeline, item)} may start, and no event here allowed it."
        for item in sorted(app.compose_hashes - announced)
    )
    if sentences.is_silent(app.any_device):
        found.append("Any machine may run it, and no event says so.")
    if _open(timeline.kms_state.gateway_app_id):
        found.append(
            f"The KMS's gateway is {sentences.gateway(timeline.kms_state.gateway_app_id)}."
        )
    for name, what in (("unknown", "unknown"), ("undecodable", "unreadable")):
        if number := sum(event.name == name for event in timeline.events):
            found.append(f"{count(number, f'{what} event')}: what changed with it is not known.")
    return tuple(found)


def as_of(timeline: Timeline) -> str:
    """The time that the timeline is about, and the block that its events go up to."""
    block = f"block {timeline.as_of.block}, {format_time(timeline.as_of.time)}, finalized"
    return block if timeline.on is None else f"{format_time(timeline.on)}; events up to {block}"


def stands_out(timeline: Timeline) -> str:
    """How much stands out, as the heading of what does."""
    found, exposed = len(concerns(timeline)), len(timeline.exposures)
    wrong = f"{found} {'things' if found > 1 else 'thing'}, the worst first" if found else "nothing"
    seen = f"; {count(exposed, 'window')} of exposure, below" if exposed else ""
    return f"{wrong}{seen}"


def windows(timeline: Timeline) -> tuple[Exposure, ...]:
    """Every window in the order of its beginning; what began nobody knows when comes first."""
    return tuple(
        sorted(
            timeline.exposures,
            key=lambda item: (item.since is not None, item.since or 0, item.kind.value),
        )
    )


def coverage_words(item: Coverage) -> Iterator[Row]:
    """How the logs of one contract are known, and what was compared."""
    cached = f" ({count(item.cached, 'answer')} from earlier audits)" if item.cached else ""
    yield Row("", f"{count(item.logs, 'log')} in blocks {item.first} to {item.last}{cached}")
    yield Row("begins", item.origin.words)
    if item.sources:
        sources = ", ".join(map(value_text, item.sources))
        behind = f"; behind them {count(item.operators, 'operator')}"
        yield Row("sources", f"{sources}{behind}", alarm=item.operators < _INDEPENDENT)
    else:
        yield Row("sources", "NONE gave every block", alarm=True)
    if item.compared:
        proven = (
            f", {item.proven} of them proven against the block's state root" if item.proven else ""
        )
        values = f"{count(item.compared, 'value')} in storage with the events"
        yield Row("compared", values + proven)
    for endpoint, missing in item.partial:
        yield Row("lacking", f"{value_text(endpoint)}: {missing}")
    for problem in item.problems:
        yield Row("PROBLEM", problem, alarm=True)
    for disputed in item.disputed:
        yield Row("DISPUTED", disputed, alarm=True)
    for unproven in item.unproven:
        yield Row("UNPROVEN", unproven, alarm=True)


def timeline_summary(timeline: Timeline) -> list[str]:
    """The timeline in a few plain lines of raw text, for a report about more than it."""
    hashes = timeline.app_state.compose_hashes
    lines = [row.text for row in standing(replace(timeline, root_note=""))]
    lines.append(f"{count(timeline.events, 'event')}; {count(hashes, 'manifest')} may start now.")
    for role in _GOVERNED:
        said = _owners(timeline, role) or "not known"
        lines.append(f"Who can change the {ROLES[role]}: {said}.")
    found = concerns(timeline)
    rest = len(found) - _SUMMARIZED
    return [*lines, *found[:_SUMMARIZED], *([f"And {rest} more, in the timeline."] * (rest > 0))]


def owners_of_app(timeline: Timeline) -> str:
    """Who can change the app, in one line; "" where that is not known."""
    return _owners(timeline, Role.APP)


def _owners(timeline: Timeline, role: Role) -> str:
    present = [item for item in timeline.governance if item.role is role and item.until is None]
    return "; ".join(authority(item) for item in present)


def _said(kind: ExposureKind, alike: list[Exposure]) -> Iterator[str]:
    """Windows of one kind: each in its words, or how many there are."""
    if len(alike) <= _EACH:
        for item in alike:
            named = f" ({value_text(item.subject)})" if item.subject else ""
            yield f"{item.words.removesuffix('.')}{named}."
        return
    subjects = [value_text(item.subject) for item in alike if item.subject]
    named = ", ".join(subjects[:_NAMED])
    more = f" and {len(subjects) - _NAMED} more" if len(subjects) > _NAMED else ""
    yield f"{len(alike)} times {kind.value}: {named}{more}"


def _gaps(timeline: Timeline) -> Iterator[str]:
    """For each contract with a gap, the first thing that is wrong and how many more there are."""
    for item in timeline.coverage:
        if item.complete:
            continue
        lacks = [f"{value_text(name)} lacks {text}" for name, text in item.partial]
        found = [*item.problems, *item.disputed, *item.unproven]
        if not item.sources:
            found.insert(0, "; ".join(("nobody gave every block", *lacks)))
        first, *rest = found
        more = f" (and {len(rest)} more, under coverage)" if rest else ""
        yield f"{ROLES[item.role]} {value_text(item.address)}: {first}{more}"


def _frozen(period: Governance) -> bool:
    return period.kind is OwnerKind.RENOUNCED


def _replaceable(timeline: Timeline) -> str:
    state = timeline.app_state
    known = state.code.name if state.code else f"UNKNOWN, {_at(state.implementation)}"
    replaced = sentences.flag_words(
        state.upgrades_disabled, "nobody can replace it", "whoever owns the app can replace it"
    )
    return f"code: {known}; {replaced}"


def _at(implementation: str) -> str:
    return f"at {value_text(implementation)}" if implementation else "at no known address"


def _open(gateway: str) -> bool:
    found = gateway_ids(gateway)
    return found.any or not found.ids
