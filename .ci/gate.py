"""One audit as a gate of a pipeline: `action.yml` and `templates/dstack-audit.yml` run it.

    AUDIT_APP_ID=… python .ci/gate.py          with the Python that the auditor is installed in

    AUDIT_APP_ID           the app, 40 hex digits
    AUDIT_BUNDLE           audit this evidence instead, without any network
    AUDIT_POLICY           baseline where it is empty: never that of the project file
    AUDIT_EXPECT_MANIFEST  the app-compose.json that has to run, a file
    AUDIT_RPC_URL          Ethereum endpoints, one a line; not in the arguments of any process
    AUDIT_FORMAT           the form of the report that the output `report` names; json where empty
    AUDIT_FAIL_ON          not-accepted (where empty), contraindicated or never
    AUDIT_OPTIONS          further options of `verify app`, one word a line
    AUDIT_RESULTS          a new directory for the results; where empty, one below RUNNER_TEMP

Writes report.json, report.md, report.xml (JUnit), report.FORM, the evidence and the findings about
the manifest (lint.sarif); the outputs `verdict`, `accepted`, `report`, `digest`, `sarif` and
`directory` to GITHUB_OUTPUT, the report to
GITHUB_STEP_SUMMARY, and annotations to stdout, each where its file or GITHUB_ACTIONS is there.

Ends with the exit code of `verify`. AUDIT_FAIL_ON may turn those of a verdict into 0, and never
those of a crash (1) or of a mistake in the options (2). Without a report whose verdict is accepted,
an exit code of 0 counts as a crash.
"""

import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from verifier.report.escape import markdown, visible

CRASH, USAGE = 1, 2
LET_PASS = {"not-accepted": set(), "contraindicated": {3, 5}, "never": {3, 4, 5}}
"""The exit codes that each value of AUDIT_FAIL_ON turns into 0."""
SUFFIXES = {"markdown": "md", "terminal": "txt", "junit": "xml"}
SUFFIXES |= {"badge": "svg", "shields": "shields.json", "statement": "intoto.json"}
SUFFIXES |= {"vsa": "vsa.intoto.json", "ear": "ear.json"}
SUMMARY_BYTES = 1_000_000
"""GitHub refuses a step summary over 1 MiB."""
MOST_ANNOTATIONS = 9
"""GitHub shows ten of each kind for a step: these, and the verdict."""
VERIFY = Path(sys.executable).with_name("verify")


class UsageError(Exception):
    """What is wrong with the inputs."""


def main() -> int:
    """Audit, say what came of it, and give the exit code."""
    try:
        fail_on = lets_pass()
        folder = results_folder()
        code, said = audit(folder)
    except (UsageError, OSError) as error:
        folder, fail_on, code, said = None, "not-accepted", USAGE, str(error)
    report = read_report(folder)
    if code == 0 and report.get("accepted") is not True:
        code, said = CRASH, f"the audit ended without an accepted report. {said}"
    passes = code in LET_PASS[fail_on]
    log(said)
    annotate(report, code, said, fail_on if passes else "")
    write_outputs(report, folder)
    write_summary(folder, said)
    return 0 if passes else code


def given(name: str) -> str:
    """An input without the space around it, "" where there is none."""
    return os.environ.get(f"AUDIT_{name}", "").strip()


def lets_pass() -> str:
    """What the job may go on with. Raises UsageError for a word that says nothing of it."""
    fail_on = given("FAIL_ON") or "not-accepted"
    if fail_on not in LET_PASS:
        raise UsageError(f"fail-on: {fail_on!a} is none of {', '.join(LET_PASS)}")
    return fail_on


def results_folder() -> Path:
    """A directory that holds nothing yet."""
    named = given("RESULTS")
    if named:
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UsageError(f"{folder}: it holds files already; name a new directory")
        return folder
    return Path(tempfile.mkdtemp(prefix="dstack-audit-", dir=os.environ.get("RUNNER_TEMP")))


def audit(folder: Path) -> tuple[int, str]:
    """Run `verify app`: its exit code, and what it said on stderr."""
    app_id, bundle = given("APP_ID"), given("BUNDLE")
    if not app_id and not bundle:
        raise UsageError("give an app id or a bundle")
    form = given("FORMAT") or "json"
    # Whoever can change a file of the checkout would else choose by what the gate judges.
    words = ["--policy", given("POLICY") or "baseline"]
    words += ["--bundle", bundle, "--offline"] if bundle and app_id else []
    words += ["--offline"] if bundle and not app_id else []
    words += [] if bundle else ["--save", str(folder / "evidence")]
    words += ["--format", "json", "-o", str(folder / "report.json")]
    words += ["--report", f"markdown={folder / 'report.md'}"]
    words += ["--report", f"junit={folder / 'report.xml'}"]
    if form not in {"json", "markdown", "junit"}:
        words += ["--report", f"{form}={report_path(folder)}"]
    if given("EXPECT_MANIFEST"):
        words += ["--expect-compose-hash", compose_hash(given("EXPECT_MANIFEST"))]
        lint(given("EXPECT_MANIFEST"), folder)
    words += [word.strip() for word in given("OPTIONS").splitlines() if word.strip()]
    done = run("app", *words, "--", app_id or bundle)
    # A report that was not written is on stdout, and belongs into no log.
    code = done.returncode if done.returncode >= 0 else CRASH
    return code, done.stderr.strip()


