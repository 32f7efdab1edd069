// Keeps what is live on a page up to date, for as long as somebody looks at it.
"use strict";
(() => {
  const live = document.querySelector("[data-refresh]");
  if (!live) return;
  const refresh = async () => {
    try {
      if (document.hidden || live.contains(document.activeElement)) return;
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.redirected) location.reload();
      if (!answer.ok) return;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("[data-refresh]");
      if (!fresh) return;
      live.replaceChildren(...fresh.childNodes);
      // A page is refreshed more often from the moment at which an edition is being sent.
      live.dataset.refresh = fresh.dataset.refresh;
    } catch {
      // The network is away: the page stays as it is, and the next try may succeed.
    } finally {
      wait();
    }
  };
  const wait = () => setTimeout(refresh, 1000 * Number(live.dataset.refresh));
  wait();
})();
