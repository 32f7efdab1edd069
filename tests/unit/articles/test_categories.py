"""Default categories of engines are no labels."""

from __future__ import annotations

import pytest

from newsletter.articles import categories


@pytest.mark.parametrize(
    "name",
    ["Uncategorized", "uncategorised", "UNCATEGORIZED", "Allgemein", "Non classé", "Sin categoría",
     "Senza categoria", "Sem categoria", "Geen categorie", "Okategoriserade", "Bez kategorii",
     "Без рубрики", "Χωρίς κατηγορία", "غير مصنف", "ללא קטגוריה", "未分類", "未分类", "미분류",
     "Chưa phân loại", "ไม่มีหมวดหมู่", "Uncategorized @de", "Non classé (fr)", "Un-categorized",
     "sin categoria", "NON CLASSE", "Nezarazene", "Uncategorized_de"],
)  # fmt: skip
def test_the_default_category_of_an_engine_is_known_in_any_language(name: str) -> None:
    assert categories.is_default(name)


@pytest.mark.parametrize(
    "name",
    [
        "Category theory",
        "General relativity",
        "News",
        "Allgemeinmedizin",
        "分類",
        "",
        "Class",
        "★",
        "News_de",
    ],
)
def test_other_categories_are_labels(name: str) -> None:
    assert not categories.is_default(name)
