"""The laws of token mixers (mixcodec.testing), over every kind, rank and form."""

import numpy as np
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers import MIXERS
from mixcodec.testing import mixers as laws
from mixcodec.testing.mixers import CUTS, GRIDS, Case

CHANNELS = 16

CAUSAL = [
    {"kind": "identity"},
    {"kind": "random", "size": 5},
    {"kind": "pooling"},
    {"kind": "convolution"},
    {"kind": "attention", "window": 6},
    {"kind": "separable"},
    {"kind": "gated_convolution"},
    {"kind": "gated_convolution", "share": 0.5, "kernel": 4},
    {"kind": "large_kernel_qkv"},
    {"kind": "focal"},
    {"kind": "fsmn", "depth": 3},
    {"kind": "conformer"},
    {"kind": "mixed_convolution"},
    {"kind": "retention"},
    {"kind": "gla"},
    {"kind": "linear_attention"},
    {"kind": "simplified_linear"},
    {"kind": "generalised_linear"},
    {"kind": "ssm", "states": 4},
    {"kind": "ssd", "states": 4},
    {"kind": "lmu"},
    {"kind": "mixer_mlp", "size": 6},
    {"kind": "mixer_mlp", "gate": False},
    {"kind": "nin_gating", "size": 6},
    {"kind": "shift"},
    {"kind": "additive"},
    {"kind": "decay_attention", "window": 6},
    {"kind": "decay_attention", "window": 6, "mask": "elementwise"},
    {"kind": "mixed_span", "window": 3, "span": 9},
    {"kind": "mixed_span", "window": 3, "span": 9, "layer": 1, "layers": 2},
    {"kind": "conv_attention", "kernel": 4, "dilation": 2},
    {"kind": "conv_attention", "kernel": 3, "shift": 5},
    {"kind": "gated_attention", "size": 8, "chunk": 6, "kernel": 5},
    {"kind": "overlapping", "window": 5, "overlap": 3},
    {"kind": "overlapping", "window": 5, "overlap": 0, "shift": 2},
    {"kind": "combiner", "group": 5, "memory": 3},
    {"kind": "interleaved", "group": 5, "latents": 2, "memory": 3},
    {"kind": "lococo", "chunk": 5, "slots": 3},
    {"kind": "vq_attention", "codes": 8},
]
CAUSAL += [
    {"kind": "edge_modulation"},
    {"kind": "multi_pooling", "segment": 6},
    {"kind": "inception", "kernel": 4, "pool": 3, "window": 6},
    {"kind": "inception", "low_last": 0.5, "layer": 1, "layers": 2},
    {"kind": "multi_frequency", "window": 6},
    {"kind": "raft", "size": 6},
    {"kind": "dual_selection", "states": 4},
]
RANKED = [{"kind": kind} for kind in ("separable", "gated_convolution", "large_kernel_qkv", "focal", "mixed_convolution")]
RANKED += [{"kind": "shift"}, {"kind": "additive"}, {"kind": "decay_attention"}, {"kind": "simplified_linear", "kernel": 3}]
RANKED += [{"kind": "mixed_span"}, {"kind": "mixed_span", "window": 2, "layer": 1, "layers": 2}]
RANKED += [{"kind": "conv_attention", "kernel": 3}, {"kind": "conv_attention", "kernel": 3, "dilation": 2, "shift": 4}]
RANKED += [{"kind": "gated_attention", "size": 8, "chunk": 4, "kernel": 3}]
RANKED += [{"kind": "overlapping", "window": 4, "overlap": 1}, {"kind": "overlapping", "window": 4, "overlap": 0, "shift": 2}]
RANKED += [{"kind": "combiner", "group": 4}, {"kind": "interleaved", "group": 4}, {"kind": "vq_attention", "codes": 8}]
NEVER = [{"kind": "global_filter", "size": 8}, {"kind": "dct", "bands": 3}, {"kind": "wavelet", "levels": 2}, {"kind": "outlook"}]
NEVER += [{"kind": "global_attention"}, {"kind": "global_attention", "registers": 0}]
NEVER += [{"kind": "aggregated", "pool": 4}, {"kind": "dual_token", "tokens": 3}]
RANKED += [{"kind": kind} for kind in ("edge_modulation", "inception", "multi_frequency", "raft", "dual_selection")]
RANKED += [{"kind": kind} for kind in ("convolution", "conformer", "fsmn")]
NEVER += [{"kind": "hidden_state", "states": 4}]
CENTRED = [config | {"causal": False, "rank": rank} for config in RANKED for rank in (1, 2)]
CENTRED += [config | {"rank": rank} for config in NEVER for rank in (1, 2)]
CENTRED += [{"kind": kind, "causal": False} for kind in ("pooling", "linear_attention", "generalised_linear", "retention", "gla")]
CENTRED += [{"kind": "fourier"}, {"kind": "adaptive_filter"}, {"kind": "hydra"}, {"kind": "shuffle", "window": 4}]
CENTRED += [{"kind": "multi_pooling", "causal": False, "segment": 3}]
SIZED = [{"kind": kind, "causal": False} for kind in ("random", "mixer_mlp", "nin_gating")]
ONLY_CENTRED = {"fourier", "global_filter", "adaptive_filter", "dct", "wavelet", "outlook", "global_attention", "aggregated"}
ONLY_CENTRED |= {"dual_token", "hidden_state", "hydra", "shuffle"}


