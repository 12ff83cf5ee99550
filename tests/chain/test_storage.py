"""Which proofs are asked for, and what proven words make of each compared value."""

from collections.abc import Iterable

import pytest

from tests.evidence.chain.tries import State, header
from tests.timeline.nodes import Ask, view_of
from verifier.chain import calls
from verifier.chain.storage import Layout, Proven, proof_calls, proven_words
from verifier.errors import EvidenceError
from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import Call
from verifier.evidence.chain.ethereum import keccak256
from verifier.evidence.chain.storage_proofs import MAX_KEYS
from verifier.model.chain import Role
from verifier.model.result import JsonValue
from verifier.reference import generations
from verifier.reference.generations import Generation, slots_of
from verifier.reference.values import generation_of

BLOCK = hex(100)
ADDRESS = "0xAbCdefAbcDEfabCdEfABcdEfAbcdEFABcdEFabcd"
RAW_ADDRESS = bytes.fromhex(ADDRESS[2:])
HASH = "ab" * 32


def layout_of(generation: Generation, role: Role) -> Layout:
    slots = slots_of(generation, role)
    assert slots is not None
    return Layout.of(slots)


APP = layout_of(generations.G6, Role.APP)
OLD_APP = layout_of(generations.G3, Role.APP)
KMS = layout_of(generations.G5, Role.KMS)


def word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def element(key: str, slot: int) -> int:
    return int.from_bytes(keccak256(bytes.fromhex(key) + word(slot)), "big")


def getter(selector: str, key: str = "") -> Call:
    return contracts.eth_call(ADDRESS, selector + key, BLOCK)


def asked_slots(asked: Iterable[Call]) -> list[int]:
    return [int(str(slot), 16) for _, params in asked for slot in _listed(params[1])]


def _listed(value: JsonValue) -> list[JsonValue]:
    assert isinstance(value, list)
    return value


def text_words(slot: int, text: bytes, *, count: int = 4) -> dict[int, bytes]:
    """How Solidity stores a byte string, zeros after its end among it."""
    first = int.from_bytes(keccak256(word(slot)), "big")
    if len(text) < 32:
        head, text = text.ljust(31, b"\0") + bytes([2 * len(text)]), b""
    else:
        head = word(2 * len(text) + 1)
    padded = text.ljust(32 * count, b"\0")
    return {slot: head} | {first + i: padded[32 * i : 32 * i + 32] for i in range(count)}


def node(*answers: tuple[Call, JsonValue]) -> Ask:
    """An endpoint that answers these calls, and no others."""

    def ask(call: Call) -> JsonValue:
        for asked, answer in answers:
            if asked == call:
                return answer
        raise EvidenceError("not answered")

    return ask


def test_the_slots_of_an_app() -> None:
    keyed = [getter(contracts.ALLOWED_COMPOSE_HASHES, HASH)]
    keyed.append(getter(contracts.ALLOWED_DEVICE_IDS, HASH))
    proxy = (contracts.IMPLEMENTATION_SLOT, calls.ADMIN_SLOT, calls.BEACON_SLOT)
    scalars = [int(slot, 16) for slot in (calls.OWNER_SLOT, calls.PENDING_OWNER_SLOT, *proxy)]
    new = proof_calls(APP, ADDRESS, keyed, BLOCK)
    assert asked_slots(new) == [*scalars, 1, 3, element(HASH, 0), element(HASH, 2)]
    old = proof_calls(OLD_APP, ADDRESS, keyed, BLOCK)
    assert asked_slots(old) == [*scalars, 2, element(HASH, 1), element(HASH, 3)]
    ((method, (address, slots, block)),) = new
    assert (method, address, block) == ("eth_getProof", ADDRESS.lower(), BLOCK)
    assert all(len(str(slot)) == 66 for slot in _listed(slots))


def test_the_slots_of_a_kms() -> None:
    keyed = [getter(contracts.ALLOWED_OS_IMAGES, HASH)]
    found = asked_slots(proof_calls(KMS, ADDRESS, keyed, BLOCK))
    assert found[5:] == [9, *text_words(0, b""), *text_words(4, b""), element(HASH, 8)]


def test_many_keys_are_several_calls() -> None:
    keyed = [
        getter(contracts.ALLOWED_COMPOSE_HASHES, f"{index:064x}") for index in range(2 * MAX_KEYS)
    ]
    asked = proof_calls(APP, ADDRESS, [*keyed, *keyed], BLOCK)
    assert [len(_listed(params[1])) for _, params in asked] == [64, 64, 7]
    assert len(set(asked_slots(asked))) == 135


def test_code_that_nobody_knows_has_no_layout() -> None:
    for generation in (generation_of(None), generations.G0):
        assert slots_of(generation, Role.APP) is None
        assert slots_of(generation, Role.KMS) is None
    call = calls.storage(ADDRESS, 1, BLOCK)
    assert Proven(None, {1: word(1)}).value(call, contracts.decode_uint) is None


