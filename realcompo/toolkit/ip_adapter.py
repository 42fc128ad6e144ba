"""IP-Adapters: pictures beside the words (Ye et al. 2023, arXiv 2308.06721).

Each cross-attention answers y = Attention(q, text) + scale · Σᵢ mᵢ Attention(q, pictureᵢ), by diffusers' own processors, whose keys and
values of pictures are the adapter's; mᵢ is a region's mask at the layer's resolution. Maps are read from the words alone, by hooks that
leave processors be (maps.py). What the encoder says of the pictures is computed once, when the branch is built; then the encoder is let go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadCheckpoint, BadOption
from ..interfaces import Regions, Request
from .file_kinds import unfinished
from .ip_options import IpAdapterOptions
from .kinds import identify
from .loading import Loader, file_digest
from .named_regions import check_named, named_masks
from .options import UNetOptions
from .sources import Checkpoint, is_pipeline, named_path, weight_files
from .tensor_files import PICKLES, TensorFile, open_tensors

_MEND = "choose an IP-Adapter that was trained on the same kind of model"
_ENCODER = {"image_encoder": ("transformers", ("CLIPVisionModelWithProjection",))}
_WIDTHS = {768: "SD 1.x", 1024: "SD 2.x", 2048: "SDXL"}


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """What a run is told of its pictures.

    Attributes:
        shown, hidden: (B, n, …) of n pictures for the conditional and the unconditional half.
        masks: (B, n, H, W) in [0, 1], where there are pictures of regions.
    """

    shown: Tensor
    hidden: Tensor
    masks: Tensor | None

    def told(self, rows: Callable[..., Tensor], like: Tensor) -> dict[str, dict[str, Any]]:
        """Arguments of the network.

        Args:
            rows: B conditional rows and, where they differ, B unconditional ones → the rows of a half.
            like: of whose dtype and device they are to be.
        """
        told: dict[str, dict[str, Any]] = {"added_cond_kwargs": {"image_embeds": [rows(self.shown, self.hidden).to(like)]}}
        return told if self.masks is None else {**told, "cross_attention_kwargs": {"ip_adapter_masks": [rows(self.masks).to(like)]}}


def check_shown_regions(names: Iterable[str], found: Regions) -> None:
    """Refuse pictures of regions that are none; see `check_named`."""
    check_named(names, found, "the IP-Adapter has a picture", "ip_adapter, regions")


@dataclass(frozen=True, eq=False)
class SeenPictures:
    """What the encoder says of an adapter's pictures, once.

    Attributes:
        regions: names of the regions whose own pictures they are, in order; before them, where `whole`, that of the picture at large.
        shown, hidden: (n, …) of each picture, and of none.
    """

    regions: tuple[str, ...]
    whole: bool
    shown: Tensor
    hidden: Tensor

    def prompt(self, request: Request, device: Any) -> ImagePrompt:
        """For the B pictures of a run; where a picture has no region of a name, that name's picture is not seen."""
        count = len(request.prompts)
        shown, hidden = (one.to(device).expand(count, *one.shape) for one in (self.shown, self.hidden))
        if not self.regions:
            return ImagePrompt(shown, hidden, None)
        masks = named_masks(self.regions, request)
        if self.whole:
            masks.insert(0, 1 - torch.stack(masks).amax(dim=0))
        return ImagePrompt(shown, hidden, torch.stack(masks, dim=1).to(device))


@dataclass(frozen=True, eq=False)
class AdapterFile:
    """An IP-Adapter's file and its encoder's folder.

    Attributes:
        kind: "plain" (one vector a picture), "plus" or "full face" (the tokens of its last layer but one).
    """

    file: TensorFile
    encoder: Path
    kind: str

    @property
    def width(self) -> int:
        """Of what the encoder gives for a picture."""
        name = {"plain": "proj.weight", "plus": "proj_in.weight", "full face": "proj.0.weight"}[self.kind]
        return int(self.file.shapes[f"image_proj.{name}"][1])

    @property
    def tokens(self) -> int:
        """A picture is so many tokens to the network."""
        return {"plain": 4, "full face": 257}.get(self.kind) or int(self.file.shapes["image_proj.latents"][1])


