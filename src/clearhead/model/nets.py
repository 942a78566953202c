"""Nets with a seam: `features` makes the maps, `head` makes the logits.

Explanations stand on the seam: they need the maps and the gradient of the head alone, so nothing
here has hooks or layer names. A net of your own needs the two methods and a `grid`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from clearhead.data.canvas import Grid


class Net(Protocol):
    """What clearhead asks of a net; any `nn.Module` with these is one.

    Shapes: `x` (B, 1, S, S), maps (B, C, h, w), logits (B, K).
    """

    grid: Grid
    """Where the cells of the maps lie on the square."""

    def features(self, x: Tensor) -> Tensor: ...

    def head(self, maps: Tensor) -> Tensor: ...

    def __call__(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Stage:
    """A place in a net where maps can be looked at: what comes before it and what after.

    `head(features(x))` are the net's logits, whichever stage; `grid` is where the maps' cells lie.
    `seam` makes the net's own `features` of the maps, where that is told.
    """

    name: str
    features: Callable[[Tensor], Tensor]
    head: Callable[[Tensor], Tensor]
    grid: Grid
    seam: Callable[[Tensor], Tensor] | None = None


SEAM = "seam"
"""The only stage of a net that tells of no others."""

EVIDENCE = "evidence"
"""The last stage of a net whose maps are the evidence itself, in logits, and which pools them."""


def stages_of(net: Net) -> tuple[Stage, ...]:
    """The stages of a net, first to last; the last is its own `features` and `head`.

    A net with more than one tells them by a method `stages() -> tuple[Stage, ...]`.
    """
    told = getattr(net, "stages", None)
    if told is None:
        return (Stage(SEAM, net.features, net.head, net.grid),)
    return cast(tuple[Stage, ...], told())


class GreyConv2d(nn.Conv2d):
    """A convolution for three equal channels that reads one: w·(x,x,x) = (Σw)·x, exactly.

    The weights keep their three channels (and the published parameter count); with grey input
    two thirds of the work of the layer fall away, forward and backward.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[1] != 1:
            return F.conv2d(input, self.weight, self.bias, self.stride, self.padding)
        weight = self.weight.sum(1, keepdim=True)
        plain = self.stride == (1, 1) and self.padding == (0, 0) and self.bias is not None
        exact = input.dtype == weight.dtype and not torch.is_autocast_enabled("cpu")
        if self.training and plain and exact and input.device.type == "cpu":
            return _grey_conv(input, weight, self.bias)
        return F.conv2d(input, weight, self.bias, self.stride, self.padding)


