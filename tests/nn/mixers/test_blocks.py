"""Whole blocks against timm's, with the same weights: norm, mixer, scale and channel mixer stand where they should."""

import pytest
import torch

from mixcodec.nn.metaformer import Block

PLANE = {"causal": False, "rank": 2}
BLOCKS = {
    "convformer": {"mixer": {"kind": "separable"} | PLANE, "channel": "star_mlp"},
    "caformer": {"mixer": {"kind": "decay_attention", "heads": 2, "gaussians": 1} | PLANE, "channel": "star_mlp"},
    "poolformer": {"mixer": {"kind": "pooling", "causal": False}, "channel": "star_mlp"},
}
CHANNEL = {"mlp.fc1.weight": "channel.up.weight", "mlp.fc2.weight": "channel.down.weight"}
CHANNEL |= {"mlp.act.scale": "channel.activation.scale", "mlp.act.bias": "channel.activation.bias"}
CHANNEL |= {"norm1.weight": "mixer_norm.weight", "norm2.weight": "channel_norm.weight"}
CHANNEL |= {"layer_scale1.scale": "mixer_scale", "layer_scale2.scale": "channel_scale"}
NAMES = {
    "convformer": CHANNEL
    | {"token_mixer.pwconv1.weight": "mixer.up.weight", "token_mixer.pwconv2.weight": "mixer.down.weight"}
    | {"token_mixer.act1.scale": "mixer.activation.scale", "token_mixer.act1.bias": "mixer.activation.bias"}
    | {"token_mixer.dwconv.weight": "mixer.convolution.weight"},
    "caformer": CHANNEL | {"token_mixer.qkv.weight": "mixer.qkv.weight", "token_mixer.proj.weight": "mixer.out.weight"},
    "poolformer": CHANNEL,
}


@torch.no_grad()
@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_is_timms(timm_models, name):
    timm = timm_models("metaformer")
    torch.manual_seed(1)
    block, x = Block(16, **BLOCKS[name], scale=0.3).eval(), torch.randn(2, 6, 7, 16)
    for tensor in block.parameters():
        tensor.add_(0.1 * torch.randn(tensor.shape))
    for norm in (block.mixer_norm, block.channel_norm):
        norm.bias.zero_()  # timm's has none
        norm.eps = 1e-6
    if name == "caformer":
        block.mixer.height.fill_(1)
        block.mixer.log_width.fill_(12)  # a bell so wide that it is 1 everywhere: plain attention
    kinds = {"convformer": timm.SepConv, "caformer": timm.Attention, "poolformer": timm.Pooling}
    flat = name == "caformer"
    other = timm.MetaFormerBlock(
        16,
        token_mixer=kinds[name],
        mlp_act=timm.StarReLU,
        norm_layer=timm.LayerNormNoBias if flat else timm.LayerNorm2dNoBias,
        layer_scale_init_value=0.3,
        res_scale_init_value=None,
        use_nchw=not flat,
        **({"head_dim": 8} if flat else {}),
    ).eval()
    own = block.state_dict()
    other.load_state_dict({key: own[NAMES[name][key]].reshape(t.shape) for key, t in other.state_dict().items()})
    theirs = other(x.flatten(1, 2)).view_as(x) if flat else other(x.movedim(-1, 1)).movedim(1, -1)
    torch.testing.assert_close(block(x), theirs, atol=1e-5, rtol=1e-5)
