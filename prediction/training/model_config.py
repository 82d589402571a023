"""The configuration of a model. It stands in config.json of every trained model and is checked on a re-run."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything about a model that changes its numbers, except the data."""
    head: str                    # "regression": linear, MSE. "classification": ReLU, binary cross-entropy
    pooling: str                 # "tiles" or "mean", see pooling.py
    max_epochs: int
    patience: int                # epochs without a strictly better validation score
    hidden: int = 512
    dropout: float = 0.2
    learning_rate: float = 1e-4
    batch_size: int = 32         # slides
    seed: int = 42               # of the initial weights, the order of slides and the dropout
    keep: str = "best"           # epoch whose weights are kept: "best" or "last"
    standardise: bool = False    # features, by the mean and sd of the means of the training slides

    def record(self):
        """Dict for config.json; without `standardise` where it is not used, as before there was such an option."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "standardise" or value}
