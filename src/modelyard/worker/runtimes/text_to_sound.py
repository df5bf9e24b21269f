"""Models on transformers that turn text into sound. Owns how they are loaded, and which family is asked how.

Not thread-safe: one thread at a time may call one.
"""

from __future__ import annotations

from pathlib import Path

import transformers
from transformers import AutoConfig

from modelyard.errors import ModelRefused
from modelyard.tasks.base import Head
from modelyard.worker.runtimes.device import choose_device
from modelyard.worker.runtimes.failures import loading_errors
from modelyard.worker.runtimes.heads import choose_class, refuse_missing_weights
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.sound.bark import Bark
from modelyard.worker.runtimes.sound.base import SoundModel
from modelyard.worker.runtimes.sound.csm import Csm
from modelyard.worker.runtimes.sound.dia import Dia
from modelyard.worker.runtimes.sound.musicgen import Musicgen
from modelyard.worker.runtimes.sound.speecht5 import SpeechT5
from modelyard.worker.runtimes.sound.vits import Vits
from modelyard.worker.runtimes.transformers import load_weights

FAMILIES: dict[str, type[SoundModel]] = {
    "vits": Vits,
    "speecht5": SpeechT5,
    "bark": Bark,
    "dia": Dia,
    "csm": Csm,
    "musicgen": Musicgen,
}
"""The config's model_type → how such a model is asked."""


def load_model(
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
) -> SoundModel:
    """The model in the folder `path`, in eval mode on `device`.

    Reads local files only, and weights from safetensors only. On CUDA the weights keep their stored
    dtype, on the CPU they become float32. `remote_code` changes nothing: the families served here need none.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    where = choose_device(device)
    with loading_errors(path, str(where)), quiet_library():
        config = AutoConfig.from_pretrained(path, local_files_only=True)
        family = FAMILIES.get(config.model_type)
        if family is None:
            raise ModelRefused(f"{config.model_type} models are not served; of those with sound, {served()} are.")
        if family.library_class is not None:
            head, kind = heads[0], getattr(transformers, family.library_class)
        else:
            head, kind = choose_class(config, heads, remote_code=False)
        model, missing = load_weights(kind, path, config, where)
        refuse_missing_weights(head, missing)
        return family(path, model.eval().to(where))


def served() -> str:
    """The families, for a message."""
    return ", ".join(FAMILIES)
