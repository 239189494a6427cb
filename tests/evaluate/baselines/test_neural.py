"""The neural peers as coders, with small networks of random weights: the files, the codes in them, and the mistakes."""

import json

import numpy as np
import pytest

from mixcodec.audio import read_audio, resample, write_audio
from mixcodec.errors import BitstreamError, MixcodecError, ModelError, RateError
from mixcodec.evaluate.baselines import neural
from mixcodec.evaluate.baselines.base import CODERS

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

SMALL = {
    "encodec": {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16},
    "dac": {"encoder_hidden_size": 4, "decoder_hidden_size": 32, "n_codebooks": 4},
    "mimi": {
        "num_filters": 4, "hidden_size": 32, "codebook_dim": 16, "vector_quantization_hidden_dimension": 16,
        "codebook_size": 256, "num_quantizers": 8, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2,
        "num_key_value_heads": 2, "head_dim": 16, "upsample_groups": 32,
    },
}  # fmt: skip
ASKED = {"encodec": (3.0, 4, 10), "dac": (1.5, 3, 10), "mimi": (0.5, 5, 8)}
"""kbps, and the codebooks and bits of a code that they mean."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Weights of each family in the format of transformers."""
    home = tmp_path_factory.mktemp("weights")
    for kind, changes in SMALL.items():
        model = neural.random_peer(kind, **changes).model
        if kind == "encodec":  # its random encoder hardly moves: only codebooks made of its own output are used
            with torch.no_grad():
                latents = model.encoder(0.3 * torch.randn(1, 1, 1024 * 320))[0].T
                for layer in model.quantizer.layers:
                    layer.codebook.embed.copy_(latents)
                    latents = torch.randn(latents.shape) * 0.3 * latents.std(0)
        model.save_pretrained(home / kind)
    return home


@pytest.fixture
def source(tmp_path):
    """0.7 s of a chirp at 16 kHz, which is no whole number of anybody's frames."""
    time = np.arange(11211) / 16000
    write_audio(tmp_path / "source.wav", (0.4 * np.sin(2 * np.pi * (150 + 400 * time) * time)).astype("float32"), 16000)
    return tmp_path / "source.wav"


def straight(kind, model, wave, kbps, codebooks):
    """Codes (1, K, T) as the port's own documentation says to get them."""
    if kind == "encodec":
        return model.encode(wave, bandwidth=kbps).audio_codes[0]
    if kind == "dac":
        return model.encode(torch.nn.functional.pad(wave, (0, -wave.shape[-1] % 320)), n_quantizers=codebooks).audio_codes
    return model.encode(wave, num_quantizers=codebooks).audio_codes


def straight_back(kind, model, codes):
    if kind == "encodec":
        return model.decode(codes[None], [None]).audio_values
    return (model.decode(audio_codes=codes) if kind == "dac" else model.decode(codes)).audio_values


