"""A branch that is a UNet2DConditionModel: encoding, guidance, maps, decoding. Subclasses say what more their network is told.

A subclass usually overrides `told` (more arguments of the network at a step) and `prepare` (what of the request they are made
of, once a run); one that moves latents overrides `predict`, and calls `attend` in it as often as it likes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor

from ..errors import BadCheckpoint, BadOption, Incompatible
from ..interfaces import Branch, Prediction, Region, Request, Step
from ..noise.devices import torch_dtype
from ..specs import BranchSpec, Options, Traits
from .guard import bare, exclusive
from .loading import Loader, file_digest, hollow_network
from .lora import check_lora, fit_adapter, lora_path, merge_lora
from .maps import MapReader, check_places
from .options import UNetOptions
from .own_vae import find_vae
from .sources import Checkpoint, holds_weights, locate_part, open_checkpoint, weight_files
from .text import Text, TextEncoding, join_texts
from .tokenizers import check_vocabulary, refuse_code
from .traits import SPACES, read_traits, unet_config
from .vae import decode_pictures, decoding_dtype

Half = Literal["both", "conditional", "unconditional"]
"""The rows of a forward pass: the 2B of guidance, unconditional ones first as in diffusers' pipelines, or B of one kind."""


@dataclass(frozen=True)
class UNetConditioning:
    """All that belongs to a run.

    Attributes:
        conditional, unconditional: text of B prompts; no unconditional text where there is no guidance.
        weights: (B, R, L) of each region's tokens.
        guidance_scale: of the blend u + g·(c − u).
        extra: what `UNetBranch.prepare` made.
    """

    conditional: Text
    unconditional: Text | None
    weights: Tensor
    guidance_scale: float
    extra: Any = None

    def rows(self, half: Half, conditional: Tensor, unconditional: Tensor | None = None) -> Tensor:
        """B conditional rows and B unconditional ones (the same, if None) as the rows of a half."""
        other = conditional if unconditional is None else unconditional
        return {
            "both": lambda: torch.cat([other, conditional]),
            "conditional": lambda: conditional,
            "unconditional": lambda: other,
        }[half]()

    def text(self, half: Half) -> Tensor:
        """The hidden states of a half, (rows, L, D)."""
        return self.rows(half, self.conditional.hidden, None if self.unconditional is None else self.unconditional.hidden)

    def pooled(self, half: Half) -> Tensor:
        """The pooled embeddings of a half, (rows, P); only of encoders that have some."""
        other = None if self.unconditional is None else self.unconditional.pooled
        if self.conditional.pooled is None:
            raise ValueError("its text encoders pool no prompt")
        return self.rows(half, self.conditional.pooled, other)


