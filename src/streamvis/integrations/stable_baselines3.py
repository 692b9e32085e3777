"""`StreamvisCallback` for Stable-Baselines3: `model.learn(..., callback=StreamvisCallback("my app"))`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Figure, HParam, Image, KVWriter, Video

from streamvis.integrations.sending import Sending
from streamvis.integrations.shapes import channels_last, gifs_of

__all__ = ["StreamvisCallback"]


class StreamvisCallback(BaseCallback):
    """Sends what the algorithm logs, as its TensorBoard output does.

    Args:
        app: the name that links runs and pages; by default "stable_baselines3"
        verbose: see BaseCallback
        options: of `streamvis.run`, and `client`
    """

    def __init__(self, app: str | None = None, verbose: int = 0, **options: Any) -> None:
        super().__init__(verbose)
        self._writer = _Writer(Sending(app, default_app="stable_baselines3", **options))

    def _on_training_start(self) -> None:
        plain = {
            name: cell
            for name, cell in vars(self.model).items()
            if not name.startswith("_") and isinstance(cell, (int, float, str, bool))
        }
        self._writer.sending.begin({"algorithm": type(self.model).__name__, **plain})
        # `learn` makes another logger for each call.
        if self._writer not in self.logger.output_formats:
            self.logger.output_formats.append(self._writer)

    def _on_step(self) -> bool:
        return True

    def _on_training_end(self) -> None:
        self.logger.output_formats.remove(self._writer)
        self._writer.sending.end()


class _Writer(KVWriter):
    def __init__(self, sending: Sending) -> None:
        self.sending = sending

    def write(self, key_values: Mapping[str, Any], key_excluded: Mapping[str, tuple[str, ...]], step: int = 0) -> None:
        metrics = {}
        for name, cell in key_values.items():
            excluded = key_excluded.get(name) or ()
            if "tensorboard" in excluded or "streamvis" in excluded:
                continue
            if isinstance(cell, Video):
                self.sending.send_value(step, name, {"image": gifs_of(cell.frames, cell.fps)})
            elif isinstance(cell, Figure):
                self.sending.send_value(step, name, {"image": cell.figure})
            elif isinstance(cell, Image):
                self.sending.send_value(step, name, {"image": channels_last(cell.image, cell.dataformats)})
            elif isinstance(cell, HParam):
                self.sending.begin(dict(cell.hparam_dict))
                metrics |= cell.metric_dict
            else:
                metrics[name] = cell
        self.sending.log(metrics, step)

    def close(self) -> None:
        self.sending.end()
