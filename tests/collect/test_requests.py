"""What is asked of whom."""

from verifier.collect import requests
from verifier.evidence.bundle import Kind
from verifier.evidence.chain.endpoint_label import public_label

PLATFORM = ("90C06F000000", "platform")


def test_intel_publishes_its_root_crl_elsewhere() -> None:
    asked = requests.pcs_requests("https://api.trustedservices.intel.com", PLATFORM)
    urls = {request.kind: request.url for request in asked}
    base = "https://api.trustedservices.intel.com"
    assert urls == {
        Kind.PCS_TCB_INFO: f"{base}/tdx/certification/v4/tcb?fmspc=90C06F000000&update=standard",
        Kind.PCS_QE_IDENTITY: f"{base}/tdx/certification/v4/qe/identity?update=standard",
        Kind.PCS_PCK_CRL: f"{base}/sgx/certification/v4/pckcrl?ca=platform&encoding=der",
        Kind.PCS_ROOT_CA_CRL: requests.INTEL_ROOT_CRL_URL,
    }


def test_a_pccs_is_asked_for_it_first() -> None:
    asked = requests.pcs_requests("https://pccs.example/", PLATFORM)
    crl = next(request for request in asked if request.kind is Kind.PCS_ROOT_CA_CRL)
    assert crl.url == "https://pccs.example/sgx/certification/v4/rootcacrl"
    assert crl.fallback == requests.INTEL_ROOT_CRL_URL


def test_guest_addresses() -> None:
    app_id = "2c0a0c96cb6dbd659bf1446e2f3fce58172ff91b"
    base = requests.guest_url(app_id, "https://gw.example:8443")
    assert base == f"https://{app_id}-8090.gw.example:8443"
    assert requests.gateway_of(base) == (app_id, "https://gw.example:8443")


def test_a_key_in_an_endpoint_is_not_shown() -> None:
    assert public_label("https://rpc.example/") == "https://rpc.example"
    label = public_label("https://rpc.example/v2/SECRET")
    assert label.startswith("https://rpc.example/#")
    assert "SECRET" not in label
    assert label != public_label("https://rpc.example/v2/OTHER")
