"""The evidence about one attester, parsed from a bundle and grouped; nothing is verified.

Artifacts that do not parse are set aside with their error: a malformed page must not hide a
genuine quote, and must not vanish either.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.certificates import parse_pem_chain
from verifier.evidence.codec import parse_json
from verifier.evidence.gpu.nras import NrasAnswer, NrasKeys, parse_answer, parse_keys
from verifier.evidence.gpu.payload import GpuPayload, parse_payload
from verifier.evidence.gpu.rim import Rim, parse_rim
from verifier.evidence.guest.cloud import parse_cloud_attestations, parse_kms_account
from verifier.evidence.guest.kms_answers import (
    EnvKey,
    SignatureChain,
    parse_env_key,
    parse_signature_chain,
)
from verifier.evidence.guest.page import Page, parse_page
from verifier.evidence.guest.proof import Proof, parse_proof
from verifier.evidence.guest.tcb_info import (
    Info,
    TcbInfo,
    parse_info,
    parse_quote_answer,
    parse_tcb_info,
)
from verifier.evidence.platforms.envelope import (
    PlatformAttestation,
    other_platform,
    parse_platform,
)
from verifier.evidence.platforms.place import PlaceStatement, parse_place
from verifier.evidence.td import event_log as log_format
from verifier.evidence.td.attestation import TDX, parse_attestation
from verifier.evidence.td.event_log import Event, parse_event_log
from verifier.evidence.td.log_fit import UNFIT, replay_log
from verifier.evidence.td.quote import parse_quote
from verifier.evidence.td.ra_tls import (
    EXT_ATTESTATION,
    EXT_EVENT_LOG,
    EXT_QUOTE,
    RaTlsChain,
    leaf_report_data,
    parse_chain,
    spki,
)
from verifier.model.identifiers import KEY_HOLDER
from verifier.model.result import EvidenceRef, JsonValue

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

T = TypeVar("T")
_Log = tuple[JsonValue | bytes, EvidenceRef]

CHANNEL_ENDPOINT: Final = "certificate of the endpoint"
CHANNEL_KMS: Final = "certificate of the KMS"
CHANNEL_BOOTSTRAP: Final = "record of how the KMS made its keys"
CHANNEL_APP_CERT: Final = "app certificate"
CHANNEL_APP_KEY: Final = "GetAttestationForAppKey"
CHANNEL_GET_QUOTE: Final = "GetQuote"
CHANNEL_BLOB: Final = "attestation blob"
CHANNEL_QUOTE: Final = "quote"
CHANNEL_CLOUD: Final = "cloud API"
CHANNELS: Final = (
    CHANNEL_KMS,
    CHANNEL_BOOTSTRAP,
    CHANNEL_APP_CERT,
    CHANNEL_APP_KEY,
    CHANNEL_GET_QUOTE,
    CHANNEL_BLOB,
    CHANNEL_QUOTE,
    CHANNEL_CLOUD,
    CHANNEL_ENDPOINT,
)


class Located(Struct, Generic[T], frozen=True):
    """A parsed value and the artifact that it was parsed from."""

    value: T
    artifact: Artifact


class PresentedQuote(Struct, frozen=True, kw_only=True, dict=True):
    """A quote and what came with it.

    channel            by which way it came, one of `CHANNEL_…`
    quote              its bytes
    evidence           where in the bundle it stands
    log                the event log, as JSON or the text of it; None when absent
    log_evidence       where in the bundle the event log stands; None when absent
    parsed_events      the event log of a channel whose log is not JSON, in place of `log`; None for
                       others
    certificate_chain  the RA-TLS certificates that it stood in; None when it stood elsewhere
    vm_config          the machine that the guest states, JSON text; "" when absent
    peer               the key of the TLS session that it came by, as its collector says (sha256,
                       hex); "" where nobody noted it
    exporter           what both ends of that session alone compute, as its collector says (hex); ""
                       where nobody noted it
    platform           the platform of the blob that it came in; `tdx` without one
    """

    channel: str
    quote: bytes
    evidence: EvidenceRef
    log: JsonValue | bytes = None
    log_evidence: EvidenceRef | None = None
    parsed_events: tuple[Event, ...] | None = None
    certificate_chain: RaTlsChain | None = None
    vm_config: str = ""
    peer: str = ""
    exporter: str = ""
    platform: str = TDX

    @property
    def has_log(self) -> bool:
        """Whether any event log came with the quote."""
        return self.parsed_events is not None or self.log is not None

    def events(self) -> tuple[Event, ...]:
        """The event log. Raises EvidenceError when it is malformed."""
        return self._events

    @cached_property
    def _events(self) -> tuple[Event, ...]:
        if self.parsed_events is not None:
            return self.parsed_events
        return parse_event_log(self.log, f"event log ({self.channel})")


class SubjectEvidence(Struct):
    """Everything in a bundle about one attester, with what all attesters share.

    Each list is empty where the bundle has nothing of the kind.

    name              the attester's name
    bundle            the bundle that it comes from
    pages             the metadata pages
    infos             the answers of `Info`
    tcb_infos         the `tcb_info` documents, alone or inside of pages and answers
    manifests         the app-compose texts, as they were received
    quotes            the quotes, by channel
    env_keys          the env-encrypt keys that the KMS signs
    key_chains        the signature chains of keys that the KMS derived
    proofs            the attestation proofs that the app published
    peers             the certificates that the TLS server of the address in question sent
    gpus              the reports of GPUs
    gpu_verdicts      the verdicts of NVIDIA's service on them
    gpu_verdict_keys  the keys that sign these verdicts
    gpu_rims          NVIDIA's manifests of drivers and VBIOSes
    platforms         the attestations of guests on other platforms than TDX
    platform_certs    the certificates of such platforms, leaf first
    places            the signed statements about where the machine stands
    malformed         the artifacts that do not parse, and why
    """

    name: str
    bundle: Bundle
    pages: list[Located[Page]] = []
    infos: list[Located[Info]] = []
    tcb_infos: list[Located[TcbInfo]] = []
    manifests: list[Located[bytes]] = []
    quotes: list[PresentedQuote] = []
    env_keys: list[Located[EnvKey]] = []
    key_chains: list[Located[SignatureChain]] = []
    proofs: list[Located[Proof]] = []
    peers: list[Located[RaTlsChain]] = []
    gpus: list[Located[GpuPayload]] = []
    gpu_verdicts: list[Located[NrasAnswer]] = []
    gpu_verdict_keys: list[Located[NrasKeys]] = []
    gpu_rims: list[Located[Rim]] = []
    platforms: list[Located[PlatformAttestation]] = []
    platform_certs: "list[Located[tuple[Certificate, ...]]]" = []
    places: list[Located[PlaceStatement]] = []
    malformed: list[tuple[Artifact, EvidenceError]] = []

    def artifacts(self, kind: Kind) -> list[Artifact]:
        """Received artifacts of a kind: this attester's own first, then those shared by all; by
        content, since a name says nothing of what comes first. What is shared is about the app: a
        KMS's TD has only its own."""
        names = (self.name,) if self.name.startswith(KEY_HOLDER) else (self.name, "")
        found = [item for item in self.bundle.of(kind) if item.subject in names]
        found.sort(key=lambda item: (item.subject == "", item.sha256 or ""))
        if kind not in (Kind.INFO, Kind.TLS_PEER):
            return found
        # A guest that is asked many times says the same; what a handshake shows is of an address.
        by_place = kind is Kind.TLS_PEER
        told = {(item.sha256, item.source if by_place else ""): item for item in reversed(found)}
        return list(told.values())[::-1]

    def quotes_met_at(self, source: str) -> list[PresentedQuote]:
        """The quotes in the certificates that recorded handshakes with an address showed, of those
        that were made for the certificate's key."""
        met = {item.artifact.ref for item in self.peers if item.artifact.source == source}
        return [x for x in self.quotes if x.channel == CHANNEL_ENDPOINT and x.evidence in met]

    def parsed(self, kind: Kind, parse: Callable[[bytes, str], T]) -> list[Located[T]]:
        """Parsed artifacts of a kind; those that do not parse join `malformed`."""
        found: list[Located[T]] = []
        for artifact in self.artifacts(kind):
            try:
                value = self.bundle.read(artifact, parse, _what(artifact))
            except EvidenceError as error:
                self.malformed.append((artifact, error))
            else:
                found.append(Located(value, artifact))
        return found


