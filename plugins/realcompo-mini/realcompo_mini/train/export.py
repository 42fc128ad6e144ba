"""Stages `parents` and `export`: the models as half-precision safetensors in diffusers' folder layout, read by the ordinary loaders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from transformers import CLIPTextModel, CLIPTokenizer

from realcompo_mini.train.autoencoder import load_autoencoder
from realcompo_mini.train.base import add_lora, load_base, save_lora
from realcompo_mini.train.boxes import phrase_table
from realcompo_mini.train.common import Settings, load_checkpoint, start_log
from realcompo_mini.train.control import build as build_control
from realcompo_mini.train.fidelity import TextToImage
from realcompo_mini.train.loop import changing
from realcompo_mini.train.models import build_transformer, build_unet, fold_standardisation, scheduler_config
from realcompo_mini.train.text import load_text


def train(settings: Settings) -> None:
    """Write each model's folder, ready to be copied into the package's weights, from the latest checkpoints (running averages); what is
    missing is left out."""
    log = start_log(settings.out / "export", "export")
    if state := load_checkpoint(settings.out / "fidelity" / "checkpoint.pt"):
        tokenizer, text = load_text(settings.out)
        model = TextToImage(build_unet(gated=False), text)
        model.load_state_dict(state["average"])
        folder = settings.out / "export" / "fidelity"
        vae = load_autoencoder(settings.out)
        vae.half().save_pretrained(folder / "vae")
        _unplace(folder / "vae" / "config.json")
        _write(folder, model.unet, model.text, tokenizer, "StableDiffusionPipeline", vae=["diffusers", "AutoencoderDC"])
        _note(folder, state, settings)
        log.info("fidelity: step %d written to %s", state["step"], folder)
    if state := load_checkpoint(settings.out / "boxes" / "checkpoint.pt"):
        tokenizer, text = load_text(settings.out)
        unet = build_unet(gated=True)
        unet.load_state_dict(state["average"])
        _, mean, deviation = phrase_table(text, tokenizer)
        fold_standardisation(unet, mean, deviation)
        folder = settings.out / "export" / "boxes"
        _write(folder, unet, text, tokenizer, "StableDiffusionGLIGENPipeline", vae=[None, None])
        _note(folder, state, settings)
        log.info("boxes: step %d written to %s", state["step"], folder)
    for name, write in GROWN.items():
        if state := load_checkpoint(settings.out / name / "checkpoint.pt"):
            folder = settings.out / "export" / name
            write(folder, state, settings)
            _note(folder, state, settings)
            size = sum(file.stat().st_size for file in folder.rglob("*.safetensors")) / 1e6
            log.info("%s: step %d, %.1f MB written to %s", name, state["step"], size, folder)
    for name in ("scorer", "reader"):
        if (model := settings.out / name / "model.safetensors").is_file():
            folder = settings.out / "export" / name
            folder.mkdir(parents=True, exist_ok=True)
            for file in (model, model.with_name("accuracy.json")):
                shutil.copy(file, folder / file.name)
            log.info("%s: written to %s", name, folder)


def _write_lora(folder: Path, state: dict[str, Any], settings: Settings) -> None:
    """A LoRA in diffusers' format; its rank is that of the checkpoint."""
    rank = next(tensor.shape[0] for name, tensor in state["average"].items() if "lora_A" in name)
    unet = add_lora(build_unet(gated=False), rank)
    _fill(unet, state["average"])
    save_lora(unet, folder)


def _write_boxes_lora(folder: Path, state: dict[str, Any], settings: Settings) -> None:
    """The same, on the boxes model."""
    rank = next(tensor.shape[0] for name, tensor in state["average"].items() if "lora_A" in name)
    unet = add_lora(build_unet(gated=True), rank)
    _fill(unet, state["average"])
    save_lora(unet, folder)


def _write_control(folder: Path, state: dict[str, Any], settings: Settings) -> None:
    """A ControlNet in diffusers' layout."""
    net = build_control(build_unet(gated=False))
    _fill(net, state["average"])
    net.half().save_pretrained(folder)


def _write_flow(folder: Path, state: dict[str, Any], settings: Settings) -> None:
    """The transformer and its scheduler; text encoder and tokenizer are the text-to-image model's own files, byte for byte.

    Of its autoencoder there is the config alone, which says what latents these are: the weights are taken from there (option `vae`).
    """
    transformer = build_transformer()
    _fill(transformer, state["average"])
    transformer.half().save_pretrained(folder / "transformer")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(settings.out / "flow" / "scheduler")
    scheduler.save_pretrained(folder / "scheduler")
    base = load_base(settings).folder
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(base / part, folder / part, dirs_exist_ok=True)
    (folder / "vae").mkdir(exist_ok=True)
    shutil.copy(base / "vae" / "config.json", folder / "vae")
    index = {
        "_class_name": "PixArtSigmaPipeline",
        "_diffusers_version": scheduler.config["_diffusers_version"],
        "vae": ["diffusers", "AutoencoderDC"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "transformer": ["diffusers", "PixArtTransformer2DModel"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _fill(network: Any, part: dict[str, torch.Tensor]) -> None:
    """Every trained tensor from a checkpoint.

    Raises:
        RuntimeError: the checkpoint is of another network.
    """
    missing = changing(network) - set(part)
    _, unexpected = network.load_state_dict(part, strict=False)
    if missing or unexpected:
        raise RuntimeError(f"the checkpoint is of another network: {len(missing)} tensors missing, {len(unexpected)} unexpected")


GROWN = {
    "boxes-coloured": _write_boxes_lora,
    "boxes-half": _write_boxes_lora,
    "coloring": _write_lora,
    "cute": _write_lora,
    "tokencompose": _write_lora,
    "pose": _write_control,
    "segmentation": _write_control,
    "flow": _write_flow,
}
"""Stage → how its model is written."""


def _write(folder: Path, unet: Any, text: CLIPTextModel, tokenizer: CLIPTokenizer, pipeline: str, vae: list[str | None]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scheduler = DDIMScheduler(**scheduler_config())
    unet.half().save_pretrained(folder / "unet")
    text.half().save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": pipeline,
        "_diffusers_version": scheduler.config["_diffusers_version"],
        "vae": vae,
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
    }
    if pipeline == "StableDiffusionPipeline":
        index["image_encoder"] = [None, None]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


def _unplace(config: Path) -> None:
    """Leave out where the network was read from: a folder of the machine that trained it."""
    facts = json.loads(config.read_text("utf-8"))
    facts.pop("_name_or_path", None)
    config.write_text(json.dumps(facts, indent=2) + "\n", "utf-8")


def _note(folder: Path, state: dict[str, Any], settings: Settings) -> None:
    """What these weights are, beside them."""
    facts = {"step": state["step"], "batch": state.get("batch", 32), "seed": settings.seed, "torch": torch.__version__.split("+")[0]}
    (folder / "training.json").write_text(json.dumps(facts, indent=1) + "\n")
