"""No file over 500 lines, no function over 60.

A function is counted from its `def` to its last line: its docstring counts, its decorators do not.
A nested function counts for itself, and for the one around it.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (".ci", "verifier", "tests", "benchmarks", "fixtures")
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def too_long(path: Path) -> list[str]:
    """What is too long in a file, as it is said to the reader."""
    source = path.read_text(encoding="utf-8")
    found = []
    if (lines := len(source.splitlines())) > MAX_FILE_LINES:
        found.append(f"{path}: {lines} lines, over {MAX_FILE_LINES}")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_FUNCTION_LINES:
                where = f"{path}:{node.lineno}"
                found.append(f"{where}: {node.name}: {lines} lines, over {MAX_FUNCTION_LINES}")
    return found


def test_nothing_is_too_long() -> None:
    paths = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(paths) > len(FOLDERS)
    found = [text for path in paths for text in too_long(path)]
    assert not found, "\n".join(found)


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    body = "\n".join(["    pass"] * MAX_FUNCTION_LINES)
    path.write_text(f"@decorated\ndef longest():\n{body.removesuffix('    pass')}\n")
    assert too_long(path) == []
    path.write_text(f"class Shape:\n  async def longer(self):\n{body}\n")
    assert too_long(path) == [f"{path}:2: longer: 61 lines, over 60"]
    path.write_text("value = 1\n" * (MAX_FILE_LINES + 1))
    assert too_long(path) == [f"{path}: 501 lines, over 500"]
