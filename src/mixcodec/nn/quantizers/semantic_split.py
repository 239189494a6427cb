"""A first codebook for what is said and the rest for how it sounds."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.processes import mean_over_processes
from mixcodec.nn.quantizers.base import QUANTIZERS, Quantized, Quantizer
from mixcodec.nn.quantizers.residual import Residual, sum_of_entries
from mixcodec.registry import whole_number


@QUANTIZERS.register("semantic_split")
class SemanticSplit(Residual):
    """The first codebook is taught by a teacher's features, the others are a residual; the vectors are the sum of all.

    Defossez et al., 2024, Moshi: a speech-text foundation model for real-time dialogue (Mimi): the acoustic levels work
    beside the semantic codebook, so need not mend what it leaves: they see `beside(z)`, a learned linear map that at the start
    takes away the directions that the semantic codebook sees. Without `parallel` they quantize what it leaves
    (Zhang et al., 2023, SpeechTokenizer: Unified Speech Tokenizer for Speech Large Language Models). With `teacher`
    features (of a self-supervised speech model, say), `forward` takes them, and the loss has `weight` times one minus the
    cosine between them and a linear head on what the semantic codebook hands back (the semantic decoder of Ye et al., 2024,
    Codec Does Matter: Exploring the Semantic Shortcoming of Codec for Audio Language Model, X-Codec). The teacher gets no
    gradient, and nothing of this is in the way from z to codes. `semantic` overrides options of `codebook` for the first;
    `thrift` is that of `residual`.
    """

    def __init__(
        self,
        channels: int,
        codebooks: int = 8,
        teacher: int = 0,
        parallel: bool = True,
        weight: float = 1.0,
        codebook: Mapping[str, Any] | None = None,
        semantic: Mapping[str, Any] | None = None,
        thrift: float | Sequence[float] = 0.0,
    ) -> None:
        whole_number("quantizer 'semantic_split': codebooks", codebooks, 2)
        whole_number("quantizer 'semantic_split': teacher", teacher, 0)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ConfigError(f"quantizer 'semantic_split': weight is {weight!r}, but must be a number from 0 up")
        super().__init__(channels, codebooks - 1, codebook)
        options = dict(codebook or {}) | dict(semantic or {})
        self.semantic = QUANTIZERS.build({"kind": "vq"} | options, channels=channels)
        if (self.semantic.codebooks, self.semantic.size) != (1, self.size):
            what = f"{self.semantic.codebooks} codes of {self.semantic.size}"
            raise ConfigError(f"quantizer 'semantic_split': semantic gives {what}, but must give one of {self.size}")
        self.codebooks, self.teacher, self.parallel, self.weight = codebooks, teacher, parallel, weight
        self.beside = torch.nn.Linear(channels, channels) if parallel else None
        if self.beside is not None:
            torch.nn.init.eye_(self.beside.weight)
            torch.nn.init.zeros_(self.beside.bias)
        self.head = torch.nn.Linear(channels, teacher) if teacher else None
        self._add_costs(thrift)

    @property
    def chain(self) -> Sequence[Quantizer]:
        return (self.semantic, *self.levels) if hasattr(self, "semantic") else self.levels

    def forward(self, z: torch.Tensor, active: torch.Tensor | None = None, teacher: torch.Tensor | None = None) -> Quantized:
        """Quantizes; `teacher` (B, T, `teacher`), where there is one, pulls on the semantic codebook.

        Raises ConfigError for features that the quantizer was not built for.
        """
        if active is None:
            active = torch.full((len(z),), self.codebooks, device=z.device)
        z = z.float()
        first = self.semantic(z, active.clamp(max=1))
        rest = super().forward(self._rest(z, first.vectors), (active - 1).clamp(min=0))
        loss = (first.loss + rest.loss * (self.codebooks - 1)) / self.codebooks
        if teacher is not None:
            loss = loss + self.weight * self._distillation(first.vectors, teacher, active > 0)
        codes = torch.cat([first.codes, rest.codes], -1)
        return Quantized(codes, first.vectors + rest.vectors, loss, torch.cat([first.usage, rest.usage]))

    def _distillation(self, vectors: torch.Tensor, teacher: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        if self.head is None or teacher.shape != (*vectors.shape[:2], self.teacher):
            given = f"features of shape {tuple(teacher.shape)} cannot teach {tuple(vectors.shape[:2])} frames"
            raise ConfigError(f"quantizer 'semantic_split': teacher is {self.teacher}, and {given}")
        with torch.autocast(vectors.device.type, enabled=False):
            far = 1 - F.cosine_similarity(self.head(vectors), teacher.detach().float(), dim=-1)
        items = mean_over_processes(kept.sum()) if self.training else kept.sum()
        return (far * kept[:, None]).sum() / (items * far.shape[1]).clamp(min=1)

    def _rest(self, z: torch.Tensor, semantic: torch.Tensor) -> torch.Tensor:
        """What the acoustic levels quantize."""
        if self.beside is None:
            return z - semantic
        if torch.compiler.is_compiling():
            return self.beside(z)
        with torch.autocast(z.device.type, enabled=False):
            return self.beside(z.float())

    def vectors_to_codes(self, z: torch.Tensor) -> torch.Tensor:
        if not self.parallel:
            return torch.cat(self._codes(z, self.chain, []), -1)
        first = self._codes(z, [self.semantic], [])
        return torch.cat(first + self._codes(self._rest(z, torch.zeros_like(z)), self.levels, first), -1)

    def codes_to_vectors(self, codes: torch.Tensor) -> torch.Tensor:
        every = torch.arange(self.size, device=codes.device)[:, None]
        return sum_of_entries(codes, [level.codes_to_vectors(every) for level in self.chain])

    @torch.no_grad()
    def start(self, z: torch.Tensor) -> None:
        """Fits the semantic codebook to z (M, C), the acoustic ones to the directions in which z is weak, or to what is left."""
        self.semantic.start(z)
        seen = getattr(self.semantic, "enter", None)
        if self.beside is not None and isinstance(seen, torch.nn.Linear):
            axes = torch.linalg.qr(seen.weight.T).Q
            away = torch.eye(z.shape[1]).to(z) - axes @ axes.T
            self.beside.weight.copy_(away)
            self.beside.bias.copy_(-(away @ z.mean(0)))
        super().start(self._rest(z, self.semantic.codes_to_vectors(self.semantic.vectors_to_codes(z))))
