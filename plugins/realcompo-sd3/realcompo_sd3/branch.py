"""Stable Diffusion 3 (arXiv 2403.03206) and 3.5: a rectified flow whose transformer reads pixels and text as one sequence.

The text is that of two CLIP encoders side by side, 77 tokens, and T5's after them; their pooled prompts are told with the time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from torch import Tensor

from realcompo.errors import BadCheckpoint, BadOption
from realcompo.interfaces import Step
from realcompo.processes import FlowSchedule
from realcompo.specs import BranchSpec, Traits
from realcompo.toolkit import Checkpoint, Half, Loader, TextEncoding, TransformerBranch, UNetConditioning
from realcompo.toolkit.loading import Classes
from realcompo.toolkit.sequences import NoEncoder, SideBySide, T5Encoding, TextSequence
from realcompo.toolkit.transformer_traits import check_widths, transformer_config

from .options import SD3Options

_CLIP = ("text_encoder", "text_encoder_2")
_T5 = "text_encoder_3"


class SD3Branch(TransformerBranch):
    """Both generations: 3.5's differs by norms of queries and keys, and blocks in which pixels attend to pixels once more."""

    options_class = SD3Options
    classes: ClassVar[Classes] = {
        "transformer": ("diffusers", ("SD3Transformer2DModel",)),
        "text_encoder": ("transformers", ("CLIPTextModelWithProjection",)),
        "text_encoder_2": ("transformers", ("CLIPTextModelWithProjection",)),
        "text_encoder_3": ("transformers", ("T5EncoderModel",)),
    }
    encoders: ClassVar[Mapping[str, str]] = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2", _T5: "tokenizer_3"}
    encodings: ClassVar[Mapping[str, type[TextEncoding]]] = {_T5: T5Encoding}
    options: SD3Options

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        config = transformer_config(checkpoint, cls.classes)
        if config["qk_norm"] not in (None, "rms_norm"):
            raise BadCheckpoint(
                f"its queries and keys have the norm {config['qk_norm']!r}, which is none of SD 3's",
                where=checkpoint.where,
                mend="choose a checkpoint of SD 3 or 3.5",
            )
        check_widths(checkpoint, _T5, config["joint_attention_dim"], "joint_attention_dim")
        clips = [checkpoint.config(part) for part in _CLIP if checkpoint.has(part)]
        pooled = sum(clip.get("projection_dim", 512) for clip in clips)
        if len(clips) < 2 or pooled != config["pooled_projection_dim"]:
            raise BadCheckpoint(
                f"its transformer is told pooled prompts of {config['pooled_projection_dim']} numbers, "
                f"its {len(clips)} CLIP encoders give {pooled}",
                where=checkpoint.where,
                mend="take transformer, text_encoder and text_encoder_2 from one checkpoint",
            )

    @classmethod
    def _read_traits(cls, checkpoint: Checkpoint, spec: BranchSpec, options: Any, own: bool) -> Traits:
        """Its schedulers visit diffusers' evenly spaced timesteps, of which the last is near 0; its table of places ends somewhere."""
        traits = super()._read_traits(checkpoint, spec, options, own)
        config = transformer_config(checkpoint, cls.classes)
        shape = cls.shape(config)
        past = [i for i in options.skip_layers if i >= shape.depth]
        if past:
            raise BadOption(f"there is no block {past[0]} to skip", where="option skip_layers", mend="count blocks from 0")
        if not isinstance(traits.schedule, FlowSchedule):
            raise BadCheckpoint("its scheduler is none of a flow", where=checkpoint.where, mend="restore scheduler/scheduler_config.json")
        most = config["pos_embed_max_size"]
        side = None if most is None else most * shape.patch * traits.latent.downscale
        return replace(traits, schedule=replace(traits.schedule, timestep_spacing="linspace"), max_side=side)

    @classmethod
    def read_text(cls, checkpoint: Checkpoint, options: Any, loader: Loader | None = None) -> TextEncoding:
        def network(part: str) -> Any:
            return None if loader is None else loader.module(part)

        clip = SideBySide([TextEncoding(cls.words(checkpoint, part), network(part), -2) for part in _CLIP])
        read = {"t5": (1,), "clip": (0,), "both": (0, 1)}[options.map_text]
        if not checkpoint.has(_T5):
            width = transformer_config(checkpoint, cls.classes)["joint_attention_dim"]
            return TextSequence([clip, NoEncoder(clip, options.text_length, width)], read=(0,))
        return TextSequence([clip, T5Encoding(cls.words(checkpoint, _T5), network(_T5), length=options.text_length)], read=read)

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """The pooled prompts, and the blocks that a third pass leaves out."""
        pooled = {"pooled_projections": conditioning.pooled(half).to(sample)}
        return {**pooled, "skip_layers": list(self.options.skip_layers)} if conditioning.extra == "skip" else pooled

    def blended(self, z: Tensor, conditional: Tensor, unconditional: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        """u + g·(c − u), and, while skip-layer guidance lasts, s·(c − c without some blocks) more."""
        found = super().blended(z, conditional, unconditional, step, conditioning)
        own = self.options
        if not own.skip_layers or not step.count * own.skip_start < step.index < step.count * own.skip_stop:
            return found
        return found + own.skip_scale * (conditional - self.denoise(z, step, replace(conditioning, extra="skip"), "conditional"))
