"""The callback for transformers and the tracker for accelerate, in real short runs."""

import pytest
import torch
from accelerate import Accelerator
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from streamvis.integrations.accelerate import StreamvisTracker
from streamvis.integrations.transformers import StreamvisCallback
from support.conditions import wait_until

pytestmark = pytest.mark.timeout(300)


class Texts(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, i):
        ids = torch.arange(8) % 7 + i % 3
        return {"input_ids": ids, "labels": ids}


def test_the_history_of_a_trainer_is_stored_once(app, only_run, calls_of, tmp_path):
    config = GPT2Config(vocab_size=16, n_positions=16, n_embd=8, n_layer=1, n_head=1)
    args = TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        logging_steps=2,
        eval_strategy="epoch",
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    model = GPT2LMHeadModel(config)
    trainer = Trainer(model, args, train_dataset=Texts(), eval_dataset=Texts(), callbacks=[StreamvisCallback(app)])
    trainer.train()
    assert only_run().state == "finished"
    trainer.evaluate(metric_key_prefix="test")
    run = only_run()
    assert run.config["model"]["n_embd"] == 8 and run.config["logging_steps"] == 2
    rows = {}
    for entry in trainer.state.log_history:
        entry = dict(entry)
        step, epoch = entry.pop("step"), entry.pop("epoch")
        key = next((key for key in ("eval", "test") if any(name.startswith(f"{key}_") for name in entry)), "train")
        row = {name.removeprefix(f"{key}_") if key != "train" else name: cell for name, cell in entry.items()}
        rows.setdefault(key, []).append((key, step, row | {"epoch": epoch}))
    assert {key: len(its) for key, its in rows.items()} == {"train": 7, "eval": 3, "test": 1}
    logged = [row for _, its in sorted(rows.items()) for row in its]
    wait_until(lambda: len(calls_of(run)) == len(logged), what="the evaluation after the end of the run is stored")
    assert calls_of(run) == logged


def test_what_an_accelerator_logs_is_stored_once(app, only_run, calls_of):
    tracker = StreamvisTracker(app)
    accelerator = Accelerator(log_with=tracker, cpu=True)
    accelerator.init_trackers("a project", config={"lr": 0.5})
    for step in range(5):
        accelerator.log({"train/loss": step / 2, "note": "text"}, step=step)
    accelerator.log({"train/loss": 9.0})
    tracker.log_images({"seen": torch.zeros(4, 8, 8, 3)}, step=2)
    assert accelerator.get_tracker("streamvis", unwrap=True) is tracker.tracker
    accelerator.end_training()
    run = only_run()
    assert (run.state, run.config) == ("finished", {"lr": 0.5})
    expected = [("metrics", step, {"note": "text"}) for step in range(5)]
    expected += [("train", step, {"loss": step / 2}) for step in range(5)]
    assert calls_of(run) == [*expected, ("train", 0, {"loss": 9.0})]
    assert run.value("seen")["image"].shape == (4, 8, 8, 3)
