"""What a project file chose."""

from msgspec import Struct


class ProjectFile(Struct, frozen=True):
    """What a project file chose of an audit: its name, sha256 (lower-case hex), and (option,
    values) of all that it set, paths relative to it."""

    name: str
    sha256: str
    settings: tuple[tuple[str, tuple[str, ...]], ...]

    def of(self, option: str) -> tuple[str, ...]:
        """The values that it set of an option, () where it did not."""
        return dict(self.settings).get(option, ())
