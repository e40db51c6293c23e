"""The published trunks of LPIPS by name, for whoever offers a choice without loading torch."""

from typing import Literal, get_args

PublishedTrunk = Literal["vgg", "alex", "squeeze"]
PUBLISHED_TRUNKS: tuple[PublishedTrunk, ...] = get_args(PublishedTrunk)
