"""What the simulated relying party judged of the simulated app: the policy of its stage."""

from datetime import UTC, datetime
from typing import Final

from verifier.lab.knobs import DAY
from verifier.lab.world import World

_FOUND: Final = {
    2: "its source is public at the commit that its image names, and was read",
    3: "two rebuilds of that commit gave the image's digest",
    4: "the code knows no key but the one that its KMS derives",
    5: "every user can take out what is theirs within a day",
    6: "the code calls no service",
    7: "the code has no administrative endpoint",
}


def reviewed_policy(world: World, *numbers: int) -> str:
    """The policy `stage1` with a review of each of these requirements, or of all that a person has
    to judge, for the world's manifest (TOML)."""
    expires = datetime.fromtimestamp(world.now + 90 * DAY, UTC).date()
    reviews = (
        f"""
[[reviews]]
requirement = {number}
compose_hash = "{world.guest.compose_hash.hex()}"
reason = "{_FOUND[number]}"
reviewer = "reviewer@lab.invalid"
expires = {expires}
"""
        for number in numbers or _FOUND
    )
    return "".join(('name = "simulated review"\nextends = "stage1"\n', *reviews))
