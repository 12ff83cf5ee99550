"""What the relying party demands of evidence that is genuine, as plain values.

A policy builds them from its document; a check takes them from its `Case`, and knows no policy.
"""

import calendar
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Final

from msgspec import Struct, field

from verifier.model.result import JsonValue, Severity
from verifier.reference.values import Origin

MANIFEST_RULES: Final = "manifest.rules"
"""The check whose findings a waiver can name one by one."""

BOOT_MACHINE: Final = "boot.machine"
"""The check of which a waiver names the ACPI tables that it accepts."""

ENDPOINT_TLS: Final = "endpoint.tls"
"""The check whose result is about an address that users connect to."""

ENDPOINT_DOMAIN: Final = "endpoint.domain"
"""The check whose result is about the name of that address."""

IMAGE_RULE: Final = "policy.images"
"""The rule of a finding about an image that is from elsewhere than demanded."""

_DAY: Final = 86400


class Waiver(Struct, frozen=True, kw_only=True):
    """One accepted failure.

    id       its name
    check    the check whose failure is accepted
    rule     the manifest rule whose findings are accepted; "" for the whole check
    scope    the app id that it is about, hex
    reason   why it is accepted
    owner    who answers for it
    expires  the first day on which it does not hold
    digests  the accepted ACPI tables, sha384 in hex, of `boot.machine` alone; () for any other
             check
    """

    id: str
    check: str
    rule: str
    scope: str
    reason: str
    owner: str
    expires: date
    digests: tuple[str, ...] = ()

    def holds(self, now: int) -> bool:
        """Whether it still holds at a time (Unix seconds)."""
        return now < calendar.timegm(self.expires.timetuple())

    def days_left(self, now: int) -> int:
        """The days that it still holds, begun ones counted; 0 or less when it has expired."""
        return -((now - calendar.timegm(self.expires.timetuple())) // _DAY)

    def words(self, now: int) -> str:
        """What a report says of what it waives, or would waive had it not expired."""
        state = "waived until" if self.holds(now) else "counts: its waiver expired on"
        return f"{state} {self.expires} ({self.id}, {self.owner}: {self.reason})"

    def to_json(self) -> dict[str, JsonValue]:
        """Its fields, for the policy's digest."""
        return {
            "id": self.id,
            "check": self.check,
            "rule": self.rule,
            "scope": self.scope,
            "reason": self.reason,
            "owner": self.owner,
            "expires": self.expires.isoformat(),
            **({"digests": list(self.digests)} if self.digests else {}),
        }


def waiver_for(
    waivers: Iterable[Waiver], check: str, app_id: str, now: int, rule: str = ""
) -> Waiver | None:
    """The waiver that names this check (and rule) of this app: one that holds, else an expired one,
    which waives nothing and is named in the report."""
    named = [
        item for item in waivers if (item.check, item.rule, item.scope) == (check, rule, app_id)
    ]
    return max(named, key=lambda item: (item.holds(now), item.expires, item.id), default=None)


class GovernanceDemands(Struct, frozen=True, kw_only=True):
    """What is demanded of those who can change what an app runs; the defaults demand nothing."""

    notice_days: int = 0
    """Days between the announcement of a change and its effect."""

    owners: tuple[str, ...] = ()
    """Addresses that may own the app's contract, as written; () allows any."""

    several_keys: bool = False
    """No single key may be able to change what runs."""

    upgrades_disabled: bool = False
    """The code of the app's contract may never be replaced."""

    max_unknown_manifests: int | None = None
    """How many allowed manifests may be unknown to the audit; with None, any number is a doubt."""

    @property
    def made(self) -> Mapping[str, JsonValue]:
        """The demands that are made, by their names in the policy."""
        values: dict[str, JsonValue] = {
            "notice_days": self.notice_days or None,
            "owners": list(self.owners) or None,
            "several_keys": self.several_keys or None,
            "upgrades_disabled": self.upgrades_disabled or None,
            "max_unknown_manifests": self.max_unknown_manifests,
        }
        return {key: value for key, value in values.items() if value is not None}


class Demands(Struct, frozen=True, kw_only=True):
    """The demands of one policy.

    The defaults are what a policy that says nothing demands: a TCB that is up to date, fresh
    collateral, and a quote that answers a challenge.

    tcb_statuses               the acceptable TCB statuses, as Intel's TCB info names them; any
                               other fails
    reject_advisories          Intel's advisories that may not apply to the platform
                               ("INTEL-SA-00615"); () for none
    minimum_evaluation_number  the least tcbEvaluationDataNumber; that of the reference values holds
                               besides
    tcb_grace                  days from the date of its TCB level on, in which what is out of date
                               is a warning; 0 for none
    max_collateral_age         days since the oldest part of the collateral was issued
    max_root_crl_age           days since the root's own revocation list was issued, which is
                               renewed once a year
    max_quote_age              days since the earliest time at which the quote can have been made; 0
                               asks for a challenge in its report data
    snp_min_tcb                the least version of each part of an SEV-SNP platform's firmware, by
                               its name in a policy; {} for any
    ppids                      provisioning ids of the only machines that may run it, 16 bytes of
                               lower-case hex each; () for any
    place_keys                 keys of those who may say where the machine stands: Ed25519 keys (32
                               bytes) or RSA keys (DER SubjectPublicKeyInfo), hex; () asks nobody
    place_days                 days since such a statement was signed, at most
    expect                     allowed values by name: `app_id`, `compose_hash`, `os_image_hash` and
                               `device` in lower-case hex, `image` as NAME=sha256:DIGEST, `kms` as
                               `verifier.model.identifiers.parse_key_holder` gives it; a name that
                               is absent allows any value
    kms_signed                 whether an app id that a KMS binds needs a certificate of that KMS
                               about the judged quote: the guest's word about its KMS is not enough
                               then
    endpoint_named             whether an audit has to be about an address that users connect to
    os_releases                the dstack releases that may run; () for any
    os_origin                  where the registers of the OS image have to be from; None accepts
                               what another party measured, and doubts what was only observed
    rules                      rule id → the severity that it has instead of its own
    registries                 registries that any image may come from; without these and
                               `repositories`, all may
    repositories               repositories that images may come from, `registry/repository`, or
                               with `/*` all below
    workflows                  identities, in Sigstore certificates, of the only workflows that may
                               have built the images; () for those of each image's own repository
    sources                    URLs of the only GitHub repositories whose source may have been
                               built; () for that of the workflow, or without `workflows` the one
                               that each image names
    governance                 what is demanded of the owners of the contracts
    not_before                 the first day of which a manifest that may start may be, UTC; None
                               for any age
    waivers                    the failures that are accepted; () for none
    """

    tcb_statuses: tuple[str, ...] = ("UpToDate",)
    reject_advisories: tuple[str, ...] = ()
    minimum_evaluation_number: int = 0
    tcb_grace: int = 0
    max_collateral_age: int = 30
    max_root_crl_age: int = 400
    max_quote_age: int = 0
    snp_min_tcb: Mapping[str, int] = {}
    ppids: tuple[str, ...] = ()
    place_keys: tuple[str, ...] = ()
    place_days: int = 30
    expect: Mapping[str, tuple[str, ...]] = {}
    kms_signed: bool = False
    endpoint_named: bool = False
    os_releases: tuple[str, ...] = ()
    os_origin: Origin | None = None
    rules: Mapping[str, Severity] = {}
    registries: tuple[str, ...] = ()
    repositories: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    governance: GovernanceDemands = field(default_factory=GovernanceDemands)
    not_before: date | None = None
    waivers: tuple[Waiver, ...] = ()

    @property
    def platform_json(self) -> dict[str, JsonValue]:
        """What is demanded of the machine, by its names in a policy; {} for nothing."""
        signed: dict[str, JsonValue] = {
            "proof_of_cloud": "signed",
            "proof_of_cloud_keys": list(self.place_keys),
            "proof_of_cloud_days": self.place_days,
        }
        named: dict[str, JsonValue] = {"ppid": list(self.ppids)}
        return {**(named if self.ppids else {}), **(signed if self.place_keys else {})}

    @property
    def expected_images(self) -> tuple[tuple[str, str], ...]:
        """(name, digest) of the images that are expected."""
        pairs = (item.rpartition("=") for item in self.expect.get("image", ()))
        return tuple((name, digest) for name, _, digest in pairs)

    def of_guests(self) -> "Demands":
        """What is demanded of any guest, whichever app it runs: its platform and its OS image."""
        return Demands(
            tcb_statuses=self.tcb_statuses,
            reject_advisories=self.reject_advisories,
            minimum_evaluation_number=self.minimum_evaluation_number,
            tcb_grace=self.tcb_grace,
            max_collateral_age=self.max_collateral_age,
            max_root_crl_age=self.max_root_crl_age,
            os_origin=self.os_origin,
            rules=self.rules,
        )
