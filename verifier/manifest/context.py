"""What some rules know besides the manifest, as plain values; nothing here is collected."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from verifier.model.chain import Role
    from verifier.reference.values import KmsRecord


class Governor(Struct, frozen=True, kw_only=True):
    """Who can change what one contract allows, at present.

    `contract` is the app's or the KMS's, `who` says what kind of account owns it. `keys` is the
    least number of keys that suffices, `notice` the least time in seconds that a change is public
    before it takes effect; None where that is not known. `own_word` says that only code that nobody
    knows states them. `frozen` says that nobody can change anything.
    """

    contract: "Role"
    who: str
    keys: int | None
    notice: int | None
    own_word: bool = False
    frozen: bool = False


class ChainFacts(Struct, frozen=True, kw_only=True):
    """Contract state at one finalized block; None is what could not be read.

    `hash_allowed` is about the measured compose hash, `other_hashes` (hex) are all others that are
    still allowed. `any_device` and `tcb_required` are the app's settings; `can_require_tcb` is
    False for a contract generation without the latter. `governors` own app and KMS. `absent` says
    that the measured key provider is known to ask no contract.
    """

    hash_allowed: bool | None = None
    other_hashes: tuple[str, ...] | None = None
    any_device: bool | None = None
    tcb_required: bool | None = None
    can_require_tcb: bool = True
    governors: tuple[Governor, ...] | None = None
    absent: bool = False


class Context(Struct, frozen=True, kw_only=True):
    """Evidence that some rules need; what is empty or None is not known, and those rules say so.

    `compose_hash` is the measured one (64 hex digits). `os_kind` is `production`, `development` or
    `unknown`, by the registers; `os_version` is the release. `key_provider` and `key_provider_id`
    come from the measured event, and `kms` is the record of the KMS that it names, where it is
    known or named by the relying party. `containers` are the names that the metadata page lists,
    with their states. `chain` is contract state. `kms_dates_keys` says whether the KMS dates the
    env-encrypt keys that it signs, as KMS releases do from 0.5.6 on. `kms_claims` is what others
    say about the KMS: who → `hosted`, `base`, `eth` or CHAIN:ADDRESS.
    """

    compose_hash: str = ""
    os_kind: str = ""
    os_version: str = ""
    key_provider: str = ""
    key_provider_id: str = ""
    kms: "KmsRecord | None" = None
    kms_dates_keys: bool | None = None
    kms_claims: Mapping[str, str] | None = None
    containers: Mapping[str, str] | None = None
    chain: ChainFacts = field(default_factory=ChainFacts)
