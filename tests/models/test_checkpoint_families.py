"""Official weights load, compute the official numbers, and go back bit for bit."""

import math
from types import SimpleNamespace

import pytest
import torch
from mmaction.registry import MODELS

from unilearn_mm.models.checkpoints.family import FamilyError, known_families, unwrap
from unilearn_mm.models.checkpoints.fit import CheckpointMismatchError, family_for
from unilearn_mm.models.checkpoints.mae_image import INFLATED
from unilearn_mm.models.checkpoints.s4d import FINE_TUNED, PRETRAINED
from unilearn_mm.models.checkpoints.videomae_transformers import VIDEOMAE_TRANSFORMERS

DEPTH, EXPERTS, TOP_K = 12, 8, 2
TASKS = dict(video='mafw', image='affectnet7')


def block_keys(prefix, dim, hidden):
    """Names and shapes of a dense block of the official code."""
    shapes = dict(attn_q_bias=(dim, ), attn_v_bias=(dim, ))
    keys = {f'{prefix}attn.q_bias': shapes['attn_q_bias'],
            f'{prefix}attn.v_bias': shapes['attn_v_bias'],
            f'{prefix}attn.qkv.weight': (3 * dim, dim)}
    for name, (rows, columns) in dict(attn_proj=(dim, dim), mlp_fc1=(hidden, dim),
                                      mlp_fc2=(dim, hidden)).items():
        keys[f'{prefix}{name.replace("_", ".")}.weight'] = (rows, columns)
        keys[f'{prefix}{name.replace("_", ".")}.bias'] = (rows, )
    for norm in ('norm1', 'norm2'):
        keys.update({f'{prefix}{norm}.weight': (dim, ), f'{prefix}{norm}.bias': (dim, )})
    return keys


