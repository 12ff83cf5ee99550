"""Intel root → PCK → QE → TD quote: whether this is a genuine TD, and the state of its TCB."""

from typing import Final

from verifier.checks.case import Case
from verifier.checks.engine import Outcome, check, failed, passed, warned
from verifier.errors import Blocked, EvidenceError
from verifier.evidence.td.quote import DEBUG_BIT, SEPT_VE_DISABLE_BIT
from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue

_KNOWN_XFAM: Final = frozenset({0x602E7, 0x618E7, 0x207})
"""XFAM of verified quotes, as a little-endian number (Intel TDX module specification; bits as in
XCR0 and IA32_XSS): x87, SSE and AVX (0-2), with PKRU (9); and in two of them AVX-512 (5-7) and AMX
(17, 18), in one of these with CET (11, 12) in the place of PKRU."""

_OUT_OF_DATE: Final = frozenset({"OutOfDate", "OutOfDateConfigurationNeeded"})
_DAY: Final = 86_400
_KNOWN_ATTRIBUTES: Final = SEPT_VE_DISABLE_BIT | 1 << 30 | 1 << 31  # the last two: PKS, KL


@check("hardware.quote", "The TD quote verifies to the Intel root")
def quote(case: Case) -> Outcome:
    """The signature chain from Intel's root certificate over the PCK certificate and the quoting
    enclave to the TD quote holds, at the time of judgement and with collateral in force then:
    nothing on it is revoked by any list in the evidence, the platform has a TCB level, and TCB info
    and QE identity are signed by Intel's TCB signing certificate itself. Of several pieces of
    collateral the newest one that verifies counts, and one that does not is set aside; a quote that
    nothing in the evidence endorses at that time is not wrong, its endorsement is missing. The
    quote must be exactly one quote: anything but zero padding after it is refused. Where a second
    opinion is asked for, another verifier judges the quote by the same collateral, and what the two
    say otherwise is an error that names both."""
    evidence = (case.presented.evidence,)
    try:
        parsed = case.quote
    except EvidenceError as error:
        return failed("the quote is malformed", reason=error.message, evidence=evidence)
    references = (*evidence, *case.collateral.evidence)
    if case.dcap.failure:
        return failed(
            f"the quote does not verify: {case.dcap.failure}",
            expected="a signature chain to the Intel root, in force at "
            + format_time(case.question.at),
            actual=case.dcap.failure,
            reason=case.dcap.failure,
            evidence=references,
            remediation="do not trust this quote",
        )
    return passed(
        f"TD quote v{parsed.version} from the {case.presented.channel} verifies to the root, "
        f"platform FMSPC {case.dcap.fmspc.hex().upper()}",
        reason="; ".join(f"set aside: {text}" for text in case.collateral.set_aside),
        evidence=references,
    )


@check("hardware.td", "The TD is a production TD with known attributes")
def td(case: Case) -> Outcome:
    """Debug is off, SEPT_VE_DISABLE is on, no attribute bit outside the known set is on, the TDX
    module is Intel's (its signer measurement is zero and its attributes are clear), and no service
    TD can reach in. A module that the reference values do not know by its measurement (MRSEAM),
    and extended features (XFAM) that no known guest has, are a warning: Intel signed the one, and
    the other is the host's choice. So is a report with the extension for service TDs, which no
    known guest has. The fields are read from the quote's body before its signature
    is judged, so that a debug TD is named as one."""
    body = case.quote
    attributes = body.td_attributes
    problems = [
        text
        for text, bad in (
            ("debug is on: the host can read the TD's memory", attributes & DEBUG_BIT),
            ("SEPT_VE_DISABLE is off", not attributes & SEPT_VE_DISABLE_BIT),
            (
                f"unknown attribute bits {attributes & ~(_KNOWN_ATTRIBUTES | DEBUG_BIT):#x}",
                attributes & ~(_KNOWN_ATTRIBUTES | DEBUG_BIT),
            ),
            ("the TDX module has a signer other than Intel", any(body.mr_signer_seam)),
            ("the TDX module has attributes", any(body.seam_attributes)),
            ("a service TD is bound", any(body.service_tds)),
        )
        if bad
    ]
    details = f"{attributes:#018x}"
    if problems:
        return failed(
            "; ".join(problems),
            expected=f"{SEPT_VE_DISABLE_BIT:#018x}, signer zero, no service TD",
            actual=details,
            evidence=(case.presented.evidence,),
            remediation="do not trust this TD with data",
        )
    doubts = _td_doubts(case)
    if doubts:
        return warned(
            f"debug off, attributes {details}; {'; '.join(doubts)}",
            expected={
                "mr_seam": [row.mr_seam for row in case.reference.tdx_modules],
                "xfam": [value.to_bytes(8, "little").hex() for value in sorted(_KNOWN_XFAM)],
            },
            evidence=(case.presented.evidence,),
            remediation="compare the TDX module with Intel's releases",
        )
    return passed(f"debug off, attributes {details}", evidence=(case.presented.evidence,))


