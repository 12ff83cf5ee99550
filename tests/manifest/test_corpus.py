"""The rules on deployed manifests, which are not part of this project."""

import pytest

from benchmarks.corpus import CORPUS, scores

pytestmark = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="shared corpus is not beside this checkout"
)


def test_every_expected_finding_and_no_forbidden_one() -> None:
    found = list(scores())
    assert sum(len(score.must) for score in found) > 0
    assert [(score.name, score.missed) for score in found if score.missed] == []
    assert [(score.name, score.wrong) for score in found if score.wrong] == []
