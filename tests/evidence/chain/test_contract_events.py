"""Every event of every contract, with web3 and eth_abi as oracles."""

import re
import sys
from typing import Any, Final

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.evidence.chain.contract_events import (
    DECLARATIONS,
    KMS_GOVERNANCE_TOPICS,
    ContractEvent,
    decode_event,
    topic_of,
)
from verifier.evidence.chain.contracts import Log, decode_logs
from verifier.evidence.chain.ethereum import checksum_address

# py_ecc, which web3 imports, lets Python recurse so deep that nested JSON crashes the interpreter.
_RECURSION_LIMIT: Final = sys.getrecursionlimit()
from web3 import Web3  # noqa: E402
from web3._utils.events import get_event_data  # noqa: E402

sys.setrecursionlimit(_RECURSION_LIMIT)

# As block explorers show them for these contracts.
TOPICS: Final = """
0d540ad8f39e07d19909687352b9fa017405d93c91a6760981fbae9cf28bfef7 AppRegistered
fd86d7f6962eba3b7a3bf9129c06c0b2f885e1c61ef2c9f0dbb856be0deefdee AppDeployedViaFactory
08bb433f12b5fd81d2d5e0deeb3b4d28371781ddbd80e9d053e7468d2b1aa82d AppImplementationSet
72eff6cd08df1c809dd1c76cac29b34c5bceb628ba05c4ec612eca6aae43b67d AppAuthImplementationSet
77cdad119a452bbd96c45635758fc4af8a6bde3deaccf3fada634ddf9a162706 KmsInfoSet(bytes)
bb5d493b3b7b76d32dc2a4c492a3f66795cb898f6643e527aae4257035174900 KmsInfoSet(address,bytes32)
5b2b64f770ea5266055ebd3ebf205ef06cbfa738e62684edf0e28356e34acf06 GatewayAppIdSet
c0e19c6705b5bf966b7e6a010fac4ed9cb79252157815bdccaed45fd3749c964 TproxyAppIdSet
fa71be58a57ccbf2fe4e110bc83aa1620e20ff2a30bed5ccac0f1975087906db TProxyAppIdSet
4911843506849c85a5ca6e6e2c01eed2d3ab86baba619517a2aad9d5ab2aeff2 OsImageHashAdded
99b3cee95daf3138d0c982299cd0264f5b7a61aa629b42b92f3ec8966aa7f6fe OsImageHashRemoved
68615a0b92795750b3d180ff73429e1291d225e449eee954a567b91104fd9837 KmsAggregatedMrAdded
54cd662e41eec7ddf0f32f034b2533e481b471dd3ea978222d609ec8fffb1bb0 KmsAggregatedMrRemoved
f2b290637b1193e12eb38ab32b986303639b1687cc2cd1e25f993e6eae2f4041 KmsDeviceAdded
1a9888a45e3df8b7e6bb3090747d598d2a0d78e61388161a90799f54df8f4434 KmsDeviceRemoved
6ed9740f92a63b1c7e0824e6dd74e06ed0f86264582e26d44986ddc51f1fb51d AppImageMrAdded
5cafbba1dc8509b2a72933b40d44c39b90f66982ad735add62c7159a321d4bc8 AppImageMrRemoved
9058179f2db08d92dd54a5226450d4cc9f3d527cc375b846db14f73091649238 AppSystemMrAdded
c8caea956443e1626affa4676820ab97e6ec3e4097f5d2f17db8787f91c753cf AppSystemMrRemoved
4d0e5a3df74b9016e63b2b87a88b85371c1fa39b33ab131de176a0240d714d67 AggregatedMrRegistered
5ed2cae766a97ae1824da82872566214ec66595770ed66f3cb50d498d8db1df4 AggregatedMrDeregistered
abc59888a72fadf11a42b4b1ab60bff4560225cc8a65d1a410bbd97e823bcf01 EnclaveRegistered
87d50cb2fd026429dce80a44f8c241a2a1ecbb8cbd5e2c73f8f32fd3cd4011b8 EnclaveDeregistered
bb218b24bde6ba405fba71b6e1e123ab350a965dc6ad8fc3e53b3cc007547858 ImageRegistered
3177541da10e628041923734a3c8841c1702aa4bc6cdacb818eb704f962e754e ImageDeregistered
2a90407c6fcd7c2e2a5e7fd238a1fc6c41ce461f7da1ff6350d0b22435953054 KmsComposeHashRegistered
ac992076e4ec5fa0a511118a6009763a267afca83446be29e4344393e5de4198 KmsComposeHashDeregistered
6bd4d1a278f7fc5fe63a99cf254e598b6c3c069f51ed67564ca6c033d993fd4a KmsDeviceIdRegistered
a54eca6bec89886456df499328bab27fe43544464801ecd8f59fdca31e0268d5 KmsDeviceIdDeregistered
cc2941ec386bf57879cbbbf083bfd6daeb3df7a2b5cd28640b346b790fe0325e TcbPolicySet
341d3bc64e32172fc5bcf27b0f7f69dc5adc19af64b7aa1dee361e5883c32375 PolicyChanged
fecb34306dd9d8b785b54d65489d06afc8822a0893ddacedff40c50a4942d0af ComposeHashAdded
755b79bd4b0eeab344d032284a99003b2ddc018b646752ac72d681593a6e8947 ComposeHashRemoved
67fc71ab96fe3fa3c6f78e9a00e635d591b7333ce611c0380bc577aac702243b DeviceAdded
e0862975ac517b0478d308012afabc4bc37c23874a18144d7f2dfb852ff95c2c DeviceRemoved
bb2cdb6c7b362202d40373f87bc4788301cca658f91711ac1662e1ad2cba4a20 AllowAnyDeviceSet
afae60561b2481a349b45b3a47357f70eef6ae67e5b6e1749d74de7f19a25aa1 RequireTcbUpToDateSet
0e5daa943fcd7e7182d0e893d180695c2ea9f6f1b4a1c5432faf14cf17b774e8 UpgradesDisabled
bc7cd75a20ee27fd9adebab32041f755214dbc6bffa90cc0225b39da2e5c2d3b Upgraded
c7f505b2f371ae2175ee4913f4499e1f2633a7b5936321eed1cdaeb6115181d2 Initialized
8be0079c531659141344cd1fd0a4f28419497f9722a3daafe3b4186f6b6457e0 OwnershipTransferred
38d16b8cac22d99fc7c124b9cd0de2d3fa1faef420bfe791d8c362d765e22700 OwnershipTransferStarted
7e644d79422f17c01e4894b5f4f588d331ebfa28653d42ae832dc59e38c9798f AdminChanged
1cf3b03a6cf19fa2baba4df148e9dcabedea7f8a5c07840e207e5c089be95d3e BeaconUpgraded
2b3ff6b39f4956cfa375c9a4b597368184735cb754b210fd1000453de9950cdc ComposeHashProposed
5e36a46d8be30f7baf6cdf6b16d611fdc8150e8b0c9e1cd83711c0e324f9ddc3 ComposeHashActivated
7bf67ea6551aca0d94f47c8207ab7409f440a4e8471024acea4cd1245437490a ComposeHashCancelled
4cf4410cc57040e44862ef0f45f3dd5a5e02db8eb8add648d4b0e236f1d07dca CallScheduled
c2617efa69bab66782fa219543714338489c4e9e178271560a91b82c3f612b58 CallExecuted
baa1eb22f2a492ba1a5fea61b8df4d27c6c8b5f3971e63bb58fa14ff72eedb70 Cancelled
11c24f4ead16507c69ac467fbd5e4eed5fb5c699626d2cc6d66421df253886d5 MinDelayChange
2f8788117e7eff1d82e926ec794901d17c78024a50270940304540a733656f0d RoleGranted
f6391f5c32d9c69d2a47ea670b442974b53935d1edc7fd64eb21e047a839171b RoleRevoked
9465fa0c962cc76958e6373a993326400c1c94f8be2fe3a952adfa7f60b2ea26 AddedOwner
f8d49fc529812e9a7c5c50e69c20f0dccc0db8fa95c98bc58cc9a4f1c1299eaf RemovedOwner
610f7ff2b304ae8903c3de74c60c6ab1f7d6226b3f52c5161905bb5ad4039c93 ChangedThreshold
ecdf3a3effea5783a3c4c2140e677577666428d44ed9d474a0b3a4c9943f8440 EnabledModule
aab4fa2b463f581b2b32cb3b7e3b704b9ce37cc209b5fb4d77e593ace4054276 DisabledModule
442e715f626346e8c54381002da614f62bee8d27386535b2521ec8540898556e ExecutionSuccess
141df868a6331af528e38c83b7aa03edc19be66e37ae67f9285bf4f8e3c6a1a8 SafeSetup
1151116914515bc0891ff9047a6cb32cf902546f83066499bcf8ba33d2353fa2 ChangedGuard
75e41bc35ff1bf14d81d1d2f649c0084a0f974f9289c803ec9898eeec4c8d0b8 ChangedMasterCopy
"""

