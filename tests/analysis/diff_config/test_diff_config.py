"""`distill-report diff-config`: the rules of `compare`, on samples and on what runs recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from analysis.cli import cli
from analysis.rules import EFFECTS, EXPLAINS, FORBIDS, KINDS, MEANT, RULES
from proxy.exchange import to_line
from tests.analysis.runs import TIME, exchange, foreign_row, our_row, pair_of_runs, write_run
from tests.conftest import REPO, SHARED, needs_shared

ROWS = [foreign_row(0, 1.0), foreign_row(1, 0.0)]
MANIFEST: dict[str, Any] = {
    "schema": 1,
    "run": "base",
    "status": "finished",
    "suite_version": "0.1.0",
    "lm_eval_version": "0.4.13",
    "settings": {"model": "local-chat", "model_args": {}, "repeats": None},
    "tasks": {
        "quiz": {
            "version": 1.0,
            "dataset": {"sha256": "abc", "revision": "r"},
            "prompt_sha256": "p",
            "n_docs": 2,
            "repeats": 1,
            "sampling": {"temperature": 0.6},
        }
    },
    "sampling": {"temperature": 0.6},
    "model": {"requested": "m", "served": "m", "base_url": "http://127.0.0.1:1/v1"},
    "server": {"kind": "vllm", "version": "0.10"},
}
Change = Callable[[dict[str, Any]], None]


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def told(*arguments: str | Path) -> dict[str, Any]:
    done = invoke("diff-config", *arguments, "--json")
    assert done.exit_code in (0, 1), done.output
    found: dict[str, Any] = json.loads(done.output)
    assert done.exit_code == (0 if found["comparable"] else 1)
    return found


def manifests(folder: Path, change: Change) -> tuple[Path, Path]:
    """Write a manifest and a changed copy of it, without any samples."""
    paths = folder / "a.json", folder / "b.json"
    for path, edit in zip(paths, (lambda one: None, change), strict=True):
        content = json.loads(json.dumps(MANIFEST))
        edit(content)
        path.write_text(json.dumps(content), encoding="utf-8")
    return paths


def setting(*keys: str, to: Any) -> Change:
    """Return a change of one value in a manifest."""

    def change(content: dict[str, Any]) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


OF_TASK = ("tasks", "quiz")
CHANGES: list[tuple[Change, str, str]] = [
    (setting(*OF_TASK, "dataset", "sha256", to="def"), "docs", "sha256 of the data set's rows"),
    (setting(*OF_TASK, "n_docs", to=3), "docs", "number of questions: baseline 2, candidate 3"),
    (setting("settings", "samples", to={"quiz": [0, 5]}), "docs", "chosen by --samples"),
    (setting(*OF_TASK, "prompt_sha256", to="q"), "prompts", "sha256 of all prompts"),
    (setting("settings", "model_args", "system_prompt", to="Hm"), "prompts", "system_prompt"),
    (setting("settings", "system_instruction", to="Hm"), "prompts", "system_instruction"),
    (setting(*OF_TASK, "tier", to="r3"), "prompts", 'reasoning: baseline null, candidate "r3"'),
    (setting(*OF_TASK, "version", to=2.0), "graders", "task version"),
    (setting(*OF_TASK, "sampling", "top_p", to=0.9), "sampling", "top_p: baseline not sent"),
    (setting(*OF_TASK, "repeats", to=4), "sampling", "completions of a question: baseline 1"),
    (setting("retried", to={"truncated": {"max_tokens": 9, "n_samples": 1}}), "retried", "9"),
]


@pytest.mark.parametrize(("change", "kind", "text"), CHANGES)
def test_two_manifests_alone_tell_each_kind_of_difference_that_forbids(
    tmp_path: Path, change: Change, kind: str, text: str
) -> None:
    paths = manifests(tmp_path, change)
    found = told(*paths)
    (difference,) = found["differences"]
    assert (difference["effect"], difference["kind"]) == (FORBIDS, kind)
    assert text in difference["text"]
    assert difference["why"] == RULES[difference["rule"]].why
    assert found["allow"] == [kind]
    assert told(*paths, "--allow", kind)["comparable"]
    shown = invoke("diff-config", *paths)
    assert shown.exit_code == 1
    assert f"to compare them all the same: --allow {kind}" in " ".join(shown.output.split())


@pytest.mark.parametrize(
    ("change", "effect", "kind"),
    [
        (setting("server", to={"kind": "llama.cpp", "version": "b1"}), EXPLAINS, "server"),
        (setting("lm_eval_version", to="0.4.11"), EXPLAINS, "versions"),
        (setting("settings", "model_args", "dtype", to="float16"), EXPLAINS, "model args"),
        (setting("status", to="killed"), EXPLAINS, "status"),
        (setting("tasks", "more", to={}), EXPLAINS, "tasks"),
        (setting("retried", to={"errors": {"n_samples": 2}}), EXPLAINS, "requests"),
        (setting("model", "served", to="other"), MEANT, "model"),
        (setting("settings", "model_args", "seed", to=7), MEANT, "seed"),
    ],
)
def test_other_differences_are_told_and_forbid_nothing(
    tmp_path: Path, change: Change, effect: str, kind: str
) -> None:
    found = told(*manifests(tmp_path, change))
    assert found["comparable"]
    assert [(one["effect"], one["kind"]) for one in found["differences"]] == [(effect, kind)]


def test_equal_manifests_differ_in_nothing(tmp_path: Path) -> None:
    paths = manifests(tmp_path, lambda one: None)
    assert told(*paths)["differences"] == []
    assert invoke("diff-config", *paths).output.endswith("Comparable: nothing forbids it.\n")


def test_both_arms_asked_again_alike_are_comparable_and_unlike_are_not(tmp_path: Path) -> None:
    def retried(limit: int) -> Change:
        return setting("retried", to={"truncated": {"max_tokens": limit, "n_samples": limit}})

    def both(content: dict[str, Any], limit: int) -> None:
        retried(limit)(content)

    first, second = manifests(tmp_path, retried(9))
    content = json.loads(first.read_text(encoding="utf-8"))
    for limit, comparable in ((9, True), (12, False)):
        both(content, limit)
        first.write_text(json.dumps(content), encoding="utf-8")
        assert told(first, second)["comparable"] is comparable


@pytest.mark.parametrize(
    ("retried", "of_task", "refused"),
    [
        ({"truncated": {"max_tokens": 9, "tasks": ["quiz"]}}, None, True),
        ({"truncated": {"max_tokens": 9, "tasks": ["other"]}}, None, False),
        ({"truncated": {"max_tokens": 9, "tasks": ["other"]}}, {"retried": None}, False),
        (None, {"retried": {"truncated": {"max_tokens": 9}, "replaced": ["old"]}}, True),
    ],
)
def test_a_task_counts_as_asked_again_where_its_own_entry_says_so(
    tmp_path: Path, retried: Any, of_task: dict[str, Any] | None, refused: bool
) -> None:
    def change(content: dict[str, Any]) -> None:
        content["retried"] = retried
        content["tasks"]["quiz"] |= of_task or {}

    assert told(*manifests(tmp_path, change))["comparable"] is not refused


def test_a_retry_of_plain_lm_eval_is_found_in_its_results(tmp_path: Path) -> None:
    config = {"retried": {"max_tokens": 9, "was": {"quiz": 5}, "n_samples": {"quiz": 1}}}
    first, second = (
        write_run(tmp_path / name, ROWS, config=more) for name, more in (("a", {}), ("b", config))
    )
    assert told(first, second)["allow"] == ["retried"]


# Each changes the second of two runs with samples: its rows, its results, its manifest.
ROW_CHANGES: dict[str, tuple[list[Any], dict[str, Any], dict[str, Any]]] = {
    "nothing": (ROWS, {}, {}),
    "docs": ([*ROWS, foreign_row(2, 1.0)], {}, {}),
    "content": ([foreign_row(0, 1.0, doc_hash="x"), ROWS[1]], {}, {}),
    "prompt": ([foreign_row(0, 1.0, prompt_hash="z"), ROWS[1]], {}, {}),
    "words": ([{**ROWS[0], "arguments": [["Hm?", {"temperature": 0.0}]]}, ROWS[1]], {}, {}),
    "system": (ROWS, {"config": {"system_prompt": "Hm"}}, {}),
    "version": (ROWS, {"results": {"versions": {"quiz": 2}}}, {}),
    "sampling": (ROWS, {"config": {"gen_kwargs": {"temperature": 0.6}}}, {}),
    "server": (ROWS, {"config": {"server": {"kind": "vllm"}}}, {}),
    "retried": (ROWS, {}, {"retried": {"truncated": {"max_tokens": 9}}}),
    "errors": (ROWS, {}, {"retried": {"errors": {"n_samples": 1}}}),
    "rows": (ROWS, {}, {"tasks": {"quiz": {"dataset": {"sha256": "b"}}}}),
}


@pytest.mark.parametrize("name", ROW_CHANGES)
def test_runs_are_refused_exactly_where_compare_refuses_them(tmp_path: Path, name: str) -> None:
    rows, written, manifest = ROW_CHANGES[name]
    results = {"versions": {"quiz": 1}, **written.get("results", {})}
    plain = {"tasks": {"quiz": {"dataset": {"sha256": "a"}}}}
    first = write_run(
        tmp_path / "a",
        [{**ROWS[0], "prompt_hash": "y"}, ROWS[1]],
        results={"versions": {"quiz": 1}},
    )
    rows = [{"prompt_hash": "y", **rows[0]}, *rows[1:]]
    second = write_run(tmp_path / "b", rows, config=written.get("config"), results=results)
    for run, more in ((first, {}), (second, manifest)):
        (run / "manifest.json").write_text(json.dumps({**plain, **more}), encoding="utf-8")
    found = told(first, second)
    compared = invoke("compare", first, second)
    assert (compared.exit_code == 0) == found["comparable"], compared.output
    assert (name in ("nothing", "server", "errors")) == found["comparable"]
    for kind in found["allow"]:
        assert f"--allow {kind}" in compared.output
    allowed = [word for kind in found["allow"] for word in ("--allow", kind)]
    assert invoke("compare", first, second, *allowed).exit_code == 0
    assert told(first, second, *allowed)["comparable"]


def test_logs_tell_what_was_really_sent(tmp_path: Path) -> None:
    first, second = pair_of_runs(tmp_path, ROWS, ROWS)
    lines = [
        to_line(
            replace(
                exchange(doc_id, content="the answer", sampling={"top_p": top_p}),
                request_id=f"{model}-{doc_id}",
                model_served=model,
            )
        )
        for model, top_p in (("base-model", 0.9), ("student-model", 0.95))
        for doc_id in (0, 1)
    ]
    log = tmp_path / "exchanges.jsonl"
    log.write_bytes(b"".join(lines))
    assert told(first, second)["comparable"]
    (forbidden,) = (
        one for one in told(first, second, "--log", log)["differences"] if one["effect"] == FORBIDS
    )
    assert forbidden["text"] == "top_p on the wire: baseline 0.9, candidate 0.95"
    assert forbidden["task"] == "quiz"


def test_samples_per_question_are_told_from_the_rows(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", [our_row(0, ["correct"])])
    second = write_run(tmp_path / "b", [our_row(0, ["correct", "incorrect"])])
    (difference,) = told(first, second)["differences"]
    assert difference["text"] == "samples per doc: baseline 1, candidate 2"


def test_a_manifest_and_a_run_with_samples_are_compared_by_what_both_record(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", ROWS, results={"versions": {"quiz": 1.0}})
    (run / "manifest.json").write_text(json.dumps(MANIFEST), encoding="utf-8")
    _, other = manifests(tmp_path, setting(*OF_TASK, "prompt_sha256", to="q"))
    (forbidden,) = (one for one in told(run, other)["differences"] if one["effect"] == FORBIDS)
    assert forbidden["text"] == 'sha256 of all prompts: baseline "p", candidate "q"'


def test_output_of_lm_eval_without_samples_is_read_and_says_what_it_does_not_tell(
    tmp_path: Path,
) -> None:
    runs = []
    for name, temperature in (("a", 0.0), ("b", 0.6)):
        folder = tmp_path / name
        folder.mkdir()
        content = {
            "config": {"model": "hf", "gen_kwargs": {"temperature": temperature}},
            "configs": {"quiz": {"repeats": 1}},
            "versions": {"quiz": 1},
        }
        (folder / f"results_{TIME}.json").write_text(json.dumps(content), encoding="utf-8")
        runs.append(folder)
    found = told(*runs)
    assert [one["kind"] for one in found["differences"]] == ["sampling"]
    assert [one["text"].split(" are")[0] for one in found["unknown"]] == [
        "whether the questions",
        "whether the prompts",
    ]
    assert told(runs[0] / f"results_{TIME}.json", runs[1])["allow"] == ["sampling"]


def test_results_of_two_models_in_one_folder_are_refused(tmp_path: Path) -> None:
    for number, (task, model) in enumerate((("quiz", "one"), ("other", "two"))):
        content = {"config": {"model_args": {"pretrained": model}}, "configs": {task: {}}}
        (tmp_path / f"results_{number}.json").write_text(json.dumps(content), encoding="utf-8")
    done = invoke("diff-config", tmp_path, tmp_path)
    assert done.exit_code == 2
    assert "holds samples of 2 models: 'one'" in done.output


def test_samples_without_a_score_are_compared_by_what_was_recorded(tmp_path: Path) -> None:
    rows = [foreign_row(0, -12.5, metric="word_perplexity")]
    runs = []
    for name, version in (("a", 1), ("b", 2)):
        results = {"versions": {"quiz": version}, "configs": {"quiz": {}}}
        runs.append(write_run(tmp_path / name, rows, results=results))
    found = told(*runs)
    assert [one["kind"] for one in found["differences"] if one["effect"] == FORBIDS] == ["graders"]
    assert "compared by what was recorded" in found["notices"][0]


def test_prompts_of_unlike_questions_are_not_called_unlike(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["tasks"]["quiz"] |= {"n_docs": 3, "prompt_sha256": "q"}

    found = told(*manifests(tmp_path, change))
    assert [one["kind"] for one in found["differences"]] == ["docs"]
    assert [one["text"] for one in found["unknown"]] == [
        "whether the prompts are the same (the questions are not)"
    ]


def test_a_run_that_has_finished_no_task_is_compared_by_its_settings(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content |= {"tasks": {}, "status": "running", "sampling": {"temperature": 1.0}}

    found = told(*manifests(tmp_path, change))
    assert {one["kind"] for one in found["differences"]} == {"sampling", "status"}
    assert "only settings are compared" in found["unknown"][0]["text"]


def test_a_run_under_way_is_compared_by_what_it_asks(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        asking = {"sampling": {"quiz": {"temperature": 1.0}}, "n_requests": {"quiz": 3}}
        content |= {"tasks": {}, "status": "running", "sampling": None, "asking": asking}

    one, other = manifests(tmp_path, change)
    finished = json.loads(one.read_text(encoding="utf-8"))
    finished["tasks"]["quiz"]["n_samples"] = 2
    one.write_text(json.dumps(finished), encoding="utf-8")
    found = told(one, other)
    assert found["tasks"] == ["quiz"]
    assert [item["text"] for item in found["differences"]] == [
        "temperature: baseline 0.6, candidate 1.0",
        "completions asked for: baseline 2, candidate 3",
        "the candidate is not finished, its manifest says 'running'",
    ]


def test_model_and_seed_are_those_that_either_file_tells(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        model_args = {"model": "n", "base_url": "http://127.0.0.1:2/v1", "seed": 7}
        content["settings"] = {"model": "local-chat", "model_args": model_args, "repeats": None}
        content |= {"model": {"requested": None, "served": None, "base_url": None}}

    one, other = manifests(tmp_path, change)
    finished = {**json.loads(one.read_text(encoding="utf-8")), "base_seed": 1234}
    one.write_text(json.dumps(finished), encoding="utf-8")
    texts = [item["text"] for item in told(one, other)["differences"]]
    assert [text for text in texts if text.startswith(("model:", "base_url:", "seed:"))] == [
        'model: baseline "m", candidate "n"',
        'base_url: baseline "http://127.0.0.1:1/v1", candidate "http://127.0.0.1:2/v1"',
        "seed: baseline 1234, candidate 7",
    ]


def test_no_task_in_common_is_refused_and_no_option_allows_it(tmp_path: Path) -> None:
    found = told(*manifests(tmp_path, setting("tasks", to={"other": {}})))
    assert not found["comparable"]
    assert found["allow"] == []
    assert "no task in common" in found["differences"][0]["text"]


def test_a_difference_of_many_tasks_is_printed_once(tmp_path: Path) -> None:
    task = MANIFEST["tasks"]["quiz"]
    paths = manifests(tmp_path, lambda one: None)
    for path, sampling in zip(paths, ({"temperature": 0}, {"temperature": 1}), strict=True):
        tasks = {f"quiz{i}": {**task, "sampling": sampling} for i in range(6)}
        path.write_text(json.dumps({**MANIFEST, "tasks": tasks}), encoding="utf-8")
    shown = invoke("diff-config", *paths).output
    assert shown.count("temperature: baseline 0, candidate 1") == 1
    assert "quiz0, quiz1, quiz2 and 3 more" in shown


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "expected a JSON object, got list"),
        ("{", "not valid JSON"),
        ('{"a": 1}', "is neither a run's manifest nor a results file; expected a run's folder"),
        (None, "no such file or folder"),
    ],
)
def test_what_is_nothing_of_a_run_is_one_line_and_exit_2(
    tmp_path: Path, content: str | None, message: str
) -> None:
    good, bad = manifests(tmp_path, lambda one: None)
    bad.unlink() if content is None else bad.write_text(content, encoding="utf-8")
    done = invoke("diff-config", good, bad)
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.count("\n") == 1


def test_an_empty_folder_and_an_unknown_task_say_what_is_there(tmp_path: Path) -> None:
    good, _ = manifests(tmp_path, lambda one: None)
    (tmp_path / "empty").mkdir()
    assert "holds nothing of a run" in invoke("diff-config", good, tmp_path / "empty").output
    done = invoke("diff-config", good, good, "--task", "quizz")
    assert done.exit_code == 2
    assert "tells nothing of task 'quizz'; it has: quiz" in done.output


HOSTILE: list[Change] = [
    setting("tasks", "quiz", to="text"),
    setting("tasks", "quiz", to=[1]),
    setting("settings", to=[]),
    setting("model", to="m"),
    setting("server", to=3),
    setting("retried", to=["truncated"]),
    setting("retried", to={"truncated": 3}),
    setting(*OF_TASK, "dataset", to="x"),
    setting(*OF_TASK, "sampling", to={"temperature": {"a": [1]}}),
    setting("status", to="\x1b[2J\u202e"),
]


@pytest.mark.parametrize("change", HOSTILE)
def test_a_manifest_of_another_shape_breaks_nothing(tmp_path: Path, change: Change) -> None:
    done = invoke("diff-config", *manifests(tmp_path, change))
    assert done.exit_code in (0, 1), done.output
    assert "\x1b" not in done.output
    assert "\u202e" not in done.output


def test_json_goes_into_a_file_and_a_table_into_the_others(tmp_path: Path) -> None:
    paths = manifests(tmp_path, CHANGES[0][0])
    out = tmp_path / "out.json"
    done = invoke("diff-config", *paths, "--json", out, "--markdown", tmp_path / "out.md")
    assert done.exit_code == 1
    assert json.loads(out.read_text(encoding="utf-8"))["comparable"] is False
    assert "| forbids | docs | quiz |" in (tmp_path / "out.md").read_text(encoding="utf-8")
    csv = invoke("diff-config", *paths, "--csv", "-").output
    assert csv.startswith("effect,kind,task,difference,why,allow\nforbids,docs,quiz,")


def test_every_rule_has_an_effect_and_a_reason_and_every_kind_forbids_somewhere() -> None:
    assert {rule.effect for rule in RULES.values()} == set(EFFECTS)
    assert all(rule.why for rule in RULES.values())
    forbidding = {rule.kind for rule in RULES.values() if rule.effect == FORBIDS}
    assert forbidding - {"tasks"} == set(KINDS)
    page = (REPO / "docs" / "reports.md").read_text(encoding="utf-8")
    assert all(rule.why in page for rule in RULES.values())


@needs_shared
def test_a_real_pair_asked_alike_is_comparable() -> None:
    folder = SHARED / "data/outputs/lm_eval_samples"
    pair = [next(folder.glob(name)) for name in ("teichai__unsloth_*", "teichai__TeichAI_*")]
    found = told(*pair)
    assert found["comparable"]
    assert {one["effect"] for one in found["differences"]} == {EXPLAINS, MEANT}
