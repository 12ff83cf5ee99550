"""The honest history of the simulated chain, as far as the knobs leave it honest.

A KMS contract 300 days old; an app contract 60 days old, which allowed an earlier manifest first
and the present one for the last 6 days. Both were deployed by a plain key, which handed them over
at once to a timelock of 7 days behind a Safe of two keys out of three (`Knobs.governance`): what
happened 6 days ago was scheduled 13 days ago. The gateway that the KMS names is such an app, too.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from verifier.lab import keys
from verifier.lab.chain import Chain
from verifier.lab.contracts import AppTerms, DstackApp, DstackKms, Key, Owner
from verifier.lab.events import OsImage
from verifier.lab.gateway import GATEWAY_APP, gateway_compose_hash
from verifier.lab.guest import Guest
from verifier.lab.kms import PLATFORM, Kms
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.owners import Safe, Timelock
from verifier.lab.pki import device_ppid
from verifier.lab.quote import user_data

KMS_ADDRESS: Final = keys.labelled("DstackKms", 20)
KMS_IMPLEMENTATION: Final = keys.labelled("DstackKms implementation", 20)
APP_IMPLEMENTATION: Final = keys.labelled("DstackApp implementation", 20)
GATEWAY_APP_ID: Final = "0x" + GATEWAY_APP.hex()
KMS_AGE: Final = 300 * DAY
APP_AGE: Final = 60 * DAY
COMPOSE_HASH_AGE: Final = 6 * DAY
REMOVAL_AGE: Final = 2 * DAY
_REMOVED: Final = {"removed": REMOVAL_AGE, "removed-lately": 1800}
"""How long ago a permission was taken back, in seconds."""
GATEWAY_UPDATE_AGE: Final = 100 * DAY
DELAY: Final = 7 * DAY
SIGNERS: Final = 3
THRESHOLD: Final = 2
EARLIER_COMPOSE_HASH: Final = keys.labelled("earlier compose hash", 32)
_KMS_DEPLOYER: Final = keys.labelled("KMS owner", 20)


def app_deployer(seed: str) -> bytes:
    """The address (20 bytes) of the key that deployed the app's contract."""
    return keys.labelled(f"app owner {seed}", 20)


def app_owner(chain: Chain, knobs: Knobs) -> Owner:
    """Who owns the app's contract."""
    return _owner(chain, knobs, f"app {knobs.seed}", app_deployer(knobs.seed))


def kms_owner(chain: Chain, knobs: Knobs) -> Owner:
    """Who owns the KMS's contract, and the gateway's."""
    return _owner(chain, knobs, "KMS", _KMS_DEPLOYER)


def _owner(chain: Chain, knobs: Knobs, label: str, deployer: bytes) -> Owner:
    signers = tuple(keys.labelled(f"signer {index} of {label}", 20) for index in range(SIGNERS))
    safe = Safe(chain, keys.labelled(f"Safe of {label}", 20), signers)
    match knobs.governance:
        case "key":
            return Key(chain, deployer)
        case "safe":
            return safe
        case "timelock":
            return Timelock(chain, keys.labelled(f"timelock of {label}", 20), safe)


def device_id(knobs: Knobs, seed: str, platform: str | None = None) -> bytes:
    """What the contract calls a machine: sha256 of its PPID, or of the QE's user data."""
    name = platform or knobs.platform
    if knobs.device_binding == "user-data":
        return hashlib.sha256(user_data(name)).digest()
    return hashlib.sha256(device_ppid(f"{seed} {name}")).digest()


def app_contract(chain: Chain, knobs: Knobs, app_id: bytes) -> DstackApp:
    """The app's contract in the hands of its owner, for further history."""
    return DstackApp(chain, app_id, app_owner(chain, knobs))


def kms_contract(chain: Chain, knobs: Knobs) -> DstackKms:
    """The KMS's contract in the hands of its owner, for further history."""
    return DstackKms(chain, KMS_ADDRESS, kms_owner(chain, knobs))


def write(  # noqa: PLR0913, PLR0917 - what a chain is about
    chain: Chain,
    knobs: Knobs,
    kms: Kms,
    app_id: bytes,
    guests: Sequence[Guest],
    builds: Sequence[bytes],
) -> None:
    """Everything that happened on the chain before the world is observed. `builds` are those of the
    KMS that its contract allows."""
    _write_kms(chain, knobs, kms, builds)
    implied = knobs.app_id is not None or (knobs.key_provider == "kms" and knobs.kms != "hosted")
    owner = app_owner(chain, knobs)
    _deploy_owner(owner, chain.block_at(knobs.now - APP_AGE) - 10, app_deployer(knobs.seed))
    if implied if knobs.app_on_chain is None else knobs.app_on_chain:
        _write_app(chain, knobs, app_id, guests)


