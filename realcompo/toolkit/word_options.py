"""Options of what a prompt's words are for branches with CLIP text encoders. Pydantic only: no torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..specs import Options

Rule = Literal["compel", "a1111"]
WORDS = ("prompt_weights", "long_prompts", "clip_skip", "embeddings")
"""Names of these options."""


class Embedding(BaseModel):
    """A textual inversion."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source: str = Field(description="A file: .safetensors as diffusers, A1111 or SDXL trainers write it, or A1111's .pt (allow_pickle).")
    token: str | None = Field(None, description="The word for it in prompts; as the file says, or the file's name, where it is left out.")


class WordOptions(Options):
    """How a prompt becomes embeddings."""

    prompt_weights: Rule | None = Field(
        None,
        description="Read (red), (red:1.3), [red] and BREAK as weights and chunk ends, and weigh the embeddings by that rule: 'compel' "
        "(needs the extra realcompo[words]) goes from the empty prompt's embedding through the word's, and below 1 towards the prompt "
        "without the word; 'a1111' multiplies and restores the mean. Left out: brackets are letters.",
    )
    long_prompts: Literal["cut", "chunks"] | None = Field(
        None,
        description="'cut' drops what lies past the text encoder's last token (77 of CLIP's), as diffusers does, with a remark; 'chunks' "
        "encodes it in further chunks, up to 6, and pads the negative prompt to the same number. Left out: chunks with prompt_weights, "
        "else cut.",
    )
    clip_skip: int | None = Field(
        None,
        ge=0,
        description="Layers of the text encoders that are left out at the end, by diffusers' count: 1 is what A1111 calls 2. "
        "As in diffusers it holds for prompts, not for negative ones.",
    )
    embeddings: tuple[Embedding, ...] = Field(
        (), description="Textual inversions: {source = 'file', token = '<word>'} each; the word then stands for their vectors."
    )
