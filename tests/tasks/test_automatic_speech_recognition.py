from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoFeatureExtractor, AutoProcessor, AutoTokenizer, pipeline

from modelyard.errors import InvalidRequest
from modelyard.tasks.automatic_speech_recognition import TASK
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask, Load
from tests.builders.recordings import in_base64, noise, wav
from tests.builders.reference import library_model

RATE = 16_000
SHORT, WINDOW, LONG = noise(0.8), noise(2.0, seed=1), noise(6.3, seed=2)


@pytest.fixture
def speller(load: Load) -> Model:
    return load("wav2vec2_ctc", "ctc")


@pytest.fixture
def whisper(load: Load) -> Model:
    return load("whisper", "speech-seq2seq")


def body(sound: Any, **params: Any) -> Any:
    return {"base64": in_base64(wav(sound)), "params": params}


def library_pipeline(folder: Path, auto: Any) -> Any:
    processor = AutoProcessor.from_pretrained(folder)
    return pipeline(
        "automatic-speech-recognition",
        model=library_model(auto, folder),
        tokenizer=processor.tokenizer,
        feature_extractor=processor.feature_extractor,
    )


@pytest.mark.parametrize("unit", ["char", "word"])
@pytest.mark.parametrize("chunk_length_s", [0, 1.5])
def test_spelling_and_its_times_are_the_librarys(speller: Model, ask: Ask, unit: str, chunk_length_s: float) -> None:
    expected = library_pipeline(speller.path, "AutoModelForCTC")(
        LONG.copy(), return_timestamps=unit, chunk_length_s=chunk_length_s
    )
    answer = ask(TASK, speller, body(LONG, return_timestamps=unit, chunk_length_s=chunk_length_s))
    assert answer["text"] == expected["text"]
    assert [chunk["text"] for chunk in answer["chunks"]] == [chunk["text"] for chunk in expected["chunks"]]
    times = np.array([chunk["timestamp"] for chunk in answer["chunks"]])
    np.testing.assert_allclose(times, np.array([chunk["timestamp"] for chunk in expected["chunks"]]), atol=1e-6)
    assert 5 < times.max() <= 6.3
    assert ask(TASK, speller, body(LONG, chunk_length_s=chunk_length_s)) == expected["text"]


def test_true_means_words_for_models_that_spell(speller: Model, ask: Ask) -> None:
    assert ask(TASK, speller, body(SHORT, return_timestamps=True)) == ask(
        TASK, speller, body(SHORT, return_timestamps="word")
    )


@pytest.mark.parametrize("params", [{}, {"language": "de"}, {"task": "translate", "language": "<|fr|>"}], ids=str)
def test_whisper_writes_what_the_library_writes(whisper: Model, ask: Ask, params: dict[str, Any]) -> None:
    library = library_model("AutoModelForSpeechSeq2Seq", whisper.path)
    processor = AutoProcessor.from_pretrained(whisper.path)
    features = processor(SHORT, sampling_rate=RATE, return_tensors="pt").input_features
    with torch.inference_mode():
        # One call: without time marks to go by, the library's walk through the window would be led by random ones.
        ids = library.generate(
            features, max_new_tokens=20, force_unique_generate_call=True, **{"task": "transcribe", **params}
        )
    expected = processor.batch_decode(ids, skip_special_tokens=True)[0]
    assert ask(TASK, whisper, body(SHORT, max_new_tokens=20, **params)) == expected
    assert expected


@pytest.mark.parametrize("sound", [WINDOW, LONG], ids=["one window", "several"])
def test_whispers_times_are_the_librarys(whisper: Model, ask: Ask, sound: Any) -> None:
    library = library_model("AutoModelForSpeechSeq2Seq", whisper.path)
    processor = AutoProcessor.from_pretrained(whisper.path)
    features = processor(
        sound, sampling_rate=RATE, return_tensors="pt", truncation=False, padding="longest"
    ).input_features
    with torch.inference_mode():
        written = library.generate(
            features, language="en", task="transcribe", return_timestamps=True, return_segments=True
        )
    segments = written["segments"][0]
    answer = ask(TASK, whisper, body(sound, language="en", return_timestamps=True))
    assert [chunk["text"] for chunk in answer["chunks"]] == [
        processor.decode(segment["tokens"], skip_special_tokens=True) for segment in segments
    ]
    for chunk, segment in zip(answer["chunks"], segments, strict=True):
        bounds = [min(float(segment[name]), len(sound) / RATE) for name in ("start", "end")]  # not after the sound
        assert list(chunk["timestamp"]) == pytest.approx(bounds, abs=1e-6)
    assert answer["text"] == "".join(chunk["text"] for chunk in answer["chunks"])
    assert len(segments) > 1


