"""What a codec is trained to lower."""

from mixcodec.losses.adversarial import discriminator_loss, feature_loss, generator_loss
from mixcodec.losses.balance import Balancer
from mixcodec.losses.envelope import Envelope
from mixcodec.losses.loudness import Loudness
from mixcodec.losses.recognition import Recognition, WhisperEncoder
from mixcodec.losses.spectral import Spectral
from mixcodec.losses.words import WhisperDecoder, Words

__all__ = [
    "Balancer",
    "Envelope",
    "Loudness",
    "Recognition",
    "Spectral",
    "WhisperDecoder",
    "WhisperEncoder",
    "Words",
    "discriminator_loss",
    "feature_loss",
    "generator_loss",
]
