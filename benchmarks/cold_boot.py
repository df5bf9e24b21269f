"""Cold boot of a GPT-2-shaped model of 124M parameters, files on disk, to the first token.

Three ways in turn, several rounds: over HTTP from `PUT` on a warm server; forked in process (fork, load, first token:
what no server can beat); a fresh Python process that loads it with transformers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.models import ensure_model
from benchmarks.report import ratio, rounds, spread

MODEL = "bench/gpt2-124m"
ROUNDS = rounds(7)
PROMPT = "Once upon a time"

FRESH = """
import sys, torch
torch.set_num_threads(int(sys.argv[2]))
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
with torch.inference_mode():
    model.generate(**tokenizer(sys.argv[3], return_tensors="pt"), max_new_tokens=1, do_sample=False)
"""

FORKED = """
import os, sys, time
import modelyard.worker.nursery  # the same environment and imports as a real nursery
import modelyard.worker.replica, modelyard.worker.runtimes.preload
import gc, torch
gc.collect(); gc.freeze()
from transformers import AutoModelForCausalLM, AutoTokenizer
for _ in range(int(sys.argv[4])):
    started = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        torch.set_num_threads(int(sys.argv[2]))
        tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
        model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
        with torch.inference_mode():
            model.generate(**tokenizer(sys.argv[3], return_tensors="pt"), max_new_tokens=1, do_sample=False)
        os._exit(0)
    os.waitpid(pid, 0)
    print((time.perf_counter() - started) * 1000, flush=True)
    sys.stdin.readline()
"""


def run() -> bool:
    """Runs the rounds and prints both promises."""
    from modelyard.worker.environment import QUIET_LIBRARIES
    from tests.serving import Server

    models = ensure_model(MODEL, "gpt2_124m")
    path = str(models / MODEL)
    threads = str(len(os.sched_getaffinity(0)))
    quiet = {**os.environ, **QUIET_LIBRARIES, "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    http, forked, fresh = [], [], []
    command = [sys.executable, "-c", FORKED, path, threads, PROMPT, str(ROUNDS + 1)]
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), models) as server,
        subprocess.Popen(command, env=quiet, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker,
    ):
        assert forker.stdin
        assert forker.stdout
        forker.stdout.readline()  # the first round warms the page cache
        boot_over_http(server)
        for _ in range(ROUNDS):
            forker.stdin.write("\n")
            forker.stdin.flush()
            forked.append(float(forker.stdout.readline()))
            http.append(boot_over_http(server))
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", FRESH, path, threads, PROMPT], env=quiet, check=True)
            fresh.append((time.perf_counter() - started) * 1000)
        forker.stdin.close()
    print(f"PUT to first token over HTTP              {spread(http)}")
    print(f"fork + load + first token, in process     {spread(forked)}")
    print(f"fresh Python process with transformers    {spread(fresh)}")
    kept = ratio("over HTTP / forked in process", http, forked, at_most=1.3)
    return ratio("over HTTP / fresh process", http, fresh, at_most=1 / 8) and kept


def boot_over_http(server: object) -> float:
    """Milliseconds from PUT to the first generated token of a stream; removes the cluster again."""
    from tests.serving import Server

    assert isinstance(server, Server)
    body = {"text": PROMPT, "stream": True, "params": {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}}
    started = time.perf_counter()
    assert server.put(MODEL).status_code == 202
    with server.client.stream("POST", f"/models/v2/{MODEL}", json=body) as response:
        pieces = response.iter_raw()
        seen = b""
        while len(seen) <= len(PROMPT.encode()):
            seen += next(pieces)
        took_ms = (time.perf_counter() - started) * 1000
        for _ in pieces:
            pass
    server.delete(MODEL)
    return took_ms
