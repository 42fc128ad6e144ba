"""The tokenizer is a real CLIPTokenizer: words whole, offsets, an end token that pools where it should."""

from __future__ import annotations

from pathlib import Path

import pytest
from realcompo_mini.world import load_world

transformers = pytest.importorskip("transformers")


def test_every_word_is_one_token(tmp_path: Path) -> None:
    from realcompo_mini.train.tokenizer import MAX_LENGTH, build

    build(tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.model_max_length == MAX_LENGTH
    assert tokenizer.eos_token_id != 2  # CLIPTextModel takes 2 for an old checkpoint and pools at the largest id
    for word in load_world().words():
        if word != "3d":  # digits stand alone in CLIP's rules
            assert len(tokenizer(word, add_special_tokens=False).input_ids) == 1, word
    told = tokenizer("A red striped car and a zebra", return_offsets_mapping=True)
    assert told.offset_mapping[1:5] == [(0, 1), (2, 5), (6, 13), (14, 17)]
    assert tokenizer.unk_token_id not in told.input_ids[1:-1]
