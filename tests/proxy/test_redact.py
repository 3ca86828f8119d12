from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.redact import (
    MAX_MEMO_NAMES,
    REDACTED,
    Redactor,
    echoed,
    redactor_for,
    scrub,
    without_echoes,
)

SECRET_NAMES = [
    "api_key", "api-key", "apiKey", "API_KEY", "x-api-key", "Authorization", "hf_token",
    "password", "Set-Cookie", "client_secret", "accessToken", "access_token",
    "x-goog-api-key", "token",
]  # fmt: skip
PLAIN_NAMES = [
    "max_tokens", "stop_token_ids", "messages", "temperature", "add_special_tokens", "seed",
    "tokenizer", "prompt_cache_retention", "monkey", "author", "min_tokens", "x-request-id",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_secret_names(name: str) -> None:
    redactor = Redactor()
    assert redactor.is_secret(name)
    assert redactor.is_secret(name)


@pytest.mark.parametrize("name", PLAIN_NAMES)
def test_names_of_sampling_fields_are_no_secrets(name: str) -> None:
    redactor = Redactor()
    assert not redactor.is_secret(name)
    assert not redactor.is_secret(name)


@pytest.mark.parametrize("name", ["user_id", "USER-ID", "User_Id"])
def test_further_names_count_in_any_case_and_with_either_dash(name: str) -> None:
    assert Redactor(["User-Id"]).is_secret(name)
    assert not Redactor(["User-Id"]).is_secret("user_ids")
    assert not Redactor().is_secret(name)


def test_memory_of_names_is_bounded() -> None:
    redactor = Redactor()
    for number in range(MAX_MEMO_NAMES + 100):
        assert not redactor.is_secret(f"field_{number}")
        assert redactor.is_secret(f"{number}_api_key")
    assert len(redactor.harmless) == len(redactor.harmful) == MAX_MEMO_NAMES


def test_one_redactor_serves_all_requests_of_a_proxy() -> None:
    assert redactor_for(frozenset({"a"})) is redactor_for(frozenset({"a"}))


def test_secret_fields_are_replaced_at_any_depth_and_collected() -> None:
    found: set[str] = set()
    body = {"a": [{"api_key": "one", "b": 1}], "credentials": {"user": "two"}, "password": None}
    assert Redactor().fields(body, found) == {
        "a": [{"api_key": REDACTED, "b": 1}],
        "credentials": REDACTED,
        "password": None,
    }
    assert found == {"one", "two"}


def test_parameters_of_a_tool_schema_keep_their_definitions() -> None:
    schema = {"properties": {"password": {"type": "string"}, "token": "planted"}}
    assert Redactor().fields(schema)["properties"] == {
        "password": {"type": "string"},
        "token": REDACTED,
    }


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["key", "token", "a", "properties", "user"]), inner)
    ),
)


@given(JSON)
def test_looking_first_and_copying_always_give_the_same(value: Any) -> None:
    redactor, found, found_always = Redactor(["user"]), set[str](), set[str]()
    assert redactor.fields(value, found) == redactor.replaced(value, found_always)
    assert found == found_always


def test_only_the_named_fields_are_taken_out_of_an_answer() -> None:
    answer = {"logprobs": [{"token": "a", "User": "x"}], "user": None}
    assert Redactor(["user"]).named(answer) == {
        "logprobs": [{"token": "a", "User": REDACTED}],
        "user": None,
    }


def test_query_keeps_its_other_pairs() -> None:
    found: set[str] = set()
    assert Redactor(["id"]).query("a=1&api%5Fkey=x%20y&flag&key=y&ID=z", found) == (
        f"a=1&api%5Fkey={REDACTED}&flag&key={REDACTED}&ID={REDACTED}"
    )
    assert found == {"x%20y", "x y", "y", "z"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"m": "x", "api_key": "sk-pla', f'{{"m": "x", "api_key": "{REDACTED}"'),
        ('{"token": 12345678, "a": 1}', f'{{"token": "{REDACTED}", "a": 1}}'),
        ('{"key": ["one", "two"], "a": 1}', f'{{"key": "{REDACTED}", "a": 1}}'),
        ('{"credentials": {"user": "two', f'{{"credentials": "{REDACTED}"'),
        ('{"key": [{"a": "]"}, 1], "a": 1}', f'{{"key": "{REDACTED}", "a": 1}}'),
        (
            '{"a": {"key": "x"}, "b": [{"key": 1}]',
            f'{{"a": {{"key": "{REDACTED}"}}, "b": [{{"key": "{REDACTED}"}}]',
        ),
        ('{"key": null, "a": "key"}', '{"key": null, "a": "key"}'),
        ("model=m&api_key=sk-planted&n=1", f"model=m&api_key={REDACTED}&n=1"),
        ("api%5Fkey=sk-planted", f"api%5Fkey={REDACTED}"),
        ("keys = 5, a=b", "keys = 5, a=b"),
    ],
)
def test_raw_text_loses_its_secrets(text: str, expected: str) -> None:
    assert Redactor().raw(text) == expected


