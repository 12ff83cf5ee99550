"""Who answers a KMS, as its own manifest says: what may be passed as obeying a contract."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from msgspec.structs import replace

from tests.evidence.recorded import needs_recorded, read
from tests.worlds.audited import Audited, audit
from verifier.checks.key_management.kms_services import KmsServices, kms_services
from verifier.lab import forged_kms, keys
from verifier.lab.guest import manifest_text
from verifier.lab.history import KMS_ADDRESS
from verifier.lab.host import firmware_event_added
from verifier.lab.knobs import Knobs
from verifier.lab.registry import KMS_IMAGES
from verifier.lab.world import build
from verifier.manifest.read import read_manifest
from verifier.model.result import CheckResult, Status, Verdict

Edit = Callable[[Knobs], Knobs]

CHECK: Final = "key_management.attestation"
TARGET: Final = "target: /kms/kms.toml"
COMMAND: Final = (
    "    command: sh -c 'mkdir -p /kms/certs /kms/images && exec dstack-kms -c /kms/kms.toml'\n"
)
ENVIRONMENT: Final = "    environment:\n      - ETH_RPC_URL"
CONFIGS: Final = "configs:\n  kms:\n    content"
OTHER: Final = "0x" + keys.labelled("another contract", 20).hex()
ANSWERS_YES: Final = "require('http').createServer((_, r) => r.end('{}')).listen(8000)"

written = forged_kms.manifest


def at_kms(extra: str) -> Edit:
    return written(COMMAND, COMMAND + extra)


def started(command: str) -> Edit:
    return written(COMMAND, f"    command: {command}\n")


def at_asked(extra: str) -> Edit:
    return written(ENVIRONMENT, extra + ENVIRONMENT)


def variable(line: str) -> Edit:
    return written("      - ETH_RPC_URL=", f"      - {line}\n      - ETH_RPC_URL=")


def at_node(extra: str) -> Edit:
    return written(CONFIGS, extra + CONFIGS)


def beside(extra: str, name: str = "evil") -> Edit:
    image = KMS_IMAGES["auth-api"].reference
    hardened = (
        "    restart: unless-stopped\n    read_only: true\n    user: '1000:1000'\n"
        "    cap_drop: [ALL]\n    security_opt: [no-new-privileges:true]\n"
    )
    return written(CONFIGS, f"  {name}:\n    image: {image}\n{hardened}{extra}{CONFIGS}")


def field(**changes: object) -> Edit:
    def edit(knobs: Knobs) -> Knobs:
        document = json.loads(knobs.manifest or "{}") | changes
        return replace(knobs, manifest=json.dumps(document, sort_keys=True))

    return edit


def both(first: Edit, second: Edit) -> Edit:
    return lambda knobs: second(first(knobs))


ALIAS: Final = "    networks:\n      default:\n        aliases: [auth-api]\n"
OVER: Final = "      - source: over\n        "
A_CONFIG: Final = "  over:\n    content: |\n      auth_api = 1\n"
TWO: Final = "  two:\n    content: |\n      [core.auth_api]\n"
AGENT: Final = "/var/run/dstack.sock"
SOCKET: Final = f"      - {AGENT}:{AGENT}\n"

DOUBTFUL: Final[dict[str, tuple[Edit, str]]] = {
    "asked-command": (
        at_asked(f"    command: [sh, -c, 'KMS_CONTRACT_ADDR={OTHER} exec node main.js']\n"),
        "what auth-api runs is the operator's own `command`",
    ),
    "asked-entrypoint": (
        at_asked(f'    entrypoint: [node, -e, "{ANSWERS_YES}"]\n'),
        "what auth-api runs is the operator's own `entrypoint`",
    ),
    "asked-health": (at_asked("    healthcheck: {test: [CMD, 'true']}\n"), "own `healthcheck`"),
    "asked-hook": (at_asked("    post_start: [{command: [sh, -c, 'true']}]\n"), "own `post_start`"),
    "asked-node-options": (variable("NODE_OPTIONS=--import=data:x"), "NODE_OPTIONS may change"),
    "asked-proxy": (variable("http_proxy=http://proxy:8"), "http_proxy may change"),
    "asked-own-variable": (variable("${A:-NODE_OPTIONS}=--import=data:x"), "may change what"),
    "asked-profile": (at_asked("    profiles: [never]\n"), "`profiles` of auth-api"),
    "asked-scale": (at_asked("    scale: 0\n"), "`scale` of auth-api"),
    "asked-deploy": (at_asked("    deploy: {replicas: 0}\n"), "`deploy` of auth-api"),
    "asked-env-file": (at_asked("    env_file: [/dstack/x.env]\n"), "`env_file` of auth-api"),
    "asked-volume": (at_asked("    volumes: ['code:/app']\n"), "`volumes` of auth-api"),
    "asked-directory": (at_asked("    working_dir: /tmp\n"), "`working_dir` of auth-api"),
    "asked-hosts": (at_asked("    extra_hosts: ['node:34.1.2.3']\n"), "`extra_hosts` of auth-api"),
    "asked-image": (
        written(KMS_IMAGES["auth-api"].reference, KMS_IMAGES["node"].reference),
        "the image of auth-api is not named as one that asks a contract: dstack-node",
    ),
    "kms-image": (
        written(KMS_IMAGES["kms"].reference, KMS_IMAGES["node"].reference),
        "the image of kms is not named as that of a KMS: dstack-node",
    ),
    "kms-own-command": (
        started('[sh, -c, "sed s/webhook/dev/ /kms/kms.toml > /k && exec dstack-kms -c /k"]'),
        "what kms runs is the operator's own `command`",
    ),
    "kms-command-goes-on": (
        started("\"sh -c 'exec dstack-kms -c /kms/kms.toml; rm /kms'\""),
        "what kms runs is the operator's own `command`",
    ),
    "kms-command-with-more": (
        started("[sh, -c, exec dstack-kms -c /kms/kms.toml, x]"),
        "what kms runs is the operator's own `command`",
    ),
    "kms-command-of-another-program": (
        started("[echo, -c, exec dstack-kms -c /kms/kms.toml]"),
        "what kms runs is the operator's own `command`",
    ),
    "kms-no-command": (written(COMMAND, ""), "kms names no configuration"),
    "kms-entrypoint": (at_kms("    entrypoint: [sh]\n"), "what kms runs is the operator's own"),
    "kms-config-elsewhere": (
        written(TARGET, "target: /kms/unused.toml"),
        "kms reads /kms/kms.toml, and is given its configuration at /kms/unused.toml",
    ),
    "kms-reads-elsewhere": (
        started("sh -c 'exec dstack-kms -c /kms/own.toml'"),
        "kms reads /kms/own.toml, and is given its configuration at /kms/kms.toml",
    ),
    "kms-config-by-a-variable": (
        written(TARGET, "target: '/kms/kms.toml${DSTACK_APP_ID:+.x}'"),
        "kms reads /kms/kms.toml, and is given",
    ),
    "kms-config-over-it": (
        both(written(f"        {TARGET}\n", f"        {TARGET}\n{OVER}{TARGET}\n"),
             written("configs:\n  kms:\n", f"configs:\n{A_CONFIG}  kms:\n")),
        "no service has the configuration of the KMS",
    ),
    "kms-config-beside-it": (
        both(written(f"        {TARGET}\n", f"        {TARGET}\n{OVER}target: /usr/bin/sh\n"),
             written("configs:\n  kms:\n", f"configs:\n{A_CONFIG}  kms:\n")),
        "kms reads /kms/kms.toml, and is given its configuration at 2 places",
    ),
    "kms-volume-over-it": (
        written(SOCKET, SOCKET + "      - kms-volume:/usr/local/bin\n"),
        "kms has /usr/local/bin from elsewhere",
    ),
    "kms-file-over-it": (
        written(SOCKET, SOCKET + "      - /dstack/other.toml:/kms/kms.toml\n"),
        "kms has /kms/kms.toml from elsewhere",
    ),
    "kms-socket-of-an-image": (
        written(
            SOCKET,
            "      - {type: image, source: /var/run/dstack.sock, target: /var/run/dstack.sock}\n",
        ),
        "kms has /var/run/dstack.sock from elsewhere",
    ),
    "kms-other-shell": (
        started("[/dstack/sh, -c, exec dstack-kms -c /kms/kms.toml]"),
        "what kms runs is the operator's own `command`",
    ),
    "kms-volume-with-options": (
        written("  kms-volume:\n", "  kms-volume: {driver_opts: {type: nfs, device: ':/x'}}\n"),
        "kms has /kms from elsewhere",
    ),
    "kms-pipe-for-its-socket": (
        written(SOCKET, f"      - {{type: npipe, source: {AGENT}, target: {AGENT}}}\n"),
        "kms has /var/run/dstack.sock from elsewhere",
    ),
    "kms-links": (at_kms("    links: ['node:auth-api']\n"), "`links` of kms"),
    "kms-dns": (at_kms("    dns: 34.1.2.3\n"), "`dns` of kms"),
    "kms-variable": (
        at_kms("    environment: [KMS_CORE__AUTH_API__TYPE=dev]\n"),
        "KMS_CORE__AUTH_API__TYPE may change what kms runs",
    ),
    "no-kms": (
        written(f"    configs:\n      - source: kms\n        {TARGET}\n", ""),
        "no service has the configuration of the KMS",
    ),
    "webhook-elsewhere": (
        written('      url = "http://auth-api:8000"\n',
                '      url = "HTTP://34.1.2.3"\n      [decoy]\n      url = "http://auth-api:8000"\n'),
        "does not say in one certain way whom it asks",
    ),
    "webhook-by-a-variable": (
        written('cert_dir = "/kms/certs"', 'cert_dir = "/kms/${A:-certs}"'),
        "does not say in one certain way whom it asks",
    ),
    "second-kms-config": (
        written("configs:\n  kms:\n", f"configs:\n{TWO}  kms:\n"),
        "it holds 2 configurations of a KMS",
    ),
    "node-command": (
        at_node("    command: [socat, 'TCP-LISTEN:8545,fork', 'TCP:34.1.2.3:8545']\n"),
        "what node runs is the operator's own `command`",
    ),
    "node-variable": (at_node("    environment: [A=b]\n"), "A may change what node runs"),
    "other-alias": (beside(ALIAS), "`networks` of evil"),
    "other-alias-under-a-profile": (
        both(at_asked("    profiles: [never]\n"), beside(ALIAS)), "`profiles` of auth-api"),
    "other-container-name": (
        beside("    container_name: auth-api\n"), "`container_name` of evil"),
    "other-hostname": (beside("    hostname: auth-api\n"), "`hostname` of evil"),
    "other-command": (beside("    command: [arpspoof]\n"), "what evil runs is"),
    "other-name-in-capitals": (beside("", "AUTH-API"), "several services have the name auth-api"),
    "network": (
        written("services:\n", "networks: {default: {external: true}}\nservices:\n"),
        "its compose file has `networks`",
    ),
    "script": (field(pre_launch_script="#!/bin/bash\ntrue\n"), "a script runs beside"),
    "init-script": (field(init_script="#!/bin/bash\ntrue\n"), "a script runs beside"),
    "operator-variables": (field(allowed_envs=["COMPOSE_FILE"]), "its operator sets COMPOSE_FILE"),
}  # fmt: skip
"""What a KMS's operator can write into its manifest beside the name of the contract, and what is
said of it."""


def contract(result: CheckResult) -> tuple[str, str]:
    actual: Any = result.actual
    (part,) = (item for item in actual["guests"][0]["parts"] if item["part"] == "contract")
    return part["status"], part["said"]


def read_by(edit: Edit) -> KmsServices:
    """What is read from the manifest of a KMS that was edited."""
    knobs = build(Knobs(edit_kms=edit)).kms.guest.knobs
    return kms_services(read_manifest(manifest_text(knobs).encode()))


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_may_answer_in_the_contracts_place(name: str) -> None:
    edit, said = DOUBTFUL[name]
    assert any(said in doubt for doubt in read_by(edit).doubts), read_by(edit).doubts


TELLING: Final = ("asked-command", "kms-config-elsewhere", "other-alias", "node-command")


@pytest.mark.parametrize("name", TELLING)
def test_the_check_warns_of_it(name: str) -> None:
    edit, said = DOUBTFUL[name]
    audited = audit(Knobs(edit_kms=edit))
    (result,) = audited.check(CHECK)
    assert (result.status, audited.report.verdict) == (Status.WARN, Verdict.WARNING)
    status, words = contract(result)
    assert status == "warn"
    assert said in words


HONEST: Final[dict[str, Edit]] = {
    "as it is": lambda knobs: knobs,
    "by a list": started(
        "[sh, -c, mkdir -p /kms/certs /kms/images && exec dstack-kms -c /kms/kms.toml]"
    ),
    "in other quotes": started('"/bin/sh -c \\"exec dstack-kms -c /kms/kms.toml\\""'),
    "known variables": both(variable("HOST=0.0.0.0"), variable("PORT=8000")),
    "ports": at_asked("    ports: ['8001:8000']\n    depends_on: [node]\n"),
    "a plain one beside": beside(""),
    "with words of its own": written("services:\n", "x-owner: somebody\nservices:\n"),
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_manifest_leaves_no_doubt(name: str) -> None:
    found = read_by(HONEST[name])
    assert found.doubts == ()
    assert found.inside
    assert found.contracts == {f"0x{KMS_ADDRESS.hex()}"}


def test_an_honest_one_is_affirmed(honest: Audited) -> None:
    (result,) = honest.check(CHECK)
    assert result.status is Status.PASS
    assert honest.report.verdict is Verdict.AFFIRMING
    assert contract(result)[0] == "pass"


@pytest.mark.parametrize(
    "url",
    ["http://34.1.2.3\\\\@auth-api:8000", "http://a@auth-api:8000", "http://auth-api:8000?x"],
)
def test_a_url_that_readers_differ_about_is_of_no_service(url: str) -> None:
    assert read_by(written("http://auth-api:8000", url)).contracts == {""}


def test_a_number_is_an_address_and_no_service() -> None:
    edit = both(written("http://node:8545", "http://3405803783:8545"), beside("", "'3405803783'"))
    assert not read_by(edit).inside


RECORDED: Final = {
    "prod5-base": (("https://base-mainnet.g.alchemy.com/v2/",), ()),
    "prod9-eth": (("https://eth-mainnet.g.alchemy.com/v2/",), ()),
    "use1-base": (("https://base-mainnet.g.alchemy.com/v2/",), ()),
    "prod6BaseV053": (
        ("http://helios:8545",), ("what helios runs is the operator's own `command`",)),
    "prod6PhalaV054": ((), ()),
    "prod10-pha": ((), ()),
}  # fmt: skip
"""Real KMSs: where the chain is read, and what is doubted."""


@needs_recorded
@pytest.mark.parametrize("name", RECORDED)
def test_a_real_one_is_read_as_it_is(name: str) -> None:
    info = json.loads(read(f"kms/info_{name}.json"))["tcb_info"]
    document = json.loads(info) if isinstance(info, str) else info
    found = kms_services(read_manifest(document["app_compose"].encode()))
    nodes, doubts = RECORDED[name]
    assert len(found.nodes) == len(nodes)
    assert all(map(str.startswith, found.nodes, nodes))
    assert found.doubts == doubts


def waiver(audited: Audited, check: str, more: str = "") -> str:
    return (
        f'[[waivers]]\nid = "W-1"\ncheck = "{check}"\nscope = "{audited.world.app_id}"\n'
        f'reason = "known"\nowner = "ops@example.org"\nexpires = 2027-01-01\n{more}'
    )


def test_no_waiver_covers_another_firmware_of_the_kms() -> None:
    audited = audit(Knobs(edit_kms=forged_kms.guest(edit_events=firmware_event_added)))
    digests = f'digests = ["{"ab" * 48}"]\n'
    waived = audited.under(waiver(audited, "boot.machine", digests))
    for found in (audited, waived):
        assert [item.status for item in found.check(CHECK)] == [Status.FAIL]
        assert found.report.verdict is Verdict.CONTRAINDICATED


def test_a_waiver_of_the_tcb_covers_that_of_the_kms() -> None:
    audited = audit(Knobs(tcb_status="OutOfDate"))
    assert [item.status for item in audited.check(CHECK)] == [Status.FAIL]
    waived = audited.under(waiver(audited, "hardware.tcb"))
    assert [item.status for item in waived.check(CHECK)] == [Status.PASS]
    expired = waiver(audited, "hardware.tcb").replace("2027", "2026")
    assert [item.status for item in audited.under(expired).check(CHECK)] == [Status.FAIL]


def test_a_waiver_of_the_tcb_lifts_no_doubt_about_that_of_the_kms() -> None:
    """It accepts what Intel says of the platform, and not that nobody knows how old that is."""
    audited = audit(Knobs())
    undated = replace(audited.question.reference, tcb_evaluations=())
    doubtful = audited.again(reference=undated)
    for found in (doubtful, doubtful.under(waiver(audited, "hardware.tcb"))):
        assert [item.status for item in found.check(CHECK)] == [Status.WARN]


def test_a_volume_that_is_no_table_is_a_finding_and_no_crash() -> None:
    edit = written("  kms-volume:\n", "  kms-volume: text\n")
    (found,) = audit(Knobs(edit_kms=edit)).check(CHECK)
    assert (found.status, "MAN-011" in found.summary) == (Status.WARN, True)
