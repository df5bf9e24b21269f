"""Traces and logs for OpenTelemetry's collectors, and the log's form. Nothing here knows requests or models."""
