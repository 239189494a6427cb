"""The laws of quantizers. Each is a function of a `Case`, a kind with its options, and raises LawError where it is broken."""

import dataclasses
import itertools
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from mixcodec.nn import processes
from mixcodec.nn.quantizers import QUANTIZERS, Quantizer
from mixcodec.testing.law import export_graph, hold, hold_all, label, near

DTYPES = (torch.bfloat16, torch.float16, torch.float64)


@dataclasses.dataclass(frozen=True)
class Case:
    """A quantizer of some options."""

    config: Mapping[str, Any]
    channels: int = 12

    def build(self, started: bool = True) -> Quantizer:
        """A fresh one, the same each time; fitted to `features`, or as it is made."""
        torch.manual_seed(0)
        quantizer: Quantizer = QUANTIZERS.build(self.config, channels=self.channels)
        if started:
            with torch.no_grad():
                quantizer.start(self.features(1500))
        return quantizer

    def features(self, count: int) -> torch.Tensor:
        """Vectors (count, C) in clusters, off zero, of unlike variances."""
        world = torch.Generator().manual_seed(5)
        centres = 3 * torch.randn(12, self.channels, generator=world)
        mix = torch.randn(self.channels, self.channels, generator=world)
        return 0.1 * (centres[torch.randint(12, (count,))] + torch.randn(count, self.channels)) @ mix + 0.1

    def frames(self, batch: int, length: int) -> torch.Tensor:
        """Features (B, T, C)."""
        return self.features(batch * length).view(batch, length, self.channels)


Law = Callable[[Case], None]


def check_quantizer(config: Mapping[str, Any] | str, *, channels: int = 12, exported: bool = True, weights: bool = True) -> None:
    """Holds a registered quantizer to all laws of the family.

    Args:
        config: its kind and options, as in a recipe. Take few entries (some dozens) and few dimensions.
        channels: of the vectors.
        exported: also export it and compare the graph, which takes some seconds.
        weights: whether it has weights to learn.

    Raises:
        LawError: it breaks laws; the message lists all of them, and what was found.
        ConfigError: there is no such kind, or it has no such option.
    """
    config = {"kind": config} if isinstance(config, str) else dict(config)
    case = Case(config, channels)
    several = case.build(started=False).codebooks > 1
    own = [*LAWS, *(SEVERAL_LAWS if several else ()), *(LEARNING_LAWS if weights else ())]
    if exported:
        own.append(exported_graph_finds_the_same)
    laws: list[tuple[str, Callable[[], object]]] = [(law.__name__, partial(law, case)) for law in own]
    laws += [(f"codes_and_vectors_agree, started={s}", partial(codes_and_vectors_agree, case, s)) for s in (False, True)]
    laws += [(f"another_precision_changes_no_code, {d}", partial(another_precision_changes_no_code, case, d)) for d in DTYPES]
    hold_all(f"quantizer {label(config)}", laws)


def same(found: torch.Tensor, wanted: torch.Tensor, what: str) -> None:
    """Raises LawError where two tensors differ at all."""
    hold(found.shape == wanted.shape and torch.equal(found, wanted), f"{what} differ")


def codes_and_vectors_agree(case: Case, started: bool = True) -> None:
    """What `forward` gives is what the two ways give, of the promised shapes and ranges."""
    quantizer = case.build(started).eval()
    z = case.frames(2, 9)
    codes, vectors, loss, usage = quantizer(z)
    hold(codes.shape == (2, 9, quantizer.codebooks), f"codes are of shape {tuple(codes.shape)}, not (B, T, codebooks)")
    hold(codes.dtype == torch.int64, f"codes are {codes.dtype}, not int64")
    hold(codes.min() >= 0 and codes.max() < quantizer.size, f"codes are not from 0 to below {quantizer.size}")
    same(codes, quantizer.vectors_to_codes(z), "the codes of forward and of vectors_to_codes")
    near(vectors, quantizer.codes_to_vectors(codes), 1e-4, 1e-4, "a vector of forward, from that of codes_to_vectors,")
    hold(loss.shape == () and loss.isfinite(), "the loss is no finite scalar")
    hold(usage.shape == (quantizer.codebooks,), f"usage is of shape {tuple(usage.shape)}, not (codebooks,)")
    hold(((usage > 0) & (usage <= 1)).all(), "usage is no share above 0")


def frame_is_encoded_alone_as_among_others(case: Case) -> None:
    """No code depends on the frames, or the items, beside it."""
    quantizer = case.build().eval()
    z = case.frames(2, 20)
    codes, stride = quantizer.vectors_to_codes(z), quantizer.stride
    same(codes[1, stride : 2 * stride], quantizer.vectors_to_codes(z[1:, stride : 2 * stride])[0], "a frame's codes alone")
    same(codes[0], quantizer.vectors_to_codes(z[0]), "an item's codes without a batch")


