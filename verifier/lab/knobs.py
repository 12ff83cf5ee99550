"""What can be turned about a simulated world.

The defaults are honest: a current dstack guest that booted with an on-chain KMS, on a platform
whose TCB is up to date, running a manifest that its contract allows. Every forgery is one changed
knob, or one hook that edits the output of one stage.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field

from verifier.evidence.codec import JsonObject
from verifier.lab.cert import RpcOptions
from verifier.lab.dns import Record
from verifier.lab.events import LOCAL_SGX_MRENCLAVE, MACHINE, Event
from verifier.lab.quote import QuoteFormat, TdReport
from verifier.lab.registry import WEB, Attest, Image, attest
from verifier.lab.response import Response
from verifier.lab.rpc import RpcFault

if TYPE_CHECKING:
    from verifier.lab.chain import Chain
    from verifier.lab.contracts import DstackApp, DstackKms
    from verifier.lab.world import World

DEFAULT_NOW: Final = 1781524800
"""2026-06-15T12:00:00Z."""

CHAIN_ID: Final = 8453
"""Base."""

TCB_EVALUATION: Final = 20
DAY: Final = 86400

KeyProvider = Literal["kms", "none", "local-sgx", "tpm"]
OnChain = Literal["added", "removed", "removed-lately", "never"]
Governance = Literal["timelock", "safe", "key"]


class Knobs(Struct, frozen=True, kw_only=True):
    """One simulated world. Times are Unix seconds.

    World
        seed                   gives the app, its owner, its keys and its machine; root, KMS and OS
                               images are always the same
        now                    when the world is observed; every other date derives from it
        app_id                 the id that the world answers under, 20 bytes; None lets the key
                               provider decide
        others                 further instances of the same app: of each, only what is about the
                               guest and what its contract allows is used
        spread                 which instance (0 is the first) answers the n-th question for Info
                               that comes by the app's own address; None for always the first
        spread_tls             which instance ends the n-th connection that users make with the app;
                               None for always the first
    Guest
        version                the dstack release of the guest
        app_name               the app's name in the manifest
        guest_app_id           what the guest measures and certifies, 20 bytes; None for the app id
        no_instance_id         whether the manifest asks for no instance id
        event_log_version      the version of the digests of runtime events, 1 or 2
        key_provider           who seals or gives the guest's keys
        enclave                the MRENCLAVE that gives keys where the key provider is local-sgx, 32
                               bytes
        kms                    the KMS that gave it keys: `onchain`, `hosted`, or any other label
                               for a KMS that nobody knows
        os_image               `production`, `development`, or any other label for a self-built one
        machine                the machine that its vm_config states, in fields of vm_config, and
                               that it measures
        stated_machine         the machine that is stated in its place; None for none
        platform               the label of the host
        mr_config_id           the version of MRCONFIGID
        public_tcbinfo         the manifest's flag
        public_logs            the manifest's flag
        public_sysinfo         the manifest's flag
        quote_format           the version of the quote and of its body
    Edits, in the order of the stages; None changes nothing
        manifest               replaces the manifest's text
        edit_manifest          changes the manifest before it is hashed
        edit_events            changes what is measured
        edit_td                changes the TD report before it is signed
        edit_quote             changes the signed bytes
        edit_log               changes the log (JSON entries) that every channel shows
        edit_served_manifest   changes the manifest that is shown
        edit_response          (method, url, body, response): changes any answer, last of all
        edit_proof             changes the attestation proof that the app publishes
    Image
        image                  what the manifest names and its registry serves
        attest                 (sigstore, image): the Sigstore bundles that GitHub lists about it
    App certificate
        cert_attestation       how the leaf holds the attestation
        cert_issued            when the certificate begins; None for a day before `now`
        cert_ca                the label of the KMS whose CA issues it; None for the guest's own
        cert_forged            whether another key signed below that CA
        cert_app_id            the app id in it, 20 bytes; None for the guest's
        cert_usage             the usage that the leaf states
        cert_leaf_is_ca        whether the leaf says that it is a CA
        cert_report_data       what its quote binds, 64 bytes; None for the leaf's key
        app_key_report_data    what the quote about the app key binds, 64 bytes; None for that key
        challenge              32 bytes that are answered with a quote over them and sha256 of the
                               certificate's key, as by an app that lets nobody else choose these
                               bytes; b"" for none
    Endpoint
        peer                   (world, host): what the TLS server of a host shows (PEM); None for
                               the honest one: passed through, a guest's own certificate; of other
                               names, the gateway's
        edit_gateway           changes the knobs of the guest that the gateway is; None changes
                               nothing
        logged                 (name, label of its key) of certificates that public CAs logged
                               beside the honest ones; () for none
        edit_dns               (resolver, name, type, records): changes what a resolver says; None
                               changes nothing
    Platform
        root                   the label of the trust anchor's key
        rogue                  certificates and CRLs that somebody else's key signs (see
                               `PkiOptions`)
        revoked                certificates that are on their issuer's CRL
        expired                certificates whose time is over
        tcb_status             the status of the platform's TCB level
        module_status          the status of the TDX module's level
        qe_status              the status of the quoting enclave's level
        advisories             those of the platform's level; () for none
        tcb_evaluation         tcbEvaluationDataNumber of the collateral
        tcb_signer             who signs the TCB info; `pck` may not
        qe_signer              who signs the QE identity; `pck` may not
        collateral_age         seconds since the collateral was issued
        collateral_window      seconds for which it is in force
        collateral_fmspc       the family that the TCB info is about, 6 bytes; None for the
                               platform's
        collateral_pce_id      the PCE that the TCB info is about, 2 bytes of hex
    KMS
        kms_version            the dstack release of the KMS
        kms_answers            the label of the KMS at the KMS's address; None for the guest's own
        kms_k256               the label of another root key; None for its own
        kms_certificate        how the certificate of that address is made
        kms_bootstrap          whether the record of how it made its keys is kept, or is another
                               KMS's
        edit_kms               changes the guest that the KMS at that address runs in; None changes
                               nothing
        kms_build_on_chain     whether the contract, which allows the honest build, allows this one
                               too
    Chain
        chain_id               the chain's EIP-155 id
        compose_hash_on_chain  whether the contract allows the manifest
        device_on_chain        whether the contract allows the machine
        device_binding         which id of the machine the contract allows
        allow_any_device       whether it allows every machine
        upgrades_disabled      whether its code can no longer be replaced
        os_image_on_chain      whether the KMS's contract allows the OS image
        app_on_chain           whether a contract stands at the app id; None only where the guest's
                               KMS or a chosen `app_id` implies one
        app_registered         whether the KMS's contract has registered the app
        ca_pubkey              what `kmsInfo().caPubkey` holds; None for the KMS's own
        finalized_lag          the age of the finalized block in seconds
        governance             who owns the contracts: a timelock of 7 days behind a Safe, a Safe of
                               two keys out of three, or the key that deployed them
        log_range              the most blocks that eth_getLogs shows at once; 0 for no limit
        edit_chain             (chain, app, kms): runs after the honest history, by these owners;
                               None for nothing
        rpc_faults             operator (`a` or `b`) → what is wrong with its answers
        edit_logs              (operator, logs): changes what its eth_getLogs gives; None changes
                               nothing
    """

    seed: str = "lab"
    now: int = DEFAULT_NOW
    app_id: bytes | None = None
    others: tuple["Knobs", ...] = ()
    spread: Callable[[int], int] | None = None
    spread_tls: Callable[[int], int] | None = None

    version: str = "0.5.8"
    app_name: str = "lab-app"
    guest_app_id: bytes | None = None
    no_instance_id: bool = False
    event_log_version: int = 1
    key_provider: KeyProvider = "kms"
    enclave: bytes = LOCAL_SGX_MRENCLAVE
    kms: str = "onchain"
    os_image: str = "production"
    machine: JsonObject = field(default_factory=lambda: dict(MACHINE))
    stated_machine: JsonObject | None = None
    platform: str = "platform-1"
    mr_config_id: Literal["v1", "v2", "unset"] = "v1"
    public_tcbinfo: bool = True
    public_logs: bool = False
    public_sysinfo: bool = False
    quote_format: QuoteFormat = "v4"

    manifest: str | None = None
    edit_manifest: Callable[[JsonObject], JsonObject] | None = None
    edit_events: Callable[[list[Event]], list[Event]] | None = None
    edit_td: Callable[[TdReport], TdReport] | None = None
    edit_quote: Callable[[bytes], bytes] | None = None
    edit_log: Callable[[list[JsonObject]], list[JsonObject]] | None = None
    edit_served_manifest: Callable[[str], str] | None = None
    edit_response: Callable[[str, str, bytes, Response], Response] | None = None
    edit_proof: Callable[[JsonObject], JsonObject] | None = None

    image: Image = WEB
    attest: Attest = attest

    cert_attestation: Literal["quote", "scale-v0", "msgpack-v1"] = "quote"
    cert_issued: int | None = None
    cert_ca: str | None = None
    cert_forged: bool = False
    cert_app_id: bytes | None = None
    cert_usage: str = "app:custom"
    cert_leaf_is_ca: bool = False
    cert_report_data: bytes | None = None
    app_key_report_data: bytes | None = None
    challenge: bytes = b""

    peer: Callable[["World", str], bytes] | None = None
    edit_gateway: Callable[["Knobs"], "Knobs"] | None = None
    logged: tuple[tuple[str, str], ...] = ()
    edit_dns: Callable[[str, str, str, list[Record]], list[Record]] | None = None

    root: str = "root"
    rogue: frozenset[str] = frozenset()
    revoked: frozenset[str] = frozenset()
    expired: frozenset[str] = frozenset()
    tcb_status: str = "UpToDate"
    module_status: str = "UpToDate"
    qe_status: str = "UpToDate"
    advisories: tuple[str, ...] = ()
    tcb_evaluation: int = TCB_EVALUATION
    tcb_signer: Literal["tcb-signing", "pck"] = "tcb-signing"
    qe_signer: Literal["tcb-signing", "pck"] = "tcb-signing"
    collateral_age: int = 2 * DAY
    collateral_window: int = 30 * DAY
    collateral_fmspc: bytes | None = None
    collateral_pce_id: str = "0000"

    kms_version: str = "0.5.8"
    kms_answers: str | None = None
    kms_k256: str | None = None
    kms_certificate: RpcOptions = field(default_factory=RpcOptions)
    kms_bootstrap: Literal["kept", "none", "other"] = "kept"
    edit_kms: Callable[["Knobs"], "Knobs"] | None = None
    kms_build_on_chain: bool = True

    chain_id: int = CHAIN_ID
    compose_hash_on_chain: OnChain = "added"
    device_on_chain: OnChain = "added"
    device_binding: Literal["ppid", "user-data"] = "ppid"
    allow_any_device: bool = False
    upgrades_disabled: bool = False
    os_image_on_chain: OnChain = "added"
    app_on_chain: bool | None = None
    app_registered: bool = True
    ca_pubkey: bytes | None = None
    finalized_lag: int = 900
    governance: Governance = "timelock"
    log_range: int = 0
    edit_chain: Callable[["Chain", "DstackApp", "DstackKms"], None] | None = None
    rpc_faults: Mapping[str, RpcFault] = {}
    edit_logs: Callable[[str, list[JsonObject]], list[JsonObject]] | None = None
