"""A classifier as a file of torch.export: what it answers, and what cannot be written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_estimators import SMALL, rings, small

from ddeq_models import DDEQClassifier, export
from ddeq_models.cli import main
from ddeq_models.using import export as module

pytestmark = [
    pytest.mark.usefixtures("one_validation"),
    # PyTorch 2.4 of itself.
    pytest.mark.filterwarnings("ignore:Attempted to insert", "ignore:Node "),
]
CLOUDS, LABELS = rings(24)


# Few, since each is written out by itself; the rest of the encoder is that of the points.
TOKENS = {
    "model.tokens": [3, 1], "model.widths": [4, 6, 8], "model.neighbours": 2,
    "model.cross_blocks": 1, "model.description": False,
}  # fmt: skip

WITH_TOKENS = pytest.param(
    TOKENS, id="tokens",
    marks=pytest.mark.skipif(
        torch.__version__ < (2, 6), reason="this PyTorch cannot export farthest points, and says so"
    ),
)  # fmt: skip


@pytest.fixture(scope="module", params=[pytest.param({}, id="points"), WITH_TOKENS])
def folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    options = {**SMALL, "model.rows": 16, **request.param}
    made = small(validation_fraction=0.5, options=options).fit(CLOUDS, LABELS)
    return Path(made.save(tmp_path_factory.mktemp("source") / "rings"))


def test_any_number_of_clouds_and_points(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "rings.pt2"
    made = DDEQClassifier.load(folder)
    # Each step is written out: one will do where there is much else.
    steps = 1 if made.model_.config.tokens else 2
    assert main(["export", str(folder), "--out", str(out), "--steps", str(steps)]) == 0
    said = f"rings.pt2, {steps} evaluation{'s' * (steps > 1)} of the solver"
    assert said in capsys.readouterr().out
    extra = {"config.json": ""}
    program = torch.export.load(out, extra_files=extra).module()
    config = json.loads(extra["config.json"])
    assert config["classes"] == ["large", "small"]
    assert config["data"]["root"] is None
    model: Any = made.model_
    model.configure(type(model.config)(**{**vars(model.config), "max_steps": steps}))
    for some in (CLOUDS[:1], CLOUDS[:7]):
        points, weights = np.zeros((len(some), 14, 2), np.float32), np.zeros((len(some), 14))
        for row, mass, cloud in zip(points, weights, some, strict=True):
            row[: len(cloud)], mass[: len(cloud)] = cloud, 1 / len(cloud)
        found, solved = program(torch.from_numpy(points), torch.from_numpy(weights).float())
        expected = made.predict_proba(points, weights=weights)
        assert torch.allclose(found.double(), torch.from_numpy(expected), atol=1e-4)
        assert solved.shape == (len(some),)


def test_what_is_not_written(
    folder: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "x.pt2"
    assert "expected a name that ends in .pt2" in fails("export", folder, "--out", "x.onnx")
    assert "no such folder" in fails("export", folder, "--out", tmp_path / "no" / "x.pt2")
    assert "give one that classifies" in fails("export", "mnist-completer", "--out", out)
    assert "steps must be at least 1" in fails("export", folder, "--out", out, "--steps", 0)

    def refused(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a symbol\nand much more")

    monkeypatch.setattr(torch.export, "export", refused)
    assert "cannot export this model: a symbol" in fails("export", folder, "--out", out)

    class Otherwise(torch.nn.Module):
        def __init__(self, whole: Any, gap: float, flip: bool) -> None:
            super().__init__()
            self.whole, self.gap, self.flip = whole, gap, flip

        def module(self) -> Any:
            return self

        def forward(self, points: torch.Tensor, weights: torch.Tensor) -> Any:
            found, solved = self.whole(points, weights)
            return found + self.gap, solved ^ self.flip

    for gap, flip in ((2e-3, False), (float("nan"), False), (0.0, True)):
        monkeypatch.setattr(
            module, "_exported", lambda whole, *_, g=gap, f=flip: Otherwise(whole, g, f)
        )
        assert "answers otherwise than the model" in fails("export", folder, "--out", out)
    assert not list(tmp_path.iterdir())


def test_of_a_model_that_solves_nothing_no_steps_are_asked(tmp_path: Path) -> None:
    made = DDEQClassifier("deep-sets", steps=1, options={"model.dim": 4}).fit(CLOUDS, LABELS)
    source = made.save(tmp_path / "sets")
    with pytest.raises(ValueError, match="solves nothing; leave steps out"):
        export(source, tmp_path / "sets.pt2", steps=3)


def test_clouds_far_from_the_origin_come_in_float64(tmp_path: Path, capsys: Any) -> None:
    far = [cloud.astype(np.float64) + 4e6 for cloud in CLOUDS]
    made = DDEQClassifier("deep-sets", steps=1, options={"model.dim": 4}, normalise="set")
    source, out = made.fit(far, LABELS).save(tmp_path / "far"), tmp_path / "far.pt2"
    assert main(["export", str(source), "--out", str(out)]) == 0
    assert "takes float64" in capsys.readouterr().out
    program = torch.export.load(out).module()
    points = torch.from_numpy(far[0])[None]
    found, _ = program(points, torch.full(points.shape[:2], 1 / len(far[0])).double())
    assert torch.allclose(found.double(), torch.from_numpy(made.predict_proba(far[:1])), atol=1e-5)
