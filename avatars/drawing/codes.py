"""The W code of an avatar: a fixed linear function of its parameters.

The generator is trained by regression on renders, so every render needs a latent. The code is the
parameters, scaled to unit variance and turned by a fixed random rotation into `W_DIM` dimensions.
Half of W is therefore never visited; `project` removes what the random initialisation would do
there, so that an optimisation in W gains nothing by leaving the space of avatars.
"""

import numpy as np
import torch
from torch import Tensor

from editvec.avatars.drawing.parameters import (
    PARAMETERS,
    AnyFloatArray,
    FloatArray,
    from_normal,
    to_unit,
)
from editvec.engine.networks.generator import Generator
from editvec.engine.networks.layers import FullyConnected

W_DIM = 64
Z_DIM = len(PARAMETERS)
_ROTATION_SEED = 20_260_101
# Standard deviation of a uniform value on [-1, 1].
_UNIT_STD = 3**-0.5


def rotation() -> FloatArray:
    """The orthonormal basis of the code, [W_DIM, P]."""
    normal = np.random.default_rng(_ROTATION_SEED).standard_normal((W_DIM, len(PARAMETERS)))
    basis, _ = np.linalg.qr(normal)
    return basis


def encode(params: AnyFloatArray) -> FloatArray:
    """W codes of parameter values: [N, P] to [N, W_DIM]."""
    code: FloatArray = to_unit(params) @ rotation().T / _UNIT_STD
    return code


def decode(w: AnyFloatArray) -> FloatArray:
    """Unit parameters, nominally in [-1, 1], of W codes: [N, W_DIM] to [N, P]."""
    unit: FloatArray = np.asarray(w, dtype=np.float64) @ rotation() * _UNIT_STD
    return unit


def from_z(z: AnyFloatArray) -> FloatArray:
    """Parameter values that the Z latents [N, Z_DIM] stand for: [N, P].

    A mapping network sees z scaled to unit second moment, so the prior does too.
    """
    z = np.asarray(z, dtype=np.float64)
    return from_normal(z / np.sqrt(np.square(z).mean(axis=1, keepdims=True) + 1e-8))


def to_ws(w: Tensor, *, num_ws: int) -> Tensor:
    """Repeat W codes [N, W_DIM] to ws [N, num_ws, W_DIM]."""
    return w[:, None, :].expand(-1, num_ws, -1)


@torch.no_grad()
def project(generator: Generator) -> None:
    """Make the synthesis blind to the half of W that no code visits."""
    basis = torch.from_numpy(rotation()).to(generator.w_avg.dtype)
    projector = basis @ basis.t()
    for module in generator.synthesis.modules():
        if isinstance(module, FullyConnected):
            module.weight.copy_(module.weight @ projector.to(module.weight.device))
