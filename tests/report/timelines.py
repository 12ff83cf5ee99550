"""Timelines made by hand: a calm history, and one in which nearly everything is wrong."""

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tests.codes import known_code
from verifier.model.chain import ZERO_ADDRESS, OwnerKind, Place, Role
from verifier.model.result import JsonValue
from verifier.model.timeline import (
    UNKNOWN,
    AppState,
    AsOf,
    Beginning,
    Change,
    Coverage,
    Exposure,
    ExposureKind,
    Governance,
    KmsState,
    Known,
    Method,
    Origin,
    Permission,
    Timeline,
    TimelineEvent,
)

APP = "0xCAa3a03a6e34E78e71d669E41961Ca8c95FD1611"
KMS = "0x2f83172A49584C017F2B256F0FB2Dca14126Ba9C"
OWNER = "0x5A370b73385085091de23E0fD21B54F2724EAD8D"
HEIR = "0xF688411c0FFc300cAb33EB1dA651DBb3E6891098"
KMS_OWNER = "0x1D6b828455E1fb63182B498AdE29c452Edd93F55"
APP_CODE = "0x1111a1b2c3d4e5f60718293a4b5c6d7e8f901111"
ROGUE_CODE = "0x6666a1b2c3d4e5f60718293a4b5c6d7e8f906666"
KMS_CODE = "0x2222a1b2c3d4e5f60718293a4b5c6d7e8f902222"
GATEWAY_ID = "55760b065a3f1eabdb1a4d7abb94950f31b91a84"
ROOT_KEY = "02a335aea3df11d46ae0a373d3f26fbd1d208572ecc87e630e618dac693b7af721"
FIRST, SECOND, THIRD = "46e2aa51" * 8, "46e2aa51" + "f1a4f314" * 7, "d24f2633" * 8
DEVICE, OS_IMAGE = "05c734ab" * 8, "2d24d302" * 8
CREATED_AT, CREATED, KMS_CREATED = 1_766_720_000, 39_966_824, 34_000_000
LAST = 41_000_000
AS_OF = AsOf(block=LAST, hash="ab" * 32, time=CREATED_AT + 2 * (LAST - CREATED))
BOTH = ("base.drpc.org", "mainnet.base.org")


def at(block: int) -> int:
    """The time of a block: two seconds each."""
    return CREATED_AT + 2 * (block - CREATED)


def event(  # noqa: PLR0913 - the parts of an event
    name: str,
    block: int,
    index: int,
    *,
    role: Role = Role.APP,
    sender: str = OWNER,
    provisional: bool = False,
    **args: JsonValue,
) -> TimelineEvent:
    """One event; the transaction is named after its block."""
    address = APP if role is Role.APP else KMS if role is Role.KMS else HEIR
    return TimelineEvent(
        place=Place(block, index),
        time=at(block),
        block_hash=f"{block:064x}",
        transaction=f"{block:08d}" * 8,
        role=role,
        address=address,
        name=name,
        args=args,
        sender=sender,
        to=address,
        provisional=provisional,
    )


