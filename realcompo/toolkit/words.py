"""What the options of word_options.py need of a checkpoint: looked at before weights are loaded, and put into its text encoders."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Protocol

from ..errors import BadCheckpoint, BadOption
from ..weighing import read_weights
from .inversions import Inversion, check_token, find_inversions, teach, text_widths
from .loading import Loader, file_digest
from .sources import Checkpoint, named_path
from .text import TextEncoding, join_texts
from .word_options import WordOptions
from .wording import WordedEncoding


class Kind(Protocol):
    """What is asked of a class of branches."""

    encoders: Mapping[str, str]
    text_layer: int | None

    @classmethod
    def words(cls, checkpoint: Checkpoint, part: str) -> Any: ...


def says_words(options: Any) -> bool:
    """Whether any of them is set."""
    return _worded(options) or bool(options.embeddings)


def _worded(options: WordOptions) -> bool:
    return options.prompt_weights is not None or options.long_prompts == "chunks" or bool(options.clip_skip)


def read_words(cls: Kind, checkpoint: Checkpoint, options: Any, loader: Loader | None) -> TextEncoding:
    """The tokenizers of a class of branches, with their text encoders where there is a loader, as the options want them."""
    found = _inversions(cls, checkpoint, options)
    made: list[TextEncoding] = []
    for part in cls.encoders:
        network = None if loader is None else loader.module(part)
        tokenizer = cls.words(checkpoint, part)
        if found:
            tokenizer = teach(found, part, tokenizer, network)
        if not _worded(options):
            made.append(TextEncoding(tokenizer, network, cls.text_layer))
            continue
        chunked = options.long_prompts == "chunks" or (options.long_prompts is None and options.prompt_weights is not None)
        rule, skip = options.prompt_weights, options.clip_skip or 0
        made.append(WordedEncoding(tokenizer, network, cls.text_layer, rule=rule, chunked=chunked, skip=skip))
    return join_texts(made)


def check_words(cls: Kind, checkpoint: Checkpoint, options: Any) -> None:
    """Refuse options that this checkpoint cannot take, before its weights are loaded.

    Raises:
        BadOption: compel is not installed, more layers left out than there are, or a word that cannot be one.
        BadCheckpoint: an embedding that is not there, or is for other text encoders; see `find_inversions`.
    """
    if options.prompt_weights == "compel" and not all(map(find_spec, ("compel", "pyparsing"))):
        raise BadOption(
            "weights by compel's rule need the package compel",
            where="option prompt_weights",
            mend="pip install compel (the extra realcompo[words]), or choose prompt_weights = 'a1111'",
        )
    parts = [part for part in cls.encoders if checkpoint.has(part)]
    if options.clip_skip:
        for part in parts:
            layers = int(checkpoint.config(part).get("num_hidden_layers", 12))
            most = layers + (0 if cls.text_layer is None else 1 + cls.text_layer)  # then the token embeddings are all that is left
            if options.clip_skip > most:
                raise BadOption(
                    f"clip_skip = {options.clip_skip}, and the {part} has {layers} layers", where="option clip_skip", mend=f"at most {most}"
                )
    if options.embeddings and checkpoint.pipeline is not None:
        raise BadCheckpoint(
            "the option embeddings would change a pipeline that you hold",
            where="option embeddings",
            mend="load them yourself: pipe.load_textual_inversion(…)",
        )
    for one in _inversions(cls, checkpoint, options):
        for part in parts:
            if checkpoint.has(cls.encoders[part]):
                tokenizer = cls.words(checkpoint, part)
                for token in one.tokens(part):
                    check_token(token, tokenizer)
        marks = set("()[]:|\\") & set(one.token)
        if marks and options.prompt_weights is not None:
            raise BadOption(
                f"{one.token!r} holds {min(marks)!r}, which is read as a mark",
                where="option embeddings",
                mend="name another token",
            )


def check_marks(options: WordOptions, prompt: str) -> None:
    """Raise BadOption where a prompt's marks cannot be read, without a tokenizer."""
    if options.prompt_weights is not None:
        read_weights(prompt)


def word_print(options: Any) -> dict[str, str]:
    """The entry of a branch's fingerprint: the files of the embeddings, in their order; none without any."""
    files = [named_path(one.source, options.allow_pickle) for one in options.embeddings]
    return {"embeddings": file_digest(files)} if files else {}


def _inversions(cls: Kind, checkpoint: Checkpoint, options: Any) -> list[Inversion]:
    if not options.embeddings:
        return []
    return find_inversions(options.embeddings, options, text_widths(checkpoint, list(cls.encoders)))
