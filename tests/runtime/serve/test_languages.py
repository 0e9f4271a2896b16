"""The pages in every language: complete texts, and no text that stays English."""

import html.parser
import json
import re
from pathlib import Path

import pytest

import export
import runtime
from runtime.serve import static

PAGE = static.FOLDER
SITE = Path(export.__file__).parent / "site"
PREVIEW = Path(runtime.__file__).parent / "camera/page"
TEXTS = {
    path.name.split(".")[1]: json.loads(path.read_text("utf-8"))
    for path in sorted(PAGE.glob("texts.*.json"))
}
LOCALES = {"en": "en-GB", "de": "de-AT", "fr": "fr-FR", "es": "es-MX"}
PAGES = [PAGE / "index.html", SITE / "index.html", PREVIEW / "index.html"]
SCRIPTS = [path for folder in (PAGE, SITE, PREVIEW) for path in sorted(folder.glob("*.js"))]
SHOWN_ATTRIBUTES = {"aria-label", "aria-roledescription", "alt", "title", "placeholder"}
BRAND = "digit-edge"
# Parts of the texts that are not translated: values, keys of the keyboard.
PARTS = re.compile(r"\{\w+\}|`")

SEVEN = [[(0.25, 0.22), (0.75, 0.2), (0.62, 0.45), (0.48, 0.82)], [(0.38, 0.52), (0.68, 0.5)]]
STAR = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)], [(0.5, 0.1), (0.5, 0.9)]]
TWO = [[(0.3, 0.35), (0.13, 0.52), (0.35, 0.52)], [(0.3, 0.35), (0.3, 0.66)],
       [(0.7, 0.35), (0.7, 0.66)]]  # fmt: skip


class Page(html.parser.HTMLParser):
    """Collects the texts of a page outside scripts, the keys it refers to, and its noscript."""

    def __init__(self, path):
        super().__init__()
        self.texts, self.keys, self.noscript = [], set(), {}
        self._inside, self._language = None, None
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        if tag in ("script", "noscript"):
            self._inside = tag
        for name, value in attributes:
            if name.startswith("data-"):
                self.keys.add(value)
            elif name in SHOWN_ATTRIBUTES:
                self.texts.append(value)
            elif name == "lang":
                self._language = value

    def handle_endtag(self, tag):
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data):
        if self._inside == "noscript":
            if data.strip() and "{{" not in data:
                self.noscript[self._language] = data.strip()
        elif self._inside is None:
            self.texts.append(data)


def words(text):
    return re.findall(r"[^\W\d_]{2,}", text)


def test_every_language_has_every_text():
    assert set(TEXTS) == set(LOCALES)
    for language, texts in TEXTS.items():
        assert list(texts) == list(TEXTS["en"]), language
        assert all(texts.values()), language


@pytest.mark.parametrize("language", TEXTS)
def test_translations_have_the_values_and_keys_of_the_english_text(language):
    for key, text in TEXTS[language].items():
        expected = sorted(PARTS.findall(TEXTS["en"][key]))
        assert sorted(PARTS.findall(text)) == expected, (language, key)


@pytest.mark.parametrize("language", sorted(set(TEXTS) - {"en"}))
def test_texts_are_translated(language):
    """Only short words may be equal in two languages, such as Stop, Total and Token."""
    for key, text in TEXTS[language].items():
        if text == TEXTS["en"][key]:
            assert len(words(text)) <= 1, (language, key)


def test_the_script_offers_exactly_the_languages_that_exist():
    listed = re.search(r"LANGUAGES = (\[.*?\]);", (PAGE / "texts.js").read_text("utf-8"))[1]
    assert sorted(json.loads(listed)) == sorted(TEXTS)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.parent.parent.name)
def test_no_english_text_is_in_the_html(path):
    page = Page(path)
    for text in page.texts:
        text = re.sub(r"\{\{\w+\}\}", "", text).replace(BRAND, "")
        assert not words(text), text
    assert page.keys <= set(TEXTS["en"])
    assert page.keys


@pytest.mark.parametrize("path", [PAGE / "index.html", PREVIEW / "index.html"])
def test_page_without_javascript_has_a_notice_in_every_language(path):
    assert Page(path).noscript == {code: texts["noscript"] for code, texts in TEXTS.items()}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_english_text_is_in_the_scripts(path):
    """Neighboring words in a string are a sentence; keys, selectors and types have none."""
    code = re.sub(r"^\s*//.*$|\s// .*$|/\*.*?\*/", "", path.read_text("utf-8"), flags=re.M | re.S)
    for literal in re.findall(r'"[^"\n]*"|`[^`]*`', code):
        literal = re.sub(r"\$\{.*?\}", "", literal)
        assert not re.search(r"[A-Za-z]{2,}[,;.!?]? [A-Za-z]{2,}", literal), literal


