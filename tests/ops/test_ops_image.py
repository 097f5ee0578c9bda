"""keras.ops.image: bad input, random shifts, the device, and the captured step."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import ops
from torchkeras.variable import Variable


def f(*shape):
    return torch.tensor(np.random.default_rng(0).uniform(0, 1, shape).astype("float32"))


def refused(text, name, *args, kind=ValueError, **kwargs):
    with pytest.raises(kind, match=text):
        getattr(ops.image, name)(*args, **kwargs)


X = f(2, 6, 7, 3)
POINTS = torch.tensor([[0.0, 0], [0, 6], [6, 0], [6, 6]])
TRANSFORM = torch.tensor([1.0, 0, 0.5, 0, 1, -0.5, 0, 0])
CALLS = {
    "affine_transform": (TRANSFORM,),
    "crop_images": (1, 1, 1, 1),
    "elastic_transform": (),
    "extract_patches": (2,),
    "gaussian_blur": (),
    "hsv_to_rgb": (),
    "pad_images": (1, 1, 1, 1),
    "perspective_transform": (POINTS, POINTS + 1),
    "resize": ((3, 4),),
    "rgb_to_grayscale": (),
    "rgb_to_hsv": (),
    "ssim": (X * 0.5, 1.0, 3),
    "sobel_edges": (),
}


@pytest.mark.parametrize("name", CALLS)
def test_images_of_a_wrong_rank_are_refused(name):
    for shape in ((6, 3), (2, 2, 6, 7, 3)):
        text = r"rank: expected rank \d.*shape=\(" + ", ".join(map(str, shape))
        refused(text, name, torch.zeros(shape), *CALLS[name])
        refused(text, name, torchkeras.KerasTensor(shape), *CALLS[name])


def test_an_unknown_setting_is_refused_with_those_known():
    for x in (X, torchkeras.KerasTensor((None, 6, 7, 3))):
        known = "expected one of nearest, bilinear, bicubic, lanczos3, lanczos5. .*'area'"
        refused(known, "resize", x, (3, 3), "area")
        refused("fill_mode: expected one of constant", "resize", x, (3, 3), fill_mode="wrap")
        for name in ("affine_transform", "perspective_transform", "elastic_transform"):
            known = "Invalid interpolation: expected one of nearest, bilinear. .*'bicubic'"
            refused(known, name, x, *CALLS[name], interpolation="bicubic")
        known = "fill_mode: expected one of constant, nearest, wrap, mirror, reflect"
        refused(known, "affine_transform", x, TRANSFORM, fill_mode="edge")
        refused(known, "elastic_transform", x, fill_mode="edge")
    refused(
        "fill_mode: expected one of constant, ",
        "map_coordinates",
        X[0, 0],
        torch.zeros(2, 5),
        1,
        "edge",
    )
    how = (2, 3, 3, 3), [0.5, 0.5], [0.0, 0.0], (1, 2)
    refused("method: expected one of linear, .*lanczos5", "scale_and_translate", X, *how, "area")
    refused("padding must be 'valid' or 'same'", "extract_patches", X, 2, padding="full")
    for name in CALLS:
        if name != "scale_and_translate":
            refused("data_format must be", name, X, *CALLS[name], data_format="last")


def test_bad_sizes_are_refused():
    for size in ((0, 3), (3, -1), (3,), (3, 3, 3)):
        refused("`size` must have positive height and width", "resize", X, size)
    both = {"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}
    refused("cannot both be True", "resize", X, (3, 3), **both)
    refused("Expected a tuple of length 2 or 3", "extract_patches", X, (1, 1, 1, 1))
    refused("Expected an int or a tuple", "extract_patches", X, "2", kind=TypeError)
    refused("a tuple of 3", "extract_patches_3d", X, (2, 2), kind=TypeError)
    refused("strides must be", "extract_patches_3d", f(5, 6, 7, 1), 2, (1, 1))
    refused("failed on float32 of shape", "extract_patches", X, 9)


def test_bad_margins_are_refused():
    for name, word in (("pad_images", "padding"), ("crop_images", "cropping")):
        for x in (X, torchkeras.KerasTensor((None, 6, 7, 3))):
            text = f"exactly two of top_{word}, bottom_{word}, target_height. .*top_{word}=1, "
            refused(text, name, x, 1, 1, 1, 1, target_height=8)
            refused(text, name, x, 1, 1, target_width=8)
            refused(f"left_{word} must be >= 0", name, x, 1, -1, 1, 1)
            refused("target_width must be >= 0", name, x, 1, 1, 1, target_width=-1)
    refused("bottom_padding must be >= 0. Received: bottom_padding=-2", "pad_images", X, 1, 1, None,
            1, target_height=5)  # fmt: skip
    refused("target_height must be >= 0. Received: target_height=-2", "crop_images", X, 4, 1, 4, 1)
    refused("bottom_cropping=-1", "crop_images", X, 1, 1, None, 1, target_height=6)


def test_bad_channels_and_dtypes_are_refused():
    for x in (torch.zeros(2, 6, 7, 4), torchkeras.KerasTensor((None, 6, 7, 4))):
        refused(r"expected 3 \(RGB\) or 1 \(Grayscale\)", "rgb_to_grayscale", x)
        refused("must have 3 channels, but received images with 4", "rgb_to_hsv", x)
        refused("must have 3 channels, but received images with 4", "hsv_to_rgb", x)
    for x in (X.to(torch.uint8), torchkeras.KerasTensor((None, 6, 7, 3), dtype="uint8")):
        refused("expected float dtype. Received: dtype='uint8'", "rgb_to_hsv", x)
        refused("expected float dtype. Received: dtype='uint8'", "hsv_to_rgb", x)


def test_bad_transforms_and_places_are_refused():
    refused("transform rank: expected rank 1", "affine_transform", X, torch.zeros(2, 2, 4))
    refused("3 transformations for 2 images", "affine_transform", X, torch.zeros(3, 8))
    refused("2 transformations for 1 images", "affine_transform", X[0], torch.zeros(2, 8))
    refused("start_points shape: expected", "perspective_transform", X, POINTS[:3], POINTS)
    refused("end_points shape: expected", "perspective_transform", X, POINTS, POINTS[None])
    refused("the same as the rank of `inputs`", "map_coordinates", X, torch.zeros(3, 5), 0)
    refused("expected at least rank 2", "map_coordinates", X, torch.zeros(4), 0)
    refused("order: expected 0", "map_coordinates", X[0, 0], torch.zeros(2, 5), 2)
    refused("shorter than|longer than", "gaussian_blur", X, (3, 3), (1.0,))


# ------------------------------------------------------------------------------- elastic transform


def test_the_same_seed_shifts_the_same_way():
    x = f(2, 20, 20, 3)
    one = ops.image.elastic_transform(x, seed=3)
    torch.manual_seed(7)
    torch.testing.assert_close(ops.image.elastic_transform(x, seed=3), one)
    assert not torch.allclose(ops.image.elastic_transform(x, seed=4), one)
    first, second = (ops.image.elastic_transform(x) for _ in range(2))
    assert not torch.allclose(first, second)
    torch.manual_seed(7)
    torch.testing.assert_close(ops.image.elastic_transform(x), first)


def test_a_generator_of_seeds_goes_on():
    x = f(1, 20, 20, 1)
    pair = []
    for _ in range(2):
        seeds = torchkeras.random.SeedGenerator(5)
        pair.append([ops.image.elastic_transform(x, seed=seeds) for _ in range(2)])
    torch.testing.assert_close(pair[0], pair[1])
    assert not torch.allclose(*pair[0])


def test_nothing_moves_where_alpha_is_0():
    x = f(2, 9, 8, 3)
    torch.testing.assert_close(ops.image.elastic_transform(x, alpha=0.0), x)


def test_all_channels_are_shifted_alike_and_no_two_images():
    x = f(1, 20, 20, 1).expand(2, 20, 20, 3)
    found = ops.image.elastic_transform(x, alpha=10.0, sigma=2.0)
    torch.testing.assert_close(found[..., 0], found[..., 2])
    assert not torch.allclose(found[0], found[1])


# --------------------------------------------------------------------------- where and how they run


def test_variables_arrays_and_lists_are_images():
    expected = ops.image.resize(X, (3, 4))
    for given in (Variable(X), X.numpy(), X.tolist()):
        torch.testing.assert_close(ops.image.resize(given, (3, 4)), expected)


def test_one_channel_is_gray_already():
    x = f(2, 5, 5, 1)
    torch.testing.assert_close(ops.image.rgb_to_grayscale(x), x)


def test_images_that_fit_are_as_they_were():
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"):
        torch.testing.assert_close(ops.image.resize(X, (6, 7), interpolation), X)
    x = f(2, 9, 9, 2)
    torch.testing.assert_close(ops.image.affine_transform(x, [1.0, 0, 0, 0, 1, 0, 0, 0]), x)
    torch.testing.assert_close(ops.image.ssim(x, x, filter_size=5), torch.ones(2))


def test_no_number_is_read_on_the_host():
    """A tensor on the meta device has none to read."""
    x = X.to("meta")
    for name, args in CALLS.items():
        args = [a.to("meta") if isinstance(a, torch.Tensor) else a for a in args]
        real = getattr(ops.image, name)(X, *CALLS[name])
        found = getattr(ops.image, name)(x, *args)
        assert (found.device.type, found.shape, found.dtype) == ("meta", real.shape, real.dtype)
    places = torch.zeros(4, 5, device="meta")
    assert ops.image.map_coordinates(x, places, 1, "reflect").device.type == "meta"
    scale = torch.ones(2, device="meta")
    whole = x.to(torch.uint8)
    found = ops.image.scale_and_translate(whole, (2, 3, 3, 3), scale, scale, (1, 2), "cubic")
    assert found.device.type == "meta"
    blurred = ops.image.gaussian_blur(x, (3, 5), scale)
    assert blurred.shape == x.shape


@pytest.mark.cuda
def test_cuda():
    x = X.cuda()
    for name, args in CALLS.items():
        args = [a.cuda() if isinstance(a, torch.Tensor) else a for a in args]
        found = getattr(ops.image, name)(x, *args)
        assert found.device.type == "cuda"
        if name != "elastic_transform":
            expected = getattr(ops.image, name)(X, *CALLS[name])
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)


class Images(torchkeras.layers.Layer):
    """Turns, blurs, cuts and compares images."""

    def call(self, x):
        x = ops.image.affine_transform(x, TRANSFORM, fill_mode="reflect")
        x = ops.image.perspective_transform(x, POINTS, POINTS + 0.5)
        x = ops.image.gaussian_blur(ops.image.resize(x, (8, 8), antialias=True))
        x = ops.image.hsv_to_rgb(ops.image.rgb_to_hsv(ops.sigmoid(x)))
        edges = ops.mean(ops.image.sobel_edges(x), axis=-1)
        return ops.image.extract_patches(x + edges, 4)


def test_a_captured_step_learns_what_an_eager_one_does():
    x, y = f(32, 6, 7, 3).numpy(), f(32, 1).numpy()
    ends = []
    for eager in (True, False):
        torchkeras.utils.set_random_seed(0)
        layers = torchkeras.layers
        model = torchkeras.Sequential(
            [torchkeras.Input((6, 7, 3)), Images(), layers.Flatten(), layers.Dense(1)]
        )
        model.compile("adam", "mse", run_eagerly=eager)
        ends.append(model.fit(x, y, epochs=3, batch_size=8, verbose=0).history["loss"])
    assert "captured" in str(model.step_report())
    np.testing.assert_allclose(ends[0], ends[1], 1e-5)
    assert ends[0][-1] < ends[0][0]


def test_lists_beside_symbolic_images():
    x = torchkeras.Input((6, 7, 3))
    y = ops.image.affine_transform(x, TRANSFORM.tolist())
    y = ops.image.perspective_transform(y, POINTS.tolist(), (POINTS + 1).numpy())
    expected = ops.image.affine_transform(X, TRANSFORM)
    expected = ops.image.perspective_transform(expected, POINTS, POINTS + 1)
    torch.testing.assert_close(torchkeras.Model(x, y)(X), expected)
    refused("transform rank: expected rank 1", "affine_transform", x, 1.0)
    refused("start_points shape: expected", "perspective_transform", x, [1.0, 2.0], POINTS)


def test_large_symbolic_images_cost_no_compiler():
    """Trials on torch's meta device would import torch._dynamo, which takes a second."""
    code = """if True:
        import sys, torchkeras
        from torchkeras import ops
        x = torchkeras.Input((224, 224, 3))
        x = ops.image.pad_images(ops.image.resize(x, (200, 200), "bicubic"), 1, 1, 1, 1)
        x = ops.image.gaussian_blur(ops.image.hsv_to_rgb(ops.image.rgb_to_hsv(x)))
        x = ops.image.affine_transform(x, [1.0, 0, 0, 0, 1, 0, 0, 0])
        x = ops.image.extract_patches(ops.image.elastic_transform(x), 16)
        assert x.shape == (None, 12, 12, 768), x.shape
        assert "torch._dynamo" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_they_are_functions_of_images_alone():
    with pytest.raises(AttributeError, match="no function 'resize'"):
        ops.resize  # noqa: B018
    assert "resize" not in dir(ops)
    assert "resize" in dir(ops.image)
