"""The API described for people and programs: `/openapi.json`, and a page that shows it without any outside asset.

Owns the words; the tasks' params and outputs come from their adapters, so that they are never written twice.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import msgspec
import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from modelyard import __version__
from modelyard.control.states import ClusterStatus
from modelyard.gateway import artefacts
from modelyard.gateway.listing import DEFAULT_LIMIT, MAX_LIMIT
from modelyard.gateway.problem import JSON
from modelyard.gateway.surfaces.v1.calls import STATUS as V1_WORDS
from modelyard.media.artefacts import ENDINGS
from modelyard.records.jobs import JobState
from modelyard.tasks.registry import TASKS

REF = "#/components/schemas/{name}"

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Modelyard API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
</head>
<body>
<div id="page"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({url: "/openapi.json", dom_id: "#page", deepLinking: true, defaultModelsExpandDepth: 0})
</script>
</body>
</html>
"""


def described(kind: str, description: str, **more: Any) -> dict[str, Any]:
    """A JSON schema for one field."""
    return {"type": kind, "description": description, **more}


MOMENT = "ISO 8601, UTC, milliseconds, Z."

CAPACITY = {
    "type": "object",
    "description": "How many instances the cluster may and should have: 0 ≤ min ≤ desired ≤ max.",
    "properties": {
        "min": described("integer", "Instances kept even without requests.", minimum=0, default=0),
        "desired": described("integer", "Instances to start with, and to keep while in use.", minimum=0, default=1),
        "max": described("integer", "Most instances under load.", minimum=0, default=1),
    },
}
TIMEOUT = described(
    "integer", "SECONDS without a request after which the cluster shrinks to min (default 1800).", minimum=0
)
CLUSTER = {
    "type": "object",
    "description": "An auto-scaling cluster of one model, for one account.",
    "properties": {
        "modelId": described("string", "The model, org/name."),
        "status": described(
            "string",
            "What it is doing.",
            enum=[status.value for status in ClusterStatus],
        ),
        "created": described("string", f"When it was created. {MOMENT}"),
        "modified": described("string", f"When it was last changed by a client. {MOMENT}"),
        "timeout": TIMEOUT,
        "capacity": CAPACITY,
        "instances": described("integer", "Instances that exist or are on their way."),
        "ready": described("integer", "Instances that take requests."),
        "inFlight": described("integer", "Requests that instances are working on."),
        "queued": described("integer", "Requests that wait for an instance."),
        "inferences": described("integer", "Requests answered since it was created."),
        "lastInference": described("string", f"When the last request was answered. {MOMENT}", nullable=True),
        "expiresAt": described("string", f"When it will shrink to min unless used. {MOMENT}", nullable=True),
        "ramRequired": described("number", "GB of memory one instance needs.", nullable=True),
        "error": described("string", "Why it failed, and what to do.", nullable=True),
        "events": {
            "type": "array",
            "description": "Its last events, with ?events=N.",
            "items": {"$ref": REF.format(name="Event")},
        },
    },
}
EVENT = {
    "type": "object",
    "description": "One line of a cluster's log.",
    "properties": {
        "id": described("integer", "Grows with time; pass the last one as `after` to read on."),
        "at": described("string", f"When it happened. {MOMENT}"),
        "modelId": described("string", "The model."),
        "kind": described("string", "What sort of event: created, booting, ready, draining, failed, ..."),
        "message": described("string", "The event in words."),
    },
}
MODEL = {
    "type": "object",
    "description": "A model this server can run, or says why not.",
    "properties": {
        "modelId": described("string", "org/name."),
        "task": described("string", "What it does.", nullable=True),
        "params": described("number", "Parameters, in billions.", nullable=True),
        "ramRequired": described("number", "GB of memory one instance needs.", nullable=True),
        "memorySource": described(
            "string",
            "How ramRequired is known: measured or estimated here, or published by the hosted service.",
            enum=["measured", "estimated", "published"],
            nullable=True,
        ),
        "meter": described("string", "Price tier, by required memory.", nullable=True),
        "meterPrice": described("number", "US dollars per second of one instance.", nullable=True),
        "benchmarked": described("boolean", "Whether ramRequired was measured, by whomever; else it is an estimate."),
        "architecture": described("string", "The model class its config names.", nullable=True),
        "source": described(
            "string",
            "Who says so: its files in a folder or on the hub, the list of published models, or a request for it; "
            "variant: it was made here from another model.",
            enum=["folder", "hub", "published", "requested", "variant"],
        ),
        "revision": described("string", "The hub's commit.", nullable=True),
        "license": described("string", "As its card says.", nullable=True),
        "variants": {
            "type": "array",
            "description": "The models made from it, such as org/name.onnx.8-bit.",
            "items": {"type": "string"},
        },
        "variantOf": described("string", "The model it was made from.", nullable=True),
        "error": described("string", "Why it cannot be served, and what to do.", nullable=True),
    },
}
ERROR = {
    "type": "object",
    "properties": {
        "error": described("string", "One clear sentence: what is wrong, what was got, what to do."),
        "output": described("object", "Always null.", nullable=True),
    },
}
ERRORS = {
    400: "The body is not valid JSON.",
    401: "No valid key.",
    402: "The account's credit is spent, or its monthly limit reached.",
    403: "Your account has as many models as it may have; the message says which could be deleted.",
    404: "No such model or cluster; the nearest names are offered.",
    413: "The body is too large.",
    415: "The body's content type is not accepted.",
    422: "A field is wrong: the message names it, what was got and what is accepted.",
    429: "Rate limit of the key, requests at once of the account, or full queue; see Retry-After.",
    503: "No capacity, or the boot failed, with the reason.",
    504: "The wait for an instance ran out.",
}
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


