// The search box of the run list: words, or a filter with completion and an error that points at its place.
import {STATISTICS} from "./columns.js"
import {html, useRef, useState} from "./ui.js"

const FIELDS = ["app", "archived", "created", "ended", "id", "name", "note", "state", "step", "tags", "updated"]
const STATES = ["running", "finished", "interrupted", "failed", "vanished"]
const MOST_OFFERED = 8

// What can stand at the caret: names of the filter language, states and tags after the words that they belong to.
const offers_for = (text, caret, names) => {
  const before = text.slice(0, caret), token = /(?:"[^"]*|[\w.[\]"]*)$/.exec(before)[0]
  const quoted = (all) => all.map((one) => JSON.stringify(one))
  let all
  if (/\bstate\s*(==|!=|in)\s*\(?\s*\S*$/.test(before)) all = quoted(STATES)
  else if (/^"/.test(token)) all = quoted(names.tags).map((tag) => `${tag} in tags`)
  else if (token == "") return {token, offers: []}
  else all = [...names.config.map(({name}) => name), ...FIELDS, ...names.summaries.flatMap((name) => STATISTICS.map((one) => `${name}.${one}`))]
  const small = token.toLowerCase(), fits = all.filter((one) => one != token && one.toLowerCase().includes(small))
  const starts = fits.filter((one) => one.toLowerCase().startsWith(small) || one.toLowerCase().startsWith(`config.${small}`))
  return {token, offers: [...new Set([...starts, ...fits])].slice(0, MOST_OFFERED)}
}

const Pointed = ({text, error}) => {
  const at = error.position, end = at + Math.max(1, error.length ?? 1)
  return html`<div class="error" role="alert" id="filter-error">${error.message}
    <code>${text.slice(0, at)}<mark>${text.slice(at, end) || " "}</mark>${text.slice(end)}</code></div>`
}

export const Search = ({list}) => {
  const input = useRef(null), [caret, set_caret] = useState(null), [chosen, set_chosen] = useState(-1)
  const {token, offers} = caret == null ? {token: "", offers: []} : offers_for(list.find, caret, list.names)
  const look = () => { set_caret(input.current.selectionStart); set_chosen(-1) }
  const accept = (offer) => {
    const start = caret - token.length, text = list.find.slice(0, start) + offer + list.find.slice(caret)
    list.type(text)
    set_caret(null)
    // Once the box holds the new text.
    setTimeout(() => { input.current.focus(); input.current.setSelectionRange(start + offer.length, start + offer.length) }, 0)
  }
  const keyed = (event) => {
    if (event.key == "Escape" && offers.length) set_caret(null)
    else if (event.key == "Escape") list.type("")
    else if (!offers.length) return
    else if (event.key == "ArrowDown") set_chosen((chosen + 1) % offers.length)
    else if (event.key == "ArrowUp") set_chosen((chosen + offers.length - 1) % offers.length)
    else if (event.key == "Tab" && !event.shiftKey || event.key == "Enter" && chosen >= 0) accept(offers[Math.max(0, chosen)])
    else if (event.key == "Enter") return set_caret(null)
    else return
    event.preventDefault()
  }
  return html`<div class="search">
    <input ref=${input} type="search" placeholder="Search, or filter: config.lr < 0.01" aria-label="Search or filter runs" value=${list.find} spellcheck="false"
      autocomplete="off" role="combobox" aria-expanded=${offers.length > 0} aria-controls="offers" aria-invalid=${list.error != null}
      aria-describedby=${list.error ? "filter-error" : null} aria-activedescendant=${chosen >= 0 ? `offer-${chosen}` : null}
      onInput=${(event) => { list.type(event.target.value); look() }} onKeyDown=${keyed} onBlur=${() => set_caret(null)} />
    ${offers.length > 0 && html`<ul class="offers" id="offers" role="listbox">${offers.map((offer, i) => html`
      <li role="option" id=${`offer-${i}`} key=${offer} aria-selected=${i == chosen} onMouseDown=${(event) => { event.preventDefault(); accept(offer) }}>${offer}</li>`)}</ul>`}
    ${list.error && html`<${Pointed} text=${list.find.trim()} error=${list.error} />`}
  </div>`
}
