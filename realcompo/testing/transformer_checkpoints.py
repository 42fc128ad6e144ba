"""Small random checkpoints of transformers in the real format, as checkpoints.py has them of UNets.

A transformer as torch starts it hardly hears its text, and what a trainer starts at zero it hears not at all; each is opened as far as it
takes for another prompt to be felt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

WORDS = (
    *("a", "an", "the", "of", "and", "with", "on", "two", "red", "blue", "black", "under", "sky", "full", "body"),
    *("photo", "cat", "cats", "dog", "balloon", "apple", "apples", "grass", "sofa", "house", "car", "dancer", "runner"),
)
"""Words that are one token of the tiny T5 vocabulary; all others fall into letters."""

T5_WIDTH = 24


def t5_tokenizer(words: Iterable[str] = WORDS) -> Any:
    """A T5Tokenizer of a few words and the printable ASCII letters."""
    from transformers import T5Tokenizer

    cls: Any = T5Tokenizer
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(f"▁{word}", -2.0) for word in words]
    pieces += [(chr(code), -6.0) for code in range(33, 127)]
    return cls(vocab=pieces, extra_ids=0)


def t5_text(width: int = T5_WIDTH) -> tuple[Any, Any]:
    """A T5 encoder and its tokenizer."""
    import torch
    from transformers import T5Config, T5EncoderModel

    tokenizer = t5_tokenizer()
    cls: Any = T5EncoderModel
    config: Any = T5Config(
        vocab_size=len(tokenizer) + 4,  # rounded up, as the published ones are
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=2,
        num_heads=3,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,
        pad_token_id=0,
        eos_token_id=1,
    )
    encoder = cls(config).eval()
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 2 and "shared" not in name and "relative" not in name:
            torch.nn.init.normal_(parameter, std=1.0 / parameter.shape[1] ** 0.5)
    return encoder, tokenizer


def hear_text(transformer: Any, gain: float = 1.0) -> Any:
    """Every linear layer as wide as keeps the size of what goes through, those that read text `gain` times that."""
    import torch

    for name, parameter in transformer.named_parameters():
        if parameter.ndim < 2 or "scale_shift_table" in name or ("pos_embed" in name and "proj" not in name):
            continue
        reads_text = any(part in name for part in ("attn2", "caption_projection", "context_embedder", "add_", "text_embedder", "cap_"))
        torch.nn.init.normal_(parameter, std=(gain if reads_text else 0.7) / parameter[0].numel() ** 0.5)
    return transformer.eval()


def pixart(
    vae: Callable[[float], Any], scaling_factor: float = 0.18215, sample_size: int = 16, micro: bool | None = None, sigma: bool = False
) -> Any:
    """A PixArt pipeline: T5, a transformer with learned variance, a schedule of linear β."""
    import diffusers as library

    diffusers: Any = library
    encoder, tokenizer = t5_text()
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=12,  # the size's embedding has thirds of the width
        in_channels=4,
        out_channels=8,
        num_layers=4,
        cross_attention_dim=24,
        caption_channels=T5_WIDTH,
        sample_size=sample_size,
        use_additional_conditions=micro,
    )
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear")
    cls = diffusers.PixArtSigmaPipeline if sigma else diffusers.PixArtAlphaPipeline
    parts = {"text_encoder": encoder, "tokenizer": tokenizer, "vae": vae(scaling_factor), "scheduler": scheduler}
    return cls(transformer=hear_text(transformer, 1.5), **parts)


def vae16(vae: Callable[..., Any], scaling_factor: float, shift_factor: float) -> Any:
    """An autoencoder of 16 channels whose encoder gives no noise beside its mean, so that a hint's latents are the same each time."""
    import torch

    made = vae(scaling_factor, latent_channels=16, shift_factor=shift_factor, use_quant_conv=False, use_post_quant_conv=False)
    with torch.no_grad():
        made.encoder.conv_out.weight[16:] = 0
        made.encoder.conv_out.bias[16:] = -30
        made.encoder.conv_out.weight[:16] *= 3
    return made


