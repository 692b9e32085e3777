"""Optuna, Ray, Stable-Baselines3, XGBoost, LightGBM and loguru, in real short runs, and a database of MLflow."""

import pathlib

import numpy as np
import pytest

from streamvis import Client
from support.conditions import wait_until

pytestmark = pytest.mark.timeout(300)


def ended_runs(reader, app, name, count):
    """The runs of the app by an entry of their config, when so many have ended: nobody waits for the end of a trial's."""

    def ended():
        runs = [run for run in reader.runs(app) if run.state in ("finished", "failed")]
        return {run.config[name]: run for run in runs} if len(runs) == count else None

    return wait_until(ended, within_s=60, what=f"{count} runs to end")


def test_each_trial_of_a_study_is_a_run_also_of_parallel_ones(app, reader):
    optuna = pytest.importorskip("optuna")
    from streamvis.integrations.optuna import StreamvisCallback

    def objective(trial):
        x = trial.suggest_float("x", -1, 1)
        for step in range(3):
            trial.report(x * step, step)
        if trial.number == 2:
            raise optuna.TrialPruned
        if trial.number == 3:
            raise ZeroDivisionError
        return x * x

    study = optuna.create_study(study_name=app)
    study.optimize(objective, n_trials=6, n_jobs=2, catch=(ZeroDivisionError,), callbacks=[StreamvisCallback()])
    runs = ended_runs(reader, app, "trial", 6)
    assert sorted(runs) == list(range(6))
    for trial in study.trials:
        run = runs[trial.number]
        assert run.name == f"trial {trial.number}" and run.config["x"] == trial.params["x"]
        assert run.config["trial_state"] == trial.state.name.lower()
        assert run.state == ("failed" if trial.number == 3 else "finished")
        rows = run.rows("trial")
        found = [(row["step"], row["intermediate"]) for row in rows.to_pylist() if row["intermediate"] is not None]
        assert found == sorted(trial.intermediate_values.items())
        if trial.values:
            assert rows["value"].drop_null().to_pylist() == trial.values


def test_what_an_algorithm_of_stable_baselines_logs_is_stored_once(app, only_run, calls_of):
    pytest.importorskip("stable_baselines3")
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import KVWriter, Logger

    from streamvis.integrations.stable_baselines3 import StreamvisCallback

    class Notes(KVWriter):
        calls = []

        def write(self, key_values, key_excluded, step=0):
            # What is excluded from TensorBoard is excluded here.
            kept = {name: cell for name, cell in key_values.items() if "tensorboard" not in (key_excluded.get(name) or ())}
            self.calls.append((step, kept))

        def close(self):
            pass

    model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, n_epochs=1, device="cpu")
    model.set_logger(Logger(None, [Notes()]))
    callback = StreamvisCallback(app)
    model.learn(192, callback=callback)
    model.learn(64, callback=callback, reset_num_timesteps=False)
    run = only_run()
    assert run.state == "finished" and run.config["algorithm"] == "PPO"
    rows = {}
    for step, metrics in Notes.calls:
        made = {}
        for name, cell in metrics.items():
            key, _, column = name.partition("/")
            made.setdefault(key, {})[column] = cell
        for key, row in made.items():
            rows.setdefault(key, []).append((key, step, row))
    assert len(rows["time"]) == 4
    assert calls_of(run) == [row for _, its in sorted(rows.items()) for row in its]


def test_results_of_xgboost_are_stored_once(app, only_run):
    xgboost = pytest.importorskip("xgboost")
    from streamvis.integrations.xgboost import StreamvisCallback

    x = np.random.default_rng(1).random((50, 3))
    data = xgboost.DMatrix(x, x[:, 0])
    result, params = {}, {"eta": 0.3, "eval_metric": ["rmse", "mae"]}
    evals = [(data, "train"), (data, "test")]
    xgboost.train(
        params, data, 6, evals=evals, evals_result=result, verbose_eval=False, callbacks=[StreamvisCallback(app, params)]
    )
    run = only_run()
    assert (run.state, run.config["eta"]) == ("finished", 0.3)
    for name in ("train", "test"):
        rows = run.rows(name).to_pydict()
        assert rows["step"] == list(range(6)) and {metric: rows[metric] for metric in result[name]} == result[name]


