import time

from modelyard.catalog.readme import FrontMatter, parse_front_matter

CARD = """---
language:
- en
license: apache-2.0
tags:
- exbert
- "conversational"
pipeline_tag: text-generation  # as the hub shows it
library_name: 'transformers'
model-index:
- name: x
  results:
  - task: {type: retrieval}
    license: other
---
# A model
license: mit
"""


def test_takes_what_the_catalog_needs() -> None:
    front = parse_front_matter(CARD)

    assert front == FrontMatter("text-generation", "apache-2.0", ("exbert", "conversational"), "transformers")


def test_the_first_of_several_bases_is_taken() -> None:
    assert parse_front_matter("---\nbase_model:\n- a/b\n- c/d\n---\n").base_model == "a/b"
    assert parse_front_matter("---\nbase_model: [a/b, c/d]\n---\n").base_model == "a/b"
    assert parse_front_matter("---\nbase_model: a/b\n---\n").base_model == "a/b"


def test_tags_on_one_line() -> None:
    assert parse_front_matter("---\ntags: [a, 'b c', ]\n---\n").tags == ("a", "b c")


def test_a_readme_without_front_matter_says_nothing() -> None:
    for readme in ("", "# Title\nlicense: mit\n", "---\nlicense: mit\n(never closed)"):
        assert parse_front_matter(readme) == FrontMatter()


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    assert parse_front_matter("\ufeff---\r\nlicense: mit\r\n---\r\n").license == "mit"


def test_megabytes_of_benchmark_results_are_read_quickly() -> None:
    results = "  - task:\n      type: Retrieval\n    metrics:\n    - type: map\n      value: 1.0\n" * 20_000
    card = f"---\nmodel-index:\n- name: x\n  results:\n{results}pipeline_tag: sentence-similarity\n---\n"

    started = time.process_time()
    front = parse_front_matter(card)

    assert front.pipeline_tag == "sentence-similarity"
    assert time.process_time() - started < 1.0
