"""Options that every branch with a checkpoint has, and those of UNets and of transformers. Pydantic only: no torch here."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from ..specs import BranchSpec, Options
from .ip_options import IpAdapterOptions
from .word_options import WordOptions

Place = Literal["down", "mid", "up"]
Share = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


O = TypeVar("O", bound=Options)


def settled(kind: type[O], spec: BranchSpec, options: Options | None) -> O:
    """Options of a class, whatever the caller gave: what the spec sets, then what was given."""
    if isinstance(options, kind):
        return options
    return kind(**{**spec.defaults, **(options.model_dump() if options is not None else {})})


class CheckpointOptions(Options):
    """How the checkpoint is found and loaded. Subclass it for more."""

    revision: str | None = Field(None, description="Branch, tag or commit of the hub repository, in place of the plugin's own.")
    variant: str | None = Field(
        None, description="Variant of the weight files, such as 'fp16'. Left out: the plain files, or the one variant there is."
    )
    download: bool = Field(
        False,
        description="Fetch the checkpoint from the hub where the local cache lacks it. Without it (and without "
        "REALCOMPO_DOWNLOAD=1 in the environment) nothing touches the network.",
    )
    allow_pickle: bool = Field(
        False,
        description="Load pickled weights (.bin) where there are no safetensors. A pickle can run any code: only from people you trust.",
    )
    latent_space: str | None = Field(
        None,
        description="Name of the latent space ('sd', 'sdxl', …), for a checkpoint whose files do not tell: you vouch that it is that one.",
    )
    config: str | None = Field(
        None,
        description="Folder of configs in diffusers' layout (unet/config.json, tokenizer/ …) for a single file whose architecture is none "
        "of the published ones, whose configs ship with us.",
    )
    prediction_type: Literal["epsilon", "v_prediction"] | None = Field(
        None,
        description="What the network predicts, 'epsilon' or 'v_prediction', where its files do not tell, or tell wrong: single files of "
        "SD 2.x need it.",
    )
    lora: str | tuple[str, ...] | None = Field(
        None,
        description="A LoRA (.safetensors file) to put into the weights of UNet and text encoders, in the layout of any trainer; also a "
        "LoCon, LoHa, LoKr or DoRA. Or a list of them, whose changes are added.",
    )
    lora_scale: Finite | tuple[Finite, ...] = Field(
        1.0, description="How much of the LoRA's change: 0 is none. One number for all, or a list of one for each LoRA."
    )
    distilled: bool | None = Field(
        None,
        description="Whether it draws in 4 to 8 steps, by itself or with its LoRA (latent consistency, TCD, Lightning, Hyper …). Left out: "
        "as the configs of the checkpoint and the LoRA's metadata tell, which many LoRAs lack.",
    )
    vae: str | None = Field(
        None,
        description="A VAE to decode with in place of the checkpoint's, of the same latent space: a folder, a single file in diffusers' or "
        "the original layout, or a hub id.",
    )
    vae_tiling: bool = Field(
        False,
        description="Decode pictures that are larger than the VAE was trained for in tiles of that size: less memory, with faint seams "
        "at worst.",
    )

    @model_validator(mode="after")
    def _scales(self) -> CheckpointOptions:
        files = len(self._files)
        if any(not file.strip() for file in self._files):
            raise ValueError("lora names no file: its name is empty")
        if isinstance(self.lora_scale, tuple) and len(self.lora_scale) != files:
            raise ValueError(f"lora_scale has {len(self.lora_scale)} numbers for {files} LoRAs: give one for each, or one for all")
        return self

    @property
    def _files(self) -> tuple[str, ...]:
        return (self.lora,) if isinstance(self.lora, str) else self.lora or ()

    @property
    def loras(self) -> tuple[tuple[str, float], ...]:
        """(file, scale) of each LoRA."""
        scales = self.lora_scale if isinstance(self.lora_scale, tuple) else (self.lora_scale,) * len(self._files)
        return tuple(zip(self._files, scales, strict=True))

    @property
    def lora_regions(self) -> tuple[str, ...]:
        """The region in which each LoRA acts, "" for the whole picture, which all do here."""
        return ("",) * len(self._files)


class UNetOptions(WordOptions, CheckpointOptions):
    """Where maps are read, how a prompt becomes embeddings, and how the checkpoint is found and loaded. Subclass it for more."""

    places: tuple[Place, ...] = Field(
        ("down", "up"),
        min_length=1,
        description="Parts of the network whose cross-attention is read: down, mid, up.",
    )
    ema: bool = Field(
        False,
        description="Take the averaged weights (EMA) of a single file that holds them beside the plain ones. A file that holds no others "
        "is read so in any case.",
    )
    rest: str | None = Field(
        None,
        description="A whole checkpoint of the same kind (hub id, folder or single file) that gives what a single file lacks: text "
        "encoders and tokenizers, or the VAE. A UNet alone, in the original or diffusers' layout, is then a source too.",
    )
    map_divisor: int = Field(
        4,
        ge=1,
        description="Maps are read where the network works at the latent's height and width divided by this: "
        "4 reads 16×16 maps of a 512×512 picture.",
    )
    ip_adapter: IpAdapterOptions | None = Field(
        None,
        description="An IP-Adapter that shows the network a picture, or one for each region, beside the words: {source, image, scale, "
        "regions, image_encoder}.",
    )
    deep_every: int = Field(
        1,
        ge=1,
        description="Run the whole network at every n-th step, and at the others only its first down and last up block, against what the "
        "deep ones gave then. 1 = at every step. A step that reads maps always runs the whole.",
    )
    lora_region: str | tuple[str, ...] = Field(
        "",
        description="Phrase or id of the region in whose mask alone the LoRA acts, '' for the whole picture. One for all, or a list of one "
        "for each LoRA. A LoRA of a region may change the UNet's attention and convolutions only, not the text encoders.",
    )

    @model_validator(mode="after")
    def _places_of_loras(self) -> UNetOptions:
        files = len(self._files)
        if self.lora_region and not files:
            raise ValueError("lora_region names a region, and there is no LoRA: set lora")
        if isinstance(self.lora_region, tuple) and len(self.lora_region) != files:
            raise ValueError(f"lora_region has {len(self.lora_region)} regions for {files} LoRAs: give one for each, or one for all")
        return self

    @property
    def lora_regions(self) -> tuple[str, ...]:
        return self.lora_region if isinstance(self.lora_region, tuple) else (self.lora_region,) * len(self._files)


class TransformerOptions(CheckpointOptions):
    """Which blocks' attention is read, and how the checkpoint is found and loaded. Subclass it for more."""

    map_depth: tuple[Share, Share] = Field(
        (0.25, 0.6),
        description="Maps are read in the blocks between these shares of the network's depth, and nothing after the last of them runs for "
        "them. The first blocks sort tokens more by their place than by what they say, and the last redraw detail.",
    )
    map_blocks: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, min_length=1, description="Numbers of the blocks whose attention is read, the first is 0, in place of map_depth."
    )
    network: str | None = Field(
        None,
        description="A file of the transformer alone, in place of the checkpoint's: safetensors in diffusers' or the original layout (fp8 "
        "is widened to the branch's dtype), or GGUF, which stays quantised. All else is the checkpoint's.",
    )
    offload_text: bool = Field(
        False,
        description="Keep the text encoders in the CPU's memory and bring them to the device only while they encode: they are often larger "
        "than the network.",
    )

    @model_validator(mode="after")
    def _order(self) -> TransformerOptions:
        if self.map_depth[0] > self.map_depth[1]:
            raise ValueError(f"map_depth {self.map_depth} ends before it begins")
        return self