def read_subject(bundle: Bundle, name: str) -> SubjectEvidence:
    """Parse the evidence about one attester."""
    subject = SubjectEvidence(name, bundle)
    subject.pages = subject.parsed(Kind.PAGE, parse_page)
    subject.infos = subject.parsed(Kind.INFO, parse_info)
    subject.tcb_infos = [
        *subject.parsed(Kind.TCB_INFO, parse_tcb_info_bytes),
        *(Located(i.value.tcb_info, i.artifact) for i in subject.infos if i.value.tcb_info),
        *(Located(p.value.tcb_info, p.artifact) for p in subject.pages if p.value.tcb_info),
    ]
    subject.manifests = subject.parsed(Kind.APP_COMPOSE, _as_it_is)
    stated: list[tuple[str | None, Artifact]] = [
        *((item.value.app_compose, item.artifact) for item in subject.tcb_infos),
        *((item.value.app_compose, item.artifact) for item in subject.infos),
    ]
    subject.manifests.extend(
        Located(text.encode("utf-8"), artifact) for text, artifact in stated if text is not None
    )
    subject.env_keys = subject.parsed(Kind.KMS_ENV_KEY, parse_env_key)
    subject.key_chains = subject.parsed(Kind.SIGNATURE_CHAIN, parse_signature_chain)
    subject.proofs = subject.parsed(Kind.PROOF, parse_proof)
    subject.peers = subject.parsed(Kind.TLS_PEER, parse_peer)
    subject.gpus = subject.parsed(Kind.GPU_EVIDENCE, parse_payload)
    subject.gpu_verdicts = subject.parsed(Kind.GPU_VERDICT, parse_answer)
    subject.gpu_verdict_keys = subject.parsed(Kind.GPU_VERDICT_KEYS, parse_keys)
    subject.gpu_rims = subject.parsed(Kind.GPU_RIM, parse_rim)
    subject.platforms = subject.parsed(Kind.PLATFORM_ATTESTATION, parse_platform)
    subject.platform_certs = subject.parsed(Kind.PLATFORM_CERT, parse_pem_chain)
    subject.places = subject.parsed(Kind.PLACE, parse_place)
    of_kms = name.startswith(KEY_HOLDER)
    for sources in (
        _from_peers,
        _from_kms,
        _from_answers,
        _from_certificates,
        _from_blobs,
        _from_raw,
        _account_of_kms if of_kms else _from_cloud,
    ):
        subject.quotes.extend(sources(subject))
    subject.quotes.sort(key=lambda source: CHANNELS.index(source.channel))
    return subject


