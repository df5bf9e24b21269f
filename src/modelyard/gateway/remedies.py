"""What a client can do about an error, in the words of the surface it speaks. Owns these sentences and nothing else.

Rooms below raise errors that say what is wrong and carry data; where one class has several causes, `data["cause"]`
tells which. A table maps class and cause to a sentence, in which `{name}` stands for the error's data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.errors import (
    BodyTooLarge,
    CannotAskProviders,
    ClusterOff,
    DeadlineExceeded,
    DownloadFailed,
    ForeignPage,
    InputTooLarge,
    InvalidRequest,
    ModelRefused,
    ModelyardError,
    NoCapacity,
    Overloaded,
    PaymentRequired,
    ProviderFailed,
    ProviderKeyRefused,
    QueueFull,
    QuotaExceeded,
    ReplicaLost,
    StoreUnavailable,
    Throttled,
    Unauthorized,
    UnknownCluster,
    UnknownModel,
)
from modelyard.records.models import NO_MODEL_ID, UNSAFE, Listing

ASK_AGAIN = 'Ask again with "retry": true (or `modelyard request --retry`) once that has changed.'
"""What to do about a job that failed, whatever failed it."""

EVENTS = "The model's events say what it waited for: GET /models/v2/org/name?events=10, or `modelyard events`."
"""Where to read why no replica came."""

Remedies = Mapping[tuple[type[ModelyardError], str | None], str]
"""By class and cause; the cause None stands for every other cause of the class."""

OPERATOR: Remedies = {
    (InvalidRequest, "unreachable host"): "The operator of this server may allow others with --allow-private-media.",
    (InvalidRequest, NO_MODEL_ID): "Other names need an alias: `modelyard aliases set NAME org/name`.",
    (BodyTooLarge, "request"): "--max-body-mb raises the limit.",
    (BodyTooLarge, "memory"): "--max-request-mb raises the limit.",
    (InputTooLarge, "limit"): "Send a shorter input, or ask for less at once.",
    (InputTooLarge, "machine"): "Send a shorter input, or ask for less at once.",
    (DeadlineExceeded, "request"): "Ask for less, or allow it more: the header x-request-timeout, within what "
    "--request-timeout-s says.",
    (DeadlineExceeded, "waiting"): f"{EVENTS} Allow it more with the header x-request-timeout, within what "
    "--request-timeout-s says.",
    (DeadlineExceeded, "queue"): EVENTS,
    (ModelRefused, UNSAFE): "The operator of this server can accept that for this model: "
    "`modelyard serve --allow-unsafe {model}`.",
    (Overloaded, None): "Try again shortly.",
    (StoreUnavailable, None): "Nothing new is begun until it can; try again shortly.",
    (NoCapacity, "machine"): "Serve a smaller model or raise --memory-gb.",
    (NoCapacity, "device"): "Serve a smaller model.",
    (NoCapacity, "account memory"): "Serve a smaller model, or have the limit raised: "
    "`modelyard accounts set NAME --max-memory-gb X`.",
    (NoCapacity, "account instances"): "Have the limit raised: `modelyard accounts set NAME --max-instances N`.",
    (PaymentRequired, "credit"): "Nothing new is begun until the operator of this server adds credit "
    "(`modelyard accounts credit`).",
    (PaymentRequired, "monthly limit"): "Nothing new is begun until the month is over (UTC) or the operator of this "
    "server raises the limit (`modelyard accounts set`).",
    (QuotaExceeded, "account disk"): "Delete models that you no longer need, or have the limit raised: "
    "`modelyard accounts set NAME --max-disk-gb X`.",
    (DownloadFailed, "cache"): "The operator of this server can make room (`modelyard cache`) or raise --cache-gb.",
    (QuotaExceeded, "models"): "Delete one, or have the limit raised: `modelyard accounts set NAME --max-models N`.",
    (Throttled, "lookups"): "--lookups-per-minute raises the limit.",
    (Unauthorized, None): "Send `Authorization: Key <key>`; `modelyard keys create NAME` makes one.",
    (Unauthorized, "session"): "Sign in again.",
    (Unauthorized, "code"): "Sign in with an API key.",
    (ForeignPage, None): "Send an API key in its place.",
    (Unauthorized, "unknown key"): "`modelyard keys create NAME` makes one that is.",
    (
        ProviderKeyRefused,
        "missing",
    ): "Send the header `provider-key: <your key of {provider}>`, or have the operator "
    "of this server set one: --provider-keys {provider}=<key>.",
    (ProviderKeyRefused, "price"): "Send the header `provider-key: <your key of {provider}>`.",
    (ProviderKeyRefused, "refused"): "Look at the key in the header `provider-key`, else at --provider-keys.",
    (ProviderFailed, None): "Try again shortly.",
    (CannotAskProviders, None): "Try again shortly.",
    (ReplicaLost, "tries"): "See `modelyard logs {model}`.",
}
"""What is the operator's to do, whatever the surface."""

