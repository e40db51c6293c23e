"""Mean logits of planned pixels, with a derivative that keeps a byte of each hidden value.

Layer 1 runs on the native pixels that are needed, a sparse product sums them up to the output
pixels, and the members' small layers follow. Weights are frozen, so that a gradient needs nothing
of the hidden layers but which values are above 0; where even that is too much, they are computed
again.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from editvec.engine.networks.layouts import is_channels_last, pixel_matrix, refuse_second_derivative
from editvec.engine.segmentation.feature_groups import FeatureGroup
from editvec.engine.segmentation.pixel_plan import PixelPlan, PlanPart


class PixelClassifiers(NamedTuple):
    """Frozen members of an ensemble; E members, D channels, K labels.

    Attributes:
        weight1: [E*H1, D].
        base: What layer 1 adds on the coarsest maps: [E*H1, h, w] or [E*H1, 1, 1].
        weight2: [E, H2, H1].
        bias2: [E, H2, 1].
        weight3: Divided by E, so that the members' logits add up to their mean: [E, K, H2].
    """

    weight1: Tensor
    base: Tensor
    weight2: Tensor
    bias2: Tensor
    weight3: Tensor


def pixel_logits(
    groups: Sequence[FeatureGroup],
    plan: PixelPlan,
    classifiers: PixelClassifiers,
    *,
    members: int,
    is_kept: bool,
) -> Tensor:
    """Mean logits of the plan's pixels, without the last bias: [P, K].

    Args:
        groups: Feature maps; they have a first derivative.
        plan: Of these maps' sizes.
        classifiers: They have no derivative.
        members: How many of them are computed at once.
        is_kept: Whether a gradient keeps what it needs of the hidden layers.
    """
    maps = [one for group in groups for one in group.maps]
    columns = [group.columns for group in groups]
    widths = [[one.shape[1] for one in group.maps] for group in groups]
    settings = _LogitSettings(classifiers, plan, columns, widths, members, is_kept)
    logits: Tensor = _PixelLogits.apply(settings, *maps)
    return logits


class _LogitSettings(NamedTuple):
    """What the function takes besides the maps it derives."""

    classifiers: PixelClassifiers
    plan: PixelPlan
    columns: list[slice]  # of layer 1, of each size
    widths: list[list[int]]  # channels of each map of each size
    members: int
    is_kept: bool

    def slices(self) -> Iterator[slice]:
        count = len(self.classifiers.weight2)
        for start in range(0, count, self.members):
            yield slice(start, min(start + self.members, count))


class _PixelLogits(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, settings: _LogitSettings, *maps: Tensor) -> Tensor:
        ctx.settings = settings
        inactive: list[Tensor] = []
        is_kept = settings.is_kept and any(ctx.needs_input_grad)
        weight3 = settings.classifiers.weight3
        logits = weight3.new_zeros(len(settings.plan.pixels), weight3.shape[1])
        for part in settings.plan.parts:
            channels = _gather_channels(settings, part, maps)
            for members in settings.slices():
                hidden1, hidden2 = _hidden(settings, part, channels, members)
                logits[part.pixels] += (hidden2 @ weight3[members].transpose(1, 2)).sum(dim=0)
                if is_kept:
                    inactive += hidden1 == 0, hidden2 == 0
        ctx.save_for_backward(*maps, *inactive)  # which a graph gives up with its backward pass
        return logits

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        refuse_second_derivative("segmentation at pixels")
        settings, count = ctx.settings, len(ctx.needs_input_grad) - 1
        maps, inactive = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        _, _, weight2, _, weight3 = settings.classifiers
        kept = iter(inactive)
        found = [
            _zeros_like(one) if needed else None
            for one, needed in zip(maps, ctx.needs_input_grad[1:], strict=True)
        ]
        for part in settings.plan.parts:
            channels = [] if inactive else _gather_channels(settings, part, maps)
            derived = _empty_channels(settings, part)
            for total in derived:
                total.zero_()
            for members in settings.slices():
                if channels:
                    hidden1, hidden2 = _hidden(settings, part, channels, members)
                    off1, off2 = hidden1 == 0, hidden2 == 0
                else:
                    off1, off2 = next(kept), next(kept)
                grad = (grads[0][part.pixels] @ weight3[members]).masked_fill_(off2, 0)
                grad = (grad @ weight2[members]).transpose(0, 1).flatten(1)  # [P, M*H1]
                table = part.scatter.sum(grad.masked_fill_(off1, 0))  # [R, M*H1]
                _derive_channels_(derived, settings, part, table, members)
            _scatter_channels_(found, settings, part, derived)
        return None, *found


def _zeros_like(maps: Tensor) -> Tensor:
    """Dense zeros in the layout of maps, which may be the same for all images."""
    last = torch.channels_last if is_channels_last(maps) else torch.contiguous_format
    return torch.zeros_like(maps, memory_format=last)


def _hidden(
    settings: _LogitSettings, part: PlanPart, channels: Sequence[Tensor], members: slice
) -> tuple[Tensor, Tensor]:
    """Both hidden layers of some members: [P, M*H1] and [M, P, H2]."""
    own = settings.classifiers
    weight1, base = _first_layer(settings, members)
    table = base.new_empty(part.num_native, len(weight1))
    first = 0
    for columns, one in zip(settings.columns, channels, strict=True):
        rows = table[first : first + len(one)]
        torch.mm(one, weight1[:, columns].t(), out=rows)
        if first == 0:
            inside = torch.cat(part.native[0].inside)
            rows += base.flatten(1).t()[inside if base.shape[1] > 1 else inside.new_zeros(1)]
        first += len(one)
    hidden1 = part.gather.sum(table).relu_()
    stacked = hidden1.view(len(hidden1), -1, own.weight2.shape[2]).transpose(0, 1)
    bias2 = own.bias2[members].transpose(1, 2)
    hidden2 = torch.baddbmm(bias2, stacked, own.weight2[members].transpose(1, 2)).relu_()
    return hidden1, hidden2


def _first_layer(settings: _LogitSettings, members: slice) -> tuple[Tensor, Tensor]:
    """Weight [M*H1, D] and base of some members."""
    width = settings.classifiers.weight2.shape[2]
    channels = slice(members.start * width, members.stop * width)
    return settings.classifiers.weight1[channels], settings.classifiers.base[channels]


def _derive_channels_(
    totals: Sequence[Tensor],
    settings: _LogitSettings,
    part: PlanPart,
    table: Tensor,
    members: slice,
) -> None:
    """Add what some members contribute, of [R, M*H1], to the gradients [R_s, C_s]."""
    weight1, _ = _first_layer(settings, members)
    pieces = torch.split(table, [native.total for native in part.native])
    for columns, rows, total in zip(settings.columns, pieces, totals, strict=True):
        total.addmm_(rows, weight1[:, columns])


def _gather_channels(
    settings: _LogitSettings, part: PlanPart, maps: Sequence[Tensor]
) -> list[Tensor]:
    """Channels of the needed native pixels of each size, [R_s, C_s]."""
    found = _empty_channels(settings, part)
    for number, image, inside, own in _pieces(settings, part, found):
        one = maps[number][image : image + 1]
        if is_channels_last(one):
            own.copy_(pixel_matrix(one)[0].index_select(0, inside))
        else:
            own.copy_(one[0].flatten(1).index_select(1, inside).t())
    return found


def _scatter_channels_(
    totals: Sequence[Tensor | None],
    settings: _LogitSettings,
    part: PlanPart,
    channels: Sequence[Tensor],
) -> None:
    """Add gradients [R_s, C_s] of each size to those of the maps."""
    for number, image, inside, own in _pieces(settings, part, channels):
        total = totals[number]
        if total is None:
            continue
        one = total[image : image + 1]
        if is_channels_last(one):
            pixel_matrix(one)[0].index_add_(0, inside, own)
        else:
            one[0].flatten(1).index_add_(1, inside, own.t())


def _empty_channels(settings: _LogitSettings, part: PlanPart) -> list[Tensor]:
    weight1 = settings.classifiers.weight1
    return [
        weight1.new_empty(native.total, sum(widths))
        for widths, native in zip(settings.widths, part.native, strict=True)
    ]


def _pieces(
    settings: _LogitSettings, part: PlanPart, channels: Sequence[Tensor]
) -> Iterator[tuple[int, int, Tensor, Tensor]]:
    """Number of the map, image, its needed pixels, and their place in `channels`."""
    first = 0
    for widths, native, one in zip(settings.widths, part.native, channels, strict=True):
        for number, own in enumerate(
            torch.split(one, widths, dim=1) if widths else (), start=first
        ):
            for image, (inside, span) in enumerate(zip(native.inside, native.spans, strict=True)):
                yield number, image, inside, own[span]
        first += len(widths)
