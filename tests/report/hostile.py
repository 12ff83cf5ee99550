"""Hostile text in every field that a server or an app's owner writes, through to every format.

The fields are derived: every string of every kind of answer of a simulated world, one place for
each path; every string of its measured manifest and of the compose file in it; and the words of a
server that refuses. In each in turn stands a hostile text, and then an innocent one: both audits
are written in every format, read back by a parser of that format, and have to be built alike.

`make hostile` does all of it, and writes benchmarks/hostile.md.
"""

import hashlib
import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import yaml
from markdown_it import MarkdownIt
from msgspec.structs import replace

from tests.report.test_hostile_text import UNPRINTABLE, VISIBLE_FORMATS
from tests.worlds.audited import Audited, audit, edited
from verifier.evidence.bundle import Artifact
from verifier.evidence.codec import JsonObject
from verifier.lab.guest import manifest_text
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.response import Response
from verifier.manifest.audit import audit_manifest
from verifier.model.report import Report
from verifier.model.result import Severity
from verifier.report.audit import badge, ear, html, junit, markdown, proof, publication, statement
from verifier.report.audit.earlier import read_report
from verifier.report.audit.json import render_json
from verifier.report.audit.sentences import verdict_line
from verifier.report.audit.terminal import render_terminal
from verifier.report.lint import sarif, text
from verifier.report.lint.places import Lint
from verifier.report.lint.told import ToldLints, tell
from verifier.report.masking import masked_report
from verifier.report.site import feeds, pages
from verifier.report.site.entry import Entry, entry_of, histories
from verifier.report.site.pages import Site
from verifier.report.timeline.csv import render_csv
from verifier.report.timeline.markdown import render_markdown as timeline_markdown

OUT: Final = Path(__file__).parents[2] / "benchmarks" / "hostile.md"
MARK: Final = "zqx"
"""What tells that a text arrived."""
HOSTILE: Final = (
    f"{MARK}<script>alert(1)</script>\x1b[31m\u202e\u200b'\"&]]>--> | a || b |\n\n## H\n- i\n"
    "```\n{{7*7}} [x](javascript:alert(1)) ![i](http://evil.example/i.png) \x9b\x07"
)
INNOCENT: Final = f"{MARK}innocent"
SITE: Final = Site(title="Site", published_at=2_000_000_000)

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Field:
    """One place where others write: its name, and the audit with a text there."""

    name: str
    audited: Callable[[str], Audited]


def strings(value: Any, path: Path_ = ()) -> Iterator[Path_]:
    """Where the strings of a document stand."""
    if isinstance(value, str):
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, item in items or enumerate(value if isinstance(value, list) else ()):
        yield from strings(item, (*path, key))


def put(value: Any, path: Path_, text: str) -> Any:
    """The document with a text in one place."""
    if not path:
        return text
    copy = value.copy()
    copy[path[0]] = put(value[path[0]], path[1:], text)
    return copy


def fields(honest: Audited) -> list[Field]:
    """Every field, in a fixed order that mixes the kinds."""
    found = [*_answered(honest), *_measured(), *_refused()]
    return sorted(found, key=lambda item: hashlib.sha256(item.name.encode()).digest())


def _answered(honest: Audited) -> Iterator[Field]:
    seen = set()
    for artifact in honest.bundle.artifacts:
        try:
            document = json.loads(honest.bundle.blob(artifact)) if artifact.sha256 else None
        except ValueError:
            continue
        for path in strings(document):
            name = f"{artifact.kind.value} /{'/'.join(str(x) for x in path if isinstance(x, str))}"
            if name not in seen:
                seen.add(name)
                yield Field(name, _editing(honest, artifact, path))


