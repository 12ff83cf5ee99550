"""The reference values and how they are loaded.

One JSON document holds them all: `values.json` beside this file is what the auditor trusts by
default. A simulated world brings a document of the same form, which only `--unsafe-root` reads.
Every row carries `source` and `date` (ISO 8601, when the source was read).
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import cache
from importlib import resources
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import UsageError
from verifier.model.chain import ContractCode, Role
from verifier.model.result import Anchor
from verifier.patterns import pattern
from verifier.reference.generations import GENERATIONS, Generation

SCHEMA: Final = "dstack-audit/reference/v1"
RPC: Final = "rpc"
EXPLORER: Final = "explorer"
_VERSION: Final = pattern(r"[0-9]{1,4}(?:\.[0-9]{1,4}){1,3}", re.ASCII)
"""The kinds of `Reserve`."""


class KmsRecord(Struct, frozen=True, kw_only=True):
    """One dstack KMS. It drives provider, root, certificate, contract, chain and generation.

    name            what people call it
    ca_spki         DER SubjectPublicKeyInfo of its CA key, lower-case hex; "" where it is not known
    k256            its root key, compressed secp256k1, 33 bytes of lower-case hex; "" where it is
                    not known
    root_address    the Ethereum address of that root key, EIP-55; "" where it is not known
    chain_id        the EIP-155 id of the contract's chain; None for a KMS without a public contract
    contract        the address of its DstackKms, EIP-55; None for a KMS without a public contract
    generation      the contract's generation; "" where there is none
    deployed_block  a block known to be no later than the contract's creation; 0 where there is none
    urls            where it answers; () where that is not known
    source          where the row comes from
    date            when the source was read, ISO 8601
    """

    name: str
    ca_spki: str
    k256: str
    root_address: str
    chain_id: int | None
    contract: str | None
    generation: str
    deployed_block: int
    urls: tuple[str, ...]
    source: str
    date: str

    @property
    def names(self) -> frozenset[str]:
        """What it may be called: see `verifier.model.identifiers.parse_key_holder`."""
        contract = f"{self.chain_id}:{self.contract.lower()}" if self.contract else ""
        return frozenset({self.ca_spki, self.root_address.lower(), contract} - {""})

    def is_called(self, name: str) -> bool:
        """Whether people call it so: by one of its names, by a host at which it answers, or by its
        cluster as Phala Cloud spells it (`kms-base-prod7`, `phala-prod7`)."""
        spelled = name.strip().lower()
        cluster = spelled.removeprefix("kms-")
        if cluster.startswith("phala-"):
            cluster = f"pha-{cluster.removeprefix('phala-')}"
        hosts = {urlsplit(url).hostname or "" for url in self.urls}
        named = spelled in self.names or spelled in hosts
        return named or any(host.startswith(f"kms.dstack-{cluster}.") for host in hosts)


class KeyProvider(Struct, frozen=True, kw_only=True):
    """An SGX enclave that seals a guest's keys: its MRENCLAVE, 32 bytes of lower-case hex, is the
    id in the key-provider event of a `local-sgx` guest."""

    mrenclave: str
    name: str
    source: str
    date: str


class TdxModule(Struct, frozen=True, kw_only=True):
    """A build of Intel's TDX module: its MRSEAM, 48 bytes of lower-case hex, in every quote of a
    platform that runs it."""

    mr_seam: str
    name: str
    source: str
    date: str


class Origin(StrEnum):
    """Where the registers of an image are from, the best first."""

    REBUILT = "rebuilt"
    """Computed by the relying party, from files whose list hashes to the image's hash."""

    MEASURED = "measured"
    """Computed by another party from such files."""

    OBSERVED = "observed"
    """Read from quotes of guests that name the image."""

    PUBLISHED = "published"
    """None: the hash stands in a list."""


class OsImage(Struct, frozen=True, kw_only=True):
    """Registers of one OS image, in lower-case hex; "" where a value is not known.

    RTMR0 is none of them: it tells the machine, not the image.

    os_image_hash  sha256 of the image's list of checksums, 32 bytes
    release        the dstack release, such as `0.5.8`
    kind           `production`, `development` or `unknown`
    origin         where the registers are from
    mrtd           the firmware, 48 bytes
    rtmr1          the kernel, 48 bytes
    rtmr2          the kernel's command line and the initrd, 48 bytes
    source         whose word it is
    date           when the source was read, ISO 8601
    """

    os_image_hash: str
    release: str
    kind: str
    origin: Origin
    mrtd: str
    rtmr1: str
    rtmr2: str
    source: str
    date: str

    @property
    def version(self) -> tuple[int, ...]:
        """The numbers of the release, such as 0, 5, 8; () where it names none."""
        match = _VERSION.search(self.release)
        return tuple(map(int, match[0].split("."))) if match else ()


class Firmware(Struct, frozen=True, kw_only=True):
    """What shows in RTMR0 of one build of the guest firmware.

    name     what people call it
    mrtd     its values of MRTD, 48 bytes of hex each: one for each order in which QEMU adds pages
    witness  the memory that it accepts at the start, in dstack's encoding, hex
    volume   sha384 of its configuration volume, 48 bytes of hex
    source   where the row comes from
    date     when the source was read, ISO 8601
    """

    name: str
    mrtd: tuple[str, ...]
    witness: str
    volume: str
    source: str
    date: str


