"""What the guest states cannot be made consistent by leaving out what contradicts."""

import json

import pytest

from tests.worlds.audited import audit
from tests.worlds.outcomes import assert_noticed, assert_stands
from verifier.lab import forgeries as forge
from verifier.lab import omissions
from verifier.lab.knobs import Knobs
from verifier.lab.response import Response

CHECK = "application.consistency"
STATED = (
    *("app_id", "instance_id", "compose_hash", "device_id", "mr_aggregated", "os_image_hash"),
    *("key_provider_info", "tcb_info", "vm_config"),
)


@pytest.mark.parametrize("version", ["0.5.8", "0.6.0"])
def test_whole_answers_are_consistent(version: str) -> None:
    assert_stands(audit(Knobs(version=version)), CHECK)


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize("name", STATED)
def test_a_field_of_the_info_answer(name: str, value: str | None) -> None:
    edit = omissions.info_without(name) if value is None else forge.info_field(name, value)
    assert_noticed(audit(Knobs(edit_response=edit)), CHECK)


@pytest.mark.parametrize("config", ["", "{}", '{"os_image_hash": ""}', '{"vm_config": "{}"}'])
def test_a_configuration_that_names_no_image(config: str) -> None:
    edit = forge.info_field("vm_config", config)
    assert_noticed(audit(Knobs(edit_response=edit)), CHECK)


@pytest.mark.parametrize("name", ["rtmr1", "mrtd", "compose_hash", "device_id", "app_compose"])
def test_a_field_of_tcb_info(name: str) -> None:
    def respond(method: str, url: str, body: bytes, response: Response) -> Response:
        if "/prpc/Info" not in url:
            return response
        told = json.loads(json.loads(response.body)["tcb_info"])
        del told[name]
        return forge.info_field("tcb_info", json.dumps(told))(method, url, body, response)

    assert_noticed(audit(Knobs(edit_response=respond)), CHECK)


@pytest.mark.parametrize("label", ["App ID", "Instance ID", "Device ID", "Key Provider Info"])
def test_a_row_of_the_page(label: str) -> None:
    edit = forge.page_text(f">{label}<", ">Something else<")
    assert_noticed(audit(Knobs(edit_response=edit)), CHECK)
