"""What the environment says of traces and logs."""

from __future__ import annotations

import pytest

from modelyard.errors import InvalidRequest
from modelyard.telemetry.settings import TelemetrySettings, read_telemetry_settings

AT = "http://collector:4318"


def test_nothing_is_sent_unless_somebody_says_where() -> None:
    assert not read_telemetry_settings("", {}).sends
    assert not read_telemetry_settings("", {"OTEL_TRACES_SAMPLER": "nonsense"}).sends
    assert read_telemetry_settings(AT, {"OTEL_SDK_DISABLED": "True"}) == TelemetrySettings()


@pytest.mark.parametrize(
    ("own", "env", "traces_url", "logs_url"),
    [
        (AT, {}, f"{AT}/v1/traces", f"{AT}/v1/logs"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{AT}/"}, f"{AT}/v1/traces", f"{AT}/v1/logs"),
        (AT, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other"}, f"{AT}/v1/traces", f"{AT}/v1/logs"),
        (AT, {"OTEL_LOGS_EXPORTER": "none"}, f"{AT}/v1/traces", None),
        ("", {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://x/in"}, "https://x/in", None),
    ],
)
def test_each_goes_where_it_is_said(own: str, env: dict[str, str], traces_url: str, logs_url: str | None) -> None:
    told = read_telemetry_settings(own, env)
    assert (told.traces_url, told.logs_url) == (traces_url, logs_url)


def test_headers_and_attributes_are_read_and_headers_are_not_shown() -> None:
    env = {
        "OTEL_EXPORTER_OTLP_HEADERS": "api-key=s%3Dcret, x=1",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test,service.name=a",
        "OTEL_SERVICE_NAME": "b",
    }
    told = read_telemetry_settings(AT, env)
    assert told.headers == {"api-key": "s=cret", "x": "1"}
    assert told.resource["deployment.environment"] == "test"
    assert told.resource["service.name"] == "b"
    assert "s=cret" not in repr(told)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:secret@collector"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "ftp://collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key=s%0aecret"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ],
)
def test_what_is_wrong_is_named_by_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_telemetry_settings("", {"OTEL_EXPORTER_OTLP_ENDPOINT": AT, variable: value})
    assert variable in caught.value.message
    if variable.endswith("HEADERS"):
        assert "secret" not in caught.value.message


@pytest.mark.parametrize("ratio", ["-1", "1.5", "a half", "nan"])
def test_a_ratio_is_a_part_of_one(ratio: str) -> None:
    env = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": ratio}
    with pytest.raises(InvalidRequest, match="OTEL_TRACES_SAMPLER_ARG"):
        read_telemetry_settings(AT, env)
    assert read_telemetry_settings(AT, {**env, "OTEL_TRACES_SAMPLER_ARG": "0.25"}).sampler.ratio == 0.25
