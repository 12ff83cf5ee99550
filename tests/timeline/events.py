"""Events made by hand, one block each, and what folds them."""

from collections.abc import Sequence
from itertools import count

from tests.codes import known_code
from verifier.evidence.chain.ethereum import checksum_address
from verifier.model.chain import Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import Known, Method, TimelineEvent
from verifier.timeline.fold import Fold, fold
from verifier.timeline.initial import InitialFlags

BIRTH = 1_700_000_000


def account(number: int) -> str:
    """An address, EIP-55."""
    return checksum_address(number.to_bytes(20, "big"))


APP, KMS = account(0xA1), account(0xB2)
APP_CODE, KMS_CODE, NEW_CODE, ROGUE, OLD_CODE = (account(number) for number in range(1, 6))
ALICE, BOB, CAROL, SAFE, TIMELOCK = (account(number) for number in (11, 12, 13, 14, 15))
CODES = {
    APP_CODE: known_code("G7"),
    KMS_CODE: known_code("G7"),
    NEW_CODE: known_code("G8"),
    OLD_CODE: known_code("G3"),
    ROGUE: None,
}
HASH, OTHER = "11" * 32, "22" * 32
FLAGS = InitialFlags(
    any_device=Known(value=False, method=Method.CALLDATA),
    require_tcb=Known(value=False, method=Method.CALLDATA),
    upgrades_disabled=Known(value=False, method=Method.CALLDATA),
)
Step = tuple[Role, str, dict[str, JsonValue]]


class History:
    """Events in the order in which they are added; each in a block and a transaction of its own."""

    def __init__(self) -> None:
        self.events: list[TimelineEvent] = []
        self._blocks = count(100, 10)

    def add(self, role: Role, *steps: tuple[str, dict[str, JsonValue]], at: str = "") -> Place:
        """One transaction; the place of its last event."""
        block = next(self._blocks)
        address = at or (APP if role is Role.APP else KMS)
        for index, (name, args) in enumerate(steps):
            self.events.append(event(role, name, args, block=block, index=index, address=address))
        return self.events[-1].place

    def app(self, name: str, **args: JsonValue) -> Place:
        """One event of the app."""
        return self.add(Role.APP, (name, args))

    def kms(self, name: str, **args: JsonValue) -> Place:
        """One event of the KMS."""
        return self.add(Role.KMS, (name, args))

    def owner(self, address: str, name: str, **args: JsonValue) -> Place:
        """One event of an owner contract."""
        return self.add(Role.APP_OWNER, (name, args), at=address)

    def fold(self, initial: InitialFlags = FLAGS) -> Fold:
        """What the events make."""
        return fold(self.events, initial=initial, codes=CODES)


def event(  # noqa: PLR0913 - what a log has
    role: Role,
    name: str,
    args: dict[str, JsonValue],
    *,
    block: int,
    index: int = 0,
    address: str = APP,
) -> TimelineEvent:
    """One event; its transaction is its block's."""
    return TimelineEvent(
        place=Place(block, index),
        time=BIRTH + 2 * block,
        block_hash=f"{block:064x}",
        transaction=f"{block:064x}",
        role=role,
        address=address,
        name=name,
        args=args,
    )


def born(app_owner: str = ALICE, kms_owner: str = BOB) -> History:
    """An app and its KMS, each created with an owner."""
    found = History()
    for role, code, owner in ((Role.KMS, KMS_CODE, kms_owner), (Role.APP, APP_CODE, app_owner)):
        found.add(
            role,
            ("Upgraded", {"implementation": code}),
            ("OwnershipTransferred", {"previousOwner": account(0), "newOwner": owner}),
            ("Initialized", {"version": 1}),
        )
    return found


def transferred(previous: str, new: str) -> dict[str, JsonValue]:
    return {"previousOwner": previous, "newOwner": new}


def policy_changed(policy: str | None, value: str, *, enabled: bool) -> dict[str, JsonValue]:
    args: dict[str, JsonValue] = {"actor": ALICE, "policy": "ee" * 32, "value": value}
    named: dict[str, JsonValue] = {} if policy is None else {"policyName": policy}
    return {**args, "enabled": enabled, **named}


def seconds(events: Sequence[TimelineEvent], place: Place) -> int:
    """When the event at a place happened."""
    return next(item.time or 0 for item in events if item.place == place)
