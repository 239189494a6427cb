"""The laws of token mixers. Each is a function of a `Case`, a kind on a grid, and raises LawError where it is broken."""

import dataclasses
import math
import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.mixers.base import FORM, HIGHEST, MADE, MIXERS, Mixer
from mixcodec.nn.state import State, inside, scoped
from mixcodec.testing.law import export_graph, hold, hold_all, label, near, refused

GRIDS = {1: (37,), 2: (7, 9), 3: (3, 4, 5)}
"""Of each rank, a grid that no power of two divides."""
LONG = 300
"""Tokens: several chunks of a scan, windows that are left behind, groups that are full."""
CUTS: tuple[tuple[int, ...], ...] = ((1,), (16,), (5, 6, 21), (17, 33), tuple(range(1, 37)))
DTYPES = (torch.float64, torch.bfloat16, torch.float16)
WHY = r"(has no causal form|is causal alone|has no form of rank \d|a causal one runs along time alone): \S+( \S+){3}"
"""How a form that is not there is refused: why, in at least four words."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A mixer of some options on one grid."""

    config: Mapping[str, Any]
    grid: tuple[int, ...] = GRIDS[1]
    channels: int = 16

    def build(self) -> Mixer:
        """A fresh one, the same each time, in evaluation mode."""
        torch.manual_seed(1)
        mixer: Mixer = MIXERS.build(self.config, channels=self.channels).eval()
        return mixer

    def tokens(self, batch: int = 2) -> torch.Tensor:
        """(batch, *grid, C), normal."""
        return torch.randn(batch, *self.grid, self.channels)

    @property
    def length(self) -> int:
        """Tokens of a line."""
        return self.grid[0]


Law = Callable[[Case], None]


def check_mixer(
    config: Mapping[str, Any] | str,
    *,
    channels: int = 16,
    grids: Iterable[tuple[int, ...]] | None = None,
    exported: bool = True,
) -> None:
    """Holds a registered mixer to all laws of the family.

    Args:
        config: its kind and options, as in a recipe. Take small windows, groups and the like: a grid has 37 tokens.
        channels: of the tokens; they must suit its heads.
        grids: what to try it on; by default one grid of each rank that it states.
        exported: also export it and compare the graph, which takes some seconds.

    Raises:
        LawError: it breaks laws; the message lists all of them, and what was found.
        ConfigError: there is no such kind, or it has no such option.
    """
    config = {"kind": config} if isinstance(config, str) else dict(config)
    mixer = Case(config, channels=channels).build()
    laws: list[tuple[str, Callable[[], object]]] = []
    for grid in grids or [GRIDS[rank] for rank in mixer.grid_ranks]:
        made = {"size": math.prod(grid)} if not mixer.causal and "size" in config and mixer.exports == MADE else {}
        case = Case({**config, **made}, grid, channels)
        streams = mixer.causal and len(grid) == 1
        own = [*LAWS, *(() if mixer.causal else CENTRED_LAWS), *(CAUSAL_LAWS if streams else ())]
        if exported and (streams or not mixer.causal):
            own.append(exported_step_is_step if streams else exported_form_is_form)
        laws += [(f"{law.__name__} (grid {'x'.join(map(str, case.grid))})", partial(law, case)) for law in own]
        if streams:
            laws += [(f"forward_is_step, cut at {cuts}", partial(forward_is_step, case, cuts)) for cuts in CUTS]
    kind = str(config["kind"])
    laws.append(("form_is_an_option", partial(form_is_an_option, kind, channels)))
    laws.append(("docstring_says_what_it_is", partial(docstring_says_what_it_is, kind, mixer.causal)))
    for causal, rank in forms():
        law = partial(form_runs_or_says_why, config, causal, rank, 3 * channels)
        laws.append((f"form_runs_or_says_why, causal={causal}, rank={rank}", law))
    hold_all(f"mixer {label(config)}", laws)


# ---- of every form


