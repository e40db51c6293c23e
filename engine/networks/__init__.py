"""The networks of a class, from layers to generator, encoder and trunks.

Learning and embedding need derivatives of latents only. Three files use that to save memory and
time; tests compare each with the plain form, in values and derivatives:

- `frozen_layer.py`: a layer of the generator keeps its input and its output, which are feature maps
  anyway, and works in place in between. The plain form in `layers.py` serves trainings, autocast
  and chosen kernels.
- `perceptual_layer.py`: a layer of the perceptual distance makes its derivative along with its
  value.
- `engine/segmentation/pixel_plan.py` finds once which native pixels an ROI is made from;
  `pixel_logits.py` reads, projects and sums only these (`F.embedding_bag` is the sparse product, in
  both directions) and keeps a byte of each hidden value.

On a CPU bundles are loaded in channels_last; `layouts.py` is for code that has to know. How many
images are computed at a time follows from the free memory, by `engine/memory.py`.
"""
