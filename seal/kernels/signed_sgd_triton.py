"""The signed step on a GPU: one launch for every tensor of every group, its numbers read from device memory.

Why a table of addresses and not flat buffers: flat buffers move the caller's parameters, and gradients stay flat only
if they are zeroed and added to, 16 bytes for each float32 parameter on top of the 20 that the step moves. The table is
40 bytes for each tensor, the map of blocks 8 for each 2,048 elements: 0.02% of the step. torch's own fused kernel takes
a launch for each group, and more where a group has many tensors.
"""

import subprocess
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
import triton
import triton.language as tl
from torch import Tensor

from seal.kernels.checks import BackendError
from seal.kernels.memory import addresses, in_one_order, numbers, work_blocks
from seal.kernels.signed_sgd import Group

BLOCK = 2048
VECTOR_BYTES = 16
DTYPES = {torch.float32: tl.float32, torch.float64: tl.float64}
# No contractions but the fma that are written: full and last blocks then round alike.
OPTIONS = {"num_warps": 8, "enable_fp_fusion": False}


@triton.jit
def _update(p_at, g_at, m_at, mask, momentum_mask, lr, mu, wd, s, grad_scale):  # type: ignore[no-untyped-def]
    p = tl.load(p_at, mask)
    g = tl.load(g_at, mask)
    m = tl.load(m_at, momentum_mask, other=-0.0)
    if grad_scale is not None:
        scale = tl.load(grad_scale).to(g.dtype)
        g = tl.div_rn(g, scale) if g.dtype == tl.float32 else g / scale
        tl.store(g_at, g, mask)

    d = tl.where(wd != 0, tl.fma(wd, p, s * g), s * g)
    m = tl.fma(mu, m, d)
    tl.store(m_at, m, momentum_mask)
    tl.store(p_at, tl.fma(-lr, m, p), mask)


