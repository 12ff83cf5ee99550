"""What a dashboard says of the app, beside what this audit found: statement by statement.

Theirs is asserted, and decides nothing: it is compared after the verdict. A statement counts as
proven here only where a claim of this audit that is proven has the same value. One that differs
contradicts, unless theirs is of another day and the fact may have changed since.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.guest.dashboard import (
    CLOUD,
    TRUST_CENTER,
    VERIFIER,
    Dashboard,
    parse_dashboard,
)
from verifier.manifest.secret_text import masked
from verifier.model.identifiers import format_time
from verifier.model.report import Beside, Compared, Comparison, Report, SubjectReport
from verifier.model.result import CheckResult, Claim, JsonValue, Status
from verifier.patterns import pattern
from verifier.report.audit import sentences
from verifier.report.audit.answers import Standing, standing, value_text
from verifier.report.audit.families import mark

_SENTENCES: Final = {
    TRUST_CENTER: "What a green shield there does not say: who can change this app and how fast, "
    "what ran before, what its manifest lets the operator do, and whether events were altered "
    "behind their digests. It is the word of the vendor whose service it is about; nothing here "
    "rests on it.",
    VERIFIER: "What a valid answer there does not say: whether this is the app that you mean, what "
    "its manifest lets the operator do, who can change it and how fast, and what ran before. It is "
    "about one quote, and the word of whoever ran that verifier; nothing here rests on it.",
    CLOUD: "It is the word of who runs the app's machines, and comes to no verdict; nothing here "
    "rests on it.",
}
_DAY: Final = 86_400
_HEX: Final = pattern(r"(?:0x)?([0-9a-f]{8,})", re.ASCII)
_VERSION: Final = pattern(r"[0-9]{1,4}(?:\.[0-9]{1,4}){2,3}", re.ASCII)
_ADDRESS: Final = pattern(r"(?:^|/address/)(0x[0-9a-fA-F]{40})$", re.ASCII)
_BESIDE: Final = {Standing.PROVEN: Beside.PROVEN, Standing.MATCHED: Beside.RECOGNISED}
_UNSEEN: Final = (
    ("What was allowed before, and when", "authorization.history"),
    ("Who can change it, how fast, with what notice", "authorization.governance"),
    ("Whether the owners' contracts are code that is known", "authorization.contract"),
    ("Each event's digest, recomputed from its payload", "runtime.replay"),
    ("Whether the key chain leads to the KMS's root", "key_management.root"),
    ("What the manifest lets its operator do", "manifest.rules"),
    ("Whether each image is tied to a commit by its signer", "provenance.images"),
)
"""Questions that others do not ask, and the checks that do."""
_SEEN: Final = {VERIFIER: frozenset({"runtime.replay"})}
"""But for these, which dstack's verifier asks too: it recomputes the digests behind RTMR3."""


class _Topic(Struct, frozen=True):
    """A statement of theirs, and the claim that it is held against.

    name    what it is about, for people
    fields  the fields that make it
    claim   the name of the claim that it is held against
    theirs  brings their statement into one spelling
    ours    brings the claim into the same spelling
    lasts   whether it cannot change while the app stays the same
    """

    name: str
    fields: tuple[str, ...]
    claim: str
    theirs: Callable[[str], str]
    ours: Callable[[JsonValue], str]
    lasts: bool = False


def compare_with_dashboard(report: Report, raw: bytes, source: str) -> Comparison:
    """A report and the dashboard's own about the same app. Raises EvidenceError for a document that
    is no report of a dashboard."""
    theirs = parse_dashboard(raw, "the document to compare")
    subject = _same_guest(report, theirs)
    ours = _app_id(report, subject)
    rows = _rows(report, subject, theirs) if ours == theirs.app_id else ()
    wrong = [row.topic for row in rows if row.beside is Beside.CONTRADICTED]
    if not ours:
        note = "this audit knows no app that it could be compared with"
    elif ours != theirs.app_id:
        note = f"it is about the app {theirs.app_id}, and not about {ours}"
    elif theirs.success and wrong:
        note = f"it shows as verified what this audit contradicts: {', '.join(wrong)}"
    else:
        note = _age_note(report, theirs)
    return Comparison(
        name=theirs.name,
        source=masked(source),
        sha256=hashlib.sha256(raw).hexdigest(),
        made_at=theirs.made_at,
        shows=_shows(theirs),
        rows=rows,
        unseen=_unseen(subject, theirs.name) if rows else (),
        note=note,
    )


def unreadable(raw: bytes, source: str, error: EvidenceError) -> Comparison:
    """A document that cannot be compared, and why: an audit is not lost over it."""
    return Comparison(
        name=TRUST_CENTER,
        source=masked(source),
        sha256=hashlib.sha256(raw).hexdigest(),
        made_at=None,
        shows="nothing that can be read",
        rows=(),
        unseen=(),
        note=masked(error.message),
    )


def sentence(comparison: Comparison) -> str:
    """What theirs does not say, whatever it says."""
    return _SENTENCES.get(comparison.name, "")


