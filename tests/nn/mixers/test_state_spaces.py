"""State spaces that look both ways, against explicit matrices, loops and timm."""

import pytest
import torch
import torch.nn.functional as F

from mixcodec.nn.mixers import MIXERS
from mixcodec.nn.mixers.heads import head_norm


def build(config, channels=16):
    torch.manual_seed(1)
    return MIXERS.build(config, channels=channels).eval()


def close(a, b, digits=1e-5):
    torch.testing.assert_close(a, b, atol=digits, rtol=digits)


def quasiseparable(query, key, pace, rate, diagonal):
    """The matrix (N, N) of one head, number by number: query, key (N, states), pace (N, 2), diagonal (N,).

    Below the diagonal, from s to t > s: what of s is left when t - 1 reads it; above it the same from the other end.
    """
    n = len(query)
    matrix = torch.diag(diagonal.clone())
    for t in range(n):
        for s in range(t):
            left = torch.exp(rate * pace[s + 1 : t, 0].sum())  # decays of s + 1 .. t - 1
            matrix[t, s] = left * (query[t - 1] @ key[s]) * pace[s, 0]
        for s in range(t + 1, n):
            left = torch.exp(rate * pace[t + 1 : s, 1].sum())
            matrix[t, s] = left * (query[t + 1] @ key[s]) * pace[s, 1]
    return matrix


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 2, 37])
def test_hydra_is_its_dense_quasiseparable_matrix(length):
    mixer, x = build({"kind": "hydra", "states": 4}), torch.randn(1, length, 16)
    gate, parts = mixer.parts(x)
    query, key, u, pace, diagonal = (part[0].double() for part in parts)
    rate, y = -mixer.log_rate.double().exp(), torch.zeros_like(u)
    for h in range(4):
        matrix = quasiseparable(query[:, h], key[:, h], pace[:, :, h, 0], rate[h], diagonal[:, h, 0])
        for offset in range(2, length):  # of low rank: that is what makes it cheap
            assert torch.linalg.matrix_rank(matrix[offset:, :offset], rtol=1e-9) <= 4
        y[:, h] = matrix @ u[:, h]
    y = (y.flatten(-2).float() * F.silu(gate[0]))[:, None]
    close(mixer(x)[0], mixer.down(head_norm(y, mixer.norm)), 2e-5)


def test_every_token_of_hydra_sees_both_sides_and_the_mirror_image_is_the_mirror_image():
    mixer, x = build("hydra"), torch.randn(1, 12, 16, requires_grad=True)
    mixer(x)[0, 6].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0).all()
    with torch.no_grad():  # both directions share all but their time steps
        mixer.convolution.weight.copy_((mixer.convolution.weight + mixer.convolution.weight.flip(-1)) / 2)
        first = mixer.up.weight[-8:-4].clone()
        mixer.up.weight[-4:] = first
        close(mixer(x.flip(1)), mixer(x).flip(1))


@torch.no_grad()
def test_hydra_reads_a_plane_row_by_row():
    mixer, x = build("hydra"), torch.randn(2, 5, 6, 16)
    close(mixer(x), mixer(x.flatten(1, 2)).view_as(x))


@torch.no_grad()
def test_hidden_state_is_timms_but_for_an_offset_that_drops_out(timm_models):
    mixer, x = build({"kind": "hidden_state", "states": 6, "rank": 2}), torch.randn(2, 7, 8, 16)
    mixer.skip.fill_(0.7)
    other = timm_models("efficientvim").HSMSSD(16, state_dim=6).eval()
    names = {"BCdt_proj.conv.weight": "select.weight", "dw.conv.weight": "convolution.weight", "D": "skip"}
    names |= {"hz_proj.conv.weight": "up.weight", "out_proj.conv.weight": "down.weight"}
    own = mixer.state_dict()
    weights = {name: own[names[name]].reshape(t.shape) if name in names else t for name, t in other.state_dict().items()}
    assert set(weights) - set(names) == {"A"}
    other.load_state_dict(weights)
    close(mixer(x), other(x.movedim(-1, 1))[0].movedim(1, -1))


@torch.no_grad()
def test_hidden_state_that_is_not_mixed_is_linear_attention_with_weights_of_its_own():
    mixer, x = build({"kind": "hidden_state", "states": 5}), torch.randn(1, 9, 16)
    mixer.up.weight.copy_(torch.cat([torch.eye(16), torch.zeros(16, 16)]))  # a gate of zero, silu(0) = 0
    mixer.down.weight.copy_(torch.eye(16))
    mixed = F.conv1d(mixer.select(x).mT, mixer.convolution.weight, padding=1, groups=15)[0].T
    enter, leave, pace = mixed.chunk(3, -1)
    expected = torch.zeros(9, 16)
    for t in range(9):
        for s in range(9):
            expected[t] += sum(leave[t, i] * pace[:, i].softmax(0)[s] * enter[s, i] for i in range(5)) * x[0, s]
    close(mixer(x)[0], expected)


@torch.no_grad()
def test_dual_selection_is_state_spaces_along_tokens_and_then_along_channels():
    mixer, x = build({"kind": "dual_selection", "causal": False, "rank": 2}), torch.randn(1, 3, 4, 16)
    rows, columns = x[0].reshape(1, 12, 16), x[0].transpose(0, 1).reshape(1, 12, 16)
    down = mixer.tokens[0](columns) + mixer.tokens[1](columns.flip(1)).flip(1)  # columns after each other
    across = mixer.tokens[2](rows) + mixer.tokens[3](rows.flip(1)).flip(1)
    y = across.reshape(3, 4, 16) + down.reshape(4, 3, 16).transpose(0, 1)
    for i in range(3):
        for j in range(4):
            sequence = mixer.norm(y[i, j]).reshape(1, 4, 4)
            mixed = mixer.groups[0](sequence) + mixer.groups[1](sequence.flip(1)).flip(1)
            close(mixer(x)[0, i, j], y[i, j] + mixed.flatten())
