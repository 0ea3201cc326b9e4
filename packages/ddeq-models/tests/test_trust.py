"""Folders and names from somebody else, and files that are damaged: nothing of them is trusted."""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ddeq_data import DataError
from ddeq_models import DDEQConfig, RunConfig, RunFolder, UserError, complete, predict
from ddeq_models._internal.files import json_line, parse_json, write_output
from ddeq_models._internal.text import in_markdown, shortened, shown
from ddeq_models.cli import main
from ddeq_models.models.base import build_model
from ddeq_models.models.size import MOST_WEIGHTS, weights_at_most
from ddeq_models.registry import MODELS
from ddeq_models.report.drawing import draw_if_possible
from ddeq_models.report.markup import in_script
from ddeq_models.report.pictures.confusion_matrix import draw_confusion_matrix
from ddeq_models.runs.pretrained import save_pretrained
from ddeq_models.runs.records import checked_result, parse_records

Fails = Callable[..., str]
NAMES = ("under_$5_", "from_$5_to_$9_", "<!--<script>", "\x1b]0;x\x07", "x" * 300, "汉字", "a\nb")


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A finished run that may be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    np.save(tmp_path / "cloud.npy", np.random.default_rng(0).normal(size=(20, 2)))
    return tmp_path / "cloud.npy"


def edit(folder: Path, name: str, *keys: Any, value: Any) -> None:
    document = json.loads((folder / name).read_text())
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    (folder / name).write_text(json.dumps(document))


def test_a_name_is_no_markup_in_a_picture() -> None:
    counts = np.eye(len(NAMES), dtype=int)
    assert draw_confusion_matrix(counts, NAMES, "from $1 to $2").startswith(b"\x89PNG")


def test_a_picture_that_fails_does_not_cost_the_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(RunFolder):
        def config(self) -> RunConfig:
            raise ValueError("mathematics")

    nothing: Any = None
    draw_if_possible(nothing, Broken(tmp_path), nothing, nothing, {}, torch.device("cpu"))
    assert "could not be drawn (ValueError: mathematics); its weights and figures" in caplog.text


def test_no_name_ends_a_script() -> None:
    text = json.dumps({"a": "</script><!--<script>&\u2028\u2029"}, ensure_ascii=False)
    hidden = in_script(text)
    assert not set("<>&\u2028\u2029") & set(hidden)
    assert json.loads(hidden) == json.loads(text)


def test_a_report_runs_its_own_script_alone(copy: Path, tmp_path: Path) -> None:
    edit(copy, "config.json", "data", value={"name": "folder", "root": str(tmp_path / "nowhere")})
    assert main(["report", str(copy), "--out", str(tmp_path / "x.html")]) == 0
    page = (tmp_path / "x.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src" in page
    assert f"script-src 'sha256-{digest}'" in page


def test_a_report_shows_no_file_of_somebody_else(copy: Path, tmp_path: Path, fails: Fails) -> None:
    (tmp_path / "secret").write_bytes(b"\x89PNG\r\n\x1a\nTOP SECRET")
    (copy / "completion.png").symlink_to(tmp_path / "secret")
    (copy / "completions.png").write_bytes(b"no picture")
    from ddeq_models.report.story import _pictures

    assert _pictures(RunFolder(copy)) == {}
    edit(copy, "result.json", "seed", value="<script>alert(1)</script>")
    assert "seed must be a whole number" in fails("report", copy, "--out", tmp_path / "x.html")
    (copy / "result.json").unlink()
    os.mkfifo(copy / "result.json")
    assert "is not a file" in fails("report", copy, "--out", tmp_path / "x.html")
    (copy / "config.json").unlink()
    (copy / "config.json").symlink_to(tmp_path / "secret")
    assert "leads out of its folder" in fails("predict", copy, tmp_path / "secret")


def test_links_within_a_folder_and_within_the_hub_s_cache_are_followed(
    copy: Path, cloud: Path, tmp_path: Path
) -> None:
    expected = predict(copy, [cloud])[0].probabilities
    os.rename(copy / "config.json", copy / "real.json")
    (copy / "config.json").symlink_to("real.json")
    assert predict(copy, [cloud])[0].probabilities == expected
    snapshot = tmp_path / "hub" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (tmp_path / "hub" / "blobs").mkdir()
    for name in ("real.json", "model.safetensors", "calibration.safetensors"):
        shutil.copy(copy / name, tmp_path / "hub" / "blobs" / name)
        link = name.replace("real", "config")
        (snapshot / link).symlink_to(Path("../../blobs") / name)
    assert predict(snapshot, [cloud])[0].probabilities == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t * float("nan"), "found numbers that are not finite"),
        (lambda t: t / 0, "found numbers that are not finite"),
        (lambda t: t.to(torch.int32), "found int32 numbers"),
        (lambda t: t > 0, "found bool numbers"),
    ],
)
def test_weights_are_finite_numbers(copy: Path, cloud: Path, change: Any, words: str) -> None:
    file = copy / "model.safetensors"
    state = load_file(file)
    save_file({**state, "head.weight": change(state["head.weight"])}, file)
    with pytest.raises(UserError, match=f"for head.weight, {words}"):
        predict(copy, [cloud])
    save_file({name: torch.zeros_like(t) for name, t in state.items()}, file)
    with pytest.raises(UserError, match="all weights are 0"):
        predict(copy, [cloud])


