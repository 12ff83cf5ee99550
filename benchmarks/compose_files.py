"""Compose files made from the grammar of Compose: the same seed gives the same files.

Most attributes of most files are good; some have another form, are not known, name what is not
there, or are spelt in the other way that Compose takes.
"""

import json
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

_DIGEST: Final = "sha256:" + "3b" * 32
_NAMES: Final = ("web", "api", "db", "base", "job")
_WORDS: Final = ("a", "serve", "x=1", "/bin/run", "--flag", "two words", "0", "~", "$$HOME", "é")
_PATHS: Final = (
    *("/", ".", "./", "..", "./a", "./a/../b", "~/.ssh", "/dstack", "/var/run/docker.sock", "../x"),
    *("${X:-/dstack}", "${PWD}", "$PWD/data", "/a//b/", "./.host-shared", "${UNSET}/etc"),
)


class _Plain(str):
    """A text that is written without quotes, whatever it means then."""

    __slots__ = ()


_SCALARS: Final = (
    *("x", 1, 0, 1.5, True, False, "true", "0777", "${V:-on}", "${V}"),
    *map(_Plain, ("yes", "0777", "1_000", "0x1F", "1.50", "1e3", "22:22", "0o17", ".5", "08")),
)


INCLUDED: Final = ("included.yaml", "services: {included: {image: i}}\n")
"""Name and text of a file that others include."""
_PLAIN: Final = re.compile(r"[A-Za-z/.][\w./-]*\w", re.ASCII)


