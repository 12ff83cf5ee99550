"""[tcb], [platform] and [snp] of a policy: how old a platform's firmware may be, which machines may
run an app, and whose word on their place counts."""

from typing import Any, Final, TypedDict

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from verifier.checks.demands import Demands
from verifier.errors import EvidenceError, PolicyError
from verifier.evidence.codec import parse_hex
from verifier.patterns import pattern
from verifier.policy.document import demanded, number, one_of, section, texts

TCB_STATUSES: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "TDRelaunchAdvised",
    "TDRelaunchAdvisedConfigurationNeeded",
)
"""What Intel calls a platform that it has not revoked; a revoked one is accepted by nobody."""

ADVISORY: Final = "INTEL-[A-Z]{2,8}-[0-9]{5}"
"""The form of Intel's advisories; one that is written otherwise would be nobody's."""

SIGNED: Final = "signed"
TCB_PARTS: Final = ("fmc", "boot_loader", "tee", "snp", "microcode")
"""The parts of an SEV-SNP platform's TCB version, each one byte; chips before Turin have no FMC."""

MAX_VERSION: Final = 255
PPID_BYTES: Final = 16
"""Of a platform's provisioning id."""

_ADVISORY: Final = pattern(ADVISORY)
_ED25519_BYTES: Final = 32
_MIN_RSA_BITS: Final = 2048


class TcbDemands(TypedDict):
    """The fields of `Demands` that [tcb] fills."""

    tcb_statuses: tuple[str, ...]
    reject_advisories: tuple[str, ...]
    minimum_evaluation_number: int
    tcb_grace: int


class PlatformDemands(TypedDict):
    """The fields of `Demands` that [platform] fills."""

    ppids: tuple[str, ...]
    place_keys: tuple[str, ...]
    place_days: int


def tcb_demands(table: dict[str, Any], where: str) -> TcbDemands:
    """What the section demands. Raises PolicyError, also for a status or an advisory that Intel
    has not: the one would accuse every app, the other nobody."""
    what = f"policy {where}: [tcb]"
    statuses = texts(table.get("statuses", [*Demands().tcb_statuses]), f"{what} statuses")
    if not statuses:
        raise PolicyError(f"{what} statuses is an empty list", hint="leave the key out, or fill it")
    advisories = texts(table.get("reject_advisories", []), f"{what} reject_advisories")
    for item in advisories:
        if not _ADVISORY.fullmatch(item):
            raise PolicyError(
                f"{what} reject_advisories: {item!a} has another form",
                hint="such as INTEL-SA-00615",
            )
    return {
        "tcb_statuses": tuple(one_of(item, TCB_STATUSES, f"{what} statuses") for item in statuses),
        "reject_advisories": advisories,
        "minimum_evaluation_number": number(table, "minimum_evaluation_number", 0, where),
        "tcb_grace": number(table, "grace_days", 0, where),
    }


def platform_demands(table: dict[str, Any], where: str) -> PlatformDemands:
    """What the section demands. Raises PolicyError."""
    what = f"policy {where}: [platform]"
    ppids = demanded(table, "ppid", what)
    keys = demanded(table, "proof_of_cloud_keys", what)
    asked = "proof_of_cloud" in table
    if asked:
        one_of(table["proof_of_cloud"], (SIGNED,), f"{what} proof_of_cloud")
    if asked != bool(keys):
        raise PolicyError(
            f"{what} proof_of_cloud and proof_of_cloud_keys need each other",
            hint="a signature says something only where you name the key that you believe",
        )
    return {
        "ppids": tuple(sorted({_hex(item, PPID_BYTES, f"{what} ppid") for item in ppids})),
        "place_keys": tuple(sorted({_key(item, what) for item in keys})),
        "place_days": number(table, "proof_of_cloud_days", Demands().place_days, where),
    }


def _hex(text: str, size: int | None, what: str) -> str:
    try:
        return parse_hex(text, what, length=size, allow_0x=True).hex()
    except EvidenceError as error:
        raise PolicyError(error.message) from error


def _key(text: str, what: str) -> str:
    """A public key in lower-case hex: 32 bytes of Ed25519, or the DER of an RSA key."""
    digits = _hex(text, None, f"{what} proof_of_cloud_keys")
    raw = bytes.fromhex(digits)
    try:
        if len(raw) == _ED25519_BYTES:
            Ed25519PublicKey.from_public_bytes(raw)
            return digits
        key = load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _unfit(what) from error
    if not isinstance(key, RSAPublicKey) or key.key_size < _MIN_RSA_BITS:
        raise _unfit(what)
    return digits


def _unfit(what: str) -> PolicyError:
    return PolicyError(
        f"{what} proof_of_cloud_keys: no Ed25519 key, and no RSA key of {_MIN_RSA_BITS} bits",
        hint="write an Ed25519 key as 64 hex digits, or an RSA key as the hex of its DER "
        "SubjectPublicKeyInfo",
    )


def least_tcb(table: dict[str, Any], where: str) -> dict[str, int]:
    """The least version of each part that is named; {} for none. Raises PolicyError."""
    if "min_tcb" not in table:
        return {}
    parts = section(table, "min_tcb", TCB_PARTS, where)
    if not parts:
        raise PolicyError(
            f"policy {where}: [snp] min_tcb names no part", hint=f"such as {TCB_PARTS[-1]} = 115"
        )
    for name in parts:
        if number(parts, name, 0, where) > MAX_VERSION:
            raise PolicyError(f"policy {where}: [snp] {name} is over {MAX_VERSION}")
    return dict(parts)