class _GreyConv(torch.autograd.Function):
    """`F.conv2d` of one channel, whose gradient by the filters is a sum of products of matrices.

    Each row of the maps' slope, (columns, outputs), meets what the filter saw on its way along that
    row, (places of the filter, columns); channels last, torch's own takes three times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        height, width = weight.shape[2:]
        rows = slope.permute(0, 2, 3, 1).flatten(0, 1)  # (B·h, w, outputs), as it is stored
        windows = x[:, 0].unfold(1, height, 1).unfold(2, width, 1)  # (B, h, w, height, width)
        windows = windows.permute(0, 1, 3, 4, 2).flatten(2, 3).flatten(0, 1)
        windows = F.pad(windows, (0, 0, 0, 1), value=1.0)  # the bias, a window of ones
        found = torch.bmm(windows, rows).sum(0).T
        of_x = F.conv_transpose2d(slope, weight) if ctx.needs_input_grad[0] else None
        return of_x, found[:, :-1].reshape(weight.shape), found[:, -1]


_grey_conv = cast(Callable[..., Tensor], _GreyConv.apply)


class HalvingMaxPool2d(nn.MaxPool2d):
    """2×2 max-pooling; while learning on a CPU it forgets the maps that it pooled.

    Its gradient needs to know where the maxima were and no more. Torch's own keeps the maps too,
    the largest things in memory, though nothing reads them.
    """

    def __init__(self) -> None:
        super().__init__(2)

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.device.type == "cpu":
            return _halving(input)
        return cast(Tensor, super().forward(input))


class _Halving(torch.autograd.Function):
    """2×2 max-pooling that keeps where the maxima were."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        out, where = torch.ops.aten.max_pool2d_with_indices(x, [2, 2])
        ctx.save_for_backward(where)
        ctx.shape = x.shape
        return cast(Tensor, out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (where,) = ctx.saved_tensors
        stored = torch.channels_last
        if where.is_contiguous():
            stored = torch.contiguous_format
        like = torch.empty(ctx.shape, dtype=slope.dtype, memory_format=stored)  # is not read
        twos, zeros, ones = [2, 2], [0, 0], [1, 1]
        return cast(
            Tensor,
            torch.ops.aten.max_pool2d_with_indices_backward(
                slope, like, twos, twos, zeros, ones, False, where
            ),
        )


_halving = cast(Callable[..., Tensor], _Halving.apply)


SLICE = 2
"""Pictures whose widest maps stay in a processor's cache between a layer and the next."""


class ReportNet(nn.Module):
    """The report's net: three valid 3×3 convolutions (32, 64, 128), dense 128, dropout, dense K.

    Each convolution is followed by ReLU and 2×2 max-pooling; weights start as in Keras (Glorot
    uniform, zero bias). 256×256 and two classes make 14,839,234 parameters. `features` are the
    last convolution's rectified maps (60×60 at 256 px), on which the report draws Grad-CAM.
    """

    def __init__(self, classes: int, *, size_px: int = 256, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1 = GreyConv2d(3, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.conv3 = nn.Conv2d(64, 128, 3)
        self.pool = HalvingMaxPool2d()
        self.relu = nn.ReLU()
        self.dense = nn.Linear(128 * _report_side(size_px) ** 2, 128)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(128, classes)
        # Valid convolutions and halvings move the centre of cell 0 to pixel 8.5, each cell is 4 px.
        self.grid = Grid(offset_px=8.5, stride_px=4.0)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(cast(Tensor, module.bias))

    def _before_last(self, x: Tensor) -> Tensor:
        """The last convolution's maps, not yet rectified.

        Pooling before ReLU gives the same values from a quarter of the work, as both are monotone.
        """
        x = self.relu(self.pool(self.conv1(x)))
        x = self.relu(self.pool(self.conv2(x)))
        return cast(Tensor, self.conv3(x))

    def _dense(self, pooled: Tensor) -> Tensor:
        flat = pooled.permute(0, 2, 3, 1).flatten(1)  # channels last, as stored: no copy
        return cast(Tensor, self.out(self.dropout(self.relu(self.dense(flat)))))

    def features(self, x: Tensor) -> Tensor:
        maps = self._before_last(x)
        return maps.relu() if torch.is_grad_enabled() else maps.relu_()

    def head(self, maps: Tensor) -> Tensor:
        return self._dense(self.pool(maps))

    def forward(self, x: Tensor) -> Tensor:
        # While learning, memory is what a processor waits for: a few pictures at a time, whose
        # gradient comes back a few at a time too, meet half of it in its cache.
        sliced = self.training and x.device.type == "cpu"
        parts = torch.split(x, SLICE) if sliced else (x,)
        pooled = [self.relu(self.pool(self._before_last(part))) for part in parts]
        return self._dense(torch.cat(pooled))

    def stages(self) -> tuple[Stage, ...]:
        """The rectified maps of each convolution, before they are pooled."""
        return (
            Stage(
                "conv1",
                self._conv1,
                lambda maps: self.head(self._conv3(self._conv2(maps))),
                Grid(offset_px=1.0, stride_px=1.0),
            ),
            Stage(
                "conv2",
                lambda x: self._conv2(self._conv1(x)),
                lambda maps: self.head(self._conv3(maps)),
                Grid(offset_px=3.5, stride_px=2.0),
            ),
            Stage("conv3", self.features, self.head, self.grid),
        )

    def _conv1(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.conv1(x)))

    def _conv2(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.conv2(self.pool(maps))))

    def _conv3(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.relu(self.conv3(self.pool(maps))))


def _report_side(size_px: int) -> int:
    for _ in range(3):
        size_px = (size_px - 2) // 2
    return size_px


NARROW = 16
"""Channels per group below which torch's gradient of a group norm is slow channels last."""


class GroupNorm(nn.GroupNorm):
    """Group normalisation in the arithmetic of what it is given, with a gradient that is fast.

    Its sums are taken in float32 either way. Under mixed precision torch would turn every value to
    float32 and back for it, which costs more than the half convolutions spare.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dtype == torch.float32:
            return self._normed(input)
        with torch.autocast(input.device.type, enabled=False):
            return self._normed(input)

    def _normed(self, input: Tensor) -> Tensor:
        narrow = self.num_channels < NARROW * self.num_groups
        fast = narrow and self.training and input.device.type == "cpu"
        weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
        if fast:
            return _narrow_norm(input, weight, bias, self.num_groups, self.eps)
        return F.group_norm(input, self.num_groups, weight, bias, self.eps)


class _NarrowNorm(torch.autograd.Function):
    """`F.group_norm` of maps (B, C, h, w) whose gradient is taken channels first.

    Channels last, torch's runs over the channels of a group, which is slow over a few; turning the
    maps there and back costs less.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
    ) -> Tensor:
        batch, channels, height, width = x.shape
        out, *moments = torch.native_group_norm(
            x, weight, bias, batch, channels, height * width, groups, eps
        )
        ctx.save_for_backward(x, weight, *moments)
        ctx.groups = groups
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, *moments = ctx.saved_tensors
        batch, channels, height, width = x.shape
        size = (batch, channels, height * width, ctx.groups)
        wanted = [ctx.needs_input_grad[0], True, True]
        of_x, of_weight, of_bias = torch.ops.aten.native_group_norm_backward(
            slope.contiguous(), x.contiguous(), *moments, weight, *size, wanted
        )
        if of_x is not None and x.is_contiguous(memory_format=torch.channels_last):
            of_x = of_x.contiguous(memory_format=torch.channels_last)
        return of_x, of_weight, of_bias, None, None