def lint(file: str, folder: Path) -> None:
    """The findings about a manifest in SARIF, for code scanning; they decide nothing here."""
    done = run("lint", "--format", "sarif", "-o", str(sarif_path(folder)), "--", file)
    if not sarif_path(folder).exists():
        print(f"no findings in SARIF: {done.stderr.strip()}", file=sys.stderr)


def sarif_path(folder: Path) -> Path:
    """Where the findings are, if there are any."""
    return folder / "lint.sarif"


def compose_hash(file: str) -> str:
    """The compose hash of a manifest, a file."""
    done = run("compose-hash", "-q", "--", file)
    if done.returncode:
        raise UsageError(f"expect-manifest: {done.stderr.strip() or 'it has no compose hash'}")
    return done.stdout.strip()


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """`verify` with these arguments."""
    urls = given("RPC_URL").split()
    environment = os.environ | ({"VERIFY_RPC_URL": " ".join(urls)} if urls else {})
    return subprocess.run(
        [VERIFY, *words],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        errors="backslashreplace",
        check=False,
    )


def report_path(folder: Path) -> Path:
    """The report in the form that was asked for."""
    form = given("FORMAT") or "json"
    return folder / f"report.{SUFFIXES.get(form, form)}"


def read_report(folder: Path | None) -> dict[str, Any]:
    """The JSON report; empty where there is none."""
    try:
        found = json.loads((folder / "report.json").read_bytes()) if folder else {}
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def on_github() -> bool:
    """Whether GitHub's runner, or one like it, reads this output."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def log(said: str) -> None:
    """What `verify` said, to stderr; no line of it is a command to GitHub's runner."""
    if not on_github():
        print(said, file=sys.stderr, flush=True)
        return
    token = secrets.token_hex(16)
    print(f"::stop-commands::{token}\n{said}\n::{token}::", flush=True)


def annotate(report: dict[str, Any], code: int, said: str, fail_on: str) -> None:
    """The verdict, and the checks that keep it from being a better one, as annotations."""
    if not on_github():
        return
    kind = "notice" if code == 0 else "warning" if fail_on else "error"
    note = f" (the job goes on: fail-on is {fail_on})" if fail_on else ""
    annotation(kind, "dstack audit", f"{verdict_line(report) or said}{note}")
    decisive = [
        item
        for item in report.get("checks", ())
        if item["status"] != "pass"
        and item["requirement"] != "not-asked"
        and item["skip_kind"] not in {"not-applicable", "blocked"}
    ]
    for item in decisive[:MOST_ANNOTATIONS]:
        annotation(kind if code else "warning", item["id"], item["summary"])


def annotation(kind: str, title: str, text: str) -> None:
    """One workflow command (escaped as in the GitHub actions toolkit, command.ts)."""
    data = escaped(text)
    name = escaped(title).replace(":", "%3A").replace(",", "%2C")
    print(f"::{kind} title={name}::{data}", flush=True)


def escaped(text: str) -> str:
    """Text as the data of a workflow command."""
    return visible(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def verdict_line(report: dict[str, Any]) -> str:
    """The verdict in one line, "" where there is none."""
    if not report:
        return ""
    accepted = "accepted" if report["accepted"] else "not accepted"
    note = f" {report['root_note']}" if report["root_note"] else ""
    app = report["requested_app_id"] or report["target"]
    return f"{report['verdict']}, {accepted}: {app}, as of {report['evaluated_at']}.{note}"


def write_outputs(report: dict[str, Any], folder: Path | None) -> None:
    """The outputs of the action; those of no report are empty."""
    path = report_path(folder) if folder else None
    outputs = {
        "verdict": report.get("verdict", ""),
        "accepted": "true" if report.get("accepted") is True else "false",
        "report": str(path) if path and path.exists() else "",
        "digest": f"sha256:{report['bundle_digest']}" if report else "",
        "sarif": str(sarif_path(folder)) if folder and sarif_path(folder).exists() else "",
        "directory": str(folder or ""),
    }
    lines = "".join(f"{name}={visible(value)}\n" for name, value in outputs.items())
    append("GITHUB_OUTPUT", lines, "the outputs")


def write_summary(folder: Path | None, said: str) -> None:
    """The report in Markdown, or one line where there is none or it is too long."""
    try:
        text = (folder / "report.md").read_text(encoding="utf-8") if folder else ""
    except OSError:
        text = ""
    if len(text.encode()) > SUMMARY_BYTES:
        text = f"{markdown(said)}\n\nThe report is too long for a summary: report.md.\n"
    append("GITHUB_STEP_SUMMARY", text or f"{markdown(said)}\n", "the summary")


def append(name: str, text: str, what: str) -> None:
    """Add to one of the runner's files. Where that cannot be, it is said, and nothing else ends."""
    path = os.environ.get(name)
    if not path:
        if on_github():
            print(f"cannot write {what}: {name} is not set", file=sys.stderr)
        return
    try:
        with Path(path).open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        print(f"cannot write {what}: {name}: {error.strerror}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
