"""FLUX.1 dev with random weights, for `realcompo bench flux` and `flux-controlnet`. The published sizes are from memory."""

from __future__ import annotations

from typing import Any

from realcompo.testing.synthetic import T5_XXL, Parts, published_parts, small_parts
from realcompo.testing.transformer_checkpoints import t5_tokenizer

from .branch import FluxBranch

_SHAPE: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 64,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": [16, 56, 56],
}


def flux(small: bool) -> dict[str, Parts]:
    """The checkpoint: the transformer, CLIP, T5-XXL, a VAE of 16 channels."""
    return {"fidelity": _small("flux") if small else _real()}


def flux_controlnet(small: bool) -> dict[str, Parts]:
    """The checkpoint, and a union ControlNet of five blocks and ten single ones."""
    classes = {"controlnet": ("diffusers", ("FluxControlNetModel",))}
    if small:
        net = small_parts("controlnet-flux").only("controlnet")
        return {**flux(small), "spatial": Parts(net.configs, net.tokenizers, classes=classes)}
    config = {"_class_name": "FluxControlNetModel", **_SHAPE, "num_layers": 5, "num_single_layers": 10, "num_mode": 10}
    return {**flux(small), "spatial": Parts({"controlnet": config}, {}, classes=classes)}


def _small(family: Any) -> Parts:
    whole = small_parts(family)
    return Parts(whole.configs, whole.tokenizers, classes=FluxBranch.classes)


def _real() -> Parts:
    xl = published_parts("sdxl")
    vae = {**xl.configs["vae"], "latent_channels": 16, "scaling_factor": 0.3611, "shift_factor": 0.1159, "force_upcast": False}
    shift = {"base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096}
    scheduler = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0, "use_dynamic_shifting": True}
    configs: dict[str, Any] = {
        "model_index": {"_class_name": "FluxPipeline"},
        "transformer": {"_class_name": "FluxTransformer2DModel", **_SHAPE, "num_layers": 19, "num_single_layers": 38},
        "text_encoder": xl.configs["text_encoder"],
        "text_encoder_2": T5_XXL,
        "vae": {**vae, "use_quant_conv": False, "use_post_quant_conv": False},
        "scheduler": {**scheduler, **shift},
        "tokenizer": xl.configs["tokenizer"],
        "tokenizer_2": {},
    }
    return Parts(configs, {"tokenizer": xl.tokenizers["tokenizer"], "tokenizer_2": t5_tokenizer()}, classes=FluxBranch.classes)
