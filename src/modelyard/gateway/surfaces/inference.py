"""Inference as each surface describes it. It is served beside the router; how, is in the surfaces' own files."""

from __future__ import annotations

from dataclasses import replace

from modelyard.gateway import deadline
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.base import V1Error
from modelyard.gateway.shapes.inference import (
    BINARY,
    MADE_TYPES,
    Inference,
    InferenceAnswer,
    Upload,
    UploadQuery,
    V1Inference,
    V1InferenceAnswer,
)
from modelyard.tasks.registry import TASKS

STREAM = {"type": "string", "description": "With stream: pieces as they are made, without any framing."}
HEADERS = {
    "x-request-id": "Names the request in the server's log.",
    "ratelimit-limit": "Requests this key may make per minute.",
    "ratelimit-remaining": "Requests left in this minute.",
    "ratelimit-reset": "Seconds until the minute is over.",
    "inference-meter": "The model's price tier.",
    "inference-meter-price": "US dollars per second.",
    "inference-time": "Seconds an instance worked on it; 0 on streams: see /models/v2/usage/{request_id} afterwards.",
    "inference-cost": "US dollars for that time.",
}
REQUEST_HEADERS = {
    "provider-key": {
        "description": "Of a closed model: your key of its provider, which is passed on and kept nowhere. Without it "
        "the operator's is used, if there is one.",
        "schema": {"type": "string"},
    },
    deadline.HEADER: {
        "description": "Seconds the request may take in all, its wait for a replica included; then it gets 504 and its "
        "work is cancelled. The server's own limit holds where it is less.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
}
BARE_FILES = {
    f"{kind}/*": {**BINARY, "description": f"The {kind} itself; params in the query string."}
    for kind in ("image", "audio", "video")
}
V2_INFERENCE = Operation(
    methods=("POST",),
    path="/models/v2/{org}/{model}",
    summary="Run the model; a cluster is made when there is none",
    tag="inference",
    body=Inference,
    body_types={"multipart/form-data": Upload, **BARE_FILES},
    query=UploadQuery,
    answer=InferenceAnswer,
    answer_types={"text/event-stream": STREAM, **MADE_TYPES},
    headers=HEADERS,
    request_headers=REQUEST_HEADERS,
    examples={task.id: {"summary": task.summary, "value": task.example} for task in TASKS},
)
V2_CLOSED_INFERENCE = replace(
    V2_INFERENCE,
    path="/models/v2/{provider}/{org}/{model}",
    summary="Run a closed model whose name at its provider has a slash",
    examples={},
)
V1_INFERENCE = Operation(
    methods=("POST",),
    path="/model/run",
    summary="Run a loaded model",
    tag="v1",
    body=V1Inference,
    answer=V1InferenceAnswer,
    answer_types={"text/plain": STREAM},
    headers=HEADERS,
    request_headers=REQUEST_HEADERS,
    error=V1Error,
)
