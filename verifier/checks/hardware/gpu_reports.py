"""What the reports of GPUs prove, with NVIDIA's manifests and the verdicts of its service."""

from contextlib import suppress
from typing import Final

from msgspec import Struct

from verifier.checks.boot.machine import measured_shape
from verifier.checks.case import Case
from verifier.checks.engine import Outcome, failed, passed, warned
from verifier.checks.hardware import nvidia
from verifier.checks.hardware.gpu import ATTACHED, COMPLETE, without_evidence
from verifier.errors import EvidenceError
from verifier.evidence.bundle import Kind
from verifier.evidence.certificates import spki_digest
from verifier.evidence.gpu.nras import NrasAnswer
from verifier.evidence.gpu.payload import GpuEvidence
from verifier.evidence.gpu.report import GpuReport
from verifier.evidence.gpu.rim import Rim
from verifier.evidence.td.quote import parse_quote
from verifier.model.identifiers import format_time
from verifier.model.result import EvidenceRef, JsonValue, SkipKind

_HALF: Final = 32
_SKEW: Final = 300
"""Seconds that the clock of NVIDIA's service may be ahead."""

_SWITCHED: Final = 8
_SWITCHES: Final = 4
"""An HGX board has eight GPUs and four NVSwitches, which take ports of the same kind."""


class _Findings(Struct):
    """What is wrong, and what is in doubt. `reports` are those of each GPU, `committed` the nonces
    of them that the judged quote carries, `verdicts` those of NVIDIA's service that are genuine, in
    force, and of success."""

    problems: list[str] = []
    doubts: list[str] = []
    evidence: list[EvidenceRef] = []
    reports: dict[str, list[GpuEvidence]] = {}
    committed: set[bytes] = set()
    verdicts: list[NrasAnswer] = []

    @property
    def seen(self) -> list[list[GpuEvidence]]:
        """Each GPU by its reports over a committed nonce: what it said at another time is not what
        it is beside this quote. All of them where there are none such."""
        return [
            [entry for entry in given if entry.report.nonce in self.committed] or given
            for given in self.reports.values()
        ]


def judge(case: Case) -> Outcome:
    """What the evidence about GPUs proves; there is some. Raises MissingEvidence and Blocked."""
    found = _Findings()
    _reports(case, found)
    _verdicts(case, found)
    if not (found.problems or found.reports or found.verdicts):
        return _set_aside(case, found)
    if not found.problems:
        _compare(case, found)
    if found.problems:
        return failed(
            "; ".join(found.problems[:4]),
            expected="reports, and verdicts on them, by which every GPU is genuine",
            actual=_actual(found, attached=False, complete=False),
            evidence=tuple(found.evidence),
            remediation="do not trust these GPUs with data",
        )
    case.verified  # noqa: B018 - raises unless the quote is genuine
    attached = _attached(case, found)
    actual = _actual(found, attached=attached, complete=_count(case, found))
    if found.doubts:
        return warned(
            f"{_words(found)}; {'; '.join(found.doubts[:4])}",
            actual=actual,
            evidence=(case.presented.evidence, *found.evidence),
            remediation=""
            if attached
            else "ask the guest over a nonce of your own, import the "
            "answer, and audit it with --challenge NONCE",
        )
    return passed(
        f"{_words(found)}, over the nonce of the quote",
        actual=actual,
        reason="that they are attached to this TD rests on its measured code, which asked them",
        evidence=(case.presented.evidence, *found.evidence),
    )


def _set_aside(case: Case, found: _Findings) -> Outcome:
    """The outcome where none of the evidence counts: as without any, but that it is named. Raises
    MissingEvidence."""
    outcome = without_evidence(case)
    if outcome.skip_kind is not SkipKind.NOT_APPLICABLE:
        return outcome
    return warned("; ".join(found.doubts[:4]), evidence=tuple(found.evidence))


