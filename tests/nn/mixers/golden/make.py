"""Writes what other implementations make of mixers' and blocks' weights: NAME.npz with a config, the weights, x and y.

    pip install --no-deps timm torchscale
    python tests/nn/mixers/golden/make.py [FOLDER]

timm can't be a dependency of the tests, since it wants torchvision, and torchscale wants an old timm; `test_golden.py` reads
these files instead. FOLDER, if given, holds hat/archs/hat_arch.py of github.com/XPixelGroup/HAT (as hat_arch.py),
classification/attention_native.py and transnext.py of github.com/DaiShiResearch/TransNeXt, and src/linfusion/attention.py of
github.com/Huage001/LinFusion (as linfusion.py). What isn't there leaves its files as they are. The committed ones were made
with timm 1.0.31, torchscale 0.3.0, HAT 1638a9a, TransNeXt c8a9974, LinFusion 62ef289 and torch 2.13.0. Weights are from a
seed, rounded to multiples of 1/256.
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

from mixcodec.nn.metaformer import Block
from mixcodec.nn.mixers import MIXERS

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    return (tensor * 256).round() / 256


def mixer_and_signal(config: dict, *shape: int) -> tuple[torch.nn.Module, torch.Tensor]:
    torch.manual_seed(1)
    return perturbed(MIXERS.build(config, channels=shape[-1])), rounded(torch.randn(shape))


def perturbed(module: torch.nn.Module) -> torch.nn.Module:
    for tensor in module.state_dict().values():
        tensor.copy_(rounded(tensor + 0.1 * torch.randn(tensor.shape)))
    return module.eval()


def small(tensor: torch.Tensor) -> np.ndarray:
    """float16 where that changes nothing."""
    half = tensor.half()
    return (half if torch.equal(half.float(), tensor) else tensor).numpy()


def save(name: str, config: dict, mixer: torch.nn.Module, x: torch.Tensor, y: torch.Tensor) -> None:
    weights = {f"weight.{key}": small(value) for key, value in mixer.state_dict().items()}
    np.savez_compressed(HERE / f"{name}.npz", config=json.dumps(config), x=small(x), y=y.detach().numpy(), **weights)
    print(f"{name}: {(HERE / f'{name}.npz').stat().st_size} bytes")


def load(other: torch.nn.Module, mixer: torch.nn.Module, names: dict[str, str]) -> torch.nn.Module:
    """Gives `other` the mixer's weights; `names` maps its names, or their beginnings, to the mixer's."""
    own = mixer.state_dict()
    other.load_state_dict({name: own[renamed(name, names)].reshape(t.shape) for name, t in other.state_dict().items()})
    return other.eval()


def renamed(name: str, names: dict[str, str]) -> str:
    start = next(n for n in names if name == n or name.startswith(f"{n}."))
    return names[start] + name[len(start) :]


def first(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(-1, 1)


def from_timm() -> None:
    from conftest import without_torchvision

    with without_torchvision():
        from timm.models import efficientvim, eva, mambaout, metaformer, volo
    plane = {"causal": False, "rank": 2}

    config = {"kind": "pooling", "size": 5, "causal": False}
    mixer, x = mixer_and_signal(config, 2, 7, 9, 16)
    save("poolformer", config, mixer, x, metaformer.Pooling(5)(first(x)).movedim(1, -1))

    config = {"kind": "separable"} | plane
    mixer, x = mixer_and_signal(config, 2, 7, 9, 16)
    names = {"pwconv1": "up", "act1": "activation", "dwconv": "convolution", "pwconv2": "down"}
    save("convformer", config, mixer, x, load(metaformer.SepConv(16), mixer, names)(first(x)).movedim(1, -1))

    for share in (1.0, 0.5):
        config = {"kind": "gated_convolution", "expansion": 2, "share": share} | plane
        mixer, x = mixer_and_signal(config, 2, 7, 9, 16)
        other = mambaout.GatedConvBlock(16, expansion_ratio=2, conv_ratio=share)
        other.norm = torch.nn.Identity()
        other = load(other, mixer, {"fc1": "up", "conv": "convolution", "fc2": "down"})
        save(f"mambaout-{share}", config, mixer, x, other(x) - x)

    for stride in (1, 2):
        config = {"kind": "outlook", "heads": 4, "stride": stride, "rank": 2}
        mixer, x = mixer_and_signal(config, 2, 7, 8, 16)
        other = volo.OutlookAttention(16, 4, stride=stride)
        save(f"volo-{stride}", config, mixer, x, load(other, mixer, {"v": "value", "attn": "weights", "proj": "out"})(x))

    config = {"kind": "hidden_state", "states": 6, "rank": 2}
    mixer, x = mixer_and_signal(config, 2, 7, 8, 16)
    names = {"BCdt_proj.conv": "select", "dw.conv": "convolution", "hz_proj.conv": "up", "out_proj.conv": "down", "D": "skip"}
    other = efficientvim.HSMSSD(16, state_dim=6)
    del other.A  # the same for all tokens, it drops out of the softmax
    other = load(other, mixer, names)
    other.A = torch.zeros(6)
    save("efficientvim", config, mixer, x, other(first(x))[0].movedim(1, -1))

    config = {"kind": "decay_attention", "heads": 2, "gaussians": 1} | plane
    mixer, x = mixer_and_signal(config, 2, 7, 8, 16)
    mixer.height.fill_(1)
    mixer.log_width.fill_(12)  # a bell so wide that it is 1 everywhere
    other = load(metaformer.Attention(16, head_dim=8), mixer, {"qkv": "qkv", "proj": "out"})
    save("caformer", config, mixer, x, other(x.flatten(1, 2)).reshape(x.shape))

    config = {"kind": "global_attention", "heads": 2, "registers": 3}
    mixer, x = mixer_and_signal(config, 2, 21, 16)
    other = eva.EvaAttention(16, 2, qkv_bias=False, qkv_fused=True, num_prefix_tokens=3, rotate_half=True, scale_norm=False)
    other.proj = torch.nn.Linear(16, 16, bias=False)
    tokens = rounded(torch.randn(3, 16))
    mixer.registers.data = torch.stack(mixer.qkv(tokens).chunk(3, -1)[1:]).detach()
    other = load(other, mixer, {"qkv": "qkv", "proj": "out"})
    other.fused_attn = False
    angles = torch.arange(21)[:, None] * 1000.0 ** -(torch.arange(4) / 4)
    rope = torch.cat([angles.sin(), angles.sin(), angles.cos(), angles.cos()], -1)
    y = other(torch.cat([tokens.expand(2, -1, -1), x], 1), rope)[:, 3:]
    save("rotary-registers", config, mixer, x, y)


def blocks_from_timm() -> None:
    """Whole blocks as the papers' networks have them: norms, scales of the mixed and of the residual, channel mixers.

    The signal is loud, so that what keeps norms from dividing by zero, 1e-5 here and 1e-6 there, does not show. What a
    published block hasn't (a norm's bias, a scale) is given the value that does nothing.
    """
    from conftest import without_torchvision

    with without_torchvision():
        from timm.models import mambaout, metaformer, volo
    nn = torch.nn
    plane = {"causal": False, "rank": 2}
    pooling = {"mixer": {"kind": "pooling", "causal": False}, "norm": "grid"}
    attention = {"mixer": {"kind": "decay_attention", "heads": 2, "gaussians": 1} | plane}
    star = {"channel": "star_mlp", "residual": True}
    outlook = {"mixer": {"kind": "outlook", "heads": 2, "stride": 2, "rank": 2}}

    def metaformers(mixer: type, norm: type, **options: object) -> nn.Module:
        return metaformer.MetaFormerBlock(8, mixer, norm_layer=norm, **{"res_scale_init_value": 1.0} | options)

    first_pooling = {"mlp_act": nn.GELU, "mlp_bias": True, "layer_scale_init_value": 0.1, "res_scale_init_value": None}
    published: dict[str, tuple[dict, nn.Module]] = {
        "poolformer": (
            pooling | {"channel": {"kind": "mlp", "exact": True}},
            metaformers(metaformer.Pooling, metaformer.GroupNorm1, **first_pooling),
        ),
        "poolformer-2": (pooling | star, metaformers(metaformer.Pooling, metaformer.GroupNorm1NoBias)),
        "convformer": (
            {"mixer": {"kind": "separable"} | plane} | star,
            metaformers(metaformer.SepConv, metaformer.LayerNorm2dNoBias),
        ),
        "caformer": (
            attention | star,
            metaformers(metaformer.Attention, metaformer.LayerNormNoBias, use_nchw=False, head_dim=4),
        ),
        "mambaout": (
            {"mixer": {"kind": "gated_convolution", "expansion": 2} | plane, "channel": "none"},
            mambaout.GatedConvBlock(8, expansion_ratio=2),
        ),
        "volo": (
            outlook | {"channel": {"kind": "mlp", "expansion": 3, "exact": True}},
            volo.Outlooker(8, 3, 1, stride=2, num_heads=2),
        ),
    }
    names = {"norm1": "mixer_norm", "norm2": "channel_norm", "norm": "mixer_norm"}
    names |= {"layer_scale1.scale": "mixer_scale", "layer_scale2.scale": "channel_scale"}
    names |= {"res_scale1.scale": "mixer_residual", "res_scale2.scale": "channel_residual"}
    names |= {"mlp.fc1": "channel.up", "mlp.fc2": "channel.down", "mlp.act": "channel.activation"}
    names |= {"token_mixer.pwconv1": "mixer.up", "token_mixer.act1": "mixer.activation", "token_mixer.pwconv2": "mixer.down"}
    names |= {"token_mixer.dwconv": "mixer.convolution", "token_mixer.qkv": "mixer.qkv", "token_mixer.proj": "mixer.out"}
    names |= {"fc1": "mixer.up", "conv": "mixer.convolution", "fc2": "mixer.down"}
    names |= {"attn.v": "mixer.value", "attn.attn": "mixer.weights", "attn.proj": "mixer.out"}
    idle = {"_norm.weight": 1, "_norm.bias": 0, "_scale": 1, "height": 1, "log_width": 12}  # a bell so wide that it is 1
    for name, (config, other) in published.items():
        torch.manual_seed(1)
        block, x = perturbed(Block(8, **config)), rounded(4 * torch.randn(2, 5, 6, 8))
        load(other, block, names)
        taken = {renamed(key, names) for key in other.state_dict()}
        for key, tensor in block.named_parameters():
            if key not in taken:
                tensor.fill_(next(value for end, value in idle.items() if key.endswith(end)))
        if name == "caformer":
            y = other(x.flatten(1, 2)).reshape(x.shape)
        else:
            y = other(first(x)).movedim(1, -1) if isinstance(other, metaformer.MetaFormerBlock) else other(x)
        save(f"block-{name}", config, block, x, y)


def from_hat(file: Path) -> None:
    for name in ("basicsr", "basicsr.utils", "basicsr.utils.registry", "basicsr.archs", "basicsr.archs.arch_util", "einops"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["basicsr.utils.registry"].ARCH_REGISTRY = types.SimpleNamespace(register=lambda: lambda cls: cls)
    helpers = sys.modules["basicsr.archs.arch_util"]
    helpers.to_2tuple, helpers.trunc_normal_ = lambda n: (n, n), torch.nn.init.trunc_normal_

    def rearrange(x: torch.Tensor, pattern: str, nc: int, ch: int, owh: int, oww: int) -> torch.Tensor:  # its only use there
        x = x.reshape(len(x), nc, ch, owh * oww, -1)
        return x.permute(1, 0, 4, 3, 2).flatten(1, 2)

    sys.modules["einops"].rearrange = rearrange
    hat = types.ModuleType("hat_arch")
    exec(compile(file.read_text(), str(file), "exec"), hat.__dict__)

    def index(window: int, overlap: int) -> torch.Tensor:
        """(window^2, (window + 2 * overlap)^2): where in the mixer's table a distance stands."""
        reach, places = window + overlap - 1, torch.cartesian_prod(*[torch.arange(window)] * 2)
        wider = torch.cartesian_prod(*[torch.arange(-overlap, window + overlap)] * 2)
        ahead = wider[None] - places[:, None] + reach
        return ahead[..., 0] * (2 * reach + 1) + ahead[..., 1]

    def finish(block: torch.nn.Module, mixer: torch.nn.Module) -> None:
        block.norm1 = torch.nn.Identity()
        torch.nn.init.zeros_(block.mlp.fc2.weight)
        torch.nn.init.zeros_(block.mlp.fc2.bias)

    config = {"kind": "overlapping", "window": 4, "overlap": 0, "shift": 2, "causal": False, "rank": 2}
    mixer, x = mixer_and_signal(config, 1, 8, 12, 16)
    block = hat.HAB(16, (8, 12), 4, 4, 2, 3, 4, 0.01).eval()
    finish(block, mixer)
    block.attn.relative_position_bias_table.data = mixer.distance.data.T
    load(block.attn.qkv, mixer, {"weight": "qkv.weight", "bias": "qkv.bias"})
    load(block.attn.proj, mixer, {"weight": "out.weight", "bias": "out.bias"})
    names = {"cab.0": "branch.enter", "cab.2": "branch.leave"}
    load(block.conv_block, mixer, names | {"cab.3.attention.1": "branch.down", "cab.3.attention.3": "branch.up"})
    mask = hat.HAT.calculate_mask(types.SimpleNamespace(window_size=4, shift_size=2), (8, 12))
    y = block(x.flatten(1, 2), (8, 12), index(4, 0), mask).reshape(x.shape) - x
    save("hat-hybrid", config, mixer, x, y)

    config = {"kind": "overlapping", "window": 4, "overlap": 2, "causal": False, "rank": 2}
    mixer, x = mixer_and_signal(config, 1, 12, 12, 16)
    torch.nn.init.zeros_(mixer.branch.leave.weight)
    torch.nn.init.zeros_(mixer.branch.leave.bias)
    block = hat.OCAB(16, (12, 12), 4, 1.0, 4).eval()
    finish(block, mixer)
    block.relative_position_bias_table.data = mixer.distance.data.T
    load(block.qkv, mixer, {"weight": "qkv.weight", "bias": "qkv.bias"})
    load(block.proj, mixer, {"weight": "out.weight", "bias": "out.bias"})
    y = torch.full_like(x, torch.nan)  # places outside the grid are tokens of zeros there, and don't count here
    y[:, 4:8, 4:8] = (block(x.flatten(1, 2), (12, 12), index(4, 2)).reshape(x.shape) - x)[:, 4:8, 4:8]
    save("hat-overlapping", config, mixer, x, y)


