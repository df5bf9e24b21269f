from datetime import UTC, datetime

from modelyard.catalog.names import is_model_id
from modelyard.catalog.published import read_published
from modelyard.records.models import Listing
from modelyard.tasks.registry import find_task
from modelyard.units import GIB

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_shipped_list_names_46_models_that_can_be_asked_for() -> None:
    listings = read_published(NOW)

    assert len({listing.model_id for listing in listings}) == 46
    assert all(is_model_id(listing.model_id) for listing in listings)
    assert all(find_task(listing.task or "") for listing in listings)


def test_a_published_model_has_its_published_memory_and_nothing_that_only_files_tell() -> None:
    by_id = {listing.model_id: listing for listing in read_published(NOW)}

    assert by_id["openai-community/gpt2"] == Listing(
        "openai-community/gpt2",
        "published",
        NOW,
        task="text-generation",
        memory_bytes=GIB // 2,
        memory_source="published",
    )
    coder = by_id["codellama/CodeLlama-70b-Instruct-hf"]
    assert (coder.task, coder.memory_bytes, coder.parameters) == ("chat", round(372.52 * GIB), 70_000_000_000)
