"""The mixture of experts against a plain restatement, and its properties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from unilearn_mm.models.layers.balance import (
    expert_load,
    official_balance_loss,
    switch_balance_loss,
    z_loss,
)
from unilearn_mm.models.layers.experts import AdapterExperts, choose_backend
from unilearn_mm.models.layers.moae import PRESETS, MoAE
from unilearn_mm.models.layers.routing import NoisyTopKRouter, Routing, limit_capacity

DIM, EXPERTS, HIDDEN = 12, 5, 7


BACKENDS = ['loop', 'grouped', 'dense']


def make_moae(top_k=2, backend='auto', dim=DIM, hidden=HIDDEN, **options):
    """A MoAE in fp64 whose experts are not zero."""
    torch.manual_seed(0)
    moae = MoAE(dim, EXPERTS, top_k, hidden_ratio=hidden / dim, backend=backend, **options).double()
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


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('top_k', range(1, EXPERTS + 1))
@pytest.mark.parametrize('num_tokens', [1, 9])
def test_output_and_gradients_equal_the_restatement(backend, top_k, num_tokens):
    moae = make_moae(top_k, backend).eval()
    x = torch.randn(2, num_tokens, DIM, dtype=torch.float64, requires_grad=True)
    out, _ = moae(x)
    expected = restated(moae, x.flatten(0, 1)).view_as(x)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-10)
    target = torch.randn_like(out)
    inputs = [x, *[p for n, p in moae.named_parameters() if 'noise' not in n]]
    ours = torch.autograd.grad((out * target).sum(), inputs)
    theirs = torch.autograd.grad((expected * target).sum(), inputs)
    for one, two in zip(ours, theirs):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10)


@pytest.mark.parametrize('backend', ['grouped', 'dense'])
def test_backends_agree_in_fp32(backend):
    """Sizes whose rows are multiples of 16 bytes, so that grouped_mm is used where it exists."""
    golden = make_moae(2, 'loop', dim=32, hidden=16).float().eval()
    other = make_moae(2, backend, dim=32, hidden=16).float().eval()
    for parameter in (*golden.experts.parameters(), *other.experts.parameters()):
        parameter.data.mul_(0.3)  # of the order of a trained layer
    x = torch.randn(4, 25, 32)
    results = []
    for moae in (golden, other):
        own = x.clone().requires_grad_()
        out, _ = moae(own)
        out.square().mean().backward()
        results.append((out, own.grad, *[p.grad for p in moae.experts.parameters()]))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-6)
    for one, two in zip(results[0][1:], results[1][1:]):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)


@pytest.mark.parametrize('backend', BACKENDS)
def test_bf16_autocast_stays_close(backend):
    moae = make_moae(2, backend, dim=32, hidden=16).float().eval()
    x = torch.randn(2, 25, 32)
    exact = moae(x)[0]
    with torch.autocast('cpu', dtype=torch.bfloat16):
        rough = moae(x)[0]
    assert rough.dtype == torch.float32, 'combined in fp32'
    assert (rough - exact).norm() / exact.norm() < 0.02


@pytest.mark.parametrize('backend', BACKENDS)
def test_all_tokens_on_one_expert_and_empty_experts(backend):
    moae = make_moae(1, backend).eval()
    with torch.no_grad():
        moae.router.route.bias[3] += 100
    x = torch.randn(1, 6, DIM, dtype=torch.float64)
    out, report = moae(x)
    assert report.load.tolist() == [0, 0, 0, 1, 0]
    torch.testing.assert_close(out[0], restated(moae, x[0]), rtol=0, atol=1e-10)


def official_restated(moae, tokens, capacity_factor):
    """The official loop: each expert takes its first C tokens in order of the flattened batch."""
    logits = tokens @ moae.router.route.weight.T + moae.router.route.bias
    best = logits.topk(moae.router.top_k, dim=-1)
    gates = torch.zeros_like(logits).scatter(1, best.indices, best.values.softmax(-1))
    capacity = int(len(tokens) * moae.router.top_k / EXPERTS * capacity_factor)
    out = torch.zeros_like(tokens)
    for e in range(EXPERTS):
        mine = (best.indices == e).any(-1).nonzero().flatten()[:capacity]
        fc1, fc2 = moae.experts.fc1, moae.experts.fc2
        hidden = nn.functional.gelu(tokens[mine] @ fc1.weight[e].T + fc1.bias[e])
        out[mine] += gates[mine, e, None] * (hidden @ fc2.weight[e].T + fc2.bias[e])
    return out


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('factor', [0.3, 0.8, 1.0, 2.0])
def test_official_capacity(backend, factor):
    options = {**PRESETS['official'], 'noise': 'never', 'capacity_factor': factor}
    moae = make_moae(2, backend, **options)
    x = torch.randn(3, 20, DIM, dtype=torch.float64)
    out, report = moae(x)
    expected = official_restated(moae, x.flatten(0, 1), factor)
    torch.testing.assert_close(out.flatten(0, 1), expected, rtol=0, atol=1e-10)
    kept = torch.minimum((report.load * 120).round(), torch.tensor(int(24 * factor)))
    assert report.dropped.item() == pytest.approx(1 - kept.sum().item() / 120, abs=1e-12)


def test_capacity_by_gate_keeps_the_largest():
    torch.manual_seed(0)
    logits = torch.randn(30, 3)
    best = logits.topk(2, dim=-1)
    full = Routing(best.indices, best.values.softmax(-1), logits)
    limited = limit_capacity(full, 0.7, 'gate')
    for e in range(3):
        mine = full.experts == e
        kept = limited.gates[mine] > 0
        assert kept.sum() == min(14, mine.sum())
        if (~kept).any():
            assert full.gates[mine][kept].min() >= full.gates[mine][~kept].max()
    assert limit_capacity(full, None, 'first') is full


def test_gates_sum_to_one_and_belong_to_the_best():
    router = NoisyTopKRouter(DIM, EXPERTS, 3).eval()
    routing = router(torch.randn(40, DIM))
    torch.testing.assert_close(routing.gates.sum(-1), torch.ones(40))
    best = routing.logits.topk(3).indices
    assert (routing.experts.sort().values == best.sort().values).all()


@pytest.mark.parametrize('noise, training, expected', [
    ('train', True, True), ('train', False, False), ('always', True, True),
    ('always', False, True), ('never', True, False), ('never', False, False)])
def test_when_there_is_noise(noise, training, expected):
    router = NoisyTopKRouter(DIM, EXPERTS, 2, noise).train(training)
    tokens = torch.randn(30, DIM)
    assert (router(tokens).logits != router(tokens).logits).any().item() == expected


def test_noise_has_the_declared_spread():
    """z - l is normal with standard deviation softplus(W_n u + b_n)."""
    torch.manual_seed(0)
    router = NoisyTopKRouter(DIM, EXPERTS, 2).train()
    token = torch.randn(DIM)
    eps = (router(token.expand(40000, DIM)).logits - router.route(token)) / \
        nn.functional.softplus(router.noise(token))
    torch.testing.assert_close(eps.mean(0), torch.zeros(EXPERTS), atol=0.03, rtol=0)
    torch.testing.assert_close(eps.std(0), torch.ones(EXPERTS), atol=0.03, rtol=0)


def test_injected_noise_gives_the_official_gates(monkeypatch):
    """With the same eps as the official router: softmax over the k largest noisy logits."""
    eps = torch.randn(30, EXPERTS)
    monkeypatch.setattr(torch, 'randn_like', lambda tensor: eps)
    router = NoisyTopKRouter(DIM, EXPERTS, 2, 'always').eval()
    tokens = torch.randn(30, DIM)
    noisy = router.route(tokens) + eps * nn.functional.softplus(router.noise(tokens))
    masked = torch.full_like(noisy, float('-inf'))
    best = noisy.topk(2, dim=-1)
    expected = masked.scatter(1, best.indices, best.values).softmax(-1)
    routing = router(tokens)
    found = torch.zeros_like(noisy).scatter(1, routing.experts, routing.gates)
    torch.testing.assert_close(found, expected)


def uniform_routing():
    return Routing(torch.arange(EXPERTS).view(-1, 1), torch.ones(EXPERTS, 1),
                   torch.zeros(EXPERTS, EXPERTS))


def test_balance_loss_is_least_at_uniform_load():
    load = expert_load(uniform_routing())
    torch.testing.assert_close(load, torch.full((EXPERTS, ), 1 / EXPERTS))
    torch.testing.assert_close(switch_balance_loss(uniform_routing(), load), torch.tensor(1.))
    logits = torch.full((EXPERTS, EXPERTS), -50.)
    logits[:, 0] = 50.
    collapsed = Routing(torch.zeros(EXPERTS, 1, dtype=torch.long), torch.ones(EXPERTS, 1), logits)
    loss = switch_balance_loss(collapsed, expert_load(collapsed))
    torch.testing.assert_close(loss, torch.tensor(float(EXPERTS)))


@given(st.integers(0, 10**6), st.integers(1, EXPERTS))
@settings(deadline=None, max_examples=50)
def test_top_1_balance_loss_of_sharp_routers_is_at_least_one(seed, scale):
    """With probabilities that agree with the choice, sum f P >= 1 / E (Cauchy-Schwarz)."""
    torch.manual_seed(seed)
    logits = 50 * scale * torch.randn(40, EXPERTS)
    experts = logits.argmax(-1, keepdim=True)
    routing = Routing(experts, torch.ones(40, 1), logits)
    assert switch_balance_loss(routing, expert_load(routing)) >= 1 - 1e-3


def test_balance_loss_pulls_the_overloaded_expert_down():
    logits = torch.zeros(8, EXPERTS, requires_grad=True)
    experts = torch.tensor([0, 0, 0, 0, 0, 1, 2, 3]).view(-1, 1)
    routing = Routing(experts, torch.ones(8, 1), logits)
    switch_balance_loss(routing, expert_load(routing)).backward()
    slope = logits.grad.sum(0)
    assert slope[0] > 0 and slope[0] == slope.max() and slope[4] < 0


def test_official_balance_loss_is_the_official_formula_and_unbounded():
    torch.manual_seed(0)
    logits = torch.randn(2 * 6, EXPERTS, dtype=torch.float64)
    experts = logits.topk(2, dim=-1).indices
    expected = 0.
    for b in range(2):
        for e in range(EXPERTS):
            rows = range(6 * b, 6 * b + 6)
            share = sum(e in experts[row] for row in rows) / 6
            expected += share * sum(logits[row, e].item() for row in rows) / 6
    expected *= EXPERTS**2 / (2 * EXPERTS)
    found = official_balance_loss(Routing(experts, None, logits), 2)
    assert found.item() == pytest.approx(expected, abs=1e-12)
    lower = official_balance_loss(Routing(experts, None, logits - 20), 2)
    assert (found - lower).item() == pytest.approx(EXPERTS * 2 * 20)


def test_z_loss():
    logits = torch.tensor([[0., 0.], [3., -1.]], dtype=torch.float64)
    expected = (math.log(2)**2 + math.log(math.exp(3) + math.exp(-1))**2) / 2
    assert z_loss(Routing(None, None, logits)).item() == pytest.approx(expected)


@pytest.mark.parametrize('options, expected', [
    (dict(), lambda r, load: 1e-2 * switch_balance_loss(r, load)),
    (dict(balance='none', z_loss_weight=1e-3), lambda r, load: 1e-3 * z_loss(r)),
    (dict(balance='official', balance_loss_weight=1e-3),
     lambda r, load: 1e-3 * official_balance_loss(r, 2)),
    (dict(z_loss_weight=1e-3),
     lambda r, load: 1e-2 * switch_balance_loss(r, load) + 1e-3 * z_loss(r)),
    (dict(balance='none'), None), (dict(balance='bias'), None)])
def test_which_loss_is_reported(options, expected):
    moae = make_moae(noise='never', **options)
    x = torch.randn(2, 9, DIM, dtype=torch.float64)
    routing = moae.router(x.flatten(0, 1))
    loss = moae(x)[1].balance_loss
    if expected is None:
        assert loss is None
    else:
        torch.testing.assert_close(loss, expected(routing, expert_load(routing)))


def test_selection_bias_balances_without_touching_the_gates():
    """Moved against the load step by step, it spreads tokens that one expert attracts."""
    router = NoisyTopKRouter(DIM, EXPERTS, 1, 'never', selection_bias=True)
    with torch.no_grad():
        router.route.bias[2] += 2
    torch.manual_seed(0)
    tokens = torch.randn(400, DIM)
    before = expert_load(router(tokens))
    for _ in range(400):
        router.update_selection_bias(expert_load(router(tokens)), rate=2e-3)
    after = expert_load(router(tokens))
    assert before.max() > 0.5 and after.max() < 0.3
    routing = router(tokens)
    torch.testing.assert_close(routing.gates, torch.ones(400, 1))
    assert 'bias' in router.state_dict(), 'a resumed run keeps it'


def test_permuting_experts_changes_nothing():
    moae = make_moae().eval()
    x = torch.randn(2, 8, DIM, dtype=torch.float64)
    before, report = moae(x)
    order = torch.randperm(EXPERTS)
    with torch.no_grad():
        for parameter in moae.parameters():
            parameter.copy_(parameter[order])
    after, report_after = moae(x)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-12)
    torch.testing.assert_close(report.balance_loss, report_after.balance_loss)
    torch.testing.assert_close(report.load[order], report_after.load)


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_sample_does_not_feel_its_batch_mates(backend):
    moae = make_moae(2, backend).eval()
    x = torch.randn(4, 6, DIM, dtype=torch.float64)
    together = moae(x)[0]
    torch.testing.assert_close(moae(x.flip(0))[0].flip(0), together, rtol=0, atol=1e-12)
    for index in range(4):
        torch.testing.assert_close(moae(x[index:index + 1])[0][0], together[index], rtol=0,
                                   atol=1e-12)


@pytest.mark.parametrize('backend', BACKENDS)
def test_starts_as_zero_and_still_learns(backend):
    moae = MoAE(DIM, EXPERTS, backend=backend)
    x = torch.randn(2, 6, DIM)
    out, report = moae(x)
    assert (out == 0).all()
    out.sum().backward()
    used = report.load > 0
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


def test_official_init():
    torch.manual_seed(0)
    experts = AdapterExperts(64, 32, 8, init='official')
    for weight in (experts.fc1.weight, experts.fc2.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_auto_avoids_what_cannot_be_traced():
    tokens = torch.randn(5, 16)
    assert choose_backend(tokens) == 'grouped'
    chosen = []
    torch.jit.trace(lambda x: chosen.append(choose_backend(x)) or x * 1, (tokens, ),
                    check_trace=False)
    assert set(chosen) == {'dense'}


@pytest.mark.parametrize('options, message', [
    (dict(top_k=0), 'top_k=0 with num_experts=8'),
    (dict(top_k=9), 'top_k=9 with num_experts=8'),
    (dict(noise='sometimes'), "noise must be one of .*'sometimes'"),
    (dict(balance='aux'), "balance must be one of .*'aux'"),
    (dict(capacity_factor=1., capacity_order='last'), "capacity_order must be one of .*'last'"),
    (dict(backend='fast'), "backend must be one of .*'fast'"),
    (dict(init='ones'), "init must be .*'ones'"),
])
def test_impossible_settings(options, message):
    with pytest.raises(ValueError, match=message):
        MoAE(DIM, **options)


def test_names_let_the_stock_optimizer_rules_see_biases():
    names = dict(AdapterExperts(DIM, HIDDEN, EXPERTS).named_parameters())
    assert {name for name in names if name.endswith('.bias')} == {'fc1.bias', 'fc2.bias'}
    assert names['fc1.bias'].shape == (EXPERTS, HIDDEN)
