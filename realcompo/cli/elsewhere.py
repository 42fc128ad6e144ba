"""Options that other programs have, and where the same is said here: asked for by their names there, they are told in place of a guess."""

from __future__ import annotations

from typing import Any

PLACES: dict[str, tuple[str, ...]] = {
    "--scheduler": ("--set scheduler=euler",),
    "--sampler": ("--set scheduler=euler",),
    "--balancer": ("--set balancer=core/mean",),
    "--planner": ("--set planner=PLUGIN/PLANNER",),
    "--steps": ("--steps 20", "--set num_inference_steps=20"),
    "--num-inference-steps": ("--steps 20", "--set num_inference_steps=20"),
    "--height": ("--size 512x768", "--set height=768"),
    "--width": ("--size 512x768", "--set width=512"),
    "--negative-prompt": ("--negative WORDS", "--set pictures.0.negative_prompt=WORDS"),
    "--guidance-scale": ("--set branches.0.guidance_scale=5",),
    "--cfg": ("--set branches.0.guidance_scale=5",),
    "--cfg-scale": ("--set branches.0.guidance_scale=5",),
    "--lora": ("--set branches.0.options.lora=FILE",),
    "--vae": ("--set branches.0.options.vae=FILE",),
    "--model": ("--fidelity ID", "--set branches.0.source=FILE"),
    "--checkpoint": ("--set branches.0.source=FILE",),
    "--seeds": ("--seed 0 -n 4",),
    "--num-images": ("-n 4",),
    "--download": ("--set branches.0.options.download=true",),
}
"""Name there → what to write here, the first whose option the verb has."""


def put_right(error: Any) -> None:
    """Let Click's error of an option that there is not say what to write in its place, where that is known; others stay as they are."""
    name, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if name not in PLACES or not hasattr(error, "possibilities") or context is None:
        return
    known = {option for one in context.command.params for option in one.opts}
    here = next((words for words in PLACES[name] if words.split()[0] in known - {name}), None)
    if here is not None:
        error.message, error.possibilities = f"No such option: {name}. Write {here}", None
