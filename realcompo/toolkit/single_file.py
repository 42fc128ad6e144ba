"""A checkpoint that is one file in the original layout: its kind, its configs, and where its parts are. No weights are read here.

What tensors cannot tell is taken, in this order, from the options, from marks that trainers leave in a file, from the folder of the
option `config`, and from the published checkpoints' configs, which ship with us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import BadCheckpoint
from .averaged import EMA, choose_weights
from .configs import CLIP_TOKENS, END, FILES, clip_tokenizer, published, read_config, read_json
from .kinds import FAMILIES, Family, Kind, context_width, identify, peeled, vae_prefix
from .options import CheckpointOptions
from .tensor_files import TensorFile, open_tensors, unwrapped

_TOKENIZERS = {"tokenizer": "text_encoder", "tokenizer_2": "text_encoder_2"}
_MARKS = {
    **{"epsilon": "epsilon", "eps": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"},
    **{"stable-diffusion-v2-512": "epsilon", "stable-diffusion-v2-768-v": "v_prediction"},
}
"""What trainers (``modelspec.prediction_type``, ``architecture``) and ComfyUI (``predict_key``) write, by Stability's model metadata."""
_MARKED = ("prediction_type", "predict_key", "architecture")


@dataclass(frozen=True, eq=False)
class SingleFile:
    """An opened file.

    Attributes:
        file: its names and shapes.
        kind: what it is.
        folder: of the option `config`; or the file's own, where the configs of its shape, which is none of the published ones, lie there.
        stated: of the option `prediction_type`.
    """

    file: TensorFile
    kind: Kind
    folder: Path | None = None
    stated: str | None = None

    @property
    def where(self) -> str:
        return self.file.where

    @property
    def averaged(self) -> bool:
        """Whether its UNet is the average over the training (EMA)."""
        return any(name.startswith(EMA) for name in self.file.stored.values())

    def describe(self) -> str:
        """What it is, for messages."""
        return self.kind.what

    def refuse(self) -> None:
        """Raise BadCheckpoint unless it is a whole checkpoint that draws pictures from text, of a shape whose config is known."""
        name = FAMILIES[self._family()]
        if self.fits:
            return
        told, have = self._told(), self._summary()
        mine = f"it is {self.kind.what}, but of another shape than"
        facts = f"its {_words(have)}, theirs {_words(told)}"
        if self.folder is not None:
            raise BadCheckpoint(
                f"{mine} the configs in {self.folder}: {facts}",
                where=self.where,
                mend="give the option config a folder of configs for this very architecture",
            )
        raise BadCheckpoint(
            f"{mine} the published {name}: {facts}",
            where=self.where,
            mend="set the option config to a folder with its configs in diffusers' layout (unet/config.json, text_encoder/config.json, …)",
        )

    @property
    def fits(self) -> bool:
        """Whether it has the shape that its configs tell."""
        return self._told() == self._summary()

    def _told(self) -> dict[str, Any]:
        told = _summary_of_configs(self._raw("unet"), self._raw("text_encoder"))
        return told if "text_encoder" in self.kind.parts else {**told, "text": None}

    def has(self, part: str) -> bool:
        """Whether it holds a part, or one follows from its kind."""
        if self.kind.family is None:
            return False
        return (part == "scheduler" and self.kind.alone is None) or _TOKENIZERS.get(part, part) in self.kind.parts

    def config(self, part: str) -> dict[str, Any]:
        """A part's config.

        Raises:
            BadCheckpoint: it is no checkpoint, of an unknown shape, or nothing tells what it predicts (only for the scheduler).
        """
        self.refuse()
        config = self._raw(part)
        if part == "unet":
            first = self.file.shapes.get("conv_in.weight" if self.kind.modern else self.kind.parts["unet"] + "input_blocks.0.0.weight", ())
            if len(first) == 4:
                config["in_channels"] = first[1]  # 9 of one that inpaints, whose configs are else the published ones
            if self.kind.gated:
                config["attention_type"] = "gated"
            if self.kind.family == "sd2" and self.folder is None and self.predicts == "v_prediction":
                config |= {"sample_size": 96, "upcast_attention": True}  # as published: 768×768 pixels
        elif part == "scheduler":
            prediction = self.predicts
            if prediction is None:
                raise BadCheckpoint(
                    f"it is {self.kind.what}, and nothing in it tells whether it predicts noise or v",
                    where=self.where,
                    mend="set the option prediction_type: 'v_prediction' for the 768×768 models of SD 2.x and their fine-tunes, "
                    "'epsilon' for the 512×512 ones ('base')",
                )
            config |= {"prediction_type": prediction, **self.marks}
        return config

    @property
    def marks(self) -> dict[str, Any]:
        """What the file itself says of the process that it was trained on, as a scheduler's config has it."""
        found: dict[str, Any] = {}
        if (marked := self._marked()) is not None:
            found["prediction_type"] = marked
        return {**found, "rescale_betas_zero_snr": True} if "ztsnr" in self.file.shapes else found

    def setting(self, name: str, default: Any = None) -> Any:
        """What the whole pipeline's own config says."""
        if self.folder is not None:
            index = self.folder / "model_index.json"
            return read_json(index).get(name, default) if index.is_file() else default
        return published(self.kind.family)["model_index"].get(name, default) if self.kind.family is not None else default

    def tokenizer(self, part: str = "tokenizer") -> Any:
        """The tokenizer of the option `config`'s folder, or CLIP's own.

        Raises:
            BadCheckpoint: the text encoder was trained with another vocabulary than CLIP's.
        """
        config = self.config(part)
        size = self.config(_TOKENIZERS[part]).get("vocab_size", CLIP_TOKENS)
        if size != CLIP_TOKENS:
            raise BadCheckpoint(
                f"its {_TOKENIZERS[part]} has {size} tokens, CLIP's tokenizer {CLIP_TOKENS}",
                where=self.where,
                mend=f"set the option config to a folder with a folder {part!r} in it",
            )
        return clip_tokenizer(config.get("pad_token", END))

    def tokenizer_folder(self, part: str = "tokenizer") -> Path | None:
        """Where the option `config` has a tokenizer."""
        return self.folder / part if self.folder is not None and (self.folder / part).is_dir() else None

    def names(self, part: str) -> list[str]:
        """Names of a part's tensors."""
        prefix = self.kind.parts[part]
        others = [other for other in self.kind.parts.values() if len(other) > len(prefix)]
        return [name for name in self.file.shapes if name.startswith(prefix) and not name.startswith(tuple(others))]

    # -- what it cannot tell --------------------------------------------------------------------------------------------------

    def _family(self) -> Family:
        if self.kind.family is None:
            raise BadCheckpoint(
                f"it is {self.kind.what}, not a Stable Diffusion checkpoint",
                where=self.where,
                mend="set the option rest to a whole checkpoint of the same kind, which gives text encoders and VAE"
                if self.kind.alone is not None
                else "give a whole checkpoint of SD 1.x, 2.x or SDXL as the source; adapters have options or branches of their own "
                "(`realcompo list`)",
            )
        return self.kind.family

    def _raw(self, part: str) -> dict[str, Any]:
        if self.folder is not None and (self.folder / part / FILES.get(part, "config.json")).is_file():
            return read_config(self.folder, part)
        configs = published(self._family())
        if part not in configs:
            raise BadCheckpoint(f"it has no {part!r}", where=self.where, mend=f"it is {self.kind.what}; choose one with a {part}")
        return configs[part]

    def _marked(self) -> str | None:
        if self.stated is not None:
            return self.stated
        marks = (_MARKS.get(self.file.metadata.get(f"modelspec.{name}", "").lower()) for name in _MARKED)
        return "v_prediction" if "v_pred" in self.file.shapes else next(filter(None, marks), None)

    @property
    def predicts(self) -> str | None:
        """'epsilon' or 'v_prediction'; None where nothing tells."""
        told: str | None = None
        if self.folder is not None and (self.folder / "scheduler" / FILES["scheduler"]).is_file():
            told = read_config(self.folder, "scheduler").get("prediction_type", "epsilon")
        return self._marked() or told or (None if self.kind.family == "sd2" else "epsilon")

    def _summary(self) -> dict[str, Any]:
        """A few shapes that tell one architecture of a layout from another."""
        shapes, unet = self.file.shapes, self.kind.parts["unet"]
        front = self.kind.parts.get("text_encoder")
        rows = (x for name, x in shapes.items() if front is not None and name.startswith(front) and name.endswith("token_embedding.weight"))
        embedding = next(rows, ())
        pattern = r"(down_blocks\.\d+\.(?:resnets|downsamplers)\.\d+)\." if self.kind.modern else r"(input_blocks\.\d+)\."
        blocks = {match.group(1) for name in shapes if (match := re.match(re.escape(unet) + pattern, name))}
        first = shapes[f"{unet}{'conv_in' if self.kind.modern else 'input_blocks.0.0'}.weight"]
        return {
            "channels": first[0] if first else None,
            "blocks": len(blocks) + self.kind.modern,
            "context": context_width(shapes, unet),
            "text": embedding[1] if len(embedding) == 2 else None,
        }


