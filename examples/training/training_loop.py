"""The one training loop all three models share: Muon and AdamW, warm-up, cosine decay, loss every N steps."""

import math
import time
from collections.abc import Iterator

import torch
from transformers import PreTrainedModel

Batch = dict[str, torch.Tensor]

WARM_UP_SHARE = 0.05  # of all steps
FINAL_RATE_SHARE = 0.02  # of the peak learning rate
GRADIENT_NORM_LIMIT = 1.0
MATRIX_PEAK_RATE = 0.02  # Muon's, for the matrices inside the layers
OTHER_PEAK_RATE = 3e-3  # AdamW's, for embeddings, biases and norms
WEIGHT_DECAY = 0.01
BETAS = (0.9, 0.98)


def train(model: PreTrainedModel, batches: Iterator[Batch], steps: int, report_every: int) -> None:
    """Train in place on the next `steps` batches, which bring their own labels."""
    optimizers = _optimizers(model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate_share(step, steps)) for optimizer in optimizers
    ]
    model.train()
    started = time.monotonic()
    recent_loss = 0.0
    for step in range(1, steps + 1):
        loss = model(**next(batches)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM_LIMIT)
        for optimizer, schedule in zip(optimizers, schedules, strict=True):
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        recent_loss += loss.item()
        if step % report_every == 0:
            seconds = time.monotonic() - started
            print(f"  step {step:5d}/{steps}  loss {recent_loss / report_every:.4f}  {seconds:4.0f} s", flush=True)
            recent_loss = 0.0
    model.eval()


def _optimizers(model: PreTrainedModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, which it trains in fewer steps, and AdamW for the rest."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, torch.nn.Embedding)}
    matrices, others = [], []
    for parameter in model.parameters():
        is_matrix = parameter.ndim == 2 and id(parameter) not in embeddings
        (matrices if is_matrix else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=MATRIX_PEAK_RATE, weight_decay=WEIGHT_DECAY),
        torch.optim.AdamW(others, lr=OTHER_PEAK_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY),
    ]


def _rate_share(step: int, steps: int) -> float:
    """The learning rate at a step, as a share of its peak."""
    warm_up_steps = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up_steps:
        return (step + 1) / warm_up_steps
    progress = (step - warm_up_steps) / max(1, steps - warm_up_steps)
    return FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
