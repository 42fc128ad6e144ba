"""A LoRA put into the weights of a branch's networks: a safetensors file in any layout that diffusers reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import BadCheckpoint
from .sources import packaged

ADAPTER = "realcompo"


def merge_lora(networks: Mapping[str, nn.Module], file: str | None, scale: float) -> None:
    """W ← W + scale · (α/r) · B A in place. The networks must be this branch's alone: the change is not taken back.

    Args:
        networks: by part: ``unet``, ``text_encoder`` and, in SDXL, ``text_encoder_2``; a LoRA may be of any of them.

    Raises:
        BadCheckpoint: not there, not safetensors, damaged, without a tensor for these networks, of another architecture, or without peft.
    """
    path = check_lora(file)
    if path is None:
        return
    _require_peft()
    import diffusers as library
    from diffusers.utils import peft_utils
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapters: Any = peft_utils  # diffusers' helpers are not typed
    unet: Any = networks["unet"]
    two = "text_encoder_2" in networks
    # the pipeline whose class methods read the layouts that are about for such networks, and what it tells them itself
    pipeline: Any = library.StableDiffusionXLPipeline if two else library.StableDiffusionPipeline
    told = {"unet_config": unet.config} if two else {}
    try:
        state, alphas = pipeline.lora_state_dict(
            str(path.parent), weight_name=path.name, use_safetensors=True, local_files_only=True, **told
        )
        unknown = sorted(key for key in state if key.split(".")[0] not in networks)
        if not state or unknown:
            raise ValueError(f"it is for {unknown[0].split('.')[0]!r}" if unknown else "it holds no tensors")
        for part in sorted({key.split(".")[0] for key in state}):
            if part == "unet":
                pipeline.load_lora_into_unet(state, network_alphas=alphas, unet=unet, adapter_name=ADAPTER)
            else:
                pipeline.load_lora_into_text_encoder(
                    state, network_alphas=alphas, text_encoder=networks[part], prefix=part, adapter_name=ADAPTER
                )
    except Exception as error:  # damaged files, other architectures and unknown layouts raise many kinds here
        raise BadCheckpoint(
            f"the LoRA cannot be put on this checkpoint: {error}",
            where=str(path),
            mend="choose a LoRA that was trained on the same kind of model, for its UNet or its text encoders",
        ) from error
    changed = 0
    for network in networks.values():
        adapters.set_weights_and_activate_adapters(network, [ADAPTER], [scale])
        for module in network.modules():
            if isinstance(module, BaseTunerLayer):
                module.merge(adapter_names=[ADAPTER])
                changed += 1
        adapters.recurse_remove_peft_layers(network)
        for name in ("peft_config", "_hf_peft_config_loaded"):
            if name in vars(network):
                delattr(network, name)
    if not changed:
        raise BadCheckpoint(
            "the LoRA changes nothing of this checkpoint", where=str(path), mend="choose one for its UNet or its text encoders"
        )


def check_lora(file: str | None, source: Any = None) -> Path | None:
    """The file, checked as far as can be without weights; None where there is none.

    Args:
        file: a path, or ``package://module/path`` of one inside an installed package, which a recipe can carry elsewhere.
        source: of the branch.

    Raises:
        BadCheckpoint: not there, not safetensors, or to be put on a pipeline that the user holds.
    """
    if file is None:
        return None
    path = packaged(file) if file.startswith("package://") else Path(file).expanduser()
    if path.suffix != ".safetensors":
        raise BadCheckpoint(
            "a LoRA must be a .safetensors file: other kinds can run code when they are read",
            where=file,
            mend="choose or convert to a safetensors file",
        )
    if not path.is_file():
        raise BadCheckpoint("there is no such LoRA", where=file, mend="check the path in the option lora")
    if hasattr(source, "unet"):
        raise BadCheckpoint(
            "the option lora would change a pipeline that you hold", where=file, mend="load it yourself: pipe.load_lora_weights(…)"
        )
    return path


def _require_peft() -> None:
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise BadCheckpoint("a LoRA needs the package peft", mend="pip install 'realcompo[lora]'") from error
