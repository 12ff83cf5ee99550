"""What each check does with evidence that is absent, that nobody can read, about which nobody
knows anything, and that is only somebody's word about himself: one simulated world a cell, audited.

`python -m tests.worlds.absence` writes the page.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from tests.worlds.audited import Audited, add, audit, edited
from tests.worlds.test_unknown_owner import owned_by
from verifier.checks.catalogue import CHECKS
from verifier.evidence.bundle import Artifact, Bundle, Kind
from verifier.evidence.codec import JsonObject
from verifier.lab import forged_kms, host, keys
from verifier.lab import forgeries as forge
from verifier.lab.attacks import ATTACKS, gpu, snp
from verifier.lab.attacks import host as machines
from verifier.lab.attacks.attack import BY_GATEWAY, HONEST, PASSED_THROUGH
from verifier.lab.attacks.endpoint import web_certificate_of, without_caa
from verifier.lab.events import MACHINE
from verifier.lab.knobs import DEFAULT_NOW, Knobs
from verifier.lab.registry import WEB
from verifier.lab.snp import Snp
from verifier.lab.world import DOMAIN, build
from verifier.model.result import CheckResult, SkipKind

PAGE: Final = Path(__file__).parents[2] / "docs" / "absence.md"
COLUMNS: Final = ("absent", "unreadable", "unknown", "self-stated")
Edit = Callable[[Bundle], Bundle]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lacking:
    """A world in which something is lacking, in words, and how it comes about: `knobs`, an edit of
    its evidence or of the reference values, a bundle for which nobody vouches. `endpoint` is the
    address that is asked about, `policy` what is demanded besides `baseline` (TOML)."""

    words: str
    knobs: Knobs = HONEST
    edit: Edit | None = None
    reference: Callable[[JsonObject], JsonObject] | None = None
    trusted: bool = True
    endpoint: str = ""
    policy: str = ""

    def audited(self) -> Audited:
        """The audit of this world's evidence."""
        changed = self.reference is not None
        found = (
            audit(self.knobs, reference=self.reference)
            if changed
            else _base(self.knobs, self.endpoint)
        )
        bundle = self.edit(found.bundle) if self.edit is not None else found.bundle
        judged = found.again(bundle, trusted=self.trusted)
        return judged.under(self.policy) if self.policy else judged


_MADE: Final[dict[str, Audited]] = {}


def _base(knobs: Knobs, endpoint: str) -> Audited:
    key = f"{knobs!r} {endpoint}"
    if key not in _MADE:
        _MADE[key] = audit(knobs, endpoint=endpoint)
    return _MADE[key]


def gone(*kinds: Kind) -> Edit:
    """Evidence of these kinds was never received."""

    def edit(bundle: Bundle) -> Bundle:
        kept = tuple(item for item in bundle.artifacts if item.kind not in kinds)
        return Bundle(kept, bundle.blobs)

    return edit