def _reports(case: Case, found: _Findings) -> None:
    anchors = case.reference.anchors_of(nvidia.DEVICE)
    for item in case.evidence.gpus:
        found.evidence.append(item.artifact.ref)
        nonces = {entry.report.nonce for entry in item.value.gpus}
        if len(nonces | ({item.value.nonce} - {b""})) > 1:
            found.problems.append("the reports answer another nonce than the one that is named")
        if len({_key(entry) for entry in item.value.gpus}) < len(item.value.gpus):
            found.problems.append("one GPU stands there twice")
        for place, entry in enumerate(item.value.gpus):
            failure = nvidia.report_failure(entry, anchors, case.question.at)
            if failure:
                found.problems.append(f"GPU {place}: {failure}")
            found.reports.setdefault(_key(entry), []).append(entry)


def _key(entry: GpuEvidence) -> str:
    """Which GPU it is, whatever it answers: the digest of the key of its device, which is for life
    and certifies an attestation key for each firmware. A chain without one fails."""
    return spki_digest(entry.chain[min(1, len(entry.chain) - 1)])


def _verdicts(case: Case, found: _Findings) -> None:
    keys = [item.value for item in case.evidence.gpu_verdict_keys]
    anchors = case.reference.anchors_of(nvidia.NRAS)
    for item in case.evidence.gpu_verdicts:
        found.evidence.append(item.artifact.ref)
        overall = item.value.overall
        unsigned = nvidia.token_failure(overall, keys, anchors)
        if unsigned:
            found.doubts.append(f"a verdict that NVIDIA's service did not sign: {unsigned}")
            continue
        negative = nvidia.negative_verdict(item.value)
        if negative:
            found.problems.append(f"the verdict of NVIDIA's service: {negative}")
        elif not overall.issued - _SKEW <= case.question.at <= overall.expires:
            found.doubts.append(
                f"the verdict of NVIDIA's service was in force until {format_time(overall.expires)}"
            )
        elif nvidia.incomplete_verdict(item.value):
            found.doubts.append("tokens are not those that the verdict of NVIDIA's service names")
        else:
            found.verdicts.append(item.value)
    found.doubts.extend(
        f"set aside: {error.message}"
        for item, error in case.evidence.malformed
        if item.kind in (Kind.GPU_VERDICT, Kind.GPU_VERDICT_KEYS, Kind.GPU_RIM)
    )
    if found.verdicts and not found.reports:
        found.doubts.append("NVIDIA's service alone speaks of these GPUs: no report was given")


def _compare(case: Case, found: _Findings) -> None:
    """Driver and VBIOS of each GPU: a manifest of that version, or a verdict, says what they are
    measured as."""
    anchors = case.reference.anchors_of(nvidia.RIM)
    rims: list[Rim] = []
    for item in case.evidence.gpu_rims:
        found.evidence.append(item.artifact.ref)
        failure = nvidia.rim_failure(item.value, anchors, case.question.at)
        if failure:
            found.doubts.append(
                f"a manifest of {item.value.version[:24]!a} is set aside: {failure}"
            )
        else:
            rims.append(item.value)
    unknown = 0
    for given in found.reports.values():
        known = [
            all(_compared(found, entry.report, rims))
            or any(nvidia.vouches(verdict, entry) for verdict in found.verdicts)
            for entry in given
        ]
        unknown += not all(known)
    if unknown:
        found.doubts.append(f"driver and firmware not compared ({unknown} of {len(found.reports)})")


def _compared(found: _Findings, report: GpuReport, rims: list[Rim]) -> tuple[bool, ...]:
    """Whether there is a manifest of the driver's version, and of the VBIOS's; a report that is as
    none of them says is a problem. One version has a manifest for each chip, or for each board."""
    compared = []
    for what, version in (("driver", report.driver), ("VBIOS", report.vbios)):
        named = [rim for rim in rims if version and rim.version == version.lower()]
        differing = [nvidia.differing(report, rim) for rim in named]
        if named and all(differing):
            found.problems.append(f"measurement {differing[0][0]} is not that of {what} {version}")
        compared.append(bool(named))
    return tuple(compared)


