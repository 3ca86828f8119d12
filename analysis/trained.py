"""How a model was trained, where the folder that it was served from tells.

Owns which settings of a training run are confounds of a comparison: arms that differ in them differ
in more than their data. Refuses to own the rest of a training run's files (`training`). A model's
name is looked up as a path: RUN, RUN/checkpoints/... or RUN/merged with RUN/config.yaml above it.

    settings_of(["runs/sft-r1/checkpoints/step-000100"])    # {"learning_rate": "2e-05", ...}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

CONFIG = "config.yaml"
CONFOUNDS = (
    *("learning_rate", "lr_scheduler_type", "warmup_ratio", "num_train_epochs", "max_steps"),
    *("batch_size", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length"),
    *("optim", "weight_decay", "model_path", "lora_rank", "lora_alpha", "lora_dropout", "beta"),
)
LEVELS = 4  # folders above the model's own that are looked at
LARGEST_BYTES = 1024 * 1024
MOST_NAMED = 8


def settings_of(models: Iterable[str]) -> dict[str, str]:
    """Return the settings of the training run whose folder one of the names is, {} for none."""
    for name in models:
        config = config_above(Path(name)) if name.strip("./") else {}
        if config:
            flat = flattened(config)
            return {key: flat[key] for key in CONFOUNDS if key in flat}
    return {}


def confounds(models: Mapping[str, Iterable[str]]) -> list[str]:
    """Say in which settings of their training some runs differ, by the names of their models."""
    trained = {run: settings_of(names) for run, names in models.items()}
    settings = dict.fromkeys(name for told in trained.values() for name in told)
    return differences_of(
        {
            name: {run: told[name] for run, told in trained.items() if name in told}
            for name in settings
        }
    )


def config_above(path: Path) -> dict[str, Any]:
    """Return the configuration in a folder or in one of those above it, {} where there is none."""
    import yaml

    try:
        if not path.is_dir():
            return {}
        for folder in [path, *path.resolve().parents][:LEVELS]:
            file = folder / CONFIG
            if file.is_file() and file.stat().st_size <= LARGEST_BYTES:
                told = yaml.safe_load(file.read_text(encoding="utf-8"))
                return told if isinstance(told, dict) else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}  # a model's name may look like any path, and it is not what was asked for
    return {}


def flattened(config: dict[str, Any]) -> dict[str, str]:
    """Return the plain values of a configuration by name, `lora: {rank: 8}` as lora_rank."""
    parts = {key: value for key, value in config.items() if isinstance(value, dict)}
    inner = {f"{key}_{name}": value for key, part in parts.items() for name, value in part.items()}
    return {
        str(name): str(value)
        for name, value in {**config, **inner}.items()
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    }


def differences_of(values: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a line for each setting in which runs differ, with the runs of each value.

    `values` has each run's value by the setting's name.
    """
    told = []
    for name, by_run in values.items():
        if len(set(by_run.values())) < 2 or len(set(by_run.values())) == len(by_run) > MOST_NAMED:
            continue
        runs: dict[str, list[str]] = {}
        for run, value in by_run.items():
            runs.setdefault(value, []).append(run)
        listed = "; ".join(
            f"{value} ({', '.join(names[:MOST_NAMED])})" for value, names in runs.items()
        )
        told.append(f"the runs also differ in {name}: {listed}")
    return told
