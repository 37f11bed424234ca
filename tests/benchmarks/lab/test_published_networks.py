"""The networks of published latency have as many parameters as their authors say."""

from __future__ import annotations

import pytest

pytest.importorskip("tensorflow")

from dermedge.benchmarks.lab.published_networks import build_published


# The numbers of parameters are from the model cards of torchvision. They do not count the statistics of batch norms.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("resnet-18", 11_689_512),
        ("squeezenet-1.0", 1_248_424),
        ("shufflenet-v2", 2_278_604),
    ],
)
def test_a_network_has_the_parameters_of_the_published_one(name: str, parameters: int) -> None:
    model = build_published(name)
    found = sum(int(weight.shape.num_elements()) for weight in model.trainable_weights)
    assert found == parameters
