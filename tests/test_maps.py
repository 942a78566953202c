"""What the maps are: exactness, blanks, peaks and witnesses, against planted truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from clearhead.audits.maps import add_up, called_peaks, deviation, deviation_pooled, maps
from clearhead.audits.section import Section
from clearhead.audits.subject import Subject
from clearhead.model.classifier import Classifier
from clearhead.model.nets import EvidenceNet
from clearhead.types import Finding
from subjects import LookingNet, explained, looking, planted_subject


def finding(section: Section, check: str) -> Finding:
    return next(each for each in section.findings if each.check == check)


class Squared(LookingNet):
    """A net whose head is not linear in its maps."""

    def head(self, maps: Tensor) -> Tensor:
        return super().head(maps + 20 * maps.square())


def squared() -> Subject:
    weights = looking("everything").net.weights  # type: ignore[attr-defined]  # of LookingNet
    return planted_subject(classifier=Classifier(Squared(weights.numpy())).eval())


def test_maps_of_a_pooled_linear_head_add_up() -> None:
    subject = planted_subject(looks_at="everything")
    found = finding(maps(subject), "maps.exact")
    assert found.value is not None
    assert found.value < 1e-6
    assert "exactly" in found.message
    assert add_up(subject)


def test_the_deviation_is_the_largest_departure_from_the_bias() -> None:
    subject = planted_subject(looks_at="everything")
    logits = subject.logits.copy()
    logits[7, 1] += 0.5
    torn = dataclasses.replace(subject, logits=logits)
    assert deviation(torn) == pytest.approx(0.5 / np.abs(logits).max(), rel=1e-4)
    assert not add_up(torn)


def test_maps_of_another_head_do_not_add_up() -> None:
    subject = squared()
    found = finding(maps(subject), "maps.exact")
    assert not add_up(subject)
    assert "don't add up" in found.message
    assert found.level == "info"


@pytest.mark.parametrize(
    ("pooling", "how"),
    [("exponential", "log-mean-exp"), ("highest", "mean of the highest hundredth")],
)
@pytest.mark.parametrize("positive", [0, 1])
def test_a_score_that_is_read_off_the_map_is_told(positive: int, pooling: str, how: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        net = EvidenceNet(2, absent=1 - positive, size_px=48, pooling=pooling)
    subject = planted_subject(classifier=Classifier(net).eval())
    subject = dataclasses.replace(subject, positive=positive)
    name = subject.classes[positive]
    found = finding(maps(subject), "maps.exact")
    assert f"the {how} of the map of {name} is its score exactly" in found.message
    assert found.value is not None
    assert found.value < 1e-5
    logits = subject.logits.copy()
    logits[3] += (0.2, -0.2)
    torn = dataclasses.replace(subject, logits=logits)
    assert deviation_pooled(torn, how) == pytest.approx(0.4 / (2 * np.abs(logits).max()), rel=1e-3)
    assert "don't add up" in finding(maps(torn), "maps.exact").message


def test_margins_add_up_to_margins() -> None:
    subject = planted_subject(looks_at="everything")
    margin = subject.evidence - subject.evidence[:, ::-1]
    told = dataclasses.replace(subject, evidence=margin, unit="logit margin")
    assert add_up(told)
    assert not add_up(dataclasses.replace(told, unit="logit"))


def test_what_is_not_counted_in_the_score_is_not_compared_with_it() -> None:
    subject = dataclasses.replace(planted_subject(), unit="activation")
    assert deviation(subject) is None
    assert "rank places" in finding(maps(subject), "maps.exact").message
    assert "too few" in finding(maps(planted_subject(count=2)), "maps.exact").message


def test_blanks_are_counted_by_class_and_call() -> None:
    subject = planted_subject(looks_at="tumour", odd=0)
    assert finding(maps(subject), "maps.blank").value == 0
    emptied = subject.evidence.copy()
    rows = np.flatnonzero(subject.calls == 0)[:7]
    emptied[rows, 0] = -1.0
    emptied[rows[0], 0, 3, 3] = 0.0  # no evidence is 0 or less
    emptied[30, 1 - subject.calls[30]] = -1.0  # of the other class: doesn't count
    section = maps(dataclasses.replace(subject, evidence=emptied))
    found = finding(section, "maps.blank")
    assert "7 of 20 tumour called right" in found.message
    table = {row[0]: row[2] for row in section.tables[0].rows}
    assert table == {"tumour called right": 7, "healthy called right": 0, "every picture": 7}


def test_many_blanks_are_a_warning() -> None:
    subject = planted_subject(odd=0)
    emptied = subject.evidence.copy()
    emptied[:24] = -1.0
    found = finding(maps(dataclasses.replace(subject, evidence=emptied)), "maps.blank")
    assert found.level == "warn"
    assert found.value == pytest.approx(0.6)
    assert found.interval is not None
    few = subject.evidence.copy()
    few[0] = -1.0
    assert finding(maps(dataclasses.replace(subject, evidence=few)), "maps.blank").level == "info"


def test_peaks_are_the_highest_evidence_for_the_call() -> None:
    subject = planted_subject()
    literal = [subject.evidence[row, call].max() for row, call in enumerate(subject.calls)]
    assert called_peaks(subject) == pytest.approx(literal)
    row = maps(subject).tables[0].rows[-1]
    assert float(str(row[3])) == pytest.approx(np.median(np.maximum(literal, 0)), rel=0.01)


def test_coinciding_methods_are_one_witness() -> None:
    found = finding(maps(planted_subject(looks_at="everything")), "maps.one-witness")
    # No weight of this head is negative, so that LayerCAM is Grad-CAM as well.
    assert "grad_cam, hires_cam, xgrad_cam and layer_cam" in found.message
    assert found.value == 4
    other = finding(maps(squared()), "maps.one-witness")
    assert "grad_cam, hires_cam" not in other.message


def test_the_classifier_is_left_as_it_was() -> None:
    subject = planted_subject()
    before = {name: value.clone() for name, value in subject.classifier.state_dict().items()}
    maps(subject)
    assert all(
        torch.equal(before[name], value) for name, value in subject.classifier.state_dict().items()
    )
    assert np.array_equal(explained(subject.classifier, subject.squares, 2)[1], subject.logits)
