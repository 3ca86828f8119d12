"""What tasks there are, read from their YAML without lm-eval: for `distill-eval tasks` and `run`.

Owns the list of our tasks and groups, and what is shown of each. Refuses to own the rows (`docs`)
and the loading of a task (lm-eval). Importing it loads neither lm_eval nor datasets.

Example: `tasks()["distill_math500"].n_docs` is 500.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from harness_tasks import docs, tiers

TASKS_DIR = Path(__file__).parent / "tasks"
HEADLINE = "score"


@dataclass(frozen=True)
class TaskInfo:
    """One task, or a group: then `members` names its tasks and groups and `source` is None."""

    name: str
    version: str
    n_docs: int
    metric: str
    source: str | None
    path: Path
    members: tuple[str, ...] = ()


class Tasks(dict[str, TaskInfo]):
    """Tasks and groups by name; `tasks()["distill_gsm8k_r3"]` is gsm8k asked in a tier.

    Such names are not listed, since every task has six of them; `name in tasks()` and `get` know
    those that are.
    """

    def __missing__(self, name: str) -> TaskInfo:
        """Return a task that `--tiers` asks.

        Raises:
            KeyError: no task of ours, in a tier or not.
        """
        task, tier = tiers.parts_of(name)
        plain = self.get(task) if tier else None
        if plain is None or plain.source is None:
            raise KeyError(name)
        return replace(plain, name=name)

    def knows(self, name: str) -> bool:
        """Tell whether a name is a task or group of ours, or a task asked in a tier."""
        try:
            return bool(self[name])
        except KeyError:
            return False


class TaskLoader(yaml.SafeLoader):
    """Reads task YAML and leaves `!function` references as text."""


def as_text(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    return str(node.value)


TaskLoader.add_constructor("!function", as_text)


def tasks(folder: Path = TASKS_DIR) -> Tasks:
    """Return our tasks and groups by name, tasks first."""
    configs = {
        path: read_config(path)
        for path in sorted(folder.rglob("*.yaml"))
        if not path.name.startswith("_")
    }
    found = Tasks()
    for path, config in configs.items():
        if "group" not in config:
            source = config["dataset_kwargs"]["source"]
            version = str(config["metadata"]["version"])
            metric = config["metric_list"][0]["metric"]
            found[config["task"]] = TaskInfo(
                config["task"], version, n_docs(source), metric, source, path
            )
    groups = {
        config["group"]: TaskInfo(
            config["group"], str(config["metadata"]["version"]), 0, HEADLINE, None, path,
            tuple(config["task"]),
        )
        for path, config in configs.items()
        if "group" in config
    }  # fmt: skip
    for name, group in sorted(groups.items()):
        size = sum(found[task].n_docs for task in leaves(name, groups))
        found[name] = replace(group, n_docs=size)
    return found


def leaves(name: str, known: Mapping[str, TaskInfo]) -> list[str]:
    """Return the tasks of a group, those of the groups in it included; a task is its own."""
    members = known[name].members if name in known else ()
    if not members:
        return [name]
    return list(dict.fromkeys(leaf for member in members for leaf in leaves(member, known)))


def read_config(path: Path) -> dict[str, Any]:
    """Read one task YAML with what it includes; the file's own keys win."""
    config: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=TaskLoader)
    included = config.pop("include", None)
    return {**read_config(path.parent / included), **config} if included else config


def n_docs(source: str) -> int:
    return sum(docs.SOURCES[part].n_rows for part in docs.COMBINED.get(source, (source,)))


def data_origin(source: str, data_dir: str | None) -> str:
    """Return where a run would take the rows from: files of the folder, hub data set, or package.

    Raises:
        ValueError: the folder does not hold exactly one file for the source.
    """
    parts = docs.COMBINED.get(source, (source,))
    specs = [docs.SOURCES[part] for part in parts]
    if data_dir is None or any(spec.packaged for spec in specs):
        return " + ".join(spec.hub for spec in specs)
    folder = Path(data_dir).expanduser()
    found = [docs.find_files(part, spec, folder) for part, spec in zip(parts, specs, strict=True)]
    return " + ".join(docs.named(paths) for paths in found)


def matching(wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Sort task names, groups and globs into names of our tasks and those that are not ours."""
    known = tasks()
    ours: dict[str, None] = {}
    others = []
    for name in wanted:
        hits = [task for task in known if fnmatchcase(task, name)]
        hits = hits or [name] * known.knows(name)
        if not hits:
            others.append(name)
        for hit in hits:
            ours.update(dict.fromkeys(leaves(hit, known)))
    return list(ours), others


def close_matches(name: str, known: Iterable[str]) -> list[str]:
    """Return up to three names that `name` may have been meant as."""
    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)