def _attached(case: Case, found: _Findings) -> bool:
    """Whether the judged quote commits to a nonce that every GPU answered."""
    verdicts = [] if found.reports else [item.overall.nonce for item in found.verdicts]
    answered = [{entry.report.nonce for entry in given} for given in found.reports.values()]
    answered += [{nonce} for nonce in verdicts]
    nonces = set[bytes]().union(*answered)
    others = {nonce for nonce in nonces if not _commits(case.quote.report_data, nonce, case)}
    found.committed |= nonces - others
    silent = sum(not given - others for given in answered)
    if not silent:
        if others:
            found.doubts.append("some reports answer another nonce than the quote's")
        return bool(answered)
    elsewhere = next(filter(None, (_other_quote(case, nonce) for nonce in sorted(others))), "")
    found.doubts.append(
        f"the judged quote does not commit to the nonce of {silent}: nothing ties them to this TD"
        + (f"; the {elsewhere} does" if elsewhere else "")
    )
    return False


def _commits(report_data: bytes, nonce: bytes, case: Case | None = None) -> bool:
    """Whether report data carries a nonce as one of its halves, or by a convention that the relying
    party named for the judged quote. Zeros are no nonce: they pad what is shorter."""
    bound = case.bound if case is not None else None
    halves = (report_data[:_HALF], report_data[_HALF:])
    return any(nonce) and (nonce in halves or bool(bound and bound.answers(nonce)))


def _other_quote(case: Case, nonce: bytes) -> str:
    """Which other quote in the evidence carries a nonce, in words."""
    for source in case.evidence.quotes:
        with suppress(EvidenceError):
            if _commits(parse_quote(source.quote, source.channel).report_data, nonce):
                return f"quote from the {source.channel} (--challenge {nonce.hex()} judges it)"
    return ""


def _count(case: Case, found: _Findings) -> bool:
    """Whether every port of the measured machine is accounted for."""
    shape, given = measured_shape(case), len(found.reports)
    if shape is None:
        found.doubts.append("how many GPUs the machine has is not known")
        return False
    if not shape.ports:
        found.doubts.append("the measured machine has no port for a GPU")
        return False
    if shape.ports != given and (shape.ports, given) != (_SWITCHED + _SWITCHES, _SWITCHED):
        found.doubts.append(f"the measured machine has {shape.ports} ports for GPUs")
        return False
    return True


def _actual(found: _Findings, *, attached: bool, complete: bool) -> JsonValue:
    rows = sorted(_row(given) for given in found.seen)
    gpus: list[JsonValue] = [dict(row) for row in rows]
    return {ATTACHED: attached, COMPLETE: complete, "gpus": gpus}


def _row(given: list[GpuEvidence]) -> list[tuple[str, str]]:
    """What one GPU says that it is: all of it where its reports differ, in no order of theirs."""
    values = {
        "architecture": {nvidia.architecture_of(entry) for entry in given},
        "serial": {nvidia.serial_of(entry) for entry in given},
        "driver": {entry.report.driver for entry in given},
        "vbios": {entry.report.vbios for entry in given},
    }
    return [(name, ", ".join(sorted(found - {""}))) for name, found in values.items()]


def _words(found: _Findings) -> str:
    """How many GPUs of which kind, and with which driver."""
    entries = [entry for given in found.seen for entry in given]
    kinds = sorted({nvidia.architecture_of(entry) or "GPU" for entry in entries})
    drivers = sorted({entry.report.driver for entry in entries} - {""})
    count = len(found.reports)
    if not count:
        return "no GPU report"
    driver = f", driver {', '.join(drivers[:3])}" if drivers else ""
    return f"{count} genuine {'/'.join(kinds[:3])}{driver}"
