"""Image files: what their pixels and their metadata say when Pillow reads them back."""

import io
import json

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from editvec.batch.recipes.settings import ImageFormat
from editvec.batch.sinks.encoding import encode_image
from tests.support.folder_runs import provenance_in

PROVENANCE = {
    "edited_by": "editvec 0.1.0",
    "vectors": [{"address": "tiny/größe@1", "delta_digest": "ab" * 32, "scale": -0.5}],
    "source_digest": "cd" * 32,
    "generator_digest": "ef" * 32,
    "content_key": "01" * 32,
}
FORMATS = ["png", "jpeg", "jpeg:50", "webp", "webp:lossless"]


def picture(height: int = 24, width: int = 40) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image)


@pytest.mark.parametrize("text", FORMATS)
def test_an_image_tells_who_made_it_and_from_what(text: str) -> None:
    data = encode_image(picture(), ImageFormat.parse(text), PROVENANCE)

    assert provenance_in(data) == ("editvec 0.1.0", PROVENANCE)


@pytest.mark.parametrize("text", FORMATS)
def test_equal_pixels_make_equal_bytes(text: str) -> None:
    image_format = ImageFormat.parse(text)

    first = encode_image(picture(), image_format, PROVENANCE)

    assert encode_image(picture().copy(), image_format, dict(PROVENANCE)) == first


@pytest.mark.parametrize("text", FORMATS)
def test_pixels_come_back_exactly_or_nearly(text: str) -> None:
    image_format, pixels = ImageFormat.parse(text), picture()

    with Image.open(io.BytesIO(encode_image(pixels, image_format))) as image:
        assert (image.format, image.mode) == (image_format.kind.upper(), "RGB")
        error = np.abs(np.asarray(image).astype(int) - pixels)

    assert (error.max() == 0) == (image_format.quality is None)
    assert error.mean() < 6


def test_a_lower_quality_is_smaller() -> None:
    pixels = picture(256, 256)

    sizes = [
        len(encode_image(pixels, ImageFormat.parse(f"{kind}:{quality}")))
        for kind in ("jpeg", "webp")
        for quality in (95, 30)
    ]

    assert sizes[0] > sizes[1]
    assert sizes[2] > sizes[3]


@pytest.mark.parametrize(
    ("text", "luma"),
    [
        ("jpeg:1", 0x22),
        ("jpeg:89", 0x22),
        ("jpeg:90", 0x11),
        ("jpeg:100", 0x11),
        ("jpeg", 0x11),
    ],
)
def test_a_jpeg_of_quality_90_or_more_keeps_its_colours_at_full_resolution(
    text: str, luma: int
) -> None:
    data = encode_image(picture(), ImageFormat.parse(text), PROVENANCE)

    # a frame header: length, precision, height, width, 3 components: each id, sampling, table
    frame = data.index(b"\xff\xc0")
    assert data[frame + 2 : frame + 10] == bytes([0, 17, 8, 0, 24, 0, 40, 3])
    assert [data[frame + at] for at in (11, 14, 17)] == [luma, 0x11, 0x11]


@pytest.mark.parametrize("text", ["jpeg", "webp"])
def test_provenance_that_just_fits_is_whole(text: str) -> None:
    """The limit is one of the EXIF data of a JPEG."""
    room = 60_000 - len(json.dumps({**PROVENANCE, "content_key": ""}))
    fitting, too_long = ({**PROVENANCE, "content_key": "x" * n} for n in (room, room + 1))

    _, whole = provenance_in(encode_image(picture(), ImageFormat.parse(text), fitting))
    _, cut = provenance_in(encode_image(picture(), ImageFormat.parse(text), too_long))

    assert whole == fitting
    assert cut == {**too_long, "vectors": "1 vectors: see metadata.jsonl"}


def test_more_vectors_than_a_jpeg_can_name_leave_the_rest_of_its_provenance() -> None:
    many = {**PROVENANCE, "vectors": PROVENANCE["vectors"] * 1000}

    _, of_jpeg = provenance_in(encode_image(picture(), ImageFormat.parse("jpeg"), many))
    _, of_png = provenance_in(encode_image(picture(), ImageFormat.parse("png"), many))

    assert of_jpeg == {**many, "vectors": "1000 vectors: see metadata.jsonl"}
    assert of_png == many


def test_a_picture_that_its_format_cannot_hold_is_an_error_of_that_file() -> None:
    too_wide = np.zeros((8, 20_000, 3), np.uint8)

    with pytest.raises(OSError, match="no webp can be made of it"):
        encode_image(too_wide, ImageFormat.parse("webp"))


def test_a_profile_is_in_the_file_only_if_there_is_one() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    for text in FORMATS:
        image_format = ImageFormat.parse(text)
        for given in (profile, None):
            data = encode_image(picture(), image_format, PROVENANCE, profile=given)
            with Image.open(io.BytesIO(data)) as image:
                assert image.info.get("icc_profile") == given, text


@pytest.mark.parametrize("text", ["png", "webp:lossless"])
def test_colours_that_transparency_hides_are_kept_without_loss(text: str) -> None:
    pixels = np.dstack([picture(), np.zeros((24, 40), np.uint8)])
    pixels[:12, :, 3] = 130

    with Image.open(io.BytesIO(encode_image(pixels, ImageFormat.parse(text)))) as image:
        assert image.mode == "RGBA"
        assert (np.asarray(image) == pixels).all()


@pytest.mark.parametrize("text", FORMATS)
def test_without_provenance_a_file_says_nothing_of_us(text: str) -> None:
    data = encode_image(picture(), ImageFormat.parse(text))

    assert b"editvec" not in data
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert not image.getexif()
        assert "Software" not in image.info


@pytest.mark.parametrize(
    ("text", "low", "high"), [("jpeg:30", "jpeg:29", "jpeg:31"), ("webp:30", "webp:10", "webp:60")]
)
def test_the_quality_is_that_of_pillow(text: str, low: str, high: str) -> None:
    """The bytes are those that Pillow makes with this quality, and no other."""
    kind, _, quality = text.partition(":")
    options = {"jpeg": {"subsampling": "4:2:0"}, "webp": {"method": 2}}[kind]
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, kind.upper(), quality=int(quality), **options)

    made = encode_image(picture(), ImageFormat.parse(text))

    assert made == stream.getvalue()
    assert all(made != encode_image(picture(), ImageFormat.parse(one)) for one in (low, high))
