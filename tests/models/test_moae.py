"""The mixture of experts against a plain restatement, and its properties."""

import pytest
import torch
from torch import nn

from unilearn_mm.models.layers.moae import (AdapterExperts, MoAE, NoisyTopKRouter, Routing,
                                            switch_balance_loss)

DIM, EXPERTS, HIDDEN = 12, 5, 7


def make_moae(top_k=2, seed=0):
    """A MoAE in fp64 whose experts are not zero."""
    torch.manual_seed(seed)
    moae = MoAE(DIM, EXPERTS, top_k, hidden_ratio=HIDDEN / DIM).double()
    for parameter in moae.parameters():
        nn.init.normal_(parameter, std=0.5)
    return moae


def restated(moae, tokens):
    """Token by token: softmax over the k best logits, then the gated sum of two-layer MLPs."""
    outputs = []
    for token in tokens:
        logits = moae.router.route.weight @ token + moae.router.route.bias
        chosen = sorted(range(EXPERTS), key=lambda e: -logits[e])[:moae.router.top_k]
        weights = torch.stack([logits[e].exp() for e in chosen])
        weights = weights / weights.sum()
        total = torch.zeros_like(token)
        for weight, e in zip(weights, chosen):
            fc1, fc2 = moae.experts.fc1, moae.experts.fc2
            hidden = fc1.weight[e] @ token + fc1.bias[e]
            hidden = 0.5 * hidden * (1 + torch.erf(hidden / 2**0.5))
            total = total + weight * (fc2.weight[e] @ hidden + fc2.bias[e])
        outputs.append(total)
    return torch.stack(outputs)


@pytest.mark.parametrize('top_k', range(1, EXPERTS + 1))
@pytest.mark.parametrize('num_tokens', [1, 9])
def test_output_and_gradients_equal_the_restatement(top_k, num_tokens):
    moae = make_moae(top_k).eval()
    x = torch.randn(2, num_tokens, DIM, dtype=torch.float64, requires_grad=True)
    out, _, _ = moae(x)
    expected = restated(moae, x.flatten(0, 1)).view_as(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    target = torch.randn_like(out)
    inputs = [x, *[p for n, p in moae.named_parameters() if 'noise' not in n]]
    ours = torch.autograd.grad((out * target).sum(), inputs, allow_unused=True)
    theirs = torch.autograd.grad((expected * target).sum(), inputs, allow_unused=True)
    for one, two in zip(ours, theirs):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


def test_all_tokens_on_one_expert_and_empty_experts():
    moae = make_moae(top_k=1).eval()
    with torch.no_grad():
        moae.router.route.bias[3] += 100
    x = torch.randn(1, 6, DIM, dtype=torch.float64)
    out, _, load = moae(x)
    assert load.tolist() == [0, 0, 0, 1, 0]
    torch.testing.assert_close(out[0], restated(moae, x[0]), rtol=0, atol=1e-10)


def test_gates_sum_to_one_and_belong_to_the_best():
    router = NoisyTopKRouter(DIM, EXPERTS, 3).eval()
    routing = router(torch.randn(40, DIM))
    torch.testing.assert_close(routing.gates.sum(-1), torch.ones(40))
    torch.testing.assert_close(routing.probabilities.sum(-1), torch.ones(40))
    best = routing.probabilities.topk(3).indices
    assert (routing.experts.sort().values == best.sort().values).all()


def test_noise_only_while_training():
    router = NoisyTopKRouter(DIM, EXPERTS, 2)
    tokens = torch.randn(30, DIM)
    router.eval()
    assert (router(tokens).gates == router(tokens).gates).all()
    router.train()
    assert (router(tokens).gates != router(tokens).gates).any()


def test_noise_has_the_declared_spread():
    """z - l is normal with standard deviation softplus(W_n u + b_n)."""
    torch.manual_seed(0)
    router = NoisyTopKRouter(DIM, 2, 2).train()
    token = torch.randn(DIM)
    scale = nn.functional.softplus(router.noise(token))
    # of two experts the log-odds are z_0 - z_1: mean l_0 - l_1, variance scale_0^2 + scale_1^2
    probabilities = router(token.expand(40000, DIM)).probabilities
    odds = (probabilities[:, 0] / probabilities[:, 1]).log()
    mean = router.route(token)[0] - router.route(token)[1]
    torch.testing.assert_close(odds.mean(), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(odds.std(), scale.square().sum().sqrt(), atol=0.03, rtol=0)


def test_balance_loss_is_least_at_uniform_load():
    uniform = Routing(torch.arange(EXPERTS).view(-1, 1), torch.ones(EXPERTS, 1),
                      torch.full((EXPERTS, EXPERTS), 1 / EXPERTS))
    loss, load = switch_balance_loss(uniform)
    torch.testing.assert_close(loss, torch.tensor(1.))
    torch.testing.assert_close(load, torch.full((EXPERTS, ), 1 / EXPERTS))
    collapsed = Routing(torch.zeros(EXPERTS, 1, dtype=torch.long), torch.ones(EXPERTS, 1),
                        torch.eye(EXPERTS)[:1].expand(EXPERTS, -1))
    torch.testing.assert_close(switch_balance_loss(collapsed)[0], torch.tensor(float(EXPERTS)))


def test_balance_loss_pulls_the_overloaded_expert_down():
    logits = torch.zeros(8, EXPERTS, requires_grad=True)
    probabilities = logits.softmax(-1)
    experts = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3]).view(-1, 1)
    switch_balance_loss(Routing(experts, torch.ones(8, 1), probabilities))[0].backward()
    slope = logits.grad.sum(0)
    assert slope[0] > 0 and slope[0] == slope.max() and slope[4] < 0