def frames_share_a_code_as_stated(case: Case) -> None:
    """As often as `strides` says."""
    quantizer = case.build().eval()
    codes = quantizer.vectors_to_codes(case.frames(2, 300))
    hold(len(quantizer.strides) == quantizer.codebooks, "strides has not a number for each codebook")
    for k, stride in enumerate(quantizer.strides):
        starts = torch.arange(300) // stride * stride
        same(codes[..., k], codes[:, starts, k], f"within a group of {stride} frames, codes of codebook {k}")
        hold((codes[:, stride:, k] != codes[:, :-stride, k]).any(), f"the codes of codebook {k} never change")


def mixed_precision_changes_no_code(case: Case) -> None:
    """Codes, vectors and gradients under autocast."""
    quantizer = case.build()
    z = case.frames(4, 100).requires_grad_()
    with torch.no_grad():
        codes = quantizer.vectors_to_codes(z)
    with torch.autocast("cpu", torch.bfloat16):
        quantized = quantizer(z)
        same(quantized.codes, codes, "codes under autocast")
        hold(quantized.vectors.dtype == torch.float32, f"vectors under autocast are {quantized.vectors.dtype}")
        (quantized.vectors.square().mean() + quantized.loss).backward()
    hold(all(p.grad is None or p.grad.isfinite().all() for p in quantizer.parameters()), "a gradient is not finite")
    quantizer = case.build().eval()
    with torch.no_grad():
        codes = quantizer.vectors_to_codes(z)
        vectors = quantizer.codes_to_vectors(codes)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        same(quantizer.vectors_to_codes(z), codes, "codes under autocast")
        near(quantizer.codes_to_vectors(codes), vectors, 1e-5, 1.3e-6, "a vector under autocast")
        hold(quantizer(z.bfloat16()).vectors.isfinite().all(), "of bfloat16 it makes numbers that are not finite")


def another_precision_changes_no_code(case: Case, dtype: torch.dtype = torch.bfloat16) -> None:
    """In a model of another type the quantizer stays float32."""
    quantizer = case.build().eval()
    z = case.frames(2, 30).to(dtype)
    codes, vectors, _, usage = quantizer(z.float())
    model = torch.nn.Sequential(quantizer).to(dtype)
    again = model(z)
    same(again.codes, codes, f"codes in a model of {dtype}")
    same(quantizer.vectors_to_codes(z), codes, f"codes in a model of {dtype}")
    near(again.vectors, vectors, 1e-5, 1.3e-6, f"a vector in a model of {dtype}")
    same(again.usage, usage, f"usage in a model of {dtype}")
    hold(all(weight.is_meta for weight in model.to("meta").state_dict().values()), "not all that it holds moves with a model")


def first_codebooks_are_a_lower_rate(case: Case) -> None:
    """Of k codebooks alone come the codes and vectors that k active ones give; of none come zeros."""
    quantizer = case.build().eval()
    books = quantizer.codebooks
    z = case.frames(books + 1, 9)
    codes = quantizer.vectors_to_codes(z)
    quantized = quantizer(z, torch.arange(books + 1))
    hold(not quantized.vectors[0].any(), "without codebooks its vectors are not zero")
    for k in range(1, books + 1):
        same(quantized.codes[k, :, :k], codes[k, :, :k], f"the first {k} codes of {k} active codebooks")
        near(quantized.vectors[k], quantizer.codes_to_vectors(codes[k, :, :k]), 1e-4, 1e-4, f"a vector of {k} codebooks")


def another_codebook_does_not_raise_the_error(case: Case) -> None:
    """On what the codebooks were fitted to; all together they halve it, and leave less than half of the variance."""
    torch.manual_seed(0)
    quantizer: Quantizer = QUANTIZERS.build(case.config, channels=case.channels)
    z = case.features(3000)
    with torch.no_grad():
        quantizer.start(z)
        codes = quantizer.vectors_to_codes(z)
        books = range(1, quantizer.codebooks + 1)
        errors = [float((quantizer.codes_to_vectors(codes[..., :k]) - z).square().mean()) for k in books]
    variance = float((z - z.mean(0)).square().mean())
    for k, (before, after) in enumerate(itertools.pairwise(errors), 2):
        hold(after < before + 1e-3 * variance, f"codebook {k} raises the error from {before:.3g} to {after:.3g}")
    hold(errors[-1] < 0.6 * errors[0], f"all codebooks leave {errors[-1] / errors[0]:.2f} of the error of one, not below 0.6")
    hold(errors[-1] < 0.5 * variance, f"all codebooks leave {errors[-1] / variance:.2f} of the variance, not below 0.5")


