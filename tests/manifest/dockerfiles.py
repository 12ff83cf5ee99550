"""Dockerfiles: an honest one, and for each rule of builds what it refuses and an honest twin."""

from typing import Final

HASH: Final = "ab" * 32
COMMIT: Final = "5a" * 20
BASE: Final = f"python:3.12-slim@sha256:{HASH}"
NODE: Final = f"node:22-slim@sha256:{HASH}"
ARCHIVE: Final = f"snapshot.{'debian'}.org"
SNAPSHOT: Final = (
    "RUN echo 'deb [check-valid-until=no] "
    f"https://{ARCHIVE}/archive/debian/20250101T000000Z bookworm main' "
    "> /etc/apt/sources.list"
)
HONEST: Final = f"""\
# syntax=docker/dockerfile:1.7@sha256:{HASH}
FROM {NODE} AS build
ARG SOURCE_DATE_EPOCH=0
ENV NODE_ENV=production TOKEN_URL=https://login.example/token
{SNAPSHOT}
RUN apt-get update \\
    # from the snapshot
    && apt-get install -y --no-install-recommends git \\
    && rm -rf /var/lib/apt/lists/*
COPY package.json package-lock.json ./
RUN --mount=type=secret,id=npm npm ci && rm -rf /tmp/node-compile-cache
ADD --checksum=sha256:{HASH} https://example.org/a.tar.gz /a.tar.gz
RUN curl -fsSLo t.sh https://example.org/v1.2.3/t.sh \\
    && echo "{HASH}  t.sh" | sha256sum -c - && sh t.sh
RUN find /app -exec touch -d "@${{SOURCE_DATE_EPOCH}}" {{}} + 2>/dev/null || true

FROM scratch
ARG SOURCE_DATE_EPOCH=0
COPY --from=build /app /app
COPY --from=0 /usr/bin/node /node
CMD ["/node", "/app/server.js"]
"""


def stage(*lines: str, base: str = BASE) -> str:
    """A Dockerfile of one stage that is honest except for these lines."""
    return "\n".join((f"FROM {base}", "ARG SOURCE_DATE_EPOCH=0", *lines, ""))


def run(text: str, *more: str, base: str = BASE) -> str:
    return stage(*more, f"RUN {text}", base=base)


_QUIET: Final = "ENV PYTHONDONTWRITEBYTECODE=1"

