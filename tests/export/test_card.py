"""The model card, read by Hugging Face's reader."""

import dataclasses
import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import huggingface_hub
import pytest

from export import card
from runtime import EdgeError
from runtime.model import artifact
from runtime.model.spec import Dataset

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "runtime/pretrained/digits-int8.tflite"
RESULTS = {
    "report.json": {
        "created": "2026-11-27T05:04:09+00:00",
        "parity": {
            "dataset": "MNIST",
            "class_names": ["0", "1"],
            "results": [
                {
                    "candidate": {"n": 10, "correct": 9, "confusion": [[4, 1], [0, 5]]},
                    "only_original": 1,
                    "only_candidate": 2,
                }
            ],
        },
    },
    "robustness.json": {
        "created": "2026-11-27T05:04:09+00:00",
        "results": [
            {
                "curves": [
                    {
                        "corruption": "blur",
                        "training": "not used",
                        "strengths": [f"σ {n}" for n in range(5)],
                        "readings": [{"correct": 9 - n, "n": 10} for n in range(5)],
                    }
                ]
            }
        ],
        "other_hands": [{"reading": {"correct": 8, "n": 10}}],
    },
    "rejection.json": {
        "created": "2026-11-27T05:04:09+00:00",
        "results": [
            {
                "digits": 10,
                "digits_refused": 1,
                "kinds": [{"kind": "blank | pages", "n": 4, "refused": 3}],
            }
        ],
    },
    "photos.json": {
        "created": "2026-11-27T05:04:09+00:00",
        "singles": [
            {"label": label, "photo": {"label": "3", "writer": writer}}
            for label, writer in (("3", "w1"), ("8", "w1"), ("3", "w2"))
        ],
    },
}


@pytest.fixture
def reports(tmp_path):
    """The folder of an artifact and its reports."""
    shutil.copy(PUBLISHED, tmp_path / "digits-int8.tflite")
    digest = artifact.read(PUBLISHED).spec.digest
    for name, content in RESULTS.items():
        record = json.loads(json.dumps(content))
        for results in (record.get("parity", record).get("results", []), record.get("other_hands")):
            for result in results or []:
                result["digest"] = digest
        if name == "photos.json":
            record["digest"] = digest
        (tmp_path / name).write_text(json.dumps(record))
    return tmp_path


def make(folder, *options):
    assert card.main(["--model", str(folder / "digits-int8.tflite"), *map(str, options)]) == 0
    return (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_hugging_face_reads_the_index(reports):
    read = huggingface_hub.ModelCard(make(reports))
    spec = artifact.read(PUBLISHED).spec
    assert read.data.library_name == "litert"
    assert read.data.pipeline_tag == "image-classification"
    assert read.data.datasets == ["ylecun/mnist"]
    assert read.data.model_name == spec.name
    results = [
        (each.dataset_name, each.dataset_type, each.metric_type, each.metric_value)
        for each in read.data.eval_results
    ]
    assert results == [
        ("MNIST", "ylecun/mnist", "accuracy", spec.metrics.test_accuracy),
        ("scikit-learn digits", "scikit-learn digits", "accuracy", 0.8),
    ]


def test_card_has_the_figures_of_the_spec_and_the_reports(reports):
    text = make(reports)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    for row in (
        "| label 0 of MNIST | 80.00% (37.55% to 96.38%; 4 of 5) | report.json, 2026-11-27 |",
        "| blur | σ 2 | not used | 70.00% (39.68% to 89.22%; 7 of 10) |",
        "| of writer w1 | 50.00% (9.45% to 90.55%; 1 of 2) | photos.json, 2026-11-27 |",
        "| blank \\| pages | 75.00% (30.06% to 95.44%; 3 of 4) |",
        "| test images | 10.00% (1.79% to 40.42%; 1 of 10) |",
    ):
        assert row in rows
    assert "3 of 10 test images are correct in only one" in text
    assert artifact.read(PUBLISHED).spec.digest in text
    assert "Not measured" not in text


def test_report_of_another_artifact_is_named_and_not_used(reports, capsys):
    path = reports / "rejection.json"
    path.write_text(path.read_text().replace('"digest": "', '"digest": "0'))
    assert "Not measured: `digit-edge benchmark-rejection`." in make(reports)
    note = capsys.readouterr().err
    assert note.startswith(f"note: {path} has no result of")
    assert note.endswith("measure it with digit-edge benchmark-rejection\n")


def test_card_without_reports_names_the_commands_that_measure(reports, tmp_path):
    for name in RESULTS:
        (reports / name).unlink()
    text = make(reports)
    for command in card.REPORTS.values():
        assert f"`digit-edge {command}`" in text


@pytest.mark.parametrize("name", RESULTS)
@pytest.mark.parametrize("content", ["", "[]", "{}", '{"created": 1}', "\udcff", "[" * 100_000])
def test_damaged_report_is_an_error_that_names_it(reports, name, content):
    (reports / name).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(EdgeError, match=f"{name} is not a report of digit-edge benchmark"):
        make(reports)
    assert not (reports / "MODEL_CARD.md").exists()


def test_impossible_count_is_an_error(reports):
    path = reports / "photos.json"
    path.write_text(path.read_text().replace('"singles": [', '"singles": [7, '))
    with pytest.raises(EdgeError, match="photos"):
        make(reports)
    with pytest.raises(ValueError, match="3 of 2"):
        card.Count(3, 2)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("report.json", '"correct": 9', '"correct": "9"'),
        ("report.json", '"correct": 9', '"correct": 9.5'),
        ("report.json", '"only_original": 1', '"only_original": "x"'),
        ("rejection.json", '"refused": 3', '"refused": 5'),
        ("rejection.json", '"digits": 10', '"digits": 0'),
        ("rejection.json", '"kind": "blank | pages"', '"kind_": 1'),
        ("robustness.json", '"created": "2026', '"created": 7, "a": "'),
    ],
)
def test_report_with_a_wrong_value_is_an_error(reports, name, old, new):
    path = reports / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(EdgeError, match=name):
        make(reports)


def test_names_with_special_characters_stay_data(tmp_path):
    spec = dataclasses.replace(
        artifact.read(PUBLISHED).spec,
        name='x": {a: b}\x7f\x85\u2028😀 <script>|`',
        dataset=Dataset("- [a](b)\n# c", ""),
    )
    path = tmp_path / os.fsdecode(b"donn\xe9es | a.keras")
    model = zip_of_nothing()
    artifact.write(path, model, spec)
    assert card.main(["--model", str(path), "--out", str(tmp_path / "card.md")]) == 0
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert huggingface_hub.ModelCard(text).data.model_name == spec.name
    assert "<script>" not in text.partition("\n---\n")[2].replace("\\<script>", "")
    assert "\n# c" not in text


def zip_of_nothing():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("empty", "")
    return file.getvalue()


def test_missing_folder_of_reports_is_an_error(reports):
    with pytest.raises(EdgeError, match="no such folder"):
        make(reports, "--reports", reports / "missing")


def test_cards_of_other_models_have_an_index(tmp_path):
    for name in ("lines-int8.onnx", "digits.keras", "digits.onnx", "digits-int8.c"):
        out = tmp_path / f"{name}.md"
        model = ROOT / "runtime/pretrained" / name
        assert card.main(["--model", str(model), "--out", str(out)]) == 0
        read = huggingface_hub.ModelCard(out.read_text(encoding="utf-8"))
        assert read.data.eval_results
