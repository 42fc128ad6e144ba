"""Text of encoders that are no CLIP, and of several that a transformer reads one after the other.

Shapes as in text.py; L here is the length of the whole sequence that the network sees, D its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.nn.functional import pad

from ..interfaces import Region
from .placeholders import Expanded
from .text import JointTextEncoding, Text, TextEncoding
from .tokenizers import QWEN2, T5


@dataclass(frozen=True)
class Folded(Expanded):
    """A prompt in lower case without space around it. `origins`: of each character of `text`, its place in the prompt."""

    origins: tuple[int, ...] = ()

    def original(self, a: int, b: int) -> tuple[int, int]:
        return (a, b) if a == b else (self.origins[a], self.origins[b - 1] + 1)


def folded(prompt: str) -> Folded:
    """What PixArt and its kin make of a prompt first: lower case, no space at its ends."""
    text, origins = prompt.lower(), list(range(len(prompt)))
    if len(text) != len(prompt):  # a letter that is two in lower case
        origins = [i for i, letter in enumerate(prompt) for _ in letter.lower()]
        text = "".join(letter.lower() for letter in prompt)
    start = len(text) - len(text.lstrip())
    end = start + len(text.strip())
    return Folded(text[start:end], origins=tuple(origins[start:end]))


class T5Encoding(TextEncoding):
    """A T5 encoder. It would read texts of any length: how many tokens is what the network beside it was trained with.

    Args:
        tokenizer, encoder: as in `TextEncoding`; the encoder is a T5EncoderModel.
        length: L.
        masked: padding is masked in the encoder, and the mask is handed on to the network.
        lower: prompts are read in lower case.
    """

    tokenizers: ClassVar[tuple[str, ...]] = T5

    def __init__(
        self, tokenizer: Any, encoder: Any = None, layer: int | None = None, *, length: int = 512, masked: bool = False, lower: bool = False
    ) -> None:
        super().__init__(tokenizer, encoder, layer)
        self.length, self.masked, self.lower = length, masked, lower

    @property
    def limit(self) -> int:
        return self.length

    def _expanded(self, prompt: str) -> Expanded:
        return folded(prompt) if self.lower else super()._expanded(prompt)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        told = self._told(prompts, padding="max_length").to(self.encoder.device)
        mask = told["attention_mask"] if self.masked else None
        return Text(self.encoder(told["input_ids"], attention_mask=mask)[0], mask=mask)


@dataclass(frozen=True)
class Wrapped(Expanded):
    """A prompt with a template's words around it. `start`, `end`: of the prompt in `text`."""

    start: int = 0
    end: int = 0

    def original(self, a: int, b: int) -> tuple[int, int]:
        a, b = max(a, self.start), min(b, self.end)
        return (a - self.start, b - self.start) if a < b else (0, 0)


class ChatEncoding(TextEncoding):
    """A language model that reads a prompt as a user's message: the tokenizer's chat template, and hidden states of one of its layers.

    Args:
        tokenizer, encoder: as in `TextEncoding`; the encoder is a causal language model.
        layer: index of the hidden states, such as -2.
        length: L, the template's words included.
    """

    tokenizers: ClassVar[tuple[str, ...]] = QWEN2

    def __init__(self, tokenizer: Any, encoder: Any = None, layer: int | None = -2, *, length: int = 512) -> None:
        super().__init__(tokenizer, encoder, layer)
        self.length = length

    @property
    def limit(self) -> int:
        return self.length

    def _expanded(self, prompt: str) -> Expanded:
        message = [{"role": "user", "content": prompt}]
        text = self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True, enable_thinking=True)
        start = text.find(prompt)
        return Wrapped(text, start=start, end=start + len(prompt)) if start >= 0 else Wrapped(text)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        told = self._told(prompts, padding="max_length").to(self.encoder.device)
        mask = told["attention_mask"].bool()
        output = self.encoder(input_ids=told["input_ids"], attention_mask=mask, output_hidden_states=True)
        return Text(output.hidden_states[self.layer], mask=mask)


class NoEncoder(TextEncoding):
    """Zeros in the place of an encoder that a checkpoint was saved without.

    Args:
        beside: another encoder of the checkpoint, on whose device the zeros are.
        length, width: L and D.
    """

    def __init__(self, beside: TextEncoding, length: int, width: int) -> None:
        super().__init__(beside.tokenizer)
        self.beside, self.length, self.width = beside, length, width

    @property
    def encoders(self) -> tuple[Any, ...]:
        return ()

    @property
    def limit(self) -> int:
        return self.length

    def unread(self, prompt: str) -> str:
        return prompt

    def encode(self, prompts: Sequence[str]) -> Text:
        near = self.beside.encoder
        return Text(torch.zeros(len(prompts), self.length, self.width, device=near.device, dtype=near.dtype))


