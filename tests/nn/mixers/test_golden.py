"""Mixers and whole blocks with the weights that other implementations had, and what those made of them.

golden/make.py says how. A block is the published one with its norms, scales of the mixed and of the residual, and channel
mixer; only drop path, which does nothing outside training, is left out.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mixcodec.nn.metaformer import Block
from mixcodec.nn.mixers import MIXERS

FILES = sorted((Path(__file__).parent / "golden").glob("*.npz"))
NAMES = ["convformer", "hat-hybrid", "hat-overlapping", "mambaout-0.5", "mambaout-1.0", "poolformer", "rotary-registers"]
NAMES += ["transnext", "volo-1", "volo-2", "caformer", "efficientvim", "linfusion"]
NAMES += ["retention-parallel", "retention-recurrent", "retention-chunkwise"]
NAMES += [f"block-{name}" for name in ("poolformer", "poolformer-2", "convformer", "caformer", "mambaout", "volo")]


def test_no_file_is_missing():
    assert {file.stem for file in FILES} >= set(NAMES)


@torch.no_grad()
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_same_weights_give_the_same_output(file):
    with np.load(file) as stored:
        golden = {name: stored[name] for name in stored.files}
    x = torch.from_numpy(golden["x"]).float()
    config, channels = json.loads(str(golden["config"])), x.shape[-1]
    part = (Block(channels, **config) if "mixer" in config else MIXERS.build(config, channels=channels)).eval()
    weights = {name.removeprefix("weight."): torch.from_numpy(a).float() for name, a in golden.items() if name[:7] == "weight."}
    part.load_state_dict(weights)
    y = torch.from_numpy(golden["y"])
    told = y.isfinite()
    assert told.any()
    torch.testing.assert_close(part(x)[told], y[told], atol=2e-5, rtol=2e-5)
