"""The queues of Safes in a bundle: what each service said of each, or why it said nothing."""

from msgspec import Struct

from verifier.errors import EvidenceError
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.chain.safe_service import SafeQueue, parse_queue, queue_path


class Told(Struct, frozen=True):
    """The answer of one service; `queue` is None, and `problem` says why, where there is none."""

    source: str
    queue: SafeQueue | None
    problem: str


class SafeQueues:
    """What a bundle holds of transaction services."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._artifacts = [item for item in bundle.artifacts if item.kind is Kind.SAFE_QUEUE]

    def of(self, safe: str, nonce: int) -> tuple[Told, ...]:
        """What services say of a Safe (EIP-55), asked from this place in its order on."""
        path = queue_path(safe, nonce)
        return tuple(
            self._read(item, safe, item.source.removesuffix(path))
            for item in self._artifacts
            if item.source.endswith(path)
        )

    def _read(self, artifact: Artifact, safe: str, source: str) -> Told:
        if artifact.sha256 is None:
            return Told(source, None, artifact.error)

        try:
            queue = parse_queue(self._bundle.blob(artifact), safe, f"queue of {safe}")
        except EvidenceError as error:
            return Told(source, None, error.message)
        return Told(source, queue, queue.problem)
