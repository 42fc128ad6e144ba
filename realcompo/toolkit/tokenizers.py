"""A tokenizer's folder: read by a class of transformers, never by code that the folder names, and checked for what would be missing.

A folder may say that its tokenizer is a class of its own (``auto_map``), which other loaders run, or ask on the terminal whether they may.
Nothing of that is done here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import BadCheckpoint
from .configs import read_json
from .file_kinds import brief, not_weights

CLIP, T5, QWEN2 = (tuple(f"{name}Tokenizer{end}" for end in ("", "Fast")) for name in ("CLIP", "T5", "Qwen2"))
_ANY = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of no family: all that they are stands in tokenizer.json."""
_MEND = "fetch or copy it again"


def read_tokenizer(folder: Path, allowed: tuple[str, ...] = CLIP) -> Any:
    """The tokenizer of a folder with ``tokenizer.json``, with ``vocab.json`` and ``merges.txt``, or (T5's) with ``spiece.model``.

    Args:
        allowed: classes that it may be of; the first is the one that a folder without a config is of.

    Raises:
        BadCheckpoint: a file is missing or damaged, or it is of another class.
    """
    if not folder.is_dir():
        raise BadCheckpoint(f"it has no {folder.name}", where=str(folder.parent), mend="fetch or copy the checkpoint again")
    config = read_json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    name = _class_of(config, folder, allowed)
    _check_files(folder, name)
    import transformers

    cls: Any = getattr(transformers, "PreTrainedTokenizerFast" if name in _ANY else allowed[0])
    try:
        return cls.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # damaged JSON, tokens of other kinds: transformers raises many kinds
        raise BadCheckpoint(f"its tokenizer cannot be read: {brief(error)}", where=str(folder), mend=_MEND) from error


def _class_of(config: dict[str, Any], folder: Path, allowed: tuple[str, ...]) -> str:
    name, own = config.get("tokenizer_class") or allowed[0], config.get("auto_map")
    if name in (*allowed, *_ANY):  # a known one: what else the folder offers to run is not needed
        return str(name)
    if own:
        raise BadCheckpoint(
            f"its tokenizer is a class of its own ({brief(name, 60)}), which would have to be run",
            where=str(folder),
            mend=f"choose a checkpoint whose tokenizer is a {allowed[0]}; code of a checkpoint is never run here",
        )
    raise BadCheckpoint(
        f"its tokenizer is a {brief(name, 60)}, not a {allowed[0]}",
        where=str(folder),
        mend="take tokenizer and text_encoder from one checkpoint"
        + (" of Stable Diffusion" if allowed is CLIP else " of this architecture"),
    )


def _check_files(folder: Path, name: str) -> None:
    """Refuse what could be read, but as another tokenizer: one without merges gives letters for words."""
    if (folder / "tokenizer.json").is_file():
        table = read_json(folder / "tokenizer.json")
        model = table.get("model")
        if not isinstance(model, dict) or not model.get("vocab"):
            raise BadCheckpoint("its tokenizer cannot be read: tokenizer.json has no vocabulary", where=str(folder), mend=_MEND)
        return
    if name in _ANY:
        raise BadCheckpoint("tokenizer.json is missing", where=str(folder), mend=_MEND)
    if name in T5:
        _check_sentencepiece(folder)
        return
    vocabulary = read_json(folder / "vocab.json")
    merges = folder / "merges.txt"
    if not merges.is_file():
        raise BadCheckpoint("merges.txt is missing, and there is no tokenizer.json", where=str(folder), mend=_MEND)
    try:
        lines = merges.read_text(encoding="utf-8").splitlines()
    except (ValueError, OSError) as error:
        raise not_weights(merges, "merges", error) from None
    made = {"".join(line.split(" ")) for line in lines if line.count(" ") == 1}
    whole = [token for token in vocabulary if len(token.removesuffix("</w>")) > 1 and not (token.startswith("<") and token.endswith(">"))]
    lost = [token for token in whole if token not in made]
    if len(lost) * 20 > len(whole):  # a few may be words that somebody added
        raise BadCheckpoint(
            f"its tokenizer cannot be read: merges.txt makes only {len(whole) - len(lost)} of the {len(whole)} tokens of vocab.json",
            where=str(folder),
            mend=f"the two are of two tokenizers, or one is cut short: {_MEND}",
        )


def _check_sentencepiece(folder: Path) -> None:
    """T5's own file is read by two packages that are not ours: said here, not from deep inside of transformers."""
    from importlib.util import find_spec

    if not (folder / "spiece.model").is_file():
        raise BadCheckpoint("spiece.model is missing, and there is no tokenizer.json", where=str(folder), mend=_MEND)
    if find_spec("sentencepiece") is None:
        raise BadCheckpoint(
            "its tokenizer is a spiece.model, which needs the package sentencepiece",
            where=str(folder),
            mend="pip install sentencepiece protobuf (the extra realcompo[t5]), or put a tokenizer.json beside it",
        )


def check_vocabulary(tokenizer: Any, config: dict[str, Any], part: str, where: str) -> None:
    """Refuse a tokenizer with more tokens than its text encoder has rows.

    Args:
        config: of the text encoder, the part of that name.

    Raises:
        BadCheckpoint.
    """
    rows, tokens = config.get("vocab_size"), getattr(tokenizer, "vocab_size", None)
    if isinstance(rows, int) and isinstance(tokens, int) and tokens > rows:
        raise BadCheckpoint(
            f"its tokenizer has {tokens} tokens, its {part} {rows}",
            where=where,
            mend=f"take tokenizer and {part} from one checkpoint",
        )


def refuse_code(folder: Path, parts: tuple[str, ...]) -> None:
    """Refuse a folder whose parts are of classes that come with it, or that other packages would have to run.

    Raises:
        BadCheckpoint: names the part.
    """
    index = folder / "model_index.json"
    table = read_json(index) if index.is_file() else {}
    for part in parts:
        entry = table.get(part)
        if isinstance(entry, list) and len(entry) == 2 and entry[0] not in (None, "diffusers", "transformers"):
            raise BadCheckpoint(
                f"its {part} is a class of its own ({brief('.'.join(map(str, entry)), 80)}), which would have to be run",
                where=str(folder),
                mend="choose a checkpoint of the plain classes; code of a checkpoint is never run here",
            )
        refuse_extras(folder / part)


def refuse_extras(folder: Path) -> None:
    """Refuse what a part's folder asks other packages to do while it is read: quantised weights, kernels of a hub, adapters.

    Raises:
        BadCheckpoint.
    """
    config = folder / "config.json"
    table = read_json(config) if config.is_file() else {}
    kernels = json.dumps([table.get(key) for key in ("attn_implementation", "_attn_implementation")])
    if "/" in kernels:
        raise BadCheckpoint(
            f"its config asks for kernels of a hub ({kernels}), which would have to be run",
            where=str(folder),
            mend="remove attn_implementation from its config.json; code of a checkpoint is never run here",
        )
    if table.get("quantization_config"):
        raise BadCheckpoint(
            "its weights are quantised (quantization_config)", where=str(folder), mend="choose the checkpoint in float16 or float32"
        )
    if (folder / "adapter_config.json").is_file():
        raise BadCheckpoint(
            "an adapter lies among its weights (adapter_config.json)",
            where=str(folder),
            mend="move adapter_config.json and adapter_model.safetensors elsewhere, and give them as the option lora",
        )
