import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mien.evaluation.intervals import (
    Interval,
    bootstrap,
    interval,
    photo_clusters,
    resampled_sums,
)
from mien.evaluation.measures import MEASURES, face_sums, measure, measures
from mien.runtime.session import softmax
from tests.evaluation.drawing import calibrated, drawn, index_of

logits_of_faces = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 6)),
        arrays(np.float64, (n, 7), elements=st.floats(-30, 30)),
        st.integers(2, 20),
    )
)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(logits_of_faces, st.integers(0, 5))
def test_intervals_are_ordered_and_inside_the_measures_range(drawn_faces, seed):
    labels, logits, bins = drawn_faces
    found = bootstrap(labels, softmax(logits), np.arange(len(labels)) // 2, n=100, seed=seed, bins=bins)
    for name, one in found.overall.items():
        if one.known:
            assert one.low <= one.high
            assert one.low >= 0
            assert name in ("nll", "brier") or one.high <= 1 + 1e-12
        else:
            assert len(labels) <= 2


def test_resampling_is_the_plain_one_done_row_by_row():
    """A resample's measures are those of the resampled faces themselves."""
    labels, logits = drawn(30)
    clusters = np.arange(30) // 3
    probabilities = softmax(logits)
    found = measures(resampled_sums(face_sums(labels, probabilities, 15), clusters, 5, seed=7), 15)
    draws = np.random.default_rng(7).integers(0, 10, (5, 10))
    for k, photos in enumerate(draws, start=1):
        rows = np.concatenate([np.flatnonzero(clusters == photo) for photo in photos])
        expected = measure(labels[rows], probabilities[rows])
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value, abs=1e-9), name


def test_the_block_size_does_not_change_the_resamples(monkeypatch):
    sums = np.random.default_rng(0).normal(size=(50, 4))
    whole = resampled_sums(sums, np.arange(50), 20, seed=3)
    monkeypatch.setattr("mien.evaluation.intervals._BLOCK", 150)
    assert resampled_sums(sums, np.arange(50), 20, seed=3) == pytest.approx(whole)


def test_about_95_of_100_intervals_hold_the_truth():
    """Photos of 1 to 3 faces that share their difficulty; the truth is the expected accuracy, 0.6."""
    generator = np.random.default_rng(0)
    held, trials = 0, 300
    for trial in range(trials):
        ease = generator.beta(1.2, 0.8, 150)  # mean 0.6
        clusters = np.repeat(np.arange(150), generator.integers(1, 4, 150))
        right = generator.uniform(size=len(clusters)) < ease[clusters]
        probabilities = np.eye(7)[np.where(right, 0, 1)]
        accuracy = bootstrap(np.zeros(len(clusters)), probabilities, clusters, n=400, seed=trial).overall["accuracy"]
        held += accuracy.low <= 0.6 <= accuracy.high
    assert 0.91 <= held / trials <= 0.98


