"""The reports of a site as feeds: JSON Feed 1.1, and Atom (RFC 4287). Pure: values to text.

An entry is named by the digest of its report (RFC 6920), whatever address the site has.
"""

import base64
import hashlib
import json
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue
from verifier.report.escape import visible
from verifier.report.site.entry import Entry, changes
from verifier.report.site.pages import Site, change_words, report_page

MOST_ITEMS: Final = 100
_ATOM: Final = "http://www.w3.org/2005/Atom"
_AUTHOR: Final = "dstack-audit"

Item = tuple[Entry, Entry | None]
"""A report, and the one of the same app before it."""


def feed_items(apps: dict[str, tuple[Entry, ...]]) -> tuple[Item, ...]:
    """The newest reports of these apps, newest first."""
    found: list[Item] = []
    for app_id, items in apps.items():
        earlier = (*items[1:], None) if app_id else (None,) * len(items)
        found += zip(items, earlier, strict=True)
    return tuple(sorted(found, key=lambda item: item[0].order, reverse=True)[:MOST_ITEMS])


def render_json_feed(site: Site, title: str, path: str, items: tuple[Item, ...]) -> str:
    """The feed at a path of the site as ASCII JSON."""
    up = site.base or "../" * path.count("/")
    document: dict[str, JsonValue] = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": visible(title),
        "items": [
            {
                "id": _identifier(bytes.fromhex(entry.digest)),
                "url": up + report_page(entry.digest),
                "title": _title(entry, before),
                "content_text": _text(entry, before),
                "date_published": format_time(entry.evaluated_at),
                "tags": [entry.verdict.value],
            }
            for entry, before in items
        ],
    }
    if site.base:
        document["home_page_url"] = site.base
        document["feed_url"] = site.base + path
    return json.dumps(document, sort_keys=True, indent=1) + "\n"


def render_atom(site: Site, title: str, path: str, items: tuple[Item, ...]) -> str:
    """The feed at a path of the site as XML."""
    up = site.base or "../" * path.count("/")
    root = Element("feed", {"xmlns": _ATOM})
    newest = max((entry.evaluated_at for entry, _ in items), default=0)
    oldest = items[-1][0].digest if items else ""
    SubElement(root, "title").text = visible(title)
    SubElement(root, "id").text = site.base + path if site.base else _identifier(oldest.encode())
    SubElement(root, "updated").text = format_time(newest)
    SubElement(SubElement(root, "author"), "name").text = _AUTHOR
    SubElement(root, "link", {"rel": "self", "href": up + path})
    for entry, before in items:
        item = SubElement(root, "entry")
        SubElement(item, "title").text = _title(entry, before)
        SubElement(item, "id").text = _identifier(bytes.fromhex(entry.digest))
        SubElement(item, "updated").text = format_time(entry.evaluated_at)
        SubElement(item, "link", {"href": up + report_page(entry.digest)})
        SubElement(item, "category", {"term": entry.verdict.value})
        SubElement(item, "content", {"type": "text"}).text = _text(entry, before)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _identifier(digest: bytes) -> str:
    """A name for these bytes' digest, or for that of a text."""
    raw = digest if len(digest) == hashlib.sha256().digest_size else hashlib.sha256(digest).digest()
    return "ni:///sha-256;" + base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def _title(entry: Entry, before: Entry | None) -> str:
    app = f"app {entry.app_id}" if entry.app_id else "an app that nobody named"
    accepted = "" if entry.accepted else ", not accepted"
    anchor = f" [{entry.anchor}]" if entry.anchor else ""
    was = f" (before: {before.verdict.value})" if before and before.verdict != entry.verdict else ""
    return visible(f"{entry.verdict.value}{anchor}{accepted}: {app}{was}")


def _text(entry: Entry, before: Entry | None) -> str:
    lines = [f"{entry.verdict.value} by policy {entry.policy}, {format_time(entry.evaluated_at)}"]
    lines += [f"weakest link: {entry.weakest}"] if entry.weakest else []
    if before is not None:
        found = changes(before, entry)
        lines += [change_words(item) for item in found] or ["nothing changed"]
    return "\n".join(map(visible, lines))
