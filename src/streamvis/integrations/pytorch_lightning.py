"""`StreamvisLogger` for `pytorch_lightning`: `Trainer(logger=StreamvisLogger("my app"))`."""

from pytorch_lightning.loggers.logger import Logger, rank_zero_experiment

from streamvis.integrations.lightning_logger import LoggerMethods

__all__ = ["StreamvisLogger"]


class StreamvisLogger(LoggerMethods, Logger):
    __doc__ = LoggerMethods.__doc__

    experiment = property(rank_zero_experiment(LoggerMethods.experiment_of_rank_zero))
