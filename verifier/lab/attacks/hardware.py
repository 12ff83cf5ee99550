"""Attacks on the quote, its collateral, and the TD that it is about."""

from collections.abc import Iterator

from msgspec.structs import replace

from verifier.lab import forgeries as forge
from verifier.lab.attacks.attack import HONEST, Attack, missing, refused, warned
from verifier.lab.knobs import DAY, Knobs
from verifier.lab.quote import DEBUG, SEPT_VE_DISABLE


def quote() -> Iterator[Attack]:
    """Quotes and collateral that do not lead to the root."""
    check = "hardware.quote"
    edits = {
        "quote-signature": ("flips a bit of the quote's signature", forge.SIGNATURE + 8),
        "quote-report-data": ("writes report data into a signed quote", forge.REPORT_DATA),
        "quote-attestation-key": ("puts another attestation key", forge.SIGNATURE + 64 + 8),
        "quote-qe-report": ("changes the quoting enclave's report", forge.QE_REPORT + 70),
        "quote-qe-signature": ("flips a bit of the PCK's signature", forge.QE_REPORT + 390),
    }
    for name, (title, offset) in edits.items():
        yield refused(name, check, title, Knobs(edit_quote=forge.flipped(offset)))
    tails = {
        "quote-trailing-letters": ("appends letters to a quote", lambda raw: raw + b"A" * 100),
        "quote-padding-over-cap": ("pads a quote without end", lambda raw: raw + bytes(5000)),
        "quote-truncated": ("hands over half a quote", lambda raw: raw[:2000]),
        "quote-of-sgx": ("passes an SGX quote as a TD quote", lambda raw: b"\3" + raw[1:]),
    }
    for name, (title, edit) in tails.items():
        yield refused(name, check, title, Knobs(edit_quote=edit))
    title = "labels a part of a quote as what it is not, which one of two verifiers reads"
    relabelled = Knobs(edit_quote=forge.flipped(forge.SIGNATURE + 128))
    yield refused("quote-relabelled", check, title, relabelled, second_opinion=True)
    yield refused("foreign-root", check, "makes a root of its own", Knobs(root="attacker"))
    for role in ("platform-ca", "pck", "tcb-signing", "pck-crl", "root-ca-crl"):
        title = f"signs {role} with a key that its issuer does not have"
        yield refused(f"rogue-{role}", check, title, Knobs(rogue=frozenset({role})))
    yield from _revoked()
    yield from _not_in_force()
    signers: tuple[tuple[str, str, Knobs], ...] = (
        ("tcb-signer-pck", "TCB info and QE identity", Knobs(tcb_signer="pck", qe_signer="pck")),
        ("tcb-info-signer-pck", "TCB info", Knobs(tcb_signer="pck")),
        ("qe-identity-signer-pck", "QE identity", Knobs(qe_signer="pck")),
    )
    for name, what, knobs in signers:
        title = f"has {what} signed by a PCK leaf under the true root"
        yield refused(name, check, title, knobs)
    kinder = forge.pcs_text("tcb", b"OutOfDate", b"UpToDate")
    yield refused("tcb-info-edited", check, "edits signed TCB info", Knobs(edit_response=kinder))
    other = forge.pcs_text("qe/identity", b'"isvprodid":2', b'"isvprodid":1')
    title = "edits the signed identity of the quoting enclave"
    yield refused("qe-identity-edited", check, title, Knobs(edit_response=other))
    title = "answers with TCB info of the same platform family, about another PCE"
    knobs = Knobs(collateral_pce_id="0001")
    yield refused("collateral-of-another-pce", "hardware.quote", title, knobs)
    yield missing(
        "collateral-of-another-platform",
        check,
        "answers with the collateral of another platform family",
        Knobs(collateral_fmspc=bytes.fromhex("00a06d080000")),
        "collateral for another platform is no collateral for this one",
    )


def _revoked() -> Iterator[Attack]:
    """What a revocation list names, with and without an older list beside it."""
    check = "hardware.quote"
    for role in ("platform-ca", "pck", "tcb-signing"):
        title = f"uses a revoked certificate: {role}"
        yield refused(f"revoked-{role}", check, title, Knobs(revoked=frozenset({role})))
        title = f"uses a revoked certificate, {role}, and adds revocation lists from before"
        yield refused(
            f"revoked-{role}-older-list-beside",
            check,
            title,
            Knobs(revoked=frozenset({role})),
            handed_over=forge.older_lists,
            twin_handed_over=forge.older_lists,
        )
    yield refused(
        "revoked-pck-list-handed-over",
        check,
        "uses a revoked PCK among collateral from before, where a bare list revokes it",
        HONEST,
        handed_over=forge.revoking_list,
        twin_handed_over=forge.newer_list,
    )