def _write_app(chain: Chain, knobs: Knobs, app_id: bytes, guests: Sequence[Guest]) -> None:
    contract = kms_contract(chain, knobs)
    born = chain.block_at(knobs.now - APP_AGE)
    first_device = b"" if knobs.device_on_chain == "never" else device_id(knobs, knobs.seed)
    terms = AppTerms(
        device_id=first_device,
        compose_hash=EARLIER_COMPOSE_HASH,
        allow_any_device=knobs.allow_any_device,
        disable_upgrades=knobs.upgrades_disabled,
    )
    app = _handed_over(
        contract.deploy_app(born, app_id, app_deployer(knobs.seed), terms),
        born + 1,
        app_owner(chain, knobs),
    )
    if not knobs.app_registered:
        contract.unregister(born, app_id)
    block = chain.block_at(knobs.now - COMPOSE_HASH_AGE)
    for compose_hash, fate in {
        guest.compose_hash: guest.knobs.compose_hash_on_chain for guest in reversed(guests)
    }.items():
        if fate != "never":
            app.add_compose_hash(block, compose_hash)
        if fate in _REMOVED:
            app.remove_compose_hash(chain.block_at(knobs.now - _REMOVED[fate]), compose_hash)
    app.remove_compose_hash(block + 30, EARLIER_COMPOSE_HASH)
    for guest in guests[1:]:
        device = device_id(guest.knobs, knobs.seed)
        if guest.knobs.device_on_chain != "never" and device != first_device:
            app.add_device(block, device)
    if knobs.device_on_chain == "removed":
        app.remove_device(chain.block_at(knobs.now - REMOVAL_AGE), first_device)


def _write_kms(chain: Chain, knobs: Knobs, kms: Kms, builds: Sequence[bytes]) -> None:
    contract = DstackKms(chain, KMS_ADDRESS, Key(chain, _KMS_DEPLOYER))
    owner = kms_owner(chain, knobs)
    block = chain.block_at(knobs.now - KMS_AGE)
    contract.deploy(block, KMS_IMPLEMENTATION, APP_IMPLEMENTATION)
    _deploy_owner(owner, block + 1, _KMS_DEPLOYER)
    ca_pubkey = kms.ca_spki if knobs.ca_pubkey is None else knobs.ca_pubkey
    contract.set_kms_info(
        block + 2, (kms.k256_public, ca_pubkey, kms.bootstrap.quote, kms.event_log)
    )
    terms = AppTerms(b"", keys.labelled("first gateway", 32), allow_any_device=True)
    gateway = contract.deploy_app(block + 2, GATEWAY_APP, _KMS_DEPLOYER, terms)
    contract.set_gateway_app_id(block + 3, GATEWAY_APP_ID)
    for build in builds:
        contract.add_kms(block + 4, build, device_id(knobs, knobs.seed, PLATFORM))
    image = OsImage(knobs.os_image).os_image_hash
    if knobs.os_image_on_chain != "never":
        contract.add_os_image(block + 5, image)
    _hand_over(contract, block + 6, owner)
    contract = DstackKms(chain, KMS_ADDRESS, owner)
    gateway = _handed_over(gateway, block + 6, owner)
    update = chain.block_at(knobs.now - GATEWAY_UPDATE_AGE)
    gateway.add_compose_hash(update, gateway_compose_hash())
    if knobs.os_image_on_chain == "removed":
        contract.remove_os_image(chain.block_at(knobs.now - REMOVAL_AGE), image)


def _deploy_owner(owner: Owner, block: int, deployer: bytes) -> None:
    """Create the contracts that an owner consists of."""
    safe = owner.proposer if isinstance(owner, Timelock) else owner
    if isinstance(safe, Safe):
        safe.deploy(block, THRESHOLD)
    if isinstance(owner, Timelock):
        owner.deploy(block + 1, deployer, DELAY)


def _handed_over(contract: DstackApp, block: int, owner: Owner) -> DstackApp:
    """An app's contract in the hands of another owner."""
    _hand_over(contract, block, owner)
    return DstackApp(contract.chain, contract.address, owner)


def _hand_over(contract: DstackApp | DstackKms, block: int, owner: Owner) -> None:
    if owner.address != contract.owner.address:
        contract.transfer_ownership(block, owner.address)
