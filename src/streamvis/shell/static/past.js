// The time bar below a page: the step as of which the page shows its runs, or live.
import {ask} from "./api.js"
import {Icon} from "./icons.js"
import {html, kept, moment, number, useEffect, useRef, useState, useStore} from "./ui.js"

const LOOK_MS = 3000, SCALE_MS = 10000, TICK_MS = 50, SPEEDS = [1, 10, 100]

// Which steps the runs have, and for how long they ran, in seconds. Null while that is not known, or they have none.
const span_of = (runs) => {
  const begun = runs.filter(({last_step}) => last_step != null)
  if (begun.length == 0) return null
  const seconds = Math.max(...begun.map(({created, updated}) => updated - created))
  return {first: Math.min(...begun.map(({first_step}) => first_step)), last: Math.max(...begun.map(({last_step}) => last_step)), seconds}
}

// Plays from the step that is shown, at a pace, until the end; there it begins again where it is to loop.
const usePlaying = (viewer, span, {speed, loops}) => {
  const [is_playing, play] = useState(false), now = useRef({})
  now.current = {span, speed, loops}
  useEffect(() => {
    if (!is_playing) return
    let at = viewer.at == null || viewer.at >= span.last ? span.first : viewer.at, then = performance.now()
    const timer = setInterval(() => {
      const {span, speed, loops} = now.current, seconds = (performance.now() - then) / 1000
      then = performance.now()
      if (viewer.at != null && Math.abs(viewer.at - at) > 1) at = viewer.at // somebody moved it meanwhile
      at += seconds * speed * (span.last - span.first) / Math.max(1, span.seconds)
      if (at >= span.last) {
        if (loops) at = span.first
        else play(false)
      }
      viewer.seek(Math.round(Math.min(at, span.last)))
    }, TICK_MS)
    return () => clearInterval(timer)
  }, [is_playing])
  return [is_playing, play]
}

// Where a number lies among rising ones, and what is there among others that go with them, between two of them by a straight line.
export const between = (from, to, at) => {
  if (from.length == 0) return at
  let high = from.findIndex((one) => one >= at)
  if (high < 0) return to[to.length - 1]
  if (high == 0 || from[high] == at) return to[high]
  const low = high - 1
  return to[low] + (to[high] - to[low]) * (at - from[low]) / (from[high] - from[low])
}

// A scale over all of the span's steps: beyond its own ones it continues at its average slope.
const extended = (scale, {first, last}) => {
  const steps = [...scale.steps], x = [...scale.x], end = steps.length - 1, slope = (x[end] - x[0]) / (steps[end] - steps[0] || 1)
  if (last > steps[end]) { x.push(x[end] + slope * (last - steps[end])); steps.push(last) }
  if (first < steps[0]) { x.unshift(x[0] - slope * (steps[0] - first)); steps.unshift(first) }
  return {...scale, steps, x}
}

// What goes beside the steps of the first run: its attempts and alerts, the columns that can be the bar's scale, and the scale that was chosen.
const useScale = (id, chosen) => {
  const [past, learn] = useState({columns: [], attempts: [], alerts: []}), [scale, measure] = useState(null), [problem, tell] = useState("")
  useEffect(() => {
    let is_over = false
    const look = () => id && !document.hidden && ask("past", {run: id}).then((found) => is_over || learn(found)).catch(() => {})
    look()
    const timer = setInterval(look, SCALE_MS)
    return () => { is_over = true; clearInterval(timer) }
  }, [id])
  const has_columns = past.columns.length > 0
  useEffect(() => {
    measure(null)
    tell("")
    if (!id || chosen == "" || !has_columns) return
    const [key, column] = chosen == "time" ? [] : JSON.parse(chosen), which = chosen == "time" ? {time: 1} : {key, column}
    let is_over = false
    const look = async () => {
      if (document.hidden) return
      const found = await ask("past", {run: id, ...which}).catch(() => null)
      if (is_over || found == null) return
      measure(found.rises ? found : null)
      tell(found.rises ? "" : "It does not rise with the steps, so it cannot be the scale.")
    }
    look()
    const timer = setInterval(look, SCALE_MS)
    return () => { is_over = true; clearInterval(timer) }
  }, [id, chosen, has_columns])
  return {past, scale, problem}
}

// Where something is on the bar, as a share of it: the knob's middle does not reach the ends.
const place = (share) => `calc(${8}px + (100% - ${16}px) * ${Math.min(1, Math.max(0, share))})`

const Mark = ({step, told, time, kind, share_of, seek}) => html`<button class=${kind} style=${{left: place(share_of(step))}}
  title="${told}, ${moment(time)}" aria-label=${told} onClick=${() => seek(step)}></button>`