def parse_tcb_info_bytes(raw: bytes, what: str) -> TcbInfo:
    """Parse a tcb_info document from bytes. Raises EvidenceError."""
    return parse_tcb_info(parse_json(raw, what), what)


def _as_it_is(raw: bytes, _what: str) -> bytes:
    return raw


def _what(artifact: Artifact) -> str:
    return f"{artifact.kind.value} from {artifact.source}"


def _from_answers(subject: SubjectEvidence) -> list[PresentedQuote]:
    return [
        PresentedQuote(
            channel=channel,
            quote=item.value.quote,
            evidence=item.artifact.at("/quote"),
            log=item.value.event_log,
            log_evidence=item.artifact.at("/event_log"),
            vm_config=item.value.vm_config,
            peer=item.artifact.peer,
            exporter=item.artifact.exporter,
        )
        for kind, channel in (
            (Kind.APP_KEY_QUOTE, CHANNEL_APP_KEY),
            (Kind.GET_QUOTE, CHANNEL_GET_QUOTE),
        )
        for item in subject.parsed(kind, parse_quote_answer)
    ]


def parse_peer(raw: bytes, what: str) -> RaTlsChain:
    """The certificates that a TLS server sent. Raises EvidenceError."""
    return parse_chain(raw.decode("ascii", "replace"), what)


