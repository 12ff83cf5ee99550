"""Nothing that a manifest says is a link in a SARIF message."""

import json
import re
from pathlib import Path

from tests.cli.command import command_in

LINKS = "![i](http://evil.example/i.png) [l](javascript:alert(1)) \\[x](y)"


def test_names_are_no_links(tmp_path: Path) -> None:
    document = {"services": {LINKS: {"image": "nginx", "privileged": True}}}
    (tmp_path / "compose.yaml").write_text(json.dumps(document))
    run = command_in(tmp_path, tmp_path)
    (sarif,) = json.loads(run("lint", "compose.yaml", "--format", "sarif").out)["runs"]
    texts = [item["message"]["text"] for item in sarif["results"]]
    texts += [
        note["message"]["text"]
        for invocation in sarif.get("invocations", ())
        for note in invocation.get("toolExecutionNotifications", ())
    ]
    assert any("evil.example" in text for text in texts)
    for text in texts:
        assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]]", text)
