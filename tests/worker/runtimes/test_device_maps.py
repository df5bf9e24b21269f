"""Which layers lie on which of several devices, planned without any."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from modelyard.errors import ModelRefused
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES
from modelyard.worker.runtimes.device import Spread
from modelyard.worker.runtimes.device_maps import plan_device_map

CONFIG = LlamaConfig(vocab_size=400, hidden_size=64, intermediate_size=128, num_hidden_layers=12, num_attention_heads=4)
WEIGHTS = 4 * sum(each.numel() for each in LlamaForCausalLM(CONFIG).parameters())


def parts_of(device_map: dict[str, int], model: torch.nn.Module, itemsize: int) -> dict[int, int]:
    """The bytes of weights on each device; every one is on exactly one."""
    held: dict[int, int] = {}
    for name, weight in model.named_parameters():
        (device,) = {place for part, place in device_map.items() if name == part or name.startswith(f"{part}.")}
        held[device] = held.get(device, 0) + weight.numel() * itemsize
    return held


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_layers_lie_in_parts_as_equal_as_they_can_be_and_none_is_cut(count: int, dtype: torch.dtype) -> None:
    found = plan_device_map(LlamaForCausalLM, CONFIG, Spread(count, DEVICE_CONTEXT_BYTES + WEIGHTS), dtype)
    held = parts_of(found, LlamaForCausalLM(CONFIG), dtype.itemsize)
    assert sorted(held) == list(range(count))
    assert max(held.values()) <= 1.5 * sum(held.values()) / count
    for layer in range(CONFIG.num_hidden_layers):
        assert f"model.layers.{layer}" in found


def test_weights_that_are_one_lie_on_one_device() -> None:
    config = GPT2Config(vocab_size=400, n_embd=64, n_layer=12, n_head=4, n_positions=64)
    weights = 4 * sum(each.numel() for each in GPT2LMHeadModel(config).parameters())
    found = plan_device_map(GPT2LMHeadModel, config, Spread(2, DEVICE_CONTEXT_BYTES + weights), torch.float32)
    assert found["lm_head"] == found["transformer.wte"]
    assert set(found.values()) == {0, 1}


def test_what_cannot_be_laid_on_the_devices_is_refused_with_the_arithmetic() -> None:
    spread = Spread(2, DEVICE_CONTEXT_BYTES + WEIGHTS // 3)
    with pytest.raises(ModelRefused, match=r"Its weights of .* cannot be laid on 2 accelerators of which each has"):
        plan_device_map(LlamaForCausalLM, CONFIG, spread, torch.float32)
    assert plan_device_map(LlamaForCausalLM, CONFIG, spread, torch.bfloat16)