def keeps_shape_and_type(case: Case) -> None:
    """(B, *grid, C) -> the same, on the ranks that it states."""
    mixer, x = case.build(), case.tokens()
    hold(len(case.grid) in mixer.grid_ranks, f"it states ranks {mixer.grid_ranks}, and is tried on a grid of {len(case.grid)}")
    y = mixer(x)
    hold(y.shape == x.shape, f"it makes {tuple(y.shape)} of {tuple(x.shape)}")
    hold(y.dtype == torch.float32, f"it makes {y.dtype} of float32")


def gradients_reach_everything(case: Case) -> None:
    """Each parameter, and the tokens."""
    mixer, x = case.build(), case.tokens().requires_grad_()
    (mixer(x) * case.tokens()).sum().backward()
    for name, tensor in [("x", x), *mixer.named_parameters()]:
        hold(tensor.grad is not None, f"{name} has no gradient")
        assert tensor.grad is not None
        hold(tensor.grad.isfinite().all(), f"the gradient of {name} is not finite")
        hold(tensor.grad.any(), f"the gradient of {name} is zero")


def items_of_a_batch_are_independent(case: Case) -> None:
    """What an item becomes does not hang on the others."""
    mixer, x = case.build(), case.tokens(3)
    with torch.no_grad():
        near(mixer(x)[1:2], mixer(x[1:2]), 1e-5, 1e-5, "an item alone")


def bfloat16_stays_finite_and_near(case: Case) -> None:
    """As it has eight bits, and is several times rounded."""
    mixer, x = case.build(), case.tokens()
    with torch.no_grad():
        exact, y = mixer(x), mixer.bfloat16()(x.bfloat16())
    hold(y.dtype == torch.bfloat16, f"it makes {y.dtype} of bfloat16")
    hold(y.isfinite().all(), "it is not finite in bfloat16")
    hold(_error(y, exact) < 0.01, f"in bfloat16 it is {_error(y, exact):.3g} of the power away")


def autocast_takes_either_type(case: Case) -> None:
    """Mixed precision; and tokens of any type where there are no weights."""
    mixer, x = case.build(), case.tokens(1)
    with torch.no_grad():
        exact = mixer(x)
        for tokens in (x, x.bfloat16()):
            with torch.autocast("cpu", torch.bfloat16):
                y = mixer(tokens)
            hold(_error(y, exact) < 0.01, f"under autocast it is {_error(y, exact):.3g} of the power away")
        if not any(True for _ in mixer.parameters()):
            for dtype in DTYPES[:2]:
                hold(mixer(x.to(dtype)).dtype == dtype, f"it has no weights, and does not keep {dtype}")


def _error(y: torch.Tensor, exact: torch.Tensor) -> float:
    return float(((y.float() - exact).square().mean() - 1e-4) / exact.square().mean())


def other_ranks_are_an_error(case: Case) -> None:
    """Which names those that it has."""
    mixer = case.build()
    for grid in GRIDS.values():
        if len(grid) not in mixer.grid_ranks:
            told = f"a grid of rank {mixer.grid_ranks[0]}.*, not of shape"
            refused(partial(mixer, torch.randn(1, *grid, case.channels)), told, f"a grid of rank {len(grid)}")
    refused(partial(mixer, torch.randn(1, case.channels)), "a grid of rank", "tokens without a grid")


@torch.no_grad()
def unsuited_tokens_are_an_error(case: Case) -> None:
    """Integers, complex numbers, another type than the weights, other channels: in one line."""
    mixer, x = case.build(), case.tokens(1)
    wrong = [
        (x.long(), "takes floating-point numbers, not torch.int64"),
        (x > 0, "not torch.bool"),
        (x * 1j, "not torch.complex64"),
    ]
    if mixer.width is not None:
        wrong += [(x[..., :12], f"was made for {case.channels} channels, not for tokens of shape")]
    if any(True for _ in mixer.parameters()):
        wrong += [(x.to(dtype), f"the tokens are {dtype}, the weights torch.float32") for dtype in DTYPES]
    for tokens, told in wrong:
        refused(partial(mixer, tokens), told, f"tokens of {tokens.dtype} {tuple(tokens.shape)}")
        if mixer.causal:
            refused(partial(mixer.step, tokens, mixer.initial_state(1)), told, f"a step with tokens of {tokens.dtype}")


