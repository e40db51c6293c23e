"""The parts of an avatar, each a function that paints itself on a canvas.

Coordinates run from -1 to 1, x to the right and y down. Parts of the head are drawn in the head's
own frame.
"""

from typing import Any

import numpy as np

from editvec.avatars.drawing import distances
from editvec.avatars.drawing.canvas import Canvas, Frame
from editvec.avatars.drawing.distances import Field

Values = dict[str, Any]
"""Parameter values by name, each float32 [N, 1, 1]."""

EYE_Y = np.float32(0.0)
MOUTH_Y = np.float32(0.375)
SIDES = (-1.0, 1.0)

_TONGUE = np.array([0.93, 0.47, 0.47], np.float32).reshape(3, 1, 1, 1)
_IVORY = np.array([1.0, 0.99, 0.96], np.float32).reshape(3, 1, 1, 1)


def smoothstep(value: Any, low: float, high: float) -> Field:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / np.float32(high - low), 0.0, 1.0)
    smooth: Field = t * t * (3.0 - 2.0 * t)
    return smooth


def shaded(color: Field, amount: Any) -> Field:
    """A colour in warm shadow, `amount` 1 is the deepest."""
    deep = color * np.array([0.80, 0.70, 0.76], np.float32).reshape(3, 1, 1, 1)
    mixed: Field = color + amount * (deep - color)
    return mixed


def draw_background(canvas: Canvas, frame: Frame, color: Field) -> None:
    """A soft vertical gradient with a lighter middle."""
    glow = np.exp(-1.6 * (frame.x * frame.x + (frame.y + 0.1) ** 2))
    light = (0.28 * glow + 0.1 * (0.2 - frame.y)) * np.float32(
        min(canvas.style.shading_strength, 1.0)
    )
    canvas.rgb[:] = color + light * (1.0 - color)


def head_outline(x: Field, y: Field, v: Values) -> Field:
    """The face: a superellipse whose lower half narrows towards the chin."""
    low = np.maximum(y, 0.0)
    narrowing = 1.0 + (0.30 - 0.17 * v["jaw"]) * low * low / np.float32(0.43)
    radius_y = np.where(y > 0.0, np.float32(0.66), np.float32(0.62))
    return distances.superellipse(
        x * narrowing, y, radius_x=v["head_width"], radius_y=radius_y, exponent=2.3
    )


def hair_cap(x: Field, y: Field, v: Values) -> Field:
    """The silhouette of the hair around the head."""
    grown = 0.075 + 0.09 * v["hair_volume"]
    return distances.superellipse(
        x,
        y + 0.03,
        radius_x=v["head_width"] + grown,
        radius_y=np.float32(0.63) + grown,
        exponent=2.2,
    )


def draw_back_hair(canvas: Canvas, frame: Frame, v: Values, color: Field) -> None:
    """The hair behind the head, down to the hair's length."""
    x, y = frame.x, frame.y
    bottom = 0.02 + 0.86 * v["hair_length"]
    half_width = v["head_width"] + 0.04 + 0.10 * v["hair_volume"]
    flare = 1.0 - 0.10 * smoothstep(y, 0.1, 0.9)
    fall = distances.rounded_box(
        x * flare,
        y - 0.5 * (bottom - 0.4),
        half_width=half_width,
        half_height=0.5 * (bottom + 0.4),
        corner=np.float32(0.2),
    )
    cap = distances.smooth_intersection(hair_cap(x, y, v), y - 0.12, blend=0.15)
    dark = canvas.shadow(smoothstep(0.62 - np.abs(x), 0.0, 0.3) * smoothstep(y, -0.2, 0.3))
    canvas.fill(
        frame,
        distances.smooth_union(fall, cap, blend=0.12),
        shaded(color * 0.9, dark),
        label="hair",
    )


def draw_neck_and_clothes(
    canvas: Canvas, frame: Frame, v: Values, skin: Field, clothes: Field
) -> None:
    """A neck that follows the head, shoulders, and a round collar. The frame is the picture's."""
    x = frame.x - 0.6 * v["head_x"]
    y = frame.y - 0.3 * v["head_y"]
    neck = distances.rounded_box(x, y - 0.6, half_width=0.19, half_height=0.4, corner=0.06)
    chin_shadow = canvas.shadow(1.0 - smoothstep(y, 0.56, 0.82))
    canvas.fill(frame, neck, shaded(skin, chin_shadow), label="skin")
    shoulders = distances.superellipse(x, y - 1.22, radius_x=0.80, radius_y=0.55, exponent=2.4)
    neckline = distances.ellipse(x, y - 0.66, radius_x=0.27, radius_y=0.17)
    body = np.maximum(shoulders, -neckline)
    canvas.fill(
        frame, body, shaded(clothes, canvas.shadow(smoothstep(x, 0.0, 0.8))), label="clothes"
    )
    collar = np.maximum(body, neckline - 0.07)
    canvas.fill(frame, collar, clothes + 0.5 * (1.0 - clothes), label="clothes", max_line=0.02)


