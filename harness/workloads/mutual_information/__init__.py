"""Fleuret's mutual-information estimator (2019): three experiments of one method.

Importing this package loads neither torch nor data. `start` and `load_data` do.
"""

from harness.workload import Workload
from harness.workloads.mutual_information.parameters import (
    ImagePairParameters,
    ImageValuesPairParameters,
    SequencePairParameters,
)
from harness.workloads.mutual_information.workload import IMAGE_FAULTS, MutualInformation

__all__ = ["image_pair", "image_values_pair", "sequence_pair"]

image_pair: Workload = MutualInformation(
    name="mine_image_pair", parameters=ImagePairParameters, faults=IMAGE_FAULTS
)
image_values_pair: Workload = MutualInformation(
    name="mine_image_values_pair", parameters=ImageValuesPairParameters, faults=IMAGE_FAULTS
)
sequence_pair: Workload = MutualInformation(
    name="mine_sequence_pair", parameters=SequencePairParameters
)
