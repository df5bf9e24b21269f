from pathlib import Path

import pytest

from modelyard.catalog.cards import find_refusal, make_card
from modelyard.catalog.found import Found
from modelyard.catalog.inspection import inspect_folder
from modelyard.records.models import Inspection, Source
from tests.catalog.models import Files, diffusers, model, sentence_transformer, sharded, text, weights, write


@pytest.fixture
def inspect(tmp_path: Path):
    """Files → what is found in them."""

    def inspected(files: Files) -> Inspection:
        return inspect_folder(write(tmp_path / "model", files))

    return inspected


def without(files: Files, *names: str) -> Files:
    return {name: content for name, content in files.items() if name not in names}


def test_a_plain_model_is_described_whole(inspect) -> None:
    readme = "---\nlicense: mit\n---\n"

    found = inspect(model(parameters=1000, config={"n_positions": 1024}, readme=readme))

    assert found == Inspection(
        task="text-generation",
        architecture="GPT2LMHeadModel",
        library="transformers",
        parameters=1000,
        weight_bytes=4000,
        dtype="F32",
        max_length=1024,
        license="mit",
        weight_files=("model.safetensors",),
    )


@pytest.mark.imports_models
def test_what_the_library_saves_is_understood(tmp_path: Path) -> None:
    """The real thing once: config and weights as `save_pretrained` writes them, in two shards."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    config = BertConfig(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, vocab_size=99)
    built = BertForSequenceClassification(config)
    built.save_pretrained(tmp_path, max_shard_size="50KB")
    (tmp_path / "tokenizer.json").write_text("{}")

    found = inspect_folder(tmp_path)

    assert len(found.weight_files) > 1
    assert found.problem is None
    assert found.task == "text-classification"
    assert found.parameters == sum(parameter.numel() for parameter in built.parameters())
    assert found.max_length == 512


def test_shards_add_up(inspect) -> None:
    found = inspect(sharded(3))

    assert found.problem is None
    assert (found.parameters, found.weight_bytes, len(found.weight_files)) == (30, 120, 3)


def test_a_missing_shard_is_named(inspect) -> None:
    found = inspect(without(sharded(3), "model-00002-of-00003.safetensors"))

    assert "model-00002-of-00003.safetensors" in (found.problem or "")
    assert "missing" in (found.problem or "")


def test_shards_without_their_index_are_incomplete(inspect) -> None:
    found = inspect(without(sharded(2), "model.safetensors.index.json"))

    assert "model.safetensors.index.json is missing" in (found.problem or "")


def test_truncated_weights_are_found(inspect) -> None:
    found = inspect({**model(), "model.safetensors": weights()[:-100]})

    assert "model.safetensors is cut off" in (found.problem or "")
    assert found.task == "text-generation"


def test_a_truncated_shard_is_named(inspect) -> None:
    files = sharded(3)
    files["model-00003-of-00003.safetensors"] = files["model-00003-of-00003.safetensors"][:-1]

    assert "model-00003-of-00003.safetensors is cut off" in (inspect(files).problem or "")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("config.json", b'{"architectures": [', "config.json is not valid JSON"),
        ("config.json", b"[1, 2]", "config.json is not a JSON object"),
        ("config.json", b"\xff\xfe\x00", "config.json is not valid JSON"),
        ("config.json", b"", "config.json is not valid JSON"),
        ("tokenizer_config.json", b"{", "tokenizer_config.json is not valid JSON"),
        ("model_index.json", b"null", "model_index.json is not a JSON object"),
        ("modules.json", b"{}", "modules.json is not a JSON list"),
    ],
)
def test_a_broken_config_is_named(inspect, name: str, content: bytes, complaint: str) -> None:
    assert complaint in (inspect({**model(), name: content}).problem or "")


def test_odd_values_in_a_config_do_no_harm(inspect) -> None:
    config = {
        "architectures": "GPT2LMHeadModel",
        "id2label": [],
        "task_specific_params": 3,
        "text_config": None,
        "n_positions": "many",
    }

    assert inspect(model(config=config)).max_length is None


def test_a_model_without_weights_is_found(inspect) -> None:
    assert "has no weights" in (inspect(without(model(), "model.safetensors")).problem or "")


def test_a_folder_without_config_is_found(inspect) -> None:
    assert "has no config.json" in (inspect({"notes.txt": b"hello"}).problem or "")


def test_an_adapter_with_a_broken_config_is_named(inspect) -> None:
    assert "adapter_config.json is not valid JSON" in (inspect({"adapter_config.json": b"{"}).problem or "")


@pytest.mark.parametrize(("name", "kind"), [("flax_model.msgpack", "Flax"), ("tf_model.h5", "TensorFlow")])
def test_weights_of_another_runtime_are_named(inspect, name: str, kind: str) -> None:
    assert f"in {kind} format only" in (inspect({name: b"x"}).problem or "")
    assert f"in {kind} format only" in (inspect({**without(model(), "model.safetensors"), name: b"x"}).problem or "")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "checkpoint.pt", "weights.pkl", "model.ckpt"])
def test_pickle_only_weights_are_found(inspect, name: str) -> None:
    found = inspect({**without(model(), "model.safetensors"), name: b"\x80\x04."})

    assert found.pickle_only
    assert found.problem is None
    assert found.weight_files == (name,)
    assert found.weight_bytes == 3


def test_a_pickle_beside_safetensors_is_passed_over(inspect) -> None:
    found = inspect({**model(), "pytorch_model.bin": b"\x80\x04.", "training_args.bin": b"\x80"})

    assert not found.pickle_only
    assert found.weight_files == ("model.safetensors",)


def test_pickle_shards_are_checked_against_their_index(inspect) -> None:
    index = text({"weight_map": {"a": "pytorch_model-00001-of-00002.bin", "b": "pytorch_model-00002-of-00002.bin"}})
    files = {
        **without(model(), "model.safetensors"),
        "pytorch_model.bin.index.json": index,
        "pytorch_model-00001-of-00002.bin": b"x",
    }

    assert "pytorch_model-00002-of-00002.bin" in (inspect(files).problem or "")


def test_code_in_the_repository_is_found(inspect) -> None:
    config = {"auto_map": {"AutoModelForCausalLM": "modeling_new.NewForCausalLM"}}

    assert inspect(model("NewForCausalLM", "new_type", config=config)).remote_code


def test_code_for_a_type_that_the_library_has_is_not_needed(inspect) -> None:
    config = {"auto_map": {"AutoModelForCausalLM": "modeling_llama.LlamaForCausalLM"}}

    found = inspect(model("LlamaForCausalLM", "llama", config=config))

    assert not found.remote_code
    assert found.problem is None


def test_an_unknown_type_without_code_cannot_be_loaded(inspect) -> None:
    assert "'from_the_future'" in (inspect(model("FutureForCausalLM", "from_the_future")).problem or "")


def test_a_config_without_type_cannot_be_loaded(inspect) -> None:
    files = {**model(), "config.json": text({"architectures": ["GPT2LMHeadModel"]})}

    assert "model_type" in (inspect(files).problem or "")


@pytest.mark.parametrize(
    "more",
    [
        {"tokenizer": {"chat_template": "{{ messages }}"}},
        {"chat_template__jinja": b"{{ messages }}"},
        {"chat_template__json": b"{}"},
        {"readme": "---\ntags:\n- conversational\n---\n"},
    ],
)
def test_a_chat_model_is_known_by_template_or_tag(inspect, more) -> None:
    assert inspect(model("LlamaForCausalLM", "llama", **more)).task == "chat"


def test_the_readme_tag_wins(inspect) -> None:
    found = inspect(model("BertModel", "bert", readme="---\npipeline_tag: sentence-similarity\n---\n"))

    assert (found.task, found.pipeline_tag) == ("sentence-similarity", "sentence-similarity")


def test_a_task_nobody_serves_is_said(inspect) -> None:
    found = inspect(model("NoSuchHead", "bert", readme="---\npipeline_tag: robotics\n---\n"))

    assert found.task is None
    assert "'robotics'" in (found.problem or "")


def test_an_architecture_that_tells_nothing_asks_for_the_tag(inspect) -> None:
    assert "pipeline_tag" in (inspect(model("NoSuchHead", "bert")).problem or "")


def test_the_shortest_limit_counts(inspect) -> None:
    def longest(config, limit=None) -> int | None:
        tokenizer = {} if limit is None else {"model_max_length": limit}
        return inspect(
            model("RobertaForMaskedLM", config.pop("type", "bert"), config=config, tokenizer=tokenizer)
        ).max_length

    assert longest({"max_position_embeddings": 512}, 384) == 384
    assert longest({"max_position_embeddings": 512}, 1e30) == 512
    assert longest({"max_position_embeddings": 514, "type": "roberta"}) == 512
    assert longest({"text_config": {"max_position_embeddings": 77}}) == 77
    assert longest({}) is None


def test_a_diffusers_pipeline_is_the_sum_of_its_parts(inspect) -> None:
    found = inspect(diffusers())

    assert found.problem is None
    assert (found.library, found.task, found.architecture) == ("diffusers", "text-to-image", "StableDiffusionPipeline")
    assert (found.parameters, found.weight_bytes) == (500, 2000)


def test_a_pipeline_with_a_part_missing_is_incomplete(inspect) -> None:
    found = inspect(without(diffusers(), "text_encoder/model.safetensors"))

    assert "text_encoder/" in (found.problem or "")


def test_a_pipeline_with_one_pickle_is_pickle(inspect) -> None:
    files = without(diffusers(), "unet/diffusion_pytorch_model.safetensors")

    assert inspect({**files, "unet/diffusion_pytorch_model.bin": b"\x80"}).pickle_only


def test_a_pipeline_of_its_own_needs_its_code(inspect) -> None:
    index = text({"_class_name": ["my_pipeline", "MyPipeline"], "unet": ["diffusers", "UNet2DModel"]})

    assert inspect({**diffusers(), "model_index.json": index}).remote_code


def test_a_sentence_transformer_is_recognised(inspect) -> None:
    found = inspect(sentence_transformer())

    assert found.problem is None
    assert (found.library, found.task) == ("sentence-transformers", "sentence-similarity")
    assert (found.parameters, found.max_length) == (150, 256)


def test_a_module_of_its_own_needs_its_code(inspect) -> None:
    modules = text([{"idx": 0, "name": "0", "path": "", "type": "custom_st.Transformer"}])

    assert inspect({**sentence_transformer(), "modules.json": modules}).remote_code


def test_names_with_path_tricks_in_an_index_are_missing_files(inspect) -> None:
    index = text({"weight_map": {"a": "../../../../etc/passwd", "b": "/etc/passwd"}})

    found = inspect({**without(model(), "model.safetensors"), "model.safetensors.index.json": index})

    assert "missing" in (found.problem or "")
    assert found.weight_files == ()


PICKLED = Inspection(task="fill-mask", pickle_only=True)


def test_a_refusal_says_what_was_found() -> None:
    sentence = find_refusal("acme/old", PICKLED, ())

    assert sentence == ("acme/old has its weights only as pickle files, which can run any code when they are opened.")


@pytest.mark.parametrize(
    ("pickles", "allowed", "refusal", "cause"),
    [
        ("ask", False, "acme/old has its weights only as pickle files, which can run any code", "unsafe"),
        ("ask", True, None, None),
        ("on", False, None, None),
        ("off", True, "acme/old has its weights only as pickle files, which this server reads of no model.", None),
    ],
)
def test_the_setting_says_whose_pickles_are_read(
    pickles: str, allowed: bool, refusal: str | None, cause: str | None
) -> None:
    found = Found("acme/old", Source.FOLDER, PICKLED)
    card = make_card(found, ["acme/old"] if allowed else [], pickles=pickles)
    assert card.refusal_cause == cause
    assert (card.refusal is None) if refusal is None else (card.refusal or "").startswith(refusal)


def test_own_code_needs_leave_whatever_pickles_do() -> None:
    both = Inspection(task="chat", pickle_only=True, remote_code=True)
    assert find_refusal("a/b", both, (), "on") == "a/b needs Python code from its own repository to load."


def test_two_dangers_make_one_sentence() -> None:
    sentence = find_refusal("acme/old", Inspection(task="chat", pickle_only=True, remote_code=True), ()) or ""

    assert sentence.count("acme/old") == 1
    assert "are opened and needs Python code from its own repository" in sentence


def test_the_operators_consent_counts_for_that_model_only() -> None:
    assert find_refusal("acme/old", PICKLED, {"acme/old"}) is None
    assert find_refusal("acme/older", PICKLED, {"acme/old"}) is not None


def test_no_consent_makes_a_broken_model_whole() -> None:
    assert find_refusal("acme/cut", Inspection(problem="is cut off"), {"acme/cut"}) == "acme/cut is cut off."


def test_a_model_that_sees_with_a_library_that_is_not_here_says_which(inspect) -> None:
    found = inspect(model("LayoutLMv2ForTokenClassification", "layoutlmv2"))
    assert "detectron2, which is not installed here" in (found.problem or "")
