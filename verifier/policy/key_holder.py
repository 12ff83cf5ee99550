"""Accounts and KMSs as people write them: a slip is said, and never held against an app."""

from verifier.errors import PolicyError
from verifier.model.identifiers import parse_key_holder


def named_key_holder(text: str, what: str, hint: str) -> str:
    """The KMS that `text` names, as `parse_key_holder` gives it. Raises PolicyError where it names
    none: by an address whose capitals are no checksum of it, or by half of a key."""
    holder = parse_key_holder(text)
    if holder is None:
        raise PolicyError(
            f"{what} {text!a} is not CHAIN:ADDRESS, a root address or a CA key", hint=hint
        )
    if "0x" in holder:
        refuse_mistyped(text.rpartition(":")[2], f"{what} {text!a}")
    else:
        _need_key(holder, f"{what} {text[:12]!a}…")
    return holder


def refuse_mistyped(address: str, what: str) -> None:
    """Raise PolicyError for an address in both cases whose capitals are not its checksum."""
    from verifier.evidence.chain.ethereum import checksum_address  # noqa: PLC0415 - few name one

    digits = address[2:]
    plain = digits in (digits.lower(), digits.upper())
    if not plain and checksum_address(bytes.fromhex(digits)) != address:
        raise PolicyError(
            f"{what}: its capitals are no checksum of it (EIP-55): something is mistyped",
            hint="copy it again; in lower case alone, it has no checksum",
        )


def _need_key(digits: str, what: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - few name a key
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        load_der_public_key(bytes.fromhex(digits))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise PolicyError(
            f"{what} is no CA key of {len(digits) // 2} bytes: not a DER SubjectPublicKeyInfo",
            hint="copy it again, to its end",
        ) from error
