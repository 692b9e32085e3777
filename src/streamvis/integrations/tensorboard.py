"""`SummaryWriter`, with the interface of `torch.utils.tensorboard`: change the import, and the rest of a program stays.

    from streamvis.integrations.tensorboard import SummaryWriter    # was: from torch.utils.tensorboard import SummaryWriter

A folder of logs is a run. Its id is kept in the folder, so that a writer for the same folder continues the same run, as
TensorBoard shows it. Needs neither torch nor tensorboard.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from streamvis.client.active import ActiveRun
from streamvis.client.client import Client
from streamvis.client.process.ending import state_of
from streamvis.client.values.arrays import is_torch_tensor
from streamvis.errors import DeletedRun, InvalidData
from streamvis.integrations.sending import Sending
from streamvis.integrations.shapes import channels_last, curve_of, gifs_of, numbers, projected, with_boxes
from streamvis.metrics import place_of, whole_step

__all__ = ["SummaryWriter"]

_NOTE = ".streamvis-run"
_BINS = 64
_HPARAMS = "hparams"


class SummaryWriter:
    """Sends what it is given to Streamvis. The first six arguments are TensorBoard's.

    Calls return at once; what cannot be sent is said in a warning. `flush` does not wait, `close` delivers.

    Args:
        log_dir: by default runs/DATE_HOST. Its last part is the run's name, what is before that the app
        comment: added to the default of `log_dir`
        purge_step: continue the run of `log_dir` from this step on; what it has of that and later steps is taken back
        max_queue, flush_secs, filename_suffix: have no effect
        app: the name that links runs and pages, by default the folder that `log_dir` is in
        client: a client, or an active run, to send to
        options: of `streamvis.run`, such as `url`
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
        *,
        app: str | None = None,
        client: Client | ActiveRun | None = None,
        **options: Any,
    ) -> None:
        if not log_dir:
            log_dir = os.path.join("runs", f"{time.strftime('%b%d_%H-%M-%S')}_{platform.node()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self.purge_step, self.max_queue, self.flush_secs = purge_step, max_queue, flush_secs
        self.filename_suffix = filename_suffix
        folder = Path(self.log_dir)
        app = app or folder.absolute().parent.name or "tensorboard"
        settings: dict[str, Any] = {"name": folder.absolute().name or None, **options}
        note = folder / _NOTE
        known = _read(note) if client is None and "run" not in options else ""
        if known or purge_step is not None:
            resume_at = None if purge_step is None else whole_step(purge_step)
            resumed = {"run": known or f"tb-{os.urandom(8).hex()}", "resume_at": resume_at}
            self._sending = Sending(app, default_app=app, client=client, **{**settings, **resumed, **options})
        else:
            self._sending = Sending(app, default_app=app, client=client, **settings)
        try:
            self._sending.begin()
        except DeletedRun:
            self._sending = Sending(app, default_app=app, **settings)
            self._sending.begin()
        if client is None:
            self._keep(note)

    def get_logdir(self) -> str:
        return self.log_dir

    def add_hparams(
        self,
        hparam_dict: Mapping[str, Any],
        metric_dict: Mapping[str, Any],
        hparam_domain_discrete: Mapping[str, Sequence[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """The hyperparameters are the config of a run that has none yet, else a value; the metrics are rows."""
        if type(hparam_dict) is not dict or type(metric_dict) is not dict:
            raise TypeError("hparam_dict and metric_dict should be dictionary.")
        with self._sending.harmless():
            self._sending.begin(hparam_dict)
        self._sending.log(metric_dict, self._step(_HPARAMS, global_step))

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
        **ignored: Any,
    ) -> None:
        if getattr(scalar_value, "shape", None) not in (None, (), (1,)):
            scalar_value = scalar_value.reshape(-1)  # of one number, as TensorBoard wants it too
        self._sending.log({tag: scalar_value}, self._step(tag, global_step), time=walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: Mapping[str, Any],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """One row, with a column for each scalar, under the key of MAIN_TAG/NAME."""
        metrics = {f"{main_tag}/{name}": cell for name, cell in tag_scalar_dict.items()}
        self._sending.log(metrics, self._step(main_tag, global_step), time=walltime)

    def add_tensor(self, tag: str, tensor: Any, global_step: int | None = None, walltime: float | None = None) -> None:
        self._value(tag, {"data": tensor}, global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: int | None = None,
        bins: str | int | Sequence[float] = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Counts and edges of 64 equal bins, or of those that `bins` names for NumPy. A tensor is counted on its device."""
        with self._sending.harmless():
            if is_torch_tensor(values) and bins == "tensorflow":
                from streamvis.integrations.torch import histogram_of

                counts, edges = histogram_of(values, bins=min(_BINS, max_bins or _BINS))
            else:
                cells = numbers(values).ravel()
                cells = cells[np.isfinite(cells)].astype(np.float64)
                counts, edges = np.histogram(cells, min(_BINS, max_bins or _BINS) if bins == "tensorflow" else bins)
            self._value(tag, {"counts": counts, "edges": edges}, global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: int,
        sum: float,
        sum_squares: float,
        bucket_limits: Sequence[float],
        bucket_counts: Sequence[float],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        limits, counts = np.asarray(bucket_limits, np.float64), np.asarray(bucket_counts, np.float64)
        if len(limits) != len(counts):
            raise ValueError("len(bucket_limits) != len(bucket_counts), see the document.")
        edges = np.concatenate([[np.minimum(min, limits[0])], limits])
        known = {"min": float(min), "max": float(max), "num": num, "sum": float(sum), "sum_squares": float(sum_squares)}
        self._value(tag, {"counts": counts, "edges": edges, **known}, global_step, walltime)

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        with self._sending.harmless():
            self._value(tag, {"image": channels_last(img_tensor, dataformats)}, global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        self.add_image(tag, img_tensor, global_step, walltime, dataformats)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: int | None = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: str | Sequence[str] | None = None,
    ) -> None:
        with self._sending.harmless():
            labels = [labels] if isinstance(labels, str) else labels
            picture = with_boxes(img_tensor, box_tensor, labels, dataformats)
            if rescale != 1:
                picture = picture.resize((round(picture.width * rescale), round(picture.height * rescale)))
            self._value(tag, {"image": picture}, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        self._value(tag, {"image": figure}, global_step, walltime)
        if close:
            import matplotlib.pyplot

            for one in figure if isinstance(figure, list) else [figure]:
                matplotlib.pyplot.close(one)

    def add_video(
        self,
        tag: str,
        vid_tensor: Any,
        global_step: int | None = None,
        fps: float = 4,
        walltime: float | None = None,
    ) -> None:
        """As a GIF file, made in the call."""
        with self._sending.harmless():
            self._value(tag, {"image": gifs_of(vid_tensor, fps)}, global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: int | None = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        samples = snd_tensor if hasattr(snd_tensor, "squeeze") else np.asarray(snd_tensor)
        self._value(tag, {"samples": samples.squeeze(), "rate": int(sample_rate)}, global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None) -> None:
        self._sending.log({tag: text_string}, self._step(tag, global_step), time=walltime)

    def add_onnx_graph(self, prototxt: str | os.PathLike[str]) -> None:
        self._value("graph", {"onnx": os.fspath(prototxt)}, 0)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, use_strict_trace: bool = True) -> None:
        """The model as text: its layers, as it prints itself."""
        self._value("graph", {"model": str(model)}, 0)

    def add_embedding(
        self,
        mat: Any,
        metadata: Sequence[Any] | None = None,
        label_img: Any = None,
        global_step: int | None = None,
        tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        """The vectors, their first two principal components as points with labels, and their images, each a value."""
        with self._sending.harmless():
            vectors = numbers(mat)
            if vectors.ndim != 2 or any(part is not None and len(part) != len(vectors) for part in (metadata, label_img)):
                allowed = "vectors (n, d), with n labels and n images"
                raise InvalidData(f"vectors of shape {vectors.shape}", where="mat", allowed=allowed)
            found = projected(vectors)
            points: dict[str, Any] = {"x": found[:, 0], "y": found[:, 1]}
            if metadata is not None and metadata_header:
                for i, name in enumerate(metadata_header):
                    points[str(name)] = [str(row[i]) for row in metadata]
            elif metadata is not None:
                points["label"] = [str(label) for label in metadata]
            key, step = f"embedding/{tag}", whole_step(global_step)
            self._sending.send_value(step, key, points)
            self._sending.send_value(step, f"{key} vectors", {"vectors": mat})
            if label_img is not None:
                self._sending.send_value(step, f"{key} images", {"image": channels_last(label_img, "NCHW")})

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Recall and precision as the points x and y, with their thresholds and counts."""
        self._value(tag, curve_of(labels, predictions, num_thresholds, weights), global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: int | None = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        made = {"x": recall, "y": precision, "tp": true_positive_counts, "fp": false_positive_counts}
        made |= {"tn": true_negative_counts, "fn": false_negative_counts}
        self._value(tag, {name: numbers(cells) for name, cells in made.items()}, global_step, walltime)

    def add_custom_scalars_multilinechart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        self.add_custom_scalars({category: {title: ["Multiline", tags]}})

    def add_custom_scalars_marginchart(self, tags: Sequence[str], category: str = "default", title: str = "untitled") -> None:
        self.add_custom_scalars({category: {title: ["Margin", tags]}})

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
        """Puts the charts of these tags under their category."""
        with self._sending.harmless():
            for category, charts in layout.items():
                for title, (_, tags) in charts.items():
                    for tag in tags:
                        self._sending.client.describe("/".join(place_of(tag)), section=category, title=title)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        parts = {"vertices": vertices, "colors": colors, "faces": faces, "config": config_dict}
        self._value(tag, {name: part for name, part in parts.items() if part is not None}, global_step, walltime)

    def flush(self) -> None:
        """Does nothing: what was sent is on its way."""

    def close(self) -> None:
        """End the run, and deliver what waits. A later call of another method joins it again."""
        self._sending.end()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._sending.end(state_of(error))

    def _value(self, tag: str, value: Mapping[str, Any], step: Any, walltime: float | None = None) -> None:
        value = value if walltime is None else {**value, "time": walltime}
        self._sending.send_value(self._step(tag, step), tag, value)

    def _step(self, tag: str, step: Any) -> Any:
        return self._sending.count(tag) if step is None else step

    def _keep(self, note: Path) -> None:
        try:
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(f"{self._sending.run}\n")
        except OSError as error:
            self._sending.tell(f"{note} cannot be written ({error}): another writer for this folder starts another run.")


def _read(note: Path) -> str:
    try:
        return note.read_text().strip()
    except (OSError, ValueError):
        return ""
