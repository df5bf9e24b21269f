"""One function per family of models: a config small enough for tests, random weights from a fixed seed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers as library

from tests.builders import tokenizers

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' and not loop.first %}"
    "{{ raise_exception('A system message must come first') }}{% endif %}"
    "<|{{ message['role'] }}|>{{ message['content'] }}<|end|>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
NER_LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"]


def save(folder: Path, tokenizer: Any, model: Any) -> None:
    """Writes both as a published repository would hold them."""
    tokenizer.save_pretrained(folder)
    library.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)


def spread(model: Any, scale: float = 0.2) -> Any:
    """The model with larger random weights: fresh ones are so small that every input gets nearly the same answer."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, scale)
    return model


def gpt2(folder: Path) -> None:
    """GPT-2 of 2 layers; context of 128 tokens."""
    tokenizer = tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    config = library.GPT2Config(
        vocab_size=len(tokenizer), n_positions=128, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    save(folder, tokenizer, spread(library.GPT2LMHeadModel(config)))


def gpt2_long(folder: Path) -> None:
    """GPT-2 of 2 layers with a context of 8192 tokens, which take it ten seconds of work to write."""
    tokenizer = tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    config = library.GPT2Config(
        vocab_size=len(tokenizer), n_positions=8192, n_embd=32, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0
    )
    save(folder, tokenizer, spread(library.GPT2LMHeadModel(config)))


SCRIPT = " Hi 🦊☕ 火星 ok."
"""What `gpt2_script` writes, over and over, with an end token after each time."""


def gpt2_script(folder: Path) -> None:
    """A GPT-2 that ignores what it reads: after n tokens it writes token n of its script, an end token last.

    The position's embedding is one-hot, nothing else contributes, and the output layer maps it to the script's token.
    """
    tokenizer = tokenizers.byte_level(["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    config = library.GPT2Config(
        vocab_size=len(tokenizer),
        n_positions=64,
        n_embd=64,
        n_layer=1,
        n_head=1,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    )
    model = library.GPT2LMHeadModel(config)
    script = [*tokenizer(SCRIPT)["input_ids"], tokenizer.eos_token_id]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.zero_()
        model.transformer.wpe.weight.copy_(torch.eye(64))
        for position in range(64):
            model.lm_head.weight[script[position % len(script)], position] = 1.0
    save(folder, tokenizer, model)


def bert_23m(folder: Path) -> None:
    """A classifier in the shape of the smallest published BERTs with 12 heads, 22.7M parameters, random: for timing."""
    config = library.BertConfig(
        vocab_size=30522, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536
    )
    tokenizer = tokenizers.wordpiece()
    tokenizer.model_max_length = 512
    save(folder, tokenizer, library.BertForSequenceClassification(config))


def gpt2_124m(folder: Path) -> None:
    """The published GPT-2's shape and vocabulary size with random weights, to time loading."""
    config = library.GPT2Config(bos_token_id=0, eos_token_id=0)
    tokenizer = tokenizers.byte_level_of_size(
        config.vocab_size, ["<|endoftext|>"], eos_token="<|endoftext|>", bos_token="<|endoftext|>"
    )
    save(folder, tokenizer, library.GPT2LMHeadModel(config))


def llama_chat(folder: Path) -> None:
    """Llama of 2 layers with a chat template that wants the system message first; turns end with <|end|>."""
    marks = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    tokenizer = tokenizers.byte_fallback(
        ["<unk>", "<s>", "</s>", *marks], unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    config = library.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )
    save(folder, tokenizer, spread(library.LlamaForCausalLM(config)))


def t5(folder: Path) -> None:
    """T5 of 2 layers, with the task prefixes that the published T5 carries in its config."""
    tokenizer = tokenizers.unigram()
    config = library.T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        task_specific_params={
            "summarization": {"prefix": "summarize: "},
            "translation_en_to_de": {"prefix": "translate English to German: "},
        },
    )
    save(folder, tokenizer, spread(library.T5ForConditionalGeneration(config)))


def bart(folder: Path) -> None:
    """BART of 2 layers; context of 128 tokens, answers of at most 20, as its generation settings say."""
    tokenizer = tokenizers.byte_level(
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>",
    )  # fmt: skip
    model = spread(library.BartForConditionalGeneration(bart_config(len(tokenizer))))
    model.generation_config.max_length = 20
    save(folder, tokenizer, model)


def bart_config(vocab_size: int) -> library.BartConfig:
    """The config that BART shares with this file's classifier."""
    return library.BartConfig(
        vocab_size=vocab_size,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )


def mbart(folder: Path) -> None:
    """mBART of 2 layers with language tokens."""
    tokenizer = tokenizers.multilingual()
    config = library.MBartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=128,
    )
    save(folder, tokenizer, spread(library.MBartForConditionalGeneration(config)))


