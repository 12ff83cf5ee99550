"""What a script does with the keys and secrets of the guest: whether a line of it shows them.

Whoever writes the script chooses its programs. So those are listed that show nothing of what they
are given; any other one may, and the ones that are known to print say so for certain.
"""

import re
from typing import Final

from verifier.manifest.shell.follow import CONSOLE, Followed, Line
from verifier.manifest.shell.program import QUIET
from verifier.patterns import pattern

_KEYS: Final = pattern(
    r"\.appkeys\.json|\.decrypted-env|k256_key|disk_crypt_key|env_crypt_key|secrets\.json"
    r"|/var/lib/docker/volumes|host-shared/\S{0,80}[*?\[{$`]|# in \S{0,80}host-shared"
    r"|\.app\w{0,8}[*?\[{]|/\.h\w{0,10}[*?\[]"
    r"|(?:-v|--volume|source|src)[ =]/(?:var/volatile/)?dstack(?:/\.host-shared)?/?[:,]"
    r"|\b(?:http\.server|httpd|file-server|webfsd)\b[^\n|]{0,300}(?:host-shared|\s/dstack)(?![/\w])"
    r"|\b(?:tar|zip|rsync|scp|find|(?:cp|e?grep)\s+-\w*[aRr]\w*)\b[^\n|]{0,300}host-shared(?![/\w])"
    r"|\b(?:tar|zip|rsync|scp|find|(?:cp|e?grep)\s+-\w*[aRr]\w*)\b[^\n|]{0,300}"
    r"\s/(?:var/volatile/)?dstack/?(?=[\s>]|\Z)"
    r"|/proc/(?:self|thread-self|\d+|\$\$|\$PPID|\$BASHPID)/environ\b",
    re.IGNORECASE,
)
_ASKS: Final = pattern(r"\b(?:curl|wget)\b[^\n|;)]{0,400}(?:dstack|tappd)\.sock\b[^\n|;)]{0,400}")
"""A request to the guest agent, which gives keys to whoever asks."""
_GIVES_KEY: Final = pattern(r"(?:Get|Derive)(?:Tls|K256)?Key\b")
_DUMPS: Final = pattern(
    r"(?:env|printenv|set|export(?: -p)?|(?:declare|typeset)(?: -[pxA-Z]+)?)(?=\s*(?:[|>#]|\Z))"
)
"""A command that writes every variable out: the decrypted environment is among them."""
_SINK: Final = pattern(
    r">\s*/dev/(?:console|tty\w*|kmsg|hvc\w*|ttyS\w*|vport\w*|virtio-ports/|vsock|tcp/|udp/)"
    r"|>\s*\S{0,80}host-shared|\b(?:nc|ncat|socat|netcat|telnet|ssh|scp|sftp|rsync|ftp)\s"
    r"|\b(?:cp|mv|install|ln)\b[^\n|]{0,300}\s\S{0,80}host-shared\S{0,80}"
    r"(?=\s*(?:\Z|\n|[|;&>#]|<from))"
    r"|\b(?:cp|mv|install|ln)\b[^\n|]{0,300}\s(?:-t|--target-directory)[ =]?\S{0,80}host-shared"
    r"|\b(?:cp|tee|dd|install)\b[^\n|]{0,300}\s(?:of=)?/dev/(?:console|tty|kmsg|hvc|vport|std|fd/|vsock)"
    r"|\btee\b[^\n|]{0,300}\s\S{0,80}host-shared|\bdd\b[^\n|]{0,300}\sof=\S{0,80}host-shared"
    r"|\b(?:curl|wget)\b[^\n]{0,300}(?:-d|-T|-F|--data|--upload|--form|--json|--post|--body|\$\()"
    r"|\blogger\b|systemd-cat|\bopenssl\s+s_client\b|notify-host|\bgit\s+push\b|\bwall\b"
    r"|\b(?:http\.server|httpd|file-server|webfsd)\b"
    r"|(?:\A|[|;] ?)(?:nslookup|dig|drill|host|getent|ping6?|sendmail|mailx?|mutt|tftp|lftp|lpr?"
    r"|rclone|aws|gsutil|gcloud|az|https?|xh|websocat|mosquitto_pub|redis-cli|psql|mysql|vsock\S*)\s"
    r"|>\s*/sys/firmware/"
)
_PRINTS: Final = pattern(
    r"(?:[\w./-]*/)?(?:cat|tac|head|tail|nl|less|more|grep|egrep|sed|awk|jq|yq|xxd|od|hexdump"
    r"|base64|base32|strings|cut|tr|sort|uniq|rev|fold|echo|printf|python3?|perl|ruby|node|dd|tee"
    r"|pr|paste|column|docker|podman|nerdctl)\Z"
)
_DOWNLOADERS: Final = frozenset({"curl", "wget"})
_LOOKS: Final = pattern(r"(?:test|chmod|chown|ls|stat|rm|shred|mkdir|touch|echo)\b|\[")
_SHOWS_NOTHING: Final = pattern(
    r"(?:[\w./-]*/)?(?:test|\[|\[\[|:|true|false|chmod|chown|chgrp|chattr|setfacl|ls|stat|file|rm"
    r"|shred|mkdir|rmdir|touch|truncate|cp|mv|install|ln|rsync|mount|umount|find|realpath|readlink|basename"
    r"|dirname|(?:sha\d+|md5|b2|ck)sum|shasum|cksum|wc|cmp|du|export|declare|local|readonly|typeset"
    r"|unset|read|mapfile|readarray|cd|pushd|popd|exit|return|trap|source|\.|sleep|sync|wait|set|eval"
    rf"|systemctl|inotifywait)\Z|{re.escape(QUIET)}"
)
"""Programs that do not write what is in the files that they are given."""
_HOST_SEES: Final = pattern(
    r"/dev/(?:console|tty\w*|kmsg|hvc|ttyS|vport|virtio-ports|vsock|std(?:out|err))|host-shared"
    r"|/proc/\w+/fd/[12]"
)


def at_hand(followed: Followed) -> Line | None:
    """The first line that writes where others read, in a script that also reads secrets."""
    read = any(_KEYS.search(x.text) and not _LOOKS.match(x.text) for x in followed.lines)
    sinks = (x for x in followed.lines if _SINK.search(x.text) or _HOST_SEES.search(x.output))
    return next(sinks, None) if read else None


def leaks(line: Line) -> bool:
    """Whether a line reads secrets and writes where the host or the network can read."""
    dumped, asked = _DUMPS.match(line.text), _asks_for_key(line.text)
    if not (dumped or asked or _KEYS.search(line.text)):
        return False
    prints = dumped or _PRINTS.match(line.last) or (asked and line.last in _DOWNLOADERS)
    seen = line.output != CONSOLE and _HOST_SEES.search(line.output)
    sent = _SINK.search(_ASKS.sub("", line.text) if asked else line.text)
    return bool((line.output == CONSOLE and prints) or seen or sent)


def _asks_for_key(text: str) -> bool:
    """Whether a line asks the guest agent for a key."""
    return any(_GIVES_KEY.search(found[0]) for found in _ASKS.finditer(text))


def may_show(line: Line) -> bool:
    """Whether a line gives secrets to a program that may write them to the console."""
    if line.output != CONSOLE or not _KEYS.search(line.text):
        return False
    return bool(line.last) and _SHOWS_NOTHING.match(line.last) is None
