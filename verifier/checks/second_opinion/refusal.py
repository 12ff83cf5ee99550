"""How this verifier says no."""


class RefusedError(Exception):
    """The quote does not verify, and why."""


class RevokedError(RefusedError):
    """Intel revoked the TCB that the quote is of."""


def need(held: object, otherwise: str) -> None:
    """Raises RefusedError, with the reason, unless a condition holds."""
    if not held:
        raise RefusedError(otherwise)
