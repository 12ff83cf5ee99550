"""Who can change what runs, how fast, and with what notice."""

from typing import TYPE_CHECKING, Final

from verifier.chain.view import DisagreementError
from verifier.checks.authorization.announced import announced, measured, unseen
from verifier.checks.authorization.floor import as_json, judge_floor, listed, refuse_undated
from verifier.checks.authorization.history import timeline_of, without_contract
from verifier.checks.case import Case
from verifier.checks.demands import GovernanceDemands
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import EvidenceError, MissingEvidence
from verifier.model.chain import OwnerKind, Role
from verifier.model.result import JsonValue

if TYPE_CHECKING:
    from verifier.model.timeline import Governance, Permission, Timeline

_DAY: Final = 86400
_CONTRACT: Final = {Role.APP: "the app", Role.KMS: "the KMS"}


@check(
    "authorization.governance",
    "Who can change the app satisfies the policy",
    requires=("authorization.history",),
)
def governance(case: Case) -> Outcome:
    """Who owns the app's and the KMS's contract at the finalized block, how many keys that takes,
    and how long a change is public before it takes effect, satisfy what the policy's [governance]
    demands. What is demanded of the app's owner is demanded of the KMS's owner too, who can allow
    another OS image, or admit a KMS that learns every app's keys. What an owner contract says of
    itself is a fact where its code is a known build of Safe or of OpenZeppelin's
    TimelockController, and the notice of a timelock where known code created it, or a proof shows
    all that it stores, too. Keys and notice that are not known, or that only unknown code states,
    are a reservation, and missing evidence where the policy demands them; two endpoints that say
    different things about an owner are an error, and so is one that alone speaks against the app.
    An owner to whom a contract is offered, and contract code that nobody knows, are reservations.
    So is an announced operation that would let a manifest or an operating system run that this
    audit does not know, or anything else that is new, that would change who decides, or that cannot
    be read. What the signers of a Safe agreed on stands nowhere on the chain: where such an owner
    acts at once, and nobody told what waits, that is a reservation too. Allowed manifests that this
    audit does not know are named, the oldest first, and are a reservation where the policy sets no
    number: whoever operates the app can start any of them. A policy may also set a floor: then no
    manifest may be allowed that was first allowed, or seen by an earlier audit, before its date;
    where the history is not whole, or tells no date, evidence is missing."""
    timeline = timeline_of(case)
    if timeline is None:
        refuse_undated(case)
        return without_contract(case)
    demands = case.demands.governance
    present = _present(timeline)
    broken, open_questions = _judge(demands, timeline, present)
    too_old, undated = judge_floor(case, timeline)
    broken += too_old
    open_questions += undated
    unknown = _unknown_manifests(case, timeline)
    allowed = demands.max_unknown_manifests
    if allowed is not None and len(unknown) > allowed:
        broken.append(f"{len(unknown)} allowed manifests are unknown: {listed(timeline, unknown)}")
    actual = _actual(case, timeline)
    if broken:
        return _refused(broken, _demanded(case), actual, lone=timeline.single_source)
    if open_questions:
        raise MissingEvidence(
            "; ".join(f"{item} is not known" for item in open_questions),
            hint="an owner contract that this audit does not know is for you to review; what no "
            "endpoint gave, another may give: --rpc-url",
        )
    summary = "; ".join(_said(item) for item in present)
    doubts = [*_doubts(timeline, present), *announced(case, timeline), *unseen(timeline)]
    unnumbered = unknown if allowed is None else []
    if unnumbered:
        doubts.append(
            f"{len(unknown)} other allowed manifests are unknown to this audit: "
            f"{listed(timeline, unknown)}"
        )
    if doubts:
        return warned(
            "; ".join((summary, *doubts)),
            actual=actual,
            remediation="give their manifests with `verify timeline --manifests DIR`, or have "
            "them removed from the contract"
            if unnumbered
            else "review the code of the contracts named above by hand",
        )
    return passed(summary, actual=actual)


def _actual(case: Case, timeline: "Timeline") -> JsonValue:
    return {
        "app_owner": timeline.app_state.owner,
        "kms_owner": timeline.kms_state.owner,
        "allowed_compose_hashes": list[JsonValue](sorted(timeline.app_state.compose_hashes)),
        "manifests": as_json(timeline, measured(case)),
    }


def _demanded(case: Case) -> JsonValue:
    floor = case.demands.not_before
    dated: dict[str, JsonValue] = {"not_before": floor.isoformat()} if floor else {}
    return {**case.demands.governance.made, **dated}


def _refused(broken: list[str], expected: JsonValue, actual: JsonValue, *, lone: bool) -> Outcome:
    """The failure, where two operators say what it rests on. Raises DisagreementError."""
    if lone:
        raise DisagreementError(
            f"by what one operator alone says: {'; '.join(broken)}",
            hint="ask another endpoint of the same chain with --rpc-url",
        )
    return failed(
        "; ".join(broken),
        expected=expected,
        actual=actual,
        remediation="what the contracts allow is for their owners to change; look at "
        "`verify timeline` for the whole history",
    )


