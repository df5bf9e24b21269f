"""Settings: what each one means, its default, and where its value came from.

Owns the order flag > environment (`MODELYARD_*`) > config file > default. Reads the file and the environment once.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from modelyard.errors import InvalidRequest

CONFIG_NAME = "modelyard.toml"
DATABASE_NAME = "modelyard.db"
CLI_KEY_FILE = "cli.key"
"""In the data folder, readable by its owner only: the key that `modelyard` commands on this machine use."""
FIRST_ACCOUNT = "admin"
"""The account that the first start makes."""


LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = (TEXT, JSON) = ("text", "json")
ENGINES = (LOCAL, RAY) = ("local", "ray")
SANDBOXES = ("auto", "strict", "off")
CACHE_REMOVES = ("own", "any", "nothing")
PICKLES = (OFF, ASK, ON) = ("off", "ask", "on")
BILLING_COUNTS = ("ready", "life", "inference")
WORDS_FOR = {int: "a whole number", float: "a number", bool: "true or false", str: "text", Path: "a path"}
MOST_GATEWAYS = 64
BOOLEANS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


CONTEXT_TOKENS = 4096
"""Prompt and answer of a long conversation; of a model of 7B parameters it takes half a gigabyte."""


def setting(default: Any, description: str, *, most: int | None = None, choices: tuple[str, ...] = ()) -> Any:
    """A settings field with its one-line description. Numbers go from 0 to `most`; `choices`: the words there are."""
    return field(default=default, metadata={"description": description, "most": most, "choices": choices})


def default_data_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Where data goes when nobody says: `$XDG_DATA_HOME/modelyard`, by default ~/.local/share/modelyard."""
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "modelyard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set. Durations are in seconds and say so in their names."""

    host: str = setting("127.0.0.1", "address to listen on; 0.0.0.0 opens the server to other machines")
    port: int = setting(
        8080, "port to listen on; the hosted service's clients expect 8080 in their dev mode", most=65535
    )
    gateways: int = setting(
        1,
        "processes that answer HTTP on the port: more than one where a core does not keep up with requests (Linux)",
        most=MOST_GATEWAYS,
    )
    max_connections: int = setting(
        0,
        "connections at once; beyond it the oldest that has shown no valid key is closed; 0: 4096; never more than the "
        "process may open files for",
    )
    header_timeout_s: float = setting(20.0, "seconds that a request's header may take, and a connection's first byte")
    body_timeout_s: float = setting(
        3600.0, "seconds that a request's body may take, apart from those in which the server makes it wait"
    )
    body_bytes_per_s: int = setting(1024, "how fast a body must come on average, after its first half minute")
    keep_alive_s: float = setting(75.0, "seconds for which an idle connection stays open")
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "address or network of a proxy in front of the server, whose proxy header and X-Forwarded-Proto are "
        "believed; may be given several times",
    )
    proxy_header: str = setting(
        "X-Forwarded-For", "header in which trusted proxies say where a request comes from; no other is looked at"
    )
    data_dir: Path = field(
        default_factory=default_data_dir,
        metadata={"description": "folder for the database, logs and everything else the server keeps"},
    )
    models_dir: tuple[Path, ...] = setting((), "folder holding org/name/ model folders; may be given several times")
    database_url: str = setting("", "postgresql://user:password@host/name; empty: an SQLite file in the data folder")
    engine: str = setting(
        "local",
        "where replicas run. local: processes on this machine; ray: on every node of a Ray cluster",
        choices=ENGINES,
    )
    ray_address: str = setting(
        "auto", "host:port of the Ray cluster; auto: the one that RAY_ADDRESS names, else the one on this machine"
    )
    server_host: str = setting(
        "127.0.0.1", "where several servers share one PostgreSQL: this machine's address, at which the others reach it"
    )
    links_certificate: str = setting(
        "",
        "PEM file with this machine's certificate, for TLS between servers, nodes and replicas: both ends show one; "
        "with links_key and links_ca, on every machine; empty: nothing is encrypted between them",
    )
    links_key: str = setting("", "PEM file with that certificate's key, without a password")
    links_ca: str = setting(
        "",
        "PEM file with the authority that has signed the certificates of all machines, and signs nothing else: whoever "
        "has a certificate of it is let in",
    )
    memory_gb: float = setting(0.0, "memory all replicas together may use, in GB; 0: 90 % of what is free at the start")
    device_memory: tuple[str, ...] = setting(
        (),
        "an accelerator that replicas may use, and its memory for them in GB, such as cuda:0=20; may be given several "
        "times; none: no accelerator is used; empty: all that NVIDIA's driver tells, 90 % of what is free at the start",
    )
    allow_unsafe: tuple[str, ...] = setting(
        (), "org/name of a model whose pickle weights or own code may be loaded; may be given several times"
    )
    bf16: tuple[str, ...] = setting(
        (),
        "org/name of a model that transformers holds whose weights are to have 16 bits (bf16) in place of 32: half the "
        "memory, answers that differ a little, slower where the processor has no bf16; may be given several times",
    )
    runtime: tuple[str, ...] = setting(
        (),
        "what holds models of which there is more than one form. fastest, the default: what a job has measured to be, "
        "where the answers are equal and no more memory is needed; original: the model as it is; of one model: "
        "org/name=original, or =onnx or =openvino for that variant, once it is there; may be given several times",
    )
    pickles: str = setting(
        "ask",
        "models whose weights are pickle files only, which a confined process makes into safetensors once. ask: those "
        "named by --allow-unsafe; on: all; off: none",
        choices=PICKLES,
    )
    context_tokens: int = setting(
        CONTEXT_TOKENS,
        "most tokens of prompt and answer together that a model in GGUF files keeps, for which memory is set aside "
        "when it is loaded; 0: as many as its own context has",
    )
    sandbox: str = setting(
        "auto",
        "what keeps models from everything else here. auto: the most this machine offers; strict: refuse to start "
        "where that is too little (`modelyard doctor` says); off: nothing",
        choices=SANDBOXES,
    )
    allow_network: tuple[str, ...] = setting(
        (), "org/name of a model that may open connections; may be given several times"
    )
    cache_gb: float = setting(
        0.0,
        "what models in the hub's cache may take of its disk, in GB; before a download makes them more, models that "
        "nobody uses are removed, those unused for longest first; 0: as much as the disk has",
    )
    cache_removes: str = setting(
        "own",
        "what is removed from the hub's cache when a download needs room. own: models that this server has downloaded "
        "and nobody uses; any: those of other tools too; nothing: the download is refused",
        choices=CACHE_REMOVES,
    )
    hub: bool = setting(
        True, "look for models on the Hugging Face hub (HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_OFFLINE)"
    )
    provider_urls: tuple[str, ...] = setting(
        (),
        "name=URL where a provider of closed models is asked: another address of one that is known, or a server of "
        "yours that speaks as OpenAI's does, whose models are then called name/model; may be given several times",
    )
    provider_keys: tuple[str, ...] = setting(
        (),
        "name=key with which a provider is asked for whoever sends no provider-key of their own, and pays for it here; "
        "may be given several times",
    )
    admin_key: str = setting("", "key of the first account; empty: the first start makes one and prints it")
    default_timeout_s: int = setting(1800, "idle seconds after which a cluster that names no timeout scales to its min")
    cold_start_gb_s: float = setting(
        0.0,
        "learn from each model's requests how long idle replicas stay: as long as a cold start is spared for so many "
        "GB times seconds of idle memory, a minute at least, the timeout at most; clusters whose client named one "
        "keep it; 0: learn nothing",
    )
    queue_limit: int = setting(1000, "requests that may wait per cluster; more get 429")
    queue_wait_s: float = setting(900.0, "seconds a request may wait for a replica before it gets 504")
    request_timeout_s: float = setting(
        3600.0,
        "seconds a request may take in all, its wait for a replica included, before it gets 504 and its work is "
        "cancelled; its header x-request-timeout may say less",
    )
    cancel_grace_s: float = setting(
        30.0, "seconds a replica may go on with a request that nobody waits for any more; then it is ended"
    )
    boot_deadline_s: float = setting(600.0, "seconds a replica may take to become ready")
    boots_at_once: int = setting(
        16, "replicas of one account that may start and load at once, so that others' boots need not wait behind more"
    )
    drain_s: float = setting(120.0, "seconds a replica that is no longer needed may take to finish its requests")
    stable_window_s: float = setting(60.0, "seconds of lower load before a replica is taken away")
    max_body_mb: int = setting(64, "largest request body, in MB; media in base64 takes a third more than its file")
    max_media_mb: int = setting(64, "largest image, sound or video fetched from a URL, in MB")
    max_request_mb: int = setting(
        192, "most that one request may take in the server's memory, its body and its media together, in MB", most=256
    )
    requests_memory_mb: int = setting(
        0,
        "most that the bodies and media of all requests may take in the server's memory, in MB; more wait, then get "
        "503; 0: a sixteenth of the memory for replicas, but room for four requests",
    )
    account_requests_mb: int = setting(
        0, "most of it that one account's requests may take, in MB; more wait, then get 429; 0: half of it"
    )
    slow_reader_s: float = setting(
        60.0, "seconds a client may take to read the next piece of its answer before its request is cancelled"
    )
    fetch_timeout_s: float = setting(30.0, "seconds that fetching a URL may take, redirects included")
    allow_private_media: bool = setting(False, "fetch media from private and loopback addresses too")
    public_url: str = setting(
        "", "where clients reach this server, for links to files it makes; empty: the address each request came to"
    )
    artefact_ttl_s: int = setting(3600, "seconds for which a file that a model has made can be fetched")
    job_benchmark_s: float = setting(
        60.0, "seconds that measuring a requested model may take; a large model is asked once at each size in any case"
    )
    job_limit: int = setting(20, "jobs of one account that may wait or be under way; more get 429")
    job_billing: bool = setting(
        False, "bill the workers that measure a requested model to the account that asked for it, like its instances"
    )
    rate_limit: int = setting(6000, "requests a key may make per minute; 0: no limit")
    calls_per_s: float = setting(
        200.0,
        "calls other than inferences that an account may make per second; changes count for five, large answers for "
        "more; 0: no limit",
    )
    lookups_per_minute: int = setting(
        30, "models unknown so far that an account may have looked up on the hub per minute; more get 429; 0: no limit"
    )
    price_per_gb_s: float = setting(0.0000166667, "US dollars per GB of required memory and second")
    billing_counts: str = setting(
        "ready",
        "what is billed. ready: an instance's time from ready to end, or from its process's start where its boot was "
        "taken back; life: from that start to its end; inference: the time that requests took",
        choices=BILLING_COUNTS,
    )
    billing_minimum_s: int = setting(60, "seconds of an instance that are billed at least")
    billing_round_s: int = setting(60, "an instance's billed seconds are rounded up to a multiple of this; 0: exact")
    billing_reserve_s: int = setting(
        10, "seconds set aside before each request of an account with credit or a limit, where requests are billed"
    )
    min_free_mb: int = setting(
        100,
        "room on the data folder's disk, in MB, that is kept for the records of what is under way; with less, "
        "nothing new is begun",
    )
    usage_days: int = setting(
        90, "days for which the time and cost of a single request can be read; what is billed is kept for ever"
    )
    event_days: int = setting(90, "days for which the lines of clusters' logs are kept")
    event_lines: int = setting(10_000, "lines of a cluster's log that are kept")
    audit_days: int = setting(
        365, "days for which the audit log keeps who has changed what of accounts, keys, limits and aliases"
    )
    response_hours: int = setting(
        720, "hours for which answers of /v1/responses are kept, to go on from; 0: none is kept"
    )
    response_limit: int = setting(
        1000, "answers of /v1/responses that are kept for one account; beyond it the oldest goes"
    )
    response_mb: int = setting(
        64, "largest size of those that are kept for one account, in MB; beyond it the oldest goes"
    )
    log_days: int = setting(30, "days for which the output of a replica that has ended is kept")
    log_mb: int = setting(16, "largest output of one replica that is kept, in MB; of more, the newest half")
    logs_mb: int = setting(1024, "largest output of all replicas that is kept, in MB; beyond it the oldest goes")
    metrics_port: int = setting(
        0,
        "port for /metrics alone, where Prometheus needs no key; 0: only on the server's own port, with a key of the "
        "operator's account",
        most=65535,
    )
    metrics_host: str = setting("127.0.0.1", "address for that port")
    otlp_endpoint: str = setting(
        "",
        "where traces and log lines go, by OTLP over HTTP, such as http://localhost:4318; empty: where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says, else nowhere",
    )
    log_level: str = setting("info", "debug, info, warning or error", choices=LOG_LEVELS)
    log_format: str = setting(
        "text",
        "text: lines to read; json: one object a line, with the ids of the request, and a line for each inference",
        choices=LOG_FORMATS,
    )

    @property
    def store_url(self) -> str:
        """The database in use: the one that is named, else a file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir / DATABASE_NAME}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings and, by field name, where each value came from: a flag, a variable, a file, or the default."""

    settings: Settings
    sources: Mapping[str, str]


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str] = os.environ, config_path: Path | None = None
) -> Resolved:
    """Resolves every setting.

    `flags`: by field name; None means not given, as an empty variable does. `config_path`: a TOML file; by default
    $MODELYARD_CONFIG, else modelyard.toml in the data folder, if it is there. Raises InvalidRequest naming the setting
    and its source.
    """
    fields = {each.name: each for each in dataclasses.fields(Settings)}
    variables = {name: environ[variable(name)] for name in fields if environ.get(variable(name))}
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    named = config_path or environ.get("MODELYARD_CONFIG")
    data_dir = given.get("data_dir") or variables.get("data_dir") or default_data_dir(environ)
    path = Path(named or Path(data_dir) / CONFIG_NAME).expanduser()

    values: dict[str, Any] = {"data_dir": default_data_dir(environ)}
    sources = dict.fromkeys(fields, "default")
    layers = [(read_file(path, required=bool(named)), str(path)), (variables, "environment"), (given, "flag")]
    types = get_type_hints(Settings)
    for layer, source in layers:
        for name, raw in layer.items():
            if name not in fields:
                raise InvalidRequest(field=f"{name} ({source})", got=raw, accepted=f"one of {', '.join(fields)}")
            where = written_as(name, source)
            values[name] = check(parse(raw, types[name], where), fields[name].metadata, where)
            sources[name] = variable(name) if source == "environment" else source
    return Resolved(Settings(**values), sources)


