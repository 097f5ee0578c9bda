"""keras.ops.image against Keras 3.15.1 on torch, and against numpy where Keras is wrong there."""

import inspect

import keras
import numpy as np
import pytest
import torch
from keras.src.ops import image as keras_image

import torchkeras
from torchkeras import config, ops
from torchkeras.ops import table

INTS = "uint8 int8 int16 int32 int64".split()
FLOATS = "float16 bfloat16 float32 float64".split()
LAYOUTS = ["channels_last", "channels_first"]
FILLS = ["constant", "nearest", "wrap", "mirror", "reflect"]


def f(*shape, low=0.0, high=1.0, seed=0):
    """Floats of a shape."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype("float32")


def i(*shape, low=0, high=255, dtype="uint8", seed=0):
    """Integers of a shape."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)


def _number(x):
    return x.detach().float().numpy() if x.dtype is torch.bfloat16 else x.detach().numpy()


def _moved(x, space=2):
    """Put the channels of images before their height; points and transforms stay."""
    is_image = x.ndim > space and x.shape[-2:] != (4, 2)
    return np.ascontiguousarray(np.moveaxis(x, -1, -1 - space)) if is_image else x


def same(ours, theirs, tolerance=1e-5, what=""):
    """Assert that two results agree in value, dtype and shape."""
    assert ours.dtype == theirs.dtype, what
    assert ours.shape == theirs.shape, what
    np.testing.assert_allclose(
        _number(ours), _number(theirs), tolerance, tolerance, err_msg=str(what)
    )


def agree(name, args, kwargs, tolerance=1e-5):
    """Assert that a call agrees with Keras, on arrays and on tensors."""
    what = f"{name} {[getattr(a, 'shape', a) for a in args]} {kwargs}"

    def tensors():  # anew for each: Keras' affine_transform changes its argument
        return [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]

    theirs = getattr(keras.ops.image, name)(*tensors(), **kwargs)
    same(getattr(ops.image, name)(*tensors(), **kwargs), theirs, tolerance, what)
    same(getattr(ops.image, name)(*args, **kwargs), theirs, tolerance, what)


ZOOM = np.array([[1.5, 0, -2, 0, 1.5, -1.6, 0, 0], [1, 0.2, -2, 0.1, 0.7, 1.6, 0, 0]], "float32")
START = np.array([[[0, 0], [0, 6], [8, 0], [8, 6]], [[0, 0], [0, 6], [8, 0], [8, 6]]], "float32")
END = np.array([[[1, 2], [0, 5], [7, -1], [8, 6]], [[1, 0], [2, 6], [6, 1], [9, 4]]], "float32")
PLACES = f(2, 5, 4, low=-6, high=14)

