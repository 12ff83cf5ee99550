"""Governance as a policy sees it: who can change what runs, how fast, with what notice."""

from typing import TYPE_CHECKING, Final

from verifier.checks.case import Case
from verifier.checks.history import timeline_of, without_contract
from verifier.checks.spec import (
    CheckSpec,
    MissingEvidence,
    Outcome,
    check,
    failed,
    passed,
    warned,
)
from verifier.model.result import JsonValue
from verifier.policy.demands import GovernanceDemands
from verifier.policy.policy import Policy

if TYPE_CHECKING:
    from verifier.timeline.model import Governance, Timeline

_DAY: Final = 86400
_CONTRACT: Final = {"app": "the app", "kms": "the KMS"}
_SHOWN: Final = 3


@check(
    "authorization.governance",
    "Who can change the app satisfies the policy",
    requires=("authorization.history",),
)
def governance(pair: tuple[Case, Policy]) -> Outcome:
    """Who owns the app's and the KMS's contract at the finalized block, how many keys that takes,
    and how long a change is public before it takes effect, satisfy what the policy's [governance]
    demands. What is demanded of the app's owner is demanded of the KMS's owner too, who can allow
    another OS image, or admit a KMS that learns every app's keys. Allowed manifests that this
    audit does not know are named, and are a reservation where the policy sets no number: whoever
    operates the app can start any of them."""
    case, policy = pair
    timeline = timeline_of(case)
    if timeline is None:
        return without_contract(case)
    demands = policy.governance
    present = [item for item in timeline.governance if item.until is None]
    if {item.role.value for item in present} != set(_CONTRACT):
        raise MissingEvidence(
            "who owns the contracts at present is not known",
            hint="name an endpoint that gives the contracts' logs with --rpc-url",
        )
    broken = _broken(demands, timeline, present)
    unknown = _unknown_manifests(case, timeline)
    allowed = demands.max_unknown_manifests
    if allowed is not None and len(unknown) > allowed:
        broken.append(f"{len(unknown)} allowed manifests are unknown: {_listed(unknown)}")
    actual: JsonValue = {
        "app_owner": timeline.app_state.owner,
        "kms_owner": timeline.kms_state.owner,
        "allowed_compose_hashes": list[JsonValue](sorted(timeline.app_state.compose_hashes)),
    }
    if broken:
        return failed(
            "; ".join(broken),
            expected=dict(demands.made),
            actual=actual,
            remediation="what the contracts allow is for their owners to change; look at "
            "`verify timeline` for the whole history",
        )
    summary = "; ".join(_said(item) for item in present)
    if unknown and allowed is None:
        return warned(
            f"{summary}; {len(unknown)} other allowed manifests are unknown to this audit: "
            f"{_listed(unknown)}",
            actual=actual,
            remediation="give their manifests with `verify timeline --manifests DIR`, or have "
            "them removed from the contract",
        )
    return passed(summary or "nobody owns the contracts", actual=actual)


def _broken(
    demands: GovernanceDemands, timeline: "Timeline", present: "list[Governance]"
) -> list[str]:
    """The demands that are not met. Raises MissingEvidence where one cannot be judged."""
    found: list[str] = []
    owners = {item.lower() for item in demands.owners}
    if owners and timeline.app_state.owner.lower() not in owners:
        found.append(f"the app's owner {timeline.app_state.owner or 'nobody'} is not expected")
    for item in present:
        who = f"{_CONTRACT[item.role.value]}'s owner {item.owner or 'nobody'}"
        if item.owner and demands.notice_days:
            notice = _judged(item.notice, f"the notice of {who}")
            if notice < demands.notice_days * _DAY:
                found.append(
                    f"{who} needs to give {_days(notice)} of notice, the policy demands "
                    f"{demands.notice_days} days"
                )
        if item.owner and demands.several_keys and _judged(item.keys, f"the keys of {who}") <= 1:
            found.append(f"one key is enough to act as {who}")
    if demands.upgrades_disabled:
        disabled = timeline.app_state.upgrades_disabled
        if disabled.value is None:
            raise MissingEvidence(
                "whether the contract's code can be changed is not known: no event says so, and "
                "no endpoint gave its storage",
                hint="name an endpoint with --rpc-url",
            )
        if not disabled.value:
            found.append("the contract's code can be changed")
    return found


def _judged(value: int | None, what: str) -> int:
    if value is None:
        raise MissingEvidence(
            f"{what} is not known",
            hint="its owner is a contract that this audit does not know; review it by hand",
        )
    return value


def _unknown_manifests(case: Case, timeline: "Timeline") -> list[str]:
    """Allowed manifest hashes, but the measured one and those whose manifest is known."""
    measured = case.identity.compose_hash
    known = {*timeline.manifests, measured.hex() if measured is not None else ""}
    return sorted(timeline.app_state.compose_hashes - known)


def _listed(hashes: list[str]) -> str:
    shown = ", ".join(f"{item[:8]}…" for item in hashes[:_SHOWN])
    return shown + (f" and {len(hashes) - _SHOWN} more" if len(hashes) > _SHOWN else "")


def _said(item: "Governance") -> str:
    contract = _CONTRACT[item.role.value]
    if not item.owner:
        return f"{contract} can be changed by nobody: its ownership was given up"
    keys = {None: "an unknown number of keys", 1: "one key"}.get(item.keys, f"{item.keys} keys")
    notice = {None: "unknown notice", 0: "no notice"}.get(item.notice, _days(item.notice or 0))
    notice = notice if notice.endswith("notice") else f"{notice} of notice"
    return f"{contract} is governed by {item.owner} ({item.kind.value}): {keys}, {notice}"


def _days(seconds: int) -> str:
    if seconds == 0:
        return "no time"
    return f"{seconds / _DAY:.3g} days" if seconds >= _DAY else f"{seconds / 3600:.3g} hours"


POLICY_CHECKS: Final[tuple[CheckSpec[tuple[Case, Policy]], ...]] = (governance,)