_narrow_norm = cast(Callable[..., Tensor], _NarrowNorm.apply)


RECTIFIED = math.sqrt(2 / (1 - 1 / math.pi))
"""What brings rectified noise of unit spread back to unit spread."""


class StandardConv2d(nn.Module):
    """A convolution with standardised filters, and a gain and a bias for each channel.

    A filter w becomes γ·gain·(w - mean w) / |w - mean w| with γ = `RECTIFIED`: rectified maps then
    keep their range without being normalised, and what a place says depends on what is around it
    alone. Filters of a single channel keep their mean, which reads brightness.
    Shapes: `weight` (outputs, size·size·inputs), a filter per row, as optimisers of matrices take
    it; `gain` and `bias` (outputs,).
    Source: Brock, De and Smith, "Characterizing signal propagation to close the performance gap in
    unnormalized ResNets", ICLR 2021 (scaled weight standardisation).
    """

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.in_channels, self.kernel_size, self.stride = inputs, (size, size), (stride, stride)
        self.weight = nn.Parameter(torch.empty(outputs, size * size * inputs))
        self.gain = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as torch's own convolutions

    def filters(self) -> Tensor:
        """The filters that are applied, (outputs, inputs, size, size), channels last."""
        rows: Tensor = self.weight
        if self.in_channels > 1:
            rows = rows - rows.mean(1, keepdim=True)
        length = (rows.square().sum(1, keepdim=True) + 1e-4).sqrt()
        rows = rows * (RECTIFIED * self.gain[:, None] / length)
        return rows.view(-1, *self.kernel_size, self.in_channels).permute(0, 3, 1, 2)

    def forward(self, input: Tensor) -> Tensor:
        half = self.kernel_size[0] // 2
        return F.conv2d(input, self.filters(), self.bias, self.stride, half)


