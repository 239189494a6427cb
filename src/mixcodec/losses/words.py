"""Which words a speech recogniser hears in a wave, against those that it hears in the original."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from mixcodec.losses.recognition import HOPS_A_SECOND, LAYERS, WhisperEncoder, WhisperPart, attend
from mixcodec.nn.processes import mean_over_processes

PROMPT = 4
"""Tokens before the first word: start, language, task, no times."""
END = 50257
"""The token that ends a text."""
REST_SECONDS = 0.5
"""Silence that Whisper is given after each item: without it, it may not find the end."""


class WhisperDecoder(WhisperPart):
    """Features (B, T, 512) of `WhisperEncoder` and tokens (B, L) -> logits (B, L, 51865) of the token after each."""

    side = "decoder"

    def forward(self, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        embeddings = self._of("embeddings/weight")
        x = embeddings[tokens].float() + self._of("position_encodings/encodings")[: tokens.shape[1]]
        for layer in range(LAYERS):
            own, cross, mlp = (f"layer_{layer}/{part}" for part in ("self_attention", "attention", "ffn"))
            q, k, v = self._linear(self._norm(x, own), f"{own}/linear_0").chunk(3, -1)
            x = x + self._linear(attend(q, k, v, causal=True), f"{own}/linear_1")
            k, v = self._linear(features, f"{cross}/linear_1").chunk(2, -1)
            q = self._linear(self._norm(x, cross), f"{cross}/linear_0")
            x = x + self._linear(attend(q, k, v), f"{cross}/linear_2")
            x = x + self._mlp(x, mlp)
        return F.linear(self._norm(x, ""), embeddings)


class Words(torch.nn.Module):
    """How much less sure of the words a recogniser is that hears the estimate, in nats a token; waves (B, N), 0 for equal ones.

    It writes down what it hears in the target, then is asked for each next token of that text with either wave in its ear. The
    divergence of the two answers (Kullback, Leibler, 1951) is averaged over the tokens, of which the end is the last. What one
    network finds probable as what another is to match: Hinton, Vinyals, Dean, 2015, Distilling the Knowledge in a Neural Network;
    asked for along a text of the first one's own: Kim, Rush, 2016, Sequence-Level Knowledge Distillation. In training, the number
    of tokens is an average over all processes that train together.
    """

    def __init__(self, encoder: WhisperEncoder, decoder: WhisperDecoder, listen: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """`listen`: features (B, T, 512) -> tokens (B, L): `PROMPT` ones, then the text, from its end on filled with `END`."""
        super().__init__()
        self.encoder, self.decoder, self.listen = encoder, decoder, listen

    def forward(self, estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            wanted_features = self._hear(target)
            tokens = self.listen(wanted_features).to(target.device)
            wanted = self._answers(wanted_features, tokens)
        found = self._answers(self._hear(estimate), tokens)
        ended = F.pad(tokens[:, PROMPT:-1] == END, (1, 0)).cummax(1).values  # before this token
        count = (~ended).sum().float()
        count = mean_over_processes(count) if self.training else count
        each = (wanted.exp() * (wanted - found)).sum(-1)
        return each.masked_fill(ended, 0).sum() / count

    def _hear(self, wave: torch.Tensor) -> torch.Tensor:
        rest = round(REST_SECONDS * HOPS_A_SECOND * self.encoder.hop)
        return self.encoder(F.pad(wave, (0, rest)))[-1]

    def _answers(self, features: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """Logarithms of the probabilities (B, L - PROMPT, 51865) of the text's tokens."""
        logits = self.decoder(features, tokens[:, :-1])[:, PROMPT - 1 :]
        return F.log_softmax(logits.float(), -1)
