"""What the tests of policies share."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from tests.worlds.audited import Audited
from verifier.audit import audit_bundle
from verifier.lab.registry import WEB
from verifier.model.report import Report
from verifier.model.result import CheckResult
from verifier.policy.policy import Policy

Load = Callable[[str], Policy]

DOUBTFUL = """\
services:
  web:
    image: IMAGE
    ports: ["80:80"]
""".replace("IMAGE", WEB.reference)


def with_compose(compose: str, **fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """An edit of the lab's manifest: another compose file, and other fields."""
    return lambda manifest: {**manifest, "docker_compose_file": compose, **fields}


def judged(audited: Audited, policy: Policy, **question: Any) -> Report:
    """The same evidence under another policy."""
    asked = replace(audited.question, **question)
    return audit_bundle(audited.bundle, audited.world.app_id, asked, policy)


def result(report: Report, check_id: str = "manifest.rules") -> CheckResult:
    """One check of the worst attester."""
    return next(item for item in report.subjects[0].checks if item.id == check_id)


def waiver(audited: Audited, **fields: str) -> str:
    """A waiver in TOML for the app of a world, `expires` unquoted."""
    wanted = {
        "id": "W-1",
        "check": "manifest.rules",
        "scope": audited.world.app_id,
        "reason": "a known thing",
        "owner": "ops@example.org",
        **fields,
    }
    expires = wanted.pop("expires", "2027-01-01")
    lines = [f'{key} = "{value}"' for key, value in wanted.items() if value]
    return "\n".join(["[[waivers]]", *lines, f"expires = {expires}"]) + "\n"
