"""The documentation says what the code does: options, settings, links, commands, evidence."""

from __future__ import annotations

import dataclasses
import functools
import gzip
import importlib
import json
import re
import shlex
import typing
from pathlib import Path
from typing import Any

import click
import pytest

from docs.generate.__main__ import MAKERS, main, stale
from docs.generate.catalogue import EXPERIMENTAL, MATCHES, entry_of, evidence, state_of
from docs.generate.commands import PROGRAMS, commands
from docs.generate.pages import names, renewed
from docs.generate.schemas import check, fields_of, words
from harness_tasks import catalogue
from harness_tasks.doctor.checks import CHECKS
from tests.conftest import REPO, SHARED, needs_shared
from tests.harness_tasks.coding import test_evalplus_published as evalplus
from tests.harness_tasks.ifeval import test_published as ifeval
from tests.harness_tasks.test_published_verdicts import DISAGREEMENTS

DOCS = REPO / "docs"
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}
README = (REPO / "README.md").read_text(encoding="utf-8")
BY_HAND = "\n".join(text for name, text in PAGES.items() if name != "commands.md")
EVERY = [(name, command) for program in PROGRAMS for name, command in commands(program)]
TYPED_FROM = (
    "README.md", "demo/README.md", "demo/run.py", *(f"docs/{name}" for name in PAGES)
)  # fmt: skip
# Checks of the doctor that find nothing that a reader could have seen as a symptom.
NO_SYMPTOM = {"versions", "retries"}
ROOMS = ("harness_tasks", "proxy", "training", "analysis", "docs", "tests", "demo")
WORD = re.compile(r"\w+").findall
# The pages by hand that tell the options of each program.
OPTIONS_OF = {
    "distill-eval": ("tasks.md", "running.md", "doctor.md"),
    "distill-proxy": ("proxy.md", "exchange_log.md"),
    "distill-train": ("bank.md", "traces.md", "sft.md", "grpo.md", "checkpoints.md"),
    "distill-report": ("reports.md", "tables.md", "judge.md"),
}
# Where the settings of a file or of a model stand, the classes in them included.
SETTINGS = {
    "local_chat.md": "harness_tasks.chat.settings.Settings",
    "traces.md": "training.traces.settings.TracesSettings",
    "sft.md": "training.sft.settings.SftSettings",
    "grpo.md": "training.grpo.settings.GrpoSettings",
}
SHARED_SETTINGS = {"grpo.md": "sft.md"}  # `model.` and `lora.` mean the same there
# Flags of lm_eval itself that the pages show; tests/harness_tasks/test_cli.py runs them.
OF_LM_EVAL = {
    "--model", "--model_args", "--tasks", "--output_path", "--log_samples", "--metadata", "--limit",
    "--gen_kwargs", "--include_path", "--samples", "--apply_chat_template", "--config", "--seed",
    "--confirm_run_unsafe_code", "--use_cache", "--system_instruction", "--batch_size",
}  # fmt: skip
# Flags of other programs: inference servers, containers, accelerate, the tests' recorded server.
OF_OTHERS = {
    "--alias", "--parallel", "--reasoning", "--embeddings", "--lora", "--host", "--port", "--help",
    "--max-model-len", "--served-model-name", "--reasoning-parser", "--chat-template",
    "--enable-lora", "--lora-modules", "--max-lora-rank", "--generation-config",
    "--override-generation-config", "--max-num-batched-tokens", "--enforce-eager", "--end_date",
    "--cap-add", "--security-opt", "--config_file", "--multi_gpu", "--num_processes",
    "--completions", "--chunk-chars", "--delay-ms", "--form", "--fill", "--listen", "--dtype",
    "--device", "--cache_requests", "--predict_only",
}  # fmt: skip
VALUE = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:e-?\d+)?")


def test_the_blocks_that_are_read_from_the_code_are_current() -> None:
    assert [str(path.relative_to(REPO)) for path in stale()] == [], "run `make docs`"


def test_every_block_stands_on_a_page() -> None:
    assert sorted(name for text in [*PAGES.values(), README] for name in names(text)) == sorted(
        MAKERS
    )