VECTORS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "BLD-001": (
        (
            stage(base="alpine:3.20"),
            stage(base="alpine"),
            stage(base="--platform=linux/amd64 alpine:3.20"),
            "ARG TAG=3.20\n" + stage(base="alpine:${TAG}"),
            "ARG IMAGE\n" + stage(base="$IMAGE"),
            stage("COPY --from=busybox:1 /bin/sh /sh"),
            f"FROM {BASE} AS a\nFROM a\nARG SOURCE_DATE_EPOCH=0\nCOPY --from=0000009 /a /a\n",
            stage("RUN --mount=type=bind,from=busybox:1,target=/b true"),
            "# syntax=docker/dockerfile:1\n" + stage(),
            f"FROM {BASE} AS one\nFROM two\nARG SOURCE_DATE_EPOCH=0\n",
            stage(base="alpine@sha256:abcd"),
            "ARG D\n" + stage(base="alpine@sha256:${D}"),
            stage(base="${BASE:-alpine:3}"),
            stage("from alpine:3.20", "ARG SOURCE_DATE_EPOCH=0"),
        ),
        (
            stage(),
            f"ARG IMAGE={BASE}\n" + stage(base="${IMAGE}"),
            f"ARG TAG=3.20\nARG D=sha256:{HASH}\n" + stage(base="alpine:${TAG}@${D}"),
            f"FROM {BASE} AS One\nFROM one\nARG SOURCE_DATE_EPOCH=0\nCOPY --from=one /a /a\n",
            stage(base="scratch"),
            stage(f"COPY --from=busybox@sha256:{HASH} /bin/sh /sh"),
        ),
    ),
    "BLD-002": (
        (
            run("apt-get update && apt-get install -y curl"),
            run("apt-get -y install \\\n  curl=7.1 \\\n  git && rm -rf /var/lib/apt/lists"),
            run("apk add --no-cache curl"),
            run("apk add -t .build-deps gcc musl-dev"),
            run("dnf install -y httpd"),
            run("P=curl; apt-get install -y $P"),
            stage("ARG P=git", "RUN apt-get install -y ${P}"),
            run('["apt-get", "install", "-y", "curl"]'),
            run('sh -c "apt-get install -y curl"'),
            stage("RUN <<EOF", "set -e", "apt-get install -y curl", "EOF"),
            run("apt-get install -y curl", "COPY debian.sources /etc/apt/sources.list.d/"),
        ),
        (
            run("apt-get install -y curl=7.1-2", SNAPSHOT),
            run("apt-get install -y curl", SNAPSHOT),
            run("apk add --no-cache curl=8.9.0-r0"),
            run("apt-get install -y ./local.deb"),
            run(
                "apt-get install -y curl",
                "COPY <<EOF /etc/apt/sources.list.d/debian.sources",
                "Types: deb",
                "Snapshot: 20250101T000000Z",
                "EOF",
            ),
            run("echo apt-get install curl"),
            run(
                "apt-get install -y curl",
                "ARG WHEN=20250101T000000Z",
                f"RUN echo deb http://{ARCHIVE}/archive/debian/$WHEN x main > /a",
            ),
        ),
    ),
    "BLD-003": (
        (run("apt-get install -y curl=7.1-2"),),
        (run("apt-get install -y curl=7.1-2", SNAPSHOT), run("apk add curl=8.9.0-r0")),
    ),
    "BLD-004": (
        (
            run("pip install flask", _QUIET),
            run("python3 -m pip install --no-cache-dir 'flask>=2'", _QUIET),
            run("npm install && rm -rf /tmp/node-compile-cache"),
            run("npm i -g typescript"),
            run("npx some-tool"),
            run("yarn install"),
            run("pnpm add left-pad"),
            run("go install example.org/tool@latest"),
            run("cargo install tool"),
            run("gem install rails"),
            run("corepack prepare pnpm@latest --activate"),
            run("uv pip install flask", _QUIET),
        ),
        (
            run("pip install --require-hashes -r requirements.txt", _QUIET),
            run("pip install flask==3.0.1", _QUIET),
            run("npm ci && rm -rf /tmp/node-compile-cache"),
            run("npm install -g typescript@5.4.2"),
            run("yarn install --immutable"),
            run("pnpm install --frozen-lockfile"),
            run("go install -trimpath example.org/tool@v1.2.3"),
            run("cargo install --locked --version 1.2.3 tool"),
            run("gem install rails -v 7.1.0"),
        ),
    ),
    "BLD-005": (
        (
            stage("ADD https://example.org/a /a"),
            stage("add http://example.org/a /a"),
            stage('ADD ["https://example.org/a", "/a"]'),
            stage("ARG V=1", "ADD https://example.org/${V}.tgz /a"),
            stage("ADD https://github.com/org/app.git#main /a"),
            stage("ADD git@github.com:org/app.git /a"),
            stage("ADD --checksum= https://example.org/a /a"),
            stage(f"ADD --checksum=md5:{'ab' * 16} https://example.org/a /a"),
            stage(f"ADD --checksum=sha256:{COMMIT} https://example.org/a /a"),
        ),
        (
            stage(f"ADD --checksum=sha256:{HASH} https://example.org/a /a"),
            stage(f"ADD https://github.com/org/app.git#{COMMIT} /a"),
            stage("ADD a.tar.gz /a"),
            stage(f"ARG H=sha256:{HASH}", "ADD --checksum=$H https://example.org/a /a"),
        ),
    ),
    "BLD-006": (
        (
            run("curl -fsSL https://example.org/i | sh"),
            run("wget -qO- https://example.org/i | sudo -E bash -"),
            run("curl https://example.org/i \\\n  | tac | tac \\\n  | /bin/bash -s -- --yes"),
            run('sh -c "$(curl -fsSL https://example.org/i)"'),
            run("bash <(curl -s https://example.org/i)"),
            run("eval `wget -O - https://example.org/i`"),
            run("curl -sSL https://example.org/i | python3 -"),
            run("curl -o /tmp/i https://example.org/i && chmod +x /tmp/i && /tmp/i"),
            run("wget https://example.org/x/i.sh; bash i.sh"),
            run("curl https://example.org/i > i && . ./i"),
            run('["sh", "-c", "curl https://example.org/i | sh"]'),
            stage('SHELL ["bash", "-c"]', "RUN <<X", "curl https://example.org/i|bash", "X"),
            stage("ADD https://example.org/i /i.sh", "RUN sh /i.sh"),
            run("U=https://example.org/i; curl $U | sh"),
            run("if true; then curl https://example.org/i | sh; fi"),
            stage("ONBUILD RUN curl https://example.org/i | sh"),
            run('get() { curl -fsSL "$1"; }; get https://example.org/i | sh'),
            run("go() { sh -s; }; curl https://example.org/i | go"),
            run('sh <<< "$(curl https://example.org/i)"'),
            run("/usr/bin/curl https://example.org/i | env FOO=1 /bin/bash"),
            run("curl https://example.org/i | tee i.sh | bash"),
            run(
                """python3 -c "exec(__import__('urllib.request').request.urlopen('https://e.org')"""
                """.read())" """
            ),
        ),
        (
            run(f"curl -o i https://example.org/i && echo '{HASH} i' | sha256sum -c && sh i"),
            run("echo 'curl https://example.org/i | sh'"),
            run("curl https://example.org/i | tar x"),
            run("true # curl https://example.org/i | sh"),
        ),
    ),
    "BLD-007": (
        (
            run("curl -o /a https://example.org/a"),
            run("wget https://example.org/a"),
            run("curl https://example.org/a | tar -xz"),
            run("git clone https://example.org/a.git"),
            run("""python3 -c "import urllib.request as u; u.urlretrieve('https://e.org/a')" """),
        ),
        (
            run(f"curl -o /a https://example.org/a && echo '{HASH} /a' | sha256sum -c"),
            run(f"git clone https://example.org/a.git && git -C a checkout {COMMIT}"),
            run("curl -I https://example.org/a"),
            run("python3 -m pip install --no-cache-dir -i https://example.org/whl x==1", _QUIET),
        ),
    ),
    "BLD-008": (
        (
            stage("ARG NPM_TOKEN"),
            stage("ARG DB_PASSWORD=hunter22"),
            stage("ENV API_KEY=abcdef"),
            stage("ENV API_KEY abcdef"),
            stage("ENV A=1 \\\n    JWT_SECRET=abcdef"),
            "ARG GITHUB_TOKEN\n" + stage(),
            stage("ARG SSH_PRIVATE_KEY"),
            run("git config url.https://me:ghp_" + "a" * 36 + "@github.com/.insteadOf x"),
            stage("LABEL x=AKIA" + "A" * 16),
            stage("RUN <<EOF", "-----BEGIN RSA PRIVATE KEY-----", "EOF"),
            stage("ONBUILD ARG NPM_TOKEN"),
        ),
        (
            stage("ARG NPM_TOKEN_FILE"),
            stage("ENV API_KEY_FILE=/run/secrets/key TOKEN_TTL=60"),
            stage("ENV DB_PASSWORD=/run/secrets/db"),
            run("--mount=type=secret,id=token cat /run/secrets/token"),
            stage("ENV PUBLIC_KEY=abc MAX_TOKENS=100"),
        ),
    ),
    "BLD-009": (
        (
            stage("COPY .env /app/"),
            stage("COPY a .env.production /app/"),
            stage("COPY id_rsa /root/.ssh/"),
            stage('ADD ["keys/id_ed25519", "/k"]'),
            stage("COPY .npmrc ./"),
            stage("COPY --chown=1:1 server.key /k"),
        ),
        (
            stage("COPY .env.example /app/"),
            stage("COPY src /app"),
            f"FROM {BASE} AS a\nFROM a\nARG SOURCE_DATE_EPOCH=0\nCOPY --from=a .env /x\n",
        ),
    ),
    "BLD-010": (
        (
            f"FROM {BASE}\n",
            f"ARG SOURCE_DATE_EPOCH=0\nFROM {BASE}\n",
            f"FROM {BASE} AS a\nARG SOURCE_DATE_EPOCH=0\nFROM {BASE}\n",
        ),
        (
            f"FROM {BASE}\nARG SOURCE_DATE_EPOCH\n",
            f"FROM {BASE}\nENV SOURCE_DATE_EPOCH=0\n",
            f"FROM {BASE} AS a\nARG SOURCE_DATE_EPOCH=0\nFROM a\n",
        ),
    ),
    "BLD-011": (
        (
            run("npm ci", base=NODE),
            run("corepack enable", base=f"node@sha256:{HASH}"),
            run("pip install --require-hashes -r r.txt"),
            run("go build -o /app ./..."),
            run("apt-get update"),
        ),
        (
            run("npm ci && rm -rf /tmp/node-compile-cache", base=NODE),
            run("npm ci", "ENV NODE_DISABLE_COMPILE_CACHE=1", base=NODE),
            run("npm ci", base=f"node:20-slim@sha256:{HASH}"),
            run("pip install --require-hashes -r r.txt", _QUIET),
            run("PYTHONDONTWRITEBYTECODE=1 pip install --require-hashes -r r.txt"),
            run("pip install --no-compile --require-hashes -r r.txt"),
            run("go build -trimpath -o /app ./..."),
            run("go build -o /app .", "ENV GOFLAGS=-trimpath"),
            run("apt-get update && rm -rf /var/lib/apt/lists/*"),
            run("apt-get update", SNAPSHOT),
        ),
    ),
    "BLD-012": (
        (
            run("openssl req -x509 -newkey rsa:2048 -nodes -keyout /k -out /c"),
            run("ssh-keygen -A"),
            run("date > /built"),
            run("echo $(date +%s) > /built"),
            run("head -c 32 /dev/urandom > /seed"),
            run("echo $RANDOM > /seed"),
            run("uuidgen > /id"),
        ),
        (
            run('date -u -d "@$SOURCE_DATE_EPOCH" > /built'),
            run("openssl version"),
            run("echo date"),
        ),
    ),
    "BLD-013": (
        (
            run("apt-get upgrade -y"),
            run("apk -U upgrade"),
            run("dnf -y update"),
            run(
                f"curl -Lo a https://github.com/o/r/releases/latest/download/a"
                f" && echo '{HASH} a' | sha256sum -c"
            ),
        ),
        (run("apt-get upgrade -y", SNAPSHOT), run("apk update")),
    ),
}
