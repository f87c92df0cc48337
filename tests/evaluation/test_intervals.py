import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binomtest

from benchmarks.coverage import SETTINGS, simulate, too_low
from mien.base.classes import EXPRESSIONS
from mien.evaluation.intervals import (
    OVERALL,
    TOO_FEW,
    Interval,
    bootstrap,
    cluster_sums,
    ece_if_calibrated,
    interval,
    proportion,
    resample,
)
from mien.evaluation.measures import measure
from mien.evaluation.scoring import slice_accuracy
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


def test_resampling_is_the_plain_one_done_row_by_row():
    """A resample's measures are those of the resampled faces themselves."""
    labels, logits = drawn(30)
    clusters = np.arange(30) // 3
    probabilities = softmax(logits)
    found = resample(labels, [probabilities], clusters, n=5, seed=7, bins=15)[0].values
    draws = np.random.default_rng(7).integers(0, 10, (5, 10))
    for k, photos in enumerate(draws, start=1):
        rows = np.concatenate([np.flatnonzero(clusters == photo) for photo in photos])
        expected = measure(labels[rows], probabilities[rows])
        for name, value in expected.items():
            assert found[name][k] == pytest.approx(value, abs=1e-9), name


def test_the_block_size_does_not_change_the_resamples(monkeypatch):
    labels, logits = drawn(50)
    whole = bootstrap(labels, softmax(logits), np.arange(50), n=20)
    monkeypatch.setattr("mien.evaluation.intervals._BLOCK", 150)
    assert bootstrap(labels, softmax(logits), np.arange(50), n=20).overall["nll"].json() == whole.overall["nll"].json()


@pytest.mark.slow
def test_every_printed_interval_holds_the_truth():
    """The smallest cell of the table in docs/evidence/coverage.md."""
    cells = simulate(181, 300, settings=(SETTINGS[0], SETTINGS[-1]))
    printed = cells[0].printed.keys()
    assert {"accuracy", "macro_f1", "nll", "calibration_error", "class recall, fewer than 60 faces"} <= printed
    assert "ece" not in printed
    assert too_low(cells) == {}
    means = {name: total / 300 for name, total in cells[0].sums.items()}
    assert means["ece"] == pytest.approx(means["ece_if_calibrated"], abs=0.01)  # and the truth is 0
    assert means["blocked"] <= 5


def test_shares_of_independent_faces_have_wilsons_interval():
    for right in (1, 560, 799):
        found = proportion((np.arange(800) < right).astype(float), np.ones(800))
        expected = binomtest(right, 800).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=5e-4)


def test_an_interval_keeps_its_width_where_all_are_right_and_copies_do_not_narrow_it():
    all_right = proportion(np.ones(30), np.ones(30))
    assert (all_right.value, all_right.high) == (1, 1)
    assert 0.85 < all_right.low < 1 - 3 / 30
    for faces in range(20, 120):
        assert proportion(np.ones(faces), np.ones(faces)).high == 1
        assert proportion(np.zeros(faces), np.ones(faces)).low == 0
    for right in (30, 20):
        hits = (np.arange(30) < right).astype(float)
        once, copied = proportion(hits, np.ones(30)), proportion(5 * hits, np.full(30, 5.0))
        assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=0.01)
    labels = np.repeat(np.arange(7), 30)
    found = bootstrap(labels, np.eye(7)[labels], np.arange(210), classes=EXPRESSIONS)
    shares = [found.overall["accuracy"], *(one for scores in found.per_class.values() for one in scores.values())]
    assert all(one.low < one.high == 1 for one in shares)


