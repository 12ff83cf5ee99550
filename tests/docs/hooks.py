"""The site of docs/, besides what mkdocs does: pages that stand elsewhere in the project are part
of it, and a page that loads anything from another host ends the build."""

import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT: Final = Path(__file__).parents[2]
MEASURED: Final = (
    *("adversary", "faults", "fuzz", "hostile", "monotone", "mutants", "mutate"),
    *("peers", "peers-speed", "scaling", "second_opinion"),
)
"""Pages of benchmarks/ that are pages of the site, with the images in their folders."""

ELSEWHERE: Final = {
    "CHANGELOG.md": "changes.md",
    "SECURITY.md": "security.md",
    **{f"benchmarks/{name}.md": f"results/{name}.md" for name in MEASURED},
}
"""Files of the project that are pages of the site, under these names."""

_LOADED: Final = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?(?:https?:)?//[^\s"'>]+
    |<link\b(?![^>]*\brel=["']?canonical)[^>]*\bhref=["']?(?:https?:)?//[^\s"'>]+""",
    re.IGNORECASE | re.VERBOSE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The files of docs/, and those that stand elsewhere."""
    for path, name in ELSEWHERE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        text = text.replace("](docs/", "](").replace("](../docs/", "](../")
        files.append(File.generated(config, name, content=text))
    for image in sorted((ROOT / "benchmarks").glob("*/*.svg")):
        name = f"results/{image.parent.name}/{image.name}"
        files.append(File.generated(config, name, content=image.read_bytes()))
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """The text of a page, whose links out of docs/ lead to the pages that `ELSEWHERE` gives."""
    for path, name in ELSEWHERE.items():
        markdown = markdown.replace(f"](../{path}", f"]({name}")
    return markdown


def on_post_page(output: str, **_: object) -> str:
    """The page as it is written. Raises PluginError where it loads something from another host."""
    if found := _LOADED.search(output):
        raise PluginError(f"a page must load nothing from another host: {found[0]}")
    return output
