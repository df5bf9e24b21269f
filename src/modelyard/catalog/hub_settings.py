"""Where the hub is and where its files go on this machine, by the conventions of the hub's own tools.

Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
Read here and not from `huggingface_hub.constants`, which freezes the environment at import and costs half a second.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_ENDPOINT = "https://huggingface.co"
_TRUE = {"1", "ON", "YES", "TRUE"}


@dataclass(frozen=True, slots=True)
class HubSettings:
    """`token` None: anonymous. `offline`: never ask the hub, serve what the cache holds."""

    endpoint: str
    cache_dir: Path
    token: str | None = None
    offline: bool = False

    def __repr__(self) -> str:
        """Without the token, which must not reach a log."""
        return f"HubSettings(endpoint={self.endpoint!r}, cache_dir={str(self.cache_dir)!r}, offline={self.offline})"


def read_hub_settings(env: Mapping[str, str] = os.environ) -> HubSettings:
    """The settings that HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH and HF_HUB_OFFLINE make."""
    home = _path(env.get("HF_HOME") or _path(env.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or home / "hub"
    offline = env.get("HF_HUB_OFFLINE") or env.get("TRANSFORMERS_OFFLINE") or ""
    return HubSettings(
        endpoint=(env.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"),
        cache_dir=_path(cache),
        token=_read_token(env, _path(env.get("HF_TOKEN_PATH") or home / "token")),
        offline=offline.upper() in _TRUE,
    )


def _read_token(env: Mapping[str, str], path: Path) -> str | None:
    token = env.get("HF_TOKEN") or env.get("HUGGING_FACE_HUB_TOKEN")
    if not token and env.get("HF_HUB_DISABLE_IMPLICIT_TOKEN", "").upper() not in _TRUE:
        try:
            token = path.read_text("utf-8")
        except OSError:
            return None
    return (token or "").strip() or None


def _path(value: str | Path) -> Path:
    return Path(os.path.expandvars(value)).expanduser()
