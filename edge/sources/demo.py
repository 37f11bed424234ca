"""The built-in demo: a camera that moves over skin, painted by this module.

The demo needs no file and no network, and shows no patient.

GENERATED IMAGES. Nothing here is a photo of skin, and the answers of a classifier mean nothing. The demo shows that
capture, classifier and views work together. It is deterministic: frame n is always the same.

A strip of skin with eight stations side by side is painted once. Each frame shows a window on this strip. From frame to
frame, the window moves and zooms.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from dermedge.edge.sources.frame import Frame, FrameSource

__all__ = ["DWELL_S", "FPS", "STATIONS", "TRAVEL_S", "Demo", "generate"]

_NAME = "demo (generated images)"
_NOTICE = "GENERATED SCENE - NOT REAL SKIN"
_WIDTH, _HEIGHT, FPS = 640, 480, 30
# The painted strip consists of stations, which are square images with sides of this many pixels. The sides are so long
# that no frame shows a place above or below the strip, although the camera moves, zooms and tilts.
_PITCH = 720
DWELL_S, TRAVEL_S = 2.6, 1.4

_Image = NDArray[np.float32]  # [h, w, 3], 0 to 255, blue first, while it is being painted
_Field = NDArray[np.float32]  # [h, w]
_Random = np.random.Generator
_Bgr = tuple[float, float, float]

_SKIN: _Bgr = (158, 180, 222)
_HAIR: _Bgr = (34, 44, 62)


class Demo(FrameSource):
    """The demo, as a live source with 640 x 480 pixels and 30 frames a second."""

    is_live = True

    def __init__(self) -> None:
        self._number = 0
        _strip()
        self._due = time.monotonic()

    def read(self) -> Frame | None:
        """Waits until the next frame is due, and returns it.

        If the caller reads a frame late, the next frame is due one full interval after this read.
        """
        now = time.monotonic()
        time.sleep(max(self._due - now, 0))
        self._due = max(self._due, now) + 1 / FPS
        number, self._number = self._number, self._number + 1
        image = generate(number)
        # ``at_s`` is the time in the scene. If it were the time of arrival, a frame that is painted late would seem to
        # move at another speed.
        return Frame(image, number, time.monotonic(), _NAME, at_s=number / FPS)

    def close(self) -> None:
        """Does nothing, because the strip is kept for the next demo of this process."""


def generate(number: int) -> NDArray[np.uint8]:
    """Returns frame ``number`` of the demo: uint8 [480, 640, 3], blue first."""
    seconds = number / FPS
    x = _camera_x(seconds)
    zoom = 1.0 + 0.10 * np.sin(0.9 * seconds)
    y = _PITCH / 2 + 16 * np.sin(0.7 * seconds)
    tilt = 0.05 * np.sin(0.5 * seconds)
    cosine, sine = np.cos(tilt) / zoom, np.sin(tilt) / zoom
    # maps a pixel of the frame to its place on the strip
    window = np.array(
        [
            [cosine, -sine, x - cosine * _WIDTH / 2 + sine * _HEIGHT / 2],
            [sine, cosine, y - sine * _WIDTH / 2 - cosine * _HEIGHT / 2],
        ]
    )
    frame = cv2.warpAffine(_strip(), window, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    frame = cv2.multiply(frame, _vignette(), scale=1 / 255)
    return cv2.max(frame, _notice())  # type: ignore[return-value]


def _camera_x(seconds: float) -> float:
    """Returns the x coordinate on the painted strip at which the camera of the demo points, in pixels.

    The camera sways around the middle of a station for a while, and then glides to the next station.
    """
    station, phase = divmod(seconds, DWELL_S + TRAVEL_S)
    glide = np.clip((phase - DWELL_S) / TRAVEL_S, 0, 1)
    place = station % len(STATIONS) + glide * glide * (3 - 2 * glide)
    return float((place + 1.5) * _PITCH + 14 * np.sin(1.3 * seconds))


@cache
def _strip() -> NDArray[np.uint8]:
    """Returns the painted strip: the images that the functions in `STATIONS` paint, side by side.

    The strip begins with a copy of the last image and ends with a copy of the first image. So the camera can return
    from the last image to the first image without a jump.
    """
    random = np.random.default_rng(2026)
    width = len(STATIONS) * _PITCH
    strip = np.empty((_PITCH, width, 3), np.uint8)
    tone = _noise(random, _PITCH, width, 240)
    blush = _noise(random, _PITCH, width, 90)
    relief = _furrows(random, _PITCH, width)
    for index, paint in enumerate(STATIONS):
        columns = slice(index * _PITCH, (index + 1) * _PITCH)
        image = _skin(tone[:, columns], blush[:, columns], relief[:, columns])
        paint(image, random)
        if paint not in _OBJECTS:
            _paint_hairs(image, random, 14)
        strip[:, columns] = np.clip(image, 0, 255).astype(np.uint8)
    return np.concatenate([strip[:, -_PITCH:], strip, strip[:, :_PITCH]], axis=1)


@cache
def _vignette() -> NDArray[np.uint8]:
    """Returns the light of a dermatoscope, 0 to 255. It is even in the middle, and weaker towards the corners."""
    y, x = np.mgrid[0:_HEIGHT, 0:_WIDTH].astype(np.float32)
    radius = np.hypot((x - _WIDTH / 2) / (0.60 * _WIDTH), (y - _HEIGHT / 2) / (0.66 * _HEIGHT))
    light = 1 - 0.85 * _step(radius, 0.62, 1.18)
    return np.repeat((255 * light).astype(np.uint8)[..., None], 3, axis=2)


@cache
def _notice() -> NDArray[np.uint8]:
    """Returns a black frame with the notice along the right edge, outside the square that the network sees."""
    line = np.zeros((24, _HEIGHT, 3), np.uint8)
    cv2.putText(line, _NOTICE, (62, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (225, 225, 225), 1, cv2.LINE_AA)
    frame = np.zeros((_HEIGHT, _WIDTH, 3), np.uint8)
    frame[:, -30:-6] = cv2.rotate(line, cv2.ROTATE_90_CLOCKWISE)
    return frame


# ---- fields: [h, w] weights with which colours are blended into an image


def _noise(random: _Random, height: int, width: int, cell: float) -> _Field:
    """Returns smooth noise of mean 0, about -1 to 1, with features of ``cell`` pixels.

    The noise continues smoothly from the right edge to the left edge.
    """
    rows, columns = int(np.ceil(height / cell)) + 3, max(round(width / cell), 2)
    grid = random.uniform(-1, 1, (rows, columns)).astype(np.float32)
    grid = np.concatenate([grid[:, -2:], grid, grid[:, :2]], axis=1)
    step = width / columns
    size = (round(step * (columns + 4)), round(cell * rows))
    left, top = round(2 * step), round(cell)
    field = cv2.resize(grid, size, interpolation=cv2.INTER_CUBIC)
    return field[top : top + height, left : left + width]  # type: ignore[return-value]


def _fractal(random: _Random, cell: float, octaves: int = 4) -> _Field:
    """Returns noise with the size of one station, which is a square of the painted strip.

    The noise has ``octaves`` levels of detail, and values of about -1 to 1.
    """
    field = np.zeros((_PITCH, _PITCH), np.float32)
    for octave in range(octaves):
        field += _noise(random, _PITCH, _PITCH, cell / 2**octave) / 2**octave
    return field / 1.6


def _furrows(random: _Random, height: int, width: int) -> _Field:
    """Returns the fine criss-cross lines and the grain of skin: about -1 in a line, at most about 0.3 elsewhere."""
    relief = np.zeros((height, width), np.float32)
    for cell, depth in ((19, 0.42), (11, 0.36)):
        ridge = 1 - np.abs(_noise(random, height, width, cell))
        relief -= depth * _step(ridge, 0.80, 1.0)
    grain = random.normal(0, 0.42, (height, width)).astype(np.float32)
    return relief + cv2.GaussianBlur(grain, (0, 0), 0.9)


def _step(field: _Field, low: float, high: float) -> _Field:
    """Returns a smooth step from 0 at ``low`` to 1 at ``high``. ``low`` may be greater than ``high``."""
    t = np.clip((field - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


@cache
def _polar() -> tuple[_Field, _Field]:
    """Returns the polar coordinates of each pixel around the centre of a station.

    The distances are in pixels, and the angles in radians.
    """
    y, x = np.mgrid[0:_PITCH, 0:_PITCH].astype(np.float32) - _PITCH / 2
    return np.hypot(x, y), np.arctan2(y, x)


def _outline(random: _Random, radius: float, lobes: float, ragged: float) -> _Field:
    """Returns how far each pixel is from the middle of a blob: about 0 in the middle, and 1 on the border of the blob.

    Args:
        lobes: how much the outline differs from a circle, 0 to about 0.3.
        ragged: how frayed the border is.
    """
    distance, angle = _polar()
    border = np.ones_like(angle)
    for wave in range(2, 7):
        border += lobes / wave * 1.6 * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
    return distance / (radius * border) + ragged * _fractal(random, 60)


def _network(random: _Random, cell: float) -> _Field:
    """Returns a pigment network: 0.1 to 1 on the lines of a warped honeycomb, and 0 in the holes between the lines."""
    y, x = np.mgrid[0:_PITCH, 0:_PITCH].astype(np.float32)
    x = x + 1.3 * cell * _fractal(random, 6 * cell, 3) + 0.35 * cell * _fractal(random, 1.6 * cell, 2)
    y = y + 1.3 * cell * _fractal(random, 6 * cell, 3) + 0.35 * cell * _fractal(random, 1.6 * cell, 2)
    waves = sum(
        np.cos(2 * np.pi / cell * (x * np.cos(turn) + y * np.sin(turn)))
        for turn in (0, np.pi / 3, 2 * np.pi / 3)
    )
    lines = _step(np.asarray(waves, np.float32), 0.3, -1.3)
    return lines * np.clip(0.6 + 0.6 * _fractal(random, 9 * cell, 2), 0.1, 1)


# ---- paint


def _skin(tone: _Field, blush: _Field, relief: _Field) -> _Image:
    """Returns an image of bare skin. The image has the height and width of the three fields, which are noise."""
    image = np.empty((*tone.shape, 3), np.float32)
    image[...] = _SKIN
    image += 9 * tone[..., None] + 11 * relief[..., None]
    image -= 8 * np.maximum(blush, 0)[..., None] * np.array([1.0, 1.25, 0.25], np.float32)
    return image


def _bgr(blue: float, green: float, red: float) -> _Image:
    """Returns one colour as an array."""
    return np.array([blue, green, red], np.float32)


def _mix(image: _Image, colour: _Bgr | _Image, amount: _Field) -> None:
    """Paints ``colour`` over the image, opaque where ``amount`` is 1."""
    image += (np.asarray(colour, np.float32) - image) * np.clip(amount, 0, 1)[..., None]


def _stain(image: _Image, colour: _Bgr, amount: _Field) -> None:
    """Tints the image as pigment under the skin does, so that the texture stays visible."""
    image *= 1 + (_bgr(*colour) / _bgr(*_SKIN) - 1) * np.clip(amount, 0, 1)[..., None]


def _mottle(image: _Image, random: _Random, inside: _Field) -> None:
    """Paints uneven light and grain, as on a lesion's surface."""
    uneven = 0.09 * _fractal(random, 48, 3) + 0.06 * _fractal(random, 7, 2)
    image *= 1 + (uneven * inside)[..., None]


