"""Small wrong changes of a source file: moved boundaries, dropped guards, other defaults, lost categories and order.

The kinds are those that mutation testing has found to tell good tests from weak ones (Offutt et al., "An experimental
determination of sufficient mutant operators", TOSEM 5(2), 1996), and lost categories, order and defaults, where this
project's tests were weak. Messages are not changed: their words are no behaviour. mutmut 3.8 leaves class bodies,
module constants and decorated functions alone, and there most of our defaults and bounds stand.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARE = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.BitAnd: ("&", "|"), ast.BitOr: ("|", "&"),
}  # fmt: skip
_OTHER_CALL = {
    "min": "max", "max": "min", "any": "all", "all": "any", "sorted": "list", "reversed": "list",
    "startswith": "endswith", "endswith": "startswith", "ceil": "floor", "floor": "ceil",
    "removeprefix": "removesuffix", "removesuffix": "removeprefix", "partition": "rpartition",
    "rpartition": "partition",
}  # fmt: skip
_SAME_WITHOUT = {"strip", "lstrip", "rstrip", "lower", "upper", "casefold"}
_OTHER_BOUND = {"ge": "gt", "gt": "ge", "le": "lt", "lt": "le"}
_TINY = 1e-6
"""A tolerance for rounding: another one is no other behaviour."""


@dataclass(frozen=True)
class Mutant:
    """`module` with one change. `before` and `after` are the changed lines, without their indentation."""

    module: str
    line: int
    before: str
    after: str
    source: str

    @property
    def change(self) -> tuple[str, str, str]:
        """What names it although lines move."""
        return self.module, self.before, self.after


def mutants(path: Path, root: Path) -> list[Mutant]:
    """Every change of the file that still parses, in the order of its lines."""
    source = path.read_bytes()
    tree = ast.parse(source)
    offsets = [0]
    for text in source.splitlines(keepends=True):
        offsets.append(offsets[-1] + len(text))
    writer = _Writer(source, offsets)
    made: dict[str, Mutant] = {}
    for start, end, new in writer.changes(tree):
        changed = (source[:start] + new.encode() + source[end:]).decode()
        try:
            if ast.dump(ast.parse(changed)) == ast.dump(tree):
                continue
        except SyntaxError:
            continue
        first = source.count(b"\n", 0, start)
        last = source.count(b"\n", 0, end)
        old_lines = source.decode().splitlines()[first : last + 1]
        new_lines = changed.splitlines()[
            first : first + len(old_lines) + new.count("\n") - source.count(b"\n", start, end)
        ]
        name = path.relative_to(root).as_posix()
        made.setdefault(changed, Mutant(name, first + 1, _flat(old_lines), _flat(new_lines), changed))
    return sorted(made.values(), key=lambda mutant: mutant.line)


def _flat(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


class _Writer:
    """Yields (first byte, last byte + 1, what stands there instead)."""

    def __init__(self, source: bytes, offsets: list[int]) -> None:
        self.source, self.offsets = source, offsets

    def span(self, node: ast.AST) -> tuple[int, int]:
        assert isinstance(node, ast.expr | ast.stmt | ast.keyword)
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offsets[node.lineno - 1] + node.col_offset, self.offsets[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def changes(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:
        """Of the node and of all below it, but for what is no behaviour: types, docstrings, f-strings' insides."""
        if _typing_only(node) or isinstance(node, ast.JoinedStr):  # 3.11 gives no places inside an f-string
            return
        yield from self._of(node)
        for name, value in ast.iter_fields(node):
            if name in {"annotation", "returns", "decorator_list", "ops", "op"}:
                continue
            children = value if isinstance(value, list) else [value]
            if isinstance(node, ast.Subscript) and name == "slice" and isinstance(value, ast.Tuple):
                # dict[str, int]; of Annotated[float, Field(gt=0)] what is behind the type
                children = value.elts[1:] if isinstance(node.value, ast.Name) and node.value.id == "Annotated" else []
            for child in children:
                if isinstance(child, ast.AST):
                    yield from self.changes(child)

    def _of(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:  # noqa: PLR0912 - a table of kinds
        match node:
            case ast.Compare():
                for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
                    yield from self._between(left, right, *_COMPARE[type(op)])
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                yield from self._between(node.left, node.right, *_ARITHMETIC[type(node.op)])
            case ast.AugAssign() if type(node.op) in _ARITHMETIC:
                old, new = _ARITHMETIC[type(node.op)]
                yield from self._between(node.target, node.value, f"{old}=", f"{new}=")
                yield *self.span(node), "pass"
            case ast.BoolOp():
                word = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._between(left, right, *word)
                for drop in node.values:
                    kept = [f"({self.text(value)})" for value in node.values if value is not drop]
                    yield *self.span(node), f" {word[0]} ".join(kept)
            case ast.UnaryOp(op=ast.Not() | ast.USub()) if not isinstance(node.operand, ast.Constant):
                yield *self.span(node), f"({self.text(node.operand)})"
            case ast.If() | ast.IfExp():
                yield *self.span(node.test), "False"
                yield *self.span(node.test), "True"
            case ast.comprehension():
                for test in node.ifs:
                    yield *self.span(test), "True"
            case ast.Return(value=ast.expr() as value) if not _is(value, None):
                yield *self.span(value), "None"
            case ast.Slice():
                if node.lower is not None:
                    yield *self.span(node.lower), ""
                if node.upper is not None:
                    yield *self.span(node.upper), ""
            case ast.Break() | ast.Continue():
                yield *self.span(node), "continue" if isinstance(node, ast.Break) else "break"
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise():
                yield *self.span(node), "pass"
            case ast.Tuple() | ast.List() | ast.Set() if len(node.elts) > 1:
                yield from self._without_each(node)
            case ast.Dict() if len(node.keys) > 1:
                for at in range(len(node.keys)):
                    pairs = [p for i, p in enumerate(zip(node.keys, node.values, strict=True)) if i != at]
                    inside = (f"{self.text(k)}: {self.text(v)}" if k else f"**{self.text(v)}" for k, v in pairs)
                    yield *self.span(node), "{" + ", ".join(inside) + "}"
            case ast.Call():
                yield from self._calls(node)
            case ast.Constant():
                yield from ((*self.span(node), text) for text in _other_constants(node.value))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                arguments = node.args
                for default in [*arguments.defaults, *arguments.kw_defaults]:
                    yield from self._other_text(default)
            case ast.ClassDef():
                for statement in node.body:
                    if isinstance(statement, ast.AnnAssign):
                        yield from self._other_text(statement.value)

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str) -> Iterator[tuple[int, int, str]]:
        start, end = self.span(left)[1], self.span(right)[0]
        gap = self.source[start:end].decode()
        sign = rf"\b{old}\b" if old.isalpha() or " " in old else re.escape(old)
        yield start, end, re.sub(sign, new, gap, count=1)

    def _without_each(self, node: ast.Tuple | ast.List | ast.Set) -> Iterator[tuple[int, int, str]]:
        if isinstance(node, ast.Tuple) and isinstance(node.ctx, ast.Store):
            return
        opened, closed = {ast.Tuple: ("(", ",)"), ast.List: ("[", "]"), ast.Set: ("{", "}")}[type(node)]
        for drop in node.elts:
            kept = [self.text(element) for element in node.elts if element is not drop]
            yield *self.span(node), opened + ", ".join(kept) + closed

    def _calls(self, node: ast.Call) -> Iterator[tuple[int, int, str]]:
        start, end = self.span(node.func)
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in _OTHER_CALL:
                if name == "sorted" and node.keywords:  # list() takes none
                    yield *self.span(node), f"list({self.text(node.args[0])})"
                else:
                    yield end - len(name), end, _OTHER_CALL[name]
            case ast.Attribute(attr=name, value=value) if name in _SAME_WITHOUT and not node.args:
                yield *self.span(node), self.text(value)
            case _:
                pass
        for keyword in node.keywords:
            at = self.span(keyword)[0]
            if keyword.arg in _OTHER_BOUND:
                yield at, at + len(keyword.arg), _OTHER_BOUND[keyword.arg]
            if keyword.arg in {"key", "reverse"}:
                before = self.source[start:at].decode().rstrip()
                yield start + len(before.encode()) - before.endswith(","), self.span(keyword)[1], ""
            if keyword.arg == "default":
                yield from self._other_text(keyword.value)

    def _other_text(self, default: ast.expr | None) -> Iterator[tuple[int, int, str]]:
        if isinstance(default, ast.Constant) and isinstance(default.value, str):
            yield *self.span(default), repr("other" + default.value)


def _other_constants(value: object) -> Iterator[str]:
    match value:
        case bool():
            yield repr(not value)
        case int():
            yield repr(value + 1)
            if value > 0:
                yield repr(value - 1)
        case float() if value == 0.0:
            yield "1.0"
        case float() if abs(value) > _TINY:
            yield repr(value * 2)


def _typing_only(node: ast.AST) -> bool:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case (
            ast.Assign(value=ast.Subscript(value=ast.Name(id=name)))
            | ast.AnnAssign(value=ast.Subscript(value=ast.Name(id=name)))
        ):
            return name[:1].isupper() and name != "Annotated"  # Kind = Literal[…]
        case ast.keyword(arg="strict"):  # of zip: a bound that right code never meets
            return True
        case ast.Subscript(value=ast.Name(id="Literal" | "Callable")):
            return True
        case _:
            return False


def _is(node: ast.expr, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value is value
