"""Standfirsts have the article's own text, complete and without boilerplate of engines."""

from __future__ import annotations

import pytest

from newsletter.articles import markup, prose, text
from newsletter.articles.prose import About

PAGE = "https://site.example/2026/11/crane/"
ABOUT = About(
    "Crane", "Lena Holm", PAGE, PAGE + "#comments", "https://site.example/", "Harbour Blog"
)
LINK = f'<a href="{PAGE}">'
HOME = '<a href="https://site.example">'
PROXY = "<a href='https://proxy.example/~3/x'>"
IMAGE = "<img src='https://a.example/a.jpg'>"
TEXT = "<p>The crane lifts eighty tonnes.</p>"


def teaser(html: str, about: About = ABOUT) -> str:
    return " ".join(prose.own(markup.read(html).blocks, about))


@pytest.mark.parametrize(
    "before",
    [
        "<h2>The crane</h2>",
        "<h1>Crane</h1><h3>By the quay</h3>",
        f"<figure>{IMAGE}<figcaption>Photo: Agency</figcaption></figure>",
        f"<div class='wp-caption'>{IMAGE}<p class='wp-caption-text'>A crane</p></div>",
        f"<table><tr><td>{IMAGE}</td></tr><tr><td class='tr-caption'>A crane</td></tr></table>",
        f"<p>{IMAGE}<br><em>A crane at night</em></p>",
        f"<p>{IMAGE}</p><p>Foto: Hafen / dpa</p>",
        "<video src='https://a.example/v.mp4'>Your browser does not support the video tag.</video>",
        "<audio controls>Ihr Browser kann das nicht.</audio>",
        "<object><p>Install a plug-in.</p></object>",
        "<iframe src='https://a.example/'>No frames</iframe>",
        "<canvas>No canvas</canvas>",
        "<noscript>Please enable JavaScript.</noscript>",
        "<button>Subscribe now</button>",
        "<a class='wp-block-button__link button' href='https://a.example/'>Buy a ticket</a>",
        "<p><a role='button' href='https://a.example/'>Buy a ticket</a></p>",
        "<svg><title>An anchor</title><text>Anchor</text></svg>",
        "<span class='screen-reader-text'>Skip to content</span>",
        "<div style='display:none'>Preview text</div>",
        "<span class='field--name-title'>Crane</span> <span class='field--name-uid'>admin</span>",
        "<p>Crane</p>",
        "<strong>CRANE</strong><br>",
        "<p>By Lena Holm</p>",
        "<p>Von Lena Holm</p>",
        "<p>Lena Holm | 27 November 2026</p>",
        "<p>Submitted by admin on Fri, 11/27/2026 - 10:22</p>",
        "<p>Publié le 27 novembre 2026 par Lena Holm</p>",
        "<p>2026年11月27日 10:22</p>",
        "<div class='entry-meta'>Posted in News</div>",
        "<p>4 min read</p>",
        "<p><small>Photo: Jane / Agency</small></p>",
        "<div>Photo credit: Agency<br></div>",
        "<p>© Agency</p>",
        "<div class='toc'><p>Contents</p><ul><li><a href='#a'>A</a></li></ul></div>",
        "<p>Lesezeit: 3 Minuten</p>",
        "<p><strong>At the quay</strong></p>",
        "Crane admin Fri, 11/27/2026 - 10:22",
        "<p>By Ann Other</p>",
        "<p>Par Jean Dupont et Anne-Marie Le Goff</p>",
        "<p>Por María López de la Vega</p>",
        "<p>Автор: Иван Петров</p>",
        "<p>Text und Fotos: Karl Huber</p>",
        "<p>Words: Ann Other / Agency</p>",
        "<p>文：山田太郎</p>",
        "<p>取材・文＝山田太郎</p>",
        "<p>بقلم: أحمد علي</p>",
        "<p>โดย สมชาย ใจดี</p>",
        "<p>12 มีนาคม 2569</p>",
        "<p>12 मार्च 2026</p>",
        "<p>12 مارس، 2026</p>",
        "<p>2026. március 12.</p>",
        "<p>Crédit photo : Anna Berg / AFP</p>",
        f"<p>{IMAGE}</p><p>Fotoğraf: Ali Kaya</p>",
        f"<p>{IMAGE}</p><p>Zdjęcie: Jan Nowak</p>",
        f"<p>{IMAGE}</p><p>fot. Jan Nowak</p>",
        f"<p>{IMAGE}</p><p>الصورة: أحمد علي</p>",
        f"{IMAGE}<p>Getty Images</p>",
        f"{IMAGE}<p>The crane at night, seen from the quay</p>",
        "<p>Your browser does not support the video tag.</p>",
        "<p>Votre navigateur ne prend pas en charge la vidéo HTML5.</p>",
        "<p>Ihr Browser unterstützt das Audio-Element nicht.</p>",
        "<p>Tu navegador no soporta el elemento de video.</p>",
        "<p>お使いのブラウザは動画に対応していません。</p>",
        "<p>Ваш браузер не поддерживает видео.</p>",
        "<p><a href='https://a.example/listen'>Listen to this article</a></p>",
        "<ul><li><a href='#a'>The first of all the chapters that this long text has</a></li></ul>",
        "<div id='toc_container'><p>Contents</p><p>One</p></div>",
        "<a class='skip-link' href='#content'>Skip to content</a>",
        "<div class='kg-card kg-audio-card'><div>Episode 4</div><span>0:00</span></div>",
        "<div class='kg-card kg-bookmark-card'><a href='https://a.example/'>A. Of it.</a></div>",
        "<blockquote class='twitter-tweet'><p>A word of others.</p></blockquote>",
        "<blockquote class='wp-embedded-content'><a href='https://a.example/'>It.</a></blockquote>",
        "<p>[caption id='attachment_7' width='600']</p>",
        "<p>[vc_row][vc_column]</p>",
    ],
)
def test_what_stands_before_the_text_is_not_its_first_sentence(before: str) -> None:
    assert teaser(before + TEXT) == "The crane lifts eighty tonnes."