@pytest.mark.parametrize(
    ("layout", "selector", "slot"),
    [
        (APP, contracts.ALLOWED_COMPOSE_HASHES, 0),
        (APP, contracts.ALLOWED_DEVICE_IDS, 2),
        (OLD_APP, contracts.ALLOWED_COMPOSE_HASHES, 1),
        (OLD_APP, contracts.ALLOWED_DEVICE_IDS, 3),
        (KMS, contracts.ALLOWED_KMS_BUILDS, 6),
        (KMS, calls.KMS_DEVICE_IDS, 7),
        (KMS, contracts.ALLOWED_OS_IMAGES, 8),
    ],
)
def test_keys(layout: Layout, selector: str, slot: int) -> None:
    call = getter(selector, HASH)
    for value in (False, True):
        proven = Proven(layout, {element(HASH, slot): word(value)})
        assert proven.value(call, contracts.decode_bool) is value
    assert Proven(layout, {}).value(call, contracts.decode_bool) is None
    with pytest.raises(EvidenceError, match="not a boolean"):
        Proven(layout, {element(HASH, slot): word(2)}).value(call, contracts.decode_bool)


@pytest.mark.parametrize(("layout", "slot"), [(APP, 1), (OLD_APP, 2)])
def test_any_device_is_the_second_byte_of_the_flags(layout: Layout, slot: int) -> None:
    call = getter(contracts.ALLOW_ANY_DEVICE)
    for flags, expected in ((0x0000, False), (0x0001, False), (0x0100, True), (0x0101, True)):
        proven = Proven(layout, {slot: word(flags)})
        assert proven.value(call, contracts.decode_bool) is expected


def test_words_are_read_as_the_nodes_answers_are() -> None:
    owner = int(calls.OWNER_SLOT, 16)
    proven = Proven(APP, {owner: RAW_ADDRESS.rjust(32, b"\0"), 3: word(1)})
    account = proven.value(
        calls.storage(ADDRESS, calls.OWNER_SLOT, BLOCK), contracts.decode_address
    )
    assert str(account).lower() == ADDRESS.lower()
    assert proven.value(calls.storage(ADDRESS, 3, BLOCK), contracts.decode_uint) == 1
    assert proven.value(calls.storage(ADDRESS, 4, BLOCK), contracts.decode_uint) is None
    assert proven.value(contracts.get_code(ADDRESS, BLOCK), contracts.decode_uint) is None
    assert proven.value(getter(contracts.KMS_INFO), contracts.decode_uint) is None


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 64, 127, 128])
def test_byte_strings(size: int) -> None:
    text = (b"0x" + b"ab" * 64)[:size]
    proven = Proven(KMS, text_words(4, text) | text_words(0, text))
    gateway, info = getter(contracts.GATEWAY_APP_ID), getter(contracts.KMS_INFO)
    assert proven.value(gateway, contracts.decode_string) == text.decode()
    assert proven.value(info, contracts.decode_string) == text.hex()


def test_a_longer_byte_string_is_not_proven() -> None:
    proven = Proven(KMS, text_words(4, b"a" * 129))
    call = getter(contracts.GATEWAY_APP_ID)
    assert proven.value(call, contracts.decode_string) is None
    words = text_words(4, b"a" * 40)
    words.popitem()
    assert Proven(KMS, words).value(call, contracts.decode_string) is None
    with pytest.raises(EvidenceError, match="UTF-8"):
        Proven(KMS, text_words(4, b"\xff")).value(call, contracts.decode_string)


def test_words_that_some_endpoint_proves() -> None:
    state = State({RAW_ADDRESS: {1: word(0x100), 7: word(9)}, bytes(20): {1: word(5)}})
    block = header(stateRoot="0x" + state.root.hex())
    asked: list[Call] = [
        ("eth_getProof", [ADDRESS.lower(), [f"0x{slot:064x}"], BLOCK]) for slot in (1, 2, 7)
    ]
    head = contracts.get_block(BLOCK)
    honest = [(asked[0], state.proof(RAW_ADDRESS, [1])), (asked[1], state.proof(RAW_ADDRESS, [2]))]
    liar = [
        (asked[0], State({RAW_ADDRESS: {1: word(1)}}).proof(RAW_ADDRESS, [1])),
        (asked[1], state.proof(bytes(20), [1])),
        (asked[2], {"accountProof": [], "storageProof": "none"}),
    ]
    agreed = block["hash"][2:]

    def words(*nodes: Ask, block_hash: str = agreed) -> dict[int, bytes]:
        return dict(proven_words(view_of(int(BLOCK, 16), *nodes), block_hash, ADDRESS, asked))

    expected = {1: word(0x100), 2: word(0)}
    assert words(node((head, block), *honest), node(*liar)) == expected
    assert words(node((head, block), *liar), node(*honest)) == expected
    assert words(node((head, block), *liar)) == {}
    third = node((asked[2], state.proof(RAW_ADDRESS, [7])))
    assert words(node((head, block), *honest), third) == expected | {7: word(9)}
    # Without the header that the agreed hash is of, nothing is proven.
    assert words(node(*honest)) == {}
    assert words(node((head, block), *honest), block_hash="00" * 32) == {}
    forged = block | {"stateRoot": "0x" + "00" * 32}
    assert words(node((head, forged), *honest)) == {}
