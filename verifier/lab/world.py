"""A whole simulated world behind one function: `respond` answers every URL of it.

    https://<app id | instance id>-8090.gw.lab.invalid/     guests
    https://gateway.gw.lab.invalid/.dstack/                 the gateway
    https://dns.google/ https://cloudflare-dns.com/         two resolvers of names
    https://<app id>-443.gw.lab.invalid/.well-known/        the app's attestation proof
    https://kms.gw.lab.invalid/prpc/                        the KMS
    https://pcs.lab.invalid/                                collateral
    https://rpc-a.lab.invalid/ https://rpc-b.lab.invalid/   two JSON-RPC operators
    https://cloud.lab.invalid/api/v1/                       the cloud's API
    https://ct.lab.invalid/                                 a search of certificate logs
    https://safe.lab.invalid/api/v1/                        a transaction service of Safes
    https://registry.lab.invalid/v2/                        the images' registry
    https://api.github.com/repos/                           attestations of the images

Everything follows from the knobs: the same knobs give the same bytes, whenever they are asked for.
"""

import base64
import itertools
import json
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Final, get_args
from urllib.parse import urlsplit

from eth_utils.address import to_checksum_address
from msgspec import to_builtins as asdict
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.codec import JsonObject
from verifier.evidence.guest.proof import PATH as PROOF_PATH
from verifier.lab import contracts, dns, history, ingress, keys, safe_service
from verifier.lab.chain import Chain
from verifier.lab.cloud import attestations
from verifier.lab.collateral import Collateral, CollateralOptions
from verifier.lab.endpoint import gateway_certificate
from verifier.lab.events import LOCAL_SGX_MRENCLAVE
from verifier.lab.gateway import ACCOUNT_URI, Gateway, gateway_knobs
from verifier.lab.gpu import Gpus
from verifier.lab.guest import Guest, KeySource, manifest_app_id
from verifier.lab.kms import PLATFORM, ContractPlace, Kms
from verifier.lab.knobs import CHAIN_ID, DAY, TCB_EVALUATION, Knobs
from verifier.lab.logged import CT_URL, CertificateLogs, logged_certificates
from verifier.lab.pki import FMSPC, Pki, PkiOptions, build_pki
from verifier.lab.published import published_proof
from verifier.lab.quote import MR_SEAM
from verifier.lab.reference_rows import SOURCE, anchor_rows, firmware_row, image_row
from verifier.lab.registry import GITHUB_URL, REGISTRY_URL, Registry
from verifier.lab.response import NOT_FOUND, Response, answer, answer_json, arguments_of
from verifier.lab.rpc import Node
from verifier.lab.sigstore import Sigstore
from verifier.model.chain import ContractCode
from verifier.model.identifiers import format_time
from verifier.reference import values

GATEWAY_BASE: Final = "gw.lab.invalid"
KMS_URL: Final = f"https://kms.{GATEWAY_BASE}"
PCS_URL: Final = "https://pcs.lab.invalid"
CLOUD_URL: Final = "https://cloud.lab.invalid"
SAFE_URL: Final = "https://safe.lab.invalid"
RPC_URLS: Final = {"a": "https://rpc-a.lab.invalid/", "b": "https://rpc-b.lab.invalid/"}
RESOLVERS: Final = ("dns.google", "cloudflare-dns.com")
DOMAIN: Final = "app.customer.invalid"
"""A name of the app's own, which its owner leads to the gateway."""

WEB_DOMAIN: Final = "web.customer.invalid"
"""Another one, for which dstack-ingress in the app got a certificate of a public CA."""

ATTESTATION_PATH: Final = "/attestation"
"""Where the app answers `nonce` with a quote over it."""

ONCHAIN: Final = "onchain"


