"""Flaws that an auditor may have, each as a patch of one function: the adversary has to find them.

Each gives the worlds in which it shows, the policy and what is then claimed in vain.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.chain.view import ChainView
from verifier.checks import claims, engine
from verifier.checks.application import identity
from verifier.checks.authorization import governance
from verifier.checks.hardware.endorsements import _Chooser
from verifier.checks.key_management import keys
from verifier.checks.manifest import rules
from verifier.checks.provenance import check
from verifier.checks.provenance.sigstore import SigstoreResult
from verifier.manifest.audit import audit_manifest

Patch = tuple[object, str, object]


class Flaw(Struct, frozen=True):
    """One flaw: what is patched, and the powers (see `explore.Recipe`) that then suffice."""

    patches: tuple[Patch, ...]
    honest: str
    powers: tuple[str, ...]


def _first_list_only(self: _Chooser, certificate: Any, lists: Any, name: str) -> None:
    """Look at one list, which an older date puts first."""
    first = min(lists, key=lambda item: item.issued)
    _REFUSE_REVOKED(self, certificate, [first], name)


def _oldest(_self: _Chooser, lists: Any) -> Any:
    return min(lists, key=lambda item: item.issued)


def _by_the_event(case: Any) -> str:
    """Believe the guest which KMS gave it its keys."""
    return "the guest says so" if case.kms_record is not None else ""


def _any_caller(self: Any, config: Any, result: SigstoreResult) -> str:
    """Look at the name of the workflow alone."""
    names = {item.identity for item in self._asked.signers}
    if result.signer.identity in names:
        return ""
    return str(_OBJECTION(self, config, result))


def _any_enclave(case: Any, name: str, enclave: str, evidence: Any) -> Any:
    known = case.reference.key_providers[0].mrenclave
    return _WITHOUT_KMS(case, name, known if name == "local-sgx" else enclave, evidence)


def _refusals_are_silent(self: ChainView, method: str, request: str, decode: Any) -> Any:
    """Take what one node says, where another says that the contract refuses."""
    answers, silent = _ASK(self, method, request, decode)
    given = [item for item in answers if item.problem is None]
    return (given or answers), silent


def _undated_is_new(case: Any, key: Any, root_address: str) -> tuple[str, str]:
    problem, doubt = _CHECK_ENV_KEY(case, key, root_address)
    return problem, "" if key.timestamp is None else doubt


def _nothing_open(case: Any) -> Any:
    return replace(_JUDGE_MANIFEST(case), open=())


def _never(*_: object) -> bool:
    return False


def _whatever_holds(claim: Any, _results: Mapping[str, Any]) -> Any:
    return claim


def _anybody_witnesses(*asked: Any, **more: Any) -> None:
    """Take what is in a bundle for what its collector saw, whoever that was."""
    _VIEW(*asked, **{**more, "trusted": True})


def _any_machine(spec: engine.CheckSpec, case: Any) -> engine.Outcome:
    return engine.passed("it is genuine") if spec.id == "hardware.host" else _MADE(spec, case)


def _own_word_counts(*asked: Any) -> Any:
    audit = _AUDIT_MANIFEST(*asked)
    kept = [item for item in audit.findings if item.rule != "KMS-007" or not item.conditional]
    return replace(audit, findings=tuple(kept))


_VIEW: Final = ChainView.__init__
_MADE: Final = engine._made  # noqa: SLF001
_REFUSE_REVOKED: Final = _Chooser._refuse_revoked  # noqa: SLF001 - the flaw is inside of it
_OBJECTION: Final[Callable[..., str]] = check._Examination._objection  # noqa: SLF001
_WITHOUT_KMS: Final = keys._without_kms  # noqa: SLF001
_ASK: Final = ChainView._ask  # noqa: SLF001
_CHECK_ENV_KEY: Final = keys._check_env_key  # noqa: SLF001
_JUDGE_MANIFEST: Final = rules.judge_manifest
_AUDIT_MANIFEST: Final = audit_manifest

FLAWS: Final[Mapping[str, Flaw]] = {
    "an owner of unknown code counts as a good one": Flaw(
        (
            (governance, "_doubts", lambda *_: []),
            (rules, "audit_manifest", _own_word_counts),
        ),
        "plain",
        ("owner-unknown",),
    ),
    "an older revocation list counts as well": Flaw(
        (
            (_Chooser, "_refuse_revoked", _first_list_only),
            (_Chooser, "_newest", _oldest),
        ),
        "plain",
        ("revoked-pck-older-list-beside",),
    ),
    "the guest is believed which KMS gave it its keys": Flaw(
        tuple((module, "vouched", _by_the_event) for module in (identity, keys, claims)),
        "plain",
        ("certificate-kept-back", "fake-kms-under-the-true-name"),
    ),
    "whoever calls the named workflow is accepted": Flaw(
        ((check._Examination, "_objection", _any_caller),),  # noqa: SLF001
        "plain",
        ("named-workflow-called",),
    ),
    "any enclave may seal the keys": Flaw(
        ((keys, "_without_kms", _any_enclave),), "sealed", ("local-enclave-unknown",)
    ),
    "what one endpoint says stands": Flaw(
        ((ChainView, "_ask", _refusals_are_silent),), "plain", ("owner-by-one-operator",)
    ),
    "a signature without its time is new": Flaw(
        ((keys, "_check_env_key", _undated_is_new),), "plain", ("env-key-undated",)
    ),
    "a rule that cannot be judged holds": Flaw(
        ((rules, "judge_manifest", _nothing_open),), "plain", ("rules-left-open",)
    ),
    "an app id that the guest says is measured": Flaw(
        ((claims, "_is_said", _never),),
        "plain",
        ("fake-kms-under-the-true-name", "victim-id-no-kms"),
    ),
    "what is in a bundle was witnessed, whoever collected it": Flaw(
        ((ChainView, "__init__", _anybody_witnesses),), "plain", ("nobody-vouches",)
    ),
    "any genuine machine is the one that was named": Flaw(
        ((engine, "_made", _any_machine),), "plain", ("machine-of-its-own",)
    ),
    "claims stand under an unknown OS image": Flaw(
        ((claims, "_supported", _whatever_holds),), "plain", ("self-built-image",)
    ),
}
"""By what is wrong."""
