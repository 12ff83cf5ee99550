"""The vocabulary of a chain, its contracts and who owns them, which all floors share."""

from enum import StrEnum
from typing import Final

from msgspec import Struct

ZERO_ADDRESS: Final = "0x" + "00" * 20
"""Nobody: the owner of what was renounced, the sender of what was created."""
OPERATORS: Final = 2
"""How many operators of a chain have to say the same, for it to count without a warning."""


class Place(Struct, frozen=True, order=True):
    """Where something happened: logs are ordered by block, then by their index in it."""

    block: int
    log_index: int


class Role(StrEnum):
    """Which contract an event is about."""

    APP = "app"
    KMS = "kms"
    APP_OWNER = "app-owner"
    KMS_OWNER = "kms-owner"
    GATEWAY = "gateway"


class OwnerKind(StrEnum):
    """What kind of account an owner is."""

    EOA = "one key"
    SAFE = "Safe"
    TIMELOCK = "timelock"
    CONTRACT = "unknown contract"
    RENOUNCED = "renounced"
    UNKNOWN = "unknown"


class ContractCode(Struct, frozen=True, kw_only=True):
    """Fingerprint of one contract build.

    role               `app` or `kms` (an implementation), `proxy` (of either), `safe` (a Safe's
                       singleton), `safe-proxy`, `timelock` (OpenZeppelin's TimelockController), or
                       creation code without arguments: `app-creation` (of an app without a proxy),
                       `timelock-creation`
    generation         dstack's generation, such as `G5`; name and release for an owner's code, the
                       contract's name for creation code
    build              release and compiler settings, as text
    length             bytes of the code, with its metadata: of the runtime code as deployed, or of
                       creation code
    immutable_offsets  where in the code 32 bytes are zeroed before hashing; () for no immutables
    fingerprint        keccak256 (0x and hex) of the code without its CBOR metadata trailer
                       and with the immutables zeroed
    source             where the code comes from
    date               when the source was read, ISO 8601
    """

    role: str
    generation: str
    build: str
    length: int
    immutable_offsets: tuple[int, ...]
    fingerprint: str
    source: str
    date: str

    @property
    def name(self) -> str:
        """Generation and build, as people name it."""
        return f"{self.generation} {self.build}"