def tally(comparison: Comparison) -> str:
    """How many statements stand how, the worst first, or what is wrong with all of it."""
    counted = [(item, sum(row.beside is item for row in comparison.rows)) for item in Beside]
    listed = ", ".join(f"{count} {item.value}" for item, count in reversed(counted) if count)
    return "; ".join(filter(None, (listed, comparison.note)))


def _rows(report: Report, subject: SubjectReport, theirs: Dashboard) -> tuple[Compared, ...]:
    """What they say, in the order of the chain; what they do not say is not there."""
    claims = {claim.name: claim for claim in subject.claims}
    rows = []
    for topic in _TOPICS:
        said = [theirs.values.get(name, "") for name in topic.fields]
        if all(said):
            text = " ".join(said)
            claim = claims.get(topic.claim)
            late = bool(_days_apart(report, theirs)) or _is_another_guest(subject, theirs, topic)
            rows.append(_row(report, subject, (topic, text, claim), late=late and not topic.lasts))
    rows += _registration(subject, theirs)
    rows += _source_code(subject, theirs)
    rows += _gateway(subject, theirs)
    return tuple(rows)


def _row(
    report: Report, subject: SubjectReport, said: tuple[_Topic, str, Claim | None], *, late: bool
) -> Compared:
    """One statement beside its claim; `late` excuses a difference: another day or guest."""
    topic, text, claim = said
    shown = masked(text)
    worth = standing(claim, subject.checks) if claim is not None else Standing.NOT_KNOWN
    if claim is None or worth not in _BESIDE:
        found = "" if claim is None or worth is Standing.NOT_KNOWN else value_text(claim.value)
        return Compared(topic.name, shown, masked(found), Beside.SAID)
    ours, theirs = topic.ours(claim.value), topic.theirs(text)
    found = masked(f"{ours or value_text(claim.value)}{sentences.claim_note(report, worth)}")
    if not ours or not theirs:
        return Compared(topic.name, shown, found, Beside.SAID)
    if ours == theirs:
        return Compared(topic.name, shown, found, _BESIDE[worth])
    return Compared(topic.name, shown, found, Beside.DIFFERS if late else Beside.CONTRADICTED)


def _registration(subject: SubjectReport, theirs: Dashboard) -> list[Compared]:
    """That the manifest is registered, which they ask of one getter."""
    if theirs.values.get("app-main.is_registered") != "true":
        return []
    check = _check(subject, "authorization.allowed")
    if check is None or check.status not in (Status.PASS, Status.WARN, Status.FAIL):
        return [Compared("Manifest is allowed on chain", "true", "", Beside.SAID)]
    fails = check.status is Status.FAIL
    beside = Beside.CONTRADICTED if fails else Beside.PROVEN
    return [Compared("Manifest is allowed on chain", "true", _found(check), beside)]


def _source_code(subject: SubjectReport, theirs: Dashboard) -> list[Compared]:
    """The repository that they name. It comes from who deployed the app; here an image's signer
    names one."""
    repository = theirs.values.get("app-code.github_repo", "")
    commit = theirs.values.get("app-code.git_commit", "")
    if not repository:
        return []
    said = masked(f"{repository} {commit}".strip())
    check = _check(subject, "provenance.images")
    actual = check.actual if check is not None and check.status is Status.PASS else None
    for item in _builds(actual):
        match item:
            case {"source": str(source), "commit": str(built)} if _repository(
                source
            ) == _repository(repository) and commit in {"", built}:
                return [Compared("Source code", said, f"{source} {built}", Beside.PROVEN)]
    return [Compared("Source code", said, "", Beside.SAID)]


def _builds(actual: JsonValue) -> Iterator[JsonValue]:
    """The images of a result; one that was attested at several commits as often as that."""
    for item in actual if isinstance(actual, list) else []:
        match item:
            case {"builds": [*builds]}:
                yield from builds
            case _:
                yield item


def _gateway(subject: SubjectReport, theirs: Dashboard) -> list[Compared]:
    """The gateway and the domain that it guards."""
    rows = []
    if gateway := theirs.values.get("gateway-main.app_id", ""):
        rows.append(Compared("Gateway", masked(gateway), "", Beside.SAID))
    if domain := theirs.values.get("gateway-main.guarded_domain", ""):
        check = _check(subject, "endpoint.domain")
        holds = check is not None and check.status is Status.PASS
        # What was proven is a domain of the app's, not that it is this one.
        found = _found(check) if check is not None and holds else ""
        rows.append(Compared("Domain", masked(domain), found, Beside.SAID))
    return rows


def _unseen(subject: SubjectReport, name: str) -> tuple[tuple[str, str], ...]:
    seen = _SEEN.get(name, frozenset())
    asked = (item for item in _UNSEEN if item[1] not in seen)
    found = ((question, _check(subject, check_id)) for question, check_id in asked)
    return tuple((question, _found(check)) for question, check in found if check is not None)