def find_ip_adapter(told: IpAdapterOptions, source: Any = None) -> AdapterFile:
    """The files, from headers and configs.

    Args:
        source: of the branch.

    Raises:
        BadCheckpoint: not there, of another kind, for another encoder, or to be put on a pipeline that the user holds. BadOption: it is
            shown no picture. BadPicture: a recipe knows a picture by its digest alone.
    """
    where = told.source
    if is_pipeline(source):
        raise BadCheckpoint(
            "the option ip_adapter would change a pipeline that you hold", where=where, mend="give the branch a folder, file or hub id"
        )
    if told.image is None and not told.regions:
        raise BadOption("the IP-Adapter is shown no picture", where="option ip_adapter", mend="give it an image, or regions")
    for name, picture in (("image", told.image), *told.regions.items()):
        if picture is not None:
            picture.image(f"option ip_adapter, {name}")
    path = named_path(where)
    if not path.is_file():
        raise BadCheckpoint(
            f"there is no such IP-Adapter{unfinished(path.parent, path.stem)}", where=where, mend="check source in the option ip_adapter"
        )
    if path.suffix.lower() in PICKLES:
        said = "an IP-Adapter must be a .safetensors file: other kinds can run code when they are read"
        raise BadCheckpoint(said, where=where, mend=_MEND)
    file = open_tensors(path)
    found = AdapterFile(file, _encoder_folder(told, path), _kind(file))
    config = Checkpoint(str(found.encoder), folder=found.encoder.parent).config(found.encoder.name)
    gives = config.get("projection_dim") if found.kind == "plain" else config.get("hidden_size")
    if gives != found.width:
        raise BadCheckpoint(
            f"its pictures are {found.width} wide, and those of its image encoder {found.encoder} {gives}",
            where=where,
            mend="give image_encoder the encoder that it was trained with: ViT-H for SD 1.x and the vit-h adapters of SDXL, else ViT-bigG",
        )
    return found


def _encoder_folder(told: IpAdapterOptions, path: Path) -> Path:
    folder = path.parent / "image_encoder" if told.image_encoder is None else named_path(told.image_encoder)
    if not (folder / "config.json").is_file():
        raise BadCheckpoint(
            "it lacks its image encoder", where=str(folder), mend="set image_encoder in the option ip_adapter to a folder with config.json"
        )
    return folder.resolve()


def _kind(file: TensorFile) -> str:
    names = file.shapes
    if not {"image_proj", "ip_adapter"} <= {name.split(".")[0] for name in names}:
        what = identify(names).what if names else "a file without tensors"
        raise BadCheckpoint(
            f"it is {what}, not an IP-Adapter", where=file.where, mend="choose a file with tensors image_proj.… and ip_adapter.…"
        )
    face = any("perceiver_resampler" in name or "_lora." in name for name in names) or (
        "image_proj.proj.0.weight" in names and "image_proj.proj.3.weight" not in names
    )
    odd = [name for name in names if not re.match(r"image_proj\.|ip_adapter\.\d+\.to_[kv]_ip\.weight$", name)]
    for kind, name in (("plain", "proj.weight"), ("full face", "proj.3.weight"), ("plus", "latents")):
        if f"image_proj.{name}" in names and not odd and not face:
            return kind
    what = "it sees embeddings of faces (FaceID), which no picture encoder gives" if face else f"its {min(odd or names)!r} has no place"
    raise BadCheckpoint(f"it is an IP-Adapter of a kind that is not applied here: {what}", where=file.where, mend=_MEND)


def _places(unet: Any) -> list[str]:
    """Names of the processors that read text, in the order in which adapters number them: 1, 3, 5 …"""
    return [name for name in unet.attn_processors if name.endswith("attn2.processor")]


