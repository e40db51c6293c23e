"""The rules of docs/architecture.md that import-linter cannot express."""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

from tests.support.places import ROOT

PACKAGES = ("registry", "engine", "batch", "avatars", "cuda_ext", "migrations")
BESIDE_THE_PRODUCT = ("tests", "benchmarks", "studies")
MOST_FILES = 20
# in folders of commands: texts of what they print, and what a shell suggests
LOADED_LATE = ("_text", "suggestions")


def _sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _imported_modules(statements: list[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, "imports are absolute"
            yield statement.module or ""


def _all_imported_modules(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return set(_imported_modules([node for node in ast.walk(tree) if isinstance(node, ast.stmt)]))


def _declares_commands(path: Path) -> bool:
    """What lies in a folder `cli` does, but for what commands load when they run."""
    in_cli = path.name == "cli.py" or "cli" in path.parent.parts
    return in_cli and not path.stem.endswith(LOADED_LATE)


# what options are made of: dataclasses of plain values, see `test_settings_load_nothing_heavy`
SETTINGS = (
    "editvec.settings",
    "editvec.batch.classes.request",
    "editvec.batch.discovery.request",
    "editvec.batch.evaluation.settings",
    "editvec.batch.execution.execution",
    "editvec.batch.learning.request",
    "editvec.batch.previews.probes",
    "editvec.batch.quality.settings",
    "editvec.batch.recipes.settings",
    "editvec.batch.training.requests",
    "editvec.engine.networks.config",
    "editvec.engine.training.settings",
    "editvec.registry.cli.mask",
)
SOURCES = _sources(*PACKAGES)
FOLDERS = sorted({path.parent for path in _sources(*PACKAGES, *BESIDE_THE_PRODUCT)})


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.name == "__init__.py"], ids=_name
)
def test_package_init_is_one_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())

    assert len(tree.body) == 1
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_with_sources_is_a_package(package: str) -> None:
    folders = {path.parent for path in _sources(package)}

    assert [_name(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize("path", [path for path in SOURCES if _declares_commands(path)], ids=_name)
def test_cli_imports_only_click_the_standard_library_and_its_own_kind(path: Path) -> None:
    tree = ast.parse(path.read_text())

    allowed = {"click", *sys.stdlib_module_names}
    package = f"editvec.{path.relative_to(ROOT).parts[0]}"
    # how a shell completes is declared with each option; that module is of the same lean kind
    # and so does where results go
    kin = (
        *(f"{package}.errors", f"{package}.cli"),
        *("editvec.registry.cli.completion", "editvec.outputs", *SETTINGS),
    )
    foreign = [
        module
        for module in _imported_modules(tree.body)
        if module.split(".")[0] not in allowed
        and not (module.startswith(kin) and not module.endswith(LOADED_LATE))
    ]

    assert foreign == []


def test_settings_load_nothing_heavy() -> None:
    program = f"import sys, importlib\nfor name in {SETTINGS!r}: importlib.import_module(name)\n"

    result = subprocess.run(
        [sys.executable, "-c", f"{program}print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )

    heavy = {"torch", "numpy", "PIL", "sqlalchemy", "celery", "safetensors"}
    assert heavy.isdisjoint(result.stdout.split())


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_nobody_imports_the_root_command_or_the_tests(path: Path) -> None:
    modules = _all_imported_modules(path)

    assert "editvec.cli" not in modules
    assert {module.split(".")[0] for module in modules}.isdisjoint(BESIDE_THE_PRODUCT)


@pytest.mark.parametrize("path", _sources(*PACKAGES, *BESIDE_THE_PRODUCT), ids=_name)
def test_rooms_have_one_name_to_import(path: Path) -> None:
    # In the checkout `import registry` would work too, and load everything a second time.
    roots = {module.split(".")[0] for module in _all_imported_modules(path)}

    assert roots.isdisjoint(PACKAGES)


def test_the_package_holds_links_to_the_rooms() -> None:
    links = {
        path.name: path.readlink() for path in (ROOT / "editvec").iterdir() if path.is_symlink()
    }

    assert links == {package: Path("..") / package for package in PACKAGES}


def test_import_rules_see_every_module() -> None:
    # without the links import-linter would see `editvec` alone, and its contracts guard nothing
    graph = grimp.build_graph("editvec")

    modules = {".".join(("editvec", *Path(_name(path)).with_suffix("").parts)) for path in SOURCES}
    assert {module.removesuffix(".__init__") for module in modules} <= graph.modules
    assert len(graph.modules) > 300


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
    # with one, pytest would call a test file by another name, and two of one name would be one
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_one_name_stands_for_one_class() -> None:
    # who reads `Label` in a traceback or a type shall not have to ask which one
    places = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                places[node.name.lstrip("_")].append(_name(path))

    shared = {name: found for name, found in places.items() if len(found) > 1}
    assert shared == {}


@pytest.mark.parametrize("folder", FOLDERS, ids=_name)
def test_no_family_of_files_hides_in_a_folder(folder: Path) -> None:
    """Three files that begin with the same word are a folder of that name."""
    if folder == ROOT / "tests" / "support":
        return
    stems = [path.stem.removeprefix("test_") for path in folder.glob("*.py")]

    first_words = Counter(stem.split("_")[0] for stem in stems if "_" in stem.strip("_"))

    assert [word for word, count in first_words.items() if count >= 3] == []


@pytest.mark.parametrize("folder", sorted({path.parent for path in SOURCES}), ids=_name)
def test_folder_can_be_surveyed(folder: Path) -> None:
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]

    assert len(files) <= MOST_FILES


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
    names = [f"editvec.{_name(path)[:-3].replace('/', '.')}" for path in _sources(package)]
    modules = [name.removesuffix(".__init__") for name in names]
    program = f"import sys, importlib\nfor name in {modules!r}: importlib.import_module(name)\n"

    result = subprocess.run(
        [sys.executable, "-c", f"{program}print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )

    loaded = {name.removeprefix("editvec.").split(".")[0] for name in result.stdout.split()}
    assert loaded.isdisjoint(unwanted)


@pytest.mark.parametrize("path", SOURCES, ids=_name)
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


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_file_can_be_read_in_one_sitting(path: Path) -> None:
    limit = (
        800 if _name(path) in {"engine/networks/generator.py", "engine/networks/layers.py"} else 500
    )

    assert len(path.read_text().splitlines()) <= limit
