"""The site of a folder of reports: what it consists of, and what of that has to be written anew.

The files are a function of the reports, the options and the time: a run that finds most of them
written gives the same bytes as one that writes all.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct, field

from verifier.errors import UsageError
from verifier.evidence.regular_file import IrregularFile, read_regular
from verifier.report.site import feeds, pages
from verifier.report.site.entry import Entry, histories
from verifier.report.site.pages import NotShown, Site
from verifier.version import DISTRIBUTION, tool_version
from verifier.watch.publish.folder import Found, find_reports
from verifier.watch.publish.pages import SKEW_SECONDS, Page, Rendered
from verifier.watch.publish.record import Record
from verifier.watch.publish.staged import OWN, STAGE, Staged, staged

STATE: Final = ".dstack-audit.json"
FEEDS: Final = ("feed.json", "feed.atom")
_DAY: Final = 86_400


class Known(Struct, frozen=True):
    """A report that was published before: what pages say of it, or why it is not shown."""

    entry: Entry | None
    why: str = ""


class State(Struct, kw_only=True):
    """What the site was written from.

    maker    what wrote it
    reports  by digest (hex)
    files    path → (what it was made from, the sha256 of its bytes, hex)
    """

    maker: str = ""
    reports: dict[str, Known] = field(default_factory=dict)
    files: dict[str, tuple[str, str]] = field(default_factory=dict)


class Published(Struct, frozen=True):
    """What a run did: how many reports of how many apps are shown, which are not, and how many
    files were written and removed."""

    reports: int
    apps: int
    not_shown: tuple[NotShown, ...]
    written: int
    removed: int


MAX_SITE_BYTES: Final = 1 << 28
"""What is read of a file of a site, which may be somebody's copy; a longer one is written anew."""
Render = Callable[[tuple[Page, ...]], Iterator[Rendered]]
"""Renders reports, in any order."""


def publish(folder: Path, output: Path, site: Site, render: Render) -> Published:
    """Write the site of the reports in a folder. Raises UsageError, also for a folder that holds
    something else than such a site."""
    inner, outer = folder.resolve(), output.resolve()
    if inner == outer or inner in outer.parents or outer in inner.parents:
        raise UsageError(
            f"{output}: the site and the reports may not stand in one another",
            hint="name a folder beside it",
        )
    found, unread = find_reports(folder)
    try:
        _refuse_others(output)
        with staged(output) as change:
            run = _Run(change, output, site, found, Record(folder, output))
            return run.write(unread, render)
    except OSError as error:
        raise UsageError(
            f"{output}: cannot write the site: {error.strerror or error}",
            hint="the site is as it was before, or the next run completes it",
        ) from error


