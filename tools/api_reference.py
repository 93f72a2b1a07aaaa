"""docs/reference/*.md: the public Python API, one page a module, from its signatures and docstrings."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from functools import partial, reduce
from importlib import import_module
from inspect import cleandoc

from public_api import Docstring, FunctionNode, Public, members, names, source

LINE = 88  # characters of a signature on one line
ENTRIES = ("Args", "Attributes", "Raises")
EXAMPLES = ("Example", "Examples")


def pages() -> dict[str, Callable[[], str]]:
    """What makes each page, by the page's path."""
    return {f"docs/reference/{module}.md": partial(_page, module, found) for module, found in names()}


def _page(module: str, found: list[Public]) -> str:
    parts = [f"# {module}", *_prose(cleandoc(import_module(module).__doc__ or ""))]
    for public in found:
        parts += _described(public) if public.module == module else [_elsewhere(public)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _elsewhere(public: Public) -> str:
    return f"`{public.name}` is described in [{public.module}]({public.module}.md#{public.name.lower()})."


def _described(public: Public) -> Iterator[str]:
    scope = vars(import_module(getattr(public.value, "__module__", public.module)))
    yield f"## `{public.name}`"
    match public.node:
        case ast.ClassDef() as node:
            yield _code(_class(public, node))
            yield from _prose(public.doc)
            for member in members(node):
                yield f"### `{public.name}.{member.name}`"
                yield _code(_signature(member, member.name, scope))
                yield from _prose(cleandoc(ast.get_docstring(member) or ""))
        case ast.FunctionDef() | ast.AsyncFunctionDef() as node:
            yield _code(_signature(node, public.name, scope))
            yield from _prose(public.doc)
        case node:
            yield _code(ast.unparse(node) if node else public.name)
            yield from _prose(public.doc)


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


# --- definitions -----------------------------------------------------------------------------------------------------


def _class(public: Public, node: ast.ClassDef) -> str:
    """Its name, its bases and its public fields, each with its comment or its description."""
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    lines = source(public.value).splitlines() if isinstance(public.value, type) else []
    fields = [_field(each, lines[each.lineno - 1]) for each in node.body if _is_field(each)]
    return "\n".join([f"class {node.name}{f'({bases})' if bases else ''}{':' if fields else ''}", *fields])


def _is_field(node: ast.stmt) -> bool:
    target = node.target if isinstance(node, ast.AnnAssign) else None
    if isinstance(node, ast.Assign):
        target = node.targets[0] if isinstance(node.targets[0], ast.Name) else None
    return isinstance(target, ast.Name) and not target.id.startswith("_") and target.id != "model_config"


def _field(node: ast.stmt, line: str) -> str:
    comment = line.partition("  # ")[2]
    if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
        comment = next((_text(each.value) for each in node.value.keywords if each.arg == "description"), comment)
        node.value = None  # how a default is made says less than the field's name
    comment = "" if comment.startswith(("noqa", "type:", "pyright:")) else comment
    return f"    {ast.unparse(node)}{f'  # {comment}' if comment else ''}"


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _signature(node: FunctionNode, name: str, scope: Mapping[str, object]) -> str:
    """As it is written, with the values of constants, and on several lines where it is long."""
    marks = "".join(f"@{ast.unparse(mark)}\n" for mark in node.decorator_list)
    start = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    parameters = list(_parameters(node.args, scope))
    line = f"{start} {name}({', '.join(parameters)}){returns}"
    if len(line) > LINE:
        line = "\n".join([f"{start} {name}(", *(f"    {parameter}," for parameter in parameters), f"){returns}"])
    return marks + line


def _parameters(given: ast.arguments, scope: Mapping[str, object]) -> Iterator[str]:
    places = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    for index, (parameter, default) in enumerate(zip(places, defaults, strict=True), 1):
        yield _parameter(parameter, default, scope)
        if index == len(given.posonlyargs):
            yield "/"
    if given.vararg:
        yield f"*{ast.unparse(given.vararg)}"
    elif given.kwonlyargs:
        yield "*"
    for parameter, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(parameter, default, scope)
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def _parameter(parameter: ast.arg, default: ast.expr | None, scope: Mapping[str, object]) -> str:
    if default is None:
        return ast.unparse(parameter)
    return f"{ast.unparse(parameter)} = {_constant(ast.unparse(default), scope)}"


def _constant(expression: str, scope: Mapping[str, object]) -> str:
    """The value of a constant that a module names; other expressions as they are."""
    first, *rest = expression.split(".")
    value: object = reduce(lambda value, name: getattr(value, name, None), rest, scope.get(first))
    return repr(value) if isinstance(value, int | float | str) else expression


# --- docstrings ------------------------------------------------------------------------------------------------------


def _prose(text: str) -> Iterator[str]:
    doc = Docstring.parse(text)
    yield doc.text
    for section, body in doc.sections.items():
        yield f"**{section}:**"
        if section in ENTRIES:
            yield "\n".join(f"- `{name}`: {about}" for name, about in doc.items(section).items())
        else:
            yield _code(body) if section in EXAMPLES and _is_program(body) else body


def _is_program(body: str) -> bool:
    """Whether an example is code only: neither fenced, nor prose with code further in."""
    try:
        ast.parse(body)
    except SyntaxError:
        return False
    return True
