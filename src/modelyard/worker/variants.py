"""Makes a variant of a model, an ONNX graph: a program of its own, since it needs much memory once and then none.

`python -m modelyard.worker.variants` reads one order, a JSON object, from standard input, and confines itself as that
says before it reads anything of the model. It writes JSON lines to standard output, an ExportReport each: the steps as
they begin, and last how it ended, with exit code 0 when there is a variant and 1 when there is none. Everything else
that is printed goes to standard error.

The variant appears under `target` whole or not at all: it is made in a hidden folder beside it and renamed. What a
killed run has left there is removed by the next run for the same target.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from modelyard.errors import BootFailed, ModelRefused, ModelyardError
from modelyard.lasting_imports import lasting_imports
from modelyard.records.sentence_modules import is_static
from modelyard.records.variants import (
    IN_OPENVINO,
    MANIFEST_FILE,
    MODEL_FILE,
    ExportOrder,
    ExportReport,
    ExportStep,
    Figure,
    Manifest,
    VariantKind,
    library_of,
)
from modelyard.tasks.registry import TASKS, get_task
from modelyard.tasks.shared.sentence_folder import heads_of, read_json, read_modules
from modelyard.worker.limits import limit_memory, says_out_of_memory
from modelyard.worker.sandbox.confinement import Needs, confine

LIBRARIES = ("torch", "transformers", "onnx", "onnxscript", "onnxruntime")
KEPT_ENDINGS = (".json", ".txt", ".model", ".jinja", ".md")
"""Of the original's own folder, what is no weights; the folders of its modules are kept whole."""
COARSENESS = (0.1, 0.03, 0.0)
"""What is tried, the fastest first: how coarse 8 bits may be in all where one scale serves for whole rows and channels;
see `quantisation.measure_coarseness`. The matrices beyond that have scales for blocks."""
LEFT_OUT = ("trainer_state.json", MANIFEST_FILE)

OnExportStep = Callable[[ExportStep, str], None]
"""Told which step begins, and that in a sentence."""


