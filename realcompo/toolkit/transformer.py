"""A branch that is one of diffusers' transformers: what `UNetBranch` is for UNets.

Latents are cut into patches by the network itself; its text comes from one encoder or several (sequences.py), its maps from the attention
of some of its blocks (joint.py). As it stands the class drives a PixArtTransformer2DModel, or any network that is called as that one;
others override `forward` and `told`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import BadOption
from ..interfaces import Request, Step
from ..specs import BranchSpec, Options, Traits
from .conditioning import Half, UNetConditioning
from .denoiser import DenoiserBranch
from .guard import bare
from .joint import Columns, block_places
from .loading import Classes, Loader, file_digest
from .maps import MapPlace, PlaceReader
from .network_file import find_network, load_network
from .options import CheckpointOptions, TransformerOptions
from .sequences import TextSequence
from .sources import Checkpoint, open_checkpoint
from .transformer_traits import Shape, read_transformer_traits, transformer_config


class TransformerBranch(DenoiserBranch):
    """A transformer with its text encoders and, in the fidelity role, a VAE.

    Attributes:
        classes: the network's class among them, under "transformer".
        blocks: the attribute of the network that lists its blocks.
        transformer: the network.
    """

    options_class: ClassVar[type[CheckpointOptions]] = TransformerOptions
    part: ClassVar[str] = "transformer"
    reader: PlaceReader
    classes: ClassVar[Classes] = {"transformer": ("diffusers", ("PixArtTransformer2DModel",))}
    blocks: ClassVar[str] = "transformer_blocks"
    transformer: Any

    # -- before weights -------------------------------------------------------------------------------------------------------

    @classmethod
    def check(cls, checkpoint: Checkpoint) -> None:
        """Refuse a network of another class, or with settings that its class does not know. Subclasses add to it."""
        transformer_config(checkpoint, cls.classes)

    @classmethod
    def shape(cls, config: Mapping[str, Any]) -> Shape:
        """Of the latents that a network of this config takes, and how many blocks it has."""
        return Shape(config["in_channels"], config["patch_size"], config["num_layers"], config.get("sample_size"))

    @classmethod
    def _read_traits(cls, checkpoint: Checkpoint, spec: BranchSpec, options: Any, own: bool) -> Traits:
        shape = cls.shape(transformer_config(checkpoint, cls.classes))
        chosen_blocks(shape.depth, options)
        return read_transformer_traits(checkpoint, spec, options, own, shape)

    @classmethod
    def check_prompts(cls, spec: BranchSpec, options: Options, prompts: Sequence[str], source: Any = None) -> None:
        """None may be longer than its text encoders read: unlike CLIP's 77 tokens, their length is an option."""
        for prompt, end in zip(prompts, cls.unread(spec, options, prompts, source) or (), strict=False):
            if end:
                raise BadOption(
                    f"the prompt is longer than the tokens that its text encoder reads; {end[:80]!r} lies past the last one",
                    where=f"{spec.id}, prompt {prompt[:40]!r}",
                    mend="shorten it, or set the branch's option text_length as high as its network was trained with",
                )

    @classmethod
    def _open(cls, spec: BranchSpec, options: Any, source: Any, weights: bool) -> Checkpoint:
        """With a network of its own, the checkpoint's need not be fetched."""
        found = super()._open(spec, options, source, weights and options.network is None)
        if weights and options.network is not None:
            parts = [*cls.encoders, *cls.encoders.values(), "vae"]
            source = spec.source if source is None else source
            found = open_checkpoint(source, options, revision=spec.revision, parts=parts)
        return found

    @classmethod
    def _check_weights(cls, checkpoint: Checkpoint, options: Any) -> None:
        if find_network(options, *reversed(cls._class())) is None:
            super()._check_weights(checkpoint, options)

    @classmethod
    def _class(cls) -> tuple[str, str]:
        """Library and class of the network."""
        library, names = cls.classes["transformer"]
        return library, names[0]

    def load_network(self) -> Any:
        library, name = self._class()
        path = find_network(self.options, name, library)
        if path is None:
            return super().load_network()
        return load_network(path, self.checkpoint, library, name, self.loader.dtype).to(self.loader.device)

    # -- maps -----------------------------------------------------------------------------------------------------------------

    def columns(self) -> Columns:
        """The tokens of each text encoder, in the sequence that the network sees."""
        return self.text.columns if isinstance(self.text, TextSequence) else (slice(0, self.text.limit),)

    def all_places(self) -> list[MapPlace]:
        """The attention to text of every block, in the order in which they run."""
        network: Any = bare(self.transformer)
        level = (self.shape(network.config).patch - 1).bit_length()
        return block_places(getattr(network, self.blocks), self.blocks, level, self.columns())

    def _reader(self) -> PlaceReader:
        places = self.all_places()
        return PlaceReader(self.transformer, [places[i] for i in chosen_blocks(len(places), self.options)])

    # -- text -----------------------------------------------------------------------------------------------------------------

    def text_loader(self) -> Loader:
        if not self.options.offload_text:
            return self.loader
        given = self.loader
        return Loader(given.checkpoint, given.options, device="cpu", dtype=given.dtype, share=given.share, classes=self.classes)

    def encode(self, request: Request) -> UNetConditioning:
        self.check_prompts(self.spec, self.options, (*request.prompts, *request.negative_prompts), self)
        with self._text_here():
            return super().encode(request)

    @contextmanager
    def _text_here(self) -> Iterator[None]:
        """With `offload_text`, the text encoders are on the network's device for as long as they encode."""
        if not self.options.offload_text or self.checkpoint.pipeline is not None:
            yield
            return
        try:
            for network in self.text.encoders:
                network.to(self.device)
            yield
        finally:
            for network in self.text.encoders:
                network.to("cpu")

    def _text_networks(self) -> dict[str, Any]:
        """Of the encoders that the checkpoint has: some may be left out of it."""
        return dict(zip((part for part in self.encoders if self.checkpoint.has(part)), self.text.encoders, strict=True))

    def staying(self) -> Sequence[str]:
        """Parts that `to` leaves on their device."""
        return tuple(self.encoders) if self.options.offload_text else ()

    def network_prints(self) -> dict[str, str]:
        path = find_network(self.options, *reversed(self._class()))
        if path is None:
            return super().network_prints()
        parts = [part for part in self.networks() if part != "transformer"]
        return {**self.loader.fingerprint(parts), "transformer": file_digest([path])}

    # -- every step -----------------------------------------------------------------------------------------------------------

    def told(self, sample: Tensor, step: Step, conditioning: UNetConditioning, half: Half) -> Mapping[str, Any]:
        """Which tokens are read, where the encoder's padding is not."""
        mask = conditioning.mask(half)
        return {} if mask is None else {"encoder_attention_mask": mask.to(sample.device)}

    def time(self, sample: Tensor, step: Step) -> Tensor:
        """(rows,) what the network is told of the noise in `sample`."""
        return torch.full((sample.shape[0],), float(step.t), device=sample.device, dtype=torch.float32)

    def forward(self, sample: Tensor, step: Step, text: Tensor, told: Mapping[str, Any]) -> Tensor:
        """The prediction; a learned variance, which no solver here uses, is dropped."""
        time = self.time(sample, step)
        output: Tensor = self.transformer(sample, encoder_hidden_states=text, timestep=time, return_dict=False, **told)[0]
        return output[:, : sample.shape[1]]


def chosen_blocks(depth: int, options: TransformerOptions) -> list[int]:
    """Numbers of the blocks that maps are read in; one at least.

    Raises:
        BadOption: there are not as many blocks.
    """
    if options.map_blocks is not None:
        past = [i for i in options.map_blocks if i >= depth]
        if past:
            raise BadOption(
                f"the network has {depth} blocks, numbers 0 to {depth - 1}; {past[0]} is none of them",
                where="option map_blocks",
                mend="leave it out, or name blocks that are there",
            )
        return sorted(set(options.map_blocks))
    start, end = options.map_depth
    inside = [i for i in range(depth) if start <= (i + 0.5) / depth <= end]
    return inside or [min(depth - 1, int(depth * (start + end) / 2))]
