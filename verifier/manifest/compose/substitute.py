"""A tree in which the variables that have one value are replaced by it.

A script that runs before Compose may export a name that nobody else sets: the file then means what
it would mean with that value written out.
"""

from collections.abc import Mapping as Values

from verifier.evidence.compose.compose_yaml import Mapping, Node, Scalar, Sequence
from verifier.evidence.compose.interpolation import Template, Variable, parse_template


def substituted(node: Node, values: Values[str, str]) -> Node:
    """The tree with these variables written out; other ones stay."""
    if isinstance(node, Scalar):
        if "$" not in node.text:
            return node
        text = _written(parse_template(node.text), values)
        if text == node.text:
            return node
        return Scalar(text, node.plain, node.line, node.column, node.indent, node.directive)
    if isinstance(node, Sequence):
        items = tuple(substituted(item, values) for item in node.items)
        return Sequence(items, node.line, node.column, node.directive)
    entries = {key: substituted(value, values) for key, value in node.entries.items()}
    return Mapping(entries, node.keys, node.merged, node.line, node.column, node.directive)


def _written(template: Template, values: Values[str, str]) -> str:
    if template.invalid or not any(v.name in values for v in template.variables):
        return template.source
    parts = []
    for part in template.parts:
        if isinstance(part, str):
            parts.append(part.replace("$", "$$"))
        elif part.name in values:
            said = Template("", (part,)).render(values.get)
            parts.append(said.replace("$", "$$"))
        else:
            parts.append(_variable(part, values))
    return "".join(parts)


def _variable(variable: Variable, values: Values[str, str]) -> str:
    operand = "" if variable.operand is None else _written(variable.operand, values)
    return f"${{{variable.name}{variable.operator}{operand}}}"
