"""What an experiment with correlated Gaussians is made of, without torch."""

from typing import Annotated

from pydantic import Field, model_validator

from harness.workloads.mine.spec import (
    Count,
    StrictFloat,
    TrainingParameters,
    metrics,
    require_a_batch,
)

Correlation = Annotated[StrictFloat, Field(gt=-1, lt=1)]


class GaussianParameters(TrainingParameters):
    """a and b standard normal in d dimensions, their i-th components correlated by rho, and no
    others."""

    dimensions: Count
    """d, of a and of b."""
    correlation: Correlation
    """rho."""
    pairs: Count
    """Drawn for an epoch of training."""
    test_pairs: Count
    hidden: Count
    """Units in each of the critic's two hidden layers."""

    @model_validator(mode="after")
    def _fills_a_batch(self) -> "GaussianParameters":
        require_a_batch(self.batch_size, pairs=self.pairs, test_pairs=self.test_pairs)
        return self


METRICS = metrics(
    truth="The mutual information in closed form; what the estimate should reach",
    test_truth="The same value: it does not depend on the draw",
)