# ---- of a causal form


def stream(mixer: Mixer, x: torch.Tensor, cuts: Iterable[int]) -> torch.Tensor:
    """What its steps make of x (B, T, C), cut at these places."""
    state, parts = mixer.initial_state(len(x)), []
    for part in torch.tensor_split(x, sorted(cuts), dim=1):
        if part.shape[1]:
            y, state = mixer.step(part, state)
            parts.append(y)
    return torch.cat(parts, 1)


def forward_is_step(case: Case, cuts: Iterable[int]) -> None:
    """In chunks of any length."""
    mixer, x = case.build(), case.tokens()
    with torch.no_grad():
        near(stream(mixer, x, cuts), mixer(x), 2e-5, 1e-5, "the stream")


@torch.no_grad()
def nothing_from_the_future(case: Case) -> None:
    """What comes later changes what is later, and nothing before."""
    mixer, x = case.build(), case.tokens(1)
    before = mixer(x)
    for t in (1, 15, 16, 30):
        changed = x.clone()
        changed[:, t:] += torch.randn(1, case.length - t, case.channels)
        after = mixer(changed)
        near(after[:, :t], before[:, :t], 1e-5, what=f"before token {t}, where the change is, the result")
        hold((before[:, t:] - after[:, t:]).abs().max() > 1e-3, f"a change at token {t} changes nothing from there on")


@torch.no_grad()
def long_signals_too(case: Case) -> None:
    """In float64, but for the angles and norms that are float32 in any case: no kind needs a tolerance of its own."""
    mixer, x = case.build().double(), torch.randn(2, LONG, case.channels).double()
    whole = mixer(x)
    allowed = 1e-5 * max(1, whole.abs().max().item())
    rng = np.random.default_rng(zlib.crc32(str(case.config["kind"]).encode()))
    for count in (1, 4, 16):
        state, parts = mixer.initial_state(2), []
        shapes = {name: tensor.shape for name, tensor in state.items()}
        for part in torch.tensor_split(x, sorted(rng.integers(0, LONG, count).tolist()), 1):
            y, state = mixer.step(part, state)
            parts.append(y)
            hold({name: tensor.shape for name, tensor in state.items()} == shapes, "the state changes its shape")
        near(torch.cat(parts, 1), whole, allowed, what=f"the stream of {LONG} tokens in {count + 1} chunks")
    for t in (63, 64, 65, 130, 258, int(rng.integers(1, LONG))):
        changed = x.clone()
        changed[:, t:] += torch.randn(2, LONG - t, case.channels)
        after = mixer(changed)
        near(after[:, :t], whole[:, :t], allowed, what=f"before token {t}, where the change is, the result")
        hold((after[:, t:] - whole[:, t:]).abs().max() > 1e-3, f"a change at token {t} changes nothing from there on")


@torch.no_grad()
def loud_tokens_too(case: Case) -> None:
    """Scores of thousands and more, in float64: a softmax of such would otherwise show how a score was rounded."""
    mixer, x = case.build().double(), 300 * case.tokens(1).double()
    whole = mixer(x)
    allowed = 1e-5 * whole.abs().max().item()
    hold(whole.isfinite().all(), "of loud tokens it makes numbers that are not finite")
    for t in (1, 15, 30):
        changed = x.clone()
        changed[:, t:] += 300 * torch.randn(1, case.length - t, case.channels)
        near(mixer(changed)[:, :t], whole[:, :t], allowed, what=f"of loud tokens, before token {t}, the result")
        near(stream(mixer, x, [t, t + 5]), whole, allowed, what="the stream of loud tokens")


