"""Token mixers under one budget: every registered kind in place of those of the base codec."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mixcodec.errors import ConfigError
from mixcodec.evaluate.compare.offline import OfflineNet
from mixcodec.evaluate.compare.score import stack_flops, stack_parameters
from mixcodec.evaluate.compare.variants import Variant, chosen_kinds, reason
from mixcodec.nn.codec import CodecNet
from mixcodec.nn.mixers import MIXERS

PARAMETERS, FLOPS = "equal parameters", "equal FLOPs"
BUDGETS: dict[str, Callable[[CodecNet], float]] = {PARAMETERS: stack_parameters, FLOPS: stack_flops}
"""What is made equal, and how it is counted: of encoder and decoder together."""
MATCH, EXACT = 0.03, 0.01
"""The budget may be missed by the first share by a variant of another table, and by the second by one made for it."""
IDLE: Mapping[str, Any] = {"kind": "identity"}
"""The mixer with which it is found what the channel mixers cost."""
WIDTH_STEP = 16
"""Widths are multiples of it, so that every kind can divide them into its heads."""
WIDTHS = (0.4, 1.6)
"""Least and largest width as a share of the base's."""
LEAST_EXPANSION = 0.5

Config = dict[str, Any]


def mixer_variants(codec: Mapping[str, Any], wanted: Sequence[str] = ()) -> list[Variant]:
    """Every kind that serves a line of tokens, in its causal form where it has one, else offline; a table for each budget.

    Of a kind at the base's depth the width stays that of the base where the channel mixer can take up what the mixer costs
    more or less (its `expansion` is set so that the budget is met), and else gives way. Offline kinds, which no stream could
    use, are in the first table alone.

    Raises:
        ConfigError: `wanted` names a kind that is not there, the base cannot be built, or its encoder has no stage.
    """
    kinds = chosen_kinds(MIXERS, wanted)
    base = CodecNet(codec)
    if not codec["encoder"]["stages"]:
        raise ConfigError("encoder.stages is empty, so there is no mixer to put others in the place of: give it a stage")
    own = codec["encoder"]["stages"][0]["mixer"]
    own = {"kind": own} if isinstance(own, str) else dict(own)
    made: dict[str, list[Variant]] = {kind: [] for kind in kinds}
    for budget in BUDGETS:
        target, slopes = BUDGETS[budget](base), dict[int, float]()
        for kind, before in made.items():
            mixer = own if kind == own["kind"] else {"kind": kind}
            if budget != PARAMETERS and any(not v.streams for v in before):
                continue
            fitting = [v for v in before if not v.problem and abs(_count(budget, dict(v.codec), v.streams) / target - 1) <= MATCH]
            again = dataclasses.replace(fitting[0], group=budget) if fitting else None
            before.append(again or _variant(kind, mixer, codec, budget, target, slopes))
    return [variant for budget in BUDGETS for variants in made.values() for variant in variants if variant.group == budget]


def _variant(kind: str, mixer: Config, codec: Mapping[str, Any], budget: str, target: float, slopes: dict[int, float]) -> Variant:
    try:
        part = MIXERS.build(mixer, channels=int(codec["encoder"]["width"]))
        if 1 not in part.grid_ranks:
            told = " and ".join(map(str, part.grid_ranks))
            return Variant(kind, kind, budget, problem=f"serves grids of rank {told}, and audio is a line")
        found = fit(codec, mixer, budget, target, part.causal, slopes)
    except Exception as error:  # a kind that breaks must not take the others with it
        return Variant(kind, kind, budget, problem=reason(error))
    return Variant(kind, kind, budget, found, streams=part.causal)


def fit(
    codec: Mapping[str, Any], mixer: Config, budget: str, target: float, streams: bool, slopes: dict[int, float] | None = None
) -> Config:
    """The codec with `mixer` in every block, within the budget: the width nearest to the base's that can be made to meet it.

    `slopes` keeps, for each width, what one more of expansion costs.

    Raises:
        ConfigError: no width gets there.
    """
    slopes = {} if slopes is None else slopes
    width, usual = int(codec["encoder"]["width"]), _expansion(codec)
    widths = [w for w in range(WIDTH_STEP, 2 * width, WIDTH_STEP) if WIDTHS[0] <= w / width <= WIDTHS[1]]
    nearest = (math.inf, 0)
    for w in sorted(widths, key=lambda w: (abs(math.log(w / width)), w)):
        spent = _count(budget, changed(codec, mixer, w / width, usual), streams)
        slope = slopes.get(w) or slopes.setdefault(w, _slope(budget, codec, w / width, usual))
        expansion = round(max(LEAST_EXPANSION, usual + (target - spent) / slope), 3)
        off = abs((spent + slope * (expansion - usual)) / target - 1)
        if off <= EXACT:
            return changed(codec, mixer, w / width, expansion)
        nearest = min(nearest, (off, w))
    raise ConfigError(f"no width meets the budget of {budget}: the nearest, {nearest[1]}, is {nearest[0]:.0%} off")


def _slope(budget: str, codec: Mapping[str, Any], scale: float, expansion: float) -> float:
    """What one more of expansion costs."""
    low, high = (_count(budget, changed(codec, dict(IDLE), scale, e), True) for e in (expansion, expansion + 1))
    return high - low


def _count(budget: str, codec: Config, streams: bool) -> float:
    with torch.random.fork_rng(devices=[]):
        net = (CodecNet if streams else OfflineNet)(codec)
    return BUDGETS[budget](net.eval())


def _expansion(codec: Mapping[str, Any]) -> float:
    channel = codec["encoder"]["stages"][0]["channel"]
    return float(channel.get("expansion", 4)) if isinstance(channel, Mapping) else 4.0


def changed(codec: Mapping[str, Any], mixer: Config, scale: float, expansion: float) -> Config:
    """The codec with this mixer in every block, widths times `scale`, and this expansion of the channel mixers."""
    new: Config = copy.deepcopy(dict(codec))
    for side in ("encoder", "decoder"):
        new[side]["width"] = round(new[side]["width"] * scale)
        for stage in new[side]["stages"]:
            channel = stage["channel"]
            stage["mixer"] = dict(mixer)
            stage["channel"] = ({"kind": channel} if isinstance(channel, str) else dict(channel)) | {"expansion": expansion}
    return new
