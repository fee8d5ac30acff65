"""A file is one idea, a function fits a screen, no underscore crosses a package, no cycles."""

import ast
import functools
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = ("pytreefit", "grater", "spotgp")
LINES_OF_FILE, LINES_OF_FUNCTION = 450, 60


def name_of(path):
    """The module of a file, such as "grater.psf"."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(p): p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))}


@functools.cache
def tree_of(module):
    return ast.parse(FILES[module].read_text())


def is_for_types(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(module, node=None):
    """Pairs of a module and a name that is imported from it, or ""; those for types left out."""
    for child in ast.iter_child_nodes(node or tree_of(module)):
        if isinstance(child, ast.ImportFrom):
            base = child.module or ""
            if child.level:
                parts = module.split(".")
                up = child.level - (FILES[module].name == "__init__.py")
                base = ".".join(filter(None, (*parts[: len(parts) - up], base)))
            for alias in child.names:
                yield base, alias.name
        elif isinstance(child, ast.Import):
            for alias in child.names:
                yield alias.name, ""
        elif not is_for_types(child):
            yield from imports(module, child)


def targets(module):
    """The modules of the three packages that a module imports."""
    for base, name in imports(module):
        inner = f"{base}.{name}"
        target = inner if inner in FILES else base
        if target in FILES and target != module:
            yield target


def test_files_are_short():
    lengths = ((module, len(path.read_text().splitlines())) for module, path in FILES.items())
    found = [f"{module}: {length} lines" for module, length in lengths if length > LINES_OF_FILE]
    assert not found, "\n".join(found)


def test_functions_fit_a_screen():
    found = [
        f"{module}:{node.lineno} {node.name}: {node.end_lineno + 1 - node.lineno} lines"
        for module in FILES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno >= node.lineno + LINES_OF_FUNCTION
    ]
    assert not found, "\n".join(found)


def test_nothing_private_of_another_package():
    found = {
        f"{module}: {base} {name}".strip()
        for module in FILES
        for base, name in imports(module)
        for package in PACKAGES
        if base.split(".")[0] == package != module.split(".")[0]
        if any(part.startswith("_") for part in (*base.split("."), name))
    }
    assert found == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_the_astronomical_packages_know_pytreefit_alone(package):
    found = {
        f"{module}: {target}"
        for module in FILES
        if module.split(".")[0] == package
        for target in targets(module)
        if target.split(".")[0] not in (package, "pytreefit")
    }
    assert found == set()


def test_no_module_imports_itself_through_others():
    # what imports nothing that is left is taken out, until only cycles and their users are there
    left = {module: set(targets(module)) for module in FILES}
    while leaves := {module for module, wanted in left.items() if not wanted & left.keys()}:
        left = {module: wanted for module, wanted in left.items() if module not in leaves}
    # and what nothing that is left imports
    while tops := left.keys() - set().union(*left.values()):
        left = {module: wanted for module, wanted in left.items() if module not in tops}
    assert sorted(left) == []
