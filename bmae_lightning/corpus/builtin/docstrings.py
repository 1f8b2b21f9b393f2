"""Finds the docstrings of installed packages by reading their source with `ast`; nothing of them is imported.

Docstrings come in source order, each with its module and the path of its object.
"""

import ast
import hashlib
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.runtime.checks import closest
from bmae_lightning.runtime.errors import BadInput

STDLIB = "stdlib"
# Left out wherever they occur: tests, vendored copies of other packages, and programs that merely ship with Python.
SKIPPED_DIRECTORIES = re.compile(
    r"tests?|testdata|idlelib|turtledemo|lib2to3|ensurepip|pydoc_data|__phello__|__pycache__|site_packages|"
    r"_?vendor(ed)?|extern"
)
SKIPPED_FILES = ("test_", "conftest", "antigravity", "this", "setup")
# Functions that give a docstring to an object of an extension module: numpy, torch.
ADDING_CALLS = frozenset({"add_newdoc", "add_docstr", "_add_docstr"})


class Docstring(NamedTuple):
    """A public object's documentation: its module, its dotted path inside the module, and the raw text."""

    module: str
    object: str
    text: str


def package_version(package: str) -> str:
    """The version of an importable package; the standard library's is Python's.

    Where the source is not an installed wheel (an editable checkout, a folder on the path), a hash of the source is
    added, since the version alone would not show a change. Raises BadInput as `package_docstrings` does.
    """
    if package == STDLIB or package in sys.stdlib_module_names:
        return sys.version.split()[0]
    files = package_files(package)
    try:
        version = metadata.version(package)
    except metadata.PackageNotFoundError:
        owners = metadata.packages_distributions().get(package)
        version = metadata.version(owners[0]) if owners else "0"
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    if installed & set(files[0][1].resolve().parents):
        return version
    total = hashlib.sha256()
    for name, path in files:
        total.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version}+{total.hexdigest()[:12]}"


def package_files(package: str) -> list[tuple[str, Path]]:
    """The (dotted module name, source file) pairs of a package, sorted by name, without tests and vendored code.

    package: "stdlib" or an importable top-level name. Raises BadInput if it is not installed or has no source.
    """
    if package == STDLIB:
        return _walk("", Path(sysconfig.get_path("stdlib")))
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None:
        raise BadInput(_not_installed(package))
    files: list[tuple[str, Path]] = []
    for directory in spec.submodule_search_locations or []:
        files += _walk(package, Path(directory))
    if not spec.submodule_search_locations and spec.origin and spec.origin.endswith(".py"):
        files.append((package, Path(spec.origin)))
    if not files:
        raise BadInput(
            f"package {package!r} has no Python source to read docstrings from; take it out of packages=[...]."
        )
    return files


def package_docstrings(package: str) -> Iterator[Docstring]:
    """Yields the docstrings of the public objects of a package: by module name, then in source order."""
    for module, path in package_files(package):
        try:
            source = path.read_bytes()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes of other people's source
                tree = ast.parse(source)
        except (SyntaxError, ValueError, OSError, RecursionError):
            continue  # templates and files for another Python version
        if text := ast.get_docstring(tree):
            yield Docstring(module, "", text)
        yield from _of_body(module, "", tree.body)


def _walk(prefix: str, directory: Path) -> list[tuple[str, Path]]:
    found = []
    for path in sorted(directory.iterdir()):
        name = path.stem if path.suffix == ".py" else path.name
        if not name.isidentifier():
            continue
        dotted = f"{prefix}.{name}" if prefix else name
        if path.is_dir() and not SKIPPED_DIRECTORIES.fullmatch(name):
            found += _walk(dotted, path)
        elif path.suffix == ".py" and not name.startswith(SKIPPED_FILES) and path.is_file():
            found.append((prefix or name if name == "__init__" else dotted, path))
    return found


def _of_body(module: str, prefix: str, body: list[ast.stmt]) -> Iterator[Docstring]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if node.name.startswith("_"):
                continue
            path = f"{prefix}{node.name}"
            if text := ast.get_docstring(node):
                yield Docstring(module, path, text)
            if isinstance(node, ast.ClassDef):
                yield from _of_body(module, f"{path}.", node.body)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            yield from _of_call(module, node.value)
        else:  # if, try, with, for
            for field in ("body", "orelse", "handlers", "finalbody"):
                children = getattr(node, field, None)
                for child in children if isinstance(children, list) else []:
                    yield from _of_body(module, prefix, child.body if isinstance(child, ast.ExceptHandler) else [child])


def _of_call(module: str, call: ast.Call) -> Iterator[Docstring]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    if name not in ADDING_CALLS or len(call.args) < 2:
        return
    names = [name for name in map(_literal_or_path, call.args[:-1]) if name]
    if len(names) > 1:
        names.pop(0)  # the module it belongs to
    target = ".".join(names)
    for item in call.args[-1].elts if isinstance(call.args[-1], ast.List) else [call.args[-1]]:
        owner, text = target, item
        if isinstance(item, ast.Tuple) and len(item.elts) == 2:
            owner, text = f"{target}.{_literal_or_path(item.elts[0])}", item.elts[1]
        literal = _string(text)
        if owner and literal and not any(part.startswith("_") for part in owner.split(".")):
            yield Docstring(module, owner, literal)


def _literal_or_path(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return ast.unparse(node) if isinstance(node, ast.Attribute | ast.Name) else ""


def _string(node: ast.expr) -> str:
    """The literal parts of a string expression; what is filled in at run time is left out."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.BinOp):
        return _string(node.left) + _string(node.right)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(_string, node.values))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _string(node.func.value)
    return ""


def _not_installed(package: str) -> str:
    if package and not package.isidentifier():
        return f"package {package!r} is not a top-level import name; give e.g. {package.split('.')[0]!r}."
    near = closest(package, {STDLIB, *metadata.packages_distributions(), *sys.stdlib_module_names})
    hint = f"did you mean {near!r}? Otherwise " if near else ""
    return f"package {package!r} of the built-in collection is not installed; {hint}pip install {package}."
