"""The JSON schema of a policy document, for editors and for programs that write policies.

What a schema cannot say (waiver ids are unique, a rule belongs to `manifest.rules`, an image is
`registry/repository` in full) is refused when the policy is loaded.
"""

import json
from typing import Any, Final

from verifier.checks.catalogue import CHECKS, PLANNED
from verifier.checks.demands import IMAGE_RULE, Demands
from verifier.manifest.rules.catalogue import TEXTS as RULE_TEXTS
from verifier.model.result import Requirement, Severity
from verifier.policy import reviews
from verifier.policy.document import MAX_NUMBER
from verifier.policy.platform import (
    ADVISORY,
    MAX_VERSION,
    PPID_BYTES,
    SIGNED,
    TCB_PARTS,
    TCB_STATUSES,
)
from verifier.policy.policy import ACCEPTABLE, EXPECTABLE, FLOOR
from verifier.reference.values import Origin

SCHEMA: Final = "dstack-audit/policy/v1"

_Schema = dict[str, Any]
_DEFAULT: Final = Demands()
_TEXTS: Final[_Schema] = {"type": "array", "minItems": 1, "items": {"type": "string"}}


def policy_schema() -> str:
    """The schema (JSON Schema 2020-12) as indented JSON with a newline at the end."""
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:dstack-audit:schema:policy:v1",
        "title": SCHEMA,
        "description": "An appraisal policy, as its TOML document reads. A TOML date is YYYY-MM-DD "
        "in JSON.",
        **_table(
            {
                "name": {
                    **_text("How reports call it; the file's name where it is absent."),
                    "pattern": "\\S",
                },
                "extends": _text(
                    "A built-in policy (genuine, baseline, stage1, strict, endpoint), or a file "
                    "relative to this one. Tables are merged key by key, waivers and reviews are "
                    "added, everything else is replaced; the name is never inherited."
                ),
                "accept": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"enum": [item.value for item in ACCEPTABLE]},
                    "default": ["affirming"],
                    "description": "The verdicts that exit with 0.",
                },
                "checks": _checks(),
                **_hardware(),
                "platform": _platform(),
                "snp": _snp(),
                "expect": _expect(),
                **_software(),
                "manifest": _manifest(),
                "governance": _governance(),
                "waivers": {
                    "type": "array",
                    "description": "Failures and warnings that are accepted, for one app and until "
                    "a date.",
                    "items": _waiver(),
                },
                "reviews": {
                    "type": "array",
                    "description": "What a person judged of one manifest, where no machine can "
                    "tell; it counts in `verify stage` alone.",
                    "items": _review(),
                },
            }
        ),
    }
    return json.dumps(document, indent=2) + "\n"


def _checks() -> _Schema:
    return {
        "type": "object",
        "description": "What is asked of each check; one that is not named is not asked. Those of "
        "the floor are always required.",
        "propertyNames": {"enum": list(dict.fromkeys((*_check_ids(), *PLANNED)))},
        "properties": {name: {"const": Requirement.REQUIRED.value} for name in FLOOR},
        "additionalProperties": {"enum": [item.value for item in Requirement]},
    }


def _hardware() -> _Schema:
    tcb = {
        "statuses": {
            "type": "array",
            "minItems": 1,
            "items": {"enum": list(TCB_STATUSES)},
            "default": list(_DEFAULT.tcb_statuses),
            "description": "TCB statuses that are accepted, as Intel's TCB info names them; any "
            "other fails.",
        },
        "reject_advisories": {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{ADVISORY}$"},
            "description": "Intel's advisories that may not apply to the platform, such as "
            "INTEL-SA-00615.",
        },
        "minimum_evaluation_number": _number(
            "The least tcbEvaluationDataNumber; that of the reference values holds besides.",
            _DEFAULT.minimum_evaluation_number,
        ),
        "grace_days": _number(
            "Days from the date of its TCB level on, in which what is out of date is a warning.",
            _DEFAULT.tcb_grace,
        ),
    }
    freshness = {
        "max_collateral_age": _number(
            "Days since the oldest part of the collateral was issued.", _DEFAULT.max_collateral_age
        ),
        "max_root_crl_age": _number(
            "Days since the root's own revocation list was issued.", _DEFAULT.max_root_crl_age
        ),
        "max_quote_age": _number(
            "Days since the earliest time at which the quote can have been made; 0 asks for a "
            "challenge in its report data.",
            _DEFAULT.max_quote_age,
        ),
    }
    return {
        "tcb": _table(tcb, "The platform's firmware, decided by hardware.tcb."),
        "freshness": _table(freshness, "Ages in days, decided by hardware.freshness."),
    }


