"""A library of learned editing vectors, and a batch processor that applies them to folders.

Everything installed lies below this package. In the checkout the rooms stand beside it, at the
top, and `editvec/registry`, `editvec/engine` and the others are links to them: one name to import,
and the folders where one looks for them.

The names below are what programs use; docs/python.md shows them in ten minutes. Each is loaded when
it is first used, so that `import editvec` costs nothing.
"""

# ruff: noqa: I001 (one import for each module reads better here)
from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editvec.batch.classes.adding import (
        add_class as add_class,
    )
    from editvec.batch.classes.importing import (
        import_model as import_model,
    )
    from editvec.batch.classes.request import (
        ImportRequest as ImportRequest,
    )
    from editvec.batch.discovery.discover import (
        discover as discover,
    )
    from editvec.batch.discovery.request import (
        DiscoverRequest as DiscoverRequest,
    )
    from editvec.batch.editing.dataset import (
        EditedFolder as EditedFolder,
        torch_dataset as torch_dataset,
    )
    from editvec.batch.editing.pictures import (
        EditedPicture as EditedPicture,
        PictureEditor as PictureEditor,
        edit_picture as edit_picture,
    )
    from editvec.batch.errors import (
        BatchError as BatchError,
    )
    from editvec.batch.evaluation.pairs.settings import (
        AskedVector as AskedVector,
        PairSettings as PairSettings,
    )
    from editvec.batch.evaluation.settings import (
        EvaluateSettings as EvaluateSettings,
    )
    from editvec.batch.execution.execution import (
        Execution as Execution,
        RunOutcome as RunOutcome,
        RunWatcher as RunWatcher,
    )
    from editvec.batch.learning.request import (
        LearnRequest as LearnRequest,
        LearnSettings as LearnSettings,
    )
    from editvec.batch.previews.probes import (
        PreviewProbes as PreviewProbes,
    )
    from editvec.batch.recipes.settings import (
        Composite as Composite,
        Fit as Fit,
        Mode as Mode,
        Output as Output,
        OutputSize as OutputSize,
        Priority as Priority,
        RunSettings as RunSettings,
        Space as Space,
    )
    from editvec.batch.runs.entities import (
        RunRecord as RunRecord,
    )
    from editvec.batch.training.encoder import (
        train_encoder as train_encoder,
    )
    from editvec.batch.training.generator import (
        train_generator as train_generator,
    )
    from editvec.batch.training.requests import (
        EncoderRequest as EncoderRequest,
        GeneratorRequest as GeneratorRequest,
        SegmentationRequest as SegmentationRequest,
    )
    from editvec.batch.training.segmentation import (
        train_segmentation as train_segmentation,
    )
    from editvec.batch.use_cases import (
        disentangle as disentangle,
        edit_folder as edit_folder,
        embed_folder as embed_folder,
        evaluate as evaluate,
        evaluate_all as evaluate_all,
        generate as generate,
        learn as learn,
        learn_all as learn_all,
        preview as preview,
        resume as resume,
        retry as retry,
    )
    from editvec.cuda_ext.errors import (
        CudaExtError as CudaExtError,
    )
    from editvec.engine.editing.editing import (
        EditSettings as EditSettings,
        apply_deltas as apply_deltas,
    )
    from editvec.engine.editing.inversion import (
        EmbedSettings as EmbedSettings,
    )
    from editvec.engine.editor import (
        Editor as Editor,
    )
    from editvec.engine.errors import (
        EngineError as EngineError,
    )
    from editvec.registry.entities.classes import (
        ClassModel as ClassModel,
    )
    from editvec.registry.entities.metrics import (
        NewMetric as NewMetric,
    )
    from editvec.registry.entities.queries import (
        MetricBound as MetricBound,
        VectorQuery as VectorQuery,
    )
    from editvec.registry.entities.vectors import (
        Condition as Condition,
        EditingVector as EditingVector,
        NewMaskPair as NewMaskPair,
        NewTerm as NewTerm,
        NewVector as NewVector,
    )
    from editvec.registry.errors import (
        RegistryError as RegistryError,
    )
    from editvec.registry.library.library import (
        Library as Library,
    )