def gradients_reach_everything(case: Case) -> None:
    """Each parameter, and the vectors that are quantized."""
    quantizer = case.build(started=False)
    z = case.frames(10, 200).requires_grad_()
    quantized = quantizer(z)
    ((quantized.vectors - 2 * z.detach()).square().mean() + quantized.loss).backward()
    hold(z.grad is not None and z.grad.any(), "no gradient reaches what is quantized")
    for name, weight in quantizer.named_parameters():
        hold(weight.grad is not None, f"{name} has no gradient")
        assert weight.grad is not None
        hold(weight.grad.any(), f"the gradient of {name} is zero")


def learns(case: Case) -> None:
    """A hundred steps of Adam bring the error below three quarters of the power."""
    quantizer = case.build(started=False)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.02)
    z = case.frames(6, 100)
    error = torch.inf
    for _ in range(100):
        quantized = quantizer(z)
        loss = (quantized.vectors - z).square().mean()
        optimizer.zero_grad()
        (loss + quantized.loss).backward()
        optimizer.step()
        error = loss.item()
    power = float(z.square().mean())
    hold(error < 0.75 * power, f"after 100 steps the error is {error / power:.2f} of the power, not below 0.75")


def inactive_items_have_no_influence(case: Case) -> None:
    """Items without codebooks have no gradient and no loss."""
    quantizer = case.build()
    z = case.frames(2, 50).requires_grad_()
    quantized = quantizer(z, torch.tensor([0, quantizer.codebooks]))
    (quantized.vectors.square().sum() + quantized.loss).backward()
    assert z.grad is not None
    hold(not z.grad[0].any(), "an item without codebooks has a gradient")
    hold(z.grad[1].any(), "an item with codebooks has no gradient")
    quantized = quantizer(z, torch.tensor([0, 0]))
    hold(quantized.loss.abs() == 0, "items without codebooks have a loss")
    hold(not quantized.vectors.any(), "items without codebooks have vectors that are not zero")


def evaluation_teaches_nothing(case: Case) -> None:
    """No buffer moves."""
    quantizer = case.build().eval()
    before = {k: v.clone() for k, v in quantizer.state_dict().items()}
    quantizer(case.frames(2, 50))
    for name, value in quantizer.state_dict().items():
        hold(torch.equal(value, before[name]), f"{name} changes in evaluation")


def frames_that_are_no_numbers_do_no_harm(case: Case) -> None:
    """Codes stay in range, and the counts of use whole."""
    quantizer = case.build()
    z = case.frames(2, 50)
    z[0, :5] = float("nan")
    codes = quantizer(z).codes
    hold(codes.min() >= 0 and codes.max() < quantizer.size, "the codes of frames that are no numbers are out of range")
    usage = quantizer(case.frames(2, 50)).usage
    hold(((usage > 0) & (usage <= 1)).all(), "after frames that are no numbers usage is no share")
    hold(all(v.isfinite().all() for v in quantizer.state_dict().values()), "frames that are no numbers stay in the weights")


def weights_carry_all_that_makes_the_codes(case: Case) -> None:
    """Another one with the same weights gives the same codes and vectors."""
    first, second = case.build().eval(), QUANTIZERS.build(case.config, channels=case.channels).eval()
    second.load_state_dict(first.state_dict())
    z = case.frames(2, 30)
    codes = first.vectors_to_codes(z)
    same(second.vectors_to_codes(z), codes, "the codes of another one with the same weights")
    same(second.codes_to_vectors(codes), first.codes_to_vectors(codes), "the vectors of another one with the same weights")


