"""Make a virtual environment that holds exactly what a requirements file pins, and this project.

    python3 .ci/set_up.py ENVIRONMENT REQUIREMENTS

Standard library alone, in a syntax that Pythons too old for the project can still read, so that
they are told so. Whatever goes wrong ends in one line on stderr and exit code 1. The stamp that
says "done", `.installed-STEM` in the environment, is written last: an interrupted set-up is never
taken for a finished one, and the next one begins again from an empty environment.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)
NEWEST = (3, 13)  # the pinned files are tried up to here; a newer Python may find none for it
VERSION = sys.version.split()[0]

INSTALL = ("-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--no-deps")
PINNED = ("--require-hashes", "--only-binary", ":all:", "--retries", "2", "--requirement")
PROJECT = ("--no-build-isolation", "--no-index", "--editable", ".")

# What pip prints, and what it means for whoever waits. The first that fits is said.
CAUSES = (
    (
        r"DO NOT MATCH THE HASHES[\s\S]*?^\s+(?P<name>[A-Za-z0-9._-]+==\S+)",
        "the index gave another file than the pinned one for {name}; it was not installed",
    ),
    (r"No space left on device", "the disk is full"),
    (
        (
            r"Max retries exceeded|NewConnectionError|Connection ?Error|[Tt]imed out|SSLError"
            r"|name resolution|connection broken|ProxyError|HTTP error 5|50\d [A-Z]\w+ Error"
        ),
        "the package index does not answer: try again, or name another with PIP_INDEX_URL",
    ),
    (
        r"No matching distribution found for (?P<name>\S+)",
        (
            "the package index gave no compiled file of {name} for Python {version} on this "
            "machine: it has none, or does not answer"
        ),
    ),
    (r"^ERROR: (?P<line>[^\n]+)", "{line}"),
    (r"(?P<line>[^\n]+)\s*\Z", "{line}"),
)


class SetupError(Exception):
    """One line for whoever waits."""


def main(environment: Path, requirements: Path) -> None:
    """Set `environment` up, from nothing unless a finished one of this Python is there."""
    if sys.version_info[:2] < OLDEST:
        raise SetupError(
            f"Python 3.11 or later is needed, found {VERSION}: make PYTHON=/path/to/python3.11"
        )
    if sys.version_info[:2] > NEWEST:
        print(f"The pinned packages are tried on Python 3.11 to 3.13, this is {VERSION}")
    stamp = environment / f".installed-{requirements.stem}"
    if stamp.exists() or not is_finished(environment):
        create(environment)
    print(f"Installing into {environment} (pinned by hash)", flush=True)
    python = str(environment / "bin" / "python")
    with (environment / "set-up.log").open("w+") as log:
        run(log, python, *INSTALL, *PINNED, str(requirements))
        run(log, python, *INSTALL, *PROJECT)
        run(log, python, "-m", "pip", "check")
    stamp.write_text(VERSION)
    print(f"Ready: {environment}/bin/verify", flush=True)


def is_finished(environment: Path) -> bool:
    """Whether a set-up with this Python came to its end here."""
    return {stamp.read_text() for stamp in environment.glob(".installed-*")} == {VERSION}


def create(environment: Path) -> None:
    """An empty environment, in place of one that an earlier set-up made or left half done."""
    old = environment.with_name(environment.name + ".old")
    try:
        shutil.rmtree(str(old), ignore_errors=True)
        if environment.exists():
            if any(environment.iterdir()) and not (environment / "pyvenv.cfg").exists():
                raise SetupError(f"{environment} is there, and is no virtual environment")
            environment.rename(old)  # at once: half an environment never stands in its place
            shutil.rmtree(str(old))
        environment.mkdir(parents=True)
    except OSError as error:
        raise SetupError(
            f"{environment} cannot be written ({error.strerror}): make VENV=/another/folder"
        ) from error
    made = subprocess.run(
        (sys.executable, "-m", "venv", str(environment)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if made.returncode:
        shutil.rmtree(str(environment), ignore_errors=True)
        said = made.stdout.decode(errors="replace")
        missing = "ensurepip" in said or "No module named" in said
        why = "its venv module is missing (Debian: python3-venv)" if missing else meaning(said)
        raise SetupError(f"{sys.executable} cannot make a virtual environment: {why}")


def run(log, *command: str) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 -- a text file
    """Run one step; where it fails, its cause."""
    start = log.seek(0, 2)
    if subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode:
        log.seek(start)
        raise SetupError(f"{meaning(log.read())} (all of it: {log.name})")


def meaning(said: str) -> str:
    """What a failed step printed, as one line."""
    for pattern, meant in CAUSES:
        found = re.search(pattern, said, re.MULTILINE)
        if found:
            return meant.format(version=VERSION, **found.groupdict())
    return "it failed without a word"


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except SetupError as error:
        sys.exit(f"set-up: {error}")
    except KeyboardInterrupt:
        sys.exit("set-up: interrupted; the next one begins again")
