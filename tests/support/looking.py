"""What a page looks like in a browser: the script that measures it, and axe-core."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path

#: Defines `measure(document)`.
MEASURE = """
const luminance = c => { const [r, g, b] = c.map(v => v / 255)
  .map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b };
const rgb = text => text.match(/[\\d.]+/g).map(Number);
const ground = element => { for (; element; element = element.parentElement) {
  const c = rgb(getComputedStyle(element).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c.slice(0, 3) } return [255, 255, 255] };
const ratio = (x, y) => { [x, y] = [x, y].map(luminance);
  return (Math.max(x, y) + .05) / (Math.min(x, y) + .05) };
const contrast = element => ratio(rgb(getComputedStyle(element).color).slice(0, 3),
  ground(element));
const seen = e => e.offsetWidth > 1 && !e.closest('[aria-hidden=true],[hidden]')
  && getComputedStyle(e).visibility == 'visible';
const measure = page => {
  const all = selector => [...page.querySelectorAll(selector)];
  const texts = all('body *').filter(e => seen(e) && e.className !== 'bar'
    && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()));
  const controls = all('input:not([type=hidden]),button,select').filter(seen);
  const edges = controls.filter(e => e.matches('[type=email],[type=date],.plain'));
  const targets = all('button,.button,[type=email],[type=date],.option').filter(seen);
  const ids = all('[id]').map(e => e.id);
  const named = all('[aria-describedby],[aria-labelledby]').flatMap(e =>
    (e.getAttribute('aria-describedby') + ' ' + e.getAttribute('aria-labelledby')).split(' '));
  return {
    needs: page.documentElement.scrollWidth,
    worst: Math.min(...texts.map(contrast)),
    smallest: Math.min(...texts.map(e => parseFloat(getComputedStyle(e).fontSize))),
    edge: Math.min(21, ...edges.map(e => ratio(
      rgb(getComputedStyle(e).borderTopColor).slice(0, 3), ground(e)))),
    ground: luminance(ground(page.querySelector('h1'))),
    headings: all('h1,h2,h3').filter(seen).map(e => +e.tagName[1]),
    landmarks: all('header,main,footer').map(e => e.tagName.toLowerCase()),
    nameless: controls.filter(e => !e.textContent.trim() && !(e.labels && e.labels.length
      && e.labels[0].textContent.trim())).map(e => e.outerHTML),
    low: targets.filter(e => e.offsetHeight < 44).map(e => e.outerHTML.slice(0, 80)),
    twice: ids.filter((id, n) => ids.indexOf(id) != n),
    lost: named.filter(id => id && id != 'null' && !ids.includes(id)),
    align: getComputedStyle(page.querySelector('h1')).textAlign,
    shift: all('[type=radio]').map(radio => { const before = page.body.scrollHeight;
      radio.checked = true; return page.body.scrollHeight - before }).filter(by => by),
  };
};
"""


@cache
def axe() -> str:
    """Return the source of axe-core, of a package or where AXE_CORE says; empty without one."""
    path = os.environ.get("AXE_CORE")
    package = importlib.util.find_spec("axe_playwright_python")
    if not path and package and package.submodule_search_locations:
        path = f"{package.submodule_search_locations[0]}/axe.min.js"
    return Path(path).read_text("utf-8") if path else ""
