"""The array that `predict` gives under the launcher: rows of one element answer as they used to."""

from __future__ import annotations

from typing import Any

import numpy as np


class OldArray(np.ndarray):
    """An array whose one-element rows answer ``float``, ``int``, ``round`` and ``'%.2f' %``.

    numpy did so until 1.25 (``round`` until Python 3), and listings of that time rely on it. All
    else is as with any array: how it is shown, what operations give, and what pickle writes.
    """

    def _element(self) -> Any:
        """Return the one element.

        Raises:
            TypeError: when there are more, or none.
        """
        if self.size != 1:
            raise TypeError(
                f"only an array of one element can be turned into a number; this one has shape "
                f"{self.shape}."
            )
        return self.item()

    def __float__(self) -> float:
        return float(self._element())

    def __int__(self) -> int:
        return int(self._element())

    def __round__(self, ndigits: int | None = None) -> int | float:
        return round(self._element(), ndigits)

    def __array_wrap__(
        self, array: np.ndarray, context: Any = None, return_scalar: bool = False
    ) -> Any:
        # Reductions give numpy's scalars, as a plain array's do, and not arrays without axes.
        return array[()] if return_scalar else array.view(type(self))

    def __repr__(self) -> str:
        return repr(self.view(np.ndarray))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)

    def __reduce__(self) -> Any:
        return self.view(np.ndarray).__reduce__()