@pytest.mark.parametrize("sound", [WINDOW, LONG], ids=["one window", "several"])
def test_whispers_words_have_the_librarys_times(whisper: Model, ask: Ask, sound: Any) -> None:
    expected = library_pipeline(whisper.path, "AutoModelForSpeechSeq2Seq")(
        sound.copy(), return_timestamps="word", generate_kwargs={"language": "en", "num_beams": 1}
    )
    answer = ask(TASK, whisper, body(sound, language="en", return_timestamps="word"))
    assert (answer["text"], answer["language"]) == (expected["text"], "en")
    said = iter(answer["chunks"])
    for other in expected["chunks"]:  # of phrases that take no time the library makes one
        parts = [next(said)]
        while len("".join(part["text"] for part in parts)) < len(other["text"]):
            parts.append(next(said))
        assert "".join(part["text"] for part in parts) == other["text"]
        bounds = [parts[0]["timestamp"][0], parts[-1]["timestamp"][1]]
        # It rounds, and reads attention step by step, which moves a bound by a frame where two are nearly as good.
        assert bounds == pytest.approx(list(other["timestamp"]), abs=0.021)
    assert next(said, None) is None
    assert len({tuple(chunk["timestamp"]) for chunk in answer["chunks"]}) > 1
    assert ask(TASK, whisper, body(sound, language="en", return_timestamps=True))["text"] == answer["text"]


@contextmanager
def windows_read(model: Any) -> Iterator[list[int]]:
    """In this block: of how many windows at once each pass of the model's encoder is."""
    passes: list[int] = []
    hook = model.module.get_encoder().register_forward_hook(lambda _layer, _given, made: passes.append(len(made[0])))
    try:
        yield passes
    finally:
        hook.remove()


@pytest.mark.parametrize("task", ["transcribe", "translate"])
@pytest.mark.parametrize("times", [False, "word"])  # LONG has those of phrases in any case
def test_whisper_reads_each_window_once(whisper: Model, ask: Ask, times: Any, task: str) -> None:
    asked = {"return_timestamps": times, "task": task}

    def ask_and_count(*bodies: Any) -> tuple[Any, list[int]]:
        with windows_read(whisper) as passes:
            return ask(TASK, whisper, *bodies), passes

    together, passes = ask_and_count(*(body(sound, **asked) for sound in (LONG, SHORT)))
    (long, long_passes), (short, short_passes) = (ask_and_count(body(sound, **asked)) for sound in (LONG, SHORT))
    assert together == [long, short]
    assert short_passes == [1]
    assert long_passes == [1, 1, 1, 1]  # each begins where the last whole phrase of the one before ended
    assert passes == [2, 1, 1, 1]
    language = ask(TASK, whisper, body(LONG, return_timestamps=True, task=task))["language"]
    assert ask_and_count(body(LONG, **asked, language=language)) == (long, long_passes)


def test_whisper_of_english_alone_writes_what_the_library_writes(whisper: Model, ask: Ask, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whisper.path, tmp_path / "english"))
    settings = json.loads((folder / "generation_config.json").read_text())
    english = {name: value for name, value in settings.items() if name not in ("lang_to_id", "task_to_id")}
    (folder / "generation_config.json").write_text(json.dumps({**english, "is_multilingual": False}))
    library = library_model("AutoModelForSpeechSeq2Seq", folder)
    features = AutoProcessor.from_pretrained(folder)(SHORT, sampling_rate=RATE, return_tensors="pt").input_features
    with torch.inference_mode():
        ids = library.generate(features, max_new_tokens=20, force_unique_generate_call=True)
    model: Any = load_model("transformers", folder, ("speech-seq2seq",), device="cpu")
    with windows_read(model) as passes:
        answer = ask(TASK, model, body(SHORT, max_new_tokens=20))
    assert answer == model.tokenizer.decode(ids[0], skip_special_tokens=True)
    assert passes == [1]
    assert "language" not in ask(TASK, model, body(SHORT, return_timestamps=True))


def test_whisper_reads_the_end_of_a_prompt_before_it_writes(whisper: Model, ask: Ask) -> None:
    library = library_model("AutoModelForSpeechSeq2Seq", whisper.path)
    processor = AutoProcessor.from_pretrained(whisper.path)
    features = processor(SHORT, sampling_rate=RATE, return_tensors="pt").input_features
    prompt = torch.tensor(processor.get_prompt_ids("Angela lives in Paris."))
    with torch.inference_mode():
        ids = library.generate(
            features, prompt_ids=prompt, language="en", task="transcribe", max_new_tokens=20,
            force_unique_generate_call=True,
        )  # fmt: skip
    expected = processor.batch_decode(ids, skip_special_tokens=True)[0].removeprefix(" Angela lives in Paris.")
    told = {"language": "en", "max_new_tokens": 20}
    answer = ask(TASK, whisper, body(SHORT, prompt="Angela lives in Paris.", **told))
    assert answer == expected != ask(TASK, whisper, body(SHORT, **told))
    long = " ".join(["Angela lives in Paris."] * 50)
    longer = body(SHORT, prompt=f"No. {long}", **told)
    assert ask(TASK, whisper, body(SHORT, prompt=long, **told)) == ask(TASK, whisper, longer)


