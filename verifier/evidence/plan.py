"""What has to be collected to audit one attester, and the exact contract calls that a check reads.

Collection and checks use the same calls, so that what is asked is what is later looked up.
"""

from msgspec import Struct

from verifier.evidence.chain import contracts
from verifier.evidence.chain.contracts import BootInfo, Call
from verifier.evidence.chain.ethereum import checksum_address
from verifier.evidence.chain.log_scan import LogFilter
from verifier.evidence.endpoint import parse_endpoint
from verifier.reference.generations import Generation, generation_named
from verifier.reference.values import KmsRecord


class ChainPlan(Struct, frozen=True, kw_only=True):
    """What has to be read from a chain to audit one attester.

    chain_id        the chain's EIP-155 id
    kms             the address of the KMS's contract, EIP-55
    generation      what the KMS's record says that the contract is
    deployed_block  a block known to be no later than the contract's creation
    app_id          20 bytes
    compose_hash    the measured manifest hash, 32 bytes; None where it is not known
    os_image_hash   the hash of the OS image, 32 bytes; None where it is not known
    boot_infos      what the KMS asks the contracts about, once per id that it may know the device
                    by; () where the quote is not verified or the OS image is not known
    mr_kms          the measured build of the KMS, 32 bytes; None where it is not measured
    of_kms          calldata (0x hex) that asks the KMS's contract about the KMS's own TDs; () for
                    none
    """

    chain_id: int
    kms: str
    generation: Generation
    deployed_block: int
    app_id: bytes
    compose_hash: bytes | None = None
    os_image_hash: bytes | None = None
    boot_infos: tuple[BootInfo, ...] = ()
    mr_kms: bytes | None = None
    of_kms: tuple[str, ...] = ()

    @classmethod
    def of(  # noqa: PLR0913 - the parts of a plan
        cls,
        record: KmsRecord,
        app_id: bytes,
        *,
        compose_hash: bytes | None = None,
        os_image_hash: bytes | None = None,
        boot_infos: tuple[BootInfo, ...] = (),
        mr_kms: bytes | None = None,
    ) -> "ChainPlan | None":
        """What to read for an app under a KMS; None when that KMS has no public contract."""
        if record.contract is None or record.chain_id is None:
            return None
        return cls(
            chain_id=record.chain_id,
            kms=record.contract,
            generation=generation_named(record.generation),
            deployed_block=record.deployed_block,
            app_id=app_id,
            compose_hash=compose_hash,
            os_image_hash=os_image_hash,
            boot_infos=boot_infos,
            mr_kms=mr_kms,
        )

    @property
    def app(self) -> str | None:
        """The address of the app's contract (EIP-55), None where only the KMS's contract tells."""
        return checksum_address(self.app_id) if self.generation.app_id_is_address else None

    def speculative_calls(self) -> list[Call]:
        """Calls at the finalized tag that do not need to know the block. What they answer only
        says what to ask for at the block that is agreed upon."""
        addresses = [self.kms] + ([self.app] if self.app else [])
        return [
            *head_calls(),
            *(contracts.get_implementation(address, "finalized") for address in addresses),
            *(contracts.eth_call(address, contracts.OWNER, "finalized") for address in addresses),
            *([self.controller_call("finalized")] if self.app is None else []),
        ]

    def logs_of(self, address: str, topics: tuple[str, ...] = ()) -> LogFilter:
        """A contract's logs, of these topics alone where some are given."""
        return LogFilter(chain_id=self.chain_id, address=address.lower(), topics=topics)

    def first_scans(self, last: int) -> "tuple[ScanPlan, ...]":
        """The logs of KMS and app up to a block, which need no other evidence to be asked for."""
        from verifier.evidence.chain.contract_events import (  # noqa: PLC0415 - only for a chain
            KMS_GOVERNANCE_TOPICS,
        )

        filters = [self.logs_of(self.kms, KMS_GOVERNANCE_TOPICS)]
        filters += [self.logs_of(self.app)] if self.app else []
        return tuple(ScanPlan.whole(item, self.deployed_block, last) for item in filters)

    def controller_call(self, block: str) -> Call:
        """`apps(appId)` of a KMS that tells addresses: (bool isRegistered, address controller)."""
        return contracts.eth_call(self.kms, contracts.APPS + contracts.word(self.app_id), block)

    def state_calls(self, number: int, app: str, implementations: tuple[str, ...]) -> list[Call]:
        """Every call at the agreed block; `implementations` are those of KMS and app."""
        block = hex(number)
        getters = [
            (self.kms, contracts.KMS_INFO),
            (self.kms, contracts.OWNER),
            (self.kms, contracts.GATEWAY_APP_ID),
            (app, contracts.OWNER),
            (app, contracts.ALLOW_ANY_DEVICE),
        ]
        if self.app is not None:
            getters.append((self.kms, contracts.REGISTERED_APPS + contracts.word(self.app_id)))
        if self.os_image_hash is not None:
            image = contracts.word(self.os_image_hash)
            getters.append((self.kms, contracts.ALLOWED_OS_IMAGES + image))
        if self.compose_hash is not None:
            compose = contracts.word(self.compose_hash)
            getters.append((app, contracts.ALLOWED_COMPOSE_HASHES + compose))
        if self.mr_kms is not None:
            build = contracts.word(self.mr_kms)
            getters.append((self.kms, contracts.ALLOWED_KMS_BUILDS + build))
        getters.extend((self.kms, data) for data in self.of_kms)
        getters.extend(
            (app, contracts.ALLOWED_DEVICE_IDS + contracts.word(boot.device_id))
            for boot in self.boot_infos
        )
        return [
            contracts.get_block(block),
            *(contracts.get_code(address, block) for address in (self.kms, app)),
            *(contracts.get_implementation(address, block) for address in (self.kms, app)),
            *(contracts.get_code(address, block) for address in implementations),
            *(contracts.eth_call(to, selector, block) for to, selector in getters),
            *(contracts.is_app_allowed(self.kms, boot, block) for boot in self.boot_infos),
            *([self.controller_call(block)] if self.app is None else []),
        ]


