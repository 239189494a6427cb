"""The mixture of experts, against a loop over tokens."""

import pytest
import torch
import torch.nn.functional as F

from mixcodec.errors import ConfigError
from mixcodec.nn.channels import CHANNELS


def build(**options):
    torch.manual_seed(1)
    return CHANNELS.build({"kind": "experts"} | options, channels=8).eval()


@torch.no_grad()
@pytest.mark.parametrize("chosen", [1, 2, 7])
def test_each_token_gets_its_likeliest_experts_and_no_others(chosen):
    part, x = build(experts=3, constants=2, chosen=chosen), torch.randn(30, 8)
    for token, y in zip(x, part(x), strict=True):
        likely, expected = (part.router.weight @ token).softmax(0), torch.zeros(8)
        for expert in likely.argsort(descending=True)[:chosen].tolist():
            if expert < 3:
                said = part.experts[expert](token)
            elif expert == 3:
                said = torch.zeros(8)
            elif expert == 4:
                said = token
            else:
                constant = part.constants[expert - 5]
                own, other = (constant.weights.weight @ token).softmax(0)
                said = own * token + other * constant.vector
            expected = expected + likely[expert] * said
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_perceptrons_see_only_the_tokens_that_chose_them():
    part, seen = build(experts=3, chosen=2), []
    for expert in part.experts:
        expert.register_forward_hook(lambda module, args, y: seen.append(len(args[0])))
    x = torch.randn(400, 8)
    part(x)
    _, weights = part.routes(x)
    assert seen == (weights[:, :3] > 0).sum(0).tolist()
    assert 0 < sum(seen) < 2 * 400  # fewer calls than tokens times chosen: the free experts take a part
    assert ((weights > 0).sum(-1) == 2).all()


@torch.no_grad()
def test_a_router_that_always_wants_zero_or_the_token_gets_them():
    part, x = build(experts=2, constants=0, chosen=1), torch.rand(5, 8) + 0.1
    for expert, expected in ((2, torch.zeros(5, 8)), (3, x)):
        part.router.weight.fill_(-100)
        part.router.weight[expert] = 100
        torch.testing.assert_close(part(x), expected)


def test_balance_acts_through_the_gradient_in_training_alone():
    part, x = build(balance=0.5, free=0.25), torch.randn(50, 8)
    likely, weights = part.routes(x)
    often = (weights > 0).float().mean(0) / 2
    share = torch.tensor([1.0] * 4 + [0.25] * 3)
    loss = 7 * (often * likely.mean(0) * share).sum()
    (own,) = torch.autograd.grad(0.5 * loss, part.router.weight, retain_graph=True)
    (plain,) = torch.autograd.grad(part(x).sum(), part.router.weight)
    part.train()
    (both,) = torch.autograd.grad(part(x).sum(), part.router.weight)
    torch.testing.assert_close(both, plain + own, atol=1e-5, rtol=1e-4)


def test_training_on_the_balance_alone_evens_out_the_use():
    part, x = build(experts=4, balance=1.0, free=1.0).train(), torch.randn(500, 8) + 1
    use = lambda: (part.routes(x)[1] > 0).float().mean(0)  # noqa: E731
    optimizer, before = torch.optim.Adam(part.parameters(), 0.02), use()
    for _ in range(60):
        optimizer.zero_grad()
        (part(x) * 0).sum().backward()
        optimizer.step()
    assert use().std() < 0.6 * before.std()


@torch.no_grad()
def test_exported_it_computes_the_same(tmp_path):
    part, x = build(), torch.randn(2, 5, 8)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    exported = torch.export.export(part, (x,), dynamic_shapes=({0: batch, 1: length},)).module()
    more = torch.randn(3, 9, 8)
    torch.testing.assert_close(exported(more), part(more), atol=1e-5, rtol=1e-5)


def test_options_that_make_no_sense_are_errors():
    with pytest.raises(ConfigError, match="'experts': balance is -1"):
        build(balance=-1)
    with pytest.raises(ConfigError, match="from 1 to 7"):
        build(chosen=8)


def test_the_perceptron_is_mlp():
    part, x = build(experts=1, constants=0), torch.randn(3, 8)
    expert = part.experts[0]
    torch.testing.assert_close(expert(x), expert.down(F.gelu(expert.up(x), approximate="tanh")))
