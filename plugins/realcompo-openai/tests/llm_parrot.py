"""Chat models of a few kB, for a server that we did not write: a parrot that knows one reply, and one that talks nonsense.

    python plugins/realcompo-openai/tests/llm_parrot.py FOLDER

writes both (FOLDER/parrot, FOLDER/random), so that `transformers serve` can be tried without a download.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

UNKNOWN, END = "<unk>", "</s>"
TEMPLATE = "{% for message in messages %}{{ message.role }} {{ message.content }} {% endfor %}{{ 'assistant' }}"
WIDTH = 16
REPLY = """{"objects": [{"phrase": "a cat", "x0": 0.0625, "y0": 0.40625, "x1": 0.53125, "y1": 0.9375}, \
{"phrase": "a red balloon", "x0": 0.59375, "y0": 0.0625, "x1": 0.90625, "y1": 0.4375}]}"""
"""A layout of "a cat and a red balloon on grass", without the keys that a strict server would have added."""


def save_parrot(folder: Path, reply: str = REPLY) -> Path:
    """A Llama that answers `reply` whatever it is asked, then ends.

    `reply` is one entry of its vocabulary. Attention and feed-forward layers add nothing, so the last hidden state is the (normalised)
    embedding of the last token: e₀ for every token but the reply, e₁ for the reply. The output layer sends e₀ to the reply
    and e₁ to the end.
    """
    words = [UNKNOWN, END, reply]
    model = _llama(words)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith("norm.weight"):
                weight.zero_()
        embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        embedding[:, 0] = 1.0
        embedding[words.index(reply)] = torch.eye(WIDTH)[1]
        output[words.index(reply), 0] = 50.0
        output[words.index(END), 1] = 50.0
    return _save(folder, model, words)


def save_random(folder: Path, seed: int = 0) -> Path:
    """A Llama with random weights and a few dozen words; it never ends by itself."""
    torch.manual_seed(seed)
    words = [UNKNOWN, END, "{", "}", "[", "]", ":", ",", '"objects"', '"phrase"', *(f"word{number}" for number in range(20))]
    model = _llama(words)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.5)
        model.get_output_embeddings().weight[words.index(END)] = 0.0
    return _save(folder, model, words)


def _llama(words: Sequence[str]) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            max_position_embeddings=16384,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=words.index(END),
            pad_token_id=words.index(END),
        )
    )


def _save(folder: Path, model: LlamaForCausalLM, words: Sequence[str]) -> Path:
    split = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=UNKNOWN))
    split.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=split, unk_token=UNKNOWN, eos_token=END, pad_token=END, clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def main(folder: str) -> None:
    """Write both below a folder."""
    for path in (save_parrot(Path(folder) / "parrot"), save_random(Path(folder) / "random")):
        print(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
