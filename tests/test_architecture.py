"""The house: layers, budgets, what is imported when, and the public names."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import kintrack

SOURCE = Path(kintrack.__file__).parent
MODULES = sorted(SOURCE.rglob("*.py"))
SPINE = ("core/detections.py", "core/tracks.py", "models/gtr.py", "training/loss.py", "tracking/tracker.py", "api.py")

LONG_MODULES: dict[str, str] = {}
"""Modules over 400 lines, each with its reason."""
LONG_FUNCTIONS: dict[str, str] = {}
"""Functions over 60 lines (the docstring not counted), each with its reason."""


def _relative(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def _loaded_by(statement: str) -> set[str]:
    """The modules that are there after a statement in a fresh interpreter."""
    return set(_python(f"import sys\n{statement}\nprint(*sys.modules)").split())


def test_no_module_imports_from_its_neighbours_or_from_above() -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    run = subprocess.run([sys.executable, "-c", code], cwd=SOURCE.parents[1], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_module_is_longer_than_400_lines_without_a_reason() -> None:
    long = {_relative(path) for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 400}
    assert long == set(LONG_MODULES)


def test_no_function_is_longer_than_60_lines_without_a_reason() -> None:
    long = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                # A signature of options and a docstring are read, not followed: only statements count.
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                long |= {f"{_relative(path)}:{node.name}"} if lines > 60 else set()
    assert long == set(LONG_FUNCTIONS)


def test_the_spine_is_read_in_an_hour() -> None:
    lines = sum(len((SOURCE / name).read_text(encoding="utf-8").splitlines()) for name in SPINE)
    assert lines <= 1600, f"{lines} lines; the six modules that a newcomer reads should stay short"


@pytest.mark.parametrize(
    "part", ["core", "io", "metrics", "sim", "tracking", "viewer", "config", "errors", "cli", "api"]
)
def test_the_torch_free_half_loads_no_torch(part: str) -> None:
    modules = [p for p in MODULES if _relative(p).startswith((f"{part}/", f"{part}.py"))]
    names = [f"kintrack.{_relative(p)[:-3].replace('/', '.').removesuffix('.__init__')}" for p in modules]
    assert names
    loaded = _loaded_by("import " + ", ".join(names))
    assert not loaded & {"torch", "pytorch_lightning"}


def test_import_kintrack_loads_nothing_of_it_and_nothing_heavy() -> None:
    loaded = _loaded_by("import kintrack")
    assert {name for name in loaded if name.startswith("kintrack")} == {"kintrack", "kintrack._version"}
    assert not loaded & {"numpy", "scipy", "pydantic", "torch"}


def test_reading_files_loads_no_library_of_another_format() -> None:
    loaded = _loaded_by("import kintrack; kintrack.load")
    assert not loaded & {"sleap_io", "h5py", "av", "tifffile", "imagecodecs", "pandas", "scipy", "PIL"}


def test_tracking_loads_neither_lightning_nor_pandas_nor_sleap_io() -> None:
    loaded = _loaded_by("from kintrack import follow; import kintrack.windows.scorer, kintrack.models.checkpoint")
    assert "torch" in loaded
    assert not loaded & {"pytorch_lightning", "torchmetrics", "pandas", "sleap_io", "torchvision"}


def test_every_public_name_is_there_and_listed_once_in_order() -> None:
    assert kintrack.__all__ == sorted(set(kintrack.__all__))
    for name in kintrack.__all__:
        assert getattr(kintrack, name) is not None, name
    assert set(kintrack.__all__) <= set(dir(kintrack))


def test_public_names_are_those_that_type_checkers_see() -> None:
    tree = ast.parse((SOURCE / "__init__.py").read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    homes = {name: f"kintrack.{home}" for name, home in kintrack._HOME.items()}
    assert seen == homes
    assert set(homes) | {"__version__"} == set(kintrack.__all__)


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'kintrack' has no attribute 'Trackr'"):
        kintrack.Trackr  # noqa: B018


def test_there_is_one_version() -> None:
    from kintrack import _version

    assert kintrack.__version__ == _version.__version__
    assert kintrack.__version__.count(".") == 2


def test_the_package_says_that_it_is_typed() -> None:
    assert (SOURCE / "py.typed").is_file()


def test_public_constructors_take_no_unnamed_options() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                made = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
                assert not any(f.args.kwarg for f in made), f"{_relative(path)}: {node.name}(**{made[0].args.kwarg})"
