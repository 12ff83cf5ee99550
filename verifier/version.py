"""The name and version that this program signs its reports with."""

import functools
import json
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

DISTRIBUTION: Final = "dstack-audit"
VERSION: Final = "0.1.0"
"""Of this code; the distribution takes its own from here."""


def tool_version() -> str:
    """The version that reports name."""
    return VERSION


_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
_REF: Final = re.compile(r"ref: (refs/[\w./+-]{1,200})", re.ASCII)


def commit() -> str:
    """The commit that was installed, 40 or 64 hex digits, "" where nothing tells it.

    That is what the installer recorded (PEP 610): of an installation from a repository its commit,
    of one that runs from a checkout the commit that is checked out, whatever was changed since.
    """
    from importlib import metadata  # noqa: PLC0415 - only for --version

    try:
        recorded = metadata.distribution(DISTRIBUTION).read_text("direct_url.json") or "{}"
        document = json.loads(recorded)
        named = document.get("vcs_info", {}).get("commit_id", "")
        if not named and document.get("dir_info", {}).get("editable") is True:
            named = _checked_out(Path(unquote(urlsplit(document["url"]).path)) / ".git")
    except (metadata.PackageNotFoundError, OSError, ValueError, LookupError, AttributeError):
        return ""
    return named if _COMMIT.fullmatch(named) else ""


def _checked_out(git: Path) -> str:
    """What HEAD of a git directory stands for, "" where it is none. Raises OSError."""
    head = (git / "HEAD").read_text("ascii").strip()
    ref = _REF.fullmatch(head)
    if ref is None:
        return head
    if (git / ref[1]).is_file():
        return (git / ref[1]).read_text("ascii").strip()
    lines = (git / "packed-refs").read_text("ascii").splitlines()
    return next((line.partition(" ")[0] for line in lines if line.endswith(f" {ref[1]}")), "")


@functools.cache
def homepage() -> str:
    """Where the distribution says that it is published (`Homepage` in its metadata), "" where it
    does not: a link to a place that is not the publisher's would lead readers to somebody else."""
    from importlib import metadata  # noqa: PLC0415 - only for documents with links

    try:
        urls = metadata.metadata(DISTRIBUTION).get_all("Project-URL") or ()
    except metadata.PackageNotFoundError:
        return ""
    named = dict(str(item).split(", ", 1) for item in urls if ", " in str(item))
    return named.get("Homepage", "").rstrip("/")
