// Loads MathJax where a page has formulas, and nowhere else: it takes browsers longer than the rest of BokehJS. Stands in every page,
// after BokehJS and before the page's models. BUNDLE is the address of MathJax.
// Bokeh asks for MathJax with the first widget or formula, and never again once that failed. So the question is answered here: with
// MathJax where a model in the document has a formula, else with "failed", and when a formula comes later, what shows it is drawn again.
(() => {
  const provider = window.Bokeh?.loader?.["models/text/providers"]?.default_provider
  if (provider == null) return document.write(`<script src="${BUNDLE}"></scr` + "ipt>")
  const FORMULA = /\$\$[^]*?\$\$|\\\[[^]*?\\\]|\\\([^]*?\\\)/, TYPE = /^(TeX|MathML|Ascii)(Glyph)?$/
  const TYPESET = ["text", "title", "axis_label", "major_label_overrides"]
  const fetch = provider.fetch, seen = new WeakSet(), watched = new WeakSet()
  let loading = null, timer = null

  const is_formula = (value) => {
    if (typeof value == "string") return FORMULA.test(value)
    return value instanceof Map && [...value.values()].some(is_formula)
  }
  const has_formula = (model) => TYPE.test(model.type) || (!model.disable_math && !model.render_as_text &&
    TYPESET.some((name) => { try { return is_formula(model[name]) } catch { return false } })) // a property that is not set
  const is_new_formula = (model) => {
    if (seen.has(model)) return false
    seen.add(model)
    return has_formula(model)
  }
  const look = () => Bokeh.documents.some((doc) => [...doc.all_models].filter(is_new_formula).length > 0)
  const look_soon = () => { timer ??= setTimeout(() => { timer = null; if (look()) load() }, 0) }
  const note = ({kind, model, attr, value}) => {
    if (loading != null) return
    if (kind == "RootAdded") return look_soon()
    if (kind != "ModelChanged" || attr == "data" || value == null) return
    if (TYPESET.includes(attr) && has_formula(model)) load()
    else if (typeof value == "object") look_soon() // models may have come
  }
  const redraw = () => {
    const views = [...Bokeh.index.roots]
    while (views.length > 0) {
      const view = views.pop()
      if (typeof view.rerender == "function" && has_formula(view.model)) view.rerender()
      else view.request_repaint?.()
      views.push(...view.children_views())
    }
  }
  const load = () => loading ??= (async () => {
    const was_answered = provider.status == "failed"
    const script = Object.assign(document.createElement("script"), {src: BUNDLE})
    await new Promise((done) => { script.onload = script.onerror = done; document.head.append(script) })
    provider.status = "not_started"
    await fetch.call(provider)
    if (was_answered) redraw()
  })()

  provider.fetch = async () => {
    for (const doc of Bokeh.documents) if (!watched.has(doc)) { watched.add(doc); doc.on_change(note) }
    if (loading != null || look()) await load()
    else provider.status = "failed"
  }
})()
