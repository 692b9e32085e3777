// The run list as a table of which only the rows in view are in the document, however many there are.
import {columns_of} from "./columns.js"
import {items_of} from "./runs.js"
import {html, text, useEffect, useLayoutEffect, useRef, useState, useStore} from "./ui.js"

const ROW_PX = 30, MARGIN_ROWS = 8, NAME_PX = 260, NARROW_NAME_PX = 190

const Name = ({run, href, is_edited, rename, open}) => {
  const input = useRef(null)
  useLayoutEffect(() => { if (is_edited) { input.current.focus(); input.current.select() } }, [is_edited])
  if (!is_edited) {
    const go = (event) => {
      if (open == null || event.ctrlKey || event.metaKey || event.shiftKey || event.button != 0) return
      event.preventDefault()
      open(run)
    }
    return html`<a class="run" href=${href(run)} title=${run.name} tabindex="-1" onClick=${go}>${run.name}</a>`
  }
  const done = (event) => {
    if (event.key == "Enter") rename(run, event.target.value)
    if (event.key == "Escape") rename(run, null)
    event.stopPropagation()
  }
  return html`<input class="rename" aria-label="Name" ref=${input} defaultValue=${run.name} onKeyDown=${done} onBlur=${(event) => rename(run, event.target.value)} />`
}

const Head = ({list, columns, widths}) => {
  const [falling, name] = list.order.startsWith("-") ? [true, list.order.slice(1)] : [false, list.order]
  const sort = ({order, falls}) => list.arrange({order: name == order ? (falling ? order : `-${order}`) : falls ? `-${order}` : order})
  const mark = (order) => order == name && list.group == null ? (falling ? " ↓" : " ↑") : ""
  const cell = (column) => html`<div role="columnheader" class="cell" key=${column.name} title=${column.hint ?? column.title}
    aria-sort=${mark(column.order) ? (falling ? "descending" : "ascending") : null}>
    ${column.order ? html`<button onClick=${() => sort(column)}>${column.title}${mark(column.order)}</button>` : column.title}</div>`
  return html`<div role="row" class="row head" style=${{gridTemplateColumns: widths}}>
    ${cell({name: "name", title: "Run", order: "name"})}${columns.map(cell)}</div>`
}

const Run = ({run, index, columns, widths, on, may_write}) => {
  const id = `run-${run.run}`, is_chosen = on.chosen.has(run.run), is_shown = on.shown.has(run.run)
  return html`<div role="row" id=${id} aria-rowindex=${index + 2} aria-selected=${is_chosen} class="row ${on.active == index ? "active" : ""}"
    style=${{top: `${index * ROW_PX}px`, gridTemplateColumns: widths}} onClick=${() => on.activate(index)}>
    <div role="rowheader" class="cell name">
      <input type="checkbox" tabindex="-1" aria-label=${`Choose ${run.name}`} checked=${is_chosen} onChange=${() => on.choose([run.run], !is_chosen)} />
      <span class="dot ${is_shown ? "" : "hollow"}" style=${{"--its": on.shown.get(run.run) || run.color || "var(--muted)"}} title=${is_shown ? "Shown on this page" : "Not shown"}></span>
      <${Name} run=${run} href=${on.href} open=${on.open} is_edited=${on.edited == run.run} rename=${on.rename} />
      ${may_write && html`<button class="icon more" tabindex="-1" aria-label=${`Actions for ${run.name}`} onClick=${(event) => on.menu(run, event)}>⋯</button>`}
    </div>
    ${columns.map((column) => html`<div role="gridcell" class="cell ${column.is_number ? "number" : ""}" key=${column.name}>${column.cell(run)}</div>`)}
  </div>`
}

