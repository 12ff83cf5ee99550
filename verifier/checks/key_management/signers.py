"""Who signed a key chain, by the keys that its signatures recover to; no TD is involved."""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from verifier.checks.engine import Outcome, failed, missing, passed
from verifier.errors import EvidenceError
from verifier.evidence.chain.ethereum import key_address, recover_key, signed_message_digest
from verifier.evidence.guest import kms_answers as kms
from verifier.evidence.guest.kms_answers import SignatureChain
from verifier.model.result import JsonValue, Status
from verifier.reference.values import ReferenceValues

_OF_READINGS: Final = (Status.PASS, Status.FAIL, Status.SKIP)
"""Which outcome counts of several readings, the first of these."""

PURPOSES: Final = ("", "signing", "ethereum", "mainnet")
"""What apps are known to ask a key for, tried where an answer does not say it: a wrong one recovers
to a root key that nobody knows."""


def identify_signers(chains: Iterable[SignatureChain], reference: ReferenceValues) -> Outcome:
    """Who signed the chain, of several readings of one answer, where one is of a known root key:
    under another than the true one, its own keys look like others'. Else why one of them fails,
    else what the first says. Raises EvidenceError when a signature recovers to nothing."""
    found = [identify_signer(chain, reference) for chain in chains]
    return min(found, key=lambda item: _OF_READINGS.index(item.status))


def identify_signer(chain: SignatureChain, reference: ReferenceValues) -> Outcome:
    """Who signed a key chain. Raises EvidenceError when a signature recovers to nothing."""
    if chain.algorithm and chain.domain is None:
        return missing(
            "the chain names no domain, and the app's root key signs the key together with it",
            remediation="name the domain that the app asked the key for, with --domain",
        )
    app_key = recover_key(chain.digest, chain.app_signature, "app key signature")
    asked: dict[str, JsonValue] = {"purpose": chain.purpose}
    if chain.algorithm:
        asked = {"domain": chain.domain, "algorithm": chain.algorithm}
    actual: dict[str, JsonValue] = {
        "app id": chain.app_id.hex(),
        **asked,
        "derived key": chain.derived_public_key.hex(),
        "app root key": app_key.hex(),
    }
    other = _other_message(chain)
    if other:
        return failed(other, actual=actual)
    if not chain.app_id:
        return missing(
            "the chain names no app, and the KMS signs an app's root key together with its id",
            actual=actual,
            remediation="name the app that it is said to be of, with --app-id",
        )
    return _rooted(chain, reference, app_key, actual)


def _rooted(
    chain: SignatureChain,
    reference: ReferenceValues,
    app_key: bytes,
    actual: dict[str, JsonValue],
) -> Outcome:
    """Whose KMS signed the app's root key."""
    issued = kms.app_key_digest(chain.app_id, app_key)
    root_key = recover_key(issued, chain.kms_signature, "KMS signature")
    address = key_address(root_key)
    record = next((row for row in reference.kms if row.root_address == address), None)
    actual |= {"KMS root key": root_key.hex(), "KMS root": address}
    denied = reference.is_denied("k256-address", address)
    claimed = (
        (chain.app_public_key, app_key.hex()),
        (chain.kms_public_key, root_key.hex()),
    )
    if denied:
        return failed(f"denied: {denied.why}", actual=actual)
    if any(key and key.hex() != found for key, found in claimed) or (
        chain.kms_root_address and chain.kms_root_address.lower() != address.lower()
    ):
        return failed("the chain claims other keys than those that signed it", actual=actual)
    if record is None:
        return missing("no known KMS has this root key", actual=actual)
    return passed(f"signed by {record.name}", actual=actual)


def readings(
    chain: SignatureChain, purpose: str | None, app_id: bytes, domain: str | None = None
) -> list[SignatureChain]:
    """The chain about the app and with the purpose, or the domain of a key of `/v1/GetKey`, that
    the user names; without a purpose in either place, with each that apps are known to have. Raises
    EvidenceError where it says otherwise."""
    if app_id and chain.app_id not in (b"", app_id):
        raise EvidenceError(f"the chain is about app {chain.app_id.hex()}, not {app_id.hex()}")
    about = replace(chain, app_id=chain.app_id or app_id)
    if chain.algorithm:
        if purpose is not None or domain not in (None, chain.domain or domain):
            raise EvidenceError(f"the chain is about the domain {chain.domain!a}, and no purpose")
        return [replace(about, domain=chain.domain if domain is None else domain)]
    if domain is not None:
        raise EvidenceError("the chain is about a purpose, and no domain")
    known = chain.purpose if purpose is None else purpose
    purposes = PURPOSES if purpose is None and not known else (known,)
    return [replace(about, purpose=item) for item in purposes]


def _other_message(chain: SignatureChain) -> str:
    """Why what an oracle signed is not signed by the key of its chain; "" where it is, or where it
    shows no message."""
    if chain.signer and _address(chain.derived_public_key).lower() != chain.signer.lower():
        return f"the signer that it names, {chain.signer}, is not the derived key"
    if not (chain.message and chain.signature):
        return ""
    digest = signed_message_digest(chain.message)
    if recover_key(digest, chain.signature, "message signature") != chain.derived_public_key:
        return "another key than the derived one signed the message"
    return ""


def _address(public_key: bytes) -> str:
    try:
        return key_address(public_key)
    except EvidenceError:
        return ""
