"""A branch with a denoising network of diffusers': encoding, guidance, maps, decoding. Its two kinds are in unet.py and transformer.py;
what is known of it before its weights are loaded is in checkpoint_branch.py.

A subclass usually overrides `told` (more arguments of the network at a step) and `prepare` (what of the request they are made
of, once a run); one that moves latents overrides `predict`, and calls `attend` in it as often as it likes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import BadOption, Incompatible
from ..interfaces import GuidanceHalf, Prediction, Request, Runtime, Step
from ..noise.devices import torch_dtype
from ..specs import BranchSpec, Options
from .checkpoint_branch import CheckpointBranch
from .conditioning import Half, UNetConditioning
from .guard import bare, eager, exclusive
from .ip_adapter import ImagePrompt, joined
from .loading import Loader
from .loras import OPTIONS as ADAPTERS
from .loras import Loras, check_loras, lora_print
from .maps import MapPlace, PlaceReader
from .region_loras import acting, region_masks
from .runtime import run_as
from .text import Text, TextEncoding
from .vae import decode_pictures, decoding_dtype, encode_pictures
from .vae_option import check_own_vae, with_own_vae


class DenoiserBranch(CheckpointBranch):
    """A network with text encoders and, in the fidelity role, a VAE: what UNets and transformers have in common.

    Attributes:
        part: of the checkpoint that is the network, and the attribute that holds it.
        text, vae: the other networks; `vae` is None in a spatial branch.
    """

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
        own = bool(loras) or self.alters  # its weights are changed: they must be nobody else's
        self.loader = Loader(self.checkpoint, self.options, device=device, dtype=dtype, share=not own, classes=self.classes)
        setattr(self, self.part, self.load_network())
        self.text: TextEncoding = self.read_text(self.checkpoint, self.options, self.text_loader())
        self.vae: Any = self.loader.module("vae") if spec.role != "spatial" else None
        if loras:
            self._loras = Loras({self.part: self.network, **self._text_networks()})
            self._loras.put(loras, self.options.lora_regions)
        self.alter(source)
        self.reader = self._reader()

    @property
    def alters(self) -> bool:
        """Whether `alter` changes the network, beside the LoRAs."""
        return False

    def alter(self, source: Any) -> None:
        """Change the network, which is this branch's alone where `alters` says so, before it is first run. Nothing here."""

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
            regional=region_masks(self.lora_regions, request, self.device),
        )

    @property
    def lora_regions(self) -> tuple[str, ...]:
        """The region of each LoRA in its network, "" of those that act on the whole picture."""
        found: tuple[str, ...] = self.options.lora_regions
        return found

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
        self.traits.check_side(self.spec.id, size)

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
            with self._in_regions(sample, conditioning, half):
                output = self.forward(conditioning.beside(sample, half), step, text, told)
        return output.to(z)

    @contextmanager
    def _in_regions(self, sample: Tensor, conditioning: UNetConditioning, half: Half) -> Iterator[None]:
        """LoRAs of regions act, for the rows of a half. What was compiled does not see where: it runs as it was written."""
        found = conditioning.regional
        if found is None:
            yield
            return
        rows = conditioning.rows(half, found.masks).to(sample.device)
        with acting(found, rows, (sample.shape[-2], sample.shape[-1])), eager(self.network):
            yield

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
        if any(told.get(name) != own.get(name) for name in ADAPTERS):
            if self._loras is None:
                return False
            asked = self._own(self.spec, options)
            self._loras.put(check_loras(asked), asked.lora_regions)
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
            found: torch.device | None = getattr(self.checkpoint.pipeline, "_execution_device", None)
            return self.network.device if found is None else found
        return self._lies()[0]

    @property
    def dtype(self) -> torch.dtype:
        return self._lies()[1]

    def _lies(self) -> tuple[torch.device, torch.dtype]:
        """Device and precision of the network.

        Diffusers' own properties walk all modules of a network for hooks (offload in groups, casting layer by layer), and a step asks a
        dozen times. A network of our own has none, and its first parameter says both. Where somebody else may have put hooks diffusers
        is asked as ever: a pipeline's network; one with a hook on top, as groups have; one that stores less than two bytes a number.
        """
        network = self.network
        hooked = self.checkpoint.pipeline is not None or "_diffusers_hook" in vars(network)
        if not hooked and not getattr(network, "_keep_in_fp32_modules", None):
            first = next(network.parameters(), None)
            if first is not None and first.is_floating_point() and first.element_size() >= 2:
                return first.device, first.dtype
        return network.device, network.dtype

    def fingerprint(self) -> dict[str, str]:
        return {**self.network_prints(), **self.option_prints()}

    def network_prints(self) -> dict[str, str]:
        """The entries of its fingerprint for its networks."""
        return self.loader.fingerprint(self.networks())

    def option_prints(self) -> dict[str, str]:
        """The entries for the files that its options put beside them."""
        return lora_print(self.options)