const Group = ({head, list, index, on}) => {
  const ids = head.runs.map(({run}) => run), all = ids.every((id) => on.chosen.has(id)), color = ids.map((id) => on.shown.get(id)).find(Boolean)
  const fold = () => {
    const folded = new Set(list.folded)
    if (!folded.delete(head.key)) folded.add(head.key)
    list.set({folded})
  }
  return html`<div role="row" class="row group" aria-rowindex=${index + 2} style=${{top: `${index * ROW_PX}px`}}>
    <div role="gridcell" class="cell name">
      <input type="checkbox" tabindex="-1" aria-label=${`Choose all of ${text(head.value)}`} checked=${all} onChange=${() => on.choose(ids, !all)} />
      ${color && html`<span class="dot" style=${{"--its": color}}></span>`}
      <button class="icon" aria-expanded=${!head.is_folded} onClick=${fold}>${head.is_folded ? "▸" : "▾"} <b>${list.group.replace(/^config\./, "")} = ${text(head.value) || "–"}</b>
        <span class="muted"> ${ids.length}</span></button>
    </div></div>`
}

// `on` has what is chosen, shown and edited, and what to do about clicks.
export const Table = ({list, on, may_write, is_narrow}) => {
  useStore(list)
  const scroller = useRef(null), [view, set_view] = useState([0, 30]), [active, activate] = useState(-1)
  const items = items_of(list), columns = columns_of(list, is_narrow), name_px = is_narrow ? NARROW_NAME_PX : NAME_PX
  // Of groups that are folded away, the rows take no room.
  const folded = list.group == null ? 0 : list.rows.length - items.filter(({run}) => run != null).length
  const count = list.group == null ? list.matching : items.length + Math.max(0, list.matching - list.rows.length)
  const widths = [name_px, ...columns.map(({width}) => width)].map((width) => `${width}px`).join(" ")
  const measure = () => {
    const {scrollTop, clientHeight} = scroller.current
    const first = Math.max(0, Math.floor(scrollTop / ROW_PX) - MARGIN_ROWS), last = Math.ceil((scrollTop + clientHeight) / ROW_PX) + MARGIN_ROWS
    if (first != view[0] || last != view[1]) set_view([first, last])
  }
  useEffect(() => {
    const observer = new ResizeObserver(measure)
    observer.observe(scroller.current)
    return () => observer.disconnect()
  })
  useEffect(() => { list.see(view[0], view[1] + folded) }, [view[0], view[1], list.rows, list.is_loading])
  const keyed = (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -count, End: count}[event.key], run = items[active]?.run
    if (event.target != scroller.current) return
    if (step != null) {
      const next = Math.max(0, Math.min(count - 1, active + step)), {scrollTop, clientHeight} = scroller.current, top = next * ROW_PX
      activate(next)
      if (top < scrollTop) scroller.current.scrollTop = top
      if (top + 2 * ROW_PX > scrollTop + clientHeight) scroller.current.scrollTop = top + 2 * ROW_PX - clientHeight
    } else if (run != null && event.key == " ") on.choose([run.run], !on.chosen.has(run.run))
    else if (run != null && event.key == "Enter") { if (on.open) on.open(run); else location.href = on.href(run) }
    else if (run != null && event.key == "F2" && may_write) on.edit(run)
    else return
    event.preventDefault()
  }
  const its = {...on, active, activate}
  const drawn = []
  for (let i = view[0]; i < Math.min(view[1], items.length); i++) {
    const item = items[i]
    if (item != null) drawn.push(item.run != null
      ? html`<${Run} key=${item.run.run} run=${item.run} index=${i} columns=${columns} widths=${widths} on=${its} may_write=${may_write} />`
      : html`<${Group} key=${item.key} head=${item} list=${list} index=${i} on=${its} />`)
  }
  return html`<div class="scroller" ref=${scroller} onScroll=${measure} onKeyDown=${keyed} tabindex="0" role="grid" aria-multiselectable="true" aria-label="Runs"
    aria-rowcount=${count + 1} aria-activedescendant=${items[active]?.run ? `run-${items[active].run.run}` : null}>
    <${Head} list=${list} columns=${columns} widths=${widths} />
    <div class="rows" role="rowgroup" style=${{height: `${count * ROW_PX}px`, minWidth: `${name_px + columns.reduce((sum, {width}) => sum + width, 0)}px`}}>${drawn}</div>
  </div>`
}
