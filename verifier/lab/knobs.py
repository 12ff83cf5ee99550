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
OnChain = Literal["added", "removed", "never"]
Governance = Literal["timelock", "safe", "key"]


class Knobs(Struct, frozen=True, kw_only=True):
    """One simulated world. Fields without a word here say it by their name; times are Unix seconds.

    World
        `now` is when the world is observed; every other date derives from it. `seed` gives the
        app, its owner, its keys and its machine; root, KMS and OS images are always the same.
        `app_id` (20 bytes) is the id that the world answers under; None lets the key provider
        decide. `others` are further instances of the same app: of each, only what is about the
        guest and what its contract allows is used.
    Guest
        `guest_app_id` is what the guest measures and certifies (None: the app id). `kms` is who
        gave it keys: `onchain`, `hosted`, or any other label for a KMS that nobody knows; `enclave`
        is the MRENCLAVE that does where the key provider is local-sgx.
        `os_image` is `production`, `development`, or any other label for a self-built one.
        `machine` is the machine that its vm_config states (fields of vm_config), and that it
        measures; `stated_machine` is stated in its place.
        `platform` labels the host. `mr_config_id` is the version of MRCONFIGID.
    Edits, in the order of the stages
        `edit_manifest` changes the manifest before it is hashed, `manifest` replaces its text.
        `edit_events` changes what is measured. `edit_td` changes the TD report before it is
        signed, `edit_quote` the signed bytes. `edit_log` changes the log (JSON entries) that
        every channel shows, `edit_served_manifest` the manifest that is shown.
        `edit_proof` changes the attestation proof that the app publishes.
        `edit_response(method, url, body, response)` is the last word about any answer.
    Image
        `image` is what the manifest names and its registry serves. `attest(sigstore, image)` gives
        the Sigstore bundles that GitHub lists about it.
    App certificate
        `cert_ca` is the KMS whose CA issues it (None: the guest's own). `cert_forged` keeps that
        CA on top of the chain although another key signed. `cert_report_data` and
        `app_key_report_data` replace what the quote binds; `challenge` (32 bytes) is answered with
        a quote over it and sha256 of the certificate's key, as by an app that lets nobody else
        choose these bytes.
    Endpoint
        `peer(world, host)` is what the TLS server of a host shows (PEM), in place of the honest
        one: passed through, a guest's own certificate; of other names, the gateway's.
        `edit_gateway` changes the knobs of the guest that the gateway is.
        `edit_dns(resolver, name, type, records)` changes what a resolver says.
    KMS
        `kms_answers` is the KMS at the KMS's address (None: the guest's own), `kms_k256` labels
        another root key. `kms_certificate` says how the certificate of that address is made,
        `kms_bootstrap` whether the record of how it made its keys is kept, or is another KMS's.
        `edit_kms` changes the guest that the KMS at that address runs in; the contract allows the
        honest one, and with `kms_build_on_chain` this one too.
    Chain
        `app_on_chain` says whether a contract stands at the app id (None: only where the guest's
        KMS or a chosen `app_id` implies one); `*_on_chain` say what the contracts allow.
        `ca_pubkey` is what `kmsInfo().caPubkey` holds (None: the KMS's own). `finalized_lag` is
        the age of the finalized block in seconds. `log_range` limits eth_getLogs (0: no limit).
        `governance` is who owns the contracts: a timelock of 7 days behind a Safe, a Safe of two
        keys out of three, or the key that deployed them. `edit_chain(chain, app, kms)` runs after
        the honest history, by these owners. `rpc_faults` are per operator, `a` or `b`;
        `edit_logs(operator, logs)` changes what its eth_getLogs gives.
    """

    seed: str = "lab"
    now: int = DEFAULT_NOW
    app_id: bytes | None = None
    others: tuple["Knobs", ...] = ()

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
