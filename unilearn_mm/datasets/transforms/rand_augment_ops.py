"""The image operations of RandAugment on a whole clip, with the results of PIL.

Each function takes a clip (T, H, W, 3) of uint8 RGB frames and returns a new one of the same shape
and type. Statistics (extreme values, histogram, mean grey) are those of each frame alone.

The operations that are one table of 256 values per frame give PIL's result bit for bit;
:func:`color`, :func:`sharpness`, the shears and the translations differ by one grey level in few
pixels, where PIL truncates a sum that is almost a whole number; :func:`rotate` tells its own
differences.
"""


import cv2
import numpy as np

FILL = 128  # grey of the places that no pixel of the source reaches

# PIL truncates; OpenCV rounds, so it is made to add this before. It is not quite -0.5, so that a
# sum that float arithmetic leaves just below a whole number still becomes that number.
TRUNCATE = -0.499

# ImageFilter.SMOOTH
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13

_VALUES = np.arange(256)


def autocontrast(clip: np.ndarray) -> np.ndarray:
    """Stretch each channel of each frame to [0, 255]; ``ImageOps.autocontrast``."""
    rows = clip.reshape(len(clip), clip.shape[1], -1)  # reductions over long contiguous rows
    low, high = (reduce(reduce(rows, axis=1).reshape(len(clip), 1, -1, 3), axis=2).astype(float)
                 for reduce in (np.min, np.max))
    flat = high <= low
    scale = 255 / np.where(flat, 255, high - low)
    tables = _VALUES[:, None] * scale - low * scale
    return _look_up(clip, np.where(flat, _VALUES[:, None], tables))


