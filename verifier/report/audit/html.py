"""The report as one HTML file: no script, no outside request, readable in print and by ear.

Text of the evidence reaches the page through the template's escaping alone, with control and
bidirectional characters made visible first. The content security policy allows the one style sheet,
by its hash, and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from verifier.model.identifiers import format_time
from verifier.model.report import Beside, Report, SubjectReport
from verifier.model.result import CheckResult
from verifier.report import pending
from verifier.report.audit import (
    answers,
    beside,
    chosen,
    drawing,
    instances,
    publication,
    sentences,
)
from verifier.report.audit.families import FAMILIES, MEANINGS, Mark, by_family, mark
from verifier.report.escape import visible
from verifier.report.limits import LIMITS
from verifier.report.timeline.bars import chart
from verifier.report.words import AUDIT_WORDS, explained

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER: Final = "templates"
_STANDINGS: Final = {
    Beside.PROVEN: "proven",
    Beside.RECOGNISED: "recognised",
    Beside.SAID: "only-said",
    Beside.DIFFERS: "warn",
    Beside.CONTRADICTED: "fail",
}
"""The style of each standing of a dashboard's statement."""


class Row(Struct, frozen=True):
    """One check as the page shows it. `details` are labels and texts, `evidence` blobs (hex) with
    the places in them."""

    check: CheckResult
    mark: Mark
    note: str
    details: tuple[tuple[str, str], ...]
    evidence: tuple[tuple[str, tuple[str, ...]], ...]


def render_html(report: Report) -> str:
    """The report as an HTML document with a newline at the end."""
    sheet = style()
    subject = sentences.worst_subject(report)
    drawn = chart(report.timeline) if report.timeline is not None else None
    page: str = (
        template_environment("verifier.report.audit")
        .get_template("audit.html")
        .render(
            report=report,
            subject=subject,
            style=sheet,
            policy=_policy(sheet),
            sentences=sentences,
            chosen=chosen,
            beside=beside,
            instances=instances,
            links=publication.links(subject),
            points=publication.checklist(report, subject),
            standings=_STANDINGS,
            time=format_time,
            statements=answers.statements(subject),
            subjects=[(item, _rows(item), _claims(report, item)) for item in report.subjects],
            chain=drawing.chain_of_trust(subject.checks),
            ahead=pending.about_to_change(report.pending, report.outlook),
            history=drawing.history(drawn) if drawn is not None else None,
            findings=sentences.grouped(report.findings),
            families=FAMILIES,
            meanings=[(item, MEANINGS[item]) for item in Mark],
            limits=LIMITS,
            words=explained(AUDIT_WORDS),
            blobs={item.blob for item in report.sources if item.blob},
        )
    )
    return page.rstrip() + "\n"


def _rows(subject: SubjectReport) -> list[tuple[Any, list[Row]]]:
    return [
        (family, [_row(check, subject.checks) for check in members])
        for family, members in by_family(subject.checks)
    ]


def _row(check: CheckResult, checks: Iterable[CheckResult]) -> Row:
    return Row(
        check,
        mark(check),
        sentences.anchor_note(check) + sentences.requirement_note(check),
        sentences.details(check, checks),
        sentences.evidence_by_blob(check),
    )


def _claims(report: Report, subject: SubjectReport) -> list[dict[str, Any]]:
    found = []
    for (basis, conditions), members in sentences.groups(subject.claims):
        for claim in members:
            worth = answers.standing(claim, subject.checks)
            found.append(
                {
                    "name": claim.name,
                    "value": answers.value_text(claim.value),
                    "basis": f"{basis.value}{sentences.claim_note(report, worth)}",
                    "worth": worth.value,
                    "conditions": conditions,
                    "evidence": claim.evidence,
                }
            )
    return found


@cache
def style() -> str:
    """The style sheet of every page."""
    environment = template_environment("verifier.report.audit")
    loader = environment.loader
    return loader.get_source(environment, "audit.css")[0] if loader is not None else ""


def _policy(sheet: str) -> str:
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode("ascii")
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


@cache
def template_environment(package: str) -> "Environment":
    """The templates of a package. Every value in them is escaped, and what would act on a screen
    made visible."""
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup  # noqa: PLC0415

    def shown(value: object) -> object:
        """Text with what would act on a screen made visible; markup of the template's own stays."""
        return value if isinstance(value, Markup) else visible(str(value))

    return Environment(
        loader=PackageLoader(package, _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