def test_a_damaged_record_of_the_training_stops_no_prediction(
    copy: Path, cloud: Path, tmp_path: Path, fails: Fails
) -> None:
    expected = predict(copy, [cloud])
    good = (copy / "metrics.jsonl").read_text().splitlines(True)
    lines = ["\n", "[]\n", '"x"\n', "garbage\n", '{"split": 3}\n', '{"loss": NaN}\n', "\0\0\n"]
    (copy / "metrics.jsonl").write_text("".join([*lines, *good, '{"cut']))
    run = RunFolder(copy)
    assert (len(run.metrics()), run.damaged_records()) == (len(good), len(lines))
    assert predict(copy, [cloud]) == expected
    for text in ("[]", "{", '{"spread": "x"}', '{"epoch": null}', "\xff", ""):
        (copy / "result.json").write_text(text, encoding="latin-1")
        assert predict(copy, [cloud]) == expected
    edit(copy, "config.json", "train", "solver_phases", value=[{"epoch": 2, "max_steps": 3}])
    (copy / "metrics.jsonl").write_text("x\n")
    assert "epoch must be" in fails_with(copy, '{"epoch": "2"}', cloud, fails)


def fails_with(copy: Path, result: str, cloud: Path, fails: Fails) -> str:
    (copy / "result.json").write_text(result)
    return fails("predict", copy, cloud)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("spread", "x"), ("spread", []), ("confusion", 3), ("confusion", [[1], [1]]),
        ("confusion", [[1, -1], [0, 0]]), ("versions", {"a": 1}), ("seconds", True), ("seed", 1.5),
        ("test_accuracy", {}), ("parameters", -1), ("epoch", 0), ("device", 3),
    ],
)  # fmt: skip
def test_one_schema_for_results(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"^{key} must be"):
        checked_result({key: value})


def test_what_older_versions_did_not_write_may_be_missing(
    copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    result = json.loads((copy / "result.json").read_text())
    kept = {name: result[name] for name in ("test_accuracy", "solver_steps_mean")}
    for values in (kept, {**kept, "versions": None, "confusion": None, "seconds": None}):
        (copy / "result.json").write_text(json.dumps({**values, "new": [{}]}))
        if values is kept:
            assert main(["train", "--resume", str(copy)]) == 0
            assert "unknown s" in capsys.readouterr().out
            assert main(["report", str(copy), "--out", str(tmp_path / "x.html")]) == 0
    with pytest.raises(UserError, match="versions must be"):
        RunFolder(copy).result()


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("model", "kind"), []), (("model", "kind"), {}), (("data", "jitter"), 10**400),
        (("model", "dim"), 2**31), (("model", "step"), -1), (("model", "step"), 0),
        (("model", "particles"), 10**20), (("model", "encoder_blocks"), 2**31),
        (("model", "bilinear_dim"), 0), (("model", "bilinear_dim"), -1),
        (("model", "self_blocks"), -1), (("model", "octaves"), -1), (("model", "memory"), 0),
        (("model", "dropout"), 2), (("model", "rtol"), 0), (("train", "label_smoothing"), 1e11),
        (("train", "seed"), 2**70), (("data", "points"), 10**12), (("classes",), ["a", 3]),
        (("model",), None), (("task", "kind"), 7), (("model", "hidden"), 16_384),
        (("data", "columns"), ["x", "x"]), (("train", "epochs"), 2**53),
    ],
)  # fmt: skip
def test_configurations_that_are_none(
    copy: Path, cloud: Path, keys: tuple[str, ...], value: Any, fails: Fails
) -> None:
    edit(copy, "config.json", *keys, value=value)
    if keys[-1] == "hidden":
        edit(copy, "config.json", "model", "dim", value=16_384)
    assert "\n" not in fails("predict", copy, cloud)


