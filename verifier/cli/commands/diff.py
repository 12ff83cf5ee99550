"""`verify diff A B [C…]`: what changed between manifests, and what it means."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from verifier.cli.files import names_file, names_target, printable_name, read_file
from verifier.cli.gather import gather
from verifier.cli.lint_given import without_manifest
from verifier.cli.options import Output, Reach, command
from verifier.cli.output import check_places, json_for, write
from verifier.cli.points import Points
from verifier.cli.streams import terminal_width, uses_color
from verifier.errors import EvidenceError, UsageError
from verifier.model.result import Severity
from verifier.patterns import pattern

if TYPE_CHECKING:
    from verifier.api import Audit
    from verifier.evidence.subject import SubjectEvidence
    from verifier.manifest.diff import Document, Fact
    from verifier.report.diff.told import ToldDiff

EXIT_NOT_EVALUABLE: Final = 3
EXIT_REGRESSION: Final = 4
_MAX_WIDTH: Final = 110
_SERVICES: Final = pattern(
    rb"""^(?:\xef\xbb\xbf)?\s*\{?\s*["']?services["']?[ \t]*:""", re.MULTILINE
)


class Format(StrEnum):
    """Formats of a comparison."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    JSON = "json"


@command
def compare_manifests(
    *,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="A B",
            help="Manifests, compose files, metadata pages, Info answers, tcb_info, bundles; app "
            "ids, metadata URLs, domains.",
        ),
    ],
    min_severity: Annotated[
        Severity, typer.Option(help="The least severity of a change that gives exit code 4.")
    ] = Severity.MEDIUM,
    form: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TERMINAL,
    output: Output = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Every change, also those of severity info.")
    ] = False,
    reach: Reach,
) -> None:
    """Compare manifests, oldest first: field by field, with what each change lets somebody do.

    Every document is compared with the next one, and all of them are shown side by side. A bundle
    with several guests counts as several documents, and so does a running app, whose evidence is
    collected and audited. TARGET@TIME stands for the manifests that the app's contract allowed at
    that time, as far as --manifests knows them. Of a compose file alone, only its services are
    compared.

    Examples:

      verify diff march.html april.html

      verify diff old/app-compose.json new/app-compose.json --min-severity high --format json

      verify diff app-compose.json APP_ID

      verify diff APP_ID@2026-03-01 APP_ID@2026-06-01 --manifests ./manifests

    Exit codes: 0 no change at or above --min-severity, 2 usage, 3 not evaluable, 4 some.
    """
    from itertools import pairwise  # noqa: PLC0415

    from verifier.manifest.diff import compare  # noqa: PLC0415
    from verifier.report.diff.told import tell  # noqa: PLC0415

    check_places(output)
    points = Points(reach)
    documents = [
        document
        for text, name in zip(files, _names(files), strict=True)
        for document in points.documents(text) or _read(text, name, reach)
    ]
    if len(documents) < 2:  # noqa: PLR2004
        raise UsageError("one manifest alone: nothing to compare", hint="verify diff OLD NEW")
    comparisons = [compare(old, new) for old, new in pairwise(documents)]
    told = tell(comparisons, min_severity)
    write(render(told, form, to_file=output is not None, verbose=verbose), output, "the comparison")
    raise typer.Exit(exit_code(told))


def exit_code(told: "ToldDiff") -> int:
    """4 with a change at or above the least severity, 3 where something could not be compared."""
    if any(item.at_least(told.min_severity) for item in told.comparisons):
        return EXIT_REGRESSION
    return EXIT_NOT_EVALUABLE if any(item.not_evaluable for item in told.comparisons) else 0


def _names(texts: list[str]) -> list[str]:
    """The files' names, or their whole paths where two names are the same; targets as they are."""
    names = [printable_name(Path(text)) if names_file(text) else text for text in texts]
    if len(set(names)) == len(names):
        return names
    return [text.encode("utf-8", "backslashreplace").decode("utf-8") for text in texts]


def _read(text: str, name: str, reach: Reach) -> list["Document"]:
    """The documents in a file, a bundle, or a running app's evidence. Raises EvidenceError."""
    from verifier.api import Audit, Past, Question  # noqa: PLC0415
    from verifier.evidence.import_files import import_files  # noqa: PLC0415
    from verifier.evidence.subject import read_subject  # noqa: PLC0415
    from verifier.reference.values import embedded  # noqa: PLC0415

    if names_target(text):
        audit = gather(text, reach, past=Past.NONE)
    else:
        raw = read_file(Path(text))
        alone = _compose_alone(raw, name)
        if alone is not None:
            return [alone]
        bundle = import_files([(name, raw)], collected_at=reach.judged_at)
        question = Question(app_id=None, reference=embedded(), at=reach.judged_at, trusted=False)
        audit = Audit(target=name, question=question, bundle=bundle)
    bundle, facts = audit.bundle, _facts(audit)
    if not bundle.subjects:
        error = next((item.error for item in bundle.artifacts if item.error), "nothing was given")
        raise EvidenceError(f"{name}: there is no manifest: {error}")
    return [
        _document(
            f"{name}: {subject}" if len(bundle.subjects) > 1 else name,
            read_subject(bundle, subject),
            facts.get(subject, {}),
        )
        for subject in bundle.subjects
    ]


def _compose_alone(raw: bytes, name: str) -> "Document | None":
    """The document of a compose file, None for anything else: YAML with services, and neither a
    page nor a JSON document of another kind."""
    from verifier.manifest.diff import read_compose_document  # noqa: PLC0415

    start = raw.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    others = (b'"docker_compose_file"', b'"runner"', b'"app_compose"', b'"app_cert"')
    if start in (b"<", b"", b"[") or _SERVICES.search(raw) is None:
        return None
    if start == b"{" and any(item in raw for item in others):
        return None
    return read_compose_document(name, raw)


def _facts(audit: "Audit") -> dict[str, dict[str, "Fact"]]:
    """What an audit of the evidence claims, by attester; nothing for a manifest alone."""
    from verifier.evidence.bundle import Kind  # noqa: PLC0415
    from verifier.manifest.diff import Fact  # noqa: PLC0415
    from verifier.policy.policy import load_policy  # noqa: PLC0415

    if all(item.kind is Kind.APP_COMPOSE for item in audit.bundle.artifacts):
        return {}
    return {
        subject.name: {claim.name: Fact(claim.value, claim.basis.value) for claim in subject.claims}
        for subject in audit.report(load_policy("baseline")).subjects
    }


def _document(name: str, evidence: "SubjectEvidence", facts: dict[str, "Fact"]) -> "Document":
    """The one manifest of an attester: that of its compose hash, where it has several."""
    import hashlib  # noqa: PLC0415

    from verifier.manifest.diff import read_document  # noqa: PLC0415

    found = dict.fromkeys(item.value for item in evidence.manifests)
    if not found:
        raise without_manifest(name, evidence.bundle)
    stated = facts.get("compose_hash")
    wanted = stated.value if stated else None
    matching = [raw for raw in found if hashlib.sha256(raw).hexdigest() == wanted]
    if not matching and len(found) > 1:
        raise EvidenceError(f"{name}: {len(found)} different manifests, and none is the measured")
    return read_document(name, (matching or list(found))[0], facts)


def render(told: "ToldDiff", form: Format, *, to_file: bool, verbose: bool) -> bytes:
    """A comparison in a form."""
    if form is Format.JSON:
        from verifier.report.diff.json import render_json  # noqa: PLC0415

        return json_for(render_json(told), to_terminal=not to_file)
    if form is Format.MARKDOWN:
        from verifier.report.diff.markdown import render_markdown  # noqa: PLC0415

        return render_markdown(told).encode("utf-8")
    from verifier.report.diff.terminal import render_terminal  # noqa: PLC0415

    return render_terminal(
        told,
        color=not to_file and uses_color(),
        width=terminal_width(_MAX_WIDTH),
        verbose=verbose,
    ).encode("utf-8")
