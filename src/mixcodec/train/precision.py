"""The numeric precision of a run: asked for, kept from before, or whichever is faster on this processor.

Half of all processors have no instructions for products of bfloat16. There they are emulated, and a step in `bf16-mixed` takes
several times as long as one in float32, in the same recipe. What a processor says it can do does not tell how fast it does it, so
`auto` is decided by time: one block of a codec, forward and backward, as training does it, in the one and the other in turn.
"""

import dataclasses
import functools
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F

from mixcodec.train.recipe import Recipe

AUTO, FLOAT, HALF = "auto", "32-true", "bf16-mixed"
WORTH = 1.05
"""bf16 is chosen where it is at least so many times as fast: float32 is the more exact."""
ROUNDS, ENOUGH_SECONDS = 5, 1.0
"""The block is timed so many times in each, or fewer where that takes longer."""
WIDTH, HEADS, TOKENS = 256, 4, (4, 200)
"""Of the block: those of the encoder of speech-16k, and a batch of four segments of four seconds."""
SHARED = "MIXCODEC_PRECISION"
"""The variable that tells the processes of one run what the first of them has decided."""


class Timing(NamedTuple):
    """Seconds that the block takes, the least of several rounds."""

    float32: float
    bf16: float

    @property
    def gain(self) -> float:
        """How many times as fast bf16 is."""
        return self.float32 / self.bf16


@dataclasses.dataclass(frozen=True)
class Precision:
    """What a run computes in, and one line that says why."""

    name: str
    """Lightning Fabric's."""
    why: str
    slow: bool = False
    """Whether this processor would be faster in float32."""


Timer = Callable[[str, int], Timing]


def decide(recipe: Recipe, kept: str | None = None, timer: Timer | None = None) -> Precision:
    """The precision of a run of `recipe`; `kept` is that of the checkpoint that it goes on from.

    What the recipe names is done; `auto` keeps what the run has computed in before, and in a new one takes what is faster. In the
    further processes of a run that is shared, it is what the first one has found.

    Args:
        recipe: its accelerator and threads say where, its precision what.
        kept: Fabric's name, or None in a new run.
        timer: gives the times for a type of device and a number of threads; by default they are measured.
    """
    if recipe.precision == AUTO and int(os.environ.get("LOCAL_RANK", 0)) and (told := os.environ.get(SHARED)):
        return Precision(told, f"precision {told}: as in the first process")
    name = kept if recipe.precision == AUTO and kept else recipe.precision
    because = "as asked for" if recipe.precision != AUTO else "as the run began"
    slow = False
    if name == AUTO or name.startswith("bf16"):
        timing = (timer or measured)(device_type(recipe.accelerator), recipe.threads)
        times = f"a block takes {_ms(timing.float32)} in float32 and {_ms(timing.bf16)} in bf16 here"
        if name == AUTO:
            name, because = HALF if timing.gain >= WORTH else FLOAT, times
        elif slow := timing.gain * WORTH <= 1:
            because += f", but {times}: precision={FLOAT} would make a step about {1 / timing.gain:.1f} times as fast"
    if recipe.devices > 1:
        os.environ[SHARED] = name
    return Precision(name, f"precision {name}: {because}", slow)


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.{0 if seconds > 0.01 else 1}f} ms"


def settled(recipe: Recipe, timer: Timer | None = None) -> Recipe:
    """The recipe with what `auto` means here, for runs that are to be compared."""
    return dataclasses.replace(recipe, precision=decide(recipe, timer=timer).name)


def device_type(accelerator: str) -> str:
    """The device that Fabric takes for an accelerator: cuda, mps or cpu."""
    if accelerator in ("cuda", "gpu", "auto") and torch.cuda.is_available():
        return "cuda"
    if accelerator in ("mps", "gpu", "auto") and torch.backends.mps.is_available():
        return "mps"
    return "cpu"


@functools.cache
def measured(device: str, threads: int) -> Timing:
    """The times on this machine, measured once in a process; where there is no bfloat16 at all, it is given as far too slow."""
    before, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(threads)
    try:
        times: dict[bool, list[float]] = {False: [], True: []}
        with torch.enable_grad():
            run = _block(device)
            begun = time.perf_counter()
            for number in range(1 + ROUNDS):
                for half in times:
                    start = time.perf_counter()
                    run(half)
                    if number:  # the first one only warms up
                        times[half].append(time.perf_counter() - start)
                if number and time.perf_counter() - begun > ENOUGH_SECONDS:
                    break
        return Timing(min(times[False]), min(times[True]))
    except (RuntimeError, NotImplementedError):  # no bfloat16 there at all
        return Timing(0.001, 1.0)
    finally:
        torch.set_rng_state(state)
        torch.set_num_threads(before)


def _block(device: str) -> Callable[[bool], None]:
    """A function that trains one block once, in bf16 or not: convolution, attention, perceptron, and their gradients."""
    layers = torch.nn.ModuleDict(
        {
            "convolution": torch.nn.Conv1d(WIDTH, WIDTH, 7, groups=WIDTH),
            "into": torch.nn.Linear(WIDTH, 3 * WIDTH),
            "out": torch.nn.Linear(WIDTH, WIDTH),
            "up": torch.nn.Linear(WIDTH, 3 * WIDTH),
            "down": torch.nn.Linear(3 * WIDTH, WIDTH),
        }
    ).to(device)
    x = torch.randn(*TOKENS, WIDTH, device=device)

    def run(half: bool) -> None:
        with torch.autocast(device, torch.bfloat16, enabled=half):
            y = x + layers["convolution"](F.pad(x.mT, (6, 0))).mT
            q, k, v = layers["into"](F.layer_norm(y, (WIDTH,))).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            y = y + layers["out"](F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
            y = y + layers["down"](F.gelu(layers["up"](F.layer_norm(y, (WIDTH,)))))
        layers.zero_grad()
        y.float().square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()

    return run
