"""OpenAI's own JavaScript client, unmodified: it reads what the Python client reads."""

from __future__ import annotations

from tests.clients.programs import run_node
from tests.later import Later
from tests.serving import Server

openai = Later("openai")

HELLO = {"role": "user", "content": "hello"}
GREEDY = {"temperature": 0, "max_tokens": 8}


def test_the_javascript_client_reads_what_the_python_client_reads(server: Server, client: openai.OpenAI) -> None:
    told = run_node("openai_client.mjs", str(client.base_url).rstrip("/"), server.port)
    chat = client.chat.completions.create(model="tiny/chat", messages=[HELLO], **GREEDY)  # type: ignore[call-overload]
    said = chat.choices[0].message.content
    assert told["chat"] == told["streamed"] == told["response"][0] == told["final"] == told["stored"] == said
    assert told["usage"][0] == told["usage"][1] == chat.usage.to_dict()
    assert told["response"][1] == "incomplete"
    assert (told["events"][0], told["events"][-1]) == ("response.created", "response.incomplete")
    vectors = client.embeddings.create(model="tiny/sentences", input=["a cat", "a dog"])
    assert told["lengths"] == [len(each.embedding) for each in vectors.data]
    completion = client.completions.create(model="tiny/gpt2", prompt="the cat", temperature=0, max_tokens=8)
    assert told["completion"] == completion.choices[0].text
    assert told["models"] == [each.id for each in client.models.list().data]
    assert told["refusals"] == [
        ["BadRequestError", 400, "temperature", "invalid_request"],
        ["NotFoundError", 404, None, "model_not_found"],
        ["AuthenticationError", 401, None, "invalid_api_key"],
    ]
