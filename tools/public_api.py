"""The public Python API: which modules it has, their names, and what the source says of each."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import TypeAlias

MODULES = (
    "askbot_ws",
    "askbot_ws.client",
    "askbot_ws.client.sync",
    "askbot_ws.embedding",
    "askbot_ws.testing",
    "askbot_ws.upstream",
    "askbot_ws.store",
    "askbot_ws.events",
    "askbot_ws.errors",
    "askbot_ws.config",
)
"""What users of the package may import; of these, the names in `__all__`."""

SECTIONS = ("Args", "Attributes", "Example", "Examples", "Note", "Raises", "Returns", "Yields")
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Public:
    """A public name: a class, a function, or another value."""

    module: str  # the one that offers it first
    name: str
    value: object

    @property
    def node(self) -> ast.stmt | None:
        """Its definition or its assignment, parsed."""
        assigned = _assignment(import_module(self.module), self.name)[0]
        if assigned is None and (inspect.isclass(self.value) or inspect.isfunction(self.value)):
            return ast.parse(source(self.value)).body[0]
        return assigned

    @property
    def doc(self) -> str:
        """Its docstring, or the one below its assignment: an alias of a class has its own."""
        assigned, below = _assignment(import_module(self.module), self.name)
        if assigned is None and (inspect.isclass(self.value) or inspect.isfunction(self.value)):
            return inspect.cleandoc(self.value.__doc__ or "")
        return below

    @property
    def key(self) -> tuple[int, str]:
        """The same for a definition under all its names; an alias has another."""
        assigned = _assignment(import_module(self.module), self.name)[0]
        return id(self.value), self.name if assigned else ""


@dataclass(frozen=True, slots=True)
class Docstring:
    """A Google-style docstring, in its parts."""

    text: str  # without the sections
    sections: dict[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def parse(cls, doc: str) -> Docstring:
        """Split a docstring that `inspect.cleandoc` has cleaned."""
        parts: dict[str, list[str]] = {"": []}
        section = ""
        for line in doc.splitlines():
            header = re.fullmatch(rf"({'|'.join(SECTIONS)}):", line)
            if header:
                section = header[1]
            elif line[:1].strip():
                section = ""
            parts.setdefault(section, [])
            if not header:
                parts[section].append(line)
        bodies = {name: dedent("\n".join(lines)).strip("\n") for name, lines in parts.items()}
        return cls(bodies.pop("").strip(), bodies)

    def items(self, section: str) -> dict[str, str]:
        """The entries `name: text` or `name (type): text` of a section; names without asterisks and backticks."""
        found: dict[str, str] = {}
        name = ""
        for line in self.sections.get(section, "").splitlines():
            entry = re.match(r"([*`\w.]+)(?: \([^)]*\))?:(?: |$)(.*)", line)
            if entry:
                name = entry[1].strip("*`")
                found[name] = entry[2]
            elif name:
                found[name] += "\n" + line.strip()
        return {name: " ".join(text.split()) for name, text in found.items()}


def names(modules: Iterable[str] = MODULES) -> Iterator[tuple[str, list[Public]]]:
    """Each module with its public names; one that an earlier module offers too is there as that module's."""
    known: dict[tuple[int, str], Public] = {}
    for module_name in modules:
        module = import_module(module_name)
        found: list[Public] = []
        for name in module.__all__:
            if name != "__version__":
                value: object = getattr(module, name)
                if inspect.isfunction(value):
                    value = inspect.unwrap(value)
                public = Public(module_name, name, value)
                found.append(known.setdefault(public.key, public))
        yield module_name, found


def members(node: ast.ClassDef) -> list[FunctionNode]:
    """The public methods and properties of a class; a constructor where it has a docstring of its own."""
    return [
        each
        for each in node.body
        if isinstance(each, FunctionNode)
        and (not each.name.startswith("_") or (is_special(each) and ast.get_docstring(each)))
        and not any(ast.unparse(mark).endswith((".setter", ".deleter")) for mark in each.decorator_list)
    ]


def is_special(node: FunctionNode) -> bool:
    """Whether the language calls it, as `__init__` or `__aiter__`."""
    return node.name.startswith("__") and node.name.endswith("__")


def is_property(node: FunctionNode) -> bool:
    """Whether it is read like a field."""
    return any(ast.unparse(mark).rpartition(".")[2].endswith("property") for mark in node.decorator_list)


def source(value: type | FunctionType | ModuleType) -> str:
    """The source of a class, a function or a module, as far left as it goes."""
    return dedent(inspect.getsource(value))


def _assignment(module: ModuleType, name: str) -> tuple[ast.stmt | None, str]:
    """Where a module assigns a name, or imports it from a module that does; with the text below it."""
    body = ast.parse(source(module)).body
    for node, below in zip(body, [*body[1:], None], strict=True):
        if name in _assigned(node):
            match below:
                case ast.Expr(ast.Constant(str(text))):
                    return node, inspect.cleandoc(text)
                case _:
                    return node, ""
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    package = "." * node.level + (node.module or "")
                    return _assignment(import_module(package, _package(module)), alias.name)
    return None, ""


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _package(module: ModuleType) -> str | None:
    return module.__spec__.parent if module.__spec__ else None
