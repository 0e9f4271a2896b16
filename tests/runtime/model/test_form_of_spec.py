"""The form in a spec: 28×28 ink is not named; every other form is, and older releases refuse it."""

import json
from dataclasses import replace

import pytest

from runtime.errors import ArtifactError
from runtime.model import artifact
from runtime.model.default_model import find_model
from runtime.model.spec import ModelSpec

pytestmark = pytest.mark.portable


def test_spec_of_28x28_ink_is_written_as_before():
    record = json.loads(artifact.read(find_model()).spec.to_json())
    assert record["schema_version"] == 1
    assert "form" not in record


@pytest.mark.parametrize(("form", "shape"), [("photo", (32, 20, 3)), ("ink", (40, 40, 1))])
def test_spec_of_another_form_is_refused_by_older_releases(form, shape):
    spec = replace(artifact.read(find_model()).spec, form=form, input_shape=shape, golden=None)
    record = json.loads(spec.to_json())
    assert record["schema_version"] == 3  # releases before the form read schemas up to 2
    read = ModelSpec.from_json(spec.to_json())
    assert (read.pixel_form.name, read.pixel_form.shape) == (form, shape)


@pytest.mark.parametrize(
    ("form", "shape"),
    [("drawing", (28, 28, 1)), ("ink", (28, 28, 3)), ("photo", (28, 28, 2)),
     ("photo", (5000, 28, 3)), ("photo", (0, 28, 3)), (7, (28, 28, 1))],
)  # fmt: skip
def test_unknown_form_or_unsuitable_shape_is_rejected(form, shape):
    spec = replace(artifact.read(find_model()).spec, form=form, input_shape=shape, golden=None)
    with pytest.raises(ArtifactError, match="form"):
        ModelSpec.from_json(json.dumps({**json.loads(spec.to_json()), "form": form}))
