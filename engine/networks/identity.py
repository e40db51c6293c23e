"""Identity: images -> embeddings that stay the same when only an attribute changes.

Losses and metrics take any module that maps images in [-1, 1] to embeddings [N, D]; the network
here is the small one that a bundle can carry.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from editvec.engine.errors import ShapeError
from editvec.engine.networks.classifier import ConvolutionStages
from editvec.engine.networks.config import ClassifierConfig


class IdentityNetwork(nn.Module):
    """A small convolutional network with embeddings of unit length.

    Args:
        config: Resolution, channels; `outputs` names the dimensions of the embedding.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.body = ConvolutionStages(config)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings [N, D] of unit length of images [N, 3, H, W] in [-1, 1]."""
        return F.normalize(self.body(images), dim=1)


def identity_similarity(embeddings_a: Tensor, embeddings_b: Tensor) -> Tensor:
    """Cosine of identity embeddings.

    Args:
        embeddings_a: [N, D], of any length.
        embeddings_b: [N, D].

    Returns:
        [N] in [-1, 1].

    Raises:
        ShapeError: The embeddings do not pair up.

    Example:
        >>> import torch
        >>> identity_similarity(torch.eye(2), -torch.eye(2)).tolist()
        [-1.0, -1.0]
    """
    if embeddings_a.ndim != 2 or embeddings_a.shape != embeddings_b.shape:
        raise ShapeError(
            f"embeddings_a, embeddings_b: expected two equal [N, D], "
            f"got {list(embeddings_a.shape)} and {list(embeddings_b.shape)}"
        )
    return F.cosine_similarity(embeddings_a, embeddings_b, dim=1)
