"""Text encoding with weights of words, prompts of any length, and layers left out: what the options of word_options.py make of a prompt.

Shapes: L tokens of a chunk (77 for CLIP), n chunks of a picture, N of a batch; D the width. A picture has as many chunks as the longer of
its prompt and negative prompt; a shorter text ends in empty chunks, as in compel and A1111. In a batch, each picture's text is repeated up
to N, the least common multiple: attention over a text that stands there several times is attention over it once, so a picture is the same
alone and in any batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self

import torch
from torch import Tensor

from ..errors import BadCheckpoint, BadOption, PhraseNotFound
from ..interfaces import Region
from ..weighing import Reading, escaped, plain, read_weights
from .chunks import MOST_CHUNKS, Chunks, Token, split
from .phrases import find_phrases
from .placeholders import expand
from .text import Text, TextEncoding
from .word_options import Rule

_NO_MEAN = 1e-4
"""A mean of less than this share of the root mean square is rounding: CLIP's is about a tenth."""


class WordedEncoding(TextEncoding):
    """A CLIP text encoder that reads more than plain prompts of one chunk.

    Args:
        tokenizer, encoder, layer: as in `TextEncoding`.
        rule: of the weights; None = brackets are letters.
        chunked: whether longer prompts go on in further chunks.
        skip: layers left out at the end. Without `layer` the state before them goes through the final norm, as the last one would.
    """

    def __init__(
        self,
        tokenizer: Any,
        encoder: Any = None,
        layer: int | None = None,
        *,
        rule: Rule | None = None,
        chunked: bool = False,
        skip: int = 0,
    ) -> None:
        super().__init__(tokenizer, encoder, layer)
        self.rule, self.chunked, self.skip = rule, chunked, skip

    # -- chunks ---------------------------------------------------------------------------------------------------------------

    def chunk_count(self, prompt: str) -> int:
        return len(self.chunks(prompt))

    def set_to(self, parts: Sequence[int]) -> Self:
        made = copy.copy(self)
        made.rows = tuple(parts)
        return made

    def lengths(self, prompts: Sequence[str]) -> tuple[tuple[int, ...], int]:
        rows = self.rows or tuple(self.chunk_count(prompt) for prompt in prompts)
        return tuple(n * self.limit for n in rows), math.lcm(*rows) * self.limit

    def of_negatives(self) -> TextEncoding:
        """With all layers: as in diffusers, `clip_skip` is the prompt's alone."""
        if not self.skip:
            return self
        made = copy.copy(self)
        made.skip = 0
        return made

    def reading(self, prompt: str) -> Reading:
        """A prompt without its marks.

        Raises:
            BadOption: they cannot be read.
        """
        return plain(prompt) if self.rule is None else read_weights(prompt)

    def spelled(self, phrase: str) -> str:
        return phrase if self.rule is None else escaped(phrase)

    def bare(self, prompt: str) -> str:
        return self.reading(prompt).text

    def chunks(self, prompt: str) -> Chunks:
        """The tokens that are encoded, without start and end tokens.

        Raises:
            BadOption: more chunks than are drawn with, or a start or end token among the words.
        """
        made = self._all_chunks(prompt)
        if not self.chunked:
            return (made[0][: self.limit - 2],)
        if len(made) > MOST_CHUNKS:
            raise BadOption(
                f"it is {len(made)} chunks of tokens long, and at most {MOST_CHUNKS} are drawn with",
                where=f"the prompt {prompt[:40]!r}",
                mend="shorten it: a network hardly follows so many words",
            )
        return made

    def _all_chunks(self, prompt: str) -> Chunks:
        groups: list[list[Token]] = [[]]
        before = 0
        for piece in self.reading(prompt).pieces:
            if piece.breaks:
                groups.append([])
            groups[-1] += self._tokens(piece.text, piece.weight, before)
            before += len(piece.text)
        if not self.chunked:  # one chunk, until a BREAK
            return tuple(tuple(group) for group in groups)
        return tuple(chunk for group in groups for chunk in split(group, self.limit - 2, self.rule or "compel"))

    def _tokens(self, text: str, weight: float, before: int) -> list[Token]:
        """Tokens of a piece that stands after so many characters of the text."""
        if not self.tokenizer.is_fast:
            self._offsets(text)  # says why that will not do
        expanded = expand(text, self.tokenizer)
        told = self.tokenizer(expanded.text, return_offsets_mapping=True, truncation=False, verbose=False)
        ids, places = told["input_ids"][1:-1], told["offset_mapping"][1:-1]
        if {self.tokenizer.bos_token_id, self.tokenizer.eos_token_id} & set(ids):
            raise BadOption(
                "a start or end token stands among the words",
                where=f"the prompt {text[:40]!r}",
                mend="take it out",
            )
        names = self.tokenizer.convert_ids_to_tokens(ids)
        spans = [expanded.original(int(a), int(b)) for a, b in places]
        return [Token(id, name, weight, (a + before, b + before)) for id, name, (a, b) in zip(ids, names, spans, strict=True)]

    # -- phrase → tokens ------------------------------------------------------------------------------------------------------

    def tokens(self, prompt: str, regions: Sequence[Region]) -> tuple[tuple[int, ...], ...]:
        """Indices among the n · L tokens of the prompt. Phrases are found in the text without marks; a span counts characters of the
        prompt as it was written."""
        reading = self.reading(prompt)
        spots = self._spots(prompt)
        found = []
        for region, match in zip(regions, find_phrases(reading.text, [_unmarked(one, reading, prompt) for one in regions]), strict=True):
            start, end = match.span
            indices = tuple(i for i, (a, b) in spots.items() if a < end and start < b)
            if not indices:
                past = any(start < b and a < end for chunk in self._all_chunks(prompt) for a, b in (token.span for token in chunk))
                raise PhraseNotFound(
                    f"{reading.text[start:end]!r} "
                    + ("lies past the text encoder's last usable token" if past else "has no token of its own"),
                    where=f"region {region.id!r}",
                    mend="set the option long_prompts = 'chunks', or say the object earlier" if past else "give the region another span",
                )
            found.append(indices)
        return tuple(found)

    def _spots(self, prompt: str) -> dict[int, tuple[int, int]]:
        """Index of each token → characters of the text without marks."""
        return {c * self.limit + 1 + n: token.span for c, chunk in enumerate(self.chunks(prompt)) for n, token in enumerate(chunk)}

    def token_texts(self, prompt: str, indices: Sequence[int]) -> tuple[str, ...]:
        text, spots = self.reading(prompt).text, self._spots(prompt)
        return tuple(text[slice(*spots[i])] for i in indices if i in spots)

    def unread(self, prompt: str) -> str:
        if self.chunked:
            return ""
        made = self._all_chunks(prompt)
        lost = [token.span for token in (*made[0][self.limit - 2 :], *(token for chunk in made[1:] for token in chunk))]
        return prompt[self.reading(prompt).written_span(lost[0])[0] :] if lost else ""

    # -- encoding -------------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Text:
        lengths, whole = self.lengths(prompts)
        rows = [
            self._row(prompt, length // self.limit).repeat(1, whole // length, 1) for prompt, length in zip(prompts, lengths, strict=True)
        ]
        return Text(torch.cat(rows), self._pooled(prompts))

    def _row(self, prompt: str, count: int) -> Tensor:
        """Hidden states (1, count · L, D) of one prompt: its own chunks, then empty ones."""
        chunks = self.chunks(prompt)
        if self.rule == "compel":
            own = self._by_compel(prompt, chunks)
        else:
            ids, weights = self._padded(chunks)
            own = self.states(ids)
            if self.rule == "a1111":
                own = _by_a1111(own, weights.to(own.device))
            own = own.flatten(0, 1)[None]
        if count > len(chunks):
            empty = self.states(self._padded(((),))[0])
            own = torch.cat([own, empty.repeat(1, count - len(chunks), 1)], dim=1)
        return own

    def _padded(self, chunks: Chunks) -> tuple[Tensor, Tensor]:
        """Ids and weights (n, L) with start, end and padding."""
        words = self.tokenizer
        ids = torch.full((len(chunks), self.limit), int(words.pad_token_id))
        weights = torch.ones(len(chunks), self.limit)
        for c, chunk in enumerate(chunks):
            told = [words.bos_token_id, *(token.id for token in chunk), words.eos_token_id]
            ids[c, : len(told)] = torch.tensor(told)
            weights[c, 1 : 1 + len(chunk)] = torch.tensor([token.weight for token in chunk])
        return ids, weights

    def states(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """Hidden states (rows, L, D) of token ids, at the layer that is asked for."""
        known = self.encoder.get_input_embeddings().num_embeddings
        if int(ids.max()) >= known:
            raise BadCheckpoint(
                f"its tokenizer knows {self.tokenizer.convert_ids_to_tokens(int(ids.max()))!r}, for which its text encoder has no vector",
                where="text encoder",
                mend="load the textual inversion with the pipeline's load_textual_inversion, which adds both",
            )
        if mask is None and getattr(self.encoder.config, "use_attention_mask", False):
            ends = (ids == self.tokenizer.eos_token_id).long()
            mask = (ends.cumsum(dim=1) - ends == 0).long()  # up to the first end token; the padding may be more of them
        ids = ids.to(self.encoder.device)
        output = self.encoder(ids, attention_mask=None if mask is None else mask.to(ids.device), output_hidden_states=True)
        if self.layer is not None:
            return output.hidden_states[self.layer - self.skip]  # type: ignore[no-any-return]
        if not self.skip:
            return output.last_hidden_state  # type: ignore[no-any-return]
        norm = getattr(self.encoder, "text_model", self.encoder).final_layer_norm
        return norm(output.hidden_states[-1 - self.skip])  # type: ignore[no-any-return]

    def _pooled(self, prompts: Sequence[str]) -> Tensor | None:
        """Whole prompts as one vector, without weights: of the first chunk by A1111's rule, else of as much as one chunk holds."""
        if not hasattr(self.encoder, "text_projection"):
            return None
        size = self.limit - 2
        first = [self.chunks(p)[0] if self.rule == "a1111" else tuple(t for c in self._all_chunks(p) for t in c)[:size] for p in prompts]
        ids = self._padded(tuple(first))[0].to(self.encoder.device)
        return self.encoder(ids).text_embeds  # type: ignore[no-any-return]

    def _by_compel(self, prompt: str, chunks: Chunks) -> Tensor:
        """By compel's own code, from pieces and weights; a BREAK ends what it is given at once."""
        from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType, SplitLongTextMode

        device = self.encoder.device
        provider = EmbeddingsProvider(
            tokenizer=self.tokenizer,
            text_encoder=_Seen(self),
            truncate=not self.chunked,
            returned_embeddings_type=ReturnedEmbeddingsType.LAST_HIDDEN_STATES_NORMALIZED,
            device=device,
            split_long_text_mode=SplitLongTextMode.SENTENCES,
            model_max_length=self.limit,
        )
        parts: list[Tensor] = []
        for texts, weights in self._fragments(prompt)[: None if self.chunked else 1]:
            parts.append(provider.get_embeddings_for_weighted_prompt_fragments([texts or [""]], [weights or [1.0]], device=device))
        made = torch.cat(parts, dim=1)
        if made.shape[1] != len(chunks) * self.limit:
            raise BadOption(
                f"compel makes {made.shape[1] // self.limit} chunks of it where {len(chunks)} are expected",
                where=f"the prompt {prompt[:40]!r}",
                mend="install compel 2.5",
            )
        return made

    def _fragments(self, prompt: str) -> list[tuple[list[str], list[float]]]:
        """What stands between BREAKs: texts with placeholders spelled out, and weights. Pieces without a token are left out."""
        made: list[tuple[list[str], list[float]]] = [([], [])]
        for piece in self.reading(prompt).pieces:
            if piece.breaks:
                made.append(([], []))
            if self._tokens(piece.text, piece.weight, 0):
                made[-1][0].append(expand(piece.text, self.tokenizer).text)
                made[-1][1].append(piece.weight)
        return made


class _Seen:
    """A text encoder as compel asks one, which answers with the layer that is asked for."""

    def __init__(self, encoding: WordedEncoding) -> None:
        self._encoding = encoding
        self.device, self.dtype = encoding.encoder.device, encoding.encoder.dtype

    def __call__(self, ids: Tensor, mask: Tensor | None = None, **_: Any) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=self._encoding.states(ids.long(), mask))


def _by_a1111(states: Tensor, weights: Tensor) -> Tensor:
    """z ⊙ w · mean(z) / mean(z ⊙ w), for each chunk (n, L, D). Where a mean is as good as zero there is nothing to restore."""
    z = states.to(torch.promote_types(states.dtype, torch.float32))
    weighed = z * weights[:, :, None]
    before, after = (one.mean(dim=(1, 2), keepdim=True) for one in (z, weighed))
    least = _NO_MEAN * z.pow(2).mean(dim=(1, 2), keepdim=True).sqrt()
    known = (before.abs() > least) & (after.abs() > least)
    restored = weighed * torch.where(known, before / torch.where(known, after, 1), 1)
    plain = (weights == 1).all(dim=1)[:, None, None]
    return torch.where(plain, z, restored).to(states)


def _unmarked(region: Region, reading: Reading, prompt: str) -> Region:
    """A region whose span counts the characters of the text without marks."""
    if region.span is None or not 0 <= region.span[0] < region.span[1] <= len(prompt):
        return region
    span = reading.read_span(region.span)
    if span is None:
        raise PhraseNotFound(
            f"its span {region.span} holds only marks: {prompt[slice(*region.span)]!r}",
            where=f"region {region.id!r}",
            mend="let it hold the words, as characters of the prompt with its marks",
        )
    return replace(region, span=span)