class Graph(torch.nn.Module):
    """Both ways of several quantizers, as an exported graph has them."""

    def __init__(self, quantizers: Sequence[Quantizer]) -> None:
        super().__init__()
        self.quantizers = torch.nn.ModuleList(quantizers)

    def forward(self, z: torch.Tensor, codes: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        found = [q.vectors_to_codes(z) for q in self.quantizers]  # type: ignore[operator]
        return found, [q.codes_to_vectors(c) for q, c in zip(self.quantizers, codes, strict=True)]  # type: ignore[operator]


Found = tuple[np.ndarray[Any, Any], ...]


def exported(quantizers: Sequence[Quantizer], case: Case) -> list[Found]:
    """Of each: codes of one graph with all of them, codes of torch, vectors of the graph, vectors of torch."""
    batch, length = torch.export.Dim("batch"), torch.export.Dim("frames")
    books = [torch.export.Dim(f"books{i}", max=q.codebooks) for i, q in enumerate(quantizers)]
    axes = [{0: batch, 1: length} | ({2: books[i]} if q.codebooks > 1 else {}) for i, q in enumerate(quantizers)]
    codes = [torch.zeros(2, 6, q.codebooks).long() for q in quantizers]
    with tempfile.TemporaryDirectory() as folder:
        inputs = (torch.randn(2, 6, case.channels), codes)
        shapes = ({0: batch, 1: length}, axes)
        session = export_graph(Graph(quantizers), inputs, Path(folder) / "both.onnx", dynamic_shapes=shapes)
    z = case.frames(3, 11)
    given = [q.vectors_to_codes(z)[..., : max(1, q.codebooks - 1)] for q in quantizers]
    names = [i.name for i in session.get_inputs()]
    got = session.run(None, dict(zip(names, [z.numpy(), *(g.numpy() for g in given)], strict=True)))
    return [
        (got[i], q.vectors_to_codes(z).numpy(), got[len(quantizers) + i], q.codes_to_vectors(given[i]).detach().numpy())
        for i, q in enumerate(quantizers)
    ]


def exported_graph_finds_the_same(case: Case) -> None:
    """Codes, and vectors of some of the codebooks, in onnxruntime."""
    graph_agrees(exported([case.build().eval()], case)[0])


def graph_agrees(found: Found) -> None:
    """Raises LawError where what `exported` gives of one differs between graph and torch."""
    codes, own_codes, vectors, own_vectors = map(torch.from_numpy, found)
    same(codes, own_codes, "the codes of the exported graph")
    near(vectors, own_vectors, 1e-4, 1e-4, "a vector of the exported graph")


class _Threads:
    """Stands for torch.distributed between threads of this process: the operations that `mixcodec.nn.processes` uses."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, threading.Barrier(size, timeout=60)
        self.rank = threading.local()
        self.ReduceOp = torch.distributed.ReduceOp
        self.given: list[Any] = [None] * size

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def get_world_size(self) -> int:
        return self.size

    def get_rank(self) -> int:
        return int(self.rank.number)

    def _gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        self.given[self.get_rank()] = tensor.detach().clone()
        self.barrier.wait()
        every = list(self.given)
        self.barrier.wait()
        return every

    def all_reduce(self, tensor: torch.Tensor, op: Any = torch.distributed.ReduceOp.SUM) -> None:
        every = torch.stack(self._gather(tensor))
        with torch.no_grad():
            tensor.copy_(every.sum(0) if op == torch.distributed.ReduceOp.SUM else every.amax(0))

    def broadcast(self, tensor: torch.Tensor, source: int) -> None:
        with torch.no_grad():
            tensor.copy_(self._gather(tensor)[source])

    def run(self, work: Callable[[int], None]) -> None:
        """Runs `work` of each rank in a thread; raises what one of them raises."""
        errors: list[BaseException] = []

        def each(number: int) -> None:
            self.rank.number = number
            try:
                work(number)
            except BaseException as error:
                errors.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=each, args=(number,)) for number in range(self.size)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if real := [error for error in errors if not isinstance(error, threading.BrokenBarrierError)] or errors:
            raise real[0]


def processes_that_learn_together_agree(case: Case) -> None:
    """Two that see different halves of each batch have the same codebooks, and those of one that sees both.

    They are threads here, with what `mixcodec.nn.processes` offers between them; 15 steps, before any codebook is restarted.
    """
    batches = case.features(15 * 2 * 2 * 30).view(15, 2, 2, 30, case.channels)
    both, alone = [case.build(), case.build()], case.build()

    def learn(number: int) -> None:
        for z in batches[:, number]:
            both[number](z)

    group = _Threads(2)
    with mock.patch.object(processes, "dist", group):
        group.run(learn)
    for z in batches.flatten(1, 2):
        alone(z)
    first, second, whole = (dict(quantizer.named_buffers()) for quantizer in (*both, alone))
    for name, value in first.items():
        same(value, second[name], f"after learning together, what two processes have as {name}")
        near(value.float(), whole[name].float(), 1e-3, 1e-3, f"{name} of two processes, from that of one that sees all,")


LAWS: tuple[Law, ...] = (
    frame_is_encoded_alone_as_among_others,
    frames_share_a_code_as_stated,
    mixed_precision_changes_no_code,
    first_codebooks_are_a_lower_rate,
    gradients_reach_everything,
    inactive_items_have_no_influence,
    evaluation_teaches_nothing,
    frames_that_are_no_numbers_do_no_harm,
    weights_carry_all_that_makes_the_codes,
    processes_that_learn_together_agree,
)
SEVERAL_LAWS: tuple[Law, ...] = (another_codebook_does_not_raise_the_error,)
LEARNING_LAWS: tuple[Law, ...] = (learns,)
