r"""`local-chat`: lm-eval's side of an OpenAI-compatible chat server that may reason.

Owns the class that lm-eval loads: which requests a run makes, in what order, and what it says about
them. Refuses to own model_args (`chat.settings`), asking (`chat.asking`) and grading (`results`).

Example, a run with the sampling that a vendor publishes:

    lm_eval --model local-chat --tasks distill_math500 \
        --model_args base_url=http://127.0.0.1:8000/v1,model=NAME,preset=deepseek-r1

Documentation: docs/local_chat.md. An error that explains itself ends the command line in one line
and exit code 2; `DISTILL_EVAL_DEBUG=1` shows the traceback.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM

from harness_tasks.chat import doubts, resume, under_way
from harness_tasks.chat.asking import Asker, Job, run_to_end
from harness_tasks.chat.endpoint import Offered, chosen_model, look_at
from harness_tasks.chat.settings import (
    RequestFields,
    read_settings,
    request_fields,
    request_id_of,
)
from harness_tasks.chat.store import Store
from harness_tasks.completion import Completion
from harness_tasks.explained import end_in_one_line, explained
from harness_tasks.question_numbers import number_of
from harness_tasks.reasoning import ORPHAN_CLOSE, split
from harness_tasks.sampling import seed_for

log = logging.getLogger(__name__)

LONG_RUN = 100  # requests from which on it is a pity to start anew
NO_SUCH = "local-chat can only generate: use tasks of output type generate_until"


class ChatPrompt(str):
    """Messages as lm-eval's `--apply_chat_template` hands them on: JSON text."""


