import pytest
import torch

from mixcodec.errors import ConfigError
from mixcodec.nn.codec import CodecNet


def stream(net, wave, chunk):
    encoder, decoder, codes, waves = net.encoder_state(len(wave)), net.decoder_state(len(wave)), [], []
    for part in wave.split(chunk * net.hop, 1):
        code, encoder = net.encode(part, encoder)
        sound, decoder = net.decode(code, decoder)
        codes.append(code)
        waves.append(sound)
    return torch.cat(codes, 1), torch.cat(waves, 1)


@torch.no_grad()
@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_streaming_equals_offline(codec_config, chunk):
    net = CodecNet(codec_config).eval()
    wave = torch.randn(2, 60 * net.hop) * 0.1
    codes, sound = stream(net, wave, 60)
    some, heard = stream(net, wave, chunk)
    assert (some == codes).float().mean() > 0.999
    assert (heard - sound).abs().max() < 1e-3


@torch.no_grad()
def test_the_training_pass_is_encode_then_decode(codec_config):
    net = CodecNet(codec_config).eval()
    wave = torch.randn(2, 20 * net.hop) * 0.1
    codes, sound = stream(net, wave, 20)
    trained = net(wave)
    assert torch.equal(trained.codes, codes)
    assert torch.allclose(trained.wave, sound, atol=1e-4)


def test_without_quantization_the_latents_pass(codec_config):
    net = CodecNet(codec_config)
    result = net(torch.randn(1, 5 * net.hop), quantize=False)
    assert result.codes.shape == (1, 5, 0)
    result.wave.sum().backward()
    assert net.encoder.enter.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quantiser": {}}, "did you mean 'quantizer'"),
        ({"encoder": {"width": 3, "stages": [], "depht": 3}}, "no option 'depht'"),
        ({"encoder": {"width": 3}}, "needs width and stages"),
        ({"encoder": {"width": "3", "stages": []}}, "whole number"),
        ({"encoder": {"width": 8, "stages": [{"mixer": "pooling"}]}}, "a stage needs channel"),
        ({"encoder": {"width": 8, "stages": [{"mixer": {"kind": "attention", "heads": 0}, "channel": "mlp"}]}}, "heads"),
        ({"encoder": {"width": 8, "stages": [{"mixer": "pooling", "channel": {"kind": "mlp", "expansion": 0}}]}}, "expansion"),
        ({"transform": 5}, "a kind or a mapping"),
        ({"latent": 0}, "latent is 0"),
        ({"quantizer": {"kind": "residual", "codebooks": 65}}, "from 1 to 64"),
        ({"quantizer": {"kind": "residual", "codebook": {"size": 1}}}, "size is 1"),
        ({"encoder": {"width": 8, "stages": [{"mixer": {"kind": "pooling", "causal": False}, "channel": "mlp"}]}}, "causal"),
    ],
)
def test_a_config_with_a_mistake_says_which(codec_config, change, message):
    with pytest.raises(ConfigError, match=message):
        CodecNet(codec_config | change)


def test_a_config_without_a_part_says_which(codec_config):
    with pytest.raises(ConfigError, match="'latent'"):
        CodecNet({k: v for k, v in codec_config.items() if k != "latent"})
