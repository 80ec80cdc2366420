"""Pickles of patched models, as version 0.1.0 wrote them: they load for ever, and this is how they were made.

``python tests/helpers/pickled_before.py FOLDER`` makes them with the installed version. Those in
``tests/fixtures/saved/pickles`` are never made again: `tests/patching/test_pickled_before.py` loads them.
"""

from __future__ import annotations

import gzip
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import tiny
import torch
import transformers

import hf_tokcomp

CONFIGS = {
    "qwen2_audio": {"method": "ltbm", "retention_ratio": 0.25, "window": 2},
    "audioflamingo3": {"method": "conv_resampler", "retention_ratio": 0.4},
}
"""By kind of model: one method without weights, and one with."""
SECONDS = [0.93, 0.4]


def answers(model: Any, kind: str) -> dict[str, Any]:
    """What a model says, and the last logits of its prompts."""
    inputs = tiny.inputs(kind, SECONDS)
    with torch.no_grad():
        logits = model(**inputs).logits[:, -1]
    said = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    return {"ids": said[:, -6:].tolist(), "logits": logits.tolist()}


def make(folder: Path) -> None:
    """Pickle a model of each kind after a call, and note what it answers with its compression and without."""
    found: dict[str, Any] = {"transformers": transformers.__version__}
    for kind, config in CONFIGS.items():
        model = hf_tokcomp.patch(tiny.model(kind, layers=1, hidden=16, encoder_layers=1), config)
        torch.manual_seed(9)
        for parameter in model.audio_compressor.parameters():
            torch.nn.init.normal_(parameter, 0, 0.3)
        found[kind] = {"config": hf_tokcomp.active_config(model).to_dict(), "compressed": answers(model, kind)}
        last = model.audio_compressor.last
        found[kind]["tokens"] = [last.tokens_before, last.tokens_after]
        # mtime=0: the same model gives the same bytes.
        (folder / f"{kind}.pkl.gz").write_bytes(gzip.compress(pickle.dumps(model), mtime=0))
        found[kind]["plain"] = answers(hf_tokcomp.unpatch(model), kind)
    (folder / "answers.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
