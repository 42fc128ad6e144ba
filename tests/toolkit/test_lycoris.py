"""LyCORIS' own modules are the oracle: with a file of theirs, our UNet predicts what theirs does, every module of it adapted.

Its names (``lycoris_down_blocks_0_…``) and its forms of a convolution (Tucker's too) and of DoRA are its own. The oracle is what it trains,
its forward pass: the `merge_to` of 4.1.3 multiplies LoHa's and LoKr's changes by alpha / rank twice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from realcompo.testing.driving import relative
from realcompo.toolkit import UNetOptions, open_checkpoint
from realcompo.toolkit.loading import Loader
from realcompo.toolkit.loras import Loras

lycoris = pytest.importorskip("lycoris", reason="the oracle lycoris-lora is not installed (extra test)")

KINDS: dict[str, dict[str, Any]] = {
    "LoRA": {"algo": "lora"},
    "LoCon, Tucker": {"algo": "lora", "use_tucker": True},
    "LoHa": {"algo": "loha"},
    "LoHa, Tucker": {"algo": "loha", "use_tucker": True},
    "LoKr": {"algo": "lokr", "factor": 2},
    "LoKr, both, Tucker": {"algo": "lokr", "decompose_both": True, "factor": 4, "use_tucker": True, "linear_dim": 1, "conv_dim": 1},
    "LoKr, whole": {"algo": "lokr", "full_matrix": True, "factor": 2},
    "DoRA of outputs": {"algo": "lora", "dora_wd": True, "wd_on_output": True},
    "DoRA of inputs": {"algo": "loha", "dora_wd": True, "wd_on_output": False},
    "whole differences and norms": {"algo": "full", "train_norm": True},
}


@pytest.fixture(scope="module")
def unet(checkpoint: Callable[[str], Path]) -> Any:
    loader = Loader(open_checkpoint(str(checkpoint("sd1")), UNetOptions()), UNetOptions(), share=False)
    return loader.module("unet")


SHORT = ("LoHa", "LoHa, Tucker", "LoKr, both, Tucker", "DoRA of inputs")


@pytest.mark.parametrize("kind", [one if one in SHORT else pytest.param(one, marks=pytest.mark.deep) for one in KINDS])
@torch.no_grad()
def test_it_predicts_what_lycoris_predicts(unet: Any, tmp_path: Path, kind: str) -> None:
    told = {"linear_dim": 3, "linear_alpha": 2, "conv_dim": 2, "conv_alpha": 1, **KINDS[kind]}
    theirs, mine = copy.deepcopy(unet), copy.deepcopy(unet)
    network = lycoris.create_lycoris(theirs, 1.0, preset="full", **told)
    network.apply_to()
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if "dora_scale" in name:
            parameter.mul_(1 + 0.3 * torch.rand_like(parameter))
        else:
            parameter.add_(0.1 * torch.randn_like(parameter))
    state = {name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}
    file = tmp_path / "x.safetensors"
    save_file(state, str(file))
    Loras({"unet": mine}).put([(file, 1.0)])
    given = torch.randn(1, 4, 16, 16), 500, torch.randn(1, 5, 32)
    want, have, plain = (one(*given, return_dict=False)[0] for one in (theirs, mine, unet))
    assert relative(want, plain) > 1e-2, "or parity shows nothing"
    assert relative(want, have) < 1e-4
