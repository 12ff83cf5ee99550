"""Builds of contracts that no reference values know."""

from verifier.model.chain import ContractCode


def known_code(generation: str, build: str = "test") -> ContractCode:
    """A build of a generation."""
    return ContractCode(
        role="app",
        generation=generation,
        build=build,
        length=0,
        immutable_offsets=(),
        fingerprint="",
        source="a test",
        date="2026-06-15",
    )