def _not_in_force() -> Iterator[Attack]:
    """What is genuine at another time than that of judgement."""
    why = "nothing contradicts the quote: what endorses it at this time is missing"
    cases = [
        (
            f"expired-{role}",
            f"uses an expired certificate: {role}",
            Knobs(expired=frozenset({role})),
        )
        for role in ("platform-ca", "pck", "tcb-signing")
    ]
    title = "shows collateral that is no longer in force"
    cases.append(("collateral-expired", title, Knobs(collateral_age=31 * DAY)))
    title = "shows collateral that is not yet in force"
    cases.append(("collateral-not-yet", title, Knobs(collateral_age=-DAY)))
    for name, title, knobs in cases:
        yield missing(name, "hardware.quote", title, knobs, why)
    yield refused(
        "collateral-expired-and-revoked",
        "hardware.quote",
        "uses a PCK that collateral out of force revokes",
        Knobs(collateral_age=31 * DAY, revoked=frozenset({"pck"})),
    )


def platform() -> Iterator[Attack]:
    """TDs and platforms that are genuine, and unfit."""
    td15 = Knobs(quote_format="v5-td15")
    for name, title, changes, twin in (
        ("debug-td", "starts the TD with debug on",
         {"td_attributes": SEPT_VE_DISABLE | DEBUG}, HONEST),
        ("sept-ve-off", "starts the TD without SEPT_VE_DISABLE", {"td_attributes": 0}, HONEST),
        ("unknown-attribute", "sets a bit nobody knows", {"td_attributes": 3 << 28}, HONEST),
        ("seam-signer", "loads a TDX module that Intel did not sign",
         {"mr_signer_seam": b"\1" * 48}, HONEST),
        ("seam-signer-last-byte", "loads a TDX module whose signer differs from zero in one byte",
         {"mr_signer_seam": bytes(47) + b"\1"}, HONEST),
        ("seam-attributes", "loads a TDX module for debugging",
         {"seam_attributes": b"\1" + bytes(7)}, HONEST),
        ("seam-attributes-last-bit", "loads a TDX module with the last attribute bit",
         {"seam_attributes": bytes(7) + b"\x80"}, HONEST),
        ("service-td", "binds a service TD, which can migrate the app",
         {"mr_service_td": b"\1" * 48}, td15),
        ("service-td-last-byte", "binds a service TD whose measurement is zero except for one byte",
         {"mr_service_td": bytes(47) + b"\1"}, td15),
    ):  # fmt: skip
        knobs = replace(twin, edit_td=forge.td(**changes))
        yield refused(name, "hardware.td", title, knobs, twin=twin)
    why = "Intel signed it, and TCB info knows its version; that nobody has seen it is a doubt"
    knobs = Knobs(edit_td=forge.td(mr_seam=forge.OTHER_HASH + bytes(16)))
    yield warned("unknown-module", "hardware.td", "runs a TDX module nobody knows", knobs, why)
    why = "the host chooses what the TD may use; what that changes is not known"
    knobs = Knobs(edit_td=forge.td(xfam=bytes.fromhex("e702040000000000")))
    title = "gives the TD extended features that no known guest has"
    yield warned("unknown-features", "hardware.td", title, knobs, why)
    why = "the extension is signed, and names no service TD; no known guest shows one"
    title = "shows a report with the extension for service TDs"
    extended = replace(td15, quote_format="v5-td15-extended")
    yield warned("service-td-extension", "hardware.td", title, extended, why, twin=td15)
    check = "hardware.tcb"
    for name, title, knobs in (
        ("tcb-out-of-date", "runs on firmware with known holes", Knobs(tcb_status="OutOfDate")),
        ("tcb-hardening", "leaves software hardening out", Knobs(tcb_status="SWHardeningNeeded")),
        ("tcb-revoked", "runs on a TCB level that Intel revoked", Knobs(tcb_status="Revoked")),
        ("tdx-module-out-of-date", "runs an old TDX module", Knobs(module_status="OutOfDate")),
        ("qe-out-of-date", "quotes with an old enclave", Knobs(qe_status="OutOfDate")),
        ("kinder-evaluation", "shows an older evaluation", Knobs(tcb_evaluation=19)),
    ):
        yield refused(name, check, title, knobs)
    yield refused(
        "kinder-evaluation-beside",
        check,
        "adds collateral of an older evaluation, which is kinder, to the current one",
        Knobs(tcb_status="OutOfDate"),
        handed_over=forge.kinder_collateral,
        twin_handed_over=forge.kinder_collateral,
    )
    yield from _old()


def _old() -> Iterator[Attack]:
    """Evidence and endorsements from before."""
    yield warned(
        "old-quote",
        "hardware.freshness",
        "replays the evidence of a TD that ran once, where no contract dates it",
        Knobs(key_provider="local-sgx"),
        "a quote carries no time, and nothing here bounds its age",
    )
    yield warned(
        "old-collateral",
        "hardware.freshness",
        "shows collateral from before the bad news, still in force",
        Knobs(collateral_age=40 * DAY, collateral_window=60 * DAY),
        "collateral is in force for as long as Intel says; its age is a matter of policy",
    )
    yield warned(
        "old-revocation-list",
        "hardware.freshness",
        "uses a revoked PCK, with a revocation list from before, among fresh collateral",
        Knobs(revoked=frozenset({"pck"}), edit_response=forge.old_revocation_list),
        "the list is in force; the age of collateral is that of its oldest part",
    )
