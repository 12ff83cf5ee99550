"""How well an image is tied to its source, and what the relying party demands of that.

From the weakest tie to the strongest:

    unpinned      its reference holds no digest, or is malformed, or its index holds images for
                  several platforms, and it is wanted for another one: it can mean anything
    contradicted  what was served, or is demanded, is not what the digest names
    malformed     its documents are not an image for linux/amd64
    unknown       nobody was asked about it, or nothing shows what is demanded
    unreachable   its registry, or what that sends one to, gave no answer
    missing       its registry says that there is no such image
    private       its registry shows it to nobody without a login (some say so of a missing one)
    untied        it exists, and names no source
    asserted      it exists, and its labels name a source: the builder's word, fixed by the digest
    attested      a workflow of that source repository signed, at a commit, that it built it
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from verifier.errors import EvidenceError
from verifier.evidence.images import oci
from verifier.model.result import EvidenceRef, JsonValue


class Tie(StrEnum):
    """How well an image is tied to its source (see the module's text)."""

    UNPINNED = "unpinned"
    CONTRADICTED = "contradicted"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    UNREACHABLE = "unreachable"
    MISSING = "missing"
    PRIVATE = "private"
    UNTIED = "untied"
    ASSERTED = "asserted"
    ATTESTED = "attested"


_MAX_NAMED: Final = 8
_PATH_OF_ONE: Final = 2
"""How many digests an image has that stands in no index: those of manifest and configuration."""
_REFUSED: Final = (Tie.CONTRADICTED, Tie.MALFORMED)
_UNSEEN: Final = (Tie.UNKNOWN, Tie.UNREACHABLE, Tie.MISSING, Tie.PRIVATE)


class Build(Struct, frozen=True, kw_only=True, order=True):
    """What a workflow attested: the URL of the repository that it built, at which commit, the ref
    that this stood at, such as `refs/heads/main`, and who signed."""

    source: str
    commit: str
    ref: str
    signer: str


class Provenance(Struct, frozen=True, kw_only=True):
    """What is known about one image.

    service        the service that runs it, or what else of the manifest names it
    reference      the image as the manifest names it; "" where it is built, or another file names
                   it
    tie            how well it is tied to its source
    note           why it is tied no better; "" where it is attested
    digests        those of the reference, of the platform's manifest and of its configuration, as
                   far as they are known
    builds         those that were attested, in no order of theirs: a build that can be repeated
                   gives one image at several commits; () where none was
    source         the repository it was built from, from where `tie` says; "" where nothing says
                   it, or builds say several
    commit         the commit it was built from, likewise
    signer         who attested the build; "" where nobody did, or several
    disagreements  statements about the source that exclude each other; () for none
    evidence       where in the bundle this comes from
    """

    service: str
    reference: str
    tie: Tie
    note: str
    digests: tuple[str, ...] = ()
    source: str = ""
    commit: str = ""
    signer: str = ""
    builds: tuple[Build, ...] = ()
    disagreements: tuple[str, ...] = ()
    evidence: tuple[EvidenceRef, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """What a relying party may call it: its service, or its repository, long or short."""
        names = {self.service, self.reference.partition("@")[0]}
        try:
            reference = oci.parse_reference(self.reference)
        except EvidenceError:
            return frozenset(names)
        long = f"{reference.registry}/{reference.repository}"
        return frozenset({*names, long, reference.repository})

    def __str__(self) -> str:
        return f"{self.service} ({self.reference or 'no image'}): {self.note}"

    @property
    def built_as(self) -> str:
        """The commits that it was attested at, in words; "" where there are not several."""
        commits = sorted({item.commit for item in self.builds})
        named = ", ".join(commits[:_MAX_NAMED])
        return f"{self.service} is attested at {len(commits)} commits: {named}" * (len(commits) > 1)

    def attested_as(self, builds: Iterable[Build]) -> "Provenance":
        """The same, where these builds were attested."""
        found = tuple(sorted(set(builds)))
        return replace(
            self,
            tie=Tie.ATTESTED,
            note="",
            builds=found,
            source=only(item.source for item in found),
            commit=only(item.commit for item in found),
            signer=only(item.signer for item in found),
        )

    def wanted_for(self, platform: str) -> "Provenance":
        """The same, where it is wanted for another platform than that of guests ("" for that one):
        what was looked at in an index is then not what runs."""
        seen = (Tie.UNTIED, Tie.ASSERTED, Tie.ATTESTED)
        if not platform or self.tie not in seen or len(self.digests) <= _PATH_OF_ONE:
            return self
        note = f"it is wanted for the platform {platform!a}, of which its index may hold another"
        return Provenance(
            service=self.service,
            reference=self.reference,
            tie=Tie.UNPINNED,
            note=note,
            digests=self.digests[:1],
            evidence=self.evidence,
        )

    def to_json(self) -> dict[str, JsonValue]:
        """All of it except the evidence, and the builds unless there are several."""
        builds: list[JsonValue] = [
            {"source": item.source, "commit": item.commit, "signer": item.signer}
            for item in self.builds
        ]
        return {
            "service": self.service,
            "image": self.reference,
            "tie": self.tie.value,
            "source": self.source,
            "commit": self.commit,
            "signer": self.signer,
            "digests": list(self.digests),
            "note": self.note,
            "disagreements": list(self.disagreements),
            **({"builds": builds} if len(builds) > 1 else {}),
        }


def only(values: Iterable[str]) -> str:
    """The value that all of these are, "" where they are several."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""


def signed_as_demanded(found: Iterable[Provenance]) -> tuple[Provenance, ...]:
    """The images where the relying party names who may have built them: one that no such signer
    attested is not known to be acceptable."""
    return tuple(
        item
        if item.tie in (Tie.ATTESTED, *_REFUSED)
        else replace(
            item,
            tie=Tie.UNKNOWN,
            note=f"nothing shows that an accepted workflow built it: {item.note}",
        )
        for item in found
    )


def as_expected(
    found: Iterable[Provenance], expected: Iterable[tuple[str, str]]
) -> tuple[Provenance, ...]:
    """The images, where those that are not the expected ones are contradicted.

    `expected` holds (name, digest) pairs; several digests of one name are alternatives. An image
    whose documents were not obtained may be the expected one: that is not known then.
    """
    items = list(found)
    allowed: dict[str, list[str]] = {}
    for name, digest in expected:
        allowed.setdefault(name, []).append(digest)
    for name, digests in allowed.items():
        wanted = " or ".join(digests)
        places = [place for place, item in enumerate(items) if name in item.names]
        if not places:
            note = "it is expected, and the manifest names no such image"
            items.append(
                Provenance(service=name, reference=wanted, tie=Tie.CONTRADICTED, note=note)
            )
        for place in places:
            if set(digests) & set(items[place].digests):
                continue
            tie, note = Tie.CONTRADICTED, f"it is not the expected {wanted}"
            if items[place].tie in _UNSEEN:
                tie, note = Tie.UNKNOWN, f"whether it is the expected {wanted} is not known"
                note = f"{note}: {items[place].note}"
            items[place] = replace(items[place], tie=tie, note=note)
    return tuple(items)
