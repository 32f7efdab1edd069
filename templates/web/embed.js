{# The sign-up box for any page: a custom element with its own shadow. No markup is parsed, no style
   attribute written and nothing evaluated, so a strict policy of the page has nothing to forbid.
   Without leave to fetch, the form is sent as any form is. #}
{% import "web/_layout/words.txt" as words with context %}
{% set colours = [("a", light.accent, dark.accent), ("p", light.paper, dark.paper), ("i", light.ink, dark.ink), ("m", light.muted, dark.muted), ("r", light.rule, dark.rule), ("e", "#a3231b", "#ff9c92")] %}
(() => {
"use strict";
const base = {{ site.base_url|tojson }}, chosen = {{ page.cadence|tojson }};
const words = {{ {
  "headline": words.headline(), "sentence": words.sentence(), "button": words.button(), "note": words.note(),
  "question": words.question(), "label": _("Your email address"), "trap": _("Leave this empty"),
  "address": words.bad_address(), "look": words.look(), "sent": words.sent(), "busy": words.busy(),
}|tojson }};
const choices = [
{% for choice in page.choices %}
{{ {"cadence": choice.cadence, "name": words.cadence(choice.cadence), "first": words.first(choice.at)}|tojson }},
{% endfor %}
];
const sheet = new CSSStyleSheet();
sheet.replaceSync(`:host{display:block;font-size:17px;line-height:1.5;text-align:start;
{% for name, day, night in colours %}--{{ name }}:{{ day }};{% endfor %}}
@supports (color:light-dark(red,red)){:host{
{%- for name, day, night in colours %}--{{ name }}:light-dark({{ day }},{{ night }});{% endfor %}}}
:host([hidden]),[hidden]{display:none}
*{box-sizing:border-box;margin:0;padding:0;border:0;font:inherit}
section{color:var(--i);background:var(--p);border:1px solid var(--r);border-top:4px solid var(--a);padding:24px;overflow-wrap:anywhere}
h2{font-size:24px;line-height:1.3;font-weight:700}
h2:focus{outline:0}
form>*{margin-top:16px}
label,legend,button,.e{font-weight:600}
[type=email],.o label,button{min-height:48px;padding:10px 14px;color:inherit;background:none;border:1px solid var(--m);border-radius:4px}
[type=email]{display:block;width:100%;margin-top:6px}
[aria-invalid=true]{border:2px solid var(--e)}
.e{color:var(--e);margin-top:6px}
.o{display:flex;flex-wrap:wrap;gap:8px;margin:8px 0}
.o label{display:flex;gap:8px;align-items:center;flex:1 1 9em;font-weight:400}
[type=radio]{appearance:auto;flex:none;width:20px;height:20px;accent-color:var(--a)}
button{padding:10px 28px;color:var(--p);background:var(--a);border-color:var(--a);cursor:pointer}
small{display:block;font-size:14px;color:var(--m)}
:focus-visible{outline:3px solid var(--a);outline-offset:2px}`);
const make = (tag, values, ...inside) => {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...inside);
  return made;
};
customElements.get("newsletter-box") || customElements.define("newsletter-box", class extends HTMLElement {
  connectedCallback() {
    if (this.shadowRoot) return;
    const said = {...words, ...this.dataset}, root = this.attachShadow({mode: "open"});
    root.adoptedStyleSheets = [sheet];
    Object.assign(this, {lang: {{ lang|tojson }}, dir: {{ dir|tojson }}});
    this.address = make("input", {type: "email", name: "address", autocomplete: "email", maxLength: 254, required: true, dir: "ltr"});
    this.address.setAttribute("aria-describedby", "e");
    this.fault = make("p", {className: "e", id: "e", hidden: true});
    this.token = make("input", {type: "hidden", name: "form"});
    this.when = make("small", {ariaLive: "polite"});
    const options = choices.map(({cadence, name, first}) => {
      const radio = make("input", {type: "radio", name: "cadence", value: cadence, checked: cadence == (said.cadence || chosen)});
      const show = () => radio.checked && (this.when.textContent = first);
      radio.onchange = show;
      show();
      return make("label", {}, radio, name);
    });
    const trap = make("p", {hidden: true}, make("input", {name: "homepage", tabIndex: -1, autocomplete: "off", ariaLabel: said.trap}));
    this.form = make("form", {method: "post", action: base + "/subscribe", noValidate: true}, trap, this.token,
      make("div", {}, make("label", {}, said.label, this.address), this.fault),
      make("fieldset", {}, make("legend", {}, said.question), make("div", {className: "o"}, ...options), this.when),
      make("button", {}, said.button), make("small", {}, said.note));
    this.form.onsubmit = event => { event.preventDefault(); this.busy || this.send(); };
    this.form.addEventListener("focusin", () => this.ticket(), {once: true});
    this.head = make("h2", {tabIndex: -1}, said.headline);
    this.text = make("p", {}, said.sentence);
    this.frame = make("section", {ariaLabel: said.headline}, this.head, this.text, this.form);
    root.append(this.frame);
  }
  async ticket() {
    try { this.token.value = (await (await fetch(base + "/subscriptions/form")).json()).form; } catch { /* sent without */ }
  }
  refuse(text) {
    this.fault.textContent = text;
    this.fault.hidden = false;
    this.address.setAttribute("aria-invalid", true);
    this.address.focus();
  }
  async send(again) {
    if (!/^\S+@\S+\.\S+$/.test(this.address.value.trim())) return this.refuse(words.address);
    this.busy = true;
    try {
      const body = new URLSearchParams(new FormData(this.form));
      const {status, problem} = await (await fetch(base + "/subscriptions", {method: "POST", body, headers: {Accept: "application/json"}})).json();
      if (status == "asked") return this.done();
      if (status == "too_many") return this.refuse(words.busy);
      if (problem == "address") return this.refuse(words.address);
      if (again) return this.form.submit();
      await this.ticket();
      await new Promise(go => setTimeout(go, 2500));
      return await this.send(true);
    } catch { this.form.submit(); } finally { this.busy = false; }
  }
  done() {
    this.frame.style.minHeight = this.frame.offsetHeight + "px";
    this.form.remove();
    this.head.textContent = words.look;
    this.text.textContent = words.sent;
    this.head.focus();
  }
});
const script = document.currentScript;
if (script && script.closest("body")) {
  const box = make("newsletter-box");
  Object.assign(box.dataset, script.dataset);
  script.after(box);
}
})();