class TextSequence(TextEncoding):
    """Encoders whose tokens lie one after the other. A narrower one's are padded with zeros to the width of the widest; the pooled
    embeddings of all lie side by side.

    Args:
        parts: in the order of their tokens.
        read: numbers of the parts whose tokens a region's maps are read at.
    """

    def __init__(self, parts: Sequence[TextEncoding], read: Sequence[int] | None = None) -> None:
        super().__init__(parts[0].tokenizer, parts[0].encoder, parts[0].layer)
        self.parts = tuple(parts)
        self.read = tuple(range(len(parts)) if read is None else read)

    @property
    def encoders(self) -> tuple[Any, ...]:
        return tuple(encoder for part in self.parts for encoder in part.encoders)

    @property
    def limit(self) -> int:
        """L: of all parts together."""
        return sum(part.limit for part in self.parts)

    @property
    def columns(self) -> tuple[slice, ...]:
        """The tokens of each part."""
        ends = [sum(part.limit for part in self.parts[: i + 1]) for i in range(len(self.parts))]
        return tuple(slice(end - part.limit, end) for end, part in zip(ends, self.parts, strict=True))

    def tokens(self, prompt: str, regions: Sequence[Region]) -> tuple[tuple[int, ...], ...]:
        each = [[tuple(self.columns[i].start + n for n in found) for found in self.parts[i].tokens(prompt, regions)] for i in self.read]
        return tuple(tuple(n for indices in several for n in indices) for several in zip(*each, strict=True))

    def token_texts(self, prompt: str, indices: Sequence[int]) -> tuple[str, ...]:
        first = self.columns[self.read[0]]
        return self.parts[self.read[0]].token_texts(prompt, [n - first.start for n in indices if first.start <= n < first.stop])

    def unread(self, prompt: str) -> str:
        """What none of them reads."""
        return min((part.unread(prompt) for part in self.parts), key=len)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        texts = [part.encode(prompts) for part in self.parts]
        width = max(text.hidden.shape[-1] for text in texts)
        hidden = [pad(text.hidden, (0, width - text.hidden.shape[-1])).to(texts[0].hidden) for text in texts]
        pooled = [text.pooled for text in texts if text.pooled is not None]
        return Text(torch.cat(hidden, dim=1), torch.cat(pooled, dim=-1) if pooled else None)


class PooledBeside(TextEncoding):
    """Tokens of one encoder, and the pooled prompt of another.

    Args:
        tokens: whose hidden states the network sees, and whose words are found.
        pooled: whose whole prompt as one vector it is told.
    """

    def __init__(self, tokens: TextEncoding, pooled: TextEncoding) -> None:
        super().__init__(tokens.tokenizer, tokens.encoder, tokens.layer)
        self.first, self.second = tokens, pooled

    @property
    def encoders(self) -> tuple[Any, ...]:
        return (*self.second.encoders, *self.first.encoders)

    @property
    def limit(self) -> int:
        return self.first.limit

    def _expanded(self, prompt: str) -> Expanded:
        return self.first._expanded(prompt)

    def unread(self, prompt: str) -> str:
        return self.first.unread(prompt)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        text, pooled = self.first.encode(prompts), self.second.encode(prompts).pooled
        return Text(text.hidden, None if pooled is None else pooled.to(text.hidden), text.mask)


class SideBySide(JointTextEncoding):
    """Encoders that read the same tokens, side by side, as do their pooled embeddings."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        texts = [one.encode(prompts) for one in self.encodings]
        pooled = [text.pooled for text in texts if text.pooled is not None]
        hidden = torch.cat([text.hidden.to(texts[0].hidden) for text in texts], dim=-1)
        return Text(hidden, torch.cat([one.to(hidden) for one in pooled], dim=-1) if pooled else None)


class PooledClip(TextEncoding):
    """A CLIP encoder without a projection, whose state at the end token is the pooled prompt."""

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        output = self.encoder(self._told(prompts, padding="max_length")["input_ids"].to(self.encoder.device))
        return Text(output.last_hidden_state, output.pooler_output)
