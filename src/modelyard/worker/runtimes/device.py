"""What a model holds on an accelerator. Owns nothing; the framework keeps the figures."""

from __future__ import annotations

import sys


def peak_device_bytes() -> int | None:
    """The most that this process has reserved on all CUDA devices together; None when it uses none.

    Asks torch only where it is loaded already: some workers hold none.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return sum(int(torch.cuda.max_memory_reserved(device)) for device in range(torch.cuda.device_count()))
