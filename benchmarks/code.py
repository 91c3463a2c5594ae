"""The code that a result depends on, as a digest that renaming and moving it do not change.

`digest` starts from the functions that make a result and follows every name that they use through
the library and the benchmarks: functions, classes and constants, also those of annotations and of
imports within functions. Nothing has to be listed, so nothing can be forgotten. What no path leads
to (a report, a command, another algorithm) is no part of the digest.

Of a definition counts what it computes:

- Its own name, its module and the names of its local variables do not: a name of this project is
  replaced by the digest of what it stands for, one of another package by its full path. So a
  function can be renamed, a file moved, split or merged, an import written otherwise.
- Comments, docstrings, annotations, `print`, and the messages of errors do not.
- Names of parameters, fields, methods and keywords do, because any object may have them.

What cannot be told apart counts too much rather than too little: a module that is used as a value,
or named by a string, stands for all that it defines. Modules in `OPAQUE` count by name alone:
presets, whose values are among the arguments that a result is made with.
"""

import ast
import builtins
import hashlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OPAQUE = {"benchmarks.harness", "benchmarks.kept", "benchmarks.code"}
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
Source = Callable[..., Any] | ModuleType | str


class Definition(NamedTuple):
    """One statement of a module: its place, and the code.

    Attributes:
        module: the module's full name.
        index: which of the module's statements.
    """

    module: str
    index: int


class Reference(NamedTuple):
    """In the code of a definition: here stands one of these, or all of them."""

    to: tuple[Definition, ...]


class Module(NamedTuple):
    """A parsed file.

    Attributes:
        statements: its statements but for imports and docstrings.
        names: statements that bind a name, by name.
        imports: full paths of what is imported, by the name that it is bound to.
        always: statements that bind no name, but do something when the module is imported.
    """

    statements: list[ast.stmt]
    names: dict[str, list[int]]
    imports: dict[str, str]
    always: list[int]


