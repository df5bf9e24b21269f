"""Drives the v1 client `bytez` 0.2.26 as its users do, and prints what it answered as JSON. argv: the key."""

import json
import sys
import time

from bytez import Bytez

GREEDY = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}

client = Bytez(sys.argv[1], dev=True)
model = client.model("tiny/gpt2")
output = sys.stdout
sys.stdout = sys.stderr  # the client prints each status while it loads
told = {"processed": [client.process("tiny/classifier")]}
while told["processed"][-1].get("message") != "Model available" and told["processed"][-1]["success"]:
    time.sleep(0.2)
    told["processed"].append(client.process("tiny/classifier"))
told |= {"models": client.list_models(), "chat models": client.list_models("chat")}
told["loaded"] = model.load({"concurrency": 1, "timeout": 300})
told["loaded again"] = model.load()
told["status"] = model.status()
told["instances"] = client.list_instances()
told["run"] = model.run("Once upon a time", model_params=GREEDY)
told["stream"] = "".join(model.run({"text": "Once upon a time"}, stream=True, model_params=GREEDY))
try:
    client.model("tiny/t5").run("hello")
except Exception as error:  # the client raises what the server says
    told["not loaded"] = str(error)
told["stop"] = model.stop()
told["instances after"] = client.list_instances()
print(json.dumps(told), file=output)
