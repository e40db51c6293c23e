"""Devices that are not there are refused in one line."""

import pytest
import torch

from editvec.engine.devices import require_device
from editvec.engine.errors import EngineSettingsError


def test_the_processor_is_always_there() -> None:
    require_device("cpu")
    require_device(torch.device("cpu"))


@pytest.mark.parametrize("name", ["nonsense", "", "cuda:99", "xpu:99", "vulkan", "cpu:x"])
def test_other_devices_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(EngineSettingsError) as caught:
        require_device(name)

    message = str(caught.value)
    assert message.startswith(f"device: cannot use {name!r}: ")
    assert "\n" not in message
    assert len(message) > len(f"device: cannot use {name!r}: ") + 5