def draw_ears(canvas: Canvas, frame: Frame, v: Values, skin: Field) -> None:
    """Two ears behind the face, with a darker hollow."""
    size = v["ear_size"]
    for side in SIDES:
        x = frame.x * side - v["head_width"] - 0.01
        y = frame.y - 0.07
        ear = distances.ellipse(x, y, radius_x=0.8 * size, radius_y=size)
        canvas.fill(frame, ear, skin * np.float32(0.97), label="ear")
        hollow = distances.ellipse(x - 0.01, y, radius_x=0.42 * size, radius_y=0.58 * size)
        canvas.tint(
            shaded(skin, np.float32(1.0)), 0.7 * np.clip(0.5 - hollow / frame.pixel, 0.0, 1.0)
        )


def draw_face(canvas: Canvas, frame: Frame, v: Values, skin: Field) -> None:
    """The face with light from the upper left, and blush."""
    x, y = frame.x, frame.y
    face = head_outline(x, y, v)
    side = smoothstep(x + 0.35 * y + 0.5 * x * x, 0.12, 0.85)
    under_hair = 0.55 * (1.0 - smoothstep(y, -0.52, -0.22))
    color = shaded(skin, canvas.shadow(np.maximum(0.85 * side, under_hair)))
    for cheek in SIDES:
        u, w = x - cheek * (v["head_width"] - 0.19), y - 0.255
        glow = np.exp(-(u * u + 1.7 * w * w) * np.float32(55.0))
        pink = skin * np.array([1.0, 0.66, 0.66], np.float32).reshape(3, 1, 1, 1)
        pink = pink + np.array([0.08, 0.0, 0.01], np.float32).reshape(3, 1, 1, 1)
        color = color + 0.75 * v["blush"] * glow * (pink - color)
    canvas.fill(frame, face, color, label="skin")


def draw_eye(
    canvas: Canvas, frame: Frame, v: Values, iris: Field, lash: Field, *, side: float
) -> None:
    """One eye: white, iris, pupil, highlight and the lid line, which alone is left when closed."""
    half_width = v["eye_size"]
    x, y = frame.x - side * v["eye_spacing"], frame.y - EYE_Y
    openness = 1.0 - np.maximum(1.0 - v["eye_opening"], 0.0) ** np.float32(2.4)
    low = 0.78 * half_width
    # how far the upper lid's middle is over the corners of the eye; under them when it is closed
    high = 1.76 * half_width * openness - low
    # both lids meet in the corners; the fourth power makes them rounder than parabolas
    t = x / half_width
    profile, profile_slope = 1.0 - 0.4 * t * t - 0.6 * t**4, -(0.8 * t + 2.4 * t**3) / half_width
    opening = np.maximum(
        distances.below(y, -high * profile, -high * profile_slope),
        -distances.below(y, low * profile, low * profile_slope),
    )
    opening = np.maximum(opening, np.abs(x) - half_width)
    white = np.array([1.0, 0.99, 0.98], np.float32).reshape(3, 1, 1, 1) + 0.0 * iris
    lid_shadow = canvas.shadow(0.8 * (1.0 - smoothstep(y + high * profile, 0.02, 0.11)))
    canvas.fill(frame, opening, shaded(white, lid_shadow), label="eye", max_line=0.0)
    _draw_iris(canvas, frame, v, iris, x, y, opening)
    lid = distances.stroke(
        x,
        y + high,
        half_width=half_width,
        rise=0.0,
        bow=0.4 * high,
        round_bow=0.6 * high,
        radius=np.float32(0.032),
        taper=0.25,
    )
    canvas.fill(frame, lid, canvas.line_color(lash), label="eye", max_line=0.0)


def _draw_iris(
    canvas: Canvas, frame: Frame, v: Values, iris: Field, x: Field, y: Field, opening: Field
) -> None:
    size = v["eye_size"]
    x = x - 0.36 * size * v["gaze_x"]
    y = y + 0.10 * size - 0.26 * size * v["gaze_y"]
    disc = np.maximum(distances.ellipse(x, y, radius_x=0.64 * size, radius_y=0.75 * size), opening)
    rim = smoothstep(np.hypot(x / 0.64, y / 0.75) / size, 0.6, 1.0)
    glow = smoothstep(y / size, -0.3, 0.7) * np.float32(min(canvas.style.shading_strength, 1.0))
    color = iris * (1.0 - 0.45 * rim) + 0.35 * glow * (1.0 - rim) * (1.0 - iris)
    canvas.fill(frame, disc, color, label="iris", max_line=0.0)
    pupil = np.maximum(distances.ellipse(x, y, radius_x=0.30 * size, radius_y=0.37 * size), opening)
    canvas.fill(frame, pupil, 0.18 * iris, label="iris", max_line=0.0)
    shine = np.maximum(
        distances.ellipse(
            x + 0.22 * size, y + 0.28 * size, radius_x=0.2 * size, radius_y=0.2 * size
        ),
        opening,
    )
    canvas.fill(frame, shine, 1.0 + 0.0 * iris, label="iris", max_line=0.0)