def test_a_change_keeps_its_width_where_two_models_agree_on_few_faces():
    labels = np.repeat(np.arange(7), 20)
    same, other = np.eye(7)[labels], np.eye(7)[np.where(np.arange(140) == 0, 1, labels)]
    found = bootstrap(labels, same, np.arange(140), baseline=other, classes=EXPRESSIONS, n=200).per_class
    for name, lost in (("angry", 1 / 20), ("sad", 0)):
        recall = found[name]["recall"]
        assert recall.value == pytest.approx(lost)
        assert -0.2 < recall.low < 0 < 2 / 20 < recall.high < 0.3
    many = np.tile(np.arange(140), 5)
    copies = bootstrap(labels[many], same[many], many, baseline=other[many], classes=EXPRESSIONS, n=200).per_class
    assert copies["sad"]["recall"].high - copies["sad"]["recall"].low > 0.02


def test_a_class_has_one_recall_as_measure_and_as_slice():
    labels, logits = drawn(300)
    index = index_of(labels)
    found = bootstrap(labels, softmax(logits), index["group"].to_numpy(), classes=EXPRESSIONS, n=100).per_class
    slices = slice_accuracy(index, logits.argmax(axis=1), EXPRESSIONS).slices
    by_slice = {one.name: one.accuracy for one in slices if one.group == "class"}
    assert by_slice == {name: scores["recall"] for name, scores in found.items()}


def test_the_order_of_faces_and_the_names_of_photos_do_not_matter(labels_and_logits):
    labels, logits = labels_and_logits
    clusters = np.arange(400) // 2
    order = np.random.default_rng(0).permutation(400)
    a = bootstrap(labels, softmax(logits), clusters, n=200).overall
    b = bootstrap(labels[order], softmax(logits)[order], clusters[order] + 1000, n=200).overall
    for name in OVERALL:
        assert (a[name].low, a[name].high) == pytest.approx((b[name].low, b[name].high), nan_ok=True)


def test_one_photo_allows_no_interval():
    found = bootstrap([0, 1, 2], np.eye(7)[[0, 1, 1]], np.zeros(3)).overall["accuracy"]
    assert found.value == pytest.approx(2 / 3)
    assert not found.known
    labels, logits = drawn(5)
    change = bootstrap(labels, softmax(2 * logits), np.zeros(5), baseline=softmax(logits)).overall
    assert not any(one.known for one in change.values())


def test_chance_adds_little_to_the_debiased_calibration_error():
    """Over many small test sets, of a calibrated model and of one whose logits are too sharp; 0.138 is the truth."""
    for sharper, least, most in ((1, 0, 0.04), (1.6, 0.12, 0.14)):
        sets = [calibrated(150, seed=seed) for seed in range(300)]
        found = [bootstrap(labels, softmax(sharper * logits), np.arange(150), n=0).overall for labels, logits in sets]
        means = {name: np.mean([one[name].value for one in found]) for name in OVERALL}
        assert least <= means["calibration_error"] < most
        assert means["ece_if_calibrated"] > 0.08
        assert means["ece"] > most


def test_copies_of_a_face_do_not_pass_for_calibration_error():
    labels, logits = calibrated(100, seed=3)
    many = np.repeat(np.arange(100), 5)
    together = bootstrap(labels[many], softmax(logits)[many], many, n=0).overall["calibration_error"].value
    apart = bootstrap(labels[many], softmax(logits)[many], np.arange(500), n=0).overall["calibration_error"].value
    once = bootstrap(labels, softmax(logits), np.arange(100), n=0).overall["calibration_error"].value
    assert together == pytest.approx(once)
    assert apart > once + 0.03


def test_the_ece_of_a_calibrated_model_is_that_of_drawn_labels_and_has_no_interval():
    labels, logits = calibrated(200, seed=1)
    probabilities = softmax(logits)
    found = bootstrap(labels, probabilities, np.arange(200)).overall
    assert found["ece"].value == pytest.approx(measure(labels, probabilities)["ece"])
    assert found["calibration_error"].known and not found["ece"].known
    readings = []
    for seed in range(200):
        above = probabilities.cumsum(axis=1) > np.random.default_rng(seed).uniform(size=(200, 1))
        readings.append(measure(above.argmax(axis=1), probabilities)["ece"])
    assert ece_if_calibrated(probabilities, 15, seed=0) == pytest.approx(np.mean(readings), abs=0.004)