def _platform() -> _Schema:
    key = "^(0x)?([0-9a-fA-F]{2})+$"
    named = {
        "ppid": {
            **_TEXTS,
            "items": {"type": "string", "pattern": f"^(0x)?[0-9a-fA-F]{{{2 * PPID_BYTES}}}$"},
            "description": "PPIDs of the machines that may run it, 16 bytes of hex each.",
        },
        "proof_of_cloud": {
            "const": SIGNED,
            "description": "A signed statement says where the machine stands.",
        },
        "proof_of_cloud_keys": {
            **_TEXTS,
            "items": {"type": "string", "pattern": key},
            "description": "Who may sign it: Ed25519 keys (32 bytes of hex), or RSA keys (DER "
            "SubjectPublicKeyInfo, hex).",
        },
        "proof_of_cloud_days": _number(
            "Days since the statement was signed, at most.", _DEFAULT.place_days
        ),
    }
    described = "The machine, and whose word about its place counts, decided by hardware.host."
    both = ("proof_of_cloud", "proof_of_cloud_keys")
    together = {both[0]: [both[1]], both[1]: [both[0]]}
    return {**_table(named, described), "dependentRequired": together}


def _snp() -> _Schema:
    parts = {name: {"type": "integer", "minimum": 0, "maximum": MAX_VERSION} for name in TCB_PARTS}
    least = {**_table(parts, "The least version of each part of the firmware."), "minProperties": 1}
    return _table({"min_tcb": least}, "Platforms of AMD SEV-SNP, decided by hardware.snp.")


def _expect() -> _Schema:
    decided = {
        "app_id": "The app ids that may run, decided by application.identity",
        "compose_hash": "The manifests that may run, decided by application.manifest",
        "os_image_hash": "The OS images that may run, decided by boot.image",
        "device": "The machines that it may run on, decided by hardware.tcb",
    }
    values = {
        name: _one_or_more(
            f"^([sS][hH][aA]256:)?(0[xX])?[0-9a-fA-F]{{{2 * size}}}$",
            f"{decided[name]}: {size} bytes of hex.",
        )
        for name, size in EXPECTABLE.items()
    }
    ppid, device = 2 * PPID_BYTES, 2 * EXPECTABLE["device"]
    values["device"] = _one_or_more(
        f"^([sS][hH][aA]256:)?(0[xX])?([0-9a-fA-F]{{{ppid}}}|[0-9a-fA-F]{{{device}}})$",
        f"{decided['device']}: device ids (32 bytes of hex), or PPIDs (16).",
    )
    values["image"] = _one_or_more(
        "^[!-~]{1,255}=sha256:[0-9a-f]{64}$",
        "NAME=sha256:DIGEST, NAME a service, or a repository as the manifest writes it, decided by "
        "provenance.images.",
    )
    values["kms"] = _one_or_more(
        ".",
        "CHAIN:ADDRESS of a KMS contract, a root address or a CA key (DER, hex), decided by "
        "key_management.provider.",
    )
    return _table(values, "Your own reference values. The check that decides one is required.")


def _endpoint() -> _Schema:
    named = {
        "type": "boolean",
        "default": False,
        "description": "The audit has to be about an address that users connect to (--endpoint).",
    }
    return _table({"named": named}, "Where users connect to, decided by endpoint.tls.")


def _software() -> _Schema:
    signed = {"type": "boolean", "default": False}
    return {
        "identity": _table(
            {
                "kms_signed": {
                    **signed,
                    "description": "An app id that a KMS binds needs a certificate of that KMS "
                    "about the judged quote.",
                }
            },
            "Who names the app, decided by application.identity.",
        ),
        "endpoint": _endpoint(),
        "os": _table(
            {
                "releases": {**_TEXTS, "description": "The dstack releases that may run."},
                "origin": {
                    "const": Origin.REBUILT.value,
                    "description": "Whoever runs the audit measured the image (--image).",
                },
            },
            "The operating system, decided by boot.image.",
        ),
        "rules": {
            "type": "object",
            "description": "Severities that findings count as, instead of their own, decided by "
            "manifest.rules.",
            "propertyNames": {"enum": _rule_ids()},
            "additionalProperties": {"enum": [item.value for item in Severity]},
        },
        "images": _table(
            {
                "registries": {**_TEXTS, "description": "Registries, such as ghcr.io."},
                "repositories": {
                    **_TEXTS,
                    "description": "Repositories, such as ghcr.io/org/app, or ghcr.io/org/* for "
                    "all below.",
                },
            },
            "Where images may come from; others fail. Decided by manifest.rules.",
        ),
        "signers": _table(
            {
                "workflows": {
                    **_TEXTS,
                    "description": "The only workflows that may have built the images, as Sigstore "
                    "certificates name them.",
                },
                "sources": {
                    **_TEXTS,
                    "description": "The only repositories that they may be built from.",
                },
            },
            "Who may have built the images, decided by provenance.images.",
        ),
    }


