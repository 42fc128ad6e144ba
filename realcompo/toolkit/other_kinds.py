"""Files that are no checkpoint of Stable Diffusion with a UNet, named for what they are from the names of their tensors alone.

Each is known by tensors that stand in all files of its kind and in none of another: as its authors' code, or diffusers' and ComfyUI's
loaders, tell it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Shapes = Mapping[str, tuple[int, ...]]


def other_kind(shapes: Shapes) -> str | None:
    """What a file is, in words with an article; None where none of these."""
    for what, holds in _OTHERS:
        if holds(shapes):
            return what
    return None


def _has(*words: str) -> Callable[[Shapes], bool]:
    """Some name has one of these in it."""
    return lambda shapes: any(word in name for name in shapes for word in words)


def _starts(*prefixes: str) -> Callable[[Shapes], bool]:
    return lambda shapes: any(name.startswith(prefixes) for name in shapes)


def _matches(*patterns: str) -> Callable[[Shapes], bool]:
    """For each pattern, some name matches it from its beginning."""
    known = [re.compile(rf"(?:model\.diffusion_model\.|diffusion_model\.|model\.|net\.)?{pattern}") for pattern in patterns]
    return lambda shapes: all(any(one.match(name) for name in shapes) for one in known)


def _refiner(shapes: Shapes) -> bool:
    """Its UNet alone, in diffusers' layout: text of OpenCLIP's width alone, and five numbers beside the pooled text."""
    added = shapes.get("add_embedding.linear_1.weight", ())
    return len(added) == 2 and added[1] == 2560


def _hypernetwork(shapes: Shapes) -> bool:
    """Tensors by the width of the attention that they alter."""
    return any(re.match(r"(320|640|768|1024|1280|2048)\.[01]\.(linear\.)?", name) for name in shapes) and not any(
        "block" in name for name in shapes
    )


def _embedding(shapes: Shapes) -> bool:
    """One or two tensors of vectors of words: of A1111, of diffusers (named by its phrase), or of SDXL (one an encoder)."""
    if set(shapes) & {"clip_l", "clip_g"} and len(shapes) <= 3:
        return True
    if any(name.startswith(("emb_params", "string_to_param")) for name in shapes):
        return True
    return len(shapes) == 1 and all(name.startswith("<") and shape[-1:] in ((768,), (1024,), (1280,)) for name, shape in shapes.items())


_LORA = ("lora_up", "lora_down", "lora_A", "lora_B", ".lora.", "_lora.", "lora_linear_layer")

_OTHERS: tuple[tuple[str, Callable[[Shapes], bool]], ...] = (
    ("a ControlNet-LLLite, which steers a UNet's attention instead of standing beside it", _has("lllite_")),
    ("a ControlNet (a control-LoRA)", _matches(r"(control_model\.)?lora_controlnet$")),
    ("an AnimateDiff motion module", _has("motion_modules.", "temporal_transformer.")),
    ("a FaceID IP-Adapter, or an InstantID", _matches(r"ip_adapter\.\d+\.to_k_ip", r"image_proj\.latents")),
    ("an IP-Adapter", _starts("ip_adapter.", "image_proj.")),
    ("a LoRA", _has(*_LORA)),
    ("a LoHa, an adapter like a LoRA", _has("hada_w1")),
    ("a LoKr, an adapter like a LoRA", _has("lokr_w1")),
    ("an adapter like a LoRA", _has(".oft_", ".boft_", ".ia3_l", ".on_input", "lora_unet_", "lora_te", ".vera_lambda")),
    ("a ControlNet of a transformer (FLUX.1, SD 3 or Qwen)", _has("controlnet_blocks.", "controlnet_x_embedder.")),
    ("a ControlNet of Z-Image", _starts("control_all_x_embedder.", "control_layers.")),
    ("a ControlNet", _has("zero_convs.", "input_hint_block.", "controlnet_cond_embedding.", "controlnet_down_blocks.")),
    ("a T2I-Adapter for style", _matches(r"transformer_layes\.\d+\.attn\.", r"style_embedding$")),
    ("a T2I-Adapter", _matches(r"(adapter\.)?body\.\d+\.(body\.\d+\.|resnets\.\d+\.)?block[12]\.(weight|bias)$")),
    ("a textual inversion embedding", _embedding),
    ("a hypernetwork", _hypernetwork),
    ("an upscaler (ESRGAN or one of its kin)", _matches(r"(params_ema\.|params\.)?(RRDB_trunk|conv_first|model\.1\.sub)\.")),
    (
        "an upscaler (ESRGAN or one of its kin)",
        _matches(r"(params_ema\.|params\.)?body\.\d+\.(rdb\d+\.|weight$)", r".*conv_(up1|last)|body\.0\."),
    ),
    ("an upscaler (SwinIR, HAT or DAT)", _has("residual_group.blocks.", "relative_position_bias_table")),
    ("a face restorer (GFPGAN or CodeFormer)", _has("stylegan_decoder", "fuse_convs_dict")),
    (
        "a tiny autoencoder (TAESD), which only previews",
        _matches(r"(taesd_)?(decoder|encoder)\.(layers\.)?\d+\.(conv\.\d+\.)?(weight|bias)$"),
    ),
    ("a checkpoint of Playground 2.5, whose latents and noise are scaled in ways of its own", _starts("edm_mean")),
    ("the UNet of the refiner of SDXL", _refiner),
    ("a Stable Cascade, stage C", _matches(r"clip_txt_mapper\.")),
    ("a Stable Cascade, stage B", _matches(r"down_blocks\.\d+\.\d+\.channelwise\.")),
    (
        "a checkpoint of AuraFlow",
        _matches(r"double_layers\.\d+\.attn\.w1q", r"cond_seq_linear\."),
    ),
    ("a checkpoint of Chroma", _matches(r"distilled_guidance_layer\.")),
    ("a checkpoint of FLUX.2", _matches(r"(double|single)_stream_modulation[\w]*\.lin\.")),
    ("a checkpoint of HiDream", _matches(r"double_stream_blocks\.\d+\.block\.")),
    ("a checkpoint of Hunyuan Video", _matches(r"txt_in\.individual_token_refiner\.")),
    ("a checkpoint of Flux", _has("double_blocks.", "double_stream_blocks.")),
    ("a checkpoint of Stable Diffusion 3", _has("joint_blocks.")),
    ("a checkpoint of Qwen-Image", _matches(r"transformer_blocks\.\d+\.img_mod\.")),
    ("a checkpoint of Z-Image", _matches(r"layers\.\d+\.adaLN_modulation\.", r"(cap_embedder|noise_refiner)\.")),
    ("a checkpoint of Lumina 2", _matches(r"cap_embedder\.", r"layers\.\d+\.")),
    ("a checkpoint of Wan, which makes video", _matches(r"head\.modulation$|blocks\.\d+\.cross_attn\.norm_k\.", r"patch_embedding\.")),
    ("a VAE of Wan, which makes video", _matches(r"decoder\.middle\.0\.residual\.")),
    ("a checkpoint of LTX-Video", _matches(r"patchify_proj\.")),
    ("a checkpoint of Mochi, which makes video", _matches(r"blocks\.\d+\.attn\.qkv_x\.")),
    ("a checkpoint of Cosmos, which makes video", _matches(r"blocks\.(block)?\d+\..*(self_attn|to_q)", r"x_embedder\.proj\.1\.")),
    ("a checkpoint of Sana", _matches(r"blocks\.\d+\.cross_attn\.(q|kv)_linear\.", r".*(depth_conv|inverted_conv)")),
    ("a checkpoint of PixArt", _matches(r"blocks\.\d+\.scale_shift_table$", r"(y_embedder|caption_projection)\.")),
    ("a checkpoint of Stable Video Diffusion", _has("time_stack.", "time_mixer")),
    ("a checkpoint of CosXL, whose noise is scaled in a way of its own (EDM's)", _starts("edm_vpred.")),
    (
        "a checkpoint of Kandinsky 2, whose UNet sees pictures' embeddings",
        _has("encoder_hid_proj.image_embeds.", "clip_image_mapper", "add_embedding.image_proj."),
    ),
    ("a checkpoint of DeepFloyd IF", _matches(r"encoder_pooling\.", r"encoder_proj\.")),
    ("a deep-compression autoencoder (DC-AE)", _matches(r"(decoder|encoder)\.stages\.\d+\.op_list\.")),
)
"""What can be told by names, and how; the first that holds is it."""