CODEC = Web3().codec
Declared = tuple[str, list[tuple[str, str, str]]]


def parse(declaration: str) -> Declared:
    """Name, and (type, mark, name) of every argument."""
    name, _, rest = declaration.removesuffix(")").partition("(")
    found = [item.split() for item in rest.split(", ")] if rest else []
    return name, [(item[0], " ".join(item[1:-1]), item[-1]) for item in found]


EVENTS: Final = [parse(declaration) for declaration in DECLARATIONS]
LAYOUTS: Final = [
    (name, [(kind, mark in marks, argument) for kind, mark, argument in arguments])
    for name, arguments in EVENTS
    for marks in ({"indexed"}, {"indexed?"})
    if "indexed" in marks or any(mark == "indexed?" for _, mark, _ in arguments)
]


def signature(event: tuple[str, list[Any]]) -> str:
    return f"{event[0]}({','.join(argument[0] for argument in event[1])})"


KNOWN: Final = {bytes(Web3.keccak(text=signature(event))) for event in EVENTS}


def log_of(topics: list[bytes], data: bytes) -> Log:
    return Log(
        address="0x" + "11" * 20,
        topics=tuple(topics),
        data=data,
        block=1,
        log_index=0,
        transaction="22" * 32,
    )


def encoded(event: tuple[str, list[tuple[str, bool, str]]], values: list[Any]) -> Log:
    """The log that Solidity emits."""
    name, arguments = event
    pairs = list(zip(arguments, values, strict=True))
    inside = [(kind, value) for (kind, indexed, _), value in pairs if not indexed]
    return log_of(
        [
            bytes(Web3.keccak(text=signature((name, arguments)))),
            *(encode([kind], [value]) for (kind, indexed, _), value in pairs if indexed),
        ],
        encode([kind for kind, _ in inside], [value for _, value in inside]),
    )


