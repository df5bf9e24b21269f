"""Inference over HTTP: every task, input form, header, stream and error a client can meet."""

import gzip
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.loadgen import leave_at_random
from tests.serving import ENDLESS, KEY, REQUEST_S, Server, wait_until

GREEDY = {"max_new_tokens": 12, "do_sample": False}


@pytest.mark.parametrize(
    ("model_id", "body", "check"),
    [
        ("tiny/gpt2", {"text": "the cat", "params": GREEDY}, lambda out: out.startswith("the cat")),
        ("tiny/chat", {"text": "hello", "params": GREEDY}, lambda out: out["role"] == "assistant"),
        ("tiny/t5", {"text": "the cat", "params": GREEDY}, lambda out: isinstance(out, str)),
        ("tiny/classifier", {"text": "the cat"}, lambda out: {"label", "score"} == out[0].keys()),
        ("tiny/ner", {"text": "the cat"}, lambda out: isinstance(out, list)),
        ("tiny/mlm", {"text": "the [MASK]"}, lambda out: {"score", "token", "token_str", "sequence"} == out[0].keys()),
        ("tiny/qa", {"question": "who?", "context": "the cat sat"}, lambda out: len(out) == 4 and out["answer"]),
        ("tiny/nli", {"text": "the cat", "candidate_labels": ["a", "b"]}, lambda out: len(out["scores"]) == 2),
        ("tiny/encoder", {"text": "the cat"}, lambda out: isinstance(out[0], float)),
        ("tiny/sentences", {"text": "the cat"}, lambda out: isinstance(out[0], float)),
        ("tiny/ranker", {"query": "a", "documents": ["b", "c"]}, lambda out: {"index", "score"} == out[0].keys()),
        ("tiny/encoder", {"text": ["the cat", "a dog"]}, lambda out: len(out) == 2 and isinstance(out[0][0], float)),
    ],
)  # fmt: skip
def test_every_text_task_answers_in_its_documented_shape(
    server: Server, model_id: str, body: dict[str, Any], check: Callable[[Any], Any]
) -> None:
    output = server.run(model_id, **body)
    assert check(output), output


@pytest.mark.parametrize(
    "body", [{"text": "the cat"}, {"input": "the cat"}, {"prompt": "the cat"}, {"input": {"text": "the cat"}}]
)
def test_every_form_of_input_means_the_same(server: Server, body: dict[str, Any]) -> None:
    assert server.run("tiny/gpt2", **body, params=GREEDY) == server.run("tiny/gpt2", text="the cat", params=GREEDY)


def test_a_pair_of_texts_may_come_as_json_or_as_a_form(server: Server) -> None:
    wanted = server.run("tiny/classifier", text="a cat", text_pair="7")
    assert wanted != server.run("tiny/classifier", text="a cat")
    assert server.run("tiny/classifier", input={"text": "a cat", "text_pair": "7"}) == wanted
    form = {"text": (None, "a cat"), "text_pair": (None, "7")}
    assert server.client.post("/models/v2/tiny/classifier", files=form).json() == {"error": None, "output": wanted}
    assert server.run("tiny/classifier", input=[["a cat", "7"]]) == [wanted]


def test_a_ranking_may_come_as_json_or_as_a_form(server: Server) -> None:
    wanted = server.run("tiny/ranker", query="7", documents=["a cat", "a dog"])
    assert sorted(each["index"] for each in wanted) == [0, 1]
    assert server.run("tiny/ranker", input={"query": "7", "documents": ["a cat", "a dog"]}) == wanted
    for documents in ([("documents", (None, text)) for text in ("a cat", "a dog")],
                      [("documents", (None, '["a cat", "a dog"]'))]):  # fmt: skip
        form = [("query", (None, "7")), *documents]
        assert server.client.post("/models/v2/tiny/ranker", files=form).json() == {"error": None, "output": wanted}
    alone = server.client.post("/models/v2/tiny/ranker", files={"query": (None, "7"), "documents": (None, "a cat")})
    assert [each["index"] for each in alone.json()["output"]] == [0]


def test_chat_mirrors_the_form_of_the_request(server: Server) -> None:
    as_string = server.run("tiny/chat", messages=[{"role": "user", "content": "hello"}], params=GREEDY)
    blocks = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]
    as_blocks = server.run("tiny/chat", input=blocks, params=GREEDY)
    assert as_blocks["content"] == [{"type": "text", "text": as_string["content"]}]


def test_a_model_without_a_chat_template_says_so(server: Server) -> None:
    response = server.post("tiny/gpt2", messages=[{"role": "user", "content": "hello"}])
    assert response.status_code == 422
    assert "text" in response.json()["error"]