def test_correlated_faces_of_a_photo_widen_the_interval():
    generator = np.random.default_rng(1)
    right = np.repeat(generator.uniform(size=100) < 0.6, 4)  # all four faces of a photo right, or none
    probabilities = np.eye(7)[np.where(right, 0, 1)]
    clustered = bootstrap(np.zeros(400), probabilities, np.arange(400) // 4).overall["accuracy"]
    by_row = bootstrap(np.zeros(400), probabilities, np.arange(400)).overall["accuracy"]
    assert clustered.high - clustered.low > 1.7 * (by_row.high - by_row.low)


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others(labels_and_logits):
    labels, logits = labels_and_logits
    run = [bootstrap(labels, softmax(logits), np.arange(400), n=200, seed=s).overall for s in (1, 1, 2)]
    assert run[0] == run[1] != run[2]


def test_the_order_of_faces_and_the_names_of_photos_do_not_matter(labels_and_logits):
    labels, logits = labels_and_logits
    clusters = np.arange(400) // 2
    order = np.random.default_rng(0).permutation(400)
    a = bootstrap(labels, softmax(logits), clusters, n=200).overall
    b = bootstrap(labels[order], softmax(logits)[order], clusters[order] + 1000, n=200).overall
    for name in MEASURES:
        assert (a[name].low, a[name].high) == pytest.approx((b[name].low, b[name].high))


def test_one_photo_allows_no_interval():
    found = bootstrap([0, 1, 2], np.eye(7)[[0, 1, 1]], np.zeros(3)).overall["accuracy"]
    assert found.value == pytest.approx(2 / 3)
    assert not found.known


def test_the_interval_of_a_small_calibration_error_holds_it():
    """Plain percentiles of an absolute value can lie altogether above it, as they do here."""
    labels, logits = calibrated(300, seed=4)
    sums = resampled_sums(face_sums(labels, softmax(logits), 15), np.arange(300), 1000, seed=42)
    plain = measures(sums, 15)["ece"][1:]
    found = bootstrap(labels, softmax(logits), np.arange(300)).overall["ece"]
    assert np.quantile(plain, 0.025) > found.value
    assert 0 <= found.low < found.value < found.high


def test_a_class_that_only_some_resamples_hold_is_measured_on_those():
    labels = np.array([0] * 20 + [1])
    found = bootstrap(labels, np.eye(7)[labels], np.arange(21), n=200).per_class
    assert found["disgust"]["recall"].value == found["disgust"]["recall"].low == 1
    assert np.isnan(found["fear"]["recall"].value)
    assert not found["fear"]["recall"].known


def test_interval_leaves_out_samples_without_the_measure():
    assert interval(np.array([0.5, np.nan, 0.4, 0.6])).low == pytest.approx(0.405)


def test_every_face_needs_a_photo():
    with pytest.raises(ValueError, match="3 faces and 2 clusters"):
        resampled_sums(np.zeros((3, 1)), np.zeros(2), 1, seed=0)


def test_one_photo_under_two_names_is_one_cluster():
    index = index_of(np.zeros(4), per_photo=1).assign(photo_digest=["a", "b", "a", "c"])
    assert photo_clusters(index).tolist() == [0, 1, 0, 2]


def test_a_model_does_not_differ_from_itself(labels_and_logits):
    labels, logits = labels_and_logits
    found = bootstrap(labels, softmax(logits), np.arange(400), baseline=softmax(logits), n=200).overall
    assert tuple(found) == MEASURES
    assert all((one.value, one.low, one.high) == (0, 0, 0) for one in found.values())


def test_the_difference_is_b_minus_a_and_swapping_turns_it_round(labels_and_logits):
    labels, logits = labels_and_logits
    better = logits + np.eye(7)[labels]
    there = bootstrap(labels, softmax(better), np.arange(400), baseline=softmax(logits), n=300).overall
    back = bootstrap(labels, softmax(logits), np.arange(400), baseline=softmax(better), n=300).overall
    a, b = measure(labels, softmax(logits)), measure(labels, softmax(better))
    for name in MEASURES:
        assert there[name].value == pytest.approx(b[name] - a[name])
        assert (back[name].low, back[name].high) == pytest.approx((-there[name].high, -there[name].low))
    assert there["accuracy"].low > 0
    assert there["nll"].high < 0


def test_pairing_sees_a_small_difference_that_separate_intervals_do_not():
    """Two models that agree on nearly all faces: their difference is known far better than either."""
    labels, logits = drawn(1000)
    better = logits.copy()
    mended = np.flatnonzero(logits.argmax(axis=1) != labels)[:25]
    better[mended, labels[mended]] += 20
    found = bootstrap(labels, softmax(better), np.arange(1000), baseline=softmax(logits), n=1000).overall["accuracy"]
    assert found.value == pytest.approx(0.025)
    assert 0.01 < found.low < found.high < 0.04


def test_a_lower_level_is_narrower(labels_and_logits):
    labels, logits = labels_and_logits
    wide, narrow = (
        bootstrap(labels, softmax(2 * logits), np.arange(400), baseline=softmax(logits), n=300, level=level).overall[
            "nll"
        ]
        for level in (0.95, 0.8)
    )
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_one_photo_decides_nothing():
    labels, logits = drawn(5)
    found = bootstrap(labels, softmax(2 * logits), np.zeros(5), baseline=softmax(logits)).overall
    assert not any(one.known for one in found.values())


def test_recalls_are_paired_and_average_to_the_unweighted_average_recall(labels_and_logits):
    labels, logits = labels_and_logits
    found = bootstrap(labels, softmax(logits + np.eye(7)[labels]), np.arange(400), baseline=softmax(logits), n=200)
    mean = np.mean([scores["recall"].value for scores in found.per_class.values()])
    assert mean == pytest.approx(found.overall["unweighted_average_recall"].value)


def test_an_interval_in_words_and_in_json():
    one = Interval(0.8184, 0.7579, 0.8741)
    assert (one.text(), one.percent()) == ("0.818 (0.758 to 0.874)", "81.8 % (75.8 to 87.4)")
    assert Interval(0.012, -0.004, 0.028).points() == "+1.2 points (-0.4 to +2.8)"
    assert Interval.from_json(one.json()) == one
    alone, nothing = Interval(0.5), Interval(float("nan"))
    assert (alone.text(), alone.percent(), alone.ends()) == ("0.500", "50.0 %", "no interval")
    assert alone.json() == {"value": 0.5, "low": None, "high": None}
    assert nothing.text() == nothing.percent() == "unknown"
    assert not Interval.from_json(nothing.json()).known