def make_variant(order: ExportOrder, on_step: OnExportStep) -> dict[str, Any]:
    """Makes the variant; returns its facts. Raises ModelyardError, MemoryError, OSError."""
    started = time.perf_counter()
    source, target = Path(order.path), Path(order.target)
    refuse_others(order, source)
    on_step("exporting", f"Loading {order.model_id} and tracing it")
    with lasting_imports():
        from modelyard.worker.runtimes import export as exports
        from modelyard.worker.runtimes import heads as model_heads
        from modelyard.worker.runtimes import threads, transformers

    if order.memory_limit_bytes is not None:
        limit_memory(order.memory_limit_bytes)
    threads.set_threads(order.threads)
    heads = heads_of(source, get_task(order.task).heads)
    model = transformers.load_model(source, heads, device="cpu")
    head, _ = model_heads.choose_class(model.module.config, heads, remote_code=False)
    model.module.set_attn_implementation("eager")  # the others' guards against empty rows cost operations
    export = exports.plan_export(model, head)
    making = target.with_name(f".{target.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    try:
        making.mkdir(parents=True)
        copy_files(source, making)
        exports.write_graph(export, making / "exported.onnx")
        built = build_graph(order, export, model, making, on_step)
        manifest = Manifest(
            variant_of=order.model_id,
            kind=order.kind,
            task=order.task,
            head=head,
            revision=order.revision,
            parameters=sum(parameter.numel() for parameter in model.module.parameters()),
            logit_error=built.logit_error,
            bound=built.bound,
            max_length=model.max_length,
            versions={name: importlib.metadata.version(name) for name in libraries_of(order.kind)},
            cache=export.cache,
            quality=built.quality,
            matrices=built.matrices,
            in_blocks=built.in_blocks,
            original_mark=order.mark,
            difference=built.difference,
        )
        manifest.write(making)
        replace_folder(making, target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return {
        "parameters": manifest.parameters,
        "weight_bytes": sum(file.stat().st_size for file in target.glob(f"{MODEL_FILE}*")),
        "logit_error": built.logit_error,
        "bound": built.bound,
        "shapes": list(built.shapes),
        "quality": {figure.name: figure.value for figure in built.quality},
        "matrices": built.matrices,
        "in_blocks": built.in_blocks,
        "difference": built.difference,
        "seconds": round(time.perf_counter() - started, 1),
    }


def libraries_of(kind: VariantKind) -> tuple[str, ...]:
    """Those that have a part in a variant of that kind."""
    return (*LIBRARIES, "openvino") if kind == IN_OPENVINO else LIBRARIES


def refuse_others(order: ExportOrder, source: Path) -> None:
    """Raises ModelRefused for what no variant is made of, before anything is loaded."""
    task = get_task(order.task)
    if not task.has_variants:
        others = ", ".join(task.id for task in TASKS if task.has_variants)
        raise ModelRefused(f"{order.model_id} is for {order.task}, and variants are made for {others} only. "
                           "Use the original.")  # fmt: skip
    if order.kind == IN_OPENVINO and not task.answers_in_one_pass:
        raise ModelRefused(f"{order.model_id} is for {order.task}, which takes many passes, and variants for OpenVINO "
                           "are made of models that answer in one. Ask for .onnx, or use the original.")  # fmt: skip
    if (source / "model_index.json").is_file():
        raise ModelRefused(f"{order.model_id} is a diffusers pipeline of several models, which cannot be exported as "
                           "one. Use the original.")  # fmt: skip
    if (source / MANIFEST_FILE).is_file():
        raise ModelRefused(f"{order.model_id} is a variant itself. Ask for a variant of its original.")
    if is_static(read_modules(source), read_json(source / "config.json") or {}):
        raise ModelRefused(f"{order.model_id} is a table of vectors, which no graph makes faster. Use the original.")
    if not (source / "config.json").is_file():
        raise ModelRefused(f"{order.model_id} has no config.json in its own folder, so it cannot be exported. "
                           "Use the original.")  # fmt: skip
    if "auto_map" in msgspec.json.decode((source / "config.json").read_bytes()):
        raise ModelRefused(f"{order.model_id} needs Python code from its own repository, which is not run to make "
                           "variants. Use the original.")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Built:
    """What was found out about a graph that was made; see Manifest."""

    logit_error: float
    bound: float
    shapes: tuple[str, ...]
    quality: tuple[Figure, ...] = ()
    matrices: int | None = None
    in_blocks: int | None = None
    difference: float | None = None


def build_graph(order: ExportOrder, export: Any, model: Any, folder: Path, on_step: OnExportStep) -> Built:
    """Makes `model.onnx` of `exported.onnx`. Raises ModelRefused when its answers are too far from the original's."""
    from modelyard.worker.runtimes import comparison, quantisation
    from modelyard.worker.runtimes.graph import find_opener
    from modelyard.worker.runtimes.quality import judgement

    on_step("folding", "Computing once what does not depend on the input")
    folded = folder / "folded.onnx"
    quantisation.fold(folder / "exported.onnx", folded)
    remove_graphs(folder, "exported")
    on_step("checking", "Comparing it with the original at other shapes")
    open_graph = find_opener(library_of(order.kind))
    verdict = comparison.check(export, open_graph(folded), model.max_length)
    if not verdict.logit_error <= comparison.BOUND:
        raise ModelRefused(
            f"The graph's answers are not the original's: an error of {verdict.logit_error:.3g} (root mean square over "
            f"standard deviation), where at most {comparison.BOUND:g} is allowed. Use the original."
        )
    built = Built(verdict.logit_error, comparison.BOUND, verdict.shapes)
    if order.kind == "onnx.8-bit":
        built = shrink_graph(built, export, model, folded, on_step)
    else:
        if export.cache is None:
            built = replace(built, difference=judgement.measure_difference(export, open_graph(folded), model))
        quantisation.store(folded, folder, MODEL_FILE)
    remove_graphs(folder, "folded")
    return built


def shrink_graph(built: Built, export: Any, model: Any, folded: Path, on_step: OnExportStep) -> Built:
    """Makes `model.onnx` of the folded graph, with weights of 8 bits: the smallest that answers as the original does.

    Raises ModelRefused when none does.
    """
    from modelyard.worker.runtimes import quantisation
    from modelyard.worker.runtimes.quality.judgement import Judgement, sample_inputs

    on_step("checking", "Asking the original what it answers to the samples")
    judgement = Judgement(export, model)
    coarseness = quantisation.measure_coarseness(folded, sample_inputs(export, model))
    small = folded.with_name("small.onnx")
    quality: tuple[Figure, ...] = ()
    tried = dict.fromkeys(quantisation.plan_blocks(coarseness, most) for most in COARSENESS)
    for blocks in tried:
        what = f", {len(blocks)} of {len(coarseness)} matrices in blocks" if blocks else ""
        on_step("quantising", f"Storing the weights in 8 bits{what}")
        quantisation.quantise(folded, small, blocks=blocks)
        on_step("checking", "Comparing its answers with the original's")
        quality = judgement.compare(small)
        if all(figure.holds for figure in quality):
            quantisation.store(small, small.parent, MODEL_FILE)
            remove_graphs(small.parent, "small")
            return replace(built, quality=quality, matrices=len(coarseness), in_blocks=len(blocks))
        remove_graphs(small.parent, "small")
    failed = "; ".join(describe_figure(figure) for figure in quality if not figure.holds)
    raise ModelRefused(
        f"The variant's answers are too far from the original's: {failed}. Use the original, or ask for .onnx."
    )


def describe_figure(figure: Figure) -> str:
    """A figure in words, with its bound."""
    most = "least" if figure.at_least else "most"
    return f"{figure.name.replace('_', ' ')} {figure.value:.3g}, where at {most} {figure.bound:g} is allowed"


def remove_graphs(folder: Path, name: str) -> None:
    """Removes a graph of an earlier step, and its weights."""
    for file in folder.glob(f"{name}.*"):
        file.unlink()


def copy_files(source: Path, target: Path) -> None:
    """Copies what the variant needs beside its graph: config, tokenizer, processor, card, the modules after it."""
    for file in source.iterdir():
        kept = file.suffix in KEPT_ENDINGS and not file.name.endswith(".index.json") and file.name not in LEFT_OUT
        if file.is_file() and kept:
            shutil.copyfile(file, target / file.name)
    for module in read_modules(source):
        if module.get("path") and (source / module["path"]).is_dir():
            shutil.copytree(source / module["path"], target / module["path"])


def replace_folder(made: Path, target: Path) -> None:
    """Puts `made` where `target` is."""
    if target.exists():
        old = target.with_name(f".{target.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
        made.rename(target)
        shutil.rmtree(old)
    else:
        made.rename(target)


def explain(error: BaseException, order: ExportOrder) -> str:
    """One sentence or two about why there is no variant, for the user."""
    if isinstance(error, BootFailed) or says_out_of_memory(error):
        limit = order.memory_limit_bytes
        allowed = "the machine has" if limit is None else f"the {limit / 1024**3:.1f} GiB it may use"
        return f"Making a variant of {order.model_id} needs more memory than {allowed}. Raise it, or use the original."
    if isinstance(error, ModelyardError):
        return error.message
    if isinstance(error, OSError):
        return f"The variant's files cannot be written or read: {error}."
    line = (str(error).strip().splitlines() or ["no message"])[0]
    return f"{order.model_id} cannot be exported: {type(error).__name__}: {line[:300]}. Use the original."


def main() -> int:
    """Runs one order; returns the exit code."""
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # libraries print

    def write(report: ExportReport) -> None:
        output.write(msgspec.json.encode(report).decode() + "\n")
        output.flush()

    parent_pid = os.getppid()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=ExportOrder)
    try:
        confine(Needs.of_export(order), order.sandbox, parent_pid)
        facts = make_variant(order, lambda step, message: write(ExportReport(step=step, message=message)))
    except Exception as error:  # noqa: BLE001 - whatever went wrong, the one who asked gets a sentence
        sys.excepthook(type(error), error, error.__traceback__)
        write(ExportReport(failed=explain(error, order)))
        return 1
    write(ExportReport(done=facts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
