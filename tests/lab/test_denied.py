"""What a simulated world is made of counts for nothing under the embedded reference values."""

from verifier.evidence.chain.ethereum import key_address
from verifier.lab import cert, keys
from verifier.lab.events import OsImage
from verifier.lab.world import build
from verifier.reference.values import embedded


def test_embedded_values_deny_the_lab() -> None:
    reference = embedded()
    for label in ("onchain", "hosted"):
        root = keys.k256_public(keys.k256(f"kms {label} k256"))
        assert reference.is_denied("ca-spki", keys.spki(cert.kms_ca_key(label)).hex())
        assert reference.is_denied("k256-address", key_address(root))
    for label in ("production", "development"):
        assert reference.is_denied("mrtd", OsImage(label).mrtd.hex())
    assert reference.is_denied("app-id", build().app_id)
