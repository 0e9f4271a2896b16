// The texts of the pages, in the browser's language.
//
// texts.de.json contains the German texts, and so on. To add a language, translate texts.en.json and
// add its code to LANGUAGES. In a text, {name} is replaced by a value and `Esc` is a key of the
// keyboard. A key that ends in .own replaces the text of a model with classes other than digits; one
// that ends in .one or .other (see Intl.PluralRules) depends on the value {count}.

const LANGUAGES = ["en", "de", "fr", "es"]; // the first is used if the browser wants none of them
const RETRY_MS = 1000; // delay before a file that cannot be loaded is requested again
// Attribute in the HTML that contains the key of a text → attribute that gets the text.
const ATTRIBUTES = { "data-label": "aria-label", "data-role": "aria-roledescription", "data-alt": "alt" };

const codeOf = (tag) => tag.split("-")[0].toLowerCase();
const locale = navigator.languages.find((tag) => LANGUAGES.includes(codeOf(tag))) ?? LANGUAGES[0];
const language = codeOf(locale);
const plurals = new Intl.PluralRules(language);
const texts = await load(language);
let ownClasses = false; // whether the model has classes other than digits

translate();

// Return a text with its values; numbers are written as the language writes them.
export function text(key, values = {}) {
  const forms = "count" in values ? [`.${plurals.select(values.count)}`, ".other"] : [];
  const keys = [...forms, ""].flatMap((form) => (ownClasses ? [`${key}.own${form}`, key + form] : [key + form]));
  const found = texts[keys.find((each) => each in texts)] ?? key;
  return found.replace(/{(\w+)}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : values[name]));
}

// Write a number as the language does in the browser's region, with this many decimals (default: those that it has).
export function number(value, decimals) {
  return value.toLocaleString(locale, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

// Use the texts for a model with classes other than digits, or those for digits again.
export function setOwnClasses(own) {
  if (own === ownClasses) return;
  ownClasses = own;
  translate();
}

// Set the text of an element; text between backquotes becomes a key of the keyboard.
export function fill(element, key) {
  element.replaceChildren(...text(key).split("`").map((part, i) => {
    return i % 2 ? Object.assign(document.createElement("kbd"), { textContent: part }) : part;
  }));
}

// Fill in the texts of the HTML: data-text="clear" is the element with the text of the key clear.
function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-text]")) fill(element, element.dataset.text);
  for (const [source, target] of Object.entries(ATTRIBUTES)) {
    for (const element of document.querySelectorAll(`[${source}]`)) {
      element.setAttribute(target, text(element.getAttribute(source)));
    }
  }
  document.body.dataset.language = language;
}

// Load the texts of a language; try again until the server responds.
async function load(code) {
  for (;;) {
    try {
      const response = await fetch(`texts.${code}.json`);
      if (response.ok) return await response.json();
    } catch {
      // The server does not respond.
    }
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}