class LocalChat(LM):  # type: ignore[misc]
    """lm-eval model over a chat completions server; the arguments are those of `Settings`."""

    def __init__(self, **model_args: Any) -> None:
        super().__init__()
        end_in_one_line()
        try:
            self.settings = read_settings(model_args)
            self.transport = self.settings.transport()
        except ValueError as wrong:
            raise explained(wrong) from None
        # They log every request at INFO, which lm-eval shows.
        for name in ("httpx2", "httpcore2"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self.offered: Offered = look_at(self.transport)
        self.model = chosen_model(self.settings.model, self.offered, self.transport)
        self.fields: dict[str, RequestFields] = {}
        self.served: Counter[str] = Counter()
        self.by_server: Counter[str] = Counter()
        self.counts: dict[str, dict[str, Any]] = {}  # by task: completions, failures, cut off
        self.retried: dict[str, Any] | None = None
        self.limits_before: dict[str, int] = {}  # by task: the max_tokens before a retry's
        self.warned: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the key out of pickles."""
        state = dict(self.__dict__)
        del state["transport"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.transport = self.settings.transport()

    @property
    def tokenizer_name(self) -> str:
        """Name the chat template for lm-eval's cache of built requests."""
        return f"local-chat-{self.model}".replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Return no template: the server applies its own."""
        if isinstance(chat_template, str):
            self.warn_once(f"--apply_chat_template {chat_template} is ignored: the server decides")
        return ""

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the messages as JSON, to be sent as they are.

        Raises:
            ValueError: the task begins the assistant's answer, which suppresses reasoning.
        """
        if not add_generation_prompt or (chat_history and chat_history[-1]["role"] == "assistant"):
            raise explained(
                ValueError(
                    "the task begins the model's answer (gen_prefix), which keeps a reasoning "
                    "model from reasoning; local-chat refuses that: use a task without gen_prefix"
                )
            )
        return ChatPrompt(json.dumps(chat_history, ensure_ascii=False))

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuse lm-eval's --use_cache.

        Raises:
            ValueError: always; lm-eval sets a hook only for --use_cache.
        """
        raise explained(
            ValueError(
                "local-chat refuses --use_cache: its key knows neither the model nor the sample, "
                "so two models would share answers and k samples would be one; leave it out"
            )
        )

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        """Refuse.

        Raises:
            ValueError: always; a chat server tells no likelihood of a given text.
        """
        raise explained(ValueError(NO_SUCH + refused_tasks(requests)))

    loglikelihood_rolling = loglikelihood

    def get_model_info(self) -> dict[str, Any]:
        """Describe the model and the sampling actually sent; lm-eval adds it to its results."""
        by_task = {task: fields.sampling for task, fields in self.fields.items()}
        first = next(iter(by_task.values()), {})
        served = [name for name, _ in self.served.most_common()]
        return {
            "model_requested": self.model,
            "model_served": served[0] if len(served) == 1 else served or None,
            "base_url": self.settings.base_url,
            **({"completions_by_server": dict(self.by_server)} if self.transport.others else {}),
            "run": self.settings.run,
            "server": {"kind": self.offered.kind, "version": self.offered.version},
            "sampling": {k: v for k, v in first.items() if all_have(by_task.values(), k, v)},
            "sampling_by_task": by_task,
            "base_seed": self.settings.seed,
            "system_prompt": self.settings.system_prompt,
            "stream": self.settings.stream,
            "completions": self.counts,
            **({"retried": self.retried} if self.retried else {}),
        }

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Ask for one completion per request, in order; the k-th equal one is sample k.

        Raises:
            UpstreamError: no request can succeed; one that fails for itself is an `error` sample.
            ValueError: a task's generation_kwargs cannot be sent.
        """
        try:
            jobs = self.jobs_of(requests)
        except ValueError as wrong:
            raise explained(wrong) from None
        asked_for = doubts.Asked(
            self.model, self.offered, self.settings.preset, self.transport.num_concurrent
        )
        for doubt in (*doubts.before(jobs, asked_for), *doubts.hints(jobs, asked_for)):
            self.warn_once(doubt)
        completions = self.asked(jobs, disable_tqdm)
        self.counts = under_way.counts([job.task for job in jobs], completions)
        self.settle_prefilled(completions)
        for failure in doubts.failures(completions):
            log.error("%s", failure)
        for doubt in doubts.providers(completions):
            self.warn_once(doubt)
        return list(completions)

    def asked(self, jobs: Sequence[Job], hidden: bool) -> list[Completion]:
        """Ask what is not in the store yet, and return all completions.

        Raises:
            UpstreamError: no request can succeed.
            ValueError: the store is in use, or cannot be opened.
            KeyboardInterrupt: Ctrl-C; the message says what is kept.
        """
        offered, settings = self.offered, self.settings
        with self.opened_store() as store:
            kept = None
            if store is not None:
                kept = resume.Kept(store, self.who(), settings.retry_truncated)
            asker = Asker(self.model, self.transport, offered, settings.stream, kept)
            asker.begun = lambda n_found: self.begun(jobs, kept, n_found)
            watch = doubts.Watch(self.warn_once)
            asker.completed = watch.note
            try:
                completions = run_to_end(asker.ask_all(jobs, hidden))
            except KeyboardInterrupt as pressed:
                raise ended(KeyboardInterrupt(under_way.left(store, len(jobs)))) from pressed
        watch.at_end()
        self.served += asker.served
        self.by_server += asker.by_server
        if kept is not None and settings.retry_truncated is not None:
            self.retried = {
                "max_tokens": settings.retry_truncated,
                "was": self.limits_before,
                "n_samples": dict(kept.retried),
                "n_failed": kept.n_not_retried,
            }
        return completions

    @contextlib.contextmanager
    def opened_store(self) -> Iterator[Store | None]:
        """Open the store of completions, where there is to be one, and say what is wrong with it.

        Raises:
            ValueError: it is in use, or cannot be opened.
        """
        if self.settings.store is None:
            yield None
            return
        with contextlib.ExitStack() as stack:
            try:
                store = stack.enter_context(Store(Path(self.settings.store).expanduser()))
            except ValueError as wrong:
                raise explained(wrong) from None
            if store.damage:
                log.warning("%s", store.damage)
            yield store

    def who(self) -> resume.Who:
        """Return who is asked, as the store tells models apart."""
        return resume.Who(
            self.model,
            tuple(endpoint.base for endpoint in self.transport.endpoints),
            self.offered.told.get(self.model, {}),
        )

    def begun(self, jobs: Sequence[Job], kept: resume.Kept | None, n_found: int) -> None:
        """Say what is there already, and tell whoever keeps a manifest what is asked for."""
        under_way.tell(
            under_way.Asking(
                who=self.who(),
                n_requests=dict(Counter(job.task for job in jobs)),
                sampling={job.task: job.fields.sampling for job in jobs},
                n_found=n_found,
                retry=self.settings.retry_truncated,
            )
        )
        if kept is None and len(jobs) >= LONG_RUN:
            self.warn_once(
                f"{len(jobs)} completions are to be asked and kept nowhere until the end: with "
                "store=FILE in model_args a run that is killed goes on where it stopped"
            )
        if kept is None or not kept.store.places:
            return
        # lm-eval shows INFO of its own alone.
        if self.settings.retry_truncated is not None:
            log.warning(
                "%d of %d completions stay, the %d that were cut off are asked again with "
                "max_tokens=%d",
                n_found, len(jobs), len(jobs) - n_found, self.settings.retry_truncated,
            )  # fmt: skip
            return
        log.warning("%d of %d completions are there already", n_found, len(jobs))
        why = kept.why_none(jobs[0]) if jobs and not n_found else None
        if why:
            log.warning("%s holds completions of another request: %s", kept.store.path, why)

    def jobs_of(self, requests: Sequence[Any]) -> list[Job]:
        """Turn lm-eval's requests into jobs; equal (task, doc_id) count as samples of one doc."""
        seen: Counter[tuple[Any, Any]] = Counter()
        known: dict[str, RequestFields] = {}
        self.fields = {}
        jobs = []
        for request in requests:
            context, generation_kwargs, *media = request.args
            if media:
                raise ValueError(f"local-chat sends text only, and {request.task_name} has media")
            task, doc_id = str(request.task_name), number_of(request)
            sample_index = seen[task, doc_id]
            seen[task, doc_id] += 1
            key = f"{task} {sorted(generation_kwargs.items(), key=str)}"
            fields = known[key] = known.get(key) or self.fields_of(task, generation_kwargs)
            jobs.append(
                Job(
                    task=task,
                    sample_index=sample_index,
                    request_id=request_id_of(self.settings.run, task, doc_id, sample_index),
                    messages=self.messages_of(context),
                    fields=fields,
                    seed=seed_for(task, doc_id, sample_index, fields.seed),
                    doc_id=doc_id,
                )
            )
        return jobs

    def fields_of(self, task: str, generation_kwargs: Mapping[str, Any]) -> RequestFields:
        """Return the sampling of a task, and say which setting lost where two differ."""
        fields = request_fields(self.settings, generation_kwargs, task)
        for name, loser, lost, winner, value in fields.overridden:
            self.warn_once(f"{task}: {winner} sets {name}={value} over the {lost} of {loser}")
        window = self.offered.max_model_len.get(self.model)
        limit = fields.sampling.get("max_tokens", 0)
        if window and fields.limit_is_default and limit >= window:
            self.warn_once(
                f"max_tokens={limit} does not fit the server's context of {window} tokens and is "
                "not sent: a completion may fill the context"
            )
            sampling = {k: v for k, v in fields.sampling.items() if k != "max_tokens"}
            fields = dataclasses.replace(fields, sampling=sampling)
        if self.settings.retry_truncated is not None:
            fields = self.with_larger_limit(task, fields, self.settings.retry_truncated)
        self.fields[task] = fields
        return fields

    def with_larger_limit(self, task: str, fields: RequestFields, larger: int) -> RequestFields:
        """Return a task's sampling under the limit of a retry.

        Raises:
            ValueError: it is no larger one, or does not fit the server's context.
        """
        limit = fields.sampling.get("max_tokens")
        window = self.offered.max_model_len.get(self.model)
        if limit is None or (window and larger >= window):
            context = f" of {window} tokens" if window else ""
            raise ValueError(
                f"max_tokens={larger} does not fit the server's context{context}: serve the model "
                "with a larger one, or give fewer"
            )
        if larger <= limit:
            raise ValueError(
                f"{task} was asked with max_tokens={limit}, so a retry of what was cut off needs "
                f"more than that, got {larger}"
            )
        self.limits_before[task] = limit
        return dataclasses.replace(fields, sampling={**fields.sampling, "max_tokens": larger})

    def messages_of(self, context: str) -> list[dict[str, Any]]:
        """Return the messages of a prompt; a plain one is a single user message."""
        messages: list[dict[str, Any]] = (
            json.loads(context)
            if isinstance(context, ChatPrompt)
            else [{"role": "user", "content": context}]
        )
        system = self.settings.system_prompt
        if not system:
            return messages
        if messages[0]["role"] == "system":
            self.warn_once("system_prompt is put before the task's own system message")
            joined = f"{system}\n\n{messages[0]['content']}"
            return [{**messages[0], "content": joined}, *messages[1:]]
        return [{"role": "system", "content": system}, *messages]

    def settle_prefilled(self, completions: Iterable[Completion]) -> None:
        """Mark completions that are reasoning throughout: the template opened the tag.

        The setting decides, else those that finished: where most are `r</think>a`, a completion
        that was cut off without any tag is reasoning.
        """
        inline = [c for c in completions if c.reasoning is None and not c.error]
        prefilled = self.settings.prefilled
        if prefilled is None:
            told = [c for c in inline if c.reasoning_source or c.finish_reason != "length"]
            # What holds no tags inline is not split again.
            opened = [c for c in told if c.reasoning_source and split(str(c)).state == ORPHAN_CLOSE]
            prefilled = len(opened) > len(told) / 2
        for completion in inline:
            if not completion.reasoning_source:
                completion.prefilled = prefilled

    def warn_once(self, message: str) -> None:
        """Log a warning the first time that it comes up."""
        if message not in self.warned:
            self.warned.add(message)
            log.warning("%s", message)


def ended(error: KeyboardInterrupt) -> KeyboardInterrupt:
    """Let Ctrl-C end lm-eval's own command line in one line, too."""
    error.explained = True  # type: ignore[attr-defined]
    return error


def all_have(samplings: Iterable[Mapping[str, Any]], name: str, value: Any) -> bool:
    """Tell whether a field has one value in all tasks."""
    return all(name in sampling and sampling[name] == value for sampling in samplings)


def refused_tasks(requests: Iterable[Any]) -> str:
    """Name the tasks that asked for what we cannot do."""
    names = sorted({str(request.task_name) for request in requests})
    return f", unlike {', '.join(names[:5])}" if names else ""
