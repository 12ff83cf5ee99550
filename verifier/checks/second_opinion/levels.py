"""Which TCB level a quote meets, and the status that follows (Intel's appraisal of TDX TCBs).

A platform meets the highest level all of whose versions it reaches. A TDX module of a version above
0 has levels of its own, which take the place of the platform's first two TDX components. What is
out of date or revoked in module or quoting enclave makes the whole so; their other statuses do not
count in the whole. A TD 1.5 states two sets of module versions: those it was launched under, and
the current ones after an update that preserved it.
"""

from typing import Final

from msgspec.structs import replace

from verifier.checks.second_opinion.certificates import Platform
from verifier.checks.second_opinion.documents import Level, Module, QeIdentity, TcbInfo
from verifier.checks.second_opinion.layout import EnclaveReport, Quote
from verifier.checks.second_opinion.refusal import RefusedError, need

_DEBUG: Final = 1 << 1
_REVOKED: Final = "Revoked"
_OUT_OF_DATE: Final = "OutOfDate"
_WITH_OLD_PART: Final = {
    "UpToDate": _OUT_OF_DATE,
    "SWHardeningNeeded": _OUT_OF_DATE,
    "ConfigurationNeeded": "OutOfDateConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded": "OutOfDateConfigurationNeeded",
}
"""The status of a whole with a part that is out of date; other statuses stay."""


def enclave_level(report: EnclaveReport, identity: QeIdentity) -> Level:
    """The level that the quoting enclave meets. Raises RefusedError where it is another one."""
    need(not report.attributes[0] & _DEBUG, "the quoting enclave is one for debugging")
    need(report.mr_signer == identity.mr_signer, "the quoting enclave is signed by another")
    need(report.product == identity.product, "the quoting enclave is another product")
    # The document spells miscselect as a number, the report as little-endian bytes.
    misc = _masked(report.misc_select[::-1], identity.misc_mask)
    need(misc == identity.misc_select, "the quoting enclave has another miscselect")
    attributes = _masked(report.attributes, identity.attributes_mask)
    need(attributes == identity.attributes, "the quoting enclave has other attributes")
    return _highest(identity.levels, report.svn, "the quoting enclave")


def need_module(quote: Quote, info: TcbInfo) -> None:
    """Raises RefusedError unless the TDX module is signed as TCB info says, without attributes."""
    version = quote.tee_tcb_svn[1]
    module = _module(info, version) if version else info.module
    need(quote.mr_signer_seam == module.mr_signer, "the TDX module is signed by another")
    need(
        not any(quote.seam_attributes) and quote.seam_attributes == module.attributes,
        "the TDX module has attributes",
    )


def platform_level(info: TcbInfo, platform: Platform, versions: bytes) -> Level:
    """The level that a platform meets with a TDX module of these versions, as it is with the
    module's: its status, the earlier date, and the advisories of both. Raises RefusedError."""
    first = 2 if versions[1] else 0
    for level in info.levels:
        if (
            platform.pce_svn >= level.pce_svn
            and _reach(platform.components, level.sgx)
            and _reach(versions[first:], level.tdx[first:])
        ):
            break
    else:
        raise RefusedError("the platform meets no TCB level")
    if not versions[1]:
        return level
    part = _highest(_module(info, versions[1]).levels, versions[0], "the TDX module")
    return replace(
        level,
        status=with_part(level.status, part.status),
        date=min(level.date, part.date),
        advisories=(*level.advisories, *part.advisories),
    )


def with_part(whole: str, part: str) -> str:
    """The status of a platform with that of one of its parts."""
    if _REVOKED in (whole, part):
        return _REVOKED
    return _WITH_OLD_PART.get(whole, whole) if part == _OUT_OF_DATE else whole


def relaunched(launch: str, current: str) -> str:
    """The status of a TD 1.5: where only what it was launched under is out of date, launching it
    anew would do."""
    if not launch.startswith(_OUT_OF_DATE) or current not in _WITH_OLD_PART:
        return launch
    configuration = "Configuration" in launch or "Configuration" in current
    return f"TDRelaunchAdvised{'ConfigurationNeeded' if configuration else ''}"


def _module(info: TcbInfo, version: int) -> Module:
    found = info.modules.get(version)
    if found is None:
        raise RefusedError(f"TCB info names no TDX module of version {version}")
    return found


def _highest(levels: tuple[Level, ...], svn: int, what: str) -> Level:
    found = next((level for level in levels if svn >= level.svn), None)
    if found is None:
        raise RefusedError(f"{what} meets no TCB level")
    return found


def _reach(versions: bytes | tuple[int, ...], least: tuple[int, ...]) -> bool:
    return all(have >= want for have, want in zip(versions, least, strict=True))


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(have & bit for have, bit in zip(value, mask, strict=True))
