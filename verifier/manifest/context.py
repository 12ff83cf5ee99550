"""What some rules know besides the manifest, as plain values; nothing here is collected."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from verifier.model.chain import Role
    from verifier.reference.values import KmsRecord


class Governor(Struct, frozen=True, kw_only=True):
    """Who can change what one contract allows, at present.

    contract  the app's or the KMS's
    who       what kind of account owns it, and its address
    keys      the least number of keys that suffices; None where it is not known
    notice    the least time in seconds that a change is public before it takes effect; 0 for none,
              None where it is not known
    own_word  whether only code that nobody knows states these two
    frozen    whether nobody can change anything
    """

    contract: "Role"
    who: str
    keys: int | None
    notice: int | None
    own_word: bool = False
    frozen: bool = False


class ChainFacts(Struct, frozen=True, kw_only=True):
    """Contract state at one finalized block; None is what could not be read.

    hash_allowed     whether the app's contract allows the measured compose hash
    other_hashes     all others that it still allows, 32 bytes of hex each
    any_device       whether it allows every machine
    tcb_required     whether it requires an up-to-date TCB
    can_require_tcb  whether its generation has that setting
    governors        who owns the contracts of app and KMS; () where that is not known
    absent           whether the measured key provider is known to ask no contract
    """

    hash_allowed: bool | None = None
    other_hashes: tuple[str, ...] | None = None
    any_device: bool | None = None
    tcb_required: bool | None = None
    can_require_tcb: bool = True
    governors: tuple[Governor, ...] = ()
    absent: bool = False


class Context(Struct, frozen=True, kw_only=True):
    """Evidence that some rules need. They say so where it is not known.

    compose_hash     the measured one, 64 hex digits; "" where it is not known
    os_kind          `production`, `development` or `unknown`, by the registers; "" where it is not
                     known
    os_version       the OS release, such as `0.5.8`; "" where it is not known
    key_provider     the name in the measured event; "" where it is not known
    key_provider_id  the id in the measured event, hex; "" where it is not known
    kms              the record of the KMS that this event names, where it is known or the relying
                     party named it; None for none
    kms_dates_keys   whether the KMS dates the env-encrypt keys that it signs, as releases from
                     0.5.6 on do; None where it is not known
    kms_claims       what others say about the KMS, all of it, in no order: (who, `hosted`, `base`,
                     `eth` or CHAIN:ADDRESS); None where no KMS is identified
    pages            the containers that each metadata page lists → their states; () without a page
                     that lists any. Nothing says which of several pages is the true one
    chain            contract state
    """

    compose_hash: str = ""
    os_kind: str = ""
    os_version: str = ""
    key_provider: str = ""
    key_provider_id: str = ""
    kms: "KmsRecord | None" = None
    kms_dates_keys: bool | None = None
    kms_claims: frozenset[tuple[str, str]] | None = None
    pages: tuple[Mapping[str, str], ...] = ()
    chain: ChainFacts = field(default_factory=ChainFacts)

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers that any page lists."""
        return tuple(sorted(frozenset[str]().union(*self.pages)))
