"""Text of one encoder: prompts to hidden states, a region's phrase to token indices, phrases to pooled embeddings.

Shapes: B pictures, R regions, L tokens (the encoder's full length, 77 for CLIP), D its width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import BadCheckpoint, PhraseNotFound
from ..interfaces import Region, Regions
from .phrases import Span, find_phrases


class TextEncoding:
    """A tokenizer and, where there is text to encode, its text encoder.

    Args:
        tokenizer: of transformers.
        encoder: a CLIPTextModel, or None for what the tokenizer alone can tell.
    """

    def __init__(self, tokenizer: Any, encoder: Any = None) -> None:
        self.tokenizer = tokenizer
        self.encoder = encoder

    @classmethod
    def from_folder(cls, folder: Path) -> TextEncoding:
        """From a tokenizer's files alone: enough for `tokens` and `token_texts`.

        Raises:
            BadCheckpoint: no tokenizer can be read there.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # damaged JSON, missing vocabulary, unknown class: transformers raises many kinds
            raise BadCheckpoint(f"its tokenizer cannot be read: {error}", where=str(folder), mend="fetch or copy it again") from error
        return cls(tokenizer)

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

    def token_texts(self, prompt: str, indices: Sequence[int]) -> tuple[str, ...]:
        """What those tokens say, for people: characters of the prompt."""
        offsets = self._offsets(prompt)
        return tuple(prompt[slice(*offsets[i])] for i in indices)

    def weights(self, prompts: Sequence[str], regions: Regions) -> Tensor:
        """(B, R, L): 1/n at each of a region's n tokens, so that a product with maps is their mean; zeros for absent regions."""
        weights = torch.zeros(len(prompts), regions.most, self.limit)
        for b, (prompt, picture) in enumerate(zip(prompts, regions.pictures, strict=True)):
            for r, indices in enumerate(self.tokens(prompt, picture)):
                weights[b, r, list(indices)] = 1 / len(indices)
        return weights

    def _offsets(self, prompt: str) -> list[Span]:
        """Characters of each token of the untruncated prompt; (0, 0) for special tokens."""
        if not self.tokenizer.is_fast:
            raise BadCheckpoint(
                f"its tokenizer, a {type(self.tokenizer).__name__}, does not tell which characters a token stands for",
                where="phrase → tokens",
                mend="use the fast tokenizer of the same vocabulary (transformers' AutoTokenizer gives it)",
            )
        ids = self.tokenizer(prompt, return_offsets_mapping=True, truncation=False, verbose=False)
        return [(int(a), int(b)) for a, b in ids["offset_mapping"]]

    # -- encoding -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Last hidden states (B, L, D), in the encoder's dtype. Longer prompts are cut, as pipelines do."""
        told = self.tokenizer(
            list(prompts), padding="max_length", max_length=self.limit, truncation=True, return_tensors="pt", verbose=False
        )
        masked = getattr(self.encoder.config, "use_attention_mask", False)
        mask = told["attention_mask"].to(self.encoder.device) if masked else None
        hidden: Tensor = self.encoder(told["input_ids"].to(self.encoder.device), attention_mask=mask)[0]
        return hidden

    @torch.no_grad()
    def pool(self, phrases: Sequence[str]) -> Tensor:
        """Pooled embeddings (n, D) of n ≥ 1 phrases: the hidden state at each one's end token."""
        told = self.tokenizer(list(phrases), padding=True, truncation=True, max_length=self.limit, return_tensors="pt").to(
            self.encoder.device
        )
        pooled: Tensor = self.encoder(input_ids=told["input_ids"], attention_mask=told["attention_mask"]).pooler_output
        return pooled