def by_web3(event: tuple[str, list[tuple[str, bool, str]]], log: Log) -> dict[str, Any]:
    inputs = [{"type": kind, "indexed": indexed, "name": name} for kind, indexed, name in event[1]]
    receipt: Any = {
        "address": Web3.to_checksum_address(log.address),
        "topics": log.topics,
        "data": log.data,
        "blockNumber": 1,
        "logIndex": 0,
        "transactionIndex": 0,
        "transactionHash": b"",
        "blockHash": b"",
    }
    abi: Any = {"type": "event", "name": event[0], "anonymous": False, "inputs": inputs}
    return dict(get_event_data(CODEC, abi, receipt)["args"])


def as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return [as_json(item) for item in value]
    if type(value) is int and value > 2**53:
        return str(value)
    return value


def values_of(kind: str) -> st.SearchStrategy[Any]:
    if kind.startswith("uint"):
        return st.integers(0, 2 ** int(kind[4:]) - 1) | st.integers(0, 100)
    plain: dict[str, st.SearchStrategy[Any]] = {
        "address": st.binary(min_size=20, max_size=20).map(checksum_address),
        "bool": st.booleans(),
        "bytes32": st.binary(min_size=32, max_size=32),
        "bytes": st.binary(max_size=100),
        "string": st.text(st.characters(codec="utf-8"), max_size=40),
    }
    plain["address[]"] = st.lists(plain["address"], max_size=4)
    return plain[kind]