def cluster_of(subject: str) -> str:
    """The base domain of the cluster that an attester was met in, as its name says; "" for a guest
    that answered by itself, at an address or on this machine."""
    host = subject.partition("/")[0]
    endpoint = parse_endpoint(host)
    return host if endpoint is not None and endpoint.is_name else ""


def head_calls() -> list[Call]:
    """Which chain an endpoint is of, and its last finalized block."""
    return [("eth_chainId", []), contracts.get_block("finalized")]


class ScanPlan(Struct, frozen=True):
    """Every log of a filter in an inclusive range of blocks, to be asked of every endpoint.

    With `from_creation`, blocks before the contract had code may be left out, if the endpoint says
    that it had none in the block before.
    """

    filter: LogFilter
    first: int
    last: int
    from_creation: bool = False

    @classmethod
    def whole(cls, wanted: LogFilter, first: int, last: int) -> "ScanPlan":
        """Every log that an audit needs. Of a contract that is asked for whole, none is older than
        its code; a KMS's topics are asked for from where it was deployed."""
        return cls(wanted, first, last, from_creation=not wanted.topics)


class HistoryPlan(Struct, frozen=True, kw_only=True):
    """What the logs collected so far call for: further logs, reads at every endpoint, and what
    transaction services are asked: (Safe, the place in its order that is next)."""

    scans: tuple[ScanPlan, ...] = ()
    calls: tuple[Call, ...] = ()
    safes: tuple[tuple[str, int], ...] = ()


class KeyHolderPlan(Struct, frozen=True, kw_only=True):
    """What to collect for one TD that runs a KMS: `subject` is its name in the bundle, `platform`
    as in `SubjectPlan`. `app_id` (hex) is its own, where the manifest that it measured is still to
    be found, else ""."""

    subject: str
    platform: tuple[str, str] | None
    app_id: str


class SubjectPlan(Struct, frozen=True, kw_only=True):
    """What to collect for one attester, as its evidence so far tells.

    subject       the attester's name
    platform      FMSPC (upper-case hex) and CA of its quote; None without a quote
    kms_urls      the addresses of its KMS, most likely first; () where it has none that is known
    app_id        as measured, 20 bytes; b"" where it is not known
    chain         what to read from a chain; None where no public contract decides
    history       which logs, and reads because of them, are still to be collected; empty for none
    with_history  whether logs are wanted at all
    key_holders   the TDs that run its KMS; () for none known
    """

    subject: str
    platform: tuple[str, str] | None
    kms_urls: tuple[str, ...]
    app_id: bytes
    chain: ChainPlan | None
    history: HistoryPlan = HistoryPlan()
    with_history: bool = False
    key_holders: tuple[KeyHolderPlan, ...] = ()
