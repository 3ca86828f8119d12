"""A chat server over HTTP that is right in everything, but for what `Traits` switches on.

Clean it passes for the server whose image it wears (`tests.server_images`); each switch is one way
in which servers were seen to spoil an evaluation without an error.

Example, a server that says `stop` where it cut the answer:

    with MisbehavingServer(says_stop=True) as server:
        ...  # ask server.url; server.requests holds what came in
"""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tests.fakes import (
    Answer,
    FakeUpstream,
    Received,
    deltas_of,
    fault,
    reply_json,
    stream,
    web_page,
)
from tests.server_images import IMAGES
from tests.simulated_model import BEGIN, CLOSE, OPEN, SimulatedModel, tokens_of

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
KEY = "sk-of-the-fake-server"
PLAIN = SimulatedModel()
THINKER = SimulatedModel(thinks=True)
OPENER = SimulatedModel(thinks=True, opens=True)


@dataclass(frozen=True)
class Traits:
    """What a server is, then each way in which it misbehaves; all of those off is a clean one."""

    image: str = "vllm"
    names: tuple[str, ...] = ("base",)
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Served adapters, with the weights that each makes of the base's."""
    model: SimulatedModel = PLAIN
    context: int = 40960
    """What one request has, slots of llama.cpp not shared any more."""
    slots: int = 8
    parser: bool = True
    """Reasoning is sent apart, in the field of the image; else its tags stay in the content."""
    needs_key: bool = False
    pause_s: float = 0.0
    """How long a completion takes."""

    own_stop: str | None = None
    """A stop string of the server's own settings."""
    web_page: bool = False
    lists_nothing: bool = False
    refuses_request_id: bool = False
    renames_model: bool = False
    errors: tuple[int, ...] = ()
    """HTTP statuses of the first requests; 200 is a good reply that holds an error."""
    not_json: bool = False
    endless: bool = False
    """What it tells of itself never ends."""
    swallows_answer: bool = False
    drops_reasoning: bool = False
    strips_tags: bool = False
    bypasses_thinking: bool = False
    splits_whole_only: bool = False
    ignores_seed: bool = False
    one_seed: bool = False
    seeds_alone_only: bool = False
    ignores_temperature: bool = False
    says_stop: bool = False
    says_length: bool = False
    ignores_cap: bool = False
    caps_at: int | None = None
    no_finish_reason: bool = False
    no_usage: bool = False
    zero_usage: bool = False
    bos_twice: bool = False
    adds_system_prompt: bool = False
    keeps_prompt_tokens: int | None = None
    stream_loses_text: bool = False
    stream_breaks_off: bool = False
    stream_ignored: bool = False
    one_at_a_time: bool = False
    at_once: int | None = None
    """More requests than this at once are answered with HTTP 503."""
    mixes_up: bool = False
    interrupts: bool = False
    ignores_adapter: bool = False