KMS_EVENTS = (
    event("Upgraded", KMS_CREATED, 0, role=Role.KMS, sender=KMS_OWNER, implementation=KMS_CODE),
    event(
        "OwnershipTransferred",
        KMS_CREATED,
        1,
        role=Role.KMS,
        sender=KMS_OWNER,
        previousOwner=ZERO_ADDRESS,
        newOwner=KMS_OWNER,
    ),
    event("OsImageHashAdded", 34_000_100, 3, role=Role.KMS, sender=KMS_OWNER, osImageHash=OS_IMAGE),
    event("KmsInfoSet", 34_000_200, 0, role=Role.KMS, sender=KMS_OWNER, k256Pubkey=ROOT_KEY),
)
CREATION = (
    event("Upgraded", CREATED, 10, implementation=APP_CODE),
    event("DeviceAdded", CREATED, 11, deviceId=DEVICE),
    event("ComposeHashAdded", CREATED, 12, composeHash=FIRST),
    event("OwnershipTransferred", CREATED, 13, previousOwner=ZERO_ADDRESS, newOwner=OWNER),
    event("Initialized", CREATED, 14, version=1),
)
APP_STATE = AppState(
    compose_hashes=frozenset({SECOND}),
    devices=frozenset({DEVICE}),
    any_device=Known(value=False, method=Method.CALLDATA),
    require_tcb_up_to_date=Known(value=False, method=Method.CODE),
    upgrades_disabled=Known(value=True, method=Method.EVENT),
    implementation=APP_CODE,
    code=known_code("G5", "OZ 5.4.0"),
    owner=OWNER,
    pending_owner="",
    continuous=True,
)
KMS_STATE = KmsState(
    os_images=frozenset({OS_IMAGE}),
    aggregated_mrs=frozenset(),
    devices=frozenset(),
    root_key=ROOT_KEY,
    gateway_app_id=GATEWAY_ID,
    app_implementation=APP_CODE,
    implementation=KMS_CODE,
    code=known_code("G5", "OZ 5.2.0"),
    owner=KMS_OWNER,
    pending_owner="",
    continuous=True,
)
APP_OWNED = Governance(
    role=Role.APP,
    owner=OWNER,
    kind=OwnerKind.EOA,
    since=CREATION[3].place,
    since_time=at(CREATED),
    until=None,
    until_time=None,
    keys=1,
    notice=0,
)
KMS_OWNED = Governance(
    role=Role.KMS,
    owner=KMS_OWNER,
    kind=OwnerKind.TIMELOCK,
    since=KMS_EVENTS[1].place,
    since_time=at(KMS_CREATED),
    until=None,
    until_time=None,
    delay=172_800,
    proposers=(HEIR,),
    executors=(ZERO_ADDRESS,),
    keys=2,
    notice=172_800,
)
COVERAGE = (
    Coverage(
        role=Role.APP,
        address=APP,
        first=KMS_CREATED,
        last=LAST,
        origin=Origin(
            kind=Beginning.BY_FACTORY, asked=KMS_CREATED, block=CREATED, event="Upgraded"
        ),
        sources=BOTH,
        operators=2,
        logs=8,
        compared=9,
    ),
    Coverage(
        role=Role.KMS,
        address=KMS,
        first=KMS_CREATED,
        last=LAST,
        origin=Origin(
            kind=Beginning.CREATED, asked=KMS_CREATED, block=KMS_CREATED, event="Upgraded"
        ),
        sources=BOTH,
        operators=2,
        cached=17,
        logs=4,
        compared=6,
    ),
)
NO_NOTICE = "nothing announced it"

CALM = Timeline(
    chain_id=8453,
    app_id=APP[2:].lower(),
    app=APP,
    kms=KMS,
    as_of=AS_OF,
    coverage=COVERAGE,
    events=(
        *KMS_EVENTS,
        *CREATION,
        event("UpgradesDisabled", 40_000_000, 2),
        event("ComposeHashAdded", 40_100_000, 5, composeHash=SECOND),
        event("ComposeHashRemoved", 40_200_000, 1, composeHash=FIRST),
    ),
    app_state=APP_STATE,
    kms_state=KMS_STATE,
    governance=(KMS_OWNED, APP_OWNED),
    changes=(
        Change(place=CREATION[2].place, announced=None, notice=0, how=NO_NOTICE),
        Change(place=Place(40_100_000, 5), announced=None, notice=0, how=NO_NOTICE),
    ),
    exposures=(
        Exposure(
            kind=ExposureKind.RUNNING_ALLOWED,
            subject=SECOND,
            since=at(40_100_000),
            until=None,
            words="What runs was allowed when it was measured, and is allowed now.",
            manifest=True,
        ),
    ),
    permissions=(Permission(compose_hash=SECOND, first=at(40_100_000), since=at(40_100_000)),),
    manifests={SECOND: "shared-key-demo"},
)

