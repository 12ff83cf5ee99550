"""Shell text that fetches: the patterns that several groups of rules share.

Every pattern of this package that has to look ahead for something looks at most a few hundred
characters far: a text that repeats its beginning must not cost the square of its length.
"""

import re
from functools import lru_cache
from itertools import islice
from typing import Final

from verifier.manifest.secret_text import masked
from verifier.manifest.shell.follow import follow
from verifier.model.result import Severity
from verifier.patterns import pattern

PIPE_TO_SHELL: Final = pattern(
    r"(?:curl|wget)[^\n|;]{0,500}\|\s*(?:sudo\s+)?(?:ba|z|da)?sh\b|(?:source|\.)\s+<\((?:curl|wget)"
    r"|(?:ba|z|da)?sh\s+-c\s+[\"']?\$\((?:curl|wget)"
)
_INSTALL: Final = pattern(
    r"\b(?:pip3?\s+install|npm\s+(?:i|install)\b|npx\s+-y|uvx\s|apt-get\s+(?:-\w+\s+)*install"
    r"|apt\s+(?:-\w+\s+)*install|apk\s+add|yum\s+install|dnf\s+install|hf\s+download"
    r"|huggingface-cli\s+download|go\s+install\s|cargo\s+install|git\s+clone)[^\n;&|]*"
    r"|\b(?:curl|wget)\s[^\n;&|]{0,500}\.(?:safetensors|gguf|onnx|whl|tar\.gz)\b"
)
_SAID: Final = pattern(r"(?:^|[\n;&|({])\s*(?:echo|printf|#)[^\n;&|]*\Z")
_FETCHING: Final = (*("curl", "wget", "install", "npm", "npx", "uvx", "add", "download", "clone"),)
"""What every match of the patterns contains; a search for plain text is much faster."""
_HIDING: Final = frozenset("$`\\'\"(")
_LONGEST: Final = 20_000  # characters of a command line that is followed
_BEFORE: Final = 200
_MAX_FETCHES: Final = 50  # of one text; more say nothing more
_PINNED: Final = pattern(
    r"--hash|--require-hashes|--revision\s+[0-9a-f]{40}|@[0-9a-f]{40}\b|\bnpm\s+ci\b", re.ASCII
)
_CHECKOUT: Final = pattern(r"git\s+(?:checkout|reset\s+--hard)\s+[0-9a-f]{40}\b", re.ASCII)


def as_run(text: str) -> str:
    """What a command line runs, with its constants in place; "" where it is plain already."""
    if len(text) > _LONGEST or _HIDING.isdisjoint(text):
        return ""
    return _followed(text)


@lru_cache(maxsize=256)
def _followed(text: str) -> str:
    return follow(text).text


def unpinned_installs(text: str) -> list[tuple[str, Severity, int]]:
    """What a script installs or downloads, how bad, and at which offset: a fetch that is pinned by
    a commit or hash is low, one straight into a shell high. What is only printed does not count."""
    if not any(map(text.__contains__, _FETCHING)):
        return []
    found: list[tuple[str, Severity, int]] = []
    if "curl" in text or "wget" in text:
        found += (
            (excerpt(match[0]), Severity.HIGH, match.start())
            for match in islice(PIPE_TO_SHELL.finditer(text), _MAX_FETCHES)
        )
    checked_out = _CHECKOUT.search(text) is not None
    for match in islice(_INSTALL.finditer(text), _MAX_FETCHES):
        words = match[0]
        if _SAID.search(text, max(match.start() - _BEFORE, 0), match.start()):
            continue
        pinned = _PINNED.search(words) or (words.startswith("git") and checked_out)
        severity = Severity.LOW if pinned else Severity.MEDIUM
        found.append((excerpt(words), severity, match.start()))
    return found


def excerpt(text: str, length: int = 72) -> str:
    """The beginning of a text, on one line, without the secrets in it."""
    line = " ".join(masked(text[: 16 * length])[: 4 * length].split())
    return line if len(line) <= length else line[: length - 1] + "…"
