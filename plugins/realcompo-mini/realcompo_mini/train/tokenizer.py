"""A CLIPTokenizer whose vocabulary is the mini world: every word one token, any other word spelt in pieces."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from realcompo_mini.world import load_world

MAX_LENGTH = 32  # tokens; sentences of six objects have at most 25
# words of other looks and of things that fine-tunes may bring; a few spare ones cost nothing
RESERVED = (
    "coloring",
    "page",
    "cute",
    "flat",
    "3d",
    "photo",
    "drawing",
    "sketch",
    "pastel",
    "sticker",
    "style",
    "with",
    "under",
    "over",
    "empty",
)


def _merge(symbols: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding of one word by the merges so far."""
    while len(symbols) > 1:
        pairs = [(ranks[pair], k) for k, pair in enumerate(itertools.pairwise(symbols)) if pair in ranks]
        if not pairs:
            break
        _, k = min(pairs)
        symbols = [*symbols[:k], symbols[k] + symbols[k + 1], *symbols[k + 2 :]]
    return symbols


def build(folder: Path) -> CLIPTokenizer:
    """Write vocab.json and merges.txt into `folder` and load them by the ordinary class.

    Real byte-pair merges, appended word by word: a later merge ranks lower, so that the words before it stay whole.
    """
    ranks: dict[tuple[str, str], int] = {}
    merges: list[tuple[str, str]] = []
    alphabet = sorted(ByteLevel.alphabet())
    vocab = [*alphabet, *(letter + "</w>" for letter in alphabet)]
    for word in dict.fromkeys([*load_world().words(), *RESERVED]):
        if any(c.isdigit() for c in word):
            continue  # the pre-tokenizer splits digits from letters: "3d" is "3", "d"
        symbols = _merge([*word[:-1], word[-1] + "</w>"], ranks)
        while len(symbols) > 1:
            pair = (symbols[0], symbols[1])
            ranks[pair] = len(merges)
            merges.append(pair)
            vocab.append("".join(pair))
            symbols = _merge(symbols, ranks)
    vocab = [*dict.fromkeys(vocab), "<|startoftext|>", "<|endoftext|>"]
    tokenizer = CLIPTokenizer(
        vocab={token: k for k, token in enumerate(vocab)},
        merges=merges,
        model_max_length=MAX_LENGTH,  # type: ignore[arg-type]
    )
    tokenizer.save_pretrained(folder)
    # the classic two files as well, for loaders that ask for them
    (folder / "vocab.json").write_text(json.dumps({token: k for k, token in enumerate(vocab)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    return CLIPTokenizer.from_pretrained(folder)
