"""A branch made of a checkpoint in parts, as far as it is known before its weights are loaded: the options, the files, the traits, the
tokenizers. What runs is in denoiser.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from ..errors import BadCheckpoint
from ..interfaces import Branch, Region
from ..specs import BranchSpec, Options, Traits
from .distilled import is_distilled
from .loading import Loader, hollow_network
from .loras import check_loras, fit_loras
from .options import CheckpointOptions, settled
from .own_vae import find_vae
from .sources import Checkpoint, holds_weights, is_pipeline, locate_part, open_checkpoint, weight_files
from .text import TextEncoding, join_texts
from .tokenizers import check_vocabulary, refuse_code
from .vae_option import check_own_vae, with_own_vae


class CheckpointBranch(Branch):
    """What the files of a checkpoint tell of a branch; mostly class methods, as there is no branch yet.

    Attributes:
        part: of the checkpoint that is the network.
        encoders: part of each text encoder → part of its tokenizer; several read one prompt side by side.
        text_layer: index of the hidden states that the network was trained on; None = the last, after the norm.
        encodings: part of a text encoder → what reads with it, where it is no CLIP.
        classes: part → library and class names, where they are others than `loading.CLASSES` allows.
        text: the tokenizers with their text encoders, once it is built.
    """

    options_class: ClassVar[type[CheckpointOptions]] = CheckpointOptions
    part: ClassVar[str] = "unet"
    encoders: ClassVar[Mapping[str, str]] = {"text_encoder": "tokenizer"}
    text_layer: ClassVar[int | None] = None
    encodings: ClassVar[Mapping[str, type[TextEncoding]]] = {}
    classes: ClassVar[Mapping[str, tuple[str, tuple[str, ...]]]] = {}
    options: Any
    text: TextEncoding

    @classmethod
    def _own(cls, spec: BranchSpec, options: Options | None) -> Any:
        """Its options, whatever the caller gave."""
        if isinstance(options, cls.options_class):
            return options
        kind = spec.options if spec.options is not None and issubclass(spec.options, cls.options_class) else cls.options_class
        return settled(kind, spec, options)

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
        text = source.text if isinstance(source, CheckpointBranch) else cls._words(spec, options, source)
        return None if text is None else tuple(text.unread(prompt) for prompt in prompts)

    @classmethod
    def _words(cls, spec: BranchSpec, options: Options, source: Any) -> TextEncoding | None:
        """Its tokenizers, without text encoders; None where they are not on this machine."""
        try:
            told = cls._own(spec, options)
            return cls.read_text(cls._open(spec, told, source, weights=False), told)
        except BadCheckpoint:
            return None