@pytest.mark.parametrize(
    "after",
    [
        f"<p>The post {LINK}Crane</a> appeared first on {HOME}Harbour Blog</a>.</p>",
        f"<p>Der Beitrag {LINK}Crane</a> erschien zuerst auf {HOME}Hafenblog</a>.</p>",
        f"<p>L’article {LINK}Crane</a> est apparu en premier sur {HOME}Le port</a>.</p>",
        f"<p>La entrada {LINK}Crane</a> se publicó primero en {HOME}Puerto</a>.</p>",
        f"<p>Wpis {LINK}Crane</a> pojawił się poczatkowo na {HOME}Port</a>.</p>",
        f"<p>投稿 {LINK}Crane</a> は {HOME}港</a> に最初に表示されました。</p>",
        f"<p>ظهرت المقالة {LINK}Crane</a> أولاً على {HOME}الميناء</a>.</p>",
        f"<p>Сообщение {LINK}Crane</a> появились сначала на {HOME}Порт</a>.</p>",
        f"<p>{LINK}Crane</a> yazısı ilk önce {HOME}Liman</a> üzerinde ortaya çıktı.</p>",
        "<p>Der Beitrag Crane erschien zuerst auf Harbour Blog.</p>",
        f"<p>Der Beitrag {PROXY}Crane</a> erschien zuerst auf {PROXY}Harbour Blog</a>.</p>",
        f"<p>{LINK}Weiterlesen</a></p>",
        f"<p>{LINK}もっと読む →</a></p>",
        f"<p>{LINK}Read full topic</a></p>",
        f"<p><small>4 posts - 3 participants</small></p><p>{LINK}Read full topic</a></p>",
        f"<p><a href='{PAGE}?utm_source=rss'>Continue reading on Medium »</a></p>",
        f"<p><a href='{PAGE}#comments'>12 Kommentare</a></p>",
        "<p>Read more…</p>",
        "<p>Lire la suite</p>",
        "<p>[…]</p>",
        "<p>* * *</p>",
        "<div class='subscription-widget-wrap'><p>Thanks for reading!</p><input></div>",
        "<div class='sharedaddy'><h3>Share this:</h3><ul><li>Tweet</li></ul></div>",
        "<p><a href='https://www.facebook.com/sharer.php?u=x'>Share on Facebook</a></p>",
        f"<p>submitted by {HOME}/u/mia</a> {HOME}[link]</a> {HOME}[c]</a></p>",
        f"<p>{HOME}#<span>tide</span></a> {HOME}#port</a></p>",
        f"<p>{HOME}charts.example/2026/11/low-wat</a></p>",
    ],
)
def test_an_engines_closing_line_goes_in_any_language(after: str) -> None:
    assert teaser(TEXT + after) == "The crane lifts eighty tonnes."


@pytest.mark.parametrize(
    ("html", "left"),
    [
        (f"The crane lifts. {LINK}Weiterlesen</a>", "The crane lifts."),
        (f"The crane lifts … {LINK}Continue reading <span>Crane</span></a>", "The crane lifts …"),
        (f"The crane lifts <a class='more-link' href='{PAGE}'>more</a>", "The crane lifts"),
        ("The crane lifts. [&#8230;]", "The crane lifts."),
        ("The crane lifts, [...]", "The crane lifts…"),
        ("The crane lifts (…)", "The crane lifts…"),
        ("<p>The crane lifts. […]</p><p>Nobody looks.</p>", "The crane lifts. Nobody looks."),
        ("The crane lifts. The post Crane appeared first on Harbour Blog.", "The crane lifts."),
        (
            "The crane lifts. Der Beitrag Crane erschien zuerst auf Harbour Blog.",
            "The crane lifts.",
        ),
        ("The crane lifts. Read more", "The crane lifts."),
        (f"The crane lifts. » {LINK}Read More</a>", "The crane lifts."),
        ("The crane lifts. Leer más »", "The crane lifts."),
        ("クレーンは上がる。続きを読む", "クレーンは上がる。"),
        ("Crane. The crane lifts.", "The crane lifts."),
        (f"The crane lifts. {HOME}#<span>tide</span></a> {HOME}#port</a>", "The crane lifts."),
        (f"The crane lifts. {HOME}charts.example/2026/11/low-wat</a>", "The crane lifts."),
    ],
)
def test_a_closing_within_the_last_paragraph_goes_alone(html: str, left: str) -> None:
    assert teaser(html) == left


