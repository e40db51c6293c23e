import pytest
import torch

from editvec.engine.errors import ShapeError
from editvec.engine.networks.config import ClassifierConfig
from editvec.engine.networks.identity import IdentityNetwork, identity_similarity


def test_embeddings_have_unit_length() -> None:
    torch.manual_seed(0)
    network = IdentityNetwork(ClassifierConfig(16, tuple("abcde"), (6, 8))).eval()

    embeddings = network(torch.rand(3, 3, 16, 16))

    assert embeddings.shape == (3, 5)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


def test_similarity_is_the_cosine_whatever_the_length() -> None:
    a = torch.tensor([[1.0, 0.0], [3.0, 4.0], [1.0, 0.0]])
    b = torch.tensor([[5.0, 0.0], [-3.0, -4.0], [0.0, 2.0]])

    torch.testing.assert_close(identity_similarity(a, b), torch.tensor([1.0, -1.0, 0.0]))


def test_embeddings_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(ShapeError, match="embeddings"):
        identity_similarity(torch.zeros(2, 3), torch.zeros(3, 3))
