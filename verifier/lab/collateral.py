"""Collateral for the simulated platforms, as one document and as a PCS would answer for it.

TCB info v3 and QE identity v2 as Intel's PCS serves them: compact JSON, each signed (raw `r || s`)
over its exact text by the TCB signing key. Paths: Intel SGX and TDX PCS API, version 4.
"""

import json
from typing import Final
from urllib.parse import quote as percent_encode
from urllib.parse import urlsplit

from msgspec import Struct

from verifier.evidence.codec import JsonObject
from verifier.lab import keys, quote
from verifier.lab.pki import CPU_SVN, DAY, PCE_SVN, Pki, pem_chain
from verifier.lab.response import NOT_FOUND, Response, answer
from verifier.model.identifiers import format_time
from verifier.model.result import JsonValue

_JSON: Final = "application/json"
_CRL: Final = "application/pkix-crl"


class CollateralOptions(Struct, frozen=True, kw_only=True):
    """What the collateral says.

    issued         when TCB info and QE identity were issued, Unix seconds
    expires        when they expire, Unix seconds
    evaluation     their tcbEvaluationDataNumber
    fmspc          the family that the TCB info is about, 6 bytes
    tcb_status     the status of the platform's TCB level
    module_status  the status of the TDX module's level
    qe_status      the status of the quoting enclave's level
    advisories     those of the platform's level; () for none
    tcb_signer     who signs the TCB info: `tcb-signing`, or `pck` for a leaf that may not
    qe_signer      who signs the QE identity, likewise
    pce_id         the PCE that the TCB info is about, 2 bytes of hex
    """

    issued: int
    expires: int
    evaluation: int
    fmspc: bytes
    tcb_status: str = "UpToDate"
    module_status: str = "UpToDate"
    qe_status: str = "UpToDate"
    advisories: tuple[str, ...] = ()
    tcb_signer: str = "tcb-signing"
    qe_signer: str = "tcb-signing"
    pce_id: str = "0000"


class Collateral:
    """The six documents about one platform family."""

    def __init__(self, pki: Pki, options: CollateralOptions) -> None:
        self._pki = pki
        pck_chain = pem_chain([pki.pck, pki.platform_ca, pki.root]).decode()
        signers = {
            "pck": (pki.pck_key, pck_chain),
            "tcb-signing": (pki.tcb_key, pki.tcb_chain),
        }
        tcb_key, self.tcb_chain = signers[options.tcb_signer]
        qe_key, self.qe_chain = signers[options.qe_signer]
        self.tcb_info = _compact(_tcb_info(options))
        self.qe_identity = _compact(_qe_identity(options))
        self.tcb_signature = keys.sign_p256(tcb_key, self.tcb_info.encode()).hex()
        self.qe_signature = keys.sign_p256(qe_key, self.qe_identity.encode()).hex()

    def document(self) -> JsonObject:
        """All of it as one document in the field names of dcap-qvl's QuoteCollateralV3."""
        return {
            "pck_crl_issuer_chain": self._pki.crl_chain,
            "root_ca_crl": self._pki.root_ca_crl.hex(),
            "pck_crl": self._pki.pck_crl.hex(),
            "tcb_info_issuer_chain": self.tcb_chain,
            "tcb_info": self.tcb_info,
            "tcb_info_signature": self.tcb_signature,
            "qe_identity_issuer_chain": self.qe_chain,
            "qe_identity": self.qe_identity,
            "qe_identity_signature": self.qe_signature,
        }

    def respond(self, url: str) -> Response:
        """What a PCS answers to a GET of `url`; 404 for a path that it does not serve."""
        path = urlsplit(url).path
        if path.endswith("/sgx/certification/v4/pckcrl"):
            chain = {"SGX-PCK-CRL-Issuer-Chain": percent_encode(self._pki.crl_chain)}
            return answer(200, _CRL, self._pki.pck_crl, chain)
        if path.endswith("/tdx/certification/v4/tcb"):
            body = f'{{"tcbInfo":{self.tcb_info},"signature":"{self.tcb_signature}"}}'
            chain = {"TCB-Info-Issuer-Chain": percent_encode(self.tcb_chain)}
            return answer(200, _JSON, body.encode(), chain)
        if path.endswith("/tdx/certification/v4/qe/identity"):
            body = f'{{"enclaveIdentity":{self.qe_identity},"signature":"{self.qe_signature}"}}'
            chain = {"SGX-Enclave-Identity-Issuer-Chain": percent_encode(self.qe_chain)}
            return answer(200, _JSON, body.encode(), chain)
        if path.endswith("/sgx/certification/v4/rootcacrl"):
            return answer(200, _CRL, self._pki.root_ca_crl.hex().encode())
        if path.endswith("/crl/root.der"):
            return answer(200, _CRL, self._pki.root_ca_crl)
        return NOT_FOUND


def _compact(document: JsonObject) -> str:
    return json.dumps(document, separators=(",", ":"))


def _level(tcb: JsonObject, date: int, status: str, advisories: tuple[str, ...] = ()) -> JsonObject:
    level: JsonObject = {"tcb": tcb, "tcbDate": format_time(date), "tcbStatus": status}
    if advisories:
        level["advisoryIDs"] = list(advisories)
    return level


def _components(values: bytes) -> list[JsonValue]:
    return [{"svn": value} for value in values]


def _tcb_info(options: CollateralOptions) -> JsonObject:
    """TCB info: the level that the simulated platforms meet, and an older one below it."""
    recent, old = options.issued - 390 * DAY, options.issued - 820 * DAY
    current: JsonObject = {
        "sgxtcbcomponents": _components(CPU_SVN),
        "pcesvn": PCE_SVN,
        "tdxtcbcomponents": _components(bytes.fromhex("05000300000000000000000000000000")),
    }
    below: JsonObject = {
        "sgxtcbcomponents": _components(bytes.fromhex("02020202030100030000000000000000")),
        "pcesvn": 5,
        "tdxtcbcomponents": _components(bytes.fromhex("03000200000000000000000000000000")),
    }
    module: JsonObject = {
        "mrsigner": "00" * 48,
        "attributes": "00" * 8,
        "attributesMask": "FF" * 8,
    }
    return {
        "id": "TDX",
        "version": 3,
        "issueDate": format_time(options.issued),
        "nextUpdate": format_time(options.expires),
        "fmspc": options.fmspc.hex(),
        "pceId": options.pce_id,
        "tcbType": 0,
        "tcbEvaluationDataNumber": options.evaluation,
        "tdxModule": dict(module),
        "tdxModuleIdentities": [
            {
                "id": "TDX_01",
                **module,
                "tcbLevels": [_level({"isvsvn": 5}, recent, options.module_status)],
            }
        ],
        "tcbLevels": [
            _level(current, recent, options.tcb_status, options.advisories),
            _level(below, old, "OutOfDate", ("INTEL-SA-01036", "INTEL-SA-01099")),
        ],
    }


def _qe_identity(options: CollateralOptions) -> JsonObject:
    return {
        "id": "TD_QE",
        "version": 2,
        "issueDate": format_time(options.issued),
        "nextUpdate": format_time(options.expires),
        "tcbEvaluationDataNumber": options.evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000",
        "attributesMask": "FBFFFFFFFFFFFFFF0000000000000000",
        "mrsigner": quote.QE_MRSIGNER.hex().upper(),
        "isvprodid": quote.QE_PRODUCT_ID,
        "tcbLevels": [_level({"isvsvn": 4}, options.issued - 390 * DAY, options.qe_status)],
    }