_PLACES = {
    name: module
    for module, names in {
        "editvec.batch.classes.adding": ("add_class",),
        "editvec.batch.classes.importing": ("import_model",),
        "editvec.batch.classes.request": ("ImportRequest",),
        "editvec.batch.discovery.discover": ("discover",),
        "editvec.batch.discovery.request": ("DiscoverRequest",),
        "editvec.batch.editing.dataset": ("EditedFolder", "torch_dataset"),
        "editvec.batch.editing.pictures": (
            "EditedPicture",
            "PictureEditor",
            "edit_picture",
        ),
        "editvec.batch.errors": ("BatchError",),
        "editvec.batch.evaluation.pairs.settings": (
            "AskedVector",
            "PairSettings",
        ),
        "editvec.batch.evaluation.settings": ("EvaluateSettings",),
        "editvec.batch.execution.execution": (
            "Execution",
            "RunOutcome",
            "RunWatcher",
        ),
        "editvec.batch.learning.request": (
            "LearnRequest",
            "LearnSettings",
        ),
        "editvec.batch.previews.probes": ("PreviewProbes",),
        "editvec.batch.recipes.settings": (
            "Composite",
            "Fit",
            "Mode",
            "Output",
            "OutputSize",
            "Priority",
            "RunSettings",
            "Space",
        ),
        "editvec.batch.runs.entities": ("RunRecord",),
        "editvec.batch.training.encoder": ("train_encoder",),
        "editvec.batch.training.generator": ("train_generator",),
        "editvec.batch.training.requests": (
            "EncoderRequest",
            "GeneratorRequest",
            "SegmentationRequest",
        ),
        "editvec.batch.training.segmentation": ("train_segmentation",),
        "editvec.batch.use_cases": (
            "disentangle",
            "edit_folder",
            "embed_folder",
            "evaluate",
            "evaluate_all",
            "generate",
            "learn",
            "learn_all",
            "preview",
            "resume",
            "retry",
        ),
        "editvec.cuda_ext.errors": ("CudaExtError",),
        "editvec.engine.editing.editing": (
            "EditSettings",
            "apply_deltas",
        ),
        "editvec.engine.editing.inversion": ("EmbedSettings",),
        "editvec.engine.editor": ("Editor",),
        "editvec.engine.errors": ("EngineError",),
        "editvec.registry.entities.classes": ("ClassModel",),
        "editvec.registry.entities.metrics": ("NewMetric",),
        "editvec.registry.entities.queries": (
            "MetricBound",
            "VectorQuery",
        ),
        "editvec.registry.entities.vectors": (
            "Condition",
            "EditingVector",
            "NewMaskPair",
            "NewTerm",
            "NewVector",
        ),
        "editvec.registry.errors": ("RegistryError",),
        "editvec.registry.library.library": ("Library",),
    }.items()
    for name in names
}
"""The module of every name."""

__all__ = ["__version__", "open", *sorted(_PLACES)]  # noqa: PLE0604 (names)


def open(home: Path | str | None = None) -> Library:  # noqa: A001 (editvec.open, as gzip.open)
    """Open a library; use it as a context manager, or close it.

    Args:
        home: Its home folder; None takes EDITVEC_HOME, or ``~/.editvec``. The database and the
            place of the blobs come from the environment, as on the command line.

    Raises:
        RegistryError: It cannot be opened.

    Example:
        >>> import editvec
        >>> with editvec.open() as library:
        ...     [vector.name for vector in library.find_vectors()]
        ['frown', 'look-left', 'smile', 'squint']
    """
    from editvec.registry.config import RegistryConfig
    from editvec.registry.library.library import Library

    given = None if home is None else Path(home)
    return Library.open(RegistryConfig.from_environment(given))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("editvec")
    if name not in _PLACES:
        raise AttributeError(f"module 'editvec' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return __all__