def build(config, channels=CHANNELS):
    return Case(config, channels=channels).build()


def cases():
    """(config, grid) of every form on every grid it serves."""
    found = [(config, GRIDS[1]) for config in CAUSAL]
    found += [(config, GRIDS[rank]) for config in CENTRED for rank in ([config["rank"]] if "rank" in config else [1, 2, 3])]
    return found + [(config | {"size": int(np.prod(grid))}, grid) for config in SIZED for grid in GRIDS.values()]


ALL = [pytest.param(config, grid, id=" ".join(map(str, [*config.values(), len(grid)]))) for config, grid in cases()]
WHOLE_GRIDS = [case for case in ALL if case.values[0] not in CAUSAL]
STREAMED = [pytest.param(config, id=" ".join(map(str, config.values()))) for config in CAUSAL]
DEFAULT = [{"kind": kind} for kind in dict.fromkeys(config["kind"] for config in CAUSAL)]  # with the options they have by default


def test_every_kind_is_here():
    assert {config["kind"] for config, _ in cases()} >= set(MIXERS.kinds())


@pytest.mark.parametrize(("config", "grid"), ALL)
@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_laws_of_every_form(law, config, grid):
    law(Case(config, grid))


@pytest.mark.parametrize(("config", "grid"), ALL)
def test_a_form_is_causal_or_centred_as_it_is_listed(config, grid):
    assert build(config).causal == (config in CAUSAL)


@pytest.mark.parametrize("config", STREAMED)
@pytest.mark.parametrize(
    "law", [law for law in laws.CAUSAL_LAWS if law is not laws.long_signals_too], ids=lambda law: law.__name__
)
def test_laws_of_causal_forms(law, config):
    law(Case(config))


@pytest.mark.parametrize("config", STREAMED)
@pytest.mark.parametrize("cuts", CUTS, ids=str)
def test_forward_is_step_in_any_chunks(config, cuts):
    laws.forward_is_step(Case(config), cuts)


@pytest.mark.parametrize("config", DEFAULT, ids=lambda config: config["kind"])
def test_the_laws_hold_for_long_signals_too(config):
    laws.long_signals_too(Case(config))


@pytest.mark.parametrize(("config", "grid"), WHOLE_GRIDS)
@pytest.mark.parametrize("law", laws.CENTRED_LAWS, ids=lambda law: law.__name__)
def test_laws_of_centred_forms(law, config, grid):
    law(Case(config, grid))


@pytest.mark.parametrize("kind", sorted(ONLY_CENTRED))
def test_a_causal_form_that_makes_no_sense_is_an_error_that_says_why(kind):
    with pytest.raises(ConfigError, match=f"'{kind}' has no causal form: .*; take '"):
        build({"kind": kind, "causal": True})


LINE_ALONE = {"attention": "mixed_span", "ssm": "dual_selection", "ssd": "hydra", "lmu": "global_filter", "lococo": "combiner"}


@pytest.mark.parametrize("kind", LINE_ALONE)
def test_a_centred_form_or_one_of_a_plane_that_makes_no_sense_is_an_error_that_says_why(kind):
    with pytest.raises(ConfigError, match=f"'{kind}' is causal alone: .*; take '{LINE_ALONE[kind]}'"):
        build({"kind": kind, "causal": False})
    with pytest.raises(ConfigError, match=f"'{kind}' has no form of rank 2: .*; take '{LINE_ALONE[kind]}'"):
        build({"kind": kind, "rank": 2})
    MIXERS.build({"kind": LINE_ALONE[kind], "causal": False}, channels=CHANNELS)  # what it says to take is there


def test_every_kind_has_a_form_of_a_plane_or_says_why_not():
    planes = {config["kind"] for config, grid in cases() if len(grid) == 2}
    assert planes | set(LINE_ALONE) | {"identity"} == set(MIXERS.kinds())
    assert not planes & set(LINE_ALONE)


def test_every_kind_is_causal_or_says_why_not():
    assert {config["kind"] for config in CAUSAL} | ONLY_CENTRED == set(MIXERS.kinds())


VOLUMES = {"pooling", "multi_pooling", "random", "mixer_mlp", "nin_gating", "shuffle", "fourier", "adaptive_filter"}
VOLUMES |= {"global_attention", "linear_attention", "generalised_linear", "retention", "gla", "hydra"}


@pytest.mark.parametrize(("causal", "rank"), list(laws.forms()))
@pytest.mark.parametrize("kind", MIXERS.kinds())
def test_every_form_of_every_kind_runs_or_says_why_there_is_none(kind, causal, rank):
    config = {"kind": kind} | ({"chunk": 4} if kind == "gated_attention" else {})  # else its windows are of 64 x 64
    if kind in {c["kind"] for c in SIZED} and not causal:
        config["size"] = 2  # of each grid it is that many tokens
    causal_there = kind == "identity" or (rank == 1 and kind not in ONLY_CENTRED)
    centred_there = kind not in LINE_ALONE and kind != "identity" and (rank < 3 or kind in VOLUMES)
    assert laws.form_runs_or_says_why(config, causal, rank, 48) == (causal_there if causal else centred_there)