def _present(timeline: "Timeline") -> "list[Governance]":
    """Who owns each contract at the finalized block.

    Raises MissingEvidence where that is not known, EvidenceError where endpoints differ about it.
    """
    present = [
        item
        for item in timeline.governance
        if item.until is None and (item.owner or item.kind is OwnerKind.RENOUNCED)
    ]
    if {item.role for item in present} != set(_CONTRACT):
        raise MissingEvidence(
            "who owns the contracts at present is not known",
            hint="audit online, and name an endpoint that gives the contracts' logs with --rpc-url",
        )
    disputed = [item.disputed for item in present if item.disputed]
    if disputed:
        raise EvidenceError(
            disputed[0], hint="one of the endpoints is wrong: ask another with --rpc-url"
        )
    return present


def _doubts(timeline: "Timeline", present: "list[Governance]") -> list[str]:
    """What keeps demands that are met from being proven."""
    found: list[str] = []
    for item in present:
        contract = _CONTRACT[item.role]
        state = timeline.app_state if item.role is Role.APP else timeline.kms_state
        if item.own_word:
            found.append(
                f"how many keys it takes to change {contract}, and how fast, is the word of "
                f"{item.owner} itself, whose code is not known"
            )
        elif item.owner and None in (item.keys, item.notice):
            found.append(
                f"how many keys it takes to change {contract}, or how fast, is not known of "
                f"{item.owner}: it may be one key, at once"
            )
        if state.pending_owner:
            found.append(f"{state.pending_owner} may take over {contract} at any time")
        if not state.continuous:
            found.append(
                f"what {contract} allows is not certain: it runs, or ran, code that nobody knows, "
                "or said what cannot be followed"
            )
    return found


def _judge(
    demands: GovernanceDemands, timeline: "Timeline", present: "list[Governance]"
) -> tuple[list[str], list[str]]:
    """The demands that are not met, and what has to be known to judge the others."""
    broken, unknown = _owners(demands, timeline), list[str]()
    for item in present:
        who = f"{_CONTRACT[item.role]}'s owner {item.owner or 'nobody'}"
        if item.owner and demands.notice_days:
            _notice(item, demands.notice_days, who, (broken, unknown))
        if item.owner and demands.several_keys:
            if item.keys is not None and item.keys <= 1:
                broken.append(f"one key is enough to act as {who}")
            elif item.keys is None or item.own_word:
                unknown.append(f"how many keys act as {who}")
    if demands.upgrades_disabled:
        disabled = timeline.app_state.upgrades_disabled.value
        if disabled is None:
            unknown.append("whether the contract's code can be changed")
        elif not disabled:
            broken.append("the contract's code can be changed")
    return broken, unknown


def _notice(item: "Governance", days: int, who: str, found: tuple[list[str], list[str]]) -> None:
    broken, unknown = found
    if item.notice is not None and item.notice < days * _DAY:
        broken.append(
            f"{who} needs to give {_days(item.notice)} of notice, the policy demands {days} days"
        )
    elif item.notice is None or item.own_word:
        unknown.append(f"the notice of {who}")


def _owners(demands: GovernanceDemands, timeline: "Timeline") -> list[str]:
    """Owners of the app, present or to come, that the policy does not name."""
    owners, state = {item.lower() for item in demands.owners}, timeline.app_state
    found: list[str] = []
    if owners and state.owner.lower() not in owners:
        found.append(f"the app's owner {state.owner or 'nobody'} is not expected")
    if owners and state.pending_owner and state.pending_owner.lower() not in owners:
        found.append(
            f"{state.pending_owner}, to whom the app is offered, is not expected as its owner"
        )
    return found


def _unknown_manifests(case: Case, timeline: "Timeline") -> "list[Permission]":
    """The manifests that may start, without the measured one and those whose text is known; the
    oldest first."""
    known = {*timeline.manifests, *measured(case)}
    return [item for item in timeline.permissions if item.compose_hash not in known]


def _said(item: "Governance") -> str:
    contract = _CONTRACT[item.role]
    if not item.owner:
        return f"{contract} can be changed by nobody: its ownership was given up"
    keys = {None: "an unknown number of keys", 1: "one key"}.get(item.keys, f"{item.keys} keys")
    notice = {None: "unknown notice", 0: "no notice"}.get(
        item.notice, f"{_days(item.notice or 0)} of notice"
    )
    return f"{contract} is governed by {item.owner} ({item.kind.value}): {keys}, {notice}"


def _days(seconds: int) -> str:
    if seconds == 0:
        return "no time"
    return f"{seconds / _DAY:.3g} days" if seconds >= _DAY else f"{seconds / 3600:.3g} hours"


CHECKS: Final = (governance,)
