"""Stage `text`: the tokenizer, and a small CLIP text encoder taught first what words mean.

An untrained small text encoder pools all phrases to nearly the same vector, which a diffusion model then hardly tells apart. A minute of
plain supervision mends it: from the pooled vector of a phrase its kind, colour, pattern and number; from a caption's tokens and pool its
contents.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from realcompo_mini.language import parse, phrase_of
from realcompo_mini.train import tokenizer as tokenizers
from realcompo_mini.train.common import Settings, cosine, start_log
from realcompo_mini.train.scenes import sample_scene
from realcompo_mini.world import load_world

STEPS, BATCH, PEAK, WIDTH = 1600, 64, 1e-3, 128


def build(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Two layers, width 128. Embeddings start 30 times wider than CLIP's, or positions and words drown in the layers' biases."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizers.MAX_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = CLIPTextModel(config)
    nn.init.normal_(model.get_input_embeddings().weight, std=0.6)
    position = next(module for name, module in model.named_modules() if name.endswith("position_embedding"))
    nn.init.normal_(position.weight, std=0.2)
    return model


def ids(tokenizer: CLIPTokenizer, texts: list[str]) -> torch.Tensor:
    """(B, MAX_LENGTH) token ids, padded and cut as Stable Diffusion's pipelines do."""
    out = tokenizer(texts, padding="max_length", truncation=True, max_length=tokenizers.MAX_LENGTH, return_tensors="pt")
    return out.input_ids


def all_phrases() -> list[str]:
    """Every phrase that the language can say of an item, in a fixed order."""
    world = load_world()
    phrases = []
    for kind in world.kinds.values():
        for colour in (None, *world.colours) if kind.colourable else (None,):
            for pattern in (None, *world.patterns) if kind.colourable else (None,):
                phrases += [phrase_of(kind, count, colour, pattern, world) for count in world.numbers.values()]
    return phrases


def _labels(phrase: str) -> list[int]:
    world = load_world()
    item = parse(phrase).items[0]
    return [
        list(world.kinds).index(item.kind.name),
        list(world.colours).index(item.colour) + 1 if item.colour else 0,
        world.patterns.index(item.pattern) + 1 if item.pattern else 0,
        item.count - 1,
    ]


class _Heads(nn.Module):
    """Linear readers, thrown away afterwards."""

    def __init__(self) -> None:
        super().__init__()
        world = load_world()
        self.sizes = (len(world.kinds), len(world.colours) + 1, len(world.patterns) + 1, len(world.numbers))
        self.phrase = nn.Linear(WIDTH, sum(self.sizes))
        self.noun = nn.Linear(WIDTH, sum(self.sizes) + len(world.relations) + 1)
        self.caption = nn.Linear(WIDTH, len(world.kinds) * (len(world.colours) + 1) + len(world.backgrounds) + 1)

    def classes(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        parts = logits.split([*self.sizes, *([logits.shape[-1] - sum(self.sizes)] if logits.shape[-1] > sum(self.sizes) else [])], -1)
        return sum((F.cross_entropy(part, labels[:, k]) for k, part in enumerate(parts)), torch.zeros(()))


def _captions(
    tokenizer: CLIPTokenizer, start: int, count: int, seed: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids (B, L); where nouns stand (N, 2); their labels (N, 5); what is in the scene (B, kinds × colours); background (B,)."""
    world = load_world()
    kinds, colours, relations = list(world.kinds), [None, *world.colours], [None, *world.relations]
    scenes = [sample_scene("train", start + k, seed) for k in range(count)]
    encoded = tokenizer(
        [s.caption for s in scenes],
        padding="max_length",
        truncation=True,
        max_length=tokenizers.MAX_LENGTH,
        return_tensors="pt",
        return_offsets_mapping=True,
    )
    where, labels = [], []
    present = torch.zeros(count, len(kinds) * len(colours))
    background = torch.zeros(count, dtype=torch.long)
    for b, scene in enumerate(scenes):
        sentence = parse(scene.caption)
        ends = {int(end): k for k, (begin, end) in enumerate(encoded.offset_mapping[b].tolist()) if end > begin}
        background[b] = list(world.backgrounds).index(sentence.background) + 1 if sentence.background else 0
        for k, item in enumerate(sentence.items):
            present[b, kinds.index(item.kind.name) * len(colours) + colours.index(item.colour)] = 1
            if item.span[1] in ends:
                where.append((b, ends[item.span[1]]))
                labels.append([*_labels(item.phrase), relations.index(sentence.relations[k - 1]) if k else 0])
    return encoded.input_ids, torch.tensor(where), torch.tensor(labels), present, background


def train(settings: Settings) -> None:
    """Write `text/tokenizer` and `text/model`; a finished stage returns at once."""
    folder = settings.out / "text"
    if (folder / "model" / "config.json").exists():
        return
    log = start_log(folder, "text")
    torch.manual_seed(settings.seed)
    tokenizer = tokenizers.build(folder / "tokenizer")
    device = torch.device(settings.device)
    model, heads = build(tokenizer).to(device), _Heads().to(device)
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=PEAK, weight_decay=0.01)
    phrases = all_phrases()
    phrase_ids = ids(tokenizer, phrases)[:, :10].to(device)  # no phrase is longer
    phrase_labels = torch.tensor([_labels(p) for p in phrases], device=device)
    total, begin = settings.steps or STEPS, time.time()
    for step in range(total):
        for group in optimizer.param_groups:
            group["lr"] = cosine(step, total, PEAK, warm=50)
        pick = torch.randint(len(phrases), (BATCH,), device=device)
        pooled = model(phrase_ids[pick]).pooler_output
        loss = heads.classes(heads.phrase(pooled), phrase_labels[pick])
        tokens, where, labels, present, background = (t.to(device) for t in _captions(tokenizer, step * BATCH, BATCH, settings.seed))
        out = model(tokens)
        loss = loss + heads.classes(heads.noun(out.last_hidden_state[where[:, 0], where[:, 1]]), labels)
        contents, ground = heads.caption(out.pooler_output).split([present.shape[1], len(load_world().backgrounds) + 1], -1)
        loss = loss + 20 * F.binary_cross_entropy_with_logits(contents, present) + F.cross_entropy(ground, background)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        if (step + 1) % 100 == 0:
            log.info("step %d/%d loss %.4f, %.0f s left", step + 1, total, loss, (total - step) * (time.time() - begin) / (step + 1))
    table = embed_phrases(model.eval(), tokenizer, phrases)
    spread = float(table.std(0).mean() / table.abs().mean())
    log.info("pooled phrases: deviation over phrases / mean size %.3f", spread)
    model.save_pretrained(folder / "model")


@torch.no_grad()
def embed_phrases(model: CLIPTextModel, tokenizer: CLIPTokenizer, phrases: list[str]) -> torch.Tensor:
    """(P, WIDTH) pooled vectors, as GLIGEN's pipeline computes them."""
    device = next(model.parameters()).device
    return torch.cat(
        [model(ids(tokenizer, phrases[k : k + 256])[:, :10].to(device)).pooler_output.cpu() for k in range(0, len(phrases), 256)]
    )


def load_text(out: Path) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Tokenizer and encoder as this stage left them."""
    return CLIPTokenizer.from_pretrained(out / "text" / "tokenizer"), CLIPTextModel.from_pretrained(out / "text" / "model")