CASES = [
    ("affine_transform", (f(2, 7, 9, 3), ZOOM), {}),
    ("affine_transform", (f(2, 7, 9, 3), ZOOM), {"interpolation": "nearest", "fill_value": 0.5}),
    ("affine_transform", (f(7, 9, 3), ZOOM[1]), {"fill_mode": "reflect"}),
    ("affine_transform", (f(2, 7, 9, 3), ZOOM.astype("float64")), {}),
    ("crop_images", (f(2, 7, 9, 3), 1, 2, 3, 1), {}),
    ("crop_images", (f(7, 9, 3), 1, 2), {"target_height": 3, "target_width": 4}),
    ("crop_images", (f(7, 9, 3), None, 2, 1, 0), {"target_height": 3}),
    ("extract_patches", (f(2, 7, 9, 3), 3), {}),
    ("extract_patches", (f(7, 9, 3), (2, 3)), {}),
    ("extract_patches", (f(2, 7, 9, 3), (2, 3)), {"strides": (1, 2), "padding": "same"}),
    ("extract_patches", (f(2, 7, 9, 3), 3), {"strides": 1, "dilation_rate": 2}),
    ("extract_patches", (f(2, 7, 9, 3), 2), {"strides": 1, "dilation_rate": 3, "padding": "same"}),
    ("extract_patches", (f(2, 5, 6, 7, 2), (2, 3, 1)), {"padding": "same"}),
    ("extract_patches_3d", (f(2, 5, 6, 7, 2), 2), {}),
    ("extract_patches_3d", (f(5, 6, 7, 2), (2, 3, 2)), {"strides": 1}),
    ("gaussian_blur", (f(2, 7, 9, 3),), {}),
    ("gaussian_blur", (f(7, 9, 3), (5, 5)), {"sigma": (0.7, 2.0)}),
    ("hsv_to_rgb", (f(2, 7, 9, 3),), {}),
    ("hsv_to_rgb", (f(7, 9, 3),), {}),
    ("pad_images", (f(2, 7, 9, 3), 1, 2, 3, 1), {}),
    ("pad_images", (f(7, 9, 3), 1, 2), {"target_height": 9, "target_width": 14}),
    ("pad_images", (f(7, 9, 3), None, None, 1, 0), {"target_height": 9, "target_width": 14}),
    ("perspective_transform", (f(2, 7, 9, 3), START, END), {}),
    ("perspective_transform", (f(2, 7, 9, 3), START, END), {"interpolation": "nearest"}),
    ("perspective_transform", (f(2, 7, 9, 3), START[0], END[0]), {"fill_value": 0.5}),
    ("perspective_transform", (f(7, 9, 3), START[1], END[1]), {}),
    ("resize", (f(2, 7, 9, 3), (4, 5)), {}),
    ("resize", (f(7, 9, 3), (14, 5)), {}),
    ("rgb_to_grayscale", (f(2, 7, 9, 3),), {}),
    ("rgb_to_grayscale", (f(7, 9, 1),), {}),
    ("rgb_to_hsv", (f(2, 7, 9, 3),), {}),
    ("rgb_to_hsv", (np.round(f(7, 9, 3)),), {}),
    ("rgb_to_hsv", (np.round(f(7, 9, 3) * 2) / 2,), {}),
    ("sobel_edges", (f(2, 7, 9, 3),), {}),
    ("ssim", (f(2, 13, 14, 3), f(2, 13, 14, 3, seed=1)), {}),
    ("ssim", (f(7, 9, 3), f(7, 9, 3)), {"filter_size": 5}),
    (
        "ssim",
        (f(2, 9, 9, 1, high=255), f(2, 9, 9, 1, high=255, seed=1)),
        {"max_val": 255.0, "filter_size": 4, "filter_sigma": 1.0, "k1": 0.02, "k2": 0.05},
    ),
]
IDS = [f"{at}-{case[0]}" for at, case in enumerate(CASES)]


@pytest.mark.parametrize("name,args,kwargs", CASES, ids=IDS)
def test_calls_in_both_layouts(name, args, kwargs):
    agree(name, args, {**kwargs, "data_format": "channels_last"})
    space = 3 if name == "extract_patches_3d" or args[0].ndim == 5 else 2
    moved = [_moved(a, space) if isinstance(a, np.ndarray) else a for a in args]
    agree(name, moved, {**kwargs, "data_format": "channels_first"})


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_resize(interpolation):
    for size in ((4, 5), (14, 6), (3, 20), (7, 9), (1, 1)):
        for option in ({}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}):
            for antialias in (False, True):
                kwargs = {"interpolation": interpolation, "antialias": antialias, **option}
                agree("resize", (f(2, 7, 9, 3), size), {**kwargs, "fill_value": 0.5})
                agree("resize", (i(2, 7, 9, 3), size), kwargs)


def test_resize_dtypes():
    for dtype in ["bool", *INTS, *FLOATS]:
        x = torch.tensor(f(2, 7, 9, 3, high=120)).to(getattr(torch, dtype))
        for interpolation in ("nearest", "bilinear", "bicubic"):
            kwargs = {"interpolation": interpolation, "antialias": True}
            if (dtype, interpolation) == ("int8", "bicubic"):
                continue  # Keras on torch overflows; see test_integers_do_not_overflow
            theirs = keras.ops.image.resize(x, (5, 4), **kwargs)
            same(ops.image.resize(x, (5, 4), **kwargs), theirs, what=(dtype, interpolation))


