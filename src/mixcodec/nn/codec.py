"""The codec: transform, encoder, quantizer, decoder, and a head where the transform's own synthesis is not to do.

wave --transform--> frames --encoder--> latents --quantizer--> codes
codes --quantizer--> latents --decoder--> frames --transform--> wave, `delay` samples behind
                               or: --decoder--> features --head--> wave
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch

from mixcodec.bitstream.header import MAX_CODEBOOK_SIZE, MAX_CODEBOOKS
from mixcodec.errors import ConfigError
from mixcodec.nn.heads import HEADS, Head
from mixcodec.nn.metaformer import Stack
from mixcodec.nn.quantizers import QUANTIZERS
from mixcodec.nn.state import State, inside, scoped
from mixcodec.nn.transforms import TRANSFORMS
from mixcodec.registry import nearest, whole_number

NEEDED = ["sample_rate", "transform", "encoder", "quantizer", "decoder", "latent"]
OPTIONS = [*NEEDED, "head"]
STACK_OPTIONS = ["width", "stages"]


class Reconstruction(NamedTuple):
    """A training pass over waves (B, T * hop)."""

    wave: torch.Tensor  # (B, T * hop), `delay` samples behind the input
    codes: torch.Tensor  # (B, T, K)
    loss: torch.Tensor  # of the quantizer
    usage: torch.Tensor  # (K,)
    features: torch.Tensor  # (B, T, outputs of the decoder): what the wave was made of


class CodecNet(torch.nn.Module):
    """A codec described wholly by a nested dict of parts (the `codec` entry of a recipe and of a `config.json`).

    `encode` and `decode` take blocks of whole frames and carry state. Raises ConfigError for an unknown part or option.
    """

    streams: ClassVar[bool] = True
    """Whether every mixer must be causal."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        for name in config:
            if name not in OPTIONS:
                raise ConfigError(f"a codec has no option {name!r}: {nearest(name, OPTIONS)}")
        if missing := [name for name in NEEDED if name not in config]:
            raise ConfigError(f"a codec needs {', '.join(map(repr, missing))}")
        self.config = dict(config)
        self.sample_rate = whole_number("sample_rate", config["sample_rate"])
        latent = whole_number("latent", config["latent"])
        self.transform = TRANSFORMS.build(config["transform"])
        self.encoder = self._stack("encoder", self.transform.feature_channels, latent)
        self.quantizer = QUANTIZERS.build(config["quantizer"], channels=latent)
        self.hop, self.delay = self.transform.hop, self.transform.delay
        self.head: Head | None = None
        if config.get("head"):
            self.head = HEADS.build(config["head"], hop=self.hop, sample_rate=self.sample_rate)
            self.delay = self.head.delay
        self.decoder = self._stack("decoder", latent, self.head.inputs if self.head else self.transform.coefficients)
        self.only_decoder = False
        """Whether encoder and quantizer stay as they are in training; see `keep_encoder`."""
        self.codebooks = whole_number("codebooks", self.quantizer.codebooks, 1, MAX_CODEBOOKS)
        self.codebook_size = whole_number("size of a codebook", self.quantizer.size, 2, MAX_CODEBOOK_SIZE)

    def _stack(self, name: str, inputs: int, outputs: int) -> Stack:
        options = self.config[name]
        if not isinstance(options, Mapping) or set(STACK_OPTIONS) - set(options):
            raise ConfigError(f"{name} needs {' and '.join(STACK_OPTIONS)}, not {options!r}")
        for option in options:
            if option not in STACK_OPTIONS:
                raise ConfigError(f"{name} has no option {option!r}: {nearest(option, STACK_OPTIONS)}")
        stack = Stack(inputs, outputs, **options)
        if self.streams and not stack.causal:
            raise ConfigError(f"{name}: every mixer must be causal, for a codec streams")
        return stack

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    def latents(self, wave: torch.Tensor) -> torch.Tensor:
        """What the quantizer sees, (B, T, latent), of whole waves (B, T * hop)."""
        return self.encoder(self.transform.features(self.transform.wave_to_frames(wave)))

    def forward(
        self,
        wave: torch.Tensor,
        active: torch.Tensor | None = None,
        quantize: bool = True,
        teacher: torch.Tensor | None = None,
    ) -> Reconstruction:
        """Encodes, quantizes with `active` (B,) codebooks an item (all if None), decodes: for training.

        Without `quantize` the latents go to the decoder as they are, and there are no codes (K = 0). Features (B, T, F) of a
        `teacher` go to the quantizer, which must be one that is taught.
        """
        latents = self.latents(wave)
        if not quantize:
            features = self.decoder(latents)
            wave, no_codes = self.features_to_wave(features), latents.new_zeros(*latents.shape[:2], 0).long()
            return Reconstruction(wave, no_codes, wave.new_zeros(()), wave.new_zeros(1), features)
        if self.only_decoder:
            codes, vectors = self._as_exported(wave, active)
            features = self.decoder(vectors)
            return Reconstruction(self.features_to_wave(features), codes, wave.new_zeros(()), wave.new_ones(1), features)
        taught = {} if teacher is None else {"teacher": teacher}
        codes, vectors, loss, usage = self.quantizer(latents, active, **taught)
        features = self.decoder(vectors)
        return Reconstruction(self.features_to_wave(features), codes, loss, usage, features)

    def keep_encoder(self) -> None:
        """From here on encoder and quantizer learn nothing: codes stay what they are, and only the decoder is new."""
        self.only_decoder = True
        for part in (self.encoder, self.quantizer):
            part.requires_grad_(False)

    @torch.no_grad()
    def _as_exported(self, wave: torch.Tensor, active: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes (B, T, K) as an exported codec would choose them, and the vectors of the first `active` (B,) of each item."""
        with torch.autocast(wave.device.type, enabled=False):
            codes = self.quantizer.vectors_to_codes(self.latents(wave.float()))
            if active is None:
                return codes, self.quantizer.codes_to_vectors(codes)
            vectors = wave.new_zeros(*codes.shape[:2], self.decoder.enter.in_features)
            for books in active.unique().tolist():
                some = active == books
                vectors[some] = self.quantizer.codes_to_vectors(codes[some][..., :books])
            return codes, vectors

    def features_to_wave(self, features: torch.Tensor) -> torch.Tensor:
        """Wave (B, T * hop), `delay` samples behind, of whole signals' features (B, T, outputs of the decoder)."""
        return self.head(features) if self.head else self.transform.frames_to_wave(features)

    def encoder_state(self, batch: int) -> State:
        states = {"transform": self.transform.analysis_state(batch), "net": self.encoder.initial_state(batch)}
        return {name: t for prefix, state in states.items() for name, t in scoped(prefix, state).items()}

    def encode(self, wave: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Codes (B, T, K) of the next T frames, wave (B, T * hop)."""
        frames, transform = self.transform.analyse(wave, inside("transform", state))
        latents, net = self.encoder.step(self.transform.features(frames), inside("net", state))
        return self.quantizer.vectors_to_codes(latents), scoped("transform", transform) | scoped("net", net)

    def decoder_state(self, batch: int) -> State:
        edge = {"head": self.head.initial_state(batch)} if self.head else {"transform": self.transform.synthesis_state(batch)}
        states = edge | {"net": self.decoder.initial_state(batch)}
        return {name: t for prefix, state in states.items() for name, t in scoped(prefix, state).items()}

    def decode(self, codes: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Wave (B, T * hop), `delay` samples behind, of the first k codebooks' codes (B, T, k)."""
        vectors = self.quantizer.codes_to_vectors(codes)
        features, net = self.decoder.step(vectors, inside("net", state))
        if self.head:
            wave, head = self.head.step(features, inside("head", state))
            return wave, scoped("head", head) | scoped("net", net)
        wave, transform = self.transform.synthesise(features, inside("transform", state))
        return wave, scoped("transform", transform) | scoped("net", net)
