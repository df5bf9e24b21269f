"""Where traces and logs go, by the names that all programs with OpenTelemetry read from the environment.

Source: https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from modelyard import __version__
from modelyard.errors import InvalidRequest
from modelyard.telemetry.sampling import BY_RATIO, DEFAULT_SAMPLER, SAMPLERS, Sampler

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"
SAMPLER = "OTEL_TRACES_SAMPLER"
SAMPLER_RATIO = "OTEL_TRACES_SAMPLER_ARG"
RESOURCE = "OTEL_RESOURCE_ATTRIBUTES"
SERVICE_NAME = "OTEL_SERVICE_NAME"
DISABLED = "OTEL_SDK_DISABLED"
GRPC = "grpc"
"""The one protocol that a server for OTLP over HTTP does not take."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """`traces_url`, `logs_url`: where each is posted; None: nowhere. `headers`: sent along, which may hold a key.
    `resource`: attributes of everything that is sent."""

    traces_url: str | None = None
    logs_url: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    resource: Mapping[str, str] = field(default_factory=dict)
    sampler: Sampler = field(default_factory=Sampler)

    @property
    def sends(self) -> bool:
        """Whether anything is sent anywhere."""
        return self.traces_url is not None or self.logs_url is not None


def read_telemetry_settings(endpoint: str = "", env: Mapping[str, str] = os.environ) -> TelemetrySettings:
    """What the environment says. `endpoint`: the server's own setting, which goes before the environment's; where both
    are empty, nothing is sent. Raises InvalidRequest naming the variable."""
    if env.get(DISABLED, "").strip().lower() == "true":
        return TelemetrySettings()
    base = endpoint or env.get(ENDPOINT, "").strip()
    traces_url, logs_url = (find_url(base, signal, env) for signal in ("traces", "logs"))
    if traces_url is None and logs_url is None:
        return TelemetrySettings()
    protocol = env.get(PROTOCOL, "").strip()
    if protocol == GRPC:
        raise InvalidRequest(field=PROTOCOL, got=protocol, accepted="http/json; collectors take it on port 4318")
    resource = {"service.name": "modelyard", "service.version": __version__, **read_pairs(RESOURCE, env)}
    if name := env.get(SERVICE_NAME, "").strip():
        resource["service.name"] = name
    return TelemetrySettings(traces_url, logs_url, read_headers(env), resource, read_sampler(env))


def find_url(base: str, signal: str, env: Mapping[str, str]) -> str | None:
    """Where `signal` goes: to its own endpoint as that is written, else below the `base`. Raises InvalidRequest."""
    if env.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() == "none":
        return None
    name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    own = env.get(name, "").strip()
    url = own or (f"{base.rstrip('/')}/v1/{signal}" if base else "")
    if not url:
        return None
    if not is_url(url):
        field_name = name if own else f"otlp_endpoint or {ENDPOINT}"
        raise InvalidRequest(field=field_name, got=own or base, accepted="a URL such as http://localhost:4318")
    return url


def is_url(text: str) -> bool:
    """Whether it can be asked over HTTP, and holds no password, which would be shown."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:
        return False


def read_pairs(name: str, env: Mapping[str, str]) -> dict[str, str]:
    """A variable of the form `a=1,b=2`, whose values may be percent-encoded. Raises InvalidRequest, which shows none of
    them: they may be secret."""
    pairs = {}
    for pair in filter(None, (each.strip() for each in env.get(name, "").split(","))):
        key, is_pair, value = pair.partition("=")
        if not is_pair or not key.strip():
            raise InvalidRequest(field=name, got="text that is no pair", accepted="name=value, with commas between")
        pairs[key.strip()] = unquote(value.strip())
    return pairs


def read_headers(env: Mapping[str, str]) -> dict[str, str]:
    """What is sent along. Raises InvalidRequest, without a value."""
    headers = read_pairs(HEADERS, env)
    if bad := [name for name, value in headers.items() if not (name + value).isascii() or not value.isprintable()]:
        raise InvalidRequest(field=HEADERS, got=f"letters in {bad[0]} that no header has", accepted="printable ASCII")
    return headers


def read_sampler(env: Mapping[str, str]) -> Sampler:
    """Which traces are kept. Raises InvalidRequest."""
    name = env.get(SAMPLER, "").strip() or DEFAULT_SAMPLER
    if name not in SAMPLERS:
        raise InvalidRequest(field=SAMPLER, got=name, accepted=", ".join(SAMPLERS))
    text = env.get(SAMPLER_RATIO, "").strip()
    if not text or not name.endswith(BY_RATIO):
        return Sampler(name)
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise InvalidRequest(field=SAMPLER_RATIO, got=text, accepted="a number from 0 to 1")
    return Sampler(name, ratio)
