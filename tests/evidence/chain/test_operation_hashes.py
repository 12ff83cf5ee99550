"""The hash of a Safe's transaction is what the real contracts say.

Recorded from `getTransactionHash` of the build artifacts of npm @safe-global/safe-contracts 1.4.1
and @gnosis.pm/safe-contracts 1.3.0, deployed on anvil 1.7.1 with chain id 8453 on 2026-11-30.
Ids of timelocks are compared with OpenZeppelin's own code in tests/evm.
"""

import pytest

from verifier.evidence.chain.operation_hashes import SafeTransaction, safe_transaction_hash

CHAIN = 8453
SAFES = {
    "1.4.1": bytes.fromhex("5fbdb2315678afecb367f032d93f642f64180aa3"),
    "1.3.0": bytes.fromhex("e7f1725e7734ce288f8367e1bb143e90bb3f0512"),
}
PLAIN = SafeTransaction(
    to=b"\x11" * 20,
    value=0,
    data=bytes.fromhex("dfc77223") + b"\x22" * 32,
    operation=0,
    safe_tx_gas=0,
    base_gas=0,
    gas_price=0,
    gas_token=bytes(20),
    refund_receiver=bytes(20),
    nonce=0,
)
EVERYTHING = SafeTransaction(
    to=b"\x33" * 20,
    value=10**18,
    data=b"",
    operation=1,
    safe_tx_gas=50_000,
    base_gas=7,
    gas_price=10**9,
    gas_token=b"\x44" * 20,
    refund_receiver=b"\x55" * 20,
    nonce=2**64,
)
RECORDED = (
    ("1.4.1", PLAIN, "57a58950f15aaca95603a8508614cb2081226ac4d7b23b66c94e3b91a40d9402"),
    ("1.4.1", EVERYTHING, "6a30c728b5b4e4e5cdf04a2ec50afeaef5238b6f86f2bf331e68b1242183c2ac"),
    ("1.3.0", PLAIN, "4c9056dd3c72f4c17cea2f58083fd181f89cbac387d3d20c5d6c08f8a37ace6f"),
    ("1.3.0", EVERYTHING, "f7ebf6e4e5ec0092fc8eac244f44618583e360ea876a2f102d623d148f4ebb8b"),
)


@pytest.mark.parametrize(("version", "transaction", "digest"), RECORDED)
def test_the_hash_is_the_contracts_own(
    version: str, transaction: SafeTransaction, digest: str
) -> None:
    found = safe_transaction_hash(transaction, SAFES[version], CHAIN, version)
    assert found == bytes.fromhex(digest)
    on_l2 = safe_transaction_hash(transaction, SAFES[version], CHAIN, f"{version}+L2")
    assert on_l2 == found
    assert safe_transaction_hash(transaction, SAFES[version], CHAIN + 1, version) != found


@pytest.mark.parametrize("version", ["1.2.0", "1.3", "", "1.4.1-rc", "1.4.1\n"])
def test_a_release_that_is_not_known_has_no_hash(version: str) -> None:
    assert safe_transaction_hash(PLAIN, SAFES["1.4.1"], CHAIN, version) is None
