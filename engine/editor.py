"""Editor: one bundle, loaded once on one device; what a worker holds.

It puts networks and functions together and computes nothing itself.
"""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from editvec.engine.bundle.bundle import LoadedBundle, load_bundle
from editvec.engine.bundle.description import Bundle
from editvec.engine.devices import require_device
from editvec.engine.editing import editing, inversion
from editvec.engine.editing.descent import OnStep
from editvec.engine.editing.editing import EditResult, EditSettings
from editvec.engine.editing.inversion import EmbedResult, EmbedSettings
from editvec.engine.editing.losses import Networks
from editvec.engine.errors import EngineCompatibilityError, EngineSettingsError
from editvec.engine.images.roi import default_dilation, roi_from_masks
from editvec.engine.networks.encoder import Encoder
from editvec.engine.networks.generator import Generator, cut_for_synthesis
from editvec.engine.networks.parallel import map_parts
from editvec.engine.networks.perceptual import PerceptualDistance, load_lpips
from editvec.engine.networks.trunks import PublishedTrunk
from editvec.engine.segmentation.branch import SegmentationBranch
from editvec.engine.segmentation.labels import likeliest_labels
from editvec.engine.shapes import check_ws

Labels = Sequence[str] | Sequence[int]


class Segmented(NamedTuple):
    """Images with their masks.

    Attributes:
        images: [N, 3, H, W] in [-1, 1].
        mask: [N, H, W].
        uncertainty: Jensen-Shannon divergence in nats, [N, H, W]; None unless asked for.
    """

    images: Tensor
    mask: Tensor
    uncertainty: Tensor | None


