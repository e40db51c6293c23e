"""Files of other programs: checkpoints and classifiers, read without running anything in them.

One module knows one format; all of them bring tensors under our names to `generators.py`, which
finds the settings from the shapes, fills in what a file leaves open, and checks every shape. Each
choice that it makes is a note, which the command prints and the bundle keeps in `built`:

- Nothing is run. A pickle is a program that may call anything. `pickles.py` follows its
  instructions, as `pickletools` lists them, on a stack of plain data: a name stands for an entry of
  one small table or is refused, source code that is embedded stays a text, and nothing is imported.
  Tensors inside are pickles again and go to `torch.load(weights_only=True)`, only those of the
  generator, and only when they are needed. Files of `torch.save` go there too; besides tensors they
  may hold `argparse.Namespace`.
- The averaged generator is taken where there is one, float32 whatever the file has.
- A conditional generator becomes one of its label. An embedded label is a constant input of the
  mapping's first layer, so it goes into that layer's bias, exactly. (The first TensorFlow release
  joins the label to z before the normalisation; there it stays as `mapping.label`.) `w_avg` becomes
  the mean of that label: an average over all labels is a picture of none of them.
- Noise maps that a file does not have are drawn from a fixed seed; a file with some of them is
  damaged. A generator trained without noise has none. `w_avg` is estimated where it is missing, and
  rounded, so that two machines find the same generator digest.
- Grey generators get three equal colours.
- A perceptual distance comes with no checkpoint, and embedding needs one: the class gets the
  trunk of `avatars`, whose values keep their name, `perceptual/avatars`.

The second feature map of a resolution is what the next block reads: of the resnet architecture, the
sum with the way around the block.
"""
