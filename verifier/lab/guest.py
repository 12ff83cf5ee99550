"""A simulated guest: what it measures, and what it says on port 8090."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Final

from eth_hash.auto import keccak
from msgspec import Struct
from msgspec.structs import replace

from verifier.evidence.codec import JsonObject
from verifier.lab import cert, events, keys, page
from verifier.lab.events import Event, OsImage, release
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.pki import Pki
from verifier.lab.quote import TdReport, make_quote, user_data
from verifier.lab.response import NOT_FOUND, Response, answer, answer_json
from verifier.model.result import JsonValue

_KINDS: Final = {"none": 0, "local-sgx": 1, "kms": 2, "tpm": 3}
_APP_KEY_ALGORITHMS: Final = {
    "ed25519": "ed25519",
    "secp256k1": "secp256k1",
    "k256": "secp256k1",
    "secp256k1_prehashed": "secp256k1",
}
CONTAINER: Final = "dstack-web-1"
_COMPOSE: Final = """\
services:
  web:
    image: IMAGE
    restart: unless-stopped
    read_only: true
    user: "1000:1000"
    cap_drop:
      - ALL
    security_opt:
      - no-new-privileges:true
    ports:
      - "443:8443"
"""


class KeySource(Struct, frozen=True):
    """Who gave a guest its keys: `identifier` as the key-provider event names it.

    `ca` labels the KMS that issues its certificate, and `mr_kms` is that KMS's measurement; both
    are empty when no KMS is involved.
    """

    name: str
    identifier: str
    ca: str = ""
    mr_kms: bytes = b""

    @property
    def payload(self) -> bytes:
        """The payload of the key-provider event."""
        fields = {"name": self.name, "id": self.identifier}
        return json.dumps(fields, separators=(",", ":")).encode()


def manifest_text(knobs: Knobs) -> str:
    """The app-compose manifest that the guest runs."""
    if knobs.manifest is not None:
        return knobs.manifest
    manifest: JsonObject = {
        "manifest_version": 2,
        "name": knobs.app_name,
        "runner": "docker-compose",
        "docker_compose_file": _COMPOSE.replace("IMAGE", knobs.image.reference),
        "allowed_envs": [],
        "gateway_enabled": True,
        "kms_enabled": knobs.key_provider == "kms",
        "local_key_provider_enabled": knobs.key_provider == "local-sgx",
        "no_instance_id": knobs.no_instance_id,
        "public_logs": knobs.public_logs,
        "public_sysinfo": knobs.public_sysinfo,
        "public_tcbinfo": knobs.public_tcbinfo,
        "secure_time": True,
    }
    if knobs.key_provider == "tpm":
        manifest["key_provider"] = "tpm"
    if knobs.key_provider == "kms":
        manifest["key_provider_id"] = keys.spki(cert.kms_ca_key(knobs.kms)).hex()
    if knobs.event_log_version != 1:
        manifest["event_log_version"] = knobs.event_log_version
    if knobs.edit_manifest is not None:
        manifest = knobs.edit_manifest(manifest)
    return json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def manifest_app_id(knobs: Knobs) -> bytes:
    """The app id of a guest that no KMS named: the first 20 bytes of its compose hash."""
    return hashlib.sha256(manifest_text(knobs).encode()).digest()[:20]


class Guest:
    """One TD. `index` tells instances of one app apart; `app_id` is what it measures."""

    def __init__(
        self, knobs: Knobs, *, index: int, app_id: bytes, pki: Pki, keys_from: KeySource
    ) -> None:
        self.knobs = knobs
        self.app_id = app_id
        self.app_compose = manifest_text(knobs)
        self.compose_hash = hashlib.sha256(self.app_compose.encode()).digest()
        self.image = OsImage(knobs.os_image)
        self._pki = pki
        self._keys_from = keys_from
        self._subject = f"{knobs.seed} {index} {app_id.hex()}"
        self._app = f"{knobs.seed} 0 {app_id.hex()}"
        seed = keys.labelled(f"instance seed {knobs.seed} {index}", 20)
        self.instance_id = (
            b"" if knobs.no_instance_id else hashlib.sha256(seed + app_id).digest()[:20]
        )

    @cached_property
    def events(self) -> list[Event]:
        """Everything that was measured, in order."""
        identity = events.Identity(
            app_id=self.app_id,
            compose_hash=self.compose_hash,
            instance_id=self.instance_id,
            key_provider=self._keys_from.payload,
            mr_kms=self._keys_from.mr_kms,
            os_image_hash=self.image.os_image_hash,
        )
        log = self.image.boot_events(self.knobs.machine) + events.runtime_events(
            self.knobs.version, identity, self.knobs.event_log_version
        )
        return self.knobs.edit_events(log) if self.knobs.edit_events else log

    @cached_property
    def log(self) -> list[JsonObject]:
        """The log as it is shown: full, one JSON entry per event."""
        shown = [event.to_json() for event in self.events]
        return self.knobs.edit_log(shown) if self.knobs.edit_log else shown

    @cached_property
    def td_report(self) -> TdReport:
        """The TD report, with empty report data and before `edit_td`."""
        return TdReport(
            mr_td=self.image.mrtd,
            mr_config_id=self._mr_config_id(),
            rtmrs=events.replay(self.events),
        )

    def quote(self, report_data: bytes) -> bytes:
        """A quote over `report_data` (64 bytes)."""
        report = self.td_report.with_report_data(report_data)
        if self.knobs.edit_td is not None:
            report = self.knobs.edit_td(report)
        signed = make_quote(report, self._pki, self.knobs.platform, self.knobs.quote_format)
        return self.knobs.edit_quote(signed) if self.knobs.edit_quote else signed

    def attestation(self, report_data: bytes) -> cert.Attestation:
        """A quote with what belongs to it."""
        return cert.Attestation(
            quote=self.quote(report_data),
            log=self.log,
            report_data=report_data,
            vm_config=self.vm_config,
        )

    def get_quote(self, report_data: bytes) -> JsonObject:
        """A GetQuote answer, which an app may relay: {quote, event_log, report_data, vm_config}."""
        how: events.Stripping = "app-key" if self._at_least(0, 5, 6) else "full"
        log = events.strip(self.log, how, self.knobs.version)
        return {
            "quote": self.quote(report_data).hex(),
            "event_log": json.dumps(log, separators=(",", ":")),
            "report_data": report_data.hex(),
            "vm_config": self.vm_config,
        }

    @property
    def vm_config(self) -> str:
        """The host's description of the machine (JSON text); empty before 0.5.0."""
        if not self._at_least(0, 5, 0):
            return ""
        stated = self.knobs.stated_machine
        config: JsonObject = {
            "os_image_hash": self.image.os_image_hash.hex(),
            **(self.knobs.machine if stated is None else stated),
            "image": f"dstack-{self.knobs.version}",
        }
        return json.dumps(config, separators=(",", ":"))

    @property
    def device_id(self) -> bytes:
        """What Info calls the device: sha256 of the QE's user data, of nothing since 0.5.6."""
        platform = self.knobs.platform
        return hashlib.sha256(b"" if self._at_least(0, 5, 6) else user_data(platform)).digest()

    @cached_property
    def mr_aggregated(self) -> bytes:
        """sha256(MRTD || RTMR0-3 [|| MRCONFIGID || MROWNER || MROWNERCONFIG when any is set])."""
        report = self.td_report
        owner = report.mr_config_id + report.mr_owner + report.mr_owner_config
        registers = report.mr_td + b"".join(report.rtmrs)
        return hashlib.sha256(registers + (owner if any(owner) else b"")).digest()

    @cached_property
    def tcb_info(self) -> str:
        """The TCB info document (JSON text), whether it is shown or not."""
        report = self.td_report
        document: JsonObject = {
            "mrtd": report.mr_td.hex(),
            **{f"rtmr{index}": value.hex() for index, value in enumerate(report.rtmrs)},
        }
        if self._at_least(0, 4):
            document["mr_aggregated"] = self.mr_aggregated.hex()
            if self._at_least(0, 5, 1):
                document["os_image_hash"] = self.image.os_image_hash.hex()
            else:
                document["mr_image"] = self._mr_image().hex()
                document["mr_key_provider"] = self._mr_key_provider().hex()
            document["compose_hash"] = self.compose_hash.hex()
            document["device_id"] = self.device_id.hex()
        else:
            rootfs = (event.digest for event in self.events if event.name == "rootfs-hash")
            document["rootfs_hash"] = next(rootfs, b"").hex()
        document["event_log"] = list[JsonValue](self.log)
        served = self.knobs.edit_served_manifest
        document["app_compose"] = served(self.app_compose) if served else self.app_compose
        return json.dumps(document, indent=2, ensure_ascii=False)

    @cached_property
    def cert_options(self) -> cert.CertOptions:
        """How the app certificate is made."""
        knobs = self.knobs
        form = knobs.cert_attestation
        if form == "quote" and not self._keys_from.ca and self._at_least(0, 5, 6):
            form = "scale-v0"
        return cert.CertOptions(
            version=knobs.version,
            subject=self._subject,
            app_id=knobs.cert_app_id or self.app_id,
            issued=knobs.cert_issued or knobs.now - DAY,
            ca=knobs.cert_ca or (self._keys_from.ca if self._at_least(0, 4) else ""),
            form=form,
            forged=knobs.cert_forged,
            usage=knobs.cert_usage,
            leaf_is_ca=knobs.cert_leaf_is_ca,
        )

    @cached_property
    def cert_attestation(self) -> cert.Attestation:
        """What the app certificate carries; its log is stripped in the versioned forms."""
        options = self.cert_options
        bound = self.knobs.cert_report_data or cert.report_data(options)
        how: events.Stripping = "full" if options.form == "quote" else "certificate"
        log = events.strip(self.log, how, self.knobs.version)
        return replace(self.attestation(bound), log=log)

    @cached_property
    def app_cert(self) -> str:
        """The RA-TLS chain (PEM)."""
        return cert.app_cert(self.cert_options, self.cert_attestation)

    @cached_property
    def info(self) -> JsonObject:
        """The Info answer of this release."""
        shown = self.knobs.public_tcbinfo
        prefix = "" if self._at_least(0, 3, 3) else "0x"
        info: JsonObject = {
            "app_id": prefix + self.app_id.hex(),
            "instance_id": prefix + self.instance_id.hex(),
            "app_cert": self.app_cert,
            "tcb_info": self.tcb_info if shown else "",
        }
        if self._at_least(0, 3, 3):
            info["app_name"] = self.knobs.app_name
        if self._at_least(0, 3, 3) and not self._at_least(0, 5, 1):
            info["public_logs"] = self.knobs.public_logs
            info["public_sysinfo"] = self.knobs.public_sysinfo
        if self._at_least(0, 4):
            info["device_id"] = self.device_id.hex()
            info["mr_aggregated"] = self.mr_aggregated.hex()
            if self._at_least(0, 5, 1):
                info["os_image_hash"] = self.image.os_image_hash.hex()
            else:
                info["mr_image"] = self._mr_image().hex()
                info["mr_key_provider"] = self._mr_key_provider().hex()
            info["key_provider_info"] = self._keys_from.payload.decode()
            info["compose_hash"] = self.compose_hash.hex()
        if self._at_least(0, 5, 1):
            info["vm_config"] = self.vm_config if shown else ""
        if self._at_least(0, 5, 6):
            info |= {"cloud_vendor": "Simulated", "cloud_product": "lab"}
        return info

    @cached_property
    def info_v1(self) -> JsonObject:
        """The `/prpc/v1/Info` answer of 0.6.0: no certificate, no registers, no log."""
        kept = ("app_name", "app_id", "instance_id", "device_id", "os_image_hash", "mr_aggregated")
        shown = self.knobs.public_tcbinfo
        return {
            **{name: self.info[name] for name in (*kept, "compose_hash")},
            "app_compose": self.app_compose if shown else "",
            "vm_config": self.vm_config if shown else "",
            "key_provider_info": self._keys_from.payload.decode() if shown else "",
            "cloud_vendor": "Simulated",
            "cloud_product": "lab",
        }

    @cached_property
    def page(self) -> str:
        """The HTML page."""
        return page.render(
            page.PageContent(
                version=self.knobs.version,
                app_name=self.knobs.app_name,
                app_id=self.app_id.hex(),
                instance_id=self.instance_id.hex(),
                device_id=self.device_id.hex(),
                key_provider_info=self._keys_from.payload.decode(),
                tcb_info=self.tcb_info if self.knobs.public_tcbinfo else "",
                app_cert=self.app_cert,
                containers=[CONTAINER],
                public_logs=self.knobs.public_logs,
                public_sysinfo=self.knobs.public_sysinfo,
            )
        )

    def app_key_quote(self, algorithm: str) -> JsonObject:
        """The GetAttestationForAppKey answer. Raises ValueError for an unknown algorithm.

        Report data: ASCII `dip1::<kind>-pk:<base64url key>`, padded with zeros to 64.
        """
        kind = _APP_KEY_ALGORITHMS.get(algorithm)
        if kind is None:
            raise ValueError("Unsupported algorithm")
        label = f"app key {self._app}"  # all instances of an app have it from their KMS
        secp256k1 = kind == "secp256k1"
        public = keys.k256_public(keys.k256(label)) if secp256k1 else keys.ed25519_public(label)
        encoded = base64.urlsafe_b64encode(public).decode().rstrip("=")
        text = f"dip1::{kind}{'c' if secp256k1 else ''}-pk:{encoded}"
        chosen = self.knobs.app_key_report_data
        if self.knobs.challenge:
            leaf = keys.spki(cert.leaf_key(self.cert_options))
            chosen = self.knobs.challenge + hashlib.sha256(leaf).digest()
        return self.get_quote(chosen or text.encode().ljust(64, b"\0"))

    def respond(self, path: str, query: Mapping[str, str]) -> Response:
        """What the guest agent answers to a GET or POST of `path`."""
        version = {"X-App-Version": f"v{self.knobs.version} (git:{'0' * 20})"}
        if path == "/":
            return answer(200, "text/html; charset=utf-8", self.page.encode(), version)
        if not path.startswith("/prpc/"):
            return NOT_FOUND
        method = path.removeprefix("/prpc/")
        try:
            document = self._call(method, query)
        except ValueError as error:
            return answer_json(400, {"error": str(error)}, version)
        if document is None:
            return answer_json(404, {"error": f"Service not found: {method}"}, version)
        return answer_json(200, document, version)

    def _call(self, method: str, query: Mapping[str, str]) -> JsonObject | None:
        """The answer to an RPC of this release, None for one that it does not have."""
        if self._at_least(0, 6):
            method = method.removeprefix("v0/")
        if not method.startswith("Worker.") and self._at_least(0, 4, 2):
            method = f"Worker.{method}"
        match method:
            case "Worker.Info":
                return self.info
            case "Worker.v1/Info" if self._at_least(0, 6):
                return self.info_v1
            case "Worker.Version" | "Worker.v1/Version" if self._at_least(0, 3, 3):
                return {"version": self.knobs.version, "rev": "00" * 10}
            case "Worker.GetAttestationForAppKey" if self._at_least(0, 5, 6):
                return self.app_key_quote(query.get("algorithm", ""))
            case _:
                return None

    def _at_least(self, *number: int) -> bool:
        return release(self.knobs.version) >= number

    def _mr_key_provider(self) -> bytes:
        return hashlib.sha256(self._keys_from.payload).digest()

    def _mr_image(self) -> bytes:
        report = self.td_report
        return hashlib.sha256(report.mr_td + b"".join(report.rtmrs[1:3])).digest()

    def _mr_config_id(self) -> bytes:
        """V1 `01 || compose hash || 0^15`; V2 binds app id and key provider as well."""
        version = self.knobs.mr_config_id
        if version == "unset" or not self._at_least(0, 5, 1):
            return bytes(48)
        if version == "v1":
            return b"\x01" + self.compose_hash + bytes(15)
        source = self._keys_from
        kind = bytes([_KINDS[source.name]])
        bound = self.compose_hash + self.app_id + kind + bytes.fromhex(source.identifier)
        return b"\x02" + keccak(bound) + bytes(15)