@pytest.mark.parametrize(
    "html",
    [
        "Read more books in 2026: our editors pick ten.",
        "The library has a plan. Read more than ten books and you win a prize.",
        "We know it. Continue reading aloud to children, the study says.",
        "Weiterlesen hilft, sagt die Studie.",
        "Crane drivers are rare.",
        "<p>Photo exhibition at the quay</p><p>It opens.</p>",
        "<p>Image and likeness</p><p>It is a phrase.</p>",
        "Crane: a word of many meanings.",
        "<p>It lifts.</p><p>Crane drivers read Harbour Blog.</p>",
        "<p>It lifts.</p><p>What a Crane does is told by Harbour Blog and by all the books.</p>",
        "Lena Holm asked the drivers what they see.",
        "On 27 November 2026 the crane fell.",
        "“The crane […] lifts,” he said.",
        "<p>By the river stands a crane.</p><p>It lifts.</p>",
        "<p>The post office closes.</p><p>It appeared first on maps in 1802.</p>",
        f"<p>As we wrote in {LINK}our report</a>, it lifts.</p>",
        "<p>It lifts, says <a href='https://other.example/a'>the other paper</a></p>",
        "<p>Photo: a word from Greek.</p><p>It means light.</p>",
        "<p>Two: <a href='https://other.example/a/b'>one</a>, <a href='/2025/old/'>two</a></p>",
        "<figure><blockquote>It lifts, and how.</blockquote></figure>",
        "<p>The meta class is text.</p><div class='meta'>"
        + "This is a long text about it. " * 9
        + "</div>",
        "<details><summary>It lifts.</summary>And how.</details>",
        "<label>It lifts.</label>",
        "<x-note>It lifts.</x-note>",
        "It lifts if a<b and c>d.",
        "<p>Your browser is old.</p><p>It lifts.</p>",
        "<p>Firefox, the browser, now plays video.</p><p>It lifts.</p>",
        "<p>By night it lifts</p><p>It lifts.</p>",
        "<p>Update: the crane is late</p><p>It lifts.</p>",
        "<p>港：今年も忙しい一年になりそうだ</p><p>忙しい。</p>",
        "<p>كتب أحمد علي رواية جديدة</p><p>It lifts.</p>",
        f"{IMAGE}<p>It lifts.</p><p>And how.</p>",
        f"{IMAGE}<p>It lifts:</p><p>And how.</p>",
        "<p><a href='https://a.example/'>It lifts, and how.</a></p><p>It does.</p>",
        "<p>[Update] It lifts.</p><p>And how.</p>",
        "<p><a href='https://a.example/'>The crane</a></p><p>lifts it.</p>",
        f"{IMAGE}<p>The crane</p><p>lifts it.</p>",
        "<p>Ihr Browser-Verlauf verrät viel über Video-Vorlieben.</p><p>Es geht.</p>",
        "<p>It lifts at <a href='https://a.example/'>a.example/crane</a></p>",
        "<p>It lifts. They call it <a href='https://a.example/'>#crane</a></p>",
        "<p>It lifts. <a href='https://a.example/'>Everybody looks</a></p>",
    ],
)
def test_nothing_that_is_text_is_cut(html: str) -> None:
    everything = text.clean(" ".join(markup.read(html).text.split()))

    assert teaser(html) == everything
    assert everything


@pytest.mark.parametrize(
    "html", ["<h2>It lifts</h2>", "<p><b>It lifts</b></p>", "<p>Lena Holm lifts it.</p>"]
)
def test_where_there_is_nothing_else_all_stays(html: str) -> None:
    assert teaser(html)


def test_a_closing_source_is_named_and_no_part_of_the_text() -> None:
    html = '<p>A study.</p><p>Source: <a href="https://www.example.com/n">example.com</a></p>'

    name, blocks = prose.source(markup.read(html).blocks)

    assert (name, [one.text for one in blocks]) == ("example.com", ["A study."])


@pytest.mark.parametrize(
    "html",
    [
        'Source: <a href="https://example.com/">x</a> says the <b>rest</b>',
        'See <a href="https://example.com/">x</a>',
        'Resources: <a href="https://example.com/">x</a>',
        'Source: <a href="javascript:x">x</a>',
    ],
)
def test_other_links_are_no_source(html: str) -> None:
    name, blocks = prose.source(markup.read(html).blocks)

    assert name is None
    assert "x" in blocks[-1].text


def test_an_article_opens_with_its_first_paragraph() -> None:
    assert prose.opening(["Tide", "The harbour empties. Nobody looks.", "x"]) == (
        "Tide The harbour empties. Nobody looks."
    )
    assert prose.opening(["A first paragraph without an end", "And more."]) == (
        "A first paragraph without an end"
    )
