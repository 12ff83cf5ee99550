"""The whole auditor, loaded: what the processes of tests.cli.command begin with."""

import gc
import pkgutil
import warnings
from importlib import import_module  # noqa: TID251 - of all modules there are

import verifier

_OF_AN_EXTRA = "verifier.watch.fleet.cluster"
_LATE = (
    "bs4",
    "dcap_qvl",
    "dns.message",
    "eth_abi.abi",
    "eth_keys.backends.coincurve",
    "sigstore.dsse",
    "sigstore.verify",
)
"""What commands import as late as they can, and most of them need."""

with warnings.catch_warnings(action="ignore"):
    for _module in pkgutil.walk_packages(verifier.__path__, "verifier."):
        if _module.name != _OF_AN_EXTRA:
            import_module(_module.name)
    for _name in _LATE:
        import_module(_name)
gc.freeze()