def from_transnext(attention: Path, model: Path) -> None:
    native = types.ModuleType("attention_native")
    exec(compile(attention.read_text(), str(attention), "exec"), native.__dict__)
    text = model.read_text()
    function = text[text.index("@torch.no_grad()\ndef get_relative_position_cpb") : text.index("class Attention(")]
    exec(compile(function, str(model), "exec"), native.__dict__)
    config = {"kind": "aggregated", "pool": 4, "extent": 8, "hidden": 512, "rank": 2}
    mixer, x = mixer_and_signal(config, 2, 8, 8, 16)
    other = native.AggregatedAttention(16, (8, 8), 4, sr_ratio=4)
    names = {"q": "query", "kv": "key_value", "proj": "out", "sr": "reduce", "cpb_fc1": "far_in", "cpb_fc2": "far_out"}
    names |= {"relative_pos_bias_local": "place", "learnable_tokens": "tokens", "learnable_bias": "tokens_bias"}
    other = load(other, mixer, names | {n: n for n in ("temperature", "query_embedding", "norm")})
    which, table = native.get_relative_position_cpb((8, 8), (2, 2))
    save("transnext", config, mixer, x, other(x.flatten(1, 2), 8, 8, which, table).reshape(x.shape))


def from_torchscale() -> None:
    """Retention in its parallel, recurrent and chunkwise form, with the mixer's rotary angles in place of its own."""
    folder = Path(str(importlib.util.find_spec("torchscale").submodule_search_locations[0]))
    from torchscale.component.multiscale_retention import MultiScaleRetention

    text = (folder / "architecture" / "retnet.py").read_text()  # to import it takes fairscale
    module = types.ModuleType("retnet")
    module.__dict__.update(torch=torch, nn=torch.nn)
    exec(compile(text[text.index("class RetNetRelPos") : text.index("class DecoderLayer")], "retnet.py", "exec"), module.__dict__)

    config, chunk = {"kind": "retention"}, 4
    mixer, x = mixer_and_signal(config, 2, 16, 16)
    mixer.norm.fill_(1)
    mixer.qkv.weight.mul_(4)  # so that what keeps the norm from dividing by zero does not show
    args = types.SimpleNamespace(
        multiway=False, layernorm_eps=1e-6, decoder_embed_dim=16, decoder_retention_heads=4, recurrent_chunk_size=chunk
    )
    place = module.RetNetRelPos(args)
    place.angle = (1000.0 ** -(torch.arange(2) / 2)).repeat_interleave(2)
    assert torch.allclose(place.decay, mixer.log_decay)
    other = MultiScaleRetention(args, 16, 16, 4).eval()
    pairs = torch.arange(16).reshape(4, 2, 2).mT.flatten()  # there the two numbers of a rotation stand side by side
    q, k, v = mixer.qkv.weight.chunk(3)
    weights = {"q_proj": q[pairs], "k_proj": k[pairs], "v_proj": v, "g_proj": mixer.gate.weight, "out_proj": mixer.out.weight}
    other.load_state_dict({f"{name}.weight": weight for name, weight in weights.items()})
    save("retention-parallel", config, mixer, x, other(x, place(16)))
    save("retention-chunkwise", config, mixer, x, other(x, place(16, chunkwise_recurrent=True), chunkwise_recurrent=True))
    state: dict = {}
    steps = [other(x[:, t : t + 1], place(t + 1, activate_recurrent=True), incremental_state=state) for t in range(16)]
    save("retention-recurrent", config, mixer, x, torch.cat(steps, 1))


