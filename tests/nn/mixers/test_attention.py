"""Attention mixers against torch's own attention and against their formulas written as loops."""

import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.metaformer import Stack
from mixcodec.nn.mixers import MIXERS, mixing_matrix, value_matrix
from mixcodec.nn.mixers.attention import look_back, no_past, rotate, rotate_places
from mixcodec.nn.mixers.windows import Groups, grid_places, latest, merge, neighbours, partition

C, HEADS = 16, 4


def build(config, channels=C):
    """In float64, so that an oracle's only excuse is its own rounding."""
    torch.manual_seed(1)
    return MIXERS.build(config, channels=channels).eval().double()


def signal(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def close(a, b, digits=1e-6):
    torch.testing.assert_close(a, b.to(a.dtype), atol=digits, rtol=digits)


def heads(x, count=HEADS):
    """(N, C) -> (heads, N, D)."""
    return x.reshape(len(x), count, -1).transpose(0, 1)


def masked(q, k, v, seen, bias=0.0, count=HEADS):
    """torch's own attention of one signal's q, k, v (N, C) where `seen` (N, N)."""
    mask = torch.where(seen, torch.zeros((), dtype=q.dtype), torch.full((), -torch.inf, dtype=q.dtype)) + bias
    y = F.scaled_dot_product_attention(heads(q, count), heads(k, count), heads(v, count), attn_mask=mask)
    return y.transpose(0, 1).reshape(q.shape)


def apart(grid):
    """(N, N, rank): how far token j is ahead of token i on every axis."""
    places = grid_places(grid)
    return places[None] - places[:, None]


# --- windows -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(16,), (5,), (7, 9), (4, 4)])
@pytest.mark.parametrize(("size", "shift"), [(4, 0), (4, 3), (3, 1), (9, 5)])
def test_windows_put_together_are_what_was_taken_apart(grid, size, shift):
    x = signal(2, *grid, 3)
    windows = partition(x, size, shift)
    assert windows.shape[2] == size ** len(grid)
    assert torch.equal(merge(windows, grid, size, shift), x)


def test_wider_windows_hold_what_lies_around():
    x = torch.arange(1.0, 13).reshape(1, 12, 1)
    windows = partition(x, 4, overlap=2)[0, :, :, 0]
    assert windows.tolist() == [[0, 0, 1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 7, 8, 9, 10], [7, 8, 9, 10, 11, 12, 0, 0]]


def test_neighbours_are_torchs_unfolding():
    x = signal(2, 6, 7, 3)
    expected = (
        F.unfold(x.movedim(-1, 1), 3, dilation=2, padding=2).unflatten(1, (3, 9)).permute(0, 3, 2, 1).reshape(2, 6, 7, 9, 3)
    )
    assert torch.equal(neighbours(x, 3, 2), expected)


@pytest.mark.parametrize("cuts", [[], [1], [3, 4, 11], range(1, 23)], ids=str)
def test_groups_of_a_stream_are_those_of_the_whole(cuts):
    """The sums of the full groups, gathered block by block, and of each token's group so far."""
    x, groups, size = signal(1, 23, 2), Groups(5, 2), 5
    state, sums, parts = groups.initial_state(1, x), torch.zeros(1, 4, 2, dtype=x.dtype), []
    for part in torch.tensor_split(x, list(cuts), 1):
        split = groups.split(part, part[..., :0], state)
        parts.append(groups.join(split.groups.cumsum(2), split))
        sums = latest(sums, split.groups.sum(2), split.full)
        state = split.after
    close(sums[0], torch.stack([x[0, size * i : size * i + size].sum(0) for i in range(4)]))
    close(torch.cat(parts, 1)[0], torch.stack([x[0, t - t % size : t + 1].sum(0) for t in range(23)]))


# --- windowed, global and mixed spans ------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize("length", [40, 200])  # one band, and many
def test_windowed_attention_is_torchs_under_a_mask(length):
    mixer, x = build({"kind": "attention", "window": 7}), signal(2, length, C)
    for item, y in zip(x, mixer(x), strict=True):
        q, k, v = mixer.qkv(item).chunk(3, -1)
        q, k = (rotate(heads(part), torch.arange(length)).transpose(0, 1).reshape(length, C) for part in (q, k))
        behind = -apart((length,))[..., 0]
        close(y, mixer.out(masked(q, k, v, (behind >= 0) & (behind <= 7))), 1e-5)  # float32 angles


def test_rotary_positions_are_complex_rotations_by_distance():
    q, k, places = signal(1, 5, 8), signal(1, 5, 8), torch.tensor([[0, 2], [3, 1], [5, 5], [7, 0], [1, 6]])
    scores = rotate_places(q, places) @ rotate_places(k, places).mT
    speed = 1000.0 ** -(torch.arange(2) / 2)
    for i in range(5):
        for j in range(5):
            expected = 0.0
            for axis in range(2):
                a, b = (part[0, n, 4 * axis : 4 * axis + 4] for part, n in ((q, i), (k, j)))
                a, b = torch.complex(a[:2], a[2:]), torch.complex(b[:2], b[2:])
                turn = torch.polar(torch.ones(2), speed * (places[i, axis] - places[j, axis])).to(a.dtype)
                expected = expected + (a * b.conj() * turn).real.sum()
            close(scores[0, i, j], expected, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("grid", [(11,), (4, 5)])
def test_global_attention_is_a_loop_over_tokens_and_registers(grid):
    mixer, x = build({"kind": "global_attention", "heads": 2, "registers": 3, "rank": len(grid)}), signal(1, *grid, C)
    q, k, v = (heads(part.reshape(-1, C), 2) for part in mixer.qkv(x[0]).chunk(3, -1))
    q, k = rotate_places(q, grid_places(grid)), rotate_places(k, grid_places(grid))
    more_k, more_v = (heads(part, 2) for part in mixer.registers)
    y = torch.zeros_like(q)
    for h in range(2):
        keys, values = torch.cat([k[h], more_k[h]]), torch.cat([v[h], more_v[h]])
        for t in range(q.shape[1]):
            y[h, t] = (keys @ q[h, t] / 8**0.5).softmax(0) @ values
    close(mixer(x)[0].reshape(-1, C), mixer.out(y.transpose(0, 1).reshape(-1, C)))


@torch.no_grad()
@pytest.mark.parametrize("grid", [(23,), (7, 9)])
def test_near_layers_see_near_and_far_layers_all(grid):
    config, x = {"kind": "mixed_span", "window": 2, "causal": False, "rank": len(grid)}, signal(1, *grid, C)
    plain = build({"kind": "global_attention", "registers": 0, "rank": len(grid)})
    far = build(config | {"layer": 3, "layers": 4, "far": [-1]})
    far.load_state_dict(plain.state_dict())
    close(far(x), plain(x))
    near = build(config | {"layer": 2, "layers": 4, "far": [-1]})
    q, k, v = (part.reshape(-1, C) for part in near.qkv(x[0]).chunk(3, -1))
    q, k = (rotate_places(heads(part), grid_places(grid)).transpose(0, 1).reshape(-1, C) for part in (q, k))
    y = masked(q, k, v, apart(grid).abs().amax(-1) <= 2)
    close(near(x)[0].reshape(-1, C), near.out(y), 1e-5)


@torch.no_grad()
def test_causal_spans_are_windowed_attention_of_their_span():
    x, config = signal(2, 40, C), {"kind": "mixed_span", "window": 3, "span": 20, "far": [1], "layers": 3}
    for layer, window in enumerate((3, 20, 3)):
        mixer, plain = build(config | {"layer": layer}), build({"kind": "attention", "window": window})
        plain.load_state_dict(mixer.state_dict())
        close(mixer(x), plain(x))


def test_a_stack_tells_each_mixer_its_layer():
    stage = {"depth": 2, "mixer": {"kind": "mixed_span", "window": 3, "span": 9, "far": [0, -1]}, "channel": "mlp"}
    stack = Stack(4, 4, C, [stage, stage])
    assert [block.mixer.window for block in stack.blocks] == [9, 3, 3, 9]
    with pytest.raises(ConfigError, match="far is 4, but must be a whole number from -4 to 3"):
        Stack(4, 4, C, [stage | {"mixer": {"kind": "mixed_span", "far": [4]}}, stage])


def test_keys_of_the_past_are_seen_where_they_are():
    state = no_past(torch.zeros(1), 1, 3, 2, 2)
    first, second = signal(1, 2, 2), signal(1, 4, 2)
    state = look_back(first, first, first, state, 3).keep
    recent = look_back(second, second, second, state, 3)
    assert torch.equal(recent.keys[0, 1:], torch.cat([first, second], 1)[0])
    assert recent.real.tolist() == [[0, 1, 1, 1, 1, 1, 1]]
    assert recent.behind[1].tolist() == [4, 3, 2, 1, 0, -1, -2]


# --- attention in a convolution's window ---------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(("causal", "grid"), [(True, (20,)), (False, (20,)), (False, (6, 7))])
def test_conv_attention_is_full_attention_under_the_windows_mask(causal, grid):
    config = {"kind": "conv_attention", "kernel": 3, "dilation": 2, "causal": causal, "rank": len(grid)}
    mixer, x = build(config), signal(1, *grid, C)
    mixer.place.copy_(torch.randn(mixer.place.shape))
    q, k, v = (part.reshape(-1, C) for part in mixer.qkv(x[0]).chunk(3, -1))
    offset = apart(grid) // 2 + (2 if causal else 1)  # of a place in the window, on every axis
    seen = ((apart(grid) % 2 == 0) & (offset >= 0) & (offset <= 2)).all(-1)
    place = torch.zeros(seen.shape, dtype=torch.long)
    for axis in range(len(grid)):
        place = 3 * place + offset[..., axis].clamp(0, 2)
    close(mixer(x)[0].reshape(-1, C), mixer.out(masked(q, k, v, seen, mixer.place[:, place])))


def support(mixer, grid, at, channels=C):
    """Which tokens the output at `at` depends on."""
    x = signal(1, *grid, channels).requires_grad_()
    mixer(x)[(0, *at)].square().sum().backward()
    return {tuple(place) for place in x.grad[0].abs().sum(-1).nonzero().tolist()}


def test_shifted_windows_look_in_every_direction():
    config = {"kind": "conv_attention", "heads": 4, "kernel": 3, "causal": False, "rank": 2}
    assert len(support(build(config), (16, 16), (8, 8))) == 9
    seen = support(build(config | {"shift": 4}), (16, 16), (8, 8))
    around = lambda r, c: {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)}  # noqa: E731
    assert seen == around(8, 8) | around(12, 8) | around(4, 8) | around(8, 12)
    causal = support(build({"kind": "conv_attention", "kernel": 3, "shift": 7}), (32,), (20,))
    assert causal == {(t,) for t in (18, 19, 20, 11, 12, 13)}


# --- gated single-head ---------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(("causal", "grid"), [(True, (23,)), (False, (23,)), (False, (6, 7))])
def test_joint_attention_is_its_near_and_its_far_form_added(causal, grid):
    config = {"kind": "gated_attention", "size": 8, "chunk": 4, "kernel": 3, "causal": causal, "rank": len(grid)}
    mixer, x, count = build(config), signal(1, *grid, C), torch.Size(grid).numel()
    mixer.scale.copy_(torch.randn(4, 8))
    mixer.offset.copy_(torch.randn(4, 8))
    start = mixer.enter.initial_state(1), mixer.share.initial_state(1), mixer.leave.initial_state(1)
    uv = mixer.enter.step(x, start[0])[0][0].reshape(count, -1)
    shared = mixer.share.step(x, start[1])[0][0].reshape(count, -1)
    near_q, far_q, near_k, far_k = (shared * a + b for a, b in zip(mixer.scale, mixer.offset, strict=True))
    places = grid_places(grid)
    near_q, near_k = rotate_places(near_q, places), rotate_places(near_k, places)
    seen = torch.zeros(count, 2 * C, dtype=x.dtype)
    for t in range(count):
        past = range(t + 1) if causal else range(count)
        for s in past:
            if (places[t] // 4).equal(places[s] // 4):
                seen[t] += (near_q[t] @ near_k[s] / 4 ** len(grid)).clamp(min=0) ** 2 * uv[s]
            seen[t] += far_q[t] @ far_k[s] * uv[s] / len(past)
    (u, v), (seen_u, seen_v) = uv.chunk(2, -1), seen.chunk(2, -1)
    y = (seen_u * v * torch.sigmoid(seen_v * u)).reshape(x.shape)
    close(mixer(x), mixer.leave.step(y, start[2])[0], 1e-5)


# --- overlapping windows -------------------------------------------------------------------------------------------------


@torch.no_grad()
@pytest.mark.parametrize(("overlap", "shift"), [(0, 0), (0, 2), (3, 0), (1, 3)])
@pytest.mark.parametrize(("causal", "grid"), [(True, (23,)), (False, (23,)), (False, (7, 9))])
def test_overlapping_windows_are_full_attention_under_their_mask(causal, grid, overlap, shift):
    config = {"kind": "overlapping", "window": 4, "overlap": overlap, "shift": shift, "causal": causal, "rank": len(grid)}
    mixer, x = build(config), signal(1, *grid, C)
    q, k, v = (part.reshape(-1, C) for part in mixer.qkv(x[0]).chunk(3, -1))
    places = grid_places(grid)
    begin = (places + shift) // 4 * 4 - shift  # of each token's window
    ahead = places[None] - begin[:, None]  # of a key, from the beginning of the query's window
    last = apart(grid) <= 0 if causal else ahead <= 3 + overlap
    seen = ((ahead >= -overlap) & last).all(-1)
    index = torch.zeros(seen.shape, dtype=torch.long)
    reach = 3 + overlap
    for axis in range(len(grid)):
        way = apart(grid)[..., axis].clamp(-reach, reach)
        index = -way.clamp(max=0) if causal else index * (2 * reach + 1) + way + reach
    y = mixer.out(masked(q, k, v, seen, mixer.distance[:, index]))
    start = mixer.branch.start(1) if causal else {}
    close(mixer(x)[0].reshape(-1, C), y + 0.01 * mixer.branch.mix(x, start)[0][0].reshape(-1, C))


@torch.no_grad()
def test_channel_attention_is_torchs_layers():
    mixer, x = build({"kind": "overlapping", "causal": False, "rank": 2}).branch, signal(2, 6, 7, C)
    y = F.gelu(F.conv2d(x.movedim(-1, 1), mixer.enter.weight, mixer.enter.bias, padding=1))
    y = F.conv2d(y, mixer.leave.weight, mixer.leave.bias, padding=1)
    gate = torch.sigmoid(mixer.up(F.relu(mixer.down(y.mean((2, 3))))))
    close(mixer(x), (y * gate[:, :, None, None]).movedim(1, -1))


def test_overlap_widens_what_a_token_sees():
    grid = (12, 12)

    def seen(overlap):
        mixer = build({"kind": "overlapping", "window": 4, "overlap": overlap, "causal": False, "rank": 2})
        torch.nn.init.zeros_(mixer.branch.leave.weight)
        return support(mixer, grid, (5, 5))

    assert seen(0) == {(i, j) for i in range(4, 8) for j in range(4, 8)}
    assert seen(2) == {(i, j) for i in range(2, 10) for j in range(2, 10)}


# --- aggregated and dual tokens --------------------------------------------------------------------------------------------


def test_one_layer_of_aggregated_attention_and_of_dual_tokens_sees_everything():
    for kind in ("aggregated", "dual_token"):
        assert len(support(build({"kind": kind, "rank": 2}), (16, 16), (3, 4))) == 256


@torch.no_grad()
def test_global_tokens_are_what_carries_far_and_know_their_place():
    mixer, x = build({"kind": "dual_token", "kernel": 3, "rank": 2}), signal(1, 8, 8, C)
    moved = mixer.global_tokens(x.roll((2, 2), (1, 2))).unflatten(1, (4, 4)).roll((-1, -1), (1, 2)).flatten(1, 2)
    assert not torch.allclose(moved, mixer.global_tokens(x), atol=1e-3)  # the same content elsewhere
    mixer.places.zero_()
    moved = mixer.global_tokens(x.roll((2, 2), (1, 2))).unflatten(1, (4, 4)).roll((-1, -1), (1, 2)).flatten(1, 2)
    close(moved, mixer.global_tokens(x))  # without learned tokens they don't know
    mixer.out.weight[:, C:] = 0
    with torch.enable_grad():
        assert len(support(mixer, (8, 8), (4, 4))) == 9


@torch.no_grad()
def test_dual_tokens_are_their_loop():
    mixer, x = build({"kind": "dual_token", "kernel": 3, "tokens": 3, "heads": 1}, 8), signal(1, 12, 8)
    pooled = x[0].reshape(3, 4, 8).mean(1) + mixer.places
    q, k, v = mixer.gather(mixer.norm(pooled)).chunk(3, -1)
    known = pooled + (q @ k.T / 8**0.5).softmax(-1) @ v
    k, v = mixer.spread(known).chunk(2, -1)
    far = (mixer.query(x[0]) @ k.T / 8**0.5).softmax(-1) @ v
    near = F.conv1d(x.mT, mixer.convolution.weight, mixer.convolution.bias, padding=1, groups=8)[0].T
    near = F.gelu(mixer.local(mixer.local_norm(near)))
    close(mixer(x)[0], mixer.out(torch.cat([near, far], -1)))


# --- latents, expectations, codes and slots ----------------------------------------------------------------------------------


@torch.no_grad()
def test_interleaved_latents_are_their_loop():
    config = {"kind": "interleaved", "heads": 1, "group": 4, "latents": 2, "memory": 3}
    for causal in (True, False):
        mixer, x = build(config | {"causal": causal}, 8), signal(1, 22, 8)
        q, k, v = mixer.qkv(x[0]).chunk(3, -1)
        turned_q, turned_k = rotate(q, torch.arange(22)), rotate(k, torch.arange(22))
        groups = [range(i, min(22, i + 4)) for i in range(0, 22, 4)]
        read = [mixer.latents + (mixer.latents @ k[list(g)].T / 8**0.5).softmax(-1) @ v[list(g)] for g in groups]
        told = []
        for n, latents in enumerate(read):
            others = read[max(0, n - 2) : n + 1] if causal else read
            asked = mixer.latent_qkv(mixer.norm(latents)).chunk(3, -1)[0]
            keys, values = mixer.latent_qkv(mixer.norm(torch.cat(others))).chunk(3, -1)[1:]
            told.append(latents + mixer.latent_out((asked @ keys.T / 8**0.5).softmax(-1) @ values))
        y = torch.zeros(22, 8, dtype=x.dtype)
        for n, group in enumerate(groups):
            for t in group:
                near = [s for s in group if s <= t or not causal]
                y[t] = (turned_k[near] @ turned_q[t] / 8**0.5).softmax(0) @ v[near]
                if n or not causal:
                    keys, values = mixer.write(told[n - causal]).chunk(2, -1)
                    y[t] += (keys @ q[t] / 8**0.5).softmax(0) @ values
        close(mixer(x)[0], mixer.out(y), 1e-5)


def test_without_latents_groups_know_nothing_of_each_other():
    mixer = build({"kind": "interleaved", "group": 4, "causal": False, "rank": 2})
    assert len(support(mixer, (8, 8), (1, 1))) == 64
    torch.nn.init.zeros_(mixer.write.weight)
    assert support(mixer, (8, 8), (1, 1)) == {(i, j) for i in range(4) for j in range(4)}


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_combiner_is_its_conditional_expectation(causal):
    mixer, x = build({"kind": "combiner", "heads": 1, "group": 4, "memory": 2, "causal": causal}, 8), signal(1, 22, 8)
    q, k, v = mixer.qkv(x[0]).chunk(3, -1)
    turned_q, turned_k = rotate(q, torch.arange(22)), rotate(k, torch.arange(22))
    groups = [list(range(i, min(22, i + 4))) for i in range(0, 22, 4)]
    y = torch.zeros(22, 8, dtype=x.dtype)
    for n, group in enumerate(groups):
        others = groups[max(0, n - 2) : n] if causal else groups[:n] + groups[n + 1 :]
        for t in group:
            near = [s for s in group if s <= t or not causal]
            scores = torch.cat([turned_k[near] @ turned_q[t], torch.tensor([q[t] @ k[o].amax(0) for o in others]).to(q)])
            p = (scores / 8**0.5).softmax(0)
            y[t] = p[: len(near)] @ v[near]
            for weight, other in zip(p[len(near) :], others, strict=True):
                y[t] += weight * ((k[other] @ q[other].amax(0) / 8**0.5).softmax(0) @ v[other])
    close(mixer(x)[0], mixer.out(y), 1e-5)


@torch.no_grad()
def test_a_combiner_with_one_group_is_plain_attention():
    x, plain = signal(2, 20, C), build({"kind": "attention", "window": 20})
    mixer = build({"kind": "combiner", "group": 20})
    mixer.load_state_dict(plain.state_dict())
    close(mixer(x), plain(x), 1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("causal", "grid"), [(True, (20,)), (False, (5, 4))])
def test_vector_quantized_attention_is_dense_attention_to_the_quantized_keys(causal, grid):
    mixer, x = build({"kind": "vq_attention", "codes": 6, "causal": causal, "rank": len(grid)}), signal(1, *grid, C)
    decay, average = torch.sigmoid(mixer.speed), torch.zeros_like(x[0])
    if causal:
        for t in range(20):
            average[t] = decay * average[t - 1] * (t > 0) + (1 - decay) * x[0, t]
    else:
        for axis, length in enumerate(grid):
            for t in range(length):
                for s in range(length):
                    part = (decay ** abs(t - s) * (1 - decay)) * x[0].select(axis, s)
                    average.select(axis, t).add_(part * (2 if s == t else 1) / 4)
    q, k, gate = (part.reshape(-1, C) for part in mixer.shared(x[0] + mixer.average * average).chunk(3, -1))
    keys = torch.stack([book[torch.cdist(part, book).argmin(-1)] for part, book in zip(heads(k), mixer.codebook, strict=True)])
    seen = apart((20,))[..., 0] <= (0 if causal else 20)
    y = masked(q, keys.transpose(0, 1).reshape(-1, C), mixer.value(x[0]).reshape(-1, C), seen)
    close(mixer(x)[0].reshape(-1, C), mixer.out(y * F.silu(gate)))


def test_quantized_keys_are_codes_and_have_a_gradient():
    mixer, keys = build({"kind": "vq_attention", "codes": 6}), signal(3, HEADS, 4).requires_grad_()
    codes = mixer.quantize(keys)
    assert set(codes.detach().round(decimals=9).unique().tolist()) <= {0.0, -0.0, 1.0}
    close(codes.detach().sum(-1), torch.ones(3, HEADS))
    (codes * signal(3, HEADS, 6)).sum().backward()
    assert keys.grad.abs().min() > 0


@torch.no_grad()
def test_the_compressed_cache_is_its_loop():
    mixer, x = build({"kind": "lococo", "heads": 2, "chunk": 4, "slots": 3, "kernel": 3}, 8), signal(1, 22, 8)
    q, k, v = (heads(part, 2) for part in mixer.qkv(x[0]).chunk(3, -1))
    y = torch.zeros(2, 22, 4, dtype=x.dtype)
    for h in range(2):
        keys, values, filled = torch.zeros(3, 4).to(x), torch.zeros(3, 4).to(x), torch.zeros(3).to(x)
        turned_q, turned_k = rotate(q[h], torch.arange(22)), rotate(k[h], torch.arange(22))
        for t in range(22):
            chunk = range(t // 4 * 4, t + 1)
            scores = torch.cat([turned_k[chunk] @ turned_q[t] / 2, keys @ q[h, t] / 2 + filled.log()])
            p = scores.softmax(0)
            y[h, t] = p[: len(chunk)] @ v[h, chunk] + p[len(chunk) :] @ values
            if len(chunk) == 4:
                out = F.conv1d(k[h, chunk].T[None], mixer.merge.weight, padding=1)[0]
                share, gate = out[:3].softmax(-1), torch.sigmoid(out[3:].mean(-1) + mixer.speed)
                close(share.sum(-1), torch.ones(3))
                new = filled * (1 - gate) + gate
                keys, values = (
                    ((filled * (1 - gate))[:, None] * old + gate[:, None] * (share @ part[h, chunk])) / new[:, None]
                    for old, part in ((keys, k), (values, v))
                )
                filled = new
    close(mixer(x)[0], mixer.out(y.transpose(0, 1).reshape(22, 8)), 1e-5)


def test_the_compressed_cache_does_not_grow_and_remembers():
    mixer = build({"kind": "lococo", "chunk": 8, "slots": 4})
    state = mixer.initial_state(1)
    for length in (1, 7, 64, 500):
        _, after = mixer.step(signal(1, length, C), state)
        assert {name: t.shape for name, t in after.items()} == {name: t.shape for name, t in state.items()}
        state = after
    assert (0,) in support(mixer, (90,), (89,))


# --- convolutional additive, against its formula in torch's layers -----------------------------------------------------------


@torch.no_grad()
def test_additive_attention_is_torchs_layers():
    mixer, x = build({"kind": "additive", "causal": False, "rank": 2}), signal(2, 6, 7, C)

    def context(part, x):
        near = F.conv2d(x.movedim(-1, 1), part.convolution.weight, padding=1, groups=C).movedim(1, -1)
        near = F.relu(F.layer_norm(near, (C,), part.norm.weight, part.norm.bias))
        x = x * torch.sigmoid(near @ part.spatial.weight.T)
        return x * torch.sigmoid(x.mean((1, 2), keepdim=True) @ part.channel.weight.T)

    q, k, v = (x @ weight.T for weight in mixer.qkv.weight.chunk(3))
    both = context(mixer.query, q) + context(mixer.key, k)
    y = F.conv2d(both.movedim(-1, 1), mixer.convolution.weight, mixer.convolution.bias, padding=1, groups=C).movedim(1, -1)
    close(mixer(x), mixer.out(y * v))


# --- the matrix of weights ---------------------------------------------------------------------------------------------------

SOFTMAX = [
    {"kind": "attention", "window": 4},
    {"kind": "mixed_span", "window": 2, "layer": 1, "layers": 2},
    {"kind": "mixed_span", "heads": 2, "window": 2, "layer": 1, "layers": 2, "causal": False, "rank": 2},
    {"kind": "global_attention", "heads": 2, "registers": 0, "rank": 2},
    {"kind": "conv_attention", "kernel": 4},
    {"kind": "conv_attention", "kernel": 3, "shift": 2, "causal": False},
    {"kind": "overlapping", "window": 4, "overlap": 2},
    {"kind": "overlapping", "window": 3, "overlap": 1, "causal": False, "rank": 2},
    {"kind": "combiner", "group": 3, "memory": 9},
    {"kind": "combiner", "heads": 2, "group": 2, "causal": False, "rank": 2},
    {"kind": "lococo", "chunk": 4, "slots": 3},
    {"kind": "linear_attention"},
    {"kind": "linear_attention", "causal": False},
    {"kind": "generalised_linear"},
    {"kind": "generalised_linear", "causal": False},
]
OTHER = [
    {"kind": "simplified_linear", "kernel": 3},
    {"kind": "simplified_linear", "kernel": 3, "causal": False, "rank": 2},
    {"kind": "global_attention", "registers": 2},
    {"kind": "decay_attention", "window": 4},
    {"kind": "outlook", "rank": 2},
    {"kind": "vq_attention", "codes": 5},
    {"kind": "vq_attention", "codes": 5, "causal": False, "rank": 2},
]
GATED = [{"kind": "gla"}, {"kind": "gla", "causal": False}, {"kind": "retention"}, {"kind": "retention", "causal": False}]
GATED += [{"kind": "ssm", "states": 3}, {"kind": "ssd", "states": 3}, {"kind": "hydra", "states": 3}]


def shape(mixer):
    return (12, 8) if 1 in mixer.grid_ranks else (3, 4, 8)


@torch.no_grad()
@pytest.mark.parametrize("config", SOFTMAX + OTHER + GATED, ids=lambda c: " ".join(map(str, c.values())))
def test_the_matrix_times_the_values_is_what_is_mixed(config):
    mixer = build(config, 8)
    x, seen, values = signal(*shape(mixer)), [], []
    matrix = value_matrix(mixer, x)
    width = matrix.shape[-1]
    hook = mixer.get_submodule(mixer.mixed).register_forward_pre_hook(lambda part, args: seen.append(args[0].flatten()))
    layer = mixer.get_submodule(mixer.values)
    look = layer.register_forward_hook(lambda part, args, y: values.append(y[..., -width:].flatten()))
    y = mixer(x[None])[0]
    look.remove()
    layer.register_forward_hook(lambda part, args, y: torch.cat([y[..., :-width], 0 * y[..., -width:]], -1))
    mixer(x[None])
    hook.remove()
    size = 12 * width
    close(seen[0], matrix.reshape(size, size) @ values[0] + seen[1])
    assert y.shape == x.shape
    if mixer.causal:
        assert not matrix.abs().amax((1, 3)).triu(1).any()


@torch.no_grad()
@pytest.mark.parametrize("config", GATED, ids=lambda c: " ".join(map(str, c.values())))
def test_a_recurrence_is_its_matrix_then_norm_and_gate(config):
    """The forward pass put together by hand from the matrix, which weighs each head's channels alike (`ssm` each its own)."""
    mixer, x = build(config, 8), signal(12, 8)
    matrix = value_matrix(mixer, x)
    weights = matrix.diagonal(dim1=1, dim2=3)  # (T, T, V)
    assert not (matrix - torch.diag_embed(weights, dim1=1, dim2=3)).any()
    if config["kind"] != "ssm":
        each = weights.unflatten(-1, (4, -1))
        close(each, each[..., :1].expand_as(each))
    found = []
    mixer.get_submodule(mixer.values).register_forward_hook(lambda part, args, y: found.append(y[0, :, -weights.shape[-1] :]))
    y = mixer(x[None])[0]
    mixed = torch.einsum("tsv,sv->tv", weights, found[0])
    if config["kind"] in ("gla", "retention"):
        expected = mixer.out(rms(mixed, 4) * mixer.norm * F.silu(mixer.gate(x)))
    else:
        gate = mixer.up(x)[:, : mixer.hidden] if config["kind"] != "ssm" else mixer.up(x)[:, mixer.hidden :]
        gated = mixed * F.silu(gate)
        expected = mixer.down(gated if config["kind"] == "ssm" else rms(gated, 1) * mixer.norm)
    close(y, expected, 1e-5)


def rms(x, count):
    """(T, V), each of `count` heads divided by its root mean square."""
    x = x.unflatten(-1, (count, -1))
    return (x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()).flatten(-2)


@torch.no_grad()
def test_the_matrix_of_retention_is_its_formula():
    mixer, x = build({"kind": "retention", "heads": 2}, 8), signal(12, 8)
    q, k, _ = mixer.qkv(x).chunk(3, -1)
    place = torch.arange(12)
    for head, decay in enumerate([1 - 2**-5, 1 - 2**-6]):
        of = slice(4 * head, 4 * head + 4)
        scores = rotate(q[:, of], place) @ rotate(k[:, of], place).T / 2
        apart = place[:, None] - place
        expected = (scores * decay ** apart.clamp(min=0)).tril()
        close(value_matrix(mixer, x)[:, 4 * head, :, 4 * head], expected, 1e-5)


@torch.no_grad()
@pytest.mark.parametrize("config", SOFTMAX, ids=lambda c: " ".join(map(str, c.values())))
def test_weights_are_positive_and_sum_to_one(config):
    mixer = build(config, 8)
    weights = value_matrix(mixer, signal(*shape(mixer))).reshape(12, 8, 12, 8)
    assert weights.min() > -1e-12
    close(weights.sum((2, 3)), torch.ones(12, 8))
    for c in range(8):
        assert not weights[:, c, :, [d for d in range(8) if d != c]].any()  # channels keep to themselves
    if config["kind"] == "combiner":  # every token in sight has some weight
        seen = weights[:, 0, :, 0] > 0
        assert seen.equal(torch.ones(12, 12).tril().bool() if mixer.causal else torch.ones(12, 12).bool())


def test_what_has_no_such_matrix_says_so():
    with pytest.raises(ConfigError, match="take mixing_matrix"):
        value_matrix(build({"kind": "pooling"}), signal(5, C))
    for kind in ("dual_selection", "hidden_state"):
        with pytest.raises(ConfigError, match="mixes none linearly"):
            value_matrix(build(kind), signal(5, C))
    with pytest.raises(ConfigError, match="take value_matrix"):
        mixing_matrix(build("gla"), 5, C)
    with pytest.raises(ConfigError, match="at most 4096"):
        value_matrix(build({"kind": "attention"}), signal(500, C))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "lococo", "causal": False}, "'lococo' is causal alone: .*; take 'combiner'"),
        ({"kind": "global_attention", "heads": 4, "rank": 3}, "must divide by twice the rank"),
        ({"kind": "gated_attention", "size": 7}, "must divide by twice the rank"),
        ({"kind": "overlapping", "window": 4, "shift": 4}, "shift is 4, but must be a whole number from 0 to 3"),
        ({"kind": "combiner", "group": 1}, "group is 1"),
        ({"kind": "conv_attention", "kernel": 4, "causal": False}, "kernel must be odd"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_says_why(config, message):
    with pytest.raises(ConfigError, match=message):
        build(config)
