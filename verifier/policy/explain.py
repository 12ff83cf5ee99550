"""A policy for people: as one document, with all that it extends, and in plain words."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Final

from verifier.checks.demands import Demands
from verifier.model.result import Requirement
from verifier.patterns import pattern
from verifier.policy.policy import DECIDED_BY, FLOOR, Policy
from verifier.policy.stage import REQUIREMENTS

_MEANINGS: Final = {
    Requirement.REQUIRED: "Required: a failure contradicts, and without a result nothing is known",
    Requirement.ADVISORY: "Advisory: a failure contradicts; a doubt, or no result, is a warning",
    Requirement.NOT_ASKED: "Not asked: shown in the report, and of no weight",
}
_BARE_KEY: Final = pattern(r"[A-Za-z0-9_-]+", re.ASCII)
_UNDECIDED: Final = "no check decides this yet: it counts as missing"


def explain_policy(policy: Policy, titles: Mapping[str, str], now: int) -> str:
    """The policy as text. `titles` are those of the registered checks, by id; `now` (Unix seconds)
    is what the remaining days of waivers are counted from."""
    demands = policy.demands
    lines = [
        f"Policy {policy.name}",
        f"  accepts the verdict {' or '.join(verdict.value for verdict in policy.accept)}",
        f"  sha256 {policy.digest}",
    ]
    for requirement, meaning in _MEANINGS.items():
        lines += _section(meaning, _checks(policy, requirement, titles))
    lines += _section("Demands", _demands(policy, titles))
    changed = (f"{rule} counts as {severity}" for rule, severity in demands.rules.items())
    lines += _section("Severities that manifest.rules takes from the policy", sorted(changed))
    lines += _section("Waivers", _waivers(policy, now))
    lines += _section("Reviews, which count in `verify stage` alone", _reviews(policy, now))
    if policy.name == "stage1":
        lines += _section("Of ERC-733 stage 1, for a person to judge", _for_people())
    return "\n".join(lines) + "\n"


def effective_policy(policy: Policy) -> str:
    """The policy as one TOML document that extends nothing and has the same digest."""
    demands = policy.demands
    tables: dict[str, Mapping[str, object]] = {
        "checks": {key: value.value for key, value in policy.checks.items()},
        "tcb": {
            "statuses": demands.tcb_statuses,
            "reject_advisories": demands.reject_advisories,
            "minimum_evaluation_number": demands.minimum_evaluation_number,
            **({"grace_days": demands.tcb_grace} if demands.tcb_grace else {}),
        },
        "freshness": {
            "max_collateral_age": demands.max_collateral_age,
            "max_root_crl_age": demands.max_root_crl_age,
            "max_quote_age": demands.max_quote_age,
        },
        "platform": demands.platform_json,
        "expect": demands.expect,
        "identity": _made(kms_signed=demands.kms_signed),
        "endpoint": _made(named=demands.endpoint_named),
        "os": _made(releases=demands.os_releases, origin=demands.os_origin),
        "rules": {key: value.value for key, value in demands.rules.items()},
        "images": _made(registries=demands.registries, repositories=demands.repositories),
        "signers": _made(workflows=demands.workflows, sources=demands.sources),
        "manifest": _made(not_before=demands.not_before),
        "governance": demands.governance.made,
    }
    if demands.snp_min_tcb:
        tables["snp.min_tcb"] = demands.snp_min_tcb
    lines = [f"name = {_toml(policy.name)}", f"accept = {_toml([*policy.accept])}"]
    for name, table in tables.items():
        entries = [f"{_key(key)} = {_toml(value)}" for key, value in table.items()]
        lines += ["", f"[{name}]", *entries] if entries else []
    dated = [("waivers", item.to_json()) for item in demands.waivers]
    dated += [("reviews", item.to_json()) for item in policy.reviews]
    for name, document in dated:
        fields = {key: value for key, value in document.items() if value}
        expires = fields.pop("expires")
        entries = [f"{key} = {_toml(value)}" for key, value in fields.items()]
        lines += ["", f"[[{name}]]", *entries, f"expires = {expires}"]
    return "\n".join(lines) + "\n"


def _made(**demands: object) -> Mapping[str, object]:
    return {key: value for key, value in demands.items() if value}


def _key(name: str) -> str:
    return name if _BARE_KEY.fullmatch(name) else _toml(name)


def _toml(value: object) -> str:
    """A string, number or list, of JSON's forms those that TOML shares; or a date."""
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _section(title: str, entries: Iterator[str] | list[str]) -> list[str]:
    listed = [f"  {entry}" for entry in entries]
    return ["", title, *listed] if listed else []


def _checks(policy: Policy, requirement: Requirement, titles: Mapping[str, str]) -> Iterator[str]:
    """The registered checks of one requirement, then those that are asked for and absent."""
    for check_id in (*titles, *policy.undecided(titles)):
        if policy.requirement(check_id) is requirement:
            floor = " (floor)" if check_id in FLOOR else ""
            yield f"{check_id}{floor}: {titles.get(check_id, _UNDECIDED)}"