BINARY = {"type": "string", "format": "binary"}
FILES = {media_type: {"schema": BINARY} for media_type in ENDINGS}
MADE_URL = described(
    "string", "Where the file can be fetched, without a key, until it expires. With json=false: the file.", format="uri"
)
MEDIA = {
    name: described("string", f"The {kind} a task reads: an http(s) URL, a data URL, or base64.")
    for name, kind in (
        ("image_url", "image"), ("audio_url", "sound"), ("video_url", "video"), ("url", "image, sound or video"),
        ("base64", "image, sound or video"),
    )
}  # fmt: skip
UPLOADS = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "description": "One file under any name, and the other fields as text; params as JSON.",
            "properties": {
                "file": {**BINARY, "description": "The image, sound or video."},
                "text": described("string", "Beside it, where the task reads text."),
                "params": described("string", 'The task\'s settings, as JSON: {"top_k": 3}.'),
            },
        }
    },
    **{
        f"{kind}/*": {"schema": {**BINARY, "description": f"The {kind} itself; params in the query string."}}
        for kind in ("image", "audio", "video")
    },
}


@functools.cache
def build() -> dict[str, Any]:
    """The OpenAPI 3.0 document."""
    schemas = {"Cluster": CLUSTER, "Capacity": CAPACITY, "Event": EVENT, "Model": MODEL, "Error": ERROR}
    params: list[Any] = []
    outputs: list[Any] = []
    inputs: dict[str, Any] = {}
    examples: dict[str, Any] = {}
    for task in TASKS:
        (_, _, output_ref), parts = msgspec.json.schema_components(
            [task.params, task.inputs, task.output], ref_template=REF
        )
        name = task.id.title().replace("-", "")
        for part, schema in parts.items():
            schemas.setdefault(part, nullable(schema))
        schemas[f"{name}Params"] = {**nullable(parts[task.params.__name__]), "title": f"params of {task.id}"}
        for field, schema in nullable(parts[task.inputs.__name__])["properties"].items():
            if field != "media":  # what clients call by the names in MEDIA
                inputs.setdefault(field, schema)
        params.append({"$ref": REF.format(name=f"{name}Params")})
        output = nullable(output_ref) if task.makes is None else MADE_URL
        outputs.append({"title": task.id, "allOf": [output], "description": task.summary})
        examples[task.id] = {"summary": task.summary, "value": task.example}
    inference = {
        "type": "object",
        "description": "One format for every task; a task reads its own fields and ignores the others.",
        "properties": {
            **inputs,
            **MEDIA,
            "input": {
                "description": "Wild card: a text (for tasks that read media, a URL or base64), a list, or an object "
                "whose fields are spread."
            },
            "prompt": described("string", "The same as text."),
            "params": {"description": "The task's settings.", "anyOf": params},
            "stream": described("boolean", "Send the answer as plain text chunks as they are made.", default=False),
            "json": described(
                "boolean", "False: answer with the file a model made itself, rather than with its URL.", default=True
            ),
        },
    }
    schemas["Inference"] = inference
    model = [path_parameter("org", "The model's organisation or user."), path_parameter("model", "The model's name.")]
    path = "/models/v2/{org}/{model}"
    models = envelope(array("Model"))
    models["properties"]["next"] = described("string", "Where there are more models: the id to send as `after`.")
    cluster = envelope({"$ref": REF.format(name="Cluster")})
    fields = {"capacity": {"$ref": REF.format(name="Capacity")}, "timeout": TIMEOUT}
    change = {"type": "object", "properties": fields}
    switch = {"status": described("string", "on or off.", enum=["on", "off"])}
    document: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {
            "title": "Modelyard",
            "version": __version__,
            "description": "Any open model behind one API, on your own machines.",
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Key <k>`, `Bearer <k>` or the bare key.",
                }
            },
        },
        "security": [{"key": []}],
        "paths": {
            path: {
                "parameters": model,
                "put": operation(
                    "Create an auto-scaling cluster, or update it",
                    envelope(described("string", "Loading")),
                    change,
                    202,
                ),
                "get": {
                    **operation("Read a cluster", cluster),
                    "parameters": [query("events", "integer", "How many of its last events to add.")],
                },
                "patch": operation(
                    "Change a live cluster", cluster, {"type": "object", "properties": {**fields, **switch}}
                ),
                "delete": operation(
                    "Stop every instance and remove the cluster", envelope(described("string", "Deleted"))
                ),
                "post": {
                    **operation(
                        "Run the model; a cluster is made when there is none",
                        envelope({"description": "Depends on the model's task.", "anyOf": outputs}),
                        {"$ref": REF.format(name="Inference")},
                        examples=examples,
                        headers=HEADERS,
                        uploads=UPLOADS,
                        files=True,
                    ),
                    "parameters": [
                        query("params", "string", "For a body that is a bare file: the task's params, as JSON.")
                    ],
                },
            },
            artefacts.PREFIX + "{name}": {
                "parameters": [path_parameter("name", "From the URL that an inference answered with.")],
                "get": {
                    "summary": "Fetch a file that a model has made, whole or in ranges; no key is needed",
                    "security": [],
                    "responses": {
                        "200": {"description": "The file.", "content": FILES},
                        "206": {"description": "The range asked for.", "content": FILES},
                        "404": {"description": "There is no such file, or it has expired."},
                        "416": {"description": "The file has no such range."},
                    },
                },
            },
            "/models/v2/list/models": {
                "get": {
                    **operation("List models by id, in pages; a Link header leads to the next", models),
                    "parameters": [
                        *paging(),
                        query("modelId", "string", "Only this model, wherever it is; an unknown one: an empty list."),
                    ],
                }
            },
            "/models/v2/list/tasks": {
                "get": operation("List tasks", envelope({"type": "array", "items": {"type": "string"}}))
            },
            "/models/v2/list/tasks/{task}": {
                "parameters": [path_parameter("task", "The task's name.")],
                "get": operation("Describe a task: JSON schemas and an example", envelope({"type": "object"})),
            },
            "/models/v2/list/clusters": {"get": operation("List your clusters", envelope(array("Cluster")))},
            "/models/v2/list/jobs": {
                "get": {
                    **operation("List the models you asked for", envelope({"type": "array", "items": JOB})),
                    "parameters": [query("limit", "integer", "At most this many, those that changed last first.")],
                }
            },
            "/models/v2/request/{org}/{model}": {
                "parameters": model,
                "post": operation(
                    "Have a model fetched and measured, or a variant of it (`.onnx`, `.onnx.8-bit`) made",
                    envelope(described("string", "Job queued, or how far the job has got.")),
                    {"type": "object", "properties": RETRY},
                ),
                "get": operation("Read how far that has got", envelope(JOB)),
            },
            "/models/v2/events/{org}/{model}": {
                "parameters": model,
                "get": {
                    **operation("Read a cluster's log, oldest first", envelope(array("Event"))),
                    "parameters": [
                        query("after", "integer", "Only events after this id."),
                        query("limit", "integer", "At most this many."),
                    ],
                },
            },
            "/models/v2/logs/{org}/{model}": {
                "parameters": model,
                "get": {
                    **operation(
                        "Read the output of a cluster's workers, newest first",
                        envelope({"type": "array", "items": {"type": "object"}}),
                    ),
                    "parameters": [query("replicas", "integer", "Of how many workers (1).")],
                },
            },
            **usage_paths(),
            **v1_paths(),
            "/health": {"get": {**operation("What the server is doing", {"type": "object"}), "security": []}},
            "/livez": {"get": {**operation("The process answers", {"type": "object"}), "security": []}},
            "/readyz": {"get": {**operation("Requests are taken", {"type": "object"}), "security": []}},
        },
    }
    for path, methods in document["paths"].items():
        for method, described_operation in methods.items():
            if method != "parameters":
                described_operation["tags"] = [tag_of(path, method)]
    return document


USED = {
    "instances": described("integer", "Instances that are billed in it."),
    "seconds": described("number", "Their time that counts."),
    "billedSeconds": described("number", "With the minimum, rounded up."),
    "gbSeconds": described("number", "Billed seconds × GB of required memory."),
    "requests": described("integer", "Requests that instances worked on."),
    "inferenceSeconds": described("number", "The time they took."),
    "cost": described("number", "US dollars."),
    "costNano": described("integer", "The same in billionths of a US dollar, exactly."),
}
USAGE = {
    "type": "object",
    "properties": {
        "since": described("string", MOMENT),
        "until": described("string", MOMENT),
        "rows": {
            "type": "array",
            "description": "What was used, by UTC day and model.",
            "items": {
                "type": "object",
                "properties": {
                    "day": described("string", "YYYY-MM-DD."),
                    "modelId": described("string", "The model."),
                    **USED,
                },
            },
        },
        "total": {"type": "object", "description": "All rows together.", "properties": USED},
        "funds": described("object", "Credit, limit, what is spent and left; null without either.", nullable=True),
        "lines": {
            "type": "array",
            "description": "With ?lines=true: each instance, its interval (from, to) and its cost.",
            "items": {"type": "object"},
        },
    },
}
REQUEST_USAGE = {
    "type": "object",
    "properties": {
        "requestId": described("string", "From the header x-request-id."),
        "modelId": described("string", "The model."),
        "instanceId": described("string", "The instance that worked on it last.", nullable=True),
        "at": described("string", f"When it came. {MOMENT}"),
        "outcome": described("string", "How it ended.", enum=["answered", "failed", "cancelled", "lost"]),
        "meter": described("string", "The model's price tier."),
        "meterPrice": described("number", "US dollars per second, today."),
        "time": described("number", "Seconds an instance worked on it."),
        "cost": described("number", "US dollars for that time."),
        "costNano": described("integer", "The same in billionths of a US dollar, exactly."),
        "charged": described("number", "What of it is on the bill; 0 where instances are billed."),
        "chargedNano": described("integer", "The same in billionths of a US dollar, exactly."),
    },
}


def usage_paths() -> dict[str, Any]:
    """What was used and what it costs."""
    return {
        "/models/v2/usage": {
            "get": {
                **operation("Read what your account has used, and what it costs", envelope(USAGE)),
                "parameters": [
                    query("since", "string", "From this ISO date or time on (UTC); by default this month."),
                    query("until", "string", "Up to, not including, this date or time; by default now."),
                    query("modelId", "string", "Only this model."),
                    query("groupBy", "string", "day or model; without it, rows are for both."),
                    query("lines", "boolean", "Add a line for each instance."),
                ],
            }
        },
        "/models/v2/usage/{request_id}": {
            "parameters": [path_parameter("request_id", "From the header x-request-id of an inference.")],
            "get": operation("Read what one request took and cost", envelope(REQUEST_USAGE)),
        },
    }


def paging() -> list[dict[str, Any]]:
    """What lists of models can be narrowed by, and how they are paged."""
    return [
        query("task", "string", "Only models of this task."),
        query("search", "string", "Only models whose id contains this, in any case."),
        query("limit", "integer", f"At most this many, from 1 to {MAX_LIMIT:,}; by default {DEFAULT_LIMIT:,}."),
        query("after", "string", "Only models that follow this id."),
    ]


RETRY = {"retry": described("boolean", "Do it once more, though the last job failed or is done.", default=False)}
JOB = {
    "type": "object",
    "properties": {
        "modelId": described("string", "The model."),
        "status": described("string", "How far it has got.", enum=[state.value for state in JobState]),
        "message": described("string", "What it is doing; when it failed, why, and what to do."),
        "attempts": described("integer", "How often it was begun."),
        "created": described("string", f"When it was asked for first. {MOMENT}"),
        "modified": described("string", f"When it last changed. {MOMENT}"),
        "startTime": described("string", f"When the latest attempt began. {MOMENT}", nullable=True),
        "endTime": described("string", f"When it was over. {MOMENT}", nullable=True),
    },
}
V1_JOB = {
    "type": "object",
    "properties": {
        "model": described("string", "The model."),
        "success": described("boolean", "False when the job failed."),
        "message": described("string", "How far it has got; `Model available` in the end. Not in the first answer."),
        "startTime": described("string", f"When the work began. {MOMENT}", nullable=True),
        "endTime": described("string", f"When it was over. {MOMENT}"),
        "modified": described("string", f"When it last changed. {MOMENT}"),
        "error": described("string", "Why it failed."),
    },
}
V1_MODEL = {"model": described("string", "The model, org/name.")}
V1_BODY = {"type": "object", "required": ["model"], "properties": V1_MODEL}
V1_STATUS = {
    "type": "object",
    "properties": {
        "model": described("string", "The model."),
        "status": described("string", "What it is doing.", enum=sorted(set(V1_WORDS.values()))),
        "concurrency": described("integer", "Most instances."),
        "inferences": described("integer", "Requests answered since it was loaded."),
        "expirationPeriodSeconds": described("integer", "Idle seconds after which it is stopped."),
        "expirationPeriodMinutes": described("number", "The same in minutes."),
        "expiresAt": described("string", f"When it is stopped unless it is run before. {MOMENT}", nullable=True),
        "created": described("string", f"When it was loaded first. {MOMENT}"),
        "modified": described("string", f"When it was last changed. {MOMENT}"),
        "error": described("string", "Why it failed."),
    },
}


def v1_paths() -> dict[str, Any]:
    """The older calls, `/model/*`; their bodies have no envelope."""
    load = {
        **V1_MODEL,
        "concurrency": described("integer", "Most instances.", minimum=1, default=1),
        "expirationPeriodSeconds": described("integer", "Idle seconds after which it is stopped.", default=1800),
    }
    inference = {"allOf": [{"$ref": REF.format(name="Inference")}, V1_BODY]}
    models = {"type": "array", "items": {"type": "object"}}
    return {
        "/model/list": {
            "get": {
                **operation("List models by id, in pages; a Link header leads to the next", models),
                "parameters": paging(),
            }
        },
        "/model/job": {
            "post": operation(
                "Have a model fetched and measured; call it again to see how far that has got",
                V1_JOB,
                {**V1_BODY, "properties": {**V1_MODEL, **RETRY}},
            )
        },
        "/model/load": {"post": operation("Load a model", {"type": "object"}, {**V1_BODY, "properties": load})},
        "/model/status": {"post": operation("Check a loaded model", V1_STATUS, V1_BODY)},
        "/model/run": {"post": operation("Run a loaded model", {"type": "object"}, inference)},
        "/model/instances": {
            "get": operation("List your loaded models", {"type": "array", "items": V1_STATUS}),
        },
        "/model/delete": {"post": operation("Stop a loaded model", {"type": "object"}, V1_BODY)},
    }


def tag_of(path: str, method: str) -> str:
    """The heading an operation stands under."""
    if path.startswith("/model/"):
        return "v1"
    if path.startswith("/models/v2/usage"):
        return "usage"
    if "/list/" in path:
        return "lists"
    if "/request/" in path:
        return "jobs"
    if path.startswith(artefacts.PREFIX):
        return "artefacts"
    if not path.startswith("/models"):
        return "health"
    return "inference" if method == "post" else "clusters"


def operation(
    summary: str,
    output: dict[str, Any],
    body: dict[str, Any] | None = None,
    status: int = 200,
    *,
    examples: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    uploads: dict[str, Any] | None = None,
    files: bool = False,
) -> dict[str, Any]:
    """One method of a path. `uploads`: other content types its body may have; `files`: it may answer with a file."""
    success: dict[str, Any] = {"description": "Done.", "content": {"application/json": {"schema": output}}}
    if files:
        success["content"] |= FILES
    if headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    content = {"schema": {"$ref": REF.format(name="Error")}}
    failures = {
        str(code): {"description": text, "content": {"application/json": content}} for code, text in ERRORS.items()
    }
    result: dict[str, Any] = {"summary": summary, "responses": {str(status): success, **failures}}
    if body is not None:
        media: dict[str, Any] = {"schema": body}
        if examples:
            media["examples"] = examples
        result["requestBody"] = {"content": {"application/json": media, **(uploads or {})}}
    return result


def envelope(output: dict[str, Any]) -> dict[str, Any]:
    """The v2 envelope around an output."""
    error = described("string", "Null on success.", nullable=True)
    return {"type": "object", "properties": {"error": error, "output": output}}


def array(name: str) -> dict[str, Any]:
    """A list of a named schema."""
    return {"type": "array", "items": {"$ref": REF.format(name=name)}}


def path_parameter(name: str, description: str) -> dict[str, Any]:
    """A part of a path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def query(name: str, kind: str, description: str) -> dict[str, Any]:
    """A query parameter."""
    return {"name": name, "in": "query", "description": description, "schema": {"type": kind}}


def nullable(schema: Any) -> Any:
    """JSON Schema's `anyOf [..., null]` in OpenAPI 3.0's words, recursively."""
    if isinstance(schema, list):
        return [nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    converted = {name: nullable(value) for name, value in schema.items()}
    options = converted.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        rest = [option for option in options if option != {"type": "null"}]
        converted.pop("anyOf")
        converted |= {**rest[0], "nullable": True} if len(rest) == 1 else {"anyOf": rest, "nullable": True}
    return converted


async def document(request: Request) -> Response:
    """Answers GET /openapi.json."""
    return Response(msgspec.json.encode(build()), media_type=JSON)


async def page(request: Request) -> Response:
    """Answers GET /docs."""
    return HTMLResponse(_PAGE)


def assets() -> StaticFiles:
    """The viewer's own files, from its Python package."""
    (folder,) = (Path(swagger_ui_bundle.__file__).parent / "vendor").iterdir()
    return StaticFiles(directory=folder)
