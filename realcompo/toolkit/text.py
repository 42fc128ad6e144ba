"""Text of one encoder or of several beside each other: prompts to hidden states, a region's phrase to token indices, phrases to
pooled embeddings.

Shapes: B pictures, R regions, L tokens (the encoder's full length, 77 for CLIP), D the width (of all encoders together), P that of a
pooled embedding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..errors import BadCheckpoint, PhraseNotFound
from ..interfaces import Region, Regions
from .phrases import find_phrases
from .placeholders import Expanded, expand
from .scripts import Span
from .sources import Checkpoint
from .tokenizers import CLIP, read_tokenizer


@dataclass(frozen=True)
class Text:
    """Encoded prompts.

    Attributes:
        hidden: (B, L, D), what cross-attention sees.
        pooled: (B, P), a whole prompt as one vector, from an encoder with a projection; None where there is none.
        mask: (B, L), 1 for tokens and 0 for padding, where the network does not look at padding; None where it does.
    """

    hidden: Tensor
    pooled: Tensor | None = None
    mask: Tensor | None = None

    def to(self, device: Any, dtype: Any) -> Text:
        """The same elsewhere."""
        pooled, mask = self.pooled, self.mask
        return Text(
            self.hidden.to(device, dtype),
            None if pooled is None else pooled.to(device, dtype),
            None if mask is None else mask.to(device),
        )

    def repeated(self, length: int) -> Text:
        """The same as often as it takes to fill `length` tokens, a multiple of its own: attention sees no difference."""
        times = length // self.hidden.shape[1]
        return self if times == 1 else replace(self, hidden=self.hidden.repeat(1, times, 1))

    def without(self, rows: Sequence[bool]) -> Text:
        """Zeros in the rows that are True."""
        gone = torch.tensor(list(rows), device=self.hidden.device)
        pooled = None if self.pooled is None else self.pooled.masked_fill(gone[:, None], 0)
        return Text(self.hidden.masked_fill(gone[:, None, None], 0), pooled, self.mask)


class TextEncoding:
    """A tokenizer and, where there is text to encode, its text encoder.

    Args:
        tokenizer: of transformers.
        encoder: a CLIPTextModel, with or without a projection, or None for what the tokenizer alone can tell.
        layer: index of the hidden states that the UNet was trained on, such as -2, before the last norm; None = the last ones, after it.
    """

    tokenizers: ClassVar[tuple[str, ...]] = CLIP
    """Classes that its tokenizer may be of, beside those of no family."""
    rows: tuple[int, ...] | None = None
    """Of what `set_to` made: how many times L tokens each text has."""

    def __init__(self, tokenizer: Any, encoder: Any = None, layer: int | None = None) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder
        self.layer = layer

    @property
    def encoders(self) -> tuple[Any, ...]:
        """The networks, in the order in which their hidden states lie side by side."""
        return (self.encoder,)

    @classmethod
    def from_folder(cls, folder: Path) -> TextEncoding:
        """From a tokenizer's files alone: enough for `tokens` and `token_texts`.

        Raises:
            BadCheckpoint: no tokenizer can be read there.
        """
        return cls(read_tokenizer(folder, cls.tokenizers))

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, tokenizer: str = "tokenizer") -> TextEncoding:
        """From a checkpoint's tokenizer, without its text encoder.

        Raises:
            BadCheckpoint: it has none, or none that can be read.
        """
        if (rest := checkpoint.lender(tokenizer)) is not None:
            return cls.from_checkpoint(rest, tokenizer)
        if checkpoint.folder is not None:
            return cls.from_folder(checkpoint.folder / tokenizer)
        single = checkpoint.single
        if single is None:
            found = getattr(checkpoint.pipeline, tokenizer, None)
        else:
            folder = single.tokenizer_folder(tokenizer)
            found = single.tokenizer(tokenizer) if folder is None else cls.from_folder(folder).tokenizer
        if found is None:
            raise BadCheckpoint(f"it has no {tokenizer}", where=checkpoint.where, mend=f"give the pipeline its {tokenizer}")
        return cls(found)

    @property
    def limit(self) -> int:
        """L: how many tokens a prompt has, with the start and end tokens and padding."""
        limits = [self.tokenizer.model_max_length]
        if self.encoder is not None:
            limits.append(self.encoder.config.max_position_embeddings)
        limit = int(min(limits))
        return limit if limit < 10_000 else 77  # a tokenizer without a limit says 10^30

    # -- phrase → tokens ------------------------------------------------------------------------------------------------------

    def tokens(self, prompt: str, regions: Sequence[Region]) -> tuple[tuple[int, ...], ...]:
        """Indices of each region's tokens in the encoded prompt (the start token is 0).

        Raises:
            PhraseNotFound: a phrase is not in the prompt, or lies past the encoder's last usable token.
        """
        offsets = self._offsets(prompt)
        last = self.limit - 1  # holds the end token
        found = []
        for region, match in zip(regions, find_phrases(prompt, regions), strict=True):
            start, end = match.span
            indices = tuple(i for i, (a, b) in enumerate(offsets) if a < end and start < b)
            if not indices:
                raise PhraseNotFound(
                    f"{prompt[start:end]!r} has no token of its own",
                    where=f"region {region.id!r}",
                    mend="give the region another span",
                )
            if indices[-1] >= last:
                raise PhraseNotFound(
                    f"{prompt[start:end]!r} lies past the text encoder's last usable token "
                    f"(token {indices[-1]}; it reads {self.limit}, start and end included)",
                    where=f"region {region.id!r}",
                    mend="shorten the prompt, or say the object earlier",
                )
            found.append(indices)
        return tuple(found)

    def unread(self, prompt: str) -> str:
        """The end of a prompt that the encoder does not read, because it lies past its last usable token; "" where it reads all."""
        expanded = self._expanded(prompt)
        ids = self.tokenizer(expanded.text, truncation=False, verbose=False)["input_ids"]
        if len(ids) <= self.limit:
            return ""
        if not self.tokenizer.is_fast:
            return str(self.tokenizer.decode(ids[self.limit - 1 :], skip_special_tokens=True)).strip()
        past = [a for a, b in self._offsets(prompt)[self.limit - 1 :] if a < b]
        return prompt[min(past) :].strip() if past else ""

    def token_texts(self, prompt: str, indices: Sequence[int]) -> tuple[str, ...]:
        """What those tokens say, for people: characters of the prompt."""
        offsets = self._offsets(prompt)
        return tuple(prompt[slice(*offsets[i])] for i in indices if i < len(offsets))

    def weights(self, prompts: Sequence[str], regions: Regions) -> Tensor:
        """(B, R, L): 1/n at each of a region's n tokens, so that a product with maps is their mean; zeros for absent regions."""
        each = [self.tokens(prompt, picture) for prompt, picture in zip(prompts, regions.pictures, strict=True)]
        lengths, whole = self.lengths(prompts)
        weights = torch.zeros(len(prompts), regions.most, whole)
        for b, found in enumerate(each):
            for r, indices in enumerate(found):
                for start in range(0, whole, lengths[b]):
                    weights[b, r, [start + i for i in indices]] = 1 / len(indices)
        return weights

    # -- prompts longer than L: see wording.py ----------------------------------------------------------------------------------

    def chunk_count(self, prompt: str) -> int:
        """n: how many times L tokens a prompt takes. Here, what lies past the first is cut."""
        return 1

    def set_to(self, parts: Sequence[int]) -> TextEncoding:
        """The same for B texts of so many times L tokens: `encode`, `weights` and `lengths` are then of these."""
        return self

    def of_negatives(self) -> TextEncoding:
        """The same for negative prompts."""
        return self

    def lengths(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], int]:
        """How many tokens each prompt has, and all have in the end: a shorter one is repeated, and so are its regions' tokens."""
        return (self.limit,) * len(prompts), self.limit

    def spelled(self, phrase: str) -> str:
        """Words as a prompt that is read as just these."""
        return phrase

    def bare(self, prompt: str) -> str:
        """A prompt's words, without marks of weights."""
        return prompt

    def _offsets(self, prompt: str) -> list[Span]:
        """Characters of each token of the untruncated prompt; (0, 0) for special tokens. A placeholder's tokens all stand for its word."""
        if not self.tokenizer.is_fast:
            raise BadCheckpoint(
                f"its tokenizer, a {type(self.tokenizer).__name__}, does not tell which characters a token stands for",
                where="phrase → tokens",
                mend="use the fast tokenizer of the same vocabulary (transformers' AutoTokenizer gives it)",
            )
        expanded = self._expanded(prompt)
        ids = self.tokenizer(expanded.text, return_offsets_mapping=True, truncation=False, verbose=False)
        return [expanded.original(int(a), int(b)) for a, b in ids["offset_mapping"]]

    def _expanded(self, prompt: str) -> Expanded:
        return expand(prompt, self.tokenizer)

    # -- encoding -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        """B prompts, in the encoder's dtype. Longer ones are cut, as pipelines do: `unread` tells of what.

        Raises:
            BadCheckpoint: the tokenizer has words for which the encoder has no vectors.
        """
        told = self._told(prompts, padding="max_length")
        masked = getattr(self.encoder.config, "use_attention_mask", False)
        mask = told["attention_mask"].to(self.encoder.device) if masked else None
        ids = told["input_ids"].to(self.encoder.device)
        output = self.encoder(ids, attention_mask=mask, output_hidden_states=self.layer is not None)
        hidden: Tensor = output.last_hidden_state if self.layer is None else output.hidden_states[self.layer]
        return Text(hidden, getattr(output, "text_embeds", None))

    @torch.no_grad()
    def pool(self, phrases: Sequence[str]) -> Tensor:
        """Pooled embeddings (n, D) of n ≥ 1 phrases: the hidden state at each one's end token.

        Raises:
            PhraseNotFound: a phrase is longer than the encoder reads.
        """
        for phrase in phrases:
            if self.unread(phrase):
                raise PhraseNotFound(
                    f"the phrase {phrase[:40] + '…'!r} is longer than the {self.limit} tokens that the text encoder reads",
                    mend="say the object in fewer words, and give its region a span",
                )
        told = self._told(phrases, padding=True).to(self.encoder.device)
        output = self.encoder(input_ids=told["input_ids"], attention_mask=told["attention_mask"])
        if self.encoder.config.eos_token_id != 2:
            return output.pooler_output  # type: ignore[no-any-return]
        # Old configs say 2, and transformers then takes the highest id for the end: a placeholder's is higher still.
        ends = (told["input_ids"] == self.tokenizer.eos_token_id).int().argmax(dim=-1)
        pooled: Tensor = output.last_hidden_state[torch.arange(len(ends), device=ends.device), ends]
        return pooled

    def _told(self, texts: Sequence[str], padding: Any) -> Any:
        """Token ids and mask of texts, placeholders expanded."""
        told = self.tokenizer(
            [self._expanded(text).text for text in texts],
            padding=padding,
            max_length=self.limit,
            truncation=True,
            return_tensors="pt",
            verbose=False,
        )
        known = self.encoder.get_input_embeddings().num_embeddings
        if int(told["input_ids"].max()) >= known:
            word = self.tokenizer.convert_ids_to_tokens(int(told["input_ids"].max()))
            raise BadCheckpoint(
                f"its tokenizer knows {word!r}, for which its text encoder has no vector (it has {known})",
                where="text encoder",
                mend="load the textual inversion with the pipeline's load_textual_inversion, which adds both",
            )
        return told


class JointTextEncoding(TextEncoding):
    """Several encoders that read one prompt. Their hidden states lie side by side; the pooled embedding is that of the first encoder
    that has a projection. CLIP tokenizers differ in their padding, not in where a word stands, unless words were added to one of them.

    Args:
        encodings: two or more, of equal length.
    """

    def __init__(self, encodings: Sequence[TextEncoding]) -> None:
        super().__init__(encodings[0].tokenizer, encodings[0].encoder, encodings[0].layer)
        self.encodings = tuple(encodings)

    @property
    def encoders(self) -> tuple[Any, ...]:
        return tuple(one.encoder for one in self.encodings)

    @property
    def limit(self) -> int:
        """L: of the shortest encoder."""
        return min(one.limit for one in self.encodings)

    def tokens(self, prompt: str, regions: Sequence[Region]) -> tuple[tuple[int, ...], ...]:
        # A placeholder may have more vectors for one encoder than for another; a word stands at its place of either.
        each = [one.tokens(prompt, regions) for one in self.encodings]
        return tuple(tuple(sorted(set().union(*indices))) for indices in zip(*each, strict=True))

    def token_texts(self, prompt: str, indices: Sequence[int]) -> tuple[str, ...]:
        return max((one.token_texts(prompt, indices) for one in self.encodings), key=len)

    def unread(self, prompt: str) -> str:
        """What one of them does not read."""
        return max((one.unread(prompt) for one in self.encodings), key=len)

    def chunk_count(self, prompt: str) -> int:
        return max(one.chunk_count(prompt) for one in self.encodings)

    def set_to(self, parts: Sequence[int]) -> TextEncoding:
        return self._each([one.set_to(parts) for one in self.encodings], tuple(parts))

    def of_negatives(self) -> TextEncoding:
        return self._each([one.of_negatives() for one in self.encodings], self.rows)

    def _each(self, encodings: Sequence[TextEncoding], rows: tuple[int, ...] | None) -> TextEncoding:
        """The same of others."""
        if all(one is other for one, other in zip(encodings, self.encodings, strict=True)):
            return self
        made = type(self)(encodings)
        made.rows = rows
        return made

    def lengths(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], int]:
        return self.encodings[0].lengths(prompts)

    def spelled(self, phrase: str) -> str:
        return self.encodings[0].spelled(phrase)

    def bare(self, prompt: str) -> str:
        return self.encodings[0].bare(prompt)

    def encode(self, prompts: Sequence[str]) -> Text:
        parts = [self.chunk_count(prompt) for prompt in prompts]
        if self.rows is None and max(parts) > 1:  # a placeholder may be longer for one of them
            return self.set_to(parts).encode(prompts)
        texts = [one.encode(prompts) for one in self.encodings]
        pooled = next((text.pooled for text in texts if text.pooled is not None), None)
        return Text(torch.cat([text.hidden.to(texts[0].hidden) for text in texts], dim=-1), pooled)


def join_texts(encodings: Sequence[TextEncoding]) -> TextEncoding:
    """One of them as it is, several as one."""
    return encodings[0] if len(encodings) == 1 else JointTextEncoding(encodings)
