"""The encoder: images -> W+ in one pass or a few, a residual pyramid with heads for rows."""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from editvec.engine.errors import EngineSettingsError
from editvec.engine.networks.config import EncoderConfig
from editvec.engine.networks.generator import Synthesis
from editvec.engine.shapes import check_images

GRID = 4  # heads read their pyramid level on a grid of at most GRID x GRID
MAX_GROUPS = 3  # coarse, middle and fine rows


class Encoder(nn.Module):
    """Images to ws = w_avg + offsets (the layout of Richardson et al. 2021, made small).

    Coarse rows read the coarsest level of the pyramid, fine rows the finer ones. An untrained
    encoder answers `w_avg`. BatchNorm makes eval mode part of the result: call `eval()` first.

    One of several iterations refines what it found before (Alaluf et al. 2021): each pass reads
    the image and its reconstruction side by side, and its offsets add to the ws of that. See
    `encode`, which makes all of the passes.

    Args:
        config: Sizes.
        w_avg: [w_dim], the generator's; None is zero.
    """

    w_avg: Tensor

    def __init__(self, config: EncoderConfig, *, w_avg: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        if w_avg is None:
            w_avg = torch.zeros(config.w_dim)
        self.register_buffer("w_avg", w_avg.detach().clone())
        widths = [config.channels[0], *config.channels]
        self.stem = nn.Conv2d(6 if self.is_iterative else 3, widths[0], 3, padding=1)
        self.stages = nn.ModuleList(
            ResidualStage(width, out) for width, out in itertools.pairwise(widths)
        )
        groups = min(MAX_GROUPS, len(config.channels), config.num_ws)
        coarsest = config.resolution >> len(config.channels)
        levels = config.channels[::-1][:groups]
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, config.head_channels, 1) for channels in levels
        )
        self.heads = nn.ModuleList(
            RowsHead(config, rows=len(rows), grid=min(GRID, coarsest))
            for rows in torch.arange(config.num_ws).tensor_split(groups)
        )

    @property
    def is_iterative(self) -> bool:
        """Whether a pass reads a reconstruction beside the image."""
        return self.config.iterations > 1

    def forward(
        self, images: Tensor, ws: Tensor | None = None, reconstructions: Tensor | None = None
    ) -> Tensor:
        """One pass: images [N, 3, H, W] in [-1, 1] to ws [N, num_ws, w_dim].

        Args:
            images: Of the encoder's resolution.
            ws: What the pass adds to, [N, num_ws, w_dim]; None is `w_avg`.
            reconstructions: Images of these ws; of an iterative encoder only.

        Raises:
            ShapeError: The images are not of the encoder's resolution.
            SettingsError: The encoder is iterative and there is no reconstruction, or the reverse.
        """
        check_images(images, resolution=self.config.resolution)
        if self.is_iterative != (reconstructions is not None):
            raise EngineSettingsError(
                "reconstructions: expected "
                + ("some" if self.is_iterative else "none")
                + f", because the encoder has {self.config.iterations} iterations"
            )
        if reconstructions is not None:
            check_images(reconstructions, resolution=self.config.resolution)
            images = torch.cat([images, reconstructions], dim=1)
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        # top-down: every level sees what the coarser ones found
        level: Tensor | None = None
        offsets = []
        for lateral, head, x in zip(self.laterals, self.heads, maps[::-1], strict=False):
            level = (
                lateral(x)
                if level is None
                else lateral(x) + F.interpolate(level, scale_factor=2.0, mode="bilinear")
            )
            offsets.append(head(level))
        return (self.w_avg if ws is None else ws) + torch.cat(offsets, dim=1)


def encode(encoder: Encoder, synthesis: Synthesis, images: Tensor) -> Tensor:
    """Embed images [N, 3, H, W] in [-1, 1] by all passes of an encoder, [N, num_ws, w_dim].

    Args:
        encoder: Of one or several iterations.
        synthesis: Makes the reconstructions between two iterations; unused with one.
        images: Of the encoder's resolution.

    Raises:
        ShapeError: The images are not of the encoder's resolution.
    """
    if not encoder.is_iterative:
        ws: Tensor = encoder(images)
        return ws
    for ws in passes(encoder, synthesis, images):
        result = ws
    return result


def passes(encoder: Encoder, synthesis: Synthesis, images: Tensor) -> Iterator[Tensor]:
    """The ws [N, num_ws, w_dim] after each pass; what is yielded is not changed by what follows.

    Gradients end at each pass: the next one begins where the one before has come to.
    """
    if not encoder.is_iterative:
        yield encoder(images)
        return
    ws = encoder.w_avg.expand(len(images), encoder.config.num_ws, -1)
    for number in range(encoder.config.iterations):
        with torch.no_grad():
            # all begin with the same image
            reconstructions = synthesis(ws if number else ws[:1]).clamp(-1, 1)
        ws = encoder(images, ws.detach(), reconstructions.expand(len(images), -1, -1, -1))
        yield ws


class ResidualStage(nn.Module):
    """Pre-activation residual block that halves the size."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, out_channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.LeakyReLU(0.2),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )
        self.skip = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, out_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> [N, out_channels, H/2, W/2]."""
        result: Tensor = self.body(x) + self.skip(x)
        return result


class RowsHead(nn.Module):
    """One pyramid level -> the offsets of a group of rows."""

    def __init__(self, config: EncoderConfig, *, rows: int, grid: int) -> None:
        super().__init__()
        width = config.head_channels
        self.w_dim = config.w_dim
        self.smooth = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.body = nn.Sequential(
            nn.LeakyReLU(0.2),
            nn.AdaptiveAvgPool2d(grid),
            nn.Flatten(),
            nn.Linear(width * grid * grid, width),
            nn.LeakyReLU(0.2),
        )
        self.rows = nn.Linear(width, rows * config.w_dim)
        nn.init.zeros_(self.rows.weight)
        nn.init.zeros_(self.rows.bias)

    def forward(self, level: Tensor) -> Tensor:
        """[N, head_channels, h, w] -> [N, rows, w_dim]."""
        offsets: Tensor = self.rows(self.body(self.smooth(level)))
        return offsets.reshape(len(offsets), -1, self.w_dim)
