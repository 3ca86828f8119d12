"""Are the questions of the asked tasks there, and are they the right ones.

Owns the findings about data: each folder file is read as a run reads it, each hub copy is loaded
out of the local cache by a child process that asks no network, and where there is none the hub is
asked whether it answers. Refuses to own loading and checking rows (`docs`).

Example, without a data folder, on a machine that never loaded AIME 2024:

    warn  data_files: aime24: HuggingFaceH4/aime_2024@2fe8... is not in the cache; the hub answers
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2

from harness_tasks import catalogue, docs, plan
from harness_tasks.chat.reply import shown
from harness_tasks.doctor.finding import Check, Context, Finding, passed, skipped
from harness_tasks.sources import Source

NAME = "data_files"
WHY = "the run ends before a model is asked, or asks other questions than those of the benchmark"
# The tests of LiveCodeBench are gigabytes, which a run reads and the doctor does not.
READ_BYTES = 300 << 20
CHILD_S = 90.0
HUB_S = 10.0
# Run with the hub switched off, so that only what the cache holds can be loaded.
CHILD = """
import contextlib, io, json, sys
from harness_tasks import docs
told = {}
for source in sys.argv[1:]:
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            told[source] = docs.all_rows(source, None, None)[1].n_rows
    except Exception as wrong:
        told[source] = str(wrong) or type(wrong).__name__
print(json.dumps(told))
"""


def data_files(context: Context) -> Iterator[Finding]:
    """Look for the questions of every asked task."""
    if not context.tasks:
        yield skipped(NAME, "no tasks named: add --tasks, as in the run")
        return
    folder = plan.folder_of_data(context.data_dir, context.metadata)
    sources = sources_of(context.tasks)
    packaged = [source for source in sources if docs.SOURCES[source].packaged]
    if packaged:
        yield from in_folder(packaged, None, context.metadata)
    rest = [source for source in sources if source not in packaged]
    if rest:
        yield from in_folder(rest, folder, context.metadata) if folder else in_cache(rest)


def sources_of(tasks: Sequence[str]) -> list[str]:
    """Return the sources that the tasks ask, combined ones taken apart, each once."""
    known = catalogue.tasks()
    named = [known[task].source or "" for task in tasks]
    parts = (part for name in named for part in docs.COMBINED.get(name, (name,)))
    return list(dict.fromkeys(parts))


def in_folder(
    sources: Sequence[str], folder: str | None, metadata: Mapping[str, Any]
) -> Iterator[Finding]:
    """Read the files of a folder (or of the package), as a run does before it asks a model."""
    good, accepted = [], metadata.get("accept_sha256")
    for source in sources:
        size = size_of(source, folder)
        if size > READ_BYTES:
            good.append(f"{source} (found, {size / 1e9:.1f} GB, not read here)")
            continue
        try:
            _, info = docs.load_rows(source, folder, accepted, metadata)
        except (ValueError, OSError) as wrong:
            yield Finding(
                NAME, "fail", f"{source}: {docs.one_line(wrong)}", WHY,
                "put the file there that the message names, or give another --data-dir",
            )  # fmt: skip
        else:
            good.append(f"{source} ({info.n_rows} questions)")
    if good:
        place = f"in {folder}" if folder else "of this package"
        known = "the rows that --metadata accepts" if accepted else "the rows known here"
        yield passed(NAME, f"{', '.join(good)} {place}, {known}")


def size_of(source: str, folder: str | None) -> int:
    """Return the bytes that the files of a source take, 0 where they are not found."""
    spec = docs.SOURCES[source]
    if folder is None or spec.packaged:
        return 0
    try:
        paths = docs.find_files(source, spec, Path(folder).expanduser())
        return sum(path.stat().st_size for path in paths)
    except (ValueError, OSError):
        return 0


def in_cache(sources: Sequence[str]) -> Iterator[Finding]:
    """Load every source out of the hub's cache; where one is not in it, see if the hub answers."""
    large = [source for source in sources if docs.SOURCES[source].fetch]
    loaded: dict[str, Any] = {source: parts_in_cache(docs.SOURCES[source]) for source in large}
    loaded |= from_cache([source for source in sources if source not in large])
    good = [f"{name} ({n} questions)" for name, n in loaded.items() if isinstance(n, int)]
    if good:
        yield passed(NAME, f"{', '.join(good)} in the hub's cache")
    for name, cause in loaded.items():
        if not isinstance(cause, int):
            yield not_cached(name, docs.SOURCES[name])


def from_cache(sources: Sequence[str]) -> dict[str, Any]:
    """Return the number of rows of each source in the cache, or the reason for none."""
    if not sources:
        return {}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *sources],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"},
        capture_output=True,
        timeout=CHILD_S,
        check=False,
    )
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    if done.returncode or not lines:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ValueError(f"loading from the hub's cache ended with {done.returncode}: {said[-1]}")
    told: dict[str, Any] = json.loads(lines[-1])
    return told


def parts_in_cache(spec: Source) -> int | str:
    """Return the rows of a source of large files, where all its files are in the cache."""
    from huggingface_hub import try_to_load_from_cache

    for name in spec.parts:
        found = try_to_load_from_cache(
            str(spec.hub_id), name, revision=spec.revision, repo_type="dataset"
        )
        if not isinstance(found, str):
            return f"{name} is not in the cache"
    return spec.n_rows


def not_cached(source: str, spec: Source) -> Finding:
    """Say whether a run could download what is not in the cache."""
    from huggingface_hub import constants

    what = f"{source}: {spec.hub} is not in the hub's cache"
    where = spec.files[0] if spec.files else " + ".join(spec.parts)
    fix = f"put {where} into a folder and pass it as --data-dir (or {docs.DATA_ENV})"
    if constants.HF_HUB_OFFLINE:
        return Finding(NAME, "fail", f"{what}, and HF_HUB_OFFLINE is set", WHY, fix)
    url = f"{constants.ENDPOINT}/api/datasets/{spec.hub_id}/revision/{spec.revision}"
    try:
        status = httpx2.get(url, timeout=HUB_S, headers=hub_headers()).status_code
    except (httpx2.HTTPError, OSError) as fault:
        cause = f"{constants.ENDPOINT} cannot be reached ({shown(str(fault))})"
        return Finding(NAME, "fail", f"{what}, and {cause}", WHY, fix)
    if status != 200:
        cause = f"{constants.ENDPOINT} answers HTTP {status} for it"
        fix = f"log in (HF_TOKEN) where it is gated, or {fix}"
        return Finding(NAME, "fail", f"{what}, and {cause}", WHY, fix)
    return Finding(
        NAME, "warn", f"{what}; {constants.ENDPOINT} answers, a run downloads it",
        "a download that fails in the middle of the night ends the run before it begins",
        f"run once with --limit 1, which loads it; or {fix}",
    )  # fmt: skip


def hub_headers() -> dict[str, str]:
    """Return the user's token for the hub, as the hub's own client sends it."""
    from huggingface_hub import get_token

    token = get_token()
    return {"authorization": f"Bearer {token}"} if token else {}


CHECKS = (Check(NAME, data_files, needs="nothing"),)