def _demands(policy: Policy, titles: Mapping[str, str]) -> Iterator[str]:
    for text, check_id in _worded(policy.demands):
        decided = f"decided by {check_id}" if check_id in titles else f"{check_id}: {_UNDECIDED}"
        yield f"{text}: {decided}"


def _of_image(demands: Demands) -> Iterator[str]:
    if demands.os_releases:
        yield f"the OS is dstack {_any(demands.os_releases)}"
    if demands.os_origin:
        yield "the files of the OS image were measured by whoever runs the audit (--image)"


def _worded_platform(demands: Demands) -> Iterator[tuple[str, str]]:
    for part, version in demands.snp_min_tcb.items():
        yield f"of an SEV-SNP platform, {part} is {version} or later", DECIDED_BY["snp"]
    if demands.ppids:
        yield f"the PPID of the machine is {_any(demands.ppids)}", DECIDED_BY["platform"]
    if demands.place_keys:
        words = (
            f"a statement about the machine's place, of at most {demands.place_days} days, is "
            f"signed by {_any(demands.place_keys)}"
        )
        yield words, DECIDED_BY["platform"]


def _worded_tcb(demands: Demands) -> Iterator[str]:
    yield f"the TCB status is {_any(demands.tcb_statuses)}"
    if demands.tcb_grace:
        yield f"out of date is a warning for {demands.tcb_grace} days from the level's date on"
    if demands.reject_advisories:
        yield f"no advisory is {_any(demands.reject_advisories)}"
    if demands.minimum_evaluation_number:
        yield f"the TCB evaluation is number {demands.minimum_evaluation_number} or later"


def _worded(demands: Demands) -> Iterator[tuple[str, str]]:
    """Every demand in words, and the check that decides it."""
    for words in _worded_tcb(demands):
        yield words, "hardware.tcb"
    yield f"collateral is at most {demands.max_collateral_age} days old", "hardware.freshness"
    yield (
        f"the root's revocation list is at most {demands.max_root_crl_age} days old",
        "hardware.freshness",
    )
    age = demands.max_quote_age
    quote = f"is at most {age} days old" if age else "answers a challenge of this audit"
    yield f"the quote {quote}", "hardware.freshness"
    yield from _worded_platform(demands)
    for name, values in demands.expect.items():
        yield f"{name} is {_any(values)}", DECIDED_BY[name]
    if demands.kms_signed:
        yield "a KMS that binds the app id signed for the judged quote", "application.identity"
    if demands.endpoint_named:
        yield "an address that users connect to is named (--endpoint)", DECIDED_BY["endpoint"]
    yield from ((words, DECIDED_BY["os_release"]) for words in _of_image(demands))
    sources = (*demands.registries, *demands.repositories)
    if sources:
        yield f"images come from {_any(sources)}", DECIDED_BY["images"]
    if demands.workflows:
        yield f"images were built by {_any(demands.workflows)}", DECIDED_BY["signers"]
    if demands.sources:
        yield f"images were built from {_any(demands.sources)}", DECIDED_BY["signers"]
    for text in _governance(demands):
        yield text, DECIDED_BY["governance"]


def _governance(asked: Demands) -> Iterator[str]:
    demands = asked.governance
    if demands.notice_days:
        yield f"a change is announced {demands.notice_days} days ahead"
    if demands.owners:
        yield f"the app is owned by {_any(demands.owners)}"
    if demands.several_keys:
        yield "no single key can change what runs"
    if demands.upgrades_disabled:
        yield "the contract's code can no longer be changed"
    if demands.max_unknown_manifests is not None:
        yield f"at most {demands.max_unknown_manifests} allowed manifests are unknown"
    if asked.not_before:
        yield f"no manifest that may start was allowed before {asked.not_before}"


def _waivers(policy: Policy, now: int) -> Iterator[str]:
    for item in policy.demands.waivers:
        what = f"{item.check} {item.rule}".rstrip()
        days = item.days_left(now)
        left = f"{days} day{'s' * (days != 1)} left" if item.holds(now) else "EXPIRED, it counts"
        yield f"{item.id}: {what} of app {item.scope}, until {item.expires} ({left})"
        yield f"  {item.owner}: {item.reason}"


def _reviews(policy: Policy, now: int) -> Iterator[str]:
    for item in policy.reviews:
        state = f"until {item.expires}" if item.holds(now) else f"EXPIRED on {item.expires}"
        title = REQUIREMENTS[item.requirement - 1].title
        yield f"{item.requirement}. {title}: manifest {item.compose_hash}, {state}"
        yield f"  {item.reviewer}: {item.reason}"


def _for_people() -> Iterator[str]:
    for number, item in enumerate(REQUIREMENTS, 1):
        if item.remains:
            yield f"{number}. {item.title}: {item.remains}"


def _any(values: tuple[str, ...]) -> str:
    return " or ".join(values) or "nothing"
