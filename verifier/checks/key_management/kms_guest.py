"""The TDs that a KMS runs in, as their own evidence shows them.

A KMS is a guest of dstack like any other, so that the checks of any guest run on its quote. What
ties such a TD to the KMS that an app names is the certificate that it shows to whoever connects to
it: made over the quote's key, and signed by the CA key itself, with no app's CA in between (KMS
onboard_service.rs, update_certs: issued anew at each start). The CA key is that of the app's
key-provider event, so that the CA's certificate, which anybody can show, is not needed.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.chain.calls import KMS_DEVICE_IDS
from verifier.checks import boot, runtime
from verifier.checks.case import Case
from verifier.checks.engine import USABLE, CheckSpec, run_checks
from verifier.checks.hardware import quote
from verifier.errors import Blocked, EvidenceError, MissingEvidence
from verifier.evidence.bundle import Kind
from verifier.evidence.chain import contracts
from verifier.evidence.subject import CHANNEL_KMS, PresentedQuote, read_subject
from verifier.evidence.td.measurements import mr_aggregated_forms
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import (
    EXT_APP_ID,
    EXT_USAGE,
    KMS_USAGE,
    RaTlsChain,
    leaf_report_data,
    spki,
)
from verifier.manifest.image import Kind as ImageKind
from verifier.manifest.image import image_of
from verifier.manifest.model import Manifest
from verifier.manifest.read import read_manifest
from verifier.model.identifiers import KEY_HOLDER, format_time
from verifier.model.result import CheckResult, EvidenceRef, Status

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

GUEST: Final[tuple[CheckSpec, ...]] = (*quote.CHECKS, *boot.CHECKS, *runtime.CHECKS)
"""The checks of any guest: hardware, OS image and machine, event log."""

GENUINE: Final = ("hardware.quote", "hardware.td", "boot.image", "runtime.replay", "runtime.events")
"""Those of them without which nothing that the guest measured or says counts."""

_BOOT: Final = ("boot.registers", "boot.machine")
_HASHES: Final = ("sha256", "sha384", "sha512")


class KmsGuest(Struct, frozen=True, dict=True):
    """One TD that is said to run an app's KMS. `name` says where it answered; `case` is the case
    about it."""

    name: str
    case: Case
    ca_pubkey: bytes

    @property
    def chain(self) -> RaTlsChain | None:
        """The certificate that it shows at its own address, None where none was collected."""
        source = self.case.presented
        return source.certificate_chain if source.channel == CHANNEL_KMS else None

    @property
    def evidence(self) -> tuple[EvidenceRef, ...]:
        """Where its quote is."""
        return (self.case.presented.evidence,)

    @cached_property
    def results(self) -> Mapping[str, CheckResult]:
        """The results of the checks of any guest."""
        return {item.id: item for item in run_checks(GUEST, self.case)}

    @cached_property
    def genuine(self) -> bool:
        """Whether it is a genuine TD under a known OS, so that its log says what it runs."""
        usable = all(self.results[name].status in USABLE for name in GENUINE)
        refused = (Status.FAIL, Status.ERROR)
        return usable and all(self.results[name].status not in refused for name in _BOOT)

    @property
    def compose_hash(self) -> bytes:
        """The sha256 of the manifest that it measured; b"" for none."""
        return self.case.identity.compose_hash or b""

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest that it measured. Raises MissingEvidence, EvidenceError."""
        readings = self.case.evidence.bundle.readings
        return read_manifest(self.case.measured_manifest.value, readings=readings)

    @cached_property
    def pinned(self) -> bool:
        """Whether the measured manifest is there and fixes the code: images that a tag names, or
        that are built on the guest, are whatever the host's registry says at that boot."""
        try:
            manifest = self.manifest
        except (MissingEvidence, EvidenceError):
            return False
        return bool(manifest.services) and not (
            manifest.includes
            or any(
                service.builds or image_of(manifest, service).kind is not ImageKind.DIGEST
                for service in manifest.services
            )
        )

    @property
    def builds(self) -> tuple[bytes, ...]:
        """What a list of allowed builds may call it: a KMS asks for itself with all its registers
        (kms/src/main_service.rs, build_boot_info without the boot-time form)."""
        return mr_aggregated_forms(self.case.quote)

    @cached_property
    def signed(self) -> bool:
        """Whether the CA key signed its certificate, as the KMS signs its own."""
        return self.chain is not None and signed_by(self.chain.certificates[0], self.ca_pubkey)

    @cached_property
    def problems(self) -> tuple[str, ...]:
        """What is wrong with a certificate that the CA key signed."""
        return () if self.chain is None else tuple(_problems(self.case, self.chain))

    @property
    def holds(self) -> bool:
        """Whether the KMS's own CA key says that this genuine TD is the KMS's."""
        return self.signed and not self.problems and self.genuine

    @cached_property
    def peer(self) -> str:
        """What the bundle calls the server of its TLS sessions, "" without a certificate."""
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415

        if self.chain is None:
            return ""
        return hashlib.sha256(self.chain.certificates[0].public_bytes(Encoding.DER)).hexdigest()

    @property
    def in_use(self) -> bool:
        """Whether a TLS session of this audit's own collection ended at its key."""
        bundle = self.case.evidence.bundle
        return self.case.question.trusted and any(
            item.peer == self.peer
            for item in bundle.of(Kind.KMS_META) + bundle.of(Kind.KMS_ENV_KEY)
        )