@pytest.mark.parametrize(
    ("model_id", "body"),
    [
        ("tiny/gpt2", {"text": "Once upon a time"}),
        ("tiny/chat", {"text": "hello there"}),
        ("tiny/t5", {"text": "the cat sat on the mat"}),
        ("tiny/bart", {"text": "the cat sat on the mat"}),
    ],
)
def test_the_concatenated_stream_equals_the_unstreamed_output(
    server: Server, model_id: str, body: dict[str, Any]
) -> None:
    body = {**body, "params": {"max_new_tokens": 30, "min_new_tokens": 30, "do_sample": False}}
    whole = server.run(model_id, **body)
    whole = whole["content"] if isinstance(whole, dict) else whole
    with server.client.stream("POST", f"/models/v2/{model_id}", json={**body, "stream": True}) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        pieces = list(response.iter_raw())
    assert b"".join(pieces).decode() == whole
    assert len(pieces) > 3


def test_the_first_new_token_arrives_before_the_last_is_computed(server: Server) -> None:
    model_id, endless = ENDLESS
    body = {"text": "the cat", "stream": True, "params": endless}
    with server.client.stream("POST", f"/models/v2/{model_id}", json=body) as response:
        pieces = response.iter_raw()
        assert next(pieces)
        assert server.load() == (1, 0), "no token came before the last was computed"
    wait_until(lambda: server.load() == (0, 0))


def test_every_answer_carries_the_documented_headers(server: Server) -> None:
    for body in ({"text": "the cat"}, {"text": "the cat", "stream": True}):
        headers = server.post("tiny/gpt2", params=GREEDY, **body).headers
        for name in (
            "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "inference-meter", "inference-meter-price",
            "inference-time", "inference-cost", "x-request-id",
        ):  # fmt: skip
            assert name in headers


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_its_slot(server: Server, stream: bool) -> None:
    server.run("tiny/gpt2", text="warm", params=GREEDY)
    text = "the cat" if stream else ["the cat"] * 16
    body = {"text": text, "stream": stream, "params": {"max_new_tokens": 110, "min_new_tokens": 110}}
    leave_at_random(server.port, "tiny/gpt2", [body], longest_s=0.05, seed=1)
    wait_until(lambda: server.load() == (0, 0))


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{not json", 400, ["JSON"]),
        (b"[1, 2]", 400, ["object"]),
        (b'{"text": 5}', 422, ["text", "5"]),
        (b'{"text": "a", "wrong": 1}', 422, ["wrong", "1"]),
        (b'{"text": "a", "params": {"max_new_tokens": "many"}}', 422, ["params.max_new_tokens", "many"]),
        (b'{"text": "a", "params": {"max_new_tokens": -4}}', 422, ["params.max_new_tokens", "-4"]),
        (b'{"text": "a", "params": {"colour": 1}}', 422, ["params.colour", "max_new_tokens"]),
        (b'{"text": "a", "params": 3}', 422, ["params", "3"]),
        (b'{"text": "a", "stream": "yes"}', 422, ["stream", "yes"]),
        (b"{}", 422, ["text"]),
    ],
)
def test_bad_input_names_the_field_the_value_and_what_is_accepted(
    server: Server, body: bytes, status: int, words: list[str]
) -> None:
    response = server.client.post("/models/v2/tiny/gpt2", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status, response.text
    assert response.json()["output"] is None
    assert response.headers["content-type"] == "application/json; charset=utf-8"
    for word in words:
        assert word in response.json()["error"]
    assert "Traceback" not in response.text


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"capacity": {"min": 2, "max": 1}}, ["capacity.min", "2"]),
        ({"capacity": {"desired": 3, "max": 2}}, ["capacity.desired", "3", "capacity.max", "2"]),
        ({"capacity": {"least": 1}}, ["capacity.least"]),
        ({"capacity": {"max": "two"}}, ["capacity.max", "two"]),
        ({"capacity": {"max": 1.5}}, ["capacity.max", "1.5"]),
        ({"capacity": {"max": -1}}, ["capacity.max", "-1"]),
        ({"capacity": [1]}, ["capacity"]),
        ({"timeout": -5}, ["timeout", "-5", "seconds"]),
        ({"timeout": "long"}, ["timeout", "long"]),
        ({"speed": 1}, ["speed"]),
    ],
)
def test_bad_clusters_are_refused_and_change_nothing(server: Server, body: dict[str, Any], words: list[str]) -> None:
    response = server.put("tiny/mlm", **body)
    assert response.status_code == 422, response.text
    for word in words:
        assert word in response.json()["error"]
    assert server.client.get("/models/v2/tiny/mlm").status_code in (200, 404)
    if server.client.get("/models/v2/tiny/mlm").status_code == 200:
        assert server.cluster("tiny/mlm")["capacity"] == {"min": 0, "desired": 1, "max": 1}


