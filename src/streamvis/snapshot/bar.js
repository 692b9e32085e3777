// The time bar of a page in a file: shows the moments that it holds, by changing the models that are not the same at them.
// Runs before the document is there, in which `window.streamvisSnapshot` is {steps, shown, values, changes}.
(() => {
  const {steps, shown, values, changes} = window.streamvisSnapshot, PLAY_MS = 400
  const bar = document.getElementById("streamvis-snapshot"), range = bar.querySelector("input"), play = bar.querySelector("button.play")
  const told = bar.querySelector("output")
  let at = shown, begun = null, timer = null

  const place = (id, attr) => `${id} ${attr}`
  const expanded = (value) => value?.type == "map" && value.entries != null ? {...value, entries: value.entries.map(([name, its]) => [name, its?.["#"] != null ? values[its["#"]] : its])} : value

  // What changes anywhere, and its value in the document as it came.
  const begin = (doc) => {
    begun = new Map()
    for (const [id, attr] of changes.flat()) {
      const model = doc.get_model_by_id(id)
      if (model != null && !begun.has(place(id, attr))) begun.set(place(id, attr), [model, attr, model[attr]])
    }
  }
  const show = (nth) => {
    const doc = window.Bokeh?.documents?.find((one) => one != null)
    if (doc == null || nth == at) return
    if (begun == null) begin(doc)
    const now = new Set(changes[nth].map(([id, attr]) => place(id, attr)))
    for (const [id, attr] of changes[at]) {
      if (now.has(place(id, attr))) continue
      const [model, , value] = begun.get(place(id, attr)) ?? []
      model?.setv({[attr]: value}, {check_eq: false})
    }
    const events = changes[nth].filter(([id]) => doc.get_model_by_id(id) != null)
      .map(([id, attr, value]) => ({kind: "ModelChanged", model: {id}, attr, new: expanded(values[value])}))
    doc.apply_json_patch({events})
    at = nth
    // Ranges that follow the data are moved as on a live page.
    for (const model of doc.all_models) if (model.type.endsWith("StreamvisLiveControl")) model.tick += 1
  }
  const go = (nth) => {
    show(nth)
    range.value = nth
    told.textContent = `Step ${steps[nth].toLocaleString("en-US")}`
  }
  const pause = () => { clearInterval(timer); timer = null; play.textContent = "Play" }
  range.oninput = () => go(Number(range.value))
  play.onclick = () => {
    if (timer != null) return pause()
    play.textContent = "Pause"
    if (at == steps.length - 1) go(0)
    timer = setInterval(() => { go(at + 1); if (at == steps.length - 1) pause() }, PLAY_MS)
  }
  if (steps.length < 2) for (const one of [range, play]) one.hidden = true
  go(shown)
  window.streamvisSnapshot.show = (step) => go(steps.findLastIndex((one) => one <= step))
})()
