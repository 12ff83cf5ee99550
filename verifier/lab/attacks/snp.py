"""Attacks on what a guest on AMD SEV-SNP says of itself."""

from collections.abc import Iterator
from typing import Final

from verifier.evidence.bundle import Kind
from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import HONEST, Attack, refused, warned
from verifier.lab.snp import TCB, Snp
from verifier.lab.world import World

CHECK: Final = "hardware.snp"
LEAST: Final = f"[snp]\nmin_tcb = {{ snp = {TCB[6]}, microcode = {TCB[7]} }}\n"
_OLD: Final = TCB[:7] + bytes([TCB[7] - 1])


def honest(world: World) -> forge.HandedOver:
    """The attestation of an honest guest of the app, beside that of a TD."""
    return given(Snp(app=bytes.fromhex(world.app_id)))


def given(guest: Snp) -> forge.HandedOver:
    """The attestation of a guest."""
    return ((Kind.PLATFORM_ATTESTATION, guest.attestation()),)


def attacks() -> Iterator[Attack]:
    """Reports that are no genuine guest's, or about another one."""
    guests = {
        "snp-debug": (
            "lets the host read an SEV-SNP guest's memory",
            Snp(policy=0x30000 | 1 << 19),
        ),
        "snp-foreign-root": ("makes an SEV-SNP chip under a root of its own", Snp(root="attacker")),
        "snp-other-configuration": (
            "shows an SEV-SNP report beside the configuration of another app",
            Snp(stated_app=forge.OTHER_APP),
        ),
    }
    for name, (title, guest) in guests.items():
        yield refused(
            name,
            CHECK,
            title,
            HONEST,
            handed_over=lambda _, guest=guest: given(guest),
            twin_handed_over=honest,
        )
    yield refused(
        "snp-old-firmware",
        CHECK,
        "starts an SEV-SNP guest on firmware from before the version that the policy demands",
        HONEST,
        policy=LEAST,
        handed_over=lambda _: given(Snp(launch_tcb=_OLD)),
        twin_handed_over=honest,
    )
    yield warned(
        "snp-of-another-app",
        CHECK,
        "shows the SEV-SNP attestation of another app",
        HONEST,
        "the attestation is genuine; it says nothing of the app that was asked for",
        handed_over=lambda _: given(Snp(app=forge.OTHER_APP)),
        twin_handed_over=honest,
    )
