"""Runs each model of the list on standard input with `bytez` 3, by that client's own way of passing input.

argv: the key. stdin: [[model id, input, params], ...]. Prints the answers in order as [output, error].
"""

import json
import sys

from bytez import Bytez

client = Bytez(sys.argv[1], dev=True)
answers = [client.model(model_id).run(given, params) for model_id, given, params in json.load(sys.stdin)]
print(json.dumps([[answer.output, answer.error] for answer in answers]))
