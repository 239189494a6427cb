"""The laws of token mixers, over every kind, rank and form."""

import importlib
import re
import zlib

import numpy as np
import onnxruntime
import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.state import inside, scoped

CHANNELS, LENGTH = 16, 37

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
GRIDS = {1: (LENGTH,), 2: (7, 9), 3: (3, 4, 5)}
HOMES = {"fourier": "fourier", "global_filter": "spectral", "adaptive_filter": "spectral", "dct": "cosine"}
HOMES |= {"wavelet": "wavelet", "outlook": "outlook", "global_attention": "global_attention", "aggregated": "aggregated"}
HOMES |= {"dual_token": "dual_token"}
HOMES |= {"hidden_state": "hidden_state", "hydra": "hydra", "shuffle": "shuffle"}


def build(config, channels=CHANNELS):
    if config["kind"] in HOMES:
        importlib.import_module(f"mixcodec.nn.mixers.{HOMES[config['kind']]}")
    torch.manual_seed(1)
    return MIXERS.build(config, channels=channels).eval()


def cases():
    """(config, grid) of every form on every grid it serves."""
    found = [(config, GRIDS[1]) for config in CAUSAL]
    found += [(config, GRIDS[rank]) for config in CENTRED for rank in ([config["rank"]] if "rank" in config else [1, 2, 3])]
    return found + [(config | {"size": int(np.prod(grid))}, grid) for config in SIZED for grid in GRIDS.values()]


ALL = [pytest.param(config, grid, id=" ".join(map(str, [*config.values(), len(grid)]))) for config, grid in cases()]
WHOLE_GRIDS = [case for case in ALL if case.values[0] not in CAUSAL]
STREAMED = [pytest.param(config, id=" ".join(map(str, config.values()))) for config in CAUSAL]


def stream(mixer, x, cuts):
    state, parts = mixer.initial_state(len(x)), []
    for part in torch.tensor_split(x, sorted(cuts), dim=1):
        if part.shape[1]:
            y, state = mixer.step(part, state)
            parts.append(y)
    return torch.cat(parts, 1)


def test_every_kind_is_here():
    assert {config["kind"] for config, _ in cases()} >= set(MIXERS.kinds())


@pytest.mark.parametrize(("config", "grid"), ALL)
def test_keeps_shape_and_type_on_the_ranks_it_states(config, grid):
    mixer = build(config)
    assert len(grid) in mixer.grid_ranks
    y = mixer(torch.randn(2, *grid, CHANNELS))
    assert y.shape == (2, *grid, CHANNELS)
    assert y.dtype == torch.float32
    assert mixer.causal == (config in CAUSAL)


@pytest.mark.parametrize(("config", "grid"), ALL)
def test_gradients_reach_every_parameter_and_the_input(config, grid):
    mixer = build(config)
    x = torch.randn(2, *grid, CHANNELS, requires_grad=True)
    (mixer(x) * torch.randn(2, *grid, CHANNELS)).sum().backward()
    for name, tensor in [("x", x), *mixer.named_parameters()]:
        assert tensor.grad is not None, name
        assert tensor.grad.isfinite().all(), name
        assert tensor.grad.any(), name


