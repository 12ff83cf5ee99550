"""What the checks of one attester share: its evidence, the question, and what follows from both.

Everything here is computed on first use and kept. A property that needs evidence which is not
there raises `MissingEvidence`; one that needs a quote which did not verify raises `Blocked`.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain.view import ChainView
from verifier.checks.dcap import DcapResult, verify_quote
from verifier.checks.demands import Demands
from verifier.checks.hardware.endorsements import Endorsements, choose_endorsements
from verifier.errors import Blocked, EvidenceError, MissingEvidence, VerifierError
from verifier.evidence.bundle import Bundle
from verifier.evidence.chain.contracts import BootInfo
from verifier.evidence.chain.json_rpc import Exchanges
from verifier.evidence.endpoint import Endpoint
from verifier.evidence.plan import ChainPlan
from verifier.evidence.subject import Located, PresentedQuote, SubjectEvidence
from verifier.evidence.td.collateral import read_collateral
from verifier.evidence.td.event_log import Event
from verifier.evidence.td.identity import MeasuredIdentity, measured_identity
from verifier.evidence.td.log_fit import UNFIT, Misfits, replay_log
from verifier.evidence.td.measurements import boot_rtmr3, mr_aggregated, mr_system
from verifier.evidence.td.quote import TdQuote, parse_quote
from verifier.evidence.td.report_data import Binding, session_binding
from verifier.machine.firmware import FirmwareLayout, layout_from_witness
from verifier.model.identifiers import AppId, format_time
from verifier.model.project import ProjectFile
from verifier.model.report import SecondOpinion
from verifier.reference.values import KmsRecord, Origin, OsImage, ReferenceValues

if TYPE_CHECKING:
    from verifier.model.timeline import Sighting

EMPTY_ID = bytes(20)
MAX_CLOCK_SKEW: Final = 120
"""Seconds by which the clocks of others may be ahead of the time of judgement."""

T = TypeVar("T")


class Question(Struct, frozen=True, kw_only=True):
    """What the relying party asks, the same for every attester of an audit.

    app_id          the app that it asks about; None for none
    reference       the reference values
    at              the time of judgement, Unix seconds
    trusted         whether the collector's own observations count
    challenge       report data, or its first or last part, that it chose; b"" for none
    binds           what it says that report data commits to, by a convention of the app's code; ()
                    for nothing
    kms             a KMS that it names itself; None for none
    kms_code        sha256 (hex) of the manifests that it knows to run a KMS; () for none
    instances       the only instance ids (hex) that it means, each of which has to answer; () for
                    any
    endpoint        the address that its users connect to; None where it asks about none
    gateways        base domains of gateways that it knows, besides those of the reference values;
                    () for none
    ct_searches     addresses of searches of certificate logs, which it asks who else got a
                    certificate for that address; () for none
    manifests       manifest hash (hex) → the name of a manifest that it knows
    deploy_paths    manifest hash (hex) → the tool that writes such a manifest, of those that it
                    knows
    sightings       what it saw attested at other times; () for nothing
    second_opinion  whether others have to read the chain's answers, and verify the quotes, too
    compared        (name, bytes) of documents of dashboards that it has, which no check reads; ()
                    for none
    project         the project file that chose some of this; None where none did
    """

    app_id: AppId | None
    reference: ReferenceValues
    at: int
    trusted: bool
    challenge: bytes = b""
    binds: tuple[Binding, ...] = ()
    kms: KmsRecord | None = None
    kms_code: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()
    endpoint: Endpoint | None = None
    gateways: tuple[str, ...] = ()
    ct_searches: tuple[str, ...] = ()
    manifests: Mapping[str, str] = {}
    deploy_paths: Mapping[str, str] = {}
    sightings: "tuple[Sighting, ...]" = ()
    second_opinion: bool = False
    compared: tuple[tuple[str, bytes], ...] = ()
    project: ProjectFile | None = None

    @property
    def chain_plan(self) -> ChainPlan | None:
        """What to read for an app that gives no evidence of its own, under the KMS that the relying
        party names; None where it names none. Nothing in it is measured."""
        if self.kms is None or self.app_id is None:
            return None
        return ChainPlan.of(self.kms, bytes.fromhex(self.app_id))


class Case:
    """The evidence about one attester, the question, and what is demanded of the answer."""

    def __init__(
        self,
        evidence: SubjectEvidence,
        question: Question,
        exchanges: Exchanges,
        demands: Demands | None = None,
        source: PresentedQuote | None = None,
    ) -> None:
        self.evidence = evidence
        self.question = question
        self.exchanges = exchanges
        self.demands = demands or Demands()
        self._given = source
        self._once: dict[object, Any] = {}

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """What `compute` gives, computed once for this case: several checks need it."""
        if key not in self._once:
            self._once[key] = compute()
        found: T = self._once[key]
        return found

    def for_attester(self, evidence: SubjectEvidence, source: PresentedQuote) -> "Case":
        """The case about another TD, by one of its quotes. Of what the relying party asks and
        demands, only what is about any guest counts there; nothing is about this app."""
        question = replace(
            self.question,
            app_id=None,
            kms=None,
            instances=(),
            challenge=b"",
            binds=(),
        )
        return Case(evidence, question, self.exchanges, self.demands.of_guests(), source)

    @property
    def reference(self) -> ReferenceValues:
        """The reference values of the audit."""
        return self.question.reference

    def resting_on(self, source: PresentedQuote) -> "Case":
        """The same case, judged by one of the quotes that came for the attester."""
        return Case(self.evidence, self.question, self.exchanges, self.demands, source)

    @cached_property
    def presented(self) -> PresentedQuote:
        """The quote that the audit rests on. Raises MissingEvidence where none came."""
        if self._given is not None:
            return self._given
        from verifier.checks.presented import choose_quote  # noqa: PLC0415 - it asks cases in turn

        return choose_quote(self)

    @cached_property
    def binds(self) -> tuple[Binding, ...]:
        """What report data may commit to, as the relying party says: what it named, and where it
        asked for a quote over its challenge and the TLS session of the asking, these two."""
        challenge, noted = self.question.challenge, {x.exporter for x in self.evidence.quotes}
        sessions = list[Binding]()
        for exporter in sorted(noted - {""}) if challenge else ():
            with suppress(EvidenceError):
                sessions.append(session_binding(challenge, exporter))
        return (*self.question.binds, *sessions)

    @property
    def bound(self) -> Binding | None:
        """What the relying party named and the judged quote's report data commits to."""
        return self.named_by(self.quote.report_data)

    def named_by(self, report_data: bytes) -> Binding | None:
        """What the relying party named and some report data commits to."""
        return next((item for item in self.binds if item.report_data == report_data), None)

    @property
    def answers_challenge(self) -> bool:
        """Whether the judged quote's report data answers the challenge."""
        return self.is_answer(self.quote.report_data)

    def is_answer(self, report_data: bytes) -> bool:
        """Whether report data carries the challenge, as its first or last bytes or by a convention
        that the relying party named."""
        challenge, bound = self.question.challenge, self.named_by(report_data)
        if not challenge:
            return False
        ends = (report_data[: len(challenge)], report_data[-len(challenge) :])
        return challenge in ends or bool(bound and bound.answers(challenge))

    @cached_property
    def quote(self) -> TdQuote:
        """The parsed quote. Raises EvidenceError when it is malformed."""
        return parse_quote(self.presented.quote, f"TD quote ({self.presented.channel})")

    @property
    def collateral(self) -> Endorsements:
        """The endorsements for the quote's platform, forged ones where there are no others."""
        return self._of_quote("collateral", self._choose_collateral)

    def _of_quote(self, what: str, compute: Callable[[], T]) -> T:
        """What follows from the quote and the evidence that attesters share: computed once for all
        who show the same quote. Raises what `compute` raises."""
        key = (what, self.quote.raw, self.reference.root, self.question.at)
        return self.exchanges.once(key, lambda: _settled(compute))()

    def _choose_collateral(self) -> Endorsements:
        bundle = self.evidence.bundle
        return choose_endorsements(
            self.exchanges.once(read_collateral, lambda: read_collateral(bundle)),
            self.quote.raw,
            self.reference.root,
            self.question.at,
        )

    @property
    def dcap(self) -> DcapResult:
        """The result of DCAP verification, good or bad.

        Raises MissingEvidence when a quote that verifies at another time does so with nothing that
        is in force at the time of judgement, and EvidenceError where a second verifier was asked
        for and disagrees.
        """
        return self._of_quote("dcap", self._verify)

    def _verify(self) -> DcapResult:
        chosen = self.collateral
        if chosen.failure:
            return DcapResult(failure=chosen.failure)
        (start, end), at = chosen.window, self.question.at
        if start > end:
            raise MissingEvidence(
                "the quote's certificates and its collateral were never in force together",
                hint="collect again, so that all of it is of one time",
            )
        inside = start <= at <= end
        moment = at if inside else (start + end) // 2
        quote, members, root = self.quote.raw, chosen.members, self.reference.root
        # Bundles that grow from each other, as a collection goes on, verify a quote once.
        result = self.evidence.bundle.readings.once(
            (verify_quote, quote, frozenset(members.items()), root, moment),
            lambda: verify_quote(quote, members, root, moment),
        )
        if self.question.second_opinion:
            from verifier.checks.agreement import need_agreement  # noqa: PLC0415 - few ask for one

            need_agreement(quote, members, root, moment, result, self.exchanges)
        if inside or result.failure:
            return result
        raise MissingEvidence(
            f"the quote's certificates and its collateral are in force from {format_time(start)} "
            f"to {format_time(end)}, not at {format_time(at)}",
            hint="collect again; or judge recorded evidence as of its own time: --at "
            f"{format_time(end)} at the latest, {format_time(start)} at the earliest",
        )

    @property
    def verified(self) -> DcapResult:
        """The result of DCAP verification of a quote that verified."""
        if self.dcap.failure:
            raise Blocked("hardware.quote")
        return self.dcap

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The event log of the quote."""
        if not self.presented.has_log:
            raise MissingEvidence(
                "no event log came with the quote",
                hint="hand over the event_log or tcb_info of the same guest with the quote",
            )
        return self.presented.events()

    @cached_property
    def misfits(self) -> Misfits:
        """What keeps the event log from being the quote's own."""
        known = replay_log(self.presented.events) if self.presented.has_log else None
        try:
            return known.misfits(self.quote.rtmrs) if known is not None else UNFIT
        except EvidenceError:
            return UNFIT

    @cached_property
    def identity(self) -> MeasuredIdentity:
        """The measured identity. Raises EvidenceError when an identity event is malformed."""
        return measured_identity(self.events)

    @cached_property
    def measured_manifest(self) -> Located[bytes]:
        """The manifest whose sha256 is the measured compose hash."""
        digest = self.identity.compose_hash
        for item in self.evidence.manifests:
            if hashlib.sha256(item.value).digest() == digest:
                return item
        raise MissingEvidence(
            "the measured manifest was not given",
            hint="ask the operator for the exact app-compose.json and import it with the bundle",
        )

    @cached_property
    def os_images(self) -> tuple[OsImage, ...]:
        """The reference rows whose registers the quote has, the best known first."""
        quote = self.quote
        registers = (quote.mr_td.hex(), quote.rtmrs[1].hex(), quote.rtmrs[2].hex())
        rows = [
            row for row in self.reference.os_images if (row.mrtd, row.rtmr1, row.rtmr2) == registers
        ]
        order = list(Origin)
        return tuple(sorted(rows, key=lambda row: (row.kind == "unknown", order.index(row.origin))))

    @property
    def os_image(self) -> OsImage | None:
        """The best known of these rows; None where there is none, or where they are of two
        images."""
        hashes = {row.os_image_hash for row in self.os_images} - {""}
        kinds = {row.kind for row in self.os_images} - {"unknown"}
        alike = len(hashes) <= 1 and len(kinds) <= 1
        return next(iter(self.os_images), None) if alike else None

    @cached_property
    def firmware(self) -> FirmwareLayout | None:
        """What shows in RTMR0 of the firmware that the quote's MRTD is of; None if not known.
        Raises EvidenceError for a row that describes no firmware."""
        row = self.reference.firmware_of(self.quote.mr_td.hex())
        if row is None:
            return None
        return layout_from_witness(bytes.fromhex(row.witness), bytes.fromhex(row.volume))

    @cached_property
    def kms_record(self) -> KmsRecord | None:
        """The record of the KMS that the measured key-provider event names, or None.

        A KMS that the relying party names is taken when its CA key is not known otherwise: its
        contract then has to confirm the key.
        """
        if self.identity.provider != "kms":
            return None
        spki = self.identity.provider_id.hex()
        rows = [row for row in self.reference.kms if spki and row.ca_spki == spki]
        named = self.question.kms
        if named is not None and (not rows or named in rows) and named.ca_spki in ("", spki):
            return named
        return next(iter(rows), None)

    @cached_property
    def device_ids(self) -> tuple[bytes, ...]:
        """The ids that a KMS may know this device by: sha256(PPID) since dstack 0.5.6, before it
        sha256 of the quote header's user data (kms/src/main_service.rs of the releases)."""
        return (
            hashlib.sha256(self.verified.ppid).digest(),
            hashlib.sha256(self.quote.user_data).digest(),
        )

    @cached_property
    def chain_plan(self) -> ChainPlan | None:
        """What to read for this attester; None when its KMS has no public contract.

        Works on unverified evidence too, so that collection knows what to ask; the boot infos need
        a verified quote and an identified OS image, and are left out until both are there.
        """
        record = self.kms_record
        if record is None:
            return None
        return ChainPlan.of(
            record,
            self.identity.app_id,
            compose_hash=self.identity.compose_hash,
            os_image_hash=self._os_image_hash,
            boot_infos=self._boot_infos(),
            mr_kms=self.identity.mr_kms,
        )

    def chain_view(self, plan: ChainPlan) -> ChainView:
        """The contracts at the block that endpoints agree on. Raises MissingEvidence, and
        EvidenceError where a second reader was asked for and disagrees."""
        question = self.question
        opinion = opinion_on(self.evidence.bundle, question, self.exchanges)
        if opinion is not None:
            from verifier.chain.second_opinion import settle  # noqa: PLC0415 - few ask for one

            settle(opinion)
        return ChainView(
            plan, self.exchanges, self.reference, trusted=question.trusted, at=question.at
        )

    def kms_contract(self) -> tuple[KmsRecord, ChainView] | None:
        """The record of this attester's KMS and a view of its chain, new for each reader; None when
        the KMS has no public contract. Raises MissingEvidence."""
        plan, record = self.chain_plan, self.kms_record
        if plan is None or record is None:
            return None
        return record, self.chain_view(plan)

    @property
    def _os_image_hash(self) -> bytes | None:
        """The OS image by its registers; what an event says about it is not asked."""
        row = self.os_image
        return bytes.fromhex(row.os_image_hash) if row is not None and row.os_image_hash else None

    def _boot_infos(self) -> tuple[BootInfo, ...]:
        image, identity = self._os_image_hash, self.identity
        try:
            verified = self.verified
        except (MissingEvidence, Blocked, EvidenceError):
            return ()
        if image is None or identity.compose_hash is None:
            return ()
        return tuple(
            BootInfo(
                app_id=identity.app_id,
                compose_hash=identity.compose_hash,
                instance_id=identity.instance_id or EMPTY_ID,
                device_id=device_id,
                mr_aggregated=mr_aggregated(self.quote, boot_rtmr3(self.events)),
                mr_system=mr_system(self.quote, None),
                os_image_hash=image,
                tcb_status=verified.tcb_status,
                advisory_ids=verified.merged_advisories,
            )
            for device_id in self.device_ids
        )


def opinion_on(bundle: Bundle, question: Question, exchanges: Exchanges) -> SecondOpinion | None:
    """The second opinion on a bundle's exchanges alone, None where the question asks for none."""
    if not question.second_opinion:
        return None
    from verifier.chain.second_opinion import second_opinion  # noqa: PLC0415 - few ask for one

    return exchanges.once(second_opinion, lambda: second_opinion(bundle))


def _settled(compute: Callable[[], T]) -> Callable[[], T]:
    """A function that gives the result of `compute`, or raises its error, at every call."""
    try:
        found = compute()
    except VerifierError as error:
        raised = error

        def fail() -> T:
            raise raised

        return fail
    return lambda: found
