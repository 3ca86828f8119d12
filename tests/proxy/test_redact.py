from __future__ import annotations

import json

import pytest

from proxy.redact import (
    REDACTED,
    echoed,
    is_secret,
    redact_fields,
    redact_query,
    redact_raw,
    scrub,
    secrets_in_headers,
)


@pytest.mark.parametrize(
    "name",
    ["api_key", "api-key", "apiKey", "API_KEY", "x-api-key", "Authorization", "hf_token",
     "password", "Set-Cookie", "client_secret", "accessToken", "access_token",
     "x-goog-api-key", "token"],
)  # fmt: skip
def test_secret_names(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "stop_token_ids", "messages", "temperature", "add_special_tokens", "seed",
     "tokenizer", "prompt_cache_retention", "monkey", "author", "min_tokens", "x-request-id"],
)  # fmt: skip
def test_names_of_sampling_fields_are_no_secrets(name: str) -> None:
    assert not is_secret(name)


def test_secret_fields_are_replaced_at_any_depth_and_collected() -> None:
    found: set[str] = set()
    body = {"a": [{"api_key": "one", "b": 1}], "credentials": {"user": "two"}, "password": None}
    assert redact_fields(body, found) == {
        "a": [{"api_key": REDACTED, "b": 1}],
        "credentials": REDACTED,
        "password": None,
    }
    assert found == {"one", "two"}


def test_parameters_of_a_tool_schema_keep_their_definitions() -> None:
    schema = {"properties": {"password": {"type": "string"}, "token": "planted"}}
    assert redact_fields(schema)["properties"] == {
        "password": {"type": "string"},
        "token": REDACTED,
    }


def test_query_keeps_its_other_pairs() -> None:
    assert redact_query("a=1&api%5Fkey=x&flag&key=y") == (
        f"a=1&api%5Fkey={REDACTED}&flag&key={REDACTED}"
    )


def test_raw_text_that_is_cut_off_inside_a_secret_is_redacted() -> None:
    assert redact_raw('{"m": "x", "api_key": "sk-pla') == f'{{"m": "x", "api_key": "{REDACTED}"'


def test_echoes_of_header_secrets_are_found_and_scrubbed() -> None:
    secrets = secrets_in_headers([(b"authorization", b"Bearer sk-12345678"), (b"x-other", b"abc")])
    row = {"error": "wrong key sk-12345678", "Bearer sk-12345678": ["x"]}
    echoes = echoed(json.dumps(row).encode(), secrets)
    assert scrub(row, echoes) == {"error": f"wrong key {REDACTED}", REDACTED: ["x"]}


def test_short_values_are_not_cut_out_of_ordinary_text() -> None:
    assert echoed(b"the EMPTY set", secrets_in_headers([(b"authorization", b"Bearer EMPTY")])) == []