@triton.jit  # type: ignore[untyped-decorator]
def signed_sgd_kernel(  # type: ignore[no-untyped-def]
    tensors, blocks, numbers, grad_scale, found_inf,
    DTYPE: tl.constexpr, ALIGNMENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """`tensors` int64 [n, 5] and `blocks` int32 [programs, 2] as in memory.py; `numbers` float64 [groups, 4]."""
    if found_inf is not None:  # noqa: SIM102 (None is known to the compiler, the value is not)
        if tl.load(found_inf) != 0:
            return

    block = blocks + 2 * tl.program_id(0)
    tensor = tensors + 5 * tl.load(block)
    p_at = tl.multiple_of(tl.load(tensor).to(tl.pointer_type(DTYPE)), ALIGNMENT)
    g_at = tl.multiple_of(tl.load(tensor + 1).to(tl.pointer_type(DTYPE)), ALIGNMENT)
    m_at = tl.multiple_of(tl.load(tensor + 2).to(tl.pointer_type(DTYPE)), ALIGNMENT)
    has_momentum = tl.load(tensor + 2) != 0
    size = tl.load(tensor + 3)

    of_group = numbers + 4 * tl.load(tensor + 4)
    lr, mu = tl.load(of_group).to(DTYPE), tl.load(of_group + 1).to(DTYPE)
    wd, s = tl.load(of_group + 2).to(DTYPE), tl.load(of_group + 3).to(DTYPE)

    begin = tl.load(block + 1).to(tl.int64) * BLOCK
    i = begin + tl.arange(0, BLOCK)
    # A mask of unknown size splits loads of 16 bytes into single values, so only a tensor's last block has one.
    if begin + BLOCK <= size:
        _update(p_at + i, g_at + i, m_at + i, None, has_momentum, lr, mu, wd, s, grad_scale)
    else:
        _update(p_at + i, g_at + i, m_at + i, i < size, (i < size) & has_momentum, lr, mu, wd, s, grad_scale)


@dataclass(frozen=True)
class Table:
    """The tensors of one dtype: where they lie, for the host to compare and the device to read, and their blocks."""

    addresses: "array[int]"
    tensors: Tensor
    blocks: Tensor
    alignment: int


class SignedSGDTriton:
    """The signed step by one launch for each dtype; raises BackendError where the device can't run it.

    A captured CUDA graph keeps its table. A capture within `graph` may have its gradients anywhere, also in the graph's
    own memory; elsewhere they must stay where the last step before it found them: `zero_grad(set_to_none=False)`. The
    groups' numbers may change between replays, by `refresh`.
    """

    def __init__(self, device: torch.device) -> None:
        if device.type != "cuda" and not triton.knobs.runtime.interpret:
            raise BackendError(f"backend 'triton' needs a GPU, found parameters on {device}; use backend 'auto'")
        if device.type == "cuda":
            _require_compiler()
        self.device = device
        self.numbers = torch.empty(0, 4, dtype=torch.float64, device=device)
        self.mirrored: list[tuple[float, float, float, float]] = []
        self.tables: dict[torch.dtype, Table] = {}
        self.captured: list[Table] = []
        self.reserved: dict[torch.dtype, Tensor] = {}  # memory for the tables of a capture, which uploads nothing
        self.pending: list[Table] = []  # captured, and yet to be written
        self.in_place = False  # whether the last step stepped all tensors where they lie

    def refresh(self, groups: Sequence[Group]) -> None:
        """Write the groups' numbers where the kernel reads them: in place, while there are as many groups."""
        rows = [numbers(replace(group, lr=0.0) if self._on_device(group.lr) else group) for group in groups]
        if rows != self.mirrored:
            new = self._upload(torch.tensor(rows, dtype=torch.float64))
            self.numbers = self.numbers.copy_(new) if len(new) == len(self.numbers) else new
            self.mirrored = rows

        self._follow(groups)

    def __call__(self, groups: Sequence[Group], grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
        capturing = self._capturing()
        if capturing:
            self._follow(groups)
        else:
            self.refresh(groups)

        with in_one_order(groups, write_grads=grad_scale is not None) as ordered, self._guard():
            stepped = {dtype: addresses(ordered, dtype) for dtype in DTYPES}
            self.tables = {dtype: table for dtype, table in self.tables.items() if stepped[dtype] or capturing}
            for dtype, where in stepped.items():
                if where:
                    self._launch(self._table(dtype, where, capturing), dtype, grad_scale, found_inf)
        self.in_place = all(mine is theirs for mine, theirs in zip(ordered, groups, strict=True))

    def again(self, numbers: Sequence[Group], grad_scale: Tensor | None, found_inf: Tensor | None) -> bool:
        """Launch the last step's tables by the groups' `numbers`; false where they are of copies, or in a capture."""
        if not self.in_place or self._capturing():
            return False

        self.refresh(numbers)
        with self._guard():
            for dtype, table in self.tables.items():
                self._launch(table, dtype, grad_scale, found_inf)
        return True

    @contextmanager
    def graph(self) -> Iterator[None]:
        """Around a capture: its tables have their memory before it, and their addresses after it."""
        self.reserved = {dtype: torch.empty_like(table.tensors) for dtype, table in self.tables.items()}
        try:
            yield
            for table in self.pending:
                table.tensors.copy_(torch.tensor(table.addresses))
        finally:
            self.reserved, self.pending = {}, []
            # The capture has found its tensors where `self.tables`, of the step before it, does not have them.
            self.in_place = False

    def _launch(self, table: Table, dtype: torch.dtype, grad_scale: Tensor | None, found_inf: Tensor | None) -> None:
        signed_sgd_kernel[(len(table.blocks),)](
            table.tensors, table.blocks, self.numbers, grad_scale, found_inf,
            DTYPE=DTYPES[dtype], ALIGNMENT=table.alignment, BLOCK=BLOCK, **OPTIONS,
        )  # fmt: skip

    def _table(self, dtype: torch.dtype, where: "array[int]", capturing: bool) -> Table:
        """The last step's table while nothing has moved, else a new one. A captured graph's is kept for good."""
        table = self.tables.get(dtype)
        if dtype in self.reserved:
            return self._reserved_table(dtype, where)

        if table is None or table.addresses != where:
            if capturing:
                raise RuntimeError(
                    "a gradient moved during the capture of a CUDA graph: step once before it, then keep gradients "
                    "in place with zero_grad(set_to_none=False)"
                )
            table = self.tables[dtype] = self._new_table(dtype, where)

        if capturing:
            self.captured.append(table)
        return table

    def _reserved_table(self, dtype: torch.dtype, where: "array[int]") -> Table:
        """A captured graph's own, written when the capture is over."""
        before = self.tables[dtype]
        if where[3::5] != before.addresses[3::5] or where[4::5] != before.addresses[4::5]:
            raise RuntimeError("the capture steps other tensors than the step before it; step once before a capture")

        table = replace(before, addresses=where, tensors=self.reserved[dtype], alignment=_alignment(dtype, where))
        self.captured.append(table)
        self.pending.append(table)
        return table

    def _new_table(self, dtype: torch.dtype, where: "array[int]") -> Table:
        return Table(
            addresses=where,
            tensors=self._upload(torch.tensor(where)),
            blocks=self._upload(work_blocks(tuple(where[3::5]), BLOCK)),
            alignment=_alignment(dtype, where),
        )

    def _follow(self, groups: Sequence[Group]) -> None:
        for i, group in enumerate(groups):
            if isinstance(group.lr, Tensor) and self._on_device(group.lr):
                self.numbers[i, :1].copy_(group.lr.reshape(1))

    def _on_device(self, lr: float | Tensor) -> bool:
        return isinstance(lr, Tensor) and lr.device == self.device

    def _upload(self, values: Tensor) -> Tensor:
        # From pinned memory: a copy from ordinary memory would wait for the device.
        return values.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else values

    def _capturing(self) -> bool:
        return self.device.type == "cuda" and torch.cuda.is_current_stream_capturing()

    def _guard(self) -> AbstractContextManager[None]:
        return torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext()


def _require_compiler() -> None:
    """Raises BackendError where Triton cannot build what launches its kernels: it compiles C against Python's headers
    and NVIDIA's libcuda when it is first used, and takes a build of its cache later."""
    try:
        _ = triton.runtime.driver.active.utils
    except (AssertionError, ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise BackendError(
            "backend 'triton' cannot build its launcher: install a C compiler and Python's headers (gcc, "
            f"python3-dev), or use backend 'reference'; {type(error).__name__}: {error}"
        ) from error


def _alignment(dtype: torch.dtype, where: "array[int]") -> int:
    """What all addresses of a table are multiples of, in bytes."""
    pointers = (*where[0::5], *where[1::5], *where[2::5])
    return dtype.itemsize if any(address % VECTOR_BYTES for address in pointers) else VECTOR_BYTES