TROUBLED = replace(
    CALM,
    coverage=(
        replace(
            COVERAGE[0],
            sources=("mainnet.base.org",),
            operators=1,
            partial=(("base.drpc.org", "blocks 39000000 to 41000000: refused as too old"),),
            problems=(f"allowedComposeHashes({THIRD}) is true, and the events make it false",),
        ),
        replace(COVERAGE[1], sources=(), operators=0, unproven=("gatewayAppId() is not known",)),
    ),
    events=(
        *KMS_EVENTS,
        *CREATION,
        event("ComposeHashAdded", 40_100_000, 5, composeHash=SECOND),
        event("GatewayAppIdSet", 40_100_500, 0, role=Role.KMS, sender="", gatewayAppId="any"),
        event("DeviceRemoved", 40_101_000, 7, deviceId=DEVICE, sender=HEIR),
        event("Upgraded", 40_200_000, 0, implementation=ROGUE_CODE),
        event("OwnershipTransferred", 40_300_000, 4, previousOwner=OWNER, newOwner=HEIR),
        event("AddedOwner", 40_300_500, 0, role=Role.APP_OWNER, owner=OWNER),
        event("unknown", 40_400_000, 1, topics=["77" * 32], data="00" * 32),
        event(
            "undecodable",
            40_400_000,
            2,
            event="ComposeHashAdded",
            reason="a topic too many",
            topics=["88" * 32],
            data="",
        ),
        event("ComposeHashAdded", 41_000_010, 0, provisional=True, composeHash=THIRD, sender=HEIR),
    ),
    app_state=replace(
        APP_STATE,
        compose_hashes=frozenset({FIRST, SECOND, "98" * 32, "99" * 32}),
        devices=frozenset(),
        any_device=Known(value=True, method=Method.CALLDATA),
        require_tcb_up_to_date=UNKNOWN,
        upgrades_disabled=Known(value=False, method=Method.STORAGE),
        implementation=ROGUE_CODE,
        code=None,
        owner=HEIR,
        pending_owner=OWNER,
        continuous=False,
    ),
    kms_state=replace(KMS_STATE, gateway_app_id="any", root_key=""),
    governance=(
        replace(KMS_OWNED, kind=OwnerKind.CONTRACT, keys=None, notice=None, delay=None),
        replace(APP_OWNED, until=Place(40_300_000, 4), until_time=at(40_300_000)),
        replace(
            APP_OWNED,
            owner=HEIR,
            kind=OwnerKind.SAFE,
            since=Place(40_300_000, 4),
            since_time=at(40_300_000),
            threshold=2,
            signers=(OWNER, KMS_OWNER, KMS),
            modules=(ROGUE_CODE,),
            guard=KMS_CODE,
            admins=(OWNER,),
            keys=1,
            remarks=(f"module {ROGUE_CODE} acts without the signers",),
        ),
    ),
    changes=(
        *CALM.changes,
        Change(
            place=Place(40_200_000, 0),
            announced=Place(40_100_000, 5),
            notice=200_000,
            how="announced in block 40100000",
        ),
    ),
    exposures=(
        Exposure(
            kind=ExposureKind.SINGLE_KEY,
            subject=OWNER,
            since=at(CREATED),
            until=at(40_300_000),
            words=f"The key {OWNER} alone could let any code run.",
        ),
        *(
            Exposure(
                kind=ExposureKind.ALLOWED_NEVER_SEEN,
                subject=subject,
                since=at(40_100_000),
                until=None,
                words=f"Manifest {subject} may start, and nobody has seen it.",
                manifest=False,
            )
            for subject in (FIRST, "98" * 32, "99" * 32)
        ),
        Exposure(
            kind=ExposureKind.UNKNOWN_CODE,
            subject=ROGUE_CODE,
            since=at(40_200_000),
            until=None,
            words=f"The app's contract runs code {ROGUE_CODE}, which nobody knows.",
        ),
        Exposure(
            kind=ExposureKind.SEEN_NOT_ALLOWED,
            subject="cd" * 32,
            since=None,
            until=None,
            words="A manifest ran that no event ever allowed.",
            manifest=False,
        ),
    ),
    single_source=True,
    notes=("PolicyChanged stands alone in 1 transaction.",),
)

TIMELINES = {"calm": CALM, "troubled": TROUBLED}


def rewritten(value: Any, change: Callable[[str], str]) -> Any:
    """A copy of a value of the model with every string in it changed; enums stay."""
    if isinstance(value, str):
        return value if isinstance(value, Enum) else change(value)
    if isinstance(value, tuple | list | frozenset):
        return type(value)(rewritten(item, change) for item in value)
    if isinstance(value, Mapping):
        return {change(key): rewritten(item, change) for key, item in value.items()}
    if isinstance(value, Struct):
        mapped = {name: rewritten(getattr(value, name), change) for name in value.__struct_fields__}
        return replace(value, **mapped)
    return value
