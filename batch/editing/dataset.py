"""A folder as a torch data set that is edited while a network is trained."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, get_worker_info

from editvec.batch.editing.pictures import EditedPicture, PictureEditor
from editvec.batch.errors import SettingsError
from editvec.batch.recipes.settings import OutputSize, RunSettings
from editvec.batch.runs.inputs import scan_folder
from editvec.engine.errors import EngineError
from editvec.engine.images.images import read_image
from editvec.registry.config import RegistryConfig
from editvec.registry.library.library import Library

_SOURCE = 0


class EditedFolder(Dataset[dict[str, Any]]):
    """The pictures of a folder, each edited anew in every epoch.

    An item is a dict:

    - ``image``: float32 [3, R, R] in [-1, 1], R the class's resolution;
    - ``mask``: int64 [R, R], part labels; missing for a class that makes no masks;
    - ``labels``: the scale of every vector of the edits, 0.0 where the item is not edited;
    - ``recipe``: the name of what was done, ``source`` for nothing;
    - ``source``: path of the picture in the folder.

    Items follow from seed, epoch and index alone, whatever worker makes them. What a gate of the
    settings rejects comes unedited. Each process opens the library for itself, so that workers may
    be forked; on a GPU workers must be spawned, or there must be none.

    Attributes:
        names: Path of every picture in the folder.
    """

    def __init__(
        self,
        folder: Path | str,
        edits: Sequence[str],
        *,
        home: Path | str | None = None,
        class_name: str | None = None,
        settings: RunSettings | None = None,
        edited: float = 1.0,
        seed: int = 0,
        device: str | None = None,
    ) -> None:
        """Find the pictures; class and vectors are loaded with the first item.

        Args:
            folder: Of the pictures, also in its sub-folders.
            edits: As of `PictureEditor`; each item gets one of their combinations. Drawn scales,
                ``smile=uniform(0,1)``, are drawn for each item.
            home: Home folder of the library; None takes EDITVEC_HOME, or ``~/.editvec``.
            class_name: None takes the only class of the library.
            settings: How edits are made. Outputs are of the generator's size.
            edited: Share of the items that are edited.
            seed: Of all that is drawn.
            device: None takes a CUDA device if there is one.

        Raises:
            PlanError: The folder cannot be listed, or holds no picture.
            SettingsError: A value is out of its range.
        """
        if not 0.0 <= edited <= 1.0:
            raise SettingsError(f"edited: expected a share from 0 to 1, got {edited}")
        if settings is not None and settings.output_size is OutputSize.ORIGINAL:
            raise SettingsError("output_size: items of one size are of the generator's")
        self._folder = Path(folder)
        self._files = [one.relative_path for one in scan_folder(self._folder).inputs]
        self.names = [os.fsdecode(one) for one in self._files]
        self._config = RegistryConfig.from_environment(None if home is None else Path(home))
        self._edits = tuple(edits)
        self._options: dict[str, Any] = {
            "class_name": class_name,
            "settings": settings,
            "device": device,
        }
        self._edited = edited
        self._seed = seed
        # in shared memory: workers that live longer than an epoch see it change
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._opened: tuple[int, PictureEditor] | None = None
        self._numbers: tuple[int, npt.NDArray[np.int64]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Draw other edits from now on; call it before each epoch, also with persistent workers."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """Some items at once, which is what torch's loaders ask for.

        Raises:
            IndexError: There is no such item.
            ImageError: A file is no picture.
            RegistryError, EngineError, BatchError: The class or a vector cannot be loaded.
        """
        editor, count, epoch = self._editor(), len(self), int(self._epoch)
        places = [range(count)[int(index)] for index in indices]
        made = editor.edit(
            [read_image(self._folder / self.names[place]) for place in places],
            positions=[epoch * count + int(self._order(epoch)[place]) for place in places],
            recipes=[(_SOURCE, self._recipe(place, epoch, editor)) for place in places],
        )
        chosen = [
            plain if edited.rejected is not None else edited
            for plain, edited in zip(made[::2], made[1::2], strict=True)
        ]
        return [_item(one, self.names[place]) for one, place in zip(chosen, places, strict=True)]

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """The number of each item in an epoch, by which drawn scales are drawn.

        Scales are spread evenly over consecutive numbers. In the order of the files, and with 2^k
        files, an item would get nearly the same scale in every epoch.
        """
        if self._numbers is None or self._numbers[0] != epoch:
            order = np.random.default_rng([self._seed, epoch, 0, 1]).permutation(len(self))
            self._numbers = (epoch, order)
        return self._numbers[1]

    def _recipe(self, place: int, epoch: int, editor: PictureEditor) -> int:
        """Which recipe an item gets in an epoch."""
        drawn = np.random.default_rng([self._seed, epoch, place])
        if drawn.random() >= self._edited:
            return _SOURCE
        return int(drawn.integers(1, len(editor.plan.recipes)))

    def _editor(self) -> PictureEditor:
        """The loaded class of this process: neither connections nor networks survive a fork."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self._open())
        return self._opened[1]

    def _open(self) -> PictureEditor:
        try:
            # it stays open as long as the process works: embeddings are looked up in it
            library = Library.open(self._config)
            return PictureEditor(library, self._edits, with_source=True, **self._options)
        except (RuntimeError, EngineError) as exc:
            # what CUDA says to a process that was forked from one that used it
            if get_worker_info() is None or "fork" not in str(exc):
                raise
            raise SettingsError(
                "device: forked workers cannot use a GPU; give the loader "
                'multiprocessing_context="spawn", or num_workers=0'
            ) from exc

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}


torch_dataset = EditedFolder
"""The name by which programs make one."""


def _item(one: EditedPicture, source: str) -> dict[str, Any]:
    image = torch.from_numpy(np.array(one.pixels)).permute(2, 0, 1).float() / 127.5 - 1.0
    item: dict[str, Any] = {"image": image, "labels": one.requested, "recipe": one.recipe}
    if one.mask is not None:
        item["mask"] = torch.from_numpy(one.mask.astype(np.int64))
    return item | {"source": source}