def written_as(name: str, source: str) -> str:
    """A setting as it is written where it was given."""
    match source:
        case "environment":
            return variable(name)
        case "flag":
            return f"--{name.replace('_', '-')}"
    return f"{name} ({source})"


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"MODELYARD_{name.upper()}"


def read_file(path: Path, *, required: bool) -> Mapping[str, Any]:
    """The settings in a TOML file; none when it is not there and need not be. Raises InvalidRequest."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if required:
            raise InvalidRequest(field="config file", got=str(path), accepted="a file that exists") from None
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} is not valid TOML: {error}", field="config file") from error
    except OSError as error:
        raise InvalidRequest(f"{path} cannot be read: {error.strerror}", field="config file") from error


def parse(raw: Any, kind: Any, where: str) -> Any:
    """`raw`, a flag's value, a variable's text or a TOML value, as the setting's type. Raises InvalidRequest."""
    if get_origin(kind) is tuple:
        parts = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(parts, list | tuple):
            raise InvalidRequest(field=where, got=raw, accepted="a list, or text with commas")
        return tuple(parse(part, get_args(kind)[0], where) for part in parts if part != "")
    try:
        return parse_one(raw, kind)
    except (ValueError, KeyError, TypeError):
        raise InvalidRequest(field=where, got=raw, accepted=WORDS_FOR[kind]) from None


def parse_one(raw: Any, kind: type) -> Any:
    """`raw` as `kind` when it is that, or text that says it. Raises ValueError, KeyError or TypeError."""
    if kind is bool:
        return raw if isinstance(raw, bool) else BOOLEANS[raw.lower() if isinstance(raw, str) else raw]
    if kind is Path and isinstance(raw, str | Path):
        return Path(raw).expanduser()
    takes = {int: int | str, float: float | int | str, str: str}[kind]
    if isinstance(raw, bool) or not isinstance(raw, takes):
        raise TypeError
    return kind(raw)


def check(value: Any, metadata: Mapping[str, Any], where: str) -> Any:
    """`value` itself when it is within its bounds. Raises InvalidRequest."""
    most = metadata.get("most")
    if isinstance(value, int | float) and not (0 <= value < math.inf and (most is None or value <= most)):
        raise InvalidRequest(field=where, got=value, accepted="0 or more" if most is None else f"0 to {most}")
    choices = metadata.get("choices")
    if choices and value not in choices:
        raise InvalidRequest(field=where, got=value, accepted=", ".join(choices))
    return value
