"""Which code a long run tried: what was counted under one is not mixed with what another gives."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.evidence.recorded import RECORDED

ROOT: Final = Path(__file__).resolve().parents[1]


def version(judged_by: Iterable[str]) -> str:
    """What names the auditor as it is, the files (below the project) that judge it, and whether
    there is recorded evidence."""
    files = [path for path in (ROOT / "verifier").rglob("*") if path.suffix in (".py", ".json")]
    files += (ROOT / "verifier").rglob("*.toml")
    files += (ROOT / name for name in judged_by)
    digest = hashlib.sha256(f"recorded: {RECORDED.is_dir()}\n".encode())
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]
