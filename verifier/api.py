"""The audit as two functions, for programs that are not the command line."""

from collections.abc import Callable

from verifier.audit import audit_bundle
from verifier.checks.case import Question
from verifier.collection import Sources, collect_evidence
from verifier.errors import PolicyError
from verifier.evidence.bundle import Bundle
from verifier.model.identifiers import AppId, parse_app_id
from verifier.model.result import Report
from verifier.policy.policy import Policy
from verifier.reference.values import embedded


def collect(app_id: str, *, clock: Callable[[], int], sources: Sources | None = None) -> Bundle:
    """Collect the evidence about an app (40 hex digits) from where it is served.

    `clock` gives Unix seconds. A source that fails is recorded in the bundle; nothing is raised
    for it. Raises PolicyError when `app_id` is not an app id.
    """
    question = Question(app_id=_app_id(app_id), reference=embedded(), at=clock(), trusted=True)
    return collect_evidence(question, sources or Sources(), clock)


def verify(
    bundle: Bundle, app_id: str, *, at: int, policy: Policy, trusted: bool = False
) -> Report:
    """Audit a bundle as the evidence about an app, as of a time (Unix seconds).

    `trusted` vouches for what the bundle's collector witnessed: true for a bundle that this
    program collected itself. Raises PolicyError when `app_id` is not an app id.
    """
    question = Question(app_id=_app_id(app_id), reference=embedded(), at=at, trusted=trusted)
    return audit_bundle(bundle, app_id, question, policy)


def _app_id(text: str) -> AppId:
    app_id = parse_app_id(text)
    if app_id is None:
        raise PolicyError(f"{text!a} is not an app id (40 hex digits)")
    return app_id
