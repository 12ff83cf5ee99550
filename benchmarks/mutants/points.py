"""Where a verifier's judgement can be turned: comparisons, boolean operators, numbers, statuses
that are returned, and refusals that are raised. Texts are left alone: no decision rides on them."""

import ast
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

ROOT: Final = Path(__file__).resolve().parents[2]
ROOMS: Final = ("checks", "policy", "chain", "timeline")

_COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_CALLED: Final = {
    "passed": "failed",
    "warned": "passed",
    "failed": "warned",
    "missing": "passed",
    "malformed": "warned",
    "not_applicable": "passed",
}
_STATUSES: Final = {
    "PASS": "FAIL",
    "WARN": "PASS",
    "FAIL": "WARN",
    "SKIP": "PASS",
    "ERROR": "WARN",
}
_RAISED: Final = ("MissingEvidence", "Blocked", "EvidenceError", "PolicyError")


class Point(Struct, frozen=True):
    """One change of one place.

    file      the module, from the root of the project
    line      where the place is
    function  the function or the constant that holds it, as Python names it
    place     which of the module's nodes it is, in the order of `ast.walk`
    choice    which change of the node
    before    the place as it is written
    after     the place as it is changed
    """

    file: str
    line: int
    function: str
    place: int
    choice: int
    before: str
    after: str

    @property
    def name(self) -> str:
        """What stays the same while other lines of the file change."""
        return f"{self.file} {self.function}: {self.before} → {self.after}"

    @property
    def key(self) -> str:
        """What tells it from every other change of the module as it is."""
        return f"{self.name} ({self.place}.{self.choice})"


def points(file: str, source: str) -> Iterator[Point]:
    """Every change of a module that can be made in a running process: what is evaluated once, when
    a class or a function is defined, is left out."""
    tree = ast.parse(source)
    held = dict(_held(tree))
    for place, node in enumerate(ast.walk(tree)):
        if id(node) not in held:
            continue
        for choice, changed in enumerate(_changes(node)):
            yield Point(
                file,
                getattr(node, "lineno", 0),
                held[id(node)],
                place,
                choice,
                _written(node),
                _written(changed),
            )


def changed(source: str, point: Point) -> ast.Module:
    """The module with this change."""
    tree = ast.parse(source)
    node = list(ast.walk(tree))[point.place]
    new = list(_changes(node))[point.choice]
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is node:
                setattr(parent, name, new)
            elif isinstance(value, list) and node in value:
                value[value.index(node)] = new
    return ast.fix_missing_locations(tree)


def modules() -> list[str]:
    """The modules that judge, from the root of the project."""
    return [
        str(path.relative_to(ROOT))
        for room in ROOMS
        for path in sorted((ROOT / "verifier" / room).rglob("*.py"))
    ]


def _held(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The nodes that can be changed, with the name of what holds them."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else statement.target
            yield from _below(statement.value, ast.unparse(target))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    owners = [("", tree.body), *((f"{node.name}.", node.body) for node in classes)]
    for prefix, body in owners:
        for node in body:
            if isinstance(node, ast.FunctionDef):
                for statement in node.body:
                    yield from _below(statement, prefix + node.name)


def _below(node: ast.AST, name: str) -> Iterator[tuple[int, str]]:
    """All of a statement but its texts: what only a message says is no judgement."""
    if isinstance(node, ast.JoinedStr):
        return
    yield id(node), name
    for child in ast.iter_child_nodes(node):
        yield from _below(child, name)


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare():
            for index, operator in enumerate(node.ops):
                new = copy.deepcopy(node)
                new.ops[index] = _COMPARED[type(operator)]()
                yield new
        case ast.BoolOp():
            other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield ast.BoolOp(other, node.values)
            for index in range(len(node.values)):
                left = [value for place, value in enumerate(node.values) if place != index]
                yield left[0] if len(left) == 1 else ast.BoolOp(node.op, left)
        case ast.UnaryOp(op=ast.Not()):
            yield node.operand
        case ast.Constant(value=int(value)):
            yield ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in _CALLED:
            yield ast.Call(ast.Name(_CALLED[name], ast.Load()), node.args, node.keywords)
        case ast.Attribute(value=ast.Name(id="Status")) if node.attr in _STATUSES:
            yield ast.Attribute(node.value, _STATUSES[node.attr], ast.Load())
        case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if name in _RAISED:
            yield ast.Pass()


def _written(node: ast.AST) -> str:
    """A node in one line that is not long: a call's arguments are mostly its message."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            text = f"{name}(…)" if name in {*_CALLED, *_CALLED.values()} else ast.unparse(node)
        case ast.Raise(exc=ast.Call(func=ast.Name(id=name), args=args)):
            text = f"raise {name}({', '.join(ast.unparse(each) for each in args)[:80]})"
        case _:
            text = ast.unparse(node)
    return " ".join(text.split())
