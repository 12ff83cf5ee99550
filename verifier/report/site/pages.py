"""The pages of a site: an index of all apps, and one page for each. Pure: values to text.

Everything is there without script. The one script, which the content security policy allows by its
hash, finds rows by their text and greys what has become outdated since the site was written.
"""

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from verifier.model.identifiers import format_time
from verifier.report.audit.html import style, template_environment
from verifier.report.site.entry import Change, Entry, changes

if TYPE_CHECKING:
    from jinja2 import Environment

MOST_CHANGES: Final = 50
"""Changes of all apps that the index names."""
_UNNAMED: Final = "unnamed"
_CLIPPED: Final = 240
"""Letters of one value on a page of an app; the report has all of it."""


class NotShown(Struct, frozen=True, order=True):
    """A file that is on the site by its name alone, and why."""

    name: str
    why: str


class Site(Struct, frozen=True, kw_only=True):
    """What every page says of the whole site.

    title         its name
    published_at  when it was written, Unix seconds
    base          its address, with a slash at the end; "" where that is not known
    """

    title: str
    published_at: int
    base: str = ""


def app_folder(app_id: str) -> str:
    """Where the page of an app stands, with a slash at the end; "" is all that name none."""
    return f"apps/{app_id or _UNNAMED}/"


def report_page(digest: str) -> str:
    """Where a report stands for good."""
    return f"reports/{digest}.html"


def report_json(digest: str) -> str:
    """Where its JSON stands."""
    return f"reports/{digest}.json"


def render_index(
    site: Site, apps: dict[str, tuple[Entry, ...]], not_shown: tuple[NotShown, ...]
) -> str:
    """The index: every app with its last verdict, what changed lately, and what is not shown."""
    rows = [(app_id, items[0], len(items)) for app_id, items in apps.items()]
    rows.sort(key=lambda row: (-row[1].rest, row[0]))
    lately = sorted(
        (
            (items[place], found)
            for items in (apps[app_id] for app_id in apps if app_id)
            for place in range(len(items) - 1)
            if (found := changes(items[place + 1], items[place]))
        ),
        key=lambda item: item[0].order,
        reverse=True,
    )
    return _render(
        "index.html", site, "", rows=rows, lately=lately[:MOST_CHANGES], not_shown=not_shown
    )


def render_app(site: Site, app_id: str, items: tuple[Entry, ...]) -> str:
    """The page of an app: its reports, newest first, and what changed from one to the next."""
    history = [
        (item, changes(items[place + 1], item) if app_id and place + 1 < len(items) else ())
        for place, item in enumerate(items)
    ]
    return _render("app.html", site, "../../", app_id=app_id, history=history, last=items[0])


def templates_digest() -> str:
    """sha256 (hex) of the templates of all pages, those of reports too."""
    environments = (_environment(), template_environment("verifier.report.audit"))
    found = hashlib.sha256()
    for environment in environments:
        for name in environment.list_templates():
            found.update(_source(name, environment).encode("utf-8"))
    return found.hexdigest()


def _render(name: str, site: Site, up: str, **values: Any) -> str:  # noqa: ANN401 - of the template
    page: str = (
        _environment()
        .get_template(name)
        .render(
            site=site,
            up=up,
            style=_style(),
            script=_script(),
            policy=_policy(),
            time=format_time,
            old=lambda entry: entry.relied_until < site.published_at,
            folder=app_folder,
            page=report_page,
            json=report_json,
            clip=_clip,
            **values,
        )
    )
    return page.rstrip() + "\n"


def change_words(change: Change) -> str:
    """A change in one line of text."""
    before, after = change.before or "nothing", change.after or "nothing"
    return f"{change.what}: {_clip(before)} → {_clip(after)}"


def _clip(text: str) -> str:
    return text if len(text) <= _CLIPPED else f"{text[:_CLIPPED]}…"


@cache
def _environment() -> "Environment":
    return template_environment("verifier.report.site")


@cache
def _style() -> str:
    return style() + _source("site.css")


@cache
def _script() -> str:
    return _source("site.js")


def _source(name: str, environment: "Environment | None" = None) -> str:
    environment = environment or _environment()
    loader = environment.loader
    return loader.get_source(environment, name)[0] if loader is not None else ""


@cache
def _policy() -> str:
    hashes = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for text in (_style(), _script())
    ]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; "
        "base-uri 'none'; form-action 'none'"
    )