class _Writer:
    """Draws one file."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw

    def rarely(self, one_in: int) -> bool:
        """Whether to do what is rare."""
        return self.draw.randrange(one_in) == 0

    def some(self, items: Sequence[Any], most: int = 3) -> list[Any]:
        """A few different ones of these."""
        return self.draw.sample(list(items), self.draw.randint(0, min(most, len(items))))

    def one(self, items: Sequence[Any]) -> Any:  # noqa: ANN401 - of any form
        """One of these."""
        return self.draw.choice(list(items))

    def file(self) -> dict[str, Any]:
        """One document."""
        names = self.some(_NAMES, 4) or ["web"]
        found: dict[str, Any] = {"services": {n: self.service(n, names) for n in names}}
        found["volumes"] = {"data": self.one([None, {}, {"driver": "local"}]), "other": {}}
        if self.rarely(3):
            found["volumes"]["data"] = {
                "driver_opts": {"type": "none", "o": "bind", "device": self.one(_PATHS[:10])}
            }
        found["networks"] = {"inner": self.one([None, {"internal": True}])}
        found["secrets"] = {"key": self.one([{"environment": "KEY"}, {"file": "./key"}])}
        found["configs"] = {"conf": {"content": self.one(["text ${V:-d}", "#!/bin/sh\nrun"])}}
        if not self.rarely(20):
            found["models"] = {"llm": self.model()}
        if self.rarely(12):
            found["include"] = self.include()
        if self.rarely(12):
            found["name"] = self.one(["app", "App Name", "${N:-x}"])
        if self.rarely(50):
            found[self.one(["x-any", "frobnicate", "version"])] = self.one(["3", {"a": 1}])
        return found

    def service(self, name: str, names: list[str]) -> dict[str, Any]:
        """One service."""
        found: dict[str, Any] = {}
        if self.rarely(8):
            found["build"] = self.build()
        if not found or self.rarely(2):
            found["image"] = self.image()
        others = [other for other in names if other != name]
        if others and self.rarely(4):
            base = self.one(others if self.rarely(2) else [max(others)])
            found["extends"] = self.one([base, {"service": base}])
        fields = (
            *("command", "entrypoint", "environment", "env_file", "ports", "volumes", "flags"),
            *("lists", "texts", "hooks", "devices", "grants", "networks", "limits", "anything"),
            *("models", "provider", "gpus", "develop", "requests"),
        )
        for field in self.some(fields, 8):
            found |= getattr(self, field)()
        return found

    def image(self) -> str:
        """An image reference."""
        reference: str = self.one(
            [f"a@{_DIGEST}", "org/app:1.2", "x", "${IMG:-redis:7}", "r.test:5000/a/b"]
        )
        return reference

    def build(self) -> str | dict[str, Any]:
        """A build, in one of two ways."""
        if self.rarely(2):
            context: str = self.one([".", "./app", "https://github.com/o/r.git#main"])
            return context
        found: dict[str, Any] = {"context": self.one([".", "..", "/src"])}
        if self.rarely(2):
            found["args"] = self.one([["A=1", "B"], {"A": 1, "B": None, "C": True}])
        if self.rarely(3):
            found["additional_contexts"] = self.one(
                [{"base": "docker-image://alpine:3"}, ["more=../x"], {"s": "./y"}]
            )
        if self.rarely(4):
            found["dockerfile_inline"] = "FROM a\nCOPY . /a\n"
        if self.rarely(4):
            good = [["linux/amd64"], ["linux/arm64", "linux/amd64"], ["linux/arm64"], []]
            found["platforms"] = self.one(good) if not self.rarely(20) else ["x", "x"]
        return found

    def command(self) -> dict[str, Any]:
        """What it runs."""
        as_list = self.some(_WORDS, 4)
        text = self.one(["run --it", "sh -c 'a b'", "${CMD:-go}", None, ""])
        return {"command": self.one([as_list, text])}

    def entrypoint(self) -> dict[str, Any]:
        """What runs that."""
        return {"entrypoint": self.one([["/init"], "/init -x", None, []])}

    def environment(self) -> dict[str, Any]:
        """A list or a mapping of variables."""
        keys = self.some(["A", "B", "C_URL", "D", "E"], 4)
        if self.rarely(2):
            values = [*_SCALARS, None]
            return {"environment": {key: self.one(values) for key in keys}}
        forms = ["{}=1", "{}", "{}=", "{}=${{V:-d}}", "{}=a=b", "{}=$$x", "A=again"]
        return {"environment": [self.one(forms).format(key) for key in keys]}

    def env_file(self) -> dict[str, Any]:
        """Files of variables."""
        long = {"path": self.one(["./a.env", "b.env"]), "required": self.one([True, False])}
        return {"env_file": self.one(["c.env", ["./a.env", "./x/../b.env"], [long, "c.env"]])}

    def ports(self) -> dict[str, Any]:
        """Ports in all syntaxes."""
        forms = [
            *("80", "8080:80", "127.0.0.1:80:80", "127.0.0.1::80", "9000-9002:80-82", "53:53/udp"),
            *("9000-9010:443", "[::1]:5:5", 443, "${P:-81}:81", "3000-3002", "6060:6060/TCP"),
            {"target": 22, "published": "30-40", "host_ip": "127.0.0.1"},
            {"target": 80, "published": 8080, "protocol": "udp", "mode": "host"},
            {"target": "81"},
        ]
        if self.rarely(15):
            forms += ["a:b", "80:80:80:80", "1-2:3", "localhost:80:80", {"published": 1}, 1.5]
        return {"ports": self.some(forms, 4)}

    def volumes(self) -> dict[str, Any]:
        """Mounts in all syntaxes."""
        targets = iter(["/a", "/b/", "/c/../d", "/e", "/f"])
        forms: list[Any] = []
        for source in self.some([*_PATHS, "data", "other"], 4):
            target = next(targets)
            mode = self.one(["", "", ":ro", ":rw", ":ro,z", ":Z"])
            long = {"type": "bind", "source": source, "target": target}
            if source in {"data", "other"}:
                long["type"] = "volume"
            forms.append(self.one([f"{source}:{target}{mode}", long, long | {"read_only": True}]))
        if self.rarely(3):
            forms.append({"type": "tmpfs", "target": "/t"})
        if self.rarely(4):
            forms.append({"type": "image", "source": "plug:1", "target": "/p"})
        if self.rarely(12):
            forms.append(self.one(["/anon", "undeclared:/u", "v:/a", "/a:/b:/c:/d", "", "/x:/a"]))
        return {"volumes": forms}

    def flags(self) -> dict[str, Any]:
        """Flags, as booleans and as texts."""
        values = [True, False, "true", "yes", "${F:-true}"]
        if self.rarely(30):
            values = ["maybe", "", 1, None]
        names = self.some(["privileged", "read_only", "tty", "init", "use_api_socket"], 2)
        return {name: self.one(values if name != "use_api_socket" else [True]) for name in names}

    def lists(self) -> dict[str, Any]:
        """Lists of texts."""
        found: dict[str, Any] = {}
        for name, values in (
            ("cap_add", ["ALL", "SYS_ADMIN", "NET_ADMIN"]),
            ("cap_drop", ["ALL"]),
            ("security_opt", ["seccomp:unconfined", "no-new-privileges:true"]),
            ("device_cgroup_rules", ["c 1:3 mr"]),
            ("profiles", ["debug", "extra"]),
            ("dns", ["1.1.1.1"]),
        ):
            if self.rarely(3):
                found[name] = self.some(values)
                if self.rarely(30):
                    found[name] = found[name] * 2
        return found

    def texts(self) -> dict[str, Any]:
        """Single texts."""
        choices = {
            "network_mode": ["host", "none", "bridge"],
            "pid": ["host"],
            "ipc": ["host"],
            "uts": ["host"],
            "userns_mode": ["host"],
            "cgroup": ["host", "private"],
            "user": ["root", "1000:1000", "${U:-0}"],
            "restart": ["always", "no", "on-failure:3", "unless-stopped"],
            "container_name": ["one", "${C:-two}"],
            "pull_policy": ["always", "never", "weekly", "every_2h"],
            "platform": ["linux/amd64"],
        }
        return {name: self.one(choices[name]) for name in self.some(list(choices), 3)}

    def hooks(self) -> dict[str, Any]:
        """Lifecycle hooks."""
        hook: dict[str, Any] = {"command": self.one([["sh", "-c", "a"], "run it"])}
        if self.rarely(2):
            hook["environment"] = self.one([["A", "B=2"], {"A": None, "B": 2}])
        if self.rarely(3):
            hook["privileged"] = True
        if self.rarely(40):
            hook.pop("command")
        return {self.one(["post_start", "pre_stop"]): [hook]}

    def devices(self) -> dict[str, Any]:
        """Devices, in two syntaxes."""
        forms = ["/dev/null", "/dev/a:/dev/b", "/dev/a:/dev/c:r", {"source": "/dev/x"}]
        long = {"source": "/dev/y", "target": "/dev/z", "permissions": "rw"}
        return {"devices": self.some([*forms[:3], long], 2)}

    def grants(self) -> dict[str, Any]:
        """Secrets and configs, in two syntaxes."""
        names = ["key"] if not self.rarely(30) else ["absent"]
        long = {"source": names[0], "target": "/x/key", "mode": 0o400}
        found: dict[str, Any] = {"secrets": [self.one([names[0], long])]}
        if self.rarely(2):
            found["configs"] = [self.one(["conf", {"source": "conf", "target": "/etc/c"}])]
        return found

    def networks(self) -> dict[str, Any]:
        """Networks, as a list and as a mapping."""
        forms = [["inner"], ["default", "inner"], {"inner": None}, {"inner": {"aliases": ["a"]}}]
        return {"networks": self.one(forms if not self.rarely(30) else [["absent"], {}, None])}

    def limits(self) -> dict[str, Any]:
        """Limits, and what else is harmless."""
        found: dict[str, Any] = {
            "mem_limit": self.one(["1g", 1024]),
            "cpus": self.one([0.5, "1.5"]),
            "ulimits": {"nofile": self.one([1024, {"soft": 1, "hard": 2}])},
            "labels": self.one([["a=b", "c"], {"a": 1, "d": None}]),
            "healthcheck": {"test": self.one([["CMD", "x"], "curl x", ["NONE"]])},
            "deploy": self.one([{"replicas": 1}, {"resources": {"limits": {"pids": 5}}}, None]),
            "sysctls": self.one([{"net.x": 1}, ["net.x=1"]]),
            "extra_hosts": self.one([["a:1.1.1.1"], {"b": "2.2.2.2"}, ["c=3.3.3.3"]]),
            "logging": {"driver": "none"},
            "tmpfs": self.one(["/q", ["/q", "/r"]]),
            "stdin_open": True,
        }
        return {name: found[name] for name in self.some(list(found), 4)}

    def anything(self) -> dict[str, Any]:
        """An attribute with a value of any form."""
        names = (
            *("image", "environment", "ports", "volumes", "command", "privileged", "cap_add"),
            *("networks", "labels", "deploy", "healthcheck", "frobnicate", "x-own", "restart"),
            *("depends_on", "container_name", "env_file", "secrets", "sysctls", "models", "scale"),
        )
        values = [None, 1, "x", [], {}, ["a"], {"a": "b"}, [{"a": 1}], True, 2.5]
        return {self.one(names): self.one(values)} if self.rarely(10) else {}

    def model(self) -> object:
        """A model at the top level."""
        good = [{"model": "ai/m"}, {"model": "ai/m:1", "context_size": 1024}]
        more = [{"model": "ai/m", "runtime_flags": ["--a", "1"]}, {"name": "n", "model": "${M:-a}"}]
        odd = [None, {}, "ai/m", {"model": 1}, {"model": "a", "context_size": "1k"}, {"frob": 1}]
        return self.one(odd if self.rarely(30) else good + more)

    def include(self) -> object:
        """Another file, in several syntaxes."""
        other = INCLUDED[0]
        long = [{"path": other}, {"path": [other]}, {"path": other, "project_directory": "."}]
        good = [[other], [f"./{other}"], *([item] for item in long)]
        good += [[{"path": other, "env_file": self.one(["./a.env", ["a.env", "b.env"]])}]]
        odd: list[Any] = [
            other,
            [],
            None,
            [{}],
            [{"path": 1}],
            [1],
            [["x"]],
            [{"path": other, "frob": 1}],
        ]
        return self.one(odd if self.rarely(12) else good)

    def models(self) -> dict[str, Any]:
        """The models that it uses."""
        good = [["llm"], {"llm": None}, {"llm": {"endpoint_var": "U", "model_var": "M"}}]
        odd = [["absent"], {"llm": {"frob": 1}}, {"llm": "x"}, ["llm", "llm"], "llm", []]
        return {"models": self.one(odd if self.rarely(20) else good)} if self.rarely(2) else {}

    def provider(self) -> dict[str, Any]:
        """What provides it in place of a container."""
        good = [{"type": "awesome"}, {"type": "model", "options": {"model": "ai/m"}}]
        more = [{"type": "a", "options": {"b": ["1", "2"], "c": 1, "d": True}}, {"type": "${T:-x}"}]
        odd: list[Any] = [
            {},
            None,
            "x",
            {"type": 1},
            {"type": "a", "frob": 1},
            {"type": "a", "options": []},
        ]
        if not self.rarely(4):
            return {}
        return {"provider": self.one(odd if self.rarely(15) else good + more)}

    def requests(self) -> dict[str, Any]:
        """Devices that are reserved."""
        devices = self.request() if not self.rarely(40) else self.one([{}, "all", None])
        return {"deploy": {"resources": {"reservations": {"devices": devices}}}}

    def gpus(self) -> dict[str, Any]:
        """GPUs in two syntaxes."""
        odd: list[Any] = [None, "some", {}, True, 1, ["all"]]
        return {"gpus": self.one(odd) if self.rarely(30) else self.one(["all", self.request()])}

    def request(self) -> list[Any]:
        """Requests of devices."""
        forms: list[Any] = []
        for _ in range(self.draw.randint(0, 2)):
            made: dict[str, Any] = {}
            if not self.rarely(30):
                good = [["gpu"], ["gpu", "utility"], []]
                made["capabilities"] = self.one(good) if not self.rarely(30) else "gpu"
            if self.rarely(2):
                counts = [1, "all", -1, "2", "${N:-1}", 0]
                made["count"] = self.one(counts if not self.rarely(12) else ["some", 1.5])
            if self.rarely(6):
                listed = [["0"], ["0", "1"], []]
                made["device_ids"] = self.one([[0], "0"] if self.rarely(20) else listed)
            if self.rarely(3):
                made["driver"] = self.one(["nvidia", "cdi", "${D}"])
            if self.rarely(6):
                made["options"] = self.one([{"a": "b"}, ["a=b"], {"n": 1}])
            if self.rarely(40):
                made["frob"] = 1
            forms.append(made)
        return forms

    def develop(self) -> dict[str, Any]:
        """What is watched while developing."""
        rule: dict[str, Any] = {
            "path": self.one([*_PATHS[:6], "${W:-./src}", "/abs"]),
            "action": self.one(["sync", "rebuild", "sync+restart", "restart", "sync+exec"]),
        }
        if not self.rarely(8):
            rule["target"] = self.one(["/app", "rel"] if not self.rarely(20) else [""])
        for name, values in (
            ("ignore", [["a/"], "a", []]),
            ("include", [["*.py"], "x"]),
            ("exec", [{"command": "x"}, {"command": ["a"]}] if not self.rarely(10) else [{}]),
            ("initial_sync", [True] if not self.rarely(10) else ["true"]),
        ):
            if self.rarely(4):
                rule[name] = self.one(values)
        if self.rarely(30):
            rule.pop(self.one(list(rule)))
        if self.rarely(20):
            rule["action"] = "frob"
        good = [{"watch": [rule]}, {"watch": [rule, {"path": "./b", "action": "rebuild"}]}]
        odd: list[Any] = [
            None,
            {},
            [],
            {"watch": rule},
            {"watch": []},
            {"frob": 1},
            {"watch": None},
        ]
        return {"develop": self.one(odd if self.rarely(30) else good)}

    def text(self, document: dict[str, Any]) -> str:
        """A document as YAML, with plain scalars, anchors and merge keys among its spellings."""
        lines = []
        merged = self.rarely(4)
        if merged:
            lines.append("x-common: &common\n  environment: {M: 1}\n  user: '7'\n  tty: true")
        for key, value in document.items():
            if key == "services" and merged:
                lines.append("services:")
                for name, service in value.items():
                    lines.append(f"  {name}:\n    <<: *common")
                    lines += [f"    {k}: {self.flow(v)}" for k, v in service.items()]
            elif isinstance(value, dict) and value:
                lines.append(f"{key}:")
                lines += [f"  {name}: {self.flow(item)}" for name, item in value.items()]
            else:
                lines.append(f"{key}: {self.flow(value)}")
        return "\n".join(lines) + "\n"

    def flow(self, value: object) -> str:
        """A value in flow style; simple texts are plain at times, so that they may mean more."""
        if isinstance(value, dict):
            return "{" + ", ".join(f"{k}: {self.flow(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self.flow, value)) + "]"
        if isinstance(value, _Plain):
            return str(value)
        if isinstance(value, str) and _PLAIN.fullmatch(value) and self.rarely(2):
            return value
        return json.dumps(value, ensure_ascii=False)


def generated_files(number: int, seed: int) -> Iterator[tuple[str, str]]:
    """So many files, with their names."""
    draw = random.Random(seed)  # noqa: S311 - the same files each time
    for place in range(number):
        writer = _Writer(draw)
        documents = [writer.text(writer.file())]
        if writer.rarely(8):
            documents.append(writer.text(writer.file()))
        yield f"generated {place}", "---\n".join(documents)