def generation_of(code: ContractCode | None) -> Generation | None:
    """The generation of a known build, None for code that is not known."""
    return None if code is None else GENERATIONS.get(code.generation)


class TcbEvaluation(Struct, frozen=True, kw_only=True):
    """From `valid_from` (Unix seconds) on, collateral must have at least this number."""

    valid_from: int
    number: int
    source: str
    date: str


class Endpoint(Struct, frozen=True, kw_only=True):
    """A place to ask. `operator` tells who runs it, so that two endpoints can be two operators."""

    url: str
    operator: str
    chain_id: int
    source: str
    date: str


class Reserve(Struct, frozen=True, kw_only=True):
    """A further place to ask about a chain, where fewer than two operators answered.

    url        where it is asked
    operator   who runs it
    chain_id   the EIP-155 id of its chain
    kind       `rpc`, or `explorer` for one that only gives logs
    log_range  the most blocks of which it shows logs at once; 0 where ranges have no limit
    limits     what its operator, or whoever measured it, says of its limits
    source     where the row comes from
    date       when the source was read, ISO 8601
    """

    url: str
    operator: str
    chain_id: int
    kind: str
    log_range: int
    limits: str
    source: str
    date: str


class TrustAnchor(Struct, frozen=True, kw_only=True):
    """A key that signs hardware or its verdicts, beside Intel's: `use` says of what it is the root,
    such as `nvidia-device` or `amd-snp`.

    `spki` is the sha256 (hex) of its DER SubjectPublicKeyInfo. `certificate` is its certificate
    (base64 of DER), "" where chains always carry it.
    """

    use: str
    spki: str
    certificate: str
    source: str
    date: str

    @property
    def der(self) -> bytes:
        """The DER bytes of its certificate."""
        return base64.b64decode(self.certificate, validate=True)


class Denied(Struct, frozen=True, kw_only=True):
    """A value that anybody can produce: keys published in a repository, simulated worlds.

    `kind` names what it is: ca-spki, k256-address, app-id, mrtd, rtmr3.
    """

    kind: str
    value: str
    why: str
    source: str
    date: str


