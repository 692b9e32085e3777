// What the page costs and lacks (see page/diagnosis.py), folded away until somebody opens it. Asked for while it is open.
import {html, number, useEffect, useState} from "./ui.js"

const LOOK_MS = 2000

const seconds = (s) => s == null ? "–" : s < 1 ? `${number(Math.round(s * 1000))} ms` : `${number(Number(s.toPrecision(3)))} s`
const size = (bytes) => bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`
const many = (count) => count.toLocaleString("en-US")

const Fact = ({name, title, children}) => html`<div title=${title}><dt>${name}</dt><dd>${children}</dd></div>`

export const DiagnosisPanel = ({viewer, close}) => {
  const [found, learn] = useState(null), [is_silent, be_silent] = useState(false)
  useEffect(() => {
    let is_over = false
    const look = async () => {
      if (document.hidden) return
      const told = await viewer.diagnose()
      if (is_over) return
      be_silent(told == null)
      if (told != null) learn(told)
    }
    look()
    const timer = setInterval(look, LOOK_MS)
    return () => { is_over = true; clearInterval(timer) }
  }, [])
  const head = html`<header><b>Diagnosis</b><span class="space"></span><button class="icon" aria-label="Close the diagnosis" onClick=${close}>×</button></header>`
  if (found == null) return html`<section class="diagnosis" aria-label="Diagnosis">${head}<p class="muted">${is_silent ? "This page has no run, or its code failed." : "Asking …"}</p></section>`
  const {update} = found
  return html`<section class="diagnosis" aria-label="Diagnosis">${head}
    ${found.reasons.length > 0 && html`<ul class="reasons">${found.reasons.map((one) => html`<li>${one}</li>`)}</ul>`}
    <dl>
      <${Fact} name="init_page">${seconds(found.init_s)}<//>
      <${Fact} name="update_page" title="Median and slowest call">${update.count == 0 ? "not called" : `${seconds(update.median_s)}, slowest ${seconds(update.slowest_s)}, ${many(update.count)} ${update.count == 1 ? "call" : "calls"}`}<//>
      <${Fact} name="Read for this tab" title="As the endpoint sent it; live sources and panels read more by themselves">
        ${many(found.rows)} rows, ${many(found.values)} values, ${size(found.bytes)}<//>
      <${Fact} name="Behind the run" title="Between the call that sent the newest data and this page, by the clocks of both machines">${seconds(found.lag_s)}<//>
      <${Fact} name="Document">${many(found.figures)} figures, ${many(found.models)} models<//>
      <${Fact} name="Keys that nothing reads">${found.unread.join(", ") || "none"}<//>
      <${Fact} name="Keys read that the run lacks">${found.absent.join(", ") || "none"}<//>
    </dl>
    <b>Log and warnings of this page</b>
    <pre>${[...found.warnings, ...found.log].join("\n") || "Nothing so far."}</pre>
  </section>`
}