@pytest.mark.parametrize("kind", MIXERS.kinds())
def test_asking_for_a_form_is_an_option_of_every_kind(kind):
    laws.form_is_an_option(kind, CHANNELS)


def test_a_kind_with_one_form_is_held_to_it(monkeypatch):
    class Plane(torch.nn.Identity):
        causal, grid_ranks, one_form = False, (2,), "it turns a picture around its middle"

    monkeypatch.setitem(MIXERS._classes, "plane", Plane)
    for asked, told in (
        ({"causal": True}, "no causal form"),
        ({"rank": 1}, "no form of rank 1"),
        ({"rank": 3}, "no form of rank 3"),
    ):
        with pytest.raises(ConfigError, match=f"^mixer 'plane' has {told}: it turns a picture around its middle$"):
            MIXERS.build({"kind": "plane"} | asked)
    assert MIXERS.build({"kind": "plane", "causal": False, "rank": 2}).grid_ranks == (2,)
    with pytest.raises(ConfigError, match="has no option 'rnk': did you mean 'rank'"):
        MIXERS.build({"kind": "plane", "rnk": 2})


@pytest.mark.parametrize("kind", MIXERS.kinds())
def test_a_kind_names_its_paper_its_shape_its_cost_and_its_state(kind):
    laws.docstring_says_what_it_is(kind, kind not in ONLY_CENTRED)


@pytest.mark.parametrize("config", RANKED, ids=lambda c: " ".join(map(str, c.values())))
def test_a_causal_form_of_a_plane_is_an_error(config):
    with pytest.raises(ConfigError, match="rank is 2, but a causal one runs along time alone"):
        build(config | {"rank": 2})


@pytest.mark.parametrize("config", SIZED, ids=lambda c: c["kind"])
def test_another_number_of_tokens_than_it_was_made_for_is_an_error(config):
    with pytest.raises(ConfigError, match="made for 16 tokens, not 15"):
        build(config)(torch.randn(1, 15, CHANNELS))


GROUPS = {
    "convolutions": [c for c in CAUSAL if c["kind"] in ("convolution", "separable", "gated_convolution", "conformer", "shift")],
    "modulations": [c for c in CAUSAL if c["kind"] in ("focal", "fsmn", "large_kernel_qkv", "mixed_convolution", "additive")],
    "perceptrons": [c for c in CAUSAL if c["kind"] in ("random", "pooling", "mixer_mlp", "nin_gating")],
    "groups": [c for c in CAUSAL if c["kind"] in ("combiner", "interleaved", "lococo", "vq_attention")],
    "windows": [c for c in CAUSAL if c["kind"] in ("gated_attention", "overlapping")],
    "attention": [c for c in CAUSAL if c["kind"] in ("attention", "decay_attention", "mixed_span", "conv_attention")],
    "linear": [c for c in CAUSAL if c["kind"] in ("linear_attention", "simplified_linear", "generalised_linear")],
    "frequencies": [c for c in CAUSAL if c["kind"] in ("inception", "multi_frequency", "multi_pooling")],
    "more": [c for c in CAUSAL if c["kind"] in ("edge_modulation", "raft")],
    "dual_selection": [{"kind": "dual_selection", "states": 4}],
    "ssm": [{"kind": "ssm", "states": 4}],
    "ssd": [{"kind": "ssd", "states": 4}],
    "lmu": [{"kind": "lmu", "order": 4, "window": 9}],
    "retention": [{"kind": "retention"}],
    "gla": [{"kind": "gla"}],
}
FAST = ("convolutions", "gla")


def test_every_causal_kind_is_exported_here():
    exported = {config["kind"] for group in GROUPS.values() for config in group}
    assert exported | {"identity"} == {config["kind"] for config in CAUSAL}  # identity has nothing to export


@pytest.mark.parametrize("group", [g if g in FAST else pytest.param(g, marks=pytest.mark.slow) for g in GROUPS])
def test_the_exported_step_is_the_step(group):
    laws.exported_steps_are_steps([build(config) for config in GROUPS[group]], CHANNELS)


QUICK = [("pooling", 1), ("pooling", 3), ("separable", 1), ("outlook", 2), ("fourier", 1), ("wavelet", 1), ("dual_token", 2)]
QUICK += [("hidden_state", 2), ("shuffle", 1), ("raft", 2)]


def quick(case):
    return (case.values[0]["kind"], len(case.values[1])) in QUICK


@pytest.mark.parametrize(
    ("config", "grid"),
    [case if quick(case) else pytest.param(*case.values, id=case.id, marks=pytest.mark.slow) for case in WHOLE_GRIDS],
)
def test_the_exported_centred_form_is_the_form(config, grid):
    laws.exported_form_is_form(Case(config, grid))
