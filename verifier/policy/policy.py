"""The appraisal policy: a TOML document, and the relying party's own reference values.

    name = "…"                      accept = ["affirming"]        extends = "baseline" (optional)
    [checks]      check id = "required" | "advisory" | "not-asked"
    [tcb]         statuses, reject_advisories, minimum_evaluation_number, grace_days
    [freshness]   max_collateral_age, max_root_crl_age, max_quote_age (days)
    [platform]    ppid: the machines that may run it
                  proof_of_cloud: "signed", where a statement about the machine's place is needed
                  proof_of_cloud_keys, proof_of_cloud_days: who may sign it, and how old it may be
    [snp]         min_tcb: the least version of each part of an SEV-SNP platform's firmware
    [expect]      app_id, compose_hash, os_image_hash, device: lists of hex strings
                  image: list of "NAME=sha256:…", NAME a service or a repository
                  kms: list of "CHAIN:ADDRESS", CA keys (DER, hex) and root addresses
    [identity]    kms_signed: whether the KMS has to have signed for the judged quote
    [endpoint]    named: whether the audit has to be about an address that users connect to
    [os]          releases: the dstack releases that may run
                  origin: "rebuilt", where somebody else's measurement of an image is not enough
    [rules]       rule id = "critical" | "high" | "medium" | "low" | "info", in manifest.rules
    [images]      registries, repositories ("ghcr.io/org/app", "ghcr.io/org/*"): others fail
    [signers]     workflows: who may have built the images (identities in Sigstore certificates)
                  sources: from which repositories ("https://github.com/org/app"), where that is
                  not the workflow's own
    [manifest]    not_before: the day before which no manifest that may start was first allowed
    [governance]  notice_days, owners, several_keys, upgrades_disabled, max_unknown_manifests
    [[waivers]]   see `verifier.policy.waivers`
    [[reviews]]   see `verifier.policy.reviews`

`verifier.checks.demands` says what each demand means. No policy goes below the floor: those checks
are always required. A demand that no registered check decides counts as missing evidence. The
digest is that of the effective policy, with everything it extends and every expectation folded in.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import rfc8785
from msgspec import Struct
from msgspec.structs import replace

from verifier.checks.demands import (
    ENDPOINT_TLS,
    IMAGE_RULE,
    MANIFEST_RULES,
    Demands,
    GovernanceDemands,
    Waiver,
)
from verifier.errors import EvidenceError, PolicyError, did_you_mean
from verifier.manifest.rules.catalogue import TEXTS
from verifier.model.result import JsonValue, Requirement, Severity, Verdict
from verifier.patterns import pattern
from verifier.policy.document import (
    BUILT_IN,
    day,
    demanded,
    number,
    one_of,
    read_document,
    refuse_unknown,
    section,
    switch,
    texts,
    words,
)
from verifier.policy.key_holder import named_key_holder, refuse_mistyped
from verifier.policy.platform import PPID_BYTES, least_tcb, platform_demands, tcb_demands
from verifier.policy.reviews import Review, parse_reviews
from verifier.policy.waivers import parse_waivers
from verifier.reference.values import Origin

__all__ = ["BUILT_IN", "FLOOR", "Policy", "load_policy"]

FLOOR: Final = (
    "hardware.quote",
    "hardware.td",
    "boot.image",
    "runtime.replay",
    "runtime.events",
    "application.identity",
    "application.manifest",
)
DECIDED_BY: Final = {
    "app_id": "application.identity",
    "compose_hash": "application.manifest",
    "os_image_hash": "boot.image",
    "device": "hardware.tcb",
    "kms": "key_management.provider",
    "os_release": "boot.image",
    "image": "provenance.images",
    "images": MANIFEST_RULES,
    "signers": "provenance.images",
    "governance": "authorization.governance",
    "manifest": "authorization.governance",
    "platform": "hardware.host",
    "snp": "hardware.snp",
    "endpoint": ENDPOINT_TLS,
}
"""Which check decides a demand of the relying party; it is required then."""

EXPECTABLE: Final = {"app_id": 20, "compose_hash": 32, "os_image_hash": 32, "device": 32}
"""Bytes of each value. A device may be its PPID, too: its id is the sha256 of that."""
SECTIONS: Final = {
    "checks": None,
    "tcb": ("statuses", "reject_advisories", "minimum_evaluation_number", "grace_days"),
    "freshness": ("max_collateral_age", "max_root_crl_age", "max_quote_age"),
    "platform": ("ppid", "proof_of_cloud", "proof_of_cloud_keys", "proof_of_cloud_days"),
    "snp": ("min_tcb",),
    "expect": (*EXPECTABLE, "image", "kms"),
    "identity": ("kms_signed",),
    "endpoint": ("named",),
    "os": ("releases", "origin"),
    "rules": None,
    "images": ("registries", "repositories"),
    "signers": ("workflows", "sources"),
    "manifest": ("not_before",),
    "governance": GovernanceDemands.__struct_fields__,
}
KEYS: Final = ("name", "accept", "extends", *SECTIONS, "waivers", "reviews")
"""The keys of a policy document; `extends` is resolved before it is read."""
ACCEPTABLE: Final = (Verdict.AFFIRMING, Verdict.WARNING)
_WORKFLOW: Final = pattern(
    r"https://github\.com/[\w.-]+/[\w.-]+/\.github/workflows/[\w.-]+\.ya?ml@refs/[\w./-]+", re.ASCII
)
_SOURCE: Final = pattern(r"https://github\.com/[A-Za-z0-9-]+/(?!\.{1,2}$)[\w.-]+", re.ASCII)
_IMAGE: Final = pattern(r"([!-~]{1,255})=(sha256:[0-9a-f]{64})", re.ASCII)
_ADDRESS: Final = pattern(r"0x[0-9a-fA-F]{40}", re.ASCII)


class Policy(Struct, frozen=True, kw_only=True, dict=True):
    """An effective appraisal policy: which verdicts it accepts, what it asks of each check, what it
    demands of evidence that is genuine, and what people judged of manifests."""

    name: str
    accept: tuple[Verdict, ...]
    checks: Mapping[str, Requirement]
    demands: Demands
    reviews: tuple[Review, ...] = ()

    @cached_property
    def digest(self) -> str:
        """sha256 of the effective policy as RFC 8785 JSON, lower-case hex."""
        demands = self.demands
        document: dict[str, JsonValue] = {
            "name": self.name,
            "accept": [verdict.value for verdict in self.accept],
            "checks": {key: value.value for key, value in self.checks.items()},
            "tcb_statuses": list(demands.tcb_statuses),
            "reject_advisories": list(demands.reject_advisories),
            "minimum_evaluation_number": demands.minimum_evaluation_number,
            "max_collateral_age": demands.max_collateral_age,
            "max_root_crl_age": demands.max_root_crl_age,
            "max_quote_age": demands.max_quote_age,
            "expect": {key: list(value) for key, value in demands.expect.items()},
            "kms_signed": demands.kms_signed,
            "os_releases": list(demands.os_releases),
            "rules": {key: value.value for key, value in demands.rules.items()},
            "registries": list(demands.registries),
            "repositories": list(demands.repositories),
            "workflows": list(demands.workflows),
            "governance": dict(demands.governance.made),
            "waivers": [waiver.to_json() for waiver in demands.waivers],
            **({"tcb_grace": demands.tcb_grace} if demands.tcb_grace else {}),
            **({"sources": list(demands.sources)} if demands.sources else {}),
            **({"os_origin": demands.os_origin.value} if demands.os_origin else {}),
            **({"endpoint_named": True} if demands.endpoint_named else {}),
            **demands.platform_json,
            **({"snp_min_tcb": dict(demands.snp_min_tcb)} if demands.snp_min_tcb else {}),
            **({"not_before": demands.not_before.isoformat()} if demands.not_before else {}),
            **({"reviews": [item.to_json() for item in self.reviews]} if self.reviews else {}),
        }
        return hashlib.sha256(rfc8785.dumps(document)).hexdigest()

    @cached_property
    def _made(self) -> tuple[str, ...]:
        """The names in DECIDED_BY of what the relying party demands beyond the checks."""
        demands = self.demands
        made = {
            **{name: bool(values) for name, values in demands.expect.items()},
            "os_release": bool(demands.os_releases),
            "images": bool(demands.registries or demands.repositories),
            "signers": bool(demands.workflows or demands.sources),
            "governance": bool(demands.governance.made),
            "endpoint": demands.endpoint_named,
            "manifest": demands.not_before is not None,
            "platform": bool(demands.ppids or demands.place_keys),
            "snp": bool(demands.snp_min_tcb),
        }
        return tuple(name for name in DECIDED_BY if made.get(name))

    def requirement(self, check_id: str) -> Requirement:
        """What the policy asks of a check; one that it does not name is not asked, and one that
        decides a demand is required."""
        if any(DECIDED_BY[name] == check_id for name in self._made):
            return Requirement.REQUIRED
        return self.checks.get(check_id, Requirement.NOT_ASKED)

    def requiring(self, check_id: str) -> "Policy":
        """The same policy, which asks for a check at least as much."""
        return replace(self, checks={**self.checks, check_id: Requirement.REQUIRED})

    def undecided(self, registered: Iterable[str]) -> tuple[str, ...]:
        """The checks that the policy asks for and that are not among the registered ones."""
        asked = (*self.checks, *(DECIDED_BY[name] for name in self._made))
        known = set(registered)
        absent = tuple(dict.fromkeys(item for item in asked if item not in known))
        return tuple(i for i in absent if self.requirement(i) is not Requirement.NOT_ASKED)

    def expecting(self, expect: Mapping[str, tuple[str, ...]]) -> "Policy":
        """The same policy, expecting these values too: what the policy itself expects is narrowed.

        Raises PolicyError for a malformed value, and where no value satisfies both.
        """
        merged = dict(self.demands.expect)
        for name, values in expect.items():
            if not values:
                continue
            wanted = _expected_values(name, list(values), f"--expect-{name.replace('_', '-')}")
            both = _satisfying_both(name, wanted, merged.get(name, wanted))
            if not both:
                raise PolicyError(f"the policy {self.name} expects another {name} than you do")
            merged[name] = both
        return replace(self, demands=replace(self.demands, expect=merged))


def load_policy(name_or_path: str) -> Policy:
    """A built-in policy by name, or one from a TOML file. Raises PolicyError, also for a file that
    has the name of a built-in policy and is another one: reports would call both the same."""
    policy = _policy(read_document(name_or_path), name_or_path)
    if policy.name in BUILT_IN and policy.name != name_or_path:
        known = _policy(read_document(policy.name), policy.name)
        if known.digest != policy.digest:
            raise PolicyError(
                f"policy {name_or_path} has the name of the built-in {policy.name}, and is another",
                hint='give it a name of its own, such as name = "release"',
            )
    return policy


def _policy(document: dict[str, Any], where: str) -> Policy:
    refuse_unknown(document, KEYS, f"policy {where}")
    sections = {name: section(document, name, known, where) for name, known in SECTIONS.items()}
    accepted = texts(document.get("accept", ["affirming"]), f"policy {where}: accept")
    checks = {
        key: Requirement(one_of(value, Requirement, f"policy {where}: [checks] {key}"))
        for key, value in sections["checks"].items()
    }
    accept = tuple(
        Verdict(one_of(value, ACCEPTABLE, f"policy {where}: accept")) for value in accepted
    )
    if not accept:
        raise PolicyError(f"policy {where}: accept may hold 'affirming' and 'warning' only")
    low = [check_id for check_id in FLOOR if checks.get(check_id) is not Requirement.REQUIRED]
    if low:
        raise PolicyError(
            f"policy {where}: {low[0]} must be required",
            hint="no policy goes below the floor: without it nothing else means anything",
        )
    return Policy(
        name=words(document.get("name", where), f"policy {where}: name"),
        accept=accept,
        checks=checks,
        demands=_demands(sections, parse_waivers(document.get("waivers", []), FLOOR, where), where),
        reviews=parse_reviews(document.get("reviews", []), where),
    )


def _demands(
    sections: Mapping[str, dict[str, Any]], waivers: tuple[Waiver, ...], where: str
) -> Demands:
    freshness, default = sections["freshness"], Demands()
    _known_rules((item.rule for item in waivers if item.rule), where)
    return Demands(
        **tcb_demands(sections["tcb"], where),
        max_collateral_age=number(
            freshness, "max_collateral_age", default.max_collateral_age, where
        ),
        max_root_crl_age=number(freshness, "max_root_crl_age", default.max_root_crl_age, where),
        max_quote_age=number(freshness, "max_quote_age", default.max_quote_age, where),
        **platform_demands(sections["platform"], where),
        snp_min_tcb=least_tcb(sections["snp"], where),
        expect={
            name: _expected_values(name, values, f"policy {where}: [expect] {name}")
            for name, values in sections["expect"].items()
        },
        kms_signed=switch(sections["identity"], "kms_signed", where),
        endpoint_named=switch(sections["endpoint"], "named", where),
        os_releases=demanded(sections["os"], "releases", f"policy {where}: os"),
        os_origin=_origin(sections["os"], where),
        rules=_severities(sections["rules"], where),
        registries=_matching(sections["images"], "registries", where),
        repositories=_matching(sections["images"], "repositories", where),
        workflows=_matching(sections["signers"], "workflows", where),
        sources=_matching(sections["signers"], "sources", where),
        governance=_governance(sections["governance"], where),
        not_before=day(sections["manifest"], "not_before", where),
        waivers=waivers,
    )


def _governance(table: dict[str, Any], where: str) -> GovernanceDemands:
    unknown = None
    if "max_unknown_manifests" in table:
        unknown = number(table, "max_unknown_manifests", 0, where)
    return GovernanceDemands(
        notice_days=number(table, "notice_days", 0, where),
        owners=_matching(table, "owners", where),
        several_keys=switch(table, "several_keys", where),
        upgrades_disabled=switch(table, "upgrades_disabled", where),
        max_unknown_manifests=unknown,
    )


def _origin(table: Mapping[str, object], where: str) -> Origin | None:
    if "origin" not in table:
        return None
    if table["origin"] != Origin.REBUILT:
        raise PolicyError(f"policy {where}: [os] origin can only be {Origin.REBUILT.value!r}")
    return Origin.REBUILT


def _severities(table: Mapping[str, object], where: str) -> Mapping[str, Severity]:
    _known_rules(table, where)
    return {
        rule: Severity(one_of(value, Severity, f"policy {where}: [rules] {rule}"))
        for rule, value in table.items()
    }


def _known_rules(rules: Iterable[str], where: str) -> None:
    """A misspelt id would change nothing."""
    known = {*TEXTS, IMAGE_RULE}
    unknown = sorted(set(rules) - known)
    if unknown:
        raise PolicyError(
            f"policy {where}: there is no rule {unknown[0]!a}",
            hint=did_you_mean(unknown[0], known, "`verify explain` lists every rule"),
        )


def _matching(table: dict[str, Any], key: str, where: str) -> tuple[str, ...]:
    """The strings of a demand, each of the form that its key has."""
    found = demanded(table, key, f"policy {where}")
    for value in found:
        if not _FORMS[key](value):
            raise PolicyError(
                f"policy {where}: {key}: {value!a} has another form",
                hint=f"such as {_SUCH_AS[key]}",
            )
        if key == "owners":
            refuse_mistyped(value, f"policy {where}: owners: {value}")
    return found


def _is_repository(value: str) -> bool:
    """Whether it is `registry/repository` in full, or that with `/*` for all below."""
    name = value.removesuffix("/*")
    from verifier.evidence.images.oci import parse_reference  # noqa: PLC0415 - only under such a policy

    try:
        reference = parse_reference(f"{name}/x" if name != value else name)
    except EvidenceError:
        return False
    plain = f"{reference.registry}/{reference.repository}"
    return plain in (name, f"{name}/x")


def _is_registry(value: str) -> bool:
    return "/" not in value and _is_repository(f"{value}/org/x")


def _is_workflow(value: str) -> bool:
    return _WORKFLOW.fullmatch(value) is not None


def _is_source(value: str) -> bool:
    return _SOURCE.fullmatch(value) is not None


def _is_address(value: str) -> bool:
    return _ADDRESS.fullmatch(value) is not None


_FORMS: Final = {
    "registries": _is_registry,
    "repositories": _is_repository,
    "workflows": _is_workflow,
    "sources": _is_source,
    "owners": _is_address,
}
_SUCH_AS: Final = {
    "registries": "ghcr.io",
    "repositories": "ghcr.io/org/app, or ghcr.io/org/* for all below",
    "workflows": "https://github.com/org/app/.github/workflows/build.yml@refs/heads/main",
    "sources": "https://github.com/org/app",
    "owners": "0x3172BCb6f9284df1019d40ACBff15a8dFa72eDAf",
}


def _satisfying_both(name: str, wanted: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """What satisfies two expectations; each image is expected for itself."""
    both = set(wanted) & set(own)
    if name != "image":
        return tuple(sorted(both))
    names = [{item.rpartition("=")[0] for item in items} for items in (wanted, own, both)]
    if (names[0] & names[1]) - names[2]:
        return ()
    apart = {item for item in (*wanted, *own) if item.rpartition("=")[0] not in names[2]}
    return tuple(sorted(both | apart))


def _expected_values(name: str, values: object, what: str) -> tuple[str, ...]:
    given = texts([values] if isinstance(values, str) else values, what)
    if not given:
        raise PolicyError(f"{what}: an empty list expects nothing that could be")
    return tuple(sorted({_expected_value(name, value, what) for value in given}))


def _expected_value(name: str, value: str, what: str) -> str:
    if name == "image":
        if not _IMAGE.fullmatch(value):
            raise PolicyError(
                f"{what} {value!a} is not NAME=sha256:DIGEST",
                hint="NAME is a service, or a repository as the manifest writes it",
            )
        return value
    if name == "kms":
        return named_key_holder(value, what, "a CA key is the hex of its DER SubjectPublicKeyInfo")
    size = EXPECTABLE[name]
    digits = value.lower().removeprefix("sha256:").removeprefix("0x")
    is_hex = set(digits) <= set("0123456789abcdef")
    if name == "device" and is_hex and len(digits) == 2 * PPID_BYTES:
        return hashlib.sha256(bytes.fromhex(digits)).hexdigest()
    if len(digits) != 2 * size or not is_hex:
        raise PolicyError(f"{what} {value!a} is not {size} bytes of hex")
    return digits
