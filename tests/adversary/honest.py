"""Honest worlds of many kinds, in each of which everything can be proven that anybody asks."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from tests.adversary.worlds import HONEST
from verifier.lab.knobs import Knobs
from verifier.lab.rpc import RpcFault

HONEST_WORLDS: Final[Mapping[str, Knobs]] = {
    "plain": HONEST,
    "td15": replace(HONEST, quote_format="v5-td15"),
    "second-events": replace(HONEST, event_log_version=2),
    "msgpack": replace(HONEST, event_log_version=2, cert_attestation="msgpack-v1"),
    "scale": replace(HONEST, cert_attestation="scale-v0"),
    "owner-named": replace(HONEST, mr_config_id="v2"),
    "no-upgrades": replace(HONEST, upgrades_disabled=True),
    "no-archive": replace(HONEST, rpc_faults=dict.fromkeys("ab", RpcFault.NO_ARCHIVE)),
}
"""By name."""

PARTLY: Final[Mapping[str, Knobs]] = {
    "sealed": replace(HONEST, key_provider="local-sgx"),
}
"""Honest worlds of which not all can be proven, whoever asks, by name."""