class Code:
    """The library and the benchmarks of one checkout.

    Args:
        root: the checkout, with `src/metarlhf` and `benchmarks`.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._folders = {"metarlhf": root / "src", "benchmarks": root}
        self.file, self.resolve = cache(self._file), cache(self._resolve)
        self.module = cache(self._module)
        self.written = cache(self._written)

    def digest(self, made_by: Iterable[Source]) -> str:
        """Digest of everything that these need.

        Args:
            made_by: functions, classes, modules, or full names of them.

        Returns:
            A hexadecimal SHA-256.

        Raises:
            LookupError: a name was not found in the code.
        """
        roots = [self.resolve(source if isinstance(source, str) else _name(source))[0]
                 for source in made_by]  # fmt: skip
        reached = self.reached(found for root in roots if root for found in root.to)
        # By its own code at first, then round by round by that of what it uses (Weisfeiler and
        # Leman), until that tells no more of them apart.
        label = {one: _hash("".join(map(_blank, self.written(one)[0]))) for one in reached}
        distinct = 0
        while len(set(label.values())) > distinct:
            distinct = len(set(label.values()))
            label = {one: _hash("".join(_labelled(part, label) for part in self.written(one)[0]))
                     for one in reached}  # fmt: skip
        ends = [_labelled(root, label) for root in roots if root]
        return _hash("\n".join([*ends, *sorted(set(label.values()))]))

    def reached(self, found: Iterable[Definition]) -> set[Definition]:
        """These, and whatever they need in turn."""
        reached: set[Definition] = set()
        open_ = list(found)
        while open_:
            one = open_.pop()
            if one in reached:
                continue
            reached.add(one)
            parts, needed = self.written(one)
            for part in (*parts, *needed):
                open_ += part.to if isinstance(part, Reference) else ()
            open_ += [Definition(one.module, i) for i in self.module(one.module).always]
        return reached

    def _file(self, name: str) -> Path | None:
        """The file of a module of this project, None where `name` is none."""
        folder = self._folders.get(name.partition(".")[0])
        if folder is None or not all(part.isidentifier() for part in name.split(".")):
            return None
        path = folder.joinpath(*name.split("."))
        files = path / "__init__.pyi", path / "__init__.py", path.with_suffix(".py")
        return next((file for file in files if file.exists()), None)

    def _resolve(self, path: str) -> tuple[Reference | None, str]:
        """What a full path stands for, and the attributes that are left over.

        Raises:
            LookupError: it is in a module of this project, which has no such name.
        """
        parts = path.split(".")
        if parts[0] not in self._folders:
            return None, path
        size = max((i for i in range(len(parts) + 1) if self.file(".".join(parts[:i]))), default=0)
        name, rest = ".".join(parts[:size]), parts[size:]
        if name in OPAQUE or name.endswith(".presets"):
            return None, name.rpartition(".")[2] + "".join(f".{x}" for x in rest)
        if not size:
            raise LookupError(f"there is no module of {path} in this checkout")
        module = self.module(name)
        if not rest:
            return Reference(tuple(self._all(name))), ""
        if rest[0] in module.names:
            found = tuple(Definition(name, i) for i in module.names[rest[0]])
            return Reference(found), "".join(f".{x}" for x in rest[1:])
        if rest[0] in module.imports:
            return self.resolve(".".join([module.imports[rest[0]], *rest[1:]]))
        if rest[0].startswith("__"):
            return None, ".".join(rest)
        raise LookupError(
            f"{path}: {name} defines no {rest[0]}. If it does so when asked (`__getattr__`), "
            "import it under `if TYPE_CHECKING` too, for type checkers and for this."
        )

    def _all(self, name: str) -> Iterator[Definition]:
        """All that a module defines, and a package re-exports."""
        module = self.module(name)
        yield from (Definition(name, i) for i in range(len(module.statements)))
        if self.file(name).stem == "__init__":  # type: ignore[union-attr]
            for path in module.imports.values():
                found, _ = self.resolve(path) if not self.file(path) else (None, "")
                yield from found.to if found else ()

    def _module(self, name: str) -> Module:
        file = self.file(name)
        assert file is not None, name
        package = name if file.stem == "__init__" else name.rpartition(".")[0]
        found = Module([], {}, {}, [])
        for node in _parsed(file.read_text(encoding="utf-8")).body:
            found.imports.update(_imports(node, package))
            if isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node):
                continue
            if isinstance(node, ast.If) and all(
                isinstance(x, ast.Import | ast.ImportFrom) for x in node.body
            ):
                continue
            index = len(found.statements)
            found.statements.append(node)
            names = [*_bound(node)]
            for bound in names:
                found.names.setdefault(bound, []).append(index)
            if not names and not (isinstance(node, ast.If) and "__main__" in ast.dump(node.test)):
                found.always.append(index)
        return found

    def _written(self, one: Definition) -> tuple[list[str | Reference], list[Reference]]:
        """The code of a definition, and what else it needs."""
        writer = Writer(self, one.module)
        writer.write(self.module(one.module).statements[one.index])
        return writer.parts, writer.needed


class Writer:
    """Writes a statement down without what does not count.

    Attributes:
        parts: the code, with references to other definitions of this project.
        needed: references of annotations, which are no part of the code.
    """

    def __init__(self, code: Code, module: str) -> None:
        self.parts: list[str | Reference] = []
        self.needed: list[Reference] = []
        self._code, self._module = code, module
        file = code.file(module)
        is_package = file is not None and file.stem == "__init__"
        self._package = module if is_package else module.rpartition(".")[0]
        # Names of the functions and classes around: what each is written as, or imported from.
        self._scopes: list[tuple[str, dict[str, str]]] = []

    def write(self, node: ast.AST | list[Any] | Any) -> None:
        """One node, or several."""
        if isinstance(node, list):
            self.parts.append("[")
            for one in node:
                self.write(one)
            self.parts.append("]")
        elif isinstance(node, ast.AST):
            special = getattr(self, f"_{type(node).__name__.lower()}", None)
            (special or self._plain)(node)
        else:
            self.parts.append(f"{type(node).__name__} {node!r},")

    def _plain(self, node: ast.AST) -> None:
        self.parts.append(f"{type(node).__name__}(")
        for name, value in ast.iter_fields(node):
            if name not in ("ctx", "kind", "type_comment", "returns", "annotation"):
                self.write(value)
        for name in ("returns", "annotation"):
            self._annotation(getattr(node, name, None))
        self.parts.append(")")

    def _import(self, node: ast.AST) -> None:
        """Where its names are used, it is seen."""

    _importfrom = _import

    def _expr(self, node: ast.Expr) -> None:
        if not _is_text(node) and getattr(getattr(node.value, "func", None), "id", "") != "print":
            self._plain(node)

    def _raise(self, node: ast.Raise) -> None:
        self.parts.append("raise ")
        self.write(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)

    def _assert(self, node: ast.Assert) -> None:
        self.parts.append("assert ")
        self.write(node.test)

    def _constant(self, node: ast.Constant) -> None:
        self.parts.append(f"{type(node.value).__name__} {node.value!r},")
        if isinstance(node.value, str) and "." in node.value and self._code.file(node.value):
            found, _ = self._code.resolve(node.value)
            self.needed += [found] if found else []

    def _name(self, node: ast.Name) -> None:
        self._path(node.id)

    def _attribute(self, node: ast.Attribute) -> None:
        names = [node.attr]
        value = node.value
        while isinstance(value, ast.Attribute):
            names.append(value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            self._path(".".join([value.id, *reversed(names)]))
        else:
            self.write(node.value)
            self.parts.append(f".{node.attr}")

    def _path(self, path: str) -> None:
        """A name with attributes."""
        name, dot, rest = path.partition(".")
        for kind, names in reversed(self._scopes):
            if name in names and (kind == "function" or names is self._scopes[-1][1]):
                if not names[name].startswith("import "):
                    self.parts.append(f"{names[name]}{dot}{rest},")
                    return
                path = names[name].removeprefix("import ") + dot + rest
                break
        else:
            module = self._code.module(self._module)
            if name in module.names:
                path = f"{self._module}.{path}"
            elif name in module.imports:
                path = module.imports[name] + dot + rest
            elif hasattr(builtins, name) or name.startswith("__"):
                self.parts.append(f"{path},")
                return
            else:
                raise LookupError(f"{self._module} uses {name}, which nothing defines")
        found, rest = self._code.resolve(path)
        self.parts += [found, f"{rest},"] if found else [f"{rest},"]

    def _annotation(self, node: ast.AST | None) -> None:
        """Methods of its classes may be called: they are needed, though not written."""
        text = getattr(node, "value", None)
        if isinstance(node, ast.Name | ast.Attribute):
            apart = Writer(self._code, self._module)
            apart._scopes = self._scopes
            apart.write(node)
            self.needed += [part for part in apart.parts if isinstance(part, Reference)]
        elif isinstance(text, str) and text in self._code.module(self._module).names:
            self._annotation(ast.Name(text))  # it is quoted
        elif node is not None:
            for one in ast.iter_child_nodes(node):
                self._annotation(one)

    def _annassign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None or (self._scopes and self._scopes[-1][0] == "class"):
            # Whether it is a field, Python reads from the annotation.
            text = ast.unparse(node.annotation)
            self.parts.append("ClassVar" if "ClassVar" in text or "InitVar" in text else "field")
            self.write(node.target)
            self.write(node.value)

    def _functiondef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.parts.append(f"{type(node).__name__} ")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if self._scopes:
                self._path(node.name)
            self.write(node.decorator_list)
            self._annotation(node.returns)
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [x for x in (arguments.vararg, arguments.kwarg) if x]
        for argument in every:
            self._annotation(argument.annotation)
        self.write([*arguments.defaults, *arguments.kw_defaults])
        bound = {a.arg: f"argument {a.arg}" for a in every}
        body = node.body if isinstance(node.body, list) else [node.body]
        imports = {
            n: f"import {path}" for x in body for n, path in _imports(x, self._package).items()
        }
        outer = {n for x in body for y in _within(x) if isinstance(y, ast.Global | ast.Nonlocal)
                 for n in y.names}  # fmt: skip
        for name in (n for x in body for n in _bound(x)):
            if name not in bound and name not in outer:
                bound[name] = f"local {len(self._scopes)}.{len(bound)}"
        self.parts.append(",".join([
            *(a.arg for a in arguments.posonlyargs), "/", *(a.arg for a in arguments.args),
            "*" if arguments.vararg is None else "*args", *(a.arg for a in arguments.kwonlyargs),
            "" if arguments.kwarg is None else "**kwargs",
        ]))  # fmt: skip
        self._scopes.append(("function", bound | imports))
        self.write(body)
        self._scopes.pop()

    _asyncfunctiondef = _lambda = _functiondef

    def _classdef(self, node: ast.ClassDef) -> None:
        self.parts.append("class ")
        if self._scopes:
            self._path(node.name)
        self.write([*node.decorator_list, *node.bases, *node.keywords])
        names = {name: f"field {name}" for x in node.body for name in _bound(x)}
        self._scopes.append(("class", names))
        self.write(node.body)
        self._scopes.pop()

    def _listcomp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.parts.append(f"{type(node).__name__} ")
        self.write(node.generators[0].iter)
        names = dict.fromkeys(n for one in node.generators for n in _targets(one.target))
        scope = {name: f"local {len(self._scopes)}.{i}" for i, name in enumerate(names)}
        # A class body's names are seen by the first iterable alone, a function's by all.
        self._scopes.append(("function", scope))
        for i, one in enumerate(node.generators):
            self.write(one.target)
            self.write([*([one.iter] if i else []), *one.ifs])
        self.write([node.key, node.value] if isinstance(node, ast.DictComp) else node.elt)
        self._scopes.pop()

    _setcomp = _generatorexp = _dictcomp = _listcomp

    def _excepthandler(self, node: ast.ExceptHandler) -> None:
        self.parts.append("except ")
        self.write(node.type)
        self.write(node.body)

    def _global(self, node: ast.Global) -> None:
        for name in node.names:
            self._path(name)

    def _nonlocal(self, node: ast.Nonlocal) -> None:
        """Its names are those of the function around."""


def _name(source: Callable[..., Any] | ModuleType) -> str:
    if isinstance(source, ModuleType):
        return source.__name__
    source = inspect.unwrap(source)
    return f"{source.__module__}.{source.__qualname__.partition('.')[0]}"


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _blank(part: str | Reference) -> str:
    return part if isinstance(part, str) else "@"


def _labelled(part: str | Reference, label: dict[Definition, str]) -> str:
    return part if isinstance(part, str) else f"@{','.join(sorted({label[x] for x in part.to}))};"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imports(node: ast.AST, package: str) -> dict[str, str]:
    """Full paths of all that a statement imports, by the names they are bound to."""
    found = {}
    for one in _within(node):
        if isinstance(one, ast.Import):
            for alias in one.names:
                found[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(one, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - one.level + 1]
            base = [*(above if one.level else []), *([one.module] if one.module else [])]
            found |= {a.asname or a.name: ".".join([*base, a.name]) for a in one.names}
    return found


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """The node and what it is made of, but not the bodies of functions and classes."""
    open_ = [node]
    while open_:
        one = open_.pop()
        yield one
        if not isinstance(one, SCOPES):
            open_ += reversed(list(ast.iter_child_nodes(one)))


def _bound(node: ast.AST) -> Iterator[str]:
    """Names that a statement binds, but for those of imports."""
    for one in _within(node):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield one.name
        elif isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
        elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
            yield one.name


def _targets(node: ast.AST) -> Iterator[str]:
    return (one.id for one in ast.walk(node) if isinstance(one, ast.Name))