class NormedConv2d(nn.Sequential):
    """A convolution and the group normalisation of its maps."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), GroupNorm(8, outputs)
        )

    @property
    def gain(self) -> nn.Parameter:
        return cast(nn.Parameter, self[1].weight)


NORMS: dict[str, Callable[..., NormedConv2d | StandardConv2d]] = {
    "group": NormedConv2d,
    "weight": StandardConv2d,
}
"""Convolutions whose maps keep their range, by what is normalised; none mixes pictures."""


class Residual(nn.Module):
    """x + f(x) with two 3×3 convolutions; starts as the identity (last gain 0)."""

    def __init__(self, channels: int, *, norm: str = "group") -> None:
        super().__init__()
        self.first = NORMS[norm](channels, channels, 3)
        self.second = NORMS[norm](channels, channels, 3)
        self.relu = nn.ReLU()
        nn.init.zeros_(self.second.gain)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.relu(x + self.second(self.relu(self.first(x)))))


class Backbone(nn.Module):
    """A small residual net: what `CompactNet` and `EvidenceNet` have in common.

    `stem` makes maps (B, 48, h, w) of stride 4, `body` of those (B, 128, h, w) of stride 8. What
    keeps them in range is `norm`, as in a recipe: normalised maps (`group`) or filters (`weight`).
    """

    STEM, WIDTH, BLOCKS = 48, 128, 3

    def __init__(self, *, norm: str = "group") -> None:
        super().__init__()
        stem, width, conv = self.STEM, self.WIDTH, NORMS[norm]
        self.stem = nn.Sequential(
            conv(1, stem // 2, 5, 2), nn.ReLU(), conv(stem // 2, stem, 3, 2), nn.ReLU()
        )
        self.body = nn.Sequential(
            conv(stem, width, 3, 2),
            nn.ReLU(),
            *(Residual(width, norm=norm) for _ in range(self.BLOCKS)),
        )
        # Odd kernels with half padding and stride 2 keep cell 0 centred on pixel 0.
        self.stem_grid = Grid(offset_px=0.0, stride_px=4.0)
        self.body_grid = Grid(offset_px=0.0, stride_px=8.0)


class CompactNet(Backbone):
    """The backbone with global average pooling and a linear head.

    With this head the mean of a class's evidence map plus its bias is its logit, exactly, and
    Grad-CAM equals CAM. 0.95 million parameters; 20×20 maps at 160 px.
    """

    def __init__(
        self, classes: int, *, size_px: int = 160, dropout: float = 0.1, norm: str = "group"
    ) -> None:
        super().__init__(norm=norm)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(self.WIDTH, classes)
        self.grid = self.body_grid

    def features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.body(self.stem(x)))

    def head(self, maps: Tensor) -> Tensor:
        return cast(Tensor, self.out(self.dropout(maps.mean((2, 3)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def stages(self) -> tuple[Stage, ...]:
        """The stem at a quarter of the size, then at an eighth the body's first maps and blocks."""
        return (
            Stage("stem", self.stem, lambda maps: self.head(self.body(maps)), self.stem_grid),
            self._within("body", 2),
            self._within("block1", 3),
            self._within("block2", 4),
            self._within("block3", 5),
        )

    def _within(self, name: str, place: int) -> Stage:
        """The stage after the first `place` parts of the body."""
        before, after = self.body[:place], self.body[place:]
        return Stage(
            name,
            lambda x: cast(Tensor, before(self.stem(x))),
            lambda maps: self.head(after(maps)),
            self.grid,
        )


TOP = 0.01
"""Share of the cells of a map that speak for a picture where the highest do."""


def mean_of_highest(evidence: Tensor) -> Tensor:
    """The mean of the highest hundredth of the cells, (B, F), of evidence (B, F, N).

    Source: Durand, Thome and Cord, "WELDON: weakly supervised learning of deep convolutional neural
    networks", CVPR 2016, of which these are the positive instances.
    """
    return evidence.topk(max(1, round(TOP * evidence.shape[2])), dim=2).values.mean(2)


def log_mean_exp(evidence: Tensor) -> Tensor:
    """The log of the mean of exp(evidence), (B, F), of evidence (B, F, N).

    Source: Pinheiro and Collobert, "From image-level to pixel-level labeling with convolutional
    networks", CVPR 2015.
    """
    return evidence.logsumexp(2) - math.log(evidence.shape[2])


POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "exponential": log_mean_exp,
    "highest": mean_of_highest,
}
"""How a map of evidence becomes a score: all cells in the scale of their odds, or the highest."""


BULK = (0.15, 0.35)
"""Ranks, as shares of the cells from the highest, whose mean is the level of a map: below what a
large tumour fills, above what lies beside the head."""


def level_of(evidence: Tensor) -> Tensor:
    """The mean of the cells whose ranks are those of `BULK`, (B, F), of evidence (B, F, N)."""
    first, last = (round(share * evidence.shape[2]) for share in BULK)
    ranked = evidence.float().sort(2, descending=True).values
    return ranked[:, :, first : max(last, first + 1)].mean(2)


