"""A branch with a denoising network of diffusers': encoding, guidance, maps, decoding; and the one that is a UNet2DConditionModel (that
which is a transformer: transformer.py). Subclasses say what more their network is told.

A subclass usually overrides `told` (more arguments of the network at a step) and `prepare` (what of the request they are made
of, once a run); one that moves latents overrides `predict`, and calls `attend` in it as often as it likes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor

from ..errors import BadCheckpoint, BadOption, Incompatible
from ..interfaces import Branch, GuidanceHalf, Prediction, Region, Request, Runtime, Step
from ..noise.devices import torch_dtype
from ..specs import BranchSpec, Options, Traits
from .conditioning import Half, UNetConditioning
from .deep import reuse
from .distilled import guidance_embedding, is_distilled, told_guidance
from .guard import bare, exclusive
from .ip_adapter import ImagePrompt, find_ip_adapter, fit_ip_adapter, image_prompt, ip_print, joined, look, put_ip_adapter
from .loading import Loader, file_digest, hollow_network
from .loras import OPTIONS as ADAPTERS
from .loras import Loras, check_loras, fit_loras, lora_print
from .maps import MapPlace, MapReader, PlaceReader, check_places, cross_attention_places
from .options import CheckpointOptions, UNetOptions
from .own_vae import find_vae
from .runtime import run_as
from .sources import Checkpoint, holds_weights, is_pipeline, locate_part, open_checkpoint, weight_files
from .text import Text, TextEncoding, join_texts
from .tokenizers import check_vocabulary, refuse_code
from .traits import read_traits, unet_config
from .vae import decode_pictures, decoding_dtype, encode_pictures
from .vae_option import check_own_vae, with_own_vae
from .words import check_marks, check_words, inversion_files, read_words, says_words


class DenoiserBranch(Branch):
    """A network with text encoders and, in the fidelity role, a VAE: what UNets and transformers have in common.

    Attributes:
        part: of the checkpoint that is the network, and the attribute that holds it.
        encoders: part of each text encoder → part of its tokenizer; several read one prompt side by side.
        text_layer: index of the hidden states that the network was trained on; None = the last, after the norm.
        encodings: part of a text encoder → what reads with it, where it is no CLIP.
        classes: part → library and class names, where they are others than `loading.CLASSES` allows.
        text, vae: the other networks; `vae` is None in a spatial branch.
    """

    options_class: ClassVar[type[CheckpointOptions]] = CheckpointOptions
    part: ClassVar[str] = "unet"
    encoders: ClassVar[Mapping[str, str]] = {"text_encoder": "tokenizer"}
    text_layer: ClassVar[int | None] = None
    encodings: ClassVar[Mapping[str, type[TextEncoding]]] = {}
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {}
    options: Any
    reader: Any
    _loras: Loras | None = None

    def __init__(
        self, spec: BranchSpec, options: Options | None = None, *, source: Any = None, device: Any = None, dtype: Any = None
    ) -> None:
        self.spec = spec
        self.options = self._own(spec, options)
        loras = check_loras(self.options, source)
        check_own_vae(spec, self.options, source)
        self.checkpoint = with_own_vae(self._open(spec, self.options, source, weights=True), spec, self.options)
        self.traits = self._traits(spec, self.options, self.checkpoint, source)
        own = bool(loras) or self._alters()  # its weights are changed: they must be nobody else's
        self.loader = Loader(self.checkpoint, self.options, device=device, dtype=dtype, share=not own, classes=self.classes)
        setattr(self, self.part, self.load_network())
        self.text: TextEncoding = self.read_text(self.checkpoint, self.options, self.text_loader())
        self.vae: Any = self.loader.module("vae") if spec.role != "spatial" else None
        if loras:
            self._loras = Loras({self.part: self.network, **self._text_networks()})
            self._loras.put(loras)
        self.alter(source)
        self.reader = self._reader()

    def _alters(self) -> bool:
        """Whether `alter` changes the network, beside the LoRAs."""
        return False

    def alter(self, source: Any) -> None:
        """Change the network, which is this branch's alone where `_alters` says so, before it is first run. Nothing here."""

    @classmethod
    def _own(cls, spec: BranchSpec, options: Options | None) -> Any:
        """Its options, whatever the caller gave."""
        if isinstance(options, cls.options_class):
            return options
        kind = spec.options if spec.options is not None and issubclass(spec.options, cls.options_class) else cls.options_class
        return kind(**{**spec.defaults, **(options.model_dump() if options is not None else {})})

    @property
    def network(self) -> Any:
        """The denoising network."""
        return getattr(self, self.part)

    def all_places(self) -> list[MapPlace]:
        """The attention to text of every block, in the order in which they run."""
        raise NotImplementedError

    def placed(self, places: Sequence[MapPlace], z: Tensor, conditioning: UNetConditioning) -> Sequence[MapPlace]:
        """The places as they stand at z (B, C, h, w) of this run: of networks whose sequence has another length for each text, they are
        told it here."""
        return places

    def _reader(self) -> Any:
        """What reads its maps: `size(h, w)` of a map, and `read`, as `MapReader` has them."""
        raise NotImplementedError

    def load_network(self) -> Any:
        """The denoising network, on its device."""
        return self.loader.module(self.part)

    def text_loader(self) -> Loader:
        """What loads the text encoders."""
        return self.loader

    @classmethod
    def read_text(cls, checkpoint: Checkpoint, options: Any, loader: Loader | None = None) -> TextEncoding:
        """Its tokenizers, with their text encoders where there is a loader, as one."""
        found = [cls.words(checkpoint, part) for part in cls.encoders]
        networks = [None if loader is None else loader.module(part) for part in cls.encoders]
        return join_texts([TextEncoding(words, network, cls.text_layer) for words, network in zip(found, networks, strict=True)])

    @classmethod
    def words(cls, checkpoint: Checkpoint, part: str) -> Any:
        """The tokenizer of a text encoder."""
        return cls.encodings.get(part, TextEncoding).from_checkpoint(checkpoint, cls.encoders[part]).tokenizer

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def _open(cls, spec: BranchSpec, options: Any, source: Any, weights: bool) -> Checkpoint:
        parts = [cls.part, *cls.encoders, *cls.encoders.values(), "scheduler", "vae"]
        source = spec.source if source is None else source
        return open_checkpoint(source, options, revision=spec.revision, parts=parts, weights=weights)

    @classmethod
    def _traits(cls, spec: BranchSpec, options: Any, checkpoint: Checkpoint, source: Any) -> Traits:
        if checkpoint.folder is not None:
            refuse_code(checkpoint.folder, (cls.part, "vae", *cls.encoders, *cls.encoders.values()))
        cls.check(checkpoint)
        for part, words in cls.encoders.items():
            if checkpoint.has(words) and checkpoint.has(part):
                check_vocabulary(cls.words(checkpoint, part), checkpoint.config(part), part, checkpoint.where)
        traits = cls._read_traits(checkpoint, spec, options, own=source is None or source == spec.source)
        return replace(traits, distilled=is_distilled(checkpoint, options) or (options.distilled is None and traits.distilled))

    @classmethod
    def _read_traits(cls, checkpoint: Checkpoint, spec: BranchSpec, options: Any, own: bool) -> Traits:
        """What the config files tell of a checkpoint that `check` let pass; see `traits.read_traits`."""
        raise NotImplementedError

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
        told = cls._own(spec, options)
        check_own_vae(spec, told, source)
        if is_pipeline(source) or told.lora != spec.defaults.get("lora"):
            check_loras(told, source)  # the plugin's own may not be on this machine yet, as its checkpoint
        try:
            checkpoint = cls._open(spec, told, source, weights=False)
        except BadCheckpoint:
            if spec.traits is not None and (source is None or source == spec.source):
                if told.vae is not None:
                    find_vae(told.vae, locate_part(told.vae, told), told)
                return spec.traits if told.distilled is None else replace(spec.traits, distilled=told.distilled)
            raise
        traits = cls._traits(spec, told, with_own_vae(checkpoint, spec, told), source)
        cls._check_weights(checkpoint, told)
        return traits

    @classmethod
    def _check_weights(cls, checkpoint: Checkpoint, options: Any) -> None:
        """What a run would refuse of the files that are on this machine, from their headers: damaged weights, a LoRA that does not fit."""
        if checkpoint.folder is not None:
            for part in (cls.part, "vae", *cls.encoders):
                if (checkpoint.folder / part).is_dir() and holds_weights(checkpoint.folder / part):
                    weight_files(checkpoint.folder / part, options)
        if options.loras and checkpoint.pipeline is None:
            networks = {part: hollow_network(checkpoint, part, cls.classes) for part in (cls.part, *cls.encoders) if checkpoint.has(part)}
            fit_loras(options, networks)

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
        text = source.text if isinstance(source, DenoiserBranch) else cls._words(spec, options, source)
        return None if text is None else tuple(text.unread(prompt) for prompt in prompts)

    @classmethod
    def _words(cls, spec: BranchSpec, options: Options, source: Any) -> TextEncoding | None:
        """Its tokenizers, without text encoders; None where they are not on this machine."""
        try:
            told = cls._own(spec, options)
            return cls.read_text(cls._open(spec, told, source, weights=False), told)
        except BadCheckpoint:
            return None

    # -- once a run -----------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, request: Request) -> UNetConditioning:
        self.check_size(request.size)
        g = self.blend_scale(request)
        text = self.text_of(request.prompts, request.negative_prompts if g > 1 else None)
        weights = text.weights(request.prompts, request.regions)  # first: a phrase that is not there costs no encoding
        conditional = text.encode(request.prompts).to(self.device, self.dtype)
        unconditional = self._negative(request.negative_prompts, text).to(self.device, self.dtype) if g > 1 else None
        extra = self.prepare(request)
        told = request.guidance_scale if self.traits.guidance == "embedded" else None
        return UNetConditioning(
            conditional,
            unconditional,
            weights.to(self.device),
            g,
            extra,
            inpainting=request.inpainting,
            told_guidance=told,
            images=self.show(request),
        )

    def show(self, request: Request) -> ImagePrompt | None:
        """What an IP-Adapter shows in a run. Nothing here."""
        return None

    def blend_scale(self, request: Request) -> float:
        """g of the blend u + g·(c − u) of two passes; 1 is one pass."""
        return request.guidance_scale

    def embeddings(self, conditioning: UNetConditioning) -> tuple[Tensor, ...]:
        """Hidden states and pooled embeddings of both halves."""
        texts = [text for text in (conditioning.conditional, conditioning.unconditional) if text is not None]
        return tuple(one for text in texts for one in (text.hidden, text.pooled) if one is not None)

    def text_of(self, prompts: Sequence[str], negatives: Sequence[str] | None = None) -> TextEncoding:
        """Its text encoding for a run: both halves of a picture have the tokens of the longer."""
        texts = [prompts] if negatives is None else [prompts, negatives]
        parts = [max(self.text.chunk_count(text) for text in both) for both in zip(*texts, strict=True)]
        return self.text if set(parts) <= {1} else self.text.set_to(parts)

    def _negative(self, prompts: Sequence[str], text: TextEncoding) -> Text:
        return self.encode_negative(prompts) if text is self.text else self.encode_negative(prompts, text)

    def encode_negative(self, prompts: Sequence[str], text: TextEncoding | None = None) -> Text:
        """The text of the unconditional half. Here, negative prompts are encoded like any other.

        Args:
            text: what `text_of` made of the run's texts, where one of them is longer than L.
        """
        return (text or self.text).of_negatives().encode(prompts)

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
        if self.traits.max_side is not None and max(size) > self.traits.max_side:
            raise Incompatible(
                f"{self.spec.id} cannot take {size[1]}×{size[0]} pixels: its network has places for {self.traits.max_side} along a side",
                mend=f"draw at most {self.traits.max_side} pixels along a side",
            )

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """More arguments of the network's forward pass (``cross_attention_kwargs``, residuals …) for the rows of a half.

        Args:
            sample: (rows, C, h, w) that the network is about to see, in its dtype, with a graph where maps are read.
        """
        return {}

    def also_told(self, sample: Tensor, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """Arguments that every network of this kind is told where its config asks for them, whatever `told` says of a subclass's own."""
        return {}

    def denoise(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Tensor:
        """The network's raw prediction at z (B, C, h, w) for a half, in z's dtype: (2B, …) for both, else (B, …)."""
        rows = torch.cat([z, z]) if half == "both" else z
        sample = (rows if step.scale == 1 else step.scale * rows).to(self.device, self.dtype)
        text = conditioning.text(half).to(sample)
        with exclusive(bare(self.network)):
            told = joined(self.told(sample, step, conditioning, half), self.also_told(sample, conditioning, half))
            output = self.forward(conditioning.beside(sample, half), step, text, told)
        return output.to(z)

    def forward(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> Tensor:
        """One pass of the network: its raw prediction for rows (n, C, h, w) in its dtype.

        Args:
            text: (n, L, D).
            told: what `told` said.
        """
        raise NotImplementedError

    def predict(self, z: Tensor, step: Step, conditioning: UNetConditioning, read: bool = False) -> Prediction:
        """Guided prediction u + g·(c − u). Both halves run in one batch, as in diffusers' pipelines; with `read`, apart, so that
        only the conditional half, and of it only what leads to the maps, has a graph."""
        self.check_step(step)
        if read:
            maps, conditional = self._read(z, step, conditioning, stop=False)
            conditional = conditional.detach()
        else:
            maps = None
        with torch.no_grad():
            if conditioning.unconditional is None:
                noise = conditional if read else self._denoised(z, step, conditioning, "conditional")
                return Prediction(noise, maps)
            if read:
                unconditional = self._denoised(z, step, conditioning, "unconditional")
            else:
                unconditional, conditional = self._denoised(z, step, conditioning, "both").chunk(2)
            guided = self.blended(z, conditional, unconditional, step, conditioning)
            return Prediction(guided, maps, unconditional=unconditional)

    def blended(self, z: Tensor, conditional: Tensor, unconditional: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        """What guidance makes of the raw predictions of two passes at z, (B, C, h, w) each."""
        return unconditional + conditioning.guidance_scale * (conditional - unconditional)

    def predict_half(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: GuidanceHalf, read: bool = False) -> Prediction:
        """B rows of the network, not 2B."""
        self.check_step(step)
        if read:
            maps, noise = self._read(z, step, conditioning, stop=False)
            return Prediction(noise.detach(), maps)
        with torch.no_grad():
            return Prediction(self._denoised(z, step, conditioning, half))

    def _denoised(self, z: Tensor, step: Step, conditioning: UNetConditioning, half: Half, whole: bool = False) -> Tensor:
        """`denoise` as `predict` asks for it; `whole` leaves nothing out at this step."""
        return self.denoise(z, step, conditioning, half)

    def predict_unguided(self, z: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        self.check_step(step)
        with torch.no_grad():
            return self.denoise(z, step, conditioning, "conditional")

    def work(self, step: Step, conditioning: UNetConditioning) -> Hashable | None:
        """Nothing but the shape decides what a plain network does; subclasses that tell it more at some steps say so."""
        return ()

    def attend(self, z: Tensor, step: Step, conditioning: UNetConditioning) -> Tensor:
        """Maps (B, R, h', w'), each a mean over heads, places and the region's tokens."""
        self.check_step(step)
        return self._read(z, step, conditioning, stop=True)[0]

    def _read(self, z: Tensor, step: Step, conditioning: UNetConditioning, stop: bool) -> tuple[Tensor, Any]:
        size = (z.shape[-2], z.shape[-1])
        if stop and conditioning.weights.shape[1] == 0:  # no region in any picture: nothing to run for
            return z.new_zeros(z.shape[0], 0, *self.reader.size(*size)), None
        precision = torch.promote_types(z.dtype, torch.float32)
        run = partial(self.denoise, z, step, conditioning, "conditional")
        if not stop:  # the whole network runs, and leaves its deep features for the steps that read nothing
            run = partial(self._denoised, z, step, conditioning, "conditional", whole=True)
        reader = PlaceReader(self.reader.whole, self.placed(self.reader.places, z, conditioning))
        return reader.read(run, conditioning.weights.to(self.device), size, stop, precision)

    # -- pictures -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def decode(self, z: Tensor) -> list[Image.Image]:
        """Pictures of latents (B, C, h, w), in tiles if the option `vae_tiling` says so; see `decode_pictures`."""
        if self.vae is None:
            return super().decode(z)
        latent = self.traits.latent
        return decode_pictures(self.vae, z / latent.scaling_factor + latent.shift_factor, self.options.vae_tiling)

    @torch.no_grad()
    def encode_pictures(self, pixels: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Latents of pictures; see `realcompo.toolkit.vae.encode_pictures`."""
        if self.vae is None:
            return super().encode_pictures(pixels, generators)
        latent = self.traits.latent
        found = encode_pictures(self.vae, pixels, generators, self.options.vae_tiling)
        return (found - latent.shift_factor) * latent.scaling_factor

    # -- where it is ----------------------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, Any]:
        """Part → network; subclasses add theirs, so that `to` and `fingerprint` know them."""
        networks = {self.part: self.network, **self._text_networks()}
        return networks if self.vae is None else {**networks, "vae": self.vae}

    def _text_networks(self) -> dict[str, Any]:
        return dict(zip(self.encoders, self.text.encoders, strict=True))

    def switch(self, options: Options) -> bool:
        """Other adapters, where there are some already: without any, its networks may be shared with branches that want none."""
        if type(options) is not type(self.options):
            return False
        told, own = options.model_dump(), self.options.model_dump()
        if any(told[name] != own[name] for name in told.keys() - ADAPTERS):
            return False
        if any(told[name] != own[name] for name in ADAPTERS):
            if self._loras is None:
                return False
            self._loras.put(check_loras(self._own(self.spec, options)))
            self.options = options
        return True

    def staying(self) -> Sequence[str]:
        """Parts that `to` leaves on their device. None here."""
        return ()

    def to(self, device: Any = None, dtype: Any = None) -> DenoiserBranch:
        """Move the networks, for every branch that shares them. A pipeline's stay where their owner put them."""
        if self.checkpoint.pipeline is not None:
            return self
        wanted = None if dtype is None else torch_dtype(dtype)
        for part, network in self.networks().items():
            own = decoding_dtype(network.config, wanted) if part == "vae" and wanted is not None else wanted
            if device is not None and part not in self.staying():
                network.to(device)
            if own is not None and own != network.dtype and not getattr(network, "is_quantized", False):
                network.to(own)
        return self

    def tune(self, runtime: Runtime) -> None:
        """Of UNet and ControlNets: text encoders and VAE run once."""
        if self.checkpoint.pipeline is not None:
            if not runtime.plain:
                raise BadOption(
                    f"the networks of {self.checkpoint.where} are its owner's",
                    where="runtime",
                    mend="compile or convert them yourself, such as pipe.unet.compile(), and leave runtime out",
                )
            return
        once = {id(network) for network in (*self.text.encoders, self.vae)}
        for network in self.networks().values():
            if id(network) not in once:
                run_as(network, runtime)

    @property
    def device(self) -> torch.device:
        if self.checkpoint.pipeline is not None:  # with accelerate's offload, networks come to the pipeline's device to run
            found: torch.device = getattr(self.checkpoint.pipeline, "_execution_device", self.network.device)
            return found
        return self.network.device  # type: ignore[no-any-return]

    @property
    def dtype(self) -> torch.dtype:
        return self.network.dtype  # type: ignore[no-any-return]

    def fingerprint(self) -> dict[str, str]:
        return {**self.loader.fingerprint(self.networks()), **lora_print(self.options)}


class UNetBranch(DenoiserBranch):
    """A UNet2DConditionModel with CLIP text encoders.

    Attributes:
        unet: the network.
        seen: what the image encoder of its IP-Adapter says of the adapter's pictures, where it has one.
    """

    options_class: ClassVar[type[CheckpointOptions]] = UNetOptions
    options: UNetOptions
    unet: Any
    seen: tuple[Tensor, Tensor]

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
            text = source.text if isinstance(source, DenoiserBranch) else cls._words(spec, options, source)
            for prompt in prompts:
                check_marks(told, prompt) if text is None else text.chunk_count(prompt)

    def text_loader(self) -> Loader:
        """With textual inversions the text encoders are this branch's alone: their vectors are put into them."""
        given = self.loader
        if not self.options.embeddings or not given.share:
            return given
        return Loader(given.checkpoint, given.options, device=given.device, dtype=given.dtype, share=False, classes=self.classes)

    def fingerprint(self) -> dict[str, str]:
        files, images = inversion_files(self.options), self.options.ip_adapter
        words = {"embeddings": file_digest(files)} if files else {}
        return {**super().fingerprint(), **words, **({} if images is None else ip_print(images, self.options))}

    def all_places(self) -> list[MapPlace]:
        return cross_attention_places(bare(self.unet))

    def blend_scale(self, request: Request) -> float:
        """One pass where the UNet is told its guidance scale as a number."""
        return 1.0 if self.traits.guidance == "embedded" else super().blend_scale(request)

    def also_told(self, sample: Tensor, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        scale, width = conditioning.told_guidance, told_guidance(bare(self.unet).config)  # type: ignore[arg-type]
        more: dict[str, Any] = {} if scale is None or width is None else {"timestep_cond": guidance_embedding(scale, width, sample)}
        images = conditioning.images
        if images is not None:
            more["added_cond_kwargs"] = {"image_embeds": [conditioning.rows(half, images.shown, images.hidden).to(sample)]}
            if images.masks is not None:
                more["cross_attention_kwargs"] = {"ip_adapter_masks": [conditioning.rows(half, images.masks).to(sample)]}
        return more

    def _alters(self) -> bool:
        return self.options.ip_adapter is not None

    def alter(self, source: Any) -> None:
        told = self.options.ip_adapter
        if told is not None:
            found = find_ip_adapter(told, source)
            put_ip_adapter(found, self.unet, told.scale)
            self.seen = look(found, told, self.options, self.loader.device, self.loader.dtype)

    def show(self, request: Request) -> ImagePrompt | None:
        told = self.options.ip_adapter
        return None if told is None else image_prompt(told, (self.seen[0].to(self.device), self.seen[1].to(self.device)), request)

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