def _dots(random: _Random, inside: _Field, count: int, radii: tuple[float, float]) -> _Field:
    """Returns soft round dots at random places where ``inside`` is above one half."""
    field = np.zeros((_PITCH, _PITCH), np.float32)
    places = np.argwhere(inside > 0.5)
    for y, x in places[random.integers(0, len(places), count)]:
        radius = random.uniform(*radii)
        cv2.circle(
            field, (int(16 * x), int(16 * y)), int(16 * radius), random.uniform(0.6, 1), -1, cv2.LINE_AA, 4
        )
    return cv2.GaussianBlur(field, (0, 0), 1.1)  # type: ignore[return-value]


# ---- what the eight stations show: each function paints one station on an image of skin


def _bare(image: _Image, random: _Random) -> None:
    """Paints a few freckles on skin without a lesion."""
    freckles = cv2.GaussianBlur(_dots(random, np.ones((_PITCH, _PITCH), np.float32), 16, (2, 6)), (0, 0), 2)
    _stain(image, (96, 128, 184), 0.7 * freckles)


def _nevus(image: _Image, random: _Random) -> None:
    """Paints an even brown mole: round, symmetric, with a regular network that fades at its edge."""
    out = _outline(random, 150, 0.05, 0.06)
    inside = _step(out, 1.12, 0.72)
    _stain(image, (84, 122, 186), inside)
    _stain(image, (104, 126, 172), 0.8 * inside * _network(random, 12))
    _mottle(image, random, inside)
    _stain(image, (112, 140, 184), _step(out, 0.75, 0.1))
    _stain(image, (92, 112, 160), 0.8 * _dots(random, _step(out, 0.6, 0.4), 34, (2, 4)))


