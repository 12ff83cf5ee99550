"""Values that dstack derives from measurement registers.

Source: Dstack-TEE/dstack dstack-attest/src/attestation.rs (decode_mr_tdx, AppInfo) and
ra-tls/src/attestation.rs of the 0.5 releases.
"""

import hashlib
import itertools
from collections.abc import Iterable
from typing import Final

import rfc8785

from verifier.evidence.td.event_log import Event, replay, runtime_digest, system_events
from verifier.evidence.td.quote import TdQuote

KEY_PROVIDER_KINDS: Final = {"none": 0, "local-sgx": 1, "kms": 2, "tpm": 3}
MR_CONFIG_ID_UNSET: Final = bytes(48)


def mr_config_id_v1(compose_hash: bytes) -> bytes:
    """MRCONFIGID, version 1: `01 || compose_hash || 0^15`."""
    return b"\x01" + compose_hash + bytes(15)


def mr_config_id_v2(compose_hash: bytes, app_id: bytes, provider: str, provider_id: bytes) -> bytes:
    """MRCONFIGID, version 2: `02 || keccak256(compose_hash || app_id || kind || id) || 0^15`."""
    from verifier.evidence.chain.ethereum import keccak256  # noqa: PLC0415 - keccak only where needed

    kind = KEY_PROVIDER_KINDS.get(provider, 0xFF).to_bytes(1, "big")
    return b"\x02" + keccak256(compose_hash + app_id + kind + provider_id) + bytes(15)


def mr_config_id_v3(  # noqa: PLR0913, PLR0917 - the fields of the document
    compose_hash: bytes,
    app_id: bytes,
    provider: str,
    provider_id: bytes,
    instance_id: bytes,
    gpu_policy_hash: bytes | None,
    init_script_hashes: tuple[bytes, ...],
) -> frozenset[bytes]:
    """MRCONFIGID, version 3: `03 || sha256("dstack-mr-config-v3:" || 00 || document) || 0^15`.

    The document is RFC 8785 JSON of what the host pins, and a host may leave out any optional
    field; so there is one value per choice of fields (dstack-types/src/mr_config.rs).
    """
    fixed: dict[str, object] = {
        "version": 3,
        "compose_hash": compose_hash.hex(),
        "key_provider": "local" if provider == "local-sgx" else provider,
    }
    optional: list[tuple[str, object]] = [
        ("app_id", app_id.hex()),
        ("key_provider_id", provider_id.hex()),
        ("instance_id", instance_id.hex()),
        ("init_script_hashes", [item.hex() for item in init_script_hashes]),
    ]
    if gpu_policy_hash is not None:
        optional.append(("gpu_policy_hash", gpu_policy_hash.hex()))
    values: set[bytes] = set()
    for count in range(len(optional) + 1):
        for chosen in itertools.combinations(optional, count):
            document = rfc8785.dumps(fixed | dict(chosen))  # type: ignore[arg-type]
            digest = hashlib.sha256(b"dstack-mr-config-v3:\0" + document).digest()
            values.add(b"\x03" + digest + bytes(15))
    return frozenset(values)


def mr_key_provider(payload: bytes | None) -> bytes:
    """sha256 of the key-provider event's payload; zeros when there is none."""
    return hashlib.sha256(payload).digest() if payload is not None else bytes(32)


def mr_system(quote: TdQuote, key_provider: bytes | None) -> bytes:
    """sha256(MRTD || RTMR0 || RTMR1 || RTMR2 || mr_key_provider)."""
    return hashlib.sha256(
        quote.mr_td + b"".join(quote.rtmrs[:3]) + mr_key_provider(key_provider)
    ).digest()


def mr_aggregated(quote: TdQuote, rtmr3: bytes | None = None) -> bytes:
    """sha256(MRTD || RTMR0-3 [|| MRCONFIGID || MROWNER || MROWNERCONFIG when any is set]).

    `rtmr3` replaces the quote's, for the value that the KMS saw at boot.
    """
    owner = quote.mr_config_id + quote.mr_owner + quote.mr_owner_config
    registers = b"".join((*quote.rtmrs[:3], rtmr3 or quote.rtmrs[3]))
    return hashlib.sha256(quote.mr_td + registers + (owner if owner.strip(b"\0") else b"")).digest()


def mr_aggregated_forms(quote: TdQuote) -> tuple[bytes, ...]:
    """What a list of allowed builds may call this TD: `mr_aggregated`, and what that was before
    dstack 0.5.0, without MRCONFIGID, MROWNER and MROWNERCONFIG."""
    older = hashlib.sha256(quote.mr_td + b"".join(quote.rtmrs)).digest()
    return tuple(dict.fromkeys((mr_aggregated(quote), older)))


def boot_rtmr3(events: Iterable[Event]) -> bytes:
    """RTMR3 as the KMS saw it: replayed up to and including `boot-mr-done`."""
    digests: list[bytes] = []
    for event in system_events(events):
        digests.append(runtime_digest(event))
        if event.name == "boot-mr-done":
            break
    return replay(digests)