def _found(check: CheckResult) -> str:
    return f"{mark(check).value}: {check.summary}{sentences.anchor_note(check)}"


def _check(subject: SubjectReport, check_id: str) -> CheckResult | None:
    return next((check for check in subject.checks if check.id == check_id), None)


def _shows(theirs: Dashboard) -> str:
    if theirs.success is None:
        return "no verdict"
    if theirs.success and not theirs.failures:
        return "verified"
    listed = "; ".join(masked(item) for item in theirs.failures[:3])
    return f"not verified{f': {listed}' if listed else ''}"


def _same_guest(report: Report, theirs: Dashboard) -> SubjectReport:
    """The guest that theirs is about too, else the one that decides."""
    instance = theirs.values.get("app-main.instance_id", "").lower().removeprefix("0x")
    for subject in report.subjects:
        if instance and _value(subject, "instance_id") == instance:
            return subject
    return sentences.worst_subject(report)


def _is_another_guest(subject: SubjectReport, theirs: Dashboard, topic: _Topic) -> bool:
    """Whether theirs is about another instance of the app, and the fact is one instance's own."""
    instance = theirs.values.get("app-main.instance_id", "").lower().removeprefix("0x")
    other = bool(instance) and instance != _value(subject, "instance_id")
    return other and topic.claim in {"instance_id", "device_id", "rtmr0", "rtmr3", "tcb_status"}


def _value(subject: SubjectReport, name: str) -> str:
    """A proven value of a guest, "" for one that is not."""
    for claim in subject.claims:
        if claim.name == name and standing(claim, subject.checks) in _BESIDE:
            return str(claim.value)
    return ""


def _app_id(report: Report, subject: SubjectReport) -> str:
    """The app that was asked for, else the one that the evidence proves."""
    return report.requested_app_id or _value(subject, "app_id")


def _days_apart(report: Report, theirs: Dashboard) -> int:
    """Whole days between theirs and this evidence; 1 where theirs names no time."""
    if theirs.made_at is None:
        return 1
    times = (report.evaluated_at, report.collected_until)
    ours = min(item for item in times if item is not None)
    return abs(ours - theirs.made_at) // _DAY


def _age_note(report: Report, theirs: Dashboard) -> str:
    if theirs.made_at is None:
        return "it does not say of when it is"
    days = _days_apart(report, theirs)
    return f"it is of {format_time(theirs.made_at)}, {days} days from this evidence" if days else ""


def _hex(text: str) -> str:
    found = _HEX.fullmatch(text.strip().lower())
    return found[1] if found else ""


def _ours_hex(value: JsonValue) -> str:
    return _hex(value) if isinstance(value, str) else ""


def _plain(text: str) -> str:
    return text.strip()


def _ours_plain(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _image(text: str) -> str:
    """Version and kind of a name such as `dstack-nvidia-dev-0.5.4.1`."""
    found = _VERSION.search(text)
    return f"{found[0]} {'development' if 'dev' in text else 'production'}" if found else ""


def _ours_image(value: JsonValue) -> str:
    match value:
        case {"release": str(release), "kind": str(kind)} if found := _VERSION.search(release):
            return f"{found[0]} {kind}"
    return ""


def _contract(text: str) -> str:
    found = _ADDRESS.search(text.strip())
    return found[1].lower() if found else ""


def _ours_contract(value: JsonValue) -> str:
    match value:
        case {"contract": str(contract)}:
            return contract.lower()
    return value.lower() if isinstance(value, str) else ""


def _ours_key(value: JsonValue) -> str:
    match value:
        case {"id": str(key)}:
            return _hex(key)
    return ""


def _repository(text: str) -> str:
    return text.strip().lower().rstrip("/").removesuffix(".git").removeprefix("https://")


_REGISTERS: Final = ("mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3")
_TOPICS: Final[tuple[_Topic, ...]] = (
    _Topic("App id", ("app-main.app_id",), "app_id", _hex, _ours_hex, lasts=True),
    _Topic("Instance", ("app-main.instance_id",), "instance_id", _hex, _ours_hex),
    _Topic("Hardware", ("app-cpu.verification_status",), "tcb_status", _plain, _ours_plain),
    _Topic("Machine", ("app-main.device_id",), "device_id", _hex, _ours_hex),
    *(_Topic(name.upper(), (f"app-quote.{name}",), name, _hex, _ours_hex) for name in _REGISTERS),
    _Topic("OS image", ("app-main.os_image_hash",), "os_image_hash", _hex, _ours_hex),
    _Topic("OS release", ("app-os.os",), "os_image", _image, _ours_image),
    _Topic("Manifest", ("app-main.compose_hash",), "compose_hash", _hex, _ours_hex),
    _Topic(
        "App contract",
        ("app-main.registry_smart_contract",),
        "app_contract",
        _contract,
        _ours_contract,
    ),
    _Topic("KMS contract", ("kms-main.registry_smart_contract",), "kms", _contract, _ours_contract),
    _Topic("KMS key", ("kms-main.cert_pubkey",), "key_provider", _hex, _ours_key),
)