def test_a_class_of_few_faces_has_no_interval_and_widens_the_averages():
    labels = np.array([0] * 60 + [1] * (TOO_FEW - 1) + [2] * TOO_FEW)
    probabilities = np.eye(7)[np.where(np.arange(len(labels)) % 4, labels, 0)]
    found = bootstrap(labels, probabilities, np.arange(len(labels)), classes=EXPRESSIONS)
    assert found.per_class["angry"]["recall"].known
    assert found.per_class["disgust"]["recall"].value > 0.5
    assert not found.per_class["disgust"]["recall"].known
    assert found.per_class["fear"]["recall"].known
    assert not found.per_class["fear"]["precision"].known  # 15 answers
    assert not found.per_class["sad"]["recall"].known
    few, many = (interval(np.linspace(0, 1, 1001), groups) for groups in (TOO_FEW - 1, 10_000))
    assert few.low < many.low
    average = resample(labels, [probabilities], np.arange(99), n=1000, seed=42, bins=15)[0].values["macro_recall"]
    assert found.overall["unweighted_average_recall"] == interval(average, TOO_FEW - 1)


def test_interval_leaves_out_samples_without_the_measure():
    assert interval(np.array([0.5, np.nan, 0.4, 0.6]), 10**6).low == pytest.approx(0.405, abs=1e-4)


def test_every_face_needs_a_group():
    with pytest.raises(ValueError, match="3 faces and 2 clusters"):
        cluster_sums(np.zeros((3, 1)), np.zeros(2))


def test_a_model_does_not_differ_from_itself(labels_and_logits):
    labels, logits = labels_and_logits
    found = bootstrap(labels, softmax(logits), np.arange(400), baseline=softmax(logits), n=200).overall
    assert tuple(found) == OVERALL
    assert all(one.value == 0 for one in found.values())
    assert all((one.low, one.high) == (0, 0) for name, one in found.items() if one.known and name != "accuracy")
    assert -0.02 < found["accuracy"].low < 0 < found["accuracy"].high < 0.02


def test_the_difference_is_b_minus_a_and_swapping_turns_it_round(labels_and_logits):
    labels, logits = labels_and_logits
    better = logits + np.eye(7)[labels]
    there = bootstrap(labels, softmax(better), np.arange(400), baseline=softmax(logits), n=300).overall
    back = bootstrap(labels, softmax(logits), np.arange(400), baseline=softmax(better), n=300).overall
    a, b = measure(labels, softmax(logits)), measure(labels, softmax(better))
    for name, value in b.items():
        assert there[name].value == pytest.approx(value - a[name])
    for name in OVERALL:
        assert (back[name].low, back[name].high) == pytest.approx((-there[name].high, -there[name].low), nan_ok=True)
    assert there["accuracy"].low > 0
    assert there["nll"].high < 0


def test_a_lower_level_is_narrower(labels_and_logits):
    labels, logits = labels_and_logits
    how = {"baseline": softmax(logits), "n": 300}
    found = [bootstrap(labels, softmax(2 * logits), np.arange(400), level=level, **how) for level in (0.95, 0.8)]
    wide, narrow = (one.overall["nll"] for one in found)
    assert wide.low < narrow.low < narrow.value < narrow.high < wide.high


def test_an_interval_in_words_and_in_json():
    one = Interval(0.8184, 0.7579, 0.8741)
    assert (one.text(), one.percent()) == ("0.818 (0.758 to 0.874)", "81.8 % (75.8 to 87.4)")
    assert Interval.from_json(one.json()) == one
    alone, nothing = Interval(0.5), Interval(float("nan"))
    assert (alone.text(), alone.percent(), alone.ends()) == ("0.500", "50.0 %", "no interval")
    assert alone.json() == {"value": 0.5, "low": None, "high": None}
    assert nothing.text() == nothing.percent() == "unknown"
    assert not Interval.from_json(nothing.json()).known
