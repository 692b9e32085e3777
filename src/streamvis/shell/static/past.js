// The time bar below a page: the step as of which the page shows its runs, or live.
import {ask} from "./api.js"
import {Icon} from "./bar.js"
import {html, useEffect, useRef, useState, useStore} from "./ui.js"

const LOOK_MS = 3000, TICK_MS = 50, SPEEDS = [1, 10, 100]

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

export const PastBar = ({viewer}) => {
  useStore(viewer)
  const [span, learn] = useState(null), [speed, pace] = useState(10), [loops, loop] = useState(false)
  const [is_playing, play] = usePlaying(viewer, span, {speed, loops}), ids = [...viewer.shown_ids].join(" ")
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
  const at = viewer.at ?? span.last, move = (event) => viewer.seek(Number(event.target.value))
  return html`<footer class="past">
    <button class="icon" onClick=${() => play(!is_playing)} title=${is_playing ? "Pause" : "Play"} aria-label=${is_playing ? "Pause" : "Play"}>
      <${Icon} name=${is_playing ? "pause" : "play"} /></button>
    <select aria-label="Speed" value=${speed} onChange=${(event) => pace(Number(event.target.value))}>
      ${SPEEDS.map((one) => html`<option value=${one}>${one}×</option>`)}</select>
    <button class="icon" aria-pressed=${loops} onClick=${() => loop(!loops)} title="Repeat from the start" aria-label="Loop"><${Icon} name="loop" /></button>
    <input type="range" aria-label="Step" min=${span.first} max=${span.last} step="1" value=${at} onInput=${move} />
    <label>Step <input type="number" aria-label="Step number" min=${span.first} max=${span.last} value=${at} onChange=${move} /></label>
    <button class="live" aria-pressed=${viewer.at == null} onClick=${() => { play(false); viewer.seek(null) }}>Live</button>
  </footer>`
}