@st.composite
def honest_logs(draw: st.DrawFn) -> tuple[Any, Log]:
    event = draw(st.sampled_from(LAYOUTS))
    return event, encoded(event, [draw(values_of(kind)) for kind, _, _ in event[1]])


@st.composite
def mutated_logs(draw: st.DrawFn) -> Log:
    _, log = draw(honest_logs())
    topics, data = list(log.topics), bytearray(log.data)
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.integers(0, 6)):
            case 0 if data:
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            case 1 if len(topics) > 1:
                topics[draw(st.integers(1, len(topics) - 1))] = draw(values_of("bytes32"))
            case 2:
                del data[draw(st.integers(0, len(data))) :]
            case 3:
                data += draw(st.binary(min_size=1, max_size=40))
            case 4:
                topics = topics[:-1]
            case 5 if len(topics) < 4:
                topics.append(draw(values_of("bytes32")))
            case 6 if len(topics) > 1:
                data = bytearray(topics.pop() + data)
    return log_of(topics, bytes(data))


def test_topics_are_hashes_of_signatures() -> None:
    for topic, name in map(str.split, TOPICS.strip().splitlines()):
        assert topic_of(name) == "0x" + topic, name
    for event in EVENTS:
        assert topic_of(signature(event)) == Web3.keccak(text=signature(event)).to_0x_hex()
    assert topic_of("KmsInfoSet") == topic_of("KmsInfoSet(bytes)")
    assert topic_of("Initialized") == topic_of("Initialized(uint64)")
    with pytest.raises(KeyError):
        topic_of("Nothing")


def test_declarations_can_be_read_by_count() -> None:
    """No signature stands twice, no indexed argument behind another, none of a dynamic type."""
    assert len({signature(event) for event in EVENTS}) == len(EVENTS)
    for name, arguments in LAYOUTS:
        marks = [indexed for _, indexed, _ in arguments]
        assert marks == sorted(marks, reverse=True), name
        assert not any(
            indexed and re.search("bytes$|string|]", kind) for kind, indexed, _ in arguments
        )
    for name, declared in EVENTS:
        assert len({mark for _, mark, _ in declared if mark}) <= 1, name
        if [kind for kind, _, _ in declared] == ["bytes32"]:
            assert declared[0][1] == "indexed?", name


def test_topic_sets() -> None:
    for name in ("Upgraded", "PolicyChanged", "KmsInfoSet", "OsImageHashAdded", "TcbPolicySet"):
        assert topic_of(name) in KMS_GOVERNANCE_TOPICS, name
    three = "AppDeployedViaFactory(address,address,address)"
    for name in ("AppDeployedViaFactory", three, "AppRegistered", "ComposeHashAdded"):
        assert topic_of(name) not in KMS_GOVERNANCE_TOPICS, name
    assert list(KMS_GOVERNANCE_TOPICS) == sorted(set(KMS_GOVERNANCE_TOPICS))


@pytest.mark.parametrize("number", range(len(LAYOUTS)))
@settings(max_examples=8)
@given(st.data())
def test_every_event_as_web3_reads_it(number: int, data: st.DataObject) -> None:
    event = LAYOUTS[number]
    log = encoded(event, [data.draw(values_of(kind)) for kind, _, _ in event[1]])
    found = decode_event(log)
    assert found.name == event[0]
    args = {name: value for name, value in found.args.items() if name != "policyName"}
    assert args == as_json_args(by_web3(event, log))
    assert list(args) == [name for _, _, name in event[1]]