def _dark_nevus(image: _Image, random: _Random) -> None:
    """Paints a small dark mole of globules."""
    out = _outline(random, 104, 0.09, 0.08)
    inside = _step(out, 1.06, 0.84)
    _stain(image, (66, 88, 140), inside)
    _stain(image, (96, 110, 152), _dots(random, inside, 150, (4, 8)))
    _stain(image, (110, 130, 170), _step(out, 0.7, 0.2))
    _mottle(image, random, inside)


def _melanoma(image: _Image, random: _Random) -> None:
    """Paints an asymmetric, frayed lesion of many colours: browns, black, red, and a blue-white veil."""
    out = _outline(random, 178, 0.22, 0.17)
    inside = _step(out, 1.05, 0.90)
    _stain(image, (74, 108, 176), inside)
    _stain(image, (72, 84, 116), inside * _step(_fractal(random, 150), -0.1, 0.35))
    _stain(image, (84, 98, 138), 0.85 * inside * _network(random, 16))
    _stain(image, (118, 118, 206), inside * _step(_fractal(random, 120), 0.25, 0.6))
    veil = inside * _step(out, 0.8, 0.4) * _step(_fractal(random, 160), 0.0, 0.5)
    _mix(image, (146, 118, 104), 0.66 * veil)
    _mottle(image, random, inside)
    _stain(image, (44, 48, 66), _dots(random, _step(out, 1.05, 0.95), 95, (2, 6)))


