"""matplotlib's backend in the playground: `plt.show()` shows every open figure on the page.

matplotlib loads it by name, from the environment variable MPLBACKEND.
"""

from __future__ import annotations

from typing import Any

from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tensorgl.utils import show


class FigureManager(FigureManagerBase):
    """Holds a figure until it is shown."""

    @classmethod
    def pyplot_show(cls, *, block: bool | None = None) -> None:
        """What `plt.show()` calls."""
        import matplotlib.pyplot as plt

        for number in plt.get_fignums():
            figure = plt.figure(number)
            titles = [
                figure.get_label(),
                figure.get_suptitle(),
                *(a.get_title() for a in figure.axes),
            ]
            show(figure, next((str(t) for t in titles if t), None))
            plt.close(figure)


class FigureCanvas(FigureCanvasAgg):
    """Draws to pixels."""

    manager_class: Any = FigureManager