def as_json_args(args: dict[str, Any]) -> dict[str, Any]:
    return {name: as_json(value) for name, value in args.items()}


def encode_again(found: ContractEvent, log: Log) -> Log:
    """The one log of this layout that has these arguments."""
    event = next(
        event
        for event in LAYOUTS
        if Web3.keccak(text=signature(event)) == log.topics[0]
        and sum(indexed for _, indexed, _ in event[1]) == len(log.topics) - 1
    )
    values: list[Any] = []
    for kind, _, name in event[1]:
        value: Any = found.args[name]
        if kind.startswith("uint"):
            value = int(value)
        elif kind.startswith("bytes"):
            value = bytes.fromhex(value)
        values.append(value)
    return encoded(event, values)


@settings(max_examples=1500)
@given(mutated_logs())
def test_what_is_accepted_is_the_canonical_encoding(log: Log) -> None:
    found = decode_event(log)
    raw = {"topics": [topic.hex() for topic in log.topics], "data": log.data.hex()}
    if found.name == "undecodable":
        assert raw.items() <= found.args.items()
        assert set(found.args) == {*raw, "event", "reason"}
    elif found.name == "unknown":
        assert (found.args, set(log.topics[:1]) & KNOWN) == (raw, set())
    else:
        assert encode_again(found, log) == log


@settings(max_examples=500)
@given(
    st.lists(
        st.sampled_from(sorted(KNOWN)) | st.binary(max_size=40),
        max_size=5,
    ),
    st.binary(max_size=300),
)
def test_it_never_raises(topics: list[bytes], data: bytes) -> None:
    assert decode_event(log_of(topics, data)).name


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def raw_log(name: str, *words: bytes, data: bytes = b"") -> Log:
    return log_of([bytes.fromhex(topic_of(name)[2:]), *words], data)


HASH = bytes(range(32))
SAFE_OWNER = bytes(12) + b"\x11" * 20


@pytest.mark.parametrize(
    ("name", "value", "rest"),
    [
        ("ComposeHashRemoved", HASH, {}),  # DstackApp, TimelockAppAuth
        ("AppRegistered", SAFE_OWNER, {}),  # KmsAuth, its first commits
        ("AddedOwner", SAFE_OWNER, {}),  # Safe up to 1.3, from 1.4 on
        ("ExecutionSuccess", HASH, {"payment": 7}),
    ],
)
def test_both_layouts(name: str, value: bytes, rest: dict[str, int]) -> None:
    tail = b"".join(word(number) for number in rest.values())
    in_data = decode_event(raw_log(name, data=value + tail))
    assert in_data == decode_event(raw_log(name, value, data=tail))
    assert in_data.name == name
    shown = "0x" + "11" * 20 if value == SAFE_OWNER else HASH.hex()
    assert list(in_data.args.values()) == [shown, *rest.values()]


BAD: Final = {
    "both layouts at once": raw_log("ComposeHashAdded", HASH, data=HASH),
    "neither layout": raw_log("ComposeHashAdded"),
    "fixed layout, not indexed": raw_log("Upgraded", data=SAFE_OWNER),
    "fixed layout, indexed": raw_log("AllowAnyDeviceSet", word(1)),
    "half a word": raw_log("ComposeHashAdded", data=HASH[:16]),
    "bytes behind": raw_log("ComposeHashAdded", data=HASH + b"\0"),
    "data of an event without any": raw_log("UpgradesDisabled", data=bytes(32)),
    "boolean of two": raw_log("AllowAnyDeviceSet", data=word(2)),
    "dirty address": raw_log("Upgraded", b"\1" + SAFE_OWNER[1:]),
    "number out of range": raw_log("Initialized", data=word(2**64)),
    "an unusual offset": raw_log("GatewayAppIdSet", data=word(64) + word(0) * 2),
    "huge offset": raw_log("GatewayAppIdSet", data=word(2**255) + word(0)),
    "no length": raw_log("GatewayAppIdSet", data=word(32)),
    "huge length": raw_log("GatewayAppIdSet", data=word(32) + word(2**255)),
    "dirty padding": raw_log("GatewayAppIdSet", data=word(32) + word(1) + b"a" * 32),
    "no padding": raw_log("GatewayAppIdSet", data=word(32) + word(1) + b"a"),
    "padding too long": raw_log("GatewayAppIdSet", data=word(32) + word(0) + bytes(32)),
    "not UTF-8": raw_log("GatewayAppIdSet", data=word(32) + word(1) + b"\xff".ljust(32, b"\0")),
}