def _resized_by_lanczos(x, sizes, radius, antialias):
    """Resize one image with its channels last, as Keras on numpy and JAX does."""
    for axis, size in enumerate(sizes):
        scale = size / x.shape[axis]
        width = max(1 / scale, 1) if antialias else 1
        places = (np.arange(size) + 0.5) / scale - 0.5
        away = np.abs(places - np.arange(x.shape[axis])[:, None]) / width
        weights = np.where(away <= radius, np.sinc(away) * np.sinc(away / radius), 0)
        x = np.moveaxis(np.tensordot(x, weights / weights.sum(0), ((axis,), (0,))), -1, axis)
    return x


@pytest.mark.parametrize("radius", [3, 5])
def test_resize_by_lanczos(radius):
    # Keras on torch refuses it, on its other backends it is there.
    x = f(17, 19, 2)
    for size in ((8, 25), (40, 9)):
        for antialias in (False, True):
            found = ops.image.resize(x, size, f"lanczos{radius}", antialias)
            expected = _resized_by_lanczos(x, size, radius, antialias)
            np.testing.assert_allclose(found, expected, 1e-4, 1e-5)
    whole = ops.image.resize((x * 255).astype("uint8"), (8, 25), f"lanczos{radius}")
    assert whole.dtype is torch.uint8
    expected = _resized_by_lanczos((x * 255).astype("uint8"), (8, 25), radius, False)
    np.testing.assert_allclose(whole, np.clip(np.round(expected), 0, 255), atol=1)


@pytest.mark.parametrize("fill_mode", FILLS)
def test_map_coordinates(fill_mode):
    for order in (0, 1):
        for x in (f(7, 9), i(7, 9), i(7, 9, dtype="int32"), f(7, 9).astype("float64")):
            for fill_value in (0, 2):
                kwargs = {"fill_mode": fill_mode, "fill_value": fill_value}
                agree("map_coordinates", (x, PLACES, order), kwargs)
        agree("map_coordinates", (f(4, 3, 5), f(3, 6, low=-4, high=9), order), kwargs)
        agree("map_coordinates", (f(6), f(1, 3, 2, low=-4, high=9), order), kwargs)
        agree("map_coordinates", (f(7, 9), i(2, 6, high=12, dtype="int32"), order), kwargs)


def test_places_may_be_a_list():
    x, rows, columns = f(7, 9), f(4, high=6), f(4, high=8)
    found = ops.image.map_coordinates(x, [rows, torch.tensor(columns)], 1)
    expected = keras.ops.image.map_coordinates(x, np.stack([rows, columns]), 1)
    same(found, expected)


@pytest.mark.parametrize("fill_mode", FILLS)
def test_affine_transform(fill_mode):
    for interpolation in ("nearest", "bilinear"):
        for x in (f(2, 7, 9, 3), i(2, 7, 9, 3), i(2, 7, 9, 3, dtype="int32")):
            kwargs = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": 3}
            agree("affine_transform", (x, ZOOM), kwargs)


def test_affine_transform_leaves_its_argument_and_the_last_two_numbers():
    # Keras on torch writes into the transform, and adds c0 times the channel's number to the row:
    # its documentation has c0 and c1 count for nothing.
    transform = torch.tensor(ZOOM)
    transform[:, 6:] = 0.3
    before = transform.clone()
    found = ops.image.affine_transform(f(2, 7, 9, 3), transform)
    torch.testing.assert_close(transform, before)
    same(found, keras.ops.image.affine_transform(f(2, 7, 9, 3), torch.tensor(ZOOM)))


def test_one_transform_serves_a_batch():
    x = f(3, 7, 9, 2)
    found = ops.image.affine_transform(x, ZOOM[1])
    for at in range(3):
        same(found[at], keras.ops.image.affine_transform(x[at], torch.tensor(ZOOM[1])))


def test_one_channel_is_mirrored():
    # Keras on torch mirrors along the channels too, and divides by zero where there is one.
    x = f(2, 7, 9, 1)
    found = ops.image.affine_transform(x, ZOOM, fill_mode="mirror")
    twice = keras.ops.image.affine_transform(
        np.concatenate([x, x], -1), torch.tensor(ZOOM), fill_mode="mirror"
    )
    same(found, twice[..., :1])


