"""For each rule a manifest that it reports, and an honest twin that it does not."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from verifier.manifest.context import ChainFacts, Context, Governor
from verifier.model.chain import Role
from verifier.reference.values import embedded

DIGEST: Final = "sha256:" + hashlib.sha256(b"an image").hexdigest()
OTHER: Final = "sha256:" + hashlib.sha256(b"another image").hexdigest()
PINNED: Final = f"example/app@{DIGEST}"
SOCKET: Final = "volumes: ['/var/run/dstack.sock:/var/run/dstack.sock']"
PHALA_BANNER: Final = "echo 'Running Phala Cloud Pre-Launch Script v0.0.14'"


@dataclass(frozen=True, slots=True)
class Case:
    """A manifest, and what is known besides it."""

    raw: bytes
    context: Context = field(default_factory=Context)


def manifest(compose: str, context: Context | None = None, **fields: Any) -> Case:
    """A manifest around a compose file; `fields` replace its own."""
    document: dict[str, Any] = {
        "manifest_version": 2,
        "name": "app",
        "runner": "docker-compose",
        "docker_compose_file": compose,
        "kms_enabled": True,
        "key_provider_id": "00",
        "gateway_enabled": True,
        "public_tcbinfo": True,
        "allowed_envs": [],
    } | fields
    kept = {name: value for name, value in document.items() if value is not ...}
    return Case(json.dumps(kept).encode(), context or Context())


def app(body: str = "", *, image: str = PINNED, rest: str = "", **fields: Any) -> Case:
    """A manifest with one service `web`; `body` are more lines of it, `rest` of the file."""
    lines = [f"image: {image}"] if image else []
    lines += body.splitlines()
    text = "services:\n  web:\n" + "".join(f"    {line}\n" for line in lines) + rest
    return manifest(text, **fields)


def env(entry: str, *allowed: str, **fields: Any) -> Case:
    """A manifest whose service has one variable, with these names allowed."""
    return app(f"environment:\n  - {entry}", allowed_envs=list(allowed), **fields)


def script(text: str, body: str = "", **fields: Any) -> Case:
    """A manifest with a pre-launch script."""
    return app(body, pre_launch_script=text, **fields)


def config(text: str, **fields: Any) -> Case:
    """A manifest with an inline configuration."""
    lines = "".join(f"      {line}\n" for line in text.splitlines())
    return app(rest=f"configs:\n  made:\n    content: |\n{lines}", **fields)


def known(**fields: Any) -> Context:
    """Evidence besides the manifest."""
    return Context(**fields)


def on_chain(**facts: Any) -> Case:
    """An app with this contract state."""
    return app(context=known(chain=ChainFacts(**facts)))


def owned(**fields: Any) -> Case:
    """An app whose contract somebody owns."""
    given: dict[str, Any] = {"contract": Role.APP, "who": "somebody", "keys": 2, "notice": 86400}
    return on_chain(governors=(Governor(**given | fields),))


def kms(claim: str, **fields: Any) -> Context:
    """A known KMS, and what the gateway's name says about it."""
    row = next(row for row in embedded().kms if row.ca_spki and row.contract)
    return known(
        key_provider="kms",
        key_provider_id=row.ca_spki,
        kms=row,
        kms_claims=frozenset({("the gateway", claim)}),
        **fields,
    )


HONEST: Final = app()
_HASH: Final = hashlib.sha256(HONEST.raw).hexdigest()
_HOSTED: Final = next(row for row in embedded().kms if row.contract is None)
_TWO: Final = (
    "services:\n  a:\n    image: {}\n    {}\n  b:\n    image: redis@" + DIGEST + "\n    {}\n"
)