@given(st.text('{}[]",:\\ k', max_size=40) | st.text())
def test_no_raw_text_breaks_the_redactor(text: str) -> None:
    assert Redactor().raw(text) == text
    Redactor().raw('"key": ' + text, set())
    Redactor(["k"]).raw(text, set())


def test_secrets_of_raw_text_are_collected() -> None:
    found: set[str] = set()
    Redactor().raw('{"api_key": "sk-1", &key=sk%2d2', found)
    assert found == {"sk-1", "sk%2d2", "sk-2"}


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        (b"Bearer sk-12345678", {"sk-12345678"}),
        (b"sk-12345678", {"sk-12345678"}),
        (b"Bearer abc", {"Bearer abc", "abc"}),
        (b"a=12345678; b=c", {"a=12345678; b=c", "b=c", "12345678", "c"}),
    ],
)
def test_secrets_of_headers(value: bytes, secrets: set[str]) -> None:
    headers = [(b"AuthoriZation", value), (b"X-Other", b"abc")]
    redactor = Redactor()
    assert redactor.in_headers(headers) == secrets
    assert redactor.in_headers(headers) == secrets
    assert Redactor(["x_other"]).in_headers(headers) == secrets | {"abc"}


def test_echoes_of_header_secrets_are_found_and_scrubbed() -> None:
    secrets = Redactor().in_headers([(b"authorization", b"Bearer sk-12345678")])
    row = {"error": "wrong key sk-12345678", "Bearer sk-12345678": ["x"]}
    echoes = echoed(json.dumps(row).encode(), secrets)
    assert scrub(row, echoes) == {"error": f"wrong key {REDACTED}", f"Bearer {REDACTED}": ["x"]}


@given(st.text(min_size=8).filter(lambda text: len(text.strip()) >= 8), st.booleans())
def test_echo_is_found_however_the_line_spells_it(secret: str, ascii_only: bool) -> None:
    row = {"error": f"a {secret} b", "quoted": json.dumps(secret)}
    line = json.dumps(row, ensure_ascii=ascii_only).encode()
    clean = scrub(row, echoed(line, [secret]))
    assert clean["error"] == f"a {REDACTED} b"
    assert without_echoes(row["error"], [secret]) == f"a {REDACTED} b"
    assert clean["quoted"] == f'"{REDACTED}"'


def test_short_values_are_not_cut_out_of_ordinary_text() -> None:
    secrets = Redactor().in_headers([(b"authorization", b"Bearer EMPTY")])
    assert echoed(b"the EMPTY set", secrets) == []


def test_very_long_secret_is_found_and_not_remembered() -> None:
    secret = "s" * 100_000
    headers = [(b"cookie", secret.encode())]
    assert echoed(secret.encode(), Redactor().in_headers(headers)) == [secret]


@pytest.mark.parametrize(
    ("header", "echo"),
    [
        (b"Ocp-Apim-Subscription-Key: %s", "%s"),
        (b"X-Vault-Token: %s", "%s"),
        (b"X-Auth: %s", "%s"),
        (b'Authorization: Digest username="u", response="%s"', "%s"),
        (b"Authorization: Bearer %s", "sk%%2B12345678"),
    ],
)
def test_secrets_of_any_key_header_are_found_in_echoes(header: bytes, echo: str) -> None:
    name, _, value = (header % b"sk+12345678").partition(b": ")
    secrets = Redactor().in_headers([(name, value)])
    said = echo.replace("%%", "%").replace("%s", "sk+12345678")
    assert "12345678" not in without_echoes(f"no such key: {said}!", secrets)


def test_the_password_of_a_basic_authorization_is_found_in_echoes() -> None:
    value = b"Basic " + base64.b64encode(b"user:passw0rd-long")
    secrets = Redactor().in_headers([(b"Authorization", value)])
    assert without_echoes("passw0rd-long of user", secrets) == "[redacted] of user"
    assert Redactor().in_headers([(b"Authorization", b"Basic =nothing=")]) == {"=nothing="}


@pytest.mark.parametrize(
    "name", ["subscription-key", "code", "X-Amz-Signature", "private_token", "a;api_key"]
)
def test_keys_in_a_query_are_taken_out(name: str) -> None:
    assert "sk-1" not in Redactor().query(f"x=1&{name}=sk-1&api-version=2")
    assert Redactor().query("max_tokens=5&author=x&idempotency_key=y") == (
        "max_tokens=5&author=x&idempotency_key=y"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{'model': 'm', 'api_key': '%s'}",
        "{'api_key': \"%s\"}",
        "{model: m, api_key: %s}",
        "model: m\napi_key: %s\n",
        "Authorization: Bearer %s\n",
        '--b\r\nContent-Disposition: form-data; name="api_key"\r\n\r\n%s\r\n--b--',
        '"{\\"api_key\\":\\"%s\\"}"',
        "X=1\nAPI_KEY=%s\n",
    ],
)
def test_secrets_in_what_is_nearly_json_are_taken_out(text: str) -> None:
    found: set[str] = set()
    assert "sk-12345678" not in Redactor().raw(text % "sk-12345678", found)
    assert "sk-12345678" in found
    assert "sk-12345678" in Redactor().raw(
        text.replace("pi_key", "b").replace("PI_KEY", "B").replace("Authorization", "A")
        % "sk-12345678"
    )