class MisbehavingServer(FakeUpstream):
    """Serves a simulated model; use as a context manager."""

    def __init__(self, **traits: Any) -> None:
        self.traits = Traits(**traits)
        self.image = IMAGES[self.traits.image]
        super().__init__(self.post, self.get)
        self.errors = list(self.traits.errors)
        self.turn = threading.Lock()
        self.draws = itertools.count()
        self.last_text: list[str] | None = None
        self.numbers: dict[str, int] = {}
        self.n_busy = 0
        self.n_begun = 0

    @property
    def url(self) -> str:
        return f"{self.root}{self.image.api}"

    @property
    def asked(self) -> list[Received]:
        """The requests for completions so far."""
        return [r for r in self.requests if r.path.endswith("/chat/completions")]

    # What the images ask for.

    @property
    def names(self) -> list[str]:
        return [*self.traits.names, *self.traits.adapters]

    @property
    def context(self) -> int:
        return self.traits.context

    @property
    def slots(self) -> int:
        return self.traits.slots

    @property
    def adapters(self) -> Mapping[str, str]:
        return self.traits.adapters

    @property
    def own_stop(self) -> str | None:
        return self.traits.own_stop

    @property
    def thinks(self) -> bool:
        return self.traits.model.thinks

    def ids_of(self, text: str) -> list[int]:
        """Return the numbers of a text's tokens; a token is numbered when it is first seen."""
        with self.lock:
            return [self.numbers.setdefault(t, len(self.numbers)) for t in tokens_of(text)]

    def text_of(self, ids: Sequence[int]) -> str:
        tokens = list(self.numbers)
        return "".join(tokens[at] for at in ids)

    def raw_completion(self, body: dict[str, Any]) -> dict[str, Any]:
        """Continue a prompt that no template and no parser of reasoning touches."""
        made = self.weights_of(body.get("model")).continued(body["prompt"])
        kept, finish = self.cut(made, body, len(tokens_of(body["prompt"])))
        return {"choices": [{"index": 0, "text": "".join(kept), "finish_reason": finish}]}

    def sent_prompt(self, body: Mapping[str, Any]) -> str:
        """Return the prompt as the tokenizer gets it."""
        return BEGIN * self.traits.bos_twice + self.prompt_of(body)

    def prompt_of(self, body: Mapping[str, Any]) -> str:
        """Render the messages; thinking may be switched off by the request or the server."""
        wanted = (body.get("chat_template_kwargs") or {}).get("enable_thinking", True)
        thinking = bool(wanted) and not self.traits.bypasses_thinking
        messages = list(body.get("messages") or ())
        if self.traits.adds_system_prompt and not any(m["role"] == "system" for m in messages):
            messages.insert(0, {"role": "system", "content": "You are a helpful assistant."})
        return self.traits.model.rendered(messages, thinking)

    # Requests.

    def get(self, request: Received) -> Answer:
        """Answer a GET: the models, or a path of the image's own."""
        if self.traits.web_page:
            return web_page()(request)
        path = request.path.removeprefix(self.image.api)
        if path == "/models" and request.path != path:
            if self.traits.lists_nothing:
                return fault(404, "not found")(request)
            if self.refused_key(request) and self.traits.image != "openrouter":
                return fault(401, "invalid api key")(request)
            return reply_json(self.image.models(self))
        told = self.image.gets.get(request.path)
        if told and self.traits.endless:
            return Answer(chunks=itertools.repeat(b" " * 65536))
        return said(told(self)) if told else fault(404, "not found")(request)

    def post(self, request: Received) -> Answer:
        """Answer a POST: a completion, or a path of the image's own."""
        if self.traits.web_page:
            return web_page()(request)
        told = self.image.posts.get(request.path)
        if told and self.traits.endless:
            return Answer(chunks=itertools.repeat(b" " * 65536))
        if told:
            return said(told(self, request.body))
        if request.path != f"{self.image.api}/chat/completions":
            return fault(404, "not found")(request)
        return self.refusal(request) or self.in_turn(request)

    def refused_key(self, request: Received) -> bool:
        given = request.headers.get("authorization")
        return self.traits.needs_key and given != f"Bearer {KEY}"

    def refusal(self, request: Received) -> Answer | None:
        """Return the error that a request gets, None for one that is answered."""
        body = request.body
        with self.lock:
            status = self.errors.pop(0) if self.errors else 0
        if status == 200:
            return reply_json({"error": {"message": "the engine is dead", "code": 500}})
        if status:
            return fault(status, "out of order")(request)
        if self.refused_key(request):
            return fault(401, "invalid api key")(request)
        request_id = request.headers.get("x-request-id")
        if self.traits.refuses_request_id and request_id and not UUID.fullmatch(request_id):
            return Answer(status=400)
        if refused := [name for name in self.image.refuses if name in body]:
            return reply_json({"detail": f"Unexpected fields: {refused}"}, status=422)
        if body.get("model") not in self.names and not self.image.any_model:
            return fault(404, f"The model `{body.get('model')}` does not exist.")(request)
        room = self.context - (body.get("max_tokens") or 0)
        if self.image.whole_context and room < 0:
            return fault(400, f"max_tokens exceeds the context of {self.context}")(request)
        return None

    def in_turn(self, request: Received) -> Answer:
        """Answer a completion, with the faults that only requests at once show."""
        with self.lock:
            self.n_busy += 1
            self.n_begun += 1
            n_busy, begun = self.n_busy, self.n_begun
        try:
            if self.traits.at_once is not None and n_busy > self.traits.at_once:
                return fault(503, "overloaded")(request)
            if self.traits.one_at_a_time:
                with self.turn:
                    time.sleep(self.traits.pause_s)
            else:
                time.sleep(self.traits.pause_s or (0.05 if self.sees_others() else 0))
            with self.lock:
                alone = n_busy == 1 and self.n_begun == begun
            return self.completion(request, alone)
        finally:
            with self.lock:
                self.n_busy -= 1

    def sees_others(self) -> bool:
        traits = self.traits
        return traits.mixes_up or traits.interrupts or traits.seeds_alone_only

    def completion(self, request: Received, alone: bool) -> Answer:
        """Generate, cut, split and send."""
        if self.traits.not_json:
            return Answer(chunks=[b'{"choices": [{"message": {"content": "4'])
        body = request.body
        seen = tokens_of(self.sent_prompt(body))[-(self.traits.keeps_prompt_tokens or 0) :]
        prompt, n_prompt = "".join(seen), len(seen)
        model = self.weights_of(body.get("model"))
        made = model.continued(prompt, self.seed_of(body, alone))
        if self.traits.mixes_up and not alone and self.last_text is not None:
            made = self.last_text
        self.last_text = made
        kept, finish = self.cut(made, body, n_prompt)
        usage = {
            "prompt_tokens": n_prompt,
            "completion_tokens": len(kept) + (finish == "stop"),  # the end token is one, too
        }
        sent = Sent(self.message("".join(kept), prompt, body), finish, usage)
        return self.send(self.spoilt(sent), body, broken=self.traits.interrupts and not alone)

    def weights_of(self, name: Any) -> SimulatedModel:
        """Return the model that a name stands for: the base, or the base with an adapter."""
        weights = self.traits.adapters.get(name)
        if weights is None or self.traits.ignores_adapter:
            return self.traits.model
        return replace(self.traits.model, weights=weights)

    def seed_of(self, body: Mapping[str, Any], alone: bool) -> object:
        """Return what a completion's noise depends on beside the prompt; None is greedy."""
        traits = self.traits
        if traits.ignores_temperature or body.get("temperature", 1) == 0:
            return None
        if traits.one_seed:
            return 0
        if traits.ignores_seed or (traits.seeds_alone_only and not alone) or "seed" not in body:
            return f"draw {next(self.draws)}"
        return body["seed"]

    def cut(
        self, made: Sequence[str], body: Mapping[str, Any], n_prompt: int
    ) -> tuple[list[str], str]:
        """Return the tokens up to the cap or a stop string, and the reason for the end."""
        traits, room = self.traits, max(self.context - n_prompt, 0)
        asked = room if traits.ignores_cap else body.get("max_tokens") or room
        cap = min(asked, room, traits.caps_at or room)
        kept, finish = list(made[:cap]), "length" if len(made) >= cap else "stop"
        text = "".join(kept)
        stops = body.get("stop") or []
        stops = [stops] if isinstance(stops, str) else stops
        for stop in [*stops, *([traits.own_stop] if traits.own_stop else [])]:
            if (at := text.find(stop)) >= 0:
                text, kept, finish = text[:at], tokens_of(text[:at]), "stop"
        return kept, finish

    # Replies.

    def message(self, text: str, prompt: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Build the message as the server's parser of reasoning, if it has one, leaves it."""
        traits = self.traits
        begun = prompt.endswith(f"{OPEN}\n")
        if traits.strips_tags:
            return {"role": "assistant", "content": text.replace(OPEN, "").replace(CLOSE, "")}
        name, value = self.image.unparsed
        if name in body and body[name] == value:
            return {"role": "assistant", "content": text}
        if traits.swallows_answer:
            return {"role": "assistant", "content": None, self.image.reasoning_field: text}
        thinks = begun or text.startswith(OPEN)
        if not traits.parser or (traits.splits_whole_only and body.get("stream")) or not thinks:
            return {"role": "assistant", "content": text}
        reasoning, _, answer = text.removeprefix(OPEN).partition(CLOSE)
        said = {"role": "assistant", "content": answer.lstrip("\n") or None}
        if traits.drops_reasoning:
            return said
        return {**said, self.image.reasoning_field: reasoning.strip("\n")}

    def spoilt(self, sent: Sent) -> Sent:
        """Falsify what is said beside the text."""
        if self.traits.says_stop:
            sent = replace(sent, finish="stop")
        if self.traits.says_length:
            sent = replace(sent, finish="length")
        if self.traits.no_finish_reason:
            sent = replace(sent, finish=None)
        if self.traits.no_usage:
            sent = replace(sent, usage=None)
        if self.traits.zero_usage:
            sent = replace(sent, usage={"prompt_tokens": 0, "completion_tokens": 0})
        return sent

    def send(self, sent: Sent, body: Mapping[str, Any], broken: bool) -> Answer:
        """Send a completion whole or as a stream, as asked for."""
        served = "another/model" if self.traits.renames_model else body.get("model")
        fixed = {"model": served, **self.image.more}
        if not body.get("stream") or self.traits.stream_ignored:
            choice = {"index": 0, "message": sent.message, "finish_reason": sent.finish}
            return reply_json({**fixed, "choices": [choice], **sent.usage_part()})
        deltas = list(deltas_of(sent.message))
        if self.traits.stream_loses_text:
            deltas = [*deltas[:3], *deltas[4:]]
        if broken or self.traits.stream_breaks_off:
            deltas = deltas[: len(deltas) // 2]
            return stream([chunk(fixed, delta) for delta in deltas], done=False, reset=True)
        events: list[Any] = [chunk(fixed, delta) for delta in deltas]
        if self.traits.image == "openrouter":
            events.insert(0, b": OPENROUTER PROCESSING\n\n")
        events.append(chunk(fixed, {}, sent.finish))
        if (body.get("stream_options") or {}).get("include_usage") and sent.usage:
            events.append({**fixed, "choices": [], **sent.usage_part()})
        return stream(events, done=self.image.done)


@dataclass(frozen=True)
class Sent:
    """A completion on its way out."""

    message: dict[str, Any]
    finish: str | None
    usage: dict[str, int] | None

    def usage_part(self) -> dict[str, Any]:
        if self.usage is None:
            return {}
        return {"usage": {**self.usage, "total_tokens": sum(self.usage.values())}}


def chunk(fixed: Mapping[str, Any], delta: Any, finish: str | None = None) -> dict[str, Any]:
    return {**fixed, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def said(what: Any) -> Answer:
    """Answer with JSON, or with plain text."""
    if isinstance(what, str):
        return Answer(content_type="text/plain", chunks=[what.encode()] if what else [])
    return reply_json(what)