def equalize(clip: np.ndarray) -> np.ndarray:
    """Flatten the histogram of each channel of each frame; ``ImageOps.equalize``."""
    counts = np.stack([[cv2.calcHist([frame], [channel], None, [256], [0, 256]).ravel()
                        for channel in range(3)] for frame in clip]).astype(np.int64)
    last = 255 - (counts[..., ::-1] > 0).argmax(-1, keepdims=True)
    step = (counts.sum(-1, keepdims=True) - np.take_along_axis(counts, last, -1)) // 255
    below = counts.cumsum(-1) - counts
    tables = (step // 2 + below) // np.maximum(step, 1)
    return _look_up(clip, np.where(step == 0, _VALUES, tables).swapaxes(1, 2))


def invert(clip: np.ndarray) -> np.ndarray:
    """Negative; ``ImageOps.invert``."""
    return cv2.bitwise_not(_flat(clip)).reshape(clip.shape)


def posterize(clip: np.ndarray, bits: int) -> np.ndarray:
    """Keep the highest ``bits`` bits, 0 to 8; ``ImageOps.posterize``."""
    return _look_up(clip, _VALUES & ~(2 ** (8 - bits) - 1))


def solarize(clip: np.ndarray, threshold: int) -> np.ndarray:
    """Invert all values from the threshold on; ``ImageOps.solarize``."""
    return _look_up(clip, np.where(_VALUES < threshold, _VALUES, 255 - _VALUES))


def solarize_add(clip: np.ndarray, amount: int) -> np.ndarray:
    """Add ``amount`` to all values below 128."""
    return _look_up(clip, np.where(_VALUES < 128, _VALUES + amount, _VALUES))


def brightness(clip: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black; ``ImageEnhance.Brightness``."""
    return _look_up(clip, _blend_table(np.zeros(1), factor))


def contrast(clip: np.ndarray, factor: float) -> np.ndarray:
    """Blend with each frame's mean grey, a whole number; ``ImageEnhance.Contrast``."""
    means = _grey(clip).reshape(len(clip), -1).mean(axis=1)
    return _look_up(clip, _blend_table(np.floor(means + 0.5)[:, None], factor)[..., None])


def color(clip: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the grey version; ``ImageEnhance.Color``."""
    return _blend(cv2.cvtColor(_grey(clip), cv2.COLOR_GRAY2RGB), clip, factor)


def sharpness(clip: np.ndarray, factor: float) -> np.ndarray:
    """Blend with a smoothed version, except at the border; ``ImageEnhance.Sharpness``."""
    smooth = cv2.filter2D(_flat(clip), -1, _SMOOTH).reshape(clip.shape)
    smooth[:, [0, -1]] = clip[:, [0, -1]]
    smooth[:, :, [0, -1]] = clip[:, :, [0, -1]]
    return _blend(_flat(smooth), clip, factor)


def shear_x(clip: np.ndarray, factor: float, interpolation: str) -> np.ndarray:
    """Pixel (x, y) from (x + factor * y, y), in pixels from the image's corner."""
    shifts = factor * (np.arange(clip.shape[1]) + 0.5)
    return _shift_lines(clip.swapaxes(0, 1), shifts, interpolation).swapaxes(0, 1)


def translate_x(clip: np.ndarray, share: float, interpolation: str) -> np.ndarray:
    """Pixel (x, y) from (x + share * W, y)."""
    width = clip.shape[2]
    shifts = np.array([share * width])
    return _shift_lines(_flat(clip)[None], shifts, interpolation).reshape(clip.shape)


def shear_y(clip: np.ndarray, factor: float, interpolation: str) -> np.ndarray:
    """Pixel (x, y) from (x, y + factor * x), in pixels from the image's corner."""
    frames, height, width = clip.shape[:3]
    columns = cv2.transpose(_flat(clip)).reshape(width, frames, height, 3)
    shifts = factor * (np.arange(width) + 0.5)
    shifted = _shift_lines(columns, shifts, interpolation)
    return cv2.transpose(shifted.reshape(width, -1, 3)).reshape(clip.shape)


def translate_y(clip: np.ndarray, share: float, interpolation: str) -> np.ndarray:
    """Pixel (x, y) from (x, y + share * H)."""
    height, width = clip.shape[1:3]
    columns = cv2.transpose(_flat(clip)).reshape(1, -1, height, 3)
    shifted = _shift_lines(columns, np.array([share * height]), interpolation)
    return cv2.transpose(shifted.reshape(width, -1, 3)).reshape(clip.shape)


def rotate(clip: np.ndarray, degrees: float, interpolation: str) -> np.ndarray:
    """Rotate counter-clockwise about the centre of the image; ``Image.rotate``.

    The places and the border are PIL's. Grey levels are not quite: OpenCV takes positions in steps
    of 1/32 pixel, rounds, and its cubic kernel has the slope a = -0.75 where PIL has -1.
    """
    height, width = clip.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1)
    flags = cv2.INTER_LINEAR if interpolation == 'bilinear' else cv2.INTER_CUBIC
    # PIL leaves a pixel out if its source lies outside the image, and repeats the image's border
    # otherwise; OpenCV would mix the border with the fill
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    x, y = np.arange(width) - (width - 1) / 2, np.arange(height)[:, None] - (height - 1) / 2
    outside = ((np.abs(cos * x - sin * y) > width / 2)
               | (np.abs(sin * x + cos * y) > height / 2)).astype(np.uint8)
    fill = np.full_like(clip[0], FILL)
    result = np.empty_like(clip)
    for frame, out in zip(clip, result):
        cv2.warpAffine(frame, matrix, (width, height), dst=out, flags=flags,
                       borderMode=cv2.BORDER_REPLICATE)
        cv2.copyTo(fill, outside, dst=out)
    return result


def _flat(clip: np.ndarray) -> np.ndarray:
    """The frames below each other, (T * H, W, 3): one image for OpenCV."""
    return clip.reshape(-1, *clip.shape[2:])


def _grey(clip: np.ndarray) -> np.ndarray:
    """Luma (T * H, W); in a few of 1000 pixels one off PIL's, whose weights have one bit more."""
    return cv2.cvtColor(_flat(clip), cv2.COLOR_RGB2GRAY)


def _blend(degenerate: np.ndarray, clip: np.ndarray, factor: float) -> np.ndarray:
    """``degenerate + factor * (clip - degenerate)``, truncated to [0, 255]."""
    return cv2.addWeighted(_flat(clip), factor, degenerate, 1 - factor,
                           TRUNCATE).reshape(clip.shape)


def _blend_table(degenerate: np.ndarray, factor: float) -> np.ndarray:
    """Tables (..., 256) that blend all values with greys (..., 1), in the float type of PIL."""
    degenerate = degenerate.astype(np.float32)
    return degenerate + np.float32(factor) * (_VALUES.astype(np.float32) - degenerate)


def _look_up(clip: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Map all values through one table (256,), or each frame's through its own.

    Args:
        clip (np.ndarray): (T, H, W, 3) uint8.
        tables (np.ndarray): (256,), or (T, 256, 1 or 3) for a table per frame or also channel.
            Truncated to [0, 255].
    """
    tables = np.clip(tables, 0, 255).astype(np.uint8)
    if tables.ndim == 1:
        return cv2.LUT(_flat(clip), tables).reshape(clip.shape)
    return np.stack([cv2.LUT(frame, table[:, None]) for frame, table in zip(clip, tables)])


def _shift_lines(lines: np.ndarray, shifts: np.ndarray, interpolation: str) -> np.ndarray:
    """Move the pixels of lines by fractions of a pixel, as ``Image.transform`` does.

    Args:
        lines (np.ndarray): (L, N, S, 3) uint8: L groups of N lines of S pixels.
        shifts (np.ndarray): (L,), shifts s: pixel i of the result is the source at i + s.
        interpolation (str): 'bilinear' or 'bicubic'.

    Returns:
        np.ndarray: Same shape and layout. Beyond the ends of a line is :data:`FILL`.
    """
    size = lines.shape[2]
    result = np.full_like(lines, FILL)
    for line, shift, out in zip(lines, shifts, result):
        # the nearest pixel is inside the line exactly where PIL takes the source to be inside
        whole = int(np.floor(shift + 0.5))
        begin, end = max(whole, 0), min(size + whole, size)
        if begin >= end:
            continue
        kernel = _kernel(shift - whole, interpolation)
        moved = cv2.filter2D(line, -1, kernel, delta=TRUNCATE, borderType=cv2.BORDER_REPLICATE)
        out[:, begin - whole:end - whole] = moved[:, begin:end]
    return result


def _kernel(shift: float, interpolation: str) -> np.ndarray:
    """Weights (1, 5) of the pixels -2..2 for the value at ``shift``, in [-0.5, 0.5)."""
    distance = np.abs(np.arange(-2, 3) - shift)
    if interpolation == 'bilinear':
        weights = np.maximum(1 - distance, 0)
    else:  # cubic convolution with a = -1, that of PIL's Image.transform
        near = (distance - 2) * distance**2 + 1
        far = ((5 - distance) * distance - 8) * distance + 4
        weights = np.where(distance < 1, near, np.where(distance < 2, far, 0))
    return weights[None].astype(np.float32)
