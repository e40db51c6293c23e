"""Devices that torch can compute on."""

import torch

from editvec.engine.errors import EngineSettingsError


def require_device(device: torch.device | str) -> None:
    """Check that a device exists here.

    Args:
        device: As torch names it: `cpu`, `cuda`, `cuda:1`.

    Raises:
        SettingsError: It does not; the message has the reason.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as exc:
        reason = str(exc).partition("\n")[0]
        raise EngineSettingsError(f"device: cannot use {str(device)!r}: {reason}") from exc
