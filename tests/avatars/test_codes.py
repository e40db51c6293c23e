"""The W code of an avatar and what the generator does outside of it."""

import numpy as np
import torch

from editvec.avatars.drawing import codes, parameters
from editvec.engine.networks.config import GeneratorConfig
from editvec.engine.networks.generator import Generator


def test_code_is_undone_by_decode() -> None:
    params = parameters.sample(20, seed=1)

    unit = codes.decode(codes.encode(params))

    np.testing.assert_allclose(unit, parameters.to_unit(params), atol=1e-12)


def test_code_has_unit_variance_in_every_visited_direction() -> None:
    w = codes.encode(parameters.sample(20_000, seed=2))

    variances = np.linalg.eigvalsh(np.cov(w.T))[-codes.Z_DIM :]

    # The prior's correlations spread the variances around 1 and leave their mean alone.
    assert abs(variances.mean() - 1) < 0.02
    assert variances.min() > 0.2


def test_latents_of_the_prior_ignore_the_length_of_z() -> None:
    z = np.random.default_rng(0).standard_normal((5, codes.Z_DIM))

    np.testing.assert_allclose(codes.from_z(z), codes.from_z(3 * z), atol=1e-6)


def test_projected_generator_is_blind_outside_the_codes() -> None:
    config = GeneratorConfig(
        resolution=16,
        z_dim=codes.Z_DIM,
        w_dim=codes.W_DIM,
        channel_base=128,
        channel_max=8,
        mapping_layers=1,
    )
    generator = Generator(config).eval()
    basis = codes.rotation()
    outside = np.random.default_rng(1).standard_normal((1, codes.W_DIM))
    outside -= outside @ basis @ basis.T
    ws = codes.to_ws(torch.from_numpy(outside).float(), num_ws=config.num_ws)

    with torch.no_grad():
        before = (generator.synthesis(ws) - generator.synthesis(0 * ws)).abs().max()
        codes.project(generator)
        after = (generator.synthesis(ws) - generator.synthesis(0 * ws)).abs().max()

    assert before > 1e-2
    assert after < 1e-4