def _summary_of_configs(unet: dict[str, Any], text: dict[str, Any]) -> dict[str, Any]:
    widths = unet.get("block_out_channels", (320, 640, 1280, 1280))
    return {
        "channels": widths[0],
        "blocks": len(widths) * (unet.get("layers_per_block", 2) + 1),  # the first convolution, and downsampling but for the last level
        "context": unet.get("cross_attention_dim", 1280),
        "text": text.get("hidden_size"),
    }


def _words(summary: dict[str, Any]) -> str:
    return f"UNet starts with {summary['channels']} channels in {summary['blocks']} blocks and reads text {summary['context']} wide" + (
        "" if summary["text"] is None else f", the (first) text encoder is {summary['text']} wide"
    )


def open_single_file(path: Path, options: CheckpointOptions) -> SingleFile:
    """Read what a file is; it may be of any kind, which `SingleFile.refuse` refuses once it is to be a whole checkpoint.

    Raises:
        BadCheckpoint: pickled, damaged, truncated, or no folder is where the option `config` says.
    """
    file = open_tensors(path, options.allow_pickle)
    for _ in range(3):  # wrappers within wrappers
        if not (names := peeled(file.shapes)):
            break
        file = unwrapped(file.renamed(names))
    file = choose_weights(file, bool(getattr(options, "ema", False)))
    folder = None if options.config is None else Path(options.config).expanduser()
    if folder is not None and not folder.is_dir():
        raise BadCheckpoint("there is no such folder of configs", where=options.config, mend="check the path in the option config")
    single = SingleFile(file, identify(file.shapes), folder, options.prediction_type)
    return single if single.kind.family is None else _with_configs(single, path, None)


def completed(single: SingleFile, family: Family, folder: Path | None) -> SingleFile:
    """A UNet that stands alone, as the part of a checkpoint whose other parts come from elsewhere.

    Args:
        family: of that checkpoint.
        folder: with its configs; None where it is a single file too.
    """
    kind = single.kind
    if kind.alone is None:
        return single
    vae = None if kind.modern else vae_prefix(single.file.shapes)
    parts = {"unet": kind.alone, **({} if vae is None else {"vae": vae})}
    return _with_configs(replace(single, kind=replace(kind, family=family, parts=parts)), single.file.path, folder)


def _with_configs(single: SingleFile, path: Path, other: Path | None) -> SingleFile:
    """With the folder whose configs it fits: beside it, or another one, where the published ones are not its."""
    if single.folder is not None or single.fits:
        return single
    for folder in (path.parent, path.parent.parent, other):
        if folder is not None and (folder / "unet" / "config.json").is_file():
            found = replace(single, folder=folder)
            if found.fits:
                return found
    return single