def test_a_page_that_says_something_else_is_stale(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(MAKERS, "groups", lambda: "another table")
    assert main(["--check"]) == 1
    assert "docs/catalogue.md: not current" in capsys.readouterr().out


def test_a_block_without_an_end_or_a_maker_is_an_error() -> None:
    begin, end = "<!-- made by `make docs`: x -->\n", "<!-- end: x -->"
    assert renewed(f"a\n{begin}{end}\nb", {"x": lambda: "|"}) == f"a\n{begin}\n|\n\n{end}\nb"
    with pytest.raises(ValueError, match="begun and not ended"):
        renewed(begin, {"x": str})
    with pytest.raises(ValueError, match="no block is called 'x'"):
        renewed(begin + end, {"y": str})


def test_a_field_without_words_is_an_error() -> None:
    with pytest.raises(ValueError, match="no docstring below count"):
        fields_of(Bare)
    with pytest.raises(ValueError, match="manifest: written and not told: b"):
        check("manifest", ["a", "b"], ["a", "c"])


def test_no_field_is_told_that_nobody_writes() -> None:
    sources = [path.read_text("utf-8") for path in (REPO / "harness_tasks").rglob("*.py")]
    told = {field for fields in words().values() for field in fields}
    assert [field for field in sorted(told) if not any(f'"{field}"' in s for s in sources)] == []


@dataclasses.dataclass
class Bare:
    """A record of which one field is not told."""

    name: str
    """Its name."""
    count: int


@pytest.mark.parametrize(("name", "command"), EVERY, ids=[name for name, _ in EVERY])
def test_every_option_is_told_by_hand_as_well(name: str, command: click.Command) -> None:
    """`commands.md` lists all; what an option is good for stands on a page that a person wrote."""
    text = "\n".join(PAGES[page] for page in OPTIONS_OF[name.split()[0]])
    assert re.search(rf"{name}\b", text), name
    flags = (flag for option in command.params for flag in option.opts if flag.startswith("--"))
    assert [flag for flag in flags if f"`{flag}" not in text and flag != "--version"] == []


def classes_in(kind: Any) -> list[type[Any]]:
    """Return a dataclass with those that its fields hold, at any depth."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return [found for part in typing.get_args(kind) for found in classes_in(part)]
    module = vars(importlib.import_module(kind.__module__))
    hints = typing.get_type_hints(kind, module).values()
    return [kind, *(found for hint in hints for found in classes_in(hint))]


@pytest.mark.parametrize("page", SETTINGS)
def test_every_setting_is_on_its_page(page: str) -> None:
    module, _, name = SETTINGS[page].rpartition(".")
    kinds = classes_in(getattr(importlib.import_module(module), name))
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    assert len(fields) > 15
    text = PAGES[page] + PAGES.get(SHARED_SETTINGS.get(page, ""), "")
    told = re.findall(r"`(?:[\w.]*\.)?(\w+)", text)
    assert sorted(fields - set(told)) == []


@pytest.mark.parametrize("page", SETTINGS)
def test_the_default_that_a_page_tells_is_that_of_the_code(page: str) -> None:
    """Numbers and yes or no; a default in words is the reader's to judge."""
    module, _, name = SETTINGS[page].rpartition(".")
    defaults: dict[str, list[Any]] = {}
    for kind in classes_in(getattr(importlib.import_module(module), name)):
        for field in dataclasses.fields(kind):
            defaults.setdefault(field.name, []).append(field.default)
    rows = re.findall(r"^\| `(\w+)` \| `?([\w.-]+)`?(?: \*ours\*)? \|", PAGES[page], re.MULTILINE)
    told = [(field, json.loads(cell)) for field, cell in rows if VALUE.fullmatch(cell)]
    assert len(told) > 5
    assert [(f, value) for f, value in told if f in defaults and value not in defaults[f]] == []


def test_the_doctors_page_tells_every_check_in_its_order() -> None:
    table = PAGES["doctor.md"].partition("## What is checked")[2]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert told == [check.name for check in CHECKS]


@pytest.mark.parametrize("name", [*PAGES, "../README.md"])
def test_no_page_tells_a_flag_or_a_task_that_is_not_there(name: str) -> None:
    text = (DOCS / name).read_text(encoding="utf-8")
    ours = {flag for _, command in EVERY for option in command.params for flag in
            (*option.opts, *option.secondary_opts)}  # fmt: skip
    flags = set(re.findall(r"(?<![\w#-])(--[a-z][\w-]*)", text))
    assert sorted(flags - ours - OF_LM_EVAL - OF_OTHERS) == []
    tasks = set(re.findall(r"\bdistill_(?!proxy_)[a-z]\w*", text))
    assert sorted(tasks - task_names()) == []


@functools.cache
def task_names() -> set[str]:
    """Return the tasks, the tiers of each, and the one that adding_a_task.md adds."""
    tasks = catalogue.tasks()
    tiers = {f"{task}_r{tier}" for task in tasks for tier in range(1, 7)}
    return {*tasks, *tiers, "distill_capitals"}


def test_every_variable_of_the_environment_is_told() -> None:
    packages = ("harness_tasks", "proxy", "training", "analysis")
    files = [path for package in packages for path in (REPO / package).rglob("*.py")]
    used = {
        name
        for path in files
        for name in re.findall(r"\"(DISTILL_[A-Z_]+)\"", path.read_text(encoding="utf-8"))
    }
    assert used
    assert sorted(name for name in used if name not in BY_HAND) == []


@pytest.mark.parametrize("name", ["README.md", *(f"docs/{name}" for name in PAGES)])
def test_every_link_leads_somewhere(name: str) -> None:
    text = (REPO / name).read_text(encoding="utf-8")
    folder = (REPO / name).parent
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", text):
        path = folder / target if target else REPO / name
        assert path.exists(), f"{name} links {target}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), f"{name} links {target}#{anchor}"


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page are called in a link, as GitHub does it."""
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_page_is_in_the_index() -> None:
    index = PAGES["README.md"]
    assert [name for name in PAGES if name != "README.md" and f"({name})" not in index] == []


def typed(text: str) -> list[list[str]]:
    """Return the commands of a page, on a line or in a sentence, as a shell splits them.

    In a sentence those of lm_eval are left out: it may have been cut short there.
    """
    lines = re.findall(
        r"^(?: {4}|)(?:\$ )?((?:distill-[a-z]+|lm_eval) [^\n]*)$",
        re.sub(r"\\\n\s*", " ", code_of(text)),
        re.MULTILINE,
    )
    within = re.findall(r"(?<!`)`((?:distill-[a-z]+) [a-z][^`\n]*)`", text)
    return [shlex.split(line.removesuffix("&"), comments=True) for line in [*lines, *within]]


def code_of(text: str) -> str:
    """Return what a page sets as code: fenced blocks, and lines that are indented by four."""
    fenced = re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^ *```\w*\n.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*fenced, *re.findall(r"^ {4}.*$", rest, re.MULTILINE)])


@pytest.mark.parametrize("name", TYPED_FROM)
def test_every_command_of_a_page_can_be_typed(name: str) -> None:
    for program, *rest in typed((REPO / name).read_text(encoding="utf-8")):
        flags = {word.split("=")[0] for word in rest if re.match(r"--[a-z]", word)}
        of_lm_eval = OF_LM_EVAL if program == "lm_eval" or rest[:1] == ["run"] else set()
        if program in PROGRAMS:
            command = PROGRAMS[program]
            if isinstance(command, click.Group) and rest and rest[0] in command.commands:
                command = command.commands[rest[0]]
            elif isinstance(command, click.Group) and not command.invoke_without_command:
                assert rest[0].startswith("-"), f"{name}: {program} {rest[0]} is no command"
            flags -= {flag for option in command.params for flag in option.opts} | {"--help"}
        assert flags <= of_lm_eval, f"{name}: {program} {shlex.join(rest)}"


def test_the_guide_for_those_who_change_the_code_is_short_and_names_files_that_exist() -> None:
    lines = (REPO / "AGENTS.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert max(map(len, lines)) <= 140
    names = set(re.findall(r"`([\w/]+\.(?:py|pth|jsonl))`", "\n".join(lines)))
    files = [
        str(path.relative_to(REPO)) for package in ROOMS for path in (REPO / package).rglob("*")
    ]
    assert sorted(n for n in names if not any(f"/{file}".endswith(f"/{n}") for file in files)) == []


def test_every_make_target_of_the_pages_exists() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([\w-]+)[`\s]|^ *make ([\w-]+)", README + BY_HAND, re.M))
    for target in {first or second for first, second in targets}:
        assert f"\n{target}:" in makefile, target


def test_troubleshooting_begins_with_every_doubt_of_a_report_and_uses_every_check() -> None:
    page = PAGES["troubleshooting.md"]
    doubts = set(re.findall(r"^\| `([\w-]+)` \| (?:stop|warn|info)", PAGES["reports.md"], re.M))
    assert len(doubts) > 12
    assert sorted(kind for kind in doubts if f"[{kind}]" not in page) == []
    checks = {check.name for check in CHECKS} - NO_SYMPTOM
    assert sorted(name for name in checks if f"`{name}`" not in page) == []
    named = {name for row in re.findall(r"doctor ((?:`\w+`(?:, )?)+)", page) for name in WORD(row)}
    assert sorted(named - {check.name for check in CHECKS}) == []


def test_every_task_has_a_state() -> None:
    for info in catalogue.tasks().values():
        assert state_of(info.name) in (MATCHES, EXPERIMENTAL)
        assert entry_of(info.name)["why"] or entry_of(info.name)["runs"]


def test_the_evidence_is_of_tasks_and_tests_that_exist() -> None:
    known = catalogue.tasks()
    told = [task for entry in evidence() for task in entry["tasks"]]
    assert len(told) == len(set(told))
    assert set(told) <= set(known)
    for entry in evidence():
        assert entry["state"] in (MATCHES, EXPERIMENTAL)
        assert (entry["state"] == MATCHES) == bool(entry["runs"]), entry["tasks"]
        assert (REPO / entry["test"]).is_file()


@needs_shared
@pytest.mark.parametrize("task", [t for e in evidence() if e["runs"] for t in e["tasks"]])
def test_the_evidence_is_what_the_published_files_and_the_named_test_say(task: str) -> None:
    """The named test holds that single verdicts differ as it lists, and in no other place."""
    for run in entry_of(task)["runs"]:
        n, published, moved, differ = counted(task, run["file"])
        found = {"n": n, "published": published, "ours": published + moved, "differ": differ}
        assert {name: run[name] for name in found} == found, run["file"]


def counted(task: str, file: str) -> tuple[int, int, int, int]:
    """Return n, the published count, by how much ours is above it, and how many differ."""
    outputs = SHARED / "data" / "outputs"
    if file in DISAGREEMENTS:
        rows = lines_of(outputs / f"{file}.jsonl.gz")
        listed = DISAGREEMENTS[file].values()
        moved = sum((ours == "correct") - published for published, ours, _ in listed)
        return len(rows), sum(bool(row["score"][0]) for row in rows), moved, len(listed)
    if task == "distill_ifeval":
        return of_ifeval(file, outputs)
    return of_evalplus(task, file, outputs)


def of_ifeval(file: str, outputs: Path) -> tuple[int, int, int, int]:
    """Count prompts of which every instruction is followed, and instructions that differ."""
    rows = lines_of(outputs / f"{file}.eval_results_strict.jsonl.gz")
    listed = ifeval.DIFFERENCES[file.partition("__")[2]]
    published = sum(row["follow_all_instructions"] for row in rows)
    totals = dict(ifeval.test_prompt_level_totals.pytestmark[0].args[1])
    ours = totals[file.partition("__")[2]][0]
    return len(rows), published, ours - published, len(listed)


def of_evalplus(task: str, file: str, outputs: Path) -> tuple[int, int, int, int]:
    """Count the answers that pass base and plus inputs, on the tasks that the suite has."""
    source = task.removeprefix("distill_")
    ids = {row["id"] for row in evalplus.docs.load_rows(source, str(evalplus.BENCHMARKS))[0]}
    whole = json.loads(gzip.decompress((outputs / f"{file}_eval_results.json.gz").read_bytes()))
    passed = {
        task_id: all(row[f"{part}_status"] == "pass" for part in ("base", "plus"))
        for task_id, (row,) in whole["eval"].items()
        if task_id in ids
    }
    size = next(name for name in evalplus.MODELS if f"-{name}-" in file)
    listed = [
        (theirs, ours)
        for task_id, (models, theirs, ours, _) in evalplus.EXPLAINED.items()
        if size in models and task_id in ids
    ]
    moved = sum(ours[1] - theirs[1] for theirs, ours in listed)
    return len(passed), sum(passed.values()), moved, len(listed)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a compressed file."""
    with gzip.open(path, "rt", encoding="utf-8") as rows:
        return [json.loads(line) for line in rows]