def _from_peers(subject: SubjectEvidence) -> list[PresentedQuote]:
    """The quote in the certificate of an address that users connect to, where it was made for the
    key that they meet. Any other is lent, and about somebody else."""
    found: list[PresentedQuote] = []
    for item in subject.peers:
        try:
            source = certificate_source(item.value, item.artifact.ref)
            own = source is not None and is_of_leaf(source)
        except EvidenceError as error:
            subject.malformed.append((item.artifact, error))
            continue
        if source is not None and own:
            found.append(replace(source, channel=CHANNEL_ENDPOINT))
    return found


def is_of_leaf(source: PresentedQuote) -> bool:
    """Whether the quote in a certificate was made for its key. Raises EvidenceError."""
    if source.certificate_chain is None:
        return False
    carried = parse_quote(source.quote, f"TD quote ({source.channel})")
    return carried.report_data == leaf_report_data(spki(source.certificate_chain.certificates[0]))


def _from_kms(subject: SubjectEvidence) -> list[PresentedQuote]:
    """The quotes in the certificates that a KMS shows to whoever connects to it."""
    found: list[PresentedQuote] = []
    for item in subject.parsed(Kind.KMS_TLS, parse_pem):
        try:
            source = certificate_source(item.value, item.artifact.ref)
        except EvidenceError as error:
            subject.malformed.append((item.artifact, error))
            continue
        if source:
            found.append(replace(source, channel=CHANNEL_KMS))
    return found


def parse_pem(raw: bytes, what: str) -> RaTlsChain:
    """Parse a PEM chain from bytes. Raises EvidenceError."""
    return parse_chain(raw.decode("ascii", "replace"), what)


def _from_certificates(subject: SubjectEvidence) -> list[PresentedQuote]:
    found, readings = list[PresentedQuote](), subject.bundle.readings
    given = [
        *((item.value.app_cert, item.artifact, "/app_cert") for item in subject.infos),
        *((item.value.app_cert, item.artifact, "") for item in subject.pages),
        *(
            (subject.bundle.blob(item).decode("ascii", "replace"), item, "")
            for item in subject.artifacts(Kind.APP_CERT)
        ),
    ]
    for pem, artifact, pointer in given:
        if not pem.strip():
            continue
        try:
            what = f"app certificate in {_what(artifact)}"
            chain = readings.once((parse_chain, pem), partial(parse_chain, pem, what))
            blob = chain.leaf.get(EXT_ATTESTATION, b"")
            if other_platform(blob) is not None:
                attestation = parse_platform(blob, f"attestation in {_what(artifact)}")
                subject.platforms.append(Located(attestation, artifact))
                continue
            source = certificate_source(chain, artifact.at(pointer))
        except EvidenceError as error:
            subject.malformed.append((artifact, error))
            continue
        if source:
            found.append(source)
    return found


def certificate_source(chain: RaTlsChain, evidence: EvidenceRef) -> PresentedQuote | None:
    """The quote that a chain's leaf carries, and its log. Raises EvidenceError."""
    if EXT_QUOTE in chain.leaf:
        raw_log = chain.leaf.get(EXT_EVENT_LOG)
        log = log_format.inflate_event_log(raw_log, "event log extension") if raw_log else None
        return PresentedQuote(
            channel=CHANNEL_APP_CERT,
            quote=chain.leaf[EXT_QUOTE],
            evidence=evidence,
            log=log,
            log_evidence=evidence,
            certificate_chain=chain,
        )
    if EXT_ATTESTATION in chain.leaf:
        blob = parse_attestation(chain.leaf[EXT_ATTESTATION], "attestation extension")
        return PresentedQuote(
            channel=CHANNEL_APP_CERT,
            quote=blob.quote,
            evidence=evidence,
            parsed_events=blob.events,
            log_evidence=evidence,
            certificate_chain=chain,
            vm_config=blob.config,
            platform=blob.platform,
        )
    return None


