"""`watch(model, every=100)`: norms and histograms of the weights and gradients of a PyTorch model, while it trains.

All is computed on the model's device, in pieces of bounded size, and nothing waits for the device: numbers come to the host in
the sender's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from streamvis.client.active import ActiveRun
from streamvis.client.client import Client
from streamvis.integrations.sending import Sending, is_main_process

__all__ = ["Watch", "histogram_of", "watch"]

_PIECE = 2**22
"""So many numbers are looked at at a time: what that takes on the device stays small beside the model."""
_MOST_PARAMETERS = 1000


def watch(
    model: torch.nn.Module,
    every: int = 100,
    *,
    histograms: int = 20,
    bins: int = 64,
    step: Callable[[], int] | None = None,
    app: str | None = None,
    client: Client | ActiveRun | None = None,
    **options: Any,
) -> Watch:
    """Send the norm of each parameter and of its gradient at each `every`-th step of its optimizer.

    Norms are rows of the keys `weights` and `gradients`, with a column for each parameter and `total`; histograms are values
    `weights/NAME` and `gradients/NAME`. At most 1,000 parameters are watched. A parameter that is split over several processes is
    seen as far as it lies in the first one.

    Args:
        model: whose parameters to watch
        every: so many steps of the optimizer lie between two looks
        histograms: for so many parameters, the largest ones, histograms are sent too
        bins: of the histograms
        step: gives the step to send with; by default the number of steps of the optimizer
        app: of a run of its own, where none is active; by default "torch"
        client: a client, or an active run, to send to
        options: of `streamvis.run`, such as `url`
    """
    sending = Sending(app, default_app="torch", client=client, **options)
    return Watch(model, sending, every=every, histograms=histograms, bins=bins, step=step)


class Watch:
    """A model that is watched until `remove`."""

    def __init__(
        self,
        model: torch.nn.Module,
        sending: Sending,
        *,
        every: int,
        histograms: int,
        bins: int,
        step: Callable[[], int] | None,
    ) -> None:
        named = [(name, one) for name, one in model.named_parameters() if one.requires_grad][:_MOST_PARAMETERS]
        self._names = {id(parameter): name for name, parameter in named}
        largest = sorted(named, key=lambda pair: pair[1].numel(), reverse=True)[:histograms]
        self._with_histogram = {name for name, _ in largest}
        self._sending, self._every, self._bins, self._step = sending, max(1, every), bins, step
        self._counts: dict[int, int] = {}
        self._hook = register_optimizer_step_pre_hook(self._look) if is_main_process() else None

    def remove(self) -> None:
        """Watch no longer; end the run where it is the watch's own."""
        if self._hook is not None:
            self._hook.remove()
            self._hook = None
            self._sending.end()

    @torch.no_grad()
    def _look(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        its = [one for group in optimizer.param_groups for one in group["params"] if id(one) in self._names]
        if not its:
            return
        count = self._counts.get(id(optimizer), 0)
        self._counts[id(optimizer)] = count + 1
        if count % self._every:
            return
        step = count if self._step is None else self._step()
        weights = {self._names[id(one)]: _local(one) for one in its}
        gradients = {self._names[id(one)]: _local(one.grad) for one in its if one.grad is not None}
        for key, tensors in (("weights", weights), ("gradients", gradients)):
            self._send(step, key, {name: tensor for name, tensor in tensors.items() if tensor.numel()})

    def _send(self, step: int, key: str, tensors: dict[str, torch.Tensor]) -> None:
        if not tensors:
            return
        norms = {name: norm_of(tensor) for name, tensor in tensors.items()}
        first = next(iter(norms.values())).device
        total = torch.stack([norm.to(first) for norm in norms.values()]).norm()
        self._sending.log({f"{key}/{name}": norm for name, norm in {**norms, "total": total}.items()}, step)
        for name, tensor in tensors.items():
            if name in self._with_histogram:
                counts, edges = histogram_of(tensor, bins=self._bins)
                self._sending.send_value(step, f"{key}/{name}", {"counts": counts, "edges": edges})


def norm_of(tensor: torch.Tensor) -> torch.Tensor:
    """The Euclidean norm, as a tensor on the same device."""
    return torch.stack([piece.float().norm() for piece in _pieces(tensor)]).norm()


def histogram_of(tensor: torch.Tensor, *, bins: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Counts (bins,) and edges (bins + 1,) of the finite numbers, between their lowest and highest, on the tensor's device."""
    tensor = tensor.detach()
    pieces = _pieces(tensor)
    if not pieces:
        return torch.zeros(bins), torch.linspace(0, 1, bins + 1)
    inf = torch.tensor(torch.inf, device=tensor.device)
    bounds = []
    for piece in map(torch.Tensor.float, pieces):
        finite = piece.isfinite()
        bounds.append(torch.stack([torch.where(finite, piece, inf).min(), torch.where(finite, -piece, inf).min()]))
    low, high = torch.stack(bounds).amin(dim=0) * torch.tensor([1.0, -1.0], device=tensor.device)
    low, high = torch.where(low <= high, low, 0.0), torch.where(low <= high, high, 0.0)
    half = torch.where(low < high, 0.0, 0.5)
    low, high = low - half, high + half
    counts = torch.zeros(bins, device=tensor.device)
    for piece in map(torch.Tensor.float, pieces):
        # Divided first: the span of float32's largest numbers is none.
        place = ((piece / bins - low / bins) / (high / bins - low / bins) * bins).nan_to_num(0.0, 0.0, 0.0)
        counts.scatter_add_(0, place.long().clamp_(0, bins - 1), piece.isfinite().float())
    edges = low + (high / bins - low / bins) * torch.arange(bins + 1, device=tensor.device)
    return counts, edges


def _pieces(tensor: torch.Tensor) -> list[torch.Tensor]:
    flat = tensor.detach().reshape(-1)
    return list(flat.split(_PIECE)) if flat.numel() else []


def _local(tensor: torch.Tensor) -> torch.Tensor:
    """What of it lies in this process, densely."""
    to_local = getattr(tensor, "to_local", None)  # of a distributed tensor
    tensor = to_local() if to_local is not None else tensor
    return tensor.coalesce().values() if tensor.is_sparse else tensor
