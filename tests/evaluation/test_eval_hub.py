"""The data sets that tasks know by name: from a Hub, with the configuration and split that the task takes there."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from benchmark_layouts import LAYOUTS
from hub_client import Hub
from result_folders import results_in

from hf_tokcomp.evaluation.tasks import tasks

EVALUATE = """
import json, sys
import torch
from hf_tokcomp.cli import main
torch.set_num_threads(1)
for number, (task, source, items) in enumerate(json.loads(sys.argv[2])):
    options = ["--dataset", source] * bool(source) + ["--items", "2", "--max-new-tokens", "2", "--resamples", "100"]
    code = main(["eval", task, *options, "--output", f"{sys.argv[1]}/{number}"])
    assert code == 0, (task, source)
"""
DECOY = "the split of another configuration"


def stored(config: str | None, split: str, table: bytes) -> dict[str, bytes]:
    """A repository with the table under one configuration and split, and other ones, which hold no table at all."""
    configs = [
        {"config_name": name, "data_files": [{"split": part, "path": f"{name}/{part}.parquet"}], "default": first}
        for name, part, first in ((config or "default", split, config is None), ("other", "train", config is not None))
    ]
    card = f"---\n{yaml.safe_dump({'configs': configs})}---\n"
    return {
        "README.md": card.encode(),
        f"{config or 'default'}/{split}.parquet": table,
        "other/train.parquet": DECOY.encode(),
    }


def test_every_known_source_is_read_where_it_is(hub: Hub, tmp_path: Path) -> None:
    asked = []
    for name, task in tasks().items():
        for place, (source, (config, split)) in enumerate(task.sources.items()):
            layout, make = LAYOUTS[source]
            assert layout == name
            (tmp_path / source).mkdir(parents=True)
            hub.put(f"datasets/{source}", stored(config, split, make(tmp_path / source).read_bytes()))
            asked.append((name, source if place else None, source))  # the first is the default
    assert len(asked) >= 9
    hub.run(EVALUATE, str(tmp_path), json.dumps(asked))
    for number, (name, _, source) in enumerate(asked):
        found = results_in(tmp_path / str(number))
        assert found["tasks"][name]["dataset"] == source
        config, split = tasks()[name].sources[source]
        assert found["tasks"][name]["part"] == " ".join(filter(None, (config, split)))
        assert found["scores"][0]["value"] is not None
