"""Which of a repository's files serving needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from modelyard.records.models import Inspection

_TEXTS = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".vocab", ".bpe", ".spm", ".codes", ".yaml", ".md")
_CODE = (".py",)
_VOICES = ("speaker_embeddings/", "voices/")
"""Folders of arrays, each of which is a voice, or a part of one."""
_VOICES_FILE = "spk_dict.pt"
"""All voices of a Qwen2.5-Omni."""
_FOREIGN_FOLDERS = {"onnx", "openvino", "coreml", "gguf", "tflite", "flax", "tf", "original", "runs", "logs", "assets"}
_NEVER = ("trainer_state.json", "all_results.json", "train_results.json", "eval_results.json")
_DEPTH = 2


def select_files(names: Iterable[str], inspection: Inspection) -> tuple[list[str], list[str]]:
    """(small files, weights), each by name. Code comes along only where the model needs it.

    Fetch the small ones first: then a snapshot that has its weights is complete, whoever looks.
    """
    endings = _TEXTS + _CODE if inspection.remote_code else _TEXTS
    small = [name for name in names if _is_voice(name) or (name.endswith(endings) and _is_wanted(name))]
    return sorted(small), sorted(inspection.weight_files)


def _is_voice(name: str) -> bool:
    return name == _VOICES_FILE or (name.startswith(_VOICES) and name.endswith(".npy"))


def _is_wanted(name: str) -> bool:
    *folders, last = name.split("/")
    if last.startswith(".") or last in _NEVER or (last.endswith(".md") and name != "README.md"):
        return False
    return len(folders) < _DEPTH and not any(folder in _FOREIGN_FOLDERS or folder.startswith(".") for folder in folders)