@pytest.mark.parametrize("text", ["[" * 100_000, "1e999", '{"a": NaN}', "\xff\xfe", "", "nul"])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_json(text.encode("latin-1"))


@pytest.mark.parametrize(
    "option",
    ["--step=-1", "--step=nan", "--seed=18446744073709551616", "--rtol=inf", "--points=10**12"]
    + ["--points=1000000000000", "--set=model.memory=0", "--set=model.kind=[]", "--columns=x,x"],
)
def test_values_end_in_a_sentence_before_anything_is_written(
    tiny: Path, fails: Fails, option: str
) -> None:
    fails("train", "--out", "run", option)
    assert list(tiny.iterdir()) == []


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(MODELS)),
    dim=st.sampled_from([8, 64, 200]),
    hidden=st.integers(1, 300),
    narrow=st.integers(1, 40),
    blocks=st.integers(0, 4),
    many=st.integers(1, 300),
)
def test_the_size_of_a_model_is_known_from_above(
    kind: str, dim: int, hidden: int, narrow: int, blocks: int, many: int
) -> None:
    config = MODELS[kind][0]()
    wanted = {
        "dim": dim, "hidden": hidden, "bilinear_dim": narrow, "encoder_blocks": blocks,
        "self_blocks": blocks, "cross_blocks": blocks, "layers": blocks, "particles": many,
        "classes": many, "readout": "flatten", "octaves": blocks, "inducing": narrow,
        "coarse": many, "point_dim": 1 + blocks,
    }  # fmt: skip
    wanted |= {"widths": ((narrow, dim) * 8)[: len(getattr(config, "widths", ()))], "heads": 1}
    if hasattr(config, "tokens") and kind != "ddeq-segmenter":
        wanted |= {"encoder": "moments", "tokens": (many,), "widths": (narrow, dim)}
    config = replace(config, **{n: v for n, v in wanted.items() if hasattr(config, n)})
    count = sum(p.numel() for p in build_model(config).parameters())
    assert count <= weights_at_most(config) < max(MOST_WEIGHTS, 0)


def test_one_process_writes_to_a_run(copy: Path, finished: Path) -> None:
    run = RunFolder(copy)
    run.claim()
    with pytest.raises(UserError, match="another process is writing to the run folder"):
        RunFolder(copy).claim()
    run.release()
    assert not (copy / ".lock").exists()
    job = "import sys, time; from ddeq_models import RunFolder; r = RunFolder(sys.argv[1]); "
    job += "r.claim(); print('held', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", job, str(copy)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match="another process"):
            RunFolder(copy).claim()
        holder.send_signal(signal.SIGKILL)
    run.claim()  # a process that is killed leaves no lock
    run.release()
    (copy / ".lock").symlink_to(finished / "config.json")
    with pytest.raises(UserError, match="cannot write to the run folder"):
        run.claim()