@pytest.mark.parametrize(("config", "grid"), ALL)
def test_items_of_a_batch_are_independent(config, grid):
    mixer = build(config)
    x = torch.randn(3, *grid, CHANNELS)
    with torch.no_grad():
        torch.testing.assert_close(mixer(x)[1:2], mixer(x[1:2]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("config", "grid"), ALL)
def test_bfloat16_stays_finite_and_near(config, grid):
    mixer = build(config)
    x = torch.randn(2, *grid, CHANNELS)
    with torch.no_grad():
        exact, y = mixer(x), mixer.bfloat16()(x.bfloat16())
    assert y.dtype == torch.bfloat16
    assert y.isfinite().all()
    assert (y.float() - exact).square().mean() < 0.01 * exact.square().mean() + 1e-4  # eight bits, several times rounded


@pytest.mark.parametrize("config", STREAMED)
@pytest.mark.parametrize("cuts", [[1], [16], [5, 6, 21], [17, 33], range(1, LENGTH)], ids=str)
def test_forward_is_step_in_any_chunks(config, cuts):
    mixer = build(config)
    x = torch.randn(2, LENGTH, CHANNELS)
    with torch.no_grad():
        torch.testing.assert_close(stream(mixer, x, cuts), mixer(x), atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("config", STREAMED)
def test_no_output_depends_on_the_future(config):
    mixer = build(config)
    x = torch.randn(1, LENGTH, CHANNELS)
    with torch.no_grad():
        before = mixer(x)
        for t in (1, 15, 16, 30):
            changed = x.clone()
            changed[:, t:] += torch.randn(1, LENGTH - t, CHANNELS)
            after = mixer(changed)
            torch.testing.assert_close(before[:, :t], after[:, :t], atol=1e-5, rtol=0)
            assert (before[:, t:] - after[:, t:]).abs().max() > 1e-3


LONG = 300  # tokens: several chunks of a scan, windows that are left behind, groups that are full
DEFAULT = [{"kind": kind} for kind in dict.fromkeys(config["kind"] for config in CAUSAL)]  # with the options they have by default


@torch.no_grad()
@pytest.mark.parametrize("config", DEFAULT, ids=lambda config: config["kind"])
def test_the_laws_hold_for_long_signals_too(config):
    """In float64, but for the angles and norms that are float32 in any case: no kind needs a tolerance of its own."""
    mixer, x = build(config).double(), torch.randn(2, LONG, CHANNELS).double()
    whole = mixer(x)
    near = {"atol": 1e-5 * max(1, whole.abs().max().item()), "rtol": 0}
    rng = np.random.default_rng(zlib.crc32(config["kind"].encode()))
    for count in (1, 4, 16):
        state, parts = mixer.initial_state(2), []
        shapes = {name: tensor.shape for name, tensor in state.items()}
        for part in torch.tensor_split(x, sorted(rng.integers(0, LONG, count).tolist()), 1):
            y, state = mixer.step(part, state)
            parts.append(y)
            assert {name: tensor.shape for name, tensor in state.items()} == shapes
        torch.testing.assert_close(torch.cat(parts, 1), whole, **near)
    for t in (63, 64, 65, 130, 258, int(rng.integers(1, LONG))):
        changed = x.clone()
        changed[:, t:] += torch.randn(2, LONG - t, CHANNELS)
        after = mixer(changed)
        torch.testing.assert_close(after[:, :t], whole[:, :t], **near)
        assert (after[:, t:] - whole[:, t:]).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("config", STREAMED)
def test_loud_tokens_are_causal_and_stream_too(config):
    """Scores of thousands and more, in float64: a softmax of such would otherwise show how a score was rounded."""
    mixer, x = build(config).double(), 300 * torch.randn(1, LENGTH, CHANNELS).double()
    whole = mixer(x)
    near = {"atol": 1e-5 * whole.abs().max().item(), "rtol": 0}
    assert whole.isfinite().all()
    for t in (1, 15, 30):
        changed = x.clone()
        changed[:, t:] += 300 * torch.randn(1, LENGTH - t, CHANNELS)
        torch.testing.assert_close(mixer(changed)[:, :t], whole[:, :t], **near)
        torch.testing.assert_close(stream(mixer, x, [t, t + 5]), whole, **near)


@pytest.mark.parametrize("config", STREAMED)
def test_state_keeps_its_shape_and_begins_at_zero(config):
    mixer = build(config)
    state = mixer.initial_state(3)
    _, after = mixer.step(torch.randn(3, 2, CHANNELS), state)
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in after.items()}
    assert all(len(v) == 3 and not v.any() for v in state.values())


@pytest.mark.parametrize("config", STREAMED)
def test_a_block_without_tokens_changes_nothing(config):
    mixer, x = build(config), torch.randn(2, 9, CHANNELS)
    with torch.no_grad():
        assert mixer(x[:, :0]).shape == (2, 0, CHANNELS)
        _, state = mixer.step(x[:, :5], mixer.initial_state(2))
        y, same = mixer.step(x[:, :0], state)
        assert y.shape == (2, 0, CHANNELS)
        assert same.keys() == state.keys()
        assert all(same[name].equal(state[name]) for name in state)
        torch.testing.assert_close(mixer.step(x[:, 5:], same)[0], mixer(x)[:, 5:], atol=2e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("config", "grid"), WHOLE_GRIDS)
def test_a_centred_form_makes_nothing_of_no_tokens(config, grid):
    mixer = build(config)
    for axis in range(len(grid)):
        x = torch.randn(2, *grid, CHANNELS).narrow(1 + axis, 0, 0)
        assert mixer(x).shape == x.shape
    assert mixer(torch.randn(0, *grid, CHANNELS)).shape == (0, *grid, CHANNELS)


@pytest.mark.parametrize("config", [c for c, _ in cases()], ids=lambda c: " ".join(map(str, c.values())))
def test_a_grid_of_a_rank_it_does_not_state_is_an_error_that_names_those_it_does(config):
    mixer = build(config)
    for grid in GRIDS.values():
        if len(grid) not in mixer.grid_ranks:
            with pytest.raises(ConfigError, match=f"a grid of rank {mixer.grid_ranks[0]}.*, not of shape"):
                mixer(torch.randn(1, *grid, CHANNELS))
    with pytest.raises(ConfigError, match="a grid of rank"):
        mixer(torch.randn(1, CHANNELS))


@pytest.mark.parametrize("config", STREAMED)
def test_a_state_of_another_batch_is_an_error(config):
    mixer = build(config)
    if state := mixer.initial_state(2):
        with pytest.raises(ConfigError, match="is of 2 items, the tokens are of 1"):
            mixer.step(torch.randn(1, 3, CHANNELS), state)


@pytest.mark.parametrize("config", STREAMED)
def test_a_state_that_lacks_a_tensor_is_an_error_that_names_it(config):
    mixer = build(config)
    state = mixer.initial_state(1)
    for name in state:
        other = {("x" + n if n == name else n): tensor for n, tensor in state.items()}
        with pytest.raises(ConfigError, match=f"^{type(mixer).__name__}: the state has no '{name}'"):
            mixer.step(torch.randn(1, 3, CHANNELS), other)


@pytest.mark.parametrize("config", STREAMED)
def test_the_state_begins_where_the_mixer_is(config):
    mixer = build(config).to("meta")
    assert {tensor.device.type for tensor in mixer.initial_state(2).values()} <= {"meta"}


@torch.no_grad()
@pytest.mark.parametrize(("config", "grid"), ALL)
def test_tokens_that_do_not_suit_the_weights_are_an_error_in_one_line(config, grid):
    mixer, x = build(config), torch.randn(1, *grid, CHANNELS)
    state = [mixer.initial_state(1)] if mixer.causal else []
    wrong = [
        (x.long(), "takes floating-point numbers, not torch.int64"),
        (x > 0, "not torch.bool"),
        (x * 1j, "not torch.complex64"),
    ]
    if config["kind"] not in ("identity", "fourier"):
        wrong += [(x[..., :12], f"was made for {CHANNELS} channels, not for tokens of shape")]
    if any(True for _ in mixer.parameters()):
        wrong += [(x.to(dtype), f"the tokens are {dtype}, the weights torch.float32") for dtype in OTHERS]
    for tokens, told in wrong:
        for run in (mixer, lambda tokens: mixer.step(tokens, *state)) if state else (mixer,):
            with pytest.raises(ConfigError, match=told) as error:
                run(tokens)
            assert "\n" not in str(error.value)


OTHERS = (torch.float64, torch.bfloat16, torch.float16)


@torch.no_grad()
@pytest.mark.parametrize(("config", "grid"), ALL)
def test_autocast_takes_either_type_and_weights_that_are_not_there_any(config, grid):
    mixer, x = build(config), torch.randn(1, *grid, CHANNELS)
    exact = mixer(x)
    for tokens in (x, x.bfloat16()):
        with torch.autocast("cpu", torch.bfloat16):
            y = mixer(tokens)
        assert (y.float() - exact).square().mean() < 0.01 * exact.square().mean() + 1e-4
    if not any(True for _ in mixer.parameters()):
        for dtype in (torch.float64, torch.bfloat16):
            assert mixer(x.to(dtype)).dtype == dtype


@pytest.mark.parametrize("config", [*CENTRED, *SIZED], ids=lambda c: " ".join(map(str, c.values())))
def test_a_centred_form_does_not_stream_and_sees_the_future(config):
    mixer = build(config)
    with pytest.raises(ConfigError, match="not causal"):
        mixer.initial_state(1)
    with pytest.raises(ConfigError, match="not causal"):
        mixer.step(torch.randn(1, 2, CHANNELS), {})
    grid = (16,) if 1 in mixer.grid_ranks else (4, 4)
    x = torch.randn(1, *grid, CHANNELS, requires_grad=True)
    mixer(x).flatten(1, -2)[0, 2].square().sum().backward()
    assert x.grad.flatten(1, -2)[0, 3:].any()


@pytest.mark.parametrize("kind", HOMES)
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
    assert {config["kind"] for config in CAUSAL} | set(HOMES) == set(MIXERS.kinds())


FORMS = [(kind, causal, rank) for kind in MIXERS.kinds() for causal in (True, False) for rank in (1, 2, 3)]
WHY = r"(has no causal form|is causal alone|has no form of rank \d|a causal one runs along time alone): \S+( \S+){3}"
VOLUMES = {"pooling", "multi_pooling", "random", "mixer_mlp", "nin_gating", "shuffle", "fourier", "adaptive_filter"}
VOLUMES |= {"global_attention", "linear_attention", "generalised_linear", "retention", "gla", "hydra"}


@pytest.mark.parametrize(("kind", "causal", "rank"), FORMS)
def test_every_form_of_every_kind_runs_or_says_why_there_is_none(kind, causal, rank):
    grid = {1: (12,), 2: (4, 5), 3: (2, 3, 4)}[rank]
    config = {"kind": kind, "causal": causal, "rank": rank}
    config |= {"chunk": 4} if kind == "gated_attention" else {}  # else its windows are of 64 x 64
    if kind in {c["kind"] for c in SIZED} and not causal:
        config["size"] = int(np.prod(grid))
    causal_there = kind == "identity" or (rank == 1 and kind not in HOMES)
    centred_there = kind not in LINE_ALONE and kind != "identity" and (rank < 3 or kind in VOLUMES)
    if not (causal_there if causal else centred_there):
        with pytest.raises(ConfigError, match=f"^mixer '{kind}'.*{WHY}"):
            build(config, 48)
        return
    mixer = build(config, 48)  # which divides by twice the heads and each of the ranks
    assert (mixer.causal, mixer.grid_ranks) == (causal, (rank,))
    x = torch.randn(2, *grid, 48)
    y = mixer(x)
    assert y.shape == x.shape
    if causal:
        torch.testing.assert_close(mixer.step(x, mixer.initial_state(2))[0], y)


@pytest.mark.parametrize("kind", MIXERS.kinds())
def test_asking_for_a_form_is_an_option_of_every_kind(kind):
    assert {"causal", "rank"} <= set(MIXERS.options(kind))
    with pytest.raises(ConfigError, match="rank is 4, but must be a whole number from 1 to 3"):
        build({"kind": kind, "rank": 4})


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
    told = " ".join((MIXERS._class(kind).__doc__ or "").split())
    assert re.search(r"\b(19|20)\d\d, [A-Z]", told)
    assert re.search(r"\(B, (T|\*grid), C\)|\ba grid\b", told)
    assert re.search(r"[Cc]ost|no cost", told)
    assert kind in HOMES or re.search(r"[Ss]tate", told)


@pytest.mark.parametrize("config", RANKED, ids=lambda c: " ".join(map(str, c.values())))
def test_a_causal_form_of_a_plane_is_an_error(config):
    with pytest.raises(ConfigError, match="rank is 2, but a causal one runs along time alone"):
        build(config | {"rank": 2})


@pytest.mark.parametrize("config", SIZED, ids=lambda c: c["kind"])
def test_another_number_of_tokens_than_it_was_made_for_is_an_error(config):
    with pytest.raises(ConfigError, match="made for 16 tokens, not 15"):
        build(config)(torch.randn(1, 15, CHANNELS))


class Graph(torch.nn.Module):
    """The steps of several mixers side by side, with their states as positional tensors, as an exported codec has them."""

    def __init__(self, mixers, names):
        super().__init__()
        self.mixers, self.names = torch.nn.ModuleList(mixers), names

    def forward(self, x, *state):
        state = dict(zip(self.names, state, strict=True))
        outputs, after = [], {}
        for i, mixer in enumerate(self.mixers):
            y, new = mixer.step(x, inside(str(i), state))
            outputs.append(y)
            after |= scoped(str(i), new)
        return (*outputs, *(after[name] for name in self.names))


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
@pytest.mark.filterwarnings("ignore")
def test_the_exported_step_is_the_step(group, tmp_path):
    mixers = [build(config) for config in GROUPS[group]]

    def first(batch):
        return {k: v for i, m in enumerate(mixers) for k, v in scoped(str(i), m.initial_state(batch)).items()}

    names, many, length = list(first(1)), torch.export.Dim("batch"), torch.export.Dim("frames")
    graph = Graph(mixers, names).eval()
    torch.onnx.export(
        graph,
        (torch.randn(2, 6, CHANNELS), *first(2).values()),
        str(tmp_path / "step.onnx"),
        input_names=["x", *names],
        output_names=[*(f"y{i}" for i in range(len(mixers))), *(f"new.{n}" for n in names)],
        dynamic_shapes=({0: many, 1: length}, tuple({0: many} for _ in names)),
        opset_version=20,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(tmp_path / "step.onnx"), providers=["CPUExecutionProvider"])
    taken = {i.name for i in session.get_inputs()}
    state, told = first(1), {name: t.numpy() for name, t in first(1).items()}
    for tokens in (1, 16, 6, 37):
        x = torch.randn(1, tokens, CHANNELS)
        with torch.no_grad():
            expected = graph(x, *state.values())
        found = session.run(None, {k: v for k, v in ({"x": x.numpy()} | told).items() if k in taken})
        for y, z in zip(expected, found, strict=True):
            np.testing.assert_allclose(z, y.numpy(), atol=5e-5, rtol=1e-4)
        state = dict(zip(names, expected[len(mixers) :], strict=True))
        told = dict(zip(names, found[len(mixers) :], strict=True))


class Whole(torch.nn.Module):
    """A centred form as an exported graph has it."""

    def __init__(self, mixer):
        super().__init__()
        self.mixer = mixer

    def forward(self, x):
        return self.mixer(x)


QUICK = [("pooling", 1), ("pooling", 3), ("separable", 1), ("outlook", 2), ("fourier", 1), ("wavelet", 1), ("dual_token", 2)]
QUICK += [("hidden_state", 2), ("shuffle", 1), ("raft", 2)]


def quick(case):
    return (case.values[0]["kind"], len(case.values[1])) in QUICK


@pytest.mark.parametrize(
    ("config", "grid"),
    [case if quick(case) else pytest.param(*case.values, id=case.id, marks=pytest.mark.slow) for case in WHOLE_GRIDS],
)
@pytest.mark.filterwarnings("ignore")
def test_the_exported_centred_form_is_the_form(config, grid, tmp_path):
    """On grids of any size, or of one, as it declares; and if of less than any it says why."""
    mixer = build(config)
    grids, why = mixer.exports
    assert grids in ("any", "one", "none")
    assert (grids == "any") == (why == "") == (len(why.split()) < 3)
    if grids == "none":
        return
    axes = {0: torch.export.Dim("batch")}
    if grids == "any":
        axes |= {axis: torch.export.Dim(f"n{axis}") for axis in range(1, len(grid) + 1)}
    file = str(tmp_path / "form.onnx")
    torch.onnx.export(
        Whole(mixer).eval(),
        (torch.randn(2, *grid, CHANNELS),),
        file,
        input_names=["x"],
        dynamic_shapes=(axes,),
        opset_version=20,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    others = [tuple(n + by for n in grid) for by in (-2, 1, 11)] if grids == "any" else []
    for batch, size in [(1, grid), (3, grid), *((1, other) for other in others)]:
        x = torch.randn(batch, *size, CHANNELS)
        with torch.no_grad():
            y = mixer(x).numpy()
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], y, atol=5e-5 * max(1, np.abs(y).max()), rtol=1e-4)
