"""The loggers for both packages of Lightning, in real runs of its trainer."""

import importlib

import pytest
import torch

pytestmark = pytest.mark.timeout(300)


def parts(package):
    """The package, our logger for it, a module to train, and a logger that notes what it is given."""
    lightning = importlib.import_module(package)
    ours = importlib.import_module(f"streamvis.integrations.{package.partition('.')[0]}")
    base = importlib.import_module(f"{package}.loggers.logger").Logger

    class Model(lightning.LightningModule):
        def __init__(self, lr=0.1, fail_at=None):
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch, index):
            loss = self.layer(batch[0]).square().mean()
            self.log("train/loss", loss)
            self.log("lr", 0.1)
            if self.global_step == self.hparams.fail_at:
                raise ZeroDivisionError
            return loss

        def validation_step(self, batch, index):
            self.log("val/loss", self.layer(batch[0]).square().mean())
            self.log("val_plain", float(index))

        def test_step(self, batch, index):
            self.log("test/loss", 0.25)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    class Notes(base):
        name, version = "notes", "1"

        def __init__(self):
            super().__init__()
            self.calls = []

        def log_metrics(self, metrics, step=None):
            self.calls.append((step, dict(metrics)))

        def log_hyperparams(self, *args, **options):
            pass

    return lightning, ours.StreamvisLogger, Model, Notes()


def loader():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(32, 4)), batch_size=4)


def trainer_of(lightning, loggers, folder):
    return lightning.Trainer(
        logger=loggers,
        max_epochs=3,
        accelerator="cpu",
        log_every_n_steps=2,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def expected(calls):
    """The rows that the noted calls should have made."""
    rows = {}
    for step, metrics in calls:
        epoch = {"epoch": metrics.pop("epoch")} if "epoch" in metrics else {}
        made = {}
        for name, cell in metrics.items():
            key, _, column = name.rpartition("/")
            made.setdefault(key or "metrics", {})[column] = cell
        for key, row in made.items():
            rows.setdefault(key, []).append((key, step, row | epoch))
    return [row for _, its in sorted(rows.items()) for row in its]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_all_that_the_trainer_logs_is_stored_once(package, app, only_run, calls_of, tmp_path):
    lightning, StreamvisLogger, Model, notes = parts(package)
    logger = StreamvisLogger(app)
    trainer = trainer_of(lightning, [logger, notes], tmp_path)
    trainer.fit(Model(), loader(), loader())
    run = only_run()
    assert (run.state, run.config["lr"]) == ("finished", 0.1)
    assert any((tmp_path / app / run.id / "checkpoints").iterdir())
    trainer.test(Model(), loader(), verbose=False)
    run = only_run()
    assert {call[0] for call in calls_of(run)} == {"metrics", "train", "val", "test"}
    assert calls_of(run) == expected(notes.calls)
    assert (logger.version, run.state) == (run.id, "finished")


def test_a_training_that_an_exception_ends_is_a_failed_run(app, only_run, tmp_path):
    lightning, StreamvisLogger, Model, _ = parts("lightning.pytorch")
    with pytest.raises(ZeroDivisionError):
        trainer_of(lightning, StreamvisLogger(app), tmp_path).fit(Model(fail_at=5), loader())
    assert only_run().state == "failed"


def test_experiment_is_the_client_of_the_run(app, only_run, tmp_path):
    lightning, StreamvisLogger, Model, _ = parts("lightning.pytorch")
    logger = StreamvisLogger(app)
    logger.experiment.send(3, "matrix", {"data": torch.eye(2)})
    logger.finalize("success")
    assert only_run().value("matrix")["data"].tolist() == [[1, 0], [0, 1]]