@pytest.mark.parametrize("case", BAD)
def test_undecodable(case: str) -> None:
    log = BAD[case]
    found = decode_event(log)
    assert found.name == "undecodable"
    assert topic_of(str(found.args["event"])) == "0x" + log.topics[0].hex()
    assert found.args["reason"]


def test_unknown() -> None:
    for topics in ([], [HASH], [HASH, HASH]):
        found = decode_event(log_of(topics, b"\1"))
        assert found == ContractEvent(
            "unknown", {"topics": [HASH.hex()] * len(topics), "data": "01"}
        )


def test_numbers() -> None:
    def version(number: int) -> Any:
        return decode_event(raw_log("Initialized", data=word(number))).args["version"]

    assert [version(number) for number in (1, 2**53)] == [1, 2**53]
    assert [version(number) for number in (2**53 + 1, 2**64 - 1)] == [
        str(2**53 + 1),
        str(2**64 - 1),
    ]


POLICIES: Final = {
    "compose-hash": "56bdf4352a9ceb1ba8f5c68066725c095e69c1d3f8a437290f0ac1da8fb4e19c",
    "implementation-upgrade": "dd3079240d4e002c905dcbcaf6b06d77e782afb127bbb837120b8c7fc6703da3",
    "registered-app": "1a61f88f2e67632c1bf4321c88aec40bbf788e2b1a14b69f1186e6a3a31d9028",
    "kms-device": "1a2d46e254225ae2e84638f6fcb742191317930982ce206e0917877506edc3a0",
    "os-image": "bc0346dd2a1caffcfdf89515e8a3ad921515d32b39d8e28334b87bd5a1bdb6aa",
}


@pytest.mark.parametrize("policy", [*POLICIES, ""])
def test_policy_changed(policy: str) -> None:
    digest = POLICIES.get(policy, "00" * 32)
    words = (SAFE_OWNER, bytes.fromhex(digest), HASH)
    found = decode_event(raw_log("PolicyChanged", *words, data=word(1)))
    args = {"actor": "0x" + "11" * 20, "policy": digest, "value": HASH.hex(), "enabled": True}
    assert found.args == (args | {"policyName": policy} if policy else args)


def test_what_a_factory_emits_for_an_app() -> None:
    """In the order of deployAndRegisterApp of DstackKms, as a node's answer gives it."""
    owner, nobody = SAFE_OWNER, bytes(32)
    emitted = [
        ("Upgraded", [owner], b""),
        ("DeviceAdded", [], HASH),
        ("ComposeHashAdded", [], HASH),
        ("OwnershipTransferred", [nobody, owner], b""),
        ("Initialized", [], word(1)),
        ("AppRegistered", [], owner),
        ("AppDeployedViaFactory", [owner, owner], b""),
    ]
    entries: list[Any] = [
        {
            "address": "0x" + "11" * 20,
            "topics": [topic_of(name), *("0x" + topic.hex() for topic in topics)],
            "data": "0x" + data.hex(),
            "blockNumber": "0x1f78a40",
            "logIndex": hex(index),
            "transactionHash": "0x" + "22" * 32,
        }
        for index, (name, topics, data) in enumerate(emitted)
    ]
    found = [decode_event(log) for log in decode_logs(entries, "logs")]
    assert [event.name for event in found] == [name for name, _, _ in emitted]
    assert found[3].args["previousOwner"] == "0x" + "00" * 20
