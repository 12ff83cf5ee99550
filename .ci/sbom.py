"""Write the bill of materials of what a requirements file pins, as CycloneDX 1.6 JSON.

    python3 .ci/sbom.py REQUIREMENTS >sbom.cdx.json

Standard library alone. Everything in it comes from the pinned file and `verifier/version.py`: each
package with the sha256 of every file that may be installed, and from the `# via` comments of
pip-compile what asked for it. A package that only the build needs has the scope `excluded`. There
is no time, no serial number and no path in it, so that the same lock gives the same bytes.
"""

import json
import re
import sys
from pathlib import Path

PROJECT = "dstack-audit"
VERSION = Path(__file__).parents[1] / "verifier" / "version.py"
PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[^\s;\\]+)")
BUILD = "::build-system"


class Package:
    """One pinned package: its sha256 hashes, and the names of what asked for it."""

    def __init__(self, name: str, version: str) -> None:
        self.name = re.sub(r"[-_.]+", "-", name).lower()
        self.purl = f"pkg:pypi/{self.name}@{version}"
        self.version = version
        self.hashes: list[str] = []
        self.asked_by: list[str] = []

    def component(self, *, runs: bool) -> dict[str, object]:
        """The package in CycloneDX; `runs` tells whether the auditor runs on it."""
        hashes = [{"alg": "SHA-256", "content": each} for each in sorted(self.hashes)]
        files = "the published files, of which one is installed"
        return {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "scope": "required" if runs else "excluded",
            "purl": self.purl,
            "externalReferences": [
                {"type": "distribution", "url": self.purl, "comment": files, "hashes": hashes}
            ],
        }


def packages(text: str) -> list[Package]:
    """The packages of a requirements file. Raises ValueError for a line that it does not know."""
    found: list[Package] = []
    for line in text.splitlines():
        if pin := PIN.match(line):
            found.append(Package(pin["name"], pin["version"]))
        elif digest := re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})( \\)?", line):
            found[-1].hashes.append(digest[1])
        elif via := re.fullmatch(r"    #(?: via)?(?: +(\S.*))?", line):
            found[-1].asked_by += [via[1]] if via[1] else []
        elif line and not line.startswith("#"):
            raise ValueError(f"not a line of a pinned file: {line}")
    return found


def bill(pinned: list[Package], version: str) -> dict[str, object]:
    """The bill of materials of the project in this version."""
    root = f"pkg:pypi/{PROJECT}@{version}"
    refs = {each.name: each.purl for each in pinned} | {PROJECT: root}
    asks: dict[str, set[str]] = {ref: set() for ref in refs.values()}
    todo = []
    for each in pinned:
        for asker in each.asked_by:
            name = re.split(r"[ \[]", asker)[0]
            asks[refs[name]].add(each.purl)
            if name == PROJECT and BUILD not in asker:
                todo.append(each.purl)
    runs: set[str] = set()
    while todo:
        ref = todo.pop()
        if ref not in runs:
            runs.add(ref)
            todo += asks[ref]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": PROJECT,
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [each.component(runs=each.purl in runs) for each in pinned],
        "dependencies": [{"ref": ref, "dependsOn": sorted(asks[ref])} for ref in sorted(asks)],
    }


if __name__ == "__main__":
    stated = re.search(r'VERSION: Final = "([^"]+)"', VERSION.read_text(encoding="utf-8"))
    if stated is None:
        sys.exit(f"{VERSION} states no version")
    pinned = packages(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(json.dumps(bill(pinned, stated[1]), indent=1))
