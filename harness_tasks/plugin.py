"""How lm-eval finds `local-chat` and our tasks, in releases that discover no plugins themselves.

Owns the import hook. The wheel carries `distill_eval_autoload.pth`; its one line puts a finder on
`sys.meta_path` which does nothing until `lm_eval` is imported and then calls `autoload` here. From
there a few modules of lm-eval are touched, each right after it was executed:

    lm_eval.models          `local-chat` is registered by its "module:Class" path, not imported
    lm_eval.tasks[.manager] `TaskManager` searches our folder after the built-in tasks and before
                            the user's `--include_path`, which therefore still overrides
    lm_eval.utils           `!function` in a YAML takes a dotted path, which 0.4.11 does not
    lm_eval.models.huggingface, .vllm_causallms
                            `hf` and `vllm` answer our tasks as a server would (`in_process`)

Later releases read the entry-point groups `lm_eval.models` and `lm_eval.tasks`, which this
distribution declares as well; where a release does, the hook leaves that part to it.
`DISTILL_EVAL_NO_AUTOLOAD=1` switches the hook off. Tried with lm-eval 0.4.11, 0.4.12 and 0.4.13.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType
from typing import Any

MODEL_NAME = "local-chat"
MODEL_PATH = "harness_tasks.local_chat:LocalChat"
TASKS_DIR = Path(__file__).parent / "tasks"
OURS_ALONE = ContextVar("OURS_ALONE", default=False)
AUTOLOAD_FINDER = "DistillEvalAutoload"


def autoload() -> None:
    """Follow the import of lm-eval that is just beginning; called by the `.pth` line, once."""
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != AUTOLOAD_FINDER]
    sys.meta_path.insert(0, LmEvalFinder())


class LmEvalFinder:
    """Meta-path finder that runs a step after one of the modules in `STEPS` was executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the ordinary spec with its loader wrapped, or None for every other module."""
        if name not in STEPS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = FollowedLoader(spec.loader, STEPS[name])  # type: ignore[assignment]
        return spec


class FollowedLoader:
    """A loader that executes the module as before and then runs one step on it."""

    def __init__(self, loader: Any, step: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module, then the step.

        Raises:
            ImportError: lm-eval is not of a shape that we know; says what to do.
        """
        self.loader.exec_module(module)
        try:
            self.step(module)
        except (AttributeError, TypeError, ValueError) as cause:
            raise ImportError(unknown_shape(module.__name__, cause)) from cause


def unknown_shape(module_name: str, cause: Exception) -> str:
    """Say why the hook gave up, and the two ways on."""
    return (
        f"distill-eval cannot add {MODEL_NAME!r} and its tasks to this lm-eval: {module_name}: "
        f"{type(cause).__name__}: {cause}. It was tried with lm-eval 0.4.11 to 0.4.13: install one "
        "of these, or set DISTILL_EVAL_NO_AUTOLOAD=1 to run lm-eval without distill-eval"
    )


def register_model(models: ModuleType) -> None:
    """Register `local-chat` by path, unless this release finds it by itself.

    Not before lm-eval's own models: it imports them while the registry is empty, and only then.
    """
    registry = importlib.import_module("lm_eval.api.registry")
    found = MODEL_NAME in registry.model_registry or hasattr(registry, "load_plugins")
    if found or discovers("lm_eval.models"):
        return
    registry.model_registry.register(MODEL_NAME, target=MODEL_PATH)


def extend_task_manager(module: ModuleType) -> None:
    """Add our task folder to the search paths of `TaskManager`, where this module defines it."""
    manager = getattr(module, "TaskManager", None)
    if manager is None or manager.__module__ != module.__name__:
        return
    if discovers("lm_eval.tasks"):
        return
    init = manager.__init__
    signature = inspect.signature(init)
    if not {"include_path", "include_defaults"} <= set(signature.parameters):
        raise TypeError(f"TaskManager takes {list(signature.parameters)}, not include_path")

    @functools.wraps(init)
    def init_with_our_tasks(self: Any, *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, *args, **kwargs)
        call.apply_defaults()
        given = call.arguments["include_path"]
        if call.arguments["include_defaults"]:
            call.arguments["include_path"] = [str(TASKS_DIR), *search_paths(given)]
            call.arguments["include_defaults"] = not OURS_ALONE.get()
        init(*call.args, **call.kwargs)
        self.include_path = given

    manager.__init__ = init_with_our_tasks


@contextlib.contextmanager
def ours_alone(wanted: bool) -> Iterator[None]:
    """Leave out lm-eval's own tasks for a while: reading its 14,000 files takes six seconds."""
    before = OURS_ALONE.set(wanted)
    try:
        yield
    finally:
        OURS_ALONE.reset(before)


def search_paths(include_path: str | Path | Sequence[str | Path] | None) -> list[str]:
    """Return the user's `include_path`, in any form that lm-eval takes, as a list."""
    if include_path is None:
        return []
    if isinstance(include_path, str | Path):
        return [str(include_path)]
    return [str(path) for path in include_path]


def discovers(group: str) -> bool:
    """Whether this release reads an entry-point group, and finds ours in it.

    There is no name to ask for: upstream's pull request for tasks (4015) is open. What a release
    that reads a group must hold is the group's name as a string of its own, in one of the modules
    about models or tasks. A checkout that is not installed declares nothing, so the hook serves it.
    """
    spec = importlib.util.find_spec("lm_eval")
    folders = (spec.submodule_search_locations or []) if spec else []
    name = re.compile(rf"""(["']){re.escape(group)}\1""")
    reads = any(
        name.search(path.read_text(encoding="utf-8", errors="replace"))
        for folder in folders
        for modules in ("*.py", "api/*.py", "models/__init__.py", "tasks/*.py")
        for path in Path(folder).glob(modules)
    )
    return reads and any(
        entry.value.startswith("harness_tasks")
        for entry in importlib.metadata.entry_points(group=group)
    )


def resolve_dotted_functions(utils: ModuleType) -> None:
    """Let `!function package.module.name` work in 0.4.11, which knows files beside the YAML only.

    Releases that have a YAML loader of their own keep this function without calling it.
    """
    if not hasattr(utils, "import_function"):
        return
    beside_yaml = utils.import_function

    @functools.wraps(beside_yaml)
    def import_function(loader: Any, node: Any, yaml_path: Path) -> Any:
        module_name, _, name = loader.construct_scalar(node).rpartition(".")
        if (yaml_path.parent / f"{module_name}.py").exists():
            return beside_yaml(loader, node, yaml_path)
        return getattr(importlib.import_module(module_name), name)

    setattr(utils, "import_function", import_function)  # noqa: B010 (mypy knows no such name)


def attach_hf(module: ModuleType) -> None:
    """Let `hf` tell of completions of our tasks how they ended."""
    from harness_tasks.in_process import attach, engines

    attach.attach(module.HFLM, engines.HF())


def attach_vllm(module: ModuleType) -> None:
    """Let `vllm` tell of completions of our tasks how they ended."""
    from harness_tasks.in_process import attach, engines

    attach.attach(module.VLLM, engines.VLLM())


STEPS: dict[str, Callable[[ModuleType], None]] = {
    "lm_eval.utils": resolve_dotted_functions,
    "lm_eval.models": register_model,
    "lm_eval.models.huggingface": attach_hf,
    "lm_eval.models.vllm_causallms": attach_vllm,
    "lm_eval.tasks": extend_task_manager,
    "lm_eval.tasks.manager": extend_task_manager,
}