def test_points_of_whole_images_are_not_rounded():
    # Keras takes the points in the dtype of the images: 0.5 and -1 would not be for uint8.
    x = i(2, 7, 9, 3)
    start, end = START + 0.5, END
    found = ops.image.perspective_transform(x, start, end)
    expected = keras.ops.image.perspective_transform(x.astype("float32"), start, end)
    assert found.dtype is torch.uint8
    np.testing.assert_allclose(found, expected.round(), atol=1)
    assert (_number(found) == expected.round().numpy()).mean() > 0.99


def test_points_go_where_they_shall():
    x = f(7, 9, 2)
    square = np.float32([[0, 0], [0, 4], [4, 0], [4, 4]])
    found = ops.image.perspective_transform(x, square, square + np.float32([2, 1]))
    np.testing.assert_allclose(found[1:, 2:], x[:-1, :-2], 1e-4, 1e-5)
    np.testing.assert_allclose(found[0], 0, atol=1e-4)


@pytest.mark.parametrize(
    "method", sorted(keras.src.backend.torch.image.SCALE_AND_TRANSLATE_METHODS)
)
def test_scale_and_translate(method):
    for scale in ([0.5, 1.7], [2.0, 1.0], [0.3, 0.4]):
        for antialias in (True, False):
            for x in (f(2, 7, 9, 3), i(2, 7, 9, 3), f(2, 7, 9, 3).astype("float64")):
                args = (x, (2, 5, 12, 3), np.float32(scale), np.float32([0.4, -1.3]), (1, 2))
                agree("scale_and_translate", (*args, method, antialias), {}, 2e-5)
    args = (f(7, 9), (4, 5), np.float32([0.5, 0.5]), np.float32([0, 1]), (-2, -1), method)
    agree("scale_and_translate", args, {}, 2e-5)


def test_a_triangle_is_linear():
    # Keras documents it, and on torch refuses it.
    args = f(7, 9), (4, 9), np.float32([0.5]), np.float32([0]), (0,)
    found = ops.image.scale_and_translate(*args, "triangle")
    same(found, keras.ops.image.scale_and_translate(*args, "linear"))


ANY = [
    ("affine_transform", (ZOOM,)),
    ("crop_images", (1, 1, 1, 1)),
    ("extract_patches", (3,)),
    ("gaussian_blur", ((3, 3), (1.0, 1.0), "channels_last")),
    ("pad_images", (1, 1, 1, 1)),
    ("resize", ((4, 4),)),
    ("rgb_to_grayscale", ()),
    (
        "scale_and_translate",
        ((2, 5, 5, 3), np.full(2, 0.5, "float32"), np.zeros(2, "float32"), (1, 2), "cubic"),
    ),
    ("sobel_edges", ()),
]


@pytest.mark.parametrize("name,args", ANY, ids=[name for name, _ in ANY])
def test_dtypes(name, args):
    for dtype in ["bool", *INTS, *FLOATS]:
        largest = 15 if name == "sobel_edges" else 100
        x = torch.tensor(f(2, 8, 8, 3, high=largest)).to(getattr(torch, dtype))
        given = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
        found = getattr(ops.image, name)(x, *given)
        assert found.dtype == x.dtype
        if dtype == "bool" or (dtype in INTS and name == "gaussian_blur"):
            continue  # Keras fails for most of them
        if (dtype, name) == ("uint8", "sobel_edges"):
            continue  # Keras on torch overflows; see test_integers_do_not_overflow
        given = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
        theirs = getattr(keras.ops.image, name)(x, *given)
        tolerance = {"float16": 1e-2, "bfloat16": 5e-2}.get(dtype, 1e-5)
        same(found, theirs, tolerance, (name, dtype))


