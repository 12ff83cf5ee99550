"""What of the lab is no power, and why: its knobs, and its attacks."""

from collections.abc import Mapping
from typing import Final

KNOBS: Final[Mapping[str, str]] = {
    name: reason
    for names, reason in {
        "seed now": "it makes another world, and no lie in one",
        "version app_name": "an honest guest has any",
        "no_instance_id public_logs public_sysinfo": "a flag of the manifest, which is measured",
        "advisories": "Intel signs them, of a level that it calls up to date",
        "device_binding": "an older way to name a machine, by which honest contracts allow one",
        "kms_bootstrap": "nothing rests on the record of how a KMS made its keys",
        "edit_proof": "the attestation proofs of powers are handed over",
        "spread_tls": "it takes many connections of which one in seven lies, and here one is made",
    }.items()
    for name in names.split()
}
"""Knobs that nobody turns, neither in a power nor in an honest world."""

_DEMANDED: Final = "its policy demands more than those that ask here"
_SIMULATOR: Final = "the relying party of another world denies what public simulators show"
_ASKED: Final = "its relying party asks for another challenge, or by another way"
_NAMED: Final = "its relying party names instances"
_BYTES: Final = "it is about bytes: `make mutate` and the fuzz targets change them"
_SAFE: Final = "the service of a Safe is in the hands of none of these liars"

ATTACKS: Final[Mapping[str, str]] = {
    name: reason
    for names, reason in {
        "machine-not-named": "it is the power machine-of-its-own",
        "rpc-one-says-allowed": "it is the power one-says-allowed",
        "place-of-another-machine place-forged place-long-ago place-expired": _DEMANDED,
        "place-unspoken snp-old-firmware no-notice kms-owner-at-once": _DEMANDED,
        "signers-with-code-demanded safe-passes-calls-on owner-unknown-demanded": _DEMANDED,
        "owner-own-word-demanded upgradable unknown-manifest version-too-old": _DEMANDED,
        "version-kept version-made-young version-by-one-operator": _DEMANDED,
        "timelock-planted-demanded": _DEMANDED,
        "version-without-log image-not-expected image-expected-nowhere": _DEMANDED,
        "simulator-image simulator-app-id simulator-quote simulator-kms": _SIMULATOR,
        "simulator-root-key": _SIMULATOR,
        "certificate-lent challenge-ignored report-data-unknown session-relayed": _ASKED,
        "proof-beside": "a genuine proof of another app, which harms nobody",
        "instance-hidden-and-named instance-of-another-app instance-absent": _NAMED,
        "instance-answers-for-another": _NAMED,
        "instance-hides-from-auditors": KNOBS["spread_tls"],
        "quote-trailing-letters quote-padding-over-cap answer-of-two-readings": _BYTES,
        "quote-relabelled": "only who asks for a second opinion is told",
        "old-quote": "it is the honest world `sealed`: nothing there dates a quote",
        "kms-without-contract": "it is no lie: such a KMS says of itself that no contract binds it",
        "other-generation": "the relying party of another world knows contracts of that generation",
        "announced-half-hidden": "an owner and every chain endpoint lie at once",
        "safe-service-gone safe-service-lies": _SAFE,
    }.items()
    for name in names.split()
}
"""Attacks of the catalogue that are no power."""