def sd3(folder: Path, vae: Callable[..., Any], text: Callable[..., Any], newer: bool = False, control: bool = False) -> Any:
    """A Stable Diffusion 3 or 3.5 pipeline: two CLIP encoders of different widths, T5, joint attention; a ControlNet of half its depth."""
    import diffusers as library
    from transformers import CLIPTextModelWithProjection

    diffusers: Any = library
    first, tokenizer = text(folder, CLIPTextModelWithProjection)
    second, tokenizer_2 = text(
        folder, CLIPTextModelWithProjection, hidden_act="gelu", hidden_size=48, num_hidden_layers=3, projection_dim=40
    )
    third, tokenizer_3 = t5_text(88)
    transformer = hear_text(
        diffusers.SD3Transformer2DModel(
            sample_size=16,
            num_layers=4,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=88,
            caption_projection_dim=16,
            pooled_projection_dim=first.config.projection_dim + 40,
            pos_embed_max_size=24,
            **({"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)} if newer else {}),
        )
    )
    parts = {
        "transformer": transformer,
        "text_encoder": first,
        "tokenizer": tokenizer,
        "text_encoder_2": second,
        "tokenizer_2": tokenizer_2,
        "text_encoder_3": third,
        "tokenizer_3": tokenizer_3,
        "vae": vae16(vae, 1.5305, 0.0609),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }
    if not control:
        return diffusers.StableDiffusion3Pipeline(**parts)
    net = diffusers.SD3ControlNetModel.from_config({**transformer.config, "num_layers": 2})
    hear_text(net)
    return diffusers.StableDiffusion3ControlNetPipeline(**parts, controlnet=open_control(net))


def flux(folder: Path, vae: Callable[..., Any], text: Callable[..., Any], told: bool = True, control: bool = False) -> Any:
    """A FLUX.1 pipeline: CLIP's pooled prompt, T5, packed latents, rotary positions; dev-like (`told` its guidance) or schnell-like; its
    ControlNet is a union one."""
    import diffusers as library

    diffusers: Any = library
    first, tokenizer = text(folder)
    second, tokenizer_2 = t5_text()
    shape = {"attention_head_dim": 16, "num_attention_heads": 2, "axes_dims_rope": (4, 6, 6), "joint_attention_dim": T5_WIDTH}
    shape |= {"in_channels": 64, "pooled_projection_dim": first.config.hidden_size, "guidance_embeds": told}
    transformer = hear_text(diffusers.FluxTransformer2DModel(num_layers=4, num_single_layers=2, **shape))
    shift = {"shift": 3.0, "use_dynamic_shifting": True} if told else {"shift": 1.0}
    parts = {
        "transformer": transformer,
        "text_encoder": first,
        "tokenizer": tokenizer,
        "text_encoder_2": second,
        "tokenizer_2": tokenizer_2,
        "vae": vae16(vae, 0.3611, 0.1159),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(**shift),
    }
    if not control:
        return diffusers.FluxPipeline(**parts)
    net = hear_text(diffusers.FluxControlNetModel(num_layers=2, num_single_layers=1, num_mode=7, **shape))
    return diffusers.FluxControlNetPipeline(**parts, controlnet=open_control(net))


CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""A chat template of the kind that Qwen's tokenizers have."""


def qwen_tokenizer(words: Iterable[str] = WORDS) -> Any:
    """A Qwen2Tokenizer of all bytes and a few words, with a space before or none."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    vocabulary, merges = sorted(ByteLevel.alphabet()), []
    for word in [*words, *(f"Ġ{word}" for word in words), "user", "assistant"]:
        made = word[0]
        for letter in word[1:]:
            if (made, letter) not in merges:
                merges.append((made, letter))
            made += letter
    vocabulary += [a + b for a, b in merges]
    cls: Any = Qwen2Tokenizer
    tokenizer = cls(vocab={token: i for i, token in enumerate(dict.fromkeys(vocabulary))}, merges=merges, chat_template=CHAT)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


def z_image(vae: Callable[..., Any], control: bool = False) -> Any:
    """A Z-Image pipeline: a language model as its text encoder, one stream of pixels and text; its ControlNet adds to two blocks."""
    import diffusers as library
    from transformers import Qwen3Config, Qwen3Model

    diffusers: Any = library
    tokenizer = qwen_tokenizer()
    made: Any = Qwen3Model
    config: Any = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=12,
        max_position_embeddings=1024,
        initializer_range=0.3,
    )
    shape = {"dim": 32, "n_heads": 2, "n_kv_heads": 2, "n_refiner_layers": 1}
    rope = {"axes_dims": [4, 6, 6], "axes_lens": [1024, 64, 64]}
    transformer = hear_text(diffusers.ZImageTransformer2DModel(n_layers=4, cap_feat_dim=24, **shape, **rope))
    parts = {
        "transformer": transformer,
        "text_encoder": made(config).eval(),
        "tokenizer": tokenizer,
        "vae": vae16(vae, 0.3611, 0.1159),
        "scheduler": diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
    }
    if not control:
        return diffusers.ZImagePipeline(**parts)
    places = {"control_layers_places": [0, 2], "control_refiner_layers_places": [0], "control_in_dim": 20}
    net = open_control(hear_text(diffusers.ZImageControlNetModel(**places, add_control_noise_refiner="control_noise_refiner", **shape)))
    pipeline = diffusers.ZImageControlNetPipeline(**parts, controlnet=net)
    for name in [name for name, module in net.named_children() if module in list(transformer.children())]:
        setattr(net, name, None)  # borrowed from the transformer: a checkpoint does not hold them twice
    net.x_pad_token = net.cap_pad_token = None
    return pipeline


def open_control(net: Any) -> Any:
    """The layers that a ControlNet starts at zero: those that read its hint, and those that hand its residuals on."""
    import torch

    for name, parameter in net.named_parameters():
        if parameter.ndim > 1 and any(part in name for part in ("controlnet_", "pos_embed_input", "before_proj", "after_proj")):
            torch.nn.init.normal_(parameter, std=1.0 / parameter[0].numel() ** 0.5)
    return net.eval()


def builders(folder: Path, vae: Callable[..., Any], text: Callable[..., Any]) -> Mapping[str, Callable[[], Any]]:
    """Family → what makes its pipeline; `vae` and `text` are checkpoints.py's."""
    return {
        "flux": lambda: flux(folder, vae, text),
        "flux-schnell": lambda: flux(folder, vae, text, told=False),
        "controlnet-flux": lambda: flux(folder, vae, text, control=True),
        "z-image": lambda: z_image(vae),
        "controlnet-z-image": lambda: z_image(vae, control=True),
        "sd3": lambda: sd3(folder, vae, text),
        "sd3.5": lambda: sd3(folder, vae, text, newer=True),
        "controlnet-sd3": lambda: sd3(folder, vae, text, control=True),
        "pixart-512": lambda: pixart(vae),
        "pixart": lambda: pixart(vae, micro=True),
        "pixart-1024": lambda: pixart(vae, sample_size=128),
        "pixart-sigma": lambda: pixart(vae, 0.13025, micro=False, sigma=True),
    }
