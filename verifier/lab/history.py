"""The honest history of the simulated chain, as far as the knobs leave it honest.

A KMS contract 300 days old; an app contract 60 days old, which allowed an earlier manifest first
and the present one for the last 6 days.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from verifier.lab import keys
from verifier.lab.chain import Chain
from verifier.lab.contracts import AppTerms, DstackApp, DstackKms
from verifier.lab.events import OsImage
from verifier.lab.guest import Guest
from verifier.lab.kms import PLATFORM, Kms
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import device_ppid
from verifier.lab.quote import user_data

KMS_ADDRESS: Final = keys.labelled("DstackKms", 20)
KMS_IMPLEMENTATION: Final = keys.labelled("DstackKms implementation", 20)
APP_IMPLEMENTATION: Final = keys.labelled("DstackApp implementation", 20)
KMS_OWNER: Final = keys.labelled("KMS owner", 20)
GATEWAY_APP_ID: Final = "0x" + keys.labelled("gateway app", 20).hex()
KMS_AGE: Final = 300 * DAY
APP_AGE: Final = 60 * DAY
COMPOSE_HASH_AGE: Final = 6 * DAY
REMOVAL_AGE: Final = 2 * DAY
EARLIER_COMPOSE_HASH: Final = keys.labelled("earlier compose hash", 32)


def app_owner(seed: str) -> bytes:
    """The address (20 bytes) that owns the app's contract."""
    return keys.labelled(f"app owner {seed}", 20)


def device_id(knobs: Knobs, seed: str, platform: str | None = None) -> bytes:
    """What the contract calls a machine: sha256 of its PPID, or of the QE's user data."""
    name = platform or knobs.platform
    if knobs.device_binding == "user-data":
        return hashlib.sha256(user_data(name)).digest()
    return hashlib.sha256(device_ppid(f"{seed} {name}")).digest()


def app_contract(chain: Chain, seed: str, app_id: bytes) -> DstackApp:
    """The app's contract in the hands of its owner, for further history."""
    return DstackApp(chain, app_id, app_owner(seed))


def kms_contract(chain: Chain) -> DstackKms:
    """The KMS's contract in the hands of its owner, for further history."""
    return DstackKms(chain, KMS_ADDRESS, KMS_OWNER)


def write(chain: Chain, knobs: Knobs, kms: Kms, app_id: bytes, guests: Sequence[Guest]) -> None:
    """Everything that happened on the chain before the world is observed."""
    _write_kms(chain, knobs, kms)
    implied = knobs.app_id is not None or (knobs.key_provider == "kms" and knobs.kms != "hosted")
    if implied if knobs.app_on_chain is None else knobs.app_on_chain:
        _write_app(chain, knobs, app_id, guests)


def _write_app(chain: Chain, knobs: Knobs, app_id: bytes, guests: Sequence[Guest]) -> None:
    contract = kms_contract(chain)
    born = chain.block_at(knobs.now - APP_AGE)
    first_device = b"" if knobs.device_on_chain == "never" else device_id(knobs, knobs.seed)
    terms = AppTerms(
        device_id=first_device,
        compose_hash=EARLIER_COMPOSE_HASH,
        allow_any_device=knobs.allow_any_device,
        disable_upgrades=knobs.upgrades_disabled,
    )
    app = contract.deploy_app(born, app_id, app_owner(knobs.seed), terms)
    if not knobs.app_registered:
        contract.unregister(born, app_id)
    block = chain.block_at(knobs.now - COMPOSE_HASH_AGE)
    removal = chain.block_at(knobs.now - REMOVAL_AGE)
    for compose_hash, fate in {
        guest.compose_hash: guest.knobs.compose_hash_on_chain for guest in reversed(guests)
    }.items():
        if fate != "never":
            app.add_compose_hash(block, compose_hash)
        if fate == "removed":
            app.remove_compose_hash(removal, compose_hash)
    app.remove_compose_hash(block + 30, EARLIER_COMPOSE_HASH)
    for guest in guests[1:]:
        device = device_id(guest.knobs, knobs.seed)
        if guest.knobs.device_on_chain != "never" and device != first_device:
            app.add_device(block, device)
    if knobs.device_on_chain == "removed":
        app.remove_device(removal, first_device)


def _write_kms(chain: Chain, knobs: Knobs, kms: Kms) -> None:
    contract = kms_contract(chain)
    block = chain.block_at(knobs.now - KMS_AGE)
    contract.deploy(block, KMS_IMPLEMENTATION, APP_IMPLEMENTATION)
    ca_pubkey = kms.ca_spki if knobs.ca_pubkey is None else knobs.ca_pubkey
    contract.set_kms_info(
        block + 2, (kms.k256_public, ca_pubkey, kms.bootstrap.quote, kms.event_log)
    )
    contract.set_gateway_app_id(block + 3, GATEWAY_APP_ID)
    contract.add_kms(block + 4, kms.guest.mr_aggregated, device_id(knobs, knobs.seed, PLATFORM))
    image = OsImage(knobs.os_image).os_image_hash
    if knobs.os_image_on_chain != "never":
        contract.add_os_image(block + 5, image)
    if knobs.os_image_on_chain == "removed":
        contract.remove_os_image(chain.block_at(knobs.now - REMOVAL_AGE), image)
