"""The laws of training, by numbers computed by hand: loss, targets, learning rate, averages, chance and plan."""

import math

import numpy as np
import pytest

pytest.importorskip("tf_keras")

import tensorflow as tf
import tf_keras as keras

from dermedge.train.fit.batches import mix, predict_logits, smooth_labels, teacher_targets
from dermedge.train.fit.loss import adjusted_loss
from dermedge.train.fit.plan import Plan, plan_training
from dermedge.train.fit.schedule import WarmupCosine
from dermedge.train.fit.training import chance_bound
from dermedge.train.fit.weight_average import WeightAverage


def loss_of(shares: list[float], targets: list[float], logits: list[float]) -> float:
    loss = adjusted_loss(np.array(shares, np.float32))
    return float(loss(tf.constant([targets]), tf.constant([logits]))[0])


def test_the_loss_adds_the_logarithm_of_the_shares_to_the_logits() -> None:
    # With equal logits, the adjusted probabilities are the shares themselves.
    assert loss_of([0.9, 0.1], [1.0, 0.0], [0.0, 0.0]) == pytest.approx(-math.log(0.9), rel=1e-5)
    assert loss_of([0.9, 0.1], [0.0, 1.0], [0.0, 0.0]) == pytest.approx(-math.log(0.1), rel=1e-5)
    # With logits of ln 3 and 0, the adjusted probabilities are in the ratio of 3 * 0.9 to 0.1.
    assert loss_of([0.9, 0.1], [1.0, 0.0], [math.log(3), 0.0]) == pytest.approx(math.log(2.8 / 2.7), rel=1e-4)


def test_a_rare_class_must_have_the_larger_logit_for_the_same_loss() -> None:
    assert loss_of([0.9, 0.1], [0.0, 1.0], [0.0, math.log(9)]) == pytest.approx(math.log(2), rel=1e-5)


def test_with_equal_shares_the_loss_is_plain_cross_entropy_and_takes_soft_targets() -> None:
    # The logits mean probabilities of 0.75 and 0.25.
    expected = -(0.6 * math.log(0.75) + 0.4 * math.log(0.25))
    assert loss_of([0.5, 0.5], [0.6, 0.4], [math.log(3), 0.0]) == pytest.approx(expected, rel=1e-5)


def test_smoothing_spreads_a_part_over_all_classes() -> None:
    smoothed = smooth_labels(np.array([2, 0]), 4, 0.2)
    assert smoothed == pytest.approx(np.array([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]]))
    assert np.array_equal(smooth_labels(np.array([1]), 2, 0.0), [[0, 1]])


def test_a_blend_has_its_share_of_the_own_row_and_the_rest_of_the_other() -> None:
    values = np.array([[0.0, 1.0], [10.0, 3.0], [20.0, 5.0]], np.float32)
    blended = mix(values, np.array([2, 0, 1]), np.float32(0.75))
    assert blended.tolist() == [[5.0, 2.0], [7.5, 2.5], [17.5, 4.5]]


def test_the_answers_of_a_teacher_are_weighted_by_the_shares() -> None:
    answers = np.array([[0.5, 0.5], [0.2, 0.8]], np.float32)
    taught = teacher_targets(answers, np.array([0.75, 0.25], np.float32))
    assert taught == pytest.approx(np.array([[0.75, 0.25], [0.15 / 0.35, 0.2 / 0.35]]))


def test_the_learning_rate_rises_linearly_and_falls_as_half_a_cosine() -> None:
    rate = WarmupCosine(peak=0.8, steps=100, warmup=20)
    assert [float(rate(step)) for step in (0, 9, 19)] == pytest.approx([0.04, 0.4, 0.8])
    # The rate falls for 80 steps. After the first of these values, a quarter, half and all of the fall are over.
    assert [float(rate(step)) for step in (20, 40, 60, 100)] == pytest.approx(
        [0.8, 0.4 * (1 + math.sqrt(0.5)), 0.4, 0.0], abs=1e-6
    )
    assert float(rate(150)) == pytest.approx(0.0, abs=1e-6)


def test_a_short_stage_warms_up_for_a_quarter_of_it() -> None:
    rate = WarmupCosine(peak=1.0, steps=8, warmup=60)
    assert [float(rate(step)) for step in (0, 1)] == pytest.approx([0.5, 1.0])
    assert float(rate(5)) == pytest.approx(0.5)


