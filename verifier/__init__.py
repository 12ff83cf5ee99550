"""An independent auditor of applications in dstack confidential VMs.

The public interface, imported on first use:

    bundle = collect("2c0a0c96…", clock=lambda: int(time.time()))      network; or
    bundle = load_bundle(Path("evidence"))                             what was saved
    report = verify(bundle, "2c0a0c96…", at=…, trusted=True, policy=load_policy("baseline"))
    report.verdict, report.accepted, report.subjects[0].checks

Whoever asks for more than that writes a `Question` and `Sources`, and judges with an `Audit`: see
`verifier.api`.

`verify` is a pure function: no network, no clock, no global state. `render_json(report)` gives the
report as RFC 8785 JSON.
"""

from importlib import import_module  # noqa: TID251 - by the names below
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from verifier.api import Audit, Question, Sources, collect, verify
    from verifier.evidence.bundle import Bundle
    from verifier.evidence.bundle import load as load_bundle
    from verifier.model.report import Report
    from verifier.policy.policy import Policy, load_policy
    from verifier.report.audit.json import render_json

__all__ = [
    "Audit",
    "Bundle",
    "Policy",
    "Question",
    "Report",
    "Sources",
    "collect",
    "load_bundle",
    "load_policy",
    "render_json",
    "verify",
]

_WHERE: Final = {
    "Audit": ("verifier.api", "Audit"),
    "Bundle": ("verifier.evidence.bundle", "Bundle"),
    "Policy": ("verifier.policy.policy", "Policy"),
    "Question": ("verifier.api", "Question"),
    "Report": ("verifier.model.report", "Report"),
    "Sources": ("verifier.api", "Sources"),
    "collect": ("verifier.api", "collect"),
    "load_bundle": ("verifier.evidence.bundle", "load"),
    "load_policy": ("verifier.policy.policy", "load_policy"),
    "render_json": ("verifier.report.audit.json", "render_json"),
    "verify": ("verifier.api", "verify"),
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _WHERE[name]
    return getattr(import_module(module), attribute)