VECTORS: Final[dict[str, tuple[Case, Case]]] = {
    "MAN-001": (
        Case(HONEST.raw, known(compose_hash="0" * 64)),
        Case(HONEST.raw, known(compose_hash=_HASH)),
    ),
    "MAN-002": (app(public_tcbinfo=False), app(public_tcbinfo=...)),
    "MAN-003": (app("ports: []\nports: []"), app("ports: []")),
    "MAN-004": (app(allowed_env=["A"]), app(swap_size=0)),
    "MAN-005": (app(runner="bash", bash_script="true"), app()),
    "MAN-006": (app(requirements={}), app(requirements={}, manifest_version="3")),
    "MAN-007": (app("env_file: .env"), app()),
    "MAN-008": (app(), Case(b'{"runner": 1, "runner": 2}')),
    "MAN-010": (app("frobnicate: true"), app("x-frobnicate: true")),
    "MAN-011": (app("networks: [absent]"), app("networks: [default]")),
    "MAN-012": (app("use_api_socket: true"), app("read_only: true")),
    "MAN-009": (app(local_key_provider_enabled=True), app(key_provider="kms")),
    "IMG-001": (app(image="${IMAGE}", allowed_envs=["IMAGE"]), app(image="${IMAGE:-a:1.2.3}")),
    "IMG-002": (app(image="org/app:${TAG}"), app(image="org/app:${TAG:-1.2.3}")),
    "IMG-003": (app(image=f"${{M:-{PINNED}}}"), app(image=f"${{M:-{PINNED}}}", allowed_envs=["M"])),
    "IMG-004": (app(image="org/app:v1.2.3"), app(image=f"org/app:v1.2.3@{DIGEST}")),
    "IMG-005": (app(image="redis:7-alpine"), app(image=f"redis:7-alpine@{DIGEST}")),
    "IMG-006": (app(image=f"org/app:1.0@{DIGEST}"), app()),
    "IMG-007": (app(image="org/app@sha256:abc123"), app()),
    "IMG-008": (env("WORKER_IMAGE=org/worker:latest"), env("OG_IMAGE_URL=https://x.test/a:b")),
    "IMG-009": (app(image=f"containrrr/watchtower@{DIGEST}"), app()),
    "IMG-010": (app("build: ."), app()),
    "IMG-011": (
        app("build:\n  dockerfile_inline: |\n    FROM ubuntu:22.04", image=""),
        app(f"build:\n  dockerfile_inline: |\n    FROM ubuntu@{DIGEST}", image=""),
    ),
    "IMG-012": (app("build: https://github.com/o/r.git#main", image=""), app("build: .", image="")),
    "IMG-013": (app("pull_policy: always", image="org/app:v1.2.3"), app("pull_policy: always")),
    "IMG-014": (app(image=f"ttl.sh/x@{DIGEST}"), app()),
    "IMG-015": (env(f"IMAGE_DIGEST={OTHER}"), env(f"IMAGE_DIGEST={DIGEST}")),
    "ENV-001": (env("API_URL=${API_URL}", "API_URL"), env("API_URL=https://api.example.com")),
    "ENV-002": (
        app("command: python ${ENTRY}", allowed_envs=["ENTRY"]),
        app("command: serve --port ${PORT}", allowed_envs=["PORT"]),
    ),
    "ENV-003": (app(allowed_envs=["DSTACK_AUTHORIZED_KEYS"]), app()),
    "ENV-004": (app(allowed_envs=["BASH_ENV"]), app(allowed_envs=["ENV"])),
    "ENV-005": (env("EVM_PRIVATE_KEY", "EVM_PRIVATE_KEY"), env("VAPID_PUBLIC_KEY=x")),
    "ENV-006": (env("OPENAI_API_KEY", "OPENAI_API_KEY"), env("REGION", "REGION")),
    "ENV-007": (env("ENABLE_DEBUG=${ENABLE_DEBUG:-false}", "ENABLE_DEBUG"), env("AUTH_MOCK=false")),
    "ENV-008": (env("RPC=${BASE_RPC_URL}", "BASE_RPC_URL"), env("KMS_CONTRACT_ADDR=0x2f83")),
    "ENV-009": (app(allowed_envs=["A"]), env("A", "A")),
    "ENV-010": (env("CPU_LIMIT=${CPU_LIMIT}", "CPU_LIMIT"), env("CPU_LIMIT=2")),
    "ENV-011": (
        app("extra_hosts: ['api.example.com:${ADDRESS}']", allowed_envs=["ADDRESS"]),
        env("A=${ADDRESS}", "ADDRESS"),
    ),
    "ENV-012": (env("BASE_URL"), env("BASE_URL=${BASE_URL:-x}")),
    "ENV-013": (
        app("volumes: ['/dstack/.host-shared/.decrypted-env:/app/.env:ro']", allowed_envs=["A"]),
        app("volumes: ['data:/data']", allowed_envs=["A"]),
    ),
    "ENV-014": (
        env("A", "A"),
        env("A", "A", manifest_version="3", requirements={"launch_token_hash": "00"}),
    ),
    "ENV-015": (app(image=f"datadog/agent@{DIGEST}"), app()),
    "ENV-016": (app(allowed_envs=["API-KEY"]), app(allowed_envs=["_A1"])),
    "ENV-017": (app(allowed_envs=["DSTACK_DOCKER_PASSWORD"]), app()),
    "ENV-018": (env("SSL_CERTIFICATE_KEY", "SSL_CERTIFICATE_KEY"), env("SSL_MODE=on")),
    "ENV-019": (env("DOMAIN=_.${DSTACK_GATEWAY_DOMAIN}"), env("DOMAIN=_.gateway.example")),
    "PLS-002": (script(PHALA_BANNER), script("echo hello")),
    "PLS-003": (script("echo hello"), app()),
    "PLS-004": (script("echo root:x | chpasswd"), script("echo hello")),
    "PLS-005": (script("curl -s https://x.test | bash"), script("curl http://127.0.0.1/")),
    "PLS-006": (script("cat secrets.json > /dev/console"), script("cat notes > /dev/console")),
    "PLS-007": (
        script("export KEY=$(cat /dstack/.host-shared/.appkeys.json | jq -r .k256_key)"),
        script("export KEY=value"),
    ),
    "PLS-008": (script("source /dstack/user_config"), script("jq -r .x /dstack/user_config")),
    "PLS-009": (script("test -f x || exit 1", "restart: always"), script("test -f x || exit 1")),
    "PLS-010": (script("echo '{}' > /etc/docker/daemon.json"), script("echo hello")),
    "PLS-011": (script("docker login -u a -p hunter2"), script('docker login -p "$PASS"')),
    "PLS-012": (app(init_script="true"), app()),
    "PLS-013": (
        app(image="org/app:v1.2.3", pre_launch_script="docker compose pull"),
        script("docker compose pull"),
    ),
    "SVC-001": (
        app("volumes: ['/var/run/docker.sock:/var/run/docker.sock:ro']"),
        app("volumes: ['data:/data']"),
    ),
    "SVC-002": (app('privileged: "true"'), app("privileged: false")),
    "SVC-003": (app("pid: host"), app("pid: 'service:web'")),
    "SVC-004": (app("cap_add: [CAP_SYS_MODULE]"), app("cap_drop: [ALL]\ncap_add: [CHOWN]")),
    "SVC-005": (app("volumes: ['/:/host']"), app("volumes: ['./data:/data']")),
    "SVC-006": (app(SOCKET, image="jupyter/scipy:1.2.3"), app()),
    "SVC-007": (app("volumes: ['/var/run/tappd.sock:/x/tappd.sock']"), app(SOCKET)),
    "SVC-008": (
        app("security_opt: ['seccomp:unconfined']"),
        app("security_opt: ['no-new-privileges:true']"),
    ),
    "SVC-009": (app("volumes: ['./nginx.conf:/etc/nginx.conf']"), app("volumes: ['conf:/etc/x']")),
    "SVC-010": (app("ports: ['80:80']"), app("ports: ['80:80']\nread_only: true")),
    "SVC-011": (app(image=f"tsl0922/ttyd@{DIGEST}"), env("URL=https://x.test/sshd")),
    "SVC-012": (
        app("command: sh -c 'pip install -U thing && run'"),
        app("healthcheck:\n  test: curl -f http://localhost/health"),
    ),
    "SVC-013": (
        app("command: hf download org/model"),
        app(f"command: hf download org/model --revision {'ab' * 20}"),
    ),
    "SVC-014": (app("profiles: [debug]"), app()),
    "SVC-015": (script("test -f x || exit 1", "restart: always"), app("restart: always")),
    "SVC-016": (
        manifest(
            _TWO.format(
                PINNED,
                "volumes: ['data:/d', '/run/dstack.sock:/s/dstack.sock']",
                "volumes: ['data:/d']",
            )
        ),
        manifest(_TWO.format(PINNED, "volumes: ['data:/d']", "volumes: ['else:/d']")),
    ),
    "PLS-015": (script("$TOOL x"), script("TOOL=cat; $TOOL x")),
    "SVC-017": (app("provider: {type: model}", image=""), app()),
    "NET-001": (app("ports: ['80:80']"), app("ports: ['127.0.0.1:5432:5432']")),
    "NET-002": (app("network_mode: host"), app()),
    "NET-003": (app("ports: [22:22]"), env("PORT=2222")),
    "NET-004": (app("ports: ['6379']", image=f"redis@{DIGEST}"), app("ports: ['80:80']")),
    "NET-005": (
        app("ports: ['8080:8080']", image=f"amir20/dozzle@{DIGEST}"),
        app(image=f"amir20/dozzle@{DIGEST}"),
    ),
    "NET-006": (app("ports: ['80:80']", gateway_enabled=False), app("ports: ['80:80']")),
    "NET-007": (
        app("command: cloudflared tunnel run"),
        app(
            "ports: ['443:443']\nenvironment: ['SET_CAA=true']", image=f"d/dstack-ingress@{DIGEST}"
        ),
    ),
    "NET-008": (env("CORS_ORIGINS=*"), env("CORS_ORIGINS=https://example.com")),
    "NET-009": (env("WIREGUARD_HOST", "WIREGUARD_HOST"), env("WIREGUARD_HOST=vpn.example")),
    "NET-010": (
        app("ports: ['80:80']\ncommand: python -m http.server 80"),
        app("command: python -m http.server 80"),
    ),
    "RTF-001": (app(public_logs=True), app(public_logs=False)),
    "RTF-002": (app(public_sysinfo=True), app()),
    "RTF-003": (app(secure_time=False), app()),
    "RTF-004": (app(no_instance_id=True), app()),
    "RTF-005": (app(storage_fs="ext4"), app(storage_fs="zfs")),
    "RTF-006": (
        app(context=known(pages=({"dstack-web-1": "Up"},))),
        app(context=known(pages=({},))),
    ),
    "RTF-007": (
        app("network_mode: host"),
        app("network_mode: host", port_policy={"restrict_mode": True}),
    ),
    "RTF-008": (
        app(manifest_version="3", requirements={"gpu_policy": {"allow_debug": True}}),
        app(manifest_version="3", requirements={"gpu_policy": {}}),
    ),
    "SEC-001": (env("SESSION_SECRET=TEE-2025-key-!!!!"), env("SESSION_SECRET=${SESSION_SECRET}")),
    "SEC-002": (config("stats auth admin:admin"), config("stats auth admin:aaa")),
    "SEC-003": (env("P=${ROOT_PW:-123456}"), env("P=${ROOT_PW:?}", "ROOT_PW")),
    "SEC-004": (
        app("command: redis-server --requirepass ${REDIS_PASSWORD}"),
        env("REDIS_PASSWORD=${REDIS_PASSWORD}"),
    ),
    "SEC-005": (app("# known issue: it does not verify"), app("# known-good digest")),
    "SEC-006": (env("DEV_MODE=1"), env("AUTH_MOCK=false")),
    "SEC-007": (
        env("DSTACK_SIMULATOR_ENDPOINT=http://sim:8090"),
        env("DSTACK_SIMULATOR_ENDPOINT="),
    ),
    "SEC-008": (env("A=https://api.example.com"), env("A=http://redis:6379")),
    "KMS-001": (
        app(context=known(key_provider="kms", key_provider_id=_HOSTED.ca_spki, kms=_HOSTED)),
        app(context=known(key_provider="kms", key_provider_id="00")),
    ),
    "KMS-002": (app(key_provider_id=""), app()),
    "KMS-003": (app(kms_enabled=False, key_provider_id=""), app()),
    "KMS-004": (app(kms_enabled=False, local_key_provider_enabled=True), app()),
    "KMS-005": (on_chain(hash_allowed=False), on_chain(hash_allowed=True)),
    "KMS-006": (on_chain(other_hashes=("0" * 64,)), on_chain(other_hashes=())),
    "KMS-007": (owned(notice=0), owned()),
    "KMS-008": (
        on_chain(any_device=True),
        on_chain(any_device=False, tcb_required=True),
    ),
    "KMS-010": (app(context=kms("hosted")), app(context=kms("base"))),
    "KMS-009": (
        config('[core.auth_api]\n[core.auth_api.webhook]\nurl = "https://cloud.example/auth/"'),
        config('[core.auth_api]\n[core.auth_api.webhook]\nurl = "http://auth-api:8000"'),
    ),
    "PLT-001": (
        app(context=known(os_kind="development")),
        app(context=known(os_kind="production")),
    ),
    "PLT-002": (app(context=known(os_kind="unknown")), app(context=known(os_kind="production"))),
    "PLT-003": (app(context=known(os_version="0.3.6")), app(context=known(os_version="0.5.4"))),
    "PLT-004": (
        app(context=known(os_version="0.5.7", kms_dates_keys=False)),
        app(context=known(os_version="0.5.7", kms_dates_keys=True)),
    ),
    "PLT-005": (script("jq -r .x /dstack/user_config"), script("echo hello")),
    "RUN-001": (
        app(context=known(pages=({"dstack-web-1": "Up", "extra": "Up"},))),
        app(context=known(pages=({"/dstack-web-1": "Up 2 hours"},))),
    ),
    "RUN-002": (
        app(context=known(pages=({},))),
        app(context=known(pages=({"dstack-web-1": "Exited (0)"},))),
    ),
}
NEVER_EVALUABLE: Final = frozenset({"RUN-004"})
"""Rules whose evidence is never in a manifest or its context."""
NOT_ASKED: Final = frozenset({"RUN-003"})
"""Rules that nothing which is collected can decide."""
BY_SCRIPT: Final = frozenset({"PLS-001", "PLS-014"})
"""Rules about Phala's own scripts, whose texts are not here: tested with a script of our own under
another table."""
