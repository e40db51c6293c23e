import pytest
import torch

from editvec.engine.errors import EngineSettingsError, ShapeError
from editvec.engine.networks.classifier import AttributeClassifier
from editvec.engine.networks.config import ClassifierConfig


@pytest.fixture
def classifier() -> AttributeClassifier:
    torch.manual_seed(0)
    return AttributeClassifier(ClassifierConfig(16, ("smiling", "bearded"), (6, 8))).eval()


def test_each_attribute_has_one_logit(classifier: AttributeClassifier) -> None:
    images = torch.rand(3, 3, 16, 16)

    assert classifier(images).shape == (3, 2)
    torch.testing.assert_close(
        classifier.probabilities(images), 1 / (1 + (-classifier(images)).exp())
    )


def test_attributes_are_found_by_name(classifier: AttributeClassifier) -> None:
    assert classifier.names == ("smiling", "bearded")
    assert classifier.index("bearded") == 1
    with pytest.raises(EngineSettingsError, match="frowning"):
        classifier.index("frowning")


def test_wrong_sizes_are_refused(classifier: AttributeClassifier) -> None:
    with pytest.raises(ShapeError, match="16x16"):
        classifier(torch.rand(1, 3, 32, 32))


def test_where_something_is_can_be_learned() -> None:
    torch.manual_seed(0)
    classifier = AttributeClassifier(ClassifierConfig(16, ("left",), (6, 8)))
    images = torch.full((32, 3, 16, 16), -1.0)
    left = torch.arange(32) % 2 == 0
    rows = torch.randint(2, 14, (32,))
    for image, is_left, row in zip(images, left, rows.tolist(), strict=True):
        image[:, row, 4 if is_left else 12] = 1.0
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.02)

    for _ in range(15):
        logits = classifier(images)[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, left.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    assert ((logits > 0) == left).all()
