"""Drives whichever `bytez` is on the path, as its users do, and prints what it answered as JSON.

argv: the key. Which parts run depends on what the installed version offers.
"""

import json
import sys
import time

from bytez import Bytez

RUNNING_DEADLINE_S = 200


def plain(answer):
    """The answer of any version as [output, error]: lists before 3.0, a named tuple since."""
    return [answer.output, answer.error] if hasattr(answer, "output") else list(answer)[:2]


def clusters(client):
    """create, read, update, delete: the versions before 1.0.9."""
    model = client.model("tiny/gpt2")
    told = {"create": model.create({"capacity": {"min": 1, "desired": 1, "max": 2}, "timeout": 600})}
    end = time.monotonic() + RUNNING_DEADLINE_S
    while (cluster := model.read()[0])["status"] != "running" and time.monotonic() < end:
        time.sleep(0.1)
    told["read"] = cluster
    told["update"] = model.update({"capacity": {"desired": 2}})
    told["clusters"] = client.list.clusters()
    told["delete"] = model.delete()
    told["gone"] = model.read()
    return told


def inference(client):
    """run, streamed and not, with every way of passing input that the client has."""
    greedy = {"max_new_tokens": 8, "do_sample": False}
    text = client.model("tiny/gpt2")
    question = {"question": "who?", "context": "the cat sat"}
    labels = {"text": "the cat", "candidate_labels": ["animal", "car"]}
    return {
        "text": plain(text.run("the cat", greedy)),
        "stream": "".join(text.run("the cat", params=greedy, stream=True)),
        "chat": plain(client.model("tiny/chat").run([{"role": "user", "content": "hello"}], greedy)),
        "classify": plain(client.model("tiny/classifier").run("the cat")),
        "embed": plain(client.model("tiny/encoder").run("the cat")),
        "labels": plain(client.model("tiny/nli").run(labels)),
        "question": plain(client.model("tiny/qa").run(question)),
        "wrong params": plain(text.run("the cat", {"colour": 1})),
        "unknown": plain(client.model("tiny/gtp2").run("the cat")),
    }


def lists(client):
    """What there is."""
    return {
        "tasks": plain(client.list.tasks()),
        "models": plain(client.list.models()),
        "chat models": plain(client.list.models({"task": "chat"})),
    }


client = Bytez(sys.argv[1], dev=True)
told = {"lists": lists(client), "inference": inference(client)}
if hasattr(client.list, "clusters"):
    told["clusters"] = clusters(client)
told["stranger"] = plain(Bytez("wrong", dev=True).model("tiny/gpt2").run("the cat"))
print(json.dumps(told))
