"""What a guest measured about itself: the identity in its system events, as RTMR3 covers it."""

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.td.event_log import Event, system_events

_OF_EACH_KMS = ("mr-kms", "os-image-hash")


class MeasuredIdentity(Struct, frozen=True, kw_only=True):
    """What the guest measured about itself into RTMR3 before `system-ready`; raw bytes.

    A field is None where its event does not exist in that version.

    app_id              20 bytes
    compose_hash        sha256 of the manifest, 32 bytes
    instance_id         20 bytes; b"" for an app without instance ids
    os_image_hash       32 bytes
    mr_kms              the build of the KMS that gave the keys, 32 bytes
    provider            the key provider's name; "" without that event
    provider_id         the key provider's id (for a KMS: the DER SubjectPublicKeyInfo of its CA
                        key); b"" without that event
    provider_payload    the whole key-provider event, JSON
    gpu_policy_hash     32 bytes
    init_script_hashes  the payload of each such event, in order; () for none
    measures_rootfs     whether there is a rootfs-hash event
    """

    app_id: bytes
    compose_hash: bytes | None
    instance_id: bytes | None
    os_image_hash: bytes | None
    mr_kms: bytes | None
    provider: str
    provider_id: bytes
    provider_payload: bytes | None
    gpu_policy_hash: bytes | None
    init_script_hashes: tuple[bytes, ...]
    measures_rootfs: bool

    @property
    def lacks_mr_kms(self) -> bool:
        """Whether `mr-kms` is missing beside a KMS, in a log that no release without that event
        writes: dstack before 0.4.2 measures its `rootfs-hash`, since 0.6.0 a `gpu-policy-hash`."""
        other = self.measures_rootfs or self.gpu_policy_hash is not None
        return self.provider == "kms" and self.mr_kms is None and not other

    @property
    def instance(self) -> str:
        """The instance id in hex; "" for an app without instance ids."""
        return (self.instance_id or b"").hex()

    @property
    def self_bound(self) -> bool:
        """Whether the app id is the start of the manifest's hash, and so binds itself."""
        return self.compose_hash is not None and self.app_id == self.compose_hash[:20]


def measured_identity(events: tuple[Event, ...]) -> MeasuredIdentity:
    """The identity that the system events state, the first of each name; of what the guest
    measures about each KMS that it asks, the last before its key provider.

    Raises EvidenceError for a payload of the wrong size and for a log without `app-id`.
    """
    payloads: dict[str, bytes] = {}
    scripts: list[bytes] = []
    for event in system_events(events):
        if event.name in _OF_EACH_KMS and "key-provider" not in payloads:
            payloads[event.name] = event.payload
        payloads.setdefault(event.name, event.payload)
        if event.name == "init-script-hash":
            scripts.append(event.payload)

    def sized(name: str, *sizes: int) -> bytes | None:
        value = payloads.get(name)
        if value is not None and len(value) not in sizes:
            raise EvidenceError(f"event {name}: {len(value)} bytes, expected {sizes[-1]}")
        return value

    app_id = sized("app-id", 20)
    if app_id is None:
        raise EvidenceError("the event log has no app-id event")
    provider_payload = payloads.get("key-provider")
    provider, provider_id = _parse_provider(provider_payload)
    return MeasuredIdentity(
        app_id=app_id,
        compose_hash=sized("compose-hash", 32),
        instance_id=sized("instance-id", 0, 20),
        os_image_hash=sized("os-image-hash", 32),
        mr_kms=sized("mr-kms", 32),
        provider=provider,
        provider_id=provider_id,
        provider_payload=provider_payload,
        gpu_policy_hash=sized("gpu-policy-hash", 32),
        init_script_hashes=tuple(scripts),
        measures_rootfs="rootfs-hash" in payloads,
    )


def _parse_provider(payload: bytes | None) -> tuple[str, bytes]:
    if payload is None:
        return "", b""
    document = codec.parse_json_object(payload, "event key-provider")
    provider = codec.text_field(document, "name", "event key-provider")
    return provider, codec.parse_hex(document.get("id"), "event key-provider: id", lower=True)
