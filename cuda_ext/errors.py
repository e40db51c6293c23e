"""What can go wrong in the CUDA operations.

CudaExtError
├── OperandError(ValueError)         a tensor or setting that the operation does not take
└── ExtensionBuildError(RuntimeError)  the kernels cannot be compiled or loaded here
    └── BuildLockError(TimeoutError)     another build holds the lock, or a dead one left it behind
"""

from editvec.masking import MaskedError


class CudaExtError(MaskedError):
    """Base of every error that `cuda_ext` raises on purpose."""


class OperandError(CudaExtError, ValueError):
    """A tensor or a setting is not what the operation takes."""


class ExtensionBuildError(CudaExtError, RuntimeError):
    """The CUDA sources cannot be compiled or loaded on this machine."""


class BuildLockError(ExtensionBuildError, TimeoutError):
    """The build folder stayed locked for longer than we are willing to wait."""
