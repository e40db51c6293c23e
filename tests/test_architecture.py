"""The rules of docs/architecture.md that import-linter cannot express."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("registry", "engine", "batch", "avatars", "cuda_ext", "migrations")


def _sources(*packages: str) -> list[Path]:
    return sorted(path for package in packages for path in (ROOT / package).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imported_modules(statements: list[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, "imports are absolute"
            yield statement.module or ""


@pytest.mark.parametrize(
    "path", [path for path in _sources(*PACKAGES) if path.name == "__init__.py"], ids=_name
)
def test_package_init_is_one_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_sources_is_a_package(package: str) -> None:
    folders = {path.parent for path in _sources(package)}

    assert [_name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(
    "path", [path for path in _sources(*PACKAGES) if path.name.startswith("cli")], ids=_name
)
def test_cli_imports_only_click_the_standard_library_and_its_own_kind(path: Path) -> None:
    tree = ast.parse(path.read_text())

    allowed = {"click", *sys.stdlib_module_names}
    package = path.relative_to(ROOT).parts[0]
    # how a shell completes is declared with each option; that module is of the same lean kind
    kin = (f"{package}.errors", f"{package}.cli", "registry.cli.completion")
    foreign = [
        module
        for module in _imported_modules(tree.body)
        if module.split(".")[0] not in allowed and not module.startswith(kin)
    ]

    assert foreign == []


@pytest.mark.parametrize("path", _sources(*PACKAGES), ids=_name)
def test_nobody_imports_the_root_command_or_the_tests(path: Path) -> None:
    tree = ast.parse(path.read_text())

    statements = [node for node in ast.walk(tree) if isinstance(node, ast.stmt)]
    roots = {module.split(".")[0] for module in _imported_modules(statements)}

    assert roots.isdisjoint({"editvec", "tests", "benchmarks"})


@pytest.mark.parametrize(
    "path", _sources("registry", "engine", "batch", "avatars", "cuda_ext"), ids=_name
)
def test_only_migrations_create_tables(path: Path) -> None:
    tree = ast.parse(path.read_text())

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"create_all", "create_table", "drop_all"}, node.lineno
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert "CREATE TABLE" not in node.value.upper(), node.lineno


def test_tests_folder_holds_no_package() -> None:
    # tests/registry/__init__.py would shadow the real `registry`.
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("registry", {"torch", "celery", "engine", "batch"}),
        ("engine", {"sqlalchemy", "alembic", "celery", "registry", "batch"}),
        ("cuda_ext", {"sqlalchemy", "alembic", "celery", "registry", "engine", "batch"}),
    ],
)
def test_importing_a_whole_package_loads_nothing_of_its_neighbours(
    package: str, unwanted: set[str]
) -> None:
    names = [_name(path)[:-3].replace("/", ".") for path in _sources(package)]
    modules = [name.removesuffix(".__init__") for name in names]
    program = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"

    result = subprocess.run(
        [sys.executable, "-c", f"{program}print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )

    loaded = {name.split(".")[0] for name in result.stdout.split()}
    assert loaded.isdisjoint(unwanted)


@pytest.mark.parametrize("path", _sources(*PACKAGES), ids=_name)
def test_no_pickle_is_read_or_written(path: Path) -> None:
    tree = ast.parse(path.read_text())

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle":
            assert node.attr == "UnpicklingError", node.lineno
        if not isinstance(node, ast.Call):
            continue
        options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if ast.unparse(node.func) == "torch.load":
            assert options.get("weights_only") == "True", node.lineno
        if ast.unparse(node.func) in {"np.load", "np.save", "np.savez"}:
            assert options.get("allow_pickle", "False") == "False", node.lineno


@pytest.mark.parametrize("path", _sources(*PACKAGES), ids=_name)
def test_file_can_be_read_in_one_sitting(path: Path) -> None:
    limit = (
        800 if _name(path) in {"engine/networks/generator.py", "engine/networks/layers.py"} else 500
    )

    assert len(path.read_text().splitlines()) <= limit
