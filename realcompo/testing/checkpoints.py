"""Small random checkpoints in the real format: what a Stable Diffusion, SDXL or GLIGEN folder holds, a few hundred kilobytes each.

Their pictures are noise, but every shape, name and config key is that of the published ones, so that loaders, parity tests
and the walk over all pairs of branches need no download. Whatever a checkpoint starts at zero (GLIGEN's gates) is opened: a
condition that is ignored would pass every parity test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from . import transformer_checkpoints

Family = Literal[
    "sd1",
    "sd1-lcm",
    "sd2",
    "sd2-v",
    "gligen",
    "sdxl",
    "sd1-inpaint",
    "sdxl-inpaint",
    "controlnet-sd1",
    "controlnet-sd2-v",
    "controlnet-sdxl",
    "pixart",
    "pixart-512",
    "pixart-1024",
    "pixart-sigma",
    "sd3",
    "sd3.5",
    "controlnet-sd3",
    "flux",
    "flux-schnell",
    "controlnet-flux",
    "z-image",
    "controlnet-z-image",
]

WORDS = (
    *("a", "an", "the", "of", "and", "with", "on", "two", "red", "blue", "black"),
    *("photo", "cat", "cats", "dog", "balloon", "apple", "apples", "grass", "sofa", "house", "car"),
)
"""Words that are one token in the tiny vocabulary; all others fall into pieces."""

WIDTH = 32
"""Of the text encoder, and so of cross-attention; of SDXL's first one."""

SECOND, POOLED = 48, 40
"""Widths of SDXL's second text encoder, and of its pooled embedding: all differ, so that none can stand for another."""


def save_checkpoint(folder: Path, family: Family = "sd1", seed: int = 0) -> Path:
    """Write a random checkpoint of a family; the same seed writes the same numbers. Returns the folder."""
    import diffusers as library

    diffusers: Any = library  # its constructors are not typed
    with _seeded(seed):
        builders: dict[str, Callable[[], Any]] = {
            "sd1": lambda: diffusers.StableDiffusionPipeline(**_sd1(folder), safety_checker=None, **_EXTRAS),
            "sd1-lcm": lambda: diffusers.StableDiffusionPipeline(**_lcm(folder), safety_checker=None, **_EXTRAS),
            "sd2": lambda: diffusers.StableDiffusionPipeline(**_sd2(folder, "epsilon"), safety_checker=None, **_EXTRAS),
            "sd2-v": lambda: diffusers.StableDiffusionPipeline(**_sd2(folder, "v_prediction"), safety_checker=None, **_EXTRAS),
            "gligen": lambda: diffusers.StableDiffusionGLIGENPipeline(
                **_sd1(folder, attention_type="gated"), safety_checker=None, **_EXTRAS
            ),
            "sdxl": lambda: diffusers.StableDiffusionXLPipeline(**_sdxl(folder)),
            "sd1-inpaint": lambda: diffusers.StableDiffusionInpaintPipeline(**_sd1(folder, in_channels=9), safety_checker=None, **_EXTRAS),
            "sdxl-inpaint": lambda: diffusers.StableDiffusionXLInpaintPipeline(**_sdxl(folder, in_channels=9)),
            "controlnet-sd1": lambda: _with_controlnet(_sd1(folder), "StableDiffusionControlNetPipeline", **_NO_CHECKER),
            "controlnet-sd2-v": lambda: _with_controlnet(_sd2(folder, "v_prediction"), "StableDiffusionControlNetPipeline", **_NO_CHECKER),
            "controlnet-sdxl": lambda: _with_controlnet(_sdxl(folder), "StableDiffusionXLControlNetPipeline"),
            **transformer_checkpoints.builders(folder, _vae, _text),
        }
        pipeline = builders[family]()
        if "unet" in pipeline.components:
            open_gates(pipeline.unet)
        if "unet" in pipeline.components and "controlnet" in pipeline.components:
            open_gates(pipeline.controlnet)
    pipeline.save_pretrained(str(folder), safe_serialization=True)
    return folder


_EXTRAS: dict[str, Any] = {"feature_extractor": None, "requires_safety_checker": False}
_NO_CHECKER: dict[str, Any] = {**_EXTRAS, "safety_checker": None}


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def open_gates(network: Any) -> None:
    """Give parameters that start at zero, or too small for a condition to be felt, random values: as large as it takes to move the
    latents by a tenth, and no larger, since a wild network turns rounding into differences too (measured)."""
    import torch

    for name, parameter in network.named_parameters():
        if name.endswith(("alpha_attn", "alpha_dense")) or "null_" in name:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
        elif "controlnet_cond_embedding" in name:  # eight convolutions and as many SiLUs: each must keep the hint's size
            torch.nn.init.normal_(parameter, std=0.1 if parameter.ndim == 1 else 2.4 / parameter[0].numel() ** 0.5)
        elif "lora_B" in name or "controlnet_" in name:
            torch.nn.init.normal_(parameter, std=0.4 if "controlnet_" in name else 0.2)
        elif parameter.ndim == 2 and ("position_net" in name or "fuser" in name or "add_embedding" in name):
            torch.nn.init.normal_(parameter, std=1.4 / parameter.shape[1] ** 0.5)


# -- networks -----------------------------------------------------------------------------------------------------------------


def _sd1(folder: Path, **unet_config: Any) -> dict[str, Any]:
    """SD 1.x: `attention_head_dim` is the NUMBER of heads; the text config's end token is the historical 2."""
    unet = _unet(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=2,
        **unet_config,
    )
    text, tokenizer = _text(folder, eos_token_id=2)
    return {"unet": unet, "text_encoder": text, "tokenizer": tokenizer, "vae": _vae(0.18215), "scheduler": _scheduler("epsilon")}