V2: Remedies = {
    **OPERATOR,
    (UnknownCluster, None): "Create one with PUT /models/v2/{model}, or just POST to it.",
    (UnknownModel, "variant"): "Ask for it with POST /models/v2/request/{model} or `modelyard request`.",
    (ClusterOff, "off"): 'Switch it on with PATCH {{"status": "on"}}.',
    (ClusterOff, "max"): 'Raise it with PATCH {{"capacity": {{"max": 1}}}}.',
    (QueueFull, None): "Try again shortly, or raise capacity.max.",
    (QueueFull, "jobs"): "Ask again when one of them is over.",
    (QuotaExceeded, "models"): "Delete one (DELETE /models/v2/org/model), or have the limit raised: "
    "`modelyard accounts set NAME --max-models N`.",
}

OPENAI: Remedies = {
    **V2,
    (Unauthorized, None): "Send `Authorization: Bearer <key>`; `modelyard keys create NAME` makes one.",
    (ClusterOff, "off"): 'Switch it on with PATCH /models/v2/{model} {{"status": "on"}}.',
    (ClusterOff, "max"): 'Raise it with PATCH /models/v2/{model} {{"capacity": {{"max": 1}}}}.',
}
"""Of OpenAI's API, and of those that have the same clusters behind other words."""

ANTHROPIC: Remedies = {
    **OPENAI,
    (Unauthorized, None): "Send `x-api-key: <key>`; `modelyard keys create NAME` makes one.",
}

V1: Remedies = {
    **OPERATOR,
    (UnknownCluster, None): 'Load it first: POST /model/load {{"model": "{model}"}}.',
    (UnknownModel, "variant"): 'Ask for it with POST /model/job {{"model": "{model}"}} or `modelyard request`.',
    (ClusterOff, "off"): "Whoever switched it off over /models/v2 can switch it on again.",
    (ClusterOff, "max"): 'Load it again: POST /model/load {{"model": "{model}"}}.',
    (QueueFull, None): "Try again shortly, or load it with a higher concurrency.",
    (QueueFull, "jobs"): "Ask again when one of them is over.",
    (QuotaExceeded, "models"): "Delete one (POST /model/delete), or have the limit raised: "
    "`modelyard accounts set NAME --max-models N`.",
}


class _Data(dict[str, Any]):
    """An error's data in a sentence; what it does not have is left open."""

    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def find_remedy(error: ModelyardError, remedies: Remedies) -> str | None:
    """What the table says about such an error; None when it says nothing."""
    kind = type(error)
    words = remedies.get((kind, error.data.get("cause"))) or remedies.get((kind, None))
    return None if words is None else words.format_map(_Data(error.data))


def sentence(error: ModelyardError, remedies: Remedies) -> str:
    """What is wrong, and what to do about it."""
    remedy = find_remedy(error, remedies)
    return error.message if remedy is None else f"{error.message.rstrip('.')}. {remedy}"


def describe_refusal(listing: Listing) -> str | None:
    """Why a model in a list must not be served, and what to do about it; None when it may be."""
    if listing.refusal is None:
        return None
    cause = listing.facts.get("refusal_cause")
    return sentence(ModelRefused(listing.refusal, cause=cause, model=listing.model_id), OPERATOR)


def describe_for_log(error: ModelyardError) -> str:
    """An error in the log of a cluster, which is read over v2."""
    return sentence(error, V2)


def describe_failed_job(error: ModelyardError) -> str:
    """Why a job failed, and how to have it done once more. In v2's words, whoever asked for it."""
    return f"{sentence(error, V2).rstrip('.')}. {ASK_AGAIN}"