// Of attempts and alerts at one step, the alerts lie above.
const Marks = ({attempts, alerts, ...its}) => html`<div class="marks">
  ${attempts.map(({resume_at, began}) => html`<${Mark} step=${resume_at} told="Resumed at step ${resume_at}" time=${began} kind="attempt" ...${its} />`)}
  ${alerts.map(({step, time, title, level}) => html`<${Mark} step=${step} told="${title} (${level}) at step ${step}" time=${time} kind="alert is-${level}" ...${its} />`)}</div>`

export const PastBar = ({viewer}) => {
  useStore(viewer)
  const [span, learn] = useState(null), [typed, type] = useState(null), [speed, pace] = useState(10), [loops, loop] = useState(false)
  const [is_playing, play] = usePlaying(viewer, span, {speed, loops}), ids = [...viewer.shown_ids].join(" ")
  const [chosen, choose] = useState(kept.get("past-scale") ?? ""), {past, scale: its, problem} = useScale([...viewer.shown_ids][0], chosen)
  useEffect(() => {
    const look = async () => {
      if (!ids || document.hidden) return
      try {
        const {runs} = await ask("runs", {run: ids.split(" "), limit: 100})
        learn(span_of(runs))
      } catch { /* the list of runs tells of it */ }
    }
    look()
    const timer = setInterval(look, LOOK_MS)
    return () => clearInterval(timer)
  }, [ids])
  if (span == null) return html`<footer class="past"><span class="muted">No steps yet</span></footer>`
  const scale = its == null ? null : extended(its, span)
  const at = viewer.at ?? span.last
  // What is typed may be anything: the nearest step there is, or, without a number, the one that is shown.
  const move = ({target}) => {
    const step = target.value == "" || Number.isNaN(target.valueAsNumber) ? at : Math.round(target.valueAsNumber)
    const nearest = Math.min(Math.max(step, span.first), span.last)
    type(null)
    target.value = nearest
    if (nearest != at) viewer.seek(nearest)
  }
  const [low, high] = scale == null ? [span.first, span.last] : [scale.x[0], scale.x[scale.x.length - 1]]
  const x_of = (step) => scale == null ? step : between(scale.steps, scale.x, step)
  const drag = (event) => viewer.seek(scale == null ? Number(event.target.value) : Math.round(between(scale.x, scale.steps, Number(event.target.value))))
  const pick = (event) => { kept.set("past-scale", event.target.value); choose(event.target.value) }
  const told = scale == null ? "" : scale.is_time ? new Date(x_of(at) * 1000).toLocaleTimeString([], {hour12: false}) : number(Number(x_of(at).toPrecision(6)))
  return html`<footer class="past">
    <button class="icon" onClick=${() => play(!is_playing)} title=${is_playing ? "Pause" : "Play"} aria-label=${is_playing ? "Pause" : "Play"}>
      <${Icon} name=${is_playing ? "pause" : "play"} /></button>
    <select aria-label="Speed" value=${speed} onChange=${(event) => pace(Number(event.target.value))}>
      ${SPEEDS.map((one) => html`<option value=${one}>${one}×</option>`)}</select>
    <button class="icon" aria-pressed=${loops} onClick=${() => loop(!loops)} title="Repeat from the start" aria-label="Loop"><${Icon} name="loop" /></button>
    <select class="scale" aria-label="Scale of the time bar" title=${problem || "What the time bar counts by"} value=${chosen} onChange=${pick}>
      <option value="">step</option><option value="time">time</option>
      ${past.columns.map((pair) => html`<option value=${JSON.stringify(pair)}>${pair[1]} (${pair[0]})</option>`)}</select>
    ${problem && html`<span class="trouble" role="status">${problem}</span>`}
    <span class="track"><${Marks} attempts=${past.attempts} alerts=${past.alerts} share_of=${(step) => (x_of(step) - low) / (high - low || 1)} seek=${(step) => viewer.seek(step)} />
      <input type="range" aria-label="Step" aria-valuetext=${`step ${at}${told && `, ${told}`}`} min=${low} max=${high} step=${scale == null ? 1 : "any"} value=${x_of(at)} onInput=${drag} /></span>
    ${told && html`<output>${told}</output>`}
    <label>Step <input type="number" aria-label="Step number" min=${span.first} max=${span.last} value=${typed ?? at} onInput=${({target}) => type(target.value)} onChange=${move} onBlur=${() => type(null)} /></label>
    <button class="live" aria-pressed=${viewer.at == null} onClick=${() => { play(false); viewer.seek(null) }}>Live</button>
  </footer>`
}