def _lcm(folder: Path) -> dict[str, Any]:
    """A latent consistency model: SD 1.x whose UNet is told its guidance scale, and whose scheduler is one of few steps."""
    parts = _sd1(folder, time_cond_proj_dim=6)
    import torch

    torch.nn.init.normal_(parts["unet"].time_embedding.cond_proj.weight)
    return {**parts, "scheduler": _scheduler("epsilon", "LCMScheduler")}


def _sd2(folder: Path, prediction_type: str) -> dict[str, Any]:
    """SD 2.x: a list of head counts, linear projections."""
    unet = _unet(
        block_out_channels=(8, 16, 16, 16),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        attention_head_dim=[1, 2, 4, 4],
        use_linear_projection=True,
    )
    text, tokenizer = _text(folder, hidden_act="gelu")
    return {
        "unet": unet,
        "text_encoder": text,
        "tokenizer": tokenizer,
        "vae": _vae(0.18215),
        "scheduler": _scheduler(prediction_type),
    }


def _sdxl(folder: Path, **unet_config: Any) -> dict[str, Any]:
    """SDXL: three levels, deep transformers, two text encoders of different widths, size conditioning, Euler's scheduler; the second
    tokenizer pads with another token."""
    from transformers import CLIPTextModelWithProjection

    unet = _unet(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=[1, 2, 4],
        transformer_layers_per_block=[1, 2, 3],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=POOLED + 6 * 8,
        cross_attention_dim=WIDTH + SECOND,
        **unet_config,
    )
    text, tokenizer = _text(folder)
    second, tokenizer_2 = _text(
        folder, CLIPTextModelWithProjection, hidden_act="gelu", hidden_size=SECOND, num_hidden_layers=3, projection_dim=POOLED
    )
    tokenizer_2.pad_token = "!"
    return {
        "unet": unet,
        "text_encoder": text,
        "tokenizer": tokenizer,
        "text_encoder_2": second,
        "tokenizer_2": tokenizer_2,
        "vae": _vae(0.13025),
        "scheduler": _scheduler("epsilon", "EulerDiscreteScheduler"),
    }


def _with_controlnet(parts: dict[str, Any], pipeline: str, **more: Any) -> Any:
    """A pipeline of a class with a ControlNet made from its UNet, whose zero convolutions `open_gates` opens."""
    import diffusers

    net_class: Any = diffusers.ControlNetModel
    net = net_class.from_unet(parts["unet"], conditioning_embedding_out_channels=(4, 4, 8, 8)).eval()
    return getattr(diffusers, pipeline)(**parts, controlnet=net, **more)


def _unet(**config: Any) -> Any:
    import diffusers

    defaults = {"sample_size": 16, "cross_attention_dim": WIDTH, "layers_per_block": 1, "norm_num_groups": 4}
    cls: Any = diffusers.UNet2DConditionModel
    return cls(**{**defaults, **config}).eval()


def _vae(scaling_factor: float, **config: Any) -> Any:
    import diffusers

    cls: Any = diffusers.AutoencoderKL
    return cls(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
        layers_per_block=1,
        sample_size=128,
        scaling_factor=scaling_factor,
        **{"latent_channels": 4, **config},
    ).eval()


def _scheduler(prediction_type: str, name: str = "PNDMScheduler") -> Any:
    import diffusers

    of_pndm = {"skip_prk_steps": True, "set_alpha_to_one": False} if name == "PNDMScheduler" else {"timestep_spacing": "leading"}
    return getattr(diffusers, name)(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        prediction_type=prediction_type,
        **of_pndm,
    )


def _text(folder: Path, cls: Any = None, **config: Any) -> tuple[Any, Any]:
    """A CLIP text encoder and its tokenizer, which is written to a folder first, as it would be found."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(str(save_tokenizer(folder / "tokenizer")))
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "projection_dim": WIDTH,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.5,
    }
    encoder = (cls or CLIPTextModel)(CLIPTextConfig(**{**settings, **config})).eval()
    for name, parameter in encoder.named_parameters():  # as spread out as a trained one, so that other words are another picture
        if name.endswith("token_embedding.weight"):
            parameter.data.normal_()
    return encoder, tokenizer


# -- tokenizer ----------------------------------------------------------------------------------------------------------------


def save_tokenizer(folder: Path, words: Iterable[str] = WORDS) -> Path:
    """A CLIPTokenizer folder (vocab.json, merges.txt) of all bytes and a few words of our own; the end token has the highest id."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    vocabulary = [*letters, *(letter + "</w>" for letter in letters)]
    merges: dict[tuple[str, str], None] = {}
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            merges[(pieces[0], pieces[1])] = None
            pieces[:2] = ["".join(pieces[:2])]
    vocabulary += ["".join(pair) for pair in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = list(dict.fromkeys(vocabulary))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    specials = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **specials}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(specials), encoding="utf-8")
    return folder


# -- damage -------------------------------------------------------------------------------------------------------------------


def rewrite_tensors(file: Path, change: Callable[[dict[str, Any]], Mapping[str, Any]]) -> None:
    """Load a safetensors file, change its table of tensors, and write it back."""
    from safetensors.torch import load_file, save_file

    save_file(dict(change(load_file(str(file)))), str(file), metadata={"format": "pt"})


def with_text_prefix(folder: Path) -> None:
    """The text encoder's keys as hub files carry them, with ``text_model.`` before each."""

    def rename(tensors: dict[str, Any]) -> dict[str, Any]:
        return {"text_model." + name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}

    rewrite_tensors(folder / "text_encoder" / "model.safetensors", rename)


def truncate(file: Path, share: float = 0.5) -> None:
    """Cut a file short."""
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