class ReferenceValues(Struct, frozen=True, kw_only=True):
    """All reference values.

    root             the trust anchor of TD quotes, a DER certificate
    anchor           which other trust anchor than Intel's it is; None for Intel's
    unsafe           what that other trust anchor means, in words, for every report; "" for Intel's
    digest           sha256 of the documents that the values came from, lower-case hex
    kms              the KMSs that are known
    os_images        the OS images that are known
    contracts        the builds of contracts that are known
    tcb_evaluations  the least TCB evaluation numbers, by the time from which they hold
    gateways         where app ids are asked for
    rpc              the chain endpoints that are asked
    pcs_url          Intel's Provisioning Certification Service, or one in its place
    denied           values that anybody can produce
    firmwares        the builds of guest firmware that are known; () for none
    key_providers    the enclaves that seal keys that are known; () for none
    tdx_modules      the builds of Intel's TDX module that are known; () for none
    safe_services    transaction services of Safes, by chain; () for none
    anchors          the trust anchors of other evidence than TD quotes; () for none
    reserves         further places to ask about chains, in their order; () for none
    sigstore         the trusted root (JSON) of a simulated world's Sigstore; None for the
                     public-good one
    lent             URLs of endpoints and explorers that somebody else than the user chose; () for
                     none
    """

    root: bytes
    anchor: Anchor | None
    unsafe: str
    digest: str
    kms: tuple[KmsRecord, ...]
    os_images: tuple[OsImage, ...]
    contracts: tuple[ContractCode, ...]
    tcb_evaluations: tuple[TcbEvaluation, ...]
    gateways: tuple[Endpoint, ...]
    rpc: tuple[Endpoint, ...]
    pcs_url: str
    denied: tuple[Denied, ...]
    firmwares: tuple[Firmware, ...] = ()
    key_providers: tuple[KeyProvider, ...] = ()
    tdx_modules: tuple[TdxModule, ...] = ()
    safe_services: tuple[Endpoint, ...] = ()
    anchors: tuple[TrustAnchor, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    sigstore: bytes | None = None
    lent: tuple[str, ...] = ()

    def with_root(self, root: bytes, unsafe: str) -> "ReferenceValues":
        """The same values under another trust anchor."""
        digest = hashlib.sha256(bytes.fromhex(self.digest) + root).hexdigest()
        anchor = Anchor.UNSAFE_ROOT
        return replace(self, root=root, anchor=anchor, unsafe=unsafe, digest=digest)

    def with_images(
        self, images: Iterable[OsImage], firmwares: Iterable[Firmware], digest: str
    ) -> "ReferenceValues":
        """The same values, and images that the relying party measured; `digest` (hex) is that of
        what says so."""
        return replace(
            self,
            os_images=(*self.os_images, *images),
            firmwares=(*self.firmwares, *firmwares),
            digest=hashlib.sha256(bytes.fromhex(self.digest + digest)).hexdigest(),
        )

    def anchors_of(self, use: str) -> tuple[TrustAnchor, ...]:
        """The trust anchors of one use."""
        return tuple(row for row in self.anchors if row.use == use)

    def firmware_of(self, mrtd: str) -> Firmware | None:
        """The firmware that a value of MRTD (hex) is of, or None."""
        return next((row for row in self.firmwares if mrtd in row.mrtd), None)

    def is_denied(self, kind: str, value: str) -> Denied | None:
        """The deny-list row for a value, however the hex of both is spelled, or None."""
        denied = (row for row in self.denied if row.kind == kind)
        return next((row for row in denied if row.value.lower() == value.lower()), None)

    def operator_of(self, url: str) -> str:
        """Who runs an endpoint or explorer: the `rpc` and `reserves` rows say it by host; hosts
        that they do not know and that share the last two labels of their name, with each other or
        with a row's, are one operator. So are all those that somebody else than the user chose:
        whoever lends two may run both."""
        host = _host(url)
        rows = [(row.url, row.operator) for row in self.rpc]
        rows += [(row.url, row.operator) for row in self.reserves]
        known = next((operator for place, operator in rows if _host(place) == host), None)
        if known is None and host in map(_host, self.lent):
            return _LENDER
        domain = _domain(host)
        beside = (operator for place, operator in rows if _domain(_host(place)) == domain)
        return known or next(beside, domain)


def _domain(host: str) -> str:
    """The last two labels of a host's name; an address as it is."""
    labels = host.split(".")
    return host if labels[-1].isdigit() else ".".join(labels[-2:])


_LENDER: Final = "-"
"""No host's name."""
_TABLES: Final[Mapping[str, type[Any]]] = {
    "kms": KmsRecord,
    "key_providers": KeyProvider,
    "tdx_modules": TdxModule,
    "anchors": TrustAnchor,
    "os_images": OsImage,
    "firmwares": Firmware,
    "contracts": ContractCode,
    "tcb_evaluations": TcbEvaluation,
    "gateways": Endpoint,
    "rpc": Endpoint,
    "safe_services": Endpoint,
    "reserves": Reserve,
    "denied": Denied,
}
_OPTIONAL: Final = (
    *("firmwares", "key_providers", "tdx_modules", "safe_services", "anchors", "reserves"),
)
"""Tables that a simulated world's document may lack."""


@cache
def embedded() -> ReferenceValues:
    """The reference values that this version of the auditor trusts."""
    raw = resources.files(__package__).joinpath("values.json").read_bytes()
    return parse_reference(raw, unsafe="")


def parse_reference(raw: bytes, *, unsafe: str) -> ReferenceValues:
    """Reference values from a document: a simulated world's, where `unsafe` says what it is.

    Raises UsageError when it is malformed.
    """
    try:
        document = json.loads(raw)
        if document["schema"] != SCHEMA:
            raise UsageError(f"reference values: schema is not {SCHEMA!r}")
        tables = {
            name: tuple(_row(row_type, row) for row in document[name])
            for name, row_type in _TABLES.items()
            if name in document or name not in _OPTIONAL
        }
        for row in tables.get("reserves", ()):
            if row.kind not in (RPC, EXPLORER):
                raise UsageError(f"reference values: a reserve of no known kind: {row.kind!r}")
        _require_known_generations(*tables["kms"], *tables["contracts"])
        tables["os_images"] = tuple(
            replace(row, origin=Origin(row.origin)) for row in tables["os_images"]
        )
        if "sigstore" in document and not unsafe:
            raise UsageError("reference values: only a simulated world has a Sigstore of its own")
        return ReferenceValues(
            root=base64.b64decode(document["root"]["certificate"], validate=True),
            anchor=Anchor.SIMULATED if unsafe else None,
            unsafe=unsafe,
            digest=hashlib.sha256(raw).hexdigest(),
            pcs_url=document["pcs_url"],
            sigstore=_sigstore_root(document),
            **tables,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"reference values: malformed document: {error!r}") from error


def _require_known_generations(*rows: KmsRecord | ContractCode) -> None:
    """Raises UsageError for a row of a generation whose storage and functions nobody knows. Proxies
    and the code of owners belong to no generation, and the record of a KMS may name none."""
    for row in rows:
        if isinstance(row, ContractCode):
            known = row.role not in (Role.APP, Role.KMS) or row.generation in GENERATIONS
        else:
            known = row.generation in ("", *GENERATIONS)
        if not known:
            raise UsageError(f"reference values: unknown contract generation {row.generation!r}")


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").rstrip(".")


def _sigstore_root(document: Mapping[str, Any]) -> bytes | None:
    if "sigstore" not in document:
        return None
    return base64.b64decode(document["sigstore"]["trusted_root"], validate=True)


def _row(row_type: type[Any], row: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one row of any table
    known = set(row_type.__struct_fields__)
    if set(row) != known:
        raise ValueError(f"{row_type.__name__} needs exactly {sorted(known)}, found {sorted(row)}")
    return row_type(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
