"""The simulated Sigstore instance, signing for the images of these tests."""

from functools import partial

from tests.evidence.images.images import COMMIT, SOURCE
from verifier.lab import sigstore

NOW = 1_760_000_000
WORLD = sigstore.Sigstore(certified_at=NOW, logged_at=NOW + 60)
ROOT = WORLD.trusted_root

Workflow = partial(sigstore.Workflow, repository=SOURCE, commit=COMMIT)
"""A workflow of the images' source."""

provenance = partial(sigstore.provenance, repository=SOURCE, commit=COMMIT)
"""A SLSA provenance statement about one digest (hex), built from the images' source."""
