{# The sign-up box for any page: a custom element with its own shadow. No markup is parsed, no style
   attribute written and nothing evaluated, so a strict policy of the page has nothing to forbid.
   Without leave to fetch, the form is sent as any form is. #}
{% import "web/_layout/words.txt" as words with context %}
{% set colours = [("a", light.accent, dark.accent), ("p", light.paper, dark.paper), ("i", light.ink, dark.ink), ("m", light.muted, dark.muted), ("r", light.rule, dark.rule), ("e", "#a3231b", "#ff9c92")] %}
(() => {
"use strict";
const base = {{ site.base_url|tojson }};
const words = {{ {
  "headline": words.headline(), "sentence": words.sentence(), "button": words.button(), "note": words.note(),
  "question": words.question(), "cadence": page.cadence, "label": _("Your email address"), "first": words.first_of("%"),
  "address": words.bad_address(), "look": words.look(), "sent": words.sent(), "busy": words.busy(),
}|tojson }};
const choices = [
{% for choice in page.choices %}
{{ [choice.cadence, words.cadence(choice.cadence), words.moment(choice.at)]|tojson }},
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
    const root = this.attachShadow({mode: "open"}), said = {...words, ...this.dataset};
    let busy{% if page.has_proof %}, work{% endif %};
    Object.assign(this, {lang: {{ lang|tojson }}, dir: {{ dir|tojson }}});
    root.adoptedStyleSheets = [sheet];
    const address = make("input", {type: "email", name: "address", autocomplete: "email", maxLength: 254, required: true, dir: "ltr"});
    const fault = make("p", {className: "e", id: "e", hidden: true});
    const token = make("input", {type: "hidden", name: "form"});
    const when = make("small", {ariaLive: "polite"});
    const options = choices.map(([value, name, at]) => {
      const radio = make("input", {type: "radio", name: "cadence", value, checked: value == said.cadence});
      (radio.onchange = () => {
        if (radio.checked) when.textContent = said.first.replace("%", at);
      })();
      return make("label", {}, radio, name);
    });
    const form = make("form", {method: "post", action: base + "/subscribe", noValidate: true},
      make("input", {name: "homepage", hidden: true, autocomplete: "off"}), token,
      make("div", {}, make("label", {}, said.label, address), fault),
      make("fieldset", {}, make("legend", {}, said.question), make("div", {className: "o"}, ...options), when),
      make("button", {}, said.button), make("small", {}, said.note));
    const head = make("h2", {tabIndex: -1}, said.headline), text = make("p", {}, said.sentence);
    const frame = make("section", {ariaLabel: said.headline}, head, text, form);
    root.append(frame);
    const ticket = async () => {
{% if page.has_proof %}
      work = import(base + "/proof.js").then(it => it.fill(form, base)).catch(() => 0);
{% else %}
      try { token.value = (await (await fetch(base + "/subscriptions/form")).json()).form; } catch {}
{% endif %}
    };
    const refuse = reason => {
      fault.textContent = reason;
      fault.hidden = false;
      address.setAttribute("aria-invalid", true);
      address.setAttribute("aria-describedby", "e");
      address.focus();
    };
    const send = async again => {
{% if page.has_proof %}
      await work;
{% endif %}
      const body = new URLSearchParams(new FormData(form));
      const {status, problem} = await (await fetch(base + "/subscriptions", {method: "POST", body, headers: {Accept: "application/json"}})).json();
      if (status == "asked") {
        frame.style.minHeight = frame.offsetHeight + "px";
        form.remove();
        head.textContent = said.look;
        text.textContent = said.sent;
        head.focus();
      } else if (status == "too_many") refuse(said.busy);
      else if (problem == "address") refuse(said.address);
      else if (again) form.submit();
      else {
        await ticket();
        await new Promise(go => setTimeout(go, 2500));
        await send(true);
      }
    };
    form.addEventListener("focusin", ticket, {once: true});
    form.onsubmit = async event => {
      event.preventDefault();
      if (!/^\S+@\S+\.\S+$/.test(address.value.trim())) return refuse(said.address);
      if (busy) return;
      busy = true;
      try { await send(); } catch { form.submit(); }
      busy = false;
    };
  }
});
const script = document.currentScript;
if (script && script.closest("body")) {
  const box = make("newsletter-box");
  Object.assign(box.dataset, script.dataset);
  script.after(box);
}
})();