class _Run:
    """One run: the files of the site as they become known."""

    def __init__(
        self,
        change: Staged,
        output: Path,
        site: Site,
        found: tuple[Found, ...],
        record: Record,
    ) -> None:
        self._record = record
        self._change = change
        self._output = output
        self._site = site
        self._found = found
        maker = f"{DISTRIBUTION} {tool_version()} {pages.templates_digest()}"
        earlier, own = _read_state(output / STATE, record)
        self._earlier = earlier if own and earlier.maker == maker else State()
        self._all = earlier.files
        self._state = State(maker=maker)
        self._staged: list[str] = []
        self._badges: dict[str, tuple[bytes, bytes]] = {}

    def write(self, unread: tuple[NotShown, ...], render: Render) -> Published:
        """Write what is new or another than before."""
        self._reports(render)
        shown = {key: item.entry for key, item in self._state.reports.items() if item.entry}
        apps = histories(shown.values())
        not_shown = sorted(
            (
                *unread,
                *(
                    NotShown(item.name, self._state.reports[item.digest].why)
                    for item in self._found
                    if item.digest not in shown
                ),
            )
        )
        for app_id, items in apps.items():
            self._app(app_id, items, render)
        self._feeds("", self._site.title, apps)
        self._page("index.html", pages.render_index(self._site, apps, tuple(not_shown)))
        raw = msgspec.json.encode(self._state, order="deterministic")
        self._change.write(STATE, raw)
        self._record.add(raw)
        removed = sorted(self._all.keys() - self._state.files.keys())
        self._change.commit([*self._staged, STATE], removed)
        written = len(self._staged)
        return Published(len(shown), len(apps), tuple(not_shown), written, len(removed))

    def _reports(self, render: Render) -> None:
        """The page of each report, from what is known of it or anew."""
        wanted = [item for item in self._found if not self._is_written(item.digest)]
        for done in render(tuple(self._to_render(item) for item in wanted)):
            self._state.reports[done.digest] = Known(done.entry, done.why)
            if done.entry is None:
                continue
            page, data = pages.report_page(done.digest), pages.report_json(done.digest)
            self._put(page, self._age(done.entry), done.html)
            self._put(data, "", done.json)
            self._badges[done.digest] = (done.svg, done.shields)

    def _to_render(self, item: Found) -> Page:
        return Page(str(item.path), item.digest, self._site.published_at)

    def _is_written(self, digest: str) -> bool:
        """Whether nothing has to be read of a report; what is known of it is kept then."""
        known = self._earlier.reports.get(digest)
        if known is None or known.entry is None:
            # What was of the future is of the past some day.
            return False
        if known.entry.evaluated_at > self._site.published_at + SKEW_SECONDS:
            return False
        page, data = pages.report_page(digest), pages.report_json(digest)
        if not (self._keeps(page, self._age(known.entry)) and self._keeps(data, "")):
            return False
        self._state.reports[digest] = known
        return True

    def _age(self, entry: Entry) -> str:
        """What the page of a report depends on beside the report: how old it says that it is."""
        if self._site.published_at <= entry.relied_until:
            return ""
        return str((self._site.published_at - entry.relied_until - 1) // _DAY)

    def _app(self, app_id: str, items: tuple[Entry, ...], render: Render) -> None:
        """The page, the badges and the feeds of an app."""
        folder = pages.app_folder(app_id)
        outdated = [item.relied_until < self._site.published_at for item in items]
        made_from = _digest((self._site.title, self._site.base, items, outdated))
        if not self._keeps(f"{folder}index.html", made_from):
            page = pages.render_app(self._site, app_id, items)
            self._put(f"{folder}index.html", made_from, page.encode("utf-8"))
        if app_id:
            self._badge(folder, items[0], render)
        if not all(self._keeps(f"{folder}{name}", made_from) for name in FEEDS):
            self._feeds(folder, f"App {app_id or 'not named'}", {app_id: items}, made_from)

    def _badge(self, folder: str, last: Entry, render: Render) -> None:
        names = (f"{folder}badge.svg", f"{folder}badge.json")
        made_from = f"{last.digest} {self._age(last)}"
        if all(self._keeps(name, made_from) for name in names):
            return
        if last.digest not in self._badges:
            item = next(item for item in self._found if item.digest == last.digest)
            for done in render((self._to_render(item),)):
                self._badges[done.digest] = (done.svg, done.shields)
        for name, raw in zip(names, self._badges[last.digest], strict=True):
            self._put(name, made_from, raw)

    def _feeds(
        self, folder: str, title: str, apps: dict[str, tuple[Entry, ...]], made_from: str = ""
    ) -> None:
        items = feeds.feed_items(apps)
        forms = (feeds.render_json_feed, feeds.render_atom)
        for name, form in zip(FEEDS, forms, strict=True):
            path = f"{folder}{name}"
            self._page(path, form(self._site, title, path, items), made_from)

    def _page(self, path: str, text: str, made_from: str = "") -> None:
        """A page whose own bytes say whether it is another, unless what it is made from does."""
        raw = text.encode("utf-8")
        key = made_from or hashlib.sha256(raw).hexdigest()
        if not self._keeps(path, key):
            self._put(path, key, raw)

    def _keeps(self, path: str, key: str) -> bool:
        """Whether a file is there already, as it would be written; it stays then."""
        known = self._earlier.files.get(path)
        if known is None or known[0] != key:
            return False
        try:
            raw = read_regular(self._output / path, MAX_SITE_BYTES)
        except OSError:
            return False
        if hashlib.sha256(raw).hexdigest() != known[1]:
            return False
        self._state.files[path] = known
        return True

    def _put(self, path: str, key: str, raw: bytes) -> None:
        self._change.write(path, raw)
        self._state.files[path] = (key, hashlib.sha256(raw).hexdigest())
        self._staged.append(path)


def _digest(values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()


def _read_state(path: Path, record: Record) -> tuple[State, bool]:
    """What an earlier run wrote, nothing where there is none or it is of another version; and
    whether one of this folder of reports did. Of another's, only the names of files count, which
    are removed where no page has them."""
    try:
        raw = read_regular(path, MAX_SITE_BYTES)
        return msgspec.json.decode(raw, type=State), record.knows(raw)
    except (FileNotFoundError, IrregularFile):
        return State(), False
    except (msgspec.MsgspecError, ValueError):
        return State(), False


def _refuse_others(output: Path) -> None:
    """Raise UsageError for a folder that somebody else's files are in."""
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output}: it is no folder", hint="name a new one")
    names = {item.name for item in output.iterdir()}
    if names - OWN and not names & {STATE, STAGE}:
        raise UsageError(
            f"{output}: it holds other files than a site of this command",
            hint="name a new or an empty folder",
        )
