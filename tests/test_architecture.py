"""The shape of the suite: who may import whom, what may be heavy, and what ships."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import training.cli
from tests.conftest import REPO

PACKAGES = ("harness_tasks", "proxy", "training", "analysis")
ALLOWED = {
    "harness_tasks": ("harness_tasks",),
    "proxy": ("proxy", "harness_tasks.reasoning"),  # a record names the state of the one splitter
    "training": ("training", "harness_tasks", "proxy.exchange"),
    "analysis": (
        "analysis",
        "harness_tasks.records",
        "harness_tasks.reasoning",
        "proxy.exchange",
        # judging asks models, by the one client and its store
        "harness_tasks.chat.given",
        "harness_tasks.chat.model",
        "harness_tasks.chat.settings",
        "harness_tasks.chat.store",
        "harness_tasks.progress",
        "harness_tasks.side_by_side",
        # which tier of reasoning a task's name tells
        "harness_tasks.tiers",
        # training data: the one rule of leaks, and the lengths of traces
        "harness_tasks.decontaminate",
        "harness_tasks.lengths",
    ),
}
HEAVY = ("torch", "lm_eval", "datasets", "transformers", "pandas", "scipy", "statsmodels", "sympy")
STDLIB_ONLY = (
    "harness_tasks.records",
    "harness_tasks.reasoning",
    "harness_tasks.explained",
    "harness_tasks.extract",
    "harness_tasks.lengths",
    "harness_tasks.overlap",
    "harness_tasks.wording",
    "harness_tasks.sampling",
    "proxy.exchange",
)
BACKPORTS = ("backports", "compression")
"""zstd is in the standard library from Python 3.14 on; until then its backport stands for it."""
LINES_CEILING = 600
FUNCTION_CEILING = 60


def python_files(package: str) -> list[Path]:
    """Return the modules of a package."""
    return sorted((REPO / package).rglob("*.py"))


def imported_names(tree: ast.AST) -> set[str]:
    """Return the absolute module names that a module imports, at any depth of it."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def within(name: str, allowed: tuple[str, ...]) -> bool:
    """Whether a dotted name is one of `allowed` or lies below one."""
    return any(name == root or name.startswith(root + ".") for root in allowed)


def loaded_after(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after one statement."""
    code = f"{statement}\nimport sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_it_may(package: str) -> None:
    for path in python_files(package):
        for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
            if name.split(".")[0] in PACKAGES:
                assert within(name, ALLOWED[package]), f"{path.relative_to(REPO)} imports {name}"


@pytest.mark.parametrize("module", STDLIB_ONLY)
def test_contract_modules_need_the_standard_library_alone(module: str) -> None:
    path = REPO / (module.replace(".", "/") + ".py")
    for name in imported_names(ast.parse(path.read_text(encoding="utf-8"))):
        root = name.split(".")[0]
        allowed = root in sys.stdlib_module_names or root in PACKAGES or root in BACKPORTS
        assert allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("package", ["proxy", "analysis", "harness_tasks"])
def test_torch_is_imported_by_training_alone(package: str) -> None:
    for path in python_files(package):
        names = imported_names(ast.parse(path.read_text(encoding="utf-8")))
        assert not any(within(name, ("torch", "transformers")) for name in names), path


@pytest.mark.parametrize("package", ["proxy", "analysis"])
def test_analysis_and_proxy_load_neither_torch_nor_lm_eval(package: str) -> None:
    modules = [
        ".".join(path.relative_to(REPO).with_suffix("").parts)
        for path in python_files(package)
        if path.name not in ("__main__.py", "__init__.py")
    ]
    loaded = loaded_after("import " + ", ".join(modules))
    assert not loaded & {"torch", "lm_eval", "transformers", "datasets"}


@pytest.mark.parametrize(
    "command",
    [
        "from harness_tasks.cli import main",
        "from proxy.cli import main",
        "from training.cli import main",
        "from analysis.cli import main",
    ],
)
def test_help_of_every_command_loads_nothing_heavy(command: str) -> None:
    statement = (
        f"import sys; sys.argv = ['command', '--help']\n{command}\n"
        "import contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
    )
    assert not loaded_after(statement) & set(HEAVY)


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_runs_as_a_module(package: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", package, "--help"],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.parametrize("command", sorted(training.cli.cli.commands))
def test_help_of_every_training_command_loads_nothing_heavy(command: str) -> None:
    statement = (
        f"import sys; sys.argv = ['distill-train', '{command}', '--help']\n"
        "from training.cli import main\n"
        "import contextlib, io\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()): main()"
    )
    assert not loaded_after(statement) & {*HEAVY, "trl", "peft", "accelerate", "matplotlib"}


@pytest.mark.parametrize("package", [*PACKAGES, "tests", "benchmarks"])
def test_files_and_functions_stay_readable(package: str) -> None:
    for path in python_files(package):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= LINES_CEILING, f"{path.relative_to(REPO)} is too long"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                where = f"{path.relative_to(REPO)}:{node.lineno} {node.name}"
                assert length <= FUNCTION_CEILING, f"{where} has {length} lines"


def test_no_python_beside_the_task_yaml() -> None:
    """lm-eval would load a `utils.py` beside a YAML as a second copy of the module."""
    tasks = REPO / "harness_tasks" / "tasks"
    assert [p for p in tasks.rglob("*.py") if p != tasks / "__init__.py"] == []