def _dermatofibroma(image: _Image, random: _Random) -> None:
    """Paints a pale scar in the middle of a faint brown ring."""
    out = _outline(random, 140, 0.06, 0.07)
    ring = _step(out, 1.15, 0.75)
    _stain(image, (110, 138, 198), ring)
    _stain(image, (122, 140, 182), 0.75 * ring * _network(random, 10))
    _mottle(image, random, ring)
    scar = _step(out, 0.62, 0.30)
    _mix(image, (196, 204, 232), 0.75 * scar)
    _mix(image, (222, 226, 240), 0.7 * scar * _step(_fractal(random, 40), 0.1, 0.4))


def _carcinoma(image: _Image, random: _Random) -> None:
    """Paints a pink, raised lesion with yellow scale, white rings and points of blood."""
    out = _outline(random, 165, 0.13, 0.10)
    inside = _step(out, 1.10, 0.84)
    _stain(image, (118, 112, 206), inside)
    _stain(image, (128, 136, 204), 0.5 * inside * _step(_fractal(random, 70), 0, 0.4))
    _mottle(image, random, inside)
    ring = _step(np.abs(out - 0.78), 0.16, 0.05)
    _mix(image, (190, 196, 232), 0.35 * ring * _step(_fractal(random, 50), -0.6, 0.4))
    scale = _step(out + 0.3 * _fractal(random, 36), 0.58, 0.40)
    crust = _fractal(random, 22)
    _mix(image, _bgr(150, 200, 224) + 34 * crust[..., None], 0.85 * scale)
    _mix(image, (70, 122, 160), 0.6 * scale * _step(crust, 0.2, 0.6))
    _mix(image, (40, 34, 122), 0.85 * _dots(random, _step(out, 0.85, 0.75), 22, (2, 7)))


def _paint_hairs(image: _Image, random: _Random, count: int) -> None:
    """Paints fine hairs in about one direction, each with its shadow. No hair crosses the edge of the station."""
    t = np.linspace(0, 1, 24)
    hairs = np.zeros((_PITCH, _PITCH), np.float32)
    for _ in range(count):
        turn = random.normal(0.9, 0.45) + random.normal(0, 0.7) * t
        along = random.uniform(5, 14) * np.cumsum(np.stack([np.cos(turn), np.sin(turn)], axis=1), axis=0)
        path = random.uniform(0, _PITCH, 2) + along
        if path.min() < 4 or path.max() > _PITCH - 4:
            continue
        points = [(16 * path).astype(np.int32)]
        cv2.polylines(hairs, points, False, 1.0, int(random.integers(1, 3)), cv2.LINE_AA, 4)
    _stain(image, (128, 150, 190), 0.6 * cv2.GaussianBlur(np.roll(hairs, (3, 3), (0, 1)), (0, 0), 1.5))
    _mix(image, _HAIR, 0.85 * hairs)