def state_keeps_its_shape_and_begins_at_zero(case: Case) -> None:
    """A flat dict of named tensors, batch first."""
    mixer = case.build()
    state = mixer.initial_state(3)
    _, after = mixer.step(torch.randn(3, 2, case.channels), state)
    hold({k: v.shape for k, v in state.items()} == {k: v.shape for k, v in after.items()}, "the state changes its shape")
    for name, tensor in state.items():
        hold(len(tensor) == 3, f"the state {name!r} has not the batch first")
        hold(not tensor.any(), f"the state {name!r} does not begin at zero")


@torch.no_grad()
def no_tokens_change_nothing(case: Case) -> None:
    """A block without tokens leaves the state as it is."""
    mixer, x = case.build(), torch.randn(2, 9, case.channels)
    hold(mixer(x[:, :0]).shape == (2, 0, case.channels), "of no tokens it makes some")
    _, state = mixer.step(x[:, :5], mixer.initial_state(2))
    y, same = mixer.step(x[:, :0], state)
    hold(y.shape == (2, 0, case.channels), "of no tokens a step makes some")
    hold(same.keys() == state.keys() and all(same[name].equal(state[name]) for name in state), "no tokens change the state")
    near(mixer.step(x[:, 5:], same)[0], mixer(x)[:, 5:], 2e-5, 1e-5, "what follows a block without tokens")


def foreign_states_are_an_error(case: Case) -> None:
    """One of another batch, and one that lacks a tensor, which is named."""
    mixer, x = case.build(), torch.randn(1, 3, case.channels)
    if mixer.initial_state(2):
        told = "is of 2 items, the tokens are of 1"
        refused(partial(mixer.step, x, mixer.initial_state(2)), told, "a state of another batch")
    state = mixer.initial_state(1)
    for name in state:
        other = {("x" + n if n == name else n): tensor for n, tensor in state.items()}
        told = f"^{type(mixer).__name__}: the state has no '{name}'"
        refused(partial(mixer.step, x, other), told, f"a state without {name!r}")


def state_begins_where_the_mixer_is(case: Case) -> None:
    """On the device of its weights."""
    mixer = case.build().to("meta")
    for name, tensor in mixer.initial_state(2).items():
        hold(tensor.device.type == "meta", f"the state {name!r} begins on {tensor.device}, the weights are on meta")