class EvidenceNet(Backbone):
    """The backbone with a seam that is the evidence itself: a map for each class, at stride 4.

    `features` are maps (B, F, h, w) in logits, one for every class but the one that means that
    nothing was found (`absent`), or one for each where there is no such class. What the body has
    found at an eighth of the size is joined with the stem's finer maps (Lin et al., "Feature
    pyramid networks for object detection", CVPR 2017). `head` pools a map as `POOLS` says, so that
    few cells can speak for the whole picture, gives the absent class 0 and centres the logits: map
    and call can't disagree.

    Where it is `levelled`, each map is shifted in use, not in training, so that its bulk lies where
    it `usual`ly does: what is said of all places alike is then no evidence. Nothing is shifted
    before that is known.
    """

    usual: Tensor | None
    """(F,) the usual level of each map, NaN until it is known; None where maps aren't levelled."""

    JOINED = 64

    def __init__(
        self,
        classes: int,
        *,
        absent: int | None = None,
        size_px: int = 160,
        dropout: float = 0.1,
        norm: str = "group",
        pooling: str = "exponential",
        levelled: bool = False,
    ) -> None:
        super().__init__(norm=norm)
        self.absent = absent
        self.pool = POOLS[pooling]
        self.coarse = NORMS[norm](self.WIDTH, self.JOINED, 1)
        self.fine = NORMS[norm](self.STEM, self.JOINED, 1)
        self.join = nn.Sequential(nn.ReLU(), Residual(self.JOINED, norm=norm))
        self.dropout = nn.Dropout2d(dropout)
        found = classes - (absent is not None)
        self.out = nn.Conv2d(self.JOINED, found, 1)
        self.register_buffer("usual", torch.full((found,), torch.nan) if levelled else None)
        self.grid = self.stem_grid

    def features(self, x: Tensor) -> Tensor:
        return self._evidence(self._joined(self.stem(x)))

    def _joined(self, stem: Tensor) -> Tensor:
        coarse, fine = self.coarse(self.body(stem)), self.fine(stem)
        return cast(Tensor, self.join(_doubled(coarse, fine.shape[2:]) + fine))

    def _evidence(self, maps: Tensor) -> Tensor:
        evidence = cast(Tensor, self.out(self.dropout(maps)))
        if self.usual is None or self.training:
            return evidence
        shift = self.usual - level_of(evidence.flatten(2))
        return evidence + torch.where(self.usual.isnan(), 0.0, shift)[:, :, None, None]

    def head(self, maps: Tensor) -> Tensor:
        found = self.pool(maps.flatten(2).float())
        if self.absent is not None:
            before, after = found[:, : self.absent], found[:, self.absent :]
            found = torch.cat([before, torch.zeros_like(found[:, :1]), after], 1)
        return found - found.mean(1, keepdim=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))

    def stages(self) -> tuple[Stage, ...]:
        """The stem, what it and the body make together, and the evidence, all at stride 4.

        The body's own maps are none: the logits depend on the stem beside them.
        """
        return (
            Stage(
                "stem",
                self.stem,
                lambda maps: self.head(self._evidence(self._joined(maps))),
                self.grid,
                seam=lambda maps: self._evidence(self._joined(maps)),
            ),
            Stage(
                "joined",
                lambda x: self._joined(self.stem(x)),
                lambda maps: self.head(self._evidence(maps)),
                self.grid,
                seam=self._evidence,
            ),
            Stage(EVIDENCE, self.features, self.head, self.grid),
        )


def _doubled(maps: Tensor, size: torch.Size) -> Tensor:
    """Maps (B, C, h, w) on a grid twice as fine of (H, W) cells: cell i moves to 2i, exactly."""
    height, width = 2 * maps.shape[2] - 1, 2 * maps.shape[3] - 1
    wide = F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=True)
    return F.pad(wide, (0, size[1] - width, 0, size[0] - height), mode="replicate")


NETS: dict[str, Callable[..., nn.Module]] = {
    "report": ReportNet,
    "compact": CompactNet,
    "evidence": EvidenceNet,
}
"""Each makes a net from the number of classes, `size_px` and `dropout`."""
