"""The picture of an article: the widest one known that is no decoration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from newsletter.articles import markup, pictures
from newsletter.articles.pictures import Picture

BASE = "https://site.example/posts/skiff/"
REAL = '<img src="https://site.example/real.jpg">'


def only(html: str) -> str | None:
    found = pictures.best(markup.read(html, BASE).pictures)
    return found.url if found else None


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="https://count.example/p" style="display:none">',
        '<img src="https://count.example/p" style="DISPLAY : none !important">',
        '<img src="https://count.example/p" style="visibility:hidden;width:600px">',
        '<img src="https://count.example/p" hidden>',
        '<div style="display: none"><img src="https://count.example/p"></div>',
        '<p hidden><span><img src="https://count.example/p"></span></p>',
        '<img src="https://count.example/p" style="opacity:0">',
        '<img src="https://count.example/p" style="position:absolute;left:-9999px">',
        '<div style="max-height:0;overflow:hidden"><img src="https://count.example/p"></div>',
        '<img src="https://count.example/p" width="1" height="1">',
        '<img src="https://count.example/p" width="0" height="0">',
        '<img src="https://count.example/p" width="1">',
        '<img src="https://count.example/p" height="1px">',
        '<img src="https://count.example/p" width="1.0">',
        '<img src="https://count.example/p" style="width:1px;height:1px">',
        '<img src="https://count.example/p" style="height:0">',
        '<img src="https://count.example/p" style="max-width:1px">',
        '<img src="https://medium.example/_/stat?event=post.clientViewed">',
        '<img src="https://count.example/content/1/count.gif?distributor=republish">',
        '<img src="https://pixel.wp.com/b.gif?host=site.example">',
        '<img src="https://site.example/pixel.php?id=4">',
        '<img src="https://www.facebook.example/tr?id=1&ev=PageView">',
        '<img src="https://count.example/p.jpg" style="opacity: 0.01">',
        '<img src="https://count.example/p.jpg" style="position:absolute;clip:rect(0, 0, 0, 0)">',
        '<div style="height:0;overflow:hidden"><img src="https://count.example/p.jpg"></div>',
        '<div style="width:1px; overflow:hidden"><img src="https://count.example/p.jpg"></div>',
        '<img src="https://pixel.propublica.example/p.png">',
        '<img src="https://stats.example.org/matomo.php?idsite=1&rec=1">',
        '<img src="https://site.example/piwik.php?idsite=1&rec=1">',
        '<img src="https://c.statcounter.com/12345/0/abc/1/">',
        '<img src="https://vg08.met.vgwort.de/na/0123456789abcdef">',
        '<img src="https://mc.yandex.ru/watch/123">',
        '<img src="https://site.example/__utm.gif?a">',
        '<img src="https://site.example/tracking-pixel.png">',
        '<img src="https://site.example/hit_counter.php">',
        '<img src="https://site.example/1px.png">',
    ],
)
def test_a_counter_is_no_picture(tag: str) -> None:
    assert only(tag) is None
    assert only(tag + REAL) == "https://site.example/real.jpg"


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="https://s.w.org/images/core/emoji/15.0.3/72x72/1f600.png">',
        '<img src="https://site.example/twemoji/72x72/1f600.png" width="72" height="72">',
        '<img src="https://site.example/wp-includes/images/smilies/simple-smile.png">',
        '<img src="https://cdn.example/gh/twitter/twemoji@14.0.2/assets/72x72/2764.png">',
        '<img src="https://cdn.example/e/1f468-200d-1f469.png">',
        '<img class="emoji" src="https://site.example/forum/grin.png">',
        '<img src="https://site.example/grin.png" style="height:1em;max-height:1em">',
        '<img src="https://secure.gravatar.com/avatar/aa?s=96">',
        '<img src="https://avatars.githubusercontent.com/u/1?v=4">',
        '<img src="https://site.example/user_avatar/forum/lena/240/1_2.png">',
        '<img class="avatar avatar-96" src="https://site.example/lena.jpg" width="96">',
        '<img src="https://img.shields.io/badge/build-passing-green">',
        '<img src="https://site.example/ci/badge.svg">',
        '<img src="https://site.example/badges/best-of-2026.png">',
        '<img src="https://site.example/chart.svg?x=1">',
        '<img src="https://site.example/icons/share-facebook.png">',
        '<img src="https://site.example/img/facebook-icon-32.png">',
        '<a href="https://www.facebook.com/sharer.php?u=x"><img src="https://a.example/f.jpg"></a>',
        '<div class="sharedaddy"><img src="https://site.example/all.jpg" width="300"></div>',
        '<img src="https://site.example/img/placeholder.gif">',
        '<img src="https://site.example/img/placeholder-800x600.png">',
        '<img src="https://site.example/lazyload.png">',
        '<img src="https://site.example/no-image.jpg">',
        '<img src="https://site.example/apple-touch.ico">',
        '<img src="https://site.example/88x31.png" width="88" height="31">',
        '<img src="https://site.example/ad.jpg" width="728" height="90">',
        '<button><img src="https://site.example/play.jpg"></button>',
        '<img class="author-photo" src="https://site.example/lena.jpg">',
        '<img src="https://lh3.googleusercontent.com/a/ACg8ocK=s96-c">',
        '<img src="https://pbs.example/profile_images/1/lena_400x400.jpg">',
        '<img src="https://fonts.example/s/e/notoemoji/15.0/1f600/72.png">',
        '<img src="https://site.example/e/0031-20e3.png">',
        '<img src="https://site.example/e/2764-fe0f.png">',
        '<img src="https://site.example/custom/grin.png" alt="😀">',
        '<img src="https://site.example/custom/grin.png" alt=":grin:">',
        '<img src="https://cdn.buymeacoffee.com/buttons/v2/default-yellow.png">',
        '<img src="https://site.example/become_a_patron_button.png">',
        '<img src="https://site.example/i/btn_donate_LG.gif">',
        '<img src="https://site.example/img/app-store-badge.png">',
        '<img src="https://licensebuttons.net/l/by-sa/4.0/88x31.png">',
        '<img src="https://coveralls.io/repos/github/a/b/badge.png">',
        '<img src="https://visitor-badge.example/badge?page_id=1">',
        '<img src="https://site.example/transparent.png">',
        '<img src="https://site.example/images/ajax-loader.gif">',
        '<img src="https://placehold.co/600x400">',
        '<img src="https://site.example/default-thumbnail.png">',
        '<img src="https://site.example/grey.gif">',
        '<img class="latex" src="https://site.example/latex.php?latex=x">',
        '<img src="https://www.example.org/s2/favicons?domain=site.example">',
    ],
)
def test_smileys_avatars_badges_and_icons_are_no_pictures(tag: str) -> None:
    assert only(tag) is None
    assert only(tag + REAL) == "https://site.example/real.jpg"


@pytest.mark.parametrize(
    "name",
    ["bird-count.jpg", "market-share.png", "police-badge.jpg", "loading-dock.jpg",
     "icon-of-the-north.jpg", "avatar-fire-and-ash.jpg", "social-housing.png", "x.jpg",
     "share.jpg", "emoji-history.png", "a.png",
     "blank-page.jpg", "open.webp", "lazy-sunday.jpg?w=640", "2026/11/tracking-wolves.gif",
     "2026.png", "2764.png", "default.png", "view-of-the-port.png", "pixel-art-2026.png",
     "profile-images-of-birds/heron.png", "latex-gloves.png", "badge-of-honour.jpg",
     "transparent-boat.png"],
)  # fmt: skip
def test_a_photograph_named_like_a_decoration_is_a_picture(name: str) -> None:
    assert only(f'<img src="https://site.example/{name}">') == f"https://site.example/{name}"


@pytest.mark.parametrize(
    "tag",
    [
        '<img src="/img/placeholder.gif" data-src="real.jpg">',
        '<img src="data:image/gif;base64,R0lG" data-lazy-src="real.jpg">',
        '<img data-original="real.jpg">',
        '<img src="/img/spacer.gif" data-lazy="true" data-hero-src="real.jpg">',
        '<img src="/img/spacer.gif" data-card-srcset="real.jpg 800w, small.jpg 100w">',
        '<img src="/img/spacer.gif" data-lazy-srcset="real.jpg 640w">',
        '<img src="small.jpg" srcset="small.jpg 320w, real.jpg 1280w, middle.jpg 640w">',
        '<img src="small.jpg" srcset="small.jpg 1x,real.jpg 2x" width="300">',
        '<img src="/img/placeholder.gif"><noscript><img src="real.jpg"></noscript>',
        '<img class="lazy" src="grey.png" data-srcset="/a/w_4,c_l/s.jpg 424w, real.jpg 848w">',
        '<picture><source srcset="real.jpg 800w" type="image/webp"></picture>',
        '<picture><source srcset="other.webp 800w"><img src="real.jpg"></picture>',
        '<amp-img src="real.jpg" width="600" height="400"></amp-img>',
        '<img src="wait.jpg"><noscript><img src="real.jpg"></noscript>',
        '<img src="wait.jpg"><noscript><a href="/"><img src="real.jpg"></a></noscript>',
        '<img src="small.jpg" srcset="small.jpg 1x, real.jpg 2x">',
        '<img src="small.jpg" srcset="small.jpg, real.jpg 2x">',
        '<img src="/img/spacer.gif" data-lazyload="real.jpg">',
        '<img src="/img/spacer.gif" data-img-url="real.jpg" data-id="7.2">',
        '<div style="height:0;padding-bottom:56%;overflow:hidden"><img src="real.jpg"></div>',
        '<img src="real.jpg" alt="📷 Lena Holm">',
    ],
)
def test_a_picture_that_loads_late_is_found(tag: str) -> None:
    assert only(tag) == BASE + "real.jpg"


def test_a_candidate_of_a_set_has_the_shape_of_the_picture() -> None:
    tag = '<img src="s.jpg" width="300" height="200" srcset="s.jpg 300w, l.jpg 900w">'

    assert markup.read(tag, BASE).pictures == (Picture(BASE + "l.jpg", 900, 600),)


@pytest.mark.parametrize(
    ("sizes", "widest"),
    [((72, 600), 1), ((600, 72), 0), ((None, 72), 0), ((72, None), 1), ((None, 1280), 1),
     ((640, 640), 0), ((320, 1280, 640), 1)],
)  # fmt: skip
def test_the_widest_picture_known_wins(sizes: tuple[int | None, ...], widest: int) -> None:
    several = [Picture(f"https://a.example/{at}.jpg", size) for at, size in enumerate(sizes)]

    assert pictures.best(several) == several[widest]


@pytest.mark.parametrize(
    ("url", "width"),
    [
        ("https://site.example/gulls-300x200.jpg", 300),
        ("https://blog.example/img/s1600/gulls.jpg", 1600),
        ("https://blog.example/img/w640-h480/gulls.jpg", 640),
        ("https://blog.example/img/s72-c/gulls.jpg", 72),
        ("https://site.example/gulls.jpg?w=640&h=480", 640),
        ("https://site.example/gulls.jpg", None),
    ],
)
def test_a_width_in_an_address_is_known(url: str, width: int | None) -> None:
    found = pictures.best([Picture(url)])

    assert found is not None
    assert found.width == width


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=30))
def test_any_attributes_are_read(address: str, candidates: str, style: str) -> None:
    attributes = {"src": address, "srcset": candidates, "style": style, "width": style}

    found = pictures.of_element(attributes, BASE, alt=None)

    assert found is None or found.url.startswith(("http://", "https://"))


@given(
    st.lists(st.sampled_from(["a.jpg", ",", " ", "1x", "640w", "2x,", "b,c.jpg", "0w", "9" * 9]))
)
def test_any_set_of_candidates_is_read(pieces: list[str]) -> None:
    for url, width, _ in pictures._set("".join(pieces), 300):
        assert url
        assert width is None or width > 0