@pytest.mark.parametrize("kind", SMALL)
def test_file_holds_the_codes_of_the_model_itself_and_nothing_but_a_small_header(kind, folders, source, tmp_path):
    kbps, codebooks, bits = ASKED[kind]
    coder = CODERS.build({"kind": kind, "setting": kbps, "model": str(folders / kind)})
    coder.check()
    coded, decoded = tmp_path / f"a{coder.suffix}", tmp_path / "a.wav"
    coder.encode(source, coded)
    coder.decode(coded, decoded)

    port = neural.load_peer(kind, str(folders / kind))
    wave, rate = read_audio(source)
    wave = resample(wave, rate, port.sample_rate)
    with torch.inference_mode():
        codes = straight(kind, port.model, torch.from_numpy(wave)[None, None], kbps, codebooks)
        sound = straight_back(kind, port.model, codes).reshape(-1).numpy()[: len(wave)]
    found, size = coder.codes(coded)
    np.testing.assert_array_equal(found, codes[0].numpy().T)
    assert found.shape[1] == codebooks
    assert len(np.unique(found)) > 20, "the random codebooks are in use, or equal codes would prove nothing"
    assert size == 2**bits
    assert coder.payload_bytes(coded) == coded.stat().st_size == 9 + -(-found.size * bits // 8)
    back, back_rate = read_audio(decoded)
    assert (back.shape, back_rate) == (wave.shape, port.sample_rate)
    np.testing.assert_allclose(back[: len(sound)], np.clip(sound, -1, 1), atol=2**-15)


@pytest.mark.parametrize("kind", SMALL)
def test_without_weights_the_message_says_what_to_do(kind):
    with pytest.raises(ModelError, match=rf"needs trained weights.*{kind}:FOLDER@KBPS.*mixcodec bench"):
        CODERS.build({"kind": kind, "setting": 6.0}).check()


@pytest.mark.parametrize(("kind", "known"), [("encodec", "1.5, 3, 6, 12, 24$"), ("dac", "0.5, 1, 1.5, 2$"), ("mimi", "0.1, 0.2")])
def test_a_bitrate_in_between_is_refused_with_those_that_there_are(kind, known, folders):
    with pytest.raises(RateError, match=f"7 kbps.*{known}"):
        CODERS.build({"kind": kind, "setting": 7.0, "model": str(folders / kind)}).check()


def test_weights_that_are_not_the_right_ones(folders, tmp_path):
    with pytest.raises(ModelError, match=r"nowhere: has no config\.json"):
        neural.load_peer("dac", str(tmp_path / "nowhere"))
    with pytest.raises(ModelError, match="is a model of type mimi; give a folder with the dac weights"):
        neural.load_peer("dac", str(folders / "mimi"))
    (tmp_path / "config.json").write_text((folders / "dac" / "config.json").read_text())
    with pytest.raises(ModelError, match="cannot be loaded"):
        neural.load_peer("dac", str(tmp_path))


def test_weights_that_are_not_whole_are_refused_and_not_made_up(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folders / "dac" / "model.safetensors")
    del tensors["decoder.conv1.weight"]
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text((folders / "dac" / "config.json").read_text())
    with pytest.raises(ModelError, match=r"lacks 1 of the weights, such as decoder\.conv1\.weight"):
        neural.load_peer("dac", str(tmp_path))


def test_encodec_of_the_kind_that_needs_scales_is_refused(folders, tmp_path):
    config = json.loads((folders / "encodec" / "config.json").read_text()) | {"normalize": True, "chunk_length_s": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folders / "encodec" / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match="give those of the 24 kHz model"):
        neural.load_peer("encodec", str(tmp_path))


def test_a_damaged_file_is_refused(folders, source, tmp_path):
    coder = CODERS.build({"kind": "dac", "model": str(folders / "dac")})
    coded = tmp_path / "a.codes"
    coder.encode(source, coded)
    for cut in (coded.read_bytes()[:-1], coded.read_bytes() + b"\0", b"\0"):
        coded.write_bytes(cut)
        with pytest.raises(BitstreamError):
            coder.decode(coded, tmp_path / "a.wav")


def test_published_bitrates_and_sizes():
    """As the papers and model cards quote them, at full size (without storage for the weights)."""
    quoted = {"encodec": (24000, 75, 6.0), "dac": (16000, 50, 6.0), "dac-24k": (24000, 75, 24.0), "dac-44k": (44100, 86.13, 7.75)}
    for kind, (rate, frames, kbps) in (quoted | {"mimi": (24000, 12.5, 1.1)}).items():
        with torch.device("meta"):
            port = neural.random_peer(kind)
        assert port.sample_rate == rate == neural.ARCHITECTURES[kind].sample_rate
        assert port.frame_rate == pytest.approx(frames, rel=1e-4)
        assert port.kbps(port.default_codebooks) == pytest.approx(kbps, rel=1e-3)
        if kind == "dac-44k":  # Kumar et al.: 76 M parameters
            assert sum(weight.numel() for weight in port.model.parameters()) == pytest.approx(76e6, rel=0.02)


def test_random_weights_are_those_of_the_seed():
    one, same, other = (neural.random_peer("dac", seed, **SMALL["dac"]).model.encoder.conv1.weight for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MixcodecError, match=r"mimi needs transformers.*pip install 'mixcodec\[bench\]'"):
        neural.check_packages("mimi")
