"""What a policy may demand of who governs an app.

[governance]
notice_days             days between the announcement of a change and its effect
owners                  addresses that may own the app's contract
several_keys            true: no single key may be able to change what runs
upgrades_disabled       true: the contract's code is fixed for ever
max_unknown_manifests   how many allowed manifests may be unknown to this audit
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from verifier.errors import PolicyError
from verifier.model.result import JsonValue
from verifier.policy.document import number

GOVERNANCE_KEYS: Final = (
    "notice_days",
    "owners",
    "several_keys",
    "upgrades_disabled",
    "max_unknown_manifests",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernanceDemands:
    """The demands of [governance]; the defaults demand nothing. `owners` are as written."""

    notice_days: int = 0
    owners: tuple[str, ...] = ()
    several_keys: bool = False
    upgrades_disabled: bool = False
    max_unknown_manifests: int | None = None

    @property
    def made(self) -> Mapping[str, JsonValue]:
        """The demands that are made, by their names in the policy."""
        values: dict[str, JsonValue] = {
            "notice_days": self.notice_days or None,
            "owners": list(self.owners) or None,
            "several_keys": self.several_keys or None,
            "upgrades_disabled": self.upgrades_disabled or None,
            "max_unknown_manifests": self.max_unknown_manifests,
        }
        return {key: value for key, value in values.items() if value is not None}


def parse_governance(
    table: dict[str, Any], owners: tuple[str, ...], where: str
) -> GovernanceDemands:
    """The demands of a [governance] table, its owners already read. Raises PolicyError."""
    unknown = None
    if "max_unknown_manifests" in table:
        unknown = number(table, "max_unknown_manifests", 0, where)
    return GovernanceDemands(
        notice_days=number(table, "notice_days", 0, where),
        owners=owners,
        several_keys=_switch(table, "several_keys", where),
        upgrades_disabled=_switch(table, "upgrades_disabled", where),
        max_unknown_manifests=unknown,
    )


def _switch(table: dict[str, Any], name: str, where: str) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise PolicyError(f"policy {where}: {name} is not true or false")
    return value