class World:
    """One simulated world. `app_id` and `instance_ids` are lower-case hex."""

    def __init__(self, knobs: Knobs) -> None:
        self.knobs = knobs
        self.now = knobs.now
        self._app_id = knobs.app_id or (
            keys.labelled(f"app {knobs.seed}", 20)
            if knobs.key_provider == "kms"
            else manifest_app_id(knobs)
        )
        self.app_id = self._app_id.hex()
        self.guests = tuple(
            self._guest(each, index) for index, each in enumerate((knobs, *knobs.others))
        )
        self.instance_ids = tuple(guest.instance_id.hex() for guest in self.guests)
        self._calls, self._connections = itertools.count(), itertools.count()

    @property
    def guest(self) -> Guest:
        """The first instance."""
        return self.guests[0]

    @property
    def serving_host(self) -> str:
        """The host of an address that the app's guest serves by TLS."""
        return f"{self.app_id}-443s.{GATEWAY_BASE}"

    @property
    def pki_options(self) -> PkiOptions:
        """What the certificates of the first instance's platform look like."""
        return self._pki_options(self.knobs.platform)

    @cached_property
    def pki(self) -> Pki:
        """The certificates of the first instance's platform."""
        return build_pki(self.pki_options)

    @cached_property
    def collateral(self) -> Collateral:
        """The collateral that the PCS serves."""
        knobs = self.knobs
        issued = knobs.now - knobs.collateral_age
        options = CollateralOptions(
            issued=issued,
            expires=issued + knobs.collateral_window,
            evaluation=knobs.tcb_evaluation,
            fmspc=knobs.collateral_fmspc or FMSPC,
            pce_id=knobs.collateral_pce_id,
            tcb_status=knobs.tcb_status,
            module_status=knobs.module_status,
            qe_status=knobs.qe_status,
            advisories=knobs.advisories,
            tcb_signer=knobs.tcb_signer,
            qe_signer=knobs.qe_signer,
        )
        return Collateral(self.pki, options)

    @cached_property
    def kms(self) -> Kms:
        """The KMS that answers at the KMS's URL."""
        knobs = self.knobs
        label = knobs.kms_answers or knobs.kms
        return self._kms(label, knobs.kms_k256, answers=True)

    @cached_property
    def gateway(self) -> Gateway:
        """The gateway that all names below its base lead to."""
        knobs, edit = gateway_knobs(self.now), self.knobs.edit_gateway
        knobs = edit(knobs) if edit is not None else knobs
        pki = build_pki(self._pki_options(knobs.platform))
        return Gateway(knobs, pki, self._kms(ONCHAIN).key_source)

    @cached_property
    def chain(self) -> Chain:
        """The chain, with its whole history."""
        knobs = self.knobs
        chain = Chain(knobs.seed, knobs.chain_id, knobs.now, knobs.finalized_lag)
        kms = self._kms(ONCHAIN, knobs.kms_k256)
        builds = [kms.guest.mr_aggregated]
        if knobs.edit_kms is not None and knobs.kms_build_on_chain:
            builds.append(self.kms.guest.mr_aggregated)
        history.write(chain, knobs, kms, self._app_id, self.guests, builds)
        if knobs.edit_chain is not None:
            app = history.app_contract(chain, knobs, self._app_id)
            knobs.edit_chain(chain, app, history.kms_contract(chain, knobs))
        return chain

    @cached_property
    def sigstore(self) -> Sigstore:
        """The Sigstore instance through which the images' workflow signed, a month ago."""
        built = self.now - 30 * DAY
        return Sigstore(certified_at=built, logged_at=built + 60)

    @cached_property
    def registry(self) -> Registry:
        """The registry of the app's image, and GitHub about it."""
        return Registry(self.knobs.image, self.sigstore, self.knobs.attest)

    @cached_property
    def certificate_logs(self) -> CertificateLogs:
        """What public CAs logged of the names of this world."""
        return CertificateLogs(logged_certificates(self.knobs, WEB_DOMAIN, self.guest))

    @cached_property
    def gpus(self) -> Gpus:
        """The GPUs of the first instance's machine, as many as it has."""
        count = self.knobs.machine.get("num_gpus", 0)
        return Gpus(count=count if isinstance(count, int) else 0, now=self.now)

    @cached_property
    def nodes(self) -> dict[str, Node]:
        """The JSON-RPC nodes by URL."""
        faults = self.knobs.rpc_faults
        return {
            url: Node(
                self.chain,
                faults.get(operator),
                self.knobs.log_range,
                partial(self.knobs.edit_logs, operator) if self.knobs.edit_logs else None,
            )
            for operator, url in RPC_URLS.items()
        }

    def respond(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """What this world answers to a request for a logical https URL; 404 where nothing is.

        Request headers are not evidence and change nothing.
        """
        del headers
        answer = self._route(url, body)
        edit = self.knobs.edit_response
        return edit(method, url, body, answer) if edit else answer

    def handshake(self, host: str, port: int) -> bytes:
        """The certificates (PEM, the leaf first) of the TLS server at an address, b"" for none."""
        del port
        if self.knobs.peer is not None:
            return self.knobs.peer(self, host)
        return self.peer(host)

    def peer(self, host: str) -> bytes:
        """What an honest server shows: a guest its own certificate, where the gateway passes
        connections through or the name is its own; else the gateway the one for all names below
        its base."""
        if host == WEB_DOMAIN:
            return ingress.ingress_certificate(host, self.guest)
        guest = self.guest if host == DOMAIN else self._passed_through(host)
        if guest is self.guest and self.knobs.spread_tls is not None:
            guest = self.guests[self.knobs.spread_tls(next(self._connections))]
        if guest is not None:
            return guest.app_cert.encode()
        return gateway_certificate(self.now) if host.endswith(f".{GATEWAY_BASE}") else b""

    def _route(self, url: str, body: bytes) -> Response:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path or "/"
        if f"https://{host}/" in RPC_URLS.values():
            return self._rpc(f"https://{host}/", body)
        services: dict[str, Callable[[], Response]] = {
            PCS_URL: lambda: self.collateral.respond(url),
            CLOUD_URL: lambda: self._cloud(path),
            SAFE_URL: lambda: answer_json(200, safe_service.about(path)),
            REGISTRY_URL: lambda: self.registry.images(path),
            GITHUB_URL: lambda: self.registry.attestations(path),
        }
        if f"https://{host}" in services:
            return services[f"https://{host}"]()
        arguments = arguments_of(parts.query, body)
        named: dict[str, Callable[[], Response]] = {
            f"gateway.{GATEWAY_BASE}": lambda: self.gateway.respond(path),
            urlsplit(KMS_URL).hostname or "": lambda: self.kms.respond(path, arguments),
            urlsplit(CT_URL).hostname or "": lambda: self.certificate_logs.respond(arguments),
            **{name: lambda: self._resolve(host, arguments.get("dns", "")) for name in RESOLVERS},
        }
        if host in named:
            return named[host]()
        if host == WEB_DOMAIN or path in (ATTESTATION_PATH, PROOF_PATH):
            return self._served(host, path, arguments.get("nonce", ""))
        label = host.removesuffix(f"-8090.{GATEWAY_BASE}")
        guest = self._guests_by_label.get(label)
        if guest is None:
            return NOT_FOUND
        if self.knobs.spread is not None and label == self.app_id and path == "/prpc/Info":
            guest = self.guests[self.knobs.spread(next(self._calls))]
        return guest.respond(path, arguments)

    def _served(self, host: str, path: str, nonce: str) -> Response:
        """What the app itself answers, where connections reach it: the evidences of dstack-ingress,
        the attestation proof, or a quote over a challenge."""
        if host == WEB_DOMAIN:
            files = ingress.evidences(host, self.guest)
            return answer(200, "text/plain", files[path]) if path in files else NOT_FOUND
        if path == PROOF_PATH:
            own = host in (DOMAIN, f"{self.app_id}-443.{GATEWAY_BASE}")
            return answer_json(200, self.proof) if own else NOT_FOUND
        guest = self.guest if host == DOMAIN else self._passed_through(host)
        try:
            challenge = bytes.fromhex(nonce).ljust(64, b"\0")[:64]
        except ValueError:
            return answer_json(400, {"error": "nonce is not hex"})
        return NOT_FOUND if guest is None else answer_json(200, guest.get_quote(challenge))

    def _passed_through(self, host: str) -> Guest | None:
        label, _, base = host.partition(".")
        passed = base == GATEWAY_BASE and label[-1:] == "s"
        return self._guests_by_label.get(label.partition("-")[0]) if passed else None

    def _resolve(self, resolver: str, query: str) -> Response:
        if not query:
            return NOT_FOUND
        question, name, kind = dns.asked(query)
        records = self.records(name, kind)
        if self.knobs.edit_dns is not None:
            records = self.knobs.edit_dns(resolver, name, kind, records)
        return dns.respond(question, records)

    def records(self, name: str, kind: str) -> list[dns.Record]:
        """The records of a name, with those of its aliases as a resolver follows them."""
        gateway = f"_.{GATEWAY_BASE}"
        only = f"lab.invalid;validationmethods=dns-01;accounturi={ACCOUNT_URI}"
        caa = [(GATEWAY_BASE, "CAA", dns.caa_data(tag, only)) for tag in ("issue", "issuewild")]
        own = f"lab.invalid; accounturi={ingress.ACCOUNT_URI}"
        parent = DOMAIN.partition(".")[2]
        zone: dict[tuple[str, str], list[dns.Record]] = {
            (GATEWAY_BASE, "CAA"): caa,
            (parent, "CAA"): [(parent, "CAA", dns.caa_data("issue", own))],
        }
        for domain in (DOMAIN, WEB_DOMAIN):
            told = f"_dstack-app-address.{domain}"
            zone[domain, "CNAME"] = [(domain, "CNAME", dns.name_data(gateway))]
            zone[told, "TXT"] = [(told, "TXT", dns.text_data(f"{self.app_id}:443"))]
        alias = zone.get((name, "CNAME"), []) if kind != "CNAME" else []
        return [*alias, *zone.get((name, kind), [])]

    @cached_property
    def proof(self) -> JsonObject:
        """The attestation proof that the first instance publishes."""
        document = published_proof(self.guest, self.kms, self.now)
        return self.knobs.edit_proof(document) if self.knobs.edit_proof else document

    @cached_property
    def _guests_by_label(self) -> dict[str, Guest]:
        """The guest behind each host label: instance ids, app ids, the requested id above all."""
        everyone = (self.kms.guest, *reversed(self.guests))
        labels = {guest.app_id.hex(): guest for guest in everyone}
        labels |= {guest.instance_id.hex(): guest for guest in everyone if guest.instance_id}
        return labels | {self.app_id: self.guest}

    def _rpc(self, url: str, body: bytes) -> Response:
        try:
            answer = self.nodes[url].answer(body)
        except EvidenceError as error:
            return answer_json(400, {"error": error.message})
        return answer_json(200, answer)

    def _cloud(self, path: str) -> Response:
        if path != f"/api/v1/apps/{self.app_id}/attestations":
            return answer_json(404, {"detail": "Not Found"})
        on_chain = self.knobs.kms == ONCHAIN and self.knobs.key_provider == "kms"
        place = self._place if on_chain else None
        return answer_json(200, attestations(self.app_id, self.guests, self.kms, place, KMS_URL))

    def reference(self) -> bytes:
        """Reference values that a relying party of this world would hold (JSON document)."""
        date = format_time(self.now)[:10]
        origin = {"source": SOURCE, "date": date}
        codes = [
            ContractCode(
                role=role,
                generation=contracts.GENERATION,
                build="lab",
                length=len(contracts.runtime_code(role)),
                immutable_offsets=(
                    contracts.IMMUTABLE_OFFSETS if role in contracts.IMPLEMENTATIONS else ()
                ),
                fingerprint=contracts.fingerprint(role),
                **origin,
            )
            for role in get_args(contracts.Role)
        ]
        evaluation = values.TcbEvaluation(
            valid_from=self.now - 30 * DAY, number=TCB_EVALUATION, **origin
        )
        url = f"https://{GATEWAY_BASE}"
        gateway = values.Endpoint(url=url, operator="lab", chain_id=CHAIN_ID, **origin)
        rpc = [
            replace(gateway, url=url, operator=f"lab {operator}")
            for operator, url in RPC_URLS.items()
        ]
        root = build_pki(PkiOptions(now=self.now, platform="", crl_issued=0, crl_expires=0))
        document = {
            "schema": values.SCHEMA,
            "root": {"certificate": base64.b64encode(root.root_der).decode(), **origin},
            "sigstore": {
                "trusted_root": base64.b64encode(self.sigstore.trusted_root).decode(),
                **origin,
            },
            "key_providers": [
                asdict(
                    values.KeyProvider(
                        mrenclave=LOCAL_SGX_MRENCLAVE.hex(), name="lab enclave", **origin
                    )
                )
            ],
            "anchors": [asdict(row) for row in anchor_rows(date)],
            "tdx_modules": [
                asdict(values.TdxModule(mr_seam=MR_SEAM.hex(), name="lab module", **origin))
            ],
            "kms": [asdict(row) for row in self._kms_records(date)],
            "os_images": [
                asdict(image_row(label, date)) for label in ("production", "development")
            ],
            "firmwares": [asdict(firmware_row(date))],
            "contracts": [asdict(row) for row in codes],
            "tcb_evaluations": [asdict(evaluation)],
            "gateways": [asdict(gateway)],
            "rpc": [asdict(row) for row in rpc],
            "safe_services": [asdict(replace(gateway, url=SAFE_URL))],
            "pcs_url": PCS_URL,
            "denied": [],
        }
        return json.dumps(document, indent=2).encode()

    def _kms_records(self, date: str) -> list[values.KmsRecord]:
        chain = Chain(self.knobs.seed, CHAIN_ID, self.now, 0)
        return [
            values.KmsRecord(
                name=f"Lab KMS, {label}",
                ca_spki=kms.ca_spki.hex(),
                k256=kms.k256_public.hex(),
                root_address=to_checksum_address(kms.root_address),
                chain_id=CHAIN_ID if label == ONCHAIN else None,
                contract=to_checksum_address(history.KMS_ADDRESS) if label == ONCHAIN else None,
                generation=contracts.GENERATION if label == ONCHAIN else "",
                deployed_block=(
                    chain.block_at(self.now - history.KMS_AGE) if label == ONCHAIN else 0
                ),
                urls=(KMS_URL,),
                source=SOURCE,
                date=date,
            )
            for label in (ONCHAIN, "hosted")
            for kms in (self._kms(label),)
        ]

    def _guest(self, knobs: Knobs, index: int) -> Guest:
        match knobs.key_provider:
            case "kms":
                source = self._kms(knobs.kms).key_source
            case "local-sgx":
                source = KeySource("local-sgx", knobs.enclave.hex())
            case name:
                source = KeySource(name, "")
        return Guest(
            knobs,
            index=index,
            app_id=knobs.guest_app_id or self._app_id,
            pki=build_pki(self._pki_options(knobs.platform)),
            keys_from=source,
        )

    @property
    def _place(self) -> ContractPlace:
        return ContractPlace(
            chain_id=self.knobs.chain_id,
            kms=history.KMS_ADDRESS,
            app_implementation=history.APP_IMPLEMENTATION,
            gateway_app_id=history.GATEWAY_APP_ID,
        )

    def _kms(self, label: str, k256: str | None = None, *, answers: bool = False) -> Kms:
        knobs = self.knobs
        return Kms(
            label,
            now=self.now,
            version=self.knobs.kms_version,
            pki=self._pki_options(PLATFORM),
            contract=self._place if label == ONCHAIN else None,
            k256=k256,
            certificate=knobs.kms_certificate if answers else None,
            edit=knobs.edit_kms if answers else None,
            bootstrap=knobs.kms_bootstrap if answers else "kept",
        )

    def _pki_options(self, platform: str) -> PkiOptions:
        knobs = self.knobs
        issued = knobs.now - knobs.collateral_age
        own = platform == knobs.platform
        return PkiOptions(
            now=knobs.now,
            platform=f"{knobs.seed} {platform}",
            root=knobs.root,
            rogue=knobs.rogue if own else frozenset(),
            revoked=knobs.revoked if own else frozenset(),
            expired=knobs.expired if own else frozenset(),
            crl_issued=issued,
            crl_expires=issued + knobs.collateral_window,
        )


def build(knobs: Knobs | None = None) -> World:
    """The world of these knobs; the honest one by default."""
    return World(knobs or Knobs())
