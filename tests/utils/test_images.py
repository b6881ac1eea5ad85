"""tg.utils.show: what it takes, what becomes of it, and where it goes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import tensorgl as tg
from tensorgl.utils import images


def pixels(image: object) -> np.ndarray:
    """What a program that reads PNG files sees."""
    return np.asarray(Image.open(io.BytesIO(images.png(image))))


@pytest.mark.parametrize("shape", [(3, 5), (1, 3, 5), (3, 3, 5), (4, 3, 5), (2, 5, 3), (2, 5, 4)])
def test_layouts(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = values
    if len(shape) == 3 and shape[0] in (1, 3, 4) and shape[2] == 5:
        expected = values.transpose(1, 2, 0).squeeze()
    for given in (values, tg.tensor(values)):
        np.testing.assert_array_equal(pixels(given), expected)


def test_channels_that_could_be_first_or_last() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(values), values)
    np.testing.assert_array_equal(pixels(tg.tensor(values)), values.transpose(1, 2, 0))


def test_values() -> None:
    floats = tg.tensor([[0.0, 0.5, 1.0], [-3.0, 7.0, float("nan")]], requires_grad=True)
    np.testing.assert_array_equal(pixels(floats), [[0, 128, 255], [0, 255, 0]])
    np.testing.assert_array_equal(pixels(np.array([[True, False]])), [[255, 0]])
    np.testing.assert_array_equal(pixels(tg.tensor([[-1, 17, 300]])), [[0, 17, 255]])
    np.testing.assert_array_equal(pixels(np.array([[0.5]], np.float16)), [[128]])


def test_pictures_of_others() -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(Image.fromarray(values)), values)
    figure = plt.figure(figsize=(2, 1), dpi=50)
    assert pixels(figure).shape == (50, 100, 4)
    plt.close(figure)


@pytest.mark.parametrize("shape", [(5,), (2, 5, 7), (8, 3, 5, 5), (0, 4)])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"given (shape )?\("):
        tg.utils.show(np.zeros(shape))


def test_other_types() -> None:
    with pytest.raises(TypeError, match="given list"):
        tg.utils.show([[1.0]])
    with pytest.raises(TypeError, match="given complex128"):
        tg.utils.show(np.zeros((2, 2), complex))


def test_a_viewer_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, str]] = []
    monkeypatch.setattr(images, "viewer", lambda png, title: seen.append((png, title)))
    tg.utils.show(tg.zeros(2, 3), "noise")
    tg.utils.show(tg.zeros(2, 3))
    assert [title for _, title in seen] == ["noise", ""]
    assert all(png.startswith(b"\x89PNG") for png, _ in seen)


def test_saved_where_there_are_no_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plt.switch_backend("agg")
    for _ in range(2):
        tg.utils.show(tg.ones(2, 3), "my/picture")
    tg.utils.show(tg.ones(2, 3))
    names = ["my-picture.png", "my-picture-1.png", "image.png"]
    assert capsys.readouterr().out.splitlines() == [f"picture: {name}" for name in names]
    assert np.asarray(Image.open(tmp_path / names[1])).tolist() == [[255] * 3] * 2


def test_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib

    shown: list[tuple[str, tuple[int, ...]]] = []

    def show() -> None:
        axes = plt.gca()
        shown.append((axes.get_title(), axes.images[0].get_array().shape))

    monkeypatch.setattr(matplotlib, "get_backend", lambda: "QtAgg")
    monkeypatch.setattr(plt, "show", show)
    tg.utils.show(tg.zeros(3, 4, 5), "title")
    assert shown == [("title", (4, 5, 3))]
    assert not plt.get_fignums()


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        tg.utils.show(tg.zeros(2, 2))