class UNetBranch(Branch):
    """A UNet with CLIP text encoders and, in the fidelity role, a VAE.

    Attributes:
        encoders: part of each text encoder → part of its tokenizer; several read one prompt side by side.
        text_layer: index of the hidden states that the UNet was trained on; None = the last, after the norm.
        unet, text, vae: the networks; `vae` is None in a spatial branch.
    """

    options_class: ClassVar[type[UNetOptions]] = UNetOptions
    encoders: ClassVar[Mapping[str, str]] = {"text_encoder": "tokenizer"}
    text_layer: ClassVar[int | None] = None
    options: UNetOptions

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        self.spec = spec
        self.options = _unet_options(spec, options)
        check_lora(self.options.lora, source)
        _check_vae(spec, self.options, source)
        self.checkpoint = _with_vae(self._open(spec, self.options, source, weights=True), spec, self.options)
        self.traits = self._traits(spec, self.options, self.checkpoint, source)
        own = self.options.lora is not None  # its weights are changed: they must be nobody else's
        self.loader = Loader(self.checkpoint, self.options, device=device, dtype=dtype, share=not own)
        self.unet: Any = self.loader.module("unet")
        self.text: TextEncoding = join_texts([self.loader.text(part, words, self.text_layer) for part, words in self.encoders.items()])
        self.vae: Any = self.loader.module("vae") if spec.role != "spatial" else None
        merge_lora({"unet": self.unet, **self._text_networks()}, self.options.lora, self.options.lora_scale)
        self.reader = MapReader(self.unet, self.options.places, self.options.map_divisor)

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def _open(cls, spec: BranchSpec, options: UNetOptions, source: Any, weights: bool) -> Checkpoint:
        parts = ["unet", *cls.encoders, *cls.encoders.values(), "scheduler", "vae"]
        source = spec.source if source is None else source
        return open_checkpoint(source, options, revision=spec.revision, parts=parts, weights=weights)

    @classmethod
    def _traits(cls, spec: BranchSpec, options: UNetOptions, checkpoint: Checkpoint, source: Any) -> Traits:
        if checkpoint.folder is not None:
            refuse_code(checkpoint.folder, ("unet", "vae", *cls.encoders, *cls.encoders.values()))
        cls.check(checkpoint)
        for part, words in cls.encoders.items():
            if checkpoint.has(words) and checkpoint.has(part):
                tokenizer = TextEncoding.from_checkpoint(checkpoint, words).tokenizer
                check_vocabulary(tokenizer, checkpoint.config(part), part, checkpoint.where)
        check_places(unet_config(checkpoint), options.places, options.map_divisor)
        return read_traits(checkpoint, spec, options, own=source is None or source == spec.source)

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        """Refuse checkpoints that this class cannot drive, from config files. Subclasses add to it.

        Raises:
            BadCheckpoint: another architecture; says of which.
        """

    @classmethod
    def inspect(cls, spec: BranchSpec, options: Options, source: Any = None) -> Traits:
        """Traits from config files; the spec's word where the plugin's own checkpoint is not on this machine yet.

        Raises:
            BadCheckpoint: the source is missing or of another architecture. BadOption: its network has no maps where they are to be read.
        """
        told = _unet_options(spec, options)
        _check_vae(spec, told, source)
        if hasattr(source, "unet") or told.lora != spec.defaults.get("lora"):
            check_lora(told.lora, source)  # the plugin's own may not be on this machine yet, as its checkpoint
        try:
            checkpoint = cls._open(spec, told, source, weights=False)
        except BadCheckpoint:
            if spec.traits is not None and (source is None or source == spec.source):
                if told.vae is not None:
                    find_vae(told.vae, locate_part(told.vae, told), told)
                return spec.traits
            raise
        traits = cls._traits(spec, told, _with_vae(checkpoint, spec, told), source)
        cls._check_weights(checkpoint, told)
        return traits

    @classmethod
    def _check_weights(cls, checkpoint: Checkpoint, options: UNetOptions) -> None:
        """What a run would refuse of the files that are on this machine, from their headers: damaged weights, a LoRA that does not fit."""
        if checkpoint.folder is not None:
            for part in ("unet", "vae", *cls.encoders):
                if (checkpoint.folder / part).is_dir() and holds_weights(checkpoint.folder / part):
                    weight_files(checkpoint.folder / part, options)
        path = check_lora(options.lora) if options.lora is not None and lora_path(options.lora).exists() else None
        if path is not None and checkpoint.pipeline is None:
            fit_adapter(path, {part: hollow_network(checkpoint, part) for part in ("unet", *cls.encoders) if checkpoint.has(part)})

    @classmethod
    def locate(
        cls, spec: BranchSpec, options: Options, prompt: str, regions: Sequence[Region], source: Any = None
    ) -> dict[str, tuple[str, ...]] | None:
        """Region id → the words that its maps are read at; None where the tokenizer is not on this machine."""
        text = cls._words(spec, options, source)
        if text is None:
            return None
        found = text.tokens(prompt, regions)
        return {region.id: text.token_texts(prompt, indices) for region, indices in zip(regions, found, strict=True)}

    @classmethod
    def unread(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> tuple[str, ...] | None:
        """What none, or not all, of its text encoders read."""
        text = source.text if isinstance(source, UNetBranch) else cls._words(spec, options, source)
        return None if text is None else tuple(text.unread(prompt) for prompt in prompts)

    @classmethod
    def _words(cls, spec: BranchSpec, options: Options, source: Any) -> TextEncoding | None:
        """Its tokenizers, without text encoders; None where they are not on this machine."""
        try:
            checkpoint = cls._open(spec, _unet_options(spec, options), source, weights=False)
            return join_texts([TextEncoding.from_checkpoint(checkpoint, part) for part in cls.encoders.values()])
        except BadCheckpoint:
            return None

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, request: Request) -> UNetConditioning:
        self.check_size(request.size)
        weights = self.text.weights(request.prompts, request.regions)  # first: a phrase that is not there costs no encoding
        guided = request.guidance_scale > 1
        conditional = self.text.encode(request.prompts).to(self.device, self.dtype)
        unconditional = self.encode_negative(request.negative_prompts).to(self.device, self.dtype) if guided else None
        return UNetConditioning(conditional, unconditional, weights.to(self.device), request.guidance_scale, self.prepare(request))

    def embeddings(self, conditioning: UNetConditioning) -> tuple[Tensor, ...]:
        """Hidden states and pooled embeddings of both halves."""
        texts = [text for text in (conditioning.conditional, conditioning.unconditional) if text is not None]
        return tuple(one for text in texts for one in (text.hidden, text.pooled) if one is not None)

    def encode_negative(self, prompts: Sequence[str]) -> Text:
        """The text of the unconditional half. Here, negative prompts are encoded like any other."""
        return self.text.encode(prompts)

    def prepare(self, request: Request) -> Any:
        """What `told` needs of a request, kept as the conditioning's `extra`. Nothing here."""
        return None

    def check_size(self, size: tuple[int, int]) -> None:
        """Refuse a (height, width) in pixels that the network cannot take.

        Raises:
            Incompatible.
        """
        multiple = self.traits.size_multiple
        if min(size) < multiple or size[0] % multiple or size[1] % multiple:
            raise Incompatible(
                f"{self.spec.id} cannot take {size[1]}×{size[0]} pixels: both must be multiples of {multiple}",
                mend=f"use a width and height such as {self.traits.default_size[1]}×{self.traits.default_size[0]}",
            )

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """More arguments of the network's forward pass (``cross_attention_kwargs``, residuals …) for the rows of a half.

        Args:
            sample: (rows, C, h, w) that the network is about to see, in its dtype, with a graph where maps are read.
        """
        return {}

    def denoise(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Tensor:
        """The network's raw prediction at z (B, C, h, w) for a half, in z's dtype: (2B, …) for both, else (B, …)."""
        rows = torch.cat([z, z]) if half == "both" else z
        sample = (rows if step.scale == 1 else step.scale * rows).to(self.device, self.dtype)
        text = conditioning.text(half).to(sample)
        with exclusive(bare(self.unet)):
            told = self.told(sample, step, conditioning, half)
            output: Tensor = self.unet(sample, step.t, encoder_hidden_states=text, return_dict=False, **told)[0]
        return output.to(z)

    def predict(self, z: Tensor, step: Step, conditioning: UNetConditioning, read: bool = False) -> Prediction:
        """Guided prediction u + g·(c − u). Both halves run in one batch, as in diffusers' pipelines; with `read`, apart, so that
        only the conditional half, and of it only what leads to the maps, has a graph."""
        self.check_step(step)
        g = conditioning.guidance_scale
        if read:
            maps, conditional = self._read(z, step, conditioning, stop=False)
            conditional = conditional.detach()
        else:
            maps = None
        with torch.no_grad():
            if conditioning.unconditional is None:
                noise = conditional if read else self.denoise(z, step, conditioning, "conditional")
                return Prediction(noise, maps)
            if read:
                unconditional = self.denoise(z, step, conditioning, "unconditional")
            else:
                unconditional, conditional = self.denoise(z, step, conditioning, "both").chunk(2)
            return Prediction(unconditional + g * (conditional - unconditional), maps)

    def predict_unguided(self, z: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        self.check_step(step)
        with torch.no_grad():
            return self.denoise(z, step, conditioning, "conditional")

    def work(self, step: Step, conditioning: UNetConditioning) -> Hashable | None:
        """Nothing but the shape decides what a plain UNet does; subclasses that tell it more at some steps say so."""
        return ()

    def attend(self, z: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        """Maps (B, R, h', w'), each a mean over heads, places and the region's tokens; h' = h / `map_divisor`."""
        self.check_step(step)
        return self._read(z, step, conditioning, stop=True)[0]

    def _read(self, z: Tensor, step: Step, conditioning: UNetConditioning, stop: bool) -> tuple[Tensor, Any]:
        size = (z.shape[-2], z.shape[-1])
        if stop and conditioning.weights.shape[1] == 0:  # no region in any picture: nothing to run for
            return z.new_zeros(z.shape[0], 0, *self.reader.size(*size)), None
        precision = torch.promote_types(z.dtype, torch.float32)
        return self.reader.read(
            lambda: self.denoise(z, step, conditioning, "conditional"), conditioning.weights.to(self.device), size, stop, precision
        )

    # -- pictures -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def decode(self, z: Tensor) -> list[Image.Image]:
        """Pictures of latents (B, C, h, w), in tiles if the option `vae_tiling` says so; see `decode_pictures`."""
        if self.vae is None:
            return super().decode(z)
        latent = self.traits.latent
        return decode_pictures(self.vae, z / latent.scaling_factor + latent.shift_factor, self.options.vae_tiling)

    # -- where it is ----------------------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, Any]:
        """Part → network; subclasses add theirs, so that `to` and `fingerprint` know them."""
        networks = {"unet": self.unet, **self._text_networks()}
        return networks if self.vae is None else {**networks, "vae": self.vae}

    def _text_networks(self) -> dict[str, Any]:
        return dict(zip(self.encoders, self.text.encoders, strict=True))

    def to(self, device: Any = None, dtype: Any = None) -> UNetBranch:
        """Move the networks, for every branch that shares them. A pipeline's stay where their owner put them."""
        if self.checkpoint.pipeline is not None:
            return self
        wanted = None if dtype is None else torch_dtype(dtype)
        for part, network in self.networks().items():
            own = decoding_dtype(network.config, wanted) if part == "vae" and wanted is not None else wanted
            if device is not None:
                network.to(device)
            if own is not None and own != network.dtype:
                network.to(own)
        return self

    @property
    def device(self) -> torch.device:
        if self.checkpoint.pipeline is not None:  # with accelerate's offload, networks come to the pipeline's device to run
            found: torch.device = getattr(self.checkpoint.pipeline, "_execution_device", self.unet.device)
            return found
        return self.unet.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        return self.unet.dtype  # type: ignore[no-any-return]

    def fingerprint(self) -> dict[str, str]:
        parts = self.loader.fingerprint(self.networks())
        lora = check_lora(self.options.lora)
        return parts if lora is None else {**parts, "lora": f"{file_digest([lora])} at {self.options.lora_scale!r}"}


def _unet_options(spec: BranchSpec, options: Options | None) -> UNetOptions:
    if isinstance(options, UNetOptions):
        return options
    cls = spec.options if spec.options is not None and issubclass(spec.options, UNetOptions) else UNetOptions
    return cls(**{**spec.defaults, **(options.model_dump() if options is not None else {})})


def _check_vae(spec: BranchSpec, options: UNetOptions, source: Any) -> None:
    """Refuse a VAE that would never be used, or that would stand beside a pipeline's own."""
    if options.vae is None:
        return
    if hasattr(source, "unet"):
        raise BadCheckpoint("the option vae would change a pipeline that you hold", where=options.vae, mend="set pipe.vae yourself")
    if spec.role == "spatial":
        raise BadOption(
            "a spatial branch decodes no picture, so its VAE is never used",
            where=f"{spec.id}, option 'vae'",
            mend="set it for the fidelity branch",
        )


def _with_vae(checkpoint: Checkpoint, spec: BranchSpec, options: UNetOptions) -> Checkpoint:
    """The checkpoint with the VAE of the option `vae`, whose latents are checked against those of its own, or of its kind."""
    if options.vae is None:
        return checkpoint
    own = checkpoint.config("vae") if checkpoint.has("vae") else None
    known = spec.traits is None or spec.traits.latent.name in SPACES
    family = ("sdxl" if unet_config(checkpoint).get("addition_embed_type") == "text_time" else "sd1") if known else None
    vouched = own is None and options.latent_space is not None
    return replace(
        checkpoint, vae=find_vae(options.vae, locate_part(options.vae, options), options, own, family, check_latents=not vouched)
    )