def kms_guests(case: Case) -> tuple[KmsGuest, ...]:
    """The TDs of KMSs in the evidence: each that shows a certificate of its own, else each quote
    that says nothing of whose it is; the same for all guests that name one KMS. Raises what reading
    the app's own identity raises."""
    ca_pubkey = case.identity.provider_id
    key = (kms_guests, ca_pubkey, case.question.at, case.question.trusted)
    return case.exchanges.once(key, lambda: _guests(case, ca_pubkey))


def _guests(case: Case, ca_pubkey: bytes) -> tuple[KmsGuest, ...]:
    bundle = case.evidence.bundle
    subjects = [read_subject(bundle, name) for name in bundle.key_holders]
    manifests = [item for subject in subjects for item in subject.manifests]
    found: dict[tuple[bytes, str], list[KmsGuest]] = {}
    for subject in subjects:
        subject.manifests = manifests
        for source in _chosen(subject.quotes):
            name = subject.name.removeprefix(KEY_HOLDER)
            guest = KmsGuest(name, case.for_attester(subject, source), ca_pubkey)
            # Anybody can put the quote of another into a certificate: one is told by both.
            found.setdefault((source.quote, guest.peer), []).append(guest)
    shown = {quote for quote, peer in found if peer}
    return tuple(_best_logged(found[key]) for key in sorted(found) if key[1] or key[0] not in shown)


def _chosen(sources: list[PresentedQuote]) -> list[PresentedQuote]:
    """All quotes of the best channel, which is a KMS's own certificates: a false one beside a
    genuine one hides nothing that is said against that."""
    return [item for item in sources if item.channel == sources[0].channel]


def _best_logged(guests: list[KmsGuest]) -> KmsGuest:
    """Of one TD that was shown several times, that with the log which fits its quote best."""
    return min(guests, key=lambda guest: guest.case.misfits) if guests[1:] else guests[0]


def signed_by(certificate: "Certificate", key: bytes) -> bool:
    """Whether a key (DER SubjectPublicKeyInfo) signed a certificate; False for a key or a signature
    of another kind than KMSs have (ECDSA)."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ec import (  # noqa: PLC0415
        ECDSA,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        public_key = load_der_public_key(key)
        algorithm = certificate.signature_hash_algorithm
        if not isinstance(public_key, EllipticCurvePublicKey) or algorithm is None:
            return False
        if algorithm.name not in _HASHES:
            return False
        public_key.verify(
            certificate.signature, certificate.tbs_certificate_bytes, ECDSA(algorithm)
        )
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _problems(case: Case, chain: RaTlsChain) -> list[str]:
    """What keeps a certificate from being one that a KMS issues to itself: its CA issues others to
    the apps' own CAs, which apps then have for keys of theirs."""
    from cryptography import x509  # noqa: PLC0415 - only where a certificate is

    leaf, at = chain.certificates[0], case.question.at
    problems = []
    try:
        if leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            problems.append("it has CA rights")
    except x509.ExtensionNotFound:
        pass
    if chain.leaf.get(EXT_USAGE) != KMS_USAGE:
        problems.append(f"it is not for the use {KMS_USAGE.decode('ascii')}")
    if EXT_APP_ID in chain.leaf:
        problems.append("it is an app's")
    if not leaf.not_valid_before_utc.timestamp() <= at <= leaf.not_valid_after_utc.timestamp():
        problems.append(f"it is not in force at {format_time(at)}")
    carried = parse_quote(case.presented.quote, "TD quote (certificate of the KMS)")
    if carried.report_data != leaf_report_data(spki(leaf)):
        problems.append("the quote that it carries was made for another key")
    return problems


def allowance_calls(case: Case) -> tuple[str, ...]:
    """What is asked of the KMS's contract about these TDs, as calldata: whether it allows their
    builds, their devices and their OS images."""
    found: dict[str, None] = {}
    for guest in tried_guests(case):
        with suppress(MissingEvidence, Blocked, EvidenceError):
            for getter, words in allowances(guest).values():
                found.update(dict.fromkeys(getter + contracts.word(word) for word in words))
    return tuple(found)


def allowances(guest: KmsGuest) -> dict[str, tuple[str, tuple[bytes, ...]]]:
    """What a contract has to allow of a KMS's TD: the getter of each list, and the names that it
    may have there. Raises MissingEvidence, Blocked, EvidenceError."""
    row = guest.case.os_image
    image = bytes.fromhex(row.os_image_hash) if row is not None else b""
    return {
        "build": (contracts.ALLOWED_KMS_BUILDS, guest.builds),
        "OS image": (contracts.ALLOWED_OS_IMAGES, (image,) if image else ()),
        "device": (KMS_DEVICE_IDS, guest.case.device_ids),
    }


def tried_guests(case: Case) -> tuple[KmsGuest, ...]:
    """What `kms_guests` gives, () where the app's own evidence does not say whom it names."""
    try:
        return kms_guests(case)
    except (MissingEvidence, Blocked, EvidenceError):
        return ()
