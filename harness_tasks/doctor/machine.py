"""What this machine must have for days of work: disk, file descriptors, the tested versions.

Owns the findings about them and the estimate of what a run writes. Refuses to own the server (other
checks), the sandbox (`code_runs`) and the questions (`data_files`).

Example, a full disk:

    fail  disk_space: 0.0 GB free for /data/runs, this run may write 0.3 GB
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness_tasks import catalogue, docs, plan, plugin
from harness_tasks.chat.descriptors import make_room
from harness_tasks.doctor.finding import Check, Context, Finding, passed

DISK, DESCRIPTORS, VERSIONS = "disk_space", "file_descriptors", "versions"
DISTRIBUTION = "distill-eval"
# Bytes that a token of a completion takes in all: four characters, once in the store, twice in
# lm-eval's samples file, once in the proxy's log, with what stands around them.
BYTES_PER_TOKEN = 20
LEAST_BYTES = 200_000_000
# Completions are seldom as long as they may be: a fourth of the most is what a run needs.
USUAL_PART = 4
FEWEST_FILES = 1_000
# The import hook that the package's .pth installs, before and after lm-eval is imported.
FINDERS = (plugin.AUTOLOAD_FINDER, plugin.LmEvalFinder.__name__)
LM_EVAL_TRIED = ("0.4.11", "0.4.12", "0.4.13")


def disk_space(context: Context) -> Iterator[Finding]:
    """See whether what a run writes finds room, where a run writes."""
    folder = existing(plan.RUNS_DIR.absolute())
    refused = write_refused(folder)
    if refused:
        yield Finding(
            DISK, "fail", f"nothing can be written below {folder}: {refused}",
            "every completion is written when it is there; none would be kept",
            "run in another folder, or name one with --output_path",
        )  # fmt: skip
        return
    free, wanted = shutil.disk_usage(folder).free, bytes_of_run(context)
    inodes = os.statvfs(folder)
    if inodes.f_files and inodes.f_favail < FEWEST_FILES:
        yield Finding(
            DISK, "fail", f"{inodes.f_favail} more files fit below {folder} (no inodes left)",
            "lm-eval and the proxy open new files as a run goes on",
            "delete small files there, or run in another folder",
        )  # fmt: skip
        return
    told = f"{gigabytes(free)} free below {folder}, {amount(context, wanted)}"
    if free >= wanted:
        yield passed(DISK, told)
        return
    yield Finding(
        DISK, "fail" if free < wanted / USUAL_PART else "warn", told,
        "a disk that fills up ends the run; completions after that are lost",
        f"free {gigabytes(wanted - free)} there, or run in another folder",
    )  # fmt: skip


def existing(path: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def write_refused(folder: Path) -> str:
    """Try to write a file; return why that fails, "" where it does not."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".distill-eval-doctor-") as file:
            file.write(b"\n" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as refused:
        return docs.one_line(refused)
    return ""


def bytes_of_run(context: Context) -> int:
    """Return what a run writes at most, each completion being as long as max_tokens allows."""
    known = catalogue.tasks() if context.tasks else {}
    n_docs = sum(known[name].n_docs for name in context.tasks)
    n_samples = n_docs * context.n_samples
    return max(LEAST_BYTES, n_samples * context.max_tokens * BYTES_PER_TOKEN)


def amount(context: Context, wanted: int) -> str:
    if not context.tasks:
        return f"at least {gigabytes(wanted)} should be"
    n = "one completion" if context.n_samples == 1 else f"{context.n_samples} completions"
    return f"{n} for each question of these tasks at most fill {gigabytes(wanted)}"


def gigabytes(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.1f} GB"


def file_descriptors(context: Context) -> Iterator[Finding]:
    """Make room for as many connections as requests are to be under way, as a run does."""
    n = context.num_concurrent
    try:
        make_room(n)
    except ValueError as refused:
        yield Finding(
            DESCRIPTORS, "fail", str(refused),
            "the run ends before it asks anything",
            "a lower --num-concurrent, or a higher hard limit (limits.conf, LimitNOFILE= of a "
            "service, --ulimit nofile= of a container)",
        )  # fmt: skip
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = "any number" if soft == resource.RLIM_INFINITY else str(soft)
    yield passed(DESCRIPTORS, f"num_concurrent={n} has room ({allowed} may be open at once)")


def versions(context: Context) -> Iterator[Finding]:
    """See whether what is installed is what this suite needs and was tried with."""
    wrong = list(unmet(DISTRIBUTION))
    if wrong:
        yield Finding(
            VERSIONS, "fail", "; ".join(wrong),
            "another release grades or asks differently, or breaks in the middle of a run",
            "pip install --upgrade --constraint constraints.txt distill-eval, in an environment of "
            "its own",
        )  # fmt: skip
    lm_eval = importlib.metadata.version("lm_eval")
    told = f"distill-eval {importlib.metadata.version(DISTRIBUTION)}, lm-eval {lm_eval}"
    if lm_eval not in LM_EVAL_TRIED:
        yield Finding(
            VERSIONS, "warn", f"{told}, which this suite was not tried with",
            "how it finds our model and tasks may have changed",
            f"install one of {', '.join(LM_EVAL_TRIED)}, or try `--limit 2` first",
        )  # fmt: skip
    elif not wrong:
        yield passed(VERSIONS, f"{told}, Python {platform.python_version()}; all requirements met")
    if not any(type(finder).__name__ in FINDERS for finder in sys.meta_path):
        yield Finding(
            VERSIONS, "warn", "plain `lm_eval` finds neither local-chat nor our tasks here",
            "it ends with an unknown model; `distill-eval run` brings them itself",
            "install this package by pip, and leave DISTILL_EVAL_NO_AUTOLOAD unset",
        )  # fmt: skip


def unmet(distribution: str, extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the requirements of a distribution, and of the extras it names, that are not met."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires(distribution) or ():
        wanted = Requirement(line)
        if wanted.marker and not any(
            wanted.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        ):
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{wanted.name} is not installed, {distribution} needs {wanted}"
            continue
        if not wanted.specifier.contains(found, prereleases=True):
            yield f"{wanted.name} {found} is installed, {distribution} needs {wanted}"
        if wanted.extras:
            yield from unmet(wanted.name, frozenset(wanted.extras))


CHECKS = (
    Check(DISK, disk_space, needs="nothing"),
    Check(DESCRIPTORS, file_descriptors, needs="nothing"),
    Check(VERSIONS, versions, needs="nothing"),
)
