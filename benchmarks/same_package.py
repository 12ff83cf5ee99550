"""The package under test, for `same_results.py`: what its command gives, without the texts.

Everything goes through the command line, whose names do not change, in forks of one process that
has imported the package. `entry` alone knows what lies behind: where the names are that collect a
world's evidence, today and in earlier trees.
"""

import contextlib
import json
import os
import pkgutil
import re
import signal
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Final

SECONDS: Final = 300
"""How long one command may take."""

HOMES: Final = {
    "collect_evidence": ("verifier.collection", "verifier.audit"),
    "Sources": ("verifier.collection", "verifier.audit"),
    "Question": ("verifier.checks.case",),
    "parse_reference": ("verifier.reference.values",),
    "BundleBuilder": ("verifier.evidence.bundle",),
    "save": ("verifier.evidence.bundle",),
}
"""Where a name is or was, if the package's front door does not have it."""

TEXTS: Final = frozenset(
    (
        *("conclusion", "fix", "how", "meaning", "message", "origin", "reason", "remediation"),
        *("root_note", "summary", "target", "time_note", "title", "tool", "words"),
        *("bundle_digest", "digest", "fingerprint", "reference_digest"),
    )
)
"""Members of documents that are sentences, or digests of the question."""

SENTENCES: Final = frozenset(
    ("concerns", "gaps", "history", "notes", "problems", "reasons", "remarks", "unproven")
)
"""Lists of sentences: how many there are is kept."""

FINDING: Final = ("rule", "severity", "service", "location", "conditional")
CHECK: Final = ("status", "skip_kind", "requirement")
CLAIM: Final = ("value", "basis", "conditions")

Json = Any
Results = dict[str, Json]


def entry(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """A name of the package under test."""
    for home in ("verifier", "verifier.api", *HOMES[name]):
        try:
            return getattr(import_module(home), name)
        except (ModuleNotFoundError, AttributeError):
            continue
    raise ImportError(f"{name} is in none of {', '.join(HOMES[name])}: add where it is")


def load_package(arguments: Iterable[object]) -> None:
    """Import every module, and audit once, so that every fork finds all of it warm."""
    package = import_module("verifier")
    for module in pkgutil.walk_packages(package.__path__, "verifier."):
        import_module(module.name)
    for name in [name for name in os.environ if name.startswith("VERIFY_")]:
        del os.environ[name]
    sys.argv = ["verify", *map(str, arguments), "-o", os.devnull]
    with contextlib.suppress(SystemExit):
        import_module("verifier.cli.main").main()


def verify(*arguments: object) -> tuple[int, str]:
    """Exit code and standard output of `verify ARGUMENTS`, in a fork of this process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(write, 1)
        _become([str(item) for item in arguments])
    os.close(write)
    with os.fdopen(read, "rb") as stream:
        out = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), out.decode()


def _become(arguments: list[str]) -> None:
    """Be the command, and end as it ends: 1 for an exception that nobody caught."""
    code: Any = 1
    try:
        signal.alarm(SECONDS)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        sys.argv = ["verify", *arguments]
        import_module("verifier.cli.main").main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


def run(read: Callable[[Json], Json], *arguments: object) -> Results:
    """The exit code of a command, and what `read` keeps of the JSON that it gives."""
    code, out = verify(*arguments, "--format", "json")
    try:
        return {"exit": code, **read(json.loads(out))}
    except ValueError:
        return {"exit": code}


def of_lines(*arguments: object) -> Results:
    """The exit code of a command, and the statuses that it prints as lines, `STATUS CHECK …`."""
    code, out = verify(*arguments)
    lines = re.findall(r"^(pass|warn|fail|skip|error) +([a-z_]+\.[a-z_]+)", out, re.MULTILINE)
    return {"exit": code, "checks": {check_id: status for status, check_id in lines}}


def of_report(document: Json) -> Results:
    """What is kept of an audit report."""
    worst = {name: document[name] for name in ("verdict", "checks", "claims")}
    return {
        "verdict": document["verdict"],
        "accepted": document["accepted"],
        "bundle_trust": document["bundle_trust"],
        "subjects": {
            subject["name"]: {
                "verdict": subject["verdict"],
                "checks": {item["id"]: _only(CHECK, item) for item in subject["checks"]},
                "claims": {item["name"]: _only(CLAIM, item) for item in subject["claims"]},
            }
            for subject in ({"name": document["subject"], **worst}, *document["other_subjects"])
        },
        "findings": _sorted(_only(FINDING, item) for item in document["findings"]),
    }


def _only(names: tuple[str, ...], item: Json) -> Results:
    return {name: item[name] for name in names}


def kept(value: Json) -> Json:
    """A document without its texts, whose lists of objects are sorted."""
    if isinstance(value, dict):
        return {
            key: len(item) if key in SENTENCES and isinstance(item, list) else kept(item)
            for key, item in value.items()
            if key not in TEXTS
        }
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return _sorted(kept(item) for item in value)
    return value


def _sorted(items: Iterable[Json]) -> list[Json]:
    return sorted(items, key=compact)


def compact(value: Json) -> str:
    """JSON in one line, the same for equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
