"""The default category ("Uncategorized") of blog engines, in their languages."""

from __future__ import annotations

import re
import unicodedata

from newsletter.articles import text

# From WordPress, Joomla and Discourse; plug-ins for several languages append a language code.
_DEFAULTS = """
Uncategorized; Uncategorised; Un-categorized; Unclassified; Not categorized; No category
Allgemein; Unkategorisiert; Nicht kategorisiert; Nicht zugeordnet; Ohne Kategorie; Keine Kategorie
Non classé; Non classée; Non classifié; Non catégorisé; Sans catégorie; Aucune catégorie
Sin categoría; Sin categorizar; Sin clasificar; Sense categoria; Sense categoritzar; Sen categoría
Sailkatu gabe; Sailkatu gabeak; Sailkatugabea; Senza categoria; Non categorizzato
Sem categoria; Não categorizado; Sem classificação; Geen categorie; Niet gecategoriseerd
Ongecategoriseerd; Okategoriserad; Okategoriserade; Okategoriserat; Ikke kategoriseret
Ukategoriseret; Ukategorisert; Ikke kategorisert; Óflokkað; Luokittelematon; Kategorioimaton
Kategorisoimaton; Yleinen; Bez kategorii; Nieskategoryzowane; Nezařazené; Nezařazeno
Nezařazená; Bez kategorie; Nezaradené; Nekategorizované; Egyéb; Egyéb kategória; Besorolatlan
Nincs kategorizálva; Fără categorie; Necategorizat; Necategorizate; Без категория
Некатегоризирани; Без рубрики; Без категории; Без категорії; Некатегоризоване; Некатегорисано
Неразврстано; Без категорија; Nekategorizirano; Nekategorisano; Nerazvrščeno; Bez kategorizacije
Be kategorijos; Nekategorizuota; Bez kategorijas; Nekategorizēts; Määratlemata; Kategooriata
Kategoriseerimata; Pa kategori; Të pakategorizuara; Χωρίς κατηγορία; Μη κατηγοριοποιημένο
Αταξινόμητα; Genel; Kategorisiz; Kategorilenmemiş; Kateqoriyasız; Санатсыз
غير مصنف; غير مصنّف; بدون تصنيف; بلا تصنيف; دسته‌بندی نشده; دسته بندی نشده; بدون دسته‌بندی
غیر زمرہ بند; ללא קטגוריה; לא מסווג; כללי; अवर्गीकृत; श्रेणीबद्ध नहीं; অশ্রেণীভুক্ত
ไม่มีหมวดหมู่; ไม่ได้จัดหมวดหมู่; ยังไม่ได้จัดหมวดหมู่; ไม่จัดหมวดหมู่
Chưa phân loại; Chưa được phân loại; Không phân loại; Tak Berkategori; Tidak Berkategori
Tanpa kategori; Tidak dikategorikan; Tiada kategori; 未分類; 未分类; 未归类; 未歸類; カテゴリーなし
미분류; 분류되지 않음
Nekategoriita; Heb rummad
"""
#: A language code after the name: "Uncategorized @de", "Non classé (fr)".
_LANGUAGE = re.compile(r"\s?[@(\[_-]\s?[a-z]{2,3}(?:[-_][a-z]{2,4})?[)\]]?$", re.IGNORECASE)


def is_default(name: str) -> bool:
    """Return whether a category is the default one of an engine."""
    return bool({_key(name), _key(_LANGUAGE.sub("", name))} & _KEYS)


def _key(name: str) -> str:
    """Return letters and digits without accents: many write "sin categoria" for "categoría"."""
    letters = unicodedata.normalize("NFKD", text.title_key(name))
    return "".join(one for one in letters if one.isalnum())


_KEYS = frozenset(_key(name) for name in re.split(r"[;\n]", _DEFAULTS) if name.strip())