def _manifest() -> _Schema:
    floor = {
        **_text("No manifest may start that was first allowed before this day, UTC: a bare date."),
        "format": "date",
    }
    described = "How old what may start may be, decided by authorization.governance."
    return _table({"not_before": floor}, described)


def _governance() -> _Schema:
    demands = {
        "notice_days": _number("Days between the announcement of a change and its effect.", 0),
        "owners": {**_TEXTS, "description": "Accounts that may own the app's contract."},
        "several_keys": {
            "type": "boolean",
            "default": False,
            "description": "No single key may be able to change what runs.",
        },
        "upgrades_disabled": {
            "type": "boolean",
            "default": False,
            "description": "The code of the app's contract may never be replaced.",
        },
        "max_unknown_manifests": _number(
            "How many allowed manifests may be unknown to the audit; without it, any is a doubt."
        ),
    }
    return _table(demands, "Who can change the app, decided by authorization.governance.")


def _waiver() -> _Schema:
    fields = {
        "id": {
            **_text("Unique within the policy."),
            "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        },
        "check": {
            "enum": [name for name in _check_ids() if name not in FLOOR],
            "description": "The check that is waived; none of the floor.",
        },
        "rule": {
            "enum": _rule_ids(),
            "description": "With the check manifest.rules: the one rule that is waived.",
        },
        "scope": {**_text("The app id that it holds for."), "pattern": "^(0x)?[0-9a-fA-F]{40}$"},
        "reason": {**_text("Why it is accepted."), "pattern": "\\S"},
        "owner": {**_text("Who answers for it."), "pattern": "\\S"},
        "expires": {
            **_text("The first day on which it no longer holds, UTC; a bare TOML date."),
            "format": "date",
        },
        "digests": {
            **_TEXTS,
            "items": {"type": "string", "pattern": "^[0-9a-fA-F]{96}$"},
            "description": "With the check boot.machine, and required there: the ACPI tables "
            "(sha384) that are accepted.",
        },
    }
    optional = ("rule", "digests")
    return {**_table(fields), "required": [name for name in fields if name not in optional]}


def _review() -> _Schema:
    fields = {
        "requirement": {
            "type": "integer",
            "minimum": 1,
            "maximum": reviews.REQUIREMENTS,
            "description": "Which requirement of stage 1, as `verify stage` numbers them.",
        },
        "compose_hash": {
            **_text("The manifest that was reviewed; the review holds for no other one."),
            "pattern": "^[0-9a-fA-F]{64}$",
        },
        "reason": {**_text("What was looked at, and what was found."), "pattern": "\\S"},
        "reviewer": {**_text("Who answers for it."), "pattern": "\\S"},
        "expires": {
            **_text("The first day on which it no longer holds, UTC; a bare TOML date."),
            "format": "date",
        },
    }
    return {**_table(fields), "required": list(fields)}


def _check_ids() -> list[str]:
    return [spec.id for spec in CHECKS]


def _rule_ids() -> list[str]:
    return sorted({*RULE_TEXTS, IMAGE_RULE})


def _table(properties: _Schema, description: str = "") -> _Schema:
    found: _Schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**found, **({"description": description} if description else {})}


def _text(description: str) -> _Schema:
    return {"type": "string", "description": description}


def _number(description: str, default: int | None = None) -> _Schema:
    said = {} if default is None else {"default": default}
    number = {"type": "integer", "minimum": 0, "maximum": MAX_NUMBER}
    return {**number, **said, "description": description}


def _one_or_more(pattern: str, description: str) -> _Schema:
    item: _Schema = {"type": "string", "pattern": pattern}
    several: _Schema = {"type": "array", "minItems": 1, "items": item}
    return {"anyOf": [item, several], "description": description}