def test_half_floats_in_colours_and_warps():
    for dtype in ("float16", "bfloat16", "float64"):
        x = torch.tensor(f(2, 8, 8, 3)).to(getattr(torch, dtype))
        for name in ("rgb_to_hsv", "hsv_to_rgb"):
            theirs = getattr(keras.ops.image, name)(x)
            same(getattr(ops.image, name)(x), theirs, 2e-2, (name, dtype))
        same(
            ops.image.ssim(x, x * 0.9, filter_size=5),
            keras.ops.image.ssim(x.double(), x.double() * 0.9, filter_size=5).to(x.dtype),
            2e-2,
        )
        # Keras on torch has the places in the dtype of the images.
        wide = keras.ops.image.perspective_transform(x.float(), START, END).to(x.dtype)
        same(ops.image.perspective_transform(x, START, END), wide, 2e-2)


def test_integers_do_not_overflow():
    x = np.zeros((1, 8, 8, 1), "int8")
    x[:, 2:6, 2:6] = 127
    found = ops.image.resize(x, (16, 16), "bicubic")
    expected = keras.ops.image.resize(x.astype("float32"), (16, 16), "bicubic")
    assert expected.max() > 128
    np.testing.assert_array_equal(found, expected.round().clamp(-128, 127))
    edges = ops.image.sobel_edges(i(1, 8, 8, 2))
    expected = keras.ops.image.sobel_edges(i(1, 8, 8, 2).astype("float32"))
    assert edges.dtype is torch.uint8
    np.testing.assert_array_equal(edges, expected.clamp(0, 255))


def test_integers_are_blurred():
    # Keras on torch fails for them.
    x = i(2, 7, 9, 3)
    found = ops.image.gaussian_blur(x, (3, 3), (1.0, 1.0))
    expected = keras.ops.image.gaussian_blur(
        x.astype("float32"), (3, 3), (1.0, 1.0), "channels_last"
    )
    assert found.dtype is torch.uint8
    np.testing.assert_array_equal(found, expected.round())