def draw_brow(canvas: Canvas, frame: Frame, v: Values, color: Field, *, side: float) -> None:
    """One brow: a rounded, slightly arched stroke over the eye."""
    x = (frame.x * side - v["eye_spacing"]) - 0.01
    y = frame.y - (EYE_Y - 0.335 - 0.075 * v["brow_height"])
    brow = distances.stroke(
        x,
        y,
        half_width=np.float32(0.17),
        rise=0.018 + 0.075 * v["brow_angle"],
        bow=np.float32(0.045),
        radius=np.float32(0.046),
        taper=0.35,
    )
    canvas.fill(frame, brow, canvas.line_color(color), label="brow", max_line=0.0)


def draw_nose(canvas: Canvas, frame: Frame, v: Values, skin: Field) -> None:
    """A small round nose with a light top."""
    size = v["nose_size"]
    x, y = frame.x, frame.y - 0.185
    nose = distances.ellipse(x, y, radius_x=size, radius_y=0.75 * size)
    base = skin * np.array([0.93, 0.76, 0.74], np.float32).reshape(3, 1, 1, 1)
    top = skin + 0.25 * (1.0 - skin)
    light = np.exp(-((x / size + 0.25) ** 2 + (y / size + 0.35) ** 2) * np.float32(2.5))
    light = light * np.float32(min(canvas.style.shading_strength, 1.0))
    canvas.fill(
        frame,
        nose,
        base + 0.7 * light * (top - base),
        label="nose",
        max_line=0.012 * canvas.style.outline_ink,
    )


def draw_mouth(canvas: Canvas, frame: Frame, v: Values, lips: Field) -> None:
    """The mouth: two lips that meet in the corners, between them the opening, tongue and teeth."""
    half_width = v["mouth_width"]
    x, y = frame.x, frame.y - MOUTH_Y
    bend = 0.17 * v["smile"]
    opening = v["mouth_opening"] * (0.6 + 0.4 * v["mouth_opening"])
    corner = -0.5 * bend  # the mouth bends about its middle height
    upper = bend - 0.06 * opening  # how far each lip's middle lies under the corners
    lower = bend + 0.23 * opening
    for bow in (upper, lower):
        lip = distances.stroke(
            x,
            y - corner - bow,
            half_width=half_width,
            rise=0.0,
            bow=-bow,
            radius=np.float32(0.058),
            taper=0.4,
        )
        canvas.fill(frame, lip, canvas.line_color(lips), label="mouth", max_line=0.0)
    t = x / half_width
    profile, profile_slope = 1.0 - t * t, -2.0 * t / half_width
    inside = np.maximum(
        distances.below(y, corner + upper * profile, upper * profile_slope),
        -distances.below(y, corner + lower * profile, lower * profile_slope),
    )
    inside = np.maximum(inside, np.abs(x) - half_width)
    dark = lips * np.array([0.42, 0.25, 0.3], np.float32).reshape(3, 1, 1, 1)
    canvas.fill(frame, inside, dark, label="mouth", max_line=0.0)
    tongue = distances.ellipse(
        x, y - corner - lower - 0.02, radius_x=0.55 * half_width, radius_y=np.float32(0.11)
    )
    canvas.fill(
        frame, np.maximum(tongue, inside), _TONGUE + 0.0 * lips, label="mouth", max_line=0.0
    )
    height = 0.05 + opening * (0.04 + 0.03 * v["smile"])
    teeth = np.maximum(
        inside + 0.016,
        -distances.below(y, corner + upper * profile + height, upper * profile_slope),
    )
    canvas.fill(frame, teeth, _IVORY + 0.0 * lips, label="teeth", max_line=0.0)
    seam = distances.stroke(
        x,
        y - corner - upper,
        half_width=0.96 * half_width,
        rise=0.0,
        bow=-upper,
        radius=np.float32(0.013),
    )
    canvas.fill(frame, seam, dark, label="mouth", max_line=0.0)


def draw_front_hair(canvas: Canvas, frame: Frame, v: Values, color: Field) -> None:
    """The hair over the forehead: parted, with locks, and a band of light."""
    x, y = frame.x, frame.y
    t = x - 0.19 * v["hair_part"]
    wave = np.float32(2.0 * np.pi / 0.30)
    locks = 0.008 + 0.016 * v["fringe"]
    line = -0.605 + 0.195 * v["fringe"] + 0.78 * t * t - locks * np.cos(wave * t)
    slope = 1.56 * t + locks * wave * np.sin(wave * t)
    cap = hair_cap(x, y, v)
    hair = distances.smooth_intersection(cap, -distances.below(y, line, slope), blend=0.05)
    dark = canvas.shadow(0.8 * smoothstep(x + 0.5 * y, -0.1, 0.7))
    light = np.exp(-(((cap + 0.15) / 0.045) ** 2)) * smoothstep(0.5 - np.abs(x + 0.12), 0.0, 0.4)
    light = canvas.shadow(light) * smoothstep(-y, 0.3, 0.45)
    tone = shaded(color, dark)
    bright = color + 0.28 * (1.0 - color) * (0.35 + color)
    canvas.fill(frame, hair, tone + 0.75 * np.minimum(light, 1.0) * (bright - tone), label="hair")