def test_results_of_lightgbm_are_stored_once(app, only_run):
    lightgbm = pytest.importorskip("lightgbm")
    from streamvis.integrations.lightgbm import StreamvisCallback

    x = np.random.default_rng(1).random((50, 3))
    data, result = lightgbm.Dataset(x, x[:, 0]), {}
    params = {"metric": ["l1", "l2"], "verbose": -1, "objective": "regression"}
    callbacks = [lightgbm.record_evaluation(result), StreamvisCallback(app)]
    lightgbm.train(params, data, 6, valid_sets=[data], valid_names=["valid"], callbacks=callbacks)
    run = only_run()
    assert run.state == "finished" and run.config["objective"] == "regression"
    rows = run.rows("valid").to_pydict()
    assert rows["step"] == list(range(6)) and {metric: rows[metric] for metric in result["valid"]} == result["valid"]


def test_messages_of_loguru_are_rows(app, only_run, reader):
    loguru = pytest.importorskip("loguru")
    from streamvis.integrations.logging import StreamvisSink

    with Client(reader.url, app) as client:
        client.init()
        sink = loguru.logger.add(StreamvisSink(client=client), format="{level} {message}")
        loguru.logger.info("first {}", "line")
        loguru.logger.warning("second")
        loguru.logger.remove(sink)
    assert only_run().rows("log").select(["step", "text"]).to_pydict() == {
        "step": [0, 1],
        "text": ["INFO first line", "WARNING second"],
    }


def begin_ray(ray):
    """Ray gives its own processes 30 seconds to start, which are not enough on a busy machine: then once more."""
    for left in (1, 0):
        try:
            ray.init(num_cpus=2, include_dashboard=False, object_store_memory=2**27, log_to_driver=False, logging_level="ERROR")
            return
        except Exception as error:  # Ray raises no kind of its own
            if not left or "timed out" not in str(error):
                raise
            ray.shutdown()


def test_each_trial_of_a_tuner_is_a_run(app, reader, tmp_path):
    ray = pytest.importorskip("ray")
    from ray import tune

    from streamvis.integrations.ray import StreamvisCallback

    def train(config):
        failed_before = pathlib.Path(config["notes"], str(config["x"]))
        for i in range(4):
            tune.report({"loss": config["x"] * i, "train/acc": i / 2, "nested": {"a": {"b": i}}})
            if i == 1 and config["x"] == 2 and not failed_before.exists():
                failed_before.touch()
                raise ZeroDivisionError
            if i == 2 and config["x"] == 3:
                raise ZeroDivisionError

    callback = StreamvisCallback(app)
    begin_ray(ray)
    try:
        space = {"x": tune.grid_search([1, 2, 3]), "notes": str(tmp_path)}
        failures = tune.FailureConfig(max_failures=1)
        settings = tune.RunConfig(storage_path=str(tmp_path), verbose=0, callbacks=[callback], failure_config=failures)
        results = tune.Tuner(train, param_space=space, run_config=settings).fit()
    finally:
        ray.shutdown()
    runs = ended_runs(reader, app, "x", 3)
    assert {x: run.state for x, run in runs.items()} == {1: "finished", 2: "finished", 3: "failed"}
    logged = {1: [0, 1, 2, 3], 2: [0, 1, 0, 1, 2, 3], 3: [0, 1, 2] * 2}
    for result in results:
        run, numbers = runs[result.config["x"]], logged[result.config["x"]]
        rows = run.rows("metrics").to_pydict()
        assert rows["loss"] == [result.config["x"] * i for i in numbers] and run.config["trial_id"] == result.metrics["trial_id"]
        assert run.rows("train")["acc"].to_pylist() == [i / 2 for i in numbers]
        assert run.rows("nested")["a/b"].to_pylist() == numbers
        # What Ray itself wrote down of the trial, the last time that it was started.
        told = result.metrics_dataframe
        last = len(rows["step"]) - len(told)
        assert rows["step"][last:] == told["training_iteration"].to_list()
        assert rows["time_total_s"][last:] == told["time_total_s"].to_list()


def test_a_real_database_of_mlflow_is_imported(app, reader, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    from click.testing import CliRunner

    from streamvis.cli import cli

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = client.create_run(client.create_experiment("an experiment"), run_name="first").info.run_id
    client.log_param(run, "lr", 0.1)
    for step in range(20):
        client.log_metric(
            run, "train/loss", step / 3 if step != 5 else float("nan"), step=step, timestamp=1_700_000_000_000 + step
        )
    told = CliRunner().invoke(cli, ["import", str(tmp_path / "mlflow.db"), "--app", app, "--url", reader.url])
    assert told.exit_code == 0, told.output
    (stored,) = reader.runs(app)
    rows = stored.rows("train").to_pydict()
    assert stored.name == "first" and stored.config == {"lr": "0.1"}
    assert rows["step"] == list(range(20)) and rows["time"] == [1_700_000_000 + step / 1000 for step in range(20)]
    np.testing.assert_array_equal(rows["loss"], [step / 3 if step != 5 else np.nan for step in range(20)])