class Editor:
    """The networks of one bundle and what can be done with them, for N images at once.

    Attributes:
        bundle: What bundle.json says.
        device: Where the networks are; arguments are expected there.
        generator: Always there.
        segmentation: None when the bundle has none, as the following.
        encoder: Images -> ws.
        perceptual: The bundle's own, or published LPIPS when asked for.
        identity: Images -> embeddings.
        classifier: Images -> attributes.
    """

    def __init__(
        self, loaded: LoadedBundle, *, perceptual: PerceptualDistance | None = None
    ) -> None:
        self.bundle: Bundle = loaded.bundle
        self.generator: Generator = loaded.generator
        self.segmentation = loaded.segmentation
        self.encoder: Encoder | None = loaded.encoder
        self.perceptual = perceptual if perceptual is not None else loaded.perceptual
        self.identity: nn.Module | None = loaded.identity
        self.classifier = loaded.classifier
        self.device = loaded.generator.w_avg.device

    @classmethod
    def open(
        cls,
        folder: Path,
        device: torch.device | str = "cpu",
        *,
        trunk: PublishedTrunk | None = None,
        trunk_weights: Path | None = None,
    ) -> "Editor":
        """Load and verify the bundle in `folder`.

        Args:
            folder: Folder with bundle.json.
            device: Where the networks go.
            trunk: Measure with LPIPS on this published trunk; None takes the bundle's own trunk.
            trunk_weights: File with the published trunk's weights; None takes the usual cache.

        Raises:
            BundleError: The bundle is incomplete or altered.
            WeightsUnavailableError: The published trunk cannot be had.
            SettingsError: The device does not exist here.
        """
        require_device(device)
        perceptual: PerceptualDistance | None = None
        if trunk is not None:
            perceptual = load_lpips(trunk, weights=trunk_weights).to(device)
        return cls(load_bundle(folder, device=device), perceptual=perceptual)

    def measured_by(self, perceptual: PerceptualDistance) -> "Editor":
        """The same networks with another perceptual distance, on the same device."""
        other = copy.copy(self)
        other.perceptual = perceptual
        return other

    @property
    def networks(self) -> Networks:
        """The networks as losses take them."""
        return Networks(
            synthesis=self.generator.synthesis,
            segmentation=self.segmentation,
            perceptual=self.perceptual,
            encoder=self.encoder,
            identity=self.identity,
        )

    def check_generator(self, generator_digest: str) -> None:
        """Refuse a vector or an embedding of another generator.

        Raises:
            CompatibilityError: `generator_digest` is not the bundle's.
        """
        if generator_digest != self.bundle.generator_digest:
            raise EngineCompatibilityError(
                f"generator_digest: expected {self.bundle.generator_digest[:12]} of class "
                f"{self.bundle.class_name}, got {generator_digest[:12]}"
            )

    # ------------------------------------------------------------------------------------------
    # Latents

    @torch.no_grad()
    def sample(
        self, count: int, seed: int, truncation_psi: float = 1.0, *, first: int = 0
    ) -> Tensor:
        """Sample ws [count, num_ws, w_dim].

        Sample i depends on the seed and on i only, so that a run can be cut in any way.

        Args:
            count: How many.
            seed: At least 0.
            truncation_psi: 1 is none, 0 is `w_avg`.
            first: Index of the first sample.
        """
        if count < 1 or seed < 0 or first < 0:
            raise EngineSettingsError(
                f"count, seed, first: expected >= 1, >= 0, >= 0, got {count}, {seed}, {first}"
            )
        rows = [
            np.random.default_rng((seed, index)).standard_normal(self.bundle.z_dim)
            for index in range(first, first + count)
        ]
        z = torch.from_numpy(np.stack(rows)).to(self.generator.w_avg)
        ws: Tensor = self.generator.mapping(z, truncation_psi=truncation_psi)
        return ws

    def embed(
        self,
        images: Tensor,
        settings: EmbedSettings | None = None,
        *,
        on_step: OnStep | None = None,
        see: Callable[[Tensor], Tensor] | None = None,
    ) -> EmbedResult:
        """Embed images [N, 3, H, W] in [-1, 1]; see `inversion.invert`."""
        return inversion.invert(
            self.networks,
            images,
            w_avg=self.generator.w_avg,
            settings=settings or EmbedSettings(),
            on_step=on_step,
            see=see,
        )

    def apply(self, ws: Tensor, deltas: Tensor, scales: Tensor) -> Tensor:
        """ws + sum of scaled deltas [K, num_ws, w_dim]; see `editing.apply_deltas`."""
        self._check_ws(ws)
        return editing.apply_deltas(ws, deltas, scales)

    # ------------------------------------------------------------------------------------------
    # Images and masks

    @torch.inference_mode()
    def synthesize(self, ws: Tensor) -> Tensor:
        """Images [N, 3, H, W] of ws, without a mask."""
        synthesis = self.generator.synthesis
        return torch.cat([synthesis(part) for part in cut_for_synthesis(synthesis, ws)])

    @torch.inference_mode()
    def synthesize_with_mask(self, ws: Tensor, *, with_uncertainty: bool = False) -> Segmented:
        """Images and masks of ws; the uncertainty takes a second pass over the members.

        Raises:
            SettingsError: The bundle has no segmentation branch.
        """
        segmentation, synthesis = self._segmentation(), self.generator.synthesis

        def made(part: Tensor) -> Segmented:
            output = synthesis.with_features(part)
            uncertainty = segmentation.uncertainty(output.features) if with_uncertainty else None
            labels = likeliest_labels(segmentation(output.features))
            return Segmented(output.images, labels, uncertainty)

        if ws.device.type != "cpu":
            return made(ws)
        parts = cut_for_synthesis(synthesis, ws, at_least=torch.get_num_threads())
        images, masks, uncertainties = zip(*map_parts(made, parts), strict=True)
        uncertainty = torch.cat(uncertainties) if with_uncertainty else None
        return Segmented(torch.cat(images), torch.cat(masks), uncertainty)

    def roi(
        self,
        mask_before: Tensor,
        mask_after: Tensor,
        roi_labels: Labels,
        dilation: int | None = None,
        *,
        brush: Tensor | None = None,
    ) -> Tensor:
        """The ROI of an edit, bool [N, 1, H, W]; `dilation` None scales with the resolution."""
        if dilation is None:
            dilation = default_dilation(self.bundle.resolution)
        indices = self._label_indices(roi_labels, brush)
        return roi_from_masks(mask_before, mask_after, indices, dilation=dilation, brush=brush)

    # ------------------------------------------------------------------------------------------
    # Edits

    def learn(
        self,
        images: Tensor,
        mask_after: Tensor,
        *,
        roi_labels: Labels,
        mask_before: Tensor | None = None,
        ws: Tensor | None = None,
        settings: EditSettings | None = None,
        embed_settings: EmbedSettings | None = None,
        on_step: OnStep | None = None,
    ) -> EditResult:
        """Learn one delta per image from its edited mask; see `editing.learn`.

        `ws` None embeds the images first, with `embed_settings`.
        """
        return editing.learn(
            self.networks,
            self.embed(images, embed_settings).ws if ws is None else ws,
            mask_after,
            roi_labels=self.bundle.label_indices(roi_labels),
            images=images,
            mask_before=mask_before,
            settings=settings,
            on_step=on_step,
        )

    def refine(
        self,
        ws: Tensor,
        edited_ws: Tensor,
        *,
        roi_labels: Labels,
        brush: Tensor | None = None,
        settings: EditSettings | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Edited latents with less leakage, [N, num_ws, w_dim]; see `editing.refine`."""
        return editing.refine(
            self.networks,
            ws,
            edited_ws,
            roi_labels=self._label_indices(roi_labels, brush),
            brush=brush,
            settings=settings,
            on_step=on_step,
        ).edited_ws

    def optimize(
        self,
        images: Tensor,
        ws: Tensor,
        mask_after: Tensor,
        *,
        roi_labels: Labels,
        brush: Tensor | None = None,
        mask_before: Tensor | None = None,
        settings: EditSettings | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Latents edited towards each image's own mask, [N, num_ws, w_dim]; see `editing`."""
        return editing.optimize(
            self.networks,
            ws,
            mask_after,
            roi_labels=self._label_indices(roi_labels, brush),
            brush=brush,
            images=images,
            mask_before=mask_before,
            settings=settings,
            on_step=on_step,
        ).edited_ws

    def _label_indices(self, labels: Labels, brush: Tensor | None) -> list[int]:
        """Indices of labels; none are fine where a brush says what may change."""
        return self.bundle.label_indices(labels) if labels or brush is None else []

    def _segmentation(self) -> SegmentationBranch:
        if self.segmentation is None:
            name = self.bundle.class_name
            raise EngineSettingsError(
                f"class {name} has no segmentation branch; `editvec train segmentation --class "
                f"{name} PAIRS` makes one"
            )
        return self.segmentation

    def _check_ws(self, ws: Tensor) -> None:
        check_ws(ws, num_ws=self.bundle.num_ws, w_dim=self.bundle.w_dim)
