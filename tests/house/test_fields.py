"""Each record of more than five fields says of every field what it is, on a line of its own.

A record is a class of msgspec's `Struct`, also by way of another one; what it inherits is described
where it is declared. The name of the field stands at the beginning of the line, and two spaces or
more part it from what is said of it:

    mrtd    the firmware, 48 bytes of hex
    source  where the row comes from; "" for nowhere
"""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_UNDESCRIBED = 5


def classes_in(paths: Iterable[Path]) -> dict[str, tuple[Path, ast.ClassDef]]:
    """Every class of these files, by file and name."""
    return {
        f"{path}:{node.lineno}: {node.name}": (path, node)
        for path in paths
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    }


def bases_of(node: ast.ClassDef) -> set[str]:
    """The names of the classes that a class is derived from."""
    return {base.id if isinstance(base, ast.Name) else ast.unparse(base) for base in node.bases}


def undescribed(paths: Iterable[Path]) -> list[str]:
    """The public records with more than five fields, and the fields that no line describes."""
    classes = classes_in(paths)
    records, known = {"Struct", "msgspec.Struct"}, 0
    while len(records) > known:
        known = len(records)
        records |= {node.name for _, node in classes.values() if bases_of(node) & records}
    found = []
    for name, (_, node) in classes.items():
        if node.name.startswith("_") or not bases_of(node) & records:
            continue
        fields = [
            item.target.id
            for item in node.body
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
        ]
        told = ast.get_docstring(node) or ""
        described = set(re.findall(r"^ *(\w+)  +\S", told, re.MULTILINE))
        silent = [field for field in fields if field not in described]
        if len(fields) > MAX_UNDESCRIBED and silent:
            found.append(f"{name}: no line describes {', '.join(silent)}")
    return found


def test_every_field_of_a_large_record_is_described() -> None:
    paths = sorted((ROOT / "verifier").rglob("*.py"))
    assert len(paths) > 1
    found = undescribed(paths)
    assert not found, "\n".join(found)


def test_what_is_not_described_is_found(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    fields = [f"field_{number}" for number in range(MAX_UNDESCRIBED + 1)]
    body = "".join(f"    {field}: int\n" for field in fields)
    lines = "".join(f"    {field}  a number\n" for field in fields)

    def found(head: str, told: str = lines) -> list[str]:
        path.write_text(f'{head}\n    """A record.\n\n{told}    """\n\n{body}')
        return undescribed([path])

    assert not found("class Record(Struct, frozen=True):")
    assert not found("class Other:", "")
    assert not found("class _Private(Struct):", "")
    for told in (
        "",
        lines.replace("field_3  ", "field_3 "),
        lines.replace("field_3  a", "a field_3  a"),
        lines.replace("field_3  a number", "field_3  "),
    ):
        assert found("class Record(Struct):", told) == [
            f"{path}:1: Record: no line describes field_3"
            if told
            else f"{path}:1: Record: no line describes {', '.join(fields)}"
        ]
    assert found("class Base(Struct):\n    pass\n\n\nclass Record(Base):", "")
    path.write_text(f"class Record(msgspec.Struct):\n{body}".replace("    field_5: int\n", ""))
    assert not undescribed([path])