def test_an_unknown_model_is_answered_with_the_nearest_names(server: Server) -> None:
    for method, body in (("POST", {"text": "a"}), ("PUT", {})):
        response = server.client.request(method, "/models/v2/tiny/gtp2", json=body)
        assert response.status_code == 404
        assert "tiny/gpt2" in response.json()["error"]
    assert server.client.get("/models/v2/tiny/gtp2").status_code == 404


@pytest.mark.parametrize("path", ["..%2Fetc/passwd", "tiny/..", "tiny/%2e%2e", "tiny/a%00b", "-x/y", "a b/c"])
def test_path_tricks_are_refused(server: Server, path: str) -> None:
    response = httpx.post(
        f"{server.url}/models/v2/{path}", headers={"authorization": KEY}, json={"text": "a"}, timeout=REQUEST_S
    )
    assert response.status_code in (404, 405, 422)
    assert response.json()["output"] is None


def test_unknown_paths_and_methods_answer_in_the_envelope(server: Server) -> None:
    for response, status in (
        (server.client.get("/nothing"), 404),
        (server.client.get("/models/v2/a/b/c"), 404),
        (server.client.request("TRACE", "/models/v2/tiny/gpt2"), 405),
    ):
        assert response.status_code == status
        assert response.json()["output"] is None


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("TRACE", "/models/v2/tiny/gpt2", "DELETE, GET, HEAD, PATCH, POST, PUT"),
        ("OPTIONS", "/models/v2/openai/v1/chat/completions", "POST"),
        ("DELETE", "/model/list", "GET, HEAD, POST"),
        ("POST", "/docs", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_which_are_possible(server: Server, method: str, path: str, allowed: str) -> None:
    response = server.client.request(method, path)
    assert (response.status_code, response.json()["output"]) == (405, None)
    assert sorted(response.headers["allow"].split(", ")) == allowed.split(", ")
    assert f"{method} is not possible at {path}" in response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/models/v2/tiny/classifier/"),
        ("POST", "/hf/tiny/classifier/"),
        ("PUT", "/models/v2/tiny/classifier/"),
        ("GET", "/models/v2/tiny/classifier/?events=1"),
        ("GET", "/model/list/"),
        ("GET", "/docs/"),
    ],
)
def test_a_slash_at_the_end_of_a_path_means_nothing(server: Server, method: str, path: str) -> None:
    server.put("tiny/classifier")
    body = {} if method in ("PUT", "GET") else {"inputs" if "/hf/" in path else "text": "the cat"}
    with_slash, without = (
        server.client.request(method, each, json=body, follow_redirects=False)
        for each in (path, path.replace("/?", "?").removesuffix("/"))
    )
    assert with_slash.status_code == without.status_code
    assert with_slash.status_code in (200, 202), with_slash.text


def test_other_content_types_are_refused(server: Server) -> None:
    response = server.client.post("/models/v2/tiny/gpt2", content=b"x", headers={"content-type": "application/xml"})
    assert response.status_code == 415


def test_a_compressed_body_is_refused_by_every_call(server: Server) -> None:
    headers = {"content-type": "application/json", "content-encoding": "gzip"}
    for method, path in (("POST", "/models/v2/tiny/gpt2"), ("PUT", "/models/v2/tiny/mlm"), ("POST", "/model/load"),
                         ("POST", "/v1/embeddings"), ("POST", "/nothing")):  # fmt: skip
        response = server.client.request(method, path, content=gzip.compress(b"{}"), headers=headers)
        assert response.status_code == 415, path
        assert "content-encoding: got 'gzip'" in response.text


def test_a_body_over_the_limit_is_refused(server: Server) -> None:
    response = server.client.post("/models/v2/tiny/gpt2", content=b" " * (65 * 1024 * 1024))
    assert response.status_code == 413


def test_many_requests_at_once_each_get_their_own_answer(server: Server) -> None:
    texts = [f"the {word} cat" for word in ("red", "green", "blue", "small", "large", "old")] * 5
    expected = {text: server.run("tiny/gpt2", text=text, params=GREEDY) for text in set(texts)}
    answers: list[tuple[str, str]] = []

    def ask(text: str) -> None:
        answers.append((text, server.run("tiny/gpt2", text=text, params=GREEDY)))

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(texts)
    assert all(answer == expected[text] for text, answer in answers)
