"""Which of transformers' models turn text into sound here, by the model_type of their configs. The catalogue refuses
the others by it; the worker has a family for each."""

from __future__ import annotations

SERVED = ("vits", "speecht5", "bark", "dia", "csm", "musicgen")
TASKS = ("text-to-speech", "text-to-audio")
"""The tasks of such models."""
