"""Cross-encoders, told by their files and names: which classifiers rank documents, and which rankers are none of these.

Pure: knows no files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

TAGS = frozenset({"cross-encoder", "reranker", "text-ranking"})
"""Of a card. sentence-transformers writes the first on every cross-encoder."""
NAMES = ("rerank", "cross-encoder", "crossencoder")
"""What names of rankers hold: bge-reranker-v2-m3, jina-reranker-v2-base-multilingual, mxbai-rerank-base-v1."""
SERVED = "ForSequenceClassification"
"""How the architectures of cross-encoders end."""
INSTEAD = f"take a cross-encoder, whose architecture ends in {SERVED}, such as BAAI/bge-reranker-v2-m3"


def is_cross_encoder(sentence_transformers: Mapping[str, Any]) -> bool:
    """Whether config_sentence_transformers.json is one of a cross-encoder."""
    return sentence_transformers.get("model_type") == "CrossEncoder"


def looks_like_ranker(
    name: str, tags: Collection[str], config: Mapping[str, Any], sentence_transformers: Mapping[str, Any]
) -> bool:
    """Whether a classifier's name, its card's tags or its files say that it ranks."""
    if any(part in name.rpartition("/")[2].lower() for part in NAMES) or not TAGS.isdisjoint(tags):
        return True
    earlier = config.get("sentence_transformers")
    activates = isinstance(earlier, dict) and "activation_fn" in earlier
    return is_cross_encoder(sentence_transformers) or activates or "sbert_ce_default_activation_function" in config


def has_one_label(config: Mapping[str, Any]) -> bool:
    """Whether a classifier gives one number."""
    labels = config.get("id2label")
    return len(labels) == 1 if isinstance(labels, dict) else config.get("num_labels") == 1


def find_ranking_problem(
    architectures: Sequence[str],
    modules: Sequence[Mapping[str, Any]],
    sentence_settings: Mapping[str, Any],
) -> str | None:
    """Why a ranker cannot be served: a clause that follows its name. None when it is a cross-encoder as served here.

    `modules`, `sentence_settings`: modules.json and sentence_bert_config.json.
    """
    if architectures and not any(name.endswith(SERVED) for name in architectures):
        return f"ranks by the architecture {architectures[0]}, which Modelyard does not run for that; {INSTEAD}"
    more = [str(module.get("type")).rsplit(".", 1)[-1] for module in modules[1:]]
    if more:
        return f"ranks with the modules {', '.join(more)} behind its model, which Modelyard does not run; {INSTEAD}"
    if "message" in (sentence_settings.get("modality_config") or ()):
        return f"puts query and document into a chat template, which Modelyard does not do for rankings; {INSTEAD}"
    return None
