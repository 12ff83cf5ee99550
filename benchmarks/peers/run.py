"""Try every verifier that installs here on the conformance corpus, and write benchmarks/peers.md.

Each is installed in its newest release into an environment of its own. The adapters beside this
file say what was replaced (the trust anchor, and fetching of collateral), and nothing else is.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
CORPUS: Final = HERE.parents[1] / "fixtures" / "vectors"
VERIFY: Final = Path(sys.executable).parent / "verify"
PYTHON: Final = {
    "dcap-qvl": ("dcap_qvl_python.py", ("quote",)),
    "secretvm-verify": ("secretvm_python.py", ("quote",)),
    "tinfoil": ("tinfoil_python.py", ("quote",)),
    "dstack-sdk": ("dstack_sdk_python.py", ("log", "manifest")),
}
"""What asks each of them, and about which links: of others it says `unsupported` at once."""
NODE: Final = "@phala/dcap-qvl"
ABOUT: Final = (
    "Right answers of all vectors of a link; in brackets: forged evidence that was *accepted*, "
    "honest evidence that was *refused*. A dash: the verifier does not look at that link. "
    "Written by `make peers`; [docs/conformance.md](../docs/conformance.md) says what vectors are."
)
Rows = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Install, try, write."""
    found: Rows = {"verify (this auditor)": tried("")}
    with tempfile.TemporaryDirectory() as folder:
        for package, name, interpreter in installed(Path(folder)):
            if package == NODE:
                script = Path(folder) / "node" / "dcap_qvl_node.js"
                script.write_bytes((HERE / script.name).read_bytes())
                found[name] = tried(f"{interpreter} {script}", ("quote",))
            else:
                adapter, links = PYTHON[package]
                found[name] = tried(f"{interpreter} {HERE / adapter}", links)
    (HERE.parent / "peers.md").write_text(document(found), encoding="utf-8")


def installed(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Each package with its name and release, and the program that runs what asks it."""
    for package in PYTHON:
        python = folder / package / "bin" / "python"
        run(sys.executable, "-m", "venv", str(python.parents[1]))
        run(str(python), "-m", "pip", "install", "--quiet", package)
        release = run(str(python), "-m", "pip", "show", package).splitlines()[1].split()[1]
        yield package, f"{package} {release}", str(python)
    node = folder / "node"
    node.mkdir()
    run("npm", "install", "--ignore-scripts", "--silent", "--prefix", str(node), NODE)
    about = json.loads((node / "node_modules" / NODE / "package.json").read_bytes())
    yield NODE, f"{NODE} {about['version']}", "node"


def run(*words: str) -> str:
    """The output of a program that has to succeed."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def tried(command: str, links: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What a verifier says of each vector of these links, of all with ()."""
    words = [str(VERIFY), "conformance", str(CORPUS), "--json"]
    words += [word for link in links for word in ("--link", link)]
    words += ["--command", command] if command else []
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["answers"]
    return rows


def document(found: Rows) -> str:
    """The table, and what each accepted although it is forged."""
    links = list(dict.fromkeys(row["link"] for rows in found.values() for row in rows))
    lines = [
        "# Verifiers on the conformance corpus",
        "",
        ABOUT,
        "",
        f"| Verifier | {' | '.join(links)} |",
        f"|---|{'---|' * len(links)}",
    ]
    for name, rows in found.items():
        cells = [_cell([row for row in rows if row["link"] == link]) for link in links]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, rows in found.items():
        wrong = [row for row in rows if row["said"] == "accept" and not row["right"]]
        if wrong:
            lines += ["", f"**{name}** accepts:", ""]
            lines += [f"- `{row['link']}/{row['name']}`" for row in wrong]
    return "\n".join([*lines, ""])


def _cell(rows: list[dict[str, Any]]) -> str:
    if not rows or all(row["said"] == "unsupported" for row in rows):
        return "-"
    right = sum(row["right"] for row in rows)
    accepted = sum(row["said"] == "accept" and not row["right"] for row in rows)
    refused = sum(row["said"] == "reject" and not row["right"] for row in rows)
    broken = sum(row["said"] == "broken" for row in rows)
    return f"{right}/{len(rows)} ({accepted}, {refused}{f', broken {broken}' if broken else ''})"


if __name__ == "__main__":
    main()
