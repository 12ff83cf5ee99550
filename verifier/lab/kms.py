"""A simulated dstack KMS: its keys, what it signs, and the TD that it runs in.

Messages signed by the k256 root key, over keccak256 (Dstack-TEE/dstack kms/src/crypto.rs and
main_service.rs):

    app key     "dstack-kms-issued:" || app id 20 || app public key 33
    env key v0  "dstack-env-encrypt-pubkey:" || app id 20 || X25519 public key 32
    env key v1  "dstack-env-encrypt-pubkey:" || app id 20 || u64be timestamp || X25519 public key

The KMS's own quote binds keccak256("dstack-kms-genereted-keys-v1:" || hex(CA SPKI) || ";" ||
hex(k256 public key) || ";") in the first half of its report data (spelled as the KMS spells it).
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from eth_hash.auto import keccak
from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import cert, events, keys
from verifier.lab.events import LOCAL_SGX_MRENCLAVE, release
from verifier.lab.guest import Guest, KeySource, manifest_app_id
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import PkiOptions, build_pki, pem_chain
from verifier.lab.registry import KMS_IMAGES
from verifier.lab.response import Response, answer_json

PLATFORM: Final = "kms-platform"
CA_AGE: Final = 300 * DAY
_CLAIM: Final = b"dstack-guest-v1-key-claim"
_ENV_PREFIX: Final = b"dstack-env-encrypt-pubkey:"
_ANSWER_SECONDS: Final = 2
_CONFIG: Final = """\
      [rpc]
      address = "0.0.0.0"
      port = 8000
      [core]
      cert_dir = "/kms/certs"
      [core.image]
      verify = true
      download_url = "https://images.lab.invalid/mr_{OS_IMAGE_HASH}.tar.gz"
      [core.auth_api]
      type = "webhook"
      [core.auth_api.webhook]
      url = "WEBHOOK"
      [core.onboard]
      enabled = true
      quote_enabled = true
"""
_START: Final = "sh -c 'mkdir -p /kms/certs /kms/images && exec dstack-kms -c /kms/kms.toml'"
"""How a KMS is started: its image alone reads a configuration of its own."""
_OUTSIDE: Final = "https://cloud.lab.invalid/api/v1/kms-auth/"
"""Whom a KMS without a contract asks."""


class ContractPlace(Struct, frozen=True, kw_only=True):
    """Where the KMS's contract is: chain id and addresses (20 bytes)."""

    chain_id: int
    kms: bytes
    app_implementation: bytes
    gateway_app_id: str


class AppKey(Struct, frozen=True, kw_only=True):
    """An app key and its signature chain, v0.

    app_id          20 bytes
    purpose         what the key is for
    public_key      the key: secp256k1, compressed, 33 bytes, or Ed25519, 32 bytes
    app_public_key  the app's root key, compressed, 33 bytes
    app_signature   by the app's root key over keccak256(purpose ":" hex(public_key)), 65 bytes
    kms_signature   by the KMS's k256 key over the app's root key, 65 bytes
    kms_public_key  the KMS's k256 key, compressed, 33 bytes
    """

    app_id: bytes
    purpose: str
    public_key: bytes
    app_public_key: bytes
    app_signature: bytes
    kms_signature: bytes
    kms_public_key: bytes

    def to_json(self) -> JsonObject:
        """The chain as a document that an app publishes."""
        return {
            "app_id": self.app_id.hex(),
            "purpose": self.purpose,
            "derived_public_key": self.public_key.hex(),
            "app_public_key": self.app_public_key.hex(),
            "app_signature": self.app_signature.hex(),
            "kms_signature": self.kms_signature.hex(),
            "kms_k256_public_key": self.kms_public_key.hex(),
        }