def _blurred(x, kernel_size, sigma):
    """Blur one image with its channels last as Keras on numpy does: width first."""
    curves = []
    for size, one in zip(kernel_size, sigma):
        curve = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / one) ** 2)
        curves.append(curve / curve.sum())
    kernel = np.outer(curves[1], curves[0])
    (down, across), (height, width, _) = kernel.shape, x.shape
    padded = np.pad(x, (((down - 1) // 2, down // 2), ((across - 1) // 2, across // 2), (0, 0)))
    return sum(
        kernel[row, column] * padded[row : row + height, column : column + width]
        for row in range(down)
        for column in range(across)
    )


def test_kernels_that_are_even_or_oblong():
    # Keras on torch pads even ones too much, and shuffles the numbers of oblong ones.
    x = f(7, 9, 2)
    for kernel_size in ((4, 4), (3, 5), (2, 7), (1, 1)):
        found = ops.image.gaussian_blur(x, kernel_size, (0.8, 1.5))
        np.testing.assert_allclose(found, _blurred(x, kernel_size, (0.8, 1.5)), 1e-5, 1e-6)


def test_the_layout_is_the_configurations():
    # Keras on torch takes images for channels-first where nothing is said.
    x = f(2, 7, 9, 3)
    same(ops.image.gaussian_blur(x), keras.ops.image.gaussian_blur(x, data_format="channels_last"))
    config.set_image_data_format("channels_first")
    x = f(2, 3, 7, 9)
    for name, args in (("gaussian_blur", ()), ("resize", ((4, 4),)), ("rgb_to_hsv", ())):
        found = getattr(ops.image, name)(x, *args)
        same(found, getattr(keras.ops.image, name)(x, *args, data_format="channels_first"))


# ------------------------------------------------------------------------------- elastic transform


def test_elastic_transform_is_distributed_as_keras():
    x = np.linspace(0, 1, 48 * 48, dtype="float32").reshape(1, 48, 48, 1)
    x = np.repeat(x, 200, 0)
    shifted = []
    for module in (ops, keras.ops):
        found = np.asarray(module.image.elastic_transform(x, alpha=8.0, sigma=3.0))
        shifted.append((found - x)[:, 12:36, 12:36].std())
    np.testing.assert_allclose(shifted[0], shifted[1], 0.03)


def test_elastic_transform_keeps_dtypes_and_shapes():
    for dtype in [*INTS, *FLOATS]:
        for shape in ((2, 8, 9, 3), (8, 9, 3), (1, 1, 9, 2)):
            x = torch.ones(shape).to(getattr(torch, dtype))
            found = ops.image.elastic_transform(x)
            assert found.dtype == x.dtype
            torch.testing.assert_close(found, x)


# --------------------------------------------------------------------------------------- symbolic

ONE, OPEN, SOME = (8, 9, 3), (None, None, None, 3), (None, 8, 9, 3)
SYMBOLIC = [
    ("crop_images", {"top_cropping": 1, "left_cropping": 2, "target_height": 3, "target_width": 4}),
    ("elastic_transform", {}),
    ("extract_patches", {"size": 3}),
    ("extract_patches", {"size": (2, 3), "strides": (1, 2), "padding": "same"}),
    ("gaussian_blur", {}),
    ("hsv_to_rgb", {}),
    ("pad_images", {"top_padding": 1, "left_padding": 2, "target_height": 13, "target_width": 14}),
    (
        "pad_images",
        {"top_padding": 1, "left_padding": 2, "bottom_padding": 3, "right_padding": 4},
    ),
    ("resize", {"size": (5, 6)}),
    ("resize", {"size": (5, 6), "crop_to_aspect_ratio": True}),
    ("rgb_to_grayscale", {}),
    ("rgb_to_hsv", {}),
]


def _symbolic(name, shapes, kwargs):
    specs = []
    for module in (torchkeras, keras):
        tensors = [module.KerasTensor(shape) for shape in shapes]
        specs.append(getattr(module.ops.image, name)(*tensors, **kwargs))
    return specs


@pytest.mark.parametrize(
    "name,kwargs", SYMBOLIC, ids=[f"{n}-{c[0]}" for n, c in enumerate(SYMBOLIC)]
)
def test_symbolic_shapes_are_keras(name, kwargs):
    for data_format in LAYOUTS:
        for shape in (ONE, SOME, OPEN):
            if data_format == "channels_first":
                shape = (*shape[:-3], 3, *shape[-3:-1])
            ours, theirs = _symbolic(name, [shape], {**kwargs, "data_format": data_format})
            assert ours.shape == tuple(theirs.shape)
            assert ours.dtype == theirs.dtype


def test_symbolic_shapes_of_several_inputs_are_keras():
    for name, shapes, kwargs in (
        ("affine_transform", [SOME, (None, 8)], {}),
        ("affine_transform", [OPEN, (8,)], {}),
        ("perspective_transform", [SOME, (None, 4, 2), (None, 4, 2)], {}),
        ("perspective_transform", [ONE, (4, 2), (4, 2)], {}),
        ("map_coordinates", [(20, 20, None), (3, 15, 15, None)], {"order": 0}),
        ("ssim", [(None, 32, 32, 3), (None, 32, 32, 3)], {}),
        ("ssim", [(32, 32, 3), (32, 32, 3)], {}),
        ("sobel_edges", [SOME], {}),
        ("sobel_edges", [OPEN], {}),
        ("extract_patches", [(None, 5, 6, 7, 2)], {"size": (2, 3, 2)}),
        ("extract_patches_3d", [(None, 5, 6, 7, 2)], {"size": 2}),
    ):
        ours, theirs = _symbolic(name, shapes, kwargs)
        assert ours.shape == tuple(theirs.shape), name
        assert ours.dtype == theirs.dtype, name


def test_symbolic_scale_and_translate():
    shape = (None, 25, 25, 3)
    for module in (torchkeras, keras):
        x, scale, shift = (module.KerasTensor(s) for s in ((None, 20, 20, 3), (2,), (2,)))
        found = module.ops.image.scale_and_translate(x, shape, scale, shift, (1, 2), "linear")
        assert tuple(found.shape) == shape


def test_an_unknown_size_may_be_smaller_than_the_padded_one_or_larger_than_the_cropped_one():
    x = torchkeras.KerasTensor((None, None, 3))
    found = ops.image.pad_images(x, 2, 3, target_height=20, target_width=30)
    assert found.shape == (20, 30, 3)
    found = ops.image.crop_images(x, 2, 3, target_height=2000, target_width=30)
    assert found.shape == (2000, 30, 3)


# ---------------------------------------------------------------------------------------- configs


def test_classes_and_settings_are_keras():
    differing = []
    for name in dir(keras_image):
        cls = getattr(keras_image, name)
        if not isinstance(cls, type) or cls.__module__ != keras_image.__name__:
            continue
        known = table.operation_named("keras.src.ops.image", name)
        expected = sorted(set(list(inspect.signature(cls.__init__).parameters)[1:]) - {"name"})
        if known is None or sorted(known.settings) != expected:
            differing.append((name, known))
    assert differing == []


CHAIN = [
    lambda o, x: o.image.resize(x, size=(5, 4), interpolation="nearest"),
    lambda o, x: o.image.pad_images(o.image.rgb_to_grayscale(x), 1, 1, 1, 1),
    lambda o, x: o.image.crop_images(x, 1, 1, target_height=3, target_width=4),
    lambda o, x: o.image.gaussian_blur(x, kernel_size=(3, 3), sigma=(1.0, 1.0)),
    lambda o, x: o.image.extract_patches(x, size=(2, 2), strides=(1, 1)),
    lambda o, x: o.image.hsv_to_rgb(o.image.rgb_to_hsv(x)),
    lambda o, x: o.image.sobel_edges(x),
    lambda o, x: o.image.ssim(x, x * 0.5, filter_size=3),
]


@pytest.mark.parametrize("at", range(len(CHAIN)))
def test_models_pass_between_the_two(at):
    inputs, own = keras.Input((6, 7, 3)), torchkeras.Input((6, 7, 3))
    theirs = keras.Model(inputs, CHAIN[at](keras.ops, inputs))
    ours = torchkeras.Model(own, CHAIN[at](ops, own))
    x = torch.tensor(f(2, 6, 7, 3))
    expected = theirs(x)
    same(ours(x), expected)
    same(torchkeras.Model.from_config(theirs.get_config())(x), expected)
    same(keras.models.model_from_json(ours.to_json())(x), expected)


# -------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize(
    "name,args",
    [
        ("affine_transform", (ZOOM,)),
        ("crop_images", (1, 1, 1, 1)),
        ("extract_patches", (3, 2)),
        ("gaussian_blur", ((3, 3), (1.0, 1.0), "channels_last")),
        ("hsv_to_rgb", ()),
        ("pad_images", (1, 1, 1, 1)),
        ("perspective_transform", (START, END)),
        ("resize", ((4, 4), "bicubic", True)),
        ("rgb_to_grayscale", ()),
        ("rgb_to_hsv", ()),
        ("sobel_edges", ()),
    ],
)
def test_gradients_are_keras(name, args):
    grads = []
    for module in (ops, keras.ops):
        x = torch.tensor(f(2, 7, 9, 3, low=0.1), requires_grad=True)
        given = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
        found = getattr(module.image, name)(x, *given)
        (found * torch.arange(found.numel()).reshape(found.shape) / found.numel()).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], 1e-4, 1e-5)


def test_gradients_by_places_are_keras():
    grads = []
    for module in (ops, keras.ops):
        places = torch.tensor(PLACES, requires_grad=True)
        module.image.map_coordinates(torch.tensor(f(7, 9)), places, 1).square().sum().backward()
        grads.append(places.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], 1e-5, 1e-6)


def test_functions_and_their_arguments_are_keras():
    theirs = {n: v for n, v in vars(keras.ops.image).items() if n[0] != "_" and callable(v)}
    assert sorted(theirs) == sorted(name for name in dir(ops.image) if name[0] != "_")
    for name, function in theirs.items():
        mine = inspect.signature(getattr(ops.image, name)).parameters.values()
        other = inspect.signature(function).parameters.values()
        assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in other]
        assert not hasattr(keras.ops, name)
        assert not hasattr(ops, name)
