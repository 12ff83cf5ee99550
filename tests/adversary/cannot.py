"""Why a liar alone has no power over a fact."""

from collections.abc import Mapping
from typing import Final

from tests.adversary.model import Fact, Liar

_MACHINE: Final = "hardware sealed image machine held"
_CONTRACTS: Final = "control notice past"
_QUOTE: Final = "a CPU signs it, and its key is not in this liar's hands"
_RUNS: Final = "the guest measures it, and this liar runs no guest"
_NO_WAYS: Final = "the manifest that leaves a way in is the deployer's"
_ON_CHAIN: Final = "contracts hold it, and this liar owns none"
_SIGNS: Final = "a workflow's identity signs it, and this liar has none of them"
_NAMED: Final = "resolvers and certificate logs say it, and this liar is none"
_KEYED: Final = "the KMS signs for it"
_DATED: Final = "the challenge dates the quote, and this liar quotes nothing"
_ENDS: Final = "the quote commits to the key, and this liar ends no connection"

_REASONS: Final[Mapping[Liar, Mapping[str, str]]] = {
    Liar.HOST: {
        "ways": _NO_WAYS,
        _CONTRACTS: _ON_CHAIN,
        "source signer": _SIGNS,
        "name": _NAMED,
    },
    Liar.DEPLOYER: {
        "hardware sealed machine held": "the host starts the guest",
        "kms": "somebody else runs the KMS",
        _CONTRACTS: "with the contracts in hand this is their owner",
        "signer": _SIGNS,
        "endpoint name": "who leads users to the guest is a gateway, or answers for names",
    },
    Liar.KMS: {
        _MACHINE: _QUOTE,
        "code app": _RUNS,
        "ways": _NO_WAYS,
        _CONTRACTS: _ON_CHAIN,
        "source signer": _SIGNS,
        "endpoint": _ENDS,
        "name": _NAMED,
        "fresh": _DATED,
    },
    Liar.OWNER: {
        _MACHINE: _QUOTE,
        "code app": _RUNS,
        "ways": _NO_WAYS,
        "kms": "a KMS measures itself; its contract only allows it",
        "source signer": _SIGNS,
        "endpoint": _ENDS,
        "name": _NAMED,
        "fresh": _DATED,
    },
    Liar.OPERATOR: {
        _MACHINE: _QUOTE,
        "code app": _RUNS,
        "ways": _NO_WAYS,
        "keys kms": _KEYED,
        "notice": "the other endpoint tells the delay",
        "source signer": _SIGNS,
        "endpoint": _ENDS,
        "name": _NAMED,
        "fresh": _DATED,
    },
    Liar.OPERATORS: {
        _MACHINE: _QUOTE,
        "code app": _RUNS,
        "ways": _NO_WAYS,
        "keys kms": _KEYED,
        "notice": "endpoints that agree on a lie are out of the model (threat model)",
        "source signer": _SIGNS,
        "endpoint": _ENDS,
        "name": _NAMED,
        "fresh": _DATED,
    },
    Liar.BUILDER: {
        _MACHINE: _QUOTE,
        "code app": "the manifest pins the image by its digest",
        "ways": _NO_WAYS,
        "keys kms": _KEYED,
        f"allowed {_CONTRACTS}": _ON_CHAIN,
        "endpoint": _ENDS,
        "name": _NAMED,
        "fresh": _DATED,
    },
    Liar.REGISTRY: {
        _MACHINE: _QUOTE,
        "code app": "the manifest pins the image by its digest",
        "ways": _NO_WAYS,
        "keys": _KEYED,
        f"allowed {_CONTRACTS}": _ON_CHAIN,
        "signer": _SIGNS,
        "endpoint": _ENDS,
        "name": _NAMED,
        "fresh": _DATED,
    },
    Liar.GATEWAY: {
        _MACHINE: _QUOTE,
        "code": _RUNS,
        "ways": _NO_WAYS,
        f"allowed {_CONTRACTS}": _ON_CHAIN,
        "source signer": _SIGNS,
        "fresh": _DATED,
    },
    Liar.NAMES: {
        _MACHINE: _QUOTE,
        "code app": _RUNS,
        "ways": _NO_WAYS,
        "keys kms": _KEYED,
        f"allowed {_CONTRACTS}": _ON_CHAIN,
        "source signer": _SIGNS,
        "fresh": _DATED,
    },
    Liar.MESSENGER: {
        "image machine held": _QUOTE,
        "code": "the register commits to the manifest's bytes",
        "ways": _NO_WAYS,
        "kms": "the KMS's own CA certifies its quote",
        "source signer": _SIGNS,
        "fresh": _DATED,
    },
}

CANNOT: Final[Mapping[Liar, Mapping[Fact, str]]] = {
    liar: {
        Fact[name.upper()]: reason for names, reason in reasons.items() for name in names.split()
    }
    for liar, reasons in _REASONS.items()
}
"""By liar and fact."""
