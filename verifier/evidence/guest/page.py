"""The metadata page that a guest agent serves on port 8090.

Template: Dstack-TEE/dstack guest-agent/templates/dashboard.html (tappd/templates before 0.4.2),
rendered by rinja, which escapes exactly `&`, `<`, `>`, `"` and `'`, as decimal references. Pages
of 0.3.1 to dev-0.4 have a second textarea under "App Certificate".

The page is text that the operator's host relays. A reader that guesses at broken markup can be
shown another document than the next reader; so textareas are cut out of the raw text as the
template writes them, and the tree of what is left must have each in its place. A textarea may hold
only text with the template's own escapes; anything else in it is refused.
"""

import itertools
import re
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence import codec
from verifier.evidence.guest.tcb_info import TcbInfo, parse_tcb_info
from verifier.patterns import pattern

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bs4 import Tag

_TEXTAREA: Final = pattern(r"<textarea readonly>(.*?)</textarea>", re.DOTALL)
_FOREIGN_ENTITY: Final = pattern(r"&(?!#(?:38|60|62|34|39);)")
_ENTITY: Final = pattern(r"&#(38|60|62|34|39);")
_CHARSET: Final = pattern(r"""charset\s{0,8}=\s{0,8}["']?([\w-]+)""", re.IGNORECASE | re.ASCII)
_TCB_INFO: Final = "TCB Info"
_APP_CERTIFICATE: Final = "App Certificate"
_CONTAINERS: Final = "Deployed Containers"
_HIDDEN: Final = "TCB info is not public"
MAX_PAGE_BYTES: Final = 2 << 20
_MAX_TEXTAREAS: Final = 2
_MAX_TAGS: Final = 20_000
_MAX_ROWS: Final = 200
"""Disks and containers add rows: the bounds are far above any page, and keep parsing linear."""


class Page(Struct, frozen=True, kw_only=True):
    """A metadata page. `labels` are its label/value rows, such as "App ID".

    `tcb_info` is None where the app hides it. `app_cert` is PEM text, empty from 0.4.2 on.
    `containers` are those that the page lists, name → status; None where it has no such table.
    """

    labels: dict[str, str]
    tcb_info: TcbInfo | None
    app_cert: str
    containers: dict[str, str] | None = None


def parse_page(raw: bytes, what: str) -> Page:
    """Parse a metadata page of any dstack version. Raises EvidenceError."""
    from bs4 import BeautifulSoup  # noqa: PLC0415 - 0.1 s that only pages need
    from bs4.exceptions import ParserRejectedMarkup  # noqa: PLC0415

    areas, skeleton = _cut_textareas(raw, what)
    try:
        soup = BeautifulSoup(skeleton, "html.parser")
    except (ParserRejectedMarkup, ValueError) as error:
        raise EvidenceError(f"{what}: markup that no template has: {error!s:.80}") from error
    titled: dict[str, str] = {}
    for place, node in enumerate(soup.find_all("textarea")):
        heading = node.find_previous("h2")
        title = heading.get_text(strip=True) if heading else ""
        if title not in (_TCB_INFO, _APP_CERTIFICATE) or title in titled:
            raise EvidenceError(f"{what}: a textarea under {title!r}, where none belongs")
        if node.get_text() != str(place):
            raise EvidenceError(f"{what}: its text and its markup disagree about textareas")
        titled[title] = areas[place]
    if len(titled) != len(areas):
        raise EvidenceError(f"{what}: its text and its markup disagree about textareas")
    if _TCB_INFO not in titled and _HIDDEN not in skeleton:
        raise EvidenceError(
            f"{what}: no TCB Info: this is not a metadata page",
            hint="the page is at https://<app id>-8090.<gateway domain>/",
        )
    return Page(
        labels=_labels(soup.find_all("div", class_="info-row"), what),
        tcb_info=parse_tcb_info(titled[_TCB_INFO], f"{what}: TCB Info")
        if titled.get(_TCB_INFO)
        else None,
        app_cert=titled.get(_APP_CERTIFICATE, ""),
        containers=_containers(soup.find_all("h2"), what),
    )


def _cut_textareas(raw: bytes, what: str) -> tuple[list[str], str]:
    """The decoded content of each textarea, and the page with their places in its stead."""
    if len(raw) > MAX_PAGE_BYTES:
        raise EvidenceError(f"{what}: {len(raw)} bytes are no metadata page")
    text = codec.parse_utf8(raw, what)
    opened = text.lower().count("<textarea")
    if opened > _MAX_TEXTAREAS or text.count("<") > _MAX_TAGS:
        raise EvidenceError(f"{what}: more markup than the template has")
    areas = _TEXTAREA.findall(text)
    if opened != len(areas):
        raise EvidenceError(f"{what}: a textarea that the template does not have")
    for area in areas:
        if "<" in area or _FOREIGN_ENTITY.search(area):
            raise EvidenceError(f"{what}: markup or a foreign entity inside a textarea")
    places = itertools.count()
    skeleton = _TEXTAREA.sub(lambda _: f"<textarea>{next(places)}</textarea>", text)
    for charset in _CHARSET.findall(skeleton):
        if charset.lower() not in ("utf-8", "utf8"):
            raise EvidenceError(f"{what}: declares the charset {charset!r}, not UTF-8")
    return [_ENTITY.sub(lambda match: chr(int(match[1])), area) for area in areas], skeleton


def _labels(rows: "Sequence[Tag]", what: str) -> dict[str, str]:
    if len(rows) > _MAX_ROWS:
        raise EvidenceError(f"{what}: {len(rows)} rows, more than {_MAX_ROWS}")
    labels: dict[str, str] = {}
    for row in rows:
        label, value = (
            row.find("div", class_=f"info-{part}", recursive=False) for part in ("label", "value")
        )
        if label is None or value is None:
            continue
        name = label.get_text(strip=True).rstrip(":")
        if name in labels:
            raise EvidenceError(f"{what}: the row {name!r} stands twice")
        labels[name] = value.get_text(strip=True)
    return labels


def _containers(headings: "Sequence[Tag]", what: str) -> dict[str, str] | None:
    """The rows (name, status, …) of the table after the heading; the name may begin with "/"."""
    titled = [item for item in headings if item.get_text(strip=True) == _CONTAINERS]
    table = titled[0].find_next_sibling() if len(titled) == 1 else None
    if table is None or table.name != "table":
        return None
    rows = [row.find_all("td", recursive=False) for row in table.find_all("tr")]
    found: dict[str, str] = {}
    for cells in rows:
        if len(cells) < 2:  # noqa: PLR2004 - the row of headings has none
            continue
        name, status = (cell.get_text(strip=True) for cell in cells[:2])
        if name in found or len(found) >= _MAX_ROWS:
            raise EvidenceError(f"{what}: the container {name!r} stands twice, or too many do")
        found[name] = status
    return found