def test_every_text_is_used():
    code = "".join(path.read_text("utf-8") for path in [*SCRIPTS, SITE.parent / "web.py"])
    used = {key for path in PAGES for key in Page(path).keys}
    used |= set(re.findall(r'"([\w.]+)"', code))
    used |= {"noscript"}
    for key in TEXTS["en"]:
        base = re.sub(r"(\.own)?(\.one|\.other)?$", "", key)
        computed = key.startswith(("problem.", "place.", "file."))
        assert computed or {key, base} & used, key


@pytest.mark.parametrize(("language", "locale"), LOCALES.items())
def test_page_speaks_the_language_of_the_browser(server, opened, draw, shows, language, locale):
    texts = TEXTS[language]
    with opened(server.url, locale=locale) as page:
        assert page.get_attribute("html", "lang") == language
        assert page.title() == texts["title"]
        assert page.get_by_role("button", name=texts["undo"]).count() == 1
        draw(page, SEVEN)
        shows(page, "7")
        share = page.inner_text("#sure strong")
        # Mexico writes a decimal point, Spain a comma.
        assert share[2] == ("." if locale in ("en-GB", "es-MX") else ",")
        page.wait_for_function("() => document.querySelector('#spoken').textContent !== ''")
        assert "7" in page.text_content("#spoken")


def test_other_languages_get_english(server, opened):
    with opened(server.url, locale="ja-JP") as page:
        assert page.title() == TEXTS["en"]["title"]


def test_second_language_of_the_browser_is_used(server, opened):
    with opened(server.url, extra_http_headers={}, locale="ja-JP") as page:
        page.add_init_script(
            "Object.defineProperty(navigator, 'languages', { value: ['ja', 'fr-CA', 'en'] })"
        )
        page.reload()
        page.wait_for_selector("body[data-ready]")
        assert page.get_attribute("html", "lang") == "fr"


SHOWN = """() => {
  const attributes = ["aria-label", "aria-roledescription", "alt", "title", "placeholder"];
  const named = [...document.querySelectorAll("body *")].flatMap((element) => {
    return attributes.map((name) => element.getAttribute(name) ?? "");
  });
  const texts = [...document.querySelectorAll("body *:not(noscript, script)")]
    .filter((element) => [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((element) => element.textContent);
  return [document.title, ...texts, ...named];
}"""


def test_all_texts_on_the_page_come_from_the_language_file(serve, opened, draw, shows):
    """With a language in which every text has brackets, each text on the page has brackets."""
    server = serve()
    marked = {key: f"«{text}»" for key, text in TEXTS["en"].items()}

    def check(state):
        # Values are set into texts, and a key of the keyboard is an element of its own.
        keys = {key for text in TEXTS["en"].values() for key in re.findall("`(.*?)`", text)}
        for text in page.evaluate(SHOWN):
            rest = re.sub(r"«[^«»]*»", "", re.sub(r"«[^«»]*»", "", text)).replace(BRAND, "")
            allowed = {"digits", "int", "litert", "ms", *keys}
            assert set(words(rest)) <= allowed or re.fullmatch(r"digits, int8, \w+…", rest), (
                state,
                text,
            )

    allowed = ["ERR_CONNECTION_REFUSED"]
    with opened(server.url, permissions=["camera"], allowed=allowed) as page:
        page.route("**/texts.en.json", lambda route: route.fulfill(json=marked))
        page.reload()
        page.wait_for_selector("body[data-ready]")
        check("empty")
        draw(page, SEVEN)
        shows(page, "7")
        page.wait_for_function("() => document.querySelector('#spoken').textContent !== ''")
        page.click("#maps summary")
        page.wait_for_selector("#blocks figure")
        check("feature maps")
        page.evaluate("scrollTo(0, 0)")
        page.click("#clear")
        draw(page, STAR)
        shows(page, "?")
        check("rejected")
        page.click("#clear")
        draw(page, TWO)
        page.wait_for_selector("#suggestion:not([hidden])")
        check("suggestion")
        page.click("#switch")
        page.wait_for_function("() => document.querySelector('#answer').textContent.length > 1")
        check("number")
        page.click("#clear")
        draw(page, STAR, right=0.4)
        shows(page, "?")
        check("marks")
        page.click("#camera")
        page.wait_for_selector("#take:not([hidden])")
        check("camera")
        page.click("#camera")
        broken = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"not a picture"}
        page.set_input_files("#file", broken)
        page.wait_for_selector("#problem:not(:empty)")
        check("problem")
        server.process.terminate()
        server.process.wait(30)
        draw(page, SEVEN)
        page.wait_for_selector("#retry:not([hidden])")
        check("server gone")