def _shadow(image: _Image, distance: _Field, radius: float, softness: float) -> None:
    """Paints the shadow of a round object that lies on the skin."""
    image *= 1 - 0.5 * _step(distance, radius + softness, radius - softness)[..., None]


def _coin(image: _Image, random: _Random) -> None:
    """Paints a coin. It is not a lesion."""
    distance, angle = _polar()
    _shadow(image, np.roll(distance, (10, 8), (0, 1)), 158, 18)
    face = _step(distance, 151, 149)
    shine = 0.5 + 0.5 * np.cos(2 * angle + 0.9)
    metal = _bgr(96, 168, 204) * (0.72 + 0.42 * shine[..., None] + 0.05 * _fractal(random, 9)[..., None])
    _mix(image, metal, face)
    for radius, width, colour in (
        (146, 3.0, (60, 112, 144)),
        (132, 2.5, (170, 222, 246)),
        (128, 2.0, (52, 100, 130)),
    ):
        _mix(image, colour, 0.8 * _step(np.abs(distance - radius), width, width / 3))
    beads = _step(np.abs(distance - 139), 4.5, 2) * _step(np.cos(72 * angle), 0.1, 0.7)
    _mix(image, (168, 222, 248), 0.8 * beads)
    digit = np.zeros((_PITCH, _PITCH), np.uint8)
    origin = (_PITCH // 2 - 66, _PITCH // 2 + 74)
    cv2.putText(digit, "5", origin, cv2.FONT_HERSHEY_DUPLEX, 7.0, 255, 20, cv2.LINE_AA)
    relief = cv2.GaussianBlur(digit.astype(np.float32) / 255, (0, 0), 2.2)
    emboss = cv2.Sobel(relief, cv2.CV_32F, 1, 0) + cv2.Sobel(relief, cv2.CV_32F, 0, 1)
    image -= (46 * emboss * face)[..., None]


def _cup(image: _Image, random: _Random) -> None:
    """Paints a cup of coffee on a wooden table, seen from above. It is not a lesion."""
    distance, angle = _polar()
    y, x = np.mgrid[0:_PITCH, 0:_PITCH].astype(np.float32)
    grain = np.sin((y + 26 * _fractal(random, 220)) / 5.5) + 1.3 * _fractal(random, 26)
    wood = _bgr(62, 104, 158) * (1 + 0.10 * grain[..., None])
    table = _step(np.abs(x - _PITCH / 2), 322, 312)
    _shadow(image, np.abs(x - _PITCH / 2), 322, 22)
    _mix(image, wood, table)
    _shadow(image, np.roll(distance, (16, 14), (0, 1)), 176, 26)
    handle = np.hypot((x - _PITCH / 2 - 176) / 1.2, y - _PITCH / 2)
    _mix(image, (206, 214, 220), _step(np.abs(handle - 40), 15, 12))
    light = 1 + 0.12 * np.cos(angle + 2.3)
    _mix(image, _bgr(222, 230, 236) * light[..., None], _step(distance, 173, 170))
    _mix(image, _bgr(150, 160, 170) / light[..., None], _step(distance, 158, 155))
    crema = _step(distance + 12 * _fractal(random, 60), 118, 150)
    coffee = _bgr(22, 40, 72) + crema[..., None] * _bgr(48, 72, 92)
    _mix(image, coffee, _step(distance, 148, 145))
    glare = _step(np.hypot(x - _PITCH / 2 + 56, (y - _PITCH / 2 + 62) * 1.7), 40, 8)
    _mix(image, (214, 222, 230), 0.55 * glare)


STATIONS: tuple[Callable[[_Image, _Random], None], ...] = (
    _nevus,
    _bare,
    _melanoma,
    _coin,
    _dermatofibroma,
    _dark_nevus,
    _cup,
    _carcinoma,
)
_OBJECTS = (_coin, _cup)