def garbled(*kinds: Kind) -> Edit:
    """Every artifact of these kinds is half of what it was."""

    def change(item: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
        return item, raw[: len(raw) // 2] if item.kind in kinds else raw

    return lambda bundle: edited(bundle, change)


def _garbled_entry(log: list[JsonObject]) -> list[JsonObject]:
    return [{**item, "digest": "no digest"} for item in log]


def _quote_alone(bundle: Bundle) -> Bundle:
    def strip(item: Artifact, raw: bytes) -> tuple[Artifact, bytes]:
        if item.kind is not Kind.APP_KEY_QUOTE:
            return item, raw
        answer = json.loads(raw)
        kept = {name: answer[name] for name in ("quote", "event_log", "report_data")}
        return item, json.dumps(kept).encode()

    return edited(gone(Kind.INFO, Kind.PAGE)(bundle), strip)


def _without_rows(name: str) -> Callable[[JsonObject], JsonObject]:
    def edit(document: JsonObject) -> JsonObject:
        return {**document, name: []}

    return edit


def _placed(attack: str, *, cut: bool = False) -> Edit:
    """What an attack says of the machine's place, or half of what is true."""

    def edit(bundle: Bundle) -> Bundle:
        named = next(item for item in ATTACKS if item.name == attack)
        given = named.handed_over or named.twin_handed_over
        assert given is not None
        found = add(bundle, given(build(HONEST)), DEFAULT_NOW)
        return garbled(Kind.PLACE)(found) if cut else found

    return edit


def _given(attack: str) -> Edit:
    """What an attack hands over beside honest evidence of two GPUs' machine."""

    def edit(bundle: Bundle) -> Bundle:
        named = next(item for item in ATTACKS if item.name == attack)
        assert named.handed_over is not None
        world = build(gpu.WITH_GPUS)
        return add(bundle, named.handed_over(world), world.now)

    return edit


def _beside(guest: Snp) -> Edit:
    """The attestation of a guest on SEV-SNP, beside that of the TD."""
    return lambda bundle: add(bundle, snp.given(guest), DEFAULT_NOW)


_GUEST: Final = (Kind.INFO, Kind.PAGE, Kind.APP_KEY_QUOTE)
_PCS: Final = (Kind.PCS_TCB_INFO, Kind.PCS_QE_IDENTITY, Kind.PCS_PCK_CRL, Kind.PCS_ROOT_CA_CRL)
_IMAGES: Final = (Kind.OCI_MANIFEST, Kind.OCI_CONFIG, Kind.SIGSTORE_BUNDLE)
_VICTIM: Final = keys.labelled("victim", 20)

WORLDS: Final[dict[str, Lacking]] = {
    "no-guest": Lacking(words="no guest answered", edit=gone(*_GUEST)),
    "cut-guest": Lacking(words="every answer of the guest is cut off", edit=garbled(*_GUEST)),
    "no-collateral": Lacking(words="Intel's collateral was not collected", edit=gone(*_PCS)),
    "cut-collateral": Lacking(words="Intel's collateral is cut off", edit=garbled(*_PCS)),
    "foreign-root": Lacking(words="the quote's root is nobody's", knobs=Knobs(root="attacker")),
    "unknown-attributes": Lacking(
        words="the TD has an attribute bit that no specification names",
        knobs=Knobs(edit_td=lambda td: replace(td, td_attributes=td.td_attributes | 1 << 40))),
    "other-platform": Lacking(
        words="the TCB info is of another platform, so that nobody tells this one's level",
        knobs=Knobs(collateral_fmspc=b"\7" * 6)),
    "silent-gpus": Lacking(
        words="the machine has two GPUs, which give no evidence", knobs=gpu.WITH_GPUS),
    "cut-gpus": Lacking(
        words="the evidence of the machine's GPUs is cut off", knobs=gpu.WITH_GPUS,
        edit=lambda bundle: garbled(Kind.GPU_EVIDENCE)(_given("gpu-silent")(bundle))),
    "unknown-gpus": Lacking(
        words="the GPUs' certificates lead to a root that nobody knows", knobs=gpu.WITH_GPUS,
        edit=_given("gpu-foreign-root")),
    "own-manifests": Lacking(
        words="what the GPUs run is in manifests that their operator signed", knobs=gpu.WITH_GPUS,
        edit=_given("gpu-manifests-forged")),
    "unendorsed-chip": Lacking(
        words="an SEV-SNP attestation comes without the certificate of its chip",
        edit=_beside(Snp(endorsed=False))),
    "cut-snp": Lacking(
        words="an SEV-SNP attestation is cut off",
        edit=lambda bundle: garbled(Kind.PLATFORM_ATTESTATION)(_beside(Snp())(bundle))),
    "unknown-chip": Lacking(
        words="an SEV-SNP chip's certificate leads to a root that nobody knows",
        edit=_beside(Snp(root="attacker"))),
    "no-log": Lacking(words="no channel gives an event log", knobs=Knobs(edit_log=lambda _: [])),
    "cut-log": Lacking(
        words="the digests in every event log are no digests",
        knobs=Knobs(edit_log=_garbled_entry)),
    "no-app-id": Lacking(
        words="the guest measured no app id",
        knobs=Knobs(edit_events=forge.measured_without("app-id"))),
    "short-app-id": Lacking(
        words="the measured app id has 5 bytes",
        knobs=Knobs(edit_events=forge.measured_as("app-id", b"short"))),
    "unknown-event": Lacking(
        words="the guest measured an event that no release of dstack writes",
        knobs=Knobs(edit_events=forge.before_ready("nobody-knows", b"x"))),
    "own-image": Lacking(
        words="the registers are those of no known image, and the guest's event names a known one",
        knobs=Knobs(os_image="mine")),
    "stripped-log": Lacking(
        words="the log has no entry of the boot, and nobody states a machine",
        knobs=Knobs(edit_log=host.without_boot, stated_machine={})),
    "unknown-tables": Lacking(
        words="the ACPI tables are those of no known machine",
        knobs=Knobs(edit_events=host.acpi_tables("unknown"))),
    "own-machine": Lacking(
        words="the log has no entry of the boot, and the guest states another machine",
        knobs=Knobs(edit_log=host.without_boot, stated_machine={**MACHINE, "cpu_count": 3})),
    "unknown-images": Lacking(
        words="the reference values know no OS image", reference=_without_rows("os_images")),
    "unknown-kms": Lacking(words="the guest's KMS is nobody's", knobs=Knobs(kms="attacker")),
    "no-kms-guest": Lacking(
        words="the KMS showed no certificate of its own", edit=gone(Kind.KMS_TLS)),
    "cut-kms-guest": Lacking(
        words="the certificate of the KMS is cut off", edit=garbled(Kind.KMS_TLS)),
    "own-kms-image": Lacking(
        words="the KMS runs on no known image",
        knobs=Knobs(edit_kms=forged_kms.guest(os_image="mine"))),
    "keyless": Lacking(
        words="the guest has no KMS, and says by itself which app it is",
        knobs=Knobs(app_id=_VICTIM, key_provider="none")),
    "hosted-kms": Lacking(
        words="the KMS is a known one without a contract", knobs=Knobs(kms="hosted")),
    "unknown-enclave": Lacking(
        words="the keys are sealed by an SGX enclave that nobody knows",
        knobs=Knobs(key_provider="local-sgx", enclave=b"\xab" * 32)),
    "empty-ca-key": Lacking(
        words="the KMS's contract publishes no CA key", knobs=Knobs(ca_pubkey=b"")),
    "no-manifest": Lacking(words="the guest hides its manifest", knobs=Knobs(public_tcbinfo=False)),
    "cut-manifest": Lacking(
        words="the manifest that was measured is no JSON", knobs=Knobs(manifest='{"runner": ')),
    "no-certificate": Lacking(
        words="the guest shows no certificate", knobs=Knobs(edit_response=forge.no_certificate)),
    "no-commitment": Lacking(
        words="the report data is empty, and the guest shows no certificate",
        knobs=Knobs(edit_response=forge.no_certificate, app_key_report_data=bytes(64))),
    "no-statements": Lacking(
        words="a quote and its log came alone, and nothing is stated beside them",
        edit=_quote_alone),
    "cut-page": Lacking(words="the guest's page is cut off", edit=garbled(Kind.PAGE)),
    "unknown-report-data": Lacking(
        words="the report data follows a convention that nobody knows",
        knobs=Knobs(edit_response=forge.no_certificate, app_key_report_data=b"\7" * 64)),
    "own-certificate": Lacking(
        words="the guest issued its certificate itself", knobs=Knobs(cert_ca="attacker")),
    "no-signatures": Lacking(
        words="the KMS's answers were not collected", edit=gone(Kind.KMS_ENV_KEY, Kind.KMS_META)),
    "cut-signatures": Lacking(
        words="the KMS's answers are cut off", edit=garbled(Kind.KMS_ENV_KEY, Kind.KMS_META)),
    "no-calls": Lacking(words="no endpoint of the chain was asked", edit=gone(Kind.JSON_RPC)),
    "cut-calls": Lacking(words="every answer to a call is cut off", edit=garbled(Kind.JSON_RPC)),
    "no-history": Lacking(words="no endpoint gave logs", edit=gone(Kind.LOG_SCAN)),
    "cut-history": Lacking(words="every scan of logs is cut off", edit=garbled(Kind.LOG_SCAN)),
    "unknown-code": Lacking(
        words="the app's contract runs code that nobody knows",
        knobs=Knobs(edit_chain=forge.unknown_app_code)),
    "unknown-owner": Lacking(
        words="the contracts are owned by code that nobody knows, and that says nothing",
        knobs=Knobs(edit_chain=owned_by("says nothing"))),
    "owners-word": Lacking(
        words="the contracts are owned by code that nobody knows, and that calls itself a timelock",
        knobs=Knobs(edit_chain=owned_by("says that it is a timelock"))),
    "nobody-vouches": Lacking(
        words="everything is there, collected by somebody for whom nobody vouches", trusted=False),
    "no-handshake": Lacking(
        words="nobody was met at the endpoint", edit=gone(Kind.TLS_PEER), endpoint=PASSED_THROUGH),
    "cut-handshake": Lacking(
        words="what the endpoint's server sent is cut off",
        edit=garbled(Kind.TLS_PEER), endpoint=PASSED_THROUGH),
    "plain-endpoint": Lacking(
        words="the endpoint shows a certificate of a public CA, and nothing names its key",
        knobs=Knobs(peer=web_certificate_of), endpoint=PASSED_THROUGH),
    "no-search": Lacking(
        words="the search of certificate logs does not answer",
        edit=gone(Kind.CT_SEARCH), endpoint=DOMAIN),
    "cut-search": Lacking(
        words="what the search of certificate logs answers is cut off",
        edit=garbled(Kind.CT_SEARCH), endpoint=DOMAIN),
    "logged-key": Lacking(
        words="a certificate was logged for a key that nothing attests",
        knobs=Knobs(logged=((DOMAIN, "somebody"),)), endpoint=DOMAIN),
    "unvouched-endpoint": Lacking(
        words="somebody says that he met the guest at the endpoint, and nobody vouches for him",
        endpoint=DOMAIN, trusted=False),
    "no-place": Lacking(
        words="nobody says where the machine stands, and the policy asks for it",
        policy=machines.policy()),
    "cut-place": Lacking(
        words="the statement about the machine's place is cut off, and the policy asks for it",
        edit=_placed("place-unspoken", cut=True), policy=machines.policy()),
    "own-place": Lacking(
        words="the operator signs where the machine stands, and the policy asks for another's word",
        edit=_placed("place-forged"), policy=machines.policy()),
    "other-place": Lacking(
        words="a statement is about a machine that the policy does not mean",
        edit=_placed("place-of-another-machine"), policy=machines.policy()),
    "no-dns": Lacking(
        words="no resolver answered", edit=gone(Kind.DNS_MESSAGE), endpoint=DOMAIN),
    "cut-dns": Lacking(
        words="every answer of a resolver is cut off",
        edit=garbled(Kind.DNS_MESSAGE), endpoint=DOMAIN),
    "open-names": Lacking(
        words="no record keeps any CA from certifying the gateway's names",
        knobs=Knobs(edit_dns=without_caa), endpoint=BY_GATEWAY),
    "no-images": Lacking(words="no registry answered", edit=gone(*_IMAGES)),
    "cut-images": Lacking(words="every answer of a registry is cut off", edit=garbled(*_IMAGES)),
    "unattested-image": Lacking(
        words="no workflow signed that it built the image, and no label names a source",
        knobs=Knobs(image=replace(WEB, source="", revision=""), attest=lambda *_: [])),
    "label-only": Lacking(
        words="no workflow signed that it built the image, whose labels name a source",
        knobs=Knobs(attest=lambda *_: [])),
}  # fmt: skip

_ONLY_DIGESTS: Final = "n/a: it recomputes digests, and takes nobody's word"
_PROVES_ITSELF: Final = "n/a: nothing that this evidence says of itself is read before it is proven"
_COMPARES: Final = "n/a: it compares statements with what was measured, and needs to know neither"

CELLS: Final[dict[str, tuple[str, str, str, str]]] = {
    "hardware.quote": ("no-guest", "cut-guest", "foreign-root", _PROVES_ITSELF),
    "hardware.td": ("no-guest", "cut-guest", "unknown-attributes", _PROVES_ITSELF),
    "hardware.tcb": ("no-collateral", "cut-collateral", "other-platform", _PROVES_ITSELF),
    "hardware.freshness": ("no-collateral", "cut-collateral", "other-platform", "nobody-vouches"),
    "hardware.host": ("no-place", "cut-place", "other-place", "own-place"),
    "hardware.gpu": ("silent-gpus", "cut-gpus", "unknown-gpus", "own-manifests"),
    "hardware.snp": ("unendorsed-chip", "cut-snp", "unknown-chip", _PROVES_ITSELF),
    "boot.registers": ("no-log", "cut-log", _ONLY_DIGESTS, _ONLY_DIGESTS),
    "boot.image": ("no-guest", "cut-guest", "unknown-images", "own-image"),
    "boot.machine": ("stripped-log", "cut-log", "unknown-tables", "own-machine"),
    "runtime.replay": ("no-log", "cut-log", _ONLY_DIGESTS, _ONLY_DIGESTS),
    "runtime.events": ("no-app-id", "short-app-id", "unknown-event", _ONLY_DIGESTS),
    "application.identity": ("no-app-id", "short-app-id", "unknown-kms", "keyless"),
    "application.manifest": ("no-manifest", "cut-manifest", _ONLY_DIGESTS, _ONLY_DIGESTS),
    "application.binding": ("no-commitment", "cut-guest", "unknown-report-data", "own-certificate"),
    "application.consistency": ("no-statements", "cut-page", _COMPARES, "nobody-vouches"),
    "key_management.provider": ("empty-ca-key", "cut-calls", "unknown-kms", "unknown-enclave"),
    "key_management.root": ("no-signatures", "cut-signatures", "unknown-kms", _PROVES_ITSELF),
    "key_management.certificate": ("no-certificate", "cut-guest", "unknown-kms", "own-certificate"),
    "key_management.attestation": ("no-kms-guest", "cut-kms-guest", "own-kms-image", "hosted-kms"),
    "authorization.contract": ("no-calls", "cut-calls", "unknown-code", "nobody-vouches"),
    "authorization.allowed": ("no-calls", "cut-calls", "unknown-images", "hosted-kms"),
    "authorization.history": ("no-history", "cut-history", "unknown-code", "nobody-vouches"),
    "authorization.governance": ("no-history", "cut-history", "unknown-owner", "owners-word"),
    "manifest.rules": ("no-manifest", "cut-manifest", "unknown-owner", "nobody-vouches"),
    "provenance.images": ("no-images", "cut-images", "unattested-image", "label-only"),
    "endpoint.tls": ("no-handshake", "cut-handshake", "plain-endpoint", "unvouched-endpoint"),
    "endpoint.domain": ("no-dns", "cut-dns", "open-names", "unvouched-endpoint"),
    "endpoint.logged": ("no-search", "cut-search", "logged-key", "unvouched-endpoint"),
}
"""Each check's world by column, or the rule by which none makes sense."""

PASSES: Final = {
    (
        "boot.registers",
        "absent",
    ): "newer guests show no entries of the boot, and `boot.image` holds "
    "the registers against the reference values; a log without any event fails `runtime.replay`",
    ("boot.machine", "unreadable"): "the machine that is stated gives the register that the CPU "
    "signed: the log would add nothing",
    ("application.binding", "self-stated"): "whose key the quote commits to is what it asks; who "
    "issued that key's certificate is asked by `key_management.certificate`, which fails",
    ("application.consistency", "self-stated"): "all that it compares is somebody's word: what "
    "differs from what was measured fails, and what agrees adds nothing to it",
}
"""Why a check passes, or does not apply, all the same."""


@cache
def statuses(name: str) -> dict[str, str]:
    """What every check says in a world."""
    results = WORLDS[name].audited().report.subjects[0].checks
    return {result.id: _said(result) for result in results}


def _said(result: CheckResult) -> str:
    if result.skip_kind is SkipKind.MISSING_EVIDENCE:
        return "missing"
    return str(result.skip_kind or result.status)


def cell(check_id: str, column: str) -> tuple[str, str]:
    """The status in a cell, and the world that gives it; ("n/a", the rule) where none makes
    sense."""
    named = CELLS[check_id][COLUMNS.index(column)]
    if named.startswith("n/a: "):
        return "n/a", named.removeprefix("n/a: ")
    return statuses(named)[check_id], named


_INTRODUCTION: Final = (
    "What each check says where evidence is lacking. Every cell is the result of auditing one "
    "simulated world, under the policy `baseline`; below, the worlds. *Missing* and *blocked* "
    "are skips, of which neither is accepted where a policy requires the check; blocked means "
    "that a check before it did not pass. Generated by `python -m tests.worlds.absence`."
)


def render() -> str:
    """The page."""
    lines = [
        "# Absence",
        "",
        _INTRODUCTION,
        "",
        f"| Check | {' | '.join(COLUMNS)} |",
        "|---|---|---|---|---|",
    ]
    rules: list[str] = []
    for spec in CHECKS:
        shown: list[str] = []
        for column in COLUMNS:
            status, named = cell(spec.id, column)
            if status == "n/a":
                rules += [named] if named not in rules else []
                shown.append(f"n/a ({rules.index(named) + 1})")
            else:
                shown.append(f"**{status}** `{named}`")
        lines.append(f"| `{spec.id}` | {' | '.join(shown)} |")
    lines += ["", *(f"{place}. No such world: {rule}." for place, rule in enumerate(rules, 1))]
    lines += ["", "## Cells that pass, or do not apply", ""]
    lines += [f"- `{check}`, {column}: {why}." for (check, column), why in PASSES.items()]
    lines += ["", "## Worlds", "", "| World | What is lacking |", "|---|---|"]
    lines += [f"| `{name}` | {world.words} |" for name, world in WORLDS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
