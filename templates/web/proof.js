/* Solves a challenge of ALTCHA (proof of work, version 2): the first counter for which the key derived
   from nonce and counter begins as it is asked to. The box has its form filled in by `fill`; our own
   page only has to load this: a form that names a challenge waits for its solution. */
const octets = text => Uint8Array.from(text.match(/../g) || [], pair => parseInt(pair, 16));
const hex = found => Array.from(found, octet => octet.toString(16).padStart(2, "0")).join("");

const solve = async challenge => {
  const { nonce, salt, cost, keyLength, keyPrefix } = challenge.parameters;
  const begins = octets(nonce), password = new Uint8Array(begins.length + 4);
  const how = { name: "PBKDF2", hash: "SHA-256", salt: octets(salt), iterations: cost };
  password.set(begins);
  for (let counter = 0; ; counter++) {
    new DataView(password.buffer).setUint32(begins.length, counter);
    const key = await crypto.subtle.importKey("raw", password, "PBKDF2", false, ["deriveBits"]);
    const derivedKey = hex(new Uint8Array(await crypto.subtle.deriveBits(how, key, keyLength * 8)));
    if (derivedKey.startsWith(keyPrefix))
      return btoa(JSON.stringify({ challenge, solution: { counter, derivedKey } }));
  }
};

const put = (form, solution) => {
  const field = form.elements.altcha || form.appendChild(document.createElement("input"));
  Object.assign(field, { type: "hidden", name: "altcha", value: solution });
};

export const fill = async (form, base) => {
  const given = await (await fetch(base + "/subscriptions/form")).json();
  form.elements.form.value = given.form;
  put(form, await solve(given.challenge));
};

const form = document.querySelector("form[data-newsletter-challenge]");
if (form) {
  const solving = solve(JSON.parse(form.dataset.newsletterChallenge));
  let busy = false;
  addEventListener("pageshow", () => { busy = false; });
  form.addEventListener("submit", async event => {
    event.preventDefault();
    if (busy) return;
    busy = true;
    put(form, await solving);
    form.submit();
  });
}