class Kms:
    """The KMS of a label. `k256` labels another root key than its own."""

    def __init__(  # noqa: PLR0913 - what one KMS is
        self,
        label: str,
        *,
        now: int,
        version: str,
        pki: PkiOptions,
        contract: ContractPlace | None,
        k256: str | None = None,
        certificate: cert.RpcOptions | None = None,
        edit: Callable[[Knobs], Knobs] | None = None,
        bootstrap: Literal["kept", "none", "other"] = "kept",
    ) -> None:
        self.label = label
        self._rpc = certificate or cert.RpcOptions()
        self._edit = edit
        self._bootstrap = bootstrap
        self._now = now
        self._version = version
        self._pki = pki
        self._contract = contract
        self._root = keys.k256(f"kms {k256 or label} k256")

    @property
    def ca_spki(self) -> bytes:
        """SubjectPublicKeyInfo (DER) of the CA key."""
        return keys.spki(cert.kms_ca_key(self.label))

    @property
    def k256_public(self) -> bytes:
        """The compressed root public key."""
        return keys.k256_public(self._root)

    @property
    def root_address(self) -> bytes:
        """The Ethereum address of the root key."""
        return keys.k256_address(self._root)

    @cached_property
    def guest(self) -> Guest:
        """The TD that the KMS runs in: its keys come from a local SGX enclave."""
        knobs = Knobs(
            seed=f"kms {self.label}",
            now=self._now,
            version="0.5.5",
            app_name="dstack-kms",
            key_provider="local-sgx",
            platform=PLATFORM,
            no_instance_id=True,
            manifest=_manifest(self._contract),
        )
        if self._edit is not None:
            knobs = self._edit(knobs)
        return Guest(
            knobs,
            index=0,
            app_id=manifest_app_id(knobs),
            pki=build_pki(self._pki),
            keys_from=KeySource(knobs.key_provider, knobs.enclave.hex()),
        )

    @property
    def key_source(self) -> KeySource:
        """What a guest that booted with this KMS measures about it."""
        return KeySource("kms", self.ca_spki.hex(), self.label, self.guest.mr_aggregated)

    @property
    def bootstrap_report_data(self) -> bytes:
        """What the KMS's own quote binds."""
        text = f"dstack-kms-genereted-keys-v1:{self.ca_spki.hex()};{self.k256_public.hex()};"
        return keccak(text.encode()) + bytes(32)

    @cached_property
    def bootstrap(self) -> cert.Attestation:
        """The KMS's own attestation."""
        return self.guest.attestation(self.bootstrap_report_data)

    @property
    def event_log(self) -> bytes:
        """The full log of the KMS's TD as `kmsInfo().eventlog` holds it."""
        return json.dumps(self.guest.log, separators=(",", ":")).encode()

    def app_key(
        self, app_id: bytes, purpose: str = "signing", algorithm: str = "secp256k1"
    ) -> AppKey:
        """A key that the KMS's app derives, with its signature chain."""
        root = keys.k256(f"app root {self.label} {app_id.hex()}")
        label = f"derived {self.label} {app_id.hex()} {algorithm}"
        public = (
            keys.ed25519_public(label)
            if algorithm == "ed25519"
            else keys.k256_public(keys.k256(label))
        )
        link = keys.sign_k256(root, f"{purpose}:{public.hex()}".encode())
        app_public = keys.k256_public(root)
        issued = keys.sign_k256(self._root, b"dstack-kms-issued:" + app_id + app_public)
        return AppKey(
            app_id=app_id,
            purpose=purpose,
            public_key=public,
            app_public_key=app_public,
            app_signature=link,
            kms_signature=issued,
            kms_public_key=self.k256_public,
        )

    def app_key_v1(
        self, app_id: bytes, domain: str = "signing", algorithm: str = "secp256k1"
    ) -> JsonObject:
        """A key of `/v1/GetKey` with its signature chain, as a document that an app publishes."""
        label = f"derived v1 {self.label} {app_id.hex()} {algorithm} {domain}"
        edwards = algorithm == "ed25519"
        public = keys.ed25519_public(label) if edwards else keys.k256_public(keys.k256(label))
        fields = (_CLAIM, algorithm.encode(), domain.encode(), public)
        claim = b"".join(struct.pack(">I", len(item)) + item for item in fields)
        root = keys.k256(f"app root {self.label} {app_id.hex()}")
        issued = self.app_key(app_id).kms_signature
        return {
            "app_id": app_id.hex(),
            "domain": domain,
            "algorithm": algorithm,
            "public_key": public.hex(),
            "signature_chain": [keys.sign_k256(root, claim).hex(), issued.hex()],
        }

    def env_key(self, app_id: bytes) -> JsonObject:
        """The GetAppEnvEncryptPubKey answer."""
        public = keys.labelled(f"env key {self.label} {app_id.hex()}", 32)
        answer: JsonObject = {
            "public_key": public.hex(),
            "signature": keys.sign_k256(self._root, _ENV_PREFIX + app_id + public).hex(),
        }
        if release(self._version) >= (0, 5, 6):
            timestamp = self._now - _ANSWER_SECONDS
            message = _ENV_PREFIX + app_id + timestamp.to_bytes(8, "big") + public
            answer["timestamp"] = timestamp
            answer["signature_v1"] = keys.sign_k256(self._root, message).hex()
        return answer

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The certificate of its own address, which it issues anew at each start."""
        bound = self._rpc.report_data or cert.rpc_report_data(self.label)
        blob = release(self._version) >= (0, 5, 9)
        how: events.Stripping = "certificate" if blob else "full"
        log = events.strip(self.guest.log, how, self._version)
        shown = replace(self.guest.attestation(bound), log=log)
        return cert.rpc_cert(self.label, self._rpc, shown, self._now - DAY, blob=blob)

    @cached_property
    def key(self) -> bytes:
        """The private key of that certificate (PEM)."""
        return cert.rpc_key(self.label).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )

    @cached_property
    def meta(self) -> JsonObject:
        """The GetMeta answer."""
        place = self._contract
        ca = pem_chain([cert.kms_ca(self.label, self._now - CA_AGE)]).decode()
        return {
            "ca_cert": ca,
            "allow_any_upgrade": False,
            "k256_pubkey": self.k256_public.hex(),
            "bootstrap_info": None if self._bootstrap == "none" else self._bootstrap_info(),
            "is_dev": False,
            "gateway_app_id": place.gateway_app_id if place else None,
            "kms_contract_address": "0x" + place.kms.hex() if place else None,
            "chain_id": place.chain_id if place else None,
            "app_auth_implementation": ("0x" + place.app_implementation.hex() if place else None),
        }

    def _bootstrap_info(self) -> JsonObject:
        k256 = self.k256_public
        if self._bootstrap == "other":
            k256 = keys.k256_public(keys.k256("kms attacker k256"))
        bootstrap: JsonObject = {"ca_pubkey": self.ca_spki.hex(), "k256_pubkey": k256.hex()}
        if release(self._version) >= (0, 5, 6):
            bootstrap["attestation"] = cert.scale_v0(self.bootstrap).hex()
        else:
            bootstrap["quote"] = self.bootstrap.quote.hex()
            bootstrap["eventlog"] = self.event_log.hex()
        return bootstrap

    def respond(self, path: str, arguments: Mapping[str, str]) -> Response:
        """What the KMS answers to an RPC, in a TLS session that ends at its own certificate."""
        der = self.certificate.public_bytes(Encoding.DER)
        return replace(self._answer(path, arguments), peer_certificate=der, peer_key=self.key)

    def _answer(self, path: str, arguments: Mapping[str, str]) -> Response:
        method = path.removeprefix("/prpc/").removeprefix("KMS.")
        if not path.startswith("/prpc/"):
            return answer_json(404, {"error": "not found"})
        if method == "GetMeta":
            return answer_json(200, self.meta)
        if method == "GetAppEnvEncryptPubKey":
            try:
                app_id = bytes.fromhex(arguments.get("app_id", "").removeprefix("0x"))
            except ValueError:
                return answer_json(400, {"error": "invalid app id"})
            return answer_json(200, self.env_key(app_id))
        return answer_json(404, {"error": f"Service not found: {method}"})


def _manifest(place: ContractPlace | None) -> str:
    """What the KMS's guest runs: the KMS, who it asks whom to serve, and a node of its own to read
    the chain; without a contract, somebody outside is asked."""
    volumes = ("kms-volume:/kms", "/var/run/dstack.sock:/var/run/dstack.sock")
    services = [_service("kms", volumes=volumes)]
    if place is not None:
        asks = ("ETH_RPC_URL=http://node:8545", f"KMS_CONTRACT_ADDR=0x{place.kms.hex()}")
        services += [_service("auth-api", environment=asks), _service("node")]
    webhook = _OUTSIDE if place is None else "http://auth-api:8000"
    config = _CONFIG.replace("WEBHOOK", webhook)
    compose = (
        f"volumes:\n  kms-volume:\nservices:\n{''.join(services)}"
        f"configs:\n  kms:\n    content: |\n{config}"
    )
    manifest: JsonObject = {
        "manifest_version": 2,
        "name": "dstack-kms",
        "runner": "docker-compose",
        "docker_compose_file": compose,
        "allowed_envs": [],
        "gateway_enabled": True,
        "kms_enabled": False,
        "local_key_provider_enabled": True,
        "key_provider_id": LOCAL_SGX_MRENCLAVE.hex(),
        "no_instance_id": True,
        "public_logs": False,
        "public_sysinfo": False,
        "public_tcbinfo": True,
        "secure_time": True,
    }
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"))


def _service(name: str, *, environment: Sequence[str] = (), volumes: Sequence[str] = ()) -> str:
    lines = [
        f"{name}:",
        f"  image: {KMS_IMAGES[name].reference}",
        "  restart: unless-stopped",
        "  read_only: true",
        '  user: "1000:1000"',
        "  cap_drop: [ALL]",
        "  security_opt: [no-new-privileges:true]",
    ]
    for key, values in (("environment", environment), ("volumes", volumes)):
        lines += [f"  {key}:", *(f"    - {value}" for value in values)] if values else []
    if name == "kms":
        lines += [f"  command: {_START}"]
        lines += ["  configs:", "    - source: kms", "      target: /kms/kms.toml"]
    return "".join(f"  {line}\n" for line in lines)