def marian(folder: Path) -> None:
    """Marian of 2 layers, with one vocabulary for both languages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("source", "target"):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(tokenizers.CORPUS),
            model_prefix=str(folder / name),
            vocab_size=120,
            hard_vocab_limit=False,
            minloglevel=2,
        )
        (folder / f"{name}.model").rename(folder / f"{name}.spm")
    pieces = [line.split("\t")[0] for line in (folder / "source.vocab").read_text().splitlines()]
    words = ["</s>", "<unk>", *(piece for piece in pieces if not piece.startswith("<")), "<pad>"]
    write_json(folder / "vocab.json", {word: index for index, word in enumerate(words)})
    for name in ("source", "target"):
        (folder / f"{name}.vocab").unlink()
    tokenizer = library.MarianTokenizer(
        *(str(folder / name) for name in ("source.spm", "target.spm", "vocab.json")), source_lang="en", target_lang="de"
    )
    config = library.MarianConfig(
        vocab_size=len(words),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        pad_token_id=len(words) - 1,
        bos_token_id=0,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=len(words) - 1,
        scale_embedding=True,
    )
    save(folder, tokenizer, spread(library.MarianMTModel(config)))


def fsmt(folder: Path) -> None:
    """FSMT of 2 layers, from English to German, with a vocabulary for each; beams by default."""
    tokenizer = tokenizers.one_pair()
    config = library.FSMTConfig(
        langs=["en", "de"],
        src_vocab_size=tokenizer.src_vocab_size,
        tgt_vocab_size=tokenizer.tgt_vocab_size,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=64,
        num_beams=2,
        max_length=20,
    )
    save(folder, tokenizer, spread(library.FSMTForConditionalGeneration(config)))


def bert_config(**more: Any) -> library.BertConfig:
    """The config that the BERT families share; context of 64 tokens."""
    return library.BertConfig(
        vocab_size=400,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        **more,
    )


def labelled(labels: list[str]) -> dict[str, Any]:
    """The config entries that name a model's outputs."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def bert_masked_lm(folder: Path) -> None:
    """BERT that fills masks."""
    save(folder, tokenizers.wordpiece(), spread(library.BertForMaskedLM(bert_config())))


def bert_classifier(folder: Path) -> None:
    """BERT with three sentiment labels."""
    config = bert_config(**labelled(["negative", "neutral", "positive"]))
    save(folder, tokenizers.wordpiece(), spread(library.BertForSequenceClassification(config)))


def bert_token_classifier(folder: Path) -> None:
    """BERT that marks people, places and organisations."""
    config = bert_config(**labelled(NER_LABELS))
    save(folder, tokenizers.wordpiece(), spread(library.BertForTokenClassification(config)))


def bert_qa(folder: Path) -> None:
    """BERT that finds answers in a text."""
    save(folder, tokenizers.wordpiece(), spread(library.BertForQuestionAnswering(bert_config())))


def dpr_reader(folder: Path) -> None:
    """DPR's reader, which finds answers in passages."""
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = library.DPRConfig(vocab_size=400, max_position_embeddings=64, **sizes)
    save(folder, tokenizers.wordpiece(), spread(library.DPRReader(config)))


