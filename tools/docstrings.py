"""Check the docstrings of the public API: every parameter, what is returned or yielded, and what is raised.

Ruff's rules ask for parameters only where there is an `Args:` section already, and go by file; this goes by what is
public (`public_api.py`). A function's own parameters need `Args:`, a value that is not None needs `Returns:` or
`Yields:`, and what its own body raises needs `Raises:`. Properties are read like fields, and methods that the language
calls are described by it; a constructor is checked where it has a docstring.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator

from public_api import MODULES, Docstring, FunctionNode, Public, is_property, is_special, members, names

NOTHING = {"None", "NoReturn", "Never"}
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def faults(modules: Iterable[str] = MODULES) -> list[str]:
    """What is missing, one line each."""
    public = dict.fromkeys(each for _, found in names(modules) for each in found)
    return [fault for each in public for fault in _faults_of(each)]


def _faults_of(public: Public) -> Iterator[str]:
    node, path = public.node, f"{public.module}.{public.name}"
    if not public.doc:
        yield f"{path}: has no docstring"
    elif isinstance(node, FunctionNode):
        yield from missing(path, node, Docstring.parse(public.doc))
    elif isinstance(node, ast.ClassDef):
        for member in members(node):
            yield from missing(f"{path}.{member.name}", member, Docstring.parse(ast.get_docstring(member) or ""))


def missing(path: str, node: FunctionNode, doc: Docstring) -> Iterator[str]:
    """What the docstring of a function or a method lacks."""
    if is_special(node) and node.name != "__init__":
        return
    if not doc.text:
        yield f"{path}: has no docstring"
    if not is_property(node):
        yield from _missing_values(path, node, doc)
    raised = {name for each in _own(node) if (name := _raised(each))}
    if unnamed := sorted(raised - set(doc.items("Raises"))):
        yield f"{path}: Raises lacks {', '.join(unnamed)}"


def _missing_values(path: str, node: FunctionNode, doc: Docstring) -> Iterator[str]:
    there, named = _parameters(node), set(doc.items("Args"))
    if unnamed := [name for name in there if name not in named]:
        yield f"{path}: Args lacks {', '.join(unnamed)}"
    if unknown := sorted(named - set(there)):
        yield f"{path}: Args has {', '.join(unknown)}, which it does not take"
    if any(isinstance(each, ast.Yield | ast.YieldFrom) for each in _own(node)):
        if "Yields" not in doc.sections:
            yield f"{path}: has no Yields"
    elif node.returns and ast.unparse(node.returns) not in NOTHING and "Returns" not in doc.sections:
        yield f"{path}: has no Returns"


def _parameters(node: FunctionNode) -> list[str]:
    given = node.args
    several = [each for each in (given.vararg, given.kwarg) if each]
    found = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs, *several)]
    return [name for name in found if name not in ("self", "cls")]


def _own(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below, without those of functions and classes inside."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, SCOPES):
            yield from _own(child)


def _raised(node: ast.AST) -> str | None:
    """The class that a `raise` names; None where it raises a variable."""
    if not isinstance(node, ast.Raise) or node.exc is None:
        return None
    cause = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
    name = ast.unparse(cause).rpartition(".")[2]
    return name if name[:1].isupper() else None


def main() -> int:
    """Print what is missing in the modules that are named, by default the public ones; returns the exit code."""
    found = faults(sys.argv[1:] or MODULES)
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