def test_permuting_experts_changes_nothing():
    moae = make_moae().eval()
    x = torch.randn(2, 8, DIM, dtype=torch.float64)
    before, loss, load = moae(x)
    order = torch.randperm(EXPERTS)
    with torch.no_grad():
        for parameter in moae.parameters():
            parameter.copy_(parameter[order])
    after, loss_after, load_after = moae(x)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)
    torch.testing.assert_close(loss, loss_after)
    torch.testing.assert_close(load[order], load_after)


def test_a_sample_does_not_feel_its_batch_mates():
    moae = make_moae().eval()
    x = torch.randn(4, 6, DIM, dtype=torch.float64)
    together = moae(x)[0]
    torch.testing.assert_close(moae(x.flip(0))[0].flip(0), together, rtol=0, atol=1e-12)
    for index in range(4):
        torch.testing.assert_close(moae(x[index:index + 1])[0][0], together[index], rtol=0,
                                   atol=1e-12)


def test_starts_as_zero_and_still_learns():
    moae = MoAE(DIM, EXPERTS)
    x = torch.randn(2, 6, DIM)
    out, _, load = moae(x)
    assert (out == 0).all()
    out.sum().backward()
    used = load > 0
    grown = moae.experts.fc2.weight.grad.abs().sum((1, 2)) > 0
    assert (grown == used).all(), 'every expert that got tokens has a gradient, no other has'


def test_router_runs_in_fp32_under_autocast():
    moae = MoAE(DIM, EXPERTS).eval()
    x = torch.randn(2, 6, DIM)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        routing = moae.router(x.flatten(0, 1))
    exact = moae.router(x.flatten(0, 1))
    assert routing.gates.dtype == torch.float32
    torch.testing.assert_close(routing.gates, exact.gates, rtol=0, atol=0)


@pytest.mark.parametrize('top_k', [0, 6])
def test_impossible_top_k(top_k):
    with pytest.raises(ValueError, match=f'top_k={top_k} with num_experts=5'):
        NoisyTopKRouter(DIM, EXPERTS, top_k)


def test_names_let_the_stock_optimizer_rules_see_biases():
    names = dict(AdapterExperts(DIM, HIDDEN, EXPERTS).named_parameters())
    assert {name for name in names if name.endswith('.bias')} == {'fc1.bias', 'fc2.bias'}
    assert names['fc1.bias'].shape == (EXPERTS, HIDDEN)
