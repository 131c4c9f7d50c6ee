# Copyright 2026 The sage authors
# SPDX-License-Identifier: Apache-2.0
"""Properties of every image autoencoder, of any family."""

import pytest
import torch

from sage_perception.models.networks.divergence import kl_divergence
from sage_perception.models.networks.lightweight import LightweightVAE, LightweightVAEConfig
from sage_perception.models.networks.tinyvae import TinyVAE, TinyVAEConfig

pytestmark = pytest.mark.usefixtures('one_thread')

NETWORKS = {
    'tinyvae': lambda: TinyVAE(),
    'separable': lambda: TinyVAE(TinyVAEConfig(separable=1)),
    'lightweight': lambda: LightweightVAE(LightweightVAEConfig(3, 64, 12, 8, 16, 1)),
}


@pytest.fixture
def x():
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=NETWORKS)
def model(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().eval()


def test_samples_the_latent_in_training_only(model, x):
    assert torch.equal(model.get_latents(x), model.encode(x)[0])
    assert torch.equal(model(x)[0], model(x)[0])
    model.train()
    assert torch.equal(model.get_latents(x), model.get_latents(x))
    assert not torch.equal(model(x)[0], model(x)[0])


def test_rows_of_a_batch_are_independent(model, x):
    together = model.get_latents(x)
    alone = torch.cat([model.get_latents(row[None]) for row in x])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_decoded_images_are_in_range(model, x):
    y = model.decode(100 * torch.randn_like(model.get_latents(x)))
    assert 0 <= y.min() < y.max() <= 1


def test_gradient_reaches_every_parameter(model, x):
    model.train()
    reconstruction, mean, log_var = model(x)
    loss = (reconstruction - x).square().mean() + kl_divergence(mean, log_var).mean()
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
