"""What a comparison of two manifests comes to, in words."""

from collections.abc import Iterator

from verifier.manifest.diff import Comparison
from verifier.manifest.diff.guest import one_sided


def conclusions(comparison: Comparison) -> Iterator[str]:
    """What a comparison comes to, besides its changes."""
    if comparison.compose_only:
        yield _limits(comparison)
    elif comparison.identical:
        yield "The manifests are equal to the byte: the same compose hash."
    elif comparison.platform_only:
        yield "Only platform-injected fields changed: another compose hash for the same app."
    elif comparison.same_release:
        yield (
            "The same release: docker_compose_file is equal to the byte, and nothing else differs "
            "by more than a low severity."
        )
    elif _same_compose(comparison):
        yield "docker_compose_file is equal to the byte; what differs is around it."
    for name in one_sided(comparison.old, comparison.new):
        yield f"Not compared, because only one of them has it: {name}."


def _limits(comparison: Comparison) -> str:
    """What a compose file alone cannot tell."""
    alone = [item.name for item in (comparison.old, comparison.new) if item.compose_only]
    equal = "The compose files are equal to the byte. " if comparison.identical else ""
    what = "is a compose file alone" if len(set(alone)) == 1 else "are compose files alone"
    return (
        f"{equal}{' and '.join(dict.fromkeys(alone))} {what}: only services were compared. Flags, "
        "allowed_envs, scripts and key provider are not known, nor is the compose hash, which "
        "covers them; what an operator may set is marked as conditional."
    )


def _same_compose(comparison: Comparison) -> bool:
    old, new = comparison.old, comparison.new
    return not (old.hidden or new.hidden) and old.app.compose == new.app.compose