def _editing(honest: Audited, place: Artifact, path: Path_) -> Callable[[str], Audited]:
    def audited(text: str) -> Audited:
        def edit(item: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
            if item != place:
                return item, raw
            return item, json.dumps(put(json.loads(raw), path, text)).encode()

        return honest.again(edited(honest.bundle, edit))

    return audited


def _measured() -> Iterator[Field]:
    manifest = json.loads(manifest_text(Knobs()))
    compose = yaml.safe_load(manifest["docker_compose_file"])
    for path in strings(manifest):
        yield Field(f"manifest /{'/'.join(map(str, path))}", _of_manifest(path))
    for path in strings(compose):
        name = "/".join(map(str, path))
        yield Field(f"compose /{name}", _of_manifest(path, compose))


def _of_manifest(path: Path_, compose: Any = None) -> Callable[[str], Audited]:
    def audited(text: str) -> Audited:
        def edit(manifest: JsonObject) -> JsonObject:
            if compose is None:
                changed: JsonObject = put(manifest, path, text)
                return changed
            written = yaml.safe_dump(put(compose, path, text), sort_keys=False)
            return {**manifest, "docker_compose_file": written}

        return audit(Knobs(edit_manifest=edit))

    return audited


def _refused() -> Iterator[Field]:
    for host in ("kms.gw", "pcs", "rpc-a", "registry", "8090.gw"):
        yield Field(f"refusal of {host}", _refusing(host))


def _refusing(host: str) -> Callable[[str], Audited]:
    def audited(text: str) -> Audited:
        def edit(_method: str, url: str, _body: bytes, given: Response) -> Response:
            if f"{host}.lab.invalid" not in url:
                return given
            return replace(given, status=403, body=text.encode())

        return audit(Knobs(edit_response=edit))

    return audited


# Each format, read back: how it is built, and its plain text.


class _Tags(HTMLParser):
    """The elements of a page, with the names of their attributes, and every address in it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[object] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; where it leads, as far as it leads outside."""
        self.found.append((tag, sorted(name for name, _ in attrs)))
        self.found += [
            value for name, value in attrs if name in {"href", "src"} and ":" in (value or "")
        ]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_comment(self, data: str) -> None:
        """Note that there is a comment."""
        self.found.append(("comment", len(data)))


def _page(text: str) -> object:
    tags = _Tags()
    tags.feed(text)
    return tags.found


def _blocks(text: str) -> object:
    found: list[object] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        content = token.content if token.type == "html_block" else ""
        found.append((token.type, token.tag, content))
        children = token.children or []
        kinds = {child.type for child in children}
        found += sorted(kinds & {"link_open", "image", "html_inline"})
    return found


def _xml(text: str) -> object:
    return [(item.tag, sorted(item.attrib)) for item in ET.fromstring(text).iter()]  # noqa: S314


def _shape(value: Any) -> object:
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    return [_shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def _json(raw: str) -> object:
    return _shape(json.loads(raw))


def _lines(text: str) -> object:
    """Where lines begin that are not indented: only our own words stand there."""
    return [line.split()[0] for line in text.splitlines() if line[:1].strip()]


def _rows(text: str) -> object:
    import csv  # noqa: PLC0415 - of one format

    return [len(row) for row in csv.reader(text.splitlines(keepends=True))]


def _commands(text: str) -> object:
    """What each workflow command is, and which properties it has."""
    found = [re.fullmatch(r"::(\w+) ([^:]*)::.*", line) for line in text.splitlines()]
    return [(item[1], [x.partition("=")[0] for x in item[2].split(",")]) if item else None
            for item in found]  # fmt: skip


FORMATS: Final[dict[str, tuple[Callable[[Audited], str], Callable[[str], object]]]] = {
    "terminal": (lambda x: _terminal(x.report, 0), _lines),
    "terminal -v": (lambda x: _terminal(x.report, 1), _lines),
    "one line": (lambda x: verdict_line(x.report), _lines),
    "markdown": (lambda x: markdown.render_markdown(x.report), _blocks),
    "summary": (lambda x: publication.render_summary(x.report), _lines),
    "html": (lambda x: html.render_html(x.report), _page),
    "proof": (lambda x: proof.render_proof(x.report), _page),
    "junit": (lambda x: junit.render_junit(x.report), _xml),
    "badge": (lambda x: badge.render_svg(x.report), _xml),
    "shields": (lambda x: badge.render_shields(x.report), _json),
    "json": (lambda x: render_json(x.report).decode(), _json),
    "statement": (lambda x: statement.render_statement(x.report).decode(), _json),
    "vsa": (lambda x: statement.render_vsa(x.report).decode(), _json),
    "ear": (lambda x: ear.render_ear(x.report).decode(), _json),
    "site index": (lambda x: pages.render_index(SITE, _apps(x), ()), _page),
    "site app": (lambda x: _of_app(x), _page),  # noqa: PLW0108 - defined below
    "atom": (lambda x: feeds.render_atom(SITE, "", "feed.xml", feeds.feed_items(_apps(x))), _xml),
    "json feed": (
        lambda x: feeds.render_json_feed(SITE, "", "feed.json", feeds.feed_items(_apps(x))),
        _json,
    ),
    "lint": (lambda x: text.render_lint(_lint(x).files[0], color=False, width=100), _lines),
    "lint markdown": (lambda x: text.render_lint_markdown(_lint(x).files[0]), _blocks),
    "sarif": (lambda x: sarif.render_sarif(_lint(x)), _json),
    "workflow commands": (lambda x: sarif.render_github(_lint(x)), _commands),
    "lint junit": (lambda x: junit.render_lint_junit(_lint(x)), _xml),
    "timeline csv": (lambda x: _past(x, render_csv), _rows),
    "timeline markdown": (lambda x: _past(x, timeline_markdown), _blocks),
}
ACTING: Final = ("script", "javascript", "evil.example", "html_inline")
"""Signs of a text that acts; pages of a site have one script, their own."""

DATA: Final = ("shields", "json", "statement", "vsa", "ear", "json feed", "sarif")
"""JSON carries every character that it can; whoever shows it has to escape it."""


def _apps(audited: Audited) -> dict[str, tuple[Entry, ...]]:
    """What a site knows of the app: the same report of two days, the first under another policy."""
    raw = render_json(audited.report)
    found = entry_of(hashlib.sha256(raw).hexdigest(), masked_report(read_report(raw)))
    earlier = replace(
        found,
        digest=hashlib.sha256(b"earlier").hexdigest(),
        evaluated_at=found.evaluated_at - DAY,
        policy="earlier",
        policy_digest="",
        facts={name: ("earlier", basis) for name, (_, basis) in found.facts.items()},
    )
    return histories([found, earlier])


def _of_app(audited: Audited) -> str:
    ((app_id, seen),) = _apps(audited).items()
    return pages.render_app(SITE, app_id, seen)


def _lint(audited: Audited) -> ToldLints:
    """What `verify lint` tells of the manifest that is measured."""
    raw = audited.world.guest.app_compose.encode()
    audit_of = audit_manifest(raw)
    found = Lint(
        name="app-compose.json",
        raw=raw,
        whole=True,
        audit=audit_of,
        findings=tuple(audit_of.findings),
        ignored=(),
        notes=(),
        min_severity=Severity.LOW,
    )
    return tell((found,), "tool")


def _terminal(report: Report, verbose: int) -> str:
    return render_terminal(report, color=False, width=100, verbose=verbose)


def _past(audited: Audited, render: Callable[[Any], str]) -> str:
    timeline = audited.report.timeline
    return render(timeline) if timeline is not None else ""


def problems(field: Field) -> list[str]:
    """What a hostile text in a field does to the formats; empty where it does nothing.

    Where the audits find other things, since a colon or a quote means something in that place, a
    format may say more, and only what acts is looked for."""
    hostile, innocent = field.audited(HOSTILE), field.audited(INNOCENT)
    alike = _found(hostile) == _found(innocent)
    found = []
    for name, (render, read) in FORMATS.items():
        text = render(hostile)
        try:
            built, ours = read(text), read(render(innocent))
            if alike and built != ours:
                found.append(f"{field.name}: {name}: it is built otherwise than with {INNOCENT}")
        except (AssertionError, ValueError, ET.ParseError) as error:
            found.append(f"{field.name}: {name}: {error!r}")
            continue
        told, own = (json.dumps(x) if name not in DATA else "" for x in (built, ours))
        if any(told.count(sign) > own.count(sign) for sign in ACTING):
            found.append(f"{field.name}: {name}: what is in it acts")
        if name not in DATA and (unseen := acting(text)):
            found.append(f"{field.name}: {name}: {unseen!r}")
    return found


def _found(audited: Audited) -> object:
    """What an audit found, without its words."""
    report = audited.report
    checks = [(x.id, x.status, x.skip_kind) for subject in report.subjects for x in subject.checks]
    named = [(item.rule, item.location) for item in report.findings]
    return report.verdict, checks, named, len(report.sources)


def acting(text: str) -> set[str]:
    """Characters in a text that act, or that nobody sees."""
    return {
        character
        for character in set(text) - {"\n", "\r"}
        if unicodedata.category(character) in UNPRINTABLE
        and unicodedata.name(character, "") not in VISIBLE_FORMATS
    }


def main() -> int:
    """Every field; what was found is written down as it comes."""
    everything = fields(audit(Knobs()))
    found: list[str] = []
    for done, field in enumerate(everything, 1):
        these = problems(field)
        found += these
        print(f"{field.name}: {'; '.join(these) or 'nothing'}", flush=True)  # noqa: T201
        kinds = sorted({item.name.partition(" ")[0] for item in everything[:done]})
        OUT.write_text(
            "# Hostile text\n\n"
            "`make hostile`: a hostile text in every field that a server or the app's owner "
            "writes, beside an\ninnocent one, in every format, read back by a parser of that "
            f"format.\n\n{done} of {len(everything)} fields ({', '.join(kinds)}), "
            f"{len(FORMATS)} formats: {len(found)} differences.\n"
            + "".join(f"\n* {item}" for item in found)
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