class StepGraph(torch.nn.Module):
    """The steps of several mixers side by side, with their states as positional tensors, as an exported codec has them."""

    def __init__(self, mixers: Sequence[Mixer], names: Sequence[str]) -> None:
        super().__init__()
        self.mixers, self.names = torch.nn.ModuleList(mixers), names

    def forward(self, x: torch.Tensor, *state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        named = dict(zip(self.names, state, strict=True))
        outputs: list[torch.Tensor] = []
        after: State = {}
        for i, mixer in enumerate(self.mixers):
            y, new = mixer.step(x, inside(str(i), named))  # type: ignore[operator]
            outputs.append(y)
            after |= scoped(str(i), new)
        return (*outputs, *(after[name] for name in self.names))


def exported_step_is_step(case: Case) -> None:
    """The graph of its step, for blocks of any length, carries on as its step does."""
    exported_steps_are_steps([case.build()], case.channels)


def exported_steps_are_steps(mixers: Sequence[Mixer], channels: int) -> None:
    """The same of several mixers in one graph."""

    def first(batch: int) -> State:
        return {k: v for i, m in enumerate(mixers) for k, v in scoped(str(i), m.initial_state(batch)).items()}

    names, many, length = list(first(1)), torch.export.Dim("batch"), torch.export.Dim("frames")
    graph = StepGraph(mixers, names).eval()
    with tempfile.TemporaryDirectory() as folder:
        session = export_graph(
            graph,
            (torch.randn(2, 6, channels), *first(2).values()),
            Path(folder) / "step.onnx",
            input_names=["x", *names],
            output_names=[*(f"y{i}" for i in range(len(mixers))), *(f"new.{n}" for n in names)],
            dynamic_shapes=({0: many, 1: length}, tuple({0: many} for _ in names)),
        )
    taken = {i.name for i in session.get_inputs()}
    state, told = first(1), {name: t.numpy() for name, t in first(1).items()}
    for tokens in (1, 16, 6, 37):
        x = torch.randn(1, tokens, channels)
        with torch.no_grad():
            expected = graph(x, *state.values())
        found = session.run(None, {k: v for k, v in ({"x": x.numpy()} | told).items() if k in taken})
        for y, z in zip(expected, found, strict=True):
            near(torch.from_numpy(z), y, 5e-5, 1e-4, f"the exported step of {tokens} tokens")
        state = dict(zip(names, expected[len(mixers) :], strict=True))
        told = dict(zip(names, found[len(mixers) :], strict=True))


# ---- of a centred form


@torch.no_grad()
def nothing_of_no_tokens(case: Case) -> None:
    """An empty grid, and an empty batch."""
    mixer = case.build()
    for axis in range(len(case.grid)):
        x = case.tokens().narrow(1 + axis, 0, 0)
        hold(mixer(x).shape == x.shape, "of no tokens it makes some")
    hold(mixer(case.tokens(0)).shape == (0, *case.grid, case.channels), "of no items it makes some")


def centred_does_not_stream_and_sees_ahead(case: Case) -> None:
    """It has no state and no step, and what comes later counts."""
    mixer = case.build()
    refused(lambda: mixer.initial_state(1), "not causal", "a state of a centred form")
    refused(lambda: mixer.step(torch.randn(1, 2, case.channels), {}), "not causal", "a step of a centred form")
    x = case.tokens(1).requires_grad_()
    mixer(x).flatten(1, -2)[0, 2].square().sum().backward()
    assert x.grad is not None
    hold(x.grad.flatten(1, -2)[0, 3:].any(), "it sees nothing that comes later, so it is causal")


class Whole(torch.nn.Module):
    """A centred form as an exported graph has it."""

    def __init__(self, mixer: Mixer) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.mixer(x)
        return y


def exported_form_is_form(case: Case) -> None:
    """On grids of any size, or of one, as it declares; and if of less than any it says why."""
    mixer, grid = case.build(), case.grid
    grids, why = mixer.exports
    hold(grids in ("any", "one", "none"), f"exports is {grids!r}, not any, one or none")
    hold((grids == "any") == (why == "") == (len(why.split()) < 3), f"exports is {grids!r}, and why it is says {why!r}")
    if grids == "none":
        return
    axes: dict[int, Any] = {0: torch.export.Dim("batch")}
    if grids == "any":
        axes |= {axis: torch.export.Dim(f"n{axis}") for axis in range(1, len(grid) + 1)}
    with tempfile.TemporaryDirectory() as folder:
        session = export_graph(
            Whole(mixer).eval(), (case.tokens(),), Path(folder) / "form.onnx", input_names=["x"], dynamic_shapes=(axes,)
        )
    others = [tuple(n + by for n in grid) for by in (-2, 1, 11)] if grids == "any" else []
    for batch, size in [(1, grid), (3, grid), *((1, other) for other in others)]:
        x = torch.randn(batch, *size, case.channels)
        with torch.no_grad():
            y = mixer(x)
        found = torch.from_numpy(session.run(None, {"x": x.numpy()})[0])
        near(found, y, 5e-5 * max(1.0, float(y.abs().max())), 1e-4, f"the exported form on a grid of {size}")


# ---- of a kind


def forms() -> Iterator[tuple[bool, int]]:
    """Causal or not, and the rank."""
    return ((causal, rank) for causal in (True, False) for rank in range(1, HIGHEST + 1))


SMALL_GRIDS = {1: (12,), 2: (4, 5), 3: (2, 3, 4)}


def form_runs_or_says_why(config: Mapping[str, Any], causal: bool, rank: int, channels: int) -> bool:
    """Every kind can be asked for any form: it runs, or an error says why there is none. Gives whether it is there.

    `channels` should divide by much: by twice the heads, and by each rank. Where the options don't suit the form, it is asked for
    with those that the kind has by default.
    """
    grid = SMALL_GRIDS[rank]
    form = {"causal": causal, "rank": rank}
    asked = {**config, **form}
    try:
        MIXERS.build(asked, channels=channels)
    except ConfigError as error:
        asked = asked if re.search(WHY, str(error)) else {"kind": config["kind"], **form}
    try:
        mixer = MIXERS.build(asked, channels=channels).eval()
        if not causal and "size" in asked and mixer.exports == MADE:  # its weights are made for a number of tokens
            mixer = MIXERS.build(asked | {"size": math.prod(grid)}, channels=channels).eval()
    except ConfigError as error:
        told = str(error)
        hold(re.search(f"^mixer '{config['kind']}'.*{WHY}", told), f"{asked} is refused without saying why: {told!r}")
        for other in re.findall(r"; take '(\w+)'", told):
            hold(other in MIXERS.kinds(), f"{told!r} names a mixer that is not there")
        return False
    hold((mixer.causal, mixer.grid_ranks) == (causal, (rank,)), f"{asked} has causal={mixer.causal}, {mixer.grid_ranks}")
    x = torch.randn(2, *grid, channels)
    y = mixer(x)
    hold(y.shape == x.shape, f"{asked} makes {tuple(y.shape)} of {tuple(x.shape)}")
    if causal:
        near(mixer.step(x, mixer.initial_state(2))[0], y, 2e-5, 1e-5, "its step")
    return True


def form_is_an_option(kind: str, channels: int) -> None:
    """`causal` and `rank` can be asked for, and a rank that there is not is named."""
    hold(set(FORM) <= set(MIXERS.options(kind)), f"it can't be asked for {FORM}")
    told = f"rank is {HIGHEST + 1}, but must be a whole number from 1 to {HIGHEST}"
    refused(lambda: MIXERS.build({"kind": kind, "rank": HIGHEST + 1}, channels=channels), told, f"rank {HIGHEST + 1}")


def docstring_says_what_it_is(kind: str, causal: bool) -> None:
    """Its source (author, year, title), the shape that it takes, its cost, and of a causal one its state."""
    told = " ".join((MIXERS._class(kind).__doc__ or "").split())
    hold(re.search(r"\b(19|20)\d\d, [A-Z]", told), "its docstring names no source, as (author, year, Title)")
    hold(re.search(r"\(B, (T|\*grid), C\)|\ba grid\b", told), "its docstring does not say which shape it takes, as (B, T, C)")
    hold(re.search(r"[Cc]ost|no cost", told), "its docstring does not say what it costs")
    hold(not causal or re.search(r"[Ss]tate", told), "its docstring does not say what its state is")


LAWS: tuple[Law, ...] = (
    keeps_shape_and_type,
    gradients_reach_everything,
    items_of_a_batch_are_independent,
    bfloat16_stays_finite_and_near,
    autocast_takes_either_type,
    other_ranks_are_an_error,
    unsuited_tokens_are_an_error,
)
CAUSAL_LAWS: tuple[Law, ...] = (
    nothing_from_the_future,
    long_signals_too,
    loud_tokens_too,
    state_keeps_its_shape_and_begins_at_zero,
    no_tokens_change_nothing,
    foreign_states_are_an_error,
    state_begins_where_the_mixer_is,
)
CENTRED_LAWS: tuple[Law, ...] = (nothing_of_no_tokens, centred_does_not_stream_and_sees_ahead)
