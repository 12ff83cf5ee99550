"""Points of a timeline, `TARGET@TIME`: the manifests that a contract allowed at a time."""

import re
from typing import TYPE_CHECKING, Final

from verifier.cli.clock import moment
from verifier.cli.gather import gather
from verifier.cli.options import Reach
from verifier.errors import EvidenceError
from verifier.patterns import pattern

if TYPE_CHECKING:
    from verifier.api import Audit
    from verifier.manifest.diff import Document

_POINT: Final = pattern(r"(.+)@(\d{4}-\d\d-\d\d(?:[Tt ].*)?)", re.ASCII)


class Points:
    """Reads points; evidence about a target is gathered once."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._gathered: dict[str, Audit] = {}

    def documents(self, text: str) -> "list[Document] | None":
        """The manifests that were allowed at a point, oldest permission first; None for a text
        that names no point.

        Raises EvidenceError where none of them is known, UsageError for what is no target.
        """
        point = _POINT.fullmatch(text)
        if point is None:
            return None
        from verifier.api import Past  # noqa: PLC0415
        from verifier.cli.known_manifests import read_known  # noqa: PLC0415
        from verifier.manifest.diff import read_document  # noqa: PLC0415

        target, on = point[1], moment(point[2], "the time after @")
        if target not in self._gathered:
            self._gathered[target] = gather(target, self._reach, past=Past.APP)
        found = self._gathered[target]
        timeline = found.timeline(on)
        known = read_known(self._reach.manifests, found.question.reference).texts
        allowed = timeline.app_state.compose_hashes
        documents = [
            read_document(f"{text} ({digest[:8]}…)", known[digest], {})
            for digest in sorted(allowed & known.keys())
        ]
        if not documents:
            listed = ", ".join(sorted(allowed)) or "none"
            raise EvidenceError(
                f"{text}: no manifest that was allowed then is known; allowed were: {listed}",
                hint="name a directory with their texts, or with bundles of earlier audits, with "
                "--manifests",
            )
        return documents
