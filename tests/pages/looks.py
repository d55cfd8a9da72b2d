"""Whether a page can be read and used: nothing is cut off, controls are large enough for a finger, texts have contrast."""

#: Of each visible text its colour and the first opaque ground behind it; of each control its size.
MEASURE = """() => {
  const visible = (one) => one.checkVisibility() && one.getBoundingClientRect().width > 0
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor
      if (!/, 0\\)$|transparent/.test(colour)) return colour
    }
    return 'rgb(255, 255, 255)'
  }
  const said = (one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
  const texts = [...document.body.querySelectorAll('*')].filter((one) => said(one) && visible(one) && !one.disabled)
  const controls = [...document.querySelectorAll('button, a, input:not([type=checkbox]), summary')].filter(visible)
  return {
    scroll: document.documentElement.scrollWidth, width: innerWidth,
    texts: texts.map((one) => [one.textContent.trim().slice(0, 40), getComputedStyle(one).color, ground(one)]),
    cut: texts.filter((one) => one.scrollWidth > one.clientWidth && getComputedStyle(one).overflowX !== 'visible')
      .map((one) => one.textContent.trim()),
    controls: controls.map((one) => [one.id || one.textContent, one.getBoundingClientRect().height, one.tagName === 'SUMMARY' ? 36 : 44]),
    nameless: controls.filter((one) => !(one.labels?.length || one.textContent.trim() || one.getAttribute('aria-label'))).length,
  }
}"""


def luminance(colour):
    """WCAG 2.2: relative luminance of `rgb(r, g, b)`."""
    channels = (int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3])
    r, g, b = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in channels)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def assert_usable(page):
    found = page.evaluate(MEASURE)
    assert found["scroll"] <= found["width"], "it scrolls sideways"
    assert not found["cut"], "texts do not fit"
    faint = [text for text in found["texts"] if contrast(*text[1:]) < 4.5]
    assert found["texts"] and not faint, faint
    # 44 CSS pixels (WCAG 2.2, 2.5.5); a summary is a line of text.
    small = [(name, height) for name, height, least in found["controls"] if height < least]
    assert not small, small
    assert not found["nameless"]