def fit_ip_adapter(found: AdapterFile, unet: Any) -> None:
    """Compare with a UNet that needs no numbers.

    Raises:
        BadCheckpoint: for another network; says for which.
    """
    have = {name: shape for name, shape in found.file.shapes.items() if name.startswith("ip_adapter.")}
    want = {}
    for index, name in enumerate(_places(unet)):
        attention = unet.get_submodule(name.removesuffix(".processor"))
        for letter in "kv":
            want[f"ip_adapter.{2 * index + 1}.to_{letter}_ip.weight"] = tuple(getattr(attention, f"to_{letter}").weight.shape)
    if have == want:
        return
    width = next(iter(have.values()))[-1]
    mine = unet.config.cross_attention_dim
    whose = f"for {_WIDTHS.get(width, 'another model')}: its text is {width} wide, this checkpoint's {mine}" if width != mine else ""
    raise BadCheckpoint(
        f"the IP-Adapter cannot be put on this checkpoint: {whose or f'it has {len(have) // 2} attentions, the network {len(want) // 2}'}",
        where=found.file.where,
        mend=_MEND,
    )


def put_ip_adapter(found: AdapterFile, unet: Any, scale: float) -> None:
    """The adapter's processors and projection in a UNet that is one branch's alone; its other processors stay."""
    from diffusers.models import attention_processor
    from diffusers.models.embeddings import MultiIPAdapterImageProjection

    cls: Any = attention_processor.IPAdapterAttnProcessor2_0

    fit_ip_adapter(found, unet)
    tensors = found.file.read(found.file.shapes)
    processors: dict[str, Any] = dict(unet.attn_processors)
    for index, name in enumerate(_places(unet)):
        pairs = {f"to_{letter}_ip.0.weight": tensors[f"ip_adapter.{2 * index + 1}.to_{letter}_ip.weight"] for letter in "kv"}
        hidden, width = pairs["to_k_ip.0.weight"].shape
        made = cls(hidden, width, num_tokens=[found.tokens], scale=scale)
        made.load_state_dict(pairs)
        processors[name] = made
    unet.set_attn_processor(processors)
    inside = {name.removeprefix("image_proj."): tensor for name, tensor in tensors.items() if name.startswith("image_proj.")}
    projection = unet._convert_ip_adapter_image_proj_to_diffusers(inside, low_cpu_mem_usage=False)
    unet.encoder_hid_proj = MultiIPAdapterImageProjection([projection])
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    unet.to(device=unet.device, dtype=unet.dtype).eval().requires_grad_(False)


@torch.no_grad()
def look(found: AdapterFile, told: IpAdapterOptions, options: UNetOptions, device: Any, dtype: Any) -> SeenPictures:
    """What the encoder says of each picture, and of none; then it is let go."""
    from transformers import CLIPImageProcessor

    holder = Checkpoint(str(found.encoder), folder=found.encoder.parent)
    plain = options.model_copy(update={"variant": None})
    encoder = Loader(holder, plain, device=device, dtype=dtype, classes=_ENCODER).module("image_encoder", found.encoder)
    side = encoder.config.image_size
    pictures = [one.image("option ip_adapter") for one in (told.image, *told.regions.values()) if one is not None]
    pixels = CLIPImageProcessor(size=side, crop_size=side)(pictures, return_tensors="pt").pixel_values
    pixels = pixels.to(encoder.device, encoder.dtype)
    if found.kind == "plain":
        shown = encoder(pixels).image_embeds
        hidden = torch.zeros_like(shown)
    else:
        shown, hidden = (encoder(one, output_hidden_states=True).hidden_states[-2] for one in (pixels, torch.zeros_like(pixels)))
    return SeenPictures(tuple(told.regions), told.image is not None, shown, hidden)


def ip_print(options: UNetOptions) -> dict[str, str]:
    """The entries of a branch's fingerprint, none without an adapter; the pictures' digests stand in its options."""
    if options.ip_adapter is None:
        return {}
    found = find_ip_adapter(options.ip_adapter)
    encoder = weight_files(found.encoder, options.model_copy(update={"variant": None})).files
    return {"ip_adapter": file_digest([found.file.path]), "image_encoder": file_digest(encoder)}


def joined(told: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a network, tables among them put together."""
    found = dict(told)
    for name, value in more.items():
        found[name] = {**(found.get(name) or {}), **value} if isinstance(value, Mapping) else value
    return found