def test_an_average_follows_the_weights_with_its_decay() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    weight = model.weights[0]
    weight.assign([[10.0]])
    average = WeightAverage(model, 0.5)
    for value in (20.0, 40.0):
        weight.assign([[value]])
        average.update()
    # The decays of the first two steps are 2/11 and 3/12, which are below 0.5.
    after_one = 10 * 2 / 11 + 20 * 9 / 11
    after_two = after_one * 3 / 12 + 40 * 9 / 12
    with average.applied():
        assert float(weight.numpy()[0, 0]) == pytest.approx(after_two, rel=1e-5)
    assert float(weight.numpy()[0, 0]) == 40.0


def test_after_the_warm_up_an_average_has_its_own_decay() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.weights[0].assign([[0.0]])
    average = WeightAverage(model, 0.5)
    for _ in range(20):
        average.update()
    for value, expected in ((8.0, 4.0), (8.0, 6.0), (0.0, 3.0)):
        model.weights[0].assign([[value]])
        average.update()
        with average.applied():
            assert float(model.weights[0].numpy()[0, 0]) == pytest.approx(expected)


def test_the_moving_statistics_of_batch_norms_are_averaged_too() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.BatchNormalization()])
    (norm,) = model.layers
    average = WeightAverage(model, 0.5)
    norm.moving_mean.assign([11.0])
    norm.gamma.assign([12.0])
    average.update()
    # The decay of the first step is 2/11. The averages begin at a mean of 0 and a gamma of 1.
    with average.applied():
        assert float(norm.moving_mean.numpy()[0]) == pytest.approx(9.0)
        assert float(norm.gamma.numpy()[0]) == pytest.approx(10.0)
    assert float(norm.moving_mean.numpy()[0]) == 11.0


def test_logits_come_in_the_order_of_the_images_and_from_normalized_pixels() -> None:
    class Mean:
        """A network whose logit is the mean of each image."""

        def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
            assert len(images) <= 64
            return images.mean(axis=(1, 2, 3))[:, None]

    pixels = np.arange(150, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    found = predict_logits(Mean(), pixels)  # type: ignore[arg-type]
    assert found[:, 0] == pytest.approx((np.arange(150) - 128) / 127.5)


def test_guessing_exceeds_the_bound_of_chance_in_one_of_twenty_sets() -> None:
    rng = np.random.default_rng(0)
    counts = [30, 12, 60]
    truth = np.repeat(np.arange(3), counts)
    bound = chance_bound(counts)
    scores = []
    for _ in range(4000):
        right = rng.integers(0, 3, len(truth)) == truth
        scores.append(np.mean([right[truth == label].mean() for label in range(3)]))
    assert 0.03 < np.mean(np.array(scores) > bound) < 0.07
    # Each of the two classes has 25 photos, so the bound is 0.5 + 1.645 * sqrt(2 * 0.25 / 25) / 2.
    assert chance_bound([25, 25]) == pytest.approx(0.5 + 1.645 * math.sqrt(0.02) / 2, abs=1e-4)
    assert chance_bound([1, 1]) == 1, "guessing can be right on both photos, and no score is higher"


@pytest.mark.parametrize(
    ("photos", "plan"),
    [
        # The shipped models had 18 epochs of 4,000 samples from 5,059 photos.
        (5_059, Plan(18, 4_000, 3e-4)),
        (40, Plan(10, 640, 3e-4)),
        (1_000, Plan(14, 1_000, 3e-4)),
        (16_000, Plan(50, 4_000, 3e-4)),
    ],
)
def test_the_plan_follows_the_size_of_the_set(photos: int, plan: Plan) -> None:
    assert plan_training(photos, pretrained=True) == plan


def test_what_is_given_stays_in_the_plan() -> None:
    assert plan_training(40, pretrained=False) == Plan(10, 640, 1e-3)
    assert plan_training(40, False, epochs=3) == Plan(3, 40, 1e-3)
    assert plan_training(1_000, True, photos_per_epoch=500) == Plan(28, 500, 3e-4)
    assert plan_training(1_000, True, 0, 7, 1e-2) == Plan(0, 7, 1e-2)
    # There is at least one epoch, even if it has more samples than the whole training would have.
    assert plan_training(100, True, photos_per_epoch=50_000) == Plan(1, 50_000, 3e-4)
    assert "10 epochs of 640 photos, in total 160 times the number of training photos (40)" in plan_training(
        40, True
    ).describe(40)