def _from_blobs(subject: SubjectEvidence) -> list[PresentedQuote]:
    return [
        PresentedQuote(
            channel=CHANNEL_BLOB,
            quote=item.value.quote,
            evidence=item.artifact.ref,
            parsed_events=item.value.events,
            log_evidence=item.artifact.ref,
            vm_config=item.value.config,
            platform=item.value.platform,
        )
        for item in subject.parsed(Kind.ATTESTATION, parse_attestation)
    ]


def _from_raw(subject: SubjectEvidence) -> list[PresentedQuote]:
    """Bare quotes, each with the log that fits it best, of those that came beside it."""
    logs: list[_Log] = [
        (item.value, item.artifact.ref) for item in subject.parsed(Kind.EVENT_LOG, _as_it_is)
    ]
    logs += [
        (item.value.event_log, item.artifact.at("/event_log"))
        for item in subject.tcb_infos
        if item.value.event_log is not None
    ]
    quotes = subject.artifacts(Kind.QUOTE)
    known = [
        replay_log(partial(parse_event_log, log, "event log")) if quotes and logs[1:] else None
        for log, _ in logs
    ]
    found: list[PresentedQuote] = []
    for artifact in quotes:
        quote = subject.bundle.blob(artifact)
        registers = _registers(quote) if logs[1:] else ()
        fit = [item.misfits(registers) if item and registers else UNFIT for item in known]
        log, log_evidence = logs[fit.index(min(fit))] if logs else (None, None)
        found.append(
            PresentedQuote(
                channel=CHANNEL_QUOTE,
                quote=quote,
                evidence=artifact.ref,
                log=log,
                log_evidence=log_evidence,
            )
        )
    return found


def _registers(quote: bytes) -> tuple[bytes, ...]:
    """The RTMRs of a quote; () of a malformed one."""
    with suppress(EvidenceError):
        return parse_quote(quote, "TD quote").rtmrs
    return ()


def _from_cloud(subject: SubjectEvidence) -> list[PresentedQuote]:
    found: list[PresentedQuote] = []
    meant = subject.name.rpartition("/")[2]
    for item in subject.parsed(Kind.CLOUD_ATTESTATIONS, parse_cloud_attestations):
        listed = {instance.instance_id for instance in item.value}
        for index, instance in enumerate(item.value):
            if not instance.quote or (meant in listed and instance.instance_id != meant):
                continue
            pointer = f"/instances/{index}"
            tcb_info = instance.tcb_info
            if tcb_info:
                subject.tcb_infos.append(Located(tcb_info, item.artifact))
                if tcb_info.app_compose is not None:
                    manifest = tcb_info.app_compose.encode("utf-8")
                    subject.manifests.append(Located(manifest, item.artifact))
            found.append(
                PresentedQuote(
                    channel=CHANNEL_CLOUD,
                    quote=instance.quote,
                    evidence=item.artifact.at(f"{pointer}/quote"),
                    log=instance.event_log or (tcb_info.event_log if tcb_info else None),
                    log_evidence=item.artifact.at(pointer),
                )
            )
    return found


def _account_of_kms(subject: SubjectEvidence) -> list[PresentedQuote]:
    """A vendor's account of a KMS's guest holds no quote; but the manifest in it may be the one
    that a quote measured."""
    for item in subject.parsed(Kind.CLOUD_ATTESTATIONS, parse_kms_account):
        if item.value is not None and item.value.app_compose is not None:
            manifest = item.value.app_compose.encode("utf-8")
            subject.manifests.append(Located(manifest, item.artifact))
    return []