def test_a_run_writes_to_no_file_of_somebody_else(copy: Path, tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    diary.write_text("precious\n" * 9)
    (copy / "metrics.jsonl").unlink()
    (copy / "metrics.jsonl").symlink_to(diary)
    (copy / ".config.json.my-notes").write_text("not ours")
    run = RunFolder(copy)
    for act in (lambda: run.append({"step": 1}), lambda: run.clear_leftovers(3)):
        with pytest.raises(UserError, match="is a link or a pipe, which a run does not write to"):
            act()
    assert diary.read_text() == "precious\n" * 9
    assert (copy / ".config.json.my-notes").exists()
    (copy / "metrics.jsonl").unlink()
    (copy / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(UserError, match="has 12 bytes, 99 belong to the checkpoint: it was cut"):
        run.clear_leftovers(99)
    run.clear_leftovers(5)
    assert (copy / "metrics.jsonl").stat().st_size == 5


def test_what_a_user_names_is_written_through_a_link_and_replaces_no_device(
    tmp_path: Path,
) -> None:
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "link").symlink_to("page.html")
    write_output(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page.html").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", Path("/dev/full"), tmp_path):
        with pytest.raises(UserError, match="which is not replaced; give the name of a file"):
            write_output(place, b"x")
    with pytest.raises(OSError, match=r"missing/page\.html"):
        write_output(tmp_path / "missing" / "page.html", b"x")


@given(name=st.text(min_size=1, max_size=20))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_name_makes_a_model_card(name: str) -> None:
    from ddeq_models.config import DataConfig
    from ddeq_models.runs.card import model_card

    config = RunConfig(name, (name, "b"), DataConfig("folder"), DDEQConfig(classes=2), version=name)
    card = model_card(name, config, 1, {"test_accuracy": 0.5}, license=name)
    card.encode()
    _, head, body = card.split("---\n", 2)
    values = yaml.safe_load(head)
    assert values["license"] == shown(name)
    assert values["model-index"][0]["name"] == shown(name)
    assert "<script>" not in in_markdown(f"<script>{name}")
    assert all(shown(line) == line for line in body.split("\n"))


@pytest.mark.parametrize("name", ["null", "no", "x $(touch pwned)", "`a`", "<b>", '"'])
def test_cards_of_names_that_mean_something(name: str, finished: Path, tmp_path: Path) -> None:
    made = save_pretrained(finished, tmp_path / name, license="null")
    card = (made / "README.md").read_text()
    head = yaml.safe_load(card.split("---\n")[1])
    assert (head["license"], head["model-index"][0]["name"]) == ("null", name)
    if name.startswith("x "):
        assert "\nddeq predict 'x $(touch pwned)' FILE...\n" in card
    assert "<b>" not in card.split("# ", 1)[1].split("\n")[0]


def test_names_are_shown_and_never_obeyed(
    finished: Path, cloud: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = tmp_path / os.fsdecode(b"\x1b[31m\n\xff.npy")
    shutil.copy(cloud, odd)
    missing = tmp_path / "\x1b]0;owned\x07\nddeq: all well.npy"
    assert main(["predict", str(finished), str(odd)]) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path}/\\x1b[31m\\x0a\\xff.npy: ")
    assert main(["predict", str(finished), str(odd), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert os.fsencode(told["file"]) == os.fsencode(odd)
    assert main(["predict", str(finished), str(missing), str(missing)]) == 2
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert len(err.splitlines()) == 3
    assert "owned\\x07\\x0addeq: all well.npy: expected a file" in err


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, -float("inf")]])
def test_every_line_of_json_is_one(value: Any) -> None:
    line = json_line({"a": value, "b": "\udcff", "c": "ü"})
    line.encode()
    assert parse_json(line.encode())["b"] == "\udcff"


def test_texts_are_shortened_in_the_middle() -> None:
    assert shortened("x" * 300, 9) == "xxxx…xxxx"
    assert shortened("short") == "short"
    assert len(shortened("\x1b" * 10**6)) == 40


def test_streams_that_are_closed_or_know_few_letters(
    finished: Path, cloud: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "ü°.npy", np.load(cloud))
    run = [sys.executable, "-m", "ddeq_models", "predict", str(finished), "ü°.npy"]
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ascii_only["PYTHONIOENCODING"] = "ascii"
    done = subprocess.run(run, cwd=tmp_path, env=ascii_only, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(rb"\xc3\xbc\xc2\xb0.npy: ")
    closed = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&- 2>&-', "sh", *run], cwd=tmp_path, check=False
    )
    assert closed.returncode == 0


def test_what_complete_writes_back_are_the_points_of_the_file(tmp_path: Path) -> None:
    utm = np.array([412345.678, 5612345.678])
    local = np.random.default_rng(0).normal(size=(60, 2))
    np.save(tmp_path / "here.npy", local)
    np.save(tmp_path / "utm.npy", local + utm)
    np.savetxt(tmp_path / "text.txt", local + utm)
    np.save(tmp_path / "huge.npy", 3e38 * local / np.abs(local).max())
    np.save(tmp_path / "tiny.npy", 1e-30 * local)
    names = ["here.npy", "utm.npy", "text.txt", "huge.npy", "tiny.npy"]
    files = complete("mnist-completer", [tmp_path / name for name in names], tmp_path / "out")
    found = [np.load(file.out) for file in files]
    for name, one, file in zip(names, found, files, strict=True):
        load = np.loadtxt if name.endswith("txt") else np.load
        np.testing.assert_array_equal(one["points"][: file.visible], load(tmp_path / name))
        assert file.picture.read_bytes().startswith(b"\x89PNG")
    added = [one["points"][60:] for one in found]
    np.testing.assert_allclose(added[1] - utm, added[0], atol=1e-3)
    np.testing.assert_allclose(added[3] * np.abs(local).max() / 3e38, added[0], atol=1e-3)
    np.testing.assert_allclose(added[4] * 1e30, added[0], atol=1e-3)


def test_a_prediction_does_not_depend_on_where_a_cloud_is(cloud: Path, tmp_path: Path) -> None:
    points = np.load(cloud)
    np.save(tmp_path / "far.npy", points + [412345.678, 5612345.678])
    near, far = predict("mnist-classifier", [cloud, tmp_path / "far.npy"])
    assert near.probabilities == pytest.approx(far.probabilities, abs=1e-4)


def test_columns_of_files(finished: Path, tmp_path: Path, fails: Fails) -> None:
    points = np.random.default_rng(0).normal(size=(20, 6))
    np.savetxt(tmp_path / "six.txt", points)
    np.save(tmp_path / "two.npy", points[:, [4, 1]])
    sentence = fails("predict", finished, tmp_path / "six.txt")
    assert "found 6 columns" in sentence
    assert "--columns 0,1,2" in sentence
    first = predict(finished, [tmp_path / "two.npy"], columns=("0", "1"))[0]
    assert main(["predict", str(finished), str(tmp_path / "six.txt"), "--columns", "4,1"]) == 0
    chosen = predict(finished, [tmp_path / "six.txt"], columns=("4", "1"))[0]
    assert chosen.probabilities == pytest.approx(first.probabilities, abs=1e-6)
    with pytest.raises(UserError, match="name each column once"):
        predict(finished, [tmp_path / "six.txt"], columns=("4", "4"))


def test_a_large_cloud_does_not_make_small_ones_large() -> None:
    from ddeq_models.using.clouds import alike

    sizes = [30] * 63 + [10_000]
    assert [len(batch) for batch in alike(sizes, 64)] == [63, 1]
    assert sorted(i for batch in alike(list(range(100)), 7) for i in batch) == list(range(100))
    assert max(map(len, alike([5] * 100, 7))) == 7


def test_damaged_folders_are_used_rightly_or_refused(tmp_path: Path) -> None:
    """A sample of `hatch run bench damage`, in a process with limits of memory and time."""
    if not sys.platform.startswith("linux"):
        pytest.skip("limits of memory are those of Linux")
    script = Path(__file__).with_name("damaged_folders.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "60", "5"],
        capture_output=True, text=True, check=False,
        env={**os.environ, "DDEQ_FUZZ_SECONDS": "60"},  # machines of tests are busy
    )  # fmt: skip
    assert done.returncode == 0, (tmp_path / "case").read_text() + done.stderr[-2000:]
    outcome = json.loads(done.stdout)
    assert outcome["wrong"] == []
    assert min(outcome["used"], outcome["refused"]) > 10


def test_records_are_read_line_by_line() -> None:
    content = b'{"step": 1}\r\n{"step": 2}\n{"step": 3'
    assert parse_records(content) == ([{"step": 1}, {"step": 2}], 0)
    assert isinstance(DataError("x"), ValueError)