def from_linfusion(file: Path) -> None:
    class Attention(torch.nn.Module):
        """What it takes of that of diffusers."""

        def __init__(self, size: int) -> None:
            super().__init__()
            self.to_q, self.to_k, self.to_v = (torch.nn.Linear(size, size, bias=False) for _ in range(3))
            self.to_out = torch.nn.ModuleList([torch.nn.Linear(size, size), torch.nn.Identity()])

        def head_to_batch_dim(self, x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (4, -1)).transpose(1, 2).flatten(0, 1)

        def batch_to_head_dim(self, x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(0, (-1, 4)).transpose(1, 2).flatten(2)

    for name in ("diffusers", "diffusers.models", "diffusers.models.attention_processor"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["diffusers.models.attention_processor"].Attention = Attention
    module = types.ModuleType("linfusion")
    exec(compile(file.read_text(), str(file), "exec"), module.__dict__)
    config = {"kind": "generalised_linear", "causal": False}
    mixer, x = mixer_and_signal(config, 2, 5, 6, 16)
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "out"}
    for their, own in (("to_q_", "bend_query"), ("to_k_", "bend_key")):
        names |= {f"{their}.0": f"{own}.inner", f"{their}.1": f"{own}.norm", f"{their}.3": f"{own}.outer"}
    other = load(module.GeneralizedLinearAttention(16, projection_mid_dim=4), mixer, names)
    save("linfusion", config, mixer, x, other(x.flatten(1, 2)).reshape(x.shape))


if __name__ == "__main__":
    with torch.no_grad():
        if importlib.util.find_spec("timm"):
            from_timm()
            blocks_from_timm()
        if importlib.util.find_spec("torchscale"):
            from_torchscale()
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
        if (folder / "hat_arch.py").exists():
            from_hat(folder / "hat_arch.py")
        if (folder / "transnext.py").exists():
            from_transnext(folder / "attention_native.py", folder / "transnext.py")
        if (folder / "linfusion.py").exists():
            from_linfusion(folder / "linfusion.py")