def official_shapes(dim=16, patch=8):
    """The 380 tensors of a fine-tuned file of the official code."""
    keys = {'patch_embed.proj.weight': (dim, 3, 2, patch, patch), 'patch_embed.proj.bias': (dim, )}
    for i in range(DEPTH):
        keys.update(block_keys(f'blocks.{i}.', dim, 4 * dim))
        if i >= DEPTH // 2:
            moe = f'blocks.{i}.moe_layer.'
            for router in ('topkroute_linear', 'noise_linear'):
                keys[f'{moe}router.{router}.weight'] = (EXPERTS, dim)
                keys[f'{moe}router.{router}.bias'] = (EXPERTS, )
            for e in range(EXPERTS):
                keys.update({f'{moe}experts.{e}.fc1.weight': (dim // 4, dim),
                             f'{moe}experts.{e}.fc1.bias': (dim // 4, ),
                             f'{moe}experts.{e}.fc2.weight': (dim, dim // 4),
                             f'{moe}experts.{e}.fc2.bias': (dim, )})
    for name, rows in (('fc_norm', None), ('head.image', 7), ('head.video', 11)):
        keys[f'{name}.weight'] = (dim, ) if rows is None else (rows, dim)
        keys[f'{name}.bias'] = (dim, ) if rows is None else (rows, )
    return keys


def pretrain_shapes(dim=16, patch=8):
    """The 218 tensors of a pre-training file of the official code."""
    keys = {'mask_token': (1, 1, 8), 'encoder_to_decoder.weight': (8, dim),
            'encoder.patch_embed.proj.weight': (dim, 3, 2, patch, patch),
            'encoder.patch_embed.proj.bias': (dim, ),
            'encoder.norm.weight': (dim, ), 'encoder.norm.bias': (dim, ),
            'decoder.norm.weight': (8, ), 'decoder.norm.bias': (8, ),
            'decoder.head.weight': (6 * patch**2, 8), 'decoder.head.bias': (6 * patch**2, )}
    for i in range(DEPTH):
        keys.update(block_keys(f'encoder.blocks.{i}.', dim, 4 * dim))
    for i in range(4):
        keys.update(block_keys(f'decoder.blocks.{i}.', 8, 32))
    return keys


def draw(shapes, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return {key: 0.3 * torch.randn(shape, generator=generator, dtype=dtype)
            for key, shape in shapes.items()}


def our_model(**moae):
    return MODELS.build(
        dict(type='UniLearnRecognizer',
             backbone=dict(type='VisionTransformerMoAE', img_size=16, patch_size=8, num_frames=4,
                           embed_dims=16, depth=DEPTH, num_heads=2,
                           moae=dict(num_experts=EXPERTS, top_k=TOP_K, **moae)),
             cls_head=dict(type='MultiTaskHead', in_channels=16,
                           num_classes=dict(mafw=11, affectnet7=7))))


def to_ours(checkpoint, family, tasks={}, backbone=None):
    state = unwrap(checkpoint)
    recognised = [known for known in known_families() if known.recognises(state)]
    assert family in recognised and {known.name for known in recognised} == {family.name}
    return family.convert(state, backbone, tasks)


def layer_norm(x, weight, bias):
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean)**2).mean(-1, keepdim=True)
    return (x - mean) / (variance + 1e-6).sqrt() * weight + bias


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def official_forward(state, x, capacity_factor, heads=2):
    """The official fine-tuning model (finetune/s4d/videomae.py), restated, noise off:
    explicit attention, a loop over experts. x: (B, 3, T, H, W) or (B, 3, H, W)."""
    s = state
    video = x.dim() == 5
    if not video:
        x = x.unsqueeze(2).repeat(1, 1, 2, 1, 1)
    x = torch.nn.functional.conv3d(x, s['patch_embed.proj.weight'], s['patch_embed.proj.bias'],
                                   stride=(2, 8, 8)).flatten(2).transpose(1, 2)
    batch, num, dim = x.shape
    position = torch.arange(8, dtype=x.dtype).view(-1, 1)  # 2 x 2 x 2 positions of a clip
    channel = torch.arange(dim, dtype=x.dtype)
    angle = position / 10000**(2 * (channel // 2) / dim)
    table = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    x = x + table[:num]  # an image takes temporal slot 0
    for i in range(DEPTH):
        b = f'blocks.{i}.'
        u = layer_norm(x, s[b + 'norm1.weight'], s[b + 'norm1.bias'])
        bias = torch.cat([s[b + 'attn.q_bias'], torch.zeros(dim, dtype=x.dtype),
                          s[b + 'attn.v_bias']])
        q, k, v = (u @ s[b + 'attn.qkv.weight'].T + bias).view(
            batch, num, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
        weights = (q * (dim // heads)**-0.5 @ k.transpose(-1, -2)).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).reshape(batch, num, dim)
        x = x + mixed @ s[b + 'attn.proj.weight'].T + s[b + 'attn.proj.bias']
        u = layer_norm(x, s[b + 'norm2.weight'], s[b + 'norm2.bias'])
        branch = (gelu(u @ s[b + 'mlp.fc1.weight'].T + s[b + 'mlp.fc1.bias'])
                  @ s[b + 'mlp.fc2.weight'].T + s[b + 'mlp.fc2.bias'])
        if i >= DEPTH // 2:
            branch = branch + official_moe(s, b + 'moe_layer.', u.flatten(0, 1),
                                           capacity_factor).view_as(u)
        x = x + branch
    feature = layer_norm(x.mean(1), s['fc_norm.weight'], s['fc_norm.bias'])
    head = 'head.video' if video else 'head.image'
    return feature @ s[head + '.weight'].T + s[head + '.bias']


def official_moe(s, prefix, tokens, capacity_factor):
    logits = (tokens @ s[prefix + 'router.topkroute_linear.weight'].T
              + s[prefix + 'router.topkroute_linear.bias'])
    best = logits.topk(TOP_K, dim=-1)
    gates = torch.full_like(logits, float('-inf')).scatter(1, best.indices, best.values).softmax(-1)
    capacity = len(tokens)
    if capacity_factor is not None:
        capacity = int(len(tokens) * TOP_K / EXPERTS * capacity_factor)
    out = torch.zeros_like(tokens)
    for e in range(EXPERTS):
        p = f'{prefix}experts.{e}.'
        mine = (best.indices == e).any(-1).nonzero().flatten()[:capacity]
        hidden = gelu(tokens[mine] @ s[p + 'fc1.weight'].T + s[p + 'fc1.bias'])
        out[mine] += gates[mine, e, None] * (hidden @ s[p + 'fc2.weight'].T + s[p + 'fc2.bias'])
    return out


def test_the_published_numbers_of_tensors():
    assert len(official_shapes()) == 380 and len(pretrain_shapes()) == 218


@pytest.mark.parametrize('moae, capacity_factor', [
    (dict(), None), (dict(preset='official', noise='never'), 1.0)])
@pytest.mark.parametrize('shape', [(3, 3, 4, 16, 16), (5, 3, 16, 16)])
def test_logits_equal_the_official_model(moae, capacity_factor, shape):
    """Corrected form: the official one without noise and capacity. Official preset: the literal
    one with its capacity, noise off."""
    state = draw(official_shapes(), torch.float64)
    model = our_model(**moae).double().eval()
    converted = to_ours(dict(model=state), FINE_TUNED, TASKS)
    missing = model.load_state_dict(converted.state, strict=False)
    assert missing == (['backbone.pos_embed'], []), 'only the computed table is not in the file'
    model.backbone.pos_embed = torch.stack([
        (p / 10000**(2 * (torch.arange(16, dtype=torch.float64) // 2) / 16))
        for p in range(8)])[None]
    table = model.backbone.pos_embed  # in fp64, as the restatement has it
    table[..., 0::2], table[..., 1::2] = table[..., 0::2].sin(), table[..., 1::2].cos()
    inputs = torch.randn(shape, dtype=torch.float64)
    task = 'mafw' if len(shape) == 5 else 'affectnet7'
    found = model.cls_head(model.backbone(inputs), task)
    expected = official_forward(state, inputs, capacity_factor)
    # the head casts to fp32
    torch.testing.assert_close(found, expected.float(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('wrapper', ['model', 'module', None])
def test_fine_tuned_round_trip_is_bitwise(wrapper):
    state = draw(official_shapes())
    checkpoint = state if wrapper is None else {wrapper: state, 'epoch': 3}
    converted = to_ours(checkpoint, FINE_TUNED, TASKS)
    assert converted.dropped == [] and FINE_TUNED.restores(converted.state)
    back = FINE_TUNED.restore(converted.state, TASKS)
    assert back.state.keys() == state.keys()
    assert all(torch.equal(back.state[key], value) for key, value in state.items())


def test_heads_without_a_task_are_left_out_and_named():
    converted = to_ours(draw(official_shapes()), FINE_TUNED, dict(video='mafw'))
    assert set(converted.dropped) == {'head.image.weight', 'head.image.bias'}
    assert 'head.image.weight' in converted.summary()
    assert 'cls_head.fc_cls.mafw.weight' in converted.state


def test_tasks_may_be_called_like_media():
    state = draw(official_shapes())
    converted = to_ours(state, FINE_TUNED, dict(video='image', image='video')).state
    assert torch.equal(converted['cls_head.fc_cls.image.weight'], state['head.video.weight'])
    assert torch.equal(converted['cls_head.fc_cls.video.weight'], state['head.image.weight'])


def test_pre_trained_encoder_and_decoder():
    state = draw(pretrain_shapes())
    converted = to_ours(dict(module=state), PRETRAINED)
    assert len(converted.state) == 218 and not converted.dropped
    encoder = {key: value for key, value in converted.state.items()
               if key.startswith('backbone.') and 'backbone.norm' not in key}
    assert len(encoder) == 158, 'what the official loader takes: 2 + 12 * 13'
    missing, unexpected = our_model().load_state_dict(encoder, strict=False)
    assert not unexpected
    assert all('moae' in key or 'fc_norm' in key or 'cls_head' in key or 'pos_embed' in key
               for key in missing)
    key = 'backbone.blocks.3.mlp.layers.0.0.weight'
    assert torch.equal(converted.state[key], state['encoder.blocks.3.mlp.fc1.weight'])
    assert PRETRAINED.restores(converted.state) and not FINE_TUNED.restores(converted.state)
    back = PRETRAINED.restore(converted.state, {}).state
    assert back.keys() == state.keys() and all(back[key] is state[key] for key in state)


def test_hugging_face_names():
    """The same weights under transformers' VideoMAE names give the same tensors."""
    official = {key: value for key, value in draw(official_shapes()).items()
                if 'moe_layer' not in key and 'head' not in key}
    names = {'attn.q_bias': 'attention.attention.q_bias',
             'attn.v_bias': 'attention.attention.v_bias', 'attn.proj': 'attention.output.dense',
             'mlp.fc1': 'intermediate.dense', 'mlp.fc2': 'output.dense',
             'norm1': 'layernorm_before', 'norm2': 'layernorm_after'}
    hugging = {}
    for key, value in official.items():
        if 'qkv' in key:
            for part, chunk in zip(('query', 'key', 'value'), value.chunk(3)):
                layer = key.split('.')[1]
                hugging[f'videomae.encoder.layer.{layer}.attention.attention.{part}.weight'] = chunk
        elif key.startswith('blocks.'):
            _, layer, rest = key.split('.', 2)
            for ours, theirs in names.items():
                if rest.startswith(ours):
                    rest = rest.replace(ours, theirs)
                    break
            hugging[f'videomae.encoder.layer.{layer}.{rest}'] = value
        elif key.startswith('patch_embed.proj'):
            hugging['videomae.embeddings.patch_embeddings.projection.' + key.split('.')[-1]] = value
        else:
            hugging[key] = value
    hugging.update({'classifier.weight': torch.zeros(400, 16), 'classifier.bias': torch.zeros(400)})
    found, expected = to_ours(hugging, VIDEOMAE_TRANSFORMERS), to_ours(official, FINE_TUNED)
    assert found.state.keys() == expected.state.keys()
    assert all(torch.equal(found.state[key], value) for key, value in expected.state.items())
    assert set(found.dropped) == {'classifier.weight', 'classifier.bias'}
    assert len(found.reshaped) == 3 * DEPTH


@pytest.mark.parametrize('frames', [1, 2, 4])
def test_image_mae_is_inflated_so_that_images_keep_their_embedding(frames):
    state = {key: value for key, value in draw(official_shapes(), torch.float64).items()
             if not any(part in key for part in ('moe_layer', 'head', 'fc_norm', 'q_bias',
                                                 'v_bias', 'patch_embed'))}
    state['patch_embed.proj.weight'] = torch.randn(16, 3, 8, 8, dtype=torch.float64)
    state['patch_embed.proj.bias'] = torch.randn(16, dtype=torch.float64)
    for i in range(DEPTH):
        state[f'blocks.{i}.attn.qkv.bias'] = torch.randn(48, dtype=torch.float64)
    state.update({'cls_token': torch.zeros(1, 1, 16), 'pos_embed': torch.zeros(1, 5, 16),
                  'norm.weight': torch.ones(16), 'mask_token': torch.zeros(1, 1, 8),
                  'decoder_blocks.0.norm1.weight': torch.zeros(8)})
    converted = to_ours(dict(model=state), INFLATED, backbone=SimpleNamespace(tubelet_size=frames))
    assert set(converted.dropped) == {'cls_token', 'pos_embed', 'mask_token',
                                      'decoder_blocks.0.norm1.weight'}
    image = torch.randn(1, 3, 8, 8, dtype=torch.float64)
    flat = torch.nn.functional.conv2d(image, state['patch_embed.proj.weight'])
    inflated = torch.nn.functional.conv3d(
        image.unsqueeze(2).repeat(1, 1, frames, 1, 1),
        converted.state['backbone.patch_embed.projection.weight'])
    torch.testing.assert_close(inflated[:, :, 0], flat)
    bias = state['blocks.4.attn.qkv.bias']
    assert torch.equal(converted.state['backbone.blocks.4.attn.q_bias'], bias[:16])
    assert torch.equal(converted.state['backbone.blocks.4.attn.v_bias'], bias[32:])


@pytest.mark.parametrize('change, message', [
    ({'blocks.0.extra.weight': torch.zeros(1)}, r'1 keys .*: blocks\.0\.extra\.weight'),
    ({'blocks.7.moe_layer.experts.9.fc1.weight': torch.zeros(4, 16)}, r'not numbered 0, 1, 2'),
])
def test_what_is_not_declared_is_an_error(change, message):
    with pytest.raises(FamilyError, match=message):
        to_ours({**draw(official_shapes()), **change}, FINE_TUNED)


def test_our_names_belong_to_no_foreign_family():
    state = our_model().state_dict()
    assert not any(family.recognises(state) for family in known_families())
    with pytest.raises(FamilyError, match=r"tasks without a head: \['dfew'\]"):
        FINE_TUNED.restore(state, dict(video='dfew'))


def test_a_file_of_s2d_is_not_taken_for_an_image_model_of_mae():
    state = {'patch_embed.proj.weight': torch.zeros(16, 3, 8, 8),
             'cls_token': torch.zeros(1, 1, 16),
             'prompt_blocks.0.conv0_0.weight': torch.zeros(8, 16, 1, 1)}
    with pytest.raises(CheckpointMismatchError,
                       match='s2d.pth: a file of S2D, for the backbone S2DVisionTransformer.*'
                             'VisionTransformerMoAE, which understands S4D or VideoMAE'):
        family_for(state, our_model(), 's2d.pth')


def test_a_model_that_has_these_names_itself_takes_the_file_as_it_is():
    class Image(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patch_embed = torch.nn.ModuleDict(dict(proj=torch.nn.Conv2d(3, 4, 8)))

    model = Image()
    assert INFLATED.recognises(model.state_dict())
    assert family_for(model.state_dict(), model, 'own.pth') is None


def test_unwrap():
    assert unwrap({'module.a': torch.ones(1), 'epoch': 3}).keys() == {'a'}
