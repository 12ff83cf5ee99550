"""The guest agent's page on port 8090, in the structure of each release.

    title, h1, rows of info-label and info-value, tables, h2 "TCB Info" with one read-only textarea

The structure is what an auditor reads; the style is our own. Text is escaped as the agent's
template engine does it: exactly & < > " ' as decimal entities.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from verifier.lab.events import release

_ESCAPES: Final = str.maketrans(
    {"&": "&#38;", "<": "&#60;", ">": "&#62;", '"': "&#34;", "'": "&#39;"}
)
_STYLE: Final = "body{font:1rem sans-serif;margin:2rem auto;max-width:60rem}textarea{width:100%}"
_SYSTEM_ROWS: Final = (
    ("Kernel Version", "6.9.0-dstack"),
    ("CPU", "cpu0 @2400 MHz (2 cores)"),
    ("Memory Usage", "Used: 512.00 MB / Total: 3.81 GB (Available: 3.31 GB)"),
    ("Swap Usage", "Used: 0.00 B / Total: 0.00 B (Free: 0.00 B)"),
    ("Load Average", "1min: 0.05%, 5min: 0.07%, 15min: 0.08%"),
    ("System Uptime", "86400"),
    ("Disk 0", "Free: 17.00 GB / Total: 20.00 GB"),
)


class PageContent(Struct, frozen=True, kw_only=True):
    """What the page shows.

    version            the dstack release of the guest, which decides the form of the page
    app_name           the app's name
    app_id             hex
    instance_id        hex; "" for an app without instance ids
    device_id          hex
    key_provider_info  JSON text
    tcb_info           JSON text; "" when the manifest hides it
    app_cert           the chain as PEM
    containers         their names
    public_logs        whether it links the containers' logs
    public_sysinfo     whether it shows the machine
    """

    version: str
    app_name: str
    app_id: str
    instance_id: str
    device_id: str
    key_provider_info: str
    tcb_info: str
    app_cert: str
    containers: Sequence[str]
    public_logs: bool
    public_sysinfo: bool


def escape(text: str) -> str:
    """The five characters that the template escapes, as decimal entities."""
    return text.translate(_ESCAPES)


def render(content: PageContent) -> str:
    """The whole page."""
    number = release(content.version)
    heading = "Worker Information" if number < (0, 3, 3) else "Node Information"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="UTF-8">',
        f"<title>Worker Information</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>{heading}</h1>",
        '<div class="info-section"><div class="info-grid">',
        *(_row(label, value) for label, value in _rows(content)),
        "</div></div>",
    ]
    if number >= (0, 6) and content.public_sysinfo:
        parts.append(_table("GPUs", ("Name", "Driver"), []))
    header = ("Name", "Status", "Logs") if content.public_logs else ("Name", "Status")
    containers = [(name, "Up 1 hour", "View Logs")[: len(header)] for name in content.containers]
    parts.append(_table("Deployed Containers", header, containers))
    parts.append("<h2>TCB Info</h2>")
    parts.append(
        _textarea(content.tcb_info) if content.tcb_info else "<p>TCB info is not public</p>"
    )
    if number < (0, 4, 2):
        parts += ["<h2>App Certificate</h2>", _textarea(content.app_cert)]
    return "\n".join([*parts, "</body>\n</html>\n"])


def _rows(content: PageContent) -> list[tuple[str, str]]:
    number = release(content.version)
    rows = [("App ID", content.app_id), ("Instance ID", content.instance_id)]
    if number >= (0, 3, 3):
        rows.insert(0, ("App Name", content.app_name))
    if number >= (0, 4):
        rows += [
            ("Device ID", content.device_id),
            ("Key Provider Info", content.key_provider_info),
        ]
    if number >= (0, 5, 6):
        rows.append(("Machine Provider", "Simulated (lab)"))
    if content.public_sysinfo:
        rows += [("Operating System", f"DStack {content.version}"), *_SYSTEM_ROWS]
    return rows


def _row(label: str, value: str) -> str:
    return (
        f'<div class="info-row"><div class="info-label">{label}</div>'
        f'<div class="info-value">{escape(value)}</div></div>'
    )


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{item}</th>" for item in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(item)}</td>" for item in row) + "</tr>" for row in rows
    )
    return f"<h2>{title}</h2>\n<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _textarea(text: str) -> str:
    return f"<textarea readonly>{escape(text)}</textarea>"
