"""Stable Diffusion 3 medium with random weights, for `realcompo bench sd3`, `sd3-t5` and `sd3-controlnet`."""

from __future__ import annotations

from typing import Any

from realcompo.testing.synthetic import T5_XXL, Parts, published_parts, small_parts
from realcompo.testing.transformer_checkpoints import t5_tokenizer

from .branch import SD3Branch

_T5 = "text_encoder_3"
_SHAPE: dict[str, Any] = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "out_channels": 16,
    "pos_embed_max_size": 192,
}


def sd3(small: bool, t5: bool = False) -> dict[str, Parts]:
    """The checkpoint without T5, which is optional: the transformer, two CLIP encoders, a VAE of 16 channels."""
    return {"fidelity": _small("sd3", t5) if small else _real(t5)}


def sd3_t5(small: bool) -> dict[str, Parts]:
    """The checkpoint with T5-XXL."""
    return sd3(small, t5=True)


def sd3_controlnet(small: bool) -> dict[str, Parts]:
    """The checkpoint without T5, and a ControlNet of half the transformer's depth."""
    classes = {"controlnet": ("diffusers", ("SD3ControlNetModel",))}
    if small:
        net = small_parts("controlnet-sd3").only("controlnet")
        return {**sd3(small), "spatial": Parts(net.configs, net.tokenizers, classes=classes)}
    config = {"_class_name": "SD3ControlNetModel", **_SHAPE, "num_layers": 12}
    return {**sd3(small), "spatial": Parts({"controlnet": config}, {}, classes=classes)}


def _small(family: Any, t5: bool) -> Parts:
    whole = small_parts(family)
    names = [part for part in whole.configs if t5 or part not in (_T5, "tokenizer_3")]
    kept = whole.only(*names)
    return Parts(kept.configs, kept.tokenizers, classes=SD3Branch.classes)


def _real(t5: bool) -> Parts:
    xl = published_parts("sdxl")
    projected = {"architectures": ["CLIPTextModelWithProjection"]}
    vae = {**xl.configs["vae"], "latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609, "force_upcast": False}
    configs: dict[str, Any] = {
        "model_index": {"_class_name": "StableDiffusion3Pipeline"},
        "transformer": {"_class_name": "SD3Transformer2DModel", **_SHAPE, "num_layers": 24},
        "text_encoder": {**xl.configs["text_encoder"], **projected},
        "text_encoder_2": xl.configs["text_encoder_2"],
        "vae": {**vae, "use_quant_conv": False, "use_post_quant_conv": False},
        "scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
        **{part: xl.configs[part] for part in ("tokenizer", "tokenizer_2")},
    }
    tokenizers = dict(xl.tokenizers)
    if t5:
        configs |= {_T5: T5_XXL, "tokenizer_3": {}}
        tokenizers["tokenizer_3"] = t5_tokenizer()
    return Parts(configs, tokenizers, classes=SD3Branch.classes)