def _td_doubts(case: Case) -> list[str]:
    """What of a TD nobody is known to have, in words."""
    body = case.quote
    return [
        text
        for text, bad in (
            (
                f"the TDX module is not a known one: MRSEAM {body.mr_seam.hex()}",
                body.mr_seam.hex() not in {row.mr_seam for row in case.reference.tdx_modules},
            ),
            (
                f"no known guest has the extended features {body.xfam.hex()}",
                int.from_bytes(body.xfam, "little") not in _KNOWN_XFAM,
            ),
            (
                "the report has the extension for service TDs, which no known guest has",
                body.extension,
            ),
        )
        if bad
    ]


def _refused_statuses(case: Case) -> tuple[list[str], list[str]]:
    """What the policy does not accept of the statuses of platform and parts, in words: what is out
    of date and within its days of grace, and the rest."""
    verified, demands = case.verified, case.demands
    dates = dict(verified.level_dates)
    # The merged status is the worst of several levels: none of them is dated earlier than this.
    dates[""] = min(dates.values(), default=0)
    graced: list[str] = []
    refused: list[str] = []
    for part, status in (("", verified.tcb_status), *verified.component_statuses):
        if status in demands.tcb_statuses:
            continue
        words, date = f"{part}: {status}" if part else f"TCB status {status}", dates.get(part)
        if status not in _OUT_OF_DATE or not date:
            refused.append(words)
            continue
        words += f" (level of {format_time(date)[:10]})"
        ends = date + demands.tcb_grace * _DAY
        (graced if case.question.at < ends else refused).append(words)
    return graced, refused


@check("hardware.tcb", "The platform's TCB is acceptable")
def tcb(case: Case) -> Outcome:
    """The platform's TCB status, its quoting enclave's, and the current one of a TD that was
    launched under another, are among those that the policy accepts, none of its security advisories
    is rejected, and the collateral is of a TCB evaluation at least as new as the one in force at
    the time of judgement: the same quote can be UpToDate under an old evaluation and OutOfDate
    under the current one, so a kinder, older set is refused. What is out of date is named with the
    date of the TCB level that it matches; where the policy gives it days of grace from that date,
    it is a warning until they are over."""
    demands = case.demands
    if case.dcap.failure:
        if case.dcap.revoked:
            return failed("the platform's TCB is revoked", actual="Revoked")
        raise Blocked("hardware.quote")
    verified = case.verified
    components = dict(verified.component_statuses)
    actual: JsonValue = {
        "status": verified.tcb_status,
        "components": {**components},
        "advisories": list(verified.advisory_ids),
        "evaluation_number": verified.evaluation_number,
    }
    minimum, dated = _minimum_evaluation(case)
    rejected = sorted(set(verified.advisory_ids) & set(demands.reject_advisories))
    stale, problems = _refused_statuses(case)
    if rejected:
        problems.append(f"rejected advisories {', '.join(rejected)}")
    if verified.evaluation_number < minimum:
        problems.append(f"TCB evaluation {verified.evaluation_number}, below {minimum}")
    expected: JsonValue = {
        "status": list(demands.tcb_statuses),
        "evaluation_number": minimum,
    }
    if problems:
        return failed(
            "; ".join(problems),
            expected=expected,
            actual=actual,
            evidence=case.collateral.evidence,
            remediation="the operator has to update the platform's firmware, or the collateral "
            "has to be collected again",
        )
    summary = f"{verified.tcb_status}, TCB evaluation {verified.evaluation_number}"
    if stale:
        return warned(
            f"{'; '.join(stale)}; the policy gives {demands.tcb_grace} days of grace",
            expected=expected,
            actual=actual,
            evidence=case.collateral.evidence,
            remediation="the operator has to update the platform's firmware before they are over",
        )
    if not dated:
        return warned(
            f"{summary}; no reference says which evaluation was in force then",
            expected=expected,
            actual=actual,
        )
    return passed(summary, expected=expected, actual=actual, evidence=case.collateral.evidence)


def _minimum_evaluation(case: Case) -> tuple[int, bool]:
    """The least acceptable evaluation number, and whether a reference dates it."""
    rows = [
        row.number for row in case.reference.tcb_evaluations if row.valid_from <= case.question.at
    ]
    return max([case.demands.minimum_evaluation_number, *rows]), bool(rows)


GENUINE: Final = (quote, td)
"""What makes a guest a genuine TD, whatever the state of its platform."""

CHECKS: Final = (*GENUINE, tcb)