def distilbert_qa(folder: Path) -> None:
    """DistilBERT that finds answers in a text: no segments among its inputs."""
    config = library.DistilBertConfig(
        vocab_size=400, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=64
    )
    save(folder, tokenizers.wordpiece(), spread(library.DistilBertForQuestionAnswering(config)))


def roberta_token_classifier(folder: Path) -> None:
    """RoBERTa that marks people, places and organisations: its positions start behind the padding index."""
    tokenizer = tokenizers.byte_level(
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        bos_token="<s>", pad_token="<pad>", eos_token="</s>", unk_token="<unk>", mask_token="<mask>",
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    config = library.RobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        **labelled(NER_LABELS),
    )
    save(folder, tokenizer, spread(library.RobertaForTokenClassification(config)))


def bert_nli(folder: Path) -> None:
    """BERT that says whether one sentence follows from another."""
    config = bert_config(**labelled(["contradiction", "neutral", "entailment"]))
    save(folder, tokenizers.wordpiece(), spread(library.BertForSequenceClassification(config)))


def bert_ranker(folder: Path) -> None:
    """BERT that scores a document for a query, in the folder of a cross-encoder as sentence-transformers 6 writes it:
    its output is the score."""
    save(folder, tokenizers.wordpiece(), spread(library.BertForSequenceClassification(bert_config(num_labels=1))))
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "__version__": {"sentence_transformers": "6.2.0", "transformers": "5.23.0"},
            "activation_fn": "torch.nn.modules.linear.Identity",
            "default_prompt_name": None,
            "model_type": "CrossEncoder",
            "prompts": {},
        },
    )
    kind = "sentence_transformers.base.modules.transformer.Transformer"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
    write_json(
        folder / "sentence_bert_config.json",
        {
            "transformer_task": "sequence-classification",
            "modality_config": {"text": {"method": "forward", "method_output_name": "logits"}},
            "module_output_name": "scores",
        },
    )


def bert_encoder(folder: Path) -> None:
    """Plain BERT."""
    save(folder, tokenizers.wordpiece(), spread(library.BertModel(bert_config())))


def sentence_transformer(folder: Path) -> None:
    """BERT in a sentence-transformers folder: [CLS] pooling, a dense layer, normalised, at most 32 tokens."""
    bert_encoder(folder)
    kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
    paths = ["", "1_Pooling", "2_Dense", "3_Normalize"]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, "pooling_mode_cls_token": True})
    write_json(
        folder / "2_Dense" / "config.json",
        {
            "in_features": 32,
            "out_features": 16,
            "bias": True,
            "activation_function": "torch.nn.modules.activation.Tanh",
        },
    )
    from safetensors.torch import save_file

    save_file(
        {"linear.weight": torch.randn(16, 32), "linear.bias": torch.randn(16)}, folder / "2_Dense" / "model.safetensors"
    )


def write_json(path: Path, data: Any) -> None:
    """Writes `data`, making the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2))


FAMILIES: dict[str, Callable[[Path], None]] = {
    "gpt2": gpt2,
    "gpt2_long": gpt2_long,
    "gpt2_script": gpt2_script,
    "gpt2_124m": gpt2_124m,
    "bert_23m": bert_23m,
    "llama_chat": llama_chat,
    "t5": t5,
    "bart": bart,
    "mbart": mbart,
    "marian": marian,
    "fsmt": fsmt,
    "bert_masked_lm": bert_masked_lm,
    "bert_classifier": bert_classifier,
    "bert_token_classifier": bert_token_classifier,
    "bert_qa": bert_qa,
    "dpr_reader": dpr_reader,
    "distilbert_qa": distilbert_qa,
    "roberta_token_classifier": roberta_token_classifier,
    "bert_nli": bert_nli,
    "bert_ranker": bert_ranker,
    "bert_encoder": bert_encoder,
    "sentence_transformer": sentence_transformer,
}
