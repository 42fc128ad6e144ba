"""A branch whose network is a UNet2DConditionModel: its words, its pictures and its deep features, beside what every denoiser has."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from ..interfaces import Regions, Request, Step
from ..specs import BranchSpec, Options, Traits
from .checkpoint_branch import CheckpointBranch
from .conditioning import Half, UNetConditioning
from .deep import reuse
from .denoiser import DenoiserBranch
from .distilled import guidance_embedding, told_guidance
from .guard import bare
from .ip_adapter import ImagePrompt, SeenPictures, check_shown_regions, find_ip_adapter, fit_ip_adapter, ip_print, look, put_ip_adapter
from .loading import Loader, hollow_network
from .maps import MapPlace, MapReader, check_places, cross_attention_places
from .options import CheckpointOptions, UNetOptions
from .region_loras import check_lora_regions
from .sources import Checkpoint
from .text import TextEncoding
from .traits import read_traits, unet_config
from .words import check_marks, check_words, read_words, says_words, word_print


class UNetBranch(DenoiserBranch):
    """A UNet2DConditionModel with CLIP text encoders.

    Attributes:
        unet: the network.
        seen: what the image encoder of its IP-Adapter says of the adapter's pictures, where it has one.
    """

    options_class: ClassVar[type[CheckpointOptions]] = UNetOptions
    options: UNetOptions
    unet: Any
    seen: SeenPictures | None = None

    @classmethod
    def read_text(cls, checkpoint: Checkpoint, options: Any, loader: Loader | None = None) -> TextEncoding:
        return read_words(cls, checkpoint, options, loader) if says_words(options) else super().read_text(checkpoint, options, loader)

    @classmethod
    def _traits(cls, spec: BranchSpec, options: Any, checkpoint: Checkpoint, source: Any) -> Traits:
        found = super()._traits(spec, options, checkpoint, source)
        check_words(cls, checkpoint, options)
        return found

    @classmethod
    def check_prompts(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> None:
        """None may have marks that cannot be read, or be longer than it draws with."""
        told = cls._own(spec, options)
        if told.prompt_weights is not None or told.long_prompts == "chunks":
            text = source.text if isinstance(source, CheckpointBranch) else cls._words(spec, options, source)
            for prompt in prompts:
                check_marks(told, prompt) if text is None else text.chunk_count(prompt)

    @classmethod
    def check_regions(cls, spec: BranchSpec, options: Options, regions: Regions) -> None:
        """Those that its adapters name must be there."""
        told = cls._own(spec, options)
        check_lora_regions(told.lora_regions, regions)
        if told.ip_adapter is not None:
            check_shown_regions(told.ip_adapter.regions, regions)

    def text_loader(self) -> Loader:
        """With textual inversions the text encoders are this branch's alone: their vectors are put into them."""
        given = self.loader
        if not self.options.embeddings or not given.share:
            return given
        return Loader(given.checkpoint, given.options, device=given.device, dtype=given.dtype, share=False, classes=self.classes)

    def option_prints(self) -> dict[str, str]:
        return {**super().option_prints(), **word_print(self.options), **ip_print(self.options)}

    def all_places(self) -> list[MapPlace]:
        return cross_attention_places(bare(self.unet))

    def blend_scale(self, request: Request) -> float:
        """One pass where the UNet is told its guidance scale as a number."""
        return 1.0 if self.traits.guidance == "embedded" else super().blend_scale(request)

    def also_told(self, sample: Tensor, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        scale, width = conditioning.told_guidance, told_guidance(bare(self.unet).config)  # type: ignore[arg-type]
        guidance = {} if scale is None or width is None else {"timestep_cond": guidance_embedding(scale, width, sample)}
        images = conditioning.images
        return {**guidance, **({} if images is None else images.told(partial(conditioning.rows, half), sample))}

    @property
    def alters(self) -> bool:
        return self.options.ip_adapter is not None

    def alter(self, source: Any) -> None:
        told = self.options.ip_adapter
        if told is not None:
            found = find_ip_adapter(told, source)
            put_ip_adapter(found, self.unet, told.scale)
            self.seen = look(found, told, self.options, self.loader.device, self.loader.dtype)

    def show(self, request: Request) -> ImagePrompt | None:
        return None if self.seen is None else self.seen.prompt(request, self.device)

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        told = cls._own(spec, options).ip_adapter
        if told is not None:
            find_ip_adapter(told, source)
        return super().inspect(spec, options, source)

    @classmethod
    def _check_weights(cls, checkpoint: Checkpoint, options: Any) -> None:
        super()._check_weights(checkpoint, options)
        if options.ip_adapter is not None:
            fit_ip_adapter(find_ip_adapter(options.ip_adapter), hollow_network(checkpoint, "unet", cls.classes))

    def _reader(self) -> MapReader:
        return MapReader(self.unet, self.options.places, self.options.map_divisor)

    @classmethod
    def _read_traits(cls, checkpoint: Checkpoint, spec: BranchSpec, options: Any, own: bool) -> Traits:
        check_places(unet_config(checkpoint), options.places, options.map_divisor)
        return read_traits(checkpoint, spec, options, own)

    def forward(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> Tensor:
        output: Tensor = self.unet(sample, step.t, encoder_hidden_states=text, return_dict=False, **told)[0]
        return output

    def _denoised(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: Half, whole: bool = False) -> Tensor:
        """Its deep features kept between steps as the option `deep_every` says."""
        run = partial(self.denoise, z, step, conditioning, half)
        return reuse(self.unet, conditioning.deep, self.options.deep_every, step.index, half, z.shape, run, whole)

    def work(self, step: Step, conditioning: UNetConditioning) -> Hashable | None:
        """Beside the shape, only whether deep features are at hand decides what a plain UNet does. Subclasses that tell it more at some
        steps say so, and this with it."""
        return conditioning.deep.work(step.index, self.options.deep_every)