def test_long_sound_is_written_whole_without_times_too(whisper: Model, ask: Ask) -> None:
    timed = ask(TASK, whisper, body(LONG, return_timestamps=True))
    assert timed["chunks"][-1]["timestamp"][1] > 4
    assert ask(TASK, whisper, body(LONG)) == timed["text"]


@pytest.mark.parametrize("sound", [SHORT, LONG], ids=["short", "long"])
@pytest.mark.parametrize("family", ["whisper", "wav2vec2_ctc"])
def test_stream_is_the_unstreamed_text(load: Load, ask: Ask, sound: Any, family: str) -> None:
    model = load(family, "ctc" if "ctc" in family else "speech-seq2seq")
    pieces: list[str] = []
    answer = ask(TASK, model, body(sound), emit=pieces.append)
    assert "".join(pieces) == answer == ask(TASK, model, body(sound))
    assert family == "wav2vec2_ctc" or len(pieces) > 1


@pytest.mark.parametrize("family", ["whisper", "wav2vec2_ctc"])
@pytest.mark.parametrize("params", [{}, {"return_timestamps": True}], ids=str)
def test_batch_answers_as_one_by_one(load: Load, ask: Ask, family: str, params: dict[str, Any]) -> None:
    model = load(family, "ctc" if "ctc" in family else "speech-seq2seq")
    bodies = [body(sound, **params) for sound in (LONG, SHORT, WINDOW, SHORT)]
    assert ask(TASK, model, *bodies) == [ask(TASK, model, one) for one in bodies]


def test_writer_without_marks_writes_what_the_library_writes(load: Load, ask: Ask) -> None:
    model = load("moonshine", "speech-seq2seq")
    library = library_model("AutoModelForSpeechSeq2Seq", model.path)
    inputs = AutoFeatureExtractor.from_pretrained(model.path)(SHORT, sampling_rate=RATE, return_tensors="pt")
    with torch.inference_mode():
        ids = library.generate(**inputs, max_new_tokens=12, do_sample=False)[0]
    expected = AutoTokenizer.from_pretrained(model.path).decode(ids, skip_special_tokens=True)
    pieces: list[str] = []
    assert ask(TASK, model, body(SHORT, max_new_tokens=12), emit=pieces.append) == expected == "".join(pieces)
    assert expected
    for name, value in (("return_timestamps", True), ("language", "en"), ("task", "transcribe"), ("prompt", "a")):
        assert ask(TASK, model, body(SHORT, **{name: value})).data["field"] == f"params.{name}"


def test_stop_string_and_length_hold_for_speech(whisper: Model, ask: Ask) -> None:
    whole = ask(TASK, whisper, body(SHORT))
    assert ask(TASK, whisper, body(SHORT, stop=whole[3:5])) == whole[: whole.find(whole[3:5])]
    assert whole.startswith(ask(TASK, whisper, body(SHORT, max_new_tokens=3)))


@pytest.mark.parametrize(
    ("family", "params", "field"),
    [
        ("whisper", {"language": "xx"}, "params.language"),
        ("whisper", {"return_timestamps": "char"}, "params.return_timestamps"),
        ("whisper", {"prompt": "said <|de|> before"}, "params.prompt"),
        ("wav2vec2_ctc", {"prompt": "Angela"}, "params.prompt"),
        ("wav2vec2_ctc", {"chunk_length_s": 1e-5, "stride_length_s": 0}, None),
    ],
)
def test_params_that_a_model_cannot_obey_are_named(
    load: Load, ask: Ask, family: str, params: dict[str, Any], field: str | None
) -> None:
    model = load(family, "ctc" if "ctc" in family else "speech-seq2seq")
    answer = ask(TASK, model, body(SHORT, **params))
    if field is None:
        assert isinstance(answer, str)
    else:
        assert answer.data["field"] == field


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"chunk_length_s": -1}, "params.chunk_length_s"),
        ({"chunk_length_s": 2, "stride_length_s": 1}, "params.stride_length_s"),
        ({"return_timestamps": "letters"}, "params.return_timestamps"),
        ({"task": "sing"}, "params.task"),
        ({"num_return_sequences": 2, "do_sample": True}, "params.num_return_sequences"),
    ],
)
def test_wrong_params_are_named(params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, body(SHORT, **params))
    assert raised.value.data["field"] == field
